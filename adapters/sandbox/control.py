"""The sandbox's own routes under `/sandbox/`: start flows, look at them, make things go wrong. They need the API key, no version."""

from __future__ import annotations

import inspect

import msgspec
from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from adapters.sandbox.cashier import Cashier
from adapters.sandbox.events import Events
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.flow import Request
from adapters.sandbox.flows import FlowRunner
from adapters.sandbox.intents import Intents
from adapters.sandbox.server import answer, parsed
from adapters.sandbox.traffic import Traffic
from adapters.sandbox.wire import intent_body

FAULT = msgspec.json.Decoder(Fault)
PREFIX = "/sandbox"
# fmt: off
ROUTES = (
    # method    path                          view
    ("POST",   "/flows",                     "start_flow"),
    ("GET",    "/flows",                     "flows"),
    ("GET",    "/flows/<flow_id>",           "flow"),
    ("GET",    "/intents",                   "intents"),
    ("GET",    "/events",                    "events"),
    ("POST",   "/events/<event_id>/again",   "send_again"),
    ("POST",   "/intents/<intent_id>/pay",   "pay"),
    ("GET",    "/messages",                  "messages"),
    ("GET",    "/faults",                    "faults"),
    ("POST",   "/faults",                    "add_fault"),
    ("DELETE", "/faults",                    "clear_faults"),
)
# fmt: on
REQUEST: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def control_routes() -> dict[str, str]:
    """Every control route, `METHOD /path`, and what it does."""
    return {
        f"{method:<6} {PREFIX}{path.replace('<', '{').replace('>', '}')}": inspect.cleandoc(getattr(Control, view).__doc__)
        for method, path, view in ROUTES
    }


class Control:
    """The views of whoever runs the sandbox."""

    def __init__(self, *, cashier: Cashier, events: Events, flows: FlowRunner, intents: Intents, rules: Faults, traffic: Traffic) -> None:
        self._cashier = cashier
        self._events = events
        self._flows = flows
        self._intents = intents
        self._rules = rules
        self._traffic = traffic

    def routes(self) -> Blueprint:
        """Every control route."""
        routes = Blueprint("control", __name__, url_prefix=PREFIX)
        for method, path, view in ROUTES:
            routes.add_url_rule(path, view_func=getattr(self, view), methods=[method])
        return routes

    def flows(self) -> Response:
        """Every flow with its steps, newest first."""
        return answer({"data": self._flows.results()})

    def flow(self, flow_id: str) -> Response:
        """One flow with its steps."""
        if result := self._flows.result(flow_id):
            return answer(result)
        raise NotFound(f"no flow {flow_id}")

    def start_flow(self) -> Response:
        """`{"flow": "order-and-pay"}`, `"pay-only"` with `"tableId"`, `"pay-at-table"` or `"bookings"`, any option beside it."""
        return answer(self._flows.start(parsed(REQUEST)), 202)

    def intents(self) -> Response:
        """Every payment intent, newest first, cancelled ones included."""
        return answer({"data": [intent_body(intent) for intent in self._intents.all()]})

    def pay(self, intent_id: str) -> Response:
        """The customer pays: a Manual intent is authorised, an Auto one captured, and the POS is told."""
        return answer(intent_body(self._cashier.pay(intent_id)))

    def events(self) -> Response:
        """The latest events, newest first: by which way each went, and what was answered."""
        return answer({"data": self._events.sent()})

    def send_again(self, event_id: str) -> Response:
        """The same event goes once more, the same id and body, by each way that it went."""
        self._events.send_again(event_id)
        return Response(status=202)

    def messages(self) -> Response:
        """Every call in either direction, in the order of their beginnings."""
        return answer({"data": self._traffic.messages()})

    def faults(self) -> Response:
        """What was asked for and has not gone wrong yet, with the `times` that are left."""
        return answer({"data": [msgspec.structs.replace(fault, times=left) for fault, left in self._rules.pending()]})

    def add_fault(self) -> Response:
        """`{"method", "path", "kind"}`: from now on the next `times` matching calls or events go wrong."""
        fault = parsed(FAULT)
        self._rules.add(fault)
        return answer(fault, 201)

    def clear_faults(self) -> Response:
        """Whatever was asked for and has not gone wrong yet will not."""
        self._rules.clear()
        return Response(status=204)
