"""A real outbox and a real client before a Dojo that misbehaves on real sockets: what becomes of order, task, next attempt and attention.

The clock is moved by hand, so that no wait takes any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from functools import partial

import pytest
from misbehaving_server import Behaviour, MisbehavingServer, answer, drip, hang_up, message, raw, reset, silence
from prometheus_client import generate_latest
from test_outbox_threads import PATIENCE, Sending, until

import app
from adapters.callers import count_call
from adapters.dojo import DojoClient, DojoSettings
from adapters.health import Health
from adapters.metrics import Metrics
from adapters.settings import read_settings
from tests.contract.running import free_port
from workflow.commands import EffectTaken, IntentRead, Result
from workflow.conduct import ALIKE_REFUSALS
from workflow.effects import Task
from workflow.ports import IntentId, OrderId
from workflow.replay import replay
from workflow.retries import NOT_FOUND_RETRIES

KEY = "sk_sandbox_misbehaves"
INTENT = {
    "id": "pi_1",
    "status": "Captured",
    "captureMode": "Auto",
    "amount": {"value": 1000, "currencyCode": "GBP"},
    "totalAmount": {"value": 1000, "currencyCode": "GBP"},
    "createdAt": "2026-03-14T12:00:00Z",
    "updatedAt": "2026-03-14T12:01:00Z",
}
GOOD = json.dumps(INTENT)
WELL = (answer(200, INTENT), answer(200, {"eventType": "OrderUpdated"}))
"""A read and an announcement as they should be answered."""


class Wire:
    """The outbox's senders over HTTP, at an address that a test may change."""

    def __init__(self, url: str, deadline_ms: int = 10_000) -> None:
        self.client = DojoClient(DojoSettings(url=url, api_key=KEY, deadline_ms=deadline_ms))

    def read_intent(self, task: Task) -> Result:
        return IntentRead(task=task, intent=self.client.read_intent(IntentId(task.intent_id)))

    def order_updated(self, task: Task) -> Result:
        self.client.send_order_updated(OrderId(task.order_id))
        return EffectTaken(task=task)


@pytest.fixture
def venue_at(tmp_path):
    """Makes a venue whose outbox calls the address; its workers are one, its waits as long as they may be."""
    made = []

    def make(url: str, deadline_ms: int = 10_000) -> Sending:
        venue = Sending(tmp_path, Wire(url, deadline_ms))
        made.append(venue)
        venue.send(workers=1)
        return venue

    yield make
    for venue in made:
        venue.close()
        assert replay(venue.reads).ok
        venue.dojo.client.close()


@contextmanager
def dojo(*behaviours: Behaviour, tls=None):
    with MisbehavingServer(*behaviours, tls=tls) as server:
        yield server


def be_patient(venue: Sending) -> None:
    """What only the deadline ended was ended: what comes now is answered, be it late."""
    venue.dojo.client._line._seconds = PATIENCE


def captured(venue: Sending) -> None:
    """An order whose payment is said to be captured: it is to be read."""
    venue.create()
    venue.event("pi_1", "Captured")


def tasks(venue: Sending):
    return venue.reads.tasks(None, 1000)


def attempted(venue: Sending, attempts: int, status: str = "pending"):
    """The one task once it waits after so many attempts."""

    def found():
        return [task for task in tasks(venue) if (task.status, task.attempts) == (status, attempts)]

    until(found)
    return found()[0]


def attention(venue: Sending) -> list[str]:
    return [item.code for item in venue.reads.attention()]


def waits_ms(venue: Sending) -> int:
    [(at_ms,)] = venue.reads.rows("SELECT next_at_ms FROM outbox WHERE status IN ('pending', 'paused')")
    return at_ms - venue.engine.now_ms()


def settled(venue: Sending) -> None:
    until(lambda: venue.order().state == "updated" and not venue.due())
    assert (venue.order().paid.value, venue.order().attention) == (1000, ())


def json_of(text: str) -> Behaviour:
    return answer(200, text.encode(), content_type="application/json")


HOLDS: dict[str, tuple[Behaviour, int]] = {
    # name: (what Dojo does, how long the task waits then: the whole first back-off, or what Dojo asks for)
    **{str(status): (answer(status), 500) for status in (500, 502, 503, 504)},  # U1
    "503 with Retry-After": (answer(503, retry_after="90"), 90_000),
    "429": (answer(429), 500),  # U2
    "429 in seconds": (answer(429, retry_after="120"), 120_000),
    "429 at once": (answer(429, retry_after="0"), 500),
    "429 negative": (answer(429, retry_after="-5"), 500),
    "429 nonsense": (answer(429, retry_after="soon"), 500),
    "429 for a day": (answer(429, retry_after="86400"), 3_600_000),
    "429 for ever": (answer(429, retry_after="9" * 400), 3_600_000),
    "429 in the past": (answer(429, retry_after="Sat, 14 Mar 2020 12:00:00 GMT"), 500),
    "429 in a thousand years": (answer(429, retry_after="Sat, 14 Mar 3026 12:00:00 GMT"), 3_600_000),
    "409": (answer(409), 500),  # U7, of a read
    "half open": (silence, 500),  # U9
    "drip of the body": (drip(message(200, content_length="500"), b"{" * 500, 0.04), 500),  # U10
    "drip of the headers": (drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 90, 0.04), 500),
    "garbage": (answer(200, b"ok"), 500),  # U11
    "HTML": (answer(200, b"<!doctype html><title>Sign in</title>", content_type="text/html"), 500),
    "empty": (answer(200), 500),
    "no content": (answer(204), 500),
    "truncated JSON": (json_of(GOOD[:40]), 500),
    "truncated answer": (raw(message(200, GOOD.encode(), content_length="999")), 500),
    "charset": (answer(200, GOOD.encode("utf-16"), content_type="application/json; charset=utf-16"), 500),
    "another intent": (answer(200, INTENT | {"id": "pi_2"}), 500),
    "301": (answer(301, location="http://127.0.0.1:1/"), 500),  # U13
    "302": (answer(302, location="http://127.0.0.1:1/"), 500),
    "307": (answer(307, location="http://127.0.0.1:1/"), 500),
    "NaN": (json_of(GOOD.replace("1000", "NaN")), 500),  # U14
    "duplicate key": (json_of(GOOD.replace('"status"', '"status": "Created", "status"')), 500),
    "depth 10,000": (json_of(GOOD.replace('"Auto"', "[" * 10_000 + "]" * 10_000)), 500),
    "10^400": (json_of(GOOD.replace("1000", "1" + "0" * 400)), 500),
    "closed": (hang_up, 500),  # U16
    "reset": (reset, 500),
}

DEADLINES_MS = dict.fromkeys(("half open", "drip of the body", "drip of the headers"), 1_000)
"""What only the deadline ends is given a short one."""


@pytest.mark.parametrize("kind", HOLDS)
def test_a_read_that_goes_wrong_holds_the_order_waits_and_is_made_again(venue_at, kind):  # U1 U2 U7 U9 U10 U11 U13 U14 U16
    behaviour, wait_ms = HOLDS[kind]
    with dojo(behaviour, *WELL) as server:
        venue = venue_at(server.url, DEADLINES_MS.get(kind, 10_000))
        captured(venue)
        task = attempted(venue, 1)
        assert (venue.order().state, venue.order().paid.value, task.status) == ("captured", 0, "pending")
        assert waits_ms(venue) == wait_ms
        be_patient(venue)
        venue.later(wait_ms / 1000 - 0.001)
        assert len(server.seen) == 1
        venue.later(0.001)
        settled(venue)


@pytest.mark.parametrize("kind", ["500", "429 in seconds", "half open", "drip of the body", "garbage", "302", "closed", "reset"])
def test_an_announcement_that_goes_wrong_is_sent_again_and_no_other_call_with_it(venue_at, kind):  # U1 U2 U9 U10 U13 U16
    behaviour, wait_ms = HOLDS[kind]
    with dojo(WELL[0], behaviour, WELL[1]) as server:
        venue = venue_at(server.url, DEADLINES_MS.get(kind, 10_000))
        captured(venue)
        attempted(venue, 1)
        assert (venue.order().state, venue.order().paid.value) == ("reconciled", 1000)
        be_patient(venue)
        venue.later(wait_ms / 1000)
        settled(venue)
        assert [seen.method for seen in server.seen] == ["GET", "POST", "POST"]


def test_a_date_in_retry_after_is_waited_for(venue_at):  # U2
    with dojo(WELL[0]) as server:
        venue = venue_at(server.url)
        # The client's clock is the machine's, whose seconds a date can name; the task waits on the venue's.
        moment = venue.dojo.client._clock.now() + timedelta(seconds=600)
        server.behaviours[:] = [answer(429, retry_after=format_datetime(moment, usegmt=True)), *WELL]
        captured(venue)
        attempted(venue, 1)
        assert 500_000 < waits_ms(venue) <= 600_000
        venue.later(600)
        settled(venue)


UNREACHABLE: dict[str, Callable[[], str]] = {
    "refused": lambda: f"http://127.0.0.1:{free_port()}",
    "DNS": lambda: f"http://{'x' * 64}.invalid",
}


@pytest.mark.parametrize("kind", [*UNREACHABLE, "TLS"])
def test_a_dojo_that_is_not_reached_is_tried_again_and_the_circuit_says_so(venue_at, kind):  # U8
    with dojo(*WELL) as server:
        venue = venue_at(server.url.replace("http", "https") if kind == "TLS" else UNREACHABLE[kind]())
        captured(venue)
        attempted(venue, 1)
        assert (venue.order().state, venue.order().paid.value, server.seen) == ("captured", 0, [])
        assert figure(venue, 'tillproof_circuit_open{destination="dojo"}') == 1
        venue.dojo.client.close()
        venue.dojo.client = Wire(server.url).client
        venue.later(0.5)
        settled(venue)
        assert figure(venue, 'tillproof_circuit_open{destination="dojo"}') == 0


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_pause_everything_and_a_probe_a_minute_finds_out_when_they_are_accepted(venue_at, status):  # U4
    with dojo(answer(status)) as server:
        venue = venue_at(server.url)
        captured(venue)
        for number in range(3):
            venue.open(f"o{number + 2}")
        until(lambda: {task.status for task in tasks(venue)} == {"paused"})
        assert (attention(venue), venue.order().state, venue.order().paid.value) == (["DOJO_AUTH"], "captured", 0)
        calls = len(server.seen)
        for probe in (1, 2):
            venue.later(59.999)
            assert len(server.seen) == calls + probe - 1
            venue.later(0.001)
            until(lambda probe=probe: len(server.seen) == calls + probe and {task.status for task in tasks(venue)} == {"paused"})
        server.behaviours[:] = [by_method]
        venue.later(60)
        until(lambda: {task.status for task in tasks(venue)} == {"done"})
        assert (venue.order().state, attention(venue)) == ("updated", [])


def by_method(connection) -> None:
    """Whatever is asked is answered well."""
    connection.send(message(200, INTENT | {"eventType": "OrderUpdated"}))


@pytest.mark.parametrize("status", [400, 409, 422])
def test_an_announcement_that_is_refused_is_given_up_at_once_and_calls_a_person(venue_at, status):  # U5 U7
    with dojo(answer(status, {"title": "No such order"})) as server:
        venue = venue_at(server.url)
        venue.open()
        task = attempted(venue, 1, "dead")
        assert f"POST /epos/events: {status} No such order" in task.last_error
        assert attention(venue) == ["OUTBOX_DEAD"]
        venue.later(3600)
        assert len(server.seen) == 1


def test_an_intent_that_dojo_does_not_know_is_asked_for_seven_times_and_then_calls_a_person(venue_at):  # U6
    def no_intent(connection) -> None:
        is_read = server.seen[-1].method == "GET"
        connection.send(message(404) if is_read else message(200, {"eventType": "OrderUpdated"}))

    with dojo(no_intent) as server:
        venue = venue_at(server.url)
        captured(venue)
        for attempt in range(1, NOT_FOUND_RETRIES + 1):
            attempted(venue, attempt)
            assert attention(venue) == []
            venue.later(waits_ms(venue) / 1000)
        attempted(venue, NOT_FOUND_RETRIES + 1, "dead")
        assert (venue.order().state, venue.order().paid.value, attention(venue)) == ("captured", 0, ["INTENT_NOT_FOUND"])
        until(lambda: venue.tasks_by("done"))  # What is told of the order has changed: nothing is reserved by that intent any more.
        assert [seen.target for seen in server.seen] == ["/payment-intents/pi_1?returnCanceled=true"] * 7 + ["/epos/events"]


def test_who_refuses_us_is_asked_again_each_minute_by_the_program_as_it_is_set_up():  # U4 U20
    assert app._probe_ms(read_settings({}, None)) == 60_000


@pytest.mark.parametrize("kind", ["garbage", "HTML", "empty", "truncated JSON", "truncated answer", "charset", "another intent", "NaN"])
def test_answers_that_stay_unreadable_call_a_person_at_the_fifth_until_one_can_be_read(venue_at, kind):  # U11
    with dojo(HOLDS[kind][0]) as server:
        venue = venue_at(server.url)
        captured(venue)
        for attempt in range(1, 6):
            attempted(venue, attempt)
            if attempt < 5:
                assert attention(venue) == []
                venue.later(waits_ms(venue) / 1000)
        assert (attention(venue), venue.order().state, venue.order().paid.value) == (["DOJO_GARBAGE"], "captured", 0)
        server.behaviours[:] = [*WELL]
        venue.later(waits_ms(venue) / 1000)
        settled(venue)
        assert attention(venue) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_calls_a_person_and_takes_no_key_elsewhere(venue_at, status):  # U13
    with dojo(by_method) as evil, dojo(answer(status, location=f"{evil.url}/steal"), *WELL) as server:
        venue = venue_at(server.url)
        captured(venue)
        attempted(venue, 1)
        assert (attention(venue), venue.order().state) == (["REDIRECT"], "captured")
        venue.later(0.5)
        settled(venue)
        assert (attention(venue), evil.connections) == ([], [])


def test_a_dojo_that_refuses_every_call_alike_pauses_and_no_order_is_given_up(venue_at):  # U20
    refusal = answer(400, {"title": "Unsupported version"})
    with dojo(refusal) as server:
        venue = venue_at(server.url)
        for number in range(ALIKE_REFUSALS):
            venue.open(f"o{number}")
        until(lambda: attention(venue) == ["DOJO_CONTRACT"])
        assert {task.status for task in tasks(venue)} == {"paused"}
        [item] = venue.reads.attention()
        assert "20 calls in a row were refused alike" in item.detail
        assert "400 Unsupported version" in item.detail
        assert figure(venue, 'tillproof_circuit_open{destination="dojo"}') == 1
        assert figure(venue, 'tillproof_outbox_backlog{destination="dojo"}') == ALIKE_REFUSALS
        venue.later(60)
        until(lambda: len(server.seen) == ALIKE_REFUSALS + 1 and {task.status for task in tasks(venue)} == {"paused"})
        server.behaviours[:] = [by_method]
        venue.later(60)
        until(lambda: {task.status for task in tasks(venue)} == {"done"})
        assert attention(venue) == []
        assert len(server.seen) == 2 * ALIKE_REFUSALS + 1


def metrics_of(venue: Sending) -> Metrics:
    health = Health(condition=venue.journal.condition, dead=list, verified=lambda: None, wal_bytes=venue.journal.wal_bytes)
    return Metrics(venue.reads, health, venue.clock, venue.engine.now_ms)


def figure(venue: Sending, name: str) -> float:
    lines = generate_latest(metrics_of(venue).registry).decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))


def test_calls_are_counted_by_how_they_were_answered(venue_at):  # U2
    with dojo(answer(429, retry_after="1"), *WELL) as server:
        venue = venue_at(server.url)
        metrics = metrics_of(venue)
        venue.dojo.client._line._on_call = partial(count_call, metrics)
        captured(venue)
        attempted(venue, 1)
        venue.later(1)
        settled(venue)
    text = generate_latest(metrics.registry).decode()
    for result in ("429", "200"):
        assert f'tillproof_attempts_total{{result="{result}",target="payment-intents"}} 1.0' in text


def test_what_waits_and_since_when_can_be_measured(venue_at):  # U1 U18
    with dojo(answer(503)) as server:
        venue = venue_at(server.url)
        captured(venue)
        attempted(venue, 1)
        venue.clock.moment -= timedelta(days=3)  # No age is by the wall clock.
        venue.clock.move(0.4)
        assert figure(venue, 'tillproof_outbox_oldest_seconds{destination="dojo"}') == 0.4
        assert figure(venue, 'tillproof_outbox_backlog{destination="dojo"}') == 1
        assert figure(venue, 'tillproof_outbox_backlog{destination="till"}') == 0
        server.behaviours[:] = [*WELL]
        venue.later(0.1)
        settled(venue)
        assert figure(venue, 'tillproof_outbox_oldest_seconds{destination="dojo"}') == 0
        assert figure(venue, 'tillproof_outbox_backlog{destination="dojo"}') == 0
