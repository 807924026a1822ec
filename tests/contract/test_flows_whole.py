"""Everything that a payment can go through between a running service and the sandbox; after each, the journal proves what happened.

Both talk through a wiretap, and every body of either is checked against Dojo's published schemas after each test.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import requests

from adapters.capabilities import CAPABILITIES
from adapters.sandbox import Sandbox, basket_of
from tests.conftest import NO_SKIPS, SPECS
from tests.contract.running import (
    KEY,
    PASSWORD,
    SOFTWARE_HOUSE_ID,
    USERNAME,
    Service,
    a_bill,
    an_event,
    an_order,
    eventually,
    register,
)
from tests.contract.wiretap import Contract, Line
from workflow.money import Money

PATH = ["created", "authorised", "captured", "reconciled", "updated"]
HEADERS = {"Authorization": f"Basic {KEY}", "version": "2026-02-27"}
SECONDS = 10


class Watcher:
    """Sees each OrderUpdated while the service still waits for its answer, and reads the order back at that moment."""

    def __init__(self):
        self.service, self.seen = None, {}

    def __call__(self, message):
        if self.service and message.path == "/epos/events" and message.status == 200:
            order_id = message.note.split()[1]
            shown = self.service.dojo.get(f"/v1/orders/{order_id}").json
            self.seen.setdefault(order_id, []).append(shown["paidAmount"]["value"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A service that hears of events by the capability and by a webhook, sweeps each second and retries at once; a line to each side."""
    watcher = Watcher()
    sandbox = Sandbox(api_key=KEY, observer=watcher, step_seconds=SECONDS, event_back_off_seconds=0.02)
    sandbox.start()
    to_dojo = Line(urlsplit(sandbox.url).port)
    service = Service(tmp_path_factory.mktemp("whole"), to_dojo.url, SWEEP_S=1, ORPHAN_ALARM_S=1, CALL_DEADLINE_MS=700)
    to_pos = Line(service.dojo.port)
    service.settings["PUBLIC_URL"], service.dojo.port = to_pos.url, to_pos.port
    try:
        service.settings["WEBHOOK_SECRETS"] = subscribe(sandbox, f"{to_pos.url}/webhooks/dojo")
        service.start()
        register(service, sandbox)
        watcher.service = service
        yield SimpleNamespace(sandbox=sandbox, service=service, seen=watcher.seen, lines={"dojo-api": to_dojo, "epos-data-api": to_pos})
    finally:
        service.kill()
        sandbox.stop()
        to_dojo.close()
        to_pos.close()


@pytest.fixture(scope="module")
def contract(request):
    """Dojo's documents, and what was seen of them so far; None where they are not beside us: nothing is checked."""
    if not SPECS.is_dir() and not NO_SKIPS:
        return None
    return Contract(
        request.getfixturevalue("specs"), api_key=KEY, software_house_id=SOFTWARE_HOUSE_ID, username=USERNAME, password=PASSWORD
    )


@pytest.fixture
def pair(whole, contract):
    """Both; whatever a test does, the journal verifies and replays afterwards, and what both said is as published."""
    yield whole
    requests.delete(f"{whole.sandbox.url}/sandbox/faults", headers=HEADERS, timeout=SECONDS)
    whole.service.await_rest()
    whole.service.assert_whole()
    check_wire(whole, contract)


def check_wire(whole, contract):
    """Everything that was said since this was asked last is as Dojo publishes it."""
    for document, line in whole.lines.items():
        for exchange in line.take():
            if contract:
                contract.check(document, exchange)


def subscribe(sandbox, url):
    """A webhook for both events; its secret."""
    body = {"events": ["payment_intent.created", "payment_intent.status_updated"], "url": url}
    answer = requests.post(f"{sandbox.url}/webhooks", json=body, headers=HEADERS, timeout=SECONDS)
    return answer.json()["secrets"][0]["value"]


def gbp(value):
    return Money(value, "GBP")


def order_and_pay(pair, value=1200, **options):
    """An order for something at this price."""
    return pair.sandbox.order_and_pay(basket_of(gbp(value)), **{"channels": "capability"} | options)


def pay_only(pair, value=1200, **options):
    """A bill of this amount at a table of its own, and the flow that pays it."""
    table = f"tbl_{len(pair.sandbox.flows())}"
    opened = pair.service.till.post("/till/orders", a_bill(total=value, table=table)).json
    result = pair.sandbox.pay_only(table, **{"channels": "capability"} | options)
    assert result.order_id == opened["id"]
    return result


def codes(order):
    return [item["code"] for item in order["attention"]]


def figures(order):
    return order["paidAmount"]["value"], order["tipsAmount"]["value"]


def moves(pair, order_id, machine="payment"):
    return [entry["trigger"] for entry in pair.service.entries(order_id) if entry["machine"].startswith(f"{machine}@")]


def with_attention(pair, order_id, *wanted):
    """The order once exactly this attention is raised on it."""
    return eventually(lambda: order if codes(order := pair.service.order(order_id)) == list(wanted) else None)


def settled(pair, result, paid, tips=0):
    """The order of a flow that ended well: updated, without attention, with these figures."""
    assert (result.state, result.reason) == ("done", "")
    order = pair.service.await_state(result.order_id, "updated")
    assert (figures(order), codes(order)) == ((paid, tips), [])
    return order


# Cancelling


def test_an_order_cancelled_before_capture_is_watched_until_the_hold_is_reversed(pair):  # R7
    result = order_and_pay(pair, instead_of_capture="cancel")

    assert result.reason == ""
    order = eventually(lambda: found if not codes(found := pair.service.order(result.order_id)) else None)
    assert (order["state"], order["status"], figures(order)) == ("cancelled", "Canceled", (0, 0))
    assert order["payments"][0]["state"] == "released"
    raised = [entry for entry in pair.service.entries(result.order_id) if entry["kind"] == "attention"]
    assert [(entry["trigger"], entry["body"]["code"]) for entry in raised] == [
        ("raise", "CANCEL_PENDING_REVERSAL"),
        ("clear", "CANCEL_PENDING_REVERSAL"),
    ]


def test_an_order_is_not_cancelled_once_its_money_was_taken(pair):  # R8
    result = order_and_pay(pair, afterwards=("cancel",))

    settled(pair, result, 1200)
    assert [step.detail for step in result.steps if step.name == "CancelOrderById"] == ["409: too late, the order stays"]
    assert pair.service.path_of(result.order_id) == PATH


# Reversals


def test_a_hold_that_is_reversed_before_capture_reverses_the_order(pair):  # R3
    result = order_and_pay(pair, instead_of_capture="reversal")

    assert result.reason == ""
    order = pair.service.await_state(result.order_id, "reversed")
    assert (figures(order), codes(order), order["payments"][0]["state"]) == ((0, 0), [], "released")


def test_a_capture_that_is_reversed_the_same_day_counts_nothing_any_more(pair):  # R2
    result = pay_only(pair, afterwards=("reversal",))

    assert result.reason == ""
    order = pair.service.await_state(result.order_id, "reversed")
    assert (figures(order), order["payable"], codes(order)) == ((0, 0), False, ["REFUND_AFTER_UPDATE"])
    assert pair.seen[result.order_id][-1] == 0


@pytest.mark.parametrize("options", [{}, {"capture_mode": "Manual"}], ids=["unpaid", "held"])
def test_a_bill_whose_payment_was_given_up_stays_payable(pair, options):  # R6
    result = pay_only(pair, instead_of_capture="cancel", **options)

    assert result.reason == ""
    order = pair.service.await_state(result.order_id, "created")
    assert (order["payable"], codes(order)) == (True, [])
    eventually(lambda: pair.service.order(result.order_id)["payments"][0]["state"] == "released")


# Refunds


def test_a_refund_in_part_leaves_the_rest_counted_and_is_announced(pair):  # R11
    result = order_and_pay(pair, 1000, tips=gbp(100), afterwards=("refund-part",))

    order = settled(pair, result, 450, 100)
    assert (order["payments"][0]["state"], order["payments"][0]["refundedAmount"]["value"]) == ("reconciled", 550)
    assert (order["payable"], pair.seen[result.order_id][-1]) == (False, 450)


@pytest.mark.parametrize("afterwards", [("refund",), ("refund-part", "refund-part", "refund")], ids=["at-once", "in-parts"])
def test_a_refund_in_full_refunds_the_order(pair, afterwards):  # R1
    result = order_and_pay(pair, tips=gbp(100), afterwards=afterwards)

    assert result.reason == ""
    order = pair.service.await_state(result.order_id, "refunded")
    assert (figures(order), order["payments"][0]["state"], order["payments"][0]["refundedAmount"]["value"]) == ((0, 0), "refunded", 1300)
    assert codes(order) == ["REFUND_AFTER_UPDATE"]


def test_a_refund_over_the_api_is_learnt_from_its_event_and_counted_once(pair):  # R11
    result = order_and_pay(pair)
    settled(pair, result, 1200)

    path = f"{pair.sandbox.url}/payment-intents/{result.intent_ids[0]}/refunds"
    answers = [
        requests.post(path, json={"amount": 500}, headers=HEADERS | {"IdempotencyKey": result.id}, timeout=SECONDS) for _ in range(2)
    ]

    assert answers[0].json() == answers[1].json()
    order = eventually(lambda: found if figures(found := pair.service.order(result.order_id)) == (700, 0) else None)
    assert order["payments"][0]["refundedAmount"]["value"] == 500


# Captures


def test_a_capture_in_part_counts_what_was_captured(pair):  # M7
    result = order_and_pay(pair, 1000, captures=(gbp(600),))

    order = settled(pair, result, 600)
    assert order["payable"] is True


def test_captures_in_parts_add_up(pair):  # M7
    result = order_and_pay(pair, 1000, captures=(gbp(600), gbp(300), gbp(100)), tips=gbp(50))

    order = settled(pair, result, 1000, 50)
    assert (order["payable"], len(order["payments"])) == (False, 1)
    # Each may be announced again, where its answer took too long.
    assert [paid for paid, _ in groupby(pair.seen[result.order_id])] == [600, 900, 1000]


def test_a_declined_card_leaves_the_bill_payable(pair):
    result = pay_only(pair, instead_of_capture="decline")

    assert result.reason == ""
    pair.service.await_rest()
    order = pair.service.order(result.order_id)
    assert (order["state"], order["payable"], codes(order)) == ("created", True, [])
    assert order["payments"][0]["state"] == "announced"


@pytest.mark.parametrize("capture_mode", ["Auto", "Manual"])
def test_a_bill_is_paid_in_either_capture_mode(pair, capture_mode):
    result = pay_only(pair, capture_mode=capture_mode, tips=gbp(99))

    settled(pair, result, 1200, 99)
    assert pair.service.path_of(result.order_id) == PATH


@pytest.mark.parametrize("capture_mode", ["Auto", "Manual"])
def test_an_order_without_payments_is_paid_later(pair, capture_mode):
    result = order_and_pay(pair, pay_later=True, capture_mode=capture_mode)

    order = settled(pair, result, 1200)
    assert order["flow"] == "pay_later"
    assert pair.service.path_of(result.order_id) == PATH


def test_a_pay_later_order_is_open_again_after_a_payment_that_was_given_up(pair):
    result = order_and_pay(pair, pay_later=True, capture_mode="Manual", instead_of_capture="reversal")

    assert result.reason == ""
    assert pair.service.await_state(result.order_id, "created")["payable"] is True


# Channels


@pytest.mark.parametrize("flow", [order_and_pay, pay_only], ids=["order-and-pay", "pay-only"])
@pytest.mark.parametrize("same_event_id", [True, False], ids=["one-id", "two-ids"])
def test_an_event_that_comes_by_both_channels_is_applied_once(pair, flow, same_event_id):  # D6
    result = flow(pair, channels="both", same_event_id=same_event_id)

    settled(pair, result, 1200)
    assert moves(pair, result.order_id) == ["announce", "authorise", "capture", "reconcile"]
    assert pair.service.path_of(result.order_id) == PATH
    events = [entry["body"] for entry in pair.service.entries(result.order_id) if entry["kind"] == "event"]
    assert {event["channel"] for event in events} <= {"capability", "webhook"}


@pytest.mark.parametrize("flow", [order_and_pay, pay_only], ids=["order-and-pay", "pay-only"])
def test_a_webhook_alone_is_enough(pair, flow):
    settled(pair, flow(pair, channels="webhook"), 1200)


def test_a_refund_that_is_told_by_both_channels_counts_once(pair):  # D6 R11
    result = order_and_pay(pair, channels="both", afterwards=("refund-part",))

    settled(pair, result, 600)
    assert moves(pair, result.order_id).count("reconcile") == 1


# Order of events


def test_status_updated_before_created_is_settled(pair):  # O3
    settled(pair, pay_only(pair, status_first=True), 1200)


@pytest.mark.parametrize("channels", ["capability", "both"])
def test_an_event_before_create_order_ends_settled(pair, channels):
    result = order_and_pay(pair, event_first=True, channels=channels)

    settled(pair, result, 1200)
    assert pair.service.path_of(result.order_id) == PATH


def test_a_late_created_event_changes_nothing(pair):  # O3
    pair.sandbox.fault("EVENT", "payment_intent.created", "late", late_seconds=0.3)
    result = pay_only(pair)

    settled(pair, result, 1200)
    before = moves(pair, result.order_id)
    eventually(lambda: any("(late)" in message.note and result.intent_ids[0] for message in pair.sandbox.messages()))
    pair.service.await_rest()
    assert moves(pair, result.order_id) == before


# Faults of Dojo's API


@pytest.mark.parametrize("kind", ["500", "503", "429", "404", "timeout", "drip", "garbage", "lost", "close"])
def test_a_fault_of_the_read_delays_the_order_and_nothing_else(pair, kind):  # U1 U2 U6 U9 U10 U11 U16
    pair.sandbox.fault("GET", "/payment-intents/*", kind, times=2, retry_after_seconds=0)

    result = order_and_pay(pair)

    settled(pair, result, 1200)
    assert pair.service.path_of(result.order_id) == PATH


@pytest.mark.parametrize("kind", ["500", "429", "timeout", "drip", "garbage", "lost", "close"])
def test_a_fault_of_the_announcement_delays_it_and_nothing_else(pair, kind):  # U1 U2 U9 U10 U11 U16
    pair.sandbox.fault("POST", "/epos/events", kind, times=2, retry_after_seconds=0)

    result = order_and_pay(pair)

    settled(pair, result, 1200)
    assert pair.service.path_of(result.order_id) == PATH


def test_calls_that_hang_for_one_order_do_not_hold_up_another(pair):  # U9 U17
    slow = pair.sandbox.intents.make(gbp(1200), reference="slow", external_id="nobody")
    pair.sandbox.fault("GET", f"/payment-intents/{slow.id}", "timeout", times=1_000)  # Until the test is over.
    pair.sandbox.send_event(slow.id)

    settled(pair, order_and_pay(pair), 1200)

    assert sum(message.path.endswith(slow.id) and message.status == 200 for message in pair.sandbox.messages()) == 0


# Magic amounts


@pytest.mark.parametrize("pence", [1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1013, 1014])
@pytest.mark.parametrize("flow", [order_and_pay, pay_only], ids=["order-and-pay", "pay-only"])
def test_a_magic_amount_of_delivery_ends_settled(pair, flow, pence):  # D5 U1 U2 U6 U9 U10 U11 U16
    settled(pair, flow(pair, pence), pence)


@pytest.mark.parametrize(
    ("pence", "code"),
    [(1021, "EXTERNAL_ID_MISMATCH"), (1022, "CURRENCY_MISMATCH"), (1023, "AMOUNT_MISMATCH")],
    ids=["order", "currency", "amount"],
)
def test_a_magic_amount_that_does_not_agree_counts_nothing_and_calls_a_person(pair, pence, code):  # M1 M2 M3
    result = order_and_pay(pair, pence)

    assert result.reason == ""
    order = with_attention(pair, result.order_id, code)
    assert (figures(order), order["payments"][0]["state"] in {"announced", "authorised", "captured"}) == ((0, 0), True)


def test_a_bill_paid_in_another_currency_counts_nothing_and_calls_a_person(pair):  # M2
    result = pay_only(pair, 1022)

    assert result.reason == ""
    assert figures(with_attention(pair, result.order_id, "CURRENCY_MISMATCH")) == (0, 0)


def test_a_payment_that_names_an_order_which_is_not_here_calls_a_person(pair):  # O8 O9
    table = "tbl_orphan"
    opened = pair.service.till.post("/till/orders", a_bill(total=1021, table=table, reference="human-1")).json

    result = pair.sandbox.pay_only(table, channels="capability")

    assert result.reason == ""
    data = eventually(
        lambda: [
            each
            for each in pair.service.auditor.get("/api/attention?code=ORPHAN_EVENT").json["data"]
            if each["paymentIntentId"] in result.intent_ids
        ]
    )
    assert "an-order-of-somebody-else" in data[0]["detail"]
    assert (figures(pair.service.order(opened["id"])), pair.service.order(opened["id"])["payable"]) == ((0, 0), True)


def test_a_bill_paid_with_a_penny_more_counts_it_and_calls_a_person(pair):  # M9
    result = pay_only(pair, 1023)

    assert result.reason == ""
    order = with_attention(pair, result.order_id, "OVERPAID")
    assert (figures(order), order["payable"], order["state"] in {"reconciled", "updated"}) == ((1024, 0), False, True)


def test_a_card_declined_by_amount_leaves_the_bill_payable(pair):
    result = pay_only(pair, 1024)

    assert result.reason == ""
    assert pair.service.order(result.order_id)["payable"] is True


# What no single flow shows


def test_two_customers_who_pay_the_same_bill_are_both_counted_and_a_person_is_called(pair):  # M15
    opened = pair.service.till.post("/till/orders", a_bill(table="tbl_twice")).json
    for _ in range(2):
        intent = pair.sandbox.intents.make(gbp(1200), reference="r", external_id=opened["id"])
        pair.sandbox.intents.capture(intent.id)
        pair.sandbox.send_event(intent.id)

    order = with_attention(pair, opened["id"], "OVERPAID")
    assert (figures(order), order["payable"]) == ((2400, 0), False)


def test_an_event_ahead_of_dojos_own_books_counts_nothing_until_the_money_was_taken(pair):  # M4
    intent = pair.sandbox.intents.make(gbp(1200), reference="r", capture_mode="Manual", dojo_order_id="ahead-1")
    pair.sandbox.intents.authorise(intent.id)
    created = pair.service.dojo.post("/v1/orders", an_order("ahead-1", intent_id=intent.id)).json
    pair.service.dojo.post("/v1/events", an_event("ahead-event", intent.id))
    eventually(lambda: pair.service.path_of(created["id"]) == ["created", "authorised", "captured", "authorised"])
    assert figures(pair.service.order(created["id"])) == (0, 0)

    pair.sandbox.intents.capture(intent.id)

    assert figures(pair.service.await_state(created["id"], "updated")) == (1200, 0)


@pytest.mark.parametrize(("action", "state"), [("Release", "expired"), ("Capture", "updated")])
def test_an_authorisation_that_runs_out_without_an_event_is_found_by_the_sweep(pair, action, state):  # R4
    soon = timedelta(seconds=0.5)
    links = {"capture_mode": "Manual", "dojo_order_id": f"ran-out-{action}", "auto_expire_in": soon, "auto_expire_action": action}
    intent = pair.sandbox.intents.make(gbp(1200), reference="r", **links)
    pair.sandbox.intents.authorise(intent.id)

    created = pair.service.dojo.post("/v1/orders", an_order(f"ran-out-{action}", intent_id=intent.id)).json

    order = eventually(lambda: found if (found := pair.service.order(created["id"]))["state"] not in PATH[:4] else None)
    expected = (state, (0, 0), ["AUTH_EXPIRED"]) if state == "expired" else (state, (1200, 0), [])
    assert (order["state"], figures(order), codes(order)) == expected


def test_the_fault_of_one_channel_leaves_the_event_to_the_other(pair):  # D6
    """The service never sees the event that Dojo sent to a webhook address which is gone."""
    [webhook] = requests.get(f"{pair.sandbox.url}/webhooks", headers=HEADERS, timeout=SECONDS).json()
    path = f"{pair.sandbox.url}/webhooks/{webhook['id']}"
    requests.patch(path, json={"url": "http://127.0.0.1:9/gone"}, headers=HEADERS, timeout=SECONDS)
    try:
        result = order_and_pay(pair, channels="both")
    finally:
        requests.patch(path, json={"url": webhook["url"]}, headers=HEADERS, timeout=SECONDS)

    assert "the webhook took the event with none of 5 attempts" in result.reason
    assert figures(pair.service.await_state(result.order_id, "updated")) == (1200, 0)


def test_after_every_scenario_the_commands_agree_that_the_journal_is_whole(pair):
    pair.service.await_rest()
    pair.service.assert_whole()
    dead = pair.service.auditor.get("/api/outbox?status=dead&limit=500").json["data"]

    assert [task["lastError"] for task in dead] == []


@pytest.mark.usefixtures("specs")
def test_every_capability_is_asked_for_by_the_sandbox_and_both_directions_are_as_published(pair, contract):
    """What other tests of this module showed counts too, but this does not depend on them."""
    settled(pair, order_and_pay(pair, channels="both"), 1200)
    order_and_pay(pair, instead_of_capture="cancel")
    order_and_pay(pair, afterwards=("cancel",))
    settled(pair, pay_only(pair), 1200)
    pair.service.till.post("/till/orders", a_bill(table="tbl_waiter"))
    assert pair.sandbox.pay_at_table("tbl_waiter", parts=2, second_waiter=True, too_large=True).reason == ""
    pair.service.till.call("PUT", "/till/areas", [{"id": "a_1", "name": "Garden", "waiterIds": ["42"]}])
    pair.service.till.call("PUT", "/till/tables", [{"id": "t_1", "name": "One", "areaId": "a_1", "maxCovers": 4, "waiterIds": ["42"]}])
    assert pair.sandbox.bookings().reason == ""
    pair.service.till.call("PUT", "/till/tables", [])
    assert pair.service.dojo.get("/v1/orders/nowhere").status == 404
    register(pair.service, pair.sandbox)
    pair.service.await_rest()

    expected = {f"{capability.method} {capability.path} 200" for capability in CAPABILITIES} | {
        "GET /v1/orders/{orderId} 404", "DELETE /v1/orders/{orderId} 409", "POST /webhooks/dojo 200",
        "POST /v1/orders/{orderId}/lock 409", "POST /v1/orders/{orderId}/record-payment 409", "POST /v1/parties 409",
        "GET /v1/parties/{partyId} 404", "GET /v1/reservations/{reservationId} 404",
        "GET /payment-intents/{paymentIntentId} 200", "POST /epos/events 200", "PUT /epos/integrations/rest 200",
    }  # fmt: skip
    check_wire(pair, contract)
    print("\n".join(f"{count:>6} {operation}" for operation, count in sorted(contract.seen.items())))
    assert expected - contract.seen.keys() == set()
