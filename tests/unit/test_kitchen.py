"""The kitchen's progress: every status that Dojo knows, from every other one: contract §8.3 once more, with rule A7.

The contract recommends `Failed` only before `Accepted`; here the till may say at any time that it cannot serve, and a person is called.
"""

from __future__ import annotations

import pytest

from tests.builders import MACHINES, a_bill
from tests.story import AT, Story, settled
from workflow.bill import Personal
from workflow.commands import OpenOrder
from workflow.decisions import open_order
from workflow.effects import OrderUpdated
from workflow.errors import Refused

FORWARD = ("New", "Submitted", "Confirmed", "Accepted", "Preparing", "Prepared", "Ready")
TERMINAL = ("Finalized", "Canceled", "Failed")


def a_story(status, *, paid=False):
    """An order whose kitchen is there; `paid` in full where the payment came first."""
    story = settled() if paid else Story()
    if not paid:
        command = OpenOrder(order_id="o1", key="o1", bill=a_bill(), personal=Personal(), actor="till:till-1", status="New")
        story.act(open_order(MACHINES, command, at=AT, personal_hash="", parked=()))
    if status != story.order.status:
        assert story.report(status).refusal is None, (story.order.status, status)
    return story


def may_follow(before, after, *, paid):
    if before == after:
        return True
    if before in TERMINAL:
        return False
    if after == "Finalized":
        return paid
    if after == "Canceled":
        return not paid  # Money was taken: whoever has it decides, not the kitchen.
    return after == "Failed" or FORWARD.index(after) > FORWARD.index(before)


UNPAID = [(before, after) for before in (*FORWARD, "Canceled", "Failed") for after in (*FORWARD, *TERMINAL)]
PAID = [(before, after) for before in (*FORWARD[2:], "Finalized", "Failed") for after in (*FORWARD, *TERMINAL)]


@pytest.mark.parametrize(("before", "after"), UNPAID)
def test_an_unpaid_order_goes_forward_only(before, after):
    assert_follows(a_story(before), after, may_follow(before, after, paid=False))


@pytest.mark.parametrize(("before", "after"), PAID)
def test_a_paid_order_goes_forward_and_may_be_finalised(before, after):
    assert_follows(a_story(before, paid=True), after, may_follow(before, after, paid=True))


def assert_follows(story, after, may):
    before = story.order.status
    decision = story.report(after)
    assert (decision.refusal is None) == may
    assert story.order.status == (after if may else before)
    assert (OrderUpdated() in decision.effects) == (may and before != after)
    if not may:
        assert isinstance(decision.refusal, Refused)
        assert [(entry.kind, entry.trigger) for entry in decision.entries] == [("system", "refuse")]


@pytest.mark.parametrize(
    ("before", "after", "advice"),
    [
        ("Ready", "Preparing", "possible now: Canceled, Failed"),
        ("Accepted", "Confirmed", "possible now: Preparing, Prepared, Ready, Canceled, Failed"),
        ("New", "Finalized", "possible now: Submitted, Confirmed, Accepted, Preparing, Prepared, Ready, Canceled, Failed"),
        ("Canceled", "Ready", "nothing can follow"),
    ],
)
def test_a_refusal_names_what_is_possible(before, after, advice):
    assert advice in str(a_story(before).report(after).refusal)


def test_a_refusal_names_what_is_possible_once_the_order_was_paid():
    message = str(a_story("Prepared", paid=True).report("Preparing").refusal)
    assert message.endswith("possible now: Ready, Finalized, Failed")


def test_a_bill_is_opened_as_accepted_or_as_new():
    story = Story()
    story.open()
    assert (story.order.status, a_story("New").order.status) == ("Accepted", "New")


def test_the_till_cancels_an_order_that_nobody_paid_and_not_one_that_was_paid():
    story = a_story("Preparing")
    story.report("Canceled")
    assert (story.order.state, story.order.status) == ("cancelled", "Canceled")
    paid = a_story("Preparing", paid=True)
    assert isinstance(paid.report("Canceled").refusal, Refused)
    assert (paid.order.state, paid.order.status) == ("updated", "Preparing")


def test_a_paid_order_that_fails_keeps_its_money_and_calls_a_person():
    paid = a_story("Preparing", paid=True)
    paid.report("Failed")
    assert (paid.order.status, paid.order.paid.value, [item.code for item in paid.order.attention]) == (
        "Failed",
        1000,
        ["PAID_BUT_REFUSED"],
    )
