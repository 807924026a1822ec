"""A person has a call tried no longer: what becomes of it, of its order, of its lane, and of what was thought of its destination."""

from __future__ import annotations

import pytest

from tests.builders import WITH_TILL, Venue, an_intent
from workflow.case import declared_machines
from workflow.commands import AttemptFailed, EffectTaken, IntentRead, PauseDestination, RequeueTask, StopTask, Sweep, ToldPayment
from workflow.conduct import ALIKE_REFUSALS
from workflow.effects import Task
from workflow.errors import Refused, UnknownTask
from workflow.ports import IntentId
from workflow.replay import replay
from workflow.retelling import Then, retell
from workflow.retries import Sign


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path, sends=WITH_TILL)
    yield venue
    assert replay(venue.reads).mismatches == []
    venue.close()


def stop(venue: Venue, task: Task, reason: str = "the till is sold"):
    return venue.engine.handle(StopTask(task_id=task.id, reason=reason, actor="operator:ada"))


def fail(venue: Venue, task: Task, *, wait_ms: int | None = 1_000, sign: Sign = Sign.AWAY) -> None:
    next_at_ms = None if wait_ms is None else venue.engine.now_ms() + wait_ms
    venue.engine.handle(AttemptFailed(task=task, error="503", next_at_ms=next_at_ms, sign=sign))


def a_paid_order(venue: Venue, order_id: str = "o1", *intents: str) -> dict[str, Task]:
    """An order that is paid in words; its first tasks by their effect."""
    told = tuple(ToldPayment(intent_id=IntentId(intent), paid=500) for intent in intents or (f"pi_{order_id}",))
    venue.create(order_id, payments=told, captured=True)
    tasks = {task.effect: task for task in venue.tasks}
    venue.tasks.clear()
    return tasks


def status(venue: Venue, task: Task) -> str:
    return next(row.status for row in venue.reads.tasks(None, 1000) if row.id == task.id)


def attention(venue: Venue) -> list[tuple[str, str]]:
    return [(item.code, item.detail) for item in venue.reads.attention()]


def test_a_call_that_waits_is_stopped_with_who_and_why_and_a_person_is_called(venue):  # I18
    task = a_paid_order(venue)["read_intent"]
    fail(venue, task)
    stop(venue, task, "Dojo was called")
    entry = next(entry.entry() for entry in venue.reads.entries(order_id="o1") if entry.kind == "operator")
    assert (entry.actor, entry.trigger, entry.cause) == ("operator:ada", "stop", f"stop:{task.id}")
    assert entry.body == {"reason": "Dojo was called", "stopped": task.id, "effect": "read_intent", "attempts": 1}
    assert attention(venue) == [("OUTBOX_DEAD", "read_intent was stopped by operator:ada after 1 attempt: Dojo was called")]
    venue.clock.move(3600)
    assert [claimed.id for claimed in venue.engine.claim_due(10) if claimed.effect == "read_intent"] == []


def test_what_a_call_brings_that_was_stopped_while_it_was_under_way_is_late(venue):
    task = a_paid_order(venue)["read_intent"]
    stop(venue, task)
    size = venue.reads.size()
    venue.engine.handle(IntentRead(task=task, intent=an_intent("pi_o1", paid=500)))
    assert (venue.reads.size(), status(venue, task)) == (size, "dead")


def test_a_call_that_pauses_with_its_destination_can_be_stopped(venue):
    task = a_paid_order(venue)["read_intent"]
    at_ms = venue.engine.now_ms() + 60_000
    venue.engine.handle(PauseDestination(task=task, error="401", probe_at_ms=at_ms, next_at_ms=at_ms))
    assert status(venue, task) == "paused"
    stop(venue, task)
    assert (status(venue, task), [code for code, _ in attention(venue)]) == ("dead", ["DOJO_AUTH", "OUTBOX_DEAD"])


def test_a_stopped_call_can_be_requeued_and_nobody_is_called_any_more(venue):
    task = a_paid_order(venue)["read_intent"]
    stop(venue, task)
    venue.engine.handle(RequeueTask(task_id=task.id, reason="after all", actor="operator:ada"))
    [again] = venue.tasks
    assert (again.id, again.attempts, again.fence, attention(venue)) == (task.id, 1, 2, [])


def test_the_next_call_of_the_order_goes_out_when_the_one_before_it_is_stopped(venue):
    task = a_paid_order(venue, "o1", "pi_1", "pi_2")["read_intent"]
    stop(venue, task)
    assert [following.intent_id for following in venue.tasks] == ["pi_2"]


def test_where_nobody_sends_stopping_a_call_sets_no_other_one_going(tmp_path):
    venue = Venue(tmp_path)
    task = a_paid_order(venue, "o1", "pi_1", "pi_2")["read_intent"]
    venue.close()
    alone = Venue(tmp_path, sends=frozenset())
    stop(alone, task)
    assert (list(alone.tasks), [row.attempts for row in alone.reads.tasks("pending", 10)]) == ([], [0])
    alone.close()


@pytest.mark.parametrize("end", ["done", "dead"])
def test_what_has_ended_is_not_stopped_and_the_second_of_two_people_is_told(venue, end):  # L7
    task = a_paid_order(venue)["tell_till"]
    if end == "done":
        venue.engine.handle(EffectTaken(task=task))
    else:
        stop(venue, task)
    size = venue.reads.size()
    refusal = stop(venue, task).refusal
    assert isinstance(refusal, Refused)
    assert f"is {end}" in str(refusal)
    assert venue.reads.size() == size
    with pytest.raises(UnknownTask):
        venue.engine.handle(StopTask(task_id="none", reason="now", actor="operator:ada"))


def test_money_that_the_till_is_told_of_no_longer_is_paid_and_not_on_the_till(venue):
    task = a_paid_order(venue)["tell_till"]
    stop(venue, task)
    assert [code for code, _ in attention(venue)] == ["OUTBOX_DEAD", "PAID_NOT_ON_TILL"]


def test_a_call_about_an_intent_of_nobody_can_be_stopped_too(venue):
    venue.event("pi_stranger", "Captured")
    [task] = venue.tasks
    stop(venue, task)
    [entry] = [entry.entry() for entry in venue.reads.entries(order_id="") if entry.kind == "operator"]
    assert (entry.trigger, entry.payment_intent_id, entry.body["stopped"]) == ("stop", "pi_stranger", task.id)
    assert [code for code, _ in attention(venue)] == ["OUTBOX_DEAD"]


def test_a_payment_that_is_still_open_is_read_by_the_sweep_though_its_read_was_stopped(venue):
    task = a_paid_order(venue)["read_intent"]
    stop(venue, task)
    venue.clock.move(120)
    venue.engine.handle(Sweep(limit=10))
    [again] = [each for each in venue.tasks if each.effect == "read_intent"]
    assert (again.intent_id, again.id != task.id) == (task.intent_id, True)


def test_an_order_with_a_stopped_call_is_retold_as_it_was(venue):  # P5
    task = a_paid_order(venue)["tell_till"]
    stop(venue, task)
    machines = declared_machines()
    told = [entry.entry() for entry in venue.reads.entries(order_id="o1")]
    assert retell(told, machines, {each.ident: Then(each.declaration) for each in machines.values()}).verdict == "same"


def test_a_stopped_call_accuses_its_destination_no_more(venue):  # U13
    task = a_paid_order(venue)["read_intent"]
    fail(venue, task, sign=Sign.REDIRECT)
    assert [code for code, _ in attention(venue)] == ["REDIRECT"]
    stop(venue, task)
    assert [code for code, _ in attention(venue)] == ["OUTBOX_DEAD"]


def test_a_call_that_was_refused_with_others_and_then_stopped_is_not_brought_back_with_them(venue):  # U20 I8
    tasks = [a_paid_order(venue, f"o{number}")["read_intent"] for number in range(ALIKE_REFUSALS + 1)]
    refused = [AttemptFailed(task=task, error="400", next_at_ms=None, sign=Sign.REFUSED, alike="400") for task in tasks]
    venue.engine.handle(refused[0])
    venue.engine.handle(RequeueTask(task_id=tasks[0].id, reason="again", actor="operator:ada"))
    venue.engine.handle(StopTask(task_id=tasks[0].id, reason="no more", actor="operator:ada"))
    for command in refused[1:]:
        venue.engine.handle(command)
    assert (status(venue, tasks[0]), status(venue, tasks[1])) == ("dead", "paused")
