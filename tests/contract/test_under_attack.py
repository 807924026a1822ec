"""What the running program stands: guesses, floods, slow and endless clients, forged headers, threads that die, orders to stop."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest

from adapters.edge.limits import GUESSES, LOG_LINES
from adapters.epos.document import dojo_document
from adapters.epos.rest import WEBHOOK_BODIES
from adapters.serving import BLOCKING_THREADS
from adapters.settings import read_settings
from adapters.venue import venue_document
from tests.builders import Venue
from tests.contract.running import (
    PASSWORD,
    PATIENCE,
    ROOT,
    USERNAME,
    Client,
    Service,
    a_bill,
    an_event,
    an_order,
    basic,
    environment,
    eventually,
    is_refused,
    running,
)
from tests.flood import flood
from workflow.errors import JournalUnavailable
from workflow.journal.sqlite import SqliteJournal

HEALTHY_SECONDS, HEALTH_TRIES = 2.0, 7
SLOW = 200
SIDES = pytest.mark.parametrize("side", [0, 1], ids=["dojo", "venue"])


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("limits"), WEBHOOK_SECRETS="hook-secret", SWEEP_S=3600) as service:
        yield service


@pytest.fixture
def make(tmp_path):
    with ExitStack() as started:

        def make(*arguments, **settings):
            service = Service(tmp_path, *arguments, **settings)
            started.callback(service.kill)
            return service

        yield make


def size(service):
    return service.reads.rows("SELECT count(*) FROM journal")


def refusals(service):
    return [line for line in service.log() if line["event"] == "caller refused"]


def ask_often(port, requests):
    """The answers to (path, headers) after another on one connection that is kept: status and headers of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    answers = []
    for path, headers in requests:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        answers.append((response.status, response.headers))
    connection.close()
    return answers


def seconds_of_health(port):
    """The longest that one of some tries took. A second round counts in the place of one in which this machine may have been held up."""

    def taken():
        began = time.monotonic()
        assert Client(port, None).get("/healthz").status == 200
        return time.monotonic() - began

    longest = max(taken() for _ in range(HEALTH_TRIES))
    return longest if longest < HEALTHY_SECONDS else max(taken() for _ in range(HEALTH_TRIES))


# Who may ask


@pytest.mark.parametrize("authorization", [None, "", "Basic", "Bearer none-of-ours", basic(USERNAME, "wrong")])
def test_without_credentials_no_route_of_either_side_answers_anything_but_401_and_nothing_is_journaled(service, authorization):  # A1
    before, walked = size(service), 0
    for port, document in zip(service.ports, (dojo_document(), venue_document()), strict=True):
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if operation["security"] and operation["security"] != [{"signature": []}]:
                    url = re.sub("{.*?}", "nothing", path)
                    is_refused(Client(port, authorization).call(method.upper(), url, {} if "requestBody" in operation else None), 401)
                    walked += 1
    assert walked > 35
    assert size(service) == before
    assert {line["side"] for line in refusals(service)} == {"dojo", "venue"}


@pytest.mark.parametrize(
    ("side", "path", "right", "guess"),
    [(0, "/v1/areas", basic(USERNAME, PASSWORD), lambda number: basic(USERNAME, f"canary-{number}")),
     (1, "/api/orders", "Bearer tok-auditor-4712", lambda number: f"Bearer canary-{number}")],
    ids=["Basic", "Bearer"],
)  # fmt: skip
def test_a_thousand_guesses_are_throttled_and_dojo_at_the_same_address_is_not(make, side, path, right, guess):  # A10
    service = make().start()
    answers = ask_often(service.ports[side], [(path, {"Authorization": guess(number)}) for number in range(1_000)])

    assert [status for status, _ in answers] == [401] * GUESSES + [429] * (1_000 - GUESSES)
    assert {int(headers["Retry-After"]) in range(1, 61) for status, headers in answers if status == 429} == {True}
    refused = Client(service.ports[side], guess(1_000)).get(path)
    assert (refused.status, refused.json["errorType"]) == (429, "UnexpectedError")
    assert Client(service.ports[side], right).get(path).status == 200
    assert size(service) == [(0,)]
    assert len(refusals(service)) == LOG_LINES
    text = service.log_path.read_text() + service.open.get("/metrics").body.decode()
    assert f'tillproof_refused_callers_total{{reason="wrong",side="{("dojo", "venue")[side]}"}} 1001.0' in text
    assert "canary" not in text


def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(service):  # A10
    answers = [
        service.dojo.get("/v1/areas", authorization=basic(username, password))
        for username, password in [("nobody", PASSWORD), (USERNAME, "wrong"), ("nobody", "wrong")]
    ]
    told = [(reply.status, reply.json["debugMessage"], reply.headers.keys() - {"x-trace-id"}) for reply in answers]
    assert told[0] == told[1] == told[2]


def test_behind_a_trusted_proxy_who_guesses_is_told_from_dojo_and_elsewhere_nobody_believes_the_header(make):  # A10 A11
    service = make(TRUSTED_PROXIES="127.0.0.1").start()
    attack = [
        ("/v1/areas", {"Authorization": basic(USERNAME, f"g{number}"), "X-Forwarded-For": "203.0.113.9"}) for number in range(GUESSES)
    ]
    ask_often(service.ports[0], attack)
    assert service.dojo.get("/v1/areas", x_forwarded_for="203.0.113.9").status == 429
    assert service.dojo.get("/v1/areas", x_forwarded_for="203.0.113.9, 198.51.100.7").status == 200
    assert {line["address"] for line in refusals(service)} == {"203.0.113.9"}


def test_a_forged_address_is_not_believed_from_who_is_no_trusted_proxy(service):  # A11
    service.dojo.get("/v1/areas", authorization=basic(USERNAME, "forged"), x_forwarded_for="203.0.113.66", forwarded="for=203.0.113.66")
    assert {line["address"] for line in refusals(service)} == {"127.0.0.1"}


@SIDES
@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/till//orders", "/till/orders/", "/v1//orders", "/v1/orders/", "/api//orders"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_host_is_repeated_nowhere(service, side, path, method):  # A11
    client = Client(service.ports[side], service.dojo.authorization if side == 0 else "Bearer tok-till-4711")
    reply = client.call(method, path, host="evil.example", x_forwarded_host="evil.example", x_forwarded_proto="evil")
    assert b"evil" not in reply.body
    assert "evil" not in str(reply.headers)
    assert reply.status not in range(300, 400) or (path, reply.headers["location"]) == ("/", "/login")


@SIDES
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("BREW", "/v1/orders"),
        ("GET", "/console"),
        ("POST", "/v1/orders"),
        ("GET", "/nowhere?__debugger__=yes&cmd=pinauth"),
    ],
)
def test_an_error_tells_nothing_of_what_serves(service, side, method, path):  # A14
    client = Client(service.ports[side], service.dojo.authorization if side == 0 else "Bearer tok-operator-4713")
    reply = client.call(method, path, b"{" if method == "POST" else None, content_type="application/json")
    assert reply.status in {400, 404, 405}
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.json) == {"errorType", "debugMessage", "traceId"}
    assert reply.headers["server"] in {"granian", "tillproof"}
    told = str(reply.headers) + reply.body.decode()
    assert not re.search(r"(?i)traceback|werkzeug|flask|python|cheroot|\.py\b|granian/|debugger", told)


# How much


UNFINISHED = {
    "idle": "",
    "header": "GET /healthz HTTP/1.1\r\nHo",
    "kept alive": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "unread": "GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    "body of a stranger": "POST {events} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    "chunks of a stranger": "POST {events} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5",
    "body": "POST {orders} HTTP/1.1\r\nHost: x\r\nAuthorization: {right}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
}


def stall(slow, port, unfinished):
    """Send what does not end, or read nothing of what is answered, on a connection that stays open as long as `slow`."""
    slow.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)).sendall(unfinished.encode())


def once_full(slow, service, stalled, ask, *, empty):
    """The answer to `ask` when no place is left; `empty` is its status until then.

    Who asks may itself have the last place for a moment, in which what stalls is turned away: so one more is sent before each question.
    """

    def answer():
        stall(slow, service.ports[0], stalled)
        return reply if (reply := ask()).status != empty else None

    return eventually(answer)


@SIDES
@pytest.mark.parametrize("kind", UNFINISHED)
def test_health_and_orders_are_answered_beside_slow_clients(service, side, kind):  # A12
    facts = [
        {"{events}": "/webhooks/dojo", "{orders}": "/v1/orders", "{right}": service.dojo.authorization},
        {"{events}": "/till/orders", "{orders}": "/till/orders", "{right}": "Bearer tok-till-4711"},
    ][side]
    unfinished = UNFINISHED[kind]
    for name, value in facts.items():
        unfinished = unfinished.replace(name, value)
    many = BLOCKING_THREADS + 40 if "stranger" in kind else SLOW
    if kind == "body":
        many = 150  # More than AT_ONCE of Dojo's own, without a proxy that buffers, are told to come back.
    with ExitStack() as slow:
        for _ in range(many):
            stall(slow, service.ports[side], unfinished)
        assert seconds_of_health(service.ports[side]) < HEALTHY_SECONDS
        ordered = service.dojo.post("/v1/orders", an_order(f"{side}-{kind}")) if side == 0 else service.till.post("/till/orders", a_bill())
        assert ordered.status == 200


def test_more_of_dojos_own_bodies_than_there_are_places_leave_room_to_say_no(service):  # A12 A13
    stalled = UNFINISHED["body"].replace("{orders}", "/v1/orders").replace("{right}", service.dojo.authorization)
    with ExitStack() as slow:
        for _ in range(BLOCKING_THREADS + 40):
            stall(slow, service.ports[0], stalled)
        refused = once_full(slow, service, stalled, lambda: service.dojo.get("/v1/areas"), empty=200)
        assert (refused.status, refused.headers["retry-after"], refused.json["errorType"]) == (503, "1", "UnexpectedError")
        assert seconds_of_health(service.ports[0]) < HEALTHY_SECONDS
    eventually(lambda: service.dojo.get("/v1/areas").status == 200)
    assert re.search(r'tillproof_shed_requests_total{reason="busy",side="dojo"} [1-9]', service.open.get("/metrics").body.decode())


def test_webhooks_beyond_their_places_are_asked_to_come_back_and_dojo_is_served(service):  # A12
    stalled, stranger = UNFINISHED["body of a stranger"].replace("{events}", "/webhooks/dojo"), Client(service.ports[0], None)
    with ExitStack() as slow:
        for _ in range(WEBHOOK_BODIES):
            stall(slow, service.ports[0], stalled)
        refused = once_full(slow, service, stalled, lambda: stranger.post("/webhooks/dojo", {}), empty=401)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert stranger.get("/v1/areas").status == 401  # So would Dojo be heard, at an address that it never called from.
        assert service.dojo.post("/v1/events", an_event("evt-beside", "pi_beside")).status == 200
    eventually(lambda: stranger.post("/webhooks/dojo", {}).status == 401)


@SIDES
def test_a_body_without_end_is_refused_before_it_has_cost_much(service, side):  # I-2
    path, right = (("/v1/orders", service.dojo.authorization), ("/till/orders", "Bearer tok-till-4711"))[side]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {right}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk, sent, received = b"10000\r\n" + b" " * 0x10000 + b"\r\n", 0, b""
    with socket.create_connection(("127.0.0.1", service.ports[side]), PATIENCE) as connection:
        connection.sendall(head.encode())
        with suppress(ConnectionError):
            while sent < 1_000 * len(chunk):
                connection.sendall(chunk)
                sent += len(chunk)
        with suppress(ConnectionError):
            received = connection.recv(1_024)
    assert sent < 200 * len(chunk)  # The limit is 16 of them; the rest were under way.
    assert received.startswith(b"HTTP/1.1 413 ") or not received


FLOODED_PER_SECOND, RECOVERED_SECONDS = 2_000, 10
"""Of FAULTS.md: what is offered, and how long after its end all must be as before."""


@pytest.fixture(scope="module")
def as_delivered(tmp_path_factory):
    """A service whose limits nobody set."""
    service = Service(tmp_path_factory.mktemp("as-delivered"))
    del service.settings["REQUESTS_PER_SECOND"]
    try:
        yield service.start()
    finally:
        service.kill()


def seconds_until(claim):
    began = time.monotonic()
    eventually(claim)
    return time.monotonic() - began


def usual_answers(service):
    """How each kind of caller fares, on either side."""
    stranger = Client(service.ports[0], None)
    callers = stranger, service.dojo, service.open, service.till
    return [caller.get(path).status for caller, path in zip(callers, ("/v1/areas", "/v1/areas", "/readyz", "/till/orders"), strict=True)]


def assert_turned_away(answered, usual):
    """What is beyond the limit is 429 or 503, from the first second on; everything was answered, and with nothing else."""
    limit = read_settings({"TILLPROOF_ENV": "test"}, None).requests_per_second
    assert limit < FLOODED_PER_SECOND <= answered.offered / answered.seconds
    assert answered.statuses.total() == answered.offered
    assert answered.statuses.keys() <= {usual, 429, 503}
    assert 0 < answered.statuses[usual] <= limit * (1 + answered.seconds_to_the_last_answer)
    assert answered.statuses[429] + answered.statuses[503] > 0


def shed(service):
    """How many requests Dojo's side says that it turned away at the door."""
    figures = re.findall(
        r'tillproof_shed_requests_total{reason="(?:rate|busy)",side="dojo"} (.*)', service.open.get("/metrics").body.decode()
    )
    return sum(map(float, figures))


def test_a_strangers_flood_is_turned_away_early_and_costs_neither_health_nor_a_payment(as_delivered):  # A13 I12
    service = as_delivered
    before, order = usual_answers(service), service.till.post("/till/orders", a_bill()).json["id"]
    payment = {"paymentIntentId": "pi_recorded", "paidAmount": {"value": 1200, "currencyCode": "GBP"}}

    with flood(service.ports[0], "GET /v1/areas HTTP/1.1\r\nHost: x\r\n\r\n") as flooding:
        flooding.await_refusals()
        assert max(map(seconds_of_health, service.ports)) < HEALTHY_SECONDS
        created = [service.dojo.post("/v1/orders", an_order(f"paid-{n}", intent_id=f"pi_paid-{n}")) for n in range(5)]
        captured = service.dojo.post("/v1/events", an_event("evt-paid", "pi_paid-0"))
        recorded = service.dojo.post(f"/v1/orders/{order}/record-payment", payment)
        looked = ask_often(service.ports[0], [("/v1/areas", {"Authorization": service.dojo.authorization})] * 50)
        flooding.end()
        assert seconds_until(lambda: usual_answers(service) == before) < RECOVERED_SECONDS
        answered = flooding.answered()

    assert_turned_away(answered, usual=401)
    assert shed(service) >= answered.statuses[429] + answered.statuses[503]
    assert [reply.status for reply in (*created, captured, recorded)] + [status for status, _ in looked] == [200] * 57
    assert service.path_of(created[0].json["id"])[-1] == "captured"
    assert recorded.json["paidAmount"]["value"] == 1200
    service.assert_whole()


def test_a_flood_with_dojos_own_credentials_is_turned_away_early_and_leaves_nothing_half_stored(as_delivered):  # A13 I1
    service = as_delivered
    before = usual_answers(service)
    service.dojo.post("/v1/orders", an_order("flooded", intent_id="pi_flooded"))
    event = json.dumps(an_event("evt-flooded", "pi_flooded"))
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {service.dojo.authorization}\r\nContent-Type: application/json\r\n"

    with flood(service.ports[0], f"{head}Content-Length: {len(event)}\r\n\r\n{event}") as flooding:
        flooding.await_refusals()
        assert max(map(seconds_of_health, service.ports)) < HEALTHY_SECONDS
        beside = {f"beside-{number}": service.dojo.post("/v1/orders", an_order(f"beside-{number}")).status for number in range(5)}
        flooding.end()
        assert seconds_until(lambda: usual_answers(service) == before) < RECOVERED_SECONDS
        answered = flooding.answered()

    assert_turned_away(answered, usual=200)
    assert set(beside.values()) <= {200, 429, 503}
    stored = {row[0] for row in service.reads.rows("SELECT dojo_order_id FROM orders WHERE dojo_order_id LIKE 'beside-%'")}
    assert stored == {name for name, status in beside.items() if status == 200}
    assert service.dojo.post("/v1/orders", an_order("after")).status == 200
    service.assert_whole()


def test_ten_thousand_copies_of_an_event_leave_one(make):  # D15 I15
    service = make().start()
    created = service.dojo.post("/v1/orders", an_order("storm", intent_id="pi_storm")).json["id"]
    body = json.dumps(an_event("evt-storm", "pi_storm")).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {service.dojo.authorization}\r\nContent-Type: application/json\r\n"
    one = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    assert service.dojo.post("/v1/events", an_event("evt-storm", "pi_storm")).status == 200
    tables = ("inbox", "orders", "payments")
    before = {table: service.reads.rows(f"SELECT count(*) FROM {table}") for table in tables}, service.path_of(created)

    def storm(copies):
        statuses = Counter()
        with socket.create_connection(("127.0.0.1", service.ports[0]), PATIENCE) as connection:
            for _ in range(0, copies, 50):
                connection.sendall(one * 50)  # One after the other would be the client's work more than the service's.
                answered = b""
                while len(found := re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answered)) < 50:
                    piece = connection.recv(65_536)
                    assert piece, "closed"
                    answered += piece
                statuses.update(map(int, found))
        return statuses

    with ThreadPoolExecutor(8) as pool:
        statuses = sum((ended.result() for ended in [pool.submit(storm, 1_250) for _ in range(8)]), Counter())

    assert sum(statuses.values()) == 10_000
    assert set(statuses) <= {200, 429}
    assert ({table: service.reads.rows(f"SELECT count(*) FROM {table}") for table in tables}, service.path_of(created)) == before
    events = [entry for entry in service.entries(created) if entry["kind"] == "event"]
    assert len(events) <= 2
    service.assert_whole()


# When a part of it dies


LAUNCHER = '''
"""The program, in which a call ends its thread the first time that it is made, and which then lives on until it was heard."""

import time
from pathlib import Path

import app
from adapters import health, starting, venue_server
from adapters.dojo.client import DojoClient
from workflow.commands import Sweep
from workflow.engine import Engine
from workflow.journal.sqlite import SqliteJournal
from workflow.upkeep import Upkeep

part = "PART"
supervise = health.Supervisor.__init__


def supervise_until_heard(supervisor, died, end):
    def end_once_heard():
        while not Path("heard").exists():
            time.sleep(0.01)
        end()

    supervise(supervisor, died, end_once_heard)


health.Supervisor.__init__ = supervise_until_heard
health.LAST_WORDS_SECONDS = 0.0


def die(*arguments, **named):
    raise SystemExit


handle = Engine.handle
if part == "worker":
    DojoClient.read_intent = die
if part == "timer":
    Engine.next_due_ms = die
if part == "sweeper":
    Engine.handle = lambda self, command: die() if isinstance(command, Sweep) else handle(self, command)
if part == "watcher":
    Upkeep._watch = die
if part == "gate":
    venue_server._VenueServer._watch_slow_clients = die
if part == "opening":
    starting._Start._may_work = die
if part == "writer":
    SqliteJournal._grow = lambda self, frontier, hashes: die() if hashes else None
if __name__ == "__main__":
    app.main()
'''


@pytest.mark.parametrize(
    ("part", "reason", "name"),
    [
        ("worker", "OUTBOX_DEAD_THREAD", "outbox"),
        ("timer", "OUTBOX_DEAD_THREAD", "outbox"),
        ("sweeper", "OUTBOX_DEAD_THREAD", "outbox"),
        ("watcher", "UPKEEP_DEAD_THREAD", "journal upkeep"),
        ("writer", "WRITER_DEAD", "journal writer"),
    ],
)
def test_a_thread_that_dies_makes_it_unready_and_then_ends_the_process(make, part, reason, name):  # K13 I20
    service = make(SWEEP_S=1)
    (service.folder / "launcher.py").write_text(LAUNCHER.replace("PART", part))
    service.program = "launcher"
    service.launch()
    eventually(lambda: any(line["event"] == "serving" for line in service.log()))
    if part in {"worker", "writer"}:
        with suppress(OSError):
            service.dojo.post("/v1/orders", an_order("last", intent_id="pi_last"))
            service.dojo.post("/v1/events", an_event("evt-last", "pi_last"))

    assert eventually(lambda: reply if (reply := service.open.get("/readyz")).status == 503 else None).json == {"reasons": [reason]}
    eventually(lambda: f'tillproof_dead_parts{{part="{name}"}} 1.0' in service.open.get("/metrics").body.decode())
    (service.folder / "heard").touch()
    assert service.exit_code() == 1
    [said] = [line for line in service.log() if line["event"] == "ending: a part of the process died"]
    assert (said["level"], said["parts"], "tillproof serve" in said["next"]) == ("CRITICAL", name, True)


def test_a_venues_side_that_can_no_longer_be_asked_ends_the_process(make):  # K13
    service = make()
    (service.folder / "launcher.py").write_text(LAUNCHER.replace("PART", "gate"))
    (service.folder / "heard").touch()
    service.program = "launcher"

    service.launch()

    assert service.exit_code(4 * PATIENCE) == 1
    assert [line["parts"] for line in service.log() if line["event"] == "ending: a part of the process died"] == ["venue's side"]


def test_a_start_that_waits_for_its_journal_and_no_longer_tries_to_open_it_ends_the_process(make):  # K13
    service = make()
    service.witness.write_text(f"1 {'0' * 64}\n")  # The journal lacks what it saw: nothing is served until it is whole.
    (service.folder / "launcher.py").write_text(LAUNCHER.replace("PART", "opening"))
    service.program = "launcher"

    service.launch()

    said = eventually(lambda: [line["parts"] for line in service.log() if line["event"] == "ending: a part of the process died"])
    assert said == ["journal opening"]
    refused = service.open.get("/readyz")
    assert (refused.status, refused.json["reasons"]) == (503, ["HEAD_REGRESSED"])
    (service.folder / "heard").touch()
    assert service.exit_code() == 1


# Orders to stop


def test_sigterm_under_everything_that_waits_ends_in_time_and_answers_what_it_can(make):  # K16 I1
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, ExitStack() as slow:
        service = make(f"http://127.0.0.1:{silent.getsockname()[1]}", CALL_DEADLINE_MS=60_000).start()
        order = service.dojo.post("/v1/orders", an_order("kept", intent_id="pi_kept")).json["id"]
        service.dojo.post("/v1/events", an_event("evt-kept", "pi_kept"))
        for port in service.ports:
            for kind in ("idle", "header"):
                slow.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)).sendall(UNFINISHED[kind].encode())
        stalled = UNFINISHED["body"].replace("{orders}", "/v1/orders").replace("{right}", service.dojo.authorization)
        slow.enter_context(socket.create_connection(("127.0.0.1", service.ports[0]), PATIENCE)).sendall(stalled.encode())
        newest = service.till.get("/till/feed?after=0&limit=500").json["after"]
        with closing(http.client.HTTPConnection("127.0.0.1", service.ports[1], timeout=PATIENCE)) as polling:
            polling.request("GET", f"/till/feed?after={newest}&wait=30", headers={"Authorization": service.till.authorization})
            assert service.open.get("/healthz").status == 200  # Connections are taken in their order: that one was before.
            began = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - began < 10
            answer = polling.getresponse()
            assert (answer.status, json.loads(answer.read())["data"]) == (200, [])
    assert [line for line in service.log() if line["event"] == "worker killed"] == []
    assert service.reads.order(order).order.state == "captured"
    service.assert_whole()


# Other servers


def test_importing_the_program_opens_nothing_and_starts_nothing(tmp_path):  # P3
    program = "import threading, app; print(threading.active_count(), [name for name in ('app', 'application') if name in vars(app)])"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment({}), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert ended.stdout == "1 []\n"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_forks_is_refused_before_anything_is_opened(tmp_path):  # P3
    program = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--workers",
        "2",
        "--port",
        "0",
        "--working-dir",
        str(ROOT),
        "app:app",
    ]
    ended = subprocess.run(program, cwd=tmp_path, env=environment({}), capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert ended.returncode != 0
    assert "no application for another server: run tillproof serve" in ended.stdout + ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_journal_that_was_opened_before_a_fork_takes_nothing_from_the_child(tmp_path):  # P3
    venue = Venue(tmp_path)
    try:
        assert isinstance(venue.journal, SqliteJournal)
        if (child := os.fork()) == 0:  # Nothing of the parent's may be torn down here.
            try:
                venue.journal.write(lambda transaction: transaction.touch())
            except JournalUnavailable:
                os._exit(17)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
        venue.journal.write(lambda transaction: transaction.touch())
    finally:
        venue.close()
