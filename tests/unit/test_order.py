"""What an order is worth and shows, and what each kind of entry makes of it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tests.builders import MACHINES, a_bill, a_payment, an_order, gbp, told
from workflow.entry import Entry
from workflow.lifecycle import FULFILMENT, ORDER, PAYMENT
from workflow.order import CLOSED_STATUSES, FINAL_STATES, Lock, Order, evolve

DISPUTED = {"mismatch": "AMOUNT_MISMATCH"}


def an_entry(kind, order_seq=2, *, machine="", trigger="", intent_id="", to_state="", at="2026-03-14T12:00:01.000Z", **body):
    ident = MACHINES[machine].ident if machine else ""
    return Entry(
        order_id="o1",
        order_seq=order_seq,
        at=at,
        kind=kind,
        machine=ident,
        trigger=trigger,
        to_state=to_state,
        payment_intent_id=intent_id,
        actor="test",
        cause="test",
        body=body,
    )


def the_first(total=1000, flow="pay_only", **facts):
    bill = msgspec.to_builtins(a_bill(total))
    return an_entry("transition", 1, machine="order", trigger="create", to_state="created", flow=flow, bill=bill, **facts)


def a_read(order_seq=2, *, paid=1000, tips=0, refunded=0, status="Captured", **more):
    return an_entry("check", order_seq, intent_id="pi_1", status=status, paid=paid, tips=tips, refunded=refunded, **more)


def a_differing_read(order_seq=2, *, code="AMOUNT_MISMATCH", **more):
    return an_entry("check", order_seq, intent_id="pi_1", status="Captured", mismatch=code, detail="990 is not 1000", **more)


def a_step(to_state, order_seq=2, *, machine="payment", intent_id="pi_1", **facts):
    return an_entry("transition", order_seq, machine=machine, intent_id=intent_id, to_state=to_state, **facts)


def replayed(*entries):
    order = None
    for number, entry in enumerate(entries, start=1):
        order = evolve(order, replace(entry, order_seq=number))
    return order


# -- what one payment counts


@pytest.mark.parametrize(
    ("refunded", "left"),
    [
        (0, (1000, 100)),
        (1, (999, 100)),
        (300, (700, 100)),
        (999, (1, 100)),
        (1000, (0, 100)),
        (1001, (0, 99)),
        (1050, (0, 50)),
        (1100, (0, 0)),
        (5000, (0, 0)),
    ],
)
def test_a_refund_takes_from_what_was_paid_first_and_then_from_the_tip(refunded, left):  # R11
    assert a_payment(paid=1000, tips=100, refunded=refunded).counted == left
    assert told(paid=1000, tips=100, refunded=refunded).counted == left


@pytest.mark.parametrize(
    ("why", "payment", "counted"),
    [
        ("an unpaid intent", a_payment("announced"), (0, 0)),
        ("held money", a_payment("authorised"), (0, 0)),
        ("money held that was told in words", told("authorised", tips=50), (0, 0)),
        ("a capture that only an event claims", told("captured", in_words=False), (0, 0)),
        ("a capture told in words", told("captured", tips=50), (1000, 50)),
        ("a capture told in words, read and not reconciled yet", told("captured", paid=1000, was_read=True, tips=50), (1000, 50)),
        ("reconciled money, as read", a_payment(paid=600, tips=20, told_paid=1000, told_tips=50), (600, 20)),
        ("reconciled money that no figure contradicts", told("reconciled", tips=50), (1000, 50)),
        ("reconciled money that a later read disputes", a_payment(**DISPUTED), (1000, 0)),
        ("disputed money told in words", told(**DISPUTED), (0, 0)),
        ("money that was given back in full", a_payment("refunded", refunded=1000), (0, 0)),
        ("money that was reversed", a_payment("reversed"), (0, 0)),
        ("money that was released", told("released"), (0, 0)),
        ("money that we refused", told("refused"), (0, 0)),
    ],
)
def test_what_counts_is_told_in_words_or_reconciled_and_undisputed(why, payment, counted):  # I10
    assert payment.counted == counted, why


def test_an_order_counts_each_payment_once_and_tips_apart():  # M10
    order = an_order(a_payment(paid=600, tips=50), told(paid=300, tips=20), a_payment("authorised", paid=100), total=1000)
    assert order.counted == (("pi_1", 600, 50), ("pi_2", 300, 20))
    assert order.paid == gbp(900)
    assert order.tips == gbp(70)
    assert order.total == gbp(1000)


def test_a_payment_that_brings_nothing_is_not_listed_and_a_tip_alone_is():
    order = an_order(a_payment(paid=500, refunded=500), a_payment(paid=0, tips=70), a_payment(paid=500, tips=20, refunded=500))
    assert order.counted == (("pi_2", 0, 70), ("pi_3", 0, 20))


def test_counted_rows_stand_in_the_order_of_intents_and_not_of_arrival():
    early = Order(id="o1", flow="pay_only", bill=a_bill(), payments={i: a_payment(intent_id=i, paid=100) for i in ("pi_b", "pi_a")})
    assert [row[0] for row in early.counted] == ["pi_a", "pi_b"]


# -- what is reserved and payable (contract 8.4)


@pytest.mark.parametrize(
    ("why", "payments", "reserved"),
    [
        ("nothing", [], 0),
        ("an unpaid intent", [a_payment("announced", paid=600)], 0),
        ("held money", [a_payment("authorised", paid=600)], 600),
        ("held money without its tip", [a_payment("authorised", paid=600, tips=50)], 600),
        ("held money that was told", [told("authorised", paid=600)], 600),
        ("what an event calls captured", [told("captured", paid=600, in_words=False)], 600),
        ("what counts in words already", [told("captured", paid=600)], 0),
        ("reconciled money", [a_payment(paid=600)], 0),
        ("disputed money", [a_payment("authorised", paid=600, **DISPUTED)], 0),
        ("refused money", [a_payment("refused", paid=600)], 0),
        ("released money", [a_payment("released", paid=600)], 0),
        ("two payers", [a_payment("authorised", paid=600), a_payment("authorised", paid=300)], 900),
    ],
)
def test_held_money_is_reserved_against_a_second_payment(why, payments, reserved):
    assert an_order(*payments).reserved == reserved, why


@pytest.mark.parametrize(
    ("why", "payments", "payable"),
    [
        ("nothing was paid", [], True),
        ("half was paid", [a_payment(paid=500)], True),
        ("a penny is missing", [a_payment(paid=999)], True),
        ("all was paid", [a_payment()], False),
        ("more was paid", [a_payment(paid=1500)], False),
        ("all is held", [a_payment("authorised")], False),
        ("half is paid and half is held", [a_payment(paid=500), a_payment("authorised", paid=500)], False),
        ("half is paid and a part is held", [a_payment(paid=500), a_payment("authorised", paid=400)], True),
        ("an intent for all is unpaid", [a_payment("announced")], True),
        ("a tip makes up the rest", [a_payment(paid=900, tips=100)], True),
        ("all was told in words", [told()], False),
        ("all is disputed", [a_payment("captured", **DISPUTED)], True),
        ("all was reversed", [a_payment("reversed")], True),
        ("a part went back before all was paid", [a_payment(paid=600, refunded=200)], True),
    ],
)
def test_an_order_is_payable_while_something_is_neither_paid_nor_reserved(why, payments, payable):  # M7 M12 O10
    assert an_order(*payments).is_payable is payable, why


@pytest.mark.parametrize("state", ORDER.states)
def test_an_order_in_a_final_state_is_never_payable(state):
    assert an_order(state=state).is_payable is (state not in FINAL_STATES)


@pytest.mark.parametrize("status", FULFILMENT.states)
def test_an_order_whose_kitchen_has_ended_is_never_payable(status):
    assert replace(an_order(), status=status).is_payable is (status not in CLOSED_STATUSES)


def test_a_lock_does_not_turn_an_order_unpayable():
    locked = an_order(lock=Lock(lock_id="lock_1", expires_at="2099-01-01T00:00:00.000Z"))
    assert locked.is_payable


def test_a_bill_of_nothing_is_not_payable():
    assert not an_order(total=0).is_payable


@pytest.mark.parametrize(
    ("flow", "status", "paid_once", "reopenable"),
    [
        ("pay_only", "Accepted", False, True),
        ("pay_later", "Submitted", False, True),
        ("order_and_pay", "Submitted", False, False),
        ("pay_only", "Finalized", False, False),
        ("pay_only", "Canceled", False, False),
        ("pay_later", "Failed", False, False),
        ("pay_only", "Accepted", True, False),
        ("pay_later", "Ready", True, False),
    ],
)
def test_only_a_bill_opened_for_later_payment_is_open_again_and_never_once_paid_in_full(flow, status, paid_once, reopenable):
    order = replace(an_order(flow=flow), status=status, paid_in_full_once=paid_once)
    assert order.is_reopenable is reopenable


@pytest.mark.parametrize("state", ORDER.states)
def test_the_final_states_are_those_that_no_row_leaves(state):
    leaves = any(state in row.source.split() and row.target != state for row in ORDER.transitions)
    assert an_order(state=state).is_final is not leaves


@pytest.mark.parametrize(
    ("why", "payment", "is_open"),
    [
        ("held", a_payment("authorised"), True),
        ("captured, unread", told("captured", in_words=False), True),
        ("refused and watched", a_payment("refused"), True),
        ("a word waits for its read", a_payment("announced", unread=True), True),
        ("disputed", a_payment("announced", **DISPUTED), True),
        ("reconciled", a_payment(), False),
        ("unpaid: its event may be lost", a_payment("announced"), True),
        *((f"ended as {state}", a_payment(state, unread=True), False) for state in PAYMENT.final.split()),
    ],
)
def test_the_sweep_looks_after_payments_that_dojo_may_still_change(why, payment, is_open):
    assert payment.is_open is is_open, why


@pytest.mark.parametrize(
    ("at", "released", "live"),
    [
        ("2026-03-14T12:59:59.999Z", False, True),
        ("2026-03-14T13:00:00.000Z", False, False),
        ("2026-03-14T13:00:00.001Z", False, False),
        ("2026-03-14T12:00:00.000Z", True, False),
    ],
)
def test_a_lock_lives_until_its_expiry_unless_it_was_released(at, released, live):
    assert Lock(lock_id="lock_1", expires_at="2026-03-14T13:00:00.000Z", released=released).is_live(at) is live


# -- what each entry makes of an order


def test_the_first_entry_begins_the_order_with_its_facts():
    order = evolve(None, the_first(total=1250, flow="order_and_pay", dojoOrderId="dojo-1", personal="ab12"))
    assert order == Order(
        id="o1",
        flow="order_and_pay",
        bill=a_bill(1250),
        dojo_order_id="dojo-1",
        personal_hash="ab12",
        state="created",
        order_seq=1,
        created_at="2026-03-14T12:00:01.000Z",
        updated_at="2026-03-14T12:00:01.000Z",
    )


def test_an_order_opened_at_the_till_has_no_dojo_order_id_and_no_personal_data():
    order = evolve(None, the_first())
    assert (order.dojo_order_id, order.personal_hash, order.payments, order.attention) == (None, "", {}, ())


def test_a_transition_moves_its_own_machine_and_no_other():
    order = an_order(a_payment("announced"), state="created")
    of_order = evolve(order, a_step("authorised", machine="order", intent_id=""))
    assert (of_order.state, of_order.status, of_order.payments) == ("authorised", order.status, order.payments)
    of_kitchen = evolve(order, a_step("Ready", machine="fulfilment", intent_id=""))
    assert (of_kitchen.state, of_kitchen.status, of_kitchen.payments) == (order.state, "Ready", order.payments)
    of_payment = evolve(order, a_step("authorised"))
    assert (of_payment.state, of_payment.status) == (order.state, order.status)
    assert of_payment.payments == {"pi_1": replace(order.payments["pi_1"], state="authorised")}


def test_a_payments_first_transition_brings_what_dojo_told():
    order = replayed(the_first(), a_step("announced", toldPaid=600, toldTips=50, inWords=True))
    assert order.payments["pi_1"] == told("announced", paid=600, tips=50)


def test_a_transition_without_told_figures_keeps_those_told_before():
    order = replayed(the_first(), a_step("announced", toldPaid=600, toldTips=50, inWords=True), a_step("authorised"), a_step("captured"))
    assert order.payments["pi_1"] == told("captured", paid=600, tips=50)
    assert order.paid == gbp(600)


def test_a_payment_that_ends_keeps_its_fate():
    order = replayed(the_first(), a_step("announced"), a_step("released", fate="expired"))
    assert order.payments["pi_1"].fate == "expired"


def test_an_event_counts_nothing_and_leaves_a_word_that_waits_for_a_read():  # I10
    order = evolve(an_order(a_payment("authorised")), an_entry("event", intent_id="pi_1", status="Captured"))
    assert order.payments["pi_1"] == a_payment("authorised", unread=True)
    assert order.paid == gbp(0)


def test_a_read_brings_its_figures_answers_the_word_and_ends_a_dispute():
    disputed = told("captured", in_words=False, unread=True, mismatch="AMOUNT_MISMATCH", mismatch_detail="x", differing=(990, 0, 0))
    payment = evolve(an_order(disputed), a_read(paid=900, tips=30, refunded=10)).payments["pi_1"]
    assert (payment.paid, payment.tips, payment.refunded, payment.was_read, payment.status) == (900, 30, 10, True, "Captured")
    assert (payment.unread, payment.mismatch, payment.mismatch_detail, payment.differing) == (False, "", "", None)


def test_a_read_that_differs_holds_the_payment_and_keeps_the_figures_read_before():
    order = evolve(an_order(a_payment("authorised", paid=700, unread=True)), a_differing_read(differing=[990, 5, 1]))
    payment = order.payments["pi_1"]
    assert (payment.mismatch, payment.mismatch_detail, payment.differing) == ("AMOUNT_MISMATCH", "990 is not 1000", (990, 5, 1))
    assert (payment.paid, payment.was_read, payment.unread) == (700, True, False)
    assert (order.reserved, order.paid) == (0, gbp(0))


def test_a_read_without_figures_of_a_payment_that_ended_changes_none():
    gone = an_entry("check", intent_id="pi_1", status="Canceled", mismatch="", detail="")
    payment = evolve(an_order(a_payment("authorised", paid=700)), gone).payments["pi_1"]
    assert (payment.paid, payment.mismatch, payment.status) == (700, "", "Canceled")


def test_a_repeated_read_of_the_same_refund_takes_it_once():  # R11
    order = an_order(a_payment(paid=1000))
    once = evolve(order, a_read(2, refunded=300))
    twice = evolve(once, a_read(3, refunded=300))
    assert once.counted == twice.counted == (("pi_1", 700, 0),)


def test_attention_is_kept_by_code_and_intent_and_cleared_alone():
    order = an_order()
    raised = [("KEY_REUSE", ""), ("AMOUNT_MISMATCH", "pi_1"), ("AMOUNT_MISMATCH", "pi_2")]
    for number, (code, intent_id) in enumerate(raised, start=2):
        order = evolve(order, an_entry("attention", number, trigger="raise", intent_id=intent_id, code=code, detail="d"))
    assert [(item.code, item.payment_intent_id) for item in order.attention] == raised
    order = evolve(order, an_entry("attention", 5, trigger="clear", intent_id="pi_1", code="AMOUNT_MISMATCH", detail="no longer so"))
    assert [(item.code, item.payment_intent_id) for item in order.attention] == [raised[0], raised[2]]


def test_attention_raised_again_is_one_item_with_the_newest_detail():
    order = evolve(an_order(), an_entry("attention", 2, trigger="raise", code="OVERPAID", detail="by 1"))
    order = evolve(order, an_entry("attention", 3, trigger="raise", code="OVERPAID", detail="by 2", at="2026-03-14T12:00:09.000Z"))
    assert [(item.detail, item.since) for item in order.attention] == [("by 2", "2026-03-14T12:00:09.000Z")]


@pytest.mark.parametrize(
    ("outcome", "seq", "told_seq"),
    [("done", 7, 7), ("done", 3, 5), ("dead", 7, 5)],
    ids=["newer news taken", "older news taken", "news given up"],
)
def test_dojo_knows_what_it_took_and_never_less_than_before(outcome, seq, told_seq):
    order = evolve(an_order(told_seq=5), an_entry("effect", 8, outcome=outcome, orderSeq=seq))
    assert order.told_seq == told_seq


def test_an_effect_that_tells_dojo_nothing_leaves_what_it_knows():
    assert evolve(an_order(told_seq=5), an_entry("effect", 8, outcome="done", effect="tell_till")).told_seq == 5


def test_an_entry_that_says_nothing_of_the_order_only_advances_it():
    order = an_order(a_payment())
    assert evolve(order, an_entry("system", 9, refused="too late")) == replace(order, order_seq=9)


def test_a_lock_is_taken_extended_and_released_by_its_entries():
    taken = evolve(an_order(), an_entry("lock", 2, trigger="take", lockId="lock_1", expiresAt="2026-03-14T13:00:00.000Z"))
    assert taken.lock == Lock(lock_id="lock_1", expires_at="2026-03-14T13:00:00.000Z")
    extended = evolve(taken, an_entry("lock", 3, trigger="extend", lockId="lock_1", expiresAt="2026-03-14T14:00:00.000Z"))
    assert extended.lock == Lock(lock_id="lock_1", expires_at="2026-03-14T14:00:00.000Z")
    released = evolve(extended, an_entry("lock", 4, trigger="release", lockId="lock_1", expiresAt="2026-03-14T14:00:00.000Z"))
    assert released.lock.released


def test_an_accepted_difference_counts_what_the_intent_says():
    facts = {"code": "AMOUNT_MISMATCH", "paid": 990, "tips": 5, "refunded": 0, "reason": "the till was wrong"}
    disputed = a_payment(mismatch="AMOUNT_MISMATCH", mismatch_detail="x", differing=(990, 5, 0))
    order = evolve(an_order(disputed), an_entry("operator", trigger="accept_difference", intent_id="pi_1", **facts))
    assert order.counted == (("pi_1", 990, 5),)
    assert (order.payments["pi_1"].mismatch, order.payments["pi_1"].accepted) == ("", ("x",))


def test_money_that_a_person_gave_back_is_acknowledged_at_the_sum_that_counted():
    facts = {"code": "OVERPAID", "reason": "paid out in cash"}
    order = evolve(an_order(a_payment(paid=1200)), an_entry("operator", trigger="mark_given_back", **facts))
    assert order.acknowledged == {"OVERPAID": 1200}


# -- what an order remembers


def test_the_entry_that_changed_counted_money_is_remembered_and_others_are_not():
    order = replayed(the_first(), a_step("announced"), a_step("captured"), a_read(), a_step("reconciled"))
    assert (order.money_seq, order.order_seq) == (5, 5)
    order = evolve(order, an_entry("event", 6, intent_id="pi_1", status="Captured"))
    assert (order.money_seq, order.order_seq) == (5, 6)
    order = evolve(order, a_read(7, refunded=1))
    assert order.money_seq == 7


def test_the_figures_of_the_last_reconciliation_are_kept_when_more_money_moves():
    order = an_order(a_payment(paid=600), state="captured")
    order = evolve(order, a_step("reconciled", 2, machine="order", intent_id=""))
    assert order.settled == (("pi_1", 600, 0),)
    order = evolve(order, a_read(3, paid=600, refunded=100))
    assert order.settled == (("pi_1", 600, 0),)
    order = evolve(order, a_step("updated", 4, machine="order", intent_id=""))
    assert order.settled == (("pi_1", 600, 0),)
    order = evolve(order, a_step("reconciled", 5, machine="order", intent_id=""))
    assert order.settled == (("pi_1", 500, 0),)


def test_an_order_once_paid_in_full_stays_so_and_is_not_payable_after_a_refund():  # R1
    order = replayed(the_first(), a_step("captured", toldPaid=1000, toldTips=0, inWords=True))
    assert order.paid_in_full_once
    order = evolve(order, a_read(3, refunded=400))
    assert (order.paid, order.paid_in_full_once, order.is_payable) == (gbp(600), True, False)


@pytest.mark.parametrize("paid", [(999,), (500, 499)], ids=["one short", "two short"])
def test_an_order_never_paid_in_full_is_payable_again_after_a_refund(paid):
    order = an_order(*(a_payment("captured", paid=part, told_paid=part) for part in paid))
    for number, _ in enumerate(paid, start=1):
        order = evolve(order, a_step("reconciled", number + 1, intent_id=f"pi_{number}"))
    assert not order.paid_in_full_once
    refund = an_entry("check", 9, intent_id="pi_1", status="Captured", paid=paid[0], tips=0, refunded=paid[0])
    assert evolve(order, refund).is_payable


def test_a_tip_does_not_make_an_order_paid_in_full():
    order = replayed(the_first(), a_step("captured", toldPaid=900, toldTips=100, inWords=True))
    assert not order.paid_in_full_once


def test_a_bill_of_nothing_is_never_called_paid_in_full():
    order = replayed(the_first(total=0), a_step("captured", toldPaid=0, toldTips=50, inWords=True))
    assert order.tips == gbp(50)
    assert not order.paid_in_full_once


def test_two_halves_of_which_one_was_partly_refunded_before_leave_the_rest_payable():
    """It was never paid in full at any moment: what is missing may still be paid."""
    order = replayed(the_first(), a_step("captured", toldPaid=500, toldTips=0, inWords=True), a_read(paid=500, refunded=100))
    second = a_step("captured", 4, intent_id="pi_2", toldPaid=500, toldTips=0, inWords=True)
    order = evolve(evolve(order, a_step("reconciled", 4)), replace(second, order_seq=5))
    assert (order.paid, order.paid_in_full_once, order.is_payable) == (gbp(900), False, True)


def test_a_larger_bill_is_payable_for_the_rest():
    order = replayed(the_first(), a_step("captured", toldPaid=1000, toldTips=0, inWords=True))
    amended = evolve(order, an_entry("operator", 3, trigger="amend", bill=msgspec.to_builtins(a_bill(1500))))
    assert (amended.total, amended.is_payable) == (gbp(1500), True)


def test_a_smaller_bill_may_be_paid_in_full_by_what_was_paid_before():
    order = replayed(the_first(), a_step("captured", toldPaid=600, toldTips=0, inWords=True))
    amended = evolve(order, an_entry("operator", 3, trigger="amend", bill=msgspec.to_builtins(a_bill(600))))
    assert (amended.paid_in_full_once, amended.is_payable) == (True, False)


def test_a_bill_amended_to_the_same_sum_is_not_payable_again_after_a_refund():
    """Rule A3: of two halves one went back in full, then the guests moved to another table."""
    order = an_order(a_payment(paid=500), a_payment("refunded", paid=500, refunded=500, fate="refunded"), paid_in_full_once=True)
    assert not order.is_payable
    amended = evolve(order, an_entry("operator", 3, trigger="amend", bill=msgspec.to_builtins(a_bill(1000, table="tbl_13"))))
    assert not amended.is_payable


def test_the_time_of_the_last_visible_change_is_kept_and_no_other():
    order = replayed(the_first(), a_step("announced", toldPaid=1000, toldTips=0, inWords=False))
    assert order.updated_at == "2026-03-14T12:00:01.000Z"
    order = evolve(order, an_entry("event", 3, intent_id="pi_1", status="Captured", at="2026-03-14T12:00:05.000Z"))
    assert order.updated_at == "2026-03-14T12:00:01.000Z"
    held = replace(a_step("authorised", 4), at="2026-03-14T12:00:06.000Z")
    assert evolve(order, held).updated_at == "2026-03-14T12:00:06.000Z"
    assert evolve(order, held).created_at == "2026-03-14T12:00:01.000Z"


@pytest.mark.parametrize(
    ("why", "change", "visible"),
    [
        ("another bill", {"bill": a_bill(1001)}, True),
        ("another status", {"status": "Ready"}, True),
        ("other personal data", {"personal_hash": "cd34"}, True),
        ("counted money", {"payments": {"pi_1": a_payment(paid=1)}}, True),
        ("a tip alone", {"payments": {"pi_1": a_payment(paid=0, tips=1)}}, True),
        ("reserved in full", {"payments": {"pi_1": a_payment("authorised")}}, True),
        ("reserved in part", {"payments": {"pi_1": a_payment("authorised", paid=1)}}, False),
        ("an announced intent", {"payments": {"pi_1": a_payment("announced")}}, False),
        ("a state that shows nothing", {"state": "authorised"}, False),
        ("a lock", {"lock": Lock(lock_id="lock_1", expires_at="2099-01-01T00:00:00.000Z")}, False),
        ("what Dojo took", {"told_seq": 9}, False),
    ],
)
def test_dojo_sees_the_bill_status_money_payability_and_personal_data_and_nothing_else(why, change, visible):
    order = an_order()
    assert (replace(order, **change).visible() != order.visible()) is visible, why


def test_an_order_is_never_changed_in_place():
    order = an_order(a_payment("authorised"))
    before = (order.payments["pi_1"], dict(order.payments), order.attention)
    evolve(order, a_read())
    evolve(order, an_entry("attention", trigger="raise", code="OVERPAID", detail="d"))
    assert (order.payments["pi_1"], dict(order.payments), order.attention) == before
    with pytest.raises(AttributeError):
        order.state = "captured"


@pytest.mark.parametrize(
    ("order", "outstanding", "given_back"),
    [
        (an_order(), 1000, 0),
        (an_order(a_payment(paid=400), state="updated", flow="pay_only"), 600, 0),
        (an_order(told("authorised", in_words=False), state="authorised"), 1000, 0),
        (an_order(a_payment(tips=100), state="updated"), 0, 0),
        (an_order(a_payment(paid=1200), state="updated"), 0, 0),
        (an_order(a_payment(refunded=400), state="updated", paid_in_full_once=True), 0, 400),
        (an_order(a_payment(paid=400, refunded=100), state="updated", flow="pay_only"), 700, 100),
        (an_order(a_payment("refunded", tips=100, refunded=1100), state="refunded"), 0, 1100),
        (an_order(a_payment("reversed", tips=100), state="reversed"), 0, 1100),
        (an_order(a_payment("refused", refunded=1000)), 1000, 0),
        (an_order(state="cancelled", status="Canceled"), 0, 0),
        (an_order(told("authorised", in_words=False), state="cancelled", status="Canceled"), 0, 0),
    ],
)
def test_what_is_outstanding_and_what_went_back_of_what_counted(order, outstanding, given_back):
    assert (order.outstanding, order.given_back) == (gbp(outstanding), gbp(given_back))


def test_the_figures_of_a_payment_are_what_dojo_said_last_or_unknown():
    assert a_payment(paid=1000, tips=50, refunded=200).figures == (1000, 50, 200)
    assert told(paid=1000).figures == (1000, 0, 0)
    assert a_payment(paid=1000, differing=(1001, 0, 0), **DISPUTED).figures == (1001, 0, 0)
    assert a_payment("captured", paid=0, was_read=False, **DISPUTED).figures is None
