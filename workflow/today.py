"""The venue's day while it lasts: what came in so far, how many orders stand where, and how the calls to Dojo and the till go.

All of it is asked for again every few seconds, so that its cost is that of what happened since, not that of the day or the journal.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from zoneinfo import ZoneInfo

from workflow.books import Day, Taking, day_of, order_takings
from workflow.clock import to_text
from workflow.declaration import target_of, words
from workflow.effects import DESTINATIONS, TILL, TellTill
from workflow.journal.reads import SqliteReads, from_ms
from workflow.lifecycle import ORDER
from workflow.order import HELD, TAKEN, UNPAID
from workflow.ports import OrderId
from workflow.takings import Figures, on_till
from workflow.unit import PAUSE_CODES

OPEN_STATES = (target_of(ORDER, "create"), *words(ORDER.groups["unsettled"]))
"""Of an order with which something is still to happen, whenever it began."""
CLOCK_SLACK = timedelta(days=1)
"""A clock that was put back by less than this hides no entry of the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoFar:
    """The money of a day in one currency, as the till has it; `payments` of `orders` orders were captured.

    `held_back` payments agree with their orders so little that they do not count, whatever their day.
    """

    figures: Figures
    payments: int = 0
    orders: int = 0
    held_back: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The calls to one destination: how many wait, are under way and were given up; `next_at` is UTC text, None where nothing waits.

    `is_paused`: it refuses all our calls. `is_failing`: the last ones failed, and none was taken since.
    """

    destination: str
    waiting: int
    under_way: int
    dead: int
    next_at: str | None
    is_paused: bool
    is_failing: bool


class Till:
    """Follows the day's money. Each order to which something happened is read once, and again when something more has; for any thread.

    Figures are those of `takings`: what counts on the till, by the day of its movement. They begin anew with each day.
    """

    def __init__(self, reads: SqliteReads, zone: ZoneInfo, currency: str) -> None:
        self._reads, self._zone, self._currency = reads, zone, currency
        self._lock = threading.Lock()
        self._day: Day | None = None
        self._read_to = 0
        self._sums: dict[OrderId, list[SoFar]] = {}

    def so_far(self, now: datetime) -> tuple[Day, list[SoFar]]:
        """The day of `now`, and its money by currency, the venue's first. Raises JournalDamaged, JournalUnavailable."""
        with self._lock:
            self._follow(day_of(now, self._zone))
            assert self._day is not None
            return self._day, _together(self._sums.values(), self._currency)

    def _follow(self, day: Day) -> None:
        if day != self._day:
            self._day, self._sums = day, {}
            rows = self._reads.rows(_LAST_BEFORE, (to_text(day.start - CLOCK_SLACK),))
            self._read_to = rows[0][0] if rows else 0
        newest = self._reads.size()  # First: what comes meanwhile is read again.
        for (order_id,) in self._reads.rows(_TOUCHED, (self._read_to, newest)):
            self._sums[order_id] = _of_order(order_takings(self._reads, order_id), day)
        self._read_to = newest


# Backwards, as far as the day goes; by the index on the moments it would sort everything that was before.
_LAST_BEFORE = "SELECT seq FROM journal NOT INDEXED WHERE at < ? ORDER BY seq DESC LIMIT 1"
# What is announced or held, and was no more before, is in no sum.
_BEFORE, _SINCE = (", ".join(f"'{state}'" for state in sorted(states)) for states in ({"", *UNPAID}, UNPAID | (HELD - TAKEN)))
_TOUCHED = f"""
    SELECT DISTINCT order_id FROM journal WHERE seq > ? AND seq <= ? AND order_id <> '' AND payment_intent_id <> ''
    AND NOT (kind = 'transition' AND from_state IN ({_BEFORE}) AND to_state IN ({_SINCE}))
"""


def _of_order(takings: list[Taking], day: Day) -> list[SoFar]:
    """What one order brought on the day, by currency."""
    return [_sum([each for each in takings if each.currency == name], day) for name in {each.currency for each in takings}]


def _sum(takings: list[Taking], day: Day) -> SoFar:
    moved = [on_till(each, day) for each in takings]
    payments = sum(each.counts and each.recorded_at in day for each in takings)
    return SoFar(
        figures=Figures(
            currency=takings[0].currency,
            captured=sum(each.captured for each in moved),
            tips=sum(each.tips for each in moved),
            refunded=sum(each.refunded for each in moved),
        ),
        payments=payments,
        orders=int(payments > 0),
        held_back=sum(bool(each.held_back_as) for each in takings),
    )


def _together(orders: Iterable[list[SoFar]], currency: str) -> list[SoFar]:
    found: dict[str, list[SoFar]] = {currency: []}
    for each in chain.from_iterable(orders):
        found.setdefault(each.figures.currency, []).append(each)
    return [
        SoFar(
            figures=Figures(
                currency=name,
                captured=sum(each.figures.captured for each in sums),
                tips=sum(each.figures.tips for each in sums),
                refunded=sum(each.figures.refunded for each in sums),
            ),
            payments=sum(each.payments for each in sums),
            orders=sum(each.orders for each in sums),
            held_back=sum(each.held_back for each in sums),
        )
        for name, sums in found.items()
    ]


def standing(reads: SqliteReads, day: Day) -> dict[str, int]:
    """How many orders are in each state: in an open one all of them, whenever they began, in any other those that began on `day`.

    Raises JournalUnavailable, JournalDamaged.
    """
    since = {state: "" if state in OPEN_STATES else to_text(day.start) for state in ORDER.states}
    return {state: reads.rows(_COUNT, (state, at))[0][0] for state, at in since.items()}


_COUNT = "SELECT count(*) FROM orders INDEXED BY orders_by_state WHERE state = ? AND created_at >= ?"


def lines(reads: SqliteReads, standing_codes: Mapping[str, int]) -> list[Line]:
    """The calls to each destination; `standing_codes` are the codes of attention that stand. Raises JournalUnavailable, JournalDamaged."""
    return [_line(reads, destination, standing_codes) for destination in DESTINATIONS]


def _line(reads: SqliteReads, destination: str, standing_codes: Mapping[str, int]) -> Line:
    is_till = int(destination == TILL)
    counts = {status: reads.rows(sql, (is_till,))[0] for status, sql in _TASKS.items()}
    due = [at for status in ("pending", "paused") if (at := counts[status][1]) is not None]
    return Line(
        destination=destination,
        waiting=counts["pending"][0] + counts["paused"][0],
        under_way=counts["leased"][0],
        dead=counts["dead"][0],
        next_at=from_ms(min(due)) if due else None,
        is_paused=not standing_codes.keys().isdisjoint(PAUSE_CODES[destination]),
        is_failing=bool(reads.conduct(destination).failed),
    )


# A partial index serves only the very condition it was made with.
_TASKS = {
    status: f"SELECT count(*), min(next_at_ms) FROM outbox WHERE status = '{status}' AND (effect = '{TellTill.name}') = ?"
    for status in ("pending", "paused", "leased", "dead")
}
