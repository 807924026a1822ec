"""How long Dojo's locks still hold by seconds that never go back: a wall clock that is set back makes none last much longer (I17).

A lock ends at the moment that Dojo named, by the wall clock (X12), or a while after the time has passed that there was until then when it
was taken. The latter is known in memory alone: a lock that an earlier process gave ends by the wall clock.
"""

from __future__ import annotations

from typing import NamedTuple

from workflow.clock import from_text
from workflow.order import Lock, Order

GRACE_MS = 900_000
"""So much longer: a clock that was fast and is put right by less takes no lock from who has it."""
MOST_LOCKS = 10_000
"""So many are remembered; of older ones the wall clock alone says when they end."""


class LockTimes:
    """When each lock that this process gave has run out, by the clock for waiting. Only the journal's writer uses it."""

    def __init__(self) -> None:
        self._ends: dict[str, _End] = {}

    def note(self, order: Order, at: str, now_ms: int) -> None:
        """The order's lock was taken, extended or released at the wall clock's moment `at` and the moment `now_ms` for waiting."""
        self._ends.pop(order.id, None)
        if order.lock is None or order.lock.released:
            return
        left = from_text(order.lock.expires_at) - from_text(at)
        self._ends[order.id] = _End(order.lock, now_ms + int(left.total_seconds() * 1000) + GRACE_MS)
        if len(self._ends) > MOST_LOCKS:
            del self._ends[next(iter(self._ends))]

    def ran_out(self, order: Order, now_ms: int) -> bool:
        """The time of the order's lock has passed, whatever the wall clock shows."""
        end = self._ends.get(order.id)
        return end is not None and end.lock == order.lock and now_ms >= end.at_ms


class _End(NamedTuple):
    lock: Lock
    at_ms: int
