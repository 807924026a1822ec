"""A POS that is tiny, but real and on the other end of a socket, and what tests need to let a sandbox meet it."""

from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import contextmanager, suppress
from queue import Queue
from types import SimpleNamespace

import pytest
import requests
from cheroot.wsgi import Server
from flask import Flask, jsonify, request
from jsonschema import Draft202012Validator

from adapters.sandbox import Sandbox
from workflow.money import Money

KEY = "sk_sandbox_test"
HEADERS = {"Authorization": f"Basic {KEY}", "version": "2026-02-27"}
USER = ("pos-user", "pos-pässword")
CREATED, STATUS_UPDATED = "payment_intent.created", "payment_intent.status_updated"
CAPABILITIES = ("CreateOrder", "CancelOrderById", "GetOrderById", "SearchOrders", f"HandleEvent:{CREATED}", f"HandleEvent:{STATUS_UPDATED}")
SECONDS = 60
"""How long anything is waited for; nothing takes nearly as long."""
STEP_SECONDS = 10
TABLE = "tbl_7"


def gbp(value):
    return Money(value, "GBP")


def wire(value):
    return {"value": value, "currencyCode": "GBP"}


class Peer:
    """The least that a POS must do: keep orders, read an intent after each event, show what agrees, tell Dojo of each change.

    It reads an intent anew until it has understood an answer, `reads` times at most, and waits `read_seconds` for each. `knows` is what
    it has of each intent. With `at_once` it has its say before it answers the event, so that nothing of it is still to come when the
    flow goes on.
    """

    CAPABILITIES = CAPABILITIES
    ROUTES = (
        ("POST", "/v1/orders", "create"),
        ("POST", "/v1/orders/search", "search"),
        ("GET", "/v1/orders/<order_id>", "order"),
        ("DELETE", "/v1/orders/<order_id>", "cancel"),
        ("POST", "/v1/events", "event"),
        ("POST", "/hook", "hook"),
    )

    def __init__(self, *, announces=True, records=True, reads=3, read_seconds=SECONDS, at_once=False):
        self.announces, self.records, self.reads, self.read_seconds, self.at_once = announces, records, reads, read_seconds, at_once
        self.orders, self.received, self.hooked, self.refusals, self.knows = {}, [], [], [], {}
        self.events, self.counting = Queue(), threading.RLock()
        app = Flask(__name__)
        app.before_request(self.note)
        for method, path, name in self.ROUTES:
            app.add_url_rule(f"/dojo{path}", view_func=getattr(self, name), methods=[method])
        self.server = Server(("127.0.0.1", 0), app, numthreads=4)
        self.server.expiration_interval = 0.05  # How long stopping takes.
        self.server.prepare()
        self.url = f"http://127.0.0.1:{self.server.bind_addr[1]}/dojo"
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.server.serve, self.work)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.events.put(None)
        self.server.stop()
        for thread in self.threads:
            thread.join(SECONDS)

    def note(self):
        self.received.append((request.method, request.path.removeprefix("/dojo"), request.get_json(silent=True)))
        expected = base64.b64encode(":".join(USER).encode()).decode()
        if not request.path.endswith("/hook") and request.headers.get("Authorization") != f"Basic {expected}":
            return {"errorType": "InvalidRequest"}, 401
        return ({"errorType": "Conflict"}, self.refusals.pop(0)) if self.refusals else None

    def open(self, total, order_id="pos-1", **known):
        details = {"orderType": "DineIn", "dineIn": {"tableId": TABLE}}
        figures = {"totalAmount": wire(total), "paidAmount": wire(0), "tipsAmount": wire(0)}
        self.orders[order_id] = {"id": order_id, "status": "New", "details": details, "payable": True} | figures | known
        return self.orders[order_id]

    def create(self):
        body = request.get_json()
        declared = {payment["paymentIntentId"]: payment["paidAmount"] for payment in body["payments"]}
        known = {"details": body["details"], "declared": declared, "payable": not declared}
        return jsonify(self.open(body["totalAmount"]["value"], f"pos-{body['dojoOrderId']}", **known))

    def search(self):
        where = request.get_json()["dineIn"].items()
        return jsonify(data=[order for order in self.orders.values() if order["payable"] and where <= order["details"]["dineIn"].items()])

    def order(self, order_id):
        return jsonify(self.orders[order_id]) if order_id in self.orders else ({"errorType": "NotFound"}, 404)

    def cancel(self, order_id):
        order = self.orders[order_id]
        if order["paidAmount"]["value"]:
            return {"errorType": "Conflict"}, 409
        order |= {"status": "Canceled", "payable": False}
        return jsonify(order)

    def event(self):
        intent_id = request.get_json()["data"]["paymentIntentId"]
        if self.at_once:
            self.act_on(intent_id)
        else:
            self.events.put(intent_id)
        return {}

    def hook(self):
        self.hooked.append((request.get_data(), request.headers.get("dojo-signature")))
        return self.event()

    def work(self):
        while intent_id := self.events.get():
            self.act_on(intent_id)

    def act_on(self, intent_id):
        for _attempt in range(self.reads):
            try:
                intent = self.read(intent_id)
            except (requests.RequestException, ValueError):
                continue
            if intent:
                self.record(intent)
                break

    def read(self, intent_id):
        """The intent, or None; not longer than `read_seconds` in all, which `requests` alone does not know."""
        url, until = f"{self.dojo_url}/payment-intents/{intent_id}?returnCanceled=true", time.monotonic() + self.read_seconds
        with requests.get(url, headers=HEADERS, timeout=self.read_seconds, stream=True) as answer:
            raw = b""
            for chunk in answer.iter_content(1):
                raw += chunk
                if time.monotonic() > until:
                    return None
            return json.loads(raw) if answer.ok else None

    def record(self, intent):
        order = self.orders.get(intent["orderDetails"].get("externalId"))
        if order is None or not _agrees(intent, order) or self.knows.get(intent["id"]) == _counted(intent):
            return
        ended = intent["status"] in {"Reversed", "Refunded"}
        if _counted(intent) == (0, 0) and intent["id"] not in self.knows and not ended:
            return
        self.count(order, intent["id"], *_counted(intent))
        if self.announces:
            self.announce(order["id"])

    def count(self, order, intent_id, paid, tips):
        with self.counting:  # What an event tells and what a call says may come at once.
            self.knows[intent_id] = paid, tips
            if self.records:
                self.show(order, intent_id)

    def show(self, order, intent_id):
        paid_by = order.setdefault("paid_by", [])
        paid_by += [intent_id] if intent_id not in paid_by else []
        mine = [self.knows[each] for each in paid_by]
        order["paidAmount"], order["tipsAmount"] = wire(sum(paid for paid, _ in mine)), wire(sum(tips for _, tips in mine))
        order["payable"] = order["paidAmount"]["value"] < order["totalAmount"]["value"]

    def announce(self, order_id):
        body = {"eventType": "OrderUpdated", "event": {"orderId": order_id}}
        with suppress(requests.ConnectionError):  # The sandbox may have been stopped.
            requests.post(f"{self.dojo_url}/epos/events", json=body, headers=HEADERS, timeout=SECONDS).raise_for_status()


class HastyPeer(Peer):
    """Announces before it has recorded, and once more when it has, after somebody was shown the order as it was."""

    def __init__(self, **settings):
        self.shown = threading.Event()
        super().__init__(**settings)

    def order(self, order_id):
        answer = super().order(order_id)
        self.shown.set()
        return answer

    def record(self, intent):
        self.announce(intent["orderDetails"]["externalId"])
        assert self.shown.wait(SECONDS)
        super().record(intent)


class TrustingPeer(Peer):
    """Shows the money of every intent that somebody says is captured, whether it agrees or not."""

    def record(self, intent):
        order = next(iter(self.orders.values()))
        order["paidAmount"] = order["totalAmount"]
        self.announce(order["id"])


class TardyPeer(TrustingPeer):
    """Reads the intent before it answers the event, and shows the money afterwards: once somebody read the order, or in a while."""

    def event(self):
        intent = self.read(request.get_json()["data"]["paymentIntentId"])
        self.events.put(intent)
        return {}

    def act_on(self, intent):
        before, waiting = self.looks(), threading.Event()
        for _ in range(20):
            if self.looks() > before:
                break
            waiting.wait(0.01)
        self.record(intent)

    def looks(self):
        return [method for method, _, _ in self.received].count("GET")


def _agrees(intent, order):
    """Same currency, and what was declared."""
    declared = order.get("declared", {}).get(intent["id"])
    due = {"value": intent["amount"]["value"] + intent.get("serviceChargeAmount", wire(0))["value"]}
    return intent["amount"]["currencyCode"] == "GBP" and declared in (None, due | {"currencyCode": "GBP"})


def _counted(intent):
    """(paid, tips) of an intent, less refunds."""
    if intent["status"] not in {"Captured", "Refunded"}:
        return 0, 0
    paid = intent["amount"]["value"] + intent.get("serviceChargeAmount", wire(0))["value"]
    tips = intent.get("tipsAmount", wire(0))["value"]
    if intent["captures"]:
        paid, tips = (sum(capture[name] for capture in intent["captures"]) for name in ("amount", "tipsAmount"))
    back = min(paid, intent["refundedAmount"])
    return paid - back, tips - (intent["refundedAmount"] - back)


@contextmanager
def running(*, peer=Peer, register=True, announces=True, records=True, reads=3, read_seconds=SECONDS, at_once=False, **settings):
    """A sandbox and a peer that know of each other, both stopped in the end."""
    seen = []
    options = {"api_key": KEY, "observer": seen.append, "step_seconds": STEP_SECONDS, "event_back_off_seconds": 0.01} | settings
    sandbox = Sandbox(**options)
    peer = peer(announces=announces, records=records, reads=reads, read_seconds=read_seconds, at_once=at_once)
    sandbox.start()
    peer.dojo_url = sandbox.url
    try:
        if register:
            assert put_rest(sandbox, peer.url, peer.CAPABILITIES).status_code == 200
        yield SimpleNamespace(sandbox=sandbox, peer=peer, seen=seen)
    finally:
        sandbox.stop()
        peer.stop()


def put_rest(sandbox, url, capabilities=CAPABILITIES):
    body = {
        "url": url,
        "auth": {"authType": "basic", "basic": {"username": USER[0], "password": USER[1]}},
        "capabilities": [{"name": name, "version": "v1"} for name in capabilities],
    }
    return requests.put(f"{sandbox.url}/epos/integrations/rest", json=body, headers=HEADERS, timeout=SECONDS)


def call(sandbox, method, path, body=None, **headers):
    return requests.request(method, sandbox.url + path, json=body, headers=HEADERS | headers, timeout=SECONDS)


def get(sandbox, path, **headers):
    return call(sandbox, "GET", path, **headers)


def post(sandbox, path, body, **headers):
    return call(sandbox, "POST", path, body, **headers)


def subscribe(pair, events=(CREATED, STATUS_UPDATED), url=None):
    """A webhook of the peer's; the subscription."""
    answer = post(pair.sandbox, "/webhooks", {"events": list(events), "url": url or f"{pair.peer.url}/hook"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events_by_capability(pair):
    """The bodies of the events that the peer got at /v1/events."""
    return [body for _, path, body in pair.peer.received if path == "/v1/events"]


def schema_check(specs):
    """A function that fails where a body is not what the published schema says; `specs` is their folder."""
    documents = {name: json.loads((specs / f"{name}.json").read_text("utf-8")) for name in ("epos-data-api", "dojo-api")}

    def check(spec, schema, body):
        components = documents[spec]["components"]
        Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": components}).validate(body)

    return check


def eventually(claim):
    """Wait, in small steps, until the claim holds; fail when it does not within `SECONDS`."""
    waiting = threading.Event()
    for _ in range(SECONDS * 100):
        if found := claim():
            return found
        waiting.wait(0.01)
    pytest.fail("it never came true")
