"""Who sits where, and who is expected: parties and reservations as Dojo's published schemas shape them, and how entries make them.

The words of guests and hosts are in `Guest`, beside the journal; everything else here is journaled. Times are UTC text as
`clock.to_text` writes it, so that texts compare as moments do. Source: EPOS Data API, schemas `Party` and `Reservation`; contract §10.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from workflow.bill import Identifier, Note, Part, ShortText
from workflow.entry import Entry
from workflow.money import Money

MAX_TABLES = 100
"""Tables that one party or reservation may span."""
MAX_INTENTS = 100
"""Payment intents that one deposit may name."""

Kind = Literal["party", "reservation"]
KINDS: tuple[Kind, ...] = ("party", "reservation")
Standing = Literal["current", "left", "deleted"]
STANDINGS: tuple[Standing, ...] = ("current", "left", "deleted")

Covers = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Tables = Annotated[tuple[Identifier, ...], msgspec.Meta(min_length=1, max_length=MAX_TABLES)]


class Deposit(Part, frozen=True):
    """What was taken before the party came. Dojo alone edits the intents."""

    total_amount: Money
    payment_intent_ids: Annotated[tuple[Identifier, ...], msgspec.Meta(max_length=MAX_INTENTS)]


class Guest(Part, frozen=True):
    """Personal data of one party or reservation, in their own erasable table; `guest_requests` may say what a guest must not eat."""

    name: ShortText | None = None
    host_notes: Note | None = None
    guest_requests: Note | None = None
    deposit_description: Note | None = None


class Party(Part, frozen=True):
    """Guests at their tables, until `end_time` is set: then they have left.

    `dojo_id` is Dojo's name for the party, which may name another one once this has left or is deleted. `reservation_id` is ours.
    `personal_hash` is the salted hash of its `Guest`, or ""; from `erased_at` on, UTC text, there is none, ever.
    """

    kind: ClassVar[Kind] = "party"

    id: str
    dojo_id: Identifier
    table_ids: Tables
    start_time: str
    status: ShortText
    covers: Covers | None = None
    expected_end_time: str | None = None
    end_time: str | None = None
    reservation_id: Identifier | None = None
    dojo_reservation_id: Identifier | None = None
    deposit: Deposit | None = None
    created_at: str = ""
    personal_hash: str = ""
    deleted: bool = False
    erased_at: str = ""

    def is_over(self, at: str) -> bool:
        """At that moment, UTC text, the guests are gone."""
        return self.deleted or (self.end_time is not None and self.end_time <= at)

    @property
    def standing(self) -> Standing:
        """Whether it is there; only a current party keeps others from its tables."""
        if self.deleted:
            return "deleted"
        return "current" if self.end_time is None else "left"


class Reservation(Part, frozen=True):
    """Guests who are expected; `dojo_id`, `personal_hash` and `erased_at` as a party's."""

    kind: ClassVar[Kind] = "reservation"

    id: str
    dojo_id: Identifier
    table_ids: Tables
    start_time: str
    end_time: str
    covers: Covers
    created_at: str = ""
    personal_hash: str = ""
    deleted: bool = False
    erased_at: str = ""

    def is_over(self, at: str) -> bool:
        """At that moment, UTC text, nobody is expected any more."""
        return self.deleted or self.end_time <= at

    @property
    def standing(self) -> Standing:
        """Whether it stands; it does so after its time too, until Dojo deletes it."""
        return "deleted" if self.deleted else "current"


Booking: TypeAlias = Party | Reservation
TYPES: dict[Kind, type[Party] | type[Reservation]] = {"party": Party, "reservation": Reservation}

_KIND_OF = {f"{verb}_{kind}": kind for verb in ("create", "update", "delete", "erase") for kind in KINDS}


def kind_told(entry: Entry) -> Kind | None:
    """Of which kind the booking is that the entry tells of; None where it tells of none."""
    return _KIND_OF.get(entry.trigger)


def told(bookings: dict[str, Booking], kind: Kind, entry: Entry) -> Booking:
    """The booking as the entry leaves it. Raises KeyError, ValidationError on an entry that cannot be explained."""
    if entry.trigger == f"delete_{kind}":
        return replace(bookings[str(entry.body["id"])], deleted=True, personal_hash="")
    if entry.trigger == f"erase_{kind}":
        return replace(bookings[str(entry.body["id"])], erased_at=entry.at, personal_hash="")
    return msgspec.convert(entry.body[kind], TYPES[kind])
