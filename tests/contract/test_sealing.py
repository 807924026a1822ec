"""A sealed copy of a journal: taken from a live one, proved, never in the way; and what is noticed when an old one is put back."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import app
from adapters.cli.commands import cli
from tests.builders import Venue, a_bill, an_intent
from tests.contract.running import PATIENCE, Service, an_order, environment, running, sqlite
from workflow import replay, sealing
from workflow.bill import Customer, Personal
from workflow.clock import SystemClock
from workflow.commands import CreateOrder, ToldPayment
from workflow.errors import JournalDamaged
from workflow.journal import copying
from workflow.journal.reads import SqliteReads
from workflow.journal.witness import Head, read_head, read_head_until

ENTRIES_LIMIT = 65_536
"""Bytes that a process may write into one file: less than any journal has."""


@contextmanager
def no_bar(what, total):
    yield lambda done: None


@pytest.fixture
def venue(tmp_path):
    made = Venue(tmp_path)
    for number in range(3):
        made.create(f"o{number}", payments=())
    yield made
    made.close()


def seal(venue, name="sealed.db", bar=no_bar):
    return sealing.seal(
        venue.folder / "tillproof.db", venue.folder / name, witness=venue.witness, key=venue.key.public_key(), bar=bar, clock=venue.clock
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def command(service, *words):
    """Run a command of the service's in this process, which saves the start of another."""
    others = {name: None for name in os.environ if name.startswith("TILLPROOF_")}
    given = {f"TILLPROOF_{name}": str(value) for name, value in service.settings.items()}
    program = SimpleNamespace(dojo=app.dojo_client, clock=SystemClock())
    result = CliRunner().invoke(cli, [*map(str, words)], obj=program, prog_name="tillproof", env=others | given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def process(service, *words, **options):
    """Run a command of the service's to its end, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, words)],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
        **options,
    )


def order(service, name):
    return service.dojo.post("/v1/orders", an_order(name)).json["id"]


def put_back(service, copy):
    """What README says of putting a copy in the journal's place."""
    for suffix in ("", "-wal", "-shm"):
        (service.folder / f"tillproof.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, service.journal)


# Taking one


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What a server has left that has stopped: the ids of its orders, a copy that was sealed beside it, and one sealed at its end."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "handed-over").mkdir()
    left = SimpleNamespace(folder=folder, old=folder / "handed-over" / "sealed.db", newest=folder / "newest.db")
    with running(folder) as service:
        left.early = order(service, "early")
        left.ended = process(service, "journal", "seal", left.old, "--json", umask=0)
        left.late = order(service, "late")
        assert service.stop() == 0
        service.assert_whole()
        assert command(service, "journal", "seal", left.newest).exit_code == 0
    return left


@pytest.fixture
def stopped(left, tmp_path):
    """The same server in a folder of its own, to be started there, and ended afterwards."""
    for suffix in ("", ".key", ".witness"):
        shutil.copy(left.folder / f"tillproof.db{suffix}", tmp_path)
    service = Service(tmp_path)
    yield service
    service.kill()


def test_a_live_journal_is_sealed_into_one_file_that_stands_alone_and_its_commands_prove(left, stopped):  # S17
    assert left.ended.returncode == 0, left.ended.stderr
    sealed = json.loads(left.ended.stdout)
    head = replay.head(SqliteReads(left.old))
    assert (sealed["path"], sealed["entries"], sealed["root"], sealed["orders"]) == (str(left.old), head.size, head.root, 1)
    assert (sealed["checkpoint"]["size"], sealed["unsigned"]) == (head.size, 0)
    assert names(left.old.parent) == ["sealed.db"]
    assert stat.S_IMODE(left.old.stat().st_mode) == 0o600
    with closing(sqlite3.connect(f"file:{left.old}?immutable=1", uri=True)) as viewer:
        assert viewer.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert viewer.execute("SELECT id FROM orders").fetchall() == [(left.early,)]
    verified = command(stopped, "journal", "verify", "--journal", left.old)
    assert (verified.exit_code, "an older state: the witness has seen" in verified.stdout) == (0, True)
    replayed = json.loads(command(stopped, "journal", "replay", "--journal", left.old, "--json").stdout)
    assert (replayed["ok"], replayed["digest"]) == (True, sealed["digest"])


def test_while_a_copy_is_taken_writing_goes_on_and_the_copy_is_the_state_at_its_beginning(venue, monkeypatch):  # P2
    monkeypatch.setattr(copying, "PAGES", 5)
    steps = []

    @contextmanager
    def writing(what, total):
        def show(done):
            if what == "copy":
                steps.append(done)
                venue.create(f"during-{len(steps)}", payments=())

        yield show

    before = replay.head(venue.reads)
    sealed = seal(venue, bar=writing)

    assert len(steps) > 3
    assert (sealed.entries, sealed.root) == (before.size, before.root)
    assert venue.order(f"during-{len(steps)}") is not None


def test_what_is_there_is_never_replaced_and_a_taken_name_is_a_wrong_use(venue, tmp_path):
    (tmp_path / "sealed.db").write_text("somebody's")
    before = names(tmp_path)

    with pytest.raises(FileExistsError):
        seal(venue)

    assert names(tmp_path) == before
    service = Service(tmp_path, SIGNING_KEY=tmp_path / "tillproof.key", WITNESS=venue.witness)
    ended = command(service, "journal", "seal", tmp_path / "sealed.db")
    assert (ended.exit_code, "expected a new file" in ended.stderr) == (2, True)
    assert (tmp_path / "sealed.db").read_text() == "somebody's"
    assert command(service, "journal", "seal", tmp_path / "none" / "sealed.db").exit_code == 2


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_name_that_is_taken_meanwhile_is_not_replaced(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(copying.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))

    def seal_beside_another():
        with copying.new_file(tmp_path / "sealed.db") as draft:
            draft.write_text("ours")
            (tmp_path / "sealed.db").write_text("somebody's")

    with pytest.raises(FileExistsError):
        seal_beside_another()

    assert (tmp_path / "sealed.db").read_text() == "somebody's"
    assert names(tmp_path) == ["sealed.db"]


def test_a_file_system_without_links_gets_its_copy_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(copying.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))

    with copying.new_file(tmp_path / "sealed.db") as draft:
        draft.write_text("ours")

    assert ((tmp_path / "sealed.db").read_text(), names(tmp_path)) == ("ours", ["sealed.db"])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            ["DROP TRIGGER journal_is_append_only_update", "UPDATE journal SET body = json_set(body, '$.flow', 'pay_only') WHERE seq = 1"],
            "entry 1",
        ),
        (["UPDATE orders SET total = 1 WHERE id = 'o1'"], "orders o1"),
    ],
    ids=["entry", "projection"],
)
def test_a_journal_that_is_not_whole_is_not_sealed_and_nothing_of_the_copy_stays(venue, damage, named):
    sqlite(venue.folder / "tillproof.db", *damage)

    with pytest.raises(JournalDamaged, match=f"not sealed: .*{named}"):
        seal(venue)

    assert [name for name in names(venue.folder) if name.startswith("sealed")] == []


def test_a_journal_that_lacks_what_its_witness_saw_is_not_sealed(venue):  # I7
    venue.witness.write_text(f"999 {'0' * 64}\n")

    with pytest.raises(JournalDamaged, match="the witness saw 999 entries"):
        seal(venue)


def test_a_disk_that_takes_no_more_ends_with_4_and_leaves_nothing(stopped, tmp_path):
    before = names(tmp_path)

    limited = (ENTRIES_LIMIT, ENTRIES_LIMIT)
    ended = process(
        stopped, "journal", "seal", tmp_path / "sealed.db", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limited)
    )

    assert (ended.returncode, "cannot be written" in ended.stderr) == (4, True), ended.stderr
    assert [name for name in names(tmp_path) if name not in before and not name.startswith("tillproof.db-")] == []


KILLED_MIDWAY = """
import os, signal, sys
import app
from workflow import sealing
from workflow.journal import auditing
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
step = sys.argv.pop(1)
setattr(auditing if hasattr(auditing, step) else sealing, step, die)
app.main()
"""
"""The program, which is killed as it comes to a step of sealing."""


@pytest.mark.parametrize("step", ["sign", "_proved", "add_views"])
def test_a_seal_that_is_killed_midway_leaves_the_source_and_no_file_of_its_name(venue, tmp_path, step):  # K11
    venue.create("one", payments=())
    venue.close()
    source, target = tmp_path / "tillproof.db", tmp_path / "sealed.db"
    before = source.read_bytes()
    settings = {"JOURNAL": source, "WITNESS": venue.witness, "SIGNING_KEY": tmp_path / "tillproof.key"}
    command = [sys.executable, "-c", KILLED_MIDWAY, step, "journal", "seal", str(target)]

    killed = subprocess.run(command, cwd=tmp_path, env=environment(settings), timeout=4 * PATIENCE, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert [name for name in names(tmp_path) if name.startswith("sealed.db.")]  # It was midway.
    assert not target.exists()
    assert source.read_bytes() == before


def test_the_command_says_how_far_a_copy_is_signed_and_what_could_not_be_checked(venue, tmp_path):
    venue.journal.seal()
    venue.journal._sealed_at = venue.clock.monotonic() + 1e9  # No other checkpoint until the end.
    signed = venue.reads.size()
    venue.create("unsigned", payments=())
    entries = venue.reads.size()
    own = Service(tmp_path, SIGNING_KEY=tmp_path / "tillproof.key", WITNESS=venue.witness)
    without = Service(tmp_path, SIGNING_KEY=tmp_path / "none.key", WITNESS=tmp_path / "none.witness")

    told = command(own, "journal", "seal", tmp_path / "own.db").stdout
    assert f"  signed up to entry {entries}\n" in told
    assert "not" not in told
    told = command(without, "journal", "seal", tmp_path / "without.db").stdout
    assert f"  signed up to entry {signed}\n  the newest {entries - signed} are not signed: " in told
    assert f"  signatures not checked: no key at {tmp_path / 'none.key'}\n" in told
    assert f"  {tmp_path / 'none.witness'} has no line about this journal, " in told

    venue.create("later", payments=())
    again = json.loads(command(own, "journal", "seal", tmp_path / "again.db", "--journal", tmp_path / "without.db", "--json").stdout)
    assert (again["entries"], again["checkpoint"]["size"], again["unsigned"]) == (
        entries,
        signed,
        entries - signed,
    )  # None of ours to sign.
    assert again["witness"]["size"] == entries


def test_a_witness_that_cannot_be_read_is_named_and_nothing_is_sealed(venue, tmp_path):
    (tmp_path / "folder").mkdir()
    service = Service(tmp_path, SIGNING_KEY=tmp_path / "tillproof.key", WITNESS=tmp_path / "folder")

    ended = command(service, "journal", "seal", tmp_path / "sealed.db")

    assert (ended.exit_code, f"cannot read the witness {tmp_path / 'folder'}" in ended.stderr) == (4, True)
    assert not (tmp_path / "sealed.db").exists()


# Putting one back


def test_an_older_copy_put_back_is_noticed_and_named_by_serve_verify_and_doctor(left, stopped):  # S11 I7
    put_back(stopped, left.old)
    before = stopped.journal.read_bytes()

    stopped.start(ready=503)

    assert stopped.open.get("/readyz").json == {"reasons": ["HEAD_REGRESSED"]}
    assert stopped.dojo.get(f"/v1/orders/{left.late}").status == 503
    assert stopped.stop() == 0
    assert stopped.journal.read_bytes() == before
    verified = command(stopped, "journal", "verify")
    assert verified.exit_code == 1
    assert "its tail is missing" in verified.stdout
    assert "accept-lost-tail" in verified.stderr
    findings = json.loads(command(stopped, "doctor", "--json").stdout)["findings"]
    assert [one["level"] for one in findings if one["name"] == "witness"] == ["FAIL"]


def test_the_newest_copy_put_back_is_served_on(left, stopped):
    put_back(stopped, left.newest)

    stopped.start()

    assert stopped.dojo.get(f"/v1/orders/{left.late}").status == 200
    order(stopped, "further")
    assert sqlite(stopped.journal, "PRAGMA journal_mode") == [[("wal",)]]
    stopped.assert_whole()


def test_without_its_witness_an_older_copy_cannot_be_told_which_is_said_and_from_then_on_it_can(venue, caplog):  # I7
    seal(venue, "old.db")
    venue.create("lost", payments=())
    venue.close()
    venue.witness.unlink()
    (venue.folder / "tillproof.db").unlink()
    shutil.copy(venue.folder / "old.db", venue.folder / "tillproof.db")

    again = Venue(venue.folder)
    head = replay.head(again.reads)
    again.close()

    assert [record.size for record in caplog.records if record.message == "witness begun anew"] == [head.size]
    assert read_head(venue.witness) == head


def test_a_witness_that_lags_behind_is_told_at_the_start_what_it_missed_and_only_once(venue):  # I7
    venue.close()
    lines = venue.witness.read_text().splitlines(keepends=True)
    venue.witness.write_text("".join(lines[:-1]))

    for _ in range(2):
        Venue(venue.folder).close()

    assert venue.witness.read_text().splitlines(keepends=True) == lines


def test_a_witness_says_of_an_older_copy_what_it_saw_last_of_it(tmp_path):
    lines = [Head(size, f"{size:064x}") for size in (2, 5, 9)]
    path = tmp_path / "witness"
    path.write_text("".join(f"{size} {root}\n" for size, root in lines) + "12 torn")

    assert [read_head_until(path, size) for size in (1, 2, 6, 100)] == [None, lines[0], lines[1], lines[2]]
    assert read_head_until(tmp_path / "none", 5) is None


@pytest.fixture(scope="module")
def paid(tmp_path_factory):
    """A sealed copy with money in it."""
    venue = Venue(tmp_path_factory.mktemp("paid"))
    personal = Personal(customer=Customer(name="Zoë"))
    told = (ToldPayment(intent_id="pi_1", paid=1000),)
    venue.engine.handle(CreateOrder(order_id="paid", dojo_order_id="d", bill=a_bill(), personal=personal, payments=told, captured=False))
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    sealed = seal(venue).path
    venue.close()
    return sealed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE audit_base_takings SET captured = captured + 1", "audit_base_takings"),
        ("DROP VIEW audit_stuck", "audit_stuck"),
        ("DROP VIEW audit_stuck; CREATE VIEW audit_stuck AS SELECT 1", "audit_stuck"),
        ("CREATE VIEW audit_more AS SELECT 1", "audit_more"),
        ("UPDATE audit_about SET value = '1' WHERE name = 'entries'", "audit_about"),
        ("UPDATE audit_about SET value = 'Mars/Olympus' WHERE name = 'time_zone'", "audit_about"),
        (f"UPDATE audit_about SET value = '{sealing._TAKEN_OUT}' WHERE name = 'personal_data'", "audit_about"),
        ("DROP TABLE audit_about", "audit_about"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_views_of_a_sealed_copy_that_were_changed_are_named(paid, tmp_path, change, named):  # S7
    shutil.copy(paid, tmp_path / "changed.db")
    assert list(sealing.view_mismatches(tmp_path / "changed.db")) == []
    with closing(sqlite3.connect(tmp_path / "changed.db", isolation_level=None)) as database:
        database.executescript(change)
    mismatches = list(sealing.view_mismatches(tmp_path / "changed.db"))
    assert [line.partition(":")[0] for line in mismatches] == [named]
    assert sealing.MADE_ANEW in mismatches[0]


def test_a_journal_that_was_never_sealed_has_no_views_to_compare(venue):
    assert list(sealing.view_mismatches(venue.folder / "tillproof.db")) == []
