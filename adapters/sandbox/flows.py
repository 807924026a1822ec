"""The two flows as Dojo runs them: Order and Pay (contract §2.1) and Pay-only (§2.2).

A flow is done only when the POS itself shows the money: it read the captured intent, sent `OrderUpdated`, and the order that is
then read back has the figures that Dojo's ledger has.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import quote

import msgspec

from adapters.sandbox import identifiers
from adapters.sandbox.basket import Basket, default_basket
from adapters.sandbox.errors import UNREADABLE, EventUndelivered, InvalidRequest, NotSeen, SandboxError, StepFailed
from adapters.sandbox.events import Events
from adapters.sandbox.flow import Flow, FlowResult, OrderAndPay, PayOnly, Request
from adapters.sandbox.identifiers import IdMaker
from adapters.sandbox.intents import MAX_REFERENCE, Intent, Intents
from adapters.sandbox.pos import Answer, PosClient, PosOrder, PosOrders
from adapters.sandbox.registry import Integrations
from adapters.sandbox.sightings import IntentRead, OrderTold, Sightings
from adapters.sandbox.traffic import Traffic
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED, money
from workflow.clock import Clock
from workflow.money import CurrencyMismatch, Money, zero

CREATED_CAPABILITY = f"HandleEvent:{EVENT_CREATED}"
STATUS_CAPABILITY = f"HandleEvent:{EVENT_STATUS_UPDATED}"
ORDER_AND_PAY_NEEDS = ("CreateOrder", "GetOrderById", STATUS_CAPABILITY)
PAY_ONLY_NEEDS = ("SearchOrders", "GetOrderById", CREATED_CAPABILITY, STATUS_CAPABILITY)

STEP_SECONDS = 30.0
"""How long a flow waits for the POS at each step."""
FLOWS_KEPT = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Figures:
    """The three figures of an order that Dojo compares."""

    total: Money
    paid: Money
    tips: Money

    def differences(self, order: PosOrder) -> list[str]:
        """Every figure in which the POS's order is not this; empty when it agrees."""
        pairs = {
            "totalAmount": (self.total, order.total_amount),
            "paidAmount": (self.paid, order.paid_amount),
            "tipsAmount": (self.tips, order.tips_amount),
        }
        return [f"{name} is {shown or 'missing'}, not {due}" for name, (due, shown) in pairs.items() if shown != due]


class FlowRunner:
    """Runs flows, in the caller's thread or in their own, and remembers the latest `FLOWS_KEPT`."""

    def __init__(
        self,
        *,
        clock: Clock,
        events: Events,
        integrations: Integrations,
        intents: Intents,
        new_id: IdMaker,
        sightings: Sightings,
        traffic: Traffic,
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        self._clock = clock
        self._events = events
        self._integrations = integrations
        self._intents = intents
        self._new_id = new_id
        self._sightings = sightings
        self._traffic = traffic
        self._step_seconds = step_seconds
        self._lock = threading.Lock()
        self._flows: deque[Flow] = deque(maxlen=FLOWS_KEPT)

    def results(self) -> tuple[FlowResult, ...]:
        """Every flow, newest first, those that run included."""
        with self._lock:
            flows = tuple(self._flows)
        return tuple(flow.result() for flow in reversed(flows))

    def run(self, request: Request) -> FlowResult:
        """Run a flow to its end. Raises CapabilityMissing and InvalidRequest, before anything is sent."""
        return self._run(self._open(request))

    def start(self, request: Request) -> FlowResult:
        """Start a flow in a thread of its own. Raises CapabilityMissing and InvalidRequest, before anything is sent."""
        flow = self._open(request)
        threading.Thread(target=self._run_in_background, args=(flow,), name=flow.result().id, daemon=True).start()
        return flow.result()

    def _open(self, request: Request) -> Flow:
        needs, product = (ORDER_AND_PAY_NEEDS, "Order&Pay") if isinstance(request, OrderAndPay) else (PAY_ONLY_NEEDS, "QRPay")
        pos = request.pos or self._integrations.require(needs)
        client = PosClient(pos, product=product, traffic=self._traffic)
        flow = Flow(self._new_id(identifiers.FLOW), _checked(request), client=client, clock=self._clock)
        with self._lock:
            self._flows.append(flow)
        return flow

    def _run(self, flow: Flow) -> FlowResult:
        try:
            if isinstance(flow.request, OrderAndPay):
                self._order_and_pay(flow, flow.request)
            else:
                self._pay_only(flow, flow.request)
        except (SandboxError, CurrencyMismatch) as error:
            return flow.end(str(error))
        return flow.end()

    def _run_in_background(self, flow: Flow) -> None:
        try:
            self._run(flow)
        except Exception:  # The top of a thread; without this the flow would be shown as running for ever.
            logger.exception("flow broke", extra={"flow_id": flow.result().id})
            flow.end("the sandbox itself failed; its log says how")

    def _order_and_pay(self, flow: Flow, request: OrderAndPay) -> None:
        basket = request.basket or default_basket()
        dojo_order_id = self._new_id(identifiers.ORDER)
        with flow.step("PreAuthorise") as details:
            intent = self._preauthorise(flow, basket, request.tips, dojo_order_id=dojo_order_id)
            details.append(f"{intent.id} holds {intent.total}")
        since = self._sightings.mark()
        if request.mode == "inline":
            self._capture(flow, intent)
        with flow.step("CreateOrder") as details:
            order = self._create_order(flow, basket, intent)
            flow.about(order.id)
            self._intents.link(intent.id, order.id)
            details.append(order.id)
        if request.mode == "event":
            since = self._sightings.mark()
            self._capture(flow, intent)
        with flow.step(STATUS_CAPABILITY) as details:
            self._sightings.pause(request.delay_seconds)
            details.append(self._tell_status(flow, intent, copies=1 + request.duplicates))
        self._await_payment(flow, order.id, intent, expected=Figures(basket.total, intent.due, intent.tips), since=since)

    def _preauthorise(self, flow: Flow, basket: Basket, tips: Money | None, *, dojo_order_id: str) -> Intent:
        intent = self._intents.make(
            basket.total - basket.service_charge,
            service_charge=basket.service_charge,
            tips=tips,
            capture_mode="Manual",
            reference=(basket.reference or dojo_order_id)[:MAX_REFERENCE],
            description=basket.display_name,
            dojo_order_id=dojo_order_id,
        )
        flow.paying(intent.id)
        return self._intents.authorise(intent.id)

    def _create_order(self, flow: Flow, basket: Basket, intent: Intent) -> PosOrder:
        payment = {"paymentIntentId": intent.id, "paidAmount": money(intent.due), "tipsAmount": money(intent.tips)}
        body = msgspec.to_builtins(basket) | {
            "dojoOrderId": intent.dojo_order_id,
            "totalAmount": money(basket.total),
            "payments": [payment],
        }
        answer = flow.client.call("POST", "/v1/orders", body, note=f"{intent.dojo_order_id} paid by {intent.id}")
        try:
            return _parsed(answer, PosOrder, "CreateOrder")
        except StepFailed:
            # An order that the POS did not take must not cost the customer anything; a POS that kept it after all learns of it.
            self._intents.give_back(intent.id)
            with suppress(EventUndelivered):
                self._tell_status(flow, intent)
            raise

    def _pay_only(self, flow: Flow, request: PayOnly) -> None:
        with flow.step("SearchOrders") as details:
            order_id = self._choose_order(flow.client, request)
            flow.about(order_id)
            details.append(order_id)
        with flow.step("GetOrderById") as details:
            order = self._read_order(flow.client, order_id)
            shown = _figures(order)
            outstanding = shown.total - shown.paid
            if outstanding.value < request.parts:
                raise StepFailed(f"order {order_id} has {outstanding} left to pay, too little for {request.parts} payments")
            details.append(f"{outstanding} left to pay")
        tips = request.tips or zero(outstanding.currency)
        for amount, tip in zip(_split(outstanding, request.parts), _split(tips, request.parts), strict=True):
            shown = replace(shown, paid=shown.paid + amount, tips=shown.tips + tip)
            self._pay_part(flow, order, request, amount=amount, tip=tip, expected=shown)

    def _pay_part(self, flow: Flow, order: PosOrder, request: PayOnly, *, amount: Money, tip: Money, expected: Figures) -> None:
        with flow.step(CREATED_CAPABILITY) as details:
            reference = (order.reference or order.id)[:MAX_REFERENCE]
            intent = self._intents.make(amount, tips=tip, reference=reference, external_id=order.id)
            flow.paying(intent.id)
            details.append(f"{intent.id} of {intent.total}")
            details.append(self._events.send(flow.client, intent, EVENT_CREATED))
        since = self._sightings.mark()
        self._capture(flow, intent)
        with flow.step(STATUS_CAPABILITY) as details:
            details.append(self._tell_status(flow, intent, copies=1 + request.duplicates))
        self._await_payment(flow, order.id, intent, expected=expected, since=since)

    def _choose_order(self, client: PosClient, request: PayOnly) -> str:
        body = {"dineIn": {"tableId": request.table_id}, "payableOnly": True}
        answer = client.call("POST", "/v1/orders/search", body, note=f"payable at {request.table_id}")
        found = [order.id for order in _parsed(answer, PosOrders, "SearchOrders").data if order.payable is not False]
        chosen = [order_id for order_id in found if request.order_id in {None, order_id}]
        if not chosen:
            raise StepFailed(f"the POS found no such payable order at table {request.table_id}; it found {found or 'none'}")
        return chosen[0]

    def _capture(self, flow: Flow, intent: Intent) -> None:
        with flow.step("Capture") as details:
            details.append(f"{self._intents.capture(intent.id).taken} taken")

    def _tell_status(self, flow: Flow, intent: Intent, *, copies: int = 1) -> str:
        return self._events.send(flow.client, self._intents.read(intent.id), EVENT_STATUS_UPDATED, copies=copies)

    def _await_payment(self, flow: Flow, order_id: str, intent: Intent, *, expected: Figures, since: int) -> None:
        """See the payment through to the POS's own books.

        `since` is the moment of the capture: a POS that swept the intent before the event came did nothing wrong, and what it
        announced too early is found out by reading back.
        """
        with flow.step("ReadIntent"):
            self._sightings.wait(IntentRead(intent.id, "Captured"), since=since, seconds=self._step_seconds)
        with flow.step("OrderUpdated"):
            since = self._sightings.wait(OrderTold(order_id), since=since, seconds=self._step_seconds)
        with flow.step("GetOrderById") as details:
            self._read_back(flow.client, order_id, expected, since=since)
            details.append(f"paid {expected.paid} of {expected.total}, tips {expected.tips}")

    def _read_back(self, client: PosClient, order_id: str, expected: Figures, *, since: int) -> None:
        until = self._clock.monotonic() + self._step_seconds
        while differences := expected.differences(self._read_order(client, order_id)):
            left = max(0.0, until - self._clock.monotonic())
            try:
                since = self._sightings.wait(OrderTold(order_id), since=since, seconds=left)
            except NotSeen as error:
                raise StepFailed(f"order {order_id} was updated, but {', '.join(differences)}") from error
            if not left:
                raise StepFailed(f"order {order_id} is updated again and again, but {', '.join(differences)}")

    def _read_order(self, client: PosClient, order_id: str) -> PosOrder:
        order = _parsed(client.call("GET", f"/v1/orders/{quote(order_id, safe='')}"), PosOrder, "GetOrderById")
        if order.id != order_id:
            raise StepFailed(f"GetOrderById of {order_id} answered order {order.id}")
        return order


def _checked(request: Request) -> Request:
    """The limits of its type hold for a request made in this process too; msgspec looks at them only when it converts."""
    try:
        return msgspec.convert(msgspec.to_builtins(request), type=type(request))
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error


T = TypeVar("T")


def _parsed(answer: Answer, kind: type[T], asked: str) -> T:
    if not answer.is_success:
        raise StepFailed(f"{asked}: {answer}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except UNREADABLE as error:
        raise StepFailed(f"{asked} answered {answer.status} with a body that is not its schema's: {error}") from error


def _figures(order: PosOrder) -> Figures:
    if order.total_amount is None:
        raise StepFailed(f"order {order.id} has no totalAmount, so nobody knows what to pay")
    nothing = zero(order.total_amount.currency)
    return Figures(order.total_amount, order.paid_amount or nothing, order.tips_amount or nothing)


def _split(amount: Money, parts: int) -> list[Money]:
    """Equal parts, the first ones a penny larger where it does not come out even."""
    each, rest = divmod(amount.value, parts)
    return [Money(each + (1 if part < rest else 0), amount.currency) for part in range(parts)]
