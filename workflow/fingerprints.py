"""What "the same request" means: the content of an order without its payments, or that of a booking, and what is left of that when personal
data are erased.

A fingerprint is `CONTENT:PERSONAL`. CONTENT is keyed with a secret of the journal; PERSONAL is the salted hash of the personal data, with
the salt that is kept beside these. It goes with them: from then on nobody can confirm a guess by what is left, and the request is known
again by its content alone.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from itertools import count

import msgspec
from msgspec.structs import replace

from workflow.bill import Bill, Personal
from workflow.booking import Booking, Guest
from workflow.commands import CreateOrder, OpenOrder
from workflow.journal.port import Seen, Transaction
from workflow.ledger import canonical, salted_hash
from workflow.order import Order

ERASED = "erased"
"""In the place of a salted hash of personal data that are erased."""
_CREATE, _OPEN = CreateOrder.source, OpenOrder.source


def of_order(command: CreateOrder | OpenOrder, transaction: Transaction) -> str:
    """The fingerprint of a request whose personal data are kept already."""
    salted = hash_of(command.personal, transaction.personal_salt(command.order_id))
    return f"{_content(command.bill, _status(command), transaction)}:{salted}"


def is_same_order(command: CreateOrder | OpenOrder, seen: Seen, transaction: Transaction) -> bool:
    """The request has the content that the one seen before had; where its personal data are erased, these may be any."""
    content, is_ours, personal = seen.fingerprint.partition(":")
    if not is_ours:
        return hmac.compare_digest(content, _older(command, transaction))
    if not hmac.compare_digest(content, _content(command.bill, _status(command), transaction)):
        return False
    salt = transaction.personal_salt(seen.order_id)
    return (bool(personal) and not salt) or hmac.compare_digest(personal, hash_of(command.personal, salt))


def forget_order(order: Order, transaction: Transaction) -> None:
    """Have the request that made an order known by its content alone, where an older version gave it a fingerprint of everything."""
    source, key = (_CREATE, order.dojo_order_id) if order.dojo_order_id else (_OPEN, order.id)
    seen = transaction.seen(source, key)
    if seen is None or ":" in seen.fingerprint:
        return
    facts, status = transaction.beginning(order.id)
    bill = replace(msgspec.convert(facts["bill"], Bill), display_name=None)
    fingerprint = f"{_content(bill, status if source == _OPEN else '', transaction)}:{ERASED}"
    transaction.refingerprint(source, key, seen._replace(fingerprint=fingerprint))


def key_of_booking(booking: Booking, guest_is: Callable[[Seen], bool], source: str, transaction: Transaction) -> tuple[str, Seen | None]:
    """The key of a request for this booking (without an id), and the earlier request that has it; None where none has.

    The guest is no part of a key, since keys are for ever: requests that differ in the guest alone are numbered, `guest_is` tells theirs.
    """
    content = f"{booking.dojo_id}:{keyed({'booking': booking}, transaction)}"
    for number in count(1):
        key = f"{content}.{number}"
        seen = transaction.seen(source, key)
        if seen is None or guest_is(seen):
            return key, seen
    raise AssertionError("there is always another number")


def older_key_of_booking(booking: Booking, guest: Guest, transaction: Transaction) -> str:
    """As earlier versions had it: with the guest in it."""
    return f"{booking.dojo_id}:{keyed({'booking': booking, 'guest': guest}, transaction)}"


def forget_booking(booking: Booking, source: str, transaction: Transaction) -> None:
    """Have the request that made a booking known without its guest, where an older version gave it a key with the guest in it."""
    for key, seen in transaction.requests_of(source, booking.id):
        if "." in key.rpartition(":")[2]:
            continue
        asked = replace(transaction.booking_as_made(booking.kind, booking.id), id="", created_at="", personal_hash="")
        new_key, _ = key_of_booking(asked, lambda other: False, source, transaction)
        transaction.rename_request(source, key, new_key, seen._replace(fingerprint=ERASED))


def keyed(content: object, transaction: Transaction) -> str:
    """The HMAC-SHA256 of the content's canonical JSON, with the journal's secret."""
    return hmac.new(transaction.secret, canonical(content).encode(), "sha256").hexdigest()


def hash_of(personal: Personal | Guest, salt: str) -> str:
    """Its salted hash, as the journal has it; "" where there is nothing of it."""
    return "" if personal == type(personal)() else salted_hash(salt, personal)


def _content(bill: Bill, status: str, transaction: Transaction) -> str:
    return keyed({"bill": bill, "status": status}, transaction)


def _status(command: CreateOrder | OpenOrder) -> str:
    return command.status if isinstance(command, OpenOrder) else ""


def _older(command: CreateOrder | OpenOrder, transaction: Transaction) -> str:
    """As versions had it that kept the display name on the bill, and personal data in the fingerprint."""
    bill = replace(command.bill, display_name=command.personal.display_name)
    content: dict[str, object] = {"bill": bill, "personal": replace(command.personal, display_name=None)}
    if isinstance(command, OpenOrder):
        content["status"] = command.status
    return keyed(content, transaction)
