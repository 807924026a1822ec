"""`Sandbox`: everything put together, for the demo, for tests, and as a program of its own."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Blueprint, Flask

from adapters.sandbox.basket import Basket
from adapters.sandbox.cashier import Cashier
from adapters.sandbox.channels import Channels
from adapters.sandbox.control import Control
from adapters.sandbox.dojo_api import DojoApi
from adapters.sandbox.errors import CapabilityMissing, SandboxError
from adapters.sandbox.events import BACK_OFF_SECONDS, EVENT_ATTEMPTS, Events
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.flow import Bookings, FlowResult, OrderAndPay, PayAtTable, PayOnly, Request
from adapters.sandbox.flows import STEP_SECONDS, FlowRunner
from adapters.sandbox.guest import Guest
from adapters.sandbox.identifiers import IdMaker, random_id
from adapters.sandbox.intents import Intents
from adapters.sandbox.panel import Panel
from adapters.sandbox.payments_api import PaymentsApi
from adapters.sandbox.phone import Phone
from adapters.sandbox.refunds import Refunds
from adapters.sandbox.registry import Integrations, Pos
from adapters.sandbox.server import Gate, Server, new_app
from adapters.sandbox.sightings import Sightings
from adapters.sandbox.site import Site
from adapters.sandbox.steps import World
from adapters.sandbox.traffic import Message, Observer, Traffic
from adapters.sandbox.webhooks import Webhooks, is_loopback
from adapters.sandbox.webhooks_api import WebhooksApi
from adapters.sandbox.wire import EVENT_STATUS_UPDATED
from workflow.clock import Clock, SystemClock

DEFAULT_KEY = "sk_sandbox_anything"
DEFAULT_ACCOUNT = "acc_sandbox"
STOP_SECONDS = 10.0
SIGNAL_POLL_SECONDS = 0.5
"""How long a signal may go unnoticed where waiting cannot be interrupted (Windows)."""


class Sandbox:
    """A Dojo with one account and at most one registered POS.

    `intents` is its ledger, for whoever wants to move money by hand. `observer` sees every message as its call ends. Times in
    bodies come from `clock`; waiting is real. With `pos`, that POS is called for everything, registered or not. With `same_event_id`
    an event has one id on every channel. Raises InvalidRequest for an API key of production.
    """

    def __init__(
        self,
        *,
        api_key: str = DEFAULT_KEY,
        host: str = "127.0.0.1",
        port: int = 0,
        observer: Observer | None = None,
        clock: Clock | None = None,
        new_id: IdMaker = random_id,
        account_id: str = DEFAULT_ACCOUNT,
        pos: Pos | None = None,
        step_seconds: float = STEP_SECONDS,
        event_attempts: int = EVENT_ATTEMPTS,
        event_back_off_seconds: float = BACK_OFF_SECONDS,
        same_event_id: bool = False,
    ) -> None:
        clock = clock or SystemClock()
        self.api_key = api_key
        self._clock = clock
        self.intents = Intents(clock=clock, new_id=new_id)
        self._address = (host, port)
        self._faults = Faults()
        self._integrations = Integrations(clock, always=pos)
        self._sightings = Sightings()
        self._traffic = Traffic(clock, observer)
        self._webhooks = Webhooks(clock=clock, new_id=new_id, account_id=account_id)
        self._channels = Channels(integrations=self._integrations, rules=self._faults, webhooks=self._webhooks, traffic=self._traffic)
        self._events = Events(
            account_id=account_id,
            clock=clock,
            new_id=new_id,
            rules=self._faults,
            sightings=self._sightings,
            traffic=self._traffic,
            attempts=event_attempts,
            back_off_seconds=event_back_off_seconds,
            same_id=same_event_id,
        )
        self._flows = self._new_flows(new_id, step_seconds)
        self._app = self._new_app(new_id)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def _new_flows(self, new_id: IdMaker, step_seconds: float) -> FlowRunner:
        """What plays the flows, with all that they move."""
        world = World(
            channels=self._channels,
            clock=self._clock,
            events=self._events,
            intents=self.intents,
            new_id=new_id,
            rules=self._faults,
            sightings=self._sightings,
            step_seconds=step_seconds,
        )
        return FlowRunner(integrations=self._integrations, traffic=self._traffic, world=world)

    def _new_app(self, new_id: IdMaker) -> Flask:
        """Dojo's API and the sandbox's own routes, behind the gate."""
        app = new_app(__name__)
        Gate(api_key=self.api_key, rules=self._faults, sightings=self._sightings, traffic=self._traffic).guard(app)
        refunds = Refunds(intents=self.intents, new_id=new_id)
        cashier = Cashier(channels=self._channels, events=self._events, intents=self.intents, refunds=refunds)
        payments = PaymentsApi(cashier=cashier, intents=self.intents, refunds=refunds, rules=self._faults, new_id=new_id)
        control = Control(
            cashier=cashier, events=self._events, flows=self._flows, intents=self.intents, rules=self._faults, traffic=self._traffic
        )
        for part in (DojoApi(integrations=self._integrations, intents=self.intents), payments, WebhooksApi(self._webhooks), control):
            app.register_blueprint(part.routes())
        app.register_blueprint(self._pages(cashier))
        return app

    def _pages(self, cashier: Cashier) -> Blueprint:
        """What people see."""
        site = Site(api_key=self.api_key, is_local=is_loopback(self._address[0]), clock=self._clock)
        guest = Guest(integrations=self._integrations, rules=self._faults, traffic=self._traffic)
        panel = Panel(
            site,
            cashier=cashier,
            events=self._events,
            flows=self._flows,
            integrations=self._integrations,
            intents=self.intents,
            rules=self._faults,
            traffic=self._traffic,
            webhooks=self._webhooks,
        )
        return site.blueprint(Phone(site, flows=self._flows, guest=guest, intents=self.intents).pages(), panel.pages())

    @property
    def pages(self) -> dict[str, str]:
        """What there is for people to see, and where. Raises SandboxError before `start`."""
        return {"phone": f"{self.url}/phone", "panel": f"{self.url}/panel"}

    @property
    def url(self) -> str:
        """Where it serves, without a trailing slash. Raises SandboxError before `start`."""
        if self._server is None:
            raise SandboxError("the sandbox has not been started")
        host, port = self._server.bind_addr[:2]
        return f"http://{host}:{port}"

    def start(self) -> None:
        """Serve in threads of its own; once it returns, calls are answered. Started already, it stays as it is.

        Raises OSError where the port cannot be had.
        """
        if self._server:
            return
        server = Server(self._address, self._app)
        server.prepare()
        self._server = server
        self._thread = threading.Thread(target=server.serve, name="sandbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End flows that still run (they say so), then the server. A stopped sandbox is not started again."""
        self._sightings.close()
        self._events.join()
        if self._server and self._thread:
            self._server.stop()
            self._thread.join(STOP_SECONDS)

    def play(self, request: Request) -> FlowResult:
        """Run a flow to its end. Raises CapabilityMissing, InvalidRequest."""
        return self._flows.run(request)

    def order_and_pay(
        self, basket: Basket | None = None, *, pos_url: str | None = None, credentials: tuple[str, str] = ("", ""), **options: Any
    ) -> FlowResult:
        """Run Order and Pay to its end, options as in `OrderAndPay`. Raises CapabilityMissing, InvalidRequest.

        With `pos_url`, that POS is called with `credentials` (user name, password), registered or not.
        """
        return self.play(OrderAndPay(basket=basket, pos=_pos(pos_url, credentials), **options))

    def pay_only(
        self, table_id: str, parts: int = 1, *, pos_url: str | None = None, credentials: tuple[str, str] = ("", ""), **options: Any
    ) -> FlowResult:
        """Run Pay-only to its end, options as in `PayOnly`. Raises CapabilityMissing, InvalidRequest.

        With `pos_url`, that POS is called with `credentials` (user name, password), registered or not.
        """
        return self.play(PayOnly(table_id=table_id, parts=parts, pos=_pos(pos_url, credentials), **options))

    def pay_at_table(
        self,
        table_id: str | None = None,
        parts: int = 1,
        *,
        pos_url: str | None = None,
        credentials: tuple[str, str] = ("", ""),
        **options: Any,
    ) -> FlowResult:
        """Run Pay at Table to its end, options as in `PayAtTable`. Raises CapabilityMissing, InvalidRequest.

        With `pos_url`, that POS is called with `credentials` (user name, password), registered or not.
        """
        return self.play(PayAtTable(table_id=table_id, parts=parts, pos=_pos(pos_url, credentials), **options))

    def bookings(
        self, table_id: str | None = None, *, pos_url: str | None = None, credentials: tuple[str, str] = ("", ""), **options: Any
    ) -> FlowResult:
        """Run Bookings to its end, options as in `Bookings`. Raises CapabilityMissing, InvalidRequest.

        With `pos_url`, that POS is called with `credentials` (user name, password), registered or not.
        """
        return self.play(Bookings(table_id=table_id, pos=_pos(pos_url, credentials), **options))

    def fault(
        self,
        method: str,
        path_pattern: str,
        kind: str,
        times: int = 1,
        *,
        retry_after_seconds: int = 1,
        late_seconds: float = 1.0,
        hold_seconds: float = 30.0,
    ) -> None:
        """Let the next `times` matching calls of the POS, events to it (method `EVENT`) or calls of it (`/v1/…`) go wrong; see `Fault`.

        Raises InvalidRequest on a kind that does not exist for it.
        """
        fault = Fault(
            method=method,
            path=path_pattern,
            kind=kind,
            times=times,
            retry_after_seconds=retry_after_seconds,
            late_seconds=late_seconds,
            hold_seconds=hold_seconds,
        )
        self._faults.add(fault)

    def send_event(self, intent_id: str, event: str = EVENT_STATUS_UPDATED, *, copies: int = 1) -> None:
        """Tell the POS, by every channel that is registered, of an intent that was moved by hand: a refund, a reversal, a cancellation.

        Raises UnknownIntent, CapabilityMissing, EventUndelivered.
        """
        channels = self._channels.registered(event)
        if not channels:
            raise CapabilityMissing(f"neither a capability nor a webhook is registered for {event}")
        self._events.send(channels, self.intents.read(intent_id), event, copies=copies)

    def messages(self) -> tuple[Message, ...]:
        """Every call in either direction so far, in the order of their beginnings."""
        return self._traffic.messages()

    def flows(self) -> tuple[FlowResult, ...]:
        """Every flow so far, newest first, those that run included."""
        return self._flows.results()


def run_forever(sandbox: Sandbox, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop. Main thread only; the signals' handlers are put back.

    `on_ready` gets the URL once calls and signals are heeded. Raises OSError where the port cannot be had.
    """
    asked: list[int] = []  # An Event's lock may be held by this very thread when the signal comes.

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        sandbox.start()
        if on_ready:
            on_ready(sandbox.url)
        while not asked:
            time.sleep(SIGNAL_POLL_SECONDS)
    finally:
        sandbox.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _pos(url: str | None, credentials: tuple[str, str]) -> Pos | None:
    if url is None:
        return None
    username, password = credentials
    return Pos(url=url, username=username, password=password)
