"""A start: what it costs after a crash, that it changes nothing but what is due, and what is served where it cannot do all at once."""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress

import pytest

import app
from adapters.checks import examine
from tests.bench import Server
from tests.contract.running import PATIENCE, Service, an_event, an_order, eventually, running, sqlite
from tests.contract.test_storage import a_journal, bound_by_permissions
from workflow import replay
from workflow.clock import SystemClock
from workflow.journal.connection import connect
from workflow.journal.schema import SCHEMA_VERSION

START_SECONDS = 3.0
"""Promised for a small journal on a machine of its own; other programs that share it cost time, but no processor time of ours."""
ORDERS = 30
PUT_BY_EVERY_TRY = {"outbox", "attempts"}
"""Their rows say when a task is tried next, how often it was, and how each try went; the wait for the next may be short."""


@pytest.fixture
def crashed(tmp_path):
    """A service that was killed with work to do; Dojo is out of reach, before and after."""
    service = Service(tmp_path, RETRY_BASE_MS=3_600_000, RETRY_CAP_MS=3_600_000, SWEEP_S=3600)
    service.start()
    for number in range(ORDERS):
        service.dojo.post("/v1/orders", an_order(f"o-{number}", intent_id=f"pi_{number}"))
        service.dojo.post("/v1/events", an_event(f"evt-{number}", f"pi_{number}"))
    service.dojo.post("/v1/events", an_event("evt-orphan", "pi_of_nobody"))
    service.kill()
    yield service
    service.kill()


def stored(service):
    """Every row of the journal's file but the tasks', the tasks by what is left of them, and the witness."""
    with closing(connect(service.journal, read_only=True)) as database:
        tables = sorted(set(database.table_names()) - PUT_BY_EVERY_TRY)
        rows = {table: database.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}
        tasks = database.execute("SELECT id, effect, status IN ('done', 'dead') FROM outbox ORDER BY id").fetchall()
    return rows, tasks, service.witness.read_bytes(), replay.replay(service.reads).digest


def start_and_crash(service):
    """Start, wait until everything is signed, and kill."""
    service.start()
    eventually(lambda: service.reads.rows("SELECT max(size) FROM checkpoint") == [(service.reads.size(),)])
    service.kill()


def test_a_second_start_after_a_crash_changes_nothing_that_the_first_did_not(crashed):  # I6
    entries, digest = crashed.reads.size(), replay.replay(crashed.reads).digest
    start_and_crash(crashed)
    first = stored(crashed)

    start_and_crash(crashed)

    assert stored(crashed) == first
    assert (crashed.reads.size(), first[-1]) == (entries, digest)  # Nor did the first one decide anything.
    crashed.assert_whole()


def test_a_start_after_a_crash_costs_less_processor_time_than_it_may_take(crashed):
    crashed.start()

    cpu = Server(crashed.ports[0], crashed.process.pid).cpu_seconds()

    assert 0 < cpu < START_SECONDS


def seconds_to_start(service):
    began = time.monotonic()
    service.start()
    took = time.monotonic() - began
    service.kill()
    return took


def test_a_start_after_a_crash_takes_no_longer_than_it_may(crashed):
    assert any(seconds_to_start(crashed) < START_SECONDS for _ in range(5))  # The machine may have much else to do.


def test_doctor_knows_the_ports_of_the_running_service_for_its_own(tmp_path):
    with running(tmp_path) as service:
        found = examine(service.environment, tmp_path / "tillproof.toml", app.dojo_client, SystemClock())

    assert [(one.level, one.text.split()[0]) for one in found if one.name == "listener"] == [("ok", "LISTEN"), ("ok", "CONSOLE_LISTEN")]


# One start that becomes another

NEXT_VERSION = """
from workflow.journal import schema
schema.SCHEMA_VERSION += 1
schema.MIGRATIONS[schema.SCHEMA_VERSION] = GIVEN
import app
app.main()
"""
SHORT = "CREATE TABLE novelty(n INTEGER)"
ENDLESS = f"{SHORT}; INSERT INTO novelty WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n FROM more) SELECT sum(n) FROM more"
WRONG = "CREATE TABLE journal(n INTEGER)"


def next_version(migration=SHORT):
    """The arguments of a program of the next version, whose journal needs this migration."""
    return ["-c", NEXT_VERSION.replace("GIVEN", repr(migration)), "serve"]


@pytest.fixture
def stopped(tmp_path):
    """A service of this version that has orders, and does not run."""
    a_journal(tmp_path)
    service = Service(tmp_path)
    service.log_path.touch()  # The folder may take no more files later.
    yield service
    tmp_path.chmod(0o700)
    service.kill()


def readiness(service):
    """What `/readyz` says, once it listens."""
    assert service.process.poll() is None, service.log_path.read_text()
    with suppress(OSError):
        return service.open.get("/readyz").json["reasons"]
    return None


def critical(service):
    return [line["event"] for line in service.log() if line["level"] == "CRITICAL"]


def lose_an_entry(service):
    with service.witness.open("a") as witness:
        witness.write(f"{service.reads.size() + 1} {'0' * 64}\n")


def test_a_second_server_of_a_newer_version_exits_4_and_the_first_serves_on(stopped, tmp_path):  # P1
    first, second = stopped.start(), Service(tmp_path)
    second.log_path = tmp_path / "second.log"

    second.launch(next_version())

    assert second.exit_code(4 * PATIENCE) == 4
    assert critical(second) == ["journal in use"]
    assert first.dojo.post("/v1/orders", an_order("second")).status == 200


def test_an_older_journal_that_lacks_entries_waits_for_an_operator_and_is_migrated_then(stopped):  # K10 S11
    lose_an_entry(stopped)
    stopped.launch(next_version())
    eventually(lambda: readiness(stopped) == ["HEAD_REGRESSED"], 4 * PATIENCE)
    assert sqlite(stopped.journal, "PRAGMA user_version") == [[(SCHEMA_VERSION,)]]

    accepted = stopped.operator.post("/api/resolve", {"action": "accept_lost_tail", "reason": "disk replaced"})

    assert accepted.status == 200
    assert readiness(stopped) == []
    assert sqlite(stopped.journal, "PRAGMA user_version") == [[(SCHEMA_VERSION + 1,)]]
    assert stopped.dojo.post("/v1/orders", an_order("second")).status == 200
    assert stopped.stop() == 0


def test_an_order_to_stop_does_not_wait_for_a_migration(stopped):  # K10 K16
    stopped.launch(next_version(ENDLESS))
    eventually(lambda: readiness(stopped) == ["MIGRATING"], 4 * PATIENCE)
    assert 'tillproof_attention{code="MIGRATING"} 1.0' in stopped.open.get("/metrics").body.decode()

    assert stopped.stop() == 0

    assert sqlite(stopped.journal, "PRAGMA user_version", "SELECT name FROM sqlite_master WHERE name = 'novelty'") == [
        [(SCHEMA_VERSION,)],
        [],
    ]


def test_a_migration_that_is_wrong_ends_with_3_and_leaves_the_journal_to_the_older_version(stopped):  # K10
    stopped.launch(next_version(WRONG))

    assert stopped.exit_code(4 * PATIENCE) == 3
    assert critical(stopped) == ["not started"]
    stopped.start()
    stopped.assert_whole()


needs_permissions = pytest.mark.skipif(sys.platform != "linux", reason="permissions are taken from root, on Linux")


@needs_permissions
def test_a_journal_that_lacks_entries_is_not_served_either_where_it_can_only_be_read(stopped, tmp_path):  # S2 S11
    lose_an_entry(stopped)
    tmp_path.chmod(0o500)

    stopped.start(ready=503, preexec_fn=bound_by_permissions)

    assert readiness(stopped) == ["HEAD_REGRESSED"]
    assert stopped.dojo.post("/v1/orders/search", {}).status == 503
    accept = {"action": "accept_lost_tail", "reason": "disk replaced"}
    assert stopped.operator.post("/api/resolve", accept).status == 503  # It could not be journaled.
    tmp_path.chmod(0o700)
    assert stopped.operator.post("/api/resolve", accept).status == 200
    assert readiness(stopped) == []
    assert stopped.dojo.post("/v1/orders", an_order("second")).status == 200
    assert stopped.stop() == 0
    stopped.assert_whole()


@needs_permissions
def test_an_older_journal_that_can_only_be_read_is_not_served_until_it_was_migrated(stopped, tmp_path):  # K10 S16
    tmp_path.chmod(0o500)
    stopped.launch(next_version(), preexec_fn=bound_by_permissions)
    eventually(lambda: readiness(stopped) == ["JOURNAL_READ_ONLY"], 4 * PATIENCE)
    assert 'tillproof_attention{code="JOURNAL_READ_ONLY"} 1.0' in stopped.open.get("/metrics").body.decode()
    assert stopped.dojo.post("/v1/orders/search", {}).status == 503

    tmp_path.chmod(0o700)

    eventually(lambda: readiness(stopped) == [], 4 * PATIENCE)
    assert stopped.dojo.post("/v1/orders/search", {}).status == 200
    assert sqlite(stopped.journal, "PRAGMA user_version") == [[(SCHEMA_VERSION + 1,)]]
    assert stopped.stop() == 0
