"""What goes wrong on request: calls that hang, drip or answer rubbish, events out of order, and amounts that ask for it all."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from adapters.sandbox import InvalidRequest, Sandbox, basket_of, magic_table
from adapters.sandbox.magic import SPELLS
from tests.contract.sandbox_peer import (
    CREATED,
    HEADERS,
    KEY,
    STATUS_UPDATED,
    TABLE,
    TrustingPeer,
    call,
    events_by_capability,
    eventually,
    gbp,
    get,
    post,
    running,
    wire,
)

WHERE = "/epos/integrations"


@pytest.fixture
def pair():
    with running(read_seconds=1) as pair:
        yield pair


def statuses(pair, path):
    return [message.status for message in pair.sandbox.messages() if message.path.startswith(path) and message.direction == "->"]


# Calls


def test_a_call_that_times_out_is_not_done_and_ends_when_the_caller_leaves(pair):
    pair.sandbox.fault("PUT", f"{WHERE}/rest", "timeout", hold_seconds=60)
    body = {"url": "http://x", "auth": {"authType": "basic", "basic": {"username": "u", "password": "p"}}, "capabilities": []}

    with pytest.raises(requests.ReadTimeout):
        requests.put(pair.sandbox.url + WHERE + "/rest", json=body, headers=HEADERS, timeout=0.2)

    eventually(lambda: statuses(pair, WHERE)[-1] == 0)
    assert get(pair.sandbox, WHERE + "/rest").json()[0]["url"] == pair.peer.url


def test_a_call_that_times_out_is_hung_up_after_the_time_that_was_asked_for(pair):
    pair.sandbox.fault("GET", WHERE, "timeout", hold_seconds=0.3)
    began = time.monotonic()

    with pytest.raises(requests.ConnectionError):
        get(pair.sandbox, WHERE)

    assert 0.3 <= time.monotonic() - began < 30


def test_stopping_does_not_wait_for_a_call_that_hangs():
    with running() as pair, ThreadPoolExecutor(1) as pool:
        pair.sandbox.fault("GET", WHERE, "timeout", hold_seconds=60)
        hanging = pool.submit(get, pair.sandbox, WHERE)
        began = time.monotonic()
        pair.sandbox.stop()

        assert time.monotonic() - began < 30
        with pytest.raises(requests.ConnectionError):
            hanging.result(timeout=30)


def test_a_dripping_answer_comes_a_byte_at_a_time(pair):
    pair.sandbox.fault("GET", WHERE, "drip")

    with requests.get(pair.sandbox.url + WHERE, headers=HEADERS, timeout=60, stream=True) as answer:
        chunks = [answer.raw.read(1), answer.raw.read(1)]

    assert (answer.status_code, b"".join(chunks)) == (200, b'{"')
    assert int(answer.headers["content-length"]) > 50
    eventually(lambda: statuses(pair, WHERE)[-1] == 0)


def test_a_dripping_answer_is_cut_after_the_time_that_was_asked_for(pair):
    pair.sandbox.fault("GET", WHERE, "drip", hold_seconds=0.3)

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(pair.sandbox, WHERE)


def test_garbage_is_a_200_that_is_no_json_and_the_call_was_done(pair):
    pair.sandbox.fault("POST", "/payment-intents", "garbage")

    answer = post(pair.sandbox, "/payment-intents", {"amount": wire(5), "reference": "garbled"})

    assert (answer.status_code, answer.headers["content-type"], answer.text[:6]) == (200, "text/html", "<html>")
    assert [intent.reference for intent in pair.sandbox.intents.all()] == ["garbled"]


@pytest.mark.parametrize("kind", ["timeout", "drip", "garbage"])
def test_a_read_that_was_spoiled_is_no_read(kind):
    with running(step_seconds=0.3, reads=1, read_seconds=1) as pair:
        pair.sandbox.fault("GET", "/payment-intents/*", kind)

        assert "has not read payment intent" in pair.sandbox.order_and_pay().reason


@pytest.mark.parametrize("kind", ["timeout", "drip", "garbage"])
def test_a_pos_that_reads_again_after_a_spoiled_answer_ends_the_flow_well(pair, kind):
    pair.sandbox.fault("GET", "/payment-intents/*", kind)

    assert pair.sandbox.order_and_pay().reason == ""


@pytest.mark.parametrize("wait", [{"holdSeconds": -1}, {"lateSeconds": 3601}, {"retryAfterSeconds": -1}, {"times": 0}])
def test_a_fault_with_impossible_waits_is_refused(pair, wait):
    assert post(pair.sandbox, "/sandbox/faults", {"method": "GET", "path": "*", "kind": "timeout"} | wait).status_code == 400


def test_faults_that_have_not_happened_are_taken_back(pair):
    pair.sandbox.fault("GET", WHERE, "500", times=5)

    assert call(pair.sandbox, "DELETE", "/sandbox/faults").status_code == 204

    assert get(pair.sandbox, WHERE).status_code == 200


# Events


def test_two_events_are_swapped(pair):
    pair.peer.open(900)
    pair.sandbox.fault("EVENT", CREATED, "out-of-order", late_seconds=60)

    assert pair.sandbox.pay_only(TABLE).reason == ""

    eventually(lambda: len(events_by_capability(pair)) == 2)
    assert [event["event"] for event in events_by_capability(pair)] == [STATUS_UPDATED, CREATED]


def test_an_event_that_none_follows_comes_late(pair):
    intent = pair.sandbox.intents.make(gbp(5), reference="r")
    pair.sandbox.fault("EVENT", STATUS_UPDATED, "out-of-order", late_seconds=0.1)
    began = time.monotonic()

    pair.sandbox.send_event(intent.id)

    eventually(lambda: events_by_capability(pair))
    assert time.monotonic() - began >= 0.1


def test_a_fault_may_be_about_the_events_of_one_intent(pair):
    one, other = (pair.sandbox.intents.make(gbp(5), reference="r").id for _ in range(2))
    pair.sandbox.fault("EVENT", f"* {one}", "dropped")

    pair.sandbox.send_event(other)
    pair.sandbox.send_event(one)

    assert [event["data"]["paymentIntentId"] for event in events_by_capability(pair)] == [other]


def test_an_event_fault_of_a_kind_that_is_for_calls_is_refused(pair):
    with pytest.raises(InvalidRequest):
        pair.sandbox.fault("EVENT", "*", "timeout")


# Magic amounts


def test_the_table_of_magic_amounts_names_each_of_them_once():
    listed = [int(pounds) * 100 + int(pence) for pounds, pence in re.findall(r"^  (\d+)\.(\d\d)  ", magic_table(), re.MULTILINE)]

    assert listed == sorted(SPELLS)


@pytest.mark.parametrize(
    ("pence", "first"), [(1001, 500), (1002, 429), (1003, 0), (1004, 0), (1005, 200), (1006, 0), (1007, 404), (11001, 500)]
)
def test_an_amount_makes_the_first_read_fail(pair, pence, first):
    pair.peer.open(pence)

    result = pair.sandbox.pay_only(TABLE)

    spoiled = eventually(lambda: [message for message in pair.sandbox.messages() if "fault" in message.note])
    reads = statuses(pair, f"/payment-intents/{result.intent_ids[0]}")  # One that hung is told of when the sandbox sees its caller gone.
    assert result.reason == ""
    assert (reads[0], len(spoiled)) == (first, 1)


def test_too_many_requests_by_amount_says_when_to_come_back():
    sandbox = Sandbox(api_key=KEY)  # With no POS: a POS that hears of the intent may read it first, and take the 429.
    sandbox.start()
    try:
        intent = post(sandbox, "/payment-intents", {"amount": wire(1002), "reference": "r"}).json()
        answer = get(sandbox, f"/payment-intents/{intent['id']}")
    finally:
        sandbox.stop()

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


@pytest.mark.parametrize(("pence", "copies"), [(1011, 2), (1012, 1), (1013, 0), (1010, 1)])
def test_an_amount_decides_how_often_the_event_comes(pair, pence, copies):
    pair.peer.open(pence)
    with ThreadPoolExecutor(1) as pool:
        flow = pool.submit(pair.sandbox.pay_only, TABLE)
        if copies:
            assert flow.result(timeout=60).reason == ""
            eventually(lambda: len(events_by_capability(pair)) == 1 + copies)
        else:
            eventually(lambda: [m for m in pair.sandbox.messages() if "dropped" in m.note])
            pair.sandbox.stop()
        assert [event["event"] for event in events_by_capability(pair)].count(STATUS_UPDATED) == copies


def test_an_amount_swaps_the_two_events_of_pay_only(pair):
    pair.peer.open(1014)

    assert pair.sandbox.pay_only(TABLE).reason == ""

    eventually(lambda: len(events_by_capability(pair)) == 2)
    assert [event["event"] for event in events_by_capability(pair)] == [STATUS_UPDATED, CREATED]


@pytest.mark.parametrize("pence", [1021, 1022, 1023])
def test_an_amount_makes_an_intent_that_does_not_agree_and_must_not_be_shown(pair, pence):
    result = pair.sandbox.order_and_pay(basket_of(gbp(pence)))

    assert result.reason == ""
    assert [step.name for step in result.steps][-1] == "HeldBack"
    intent = pair.sandbox.intents.read(result.intent_ids[0])
    assert (intent.external_id == result.order_id, intent.amount == gbp(pence)) == (pence != 1021, pence == 1021)
    assert pair.peer.orders[result.order_id]["paidAmount"] == wire(0)


@pytest.mark.parametrize("pence", [1021, 1022, 1023])
def test_a_pos_that_shows_money_that_does_not_agree_fails_the_flow(pence):
    with running(peer=TrustingPeer, at_once=True) as pair:
        result = pair.sandbox.order_and_pay(basket_of(gbp(pence)))

    assert "shows money of an intent that does not agree with it" in result.reason


def test_a_penny_more_on_a_bill_is_an_overpayment_that_must_be_shown(pair):
    order = pair.peer.open(1023)

    assert pair.sandbox.pay_only(TABLE).reason == ""

    assert order["paidAmount"] == wire(1024)


def test_a_card_is_declined_by_amount(pair):
    order = pair.peer.open(1024)

    assert pair.sandbox.pay_only(TABLE).reason == ""

    assert (order["payable"], [event["event"] for event in events_by_capability(pair)]) == (True, [CREATED])
    made = post(pair.sandbox, "/payment-intents", {"amount": wire(1024), "reference": "r"}).json()
    assert post(pair.sandbox, f"/sandbox/intents/{made['id']}/pay", None).status_code == 409
    assert get(pair.sandbox, f"/payment-intents/{made['id']}").json()["status"] == "Created"
