"""The sandbox against a POS that is tiny, but real and on the other end of a socket; its bodies against Dojo's published schemas."""

import base64
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from adapters.sandbox import (
    Basket,
    CapabilityMissing,
    EventUndelivered,
    IntentRefused,
    Intents,
    InvalidRequest,
    Sandbox,
    UnknownIntent,
)
from adapters.sandbox.basket import Collection, Details, Item
from tests.contract.sandbox_peer import (
    CAPABILITIES,
    HEADERS,
    KEY,
    SECONDS,
    TABLE,
    USER,
    HastyPeer,
    eventually,
    gbp,
    get,
    post,
    put_rest,
    running,
    schema_check,
    wire,
)
from workflow.money import Money

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair():
    with running() as pair:
        yield pair


def calls(messages):
    return [f"{message.direction} {message.method} {message.path.split('/pi_')[0].split('/pos-')[0]}" for message in messages]


# The flows


@pytest.mark.parametrize("mode", ["event", "inline"])
def test_order_and_pay_ends_when_the_pos_shows_the_money(pair, mode):
    result = pair.sandbox.order_and_pay(tips=gbp(500), mode=mode)

    assert (result.ok, result.reason) == (True, "")
    assert pair.peer.orders[result.order_id]["paidAmount"] == wire(5170)
    assert pair.peer.orders[result.order_id]["tipsAmount"] == wire(500)
    assert {step.state for step in result.steps} == {"done"}
    intent = pair.sandbox.intents.read(result.intent_ids[0])
    assert (intent.status, intent.external_id, intent.taken) == ("Captured", result.order_id, gbp(5670))


def test_order_and_pay_captures_after_create_order_in_mode_event_and_before_it_in_mode_inline(pair):
    event, inline = pair.sandbox.order_and_pay(mode="event"), pair.sandbox.order_and_pay(mode="inline")

    names = [[step.name for step in result.steps[:3]] for result in (event, inline)]
    assert names == [["PreAuthorise", "CreateOrder", "Capture"], ["PreAuthorise", "Capture", "CreateOrder"]]


def test_the_messages_of_order_and_pay_are_those_of_the_flow_page(pair):
    pair.sandbox.order_and_pay()

    expected = {
        "<- POST /v1/orders",
        "<- POST /v1/events",
        "-> GET /payment-intents",
        "-> POST /epos/events",
        "<- GET /v1/orders",
    }
    assert set(calls(pair.sandbox.messages())) == expected | {"-> PUT /epos/integrations/rest"}
    assert sorted(calls(pair.seen)) == sorted(calls(pair.sandbox.messages()))
    at = [message.at_ms for message in pair.sandbox.messages()]
    assert at == sorted(at)


def test_a_basket_may_be_given(pair):
    item = Item(name="Cake", plu="CAKE", quantity=3, amount_per_item=gbp(410))
    basket = Basket(details=Details(order_type="Collection", collection=Collection(asap=True)), items=(item,))

    result = pair.sandbox.order_and_pay(basket)

    assert result.reason == ""
    assert pair.peer.orders[result.order_id]["paidAmount"] == wire(1230)


def test_pay_only_pays_the_bill_in_as_many_parts_as_asked_for(pair):
    order = pair.peer.open(1000)

    result = pair.sandbox.pay_only(TABLE, parts=3, tips=gbp(100))

    assert (result.ok, result.reason, result.order_id) == (True, "", "pos-1")
    amounts = [pair.sandbox.intents.read(intent_id).amount.value for intent_id in result.intent_ids]
    assert amounts == [334, 333, 333]
    assert (order["paidAmount"], order["tipsAmount"]) == (wire(1000), wire(100))


def test_pay_only_sends_created_and_then_status_updated(pair):
    pair.peer.open(1000)

    pair.sandbox.pay_only(TABLE)

    events = [body for _, path, body in pair.peer.received if path == "/v1/events"]
    said = [(event["event"], event["data"]["paymentStatus"], event["data"]["captureMode"]) for event in events]
    assert said == [("payment_intent.created", "Created", "Auto"), ("payment_intent.status_updated", "Captured", "Auto")]
    assert events[0]["id"] != events[1]["id"]


def test_pay_only_of_a_table_without_a_bill_says_so(pair):
    result = pair.sandbox.pay_only("tbl_none")

    assert not result.ok
    assert "no such payable order at table tbl_none" in result.reason


# What ends a flow early


@pytest.mark.parametrize("missing", ["CreateOrder", "GetOrderById", "HandleEvent:payment_intent.status_updated"])
def test_a_flow_whose_capability_is_not_registered_is_refused_by_name_and_sends_nothing(missing):
    with running(register=False) as pair:
        put_rest(pair.sandbox, pair.peer.url, [name for name in CAPABILITIES if name != missing])

        with pytest.raises(CapabilityMissing, match=missing):
            pair.sandbox.order_and_pay()

        assert pair.peer.received == []


def test_without_any_registration_the_error_names_every_capability():
    with running(register=False) as pair, pytest.raises(CapabilityMissing, match=r"SearchOrders, GetOrderById, HandleEvent:"):
        pair.sandbox.pay_only(TABLE)


def test_a_pos_given_by_url_needs_no_registration():
    with running(register=False) as pair:
        assert pair.sandbox.order_and_pay(pos_url=pair.peer.url, credentials=USER).reason == ""


def test_a_pos_that_never_sends_order_updated_fails_the_flow():
    with running(announces=False, at_once=True, step_seconds=0.3) as pair:
        result = pair.sandbox.order_and_pay()

    assert not result.ok
    assert result.reason == f"the POS has not sent OrderUpdated for order {result.order_id} within 0.3 s"
    assert [step.state for step in result.steps] == ["done"] * 5 + ["failed"]


def test_a_pos_that_announces_what_it_does_not_show_fails_the_flow_with_the_figures():
    with running(records=False, at_once=True, step_seconds=0.3) as pair:
        result = pair.sandbox.order_and_pay()

    assert "paidAmount is GBP 0.00, not GBP 51.70" in result.reason


def test_an_order_is_read_back_after_each_order_updated_until_it_shows_the_money():
    with running(peer=HastyPeer) as pair:
        result = pair.sandbox.order_and_pay()

    assert result.reason == ""
    assert [step.name for step in result.steps].count("GetOrderById") == 1
    assert [method for method, _, _ in pair.peer.received].count("GET") == 2


def test_a_read_whose_answer_is_lost_is_no_read():
    with running(step_seconds=0.3) as pair:
        pair.sandbox.fault("GET", "/payment-intents/*", "lost", times=3)
        result = pair.sandbox.order_and_pay()

    assert "has not read payment intent" in result.reason


def test_a_pos_that_reads_nothing_fails_the_flow():
    with running(step_seconds=0.3) as pair:
        pair.sandbox.fault("EVENT", "*", "dropped")
        result = pair.sandbox.order_and_pay()

    assert result.reason == f"the POS has not read payment intent {result.intent_ids[0]} as Captured within 0.3 s"


def test_an_order_that_the_pos_refuses_costs_the_customer_nothing(pair):
    pair.peer.refusals.append(409)

    result = pair.sandbox.order_and_pay()

    assert "CreateOrder: 409" in result.reason
    assert pair.sandbox.intents.read(result.intent_ids[0]).status == "Reversed"


def test_wrong_credentials_are_reported_as_the_pos_answered_them(pair):
    result = pair.sandbox.order_and_pay(pos_url=pair.peer.url, credentials=("pos-user", "wrong"))

    assert "CreateOrder: 401" in result.reason


def test_a_pos_that_is_not_there_fails_the_flow(pair):
    with running(event_attempts=1) as other:
        gone = other.peer.url

    assert "ConnectionError" in pair.sandbox.order_and_pay(pos_url=gone).reason


def test_stopping_ends_a_flow_that_waits():
    with running(announces=False) as pair, ThreadPoolExecutor(1) as pool:
        flow = pool.submit(pair.sandbox.order_and_pay)
        eventually(lambda: any(step.name == "OrderUpdated" for result in pair.sandbox.flows() for step in result.steps))
        pair.sandbox.stop()

        assert flow.result(timeout=SECONDS).reason == "the sandbox was stopped"


@pytest.mark.parametrize("impossible", [{"parts": 0}, {"parts": 51}, {"duplicates": -1}])
def test_a_flow_with_impossible_options_is_refused(pair, impossible):
    with pytest.raises(InvalidRequest):
        pair.sandbox.pay_only(TABLE, **impossible)


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": "\xff"}', b'{"id": "a", "x": ' + b"[" * 100_000, b'{"id": 1}', b"[]", b"<html>"])
def test_an_answer_that_is_no_order_fails_the_flow(pair, body):
    pair.peer.server.wsgi_app.view_functions["create"] = lambda: body

    result = pair.sandbox.order_and_pay()

    assert "CreateOrder answered 200 with a body that is not its schema's" in result.reason


# Faults


@pytest.mark.parametrize("kind", ["500", "401", "close", "lost"])
def test_a_read_that_fails_once_is_repeated_by_the_pos_and_the_flow_ends_well(pair, kind):
    pair.sandbox.fault("GET", "/payment-intents/*", kind)

    result = pair.sandbox.order_and_pay()

    assert result.reason == ""
    reads = [message.status for message in pair.sandbox.messages() if message.path.startswith("/payment-intents/")]
    assert reads == [int(kind) if kind.isdigit() else 0, 200]


def test_too_many_requests_says_when_to_come_back(pair):
    pair.sandbox.fault("GET", "/epos/*", "429", retry_after_seconds=7)

    refused, taken = get(pair.sandbox, "/epos/integrations"), get(pair.sandbox, "/epos/integrations")

    assert (refused.status_code, refused.headers["Retry-After"], taken.status_code) == (429, "7", 200)


def test_an_answer_lost_after_doing_it_did_it(pair):
    pair.sandbox.fault("PUT", "/epos/integrations/rest", "lost")
    pair.sandbox.fault("GET", "/epos/integrations/rest", "close")

    with pytest.raises(requests.ConnectionError):
        put_rest(pair.sandbox, "http://127.0.0.1:9/other")
    with pytest.raises(requests.ConnectionError):
        get(pair.sandbox, "/epos/integrations/rest")

    assert get(pair.sandbox, "/epos/integrations/rest").json()[0]["url"] == "http://127.0.0.1:9/other"


def test_the_newest_matching_fault_wins_and_each_happens_as_often_as_asked(pair):
    pair.sandbox.fault("GET", "/epos/*", "500", times=2)
    pair.sandbox.fault("GET", "/epos/integrations/*", "503")

    assert [get(pair.sandbox, "/epos/integrations/ws").status_code for _ in range(4)] == [503, 500, 500, 200]


def test_a_fault_that_does_not_exist_is_refused(pair):
    for method, kind in (("GET", "late"), ("EVENT", "500"), ("GET", "200"), ("GET", "explode")):
        with pytest.raises(InvalidRequest):
            pair.sandbox.fault(method, "*", kind)


def test_duplicates_of_an_event_carry_one_id_and_are_recorded(pair):
    result = pair.sandbox.order_and_pay(duplicates=2)

    assert result.reason == ""
    sent = [body["id"] for _, path, body in pair.peer.received if path == "/v1/events"]
    assert (len(sent), len(set(sent))) == (3, 1)
    notes = [message.note for message in pair.sandbox.messages() if message.path == "/v1/events"]
    assert [note.partition(sent[0])[2] for note in notes] == ["", " (copy 2)", " (copy 3)"]


def test_an_event_may_come_twice_by_a_fault(pair):
    pair.sandbox.fault("EVENT", "payment_intent.status_updated", "twice")

    assert pair.sandbox.order_and_pay().reason == ""
    assert [path for _, path, _ in pair.peer.received].count("/v1/events") == 2


def test_a_late_created_event_comes_after_status_updated(pair):
    pair.peer.open(1000)
    pair.sandbox.fault("EVENT", "payment_intent.created", "late", late_seconds=2)  # The other one comes at once.

    assert pair.sandbox.pay_only(TABLE).reason == ""

    def events():
        return [body["event"] for _, path, body in pair.peer.received if path == "/v1/events"]

    eventually(lambda: len(events()) == 2)
    assert events() == ["payment_intent.status_updated", "payment_intent.created"]


def test_an_event_that_is_not_answered_with_2xx_is_tried_again(pair):
    order = pair.sandbox.order_and_pay()
    pair.peer.refusals += [503, 404]

    pair.sandbox.send_event(order.intent_ids[0])

    attempts = [message.status for message in pair.sandbox.messages() if message.path == "/v1/events"]
    assert attempts == [200, 503, 404, 200]


def test_an_event_is_given_up_after_the_attempts_that_are_allowed():
    with running(event_attempts=2) as pair:
        result = pair.sandbox.order_and_pay()
        pair.peer.refusals += [503] * 3

        with pytest.raises(EventUndelivered, match="none of 2 attempts; its last answer: 503"):
            pair.sandbox.send_event(result.intent_ids[0])

        assert pair.peer.refusals == [503]


def test_a_flow_survives_that_the_created_event_is_dropped(pair):
    pair.peer.open(1000)
    pair.sandbox.fault("EVENT", "payment_intent.created", "dropped")

    assert pair.sandbox.pay_only(TABLE).reason == ""
    dropped = [message for message in pair.sandbox.messages() if "dropped" in message.note]
    assert [(message.path, message.status) for message in dropped] == [("/v1/events", 0)]


# Dojo's API


def test_every_call_needs_the_key_as_it_is(pair):
    encoded = base64.b64encode(f"{KEY}:".encode()).decode()
    for header in ("", f"Basic {encoded}", f"Bearer {KEY}", "Basic sk_sandbox_other", "Basic sk_sandbox_\u00e9"):
        for path in ("/epos/integrations", "/payment-intents/pi_1", "/nowhere", "/sandbox/flows"):
            assert get(pair.sandbox, path, Authorization=header.encode()).status_code == 401


def test_production_keys_are_refused_with_an_explanation(pair):
    answer = get(pair.sandbox, "/epos/integrations", Authorization="Basic sk_prod_real")

    assert answer.status_code == 401
    assert "production key" in answer.json()["detail"]
    with pytest.raises(InvalidRequest, match="production"):
        Sandbox(api_key="sk_prod_real")


@pytest.mark.parametrize("version", ["", "2024-01-01"])
def test_another_version_is_a_bad_request(pair, version):
    assert get(pair.sandbox, "/epos/integrations", version=version).status_code == 400


def test_a_cancelled_intent_is_unknown_unless_asked_for(pair):
    intent = pair.sandbox.intents.cancel(pair.sandbox.intents.make(gbp(100), reference="r").id)

    assert get(pair.sandbox, f"/payment-intents/{intent.id}").status_code == 404
    assert get(pair.sandbox, f"/payment-intents/{intent.id}?returnCanceled=true").json()["status"] == "Canceled"


def test_a_put_replaces_the_registration_and_never_tells_the_password(pair):
    answer = put_rest(pair.sandbox, "http://127.0.0.1:9", ["GetOrderById"])

    [integration] = answer.json()
    assert [capability["name"] for capability in integration["capabilities"]] == ["GetOrderById"]
    assert USER[1] not in answer.text + get(pair.sandbox, "/epos/integrations").text
    assert get(pair.sandbox, "/epos/integrations/ws").json() == get(pair.sandbox, "/epos/integrations/dojo").json() == []


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", "http://a:b@c", "http://[", "http://h:99999", ""])
def test_a_registration_with_an_unusable_url_is_refused(pair, url):
    assert put_rest(pair.sandbox, url).status_code == 400


@pytest.mark.parametrize(
    ("event_type", "event", "status"),
    [
        ("OrderUpdated", {"orderId": "pos-1"}, 200),
        ("PartyUpdated", {"partyId": "p"}, 200),
        ("ReservationUpdated", {"reservationId": "r"}, 200),
        ("OrderUpdated", {"partyId": "p"}, 400),
        ("OrderUpdated", {}, 400),
        ("OrderUpdated", {"orderId": "pos-1", "partyId": "p"}, 400),
        ("OrderUpdated", {"orderId": ""}, 400),
        ("OrderCreated", {"orderId": "pos-1"}, 400),
    ],
)
def test_an_event_of_the_pos_names_exactly_the_one_thing_that_changed(pair, event_type, event, status):
    body = {"eventType": event_type, "event": event}

    answer = post(pair.sandbox, "/epos/events", body)

    assert answer.status_code == status
    assert answer.json() == body if status == 200 else answer.json()["status"] == 400


def test_searching_pages_through_every_intent_once_in_both_directions(pair):
    made = [pair.sandbox.intents.make(gbp(100), reference="r").id for _ in range(5)]
    pair.sandbox.intents.cancel(made[0])

    def page(**cursor):
        return post(pair.sandbox, "/payment-intents/search", {"statuses": ["Created"], "cursor": {"limit": 3} | cursor}).json()

    first = page()
    second = page(after=first["after"])
    back = page(before=second["before"])
    assert [intent["id"] for intent in first["data"] + second["data"]] == made[:0:-1]
    assert (back["data"], "before" in back, "after" in second) == (first["data"], False, False)


@pytest.mark.parametrize("cursor", [{"limit": 0}, {"limit": 101}, {"before": "a", "after": "b"}, {"after": "nowhere"}, {"page": 2}])
def test_a_cursor_that_cannot_be_is_a_bad_request(pair, cursor):
    assert post(pair.sandbox, "/payment-intents/search", {"cursor": cursor}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [{"statuses": ["Paid"]}, {"statuses": "Captured"}, {"startDate": "yesterday"}, {"endDate": "2026-03-14"}, {"status": ["Captured"]}, []],
)
def test_a_search_that_is_not_as_published_is_refused_as_a_problem(pair, is_valid, body):
    answer = post(pair.sandbox, "/payment-intents/search", body)

    assert answer.status_code == 400
    is_valid("dojo-api", "ProblemDetails", answer.json())


def test_a_search_without_a_limit_finds_fifty_and_says_that_there_are_more(pair):
    for _ in range(51):
        pair.sandbox.intents.make(gbp(100), reference="r")

    page = post(pair.sandbox, "/payment-intents/search", {}).json()

    assert (len(page["data"]), "after" in page, "before" in page) == (50, True, False)


def test_a_search_by_status_finds_these_and_no_others(pair):
    ledger = pair.sandbox.intents
    made = [ledger.make(gbp(100), reference="r").id for _ in range(4)]
    ledger.capture(made[0])
    ledger.refund(ledger.capture(made[1]).id)
    ledger.reverse(ledger.capture(made[2]).id)

    page = post(pair.sandbox, "/payment-intents/search", {"statuses": ["Captured", "Reversed"]}).json()

    assert [intent["id"] for intent in page["data"]] == [made[2], made[0]]


def test_searching_by_time_leaves_out_what_was_made_outside_it(pair):
    pair.sandbox.intents.make(gbp(100), reference="r")
    later = "2999-01-01T00:00:00Z"

    found = [post(pair.sandbox, "/payment-intents/search", {key: later}).json()["data"] for key in ("startDate", "endDate")]

    assert [len(data) for data in found] == [0, 1]


def test_what_is_not_json_is_refused_as_a_problem(pair):
    url = f"{pair.sandbox.url}/epos/events"
    plain = requests.post(url, data="{}", headers=HEADERS, timeout=SECONDS)
    broken = requests.post(url, data="{", headers=HEADERS | {"content-type": "application/json"}, timeout=SECONDS)
    unknown = get(pair.sandbox, "/paymentIntentId/pi_1")

    assert [answer.json()["status"] for answer in (plain, broken, unknown)] == [415, 400, 404]


# The control routes


def test_flows_run_and_are_looked_at_over_http(pair):
    started = post(pair.sandbox, "/sandbox/flows", {"flow": "order-and-pay", "tips": wire(200)})
    assert started.status_code == 202
    flow = f"/sandbox/flows/{started.json()['id']}"

    eventually(lambda: get(pair.sandbox, flow).json()["state"] != "running")

    shown = get(pair.sandbox, flow).json()
    assert (shown["state"], shown["reason"]) == ("done", "")
    assert [step["state"] for step in shown["steps"]] == ["done"] * 7
    assert get(pair.sandbox, "/sandbox/flows").json()["data"] == [shown]
    assert [intent["id"] for intent in get(pair.sandbox, "/sandbox/intents").json()["data"]] == shown["intentIds"]
    assert {message["direction"] for message in get(pair.sandbox, "/sandbox/messages").json()["data"]} == {"<-", "->"}


def test_faults_are_added_over_http(pair):
    assert post(pair.sandbox, "/sandbox/faults", {"method": "GET", "path": "/epos/*", "kind": "502"}).status_code == 201
    assert get(pair.sandbox, "/epos/integrations").status_code == 502
    assert post(pair.sandbox, "/sandbox/faults", {"method": "GET", "path": "/epos/*", "kind": "late"}).status_code == 400


def test_a_flow_that_cannot_start_is_refused_over_http_too():
    with running(register=False) as pair:
        refused = post(pair.sandbox, "/sandbox/flows", {"flow": "pay-only", "tableId": TABLE})
        unknown = post(pair.sandbox, "/sandbox/flows", {"flow": "pay-twice"})

        assert (refused.status_code, unknown.status_code) == (409, 400)
        assert "SearchOrders" in refused.json()["detail"]


# The ledger


@dataclass
class MovableClock:
    """A clock that stands until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime(2026, 3, 14, 12, tzinfo=UTC))

    def now(self):
        return self.moment

    def monotonic(self):
        return self.moment.timestamp()

    def move(self, **length):
        self.moment += timedelta(**length)


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def intents(clock):
    counter = iter(range(1, 1000))
    return Intents(clock=clock, new_id=lambda prefix: f"{prefix}{next(counter)}")


def a_manual(intents, **options):
    return intents.make(gbp(1000), **{"reference": "r", "capture_mode": "Manual", "tips": gbp(100)} | options)


def an_auto(intents):
    return intents.make(gbp(1000), reference="r")


def test_a_manual_intent_may_be_captured_in_parts_and_refunded_in_parts(intents):
    intent_id = intents.authorise(a_manual(intents).id).id

    intents.capture(intent_id, gbp(400))
    whole = intents.capture(intent_id)
    assert [(capture.amount.value, capture.tips.value) for capture in whole.captures] == [(400, 0), (600, 100)]

    assert intents.refund(intent_id, gbp(300)).status == "Captured"
    assert intents.refund(intent_id).status == "Refunded"
    assert intents.read(intent_id).refunded == gbp(1100)


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (an_auto, ["authorise"]),
        (an_auto, ["capture", "capture"]),
        (an_auto, ["capture", "cancel"]),
        (an_auto, ["reverse"]),
        (an_auto, ["refund"]),
        (an_auto, ["cancel", "capture"]),
        (an_auto, ["capture", "reverse", "refund"]),
        (a_manual, ["capture"]),
        (a_manual, ["authorise", "authorise"]),
        (a_manual, ["authorise", "cancel"]),
        (a_manual, ["authorise", "refund"]),
        (a_manual, ["authorise", "capture", "capture"]),
        (a_manual, ["authorise", "capture", "reverse"]),
        (a_manual, ["authorise", "reverse", "capture"]),
        (a_manual, ["authorise", "capture", "refund", "refund"]),
    ],
)
def test_what_dojo_does_not_allow_is_refused_and_changes_nothing(intents, make, moves):
    intent_id = make(intents).id
    for move in moves[:-1]:
        getattr(intents, move)(intent_id)
    before = intents.read(intent_id)

    with pytest.raises(IntentRefused):
        getattr(intents, moves[-1])(intent_id)

    assert intents.read(intent_id) == before


@pytest.mark.parametrize("amount", [gbp(0), gbp(-1), gbp(1001), Money(100, "EUR")])
def test_no_more_is_captured_than_was_authorised(intents, amount):
    intent_id = intents.authorise(a_manual(intents).id).id

    with pytest.raises(IntentRefused):
        intents.capture(intent_id, amount)


def test_an_automatic_capture_is_reversed_on_its_own_day_only(intents, clock):
    today, tomorrow = intents.capture(an_auto(intents).id), intents.capture(an_auto(intents).id)

    assert intents.reverse(today.id).status == "Reversed"
    clock.move(hours=12)
    with pytest.raises(IntentRefused, match="another day"):
        intents.reverse(tomorrow.id)


def test_an_unpaid_intent_is_cancelled_when_it_expires(intents, clock):
    intent = intents.make(gbp(100), reference="r", expire_at=clock.now() + timedelta(minutes=5))

    clock.move(minutes=5)

    assert intents.read(intent.id).status == "Canceled"
    with pytest.raises(UnknownIntent):
        intents.read(intent.id, return_canceled=False)


@pytest.mark.parametrize(("action", "status"), [("Release", "Reversed"), ("Capture", "Captured")])
def test_an_authorisation_ends_as_its_intent_says(intents, clock, action, status):
    intent = a_manual(intents, auto_expire_in=timedelta(hours=1), auto_expire_action=action)
    intents.authorise(intent.id)

    clock.move(hours=1)

    assert intents.read(intent.id).status == status


@pytest.mark.parametrize("odd", [{"tips": Money(1, "EUR")}, {"service_charge": gbp(-1)}, {"reference": ""}, {"reference": "x" * 61}])
def test_an_intent_with_odd_figures_is_not_made(intents, odd):
    with pytest.raises(IntentRefused):
        a_manual(intents, **odd)


def test_money_is_moved_once_when_many_threads_try(intents):
    intent_id = intents.authorise(a_manual(intents).id).id

    def capture(_):
        try:
            return intents.capture(intent_id).taken.value
        except IntentRefused:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(capture, range(8))) == 1100


# Dojo's published schemas


@pytest.fixture(scope="module")
def is_valid(specs):
    return schema_check(specs)


def test_every_body_sent_to_the_pos_is_what_the_published_schema_says(pair, is_valid):
    assert pair.sandbox.order_and_pay(tips=gbp(500)).ok
    pair.peer.open(1000)
    assert pair.sandbox.pay_only(TABLE, parts=2).ok

    sent = {path: body for method, path, body in pair.peer.received if method == "POST"}
    is_valid("epos-data-api", "CreateOrderRequest", sent["/v1/orders"])
    is_valid("epos-data-api", "SearchOrdersRequest", sent["/v1/orders/search"])


def test_every_payment_intent_served_is_what_the_published_schema_says(pair, is_valid):
    ledger = pair.sandbox.intents
    pair.sandbox.order_and_pay(tips=gbp(500))
    ledger.cancel(ledger.make(gbp(1), reference="r", metadata={"waiterId": "42"}).id)
    ledger.refund(ledger.capture(ledger.make(gbp(10), reference="r").id).id, gbp(3))
    a_manual(ledger)

    page = post(pair.sandbox, "/payment-intents/search", {}).json()

    assert len(page["data"]) == 4
    is_valid("dojo-api", "PagedResultOfPaymentIntent", page)
    for listed in page["data"]:
        intent = get(pair.sandbox, f"/payment-intents/{listed['id']}?returnCanceled=true").json()
        is_valid("dojo-api", "PaymentIntent", intent)
        assert intent == listed


def test_a_paid_intent_carries_a_secret_and_a_card_that_are_obviously_fake(pair):
    result = pair.sandbox.order_and_pay()

    intent = get(pair.sandbox, f"/payment-intents/{result.intent_ids[0]}").json()

    assert intent["clientSessionSecret"].startswith("not-a-secret-")
    assert intent["paymentDetails"]["card"]["cardNumber"] == "00000000****0000"


def test_registrations_events_and_problems_are_what_the_published_schemas_say(pair, is_valid):
    is_valid("dojo-api", "AllIntegrationsResponse", get(pair.sandbox, "/epos/integrations").json())
    [integration] = get(pair.sandbox, "/epos/integrations/rest").json()
    is_valid("dojo-api", "RestIntegrationResponse", integration)
    echo = post(pair.sandbox, "/epos/events", {"eventType": "PartyUpdated", "event": {"partyId": "p"}}).json()
    is_valid("dojo-api", "EventRequest", echo)
    is_valid("dojo-api", "ProblemDetails", get(pair.sandbox, "/payment-intents/pi_none").json())


def test_run_forever_serves_until_it_is_told_to_end():
    program = "from adapters.sandbox import Sandbox, run_forever; run_forever(Sandbox(), print)"
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        url = process.stdout.readline().strip()
        status = requests.get(f"{url}/epos/integrations", timeout=SECONDS).status_code

        process.send_signal(signal.SIGTERM)  # Whatever was answered: nobody else ends it.

        assert (status, process.wait(SECONDS)) == (401, 0)
