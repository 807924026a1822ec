"""`tillproof demo`: both flows between a running simulator and the running service, over real HTTP, told as arrows.

The service is a process of its own, started exactly as an operator starts it; everything that is printed was seen on the wire or read
back from the journal.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import requests

from adapters.capabilities import wanted
from adapters.cli.arrows import WIDTH, arrow, shortened
from adapters.cli.local import Place, dojo_client, let_rest, place, service
from adapters.cli.output import emit, paint
from adapters.sandbox import FlowResult, Message, Sandbox
from workflow.clock import Clock
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.money import Money
from workflow.plurals import plural
from workflow.replay import replay, verify

CALL_SECONDS = 10.0
TABLE = "tbl_9"

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
AREAS = [{"id": "inside", "name": "Inside"}, {"id": "garden", "name": "Garden"}]
TABLES = [
    {"id": f"tbl_{number}", "name": f"Table {number}", "areaId": "inside" if number < 10 else "garden", "maxCovers": 4}
    for number in (7, 8, 9, 11, 12)
]
BILL_BY_HAND = BILL | {
    "reference": "T-18",
    "displayName": "Table 7",
    "details": {"orderType": "DineIn", "dineIn": {"tableId": "tbl_7", "waiterId": "42"}},
}
"""To be paid on the phone by whoever looks on."""


class Demo:
    """One run; `keep` leaves both programs running until Ctrl-C, and shows their pages in a browser if `opens`; `as_json` keeps stdout for
    the outcome."""

    def __init__(self, *, clock: Clock, keep: bool, as_json: bool = False, opens: bool = False) -> None:
        self._clock, self._keep, self._as_json, self._opens = clock, keep, as_json, opens
        self._lock = threading.Lock()
        self._retries = self._duplicates = 0
        self._events: list[str] = []
        self._began = clock.monotonic()

    def _say(self, line: str) -> None:
        click.echo(line, err=self._as_json)

    def run(self) -> bool:
        """Play both flows; whether everything ended as it should."""
        with _stopped_as_by_ctrl_c(), tempfile.TemporaryDirectory(prefix="tillproof-demo-") as folder:
            where = place(Path(folder))
            sandbox = Sandbox(observer=self._arrow)
            sandbox.start()
            try:
                with service(where, sandbox):
                    return self._play(where, sandbox)
            finally:
                sandbox.stop()

    def _play(self, place: Place, sandbox: Sandbox) -> bool:
        self._say(f"Tillproof demo: no key, no network; journal in {place.journal}")
        self._title("Registration", "what Dojo may ask of this POS")
        dojo_client(sandbox).register(wanted(place.public_url, "epos-demo", place.password))
        reads = SqliteReads(place.journal)

        self._title("Order and Pay", "table 12, a customer orders and pays by phone; one event comes twice, one read fails")
        sandbox.fault("GET", "/payment-intents/*", "500", 1)
        first = sandbox.order_and_pay(tips=Money(300, "GBP"), duplicates=1)
        self._outcome(reads, first)

        self._title("Pay-only", "table 9, a bill opened at the till, paid by two customers")
        self._till(place, "POST", "/till/orders", BILL, "the till opens a bill")
        second = sandbox.pay_only(TABLE, parts=2)
        self._outcome(reads, second)
        if self._keep:
            self._title("By hand", "the floor plan and a bill at table 7, for you to pay")
            self._till(place, "PUT", "/till/areas", AREAS, "where there are tables")
            self._till(place, "PUT", "/till/tables", TABLES, "which tables there are")
            self._till(place, "POST", "/till/orders", BILL_BY_HAND, "the till opens a bill")
        told = self._totals(place, sandbox, reads, [first, second])
        try:
            emit(self._as_json, told, lambda: iter(()))
            if self._keep:
                self._wait(place, sandbox)
        except KeyboardInterrupt:
            self._say("")
        return bool(told["ok"])

    def _title(self, name: str, what: str) -> None:
        self._say(f"\n{paint(name, 'cyan')}: {what}")

    def _arrow(self, message: Message) -> None:
        """One message as it ends."""
        failed = message.direction == "->" and not 200 <= message.status < 300
        with self._lock:
            self._retries += failed
            if message.path == "/v1/events":
                self._events.append(message.note)
            self._say(arrow(message, "failed: it will be tried again" if failed else None))

    def _till(self, place: Place, method: str, path: str, body: object, what: str) -> None:
        """What the venue's till does."""
        began = self._clock.monotonic()
        headers = {"Authorization": f"Bearer {place.tokens['till']}"}
        answer = requests.request(method, f"{place.venue_url}{path}", json=body, headers=headers, timeout=CALL_SECONDS)
        answer.raise_for_status()
        line = f"  >> {method} {path} ({what})".ljust(WIDTH)
        self._say(f"{line} {paint(str(answer.status_code), 'green')} {(self._clock.monotonic() - began) * 1000:>5.0f} ms")

    def _outcome(self, reads: SqliteReads, flow: FlowResult) -> None:
        """What the journal says of the flow's order."""
        if not flow.ok or flow.order_id is None:
            self._say(paint(f"  NOT DONE: {flow.reason}", "red"))
            return
        let_rest(reads)
        entries = list(reads.entries(order_id=flow.order_id))
        path = [entry.to_state for entry in entries if entry.machine.startswith("order@")]
        order = reads.order(flow.order_id)
        assert order is not None
        self._say(f"  order {shortened(flow.order_id)}: {' → '.join(path)}")
        for payment in order.order.payments.values():
            paid, tips = payment.counted
            self._say(f"    {shortened(payment.intent_id)} {payment.state}: {Money(paid, 'GBP')} paid, {Money(tips, 'GBP')} tip")
        self._say_duplicates(entries)
        self._say(f"  Dojo read the order back: {order.order.paid} of {order.order.total} paid, {len(entries)} entries in the journal")

    def _say_duplicates(self, entries: list[StoredEntry]) -> None:
        """Events of this order that were delivered again, and how often the journal has them."""
        for entry in entries:
            event_id = entry.entry().body.get("id")
            delivered = sum(str(event_id) in note for note in self._events) if entry.kind == "event" else 1
            if delivered > 1:
                self._duplicates += delivered - 1
                self._say(f"    == the event {shortened(str(event_id))} came {delivered} times and was applied once")

    def _totals(self, place: Place, sandbox: Sandbox, reads: SqliteReads, flows: list[FlowResult]) -> dict[str, object]:
        verified, replayed = verify(reads, Path(f"{place.journal}.witness"), None, self._clock), replay(reads)
        whole = verified.ok and replayed.ok
        done = sum(flow.ok for flow in flows)
        paid = Money(sum(order.order.paid.value for flow in flows if flow.order_id and (order := reads.order(flow.order_id))), "GBP")
        seconds = self._clock.monotonic() - self._began
        self._say(
            f"\n{done} of {len(flows)} flows done, {paid} paid, {plural(self._retries, 'failed call')} retried, "
            f"{plural(self._duplicates, 'duplicate event')} ignored"
        )
        state = paint("whole, and replay equals what is stored", "green") if whole else paint("NOT WHOLE", "red")
        self._say(f"Journal: {verified.entries} entries, {state}. {seconds:.1f} s in all.")
        data: dict[str, object] = {
            "ok": whole and done == len(flows),
            "flows": [self._flow_view(reads, flow) for flow in flows],
            "paid": paid,
            "failedCallsRetried": self._retries,
            "duplicateEventsIgnored": self._duplicates,
            "journal": {"entries": verified.entries, "whole": whole},
            "seconds": round(seconds, 1),
        }
        if self._keep:
            addresses = {"listen": place.public_url, "consoleListen": place.venue_url, "sandbox": sandbox.url}
            data["serving"] = addresses | sandbox.pages | {"operatorToken": place.tokens["operator"], "sandboxKey": sandbox.api_key}
        return data

    def _flow_view(self, reads: SqliteReads, flow: FlowResult) -> dict[str, object]:
        view: dict[str, object] = {"flow": flow.name, "ok": flow.ok, "reason": flow.reason, "orderId": flow.order_id}
        if not flow.order_id or (stored := reads.order(flow.order_id)) is None:
            return view
        order = stored.order
        payments = [{"paymentIntentId": payment.intent_id, "state": payment.state} for payment in order.payments.values()]
        figures = {"totalAmount": order.total, "paidAmount": order.paid, "tipsAmount": order.tips}
        return view | figures | {"state": order.state, "payments": payments}

    def _wait(self, place: Place, sandbox: Sandbox) -> None:
        pages = sandbox.pages
        self._say(f"\nNow you: be the customer, and watch the console. The journal is {place.journal}, until Ctrl-C.")
        self._say(f"  Console           {place.venue_url}/   (log in with the operator token {place.tokens['operator']})")
        self._say(f"  Customer's phone  {pages['phone']}   (table 7 has a bill to pay)")
        self._say(f"  Dojo's panel      {pages['panel']}   (what goes wrong is chosen there)")
        self._say(f"  For programs      Dojo's side {place.public_url}, simulator {sandbox.url} (key: {sandbox.api_key})")
        self._say("To begin: order something and pay; pay half of table 7's bill; order something off the menu for 10.23, whose payment")
        self._say("does not agree with the order, and put that right in the console, under Needs attention.")
        self._open_pages(f"{place.venue_url}/", pages["panel"], pages["phone"])
        self._say("Ctrl-C to stop.")
        threading.Event().wait()

    def _open_pages(self, *addresses: str) -> None:
        """In a browser, where somebody sits at a screen and wants it."""
        if self._opens and _is_terminal() and _has_a_screen():
            for address in addresses:
                webbrowser.open(address)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _has_a_screen() -> bool:
    """A browser has where to show itself, and no machine waits for us."""
    has_display = sys.platform in {"win32", "darwin"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return has_display and not os.environ.get("CI")


@contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM and a terminal that is closed end it as Ctrl-C does, so that the service does not go on without us."""
    before = {number: signal.getsignal(number) for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # As under nohup.
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
