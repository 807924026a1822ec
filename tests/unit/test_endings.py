"""What a customer is told at the end of a flow on the simulator's phone: nothing that is not true of their money."""

from __future__ import annotations

import pytest

from adapters.sandbox.flow import ORDER_AND_PAY, PAY_ONLY, FlowResult, Refusal, Step
from adapters.sandbox.intents import Intents
from adapters.sandbox.progress import ending
from tests.builders import FixedClock, gbp

NOTHING = "Nothing was taken from your card."


@pytest.fixture
def intents():
    return Intents(clock=FixedClock(), new_id=lambda kind: f"{kind}1")


def made(intents, *moves, mode="Auto"):
    """An intent of £12.00 with a tip of £1.50 after these moves."""
    intent = intents.make(gbp(1200), reference="T-1", tips=gbp(150), capture_mode=mode)
    for move in moves:
        getattr(intents, move)(intent.id)
    return intents.read(intent.id)


def flow(name=PAY_ONLY, state="done", **facts):
    return FlowResult(id="flow_1", name=name, state=state, **facts)


def told(result, *intents):
    found = ending(result, intents)
    return found.title, found.words


def test_whose_money_was_taken_has_paid_even_where_the_venue_refuses_to_say_so(intents):
    taken = made(intents, "capture")
    for failure in ({"reason": "GetOrderById: 503", "refusal": Refusal(503, "come again")}, {"reason": "never read"}):
        for name in (ORDER_AND_PAY, PAY_ONLY):
            title, words = told(flow(name, "failed", **failure), taken)
            assert title == "Paid, but the venue has not confirmed it"
            assert words == "£13.50 was taken from your card. Please speak to the staff before you pay again."


def test_who_is_refused_hears_what_the_venue_said_and_where_the_money_is(intents):
    refused = {"reason": "CreateOrder: 409", "refusal": Refusal(409, "The kitchen is closed")}
    released = made(intents, "authorise", "reverse", mode="Manual")
    assert told(flow(ORDER_AND_PAY, "failed", **refused), released) == (
        "The venue did not take your order",
        "It said: “The kitchen is closed”. The hold of £13.50 on your card was released.",
    )
    assert told(flow(PAY_ONLY, "failed", **refused)) == (
        "The venue did not take your payment",
        f"It said: “The kitchen is closed”. {NOTHING}",
    )


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ((), NOTHING),
        (("authorise",), "£13.50 is held on your card."),
        (("authorise", "reverse"), "The hold of £13.50 on your card was released."),
        (("cancel",), NOTHING),
    ],
)
def test_where_a_flow_breaks_off_before_the_money_was_taken_it_says_where_that_is(intents, moves, words):
    intent = made(intents, *moves, mode="Manual")
    title, failed = "Something went wrong", {"state": "failed", "reason": "no answer"}
    assert told(flow(ORDER_AND_PAY, **failed), intent) == (title, f"{words} Try again.")
    assert told(flow(ORDER_AND_PAY, **failed, order_id="o1"), intent) == (title, f"{words} Look at the bill, and try again.")


def test_money_that_went_back_in_part_or_in_full_is_said_to_have_gone_back(intents):
    paid = made(intents, "capture")
    intents.refund(paid.id, gbp(350))
    assert told(flow(), intents.read(paid.id)) == ("Paid. Thank you!", "£13.50 was taken from your card, and £3.50 of it given back.")
    intents.refund(paid.id)
    assert told(flow(), intents.read(paid.id)) == ("The money went back", "£13.50 was given back to your card.")


def test_who_paid_and_was_given_it_back_the_same_day_is_not_said_to_have_left(intents):
    assert told(flow(), made(intents, "capture", "reverse")) == ("The money went back", "The payment of £13.50 was undone.")


def test_who_left_before_the_money_was_taken_is_told_so_and_of_a_cancelled_order_only_where_there_was_one(intents):
    left = made(intents, "authorise", "reverse", mode="Manual")
    released = "The hold of £13.50 on your card was released."
    assert told(flow(ORDER_AND_PAY, order_id="o1"), left) == ("You left before paying", f"{released} The order is cancelled.")
    assert told(flow(PAY_ONLY, order_id="o1"), left) == ("You left before paying", released)
    assert told(flow(ORDER_AND_PAY), made(intents, "cancel")) == ("You left before paying", NOTHING)


def test_a_payment_that_the_till_does_not_count_is_said_to_be_taken(intents):
    held_back = flow(steps=(Step(name="HeldBack", state="done"),))
    title, words = told(held_back, made(intents, "capture"))
    assert (title, words.startswith("£13.50 was taken")) == ("Paid, but the till does not agree", True)
