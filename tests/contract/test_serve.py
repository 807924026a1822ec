"""`tillproof serve` as a process: what it refuses to start on, what it leaves behind, how it stops, and life without Dojo."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from adapters.sandbox import Sandbox
from tests.contract.misbehaving_server import MisbehavingServer, answer
from tests.contract.running import (
    KEY,
    PATIENCE,
    Service,
    a_bill,
    an_event,
    an_order,
    environment,
    eventually,
    free_port,
    register,
    sqlite,
    whole_copy,
)
from workflow.clock import from_text
from workflow.journal.schema import APPLICATION_ID
from workflow.money import Money
from workflow.replay import head

SECOND_SERVER_SECONDS = 2.0
"""From its first log line to its last: how long the interpreter takes to start is not ours."""


@pytest.fixture
def make(tmp_path):
    """Makes services in `tmp_path`, and ends whatever is left of them."""
    made = []

    def service(*arguments, **settings):
        made.append(Service(tmp_path, *arguments, **settings))
        return made[-1]

    yield service
    for one in made:
        one.kill()


def refused(service, **options):
    """The exit code of a service that must not start, and the critical lines of its log, each of which names the next command."""
    service.launch(**options)
    code = service.exit_code()
    critical = [line for line in service.log() if line["level"] == "CRITICAL"]
    assert [line for line in critical if not re.search(r"\btillproof (serve|doctor|journal)", line.get("next", ""))] == []
    return code, critical


def run_serve(folder, **settings):
    """`serve` where it ends before it logs anything: at its settings."""
    return subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# One server a journal


def seconds_to_refuse(service):
    """From the first log line to the last of a server that finds the journal in use."""
    began = len(service.log()) if service.log_path.exists() else 0
    service.launch()
    assert service.exit_code() == 4
    log = service.log()[began:]
    assert [line["next"] for line in log if line["event"] == "journal in use"] == ["stop the server that has it, then tillproof serve"]
    return (from_text(log[-1]["at"]) - from_text(log[0]["at"])).total_seconds()


def test_a_second_server_on_the_same_journal_exits_4_at_once_and_the_first_serves_on(make):  # P1
    first = make().start()

    assert any(seconds_to_refuse(make()) < SECOND_SERVER_SECONDS for _ in range(5))  # The machine may have much else to do.
    assert first.dojo.post("/v1/orders", an_order("still-there")).status == 200


def test_after_a_kill_the_journal_is_free_again_and_nothing_acknowledged_is_lost(make):  # K2
    service = make().start()
    made = [service.dojo.post("/v1/orders", an_order(f"k-{number}")).json["id"] for number in range(5)]
    service.kill()

    service.start()

    assert [service.dojo.get(f"/v1/orders/{order_id}").status for order_id in made] == [200] * 5
    service.assert_whole()


# Files that are no journal of ours


def a_foreign_database(path):
    sqlite(path, "CREATE TABLE recipe(name TEXT)", "INSERT INTO recipe VALUES ('soup')")


def a_foreign_database_in_wal_mode(path):
    sqlite(path, "PRAGMA journal_mode = WAL", "CREATE TABLE recipe(name TEXT)")


def a_newer_journal(path):
    a_foreign_database(path)
    sqlite(path, f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 9999")


@pytest.mark.parametrize(
    "put",
    [
        a_foreign_database,
        a_foreign_database_in_wal_mode,
        a_newer_journal,
        lambda path: path.write_text("Dear diary,\n" * 1_000),
        lambda path: path.write_bytes(b""),
    ],
    ids=["foreign", "foreign-wal", "newer", "text", "empty"],
)
def test_a_file_that_is_no_journal_of_ours_is_refused_with_5_and_left_as_it_was(make, put):  # S14 P6
    service = make()
    put(service.journal)
    before = service.journal.read_bytes()

    code, critical = refused(service)

    assert code == 5
    assert str(service.journal) in critical[0]["error"]
    assert service.journal.read_bytes() == before
    assert [path.name for path in service.folder.iterdir() if path.name.endswith(("-wal", "-shm", ".new", ".witness"))] == []


def test_where_a_file_is_refused_no_key_is_made_beside_it(make):  # S14
    service = make()
    a_foreign_database(service.journal)

    assert refused(service)[0] == 5

    assert not service.journal.with_name(f"{service.journal.name}.key").exists()


@pytest.mark.parametrize("name", ["tillproof.db", "sub/../tillproof.db", "tillproof.db-wal", "tillproof.db.key"])
def test_a_journal_is_not_served_whose_witness_would_be_another_of_its_own_files(make, name):  # S14
    service = make().start()
    service.dojo.post("/v1/orders", an_order("kept"))
    service.kill()  # So that there is a WAL.
    files = {path: path.read_bytes() for path in service.folder.glob("tillproof.db*")}

    ended = run_serve(service.folder, **service.settings | {"WITNESS": service.folder / name})

    assert ended.returncode == 3
    assert "is the same file as" in ended.stderr
    assert {path: path.read_bytes() for path in service.folder.glob("tillproof.db*")} == files


def test_another_programs_file_in_the_witnesss_place_is_refused_with_5_and_nothing_is_made(make):  # S14
    service = make()
    theirs = service.folder / "diary.txt"
    theirs.write_text("Dear diary, nothing happened")
    service.settings["WITNESS"] = theirs

    code, critical = refused(service)

    assert code == 5
    assert [line["next"] for line in critical] == [
        "set TILLPROOF_WITNESS to the witness, or put this file aside where it was the witness, then tillproof serve"
    ]
    assert theirs.read_text() == "Dear diary, nothing happened"
    assert list(service.folder.glob("tillproof.db*")) == []


def test_a_directory_in_the_journals_place_is_refused_and_left_empty(make):  # S14
    service = make()
    service.journal.mkdir()

    code, critical = refused(service)

    assert code == 3
    assert "not a plain file" in critical[0]["error"]
    assert list(service.journal.iterdir()) == []


def test_a_symbolic_link_to_a_journal_is_refused(make):  # S14
    service = make().start()
    assert service.stop() == 0
    real = service.journal.rename(service.journal.with_name("real.db"))
    service.journal.symlink_to(real)

    code, critical = refused(service)

    assert code == 3
    assert "not a plain file" in critical[-1]["error"]


def test_a_journal_under_a_second_name_is_refused_by_either_while_it_is_served_and_later(make):  # P1 S14
    service = make().start()
    hard = service.folder / "hard.db"
    hard.hardlink_to(service.journal)
    second = make(JOURNAL=hard, SIGNING_KEY=f"{service.journal}.key", WITNESS=service.witness)
    second.log_path = service.folder / "second.log"

    code, critical = refused(second)

    assert (code, "has another name as well" in critical[-1]["error"]) == (3, True)
    assert not hard.with_name("hard.db.lock").exists()
    assert service.dojo.post("/v1/orders", an_order("first")).status == 200
    assert service.stop() == 0
    assert refused(service)[0] == 3

    hard.unlink()
    service.start().assert_whole()


def test_a_symbolic_link_that_leads_nowhere_is_refused_and_left_as_it_is(make):  # S14
    service = make()
    service.journal.symlink_to(service.folder / "unmounted" / "tillproof.db")

    code, _ = refused(service)

    assert code == 3
    assert service.journal.is_symlink()


def test_a_journal_whose_lost_tail_the_witness_saw_is_not_served(make):  # S11
    service = make()
    early = lose_tail(service)
    before = service.journal.read_bytes(), service.witness.read_bytes()

    service.start(ready=503)

    assert service.open.get("/readyz").json == {"reasons": ["HEAD_REGRESSED"]}
    assert 'tillproof_attention{code="HEAD_REGRESSED"} 1.0' in service.open.get("/metrics").body.decode()
    for reply in (
        service.dojo.get(f"/v1/orders/{early}"),
        service.dojo.post("/v1/orders", an_order("early")),
        service.dojo.post("/v1/orders/search", {}),
        service.dojo.post("/v1/events", an_event("evt", "pi")),
    ):
        assert (reply.status, reply.json["errorType"]) == (503, "UnexpectedError")
        assert int(reply.headers["retry-after"]) > 0
    assert service.till.post("/till/orders", a_bill()).status in {404, 503}
    assert service.auditor.get("/api/orders").status in {404, 503}
    assert service.dojo.get("/healthz").status == 200
    assert service.open.get("/healthz").status == 200
    assert service.stop() == 0
    assert (service.journal.read_bytes(), service.witness.read_bytes()) == before
    said = next(line for line in service.log() if line["level"] == "CRITICAL")
    assert said["event"] == "journal is behind its witness"
    assert said["next"].endswith("tillproof journal accept-lost-tail --reason TEXT")


def test_a_witness_that_lags_behind_is_served(make):  # I7
    service = make().start()
    service.dojo.post("/v1/orders", an_order("first"))
    service.dojo.post("/v1/orders", an_order("second"))
    assert service.stop() == 0
    lines = service.witness.read_bytes().splitlines(keepends=True)
    service.witness.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])

    service.start()

    service.dojo.post("/v1/orders", an_order("third"))
    service.assert_whole()


# Settings and addresses


def test_an_unknown_setting_ends_with_3_and_the_nearest_name(tmp_path):
    ended = run_serve(tmp_path, LISTN="127.0.0.1:0", DOJO_APIKEY="x", ENV="test")

    assert ended.returncode == 3
    assert "TILLPROOF_LISTN: there is no such setting; the nearest is LISTEN" in ended.stderr
    assert "TILLPROOF_DOJO_APIKEY: there is no such setting; the nearest is DOJO_API_KEY" in ended.stderr
    assert ended.stderr.rstrip().endswith("Next: tillproof doctor")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_in_the_settings_file_ends_with_3_and_the_nearest_name(tmp_path):
    (tmp_path / "tillproof.toml").write_text('curency = "GBP"\n')

    ended = run_serve(tmp_path)

    assert ended.returncode == 3
    assert "the nearest is CURRENCY" in ended.stderr


def test_without_credentials_production_ends_with_3_and_names_each(tmp_path):
    ended = run_serve(tmp_path)

    assert ended.returncode == 3
    for name in ("DOJO_API_KEY", "EPOS_USERNAME", "EPOS_PASSWORD"):
        assert f"TILLPROOF_{name}: required" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_half_of_the_credentials_and_plain_http_to_dojo_end_with_3_and_show_no_secret(tmp_path):
    ended = run_serve(tmp_path, DOJO_API_KEY="sk_prod_canary", DOJO_URL="http://dojo.example.com", EPOS_PASSWORD="canary-2")

    assert ended.returncode == 3
    assert "TILLPROOF_EPOS_USERNAME" in ended.stderr
    assert "TILLPROOF_DOJO_URL" in ended.stderr
    assert "canary" not in ended.stderr + ended.stdout


@pytest.mark.parametrize("name", ["LISTEN", "CONSOLE_LISTEN"])
def test_a_port_that_is_taken_ends_with_4_and_names_the_address(make, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code, critical = refused(make(**{name: f"127.0.0.1:{port}"}))

    assert code == 4
    assert str(port) in json.dumps(critical[0])
    assert critical[0]["next"] == f"free it, or set TILLPROOF_{name} to another, then tillproof serve"


def test_a_key_that_is_none_ends_with_3_and_names_doctor(make):
    service = make()
    service.journal.with_name(f"{service.journal.name}.key").write_text("no key")

    code, critical = refused(service)

    assert (code, [line["next"] for line in critical]) == (3, ["tillproof doctor"])
    assert not service.journal.exists()


def test_a_journal_without_a_node_of_its_tree_ends_with_5_and_names_verify(make):
    service = make().start()
    for number in range(5):
        service.dojo.post("/v1/orders", an_order(f"n-{number}"))
    assert service.stop() == 0
    sqlite(service.journal, "DELETE FROM tree_node")

    code, critical = refused(service)

    assert (code, [line["next"] for line in critical]) == (5, ["tillproof journal verify"])


# Files


def test_every_file_is_its_owners_alone_whatever_the_umask(make, tmp_path):  # S17
    folder = tmp_path / "made" / "by-serve"
    service = make(JOURNAL=folder / "till.db").start(umask=0)
    service.dojo.post("/v1/orders", an_order("files"))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert {"till.db", "till.db-wal", "till.db.witness", "till.db.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# Stopping


def test_sigterm_ends_with_0_in_time_and_leaves_a_checkpoint_of_everything(make):  # K16
    service = make().start()
    for number in range(20):
        service.dojo.post("/v1/orders", an_order(f"c-{number}", intent_id=f"pi_{number}"))
    began = time.monotonic()

    assert service.stop() == 0

    assert time.monotonic() - began < 10
    size, root = head(service.reads)
    assert service.reads.rows("SELECT size, root FROM checkpoint ORDER BY size DESC LIMIT 1") == [(size, root)]
    assert service.witness.read_text().splitlines()[-1] == f"{size} {root}"
    service.assert_whole()


def test_after_a_clean_stop_the_database_file_alone_is_the_whole_journal(make, tmp_path):  # K16 S11
    """Whoever copies or moves one file of a stopped service must not lose the newest orders with the other."""
    service = make().start()
    created = service.dojo.post("/v1/orders", an_order("last-one")).json["id"]
    assert service.stop() == 0

    alone = tmp_path / "alone.db"
    shutil.copy(service.journal, alone)

    assert sqlite(alone, f"SELECT state FROM orders WHERE id = '{created}'") == [[("created",)]]


def test_sigterm_leaves_a_request_whose_body_is_still_coming_its_answer(make):  # K16
    service = make().start()
    raw = json.dumps(an_order("half-way")).encode()
    head_lines = (
        f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: {service.dojo.authorization}\r\nContent-Type: application/json\r\n"
        f"Expect: 100-continue\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.ports[0]), PATIENCE) as connection:
        connection.sendall(head_lines.encode())
        assert connection.recv(1_024).startswith(b"HTTP/1.1 100")  # Only sent when the body is asked for.
        connection.sendall(raw[:50])
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: not accepts(service.ports[0]))

        connection.sendall(raw[50:])
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200")
    assert service.exit_code(10) == 0
    [(order_id,)] = service.reads.rows("SELECT id FROM orders WHERE dojo_order_id = 'half-way'")
    assert order_id.encode() in answer


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_under_load_sigterm_leaves_just_what_was_acknowledged_on_both_sides(make):  # K16 I1
    """Dojo takes calls and never answers, and on either side there are clients that never send the rest."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent, ExitStack() as slow:
        service = make(f"http://127.0.0.1:{silent.getsockname()[1]}", CALL_DEADLINE_MS=60_000).start()
        acknowledged, others, stopping = {"dojo": [], "till": []}, [], threading.Event()
        for port in service.ports * 10:
            slow.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)).sendall(b"POST /v1/orders HTTP/1.1\r\nHo")

        def ask_again_and_again(client):
            for number in range(10_000):
                side, name = ("dojo", "till")[client % 2], f"load-{client}-{number}"
                try:
                    if side == "dojo":
                        reply = service.dojo.post("/v1/orders", an_order(name, intent_id=f"pi-{name}"))
                    else:
                        reply = service.till.post("/till/orders", a_bill(id=name))
                except ConnectionError:  # Refused, or closed before the request was read: then it is not stored either.
                    return
                (acknowledged[side] if reply.status == 200 else others).append(reply.json.get("id"))
                if min(map(len, acknowledged.values())) > 30:
                    stopping.set()

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(ask_again_and_again, client) for client in range(4)]
            assert stopping.wait(2 * PATIENCE)
            code = service.stop()
            for client in clients:
                client.result(PATIENCE)

    assert (code, others) == (0, [])
    assert [line["event"] for line in service.log() if line["event"] == "worker killed"] == []
    stored = {order_id for (order_id,) in service.reads.rows("SELECT id FROM orders")}
    assert {*acknowledged["dojo"], *acknowledged["till"]} == stored
    assert service.reads.rows("SELECT status FROM outbox WHERE status IN ('dead', 'paused')") == []
    service.assert_whole()


def test_a_stop_during_the_start_ends_it_with_0(make):
    service = make()
    service.launch()

    eventually(service.log_path.read_text)
    service.process.send_signal(signal.SIGTERM)

    assert service.exit_code(10) == 0


# The log


def test_every_log_line_is_one_object_with_at_level_and_event(make):  # A16
    service = make().start()
    service.dojo.post("/v1/orders", an_order('\n{"level": "info"}\x85\u2028\x1b[31m'.strip(), intent_id="pi_log"))
    service.dojo.post("/v1/events", an_event("evt-log", "pi_log"))
    service.dojo.get("/v1/orders/%0a%7b%22level%22:%22info%22%7d")
    eventually(lambda: any(line["event"] == "effect failed" for line in service.log()))
    assert service.stop() == 0

    raw = service.log_path.read_bytes()
    assert raw.isascii()
    assert raw.endswith(b"\n")
    for line in service.log():
        assert {"at", "level", "event"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"])
        assert line["level"] in {"INFO", "WARNING", "ERROR", "CRITICAL"}
    events = [line["event"] for line in service.log()]
    assert {"serving", "stopped"} <= set(events)
    failed = next(line for line in service.log() if line["event"] == "effect failed")
    assert {"order_id", "attempt", "error"} <= failed.keys()


# Without Dojo


def test_without_dojo_orders_are_taken_and_when_it_comes_back_all_is_caught_up(make):  # U8 I20
    port = free_port()
    sandbox = Sandbox(api_key=KEY, port=port)
    intents = [sandbox.intents.capture(sandbox.intents.make(Money(1200, "GBP"), reference="r").id).id for _ in range(3)]
    service = make(f"http://127.0.0.1:{port}").start()
    orders = [service.dojo.post("/v1/orders", an_order(f"alone-{intent}", intent_id=intent)) for intent in intents]
    events = [service.dojo.post("/v1/events", an_event(f"evt-{intent}", intent)) for intent in intents]
    bill = service.till.post("/till/orders", a_bill())
    assert {reply.status for reply in (*orders, *events, bill)} == {200}
    eventually(lambda: sum(line["event"] == "effect failed" for line in service.log()) >= 6)
    assert service.open.get("/readyz").status == 200
    assert {service.order(order.json["id"])["paidAmount"]["value"] for order in orders} == {0}

    sandbox.start()
    try:
        for order in orders:
            settled = service.await_state(order.json["id"], "updated")
            assert (settled["paidAmount"]["value"], settled["attention"]) == (1200, [])
        service.await_rest()
    finally:
        sandbox.stop()

    assert service.reads.rows("SELECT count(*) FROM outbox WHERE status != 'done'") == [(0,)]
    service.assert_whole()


def test_while_dojo_refuses_the_key_nothing_is_given_up_and_it_recovers_by_itself(make):  # U4
    sandbox = Sandbox(api_key=KEY, step_seconds=10)
    sandbox.start()
    try:
        service = make(sandbox.url).start()
        register(service, sandbox)
        sandbox.fault("GET", "/payment-intents/*", "401", times=3)
        sandbox.fault("POST", "/epos/events", "403", times=3)

        result = sandbox.order_and_pay()

        assert (result.state, result.reason) == ("done", "")
        service.await_state(result.order_id, "updated")
        refusals = [message.status for message in sandbox.messages() if message.status in {401, 403}]
        assert sorted(refusals) == [401] * 3 + [403] * 3
        assert service.reads.rows("SELECT count(*) FROM outbox WHERE status = 'dead'") == [(0,)]
    finally:
        sandbox.stop()


def test_a_restart_sends_what_an_earlier_process_left(make):  # K4 K7
    port = free_port()
    service = make(f"http://127.0.0.1:{port}", RETRY_BASE_MS=3_600_000, RETRY_CAP_MS=3_600_000).start()
    opened = service.till.post("/till/orders", a_bill()).json["id"]
    service.kill()
    told = threading.Event()
    sandbox = Sandbox(api_key=KEY, port=port, observer=lambda message: told.set() if opened in message.note else None)
    sandbox.start()
    try:
        # What was leased when it died is due at once; what had failed waits for its own time, here shortened.
        sqlite(service.journal, "UPDATE outbox SET next_at_ms = 0 WHERE status = 'pending'")

        service.start()

        assert told.wait(PATIENCE)
    finally:
        sandbox.stop()


def test_the_service_answers_while_every_worker_waits_for_a_dojo_that_never_answers(make):  # U9
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        service = make(f"http://127.0.0.1:{silent.getsockname()[1]}", OUTBOUND_WORKERS=1, CALL_DEADLINE_MS=400)
        service.start()
        first = service.till.post("/till/orders", a_bill()).json["id"]
        second = service.till.post("/till/orders", a_bill()).json["id"]

        attempts = eventually(lambda: [task["attempts"] for order in (first, second) for task in service.tasks(order) if task["lastError"]])

        assert min(attempts) >= 1
        assert service.dojo.get(f"/v1/orders/{second}").status == 200


def test_a_lost_signing_key_is_not_replaced_beside_a_journal_that_was_signed_with_it(make):
    """A new key would make every checkpoint so far look forged: whoever has the old file restores it."""
    service = make().start()
    assert service.stop() == 0
    key = Path(f"{service.journal}.key")
    kept = key.rename(key.with_suffix(".kept"))

    with pytest.raises(AssertionError, match="serve ended with 3"):
        service.start()

    assert not key.exists()
    kept.rename(key)
    service.start()


def lose_tail(service, keep=None):
    """A service whose journal lacks an order that was answered with 200; the id of the one before it. `keep`: where the whole one stays."""
    early = service.start().dojo.post("/v1/orders", an_order("early")).json["id"]
    copy = service.journal.with_name("copy")
    whole_copy(service.journal, copy)
    service.dojo.post("/v1/orders", an_order("late"))
    assert service.stop() == 0
    if keep:
        whole_copy(service.journal, keep)
    for path in service.folder.glob("tillproof.db-*"):
        path.unlink()
    copy.rename(service.journal)
    return early


def test_a_lost_tail_is_accepted_over_http_with_a_reason_and_served_again_without_a_restart(make):  # S11
    service = make()
    early = lose_tail(service)
    service.start(ready=503)
    path, accept = "/api/resolve", {"action": "accept_lost_tail", "reason": "disk replaced"}

    [item] = service.auditor.get("/api/attention").json["data"]
    assert (item["code"], "its witness saw" in item["detail"], "accept_lost_tail" in item["next"]) == ("HEAD_REGRESSED", True, True)
    statuses = [
        service.open.post(path, accept).status,
        service.auditor.post(path, accept).status,
        service.operator.post(path, accept | {"reason": ""}).status,
        service.operator.post(path, {"action": "acknowledge", "reason": "seen"}).status,
    ]
    assert statuses == [401, 403, 400, 409]
    assert service.dojo.get(f"/v1/orders/{early}").status == 503

    answer = service.operator.post(path, accept)

    assert (answer.status, answer.json["resolved"]) == (200, "HEAD_REGRESSED")
    assert service.open.get("/readyz").json == {"reasons": []}
    assert service.dojo.get(f"/v1/orders/{early}").status == 200
    assert service.dojo.post("/v1/orders", an_order("after")).status == 200
    assert service.operator.post(path, accept).status == 409  # Nothing is lost any more.
    noted = sqlite(service.journal, "SELECT actor, body FROM journal WHERE trigger = 'accept_lost_tail'")[0]
    assert [(actor, "disk replaced" in body) for actor, body in noted] == [("operator:operator-1", True)]
    assert told_of_witness(service) == [("lost tail accepted", "operator:operator-1", True)]
    service.assert_whole()
    assert service.stop() == 0


def told_of_witness(service):
    """What the log says of a witness that was left behind: by whom, and whether it says what is lost."""
    told = [line for line in service.log() if line["event"] in {"lost tail accepted", "witness begun anew"}]
    return [(line["event"], line.get("actor"), "its witness saw" in line.get("lost", "")) for line in told]


def test_a_lost_tail_is_accepted_at_the_terminal_only_where_no_server_waits_for_it(make):  # S11 P1
    """The waiting one would never hear of it, and serve nothing for ever."""
    service = make()
    early = lose_tail(service)
    service.start(ready=503)
    command = [sys.executable, "-m", "app", "journal", "accept-lost-tail", "--reason", "disk replaced"]

    ended = subprocess.run(command, cwd=service.folder, env=service.environment, capture_output=True, text=True, check=False)

    assert (ended.returncode, "stop the server that has it" in ended.stderr) == (4, True), ended.stderr
    assert service.operator.post("/api/resolve", {"action": "accept_lost_tail", "reason": "disk replaced"}).status == 200
    assert service.dojo.get(f"/v1/orders/{early}").status == 200


def test_a_newer_journal_that_is_put_back_is_served_when_an_operator_asks(make):  # S11
    service = make()
    early = lose_tail(service, keep=service.folder / "newest")
    service.start(ready=503)
    (service.folder / "newest").rename(service.journal)

    answer = service.operator.post("/api/resolve", {"action": "accept_lost_tail", "reason": "it was found"})

    assert (answer.status, "nothing is lost" in answer.json["debugMessage"]) == (409, True)
    assert service.open.get("/readyz").status == 200
    assert service.dojo.get(f"/v1/orders/{early}").status == 200
    service.assert_whole()


def test_an_operator_may_accept_a_lost_tail_with_a_reason_and_go_on(make):  # S11
    service = make()
    early = lose_tail(service)
    command = [sys.executable, "-m", "app", "journal", "accept-lost-tail", "--reason", "disk replaced"]

    def accept():
        return subprocess.run(command, cwd=service.folder, env=service.environment, capture_output=True, text=True, check=False)

    ended = accept()
    assert (ended.returncode, "its witness saw" in ended.stdout, ended.stderr) == (0, True, "")
    assert accept().returncode == 1  # Nothing is lost any more.

    service.start()
    assert told_of_witness(service) == []
    assert service.dojo.get(f"/v1/orders/{early}").status == 200
    newest = sqlite(service.journal, "SELECT kind, trigger, actor, body FROM journal WHERE order_id = '' ORDER BY seq DESC LIMIT 1")[0][0]
    assert newest[:2] == ("operator", "accept_lost_tail")
    assert newest[2].startswith("operator:")
    assert "disk replaced" in newest[3]
    assert [path.name for path in service.folder.glob("*.witness.lost-*")] != []


# Time


def test_a_dojo_whose_clock_is_ten_minutes_fast_is_measured_and_not_believed(make):  # T7 I17
    fast = datetime.now(UTC) + timedelta(minutes=10)
    with MisbehavingServer(answer(200, {}, date=format_datetime(fast, usegmt=True))) as dojo:
        service = make(dojo.url).start()
        order_id = service.till.post("/till/orders", a_bill()).json["id"]
        service.await_rest()
        [ahead] = re.findall(
            r'^tillproof_clock_ahead_seconds{target="dojo"} (.*)$', service.open.get("/metrics").body.decode(), re.MULTILINE
        )

    assert 500 < float(ahead) <= 600
    assert {entry["actor"] for entry in service.entries(order_id)} == {"till:till-1", "outbox"}
    assert all(from_text(entry["at"]) < fast - timedelta(minutes=5) for entry in service.entries(order_id))
    assert service.auditor.get("/api/attention").json["data"] == []
