"""The wall clock may say anything: nothing reads it but through the injected clock, and what happens follows positions, never times."""

from __future__ import annotations

import ast
import itertools
import json
import random
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import WITH_TILL, FixedClock, Venue, a_capture, an_intent
from workflow import export
from workflow.clock import CLOCK_JUMP_SECONDS, WallClock, from_text, to_text
from workflow.commands import AttemptFailed, ExtendLock, LockOrder, RecordPayment, ReleaseLock, ResolveVenue, Sweep, ToldPayment
from workflow.errors import OrderLocked, UnknownOrder
from workflow.journal.transaction import JUMPS as JUMPS_IN_META
from workflow.journal.transaction import KEPT_JUMPS
from workflow.lock_times import GRACE_MS
from workflow.ports import IntentId, OrderId
from workflow.replay import replay, verify

ROOT = Path(__file__).resolve().parents[2]
CLOCK = ROOT / "workflow" / "clock.py"
CORE = sorted((ROOT / "workflow").rglob("*.py"))
SOURCES = [*CORE, *sorted((ROOT / "adapters").rglob("*.py")), ROOT / "app.py"]
TIME_OF_DAY = re.compile(
    r"time\.(time|time_ns|localtime|gmtime|ctime|asctime|strftime|clock_gettime|clock_gettime_ns)"
    r"|datetime\.(datetime\.(now|utcnow|today)|date\.today)"
)
ANY_TIME = re.compile(rf"{TIME_OF_DAY.pattern}|time\.(?!sleep$).+|timeit\..+|os\.times|workflow\.clock\.SystemClock")
"""What the core may not even measure with: of the module `time` it has `sleep` alone, and it makes no clock of its own."""

SQL_NOW = re.compile(
    r"current_(time|date|timestamp)|(date|time|datetime|julianday|unixepoch)\s*\(\s*('now'|\))|strftime\([^)]*'now'", re.IGNORECASE
)
DAY, HOUR = 86_400, 3_600
BACK, FORWARD = -3 * DAY, 2 * HOUR
GRACE = GRACE_MS // 1000
JUMPS = pytest.mark.parametrize("by", [BACK, FORWARD], ids=["three days back", "two hours on"])


def told(intent_id):
    return ToldPayment(intent_id=IntentId(intent_id), paid=1000)


@pytest.fixture
def venue(tmp_path):
    """Whatever its clock did, the journal verifies and explains what is stored."""
    venue = Venue(tmp_path)
    yield venue
    venue.close()
    assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).first_bad is None
    assert replay(venue.reads).mismatches == []


def readings(of: re.Pattern[str], source: str) -> list[str]:
    """Where a source names such a reading, whatever it imports it as, and where it has SQL that asks for the time."""
    found, tree, imported = [], ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {bound: bound for name in node.names if not name.asname for bound in name.name.split(".")[:1]}
            imported |= {name.asname: name.name for name in node.names if name.asname}
        if isinstance(node, ast.ImportFrom):
            names = {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
            imported |= names
            found += [f"{node.lineno}: {name}" for name in names.values() if of.fullmatch(name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, _, rest = ast.unparse(node).partition(".")
            name = f"{imported.get(owner, '')}.{rest}"
            found += [f"{node.lineno}: {name}"] if of.fullmatch(name) else []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_NOW.search(node.value):
            found.append(f"{node.lineno}: {node.value[:60]!r}")
    return found


def in_the(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- one clock


@pytest.mark.parametrize("path", [path for path in SOURCES if path != CLOCK], ids=in_the)
def test_nothing_but_the_clock_reads_the_time_of_day(path):  # I17 T1 T2
    assert readings(TIME_OF_DAY, path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", [path for path in CORE if path != CLOCK], ids=in_the)
def test_the_core_reads_no_time_whatever_but_from_the_clock_that_it_is_given(path):  # I17 T1 T2
    assert readings(ANY_TIME, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "from time import time_ns",
        "from datetime import datetime\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import time as t\nt.gmtime()",
        "from datetime import datetime as d\nd.now(UTC)",
        "SQL = \"INSERT INTO t VALUES (datetime('now'))\"",
        "SQL = 'at TEXT DEFAULT CURRENT_TIMESTAMP'",
    ],
)
def test_a_reading_of_the_time_of_day_is_found_in_each_of_its_forms(source):
    assert readings(TIME_OF_DAY, source)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "import time\ntime.monotonic_ns()",
        "import time\ntime.time()",
        "import time\nfield(default_factory=time.perf_counter)",
        "import time as t\nt.perf_counter_ns()",
        "from time import monotonic as seconds",
        "def wait():\n    from time import process_time",
        "from timeit import default_timer",
        "import os\nos.times().elapsed",
        "from workflow.clock import Clock, SystemClock",
        "from workflow import clock\nclock.SystemClock()",
        "import workflow.clock\nworkflow.clock.SystemClock()",
    ],
)
def test_a_reading_of_any_time_is_found_in_each_of_its_forms(source):
    assert readings(ANY_TIME, source)


def test_to_wait_and_to_ask_the_clock_that_was_given_is_to_read_no_time_past_it():
    waiting = "import time\nfrom datetime import time as at\ntime.sleep(clock.monotonic() - began)\nat.min\nself.clock.now()"
    assert readings(ANY_TIME, waiting) == []


def test_the_clock_itself_reads_each_once():
    assert [found.split(": ")[1] for found in readings(ANY_TIME, CLOCK.read_text("utf-8"))] == ["datetime.datetime.now", "time.monotonic"]


# -- jumps


def attention(venue):
    return [item.code for item in venue.reads.attention()]


def flags(venue):
    """(raise or clear, detail) of every entry that tells of a jump."""
    return [
        (entry.trigger, entry.body["detail"])
        for entry in map(lambda stored: stored.entry(), venue.reads.entries())
        if entry.kind == "attention" and entry.body["code"] == "CLOCK_JUMP"
    ]


@JUMPS
def test_a_jump_of_the_wall_clock_is_flagged_before_anything_else_is_written_and_positions_go_on(venue, by):  # T1 T2 I17
    venue.create("o1")
    size = venue.reads.size()
    venue.clock.jump(by)

    venue.create("o2", payments=())

    after = list(venue.reads.entries())[size:]
    assert [entry.seq for entry in after] == list(range(size + 1, size + 1 + len(after)))
    assert (after[0].kind, after[0].trigger, after[0].order_id, after[0].actor) == ("attention", "raise", "", "clock")
    assert flags(venue) == [("raise", f"the machine's clock jumped by {by:+} s, to {to_text(venue.clock.now())}")]
    assert {entry.at for entry in after} == {to_text(venue.clock.now())}
    assert attention(venue) == ["CLOCK_JUMP"]


@JUMPS
def test_a_jump_is_noticed_by_the_sweep_when_nothing_else_happens(venue, by):  # T1 T2 I20
    venue.clock.jump(by)
    venue.engine.handle(Sweep(limit=100))

    assert attention(venue) == ["CLOCK_JUMP"]


@JUMPS
def test_a_clock_that_jumps_back_to_where_it_was_clears_the_attention_by_an_entry(venue, by):  # T1 T2
    for seconds in (by, -by):
        venue.clock.jump(seconds)
        venue.engine.handle(Sweep(limit=100))

    assert [trigger for trigger, _ in flags(venue)] == ["raise", "clear"]
    assert attention(venue) == []


def test_each_further_jump_is_flagged_anew(venue):  # T1 T2
    for seconds in (FORWARD, BACK, FORWARD):
        venue.clock.jump(seconds)
        venue.engine.handle(Sweep(limit=100))

    assert [trigger for trigger, _ in flags(venue)] == ["raise", "clear", "raise", "clear", "raise"]


@pytest.mark.parametrize(("seconds", "codes"), [(-CLOCK_JUMP_SECONDS, ["CLOCK_JUMP"]), (1 - CLOCK_JUMP_SECONDS, []), (0, []), (DAY, [])])
def test_a_clock_that_was_set_back_while_nothing_ran_is_flagged_by_the_next_start_alone(tmp_path, seconds, codes):  # T1
    venue = Venue(tmp_path)
    venue.create("o1")
    venue.clock.jump(seconds)
    for found in (codes, []):
        venue.close()
        venue = Venue(tmp_path, clock=venue.clock)
        venue.engine.recover_leases()
        assert attention(venue) == found
        venue.engine.handle(ResolveVenue(action="acknowledge", reason="the clock was set right", actor="operator:ann"))
    assert replay(venue.reads).mismatches == []
    venue.close()


def test_a_jump_that_a_person_acknowledged_is_over_and_one_back_is_a_new_one(venue):  # T1 T2 I18
    venue.clock.jump(FORWARD)
    venue.engine.handle(Sweep(limit=100))
    settled = venue.engine.handle(ResolveVenue(action="acknowledge", reason="the time service was off", actor="operator:ann"))
    assert (settled.refusal, attention(venue)) == (None, [])

    venue.clock.move(HOUR)
    venue.engine.handle(Sweep(limit=100))
    assert attention(venue) == []

    venue.clock.jump(-FORWARD)
    venue.engine.handle(Sweep(limit=100))
    assert attention(venue) == ["CLOCK_JUMP"]


def test_a_jump_is_flagged_though_the_command_that_came_with_it_changed_nothing(venue):  # T1 T2
    venue.clock.jump(BACK)
    with pytest.raises(UnknownOrder):
        venue.engine.handle(LockOrder(order_id=OrderId("nobody"), lock_id="l", expires_at="2026-03-14T13:00:00.000Z"))

    assert attention(venue) == ["CLOCK_JUMP"]


def test_time_that_passes_and_a_leap_second_are_no_jump(venue):  # T1 T4
    for seconds in (0.001, 60, DAY, 400 * DAY):
        venue.clock.move(seconds)
        venue.clock.jump(-1)
        venue.create(f"o{seconds}", payments=())

    assert flags(venue) == []


def test_steps_too_small_to_be_a_jump_add_up_to_one():  # T1
    clock = FixedClock()
    wall = WallClock(clock)
    steps = 0
    while not wall.jump():
        clock.jump(1)
        steps += 1

    assert steps == CLOCK_JUMP_SECONDS


def due_in(venue, seconds):
    """What the timer finds after so many seconds have passed."""
    venue.clock.move(seconds)
    return [task.effect for task in venue.engine.claim_due(10)]


@JUMPS
def test_a_task_that_waits_to_be_tried_again_waits_as_long_as_without_the_jump(venue, by):  # T1 T2 I20
    venue.create("o1")
    venue.event("pi_1", "Captured")
    task = venue.tasks.popleft()
    in_ten_seconds = int(venue.clock.now().timestamp() * 1000) + 10_000
    venue.engine.handle(AttemptFailed(task=task, error="500", next_at_ms=in_ten_seconds))
    venue.clock.jump(by)

    assert due_in(venue, 9.9) == []
    assert due_in(venue, 0.1) == ["read_intent"]


def test_a_step_back_that_is_no_jump_delays_what_is_due_by_no_more_than_itself(venue):  # T1 I20
    venue.create("o1", captured=True)
    venue.tasks.clear()
    venue.clock.jump(1 - CLOCK_JUMP_SECONDS)
    venue.engine.recover_leases()
    venue.clock.jump(1 - CLOCK_JUMP_SECONDS)

    assert due_in(venue, CLOCK_JUMP_SECONDS) == ["read_intent"]


@JUMPS
def test_a_lease_holds_as_long_as_without_the_jump(venue, by):  # T1 T2 K7
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.clock.jump(by)

    assert due_in(venue, 29.9) == []
    assert due_in(venue, 0.1) == ["read_intent"]


def test_no_jump_makes_intents_that_are_open_due_at_once_nor_an_orphan_old(venue):  # T1 T2 R4 O8
    """An authorisation that is thought to be over is read, never assumed; a jump is no reason to read them all."""
    for number in range(5):
        venue.create(f"o{number}", payments=(told(f"pi_{number}"),))
    venue.event("pi_unknown", "Captured")
    venue.settle({})
    before = venue.reads.size()
    venue.clock.jump(8 * DAY)
    venue.engine.handle(Sweep(limit=100))

    assert (len(venue.tasks), attention(venue).count("ORPHAN_EVENT"), venue.reads.size()) == (0, 0, before + 1)
    assert [venue.order(f"o{number}").state for number in range(5)] == ["authorised"] * 5

    venue.clock.move(60)
    venue.engine.handle(Sweep(limit=100))
    read = [task.intent_id for task in venue.tasks if task.effect == "read_intent"]
    assert sorted(read)[:5] == [f"pi_{number}" for number in range(5)]
    venue.settle({f"pi_{number}": an_intent(f"pi_{number}", status="Authorized", external_id=f"o{number}") for number in range(5)})
    assert [venue.order(f"o{number}").state for number in range(5)] == ["authorised"] * 5


# -- how old something is


ALARMS = {
    "unread": ("PAID_NOT_ON_TILL", 120),
    "untold": ("PAID_NOT_ON_TILL", 120),
    "in part": ("UNDERPAID", 960),
    "denied": ("STATUS_LIE", 2160),
    "held": ("STATUS_LIE", 711_600),  # Read every six hours by then; eight days are over at the last of them.
}
"""Of each order that waits: what a person is called about, and after how many seconds: at the first sweep that finds it so for too long."""
SHOWN = {
    "in part": an_intent("pi_in part", capture_mode="Manual", captures=(a_capture(600),)),
    "denied": an_intent("pi_denied", status="Authorized"),
    "held": an_intent("pi_held", status="Authorized", capture_mode="Manual"),
}
"""Of whom Dojo answers, and what; the others' calls are under way for ever, but for the till's, which failed."""


def wait_for_all(venue):
    for name in ALARMS:
        venue.create(name, payments=(told(f"pi_{name}"),), captured=name == "untold")
        if name != "untold":
            venue.event(f"pi_{name}", "Authorized" if name == "held" else "Captured")
    for task in [task for task in venue.tasks if (task.order_id, task.effect) == ("untold", "tell_till")]:
        venue.engine.handle(AttemptFailed(task=task, error="away", next_at_ms=venue.engine.now_ms() + 20 * DAY * 1000))
        venue.tasks.remove(task)
    answer_all(venue)


def answer_all(venue):
    while venue.tasks:
        task = venue.tasks.popleft()
        if task.order_id in SHOWN:
            venue.perform(task, {f"pi_{name}": intent for name, intent in SHOWN.items()})


def called(venue):
    return {item.order_id: item.code for item in venue.reads.attention() if item.order_id}


def sweep_after(venue, seconds):
    venue.clock.move(seconds)
    venue.engine.handle(Sweep(limit=100))
    answer_all(venue)


def alarms(venue, before_each_sweep=lambda number: None):
    """Of each order: for what, and how many seconds after the beginning, a person was called."""
    wait_for_all(venue)
    found, passed = {}, 0
    for number, seconds in enumerate([30] * 80 + [HOUR] * 200):
        before_each_sweep(number)
        sweep_after(venue, seconds)
        passed += seconds
        for name, code in called(venue).items():
            found.setdefault(name, (code, passed))
    return found


NINE_DAYS = 9 * DAY
SET = {
    "never": lambda number: 0,
    "two hours on": lambda number: FORWARD * (number == 1),
    "nine days on": lambda number: NINE_DAYS * (number == 1),
    "three days back": lambda number: BACK * (number == 1),
    "on, and right again": lambda number: {1: NINE_DAYS, 3: -NINE_DAYS}.get(number, 0),
    "to and fro": lambda number: NINE_DAYS * (-1) ** number,
}
"""By how many seconds somebody sets the clock before the so-manieth sweep."""


@pytest.mark.parametrize("how", SET)
def test_however_the_clock_is_set_a_person_is_called_as_soon_as_without_that_and_no_sooner(tmp_path, how):  # T1 T2 I17 I20
    venue = Venue(tmp_path, sends=WITH_TILL)
    try:
        found = alarms(venue, lambda number: venue.clock.jump(SET[how](number)))
        [*kept] = venue.reads.rows("SELECT json_array_length(value) FROM meta WHERE name = ?", (JUMPS_IN_META,))
    finally:
        venue.close()

    assert found == ALARMS
    assert kept == {"never": [], "on, and right again": [(2,)], "to and fro": [(KEPT_JUMPS,)]}.get(how, [(1,)])
    assert replay(venue.reads).mismatches == []


@JUMPS
def test_what_was_written_right_before_a_jump_is_as_old_as_what_was_written_right_after_it(venue, by):  # T1 T2
    for name in ("before", "after"):
        venue.create(name, payments=(told(f"pi_{name}"), told(f"pi_last_{name}")), total=2000)
        for intent_id in (f"pi_{name}", f"pi_last_{name}"):
            venue.event(intent_id, "Captured")
        venue.tasks.clear()
        if name == "before":
            *_, newest = venue.reads.entries()
            assert (newest.machine.split("@")[0], newest.payment_intent_id) == ("payment", "pi_last_before")
            venue.clock.jump(by)

    sweep_after(venue, 60)
    assert called(venue) == {}
    sweep_after(venue, 60)
    assert called(venue) == {"before": "PAID_NOT_ON_TILL", "after": "PAID_NOT_ON_TILL"}


def restarted_after_a_jump(folder, by, *, meanwhile=0):
    """A venue of a second process: the clock jumped under the first one, which noted it, and by `meanwhile` while nothing ran."""
    venue = Venue(folder)
    wait_for_all(venue)
    venue.clock.jump(by)
    sweep_after(venue, 10)
    venue.close()
    venue.clock.jump(meanwhile)
    venue = Venue(folder, clock=venue.clock)
    venue.engine.recover_leases()
    sweep_after(venue, 10)
    return venue


@pytest.mark.parametrize(
    ("by", "meanwhile"),
    [(FORWARD, 0), (NINE_DAYS, 0), (-NINE_DAYS, NINE_DAYS)],
    ids=["two hours on", "nine days on", "nine days back, and put right while nothing ran"],
)
def test_what_a_jump_made_no_older_is_no_older_to_the_next_process_either(tmp_path, by, meanwhile):  # T1 T2 I20
    venue = restarted_after_a_jump(tmp_path, by, meanwhile=meanwhile)
    assert called(venue) == {}

    sweep_after(venue, 120)
    assert called(venue) == {"unread": "PAID_NOT_ON_TILL"}
    venue.close()


def test_a_clock_that_jumped_back_and_is_put_right_by_a_later_process_is_late_for_nothing(tmp_path):  # T1 I20
    venue = restarted_after_a_jump(tmp_path, -NINE_DAYS)
    venue.clock.jump(NINE_DAYS)
    sweep_after(venue, 10)
    assert called(venue) == {}
    assert venue.journal.write(lambda transaction: transaction.jumped_ms(0)) == 0
    venue.close()


def test_a_long_stop_is_no_jump_and_who_was_not_called_before_is_called_after_it(tmp_path):  # I20
    venue = Venue(tmp_path, sends=WITH_TILL)
    wait_for_all(venue)
    venue.close()
    venue.clock.jump(NINE_DAYS)
    venue = Venue(tmp_path, clock=venue.clock, sends=WITH_TILL)
    venue.engine.recover_leases()
    for seconds in (1, 120):  # What waited for the till is young again after so long.
        sweep_after(venue, seconds)

    assert called(venue) == {name: code for name, (code, _) in ALARMS.items()}
    venue.close()


def test_a_jump_that_comes_after_it_was_looked_for_makes_nothing_old_either(venue):  # T2
    wait_for_all(venue)
    write = venue.journal.write

    def write_after_a_jump(work):
        venue.journal.write = write
        venue.clock.jump(NINE_DAYS)
        return write(work)

    venue.clock.move(60)
    venue.journal.write = write_after_a_jump
    venue.engine.handle(Sweep(limit=100))

    assert (called(venue), attention(venue)) == ({}, [])
    sweep_after(venue, 59)
    assert (called(venue), attention(venue)) == ({}, ["CLOCK_JUMP"])
    sweep_after(venue, 1)
    assert called(venue) == {"unread": "PAID_NOT_ON_TILL"}


# -- locks


def lock(venue, lock_id, seconds=600, how=LockOrder):
    until = to_text(venue.clock.now() + timedelta(seconds=seconds))
    return venue.engine.handle(how(order_id=OrderId("o1"), lock_id=lock_id, expires_at=until)).refusal


def holders(venue):
    """Who holds the lock after each entry, by the entries alone: one at a time, whoever was told so."""
    return [stored.entry().body.get("lockId") for stored in venue.reads.entries() if stored.kind == "lock"]


def test_a_clock_that_jumps_over_a_locks_expiry_gives_it_no_second_holder(venue):  # X12 X3 I16
    venue.open("o1")
    assert lock(venue, "first") is None
    venue.clock.jump(FORWARD)

    assert lock(venue, "second") is None
    assert isinstance(lock(venue, "first", how=ExtendLock), OrderLocked)
    assert isinstance(lock(venue, "first"), OrderLocked)
    assert isinstance(venue.engine.handle(ReleaseLock(order_id=OrderId("o1"), lock_id="first")).refusal, OrderLocked)
    pay = RecordPayment(order_id=OrderId("o1"), intent_id=IntentId("pi_1"), paid=an_intent().amount, tips=an_intent().tips, lock_id="first")
    assert isinstance(venue.engine.handle(pay).refusal, OrderLocked)
    assert venue.order("o1").lock.lock_id == "second"
    assert holders(venue) == ["first", "second"]
    assert attention(venue).count("CLOCK_JUMP") == 1


def test_a_clock_that_is_set_back_makes_no_lock_last_much_longer_than_it_was_given_for(venue):  # T1 I17 I12
    """Dojo gives the money back of a payment that is refused, here for a lock that nobody holds any more."""
    venue.open("o1")
    lock(venue, "first", seconds=600)
    venue.clock.jump(BACK)
    venue.clock.move(600 + GRACE - 1)
    pay = RecordPayment(
        order_id=OrderId("o1"), intent_id=IntentId("pi_1"), paid=an_intent().amount, tips=an_intent().tips, lock_id="second"
    )
    assert isinstance(venue.engine.handle(pay).refusal, OrderLocked)
    assert isinstance(lock(venue, "second"), OrderLocked)
    venue.clock.move(1)

    assert venue.engine.handle(pay).refusal is None
    assert lock(venue, "second") is None
    assert holders(venue) == ["first", "second"]
    assert "LOCK_STALE" in attention(venue)
    assert replay(venue.reads).ok


def test_an_extended_lock_lasts_as_long_as_it_was_extended_for_though_the_clock_is_set_back(venue):  # T1 I17
    venue.open("o1")
    lock(venue, "first", seconds=60)
    venue.clock.move(50)
    lock(venue, "first", seconds=600, how=ExtendLock)
    venue.clock.jump(BACK)
    venue.clock.move(600 + GRACE - 1)
    assert isinstance(lock(venue, "second"), OrderLocked)
    venue.clock.move(1)
    assert lock(venue, "second") is None


def test_a_clock_that_was_fast_and_is_put_right_takes_no_lock_from_its_holder(venue):  # T1 I16 I12
    venue.open("o1")
    lock(venue, "first", seconds=120)  # Five minutes that Dojo wanted, by a clock that is three minutes fast.
    venue.clock.jump(-180)
    venue.clock.move(299)
    assert isinstance(lock(venue, "second"), OrderLocked)
    pay = RecordPayment(order_id=OrderId("o1"), intent_id=IntentId("pi_1"), paid=an_intent().amount, tips=an_intent().tips, lock_id="first")
    assert venue.engine.handle(pay).refusal is None
    venue.clock.move(1)
    assert lock(venue, "second") is None


@pytest.mark.parametrize("how", [LockOrder, ExtendLock])
def test_a_lock_whose_time_has_passed_and_that_is_asked_for_once_more_is_held_again(venue, how):  # X1 X4 I16
    venue.open("o1")
    until = to_text(venue.clock.now() + timedelta(seconds=600))
    first = {"order_id": OrderId("o1"), "lock_id": "first", "expires_at": until}
    venue.engine.handle(LockOrder(**first))
    venue.clock.jump(BACK)
    venue.clock.move(600 + GRACE)
    assert venue.engine.handle(how(**first)).refusal is None
    assert isinstance(lock(venue, "second"), OrderLocked)
    assert replay(venue.reads).ok


def test_a_clock_that_jumps_back_gives_a_lock_that_was_taken_over_not_back(venue):  # X12 I16
    venue.open("o1")
    lock(venue, "first")
    venue.clock.jump(FORWARD)
    lock(venue, "second")
    venue.clock.jump(-FORWARD)

    assert isinstance(lock(venue, "first"), OrderLocked)
    assert venue.order("o1").lock.lock_id == "second"


@JUMPS
def test_a_jump_expires_no_lock_by_an_entry_and_its_holder_may_go_on(venue, by):  # T2 X4 X12
    venue.open("o1")
    lock(venue, "first")
    venue.clock.jump(by)
    venue.engine.handle(Sweep(limit=100))

    assert holders(venue) == ["first"]
    assert lock(venue, "first", how=ExtendLock) is None
    assert venue.order("o1").lock.lock_id == "first"


# -- no order by time


COURSES = {
    "rising": lambda number: 1,
    "standing still": lambda number: 0,
    "falling": lambda number: -HOUR,
    "leaping": lambda number: DAY,
    "anyhow": lambda number: random.Random(number).uniform(-400, 400) * HOUR,
}
"""By how many seconds somebody sets the clock before the so-manieth command."""


def a_day(folder, course):
    """Ten orders with their events, reads and news, by this clock; what an auditor sees of it without the times."""
    venue, numbers = Venue(folder), itertools.count()
    handle = venue.engine.handle

    def by_this_clock(command):
        venue.clock.jump(COURSES[course](next(numbers)))
        return handle(command)

    venue.engine.handle = by_this_clock
    try:
        for number in range(10):
            name, intent_id = f"o{number}", f"pi_{number}"
            world = {intent_id: an_intent(intent_id, external_id=name)}
            if number % 2:
                venue.event(intent_id, "Captured", event_id=f"early-{number}")
                venue.settle(world)
            venue.create(name, payments=(told(intent_id),)) if number % 3 else venue.open(name)
            venue.event(intent_id, "Authorized", event_id=f"a-{number}")
            venue.event(intent_id, "Captured", event_id=f"c-{number}", channel="webhook")
            venue.settle(world)
        venue.engine.handle(ResolveVenue(action="acknowledge", reason="it is so", actor="clock"))
        assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).first_bad is None
        replayed = replay(venue.reads)
        assert replayed.mismatches == []
        rows = [json.loads(line) for line in export.lines(venue.reads, "jsonl")]
        # The flags of jumps are numbered among the venue's own entries, and so are its tasks.
        entries = [
            (row["order_id"], row["trigger"], row["to_state"], row["cause"].split("venue:")[0]) for row in rows if row["actor"] != "clock"
        ]
        orders = [(order.state, order.paid, order.payments.keys(), order.order_seq) for order in (venue.order(f"o{n}") for n in range(10))]
        return entries, orders, replayed.digest
    finally:
        venue.close()


@pytest.fixture(scope="module")
def by_a_good_clock(tmp_path_factory):
    return a_day(tmp_path_factory.mktemp("rising"), "rising")


@pytest.mark.parametrize("course", ["standing still", "falling", "leaping", "anyhow"])
def test_whatever_the_clock_says_the_same_messages_give_the_same_entries_in_the_same_order(course, by_a_good_clock, tmp_path):  # I17 T1
    assert a_day(tmp_path, course) == by_a_good_clock


def test_a_moment_that_repeats_is_written_and_read_back_as_it_is(venue):  # T1
    venue.clock.jump(BACK)
    venue.create("o1")
    venue.clock.jump(-BACK)
    venue.create("o2", payments=())

    times = [from_text(entry.at) for entry in venue.reads.entries()]
    assert times != sorted(times) or len(set(times)) < len(times)
