"""The table of what Dojo's documents leave open (contract §16): for each row a case that shows that the recommended reading is served.

Over real HTTP between running services and the sandbox. A case names its row; a row that has none says why.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from flask import request

from adapters.capabilities import CAPABILITIES, SERVED, difference, wanted
from adapters.dojo.client import DojoClient, DojoSettings
from adapters.epos.signature import sign
from adapters.sandbox import Sandbox
from tests.contract.running import KEY, PASSWORD, USERNAME, Client, Service, a_bill, an_event, an_order, basic, eventually, gbp, published
from workflow.money import Money

SECRET = "hook-secret"
FAST_SECONDS = 8.0
"""Contract §16, 33."""

NOT_OVER_REST = {
    6: "names of the WebSocket contract: that transport is not served",
    30: "answers of the WebSocket contract: that transport is not served",
    37: "other contracts, which are not served",
}

CASES: list = []


def row(number):
    """Mark a function as a case of this row."""

    def keep(case):
        CASES.append(pytest.param(case, id=f"{number}-{case.__name__}"))
        SHOWN.add(number)
        return case

    return keep


SHOWN: set[int] = set()


# -- two venues: one as published, one with each setting that has another reading


class Pair:
    """A service and the sandbox that it is registered at; `heard` are the sandbox's requests: method, path with query, headers.

    No call is given up, and so made once more, because the machine is busy.
    """

    def __init__(self, folder, **settings):
        self.heard = []
        self.sandbox = Sandbox(api_key=KEY, event_back_off_seconds=0.02)
        self.sandbox._app.before_request(self._hear)
        self.sandbox.start()
        given = {"WEBHOOK_SECRETS": SECRET, "SWEEP_S": 1, "CALL_DEADLINE_MS": 30_000, "LEASE_S": 60}
        self.service = Service(folder, self.sandbox.url, **given | settings)
        self.credentials = str(self.service.settings["EPOS_USERNAME"]), str(self.service.settings["EPOS_PASSWORD"])
        self.dojo = Client(self.service.dojo.port, basic(*self.credentials))
        self.till, self.auditor = self.service.till, self.service.auditor

    def client(self):
        return DojoClient(DojoSettings(url=self.sandbox.url, api_key=KEY, software_house_id="sh_contract"))

    def wanted(self):
        return wanted(str(self.service.settings["PUBLIC_URL"]), *self.credentials)

    def _hear(self):
        self.heard.append((request.method, request.full_path.rstrip("?"), dict(request.headers)))

    def stop(self):
        self.service.kill()
        self.sandbox.stop()

    def intent(self, value=1200, **links):
        links = {"reference": "r"} | links
        tips, service_charge = (Money(links.pop(name, 0), "GBP") for name in ("tips", "service_charge"))
        return self.sandbox.intents.make(Money(value, "GBP"), tips=tips, service_charge=service_charge, **links).id

    def captured(self, value=1200, **links):
        intent_id = self.intent(value, **links)
        self.sandbox.intents.capture(intent_id)
        return intent_id

    def order(self, order_id):
        return self.dojo.get(f"/v1/orders/{order_id}").json

    def opened(self, total=1200, **changes):
        return self.till.post("/till/orders", a_bill(total=total, **changes)).json["id"]

    def await_paid(self, order_id, paid):
        return eventually(lambda: order if (order := self.order(order_id))["paidAmount"] == gbp(paid) else None)

    def reads(self, intent_id):
        return [path for method, path, _ in self.heard if method == "GET" and intent_id in path]


@pytest.fixture(scope="module")
def venues(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ambiguities")
    other = {"ORDER_AND_PAY_MODE": "inline", "TABLES_ANSWER": "page", "EPOS_USERNAME": "other", "EPOS_PASSWORD": "other-password"}
    for name in ("published", "other"):
        (folder / name).mkdir()
    template = folder / "bill.toml"
    template.write_text('[[footer]]\nurl = "https://corner.example"\n')
    pairs = SimpleNamespace(published=Pair(folder / "published", BILL_TEMPLATE=template), other=Pair(folder / "other", **other))
    try:
        for pair in (pairs.published, pairs.other):
            pair.service.start()
            client = pair.client()
            client.register(pair.wanted())
            client.close()
        yield pairs
    finally:
        pairs.published.stop()
        pairs.other.stop()


@pytest.fixture(scope="module")
def is_valid(specs):
    """Checks an answer against the published schema of that name."""
    return published(specs)


@pytest.fixture
def at(venues, is_valid):
    """What a case needs: the venue with every setting as published, the one with the others, the published schemas."""
    return SimpleNamespace(pair=venues.published, other=venues.other, is_valid=is_valid)


# -- the rows


@row(1)
def capture_by_event_and_capture_within_create_order_end_alike(at):
    ends = []
    for pair, counted in ((at.pair, 0), (at.other, 1200)):
        intent_id = pair.intent(dojo_order_id="row-1", capture_mode="Manual")
        pair.sandbox.intents.authorise(intent_id)
        if counted:
            pair.sandbox.intents.capture(intent_id)
        created = pair.dojo.post("/v1/orders", an_order("row-1", intent_id=intent_id)).json
        assert (created["paidAmount"], created["payable"]) == (gbp(counted), False)
        if not counted:
            pair.sandbox.intents.capture(intent_id)
        pair.sandbox.send_event(intent_id)
        pair.service.await_state(created["id"], "updated")
        end = pair.order(created["id"])
        ends.append({name: end[name] for name in ("status", "paidAmount", "tipsAmount", "payable", "totalAmount")})
    assert ends[0] == ends[1]
    assert (ends[0]["status"], ends[0]["paidAmount"]) == ("Confirmed", gbp(1200))


@row(2)
def an_intent_finds_its_order_by_our_id_in_external_id(at):
    order_id = at.pair.opened()
    at.pair.sandbox.send_event(at.pair.captured(external_id=order_id))
    at.pair.await_paid(order_id, 1200)


@row(2)
def an_intent_finds_its_order_by_dojos_order_id_in_either_place_and_by_the_legacy_reference(at):
    for name, links in (("id", {"dojo_order_id": "row-2-id"}), ("external", {"external_id": "row-2-external"})):
        created = at.pair.dojo.post("/v1/orders", an_order(f"row-2-{name}")).json["id"]
        at.pair.sandbox.send_event(at.pair.captured(**links))
        at.pair.await_paid(created, 1200)
    order_id = at.pair.opened()
    at.pair.sandbox.send_event(at.pair.captured(reference=order_id))
    at.pair.await_paid(order_id, 1200)


@row(3)
def dojos_order_id_is_stored_and_returned_to_dojo_nowhere(at):
    created = at.pair.dojo.post("/v1/orders", an_order("row-3", table="tbl_row_3"))
    order_id = created.json["id"]
    answers = [
        created,
        at.pair.dojo.get(f"/v1/orders/{order_id}"),
        at.pair.dojo.post("/v1/orders/search", {"dineIn": {"tableId": "tbl_row_3"}}),
    ]
    answers.append(at.pair.dojo.call("DELETE", f"/v1/orders/{order_id}"))
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer for answer in answers if b"dojoOrderId" in answer.body or b"row-3" in answer.body] == []
    assert at.pair.service.order(order_id)["dojoOrderId"] == "row-3"


@row(4)
def an_intent_is_read_at_the_path_that_exists(at):
    order_id = at.pair.opened()
    intent_id = at.pair.captured(external_id=order_id)
    at.pair.sandbox.send_event(intent_id)
    at.pair.await_paid(order_id, 1200)
    assert {path.partition("?")[0] for path in at.pair.reads(intent_id)} == {f"/payment-intents/{intent_id}"}


@row(5)
def a_search_at_the_address_of_create_order_is_refused_and_at_its_own_is_answered(at):
    asked = {"dineIn": {"tableId": "tbl_row_5"}, "payableOnly": True}
    refused = at.pair.dojo.post("/v1/orders", asked)
    assert (refused.status, refused.json["debugMessage"].partition(":")[2]) == (400, " required, but absent")
    assert at.is_valid("PagedOrdersResponse", at.pair.dojo.post("/v1/orders/search", asked).json) == {"data": []}


@row(7)
def an_event_is_taken_at_v1_events_and_answered_with_an_empty_object(at):
    answer = at.pair.dojo.post("/v1/events", an_event("evt_row_7", "pi_row_7"))
    assert (answer.status, answer.json, answer.headers["content-type"]) == (200, {}, "application/json")


@row(8)
def the_older_names_are_registered_and_the_newer_ones_are_the_same(at):
    client, ours = at.pair.client(), at.pair.wanted()
    newer = {capability.name: capability.aliases[0] for capability in CAPABILITIES if capability.aliases}
    assert not {name for name, _ in ours.capabilities} & set(newer.values())
    client.register(replace(ours, capabilities=tuple((newer.get(name, name), version) for name, version in ours.capabilities)))
    try:
        [known] = client.integrations()
        assert set(newer.values()) & {name for name, _ in known.capabilities}
        assert difference(known, ours).is_none
    finally:
        client.register(ours)
        client.close()


@row(9)
def every_capability_is_registered_as_v1_under_a_name_of_section_3(at):
    client = at.pair.client()
    [known] = client.integrations()
    client.close()
    assert {version for _, version in known.capabilities} == {"v1"}
    assert {name for name, _ in known.capabilities} == set(SERVED) <= {capability.name for capability in CAPABILITIES}


@row(10)
def cancelled_intents_are_asked_for_on_every_read(at):
    intent_id = at.pair.intent(external_id=at.pair.opened())
    at.pair.sandbox.intents.cancel(intent_id)
    at.pair.sandbox.send_event(intent_id)
    eventually(lambda: at.pair.reads(intent_id))
    at.pair.service.await_rest()
    reads = [path for method, path, _ in at.pair.heard if method == "GET" and path.startswith("/payment-intents/")]
    assert {path.partition("?")[2] for path in reads} == {"returnCanceled=true"}
    tasks = [task for task in at.pair.auditor.get("/api/outbox?limit=500").json["data"] if task["paymentIntentId"] == intent_id]
    assert {task["status"] for task in tasks} == {"done"}


@row(11)
def a_payment_that_is_recorded_again_is_200_and_one_that_does_not_fit_is_409(at):  # I12
    order_id = at.pair.opened()
    told = {"paymentIntentId": at.pair.captured(external_id=order_id), "paidAmount": gbp(1200)}
    answers = [at.pair.dojo.post(f"/v1/orders/{order_id}/record-payment", told) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert {json.dumps(answer.json["payments"]) for answer in answers} == {json.dumps(answers[0].json["payments"])}
    other = {"paymentIntentId": at.pair.captured(external_id=order_id), "paidAmount": gbp(1)}
    assert at.pair.dojo.post(f"/v1/orders/{order_id}/record-payment", other).status == 409


@row(12)
@row(13)
def a_lock_is_made_at_lock_extended_at_locks_and_extending_answers_an_empty_object(at):
    order_id, soon = at.pair.opened(), (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    assert at.pair.dojo.post(f"/v1/orders/{order_id}/locks", {"lockId": "l", "expiry": soon}).status == 404
    assert at.pair.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": "l", "expiry": soon}).json["id"] == order_id
    assert at.pair.dojo.call("PUT", f"/v1/orders/{order_id}/lock", {"expiry": soon}).status == 405
    extended = at.pair.dojo.call("PUT", f"/v1/orders/{order_id}/locks/l", {"expiry": soon})
    assert (extended.status, extended.body) == (200, b"{}")
    assert at.pair.dojo.call("DELETE", f"/v1/orders/{order_id}/lock").status == 405
    assert at.pair.dojo.call("DELETE", f"/v1/orders/{order_id}/locks/l").json["id"] == order_id


@row(14)
def tables_come_as_a_list_of_pages_or_as_the_page_alone_where_it_is_so_set(at):
    tables = [{"id": "tbl_1", "name": "1"}, {"id": "tbl_2", "name": "2"}]
    for pair in (at.pair, at.other):
        assert pair.till.call("PUT", "/till/tables", tables).status == 200
        answer = pair.dojo.post("/v1/tables/search", {"cursor": {"limit": 1}}).json
        assert pair.till.call("PUT", "/till/tables", []).status == 200
        page = answer[0] if pair is at.pair else answer
        assert isinstance(answer, list) == (pair is at.pair)
        assert at.is_valid("PagedTablesResponse", page)["data"] == tables[:1]


@row(15)
def the_paid_amount_of_an_order_is_the_sum_over_its_payments(at):
    order_id = at.pair.opened(total=1200)
    for value, paid in ((500, 500), (700, 1200)):
        at.pair.sandbox.send_event(at.pair.captured(value, external_id=order_id))
        order = at.pair.await_paid(order_id, paid)
    assert sorted(payment["paidAmount"]["value"] for payment in order["payments"]) == [500, 700]
    assert (order["paidAmount"], order["payable"]) == (order["totalAmount"], False)


@row(16)
def an_intents_total_is_not_what_is_counted(at):
    """The intent's total has the tip in it; the order counts amount and service charge, and the tip apart."""
    order_id = at.pair.opened(total=1200)
    at.pair.sandbox.send_event(at.pair.captured(1000, service_charge=200, tips=150, external_id=order_id))
    order = at.pair.await_paid(order_id, 1200)
    assert (order["tipsAmount"], order["payable"]) == (gbp(150), False)


@row(17)
@row(18)
def a_refund_in_part_is_known_by_its_bare_integer_and_not_by_the_status_alone(at):
    order_id = at.pair.opened(total=1200)
    intent_id = at.pair.intent(1200, external_id=order_id, capture_mode="Manual")
    at.pair.sandbox.intents.authorise(intent_id)
    at.pair.sandbox.intents.capture(intent_id)
    at.pair.sandbox.send_event(intent_id)
    at.pair.await_paid(order_id, 1200)
    at.pair.sandbox.intents.refund(intent_id, Money(300, "GBP"))
    at.pair.sandbox.send_event(intent_id)
    order = at.pair.await_paid(order_id, 900)
    assert [payment["paidAmount"] for payment in order["payments"]] == [gbp(900)]
    assert at.pair.service.order(order_id)["state"] not in {"refunded", "reversed"}


@row(19)
def what_published_examples_carry_beyond_their_schemas_is_read_and_not_repeated(at):
    details = {"orderType": "Collection", "collection": {"asap": False, "collectionTime": "2030-03-14T18:30:00Z", "slot": 7}}
    asked = an_order("row-19", details=details, paymentSource="Web", config={"branding": {}}) | {"status": "Created"}
    created = at.is_valid("Order", at.pair.dojo.post("/v1/orders", asked).json)
    assert created["details"]["collection"] == {"asap": False, "collectAt": "2030-03-14T18:30:00Z"}
    assert (created["status"], set(created) & {"paymentSource", "config"}) == ("Submitted", set())
    event = an_event("evt_row_19", "pi_row_19", paymentEvents=[{"x": 1}], lastUsedAt="2026-01-01")
    assert at.pair.dojo.post("/v1/events", event | {"data": event["data"] | {"captureMode": None}}).status == 200


@row(20)
def percentages_keep_their_two_implied_decimals(at):
    tax, discount = (
        {"name": "VAT", "amountPercentage": 2000, "amountTotal": gbp(200)},
        {"name": "W", "amountPercentage": 2510, "amountTotal": gbp(1)},
    )
    created = at.pair.dojo.post("/v1/orders", an_order("row-20", taxLines=[tax], discounts=[discount])).json
    assert (created["taxLines"], created["discounts"]) == ([tax], [discount])


@row(21)
def the_flags_of_a_link_on_a_bill_are_spelt_as_in_the_rest_schema(at):
    bill = at.is_valid("OrderBill", at.pair.dojo.get(f"/v1/orders/{at.pair.opened()}/bill").json)
    [link] = [line["url"] for line in bill["footer"]["lines"] if line["lineType"] == "URL"]
    assert link == {"url": "https://corner.example", "showQr": True, "showUrl": True}


@row(22)
def every_amount_of_an_order_is_always_sent(at):
    for order in (at.order_of(an_order("row-22")), at.pair.order(at.pair.opened())):
        assert {"totalAmount", "paidAmount", "tipsAmount", "serviceChargeAmount"} <= set(order)
        assert (order["paidAmount"], order["tipsAmount"], order["serviceChargeAmount"]) == (gbp(0), gbp(0), gbp(0))


def bookings_of(at):
    """Every request that creates or changes a party or a reservation, each of one that is there: method, path, and a body that is good."""
    times = {"startTime": "2030-03-14T19:00:00.000Z", "endTime": "2030-03-14T21:00:00.000Z", "tableIds": ["tbl_23"]}
    party = {"dojoPartyId": "row-23", "status": "seated"} | times
    reservation = {"dojoReservationId": "row-23", "name": "Robin", "covers": 2} | times
    for place, body in (("/v1/parties", party), ("/v1/reservations", reservation)):
        made = at.pair.dojo.post(place, body)
        assert made.status == 200
        yield from (("POST", place, body), ("PUT", f"{place}/{made.json['id']}", body))


@row(23)
def parties_and_reservations_need_a_table(at):
    for method, path, body in bookings_of(at):
        answer = at.pair.dojo.call(method, path, body | {"tableIds": []})
        assert (answer.status, answer.json["debugMessage"].partition(": ")[0]) == (400, "tableIds")
        assert at.pair.dojo.call(method, path, body).status == 200


@row(24)
def parties_and_reservations_need_a_body(at):
    for method, path, _ in bookings_of(at):
        answer = at.pair.dojo.call(method, path, b"")
        assert (answer.status, answer.json["debugMessage"].partition(": ")[0]) == (400, "body")


@row(25)
def each_location_has_credentials_of_its_own_and_a_request_needs_no_account_id(at):
    order_id = at.pair.opened()
    assert at.pair.dojo.get(f"/v1/orders/{order_id}").status == 200
    assert Client(at.other.dojo.port, at.pair.dojo.authorization).get(f"/v1/orders/{order_id}").status == 401
    assert at.other.dojo.get(f"/v1/orders/{order_id}").status == 404


@row(26)
def we_send_the_raw_key_and_are_sent_base64(at):
    assert {headers["Authorization"] for _, _, headers in at.pair.heard} == {f"Basic {KEY}"}
    encoded = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    assert at.pair.dojo.get("/v1/orders/none", authorization=f"Basic {encoded}").status == 404
    assert at.pair.dojo.get("/v1/orders/none", authorization=f"Basic {encoded[:-4]}").status == 401
    assert at.pair.dojo.get("/v1/orders/none", authorization=f"Basic {KEY}").status == 401


@row(27)
def version_and_software_house_are_sent_where_they_are_not_declared_too(at):
    at.pair.opened()
    at.pair.service.await_rest()
    ours = [(path, headers) for _, path, headers in at.pair.heard if path.startswith("/epos/")]
    assert {path for path, _ in ours} >= {"/epos/events", "/epos/integrations/rest"}
    assert {(headers.get("Version"), headers.get("Software-House-Id")) for _, headers in ours} == {("2026-02-27", "sh_contract")}


@row(28)
def no_idempotency_key_is_relied_on(at):
    """We refund nothing, so that none is sent; what is sent is harmless twice."""
    assert [path for _, path, headers in at.pair.heard if "Idempotencykey" in {name.title() for name in headers}] == []
    assert [
        path for _, path, _ in at.pair.heard if re.search("/(refunds|captures|reversal|amount|tips-amount)$", path.partition("?")[0])
    ] == []


@row(29)
def every_status_of_epos_events_is_handled_though_only_200_is_declared(at):
    for kind in ("503", "429", "409"):
        at.pair.service.await_rest()  # What other cases announce would meet the fault instead.
        before = len(at.pair.sandbox.messages())
        at.pair.sandbox.fault("POST", "/epos/events", kind)
        order_id = at.pair.opened()
        at.pair.service.await_rest()
        told = [m.status for m in at.pair.sandbox.messages()[before:] if m.path == "/epos/events"]
        assert told == ([409] if kind == "409" else [int(kind), 200]), order_id


@row(31)
def names_of_events_that_are_listed_elsewhere_are_taken_and_ignored(at):
    for name in ("payment_intent.updated", "payment.successful", "order.created", "anything"):
        event = {"id": f"evt-{name}", "accountId": "acc_1", "event": name, "createdAt": "2026-03-14T12:00:00Z", "data": {"what": "ever"}}
        raw = json.dumps(event).encode()
        assert (at.pair.dojo.post("/v1/events", event).status, at.pair.dojo.post("/v1/events", event).json) == (200, {})
        assert at.pair.dojo.post("/webhooks/dojo", raw, authorization=None, dojo_signature=sign(raw, SECRET)).status == 200


@row(32)
def an_event_needs_basic_and_its_signature_is_checked_where_there_is_one(at):
    raw = json.dumps(an_event("evt_row_32", "pi_row_32")).encode()
    assert at.pair.dojo.post("/v1/events", raw, authorization=None, dojo_signature=sign(raw, SECRET)).status == 401
    assert at.pair.dojo.post("/v1/events", raw, dojo_signature=sign(raw, "wrong")).status == 401
    assert at.pair.dojo.post("/v1/events", raw, dojo_signature=sign(raw, SECRET)).status == 200
    assert at.pair.dojo.post("/v1/events", raw).status == 200


@row(33)
def any_order_and_number_of_events_ends_alike_and_is_answered_fast(at):
    order_id = at.pair.opened()
    intent_id = at.pair.captured(external_id=order_id)
    for event_id, status in (("c", "Captured"), ("a", "Authorized"), ("c", "Captured"), ("n", "Created"), ("c2", "Captured")):
        began = time.monotonic()
        assert at.pair.dojo.post("/v1/events", an_event(f"evt_row_33_{event_id}", intent_id, status)).status == 200
        assert time.monotonic() - began < FAST_SECONDS
    order = at.pair.await_paid(order_id, 1200)
    assert len(order["payments"]) == 1


@row(34)
def a_cancelled_order_is_spelt_as_in_the_enum(at):
    order_id = at.order_of(an_order("row-34"))["id"]
    assert at.is_valid("Order", at.pair.dojo.call("DELETE", f"/v1/orders/{order_id}").json)["status"] == "Canceled"
    assert at.pair.till.post(f"/till/orders/{at.pair.opened()}/status", {"status": "Cancelled"}).status == 400


@row(35)
def an_intent_of_another_product_is_kept_and_calls_nobody(at):
    intent_id = at.pair.captured(reference="a shop's terminal")
    at.pair.sandbox.send_event(intent_id)
    eventually(lambda: at.pair.reads(intent_id))
    at.pair.service.await_rest()
    assert [entry.kind for entry in at.pair.service.reads.entries(order_id="") if entry.payment_intent_id == intent_id] == [
        "event",
        "check",
    ]
    assert [item for item in at.pair.auditor.get("/api/attention").json["data"] if item["paymentIntentId"] == intent_id] == []


@row(36)
def the_expiry_of_a_card_is_neither_parsed_nor_kept(at):
    """The sandbox sends 2099-12-31, as the published example does, where the text says MM/YY."""
    order_id = at.pair.opened()
    at.pair.sandbox.send_event(at.pair.captured(external_id=order_id))
    at.pair.await_paid(order_id, 1200)
    folder = at.pair.service.folder
    assert [path.name for path in folder.iterdir() if path.is_file() and b"2099-12-31" in path.read_bytes()] == []


@pytest.mark.parametrize("case", CASES)
def test_the_recommended_reading_is_what_is_served(at, case):
    at.order_of = lambda asked: at.pair.dojo.post("/v1/orders", asked).json
    case(at)


def test_every_row_of_the_table_has_a_case_or_a_reason(specs):
    table = (specs.parent / "CONTRACT.md").read_text("utf-8").partition("\n## 16.")[2]
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}

    assert len(rows) > 30
    assert SHOWN ^ set(NOT_OVER_REST) == rows
    assert SHOWN & set(NOT_OVER_REST) == set()
