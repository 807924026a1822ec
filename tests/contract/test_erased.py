"""A customer is erased from running processes: paid through Dojo's side, erased over HTTP and by the command, and looked for everywhere."""

from __future__ import annotations

import http.client
import itertools
import json
import os

import pytest
from click.testing import CliRunner

import app
from adapters.cli.commands import cli
from tests.contract.running import a_bill, an_order, beside_sandbox, eventually, gbp, is_refused, published, whole_copy
from tests.contract.test_till_callbacks import SECRET, Till
from tests.crash.harness import a_dojo, a_venue
from workflow.clock import SystemClock
from workflow.money import Money
from workflow.replay import verify

REASON = {"reason": "letter 12"}
names = (f"lovelace{number}" for number in itertools.count())


def said_by(name):
    """What a customer of this name says, and what must be nowhere afterwards."""
    customer = {"id": f"cus_{name}", "name": f"Ada {name}", "emailAddress": f"ada@{name}.example", "phoneNumber": f"+44 20 7946 {name}"}
    return {"customer": customer, "note": f"the window seat for {name}", "displayName": name}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A service at a sandbox, and a till that it calls."""
    till = Till()
    try:
        patient = {"CALL_DEADLINE_MS": 30_000, "LEASE_S": 60}  # A call that a busy machine holds up is not made twice.
        with beside_sandbox(tmp_path_factory.mktemp("erasing"), TILL_URL=till.url, TILL_SECRET=SECRET, **patient) as pair:
            pair.till = till
            yield pair
    finally:
        till.stop()


def paid(pair, name):
    """The request of an order of somebody's that Dojo made and whose money went through to the end, and our id of it."""
    intent = pair.sandbox.intents.make(Money(1200, "GBP"), reference="r", capture_mode="Manual")
    pair.sandbox.intents.authorise(intent.id)
    item = {"plu": "PIZ-04", "name": "Margherita", "quantity": 1, "amountPerItem": gbp(1200), "note": f"no onions for {name}"}
    asked = an_order("d-ada", intent_id=intent.id) | said_by(name) | {"items": [item], "dojoOrderId": f"dojo-{intent.id}"}
    created = pair.service.dojo.post("/v1/orders", asked)
    assert created.status == 200, created.body
    pair.sandbox.intents.capture(intent.id)
    pair.sandbox.send_event(intent.id)
    pair.service.await_state(created.json["id"], "updated")
    pair.service.await_rest()
    return asked, created.json["id"]


def said_in(folder, name):
    """The files of the folder in which the name stands, the write-ahead log, the witness and the log included."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and name.encode() in path.read_bytes())


def command(service, monkeypatch, *words):
    """A command of the service's, in this process, which saves the start of another."""
    monkeypatch.chdir(service.folder)
    others = {name: None for name in os.environ if name.startswith("TILLPROOF_")}
    settings = {f"TILLPROOF_{name}": str(value) for name, value in service.settings.items()}
    return CliRunner().invoke(cli, [*map(str, words)], obj=app.program(), prog_name="tillproof", env=others | settings)


def reading(service, order_id):
    """Every answer that an order is read in."""
    found = {path: service.dojo.get(path).body for path in (f"/v1/orders/{order_id}", f"/v1/orders/{order_id}/bill")}
    found["search"] = service.dojo.post("/v1/orders/search", {}).body
    for path in ("/api/orders", f"/api/orders/{order_id}", f"/api/orders/{order_id}/journal", f"/api/orders/{order_id}/proof"):
        found[path] = service.auditor.get(path).body
    for path in ("/api/export", "/api/export?format=csv", "/api/attention", "/api/outbox"):
        found[path] = service.auditor.get(path).body
    return found | {"feed": service.till.get("/till/feed?limit=500").body}


def test_an_erased_customer_is_in_no_file_and_no_answer_and_everything_holds(pair, specs):  # I13 A15
    service, name = pair.service, next(names)
    asked, order_id = paid(pair, name)
    entries = service.entries(order_id)
    assert said_in(service.folder, name)  # What is looked for would be seen.
    assert name.encode() in reading(service, order_id)["feed"]

    reply = service.operator.post(f"/api/orders/{order_id}/erase", REASON)

    assert (reply.status, reply.json["id"], reply.json["state"]) == (200, order_id, "updated")
    assert said_in(service.folder, name) == []  # While it serves: database, write-ahead log and all.
    assert [where for where, shown in reading(service, order_id).items() if name.encode() in shown] == []
    is_valid = published(specs)
    order = is_valid("Order", service.dojo.get(f"/v1/orders/{order_id}").json)
    assert (order["customer"], order["note"], "displayName" in order) == ({"name": "erased"}, "erased", False)
    assert (order["paidAmount"], "note" in order["items"][0]) == (gbp(1200), False)
    bill = is_valid("OrderBill", service.dojo.get(f"/v1/orders/{order_id}/bill").json)
    assert bill["order"] == order
    assert any(line.get("text", {}).get("value", "").startswith("Personal details erased ") for line in bill["header"]["lines"])

    service.await_rest()
    service.assert_whole()
    assert service.entries(order_id)[: len(entries)] == entries
    assert service.auditor.get(f"/api/orders/{order_id}/proof").status == 200
    assert service.dojo.post("/v1/orders", asked).json == order  # The same CreateOrder again, which has all of it: nothing of it is kept.
    assert said_in(service.folder, name) == []


def test_dojo_and_the_till_are_told_and_read_erased(pair):
    service = pair.service
    _, order_id = paid(pair, next(names))
    before, calls = len(service.tasks(order_id)), len(pair.till.about(order_id))

    service.operator.post(f"/api/orders/{order_id}/erase", REASON)

    service.await_rest()
    assert {task["effect"] for task in service.tasks(order_id)[: len(service.tasks(order_id)) - before]} == {"order_updated", "tell_till"}
    [news] = [call.news for call in pair.till.about(order_id)[calls:]]
    assert news["order"]["customer"] == {"name": "erased"}
    items = service.till.get("/till/feed?limit=500").json["data"]
    assert (items[-1]["trigger"], items[-1]["order"]["note"]) == ("erase", "erased")


def test_an_erasing_is_for_operators_with_a_reason_for_orders_that_are_there_and_over(pair):  # A5
    service = pair.service
    open_id = service.till.post("/till/orders", a_bill(**said_by("ada"))).json["id"]
    path = f"/api/orders/{open_id}/erase"
    is_refused(service.auditor.post(path, REASON), 403)
    is_refused(service.operator.post(path, {}), 400)
    is_refused(service.operator.post("/api/orders/none/erase", REASON), 404)
    assert "not over" in is_refused(service.operator.post(path, REASON), 409)
    assert service.dojo.get(f"/v1/orders/{open_id}").json["customer"] == said_by("ada")["customer"]


def test_after_a_restart_it_is_erased_still_and_twice_is_once(pair):  # I11
    service = pair.service
    asked, order_id = paid(pair, name := next(names))
    first = service.operator.post(f"/api/orders/{order_id}/erase", REASON).json
    service.await_rest()
    entries = service.entries(order_id)
    assert service.stop() == 0
    service.start()

    again = service.operator.post(f"/api/orders/{order_id}/erase", {"reason": "once more"})

    assert (again.status, again.json["erasedAt"]) == (200, first["erasedAt"])
    assert service.entries(order_id) == entries
    assert service.dojo.post("/v1/orders", asked).json["customer"] == {"name": "erased"}
    assert said_in(service.folder, name) == []
    service.assert_whole()


def test_a_proof_and_a_sealed_copy_from_before_are_of_the_same_journal(pair, tmp_path):
    """Who has them can still show that they belong together: the copy has what was erased since, the newer head extends its own."""
    service = pair.service
    _, order_id = paid(pair, name := next(names))
    (tmp_path / "elsewhere").mkdir()
    copy = whole_copy(service.journal, tmp_path / "elsewhere" / "before.db")
    service.operator.post(f"/api/orders/{order_id}/erase", REASON)
    assert name.encode() in copy.read_bytes()  # As the command says: copies that were made before are not reached.
    assert verify(service.reads, service.witness, None, SystemClock()).ok


# By the command


def test_the_command_asks_the_running_server_and_says_what_is_left(pair, monkeypatch):
    service = pair.service
    _, order_id = paid(pair, name := next(names))

    ended = command(service, monkeypatch, "orders", "erase", order_id, "--reason", "letter 12")

    assert (ended.exit_code, ended.stderr) == (0, "")
    assert f"{order_id}  erased at " in ended.stdout
    assert "customer, displayName, itemNotes, note" in ended.stdout
    assert "Sealed copies and backups that were made before still have it" in ended.stdout
    assert said_in(service.folder, name) == []
    [entry] = [entry for entry in service.entries(order_id) if entry["trigger"] == "erase"]
    assert (entry["kind"], entry["actor"], entry["body"]["reason"]) == ("operator", "operator:operator-1", "letter 12")
    assert "personal erased at " in command(service, monkeypatch, "orders", "show", order_id).stdout
    refused = command(service, monkeypatch, "orders", "erase", "none", "--reason", "x")
    assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (1, "Next: tillproof orders list")


def test_alone_the_command_erases_and_the_next_start_tells_dojo(pair, monkeypatch):
    service = pair.service
    _, order_id = paid(pair, name := next(names))
    service.stop()

    ended = command(service, monkeypatch, "orders", "erase", order_id, "--reason", "letter 12", "--json")

    assert ended.exit_code == 0, ended.stderr
    [erased] = json.loads(ended.stdout)["erased"]
    assert (erased["id"], erased["kinds"]) == (order_id, ["customer", "displayName", "itemNotes", "note"])
    assert said_in(service.folder, name) == []
    service.start()
    eventually(lambda: {task["status"] for task in service.tasks(order_id)} == {"done"})
    assert service.entries(order_id)[-1]["kind"] == "effect"
    service.assert_whole()


def test_by_age_all_that_are_over_are_erased_and_the_rest_is_named(pair, monkeypatch):
    service = pair.service
    ids = [service.till.post("/till/orders", a_bill(id=f"aged-{number}", **said_by("ada"))).json["id"] for number in range(3)]
    service.till.post("/till/orders", a_bill(id="nameless"))
    for order_id in (*ids[:2], "nameless"):
        assert service.dojo.call("DELETE", f"/v1/orders/{order_id}").status == 200

    def erase(*words, reason=("--reason", "kept a year")):
        return json.loads(command(service, monkeypatch, "orders", "erase", *reason, "--json", *words).stdout)

    assert erase("--before", "2020-01-01") == {"found": [], "erased": [], "left": {}}
    preview = erase("--before", "2999-01-01", "--preview", reason=())
    assert {*ids} <= {*preview["found"]}
    assert ("nameless" in preview["found"], preview["erased"], preview["left"]) == (False, [], {})
    found = erase("--before", "2999-01-01")

    assert {*ids[:2]} <= {each["id"] for each in found["erased"]}
    assert "not over" in found["left"][ids[2]]
    assert erase("--before", "2999-01-01", "--preview")["found"] == [*found["left"]]
    service.await_rest()
    service.assert_whole()


def test_guests_of_what_is_over_are_erased_by_the_command(pair, monkeypatch):
    service, name = pair.service, next(names)
    asked = {"dojoPartyId": "dojo-13", "startTime": "2026-01-02T19:00:00Z", "tableIds": ["tbl_13"], "name": f"Ada {name}"}
    made = service.dojo.post("/v1/parties", asked).json["id"]
    asked |= {"status": "left", "endTime": "2026-01-02T21:00:00Z"}
    assert service.dojo.call("PUT", f"/v1/parties/{made}", asked).status == 200
    assert said_in(service.folder, f"Ada {name}")

    ended = command(service, monkeypatch, "bookings", "erase", made, "--reason", "letter 13", "--json")

    assert ended.exit_code == 0, ended.stderr
    assert [each["id"] for each in json.loads(ended.stdout)["erased"]] == [made]
    assert said_in(service.folder, f"Ada {name}") == []
    assert service.dojo.get(f"/v1/parties/{made}").json["name"] == "erased"


# Killed


@pytest.fixture(scope="module")
def dojo(tmp_path_factory):
    with a_dojo(tmp_path_factory.mktemp("dojo")) as dojo:
        yield dojo


@pytest.mark.parametrize("plan", ["before commit:1", "after commit:1"])
def test_a_kill_while_it_is_erased_leaves_all_or_nothing_and_the_next_start_and_the_same_again_finish_it(tmp_path, dojo, plan):  # K1 K2 K3
    with a_venue(tmp_path, dojo) as venue:
        assert venue.begin()
        venue.till.post("/till/orders", a_bill(id="bill-ada", **said_by("lovelace")))
        assert venue.dojo.call("DELETE", "/v1/orders/bill-ada").status == 200
        eventually(lambda: {task["status"] for task in venue.tasks("bill-ada")} == {"done"})
        venue.arm(plan)
        with pytest.raises((OSError, http.client.HTTPException)):
            venue.operator.post("/api/orders/bill-ada/erase", REASON)
        venue.kill()
        was_stored = plan != "before commit:1"
        assert venue.begin()

        assert (venue.order("bill-ada")["erasedAt"] is not None) == was_stored
        assert (said_in(tmp_path, "lovelace") == []) == was_stored
        assert venue.operator.post("/api/orders/bill-ada/erase", REASON).status == 200
        assert said_in(tmp_path, "lovelace") == []
        assert [entry["trigger"] for entry in venue.entries("bill-ada")].count("erase") == 1
        venue.kill()
        venue.assert_whole()
