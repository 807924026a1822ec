"""Both flows between the real program and the real simulator, through crashes; and what must be true after each.

`Dojo` is the simulator in a process of its own. `Venue` is the mortal program in a process group of its own, with its journal; a till
beside it hears what it is told. `Story` plays Dojo's and the till's part in both flows: whatever is not answered is asked again, as Dojo
does, and what was answered with 2xx is kept in a list. Nothing here holds the journal open while the program may be killed: a second
connection would keep SQLite's shared memory alive, and the program would never have to recover.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.epos.signature import sign
from tests.contract.running import KEY, PATIENCE, Client, Reply, Service, a_bill, an_event, an_order, environment, eventually, gbp
from tests.crash.listening_till import SECRET as TILL_SECRET
from tests.crash.listening_till import ListeningTill, a_listening_till
from workflow.clock import SystemClock, to_text
from workflow.effects import DESTINATIONS, TellTill, destination_of
from workflow.journal.keys import load_key
from workflow.journal.reads import SqliteReads
from workflow.replay import replay, verify

SECRET = "whsec_crash"
TOTAL, TIPS, GIVEN_BACK = 1200, 150, 200
PATIENCE_THROUGH_CRASHES = 60.0
"""Seconds after which a request that is never answered, or a task that never ends, has failed."""
LEASE_S, CALL_DEADLINE_MS = 120, 60_000
"""Longer than anything here takes: what a dead process had leased must not wait for that, and no call is made again but after a crash."""
PAUSE_S = 0.02
NEWEST_TASKS = 500
EXITS_IN_S = 10.0


class Violation(AssertionError):
    """Something was lost, counted twice, or stuck."""


class Dojo:
    """The simulator: `tillproof sandbox`, which knows of no POS and so sends no events by itself."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app", "sandbox", "--port", "0", "--api-key", KEY, "--json"],
            cwd=folder,
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        self._client = Client(int(self.url.rsplit(":", 1)[1]), f"Basic {KEY}")

    def ask(self, method: str, path: str, body: object = None, **headers: str | None) -> Any:
        reply = self._client.call(method, path, body, version="2026-02-27", **headers)
        assert reply.status // 100 == 2, (method, path, reply.status, reply.body)
        return reply.json if reply.body else None

    def make(self, amount: int, **options: object) -> str:
        """A payment intent that nobody has paid."""
        found: str = self.ask("POST", "/payment-intents", {"amount": gbp(amount), "reference": "crash", **options})["id"]
        return found

    def intents(self) -> dict[str, dict[str, Any]]:
        """The ledger."""
        return {intent["id"]: intent for intent in self.ask("GET", "/sandbox/intents")["data"]}

    def calls(self) -> list[dict[str, Any]]:
        """Every call of the POS, oldest first."""
        return [message for message in self.ask("GET", "/sandbox/messages")["data"] if message["direction"] == "->"]

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        assert self._process.stdout
        self._process.stdout.close()


class Venue(Service):
    """The program with parts that die. Each start may be given the point at which it ends. Without a `listening` till none is told."""

    program = "tests.crash.mortal"

    def __init__(self, folder: Path, dojo_url: str, listening: ListeningTill | None = None, **settings: object) -> None:
        patient = {"LEASE_S": LEASE_S, "CALL_DEADLINE_MS": CALL_DEADLINE_MS, "SWEEP_S": 3600}
        told = {"TILL_URL": listening.url, "TILL_SECRET": TILL_SECRET} if listening else {}
        super().__init__(folder, dojo_url, **{"WEBHOOK_SECRETS": SECRET} | patient | told | settings)
        self.listening = listening
        self.kills = self.starts = 0
        self.slowest_start = 0.0
        self._starting = threading.Lock()

    def begin(self, plan: str = "", *, sync: bool = True) -> bool:
        """Start, to be killed at `plan`; whether it became ready before that."""
        began = time.monotonic()
        process = self.launch(env=self.environment | {"CRASH_AT": plan, "CRASH_NEVER_SYNC": "" if sync else "1"})
        self.starts += 1

        def has_come() -> str:
            if process.poll() is not None:
                return "ended"
            with suppress(OSError, http.client.HTTPException):
                return "ready" if self.open.get("/readyz").status == 200 else ""
            return ""

        came = eventually(has_come, PATIENCE_THROUGH_CRASHES)
        if came == "ready":
            self.slowest_start = max(self.slowest_start, time.monotonic() - began)
        return came == "ready"

    def arm(self, plan: str) -> None:
        """From now on count, and end at `plan`."""
        self.open.call("POST", "/crash/arm", plan.encode())

    def lie(self, about: str) -> None:
        """From now on answer such a request, told by method and path, with 200, and do nothing."""
        self.open.call("POST", "/crash/lie", about.encode())

    def points(self) -> list[tuple[str, str]]:
        """What was counted."""
        return [(kind, about) for kind, about in self.open.get("/crash/points").json]

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill_now(self) -> None:
        """SIGKILL for the whole group, now."""
        assert self.process
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def revive(self) -> bool:
        """Start again where it was killed; False where it lives. It may have ended by SIGKILL, and by nothing else."""
        with self._starting:
            if self.is_running():
                return False
            self.note_death()
            if not self.begin():
                raise Violation(f"it does not start again: {self.last_words()}")
            return True

    def note_death(self) -> None:
        """The whole group is gone, by SIGKILL."""
        assert self.process
        code = self.process.wait(EXITS_IN_S)
        self.kill_now()  # Where only the worker was killed.
        if code not in {-signal.SIGKILL, 128 + signal.SIGKILL}:
            raise Violation(f"it ended with {code}: {self.last_words()}")
        self.kills += 1

    def last_words(self) -> str:
        return "\n".join(self.log_path.read_text().splitlines()[-5:])

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """What a stranger's program reads in the journal; its connection is closed at once."""
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            return connection.execute(sql, values).fetchall()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of Dojo's or the till's, and a statement that finds the entry which this request alone leaves in the journal."""

    side: str
    method: str
    path: str
    body: object
    effect: str
    values: tuple[object, ...]
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.values}"


class Story:
    """Everything that was asked of one venue, and what it acknowledged. `on_answer` hears of each 2xx as soon as it is there,
    `on_death` that the program is dead, before it is started again.

    With `is_steady` nothing is asked while something is being sent, so that the same points come in the same order each time.
    """

    def __init__(self, venue: Venue, dojo: Dojo, *, is_steady: bool = True, revives: bool = True) -> None:
        assert venue.listening
        self.venue, self.dojo, self._is_steady, self._revives, self._till = venue, dojo, is_steady, revives, venue.listening
        self._till.wait = self._until_dojo_was_told if is_steady else lambda: None
        self.acknowledged: list[tuple[Asked, Any]] = []
        self.intents: dict[str, str] = {}
        self.orders: dict[str, tuple[int, ...]] = {}
        """How much is paid of each order, one after the other, as the till is to hear it."""
        self.on_answer: Callable[[Asked], None] = lambda asked: None
        self.on_death: Callable[[], None] = lambda: None

    # -- asking, until there is an answer

    def ask(self, asked: Asked) -> Any:
        """The answer's body; what is not answered is asked again, as Dojo and the till do."""
        deadline = time.monotonic() + PATIENCE_THROUGH_CRASHES
        while time.monotonic() < deadline:
            reply = self._try(asked)
            if reply is None or reply.status == 503:
                time.sleep(PAUSE_S)
                continue
            if reply.status // 100 != 2:
                raise Violation(f"{asked}: {reply.status} {reply.body!r}")
            body = reply.json if reply.body else None
            self.acknowledged.append((asked, body))
            self.on_answer(asked)
            return body
        raise Violation(f"{asked} is never answered: {self.venue.last_words()}")

    def _try(self, asked: Asked) -> Reply | None:
        try:
            return self._client(asked.side).call(asked.method, asked.path, asked.body, **asked.headers)
        except (OSError, http.client.HTTPException):
            self._look_after()
            return None

    def _client(self, side: str) -> Client:
        return {"dojo": self.venue.dojo, "till": self.venue.till, "signed": Client(self.venue.ports[0], None)}[side]

    def _until_dojo_was_told(self) -> None:
        """Wait until nothing is under way but calls to the till, or the program is dead."""

        def nothing_is() -> bool:
            with suppress(OSError, http.client.HTTPException):
                tasks = self._newest_tasks()
                return all(task["status"] == "done" for task in tasks if task["effect"] != TellTill.name)
            return True

        eventually(nothing_is, PATIENCE_THROUGH_CRASHES)

    def _newest_tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.venue.auditor.get(f"/api/outbox?limit={NEWEST_TASKS}").json["data"]
        return found

    def settle(self) -> None:
        """Wait until nothing of this story is left to send, or where it is steady, nothing at all; every task ends, none by giving up."""

        def rests() -> bool:
            try:
                tasks = self._newest_tasks()
            except (OSError, http.client.HTTPException):
                self._look_after()
                return False
            mine = tasks if self._is_steady else [task for task in tasks if {task["orderId"], task["paymentIntentId"]} & self._names]
            if given_up := [task for task in mine if task["status"] in {"dead", "paused"}]:
                raise Violation(f"tasks that nobody tries any more: {given_up}")
            return all(task["status"] == "done" for task in mine)

        eventually(rests, PATIENCE_THROUGH_CRASHES)

    @property
    def _names(self) -> set[str]:
        return {*self.intents, *self.orders}

    def _look_after(self) -> None:
        """Start the program again where it was killed; what it had acknowledged is there before anything is asked again."""
        if self._revives and _has_ended(self.venue):
            self.on_death()
            if self.venue.revive():
                self.check_acknowledged()

    # -- the flows

    def both_flows(self) -> None:
        self.order_and_pay()
        self.pay_only()

    def order_and_pay(self) -> None:
        """An order with its payment, captured; the kitchen goes on; a part is given back."""
        dojo_id = self._id("dojo")
        intent = self.dojo.make(
            TOTAL, captureMode="Manual", tipsAmount=gbp(TIPS), orderDetails={"id": dojo_id}
        )  # Nobody but Dojo knows the order yet.
        self.dojo.ask("POST", f"/sandbox/intents/{intent}/pay")
        payment = {"paymentIntentId": intent, "paidAmount": gbp(TOTAL), "tipsAmount": gbp(TIPS)}
        order = an_order(dojo_id, payments=[payment])
        order_id = self._change(
            "dojo", "POST", "/v1/orders", order, f"create_order:{dojo_id}", trigger="announce", payment_intent_id=intent
        )["id"]
        self.intents[intent], self.orders[order_id] = order_id, (0, TOTAL, TOTAL - GIVEN_BACK)
        self.event(intent, "Authorized")
        self.dojo.ask("POST", f"/payment-intents/{intent}/captures", {"amount": TOTAL, "tipsAmount": TIPS})
        self.event(intent, "Captured")
        self.event(intent, "Captured", signed=True)
        self.settle()
        status = {"status": "Preparing"}
        self._change("till", "POST", f"/till/orders/{order_id}/status", status, "status:Preparing", order_id=order_id, to_state="Preparing")
        self.settle()
        self.dojo.ask("POST", f"/payment-intents/{intent}/refunds", {"amount": GIVEN_BACK}, IdempotencyKey=dojo_id)
        self.event(intent, "Captured")
        self.settle()

    def pay_only(self) -> None:
        """A bill of the till's, locked, paid on a card machine, recorded, unlocked, and told of by event as well."""
        order_id, lock_id = self._id("bill"), self._id("lock")
        bill = a_bill(total=TOTAL, table=self._id("tbl"), id=order_id)
        self._change("till", "POST", "/till/orders", bill, f"open_order:{order_id}", order_id=order_id, trigger="create")
        lock = {"lockId": lock_id, "expiry": to_text(datetime.now(UTC) + timedelta(hours=1))}
        self._change("dojo", "POST", f"/v1/orders/{order_id}/lock", lock, f"lock:{lock_id}", order_id=order_id, trigger="take")
        intent = self.dojo.make(TOTAL, tipsAmount=gbp(TIPS), orderDetails={"externalId": order_id})
        self.intents[intent], self.orders[order_id] = order_id, (TOTAL,)
        self.event(intent, "Created", event="payment_intent.created")
        self.dojo.ask("POST", f"/sandbox/intents/{intent}/pay")
        told = {"paymentIntentId": intent, "paidAmount": gbp(TOTAL), "tipsAmount": gbp(TIPS), "lockId": lock_id}
        path, cause = f"/v1/orders/{order_id}/record-payment", f"record_payment:{intent}"
        self._change("dojo", "POST", path, told, cause, order_id=order_id, trigger="record", payment_intent_id=intent)
        self.event(intent, "Captured", signed=True)
        self._change(
            "dojo", "DELETE", f"/v1/orders/{order_id}/locks/{lock_id}", None, f"lock:{lock_id}", order_id=order_id, trigger="release"
        )
        self.settle()

    def event(self, intent: str, status: str, *, signed: bool = False, **changes: object) -> None:
        """One event by the capability, or by the webhook."""
        body = an_event(self._id("evt"), intent, status, **changes)
        cause = f"event:{body['id']}"
        if not signed:
            self._change("dojo", "POST", "/v1/events", body, cause, payment_intent_id=intent)
            return
        raw = json.dumps(body).encode()
        headers = {"dojo_signature": sign(raw, SECRET)}
        self._change("signed", "POST", "/webhooks/dojo", raw, cause, headers, payment_intent_id=intent)

    def _change(
        self, side: str, method: str, path: str, body: object, cause: str, headers: dict[str, str] | None = None, **columns: object
    ) -> Any:
        """Ask for it. Its effect is the entry with this cause and these columns, which no other request leaves."""
        found = {"cause": cause} | columns
        where = " AND ".join(f"{name} = ?" for name in found)
        asked = Asked(
            side=side,
            method=method,
            path=path,
            body=body,
            effect=f"SELECT 1 FROM journal WHERE {where}",
            values=tuple(found.values()),
            headers=headers or {},
        )
        answer = self.ask(asked)
        if self._is_steady:
            self.settle()
        return answer

    def _id(self, kind: str) -> str:
        return f"{kind}_{random.getrandbits(64):016x}"

    # -- what must be true

    def check_acknowledged(self) -> None:
        """Of nothing that was answered with 2xx is the entry missing (I1); whether the tables say the same, `audit` knows."""
        with closing(sqlite3.connect(f"file:{self.venue.journal}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            for asked, _ in list(self.acknowledged):
                if not connection.execute(asked.effect, asked.values).fetchone():
                    raise Violation(f"acknowledged, and missing: {asked}")

    def check_money(self) -> None:
        """Each intent counts once, as Dojo's ledger has it, and every order is settled and needs nobody (I2, I20)."""
        ledger = self.dojo.intents()
        for intent, order_id in self.intents.items():
            owners = self.venue.rows("SELECT order_id, paid, tips, refunded, mismatch FROM payments WHERE intent_id = ?", (intent,))
            taken, given_back = _taken(ledger[intent])
            if owners != [(order_id, TOTAL - given_back, TIPS, given_back, "")] or taken != TOTAL + TIPS:
                raise Violation(f"{intent}: Dojo took {taken} and gave {given_back} back, we have {owners}")
        for order_id, (*_, paid) in self.orders.items():
            order = self.venue.order(order_id)
            shown = (order["state"], order["paidAmount"]["value"], order["tipsAmount"]["value"], order["attention"], len(order["payments"]))
            if shown != ("updated", paid, TIPS, [], 1):
                raise Violation(f"{order_id}: {shown}")

    def check_sends(self, crashes: int) -> None:
        """Every task is done, its call was answered, and for each crash nothing was sent twice that was not under way (I8)."""
        names = tuple(self._names)
        is_mine = " OR ".join(["? IN (intent_id, order_id)"] * len(names))
        tasks = self.venue.rows(f"SELECT effect, order_id, intent_id, status, attempts FROM outbox WHERE {is_mine}", names)
        wanted = Counter(effect for effect, *_ in tasks)
        calls = [call for call in self.dojo.calls() if any(name in call["path"] + call["note"] for name in names)]
        told = Counter({TellTill.name: len(self._told())})
        sent, answered = Counter(map(_effect_of, calls)) + told, Counter(_effect_of(call) for call in calls if call["status"] == 200) + told
        extra = {to: sum(sent[effect] - count for effect, count in wanted.items() if destination_of(effect) == to) for to in DESTINATIONS}
        allowed = crashes if self._is_steady else crashes * len(tasks)  # One under way to each, or any number.
        if any(answered[effect] < count for effect, count in wanted.items()) or max(extra.values()) > allowed:
            raise Violation(f"{wanted} were to be sent, {sent} came, {answered} were answered, after {crashes} crashes")
        if wrong := [task for task in tasks if task[3] != "done" or task[4] > 1 + crashes]:
            raise Violation(f"not done, or tried more often than it was interrupted: {wrong}")

    def check_told(self, crashes: int) -> None:
        """The till heard whatever waited to be told, how much is paid at last, and each piece of news once more a crash at most (I8)."""
        for order_id, wanted in self.orders.items():
            heard = sorted((news["orderSeq"], news["id"], news["order"]["paidAmount"]["value"]) for news in self._told(order_id))
            paid = [*dict.fromkeys(paid for *_, paid in heard)]
            if paid[-1:] != [wanted[-1]] or (self._is_steady and [each for each in paid if each in wanted] != [*wanted]):
                raise Violation(f"{order_id}: the till was to hear that {wanted} is paid, and heard {heard}")
            times = Counter(name for _, name, _ in heard)
            tasks = self.venue.rows("SELECT order_seq FROM outbox WHERE order_id = ? AND effect = ?", (order_id, TellTill.name))
            if {f"{order_id}.{order_seq}" for (order_seq,) in tasks} - {*times} or max(times.values()) > 1 + crashes:
                raise Violation(f"{order_id}: {tasks} were to be told, {times} were, after {crashes} crashes")

    def _told(self, order_id: str | None = None) -> list[dict[str, Any]]:
        """What the till heard of this story's orders, or of one, as often as it heard it."""
        orders = self.orders if order_id is None else {order_id}
        return [news for news in self._till.heard() if news["orderId"] in orders]

    def check_repeats(self) -> None:
        """The same again: the same status, the same order (I11, I12)."""
        for asked, body in list(self.acknowledged):
            reply = self._client(asked.side).call(asked.method, asked.path, asked.body, **asked.headers)
            again = reply.json if reply.body else None
            if reply.status // 100 != 2 or (isinstance(body, dict) and body.get("id") != again.get("id")):
                raise Violation(f"{asked} was answered with {body}, and then with {reply.status} {again}")


def check(stories: Sequence[Story], crashes: int) -> None:
    """Everything that must be true once the stories are over and the program was killed so many times meanwhile."""
    for story in stories:
        story.settle()
        story.check_acknowledged()
        story.check_money()
        story.check_sends(crashes)
        story.check_told(crashes)
    before = audit(stories[0].venue)
    for story in stories:
        story.check_repeats()
        story.settle()
    if (after := audit(stories[0].venue)) != before:
        raise Violation(f"repeats changed the orders: digest {before} became {after}")


def _effect_of(call: dict[str, Any]) -> str:
    """The effect that makes such a call; "" for what Dojo's own side asked the simulator."""
    return {("GET", "payment-intents"): "read_intent", ("POST", "epos"): "order_updated"}.get(
        (call["method"], call["path"].split("/")[1]), ""
    )


def _has_ended(venue: Venue) -> bool:
    """It is killed, or about to be gone; a connection that was refused for another reason is no death."""
    with suppress(subprocess.TimeoutExpired):
        assert venue.process
        venue.process.wait(0.5)
    return not venue.is_running()


def _taken(intent: dict[str, Any]) -> tuple[int, int]:
    """(taken, given back) in Dojo's ledger."""
    if intent["status"] not in {"Captured", "Refunded"}:
        return 0, 0
    return intent["amount"]["value"] + intent.get("tipsAmount", {"value": 0})["value"], intent.get("refundedAmount", 0)


def audit(venue: Venue) -> str:
    """The journal verifies, witness and signatures included, and replay equals what is stored (I6, I7); the digest of all orders.

    In a thread that ends: its connection goes with it.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_audit, venue.journal, venue.witness).result()


def _audit(journal: Path, witness: Path) -> str:
    reads = SqliteReads(journal)
    verified = verify(reads, witness, load_key(Path(f"{journal}.key")).public_key(), SystemClock())
    if not (verified.ok and verified.witness_ok):
        raise Violation(f"the journal is not whole: {verified.first_bad}")
    replayed = replay(reads)
    if not replayed.ok:
        raise Violation(f"replay differs: {replayed.mismatches}")
    return replayed.digest


@contextmanager
def a_dojo(folder: Path) -> Iterator[Dojo]:
    dojo = Dojo(folder)
    try:
        yield dojo
    finally:
        dojo.stop()


@contextmanager
def a_venue(folder: Path, dojo: Dojo, **settings: object) -> Iterator[Venue]:
    """A venue that has not been started, with a till that listens; killed at the end."""
    with a_listening_till() as listening:
        venue = Venue(folder, dojo.url, listening, **settings)
        try:
            yield venue
        finally:
            venue.kill()
