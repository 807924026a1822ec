"""Both flows between a running service and the sandbox, over real HTTP; after each of them the journal proves what happened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from adapters.sandbox import CapabilityMissing, Sandbox
from tests.contract.running import KEY, a_bill, an_event, an_order, beside_sandbox, eventually
from workflow.money import Money

PATH = ["created", "authorised", "captured", "reconciled", "updated"]
TOTAL = 5170
"""What the sandbox's own basket comes to."""


class Watcher:
    """Sees each OrderUpdated while the service still waits for its answer, and reads the order back at that moment."""

    def __init__(self):
        self.service, self.seen = None, {}

    def __call__(self, message):
        if self.service and message.path == "/epos/events" and message.status == 200:
            order_id = message.note.split()[1]
            reply = self.service.dojo.get(f"/v1/orders/{order_id}")
            shown = ("nothing", reply.status)
            if reply.status == 200:
                figures = [reply.json[name]["value"] for name in ("paidAmount", "tipsAmount")]
                shown = (*figures, self.service.order(order_id)["state"])
            self.seen.setdefault(order_id, []).append(shown)


@contextmanager
def a_pair(folder, **settings):
    """A sandbox and a service that is registered there; no call is given up, and so made once more, because the machine is busy."""
    watcher = Watcher()
    sandbox = Sandbox(api_key=KEY, observer=watcher, step_seconds=10, event_back_off_seconds=0.02)
    with beside_sandbox(folder, sandbox, **{"CALL_DEADLINE_MS": 30_000, "LEASE_S": 60} | settings) as both:
        watcher.service = both.service
        yield SimpleNamespace(sandbox=sandbox, service=both.service, seen=watcher.seen)


@pytest.fixture(scope="module")
def event_pair(tmp_path_factory):
    with a_pair(tmp_path_factory.mktemp("event")) as pair:
        yield pair


@pytest.fixture(scope="module")
def inline_pair(tmp_path_factory):
    with a_pair(tmp_path_factory.mktemp("inline"), ORDER_AND_PAY_MODE="inline") as pair:
        yield pair


@pytest.fixture
def pair(event_pair):
    """The pair in mode `event`; whatever a test does, the journal verifies and replays afterwards."""
    yield event_pair
    event_pair.service.await_rest()
    event_pair.service.assert_whole()


@pytest.fixture
def inline(inline_pair):
    yield inline_pair
    inline_pair.service.await_rest()
    inline_pair.service.assert_whole()


def a_captured_intent(sandbox, value=1200, **links):
    """An intent that the customer has paid, and the POS has not heard of."""
    intent = sandbox.intents.make(Money(value, "GBP"), reference="r", **links)
    return sandbox.intents.capture(intent.id)


def events_of(service, order_id):
    return [entry for entry in service.entries(order_id) if entry["kind"] == "event"]


def moves_of(service, order_id, machine):
    return [entry["trigger"] for entry in service.entries(order_id) if entry["machine"].startswith(f"{machine}@")]


# Order and Pay


def test_order_and_pay_in_mode_event_takes_the_order_from_created_to_updated(pair):
    result = pair.sandbox.order_and_pay(tips=Money(300, "GBP"))

    assert (result.state, result.reason) == ("done", "")
    order = pair.service.await_state(result.order_id, "updated")
    assert pair.service.path_of(result.order_id) == PATH
    assert (order["flow"], order["paidAmount"]["value"], order["tipsAmount"]["value"]) == ("order_and_pay", TOTAL, 300)
    assert [(payment["paymentIntentId"], payment["state"]) for payment in order["payments"]] == [(result.intent_ids[0], "reconciled")]
    assert (order["attention"], order["status"], order["payable"]) == ([], "Confirmed", False)


def test_money_that_was_captured_before_create_order_counts_once_in_mode_event_too(pair):  # contract §2.3
    result = pair.sandbox.order_and_pay(mode="inline")

    assert (result.state, result.reason) == ("done", "")
    assert pair.service.await_state(result.order_id, "updated")["paidAmount"]["value"] == TOTAL
    assert pair.service.path_of(result.order_id) == PATH


def test_order_and_pay_in_mode_event_counts_nothing_before_the_intent_was_read(pair):
    intent = pair.sandbox.intents.make(Money(1200, "GBP"), reference="r", capture_mode="Manual")
    pair.sandbox.intents.authorise(intent.id)

    shown = pair.service.dojo.post("/v1/orders", an_order("unread-1", intent_id=intent.id)).json

    assert (shown["paidAmount"]["value"], shown["payments"], shown["payable"], shown["status"]) == (0, [], False, "Submitted")
    assert pair.service.path_of(shown["id"]) == ["created", "authorised"]


def test_order_and_pay_in_mode_inline_counts_at_once_and_is_reconciled_by_a_read(inline):
    result = inline.sandbox.order_and_pay(mode="inline", tips=Money(300, "GBP"))

    assert (result.state, result.reason) == ("done", "")
    order = inline.service.await_state(result.order_id, "updated")
    assert inline.service.path_of(result.order_id) == PATH
    assert (order["paidAmount"]["value"], order["tipsAmount"]["value"], order["attention"]) == (TOTAL, 300, [])
    checks = [entry for entry in inline.service.entries(result.order_id) if entry["kind"] == "check"]
    assert checks[0]["body"]["status"] == "Captured"


def test_the_answer_to_create_order_in_mode_inline_shows_the_money(inline):
    intent = a_captured_intent(inline.sandbox)

    shown = inline.service.dojo.post("/v1/orders", an_order("inline-1", intent_id=intent.id)).json

    assert (shown["paidAmount"]["value"], len(shown["payments"]), shown["payable"]) == (1200, 1, False)
    inline.service.await_state(shown["id"], "updated")


# Pay-only


def test_pay_only_of_a_bill_in_two_parts_counts_both(pair):
    opened = pair.service.till.post("/till/orders", a_bill(total=4900, table="tbl_split")).json

    result = pair.sandbox.pay_only("tbl_split", parts=2, tips=Money(201, "GBP"))

    assert (result.state, result.reason, result.order_id) == ("done", "", opened["id"])
    order = pair.service.await_state(opened["id"], "updated")
    paid = {payment["paymentIntentId"]: payment["paidAmount"]["value"] for payment in order["payments"]}
    assert (order["flow"], order["paidAmount"]["value"], order["tipsAmount"]["value"]) == ("pay_only", 4900, 201)
    assert paid == dict.fromkeys(result.intent_ids, 2450)
    assert pair.service.path_of(opened["id"])[:5] == PATH
    assert pair.service.path_of(opened["id"])[-2:] == PATH[-2:]


def test_a_bill_that_was_paid_is_no_longer_found_as_payable(pair):
    pair.service.till.post("/till/orders", a_bill(table="tbl_once"))
    assert pair.sandbox.pay_only("tbl_once").ok

    again = pair.sandbox.pay_only("tbl_once")

    assert "found none" in again.reason


# Registration


def test_a_sandbox_in_which_nothing_is_registered_refuses_to_start_a_flow(pair):
    stranger = Sandbox(api_key=KEY)

    with pytest.raises(CapabilityMissing, match="CreateOrder, GetOrderById"):
        stranger.order_and_pay()
    with pytest.raises(CapabilityMissing, match="SearchOrders"):
        stranger.pay_only("tbl_1")


# Events: twice, under two ids, too early


def test_a_duplicate_event_is_applied_once(pair):  # D5
    result = pair.sandbox.order_and_pay(duplicates=4)

    assert result.ok
    pair.service.await_state(result.order_id, "updated")
    assert len(events_of(pair.service, result.order_id)) == 1
    assert pair.service.path_of(result.order_id) == PATH


def test_the_same_event_under_two_ids_makes_one_transition(pair):  # D6
    result = pair.sandbox.order_and_pay()
    pair.service.await_state(result.order_id, "updated")
    before = moves_of(pair.service, result.order_id, "payment")

    reply = pair.service.dojo.post("/v1/events", an_event("another-id-of-the-same", result.intent_ids[0]))

    assert (reply.status, reply.json) == (200, {})
    pair.service.await_rest()
    assert moves_of(pair.service, result.order_id, "payment") == before == ["announce", "authorise", "capture", "reconcile"]
    assert pair.service.path_of(result.order_id) == PATH
    assert pair.service.order(result.order_id)["paidAmount"]["value"] == TOTAL


def test_a_late_authorized_does_not_undo_a_capture(pair):  # O4
    result = pair.sandbox.order_and_pay()
    pair.service.await_state(result.order_id, "updated")

    assert pair.service.dojo.post("/v1/events", an_event("late-1", result.intent_ids[0], "Authorized")).status == 200

    pair.service.await_rest()
    assert pair.service.path_of(result.order_id) == PATH


def test_an_event_that_comes_before_its_order_is_applied_when_the_order_arrives(pair):  # O1
    intent = a_captured_intent(pair.sandbox, dojo_order_id="early-1")
    pair.sandbox.send_event(intent.id)
    pair.service.await_rest()

    created = pair.service.dojo.post("/v1/orders", an_order("early-1", intent_id=intent.id))

    assert created.status == 200
    order = pair.service.await_state(created.json["id"], "updated")
    assert (order["paidAmount"]["value"], order["attention"]) == (1200, [])
    assert pair.service.path_of(order["id"]) == PATH


def test_an_event_of_a_bill_that_the_till_opens_later_is_applied_when_it_is_opened(pair):  # O9
    intent = a_captured_intent(pair.sandbox, external_id="late-bill")
    pair.sandbox.send_event(intent.id, "payment_intent.created")
    pair.sandbox.send_event(intent.id)
    pair.service.await_rest()

    opened = pair.service.till.post("/till/orders", a_bill(id="late-bill", table="tbl_late"))

    assert (opened.status, opened.json["id"]) == (200, "late-bill")
    order = pair.service.await_state("late-bill", "updated")
    assert (order["paidAmount"]["value"], order["attention"]) == (1200, [])


def test_an_event_that_no_order_explains_is_answered_and_kept_without_alarm(pair):  # O8
    intent = a_captured_intent(pair.sandbox)

    pair.sandbox.send_event(intent.id)

    pair.service.await_rest()
    kept = [entry for entry in pair.service.reads.entries(order_id="") if entry.payment_intent_id == intent.id]
    assert [entry.kind for entry in kept] == ["event", "check"]
    assert pair.service.reads.rows("SELECT * FROM attention WHERE payment_intent_id = ?", (intent.id,)) == []


# Dojo's API goes wrong


@pytest.mark.parametrize("kind", ["500", "429", "close", "lost", "401"])
def test_a_read_that_fails_is_tried_again_until_the_order_is_updated(pair, kind):  # U1 U2 U4 U16
    pair.sandbox.fault("GET", "/payment-intents/*", kind, times=2, retry_after_seconds=0)

    result = pair.sandbox.order_and_pay()

    assert (result.state, result.reason) == ("done", "")
    pair.service.await_state(result.order_id, "updated")
    assert pair.service.path_of(result.order_id) == PATH
    reads = [m for m in pair.sandbox.messages() if m.path == f"/payment-intents/{result.intent_ids[0]}"]
    assert [message.status == 200 for message in reads] == [False, False, True]


@pytest.mark.parametrize("kind", ["503", "lost"])
def test_an_announcement_that_fails_is_sent_again(pair, kind):  # U1 U16
    pair.sandbox.fault("POST", "/epos/events", kind, times=2)

    result = pair.sandbox.order_and_pay()

    assert result.ok
    pair.service.await_state(result.order_id, "updated")
    told = [m for m in pair.sandbox.messages() if m.path == "/epos/events" and result.order_id in m.note]
    assert told[-1].status == 200
    assert pair.service.path_of(result.order_id) == PATH


def test_a_read_back_inside_order_updated_shows_the_money_that_is_announced(pair):  # I9 U19
    result = pair.sandbox.order_and_pay(tips=Money(300, "GBP"))

    assert result.ok
    pair.service.await_state(result.order_id, "updated")
    assert pair.seen[result.order_id] == [(TOTAL, 300, "reconciled")]


def test_no_bill_is_announced_before_it_can_be_read(pair):  # I9
    """Long bills make the common commit of many take so long that an announcement before it would come first."""
    items = [
        {"plu": f"P-{number}", "name": "x" * 200, "quantity": 1, "amountPerItem": {"value": 1, "currencyCode": "GBP"}}
        for number in range(1_000)
    ]
    with ThreadPoolExecutor(16) as pool:
        opened = [reply.json["id"] for reply in pool.map(lambda _: pair.service.till.post("/till/orders", a_bill(items=items)), range(16))]

    pair.service.await_rest()
    assert {shown for order_id in opened for shown in pair.seen[order_id]} == {(0, 0, "created")}


# Money that moves later


def test_a_refund_after_the_end_is_read_and_announced(pair):  # R1
    result = pair.sandbox.order_and_pay()
    pair.service.await_state(result.order_id, "updated")

    pair.sandbox.intents.refund(result.intent_ids[0])
    pair.sandbox.send_event(result.intent_ids[0])

    order = pair.service.await_state(result.order_id, "refunded")
    assert (order["paidAmount"]["value"], order["payments"][0]["refundedAmount"]["value"]) == (0, TOTAL)
    assert [(item["code"], item["paymentIntentId"]) for item in order["attention"]] == [("REFUND_AFTER_UPDATE", result.intent_ids[0])]
    eventually(lambda: pair.seen[result.order_id][-1][0] == 0)


def test_an_intent_of_another_amount_is_held_back_and_calls_a_person(pair):  # M1
    intent = a_captured_intent(pair.sandbox, 1199)
    created = pair.service.dojo.post("/v1/orders", an_order("mismatch-1", intent_id=intent.id)).json

    pair.sandbox.send_event(intent.id)

    order = eventually(lambda: found if (found := pair.service.order(created["id"]))["attention"] else None)
    assert [item["code"] for item in order["attention"]] == ["AMOUNT_MISMATCH"]
    assert order["paidAmount"]["value"] == 0
    assert "11.99" in order["attention"][0]["detail"]
