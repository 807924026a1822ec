"""`tillproof demo`: both flows between a running simulator and the running service, over real HTTP, told as arrows.

The service is a process of its own, started exactly as an operator starts it; everything that is printed was seen on the wire or read
back from the journal.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import requests

from adapters.cli.output import paint
from adapters.dojo.capabilities import wanted
from adapters.dojo.client import DojoClient, DojoSettings
from adapters.sandbox import FlowResult, Message, Sandbox
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.money import Money
from workflow.replay import replay, verify

START_SECONDS = 15.0
POLL_SECONDS = 0.02
STOP_SECONDS = 12.0
CALL_SECONDS = 10.0
TABLE = "tbl_9"
WIDTH = 46
SHOWN_ID = 16
"""Longer ids are cut to this: the journal has them whole."""
_ID = re.compile(rf"\b(?:pi_sandbox|tp|ord|evt)_[\w-]{{{SHOWN_ID},}}")

BILL = {
    "reference": "T-17",
    "displayName": "Table 9",
    "details": {"orderType": "DineIn", "dineIn": {"tableId": TABLE, "waiterId": "42"}},
    "items": [
        {"plu": "FIS-02", "name": "Fish & chips", "quantity": 2, "amountPerItem": {"value": 1650, "currencyCode": "GBP"}},
        {"plu": "WIN-11", "name": "House red 250ml", "quantity": 2, "amountPerItem": {"value": 800, "currencyCode": "GBP"}},
    ],
    "totalAmount": {"value": 4900, "currencyCode": "GBP"},
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo's service keeps its files and listens, and its secrets of this one run."""

    folder: Path
    dojo_side: int
    venue_side: int
    password: str
    tokens: dict[str, str]

    @property
    def journal(self) -> Path:
        """The journal of this run."""
        return self.folder / "tillproof.db"

    @property
    def venue_url(self) -> str:
        """The venue's side."""
        return f"http://127.0.0.1:{self.venue_side}"

    @property
    def public_url(self) -> str:
        """Dojo's side, as registered."""
        return f"http://127.0.0.1:{self.dojo_side}"


class Demo:
    """One run; `keep` leaves both programs running until Ctrl-C."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._retries = self._duplicates = 0
        self._events: list[str] = []
        self._began = time.monotonic()

    def run(self) -> bool:
        """Play both flows; whether everything ended as it should."""
        with tempfile.TemporaryDirectory(prefix="tillproof-demo-") as folder:
            place = _place(Path(folder))
            sandbox = Sandbox(observer=self._arrow)
            sandbox.start()
            try:
                with _service(place, sandbox):
                    return self._play(place, sandbox)
            finally:
                sandbox.stop()

    def _play(self, place: Place, sandbox: Sandbox) -> bool:
        click.echo(f"Tillproof demo: no key, no network; journal in {place.journal}")
        self._title("Registration", "what Dojo may ask of this POS")
        _dojo_client(sandbox).register(wanted(place.public_url, "epos-demo", place.password))
        reads = SqliteReads(place.journal)

        self._title("Order and Pay", "table 12, a customer orders and pays by phone; one event comes twice, one read fails")
        sandbox.fault("GET", "/payment-intents/*", "500", 1)
        first = sandbox.order_and_pay(tips=Money(300, "GBP"), duplicates=1)
        self._outcome(reads, first)

        self._title("Pay-only", "table 9, a bill opened at the till, paid by two customers")
        self._open_bill(place)
        second = sandbox.pay_only(TABLE, parts=2)
        self._outcome(reads, second)
        ok = self._totals(place, reads, [first, second])
        if self._keep:
            self._wait(place, sandbox)
        return ok

    def _title(self, name: str, what: str) -> None:
        click.echo(f"\n{paint(name, 'cyan')}: {what}")

    def _arrow(self, message: Message) -> None:
        """One message as it ends: `<-` Dojo calls the till's side, `->` the till's side calls Dojo."""
        path, note = _shortened(message.path), _shortened(message.note)
        status = str(message.status or "none")
        colour = "green" if 200 <= message.status < 300 else "red"
        with self._lock:
            if message.direction == "->" and not 200 <= message.status < 300:
                self._retries += 1
                note = "failed: it will be tried again"
            if message.path == "/v1/events":
                self._events.append(message.note)
            line = f"  {message.direction} {message.method:<5}{path}".ljust(WIDTH)
            click.echo(f"{line} {paint(status, colour)} {message.milliseconds:>5} ms  {note}".rstrip())

    def _open_bill(self, place: Place) -> None:
        began = time.monotonic()
        answer = requests.post(
            f"{place.venue_url}/till/orders", json=BILL, headers={"Authorization": f"Bearer {place.tokens['till']}"}, timeout=CALL_SECONDS
        )
        answer.raise_for_status()
        line = "  >> POST /till/orders (the till opens a bill)".ljust(WIDTH)
        click.echo(f"{line} {paint(str(answer.status_code), 'green')} {(time.monotonic() - began) * 1000:>5.0f} ms")

    def _outcome(self, reads: SqliteReads, flow: FlowResult) -> None:
        """What the journal says of the flow's order."""
        if not flow.ok or flow.order_id is None:
            click.echo(paint(f"  NOT DONE: {flow.reason}", "red"))
            return
        self._let_rest(reads)
        entries = list(reads.entries(order_id=flow.order_id))
        path = [entry.to_state for entry in entries if entry.machine.startswith("order@")]
        order = reads.order(flow.order_id)
        assert order is not None
        click.echo(f"  order {_shortened(flow.order_id)}: {' → '.join(path)}")
        for payment in order.order.payments.values():
            paid, tips = payment.counted
            click.echo(f"    {_shortened(payment.intent_id)} {payment.state}: {Money(paid, 'GBP')} paid, {Money(tips, 'GBP')} tip")
        self._say_duplicates(entries)
        click.echo(f"  Dojo read the order back: {order.order.paid} of {order.order.total} paid, {len(entries)} entries in the journal")

    def _say_duplicates(self, entries: list[StoredEntry]) -> None:
        """Events of this order that were delivered again, and how often the journal has them."""
        for entry in entries:
            event_id = entry.entry().body.get("id")
            delivered = sum(str(event_id) in note for note in self._events) if entry.kind == "event" else 1
            if delivered > 1:
                self._duplicates += delivered - 1
                click.echo(f"    == the event {_shortened(str(event_id))} came {delivered} times and was applied once")

    def _totals(self, place: Place, reads: SqliteReads, flows: list[FlowResult]) -> bool:
        verified, replayed = verify(reads, Path(f"{place.journal}.witness"), None), replay(reads)
        whole = verified.ok and replayed.ok
        done = sum(flow.ok for flow in flows)
        paid = Money(sum(order.order.paid.value for flow in flows if flow.order_id and (order := reads.order(flow.order_id))), "GBP")
        seconds = time.monotonic() - self._began
        click.echo(
            f"\n{done} of {len(flows)} flows done, {paid} paid, {self._retries} failed call{'s' * (self._retries != 1)} retried, "
            f"{self._duplicates} duplicate event{'s' * (self._duplicates != 1)} ignored"
        )
        state = paint("whole, and replay equals what is stored", "green") if whole else paint("NOT WHOLE", "red")
        click.echo(f"Journal: {verified.entries} entries, {state}. {seconds:.1f} s in all.")
        return whole and done == len(flows)

    def _let_rest(self, reads: SqliteReads) -> None:
        """The last `OrderUpdated` may still be on its way back."""
        deadline = time.monotonic() + CALL_SECONDS
        while time.monotonic() < deadline and (reads.tasks("leased", 1) or reads.tasks("pending", 1)):
            time.sleep(POLL_SECONDS)

    def _wait(self, place: Place, sandbox: Sandbox) -> None:
        click.echo(f"\nThe venue's side: {place.venue_url}   (operator token: {place.tokens['operator']})")
        click.echo(f"Dojo's side:      {place.public_url}")
        click.echo(f"Dojo simulator:   {sandbox.url}   (key: {sandbox.api_key})")
        click.echo("Ctrl-C to stop.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("")


def _shortened(text: str) -> str:
    return _ID.sub(lambda found: found[0][:SHOWN_ID] + "…", text)


def _place(folder: Path) -> Place:
    tokens = {role: secrets.token_urlsafe(12) for role in ("till", "auditor", "operator")}
    return Place(folder, _free_port(), _free_port(), secrets.token_urlsafe(16), tokens)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _dojo_client(sandbox: Sandbox) -> DojoClient:
    return DojoClient(DojoSettings(url=sandbox.url, api_key=sandbox.api_key, software_house_id="sh_demo"))


@contextmanager
def _service(place: Place, sandbox: Sandbox) -> Iterator[None]:
    """The service as a process; its log goes beside the journal and is shown if it does not start."""
    log = place.folder / "service.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "app", "serve"], env=_environment(place, sandbox), stdout=stream, stderr=stream)
    try:
        _await_ready(place, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _environment(place: Place, sandbox: Sandbox) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("TILLPROOF_")}
    return own | {
        "TILLPROOF_LISTEN": f"127.0.0.1:{place.dojo_side}",
        "TILLPROOF_CONSOLE_LISTEN": f"127.0.0.1:{place.venue_side}",
        "TILLPROOF_PUBLIC_URL": place.public_url,
        "TILLPROOF_JOURNAL": str(place.journal),
        "TILLPROOF_DOJO_URL": sandbox.url,
        "TILLPROOF_DOJO_API_KEY": sandbox.api_key,
        "TILLPROOF_SOFTWARE_HOUSE_ID": "sh_demo",
        "TILLPROOF_EPOS_USERNAME": "epos-demo",
        "TILLPROOF_EPOS_PASSWORD": place.password,
        "TILLPROOF_TOKENS": ",".join(f"{role}:{role}-demo:{token}" for role, token in place.tokens.items()),
        "TILLPROOF_ENV": "test",
    }


def _await_ready(place: Place, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{place.venue_url}/readyz", timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(POLL_SECONDS)
    raise click.ClickException(f"the service did not start:\n{log.read_text()}")
