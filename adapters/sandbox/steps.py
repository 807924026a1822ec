"""What the flows are made of: steps that move money at Dojo, tell the POS, and look at what the POS shows.

A payment is done only when the POS itself shows the money: it read the intent, sent `OrderUpdated`, and the order that is then read
back has the figures that Dojo's ledger has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import quote

import msgspec

from adapters.sandbox import magic
from adapters.sandbox.calls import Answer
from adapters.sandbox.channels import Channel, Channels, capability
from adapters.sandbox.errors import UNREADABLE, EventUndelivered, NotSeen, PosRefused, StepFailed
from adapters.sandbox.events import Events
from adapters.sandbox.faults import Faults
from adapters.sandbox.figures import Figures, payment_differences
from adapters.sandbox.flow import Afterwards, Flow, Payments
from adapters.sandbox.identifiers import IdMaker
from adapters.sandbox.intents import MAX_REFERENCE, CaptureMode, Intent, Intents, Status
from adapters.sandbox.magic import Spell
from adapters.sandbox.pos import PosOrder
from adapters.sandbox.sightings import IntentRead, OrderTold, Sightings
from adapters.sandbox.traffic import UNANSWERED
from adapters.sandbox.wire import EVENT_STATUS_UPDATED
from workflow.clock import Clock
from workflow.money import Money

STATUS_CAPABILITY = capability(EVENT_STATUS_UPDATED)
TOO_LATE = 409
SAID_BYTES = 200
"""Of a refusal that is not Dojo's EPOSError: enough to know it by."""
HOLD_BACK_SECONDS = 0.5
"""How long a POS is given to show money that it should not show."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What every flow works with."""

    channels: Channels
    clock: Clock
    events: Events
    intents: Intents
    new_id: IdMaker
    rules: Faults
    sightings: Sightings
    step_seconds: float


class Steps:
    """One flow's steps, its payments so far, and what its order should show by them."""

    def __init__(self, flow: Flow, world: World, request: Payments) -> None:
        self.flow, self.world, self.request = flow, world, request
        self._spells: dict[str, Spell] = {}
        self._held_back: set[str] = set()
        self._shown_before: Figures | None = None

    def step(self, name: str) -> AbstractContextManager[list[str]]:
        """Run one step; what the block appends to the list becomes its detail."""
        return self.flow.step(name)

    # -- money at Dojo

    def make_intent(
        self,
        amount: Money,
        *,
        reference: str,
        capture_mode: CaptureMode,
        service_charge: Money,
        tips: Money | None,
        description: str | None = None,
        dojo_order_id: str | None = None,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        spell: Spell | None = None,
    ) -> Intent:
        """A payment intent of this flow, and whatever its amount conjures up, or `spell` instead."""
        spell = spell or magic.spell_of(amount + service_charge)
        currency = magic.twisted(spell, amount).currency
        intent = self.world.intents.make(
            magic.twisted(spell, amount),
            service_charge=Money(service_charge.value, currency),
            tips=tips and Money(tips.value, currency),
            capture_mode=capture_mode,
            reference=reference[:MAX_REFERENCE],
            description=description,
            dojo_order_id=dojo_order_id,
            external_id=magic.OTHER_ORDER if spell.other_order else external_id,
            metadata=metadata,
        )
        magic.cast(spell, intent, self.world.rules)
        self._spells[intent.id] = spell
        self.flow.paying(intent.id)
        return intent

    def is_declined(self, intent: Intent) -> bool:
        """The card is refused, by the request or by the amount."""
        return self.request.instead_of_capture == "decline" or self._spells[intent.id].declined

    def link(self, intent: Intent, order_id: str) -> None:
        """Dojo learnt the POS's id of the order."""
        self.world.intents.link(intent.id, magic.OTHER_ORDER if self._spells[intent.id].other_order else order_id)

    def hold_back(self, intent: Intent, *, was_declared: bool) -> None:
        """Remember an intent that does not agree with its order, so that its money must not be shown."""
        spell = self._spells[intent.id]
        if spell.other_order or spell.other_currency or (spell.penny_more and was_declared):
            self._held_back.add(intent.id)

    def authorise(self, intent: Intent) -> None:
        """The customer's bank holds the money."""
        with self.step("Authorise") as details:
            details.append(f"{self.world.intents.authorise(intent.id).total} held")

    def captures(self) -> tuple[Money | None, ...]:
        """The parts in which the money is taken; None is all that is left."""
        return self.request.captures or (None,)

    def capture(self, intent: Intent, amount: Money | None) -> None:
        """Take the money or a part of it; the first part brings the tips."""
        with self.step("Capture") as details:
            first = amount is not None and intent.tips.value and not self.world.intents.read(intent.id).captures
            after = self.world.intents.capture(intent.id, amount, tips=intent.tips if first else None)
            details.append(f"{after.taken} taken")

    def mark(self) -> int:
        """The present moment, for `since`: a POS that swept the intent before an event came did nothing wrong."""
        return self.world.sightings.mark()

    # -- telling the POS

    def tell(self, intent: Intent, event: str = EVENT_STATUS_UPDATED) -> None:
        """Send an event of the intent as it is now."""
        with self.step(capability(event)) as details:
            details.append(self._send(intent, event))

    def takes(self, event: str) -> bool:
        """The POS gets such events, one way or the other."""
        return bool(self._channels(event))

    def tell_of_capture(self, intent: Intent) -> None:
        """Send `status_updated`, as late and as often as the flow was asked to."""
        with self.step(STATUS_CAPABILITY) as details:
            self.world.sightings.pause(self.request.delay_seconds)
            details.append(self._send(intent, EVENT_STATUS_UPDATED, copies=1 + self.request.duplicates))

    def give_back(self, intent: Intent) -> None:
        """The POS did not take the order: it must not cost the customer anything, and a POS that kept it after all learns of it."""
        self.world.intents.give_back(intent.id)
        with suppress(EventUndelivered):
            self._send(intent, EVENT_STATUS_UPDATED)

    def cancel_order(self, order_id: str) -> bool:
        """CancelOrderById; False where the POS says that it is too late."""
        with self.step("CancelOrderById") as details:
            answer = self.flow.client.call("DELETE", path_of(order_id))
            if answer.status == TOO_LATE:
                details.append("409: too late, the order stays")
                return False
            if not answer.is_success:
                raise StepFailed(f"CancelOrderById: {answer}")
            details.append("cancelled")
            return True

    # -- looking at the POS

    def remember(self, shown: Figures) -> None:
        """What the order showed before the payments of this flow."""
        self._shown_before = shown

    def expected(self, *, payable: bool | None = None) -> Figures:
        """What the order should show: what it showed before, and what the payments of this flow brought and kept."""
        assert self._shown_before is not None
        shown = self._shown_before
        paid, tips = shown.paid, shown.tips
        for of_intent in self._counted().values():
            paid, tips = paid + of_intent[0], tips + of_intent[1]
        return replace(shown, paid=paid, tips=tips, payable=payable)

    def differences(self, order: PosOrder, *, payable: bool | None = None) -> list[str]:
        """Everything in which the POS's order is not as it should be; empty when it agrees."""
        payments = payment_differences(order, self._counted(), required=self.request.records)
        return self.expected(payable=payable).differences(order) + payments

    def _counted(self) -> dict[str, tuple[Money, Money]]:
        """(paid, tips) that the order should show of each payment of this flow."""
        mine = [intent_id for intent_id in self.flow.result().intent_ids if intent_id not in self._held_back]
        return {intent_id: self.world.intents.read(intent_id).counted for intent_id in mine}

    def see_through(self, order_id: str, intent: Intent, *, since: int, status: Status = "Captured") -> None:
        """See a payment through to the POS's own books; or, where it does not agree with the order, that it stays out of them."""
        self.await_read(intent, status, since=since)
        if intent.id in self._held_back:
            with self.step("HeldBack") as details:
                self.world.sightings.pause(HOLD_BACK_SECONDS)
                if differences := self.differences(self.read_order(order_id)):
                    raise StepFailed(f"order {order_id} shows money of an intent that does not agree with it: {', '.join(differences)}")
                details.append("the POS shows nothing of a payment that does not agree with the order")
            return
        self.await_told(order_id, since=since)

    def await_read(self, intent: Intent, status: Status, *, since: int) -> int:
        """The POS reads the intent and finds it so; the position where it did."""
        with self.step("ReadIntent"):
            return self.world.sightings.wait(IntentRead(intent.id, status), since=since, seconds=self.world.step_seconds)

    def await_told(self, order_id: str, *, since: int, payable: bool | None = None) -> None:
        """The POS says that the order changed, and then shows the money; what it announced too early is found out by reading back."""
        with self.step("OrderUpdated"):
            since = self.world.sightings.wait(OrderTold(order_id), since=since, seconds=self.world.step_seconds)
        self.read_back(order_id, since=since, payable=payable)

    def look_again(self, order_id: str, *, since: int, payable: bool | None = None) -> None:
        """Read the order once the POS had its say: at its next `OrderUpdated`, or when it stayed silent for HOLD_BACK_SECONDS.

        For what a POS shows by mistake and need not announce: read at once, the order would still be as it was.
        """
        with suppress(NotSeen):
            since = self.world.sightings.wait(OrderTold(order_id), since=since, seconds=HOLD_BACK_SECONDS)
        self.read_back(order_id, since=since, payable=payable)

    def read_back(self, order_id: str, *, since: int, payable: bool | None = None) -> None:
        """Read the order, and after each further `OrderUpdated` again, until it shows what it should."""
        with self.step("GetOrderById") as details:
            until = self.world.clock.monotonic() + self.world.step_seconds
            while differences := self.differences(self.read_order(order_id), payable=payable):
                left = max(0.0, until - self.world.clock.monotonic())
                try:
                    since = self.world.sightings.wait(OrderTold(order_id), since=since, seconds=left)
                except NotSeen as error:
                    raise StepFailed(f"order {order_id} is not as it should be: {', '.join(differences)}") from error
                if not left:
                    raise StepFailed(f"order {order_id} is updated again and again, but {', '.join(differences)}")
            expected = self.expected()
            details.append(f"paid {expected.paid} of {expected.total}, tips {expected.tips}")

    def read_order(self, order_id: str) -> PosOrder:
        """GetOrderById, outside any step of its own."""
        order = parsed(self.flow.client.call("GET", path_of(order_id)), PosOrder, "GetOrderById")
        if order.id != order_id:
            raise StepFailed(f"GetOrderById of {order_id} answered order {order.id}")
        return order

    # -- what comes after the payment

    def afterwards(self, order_id: str, intent: Intent) -> None:
        """Undo what the request wants undone, and see each through."""
        undo: dict[Afterwards, Callable[[], object]] = {
            "refund": lambda: self.world.intents.refund(intent.id),
            "refund-part": lambda: self.world.intents.refund(intent.id, self._half_of_the_rest(intent)),
            "reversal": lambda: self.world.intents.reverse(intent.id),
            "cancel": lambda: self.world.intents.give_back(intent.id),
        }
        for act in self.request.afterwards:
            since = self.mark()
            if act == "cancel" and not self.cancel_order(order_id):
                self.read_back(order_id, since=since)
                continue
            with self.step("Reverse" if act == "reversal" else "Refund") as details:
                undo[act]()
                details.append(f"{intent.id} is {self.world.intents.read(intent.id).status}")
            self.tell(intent)
            self.see_through(order_id, intent, since=since, status=self.world.intents.read(intent.id).status)

    def _half_of_the_rest(self, intent: Intent) -> Money:
        now = self.world.intents.read(intent.id)
        return Money((now.taken - now.refunded).value // 2, now.amount.currency)

    def _send(self, intent: Intent, event: str, *, copies: int = 1) -> str:
        now, same_id = self.world.intents.read(intent.id), self.request.same_event_id
        return self.world.events.send(self._channels(event), now, event, copies=copies, same_id=same_id)

    def _channels(self, event: str) -> tuple[Channel, ...]:
        client = self.flow.client if capability(event) in self.flow.capabilities else None
        return self.world.channels.of(event, self.request.channels, client)


def parsed(answer: Answer, kind: type[T], asked: str) -> T:
    """The body of a 2xx. Raises StepFailed on anything else."""
    if not answer.is_success:
        raise refused(answer, asked)
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except UNREADABLE as error:
        raise StepFailed(f"{asked} answered {answer.status} with a body that is not its schema's: {error}") from error


def refused(answer: Answer, asked: str) -> StepFailed:
    """Why there is no 2xx; a POS that answered has its words kept apart."""
    reason = f"{asked}: {answer}"
    if answer.status == UNANSWERED:
        return StepFailed(reason)
    with suppress(*UNREADABLE):
        if isinstance(said := msgspec.json.decode(answer.body, type=dict[str, object]).get("debugMessage"), str):
            return PosRefused(reason, status=answer.status, said=said)
    return PosRefused(reason, status=answer.status, said=answer.body[:SAID_BYTES].decode(errors="replace"))


def path_of(order_id: str) -> str:
    """Where the POS has the order."""
    return f"/v1/orders/{quote(order_id, safe='')}"
