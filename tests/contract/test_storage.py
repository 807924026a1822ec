"""What disks do to a service: real processes on real files, on a small disk, a read-only one, one that fails, one that lies."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from tests.builders import Venue
from tests.contract.disks import any_disk, bound_by_permissions, injected, worker_of  # noqa: F401
from tests.contract.running import PATIENCE, ROOT, Service, a_bill, an_event, an_order, environment, eventually, gbp, sqlite
from tests.many_entries import fill
from workflow import upkeep
from workflow.clock import SystemClock
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SLICE
from workflow.journal.schema import SCHEMA_VERSION

NUMBERS = itertools.count()


@pytest.fixture
def make(tmp_path):
    """Makes services in `tmp_path`, and ends whatever is left of them."""
    made = []

    def service(folder=tmp_path, **settings):
        made.append(Service(folder, **settings))
        made[-1].log_path = tmp_path / "service.log"  # Not on the disk that is full.
        return made[-1]

    yield service
    for one in made:
        one.kill()


def reasons(service):
    return service.open.get("/readyz").json["reasons"]


def attention(service):
    return {item["code"]: item for item in service.auditor.get("/api/attention").json["data"]}


def metric(service, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", service.open.get("/metrics").body.decode(), re.MULTILINE)
    return float(found[1]) if found else None


def writes(service):
    """What changes something, and came never before."""
    number = next(NUMBERS)
    return [
        service.dojo.post("/v1/orders", an_order(f"new-{number}")),
        service.dojo.post("/v1/events", an_event(f"evt-{number}", f"pi-{number}")),
        service.till.post("/till/orders", a_bill()),
    ]


def assert_serves_but_does_not_write(service, order_id, code):
    """GETs answer, and so does the exact repeat of what was acknowledged; nothing else is answered 2xx; everybody is told why."""
    for reply in writes(service):
        assert (reply.status, reply.json["errorType"], code in reply.json["debugMessage"]) == (503, "UnexpectedError", True)
        assert int(reply.headers["retry-after"]) > 0
    assert service.dojo.get(f"/v1/orders/{order_id}").status == 200
    assert service.dojo.post("/v1/orders/search", {}).status == 200
    assert service.auditor.get(f"/api/orders/{order_id}/journal").status == 200
    repeat = service.dojo.post("/v1/orders", an_order("first"))
    assert (repeat.status, repeat.json["id"]) == (200, order_id)
    assert service.dojo.get("/healthz").status == 200
    assert reasons(service) == [code]
    item = attention(service)[code]
    assert item["why"]
    assert item["next"]
    assert metric(service, f'tillproof_attention{{code="{code}"}}') == 1


def assert_writes_again(service, code):
    """Without a restart; and the journal was told."""
    eventually(lambda: service.open.get("/readyz").status == 200)
    assert [reply.status for reply in writes(service)] == [200, 200, 200]
    sql = f"SELECT trigger, body FROM journal WHERE kind = 'attention' AND body LIKE '%{code}%' ORDER BY seq"
    told = eventually(lambda: sqlite(service.journal, sql)[0])
    assert [trigger for trigger, _ in told] == ["raise", "clear"]
    assert all('"since":"' in body and '"until":"' in body for _, body in told)
    assert code not in attention(service)


# S1: a full disk


def test_a_full_disk_takes_no_write_serves_what_is_there_and_heals_without_a_restart(make, any_disk):  # S1
    service = make(any_disk.folder).start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]

    any_disk.fill(service)
    eventually(lambda: {reply.status for reply in writes(service)} == {503})
    assert_serves_but_does_not_write(service, first, "DISK_FULL")
    assert metric(service, 'tillproof_journal_failures_total{code="DISK_FULL"}') >= 1
    assert metric(service, "tillproof_wal_bytes") > 0

    any_disk.make_room()
    assert_writes_again(service, "DISK_FULL")
    service.assert_whole()
    assert service.stop() == 0


def test_a_full_disk_at_the_start_is_waited_for(make, any_disk):  # S1
    service = make(any_disk.folder).start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]
    assert service.stop() == 0

    any_disk.launch_full(service)

    eventually(lambda: [reply.status for reply in tried(service)] == [503] * 3)
    assert service.open.get("/readyz").status == 503
    assert set(attention(service)) == {"DISK_FULL"}
    any_disk.make_room()
    eventually(lambda: service.open.get("/readyz").status == 200)
    assert service.dojo.get(f"/v1/orders/{first}").status == 200
    assert [reply.status for reply in writes(service)] == [200] * 3
    service.assert_whole()


def tried(service):
    """What the writes get, once it listens."""
    assert service.process.poll() is None, service.log_path.read_text()
    with suppress(OSError):
        return writes(service)
    return []


def test_a_full_disk_under_the_witness_alone_stops_writing_and_the_witness_catches_up(make, any_disk):  # S1
    service = make(WITNESS=any_disk.folder / "witness")
    service.witness = any_disk.folder / "witness"
    service.start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]

    any_disk.fill(service, service.witness)  # A line of the witness has room in its last page for a while.
    eventually(lambda: {reply.status for reply in writes(service)} == {503})
    assert_serves_but_does_not_write(service, first, "DISK_FULL")

    any_disk.make_room()
    assert_writes_again(service, "DISK_FULL")
    service.assert_whole()
    assert service.witness.read_text().splitlines()[-1].split()[0] == str(service.reads.size())


# S2, S16: it can be read, not written


@pytest.mark.parametrize("left", ["by a kill", "by a clean stop"])
def test_a_read_only_disk_is_served_as_far_as_it_can_be_read(make, any_disk, left):  # S2
    service = make(any_disk.folder).start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]
    service.kill() if left == "by a kill" else service.stop()
    any_disk.remount("ro")

    service.start(ready=503, **any_disk.options)

    assert_serves_but_does_not_write(service, first, "JOURNAL_READ_ONLY")
    any_disk.remount("rw")
    assert_writes_again(service, "JOURNAL_READ_ONLY")
    service.assert_whole()
    assert service.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are taken from root, on Linux")
def test_a_permission_that_is_lost_stops_writing_not_reading_and_comes_back_without_a_restart(make, tmp_path):  # S16
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    service = make(tmp_path, JOURNAL=folder / "tillproof.db").start(preexec_fn=bound_by_permissions)
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]

    folder.chmod(0)
    eventually(lambda: reasons(service) == ["JOURNAL_READ_ONLY"])
    assert_serves_but_does_not_write(service, first, "JOURNAL_READ_ONLY")
    with ThreadPoolExecutor(32) as pool:  # More threads than have opened the file before.
        assert {reply.status for reply in pool.map(lambda _: service.dojo.get(f"/v1/orders/{first}"), range(64))} == {200}

    folder.chmod(0o700)
    assert_writes_again(service, "JOURNAL_READ_ONLY")
    assert service.stop() == 0

    folder.chmod(0o500)
    service.start(ready=503, preexec_fn=bound_by_permissions)
    assert_serves_but_does_not_write(service, first, "JOURNAL_READ_ONLY")
    folder.chmod(0o700)
    eventually(lambda: service.open.get("/readyz").status == 200)
    service.assert_whole()


# S3: somebody else holds it


def test_a_foreign_writer_that_holds_the_journal_has_writes_turned_away_without_effect_until_it_lets_go(make):  # S3
    service = make().start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]
    with closing(sqlite3.connect(service.journal, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        entries = service.reads.size()

        reply = service.dojo.post("/v1/orders", an_order("waits"))

        assert (reply.status, "JOURNAL_BUSY" in reply.json["debugMessage"]) == (503, True)
        assert_serves_but_does_not_write(service, first, "JOURNAL_BUSY")
        assert metric(service, 'tillproof_journal_failures_total{code="JOURNAL_BUSY"}') >= 1
        assert service.reads.size() == entries
        outside.execute("ROLLBACK")
    assert_writes_again(service, "JOURNAL_BUSY")
    service.assert_whole()


# S4: the disk fails


def await_signed(service):
    """Wait until a checkpoint covers everything: then nothing is written that nobody asks for."""
    eventually(lambda: service.reads.rows("SELECT max(size) FROM checkpoint") == [(service.reads.size(),)])


@pytest.mark.parametrize("fault", ["fsync,fdatasync:error=EIO", "pwrite64:error=EIO"], ids=["sync", "write"])
def test_a_disk_that_fails_ends_the_process_which_never_asks_it_twice(make, tmp_path, fault):  # S4
    service = make().start()
    kept = service.dojo.post("/v1/orders", an_order("first")).json["id"]
    log = tmp_path / "calls"
    await_signed(service)

    with injected(worker_of(service.process), fault, log):
        with suppress(OSError):  # Answered, or cut off by the end of the process.
            reply = service.dojo.post("/v1/orders", an_order("lost"))
            assert (reply.status, "send the same again" in reply.json["debugMessage"]) == (503, True)
        assert service.exit_code() == 1

    assert log.read_text().count("(INJECTED)") == 1
    assert [line["level"] for line in service.log() if line["event"] == "disk failed"] == ["CRITICAL"]
    service.start()
    assert service.dojo.get(f"/v1/orders/{kept}").status == 200
    assert service.dojo.post("/v1/orders", an_order("lost")).status == 200
    service.assert_whole()


def test_a_disk_that_fails_while_the_wal_is_put_into_the_database_ends_the_process_too(make, tmp_path):  # S4
    """SQLite by itself would hide it: the commit before it worked, and was answered."""
    service = make().start()
    lines = [{"plu": f"P-{number}", "name": "x" * 200, "quantity": 1, "amountPerItem": gbp(0)} for number in range(900)]
    with closing(sqlite3.connect(service.journal, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()  # As long as it reads, the WAL waits.
        for number in range(12):
            assert service.dojo.post("/v1/orders", an_order(f"large-{number}", total=0, items=lines)).status == 200
        log = tmp_path / "calls"
        await_signed(service)
        with injected(worker_of(service.process), "fsync,fdatasync:error=EIO:when=2+", log):
            reader.execute("ROLLBACK")
            assert service.dojo.post("/v1/orders", an_order("last")).status == 200
            assert service.exit_code() == 1

    assert log.read_text().count("(INJECTED)") == 1
    assert [line["error"].startswith("the WAL could not be put into") for line in service.log() if line["event"] == "disk failed"] == [True]
    service.start()
    assert service.dojo.post("/v1/orders", an_order("last")).status == 200
    service.assert_whole()


# S5, S6: what is stored is not what was written


def put_into_database(journal):
    sqlite(journal, "PRAGMA wal_checkpoint(TRUNCATE)")


def flip(path, offset, mask=1):
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def flip_served(service, offset, mask=1):
    """The same under a running service. Who read the page just before reads it anew, once somebody else has written."""
    flip(service.journal, offset, mask)
    sqlite(service.journal, "INSERT INTO meta VALUES ('elsewhere', '')", "DELETE FROM meta WHERE name = 'elsewhere'")


def page_of(journal, name):
    [[(page,)], [(size,)]] = sqlite(journal, f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'", "PRAGMA page_size")
    return (page - 1) * size, size


def a_journal(folder):
    venue = Venue(folder)
    for number in range(3):
        venue.create(f"o{number}", payments=())
    venue.close()
    (folder / "tillproof.witness").rename(folder / "tillproof.db.witness")
    (folder / "tillproof.key").rename(folder / "tillproof.db.key")
    return folder / "tillproof.db"


@pytest.mark.parametrize("part", ["header", "page", "index"])
def test_a_flipped_bit_in_the_files_structure_is_named_at_the_start_which_ends_with_5(make, tmp_path, part):  # S5
    journal = a_journal(tmp_path)
    if part == "header":
        flip(journal, 3)
    elif part == "page":
        flip(journal, page_of(journal, "journal")[0], mask=0x40)
    else:
        start, size = page_of(journal, "orders_by_time")
        flip(journal, start + size - 1)  # The end of the first key.
    service = make()

    service.launch()

    assert service.exit_code() == 5
    [critical] = [line for line in service.log() if line["level"] == "CRITICAL"]
    assert "tillproof.db" in critical["error"]
    assert critical["next"]


def test_a_flipped_bit_in_an_index_stops_writing_while_it_is_served_and_the_next_start(make):  # S5
    service = make(VERIFY_S=1).start()
    service.dojo.post("/v1/orders", an_order("first"))
    put_into_database(service.journal)
    start, size = page_of(service.journal, "orders_by_time")
    flip_served(service, start + size - 1)

    eventually(lambda: reasons(service) == ["JOURNAL_DAMAGED"])

    assert [reply.status for reply in writes(service)] == [503] * 3
    assert "orders_by_time" in attention(service)["JOURNAL_DAMAGED"]["detail"]
    service.kill()
    service.launch()
    assert service.exit_code() == 5


def test_a_damaged_page_of_the_entries_stops_writing_while_it_is_served_and_the_next_start(make):  # S5
    service = make(VERIFY_S=1).start()
    service.dojo.post("/v1/orders", an_order("first"))
    put_into_database(service.journal)
    flip_served(service, page_of(service.journal, "journal")[0], mask=0x40)

    eventually(lambda: reasons(service) == ["JOURNAL_DAMAGED"])

    assert [reply.status for reply in writes(service)] == [503] * 3
    told = attention(service)["JOURNAL_DAMAGED"]["detail"]
    assert told.startswith(("entry 1: the entry cannot be read: ", "SQLite's integrity check: "))  # Whichever comes to it first.
    assert found_bad(service)["firstBad"]["reason"] == told.removeprefix("entry 1: ")
    verified = cli(service, "journal", "verify")
    assert (verified.returncode, verified.stdout.startswith("DAMAGED: entry 1: the entry cannot be read: ")) == (5, True)
    service.kill()
    service.launch()
    assert service.exit_code() == 5


def verification(service):
    return service.auditor.get("/api/verification").json


def found_bad(service):
    """What verification found, once it has: it stops the writing before it tells."""
    return eventually(lambda: told if (told := verification(service))["firstBad"] else None)


def flip_in_body(service, seq):
    """One bit of an amount in the body of an entry, where the file has it: SQLite finds nothing wrong."""
    put_into_database(service.journal)
    [[(body,)]] = sqlite(service.journal, f"SELECT body FROM journal WHERE seq = {seq}")
    place = service.journal.read_bytes().index(body.encode())
    flip_served(service, place + body.index("1200") + 1)
    [[(answer,)], [(now,)]] = sqlite(service.journal, "PRAGMA integrity_check", f"SELECT body FROM journal WHERE seq = {seq}")
    assert (answer, now) == ("ok", body.replace("1200", "1300", 1))


def test_a_flipped_bit_in_an_entry_is_found_while_it_is_served_and_nothing_more_is_written(make):  # S6
    service = make(VERIFY_S=1).start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]
    [[(seq,)]] = sqlite(service.journal, "SELECT min(seq) FROM journal WHERE body LIKE '%1200%'")
    whole = eventually(lambda: told if (told := verification(service))["entries"] >= seq else None)
    assert (whole["ok"], whole["firstBad"]) == (True, None)
    assert metric(service, "tillproof_verification_ok") == 1
    assert metric(service, "tillproof_verification_entries") >= seq
    assert metric(service, "tillproof_verification_age_seconds") >= 0
    eventually(lambda: verification(service)["at"] > whole["at"])  # Again and again.
    flip_in_body(service, seq)

    eventually(lambda: reasons(service) == ["CHAIN_BROKEN"])

    entries = service.reads.size()
    assert_serves_but_does_not_write(service, first, "CHAIN_BROKEN")
    assert attention(service)["CHAIN_BROKEN"]["detail"].startswith(f"entry {seq}: the hash is not that of the entry")
    found = found_bad(service)
    assert (found["ok"], found["firstBad"]["seq"]) == (False, seq)
    assert metric(service, "tillproof_verification_ok") == 0
    assert [line["seq"] for line in service.log() if line["event"] == "journal is not whole"] == [seq]
    verified = cli(service, "journal", "verify")
    assert (verified.returncode, f"entry {seq}:" in verified.stdout) == (1, True)
    assert service.stop() == 0
    stored = service.journal.read_bytes()

    service.start(ready=503)  # From its first moment on.

    assert_serves_but_does_not_write(service, first, "CHAIN_BROKEN")
    assert service.stop() == 0
    assert service.reads.size() == entries
    assert service.journal.read_bytes() == stored


def test_a_large_journal_that_was_found_broken_is_refused_from_the_next_start_on_until_it_is_whole(tmp_path, monkeypatch):  # S6
    """The fault is where the start does not come to by itself."""
    monkeypatch.setattr(upkeep, "FIRST_SECONDS", 0.0)
    venue = Venue(tmp_path)
    for number in range(upkeep.ENTRIES_AT_ONCE):
        venue.create(f"o{number}", payments=())
    last = venue.reads.size()
    assert last > upkeep.ENTRIES_AT_ONCE
    venue.close()

    def started():
        """What a start finds before it serves, and verification afterwards."""
        venue = Venue(tmp_path)
        keeper = upkeep.Upkeep(venue.engine, venue.journal, venue.reads, venue.witness, SystemClock(), period_s=3600)
        first = keeper.verify_first()
        keeper.start()
        eventually(lambda: keeper.last)
        keeper.stop()
        venue.close()
        return [fault.seq if fault else None for fault in (first, keeper.last.fault)]

    def set_time(seconds):
        change = f"UPDATE journal SET at = '2026-03-14T12:00:{seconds:02}.000Z' WHERE seq = {last}"
        sqlite(tmp_path / "tillproof.db", "DROP TRIGGER IF EXISTS journal_is_append_only_update", change)

    assert started() == [None, None]
    set_time(1)
    assert started() == [None, last]
    assert started() == [last, last]
    set_time(0)
    assert [started() for _ in range(2)] == [[None, None]] * 2
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".broken"] == []


# P2, P5: commands beside a server, and what this version does not know


def cli(service, *words):
    command = [sys.executable, "-m", "app", *words]
    return subprocess.run(command, cwd=service.folder, env=service.environment, capture_output=True, text=True, timeout=60, check=False)


ASKING = '''
"""The program, which has a server write at the start of whatever SQL it runs, and ends where that takes no write."""

import json
import os
from pathlib import Path

import app
from tests.contract.running import Client, an_order
from workflow.journal.driver import sqlite3

connect, port, authorization, command = sqlite3.connect, int(os.environ["PORT"]), os.environ["AUTHORIZATION"], os.environ["COMMAND"]
asked = 0


def ask(sql):
    global asked
    asked += 1
    reply = Client(port, authorization).post("/v1/orders", an_order(f"beside-{command}-{asked}"))
    if reply.status != 200:
        os.write(2, f"{reply.status} at {sql}: {reply.body}".encode())
        os._exit(70)


def asking(*arguments, **named):
    connection = connect(*arguments, **named)
    connection.set_trace_callback(ask)
    return connection


sqlite3.connect = asking
if __name__ == "__main__":
    app.main()
'''


def test_a_server_takes_a_write_at_every_question_that_verify_replay_and_export_ask_beside_it(make):  # P2
    """The command waits for the answer: where it held writers up, the server would tell Dojo, after 5 s, to come again."""
    service = make()
    first = fill(service.folder, 3 * SLICE).size()
    service.start()
    (service.folder / "asking.py").write_text(ASKING)

    for command in ("verify", "replay", "export"):
        asking = service.environment | {"PORT": str(service.ports[0]), "AUTHORIZATION": service.dojo.authorization, "COMMAND": command}
        words = [sys.executable, "-m", "asking", "journal", command]
        ended = subprocess.run(words, cwd=service.folder, env=asking, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        written = service.reads.rows("SELECT count(*) FROM orders WHERE dojo_order_id GLOB ?", (f"beside-{command}-*",))
        assert written >= [(first // SLICE,)], command


OTHER_VERSION = """
import sys
from pathlib import Path
from typing import ClassVar
from workflow import lifecycle
other = lifecycle.ORDER._replace(states=lifecycle.ORDER.states | {"created": "Worded otherwise."})
lifecycle.DECLARATIONS = tuple(other if each is lifecycle.ORDER else each for each in lifecycle.DECLARATIONS)
lifecycle.ORDER = other
from tests.contract.test_storage import a_journal
from tests.contract.running import sqlite
sqlite(a_journal(Path(sys.argv[1])), *sys.argv[2:])
"""
UNKNOWN = {
    "state": ["INSERT INTO states VALUES ('order', 'held')", "UPDATE orders SET state = 'held' WHERE id = 'o1'"],
    "declaration": ["DELETE FROM machines WHERE name = 'order'"],
}


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_orders_in_states_or_by_declarations_that_are_not_known_here_are_named_and_nothing_starts(make, tmp_path, unknown):  # P5
    subprocess.run([sys.executable, "-c", OTHER_VERSION, tmp_path, *UNKNOWN[unknown]], env=environment({}), cwd=ROOT, check=True)
    service = make()

    service.launch()

    assert service.exit_code() == 5
    [critical] = [line for line in service.log() if line["level"] == "CRITICAL"]
    assert "o1 (" in critical["error"]


# K10: an older journal

NEXT_VERSION = """
from workflow.journal import schema
schema.SCHEMA_VERSION += 1
schema.MIGRATIONS[schema.SCHEMA_VERSION] = '''
CREATE TABLE novelty(n INTEGER);
INSERT INTO novelty WITH RECURSIVE upto(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM upto WHERE n < ROWS) SELECT count(*) FROM upto
'''
import app
app.main()
"""


def test_a_migration_that_was_killed_leaves_the_old_schema_and_runs_again_before_anything_is_served(make):  # K10
    service = make().start()
    first = service.dojo.post("/v1/orders", an_order("first")).json["id"]
    assert service.stop() == 0
    endless, short = (["-c", NEXT_VERSION.replace("ROWS", rows), "serve"] for rows in ("1e15", "5000"))

    service.launch(endless)
    eventually(lambda: asked(service) == (503, {"reasons": ["MIGRATING"]}))
    assert service.dojo.get(f"/v1/orders/{first}").status == 503
    service.kill()

    eventually(lambda: subprocess.run(["flock", "-n", f"{service.journal}.lock", "true"], check=False).returncode == 0)
    assert sqlite(service.journal, "PRAGMA user_version", "SELECT name FROM sqlite_master WHERE name = 'novelty'") == [
        [(SCHEMA_VERSION,)],
        [],
    ]
    service.assert_whole()
    service.launch(short)
    eventually(lambda: asked(service) == (200, {"reasons": []}), 4 * PATIENCE)
    assert sqlite(service.journal, "PRAGMA user_version", "SELECT n FROM novelty") == [[(SCHEMA_VERSION + 1,)], [(5_000,)]]
    assert service.dojo.get(f"/v1/orders/{first}").status == 200
    assert service.stop() == 0
    service.launch()  # And an older program refuses it.
    assert service.exit_code() == 5


def asked(service):
    """Status and content of `/readyz`, once it listens."""
    assert service.process.poll() is None, service.log_path.read_text()
    with suppress(OSError):
        reply = service.open.get("/readyz")
        return reply.status, reply.json
    return None
