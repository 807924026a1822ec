"""Why an order is as it is and what is next, in sentences: one row a case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import Venue, a_payment, an_order, told
from tests.story import AT, LATER
from workflow.commands import AttemptFailed, RefuseOrder, Sweep
from workflow.effects import ReadIntent
from workflow.entry import Entry
from workflow.journal.reads import StoredTaskRow
from workflow.lifecycle import ATTENTION, EFFECTS, ORDER
from workflow.order import Attention, Lock
from workflow.ports import OrderId
from workflow.situation import ACTS, Known, Spelling, past_situation, situation, situation_of

SPELLING = Spelling(moment=lambda at: at[11:19], money=lambda money: f"£{money.decimal()}")


def a_row(status="pending", effect="read_intent", *, attempts=3, error="GET /payment-intents/pi_1: 503"):
    return StoredTaskRow("o1.1.0", effect, "o1", "pi_1", status, attempts, "2026-03-14T12:03:20.000Z", error, AT, None)


def a_lock(expires_at=LATER, **changes):
    return Lock(lock_id="s1", expires_at=expires_at, **changes)


PAID = an_order(a_payment(), state="updated")
HELD = an_order(told("authorised", in_words=False), state="authorised")
NEXT = {
    "waits to be paid": (an_order(flow="pay_only"), Known(at=AT), "Waiting for a customer to pay £10.00."),
    "waits for the rest": (
        an_order(a_payment(paid=400), state="updated", flow="pay_only"),
        Known(at=AT),
        "Waiting for a customer to pay the rest, £6.00.",
    ),
    "waits for Dojo": (
        HELD,
        Known(at=AT, next_look=LATER),
        "Waiting for Dojo to capture the £10.00 that it holds. We ask Dojo by ourselves at 13:00:00.",
    ),
    "waits for Dojo and a customer": (
        an_order(a_payment(paid=400), told("authorised", paid=500, in_words=False), state="authorised", flow="pay_only"),
        Known(at=AT, next_look=AT),
        "Waiting for Dojo to capture the £5.00 that it holds. £1.00 is left to pay besides. We ask Dojo by ourselves in a moment.",
    ),
    "waits for Dojo that said no sum": (
        an_order(a_payment("authorised", paid=0, was_read=False), state="authorised"),
        Known(at=AT),
        "Waiting for Dojo to capture the money that it holds.",
    ),
    "waits for a customer": (an_order(a_payment("announced")), Known(at=AT), "Waiting for the customer to finish paying: £10.00 is left."),
    "took less": (
        an_order(a_payment(paid=400, asked=1000), state="updated", flow="pay_only"),
        Known(at=AT),
        "Dojo took less than the payment was made for: it may take the rest, £6.00, later, or a customer pays it.",
    ),
    "waits for a read": (an_order(told()), Known(at=AT), "Waiting for a read of the payment, which settles what counts."),
    "is locked": (
        an_order(lock=a_lock(holder="waiter Joe")),
        Known(at=AT),
        "waiter Joe holds the bill until 13:00:00: wait for the payment.",
    ),
    "was locked": (an_order(lock=a_lock(AT)), Known(at=AT), "Waiting for a customer to pay £10.00."),
    "is tried again": (
        HELD,
        Known(at=AT, tasks=[a_row()]),
        "Dojo is asked about the payment again at 12:03:20, attempt 4 of 7 or more.",
    ),
    "is tried again any moment": (
        HELD,
        Known(at=LATER, tasks=[a_row()]),
        "Dojo is asked about the payment again in a moment, attempt 4 of 7 or more.",
    ),
    "is tried again for long": (
        PAID,
        Known(at=AT, tasks=[a_row(effect="order_updated", attempts=12)]),
        "Dojo is told of the order again at 12:03:20, attempt 13.",
    ),
    "is under way": (HELD, Known(at=AT, tasks=[a_row("leased", attempts=2)]), "Dojo is asked about the payment right now, attempt 2."),
    "is due": (HELD, Known(at=AT, tasks=[a_row(attempts=0, error="")]), "Dojo is asked about the payment in a moment."),
    "pauses": (
        PAID,
        Known(at=AT, tasks=[a_row("paused", "tell_till")]),
        "The till is told of the order as soon as the till takes our calls again: none goes there now (see Needs attention).",
    ),
    "Dojo before the till": (
        PAID,
        Known(at=AT, tasks=[a_row("leased", "tell_till", attempts=1), a_row(effect="order_updated", attempts=1)]),
        "Dojo is told of the order again at 12:03:20, attempt 2 of 10 or more.",
    ),
    "was left dead": (
        PAID,
        Known(at=AT, tasks=[a_row("dead")]),
        "Nothing more happens by itself: a call was given up, and a person left it so.",
    ),
    "is done": (PAID, Known(at=AT), "Nothing more to do."),
    "is over": (an_order(state="cancelled", status="Canceled", lock=a_lock()), Known(at=AT), "Nothing more to do."),
}


@pytest.mark.parametrize("case", NEXT)
def test_what_happens_next_is_said_in_one_sentence(case):
    order, known, expected = NEXT[case]
    found = situation(order, known, SPELLING)
    assert (found.next, found.needs_person) == (expected, False)


@pytest.mark.parametrize("state", ORDER.states)
def test_why_begins_with_what_the_declaration_says_of_the_state(state):
    assert situation(an_order(state=state), Known(at=AT), SPELLING).why.startswith(ORDER.states[state])


def test_a_state_of_an_earlier_declaration_has_a_sentence_as_well():
    assert situation(an_order(state="boxed"), Known(at=AT), SPELLING).why == "The order is boxed, a state of an earlier declaration."


def test_what_dojo_did_not_answer_is_unknown_and_never_failed():
    why = situation(HELD, Known(at=AT, tasks=[a_row()]), SPELLING).why
    assert "Dojo could not be asked about the payment: GET /payment-intents/pi_1: 503." in why
    assert "is unknown until Dojo answers" in why
    assert "fail" not in why


@pytest.mark.parametrize(
    ("payment", "said"),
    [
        (a_payment(), "£10.00 is paid."),
        (a_payment(tips=150), "£10.00 is paid, and £1.50 tip."),
        (a_payment(paid=400), "£4.00 of £10.00 is paid."),
        (a_payment(paid=1001), "£10.01 of £10.00 is paid."),
        (a_payment(tips=100, refunded=400), "£6.00 of £10.00 is paid, and £1.00 tip. £4.00 that was paid went back to the customer."),
        (a_payment("refunded", tips=100, refunded=1100), "£11.00 that was paid went back to the customer."),
    ],
)
def test_why_says_first_what_was_paid(payment, said):
    why = situation(an_order(payment, state="updated"), Known(at=AT), SPELLING).why
    assert why == f"{said} {ORDER.states['updated']}"


def test_of_an_order_that_rests_it_is_said_when_dojo_took_the_news():
    known = Known(at=AT, moved_at="2026-07-03T11:58:07.000Z")
    assert (
        situation(an_order(a_payment(), state="updated"), known, SPELLING).why
        == "£10.00 is paid. Dojo took our news of the money at 11:58:07."
    )
    assert situation(HELD, known, SPELLING).why.startswith(ORDER.states[HELD.state])


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("event", "Captured", "it announced Captured"),
        ("check", "Authorized", "the payment reads Authorized"),
        ("check", "", "the payment reads nothing that is known"),
    ],
)
def test_why_says_what_was_heard_last_and_when(kind, status, said):
    word = Entry(order_id="o1", order_seq=3, at=AT, kind=kind, actor="dojo", cause="c", body={"status": status})
    assert situation(HELD, Known(at=AT, last_word=word), SPELLING).why.endswith(f"Dojo was last heard at 12:00:00: {said}.")


@pytest.mark.parametrize("code", ATTENTION)
def test_whatever_needs_a_person_speaks_first_and_says_what_to_do(code):
    order = replace(PAID, attention=(Attention(code=code, since=AT, detail="d"),))
    found = situation(order, Known(at=AT, tasks=[a_row()]), SPELLING)
    if code == "PAID_NOT_ON_TILL":
        assert "paid at Dojo and not on the till" in found.why
        assert "Look at the table before anybody pays again." in found.next
    else:
        assert ATTENTION[code].why in found.why
        assert found.next.startswith(ATTENTION[code].next)
    assert "Dojo could not be asked about the payment: GET /payment-intents/pi_1: 503." in found.why
    assert found.next.endswith(" Dojo is asked about the payment again at 12:03:20, attempt 4 of 7 or more.")
    assert found.needs_person


TOLD, TILL_SAID = a_row("done", "tell_till", error=""), "The till could not be told of the order: till: 409 no such table."


@pytest.mark.parametrize(
    ("code", "intent", "tasks", "cause", "again"),
    [
        ("PAID_NOT_ON_TILL", "", [a_row("dead", "tell_till", error="till: 409 no such table")], TILL_SAID, ""),
        ("OUTBOX_DEAD", "pi_1", [a_row("dead", "tell_till", error="till: 409 no such table")], TILL_SAID, ""),
        (
            "PAID_NOT_ON_TILL",
            "",
            [a_row(effect="tell_till", error="till: 409 no such table"), a_row(effect="order_updated")],
            TILL_SAID,
            " The till is told of the order again at 12:03:20, attempt 4 of 10 or more.",
        ),
        (
            "PAID_NOT_ON_TILL",
            "pi_1",
            [a_row(), a_row(effect="tell_till")._replace(payment_intent_id="")],
            "Dojo could not be asked about the payment: GET /payment-intents/pi_1: 503.",
            " Dojo is asked about the payment again at 12:03:20, attempt 4 of 7 or more.",
        ),
        ("PAID_NOT_ON_TILL", "", [a_row("dead", "tell_till"), TOLD], "", ""),
        ("LOCK_STALE", "", [a_row("dead", "tell_till")], "", ""),
    ],
    ids=["till said no", "given up", "the till's before Dojo's", "its payment's before others", "made good since", "left so"],
)
def test_why_has_what_the_last_try_behind_it_was_answered_and_next_has_the_next_one(code, intent, tasks, cause, again):
    note = Attention(code=code, since=AT, detail="d", payment_intent_id=intent)
    order = replace(PAID, attention=(note,))
    bare, found = (situation(order, Known(at=AT, tasks=some), SPELLING) for some in ([], tasks))
    assert found.why == (f"{bare.why} {cause}" if cause else bare.why)
    assert found.next == bare.next + again


def test_money_that_is_not_on_the_till_is_written_as_people_write_it_and_what_else_is_wrong_is_named():
    notes = (Attention(code="PAID_NOT_ON_TILL", since=AT, detail="d"), Attention(code="KEY_REUSE", since=AT, detail="d"))
    named = replace(SPELLING, table={"tbl_12": "Garden 9"}.get)
    why = situation(replace(PAID, attention=notes), Known(at=AT), named).why
    assert why.startswith("Garden 9: £10.00 is paid at Dojo and not on the till.")
    assert why.endswith("Besides: key reuse.")


def test_the_past_says_that_it_is_past():
    assert past_situation(HELD, SPELLING).next == "This is the past: what came of it stands in the order as it is now."


def test_every_effect_has_words():
    assert ACTS.keys() == EFFECTS.keys()


def test_of_a_real_order_the_sentences_follow_what_the_journal_has(tmp_path):
    venue = Venue(tmp_path)
    venue.create()
    venue.event("pi_1", "Captured")
    [task] = venue.tasks
    assert task.effect == ReadIntent.name
    venue.engine.handle(AttemptFailed(task=task, error="GET /payment-intents/pi_1: 500", next_at_ms=venue.engine.now_ms() + 90_000))
    found = situation_of(venue.reads, venue.order(), AT, SPELLING)
    assert found.why == (
        "Dojo says that it took the money. Nobody has checked. Dojo could not be asked about the payment: GET /payment-intents/pi_1: 500. "
        "Whether and how much the customer paid is unknown until Dojo answers. Dojo was last heard at 12:00:00: it announced Captured."
    )
    assert found.next == "Dojo is asked about the payment again at 12:01:30, attempt 2 of 7 or more."
    venue.clock.move(600)
    venue.engine.handle(Sweep(limit=10))
    alarmed = situation_of(venue.reads, venue.order(), AT, SPELLING)
    assert "is paid at Dojo and not on the till. Dojo could not be asked about the payment: GET /payment-intents/pi_1: 500." in alarmed.why
    assert alarmed.next.endswith(found.next)
    venue.close()


def test_why_has_the_tills_own_reason_whether_or_not_a_person_is_needed(tmp_path):
    venue = Venue(tmp_path)
    venue.create()
    venue.open("o2")
    for order_id in ("o1", "o2"):
        assert situation_of(venue.reads, venue.order(order_id), AT, SPELLING).why.find("dough") < 0
        venue.engine.handle(RefuseOrder(order_id=OrderId(order_id), reason="no dough", actor="till:till-1"))
        found = situation_of(venue.reads, venue.order(order_id), AT, SPELLING)
        assert "The till said why it refused: “no dough”." in found.why
        assert found.needs_person == (order_id == "o1")  # Dojo holds its money.
    venue.close()


def test_an_event_that_moves_nothing_is_no_word_of_dojos_about_the_money(tmp_path):
    venue = Venue(tmp_path, account_ids=frozenset({"acc_1"}))
    venue.create()
    venue.event("pi_1", "Captured", account="acc_of_somebody")
    assert venue.reads.last_word("o1") is None
    venue.event("pi_1", "Authorized")
    assert venue.reads.last_word("o1").entry().body["status"] == "Authorized"
    venue.close()


def test_what_the_sweep_asks_next_is_told(tmp_path):
    venue = Venue(tmp_path)
    venue.create()
    assert situation_of(venue.reads, venue.order(), AT, SPELLING).next == (
        "Waiting for Dojo to capture the £10.00 that it holds. We ask Dojo by ourselves at 12:01:00."
    )
    venue.close()
