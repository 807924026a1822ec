"""Who may do what, where secrets and card numbers end up, what a browser, a terminal or a log makes of hostile text, and whom we call."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

import app
from adapters.api.routes import CALLS as AUDITORS_CALLS
from adapters.cli.commands import cli
from adapters.edge.answers import MARKS
from adapters.epos.document import dojo_document
from adapters.epos.signature import sign
from adapters.till.api import CALLS as TILL_CALLS
from adapters.venue import venue_document
from tests.contract.misbehaving_server import MisbehavingServer, answer
from tests.contract.running import (
    KEY,
    PASSWORD,
    ROOT,
    TOKENS,
    USERNAME,
    Service,
    a_bill,
    an_event,
    an_order,
    basic,
    beside_sandbox,
    eventually,
    is_refused,
    running,
)
from tests.contract.test_bad_input import ROUTES as ROUTES_WITH_BODIES
from tests.contract.test_bad_input import TABLES, changed, soon
from tests.contract.test_till_callbacks import Till
from workflow import diagrams
from workflow.lifecycle import DECLARATIONS

HOOKS = ("hook-canary-old-1f0c", "hook-canary-new-2e9d")
TILL_SECRET = "till-canary-3a77-and-more"
PAN = "4111111111111111"
PANS = (PAN, "4111 1111 1111 1111", "4111-1111-1111-1111", "5500005555555559", "378282246310005")
FROM_DOJO = ("not-a-secret-", "SANDBOX CARDHOLDER", "00000000****0000")
"""What the simulator puts into each payment intent in the place of its session secret, its card's holder and its card's number."""
SECRETS = (KEY, PASSWORD, basic(USERNAME, PASSWORD).removeprefix("Basic "), TILL_SECRET, *HOOKS, *TOKENS.values())
XSS = "<script>alert('xss-5b1e')</script>\"><img src=x onerror=alert(1)>"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")
"""The only types that a page of another site can have a browser send without asking first."""
DOCUMENTS = {"dojo": dojo_document(), "venue": venue_document()}
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
ROUTES = [
    (
        side,
        method.upper(),
        path.format(orderId="x", lockId="x", partyId="x", reservationId="x", order_id="x", task_id="x", booking_id="x", date="x"),
    )
    for side, document in DOCUMENTS.items()
    for path, operations in document["paths"].items()
    for method in operations
    if method in {"get", "post", "put", "delete"}
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A service with every secret there is, registered at a sandbox, and a till that it calls; money went through it, with card numbers."""
    till = Till()
    settings = {"WEBHOOK_SECRETS": ",".join(HOOKS), "TILL_URL": till.url, "TILL_SECRET": TILL_SECRET}
    try:
        with beside_sandbox(tmp_path_factory.mktemp("security"), **settings) as pair:
            pair.till = till
            yield pair
    finally:
        till.stop()


@pytest.fixture(scope="module")
def service(pair):
    return pair.service


@pytest.fixture(scope="module")
def paid(pair):
    """The id of an order that was paid, whose every text holds a card number and markup, and the id of a bill of the till's."""
    service, said = pair.service, f"{PANS[1]} {XSS}"
    note = ", ".join(PANS) + XSS
    result = pair.sandbox.order_and_pay()
    assert result.ok, result.reason
    bill = a_bill(note=note, reference=XSS, displayName=said, customer={"id": "c", "name": said, "emailAddress": XSS}, id="secured")
    for path, text in {"items[0].name": XSS, "items[0].plu": XSS, "items[0].note": note, "details.dineIn.tableId": XSS}.items():
        bill = changed(bill, path, text)
    assert service.till.post("/till/orders", bill).status == 200
    asked = {"dojo_requesting_product": PAN, "waiter_id": PANS[2], "device_id": PANS[1]}
    assert service.dojo.post("/v1/orders/secured/lock", {"lockId": "l", "expiry": soon()}, **asked).status == 200
    assert service.dojo.post("/v1/orders/secured/lock", {"lockId": "m", "expiry": soon()}, **asked).status == 409
    assert service.operator.post("/api/orders/secured/resolve", {"action": "read_again", "reason": note}).status in {200, 409}
    assert service.dojo.call("DELETE", "/v1/orders/secured/locks/l").status == 200
    assert service.till.post("/till/orders/secured/refuse", {"reason": f"{PAN} {XSS}"}).status == 200
    service.await_rest()
    return next(order["id"] for order in service.auditor.get("/api/orders").json["data"] if order["payments"]), "secured"


def rows(service):
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    return service.reads.rows(f"SELECT {counts}")[0]


def client_of(service, side):
    return service.dojo if side == "dojo" else service.open


def ask(client, method, path, **headers):
    return client.call(method, path, None if method in {"GET", "DELETE"} else {}, **headers)


# Who may


@pytest.mark.parametrize(("side", "method", "path"), [route for route in ROUTES if route[2] not in OPEN and route[2] != "/webhooks/dojo"])
def test_no_route_answers_to_anybody_but_those_it_is_for(service, side, method, path):  # A1 I18
    service.await_rest()
    before = rows(service)
    strangers = [None, "", "Basic", "Basic ", "Basic Og==", "Bearer", "Bearer ", "Bearer wrong", basic(USERNAME, "wrong"), basic("", "")]
    others = [f"Bearer {token}" for token in TOKENS.values()] if side == "dojo" else [basic(USERNAME, PASSWORD)]
    for authorization in (*strangers, *others):
        reply = ask(client_of(service, side), method, path, authorization=authorization)
        if reply.status != 429:  # Who guessed for too long.
            is_refused(reply, 401)
    assert rows(service) == before


@pytest.mark.parametrize("call", [*TILL_CALLS, *AUDITORS_CALLS], ids=lambda call: call.id)
def test_a_token_opens_the_routes_of_its_role_and_no_other(service, call):  # A5 I18
    path = re.sub(r"\{\w+\}", "none", call.path)
    may = {call.role} | ({"operator"} if call.role == "auditor" else set())
    for role in TOKENS:
        reply = ask(getattr(service, role), call.method, path)
        if role in may:
            assert reply.status not in {401, 403}, (role, reply.body)
        else:
            message = is_refused(reply, 403)
            # The auditors' routes first ask whether somebody may read at all.
            assert message in {f"this needs the role {needed}, the token has {role}" for needed in (call.role, "auditor")}


def test_what_is_not_this_venues_order_is_404(service):  # A5
    for path in ("/api/orders/tp_of_another_venue", "/api/orders/tp_of_another_venue/journal", "/api/orders/tp_of_another_venue/proof"):
        is_refused(service.auditor.get(path), 404)
    is_refused(service.dojo.get("/v1/orders/tp_of_another_venue"), 404)


def test_nothing_that_a_browser_sends_by_itself_changes_anything(service):
    before = rows(service)
    for client, path in ((service.dojo, "/v1/orders"), (service.till, "/till/orders"), (service.operator, "/api/orders/x/resolve")):
        for form in FORMS:
            is_refused(client.post(path, b"a=b", content_type=form, origin="https://evil.example"), 415)
        asked = client.call("OPTIONS", path, origin="https://evil.example", access_control_request_method="POST")
        assert not [name for name in asked.headers if name.startswith("access-control-")]
        assert asked.status == 405
    for side, method, path in ROUTES:
        if method != "GET":
            assert client_of(service, side).get(path).status in {401, 404, 405}
    assert rows(service) == before


def test_webhook_secrets_are_replaced_one_after_the_other_without_losing_an_event(tmp_path):  # A2
    """Both, then the new one alone: what is signed by a secret that is active is taken, and the same event again is nothing."""
    old, new = HOOKS

    def delivered(service, secret):
        raw = json.dumps(an_event("evt-rotation", "pi-rotation")).encode()
        return service.dojo.post("/webhooks/dojo", raw, authorization=None, dojo_signature=sign(raw, secret)).status

    taken = []
    for active in (f"{old},{new}", new):
        with running(tmp_path, WEBHOOK_SECRETS=active) as service:
            taken.append((delivered(service, old), delivered(service, new)))
            assert service.stop() == 0
            kept = len(service.reads.rows("SELECT 1 FROM journal WHERE body LIKE '%evt-rotation%'"))
    assert taken == [(200, 200), (401, 200)]
    assert kept == 1


# Where secrets and card numbers end up


def test_no_secret_and_no_card_number_is_in_any_file_answer_export_metric_or_argument(pair, paid):  # A15 I13
    service = pair.service
    found = {f"file {path.name}": path.read_bytes() for path in service.folder.rglob("*") if path.is_file()}
    assert {"file tillproof.db", "file tillproof.db-wal", "file tillproof.db.witness", "file service.log"} <= set(found)
    for order in paid:
        for path in ("", "/journal", "/proof"):
            found[f"/api/orders/{order}{path}"] = service.auditor.get(f"/api/orders/{order}{path}").body
        found[f"/v1/orders/{order}"] = service.dojo.get(f"/v1/orders/{order}").body
        found[f"/v1/orders/{order}/bill"] = service.dojo.get(f"/v1/orders/{order}/bill").body
        found[f"orders show {order}"] = command(service, "orders", "show", order)
    for path in ("/api/orders", "/api/outbox?limit=500", "/api/attention", "/api/checkpoint", "/api/export", "/api/export?format=csv"):
        found[path] = service.auditor.get(path).body
    found["/till/feed"] = service.till.get("/till/feed?limit=500").body
    found["/metrics"], found["/readyz"] = service.open.get("/metrics").body, service.open.get("/readyz").body
    found["call-backs"] = b"".join(call.raw for call in pair.till.calls)
    for words in (("doctor",), ("journal", "verify"), ("journal", "export"), ("outbox", "list"), ("orders", "list"), ("takings",)):
        found[" ".join(words)] = command(service, *words)
    for pid in processes(service):
        found[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()

    assert b"secured" in found["/api/export"]  # What is looked for would be seen.
    assert b"[card number removed]" in found["/v1/orders/secured"]
    assert found["call-backs"]
    leaks = [(where, what) for where, said in found.items() for what in (*SECRETS, *PANS, *FROM_DOJO) if what.encode() in said]
    assert leaks == []


def test_what_customers_say_of_themselves_is_in_no_entry_export_log_metric_or_error(service):  # A15 I13
    canary, number = "guest-canary-5d0c", 447_700_900_123
    customer = {"id": "c", "name": canary, "emailAddress": f"{canary}@example", "phoneNumber": canary}
    bill = changed(a_bill(note=canary, customer=customer, id="guest"), "items[0].note", canary)
    assert service.till.post("/till/orders", bill).status == 200
    assert canary in service.dojo.get("/v1/orders/guest").body.decode()  # What is looked for would be seen.

    long, found = canary * 1_000, {}
    bad_fields = [("customer", canary), ("note", number), ("note", long), ("items[0].note", number)]
    bad_fields += [(f"customer.{name}", value) for name in ("name", "emailAddress", "phoneNumber") for value in (number, long)]
    for client, path, good in ((service.till, "/till/orders", bill), (service.dojo, "/v1/orders", an_order("guest", customer=customer))):
        for field, bad in bad_fields:
            reply = client.post(path, changed(good, field, bad))
            assert is_refused(reply, 400).startswith(f"{field}: expected ")
            found[f"{path} {field}"] = reply.body
    for field in ("name", "hostNotes", "guestRequests"):
        for value in (number, long):
            reply = service.dojo.post("/v1/parties", ROUTES_WITH_BODIES["CreateParty"].body() | {field: value})
            assert is_refused(reply, 400).startswith(f"{field}: expected ")
            found[f"/v1/parties {field}"] = reply.body
    for path in (
        "/api/orders/guest/journal",
        "/api/orders/guest/proof",
        "/api/export",
        "/api/export?format=csv",
        "/api/attention",
        "/metrics",
    ):
        found[path] = service.auditor.get(path).body
    found["log"] = service.log_path.read_bytes()
    assert [where for where, said in found.items() if canary[:13].encode() in said or str(number).encode() in said] == []


def command(service, *words):
    """What a command prints on either stream, with every escape that is in it."""
    result = CliRunner().invoke(cli, words, obj=app.program(), prog_name="tillproof", env=service.environment, color=True)
    return result.output.encode()


def processes(service):
    pid = service.process.pid
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


class Stopped(Service):
    """A service that is not started yet, and ended by `close`."""

    close = Service.kill


def test_neither_process_leaves_its_memory_in_a_file_when_it_crashes(tmp_path):  # A15

    def allow_cores():
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    with closing(Stopped(tmp_path)) as plain:
        plain.start(preexec_fn=allow_cores)
        limits = [re.search(r"Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text()) for pid in processes(plain)]
        assert {limit[number] for limit in limits for number in (1, 2)} <= {"0", "1"}
        assert len(limits) == 2
        plain.process.send_signal(signal.SIGABRT)
        ended = os.waitid(os.P_PID, plain.process.pid, os.WEXITED | os.WNOWAIT)
        assert (ended.si_code, ended.si_status) == (os.CLD_KILLED, signal.SIGABRT)  # And not CLD_DUMPED.
        assert [path.name for path in tmp_path.iterdir() if "core" in path.name] == []


# What a browser, a terminal, a spreadsheet and a log make of hostile text


@pytest.mark.parametrize(("side", "method", "path"), ROUTES)
def test_every_answer_forbids_guessing_framing_following_and_keeping(service, side, method, path):  # A18
    for authorization in ({"authorization": None}, {}):
        client = service.dojo if side == "dojo" else service.auditor
        for asked in (path, path + "/", path + "?next=//evil.example&url=https://evil.example"):
            reply = ask(client, method, asked, **authorization)
            assert {name for name in MARKS if name.lower() not in reply.headers} == set()
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
            assert not {"location", "refresh", "set-cookie", "access-control-allow-origin"} & set(reply.headers)
            assert not 300 <= reply.status < 400
            assert reply.headers.get("content-type", "").partition(";")[0] != "text/html" or path == "/docs"


def test_markup_in_every_text_is_inert_wherever_it_comes_back(service, paid):  # A7
    order = paid[1]
    answers = [
        service.dojo.get(f"/v1/orders/{order}"),
        service.dojo.get(f"/v1/orders/{order}/bill"),
        service.till.get("/till/feed?limit=500"),
    ]
    answers += [service.auditor.get(f"/api/orders/{order}{path}") for path in ("", "/journal", "/proof")]
    answers += [
        service.auditor.get(path) for path in ("/api/orders", "/api/attention", "/api/outbox", "/api/export", "/api/export?format=csv")
    ]
    holding = [reply for reply in answers if b"xss-5b1e" in reply.body]
    assert len(holding) >= 6
    for reply in holding:
        kind = reply.headers["content-type"].partition(";")[0]
        assert kind in {"application/json", "application/x-ndjson", "text/csv"}
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")


@pytest.mark.parametrize("where", ["field", "path", "query", "key", "header"])
def test_markup_that_is_refused_comes_back_as_json(service, where):  # A7
    quoted = "".join(f"%{byte:02X}" for byte in XSS.encode())
    if where == "field":
        reply = service.dojo.post("/v1/orders", changed(an_order("xss"), "details.orderType", XSS))
    elif where == "key":
        reply = service.dojo.post("/v1/orders", json.dumps({XSS: 1})[:-1].encode() + b"," + json.dumps({XSS: 1})[1:].encode())
    elif where == "path":
        reply = service.dojo.get(f"/v1/orders/{quoted}")
    elif where == "query":
        reply = service.auditor.get(f"/api/orders?state={quoted}")
    else:
        reply = service.dojo.post("/v1/orders", {}, content_type=XSS)
    is_refused(reply, reply.status)
    assert reply.status in {400, 404, 415}


def test_no_text_of_an_order_gets_into_a_picture_or_a_metric_or_the_page(service, paid):  # A7
    intent = f"pi_{XSS}"
    assert service.dojo.post("/v1/orders", an_order("drawn", intent_id=intent, table=XSS, reference=XSS)).status == 200
    order = next(one["id"] for one in service.auditor.get("/api/orders").json["data"] if one["dojoOrderId"] == "drawn")
    for form in diagrams.FORMATS:
        for declaration in DECLARATIONS:
            drawn = command(service, "diagram", "--machine", declaration.name, "--order", order, "--format", form)
            assert drawn
            assert b"xss-5b1e" not in drawn
    for reply in (service.open.get("/metrics"), service.open.get("/docs"), service.dojo.get("/docs")):
        assert reply.status == 200
        assert b"xss-5b1e" not in reply.body
    policy = service.open.get("/docs").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert "unsafe" not in policy


ESCAPES = "\x1b[2J\x1b]0;evil\x07\x1b[31mred \x9b31m\r\nforged  line\b\b \u202eevil"


def test_a_terminal_obeys_nothing_that_a_stranger_wrote(service):  # A16
    bill = a_bill(reference=ESCAPES, displayName=ESCAPES, note=ESCAPES, customer={"name": ESCAPES}, id="escaping")
    assert service.till.post("/till/orders", changed(bill, "items[0].name", ESCAPES)).status == 200
    assert service.till.post("/till/orders/escaping/refuse", {"reason": ESCAPES}).status == 200
    for words in (
        ("orders", "list"),
        ("orders", "show", "escaping"),
        ("orders", "bill", "escaping"),
        ("journal", "tail"),
        ("outbox", "list"),
    ):
        shown = command(service, *words).decode()
        assert shown
        assert [line for line in shown.split("\n") if not line.isprintable()] == []
        assert [line for line in shown.split("\n") if line.startswith("forged")] == []


def test_hostile_text_is_one_short_line_of_the_log(tmp_path):  # A16
    forged = '\n{"level":"INFO","event":"forged"}\n\x1b[31m' + "x" * 1_000_000
    evil = answer(400, {"errors": {forged: [forged]}, "title": forged, "detail": forged})
    with MisbehavingServer(evil) as dojo, running(tmp_path, dojo.url) as service:
        assert service.dojo.post("/v1/orders", an_order("logged", intent_id="pi_logged", reference=forged[:900])).status == 200
        service.dojo.post("/v1/events", an_event("evt-logged", "pi_logged"))
        eventually(lambda: service.reads.rows("SELECT 1 FROM outbox WHERE status = 'dead'"))
        for header in ("user_agent", "referer", "waiter_id", "x_forwarded_for", "dojo_signature"):
            service.dojo.get("/v1/orders/none", **{header: forged.replace("\n", "\t").replace("\x1b", "")[:4_000]})
        service.dojo.post("/v1/orders", {"note": forged})
        eventually(lambda: dojo.seen)
        assert service.stop() == 0
    text = service.log_path.read_text()
    lines = text.splitlines()
    assert lines
    assert {type(json.loads(line)) for line in lines} == {dict}
    assert {json.loads(line)["event"] for line in lines} & {"forged"} == set()
    assert max(map(len, lines)) < 32_768
    assert text.isascii()


def test_an_export_takes_no_path_and_names_no_file(service, paid, tmp_path):  # A9
    plain = service.auditor.get("/api/export?to=2")
    assert plain.status == 200
    for query in ("path=../../etc/passwd", "file=/etc/passwd", "filename=..%2f..%2fx", "name=a%00b", f"download={tmp_path}/x", "dir=.."):
        assert service.auditor.get(f"/api/export?to=2&{query}").body == plain.body
    for path in (
        "/api/export/..%2f..%2fetc%2fpasswd",
        "/api/export/x",
        "/api/export%2f..",
        "/api/export/../../etc/passwd",
        "/static/..%2fapp.py",
    ):
        is_refused(service.auditor.get(path), 404)
    for form in ("../../etc/passwd", "jsonl%00.csv", "zip", "tar"):
        is_refused(service.auditor.get(f"/api/export?format={form}"), 400)
    assert "content-disposition" not in plain.headers
    assert list(tmp_path.iterdir()) == []


# Whom we call


def test_no_input_makes_us_call_anybody_but_dojo(tmp_path):  # I13
    reached = []
    with closing(socket.create_server(("127.0.0.1", 0))) as evil, MisbehavingServer(answer(307, location="")) as dojo:
        at = f"127.0.0.1:{evil.getsockname()[1]}"
        dojo.behaviours[:] = [answer(307, location=f"http://{at}/x")]
        threading.Thread(target=lambda: _accept(evil, reached), daemon=True).start()
        ids = (
            f"http://{at}/",
            f"@{at}/",
            f"//{at}/",
            f"..//{at}",
            f"?x=http://{at}",
            f"#@{at}",
            f"\\\\{at}\\",
            f"{at}",
            f"%2f%2f{at}",
            f"x:y@{at}",
        )
        hosts = {"host": at, "x_forwarded_host": at, "forwarded": f"host={at}", "origin": f"http://{at}", "referer": f"http://{at}"}
        settings = {"HTTP_PROXY": f"http://{at}", "http_proxy": f"http://{at}", "ALL_PROXY": f"http://{at}"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            with running(tmp_path, dojo.url, RETRY_BASE_MS=3_600_000, RETRY_CAP_MS=3_600_000) as service:
                for number, hostile in enumerate(ids):
                    order = an_order(f"{number}{hostile}", intent_id=f"{hostile}", reference=f"http://{at}", note=f"http://{at}")
                    assert service.dojo.post("/v1/orders", order, **hosts).status == 200
                    assert service.dojo.post("/v1/events", an_event(f"evt{hostile}", f"pi{hostile}", accountId=hostile)).status == 200
                    assert service.till.post("/till/orders", a_bill(reference=f"http://{at}", table=hostile), **hosts).status == 200
                # Each was called and led elsewhere; the wait for the next try is drawn from an hour, and may be short.
                eventually(lambda: service.reads.rows("SELECT count(*) FROM outbox WHERE last_error <> ''") == [(2 * len(ids),)])
                assert len(dojo.seen) >= 2 * len(ids)
    assert reached == []
    # Only these two, each one segment below Dojo's address, which is where the hostile text went.
    assert {re.sub(r"/payment-intents/[^/?]+(\?returnCanceled=true)?$", "/payment-intents/ID", seen.target) for seen in dojo.seen} <= {
        "/payment-intents/ID",
        "/epos/events",
    }
    assert {seen.header("host") for seen in dojo.seen} == {dojo.url.removeprefix("http://")}


def _accept(listener, reached):
    with suppress(OSError):
        while True:
            connection, address = listener.accept()
            connection.close()
            reached.append(address)


def test_the_code_that_may_open_connections_is_what_calls_dojo_and_the_till():
    """Of the program that serves. The simulator, commands that ask a server of ours, and a server that asks itself have their own."""
    source = {path: path.read_text("utf-8") for folder in ("workflow", "adapters") for path in (ROOT / folder).rglob("*.py")}
    opens = re.compile(r"create_connection|\.request\(|requests\.(get|post|put|Session)|urlopen|HTTPConnection\(|\.connect\(\(")
    found = {str(path.relative_to(ROOT)) for path, text in source.items() if opens.search(text)}
    own = ("adapters/sandbox/", "adapters/cli/", "adapters/serving.py", "adapters/checks/surroundings.py")
    served = {path for path in found if not path.startswith(own)}
    assert served == {"adapters/outbound.py"}


def test_after_all_of_this_no_error_was_logged_and_the_journal_is_whole(service, paid):
    assert [line for line in service.log() if line["level"] in {"ERROR", "CRITICAL"} and "exception" in line] == []
    service.assert_whole()
