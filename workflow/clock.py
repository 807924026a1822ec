"""Time, injected: everything that needs a moment asks a `Clock`, so that tests can move it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


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


def to_text(moment: datetime) -> str:
    """`2026-03-14T12:01:07.120Z`: UTC, milliseconds (cut, not rounded), Z; what the journal and the wire carry."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def from_text(text: str) -> datetime:
    """The moment that `to_text` wrote. Raises ValueError on other forms."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if to_text(moment) != text:
        raise ValueError(f"{text[:40]!r} is not a time as the journal writes it")
    return moment
