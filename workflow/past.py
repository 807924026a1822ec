"""The past as the entries tell it: one order, or the whole venue, as it was at a position of the journal.

Entries hold no personal data: whatever is kept of it beside the journal is what is kept now. When something was due to be tried or
swept next, and how often it had been tried, no entry tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from workflow.attention import Concern, concerns
from workflow.bill import Personal
from workflow.booking import Booking
from workflow.errors import NotYet, PositionUnknown, UnknownOrder, short
from workflow.journal.reads import SqliteReads, StoredAttention, StoredEntry
from workflow.ledger import salted_hash
from workflow.lifecycle import ORDER
from workflow.order import Order, evolve
from workflow.replay import EXPLAINS_NOTHING, Replayed, unexplained
from workflow.unit import VENUE

PersonalThen = Literal["none", "kept", "changed", "gone"]
"""What became of an order's personal data since: there was none; it is kept; other data is kept; nothing is kept any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOrder:
    """An order as it was at position `seq`, journaled at `at` (UTC text), by its entries up to there.

    `machine` is the declaration (`order@hash`) that it had gone by last, `since` how many entries of it came later.
    """

    order: Order
    machine: str
    entries: list[StoredEntry]
    seq: int
    at: str
    since: int
    personal: PersonalThen


def order_at(reads: SqliteReads, order_id: str, seq: int) -> PastOrder:
    """The order as it was when the journal had `seq` entries; asks for its entries alone.

    Raises UnknownOrder, NotYet where it began later, PositionUnknown where the journal has no such entry, JournalDamaged.
    """
    moment = reads.rows("SELECT at FROM journal WHERE seq = ?", (seq,))
    if not moment:
        raise PositionUnknown(f"expected a position from 1 to {reads.size()}, where the journal ends, got {seq}")
    entries = list(reads.entries(order_id=order_id)) if order_id != VENUE else []
    if not entries:
        raise UnknownOrder(f"no order {short(order_id)}")
    if entries[0].seq > seq:
        raise NotYet(f"order {short(order_id)} began at entry {entries[0].seq}: at entry {seq} there was none", began=entries[0].seq)
    told = [stored for stored in entries if stored.seq <= seq]
    order, machine = None, ""
    for stored in told:
        entry = stored.entry()
        try:
            order = evolve(order, entry)
        except EXPLAINS_NOTHING as error:
            raise unexplained(stored, error) from error
        machine = entry.machine if entry.machine_name == ORDER.name else machine
    assert order is not None
    return PastOrder(
        order=order,
        machine=machine,
        entries=told,
        seq=seq,
        at=moment[0][0],
        since=len(entries) - len(told),
        personal=_personal_then(reads, order),
    )


def _personal_then(reads: SqliteReads, order: Order) -> PersonalThen:
    if not order.personal_hash:
        return "none"
    for salt, data in reads.rows("SELECT salt, data FROM personal WHERE order_id = ?", (order.id,)):
        personal = msgspec.json.decode(data, type=Personal)
        if personal != Personal():
            return "kept" if salted_hash(salt, personal) == order.personal_hash else "changed"
    return "gone"


TASK_STATES = ("open", "done", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTask:
    """A call that had still to be made, or was given up (`dead`); `open` is all that waited, was under way or paused."""

    id: str
    effect: str
    order_id: str
    payment_intent_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastVenue:
    """The venue after its first `seq` entries, journaled at `at`: what a person would have seen.

    `states` counts all orders, `tasks` all calls by open, done and dead. `open_orders` are those that could be paid, or had a payment
    under way; `locked` those that somebody held at that moment. `venue` is what the till had said last, by name.
    """

    seq: int
    at: str
    states: Mapping[str, int]
    open_orders: list[Order]
    locked: list[Order]
    attention: list[Concern]
    tasks: Mapping[str, int]
    waiting: list[PastTask]
    venue: Mapping[str, object]
    bookings: list[Booking]


def venue_at(rebuilt: Replayed) -> PastVenue:
    """What was rebuilt of the entries up to a position, as a person looks at it: orders in the order of their creation."""
    orders = sorted(rebuilt.orders.values(), key=lambda order: (order.created_at, order.id))
    attention = [
        (StoredAttention(order.id, item.code, item.payment_intent_id, item.since, item.detail), order)
        for order in orders
        for item in order.attention
    ]
    of_none = [(StoredAttention(VENUE, code, intent, *rest), None) for (code, intent), rest in rebuilt.venue_attention.items()]
    tasks = [
        PastTask(id=task_id, effect=effect, order_id=order_id, payment_intent_id=intent, status=status)
        for task_id, (effect, order_id, intent, _, status) in rebuilt.tasks.items()
    ]
    return PastVenue(
        seq=rebuilt.entries,
        at=rebuilt.at,
        states=Counter(order.state for order in orders),
        open_orders=[order for order in orders if _is_open(order)],
        locked=[order for order in orders if order.lock and order.lock.is_live(rebuilt.at)],
        attention=concerns([*attention, *of_none]),
        tasks={status: sum(task.status == status for task in tasks) for status in TASK_STATES},
        waiting=[task for task in tasks if task.status != "done"],
        venue={name: msgspec.json.decode(value) for name, value in sorted(rebuilt.venue.items())},
        bookings=[booking for booking in rebuilt.bookings.values() if booking.standing == "current"],
    )


def _is_open(order: Order) -> bool:
    return order.is_payable or any(payment.is_open for payment in order.payments.values() if not payment.detached)
