"""Makes a copy of a journal fit to be read by strangers: signed to its end, with views, and without personal data where that is wished.

Works on copies that nobody else has open. What it adds is told by the beginning of its name and never belongs to a journal that is
served: there it would grow stale, and stand in the way of the next schema.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlite_utils import Database

from workflow import audit
from workflow.books import Day, Taking, all_takings, day_of
from workflow.clock import from_text, to_text
from workflow.errors import JournalDamaged
from workflow.journal.connection import connect
from workflow.journal.reads import SqliteReads
from workflow.ledger import Frontier, key_id, sign_checkpoint
from workflow.lifecycle import ATTENTION
from workflow.money import DECIMALS, sign_of
from workflow.order import Order
from workflow.takings import on_till

PERSONAL = {"personal": "of customers", "guests": "of guests"}
"""The tables of personal data, and whose they are. Entries hold only salted hashes of them."""

USUAL_DECIMALS = 2


def sign(copy: Path, key: Ed25519PrivateKey, now: datetime) -> bool:
    """Sign a checkpoint of all entries of the copy, where none is there; False where the key is not the one that is in force."""
    reads = SqliteReads(copy)
    size, newest = reads.size(), reads.newest_checkpoint()
    if newest and newest[0] == size:
        return True
    origin = reads.origin()
    try:
        if (in_force := reads.key_in_force()) and key_id(origin, key.public_key()).hex() not in in_force:
            return False
    except JournalDamaged:  # Verification, which follows, says what is wrong.
        return False
    if size:
        root = Frontier.restore(size, reads.tree_node).root()
        note = sign_checkpoint(origin, size, root, key)
        with closing(_for_writing(copy)) as database:
            database.execute("INSERT INTO checkpoint(size, root, at, note) VALUES (?, ?, ?, ?)", (size, root.hex(), to_text(now), note))
    return True


def remove_personal(copy: Path) -> None:
    """Empty the tables of personal data and leave no byte of them, and put another secret in place of the journal's own.

    With the secret, what people said could be guessed and the guess confirmed by the fingerprints of their requests.
    """
    with closing(_for_writing(copy)) as database:
        for table in PERSONAL:
            database.execute(f"DELETE FROM {table}")
        database.execute("UPDATE meta SET value = ? WHERE name = 'secret'", (secrets.token_hex(32),))
        database.execute("VACUUM")  # Pages that were given up, here or in the journal's past, are not copied.


def has_personal(reads: SqliteReads) -> bool:
    """There is data of customers or guests, be it what an erasing left of it."""
    return any(reads.rows(f"SELECT 1 FROM {table} LIMIT 1") for table in PERSONAL)


def add_views(copy: Path, zone: ZoneInfo, said: dict[str, str]) -> None:
    """Put the views for auditors, their descriptions and the venue's calendar into the copy; those of an earlier sealing are replaced.

    `said` says what the copy is. Raises JournalDamaged on an entry that cannot be explained.
    """
    reads = SqliteReads(copy)
    with closing(_for_writing(copy)) as database:
        remove_views(database)
        database.execute("PRAGMA cache_spill = OFF")  # Entries are read meanwhile: until the end nothing may be written into the file.
        database.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, audit.TABLES.split(";")):
            database.execute(statement)
        described = ((position, *row) for position, row in enumerate(audit.descriptions(), start=1))
        _fill(database, "audit_about", (tuple(pair) for pair in said.items()))
        _fill(database, "audit_descriptions", described)
        _fill(database, "audit_base_days", _days(reads, zone))
        _fill(database, "audit_base_codes", ((code, found.why, found.next) for code, found in sorted(ATTENTION.items())))
        _fill(database, "audit_base_currencies", map(_currency, _names(reads, "SELECT DISTINCT currency FROM orders ORDER BY currency")))
        for order, taking in all_takings(reads):
            _fill(database, "audit_base_payments", [_payment(order, taking)])
            _fill(database, "audit_base_takings", (_taking(order, taking, day) for day in taking.days(zone)))
        for view in audit.VIEWS:
            database.create_view(view.name, view.sql.strip())
        database.execute("COMMIT")


def about(reads: SqliteReads) -> dict[str, str]:
    """What a sealed copy says that it is; nothing where it is none."""
    if not reads.rows("SELECT 1 FROM sqlite_master WHERE name = 'audit_about'"):
        return {}
    return dict(reads.rows("SELECT name, value FROM audit_about"))


def remove_views(database: Database) -> None:
    """Take out everything that sealing once added, in one transaction; nothing is written where there is nothing."""
    sql = "SELECT type, name FROM sqlite_master WHERE name GLOB ? AND type IN ('view', 'table') ORDER BY type DESC, name"
    found = database.execute(sql, (f"{audit.PREFIX}*",)).fetchall()
    if found:
        database.execute("BEGIN IMMEDIATE")
        for kind, name in found:
            database.execute(f"DROP {kind} [{name}]")
        database.execute("COMMIT")


def differing(one: SqliteReads, other: SqliteReads) -> list[str]:
    """The names of views and tables for auditors that are not the same in both copies."""
    sql = "SELECT name, type, sql FROM sqlite_master WHERE name GLOB ?"
    mine, theirs = ({name: rest for name, *rest in reads.rows(sql, (f"{audit.PREFIX}*",))} for reads in (one, other))
    names = sorted(mine.keys() | theirs.keys())
    return [name for name in names if mine.get(name) != theirs.get(name) or (mine[name][0] == "table" and not _alike(name, one, other))]


def _alike(table: str, one: SqliteReads, other: SqliteReads) -> bool:
    columns = ", ".join(f'"{name}"' for (name,) in other.rows("SELECT name FROM pragma_table_info(?)", (table,)))
    sql = f"SELECT {columns} FROM {table} ORDER BY {columns}"
    return all(a == b for a, b in zip_longest(one.stream(sql), other.stream(sql)))


def metadata(copy: Path) -> str:
    """Datasette's metadata for the copy, which Datasette knows by its file's name without the ending, as JSON."""
    zone = about(SqliteReads(copy))["time_zone"]
    return msgspec.json.format(msgspec.json.encode(audit.datasette_metadata(copy.stem, zone)), indent=2).decode() + "\n"


def _for_writing(copy: Path) -> Database:
    database = connect(copy, read_only=False)
    database.execute("PRAGMA journal_mode = OFF")  # A file that is not finished is thrown away where something fails;
    database.execute("PRAGMA synchronous = OFF")  # and it is synced as a whole before it gets its name.
    return database


def _fill(database: Database, table: str, rows: Iterator[tuple[object, ...]] | list[tuple[object, ...]]) -> None:
    for row in rows:
        database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _names(reads: SqliteReads, sql: str) -> list[str]:
    return [name for (name,) in reads.rows(sql)]


_HOURS = """
SELECT substr(at, 1, 13) AS hour FROM journal
UNION SELECT strftime('%Y-%m-%dT%H', created_at_ms / 1000, 'unixepoch') FROM outbox
UNION SELECT substr(since, 1, 13) FROM parked
ORDER BY hour
"""
"""Every hour of UTC in which something happened: a day at the venue may begin at a quarter to."""


def _days(reads: SqliteReads, zone: ZoneInfo) -> Iterator[tuple[object, ...]]:
    found: dict[str, Day] = {}
    for hour in _names(reads, _HOURS):
        first = from_text(f"{hour}:00:00.000Z")
        for moment in (first, first + timedelta(hours=1, milliseconds=-1)):
            day = day_of(moment, zone)
            found[day.date.isoformat()] = day
    yield from ((name, to_text(day.start), to_text(day.end)) for name, day in sorted(found.items()))


def _currency(code: str) -> tuple[object, ...]:
    decimals = DECIMALS.get(code, USUAL_DECIMALS)
    return (code, sign_of(code), decimals, 10**decimals)


def _payment(order: Order, taking: Taking) -> tuple[object, ...]:
    captured_at = to_text(taking.recorded_at) if taking.recorded_at else None
    figures = (taking.paid, taking.tips, taking.refunded)
    flags = (int(taking.counts), int(taking.is_in_words), taking.held_back_as, int(taking.was_detached))
    declared = (taking.payment.told_paid, taking.payment.reserves)
    return (order.id, taking.intent_id, taking.payment.state, taking.currency, *declared, captured_at, *figures, *flags)


def _taking(order: Order, taking: Taking, day: Day) -> tuple[object, ...]:
    figures = on_till(taking, day)
    in_words = figures.captured + figures.tips if taking.is_in_words else 0
    held_back = sum(taking.payment.gross) if taking.held_back_as else 0
    money = (figures.captured, figures.tips, figures.refunded, in_words, held_back)
    return (day.date.isoformat(), order.id, taking.intent_id, taking.currency, *money)
