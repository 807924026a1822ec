"""What Dojo, the till, an auditor and an operator can do over HTTP besides paying; the journal is whole after all of it."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import requests
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import app
from adapters.cli.commands import cli
from adapters.epos.signature import sign
from adapters.till.api import FEED_WAITERS
from tests.contract.running import PATIENCE, a_bill, an_event, an_order, beside_sandbox, eventually, gbp, lock_for_a_moment
from workflow.ledger import HASHED_COLUMNS, HashedEntry, entry_hash, root_from_inclusion, verify_checkpoint
from workflow.lifecycle import ATTENTION
from workflow.money import Money

SECRETS = ("secret-one", "secret-two")
BUSY_SECONDS = 15.0
"""FAULTS A12: health answers within them, whatever else goes on."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A service with two webhook secrets, registered at a sandbox. It gives no call up, and sweeps nothing, while these tests run."""
    given = {"WEBHOOK_SECRETS": ",".join(SECRETS), "CALL_DEADLINE_MS": 60_000, "LEASE_S": 90, "SWEEP_S": 3600}
    with beside_sandbox(tmp_path_factory.mktemp("whole-http"), **given) as whole:
        yield whole


@pytest.fixture(scope="module")
def service(whole):
    return whole.service


@pytest.fixture(scope="module")
def sandbox(whole):
    return whole.sandbox


def is_refused(reply, status):
    assert reply.status == status, reply.body
    assert set(reply.json) == {"errorType", "debugMessage", "traceId"}
    return reply.json["debugMessage"]


def opened(service, **changes):
    """A bill that is open at the till, and its announcement over."""
    reply = service.till.post("/till/orders", a_bill(**changes))
    assert reply.status == 200, reply.body
    service.await_rest()
    return reply.json["id"]


def held(whole, dojo_order_id, value=1200):
    """An order whose money Dojo holds: its id and the intent's."""
    intent = whole.sandbox.intents.make(Money(value, "GBP"), reference="r", capture_mode="Manual", dojo_order_id=dojo_order_id)
    whole.sandbox.intents.authorise(intent.id)
    created = whole.service.dojo.post("/v1/orders", an_order(dojo_order_id, intent_id=intent.id))
    assert created.status == 200, created.body
    return created.json["id"], intent.id


def paid(whole, dojo_order_id, value=1200):
    """An order whose money was taken, to its end."""
    order_id, intent_id = held(whole, dojo_order_id, value)
    whole.sandbox.intents.capture(intent_id)
    whole.sandbox.send_event(intent_id)
    return order_id, intent_id


def disputed(whole, order_id, value=1100, currency="GBP", external_id=None):
    """An order that names a captured intent which differs from it; the attention that this raises is awaited."""
    links = {"external_id": external_id} if external_id else {}
    intent = whole.sandbox.intents.make(Money(value, currency), reference="r", **links)
    whole.sandbox.intents.capture(intent.id)
    created = whole.service.dojo.post("/v1/orders", an_order(order_id, intent_id=intent.id)).json["id"]
    whole.sandbox.send_event(intent.id)
    eventually(lambda: codes(whole.service, created))
    return created, intent.id


def codes(service, order_id):
    return [item["code"] for item in service.order(order_id)["attention"]]


def told(sandbox, order_id):
    """How often Dojo took the news of this order."""
    return sum(m.path == "/epos/events" and m.status == 200 and m.note.split()[1] == order_id for m in sandbox.messages())


def resolve(service, order_id, action, **changes):
    return service.operator.post(f"/api/orders/{order_id}/resolve", {"action": action, "reason": f"because of {order_id}"} | changes)


def soon(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def lock(service, order_id, lock_id="L-1", expiry=None):
    return service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": lock_id, "expiry": expiry or soon(minutes=5)})


# Signatures


def delivered(service, event, header, path="/webhooks/dojo", raw=None, **headers):
    raw = raw or json.dumps(event).encode()
    given = headers | ({"dojo_signature": header(raw)} if header else {})
    return service.dojo.post(path, raw, **given)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_webhook_that_is_signed_by_any_secret_is_taken_without_credentials(service, secret):  # A2
    event = an_event(f"hook-{secret}", "pi_hook")

    reply = delivered(service, event, lambda raw: sign(raw, secret), authorization=None)

    assert (reply.status, reply.json) == (200, {})
    [kept] = [entry for entry in service.reads.entries(order_id="") if f'"id":"hook-{secret}"' in entry.body]
    assert json.loads(kept.body)["channel"] == "webhook"


BAD_SIGNATURES = {
    "unsigned": None,
    "wrong": lambda raw: sign(raw, "another"),
    "other-bytes": lambda raw: sign(raw + b" ", SECRETS[0]),
    "sha1": lambda raw: sign(raw, SECRETS[0]).replace("sha256", "sha1"),
    "truncated": lambda raw: sign(raw, SECRETS[0])[:-3],
}


@pytest.mark.parametrize("name", BAD_SIGNATURES)
def test_a_webhook_that_is_not_signed_by_a_secret_is_401_and_stores_nothing(service, name):  # A2
    before = end_of_feed(service)

    reply = delivered(service, an_event(f"bad-hook-{name}", "pi_bad"), BAD_SIGNATURES[name])

    is_refused(reply, 401)
    assert service.reads.size() == before


@pytest.mark.parametrize("name", [name for name in BAD_SIGNATURES if BAD_SIGNATURES[name]])
def test_a_bad_signature_on_an_event_with_good_credentials_is_401(service, name):  # A2
    before = end_of_feed(service)

    is_refused(delivered(service, an_event(f"bad-event-{name}", "pi_bad"), BAD_SIGNATURES[name], path="/v1/events"), 401)

    assert service.reads.size() == before


def test_an_event_with_good_credentials_may_be_unsigned_or_well_signed(service):
    for header in (None, lambda raw: sign(raw, SECRETS[1])):
        assert delivered(service, an_event(f"good-event-{bool(header)}", "pi_good"), header, path="/v1/events").status == 200


def test_a_good_signature_does_not_replace_the_credentials_of_the_capability(service):  # A1
    reply = delivered(service, an_event("x", "pi_x"), lambda raw: sign(raw, SECRETS[0]), path="/v1/events", authorization=None)
    is_refused(reply, 401)


def test_the_same_event_by_webhook_and_capability_under_two_ids_is_applied_once(whole):  # D6
    service = whole.service
    order_id, intent_id = held(whole, "both-ways")
    whole.sandbox.intents.capture(intent_id)

    assert service.dojo.post("/v1/events", an_event("both-capability", intent_id)).status == 200
    assert delivered(service, an_event("both-webhook", intent_id), lambda raw: sign(raw, SECRETS[0])).status == 200

    service.await_state(order_id, "updated")
    service.await_rest()
    entries = service.entries(order_id)
    assert {entry["body"]["channel"] for entry in entries if entry["kind"] == "event"} == {"capability", "webhook"}
    moves = [entry["trigger"] for entry in entries if entry["machine"].startswith("payment@")]
    assert moves == ["announce", "authorise", "capture", "reconcile"]
    assert service.order(order_id)["paidAmount"] == gbp(1200)


# Locks


def test_the_same_lock_again_changes_nothing(service):  # X1
    order_id, expiry = opened(service), soon(minutes=5)
    first = lock(service, order_id, expiry=expiry)
    before = len(service.entries(order_id))

    second = lock(service, order_id, expiry=expiry)

    assert (first.status, second.status, second.json) == (200, 200, first.json)
    assert len(service.entries(order_id)) == before
    assert service.order(order_id)["lock"]["lockId"] == "L-1"


def test_another_lock_while_one_is_held_is_409_and_names_the_holder(service):  # X2
    order_id = opened(service)
    lock(service, order_id, "holder-77")

    assert "holder-77" in is_refused(lock(service, order_id, "L-2"), 409)
    assert service.order(order_id)["lock"]["lockId"] == "holder-77"


def test_extending_a_lock_answers_an_empty_object_and_moves_its_end(service):
    order_id = opened(service)
    lock(service, order_id)
    before = service.order(order_id)["lock"]["expiresAt"]

    reply = service.dojo.call("PUT", f"/v1/orders/{order_id}/locks/L-1", {"expiry": soon(minutes=30)})

    assert (reply.status, reply.body) == (200, b"{}")
    assert service.order(order_id)["lock"]["expiresAt"] > before


def test_a_lock_that_ran_out_can_be_extended_where_nobody_took_it(service):  # X4
    order_id = opened(service)
    lock_for_a_moment(service, order_id)
    eventually(lambda: service.order(order_id)["lock"]["expiresAt"] < soon()[:23])

    reply = service.dojo.call("PUT", f"/v1/orders/{order_id}/locks/L-1", {"expiry": soon(minutes=5)})

    assert (reply.status, reply.body) == (200, b"{}")
    assert "L-1" in is_refused(lock(service, order_id, "L-2"), 409)


def test_another_lock_takes_over_one_that_ran_out(service):  # X3
    order_id = opened(service)
    lock_for_a_moment(service, order_id)

    eventually(lambda: lock(service, order_id, "L-2").status == 200)

    assert service.order(order_id)["lock"]["lockId"] == "L-2"
    assert [entry["trigger"] for entry in service.entries(order_id) if entry["kind"] == "lock"] == ["take", "take_over"]
    assert codes(service, order_id) == ["LOCK_STALE"]
    assert service.dojo.call("DELETE", f"/v1/orders/{order_id}/locks/L-2").status == 200
    assert codes(service, order_id) == []


def test_releasing_a_lock_twice_is_once(service):  # X6
    order_id = opened(service)
    lock(service, order_id)

    replies = [service.dojo.call("DELETE", f"/v1/orders/{order_id}/locks/L-1") for _ in range(2)]

    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].json == replies[1].json
    assert service.order(order_id)["lock"] is None
    assert [entry["trigger"] for entry in service.entries(order_id) if entry["kind"] == "lock"] == ["take", "release"]


def test_a_lock_that_never_was_is_404(service):  # X6
    order_id = opened(service)

    is_refused(service.dojo.call("DELETE", f"/v1/orders/{order_id}/locks/none"), 404)
    is_refused(service.dojo.call("PUT", f"/v1/orders/{order_id}/locks/none", {"expiry": soon(minutes=1)}), 404)
    is_refused(lock(service, "no-such-order"), 404)


@pytest.mark.parametrize(
    "expiry", ["0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00.1234567Z", "2199-01-01T00:00:00", "never"], ids=range(4)
)
def test_an_expiry_that_is_no_moment_to_come_is_400(service, expiry):  # X7
    order_id = opened(service)

    assert "expiry" in is_refused(lock(service, order_id, expiry=expiry), 400)
    assert service.order(order_id)["lock"] is None


@pytest.mark.parametrize("expiry", ["9999-12-31T23:59:59.9999999Z", "2199-01-01T00:00:00+02:00"], ids=range(2))
def test_a_far_expiry_is_cut_to_a_day(service, expiry):  # X7
    order_id = opened(service)

    assert lock(service, order_id, expiry=expiry).status == 200

    ends = datetime.fromisoformat(service.order(order_id)["lock"]["expiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=58) < ends <= timedelta(hours=24)


def test_an_order_at_its_end_is_not_locked(service):
    order_id = service.dojo.post("/v1/orders", an_order("lock-cancelled")).json["id"]
    service.dojo.call("DELETE", f"/v1/orders/{order_id}")

    assert "cancelled" in is_refused(lock(service, order_id), 409)


def test_the_till_amends_no_bill_that_dojo_has_locked(service):  # X10
    order_id = opened(service)
    lock(service, order_id, "dojo-session")

    assert "dojo-session" in is_refused(service.till.call("PUT", f"/till/orders/{order_id}", a_bill(total=1500)), 409)
    assert service.order(order_id)["totalAmount"] == gbp(1200)
    service.dojo.call("DELETE", f"/v1/orders/{order_id}/locks/dojo-session")

    assert service.till.call("PUT", f"/till/orders/{order_id}", a_bill(total=1500)).status == 200
    assert service.order(order_id)["totalAmount"] == gbp(1500)


# The till


def test_an_amended_bill_is_shown_and_told_to_dojo(whole):
    order_id = opened(whole.service)
    before = told(whole.sandbox, order_id)

    reply = whole.service.till.call("PUT", f"/till/orders/{order_id}", a_bill(total=1500, table="tbl_9"))

    assert (reply.status, reply.json["totalAmount"], reply.json["payable"]) == (200, gbp(1500), True)
    assert whole.service.dojo.get(f"/v1/orders/{order_id}").json == reply.json
    eventually(lambda: told(whole.sandbox, order_id) == before + 1)
    amended = [entry for entry in whole.service.entries(order_id) if entry["trigger"] == "amend"]
    assert [(entry["kind"], entry["actor"]) for entry in amended] == [("operator", "till:till-1")]


def test_the_same_bill_again_is_told_to_nobody(whole):
    order_id = opened(whole.service)
    before = len(whole.service.entries(order_id))

    assert whole.service.till.call("PUT", f"/till/orders/{order_id}", a_bill()).status == 200

    assert len(whole.service.entries(order_id)) == before


def test_amending_replaces_personal_data(service):
    order_id = opened(service, customer={"name": "First Unmistakable"}, note="first-note")

    reply = service.till.call("PUT", f"/till/orders/{order_id}", a_bill(customer={"name": "Second Unmistakable"}))

    assert (reply.status, reply.json["customer"], "note" in reply.json) == (200, {"name": "Second Unmistakable"}, False)
    stored = service.reads.rows("SELECT data FROM personal WHERE order_id = ?", (order_id,))
    assert "Second Unmistakable" in str(stored)
    assert "First Unmistakable" not in str(stored)
    assert "Unmistakable" not in json.dumps(service.entries(order_id))


def test_a_bill_is_not_amended_while_a_payment_of_it_is_held(whole):
    order_id, _ = held(whole, "amend-held")

    assert "authorised" in is_refused(whole.service.till.call("PUT", f"/till/orders/{order_id}", a_bill(total=1500)), 409)
    assert whole.service.order(order_id)["totalAmount"] == gbp(1200)


def test_each_step_of_the_kitchen_is_told_to_dojo(whole):
    order_id = opened(whole.service)
    for status in ("Preparing", "Prepared", "Ready"):
        before = told(whole.sandbox, order_id)
        reply = whole.service.till.post(f"/till/orders/{order_id}/status", {"status": status})
        assert (reply.status, reply.json["status"]) == (200, status)
        eventually(lambda before=before: told(whole.sandbox, order_id) == before + 1)


def test_an_illegal_jump_of_the_kitchen_is_409_and_names_the_legal_ones(service):
    order_id = opened(service)
    service.till.post(f"/till/orders/{order_id}/status", {"status": "Prepared"})

    for status in ("Accepted", "Preparing", "Confirmed", "Submitted"):
        message = is_refused(service.till.post(f"/till/orders/{order_id}/status", {"status": status}), 409)
        assert "possible now: Ready" in message
    assert "Finalized" in is_refused(service.till.post(f"/till/orders/{order_id}/status", {"status": "Finalized"}), 409)
    assert service.order(order_id)["status"] == "Prepared"


def test_an_order_that_the_till_refuses_before_capture_fails(whole):
    order_id, _ = held(whole, "refuse-held")

    reply = whole.service.till.post(f"/till/orders/{order_id}/refuse", {"reason": "no more dough"})

    assert (reply.status, reply.json["status"], reply.json["payable"]) == (200, "Failed", False)
    assert whole.service.order(order_id)["state"] == "failed"
    assert "no more dough" in json.dumps(whole.service.entries(order_id))


def test_a_card_number_in_a_reason_is_not_kept(whole):
    order_id, _ = paid(whole, "reason")
    whole.service.await_state(order_id, "updated")
    whole.service.till.post(f"/till/orders/{order_id}/refuse", {"reason": "paid with 4111 1111 1111 1111 instead"})

    asked = {"action": "mark_given_back", "reason": "back on 4111111111111111"}
    assert whole.service.operator.post(f"/api/orders/{order_id}/resolve", asked).status == 200

    kept = json.dumps(whole.service.entries(order_id))
    assert "41111111" not in kept.replace(" ", "")  # Four digits alone any of the hashes may have.
    assert "paid with [card number removed] instead" in kept
    assert "back on [card number removed]" in kept


def test_an_order_that_the_till_refuses_after_capture_keeps_its_money_and_calls_a_person(whole):
    order_id, _ = paid(whole, "refuse-paid")
    whole.service.await_state(order_id, "updated")
    before = told(whole.sandbox, order_id)

    reply = whole.service.till.post(f"/till/orders/{order_id}/refuse", {"reason": "no more dough"})

    assert (reply.status, reply.json["status"], reply.json["paidAmount"]) == (200, "Failed", gbp(1200))
    assert codes(whole.service, order_id) == ["PAID_BUT_REFUSED"]
    eventually(lambda: told(whole.sandbox, order_id) > before)


def test_a_venue_that_takes_no_orders_answers_create_order_with_409_until_it_does(service):
    closed = service.till.call("PUT", "/till/state", {"takingOrders": False})
    refused = service.dojo.post("/v1/orders", an_order("while-closed"))
    at_the_till = service.till.post("/till/orders", a_bill())
    service.till.call("PUT", "/till/state", {"takingOrders": True})

    assert (closed.status, closed.json) == (200, {"takingOrders": False})
    assert "not taking orders" in is_refused(refused, 409)
    assert at_the_till.status == 200
    assert service.dojo.post("/v1/orders", an_order("while-closed")).status == 200


# Cancelling


def test_an_order_that_is_cancelled_while_money_is_held_is_watched_until_it_went_back(whole):  # R7
    service = whole.service
    order_id, intent_id = held(whole, "cancel-held")

    reply = service.dojo.call("DELETE", f"/v1/orders/{order_id}")

    assert (reply.status, reply.json["status"]) == (200, "Canceled")
    assert (codes(service, order_id), service.order(order_id)["state"]) == (["CANCEL_PENDING_REVERSAL"], "cancelled")
    whole.sandbox.intents.reverse(intent_id)
    whole.sandbox.send_event(intent_id)
    eventually(lambda: codes(service, order_id) == [])


def test_an_order_whose_money_was_taken_is_not_cancelled(whole):  # R8
    order_id, _ = paid(whole, "cancel-paid")
    whole.service.await_state(order_id, "updated")

    assert "updated" in is_refused(whole.service.dojo.call("DELETE", f"/v1/orders/{order_id}"), 409)
    assert whole.service.order(order_id)["paidAmount"] == gbp(1200)


def test_cancelling_twice_is_once(service):  # L9
    order_id = service.dojo.post("/v1/orders", an_order("cancel-twice")).json["id"]
    first = service.dojo.call("DELETE", f"/v1/orders/{order_id}")
    service.await_rest()
    before = len(service.entries(order_id))

    second = service.dojo.call("DELETE", f"/v1/orders/{order_id}")

    assert (first.status, second.status, second.json) == (200, 200, first.json)
    assert len(service.entries(order_id)) == before


# The feed


def feed(service, **asked):
    reply = service.till.get("/till/feed?" + "&".join(f"{name}={value}" for name, value in asked.items()))
    assert reply.status == 200, reply.body
    return reply.json


def end_of_feed(service):
    """Where the feed ends, and the journal too: nothing is under way."""
    service.await_rest()
    return service.reads.size()


def test_the_feed_is_oldest_first_and_resumes_where_it_was_acknowledged(service):
    after = end_of_feed(service)
    order_ids = [opened(service, id=f"feed-{number}") for number in range(3)]

    whole = feed(service, after=after)
    parts, position = [], after
    while page := feed(service, after=position, limit=2)["data"]:
        assert len(page) <= 2
        parts += page
        position = page[-1]["seq"]

    assert parts == whole["data"]
    assert [item["seq"] for item in parts] == sorted({item["seq"] for item in parts})
    assert list(dict.fromkeys(item["orderId"] for item in parts)) == order_ids
    assert (whole["after"], feed(service, after=position)) == (position, {"data": [], "after": position})


def test_a_long_poll_wakes_on_a_change(service):
    after, began = end_of_feed(service), time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(feed, service, after=after, wait=30)
        order_id = service.till.post("/till/orders", a_bill()).json["id"]
        page = waiting.result()

    assert {item["orderId"] for item in page["data"]} == {order_id}
    assert time.monotonic() - began < 25


def test_a_long_poll_sleeps_through_entries_that_a_till_is_not_shown(service):
    """A lock or an event lengthens the journal and changes nothing for the till: no page, and no poll that returns at once."""
    created = service.dojo.post("/v1/orders", an_order("unshown", intent_id="pi_unshown")).json["id"]
    after = end_of_feed(service)
    began, locks = time.monotonic(), 0

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.till.get, f"/till/feed?after={after}&wait=1")
        while locks < 2 or not waiting.done():
            lock = {"lockId": f"unshown-{locks}", "expiry": "2099-01-01T00:00:00Z"}
            assert service.dojo.post(f"/v1/orders/{created}/lock", lock).status == 200
            assert service.dojo.call("DELETE", f"/v1/orders/{created}/locks/unshown-{locks}").status == 200
            locks += 1

    assert waiting.result().json == {"data": [], "after": after}
    assert time.monotonic() - began > 0.9


def test_a_long_poll_ends_in_time_where_nothing_changes(service):
    after, began = end_of_feed(service), time.monotonic()

    page = feed(service, after=after, wait=1)

    assert page == {"data": [], "after": after}
    assert 0.9 < time.monotonic() - began < 20


def test_more_waiting_tills_than_there_is_room_for_starve_nobody(service):  # A12
    after = end_of_feed(service)
    with ThreadPoolExecutor(3 * FEED_WAITERS) as pool:
        waiting = [pool.submit(feed, service, after=after, wait=30) for _ in range(3 * FEED_WAITERS)]
        eventually(lambda: sum(each.done() for each in waiting) >= 2 * FEED_WAITERS)
        began = time.monotonic()
        assert service.open.get("/healthz").status == 200
        assert service.auditor.get("/api/orders?limit=1").status == 200
        assert time.monotonic() - began < BUSY_SECONDS
        assert sum(not each.done() for each in waiting) == FEED_WAITERS
        order_id = service.till.post("/till/orders", a_bill()).json["id"]
        pages = [each.result() for each in waiting]

    assert sum(any(item["orderId"] == order_id for item in page["data"]) for page in pages) >= FEED_WAITERS


def test_a_page_that_was_not_acknowledged_comes_again(service):
    after = end_of_feed(service)
    order_ids = [opened(service, id=f"again-{number}") for number in range(3)]

    first, again = (feed(service, after=after, limit=2) for _ in range(2))
    rest = feed(service, after=first["after"])

    assert first == again
    assert {item["orderId"] for item in first["data"] + rest["data"]} == set(order_ids)


def test_a_feed_followed_while_several_write_leaves_nothing_out(service):
    after = position = end_of_feed(service)
    followed = []
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(opened, service, id=f"crowd-{number}") for number in range(40)]
        page, is_over = [], False
        while page or not is_over:
            is_over = all(one.done() for one in writing)  # Before the look: what is written after an empty one must not be missed.
            page = feed(service, after=position, limit=7, wait=1)["data"]
            followed += page
            position = page[-1]["seq"] if page else position
        order_ids = {one.result() for one in writing}

    whole = feed(service, after=after, limit=500)["data"]
    assert {item["orderId"] for item in whole} >= order_ids
    seen = [item["seq"] for item in followed]
    assert seen == sorted(set(seen))
    assert set(seen) == {item["seq"] for item in whole if item["seq"] <= position}
    assert {item["orderId"] for item in followed} >= order_ids


def test_an_item_of_the_feed_says_how_far_the_order_that_it_shows_has_come(service):
    after = end_of_feed(service)
    order_id = opened(service, id="how-far")
    service.till.post(f"/till/orders/{order_id}/status", {"status": "Preparing"})

    data = feed(service, after=after)["data"]
    entries = service.entries(order_id)

    assert {item["order"]["status"] for item in data} == {"Preparing"}
    (position,) = {item["orderSeq"] for item in data}
    begun = next(entry["order_seq"] for entry in entries if entry["to_state"] == "Preparing")
    assert begun <= position <= max(entry["order_seq"] for entry in entries)  # Dojo may have taken the news meanwhile.


@pytest.mark.parametrize("asked", ["after=-1", "after=x", "after=999999999", "limit=0", "limit=501", "wait=-1", "wait=1.5"])
def test_a_feed_that_is_asked_for_in_another_way_is_400(service, asked):
    assert asked.partition("=")[0] in is_refused(service.till.get(f"/till/feed?{asked}"), 400)


# Attention and what a person does about it


def test_attention_is_said_in_sentences_and_what_is_paid_and_not_on_the_till_comes_first(whole, command):
    """In the list, with its order, at the terminal, in the metrics and beside the readiness, which it does not touch."""
    service = whole.service
    reused = key_reused(whole)
    order_id, intent_id = disputed(whole, "attention-amount")
    whole.sandbox.fault("GET", "/payment-intents/pi_nobodys", "400")
    service.dojo.post("/v1/events", an_event("evt_nobodys", "pi_nobodys"))
    service.await_rest()  # Then its read is given up, and nothing else is to come.

    data = service.auditor.get("/api/attention").json["data"]

    gravity = list(ATTENTION)
    missing, rest = [item for item in data if item["paidNotOnTill"]], [item for item in data if not item["paidNotOnTill"]]
    assert data == missing + rest
    assert [item["since"] for item in missing] == sorted(item["since"] for item in missing)
    assert [gravity.index(item["code"]) for item in rest] == sorted(gravity.index(item["code"]) for item in rest)
    [item] = [item for item in missing if item["orderId"] == order_id]
    assert (item["code"], item["paymentIntentId"], item["tableId"], item["amount"]) == ("AMOUNT_MISMATCH", intent_id, "tbl_1", gbp(1100))
    assert item["why"] == f"Table tbl_1: GBP 11.00 is paid at Dojo and not on the till. {ATTENTION['AMOUNT_MISMATCH'].why}"
    assert [(item["why"], item["next"], item["amount"]) for item in rest if item["orderId"] == reused] == [(*ATTENTION["KEY_REUSE"], None)]

    some = service.auditor.get("/api/attention?code=KEY_REUSE").json["data"]
    assert some == [item for item in data if item["code"] == "KEY_REUSE"]
    is_refused(service.auditor.get("/api/attention?code=NONE"), 400)

    [shown] = service.order(order_id)["attention"]
    assert shown == {name: value for name, value in item.items() if name not in {"orderId", "tableId"}}
    by_hand = command("orders", "show", order_id).stdout
    assert all(text in by_hand for text in (item["code"], item["since"], item["detail"], item["why"], item["next"]))

    service.till.call("PUT", "/till/tables", [{"id": "tbl_1", "name": "Garden"}])
    [named] = [each for each in service.auditor.get("/api/attention").json["data"] if each["orderId"] == order_id]
    assert named["why"].startswith("Garden: GBP 11.00 is paid")
    assert "Garden: GBP 11.00 is paid" in command("attention", "list").stdout
    service.till.call("PUT", "/till/tables", [])
    listed = json.loads(command("orders", "list", "--attention", "--json").stdout)
    assert [order["id"] for order in listed["data"]] == list(dict.fromkeys(item["orderId"] for item in data if item["orderId"]))
    assert listed["service"] == [item for item in data if not item["orderId"]] != []
    lines = command("orders", "list", "--attention").stdout.splitlines()
    said = [(item["code"], item["since"], item["why"], item["next"]) for item in data]
    assert [(line.split()[0], line.split()[2].strip(":")) for line in lines if " since " in line] == [each[:2] for each in said]
    assert [line.strip().removeprefix("why").strip() for line in lines if line.startswith("    why ")] == [each[2] for each in said]
    assert [line.strip().removeprefix("next").strip() for line in lines if line.startswith("    next ")] == [each[3] for each in said]

    text = service.open.get("/metrics").body.decode()
    assert f"tillproof_paid_not_on_till {float(len(missing))}" in text
    assert float(re.search(r"^tillproof_paid_not_on_till_oldest_seconds (\S+)", text, re.MULTILINE)[1]) > 0
    assert re.search(r'^tillproof_attention\{code="AMOUNT_MISMATCH"\} [1-9]', text, re.MULTILINE)
    ready = service.open.get("/readyz")
    assert (ready.status, ready.json["reasons"]) == (200, [])
    assert ready.json["attention"] == {code: count for code in ATTENTION if (count := [item["code"] for item in data].count(code))}


def key_reused(whole):
    order_id = opened(whole.service)
    whole.service.till.post("/till/orders", a_bill(id=order_id, total=1300))
    assert codes(whole.service, order_id) == ["KEY_REUSE"]
    return order_id


def refused_after_payment(whole):
    order_id, _ = paid(whole, f"refused-{whole.service.reads.size()}")
    whole.service.await_state(order_id, "updated")
    whole.service.till.post(f"/till/orders/{order_id}/refuse", {"reason": "closed"})
    return order_id


def of_another_amount(whole):
    return disputed(whole, f"amount-{whole.service.reads.size()}")[0]


def of_another_currency(whole):
    return disputed(whole, f"currency-{whole.service.reads.size()}", 1200, "EUR")[0]


ALLOWED = {
    "accept_difference": of_another_amount,
    "detach_payment": of_another_currency,
    "mark_given_back": refused_after_payment,
    "acknowledge": key_reused,
}
NOT_ALLOWED = {
    "read_again": key_reused,
    "accept_difference": of_another_currency,
    "detach_payment": key_reused,
    "mark_given_back": of_another_amount,
    "acknowledge": of_another_amount,
}


@pytest.mark.parametrize("action", ALLOWED)
def test_a_person_settles_attention_and_the_journal_says_who_and_why(whole, action):  # I18
    service = whole.service
    order_id = ALLOWED[action](whole)
    service.await_rest()
    [code] = codes(service, order_id)

    reply = resolve(service, order_id, action)

    assert (reply.status, reply.json["attention"]) == (200, [])
    [entry] = [entry for entry in service.entries(order_id) if entry["kind"] == "operator" and entry["trigger"] == action]
    assert (entry["actor"], entry["body"]["reason"], entry["body"]["code"]) == ("operator:operator-1", f"because of {order_id}", code)


def test_accepting_a_difference_counts_what_the_intent_says(whole):
    order_id = of_another_amount(whole)
    assert whole.service.order(order_id)["paidAmount"] == gbp(0)

    resolve(whole.service, order_id, "accept_difference")

    assert whole.service.await_state(order_id, "updated")["paidAmount"] == gbp(1100)


def test_a_payment_that_was_taken_off_counts_nothing(whole):
    order_id = of_another_currency(whole)

    resolve(whole.service, order_id, "detach_payment")

    order = whole.service.order(order_id)
    assert (order["paidAmount"], [payment["state"] for payment in order["payments"]]) == (gbp(0), ["released"])


def test_reading_again_asks_dojo_and_settles_what_has_become_right(whole):
    service = whole.service
    order_id, intent_id = disputed(whole, "read-again", 1200, external_id="somebody-else")
    service.await_rest()
    assert codes(service, order_id) == ["EXTERNAL_ID_MISMATCH"]
    whole.sandbox.intents.link(intent_id, order_id)

    reply = resolve(service, order_id, "read_again", paymentIntentId=intent_id)

    assert reply.status == 200
    eventually(lambda: codes(service, order_id) == [])
    [entry] = [entry for entry in service.entries(order_id) if entry["trigger"] == "read_again"]
    assert (entry["kind"], entry["actor"], entry["payment_intent_id"]) == ("operator", "operator:operator-1", intent_id)
    assert service.await_state(order_id, "updated")["paidAmount"] == gbp(1200)


@pytest.mark.parametrize("action", NOT_ALLOWED)
def test_an_action_that_the_attention_is_not_for_is_409_and_changes_nothing(whole, action):
    service = whole.service
    order_id = NOT_ALLOWED[action](whole)
    service.await_rest()
    before = service.order(order_id)

    is_refused(resolve(service, order_id, action), 409)

    assert {**service.order(order_id), "orderSeq": 0, "updatedAt": ""} == {**before, "orderSeq": 0, "updatedAt": ""}
    assert [entry for entry in service.entries(order_id) if entry["kind"] == "operator" and entry["trigger"] == action] == []


def test_only_an_operator_resolves_with_a_reason_and_a_known_action(whole):  # A5
    order_id = key_reused(whole)
    path, asked = f"/api/orders/{order_id}/resolve", {"action": "acknowledge", "reason": "looked"}

    is_refused(whole.service.auditor.post(path, asked), 403)
    is_refused(whole.service.till.post(path, asked), 403)
    is_refused(whole.service.open.post(path, asked), 401)
    for wrong in ({"action": "acknowledge"}, asked | {"reason": ""}, asked | {"action": "forget"}):
        is_refused(whole.service.operator.post(path, wrong), 400)
    is_refused(whole.service.operator.post("/api/orders/none/resolve", asked), 404)
    assert codes(whole.service, order_id) == ["KEY_REUSE"]


# Export, proof, metrics


def test_the_export_is_the_journal_in_either_form(service):
    opened(service)
    last = end_of_feed(service)

    lines = service.auditor.get(f"/api/export?format=jsonl&to={last}")
    table = service.auditor.get(f"/api/export?format=csv&to={last}")

    stored = [entry for entry in service.reads.entries() if entry.seq <= last]
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in lines.body.splitlines()] == [e._asdict() | {"body": json.loads(e.body)} for e in stored]
    assert table.headers["content-type"].startswith("text/csv")
    assert [row["hash"] for row in csv.DictReader(io.StringIO(table.body.decode(), newline=""))] == [entry.hash for entry in stored]
    assert service.auditor.get(f"/api/export?to={last}").body == lines.body


def test_an_export_may_begin_and_end_anywhere(service):
    opened(service)

    lines = service.auditor.get("/api/export?from=3&to=5").body.splitlines()

    assert [json.loads(line)["seq"] for line in lines] == [3, 4, 5]
    assert service.auditor.get("/api/export?from=999999999").body == b""


@pytest.mark.parametrize("asked", ["from=5&to=4", "from=0", "from=-1", "to=x", "format=xml"])
def test_an_export_that_cannot_be_is_400(service, asked):
    is_refused(service.auditor.get(f"/api/export?{asked}"), 400)


def test_the_proof_of_an_order_holds_without_us(whole):
    order_id, _ = paid(whole, "proven")
    whole.service.await_state(order_id, "updated")
    whole.service.await_rest()

    proof = whole.service.auditor.get(f"/api/orders/{order_id}/proof").json

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(proof["public_key"]))
    checkpoint = verify_checkpoint(proof["checkpoint"], key)
    assert (checkpoint.size, checkpoint.root.hex(), proof["order_id"]) == (proof["size"], proof["root"], order_id)
    assert len(proof["entries"]) == len(whole.service.entries(order_id))
    for entry in proof["entries"]:
        columns = entry["columns"]
        assert entry_hash(HashedEntry(**{name: columns[name] for name in HASHED_COLUMNS})) == columns["hash"]
        path = [bytes.fromhex(node) for node in entry["path"]]
        assert root_from_inclusion(columns["hash"], entry["seq"] - 1, proof["size"], path) == checkpoint.root
    is_refused(whole.service.auditor.get("/api/orders/none/proof"), 404)


def test_the_metrics_have_their_names_and_no_ids(whole):
    order_id, intent_id = paid(whole, "measured")
    whole.service.await_state(order_id, "updated")

    reply = whole.service.open.get("/metrics")

    text = reply.body.decode()
    assert (reply.status, reply.headers["content-type"].startswith("text/plain")) == (200, True)
    for name in (
        *(
            "orders_total",
            "events_total",
            "attempts_total",
            "dead_letters",
            "oldest_unsettled_seconds",
            "last_event_age_seconds",
            "journal_rows",
        ),
        "http_request_duration_seconds_count",
    ):
        assert re.search(rf"^tillproof_{name}(\{{|\s)", text, re.MULTILINE), name
    assert not re.search(rf"{order_id}|{intent_id}|measured|\\b(pi|tp)_", text)


# The outbox


def a_dead_task(whole):
    """An announcement that Dojo refused for good."""
    whole.sandbox.fault("POST", "/epos/events", "400", times=1)
    order_id = whole.service.till.post("/till/orders", a_bill()).json["id"]
    [task] = eventually(lambda: [task for task in whole.service.tasks(order_id) if task["status"] == "dead"])
    assert codes(whole.service, order_id) == ["OUTBOX_DEAD"]
    return order_id, task["id"]


def is_sent_again(whole, order_id, task_id, reason):
    """The task was sent, the attention is gone, and the journal says who wanted it and why."""
    eventually(lambda: [task["status"] for task in whole.service.tasks(order_id) if task["id"] == task_id] == ["done"])
    assert (codes(whole.service, order_id), told(whole.sandbox, order_id)) == ([], 1)
    [entry] = [entry for entry in whole.service.entries(order_id) if entry["trigger"] == "requeue"]
    assert (entry["kind"], entry["body"]["reason"]) == ("operator", reason)
    return entry["actor"]


def test_an_operator_has_a_dead_task_tried_again(whole):
    order_id, task_id = a_dead_task(whole)
    path = f"/api/outbox/{task_id}/requeue"
    is_refused(whole.service.auditor.post(path, {"reason": "mended"}), 403)
    is_refused(whole.service.operator.post(path, {}), 400)

    reply = whole.service.operator.post(path, {"reason": "mended"})

    assert (reply.status, reply.json) == (200, {"id": task_id, "status": "pending"})
    assert is_sent_again(whole, order_id, task_id, "mended") == "operator:operator-1"
    is_refused(whole.service.operator.post(path, {"reason": "again"}), 409)
    is_refused(whole.service.operator.post("/api/outbox/none/requeue", {"reason": "x"}), 404)


@pytest.fixture
def command(service, monkeypatch):
    """Runs a command in this process with the settings of the service."""
    monkeypatch.chdir(service.folder)

    def run(*words):
        settings = {f"TILLPROOF_{name}": str(value) for name, value in service.settings.items()}
        return CliRunner().invoke(cli, words, obj=app.program(), prog_name="tillproof", env=settings)

    return run


def test_the_command_has_a_dead_task_tried_again_by_the_running_server(whole, command):
    order_id, task_id = a_dead_task(whole)

    ended = command("outbox", "requeue", task_id, "--reason", "by hand")

    assert (ended.exit_code, task_id in ended.stdout) == (0, True)
    assert is_sent_again(whole, order_id, task_id, "by hand").startswith("operator:")


def a_waiting_task(whole):
    """An announcement that Dojo could not take yet, and not for a while."""
    whole.sandbox.fault("POST", "/epos/events", "503", times=10_000)
    order_id = whole.service.till.post("/till/orders", a_bill()).json["id"]
    [task] = eventually(lambda: [task for task in whole.service.tasks(order_id) if task["attempts"] and task["status"] != "done"])
    return order_id, task["id"]


@pytest.mark.parametrize("by_command", [False, True], ids=["over HTTP", "by the command"])
def test_an_operator_has_a_call_tried_no_longer(whole, command, by_command):
    order_id, task_id = a_waiting_task(whole)
    path = f"/api/outbox/{task_id}/stop"
    is_refused(whole.service.auditor.post(path, {"reason": "enough"}), 403)
    is_refused(whole.service.operator.post(path, {}), 400)

    if by_command:
        ended = command("outbox", "stop", task_id, "--reason", "enough")
        assert (ended.exit_code, ended.stdout) == (0, f"{task_id} will not be tried again.\n")
    else:
        reply = whole.service.operator.post(path, {"reason": "enough"})
        assert (reply.status, reply.json) == (200, {"id": task_id, "status": "dead"})
    headers = {"Authorization": f"Basic {whole.sandbox.api_key}", "version": "2026-02-27"}
    requests.delete(f"{whole.sandbox.url}/sandbox/faults", headers=headers, timeout=PATIENCE).raise_for_status()

    [entry] = [entry for entry in whole.service.entries(order_id) if entry["trigger"] == "stop"]
    assert (entry["kind"], entry["body"]["reason"], entry["body"]["stopped"]) == ("operator", "enough", task_id)
    assert codes(whole.service, order_id) == ["OUTBOX_DEAD"]
    is_refused(whole.service.operator.post(path, {"reason": "again"}), 409)
    is_refused(whole.service.operator.post("/api/outbox/none/stop", {"reason": "x"}), 404)
    settling = f"/api/orders/{order_id}/resolve", {"action": "acknowledge", "reason": "enough"}
    is_refused(whole.service.operator.post(settling[0], settling[1] | {"code": "LOCK_STALE"}), 409)
    assert whole.service.operator.post(settling[0], settling[1] | {"code": "OUTBOX_DEAD"}).status == 200
    assert codes(whole.service, order_id) == []


def test_the_command_knows_no_task_that_the_running_server_does_not(command):
    ended = command("outbox", "requeue", "none", "--reason", "x")

    assert (ended.exit_code, "none" in ended.stderr, ended.stdout) == (1, True, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(command, shell):
    ended = command("completion", shell)

    assert ended.exit_code == 0
    assert "_TILLPROOF_COMPLETE" in ended.stdout
    assert f"{shell}_complete" in ended.stdout


# At the end


def test_after_all_of_this_the_journal_is_whole_and_the_command_works_alone(whole, command):
    """The last: it stops the service, and a dead task is then requeued under the command's own lock."""
    whole.service.await_rest()
    assert [line for line in whole.service.log() if line["level"] == "CRITICAL"] == []
    whole.service.assert_whole()
    order_id, task_id = a_dead_task(whole)
    assert whole.service.stop() == 0

    unknown = command("outbox", "requeue", "none", "--reason", "x")
    ended = command("outbox", "requeue", task_id, "--reason", "alone")
    whole.service.start()

    assert (unknown.exit_code, ended.exit_code) == (1, 0)
    assert is_sent_again(whole, order_id, task_id, "alone").startswith("operator:")
    whole.service.await_rest()
    whole.service.assert_whole()
