"""Pay at Table against POSes on the other end of a socket: what Dojo's card machine does, and what it finds wrong."""

import re

import pytest

from adapters.capabilities import CAPABILITIES as ALL_CAPABILITIES
from adapters.sandbox import CapabilityMissing, InvalidRequest
from tests.contract import table_peer
from tests.contract.sandbox_peer import CREATED, STATUS_UPDATED, TABLE, USER, gbp, get, post, put_rest, running, subscribe, wire
from tests.contract.sandbox_peer import eventually as soon
from tests.contract.table_peer import TablePeer

LOCKS = ("CreateOrderLock", "DeleteOrderLock", "ExtendOrderLock")
RECORD = "RecordOrderPayment"
STATUS = f"HandleEvent:{STATUS_UPDATED}"


@pytest.fixture
def pair():
    with running(peer=TablePeer, at_once=True) as pair:
        yield pair


def names(result):
    return [step.name for step in result.steps]


def asked(pair, ending):
    """The bodies of the peer's calls whose path ends so."""
    return [body for _, path, body in pair.peer.received if path.endswith(ending)]


def intent_of(pair, result, number=0):
    return pair.sandbox.intents.read(result.intent_ids[number])


# What Dojo does, by what is registered


def test_without_locks_the_payment_is_recorded_alone(pair):
    put_rest(pair.sandbox, pair.peer.url, ["SearchOrders", "GetOrderById", RECORD])
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, tips=gbp(150))

    assert result.reason == ""
    assert names(result) == ["SearchOrders", "GetOrderById", "Capture", RECORD, "GetOrderById"]
    assert asked(pair, "/record-payment") == [{"paymentIntentId": result.intent_ids[0], "paidAmount": wire(1000), "tipsAmount": wire(150)}]
    assert (order["paidAmount"], order["tipsAmount"], order["payable"]) == (wire(1000), wire(150), False)


def test_with_locks_a_long_one_is_held_over_all_payments_and_released(pair):
    pair.peer.open(1001)

    result = pair.sandbox.pay_at_table(TABLE, parts=2, without=("ExtendOrderLock", "GetOrderBill"))

    assert result.reason == ""
    called = [name for name in names(result) if not name.startswith(("HandleEvent", "Capture", "Search", "Get"))]
    assert called == ["CreateOrderLock", RECORD, RECORD, "DeleteOrderLock"]
    [lock_id] = [body["lockId"] for body in asked(pair, "/lock")]
    assert [(body["lockId"], body["paidAmount"]["value"]) for body in asked(pair, "/record-payment")] == [(lock_id, 501), (lock_id, 500)]
    assert pair.peer.locks == {}


def test_a_lock_that_can_be_extended_is_short_and_extended_before_each_payment(pair):
    pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, parts=3)

    assert result.reason == ""
    assert names(result).count("ExtendOrderLock") == 3
    assert len([path for method, path, _ in pair.peer.received if method == "PUT" and "/locks/" in path]) == 3


def test_a_lock_outlives_its_first_expiry_while_the_waiter_takes_time(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, lock_seconds=1, delay_seconds=1.2)

    assert result.reason == ""
    assert names(result).count("ExtendOrderLock") == 3
    assert order["paidAmount"] == wire(1000)


def test_the_bill_is_printed_where_the_pos_has_one(pair):
    pair.peer.open(1000)

    assert "GetOrderBill" in names(pair.sandbox.pay_at_table(TABLE))
    pair.peer.open(1000)
    assert "GetOrderBill" not in names(pair.sandbox.pay_at_table(TABLE, without=("GetOrderBill",)))


def test_the_newer_names_of_capabilities_count(pair):
    put_rest(pair.sandbox, pair.peer.url, ["SearchOrders", "GetOrderById", "RecordOrderPaymentById", "GetOrderBillById"])
    pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE)

    assert (result.reason, "GetOrderBill" in names(result)) == ("", True)


def test_dojo_says_which_waiter_asks_with_which_device(pair):
    pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, waiter_id="7", device_id="tm_9")

    assert set(pair.peer.callers) == {("7", "PayAtTable", "tm_9", "Dojo Terminal")}
    intent = intent_of(pair, result)
    assert (intent.capture_mode, intent.external_id, intent.metadata) == ("Auto", "pos-1", {"waiterId": "7"})


def test_a_waiter_finds_an_order_without_a_table(pair):
    pair.peer.open(1000)

    assert pair.sandbox.pay_at_table(waiter_id=table_peer.WAITER).reason == ""
    assert pair.sandbox.pay_at_table(waiter_id="99").reason == "the POS found no such payable order at waiter 99; it found none"
    assert asked(pair, "/search")[0]["dineIn"] == {"waiterId": table_peer.WAITER}


def test_events_of_the_payment_count_nothing_more(pair):
    order = pair.peer.open(1000)

    assert pair.sandbox.pay_at_table(TABLE, parts=2).reason == ""
    assert [body["event"] for body in asked(pair, "/events")] == [CREATED, STATUS_UPDATED] * 2
    assert order["paidAmount"] == wire(1000)


def test_the_event_may_come_before_record_order_payment(pair):
    order = pair.peer.open(1000)

    assert pair.sandbox.pay_at_table(TABLE, event_first=True).reason == ""
    assert order["paidAmount"] == wire(1000)


def test_events_may_come_by_webhook_alone(pair):
    put_rest(pair.sandbox, pair.peer.url, ["SearchOrders", "GetOrderById", RECORD])
    subscribe(pair)
    order = pair.peer.open(1000)

    assert pair.sandbox.pay_at_table(TABLE, afterwards=("refund",)).reason == ""
    assert (len(pair.peer.hooked), order["paidAmount"]) == (3, wire(0))


# Answers that are lost


@pytest.mark.parametrize("times", [1, 2])
def test_a_payment_whose_answer_is_lost_is_told_again_and_counts_once(pair, times):
    order = pair.peer.open(1000)
    pair.sandbox.fault("POST", "/v1/orders/*/record-payment", "lost", times=times)

    result = pair.sandbox.pay_at_table(TABLE)

    assert result.reason == ""
    assert len(asked(pair, "/record-payment")) == 1 + times
    assert (order["paidAmount"], len(order["payments"])) == (wire(1000), 1)
    assert f"repeated {times} times for want of an answer" in [step for step in result.steps if step.name == RECORD][0].detail


def test_a_payment_of_an_amount_loses_its_answer(pair):
    pair.peer.open(1031)

    assert pair.sandbox.pay_at_table(TABLE).reason == ""
    assert len(asked(pair, "/record-payment")) == 2


@pytest.mark.parametrize("pence", [1021, 1022, 1023])
def test_a_payment_that_is_recorded_is_as_it_is_told_whatever_its_amount(pair, pence):
    pair.peer.open(pence)

    result = pair.sandbox.pay_at_table(TABLE)

    assert result.reason == ""
    assert (intent_of(pair, result).amount, intent_of(pair, result).external_id) == (gbp(pence), "pos-1")


def test_a_payment_that_was_kept_and_answered_with_500_is_told_again():
    with running(peer=table_peer.FailsOnce) as pair:
        order = pair.peer.open(1000)
        assert pair.sandbox.pay_at_table(TABLE).reason == ""

    assert (order["paidAmount"], len(order["payments"])) == (wire(1000), 1)


def test_a_payment_that_is_never_answered_goes_back(pair):
    pair.peer.open(1000)
    pair.sandbox.fault("POST", "/v1/orders/*/record-payment", "lost", times=3)

    result = pair.sandbox.pay_at_table(TABLE)

    assert "fault: lost, the POS had answered 200" in result.reason
    assert intent_of(pair, result).status == "Refunded"
    assert (names(result)[-1], pair.peer.locks) == ("DeleteOrderLock", {})


@pytest.mark.parametrize("kind", ["500", "timeout", "garbage", "close"])
def test_of_calls_of_the_pos_only_the_answer_goes_wrong(pair, kind):
    with pytest.raises(InvalidRequest, match="no fault"):
        pair.sandbox.fault("POST", "/v1/orders/*", kind)


def test_exact_duplicates_are_counted_once(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, parts=2, duplicates=2, tips=gbp(3))

    assert result.reason == ""
    assert (names(result).count(RECORD), order["tipsAmount"], len(order["payments"])) == (6, wire(3), 2)


# Refusals that must be, and what is given up


def test_a_payment_larger_than_what_is_left_is_refused_given_back_and_not_counted(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, parts=2, too_large=True)

    assert result.reason == ""
    assert [intent_of(pair, result, number).status for number in range(3)] == ["Refunded", "Captured", "Captured"]
    assert [intent_of(pair, result, number).amount.value for number in range(3)] == [1001, 500, 500]
    assert [payment["paymentIntentId"] for payment in order["payments"]] == list(result.intent_ids[1:])


def test_a_second_waiter_is_kept_out_until_the_first_one_is_done(pair):
    pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, second_waiter=True)

    assert result.reason == ""
    assert [step.detail for step in result.steps if step.name == "CreateOrderLock"][1:] == [
        "second waiter: 409 as it must be",
        "second waiter: granted and released",
    ]
    assert ("42-2", "PayAtTable", "tm_sandbox_1-2", "Dojo Terminal") in pair.peer.callers
    assert pair.peer.locks == {}


@pytest.mark.parametrize(("instead", "status"), [("decline", "Created"), ("cancel", "Canceled")])
def test_a_payment_that_came_to_nothing_is_not_recorded_and_the_order_is_released(pair, instead, status):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, instead_of_capture=instead)

    assert (result.reason, intent_of(pair, result).status, asked(pair, "/record-payment")) == ("", status, [])
    assert (order["payable"], pair.peer.locks) == (True, {})


def test_a_refund_afterwards_is_seen_through(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_at_table(TABLE, afterwards=("refund-part", "refund"))

    assert (result.reason, order["paidAmount"], order["payments"]) == ("", wire(0), [])


# What is wrong with a POS


@pytest.mark.parametrize(
    ("peer", "options", "reason"),
    [
        (
            table_peer.RepeatRefuser,
            {"duplicates": 1},
            r"the same payment again must be 200, the POS answered 409 .* was given back",
        ),
        (table_peer.DoubleCounter, {"duplicates": 1}, r"paidAmount is GBP 20\.00, not GBP 10\.00"),
        (table_peer.GenerousLocker, {"second_waiter": True}, r"is locked, so a second waiter's lock must be 409, the POS answered 200"),
        (table_peer.StubbornLocker, {"second_waiter": True}, r"was released, so a second waiter's lock must be 200, the POS answered 409"),
        (table_peer.SumChanger, {}, r"totalAmount is GBP 11\.00, not GBP 10\.00"),
        (table_peer.Forgetter, {}, r"paidAmount is GBP 0\.00, not GBP 10\.00, .*payments shows nothing of pi_sandbox_\S+, not GBP 10\.00"),
        (table_peer.Closer, {"instead_of_capture": "decline"}, r"once its lock was released: payable is False, not True"),
        (table_peer.Overtaker, {"too_large": True}, r"a payment of GBP 10\.01 where GBP 10\.00 was left must be 409, the POS answered 200"),
        (
            table_peer.SecretRefuser,
            {"without": (STATUS,)},
            r"a payment that fits must be 200, .* was given back, .* counts it all the same",
        ),
        (table_peer.SecretCounter, {"too_large": True, "without": (STATUS,)}, r"paidAmount is GBP 10\.01, not GBP 0\.00"),
        (table_peer.Talker, {}, r"ExtendOrderLock must be \{\} and nothing else, the POS answered with details, id,"),
        (table_peer.OtherOrder, {}, r"the answer is order pos-2, asked was pos-1"),
        (table_peer.DoubleTold, {}, r"paidAmount is GBP 20\.00, not GBP 10\.00"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_pos_that_gets_it_wrong_fails_the_flow_with_what_was_wrong(peer, options, reason):
    with running(peer=peer, at_once=True, step_seconds=0.3) as pair:
        pair.peer.open(1000)
        result = pair.sandbox.pay_at_table(TABLE, **options)

    assert not result.ok
    assert re.search(reason, result.reason), result.reason


def test_the_lock_is_released_although_the_payment_failed():
    with running(peer=table_peer.SumChanger, at_once=True, step_seconds=0.3) as pair:
        pair.peer.open(1000)
        result = pair.sandbox.pay_at_table(TABLE)

    assert [step.state for step in result.steps if step.name in {RECORD, "DeleteOrderLock"}] == ["failed", "done"]
    assert pair.peer.locks == {}


def test_a_payment_that_fits_and_is_refused_goes_back_and_fails_the_flow(pair):
    order = pair.peer.open(1000)
    pair.peer.locks["pos-1"] = "lock_of_somebody", "2999-01-01T00:00:00Z"

    result = pair.sandbox.pay_at_table(TABLE, without=LOCKS)

    assert re.search(r"a payment that fits must be 200, the POS answered 409 .* was given back, .* does not count it", result.reason)
    assert (intent_of(pair, result).status, order["payable"]) == ("Refunded", True)


def test_a_pos_whose_order_is_locked_already_lets_nobody_pay(pair):
    pair.peer.open(1000)
    pair.peer.locks["pos-1"] = "lock_of_somebody", "2999-01-01T00:00:00Z"

    result = pair.sandbox.pay_at_table(TABLE)

    assert result.reason.startswith("order pos-1 was not locked, so nobody can pay: the POS answered 409")
    assert (result.intent_ids, pair.peer.locks["pos-1"][0]) == ((), "lock_of_somebody")


# What cannot be had


@pytest.mark.parametrize(
    "options",
    [
        {"captureMode": "Manual"},
        {"captures": [wire(1)]},
        {"insteadOfCapture": "reversal"},
        {"secondWaiter": True, "without": ["DeleteOrderLock"]},
        {"without": ["SearchOrders"]},
        {"records": False},
        {"waiterId": ""},
        {"lockSeconds": 0},
        {"parts": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_sent(pair, options):
    answer = post(pair.sandbox, "/sandbox/flows", {"flow": "pay-at-table", "tableId": TABLE} | options)

    assert (answer.status_code, pair.peer.received) == (400, [])
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("options", "missing"),
    [({}, RECORD), ({"second_waiter": True}, "CreateOrderLock, DeleteOrderLock"), ({"afterwards": ("refund",)}, STATUS_UPDATED)],
)
def test_what_a_flow_needs_must_be_registered(pair, options, missing):
    put_rest(pair.sandbox, pair.peer.url, ["SearchOrders", "GetOrderById"])

    with pytest.raises(CapabilityMissing, match=missing):
        pair.sandbox.pay_at_table(TABLE, **options)


def test_pay_at_table_is_had_over_http(pair):
    pair.peer.open(1000)

    body = {"flow": "pay-at-table", "waiterId": "42", "parts": 2, "secondWaiter": True, "tooLarge": True, "duplicates": 1}
    started = post(pair.sandbox, "/sandbox/flows", body | {"without": ["ExtendOrderLock"], "tips": wire(7)}).json()

    flow = f"/sandbox/flows/{started['id']}"
    soon(lambda: get(pair.sandbox, flow).json()["state"] != "running")
    assert (get(pair.sandbox, flow).json()["reason"], started["name"]) == ("", "pay-at-table")


# The newer variant of Pay-only: locks and RecordOrderPayment beside the events


@pytest.mark.parametrize(("capture_mode", "told"), [("Auto", 2), ("Manual", 4)])
def test_pay_only_may_lock_and_record_as_well(pair, capture_mode, told):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE, parts=2, records=True, capture_mode=capture_mode, tips=gbp(4))

    assert result.reason == ""
    assert [names(result).count(name) for name in ("CreateOrderLock", RECORD, STATUS, "DeleteOrderLock")] == [1, 2, told, 1]
    assert (order["paidAmount"], order["tipsAmount"], len(order["payments"])) == (wire(1000), wire(4), 2)


def test_an_order_that_is_paid_later_may_be_locked_and_recorded(pair):
    result = pair.sandbox.order_and_pay(pay_later=True, records=True)

    assert (result.reason, names(result).count(RECORD)) == ("", 1)
    with pytest.raises(InvalidRequest, match="paid later"):
        pair.sandbox.order_and_pay(records=True)


# All of it


NOT_ORDERS = re.compile("Party|Parties|Reservation|ListAreas|SearchTables")


@pytest.mark.parametrize(
    "capability", [each for each in ALL_CAPABILITIES if not NOT_ORDERS.search(each.name)], ids=lambda capability: capability.name
)
def test_every_capability_of_orders_is_called_by_some_flow(every_flow, capability):
    event = capability.name.partition(":")[2] or None
    path = re.compile(re.sub(r"\{\w+\}", "[^/]+", capability.path))
    calls = [body for method, called, body in every_flow if method == capability.method and path.fullmatch(called)]

    assert [body for body in calls if event in (None, (body or {}).get("event"))]


@pytest.fixture(scope="module")
def every_flow():
    """What a POS received that was driven through every flow."""
    with running(peer=TablePeer, at_once=True, register=False) as pair:
        known = {"pos_url": pair.peer.url, "credentials": USER}
        assert pair.sandbox.order_and_pay(instead_of_capture="cancel", **known).reason == ""
        pair.peer.open(1000)
        assert pair.sandbox.pay_only(TABLE, **known).reason == ""
        pair.peer.open(1000)
        assert pair.sandbox.pay_at_table(TABLE, **known).reason == ""
        return pair.peer.received
