"""The journal alone, in this process, on disks and files that are full, read-only, failing, damaged or of another version."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import MACHINES, FixedClock, TickingClock, Venue
from tests.contract.disks import disk, fill, make_room, no_file_grows_beyond, remount  # noqa: F401
from tests.contract.running import eventually
from tests.contract.test_journal import SqliteStore, checkpoints, keep_a_copy, note, on_the_writer, tamper
from workflow.errors import (
    DiskFailed,
    JournalDamaged,
    JournalInUse,
    JournalReadOnly,
    JournalTooNew,
    JournalUnavailable,
    OrdersUnexplained,
)
from workflow.explaining import refuse_unexplained
from workflow.journal.condition import DISK_FULL, JOURNAL_BUSY, JOURNAL_DAMAGED, JOURNAL_READ_ONLY
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads, TimeLimit, source
from workflow.journal.schema import SCHEMA_VERSION, TABLES
from workflow.journal.sqlite import CHECKPOINT_INTERVAL_S, WAL_PAGES
from workflow.journal.unwritable import UnwritableJournal
from workflow.ledger import sign_checkpoint
from workflow.verification import Verifier

PAGE = 4096
PATIENCE = 60.0
AT_LEISURE = TimeLimit(FixedClock(), PATIENCE)


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    return SqliteStore(folder)


@pytest.fixture
def journal(store):
    journal = store.open()
    journal.write(note("before"))
    yield journal
    journal.close()


def trouble(journal):
    return journal.condition.trouble.code if journal.condition.trouble else None


# -- a disk that fails


def test_a_write_that_fails_tells_every_caller_and_is_not_tried_again(store, journal, tmp_path):  # S4
    with no_file_grows_beyond(journal.wal_bytes()):
        outcomes = store.in_one_batch(journal, note("lost"), note("lost too"))
    assert [type(outcome) for outcome in outcomes] == [DiskFailed] * 2
    assert journal.failed.wait(PATIENCE)
    with pytest.raises(JournalUnavailable):
        journal.write(note("after"))
    assert store.texts() == ["before"]

    journal.close()

    with pytest.raises(JournalInUse):  # To let the file go would sync it once more.
        store.open()
    assert keep_a_copy(store, tmp_path / "copy").verified().ok


def test_a_disk_that_fails_within_a_command_ends_the_writer_and_nothing_of_the_batch_is_stored(store, journal):  # S4
    with no_file_grows_beyond(journal.wal_bytes()):
        outcomes = store.in_one_batch(journal, note("small"), note("far more than a cache holds", size=20_000_000))
    assert all(isinstance(outcome, JournalUnavailable) for outcome in outcomes)
    assert journal.failed.wait(PATIENCE)
    assert store.texts() == ["before"]


def test_a_disk_that_fails_under_a_checkpoint_of_the_tree_ends_the_writer(store, journal):  # S4
    with no_file_grows_beyond(journal.wal_bytes()), pytest.raises(JournalUnavailable) as raised:
        journal.seal()
    assert raised.value.is_unknown
    assert journal.failed.wait(PATIENCE)
    assert checkpoints(store) == []


def test_a_disk_that_fails_while_the_wal_is_put_into_the_database_ends_the_writer_and_keeps_what_it_answered(store, journal, caplog):  # S4
    limit = no_file_grows_beyond(store.path.stat().st_size)

    def much(transaction):
        transaction.on_commit(limit.__enter__)
        return note("much", size=2 * WAL_PAGES * PAGE)(transaction)

    try:
        assert journal.write(much) == 2
        assert journal.failed.wait(PATIENCE)
    finally:
        limit.__exit__(None, None, None)
    assert store.texts() == ["before", "much"]
    [failure] = [record.error for record in caplog.records if record.message == "disk failed"]
    assert failure.startswith("the WAL could not be put into the database")


# -- permissions, and a directory that is gone


def test_a_directory_that_is_gone_is_noticed_before_any_write_meets_it_and_its_return_too(store, journal):  # S16
    elsewhere = store.folder.rename(store.folder.with_name("elsewhere"))

    journal.look()

    assert trouble(journal) == JOURNAL_READ_ONLY
    assert not journal.is_writable()
    with pytest.raises(JournalUnavailable) as raised:
        journal.write(note("lost"))
    assert raised.value.code == JOURNAL_READ_ONLY
    elsewhere.rename(store.folder)
    assert journal.is_writable()
    assert journal.write(note("after")) == 2


def test_a_thread_that_can_open_nothing_any_more_reads_on_the_spare_connection(store, journal):  # S16
    reads = store.reads()
    reads.keep_spare()
    store.folder.rename(store.folder.with_name("elsewhere"))
    answers = []

    def ask(of):
        try:
            answers.append(of.size())
        except JournalUnavailable as error:
            answers.append(type(error))

    for of in (reads, store.reads()):
        thread = threading.Thread(target=ask, args=(of,))
        thread.start()
        thread.join(PATIENCE)
    assert answers == [1, JournalReadOnly]
    reads.close()
    store.folder.with_name("elsewhere").rename(store.folder)


@pytest.mark.parametrize("has_witness", [True, False])
def test_a_read_only_journal_is_read_and_refuses_what_would_change_it(disk, has_witness):  # S2
    store = SqliteStore(disk)
    journal = store.open()
    journal.write(note("before"))
    journal.close()
    key = store.key
    if not has_witness:
        store.witness.unlink()
    remount(disk, "ro")
    with pytest.raises(JournalReadOnly) as raised:
        store.open()

    unwritable = UnwritableJournal(store.path, store.witness, key, store.clock, raised.value)

    assert (unwritable.reads.size(), unwritable.write(lambda transaction: transaction.last_venue_seq())) == (1, 1)
    for change in (lambda: unwritable.write(note("lost")), unwritable.seal):
        with pytest.raises(JournalUnavailable) as raised:
            change()
        assert raised.value.code == JOURNAL_READ_ONLY
    unwritable.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        unwritable.reads.size()
    remount(disk, "rw")


# -- a full disk


def test_a_commit_that_its_witness_cannot_be_told_of_is_answered_and_the_witness_catches_up(disk, store):  # S1
    store.witness = disk / "tillproof.witness"
    journal = store.open()
    journal.write(note("before"))
    fill(disk)
    lags = 0
    while not trouble(journal):
        lags = journal.write(note("answered"))
    assert trouble(journal) == DISK_FULL
    assert store.witnessed()[-1][0] == lags - 1
    assert not journal.is_writable()

    make_room(disk)

    assert journal.is_writable()
    assert store.witnessed()[-1][0] == lags
    journal.close()
    assert store.verified().ok


def test_a_disk_that_is_full_when_the_wal_is_put_into_the_database_turns_writers_away_until_there_is_room(disk):  # S1
    store = SqliteStore(disk)
    journal = store.open()

    def much(transaction):
        transaction.on_commit(lambda: fill(disk))
        return note("much", size=2 * WAL_PAGES * PAGE)(transaction)

    assert journal.write(much) == 1
    with pytest.raises(JournalUnavailable) as raised:
        journal.write(note("lost"))
    assert raised.value.code == DISK_FULL

    make_room(disk)

    assert journal.is_writable()
    assert journal.write(note("after")) == 2
    journal.close()
    assert store.verified().ok


# -- somebody else's lock


def test_a_checkpoint_of_the_tree_that_somebody_elses_lock_prevents_is_signed_later(store):  # S3
    journal = store.open()
    on_the_writer(journal, "PRAGMA busy_timeout = 20")
    journal.write(note())
    with closing(sqlite3.connect(store.path, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        store.clock.move(CHECKPOINT_INTERVAL_S)  # Now the seal is due.
        eventually(lambda: trouble(journal) == JOURNAL_BUSY)
        outside.execute("ROLLBACK")
    assert checkpoints(store) == []

    assert journal.is_writable()
    journal.close()

    assert [size for size, *_ in checkpoints(store)] == [1]


# -- another version


def test_a_newer_schema_that_only_the_wal_knows_of_is_refused(store):  # P6
    store.open().close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")  # As long as it is open it stays in the WAL.
        with pytest.raises(JournalTooNew, match=f"schema {SCHEMA_VERSION + 1}"):
            store.open()


def test_an_older_schema_that_nothing_leads_on_from_is_refused(store):  # P5
    store.open().close()
    store.rows("PRAGMA user_version = 0")
    with pytest.raises(JournalDamaged, match="nothing leads"):
        store.open()
    assert store.rows("PRAGMA user_version") == [(0,)]


@pytest.fixture
def next_version(monkeypatch):
    """Makes this the version after this one, to whose schema these statements lead."""

    def upgrade(statements):
        monkeypatch.setattr("workflow.journal.file.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        monkeypatch.setattr("workflow.journal.connection.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        monkeypatch.setattr("workflow.journal.file.MIGRATIONS", {SCHEMA_VERSION + 1: statements})
        monkeypatch.setattr("workflow.journal.shape.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        monkeypatch.setattr("workflow.journal.shape.TABLES", f"{TABLES}\n{statements};")

    yield upgrade
    monkeypatch.undo()


def test_an_older_schema_is_brought_up_to_this_version_once_and_keeps_what_it_has(store, next_version, monkeypatch):  # K10 P6
    journal = store.open()
    journal.write(note("old"))
    journal.close()
    next_version("CREATE TABLE novelty(n INTEGER); INSERT INTO novelty VALUES (1)")
    for _ in range(2):
        store.open().close()
    assert store.rows("SELECT n FROM novelty") == [(1,)]
    assert store.texts() == ["old"]
    assert store.verified().ok

    monkeypatch.undo()

    with pytest.raises(JournalTooNew):
        store.open()


def test_a_migration_that_fails_leaves_the_old_schema_whole(store, next_version, monkeypatch):  # K10
    store.open().close()
    next_version("CREATE TABLE novelty(n INTEGER); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(JournalUnavailable, match="nowhere"):
        store.open()
    assert store.rows("SELECT name FROM sqlite_schema WHERE name = 'novelty'") == []

    monkeypatch.undo()

    store.open().close()


# -- damage


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path / "venue")
    for number in range(40):
        venue.create(f"o{number}", payments=())
    yield venue
    venue.close()


def stored(venue):
    """The files of a venue that is closed."""
    venue.close()
    store = SqliteStore(venue.folder)
    store.rows("PRAGMA journal_mode = DELETE")  # Everything is in the one file.
    return store


def test_a_page_that_is_overwritten_is_called_damage_by_every_question_that_meets_it(venue):  # S5
    store = stored(venue)
    [(root,)] = store.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'")
    with store.path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    told = []
    reads = SqliteReads(store.path, on_damage=told.append)

    for question in (reads.size, lambda: list(reads.entries()), lambda: reads.last_entries(1)):
        with pytest.raises(JournalDamaged):
            question()

    assert len(told) == 3
    assert reads.integrity(limit=AT_LEISURE) != "ok"
    verifier = Verifier(reads, None, None)
    assert not verifier.step(1000)
    assert (verifier.found.ok, verifier.found.first_bad.seq, verifier.found.first_bad.is_damage) == (False, 1, True)
    assert verifier.found.first_bad.reason.startswith("the entry cannot be read: ")


def test_what_sqlites_own_check_finds_is_the_first_fault(venue):  # S5
    store = stored(venue)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET rootpage = (SELECT max(rootpage) FROM sqlite_schema) WHERE name = 'attention'")
    verifier = Verifier(store.reads(), None, None)

    verifier.check_integrity(lambda: store.reads().integrity(limit=AT_LEISURE))

    assert verifier.found.first_bad.reason.startswith("SQLite's integrity check: ")
    assert verifier.found.first_bad.is_damage


def test_sqlites_own_check_tells_each_second_once_and_is_broken_off_beyond_its_limit(venue, monkeypatch):  # S15
    monkeypatch.setattr(source, "STEPS", 1)
    told = []

    assert stored(venue).reads().integrity(limit=TimeLimit(TickingClock(0.5), 5), progress=told.append) is None
    assert told == [1, 2, 3, 4, 5]


def test_a_file_that_sqlites_own_check_cannot_even_begin_with_is_damaged(venue):  # S5
    store = stored(venue)
    reads = store.reads()
    with store.path.open("r+b") as file:
        file.write(b"\xff" * PAGE)
    verifier = Verifier(reads, None, None)

    assert verifier.check_integrity(lambda: reads.integrity(limit=AT_LEISURE)) is None

    assert (verifier.found.first_bad.seq, verifier.found.first_bad.is_damage) == (0, True)


def test_a_node_of_the_tree_that_is_gone_is_called_damage_by_who_asks_for_it(venue):  # S7
    store = stored(venue)
    tamper(store, "DELETE FROM tree_node WHERE level = 1 AND position = 0")
    with pytest.raises(JournalDamaged, match="lacks node 1/0"):
        store.reads().tree_node(1, 0)


def test_a_damaged_row_that_a_command_reads_stops_all_writing(venue):  # S5
    tamper(SqliteStore(venue.folder), "UPDATE orders SET body = 'no order' WHERE id = 'o1'")
    with pytest.raises(JournalDamaged):
        venue.journal.write(lambda transaction: transaction.order("o1"))
    assert trouble(venue.journal) == JOURNAL_DAMAGED
    with pytest.raises(JournalUnavailable):
        venue.create("new", payments=())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE orders SET state = 'melted' WHERE id = 'o7'", "the state of 1 order: o7 (melted)"),
        ("UPDATE orders SET status = 'Burnt' WHERE id = 'o7'", "the state of 1 order: o7 (Burnt)"),
        ("UPDATE journal SET machine = 'order@ffffffffffff' WHERE order_id = 'o7'", "in force for: o7 (order@ffffffffffff)"),
    ],
)
def test_a_state_or_a_declaration_that_is_not_known_here_is_named_with_its_order(venue, change, named):  # P5
    store = stored(venue)
    refuse_unexplained(store.reads(), MACHINES)
    tamper(store, change)
    with pytest.raises(OrdersUnexplained) as raised:
        refuse_unexplained(store.reads(), MACHINES)
    assert str(raised.value).endswith(named)


def test_without_the_key_everything_but_the_signatures_is_verified(venue):  # I7
    store = stored(venue)
    [(size, root)] = store.rows("SELECT size, root FROM checkpoint ORDER BY size DESC LIMIT 1")
    forged = sign_checkpoint(f"tillproof/{venue.journal.journal_id}", size, bytes.fromhex(root), Ed25519PrivateKey.generate())
    tamper(store, f"UPDATE checkpoint SET note = '{forged}' WHERE size = {size}")
    with_key, without = (Verifier(store.reads(), None, key) for key in (venue.key.public_key(), None))
    assert (with_key.step(1000), with_key.found.ok) == (False, False)
    assert (without.step(1000), without.found.ok) == (False, True)
