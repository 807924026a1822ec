"""Every message between Dojo and the POS, in both directions, for people and diagrams."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from workflow.clock import Clock

MESSAGES_KEPT = 10_000
"""Older ones are forgotten, so that a sandbox may run for weeks."""
UNANSWERED = 0
"""Stands for the HTTP status of a call that was never answered."""

Direction = Literal["<-", "->"]


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One call and its answer: `<-` from Dojo to the POS, `->` from the POS to Dojo.

    `at_ms` is when the call began, counted from the sandbox's making; `status` is 0 where no answer came; `path` is without
    the POS's own prefix and without a query. `note` says what the call was about, never a whole body.
    """

    at_ms: int
    direction: Direction
    method: str
    path: str
    status: int
    milliseconds: int
    note: str = ""


Observer = Callable[[Message], None]


class Traffic:
    """The record of messages. The observer is called in turn, one message at a time; it should be quick and must not raise."""

    def __init__(self, clock: Clock, observer: Observer | None = None) -> None:
        self._clock = clock
        self._observer = observer
        self._started = clock.monotonic()
        self._lock = threading.RLock()
        self._messages: deque[tuple[float, Message]] = deque(maxlen=MESSAGES_KEPT)

    def now(self) -> float:
        """Seconds for `began`."""
        return self._clock.monotonic()

    def record(self, direction: Direction, method: str, path: str, *, status: int, began: float, note: str = "") -> None:
        """Keep a call that ended just now, and tell the observer."""
        message = Message(
            at_ms=round((began - self._started) * 1000),
            direction=direction,
            method=method,
            path=path,
            status=status,
            milliseconds=round((self.now() - began) * 1000),
            note=note,
        )
        with self._lock:
            self._messages.append((began, message))
            if self._observer:
                self._observer(message)

    def messages(self) -> tuple[Message, ...]:
        """What was kept, in the order in which the calls began (they end, and are observed, in another)."""
        with self._lock:
            kept = list(self._messages)
        return tuple(message for _, message in sorted(kept, key=lambda pair: pair[0]))
