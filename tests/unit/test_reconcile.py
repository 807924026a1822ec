"""A read payment intent beside an order, as tables: what agrees, with which figures, and which difference is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import a_bill, a_capture, an_intent, gbp
from workflow.case import MISMATCHES
from workflow.lifecycle import PAYMENT
from workflow.money import Money
from workflow.order import Order, Payment
from workflow.reconcile import MESSAGES, Verdict, figures, judge

CYRILLIC = "GB\N{CYRILLIC CAPITAL LETTER ER}"
LIFETIME = ("2026-03-14T12:00:00Z", "2026-03-21T12:00:00Z")


def an_order(**changes):
    """An order of 10.00 that Dojo knows as dojo-o1."""
    return replace(Order(id="o1", flow="order_and_pay", bill=a_bill(1000), dojo_order_id="dojo-o1", state="authorised"), **changes)


def a_payment(told_paid=None, **changes):
    return Payment(intent_id="pi_1", state="authorised", told_paid=told_paid, **changes)


def manual(*captures, **changes):
    """An intent of a Manual capture."""
    return an_intent(capture_mode="Manual", captures=captures, **changes)


# -- the status (contract 7.2)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("Created", "read_created"),
        ("Authorized", "read_authorised"),
        ("Captured", "read_captured"),
        ("Reversed", "read_reversed"),
        ("Canceled", "read_cancelled"),
    ],
)
def test_each_published_status_is_a_message_of_its_own(status, message):
    verdict = judge(an_intent(status=status), an_order(), a_payment(1000))
    assert (verdict.message, verdict.mismatch) == (message, "")


def test_a_refunded_intent_is_a_message_with_the_sum_that_went_back():
    verdict = judge(an_intent(status="Refunded", refunded=1000), an_order(), a_payment(1000))
    assert verdict == Verdict(message="read_refunded", paid=1000, tips=0, refunded=1000, fate="refunded")


def test_a_part_refund_is_seen_in_its_sum_though_the_status_stays_captured():
    verdict = judge(an_intent(status="Captured", refunded=250), an_order(), a_payment(1000))
    assert verdict == Verdict(message="read_refunded", paid=1000, tips=0, refunded=250, fate="refunded")


@pytest.mark.parametrize("status", ["Settled", "captured", "CAPTURED", "Cancelled", "Authorised", "", " Captured", "x" * 10_000])
def test_a_status_that_dojo_does_not_publish_is_held_and_named(status):  # M6
    verdict = judge(an_intent(status=status), an_order(), a_payment(1000))
    assert (verdict.message, verdict.mismatch, verdict.paid) == ("read_disagrees", "UNKNOWN_STATUS", None)
    assert repr(status[:40]) in verdict.detail
    assert len(verdict.detail) < 200


def test_every_message_of_a_verdict_is_declared_for_payments():
    declared = {message.name for message in PAYMENT.messages}
    assert {*MESSAGES.values(), "read_disagrees"} <= declared


# -- the link to the order (contract 7.4)


@pytest.mark.parametrize(
    ("why", "links", "agrees"),
    [
        ("no link at all", {}, True),
        ("our id", {"external_id": "o1"}, True),
        ("Dojo's id as externalId", {"external_id": "dojo-o1"}, True),
        ("Dojo's id in its own place", {"dojo_order_id": "dojo-o1"}, True),
        ("both ids", {"external_id": "o1", "dojo_order_id": "dojo-o1"}, True),
        ("another order's id", {"external_id": "o2"}, False),
        ("another order of Dojo's", {"dojo_order_id": "dojo-o2"}, False),
        ("our id, another order of Dojo's", {"external_id": "o1", "dojo_order_id": "dojo-o2"}, False),
        ("another order's id, our order of Dojo's", {"external_id": "o2", "dojo_order_id": "dojo-o1"}, False),
        ("our id in other letters", {"external_id": "O1"}, False),
        ("our id with a space", {"external_id": "o1 "}, False),
        ("an empty id", {"external_id": ""}, False),
    ],
)
def test_a_null_external_id_agrees_and_any_other_is_this_orders(why, links, agrees):  # M3
    verdict = judge(an_intent(**links), an_order(), a_payment(1000))
    assert verdict.mismatch == ("" if agrees else "EXTERNAL_ID_MISMATCH"), why


@pytest.mark.parametrize(
    ("why", "links", "agrees"),
    [
        ("no link at all", {}, True),
        ("our id", {"external_id": "o1"}, True),
        ("an id that Dojo keeps for itself", {"dojo_order_id": "dojo-7"}, True),
        ("our id and one that Dojo keeps for itself", {"external_id": "o1", "dojo_order_id": "dojo-7"}, True),
        ("another order's id", {"external_id": "o2"}, False),
        ("an unknown id", {"external_id": "dojo-7"}, False),
    ],
)
def test_a_bill_opened_at_the_till_has_no_dojo_order_id_to_differ_from(why, links, agrees):  # M3
    verdict = judge(an_intent(**links), an_order(dojo_order_id=None), a_payment())
    assert verdict.mismatch == ("" if agrees else "EXTERNAL_ID_MISMATCH"), why


@pytest.mark.parametrize(
    ("others", "agrees"),
    [(frozenset(), True), (frozenset({"o1"}), True), (frozenset({"o2"}), False), (frozenset({"o1", "o2"}), False)],
    ids=["nobody else", "this order again", "a second order", "this order and a second"],
)
def test_an_intent_that_points_at_two_orders_differs(others, agrees):  # M3
    verdict = judge(an_intent(external_id="o1"), an_order(), a_payment(1000), others)
    assert verdict.mismatch == ("" if agrees else "EXTERNAL_ID_MISMATCH")
    assert agrees or ("o1" in verdict.detail and "o2" in verdict.detail)


def test_a_long_foreign_id_is_cut_in_what_is_kept():
    verdict = judge(an_intent(external_id="x" * 10_000), an_order(), a_payment(1000))
    assert verdict.mismatch == "EXTERNAL_ID_MISMATCH"
    assert len(verdict.detail) < 200


def test_a_long_foreign_order_of_dojos_is_cut_in_what_is_kept():
    verdict = judge(an_intent(dojo_order_id="x" * 10_000), an_order(), a_payment(1000))
    assert verdict.mismatch == "EXTERNAL_ID_MISMATCH"
    assert len(verdict.detail) < 300


# -- the currency (contract 7.5, 3)


@pytest.mark.parametrize("part", ["amount", "service_charge", "tips", "cashback", "total"])
@pytest.mark.parametrize("currency", ["EUR", "gbp", "GBP ", "", CYRILLIC], ids=["euro", "lower", "space", "none", "cyrillic"])
def test_any_part_in_another_currency_differs(part, currency):  # M2
    wrong = {part: Money(1000 if part in ("amount", "total") else 0, currency)}
    verdict = judge(replace(an_intent(), **wrong), an_order(), a_payment(1000))
    assert (verdict.message, verdict.mismatch) == ("read_disagrees", "CURRENCY_MISMATCH")
    assert repr(currency) in verdict.detail
    assert "GBP" in verdict.detail


def test_an_order_in_euro_wants_euro():
    bill = replace_total(Money(1000, "EUR"))
    assert judge(an_intent(), an_order(bill=bill), a_payment(1000)).mismatch == "CURRENCY_MISMATCH"
    in_euro = replace(an_intent(amount=Money(1000, "EUR"), total=None), tips=None)
    assert judge(in_euro, an_order(bill=bill), a_payment(1000)).mismatch == ""


def replace_total(total):
    bill = a_bill(1000)
    return type(bill)(details=bill.details, items=bill.items, total_amount=total)


# -- the sums (contract 7.3)


@pytest.mark.parametrize(
    ("total", "agrees"),
    [
        (None, True),
        (1000, True),
        (1120, True),
        (1170, True),
        (1670, True),
        (1050, False),
        (1500, False),
        (999, False),
        (1001, False),
        (1121, False),
        (1669, False),
        (0, False),
        (-1000, False),
    ],
)
def test_a_total_is_plausible_as_the_amount_alone_or_with_service_with_tips_and_with_cashback(total, agrees):
    whole = None if total is None else gbp(total)
    intent = an_intent(tips=50, service_charge=gbp(120), cashback=gbp(500), total=whole)
    verdict = judge(intent, an_order(), a_payment(1120))
    assert verdict.mismatch == ("" if agrees else "AMOUNT_MISMATCH")


@pytest.mark.parametrize("fixture", ["inside the total", "outside the amount"])
def test_a_service_charge_counts_as_paid_wherever_the_total_puts_it(fixture):  # M11
    total = {"inside the total": 1120, "outside the amount": 1000}[fixture]
    intent = an_intent(service_charge=gbp(120), total=gbp(total))
    assert judge(intent, an_order(), a_payment(1120)) == Verdict(message="read_captured", paid=1120, tips=0)


def test_an_intent_without_an_amount_differs():
    assert judge(an_intent(amount=None, total=None), an_order(), a_payment()).mismatch == "AMOUNT_MISMATCH"


@pytest.mark.parametrize(
    ("why", "asked", "service", "declared", "agrees"),
    [
        ("as declared", 1000, None, 1000, True),
        ("nobody declared anything", 1000, None, None, True),
        ("service is part of what was declared", 900, 100, 1000, True),
        ("a penny more", 1001, None, 1000, False),
        ("a penny less", 999, None, 1000, False),
        ("service on top of what was declared", 1000, 100, 1000, False),
        ("nothing", 0, None, 0, True),
        ("something where nothing was declared", 1, None, 0, False),
    ],
)
def test_what_was_declared_is_what_the_intent_asks_for_with_service(why, asked, service, declared, agrees):  # M1
    intent = an_intent(paid=asked, service_charge=service and gbp(service), total=None)
    verdict = judge(intent, an_order(), a_payment(declared))
    assert verdict.mismatch == ("" if agrees else "AMOUNT_MISMATCH"), why


@pytest.mark.parametrize("status", ["Created", "Authorized", "Captured", "Refunded"])
def test_a_difference_is_seen_before_and_after_the_money_was_taken(status):  # M1
    verdict = judge(an_intent(status=status, paid=990), an_order(), a_payment(1000))
    assert (verdict.message, verdict.mismatch) == ("read_disagrees", "AMOUNT_MISMATCH")
    assert "GBP 9.90" in verdict.detail
    assert "GBP 10.00" in verdict.detail


def test_a_tip_that_was_told_otherwise_is_no_difference():  # M10
    verdict = judge(an_intent(tips=150), an_order(), a_payment(1000, told_tips=50))
    assert verdict == Verdict(message="read_captured", paid=1000, tips=150)


def test_a_payment_larger_than_the_bill_agrees_with_its_own_intent():  # M9
    assert judge(an_intent(paid=2000), an_order(), a_payment(2000)) == Verdict(message="read_captured", paid=2000, tips=0)


# -- the figures: what was asked for, or what was captured


@pytest.mark.parametrize(
    ("why", "intent", "paid_and_tips"),
    [
        ("an Auto intent", an_intent(), (1000, 0)),
        ("with a tip", an_intent(tips=150), (1000, 150)),
        ("with service", an_intent(service_charge=gbp(120), tips=150, total=None), (1120, 150)),
        ("with cashback, which is never on the order", an_intent(cashback=gbp(500), total=None), (1000, 0)),
        ("without any tip field", replace(an_intent(), tips=None), (1000, 0)),
        ("a Manual intent that nobody captured yet", manual(tips=150), (1000, 150)),
        ("captured in full", manual(a_capture(1000)), (1000, 0)),
        ("captured in part", manual(a_capture(600)), (600, 0)),
        ("captured in two parts", manual(a_capture(600), a_capture(250)), (850, 0)),
        ("one capture declined", manual(a_capture(600), a_capture(400, status="Declined")), (600, 0)),
        ("one capture failed", manual(a_capture(600), a_capture(400, status="Failed")), (600, 0)),
        ("one capture under way", manual(a_capture(600), a_capture(400, status="Created")), (600, 0)),
        ("a capture of an unknown status", manual(a_capture(600), a_capture(400, status="successful")), (600, 0)),
        ("captures told their tips", manual(a_capture(600, tips=30), a_capture(400, tips=20), tips=99), (1000, 50)),
        ("only one capture told its tip", manual(a_capture(600, tips=30), a_capture(400), tips=99), (1000, 30)),
        ("a capture told that there was no tip", manual(a_capture(1000, tips=0), tips=99), (1000, 0)),
        ("no capture told a tip: the intent's own", manual(a_capture(600), tips=99), (600, 99)),
        ("the declined capture alone told a tip", manual(a_capture(600), a_capture(400, tips=50, status="Declined"), tips=99), (600, 99)),
        ("every capture was declined", manual(a_capture(1000, status="Declined")), (0, 0)),
        ("every capture was declined, with a tip asked for", manual(a_capture(1000, status="Declined"), tips=99), (0, 0)),
        ("an Auto intent ignores captures", an_intent(captures=(a_capture(600),)), (1000, 0)),
    ],
)  # fmt: skip
def test_figures_are_what_was_asked_for_or_the_successful_captures(why, intent, paid_and_tips):  # M7
    assert figures(intent) == paid_and_tips, why


def test_a_part_capture_agrees_with_what_was_declared_and_brings_the_part():  # M7
    verdict = judge(manual(a_capture(600)), an_order(), a_payment(1000))
    assert verdict == Verdict(message="read_captured", paid=600, asked=1000, tips=0)


@pytest.mark.parametrize(
    "intent",
    [manual(a_capture(1000, status="Declined")), manual(a_capture(120, status="Failed"), paid=0, service_charge=gbp(120))],
    ids=["an amount", "service alone"],
)
def test_an_intent_that_says_captured_and_took_nothing_differs(intent):  # M7
    verdict = judge(intent, an_order(), a_payment())
    assert (verdict.message, verdict.mismatch) == ("read_disagrees", "AMOUNT_MISMATCH")
    assert judge(replace(intent, status="Authorized"), an_order(), a_payment()).mismatch == ""


def test_a_part_capture_with_a_part_refund_brings_both_figures():  # M7
    verdict = judge(manual(a_capture(600), refunded=100), an_order(), a_payment(1000))
    assert verdict == Verdict(message="read_refunded", paid=600, asked=1000, tips=0, refunded=100, fate="refunded")


# -- what a person may accept


@pytest.mark.parametrize(
    ("code", "intent"),
    [
        ("AMOUNT_MISMATCH", an_intent(paid=990, tips=5, refunded=3)),
        ("EXTERNAL_ID_MISMATCH", an_intent(paid=1000, tips=5, refunded=3, external_id="o2")),
    ],
)
def test_a_difference_keeps_the_intents_own_figures(code, intent):
    verdict = judge(intent, an_order(), a_payment(1000))
    assert (verdict.mismatch, verdict.differing) == (code, (intent.amount.value, 5, 3))
    assert (verdict.paid, verdict.tips, verdict.refunded) == (None, 0, 0)


@pytest.mark.parametrize(
    "intent",
    [an_intent(paid=1000, cashback=Money(0, "EUR")), an_intent(paid=990, external_id="o2")],
    ids=["another currency", "two differences at once"],
)
def test_what_no_person_may_accept_at_once_has_no_figures_to_accept(intent):
    verdict = judge(intent, an_order(), a_payment(1000))
    assert verdict.mismatch
    assert verdict.differing is None


def accepting(intent, order):
    """A payment of 10.00 of which a person has accepted how this intent differs."""
    return a_payment(1000, accepted=(judge(intent, order, a_payment(1000)).detail,))


def test_an_accepted_difference_agrees_from_then_on():
    intent = an_intent(paid=990)
    assert judge(intent, an_order(), accepting(intent, an_order())) == Verdict(message="read_captured", paid=990, tips=0)


def test_another_difference_of_the_same_kind_is_not_accepted_with_it():
    assert judge(an_intent(paid=980), an_order(), accepting(an_intent(paid=990), an_order())).mismatch == "AMOUNT_MISMATCH"
    assert (
        judge(an_intent(external_id="o3"), an_order(), accepting(an_intent(external_id="o2"), an_order())).mismatch
        == "EXTERNAL_ID_MISMATCH"
    )


def test_a_difference_of_another_kind_is_not_accepted_with_it():
    verdict = judge(an_intent(paid=990, external_id="o2"), an_order(), accepting(an_intent(paid=990), an_order()))
    assert verdict.mismatch == "EXTERNAL_ID_MISMATCH"


@pytest.mark.parametrize(
    ("intent", "code"),
    [
        (an_intent(paid=990, external_id="o2"), "AMOUNT_MISMATCH"),
        (an_intent(external_id="o2", total=gbp(1)), "AMOUNT_MISMATCH"),
        (an_intent(external_id="o2", amount=Money(1000, "EUR")), "CURRENCY_MISMATCH"),
    ],
    ids=["declared sum", "total", "currency"],
)
def test_a_difference_of_another_kind_is_seen_behind_an_accepted_one(intent, code):
    """The link was accepted; what else differs was not."""
    assert judge(intent, an_order(), accepting(an_intent(external_id="o2"), an_order())).mismatch == code


def test_only_declared_codes_are_given():
    intents = [
        an_intent(status="Settled"),
        an_intent(external_id="o2"),
        an_intent(amount=Money(1000, "EUR")),
        an_intent(paid=1),
        an_intent(amount=None),
    ]
    assert {judge(intent, an_order(), a_payment(1000)).mismatch for intent in intents} <= set(MISMATCHES)


# -- how a payment that is gone ended (contract 7.2, rule A4)


@pytest.mark.parametrize(
    ("why", "intent", "fate"),
    [
        ("given up before payment", an_intent(status="Canceled"), "expired"),
        ("given up, by hand", manual(status="Canceled"), "expired"),
        ("undone within the hour", manual(status="Reversed"), "reversed"),
        ("run out after seven days", manual(status="Reversed", created_at=LIFETIME[0], updated_at=LIFETIME[1]), "expired"),
        ("a second too early", manual(status="Reversed", created_at=LIFETIME[0], updated_at="2026-03-21T11:59:59Z"), "reversed"),
        ("long after", manual(status="Reversed", created_at=LIFETIME[0], updated_at="2026-05-21T11:59:59Z"), "expired"),
        ("Auto never runs out", an_intent(status="Reversed", created_at=LIFETIME[0], updated_at=LIFETIME[1]), "reversed"),
        ("other zones", manual(status="Reversed", created_at="2026-03-14T13:00:00+01:00", updated_at=LIFETIME[1]), "expired"),
        ("seven decimals", manual(status="Reversed", created_at="2026-03-14T12:00:00.1234567Z", updated_at=LIFETIME[1]), "reversed"),
        ("no times", manual(status="Reversed", created_at=None, updated_at=None), "reversed"),
        ("one time", manual(status="Reversed", created_at=LIFETIME[0], updated_at=None), "reversed"),
        ("no time at all", manual(status="Reversed", created_at="yesterday", updated_at=LIFETIME[1]), "reversed"),
        ("no zone", manual(status="Reversed", created_at="2026-03-14T12:00:00", updated_at=LIFETIME[1]), "reversed"),
        ("backwards", manual(status="Reversed", created_at=LIFETIME[1], updated_at=LIFETIME[0]), "reversed"),
        ("first year", manual(status="Reversed", created_at="0001-01-01T00:00:00+14:00", updated_at=LIFETIME[1]), "expired"),
    ],
)  # fmt: skip
def test_a_payment_that_is_gone_expired_or_was_reversed(why, intent, fate):  # R4 X7
    assert judge(intent, an_order(), a_payment(1000)).fate == fate, why


@pytest.mark.parametrize("status", ["Reversed", "Canceled"])
def test_money_that_is_gone_is_not_compared(status):
    """What counts nothing cannot differ: a released payment must not wait for a person."""
    odd = an_intent(status=status, paid=1, external_id="o2", total=Money(7, "EUR"))
    verdict = judge(odd, an_order(), a_payment(1000))
    assert (verdict.mismatch, verdict.paid, verdict.differing) == ("", None, None)


def test_judging_changes_neither_order_nor_payment_nor_intent():
    intent, order, payment = an_intent(paid=990), an_order(), a_payment(1000)
    before = (repr(intent), repr(order), repr(payment))
    judge(intent, order, payment)
    assert (repr(intent), repr(order), repr(payment)) == before
