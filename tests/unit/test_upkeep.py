"""What is done for a journal while it is served: it is verified again and again, and it hears of the trouble that it had."""

from __future__ import annotations

import json
from contextlib import closing, nullcontext, suppress

import pytest

from tests.builders import FixedClock, Venue
from tests.contract.running import eventually
from workflow import upkeep
from workflow.errors import JournalUnavailable
from workflow.journal.condition import CHAIN_BROKEN, DISK_FULL, JOURNAL_BUSY, JOURNAL_DAMAGED
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads, source
from workflow.upkeep import Upkeep

SOON, NEVER = 0.01, 3600.0


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    venue.create("o1")
    venue.create("o2", payments=())
    yield venue
    venue.close()


@pytest.fixture
def keeping(venue, monkeypatch):
    """Makes an upkeep of the venue's journal that looks often and pauses briefly; it is stopped at the end."""
    monkeypatch.setattr(upkeep, "WATCH_SECONDS", SOON)
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", SOON)
    made = []

    def keep(*, period=NEVER, questions=None):
        one = Upkeep(venue.engine, venue.journal, questions or venue.reads, venue.witness, FixedClock(), period)
        made.append(one)
        return one

    yield keep
    for one in made:
        one.stop()


def edit(venue, sql="UPDATE journal SET actor = 'somebody' WHERE seq = 2"):
    """Change the file as somebody would who knows SQL and has no key."""
    with closing(sqlite3.connect(venue.folder / "tillproof.db", isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        assert connection.execute(sql).rowcount


def troubles(venue):
    """What the journal tells of trouble with itself: (what happened, code), in order."""
    rows = venue.reads.rows("SELECT trigger, body FROM journal WHERE kind = 'attention' AND actor = 'journal' ORDER BY seq")
    return [(trigger, json.loads(body)["code"]) for trigger, body in rows]


def fill_up(venue):
    """No page more than there is, and a write that needs one: what a full disk does to SQLite."""
    writer = venue.journal._connection
    writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0]}")
    with suppress(JournalUnavailable):
        for number in range(1000):
            venue.create(f"too-much-{number}", payments=())
    assert venue.journal.condition.trouble.code == DISK_FULL


def give_room(venue):
    venue.journal._connection.execute("PRAGMA max_page_count = 1000000")


# -- verification


def test_a_whole_journal_is_verified_before_it_is_served_and_once_more_behind_it(venue, keeping):  # S6
    one = keeping()
    assert one.verify_first() is None

    one.start()

    eventually(lambda: one.last)
    assert (one.last.fault, one.last.entries) == (None, venue.reads.size())
    assert one.is_alive


def test_an_edited_entry_is_named_before_anything_is_served(venue, keeping):  # S6
    edit(venue)
    assert keeping().verify_first().seq == 2


def test_a_start_takes_its_half_second_and_no_more_and_the_rest_is_verified_behind_it(venue, keeping, monkeypatch):  # S6
    monkeypatch.setattr(upkeep, "ENTRIES_AT_ONCE", 1)
    monkeypatch.setattr(upkeep, "FIRST_SECONDS", 0.0)
    edit(venue)
    one = keeping()
    assert one.verify_first() is None

    one.start()

    eventually(lambda: one.last)
    assert one.last.fault.seq == 2


def test_an_entry_that_is_edited_while_serving_is_found_and_nothing_is_written_from_then_on(venue, keeping):  # S6
    one = keeping(period=SOON)
    one.start()
    eventually(lambda: one.last)

    edit(venue)

    eventually(lambda: one.last.fault)
    assert one.last.fault.seq == 2
    assert venue.journal.condition.trouble.code == CHAIN_BROKEN
    with pytest.raises(JournalUnavailable):
        venue.create("o3")
    assert venue.order("o1").id == "o1"


def test_a_person_who_asks_for_it_has_everything_verified_at_once_and_sees_how_far_it_is(venue, keeping):  # S6
    one, seen = keeping(), []
    report = one.verify(lambda what, total: nullcontext(seen.append))
    assert (report.fault, report.entries) == (None, venue.reads.size())
    assert one.last is report
    assert seen[-1] == report.entries

    edit(venue)

    assert one.verify(lambda what, total: nullcontext(seen.append)).fault.seq == 2
    assert venue.journal.condition.trouble.code == CHAIN_BROKEN


def test_an_entry_that_cannot_be_read_is_named_and_called_damage_to_the_file(venue, keeping):  # S5
    path = venue.folder / "tillproof.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'").fetchall()
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    one = keeping(questions=SqliteReads(path))

    one._verify_once()

    assert (one.last.fault.seq, one.last.fault.reason.startswith("the entry cannot be read: ")) == (1, True)
    assert venue.journal.condition.trouble.code == JOURNAL_DAMAGED
    assert venue.journal.condition.trouble.detail == str(one.last.fault)
    with pytest.raises(JournalUnavailable):
        venue.create("o3")


def test_a_journal_that_was_found_broken_stays_so_though_nobody_finds_it_again(venue, keeping, caplog):  # S6
    edit(venue)
    one = keeping(period=SOON)
    one.start()
    eventually(lambda: one.last)
    edit(venue, "UPDATE journal SET actor = 'dojo' WHERE seq = 2")

    one._verify_once()

    assert one.last.fault.seq == 2
    assert venue.journal.condition.trouble.code == CHAIN_BROKEN
    assert [record.message for record in caplog.records].count("journal is not whole") == 1


def test_a_slice_that_cannot_be_read_now_is_read_later(venue, keeping):  # S6
    questions = SqliteReads(venue.folder / "tillproof.db", is_shared=True)  # Closed until it keeps its one connection.
    one = keeping(questions=questions)
    one.start()
    eventually(lambda: one._first is None)
    assert (one.last, one.is_alive) == (None, True)

    questions.keep_spare()

    eventually(lambda: one.last)
    assert (one.last.fault, one.last.entries) == (None, venue.reads.size())
    questions.close()


def test_a_table_that_takes_too_long_to_check_is_named_and_the_others_are_checked(venue, keeping, monkeypatch, caplog):  # S15
    monkeypatch.setattr(upkeep, "TABLE_SECONDS", -1.0)
    monkeypatch.setattr(source, "STEPS", 1)
    one = keeping()
    one.start()

    eventually(lambda: one.last)

    assert one.last.fault is None
    too_large = {record.table for record in caplog.records if record.message == "table too large to be checked beside the service"}
    assert too_large == set(venue.reads.tables())


@pytest.mark.parametrize("slices", ["entries", "tables"])
def test_a_stop_does_not_wait_for_the_verification_and_claims_nothing_of_it(venue, keeping, monkeypatch, slices):  # K16
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", NEVER)
    if slices == "entries":
        monkeypatch.setattr(upkeep, "ENTRIES_AT_ONCE", 1)
    one = keeping()
    first = one._first
    one.start()
    eventually(lambda: first.found.entries)

    one.stop()

    eventually(lambda: not one.is_alive)
    assert one.last is None


def test_upkeep_that_fails_is_logged_and_tried_again(venue, keeping, caplog):  # K13
    one = keeping(period=SOON)
    venue.witness.rename(venue.folder / "elsewhere")
    venue.witness.mkdir()
    one.start()
    eventually(lambda: any(record.message == "upkeep failed" for record in caplog.records))
    assert one.is_alive
    earlier = one.last

    venue.witness.rmdir()
    (venue.folder / "elsewhere").rename(venue.witness)

    eventually(lambda: one.last is not earlier)
    assert one.last.fault is None


# -- trouble that is over


def test_a_full_disk_is_journaled_once_there_is_room_again(venue, keeping):  # S1
    fill_up(venue)
    give_room(venue)

    keeping().start()

    eventually(lambda: troubles(venue))
    assert troubles(venue) == [("raise", DISK_FULL), ("clear", DISK_FULL)]
    assert venue.journal.condition.trouble is None


def test_trouble_that_cannot_be_journaled_yet_is_journaled_later(venue, keeping, caplog):  # S1 S3
    venue.journal._connection.execute("PRAGMA busy_timeout = 20")
    fill_up(venue)
    give_room(venue)
    assert venue.journal.is_writable()
    with closing(sqlite3.connect(venue.folder / "tillproof.db", isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        one = keeping()
        one.start()
        eventually(lambda: any(record.message == "upkeep put off" for record in caplog.records))
        assert troubles(venue) == []
        outside.execute("ROLLBACK")

    eventually(lambda: len(troubles(venue)) == 4)
    assert troubles(venue) == [("raise", DISK_FULL), ("clear", DISK_FULL), ("raise", JOURNAL_BUSY), ("clear", JOURNAL_BUSY)]


def test_what_is_over_is_journaled_by_a_stop_though_nobody_has_looked(venue, keeping):  # K16 S1
    fill_up(venue)
    give_room(venue)
    assert venue.journal.is_writable()

    keeping().stop()

    assert troubles(venue) == [("raise", DISK_FULL), ("clear", DISK_FULL)]
