"""What the tables have of an order, a payment, a booking and an entry: pure functions, so that replay makes the same rows and compares."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from workflow.bill import DineIn
from workflow.booking import Booking
from workflow.entry import Entry
from workflow.ledger import HashedEntry, canonical
from workflow.order import Order
from workflow.ports import IntentId

_order_decoder = msgspec.json.Decoder(Order)
_encode = msgspec.json.Encoder().encode

ORDER_COLUMNS = [
    "id",
    "dojo_order_id",
    "flow",
    "state",
    "status",
    "table_id",
    "waiter_id",
    "party_id",
    "reservation_id",
    "reference",
    "payable",
    "attention",
    "currency",
    "total",
    "paid",
    "tips",
    "order_seq",
    "last_hash",
    "created_at",
    "updated_at",
    "body",
]


def hashed_entry(entry: Entry, prev_hash: str) -> HashedEntry:
    """The hashed columns of an entry."""
    return HashedEntry(
        order_id=entry.order_id,
        order_seq=entry.order_seq,
        at=entry.at,
        kind=entry.kind,
        machine=entry.machine,
        trigger=entry.trigger,
        from_state=entry.from_state,
        to_state=entry.to_state,
        payment_intent_id=entry.payment_intent_id,
        actor=entry.actor,
        cause=entry.cause,
        body=canonical(entry.body),
        prev_hash=prev_hash,
    )


def order_row(order: Order, last_hash: str) -> tuple[object, ...]:
    """The row of `orders`: columns to search by, and the whole order in `body`."""
    searched = search_columns(order)
    return (
        order.id,
        order.dojo_order_id,
        order.flow,
        searched.pop("state"),
        order.status,
        *searched.values(),
        order.currency,
        order.total.value,
        order.paid.value,
        order.tips.value,
        order.order_seq,
        last_hash,
        order.created_at,
        order.updated_at,
        _encode(order).decode(),
    )


def order_row_as_read(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A stored row of `orders` with its body as this version would write it: one that knew fewer facts of an order left them out (P4)."""
    try:
        stored, anew = row[-1], _encode(_order_decoder.decode(row[-1])).decode()
        if stored == anew:
            return row
        facts = msgspec.json.decode(stored)
        is_as_written = _encode(facts).decode() == stored  # Without a space or a name twice.
    except (msgspec.DecodeError, TypeError):  # No order at all: it stays as it is, and differs.
        return row
    return (*row[:-1], anew) if is_as_written and _has_all(msgspec.json.decode(anew), facts) else row


def _has_all(known: object, facts: object) -> bool:
    """Whether `known` has all of these facts, under their names: reading passes over what it does not know."""
    if isinstance(known, dict) and isinstance(facts, dict):
        return all(name in known and _has_all(known[name], fact) for name, fact in facts.items())
    if isinstance(known, list) and isinstance(facts, list):
        return len(known) == len(facts) and all(map(_has_all, known, facts))
    return known == facts


def search_columns(order: Order) -> dict[str, object]:
    """The columns of `orders` that a search may name, in their order in the table."""
    where = order.bill.details.dine_in or DineIn()
    return {
        "state": order.state,
        "table_id": where.table_id,
        "waiter_id": where.waiter_id,
        "party_id": where.party_id,
        "reservation_id": where.reservation_id,
        "reference": order.bill.reference,
        "payable": int(order.is_payable),
        "attention": int(bool(order.attention)),
    }


def booking_row(booking: Booking) -> tuple[object, ...]:
    """The row of `bookings`: columns to search by, and the whole booking in `body`."""
    times = (booking.start_time, booking.end_time, booking.created_at)
    return (booking.id, booking.kind, booking.dojo_id, booking.standing, *times, _encode(booking).decode())


def booking_table_rows(booking: Booking) -> list[tuple[object, ...]]:
    """The rows of `booking_tables`; a deleted booking has none."""
    rest = (booking.kind, booking.standing, booking.start_time, booking.end_time, booking.created_at)
    return [] if booking.deleted else [(booking.id, table_id, *rest) for table_id in booking.table_ids]


def payment_row(order: Order, intent_id: IntentId) -> tuple[object, ...]:
    """The row of `payments`; `paid` and `tips` are what counts now."""
    payment = order.payments[intent_id]
    return (intent_id, order.id, payment.state, *payment.counted, payment.refunded, payment.mismatch)


def lock_row(order: Order) -> tuple[object, ...]:
    """The row of `locks`: the last lock that was taken."""
    assert order.lock is not None
    return (order.id, order.lock.lock_id, order.lock.expires_at, int(order.lock.released), order.lock.holder)


def venue_row(name: str, value: str) -> tuple[str, str, str]:
    """The row of `venue`: canonical JSON, and its hash, by which a reader knows what it has read already."""
    return (name, hashlib.sha256(value.encode()).hexdigest(), value)


def attention_rows(order: Order) -> list[tuple[str, ...]]:
    """The rows of `attention` for one order."""
    return [(order.id, item.code, item.payment_intent_id, item.since, item.detail) for item in order.attention]
