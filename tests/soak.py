"""Both flows for as long as you like while a tenth of everything goes wrong: `python -m tests.soak --seconds N [--seed N]`.

The service is the real program in a process of its own, the Dojo of the sandbox is here, and between them lies a line that resets
connections. Customers order, pay, split, tip, cancel and take refunds; calls, events and answers fail in every way that the sandbox
knows. Then all is well, Dojo tells once more of what it lost, and what must hold is looked at: every order settled, at its end or with
attention (I20); each payment counts what Dojo's ledger says (I2); the journal verifies and replays (I6, I7); what the process holds is
bounded (I15).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from adapters.sandbox import Sandbox, SandboxError, basket_of
from adapters.sandbox.faults import CALL_KINDS, EVENT_KINDS, POS_KINDS
from tests.contract.running import KEY, Service, a_bill, register
from workflow.clock import SystemClock
from workflow.journal.keys import load_or_make_key
from workflow.lifecycle import ORDER
from workflow.money import Money
from workflow.replay import replay, verify

SHARE = 0.1
"""Of the calls, of the events and of the connections to the POS: so many go wrong."""

CUSTOMERS = 6
STATUSES = ("500", "502", "503", "504", "429", "404", "409", "401", "403", "400", "422")
CALLS = (*STATUSES, *CALL_KINDS)
GROUPS = {
    "call of Dojo": CALLS,
    "call of the POS": tuple(POS_KINDS),
    "event": tuple(EVENT_KINDS),
    "reset at the": ("request", "answer"),
}
FLOWS = ("order_and_pay", "pay_only")
HOLD_SECONDS, LATE_SECONDS, STEP_SECONDS, DEADLINE_MS = 1.0, 1.0, 4.0, 700
IDLE_SECONDS = 30.0
LONGEST_TIMES = 6
FLOWS_A_MINUTE = 40
"""So many of either flow come to their ends at least; a machine that has much else to do goes on for longer."""
LEAST_SHARE = 0.05
"""Of the messages: so many went wrong at least, some of each of GROUPS."""
QUIET_SECONDS = 90.0
"""After the last fault everything has come to rest within this."""

WARM_UP_SHARE = 0.25
"""Of the time, at first: what the process holds then is what it needs; more must not come by much."""

RSS_GROWTH = 48 * 1024 * 1024
DESCRIPTOR_GROWTH = 64
THREAD_GROWTH = 32
WAL_BYTES = 32 * 1024 * 1024
WITNESS_LINE_BYTES = 96
REQUEST_SECONDS = 5.0
"""A request of Dojo's that is answered at all is answered within this."""

UNSETTLED = (json.dumps(ORDER.groups["unsettled"].split()),)
WAITING = "status IN ('pending', 'leased', 'paused')"
HEADERS = {"Authorization": f"Basic {KEY}", "version": "2026-02-27"}

PLANS = (
    # flow            options                                                                     how often
    ("order_and_pay", {}, 8),
    ("order_and_pay", {"tips": 150, "duplicates": 2}, 4),
    ("order_and_pay", {"event_first": True}, 2),
    ("order_and_pay", {"instead_of_capture": "cancel"}, 1),
    ("order_and_pay", {"instead_of_capture": "reversal"}, 1),
    ("order_and_pay", {"afterwards": ("refund",)}, 1),
    ("order_and_pay", {"afterwards": ("refund-part", "refund")}, 1),
    ("order_and_pay", {"afterwards": ("cancel",)}, 1),
    ("order_and_pay", {"captures": (500, 1000)}, 1),
    ("order_and_pay", {"pay_later": True}, 2),
    ("pay_only", {}, 6),
    ("pay_only", {"parts": 3, "tips": 90, "duplicates": 1}, 3),
    ("pay_only", {"status_first": True}, 2),
    ("pay_only", {"records": True, "parts": 2}, 3),
    ("pay_only", {"instead_of_capture": "decline"}, 1),
    ("pay_only", {"instead_of_capture": "cancel"}, 1),
    ("pay_only", {"afterwards": ("reversal",)}, 1),
    ("pay_only", {"capture_mode": "Manual", "afterwards": ("refund",)}, 1),
)
WEIGHTS = [often for _, _, often in PLANS]


# -- what goes wrong


class Faults:
    """Asks for the next fault of a kind whenever a call of that kind ended, once in ten times; `asked` counts them."""

    def __init__(self, dice: random.Random) -> None:
        self._dice, self.sandbox, self.asked = dice, None, Counter[str]()
        self.messages, self.milliseconds = Counter[str](), list[int]()
        self.is_on = True

    def __call__(self, message) -> None:
        """An observer of the sandbox's traffic."""
        path, to_pos = message.path, message.direction == "<-"
        self.messages["to the POS" if to_pos else "to Dojo"] += 1
        if to_pos and message.status:
            self.milliseconds.append(message.milliseconds)
        if not (self.is_on and self.sandbox and self._dice.random() < SHARE):
            return
        if not to_pos:
            pattern = "/payment-intents/*" if path.startswith("/payment-intents") else path
            self._ask(message.method, pattern, CALLS)
        elif path.endswith(("/events", "/dojo")):
            self._ask("EVENT", "*", tuple(EVENT_KINDS))
        else:
            self._ask(message.method, "/v1/*", tuple(POS_KINDS))

    def _ask(self, method: str, pattern: str, kinds: tuple[str, ...]) -> None:
        kind = self._dice.choice(kinds)
        self.sandbox.fault(method, pattern, kind, hold_seconds=HOLD_SECONDS, late_seconds=LATE_SECONDS)
        self.asked[f"{'event' if method == 'EVENT' else 'call of the POS' if pattern.startswith('/v1/') else 'call of Dojo'} {kind}"] += 1


class RudeLine:
    """A port that passes everything on to `target`, but resets one connection in ten: at once, or when the answer comes."""

    def __init__(self, target: int, dice: random.Random) -> None:
        self._target, self._dice, self.resets, self.is_on = target, dice, Counter[str](), True
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="rude-line", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # It was closed.
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), name="rude-line", daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        fate = self._dice.choice(("request", "answer")) if self.is_on and self._dice.random() < SHARE else ""
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            while True:
                for side in select.select([near, far], [], [], IDLE_SECONDS)[0] or [near]:
                    if fate == ("request" if side is near else "answer"):
                        self.resets[f"reset at the {fate}"] += 1
                        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # Closed so, it is reset.
                        return
                    if not (data := side.recv(65_536)):
                        return
                    (far if side is near else near).sendall(data)


# -- what the process holds


@dataclass(frozen=True, slots=True)
class Held:
    """What the service's processes hold together, and its files."""

    rss: int
    descriptors: int
    threads: int
    wal: int
    witness: int

    @classmethod
    def by(cls, service: Service) -> Held:
        rss = descriptors = threads = 0
        for pid in _group(service.process.pid):
            with suppress(OSError, KeyError):
                status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                rss += int(status["VmRSS"].split()[0]) * 1024
                threads += int(status["Threads"])
                descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        return cls(rss, descriptors, threads, _size(Path(f"{service.journal}-wal")), _size(service.witness))


def _group(leader: int) -> list[int]:
    """The processes of a group whose leader is this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                found.append(int(folder.name))
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# -- the report


@dataclass
class Report:
    """What was done, what went wrong on purpose, and what must not have happened."""

    seconds: float = 0.0
    quiet_seconds: float = 0.0
    flows: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    attention: Counter[str] = field(default_factory=Counter)
    milliseconds: list[int] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    entries: int = 0
    told_again: int = 0
    requeued: int = 0
    violations: list[str] = field(default_factory=list)

    def lines(self):
        did = f"{sum(self.flows.values())} flows, {sum(self.states.values())} orders, {self.entries} entries"
        yield f"{self.seconds:.0f} s with faults, {self.quiet_seconds:.0f} s to come to rest; {did}"
        counters = {"flows": self.flows, "calls": self.calls, "faults": self.faults, "orders": self.states, "attention": self.attention}
        for name, counted in counters.items():
            yield f"{name:<10} {sum(counted.values()):>6}   {', '.join(f'{key} {number}' for key, number in sorted(counted.items()))}"
        took = self.milliseconds
        yield f"answers    p50 {quantile(took, 0.5)} ms, p99 {quantile(took, 0.99)} ms, longest {max(took, default=0)} ms"
        warm, end = self.warm, self.held[-1]
        mib = 1024 * 1024
        yield f"memory     {self.held[0].rss / mib:.0f} MiB at the start, {warm.rss / mib:.0f} warm, {end.rss / mib:.0f} at the end"
        yield f"holds      descriptors {warm.descriptors} warm, {end.descriptors} at the end; threads {warm.threads}, {end.threads}"
        yield f"files      WAL at most {max(held.wal for held in self.held) / mib:.1f} MiB; witness {end.witness / mib:.1f} MiB"
        again = f"Dojo told once more of {self.told_again} payments that were open here, or whose last event was lost"
        yield f"afterwards {again}; {self.requeued} tasks were requeued"
        yield f"violations {len(self.violations)}"
        yield from (f"  {violation}" for violation in self.violations)

    @property
    def fewest_done(self) -> int:
        """How many came to their end of the flow of which fewest did."""
        return min(self.flows[f"{flow} done"] for flow in FLOWS)

    @property
    def warm(self) -> Held:
        return self.held[int(len(self.held) * WARM_UP_SHARE)]


def quantile(values, share):
    return sorted(values)[int(len(values) * share)] if values else 0


# -- the soak


def soak(folder: Path, *, seconds: float, seed: int = 1) -> Report:
    """Play for so long with faults, come to rest without, and say what was found.

    A slow machine goes on until FLOWS_A_MINUTE of each kind came to their ends, for LONGEST_TIMES as long at most.
    """
    dice, report, flows = random.Random(seed), Report(), max(1, round(FLOWS_A_MINUTE * seconds / 60))
    with _world(folder, dice) as (service, sandbox, faults, line):
        began, stop = time.monotonic(), threading.Event()
        customers = [
            threading.Thread(
                target=_customer, args=(service, sandbox, random.Random(seed * 1000 + number), number, stop, report), daemon=True
            )
            for number in range(CUSTOMERS)
        ]
        for customer in customers:
            customer.start()
        while (passed := time.monotonic() - began) < seconds or (
            report.fewest_done < flows and passed < LONGEST_TIMES * seconds and any(customer.is_alive() for customer in customers)
        ):
            report.held.append(Held.by(service))
            stop.wait(min(1.0, seconds / 20))
        stop.set()
        faults.is_on = line.is_on = False
        requests.delete(f"{sandbox.url}/sandbox/faults", headers=HEADERS, timeout=60)
        for customer in customers:
            customer.join(QUIET_SECONDS)
        report.seconds = time.monotonic() - began
        _come_to_rest(service, sandbox, report)
        report.held.append(Held.by(service))
        report.calls, report.milliseconds = faults.messages, faults.milliseconds
        report.faults = faults.asked + line.resets
        if any(customer.is_alive() for customer in customers):
            report.violations.append("a customer still waits")
        if code := service.stop():
            report.violations.append(f"the service ended with {code}")
        _check_journal(service, report)
        _check_log(service, report)
        _check_held(report)
        report.violations += not_played(report, flows)
    return report


@contextmanager
def _world(folder: Path, dice: random.Random):
    faults = Faults(dice)
    sandbox = Sandbox(api_key=KEY, observer=faults, step_seconds=STEP_SECONDS, event_back_off_seconds=0.05)
    sandbox.start()
    service = Service(folder, sandbox.url, SWEEP_S=1, CALL_DEADLINE_MS=DEADLINE_MS)
    line = RudeLine(service.ports[0], dice)
    try:
        service.settings["PUBLIC_URL"] = line.url
        body = {"events": ["payment_intent.created", "payment_intent.status_updated"], "url": f"{line.url}/webhooks/dojo"}
        subscribed = requests.post(f"{sandbox.url}/webhooks", json=body, headers=HEADERS, timeout=60)
        service.settings["WEBHOOK_SECRETS"] = subscribed.json()["secrets"][0]["value"]
        service.start()
        register(service, sandbox)
        faults.sandbox = sandbox
        yield service, sandbox, faults, line
    finally:
        service.kill()
        sandbox.stop()
        line.close()


def _customer(service: Service, sandbox: Sandbox, dice: random.Random, number: int, stop: threading.Event, report: Report) -> None:
    """One flow after the other. A flow that fails of a fault is a customer who goes away; what became of the money is looked at later."""
    turn = 0
    while not stop.is_set():
        turn += 1
        flow, options, _ = dice.choices(PLANS, WEIGHTS)[0]
        value = 500 * dice.randint(4, 40)
        choices = {name: _money(option) for name, option in options.items()} | {"channels": dice.choice(("capability", "webhook", "both"))}
        try:
            if flow == "order_and_pay":
                result = sandbox.order_and_pay(basket_of(Money(value, "GBP"), f"o-{number}-{turn}"), **choices)
            else:
                table = f"t-{number}-{turn}"
                service.till.post("/till/orders", a_bill(total=value, table=table))
                result = sandbox.pay_only(table, **choices)
            report.flows[f"{flow} {result.state}"] += 1
        except (OSError, SandboxError) as error:
            report.flows[f"{flow} {type(error).__name__}"] += 1
        except Exception as error:
            report.violations.append(f"{flow} {options}: {error!r}")
            return


def _money(option):
    if isinstance(option, tuple) and option and isinstance(option[0], int):
        return tuple(Money(part, "GBP") for part in option)
    return Money(option, "GBP") if isinstance(option, int) and not isinstance(option, bool) and option > 10 else option


# -- coming to rest


def _come_to_rest(service: Service, sandbox: Sandbox, report: Report) -> None:
    """Dojo's holds run out, it tells again of payments whose last event was lost, and an operator requeues what was given up."""
    began = time.monotonic()
    _await_outbox(service)
    report.violations += _silent(service)
    for intent in sandbox.intents.all():
        if intent.status == "Authorized":
            sandbox.intents.reverse(intent.id)
    again = _open(service) | _differences(service, sandbox).keys()
    report.told_again = len(again)
    for intent_id in sorted(again):
        with suppress(SandboxError):
            sandbox.send_event(intent_id)
    for (task_id,) in service.reads.rows("SELECT id FROM outbox WHERE status = 'dead'"):
        report.requeued += service.operator.post(f"/api/outbox/{task_id}/requeue", {"reason": "the soak is over"}).status == 200
    while (left := [*_unsettled(service), *_differences(service, sandbox).values()]) and time.monotonic() - began < QUIET_SECONDS:
        time.sleep(0.5)
    _await_outbox(service)
    report.quiet_seconds = time.monotonic() - began
    report.violations += [f"not at rest after {QUIET_SECONDS:.0f} s: {what}" for what in left]


def _await_outbox(service: Service) -> None:
    deadline = time.monotonic() + QUIET_SECONDS
    while service.reads.rows(f"SELECT 1 FROM outbox WHERE {WAITING} LIMIT 1") and time.monotonic() < deadline:
        time.sleep(0.2)


def _silent(service: Service) -> list[str]:
    """Given-up tasks of which nobody was ever told (I8), and orders under way that nothing and nobody will look at again (I20)."""
    told = "SELECT order_id, payment_intent_id FROM journal WHERE kind = 'attention' AND trigger = 'raise'"
    dead = service.reads.rows(f"SELECT id FROM outbox WHERE status = 'dead' AND (order_id, intent_id) NOT IN ({told})")
    looked_at = f"SELECT order_id FROM attention UNION SELECT order_id FROM watch UNION SELECT order_id FROM outbox WHERE {WAITING}"
    stuck = f"SELECT id, state FROM orders WHERE state IN (SELECT value FROM json_each(?)) AND id NOT IN ({looked_at})"
    return [
        *(f"task {task_id} is dead, and nobody was told" for (task_id,) in dead),
        *(f"order {order_id} is {state}, and nothing looks at it again" for order_id, state in service.reads.rows(stuck, UNSETTLED)),
    ]


def _unsettled(service: Service) -> list[str]:
    """Orders that are still under way (I20): nothing is left that would explain it, but attention that is no longer about a dead task."""
    rows = service.reads.rows("SELECT id, state FROM orders WHERE state IN (SELECT value FROM json_each(?))", UNSETTLED)
    told = {order for (order,) in service.reads.rows("SELECT order_id FROM attention WHERE code != 'OUTBOX_DEAD'")}
    return [f"order {order_id} is {state} without attention" for order_id, state in rows if order_id not in told]


def _open(service: Service) -> set[str]:
    """Intents of which the service still waits to hear: whoever does not tell it has it wait for its sweep, which doubles its pause."""
    return {intent for (intent,) in service.reads.rows("SELECT intent_id FROM watch")}


def _differences(service: Service, sandbox: Sandbox) -> dict[str, str]:
    """Intents whose figures here are not those of Dojo's ledger (I2); the sandbox was asked for no intent that does not agree."""
    ours = {intent: tuple(sums) for intent, *sums in service.reads.rows("SELECT intent_id, paid, tips FROM payments")}
    found = {}
    for intent in sandbox.intents.all():
        ledger = tuple(money.value for money in intent.counted)
        if ours.get(intent.id, (0, 0)) != ledger:
            found[intent.id] = f"intent {intent.id} is {intent.status} and counts {ledger} at Dojo, {ours.get(intent.id)} here"
    return found


# -- what must hold


def _check_journal(service: Service, report: Report) -> None:
    reads = service.reads
    verified = verify(reads, service.witness, load_or_make_key(Path(f"{service.journal}.key")).public_key(), SystemClock())
    if not (verified.ok and verified.witness_ok):
        report.violations.append(f"verify: {verified.first_bad}, witness {verified.witness_ok}")
    report.entries = verified.entries
    report.violations += [f"replay: {mismatch}" for mismatch in replay(reads).mismatches]
    report.states = Counter(dict(reads.rows("SELECT state, count(*) FROM orders GROUP BY 1")))
    report.attention = Counter(dict(reads.rows("SELECT code, count(*) FROM attention GROUP BY 1")))
    sums = "SELECT id FROM orders WHERE paid != (SELECT coalesce(sum(paid), 0) FROM payments WHERE order_id = orders.id)"
    tips = "SELECT id FROM orders WHERE tips != (SELECT coalesce(sum(tips), 0) FROM payments WHERE order_id = orders.id)"
    report.violations += [f"order {order_id} is not the sum of its payments" for (order_id,) in reads.rows(f"{sums} UNION {tips}")]


def _check_log(service: Service, report: Report) -> None:
    for line in service.log():
        if line["level"] == "CRITICAL" or "exception" in line:
            report.violations.append(f"log: {line}")


def _check_held(report: Report) -> None:
    warm, held = report.warm, report.held[int(len(report.held) * WARM_UP_SHARE) :]
    bounds = {
        "memory": (max(one.rss for one in held), warm.rss + RSS_GROWTH),
        "descriptors": (max(one.descriptors for one in held), warm.descriptors + DESCRIPTOR_GROWTH),
        "threads": (max(one.threads for one in held), warm.threads + THREAD_GROWTH),
        "WAL": (max(one.wal for one in report.held), WAL_BYTES),
        "witness": (report.held[-1].witness, WITNESS_LINE_BYTES * max(1, report.entries)),
        "the longest answer, ms": (max(report.milliseconds, default=0), 1000 * REQUEST_SECONDS),
    }
    report.violations += [f"{name}: {found:,} is more than {most:,}" for name, (found, most) in bounds.items() if found > most]


def not_played(report: Report, flows: int) -> Iterator[str]:
    """Of which flow fewer than `flows` came to their end, and what did not go wrong as often as it should have: then little was proved."""
    done = {flow: report.flows[f"{flow} done"] for flow in FLOWS} | {"updated orders": report.states["updated"]}
    yield from (f"too little was played: {name} {number}, of {flows} at least" for name, number in done.items() if number < flows)
    for about, kinds in GROUPS.items():
        if not any(report.faults[f"{about} {kind}"] for kind in kinds):
            yield f"too little went wrong: {about}, never"
    wrong, messages = sum(report.faults.values()), sum(report.calls.values())
    if wrong < LEAST_SHARE * messages:
        yield f"too little went wrong: {wrong} of {messages} messages, of which {LEAST_SHARE:.0%} at least"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="with faults (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (%(default)s)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that the service ends too.
    folder = Path(tempfile.mkdtemp(prefix="tillproof-soak-"))
    report = soak(folder, seconds=asked.seconds, seed=asked.seed)
    print("\n".join(report.lines()))
    if report.violations:
        print(f"kept       {folder}: the journal and the log")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
