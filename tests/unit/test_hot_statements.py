"""What the writer asks for each command is answered by an index: its time must not grow with the journal."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.builders import Venue, a_reservation, an_intent
from tests.story import a_task
from workflow.booking import Guest
from workflow.conduct import Conduct
from workflow.journal import tasks, transaction
from workflow.journal.driver import sqlite3
from workflow.journal.port import ParkedLinks, Seen
from workflow.journal.reads import OrderFilter, Position, SqliteReads, orders_query
from workflow.journal.schema import TABLES as TABLES_SQL
from workflow.journal.transaction import SqliteTransaction

SCAN = re.compile(r"SCAN (?:TABLE )?(\S+)(?: USING (?:COVERING )?INDEX (\S+))?")
PARTIAL = set(re.findall(r"CREATE INDEX (\w+) ON [^;]* WHERE ", TABLES_SQL))
"""Indexes of few rows. A scan of any other one, or of a table itself, is a scan of everything; a scanned query has no name of a table."""
TABLES = (
    "outbox",
    "journal",
    "orders",
    "payments",
    "inbox",
    "parked",
    "watch",
    "personal",
    "task",
    "busy",
    "bookings",
    "booking_tables",
    "guests",
    "attempts",
    "repeats",
)


class Recorder:
    """A connection that keeps what it was asked."""

    def __init__(self, connection):
        self._connection, self.asked = connection, []

    def execute(self, sql, values=()):
        self.asked.append((sql, values))
        return self._connection.execute(sql, values)

    def executemany(self, sql, rows):
        rows = list(rows)
        self.asked += [(sql, row) for row in rows]
        return self._connection.executemany(sql, rows)


@pytest.fixture
def connection(tmp_path):
    """A fresh journal, as the writer's connection meets it; whatever is changed is rolled back."""
    Venue(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "tillproof.db", isolation_level=None)
    connection.execute("BEGIN")
    yield connection
    connection.close()


def scanned(connection, sql, values=()):
    """The tables that the statement would read from one end to the other."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    names = [found[1] for line in plan if (found := SCAN.search(line)) and found[2] not in PARTIAL]
    return [name for name in names if name in TABLES]


ASK = {
    "order": lambda asked: asked.order("o1"),
    "order_of_intent": lambda asked: asked.order_of_intent("pi_1"),
    "seen": lambda asked: asked.seen("create_order", "k"),
    "remember": lambda asked: asked.remember("create_order", "k", Seen("f", "o1"), "t"),
    "last_venue_seq": lambda asked: asked.last_venue_seq(),
    "newest_at": lambda asked: asked.newest_at(),
    "personal": lambda asked: asked.personal("o1"),
    "task": lambda asked: asked.task("o1.1.0"),
    "waiting_task": lambda asked: asked.waiting_task("o1", "read_intent", "pi_1"),
    "read_is_to_come": lambda asked: asked.read_is_to_come("o1", "pi_1"),
    "lane_is_busy": lambda asked: asked.lane_is_busy("o1"),
    "next_in_lane": lambda asked: asked.next_in_lane("o1", 10**13),
    "due_tasks": lambda asked: asked.due_tasks("till", 10**13, 10),
    "due_probes": lambda asked: asked.due_probes("dojo", 10**13),
    "next_due_ms": lambda asked: asked.next_due_ms("dojo"),
    "wake_waiting": lambda asked: asked.wake_waiting("dojo", 10**13),
    "resume_paused": lambda asked: asked.resume_paused("dojo", 10**13),
    "pause_pending": lambda asked: asked.pause_pending("dojo", 10**13),
    "make_young": lambda asked: asked.make_young("dojo", 10**13, 1),
    "release_leases": lambda asked: asked.release_leases("dojo", 10**13, "pending"),
    "conduct": lambda asked: asked.conduct("dojo"),
    "keep_conduct": lambda asked: asked.keep_conduct("dojo", Conduct()),
    "last_move": lambda asked: asked.last_move("o1", "payment", "pi_1"),
    "older_read": lambda asked: asked.older_read("o1", "pi_1"),
    "note_jump": lambda asked: asked.note_jump(7_200_000),
    "jumped_ms": lambda asked: asked.jumped_ms(1),
    "watch": lambda asked: asked.watch("pi_1", "o1", 1, 1),
    "unwatch": lambda asked: asked.unwatch("pi_1"),
    "due_watches": lambda asked: asked.due_watches(10**13, 10),
    "park": lambda asked: asked.park("pi_1", "t", 2, 1),
    "park_again": lambda asked: asked.park_again("pi_1", 2, 1),
    "note_links": lambda asked: asked.note_links("pi_1", ParkedLinks(external_id="o1", dojo_order_id=None)),
    "parked_for": lambda asked: asked.parked_for("o1", "dojo-o1", ["pi_1"]),
    "has_dead_task": lambda asked: asked.has_dead_task("o1", "pi_1"),
    "due_parked": lambda asked: asked.due_parked(10**13, 10),
    "has_venue_attention": lambda asked: asked.has_venue_attention("DOJO_AUTH"),
    "booking": lambda asked: asked.booking("party", "pty_1"),
    "booking_of_dojo_id": lambda asked: asked.booking_of_dojo_id("party", "dojo-1"),
    "party_at": lambda asked: asked.party_at("tbl_1"),
    "save_booking": lambda asked: asked.save_booking(a_reservation(), a_reservation()),
    "keep_guest": lambda asked: asked.keep_guest("pty_1", "salt", Guest()),
    "note_repeat": lambda asked: asked.note_repeat("event/webhook", "e:pi_1", "o1", 1, "t"),
    "note_attempt": lambda asked: asked.note_attempt(a_task(), "t", "500"),
    "guest": lambda asked: asked.guest("pty_1"),
    "forget_guest": lambda asked: asked.forget_guest("pty_1"),
    "venue": lambda asked: asked.venue("taking_orders"),
    "venue_edition": lambda asked: asked.venue_edition("catalogue"),
}


@pytest.mark.parametrize("name", ASK)
def test_no_question_of_the_writer_reads_a_whole_table(connection, name):
    recorder = Recorder(connection)
    ASK[name](SqliteTransaction(recorder, b"secret", 0))

    assert recorder.asked
    assert {sql: found for sql, values in recorder.asked if (found := scanned(connection, sql, values))} == {}


@pytest.mark.parametrize(
    "name",
    [
        "WAITING_TASK",
        "READ_TO_COME",
        "NEXT_IN_LANE",
        "DUE_TASKS",
        "DUE_PROBES",
        "NEXT_DUE",
        "UPSERT_PAYMENT",
        "PUT_TASK",
        "FIRST_OLDER_READ",
        "TOLD_SINCE",
    ],
)
def test_no_statement_that_is_prepared_once_reads_a_whole_table(connection, name):
    sql = getattr(transaction if hasattr(transaction, name) else tasks, name)

    assert scanned(connection, sql, (None,) * sql.count("?")) == []


def test_a_whole_flow_reads_no_whole_table(tmp_path):
    """Every statement that a payment needs from CreateOrder to the end."""
    venue, asked = Venue(tmp_path), []
    enter = SqliteTransaction.__init__

    def listening(self, connection, *others):
        recorder = Recorder(connection)
        asked.append(recorder)
        enter(self, recorder, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteTransaction, "__init__", listening)
        venue.create()
        venue.event("pi_1", "Captured")
        venue.settle({"pi_1": an_intent()})
    venue.close()

    connection = sqlite3.connect(tmp_path / "tillproof.db")
    verbs = {"SELECT", "UPDATE", "DELETE", "INSERT"}
    statements = {sql: values for recorder in asked for sql, values in recorder.asked if sql.split()[0] in verbs}
    found = {sql: scanned(connection, sql, values) for sql, values in statements.items()}
    slow = {sql: tables for sql, tables in found.items() if tables}
    connection.close()
    assert len(statements) > 10
    assert slow == {}


WHERE = ("table_id", "waiter_id", "party_id", "reservation_id", "state", "text")
PLACE = Position("2026-03-14T12:00:00.000Z", "o1")
PAGES = {
    "first": ({}, ""),
    "after": ({"after": PLACE}, "(created_at,id)<(?,?)"),
    "before": ({"before": PLACE}, "(created_at,id)>(?,?)"),
    "first in a window": ({"since": PLACE.created_at}, "created_at>?"),
    "before what the window shows": ({"before": PLACE, "since": "2026-03-14T12:00:00.001Z"}, "created_at>?"),
    "after in a window": ({"after": PLACE, "since": PLACE.created_at}, "created_at>? AND (created_at,id)<(?,?)"),
    "before in a window": ({"before": PLACE, "since": PLACE.created_at}, "(created_at,id)>(?,?)"),
}
UNIQUE = ("(id=?)", "(dojo_order_id=?)", "(intent_id=?)", "(rowid=?)", "(order_id=?)")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("given", [names for size in range(len(WHERE) + 1) for names in itertools.combinations(WHERE, size)], ids="+".join)
def test_every_page_of_orders_is_a_range_of_an_index_in_its_order(connection, given, page):
    """Whatever the filters: their index is entered at the page's own place, and nothing but the page is sorted."""
    options, entered_at = PAGES[page]
    for payable_only, attention in itertools.product((False, True), repeat=2):
        wanted = OrderFilter(**dict.fromkeys(given, "x"), payable_only=payable_only, attention=attention)
        sql, values = orders_query(wanted, 50, **options)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

        read = [
            line for line in plan if re.match(r"(SCAN|SEARCH) (orders|payments|personal)\b", line) and not any(u in line for u in UNIQUE)
        ]
        assert len(read) == (2 if "text" in given else 1), plan
        assert all("INDEX orders_" in line and entered_at in line for line in read), plan
        if given or options:
            assert not [line for line in read if line.startswith("SCAN")], plan
        if "text" not in given:
            assert "USE TEMP B-TREE FOR ORDER BY" not in plan, plan


def test_a_scan_would_be_noticed(connection):
    assert scanned(connection, "SELECT id FROM outbox WHERE order_id = ?", ("o1",)) == ["outbox"]
    assert scanned(connection, "SELECT * FROM journal WHERE cause = ?", ("x",)) == ["journal"]
    assert scanned(connection, "SELECT * FROM outbox ORDER BY created_at_ms, id LIMIT 1") == ["outbox"]
    assert scanned(connection, "SELECT * FROM outbox WHERE status = 'leased'") == []


@pytest.mark.parametrize(
    "ask",
    [
        *(lambda reads, status=status: reads.tasks(status, 50) for status in ("pending", "leased", "paused", "dead")),
        lambda reads: reads.tasks("dead", 50, after=Position("2026-03-14T12:00:00.000Z", "t")),
        lambda reads: reads.task("t"),
        lambda reads: reads.dead_tasks("o1", "pi_1"),
        lambda reads: reads.unfinished_tasks(),
        lambda reads: reads.next_probe("till"),
        lambda reads: reads.parked(20),
        lambda reads: reads.gravest_attention(["OUTBOX_DEAD", "LOCK_STALE"], 500),
        lambda reads: reads.service_attention(),
    ],
)
def test_what_a_person_asks_of_calls_and_attention_costs_what_is_unfinished(connection, tmp_path, monkeypatch, ask):
    asked, rows = [], SqliteReads.rows
    monkeypatch.setattr(SqliteReads, "rows", lambda self, sql, values=(): asked.append((sql, values)) or rows(self, sql, values))
    ask(SqliteReads(tmp_path / "tillproof.db"))
    assert [scanned(connection, sql, values) for sql, values in asked] == [[]]


PAGE = {
    "tasks_of": lambda reads: reads.tasks_of("o1"),
    "failures_of": lambda reads: reads.failures_of(["o1.1.0"]),
    "repeats_of": lambda reads: reads.repeats_of("o1"),
    "last_word": lambda reads: reads.last_word("o1"),
    "next_look": lambda reads: reads.next_look("o1"),
    "no_from_till": lambda reads: reads.no_from_till("o1"),
    "newest_entries": lambda reads: reads.newest_entries("o1", 10, before=100),
    "moves": lambda reads: reads.moves("o1"),
}


@pytest.mark.parametrize("name", PAGE)
def test_no_question_about_one_order_reads_a_whole_table(connection, tmp_path, monkeypatch, name):
    asked, ask = [], SqliteReads.rows
    monkeypatch.setattr(SqliteReads, "rows", lambda self, sql, values=(): asked.append((sql, values)) or ask(self, sql, values))
    PAGE[name](SqliteReads(tmp_path / "tillproof.db"))
    assert asked
    assert {sql: found for sql, values in asked if (found := scanned(connection, sql, values))} == {}
