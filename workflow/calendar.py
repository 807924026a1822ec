"""A month's days with the till's sums: what a person looks through for the day that does not add up.

The sums of an order's payments come from its entries, as for a single day (`books.py`). What was added up is remembered for as long as the
process lives, and only orders that changed since are read again; the first look at a long month takes several goes.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from workflow.books import ORDERS_AT_ONCE, Books, Day, books_of
from workflow.clock import Clock, to_text
from workflow.journal.reads import SqliteReads
from workflow.takings import Figures, on_till

MONTHS_KEPT = 24
CHANGES_READ = 20_000
"""Of a month that was looked at last so many entries ago, everything is added up anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySum:
    """What the till has of a day: by currency its figures, and how many payments were captured."""

    day: Day
    figures: dict[str, Figures]
    payments: dict[str, int]

    @property
    def is_nothing(self) -> bool:
        """No money moved."""
        return all(figures.is_nothing for figures in self.figures.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The days of a month, and how far they are added up: `done` of `total` orders."""

    days: list[DaySum]
    done: int
    total: int

    @property
    def is_whole(self) -> bool:
        """All of it is in the sums."""
        return self.done == self.total

    @property
    def totals(self) -> dict[str, Figures]:
        """The month's figures by currency."""
        found: dict[str, Figures] = {}
        for each in self.days:
            for currency, figures in each.figures.items():
                found[currency] = _plus(found.get(currency), figures)
        return dict(sorted(found.items()))


class _Part(NamedTuple):
    """What a payment of an order brought on a day."""

    date: date
    figures: Figures


@dataclass(slots=True)
class _Kept:
    """A month as far as it was added up: the parts of each order, orders that are left, and the entries that were looked at."""

    parts: dict[str, list[_Part]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    size: int = 0


class Calendar:
    """Adds up the days of the venue's months, in the venue's zone; safe for many threads, which take turns."""

    def __init__(self, reads: SqliteReads, zone: ZoneInfo, clock: Clock) -> None:
        self._reads, self._zone, self._clock = reads, zone, clock
        self._kept: OrderedDict[date, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def month(self, first: date, *, seconds: float) -> Month:
        """The month that begins on `first`, added up for about so many seconds more. Raises JournalDamaged, JournalUnavailable."""
        with self._lock:
            days, ends_at = _days(first, self._zone), self._clock.monotonic() + seconds
            kept = self._renewed(first, days)
            while kept.left:  # Once at least, or a busy machine would never come to an end.
                self._add(kept, kept.left[-ORDERS_AT_ONCE:], days)
                del kept.left[-ORDERS_AT_ONCE:]
                if self._clock.monotonic() >= ends_at:
                    break
            return Month(days=list(_sums(kept, days)), done=len(kept.parts), total=len(kept.parts) + len(kept.left))

    def _renewed(self, first: date, days: list[Day]) -> _Kept:
        """What is kept of the month, and of what it lacks: orders that are new in it, or changed since."""
        size, kept = self._reads.size(), self._kept.pop(first, None)
        if kept is None or not 0 <= size - kept.size <= CHANGES_READ:
            kept = _Kept()
        changed = self._reads.orders_with_entries(to_text(days[0].start), to_text(days[-1].end), after=kept.size)
        again = {order_id for order_id in self._reads.orders_changed(kept.size) if order_id in kept.parts} if kept.size else set()
        wanted = {*changed, *again}
        for order_id in wanted:
            kept.parts.pop(order_id, None)
        kept.left += sorted(wanted.difference(kept.left))
        kept.size = size
        self._kept[first] = kept
        while len(self._kept) > MONTHS_KEPT:
            self._kept.popitem(last=False)
        return kept

    def _add(self, kept: _Kept, order_ids: list[str], days: list[Day]) -> None:
        kept.parts |= {order_id: [] for order_id in order_ids}
        for books in books_of(self._reads, order_ids):
            for order_id, parts in _parts(books, days):
                kept.parts[order_id] += parts


def _parts(books: Books, days: list[Day]) -> Iterator[tuple[str, list[_Part]]]:
    by_date = {day.date: day for day in days}
    for taking in books.takings.values():
        mine = [by_date[day.date] for day in taking.days(days[0].zone) if day.date in by_date]
        parts = [_Part(day.date, figures) for day in mine if not (figures := on_till(taking, day)).is_nothing]
        yield taking.order_id, parts


def _sums(kept: _Kept, days: list[Day]) -> Iterator[DaySum]:
    figures: dict[date, dict[str, Figures]] = {day.date: {} for day in days}
    payments: dict[date, Counter[str]] = {day.date: Counter() for day in days}
    for part in _all(kept.parts.values()):
        found, currency = figures[part.date], part.figures.currency
        found[currency] = _plus(found.get(currency), part.figures)
        payments[part.date][currency] += bool(part.figures.captured or part.figures.tips)
    for day in days:
        yield DaySum(day=day, figures=dict(sorted(figures[day.date].items())), payments=payments[day.date])


def _all(lists: Iterable[list[_Part]]) -> Iterator[_Part]:
    for parts in lists:
        yield from parts


def _plus(one: Figures | None, other: Figures) -> Figures:
    if one is None:
        return other
    return Figures(
        currency=one.currency,
        captured=one.captured + other.captured,
        tips=one.tips + other.tips,
        refunded=one.refunded + other.refunded,
    )


def _days(first: date, zone: ZoneInfo) -> list[Day]:
    found, each = [], first.replace(day=1)
    while each.month == first.month:
        found.append(Day(each, zone))
        each += timedelta(days=1)
    return found
