import gc
import gzip
import http.client
import json
import math
import os
import socket
import ssl
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from misbehaving_server import MisbehavingServer, answer, drip, flood, hang_up, message, raw, reset, silence
from requests.adapters import HTTPAdapter

from adapters.dojo import (
    CAPABILITIES,
    SERVED,
    Difference,
    DojoClient,
    DojoSettings,
    RestIntegration,
    difference,
    wanted,
)
from adapters.dojo.client import MAX_PAGES, PAGE_LIMIT
from adapters.outbound import Call, parse_retry_after
from tests.contract.running import free_port
from workflow.errors import (
    AnswerRedirects,
    AnswerUnreadable,
    CallRefused,
    DojoRefusesUs,
    IntentNotFound,
    OutcomeUnknown,
    TryAgain,
    WorkflowError,
)
from workflow.money import MAX_MINOR_UNITS, Money
from workflow.ports import Capture, IntentId, IntentSearch, OrderId, PaymentIntent

KEY = "sk_sandbox_c8oLGaI__msxsXbpBDpdtwJEz_eIhfQoKHmedqgZPCdBx59zpKZLSk8OPLT0cZolbeuYJSBvzDVVsYvtpo5RkQ"
PI = IntentId("pi_sandbox_1")
CARD = "4111 1111 1111 1111"
INTENT = {
    "id": PI,
    "captureMode": "Manual",
    "clientSessionSecret": "canary-secret",
    "paymentDetails": {
        "transactionDateTime": "2026-03-14T12:00:08Z",
        "card": {"cardName": "canary-name", "cardNumber": "44565300****1096"},
    },
    "status": "Captured",
    "amount": {"value": 1000, "currencyCode": "GBP"},
    "serviceChargeAmount": {"value": 125, "currencyCode": "GBP"},
    "tipsAmount": {"value": 50, "currencyCode": "GBP"},
    "cashbackAmount": {"value": 0, "currencyCode": "GBP"},
    "totalAmount": {"value": 1175, "currencyCode": "GBP"},
    "refundedAmount": 7,
    "captures": [
        {"id": "cp_1", "amount": 1125, "tipsAmount": 50, "status": "Successful", "createdAt": "2026-03-14T12:00:09Z"},
        {"id": "cp_2", "amount": 10, "tipsAmount": None, "status": "Failed"},
    ],
    "orderDetails": {"id": "dojo-1", "externalId": "pos-1", "isUpdate": False},
    "reference": "Order 234",
    "createdAt": "2026-03-14T12:00:00.123Z",
    "updatedAt": "2026-03-14T12:00:10Z",
    "expireAt": "2026-04-13T12:00:00Z",
    "paymentEvents": [{"anything": [1.5, "else"]}],
}
DEADLINE_MS = 300
LONG_MS = 30_000
"""Of a call that something else ends than its deadline."""
GRACE_SECONDS = 10.0
"""What a loaded machine adds; without a deadline these calls would go on for much longer."""
SEARCH = IntentSearch(
    statuses=("Captured", "Refunded"), start=datetime(2026, 3, 14, tzinfo=UTC), end=datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
)
CALLS = {
    "read": lambda client: client.read_intent(PI),
    "search": lambda client: client.search_intents(SEARCH),
    "event": lambda client: client.send_order_updated(OrderId("pos-1")),
    "integrations": lambda client: client.integrations(),
    "register": lambda client: client.register(wanted("https://pos.example.com", "epos", "word")),
}


@contextmanager
def client_of(server, *, on_call=None, clock=None, **settings):
    url = server if isinstance(server, str) else server.url
    client = DojoClient(DojoSettings(**{"url": url, "api_key": KEY, "deadline_ms": LONG_MS} | settings), clock=clock, on_call=on_call)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def dojo(*behaviours, tls=None, **settings):
    with MisbehavingServer(*behaviours, tls=tls) as server, client_of(server, **settings) as client:
        yield server, client


def error_of(behaviour, call="read", **settings):
    with dojo(behaviour, **settings) as (server, client):
        with pytest.raises(WorkflowError) as caught:
            CALLS[call](client)
        assert len(server.seen) == 1, "a call is one request, whatever comes"
    assert KEY not in str(caught.value)
    return caught.value


def json_answer(text, **headers):
    return answer(200, text if isinstance(text, bytes) else text.encode(), content_type="application/json", **headers)


def intent_with(**changes):
    return answer(200, INTENT | changes)


def assert_fails_in_time(client, error, *, deadline_ms=DEADLINE_MS, grace_seconds=GRACE_SECONDS, tries=5):
    started = time.monotonic()
    with pytest.raises((error, TryAgain)) as caught:
        client.read_intent(PI)
    assert time.monotonic() - started <= deadline_ms / 1_000 + grace_seconds
    if not isinstance(caught.value, error):  # A loaded machine had no connection by the deadline.
        assert tries > 1
        assert_fails_in_time(client, error, deadline_ms=deadline_ms, grace_seconds=grace_seconds, tries=tries - 1)


def be_patient(client):
    """From now on its calls end by something else than their deadline."""
    client._line._seconds = LONG_MS / 1_000


# What is sent


def test_a_read_is_one_get_with_the_raw_key_and_every_header():
    with dojo(answer(200, INTENT), software_house_id="sh-1", reseller_id="re-1") as (server, client):
        client.read_intent(PI)
    (request,) = server.seen
    assert (request.method, request.target, request.body) == ("GET", f"/payment-intents/{PI}?returnCanceled=true", b"")
    assert request.all("authorization") == [f"Basic {KEY}"]
    sent = {name: request.header(name) for name in ("version", "software-house-id", "reseller-id", "accept-encoding")}
    assert sent == {"version": "2026-02-27", "software-house-id": "sh-1", "reseller-id": "re-1", "accept-encoding": "identity"}


def test_headers_that_are_not_configured_are_not_sent():
    with dojo(answer(200, INTENT)) as (server, client):
        client.read_intent(PI)
    assert server.seen[0].header("software-house-id") is None
    assert server.seen[0].header("reseller-id") is None


def test_an_order_updated_is_one_post_with_nothing_but_the_order_s_id():
    with dojo(answer(200, {"eventType": "OrderUpdated", "event": {"orderId": "pos-1"}})) as (server, client):
        client.send_order_updated(OrderId("pos-1"))
    (request,) = server.seen
    assert (request.method, request.target, request.header("content-type")) == ("POST", "/epos/events", "application/json")
    assert request.header("authorization") == f"Basic {KEY}"
    assert json.loads(request.body) == {"eventType": "OrderUpdated", "event": {"orderId": "pos-1"}}


@pytest.mark.parametrize("answered", [answer(200, {}), answer(201, {"a": 1}), answer(202, []), answer(204)])
def test_an_event_is_taken_with_any_2xx(answered):
    with dojo(answered) as (_, client):
        assert client.send_order_updated(OrderId("pos-1")) is None


def test_a_path_in_the_base_url_is_kept():
    with MisbehavingServer(answer(200, INTENT)) as server, client_of(f"{server.url}/dojo/") as client:
        client.read_intent(PI)
    assert server.seen[0].target == f"/dojo/payment-intents/{PI}?returnCanceled=true"


@pytest.mark.parametrize(
    "intent_id",
    ["../x", "a/b", "a?b", "a#b", "%2e%2e", "..%2f", "a%20b", "a b", "a\r\nX: y", "é€😀", "...", "a;b", "\\..\\", "~", "@h/", "%"],
)  # I-9
def test_an_id_cannot_lead_to_another_path(intent_id):
    with dojo(answer(200, INTENT | {"id": intent_id})) as (server, client):
        assert client.read_intent(IntentId(intent_id)).id == intent_id
    path, _, query = server.seen[0].target.partition("?")
    assert query == "returnCanceled=true"
    assert [unquote(segment) for segment in path.split("/")] == ["", "payment-intents", intent_id]


@pytest.mark.parametrize("intent_id", ["", ".", "..", "\ud800"])
def test_an_id_that_no_path_can_spell_is_unknown_without_asking(intent_id):
    with dojo(answer(200, INTENT)) as (server, client), pytest.raises(IntentNotFound):
        client.read_intent(IntentId(intent_id))
    assert server.seen == []


def test_nothing_is_taken_from_the_environment(monkeypatch, tmp_path):  # fact 12
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login evil password evil\nmachine 127.0.0.1 login evil password evil\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with MisbehavingServer(answer(200, INTENT)) as proxy, dojo(answer(200, INTENT)) as (server, client):
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        client.read_intent(PI)
    assert proxy.seen == []
    assert server.seen[0].all("authorization") == [f"Basic {KEY}"]


def test_cookies_are_not_sent_back():
    with dojo(answer(200, INTENT, set_cookie="a=b; Path=/")) as (server, client):
        client.read_intent(PI)
        client.read_intent(PI)
    assert [request.header("cookie") for request in server.seen] == [None, None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_a_redirect_is_not_followed_and_the_key_stays_here(status, call):  # U13
    with MisbehavingServer(answer(200, INTENT)) as evil:
        error = error_of(answer(status, b"moved", location=f"{evil.url}/steal"), call)
    assert type(error) is AnswerRedirects
    assert str(status) in str(error)
    assert evil.connections == []


@pytest.mark.parametrize("location", ["", "http://[", "//", "http://%zz:99999999", "\x01\x02", "ftp://x", "?" * 9_000])
def test_a_redirect_to_nonsense_is_a_redirect(location):  # U13
    assert type(error_of(answer(302, location=location))) is AnswerRedirects


def test_a_redirect_s_body_is_not_swallowed():  # U13
    announced = message(302, location="http://127.0.0.1:1/", content_length=str(64 * 2**20))
    with dojo(flood(announced), max_answer_bytes=100_000) as (server, client):
        with pytest.raises(AnswerRedirects):
            client.read_intent(PI)
        assert server.connections[0].sent < 16 * 2**20


# What is read


def test_an_intent_is_read_field_by_field():
    with dojo(answer(200, INTENT)) as (_, client):
        intent = client.read_intent(PI)
    assert intent == PaymentIntent(
        id=PI,
        status="Captured",
        capture_mode="Manual",
        amount=Money(1000, "GBP"),
        service_charge=Money(125, "GBP"),
        tips=Money(50, "GBP"),
        cashback=Money(0, "GBP"),
        total=Money(1175, "GBP"),
        refunded=7,
        captures=(
            Capture(id="cp_1", status="Successful", amount=1125, tips=50, created_at="2026-03-14T12:00:09Z"),
            Capture(id="cp_2", status="Failed", amount=10, tips=None),
        ),
        external_id="pos-1",
        dojo_order_id="dojo-1",
        reference="Order 234",
        transaction_at="2026-03-14T12:00:08Z",
        created_at="2026-03-14T12:00:00.123Z",
        updated_at="2026-03-14T12:00:10Z",
        expire_at="2026-04-13T12:00:00Z",
    )
    assert "canary" not in repr(intent)  # I13


def test_every_field_but_the_id_may_be_null_or_absent():
    nothing = PaymentIntent(id=PI, status="", capture_mode="Auto")
    with dojo(answer(200, {"id": PI}), answer(200, dict.fromkeys(INTENT) | {"id": PI})) as (_, client):
        assert client.read_intent(PI) == nothing
        assert client.read_intent(PI) == nothing


def test_an_unknown_status_is_handed_on():  # M6
    with dojo(intent_with(status="Settled")) as (_, client):
        assert client.read_intent(PI).status == "Settled"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": {"value": True, "currencyCode": "GBP"}},
        {"amount": {"value": 10.0, "currencyCode": "GBP"}},
        {"amount": {"value": 10.5, "currencyCode": "GBP"}},
        {"amount": {"value": "1000", "currencyCode": "GBP"}},
        {"amount": {"value": -1, "currencyCode": "GBP"}},
        {"amount": {"value": MAX_MINOR_UNITS + 1, "currencyCode": "GBP"}},
        {"amount": {"value": 1000}},
        {"amount": {"currencyCode": "GBP"}},
        {"amount": {"value": 1000, "currencyCode": 826}},
        {"amount": 1000},
        {"amount": [1000, "GBP"]},
        {"tipsAmount": {"value": False, "currencyCode": "GBP"}},
        {"refundedAmount": 7.0},
        {"refundedAmount": True},
        {"refundedAmount": -7},
        {"refundedAmount": {"value": 7, "currencyCode": "GBP"}},
        {"captures": [{"id": "cp_1", "status": "Successful"}]},
        {"captures": [{"id": "cp_1", "status": "Successful", "amount": 1.0}]},
        {"captures": [{"id": "cp_1", "status": "Successful", "amount": 1, "tipsAmount": "1"}]},
        {"captures": [None]},
        {"captures": {}},
        {"status": 4},
        {"status": "x" * 1_001},
        {"orderDetails": "pos-1"},
        {"orderDetails": {"externalId": 17}},
        {"createdAt": 1_770_000_000},
        {"id": "pi_sandbox_2"},
        {"id": "PI_SANDBOX_1"},
        {"id": None},
        {"id": 1},
    ],
    ids=str,
)
def test_an_intent_with_a_field_that_cannot_be_trusted_is_not_used(changes):
    assert type(error_of(intent_with(**changes))) is AnswerUnreadable


GOOD = json.dumps(INTENT)
GARBAGE = {
    "empty": b"",
    "blank": b" \r\n",
    "html": b"<!doctype html><title>Sign in</title>",
    "text": b"ok",
    "null": b"null",
    "number": b"1",
    "list": f"[{GOOD}]".encode(),
    "half": GOOD.encode()[: len(GOOD) // 2],
    "two documents": f"{GOOD}{GOOD}".encode(),
    "NaN": GOOD.replace("1000", "NaN").encode(),
    "infinity elsewhere": GOOD.replace("1.5", "-Infinity").encode(),
    "duplicate key": GOOD.replace('"status"', '"status": "Created", "status"').encode(),
    "duplicate key by escape": GOOD.replace('"status"', '"st\\u0061tus": "Created", "status"').encode(),
    "depth 10,000": GOOD.replace("1.5", "[" * 10_000 + "]" * 10_000).encode(),
    "depth 10,000 of objects": GOOD.replace("1.5", '{"a":' * 10_000 + "1" + "}" * 10_000).encode(),
    "unclosed depth": b"[" * 100_000,
    "10^400": GOOD.replace("1000", "1" + "0" * 400).encode(),
    "10^5000 elsewhere": GOOD.replace("1.5", "1" + "0" * 5_000).encode(),
    "1e400": GOOD.replace("1000", "1e400").encode(),
    "BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32-le"),
    "latin-1": GOOD.replace("Order", "Café").encode("latin-1"),
    "NUL": GOOD.replace("Order", "\\u0000").encode(),
    "half a surrogate pair": GOOD.replace("Order", "\\ud800").encode(),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_200_with_garbage_is_no_answer(kind):  # U11 U14
    error = error_of(json_answer(GARBAGE[kind]))
    assert type(error) is AnswerUnreadable
    assert "canary" not in str(error)


@pytest.mark.parametrize("kind", ["empty", "html", "half", "NaN", "duplicate key", "depth 10,000", "UTF-16"])
@pytest.mark.parametrize("call", ["event", "integrations", "register"])
def test_garbage_is_no_answer_to_any_call(call, kind):  # U11
    assert type(error_of(json_answer(GARBAGE[kind]), call)) is AnswerUnreadable


@pytest.mark.parametrize("charset", ["utf-16", '"ISO-8859-1"', "utf-7", "x"])
def test_a_declared_charset_other_than_utf_8_is_no_answer(charset):  # U11
    assert type(error_of(answer(200, INTENT, content_type=f"application/json; charset={charset}"))) is AnswerUnreadable


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'application/json;charset="UTF-8"', "text/plain", ""])
def test_utf_8_is_read_whatever_the_type_says(content_type):
    with dojo(answer(200, INTENT, content_type=content_type)) as (_, client):
        assert client.read_intent(PI).amount == Money(1000, "GBP")


BROKEN = {
    "truncated": message(200, GOOD.encode(), content_length=str(len(GOOD) + 1)),
    "nothing of the body": message(200, content_length="100"),
    "no status line": b"\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "binary": bytes(range(256)) * 4,
    "status that is no number": b"HTTP/1.1 OK fine\r\n\r\n",
    "status 99": b"HTTP/1.1 99 Low\r\n\r\n",
    "two lengths": message(200, GOOD.encode()).replace(b"\r\n", b"\r\ncontent-length: 3\r\n", 1),
    "chunk size that is no number": message(200, transfer_encoding="chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunks without an end": message(200, transfer_encoding="chunked") + b"2\r\n{}\r\n",
    "line too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
    "only a continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "gzip that is none": message(200, GOOD[:-1].encode(), content_encoding="gzip"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("call", ["read", "event"])
def test_broken_http_is_no_answer(kind, call):  # U11
    expected = OutcomeUnknown if kind == "only a continue" else AnswerUnreadable  # The one is no answer yet.
    assert type(error_of(raw(BROKEN[kind]), call)) is expected


def test_a_proper_chunked_answer_is_read():
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD.encode())
    with dojo(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)) as (_, client):
        assert client.read_intent(PI).status == "Captured"


@pytest.mark.parametrize("announcement", [{"content_length": str(64 * 2**20)}, {"connection": "close"}], ids=["announced", "not announced"])
def test_a_huge_answer_is_read_up_to_the_limit_only(announcement):
    head = message(200, **announcement) if "content_length" in announcement else b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    started = time.monotonic()
    with dojo(flood(head), max_answer_bytes=2**20) as (server, client):
        with pytest.raises(AnswerUnreadable, match="body too large"):
            client.read_intent(PI)
        assert server.connections[0].sent < 16 * 2**20  # The limit, and what the system's buffers hold.
    assert time.monotonic() - started < 20


def test_an_answer_as_long_as_allowed_is_read_and_one_byte_more_is_not():
    with dojo(json_answer(GOOD), max_answer_bytes=len(GOOD)) as (_, client):
        assert client.read_intent(PI).id == PI
    assert type(error_of(json_answer(GOOD + " "), max_answer_bytes=len(GOOD))) is AnswerUnreadable


def test_a_compressed_answer_is_not_unpacked():
    assert type(error_of(answer(200, gzip.compress(GOOD.encode()), content_encoding="gzip"))) is AnswerUnreadable


# Statuses


@pytest.mark.parametrize(
    ("status", "on_a_read", "on_an_event"),
    [
        (400, CallRefused, CallRefused),  # U5
        (401, DojoRefusesUs, DojoRefusesUs),  # U4
        (402, CallRefused, CallRefused),
        (403, DojoRefusesUs, DojoRefusesUs),
        (404, IntentNotFound, CallRefused),  # U6
        (405, CallRefused, CallRefused),
        (408, TryAgain, TryAgain),
        (409, OutcomeUnknown, CallRefused),  # U7
        (410, CallRefused, CallRefused),
        (413, CallRefused, CallRefused),
        (418, CallRefused, CallRefused),
        (422, CallRefused, CallRefused),  # U5
        (429, TryAgain, TryAgain),  # U2
        (499, CallRefused, CallRefused),
        (300, OutcomeUnknown, OutcomeUnknown),
        (304, OutcomeUnknown, OutcomeUnknown),
        (500, OutcomeUnknown, OutcomeUnknown),  # U1
        (501, OutcomeUnknown, OutcomeUnknown),
        (502, OutcomeUnknown, OutcomeUnknown),
        (503, OutcomeUnknown, OutcomeUnknown),
        (504, OutcomeUnknown, OutcomeUnknown),
        (101, OutcomeUnknown, OutcomeUnknown),
        (600, OutcomeUnknown, OutcomeUnknown),
        (999, OutcomeUnknown, OutcomeUnknown),
    ],
)
def test_every_status_has_one_meaning(status, on_a_read, on_an_event):
    assert type(error_of(answer(status, {"title": "No"}), "read")) is on_a_read
    assert type(error_of(answer(status, {"title": "No"}), "event")) is on_an_event


@pytest.mark.parametrize(("call", "expected"), [("integrations", OutcomeUnknown), ("register", CallRefused)])
def test_a_conflict_about_integrations_is_repeated_only_for_a_read(call, expected):
    assert type(error_of(answer(409), call)) is expected
    assert type(error_of(answer(404), call)) is CallRefused


@pytest.mark.parametrize("status", [429, 500, 503, 409, 302])
def test_the_server_s_wish_goes_with_what_may_be_repeated(status):  # U2
    assert error_of(answer(status, retry_after="17")).after_seconds == 17
    assert error_of(answer(status)).after_seconds is None


def test_a_date_in_retry_after_is_counted_from_our_own_clock():  # U2 T7
    class Fixed:
        def now(self):
            return datetime(2026, 3, 14, 12, 0, tzinfo=UTC)

        def monotonic(self):
            return 0.0

    behaviour = answer(429, retry_after="Sat, 14 Mar 2026 12:02:00 GMT", date="Sat, 14 Mar 2026 11:00:00 GMT")
    assert error_of(behaviour, clock=Fixed()).after_seconds == 120


def test_an_error_names_the_call_the_status_and_the_title_and_nothing_else():
    problem = {"title": f"No {KEY} {CARD}\r\nlevel=info\x1b[31m" + "x" * 500, "detail": "canary-detail", "traceId": "canary-trace"}
    text = str(error_of(answer(400, problem, x_secret="canary-header")))
    assert text.startswith(f"GET /payment-intents/{PI}: 400 No [key] [card number removed]")
    assert text.isprintable()
    assert len(text) <= len(f"GET /payment-intents/{PI}: 400 ") + 100
    assert "canary" not in text


@pytest.mark.parametrize("body", [b"", b"<html>canary</html>", b'{"title": 7}', b'["title"]', b"{" * 10_000, b'{"title": null}', b"\xff"])
def test_an_error_without_a_usable_title_is_known_by_its_status(body):
    error = error_of(answer(503, body))
    assert (type(error), str(error)) == (OutcomeUnknown, f"GET /payment-intents/{PI}: 503")


@pytest.mark.parametrize(("status", "expected"), [(401, DojoRefusesUs), (404, IntentNotFound), (429, TryAgain)])
def test_an_error_whose_body_breaks_off_is_known_by_its_status(status, expected):
    assert type(error_of(raw(message(status, b"{", content_length="100")))) is expected
    assert type(error_of(drip(message(status, content_length="100"), b"{" * 100, 0.05), deadline_ms=1_000)) is expected


def test_a_long_id_is_cut_in_messages():
    with dojo(answer(500)) as (_, client), pytest.raises(OutcomeUnknown) as caught:
        client.read_intent(IntentId("x" * 9_000))
    assert len(str(caught.value)) < 300


NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("86400000", 86_400_000),
        ("Sat, 14 Mar 2026 12:00:30 GMT", 30),
        ("Saturday, 14-Mar-26 12:01:00 GMT", 60),
        ("Sat Mar 14 12:00:05 2026", 5),
        ("Sat, 14 Mar 2026 13:00:30 +0100", 30),
        ("Sat, 14 Mar 2026 12:00:00 GMT", 0),
        ("Sat, 14 Mar 2026 11:59:59 GMT", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("1e3", None),
        ("5, 10", None),
        ("٣", None),
        ("9" * 5_000, math.inf),
        ("NaN", None),
        ("inf", None),
        ("Sat, 99 Mar 2026 12:00:00 GMT", None),
        ("Sat, 14 Mar 99999999999999999999 12:00:00 GMT", None),
        ("Sat, 14 Mar 2026 12:00:00 +99999999999999", None),
        ("Sat, 14 Mar 0001 00:00:00 +1400", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_no_wish(text, expected):
    assert parse_retry_after(text, NOW) == expected


# No answer


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_connection_certainly_did_not_happen(call):  # U8
    with client_of(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(TryAgain, match="ConnectionRefusedError"):
        CALLS[call](client)


@pytest.mark.parametrize("reason", [socket.gaierror(-2, "Name or service not known"), OSError("resolver")])
def test_a_name_that_cannot_be_looked_up_certainly_did_not_happen(reason, monkeypatch):  # U8
    def fail(*_, **__):
        raise reason

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with client_of("http://dojo.invalid") as client, pytest.raises(TryAgain):
        client.read_intent(PI)


def test_a_host_name_that_cannot_exist_certainly_did_not_happen():  # U8
    with client_of(f"http://{'x' * 64}.invalid") as client, pytest.raises(TryAgain):
        client.send_order_updated(OrderId("pos-1"))


def test_a_name_whose_look_up_hangs_ends_at_the_deadline_and_leaves_one_thread(monkeypatch):  # U8
    def hang(*_, **__):
        going_on.wait(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    def look_ups():
        return [thread for thread in threading.enumerate() if thread.name == "look-up"]

    going_on = threading.Event()
    with MisbehavingServer(answer(200, INTENT)) as server:
        url = f"http://dojo.invalid:{server.port}"
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        with client_of(url, deadline_ms=DEADLINE_MS) as client:
            try:
                for _ in range(3):
                    assert_fails_in_time(client, TryAgain)
                [thread] = look_ups()
            finally:
                going_on.set()
            thread.join(20)
        monkeypatch.undo()
        resolving_to(monkeypatch, "127.0.0.1")  # The machine's own resolver takes its time, be it for a name that nobody has.
        with client_of(url) as client:
            assert client.read_intent(PI).id == PI  # A new call asks anew.


def test_a_call_that_worked_does_not_vouch_for_the_next():  # U8
    with MisbehavingServer(answer(200, INTENT)) as server:
        client = DojoClient(DojoSettings(url=server.url, api_key=KEY))
        client.read_intent(PI)
    with pytest.raises(TryAgain):
        client.read_intent(PI)
    client.close()


@contextmanager
def full_backlog(host="127.0.0.1", port=0):
    """A listener that no further connection gets through to, and that refuses none."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def resolving_to(monkeypatch, *addresses):
    look_up = socket.getaddrinfo

    def fake(host, port, *args, **kwargs):
        hosts = addresses if host == "dojo.invalid" else [host]
        return [found for one in hosts for found in look_up(one, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", fake)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connections silently on Linux only")


@on_linux
def test_a_connect_that_hangs_ends_at_the_deadline_and_certainly_did_not_happen():  # U8
    with full_backlog() as port, client_of(f"http://127.0.0.1:{port}", deadline_ms=DEADLINE_MS) as client:
        assert_fails_in_time(client, TryAgain)


@on_linux
def test_a_dead_address_leaves_time_for_the_next(monkeypatch):
    resolving_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    with MisbehavingServer(answer(200, INTENT)) as server, full_backlog("127.0.0.2", server.port) as port:
        client = DojoClient(DojoSettings(url=f"http://dojo.invalid:{port}", api_key=KEY, deadline_ms=6_000))
        assert client.read_intent(PI).id == PI
        client.close()


@on_linux
def test_many_dead_addresses_share_one_deadline(monkeypatch):
    resolving_to(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
    with full_backlog("0.0.0.0") as port, client_of(f"http://dojo.invalid:{port}", deadline_ms=DEADLINE_MS) as client:
        assert_fails_in_time(client, TryAgain)


@pytest.mark.parametrize("behaviour", [hang_up, reset, raw(b"HTTP/1.1 200 O"), raw(b"HTTP/1.1 200 OK\r\nContent-")])
@pytest.mark.parametrize("call", CALLS)
def test_a_connection_lost_after_sending_may_have_happened(behaviour, call):  # U16
    assert isinstance(error_of(behaviour, call), OutcomeUnknown)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "half open": silence,  # U9
    "drip in the status line": drip(b"", HEAD * 9, 0.04),  # U10
    "drip in the headers": drip(HEAD, b"X-Slow: " + b"x" * 500, 0.04),
    "drip of headers": drip(HEAD, b"A:b\r\n" * 90, 0.04),
    "drip in the body": drip(message(200, content_length="500"), b"{" * 500, 0.04),
    "drip in chunks": drip(CHUNKED, b"1\r\n{\r\n" * 90, 0.04),
    "slow drip in the headers": drip(HEAD, b"X-Slow: x" * 9, 0.4),
    "slow drip in the body": drip(message(200, content_length="500"), b"{" * 500, 0.4),
    "silence in the body": drip(message(200, b"{", content_length="500"), b"}", 15),
    "flood of interim answers": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "flood of trailers": flood(CHUNKED + b"0\r\n", b"X: y\r\n" * 999),
    "flood of one chunk's extension": flood(CHUNKED + b"1"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_call_ends_at_its_deadline_whatever_the_server_does(kind):  # U9 U10
    with dojo(ENDLESS[kind], deadline_ms=DEADLINE_MS) as (_, client):
        assert_fails_in_time(client, OutcomeUnknown)


def test_a_server_that_does_not_read_cannot_hold_a_long_request():  # U9
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        with client_of(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline_ms=1_000) as client, pytest.raises(OutcomeUnknown):
            client.register(wanted("https://pos.example.com", "epos" * 2**23, "word"))
        assert time.monotonic() - started <= 1.0 + GRACE_SECONDS


def test_the_deadline_is_for_each_call_anew_on_a_kept_connection():
    slowly = drip(b"", message(200, INTENT)[:5], 0.16)

    def answer_slowly(connection):
        slowly(connection)
        connection.send(message(200, INTENT)[5:])

    with dojo(answer_slowly, deadline_ms=2_000) as (server, client):
        for _ in range(3):  # Eight tenths of a second each.
            assert client.read_intent(PI).id == PI
        server.behaviours[:] = [silence]
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            client.read_intent(PI)
        assert 1.9 < time.monotonic() - started <= 2.0 + GRACE_SECONDS
    assert len(server.connections) == 1


def test_the_client_works_on_after_a_deadline():
    with dojo(silence, answer(200, INTENT), deadline_ms=1_000) as (server, client):
        with pytest.raises(OutcomeUnknown):
            client.read_intent(PI)
        be_patient(client)
        assert client.read_intent(PI).id == PI
    assert len(server.connections) == 2


def test_calls_leave_no_threads_and_no_open_sockets_behind():  # I15
    def open_files():
        gc.collect()
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    files, threads = open_files(), set(threading.enumerate())
    with dojo(silence, reset, raw(HEAD), answer(500), answer(302, location="/x"), answer(200, INTENT), deadline_ms=700) as (server, client):
        for _ in range(5):
            with pytest.raises(OutcomeUnknown):
                client.read_intent(PI)
            be_patient(client)
        client.read_intent(PI)
        assert set(threading.enumerate()) - threads <= set(server.threads)
    assert open_files() <= files


def test_each_thread_has_connections_of_its_own():
    results = []
    with dojo(answer(200, INTENT)) as (server, client):
        workers = [threading.Thread(target=lambda: results.extend(client.read_intent(PI).id for _ in range(5))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert results == [PI] * 20
    assert len(server.connections) == 4


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with the key and the certificate of an authority of our own, which is 127.0.0.1 at the same time."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sandbox")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(encoding))
    return file


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))


def test_a_certificate_that_nobody_vouches_for_gets_nothing_of_us(tls, monkeypatch, certificate):  # U8
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate))
    with dojo(answer(200, INTENT), tls=tls) as (server, client), pytest.raises(TryAgain, match="CertVerification"):
        client.read_intent(PI)
    assert server.seen == []


def test_a_server_without_tls_gets_nothing_of_us():  # U8
    with MisbehavingServer(answer(200)) as server, client_of(server.url.replace("http", "https"), deadline_ms=500) as client:
        with pytest.raises(TryAgain):
            client.read_intent(PI)
        assert server.seen == []


@contextmanager
def silent_listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_a_tls_handshake_that_hangs_ends_at_the_deadline():  # U9
    with silent_listener() as (_, url), client_of(url, deadline_ms=DEADLINE_MS) as client:
        assert_fails_in_time(client, TryAgain)


def test_a_tls_handshake_has_what_a_slow_connect_left_of_the_deadline(monkeypatch):  # U9
    connect = socket.create_connection

    def connect_slowly(*args, **kwargs):
        threading.Event().wait(3.9)
        return connect(*args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", connect_slowly)
    with silent_listener() as (_, url), client_of(url, deadline_ms=4_000) as client:
        assert_fails_in_time(client, TryAgain, deadline_ms=4_000, grace_seconds=3.6)  # With all of it anew it would take 3.9 more.


def test_a_tls_handshake_that_drips_ends_at_the_deadline():  # U10
    def drip_a_record():
        sock, _ = listener.accept()
        with sock, suppress(OSError):
            sock.sendall(b"\x16\x03\x03\x40\x00")
            while not gone.wait(0.02):
                sock.sendall(b"\x02")

    gone = threading.Event()
    with silent_listener() as (listener, url), client_of(url, deadline_ms=DEADLINE_MS) as client:
        dripping = threading.Thread(target=drip_a_record)
        dripping.start()
        try:
            assert_fails_in_time(client, TryAgain)
        finally:
            gone.set()
            dripping.join()


def test_an_intent_is_read_over_tls(tls, trusted):
    with dojo(answer(200, INTENT), tls=tls) as (server, client):
        assert [client.read_intent(PI).id for _ in range(2)] == [PI, PI]
    assert len(server.connections) == 1


@pytest.mark.parametrize("kind", ["half open", "drip in the headers", "drip in the body", "flood of interim answers"])
def test_the_deadline_holds_under_tls(kind, tls, trusted):  # U9 U10
    with dojo(ENDLESS[kind], tls=tls, deadline_ms=DEADLINE_MS) as (_, client):
        assert_fails_in_time(client, OutcomeUnknown)


# Every exception has a home


def below(root):
    yield root
    for child in root.__subclasses__():
        yield from below(child)


ROOTS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)
EXCEPTIONS = sorted({error for root in ROOTS for error in below(root)}, key=lambda error: (error.__module__, error.__qualname__))


@pytest.mark.parametrize("was_sent", [False, True])
@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda error: f"{error.__module__}.{error.__qualname__}")
def test_every_exception_of_the_libraries_has_a_home(exception, was_sent, monkeypatch):
    def fail(adapter, *_, **__):
        adapter._progress.was_sent = was_sent
        raise exception.__new__(exception)

    monkeypatch.setattr(HTTPAdapter, "send", fail)
    with client_of("http://127.0.0.1:1") as client, pytest.raises(OutcomeUnknown if was_sent else TryAgain):
        client.read_intent(PI)


def test_every_exception_while_a_body_is_read_may_have_happened(monkeypatch):
    with dojo(answer(200, INTENT)) as (_, client):
        for exception in EXCEPTIONS:

            def fail(*_, raised=exception, **__):
                raise raised.__new__(raised)

            monkeypatch.setattr(urllib3.HTTPResponse, "read", fail)
            with pytest.raises(OutcomeUnknown):
                client.read_intent(PI)


def test_there_are_exceptions_to_try():
    assert {"ChunkedEncodingError", "SSLError", "LocationParseError", "IncompleteRead", "ProxyError"} <= {e.__name__ for e in EXCEPTIONS}


# Calls reported


def test_every_call_reports_itself_once():
    calls: list[Call] = []
    with dojo(answer(200, INTENT), answer(503), hang_up, on_call=calls.append) as (_, client):
        client.read_intent(PI)
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                client.send_order_updated(OrderId("pos-1"))
    read, event = ("GET", f"/payment-intents/{PI}"), ("POST", "/epos/events")
    assert [(call.method, call.path, call.status) for call in calls] == [(*read, 200), (*event, 503), (*event, None)]
    assert all(0 < call.seconds < 60 for call in calls)


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("Sat, 14 Mar 2026 12:10:00 GMT", "2026-03-14T12:10:00+00:00"),
        ("Sat, 14 Mar 2026 14:10:00 +0200", "2026-03-14T12:10:00+00:00"),
        ("Sat Mar 14 12:10:00 2026", "2026-03-14T12:10:00+00:00"),
        ("soon", None),
        ("", None),
        ("Sat, 14 Mar 99999 12:10:00 GMT", None),
        ("Sat, 31 Feb 2026 25:61:61 GMT", None),
    ],
)
def test_a_call_says_what_time_it_was_where_it_was_answered(date, moment):  # T7
    calls: list[Call] = []
    with dojo(answer(200, INTENT, date=date), on_call=calls.append) as (_, client):
        client.read_intent(PI)

    assert [call.answered_at for call in calls] == [datetime.fromisoformat(moment) if moment else None]


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "api.dojo.tech"),
        ("url", "ftp://api.dojo.tech"),
        ("url", "https://"),
        ("url", "https://user:word@api.dojo.tech"),
        ("url", "https://@api.dojo.tech"),
        ("url", "https://api.dojo.tech?x=y"),
        ("url", "https://api.dojo.tech#x"),
        ("url", "https://api.dojo.tech:99999"),
        ("url", "https://[::1"),
        ("url", "https://api.dojo.tech/a b"),
        ("api_key", ""),
        ("api_key", "key\r\nX: y"),
        ("api_key", "ключ"),
        ("api_key", " key"),
        ("version", "v 1"),
        ("software_house_id", "a\nb"),
        ("reseller_id", ""),
        ("deadline_ms", 0),
        ("max_answer_bytes", -1),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        DojoSettings(**{"api_key": "key", name: value})
    assert not isinstance(value, str) or value == "" or value not in str(caught.value)


def test_the_key_and_the_password_are_in_no_repr():  # I13
    assert KEY not in repr(DojoSettings(api_key=KEY))
    assert "hunter2" not in repr(wanted("https://pos.example.com", "epos", "hunter2"))


# Capabilities


INTEGRATION = {
    "url": "https://pos.example.com",
    "auth": {"authType": "basic", "basic": {"username": "epos"}},
    "capabilities": [{"name": "CreateOrder", "version": "v1", "updatedAt": "2026-03-01T09:00:00Z"}],
    "createdAt": "2026-03-01T09:00:00Z",
}
KNOWN = RestIntegration(url="https://pos.example.com", username="epos", capabilities=(("CreateOrder", "v1"),))


def test_the_registered_integrations_are_read():
    with dojo(answer(200, [INTEGRATION, {"url": None}]), answer(200, [])) as (server, client):
        assert client.integrations() == [KNOWN, RestIntegration(url="", username="", capabilities=())]
        assert client.integrations() == []
    assert [(request.method, request.target) for request in server.seen] == [("GET", "/epos/integrations/rest")] * 2


def test_registering_puts_the_whole_list_with_the_password():
    with dojo(answer(200, [INTEGRATION])) as (server, client):
        assert client.register(wanted("https://pos.example.com/", "epos", "hunter2")) == [KNOWN]
    (request,) = server.seen
    assert (request.method, request.target) == ("PUT", "/epos/integrations/rest")
    assert json.loads(request.body) == {
        "url": "https://pos.example.com",
        "auth": {"authType": "basic", "basic": {"username": "epos", "password": "hunter2"}},
        "capabilities": [{"name": name, "version": "v1"} for name in SERVED],
    }


def test_what_is_served_is_on_the_list_and_covers_both_flows():
    names = [capability.name for capability in CAPABILITIES]
    assert len(names) == len(set(names)) == 23
    required = {"CreateOrder", "GetOrderById", "SearchOrders"} | {
        f"HandleEvent:payment_intent.{event}" for event in ("created", "status_updated")
    }
    assert required <= set(SERVED) <= set(names)


OURS = wanted("https://pos.example.com", "epos", "word")
SAME = Difference(missing=(), extra=(), version_differs=(), url_differs=False, username_differs=False)


def registered(*capabilities, url="https://pos.example.com", username="epos"):
    return RestIntegration(url=url, username=username, capabilities=capabilities)


def test_what_was_registered_does_not_differ():
    assert difference(OURS, OURS) == SAME
    assert difference(registered(*reversed(OURS.capabilities), url="https://pos.example.com/"), OURS).is_none


def test_an_alias_is_the_same_capability():
    newer = registered(("RecordOrderPaymentById", "v1"), ("UpdateParty", "v1"), ("GetOrderBillById", "v1"), ("UpdateReservation", "v1"))
    older = registered(("RecordOrderPayment", "v1"), ("UpdatePartyById", "v1"), ("GetOrderBill", "v1"), ("UpdateReservationById", "v1"))
    assert difference(newer, older) == difference(older, newer) == SAME


def test_every_kind_of_difference_is_named():
    theirs = registered(("CreateOrder", "1.0.0"), ("GetOrderById", "v1"), ("Sing", "v1"), url="https://old.example.com", username="x")
    found = difference(theirs, registered(("CreateOrder", "v1"), ("GetOrderById", "v1"), ("SearchOrders", "v1"), ("ListAreas", "v1")))
    assert found == Difference(
        missing=("SearchOrders", "ListAreas"), extra=("Sing",), version_differs=("CreateOrder",), url_differs=True, username_differs=True
    )
    assert not found.is_none


def test_everything_is_missing_where_nothing_is_registered():
    found = difference(None, OURS)
    assert (found.missing, found.extra, found.url_differs, found.username_differs) == (SERVED, (), True, True)


# Searching payment intents


def page(*ids, **cursors):
    return answer(200, {"data": [INTENT | {"id": intent_id} for intent_id in ids]} | cursors)


def test_a_search_asks_page_by_page_until_dojo_names_no_further_one():
    counts = []
    with dojo(page("pi_1", "pi_2", after="c1"), page("pi_3", before="c0", after=None)) as (server, client):
        found = client.search_intents(SEARCH, counts.append)
    assert [intent.id for intent in found.intents] == ["pi_1", "pi_2", "pi_3"]
    assert (found.is_whole, found.unreadable, counts) == (True, 0, [2, 3])
    asked = {"statuses": ["Captured", "Refunded"], "startDate": "2026-03-14T00:00:00.000Z", "endDate": "2026-03-14T23:30:00.000Z"}
    assert [json.loads(request.body) for request in server.seen] == [
        asked | {"cursor": {"limit": PAGE_LIMIT}},
        asked | {"cursor": {"limit": PAGE_LIMIT, "after": "c1"}},
    ]
    assert {(request.method, request.target) for request in server.seen} == {("POST", "/payment-intents/search")}


def test_a_search_that_finds_nothing_finds_nothing():
    for nothing in ({"data": []}, {"data": None, "after": None}, {}):
        with dojo(answer(200, nothing)) as (_, client):
            assert client.search_intents(SEARCH).intents == ()


def test_a_search_reads_the_same_fields_as_a_read_and_keeps_no_secret():  # I13
    with dojo(page(PI), answer(200, INTENT)) as (_, client):
        [found] = client.search_intents(SEARCH).intents
        assert found == client.read_intent(PI)
    assert "canary" not in repr(found)


def test_an_intent_on_two_pages_is_found_once():
    with dojo(page("pi_1", "pi_2", after="c1"), page("pi_2", "pi_3")) as (_, client):
        assert [intent.id for intent in client.search_intents(SEARCH).intents] == ["pi_1", "pi_2", "pi_3"]


@pytest.mark.parametrize("bad", [{"amount": {"value": -1, "currencyCode": "GBP"}}, {"captures": [{"amount": 1.5}]}, {"id": ""}, {"id": 7}])
def test_an_intent_that_cannot_be_read_hides_no_other(bad):
    with dojo(answer(200, {"data": [INTENT | bad, "nonsense", INTENT]})) as (_, client):
        found = client.search_intents(SEARCH)
    assert ([intent.id for intent in found.intents], found.unreadable, found.is_whole) == ([PI], 2, True)


def test_a_search_that_is_led_in_a_circle_ends_and_says_that_it_is_not_whole():
    with dojo(page("pi_1", after="c1"), page("pi_2", after="c2"), page("pi_3", after="c1")) as (server, client):
        found = client.search_intents(SEARCH)
    assert (len(found.intents), found.is_whole, len(server.seen)) == (3, False, 3)


def test_a_search_without_end_is_cut_and_says_so():
    pages = [page(f"pi_{number}", after=f"c{number}") for number in range(MAX_PAGES + 1)]
    with dojo(*pages) as (server, client):
        found = client.search_intents(SEARCH)
    assert (len(found.intents), found.is_whole, len(server.seen)) == (MAX_PAGES, False, MAX_PAGES)


# What Dojo publishes

SPECIFICATION = Path(__file__).parents[3] / "shared/dojo/specs/dojo-api.json"


@pytest.fixture(scope="module")
def specification():
    if not SPECIFICATION.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("Dojo's published specification is not beside the repository")
    return json.loads(SPECIFICATION.read_text())


def check(specification, name, value):
    jsonschema.validate(value, {"$ref": f"#/components/schemas/{name}", "components": specification["components"]})


def test_what_we_send_is_as_dojo_publishes(specification):
    with dojo(answer(200, []), answer(200, {}), page("pi_1", after="c1"), page()) as (server, client):
        client.register(OURS)
        client.send_order_updated(OrderId("pos-1"))
        client.search_intents(SEARCH)
    check(specification, "RestIntegrationRequest", json.loads(server.seen[0].body))
    check(specification, "EventRequest", json.loads(server.seen[1].body))
    for asked in server.seen[2:]:
        check(specification, "SearchPaymentIntentRequest", json.loads(asked.body))


def test_dojo_publishes_every_path_that_we_call(specification):
    published = {(method.upper(), path) for path, methods in specification["paths"].items() for method in methods}
    assert {("GET", "/payment-intents/{paymentIntentId}"), ("POST", "/payment-intents/search"), ("POST", "/epos/events")} <= published
    assert {("GET", "/epos/integrations/rest"), ("PUT", "/epos/integrations/rest")} <= published


def test_dojo_s_own_example_of_an_intent_is_read(specification):
    operation = specification["paths"]["/payment-intents/{paymentIntentId}"]["get"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    with dojo(answer(200, example)) as (_, client):
        intent = client.read_intent(IntentId(example["id"]))
    assert (intent.status, intent.amount, intent.total) == ("Captured", Money(1000, "GBP"), Money(1000, "GBP"))
