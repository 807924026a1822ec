"""The books of days that people look at, kept for as long as the process lives: only orders that changed since are read again.

A day may have thousands of orders: the first look at it takes several goes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from workflow.books import ORDERS_AT_ONCE, Books, Day, books_of, orders_of
from workflow.calendar import CHANGES_READ
from workflow.clock import Clock, to_text
from workflow.journal.reads import SqliteReads

DAYS_KEPT = 4
"""An order of a day takes some thousand bytes."""


class SoMuch(NamedTuple):
    """The till's books of a day as far as they are read: `done` of `total` orders."""

    books: Books
    done: int
    total: int

    @property
    def is_whole(self) -> bool:
        """Every order of the day is in them."""
        return self.done == self.total


@dataclass(slots=True)
class _Kept:
    """The books of each order that was read, and how many entries there were before."""

    parts: dict[str, Books] = field(default_factory=dict)
    size: int = 0


class KeptBooks:
    """Reads the books of days, ours alone; safe for many threads, which take turns."""

    def __init__(self, reads: SqliteReads, clock: Clock) -> None:
        self._reads, self._clock = reads, clock
        self._kept: OrderedDict[Day, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, day: Day, *, seconds: float) -> SoMuch:
        """The books of the day, read for about so many seconds more. Raises JournalDamaged, JournalUnavailable."""
        with self._lock:
            ends_at = self._clock.monotonic() + seconds
            kept, wanted = self._renewed(day)
            left = [order_id for order_id in wanted if order_id not in kept.parts]
            while left:  # Once at least, or a busy machine would never come to an end.
                batch, left = left[:ORDERS_AT_ONCE], left[ORDERS_AT_ONCE:]
                kept.parts |= {order_id: Books() for order_id in batch}
                for part in books_of(self._reads, batch, until=to_text(day.end)):
                    kept.parts |= dict.fromkeys(part.orders, part)
                if self._clock.monotonic() >= ends_at:
                    break
            books = Books()
            for part in kept.parts.values():
                books.take_in(part)
            return SoMuch(books, len(kept.parts), len(wanted))

    def _renewed(self, day: Day) -> tuple[_Kept, list[str]]:
        """What is kept of the day and still true, and all the orders that it concerns now."""
        size, kept = self._reads.size(), self._kept.pop(day, None)  # First: what comes meanwhile is read again.
        if kept is None or not 0 <= size - kept.size <= CHANGES_READ:
            kept = _Kept()
        wanted: list[str] = [*orders_of(self._reads, day)]
        gone = kept.parts.keys() - set(wanted)
        for order_id in gone.union(self._reads.orders_changed(kept.size) if kept.parts else ()):
            kept.parts.pop(order_id, None)
        kept.size = size
        self._kept[day] = kept
        while len(self._kept) > DAYS_KEPT:
            self._kept.popitem(last=False)
        return kept, wanted
