"""What is wrong with the journal at this moment. It stands in memory: what cannot be written cannot be journaled either.

`/readyz`, `/api/attention` and `/metrics` read it beside what is stored. Once it is over, the journal is told (`workflow/upkeep.py`).
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from workflow.clock import Clock, to_text

DISK_FULL, JOURNAL_READ_ONLY, JOURNAL_BUSY = "DISK_FULL", "JOURNAL_READ_ONLY", "JOURNAL_BUSY"
PASSING = frozenset({DISK_FULL, JOURNAL_READ_ONLY, JOURNAL_BUSY})
"""What may end by itself: it is probed for. Anything else stands until a restart with another journal."""

JOURNAL_DAMAGED, CHAIN_BROKEN = "JOURNAL_DAMAGED", "CHAIN_BROKEN"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps the journal from being written. `until` is "" while it stands; both times are UTC text."""

    code: str
    since: str
    detail: str
    until: str = ""


class Condition:
    """What stands now, from the beginning where it is `known`, and what is over but not journaled yet; for any thread."""

    def __init__(self, clock: Clock, known: Iterable[Trouble] = ()) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._standing = {trouble.code: trouble for trouble in known}
        self._over: list[Trouble] = []
        self.failures: Counter[str] = Counter()
        """How often each was met since the start, for the metric."""

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing is written, the oldest reason first; None where everything is."""
        return next(iter(self.standing()), None)

    def standing(self) -> list[Trouble]:
        """Everything that stands, oldest first."""
        with self._lock:
            return list(self._standing.values())

    def begin(self, code: str, detail: str) -> None:
        """It was met: it stands from now on, or has since it was met first."""
        with self._lock:
            self.failures[code] += 1
            if code in self._standing:
                return
            self._standing[code] = Trouble(code=code, since=to_text(self._clock.now()), detail=detail)
        logger.error("journal not writable", extra={"code": code, "detail": detail})

    def end_passing(self) -> None:
        """A write worked: what may end by itself has."""
        with self._lock:
            ended = [self._standing.pop(code) for code in PASSING & self._standing.keys()]
            until = to_text(self._clock.now())
            self._over += [Trouble(code=each.code, since=each.since, detail=each.detail, until=until) for each in ended]
        for each in ended:
            logger.warning("journal writable again", extra={"code": each.code, "since": each.since})

    def take_over(self) -> list[Trouble]:
        """What is over; the caller journals it, or gives it `back`."""
        with self._lock:
            over, self._over = self._over, []
            return over

    def give_back(self, over: list[Trouble]) -> None:
        """It could not be journaled yet."""
        with self._lock:
            self._over = over + self._over
