"""The venue as it was at a position of the journal, for people and for programs: `tillproof journal replay --until SEQ`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from adapters.api.views import attention_views, order_view
from adapters.cli.orders import attention_lines, order_table
from adapters.cli.output import paint, table
from adapters.edge.orders import caller_of
from adapters.edge.strict_json import visible
from workflow.order import Lock, Order
from workflow.past import PastTask, PastVenue

LISTED = 50
"""People are shown so many of each; --json has all."""
NAMED = ("areas", "tables")
"""What the till says as a list of things with names; of another list people are shown its length."""


def past_data(past: PastVenue, machines: Mapping[str, str]) -> dict[str, Any]:
    """For programs; `machines` is the declaration that each order had gone by last. Names are those of the API."""
    return {
        "until": past.seq,
        "at": past.at,
        "states": past.states,
        "open": [order_view(order, machines.get(order.id, "")) for order in past.open_orders],
        "locks": [{"orderId": order.id, **_lock(lock)} for order, lock in _locks(past)],
        "attention": attention_views(past.attention),
        "outbox": {"counts": past.tasks, "data": [_task(task) for task in past.waiting]},
        "venue": past.venue,
        "bookings": [{"kind": booking.kind, **_without_hash(msgspec.to_builtins(booking))} for booking in past.bookings],
    }


def _locks(past: PastVenue) -> Iterator[tuple[Order, Lock]]:
    return ((order, order.lock) for order in past.locked if order.lock)


def _lock(lock: Lock) -> dict[str, str]:
    return {"lockId": lock.lock_id, "expiresAt": lock.expires_at, "holder": lock.holder}


def _task(task: PastTask) -> dict[str, str]:
    return {
        "id": task.id,
        "effect": task.effect,
        "orderId": task.order_id,
        "paymentIntentId": task.payment_intent_id,
        "status": task.status,
    }


def _without_hash(booking: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in booking.items() if name != "personalHash"}


def past_lines(past: PastVenue, size: int) -> Iterator[str]:
    """For people, tables by the names that they had then; the journal has `size` entries now."""
    called = _caller(past)
    yield paint(f"THE PAST: the venue as it was at entry {past.seq:,} of {size:,}{past.at and f', {past.at}'}", "yellow")
    yield f"orders     {_counts(past.states)}"
    yield f"outbox     {_counts(past.tasks)}"
    for name, value in past.venue.items():
        yield f"{name.replace('_', ' '):<9}  {_told(name, value)}"
    yield from _section("open orders", len(past.open_orders), order_table(past.open_orders[:LISTED], called))
    locks = [(str(order.id), lock.holder or "-", lock.lock_id, lock.expires_at) for order, lock in islice(_locks(past), LISTED)]
    yield from _section("locked", len(past.locked), table(("order", "by", "lock", "until"), locks))
    yield from _section("needs a person", len(past.attention), _attention(past, called))
    tasks = [(task.id, task.effect, task.order_id or "-", task.payment_intent_id or "-", task.status) for task in past.waiting[:LISTED]]
    yield from _section("calls not made", len(past.waiting), table(("task", "effect", "order", "payment", "status"), tasks))
    guests = [
        (each.kind, each.id, ", ".join(map(called, each.table_ids)), each.start_time, each.end_time or "-", str(each.covers or "-"))
        for each in past.bookings[:LISTED]
    ]
    yield from _section("guests", len(past.bookings), table(("what", "id", "tables", "from", "until", "covers"), guests))


def _counts(counts: Mapping[str, int]) -> str:
    each = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()) if count)
    return f"{sum(counts.values()):,}{each and f': {each}'}"


def _told(name: str, value: object) -> str:
    if not isinstance(value, list):
        return {True: "yes", False: "no"}.get(value, visible(str(value))) if isinstance(value, bool) else visible(str(value))
    names = ", ".join(visible(str(each.get("name"))) for each in islice(value, LISTED)) if name in NAMED else ""
    return f"{len(value):,}{names and f': {names}'}{' …' if names and len(value) > LISTED else ''}"


def _caller(past: PastVenue) -> Callable[[str], str]:
    """What calls a table as the till had it named last, by then."""
    tables = past.venue.get("tables")
    return caller_of({str(each.get("id")): str(each.get("name")) for each in tables} if isinstance(tables, list) else {})


def _attention(past: PastVenue, called: Callable[[str], str]) -> Iterator[str]:
    for item in attention_views(past.attention[:LISTED], called):
        yield item.order_id or "of no order"
        yield from attention_lines(item)


def _section(title: str, count: int, lines: Iterable[str] | Sequence[str]) -> Iterator[str]:
    """A title and its lines; nothing where there is nothing."""
    if count:
        yield ""
        yield paint(f"{title}: {count:,}", "cyan")
        yield from (f"  {line}" for line in lines)
    if count > LISTED:
        yield f"  … and {count - LISTED:,} more: --json has all"
