"""A journal of as many entries as asked for, whole in every respect: what verification and replay meet after years.

One evening of orders that cross each other is played through the real engine. Then it is copied again and again under other ids: the
entries are chained, hashed and put into the tree as the journal does it, checkpoints are signed and witnessed, and what is stored of
orders, payments, locks, attention and tasks is copied along. To play all of it would take an hour.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

from tests.builders import Venue, a_bill, an_intent
from workflow.bill import Personal
from workflow.clock import SystemClock, to_text
from workflow.commands import AmendOrder, LockOrder, RecordPayment, ReleaseLock, ToldPayment
from workflow.journal.driver import sqlite3
from workflow.journal.keys import load_or_make_key
from workflow.journal.reads import ENTRY_COLUMNS, SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.journal.transaction import INSERT_ENTRY
from workflow.ledger import HASHED_COLUMNS, ZERO_HASH, Frontier, HashedEntry, entry_hash, sign_checkpoint
from workflow.money import Money
from workflow.ports import IntentId, OrderId

EVENING = "EVENING0"
"""Stands in every id of the evening that is played; its copies have a number of as many digits there."""
ORDERS = 24
SIGNED_EVERY = 400
"""Entries for a checkpoint: a busy second's."""
STORED = ("orders", "payments", "locks", "attention", "outbox", "inbox", "watch")
CACHE_KIB = 100_000


def fill(folder: Path, count: int) -> SqliteReads:
    """A journal `tillproof.db` in `folder` with its witness and key, of at least `count` entries."""
    with tempfile.TemporaryDirectory() as played:
        evening = Evening(Path(played))
        path, witness = folder / "tillproof.db", folder / "tillproof.db.witness"
        key = load_or_make_key(folder / "tillproof.db.key")
        SqliteJournal(path, witness, key, SystemClock()).close()
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            with witness.open("wb") as lines:
                _fill(connection, evening, count, key, lines)
        finally:
            connection.close()
    return SqliteReads(path)


class Evening:
    """What was stored of one evening, in ids that are all named after it."""

    def __init__(self, folder: Path) -> None:
        venue = Venue(folder)
        play(venue)
        venue.close()
        columns = ENTRY_COLUMNS.split(", ")
        self.entries = [
            dict(zip(columns, row, strict=True)) for row in venue.reads.rows(f"SELECT {ENTRY_COLUMNS} FROM journal ORDER BY seq")
        ]
        self.rows = {table: venue.reads.rows(f"SELECT * FROM {table} WHERE {self._whose(table)} <> ''") for table in STORED}
        self.witnessed = {int(line.split()[0]) for line in venue.witness.read_bytes().splitlines()}

    @staticmethod
    def _whose(table: str) -> str:
        return "id" if table == "orders" else "order_id"


def play(venue: Venue) -> None:
    """Orders of every flow that cross each other: most are paid, some are not, some need a person."""
    names = [f"{EVENING}-{number:02d}" for number in range(ORDERS)]
    world = {f"pi_{name}": an_intent(f"pi_{name}", tips=100 if number % 3 else 0) for number, name in enumerate(names)}
    for number, name in enumerate(names):
        if number % 4 == 3:
            venue.open(name)
        else:
            told = ToldPayment(intent_id=IntentId(f"pi_{name}"), paid=1_000, tips=100 if number % 3 else None)
            venue.create(name, payments=(told,))
        venue.clock.move(1.0)
    for number, name in enumerate(names):
        if number % 4 == 3:
            _pay_at_the_table(venue, OrderId(name), record=number % 8 == 3)
        elif number != 0:  # One stays as it was announced.
            venue.event(f"pi_{name}", "Captured", event_id=f"evt_{name}")
        if number % 6 == 5:
            world[f"pi_{name}"] = an_intent(f"pi_{name}", paid=900)
        venue.clock.move(0.5)
    venue.settle(world)
    for name in names[1::8]:
        world[f"pi_{name}"] = an_intent(f"pi_{name}", tips=100, status="Refunded", refunded=1_100)
        venue.event(f"pi_{name}", "Refunded", event_id=f"evt_r_{name}")
    venue.settle(world)


def _pay_at_the_table(venue: Venue, order_id: OrderId, *, record: bool) -> None:
    lock_id = f"lock_{order_id}"
    venue.engine.handle(AmendOrder(order_id=order_id, bill=a_bill(1_000, "tbl_9"), personal=Personal(), actor="till:till-1"))
    venue.engine.handle(LockOrder(order_id=order_id, lock_id=lock_id, expires_at="2026-03-14T13:00:00.000Z", holder="Lea"))
    if record:
        paid = RecordPayment(order_id=order_id, intent_id=IntentId(f"pi_{order_id}"), paid=Money(1_000, "GBP"), lock_id=lock_id)
        venue.engine.handle(paid)
        venue.engine.handle(ReleaseLock(order_id=order_id, lock_id=lock_id))


def _fill(connection, evening: Evening, count: int, key, lines) -> None:
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN IMMEDIATE")
    put_aside = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql <> ''").fetchall()
    for kind, name, _ in put_aside:  # Made again in one go at the end, which is much faster than row by row.
        connection.execute(f"DROP {kind} {name}")
    [(journal_id,)] = connection.execute("SELECT value FROM meta WHERE name = 'journal_id'").fetchall()
    frontier, number = Frontier(), 0
    while frontier.size < count:
        _copy(connection, evening, f"{number:08d}", frontier, lines)
        signed = frontier.size // SIGNED_EVERY > (frontier.size - len(evening.entries)) // SIGNED_EVERY
        if signed or frontier.size >= count:
            note = sign_checkpoint(f"tillproof/{journal_id}", frontier.size, frontier.root(), key)
            row = (frontier.size, frontier.root().hex(), to_text(SystemClock().now()), note)
            connection.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", row)
        number += 1
    for _, _, sql in put_aside:
        connection.execute(sql)
    connection.execute("COMMIT")


def _copy(connection, evening: Evening, name: str, frontier: Frontier, lines) -> None:
    last: dict[str, str] = defaultdict(lambda: ZERO_HASH)
    rows, nodes, begin = [], [], frontier.size
    for entry in evening.entries:
        hashed = {
            column: entry[column].replace(EVENING, name) if isinstance(entry[column], str) else entry[column] for column in HASHED_COLUMNS
        }
        order_id = hashed["order_id"]
        hashed["prev_hash"] = last[order_id]
        last[order_id] = entry_hash(HashedEntry(**hashed))
        rows.append((frontier.size + 1, *hashed.values(), last[order_id]))
        nodes += frontier.append(last[order_id])
        if frontier.size - begin in evening.witnessed:
            lines.write(f"{frontier.size} {frontier.root().hex()}\n".encode())
    connection.executemany(INSERT_ENTRY, rows)
    connection.executemany("INSERT INTO tree_node(level, position, hash) VALUES (?, ?, ?)", nodes)
    hashes = {entry["hash"]: last[entry["order_id"].replace(EVENING, name)] for entry in evening.entries}
    for table, stored in evening.rows.items():
        copied = [tuple(hashes.get(cell, cell.replace(EVENING, name)) if isinstance(cell, str) else cell for cell in row) for row in stored]
        if copied:
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(copied[0]))})", copied)
