"""Receipts: whatever was acknowledged can be held against any later proof, by a program that shares nothing with the server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import adapters.tillproof_verify as program
from adapters.cli.commands import cli
from tests.contract.running import PATIENCE, a_bill, an_event, an_order, gbp, is_refused, running, sqlite

SOURCE = Path(program.__file__)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("receipts")) as service:
        yield service


def receipt(reply):
    """What the answer's header says; None without one."""
    text = reply.headers.get("tillproof-receipt")
    return json.loads(text) if text else None


def command(service, *words, code=0):
    """Run a command of the program as a process of its own, and give what it prints."""
    asked = [sys.executable, "-m", "app", *words]
    ended = subprocess.run(asked, cwd=service.folder, env=service.environment, capture_output=True, timeout=PATIENCE, check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stdout


def check(folder, *words):
    """Run the stand-alone verifier as a process of its own, isolated: (code, words)."""
    asked = [sys.executable, "-I", str(SOURCE), *words]
    ended = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())


def entry_of(service, found):
    """The entry in the journal that a receipt stands for."""
    return sqlite(service.journal, f"SELECT order_id, hash, kind, trigger, cause, actor FROM journal WHERE hash = '{found['hash']}'")[0][0]


def test_what_dojo_asks_is_acknowledged_with_a_receipt_and_the_same_again_with_the_same(service):
    order = an_order("dojo-r1", intent_id="pi_r1")
    first = service.dojo.post("/v1/orders", order)
    event = service.dojo.post("/v1/events", an_event("evt_r1", "pi_r1"))

    assert (first.status, event.status) == (200, 200)
    assert receipt(first)["order_id"] == receipt(event)["order_id"] == first.json["id"]
    assert 0 < receipt(first)["order_seq"] < receipt(event)["order_seq"]
    assert entry_of(service, receipt(event))[4] == "event:evt_r1"
    assert receipt(service.dojo.post("/v1/orders", order)) == receipt(first)
    for _ in range(2):
        assert receipt(service.dojo.post("/v1/events", an_event("evt_r1", "pi_r1"))) == receipt(event)
    assert receipt(service.dojo.get(f"/v1/orders/{first.json['id']}")) is None


def test_a_repeat_that_adds_a_payment_has_a_receipt_of_its_own(service):
    first = service.dojo.post("/v1/orders", an_order("dojo-r2", total=1000))
    again = service.dojo.post("/v1/orders", an_order("dojo-r2", total=1000, intent_id="pi_r2"))

    assert (first.status, again.status) == (200, 200)
    assert receipt(again)["order_seq"] > receipt(first)["order_seq"]


def test_a_refusal_is_a_decision_and_has_its_receipt(service):
    service.dojo.post("/v1/orders", an_order("dojo-r3", total=1000))
    refused = service.dojo.post("/v1/orders", an_order("dojo-r3", total=2000))

    is_refused(refused, 409)
    assert entry_of(service, receipt(refused))[3] == "raise"
    assert receipt(service.dojo.post("/v1/orders", {"nothing": 1})) is None


def test_an_event_that_no_order_explains_is_acknowledged_all_the_same(service):
    parked, unknown = an_event("evt_r4", "pi_r4"), an_event("evt_r5", "pi_r5", event="payment_intent.imagined")
    for event in (parked, unknown):
        found = receipt(service.dojo.post("/v1/events", event))
        assert found["order_id"] == ""
        assert entry_of(service, found)[4] == f"event:{event['id']}"
        assert receipt(service.dojo.post("/v1/events", event)) == found

    asked = service.auditor.get("/api/receipts?source=event/capability&id=evt_r4:pi_r4")
    assert asked.status == 200
    assert asked.json["entry"]["columns"]["cause"] == "event:evt_r4"
    # Once its order is there the receipt stays what it was.
    service.dojo.post("/v1/orders", an_order("dojo-r4", intent_id="pi_r4"))
    assert service.auditor.get("/api/receipts?source=event/capability&id=evt_r4:pi_r4").json["hash"] == asked.json["hash"]


def test_the_till_and_an_operator_get_receipts_too(service):
    opened = service.till.post("/till/orders", a_bill() | {"id": "till-r6"})
    amended = service.till.call("PUT", "/till/orders/till-r6", a_bill(total=1500))
    unchanged = service.till.call("PUT", "/till/orders/till-r6", a_bill(total=1500))
    shut = service.till.call("PUT", "/till/state", {"takingOrders": True})
    locked = service.operator.post("/api/orders/till-r6/resolve", {"action": "acknowledge", "reason": "seen"})

    assert [reply.status for reply in (opened, amended, unchanged, shut)] == [200, 200, 200, 200]
    assert receipt(opened)["order_id"] == receipt(amended)["order_id"] == "till-r6"
    assert receipt(unchanged)["order_seq"] >= receipt(amended)["order_seq"]  # The order's newest entry, with what was asked for behind it.
    assert receipt(shut)["order_id"] == ""
    assert locked.status == 409
    assert entry_of(service, receipt(locked))[5].startswith("operator:")

    own = service.till.get("/till/orders/till-r6/receipts")
    kept = [{name: each[name] for name in ("order_id", "order_seq", "hash")} for each in own.json["data"]]
    assert kept == [receipt(opened), receipt(amended)]
    whole = service.auditor.get("/api/orders/till-r6/receipts").json["data"]
    assert [each["hash"] for each in whole] == [*(each["hash"] for each in kept), receipt(locked)["hash"]]


def test_what_is_idempotent_by_state_has_a_receipt_each_time_of_the_newest_entry_where_it_left_none(service):
    dojo, till, operator = service.dojo, service.till, service.operator
    till.post("/till/orders", a_bill(total=1000) | {"id": "till-s1"})
    order, lock = "/v1/orders/till-s1", {"lockId": "lock_s1", "expiry": "2099-01-01T00:00:00Z"}
    payment = {"paymentIntentId": "pi_s1", "paidAmount": gbp(1000), "lockId": "lock_s1"}
    asked = [
        # A reply may be lost: what Dojo gets of the same again is then all that it has.
        (lambda: dojo.post(f"{order}/lock", lock), 200, "lock:lock_s1", True),  # Again it is extended.
        (lambda: till.call("PUT", "/till/orders/till-s1", a_bill(total=1500)), 409, "amend_order", True),
        (lambda: dojo.post(f"{order}/record-payment", payment), 200, "record_payment:pi_s1", False),
        (lambda: dojo.post(f"{order}/record-payment", payment | {"paidAmount": gbp(1)}), 409, "record_payment:pi_s1", True),
        (lambda: dojo.call("DELETE", f"{order}/locks/lock_s1"), 200, "lock:lock_s1", False),
        (lambda: till.post("/till/orders/till-s1/status", {"status": "Preparing"}), 200, "status:Preparing", False),
        (lambda: operator.post("/api/orders/till-s1/erase", {"reason": "x"}), 409, "erase_order", True),
        (lambda: operator.post("/api/keys/rotate", {"reason": "x"}), 200, "key", True),
    ]
    for ask, status, cause, leaves_more in asked:
        first, again = ask(), ask()
        assert (first.status, again.status) == (status, status), first.body
        assert entry_of(service, receipt(first))[4] == cause
        if leaves_more:
            assert receipt(again) != receipt(first)
        newest = "SELECT max(order_seq) FROM journal WHERE order_id = '{order_id}'".format(**receipt(again))
        assert receipt(first)["order_seq"] <= receipt(again)["order_seq"] <= sqlite(service.journal, newest)[0][0][0]
        assert entry_of(service, receipt(again))[1] == receipt(again)["hash"]


def test_receipts_are_asked_for_by_message_or_place_and_by_whom_they_concern(service):
    created = service.dojo.post("/v1/orders", an_order("dojo-r7"))
    found = receipt(created)

    by_message = service.auditor.get("/api/receipts?source=create_order&id=dojo-r7").json
    by_place = service.auditor.get(f"/api/receipts?orderId={found['order_id']}&orderSeq={found['order_seq']}").json
    assert by_message["hash"] == by_place["hash"] == found["hash"]
    for words in (("--source", "create_order", "--id", "dojo-r7"), ("--seq", f"{by_place['entry']['seq']}")):
        printed = json.loads(command(service, "journal", "receipts", *words))
        assert [each["hash"] for each in printed["data"]] == [found["hash"]]

    for query, field in (
        ("", "source"),
        ("?source=create_order", "id"),
        ("?source=nothing&id=1", "source"),
        ("?source=create_order&id=1&orderId=2", "source"),
        ("?orderId=2", "orderSeq"),
        ("?orderId=2&orderSeq=x", "orderSeq"),
    ):
        assert field in is_refused(service.auditor.get(f"/api/receipts{query}"), 400)
    is_refused(service.auditor.get("/api/receipts?source=create_order&id=nobody"), 404)
    is_refused(service.auditor.get("/api/receipts?orderId=nobody&orderSeq=1"), 404)
    is_refused(service.auditor.get("/api/orders/nobody/receipts"), 404)
    is_refused(service.till.get("/till/orders/nobody/receipts"), 404)
    is_refused(service.till.get("/api/receipts?source=create_order&id=dojo-r7"), 403)
    is_refused(service.auditor.get(f"/till/orders/{found['order_id']}/receipts"), 403)
    assert service.till.get(f"/till/orders/{found['order_id']}/receipts").json == {"data": []}  # Dojo's are not the till's.


@pytest.mark.parametrize("words", [(), ("",), ("o1", "--seq", "1"), ("--source", "create_order"), ("--id", "1"), ("o1", "--id", "1")])
def test_receipts_are_asked_for_in_one_way_at_a_time(words):
    ended = CliRunner().invoke(cli, ["journal", "receipts", *words])

    assert (ended.exit_code, "expected an order, or --source and --id of a message, or --seq of an entry" in ended.stderr) == (2, True)


def test_a_consistency_proof_is_asked_for_by_the_sizes_of_checkpoints(service):
    for name in ("dojo-r8", "dojo-r9"):  # Asked for its receipt, an order is covered by a checkpoint.
        service.dojo.post("/v1/orders", an_order(name, intent_id=f"pi_{name}"))
        head = service.auditor.get(f"/api/receipts?source=create_order&id={name}").json["size"]
    whole = service.auditor.get("/api/consistency").json

    assert whole["old"]["size"] < whole["new"]["size"]
    assert service.auditor.get(f"/api/consistency?old={head}&new={head}").json["path"] == []
    assert "the nearest" in is_refused(service.auditor.get(f"/api/consistency?old={10**9}"), 404)
    assert "new" in is_refused(service.auditor.get(f"/api/consistency?old={head}&new=1"), 400)
    message = command(service, "journal", "consistency", str(10**9), code=1)
    assert message == b""
    old_proof = service.auditor.get(f"/api/orders/{service.auditor.get('/api/orders').json['data'][0]['id']}/proof?size={10**9}")
    is_refused(old_proof, 404)


def test_what_was_acknowledged_before_a_crash_is_in_every_later_proof_and_export(tmp_path):  # I1 I7
    with running(tmp_path) as service:
        created = service.dojo.post("/v1/orders", an_order("dojo-c1", intent_id="pi_c1"))
        event = service.dojo.post("/v1/events", an_event("evt_c1", "pi_c1"))
        parked = service.dojo.post("/v1/events", an_event("evt_c2", "pi_c2"))
        order_id = created.json["id"]
        kept = service.auditor.get("/api/checkpoint").body
        service.kill()
        service.start()
        service.dojo.post("/v1/orders", an_order("dojo-c2"))

        (tmp_path / "proof.json").write_bytes(service.auditor.get(f"/api/orders/{order_id}/proof").body)
        (tmp_path / "printed.json").write_bytes(command(service, "journal", "proof", order_id))
        (tmp_path / "grown.json").write_bytes(service.auditor.get("/api/consistency").body)
        (tmp_path / "export.jsonl").write_bytes(service.auditor.get("/api/export").body)
        (tmp_path / "export.csv").write_bytes(service.auditor.get("/api/export?format=csv").body)
        (tmp_path / "parked.json").write_bytes(service.auditor.get("/api/receipts?source=event/capability&id=evt_c2:pi_c2").body)
        (tmp_path / "kept.txt").write_bytes(kept)
        key = (
            "sha256:"
            + program.hashlib.sha256(program.base64.b64decode(json.loads((tmp_path / "proof.json").read_text())["public_key"])).hexdigest()
        )

    given = [word for reply in (created, event) for word in ("--receipt", reply.headers["tillproof-receipt"])]
    for name in ("proof.json", "printed.json"):
        code, said = check(tmp_path, name, "--key", key, *given)
        assert code == 0, said
    everything = ["--receipt", parked.headers["tillproof-receipt"], "--witness", f"{service.witness}", "--key", key]
    for form in ("jsonl", "csv"):
        code, said = check(tmp_path, f"export.{form}", "proof.json", "grown.json", "parked.json", *given, *everything)
        assert code == 0, said
        assert "nothing was left out" in said
    forged = json.dumps(json.loads(event.headers["tillproof-receipt"]) | {"hash": "0" * 64})
    code, said = check(tmp_path, "proof.json", "--receipt", forged)
    assert (code, "not the one of the receipt" in said) == (1, True)


def test_an_auditor_makes_and_checks_proofs_of_a_sealed_copy_with_the_public_key_alone(service, tmp_path):
    order_id = service.dojo.post("/v1/orders", an_order("dojo-s1")).json["id"]
    service.auditor.get(f"/api/orders/{order_id}/proof")  # A checkpoint covers it from now on.
    copy = str(tmp_path / "sealed.db")
    command(service, "journal", "seal", copy)
    key = json.loads(command(service, "journal", "key", "--json"))["data"][-1]["key"]
    elsewhere = {"env": service.environment | {"TILLPROOF_SIGNING_KEY": str(tmp_path / "none.key")}}

    for words in (("proof", order_id), ("consistency",), ("receipts", order_id)):
        asked = [sys.executable, "-m", "app", "journal", *words, "--journal", copy, "--key", key]
        ended = subprocess.run(asked, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False, **elsewhere)
        assert ended.returncode == 0, ended.stderr
        (tmp_path / f"{words[0]}.json").write_bytes(ended.stdout)
    code, said = check(tmp_path, "proof.json", "consistency.json", "--key", key, "--receipt", "receipts.json")
    assert code == 0, said
