"""The unit of work on the writer's connection, and the rows that it stores. Hot statements are plain SQL, prepared once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow.bill import DineIn, Personal
from workflow.booking import TYPES, Booking, Guest, Kind
from workflow.conduct import Conduct
from workflow.effects import TILL, Task, TellTill
from workflow.entry import Entry, Facts, Json
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.beside import GUESTS, PERSONAL, Beside
from workflow.journal.driver import sqlite3
from workflow.journal.port import Move, Parked, ParkedLinks, Receipt, Seen, StoredTask, Watch
from workflow.ledger import ZERO_HASH, HashedEntry, canonical, entry_hash
from workflow.order import Order
from workflow.ports import IntentId, OrderId
from workflow.succession import rotation_facts

_order_decoder = msgspec.json.Decoder(Order)
_personal_decoder = msgspec.json.Decoder(Personal)
_guest_decoder = msgspec.json.Decoder(Guest)
_conduct_decoder = msgspec.json.Decoder(Conduct)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs the journal's checkpoints, and by which name: `tillproof/<journal id>`."""

    origin: str
    key: Ed25519PrivateKey


class SqliteTransaction:
    """The unit of work on the writer's connection; see `port.Transaction`."""

    def __init__(self, connection: sqlite3.Connection, secret: bytes, size: int, signer: Signer | None = None) -> None:
        self._connection, self._size, self._signer = connection, size, signer
        self.next_key: Ed25519PrivateKey | None = None
        self.secret = secret
        self.hashes: list[str] = []
        self.after_commit: list[Callable[[], None]] = []
        self._last_hash: dict[str, str] = {}

    def mark(self) -> tuple[int, int]:
        """Where a savepoint begins."""
        self._last_hash.clear()
        return len(self.hashes), len(self.after_commit)

    def return_to(self, mark: tuple[int, int]) -> None:
        """Forget what came after the mark."""
        del self.hashes[mark[0] :], self.after_commit[mark[1] :]
        self.next_key = None
        self._last_hash.clear()

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        return cast("tuple[Any, ...] | None", self._connection.execute(sql, values).fetchone())

    def order(self, order_id: str) -> Order | None:
        row = self._one("SELECT body FROM orders WHERE id = ?", order_id)
        try:
            return _order_decoder.decode(row[0]) if row else None
        except msgspec.DecodeError as error:
            raise JournalDamaged(f"the row of order {order_id[:80]} is not what was stored: {error}") from error

    def order_of_intent(self, intent_id: str) -> OrderId | None:
        row = self._one("SELECT order_id FROM payments WHERE intent_id = ?", intent_id)
        return OrderId(row[0]) if row else None

    def order_of_dojo_id(self, dojo_order_id: str) -> OrderId | None:
        row = self._one("SELECT id FROM orders WHERE dojo_order_id = ?", dojo_order_id)
        return OrderId(row[0]) if row else None

    def save(self, order: Order, before: Order | None) -> None:
        last_hash = self._last_hash[order.id]
        if before is None:
            self._connection.execute(INSERT_ORDER, order_row(order, last_hash))
        else:
            self._update(order, before, last_hash)
        old = before.payments if before else {}
        for intent_id, payment in order.payments.items():
            if payment == old.get(intent_id):
                continue
            if payment.detached:
                self._connection.execute("DELETE FROM payments WHERE intent_id = ? AND order_id = ?", (intent_id, order.id))
            else:
                self._connection.execute(UPSERT_PAYMENT, payment_row(order, intent_id))
            self.unpark(intent_id)
        if order.lock and order.lock != (before.lock if before else None):
            self._connection.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?, ?)", lock_row(order))
        if order.attention != (before.attention if before else ()):
            self._connection.execute("DELETE FROM attention WHERE order_id = ?", (order.id,))
            self._connection.executemany("INSERT INTO attention VALUES (?, ?, ?, ?, ?)", attention_rows(order))

    def _update(self, order: Order, before: Order, last_hash: str) -> None:
        """Set what may differ; of the columns that orders are searched by only those that do, since each has its indexes."""
        row = dict(zip(_ORDER_COLUMNS, order_row(order, last_hash), strict=True))
        old = search_columns(before)
        changed = (name for name, value in search_columns(order).items() if value != old[name])
        names = (*_ALWAYS_SET, *changed)
        self._connection.execute(update_order(names), (*(row[name] for name in names), order.id))

    def append(self, entries: Sequence[Entry]) -> Receipt:
        rows = []
        for entry in entries:
            prev_hash = self._previous_hash(entry)
            hashed = hashed_entry(entry, prev_hash)
            hash_ = entry_hash(hashed)
            self.hashes.append(hash_)
            self._last_hash[entry.order_id] = hash_
            rows.append((self._size + len(self.hashes), *msgspec.structs.astuple(hashed), hash_))
        self._connection.executemany(INSERT_ENTRY, rows)
        return Receipt(entry.order_id, entry.order_seq, hash_)

    def _previous_hash(self, entry: Entry) -> str:
        if entry.order_seq == 1:
            return ZERO_HASH
        if known := self._last_hash.get(entry.order_id):
            return known
        row = self._one("SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", entry.order_id, entry.order_seq - 1)
        if row is None:
            raise JournalDamaged(f"order {entry.order_id!r} has no entry {entry.order_seq - 1}")
        return str(row[0])

    def last_move(self, order_id: str, machine: str, intent_id: str = "") -> Move | None:
        sql = (
            "SELECT trigger, at FROM journal WHERE order_id = ? AND kind = 'transition' AND payment_intent_id = ? AND machine GLOB ? "
            "ORDER BY order_seq DESC LIMIT 1"
        )
        row = self._one(sql, order_id, intent_id, f"{machine}@*")
        return Move._make(row) if row else None

    def last_venue_seq(self) -> int:
        row = self._one("SELECT order_seq FROM journal WHERE order_id = '' ORDER BY order_seq DESC LIMIT 1")
        return int(row[0]) if row else 0

    def seen(self, source: str, message_id: str) -> Seen | None:
        row = self._one("SELECT fingerprint, order_id FROM inbox WHERE source = ? AND message_id = ?", source, message_id)
        return Seen.of_row(*row) if row else None

    def receipt(self, order_id: str, order_seq: int) -> Receipt | None:
        row = self._one("SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", order_id, order_seq)
        return Receipt(order_id, order_seq, row[0]) if row else None

    def remember(self, source: str, message_id: str, seen: Seen, at: str) -> None:
        self._connection.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?)", (source, message_id, seen.to_text(), seen.order_id, at))

    def refingerprint(self, source: str, message_id: str, seen: Seen) -> None:
        sql = "UPDATE inbox SET fingerprint = ? WHERE source = ? AND message_id = ?"
        self._connection.execute(sql, (seen.to_text(), source, message_id))

    def requests_of(self, source: str, order_id: str) -> list[tuple[str, Seen]]:
        sql = "SELECT message_id, fingerprint, order_id FROM inbox WHERE source = ? AND order_id = ?"
        return [(key, Seen.of_row(*row)) for key, *row in self._connection.execute(sql, (source, order_id)).fetchall()]

    def rename_request(self, source: str, message_id: str, new_id: str, seen: Seen) -> None:
        sql = "UPDATE inbox SET message_id = ?, fingerprint = ? WHERE source = ? AND message_id = ?"
        self._connection.execute(sql, (new_id, seen.to_text(), source, message_id))

    def beginning(self, order_id: str) -> tuple[Facts, str]:
        body = "SELECT body FROM journal WHERE order_id = ? ORDER BY order_seq LIMIT 1"
        status = "SELECT to_state FROM journal WHERE order_id = ? AND machine GLOB 'fulfilment@*' ORDER BY order_seq LIMIT 1"
        row = self._one(f"SELECT ({body}), ({status})", order_id, order_id)
        assert row is not None
        return cast(Facts, msgspec.json.decode(row[0])), str(row[1])

    def keep_personal(self, order_id: str, salt: str, personal: Personal) -> None:
        self._beside(PERSONAL).keep(order_id, salt, _encode(personal))

    def personal_salt(self, order_id: str) -> str:
        return self._beside(PERSONAL).salt(order_id)

    def forget_personal(self, order_id: str) -> None:
        self._beside(PERSONAL).forget(order_id)

    def _beside(self, table: str) -> Beside:
        return Beside(self._connection, table)

    def personal(self, order_id: str) -> Personal:
        row = self._one("SELECT data FROM personal WHERE order_id = ?", order_id)
        return _personal_decoder.decode(row[0]) if row else Personal()

    def booking(self, kind: Kind, booking_id: str) -> Booking | None:
        row = self._one("SELECT body FROM bookings WHERE id = ? AND kind = ?", booking_id, kind)
        return msgspec.json.decode(row[0], type=TYPES[kind]) if row else None

    def booking_as_made(self, kind: Kind, booking_id: str) -> Booking:
        sql = (
            "SELECT json_extract(body, ?) FROM journal WHERE order_id = '' AND trigger = ? AND json_extract(body, ?) = ? "
            "ORDER BY order_seq LIMIT 1"
        )
        row = self._one(sql, f"$.{kind}", f"create_{kind}", f"$.{kind}.id", booking_id)
        assert row is not None
        return msgspec.json.decode(row[0], type=TYPES[kind])

    def booking_of_dojo_id(self, kind: Kind, dojo_id: str) -> str | None:
        row = self._one("SELECT id FROM bookings WHERE kind = ? AND dojo_id = ? AND standing = 'current'", kind, dojo_id)
        return row[0] if row else None

    def party_at(self, table_id: str) -> str | None:
        sql = "SELECT booking_id FROM booking_tables WHERE table_id = ? AND kind = 'party' AND standing = 'current'"
        row = self._one(sql, table_id)
        return row[0] if row else None

    def save_booking(self, booking: Booking, before: Booking | None) -> None:
        if before:
            self._connection.execute("DELETE FROM booking_tables WHERE booking_id = ?", (booking.id,))
        self._connection.execute(PUT_BOOKING, booking_row(booking))
        self._connection.executemany("INSERT INTO booking_tables VALUES (?, ?, ?, ?, ?, ?, ?)", booking_table_rows(booking))

    def keep_guest(self, booking_id: str, salt: str, guest: Guest) -> None:
        self._beside(GUESTS).keep(booking_id, salt, _encode(guest))

    def guest_salt(self, booking_id: str) -> str:
        return self._beside(GUESTS).salt(booking_id)

    def guest(self, booking_id: str) -> Guest:
        row = self._one("SELECT data FROM guests WHERE booking_id = ?", booking_id)
        return _guest_decoder.decode(row[0]) if row else Guest()

    def forget_guest(self, booking_id: str) -> None:
        self._beside(GUESTS).forget(booking_id)

    def park(self, intent_id: str, at: str, next_at_ms: int, interval_ms: int) -> None:
        self._connection.execute(
            "INSERT INTO parked(intent_id, since, since_ms, next_at_ms, interval_ms) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT(intent_id) DO UPDATE SET next_at_ms = excluded.next_at_ms, interval_ms = excluded.interval_ms, "
            "since_ms = iif(parked.next_at_ms IS NULL, excluded.since_ms, parked.since_ms)",  # Read since: it is waited for anew.
            (intent_id, at, next_at_ms - interval_ms, next_at_ms, interval_ms),
        )

    def park_again(self, intent_id: str, next_at_ms: int, interval_ms: int) -> None:
        self._connection.execute(
            "UPDATE parked SET next_at_ms = ?, interval_ms = ? WHERE intent_id = ?", (next_at_ms, interval_ms, intent_id)
        )

    def unpark(self, intent_id: str) -> None:
        self._connection.execute("DELETE FROM parked WHERE intent_id = ?", (intent_id,))

    def note_links(self, intent_id: str, links: ParkedLinks) -> None:
        named = links.external_id or links.dojo_order_id
        self._connection.execute(
            "UPDATE parked SET external_id = ?, dojo_order_id = ?, next_at_ms = iif(?, next_at_ms, NULL) WHERE intent_id = ?",
            (links.external_id, links.dojo_order_id, bool(named), intent_id),
        )

    def parked_for(self, order_id: str, dojo_order_id: str | None, intents: Sequence[str]) -> tuple[IntentId, ...]:
        named = [intent for intent in intents if self._one("SELECT 1 FROM parked WHERE intent_id = ?", intent)]
        linked = self._connection.execute(
            "SELECT intent_id FROM parked WHERE external_id IN (?, ?) OR dojo_order_id = ?", (order_id, dojo_order_id, dojo_order_id)
        ).fetchall()
        return tuple(dict.fromkeys(IntentId(intent) for intent in (*named, *(row[0] for row in linked))))

    def due_parked(self, now_ms: int, limit: int) -> list[Parked]:
        sql = (
            "SELECT intent_id, since_ms, interval_ms, coalesce(external_id, dojo_order_id, '') FROM parked "
            "WHERE next_at_ms <= ? ORDER BY next_at_ms LIMIT ?"
        )
        return [Parked._make(row) for row in self._connection.execute(sql, (now_ms, limit)).fetchall()]

    def watch(self, intent_id: str, order_id: str, next_at_ms: int, waited_ms: int) -> None:
        self._connection.execute(
            "INSERT INTO watch(intent_id, order_id, next_at_ms, interval_ms) VALUES (?, ?, ?, ?) "
            "ON CONFLICT(intent_id) DO UPDATE SET next_at_ms = excluded.next_at_ms, interval_ms = excluded.interval_ms",
            (intent_id, order_id, next_at_ms, waited_ms),
        )

    def unwatch(self, intent_id: str) -> None:
        self._connection.execute("DELETE FROM watch WHERE intent_id = ?", (intent_id,))

    def due_watches(self, now_ms: int, limit: int) -> list[Watch]:
        sql = "SELECT intent_id, order_id, interval_ms FROM watch WHERE next_at_ms <= ? ORDER BY next_at_ms LIMIT ?"
        return [Watch._make(row) for row in self._connection.execute(sql, (now_ms, limit)).fetchall()]

    def raise_venue_attention(self, code: str, intent_id: str, at: str, detail: str) -> bool:
        row = ("", code, intent_id, at, detail)
        return self._connection.execute("INSERT OR IGNORE INTO attention VALUES (?, ?, ?, ?, ?)", row).rowcount == 1

    def clear_venue_attention(self, code: str, intent_id: str) -> bool:
        sql = "DELETE FROM attention WHERE order_id = '' AND code = ? AND payment_intent_id = ?"
        return self._connection.execute(sql, (code, intent_id)).rowcount == 1

    def venue_attention(self) -> list[tuple[str, str]]:
        return self._connection.execute("SELECT code, payment_intent_id FROM attention WHERE order_id = ''").fetchall()

    def has_venue_attention(self, code: str, intent_id: str | None = None) -> bool:
        sql = "SELECT 1 FROM attention WHERE order_id = '' AND code = ? AND (? IS NULL OR payment_intent_id = ?)"
        return self._one(sql, code, intent_id, intent_id) is not None

    def venue(self, name: str) -> Json:
        row = self._one("SELECT value FROM venue WHERE name = ?", name)
        return cast(Json, msgspec.json.decode(row[0])) if row else None

    def set_venue(self, name: str, value: Json) -> None:
        self._connection.execute(
            "INSERT INTO venue VALUES (?, ?, ?) ON CONFLICT(name) DO UPDATE SET edition = excluded.edition, value = excluded.value",
            venue_row(name, canonical(value)),
        )

    def venue_edition(self, name: str) -> str:
        row = self._one("SELECT edition FROM venue WHERE name = ?", name)
        return str(row[0]) if row else ""

    def task(self, task_id: str) -> StoredTask | None:
        return _stored_task(self._one(f"SELECT {TASK_COLUMNS} FROM outbox WHERE id = ?", task_id))

    def waiting_task(self, lane: str, effect: str, intent_id: str) -> StoredTask | None:
        return _stored_task(self._one(WAITING_TASK, lane, effect, intent_id, lane, effect, intent_id))

    def lane_is_busy(self, lane: str) -> bool:
        return self._one("SELECT 1 FROM outbox WHERE lane = ? AND status = 'leased'", lane) is not None

    def next_in_lane(self, lane: str, now_ms: int) -> StoredTask | None:
        return _stored_task(self._one(NEXT_IN_LANE, lane, now_ms))

    def due_tasks(self, destination: str, now_ms: int, limit: int) -> list[StoredTask]:
        is_till = destination == TILL
        rows = self._connection.execute(DUE_TASKS, (now_ms, is_till, now_ms, is_till, limit)).fetchall()
        one_a_lane = dict[str, StoredTask]()
        for stored in (cast(StoredTask, _stored_task(row)) for row in rows):
            if stored.lane not in one_a_lane:
                # What is due first need not be the oldest of its lane: that may have been put back. A lease that ran out holds its lane.
                oldest = self.next_in_lane(stored.lane, now_ms) if stored.status == "pending" else None
                one_a_lane[stored.lane] = oldest or stored
        return list(one_a_lane.values())[:limit]

    def due_probes(self, destination: str, now_ms: int) -> list[StoredTask]:
        is_till = destination == TILL
        rows = self._connection.execute(DUE_PROBES, (now_ms, is_till, now_ms, is_till, is_till)).fetchall()
        return [cast(StoredTask, _stored_task(row)) for row in rows]

    def pause_pending(self, destination: str, probe_at_ms: int) -> None:
        for status in ("pending", "paused"):
            sql = f"UPDATE outbox SET status = 'paused', next_at_ms = max(?, lease_until_ms) WHERE status = '{status}' AND {_THERE}"
            self._connection.execute(sql, (probe_at_ms, destination == TILL))

    def resume_paused(self, destination: str, now_ms: int) -> None:
        set_ = "status = 'pending', next_at_ms = max(?, lease_until_ms), lease_until_ms = max(?, lease_until_ms)"
        self._connection.execute(f"UPDATE outbox SET {set_} WHERE status = 'paused' AND {_THERE}", (now_ms, now_ms, destination == TILL))

    def wake_waiting(self, destination: str, now_ms: int) -> None:
        sql = f"UPDATE outbox SET next_at_ms = max(?, lease_until_ms) WHERE status = 'pending' AND {_THERE} AND next_at_ms > ?"
        self._connection.execute(sql, (now_ms, destination == TILL, now_ms))

    def limit_waits(self, now_ms: int, task_ms: int, sweep_ms: int) -> None:
        latest = now_ms + task_ms
        for status in ("pending", "paused"):
            for is_till in (False, True):
                self._connection.execute(
                    f"UPDATE outbox SET next_at_ms = min(next_at_ms, ?), lease_until_ms = min(lease_until_ms, ?) "
                    f"WHERE status = '{status}' AND {_THERE} AND next_at_ms > ?",
                    (latest, latest, is_till, latest),
                )
        for status in ("pending", "paused", "leased"):
            self._connection.execute(
                f"UPDATE outbox SET created_at_ms = ? WHERE status = '{status}' AND created_at_ms > ?", (now_ms, now_ms)
            )
        for table in ("watch", "parked"):
            self._connection.execute(f"UPDATE {table} SET next_at_ms = ? WHERE next_at_ms > ?", (now_ms + sweep_ms, now_ms + sweep_ms))
        self._connection.execute("UPDATE parked SET since_ms = ? WHERE next_at_ms IS NOT NULL AND since_ms > ?", (now_ms, now_ms))

    def make_young(self, destination: str, now_ms: int, age_ms: int) -> None:
        for status in ("pending", "paused"):
            old = f"SELECT lane FROM outbox WHERE status = '{status}' AND {_THERE} AND created_at_ms < ?"
            sql = f"UPDATE outbox SET created_at_ms = ? WHERE status = '{status}' AND lane IN ({old})"  # All of it: it stays in order.
            self._connection.execute(sql, (now_ms, destination == TILL, now_ms - age_ms))

    def conduct(self, destination: str) -> Conduct:
        row = self._one("SELECT value FROM meta WHERE name = ?", f"conduct.{destination}")
        return _conduct_decoder.decode(row[0]) if row else Conduct()

    def keep_conduct(self, destination: str, conduct: Conduct) -> None:
        row = (f"conduct.{destination}", _encode(conduct).decode())
        self._connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", row)

    def next_due_ms(self, destination: str) -> int | None:
        row = self._one(NEXT_DUE, *[destination == TILL] * NEXT_DUE.count("?"))
        return cast("int | None", row[0]) if row else None

    def release_leases(self, destination: str, now_ms: int, status: str) -> None:
        sql = f"UPDATE outbox SET status = ?, next_at_ms = ?, lease_until_ms = 0 WHERE status = 'leased' AND {_THERE}"
        self._connection.execute(sql, (status, now_ms, destination == TILL))
        if status != "pending":
            self._connection.execute(f"UPDATE outbox SET status = ? WHERE status = 'pending' AND {_THERE}", (status, destination == TILL))

    def has_dead_task(self, order_id: str, intent_id: str) -> bool:
        sql = "SELECT 1 FROM outbox WHERE status = 'dead' AND order_id = ? AND intent_id = ?"
        return self._one(sql, order_id, intent_id) is not None

    def not_told(self, before_ms: int, limit: int) -> list[OrderId]:
        found: dict[OrderId, None] = {}
        for status in ("pending", "paused"):
            sql = NOT_TOLD.format(status=status)
            found |= {
                OrderId(row[0]): None for row in self._connection.execute(sql, (True, before_ms, "PAID_NOT_ON_TILL", limit)).fetchall()
            }
        return list(found)[:limit]

    def renew_task(self, task_id: str, order_seq: int, now_ms: int) -> None:
        self._connection.execute("UPDATE outbox SET order_seq = ?, created_at_ms = ? WHERE id = ?", (order_seq, now_ms, task_id))

    def put_task(self, stored: StoredTask, last_error: str = "", done_at: str = "") -> None:
        task = stored.task
        self._connection.execute(
            PUT_TASK,
            (
                task.id, stored.lane, task.effect, task.order_id, task.intent_id, task.order_seq, stored.status, task.attempts, task.fence,
                task.lease_until_ms, stored.next_at_ms, last_error, task.created_at_ms, done_at, stored.refusals,
            ),
        )  # fmt: skip

    def touch(self) -> None:
        """Write something that changes nothing, to learn whether anything can be made durable."""
        self._connection.execute("UPDATE meta SET value = value WHERE name = 'made_at'")

    def rotate_key(self, new_key: Ed25519PrivateKey) -> Facts:
        if self._signer is None:
            raise JournalUnavailable("a journal that cannot be written brings in no key")
        self.next_key = new_key
        return rotation_facts(self._signer.origin, self._size + len(self.hashes) + 1, self._signer.key, new_key)

    def on_commit(self, then: Callable[[], None]) -> None:
        self.after_commit.append(then)


TASK_COLUMNS = (
    "id, effect, order_id, intent_id, order_seq, attempts, fence, created_at_ms, lease_until_ms, lane, status, next_at_ms, refusals"
)
INSERT_ENTRY = f"INSERT INTO journal VALUES ({', '.join('?' * 15)})"
_ORDER_COLUMNS = [
    "id",
    "dojo_order_id",
    "flow",
    "state",
    "status",
    "table_id",
    "waiter_id",
    "party_id",
    "reservation_id",
    "reference",
    "payable",
    "attention",
    "currency",
    "total",
    "paid",
    "tips",
    "order_seq",
    "last_hash",
    "created_at",
    "updated_at",
    "body",
]
INSERT_ORDER = f"INSERT INTO orders({', '.join(_ORDER_COLUMNS)}) VALUES ({', '.join('?' * len(_ORDER_COLUMNS))})"
_ALWAYS_SET = ("status", "total", "paid", "tips", "order_seq", "last_hash", "updated_at", "body")
"""What an order has for life (its ids, its flow, its currency, when it was created) is never set again."""
UPSERT_PAYMENT = (
    "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(intent_id) DO UPDATE SET state = excluded.state, paid = excluded.paid, "
    "tips = excluded.tips, refunded = excluded.refunded, mismatch = excluded.mismatch WHERE order_id = excluded.order_id"
)
PUT_BOOKING = (
    "INSERT INTO bookings VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET dojo_id = excluded.dojo_id, "
    "standing = excluded.standing, start_time = excluded.start_time, end_time = excluded.end_time, body = excluded.body"
)
PUT_TASK = (
    "INSERT INTO outbox(id, lane, effect, order_id, intent_id, order_seq, status, attempts, fence, lease_until_ms, next_at_ms, last_error, "
    "created_at_ms, done_at, refusals) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(id) DO UPDATE SET order_seq = excluded.order_seq, created_at_ms = excluded.created_at_ms, "
    "status = excluded.status, attempts = excluded.attempts, fence = excluded.fence, lease_until_ms = excluded.lease_until_ms, "
    "next_at_ms = excluded.next_at_ms, last_error = excluded.last_error, done_at = excluded.done_at, refusals = excluded.refusals"
)
# A partial index serves only the very condition it was made with: so each status has its own, and no statement says `status IN`.
WAITING_TASK = f"""
SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'pending' AND lane = ? AND effect = ? AND intent_id = ?
UNION ALL
SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'paused' AND lane = ? AND effect = ? AND intent_id = ?
"""
NEXT_IN_LANE = f"""
SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'pending' AND lane = ? AND next_at_ms <= ? ORDER BY created_at_ms, rowid LIMIT 1
"""
_FREE = "NOT EXISTS (SELECT 1 FROM outbox AS busy WHERE busy.status = 'leased' AND busy.lane = task.lane)"
_THERE = f"(effect = '{TellTill.name}') = ?"
"""Where a task goes follows from its effect; the value is whether the destination is the till."""
_QUIET = f"NOT EXISTS (SELECT 1 FROM outbox AS busy WHERE busy.status = 'leased' AND {_THERE})"
_WAITING = f"SELECT next_at_ms FROM outbox AS task WHERE status = 'pending' AND {_THERE} AND {_FREE} ORDER BY next_at_ms LIMIT 1"
NEXT_DUE = f"""
SELECT min(at) FROM (
  SELECT min(lease_until_ms) AS at FROM outbox WHERE status = 'leased' AND {_THERE}
  UNION ALL
  SELECT next_at_ms FROM ({_WAITING})
  UNION ALL
  SELECT min(next_at_ms) FROM outbox WHERE status = 'paused' AND {_THERE} AND {_QUIET}
)
"""
# The plus keeps SQLite from walking all tasks that ever were by their time to find the few.
# The least tried one probes: what is refused for its own sake must not be the only one that is ever asked.
DUE_PROBES = f"""
SELECT * FROM (
  SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'leased' AND lease_until_ms <= ? AND {_THERE}
  UNION ALL
  SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'paused' AND next_at_ms <= ? AND {_THERE} AND {_QUIET}
) ORDER BY attempts, created_at_ms LIMIT 1
"""
NOT_TOLD = f"""
SELECT order_id FROM outbox WHERE status = '{{status}}' AND {_THERE} AND created_at_ms <= ?
AND EXISTS (SELECT 1 FROM orders WHERE id = order_id AND paid > 0 AND json_extract(body, '$.acknowledged.PAID_NOT_ON_TILL') IS NOT paid)
AND NOT EXISTS (SELECT 1 FROM attention WHERE attention.order_id = outbox.order_id AND code = ? AND payment_intent_id = '')
LIMIT ?
"""
_DUE = f"SELECT {TASK_COLUMNS} FROM outbox AS task WHERE status = 'pending' AND next_at_ms <= ? AND {_THERE} AND {_FREE}"
DUE_TASKS = f"""
SELECT * FROM (
  SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'leased' AND lease_until_ms <= ? AND {_THERE}
  UNION ALL
  SELECT * FROM ({_DUE} ORDER BY next_at_ms, rowid LIMIT ?)
) ORDER BY +created_at_ms
"""


@cache
def update_order(names: tuple[str, ...]) -> str:
    """The statement that sets these columns of an order."""
    return f"UPDATE orders SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"


def _stored_task(row: tuple[Any, ...] | None) -> StoredTask | None:
    if row is None:
        return None
    names = ("id", "effect", "order_id", "intent_id", "order_seq", "attempts", "fence", "created_at_ms", "lease_until_ms")
    return StoredTask(Task(**dict(zip(names, row, strict=False))), lane=row[9], status=row[10], next_at_ms=row[11], refusals=row[12])


def hashed_entry(entry: Entry, prev_hash: str) -> HashedEntry:
    """The hashed columns of an entry."""
    return HashedEntry(
        order_id=entry.order_id,
        order_seq=entry.order_seq,
        at=entry.at,
        kind=entry.kind,
        machine=entry.machine,
        trigger=entry.trigger,
        from_state=entry.from_state,
        to_state=entry.to_state,
        payment_intent_id=entry.payment_intent_id,
        actor=entry.actor,
        cause=entry.cause,
        body=canonical(entry.body),
        prev_hash=prev_hash,
    )


def order_row(order: Order, last_hash: str) -> tuple[object, ...]:
    """The row of `orders`: columns to search by, and the whole order in `body`."""
    searched = search_columns(order)
    return (
        order.id,
        order.dojo_order_id,
        order.flow,
        searched.pop("state"),
        order.status,
        *searched.values(),
        order.currency,
        order.total.value,
        order.paid.value,
        order.tips.value,
        order.order_seq,
        last_hash,
        order.created_at,
        order.updated_at,
        _encode(order).decode(),
    )


def order_row_as_read(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A stored row of `orders` with its body as this version would write it: one that knew fewer facts of an order left them out (P4)."""
    try:
        stored, anew = row[-1], _encode(_order_decoder.decode(row[-1])).decode()
        if stored == anew:
            return row
        facts = msgspec.json.decode(stored)
        is_as_written = _encode(facts).decode() == stored  # Without a space or a name twice.
    except (msgspec.DecodeError, TypeError):  # No order at all: it stays as it is, and differs.
        return row
    return (*row[:-1], anew) if is_as_written and _has_all(msgspec.json.decode(anew), facts) else row


def _has_all(known: object, facts: object) -> bool:
    """Whether `known` has all of these facts, under their names: reading passes over what it does not know."""
    if isinstance(known, dict) and isinstance(facts, dict):
        return all(name in known and _has_all(known[name], fact) for name, fact in facts.items())
    if isinstance(known, list) and isinstance(facts, list):
        return len(known) == len(facts) and all(map(_has_all, known, facts))
    return known == facts


def search_columns(order: Order) -> dict[str, object]:
    """The columns of `orders` that a search may name, in their order in the table."""
    where = order.bill.details.dine_in or DineIn()
    return {
        "state": order.state,
        "table_id": where.table_id,
        "waiter_id": where.waiter_id,
        "party_id": where.party_id,
        "reservation_id": where.reservation_id,
        "reference": order.bill.reference,
        "payable": int(order.is_payable),
        "attention": int(bool(order.attention)),
    }


def booking_row(booking: Booking) -> tuple[object, ...]:
    """The row of `bookings`: columns to search by, and the whole booking in `body`."""
    times = (booking.start_time, booking.end_time, booking.created_at)
    return (booking.id, booking.kind, booking.dojo_id, booking.standing, *times, _encode(booking).decode())


def booking_table_rows(booking: Booking) -> list[tuple[object, ...]]:
    """The rows of `booking_tables`; a deleted booking has none."""
    rest = (booking.kind, booking.standing, booking.start_time, booking.end_time, booking.created_at)
    return [] if booking.deleted else [(booking.id, table_id, *rest) for table_id in booking.table_ids]


def payment_row(order: Order, intent_id: IntentId) -> tuple[object, ...]:
    """The row of `payments`; `paid` and `tips` are what counts now."""
    payment = order.payments[intent_id]
    return (intent_id, order.id, payment.state, *payment.counted, payment.refunded, payment.mismatch)


def lock_row(order: Order) -> tuple[object, ...]:
    """The row of `locks`: the last lock that was taken."""
    assert order.lock is not None
    return (order.id, order.lock.lock_id, order.lock.expires_at, int(order.lock.released), order.lock.holder)


def venue_row(name: str, value: str) -> tuple[str, str, str]:
    """The row of `venue`: canonical JSON, and its hash, by which a reader knows what it has read already."""
    return (name, hashlib.sha256(value.encode()).hexdigest(), value)


def attention_rows(order: Order) -> list[tuple[str, ...]]:
    """The rows of `attention` for one order."""
    return [(order.id, item.code, item.payment_intent_id, item.since, item.detail) for item in order.attention]
