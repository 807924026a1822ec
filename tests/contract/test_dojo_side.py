"""What Dojo meets: the EPOS Data API of a running service, its answers beside the published schemas, and strangers' input."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.contract.running import (
    PASSWORD,
    PATIENCE,
    USERNAME,
    a_bill,
    an_event,
    an_order,
    basic,
    eventually,
    gbp,
    is_refused,
    published,
    running,
)

CONTRACT_ORDER = {
    "dojoOrderId": "ord_full",
    "reference": "A-1042",
    "displayName": "Table 12",
    "note": "Birthday table",
    "customer": {"id": "cus_41", "name": "Sam Sample", "emailAddress": "sam@example.com", "phoneNumber": "+447700900123"},
    "details": {"orderType": "DineIn", "dineIn": {"tableId": "tbl_full", "waiterId": "42", "partyId": "p-1", "reservationId": "r-1"}},
    "items": [
        {
            **{"plu": "BUR-01", "name": "Cheeseburger", "quantity": 2, "note": "one well done", "amountPerItem": gbp(1250)},
            "modifiers": [{"plu": "MOD-CH", "name": "Extra cheese", "quantity": 1, "amountPerModifier": gbp(150)}],
        },
        {
            **{"plu": "SET-02", "name": "Lunch set", "quantity": 1, "amountPerItem": gbp(1500)},
            "subItems": [
                {
                    **{"plu": "LEM-01", "name": "Lemonade", "quantity": 1, "note": "no ice", "amountPerItem": gbp(0)},
                    "modifiers": [{"plu": "MOD-LG", "name": "Large", "quantity": 1, "amountPerModifier": gbp(100)}],
                }
            ],
        },
    ],
    "discounts": [{"name": "Weekday", "code": "W10", "discountReference": "d9", "amountPercentage": 1000, "amountTotal": gbp(440)}],
    "serviceChargeAmount": gbp(495),
    "taxLines": [{"id": "VAT20", "name": "VAT", "amountPercentage": 2000, "amountTotal": gbp(660)}],
    "totalAmount": gbp(4455),
    "payments": [{"paymentIntentId": "pi_full", "paidAmount": gbp(4455), "tipsAmount": gbp(500)}],
}


AN_ITEM = a_bill()["items"][0]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dojo-side"), SWEEP_S=86_400) as service:  # What is stored is a request's doing.
        yield service


@pytest.fixture(scope="module")
def is_valid(specs):
    """Checks an answer against the published schema of that name."""
    return published(specs)


def size(service):
    """How much is stored: entries, remembered requests, orders, tasks, parked events."""
    tables = ("journal", "inbox", "orders", "outbox", "parked", "personal", "attention")
    return [service.reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def search(service, **wanted):
    return service.dojo.post("/v1/orders/search", wanted)


# Bodies beside the published schemas


def test_an_order_with_everything_on_it_comes_back_as_the_published_order(service, is_valid):
    created = is_valid("Order", service.dojo.post("/v1/orders", CONTRACT_ORDER).json)

    echoed = {name: value for name, value in CONTRACT_ORDER.items() if name not in {"dojoOrderId", "payments"}}
    assert {name: created[name] for name in echoed} == echoed
    assert (created["status"], created["payable"], created["paidAmount"], created["tipsAmount"]) == ("Submitted", False, gbp(0), gbp(0))
    assert is_valid("Order", service.dojo.get(f"/v1/orders/{created['id']}").json) == created
    assert "dojoOrderId" not in created
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created["createdAt"])


def test_an_order_to_be_collected_comes_back_with_the_time_under_either_name(service, is_valid):
    for name in ("collectAt", "collectionTime"):
        details = {"orderType": "Collection", "collection": {"asap": False, name: "2026-03-14T18:30:00Z"}}
        created = is_valid("Order", service.dojo.post("/v1/orders", an_order(f"collect-{name}", details=details)).json)
        assert created["details"]["collection"] == {"asap": False, "collectAt": "2026-03-14T18:30:00Z"}


def test_a_page_of_orders_is_the_published_page(service, is_valid):
    for number in range(3):
        service.dojo.post("/v1/orders", an_order(f"page-{number}", table="tbl_page"))

    page = is_valid("PagedOrdersResponse", search(service, dineIn={"tableId": "tbl_page"}, cursor={"limit": 2}).json)

    assert (len(page["data"]), "after" in page, "before" in page) == (2, True, False)


def test_every_error_is_the_published_error(service, is_valid):
    for reply in (
        service.dojo.get("/v1/orders/none"),
        service.dojo.get("/v1/orders"),
        service.dojo.post("/v1/orders", {}),
        service.dojo.post("/v1/orders", {}, authorization=None),
        service.dojo.post("/v1/orders", {}, content_type="text/plain"),
    ):
        is_valid("EPOSError", reply.json)


def test_unknown_fields_are_accepted_and_not_kept(service):
    order = an_order("lenient", somethingNew={"deep": [1]}) | {"payments": []}
    order["items"][0]["colour"] = "red"

    created = service.dojo.post("/v1/orders", order).json

    assert "somethingNew" not in created
    assert "colour" not in created["items"][0]


def test_null_in_an_optional_field_means_absent(service, is_valid):
    created = service.dojo.post("/v1/orders", an_order("nulls", note=None, customer=None, reference=None, serviceChargeAmount=None))

    assert created.status == 200
    assert not {"note", "customer", "reference"} & set(is_valid("Order", created.json))
    assert created.json["serviceChargeAmount"] == gbp(0)


# The same again, and the same id with something else


def test_create_order_again_is_the_same_order(service):  # D1
    first = service.dojo.post("/v1/orders", an_order("again", intent_id="pi_again"))
    before = size(service)

    second = service.dojo.post("/v1/orders", an_order("again", intent_id="pi_again"))

    assert (second.status, second.json) == (200, first.json)
    assert size(service) == before


def test_create_order_with_other_content_under_the_same_id_is_a_conflict_and_calls_a_person(service):  # D2
    order_id = service.dojo.post("/v1/orders", an_order("reused")).json["id"]
    shown = service.dojo.get(f"/v1/orders/{order_id}").json

    message = is_refused(service.dojo.post("/v1/orders", an_order("reused", total=1300)), 409)

    assert order_id in message
    assert [item["code"] for item in service.order(order_id)["attention"]] == ["KEY_REUSE"]
    assert service.dojo.get(f"/v1/orders/{order_id}").json == shown


def test_fifty_equal_orders_at_once_make_one(service):  # D3
    before = size(service)
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: service.dojo.post("/v1/orders", an_order("storm", intent_id="pi_storm")), range(50)))

    assert {reply.status for reply in replies} == {200}
    [order_id] = {reply.json["id"] for reply in replies}
    assert size(service)[2] == before[2] + 1
    assert service.path_of(order_id) == ["created", "authorised"]


def test_order_of_keys_white_space_escapes_and_headers_make_no_other_content(service):  # D4
    order = an_order("canonical", note="tea")
    first = service.dojo.post("/v1/orders", order).json
    before = size(service)

    for raw, headers in (
        (json.dumps(dict(reversed(order.items()))), {}),
        (json.dumps(order, indent=3), {}),
        (json.dumps(order).replace("tea", "\\u0074ea"), {}),
        (json.dumps(order), {"waiter_id": "7", "device_id": "d", "dojo_requesting_product": "Order&Pay"}),
        (json.dumps(order), {"content_type": "application/json; charset=UTF-8"}),
    ):
        reply = service.dojo.post("/v1/orders", raw.encode(), **headers)
        assert (reply.status, reply.json) == (200, first)

    assert size(service) == before


def test_a_float_for_an_integer_is_refused_by_name(service):  # D4 I-3
    for number in (1200.0, 1e3):
        assert "totalAmount.value" in is_refused(service.dojo.post("/v1/orders", an_order("float", totalAmount=gbp(number))), 400)


def test_an_intent_that_pays_another_order_is_a_conflict(service):
    owner = service.dojo.post("/v1/orders", an_order("owner", intent_id="pi_owned")).json["id"]

    message = is_refused(service.dojo.post("/v1/orders", an_order("thief", intent_id="pi_owned")), 409)

    assert "pi_owned" in message
    assert [item["code"] for item in service.order(owner)["attention"]] == ["PAYMENT_CONFLICT"]
    assert service.auditor.get("/api/orders?search=thief").json["data"] == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("totalAmount.currencyCode", {"totalAmount": {"value": 1200, "currencyCode": "EUR"}}),
        (
            "items[0].amountPerItem.currencyCode",
            {"items": [{**a_bill()["items"][0], "amountPerItem": {"value": 1, "currencyCode": "gbp"}}]},
        ),
        ("payments[0].paidAmount", {"payments": [{"paymentIntentId": "p", "paidAmount": {"value": 1200, "currencyCode": "USD"}}]}),
        ("payments[0].paidAmount.value", {"payments": [{"paymentIntentId": "p", "paidAmount": gbp(0)}]}),
        ("payments[1].paymentIntentId", {"payments": [{"paymentIntentId": "p", "paidAmount": gbp(600)}] * 2}),
        ("totalAmount.value", {"totalAmount": gbp(-1)}),
        ("totalAmount.value", {"totalAmount": gbp(True)}),
        ("totalAmount.value", {"totalAmount": gbp("1200")}),
        ("details.dineIn", {"details": {"orderType": "DineIn", "collection": {"asap": True}}}),
        ("details.orderType", {"details": {"orderType": "Delivery"}}),
        ("items", {"items": {}}),
        ("items[0].quantity", {"items": [AN_ITEM | {"quantity": 0}]}),
        ("dojoOrderId", {"dojoOrderId": ""}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_till_can_serve_is_refused_by_the_name_of_the_field(service, field, changes):  # M2 M13
    before = size(service)

    assert field in is_refused(service.dojo.post("/v1/orders", an_order("never") | changes), 400)
    assert size(service) == before


@pytest.mark.parametrize("name", ["dojoOrderId", "details", "items", "totalAmount", "payments"])
def test_a_field_that_is_missing_is_named(service, name):
    order = {key: value for key, value in an_order("never").items() if key != name}

    assert is_refused(service.dojo.post("/v1/orders", order), 400).startswith(f"{name}:")


def test_a_search_sent_to_the_address_of_create_order_is_refused(service):
    is_refused(service.dojo.post("/v1/orders", {"dineIn": {"tableId": "tbl_1"}, "payableOnly": True}), 400)


# Who may call


ROUTES = (("POST", "/v1/orders"), ("GET", "/v1/orders/x"), ("POST", "/v1/orders/search"), ("POST", "/v1/events"), ("GET", "/v1/nowhere"))


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        "",
        "Basic",
        "Basic ====",
        basic(USERNAME, "wrong"),
        basic("wrong", PASSWORD),
        basic("", ""),
        basic(USERNAME, ""),
        basic(USERNAME, PASSWORD + " "),
        f"Basic {USERNAME}:{PASSWORD}".encode().decode("latin-1"),
        "Bearer tok-operator-4713",
        "Basic tok-operator-4713",
    ],
    ids=range(12),
)
def test_without_the_registered_credentials_every_route_answers_401_and_stores_nothing(service, credentials):  # A1
    before = size(service)
    for method, path in ROUTES:
        reply = service.dojo.call(method, path, an_order("stranger") if method == "POST" else None, authorization=credentials)
        is_refused(reply, 401)
        assert reply.headers["www-authenticate"].startswith("Basic ")
    assert size(service) == before


def test_the_name_of_the_scheme_is_of_any_case_and_health_needs_no_credentials(service):
    assert service.dojo.get("/v1/orders/none", authorization=basic(USERNAME, PASSWORD).replace("Basic", "bAsIc")).status == 404
    assert service.dojo.get("/healthz", authorization=None).status == 200


# Routes, methods, kinds of content


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/orders/unknown", 404),
        ("GET", "/v1/orders/unknown/", 404),
        ("GET", "/v2/orders", 404),
        ("GET", "/v1/orders", 405),
        ("PUT", "/v1/orders", 405),
        ("GET", "/v1/events", 405),
        ("PATCH", "/v1/orders/x", 405),
        ("BREW", "/v1/orders", 405),
        ("TRACE", "/v1/orders", 405),
        ("OPTIONS", "/v1/orders", 405),
    ],
    ids=str,
)
def test_what_is_not_served_is_an_epos_error(service, method, path, status):
    reply = service.dojo.call(method, path)

    is_refused(reply, status)
    assert ("allow" in reply.headers) == (status == 405)


def test_head_has_the_headers_of_get_and_no_body(service):
    order_id = service.dojo.post("/v1/orders", an_order("head")).json["id"]
    whole = service.dojo.get(f"/v1/orders/{order_id}")

    head = service.dojo.call("HEAD", f"/v1/orders/{order_id}")

    assert (head.status, head.body, head.headers["content-type"]) == (200, b"", "application/json")
    assert head.headers["content-length"] == str(len(whole.body))
    assert service.dojo.call("HEAD", "/v1/orders/none").status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": None},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/json; charset=utf-7"},
        {"content_type": "application/json; charset=utf-16"},
        {"content_encoding": "gzip"},
    ],
    ids=lambda headers: "-".join(map(str, headers.values())).replace("/", "-").replace("; charset=", "-"),
)
def test_anything_but_plain_json_in_utf8_is_415(service, headers):  # I-8 I-2
    is_refused(service.dojo.post("/v1/orders", an_order("never"), **headers), 415)


def test_a_body_of_more_than_a_mebibyte_is_413_with_and_without_a_length(service):  # I-2
    raw = json.dumps(an_order("large")).encode().ljust(1_048_577)
    is_refused(service.dojo.post("/v1/orders", raw), 413)

    connection = http.client.HTTPConnection("127.0.0.1", service.dojo.port, timeout=PATIENCE)
    headers = {"Content-Type": "application/json", "Authorization": service.dojo.authorization}
    connection.request("POST", "/v1/orders", iter([raw[:600_000], raw[600_000:]]), headers, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["errorType"]) == (413, "InvalidRequest")
    connection.close()


def test_a_body_of_exactly_a_mebibyte_is_taken(service):
    raw = json.dumps(an_order("just-right")).encode().ljust(1_048_576)

    assert service.dojo.post("/v1/orders", raw).status == 200


@pytest.mark.parametrize("path", ["//v1/orders", "/v1//orders", "//v1///orders"])
def test_doubled_slashes_are_tolerated(service, path):
    created = service.dojo.post(path, an_order("slashes"))

    assert created.status == 200
    assert service.dojo.get(f"//v1//orders/{created.json['id']}").json == created.json


@pytest.mark.parametrize(
    "hostile",
    [
        *(
            "../orders",
            "..%2f..%2fetc%2fpasswd",
            "%2e%2e",
            "a%00b",
            "%ff%fe",
            "%F0%9F%8D%95",
            "x" * 10_000,
            "%25s%25n",
            "a%0d%0aX-Evil:%201",
        ),
        *("'%20OR%201=1--", "%3Cscript%3E", "tp_*", "%5c..%5c", ";DROP%20TABLE%20orders", "%u0041", "a%2", "a#b"),
    ],
    ids=range(17),
)
def test_a_hostile_id_in_a_path_is_an_order_that_does_not_exist(service, hostile):  # I-9
    reply = service.dojo.get(f"/v1/orders/{hostile}")

    assert reply.status in {400, 404, 414}
    assert "x-evil" not in reply.headers
    if reply.body:
        assert set(reply.json) == {"errorType", "debugMessage", "traceId"}


# Searching


def test_a_search_finds_by_table_and_by_whether_there_is_anything_to_pay(service):
    payable = service.dojo.post("/v1/orders", an_order("s-1", table="tbl_search")).json["id"]
    covered = service.dojo.post("/v1/orders", an_order("s-2", table="tbl_search", intent_id="pi_s2")).json["id"]
    service.dojo.post("/v1/orders", an_order("s-3", table="tbl_elsewhere"))

    def found(**wanted):
        return [order["id"] for order in search(service, **wanted).json["data"]]

    assert found(dineIn={"tableId": "tbl_search"}) == [covered, payable]
    assert found(dineIn={"tableId": "tbl_search"}, payableOnly=True) == [payable]
    assert found(dineIn={"tableId": "tbl_search"}, payableOnly=False) == [covered, payable]
    assert found(dineIn={"tableId": "tbl_search", "waiterId": "nobody"}) == []


@pytest.mark.parametrize(("name", "value"), [("waiterId", "42"), ("partyId", "p-1"), ("reservationId", "r-1"), ("tableId", "tbl_full")])
def test_a_search_finds_by_each_of_its_fields(service, name, value):
    created = service.dojo.post("/v1/orders", CONTRACT_ORDER).json

    assert [order["id"] for order in search(service, dineIn={name: value}).json["data"]] == [created["id"]]


@pytest.mark.parametrize("table", ["tbl_unknown", "tbl_1'--", "%", "_", "tbl_*", "TBL_1"])
def test_an_unknown_table_is_an_empty_page(service, table):  # I-11
    reply = search(service, dineIn={"tableId": table}, payableOnly=True)

    assert (reply.status, reply.json) == (200, {"data": []})


def test_cursors_lead_through_all_orders_both_ways_while_others_are_added(service):
    def add(first, last):
        with ThreadPoolExecutor(8) as pool:
            made = pool.map(lambda n: service.dojo.post("/v1/orders", an_order(f"c-{n}", table="tbl_many")).json, range(first, last))
        return {order["id"] for order in made}

    def page(**cursor):
        found = search(service, dineIn={"tableId": "tbl_many"}, cursor={"limit": 25, **cursor}).json
        return [order["id"] for order in found["data"]], found.get("before"), found.get("after")

    old = add(0, 120)
    down, newest_of_last, after = page()
    pages = 1
    assert newest_of_last is None
    while after:
        add(120 + pages, 121 + pages)
        ids, newest_of_last, after = page(after=after)
        down += ids
        pages += 1
    assert (pages, len(down), set(down)) == (5, 120, old)

    up, before = ids, newest_of_last
    while before:
        ids, before, _ = page(before=before)
        up = ids + up
    assert up[-120:] == down
    assert len(up) == len(set(up)) == 124


def test_a_page_in_the_middle_leads_back_to_the_page_before_it(service):
    made = [service.dojo.post("/v1/orders", an_order(f"m-{n}", table="tbl_back")).json["id"] for n in range(5)][::-1]

    def page(**cursor):
        found = search(service, dineIn={"tableId": "tbl_back"}, cursor={"limit": 2, **cursor}).json
        return [order["id"] for order in found["data"]], found

    first, found = page()
    second, found = page(after=found["after"])
    third, found = page(after=found["after"])
    assert (first, second, third, "after" in found) == (made[:2], made[2:4], made[4:], False)

    second_again, found = page(before=found["before"])
    first_again, found = page(before=found["before"])
    assert (second_again, first_again, "before" in found) == (second, first, False)


def a_cursor(service):
    for number in range(2):
        service.dojo.post("/v1/orders", an_order(f"k-{number}", table="tbl_cursor"))
    return search(service, dineIn={"tableId": "tbl_cursor"}, cursor={"limit": 1}).json["after"]


def test_a_cursor_of_another_search_is_refused(service):
    token = a_cursor(service)

    assert "cursor.after" in is_refused(search(service, dineIn={"tableId": "tbl_1"}, cursor={"after": token}), 400)
    assert "cursor.before" in is_refused(search(service, cursor={"before": token}), 400)


def test_a_cursor_that_was_changed_is_refused(service):
    token = a_cursor(service)
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for bad in (flipped, token[:-4], token + "AAAA", "", "x", "ä", "../..", "x" * 3_000, base64.b64encode(b"[]" * 20).decode(), "\u2028"):
        is_refused(search(service, dineIn={"tableId": "tbl_cursor"}, cursor={"after": bad}), 400)


@pytest.mark.parametrize("cursor", [{"limit": 0}, {"limit": -1}, {"limit": 101}, {"limit": 10**9}, {"limit": "5"}, {"limit": 1.5}], ids=str)
def test_a_limit_outside_1_to_100_is_refused_by_name(service, cursor):  # I-14
    assert "cursor.limit" in is_refused(search(service, cursor=cursor), 400)


def test_both_cursors_at_once_are_refused(service):  # I-14
    token = a_cursor(service)

    is_refused(search(service, dineIn={"tableId": "tbl_cursor"}, cursor={"after": token, "before": token}), 400)


def test_an_empty_search_finds_everything_in_pages_of_fifty(service):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: service.dojo.post("/v1/orders", an_order(f"empty-{number}")), range(101)))

    assert len(search(service).json["data"]) == 50
    assert len(search(service, cursor={"limit": 100}).json["data"]) == 100


# Events


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("payment_intent.send-receipt", {"paymentIntentId": "pi_new", "paymentStatus": "Captured"}),
        ("terminal.updated", {"terminalId": "tm_1"}),
        ("something", None),
        ("payment_intent.status_updated", {"paymentIntentId": "pi_new", "paymentStatus": "Settled"}),
    ],
    ids=["receipt", "terminal", "bare", "status"],
)
def test_an_event_of_an_unknown_kind_is_taken(service, name, data):  # D14
    event = an_event(f"evt-{name}", "x", event=name) | {"data": data}

    assert (service.dojo.post("/v1/events", event).status, service.dojo.post("/v1/events", event).json) == (200, {})


@pytest.mark.parametrize("field", ["id", "accountId", "event", "createdAt", "data"])
def test_an_event_that_lacks_a_field_is_refused_by_its_name(service, field):
    event = {name: value for name, value in an_event("evt-lacking", "pi_x").items() if name != field}

    assert field in is_refused(service.dojo.post("/v1/events", event), 400)


@pytest.mark.parametrize(
    "moment",
    ["2026-03-14T12:01:09.866123456Z", "2026-03-14T12:01:60Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-02-29T00:00:00Z"],
)
def test_a_strange_moment_is_taken_or_refused_and_never_a_fault(service, moment):  # T4 X7
    assert service.dojo.post("/v1/events", an_event(f"evt-{moment}", "pi_time", createdAt=moment)).status in {200, 400}


# Sixty bodies from strangers


def replaced(text, old, new):
    raw = json.dumps(text)
    assert old in raw
    return raw.replace(old, new, 1).encode()


ORDER = an_order("hostile", intent_id="pi_hostile", note="n", customer={"name": "c"})
EVENT = an_event("evt-hostile", "pi_hostile")
DEEP = {
    **{f"deep-list-{depth}": b"[" * depth + b"]" * depth for depth in (33, 100, 1_000, 100_000)},
    **{f"deep-object-{depth}": b'{"a":' * depth + b"1" + b"}" * depth for depth in (33, 1_000, 50_000)},
    "unclosed-list": b"[" * 5_000,
    "unclosed-object": b'{"a":' * 5_000,
}
OTHER_JSON = {
    "object": b"{}",
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "true": b"true",
    "list": b"[]",
    "list-of-orders": json.dumps([ORDER]).encode(),
}
NO_JSON = {
    "empty": b"",
    "blank": b" \n\t",
    "nan": b"NaN",
    "two": b"{}{}",
    "trailing": b"{} x",
    "single-quotes": b"{'a': 1}",
    "comment": b"{/* */}",
    "trailing-comma": b'{"a": 1,}',
    "xml": b"<order/>",
    "form": b"dojoOrderId=1",
}
NO_UTF8 = {
    "bom": b"\xef\xbb\xbf" + json.dumps(ORDER).encode(),
    "utf-16": json.dumps(ORDER).encode("utf-16"),
    "utf-16-le": json.dumps(ORDER).encode("utf-16-le"),
    "latin-1": '{"a": "\u00e9"}'.encode("latin-1"),
    "overlong": b'{"a": "\xc0\xaf"}',
    "nul-bytes": b"\x00" * 64,
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 20,
}
ANY_JSON = DEEP | OTHER_JSON | NO_JSON | NO_UTF8
NO_AMOUNTS = (
    "NaN",
    "-Infinity",
    "1E400",
    "1e3",
    "1200.0",
    "-0.0",
    f"{2**63}",
    f"{-(2**63) - 1}",
    f"{2**53 + 1}",
    "9" * 4_301,
    '"0x4b0"',
    "null",
)
BAD_ORDERS = {
    **{f"value-{text[:20]}": replaced(ORDER, '"value": 1200', f'"value": {text}') for text in NO_AMOUNTS},
    "twice": replaced(ORDER, '"note": "n"', '"note": "n", "note": "m"'),
    "twice-by-escape": replaced(ORDER, '"note": "n"', '"note": "n", "n\\u006fte": "m"'),
    "twice-id": replaced(ORDER, '"dojoOrderId": "hostile"', '"dojoOrderId": "hostile", "dojoOrderId": "other"'),
    "nul": replaced(ORDER, '"note": "n"', '"note": "a\\u0000b"'),
    "surrogate": replaced(ORDER, '"note": "n"', '"note": "\\ud800"'),
    "surrogate-key": replaced(ORDER, '"note": "n"', '"\\udfff": "n"'),
    "control-character": replaced(ORDER, '"note": "n"', '"note": "a\nb"'),
    "id-of-controls": replaced(ORDER, '"hostile"', '"a\\u001bb"'),
    "long-id": replaced(ORDER, '"hostile"', json.dumps("x" * 256)),
    "long-note": replaced(ORDER, '"note": "n"', json.dumps("x" * 10_001).join(['"note": ', ""])),
    "long-email": replaced(ORDER, '{"name": "c"}', json.dumps({"emailAddress": "x" * 255})),
    "many-items": json.dumps(ORDER | {"items": ORDER["items"] * 1_001}).encode(),
    "many-payments": json.dumps(ORDER | {"payments": ORDER["payments"] * 101}).encode(),
    "cyrillic-currency": replaced(ORDER, '"currencyCode": "GBP"', '"currencyCode": "GB\\u0420"'),
    "object-for-list": replaced(ORDER, '"payments": [', '"payments": {"0": [').replace(b"]", b"]}", 1),
}
BAD_EVENTS = {
    "status-of-numbers": replaced(EVENT, '"Captured"', "1"),
    "empty-intent": replaced(EVENT, '"pi_hostile"', '""'),
    "intent-of-controls": replaced(EVENT, '"pi_hostile"', '"pi\\n_hostile"'),
    "moment": replaced(EVENT, '"2026-03-14T12:01:09.8667859Z"', '"yesterday"'),
    "moment-without-zone": replaced(EVENT, '"2026-03-14T12:01:09.8667859Z"', '"2026-03-14T12:01:09"'),
    "hour-24": replaced(EVENT, "12:01:09", "24:00:01"),
    "data-of-text": replaced(EVENT, '"data": {', '"data": "x", "other": {'),
}
BAD_SEARCHES = {
    "table-of-numbers": b'{"dineIn": {"tableId": 1}}',
    "payable-of-text": b'{"payableOnly": "true"}',
    "cursor-of-list": b'{"cursor": []}',
    "limit-of-bool": b'{"cursor": {"limit": true}}',
}
HOSTILE = [
    *((path, raw, name) for path in ("/v1/orders", "/v1/events") for name, raw in ANY_JSON.items()),
    *(("/v1/orders/search", raw, name) for name, raw in ANY_JSON.items() if name != "object"),
    *(("/v1/orders", raw, name) for name, raw in BAD_ORDERS.items()),
    *(("/v1/events", raw, name) for name, raw in BAD_EVENTS.items()),
    *(("/v1/orders/search", raw, name) for name, raw in BAD_SEARCHES.items()),
]


def test_no_hostile_body_is_a_fault_of_ours_and_none_stores_anything(service):  # I-1 I-3 I-4 I-6 I-7 I-8 M13
    before = size(service)

    wrong = {}
    for path, raw, name in HOSTILE:
        reply = service.dojo.post(path, raw)
        if reply.status != 400:
            wrong[f"{path} {name}"] = (reply.status, reply.body[:100])
        else:
            is_refused(reply, 400)

    assert wrong == {}
    assert len(HOSTILE) > 60
    assert size(service) == before


def test_the_hostile_bodies_are_refused_for_their_fault_alone(service):
    """The order and the event that they were made from are good."""
    assert service.dojo.post("/v1/orders", ORDER).status == 200
    assert service.dojo.post("/v1/events", EVENT).status == 200


def answered_posts(service, side):
    """How many posts a side's application has dealt with, whoever was still there to hear of it."""
    counts = re.findall(
        rf'tillproof_http_request_duration_seconds_count{{method="POST",side="{side}",status="[0-9]+"}} ([0-9]+)',
        service.open.get("/metrics").body.decode(),
    )
    return sum(map(int, counts))


def leave(service, side, framing, sent, how="shut"):
    """Post the beginning of an order, end the connection, and wait until the application has seen that."""
    client, path = (service.dojo, "/v1/orders") if side == "dojo" else (service.till, "/till/orders")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {client.authorization}\r\nContent-Type: application/json\r\n"
    before = answered_posts(service, side)
    with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as connection:
        connection.sendall(f"{head}{framing}\r\n\r\n".encode() + sent)
        if how == "shut":
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                connection.recv(65_536)
    eventually(lambda: answered_posts(service, side) > before)


def in_chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


CHUNKED = "Transfer-Encoding: chunked"
CUT = {
    "length": lambda raw: (f"Content-Length: {len(raw)}", raw[:-1]),
    "length-beyond-the-order": lambda raw: (f"Content-Length: {len(raw) + 10}", raw),
    "before-the-first-chunk": lambda raw: (CHUNKED, b""),
    "in-the-first-chunk": lambda raw: (CHUNKED, in_chunks(raw[:50])[:30]),
    "at-the-end-of-a-chunk": lambda raw: (CHUNKED, in_chunks(raw[:50])[:-2]),
    "between-chunks": lambda raw: (CHUNKED, in_chunks(raw[:50], raw[50:150])),
    "in-a-chunks-length": lambda raw: (CHUNKED, in_chunks(raw[:50]) + b"1"),
    "behind-a-chunks-length": lambda raw: (CHUNKED, in_chunks(raw[:50]) + b"%x\r\n" % len(raw[50:])),
    "before-the-last-brace": lambda raw: (CHUNKED, in_chunks(raw[:50], raw[50:]).removesuffix(b"}\r\n")),
    "last-brace-in-a-chunk-to-come": lambda raw: (CHUNKED, in_chunks(raw[:50], raw[50:-1])),
}
"""What is said of a body's framing, and what comes of the body."""


@pytest.mark.parametrize("how", ["shut", "close"])
@pytest.mark.parametrize("side", ["dojo", "venue"])
@pytest.mark.parametrize("cut", CUT)
def test_a_body_that_breaks_off_within_its_content_stores_nothing(service, side, cut, how):  # L2
    before = size(service)
    framing, sent = CUT[cut](json.dumps(an_order(f"{cut}-{side}-{how}")).encode())
    leave(service, side, framing, sent, how)

    assert service.dojo.get("/healthz").status == 200
    assert size(service) == before


@pytest.mark.parametrize("end", [b"", b"0", b"0\r\n"], ids=["no-last-chunk", "half-a-last-chunk", "no-end-of-trailers"])
def test_an_order_whose_content_is_whole_is_stored_once_at_most_without_its_last_chunk_and_the_same_again_is_200(service, end):  # L2
    """Granian does not tell such a body from one that ended. Of a JSON object no beginning is one, so that nothing is taken by half."""

    def stored():
        return service.reads.rows("SELECT id FROM orders WHERE dojo_order_id = ?", [order["dojoOrderId"]])

    order = an_order(f"unended-{len(end)}")
    raw = json.dumps(order).encode()
    leave(service, "dojo", "Transfer-Encoding: chunked", in_chunks(raw[:50], raw[50:]) + end)
    first = stored()
    again = [service.dojo.post("/v1/orders", order) for _ in range(2)]

    assert len(first) <= 1
    assert [reply.status for reply in again] == [200, 200]
    assert [(again[1].json["id"],)] == [(again[0].json["id"],)] == stored() == (first or stored())


# At the end


def test_after_all_of_this_no_error_was_logged_and_the_journal_is_whole(service):
    assert [line for line in service.log() if line["level"] in {"ERROR", "CRITICAL"} and line["event"] != "attention raised"] == []
    service.assert_whole()
