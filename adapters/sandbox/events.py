"""Events that Dojo sends to the POS: at least once, and as badly as told. Contract §5."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from adapters.sandbox import faults, identifiers
from adapters.sandbox.errors import EventUndelivered, StepFailed
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.identifiers import IdMaker
from adapters.sandbox.intents import Intent
from adapters.sandbox.pos import PosClient
from adapters.sandbox.sightings import Sightings
from adapters.sandbox.traffic import UNANSWERED, Traffic
from adapters.sandbox.wire import event_body
from workflow.clock import Clock

EVENT_ATTEMPTS = 5
BACK_OFF_SECONDS = 0.2
"""Before the second attempt; each later wait is twice the last."""
EVENTS_PATH = "/v1/events"
JOIN_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Events:
    """Makes and delivers events; any 2xx is delivered, anything else is tried again a limited number of times."""

    def __init__(
        self,
        *,
        account_id: str,
        clock: Clock,
        new_id: IdMaker,
        rules: Faults,
        sightings: Sightings,
        traffic: Traffic,
        attempts: int = EVENT_ATTEMPTS,
        back_off_seconds: float = BACK_OFF_SECONDS,
    ) -> None:
        self._account_id = account_id
        self._clock = clock
        self._new_id = new_id
        self._rules = rules
        self._sightings = sightings
        self._traffic = traffic
        self._attempts = attempts
        self._back_off_seconds = back_off_seconds
        self._lock = threading.Lock()
        self._late: list[threading.Thread] = []

    def send(self, client: PosClient, intent: Intent, name: str, *, copies: int = 1) -> str:
        """Send one event, `copies` times with one id and body; how it went, in words.

        A rule for its name may double, delay or drop it. Raises EventUndelivered, Stopped.
        """
        event_id = self._new_id(identifiers.EVENT)
        body = event_body(intent, event_id=event_id, name=name, account_id=self._account_id, at=self._clock.now())
        note = f"{name} {intent.status} {event_id}"
        rule = self._rules.take(faults.EVENT, name)
        if rule and rule.kind == faults.DROPPED:
            self._traffic.record("<-", "POST", EVENTS_PATH, status=UNANSWERED, began=self._traffic.now(), note=f"{note}: dropped")
            return f"{event_id} was dropped"
        if rule and rule.kind == faults.LATE:
            self._send_late(client, body, note, copies=copies, rule=rule)
            return f"{event_id} comes {rule.late_seconds:g} s late"
        if rule:
            copies += 1
        self._deliver(client, body, note, copies=copies)
        return f"{event_id} delivered {copies} times" if copies > 1 else f"{event_id} delivered"

    def join(self) -> None:
        """Wait for late events, once `Sightings.close` has cut their waiting short."""
        with self._lock:
            late = tuple(self._late)
        for thread in late:
            thread.join(JOIN_SECONDS)

    def _send_late(self, client: PosClient, body: Mapping[str, object], note: str, *, copies: int, rule: Fault) -> None:
        def deliver() -> None:
            try:
                self._sightings.pause(rule.late_seconds)
                self._deliver(client, body, f"{note} (late)", copies=copies)
            except StepFailed as error:
                logger.warning("late event undelivered", extra={"event_id": body["id"], "reason": str(error)})

        thread = threading.Thread(target=deliver, name="late-event", daemon=True)
        with self._lock:
            thread.start()
            self._late = [*(other for other in self._late if other.is_alive()), thread]

    def _deliver(self, client: PosClient, body: Mapping[str, object], note: str, *, copies: int) -> None:
        for copy in range(1, copies + 1):
            self._deliver_once(client, body, note if copy == 1 else f"{note} (copy {copy})")

    def _deliver_once(self, client: PosClient, body: Mapping[str, object], note: str) -> None:
        for attempt in range(1, self._attempts + 1):
            answer = client.call("POST", EVENTS_PATH, body, note=note if attempt == 1 else f"{note} (attempt {attempt})")
            if answer.is_success:
                return
            if attempt < self._attempts:
                self._sightings.pause(self._back_off_seconds * 2 ** (attempt - 1))
        raise EventUndelivered(f"the POS took the event with none of {self._attempts} attempts; its last answer: {answer}")
