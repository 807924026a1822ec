"""Questions to a SQLite journal: read-only connections of their own, short transactions, never the writer's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlite_utils import Database

from workflow.bill import Personal
from workflow.booking import TYPES, Booking, Guest, Kind, Standing
from workflow.clock import from_text, to_text
from workflow.conduct import Conduct
from workflow.effects import TILL, TellTill
from workflow.entry import Entry, Json
from workflow.errors import JournalDamaged, JournalUnavailable, JournalUnreadable, WorkflowError
from workflow.journal.connection import NOT_TEXT, cannot_change, connect, translated
from workflow.journal.driver import sqlite3
from workflow.journal.port import RESOLUTIONS, Receipt, Resolution, Seen
from workflow.journal.schema import ORDER_INDEXES
from workflow.ledger import leaf_hash
from workflow.lifecycle import ORDER
from workflow.order import Order
from workflow.succession import KEY_ENTRIES, Succession, ids_in_force, read_succession

T = TypeVar("T")

_order_decoder = msgspec.json.Decoder(Order)
_personal_decoder = msgspec.json.Decoder(Personal)
_guest_decoder = msgspec.json.Decoder(Guest)
_conduct_decoder = msgspec.json.Decoder(Conduct)

ENTRY_COLUMNS = (
    "seq, order_id, order_seq, at, kind, machine, trigger, from_state, to_state, payment_intent_id, actor, cause, body, prev_hash, hash"
)


SLICE = 500
"""So many entries are read at once, and no longer is a state of the journal held for a reader of all of them."""
LOOKED_BACK = 20_000
"""So many entries are looked through for the page of a list."""
STEPS = 50_000
"""So often, in steps of SQLite's machine, a reader looks at the time: about a millisecond."""
RECENT_TASKS = 500
RECENT_FAILURES = 500
MOVES = 2_000
"""Of one order at most so much is told at once."""
SORTED_BOOKINGS = 2_000
"""At most so many parties or reservations are sorted for one page."""


class Position(NamedTuple):
    """Where something stands in its list: orders, bookings and tasks by time of creation, then by id; tables by name, then by id."""

    created_at: str
    id: str


class StoredEntry(NamedTuple):
    """A row of the journal, as stored; `body` is the canonical JSON text."""

    seq: int
    order_id: str
    order_seq: int
    at: str
    kind: str
    machine: str
    trigger: str
    from_state: str
    to_state: str
    payment_intent_id: str
    actor: str
    cause: str
    body: str
    prev_hash: str
    hash: str

    def entry(self) -> Entry:
        """The entry as it was decided. Raises JournalDamaged when the body is not JSON."""
        try:
            body = msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise JournalDamaged(f"entry {self.seq}: the body is not JSON: {error}") from error
        return Entry(
            order_id=self.order_id,
            order_seq=self.order_seq,
            at=self.at,
            kind=self.kind,
            machine=self.machine,
            trigger=self.trigger,
            from_state=self.from_state,
            to_state=self.to_state,
            payment_intent_id=self.payment_intent_id,
            actor=self.actor,
            cause=self.cause,
            body=body,
        )


class StoredAttention(NamedTuple):
    """Something that needs a person; `order_id` is "" for what concerns no order."""

    order_id: str
    code: str
    payment_intent_id: str
    since: str
    detail: str


class StoredParked(NamedTuple):
    """A payment intent whose order nobody knows yet; times are UTC text. `names` is what its read named, "" for nothing yet."""

    payment_intent_id: str
    since: str
    next_at: str
    names: str


class StoredTaskRow(NamedTuple):
    """A task of the outbox as people see it; times are UTC text."""

    id: str
    effect: str
    order_id: str
    payment_intent_id: str
    status: str
    attempts: int
    next_at: str | None
    last_error: str
    created_at: str
    done_at: str | None


class StoredFailure(NamedTuple):
    """An attempt that failed; `number` counts from 1, and anew once a person requeued the task."""

    task_id: str
    number: int
    at: str
    error: str


class StoredRepeat(NamedTuple):
    """A message that came again so many times after it had been answered, last at `last_at`."""

    source: str
    message_id: str
    times: int
    last_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders: every field that is set must match.

    Created in [`from_time`, `to_time`), UTC text. `text` is a reference, table, order id, Dojo's order id or intent, whole; `text_tables`
    are further tables that it stands for, as people call them by names.
    """

    table_id: str | None = None
    waiter_id: str | None = None
    party_id: str | None = None
    reservation_id: str | None = None
    payable_only: bool = False
    state: str | None = None
    flow: str | None = None
    from_time: str | None = None
    to_time: str | None = None
    attention: bool = False
    text: str | None = None
    text_tables: tuple[str, ...] = ()


class OrderWait(NamedTuple):
    """A call that an order waits for: its `effect`, and the number of attempts so far.

    `next_at` (UTC text) is when it is tried again, None where it is under way (`leased`) or was given up (`dead`). What is `paused` may
    wait longer: its destination takes nothing now.
    """

    effect: str
    status: str
    attempts: int
    next_at: str | None


class StoredOrder(NamedTuple):
    """An order and the personal data kept beside the journal."""

    order: Order
    personal: Personal


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingFilter:
    """Which parties or reservations: `table_id` is one of theirs, and their time overlaps [`from_time`, `to_time`), UTC text."""

    kind: Kind
    standing: Standing = "current"
    table_id: str | None = None
    from_time: str | None = None
    to_time: str | None = None


class StoredBooking(NamedTuple):
    """A party or reservation and the personal data kept beside the journal."""

    booking: Booking
    guest: Guest


class SqliteReads:
    """Answers from one journal file; one connection a thread. Raises JournalUnavailable when the file cannot be read, JournalDamaged.

    A question that takes longer than `seconds` is broken off with JournalUnavailable: as long as it reads, the WAL can only grow.
    `on_damage` hears of each answer that showed the file to be damaged. With `is_shared` there is one connection for all threads, which
    take turns, and `close` lets go of it.
    """

    def __init__(
        self,
        path: Path,
        *,
        seconds: float | None = None,
        on_damage: Callable[[str], None] = lambda detail: None,
        is_shared: bool = False,
    ) -> None:
        self._path, self._seconds, self._on_damage, self._is_shared = path, seconds, on_damage, is_shared
        self._local = threading.local()
        self._spare: Database | None = None
        self._spare_lock = threading.RLock()

    def keep_spare(self) -> None:
        """Open a connection for threads that can open none any more: a permission that is lost must not end all reading (S16)."""
        with self._spare_lock:
            self._spare = connect(self._path, read_only=True)
            try:
                self._spare.execute("SELECT 1 FROM meta").fetchone()  # Opened lazily, with the files beside it, by the first question.
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def close(self) -> None:
        """Let go of the connection that all threads share, once nobody asks; further questions raise JournalUnavailable."""
        with self._spare_lock:
            if self._spare:
                self._spare.close()
            self._spare = None

    def order(self, order_id: str) -> StoredOrder | None:
        """The order as it is now."""
        rows = self._rows(f"{_ORDER} WHERE orders.id = ?", (order_id,))
        return self._decoded(rows[0], _stored_order) if rows else None

    def orders(
        self,
        wanted: OrderFilter,
        limit: int,
        *,
        after: Position | None = None,
        before: Position | None = None,
        since: str | None = None,
    ) -> list[StoredOrder]:
        """Up to `limit` orders, newest first: those behind `after`, or the nearest ones in front of `before`; none created before `since`.

        The cost is that of the rows that are answered, however many orders there are: every page is read from an index in its order.
        """
        sql, values = orders_query(wanted, limit, after=after, before=before, since=since)
        found = [self._decoded(row, _stored_order) for row in self._rows(sql, values)]
        return found[::-1] if before else found

    def count_orders(self, wanted: OrderFilter, at_most: int) -> int:
        """How many orders there are of these; `at_most` where there are more, which costs no more than counting so many."""
        sql, values = count_query(wanted, at_most)
        return int(self._rows(sql, values)[0][0])

    def waits(self, order_ids: Sequence[str]) -> dict[str, OrderWait]:
        """What these orders wait for, of several calls what is tried soonest: an order that waits for nothing is not there."""
        rows = self._rows(_WAITS, (json.dumps(list(order_ids)),))
        found = dict[str, OrderWait]()
        for order_id, effect, status, attempts, next_at_ms in rows:
            waits = status in ("pending", "paused")
            found.setdefault(order_id, OrderWait(effect, status, attempts, from_ms(next_at_ms) if waits else None))
        return found

    def moved_at(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Since when each of these orders is in its state, UTC text."""
        return dict(self._rows(_MOVED_AT, (json.dumps(list(order_ids)),)))

    def orders_with_personal(self, before: str) -> list[str]:
        """The ids of orders created before that moment, UTC text, with personal data that are kept, or the salt of such; oldest first."""
        sql = """
            SELECT id FROM orders JOIN personal ON personal.order_id = orders.id
            WHERE created_at < ? AND trim(salt) <> '' ORDER BY created_at, id
        """
        return [row[0] for row in self._rows(sql, (before,))]

    def bookings_with_guest(self, before: str) -> list[str]:
        """The ids of parties and reservations that were made before that moment, UTC text, and whose guests are known; oldest first."""
        sql = """
            SELECT id FROM bookings JOIN guests ON booking_id = id WHERE created_at < ? AND data NOT LIKE '{}%' ORDER BY created_at, id
        """
        return [row[0] for row in self._rows(sql, (before,))]

    def erased_booking(self, booking_id: str) -> Booking | None:
        """A party or reservation as it is stored, be it deleted."""
        rows = self._rows("SELECT kind, body FROM bookings WHERE id = ?", (booking_id,))
        return msgspec.json.decode(rows[0][1], type=TYPES[rows[0][0]]) if rows else None

    def booking(self, kind: Kind, booking_id: str) -> StoredBooking | None:
        """The party or reservation as it is now; a deleted one is not there."""
        rows = self._rows(f"{_BOOKING} WHERE bookings.id = ? AND kind = ? AND standing <> 'deleted'", (booking_id, kind))
        return self._decoded(rows[0], partial(_stored_booking, kind)) if rows else None

    def bookings(
        self, wanted: BookingFilter, limit: int, *, after: Position | None = None, before: Position | None = None
    ) -> list[StoredBooking]:
        """Up to `limit` bookings, newest first: those behind `after`, or the nearest ones in front of `before`."""
        conditions, values, direction = ["kind = ?", "standing = ?"], list[object](), "ASC" if before else "DESC"
        values += (wanted.kind, wanted.standing)
        for condition, value in (("table_id = ?", wanted.table_id), ("end_time > ?", wanted.from_time), ("start_time < ?", wanted.to_time)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if position := after or before:
            conditions.append(f"(created_at, id) {'<' if after else '>'} (?, ?)")
            values += position
        where, order = " AND ".join(conditions), f"created_at {direction}, id {direction}"
        page = f"SELECT id FROM {self._booked(wanted)} WHERE {where} ORDER BY {order} LIMIT ?"
        sql = f"{_BOOKING} WHERE bookings.id IN ({page}) ORDER BY created_at DESC, id DESC"
        return [self._decoded(row, partial(_stored_booking, wanted.kind)) for row in self._rows(sql, (*values, limit))]

    def _booked(self, wanted: BookingFilter) -> str:
        """Where a search looks: each index answers it alone and whole. SQLite cannot know which one reads least, having no statistics.

        Read in the order of the answer, a page goes only as far as it must. But from a time on, few bookings are left after some years,
        and a search for them would go through all that are over: so few are read by their end, and sorted.
        """
        if wanted.table_id is not None:
            return "(SELECT booking_id AS id, * FROM booking_tables INDEXED BY booking_tables_by_time)"
        by_end = "bookings INDEXED BY bookings_by_end"
        if wanted.from_time is not None:
            sql = f"SELECT 1 FROM {by_end} WHERE kind = ? AND standing = ? AND end_time > ? LIMIT 1 OFFSET ?"
            if not self._rows(sql, (wanted.kind, wanted.standing, wanted.from_time, SORTED_BOOKINGS)):
                return by_end
        return "bookings INDEXED BY bookings_by_time"

    def entries(self, *, order_id: str | None = None, after: int = 0, limit: int = -1) -> Iterator[StoredEntry]:
        """Entries behind position `after`, oldest first; of one order, or of all; in slices, so that a slow reader holds nothing."""
        condition, values = ("AND order_id = ?", (order_id,)) if order_id is not None else ("", ())
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE seq > ? {condition} ORDER BY seq LIMIT ?"
        while limit:
            wanted = SLICE if limit < 0 else min(SLICE, limit)
            rows = self._rows(sql, (after, *values, wanted))
            yield from map(StoredEntry._make, rows)
            if len(rows) < wanted:
                return
            after, limit = rows[-1][0], limit - wanted if limit > 0 else limit

    def changes(self, after: int, limit: int) -> list[StoredEntry]:
        """Up to `limit` entries behind `after` that change what a till shows: moves of orders, payments and the kitchen, bills that were
        amended, customers who were erased.
        """
        sql = f"""
            SELECT {ENTRY_COLUMNS} FROM journal
            WHERE seq > ? AND order_id <> '' AND (kind = 'transition' OR (kind = 'operator' AND trigger IN ('amend', 'erase')))
            ORDER BY seq LIMIT ?
        """
        return [StoredEntry._make(row) for row in self._rows(sql, (after, limit))]

    def orders_with_entries(self, start: str, end: str, *, after: int = 0) -> list[str]:
        """The orders that have entries of the moments [`start`, `end`), UTC text, behind position `after`; it looks at all times there."""
        sql = "SELECT DISTINCT order_id FROM journal NOT INDEXED WHERE seq > ? AND at >= ? AND at < ? AND order_id <> ''"
        return [order_id for (order_id,) in self._rows(sql, (after, start, end))]

    def orders_changed(self, after: int) -> list[str]:
        """The orders that have entries behind position `after`."""
        return [
            order_id
            for (order_id,) in self._rows("SELECT DISTINCT order_id FROM journal NOT INDEXED WHERE seq > ? AND order_id <> ''", (after,))
        ]

    def last_entries(self, count: int) -> list[StoredEntry]:
        """The newest `count` entries, oldest first."""
        rows = self._rows(f"SELECT {ENTRY_COLUMNS} FROM journal ORDER BY seq DESC LIMIT ?", (count,))
        return [StoredEntry._make(row) for row in reversed(rows)]

    def entries_back(
        self, before: int, limit: int, *, order_id: str | None = None, kind: str | None = None
    ) -> tuple[list[StoredEntry], int]:
        """Up to `limit` entries in front of position `before`, newest first, of an order and of a kind where these are given.

        Also the position in front of which to go on, 0 at the beginning. Without an order it looks through LOOKED_BACK entries at most.
        """
        lowest = 1 if order_id is not None else max(1, before - LOOKED_BACK)
        conditions, values = ["seq < ?", "seq >= ?"], list[object]((before, lowest))
        for column, value in (("order_id", order_id), ("kind", kind)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        by = "order_seq" if order_id is not None else "seq"
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE {' AND '.join(conditions)} ORDER BY {by} DESC LIMIT ?"
        found = [StoredEntry._make(row) for row in self._rows(sql, (*values, limit))]
        following = found[-1].seq if len(found) == limit else lowest
        return found, following if following > 1 else 0

    def entry_at(self, seq: int) -> StoredEntry | None:
        """The entry at this position."""
        rows = self._rows(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE seq = ?", (seq,))
        return StoredEntry._make(rows[0]) if rows else None

    def version(self) -> int | None:
        """A number that is another one as soon as anybody has committed anything to the file; None without a connection kept for it."""
        with self._spare_lock:
            if self._spare is None or cannot_change(self._path):
                return None
            try:
                return int(self._spare.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def size(self) -> int:
        """How many entries there are."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM journal", ())[0][0])

    def tasks(self, status: str | None, limit: int, *, after: Position | None = None) -> list[StoredTaskRow]:
        """Up to `limit` tasks of the outbox, newest first, behind `after` (created_at, id)."""
        conditions, values = list[str](), list[object]()
        if status in _UNFINISHED:
            conditions.append(f"status = '{status}'")  # A partial index serves only the very condition that it was made with.
        elif status is not None:
            conditions.append("status = ?")
            values.append(status)
        if after is not None:
            conditions.append("(created_at_ms, id) < (?, ?)")
            values += [_to_ms(after.created_at), after.id]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        index = _UNFINISHED.get(status or "", "outbox_by_time")
        sql = f"SELECT {_TASK} FROM outbox INDEXED BY {index} {where} ORDER BY created_at_ms DESC, id DESC LIMIT ?"
        return [_task_row(row) for row in self._rows(sql, (*values, limit))]

    def tasks_of(self, order_id: str) -> list[StoredTaskRow]:
        """The tasks of an order, oldest first: all that are not done, and the newest RECENT_TASKS of those that are."""
        # A task's id begins with its order's: these stand together, whatever else the outbox ever had.
        where = "id >= ? AND id < ? AND order_id = ? AND status {} 'done'"
        sql = f"SELECT {_TASK} FROM outbox WHERE {where} ORDER BY created_at_ms DESC LIMIT ?"
        values = (f"{order_id}.", f"{order_id}/", order_id, RECENT_TASKS)
        rows = [*self._rows(sql.format("<>"), values), *self._rows(sql.format("="), values)]
        return sorted(map(_task_row, rows), key=lambda task: (task.created_at, task.id))

    def failures_of(self, tasks: Sequence[str]) -> list[StoredFailure]:
        """The attempts of these tasks that failed, oldest first, as far as they are kept; at most RECENT_FAILURES of them."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'attempts'", ()):
            return []  # Of an earlier version, and not to be written.
        sql = f"""
            SELECT task_id, number, at, error FROM attempts WHERE task_id IN (SELECT value FROM json_each(?))
            ORDER BY at DESC, fence DESC LIMIT {RECENT_FAILURES}
        """
        return [StoredFailure._make(row) for row in reversed(self._rows(sql, (msgspec.json.encode(tasks).decode(),)))]

    def repeats_of(self, order_id: str) -> list[StoredRepeat]:
        """Which messages about the order came again word for word after they had been answered, and how often."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'repeats'", ()):
            return []
        sql = f"SELECT source, message_id, times, last_at FROM repeats WHERE order_id = ? ORDER BY last_at DESC LIMIT {RECENT_FAILURES}"
        return [StoredRepeat._make(row) for row in self._rows(sql, (order_id,))]

    def last_word(self, order_id: str) -> StoredEntry | None:
        """What Dojo was heard to say last of the order and was heeded: an event, or what a read of one of its payments brought."""
        is_heeded = "json_extract(body, '$.ignored') IS NULL AND json_extract(body, '$.stale') IS NULL"
        where = f"order_id = ? AND kind IN ('event', 'check') AND {is_heeded}"
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE {where} ORDER BY order_seq DESC LIMIT 1"
        rows = self._rows(sql, (order_id,))
        return StoredEntry._make(rows[0]) if rows else None

    def next_look(self, order_id: str) -> str | None:
        """When the sweep asks Dojo about an open payment of the order by itself, UTC text; None where it does not."""
        sql = "SELECT min(next_at_ms) FROM watch WHERE intent_id IN (SELECT intent_id FROM payments WHERE order_id = ?) AND order_id = ?"
        at_ms = self._rows(sql, (order_id, order_id))[0][0]
        return from_ms(at_ms) if at_ms is not None else None

    def newest_entries(self, order_id: str, limit: int, *, before: int | None = None) -> list[StoredEntry]:
        """The newest `limit` entries of the order, or of those in front of position `before`; oldest first."""
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id = ? AND seq < ? ORDER BY order_seq DESC LIMIT ?"
        rows = self._rows(sql, (order_id, before if before is not None else 2**62, limit))
        return [StoredEntry._make(row) for row in reversed(rows)]

    def moves(self, order_id: str) -> list[StoredEntry]:
        """The order's transitions, oldest first: its own, its payments' and the kitchen's; at most MOVES."""
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id = ? AND kind = 'transition' ORDER BY order_seq LIMIT {MOVES}"
        return [StoredEntry._make(row) for row in self._rows(sql, (order_id,))]

    def task(self, task_id: str) -> StoredTaskRow | None:
        """One task of the outbox."""
        rows = self._rows(f"SELECT {_TASK} FROM outbox WHERE id = ?", (task_id,))
        return _task_row(rows[0]) if rows else None

    def dead_tasks(self, order_id: str, intent_id: str) -> list[StoredTaskRow]:
        """The tasks of this order and intent that were given up, oldest first."""
        sql = f"SELECT {_TASK} FROM outbox WHERE status = 'dead' AND order_id = ? AND intent_id = ? ORDER BY created_at_ms, id"
        return [_task_row(row) for row in self._rows(sql, (order_id, intent_id))]

    def unfinished_tasks(self) -> dict[str, int]:
        """How many tasks of the outbox wait, pause, are under way and were given up."""
        counts = (f"(SELECT count(*) FROM outbox INDEXED BY {index} WHERE status = '{status}')" for status, index in _UNFINISHED.items())
        return dict(zip(_UNFINISHED, self._rows(f"SELECT {', '.join(counts)}", ())[0], strict=True))

    def next_probe(self, destination: str) -> str | None:
        """When a destination that pauses is asked again, UTC text; None where nothing waits for it."""
        sql = (
            f"SELECT min(next_at_ms) FROM outbox INDEXED BY outbox_paused_due WHERE status = 'paused' AND (effect = '{TellTill.name}') = ?"
        )
        at_ms = self._rows(sql, (destination == TILL,))[0][0]
        return None if at_ms is None else from_ms(at_ms)

    def parked(self, limit: int) -> list[StoredParked]:
        """Payment intents that no order explains and that are still asked for, the longest waiting first."""
        sql = """
            SELECT intent_id, since, next_at_ms, coalesce(external_id, dojo_order_id, '') FROM parked INDEXED BY parked_due
            WHERE next_at_ms IS NOT NULL ORDER BY since, intent_id LIMIT ?
        """
        return [StoredParked(intent, since, from_ms(at_ms), named) for intent, since, at_ms, named in self._rows(sql, (limit,))]

    def conduct(self, destination: str) -> Conduct:
        """How the destination has answered of late."""
        rows = self._rows("SELECT value FROM meta WHERE name = ?", (f"conduct.{destination}",))
        return _conduct_decoder.decode(rows[0][0]) if rows else Conduct()

    def venue(self, name: str) -> Json:
        """What the till last said about the venue; None where it never did."""
        rows = self._rows("SELECT value FROM venue WHERE name = ?", (name,))
        return cast(Json, msgspec.json.decode(rows[0][0])) if rows else None

    def resolutions(self, date: str) -> list[Resolution]:
        """What people have said of differences in the takings of that day (YYYY-MM-DD), oldest first."""
        return [self._decoded(row, lambda row: Resolution.of_row(*row)) for row in self._rows(RESOLUTIONS, (date,))]

    def attention(self, code: str | None = None) -> list[StoredAttention]:
        """Everything that needs a person, oldest first; of the venue itself with an empty order id."""
        sql = "SELECT order_id, code, payment_intent_id, since, detail FROM attention WHERE ? IS NULL OR code = ? ORDER BY since, order_id"
        return [StoredAttention._make(row) for row in self._rows(sql, (code, code))]

    def attention_with_orders(self, code: str | None = None) -> list[tuple[StoredAttention, Order | None]]:
        """The same, each with its order as it is now; None for what concerns no order."""
        sql = """
            SELECT attention.order_id, code, payment_intent_id, since, detail, orders.body
            FROM attention LEFT JOIN orders ON orders.id = attention.order_id WHERE ? IS NULL OR code = ? ORDER BY since, attention.order_id
        """
        rows = self._rows(sql, (code, code))
        return [(StoredAttention._make(row[:-1]), _order_decoder.decode(row[-1]) if row[-1] else None) for row in rows]

    def gravest_attention(self, codes: Sequence[str], limit: int) -> list[tuple[StoredAttention, Order | None]]:
        """The same with one of these codes, of the first code first, the oldest first; at most `limit`."""
        gravity = " ".join(f"WHEN ? THEN {number}" for number in range(len(codes)))
        found = f"""
            SELECT *, CASE code {gravity} END AS gravity FROM attention WHERE code IN ({", ".join("?" * len(codes))})
            ORDER BY gravity, since, order_id, payment_intent_id LIMIT ?
        """
        sql = f"""
            SELECT found.order_id, code, payment_intent_id, since, detail, orders.body
            FROM ({found}) AS found LEFT JOIN orders ON orders.id = found.order_id
            ORDER BY gravity, since, found.order_id, payment_intent_id
        """
        rows = self._rows(sql, (*codes, *codes, limit))
        return [(StoredAttention._make(row[:-1]), _order_decoder.decode(row[-1]) if row[-1] else None) for row in rows]

    def service_attention(self) -> list[StoredAttention]:
        """What needs a person and concerns no order, oldest first."""
        sql = "SELECT order_id, code, payment_intent_id, since, detail FROM attention WHERE order_id = '' ORDER BY since, code"
        return [StoredAttention._make(row) for row in self._rows(sql, ())]

    def attention_counts(self) -> dict[str, int]:
        """How often each code stands; a code that does not is not there."""
        return dict(self._rows("SELECT code, count(*) FROM attention GROUP BY code", ()))

    def newest_checkpoint(self) -> tuple[int, str, str] | None:
        """(size, root, note) of the newest signed checkpoint."""
        rows = self._rows("SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1", ())
        return rows[0] if rows else None

    def origin(self) -> str:
        """By what name the journal's checkpoints are signed."""
        return str(self._rows("SELECT 'tillproof/' || value FROM meta WHERE name = 'journal_id'", ())[0][0])

    def succession(self, known: Ed25519PublicKey, *, from_size: int = 0) -> Succession:
        """The keys that sign this journal, one after the other; of those that sign from `from_size` on, without reading what is before."""
        # From a size on few entries are left, which are read in their order; else only those that concern no order are.
        where = f"seq >= ? AND +{KEY_ENTRIES}" if from_size else f"? = 0 AND {KEY_ENTRIES}"
        sql = f"SELECT seq, body FROM journal WHERE {where} ORDER BY {'seq' if from_size else 'order_seq'}"
        return read_succession(self.origin(), self._rows(sql, (from_size,)), known)

    def key_entries(self, after: int) -> list[StoredEntry]:
        """The entries behind position `after` that say of a key that it is brought in; `after` 0 reads those of no order alone."""
        condition = KEY_ENTRIES.replace("order_id", "+order_id" if after else "order_id")
        rows = self._rows(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE seq > ? AND {condition} ORDER BY seq", (after,))
        return [StoredEntry._make(row) for row in rows]

    def key_in_force(self) -> list[str]:
        """The id of the key that signs next, or all that a note claims; none where nothing is signed yet. Raises JournalDamaged."""
        newest = self.newest_checkpoint()
        if newest is None:
            return []
        size, _, note = newest
        entry = self._rows(f"SELECT body FROM journal WHERE seq = ? AND {KEY_ENTRIES}", (size,))
        try:
            return ids_in_force(self.origin(), size, note, entry[0][0] if entry else None)
        except ValueError as error:
            raise JournalDamaged(f"{self._path}: the key that entry {size} brings in: {error}") from error

    def checkpoint(self, size: int) -> tuple[str, str] | None:
        """(root, note) of the signed checkpoint of exactly this size."""
        rows = self._rows("SELECT root, note FROM checkpoint WHERE size = ?", (size,))
        return rows[0] if rows else None

    def newest_checkpoint_size(self) -> int | None:
        """How many entries the newest signed checkpoint covers."""
        return cast("int | None", self._rows("SELECT max(size) FROM checkpoint", ())[0][0])

    def oldest_checkpoint_size(self) -> int | None:
        """How many entries the first signed checkpoint covers."""
        return cast("int | None", self._rows("SELECT min(size) FROM checkpoint", ())[0][0])

    def checkpoints_around(self, size: int) -> list[int]:
        """The sizes of the nearest checkpoints below and above `size`, as far as there are any."""
        row = self._rows(
            "SELECT (SELECT max(size) FROM checkpoint WHERE size < ?), (SELECT min(size) FROM checkpoint WHERE size > ?)", (size, size)
        )[0]
        return [each for each in row if each is not None]

    def last_seq(self, order_id: str) -> int | None:
        """The position of the order's newest entry."""
        rows = self._rows("SELECT seq FROM journal WHERE order_id = ? ORDER BY order_seq DESC LIMIT 1", (order_id,))
        return int(rows[0][0]) if rows else None

    def entry(self, order_id: str, order_seq: int) -> StoredEntry | None:
        """The entry with this number in its order, or among those that concern no order."""
        rows = self._rows(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id = ? AND order_seq = ?", (order_id, order_seq))
        return StoredEntry._make(rows[0]) if rows else None

    def tree_node(self, level: int, index: int) -> bytes:
        """A stored node of the Merkle tree; level 0 is the leaf hash of the entry at `index` + 1. Raises JournalDamaged."""
        if level == 0:
            rows = self._rows("SELECT hash FROM journal WHERE seq = ?", (index + 1,))
        else:
            rows = self._rows("SELECT hash FROM tree_node WHERE level = ? AND position = ?", (level, index))
        if not rows:
            raise JournalDamaged(f"{self._path}: the Merkle tree lacks node {level}/{index}")
        return leaf_hash(rows[0][0]) if level == 0 else bytes(rows[0][0])

    def secret(self) -> bytes:
        """Random bytes of this journal, for tokens that nobody else can make."""
        return bytes.fromhex(self._rows("SELECT value FROM meta WHERE name = 'secret'", ())[0][0])

    def seen(self, source: str, message_id: str) -> tuple[Seen, Receipt | None] | None:
        """The request with this key that was answered with 2xx before, and its receipt, where it was kept."""
        sql = "SELECT fingerprint, order_id FROM inbox WHERE source = ? AND message_id = ?"
        rows = self._rows(sql, (source, message_id))
        if not rows:
            return None
        seen = Seen.of_row(*rows[0])
        entry = self.entry(seen.order_id, seen.order_seq) if seen.order_seq else None
        return seen, Receipt(entry.order_id, entry.order_seq, entry.hash) if entry else None

    def integrity(self, table: str | None = None, *, seconds: float, progress: Callable[[int], None] = lambda seconds: None) -> str | None:
        """What SQLite's own check says of a table and its indexes, or of all: "ok", or the first fault; None after `seconds`.

        `progress` hears how many seconds it has taken so far, each of them once.
        """
        what = f"('{table}')" if table else "(1)"
        began, told = time.monotonic(), 0

        def is_over() -> bool:
            nonlocal told
            passed = time.monotonic() - began
            if passed >= told + 1:
                told = int(passed)
                progress(told)
            return passed > seconds

        with self._open() as database:
            database.conn.set_progress_handler(is_over, STEPS)
            try:
                return str(database.execute(f"PRAGMA integrity_check{what}").fetchone()[0])
            except sqlite3.Error as error:
                if _is_interrupted(error):
                    return None
                raise self._translated(error) from error
            finally:
                database.conn.set_progress_handler(None, 0)

    def tables(self) -> list[str]:
        """The names of all tables."""
        return [name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name", ())]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All questions of this thread inside see one state of the journal; keep it short on a live one."""
        with self._open() as database:
            database.execute("BEGIN")
            try:
                yield
            finally:
                with suppress(sqlite3.Error):  # There is nothing to lose.
                    database.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Any other question of the journal's own modules (replay, verification), in SQL."""
        return self._rows(sql, values)

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """As `rows`, one at a time."""
        with self._asked(sql, values) as cursor:
            yield from cursor

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._asked(sql, values) as cursor:
            return cast("list[tuple[Any, ...]]", cursor.fetchall())

    @contextmanager
    def _asked(self, sql: str, values: Sequence[object]) -> Iterator[sqlite3.Cursor]:
        with self._open() as database:
            if self._seconds is not None:
                ends_at = time.monotonic() + self._seconds
                database.conn.set_progress_handler(lambda: time.monotonic() > ends_at, STEPS)
            try:
                yield database.execute(sql, values)
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error
            except UnicodeDecodeError as error:  # The driver cannot even read what SQLite complains of.
                damaged = JournalUnreadable(f"{self._path} cannot be read: {NOT_TEXT}")
                self._on_damage(str(damaged))
                raise damaged from error

    def _translated(self, error: sqlite3.Error) -> WorkflowError:
        if _is_interrupted(error):
            return JournalUnavailable(f"{self._path}: the question took more than {self._seconds} s")
        if "no such index" in str(error):
            return JournalUnavailable(
                f"{self._path} is of an older version and has no index for this question: start the server on it once"
            )
        found = translated(error, f"{self._path} cannot be read")
        if isinstance(found, JournalDamaged):
            self._on_damage(str(found))
            return found
        return JournalUnavailable(str(found))

    @contextmanager
    def turn(self) -> Iterator[Database]:
        """The spare or shared connection, for one thread at a time."""
        with self._spare_lock:
            if not self._spare:
                raise JournalUnavailable(f"{self._path} is closed")
            yield self._spare

    @contextmanager
    def _open(self) -> Iterator[Database]:
        """This thread's connection; where none can be opened any more the spare one."""
        database = None
        if not self._is_shared:
            try:
                database = self._database()
            except JournalUnavailable:
                if not self._spare:
                    raise
        if database:
            yield database
        else:
            with self.turn() as spare:
                yield spare

    def _database(self) -> Database:
        if not hasattr(self._local, "database"):
            self._local.database = connect(self._path, read_only=True)
        database: Database = self._local.database
        return database

    def _decoded(self, row: tuple[Any, ...], decode: Callable[[tuple[Any, ...]], T]) -> T:
        try:
            return decode(row)
        except msgspec.DecodeError as error:
            message = f"{self._path} is damaged: a stored row is not what was stored: {error}"
            self._on_damage(message)
            raise JournalDamaged(message) from error


def _is_interrupted(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT


_UNFINISHED = {"leased": "outbox_leased", "pending": "outbox_pending", "paused": "outbox_paused", "dead": "outbox_dead"}
"""Tasks that are not done are few: each status has an index of its own."""

_TASK = "id, effect, order_id, intent_id, status, attempts, next_at_ms, last_error, created_at_ms, done_at"


def _task_row(row: tuple[Any, ...]) -> StoredTaskRow:
    task_id, effect, order_id, intent_id, status, attempts, next_at_ms, last_error, created_at_ms, done_at = row
    return StoredTaskRow(
        id=task_id,
        effect=effect,
        order_id=order_id,
        payment_intent_id=intent_id,
        status=status,
        attempts=attempts,
        next_at=from_ms(next_at_ms) if status == "pending" else None,
        last_error=last_error,
        created_at=from_ms(created_at_ms),
        done_at=done_at or None,
    )


def from_ms(milliseconds: int) -> str:
    """The moment so many milliseconds after the beginning of 1970, as UTC text."""
    return to_text(datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000))


def _to_ms(text: str) -> int:
    moment = from_text(text)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


Condition: TypeAlias = tuple[str, Sequence[object]]
"""A condition in SQL, and its values."""

_ORDER = "SELECT orders.body, personal.data FROM orders LEFT JOIN personal ON personal.order_id = orders.id"


def _stored_order(row: tuple[Any, ...]) -> StoredOrder:
    return StoredOrder(_order_decoder.decode(row[0]), _personal_decoder.decode(row[1]) if row[1] else Personal())


def orders_query(
    wanted: OrderFilter, limit: int, *, after: Position | None = None, before: Position | None = None, since: str | None = None
) -> tuple[str, tuple[object, ...]]:
    """The statement behind a page of orders, and its values."""
    direction = "DESC" if before is None else "ASC"
    order_by = f"ORDER BY created_at {direction}, id {direction}"
    ways, values = list[str](), list[object]()
    for way, given in _ways(wanted, _bounds(wanted, after, before, since)):
        ways.append(f"SELECT * FROM ({way} {order_by} LIMIT ?)")
        values += [*given, limit]
    sql = (
        f"SELECT orders.body, personal.data FROM ({' UNION '.join(ways)} {order_by} LIMIT ?) AS found "
        "CROSS JOIN orders ON orders.rowid = found.place LEFT JOIN personal ON personal.order_id = orders.id "
        f"ORDER BY found.created_at {direction}, found.id {direction}"
    )
    return sql, (*values, limit)


def count_query(wanted: OrderFilter, at_most: int) -> tuple[str, tuple[object, ...]]:
    """The statement that counts orders up to a number, and its values."""
    ways, values = list[str](), list[object]()
    for way, given in _ways(wanted, _bounds(wanted)):
        ways.append(f"SELECT * FROM ({way} LIMIT ?)")
        values += [*given, at_most]
    return f"SELECT count(*) FROM ({' UNION '.join(ways)} LIMIT ?)", (*values, at_most)


def _bounds(
    wanted: OrderFilter, after: Position | None = None, before: Position | None = None, since: str | None = None
) -> list[Condition]:
    """Between which moments, or neighbours. Of two bounds on one side SQLite would enter the index at either: the nearer is given."""
    bounds: list[Condition] = []
    if after is not None and (wanted.to_time is None or after.created_at < wanted.to_time):
        bounds.append(("(created_at, id) < (?, ?)", after))
    elif wanted.to_time is not None:
        bounds.append(("created_at < ?", (wanted.to_time,)))
    earliest = max((each for each in (since, wanted.from_time) if each is not None), default=None)
    if before is not None and (earliest is None or before.created_at >= earliest):
        bounds.append(("(created_at, id) > (?, ?)", before))
    elif earliest is not None:
        bounds.append(("created_at >= ?", (earliest,)))
    return bounds


def _ways(wanted: OrderFilter, bounds: list[Condition]) -> Iterator[tuple[str, list[object]]]:
    """Where to read orders from, and the values of that: one index, or for a text everything that it may be."""
    for source, filters in _sources(wanted):
        conditions = [*filters, *bounds]
        where = f"WHERE {' AND '.join(condition for condition, _ in conditions)}" if conditions else ""
        values = [value for _, given in conditions for value in given]
        yield f"SELECT rowid AS place, created_at, id FROM {source} {where}", values


def _sources(wanted: OrderFilter) -> Iterator[tuple[str, list[Condition]]]:
    given = [(column, getattr(wanted, column)) for column in _EQUAL if getattr(wanted, column) is not None]
    switches = {name for name, is_on in (("payable", wanted.payable_only), ("attention", wanted.attention)) if is_on}
    switched: list[Condition] = [(f"{name} = 1", ()) for name in sorted(switches)]
    for found_by in [[]] if wanted.text is None else _indexed(wanted.text, wanted):
        equal = list(dict.fromkeys([*given, *found_by]))
        columns = {column for column, _ in equal}
        index = next(each for each in ORDER_INDEXES if columns.issuperset(each.equal) and switches.issuperset(each.switched_on))
        yield f"orders INDEXED BY {index.name}", [*switched, *_equals(equal)]
    for unique in () if wanted.text is None else _UNIQUE:
        yield "orders", [*switched, *_equals(given), (unique, (wanted.text,))]


def _indexed(text: str, wanted: OrderFilter) -> list[list[tuple[str, str]]]:
    """What a text may be that several orders have: a reference, or a table, unless another one is asked for."""
    tables = [each for each in dict.fromkeys([text, *wanted.text_tables]) if wanted.table_id in (None, each)]
    return [[("reference", text)], *([("table_id", each)] for each in tables)]


def _equals(pairs: Sequence[tuple[str, object]]) -> list[Condition]:
    return [(f"{column} = ?", (value,)) for column, value in pairs]


_EQUAL = ("table_id", "waiter_id", "party_id", "reservation_id", "flow", "state")
_UNIQUE = ("id = ?", "dojo_order_id = ?", "id = (SELECT order_id FROM payments WHERE intent_id = ?)")


_LANES = f"SELECT value, value AS lane FROM json_each(?1) UNION ALL SELECT value, '{TILL}:' || value FROM json_each(?1)"
_WAITS = " UNION ALL ".join(
    f"""
    SELECT order_id, effect, status, attempts, next_at_ms, {rank} AS rank
    FROM ({_LANES}) AS asked CROSS JOIN outbox INDEXED BY outbox_{status} ON outbox.lane = asked.lane AND status = '{status}'
    """
    for rank, status in enumerate(("leased", "pending", "paused"))
)
_WAITS = f"""
SELECT order_id, effect, status, attempts, next_at_ms FROM (
  {_WAITS} UNION ALL
  SELECT order_id, effect, status, attempts, next_at_ms, 3
  FROM json_each(?1) AS asked CROSS JOIN outbox INDEXED BY outbox_dead ON outbox.order_id = asked.value AND status = 'dead'
) ORDER BY rank, next_at_ms
"""
"""Each order has a lane at Dojo and one at the till; a partial index serves only the very condition that it was made with."""

_MOVED_AT = f"""
SELECT value, (
  SELECT at FROM journal WHERE order_id = value AND kind = 'transition' AND payment_intent_id = '' AND machine GLOB '{ORDER.name}@*'
  ORDER BY order_seq DESC LIMIT 1
) AS moved_at FROM json_each(?) WHERE moved_at IS NOT NULL
"""


_BOOKING = "SELECT bookings.body, guests.data FROM bookings LEFT JOIN guests ON guests.booking_id = bookings.id"


def _stored_booking(kind: Kind, row: tuple[Any, ...]) -> StoredBooking:
    return StoredBooking(msgspec.json.decode(row[0], type=TYPES[kind]), _guest_decoder.decode(row[1]) if row[1] else Guest())
