"""Time, injected: everything that needs a moment asks a `Clock`, so that tests can move it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d\.\d{3}Z", re.ASCII)


class Clock(Protocol):
    """Where moments come from."""

    def now(self) -> datetime:
        """The present moment: aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for waiting and pacing; meaningless across processes."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment by the machine: aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment in the past, never going back."""
        return time.monotonic()


CLOCK_JUMP_SECONDS = 5.0
"""A wall clock that went so much further, or less far, than the seconds that never go back has jumped.

A time service that keeps a clock right bends it by far less; a leap second is one; leases and locks are longer.
"""


class WallClock:
    """Whether the wall clock goes as the seconds do that never go back. A machine that slept counts as a jump, too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lead = self._usual = self._now()

    def _now(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def jump(self) -> float:
        """By how many seconds it jumped since `follow`; 0 where it did not."""
        by = self._now() - self._lead
        return by if abs(by) >= CLOCK_JUMP_SECONDS else 0.0

    def is_back(self, by: float) -> bool:
        """This jump takes it to where it was before the one that stands."""
        return abs(self._lead + by - self._usual) < CLOCK_JUMP_SECONDS

    def follow(self, by: float, *, is_first: bool) -> None:
        """The jump is noted: it is judged by where it is now. `is_first`: none stood before, so this one left the usual course."""
        if is_first:
            self._usual = self._lead
        self._lead += by


class SteadyClock:
    """Moments to wait for, from a clock whose wall time may be set: where that stood when this was made, and what has passed since.

    Due times are stored as moments of this clock and compared with it alone: a wall clock that is set back three days stops no retry,
    one that is set forward makes nothing due (T1, T2). It follows the wall clock again with the next process, to which a jump is a stop
    of that length. How old an entry is, the wall clock says that dated it, less its jumps: see `Unit.age_ms`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ms, self._began = int(clock.now().timestamp() * 1000), clock.monotonic()

    def now_ms(self) -> int:
        """The present moment, in milliseconds since 1970; it never goes back."""
        return self._began_ms + round((self._clock.monotonic() - self._began) * 1000)


def to_text(moment: datetime) -> str:
    """`2026-03-14T12:01:07.120Z`: UTC, milliseconds (cut, not rounded), Z; what the journal and the wire carry."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def from_text(text: str) -> datetime:
    """The moment that `to_text` wrote. Raises ValueError on other forms."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if to_text(moment) != text:
        raise ValueError(f"{text[:40]!r} is not a time as the journal writes it")
    return moment


def is_moment(text: str) -> bool:
    """`from_text` takes it; found out in a fraction of the time, for who asks it of every entry."""
    try:
        return bool(_WRITTEN.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False
