"""What a person at the simulator's pages needs of it, over its control API: part of a bill, an order left open, an event once more."""

import pytest

from adapters.sandbox import InvalidRequest, basket_of
from tests.contract.sandbox_peer import STATUS_UPDATED, TABLE, events_by_capability, eventually, gbp, get, post, running, wire


@pytest.fixture
def pair():
    with running() as pair:
        yield pair


def test_a_part_of_a_bill_is_paid_and_then_the_rest(pair):
    order = pair.peer.open(1000)

    part = pair.sandbox.pay_only(TABLE, amount=gbp(400), tips=gbp(50))
    assert (part.reason, order["paidAmount"], order["tipsAmount"], order["payable"]) == ("", wire(400), wire(50), True)
    rest = pair.sandbox.pay_only(TABLE)

    assert (rest.reason, order["paidAmount"], order["payable"]) == ("", wire(1000), False)


@pytest.mark.parametrize("amount", [gbp(0), gbp(1001)])
def test_no_more_of_a_bill_is_paid_than_is_left(pair, amount):
    order = pair.peer.open(1000)
    result = pair.sandbox.pay_only(TABLE, amount=amount)
    assert "has GBP 10.00 left to pay" in result.reason
    assert (result.intent_ids, order["paidAmount"]) == ((), wire(0))


def test_an_order_may_be_left_open_and_is_then_a_bill_of_its_table(pair):
    ordered = pair.sandbox.order_and_pay(basket_of(gbp(700), TABLE), pay_later=True, left_open=True)
    assert (ordered.reason, ordered.intent_ids, pair.sandbox.intents.all()) == ("", (), ())
    paid = pair.sandbox.pay_only(TABLE, order_id=ordered.order_id)
    assert (paid.reason, pair.peer.orders[ordered.order_id]["paidAmount"]) == ("", wire(700))


def test_what_is_left_open_is_neither_paid_nor_tipped(pair):
    with pytest.raises(InvalidRequest, match="left open"):
        pair.sandbox.order_and_pay(left_open=True)
    with pytest.raises(InvalidRequest, match="not paid"):
        pair.sandbox.order_and_pay(pay_later=True, left_open=True, tips=gbp(100))
    with pytest.raises(InvalidRequest, match="one payment"):
        pair.sandbox.pay_only(TABLE, parts=2, amount=gbp(100))


def test_a_refusal_says_apart_what_the_pos_said(pair):
    pair.peer.refusals.append(409)
    result = pair.sandbox.order_and_pay()
    assert result.refusal.status == 409
    assert "Conflict" in result.refusal.message
    assert pair.sandbox.intents.read(result.intent_ids[0]).status == "Reversed"


def test_an_event_goes_once_more_as_it_was_and_what_was_answered_is_told(pair):
    pair.peer.open(1000)
    pair.sandbox.pay_only(TABLE)
    event = next(each for each in get(pair.sandbox, "/sandbox/events").json()["data"] if each["event"] == STATUS_UPDATED)
    assert (event["outcome"], event["answers"], event["receiver"]) == ("delivered", [200], "the POS")

    assert post(pair.sandbox, f"/sandbox/events/{event['id']}/again", None).status_code == 202

    came = eventually(
        lambda: found if len(found := [each for each in events_by_capability(pair) if each["id"] == event["id"]]) == 2 else None
    )
    assert came[0] == came[1]
    eventually(lambda: [200, 200] in [each["answers"] for each in get(pair.sandbox, "/sandbox/events").json()["data"]])
    assert post(pair.sandbox, "/sandbox/events/evt_of_nobody/again", None).status_code == 404


def test_an_event_that_was_dropped_says_so_and_can_still_be_sent(pair):
    pair.peer.open(1000)
    pair.sandbox.fault("EVENT", "*.created", "dropped")
    pair.sandbox.pay_only(TABLE)
    event = next(each for each in get(pair.sandbox, "/sandbox/events").json()["data"] if each["outcome"] == "dropped")
    post(pair.sandbox, f"/sandbox/events/{event['id']}/again", None)
    eventually(lambda: event["id"] in [each["id"] for each in events_by_capability(pair)])


def test_faults_that_have_not_gone_wrong_yet_are_listed_with_the_times_that_are_left(pair):
    pair.sandbox.fault("GET", "/payment-intents/*", "404", 3)
    get(pair.sandbox, "/payment-intents/pi_1")
    left = get(pair.sandbox, "/sandbox/faults").json()["data"]
    assert [(each["kind"], each["times"]) for each in left] == [("404", 2)]
