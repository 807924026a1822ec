"""Every guard of the declaration, true and false, as a table of orders and payments."""

from __future__ import annotations

import pytest

from tests.builders import a_payment, an_order, told
from workflow.guards import GUARDS, Subject


def ended(state, fate):
    return a_payment(state, fate=fate)


DISPUTED = {"mismatch": "AMOUNT_MISMATCH"}
SETTLED = (("pi_1", 1000, 0),)

OF_AN_ORDER = [
    # guard, what is so, the order, the answer
    ("always", "nothing at all", an_order(), True),
    ("held", "one is authorised", an_order(a_payment("authorised")), True),
    ("held", "one is captured", an_order(a_payment("captured")), True),
    ("held", "the second of two is authorised", an_order(a_payment(), a_payment("authorised")), True),
    ("held", "there is no payment", an_order(), False),
    ("held", "the only one is disputed", an_order(a_payment("authorised", **DISPUTED)), False),
    ("held", "one is announced", an_order(a_payment("announced")), False),
    ("held", "one is reconciled", an_order(a_payment("reconciled")), False),
    ("held", "one is refused", an_order(a_payment("refused")), False),
    ("held", "all ended", an_order(ended("released", "expired"), ended("reversed", "reversed"), ended("refunded", "refunded")), False),
    ("taken", "one is captured", an_order(a_payment("captured")), True),
    ("taken", "one is captured in words", an_order(told("captured")), True),
    ("taken", "one is only authorised", an_order(a_payment("authorised")), False),
    ("taken", "the captured one is disputed", an_order(a_payment("captured", **DISPUTED)), False),
    ("taken", "all are reconciled", an_order(a_payment("reconciled")), False),
    ("claim_was_denied", "one is authorised and nothing counts", an_order(a_payment("authorised")), True),
    ("claim_was_denied", "one is still taken", an_order(a_payment("authorised"), a_payment("captured")), False),
    ("claim_was_denied", "something counts", an_order(a_payment("authorised"), a_payment("reconciled", paid=400)), False),
    ("claim_was_denied", "nothing is held", an_order(a_payment("announced")), False),
    ("everything_was_read", "all were read", an_order(a_payment(paid=600), a_payment(paid=400)), True),
    ("everything_was_read", "a word about an ended one waits", an_order(a_payment(), ended("released", "expired")), True),
    ("everything_was_read", "a disputed one waits", an_order(a_payment(), a_payment("captured", unread=True, **DISPUTED)), True),
    ("everything_was_read", "a word about an announced one waits", an_order(a_payment(), a_payment("announced", unread=True)), True),
    ("everything_was_read", "a word about a counted one waits", an_order(a_payment(unread=True)), False),
    ("everything_was_read", "a word about a held one waits", an_order(a_payment(), a_payment("authorised", unread=True)), False),
    ("everything_was_read", "one is taken", an_order(a_payment(), a_payment("captured")), False),
    ("everything_was_read", "nothing counts", an_order(a_payment("authorised")), False),
    ("everything_was_read", "what would count is disputed", an_order(told("captured", **DISPUTED)), False),
    ("dojo_knows", "it took the entry of the money", an_order(money_seq=7, told_seq=7), True),
    ("dojo_knows", "it took a later entry", an_order(money_seq=7, told_seq=9), True),
    ("dojo_knows", "it took an earlier entry", an_order(money_seq=7, told_seq=6), False),
    ("open_again", "a till's bill has no payment", an_order(flow="pay_only"), True),
    ("open_again", "a till's payment was released", an_order(ended("released", "expired"), flow="pay_only"), True),
    ("open_again", "a tab's payment was reversed", an_order(ended("reversed", "reversed"), flow="pay_later"), True),
    ("open_again", "its only intent is unpaid", an_order(a_payment("announced")), True),
    ("open_again", "its only intents are unpaid or refused", an_order(a_payment("announced"), a_payment("refused")), True),
    ("open_again", "one is held", an_order(a_payment("authorised"), flow="pay_only"), False),
    ("open_again", "something counts", an_order(a_payment(), flow="pay_only"), False),
    ("open_again", "it was paid in full once", an_order(ended("refunded", "refunded"), flow="pay_only", paid_in_full_once=True), False),
    ("open_again", "the kitchen has ended", an_order(ended("released", "expired"), flow="pay_only", status="Failed"), False),
    ("open_again", "an order paid with its creation lost its payment", an_order(ended("released", "expired")), False),
    ("open_again", "an order paid with its creation has no payment", an_order(), False),
    ("open_again", "its only intent was refused", an_order(a_payment("refused")), False),
    ("rest_is_settled", "one counts and none is held", an_order(a_payment(), ended("released", "expired")), True),
    ("rest_is_settled", "one counts and a disputed one is held", an_order(a_payment(), a_payment("authorised", **DISPUTED)), True),
    ("rest_is_settled", "one counts and one is held", an_order(a_payment(), a_payment("authorised")), False),
    ("rest_is_settled", "none counts", an_order(ended("released", "expired")), False),
    ("counted_otherwise", "a part went back", an_order(a_payment(refunded=300), settled=SETTLED), True),
    ("counted_otherwise", "a second one counts", an_order(a_payment(), a_payment(intent_id="pi_2", paid=400), settled=SETTLED), True),
    ("counted_otherwise", "the tip changed", an_order(a_payment(tips=50), settled=SETTLED), True),
    ("counted_otherwise", "nothing changed", an_order(a_payment(), settled=SETTLED), False),
    ("counted_otherwise", "nothing is left", an_order(a_payment("refunded", fate="refunded"), settled=SETTLED), False),
    ("ended_by_refund", "the only one was refunded", an_order(ended("refunded", "refunded")), True),
    ("ended_by_refund", "refund outweighs reversal", an_order(ended("reversed", "reversed"), ended("refunded", "refunded")), True),
    ("ended_by_refund", "an unpaid intent is left", an_order(ended("refunded", "refunded"), a_payment("announced")), True),
    ("ended_by_refund", "none was refunded", an_order(ended("reversed", "reversed")), False),
    ("ended_by_refund", "another one counts", an_order(ended("refunded", "refunded"), a_payment(paid=400)), False),
    ("ended_by_refund", "another one is held", an_order(ended("refunded", "refunded"), a_payment("authorised")), False),
    ("ended_by_refund", "another one is disputed", an_order(ended("refunded", "refunded"), a_payment("authorised", **DISPUTED)), False),
    ("ended_by_refund", "the bill is open to another", an_order(ended("refunded", "refunded"), flow="pay_only"), False),
    ("ended_by_refund", "the bill was paid once", an_order(ended("refunded", "refunded"), flow="pay_only", paid_in_full_once=True), True),
    ("ended_by_reversal", "the only one was reversed", an_order(ended("reversed", "reversed")), True),
    ("ended_by_reversal", "it was reversed before it counted", an_order(ended("released", "reversed")), True),
    ("ended_by_reversal", "reversal outweighs expiry", an_order(ended("released", "expired"), ended("reversed", "reversed")), True),
    ("ended_by_reversal", "a refused one is watched", an_order(ended("reversed", "reversed"), a_payment("refused")), True),
    ("ended_by_reversal", "refund outweighs it", an_order(ended("reversed", "reversed"), ended("refunded", "refunded")), False),
    ("ended_by_reversal", "all expired", an_order(ended("released", "expired")), False),
    ("ended_by_reversal", "one is held", an_order(ended("reversed", "reversed"), a_payment("authorised")), False),
    ("ended_by_reversal", "the bill is open to another", an_order(ended("reversed", "reversed"), flow="pay_later"), False),
    ("ended_unpaid", "the only one expired", an_order(ended("released", "expired")), True),
    ("ended_unpaid", "all expired", an_order(ended("released", "expired"), ended("released", "expired")), True),
    ("ended_unpaid", "one was reversed", an_order(ended("released", "expired"), ended("reversed", "reversed")), False),
    ("ended_unpaid", "there was no payment", an_order(), False),
    ("ended_unpaid", "the only intent is unpaid", an_order(a_payment("announced")), False),
    ("ended_unpaid", "the only intent was refused", an_order(a_payment("refused")), False),
    ("ended_unpaid", "one counts", an_order(ended("released", "expired"), a_payment()), False),
    ("nothing_taken", "one is only held", an_order(a_payment("authorised")), True),
    ("nothing_taken", "there is no payment", an_order(), True),
    ("nothing_taken", "all ended", an_order(ended("released", "expired")), True),
    ("nothing_taken", "one is captured", an_order(a_payment("captured")), False),
    ("nothing_taken", "a disputed one is captured", an_order(a_payment("captured", **DISPUTED)), False),
    ("nothing_taken", "a disputed one is reconciled", an_order(a_payment(**DISPUTED)), False),
    ("nothing_taken", "something counts", an_order(a_payment()), False),
    ("nothing_taken", "something counts in words", an_order(told("captured")), False),
    ("paid_in_full", "the bill is covered", an_order(a_payment(paid=1000)), True),
    ("paid_in_full", "more than the bill is paid", an_order(a_payment(paid=1001)), True),
    ("paid_in_full", "two halves cover it", an_order(a_payment(paid=500), a_payment(paid=500)), True),
    ("paid_in_full", "it is covered in words", an_order(told("captured")), True),
    ("paid_in_full", "a penny is missing", an_order(a_payment(paid=999)), False),
    ("paid_in_full", "a tip would cover it", an_order(a_payment(paid=900, tips=100)), False),
    ("paid_in_full", "it is only held", an_order(a_payment("authorised")), False),
    ("paid_in_full", "a part went back", an_order(a_payment(refunded=1)), False),
]  # fmt: skip

OF_A_PAYMENT = [
    ("not_told_in_words", "an event claimed it", told("captured", in_words=False), True),
    ("not_told_in_words", "a read found it", a_payment("captured"), True),
    ("not_told_in_words", "Dojo told it in words", told("captured"), False),
    ("agrees", "the read agrees", a_payment("captured"), True),
    ("agrees", "the read differs", a_payment("captured", **DISPUTED), False),
    ("counts_nothing", "it is held", told("authorised"), True),
    ("counts_nothing", "it was told in words and is disputed", told("captured", **DISPUTED), True),
    ("counts_nothing", "it counts in words", told("captured"), False),
    ("counts_nothing", "it is reconciled", a_payment(), False),
    ("never_counted", "it is announced", a_payment("announced"), True),
    ("never_counted", "an event claimed its capture", told("captured", in_words=False), True),
    ("never_counted", "it is held, and was told in words", told("authorised"), True),
    ("never_counted", "it counts in words", told("captured"), False),
    ("never_counted", "it is reconciled", a_payment(), False),
    ("was_counted", "it is reconciled", a_payment(), True),
    ("was_counted", "it is reconciled and given back in full", a_payment(refunded=1000), True),
    ("was_counted", "it counted before it was disputed", a_payment(**DISPUTED), True),
    ("was_counted", "it counts in words", told("captured"), True),
    ("was_counted", "an event claimed its capture", told("captured", in_words=False), False),
    ("was_counted", "it is authorised", a_payment("authorised"), False),
    ("was_counted", "it was released", a_payment("released"), False),
    ("given_back_in_full", "all went back", a_payment(refunded=1000), True),
    ("given_back_in_full", "the tip went back too", a_payment(tips=100, refunded=1100), True),
    ("given_back_in_full", "all but a penny went back", a_payment(refunded=999), False),
    ("given_back_in_full", "all but the tip went back", a_payment(tips=100, refunded=1000), False),
    ("given_back_in_full", "nothing went back", a_payment(), False),
]

ROWS = [(guard, why, Subject("", order), answer) for guard, why, order, answer in OF_AN_ORDER]
ROWS += [(guard, why, Subject("", an_order(payment), payment), answer) for guard, why, payment, answer in OF_A_PAYMENT]


@pytest.mark.parametrize(
    ("guard", "subject", "answer"),
    [pytest.param(guard, subject, answer, id=f"{guard}-{'yes' if answer else 'no'}-{why}") for guard, why, subject, answer in ROWS],
)
def test_a_guard_says_what_the_row_says(guard, subject, answer):
    assert GUARDS[guard](subject) is answer


@pytest.mark.parametrize("guard", GUARDS)
def test_every_guard_is_proved_true_and_false(guard):
    answers = {answer for name, _, _, answer in ROWS if name == guard}
    assert answers == ({True} if guard == "always" else {True, False})


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_changes_nothing_that_it_looks_at(guard):
    payment = a_payment(refunded=300)
    subject = Subject("reconciled", an_order(payment), payment)
    before = (subject.state, subject.order, subject.payment)
    GUARDS[guard](subject)
    assert (subject.state, subject.order, subject.payment) == before


@pytest.mark.parametrize("refund", ["refunded", "reversed", "expired"])
@pytest.mark.parametrize("other", ["refunded", "reversed", "expired"])
def test_an_order_whose_payments_all_ended_has_exactly_one_end(refund, other):
    states = {"refunded": "refunded", "reversed": "reversed", "expired": "released"}
    subject = Subject("", an_order(ended(states[refund], refund), ended(states[other], other)))
    answers = [GUARDS[guard](subject) for guard in ("ended_by_refund", "ended_by_reversal", "ended_unpaid")]
    assert answers.count(True) == 1
    assert answers.index(True) == min(["refunded", "reversed", "expired"].index(fate) for fate in (refund, other))
