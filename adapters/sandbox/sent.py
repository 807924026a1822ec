"""Which events went out, by which way, and what their receivers answered; any of the latest `EVENTS_KEPT` can go once more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

EVENTS_KEPT = 1_000
Outcome = Literal["waiting", "delivered", "undelivered", "dropped"]


class SentEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event on one way; `answers` are the HTTP statuses of its attempts, 0 where none came, oldest first."""

    id: str
    event: str
    payment_intent_id: str
    payment_status: str
    receiver: str
    created_at: str
    outcome: Outcome = "waiting"
    answers: tuple[int, ...] = ()


class SentEvents:
    """The list; positions are never used twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[int, tuple[SentEvent, Callable[[], object]]] = {}
        self._next = 0

    def open(self, body: Mapping[str, object], receiver: str, send_again: Callable[[int], object]) -> int:
        """An event that is about to go; its position, with which `send_again` is called where a person wants it once more."""
        data = msgspec.convert(body["data"], dict[str, str])
        event = SentEvent(
            id=str(body["id"]),
            event=str(body["event"]),
            payment_intent_id=data["paymentIntentId"],
            payment_status=data["paymentStatus"],
            receiver=receiver,
            created_at=str(body["createdAt"]),
        )
        with self._lock:
            position, self._next = self._next, self._next + 1
            self._events[position] = event, lambda: send_again(position)
            self._events.pop(position - EVENTS_KEPT, None)
        return position

    def note(self, position: int, *, outcome: Outcome | None = None, answer: int | None = None) -> None:
        """What became of it; nothing where it is forgotten already."""
        with self._lock:
            if found := self._events.get(position):
                event, send_again = found
                answers = event.answers if answer is None else (*event.answers, answer)
                self._events[position] = msgspec.structs.replace(event, outcome=outcome or event.outcome, answers=answers), send_again

    def all(self) -> tuple[SentEvent, ...]:
        """Newest first."""
        with self._lock:
            return tuple(event for event, _ in reversed(self._events.values()))

    def again(self, event_id: str) -> tuple[Callable[[], object], ...]:
        """What sends the event of this id once more, by each way that it went; empty where it is unknown."""
        with self._lock:
            return tuple(send_again for event, send_again in self._events.values() if event.id == event_id)
