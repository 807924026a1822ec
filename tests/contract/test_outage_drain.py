"""After an outage: ten thousand waiting tasks on a clock that is moved, and a sample of it with the real program."""

from __future__ import annotations

import itertools
import os
import re
import threading
import time

from running import KEY, a_bill, eventually, free_port, running
from test_outbox_threads import PATIENCE, Dojo, Sending

from adapters.sandbox import Sandbox
from tests.builders import a_bill as a_core_bill
from tests.builders import an_intent
from workflow.bill import Personal
from workflow.commands import CreateOrder, OpenOrder, ToldPayment
from workflow.errors import TryAgain
from workflow.ports import IntentId, OrderId
from workflow.replay import replay

RPS = 20
WAITING = int(os.environ.get("WAITING", "10000"))
READS = WAITING // 5
"""So many of them are reads; what they find has to be told then."""
MOST_WAITING_SECONDS = WAITING / RPS * 1.2
"""Ten minutes for ten thousand calls."""
OUTAGE_SECONDS = 600
PACE = 1 / RPS
LONG = 4 * PATIENCE * max(1, WAITING // 10_000)


class Away(Dojo):
    """Away at first; when it is back it notes when each call came. `came` counts those that had waited for their turn."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.clock, self.is_away, self.times = clock, True, dict[str, float]()
        self.came = threading.Semaphore(0)

    def read_intent(self, task):
        self._come(task)
        return super().read_intent(task)

    def order_updated(self, task):
        self._come(task)
        return super().order_updated(task)

    def _come(self, task) -> None:
        if self.is_away:
            raise TryAgain("connection refused")
        self.times[task.id] = self.clock.monotonic()
        if task.is_paced:
            self.came.release()


def what_waits(venue: Sending) -> None:
    """Bills that the till opened, of which Dojo has to hear, and READS payments that Dojo told and we have to read, in turns."""
    commands = []
    for n in range(WAITING):
        if n % (WAITING // READS):
            commands.append(OpenOrder(order_id=OrderId(f"o{n}"), key=f"o{n}", bill=a_core_bill(), personal=Personal(), actor="till:till-1"))
        else:
            told = (ToldPayment(intent_id=IntentId(f"pi_{n}"), paid=1000),)
            order_id = OrderId(f"o{n}")
            commands.append(
                CreateOrder(order_id=order_id, dojo_order_id=f"d{n}", bill=a_core_bill(), personal=Personal(), payments=told, captured=True)
            )
            venue.dojo.world[f"pi_{n}"] = an_intent(f"pi_{n}")
    for first in range(0, len(commands), 500):
        _store_together(venue.engine, venue.journal, commands[first : first + 500])


def _store_together(engine, journal, commands) -> None:
    journal.write(lambda transaction: [engine._handle(command, engine._unit(transaction)) for command in commands])


def count(venue: Sending, status: str) -> int:
    [(found,)] = venue.reads.rows("SELECT count(*) FROM outbox WHERE status = ?", (status,))
    return found


def test_ten_thousand_tasks_drain_within_ten_minutes_of_an_outage_at_twenty_calls_a_second(tmp_path):  # U18 I8
    """What is read is told to Dojo, which nobody had to wait for yet: these calls come after those that waited, and no faster."""
    venue = Sending(tmp_path, Dojo())
    venue.dojo = dojo = Away(venue.clock)
    claimed = 0

    def rest(stopping, seconds):
        """The time between two attempts: it passes once every call that is under way was made."""
        nonlocal claimed
        for _ in range(claimed):
            assert dojo.came.acquire(timeout=PATIENCE)
        claimed = 0
        venue.clock.move(seconds)

    # Everything waits as long as it ever may: the whole cap of the back-off.
    venue.send(workers=8, base_ms=900_000, rps=RPS, rest=rest)
    claim_due = venue.engine.claim_due

    def counted(limit, destinations):
        nonlocal claimed
        tasks = claim_due(limit, destinations)
        claimed += len(tasks)
        return tasks

    venue.engine.claim_due = counted
    try:
        what_waits(venue)
        eventually(lambda: count(venue, "pending") == WAITING, LONG)
        waited = {task_id for (task_id,) in venue.reads.rows("SELECT id FROM outbox")}
        venue.clock.move(OUTAGE_SECONDS)
        dojo.is_away = False
        began = venue.clock.monotonic()
        venue.open("new")
        eventually(lambda: count(venue, "done") == WAITING + READS + 1, LONG)

        calls = list(dojo.times.items())
        assert len(calls) == WAITING + READS + 1
        assert max(at for task_id, at in calls if task_id in waited) - began <= MOST_WAITING_SECONDS
        assert calls[-1][1] - began >= (WAITING + READS) / RPS - 1
        gaps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(calls[1:])]
        assert min(gaps) >= PACE - 1e-6
        assert venue.reads.attention() == []
        assert count(venue, "dead") == 0
    finally:
        venue.close()
    assert {task.attempts for task in dojo.calls} == {1, 2}
    assert venue.order("o0").state == "updated"
    assert replay(venue.reads).ok


def test_the_program_drains_what_waits_at_its_pace_as_soon_as_dojo_takes_a_call(tmp_path):  # U8 U18 I20
    waiting, rps, port = 60, 20, free_port()
    sandbox = Sandbox(api_key=KEY, port=port)
    given = {"RETRY_BASE_MS": 3_600_000, "RETRY_CAP_MS": 3_600_000, "RETRY_RPS": rps, "CALL_DEADLINE_MS": 60_000, "LEASE_S": 90}
    with running(tmp_path, f"http://127.0.0.1:{port}", **given) as service:
        opened = [service.till.post("/till/orders", a_bill()).json["id"] for _ in range(waiting)]
        eventually(lambda: service.reads.rows("SELECT count(*) FROM outbox WHERE status = 'pending'") == [(waiting,)])
        assert 'tillproof_circuit_open{destination="dojo"} 1.0' in service.open.get("/metrics").body.decode()
        began = time.monotonic()
        sandbox.start()
        try:
            opened.append(service.till.post("/till/orders", a_bill()).json["id"])
            eventually(lambda: service.reads.rows("SELECT count(*) FROM outbox WHERE status = 'done'") == [(waiting + 1,)], 4 * PATIENCE)
            took = time.monotonic() - began
        finally:
            sandbox.stop()
        text = service.open.get("/metrics").body.decode()
        # K5's counter, too. The wait is drawn from an hour: one that is short is tried once more before Dojo is there.
        [again] = re.findall(r'tillproof_redeliveries_total{effect="order_updated"} (\S+)', text)
        assert float(again) >= waiting
        assert 'tillproof_circuit_open{destination="dojo"} 0.0' in text
        service.assert_whole()

    assert took >= (waiting - 1) / rps
    told = [message for message in sandbox.messages() if message.path == "/epos/events"]
    assert sorted(message.note.split()[-1] for message in told) == sorted(opened)
