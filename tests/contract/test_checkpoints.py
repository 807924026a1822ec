"""Checkpoints of a journal that grows: how far they are apart, what they cover, that each extends the last, and what a proof reads."""

import http.client
import itertools
import math
import random
import threading
from datetime import datetime

import pytest

from tests.builders import Venue
from tests.contract.running import Service, an_order, eventually, sqlite
from workflow.clock import SystemClock
from workflow.entry import Entry
from workflow.errors import JournalUnavailable
from workflow.journal.keys import load_key
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.ledger import check_consistency, consistency_proof, inclusion_proof, root_from_inclusion, verify_checkpoint
from workflow.replay import verify

ENTRIES = 12_000


def an_entry(number):
    return Entry(order_id="", order_seq=number, at="2026-03-14T12:00:00.000Z", kind="system", actor="test", cause="test")


def grow(journal, count, *, at_once=1_000):
    """Append so many entries that concern no order."""
    for start in range(0, count, at_once):
        numbers = range(1, 1 + min(at_once, count - start))
        journal.write(lambda transaction, numbers=numbers: append(transaction, numbers))


def append(transaction, numbers):
    last = transaction.last_venue_seq()
    transaction.append([an_entry(last + number) for number in numbers])


def signed(reads):
    """(size, root, when, note) of every checkpoint."""
    rows = reads.rows("SELECT size, root, at, note FROM checkpoint ORDER BY size")
    return [(size, bytes.fromhex(root), datetime.fromisoformat(at), note) for size, root, at, note in rows]


def assert_each_extends_the_last(reads):
    checkpoints = signed(reads)
    for (old, old_root, *_), (new, new_root, *_) in itertools.pairwise(checkpoints):
        check_consistency(old, new, old_root, new_root, consistency_proof(old, new, reads.tree_node))
    return checkpoints


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


@pytest.mark.parametrize("pause", [0.01, 0.07, 0.15, 0.19, 0.3, 0.5])
def test_while_entries_come_two_checkpoints_are_at_most_a_second_apart_by_the_journals_clock(venue, pause):
    for _ in range(math.ceil(4 / pause)):
        grow(venue.journal, 1)
        venue.clock.move(pause)
    moments = [at for _, _, at, _ in signed(venue.reads)]
    assert len(moments) >= 3
    assert max((later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)) <= 1.0


class Load:
    """Orders, one after the other, as long as the service takes them."""

    def __init__(self, service):
        self._service, self._ends = service, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        for number in range(1_000_000):
            if self._ends.is_set():
                return
            try:
                self._service.dojo.post("/v1/orders", an_order(f"{id(self)}-{number}"))
            except (OSError, http.client.HTTPException):  # It was killed.
                return

    def stop(self):
        self._ends.set()
        self._thread.join(15)


def test_a_running_service_signs_within_a_second_under_load_and_at_its_end_and_nothing_that_does_not_extend_what_it_signed(tmp_path):  # K2
    """Load, a key that is rotated by command and another over HTTP, a kill, a new start, load, SIGTERM."""
    service = Service(tmp_path).start()
    first = load_key(tmp_path / "tillproof.db.key").public_key()
    load = Load(service)
    # The machine may be busy, so that one is late: never each, as they would be if the journal meant to take longer.
    eventually(lambda: len(gaps := under_load(service.reads)) >= 3 and min(gaps) <= 1.0)
    rotated = service.operator.post("/api/keys/rotate", {"reason": "a laptop was stolen"})
    assert (rotated.status, rotated.json["pending"]) == (200, None)
    eventually(lambda: signed(service.reads)[-1][0] > rotated.json["position"])
    service.kill()
    load.stop()
    killed_at = signed(service.reads)[-1]

    service.start()
    assert [each["fromSize"] for each in service.auditor.get("/api/keys").json["data"]] == [1, rotated.json["position"] + 1]
    load = Load(service)
    eventually(lambda: signed(service.reads)[-1][0] > killed_at[0])
    load.stop()
    assert service.stop() == 0

    checkpoints = assert_each_extends_the_last(service.reads)
    assert checkpoints[-1][0] == service.reads.size()
    assert killed_at in checkpoints
    newest = load_key(tmp_path / "tillproof.db.key").public_key()
    assert verify_checkpoint(checkpoints[-1][3], newest).size == service.reads.size()
    for key in (first, newest):
        assert verify(service.reads, service.witness, key, SystemClock()).first_bad is None


def under_load(reads):
    """Seconds between checkpoints so far."""
    moments = [at for _, _, at, _ in signed(reads)]
    return [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]


@pytest.mark.parametrize(
    "damage",
    [
        ("UPDATE checkpoint SET root = (SELECT root FROM checkpoint LIMIT 1)",),
        ("DELETE FROM journal WHERE seq > 8", "DELETE FROM tree_node WHERE (position + 1) << level > 8"),
        ("UPDATE journal SET hash = prev_hash WHERE seq = 9",),
    ],
    ids=["another root", "entries are gone", "another entry"],
)
def test_nothing_is_signed_that_does_not_extend_what_was_signed_before_a_restart(tmp_path, damage):  # I7
    """Also where no witness is left that could tell."""
    venue = Venue(tmp_path)
    for _ in range(9):
        grow(venue.journal, 1)
        venue.clock.move(2)
    venue.close()
    venue.witness.unlink()
    drop = [f"DROP TRIGGER {table}_is_append_only_{what}" for table in ("journal", "checkpoint") for what in ("update", "delete")]
    sqlite(tmp_path / "tillproof.db", *drop, *damage)
    before = SqliteReads(tmp_path / "tillproof.db").rows("SELECT * FROM checkpoint ORDER BY size")

    journal = SqliteJournal(tmp_path / "tillproof.db", tmp_path / "tillproof.witness", venue.key, venue.clock)
    assert journal.condition.trouble.code == "CHAIN_BROKEN"
    with pytest.raises(JournalUnavailable):
        grow(journal, 1)
    journal.close()

    assert SqliteReads(tmp_path / "tillproof.db").rows("SELECT * FROM checkpoint ORDER BY size") == before


def test_a_proof_of_a_tree_of_many_thousands_reads_two_rows_a_level_by_their_keys(venue):
    grow(venue.journal, ENTRIES)
    reads, size = venue.reads, ENTRIES
    root, chance, asked = venue.journal._frontier.root(), random.Random(6962), []
    levels = math.ceil(math.log2(size))
    connection = reads._database().conn
    hashes = [hash_ for (hash_,) in reads.rows("SELECT hash FROM journal ORDER BY seq")]

    connection.set_trace_callback(asked.append)
    for _ in range(50):
        index, old = chance.randrange(size), chance.randint(1, size)
        for prove in (
            lambda index=index: root_from_inclusion(hashes[index], index, size, inclusion_proof(index, size, reads.tree_node)) == root,
            lambda old=old: consistency_proof(old, size, reads.tree_node) or old == size,
        ):
            asked.clear()
            assert prove()
            assert len(asked) <= 2 * levels
            assert all(len(reads.rows(sql)) == 1 for sql in list(asked))
    connection.set_trace_callback(None)
    for sql in set(asked):
        [(*_, plan)] = reads.rows(f"EXPLAIN QUERY PLAN {sql}")
        assert plan.startswith("SEARCH"), plan


@pytest.mark.parametrize("from_size", [0, 5])
def test_the_keys_of_a_journal_are_found_without_reading_its_orders(venue, from_size):
    venue.create("o1", payments=())
    asked = []
    venue.reads._database().conn.set_trace_callback(asked.append)
    venue.reads.succession(venue.key.public_key(), from_size=from_size)
    venue.reads._database().conn.set_trace_callback(None)
    [plan] = [venue.reads.rows(f"EXPLAIN QUERY PLAN {sql}") for sql in asked if "FROM journal" in sql]
    [(*_, how)] = plan  # One step: nothing is sorted either.
    assert how.endswith("(rowid>?)" if from_size else "(order_id=?)")


def test_every_inner_node_is_stored_once_and_nothing_else(venue):
    grow(venue.journal, 1_000, at_once=37)
    found = venue.reads.rows("SELECT level, count(*), max(position) FROM tree_node GROUP BY level ORDER BY level")
    assert found == [(level, 1_000 >> level, (1_000 >> level) - 1) for level in range(1, 10)]
