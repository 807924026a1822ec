"""Journals that older programs left with orders in flight: they verify, replay and mean what they meant, and are served to their end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from tests.builders import FixedClock
from tests.contract.running import PATIENCE, ROOT, Service, a_bill, an_event, an_order, eventually, register, sqlite
from tests.contract.test_till_callbacks import SECRET, Till
from tests.old_journal import LOCK, SIGNING_KEY, TOTAL, Past, load, new_sandbox
from workflow.clock import SystemClock
from workflow.journal.reads import OrderFilter, SqliteReads
from workflow.journal.schema import ORDER_INDEXES, SCHEMA_VERSION
from workflow.journal.sqlite import SqliteJournal
from workflow.journal.witness import Witnessed
from workflow.lifecycle import ORDER
from workflow.replay import replay, verify, verify_beside

DIGESTS = {
    "schema-1": "bd1695588d8dfd765ab4f02a68aed861bfea9d4df72496816f9c5946a8cc0b32",
}
"""What each journal means. It never changes: whatever a later program makes of old entries, the same orders come of them."""

LATER_VERSION = """
from workflow import lifecycle
other = lifecycle.ORDER._replace(states=lifecycle.ORDER.states | {"created": "Worded otherwise."})
lifecycle.DECLARATIONS = tuple(other if each is lifecycle.ORDER else each for each in lifecycle.DECLARATIONS)
lifecycle.ORDER = other
import app
app.main()
"""
"""A program whose declaration of an order is another one than that of the entries."""

FINALLY = {
    # What comes of each once Dojo has done its part: state, and the attention that is left for a person.
    "oap-created": ("updated", []),
    "oap-authorised": ("updated", []),
    "oap-captured": ("updated", []),
    "oap-reconciled": ("updated", []),
    "oap-updated": ("updated", []),
    "oap-refunded": ("refunded", []),
    "oap-reversed": ("reversed", []),
    "oap-expired": ("expired", []),
    "oap-cancelled": ("cancelled", []),
    "oap-failed": ("failed", []),
    "oap-mismatch": ("updated", ["OVERPAID"]),  # A person accepted it, and the bill is for less.
    "po-created": ("updated", []),
    "po-locked": ("updated", []),
    "po-announced": ("updated", []),
    "po-authorised": ("updated", []),
    "po-captured": ("updated", []),
    "po-parked": ("updated", []),
    "po-reconciled": ("updated", []),
    "po-updated": ("updated", []),
    "po-refunded": ("refunded", []),
    "po-reversed": ("reversed", []),
    "po-cancelled": ("cancelled", []),
    "po-failed": ("failed", []),
}
FOR_NO_ORDER = {("ORPHAN_EVENT",), ("PAID_NOT_ON_TILL",)}
"""The money that was parked, for an order that the till does not have."""


@pytest.fixture(params=DIGESTS)
def old(request, tmp_path):
    """The name of the journal, which is where the service has its own."""
    load(request.param, tmp_path / "tillproof.db")
    return request.param


def test_an_old_journal_verifies_replays_and_means_what_it_meant(old, tmp_path):  # P4 I6
    reads = SqliteReads(tmp_path / "tillproof.db")

    verified = verify(reads, tmp_path / "tillproof.db.witness", SIGNING_KEY.public_key(), SystemClock())
    replayed = replay(reads)

    assert (verified.first_bad, verified.witness.size) == (None, verified.entries)
    assert (replayed.mismatches, replayed.digest, replayed.orders) == ([], DIGESTS[old], len(FINALLY))
    left = {tuple(row) for row in reads.rows("SELECT flow, state FROM orders")}
    reachable = {("pay_only", state) for state in ORDER.states} - {("pay_only", "expired")}  # A bill of the till's is open again instead.
    assert left == reachable | {("order_and_pay", state) for state in ORDER.states if state != "created"} | {("pay_later", "created")}
    waiting = {row[0] for row in reads.rows("SELECT DISTINCT effect FROM outbox WHERE status IN ('pending', 'leased')")}
    assert waiting == {"read_intent", "order_updated", "tell_till"}
    assert reads.rows("SELECT 1 FROM attention")
    assert reads.rows("SELECT 1 FROM locks WHERE NOT released")
    assert reads.rows("SELECT 1 FROM parked")


def test_an_old_journal_has_the_tables_of_a_new_one_once_it_was_opened(old, tmp_path):  # P4
    """Whoever changes a table without a migration finds out here."""
    for name in ("tillproof.db", "new.db"):
        SqliteJournal(tmp_path / name, tmp_path / f"{name}.witness", SIGNING_KEY, FixedClock()).close()

    tables = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    [[(version,)], old_tables] = sqlite(tmp_path / "tillproof.db", "PRAGMA user_version", tables)
    assert (version, old_tables) == (SCHEMA_VERSION, sqlite(tmp_path / "new.db", tables)[0])


def test_a_journal_of_the_schema_before_gets_the_indexes_and_tables_that_it_lacks(tmp_path):  # P4
    """Schema 2 had no index by flow or of moments, and kept no attempts and repeats; what stands in the file is then as in a new one."""
    path = tmp_path / "tillproof.db"
    tables = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"

    def opened():
        SqliteJournal(path, tmp_path / "tillproof.db.witness", SIGNING_KEY, FixedClock()).close()
        return sqlite(path, "PRAGMA user_version", tables)

    new = opened()
    lacking = [index.name for index in ORDER_INDEXES if "flow" in index.equal]
    dropped = [f"DROP INDEX {name}" for name in (*lacking, "journal_by_time")] + ["DROP TABLE attempts", "DROP TABLE repeats"]
    sqlite(path, *dropped, "PRAGMA user_version = 2")
    assert lacking
    assert len(sqlite(path, tables)[0]) < len(new[1])

    assert opened() == new
    assert SqliteReads(path).orders(OrderFilter(flow="pay_only", state="updated"), 1) == []


KILLED_MIDWAY = """
import os, signal, sys
from pathlib import Path
from workflow.clock import SystemClock
from workflow.journal import sqlite as store
from workflow.journal.keys import load_key
path, statement = Path(sys.argv[1]), int(sys.argv[2])
done, migrate = [], store.migrate
def dying(database):
    database.conn.set_trace_callback(lambda sql: done.append(sql) if len(done) < statement else os.kill(os.getpid(), signal.SIGKILL))
    migrate(database)
    database.conn.set_trace_callback(None)
store.migrate = dying
store.SqliteJournal(path, Path(f"{path}.witness"), load_key(Path(f"{path}.key")), SystemClock()).close()
print(len(done))
"""
"""Opens a journal, and is killed before the statement of this number that changes its schema; else it says how many there were."""


def test_a_schema_that_is_changed_is_the_old_one_or_the_new_one_wherever_the_program_is_killed(tmp_path):  # K10 P4 I6
    def opened(statement):
        command = [sys.executable, "-c", KILLED_MIDWAY, str(tmp_path / "tillproof.db"), str(statement)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)

    def schema():
        left = "SELECT count(*) FROM sqlite_master WHERE name IN ('orders_1', 'payments_1')"
        return sqlite(tmp_path / "tillproof.db", "PRAGMA user_version", left)

    load("schema-1", tmp_path / "tillproof.db")
    shutil.copytree(tmp_path, whole := tmp_path.parent / "whole")
    statements = int(opened(1_000_000).stdout)
    assert statements > 30
    for statement in (1, statements // 4, statements // 2, statements - 1):
        for path in whole.iterdir():
            shutil.copy(path, tmp_path)
        for beside in ("-wal", "-shm"):
            (tmp_path / f"tillproof.db{beside}").unlink(missing_ok=True)
        assert opened(statement).returncode == -signal.SIGKILL
        assert schema() in ([[(1,)], [(0,)]], [[(2,)], [(0,)]])  # Each step is whole or not there.
        assert replay(SqliteReads(tmp_path / "tillproof.db")).digest == DIGESTS["schema-1"]
    assert 0 < int(opened(1_000_000).stdout) < statements  # What was whole is not done again.
    assert schema() == [[(SCHEMA_VERSION,)], [(0,)]]
    replayed = replay(SqliteReads(tmp_path / "tillproof.db"))
    assert (replayed.mismatches, replayed.digest) == ([], DIGESTS["schema-1"])


@pytest.mark.parametrize("program", [(), ("-c", LATER_VERSION, "serve")], ids=["this program", "one with another declaration"])
def test_what_an_old_program_left_in_flight_is_finished_by_this_one(old, tmp_path, program):  # P4 P5
    seen = Witnessed(tmp_path / "tillproof.db.witness")
    before = [tuple(entry) for entry in SqliteReads(tmp_path / "tillproof.db").entries()]
    till, sandbox = Till(), new_sandbox()
    past = Past(sandbox)
    sandbox.start()
    service = Service(tmp_path, sandbox.url, TILL_URL=till.url, TILL_SECRET=SECRET, SWEEP_S=1)
    try:
        service.start(program=program)
        register(service, sandbox)
        go_on(service, sandbox, past)

        eventually(lambda: {name: (order["state"], codes(order)) for name in FINALLY if (order := service.order(name))} == FINALLY)
        eventually(lambda: set(service.reads.rows("SELECT code FROM attention WHERE order_id = ''")) == FOR_NO_ORDER)
        eventually(lambda: service.reads.rows("SELECT DISTINCT status FROM outbox") == [("done",)])
        assert {call.news["orderId"] for call in till.calls} >= {"oap-authorised", "oap-captured", "po-parked"}
        service.assert_whole()
        assert service.stop() == 0
    finally:
        service.kill()
        sandbox.stop()
        till.stop()

    reads = SqliteReads(tmp_path / "tillproof.db")
    assert [tuple(entry) for entry in reads.entries(limit=len(before))] == before
    assert verify_beside(reads, seen, SIGNING_KEY.public_key(), SystemClock()).first_bad is None


def codes(order):
    return [item["code"] for item in order["attention"]]


def go_on(service, sandbox, past):
    """Dojo repeats what was answered by the program before, which changes nothing; then it and the operator do the rest."""
    for name, event_id in past.event_ids.items():
        status = event_id.rpartition("_")[2]
        assert service.dojo.post("/v1/events", an_event(event_id, past.intents[name], status)).status == 200
    again = service.dojo.post("/v1/orders", an_order("dojo-oap-authorised", total=TOTAL))
    assert (again.status, again.json["id"]) == (200, "oap-authorised")
    again = service.till.post("/till/orders", a_bill(total=TOTAL) | {"id": "po-created"})
    assert (again.status, again.json["id"]) == (200, "po-created")
    assert service.dojo.call("DELETE", f"/v1/orders/po-locked/locks/{LOCK}").status == 200

    for name in ("oap-created", "po-authorised", "oap-authorised"):
        if sandbox.intents.read(past.intents[name]).status == "Created":
            sandbox.intents.authorise(past.intents[name])
        sandbox.intents.capture(past.intents[name])
        sandbox.send_event(past.intents[name])
    for name in ("po-created", "po-locked", "po-announced"):
        sandbox.intents.capture(past.intents[name])
        sandbox.send_event(past.intents[name])
    for name in ("oap-cancelled", "oap-failed"):
        sandbox.intents.reverse(past.intents[name])
        sandbox.send_event(past.intents[name])
    resolved = service.operator.post("/api/orders/oap-mismatch/resolve", {"action": "accept_difference", "reason": "the menu was older"})
    assert resolved.status == 200
