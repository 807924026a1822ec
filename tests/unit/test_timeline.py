"""An order's entries as a person asks for them: what belongs together is one row."""

from __future__ import annotations

import pytest

from tests.builders import Venue, an_intent
from workflow.commands import AttemptFailed, LockOrder, ReleaseLock, RequeueTask, ResolveOrder, Sweep, ToldPayment
from workflow.ports import IntentId, OrderId
from workflow.timeline import REDACTED, Beside, compact, problems, redacted, timeline

WORLD = {"pi_1": an_intent()}


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def rows(venue, order_id="o1"):
    reads, entries = venue.reads, list(venue.reads.entries(order_id=order_id))
    tasks = reads.tasks_of(order_id)
    beside = Beside(tasks=tasks, failures=reads.failures_of([task.id for task in tasks]), repeats=reads.repeats_of(order_id))
    return timeline(entries, beside)


def fail(venue, error, *, dead=False):
    """The oldest task that was handed over fails; unless it is dead then it is tried again two seconds later."""
    task = venue.tasks.popleft()
    venue.engine.handle(AttemptFailed(task=task, error=error, next_at_ms=None if dead else venue.engine.now_ms() + 2_000))
    venue.clock.move(2)
    venue.tasks.extend(venue.engine.claim_due(1))


def settle(venue):
    while venue.tasks:
        venue.perform(venue.tasks.popleft(), WORLD)


def test_a_decision_is_one_row_with_every_move_that_it_made(venue):
    venue.create()
    [row] = rows(venue)
    assert (row.way, row.what, row.outcome, row.intent_id) == ("from Dojo", "create the order", "accepted", "pi_1")
    assert row.moves[0] == "order new → created"
    assert row.moves[-1] == "order created → authorised"
    assert [entry.seq for entry in row.entries] == list(range(1, len(row.entries) + 1))


def test_request_answer_and_retries_are_one_row_with_each_attempt(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    fail(venue, "500")
    fail(venue, "503")
    settle(venue)
    [row] = [each for each in rows(venue) if each.what == "read the payment at Dojo"]
    assert [(each.number, each.at[14:19], each.answer) for each in row.attempts] == [
        (1, "00:00", "500"),
        (2, "00:02", "503"),
        (3, "00:04", "Captured"),
    ]
    assert (row.times, row.is_problem, row.outcome) == (3, True, "Captured")


def test_a_call_that_waits_for_its_next_try_is_the_last_row_and_has_no_entry(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    fail(venue, "500")
    row = rows(venue)[-1]
    assert (row.entries, row.outcome, row.is_problem) == ((), "under way now", True)
    assert [each.answer for each in row.attempts] == ["500"]


def test_a_call_that_was_given_up_and_requeued_counts_its_attempts_anew(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    task_id = venue.tasks[0].id
    fail(venue, "500")
    fail(venue, "400", dead=True)
    venue.tasks.clear()
    venue.engine.handle(RequeueTask(task_id=task_id, reason="Dojo is back", actor="operator:jo"))
    settle(venue)
    calls = [each for each in rows(venue) if each.what == "read the payment at Dojo"]
    assert [[(each.number, each.answer) for each in row.attempts] for row in calls] == [[(1, "500"), (2, "400")], [(1, "Captured")]]
    assert [row.outcome for row in calls] == ["given up", "Captured"]
    [act] = [each for each in rows(venue) if each.way == "a person"]
    assert (act.what, act.actor, act.reason) == ("try the call again", "jo", "Dojo is back")


def test_an_event_that_came_again_is_one_row_that_says_seen_twice_applied_once(venue):
    venue.create()
    venue.event("pi_1", "Captured", event_id="evt_1")
    venue.event("pi_1", "Captured", event_id="evt_1")
    settle(venue)
    [row] = [each for each in rows(venue) if each.what == "says Captured of the payment"]
    assert (row.times, row.notes) == (2, ("seen twice, applied once",))


def test_an_event_that_came_by_both_channels_is_one_row_with_both_entries(venue):
    venue.create()
    for channel in ("capability", "webhook", "webhook"):
        venue.event("pi_1", "Captured", event_id="evt_1", channel=channel)
    settle(venue)
    [row] = [each for each in rows(venue) if each.what == "says Captured of the payment"]
    assert (row.times, row.notes) == (3, ("seen 3 times, applied once",))
    assert len([entry for entry in row.entries if entry.kind == "event"]) == 2


def test_two_events_of_one_payment_stay_two_rows(venue):
    venue.create()
    venue.event("pi_1", "Captured", event_id="evt_1")
    venue.event("pi_1", "Captured", event_id="evt_2")
    told = [each for each in rows(venue) if each.what == "says Captured of the payment"]
    assert [(row.times, row.notes) for row in told] == [(1, ()), (1, ())]


def test_a_request_that_came_again_says_so(venue):
    venue.create()
    venue.create()
    venue.engine.handle(Sweep(limit=1))
    assert rows(venue)[0].notes == ("seen twice, applied once",)


def test_attention_has_rows_of_its_own_when_it_is_raised_and_when_a_person_clears_it(venue):
    venue.create(total=1100)
    venue.event("pi_1", "Captured")
    venue.perform(venue.tasks.popleft(), {"pi_1": an_intent(paid=1000, tips=0, status="Weird")})
    code = venue.order().attention[0].code
    venue.engine.handle(ResolveOrder(order_id=OrderId("o1"), action="detach_payment", reason="not ours", actor="operator:jo"))
    told = [(row.what, row.is_problem) for row in rows(venue) if row.what.startswith("needs")]
    words = code.replace("_", " ").lower()
    assert told == [(f"needs a person: {words}", True), (f"needs nobody any more: {words}", False)]
    assert [row.what for row in problems(rows(venue))][-2:] == ["detach payment", f"needs nobody any more: {words}"]
    [act] = [row for row in rows(venue) if row.way == "a person"]
    assert (act.what, act.actor, act.reason) == ("detach payment", "jo", "not ours")


def test_locks_say_what_was_done_with_them(venue):
    venue.open()
    venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="s1", expires_at="2026-03-14T12:05:00.000Z", holder="Joe"))
    venue.engine.handle(ReleaseLock(order_id=OrderId("o1"), lock_id="s1"))
    assert [row.what for row in rows(venue) if row.entries and row.entries[0].kind == "lock"] == ["lock the order", "let the lock go"]


def test_a_refused_request_is_a_problem_and_says_why(venue):
    venue.open()
    venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="s1", expires_at="2026-03-14T12:05:00.000Z"))
    venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="s2", expires_at="2026-03-14T12:05:00.000Z"))
    row = [each for each in rows(venue) if each.entries][-1]
    assert row.is_problem
    assert row.outcome.startswith("refused: order o1 is locked by")
    assert problems(rows(venue)) == [row]


def test_looking_again_in_vain_is_one_row_in_short_and_all_of_it_in_full(venue):
    venue.create()
    for _ in range(4):
        venue.clock.move(4_000)
        venue.engine.handle(Sweep(limit=10))
        while venue.tasks:
            venue.perform(venue.tasks.popleft(), {"pi_1": an_intent(status="Authorized")})
    whole = rows(venue)
    looks = [row for row in compact(whole) if row.what == "read the payment at Dojo"]
    assert len([row for row in whole if row.what == "look at the open payment again"]) == 4
    assert not [row for row in compact(whole) if row.what == "look at the open payment again"]
    assert [row.times for row in looks] == [4]


def test_reads_that_differ_alike_again_and_again_are_one_row_in_short(venue):
    venue.open()
    venue.event("pi_1", "Captured")
    other = {"pi_1": an_intent(external_id="somebody-else")}
    venue.create("o2", payments=(ToldPayment(intent_id=IntentId("pi_1"), paid=1000),))
    venue.settle(other)
    for _ in range(3):
        venue.clock.move(4_000)
        venue.engine.handle(Sweep(limit=10))
        venue.settle(other)
    reads = [row for row in compact(rows(venue, "o2")) if row.what == "read the payment at Dojo" and not row.moves]
    assert reads[-1].outcome == "Captured, external id mismatch"
    assert reads[-1].times >= 3


def test_every_entry_of_an_order_is_in_a_row_once(venue):
    venue.create()
    venue.event("pi_1", "Captured", event_id="evt_1")
    venue.event("pi_1", "Captured", event_id="evt_1", channel="webhook")
    fail(venue, "500")
    settle(venue)
    seqs = sorted(entry.seq for row in rows(venue) for entry in row.entries)
    assert seqs == [entry.seq for entry in venue.reads.entries(order_id="o1")]


def test_fields_are_redacted_by_their_path_whatever_they_hold():
    bill = {
        "displayName": "Ada",
        "reference": "Ada",
        "items": [{"name": "Pizza", "note": "no nuts", "subItems": [{"note": "x", "plu": "p"}]}],
    }
    assert redacted({"bill": bill, "personal": "abc", "displayName": "kept"}) == {
        "bill": {
            "displayName": REDACTED,
            "reference": "Ada",
            "items": [{"name": "Pizza", "note": REDACTED, "subItems": [{"note": REDACTED, "plu": "p"}]}],
        },
        "personal": REDACTED,
        "displayName": "kept",
    }


def test_a_read_that_moved_nothing_since_it_was_older_says_so(venue):
    venue.create()
    for updated_at, status in (("2026-03-14T12:10:00Z", "Captured"), ("2026-03-14T12:05:00Z", "Authorized")):
        venue.event("pi_1", "Captured")
        while venue.tasks:
            venue.perform(venue.tasks.popleft(), {"pi_1": an_intent(status=status, updated_at=updated_at)})
    reads = [row.outcome for row in rows(venue) if row.what == "read the payment at Dojo"]
    assert reads == ["Captured", "Authorized, older than a read before it"]
