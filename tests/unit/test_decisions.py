"""What becomes of a command: orders go in with messages, and the entries, effects and attention that come out are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import MACHINES, a_bill, a_capture, gbp
from tests.story import AT, Story, a_tab, codes, created, settled, states, steps, triggers
from workflow.case import STANDING
from workflow.decisions import (
    refuse_reused_key,
    refuse_taken_intent,
)
from workflow.effects import OrderUpdated, ReadIntent, TellTill
from workflow.errors import KeyReused, Refused
from workflow.lifecycle import ATTENTION, ORDER, PAYMENT
from workflow.money import MAX_MINOR_UNITS, Money
from workflow.order import COUNTED, FINAL_STATES, evolve

# -- an order begins


def test_an_order_created_with_pre_authorised_payments_is_authorised_and_dojo_is_asked_nothing():
    story = created(600, 400)
    assert states(story.order) == ("authorised", ["authorised", "authorised"])
    assert (story.order.flow, story.order.status, story.order.paid, story.order.reserved) == ("order_and_pay", "Submitted", gbp(0), 1000)
    assert story.acts[0].effects == (TellTill(),)


def test_an_order_created_with_captured_payments_counts_them_at_once_and_reads_them():
    story = created(600, 400, captured=True)
    assert states(story.order) == ("captured", ["captured", "captured"])
    assert story.order.paid == gbp(1000)
    assert story.acts[0].effects == (TellTill(), ReadIntent("pi_1"), ReadIntent("pi_2"))


def test_an_order_created_without_payments_waits_for_them():
    story = Story()
    decision = story.create()
    assert (story.order.state, story.order.flow, story.order.is_payable, decision.effects) == ("created", "pay_later", True, (TellTill(),))


def test_a_bill_opened_at_the_till_is_accepted_and_dojo_is_told():
    story = Story()
    decision = story.open()
    assert (story.order.state, story.order.flow, story.order.status) == ("created", "pay_only", "Accepted")
    assert decision.effects == (OrderUpdated(),)


@pytest.mark.parametrize("begin", ["create", "open"])
def test_intents_that_dojo_spoke_of_before_are_read_when_their_order_appears(begin):  # O1
    story = Story()
    decision = getattr(story, begin)(parked=("pi_7", "pi_8"))
    assert {ReadIntent("pi_7"), ReadIntent("pi_8")} <= set(decision.effects)


def test_the_same_creation_again_decides_nothing():  # D1
    story = created(600, 400)
    decision = story.create(600, 400)
    assert (decision.entries, decision.effects, decision.refusal) == ((), (), None)


def test_the_same_creation_with_another_payment_adds_that_payment_alone():
    story = created(600)
    decision = story.create(600, 400)
    assert states(story.order) == ("authorised", ["authorised", "authorised"])
    assert {entry.payment_intent_id for entry in decision.entries} == {"pi_2"}


def test_payments_that_come_to_more_than_one_amount_can_be_are_refused_and_nothing_is_added():
    story = created(MAX_MINOR_UNITS - 400)
    decision = story.create(MAX_MINOR_UNITS - 400, 401)
    assert isinstance(decision.refusal, Refused)
    assert "more than one amount can be" in str(decision.refusal)
    assert [*story.order.payments] == ["pi_1"]
    assert story.create(MAX_MINOR_UNITS - 400, 400).refusal is None


def test_a_repeated_creation_reads_only_the_payment_that_is_new():
    story = created(600, captured=True)
    assert story.create(600, 400, captured=True).effects == (ReadIntent("pi_2"), TellTill())


# -- an event moves, a read proves


def test_a_first_word_of_captured_fires_authorise_and_capture_with_one_cause():
    story = a_tab(1000, status="Created")
    assert states(story.order) == ("created", ["announced"])
    decision = story.event("Captured", event_id="evt_9")
    assert steps(decision) == [
        ("payment", "authorise", "announced", "authorised"),
        ("order", "authorise", "created", "authorised"),
        ("payment", "capture", "authorised", "captured"),
        ("order", "capture", "authorised", "captured"),
    ]
    assert {entry.cause for entry in decision.entries} == {"event:evt_9"}
    assert {entry.actor for entry in decision.entries} == {"dojo"}
    assert [entry.order_seq for entry in decision.entries] == list(range(decision.entries[0].order_seq, story.order.order_seq + 1))


def test_a_first_read_of_captured_walks_the_whole_path_in_one_decision():  # M5 O9
    story = Story()
    story.open()
    decision = story.read("Captured")
    assert triggers(decision) == [
        ("payment", "announce"),
        ("payment", "authorise"),
        ("order", "authorise"),
        ("payment", "capture"),
        ("order", "capture"),
        ("payment", "reconcile"),
        ("order", "reconcile"),
    ]
    assert {entry.cause for entry in decision.entries} == {"read:pi_1"}
    assert story.order.paid == gbp(1000)


@pytest.mark.parametrize("status", ["Captured", "Authorized", "Created", "Refunded", "Reversed", "Canceled", "Settled"])
def test_an_event_alone_counts_nothing_and_asks_for_one_read(status):  # I10
    story = created()
    decision = story.event(status)
    assert story.order.counted == ()
    assert [effect for effect in decision.effects if effect != OrderUpdated()] == [ReadIntent("pi_1")]
    assert not [step for step in steps(decision) if step[3] in COUNTED]


def test_an_event_says_what_it_was_and_no_long_text_of_it_is_kept():
    story = created()
    entry = story.event("x" * 10_000).entries[0]
    assert (entry.kind, entry.payment_intent_id, entry.body["id"], entry.body["channel"]) == ("event", "pi_1", "evt_1", "capability")
    assert len(entry.body["status"]) == 40


def test_a_captured_event_and_its_read_reconcile_payment_and_order():  # I10
    story = created()
    story.event("Captured")
    assert states(story.order) == ("captured", ["captured"])
    decision = story.read("Captured")
    assert triggers(decision) == [("payment", "reconcile"), ("order", "reconcile")]
    assert [entry.kind for entry in decision.entries][0] == "check"
    assert set(decision.effects) == {OrderUpdated(), TellTill()}


@pytest.mark.parametrize("late", ["Authorized", "Created"])
@pytest.mark.parametrize("read_first", [False, True], ids=["unread", "read"])
def test_a_late_word_never_undoes_a_capture(late, read_first):  # O4 O3
    story = created()
    story.event("Captured")
    if read_first:
        story.read("Captured")
    before = states(story.order)
    decision = story.event(late, event_id="evt_2")
    assert steps(decision) == []
    assert states(story.order) == before


def test_a_repeated_word_of_captured_moves_nothing_twice():  # D6
    story = created()
    story.event("Captured")
    assert steps(story.event("Captured", event_id="evt_2")) == []
    story.read("Captured")
    assert steps(story.event("Captured", event_id="evt_3")) == []
    assert steps(story.read("Captured")) == []
    assert (story.order.state, story.order.paid) == ("reconciled", gbp(1000))


def test_a_read_that_denies_the_claim_takes_payment_and_order_back_to_authorised():  # M4
    story = created()
    story.event("Captured")
    decision = story.read("Authorized")
    assert steps(decision) == [("payment", "unclaim", "captured", "authorised"), ("order", "unclaim", "captured", "authorised")]
    assert story.order.paid == gbp(0)


def test_a_read_that_finds_no_money_at_all_takes_the_payment_back_to_announced():
    story = created()
    story.event("Captured")
    decision = story.read("Created")
    assert [step for step in steps(decision) if step[0] == "payment"] == [
        ("payment", "unclaim", "captured", "authorised"),
        ("payment", "withdraw", "authorised", "announced"),
    ]
    assert states(story.order) == ("created", ["announced"])


@pytest.mark.parametrize("status", ["Created", "Authorized"])
def test_what_dojo_told_in_words_is_not_denied_by_a_read_that_lags(status):
    story = created(captured=True)
    assert steps(story.read(status)) == []
    assert (story.order.state, story.order.paid) == ("captured", gbp(1000))


@pytest.mark.parametrize("status", ["Created", "Authorized"])
def test_a_read_that_goes_back_behind_reconciled_money_moves_nothing_and_calls_a_person(status):
    story = settled()
    decision = story.read(status)
    assert steps(decision) == []
    assert (codes(story.order), story.order.paid) == (["STATUS_LIE"], gbp(1000))


def test_an_order_is_updated_once_dojo_took_news_that_are_new_enough():
    story = created()
    story.read("Captured")
    story.tell_dojo(order_seq=story.order.money_seq - 1)
    assert story.order.state == "reconciled"
    decision = story.tell_dojo(order_seq=story.order.money_seq)
    assert triggers(decision) == [("order", "update")]
    assert decision.effects == ()


def test_a_split_bill_is_reconciled_only_when_its_last_captured_payment_was_read():  # M12
    story = created(600, 400)
    story.event("Captured", "pi_1")
    story.event("Captured", "pi_2")
    assert triggers(story.read("Captured", "pi_1", paid=600)) == [("payment", "reconcile")]
    assert (story.order.state, story.order.paid) == ("captured", gbp(600))
    assert triggers(story.read("Captured", "pi_2", paid=400)) == [("payment", "reconcile"), ("order", "reconcile")]
    assert (story.order.state, story.order.paid) == ("reconciled", gbp(1000))


# -- money goes back


def test_a_part_refund_adjusts_the_order_and_leaves_the_payment_reconciled():
    story = settled()
    assert story.order.state == "updated"
    decision = story.read("Captured", refunded=300)
    assert steps(decision) == [("order", "adjust", "updated", "reconciled")]
    assert (story.order.paid, story.order.is_payable) == (gbp(700), False)
    assert set(decision.effects) == {OrderUpdated(), TellTill()}


def test_the_same_part_refund_read_twice_adjusts_once():  # R11
    story = settled()
    story.read("Captured", refunded=300)
    assert steps(story.read("Captured", refunded=300)) == []
    assert story.order.paid == gbp(700)


def test_a_second_part_refund_adjusts_again():  # R11
    story = settled()
    story.read("Captured", refunded=300)
    assert triggers(story.read("Captured", refunded=450)) == [("order", "adjust")]
    assert story.order.paid == gbp(550)


@pytest.mark.parametrize("told_first", [True, False], ids=["told first", "read at once"])
def test_a_full_refund_ends_payment_and_order(told_first):  # R1
    story = settled()
    if told_first:
        assert steps(story.event("Refunded")) == []
    decision = story.read("Refunded", refunded=1000)
    assert steps(decision) == [("payment", "refund", "reconciled", "refunded"), ("order", "refund", "updated", "refunded")]
    assert (story.order.paid, story.order.is_payable, story.order.status) == (gbp(0), False, "Confirmed")
    assert OrderUpdated() in decision.effects


def test_a_full_refund_that_is_the_first_thing_heard_ends_the_order_all_the_same():
    story = created()
    story.read("Refunded", refunded=1000)
    assert states(story.order) == ("refunded", ["refunded"])


def test_a_refund_of_one_half_leaves_the_other():  # M12
    story = settled(600, 400)
    decision = story.read("Refunded", "pi_2", paid=400, refunded=400)
    assert triggers(decision) == [("payment", "refund"), ("order", "adjust")]
    assert (states(story.order), story.order.paid) == (("reconciled", ["reconciled", "refunded"]), gbp(600))


def test_a_bill_of_the_till_is_open_again_when_its_part_was_refunded():  # R1
    story = a_tab(400)
    decision = story.read("Refunded", paid=400, refunded=400)
    assert triggers(decision) == [("payment", "refund"), ("order", "reopen")]
    assert (story.order.state, story.order.is_payable) == ("created", True)


def test_a_bill_of_the_till_that_was_paid_in_full_is_not_open_again_after_its_refund():  # R1
    story = a_tab(1000)
    story.read("Refunded", refunded=1000)
    assert (story.order.state, story.order.is_payable) == ("refunded", False)


def test_a_bill_that_was_paid_in_full_is_not_payable_again_though_a_part_had_gone_back_before_it_was_read():  # R1 R11
    story = a_tab()
    story.read("Captured", refunded=400)
    assert (story.order.paid, story.order.is_payable, story.order.paid_in_full_once) == (gbp(600), False, True)


def test_a_bill_paid_in_halves_stays_unpayable_whatever_goes_back_afterwards():  # R1
    story = a_tab(500, 500)
    story.read("Refunded", "pi_2", paid=500, refunded=500)
    assert not story.order.is_payable
    story.read("Captured", "pi_1", paid=500, refunded=200)
    assert (story.order.paid, story.order.is_payable) == (gbp(300), False)


def test_an_amended_bill_of_the_same_sum_is_not_payable_again_after_a_refund():
    """Rule A3: two halves paid a bill, one went back, then the guests moved to another table."""
    story = a_tab(500, 500)
    story.read("Refunded", "pi_2", paid=500, refunded=500)
    story.tell_dojo()
    assert not story.order.is_payable
    story.amend(a_bill(1000, table="tbl_13"))
    assert not story.order.is_payable


def test_an_order_whose_money_is_undone_before_its_capture_is_reversed():  # R3
    story = created()
    decision = story.read("Reversed")
    assert steps(decision) == [("payment", "release", "authorised", "released"), ("order", "reverse", "authorised", "reversed")]
    assert story.order.status == "Canceled"


def test_an_order_whose_claimed_capture_was_undone_is_reversed():  # R3
    story = created()
    story.event("Captured")
    story.read("Reversed")
    assert states(story.order) == ("reversed", ["released"])


def test_an_order_whose_counted_money_is_undone_is_reversed():  # R2
    story = settled()
    decision = story.read("Reversed")
    assert steps(decision) == [("payment", "reverse", "reconciled", "reversed"), ("order", "reverse", "updated", "reversed")]
    assert story.order.paid == gbp(0)


def test_an_order_whose_money_was_told_in_words_and_undone_is_reversed():
    story = created(captured=True)
    story.read("Reversed")
    assert states(story.order) == ("reversed", ["reversed"])
    assert story.order.paid == gbp(0)


def test_an_order_whose_hold_ran_out_after_seven_days_is_expired():  # R4
    story = created()
    times = {"created_at": "2026-03-14T12:00:00Z", "updated_at": "2026-03-21T12:00:00Z"}
    story.read("Reversed", capture_mode="Manual", **times)
    assert (states(story.order), story.order.status) == (("expired", ["released"]), "Canceled")


@pytest.mark.parametrize("first", ["Canceled", "Reversed"])
def test_a_bill_of_the_till_stays_payable_when_a_payment_attempt_ends(first):  # R6
    story = a_tab(1000, status="Created")
    story.event("Authorized")
    assert story.order.state == "authorised"
    story.read(first)
    assert (states(story.order), story.order.is_payable) == (("created", ["released"]), True)


def test_the_rest_is_settled_when_the_other_payer_gives_up():  # M12
    story = created(600, 400)
    story.read("Captured", "pi_1", paid=600)
    assert story.order.state == "authorised"
    decision = story.read("Canceled", "pi_2", paid=400)
    assert triggers(decision) == [("payment", "release"), ("order", "settle_rest")]
    assert (story.order.paid, story.order.status) == (gbp(600), "Confirmed")


def test_a_part_capture_counts_the_part_and_leaves_the_rest_payable():  # M7
    story = created()
    story.read("Captured", capture_mode="Manual", captures=(a_capture(600), a_capture(400, status="Declined")))
    assert (story.order.state, story.order.paid, story.order.is_payable) == ("reconciled", gbp(600), True)


def test_an_order_all_of_whose_captures_were_declined_is_not_silently_stuck():  # M7 I20
    story = created()
    story.event("Captured")
    story.read("Captured", capture_mode="Manual", captures=(a_capture(1000, status="Declined"),))
    assert story.order.paid == gbp(0)
    assert is_at_rest(story.order)


@pytest.mark.parametrize("flow", ["create", "open"])
def test_an_intent_of_nothing_leaves_no_order_silently_stuck(flow):  # M13 I20
    story = Story()
    if flow == "create":
        story.create(0, total=1000)
        story.event("Captured")
    else:
        story.open()
    story.read("Captured", paid=0)
    assert is_at_rest(story.order)


def is_at_rest(order):
    """Settled, ended, open to another payment, or somebody was called."""
    return order.state in ("created", "reconciled", "updated") or order.is_final or bool(order.attention)


# -- more than the bill


def test_a_bill_paid_twice_is_recorded_counted_and_called_overpaid():  # M15
    story = a_tab(1000, 1000)
    assert (story.order.paid, story.order.is_payable, codes(story.order)) == (gbp(2000), False, ["OVERPAID"])
    assert "GBP 20.00" in story.order.attention[0].detail
    assert "GBP 10.00" in story.order.attention[0].detail


def test_an_overpayment_holds_up_nothing():  # M9
    story = a_tab(1200)
    assert (story.order.state, codes(story.order)) == ("updated", ["OVERPAID"])


def test_overpaid_is_cleared_when_the_difference_went_back():  # M9
    story = a_tab(1200)
    decision = story.read("Captured", paid=1200, refunded=200)
    assert [(entry.trigger, entry.body["code"]) for entry in decision.entries if entry.kind == "attention"] == [("clear", "OVERPAID")]
    assert (codes(story.order), story.order.paid) == ([], gbp(1000))


def test_overpaid_stays_while_a_penny_too_much_counts():
    story = a_tab(1200)
    story.read("Captured", paid=1200, refunded=199)
    assert codes(story.order) == ["OVERPAID"]


def test_a_tip_is_no_overpayment():  # M10
    story = created()
    story.read("Captured", tips=500)
    assert (story.order.paid, story.order.tips, codes(story.order)) == (gbp(1000), gbp(500), [])


def test_overpaid_that_a_person_settled_comes_back_when_another_sum_counts():
    story = a_tab(1200)
    story.resolve("mark_given_back")
    assert codes(story.order) == []
    story.read("Captured", paid=1200)
    assert codes(story.order) == []
    story.read("Captured", "pi_2", paid=100)
    assert codes(story.order) == ["OVERPAID"]


# -- keys and intents of others


def test_a_reused_key_is_refused_and_calls_a_person():  # D2
    story = created()
    decision = refuse_reused_key(MACHINES, story.order, at=AT, actor="dojo", cause="create_order:dojo-1")
    assert isinstance(decision.refusal, KeyReused)
    assert [(entry.kind, entry.trigger) for entry in decision.entries] == [("attention", "raise")]
    assert codes(decision.order) == ["KEY_REUSE"]
    assert (states(decision.order), decision.effects) == (states(story.order), ())


def test_a_key_reused_again_is_refused_again_and_journaled_once():  # D2
    story = created()
    first = refuse_reused_key(MACHINES, story.order, at=AT, actor="dojo", cause="create_order:dojo-1")
    again = refuse_reused_key(MACHINES, first.order, at=AT, actor="dojo", cause="create_order:dojo-1")
    assert isinstance(again.refusal, KeyReused)
    assert (again.entries, again.order) == ((), first.order)


def test_an_intent_that_pays_another_order_is_refused_and_both_are_named_once():
    story = created()
    first = refuse_taken_intent(MACHINES, story.order, "pi_1", at=AT, actor="dojo", cause="create_order:dojo-2")
    assert isinstance(first.refusal, Refused)
    assert [(item.code, item.payment_intent_id) for item in first.order.attention] == [("PAYMENT_CONFLICT", "pi_1")]
    assert "dojo-2" in first.order.attention[0].detail
    again = refuse_taken_intent(MACHINES, first.order, "pi_1", at=AT, actor="dojo", cause="create_order:dojo-2")
    assert again.entries == ()


# -- disputes: one payer's trouble is nobody else's


DISPUTES = {
    "AMOUNT_MISMATCH": {"paid": 390},
    "EXTERNAL_ID_MISMATCH": {"paid": 400, "external_id": "o2"},
    "CURRENCY_MISMATCH": {"paid": 400, "cashback": Money(0, "EUR")},
    "UNKNOWN_STATUS": {"paid": 400, "status": "Settled"},
}


@pytest.mark.parametrize("code", DISPUTES)
@pytest.mark.parametrize("dispute_first", [True, False], ids=["dispute first", "dispute last"])
def test_a_disputed_payment_never_holds_up_another(code, dispute_first):  # M1 M2 M3 M6
    story = created(600, 400)
    story.event("Captured", "pi_1")
    story.event("Captured", "pi_2")
    if dispute_first:
        story.read(**{"intent_id": "pi_2", **DISPUTES[code]})
    story.read("Captured", "pi_1", paid=600)
    if not dispute_first:
        story.read(**{"intent_id": "pi_2", **DISPUTES[code]})
    story.tell_dojo()
    assert (story.order.state, story.order.paid) == ("updated", gbp(600))
    assert [(item.code, item.payment_intent_id) for item in story.order.attention] == [(code, "pi_2")]


@pytest.mark.parametrize("code", DISPUTES)
def test_a_disputed_payment_counts_nothing_and_says_which_values_disagree(code):  # M1 M2 M3 M6
    story = created(400, total=400)
    story.event("Captured")
    story.read(**DISPUTES[code])
    assert (story.order.paid, story.order.reserved, codes(story.order)) == (gbp(0), 0, [code])
    assert "pi_1" in story.order.attention[0].detail
    assert story.order.payments["pi_1"].state == "captured"


def test_a_dispute_seen_again_is_attention_once():
    story = created()
    story.read("Captured", paid=990)
    decision = story.read("Captured", paid=990)
    assert [entry.kind for entry in decision.entries] == ["check"]
    assert codes(story.order) == ["AMOUNT_MISMATCH"]


def test_a_dispute_ends_with_the_read_that_agrees():
    story = created()
    story.event("Captured")
    story.read("Captured", paid=990)
    assert story.order.state == "captured"
    story.read("Captured", paid=1000)
    assert (states(story.order), codes(story.order), story.order.paid) == (("reconciled", ["reconciled"]), [], gbp(1000))


def test_a_dispute_ends_when_its_money_went_back():
    story = created()
    story.event("Captured")
    story.read("Captured", paid=990)
    story.read("Reversed", paid=990)
    assert (states(story.order), codes(story.order)) == (("reversed", ["released"]), [])


def test_a_dispute_about_words_takes_them_out_of_the_sum():
    story = created(captured=True)
    story.read("Captured", paid=990)
    assert (story.order.paid, codes(story.order)) == (gbp(0), ["AMOUNT_MISMATCH"])


@pytest.mark.parametrize("code", DISPUTES)
def test_a_read_that_differs_from_money_reconciled_before_leaves_it_counted_and_calls_a_person(code):  # M1 M2 M3 M6
    story = settled(400, total=400)
    story.read(**DISPUTES[code])
    assert (story.order.paid, story.order.state) == (gbp(400), "updated")
    assert code in codes(story.order)


def test_an_intent_that_cannot_be_found_is_held_and_calls_a_person():  # U6
    story = created()
    story.event("Captured")
    story.give_up(code="INTENT_NOT_FOUND")
    assert (states(story.order), story.order.paid) == (("captured", ["captured"]), gbp(0))
    assert [(item.code, item.payment_intent_id) for item in story.order.attention] == [("INTENT_NOT_FOUND", "pi_1")]


@pytest.mark.parametrize("flow", ["created", "tab"])
def test_money_reconciled_before_stays_counted_when_its_intent_cannot_be_found_any_more(flow):  # U6 I2
    story = settled(400) if flow == "created" else a_tab(400)
    before = story.order
    story.event("Refunded")
    story.give_up(code="INTENT_NOT_FOUND")
    assert (story.order.paid, story.order.state) == (gbp(400), before.state)
    assert codes(story.order) == ["INTENT_NOT_FOUND"]


def test_an_effect_that_was_given_up_calls_a_person_and_moves_nothing():  # U5
    story = settled()
    decision = story.give_up("order_updated", intent_id="")
    assert (codes(story.order), story.order.state, decision.effects) == (["OUTBOX_DEAD"], "updated", ())
    assert "order_updated" in story.order.attention[0].detail


def test_an_accepted_difference_counts_what_the_intent_says():
    story = created()
    story.event("Captured")
    story.read("Captured", paid=990)
    decision = story.resolve("accept_difference")
    assert triggers(decision) == [("payment", "reconcile"), ("order", "reconcile")]
    assert (story.order.paid, codes(story.order)) == (gbp(990), [])
    story.read("Captured", paid=990)
    assert (story.order.paid, codes(story.order)) == (gbp(990), [])


@pytest.mark.parametrize("other", [Money(1000, "EUR"), Money(1000, "gbp")], ids=["euro", "lower case"])
def test_accepting_another_link_never_counts_another_currency(other):  # M2
    story = created()
    story.event("Captured")
    story.read("Captured", external_id="o2", amount=other)
    story.resolve("accept_difference")
    assert story.order.paid == gbp(0)
    assert story.order.attention


def test_a_detached_payment_counts_nothing_and_lets_the_order_go_on():
    story = created(600, 400)
    story.read("Captured", "pi_1", paid=600)
    story.read("Captured", "pi_2", paid=390)
    story.resolve("detach_payment")
    assert (states(story.order), story.order.paid, codes(story.order)) == (("reconciled", ["reconciled", "released"]), gbp(600), [])


def test_a_difference_that_cannot_be_accepted_is_refused_and_stands():  # M2
    """A 200 would say that the money counts now; two things differ, and one of them is the currency."""
    story = created()
    story.event("Captured")
    story.read("Captured", external_id="o2", amount=Money(1000, "EUR"))
    before = codes(story.order)
    decision = story.resolve("accept_difference")
    assert isinstance(decision.refusal, Refused)
    assert (codes(story.order), story.order.paid) == (before, gbp(0))


def test_money_that_counts_is_not_detached():
    """Rule A9: a person takes an intent off an order only while it counts nothing there."""
    story = settled()
    story.read("Captured", paid=990)
    decision = story.resolve("detach_payment")
    assert isinstance(decision.refusal, Refused)
    assert (story.order.paid, codes(story.order)) == (gbp(1000), ["AMOUNT_MISMATCH"])


def test_detaching_a_payment_that_was_told_in_words_never_makes_it_count():
    story = created(captured=True)
    story.read("Captured", paid=990)
    assert story.order.paid == gbp(0)
    story.resolve("detach_payment")
    assert story.order.paid == gbp(0)


def test_a_difference_accepted_after_the_money_was_reconciled_adjusts_the_order():
    story = settled()
    story.read("Captured", paid=990)
    decision = story.resolve("accept_difference")
    assert triggers(decision) == [("order", "adjust")]
    assert (story.order.paid, codes(story.order)) == (gbp(990), [])


def told(act):
    """What a person finds after this act on an order of 4.00 that was settled."""

    def story():
        told = settled(400, total=400)
        act(told)
        return told

    return story


DOUBTS = {
    **{code: told(lambda s, how=how: s.read(**how)) for code, how in DISPUTES.items()},
    "INTENT_NOT_FOUND": told(lambda s: (s.event("Refunded"), s.give_up(code="INTENT_NOT_FOUND"))),
    "STATUS_LIE": told(lambda s: s.read("Authorized", paid=400)),
    "OUTBOX_DEAD": told(lambda s: s.give_up("order_updated", intent_id="")),
}
"""Code → a story in which it stands although the order's money counts."""


@pytest.mark.parametrize("code", DOUBTS)
def test_a_person_who_looked_can_settle_a_doubt_about_money_that_counts_and_leaves_it_as_it_is(code):
    story = DOUBTS[code]()
    before = story.order
    decision = story.resolve("acknowledge")
    assert (codes(before), decision.refusal, codes(story.order)) == ([code], None, [])
    assert (states(story.order), story.order.counted) == (states(before), before.counted)
    assert "acknowledge" in ATTENTION[code].next


def test_two_differences_about_money_that_counts_can_be_settled_too():
    story = settled(400, total=400)
    story.read("Captured", paid=390, external_id="o2")
    assert "acknowledge" in str(story.resolve("accept_difference").refusal)
    assert "acknowledge" in str(story.resolve("detach_payment").refusal)
    assert (story.resolve("acknowledge").refusal, codes(story.order), story.order.paid) == (None, [], gbp(400))


@pytest.mark.parametrize("code", DISPUTES)
def test_a_doubt_that_was_settled_is_raised_again_by_the_next_read_that_differs(code):
    story = DOUBTS[code]()
    story.resolve("acknowledge")
    assert not story.order.is_watched("pi_1")
    story.read(**DISPUTES[code])
    assert codes(story.order) == [code]


@pytest.mark.parametrize("code", DISPUTES)
def test_money_that_a_mismatch_holds_back_is_not_acknowledged_away(code):
    story = created(400, total=400)
    story.event("Captured")
    story.read(**DISPUTES[code])
    decision = story.resolve("acknowledge")
    assert "detach_payment" in str(decision.refusal)
    assert (codes(story.order), story.order.paid) == ([code], gbp(0))


def test_what_can_be_acknowledged_is_settled_beside_money_that_is_held_back():
    story = created(400, total=400)
    story.event("Captured")
    story.read(**DISPUTES["CURRENCY_MISMATCH"])
    story.give_up("order_updated", intent_id="")
    assert story.resolve("acknowledge").refusal is None
    assert codes(story.order) == ["CURRENCY_MISMATCH"]


def test_a_read_that_agrees_again_clears_the_attention_about_reconciled_money():
    story = settled()
    story.read("Captured", paid=990)
    assert codes(story.order) == ["AMOUNT_MISMATCH"]
    assert steps(story.read("Captured", paid=1000)) == []
    assert codes(story.order) == []


@pytest.mark.parametrize("status", ["Refunded", "Reversed"])
def test_reconciled_money_that_goes_back_ends_whatever_was_doubted_before(status):
    story = settled()
    story.read("Captured", paid=990)
    story.read(status, refunded=1000 if status == "Refunded" else 0)
    assert (story.order.is_final, story.order.paid, codes(story.order)) == (True, gbp(0), ["REFUND_AFTER_UPDATE"])


# -- final states


@pytest.mark.parametrize("final", sorted(FINAL_STATES))
def test_money_that_arrives_for_a_closed_order_is_recorded_moves_nothing_and_calls_a_person(final):  # R10 I5
    story = created()
    story.order = replace(story.order, state=final)
    story.event("Captured")
    story.read("Captured")
    assert (states(story.order), story.order.paid) == ((final, ["reconciled"]), gbp(1000))
    assert codes(story.order) == ["PAID_BUT_CLOSED"]
    assert final in story.order.attention[0].detail


@pytest.mark.parametrize("final", sorted(FINAL_STATES))
@pytest.mark.parametrize("status", ["Created", "Authorized", "Captured", "Refunded", "Reversed", "Canceled", "Settled"])
def test_no_message_moves_an_order_out_of_a_final_state(final, status):  # R10 I5
    for story in (created(), settled(), created(captured=True)):
        story.order = replace(story.order, state=final)
        story.event(status)
        story.read(status, refunded=1000 if status == "Refunded" else 0)
        story.tell_dojo()
        story.cancel()
        story.refuse()
        assert story.order.state == final
        moved = [entry for act in story.acts for entry in act.entries if entry.machine_name == "order" and entry.from_state in FINAL_STATES]
        assert moved == []


@pytest.mark.parametrize("final", PAYMENT.final.split())
def test_no_message_moves_a_payment_out_of_a_final_state(final):  # I5
    for status in ("Created", "Authorized", "Captured", "Refunded", "Reversed", "Canceled", "Settled"):
        story = created()
        story.order = replace(story.order, payments={"pi_1": replace(story.order.payments["pi_1"], state=final, fate="expired")})
        story.event(status)
        story.read(status)
        assert story.order.payments["pi_1"].state == final


def test_a_capture_read_of_a_payment_that_had_ended_calls_a_person():  # I5 I20
    story = created()
    story.read("Reversed")
    story.read("Captured")
    assert (states(story.order), codes(story.order)) == (("reversed", ["released"]), ["STATUS_LIE"])


def test_money_on_a_closed_order_is_no_attention_any_more_once_it_went_back():
    story = created()
    story.cancel()
    story.read("Captured")
    assert codes(story.order) == ["PAID_BUT_CLOSED"]
    story.read("Refunded", refunded=1000)
    assert (states(story.order), codes(story.order)) == (("cancelled", ["refunded"]), [])


def test_a_cancelled_order_is_watched_until_dojo_gave_its_hold_back():  # R7
    story = created()
    decision = story.cancel()
    assert (story.order.state, codes(story.order)) == ("cancelled", ["CANCEL_PENDING_REVERSAL"])
    assert ReadIntent("pi_1") in decision.effects
    story.read("Authorized")
    assert codes(story.order) == ["CANCEL_PENDING_REVERSAL"]
    story.read("Reversed")
    assert (story.order.state, codes(story.order)) == ("cancelled", [])


@pytest.mark.parametrize("how", ["claimed", "in words", "reconciled", "updated"])
def test_an_order_is_not_cancelled_once_money_was_taken(how):  # R8
    story = created(captured=how == "in words")
    if how == "claimed":
        story.event("Captured")
    elif how != "in words":
        story.read("Captured")
    if how == "updated":
        story.tell_dojo()
    before = states(story.order)
    decision = story.cancel()
    assert isinstance(decision.refusal, Refused)
    assert states(story.order) == before
    assert [(entry.kind, entry.trigger) for entry in decision.entries] == [("system", "refuse")]


def test_an_order_that_the_till_refuses_after_payment_keeps_its_money_and_calls_a_person():
    story = settled()
    story.refuse()
    assert (story.order.state, story.order.status, story.order.paid) == ("updated", "Failed", gbp(1000))
    assert codes(story.order) == ["PAID_BUT_REFUSED"]


# -- what is asked for


def a_long_story():
    story = created(600, 400)
    for intent_id in ("pi_1", "pi_2", "pi_1"):
        story.event("Captured", intent_id)
    story.read("Captured", "pi_1", paid=600)
    story.read("Captured", "pi_2", paid=390)
    story.read("Captured", "pi_2", paid=400)
    story.tell_dojo()
    story.report("Preparing")
    story.read("Captured", "pi_2", paid=400, refunded=100)
    story.tell_dojo()
    story.read("Refunded", "pi_1", paid=600, refunded=600)
    story.read("Refunded", "pi_2", paid=400, refunded=400)
    return story


def test_no_decision_asks_for_the_same_effect_twice():
    for act in a_long_story().acts:
        assert len(set(act.effects)) == len(act.effects)


def test_a_row_and_a_visible_change_together_ask_dojo_once():
    story = created()
    decision = story.read("Captured")
    assert [effect for effect in decision.effects if effect == OrderUpdated()] == [OrderUpdated()]


def the_unread_tab(paid=1000):
    return a_tab(paid, status="Created")


def preparing():
    story = settled()
    story.report("Preparing")
    return story


def locked():
    story = created()
    story.lock()
    return story


NEWS = [
    # what happens, the story until then, the act, whether Dojo is told, whether the till is
    ("a bill is opened at the till", Story, lambda s: s.open(), True, False),
    ("Dojo creates an order", Story, lambda s: s.create(1000), False, True),
    ("Dojo repeats it with another payment", lambda: created(600), lambda s: s.create(600, 400), False, True),
    ("a claim of what is reserved already", created, lambda s: s.event("Captured"), False, False),
    ("a hold for the whole bill", the_unread_tab, lambda s: s.event("Authorized"), True, True),
    ("a hold for a part of the bill", lambda: the_unread_tab(400), lambda s: s.event("Authorized"), False, False),
    ("a word that says nothing new", settled, lambda s: s.event("Captured"), False, False),
    ("money is reconciled", created, lambda s: s.read("Captured"), True, True),
    ("the same read again", settled, lambda s: s.read("Captured"), False, False),
    ("a tip appears", settled, lambda s: s.read("Captured", tips=50), True, True),
    ("a part goes back", settled, lambda s: s.read("Captured", refunded=1), True, True),
    ("a read that calls a person alone", settled, lambda s: s.read("Authorized"), False, False),
    ("a dispute that frees the bill", created, lambda s: s.read("Captured", paid=990), True, True),
    ("an intent that cannot be found", created, lambda s: s.give_up(code="INTENT_NOT_FOUND"), True, True),
    ("a read that was given up", created, lambda s: s.give_up(), False, False),
    ("Dojo took the news", settled, lambda s: s.tell_dojo(), False, False),
    ("the kitchen goes on", settled, lambda s: s.report("Preparing"), True, False),
    ("the kitchen repeats itself", preparing, lambda s: s.report("Preparing"), False, False),
    ("an illegal jump of the kitchen", settled, lambda s: s.report("Submitted"), False, False),
    ("the bill is amended", settled, lambda s: s.amend(a_bill(1000, table="tbl_13")), True, False),
    ("the bill is amended to what it is", settled, lambda s: s.amend(a_bill(1000)), False, False),
    ("Dojo locks", created, lambda s: s.lock(), False, False),
    ("Dojo unlocks", locked, lambda s: s.unlock(), False, False),
    ("Dojo cancels, and contract 8.7 wants the news", created, lambda s: s.cancel(), True, True),
    ("Dojo cancels too late", settled, lambda s: s.cancel(), False, False),
    ("the till cancels", created, lambda s: s.report("Canceled"), True, False),
    ("the till refuses", created, lambda s: s.refuse(), True, False),
]


@pytest.mark.parametrize(("begin", "act", "told"), [pytest.param(*row[1:4], id=row[0]) for row in NEWS])
def test_dojo_is_told_when_what_it_reads_changed_and_it_did_not_see_it(begin, act, told):  # I9
    assert (OrderUpdated() in act(begin()).effects) is told


@pytest.mark.parametrize(("begin", "act", "told"), [pytest.param(*row[1:3], row[4], id=row[0]) for row in NEWS])
def test_the_till_is_told_when_the_order_changed_and_it_did_not_change_it(begin, act, told):
    assert (TellTill() in act(begin()).effects) is told


def test_the_till_is_told_of_money_and_of_ends():
    story = created()
    assert TellTill() not in story.event("Captured").effects
    assert TellTill() in story.read("Captured").effects
    assert TellTill() not in story.tell_dojo().effects
    assert TellTill() in story.read("Refunded", refunded=1000).effects


# -- the entries themselves


def test_entries_are_numbered_without_gaps_and_each_step_starts_where_the_last_one_ended():  # I3
    entries = [entry for act in a_long_story().acts for entry in act.entries]
    assert [entry.order_seq for entry in entries] == list(range(1, len(entries) + 1))
    last = {}
    for entry in entries:
        if entry.kind == "transition":
            key = (entry.machine, entry.payment_intent_id)
            assert entry.from_state == last.get(key, "")
            last[key] = entry.to_state


def test_every_step_is_a_declared_row_under_the_hash_in_force():  # I4
    rows = {
        (MACHINES[declaration.name].ident, row.when, "" if source == "-" else source, row.target)
        for declaration in (ORDER, PAYMENT, MACHINES["fulfilment"].declaration)
        for row in declaration.transitions
        for source in row.source.split()
    }
    taken = {
        (entry.machine, entry.trigger, entry.from_state, entry.to_state)
        for act in a_long_story().acts
        for entry in act.entries
        if entry.kind == "transition"
    }
    assert taken <= rows


def test_the_entries_alone_rebuild_the_order():  # I6
    story = a_long_story()
    order = None
    for entry in (entry for act in story.acts for entry in act.entries):
        order = evolve(order, entry)
    assert order == story.order


def test_attention_is_raised_and_never_cleared_in_the_same_decision():
    for story in (a_long_story(), cleared_at_once()):
        for act in story.acts:
            raised = [(e.body["code"], e.payment_intent_id) for e in act.entries if e.kind == "attention" and e.trigger == "raise"]
            cleared = [(e.body["code"], e.payment_intent_id) for e in act.entries if e.kind == "attention" and e.trigger == "clear"]
            assert not set(raised) & set(cleared)


def cleared_at_once():
    story = settled()
    story.read("Captured", paid=990)
    return story


def test_standing_attention_is_cleared_by_itself_and_other_attention_is_not():
    story = settled()
    story.give_up("order_updated", intent_id="")
    story.read("Captured", "pi_2", paid=1000)
    assert codes(story.order) == ["OUTBOX_DEAD", "OVERPAID"]
    story.read("Refunded", "pi_2", paid=1000, refunded=1000)
    assert codes(story.order) == ["OUTBOX_DEAD"]
    assert "OUTBOX_DEAD" not in STANDING
