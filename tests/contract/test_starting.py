"""A start after a crash: what it costs, and that it changes nothing but what is due."""

from __future__ import annotations

from contextlib import closing

import pytest

import app
from adapters.cli.doctor import examine
from tests.bench import Server
from tests.contract.running import Service, an_event, an_order, eventually, running
from workflow import replay
from workflow.clock import SystemClock
from workflow.journal.connection import connect

START_SECONDS = 3.0
"""Promised for a small journal on a machine of its own; other programs that share it cost time, but no processor time of ours."""
ORDERS = 30
PUT_BY_EVERY_TRY = "outbox"
"""Its rows say when a task is tried next, and how often it was."""


@pytest.fixture
def crashed(tmp_path):
    """A service that was killed with work to do; Dojo is out of reach, before and after."""
    service = Service(tmp_path, RETRY_BASE_MS=3_600_000, RETRY_CAP_MS=3_600_000)
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
        tables = sorted(set(database.table_names()) - {PUT_BY_EVERY_TRY})
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


def test_doctor_knows_the_ports_of_the_running_service_for_its_own(tmp_path):
    with running(tmp_path) as service:
        found = examine(service.environment, tmp_path / "tillproof.toml", app.dojo_client, SystemClock())

    assert [(one.level, one.text.split()[0]) for one in found if one.name == "listener"] == [("ok", "LISTEN"), ("ok", "CONSOLE_LISTEN")]
