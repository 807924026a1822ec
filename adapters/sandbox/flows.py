"""Runs flows, in the caller's thread or in their own, and remembers them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import get_args

from adapters.sandbox import identifiers
from adapters.sandbox.bookings import CALLS, bookings
from adapters.sandbox.errors import CapabilityMissing, PosRefused, SandboxError
from adapters.sandbox.flow import (
    Bookings,
    Flow,
    FlowResult,
    OptionalCapability,
    OrderAndPay,
    PayAtTable,
    Payments,
    PayOnly,
    Refusal,
    Request,
    checked,
)
from adapters.sandbox.order_and_pay import order_and_pay
from adapters.sandbox.pay_at_table import caller_of, pay_at_table
from adapters.sandbox.pay_only import pay_only
from adapters.sandbox.pos import Caller, PosClient
from adapters.sandbox.registry import Integrations
from adapters.sandbox.steps import Steps, World
from adapters.sandbox.traffic import Traffic
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED
from workflow.money import CurrencyMismatch

STEP_SECONDS = 30.0
"""How long a flow waits for the POS at each step."""
FLOWS_KEPT = 1_000
PRODUCTS: dict[type[Request], str] = {OrderAndPay: "Order&Pay", PayOnly: "QRPay", Bookings: "Bookings"}
"""As whom Dojo asks, in `dojo-requesting-product`; for a waiter there is more to say."""

logger = logging.getLogger(__name__)


class FlowRunner:
    """Every flow of a sandbox, the latest `FLOWS_KEPT` of them."""

    def __init__(self, *, integrations: Integrations, traffic: Traffic, world: World) -> None:
        self._integrations = integrations
        self._traffic = traffic
        self._world = world
        self._lock = threading.Lock()
        self._flows: deque[Flow] = deque(maxlen=FLOWS_KEPT)

    def results(self) -> tuple[FlowResult, ...]:
        """Every flow, newest first, those that run included."""
        with self._lock:
            flows = tuple(self._flows)
        return tuple(flow.result() for flow in reversed(flows))

    def result(self, flow_id: str) -> FlowResult | None:
        """One flow as it stands, None where there is none of this id."""
        with self._lock:
            return next((flow.result() for flow in self._flows if flow.id == flow_id), None)

    def run(self, request: Request) -> FlowResult:
        """Run a flow to its end. Raises CapabilityMissing and InvalidRequest, before anything is sent."""
        return self._run(self._open(request))

    def start(self, request: Request) -> FlowResult:
        """Start a flow in a thread of its own. Raises CapabilityMissing and InvalidRequest, before anything is sent."""
        flow = self._open(request)
        threading.Thread(target=self._run_in_background, args=(flow,), name=flow.result().id, daemon=True).start()
        return flow.result()

    def _open(self, request: Request) -> Flow:
        request = checked(request)
        calls, events = (CALLS, ()) if isinstance(request, Bookings) else _needs(request)
        channels = "registered" if isinstance(request, Bookings) else request.channels
        if lacking := self._world.channels.unsubscribed(events, channels):
            raise CapabilityMissing(f"no webhook is subscribed with POST /webhooks to: {', '.join(lacking)}")
        needs = (*calls, *self._world.channels.missing(events, channels))
        pos = request.pos or self._integrations.require(needs)
        caller = caller_of(request) if isinstance(request, PayAtTable) else Caller(product=PRODUCTS[type(request)])
        client = PosClient(pos, caller=caller, rules=self._world.rules, traffic=self._traffic)
        without = () if isinstance(request, Bookings) else request.without
        has = frozenset(name for name in get_args(OptionalCapability) if request.pos or self._integrations.of(name)) - {*without}
        flow = Flow(self._world.new_id(identifiers.FLOW), request, client=client, capabilities=has, clock=self._world.clock)
        with self._lock:
            self._flows.append(flow)
        return flow

    def _run(self, flow: Flow) -> FlowResult:
        request = flow.request
        try:
            match request:
                case OrderAndPay():
                    order_and_pay(Steps(flow, self._world, request), request)
                case PayOnly():
                    pay_only(Steps(flow, self._world, request), request)
                case PayAtTable():
                    pay_at_table(Steps(flow, self._world, request), request)
                case Bookings():
                    bookings(flow, self._world, request)
        except (SandboxError, CurrencyMismatch) as error:
            return flow.end(str(error), Refusal(error.status, error.said) if isinstance(error, PosRefused) else None)
        return flow.end()

    def _run_in_background(self, flow: Flow) -> None:
        try:
            self._run(flow)
        except Exception:  # The top of a thread; without this the flow would be shown as running for ever.
            logger.exception("flow broke", extra={"flow_id": flow.result().id})
            flow.end("the sandbox itself failed; its log says how")


def _needs(request: Payments) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The calls that the POS must serve for this flow, and the events that it must take."""
    orders = isinstance(request, OrderAndPay)
    if isinstance(request, OrderAndPay) and request.left_open:
        return ("CreateOrder", "SearchOrders"), ()
    at_table = isinstance(request, PayAtTable)
    pays_a_bill = not isinstance(request, OrderAndPay) or request.pay_later
    cancels = "cancel" in request.afterwards or (request.instead_of_capture == "cancel" and not pays_a_bill)
    locks = isinstance(request, PayAtTable) and request.second_waiter
    calls = {
        "CreateOrder": orders,
        "SearchOrders": pays_a_bill,
        "GetOrderById": True,
        "CancelOrderById": cancels,
        "RecordOrderPayment": request.records,
        "CreateOrderLock": locks,
        "DeleteOrderLock": locks,
    }
    # A waiter's payment is told by RecordOrderPayment; what becomes of it afterwards is told by events alone.
    events = {EVENT_CREATED: pays_a_bill and not at_table, EVENT_STATUS_UPDATED: not at_table or request.afterwards}
    return tuple(name for name, needed in calls.items() if needed), tuple(name for name, needed in events.items() if needed)
