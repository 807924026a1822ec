"""The outbox with its threads on a real journal; what it calls is a plain function that the test holds back or lets fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.builders import Venue, a_bill, an_intent
from workflow.bill import Personal
from workflow.commands import AmendOrder, EffectTaken, IntentRead, Result, ToldPayment
from workflow.effects import Task
from workflow.errors import DojoRefusesUs, IntentNotFound, JournalUnavailable, OutcomeUnknown, Refused, TryAgain
from workflow.journal.driver import sqlite3
from workflow.outbox import Outbox, OutboxSettings
from workflow.ports import IntentId, OrderId, PaymentIntent
from workflow.replay import replay, verify
from workflow.retries import HORIZON_ATTEMPTS, NOT_FOUND_RETRIES, Pace

PATIENCE = 60.0
"""Seconds after which a wait has failed; nothing takes nearly as long."""
LEASE_SECONDS = 30


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.002)


class Gate:
    """Holds a call until the test lets it go on; `entered` counts the calls that came as far."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> None:
        self.entered.release()
        assert self._open.wait(PATIENCE), "the test never opened the gate"

    def reached(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE), "nobody came to the gate"

    def open(self) -> None:
        self._open.set()


class Dojo:
    """What the outbox calls. `world` has the intents; `on` maps an order or an intent to what happens in each of its calls, in turn."""

    def __init__(self) -> None:
        self.world: dict[str, PaymentIntent] = {}
        self.on: dict[str, list[object]] = {}
        self.calls: list[Task] = []
        self.most_at_once: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self._changed = threading.Lock()

    def read_intent(self, task: Task) -> Result:
        with self._counted(task):
            self._happen(task)
            return IntentRead(task=task, intent=self.world[task.intent_id])

    def order_updated(self, task: Task) -> Result:
        with self._counted(task):
            self._happen(task)
            return EffectTaken(task=task)

    def calls_of(self, name: str) -> list[Task]:
        return [task for task in list(self.calls) if name in (task.order_id, task.intent_id)]

    def _happen(self, task: Task) -> None:
        for name in (task.intent_id, task.order_id):
            if turns := self.on.get(name):
                deed = turns[0] if len(turns) == 1 else turns.pop(0)
                if isinstance(deed, Exception):
                    raise deed
                if deed is not None:
                    deed()
                return

    def _counted(self, task: Task):
        return _Counted(self, task)


class _Counted:
    def __init__(self, dojo: Dojo, task: Task) -> None:
        self.dojo, self.task = dojo, task

    def __enter__(self):
        with self.dojo._changed:
            self.dojo.calls.append(self.task)
            self._add(1)

    def __exit__(self, *_):
        with self.dojo._changed:
            self._add(-1)

    def _add(self, change: int) -> None:
        name, dojo = self.task.order_id, self.dojo
        dojo._under_way[name] = dojo._under_way.get(name, 0) + change
        dojo.most_at_once[name] = max(dojo.most_at_once.get(name, 0), dojo._under_way[name])


class Sending(Venue):
    """A venue whose tasks are sent by a real outbox; `claimed` holds what each question of its timer brought."""

    def __init__(self, folder, dojo: Dojo) -> None:
        super().__init__(folder)
        self.dojo, self.claimed = dojo, list[list[Task]]()
        claim_due = self.engine.claim_due

        def counted(limit, destinations):
            tasks = claim_due(limit, destinations)
            self.claimed.append(tasks)
            return tasks

        self.engine.claim_due = counted
        self.outbox: Outbox | None = None

    def send(
        self, *, workers: int = 4, base_ms: int = 500, horizon_s: int = 259_200, random: float = 1.0, rps: int = 1000, **settings: object
    ) -> Outbox:
        settings = OutboxSettings(
            workers=workers,
            pace=Pace(base_ms=base_ms, cap_ms=900_000, horizon_s=horizon_s),
            later_attempts_per_second=rps,
            random=lambda: random,
            probe_ms=60_000,
            sweep_seconds=3600,
            **settings,
        )
        senders = {"read_intent": self.dojo.read_intent, "order_updated": self.dojo.order_updated}
        self.outbox = Outbox(self.engine, senders, self.clock, settings)
        self.outbox.start()
        until(lambda: self.claimed)
        return self.outbox

    def later(self, seconds: float) -> None:
        """Move the clock and have the timer look at it; it has looked on return."""
        self.clock.move(seconds)
        looks = len(self.claimed)
        self.engine.wake(0)
        until(lambda: len(self.claimed) > looks and not self.claimed[-1])

    def tasks_by(self, status: str) -> list[str]:
        return sorted(task.id for task in self.reads.tasks(status, 1000))

    def comes_to_rest(self) -> None:
        """Everything that can be sent now was sent and answered."""
        until(lambda: not self.due())

    def due(self) -> list:
        now_ms = int(self.clock.now().timestamp() * 1000)
        return self.reads.rows("SELECT id FROM outbox WHERE status = 'leased' OR (status = 'pending' AND next_at_ms <= ?)", (now_ms,))

    def close(self) -> None:
        if self.outbox:
            self.outbox.stop()
        super().close()


@pytest.fixture
def dojo():
    return Dojo()


@pytest.fixture
def venue(tmp_path, dojo):
    venue = Sending(tmp_path, dojo)
    yield venue
    venue.close()


def a_split_bill(venue: Sending, order_id: str = "o1", count: int = 5) -> list[str]:
    """An order whose payments were captured in words: as many reads in one lane."""
    intents = [f"{order_id}-pi_{number}" for number in range(count)]
    venue.dojo.world |= {intent_id: an_intent(intent_id, paid=1000 // count) for intent_id in intents}
    payments = tuple(ToldPayment(intent_id=IntentId(intent_id), paid=1000 // count) for intent_id in intents)
    venue.create(order_id, payments=payments, captured=True)
    return intents


def amend(venue: Sending, total: int) -> None:
    venue.engine.handle(AmendOrder(order_id=OrderId("o1"), bill=a_bill(total), personal=Personal(), actor="till:till-1"))


# -- the healthy path


def test_on_the_healthy_path_tasks_are_handed_over_and_nothing_polls(venue):
    venue.send()
    for number in range(10):
        a_split_bill(venue, f"o{number}", 2)
    venue.comes_to_rest()
    assert [venue.order(f"o{number}").state for number in range(10)] == ["updated"] * 10
    assert [tasks for tasks in venue.claimed if tasks] == []
    assert len(venue.claimed) <= 2
    assert {task.attempts for task in venue.dojo.calls} == {1}


def test_one_task_of_an_order_is_called_at_a_time_and_in_their_order(venue):
    gate = Gate()
    venue.dojo.on["o1"] = [gate, None]
    venue.send()
    intents = a_split_bill(venue)
    gate.reached()
    assert venue.tasks_by("leased") == [venue.dojo.calls[0].id]
    assert len(venue.dojo.calls) == 1
    gate.open()
    venue.comes_to_rest()
    assert [task.intent_id for task in venue.dojo.calls] == [*intents, ""]
    assert venue.dojo.most_at_once == {"o1": 1}


def test_calls_for_different_orders_are_under_way_together(venue):
    together = threading.Barrier(4, timeout=PATIENCE)
    venue.dojo.on = {f"o{number}": [together.wait] for number in range(4)}
    venue.send(workers=4)
    for number in range(4):
        venue.open(f"o{number}")
    venue.comes_to_rest()
    assert len(venue.dojo.calls) == 4
    assert len(venue.tasks_by("done")) == 4


def test_whoever_reads_the_order_inside_our_call_sees_what_we_announce(venue):  # U19
    seen = []
    venue.dojo.on["o1"] = [lambda: seen.append((venue.order().order_seq, venue.order().total.value))]
    venue.send()
    venue.open()
    venue.comes_to_rest()
    amend(venue, 1100)
    venue.comes_to_rest()
    assert [total for _, total in seen] == [1000, 1100]
    assert all(now >= task.order_seq for (now, _), task in zip(seen, venue.dojo.calls, strict=True))


def test_news_that_wait_while_a_call_is_under_way_are_one_call_that_speaks_of_the_newest(venue):
    gate = Gate()
    venue.dojo.on["o1"] = [gate, None]
    venue.send()
    venue.open()
    gate.reached()
    for total in (1100, 1200, 1300):
        amend(venue, total)
    newest = venue.order().order_seq
    gate.open()
    venue.comes_to_rest()
    first, news = venue.dojo.calls
    assert (first.order_seq < news.order_seq, news.order_seq, venue.order().told_seq) == (True, newest, newest)


# -- leases


def test_a_call_that_outlives_its_lease_is_made_again_and_its_late_answer_is_ignored(venue):  # K7 P11
    gate = Gate()
    venue.dojo.world["pi_1"] = an_intent()
    venue.dojo.on["pi_1"] = [gate, None]
    venue.send()
    venue.create()
    venue.event("pi_1", "Captured")
    gate.reached()
    venue.later(LEASE_SECONDS)
    venue.comes_to_rest()
    size, order = venue.reads.size(), venue.order()
    assert (order.state, [task.fence for task in venue.dojo.calls_of("pi_1")]) == ("updated", [1, 2])
    gate.open()
    assert venue.outbox is not None
    venue.outbox.stop()
    assert (venue.reads.size(), venue.order()) == (size, order)


def test_a_task_that_waited_for_a_worker_beyond_its_lease_is_called_once_as_its_first_attempt(venue):  # U9
    gate = Gate()
    venue.dojo.on["o1"] = [gate]
    venue.send(workers=1)
    venue.open("o1")
    gate.reached()
    venue.open("o2")
    venue.clock.move(LEASE_SECONDS)
    venue.engine.wake(0)
    gate.open()
    until(lambda: venue.tasks_by("done") == ["o1.2.0", "o2.2.0"])
    [call] = venue.dojo.calls_of("o2")
    assert (call.attempts, call.fence) == (1, 2)  # The lease that ran out in memory was no attempt.


def test_no_more_is_leased_than_the_workers_can_come_to(venue):  # U9 U18
    gate, rests = Gate(), []
    names = [f"o{number}" for number in range(5)]
    venue.dojo.on = {name: [TryAgain("503"), None] for name in names} | {"slow": [gate, None]}
    venue.send(workers=1, rest=lambda stopping, seconds: rests.append(seconds) or stopping.wait(seconds))
    for name in names:
        venue.open(name)
    until(lambda: len(venue.tasks_by("pending")) == len(names))
    venue.open("slow")
    gate.reached()
    venue.clock.move(1)
    venue.engine.wake(0)
    looks = len(rests)
    until(lambda: len(rests) >= looks + 5)
    assert len(venue.tasks_by("leased")) == 2  # The one that is called, and one that waits for the worker.
    gate.open()
    until(lambda: len(venue.tasks_by("done")) == len(names) + 1)
    assert {task.attempts for task in venue.dojo.calls} == {1, 2}


def test_the_next_process_makes_the_calls_that_the_last_one_left(tmp_path, dojo):  # K4 K5
    before = Venue(tmp_path)
    before.open("o1")
    before.create("o2")
    before.event("pi_1", "Captured")
    assert len(before.tasks) == 2
    before.close()
    dojo.world["pi_1"] = an_intent()
    venue = Sending(tmp_path, dojo)
    venue.send()
    until(lambda: len(venue.tasks_by("done")) == 3)
    assert (venue.order("o2").state, venue.order("o2").paid.value) == ("updated", 1000)
    assert sorted((task.order_id, task.attempts) for task in dojo.calls) == [("o1", 2), ("o2", 1), ("o2", 2)]
    venue.close()


# -- trying again


@pytest.mark.parametrize(
    "error", [TryAgain("503"), OutcomeUnknown("timeout"), RuntimeError("a mistake of ours")], ids=["again", "unknown", "bug"]
)
def test_a_call_that_failed_waits_and_is_made_again_when_it_is_due(venue, error):  # U1 U8
    venue.dojo.on["o1"] = [error, None]
    venue.send(random=0.5)
    venue.open()
    until(lambda: venue.tasks_by("pending"))
    (row,) = venue.reads.tasks(None, 10)
    assert (row.attempts, row.next_at) == (1, "2026-03-14T12:00:00.250Z")
    venue.later(0.249)
    assert len(venue.dojo.calls) == 1
    venue.later(0.001)
    until(lambda: venue.tasks_by("done"))
    assert [task.attempts for task in venue.dojo.calls] == [1, 2]


def test_waits_are_drawn_from_a_range_that_doubles_with_every_attempt(venue):  # U1
    venue.dojo.on["o1"] = [TryAgain("503")]
    venue.send(base_ms=1000, random=0.5)
    venue.open()
    waits = []
    for attempt in range(1, 6):
        until(lambda attempt=attempt: [row for row in venue.reads.tasks("pending", 1) if row.attempts == attempt])
        (due_ms,) = venue.reads.rows("SELECT next_at_ms FROM outbox")[0]
        waits.append(due_ms - int(venue.clock.now().timestamp() * 1000))
        venue.later(waits[-1] / 1000)
    assert waits == [500, 1000, 2000, 4000, 8000]


@pytest.mark.parametrize("error", [TryAgain("429", after_seconds=7), OutcomeUnknown("503", after_seconds=7)], ids=["429", "503"])
def test_a_wish_to_be_left_alone_is_obeyed(venue, error):  # U2
    venue.dojo.on["o1"] = [error, None]
    venue.send(random=0.0)
    venue.open()
    until(lambda: venue.tasks_by("pending"))
    venue.later(6.999)
    assert len(venue.dojo.calls) == 1
    venue.later(0.001)
    until(lambda: venue.tasks_by("done"))


def test_later_attempts_are_made_no_faster_than_their_pace(venue):  # U18
    """On the injected clock, which stands still meanwhile: they are claimed one by one, and after each comes a whole pause."""
    for number in range(6):
        venue.dojo.on[f"o{number}"] = [TryAgain("503"), None]
    rested_after = {}

    def rest(stopping, seconds):
        rested_after[len([tasks for tasks in venue.claimed if tasks])] = seconds

    venue.send(rps=50, rest=rest)
    for number in range(6):
        venue.open(f"o{number}")
    until(lambda: len(venue.tasks_by("pending")) == 6)
    assert rested_after == {}
    venue.later(10)
    until(lambda: len(venue.tasks_by("done")) == 6 == len(rested_after))
    assert [len(tasks) for tasks in venue.claimed if tasks] == [1] * 6
    assert rested_after == {number: pytest.approx(0.020) for number in range(1, 7)}


def test_an_answer_that_cannot_be_applied_harms_only_its_own_task(venue):
    venue.dojo.world |= {"pi_1": None, "pi_2": an_intent("pi_2")}  # None: an answer that nobody expects.
    venue.send(workers=1)
    for number in (1, 2):
        venue.create(f"o{number}", payments=(ToldPayment(intent_id=IntentId(f"pi_{number}"), paid=1000),))
        venue.event(f"pi_{number}", "Captured")
    until(lambda: venue.order("o2").state == "updated" and venue.tasks_by("pending"))
    assert venue.outbox.is_alive
    venue.dojo.world["pi_1"] = an_intent()
    venue.later(1)
    until(lambda: venue.order("o1").state == "updated")


def test_an_answer_that_could_not_be_made_durable_is_asked_for_again(venue):  # S1 S3 K6
    venue.journal.write(lambda transaction: transaction._connection.execute("PRAGMA busy_timeout = 10"))
    with closing(sqlite3.connect(venue.folder / "tillproof.db", isolation_level=None, check_same_thread=False)) as outside:
        venue.dojo.on["o1"] = [lambda: outside.execute("BEGIN IMMEDIATE"), None]
        unheard, handle = [], venue.engine.handle

        def hearing(command):
            try:
                return handle(command)
            except JournalUnavailable:
                unheard.append(command)
                raise

        venue.engine.handle = hearing
        venue.send()
        venue.open()
        until(lambda: unheard)  # The answer itself, and not merely a look of the timer's.
        outside.execute("ROLLBACK")
    until(venue.journal.is_writable)
    assert venue.outbox.is_alive
    venue.later(LEASE_SECONDS)
    until(lambda: venue.tasks_by("done"))
    assert [task.attempts for task in venue.dojo.calls] == [1, 2]


def test_an_order_whose_calls_always_fail_delays_no_other(venue):  # U17
    venue.dojo.on["poison"] = [TryAgain("503")]
    venue.send(workers=1)
    venue.open("poison")
    for number in range(20):
        venue.open(f"o{number}")
    until(lambda: len(venue.tasks_by("done")) == 20)
    assert venue.tasks_by("pending") == ["poison.2.0"]
    for _ in range(5):
        venue.later(900)
        venue.comes_to_rest()
    assert len(venue.dojo.calls_of("poison")) == 6


def test_an_order_whose_call_hangs_delays_no_other(venue):  # U9 U17
    gate = Gate()
    venue.dojo.on["poison"] = [gate]
    venue.send(workers=2)
    venue.open("poison")
    gate.reached()
    for number in range(20):
        venue.open(f"o{number}")
    until(lambda: len(venue.tasks_by("done")) == 20)
    gate.open()


def test_fifty_tasks_that_wait_for_an_hour_keep_nobody_awake(venue):  # I15
    for number in range(50):
        venue.dojo.on[f"o{number}"] = [TryAgain("429", after_seconds=3600)]
    venue.send()
    for number in range(50):
        venue.open(f"o{number}")
    until(lambda: len(venue.tasks_by("pending")) == 50)
    looks = len(venue.claimed)
    assert looks <= 3
    threading.Event().wait(0.2)
    assert len(venue.claimed) <= looks + 1
    assert len(venue.dojo.calls) == 50


# -- giving up


def test_a_call_that_dojo_refuses_for_good_is_dead_at_once(venue):  # U5 U7
    venue.dojo.on["o1"] = [Refused("400 no such order")]
    venue.send()
    venue.open()
    until(lambda: venue.tasks_by("dead"))
    assert [(item.order_id, item.code) for item in venue.reads.attention()] == [("o1", "OUTBOX_DEAD")]
    effects = [entry.entry().body["outcome"] for entry in venue.reads.entries(order_id="o1") if entry.kind == "effect"]
    assert effects == ["dead"]
    venue.later(900)
    assert len(venue.dojo.calls) == 1


def test_a_call_that_fails_beyond_the_horizon_is_dead_and_not_sooner(venue):  # U1 U17
    venue.dojo.on["o1"] = [TryAgain("503")]
    venue.send(horizon_s=3600, base_ms=10)
    venue.open()
    for attempt in range(1, HORIZON_ATTEMPTS):
        until(lambda attempt=attempt: [row for row in venue.reads.tasks("pending", 1) if row.attempts == attempt])
        venue.later(6)
    until(lambda: [row for row in venue.reads.tasks("pending", 1) if row.attempts == HORIZON_ATTEMPTS])
    venue.later(3600 - 6 * (HORIZON_ATTEMPTS - 1))
    until(lambda: [row for row in venue.reads.tasks("pending", 1) if row.attempts == HORIZON_ATTEMPTS + 1])
    venue.later(11)
    until(lambda: venue.tasks_by("dead"))
    assert len(venue.dojo.calls) == HORIZON_ATTEMPTS + 2
    assert [(item.order_id, item.code) for item in venue.reads.attention()] == [("o1", "OUTBOX_DEAD")]


def test_an_intent_that_dojo_does_not_know_is_asked_for_six_more_times_and_then_holds_its_payment(venue):  # U6
    venue.dojo.on["pi_1"] = [IntentNotFound("404")]
    venue.send()
    venue.create()
    venue.event("pi_1", "Captured")
    for attempt in range(1, NOT_FOUND_RETRIES + 1):
        until(lambda attempt=attempt: [row for row in venue.reads.tasks("pending", 1) if row.attempts == attempt])
        assert venue.reads.attention() == []
        venue.later(900)
    until(lambda: venue.tasks_by("dead"))
    assert len(venue.dojo.calls_of("pi_1")) == 7
    order = venue.order()
    assert (order.state, order.paid.value, order.payments["pi_1"].mismatch) == ("captured", 0, "INTENT_NOT_FOUND")
    assert [(item.order_id, item.code, item.payment_intent_id) for item in venue.reads.attention()] == [("o1", "INTENT_NOT_FOUND", "pi_1")]


def test_an_intent_that_dojo_knows_at_the_last_attempt_is_reconciled(venue):  # U6
    venue.dojo.on["pi_1"] = [*[IntentNotFound("404")] * NOT_FOUND_RETRIES, None]
    venue.dojo.world["pi_1"] = an_intent()
    venue.send()
    venue.create()
    venue.event("pi_1", "Captured")
    for attempt in range(1, NOT_FOUND_RETRIES + 1):
        until(lambda attempt=attempt: [row for row in venue.reads.tasks("pending", 1) if row.attempts == attempt])
        venue.later(900)
    until(lambda: venue.order().state == "updated")
    assert venue.reads.attention() == []


def test_while_dojo_refuses_our_key_only_probes_go_out_and_nothing_dies(venue):  # U4
    for number in range(3):
        venue.dojo.on[f"o{number}"] = [DojoRefusesUs("401")]
        venue.open(f"o{number}")
    venue.send()
    until(lambda: len(venue.tasks_by("paused")) == 3)
    calls = len(venue.dojo.calls)
    venue.later(59.999)
    assert len(venue.dojo.calls) == calls
    venue.later(0.001)
    until(lambda: len(venue.dojo.calls) == calls + 1 and len(venue.tasks_by("paused")) == 3)
    venue.dojo.on.clear()
    venue.later(60)
    until(lambda: len(venue.tasks_by("done")) == 3)
    assert venue.reads.attention() == []


# -- stopping


def outbox_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("outbox-")}


def test_a_stop_ends_every_thread_and_nothing_is_called_after_it(venue, monkeypatch):  # K16
    monkeypatch.setattr("workflow.outbox.STOP_SECONDS", PATIENCE)
    before = outbox_threads()
    outbox = venue.send()
    assert outbox.is_alive
    assert len(outbox_threads() - before) >= 5
    outbox.stop()
    assert not outbox.is_alive
    assert outbox_threads() - before == set()
    venue.open()
    assert venue.dojo.calls == []
    assert venue.tasks_by("leased") == ["o1.2.0"]


def test_a_stop_waits_for_the_call_under_way_and_keeps_its_answer(venue, monkeypatch):  # K16
    monkeypatch.setattr("workflow.outbox.STOP_SECONDS", PATIENCE)
    gate = Gate()
    venue.dojo.on["o1"] = [gate]
    outbox = venue.send()
    venue.open()
    gate.reached()
    stopping = threading.Thread(target=outbox.stop)
    stopping.start()
    gate.open()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert venue.tasks_by("done") == ["o1.2.0"]


# -- all of it at once


def test_whatever_fails_in_between_every_task_ends_and_the_journal_explains_it(venue):  # I8 I20
    failures = [TryAgain("503"), OutcomeUnknown("reset"), RuntimeError("bug"), IntentNotFound("404"), TryAgain("429", after_seconds=3)]
    for number in range(20):
        venue.dojo.on[f"o{number}"] = [failures[number % 5], failures[(number + 1) % 5], None] if number % 2 else [None]
    venue.send(workers=3)
    for number in range(20):
        a_split_bill(venue, f"o{number}", 1 + number % 3)
    deadline = time.monotonic() + 2 * PATIENCE
    while venue.reads.rows("SELECT 1 FROM outbox WHERE status IN ('pending', 'leased')"):
        assert time.monotonic() < deadline
        venue.comes_to_rest()
        venue.later(5)
    states = {venue.order(f"o{number}").state for number in range(20) if not venue.order(f"o{number}").attention}
    assert states == {"updated"}
    assert max(venue.dojo.most_at_once.values()) == 1
    assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).ok
    assert replay(venue.reads).ok


@pytest.mark.parametrize("by", [-3 * 86_400, 7_200], ids=["three days back", "two hours on"])
def test_what_waits_for_its_next_try_is_sent_in_time_though_the_wall_clock_jumps(venue, dojo, by):  # T1 T2 I20
    dojo.on["pi_1"] = [OutcomeUnknown("500"), None]
    dojo.world["pi_1"] = an_intent()
    venue.send(base_ms=10_000)
    venue.create("o1", captured=True)
    venue.comes_to_rest()
    venue.clock.jump(by)
    venue.later(9)
    assert len(dojo.calls_of("pi_1")) == 1

    venue.later(2)
    venue.comes_to_rest()
    assert (len(dojo.calls_of("pi_1")), venue.order("o1").state) == (2, "updated")
    assert [item.code for item in venue.reads.attention()] == ["CLOCK_JUMP"]
