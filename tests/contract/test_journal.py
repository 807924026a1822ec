"""The journal's port, asked of every store; then what the SQLite file promises besides, and what its readers answer.

A new store joins the first part by a class beside `SqliteStore` and an entry in `STORES`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import WITH_TILL, FixedClock, TickingClock, Venue, a_bill, an_intent, gbp
from workflow import export
from workflow.bill import Bill, Customer, Details, DineIn, Personal
from workflow.commands import (
    AmendOrder,
    AttemptFailed,
    CancelOrder,
    LockOrder,
    OpenOrder,
    PauseDestination,
    RefuseOrder,
    ReportProgress,
    RequeueTask,
    SetVenue,
    StopTask,
    Sweep,
    ToldPayment,
)
from workflow.entry import Entry
from workflow.errors import (
    HeadRegressed,
    JournalDamaged,
    JournalForeign,
    JournalInUse,
    JournalTooNew,
    JournalUnavailable,
    NotAFile,
    PathRefused,
    UnknownOrder,
    UnknownTask,
    WitnessForeign,
    WorkflowError,
)
from workflow.journal.connection import reading
from workflow.journal.driver import sqlite3
from workflow.journal.file import WAL_BYTES_KEPT
from workflow.journal.keys import load_or_make_key
from workflow.journal.reads import OrderFilter, Position, SqliteReads, TimeLimit
from workflow.journal.schema import SCHEMA_VERSION
from workflow.journal.sqlite import WAL_PAGES, SqliteJournal
from workflow.journal.witness import Witnessed, read_head
from workflow.ledger import Frontier, leaf_hash, sign_checkpoint, tree_root, verify_checkpoint
from workflow.order import Order
from workflow.ports import IntentId, OrderId
from workflow.replay import replay, verify
from workflow.verification import Verifier

PATIENCE = 60.0
"""Seconds after which a wait has failed; nothing takes nearly as long."""
HASHED = [
    *("order_id", "order_seq", "at", "kind", "machine", "trigger", "from_state", "to_state"),
    *("payment_intent_id", "actor", "cause", "body", "prev_hash"),
]
COLUMNS = ["seq", *HASHED, "hash"]
PLENTY = 1_000_000


class Call:
    """A call on a thread of its own; `outcome` is what it returned or raised, once it is done."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.outcome: object = None
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._function()
        except BaseException as error:
            self.outcome = error

    def wait(self) -> object:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call does not return"
        return self.outcome


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.002)


def an_entry(order_id: str = "o1", order_seq: int = 1, **changes: object) -> Entry:
    entry = Entry(order_id=order_id, order_seq=order_seq, at="2026-03-14T12:00:00.000Z", kind="system", actor="test", cause="test")
    return replace(entry, **changes)


def note(text: str = "something", *, size: int = 0) -> Callable[..., int]:
    """A command that appends one entry which concerns no order, and returns its number among those."""

    def work(transaction):
        number = transaction.last_venue_seq() + 1
        transaction.append([an_entry("", number, body={"text": text, "padding": "x" * size})])
        return number

    return work


class Changed(Exception):
    """What a command raises that changed its mind."""


def changes_its_mind(text: str = "never") -> Callable[..., None]:
    def work(transaction):
        note(text)(transaction)
        raise Changed(text)

    return work


class SqliteStore:
    """The SQLite journal as the suite needs it: opened, asked behind its back, and made to take several commands at once."""

    def __init__(self, folder) -> None:
        self.folder, self.path, self.witness = folder, folder / "tillproof.db", folder / "tillproof.witness"
        self.clock = FixedClock()

    @property
    def key(self) -> Ed25519PrivateKey:
        return load_or_make_key(self.folder / "tillproof.key")

    def open(self) -> SqliteJournal:
        return SqliteJournal(self.path, self.witness, self.key, self.clock)

    def reads(self) -> SqliteReads:
        return SqliteReads(self.path)

    def rows(self, sql: str, *values: object) -> list[tuple]:
        """Ask on a connection that nobody else has."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql, values).fetchall()

    def texts(self) -> list[str]:
        """What `note` appended, as another connection sees it."""
        return [json.loads(body)["text"] for (body,) in self.rows("SELECT body FROM journal ORDER BY seq")]

    def verified(self):
        return verify(self.reads(), self.witness, self.key.public_key(), self.clock)

    def witnessed(self) -> list[tuple[int, str]]:
        lines = self.witness.read_text().splitlines()
        return [(int(size), root) for size, root in (line.split(" ") for line in lines)]

    @staticmethod
    def in_one_batch(journal: SqliteJournal, *works: Callable) -> list[object]:
        """What commands return or raise that wait together, in this order, and so are taken together."""
        entered, gate = threading.Event(), threading.Event()

        def hold(_):
            entered.set()
            assert gate.wait(PATIENCE)

        holder = Call(lambda: journal.write(hold))
        assert entered.wait(PATIENCE)
        calls = []
        for number, work in enumerate(works, start=1):
            calls.append(Call(lambda work=work: journal.write(work)))
            until(lambda number=number: journal._queue.qsize() == number)
        gate.set()
        assert holder.wait() is None
        return [call.wait() for call in calls]


STORES = {"sqlite": SqliteStore}


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def store(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def journal(store):
    journal = store.open()
    yield journal
    journal.close()


# -- the port: writing


def test_a_write_returns_what_its_command_returns_and_is_durable_by_then(store, journal):
    assert journal.write(note("kept")) == 1
    assert store.texts() == ["kept"]


def test_a_command_that_raises_leaves_no_trace_and_its_caller_gets_what_it_raised(store, journal):
    with pytest.raises(Changed, match="never"):
        journal.write(changes_its_mind("never"))
    assert store.texts() == []


def test_a_command_that_raises_is_rolled_back_alone(store, journal):
    outcomes = store.in_one_batch(journal, note("first"), changes_its_mind(), note("second"), changes_its_mind(), note("third"))
    assert [outcomes[0], outcomes[2], outcomes[4]] == [1, 2, 3]
    assert [type(outcome) for outcome in (outcomes[1], outcomes[3])] == [Changed, Changed]
    assert store.texts() == ["first", "second", "third"]


def test_a_command_sees_what_commands_before_it_stored(store, journal):
    assert store.in_one_batch(journal, note(), note(), note()) == [1, 2, 3]


def test_seq_runs_from_one_without_gaps_though_commands_fail(store, journal):
    store.in_one_batch(journal, changes_its_mind(), note(), changes_its_mind(), note())
    journal.write(note())
    with pytest.raises(Changed):
        journal.write(changes_its_mind())
    journal.write(note())
    assert store.rows("SELECT seq, order_seq FROM journal ORDER BY seq") == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_what_waits_for_the_commit_runs_after_it_and_before_the_caller_answers(store, journal):
    seen = []

    def work(transaction):
        note("first")(transaction)
        transaction.on_commit(lambda: seen.append(store.texts()))
        return len(seen)

    assert journal.write(work) == 0
    assert seen == [["first"]]


def test_what_waits_for_the_commit_never_runs_for_a_command_that_was_rolled_back(store, journal):
    seen = []

    def wait_for_commit(name, then):
        def work(transaction):
            transaction.on_commit(lambda: seen.append(name))
            return then(transaction)

        return work

    store.in_one_batch(journal, wait_for_commit("kept", note()), wait_for_commit("lost", changes_its_mind()))
    assert seen == ["kept"]


def test_one_number_within_an_order_is_given_once(store, journal):  # P13
    journal.write(lambda transaction: transaction.append([an_entry("o1", 1, cause="first")]))
    with pytest.raises(WorkflowError):
        journal.write(lambda transaction: transaction.append([an_entry("o1", 1, cause="second")]))
    assert store.rows("SELECT order_id, order_seq, cause FROM journal") == [("o1", 1, "first")]


def test_an_entry_without_its_predecessor_is_refused(store, journal):
    with pytest.raises(WorkflowError, match="o1"):
        journal.write(lambda transaction: transaction.append([an_entry("o1", 2)]))
    assert store.texts() == []


def test_every_entry_is_chained_and_hashed_as_anybody_can_recompute(store, journal):
    body = {"z": 1, "a": {"text": "Müller \u2028 € 🍕", "none": None, "yes": True, "list": [1, "2"]}}
    journal.write(lambda transaction: transaction.append([an_entry("o1", 1, body=body), an_entry("o1", 2, kind="event")]))
    journal.write(lambda transaction: transaction.append([an_entry("o2", 1, machine="order@0123456789ab", to_state="created")]))
    journal.write(lambda transaction: transaction.append([an_entry("o1", 3, payment_intent_id="pi_1"), an_entry("", 1)]))
    heads = {}
    rows = store.rows(f"SELECT {', '.join(COLUMNS)} FROM journal ORDER BY seq")
    assert len(rows) == 5
    for row in rows:
        entry = dict(zip(COLUMNS, row, strict=True))
        assert entry["prev_hash"] == heads.get(entry["order_id"], "0" * 64)
        hashed = {name: entry[name] for name in HASHED}
        text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        assert entry["hash"] == hashlib.sha256(text.encode()).hexdigest()
        canonical = json.dumps(json.loads(entry["body"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        assert entry["body"] == canonical
        heads[entry["order_id"]] = entry["hash"]
    assert json.loads(rows[0][COLUMNS.index("body")]) == body


def test_entries_of_one_batch_are_chained_across_commands_of_which_one_failed(store, journal):
    def append(order_seq, *, fails=False):
        def work(transaction):
            transaction.append([an_entry("o1", order_seq, cause=f"fails: {fails}")])
            if fails:
                raise Changed

        return work

    store.in_one_batch(journal, append(1), append(2, fails=True), append(2), append(3))
    assert store.verified().ok
    assert store.rows("SELECT order_seq, cause FROM journal") == [(1, "fails: False"), (2, "fails: False"), (3, "fails: False")]


def test_the_stored_nodes_give_the_root_of_the_stored_hashes(store, journal):
    for count in range(1, 20):
        journal.write(lambda transaction: [note()(transaction) for _ in range(3)])
        hashes = [hash_ for (hash_,) in store.rows("SELECT hash FROM journal ORDER BY seq")]
        nodes = {(level, position): hash_ for level, position, hash_ in store.rows("SELECT level, position, hash FROM tree_node")}
        nodes |= {(0, position): leaf_hash(hash_) for position, hash_ in enumerate(hashes)}
        frontier = Frontier.restore(3 * count, lambda level, position, nodes=nodes: nodes[level, position])
        assert frontier.root() == tree_root(hashes)


def test_a_write_after_the_close_is_turned_away(store):
    journal = store.open()
    journal.close()
    with pytest.raises(JournalUnavailable):
        journal.write(note())


def test_what_was_written_is_there_after_the_next_start_and_goes_on_from_there(store):
    for text in ("before", "between", "after"):
        journal = store.open()
        journal.write(note(text))
        journal.close()
    assert store.texts() == ["before", "between", "after"]
    assert store.verified().ok


# -- SQLite: one commit for many, and what is not committed


@pytest.fixture
def sqlite(tmp_path):
    return SqliteStore(tmp_path)


@pytest.fixture
def opened(sqlite):
    journal = sqlite.open()
    yield journal
    journal.close()


def on_the_writer(journal, sql: str):
    """Ask on the writer's own connection: what it is set to, no other connection can see."""
    return journal.write(lambda transaction: transaction._connection.execute(sql).fetchone())


def on_the_writer_itself(journal, sql: str):
    """The same outside of any transaction."""
    return journal._connection.execute(sql).fetchone()


def breaks_the_commit(transaction) -> None:
    """A command that works, and whose transaction cannot be committed."""
    transaction._connection.execute("PRAGMA defer_foreign_keys = ON")
    transaction._connection.execute("INSERT INTO payments VALUES ('pi_1', 'nobody', 'announced', 0, 0, 0, '')")


def test_commands_that_wait_together_share_one_commit(sqlite, opened):
    opened.write(note())
    outcomes = sqlite.in_one_batch(opened, *[note() for _ in range(50)])
    assert outcomes == list(range(2, 52))
    assert [size for size, _ in sqlite.witnessed()] == [1, 51]


def test_a_commit_that_fails_keeps_nothing_of_its_batch_and_tells_every_caller(sqlite, opened):  # S1
    opened.write(note("before"))
    seen = []

    def hopeful(transaction):
        transaction.on_commit(lambda: seen.append("committed"))
        return note("lost")(transaction)

    outcomes = sqlite.in_one_batch(opened, hopeful, breaks_the_commit, note("lost too"))
    assert [type(outcome) for outcome in outcomes] == [JournalUnavailable] * 3
    assert seen == []
    assert sqlite.texts() == ["before"]
    assert [size for size, _ in sqlite.witnessed()] == [1]


def test_the_journal_writes_on_after_a_commit_that_failed(sqlite, opened):  # S1
    with pytest.raises(JournalUnavailable):
        opened.write(breaks_the_commit)
    assert opened.is_writable()
    assert opened.write(note("after")) == 1
    assert sqlite.verified().ok


def fill_up(journal) -> None:
    """No page more than there is: what a full disk does to SQLite, without a disk."""
    (pages,) = on_the_writer(journal, "PRAGMA page_count")
    give_room(journal, pages)


def give_room(journal, pages: int) -> None:
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_turns_writers_away_and_harms_nothing_that_is_there(sqlite, opened):  # S1
    opened.write(note("before"))
    fill_up(opened)
    for _ in range(3):
        with pytest.raises(JournalUnavailable):
            opened.write(note("too much", size=200_000))
    assert sqlite.reads().size() == 1
    assert sqlite.texts() == ["before"]
    assert sqlite.verified().ok


def test_on_a_full_disk_an_answer_still_means_that_the_entry_is_stored(sqlite, opened):  # S1
    fill_up(opened)
    outcomes = sqlite.in_one_batch(opened, note("small 1"), note("too much", size=200_000), note("small 2"))
    stored = sqlite.texts()
    assert isinstance(outcomes[1], JournalUnavailable)
    for text, outcome in zip(["small 1", "too much", "small 2"], outcomes, strict=True):
        assert (text in stored) is isinstance(outcome, int), (text, outcome)


def test_a_full_disk_heals_without_a_restart(sqlite, opened):  # S1
    opened.write(note("before"))
    fill_up(opened)
    with pytest.raises(JournalUnavailable):
        opened.write(note("too much", size=200_000))
    give_room(opened, PLENTY)
    assert opened.is_writable()
    assert opened.write(note("after", size=200_000)) == 2
    assert sqlite.texts() == ["before", "after"]
    assert sqlite.verified().ok


def test_a_writer_from_outside_makes_callers_wait_and_then_turns_them_away_without_harm(sqlite, opened):  # S3
    on_the_writer(opened, "PRAGMA busy_timeout = 20")
    with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable):
            opened.write(note("lost"))
        assert not opened.is_writable()
        outside.execute("ROLLBACK")
    assert opened.is_writable()
    opened.write(note("kept"))
    assert sqlite.texts() == ["kept"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_ever_for_a_writer_that_died(sqlite, opened):  # K13
    def dies(_):
        raise KeyboardInterrupt

    outcomes = sqlite.in_one_batch(opened, note(), dies, note())
    assert opened.failed.is_set()
    assert [type(outcome) for outcome in outcomes] == [JournalUnavailable] * 3
    with pytest.raises(JournalUnavailable):
        opened.write(note())
    assert sqlite.texts() == []


def until_closed(journal: SqliteJournal, write: Callable[[], object]) -> None:
    with suppress(JournalUnavailable):
        for _ in range(PLENTY):
            write()


def test_a_close_keeps_all_that_it_answered_and_stores_nothing_that_it_did_not(sqlite):  # K16
    answered: list[str] = []

    def writer(name: int) -> Callable[[], None]:
        numbers = itertools.count()

        def write():
            text = f"{name}.{next(numbers)}"
            journal.write(note(text))
            answered.append(text)

        return write

    journal = sqlite.open()
    calls = [Call(partial(until_closed, journal, writer(name))) for name in range(8)]
    until(lambda: len(answered) > 20)
    journal.close()
    assert [call.wait() for call in calls] == [None] * 8
    assert sorted(sqlite.texts()) == sorted(answered)


@pytest.fixture
def threads_that_switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_that_switch_often")
def test_a_close_leaves_nobody_waiting_who_came_at_the_same_moment(sqlite):  # K16
    for _ in range(8):
        journal, done = sqlite.open(), itertools.count()
        calls = [
            Call(lambda journal=journal, done=done: until_closed(journal, lambda: journal.write(lambda _: next(done)))) for _ in range(24)
        ]
        until(lambda done=done: next(done) > 50)
        journal.close()
        assert [call.wait() for call in calls] == [None] * 24


# -- SQLite: what the file itself refuses, whoever opens it


def a_row(**changes: object) -> dict[str, object]:
    row = dict.fromkeys(HASHED, "") | {"seq": 1, "order_id": "o1", "order_seq": 1, "at": "2026-03-14T12:00:00.000Z", "kind": "system"}
    return row | {"body": "{}", "prev_hash": "0" * 64, "hash": "f" * 64} | changes


def insert(connection, row: dict[str, object], how: str = "INSERT") -> None:
    connection.execute(f"{how} INTO journal({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


@pytest.fixture
def by_hand(sqlite):
    """The file of a journal that held two orders, in the hands of somebody with SQL."""
    venue = Venue(sqlite.folder)
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    venue.open("o2")
    venue.close()
    with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize("table", ["journal", "checkpoint"])
@pytest.mark.parametrize(
    "change",
    ["UPDATE {} SET at = at", "DELETE FROM {}", "INSERT OR REPLACE INTO {0} SELECT * FROM {0} LIMIT 1"],
    ids=["update", "delete", "replace"],
)
def test_journal_and_checkpoints_take_no_change(by_hand, table, change):  # S7
    before = by_hand.execute(f"SELECT * FROM {table}").fetchall()
    with pytest.raises(sqlite3.IntegrityError):
        by_hand.execute(change.format(table))
    assert by_hand.execute(f"SELECT * FROM {table}").fetchall() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "rumour"},
        {"kind": ""},
        {"at": "2026-03-14T12:00:00Z"},
        {"at": "2026-03-14 12:00:00.000"},
        {"at": "yesterday"},
        {"seq": 0},
        {"order_seq": 0},
        {"order_seq": "first"},
        {"order_seq": 1.5},
        {"body": "not json"},
        {"body": b"{}"},
        {"hash": "f" * 63},
        {"prev_hash": ""},
        {"actor": None},
    ],
    ids=lambda changes: ",".join(f"{name}={str(value)[:20]}" for name, value in changes.items()),
)
def test_the_journal_table_refuses_what_no_entry_can_be(by_hand, changes):
    free = {"seq": 1000, "order_id": "o9"}
    by_hand.execute("BEGIN")
    insert(by_hand, a_row(**free))
    by_hand.execute("ROLLBACK")
    with pytest.raises(sqlite3.IntegrityError):
        insert(by_hand, a_row(**free | changes))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET state = 'paid'",
        "UPDATE orders SET status = 'Cooking'",
        "UPDATE orders SET flow = 'take_away'",
        "UPDATE orders SET payable = 2",
        "UPDATE orders SET total = 'much'",
        "UPDATE payments SET state = 'settled'",
        "UPDATE payments SET paid = 10.5",
        "UPDATE outbox SET status = 'lost'",
    ],
)
def test_the_tables_refuse_a_state_that_is_not_declared(by_hand, change):  # I4
    with pytest.raises(sqlite3.IntegrityError):
        by_hand.execute(change)


def test_the_number_of_an_entry_within_its_order_is_unique_to_any_tool(by_hand):  # P13
    (unique,) = by_hand.execute("SELECT name FROM pragma_index_list('journal') WHERE \"unique\"").fetchall()
    assert by_hand.execute("SELECT name FROM pragma_index_info(?)", unique).fetchall() == [("order_id",), ("order_seq",)]


def test_a_payment_needs_its_order_on_the_writers_connection(sqlite, opened):
    assert on_the_writer(opened, "PRAGMA foreign_keys") == (1,)
    with pytest.raises(WorkflowError):
        opened.write(lambda t: t._connection.execute("INSERT INTO payments VALUES ('pi_1', 'nobody', 'announced', 0, 0, 0, '')"))


def test_the_file_is_in_wal_mode_synced_at_every_commit_and_says_whose_it_is(sqlite, opened):
    assert sqlite.rows("PRAGMA journal_mode") == [("wal",)]
    assert on_the_writer(opened, "PRAGMA synchronous") == (2,)
    assert sqlite.rows("PRAGMA application_id") == [(0x54494C4C,)]
    assert sqlite.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_a_reader_cannot_write(sqlite, opened):
    opened.write(note("kept"))
    reads = sqlite.reads()
    assert reads.rows("PRAGMA query_only") == [(1,)]
    for sql in ("DELETE FROM tree_node", "INSERT INTO venue VALUES ('areas', 'x', '[]')", "PRAGMA user_version = 9", "DROP TABLE journal"):
        with pytest.raises(WorkflowError):
            reads.rows(sql)
    assert sqlite.texts() == ["kept"]
    assert sqlite.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_a_reader_sees_one_state_while_the_journal_grows(sqlite, opened):  # P2
    opened.write(note("before"))
    reads = sqlite.reads()
    with reads.snapshot():
        assert reads.size() == 1
        opened.write(note("meanwhile"))
        assert reads.size() == 1
    assert reads.size() == 2


# -- SQLite: checkpoints


def checkpoints(store: SqliteStore) -> list[tuple[int, str, str, str]]:
    return store.rows("SELECT size, root, at, note FROM checkpoint ORDER BY size")


def test_every_entry_is_under_a_signed_checkpoint_within_a_second(sqlite):
    journal = sqlite.open()
    for _ in range(20):
        journal.write(note())
        sqlite.clock.move(0.25)
    written = [sqlite.clock.moment.timestamp() - 0.25 * left for left in range(20, 0, -1)]
    journal.close()
    signed = [(size, at) for size, _, at, _ in checkpoints(sqlite)]
    for seq, at in enumerate(written, start=1):
        size, when = next((size, when) for size, when in signed if size >= seq)
        moment = sqlite.rows("SELECT unixepoch(?, 'subsec')", when)[0][0]
        assert moment - at <= 1.0, (seq, size)
    assert len(signed) <= 7


def test_an_idle_journal_is_sealed_without_another_write(sqlite, opened):
    opened.write(note())
    sqlite.clock.move(1)
    until(lambda: checkpoints(sqlite))
    assert checkpoints(sqlite)[-1][0] == 1


def test_the_last_checkpoint_of_a_closed_journal_covers_everything(sqlite):
    journal = sqlite.open()
    for _ in range(5):
        journal.write(note())
    journal.close()
    assert checkpoints(sqlite)[-1][0] == 5


def test_a_checkpoint_lost_with_its_commit_is_made_up_for(sqlite):
    journal = sqlite.open()
    journal.write(note())
    sqlite.clock.move(2)
    sqlite.in_one_batch(journal, note(), breaks_the_commit)
    journal.write(note())
    journal.close()
    assert checkpoints(sqlite)[-1][0] == 2


def test_every_checkpoint_is_signed_for_this_journal_and_its_tree(sqlite):
    journal = sqlite.open()
    for _ in range(7):
        journal.write(note())
        sqlite.clock.move(1)
    origin = f"tillproof/{journal.journal_id}"
    journal.close()
    hashes = [hash_ for (hash_,) in sqlite.rows("SELECT hash FROM journal ORDER BY seq")]
    for size, root, _, text in checkpoints(sqlite):
        signed = verify_checkpoint(text, sqlite.key.public_key())
        assert (signed.origin, signed.size, signed.root.hex()) == (origin, size, root)
        assert tree_root(hashes[:size]).hex() == root
    assert [size for size, *_ in checkpoints(sqlite)] == [2, 3, 4, 5, 6, 7]


def test_an_empty_journal_signs_nothing(sqlite):
    journal = sqlite.open()
    with pytest.raises(Changed):
        journal.write(changes_its_mind())
    journal.close()
    assert checkpoints(sqlite) == []
    assert sqlite.witnessed() == []
    assert sqlite.verified().ok


# -- SQLite: the witness


def test_the_witness_has_seen_a_commit_before_its_caller_answers_and_never_sooner(sqlite, opened):
    seen = []

    def work(transaction):
        note()(transaction)
        seen.append(len(sqlite.witnessed()))

    for number in range(1, 6):
        opened.write(work)
        hashes = [hash_ for (hash_,) in sqlite.rows("SELECT hash FROM journal ORDER BY seq")]
        assert sqlite.witnessed()[-1] == (number, tree_root(hashes).hex())
    assert seen == [0, 1, 2, 3, 4]


def test_what_appends_nothing_needs_no_witness(sqlite, opened):
    opened.write(note())
    opened.write(lambda transaction: transaction.touch())
    assert len(sqlite.witnessed()) == 1


def test_a_torn_last_line_of_the_witness_is_cut_off(sqlite):
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    whole = sqlite.witness.read_bytes()
    sqlite.witness.write_bytes(whole + b"2 0123456789")
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    assert sqlite.witness.read_bytes().startswith(whole)
    assert [size for size, _ in sqlite.witnessed()] == [1, 2]
    assert sqlite.verified().ok


A_LINE = b"1 " + b"0" * 64 + b"\n"
OTHERS_FILES = {
    "a-key": b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----",
    "a-key-with-its-last-newline": b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----\n",
    "a-text-of-two-bytes-a-letter": "Dear diary\nnothing happened".encode("utf-16"),
    "a-program": b"\x7fELF\2\1\1\0\0\n\0\0\3",
    "a-text-without-a-newline": b"Dear diary, nothing happened",
    "a-line-behind-whole-lines": A_LINE * 100 + b"Dear diary\n",
    "a-long-text-without-a-newline": b"soup " * 2_000,
    "a-long-text-in-one-line": b"soup " * 2_000 + b"\n",
    "a-binary-file": b"SQLite format 3\0\x10\0\x01\n\0\0\x0a\0" + bytes(8_000) + b"CREATE TABLE",
    "numbers": b"1 2 3",
    "more-than-a-line": A_LINE[:-1] + b"0",
    "lines-of-another-system": A_LINE[:-1] + b"\r\n",
    "empty-lines": b"\n\n",
}


@pytest.mark.parametrize("content", OTHERS_FILES.values(), ids=OTHERS_FILES)
def test_another_programs_file_in_the_witnesss_place_is_refused_and_left_as_it_is_and_nothing_is_made(sqlite, content):  # S14
    key = sqlite.key
    sqlite.witness.write_bytes(content)
    before = everything_in(sqlite.folder)

    for _ in range(2):
        with pytest.raises(WitnessForeign, match="is no witness"):
            SqliteJournal(sqlite.path, sqlite.witness, key, sqlite.clock)

    assert everything_in(sqlite.folder) == before
    assert not sqlite.path.exists()


@pytest.mark.parametrize("content", OTHERS_FILES.values(), ids=OTHERS_FILES)
def test_beside_a_journal_another_programs_file_in_the_witnesss_place_is_left_as_it_is(sqlite, content):  # S14
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    sqlite.witness.write_bytes(content)

    with pytest.raises(WitnessForeign):
        sqlite.open()

    assert sqlite.witness.read_bytes() == content
    assert sqlite.texts() == ["something"]


def test_a_witness_that_is_a_directory_is_refused_by_its_path_alone(sqlite):  # S14
    sqlite.witness.mkdir()
    with pytest.raises(PathRefused, match="not a plain file"):
        sqlite.open()
    assert not sqlite.path.exists()


@pytest.mark.parametrize(
    "torn",
    [
        b"2",
        b"2 ",
        b"2 0123456789",
        b"2 " + b"0" * 64,
        bytes(40),
        bytes(9_000),
        b"2 01" + bytes(9),
        bytes(9) + b"2 01",
        bytes(9_000) + b"\n",
    ],
    ids=["size", "space", "half", "no-newline", "hole", "long-hole", "half-and-hole", "hole-and-half", "long-hole-and-newline"],
)
@pytest.mark.parametrize("lines", [0, 1, 60])
def test_whatever_a_crash_or_a_power_cut_leaves_of_a_line_stops_no_start(sqlite, torn, lines):
    starts_behind(sqlite, torn, lines)


@pytest.mark.parametrize(
    "torn", [b"Dear diary", bytes(range(11, 256)) * 20, b"2 01" + bytes(9) + b"\n3 45"], ids=["word", "block", "hole-in-a-line"]
)
def test_whatever_a_power_cut_leaves_behind_whole_lines_stops_no_start(sqlite, torn):
    starts_behind(sqlite, torn, 1)


def starts_behind(sqlite, torn, lines):
    """The journal is opened, written and whole behind so many lines of its witness and what was torn."""
    journal = sqlite.open()
    for _ in range(lines):
        journal.write(note())
    journal.close()
    whole = sqlite.witness.read_bytes()
    sqlite.witness.write_bytes(whole + torn)

    journal = sqlite.open()
    journal.write(note())
    journal.close()

    assert sqlite.witness.read_bytes().startswith(whole)
    assert read_head(sqlite.witness).size == lines + 1
    assert sqlite.verified().ok


@pytest.mark.parametrize("offset", range(3, 90, 7))
def test_a_hole_of_a_block_anywhere_in_the_witness_is_no_damage(sqlite, offset):
    journal = sqlite.open()
    for _ in range(70):
        journal.write(note())
    journal.close()
    whole = sqlite.witness.read_bytes()
    sqlite.witness.write_bytes(whole[:offset] + bytes(4_096) + whole[offset + 4_096 :])
    assert sqlite.verified().ok
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    assert sqlite.verified().ok


def test_what_is_torn_off_is_no_damage_before_the_next_start_either(sqlite):
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    with sqlite.witness.open("ab") as witness:
        witness.write(bytes(range(11, 256)) * 20)
    assert sqlite.verified().ok


def test_a_copy_that_has_two_names_is_read_all_the_same(sqlite):
    """Backups are kept so; only who writes has a lock and a WAL by the name."""
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    sqlite.path.with_name("kept.db").hardlink_to(sqlite.path)
    with reading(sqlite.path):
        assert sqlite.verified().ok


def test_a_witness_that_lags_behind_is_no_damage(sqlite):
    journal = sqlite.open()
    for _ in range(3):
        journal.write(note())
    journal.close()
    first_line = sqlite.witness.read_bytes().split(b"\n")[0]
    sqlite.witness.write_bytes(first_line + b"\n")
    sqlite.open().close()
    assert sqlite.verified().ok


def keep_a_copy(store: SqliteStore, folder) -> SqliteStore:
    """The files as they are at this moment: what a killed process leaves, or what somebody carries away."""
    folder.mkdir()
    for file in store.folder.glob("tillproof.*"):
        if file.suffix not in {".lock", ".db-shm"}:
            shutil.copy(file, folder)
    return SqliteStore(folder)


def test_a_journal_that_lacks_what_its_witness_saw_is_not_opened(sqlite, tmp_path):  # S11
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    old = keep_a_copy(sqlite, tmp_path / "old")
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    shutil.copy(sqlite.witness, old.witness)
    for _ in range(2):  # The refusal lets the lock go, and cures nothing.
        with pytest.raises(HeadRegressed, match="1 entries, its witness saw 2"):
            old.open()
    assert old.texts() == ["something"]


def test_a_journal_of_another_root_than_its_witness_saw_is_not_opened(sqlite):  # S11
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    sqlite.witness.write_text(f"1 {'0' * 64}\n")
    with pytest.raises(HeadRegressed, match="size 1"):
        sqlite.open()


def test_what_a_killed_process_leaves_opens_with_all_that_was_answered(sqlite, opened, tmp_path):  # K2
    for _ in range(5):
        opened.write(note())
    killed = keep_a_copy(sqlite, tmp_path / "killed")
    journal = killed.open()
    assert journal.write(note()) == 6
    journal.close()
    assert killed.verified().ok


def test_entries_that_a_killed_process_left_unsigned_are_signed_by_the_next(sqlite, opened, tmp_path):  # K2
    for _ in range(5):
        opened.write(note())
    killed = keep_a_copy(sqlite, tmp_path / "killed")
    assert checkpoints(killed) == []
    killed.open().close()
    assert [size for size, *_ in checkpoints(killed)] == [5]


def cut_in_half(wal):
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])


def flip_a_bit(wal):
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 1
    wal.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_in_half, flip_a_bit, lambda wal: wal.unlink()], ids=["truncated", "flipped", "removed"])
def test_a_damaged_wal_is_noticed_though_sqlite_finds_nothing_wrong(sqlite, opened, tmp_path, damage):  # S11
    opened.write(note())
    on_the_writer_itself(opened, "PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(4):
        opened.write(note())
    killed = keep_a_copy(sqlite, tmp_path / "killed")
    damage(killed.folder / "tillproof.db-wal")
    assert killed.rows("PRAGMA integrity_check") == [("ok",)]
    with pytest.raises(HeadRegressed):
        killed.open()


@pytest.mark.parametrize("left", [None, b"", b"\xff" * 32_768], ids=["removed", "empty", "stale"])
def test_the_index_of_the_wal_is_made_anew_whatever_is_left_of_it(sqlite, opened, tmp_path, left):  # S12
    for _ in range(5):
        opened.write(note())
    killed = keep_a_copy(sqlite, tmp_path / "killed")
    if left is not None:
        (killed.folder / "tillproof.db-shm").write_bytes(left)
    journal = killed.open()
    assert journal.write(note()) == 6
    journal.close()
    assert killed.verified().ok


# -- SQLite: the WAL stays bounded, whoever reads


def wal_pages(journal) -> tuple[int, int]:
    """How long the WAL is, and how much of it the database has."""
    _, pages, done = on_the_writer_itself(journal, "PRAGMA wal_checkpoint(NOOP)")
    return pages, done


def test_the_wal_is_put_into_the_database_between_commits(sqlite, opened):  # S15
    longest = 0
    for _ in range(60):
        opened.write(note(size=200_000))
        longest = max(longest, opened.wal_bytes())
    assert longest < 3 * WAL_PAGES * 4096
    assert sqlite.verified().ok


def test_a_wal_that_grew_under_a_long_reader_is_cut_back_once_the_reader_is_gone(sqlite, opened):  # S15
    opened.write(note())
    with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        while opened.wal_bytes() <= WAL_BYTES_KEPT:
            opened.write(note(size=900_000))
    for _ in range(2):  # The first puts all of it into the database, the next begins the WAL anew.
        opened.write(note(size=900_000))
        until(lambda: wal_pages(opened)[0] - wal_pages(opened)[1] < WAL_PAGES)
    opened.write(note())
    assert opened.wal_bytes() <= WAL_BYTES_KEPT


def test_a_question_that_takes_too_long_is_broken_off(sqlite, opened):  # S15
    reads = SqliteReads(sqlite.path, limit=TimeLimit(TickingClock(1), 10))
    with pytest.raises(JournalUnavailable, match="took more than 10 s"):
        reads.rows("WITH RECURSIVE forever(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM forever) SELECT count(*) FROM forever")
    assert reads.size() == 0


@pytest.mark.parametrize("read", [lambda reads: reads.entries(), lambda reads: export.lines(reads, "jsonl")], ids=["entries", "export"])
def test_a_reader_that_takes_its_time_over_all_entries_holds_no_state_of_the_journal(sqlite, opened, read):  # S15 P2
    opened.write(lambda transaction: [note()(transaction) for _ in range(1_200)])
    slow = read(sqlite.reads())
    next(slow)
    opened.write(note("later"))
    assert on_the_writer_itself(opened, "PRAGMA wal_checkpoint(TRUNCATE)")[0] == 0  # Not busy: nobody is in the way.
    assert sum(1 for _ in slow) == 1_200


def test_verification_holds_no_state_of_the_journal_between_its_steps(sqlite, opened):  # S6 S15
    opened.write(lambda transaction: [note()(transaction) for _ in range(120)])
    verifier = Verifier(sqlite.reads(), Witnessed(sqlite.witness), opened.public_key)
    steps = 0
    while verifier.step(50):
        steps += 1
        opened.write(note("meanwhile"))
        assert on_the_writer_itself(opened, "PRAGMA wal_checkpoint(TRUNCATE)")[0] == 0
    assert steps == 2
    assert verifier.found.first_bad is None
    assert verifier.found.entries == 120


# -- SQLite: whose file it is


def test_a_second_server_is_refused_until_the_first_closes(sqlite):  # P1
    first = sqlite.open()
    first.write(note("first"))
    with pytest.raises(JournalInUse):
        sqlite.open()
    assert first.write(note("still")) == 2
    first.close()
    second = sqlite.open()
    assert second.write(note("second")) == 3
    second.close()


def another_programs(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA application_id = 7; CREATE TABLE theirs(a); INSERT INTO theirs VALUES (1);")


def another_programs_in_wal_mode(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE journal(seq); INSERT INTO journal VALUES (1);")


def a_newer_one(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"PRAGMA application_id = 0x54494C4C; PRAGMA user_version = {SCHEMA_VERSION + 1}; CREATE TABLE meta(name, value);"
        )


def a_link_to_a_journal(path):
    elsewhere = SqliteStore(path.parent / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.open().close()
    path.symlink_to(elsewhere.path)


def a_second_name_of_a_journal(path):
    a_link_to_a_journal(path)
    elsewhere = path.resolve()
    path.unlink()
    path.hardlink_to(elsewhere)


def everything_in(folder) -> dict[str, object]:
    return {
        str(file.relative_to(folder)): os.readlink(file) if file.is_symlink() else file.read_bytes() if file.is_file() else None
        for file in folder.rglob("*")
        if not file.name.endswith((".lock", ".key"))
    }


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(another_programs, JournalForeign, id="another-programs"),
        pytest.param(another_programs_in_wal_mode, JournalForeign, id="another-programs-in-wal-mode"),
        pytest.param(a_newer_one, JournalTooNew, id="newer-schema"),
        pytest.param(lambda path: path.write_bytes(b""), JournalForeign, id="empty"),
        pytest.param(lambda path: path.write_bytes(b"SQLite format 3\0"), JournalForeign, id="cut-off"),
        pytest.param(lambda path: path.write_text("dear diary\n" * 100), JournalForeign, id="text"),
        pytest.param(lambda path: path.mkdir(), JournalForeign, id="directory"),
        pytest.param(a_link_to_a_journal, JournalForeign, id="link"),
        pytest.param(a_second_name_of_a_journal, NotAFile, id="hard-link"),
        pytest.param(lambda path: path.symlink_to("nowhere.db"), JournalForeign, id="dangling-link"),
    ],
)
def test_what_is_no_journal_of_ours_is_refused_and_left_as_it_is(sqlite, make, error):  # S14
    make(sqlite.path)
    before = everything_in(sqlite.folder)
    for _ in range(2):  # Twice: the refusal lets the lock go.
        with pytest.raises(error, match=r"tillproof\.db"):
            sqlite.open()
    assert everything_in(sqlite.folder) == before


def test_nobody_but_the_owner_may_read_what_is_made(tmp_path):  # S17
    store = SqliteStore(tmp_path / "venue")
    key = Ed25519PrivateKey.generate()
    before = os.umask(0)
    try:
        journal = SqliteJournal(store.path, tmp_path / "safe" / "tillproof.witness", key, store.clock)
        journal.write(note())
    finally:
        os.umask(before)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.name for file in files} >= {"tillproof.db", "tillproof.db-wal", "tillproof.db-shm", "tillproof.witness"}
    assert {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in files} == dict.fromkeys((file.name for file in files), "0o600")
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (store.folder, tmp_path / "safe")} == {0o700}
    journal.close()


def test_what_sqlite_keeps_beside_a_journal_is_its_owners_alone_from_the_next_start_on(sqlite, opened, tmp_path):  # S17
    opened.write(note())
    killed = keep_a_copy(sqlite, tmp_path / "killed")
    beside = [killed.path.with_name(f"tillproof.db{suffix}") for suffix in ("-wal", "-shm")]
    beside[1].touch()
    for path in beside:
        path.chmod(0o644)

    journal = killed.open()
    journal.write(note())
    found = [oct(stat.S_IMODE(path.stat().st_mode)) for path in beside]
    journal.close()

    assert found == ["0o600", "0o600"]
    assert killed.texts() == ["something"] * 2


def test_what_a_crash_left_of_a_first_start_does_no_harm(sqlite):  # K10
    (sqlite.folder / "tillproof.db.new").write_bytes(b"half a journal")
    (sqlite.folder / "tillproof.db.new-wal").write_bytes(b"half a log" * 1000)
    (sqlite.folder / "tillproof.db.new-shm").write_bytes(b"\0" * 32768)
    journal = sqlite.open()
    journal.write(note())
    journal.close()
    assert sqlite.verified().ok
    assert not list(sqlite.folder.glob("*.new*"))


def test_each_journal_has_an_id_of_its_own_that_it_keeps(sqlite, tmp_path):
    names = []
    for store in (sqlite, sqlite, SqliteStore(tmp_path / "other")):
        store.folder.mkdir(exist_ok=True)
        journal = store.open()
        names.append(journal.journal_id)
        journal.close()
    assert names[0] == names[1] != names[2]


def test_the_declarations_in_force_are_kept_in_the_file(sqlite, opened):  # P5
    found = sqlite.rows("SELECT name, hash, declaration FROM machines ORDER BY name")
    assert [name for name, _, _ in found] == ["fulfilment", "order", "payment"]
    for name, hash_, text in found:
        assert hashlib.sha256(text.encode()).hexdigest()[:12] == hash_
        assert json.loads(text)["name"] == name


# -- readers


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def opened_order(venue: Venue, order_id: str, *, total: int = 1000, reference: str = "A-1", **where: str) -> Order:
    details = Details(order_type="DineIn", dine_in=DineIn(**where))
    bill = Bill(details=details, items=(), total_amount=gbp(total), reference=reference)
    venue.clock.move(1)
    outcome = venue.engine.handle(OpenOrder(order_id=OrderId(order_id), key=order_id, bill=bill, personal=Personal(), actor="till:t"))
    return outcome.order


def ids(found) -> list[str]:
    return [stored.order.id for stored in found]


@pytest.fixture
def busy_venue(venue):
    opened_order(venue, "o1", table_id="tbl_1", waiter_id="w_1", party_id="p_1", reservation_id="r_1", reference="A-1")
    opened_order(venue, "o2", table_id="tbl_1", waiter_id="w_2", party_id="p_2", reservation_id="r_2", reference="A-2")
    opened_order(venue, "o3", table_id="tbl_3", waiter_id="w_1", party_id="p_3", reservation_id="r_3", reference="A-2")
    venue.clock.move(1)
    venue.create("o4", payments=(ToldPayment(intent_id=IntentId("pi_4"), paid=1000),), captured=True)
    venue.settle({"pi_4": an_intent("pi_4")})
    venue.clock.move(1)
    venue.create("o5", payments=(ToldPayment(intent_id=IntentId("pi_5"), paid=1000),), captured=True)
    venue.settle({"pi_5": an_intent("pi_5", paid=999)})
    return venue


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (OrderFilter(), ["o5", "o4", "o3", "o2", "o1"]),
        (OrderFilter(table_id="tbl_1"), ["o2", "o1"]),
        (OrderFilter(waiter_id="w_1"), ["o3", "o1"]),
        (OrderFilter(party_id="p_2"), ["o2"]),
        (OrderFilter(reservation_id="r_3"), ["o3"]),
        (OrderFilter(payable_only=True), ["o3", "o2", "o1"]),
        (OrderFilter(state="updated"), ["o4"]),
        (OrderFilter(attention=True), ["o5"]),
        (OrderFilter(text="o3"), ["o3"]),
        (OrderFilter(text="dojo-o4"), ["o4"]),
        (OrderFilter(text="A-2"), ["o3", "o2"]),
        (OrderFilter(text="tbl_1"), ["o2", "o1"]),
        (OrderFilter(text="pi_5"), ["o5"]),
        (OrderFilter(table_id="tbl_1", waiter_id="w_1"), ["o1"]),
        (OrderFilter(text="' OR 1 = 1 --"), []),
        (OrderFilter(table_id="tbl_%"), []),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else repr(value).partition("(")[0],
)
def test_orders_are_found_by_every_field_newest_first(busy_venue, wanted, found):  # I-11
    assert ids(busy_venue.reads.orders(wanted, 100)) == found


def all_pages(ask: Callable[[Position | None], list], place: Callable[..., Position]) -> list:
    found, after = [], None
    for _ in range(20):
        page = ask(after)
        if not page:
            return found
        found += page
        after = place(page[-1])
    raise AssertionError("the pages do not end")


def place_of_order(stored) -> Position:
    return Position(stored.order.created_at, stored.order.id)


def test_pages_of_orders_hold_each_once_while_new_ones_come(venue):
    for number in range(10):
        opened_order(venue, f"o{number}")
    late = itertools.count()

    def ask(after):
        if after:
            opened_order(venue, f"late{next(late)}")
        return venue.reads.orders(OrderFilter(), 3, after=after)

    assert ids(all_pages(ask, place_of_order)) == [f"o{number}" for number in range(9, -1, -1)]


def test_orders_of_one_moment_are_paged_by_their_id(venue):
    for number in random.Random(1).sample(range(10), 10):
        venue.open(f"o{number}")
    found = all_pages(lambda after: venue.reads.orders(OrderFilter(), 4, after=after), place_of_order)
    assert ids(found) == [f"o{number}" for number in range(9, -1, -1)]


def test_pages_backwards_hold_the_nearest_orders_in_the_same_order(venue):
    for number in range(10):
        opened_order(venue, f"o{number}")
    third = venue.order("o2")
    before = Position(third.created_at, third.id)
    assert ids(venue.reads.orders(OrderFilter(), 3, before=before)) == ["o5", "o4", "o3"]
    assert ids(venue.reads.orders(OrderFilter(table_id="none"), 3, before=before)) == []


def test_an_order_carries_its_personal_data_and_an_unknown_one_is_none(venue):
    personal = Personal(customer=Customer(name="Ada"), note="window seat")
    venue.engine.handle(OpenOrder(order_id=OrderId("o1"), key="o1", bill=a_bill(), personal=personal, actor="till:t"))
    assert venue.reads.order("o1").personal == personal
    assert venue.reads.order("o2") is None


def test_entries_are_read_by_order_position_and_number_oldest_first(busy_venue):
    reads = busy_venue.reads
    everything = list(reads.entries())
    assert [entry.seq for entry in everything] == list(range(1, reads.size() + 1))
    assert [entry.seq for entry in reads.entries(after=5, limit=3)] == [6, 7, 8]
    mine = list(reads.entries(order_id="o4"))
    assert mine == [entry for entry in everything if entry.order_id == "o4"]
    assert [entry.order_seq for entry in mine] == list(range(1, len(mine) + 1))
    assert reads.last_entries(2) == everything[-2:]
    assert reads.last_entries(PLENTY) == everything
    assert list(reads.entries(order_id="unknown")) == []


def test_tasks_are_paged_newest_first_each_once_and_by_status(venue):
    for number in range(7):
        venue.clock.move(0.001)
        venue.open(f"o{number}")
    for task in list(venue.tasks)[:3]:
        venue.perform(task, {})
    found = all_pages(lambda after: venue.reads.tasks(None, 3, after=after), lambda task: Position(task.created_at, task.id))
    assert [task.order_id for task in found] == [f"o{number}" for number in range(6, -1, -1)]
    assert [task.order_id for task in venue.reads.tasks("done", 10)] == ["o2", "o1", "o0"]
    assert [task.status for task in venue.reads.tasks("leased", 10)] == ["leased"] * 4
    assert venue.reads.tasks("dead", 10) == []


def test_a_journal_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(JournalUnavailable):
        SqliteReads(tmp_path / "absent.db").size()
    assert not (tmp_path / "absent.db").exists()


# -- verify and replay


class BusyDay:
    """A venue that does whatever comes, over and over: every command, every answer, calls that fail, pauses and sweeps."""

    def __init__(self, venue: Venue, seed: int) -> None:
        self.venue, self.dice = venue, random.Random(seed)
        self.orders: list[str] = []
        self.intents: list[str] = []

    def run(self, steps: int) -> None:
        deeds = [self.create, self.open, self.event, self.event, self.perform, self.perform, self.perform, self.wait, self.ask]
        for _ in range(steps):
            self.dice.choice(deeds)()
            self.venue.clock.move(self.dice.choice([0, 0.01, 0.4]))

    def create(self):
        order_id, count = f"o{len(self.orders)}", self.dice.randint(0, 2)
        told = [ToldPayment(intent_id=IntentId(f"pi_{len(self.intents) + n}"), paid=self.dice.choice([400, 1000])) for n in range(count)]
        if self.intents and self.dice.random() < 0.1:
            told.append(ToldPayment(intent_id=IntentId(self.dice.choice(self.intents)), paid=400))
        self.venue.create(order_id, payments=tuple(told), captured=self.dice.random() < 0.5)
        self.orders.append(order_id)
        self.intents += [payment.intent_id for payment in told]

    def open(self):
        order_id = self.dice.choice([*self.orders, f"o{len(self.orders)}"])
        self.venue.open(order_id, total=self.dice.choice([1000, 1200]))
        self.orders.append(order_id)

    def event(self):
        intent_id = self.dice.choice([*self.intents, f"pi_{len(self.intents)}", f"pi_{len(self.intents) + 1}"])
        status = self.dice.choice(["Created", "Authorized", "Captured", "Captured", "Refunded", "Reversed", "Canceled", "Odd"])
        self.venue.event(intent_id, status, event_id=self.dice.choice(["evt_same", None, None]))

    def perform(self):
        if not self.venue.tasks:
            return
        task, fate = self.venue.tasks.popleft(), self.dice.random()
        now_ms = int(self.venue.clock.now().timestamp() * 1000)
        if fate < 0.15:
            self.venue.engine.handle(AttemptFailed(task=task, error="500", next_at_ms=now_ms + self.dice.randint(0, 2000)))
        elif fate < 0.2:
            self.venue.engine.handle(AttemptFailed(task=task, error="400", next_at_ms=None))
        elif fate < 0.22:
            self.venue.engine.handle(PauseDestination(task=task, error="401", probe_at_ms=now_ms + 500, next_at_ms=now_ms + 500))
        elif fate < 0.9:
            self.venue.perform(task, {task.intent_id: self.intent(task.intent_id)} if fate < 0.85 else {})

    def intent(self, intent_id: str):
        status = self.dice.choice(["Captured", "Captured", "Captured", "Authorized", "Refunded", "Reversed", "Created", "Odd"])
        paid = self.dice.choice([400, 1000, 1000])
        refunded = paid if status == "Refunded" else self.dice.choice([0, 0, 0, 100])
        external_id = self.dice.choice([None, None, *self.orders[-2:]])
        return an_intent(intent_id, status=status, paid=paid, tips=self.dice.choice([0, 50]), refunded=refunded, external_id=external_id)

    def wait(self):
        self.venue.clock.move(self.dice.choice([1, 31]))
        self.venue.engine.claim_due(self.dice.choice([1, 10]))

    def ask(self):
        if not self.orders:
            return
        order_id, tasks = OrderId(self.dice.choice(self.orders)), self.venue.reads.tasks(None, 100)
        dead, waiting = [task.id for task in tasks if task.status == "dead"], [task.id for task in tasks if task.done_at is None]
        command = self.dice.choice(
            [
                CancelOrder(order_id=order_id),
                RefuseOrder(order_id=order_id, reason="no fish", actor="till:t"),
                ReportProgress(order_id=order_id, status=self.dice.choice(["Preparing", "Finalized"]), actor="till:t"),
                LockOrder(order_id=order_id, lock_id=self.dice.choice("ab"), expires_at="2026-03-14T12:00:30.000Z"),
                AmendOrder(order_id=order_id, bill=a_bill(1100), personal=Personal(note="quickly"), actor="till:t"),
                SetVenue(name="taking_orders", value=self.dice.random() < 0.8, actor="till:t"),
                RequeueTask(task_id=self.dice.choice([*dead, "none"]), reason="again", actor="operator:a"),
                StopTask(task_id=self.dice.choice([*waiting, "none"]), reason="enough", actor="operator:a"),
                Sweep(limit=10),
            ]
        )
        with suppress(UnknownOrder, UnknownTask):
            self.venue.engine.handle(command)


@pytest.mark.parametrize("seed", range(6))
def test_after_a_busy_day_the_journal_is_whole_and_explains_all_that_is_stored(tmp_path, seed):  # I3 I6 I7
    venue = Venue(tmp_path)
    BusyDay(venue, seed).run(250)
    for closed in (False, True):
        if closed:
            venue.close()
        found = verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock)
        assert found.ok, found.first_bad
        replayed = replay(venue.reads)
        assert replayed.ok, replayed.mismatches
        assert (found.entries, found.orders) == (replayed.entries, replayed.orders)
    assert found.entries > 200


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A short day with a bit of everything, closed; tests work on copies."""
    folder = tmp_path_factory.mktemp("day")
    venue = Venue(folder)
    for number in range(1, 5):
        intent_id = IntentId(f"pi_{number}")
        venue.create(f"o{number}", payments=(ToldPayment(intent_id=intent_id, paid=1000),))
        venue.clock.move(0.5)
    venue.engine.handle(SetVenue(name="areas", value=["bar"], actor="till:t"))
    for number in range(1, 5):
        venue.event(f"pi_{number}", "Captured")
        venue.clock.move(0.5)
    venue.event("pi_stranger", "Captured")
    venue.engine.handle(LockOrder(order_id=OrderId("o3"), lock_id="l", expires_at="2026-03-14T13:00:00.000Z"))
    personal = Personal(customer=Customer(name="Ada"))
    venue.engine.handle(OpenOrder(order_id=OrderId("o5"), key="o5", bill=a_bill(), personal=personal, actor="till:t"))
    intents = {f"pi_{number}": an_intent(f"pi_{number}", paid=1000 if number < 4 else 900) for number in range(1, 5)}
    while venue.tasks:
        task = venue.tasks.popleft()
        if task.intent_id == "pi_stranger":
            venue.engine.handle(AttemptFailed(task=task, error="400", next_at_ms=None))
        else:
            venue.perform(task, intents)
        venue.clock.move(0.3)
    venue.close()
    return SqliteStore(folder)


@pytest.fixture
def copy(day, tmp_path):
    return keep_a_copy(day, tmp_path / "copy")


def tamper(store: SqliteStore, *changes: str) -> None:
    """Change the file as somebody would who knows SQL and the format, and has no key; the triggers are gone then."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for change in changes:
            assert connection.execute(change).rowcount != 0, f"{change} changes nothing"


def size_of(store: SqliteStore) -> int:
    return store.rows("SELECT max(seq) FROM journal")[0][0]


def stored_entry(store: SqliteStore, seq: int) -> dict[str, object]:
    (row,) = store.rows(f"SELECT {', '.join(COLUMNS)} FROM journal WHERE seq = ?", seq)
    return dict(zip(COLUMNS, row, strict=True))


def hash_one(store: SqliteStore, seq: int) -> str:
    """Give the entry the hash that fits what it says now."""
    entry = stored_entry(store, seq)
    text = json.dumps({name: entry[name] for name in HASHED}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    hash_ = hashlib.sha256(text.encode()).hexdigest()
    store.rows("UPDATE journal SET hash = ? WHERE seq = ?", hash_, seq)
    return hash_


def hash_again(store: SqliteStore, first: int) -> None:
    """Give every entry from `first` on the chain and the hash that fit what they say now."""
    heads = dict(store.rows("SELECT order_id, hash FROM journal WHERE seq < ? ORDER BY seq", first))
    for seq in range(first, size_of(store) + 1):
        order_id = stored_entry(store, seq)["order_id"]
        store.rows("UPDATE journal SET prev_hash = ? WHERE seq = ?", heads.get(order_id, "0" * 64), seq)
        heads[order_id] = hash_one(store, seq)


def neighbours(store: SqliteStore, *, same_order: bool) -> tuple[int, int]:
    """Positions of two entries that follow each other, of one order or of two."""
    rows = store.rows("SELECT seq, order_id FROM journal WHERE seq > 3 ORDER BY seq")
    return next((a, b) for (a, order_a), (b, order_b) in itertools.pairwise(rows) if (order_a == order_b) is same_order)


def test_a_day_that_nobody_touched_is_whole(copy):
    found = copy.verified()
    assert found.ok, found.first_bad
    assert replay(copy.reads()).ok
    assert len(checkpoints(copy)) > 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("order_id", "o99"),
        ("order_seq", 77),
        ("at", "2026-03-14T11:59:59.999Z"),
        ("kind", "lock"),
        ("machine", "order@000000000000"),
        ("trigger", "else"),
        ("from_state", "else"),
        ("to_state", "else"),
        ("payment_intent_id", "pi_else"),
        ("actor", "nobody"),
        ("cause", "else"),
        ("body", '{"else":1}'),
        ("prev_hash", "a" * 64),
        ("hash", "a" * 64),
    ],
    ids=lambda value: str(value)[:12],
)
def test_an_edit_of_any_column_is_found_at_its_entry(copy, column, value):  # S6 S7
    tamper(copy, f"UPDATE journal SET {column} = '{value}' WHERE seq = 5")
    assert copy.verified().first_bad.seq == 5


def test_a_body_written_otherwise_is_found_though_it_says_the_same_and_its_hash_fits(copy):  # S7
    tamper(copy, "UPDATE journal SET body = ' ' || body WHERE seq = 5")
    hash_one(copy, 5)
    assert copy.verified().first_bad.seq == 5


def test_a_broken_chain_is_found_though_the_hash_of_the_entry_fits(copy):  # S7
    tamper(copy, f"UPDATE journal SET prev_hash = '{'a' * 64}' WHERE seq = 5")
    hash_one(copy, 5)
    assert copy.verified().first_bad.seq == 5


def test_a_deleted_entry_is_found_where_it_was(copy):  # S7
    tamper(copy, "DELETE FROM journal WHERE seq = 5")
    assert copy.verified().first_bad.seq == 5


def test_a_deleted_entry_is_found_though_the_gap_was_closed(copy):  # S7
    moves = [f"UPDATE journal SET seq = {n - 1} WHERE seq = {n}" for n in range(6, size_of(copy) + 1)]
    tamper(copy, "DELETE FROM journal WHERE seq = 5", *moves)
    assert 5 <= copy.verified().first_bad.seq <= next(size for size, *_ in checkpoints(copy) if size >= 5)


def swap(a: int, b: int) -> list[str]:
    return [f"UPDATE journal SET seq = {new} WHERE seq = {old}" for old, new in ((a, 100_000), (b, a), (100_000, b))]


def test_two_swapped_entries_of_one_order_are_found_at_the_first(copy):  # S7
    first, second = neighbours(copy, same_order=True)
    tamper(copy, *swap(first, second))
    assert copy.verified().first_bad.seq == first


def test_two_swapped_entries_of_two_orders_are_found(copy):  # S7
    first, second = neighbours(copy, same_order=False)
    tamper(copy, *swap(first, second))
    assert first <= copy.verified().first_bad.seq <= next(size for size, *_ in checkpoints(copy) if size >= first)


def test_a_forged_entry_in_between_is_found_though_it_is_well_formed(copy):  # S7
    row = a_row(seq=6, order_id="forged")
    tamper(copy, *(f"UPDATE journal SET seq = {n + 1} WHERE seq = {n}" for n in range(size_of(copy), 5, -1)))
    with closing(sqlite3.connect(copy.path, isolation_level=None)) as connection:
        insert(connection, row)
    hash_again(copy, 6)
    assert 6 <= copy.verified().first_bad.seq <= next(size for size, *_ in checkpoints(copy) if size >= 6)


def test_an_edit_is_found_though_every_hash_was_made_anew(copy):  # S7
    tamper(copy, "UPDATE journal SET actor = 'nobody' WHERE seq = 5")
    hash_again(copy, 5)
    assert 5 <= copy.verified().first_bad.seq <= next(size for size, *_ in checkpoints(copy) if size >= 5)


@pytest.mark.parametrize("hidden", [False, True], ids=["checkpoints-left", "checkpoints-cut-too"])
def test_a_cut_off_tail_is_found_where_it_begins(copy, hidden):  # S7 S11
    size = size_of(copy)
    tables = {"journal": "seq", "checkpoint": "size"} if hidden else {"journal": "seq"}
    tamper(copy, *(f"DELETE FROM {table} WHERE {column} > {size - 3}" for table, column in tables.items()))
    assert copy.verified().first_bad.seq == size - 2


@pytest.mark.parametrize("hidden", [False, True], ids=["checkpoints-left", "checkpoints-cut-too"])
def test_a_witness_that_saw_more_than_there_is_is_not_called_fine(copy, hidden):  # S11
    size = size_of(copy)
    tables = {"journal": "seq", "checkpoint": "size"} if hidden else {"journal": "seq"}
    tamper(copy, *(f"DELETE FROM {table} WHERE {column} > {size - 3}" for table, column in tables.items()))
    assert not copy.verified().witness_ok


def test_a_checkpoint_of_another_root_is_found_at_its_size(copy):
    size = checkpoints(copy)[2][0]
    tamper(copy, f"UPDATE checkpoint SET root = '{'a' * 64}' WHERE size = {size}")
    assert copy.verified().first_bad.seq == size


def test_a_checkpoint_signed_with_another_key_is_found_at_its_size(copy):
    size, root, _, text = checkpoints(copy)[2]
    forged = sign_checkpoint(text.split("\n")[0], size, bytes.fromhex(root), Ed25519PrivateKey.generate())
    tamper(copy, f"UPDATE checkpoint SET note = '{forged}' WHERE size = {size}")
    assert copy.verified().first_bad.seq == size


def test_a_checkpoint_that_is_signed_for_another_size_is_found(copy):
    (size, *_), (_, _, _, other) = checkpoints(copy)[1:3]
    tamper(copy, f"UPDATE checkpoint SET note = '{other}' WHERE size = {size}")
    assert copy.verified().first_bad.seq == size


def test_a_checkpoint_that_is_signed_for_another_journal_is_found(copy):
    tamper(copy, "UPDATE meta SET value = 'ffffffffffffffff' WHERE name = 'journal_id'")
    assert copy.verified().first_bad.seq == checkpoints(copy)[0][0]


def test_a_witness_of_another_root_is_found(copy):
    *_, (size, _) = copy.witnessed()
    copy.witness.write_text(f"{size} {'a' * 64}\n")
    found = copy.verified()
    assert (found.first_bad.seq, found.witness_ok) == (size, False)


@pytest.mark.parametrize(
    ("change", "seq", "said"),
    [
        ("UPDATE tree_node SET hash = zeroblob(32) WHERE level = 1 AND position = 2", 6, "the stored node 1/2 of the tree is not"),
        ("DELETE FROM tree_node WHERE level = 2 AND position = 0", 4, "the stored node 2/0 of the tree is not"),
        ("INSERT INTO tree_node VALUES (9, 0, zeroblob(32))", None, "nodes of the tree are stored, the entries make"),
    ],
    ids=["edited", "deleted", "added"],
)
def test_a_node_of_the_tree_that_is_not_what_its_entries_make_is_found(copy, change, seq, said):  # I7
    tamper(copy, change)
    found = copy.verified().first_bad
    assert (found.seq, said in found.reason) == (seq or size_of(copy), True)


def test_erasing_personal_data_leaves_every_proof_as_it_was(copy):
    head, digest = copy.verified().checkpoint, replay(copy.reads()).digest
    copy.rows("DELETE FROM personal")
    found = copy.verified()
    assert found.ok, found.first_bad
    replayed = replay(copy.reads())
    assert (found.checkpoint, replayed.ok, replayed.digest) == (head, True, digest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE personal SET data = replace(data, ':\"', ':\"Mc')", "is not what was journaled"),
        ("UPDATE personal SET salt = salt || 'x'", "is not what was journaled"),
        ("UPDATE personal SET data = data || ' '", "is not what was journaled"),
        ('UPDATE personal SET data = \'{"note":"none",\' || substr(data, 2)', "is not what was journaled"),  # The name comes twice.
        ("INSERT INTO personal SELECT 'nobody', salt, data FROM personal LIMIT 1", "no entry has a hash of it"),
    ],
    ids=["data", "salt", "a blank", "a name twice", "whose"],
)
def test_personal_data_that_are_not_what_was_journaled_are_found(tmp_path, change, said):
    venue = Venue(tmp_path)
    personal = Personal(customer=Customer(name="Ada"), note="no nuts")
    venue.engine.handle(OpenOrder(order_id="o1", key="o1", bill=a_bill(), personal=personal, actor="till:bar"))
    assert replay(venue.reads).ok
    venue.close()
    with closing(sqlite3.connect(tmp_path / "tillproof.db", isolation_level=None)) as connection:
        assert connection.execute(change).rowcount
    [found] = replay(venue.reads).mismatches
    assert said in found


def test_a_task_that_later_entries_renewed_speaks_of_the_last_one_that_names_it(tmp_path):  # S10
    venue = Venue(tmp_path, sends=WITH_TILL)
    venue.open()
    for total in (1100, 1200, 1300):
        venue.engine.handle(AmendOrder(order_id="o1", bill=a_bill(total), personal=Personal(), actor="till:bar"))
    [(task_id, first, last)] = venue.reads.rows(
        "SELECT task, min(order_seq), max(order_seq) FROM (SELECT each.value ->> 'id' AS task, order_seq "
        "FROM journal, json_each(body, '$.tasks') AS each) GROUP BY task HAVING count(*) > 1"
    )
    assert (first < last, replay(venue.reads).mismatches) == (True, [])

    venue.close()
    with closing(sqlite3.connect(tmp_path / "tillproof.db", isolation_level=None)) as connection:
        assert connection.execute("UPDATE outbox SET order_seq = ? WHERE id = ?", (first, task_id)).rowcount
    assert replay(venue.reads).mismatches == [f"outbox {task_id}: stored '{first}', replayed '{last}'"]


WRITE_SCHEMA = "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES"
HIDDEN_TRIGGER = "CREATE TRIGGER sqlite_t AFTER INSERT ON locks BEGIN DELETE FROM locks; END"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TRIGGER journal_is_append_only_update", "the trigger journal_is_append_only_update is missing"),
        ("CREATE TRIGGER more AFTER INSERT ON journal BEGIN DELETE FROM attention; END", "the trigger more is none of a journal's"),
        ("CREATE VIEW takings AS SELECT 0 AS total", "the view takings is none of a journal's"),
        ("ALTER TABLE journal RENAME TO entries; CREATE VIEW journal AS SELECT * FROM entries", "the table journal is missing"),
        ("ALTER TABLE payments ADD COLUMN more TEXT", "the table payments is not the one that was made"),
        ("DROP INDEX payments_by_order", "the index payments_by_order is missing"),
        (f"{WRITE_SCHEMA}('trigger', 'sqlite_t', 'locks', 0, '{HIDDEN_TRIGGER}')", "the trigger sqlite_t is none of a journal's"),
        (
            f"{WRITE_SCHEMA}('view', 'sqlite_v', 'sqlite_v', 0, 'CREATE VIEW sqlite_v AS SELECT 0')",
            "the view sqlite_v is none of a journal's",
        ),
        ("CREATE INDEX audit_attention ON attention(code)", "the index audit_attention is none of a journal's"),
        (
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'NEW.seq', '\"NEW.seq\"')"
            " WHERE name = 'journal_is_append_only_replace'",  # A text, which no entry has for a position: it never fires.
            "the trigger journal_is_append_only_replace is not the one that was made",
        ),
        (
            "DROP TABLE attempts; DROP TABLE repeats; PRAGMA user_version = 2; CREATE TABLE takings(total)",
            "the table takings is none of a journal's",
        ),
        ("PRAGMA user_version = 0", "the file's header says schema 0"),
        ("PRAGMA user_version = 1", f"the file's header says schema 1, and its tables are those of schema {SCHEMA_VERSION}"),
        ("UPDATE machines SET declaration = replace(declaration, 'capture', 'Capture') WHERE name = 'order'", "has another hash"),
    ],
    ids=lambda value: "-".join(re.findall(r"\w+", value)[:5]),
)
def test_a_file_that_is_not_made_as_a_journal_is_called_so(copy, change, said):  # S7
    with closing(sqlite3.connect(copy.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.executescript(change)
    found = copy.verified().first_bad
    assert found.seq == 0
    assert said in found.reason


def test_what_sqlite_notes_of_how_often_values_occur_is_no_fault(copy):
    with closing(sqlite3.connect(copy.path, isolation_level=None)) as connection:
        connection.execute("ANALYZE")
    assert copy.verified().ok


def test_an_entry_that_cannot_be_read_is_named(copy):  # S6
    tamper(copy, "UPDATE journal SET actor = CAST(x'ff' AS TEXT) WHERE seq = 5")
    found = copy.verified().first_bad
    assert found.seq == 5
    assert "cannot be read" in found.reason


def test_a_schema_with_a_word_that_is_no_text_is_damage_to_every_reader_and_at_the_start(copy):  # S14
    made = b"CREATE TABLE locks(order_id TEXT PRIMARY KEY"
    file = copy.path.read_bytes()
    assert file.count(made) == 1
    copy.path.write_bytes(file.replace(made, made[:-2] + b"\xd4Y"))  # SQLite's message repeats it, and the driver cannot.
    with pytest.raises(JournalDamaged):
        copy.reads().size()
    with pytest.raises(JournalDamaged):
        copy.open()


def test_a_journal_without_its_id_is_not_whole(copy):
    tamper(copy, "DELETE FROM meta WHERE name = 'journal_id'")
    assert "the journal's id is not there" in copy.verified().first_bad.reason


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE personal SET data = replace(data, 'Ada', 'Eve')", "personal o5"),
        ("UPDATE personal SET salt = 'other'", "personal o5"),
        ("UPDATE personal SET data = '{'", "personal o5"),
        ("UPDATE personal SET order_id = 'o1'", "personal o1"),
        ("INSERT INTO guests VALUES ('pty_1', 'salt', '{\"name\":\"Eve\"}')", "guests pty_1"),
        ("UPDATE outbox SET lane = 'o9' WHERE order_id = 'o1'", "outbox o1"),
        ("UPDATE orders SET total = total + 1 WHERE id = 'o1'", "orders o1"),
        ("UPDATE orders SET paid = paid + 1 WHERE id = 'o2'", "orders o2"),
        ("UPDATE orders SET state = 'failed' WHERE id = 'o1'", "orders o1"),
        ("UPDATE orders SET payable = 1 - payable WHERE id = 'o1'", "orders o1"),
        ("UPDATE orders SET dojo_order_id = NULL WHERE id = 'o1'", "orders o1"),
        ("UPDATE orders SET body = replace(body, 'tbl_12', 'tbl_13') WHERE id = 'o1'", "orders o1"),
        ("UPDATE orders SET body = replace(body, '\"echo\"', '\"ecko\"') WHERE id = 'o1'", "orders o1"),
        ("UPDATE orders SET body = replace(body, 'money_seq', 'honey_seq') WHERE id = 'o5'", "orders o5"),
        ("UPDATE orders SET body = '{\"lock\":null,' || substr(body, 2) WHERE id = 'o5'", "orders o5"),
        ("UPDATE orders SET body = ' ' || body WHERE id = 'o5'", "orders o5"),
        ("UPDATE orders SET last_hash = upper(last_hash) WHERE id = 'o1'", "orders o1"),
        ("DELETE FROM orders WHERE id = 'o3'", "orders o3"),
        ("UPDATE payments SET paid = paid + 1 WHERE intent_id = 'pi_1'", "payments pi_1"),
        ("UPDATE payments SET state = 'refunded' WHERE intent_id = 'pi_1'", "payments pi_1"),
        ("UPDATE payments SET order_id = 'o2' WHERE intent_id = 'pi_1'", "payments pi_1"),
        ("UPDATE payments SET mismatch = '' WHERE intent_id = 'pi_4'", "payments pi_4"),
        ("DELETE FROM payments WHERE intent_id = 'pi_2'", "payments pi_2"),
        ("INSERT INTO payments VALUES ('pi_9', 'o1', 'reconciled', 5, 0, 0, '')", "payments pi_9"),
        ("UPDATE attention SET detail = 'nothing' WHERE order_id = 'o4'", "attention o4"),
        ("DELETE FROM attention WHERE order_id = 'o4'", "attention o4"),
        ("DELETE FROM attention WHERE order_id = ''", "attention /"),
        ("INSERT INTO attention VALUES ('o1', 'OVERPAID', '', '2026-03-14T12:00:00.000Z', 'x')", "attention o1"),
        ("UPDATE locks SET lock_id = 'other'", "locks o3"),
        ("UPDATE venue SET value = '[]'", "venue areas"),
        ("UPDATE outbox SET status = 'dead' WHERE status = 'done'", "outbox"),
        ("UPDATE outbox SET status = 'pending' WHERE status = 'dead'", "outbox"),
        ("UPDATE outbox SET effect = 'order_updated' WHERE effect = 'read_intent'", "outbox"),
        ("UPDATE outbox SET intent_id = 'pi_9' WHERE intent_id = 'pi_1'", "outbox"),
        ("UPDATE outbox SET order_id = 'o9' WHERE order_id = 'o1'", "outbox"),
        ("UPDATE outbox SET order_seq = order_seq + 100 WHERE order_id = 'o1'", "outbox o1"),
        ("DELETE FROM outbox WHERE order_id = 'o1'", "outbox o1"),
        (
            "INSERT INTO outbox SELECT 'x', lane, effect, order_id, intent_id, 1, 'pending', 0, 0, 0, 0, 0, '', 0, '' FROM outbox LIMIT 1",
            "outbox x",
        ),
    ],
    ids=lambda value: "-".join(re.findall(r"\w+", value)[:6]),
)
def test_a_stored_row_that_the_entries_do_not_tell_of_is_named(copy, change, table):  # S10
    assert replay(copy.reads()).ok
    tamper(copy, change)
    mismatches = replay(copy.reads()).mismatches
    assert any(line.startswith(table) for line in mismatches), mismatches


def test_two_readers_may_verify_while_the_venue_serves(tmp_path):  # P2
    venue = Venue(tmp_path)
    calls = [Call(lambda: [verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock) for _ in range(5)]) for _ in range(2)]
    BusyDay(venue, 7).run(100)
    for call in calls:
        found = call.wait()
        assert [item.first_bad for item in found] == [None] * 5
    venue.close()
