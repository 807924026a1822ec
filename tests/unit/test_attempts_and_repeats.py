"""What is kept for people beside the journal: attempts that failed, and messages that came again."""

from __future__ import annotations

import pytest

from tests.builders import Venue
from tests.unit.test_engine import a_create
from workflow.commands import AttemptFailed, CancelOrder, Sweep
from workflow.errors import UnknownOrder
from workflow.journal.tasks import KEPT_ATTEMPTS
from workflow.ports import OrderId
from workflow.replay import replay


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def fail(venue, error="500"):
    """The task that was handed over fails, and is handed over again."""
    task = venue.tasks.popleft()
    venue.engine.handle(AttemptFailed(task=task, error=error, next_at_ms=venue.engine.now_ms()))
    venue.tasks.extend(venue.engine.claim_due(1))


def failures(venue):
    return venue.reads.failures_of([task.id for task in venue.reads.tasks_of("o1")])


def test_every_attempt_that_failed_is_kept_with_its_time_and_its_error(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    fail(venue, "500")
    venue.clock.move(2)
    fail(venue, "timeout")
    kept = failures(venue)
    assert [(each.number, each.at[11:19], each.error) for each in kept] == [(1, "12:00:00", "500"), (2, "12:00:02", "timeout")]
    assert {each.task_id for each in kept} == {venue.reads.tasks_of("o1")[0].id}


def test_of_one_task_the_newest_failures_alone_are_kept(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    [task] = venue.tasks
    for _ in range(3 * KEPT_ATTEMPTS):
        fail(venue)
    last = next(each.attempts for each in venue.reads.tasks_of("o1") if each.id == task.id) - 1
    assert last > KEPT_ATTEMPTS
    kept = [each.number for each in failures(venue) if each.task_id == task.id]
    assert kept == list(range(last + 1 - KEPT_ATTEMPTS, last + 1))


def test_a_message_that_came_again_is_counted_and_leaves_no_entry(venue):
    venue.create()
    for _ in range(3):
        venue.event("pi_1", "Captured", event_id="evt_1", channel="webhook")
    entries = venue.reads.size()
    venue.create()
    assert venue.reads.size() == entries
    venue.engine.handle(Sweep(limit=1))
    assert {(each.source, each.message_id): each.times for each in venue.reads.repeats_of("o1")} == {
        ("event/webhook", "evt_1:pi_1"): 2,
        ("create_order", "dojo-o1"): 1,
    }


def test_repeats_that_nobody_could_store_are_stored_with_the_next_command(venue):
    venue.create()
    venue.create()
    with pytest.raises(UnknownOrder):
        venue.engine.handle(CancelOrder(order_id=OrderId("nobody's")))
    venue.engine.handle(Sweep(limit=1))
    assert [each.times for each in venue.reads.repeats_of("o1")] == [1]


def test_another_content_under_the_same_key_is_no_repeat(venue):
    venue.engine.handle(a_create())
    assert venue.create(total=2000).refusal
    venue.engine.handle(Sweep(limit=1))
    assert venue.reads.repeats_of("o1") == []


def test_what_is_kept_for_people_is_no_part_of_what_replay_compares(venue):
    venue.create()
    before = replay(venue.reads).digest
    venue.create()
    replayed = replay(venue.reads)
    assert (replayed.mismatches, replayed.digest) == ([], before)


def test_the_tasks_of_an_order_whose_id_begins_another_ones_are_its_own(venue):
    for order_id in ("a", "a.1"):
        venue.open(order_id)
    assert {task.order_id for task in venue.reads.tasks_of("a")} == {"a"}
    assert {task.order_id for task in venue.reads.tasks_of("a.1")} == {"a.1"}
