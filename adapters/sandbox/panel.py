"""`/panel`: Dojo's side for a person: payments and what can be done with them, events, calls, faults, what the POS has registered."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from adapters.sandbox import faults, forms
from adapters.sandbox.cashier import Cashier
from adapters.sandbox.errors import InvalidRequest
from adapters.sandbox.events import Events
from adapters.sandbox.faults import EVENT, EVENT_KINDS, MAX_SECONDS, POS_PATHS, Fault, Faults
from adapters.sandbox.flows import FlowRunner
from adapters.sandbox.intents import Intent, Intents, moves_of
from adapters.sandbox.magic import magic_amounts
from adapters.sandbox.refunds import RefundRequest
from adapters.sandbox.registry import Integrations
from adapters.sandbox.search import Search, find
from adapters.sandbox.site import Site
from adapters.sandbox.traffic import Traffic
from adapters.sandbox.webhooks import Webhooks
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED, intent_body
from workflow.money import Money

ROWS = 50
FLOWS_SHOWN = 8
MOST_TIMES = 1_000
PATTERN_CHARACTERS = 200
CALLS_OF_DOJO = {
    "read a payment": ("GET", "/payment-intents/*"),
    "say that an order changed": ("POST", "/epos/events"),
    "search payments": ("POST", "/payment-intents/search"),
    "register": ("PUT", "/epos/integrations/rest"),
}
"""What a POS calls, in words."""
CALLS_OF_POS = {
    "create an order": ("POST", f"{POS_PATHS}orders"),
    "read an order": ("GET", f"{POS_PATHS}orders/*"),
    "find a table’s bills": ("POST", f"{POS_PATHS}orders/search"),
    "record a payment": ("POST", f"{POS_PATHS}orders/*/record-payment"),
    "cancel an order": ("DELETE", f"{POS_PATHS}orders/*"),
}
"""What Dojo calls, in words."""
EVENTS = {
    "any event": (EVENT, "*"),
    "that a payment was begun": (EVENT, EVENT_CREATED),
    "that a payment changed": (EVENT, EVENT_STATUS_UPDATED),
}
STATUSES = {
    "500": "the answer is 500, and nothing is done",
    "503": "the answer is 503, and nothing is done",
    "429": "the answer is 429 with Retry-After, and nothing is done",
    "404": "the answer is 404, and nothing is done",
}
"""Some of the statuses that a call may be answered with; all others by the pattern of one's own."""
SUBJECTS = {"dojo": (CALLS_OF_DOJO, STATUSES | faults.CALL_KINDS), "event": (EVENTS, EVENT_KINDS), "pos": (CALLS_OF_POS, faults.POS_KINDS)}
WHO = {"dojo": "The till wants to", "event": "Dojo announces", "pos": "Dojo wants to"}
"""What stands before the name of a call or an event."""


class FaultInWords(NamedTuple):
    """A fault as a person reads it: what it is about (empty where that is a pattern of somebody's own), and what happens then."""

    fault: Fault
    what: str
    how: str

    @property
    def rule(self) -> str:
        """The fault as JSON, for a form."""
        return msgspec.json.encode(self.fault).decode()


class Panel:
    """The views. Whatever they do is done by what the control API uses, too."""

    def __init__(
        self,
        site: Site,
        *,
        cashier: Cashier,
        events: Events,
        flows: FlowRunner,
        integrations: Integrations,
        intents: Intents,
        rules: Faults,
        traffic: Traffic,
        webhooks: Webhooks,
    ) -> None:
        self._site = site
        self._cashier = cashier
        self._events = events
        self._flows = flows
        self._integrations = integrations
        self._intents = intents
        self._rules = rules
        self._traffic = traffic
        self._webhooks = webhooks

    def pages(self) -> Blueprint:
        """Every page of the panel."""
        pages = Blueprint("panel", __name__, url_prefix="/panel")
        pages.add_url_rule("", view_func=self.payments)
        pages.add_url_rule("/intents/<intent_id>", view_func=self.intent)
        pages.add_url_rule("/intents/<intent_id>/<move>", view_func=self.move, methods=["POST"])
        pages.add_url_rule("/flows/<flow_id>", view_func=self.flow)
        pages.add_url_rule("/events", view_func=self.events)
        pages.add_url_rule("/events/<event_id>/again", view_func=self.send_again, methods=["POST"])
        pages.add_url_rule("/calls", view_func=self.calls)
        pages.add_url_rule("/faults", view_func=self.faults)
        pages.add_url_rule("/faults", "add_fault", view_func=self.add_fault, methods=["POST"])
        pages.add_url_rule("/faults/drop", view_func=self.drop_fault, methods=["POST"])
        pages.add_url_rule("/faults/clear", view_func=self.clear_faults, methods=["POST"])
        pages.add_url_rule("/registered", view_func=self.registered)
        return pages

    def payments(self) -> Response:
        """Which payments are there, and which flows run?"""
        page = find(self._intents.all(), Search(limit=ROWS, after=request.args.get("after") or None))
        return self._site.page("panel_payments.html", page=page, flows=self._flows.results()[:FLOWS_SHOWN])

    def intent(self, intent_id: str) -> Response:
        """What is this payment, and what can be done with it?"""
        intent = self._intents.read(intent_id)
        events = [event for event in self._events.sent() if event.payment_intent_id == intent_id]
        body = msgspec.json.format(msgspec.json.encode(intent_body(intent)), indent=2).decode()
        return self._site.page("panel_intent.html", intent=intent, moves=moves_of(intent), events=events, body=body)

    def move(self, intent_id: str, move: str) -> Response:
        """Somebody pays, captures, gives back, undoes or gives up."""
        intent = self._intents.read(intent_id)
        after = forms.choice({"move": move}, "move", self._moves(intent), "")()
        self._site.say(f"{after.id} is {after.status}; the venue’s till is being told.")
        return self._site.to(f"/panel/intents/{intent_id}")

    def _moves(self, intent: Intent) -> dict[str, Callable[[], Intent]]:
        wanted = forms.amount(request.form, "amount", intent.amount.currency)
        return {
            "pay": lambda: self._cashier.pay(intent.id),
            "capture": lambda: self._cashier.capture(intent.id, wanted),
            "refund": lambda: self._refund(intent, wanted),
            "reverse": lambda: self._cashier.reverse(intent.id),
            "cancel": lambda: self._cashier.cancel(intent.id),
        }

    def _refund(self, intent: Intent, wanted: Money | None) -> Intent:
        amount = (wanted or intent.taken - intent.refunded).value
        self._cashier.refund(secrets.token_urlsafe(16), RefundRequest(intent_id=intent.id, amount=amount))
        return self._intents.read(intent.id)

    def flow(self, flow_id: str) -> Response:
        """How does this flow go, step by step?"""
        result = self._flows.result(flow_id)
        if result is None:
            raise NotFound("this flow is unknown: the sandbox was started again, or it is too long ago")
        return self._site.page("panel_flow.html", flow=result)

    def events(self) -> Response:
        """Which events went out, and how were they taken?"""
        events = self._events.sent()
        return self._site.page("panel_events.html", events=events[:ROWS], many=len(events), kinds=EVENT_KINDS, means=_without_names)

    def send_again(self, event_id: str) -> Response:
        """Once more, as it was."""
        self._events.send_again(event_id)
        self._site.say(f"{event_id} goes once more.")
        return self._site.to("/panel/events")

    def calls(self) -> Response:
        """Who called whom, and what was answered?"""
        messages = self._traffic.messages()
        return self._site.page("panel_calls.html", messages=messages[: -ROWS - 1 : -1], many=len(messages))

    def faults(self) -> Response:
        """What will go wrong?"""
        pending = [(in_words(fault), left) for fault, left in self._rules.pending()]
        return self._site.page("panel_faults.html", pending=pending, subjects=SUBJECTS, magic=magic_amounts(), means=_without_names)

    def add_fault(self) -> Response:
        """Something more goes wrong."""
        fault = _fault(request.form)
        self._rules.add(fault)
        told, times = in_words(fault), "next time" if fault.times == 1 else f"next {fault.times} times"
        self._site.say(f"{told.what or f'{fault.method} {fault.path}'}, the {times}: {told.how}.")
        return self._site.to("/panel/events" if request.form.get("back") == "events" else "/panel/faults")

    def drop_fault(self) -> Response:
        """One of them does not go wrong any more; the others still do."""
        try:
            fault = msgspec.json.decode(request.form.get("rule", ""), type=Fault)
        except msgspec.DecodeError as error:
            raise InvalidRequest("rule: expected a fault as this page has it") from error
        told = in_words(fault)
        is_dropped = self._rules.drop(fault)
        what = told.what or f"{fault.method} {fault.path}"
        self._site.say(
            f"Does not happen any more: {what}, {told.how}." if is_dropped else f"Happened already, or was dropped: {what}, {told.how}."
        )
        return self._site.to("/panel/faults")

    def clear_faults(self) -> Response:
        """Nothing more goes wrong."""
        self._rules.clear()
        self._site.say("Nothing goes wrong any more.")
        return self._site.to("/panel/faults")

    def registered(self) -> Response:
        """What may Dojo ask of the POS, and where do events go?"""
        return self._site.page("panel_registered.html", integrations=self._integrations.rest(), webhooks=self._webhooks.all())


def in_words(fault: Fault) -> FaultInWords:
    """What a rule does, told of the forms' own choices as they tell it."""
    about = "event" if fault.method == EVENT else "pos" if fault.is_for_pos else "dojo"
    calls, kinds = SUBJECTS[about]
    name = next((name for name, rule in calls.items() if rule == (fault.method, fault.path)), "")
    how = kinds.get(fault.kind, f"the answer is {fault.kind}, and nothing is done")
    how = how.replace("`lateSeconds`", f"{fault.late_seconds:g} seconds").replace("`holdSeconds`", f"{fault.hold_seconds:g} seconds")
    return FaultInWords(fault, name and f"{WHO[about]} {name}", how)


def _without_names(means: str) -> str:
    """The meaning of a kind before anybody chose how many seconds."""
    return means.replace("`lateSeconds`", "some seconds").replace("`holdSeconds`", "half a minute")


def _fault(fields: Mapping[str, str]) -> Fault:
    """The rule that a form describes. Raises InvalidRequest."""
    if fields.get("about") == "own":
        method, path = (forms.text(fields, name, longest=PATTERN_CHARACTERS) for name in ("method", "path"))
        kind = forms.text(fields, "kind", longest=20)
    else:
        calls, kinds = forms.choice(fields, "about", SUBJECTS, "")
        method, path = forms.choice(fields, "which", calls, "")
        kind = forms.choice(fields, "kind", {kind: kind for kind in kinds}, "")
    times = forms.number(fields, "times", least=1, most=MOST_TIMES, default=1)
    seconds = forms.number(fields, "seconds", least=0, most=int(MAX_SECONDS), default=1)
    try:
        return Fault(method=method, path=path, kind=kind, times=times, retry_after_seconds=seconds, late_seconds=float(seconds))
    except InvalidRequest as error:
        raise InvalidRequest(f"kind: {error}") from error
