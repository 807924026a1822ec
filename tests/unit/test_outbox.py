"""Tasks as the engine keeps them: who may have one, when, in which order, and what becomes of it; no threads here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import WITH_TILL, Venue, a_bill, an_intent
from workflow.bill import Personal
from workflow.commands import (
    AmendOrder,
    AttemptFailed,
    CancelOrder,
    EffectTaken,
    IntentRead,
    PauseDestination,
    RequeueTask,
    ResolveOrder,
    ResolveVenue,
    Sweep,
    ToldPayment,
)
from workflow.effects import Task
from workflow.errors import Refused, UnknownTask
from workflow.ports import IntentId, OrderId
from workflow.replay import replay

LEASE_SECONDS = 30
INTENTS = [f"pi_{number}" for number in range(1, 6)]
WORLD = {intent_id: an_intent(intent_id, paid=200) for intent_id in INTENTS}


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def now_ms(venue: Venue) -> int:
    return int(venue.clock.now().timestamp() * 1000)


def a_split_bill(venue: Venue, order_id: str = "o1", intents: list[str] = INTENTS) -> None:
    """An order whose five payments were captured in words: five reads, in one lane."""
    venue.create(order_id, payments=tuple(ToldPayment(intent_id=IntentId(intent), paid=200) for intent in intents), captured=True)


def amend(venue: Venue, total: int, order_id: str = "o1") -> None:
    venue.engine.handle(AmendOrder(order_id=OrderId(order_id), bill=a_bill(total), personal=Personal(), actor="till:till-1"))


def fail(venue: Venue, task: Task, after_ms: int | None, error: str = "503") -> None:
    next_at_ms = None if after_ms is None else now_ms(venue) + after_ms
    venue.engine.handle(AttemptFailed(task=task, error=error, next_at_ms=next_at_ms))


def statuses(venue: Venue) -> dict[str, str]:
    return {task.id: task.status for task in venue.reads.tasks(None, 1000)}


def stored(venue: Venue, task: Task):
    return next(row for row in venue.reads.tasks(None, 1000) if row.id == task.id)


# -- lanes


def test_one_task_of_an_order_is_out_at_a_time_in_the_order_of_their_birth(venue):
    a_split_bill(venue)
    done = []
    while venue.tasks:
        (task,) = venue.tasks
        assert [row.id for row in venue.reads.tasks("leased", 100)] == [task.id]
        venue.perform(venue.tasks.popleft(), WORLD)
        done.append(task.intent_id or task.effect)
    assert done == [*INTENTS, "order_updated"]


def test_tasks_of_different_orders_are_out_together(venue):
    for number in range(5):
        venue.open(f"o{number}")
    assert sorted(task.order_id for task in venue.tasks) == [f"o{number}" for number in range(5)]


def test_a_task_is_born_leased_with_its_first_attempt_counted(venue):
    venue.open()
    (task,) = venue.tasks
    assert (task.attempts, task.fence, task.lease_until_ms) == (1, 1, now_ms(venue) + LEASE_SECONDS * 1000)
    assert stored(venue, task).status == "leased"


def test_a_task_is_handed_over_only_once_it_is_durable(venue):  # K1 I9
    seen = []
    venue.engine.hand_over = lambda task: seen.append((task.id, statuses(venue).get(task.id), venue.order(task.order_id).order_seq))
    venue.open()
    assert seen == [("o1.2.0", "leased", 2)]


def test_a_result_and_the_end_of_its_task_are_stored_together_and_bring_the_next_task(venue):
    a_split_bill(venue)
    first = venue.tasks.popleft()
    venue.engine.handle(IntentRead(task=first, intent=WORLD[first.intent_id]))
    assert stored(venue, first).status == "done"
    assert venue.order().payments[IntentId(first.intent_id)].state == "reconciled"
    assert [task.intent_id for task in venue.tasks] == ["pi_2"]


def test_an_order_that_is_called_venue_shares_no_task_with_what_concerns_no_order(venue):
    venue.event("pi_1", "Captured")
    venue.event("pi_2", "Captured")
    venue.open("venue")
    assert sorted((task.effect, task.intent_id) for task in venue.tasks) == [
        ("order_updated", ""),
        ("read_intent", "pi_1"),
        ("read_intent", "pi_2"),
    ]
    assert len(statuses(venue)) == 3


# -- leases and fences


def test_a_lease_that_ran_out_is_taken_over_before_what_waits_in_its_lane(venue):  # K7
    a_split_bill(venue)
    held = venue.tasks.popleft()
    venue.clock.move(LEASE_SECONDS)
    assert [task.id for task in venue.engine.claim_due(10)] == [held.id]
    assert [row.id for row in venue.reads.tasks("leased", 100)] == [held.id]


def test_a_lease_that_ran_out_is_taken_over_and_not_sooner(venue):  # K7
    venue.open()
    held = venue.tasks.popleft()
    venue.clock.move(LEASE_SECONDS - 0.001)
    assert venue.engine.claim_due(10) == []
    venue.clock.move(0.001)
    (taken,) = venue.engine.claim_due(10)
    assert taken == replace(held, attempts=2, fence=2, lease_until_ms=now_ms(venue) + LEASE_SECONDS * 1000, is_paced=True)


@pytest.mark.parametrize(
    "result",
    [
        lambda task: IntentRead(task=task, intent=an_intent()),
        lambda task: AttemptFailed(task=task, error="late", next_at_ms=None),
        lambda task: AttemptFailed(task=task, error="late", next_at_ms=0),
        lambda task: PauseDestination(task=task, error="late", probe_at_ms=0, next_at_ms=0),
    ],
    ids=["read", "dead", "again", "pause"],
)
def test_a_late_result_of_a_task_that_somebody_took_over_is_ignored(venue, result):  # K7 P11
    venue.create()
    venue.event("pi_1", "Captured")
    late = venue.tasks.popleft()
    venue.clock.move(LEASE_SECONDS)
    venue.engine.claim_due(1)
    before, order = venue.reads.rows("SELECT * FROM outbox"), venue.order()
    size = venue.reads.size()
    venue.engine.handle(result(late))
    assert (venue.reads.rows("SELECT * FROM outbox"), venue.order(), venue.reads.size()) == (before, order, size)
    assert len(venue.tasks) == 1  # The one that took it over, and nothing else.


def test_a_result_that_comes_twice_counts_once(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    task = venue.tasks.popleft()
    venue.engine.handle(IntentRead(task=task, intent=an_intent()))
    size, order = venue.reads.size(), venue.order()
    venue.engine.handle(IntentRead(task=task, intent=an_intent(status="Refunded", refunded=1000)))
    assert (venue.reads.size(), venue.order()) == (size, order)


def test_at_the_next_start_what_was_leased_is_due_at_once_and_keeps_its_count(venue):  # K5 K7
    venue.open("o1")
    venue.open("o2")
    venue.engine.recover_leases()
    assert statuses(venue) == {"o1.2.0": "pending", "o2.2.0": "pending"}
    assert [(task.id, task.attempts, task.fence) for task in venue.engine.claim_due(10)] == [("o1.2.0", 2, 2), ("o2.2.0", 2, 2)]


# -- waiting


def test_a_failed_task_waits_until_it_is_due(venue):
    woken = []
    venue.engine.wake = woken.append
    venue.open()
    fail(venue, venue.tasks.popleft(), 5_000)
    due_ms = now_ms(venue) + 5_000
    assert (woken, venue.engine.next_due_ms()) == ([due_ms], due_ms)
    venue.clock.move(4.999)
    assert venue.engine.claim_due(10) == []
    venue.clock.move(0.001)
    assert [(task.id, task.attempts) for task in venue.engine.claim_due(10)] == [("o1.2.0", 2)]


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_what_is_claimed_is_the_oldest_first_one_an_order_and_no_more_than_asked_for(venue, limit):
    for number in range(3):
        a_split_bill(venue, f"o{number}", [f"pi_{number}{letter}" for letter in "abc"])
        venue.clock.move(0.01)
    venue.engine.recover_leases()
    claimed = []
    while some := venue.engine.claim_due(limit):
        assert len(some) <= limit
        claimed += [task.intent_id for task in some]
    assert claimed == ["pi_0a", "pi_1a", "pi_2a"]


def test_the_next_moment_is_that_of_the_first_wait_or_lease_that_ends_and_none_where_nothing_waits(venue):
    assert venue.engine.next_due_ms() is None
    a_split_bill(venue)
    assert venue.engine.next_due_ms() == now_ms(venue) + LEASE_SECONDS * 1000  # Four wait behind it, which is no reason to wake.
    venue.open("o2")
    fail(venue, venue.tasks.pop(), 1_000)
    assert venue.engine.next_due_ms() == now_ms(venue) + 1_000


def test_the_error_of_the_last_attempt_is_kept_for_the_operator(venue):
    venue.open()
    task = venue.tasks.popleft()
    fail(venue, task, 5_000, "503 from Dojo")
    row = stored(venue, task)
    assert (row.status, row.attempts, row.last_error, row.next_at) == ("pending", 1, "503 from Dojo", "2026-03-14T12:00:05.000Z")


# -- merging


def test_news_of_one_order_that_wait_are_one_task_that_speaks_of_the_newest(venue):
    venue.open()
    first = venue.tasks.popleft()
    amend(venue, 1100)
    amend(venue, 1200)
    amend(venue, 1300)
    assert len(statuses(venue)) == 2
    venue.engine.handle(EffectTaken(task=first))
    (news,) = venue.tasks
    assert (news.effect, news.order_seq) == ("order_updated", venue.order().order_seq - 1)  # The last entry is that of the first news.
    assert news.order_seq > first.order_seq


def test_a_merged_news_tells_dojo_of_the_newest_money(venue):
    venue.create("o1", payments=(ToldPayment(intent_id=IntentId("pi_1"), paid=400), ToldPayment(intent_id=IntentId("pi_2"), paid=600)))
    world = {"pi_1": an_intent("pi_1", paid=400), "pi_2": an_intent("pi_2", paid=600)}
    for intent_id in world:
        venue.event(intent_id, "Captured")
    while venue.tasks[0].effect == "read_intent":
        venue.perform(venue.tasks.popleft(), world)
    (news,) = venue.tasks
    assert news.order_seq >= venue.order().money_seq
    venue.settle(world)
    assert venue.order().state == "updated"


def test_news_that_are_under_way_are_not_merged_with_newer_ones(venue):  # I9
    venue.open()
    amend(venue, 1100)
    assert sorted(statuses(venue).values()) == ["leased", "pending"]


def test_words_about_an_intent_that_come_while_it_is_read_ask_for_one_more_read(venue):
    venue.create()
    for _ in range(4):
        venue.event("pi_1", "Captured")
    assert sorted((task.effect, task.status) for task in venue.reads.tasks(None, 10)) == [
        ("read_intent", "leased"),
        ("read_intent", "pending"),
    ]


def test_reads_of_two_intents_are_two_tasks(venue):
    a_split_bill(venue)
    assert {task.payment_intent_id for task in venue.reads.tasks(None, 10)} == set(INTENTS)


def test_an_effect_that_nobody_sends_makes_no_task(tmp_path):
    venue = Venue(tmp_path, sends=frozenset())
    venue.create()
    venue.event("pi_1", "Captured")
    assert venue.reads.tasks(None, 10) == []
    venue.close()


# -- dead letters


def test_a_task_that_is_given_up_leaves_an_entry_and_calls_a_person(venue):  # U5
    venue.open()
    task = venue.tasks.popleft()
    fail(venue, task, None, "400 no such order")
    assert stored(venue, task).status == "dead"
    effect = next(entry.entry() for entry in venue.reads.entries(order_id="o1") if entry.kind == "effect")
    assert effect.body == {"task": task.id, "effect": "order_updated", "outcome": "dead", "attempts": 1, "error": "400 no such order"}
    (item,) = venue.reads.attention()
    assert (item.order_id, item.code) == ("o1", "OUTBOX_DEAD")
    assert "400 no such order" in item.detail
    assert replay(venue.reads).ok


def test_a_read_that_was_given_up_calls_nobody_any_more_once_the_intent_was_read(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    fail(venue, venue.tasks.popleft(), None, error="500 for ever")
    assert attention_codes(venue) == ["OUTBOX_DEAD"]
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent("pi_1")})
    assert (venue.order().state, attention_codes(venue)) == ("updated", [])


def test_a_task_of_no_order_that_is_given_up_calls_a_person_too(venue):  # U5
    venue.event("pi_1", "Captured")
    fail(venue, venue.tasks.popleft(), None, error="400")
    assert [(item.order_id, item.code, item.payment_intent_id) for item in venue.reads.attention()] == [("", "OUTBOX_DEAD", "pi_1")]
    assert replay(venue.reads).ok


def test_an_intent_of_no_order_that_dojo_does_not_know_is_asked_for_again_and_calls_a_person_in_time(venue):  # O8 U6
    venue.event("pi_1", "Captured")
    for _ in range(5):
        venue.settle({})
        assert attention_codes(venue) == []
        venue.clock.move(60)
        venue.engine.handle(Sweep(limit=10))
    assert [stored.entry().trigger for stored in venue.reads.entries()].count("sweep") == 3  # After one, three and five minutes.
    assert [(item.order_id, item.code, item.payment_intent_id) for item in venue.reads.attention()] == [("", "ORPHAN_EVENT", "pi_1")]
    assert replay(venue.reads).ok


def test_an_orphan_that_a_person_settled_calls_nobody_again_when_dojo_says_that_it_knows_nothing_of_it(venue):  # O8
    venue.event("pi_1", "Captured")
    read = venue.tasks.popleft()
    venue.clock.move(300)
    venue.engine.handle(Sweep(limit=10))
    assert attention_codes(venue) == ["ORPHAN_EVENT"]
    venue.engine.handle(ResolveVenue(intent_id="pi_1", action="acknowledge", reason="the bar's", actor="operator:ada"))
    venue.perform(read, {})
    venue.settle({})
    assert attention_codes(venue) == []


def test_an_intent_that_dojo_does_not_know_holds_its_payment_and_counts_nothing(venue):  # U6
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({})
    order = venue.order()
    assert (order.state, order.paid.value, order.payments["pi_1"].mismatch) == ("captured", 0, "INTENT_NOT_FOUND")
    assert [item.code for item in order.attention] == ["INTENT_NOT_FOUND"]


def test_money_that_counts_goes_on_counting_when_a_later_read_finds_no_intent(venue):  # U6 I2
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    venue.event("pi_1", "Captured")
    venue.settle({})
    order = venue.order()
    assert (order.state, order.paid.value) == ("updated", 1000)
    assert "INTENT_NOT_FOUND" in [item.code for item in order.attention]


def test_the_next_task_of_an_order_goes_out_though_the_one_before_it_died(venue):  # U17
    a_split_bill(venue)
    fail(venue, venue.tasks.popleft(), None)
    assert [task.intent_id for task in venue.tasks] == ["pi_2"]


def test_a_dead_task_is_requeued_under_its_own_id_with_who_and_why(venue):  # I18
    venue.open()
    task = venue.tasks.popleft()
    fail(venue, task, None)
    venue.clock.move(100)
    venue.engine.handle(RequeueTask(task_id=task.id, reason="Dojo is mended", actor="operator:ada"))
    (again,) = venue.tasks
    assert (again.id, again.attempts, again.fence, again.created_at_ms) == (task.id, 1, 2, now_ms(venue))
    entry = next(entry.entry() for entry in venue.reads.entries(order_id="o1") if entry.kind == "operator")
    assert (entry.actor, entry.body["reason"]) == ("operator:ada", "Dojo is mended")
    venue.settle({})
    assert (statuses(venue), venue.reads.attention()) == ({task.id: "done"}, [])
    assert replay(venue.reads).ok


def test_only_a_dead_task_is_requeued(venue):  # L7
    venue.open()
    (task,) = venue.tasks
    size = venue.reads.size()
    assert isinstance(venue.engine.handle(RequeueTask(task_id=task.id, reason="now", actor="operator:ada")).refusal, Refused)
    with pytest.raises(UnknownTask):
        venue.engine.handle(RequeueTask(task_id="none", reason="now", actor="operator:ada"))
    assert (venue.reads.size(), statuses(venue)) == (size, {task.id: "leased"})


def test_a_task_that_waits_for_its_next_try_is_tried_now_by_a_persons_wish(venue):  # I18
    venue.open()
    task = venue.tasks.popleft()
    fail(venue, task, 600_000)
    venue.clock.move(5)
    venue.engine.handle(RequeueTask(task_id=task.id, reason="the line is mended", actor="operator:ada"))
    (again,) = venue.tasks
    assert (again.id, again.attempts, again.fence) == (task.id, 1, 2)
    entry = next(entry.entry() for entry in venue.reads.entries(order_id="o1") if entry.kind == "operator")
    assert (entry.trigger, entry.actor, entry.body["reason"]) == ("requeue", "operator:ada", "the line is mended")
    assert replay(venue.reads).ok


def test_no_person_has_a_task_tried_before_its_last_answer_wants(venue):
    venue.open()
    task = venue.tasks.popleft()
    at_ms = now_ms(venue) + 30_000
    venue.engine.handle(AttemptFailed(task=task, error="429", next_at_ms=at_ms, not_before_ms=at_ms))
    refusal = venue.engine.handle(RequeueTask(task_id=task.id, reason="now", actor="operator:ada")).refusal
    assert "is not tried for another 30 s" in str(refusal)
    assert (list(venue.tasks), statuses(venue)) == ([], {task.id: "pending"})


def test_what_a_person_has_read_again_is_read_now_though_its_read_waits_for_later(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    task = venue.tasks.popleft()
    fail(venue, task, 3_600_000)
    for _ in range(3):
        venue.clock.move(120)
        venue.engine.handle(Sweep(limit=10))
    assert [item.code for item in venue.reads.attention()] == ["PAID_NOT_ON_TILL"]
    assert [claimed.id for claimed in venue.engine.claim_due(10)] == []
    venue.engine.handle(ResolveOrder(order_id="o1", action="read_again", reason="the guest asks", actor="operator:ada"))
    assert [claimed.id for claimed in venue.engine.claim_due(10)] == [task.id]
    assert replay(venue.reads).ok


def test_a_task_that_is_requeued_where_nobody_sends_waits_untried_for_the_next_start(tmp_path):
    venue = Venue(tmp_path)
    venue.open()
    task = venue.tasks.popleft()
    fail(venue, task, None)
    venue.close()
    alone = Venue(tmp_path, sends=frozenset())
    alone.engine.handle(RequeueTask(task_id=task.id, reason="Dojo is mended", actor="operator:ada"))
    assert (list(alone.tasks), statuses(alone)) == ([], {task.id: "pending"})
    alone.close()
    again = Venue(tmp_path)
    again.engine.recover_leases()
    assert [(claimed.id, claimed.attempts) for claimed in again.engine.claim_due(10)] == [(task.id, 1)]
    again.close()


def test_a_requeued_task_waits_while_its_order_is_busy(venue):
    a_split_bill(venue)
    dead = venue.tasks.popleft()
    fail(venue, dead, None)
    venue.engine.handle(RequeueTask(task_id=dead.id, reason="again", actor="operator:ada"))
    assert [task.intent_id for task in venue.tasks] == ["pi_2"]
    assert statuses(venue)[dead.id] == "pending"
    venue.settle(WORLD)
    assert set(statuses(venue).values()) == {"done"}


# -- a destination that refuses us


def test_where_dojo_refuses_our_key_everything_waits_and_one_task_probes(venue):  # U4
    for number in range(3):
        venue.open(f"o{number}")
    first, *others = venue.tasks
    venue.tasks.clear()
    refuse(venue, first)
    for task in others:
        refuse(venue, task)
    venue.open("o9")
    assert not venue.tasks
    assert set(statuses(venue).values()) == {"paused"}
    assert [(item.order_id, item.code) for item in venue.reads.attention()] == [("", "DOJO_AUTH")]
    venue.clock.move(60)
    assert len(venue.engine.claim_due(10)) == 1
    assert venue.engine.claim_due(10) == []
    assert replay(venue.reads).ok


def test_an_order_that_comes_while_dojo_refuses_our_key_is_no_reason_to_ask_sooner(venue):  # U4
    venue.open("o1")
    refuse(venue, venue.tasks.popleft())
    venue.clock.move(1)
    venue.open("o2")
    assert venue.engine.claim_due(10) == []
    assert venue.engine.next_due_ms() == now_ms(venue) + 59_000


def test_the_first_answer_of_a_destination_that_refused_us_sets_everything_going(venue):  # U4
    for number in range(3):
        venue.open(f"o{number}")
    for task in list(venue.tasks):
        refuse(venue, task)
    venue.tasks.clear()
    venue.clock.move(60)
    venue.engine.claim_due(1)
    venue.perform(venue.tasks.popleft(), {})
    assert len(venue.engine.claim_due(10)) == 2
    venue.settle({})
    assert (set(statuses(venue).values()), venue.reads.attention()) == ({"done"}, [])


def test_a_task_that_is_refused_again_while_others_are_taken_waits_alone(venue):  # U4 U17
    venue.event("pi_of_another", "Captured")
    refuse(venue, venue.tasks.popleft())
    venue.open("o1")
    venue.clock.move(60)
    while attention_codes(venue):  # Whatever probes, something is taken in the end, and everything is due.
        [probe] = venue.engine.claim_due(1)
        refuse(venue, probe) if probe.effect == "read_intent" else venue.perform(probe, {})
        venue.clock.move(60)
    venue.tasks.clear()

    [again] = venue.engine.claim_due(10)
    assert again.effect == "read_intent"
    refuse(venue, again)

    assert (attention_codes(venue), statuses(venue)[again.id]) == ([], "pending")
    venue.tasks.clear()
    venue.open("o2")
    assert [task.order_id for task in venue.tasks] == ["o2"]
    venue.settle({})
    venue.clock.move(30)
    [last] = venue.engine.claim_due(10)
    refuse(venue, last, after=None)
    assert (statuses(venue)[again.id], attention_codes(venue)) == ("dead", ["OUTBOX_DEAD"])
    assert replay(venue.reads).ok


def attention_codes(venue):
    return [item.code for item in venue.reads.attention()]


def test_an_intent_that_dojo_refuses_for_its_own_sake_is_not_the_only_one_that_is_ever_asked(venue):  # U4 U17
    venue.event("pi_of_another", "Captured")
    [refused] = venue.tasks
    venue.tasks.clear()
    for _ in range(3):
        refuse(venue, refused)
        venue.clock.move(60)
        venue.open("o1")
        venue.engine.claim_due(10)
        probe = venue.tasks.popleft()
        if probe.id != refused.id:
            break
        refused = probe
    venue.perform(probe, {})
    assert (probe.effect, venue.reads.attention()) == ("order_updated", [])


def test_a_destination_that_refused_us_is_still_refusing_after_a_restart(tmp_path):  # U4
    venue = Venue(tmp_path)
    venue.open()
    refuse(venue, venue.tasks.popleft())
    venue.close()
    again = Venue(tmp_path)
    again.engine.recover_leases()
    assert again.engine.claim_due(10) == []
    assert again.engine.next_due_ms() == now_ms(again) + 60_000
    again.close()


# -- destinations: neither waits for the other


@pytest.fixture
def both(tmp_path):
    """A venue that tells Dojo and the till."""
    venue = Venue(tmp_path, sends=WITH_TILL)
    yield venue
    assert replay(venue.reads).mismatches == []
    venue.close()


def taken_from(venue: Venue) -> dict[str, Task]:
    """The tasks that are out now, by effect; the test has them."""
    tasks = {task.effect: task for task in venue.tasks}
    assert len(tasks) == len(venue.tasks)
    venue.tasks.clear()
    return tasks


def refuse(venue, task, *, after=30.0):
    """The destination refuses our credentials on the task; alone, it would be tried again after so many seconds."""
    now = now_ms(venue)
    command = PauseDestination(
        task=task, error="401", probe_at_ms=now + 60_000, next_at_ms=None if after is None else now + int(after * 1000)
    )
    venue.engine.handle(command)


def an_order_for_both(venue: Venue, order_id: str = "o1") -> dict[str, Task]:
    """An order from Dojo whose money is to be read, and of which the till is to be told."""
    venue.create(order_id, payments=(ToldPayment(intent_id=IntentId(f"pi_{order_id}"), paid=1000),), captured=True)
    return taken_from(venue)


def test_what_is_for_the_till_and_what_is_for_dojo_are_out_together(both):
    assert set(an_order_for_both(both)) == {"read_intent", "tell_till"}
    assert set(statuses(both).values()) == {"leased"}


def test_news_for_the_till_go_one_at_a_time_and_those_that_wait_are_one(both):
    first = an_order_for_both(both)
    both.engine.handle(IntentRead(task=first["read_intent"], intent=an_intent("pi_o1")))
    assert set(taken_from(both)) == {"order_updated"}  # The till's next news waits for the first.
    both.engine.handle(CancelOrder(order_id=OrderId("o1")))
    both.engine.handle(EffectTaken(task=first["tell_till"]))
    news = taken_from(both)
    assert set(news) == {"tell_till"}
    assert news["tell_till"].order_seq > first["tell_till"].order_seq
    assert len([row for row in both.reads.tasks(None, 100) if row.effect == "tell_till"]) == 2


def test_a_till_that_does_not_answer_holds_up_nothing_for_dojo(both):
    first = an_order_for_both(both)
    both.engine.handle(IntentRead(task=first["read_intent"], intent=an_intent("pi_o1")))
    both.engine.handle(EffectTaken(task=taken_from(both)["order_updated"]))
    assert both.order().state == "updated"
    assert stored(both, first["tell_till"]).status == "leased"


@pytest.mark.parametrize(
    ("refuses", "code", "other"), [("tell_till", "TILL_AUTH", "read_intent"), ("read_intent", "DOJO_AUTH", "tell_till")]
)
def test_a_destination_that_refuses_us_pauses_alone(both, refuses, code, other):
    tasks = an_order_for_both(both)
    refuse(both, tasks[refuses])
    assert [(item.order_id, item.code) for item in both.reads.attention()] == [("", code)]
    assert statuses(both) == {tasks[refuses].id: "paused", tasks[other].id: "leased"}
    fail(both, tasks[other], 500)
    assert stored(both, tasks[other]).status == "pending"
    assert {task.effect for task in an_order_for_both(both, "o2").values()} == {other}
    both.clock.move(0.5)
    assert [task.effect for task in both.engine.claim_due(10)] == [other]


@pytest.mark.parametrize(("refuses", "other"), [("tell_till", "read_intent"), ("read_intent", "tell_till")])
def test_an_answer_of_one_destination_is_no_sign_that_the_other_accepts_us(both, refuses, other):
    tasks = an_order_for_both(both)
    refuse(both, tasks[refuses])
    if other == "read_intent":
        both.engine.handle(IntentRead(task=tasks[other], intent=an_intent("pi_o1")))
    else:
        both.engine.handle(EffectTaken(task=tasks[other]))
    assert stored(both, tasks[refuses]).status == "paused"
    assert len(both.reads.attention()) == 1


def test_two_destinations_that_refuse_us_are_probed_each_by_one_task_and_resume_each_by_itself(both):
    for number in (1, 2):
        for task in an_order_for_both(both, f"o{number}").values():
            refuse(both, task)
    assert both.engine.next_due_ms() == now_ms(both) + 60_000
    both.clock.move(60)
    both.engine.claim_due(10)
    probes = taken_from(both)
    assert set(probes) == {"read_intent", "tell_till"}
    assert both.engine.claim_due(10) == []
    refuse(both, probes["read_intent"])
    both.engine.handle(EffectTaken(task=probes["tell_till"]))
    assert [item.code for item in both.reads.attention()] == ["DOJO_AUTH"]
    assert [task.effect for task in both.engine.claim_due(10)] == ["tell_till"]
    assert [row.status for row in both.reads.tasks(None, 10) if row.effect == "read_intent"] == ["paused", "paused"]


def test_a_dead_call_to_the_till_calls_a_person(both):
    task = an_order_for_both(both)["tell_till"]
    fail(both, task, None, "till: 400")
    assert [(item.order_id, item.code) for item in both.reads.attention()] == [("o1", "OUTBOX_DEAD"), ("o1", "PAID_NOT_ON_TILL")]
    both.engine.handle(RequeueTask(task_id=task.id, reason="mended", actor="operator:ada"))
    again = taken_from(both)["tell_till"]
    assert (again.order_seq, [item.code for item in both.reads.attention()]) == (task.order_seq, ["PAID_NOT_ON_TILL"])
    both.engine.handle(EffectTaken(task=again))
    assert both.reads.attention() == []


@pytest.mark.parametrize(("given_up", "codes"), [({"order_updated"}, []), ({"order_updated", "tell_till"}, ["OUTBOX_DEAD"])])
def test_news_that_were_given_up_call_nobody_any_more_once_later_ones_were_taken_there_unless_others_were(both, given_up, codes):
    tasks = an_order_for_both(both)
    both.perform(tasks.pop("read_intent"), {"pi_o1": an_intent("pi_o1")})
    for effect, task in (tasks | taken_from(both)).items():
        fail(both, task, None, error="400") if effect in given_up else both.perform(task, {})
    both.tasks.clear()
    assert attention_codes(both)[0] == "OUTBOX_DEAD"
    both.event("pi_o1", "Refunded")
    both.perform(taken_from(both)["read_intent"], {"pi_o1": an_intent("pi_o1", status="Refunded", refunded=1000)})
    both.perform(taken_from(both)["order_updated"], {})
    assert [code for code in attention_codes(both) if code == "OUTBOX_DEAD"] == codes


def test_older_news_that_were_taken_after_newer_were_given_up_make_nothing_good(venue):
    venue.open("o1")
    older = taken_from(venue)["order_updated"]
    venue.event("pi_1", "Captured")
    venue.perform(taken_from(venue)["read_intent"], {"pi_1": an_intent("pi_1", external_id="o1")})
    fail(venue, older, 600_000)
    newer = taken_from(venue)["order_updated"]
    assert newer.order_seq > older.order_seq
    fail(venue, newer, None, error="400")
    venue.clock.move(600)
    venue.perform(next(task for task in venue.engine.claim_due(10) if task.id == older.id), {})
    assert (venue.order().state, attention_codes(venue)) == ("reconciled", ["OUTBOX_DEAD"])


def test_what_is_for_a_till_that_is_not_called_any_more_waits_until_it_is_called_again(tmp_path):
    venue = Venue(tmp_path, sends=WITH_TILL)
    tasks = an_order_for_both(venue)
    fail(venue, tasks["tell_till"], None)
    refuse(venue, an_order_for_both(venue, "o2")["tell_till"])
    an_order_for_both(venue, "o3")
    venue.close()

    without = Venue(tmp_path)
    without.clock.move(3600)
    without.engine.recover_leases()
    assert "TILL_AUTH" not in [item.code for item in without.reads.attention()]
    without.engine.handle(RequeueTask(task_id=tasks["tell_till"].id, reason="why not", actor="operator:ada"))
    assert {task.effect for task in without.engine.claim_due(10)} == {"read_intent"}
    assert {row.status for row in without.reads.tasks(None, 10) if row.effect == "tell_till"} == {"pending"}
    assert without.engine.next_due_ms() == now_ms(without) + LEASE_SECONDS * 1000
    assert replay(without.reads).mismatches == []
    without.close()

    again = Venue(tmp_path, sends=WITH_TILL)
    again.clock.move(7200)
    again.engine.recover_leases()
    assert len([task for task in again.engine.claim_due(10) if task.effect == "tell_till"]) == 3
    again.close()


def test_later_calls_to_one_destination_do_not_wait_behind_a_crowd_for_the_other(both):
    for number in range(5):
        for task in an_order_for_both(both, f"o{number}").values():
            fail(both, task, 1 if task.effect == "read_intent" else 2)
    both.clock.move(1)
    assert sorted(task.effect for task in both.engine.claim_due(1)) == ["read_intent", "tell_till"]
