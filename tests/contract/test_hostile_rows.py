"""Hostile input, row by row of FAULTS I-1 to I-14, with the answer that each asks for: both sides, over real sockets, nothing stored."""

from __future__ import annotations

import gzip
import json
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.epos.signature import sign
from tests.contract.running import PASSWORD, TOKENS, USERNAME, a_bill, an_event, an_order, basic, eventually, is_refused, running
from tests.contract.test_bad_input import TABLES, changed, nested

SECRET = "hook-rows"
DOORS = ("dojo", "hook", "till", "operator")
MEBIBYTE = 2**20
PATIENCE = 60.0
GROWTH_KB = 64 * 1024
"""What memory may grow by while a body of 100 MB is refused; the body kept would be more."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("rows"), WEBHOOK_SECRETS=SECRET, RETRY_BASE_MS=3_600_000, RETRY_CAP_MS=3_600_000) as service:
        yield service


@pytest.fixture(autouse=True)
def whole(service, request):
    """Whatever a test refuses has stored nothing; those that store say so."""
    before = rows(service)
    yield
    if "stores" not in request.fixturenames:
        assert rows(service) == before
    assert service.dojo.get("/healthz").status == service.open.get("/healthz").status == 200


@pytest.fixture
def stores():
    """For a test whose good input is stored."""


def rows(service):
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    return service.reads.rows(f"SELECT {counts}")[0]


def send(service, door, raw, **headers):
    """A body at one of the doors, with whatever credentials it needs."""
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    if door == "hook":
        return service.dojo.post("/webhooks/dojo", raw, authorization=None, dojo_signature=sign(raw, SECRET), **headers)
    paths = {"dojo": "/v1/orders", "till": "/till/orders", "operator": "/api/orders/none/resolve"}
    return getattr(service, door).post(paths[door], raw, **headers)


def a_body(door):
    return {
        "dojo": an_order("rows"),
        "hook": an_event("evt-rows", "pi-rows"),
        "till": a_bill(),
        "operator": {"action": "read_again", "reason": "so"},
    }[door]


def with_field(door, raw):
    """A good body with one more field, given as raw JSON."""
    return json.dumps(a_body(door)).replace("{", f'{{"extra": {raw}, ', 1).encode()


@pytest.mark.parametrize("depth", [33, 100, 500, 1_000, 20_000])
@pytest.mark.parametrize("door", DOORS)
def test_nesting_beyond_32_is_400(service, door, depth):  # I-1
    for raw in (nested(depth), with_field(door, nested(depth)).decode(), '{"a":' * depth + "1" + "}" * depth):
        assert is_refused(send(service, door, raw.encode()), 413 if door == "operator" and len(raw) > 65_536 else 400)


def test_nesting_of_a_hundred_thousand_is_400_and_32_is_none_too_many(service, stores):  # I-1
    assert is_refused(send(service, "dojo", nested(100_000).encode()), 400) == "body: nested deeper than 32 levels"
    assert send(service, "dojo", with_field("dojo", nested(31))).status == 200


@pytest.mark.parametrize("door", DOORS)
def test_a_body_of_one_byte_too_many_is_413(service, door):  # I-2
    assert is_refused(send(service, door, json.dumps(a_body(door)).encode().ljust(MEBIBYTE + 1)), 413)


@pytest.mark.parametrize("door", ["dojo", "till"])
@pytest.mark.parametrize("how", ["length", "chunks"])
def test_a_body_of_a_hundred_megabytes_or_without_end_is_413_and_not_kept(service, door, how):  # I-2
    port, path = (service.ports[0], "/v1/orders") if door == "dojo" else (service.ports[1], "/till/orders")
    credentials = basic(USERNAME, PASSWORD) if door == "dojo" else f"Bearer {TOKENS['till']}"
    framing = "Content-Length: 104857600" if how == "length" else "Transfer-Encoding: chunked"
    piece = b" " * 65_536 if how == "length" else b"10000\r\n" + b" " * 65_536 + b"\r\n"
    before = memory(service)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: {credentials}\r\n"
        connection.sendall(f"{head}{framing}\r\n\r\n".encode())
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(1_600):
                connection.sendall(piece)
        answered = b""
        with suppress(ConnectionResetError):
            while (more := connection.recv(65_536)) and not (answered := answered + more).endswith(b"}"):
                pass
    # A client that does not listen before it has sent all may find the connection reset in place of the answer.
    assert answered == b"" or answered.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400")), answered[:200]
    assert memory(service) - before < GROWTH_KB


def test_an_announced_hundred_megabytes_are_413_before_they_are_sent(service):  # I-2
    for client, path in ((service.dojo, "/v1/orders"), (service.till, "/till/orders")):
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n"
            connection.sendall(f"{head}Authorization: {client.authorization}\r\n\r\n{{".encode())
            assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("door", DOORS)
def test_a_compressed_body_is_415(service, door):  # I-2 I-8
    bomb = gzip.compress(json.dumps(a_body(door)).encode().ljust(2_000_000))
    for coding in ("gzip", "deflate", "br", "gzip, identity"):
        is_refused(send(service, door, bomb, content_encoding=coding), 415)
    assert is_refused(send(service, door, bomb), 400)


def memory(service):
    """Kilobytes of the worker, which is the one child of the process that was started."""
    pid = service.process.pid
    worker = eventually(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split())[0]
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.parametrize(
    "literal",
    ["NaN", "Infinity", "-Infinity", "1E400", "-1E400", "1e3", "10.0", "1" * 4301, str(2**63), str(-(2**63) - 1)],
    ids=lambda literal: literal[:12],
)
def test_a_number_that_is_no_integer_of_64_bits_is_400_and_names_its_field(service, literal):  # I-3
    fields = {
        "dojo": ("totalAmount.value", "items[0].quantity", "items[0].amountPerItem.value"),
        "till": ("totalAmount.value", "items[0].quantity"),
    }
    for door, paths in fields.items():
        for path in paths:
            body = json.dumps(changed(a_body(door), path, "MARK")).replace('"MARK"', literal)
            assert is_refused(send(service, door, body.encode()), 400).startswith(f"{path}: ")


@pytest.mark.parametrize("door", DOORS)
def test_any_key_that_comes_twice_is_400_and_named_however_it_is_spelt(service, door):  # I-4
    text = json.dumps(a_body(door))
    for key, value in a_body(door).items():
        for spelling in (f'"{key}"', '"' + "".join(f"\\u{ord(letter):04x}" for letter in key) + '"', f'"\\u{ord(key[0]):04X}{key[1:]}"'):
            for again in (json.dumps(value), "null"):
                twice = f"{{{spelling}: {again}, {text[1:]}".encode()
                assert is_refused(send(service, door, twice), 400) == f"{key}: comes twice"


def test_keys_that_come_twice_deep_in_a_body_are_400(service):  # I-4
    text = json.dumps(an_order("twice")).replace('"currencyCode": "GBP"', '"currencyCode": "EUR", "currency\\u0043ode": "GBP"', 1)
    assert is_refused(send(service, "dojo", text.encode()), 400) == "items[0].amountPerItem.currencyCode: comes twice"


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("items[0].quantity", True),
        ("items[0].quantity", "1"),
        ("totalAmount.value", True),
        ("totalAmount.value", "1200"),
        ("items", {}),
        ("payments", {}),
        ("details", []),
        ("discounts", {}),
        ("dojoOrderId", 7),
        ("note", ["a"]),
    ],
)
def test_another_type_than_is_wanted_is_400(service, path, bad):  # I-6
    assert is_refused(send(service, "dojo", changed(an_order("types"), path, bad)), 400).startswith(f"{path}: ")


def test_null_is_absent_and_what_nobody_asked_for_is_not_stored(service, stores):  # I-6
    optional = ("note", "reference", "displayName", "customer", "discounts", "taxLines", "serviceChargeAmount")
    extras = {"canary-7d1f": "canary-7d1f", "nested": {"canary-7d1f": ["canary-7d1f"]}}
    plain = send(service, "dojo", an_order("null-1"))
    reply = send(service, "dojo", an_order("null-2") | dict.fromkeys(optional) | extras)

    assert reply.status == 200
    assert set(reply.json) == set(plain.json)
    files = [service.journal, service.journal.with_name(f"{service.journal.name}-wal"), service.log_path]
    assert [path.name for path in files if b"canary-7d1f" in path.read_bytes()] == []


def test_lists_and_texts_beyond_their_limits_are_400_or_413(service):  # I-7
    item = an_order("x")["items"][0]
    thousand = is_refused(send(service, "dojo", an_order("many", items=[item] * 1_001)), 400)
    assert thousand.startswith("items: ")
    is_refused(send(service, "dojo", an_order("many", items=[item] * 100_000)), 413)
    assert is_refused(send(service, "dojo", with_items(100_000)), 413 if len(with_items(100_000)) > MEBIBYTE else 400)
    assert is_refused(send(service, "dojo", an_order("long", note="x" * 1_000_000)), 400).startswith("note: ")
    assert is_refused(send(service, "till", a_bill(note="x" * 10_001)), 400).startswith("note: ")


def with_items(number):
    return json.dumps(an_order("short", items=[])).replace('"items": []', '"items": [' + ",".join(["{}"] * number) + "]").encode()


def test_empty_items_are_taken(service, stores):  # I-7
    reply = send(service, "dojo", an_order("empty", items=[]))
    assert (reply.status, reply.json["items"]) == (200, [])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("encode", "content_type", "status"),
    [
        (lambda text: text.encode(), None, 415),
        (lambda text: text.encode(), "text/plain", 415),
        (lambda text: text.encode(), "application/json; charset=utf-7", 415),
        (lambda text: text.encode("utf-16"), "application/json; charset=utf-16", 415),
        (lambda text: text.encode("utf-16"), "application/json", 400),
        (lambda text: text.encode("utf-32-le"), "application/json", 400),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "application/json", 400),
        (lambda text: text.replace("{", "+AHs-", 1).encode(), "application/json", 400),
    ],
    ids=["none", "plain", "utf-7", "utf-16-said", "utf-16", "utf-32", "bom", "utf-7-unsaid"],
)
def test_another_content_type_is_415_and_another_encoding_400(service, door, encode, content_type, status):  # I-8
    is_refused(send(service, door, encode(json.dumps(a_body(door))), content_type=content_type), status)


@pytest.mark.parametrize("odd", ["..%2f", "..%2f..%2fetc%2fpasswd", "%2f", "%00", "a%00b", "%ff", "%F0%9F%8D%95", "%0d%0a", "x" * 10_240])
def test_an_id_in_a_path_that_nothing_can_have_is_404_or_414(service, odd):  # I-9
    for client, path in ((service.dojo, "/v1/orders/{}"), (service.auditor, "/api/orders/{}"), (service.auditor, "/api/orders/{}/journal")):
        reply = client.get(path.format(odd))
        assert reply.status in {404, 414}
        if reply.body:
            is_refused(reply, reply.status)
    assert service.dojo.get("/v1/orders/../orders").status == 404


def test_sql_in_fields_filters_tokens_and_queries_is_text(service, stores):  # I-11
    for number, text in enumerate(("' OR 1=1 --", "'; DROP TABLE journal; --", '"x" UNION SELECT * FROM personal', "%", "_", "\\")):
        bill = a_bill(table=text, reference=text, displayName=text, note=text, customer={"id": text, "name": text}, id=f"sql-{number}")
        made = service.till.post("/till/orders", changed(bill, "items[0].plu", text))
        assert made.status == 200, made.body
        found = service.dojo.post("/v1/orders/search", {"dineIn": {"tableId": text}}).json["data"]
        assert [order["id"] for order in found] == [f"sql-{number}"]
        assert (found[0]["note"], found[0]["reference"], found[0]["items"][0]["plu"]) == (text, text, text)
        is_refused(service.dojo.post("/v1/orders/search", {"cursor": {"after": text}}), 400)
    for query in ("state", "limit", "after", "attention"):
        is_refused(service.auditor.get(f"/api/orders?{query}=%27%20OR%201=1%20--"), 400)


SMUGGLED = b"POST <smuggled> HTTP/1.1\r\n<head>Content-Length: <s>\r\n\r\n<order>"
CHUNKED = b"<x>\r\n<good>\r\n0\r\n\r\n"
FRAMING = {
    "a length beside chunks": (b"Content-Length: <all>\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED + SMUGGLED, [200], [400]),
    "chunks beside a length": (b"Transfer-Encoding: chunked\r\nContent-Length: <all>\r\n\r\n" + CHUNKED + SMUGGLED, [200], [400]),
    "two lengths": (b"Content-Length: <n>\r\nContent-Length: <all>\r\n\r\n<good>" + SMUGGLED, [400], [400]),
    "two lengths, the longer first": (b"Content-Length: <all>\r\nContent-Length: <n>\r\n\r\n<good>" + SMUGGLED, [400], [400]),
    "the same length twice": (b"Content-Length: <n>\r\nContent-Length: <n>\r\n\r\n<good>", [200, 200], [400]),
    "a list of lengths": (b"Content-Length: <n>, <all>\r\n\r\n<good>" + SMUGGLED, [400], [400]),
    "a folded line": (b"X-A: a\r\n b\r\nContent-Length: <n>\r\n\r\n<good>", [400], [400]),
    "a folded length": (b"Content-Length:\r\n <n>\r\n\r\n<good>", [400], [400]),
    "a space before the colon": (b"Content-Length : <n>\r\nContent-Length: <all>\r\n\r\n<good>" + SMUGGLED, [400], [400]),
    "a line feed alone": (b"X-A: a\nContent-Length: <n>\r\n\r\n<good>", [200, 200], [400]),
    "another coding": (b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED, [415, 200], [400]),
    "another coding last": (b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED + SMUGGLED, [400], [400]),
    "a length with an underscore": (b"Content_Length: <n>\r\nContent-Length: <all>\r\n\r\n<good>" + SMUGGLED, [400, 200], [400, 200]),
    "chunks with an underscore": (
        b"Transfer_Encoding: chunked\r\nContent-Length: <all>\r\n\r\n0\r\n\r\n" + SMUGGLED,
        [400, 200],
        [400, 200],
    ),
    "a second type": (b"Content-Type: text/plain\r\nContent-Length: <n>\r\n\r\n<good>", [200, 200], [400]),
    "no host": (b"Content-Length: <n>\r\n\r\n<good>", [400, 200], [400, 200]),
    "a second host": (b"Host: b\r\nContent-Length: <n>\r\n\r\n<good>", [400, 200], [400]),
}
"""What follows a head, and how Dojo's side and the venue's answer it and the request that is sent behind it."""


@pytest.mark.parametrize("side", [0, 1], ids=["dojo", "venue"])
@pytest.mark.parametrize("case", FRAMING)
def test_a_head_that_can_be_read_in_two_ways_is_refused_or_read_as_the_rfc_allows_and_never_as_two_requests(service, side, case):  # I-13
    """Where RFC 9112 wants the connection to end, the request behind it is not answered. An order that was smuggled would be stored."""
    first, smuggled, client, good, order = [
        (b"POST /v1/orders/search", b"/v1/orders", service.dojo, b"{}", an_order("smuggled")),
        (b"PUT /till/state", b"/till/orders", service.till, b'{"takingOrders": true}', a_bill(id="smuggled")),
    ][side]
    raw_order = json.dumps(order).encode()
    host = b"" if case == "no host" else b"Host: a\r\n"
    head = b"Content-Type: application/json\r\nAuthorization: " + client.authorization.encode() + b"\r\n"
    template, *answers = FRAMING[case]
    request = first + b" HTTP/1.1\r\n" + host + head + template
    parts = {b"<smuggled>": smuggled, b"<head>": b"Host: a\r\n" + head, b"<good>": good, b"<order>": raw_order}
    parts |= {b"<s>": b"%d" % len(raw_order), b"<n>": b"%d" % len(good), b"<x>": b"%x" % len(good)}
    for name, part in parts.items():
        request = request.replace(name, part)
    body = request.partition(b"\r\n\r\n")[2]
    request = request.replace(b"<all>", b"%d" % len(body))

    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
        answered = b""
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request + b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while more := connection.recv(65_536):
                answered += more

    assert [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answered)] == answers[side], answered[:2_000]


def test_only_a_health_check_may_leave_the_host_out_and_nobody_may_name_two(service):  # A11
    def status(port, path, *hosts):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\n" + b"".join(hosts) + b"Connection: close\r\n\r\n")
            return int(connection.recv(65_536).split(b" ")[1])

    for port in service.ports:
        assert [status(port, path) for path in (b"/healthz", b"/openapi.json")] == [200, 400]
        assert [status(port, path, b"Host: a\r\n", b"Host: b\r\n") for path in (b"/healthz", b"/openapi.json")] == [400, 400]


def test_cursors_in_both_directions_and_limits_out_of_range_are_400(service):  # I-14
    for path in ("/v1/orders/search", "/v1/tables/search", "/v1/parties/search", "/v1/reservations/search"):
        message = is_refused(service.dojo.post(path, {"cursor": {"before": "x", "after": "y"}}), 400)
        assert message == "cursor.before: expected before or after, got both"
        for limit in (0, -1, 101, 1_000_000_000):
            assert is_refused(service.dojo.post(path, {"cursor": {"limit": limit}}), 400).startswith("cursor.limit: ")
    for path, client in (("/api/orders", service.auditor), ("/api/outbox", service.auditor), ("/till/feed", service.till)):
        for limit in ("0", "-1", "501", "1e9", "1000000000"):
            assert is_refused(client.get(f"{path}?limit={limit}"), 400).startswith("limit: ")


@pytest.mark.parametrize("escape", ["\\u0000", "a\\u0000b"])
def test_a_nul_in_any_text_is_400(service, escape):  # P14
    for door, paths in {
        "dojo": ("note", "dojoOrderId", "items[0].name", "items[0].plu"),
        "till": ("reference", "id"),
        "hook": ("id", "accountId"),
    }.items():
        for path in paths:
            body = json.dumps(changed(a_body(door), path, "MARK")).replace('"MARK"', f'"{escape}"')
            assert is_refused(send(service, door, body.encode()), 400).startswith(f"{path}: ")
    for key in (f'"{escape}"', f'"x{escape}"'):
        assert is_refused(send(service, "dojo", json.dumps(an_order("nul")).replace("{", f"{{{key}: 1, ", 1).encode()), 400)


def test_after_all_of_this_the_journal_is_whole_and_no_error_was_logged(service):
    assert [line for line in service.log() if line["level"] in {"ERROR", "CRITICAL"} and line["event"] != "attention raised"] == []
    service.assert_whole()
