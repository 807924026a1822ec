"""RecordOrderPayment: what Dojo says in words is counted once and for ever; what is refused is watched until it went back."""

from __future__ import annotations

import pytest

from tests.builders import MACHINES, a_bill, a_capture, gbp
from tests.story import AT, LATER, Story, a_tab, codes, created, settled, states
from workflow.commands import ExtendLock, LockOrder, RecordPayment, ReleaseLock
from workflow.effects import OrderUpdated, ReadIntent, TellTill
from workflow.errors import LockUnknown, OrderLocked, Refused
from workflow.money import MAX_MINOR_UNITS, Money
from workflow.order import evolve
from workflow.record_payment import record_payment
from workflow.requests import extend_lock, lock_order, release_lock

AFTER = "2026-03-14T14:00:00.000Z"


def record(story, paid=1000, tips=None, *, intent="pi_1", lock="", at=AT, currency="GBP"):
    """Dojo records a payment on the story's order; the decision."""
    command = RecordPayment(
        order_id="o1", intent_id=intent, paid=Money(paid, currency), tips=None if tips is None else Money(tips, currency), lock_id=lock
    )
    return story.act(record_payment(MACHINES, story.order, command, at=at))


def lock(story, lock_id="lock_1", expires_at=LATER, holder="PayAtTable, waiter 42"):
    command = LockOrder(order_id="o1", lock_id=lock_id, expires_at=expires_at, holder=holder)
    story.act(lock_order(MACHINES, story.order, command, at=AT))
    return story


def standing(story):
    return [(item.code, item.payment_intent_id) for item in story.order.attention]


# -- accepted


def test_a_recorded_payment_counts_at_once_and_its_intent_is_read():
    story = a_tab()
    decision = record(story, 600, 100)
    assert decision.refusal is None
    assert states(story.order) == ("captured", ["captured"])
    assert (story.order.paid, story.order.tips, story.order.is_payable) == (gbp(600), gbp(100), True)
    assert ReadIntent("pi_1") in decision.effects
    assert OrderUpdated() not in decision.effects  # Dojo has the order in the reply.


def test_tips_that_come_to_more_than_one_amount_can_be_are_refused_and_watched():
    story = a_tab()
    record(story, 300, MAX_MINOR_UNITS)
    decision = record(story, 300, 1, intent="pi_2")
    assert "more than one amount can be" in str(decision.refusal)
    assert (story.order.tips, story.order.paid, standing(story)) == (gbp(MAX_MINOR_UNITS), gbp(300), [("PAYMENT_REFUSED", "pi_2")])
    assert record(story, 300, intent="pi_3").refusal is None


def test_the_read_confirms_it_and_dojo_and_the_till_are_told():
    story = a_tab()
    record(story, 1000, 100)
    decision = story.read("Captured", paid=1000, tips=100)
    assert states(story.order) == ("reconciled", ["reconciled"])
    assert {OrderUpdated(), TellTill()} <= set(decision.effects)
    assert (story.order.paid, story.order.tips, codes(story.order)) == (gbp(1000), gbp(100), [])


@pytest.mark.parametrize("status", ["Created", "Authorized"])
def test_a_read_that_lags_behind_does_not_take_back_what_was_recorded(status):
    story = a_tab()
    record(story)
    story.read(status)
    assert (story.order.paid, codes(story.order)) == (gbp(1000), [])


def test_several_payers_record_until_the_bill_is_paid():
    story = a_tab()
    for number, paid in enumerate((300, 300, 400), start=1):
        assert record(story, paid, intent=f"pi_{number}").refusal is None
    assert (story.order.paid, story.order.is_payable, story.order.paid_in_full_once) == (gbp(1000), False, True)


def test_a_payment_that_create_order_declared_counts_once_it_is_recorded():
    story = created(1000)
    assert story.order.paid == gbp(0)
    record(story, 1000)
    assert (states(story.order), story.order.paid) == (("captured", ["captured"]), gbp(1000))


@pytest.mark.parametrize("first", ["Created", "Authorized", "Captured"])
def test_a_payment_that_an_event_announced_is_recorded_with_the_figures_told(first):  # D10
    story = a_tab()
    story.read("Created", paid=1000)
    story.event(first)
    assert record(story, 1000, 50).refusal is None
    assert (story.order.paid, story.order.tips) == (gbp(1000), gbp(50))
    assert len(story.order.payments) == 1


# -- exact repeats


REPEATED = [
    # what became of the payment, after it was recorded
    ("nothing", lambda s: None),
    ("it was read", lambda s: s.read("Captured", paid=1000, tips=100)),
    ("it was captured in part", lambda s: s.read("Captured", paid=1000, tips=100, capture_mode="Manual", captures=())),
    ("its event came", lambda s: s.event("Captured")),
    ("a part went back", lambda s: s.read("Captured", paid=1000, tips=100, refunded=300)),
    ("it was refunded in full", lambda s: s.read("Refunded", paid=1000, tips=100, refunded=1100)),
    ("it was reversed", lambda s: s.read("Reversed", paid=1000, tips=100)),
    ("it is disputed", lambda s: s.read("Captured", paid=990, tips=100)),
    ("it was disputed and taken off", lambda s: (s.read("Captured", paid=990, tips=100), s.resolve("detach_payment"))),
    ("the kitchen is done", lambda s: (s.read("Captured", paid=1000, tips=100), s.report("Finalized"))),
    ("another session has the lock", lambda s: lock(s, "lock_of_another")),
]


@pytest.mark.parametrize("became", [pytest.param(row[1], id=row[0]) for row in REPEATED])
def test_an_exact_repeat_is_accepted_for_ever_and_changes_nothing(became):  # D8 I12
    story = a_tab()
    record(story, 1000, 100)
    became(story)
    before = story.order
    decision = record(story, 1000, 100, lock="lock_1", at=AFTER)
    assert (decision.refusal, decision.entries, decision.effects) == (None, (), ())
    assert story.order == before


FIRST_READ = [
    # how the intent read when it was recorded, the figures recorded, how it reads afterwards
    ("the tip was changed", {"paid": 1000}, (1000, 0), {"paid": 1000, "tips": 100}),
    ("the tip was changed, and none was recorded", {"paid": 1000, "tips": 50}, (1000, None), {"paid": 1000, "tips": 100}),
    (
        "another part was captured",
        {"paid": 1000, "capture_mode": "Manual", "captures": (a_capture(600),)},
        (600, 0),
        {"paid": 1000, "capture_mode": "Manual", "captures": (a_capture(600), a_capture(400))},
    ),
]


@pytest.mark.parametrize("told", [False, True], ids=["never told", "told otherwise before"])
@pytest.mark.parametrize(("first", "figures", "then"), [pytest.param(*row[1:], id=row[0]) for row in FIRST_READ])
def test_a_payment_that_an_event_recorded_first_is_accepted_in_words_for_ever(first, figures, then, told):  # D10 I12
    story = created(1000, captured=True) if told else a_tab()
    story.read("Captured", **first)
    counted = story.order.counted
    assert record(story, *figures).refusal is None
    assert story.order.counted == counted
    story.read("Captured", **then, updated_at="2026-03-14T12:30:00Z")
    assert story.order.counted != counted
    before = story.order
    decision = record(story, *figures)
    assert (decision.refusal, decision.entries) == (None, ())
    assert story.order == before


@pytest.mark.parametrize("first", ["record", "read"])
def test_a_payment_that_was_captured_in_part_is_recorded_whatever_comes_first(first):  # D10 M7
    """Dojo records what the intent asks for; what its captures bring counts."""
    story = a_tab()
    acts = [
        lambda: record(story, 1000),
        lambda: story.read("Captured", paid=1000, capture_mode="Manual", captures=(a_capture(600),)),
    ]
    for act in acts if first == "record" else acts[::-1]:
        assert act().refusal is None
    assert (states(story.order), story.order.paid, standing(story)) == (("reconciled", ["reconciled"]), gbp(600), [])
    story.read("Captured", paid=1000, capture_mode="Manual", captures=(a_capture(600), a_capture(400)), updated_at="2026-03-14T12:30:00Z")
    assert record(story, 1000).entries == ()


def test_a_repeat_that_says_nothing_of_tips_is_no_contradiction():
    story = a_tab()
    record(story, 1000, 100)
    assert record(story, 1000).refusal is None
    assert story.order.tips == gbp(100)


SILENT = [
    # who said nothing of tips first
    ("an earlier record-payment", lambda: _recorded(a_tab())),
    ("CreateOrder, of money that is held", lambda: created(1000)),
    ("CreateOrder, of money that counts at once", lambda: created(1000, captured=True)),
]


def _recorded(story):
    record(story, 1000)
    return story


@pytest.mark.parametrize("begin", [pytest.param(row[1], id=row[0]) for row in SILENT])
def test_a_tip_of_which_nothing_was_said_before_is_no_contradiction_and_counts(begin):
    story = begin()
    assert record(story, 1000, 50).refusal is None
    assert (story.order.paid, story.order.tips, codes(story.order)) == (gbp(1000), gbp(50), [])
    assert record(story, 1000, 50).entries == ()
    assert record(story, 1000, 60).refusal


def test_a_tip_of_which_nothing_was_said_is_a_contradiction_once_a_read_has_said_that_there_is_none():  # D9
    story = _recorded(a_tab())
    story.read("Captured", paid=1000)
    assert record(story, 1000, 50).refusal
    assert (story.order.tips, standing(story)) == (gbp(0), [("PAYMENT_CONFLICT", "pi_1")])


def test_a_tip_that_create_order_declared_is_not_lost_by_a_record_that_says_nothing_of_it():
    story = created(1000, tips=100)
    assert record(story, 1000).refusal is None
    assert story.order.tips == gbp(100)
    assert record(story, 1000, 100).refusal is None


# -- contradictions


@pytest.mark.parametrize(("paid", "tips", "currency"), [(999, 100, "GBP"), (1000, 99, "GBP"), (1000, 100, "EUR")])
@pytest.mark.parametrize("read", [False, True], ids=["told", "read"])
def test_other_figures_of_a_recorded_payment_are_refused_and_call_a_person(paid, tips, currency, read):  # D9
    story = a_tab()
    record(story, 1000, 100)
    if read:
        story.read("Captured", paid=1000, tips=100)
    counted = story.order.counted
    decision = record(story, paid, tips, currency=currency)
    assert isinstance(decision.refusal, Refused)
    assert story.order.counted == counted
    assert standing(story) == [("PAYMENT_CONFLICT", "pi_1")]
    assert ReadIntent("pi_1") in decision.effects
    assert story.order.is_watched("pi_1")


def test_other_figures_than_create_order_declared_are_refused():
    story = created(1000)
    assert isinstance(record(story, 999).refusal, Refused)
    assert (story.order.paid, standing(story)) == (gbp(0), [("PAYMENT_CONFLICT", "pi_1")])


def test_an_acknowledged_contradiction_is_watched_no_more():
    story = settled()
    record(story, 999)
    story.resolve("acknowledge")
    assert (story.order.attention, story.order.is_watched("pi_1")) == ((), False)


# -- refused

REFUSED = [
    # why, the story until then, what is recorded, the attention that stands
    ("more than the bill", a_tab, {"paid": 1001}, "OVERPAID"),
    ("more than is left", lambda: a_tab(600), {"paid": 401, "intent": "pi_9"}, "OVERPAID"),
    ("a second time the whole bill", settled, {"intent": "pi_9"}, "OVERPAID"),
    ("what another payer holds", lambda: a_tab(600, status="Authorized"), {"paid": 401, "intent": "pi_9"}, "OVERPAID"),
    ("another currency", a_tab, {"currency": "EUR"}, "PAYMENT_REFUSED"),
    ("another session's lock", lambda: lock(a_tab()), {"lock": "lock_2"}, "PAYMENT_REFUSED"),
    ("a cancelled order", lambda: _cancelled(a_tab()), {}, "PAID_BUT_CLOSED"),
    ("an order that failed in the kitchen", lambda: _failed(a_tab()), {}, "PAID_BUT_CLOSED"),
]


def _cancelled(story):
    story.cancel()
    return story


def _failed(story):
    story.refuse()
    return story


@pytest.mark.parametrize(("begin", "asked", "code"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_a_refused_payment_counts_nothing_and_is_watched_until_the_money_went_back(begin, asked, code):  # L5 M15
    story, intent = begin(), asked.get("intent", "pi_1")
    counted = story.order.counted
    decision = record(story, **asked)
    assert isinstance(decision.refusal, Refused)
    assert (story.order.counted, story.order.payments[intent].state) == (counted, "refused")
    assert standing(story) == [(code, intent)]
    assert ReadIntent(intent) in decision.effects
    assert story.order.is_watched(intent)

    story.read("Captured", intent, paid=asked.get("paid", 1000))
    assert standing(story) == [(code, intent)]  # Dojo still has it.
    story.read("Reversed", intent, paid=asked.get("paid", 1000))
    assert (story.order.payments[intent].state, story.order.attention) == ("released", ())
    assert not story.order.is_watched(intent)


def test_a_tip_in_another_currency_is_refused_with_its_payment():
    story = a_tab()
    command = RecordPayment(order_id="o1", intent_id="pi_1", paid=gbp(1000), tips=Money(50, "EUR"))
    assert story.act(record_payment(MACHINES, story.order, command, at=AT)).refusal
    assert (story.order.counted, standing(story)) == ((), [("PAYMENT_REFUSED", "pi_1")])


def test_a_refused_payment_is_given_back_only_when_all_of_it_went_back():
    story = a_tab()
    record(story, 1500)
    story.read("Captured", paid=1500, refunded=700)
    assert (story.order.payments["pi_1"].state, standing(story)) == ("refused", [("OVERPAID", "pi_1")])
    story.read("Refunded", paid=1500, refunded=1500)
    assert (story.order.payments["pi_1"].state, standing(story)) == ("released", [])


def test_a_refused_payment_in_another_currency_is_released_once_it_was_refunded():
    story = a_tab()
    record(story, currency="EUR")
    euros = {"amount": Money(1000, "EUR"), "total": Money(1000, "EUR")}
    story.read("Captured", **euros)
    assert standing(story) == [("PAYMENT_REFUSED", "pi_1")]
    story.read("Refunded", refunded=1000, **euros)
    assert (story.order.payments["pi_1"].state, standing(story)) == ("released", [])


def test_what_was_refused_may_be_accepted_when_nothing_stands_against_it_any_more():
    story = lock(a_tab())
    record(story, lock="lock_2")
    story.act(release_lock(MACHINES, story.order, ReleaseLock(order_id="o1", lock_id="lock_1"), at=AT))
    assert record(story, lock="lock_2").refusal is None
    assert (states(story.order), story.order.paid, standing(story)) == (("captured", ["captured"]), gbp(1000), [])


def test_a_refused_hold_leaves_the_bill_to_others_and_dojo_is_told():
    story = lock(a_tab(1000, status="Authorized"))
    assert not story.order.is_payable
    decision = record(story, lock="lock_2")
    assert story.order.is_payable
    assert OrderUpdated() in decision.effects


def test_an_intent_that_ended_before_it_counted_is_not_recorded():
    story = a_tab(1000, status="Canceled")
    assert isinstance(record(story).refusal, Refused)
    assert (story.order.counted, story.order.attention, story.order.is_payable) == ((), (), True)


def test_a_payment_that_a_person_took_off_and_dojo_records_after_all_calls_a_person():
    story = a_tab()
    story.read("Captured", external_id="o2")
    story.resolve("detach_payment")
    assert isinstance(record(story).refusal, Refused)
    assert (story.order.counted, standing(story)) == ((), [("PAYMENT_CONFLICT", "pi_1")])


def test_a_bill_that_only_somebody_elses_money_covered_is_payable_again_when_that_is_taken_off():
    story = a_tab()
    record(story, 1000)
    story.read("Captured", external_id="o2")
    assert not story.order.is_payable
    decision = story.resolve("detach_payment")
    assert (states(story.order), story.order.status, story.order.is_payable) == (("created", ["released"]), "Accepted", True)
    assert OrderUpdated() in decision.effects
    assert record(story, 1000, intent="pi_2").refusal is None


@pytest.mark.parametrize("parts", [(1000,), (500, 500)], ids=["at once", "in halves"])
def test_a_bill_that_its_own_money_covered_once_stays_unpayable_when_another_payment_is_taken_off(parts):  # Rule A3
    story = a_tab(*parts)
    for number, part in enumerate(parts, start=1):
        story.read("Refunded", f"pi_{number}", paid=part, refunded=part)
        if number == 1 and len(parts) == 2:
            record(story, 400, intent="pi_9")
            story.read("Captured", "pi_9", paid=390)
            story.resolve("detach_payment")
    assert not story.order.is_payable


def test_a_refused_payment_that_went_back_does_not_end_an_order_whose_own_payment_is_open():
    story = created(1000)
    story.read("Created")  # The pre-authorisation turns out never to have been one.
    assert record(story, 1500, intent="pi_9").refusal
    story.read("Refunded", "pi_9", paid=1500, refunded=1500)
    assert (story.order.state, story.order.payments["pi_9"].state) == ("created", "released")
    story.event("Captured")
    story.read("Captured")
    assert (story.order.state, story.order.paid) == ("reconciled", gbp(1000))


def test_an_order_whose_only_payment_was_refused_ends_with_it():
    story = lock(created(1000))
    assert record(story, lock="lock_2").refusal
    story.read("Reversed")
    assert (story.order.state, story.order.status) == ("reversed", "Canceled")


def test_a_person_settles_one_refused_payment_and_the_other_still_stands():
    story = a_tab()
    record(story, 1500)
    record(story, 1600, intent="pi_2")
    story.resolve("mark_given_back", intent_id="pi_1")
    assert standing(story) == [("OVERPAID", "pi_2")]


def test_a_refused_payment_that_a_person_settled_is_not_asked_about_again_when_another_one_counts():
    story = a_tab()
    record(story, 1500)
    story.resolve("mark_given_back")
    record(story, 300, intent="pi_2")
    story.read("Captured", "pi_2", paid=300)
    assert standing(story) == []
    record(story, 1600)
    assert standing(story) == [("OVERPAID", "pi_1")]  # Other money than the person gave back.


# -- locks


@pytest.mark.parametrize(
    ("held", "presented", "at", "accepted"),
    [
        ("lock_1", "lock_1", AT, True),
        ("lock_1", "", AT, True),  # Dojo alone takes locks and records payments: what it took is recorded.
        ("lock_1", "lock_2", AT, False),
        ("lock_1", "lock_2", AFTER, True),
        ("lock_1", "lock_1", AFTER, True),  # X8
        (None, "lock_1", AT, True),
    ],
)
def test_a_payment_is_recorded_unless_another_session_has_the_lock(held, presented, at, accepted):
    story = a_tab()
    if held:
        lock(story, held)
    decision = record(story, lock=presented, at=at)
    assert (decision.refusal is None) == accepted
    if not accepted:
        assert isinstance(decision.refusal, OrderLocked)
        assert "PayAtTable, waiter 42" in str(decision.refusal)


def test_a_lock_that_was_released_is_not_brought_back_by_extending_it():  # Contract §9
    story = lock(a_tab())
    story.act(release_lock(MACHINES, story.order, ReleaseLock(order_id="o1", lock_id="lock_1"), at=AT))
    decision = story.act(extend_lock(MACHINES, story.order, ExtendLock(order_id="o1", lock_id="lock_1", expires_at=AFTER), at=AT))
    assert isinstance(decision.refusal, LockUnknown)
    assert story.amend(a_bill(1200)).refusal is None


def test_the_till_cancels_no_order_under_the_hands_of_a_paying_customer():  # X10
    story = lock(a_tab())
    decision = story.report("Canceled")
    assert isinstance(decision.refusal, OrderLocked)
    assert "PayAtTable, waiter 42" in str(decision.refusal)
    assert record(story, lock="lock_1").refusal is None


def test_dojo_cancels_an_order_that_it_locked_and_the_till_repeats_it_in_vain_but_unrefused():
    story = lock(a_tab())
    assert story.cancel().refusal is None
    assert story.report("Canceled").refusal is None
    assert story.order.state == "cancelled"


def test_an_amended_bill_leaves_room_for_a_payment_of_the_rest():
    story = settled()
    story.amend(a_bill(1500))
    assert record(story, 501, intent="pi_2").refusal
    assert record(story, 500, intent="pi_3").refusal is None
    assert story.order.paid == gbp(1500)


def test_the_same_story_is_told_by_its_entries_alone():  # I6
    story = Story()
    story.open()
    record(story, 600)
    record(story, 600, intent="pi_2")
    record(story, 601)
    order = None
    for entry in (entry for act in story.acts for entry in act.entries):
        order = evolve(order, entry)
    assert order == story.order
