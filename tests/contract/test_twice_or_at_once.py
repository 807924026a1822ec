"""What comes twice, at once or late, and what is asked again because its answer was lost: over HTTP, by a running service."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import requests

from adapters.edge.bill_template import read_template
from adapters.edge.limits import Guesses
from adapters.epos.handlers import Handlers, HandlerSettings
from adapters.epos.rest import RestSettings, make_app
from adapters.epos.signature import sign
from tests import builders
from tests.builders import Venue
from tests.contract.running import (
    KEY,
    PATIENCE,
    a_bill,
    an_event,
    an_order,
    beside_sandbox,
    eventually,
    gbp,
    is_refused,
    lock_for_a_moment,
)
from workflow.money import Money

SECRET = "webhook-secret"
PATH = ["created", "authorised", "captured", "reconciled", "updated"]
TABLES = ("journal", "inbox", "orders", "payments", "outbox", "parked", "attention")
ROUNDS = 8


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A service, registered at a sandbox, in which nothing happens by itself for an hour: what grows does so because it was asked."""
    given = {"WEBHOOK_SECRETS": SECRET, "SWEEP_S": 3600, "CALL_DEADLINE_MS": 60_000, "LEASE_S": 90}
    with beside_sandbox(tmp_path_factory.mktemp("twice"), **given) as both:
        yield both


@pytest.fixture
def pair(both):
    yield both
    both.service.await_rest()
    both.service.assert_whole()


def size(service):
    return [service.reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def counted(service, name, **labels):
    """The counter with these labels in `/metrics`, 0 where it never counted."""
    text = service.open.get("/metrics").body.decode()
    shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    found = re.search(rf"^{name}\{{{re.escape(shown)}\}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def events(service, outcome, kind="payment_intent.status_updated"):
    return counted(service, "tillproof_events_total", outcome=outcome, type=kind)


def an_intent(pair, dojo_order_id=None, value=1200, *, captured=True, **links):
    """A Manual intent at Dojo whose money is held, or taken."""
    intent = pair.sandbox.intents.make(Money(value, "GBP"), reference="r", capture_mode="Manual", dojo_order_id=dojo_order_id, **links)
    pair.sandbox.intents.authorise(intent.id)
    if captured:
        pair.sandbox.intents.capture(intent.id)
    return intent.id


def held(pair, name):
    """An order whose money Dojo holds: its id and its intent's."""
    intent_id = an_intent(pair, name, captured=False)
    return pair.service.dojo.post("/v1/orders", an_order(name, intent_id=intent_id)).json["id"], intent_id


def updated(pair, name):
    """An order that went all the way."""
    intent_id = an_intent(pair, name)
    order_id = pair.service.dojo.post("/v1/orders", an_order(name, intent_id=intent_id)).json["id"]
    assert pair.service.dojo.post("/v1/events", an_event(f"evt-{name}", intent_id)).status == 200
    pair.service.await_state(order_id, "updated")
    pair.service.await_rest()
    return order_id, intent_id


def codes(pair, order_id):
    return [item["code"] for item in pair.service.order(order_id)["attention"]]


def moves(pair, order_id, machine="payment"):
    return [entry["trigger"] for entry in pair.service.entries(order_id) if entry["machine"].startswith(f"{machine}@")]


def at_once(*acts):
    """The acts, each on a thread, begun together; their results."""
    together = threading.Barrier(len(acts))

    def perform(act):
        together.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(perform, acts))


# Twice


def test_a_repeated_order_is_the_first_one_and_is_counted(pair):  # D1
    pair.service.dojo.post("/v1/orders", an_order("repeated"))
    before, repeats = size(pair.service), counted(pair.service, "tillproof_repeats_total", capability="CreateOrder")

    replies = [pair.service.dojo.post("/v1/orders", an_order("repeated")) for _ in range(3)]

    assert [reply.status for reply in replies] == [200] * 3
    assert size(pair.service) == before
    assert counted(pair.service, "tillproof_repeats_total", capability="CreateOrder") == repeats + 3


def test_a_repeated_event_is_no_work_and_is_counted(pair):  # D5
    order_id, intent_id = updated(pair, "event-twice")
    before, order, duplicates = size(pair.service), pair.service.order(order_id), events(pair.service, "duplicate")

    replies = [pair.service.dojo.post("/v1/events", an_event("evt-event-twice", intent_id)) for _ in range(3)]

    assert [(reply.status, reply.json) for reply in replies] == [(200, {})] * 3
    assert (size(pair.service), pair.service.order(order_id)) == (before, order)
    assert events(pair.service, "duplicate") == duplicates + 3


@pytest.mark.parametrize("named", ["payment_intent.send-receipt", "payment_intent.from_the_future"])
def test_an_event_of_a_kind_that_dojo_has_not_published_is_kept_counted_and_moves_nothing(pair, named):  # D14
    order_id, intent_id = held(pair, f"unknown-kind-{named}")
    before, ignored = pair.service.order(order_id), events(pair.service, "ignored", "other")
    tasks = len(pair.service.tasks(order_id))

    for about in (intent_id, f"pi_unheard_of_{named}"):
        reply = pair.service.dojo.post("/v1/events", an_event(f"evt-{named}-{about}", about, event=named))
        assert (reply.status, reply.json) == (200, {})

    assert {**pair.service.order(order_id), "orderSeq": 0} == {**before, "orderSeq": 0}
    assert len(pair.service.tasks(order_id)) == tasks
    [entry] = [entry for entry in pair.service.entries(order_id) if entry["kind"] == "event"]
    assert (entry["body"]["event"], entry["payment_intent_id"]) == (named, intent_id)
    kept = [entry.kind for entry in pair.service.reads.entries(order_id="") if entry.payment_intent_id == f"pi_unheard_of_{named}"]
    assert kept == ["event"]
    assert events(pair.service, "ignored", "other") == ignored + 2
    pair.sandbox.intents.capture(intent_id)
    pair.sandbox.send_event(intent_id)
    pair.service.await_state(order_id, "updated")


def test_a_storm_of_copies_is_one_event_and_shows_in_the_rate(pair):  # D15
    order_id, intent_id = held(pair, "storm-of-copies")
    pair.sandbox.intents.capture(intent_id)
    before, duplicates, applied = size(pair.service), events(pair.service, "duplicate"), events(pair.service, "applied")
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: pair.service.dojo.post("/v1/events", an_event("evt-storm", intent_id)).status, range(2_000)))

    assert set(statuses) == {200}
    pair.service.await_state(order_id, "updated")
    assert moves(pair, order_id) == ["announce", "authorise", "capture", "reconcile"]
    assert (events(pair.service, "duplicate") - duplicates, events(pair.service, "applied") - applied) == (1_999, 1)
    pair.service.await_rest()
    grown = dict(zip(TABLES, (after - old for after, old in zip(size(pair.service), before, strict=True)), strict=True))
    assert grown.pop("journal") < 20
    assert grown.pop("outbox") < 10
    assert grown == {"inbox": 1, "orders": 0, "payments": 0, "parked": 0, "attention": 0}


# Late


def test_a_late_event_is_counted_as_stale_and_moves_nothing(pair):  # O4
    order_id, intent_id = updated(pair, "late-authorised")
    stale = events(pair.service, "stale")

    assert pair.service.dojo.post("/v1/events", an_event("evt-late", intent_id, "Authorized")).status == 200

    pair.service.await_rest()
    assert (pair.service.path_of(order_id), events(pair.service, "stale")) == (PATH, stale + 1)


@pytest.mark.parametrize("how", ["cancelled", "refunded"])
def test_an_event_for_an_order_that_has_ended_is_counted_and_moves_nothing(pair, how):  # R10
    name = f"ended-{how}"
    if how == "cancelled":
        order_id, intent_id = held(pair, name)
        assert pair.service.dojo.call("DELETE", f"/v1/orders/{order_id}").status == 200
        pair.sandbox.intents.reverse(intent_id)
    else:
        order_id, intent_id = updated(pair, name)
        pair.sandbox.intents.refund(intent_id)
    pair.sandbox.send_event(intent_id)
    pair.service.await_state(order_id, how)
    pair.service.await_rest()
    eventually(lambda: pair.service.order(order_id)["payments"][0]["state"] in {"released", "refunded"})
    before, stale = pair.service.path_of(order_id), events(pair.service, "stale")

    for status in ("Created", "Authorized", "Captured", "Refunded", "Reversed", "Canceled"):
        assert pair.service.dojo.post("/v1/events", an_event(f"evt-{name}-{status}", intent_id, status)).status == 200

    pair.service.await_rest()
    assert (pair.service.path_of(order_id), events(pair.service, "stale")) == (before, stale + 6)


def test_between_capture_and_check_an_order_shows_no_money_and_takes_none(pair):  # O10
    service, table = pair.service, "tbl_between"
    intent_id = an_intent(pair, "between", captured=False)
    order_id = service.dojo.post("/v1/orders", an_order("between", intent_id=intent_id, table=table)).json["id"]
    pair.sandbox.fault("GET", f"/payment-intents/{intent_id}", "503", times=1000)
    pair.sandbox.intents.capture(intent_id)
    assert service.dojo.post("/v1/events", an_event("evt-between", intent_id)).status == 200
    assert service.path_of(order_id)[-1] == "captured"

    shown = service.dojo.get(f"/v1/orders/{order_id}").json
    payable = service.dojo.post("/v1/orders/search", {"payableOnly": True, "dineIn": {"tableId": table}}).json["data"]
    [found] = service.dojo.post("/v1/orders/search", {"dineIn": {"tableId": table}}).json["data"]

    assert (shown["paidAmount"], shown["payments"], shown["payable"]) == (gbp(0), [], False)
    assert (payable, found) == ([], shown)
    mend(pair)
    assert service.await_state(order_id, "updated")["paidAmount"] == gbp(1200)


def mend(pair):
    """No call to Dojo fails any more."""
    requests.delete(f"{pair.sandbox.url}/sandbox/faults", headers={"Authorization": f"Basic {KEY}"}, timeout=PATIENCE)


def test_money_that_dojo_took_and_nobody_can_read_is_the_first_thing_that_a_person_is_told(tmp_path):  # I20
    with beside_sandbox(tmp_path, SWEEP_S=1, PAID_ALARM_S=1) as pair:
        is_told_of_unreadable_money(pair)
        pair.service.await_rest()
        pair.service.assert_whole()


def is_told_of_unreadable_money(pair):
    service = pair.service
    order_id, intent_id = held(pair, "unreadable")
    pair.sandbox.fault("GET", f"/payment-intents/{intent_id}", "503", times=1000)
    pair.sandbox.intents.capture(intent_id)
    service.dojo.post("/v1/events", an_event("evt-unreadable", intent_id))

    eventually(lambda: codes(pair, order_id) == ["PAID_NOT_ON_TILL"])

    first = service.auditor.get("/api/attention").json["data"][0]
    assert (first["orderId"], first["code"], first["paidNotOnTill"], first["amount"]) == (order_id, "PAID_NOT_ON_TILL", True, gbp(1200))
    assert first["why"].startswith("Table tbl_1: GBP 12.00 is paid at Dojo and not on the till.")
    ready = service.open.get("/readyz")
    assert (ready.status, ready.json["reasons"], ready.json["attention"]["PAID_NOT_ON_TILL"]) == (200, [], 1)
    mend(pair)
    assert service.await_state(order_id, "updated")["attention"] == []
    said = [line for line in service.log() if line.get("order_id") == order_id and line["event"].startswith("attention ")]
    assert [(line["event"], line["level"], line["code"], line["payment_intent_id"]) for line in said] == [
        ("attention raised", "ERROR", "PAID_NOT_ON_TILL", intent_id),
        ("attention cleared", "INFO", "PAID_NOT_ON_TILL", intent_id),
    ]


# At once


def test_an_event_that_comes_while_its_order_is_being_made_is_applied(pair):  # O2 I3
    for number in range(ROUNDS):
        name = f"meanwhile-{number}"
        intent_id = an_intent(pair, name)
        created, told = at_once(
            lambda name=name, intent_id=intent_id: pair.service.dojo.post("/v1/orders", an_order(name, intent_id=intent_id)),
            lambda name=name, intent_id=intent_id: pair.service.dojo.post("/v1/events", an_event(f"evt-{name}", intent_id)),
        )
        assert (created.status, told.status) == (200, 200)
        order = pair.service.await_state(created.json["id"], "updated")
        assert (order["paidAmount"], order["attention"], pair.service.path_of(order["id"])) == (gbp(1200), [], PATH)
        assert moves(pair, order["id"]) == ["announce", "authorise", "capture", "reconcile"]


def test_two_events_of_one_order_at_once_are_taken_one_after_the_other(pair):  # L6 I3 I4
    for number in range(ROUNDS):
        name = f"two-events-{number}"
        intents = [an_intent(pair, name, 600) for _ in range(2)]
        payments = [{"paymentIntentId": intent_id, "paidAmount": gbp(600)} for intent_id in intents]
        order_id = pair.service.dojo.post("/v1/orders", an_order(name) | {"payments": payments}).json["id"]
        words = [(intent_id, status) for intent_id in intents for status in ("Authorized", "Captured")]
        replies = at_once(
            *(
                lambda at=at, word=word: pair.service.dojo.post("/v1/events", an_event(f"evt-{at}", *word))
                for at, word in ((f"{name}-{index}", word) for index, word in enumerate(words))
            )
        )
        assert {reply.status for reply in replies} == {200}
        order = pair.service.await_state(order_id, "updated")
        assert (order["paidAmount"], [payment["state"] for payment in order["payments"]]) == (gbp(1200), ["reconciled"] * 2)
        entries = pair.service.entries(order_id)
        assert [entry["order_seq"] for entry in entries] == list(range(1, len(entries) + 1))
        assert [moves(pair, order_id).count(trigger) for trigger in ("announce", "authorise", "capture", "reconcile")] == [2] * 4


def test_an_order_that_is_cancelled_many_times_at_once_is_cancelled_once(pair):  # L9
    order_id = pair.service.dojo.post("/v1/orders", an_order("cancelled-at-once")).json["id"]

    replies = at_once(*[lambda: pair.service.dojo.call("DELETE", f"/v1/orders/{order_id}")] * 8)

    assert {(reply.status, reply.json["status"]) for reply in replies} == {(200, "Canceled")}
    assert pair.service.path_of(order_id) == ["created", "cancelled"]


def test_a_dead_call_that_many_operators_requeue_at_once_is_sent_once(pair):  # L7 I8
    pair.sandbox.fault("POST", "/epos/events", "400", times=1)
    order_id = pair.service.till.post("/till/orders", a_bill()).json["id"]
    [task] = eventually(lambda: [task for task in pair.service.tasks(order_id) if task["status"] == "dead"])

    path = f"/api/outbox/{task['id']}/requeue"
    replies = at_once(*[lambda: pair.service.operator.post(path, {"reason": "mended"})] * 8)

    assert sorted(reply.status for reply in replies) == [200] + [409] * 7
    eventually(lambda: [each["status"] for each in pair.service.tasks(order_id)] == ["done"])
    sent = [m for m in pair.sandbox.messages() if m.path == "/epos/events" and m.status == 200 and order_id in m.note]
    assert len(sent) == 1
    assert [entry["trigger"] for entry in pair.service.entries(order_id)].count("requeue") == 1


# Answers that are lost


def send_and_leave(service, path, body, *, once, **headers):
    """Send a request and reset the connection once `once` is true, without having read the answer."""
    raw = json.dumps(body).encode()
    given = {"Host": "x", "Authorization": service.dojo.authorization, "Content-Type": "application/json", "Content-Length": len(raw)}
    head = "".join(f"{name}: {value}\r\n" for name, value in (given | headers).items())
    with socket.create_connection(("127.0.0.1", service.dojo.port), PATIENCE) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + raw)
        eventually(once)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def has(service, sql, *values):
    return lambda: service.reads.rows(sql, values)


def test_an_order_whose_answer_was_lost_is_the_same_when_asked_again(pair):  # L1 D1
    service, order = pair.service, an_order("answer-lost", intent_id=an_intent(pair, "answer-lost", captured=False))
    send_and_leave(service, "/v1/orders", order, once=has(service, "SELECT 1 FROM orders WHERE dojo_order_id = 'answer-lost'"))
    before = size(service)

    again = service.dojo.post("/v1/orders", order)

    assert (again.status, service.path_of(again.json["id"]), size(service)) == (200, ["created", "authorised"], before)


def test_an_event_whose_answer_was_lost_is_a_copy_when_it_comes_again(pair):  # L1 D5
    service, (order_id, intent_id) = pair.service, held(pair, "event-answer-lost")
    pair.sandbox.intents.capture(intent_id)
    event = an_event("evt-answer-lost", intent_id)
    send_and_leave(service, "/v1/events", event, once=has(service, "SELECT 1 FROM inbox WHERE message_id LIKE 'evt-answer-lost:%'"))
    duplicates = events(service, "duplicate")

    assert (service.dojo.post("/v1/events", event).status, events(service, "duplicate")) == (200, duplicates + 1)
    service.await_state(order_id, "updated")
    assert moves(pair, order_id) == ["announce", "authorise", "capture", "reconcile"]


def test_a_payment_whose_answer_was_lost_is_accepted_again_and_counts_once(pair):  # L1 D8 I12
    service = pair.service
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    intent_id = an_intent(pair, external_id=order_id)
    body = {"paymentIntentId": intent_id, "paidAmount": gbp(1200)}
    path = f"/v1/orders/{order_id}/record-payment"
    send_and_leave(service, path, body, once=has(service, "SELECT 1 FROM payments WHERE intent_id = ? AND paid = 1200", intent_id))

    replies = [service.dojo.post(path, body) for _ in range(2)]

    assert [(reply.status, reply.json["paidAmount"], len(reply.json["payments"])) for reply in replies] == [(200, gbp(1200), 1)] * 2
    service.await_state(order_id, "updated")
    service.await_rest()
    first, second = (service.dojo.post(path, body) for _ in range(2))
    assert (first.status, first.json) == (second.status, second.json) == (200, service.dojo.get(f"/v1/orders/{order_id}").json)
    assert moves(pair, order_id) == ["announce", "authorise", "capture", "reconcile"]


def test_a_caller_that_gave_up_while_we_waited_for_the_database_has_one_order_when_it_asks_again(pair):  # L3 I3
    """A stranger's transaction holds the database; the caller leaves before the service could store anything."""
    service, order = pair.service, an_order("gave-up")
    service.await_rest()
    before = size(service)
    with closing(sqlite3.connect(service.journal, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        raw = json.dumps(order).encode()
        head = f"Host: x\r\nAuthorization: {service.dojo.authorization}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        with socket.create_connection(("127.0.0.1", service.dojo.port), PATIENCE) as impatient:
            impatient.sendall(f"POST /v1/orders HTTP/1.1\r\n{head}\r\n".encode() + raw)
            impatient.settimeout(0.5)
            with pytest.raises(TimeoutError):
                impatient.recv(1)
        assert size(service) == before
        stranger.execute("ROLLBACK")

    again = service.dojo.post("/v1/orders", order)

    assert again.status == 200
    assert service.reads.rows("SELECT id FROM orders WHERE dojo_order_id = 'gave-up'") == [(again.json["id"],)]
    assert service.path_of(again.json["id"]) == ["created"]
    assert [entry["cause"] for entry in service.entries(again.json["id"]) if entry["trigger"] == "create"] == ["create_order:gave-up"]


# Locks and payments


def test_a_payment_under_a_lock_that_ran_out_is_recorded_where_nobody_took_it(pair):  # X8 I12
    service = pair.service
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    intent_id = an_intent(pair, external_id=order_id)
    expiry = lock_for_a_moment(service, order_id)
    eventually(lambda: datetime.now(UTC).isoformat() > expiry)

    body = {"paymentIntentId": intent_id, "paidAmount": gbp(1200), "lockId": "L-1"}
    replies = [service.dojo.post(f"/v1/orders/{order_id}/record-payment", body) for _ in range(2)]

    assert [(reply.status, reply.json["paidAmount"]) for reply in replies] == [(200, gbp(1200))] * 2
    assert service.await_state(order_id, "updated")["paidAmount"] == gbp(1200)


def test_a_payment_under_a_lock_that_another_took_over_is_refused(pair):
    service = pair.service
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    intent_id = an_intent(pair, external_id=order_id)
    lock_for_a_moment(service, order_id)
    eventually(lambda: service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": "L-2", "expiry": "2099-01-01T00:00:00Z"}).status == 200)

    body = {"paymentIntentId": intent_id, "paidAmount": gbp(1200), "lockId": "L-1"}

    assert "L-2" in is_refused(service.dojo.post(f"/v1/orders/{order_id}/record-payment", body), 409)
    assert codes(pair, order_id) == ["PAYMENT_REFUSED", "LOCK_STALE"]


# A webhook


def test_a_signed_webhook_that_comes_again_is_taken_and_changes_nothing(pair):  # D12
    """Its signature has no time in it, so that it is good for ever: what it is about is known for ever, too."""
    order_id, intent_id = held(pair, "signed-again")
    pair.sandbox.intents.capture(intent_id)
    raw = json.dumps(an_event("evt-signed", intent_id)).encode()
    assert pair.service.dojo.post("/webhooks/dojo", raw, authorization=None, dojo_signature=sign(raw, SECRET)).status == 200
    pair.service.await_state(order_id, "updated")
    pair.service.await_rest()
    before = size(pair.service), pair.service.order(order_id)

    again = pair.service.dojo.post("/webhooks/dojo", raw, authorization=None, dojo_signature=sign(raw, SECRET))

    assert (again.status, again.json, size(pair.service), pair.service.order(order_id)) == (200, {}, *before)


def test_a_signed_webhook_that_comes_again_after_a_year_changes_nothing(tmp_path):  # D12
    venue = Venue(tmp_path)
    settings = HandlerSettings(
        currency="GBP", mode="event", search_days=90, tables_answer="pages", zone=ZoneInfo("UTC"), bill=read_template(None, "The Corner")
    )
    handlers = Handlers(venue.engine, venue.reads, venue.clock, settings)
    guesses = Guesses("dojo", venue.clock, lambda what: None)
    rest = RestSettings(credentials=None, guesses=guesses, max_body=10_000, max_depth=32, webhook_secrets=(SECRET,))
    client = make_app(handlers, rest).test_client()
    venue.create()
    raw = json.dumps(an_event("evt-old", "pi_1")).encode()

    def post():
        return client.post("/webhooks/dojo", data=raw, content_type="application/json", headers={"dojo-signature": sign(raw, SECRET)})

    assert post().status_code == 200
    venue.settle({"pi_1": builders.an_intent()})
    venue.clock.move(366 * 86_400)
    before = venue.reads.size(), venue.order()
    again = post()
    assert (again.status_code, again.json, venue.reads.size(), venue.order(), len(venue.tasks)) == (200, {}, *before, 0)
    assert before[1].state == "updated"
    venue.close()
