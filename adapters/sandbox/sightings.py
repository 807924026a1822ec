"""What the POS was seen to do; flows wait for it here, and only here."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from adapters.sandbox.errors import NotSeen, Stopped


@dataclass(frozen=True, slots=True)
class IntentRead:
    """The POS read a payment intent, and got the answer that it has this status."""

    intent_id: str
    status: str

    def __str__(self) -> str:
        return f"read payment intent {self.intent_id} as {self.status}"


@dataclass(frozen=True, slots=True)
class OrderTold:
    """The POS sent `OrderUpdated` for this order of its own."""

    order_id: str

    def __str__(self) -> str:
        return f"sent OrderUpdated for order {self.order_id}"


@dataclass(frozen=True, slots=True)
class EventTaken:
    """The POS took an event of this payment intent, through every channel that it has."""

    intent_id: str

    def __str__(self) -> str:
        return f"taken an event of payment intent {self.intent_id}"


Fact = IntentRead | OrderTold | EventTaken


class Sightings:
    """When each fact was last seen, counted in sightings: clocks may tie, this cannot."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._last: dict[Fact, int] = {}
        self._count = 0
        self._closed = False

    def mark(self) -> int:
        """The present position, for `since`."""
        with self._changed:
            return self._count

    def note(self, fact: Fact) -> None:
        """The POS did this just now."""
        with self._changed:
            self._count += 1
            self._last[fact] = self._count
            self._changed.notify_all()

    def wait(self, fact: Fact, *, since: int, seconds: float) -> int:
        """Wait until the fact was seen after `since`; the position where it was last seen.

        Raises NotSeen after `seconds` of real time, Stopped when the sandbox stops.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._last.get(fact, 0) > since, timeout=seconds)
            if self._last.get(fact, 0) > since:
                return self._last[fact]
            if self._closed:
                raise Stopped("the sandbox was stopped")
            raise NotSeen(f"the POS has not {fact} within {seconds:.1f} s")

    def pause(self, seconds: float) -> None:
        """Let time pass. Raises Stopped when the sandbox stops meanwhile."""
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, timeout=seconds):
                raise Stopped("the sandbox was stopped")

    def close(self) -> None:
        """Wake everyone who waits; nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
