"""What the engine concludes about a destination from its answers: outages and their end, refusals alike, garbage, redirects; no threads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import WITH_TILL, Venue, an_intent
from workflow.commands import AttemptFailed, EffectTaken, IntentRead, PauseDestination, ReportProgress, RequeueTask, ToldPayment, Unsent
from workflow.conduct import ALIKE_REFUSALS, GARBAGE_ANSWERS, MOST_NOTED, Conduct
from workflow.effects import Task
from workflow.ports import IntentId, OrderId
from workflow.replay import replay
from workflow.retries import LONGEST_WAIT_MS, NOT_FOUND_RETRIES, Sign

HOUR_MS = 3_600_000


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    assert replay(venue.reads).mismatches == []
    venue.close()


def now_ms(venue: Venue) -> int:
    return venue.engine.now_ms()


def orders(venue: Venue, *names: str) -> list[Task]:
    """Orders that the till opened; the task of each, which Dojo is to be told of it by."""
    for name in names:
        venue.open(name)
    tasks = list(venue.tasks)
    venue.tasks.clear()
    return tasks


def fail(venue: Venue, task: Task, *, wait_ms: int = HOUR_MS, wish_ms: int = 0, sign: Sign = Sign.AWAY) -> None:
    not_before = now_ms(venue) + wish_ms if wish_ms else 0
    failed = AttemptFailed(task=task, error=f"no: {sign.value}", next_at_ms=now_ms(venue) + wait_ms, not_before_ms=not_before, sign=sign)
    venue.engine.handle(failed)


def refuse(venue: Venue, *tasks: Task, alike: str = "400") -> None:
    for task in tasks:
        error = f"POST /epos/events: {alike} No"
        venue.engine.handle(AttemptFailed(task=task, error=error, next_at_ms=None, sign=Sign.REFUSED, alike=alike))


def take(venue: Venue, *tasks: Task) -> None:
    for task in tasks:
        venue.engine.handle(EffectTaken(task=task))


def due(venue: Venue) -> list[str]:
    """The orders whose tasks are leased now; the test has them."""
    claimed = venue.engine.claim_due(1000)
    venue.tasks.clear()
    return sorted(task.order_id or task.intent_id for task in claimed)


def statuses(venue: Venue) -> dict[str, str]:
    return {row.order_id or row.payment_intent_id: row.status for row in venue.reads.tasks(None, 1000)}


def attention(venue: Venue) -> list[tuple[str, str]]:
    return sorted((item.code, item.order_id) for item in venue.reads.attention())


# -- the end of an outage


def test_the_first_call_that_is_taken_after_an_outage_makes_everything_due(venue):  # U18
    first, second, third = orders(venue, "o1", "o2", "o3")
    for task in (first, second):
        fail(venue, task)
    assert due(venue) == []
    take(venue, third)
    assert due(venue) == ["o1", "o2"]


def test_an_order_that_fails_alone_among_others_keeps_its_own_pace(venue):  # U17 U18
    poison, *others = orders(venue, "poison", "o1", "o2", "o3")
    for other in others:
        fail(venue, poison, wait_ms=1_000)
        take(venue, other)
        assert due(venue) == []
        venue.clock.move(1)
        [poison] = venue.engine.claim_due(10)
        venue.tasks.clear()


def test_many_tasks_of_one_order_that_fail_are_no_outage(venue):  # U17 U18
    venue.create("poison", payments=tuple(ToldPayment(intent_id=IntentId(f"pi_{n}"), paid=200) for n in range(5)), captured=True)
    while venue.tasks:
        fail(venue, venue.tasks.popleft())
    take(venue, *orders(venue, "o1"))
    assert due(venue) == []


def test_orders_that_fail_for_ever_are_woken_by_others_once_a_minute_at_most(venue):  # U17 U18
    poisons = orders(venue, "p1", "p2")
    attempts = 0
    for second in range(120):
        for task in poisons:
            fail(venue, task)
            attempts += 1
        take(venue, *orders(venue, f"o{second}"))
        venue.clock.move(1)
        poisons = venue.engine.claim_due(10)
        venue.tasks.clear()
    assert attempts == 2 + 2 * 2


def test_an_outage_that_comes_again_within_the_minute_is_made_good_at_its_end(venue):  # U18
    first, second, third, *rest = orders(venue, *(f"o{number}" for number in range(9)))
    for task in (first, second):
        fail(venue, task)
    take(venue, third)
    for task in venue.engine.claim_due(10):
        fail(venue, task)
    venue.tasks.clear()
    take(venue, rest[0])
    assert due(venue) == []
    venue.clock.move(60)
    take(venue, rest[1])
    assert due(venue) == ["o0", "o1", *sorted(task.order_id for task in rest[2:])]  # The leases of the rest ran out.


def test_the_end_of_an_outage_is_no_reason_to_call_before_the_moment_that_was_asked_for(venue):  # U2 U18
    first, second, third = orders(venue, "o1", "o2", "o3")
    fail(venue, first)
    fail(venue, second, wait_ms=20_000, wish_ms=10_000)
    take(venue, third)
    assert due(venue) == ["o1"]
    venue.clock.move(9.999)
    assert due(venue) == []
    venue.clock.move(0.001)
    assert due(venue) == ["o2"]


def test_an_intent_that_dojo_did_not_know_is_not_asked_for_sooner_because_others_are_taken(venue):  # U6 U18
    venue.event("pi_1", "Captured")
    unknown, *others = orders(venue, "o1", "o2", "o3")
    fail(venue, unknown, wait_ms=5_000, wish_ms=5_000, sign=Sign.ALONE)
    for task in others[:2]:
        fail(venue, task)
    take(venue, others[2])
    assert due(venue) == ["o1", "o2"]


@pytest.mark.parametrize(("away", "other"), [("tell_till", "read_intent"), ("read_intent", "tell_till")])
def test_the_end_of_an_outage_of_one_destination_is_none_of_the_other(tmp_path, away, other):  # U18
    venue = Venue(tmp_path, sends=WITH_TILL)
    for number in range(3):
        venue.create(f"o{number}", payments=(ToldPayment(intent_id=IntentId(f"pi_{number}"), paid=1000),), captured=True)
    tasks = list(venue.tasks)
    venue.tasks.clear()
    gone, there = ([task for task in tasks if task.effect == effect] for effect in (away, other))
    for task in (*gone[:2], *there[:2]):
        fail(venue, task)
    venue.perform(gone[2], {"pi_2": an_intent("pi_2")})
    venue.tasks.clear()
    assert {task.id for task in venue.engine.claim_due(10)} == {task.id for task in gone[:2]}
    assert replay(venue.reads).mismatches == []
    venue.close()


def test_an_outage_outlasts_a_restart(tmp_path):  # U18
    venue = Venue(tmp_path)
    first, second, _ = orders(venue, "o1", "o2", "o3")
    for task in (first, second):
        fail(venue, task)
    venue.close()
    again = Venue(tmp_path)
    again.engine.recover_leases()
    [third] = again.engine.claim_due(10)
    take(again, third)
    assert due(again) == ["o1", "o2"]
    again.close()


def test_what_was_put_off_waits_for_its_turn_even_when_its_order_becomes_free(venue):  # U18
    venue.create("o1", payments=tuple(ToldPayment(intent_id=IntentId(f"pi_{n}"), paid=500) for n in range(2)), captured=True)
    for _ in range(2):
        fail(venue, venue.tasks.popleft(), wait_ms=1_000)
    venue.clock.move(1)
    [first] = venue.engine.claim_due(1)
    venue.tasks.clear()
    venue.engine.handle(IntentRead(task=first, intent=an_intent(first.intent_id, paid=500)))
    assert list(venue.tasks) == []
    [second] = venue.engine.claim_due(1)
    assert (first.intent_id, second.intent_id) == ("pi_0", "pi_1")


def test_what_a_call_that_waited_brings_about_waits_for_its_turn_too_and_so_on(venue):  # U18
    venue.create("o1", payments=tuple(ToldPayment(intent_id=IntentId(f"pi_{n}"), paid=500) for n in range(2)), captured=True)
    fail(venue, venue.tasks.popleft(), wait_ms=1_000)
    [second] = venue.tasks
    assert second.intent_id == "pi_1"  # Nothing had waited: it is handed over.
    venue.engine.handle(IntentRead(task=second, intent=an_intent("pi_1", paid=500)))
    venue.tasks.clear()
    venue.clock.move(1)
    called = []
    while due := venue.engine.claim_due(10):
        [task] = due
        called.append((task.effect, task.intent_id, task.attempts))
        venue.tasks.clear()
        venue.perform(task, {"pi_0": an_intent("pi_0", paid=500)})
        assert list(venue.tasks) == []
    assert called == [("read_intent", "pi_0", 2), ("order_updated", "", 1)]
    assert venue.order("o1").state == "updated"


def a_retried_read(venue):
    """A read of the one payment of order o1 that failed, waited and was claimed."""
    venue.create("o1", payments=(ToldPayment(intent_id=IntentId("pi_0"), paid=1000),), captured=True)
    fail(venue, venue.tasks.popleft(), wait_ms=1_000)
    venue.clock.move(1)
    [read] = venue.engine.claim_due(10)
    venue.tasks.clear()
    return read


def test_what_comes_while_a_call_is_made_that_had_waited_waits_for_no_turn(venue):  # U18
    read = a_retried_read(venue)
    venue.clock.move(1)
    venue.event("pi_0", "Captured")
    assert list(venue.tasks) == []  # The order's one call is under way.
    fail(venue, read, wait_ms=1_000)
    [new] = venue.tasks
    assert (new.intent_id, new.attempts, new.is_paced) == ("pi_0", 1, False)


def test_news_that_waited_wait_for_their_turn_though_a_call_that_waited_too_tells_them_more(venue):  # U18
    venue.create("o1", payments=(ToldPayment(intent_id=IntentId("pi_0"), paid=1000),), captured=True)
    venue.engine.handle(ReportProgress(order_id=OrderId("o1"), status="Preparing", actor="till:till-1"))
    assert [task.effect for task in venue.tasks] == ["read_intent"]  # The news wait behind it.
    venue.engine.recover_leases()
    venue.clock.move(1)
    [read] = venue.engine.claim_due(10)
    venue.tasks.clear()
    venue.perform(read, {"pi_0": an_intent("pi_0")})
    assert list(venue.tasks) == []
    [news] = venue.engine.claim_due(10)
    assert (read.effect, news.effect, news.attempts) == ("read_intent", "order_updated", 1)


def test_what_is_new_waits_for_no_turn_while_an_outage_is_made_good(venue):  # U18
    venue.perform(a_retried_read(venue), {"pi_0": an_intent("pi_0")})
    venue.open("o2")
    [new] = venue.tasks
    assert (new.order_id, new.attempts) == ("o2", 1)


def test_a_destination_that_resumes_is_drained_no_faster_than_one_claim_at_a_time(venue):  # U4 U18
    [first] = orders(venue, "o1")
    venue.engine.handle(PauseDestination(task=first, error="401", probe_at_ms=now_ms(venue) + 60_000, next_at_ms=now_ms(venue)))
    venue.create("o2", payments=tuple(ToldPayment(intent_id=IntentId(f"pi_{n}"), paid=500) for n in range(2)), captured=True)
    venue.clock.move(60)
    [probe] = venue.engine.claim_due(10)
    venue.tasks.clear()
    venue.engine.handle(IntentRead(task=probe, intent=an_intent(probe.intent_id, paid=500)))
    assert list(venue.tasks) == []
    assert [task.attempts for task in venue.engine.claim_due(10)] == [2, 1]


# -- a lease that nobody used


def test_a_lease_that_ran_out_before_the_call_is_no_attempt(venue):
    [task] = orders(venue, "o1")
    venue.clock.move(30)
    venue.engine.handle(Unsent(task=task))
    [row] = venue.reads.tasks("pending", 10)
    assert row.attempts == 0
    [again] = venue.engine.claim_due(10)
    assert (again.attempts, again.fence) == (1, 2)


def test_a_lease_that_ran_out_and_was_taken_by_another_is_not_given_back(venue):  # L7
    [task] = orders(venue, "o1")
    venue.clock.move(30)
    [taken] = venue.engine.claim_due(10)
    before = venue.reads.rows("SELECT * FROM outbox")
    venue.engine.handle(Unsent(task=task))
    assert venue.reads.rows("SELECT * FROM outbox") == before
    take(venue, taken)
    assert statuses(venue) == {"o1": "done"}


# -- refusals alike


def test_twenty_refusals_alike_in_a_row_pause_the_destination_and_none_is_given_up(venue):  # U5 U20
    names = [f"o{number:02}" for number in range(25)]
    tasks = orders(venue, *names)
    refuse(venue, *tasks[: ALIKE_REFUSALS - 1])
    assert set(statuses(venue).values()) == {"dead", "leased"}
    assert attention(venue) == [("OUTBOX_DEAD", name) for name in names[: ALIKE_REFUSALS - 1]]

    refuse(venue, tasks[ALIKE_REFUSALS - 1])
    assert attention(venue) == [("DOJO_CONTRACT", "")]
    assert [statuses(venue)[name] for name in names] == ["paused"] * 20 + ["leased"] * 5

    refuse(venue, *tasks[ALIKE_REFUSALS:])  # Under way when the pause began.
    assert set(statuses(venue).values()) == {"paused"}
    venue.clock.move(59.999)
    assert due(venue) == []
    venue.clock.move(0.001)
    [probe] = venue.engine.claim_due(10)
    refuse(venue, probe)
    venue.clock.move(60)
    [probe] = venue.engine.claim_due(10)
    venue.tasks.clear()
    take(venue, probe)
    assert attention(venue) == []
    assert len(due(venue)) == 24


def test_what_is_brought_back_is_journaled_with_the_reason(venue):  # U20
    refuse(venue, *orders(venue, *(f"o{number}" for number in range(ALIKE_REFUSALS))))
    entries = [entry.entry() for entry in venue.reads.entries(order_id="o3")]
    [back] = [entry for entry in entries if entry.trigger == "requeue"]
    assert (back.kind, back.actor, back.body["requeued"]) == ("system", "outbox", "o3.2.0")
    assert "20 calls in a row were refused alike" in back.body["reason"]
    assert [(entry.trigger, entry.body["code"]) for entry in entries if entry.kind == "attention"] == [
        ("raise", "OUTBOX_DEAD"),
        ("clear", "OUTBOX_DEAD"),
    ]


@pytest.mark.parametrize("between", ["taken", "refused otherwise"])
def test_refusals_that_are_not_alike_or_not_in_a_row_are_each_final(venue, between):  # U5 U20
    tasks = orders(venue, *(f"o{number}" for number in range(2 * ALIKE_REFUSALS - 1)))
    refuse(venue, *tasks[: ALIKE_REFUSALS - 1])
    if between == "taken":
        take(venue, tasks[-1])
    else:
        refuse(venue, tasks[-1], alike="422")
    refuse(venue, *tasks[ALIKE_REFUSALS - 1 : 2 * ALIKE_REFUSALS - 2])
    assert "DOJO_CONTRACT" not in dict(attention(venue))
    assert list(statuses(venue).values()).count("dead") >= 2 * ALIKE_REFUSALS - 2


def test_calls_that_get_no_answer_break_no_row_of_refusals(venue):  # U20
    tasks = orders(venue, *(f"o{number}" for number in range(ALIKE_REFUSALS + 1)))
    refuse(venue, *tasks[:10])
    fail(venue, tasks[-1])
    refuse(venue, *tasks[10:-1])
    assert attention(venue) == [("DOJO_CONTRACT", "")]


def test_a_row_of_refusals_outlasts_a_restart(tmp_path):  # U20
    venue = Venue(tmp_path)
    refuse(venue, *orders(venue, *(f"o{number:02}" for number in range(12))))
    venue.close()
    again = Venue(tmp_path)
    again.engine.recover_leases()
    refuse(again, *orders(again, *(f"p{number}" for number in range(8))))
    assert attention(again) == [("DOJO_CONTRACT", "")]
    assert set(statuses(again).values()) == {"paused"}
    again.close()


def test_what_is_refused_again_while_others_are_taken_is_given_up_for_its_own_sake(venue):  # U17 U20
    refuse(venue, *orders(venue, *(f"o{number:02}" for number in range(ALIKE_REFUSALS))))
    orders(venue, "good")
    venue.clock.move(60)
    [probe] = venue.engine.claim_due(10)
    assert probe.order_id == "good"  # The least tried one: what is refused for its own sake must not be all that is ever asked.
    take(venue, probe)
    refuse(venue, *venue.engine.claim_due(100))
    assert sorted(set(statuses(venue).values())) == ["dead", "done"]
    assert {code for code, _ in attention(venue)} == {"OUTBOX_DEAD"}


def test_a_task_that_a_person_requeued_or_that_ended_is_not_brought_back_twice(venue):  # U20
    tasks = orders(venue, *(f"o{number:02}" for number in range(ALIKE_REFUSALS)))
    refuse(venue, tasks[0])
    venue.engine.handle(RequeueTask(task_id=tasks[0].id, reason="again", actor="operator:ada"))
    take(venue, venue.tasks.popleft())
    refuse(venue, *tasks[1:])
    assert statuses(venue)["o00"] == "done"
    assert {status for name, status in statuses(venue).items() if name != "o00"} == {"dead"}  # Nineteen in a row.


def test_tasks_of_no_order_are_brought_back_too(venue):  # U20
    for number in range(ALIKE_REFUSALS):
        venue.event(f"pi_{number}", "Captured")
    tasks = list(venue.tasks)
    venue.tasks.clear()
    refuse(venue, *tasks)
    assert (attention(venue), set(statuses(venue).values())) == ([("DOJO_CONTRACT", "")], {"paused"})


def test_a_till_that_refuses_everything_alike_pauses_alone(tmp_path):  # U20
    venue = Venue(tmp_path, sends=WITH_TILL)
    for number in range(ALIKE_REFUSALS):
        venue.create(f"o{number}", payments=(ToldPayment(intent_id=IntentId(f"pi_{number}"), paid=1000),), captured=True)
    tasks = list(venue.tasks)
    venue.tasks.clear()
    refuse(venue, *(task for task in tasks if task.effect == "tell_till"))
    assert {code for code, _ in attention(venue)} == {"TILL_CONTRACT", "PAID_NOT_ON_TILL"}  # The second until the till has heard of it.
    assert {row.status for row in venue.reads.tasks(None, 100) if row.effect == "read_intent"} == {"leased"}
    assert {row.status for row in venue.reads.tasks(None, 100) if row.effect == "tell_till"} == {"paused"}
    assert replay(venue.reads).mismatches == []
    venue.close()

    without = Venue(tmp_path)  # A till that is not called any more is not complained of.
    without.engine.recover_leases()
    assert "TILL_CONTRACT" not in dict(attention(without))
    without.close()


# -- refused credentials


def deny(venue: Venue, task: Task) -> None:
    at_ms = now_ms(venue)
    venue.engine.handle(PauseDestination(task=task, error="401", probe_at_ms=at_ms + 60_000, next_at_ms=at_ms + 1_000))


def probe(venue: Venue) -> Task:
    """The one task that is sent a minute later."""
    venue.clock.move(60)
    [task] = venue.engine.claim_due(10)
    venue.tasks.clear()
    return task


@pytest.mark.parametrize(("sign", "alike"), [(Sign.REFUSED, "400"), (Sign.ALONE, "")])
def test_an_answer_about_a_call_itself_ends_a_pause_for_refused_credentials(venue, sign, alike):  # U4 U5
    first, _ = orders(venue, "o1", "o2")
    deny(venue, first)
    take_up = probe(venue)
    venue.engine.handle(AttemptFailed(task=take_up, error="no such", next_at_ms=None, sign=sign, alike=alike))
    assert attention(venue) == [("OUTBOX_DEAD", take_up.order_id)]
    assert len(due(venue)) == 1


def test_refusals_alike_go_on_to_pause_a_destination_that_accepts_our_credentials_again(venue):  # U4 U20
    tasks = orders(venue, *(f"o{number:02}" for number in range(ALIKE_REFUSALS + 1)))
    refuse(venue, *tasks[:ALIKE_REFUSALS])
    deny(venue, tasks[-1])
    assert attention(venue) == [("DOJO_AUTH", ""), ("DOJO_CONTRACT", "")]
    refuse(venue, probe(venue))
    assert attention(venue) == [("DOJO_CONTRACT", "")]
    assert set(statuses(venue).values()) == {"paused"}


def test_the_timer_hears_of_what_comes_while_its_destination_pauses(venue):  # U4 I20
    [first] = orders(venue, "o1")
    deny(venue, first)
    woken = []
    venue.engine.wake = woken.append
    venue.open("o2")
    assert woken == [now_ms(venue) + 60_000]


def test_credentials_that_are_refused_once_more_pause_once_more_whichever_tasks_probed_before(venue):  # U4
    tasks = orders(venue, "o1", "o2", "o3")
    deny(venue, tasks[0])
    for _ in range(3):
        deny(venue, probe(venue))
    take(venue, probe(venue))
    assert attention(venue) == []
    again = next(task for task in venue.engine.claim_due(10) if task.id != tasks[0].id)
    deny(venue, again)
    assert attention(venue) == [("DOJO_AUTH", "")]


def test_nothing_dies_of_its_age_in_a_pause_nor_right_after_it(venue):  # U4
    first, _ = orders(venue, "o1", "o2")
    deny(venue, first)
    venue.clock.move(4 * 86_400)
    fading = probe(venue)
    venue.engine.handle(AttemptFailed(task=fading, error="503", next_at_ms=None))
    assert set(statuses(venue).values()) == {"paused"}
    take(venue, probe(venue))
    [left] = venue.engine.claim_due(10)
    assert left.created_at_ms >= now_ms(venue) - 1


def test_what_a_person_requeues_while_its_destination_pauses_waits_with_the_others(venue):  # U4 I18
    dead, denied = orders(venue, "o1", "o2")
    venue.engine.handle(AttemptFailed(task=dead, error="400", next_at_ms=None, sign=Sign.ALONE))
    deny(venue, denied)
    venue.engine.handle(RequeueTask(task_id=dead.id, reason="again", actor="operator:ada"))
    assert (list(venue.tasks), set(statuses(venue).values())) == ([], {"paused"})


def test_a_start_in_a_pause_probes_with_one_task_whatever_waits(tmp_path):  # U4 K7 I20
    venue = Venue(tmp_path)
    dead, denied, _ = orders(venue, "o1", "o2", "o3")
    venue.engine.handle(AttemptFailed(task=dead, error="400", next_at_ms=None, sign=Sign.ALONE))
    deny(venue, denied)
    venue.close()

    alone = Venue(tmp_path, sends=frozenset())  # An operator's command while nothing runs.
    alone.engine.handle(RequeueTask(task_id=dead.id, reason="again", actor="operator:ada"))
    assert statuses(alone)["o1"] == "pending"
    alone.close()

    again = Venue(tmp_path)
    again.engine.recover_leases()
    assert set(statuses(again).values()) == {"paused"}
    [task] = again.engine.claim_due(10)
    deny(again, task)
    assert again.engine.next_due_ms() == now_ms(again) + 60_000
    again.close()


# -- garbage and redirects


def test_five_unreadable_answers_to_a_task_call_a_person_until_it_is_answered_well(venue):  # U11
    task, *others = orders(venue, "o1", "o2", "o3", "o4", "o5", "o6")
    for number in range(GARBAGE_ANSWERS):
        assert attention(venue) == []
        fail(venue, task, wait_ms=1_000, sign=Sign.GARBAGE)
        take(venue, others[number])  # What Dojo says of others is well: of this one it is not.
        venue.clock.move(1)
        [task] = venue.engine.claim_due(10)
        venue.tasks.clear()
    assert attention(venue) == [("DOJO_GARBAGE", "")]
    take(venue, task)
    assert attention(venue) == []


def test_a_redirect_calls_a_person_until_the_task_is_answered_well(venue):  # U13
    first, second = orders(venue, "o1", "o2")
    fail(venue, first, wait_ms=1_000, sign=Sign.REDIRECT)
    assert attention(venue) == [("REDIRECT", "")]
    take(venue, second)
    assert attention(venue) == [("REDIRECT", "")]
    venue.clock.move(1)
    [again] = venue.engine.claim_due(10)
    take(venue, again)
    assert attention(venue) == []
    assert [entry.trigger for entry in venue.reads.entries() if entry.kind == "attention"] == ["raise", "clear"]


def test_a_task_that_is_given_up_accuses_its_destination_no_more(venue):  # U11 U13
    [task] = orders(venue, "o1")
    fail(venue, task, wait_ms=0, sign=Sign.REDIRECT)
    [task] = venue.engine.claim_due(10)
    venue.engine.handle(AttemptFailed(task=task, error="302", next_at_ms=None, sign=Sign.REDIRECT))
    assert attention(venue) == [("OUTBOX_DEAD", "o1")]


def test_what_is_known_of_a_destination_is_bounded_whatever_waits():  # I15
    conduct = Conduct()
    for number in range(3 * MOST_NOTED):
        name = str(number)
        conduct = conduct.failing(name).unreadable(name).not_knowing(name).led_elsewhere(name).refusing(name, "400").suspecting(name)
    noted = (conduct.failed, conduct.garbage, conduct.unknown, conduct.redirected, conduct.refused, conduct.suspects)
    assert max(map(len, noted)) <= MOST_NOTED


# -- intents that Dojo does not know


def unknown(venue: Venue, task, *, wait_ms: int = 1_000) -> None:
    fail(venue, task, wait_ms=wait_ms, sign=Sign.UNKNOWN)


def again(venue: Venue):
    venue.clock.move(1)
    [task] = venue.engine.claim_due(10)
    return task


def test_an_unknown_intent_is_asked_for_seven_times_whatever_else_went_wrong_before(venue):  # U6
    [task] = orders(venue, "o1")
    for _ in range(NOT_FOUND_RETRIES + 3):
        fail(venue, task, wait_ms=1_000, sign=Sign.AWAY)
        task = again(venue)
    for _ in range(NOT_FOUND_RETRIES):
        unknown(venue, task)
        assert statuses(venue)["o1"] == "pending"
        task = again(venue)
    unknown(venue, task)
    assert (statuses(venue)["o1"], attention(venue)) == ("dead", [("OUTBOX_DEAD", "o1")])


def test_of_more_unknown_intents_than_are_noted_the_attempts_tell():  # U6
    conduct = Conduct()
    for number in range(MOST_NOTED + 1):
        conduct = conduct.not_knowing(str(number))
    assert [conduct.is_unknown_for_good(str(MOST_NOTED), attempts) for attempts in (6, 7)] == [False, True]


def test_an_unknown_intent_that_is_read_or_given_up_is_counted_no_more(venue):  # U6
    conduct = Conduct().not_knowing("a").not_knowing("b").without("a")
    assert dict(conduct.unknown) == {"b": 1}


# -- the wall clock


@pytest.mark.parametrize("jump", [timedelta(days=-3), timedelta(hours=2), timedelta(days=4)], ids=str)
def test_a_wall_clock_that_is_set_makes_nothing_due_and_stops_nothing(venue, jump):  # I17
    first, _ = orders(venue, "o1", "o2")
    fail(venue, first, wait_ms=10_000)
    venue.clock.moment += jump
    assert due(venue) == []
    venue.clock.move(9.999)
    assert due(venue) == []
    venue.clock.move(0.001)
    assert due(venue) == ["o1"]
    venue.clock.move(20)
    assert due(venue) == ["o2"]  # Its lease, too, ran out when it would have.
    venue.open("o3")
    [task] = venue.tasks
    assert task.created_at_ms == now_ms(venue)


def test_after_a_restart_with_an_earlier_clock_nothing_waits_longer_than_it_ever_may(tmp_path):  # I17
    venue = Venue(tmp_path)
    first, second = orders(venue, "o1", "o2")
    for task in (first, second):
        fail(venue, task, wait_ms=HOUR_MS)
    venue.clock.moment -= timedelta(days=3)
    venue.close()

    again = Venue(tmp_path, clock=venue.clock)
    again.engine.recover_leases()
    assert again.engine.next_due_ms() == now_ms(again) + LONGEST_WAIT_MS
    take(again, *orders(again, "o3"))
    assert due(again) == ["o1", "o2"]
    again.close()


@pytest.mark.parametrize("jump", [timedelta(days=-4), timedelta(days=4)], ids=["back", "on"])
def test_no_task_is_old_or_young_by_a_clock_that_was_set_while_nothing_ran(tmp_path, jump):  # I17 T1 T2
    venue = Venue(tmp_path)
    waiting, _ = orders(venue, "o1", "o2")
    fail(venue, waiting, wait_ms=1_000)
    venue.clock.moment += jump
    venue.close()

    again = Venue(tmp_path, clock=venue.clock)
    again.engine.recover_leases()
    again.clock.move(HOUR_MS / 1000)
    assert {task.created_at_ms for task in again.engine.claim_due(10)} == {now_ms(again) - HOUR_MS}
    again.close()


def test_a_lane_that_was_old_at_the_start_stays_in_order(tmp_path):  # I17
    venue = Venue(tmp_path)
    venue.create("o1", payments=tuple(ToldPayment(intent_id=IntentId(f"pi_{n}"), paid=500) for n in range(2)), captured=True)
    for _ in range(2):
        fail(venue, venue.tasks.popleft())
    venue.clock.move(300_000)
    venue.event("pi_1", "Captured")  # The second read speaks of a newer entry now: it began to wait anew.
    venue.clock.move(HOUR_MS / 1000)
    venue.close()

    again = Venue(tmp_path, clock=venue.clock)
    again.engine.recover_leases()
    assert [task.intent_id for task in again.engine.claim_due(10)] == ["pi_0"]
    again.close()
