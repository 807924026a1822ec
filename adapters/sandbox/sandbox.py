"""`Sandbox`: everything put together, for the demo, for tests, and as a program of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Literal

from adapters.sandbox.basket import Basket
from adapters.sandbox.control import Control
from adapters.sandbox.dojo_api import DojoApi
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.events import BACK_OFF_SECONDS, EVENT_ATTEMPTS, Events
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.flow import FlowResult, OrderAndPay, PayOnly
from adapters.sandbox.flows import STEP_SECONDS, FlowRunner
from adapters.sandbox.identifiers import IdMaker, random_id
from adapters.sandbox.intents import Intents
from adapters.sandbox.pos import PosClient
from adapters.sandbox.registry import Integrations, Pos
from adapters.sandbox.server import Gate, Server, new_app
from adapters.sandbox.sightings import Sightings
from adapters.sandbox.traffic import Message, Observer, Traffic
from adapters.sandbox.wire import EVENT_STATUS_UPDATED
from workflow.clock import Clock, SystemClock
from workflow.money import Money

DEFAULT_KEY = "sk_sandbox_anything"
DEFAULT_ACCOUNT = "acc_sandbox"
STOP_SECONDS = 10.0
SIGNAL_POLL_SECONDS = 0.5
"""How long a signal may go unnoticed where waiting cannot be interrupted (Windows)."""


class Sandbox:
    """A Dojo with one account and at most one registered POS.

    `intents` is its ledger, for whoever wants to move money by hand. `observer` sees every message as its call ends. Times in
    bodies come from `clock`; waiting is real. Raises InvalidRequest for an API key of production.
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
        step_seconds: float = STEP_SECONDS,
        event_attempts: int = EVENT_ATTEMPTS,
        event_back_off_seconds: float = BACK_OFF_SECONDS,
    ) -> None:
        clock = clock or SystemClock()
        self.api_key = api_key
        self.intents = Intents(clock=clock, new_id=new_id)
        self._address = (host, port)
        self._faults = Faults()
        self._integrations = Integrations(clock)
        self._sightings = Sightings()
        self._traffic = Traffic(clock, observer)
        self._events = Events(
            account_id=account_id,
            clock=clock,
            new_id=new_id,
            rules=self._faults,
            sightings=self._sightings,
            traffic=self._traffic,
            attempts=event_attempts,
            back_off_seconds=event_back_off_seconds,
        )
        self._flows = FlowRunner(
            clock=clock,
            events=self._events,
            integrations=self._integrations,
            intents=self.intents,
            new_id=new_id,
            sightings=self._sightings,
            traffic=self._traffic,
            step_seconds=step_seconds,
        )
        gate = Gate(api_key=api_key, rules=self._faults, sightings=self._sightings, traffic=self._traffic)
        self._app = new_app(__name__)
        gate.guard(self._app)
        self._app.register_blueprint(DojoApi(integrations=self._integrations, intents=self.intents).routes())
        control = Control(flows=self._flows, intents=self.intents, rules=self._faults, traffic=self._traffic)
        self._app.register_blueprint(control.routes())
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

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

    def order_and_pay(
        self,
        basket: Basket | None = None,
        *,
        tips: Money | None = None,
        mode: Literal["event", "inline"] = "event",
        duplicates: int = 0,
        delay_seconds: float = 0.0,
        pos_url: str | None = None,
        credentials: tuple[str, str] = ("", ""),
    ) -> FlowResult:
        """Run Order and Pay to its end, options as in `OrderAndPay`. Raises CapabilityMissing, InvalidRequest.

        With `pos_url`, that POS is called with `credentials` (user name, password), registered or not.
        """
        pos = _pos(pos_url, credentials)
        request = OrderAndPay(basket=basket, tips=tips, mode=mode, duplicates=duplicates, delay_seconds=delay_seconds, pos=pos)
        return self._flows.run(request)

    def pay_only(
        self,
        table_id: str,
        parts: int = 1,
        *,
        order_id: str | None = None,
        tips: Money | None = None,
        duplicates: int = 0,
        pos_url: str | None = None,
        credentials: tuple[str, str] = ("", ""),
    ) -> FlowResult:
        """Run Pay-only to its end, options as in `PayOnly`. Raises CapabilityMissing, InvalidRequest.

        With `pos_url`, that POS is called with `credentials` (user name, password), registered or not.
        """
        pos = _pos(pos_url, credentials)
        return self._flows.run(PayOnly(table_id=table_id, order_id=order_id, parts=parts, tips=tips, duplicates=duplicates, pos=pos))

    def fault(
        self,
        method: str,
        path_pattern: str,
        kind: str,
        times: int = 1,
        *,
        retry_after_seconds: int = 1,
        late_seconds: float = 1.0,
    ) -> None:
        """Let the next `times` matching calls of the POS, or events to it (method `EVENT`), go wrong; kinds as in `Fault`.

        Raises InvalidRequest on a kind that does not exist for it.
        """
        fault = Fault(
            method=method,
            path=path_pattern,
            kind=kind,
            times=times,
            retry_after_seconds=retry_after_seconds,
            late_seconds=late_seconds,
        )
        self._faults.add(fault)

    def send_event(self, intent_id: str, event: str = EVENT_STATUS_UPDATED, *, copies: int = 1) -> None:
        """Tell the registered POS of an intent that was moved by hand: a refund, a reversal, a cancellation.

        Raises UnknownIntent, CapabilityMissing, EventUndelivered.
        """
        pos = self._integrations.require([f"HandleEvent:{event}"])
        client = PosClient(pos, product="Order&Pay", traffic=self._traffic)
        self._events.send(client, self.intents.read(intent_id), event, copies=copies)

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
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        sandbox.start()
        if on_ready:
            on_ready(sandbox.url)
        while not asked.wait(SIGNAL_POLL_SECONDS):
            pass
    finally:
        sandbox.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _pos(url: str | None, credentials: tuple[str, str]) -> Pos | None:
    if url is None:
        return None
    username, password = credentials
    return Pos(url=url, username=username, password=password)
