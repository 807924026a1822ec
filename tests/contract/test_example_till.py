"""docs/example_till.py as a process of its own, against a running service and the sandbox: what it does, and that it misses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import requests

from adapters.sandbox import Sandbox, basket_of
from tests.contract.running import KEY, PATIENCE, ROOT, TOKENS, Service, an_order, eventually, free_port, register
from tests.contract.test_till_callbacks import SECRET, example
from workflow.money import Money

SECONDS = 10
LINES = 100
PROGRAM = ROOT / "docs" / "example_till.py"


class Between:
    """Stands between the example and the service. `kills` has the example killed at its next reports to the kitchen, and started again:
    `before` the service hears of one, or `after`, before the example hears the answer."""

    def __init__(self, service):
        self.kills, self.till, between = [], None, self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kill = between.kills.pop(0) if self.path.endswith("/status") and between.kills else None
                if kill != "before":
                    reply = service.open.call(self.command, self.path, raw or None, authorization=self.headers["Authorization"])
                if kill:
                    between.till.kill()
                    between.till.start()
                    return
                self.send_response(reply.status)
                self.end_headers()
                self.wfile.write(reply.body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

            def handle(self):
                with suppress(ConnectionError):
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


class Running:
    """The example beside a service; its state is the file that it keeps."""

    def __init__(self, folder, between, port):
        self.path, self.log_path = folder / "till.json", folder / "till.log"
        given = {"SERVICE": between.url, "TOKEN": TOKENS["till"], "TILL_SECRET": SECRET, "PORT": str(port)}
        self.environment, self.process = os.environ | given, None

    def start(self):
        with self.log_path.open("ab") as log:
            command = [sys.executable, str(PROGRAM), str(self.path)]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)

    def known(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {"after": 0, "orders": {}}

    def seen(self, order_id):
        found = self.known()["orders"].get(order_id, {})
        return found.get("status"), found.get("paid")


@pytest.fixture
def venue(tmp_path):
    port = free_port()
    sandbox = Sandbox(api_key=KEY, step_seconds=SECONDS, event_back_off_seconds=0.02)
    sandbox.start()
    service = Service(tmp_path, sandbox.url, TILL_URL=f"http://127.0.0.1:{port}/", TILL_SECRET=SECRET, CALL_DEADLINE_MS=700)
    between = Between(service)
    till = between.till = Running(tmp_path, between, port)
    try:
        service.start()
        register(service, sandbox)
        till.start()
        yield SimpleNamespace(sandbox=sandbox, service=service, till=till, between=between)
        service.await_rest()
        service.assert_whole()
    finally:
        between.server.shutdown()
        between.server.server_close()
        till.kill()
        service.kill()
        sandbox.stop()


def orders(venue, value=1200):
    """A customer orders and pays by phone; the id of the order."""
    result = venue.sandbox.order_and_pay(basket_of(Money(value, "GBP")), channels="capability")
    assert result.reason == ""
    return result.order_id


def opened(venue):
    """The bill that the example opens, once it is there."""
    bill_id = example.BILL["id"]
    eventually(lambda: venue.till.seen(bill_id)[0])
    return bill_id


def kitchen_of(venue, order_id):
    return [entry["to_state"] for entry in venue.service.entries(order_id) if entry["machine"].startswith("fulfilment@")]


def test_an_order_by_phone_is_accepted_cooked_and_ready(venue):
    order_id = orders(venue)
    venue.service.await_state(order_id, "updated")
    eventually(lambda: venue.till.seen(order_id) == ("Ready", 1200))

    assert kitchen_of(venue, order_id) == ["Submitted", "Confirmed", "Accepted", "Preparing", "Ready"]
    assert venue.service.order(order_id)["state"] == "updated"


def test_an_order_to_be_paid_later_is_cooked_before_it_is_paid(venue):
    order_id = venue.service.dojo.post("/v1/orders", an_order("later")).json["id"]

    eventually(lambda: venue.till.seen(order_id) == ("Ready", 0))
    assert kitchen_of(venue, order_id) == ["Submitted", "Accepted", "Preparing", "Ready"]


def test_an_order_whose_money_is_only_held_is_not_cooked(venue):
    intent = venue.sandbox.intents.make(Money(1200, "GBP"), reference="held", capture_mode="Manual", dojo_order_id="held")
    venue.sandbox.intents.authorise(intent.id)
    held = venue.service.dojo.post("/v1/orders", an_order("held", intent_id=intent.id)).json["id"]
    after = venue.service.dojo.post("/v1/orders", an_order("later")).json["id"]

    eventually(lambda: venue.till.seen(after) == ("Ready", 0))  # It has seen the one before as well.
    assert kitchen_of(venue, held) == ["Submitted"]


def test_the_bill_that_it_opened_is_paid_at_the_table(venue):
    bill_id = opened(venue)
    result = venue.sandbox.pay_only("tbl_7", channels="capability")
    assert (result.reason, result.order_id) == ("", bill_id)
    venue.service.await_state(bill_id, "updated")

    eventually(lambda: venue.till.seen(bill_id) == ("Ready", 2300))
    assert len([entry for entry in venue.service.entries(bill_id) if entry["trigger"] == "create"]) == 1


def test_killed_at_every_report_to_the_kitchen_it_makes_each_once(venue):
    venue.between.kills = ["before", "after"] * 4
    bill_id, order_id = opened(venue), orders(venue)
    for each in (bill_id, order_id):
        eventually(lambda each=each: venue.till.seen(each)[0] == "Ready", 2 * PATIENCE)

    assert venue.between.kills == []
    assert kitchen_of(venue, order_id) == ["Submitted", "Confirmed", "Accepted", "Preparing", "Ready"]
    assert kitchen_of(venue, bill_id) == ["Accepted", "Preparing", "Ready"]


def test_killed_again_and_again_it_misses_nothing(venue):
    bill_id = opened(venue)
    with ThreadPoolExecutor(2) as pool:
        ordered = [pool.submit(orders, venue, 1000 + number) for number in range(8)]
        paid = pool.submit(venue.sandbox.pay_only, "tbl_7", channels="capability")
        for done in range(1, 6):
            eventually(lambda done=done: len(venue.till.known()["orders"]) > done)
            venue.till.kill()
            venue.till.start()
        order_ids = [each.result() for each in ordered]
        assert paid.result().reason == ""

    for number, order_id in enumerate(order_ids):
        eventually(lambda number=number, order_id=order_id: venue.till.seen(order_id) == ("Ready", 1000 + number))
        assert venue.service.await_state(order_id, "updated")
        assert kitchen_of(venue, order_id) == ["Submitted", "Confirmed", "Accepted", "Preparing", "Ready"]
    eventually(lambda: venue.till.seen(bill_id) == ("Ready", 2300))
    venue.service.await_rest()
    eventually(lambda: venue.till.known()["after"] == venue.service.till.get("/till/feed?limit=500").json["after"])


def test_it_takes_its_call_backs_beside_the_feed(venue):
    opened(venue)
    order_id = orders(venue)
    eventually(lambda: venue.till.seen(order_id) == ("Ready", 1200))
    told = eventually(
        lambda: [task for task in venue.service.tasks(order_id) if task["effect"] == "tell_till" and task["status"] == "done"]
    )

    assert told
    assert venue.service.auditor.get("/api/attention").json["data"] == []


def test_a_forged_call_back_changes_nothing(venue):
    bill_id = opened(venue)
    before = venue.till.seen(bill_id)
    news = {"orderSeq": 10**6, "order": {"id": bill_id, "status": "Finalized", "paidAmount": {"value": 1}}}
    url = f"http://127.0.0.1:{venue.till.environment['PORT']}/"
    for headers in ({}, {"Tillproof-Signature": "t=1,v1=" + "0" * 64}):
        assert requests.post(url, json=news, headers=headers, timeout=SECONDS).status_code == 401

    assert venue.till.seen(bill_id)[1] == before[1]


def test_it_is_short_enough_to_be_read():
    lines = PROGRAM.read_text("utf-8").splitlines()
    assert len(lines) < LINES
    imports = [line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))]
    assert set(imports) - {"requests"} <= sys.stdlib_module_names
