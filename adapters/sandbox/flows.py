"""Runs flows, in the caller's thread or in their own, and remembers them."""

from __future__ import annotations

import logging
import threading
from collections import deque

from adapters.sandbox import identifiers
from adapters.sandbox.channels import capability
from adapters.sandbox.errors import CapabilityMissing, SandboxError
from adapters.sandbox.flow import Flow, FlowResult, OrderAndPay, Request, checked
from adapters.sandbox.order_and_pay import order_and_pay
from adapters.sandbox.pay_only import pay_only
from adapters.sandbox.pos import PosClient
from adapters.sandbox.registry import Integrations
from adapters.sandbox.steps import Steps, World
from adapters.sandbox.traffic import Traffic
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED
from workflow.money import CurrencyMismatch

STEP_SECONDS = 30.0
"""How long a flow waits for the POS at each step."""
FLOWS_KEPT = 1_000

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
        calls, events = _needs(request)
        if lacking := self._world.channels.unsubscribed(events, request.channels):
            raise CapabilityMissing(f"no webhook is subscribed with POST /webhooks to: {', '.join(lacking)}")
        needs = (*calls, *self._world.channels.missing(events, request.channels))
        pos = request.pos or self._integrations.require(needs)
        client = PosClient(pos, product="Order&Pay" if isinstance(request, OrderAndPay) else "QRPay", traffic=self._traffic)
        taken = frozenset(event for event in events if request.pos or self._integrations.of(capability(event)))
        flow = Flow(self._world.new_id(identifiers.FLOW), request, client=client, by_capability=taken, clock=self._world.clock)
        with self._lock:
            self._flows.append(flow)
        return flow

    def _run(self, flow: Flow) -> FlowResult:
        steps = Steps(flow, self._world)
        try:
            if isinstance(flow.request, OrderAndPay):
                order_and_pay(steps, flow.request)
            else:
                pay_only(steps, flow.request)
        except (SandboxError, CurrencyMismatch) as error:
            return flow.end(str(error))
        return flow.end()

    def _run_in_background(self, flow: Flow) -> None:
        try:
            self._run(flow)
        except Exception:  # The top of a thread; without this the flow would be shown as running for ever.
            logger.exception("flow broke", extra={"flow_id": flow.result().id})
            flow.end("the sandbox itself failed; its log says how")


def _needs(request: Request) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The calls that the POS must serve for this flow, and the events that it must take."""
    orders = isinstance(request, OrderAndPay)
    pays_a_bill = not isinstance(request, OrderAndPay) or request.pay_later
    cancels = "cancel" in request.afterwards or (request.instead_of_capture == "cancel" and not pays_a_bill)
    calls = {"CreateOrder": orders, "SearchOrders": pays_a_bill, "GetOrderById": True, "CancelOrderById": cancels}
    events = {EVENT_CREATED: pays_a_bill, EVENT_STATUS_UPDATED: True}
    return tuple(name for name, needed in calls.items() if needed), tuple(name for name, needed in events.items() if needed)
