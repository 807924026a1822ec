"""RecordOrderPayment over HTTP between a running service and the sandbox: whose payment counts, and what becomes of what was refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.contract.running import a_bill, an_event, an_order, beside_sandbox, eventually, gbp
from workflow.money import Money

MANY = 50


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with beside_sandbox(tmp_path_factory.mktemp("recorded"), SWEEP_S=1) as both:
        yield both


@pytest.fixture
def pair(both):
    yield both
    both.service.await_rest()
    both.service.assert_whole()


def open_bill(pair, total=1000):
    return pair.service.till.post("/till/orders", a_bill(total=total)).json["id"]


def paid_intent(pair, order_id, value, tips=0, **options):
    """An intent of the order that a customer has paid on a card machine."""
    intent = pair.sandbox.intents.make(Money(value, "GBP"), tips=Money(tips, "GBP"), reference=order_id, external_id=order_id, **options)
    pair.sandbox.intents.capture(intent.id)
    return intent.id


def record(pair, order_id, intent_id, value, tips=None, **more):
    body = {"paymentIntentId": intent_id, "paidAmount": gbp(value), **({} if tips is None else {"tipsAmount": gbp(tips)}), **more}
    return pair.service.dojo.post(f"/v1/orders/{order_id}/record-payment", body)


def lock(pair, order_id, lock_id, until="2099-01-01T00:00:00Z"):
    caller = {"waiter_id": "42", "dojo_requesting_product": "PayAtTable", "device_id": "tm_sandbox_1"}
    return pair.service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": lock_id, "expiry": until}, **caller)


def codes(order):
    return [item["code"] for item in order["attention"]]


def test_a_recorded_payment_is_answered_with_the_order_and_ends_confirmed_and_announced(pair):
    order_id = open_bill(pair)
    intent_id = paid_intent(pair, order_id, 1000, tips=150)

    answer = record(pair, order_id, intent_id, 1000, 150)

    assert answer.status == 200
    assert answer.json["paidAmount"] == gbp(1000)
    assert answer.json["payments"] == [{"paymentIntentId": intent_id, "paidAmount": gbp(1000), "tipsAmount": gbp(150)}]
    assert answer.json["payable"] is False
    order = pair.service.await_state(order_id, "updated")
    assert (order["payments"][0]["state"], order["tipsAmount"]["value"], codes(order)) == ("reconciled", 150, [])


def test_many_identical_recordings_at_once_are_all_accepted_and_count_once(pair):  # D8 I12
    order_id = open_bill(pair)
    intent_id = paid_intent(pair, order_id, 1000)

    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(lambda _: record(pair, order_id, intent_id, 1000), range(MANY)))

    assert {(answer.status, answer.json["paidAmount"]["value"]) for answer in answers} == {(200, 1000)}
    assert pair.service.await_state(order_id, "updated")["paidAmount"]["value"] == 1000


@pytest.mark.parametrize("first", ["event", "record"])
def test_a_payment_that_is_both_recorded_and_told_by_event_counts_once(pair, first):  # D10
    order_id = open_bill(pair)
    intent_id = paid_intent(pair, order_id, 1000, tips=50)
    acts = [
        lambda: record(pair, order_id, intent_id, 1000, 50),
        lambda: pair.service.dojo.post("/v1/events", an_event(f"evt_{intent_id}", intent_id)),
    ]
    for act in acts if first == "record" else acts[::-1]:
        assert act().status == 200

    order = pair.service.await_state(order_id, "updated")
    assert (order["paidAmount"]["value"], order["tipsAmount"]["value"], len(order["payments"])) == (1000, 50, 1)
    assert record(pair, order_id, intent_id, 1000, 50).status == 200


def test_of_two_payers_at_once_who_exceed_the_bill_one_is_refused_and_gets_the_money_back(pair):  # L5
    order_id = open_bill(pair)
    intents = [paid_intent(pair, order_id, 700) for _ in range(2)]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda intent_id: record(pair, order_id, intent_id, 700), intents))

    assert sorted(answer.status for answer in answers) == [200, 409]
    refused = intents[[answer.status for answer in answers].index(409)]
    assert answers[intents.index(refused)].json["errorType"] == "Conflict"
    order = eventually(lambda: found if codes(found := pair.service.order(order_id)) == ["OVERPAID"] else None)
    assert order["paidAmount"]["value"] == 700
    pair.sandbox.intents.give_back(refused)  # What Dojo does on a Conflict.
    assert eventually(lambda: not codes(pair.service.order(order_id)))
    assert pair.service.order(order_id)["paidAmount"]["value"] == 700


def test_other_figures_of_a_recorded_payment_are_a_conflict_and_change_nothing(pair):  # D9
    order_id = open_bill(pair)
    intent_id = paid_intent(pair, order_id, 1000)
    assert record(pair, order_id, intent_id, 1000).status == 200

    answer = record(pair, order_id, intent_id, 900)

    assert (answer.status, answer.json["errorType"]) == (409, "Conflict")
    assert pair.service.order(order_id)["paidAmount"]["value"] == 1000
    assert codes(pair.service.order(order_id)) == ["PAYMENT_CONFLICT"]
    assert record(pair, order_id, intent_id, 1000).status == 200


def test_a_payment_of_one_order_is_not_recorded_on_another(pair):
    mine, other = open_bill(pair), open_bill(pair)
    intent_id = paid_intent(pair, mine, 1000)
    assert record(pair, mine, intent_id, 1000).status == 200

    assert record(pair, other, intent_id, 1000).status == 409

    assert pair.service.order(other)["payments"] == []
    assert codes(pair.service.order(mine)) == ["PAYMENT_CONFLICT"]


def test_a_lock_says_who_holds_it_and_lets_its_own_payments_through(pair):  # X2 X10
    order_id = open_bill(pair)
    assert lock(pair, order_id, "lock_a").status == 200
    holder = "PayAtTable, waiter 42, device tm_sandbox_1"

    others = lock(pair, order_id, "lock_b")
    amended = pair.service.till.call("PUT", f"/till/orders/{order_id}", a_bill(total=1200))
    elsewhere = record(pair, order_id, paid_intent(pair, order_id, 400), 400, lockId="lock_b")
    own = record(pair, order_id, paid_intent(pair, order_id, 600), 600, lockId="lock_a")

    assert [answer.status for answer in (others, amended, elsewhere, own)] == [409, 409, 409, 200]
    assert all(holder in answer.json["debugMessage"] for answer in (others, amended, elsewhere))
    assert pair.service.order(order_id)["lock"]["holder"] == holder


@pytest.mark.parametrize("lock_id", ["a/b", "a b", "é?#", "%2F"])
def test_whatever_dojo_calls_its_lock_it_can_extend_and_release_it(pair, lock_id):
    order_id = open_bill(pair)
    path = f"/v1/orders/{order_id}/locks/{quote(lock_id, safe='')}"
    assert lock(pair, order_id, lock_id).status == 200
    assert pair.service.dojo.call("PUT", path, {"expiry": "2099-01-01T00:00:00Z"}).status == 200
    assert pair.service.dojo.call("DELETE", path).status == 200
    assert lock(pair, order_id, "another").status == 200


def test_a_payment_for_an_order_that_was_cancelled_is_refused_and_stands_until_it_went_back(pair):
    order_id = pair.service.dojo.post("/v1/orders", an_order("ord-cancelled-before-payment")).json["id"]
    assert pair.service.dojo.call("DELETE", f"/v1/orders/{order_id}").status == 200
    intent_id = paid_intent(pair, order_id, 1200)

    assert record(pair, order_id, intent_id, 1200).status == 409

    assert eventually(lambda: codes(pair.service.order(order_id)) == ["PAID_BUT_CLOSED"])
    pair.sandbox.intents.give_back(intent_id)
    assert eventually(lambda: not codes(pair.service.order(order_id)))
    assert pair.service.order(order_id)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"paidAmount": gbp(0)}, "paidAmount.value"),
        ({"paidAmount": gbp(-1)}, "paidAmount.value"),
        ({"paidAmount": gbp(2**53 + 1)}, "paidAmount.value"),
        ({"paidAmount": {"value": "1000", "currencyCode": "GBP"}}, "paidAmount.value"),
        ({"paidAmount": {"value": 10.5, "currencyCode": "GBP"}}, "paidAmount.value"),
        ({"paidAmount": {"value": True, "currencyCode": "GBP"}}, "paidAmount.value"),
        ({"tipsAmount": gbp(-1)}, "tipsAmount.value"),
        ({"paymentIntentId": ""}, "paymentIntentId"),
        ({"paymentIntentId": None}, "paymentIntentId"),
        ({"lockId": 7}, "lockId"),
    ],
)
def test_what_is_no_payment_is_refused_and_leaves_nothing(pair, changes, field):
    order_id = open_bill(pair)
    body = {"paymentIntentId": "pi_never", "paidAmount": gbp(1000)} | changes

    answer = pair.service.dojo.post(f"/v1/orders/{order_id}/record-payment", body)

    assert (answer.status, answer.json["errorType"]) == (400, "InvalidRequest")
    assert answer.json["debugMessage"].startswith(f"{field}: ")
    assert pair.service.order(order_id)["payments"] == []


def test_a_payment_for_an_order_that_is_not_here_is_not_found(pair):
    assert record(pair, "no-such-order", "pi_nobody", 1000).status == 404
