"""Events that Dojo sends to the POS: at least once, and as badly as told. Contract §5."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from adapters.sandbox import faults, identifiers
from adapters.sandbox.channels import Channel
from adapters.sandbox.errors import EventUndelivered, NotSeen, StepFailed, UnknownEvent
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.identifiers import IdMaker
from adapters.sandbox.intents import Intent
from adapters.sandbox.sent import SentEvent, SentEvents
from adapters.sandbox.sightings import EventTaken, Sightings
from adapters.sandbox.traffic import UNANSWERED, Traffic
from adapters.sandbox.wire import event_body
from workflow.clock import Clock

EVENT_ATTEMPTS = 5
BACK_OFF_SECONDS = 0.2
"""Before the second attempt; each later wait is twice the last."""
JOIN_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way through one channel; `position` is its place in the list of what was sent."""

    channel: Channel
    body: Mapping[str, object]
    note: str
    position: int


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
        same_id: bool = False,
    ) -> None:
        self._account_id = account_id
        self._clock = clock
        self._new_id = new_id
        self._rules = rules
        self._sightings = sightings
        self._traffic = traffic
        self._attempts = attempts
        self._back_off_seconds = back_off_seconds
        self._same_id = same_id
        self._sent = SentEvents()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def send(self, channels: Sequence[Channel], intent: Intent, name: str, *, copies: int = 1, same_id: bool = False) -> str:
        """Send one event through each channel, `copies` times with one id and body; how it went, in words.

        Each channel has an event id of its own, or with `same_id` all have one. A rule for its name may double, delay, swap or drop
        it. Raises EventUndelivered once every channel was tried, Stopped.
        """
        deliveries = self._deliveries(channels, intent, name, same_id=same_id or self._same_id)
        ids = ", ".join(dict.fromkeys(str(delivery.body["id"]) for delivery in deliveries))
        rule = self._rules.take(faults.EVENT, name, f"{name} {intent.id}")
        if rule and rule.kind == faults.DROPPED:
            self._drop(deliveries)
            return f"{ids} was dropped"
        if rule and rule.kind in {faults.LATE, faults.OUT_OF_ORDER}:
            self._send_late(deliveries, intent, copies=copies, rule=rule)
            return f"{ids} comes {'after the next' if rule.kind == faults.OUT_OF_ORDER else f'{rule.late_seconds:g} s late'}"
        if rule:
            copies += 1
        self._deliver(deliveries, intent, copies=copies)
        return f"{ids} delivered {copies} times" if copies > 1 else f"{ids} delivered"

    def send_in_background(self, channels: Sequence[Channel], intent: Intent, name: str) -> None:
        """Send one event while the caller goes on; what is not delivered is logged."""
        if channels:
            self._in_background(lambda: self.send(channels, intent, name))

    def sent(self) -> tuple[SentEvent, ...]:
        """The latest events, newest first."""
        return self._sent.all()

    def send_again(self, event_id: str) -> None:
        """Send an event once more in the background, under the same id with the same body, by each way that it went.

        Faults do not touch it. Raises UnknownEvent.
        """
        ways = self._sent.again(event_id)
        if not ways:
            raise UnknownEvent(f"no event {event_id} among the latest")
        for send in ways:
            self._in_background(send)

    def join(self) -> None:
        """Wait for what is sent in the background, once `Sightings.close` has cut its waiting short."""
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(JOIN_SECONDS)

    def _deliveries(self, channels: Sequence[Channel], intent: Intent, name: str, *, same_id: bool) -> list[Delivery]:
        shared = self._new_id(identifiers.EVENT) if same_id else ""
        found = []
        for channel in channels:
            event_id = shared or self._new_id(identifiers.EVENT)
            body = event_body(intent, event_id=event_id, name=name, account_id=self._account_id, at=self._clock.now())
            found.append(self._delivery(channel, body, f"{name} {intent.status} {event_id}", intent))
        return found

    def _delivery(self, channel: Channel, body: Mapping[str, object], note: str, intent: Intent) -> Delivery:
        def send_again(position: int) -> None:
            self._deliver([Delivery(channel, body, f"{note} (again)", position)], intent, copies=1)

        return Delivery(channel, body, note, self._sent.open(body, channel.receiver, send_again))

    def _drop(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            note, path = f"{delivery.note}: dropped", delivery.channel.path
            self._traffic.record("<-", "POST", path, status=UNANSWERED, began=self._traffic.now(), note=note)
            self._sent.note(delivery.position, outcome="dropped")

    def _send_late(self, deliveries: Sequence[Delivery], intent: Intent, *, copies: int, rule: Fault) -> None:
        late = [replace(one, note=f"{one.note} (late)") for one in deliveries]
        since = self._sightings.mark()

        def deliver() -> None:
            if rule.kind == faults.OUT_OF_ORDER:
                try:
                    self._sightings.wait(EventTaken(intent.id), since=since, seconds=rule.late_seconds)
                except NotSeen:
                    logger.info("no event came after the one that waited", extra={"intent_id": intent.id})
            else:
                self._sightings.pause(rule.late_seconds)
            self._deliver(late, intent, copies=copies)

        self._in_background(deliver)

    def _in_background(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except StepFailed as error:
                logger.warning("event undelivered", extra={"reason": str(error)})

        thread = threading.Thread(target=run, name="event", daemon=True)
        with self._lock:
            thread.start()
            self._threads = [*(other for other in self._threads if other.is_alive()), thread]

    def _deliver(self, deliveries: Sequence[Delivery], intent: Intent, *, copies: int) -> None:
        problems = []
        for delivery in deliveries:
            try:
                for copy in range(1, copies + 1):
                    self._deliver_once(delivery, delivery.note if copy == 1 else f"{delivery.note} (copy {copy})")
            except EventUndelivered as error:
                problems.append(str(error))
        if problems:
            raise EventUndelivered("; ".join(problems))
        self._sightings.note(EventTaken(intent.id))

    def _deliver_once(self, delivery: Delivery, note: str) -> None:
        for attempt in range(1, self._attempts + 1):
            answer = delivery.channel.deliver(delivery.body, note if attempt == 1 else f"{note} (attempt {attempt})")
            self._sent.note(delivery.position, outcome="delivered" if answer.is_success else None, answer=answer.status)
            if answer.is_success:
                return
            if attempt < self._attempts:
                self._sightings.pause(self._back_off_seconds * 2 ** (attempt - 1))
        self._sent.note(delivery.position, outcome="undelivered")
        receiver = delivery.channel.receiver
        raise EventUndelivered(f"{receiver} took the event with none of {self._attempts} attempts; its last answer: {answer}")
