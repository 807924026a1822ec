"""What "the same request" means: the content of an order without its payments, and what is left of that when personal data are erased.

A fingerprint is `CONTENT:PERSONAL`. CONTENT is keyed with a secret of the journal; PERSONAL is the salted hash of the personal data, with
the salt that is kept beside these. It goes with them: from then on nobody can confirm a guess by what is left, and the request is known
again by its content alone.
"""

from __future__ import annotations

import hmac

import msgspec
from msgspec.structs import replace

from workflow.bill import Bill, Personal
from workflow.booking import Guest
from workflow.commands import CreateOrder, OpenOrder
from workflow.journal.port import Seen, Transaction
from workflow.ledger import canonical, salted_hash
from workflow.order import Order

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
    fingerprint = f"{_content(bill, status if source == _OPEN else '', transaction)}:erased"
    transaction.refingerprint(source, key, seen._replace(fingerprint=fingerprint))


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
