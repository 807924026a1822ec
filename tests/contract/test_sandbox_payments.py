"""What moves money over the sandbox's API: contract §7.6, over real HTTP, and what the POS hears of it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.sandbox_peer import (
    SECONDS,
    Peer,
    call,
    events_by_capability,
    eventually,
    gbp,
    get,
    post,
    put_rest,
    running,
    schema_check,
    wire,
)


@pytest.fixture
def pair():
    with running() as pair:
        yield pair


@pytest.fixture(scope="module")
def is_valid(specs):
    return schema_check(specs)


def create(pair, value=1000, **fields):
    answer = post(pair.sandbox, "/payment-intents", {"amount": wire(value), "reference": "r"} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def a_held_intent(pair, value=1000, **fields):
    """A Manual intent that the customer has paid."""
    intent = create(pair, value, captureMode="Manual", **fields)
    assert post(pair.sandbox, f"/sandbox/intents/{intent['id']}/pay", None).json()["status"] == "Authorized"
    return intent["id"]


def a_captured_intent(pair, value=1000, **fields):
    """An Auto intent that the customer has paid."""
    intent = create(pair, value, **fields)
    assert post(pair.sandbox, f"/sandbox/intents/{intent['id']}/pay", None).json()["status"] == "Captured"
    return intent["id"]


def status(pair, intent_id):
    return get(pair.sandbox, f"/payment-intents/{intent_id}?returnCanceled=true").json()["status"]


def refund(pair, intent_id, amount, key="key-1", **fields):
    return post(pair.sandbox, f"/payment-intents/{intent_id}/refunds", {"amount": amount} | fields, IdempotencyKey=key)


def heard(pair, intent_id):
    """What the POS was told of the intent, in order of arrival: of two events on their way either may come first."""
    events = [event for event in events_by_capability(pair) if event["data"]["paymentIntentId"] == intent_id]
    return [(event["event"].partition(".")[2], event["data"]["paymentStatus"]) for event in events]


# Making


def test_an_intent_is_made_as_asked_and_the_pos_hears_of_it(pair, is_valid):
    links = {"id": "ord-1", "externalId": "pos-1"}
    fields = {"tipsAmount": wire(50), "serviceChargeAmount": wire(120), "captureMode": "Manual", "orderDetails": links}

    intent = create(pair, 1000, **fields, metadata={"waiterId": "42"}, autoExpireIn="00.01:30:00", autoExpireAction="Capture")

    is_valid("dojo-api", "PaymentIntent", intent)
    assert (intent["status"], intent["captureMode"], intent["totalAmount"]) == ("Created", "Manual", wire(1170))
    assert (intent["orderDetails"], intent["autoExpireIn"], intent["autoExpireAction"]) == (links, "00.01:30:00", "Capture")
    assert get(pair.sandbox, f"/payment-intents/{intent['id']}").json() == intent
    eventually(lambda: heard(pair, intent["id"]) == [("created", "Created")])


@pytest.mark.parametrize(
    "odd",
    [
        {"amount": {"value": 1}},
        {"amount": {"value": "1", "currencyCode": "GBP"}},
        {"amount": {"value": -1, "currencyCode": "GBP"}},
        {"reference": ""},
        {"reference": "x" * 61},
        {"captureMode": "manual"},
        {"tipsAmount": {"value": 1, "currencyCode": "EUR"}},
        {"autoExpireIn": "00.00:00:29"},
        {"autoExpireIn": "07.00:00:01"},
        {"autoExpireIn": "an hour"},
    ],
)
def test_an_intent_that_cannot_be_is_a_bad_request(pair, odd):
    answer = post(pair.sandbox, "/payment-intents", {"amount": wire(1), "reference": "r"} | odd)

    assert answer.status_code == 400
    assert answer.json()["detail"]


# Capturing


def test_a_manual_intent_is_captured_in_parts_and_no_further(pair, is_valid):
    intent_id = a_held_intent(pair, 1000, tipsAmount=wire(100))
    captures = f"/payment-intents/{intent_id}/captures"

    first = post(pair.sandbox, captures, {"amount": 600, "tipsAmount": 100})
    second = post(pair.sandbox, captures, {"amount": 400})
    third = post(pair.sandbox, captures, {"amount": 1})

    is_valid("dojo-api", "Capture", first.json())
    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 409]
    shown = get(pair.sandbox, f"/payment-intents/{intent_id}").json()
    assert [(capture["id"], capture["amount"], capture["tipsAmount"]) for capture in shown["captures"]] == [
        (first.json()["captureId"], 600, 100),
        (second.json()["captureId"], 400, 0),
    ]
    eventually(lambda: heard(pair, intent_id).count(("status_updated", "Captured")) == 2)


def test_an_automatic_intent_is_not_captured_by_request(pair):
    intent_id = create(pair)["id"]

    assert post(pair.sandbox, f"/payment-intents/{intent_id}/captures", {"amount": 1000}).status_code == 409


@pytest.mark.parametrize(
    "body", [{}, {"amount": 0}, {"amount": -5}, {"amount": "5"}, {"amount": 5, "tips": 1}, {"amount": 5, "tipsAmount": -1}]
)
def test_a_capture_that_cannot_be_is_a_bad_request(pair, body):
    intent_id = a_held_intent(pair)

    assert post(pair.sandbox, f"/payment-intents/{intent_id}/captures", body).status_code == 400


# Refunding


def test_a_refund_may_be_in_parts_until_all_is_given_back(pair, is_valid):
    intent_id = a_captured_intent(pair)

    first = refund(pair, intent_id, 300, "a", refundReason="cold soup", notes="table 7")
    second = refund(pair, intent_id, 700, "b")
    third = refund(pair, intent_id, 1, "c")

    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 400]
    is_valid("dojo-api", "Refund", first.json())
    assert first.json() == {
        "paymentIntentId": intent_id,
        "refundId": first.json()["refundId"],
        "refundReason": "cold soup",
        "notes": "table 7",
    }
    assert get(pair.sandbox, f"/payment-intents/refunds/{first.json()['refundId']}").json() == first.json()
    assert get(pair.sandbox, f"/payment-intents/{intent_id}").json()["refundedAmount"] == 1000
    eventually(lambda: ("status_updated", "Refunded") in heard(pair, intent_id))


def test_no_more_is_refunded_than_was_captured(pair):
    intent_id = a_captured_intent(pair)

    answer = refund(pair, intent_id, 1001)

    assert (answer.status_code, status(pair, intent_id)) == (400, "Captured")


def test_the_same_idempotency_key_refunds_once_even_when_many_ask_at_once(pair):
    intent_id = a_captured_intent(pair)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: refund(pair, intent_id, 300), range(6)))

    assert {(answer.status_code, answer.json()["refundId"]) for answer in answers} == {(200, answers[0].json()["refundId"])}
    assert get(pair.sandbox, f"/payment-intents/{intent_id}").json()["refundedAmount"] == 300
    assert refund(pair, intent_id, 300, "another").json()["refundId"] != answers[0].json()["refundId"]


def test_an_idempotency_key_is_not_used_for_a_second_refund(pair):
    first, other = a_captured_intent(pair), a_captured_intent(pair)
    refund(pair, first, 300)

    assert [refund(pair, first, 301).status_code, refund(pair, other, 300).status_code] == [400, 400]
    assert status(pair, other) == "Captured"


@pytest.mark.parametrize("key", ["", "k" * 101])
def test_a_refund_needs_a_key_of_its_own(pair, key):
    intent_id = a_captured_intent(pair)

    answer = refund(pair, intent_id, 300, key)

    assert answer.status_code == 400
    assert "IdempotencyKey" in answer.json()["detail"]


def test_only_captured_money_is_refunded(pair):
    for intent_id in (create(pair)["id"], a_held_intent(pair)):
        assert refund(pair, intent_id, 300).status_code == 400


def test_a_refund_that_nobody_made_is_unknown(pair):
    assert get(pair.sandbox, "/payment-intents/refunds/rfnd_none").status_code == 404


# Reversing and cancelling


def test_an_authorisation_and_an_automatic_capture_of_today_are_reversed(pair, is_valid):
    for intent_id in (a_held_intent(pair), a_captured_intent(pair)):
        answer = post(pair.sandbox, f"/payment-intents/{intent_id}/reversal", None)

        assert (answer.status_code, status(pair, intent_id)) == (200, "Reversed")
        is_valid("dojo-api", "Reversal", answer.json())
        assert answer.json()["reversalId"].startswith("rvs_")
        eventually(lambda intent_id=intent_id: ("status_updated", "Reversed") in heard(pair, intent_id))


def test_a_manual_capture_is_never_reversed(pair):
    intent_id = a_held_intent(pair)
    post(pair.sandbox, f"/payment-intents/{intent_id}/captures", {"amount": 1000})

    assert post(pair.sandbox, f"/payment-intents/{intent_id}/reversal", None).status_code == 409
    assert status(pair, intent_id) == "Captured"


def test_an_intent_is_cancelled_only_while_nobody_has_paid_it(pair, is_valid):
    unpaid, paid = create(pair)["id"], a_captured_intent(pair)

    cancelled, refused = (call(pair.sandbox, "DELETE", f"/payment-intents/{intent_id}") for intent_id in (unpaid, paid))

    is_valid("dojo-api", "PaymentIntent", cancelled.json())
    assert (cancelled.status_code, cancelled.json()["status"], refused.status_code) == (200, "Canceled", 400)
    assert status(pair, paid) == "Captured"
    eventually(lambda: ("status_updated", "Canceled") in heard(pair, unpaid))


# Whom it tells


def test_the_pos_hears_of_each_move_once_and_of_a_refused_one_not_at_all(pair):
    intent_id = a_held_intent(pair)
    post(pair.sandbox, f"/payment-intents/{intent_id}/captures", {"amount": 1000})
    refund(pair, intent_id, 1000)
    refund(pair, intent_id, 1000)
    refund(pair, intent_id, 1, "more")

    eventually(lambda: len(heard(pair, intent_id)) == 4)
    expected = [("created", "Created"), *(("status_updated", each) for each in ("Authorized", "Captured", "Refunded"))]
    assert sorted(heard(pair, intent_id)) == sorted(expected)


def test_a_pos_that_registered_no_events_hears_nothing(pair):
    put_rest(pair.sandbox, pair.peer.url, ["GetOrderById", "HandleEvent:payment_intent.created"])
    intent_id = a_captured_intent(pair)

    eventually(lambda: heard(pair, intent_id))
    assert heard(pair, intent_id) == [("created", "Created")]


def test_a_write_is_answered_before_the_pos_has_taken_its_event():
    written = threading.Event()

    class Busy(Peer):
        def event(self):
            assert written.wait(SECONDS)
            return super().event()

    with running(peer=Busy) as pair:
        pair.peer.refusals += [503] * 3

        intent = create(pair)

        written.set()
        eventually(lambda: heard(pair, intent["id"]) == [("created", "Created")] * 4)


@pytest.mark.parametrize("path", ["captures", "refunds"])
def test_an_intent_that_nobody_made_is_unknown(pair, path):
    assert post(pair.sandbox, f"/payment-intents/pi_none/{path}", {"amount": 1}, IdempotencyKey="k").status_code == 404


def test_a_write_needs_the_key_and_the_version(pair):
    intent_id = create(pair)["id"]

    assert call(pair.sandbox, "DELETE", f"/payment-intents/{intent_id}", Authorization="Basic wrong").status_code == 401
    assert call(pair.sandbox, "DELETE", f"/payment-intents/{intent_id}", version="2020-01-01").status_code == 400
    assert status(pair, intent_id) == "Created"


def test_a_write_whose_answer_is_lost_was_done(pair):
    intent_id = a_captured_intent(pair)
    pair.sandbox.fault("POST", "/payment-intents/*/refunds", "garbage")

    assert refund(pair, intent_id, 300).text.startswith("<html>")
    repeated = refund(pair, intent_id, 300)

    assert repeated.status_code == 200
    assert get(pair.sandbox, f"/payment-intents/{intent_id}").json()["refundedAmount"] == 300


def test_tips_are_refunded_after_the_bill(pair):
    intent = pair.sandbox.intents.make(gbp(1000), reference="r", tips=gbp(100))
    pair.sandbox.intents.capture(intent.id)

    assert pair.sandbox.intents.refund(intent.id, gbp(1040)).counted == (gbp(0), gbp(60))
