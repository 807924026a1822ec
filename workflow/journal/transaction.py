"""The unit of work on the writer's connection. Hot statements are plain SQL, prepared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow.bill import Personal
from workflow.booking import TYPES, Booking, Guest, Kind
from workflow.conduct import Conduct
from workflow.entry import Entry, Facts, Json
from workflow.errors import JournalDamaged, JournalUnavailable, short
from workflow.journal.beside import GUESTS, PERSONAL, Beside
from workflow.journal.driver import sqlite3
from workflow.journal.port import RESOLUTIONS, OlderRead, Parked, ParkedLinks, Receipt, Resolution, Seen, Since, Watch
from workflow.journal.rows import (
    ORDER_COLUMNS,
    attention_rows,
    booking_row,
    booking_table_rows,
    hashed_entry,
    lock_row,
    order_row,
    payment_row,
    search_columns,
    venue_row,
)
from workflow.journal.tasks import Tasks
from workflow.ledger import ZERO_HASH, canonical, entry_hash
from workflow.order import Order
from workflow.ports import IntentId, OrderId
from workflow.succession import rotation_facts

_order_decoder = msgspec.json.Decoder(Order)
_personal_decoder = msgspec.json.Decoder(Personal)
_guest_decoder = msgspec.json.Decoder(Guest)
_conduct_decoder = msgspec.json.Decoder(Conduct)
_jumps_decoder = msgspec.json.Decoder(list[tuple[int, int]])
_encode = msgspec.json.Encoder().encode

JUMPS = "clock.jumps"
"""The name in `meta` of the jumps of the wall clock. No evidence: they tell how old an entry is, and so when a person is called."""
KEPT_JUMPS = 100
"""So many are kept apart; of more the two oldest become one."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs the journal's checkpoints, and by which name: `tillproof/<journal id>`."""

    origin: str
    key: Ed25519PrivateKey


class SqliteTransaction(Tasks):
    """The unit of work on the writer's connection; see `port.Transaction`."""

    def __init__(self, connection: sqlite3.Connection, secret: bytes, size: int, signer: Signer | None = None) -> None:
        super().__init__(connection)
        self._size, self._signer = size, signer
        self.next_key: Ed25519PrivateKey | None = None
        self.reads_only = signer is None
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

    def order(self, order_id: str) -> Order | None:
        row = self._one("SELECT body FROM orders WHERE id = ?", order_id)
        try:
            return _order_decoder.decode(row[0]) if row else None
        except msgspec.DecodeError as error:
            raise JournalDamaged(f"the row of order {short(order_id)} is not what was stored: {error}") from error

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
        row = dict(zip(ORDER_COLUMNS, order_row(order, last_hash), strict=True))
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

    def last_move(self, order_id: str, machine: str, intent_id: str = "") -> Since | None:
        sql = (
            "SELECT trigger, at, seq FROM journal WHERE order_id = ? AND kind = 'transition' AND payment_intent_id = ? AND machine GLOB ? "
            "ORDER BY order_seq DESC LIMIT 1"
        )
        row = self._one(sql, order_id, intent_id, f"{machine}@*")
        return Since._make(row) if row else None

    def older_read(self, order_id: str, intent_id: str) -> OlderRead | None:
        row = self._one(f"SELECT {_DIFFERS} FROM {_CHECKS} ORDER BY order_seq DESC LIMIT 1", order_id, intent_id)
        if row is None or row[0] is None:
            return None
        trigger, at, seq, order_seq = cast("tuple[str, str, int, int]", self._one(FIRST_OLDER_READ, *[order_id, intent_id] * 2))
        told = self._connection.execute(TOLD_SINCE, (order_id, order_seq, intent_id)).fetchall()
        return OlderRead(row[0], Since(trigger, at, seq), tuple(detail for (detail,) in told))

    def last_venue_seq(self) -> int:
        row = self._one("SELECT order_seq FROM journal WHERE order_id = '' ORDER BY order_seq DESC LIMIT 1")
        return int(row[0]) if row else 0

    def newest_at(self) -> str | None:
        row = self._one("SELECT at FROM journal WHERE seq = (SELECT max(seq) FROM journal)")
        return str(row[0]) if row else None

    def seen(self, source: str, message_id: str) -> Seen | None:
        row = self._one("SELECT fingerprint, order_id FROM inbox WHERE source = ? AND message_id = ?", source, message_id)
        return Seen.of_row(*row) if row else None

    def receipt(self, order_id: str, order_seq: int) -> Receipt | None:
        row = self._one("SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", order_id, order_seq)
        return Receipt(order_id, order_seq, row[0]) if row else None

    def remember(self, source: str, message_id: str, seen: Seen, at: str) -> None:
        self._connection.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?)", (source, message_id, seen.to_text(), seen.order_id, at))

    def note_repeat(self, source: str, message_id: str, order_id: str, times: int, at: str) -> None:
        self._connection.execute(NOTE_REPEAT, (order_id, source, message_id, times, at))

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

    def resolutions(self, date: str) -> list[Resolution]:
        return [Resolution.of_row(*row) for row in self._connection.execute(RESOLUTIONS, (date,))]

    def conduct(self, destination: str) -> Conduct:
        row = self._one("SELECT value FROM meta WHERE name = ?", f"conduct.{destination}")
        return _conduct_decoder.decode(row[0]) if row else Conduct()

    def keep_conduct(self, destination: str, conduct: Conduct) -> None:
        self._keep(f"conduct.{destination}", _encode(conduct))

    def note_jump(self, by_ms: int) -> None:
        jumps = [*self._jumps(), (self._size + len(self.hashes), by_ms)]
        if len(jumps) > KEPT_JUMPS:  # What is older than both of the oldest two is aged right for ever.
            (_, first_ms), (seq, second_ms), *rest = jumps
            jumps = [(seq, first_ms + second_ms), *rest]
        self._keep(JUMPS, _encode(jumps))

    def forget_jumps_back(self, most_ms: int) -> None:
        if -most_ms <= sum(by_ms for _, by_ms in self._jumps()) < 0:
            self._keep(JUMPS, _encode([]))

    def jumped_ms(self, since_seq: int) -> int:
        return sum(by_ms for seq, by_ms in self._jumps() if seq >= since_seq)

    def _jumps(self) -> list[tuple[int, int]]:
        """(the last entry before it, milliseconds) of every jump of the wall clock, oldest first."""
        row = self._one("SELECT value FROM meta WHERE name = ?", JUMPS)
        return _jumps_decoder.decode(row[0]) if row else []

    def _keep(self, name: str, value: bytes) -> None:
        row = (name, value.decode())
        self._connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", row)

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


NOTE_REPEAT = (
    "INSERT INTO repeats VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT(order_id, source, message_id) DO UPDATE SET times = times + excluded.times, last_at = excluded.last_at"
)
_CHECKS = "journal WHERE order_id = ? AND kind = 'check' AND payment_intent_id = ?"
_DIFFERS = "json_extract(body, '$.differs')"
FIRST_OLDER_READ = f"""
SELECT trigger, at, seq, order_seq FROM {_CHECKS}
AND order_seq > (SELECT coalesce(max(order_seq), 0) FROM {_CHECKS} AND {_DIFFERS} IS NULL) ORDER BY order_seq LIMIT 1
"""
TOLD_SINCE = """
SELECT json_extract(body, '$.detail') FROM journal WHERE order_id = ? AND order_seq > ? AND kind = 'attention' AND trigger = 'raise'
AND payment_intent_id = ? AND json_extract(body, '$.code') = 'STATUS_LIE'
"""
INSERT_ENTRY = f"INSERT INTO journal VALUES ({', '.join('?' * 15)})"
INSERT_ORDER = f"INSERT INTO orders({', '.join(ORDER_COLUMNS)}) VALUES ({', '.join('?' * len(ORDER_COLUMNS))})"
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


@cache
def update_order(names: tuple[str, ...]) -> str:
    """The statement that sets these columns of an order."""
    return f"UPDATE orders SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"
