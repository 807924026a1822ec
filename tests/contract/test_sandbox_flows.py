"""What a flow can be asked for: capture modes and parts, paying later, undoing, events in the wrong order."""

import pytest

from adapters.sandbox import CapabilityMissing, InvalidRequest, Pos, Sandbox, basket_of, steps
from tests.contract.sandbox_peer import (
    CAPABILITIES,
    CREATED,
    KEY,
    SECONDS,
    STATUS_UPDATED,
    TABLE,
    USER,
    TardyPeer,
    TrustingPeer,
    events_by_capability,
    eventually,
    gbp,
    get,
    post,
    put_rest,
    running,
    wire,
)


@pytest.fixture
def pair():
    with running() as pair:
        yield pair


def said(pair):
    return [(event["event"], event["data"]["paymentStatus"]) for event in events_by_capability(pair)]


def names(result):
    return [step.name for step in result.steps]


def intent_of(pair, result, number=0):
    return pair.sandbox.intents.read(result.intent_ids[number])


# Capture modes and parts


def test_pay_only_in_manual_mode_authorises_first_and_says_so(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE, capture_mode="Manual", tips=gbp(50))

    assert result.reason == ""
    assert said(pair) == [(CREATED, "Created"), (STATUS_UPDATED, "Authorized"), (STATUS_UPDATED, "Captured")]
    assert (order["paidAmount"], order["tipsAmount"], intent_of(pair, result).capture_mode) == (wire(1000), wire(50), "Manual")


def test_pay_only_in_automatic_mode_has_no_authorisation(pair):
    pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE)

    assert [status for _, status in said(pair)] == ["Created", "Captured"]
    assert (intent_of(pair, result).capture_mode, "Authorise" in names(result)) == ("Auto", False)


@pytest.mark.parametrize(("captures", "paid"), [((600,), 600), ((600, 400), 1000), ((100, 200, 300), 600)])
def test_money_may_be_captured_in_parts_each_seen_through(pair, captures, paid):
    result = pair.sandbox.order_and_pay(basket_of(gbp(1000)), captures=tuple(map(gbp, captures)), tips=gbp(70))

    assert result.reason == ""
    order = pair.peer.orders[result.order_id]
    assert (order["paidAmount"], order["tipsAmount"]) == (wire(paid), wire(70))
    assert [(capture.amount.value, capture.tips.value) for capture in intent_of(pair, result).captures] == [
        (part, 0 if index else 70) for index, part in enumerate(captures)
    ]
    assert names(result).count("GetOrderById") == len(captures)


def test_a_pos_that_shows_the_whole_of_a_part_fails_the_flow():
    with running(peer=TrustingPeer, at_once=True, step_seconds=0.3) as pair:
        result = pair.sandbox.order_and_pay(basket_of(gbp(1000)), captures=(gbp(600),))

    assert "paidAmount is GBP 10.00, not GBP 6.00" in result.reason


# Paying later


@pytest.mark.parametrize("capture_mode", ["Auto", "Manual"])
def test_an_order_without_payments_is_paid_later_by_pay_only(pair, capture_mode):
    result = pair.sandbox.order_and_pay(pay_later=True, tips=gbp(30), capture_mode=capture_mode)

    assert result.reason == ""
    [created] = [body for method, path, body in pair.peer.received if (method, path) == ("POST", "/v1/orders")]
    assert created["payments"] == []
    assert names(result)[:3] == ["CreateOrder", "SearchOrders", "GetOrderById"]
    assert pair.peer.orders[result.order_id]["paidAmount"] == wire(5170)
    intent = intent_of(pair, result)
    assert (intent.capture_mode, intent.external_id, intent.dojo_order_id) == (capture_mode, result.order_id, created["dojoOrderId"])


# The order of events


def test_status_updated_may_come_before_created(pair):
    pair.peer.open(1000)

    assert pair.sandbox.pay_only(TABLE, status_first=True).reason == ""

    assert [event for event, _ in said(pair)] == [STATUS_UPDATED, CREATED]


def test_the_event_may_come_before_create_order(pair):
    pair.sandbox.fault("GET", "/payment-intents/*", "404", times=2)

    result = pair.sandbox.order_and_pay(event_first=True)

    assert [path for method, path, _ in pair.peer.received if method == "POST"] == ["/v1/events", "/v1/orders"]
    assert names(result)[:4] == ["PreAuthorise", "Capture", f"HandleEvent:{STATUS_UPDATED}", "CreateOrder"]


# What happens instead of the capture


def test_a_cancelled_order_costs_nothing_and_its_hold_is_reversed(pair):
    result = pair.sandbox.order_and_pay(instead_of_capture="cancel")

    assert result.reason == ""
    assert (pair.peer.orders[result.order_id]["status"], intent_of(pair, result).status) == ("Canceled", "Reversed")
    assert said(pair) == [(STATUS_UPDATED, "Reversed")]


def test_a_reversed_hold_is_announced(pair):
    result = pair.sandbox.order_and_pay(instead_of_capture="reversal")

    assert (result.reason, intent_of(pair, result).status) == ("", "Reversed")
    assert pair.peer.orders[result.order_id]["paidAmount"] == wire(0)


def test_a_card_declined_in_order_and_pay_never_reaches_the_pos(pair):
    result = pair.sandbox.order_and_pay(instead_of_capture="decline")

    assert (result.state, pair.peer.received, intent_of(pair, result).status) == ("done", [], "Created")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"instead_of_capture": "decline"}, "Created"),
        ({"instead_of_capture": "cancel"}, "Canceled"),
        ({"instead_of_capture": "cancel", "capture_mode": "Manual"}, "Reversed"),
        ({"instead_of_capture": "reversal", "capture_mode": "Manual"}, "Reversed"),
    ],
    ids=["declined", "cancelled", "given-up", "reversed"],
)
def test_a_bill_whose_payment_came_to_nothing_stays_payable(pair, options, status):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE, **options)

    assert (result.reason, intent_of(pair, result).status) == ("", status)
    assert (order["payable"], order["paidAmount"]) == (True, wire(0))


def test_a_bill_that_is_closed_although_nobody_paid_fails_the_flow():
    with running(peer=TrustingPeer, at_once=True, step_seconds=0.3) as pair:
        pair.peer.open(1000)["payable"] = True
        result = pair.sandbox.pay_only(TABLE, instead_of_capture="cancel")

    assert "paidAmount is GBP 10.00, not GBP 0.00" in result.reason


@pytest.mark.parametrize("instead", ["cancel", "decline"])
def test_a_bill_that_is_closed_only_after_the_pos_read_the_intent_fails_the_flow_too(monkeypatch, instead):
    monkeypatch.setattr(steps, "HOLD_BACK_SECONDS", float(SECONDS))  # The flow goes on as soon as the POS announces.
    with running(peer=TardyPeer, step_seconds=0.3) as pair:
        pair.peer.open(1000)
        result = pair.sandbox.pay_only(TABLE, instead_of_capture=instead)

    assert "paidAmount is GBP 10.00, not GBP 0.00" in result.reason


# Afterwards


def test_refunds_afterwards_are_seen_through_in_part_and_in_full(pair):
    result = pair.sandbox.order_and_pay(basket_of(gbp(1000)), tips=gbp(100), afterwards=("refund-part", "refund"))

    assert result.reason == ""
    order = pair.peer.orders[result.order_id]
    assert (order["paidAmount"], order["tipsAmount"]) == (wire(0), wire(0))
    details = [step.detail for step in result.steps if step.name == "GetOrderById"]
    assert details[1:] == ["paid GBP 4.50 of GBP 10.00, tips GBP 1.00", "paid GBP 0.00 of GBP 10.00, tips GBP 0.00"]
    assert intent_of(pair, result).refunded == gbp(1100)


def test_a_reversal_afterwards_is_seen_through(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE, afterwards=("reversal",))

    assert (result.reason, order["paidAmount"], intent_of(pair, result).status) == ("", wire(0), "Reversed")


def test_cancelling_a_paid_order_may_be_refused_and_changes_nothing(pair):
    result = pair.sandbox.order_and_pay(afterwards=("cancel",))

    assert result.reason == ""
    assert [step.detail for step in result.steps if step.name == "CancelOrderById"] == ["409: too late, the order stays"]
    assert (intent_of(pair, result).status, pair.peer.orders[result.order_id]["paidAmount"]) == ("Captured", wire(5170))


def test_of_a_bill_in_parts_the_last_payment_is_undone(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE, parts=2, afterwards=("refund",))

    assert (result.reason, order["paidAmount"]) == ("", wire(500))
    assert [intent_of(pair, result, number).status for number in (0, 1)] == ["Captured", "Refunded"]


def test_a_refund_that_the_pos_does_not_show_fails_the_flow():
    with running(peer=TrustingPeer, at_once=True, step_seconds=0.3) as pair:
        result = pair.sandbox.order_and_pay(afterwards=("refund",))

    assert "paidAmount is GBP 51.70, not GBP 0.00" in result.reason


# What cannot be had


@pytest.mark.parametrize(
    ("flow", "options"),
    [
        ("pay-only", {"captures": [wire(1)]}),
        ("pay-only", {"captures": [wire(1)], "captureMode": "Manual", "parts": 2}),
        ("pay-only", {"insteadOfCapture": "reversal"}),
        ("pay-only", {"insteadOfCapture": "cancel", "parts": 2}),
        ("pay-only", {"afterwards": ["reversal"], "captureMode": "Manual"}),
        ("pay-only", {"afterwards": ["refund"], "insteadOfCapture": "decline"}),
        ("pay-only", {"eventFirst": True}),
        ("order-and-pay", {"afterwards": ["reversal"]}),
        ("order-and-pay", {"payLater": True, "eventFirst": True}),
        ("order-and-pay", {"mode": "inline", "insteadOfCapture": "cancel"}),
        ("order-and-pay", {"afterwards": ["explode"]}),
        ("order-and-pay", {"channels": "pigeon"}),
        ("order-and-pay", {"statusFirst": True}),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_sent(pair, flow, options):
    body = {"flow": flow} | ({"tableId": TABLE} if flow == "pay-only" else {}) | options

    answer = post(pair.sandbox, "/sandbox/flows", body)

    assert (answer.status_code, pair.peer.received) == (400, [])
    assert answer.json()["detail"]


def test_options_are_refused_in_this_process_too(pair):
    with pytest.raises(InvalidRequest, match="Manual"):
        pair.sandbox.pay_only(TABLE, captures=(gbp(1),))


def test_a_flow_that_cancels_needs_the_capability(pair):
    put_rest(pair.sandbox, pair.peer.url, [name for name in CAPABILITIES if name != "CancelOrderById"])

    with pytest.raises(CapabilityMissing, match="CancelOrderById"):
        pair.sandbox.order_and_pay(afterwards=("cancel",))


def test_every_option_is_had_over_http(pair):
    body = {
        "flow": "order-and-pay",
        "payLater": True,
        "captureMode": "Manual",
        "captures": [wire(70), wire(5000)],
        "afterwards": ["refund"],
    }

    started = post(pair.sandbox, "/sandbox/flows", body | {"tips": wire(5), "sameEventId": True, "channels": "capability"}).json()

    flow = f"/sandbox/flows/{started['id']}"
    eventually(lambda: get(pair.sandbox, flow).json()["state"] != "running")
    assert get(pair.sandbox, flow).json()["reason"] == ""


def test_a_pos_given_to_the_sandbox_needs_no_registration(pair):
    other = Sandbox(api_key=KEY, pos=Pos(url=pair.peer.url, username=USER[0], password=USER[1]), step_seconds=SECONDS)
    other.start()
    try:
        pair.peer.dojo_url = other.url
        assert other.order_and_pay(afterwards=("refund",)).reason == ""
        other.send_event(other.intents.make(gbp(5), reference="r").id)
        assert said(pair)[-1] == (STATUS_UPDATED, "Created")
    finally:
        other.stop()
