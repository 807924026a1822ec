"""Call-backs to the till over real HTTP: a little till that listens, and the service as a process of its own."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from adapters.sandbox import Sandbox, basket_of
from tests.contract.running import (
    KEY,
    ROOT,
    a_bill,
    an_event,
    an_order,
    eventually,
    free_port,
    register,
    running,
)
from workflow.money import Money

SECRET = "a secret of forty characters, and an é"
PATH = "/hooks/tillproof"
SECONDS, HANGS_SECONDS = 60, 60
UNHURRIED = {"CALL_DEADLINE_MS": 90_000, "LEASE_S": 120}
"""No call is given up here, and made again, because the machine was slow."""

_spec = importlib.util.spec_from_file_location("example_till", ROOT / "docs" / "example_till.py")
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)


class Call:
    """One call-back as it came."""

    def __init__(self, path, headers, raw):
        self.path, self.headers, self.raw, self.at = path, headers, raw, time.time()
        self.signature, self.news = headers.get("Tillproof-Signature", ""), json.loads(raw)


class Till:
    """A till that listens. `answers` are what its next calls get: a status, headers too, or something to wait for first; then 204."""

    def __init__(self, port=0):
        self.calls, self.answers, self.always = [], [], None
        self.at_once, self.most_at_once, self._changed = {}, {}, threading.Lock()
        till = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                till.serve(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{PATH}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def serve(self, request):
        call = Call(request.path, dict(request.headers), request.rfile.read(int(request.headers["Content-Length"])))
        order_id = call.news["orderId"]
        with self._changed:
            self.calls.append(call)
            self.at_once[order_id] = self.at_once.get(order_id, 0) + 1
            self.most_at_once[order_id] = max(self.most_at_once.get(order_id, 0), self.at_once[order_id])
            answer = self.always or (self.answers.pop(0) if self.answers else 204)
        if isinstance(answer, threading.Event):
            answer.wait(HANGS_SECONDS)
            answer = 204
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        with self._changed:
            self.at_once[order_id] -= 1
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def about(self, order_id):
        with self._changed:
            return [call for call in self.calls if call.news["orderId"] == order_id]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(SECONDS)


@pytest.fixture
def till():
    till = Till()
    yield till
    till.stop()


@pytest.fixture
def service(tmp_path, till):
    """A service that calls the till; Dojo is out of reach."""
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, **UNHURRIED) as service:
        yield service


def from_dojo(service, name, **options):
    """An order that Dojo creates, to be paid later; its id."""
    reply = service.dojo.post("/v1/orders", an_order(name, **options))
    assert reply.status == 200, reply.body
    return reply.json["id"]


def tells(service, order_id):
    return [task for task in service.tasks(order_id) if task["effect"] == "tell_till"]


def told(service, order_id):
    """The tasks of the order that tell the till, once all are done."""
    return eventually(lambda: tasks if (tasks := tells(service, order_id)) and {task["status"] for task in tasks} == {"done"} else None)


def position(call):
    return call.news["orderSeq"]


# What a call-back is


def test_a_new_order_of_dojos_is_told_to_the_till_signed_and_as_the_feed_shows_it(service, till):
    order_id = from_dojo(service, "d-1", displayName="Table 5")
    told(service, order_id)
    (call,) = till.about(order_id)
    (shown,) = {json.dumps(item["order"]) for item in service.till.get("/till/feed").json["data"] if item["orderId"] == order_id}
    first = service.entries(order_id)[-1]["order_seq"]

    assert call.path == PATH
    assert call.headers["Content-Type"] == "application/json"
    assert example.is_genuine(call.raw, call.signature, SECRET, time.time())
    assert (call.news["type"], call.news["orderId"], call.news["order"]) == ("order.changed", order_id, json.loads(shown))
    assert set(call.news) == {"id", "type", "orderId", "orderSeq", "order"}
    assert 0 < call.news["orderSeq"] < first  # The end of the call itself is the newest entry.


def test_a_signature_is_good_for_its_secret_its_bytes_and_its_time_alone(service, till):
    order_id = from_dojo(service, "d-1")
    told(service, order_id)
    (call,) = till.about(order_id)
    signed_at = int(call.signature.partition(",")[0].removeprefix("t="))

    assert abs(signed_at - call.at) <= 60
    assert example.is_genuine(call.raw, call.signature, SECRET, signed_at + 300)
    assert not example.is_genuine(call.raw, call.signature, SECRET, signed_at + 301)
    assert not example.is_genuine(call.raw, call.signature, SECRET, signed_at - 301)
    assert not example.is_genuine(call.raw, call.signature, SECRET + "x", signed_at)
    assert not example.is_genuine(call.raw + b" ", call.signature, SECRET, signed_at)
    assert not example.is_genuine(call.raw, call.signature.replace(f"t={signed_at}", f"t={signed_at + 1}"), SECRET, signed_at)
    for forged in ("", "t=,v1=", "v1=é", f"t={signed_at}", "t=" + "9" * 5000 + ",v1=" + "0" * 64):
        assert not example.is_genuine(call.raw, forged, SECRET, signed_at)


def test_no_secret_goes_out_and_the_log_has_no_bodies(service, till):
    order_id = from_dojo(service, "d-1", displayName="Ada Lovelace")
    told(service, order_id)
    (call,) = till.about(order_id)

    assert "Authorization" not in call.headers
    assert not [header for header in call.headers.values() if SECRET in header or KEY in header]
    log = service.log_path.read_text()
    assert SECRET not in log
    assert "Lovelace" not in log
    assert call.signature not in log


def test_what_the_till_asked_for_itself_is_not_told_to_it(service, till):
    opened = service.till.post("/till/orders", a_bill()).json["id"]
    assert service.till.call("PUT", f"/till/orders/{opened}", a_bill(total=1500)).status == 200
    assert service.till.post(f"/till/orders/{opened}/status", {"status": "Preparing"}).status == 200
    assert service.till.post(f"/till/orders/{opened}/refuse", {"reason": "no more dough"}).status == 200
    other = from_dojo(service, "d-1")
    told(service, other)

    assert till.about(opened) == []
    assert tells(service, opened) == []


def test_a_cancellation_is_told_to_the_till(service, till):
    order_id = from_dojo(service, "d-1")
    told(service, order_id)
    service.dojo.call("DELETE", f"/v1/orders/{order_id}")
    eventually(lambda: len(till.about(order_id)) == 2)

    assert [call.news["order"]["status"] for call in till.about(order_id)] == ["Submitted", "Canceled"]


def test_nothing_is_sent_where_no_address_is_set(tmp_path, till):
    with running(tmp_path) as service:
        order_id = from_dojo(service, "d-1")
        service.dojo.call("DELETE", f"/v1/orders/{order_id}")
        assert tells(service, order_id) == []
        service.assert_whole()
    assert till.calls == []


# How often


def test_a_healthy_till_hears_of_each_change_once_and_in_its_order(service, till):
    order_ids = [from_dojo(service, f"d-{number}") for number in range(10)]
    for order_id in order_ids:
        told(service, order_id)
    for order_id in order_ids:
        service.dojo.call("DELETE", f"/v1/orders/{order_id}")
    eventually(lambda: len(till.calls) >= 20)
    for order_id in order_ids:
        told(service, order_id)

    assert len(till.calls) == 20
    assert len({call.news["id"] for call in till.calls}) == 20
    for order_id in order_ids:
        first, last = till.about(order_id)
        assert position(first) < position(last)
    service.assert_whole()


@pytest.mark.parametrize("answer", [500, 503, 404, 408, 429, 302], ids=str)
def test_news_that_the_till_did_not_take_come_again_under_the_same_id(service, till, answer):
    till.answers = [answer, answer]
    order_id = from_dojo(service, "d-1")
    (task,) = told(service, order_id)
    calls = till.about(order_id)

    assert task["attempts"] == 3
    assert len(calls) == 3
    assert len({call.news["id"] for call in calls}) == 1
    assert all(example.is_genuine(call.raw, call.signature, SECRET, call.at) for call in calls)


def test_news_that_got_no_answer_come_again_under_the_same_id(tmp_path, till):
    hold = threading.Event()
    till.answers = [hold]
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, CALL_DEADLINE_MS=200) as service:
        order_id = from_dojo(service, "d-1")
        told(service, order_id)
        hold.set()

    calls = till.about(order_id)
    assert len(calls) > 1
    assert len({call.news["id"] for call in calls}) == 1


def test_news_for_a_till_that_is_away_wait_for_it(tmp_path):
    port = free_port()
    with running(tmp_path, TILL_URL=f"http://127.0.0.1:{port}{PATH}", TILL_SECRET=SECRET, **UNHURRIED) as service:
        order_id = from_dojo(service, "d-1")
        eventually(lambda: tells(service, order_id)[0]["attempts"] >= 2)
        eventually(lambda: "refused" in tells(service, order_id)[0]["lastError"])
        till = Till(port)
        told(service, order_id)
        till.stop()
    assert len(till.about(order_id)) == 1


def test_newer_news_join_those_that_wait_and_have_an_id_of_their_own(tmp_path, till):
    till.answers = [503]
    waits = {"RETRY_BASE_MS": 3_600_000, "RETRY_CAP_MS": 3_600_000}  # Until a person wants it tried.
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, **UNHURRIED, **waits) as service:
        order_id = from_dojo(service, "d-1")
        (task,) = eventually(lambda: [task for task in tells(service, order_id) if task["attempts"] and task["status"] == "pending"])
        service.dojo.call("DELETE", f"/v1/orders/{order_id}")
        assert service.operator.post(f"/api/outbox/{task['id']}/requeue", {"reason": "it is open again"}).status == 200
        assert [each["id"] for each in told(service, order_id)] == [task["id"]]
        first, second = till.about(order_id)

    assert (second.news["order"]["status"], position(first) < position(second)) == ("Canceled", True)
    assert second.news["id"] != first.news["id"]


def test_an_order_is_told_of_once_at_a_time_and_never_backwards_whatever_fails(tmp_path, till):
    till.answers = [500, 204, 503, 204, 500, 500] * 4
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, **UNHURRIED) as service:
        order_ids = [from_dojo(service, f"d-{number}") for number in range(8)]
        for order_id in order_ids:
            service.dojo.call("DELETE", f"/v1/orders/{order_id}")
        for order_id in order_ids:
            told(service, order_id)
        service.assert_whole()

    assert set(till.most_at_once.values()) == {1}
    for order_id in order_ids:
        positions = [position(call) for call in till.about(order_id)]
        assert positions == sorted(positions)
        assert till.about(order_id)[-1].news["order"]["status"] == "Canceled"


def test_what_was_waiting_is_delivered_after_a_restart(tmp_path, till):
    till.always = 503
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, **UNHURRIED) as service:
        order_ids = [from_dojo(service, f"d-{number}") for number in range(3)]
        eventually(lambda: all(till.about(order_id) for order_id in order_ids))
        assert service.stop() == 0
        before, till.always = len(till.calls), None
        service.start()
        for order_id in order_ids:
            told(service, order_id)
        service.assert_whole()

    assert sorted(call.news["orderId"] for call in till.calls[before:]) == sorted(order_ids)


def test_a_call_that_was_under_way_when_the_service_was_killed_is_made_again_and_counted(tmp_path, till):  # K5
    hold = threading.Event()
    till.answers = [hold]
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, **UNHURRIED) as service:
        order_id = from_dojo(service, "d-1")
        eventually(lambda: till.about(order_id))
        service.kill()
        hold.set()
        service.start()
        told(service, order_id)
        service.assert_whole()
        assert 'tillproof_redeliveries_total{effect="tell_till"} 1.0' in service.open.get("/metrics").body.decode()

    first, second = till.about(order_id)
    assert first.news["id"] == second.news["id"]


# A till that says no


@pytest.mark.parametrize("status", [401, 403])
def test_a_till_that_refuses_us_is_probed_and_hears_everything_once_it_does_not(service, till, status):
    till.always = status
    order_ids = [from_dojo(service, f"d-{number}") for number in range(3)]
    found = eventually(lambda: service.auditor.get("/api/attention").json["data"])
    assert [(item["code"], item["orderId"]) for item in found] == [("TILL_AUTH", "")]
    assert "TILL_SECRET" in found[0]["next"]
    eventually(lambda: {task["status"] for order_id in order_ids for task in tells(service, order_id)} == {"paused"})
    till.always = None
    for order_id in order_ids:
        told(service, order_id)

    eventually(lambda: service.auditor.get("/api/attention").json["data"] == [])
    service.assert_whole()


def test_news_that_the_till_refuses_for_good_are_given_up_and_an_operator_sends_them_again(service, till):
    till.answers = [400]
    order_id = from_dojo(service, "d-1")
    attention = eventually(lambda: service.order(order_id)["attention"])
    (task,) = tells(service, order_id)
    assert ([item["code"] for item in attention], task["status"], task["attempts"]) == (["OUTBOX_DEAD"], "dead", 1)

    assert service.operator.post(f"/api/outbox/{task['id']}/requeue", {"reason": "the till was updated"}).status == 200
    told(service, order_id)
    first, second = till.about(order_id)
    assert first.news["id"] == second.news["id"]
    assert service.order(order_id)["attention"] == []


def test_neither_a_redirect_nor_a_proxy_of_the_environment_leads_elsewhere(tmp_path, till, monkeypatch):
    elsewhere = Till()
    monkeypatch.setenv("http_proxy", elsewhere.url)
    till.answers = [(307, {"Location": elsewhere.url}), (302, {"Location": elsewhere.url})]
    with running(tmp_path, TILL_URL=till.url, TILL_SECRET=SECRET, **UNHURRIED) as service:
        order_id = from_dojo(service, "d-1")
        told(service, order_id)
    elsewhere.stop()

    assert len(till.about(order_id)) == 3
    assert elsewhere.calls == []


# Neither waits for the other


@pytest.fixture
def dojo():
    sandbox = Sandbox(api_key=KEY, step_seconds=SECONDS, event_back_off_seconds=0.02)
    sandbox.start()
    yield sandbox
    sandbox.stop()


def pays_with(service, dojo):
    """An order that Dojo creates and captures; its id once it is updated, and how long that took."""
    began = time.monotonic()
    result = dojo.order_and_pay(basket_of(Money(1200, "GBP")), channels="capability")
    assert (result.state, result.reason) == ("done", "")
    service.await_state(result.order_id, "updated")
    return result.order_id, time.monotonic() - began


def test_a_till_that_hangs_delays_nothing_for_dojo(tmp_path, till, dojo):
    hold = threading.Event()
    till.always = hold
    given = {"TILL_URL": till.url, "TILL_SECRET": SECRET, "OUTBOUND_WORKERS": 1}
    with running(tmp_path, dojo.url, **given, **UNHURRIED) as service:
        register(service, dojo)
        for number in range(6):  # More than there are workers for the till.
            from_dojo(service, f"d-{number}")
        eventually(lambda: len(till.calls) >= 4)
        order_id, seconds = pays_with(service, dojo)
        waiting = {task["status"] for task in tells(service, order_id)}
        hold.set()
        told(service, order_id)

    assert waiting <= {"pending", "leased"}
    assert seconds < 30


@pytest.mark.parametrize("status", [401, 400, 500])
def test_a_till_that_does_not_take_its_calls_delays_nothing_for_dojo(tmp_path, till, dojo, status):
    till.always = status
    with running(tmp_path, dojo.url, TILL_URL=till.url, TILL_SECRET=SECRET) as service:
        register(service, dojo)
        order_ids = [pays_with(service, dojo)[0] for _ in range(3)]
        effects = {task["effect"]: task["status"] for order_id in order_ids for task in service.tasks(order_id)}
        service.assert_whole()

    assert (effects["order_updated"], effects["read_intent"]) == ("done", "done")
    assert effects["tell_till"] != "done"


def test_the_till_hears_of_orders_while_dojo_is_away_or_refuses_our_key(tmp_path, till, dojo):
    with running(tmp_path, dojo.url, TILL_URL=till.url, TILL_SECRET=SECRET, DOJO_API_KEY="sk_sandbox_wrong") as service:
        opened = service.till.post("/till/orders", a_bill()).json["id"]
        eventually(lambda: [item["code"] for item in service.auditor.get("/api/attention").json["data"]] == ["DOJO_AUTH"])
        told(service, from_dojo(service, "d-1"))
        eventually(lambda: {task["status"] for task in service.tasks(opened)} == {"paused"})  # One at a time is tried in between.


def test_the_till_is_told_of_a_payment_of_its_own_bill(tmp_path, till, dojo):
    with running(tmp_path, dojo.url, TILL_URL=till.url, TILL_SECRET=SECRET) as service:
        register(service, dojo)
        opened = service.till.post("/till/orders", a_bill(total=1500, table="tbl_9")).json["id"]
        assert dojo.pay_only("tbl_9", channels="capability").reason == ""
        service.await_state(opened, "updated")
        told(service, opened)
        newest = max(till.about(opened), key=position).news
        service.assert_whole()

    assert (newest["order"]["paidAmount"]["value"], newest["order"]["payable"]) == (1500, False)


def test_an_event_that_changes_nothing_for_the_till_brings_no_call(service, till):
    order_id = from_dojo(service, "d-1", intent_id="pi_1")
    told(service, order_id)
    assert service.dojo.post("/v1/events", an_event("evt_1", "pi_1")).status == 200
    eventually(lambda: [task for task in service.tasks(order_id) if task["effect"] == "read_intent"])

    assert len(tells(service, order_id)) == 1
