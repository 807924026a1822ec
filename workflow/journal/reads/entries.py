"""Questions about the entries of the journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from workflow.entry import Entry
from workflow.errors import JournalDamaged
from workflow.journal.reads.source import Source

ENTRY_COLUMNS = (
    "seq, order_id, order_seq, at, kind, machine, trigger, from_state, to_state, payment_intent_id, actor, cause, body, prev_hash, hash"
)

SLICE = 500
"""So many entries are read at once, and no longer is a state of the journal held for a reader of all of them."""
LOOKED_BACK = 20_000
"""So many entries are looked through for the page of a list."""
MOVES = 2_000
"""Of one order at most so much is told at once."""


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
        """The entry as it was decided. Raises JournalDamaged when the body is not JSON, or nested deeper than can be read."""
        try:
            body = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError) as error:
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


class EntryReads(Source):
    """Entries by position, by time and by order."""

    def size(self) -> int:
        """How many entries there are."""
        return int(self.rows("SELECT coalesce(max(seq), 0) FROM journal")[0][0])

    def entry_at(self, seq: int) -> StoredEntry | None:
        """The entry at this position."""
        rows = self.rows(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE seq = ?", (seq,))
        return StoredEntry._make(rows[0]) if rows else None

    def entry(self, order_id: str, order_seq: int) -> StoredEntry | None:
        """The entry with this number in its order, or among those that concern no order."""
        rows = self.rows(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id = ? AND order_seq = ?", (order_id, order_seq))
        return StoredEntry._make(rows[0]) if rows else None

    def entries(self, *, order_id: str | None = None, after: int = 0, limit: int = -1) -> Iterator[StoredEntry]:
        """Entries behind position `after`, oldest first; of one order, or of all; in slices, so that a slow reader holds nothing."""
        condition, values = ("AND order_id = ?", (order_id,)) if order_id is not None else ("", ())
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE seq > ? {condition} ORDER BY seq LIMIT ?"
        while limit:
            wanted = SLICE if limit < 0 else min(SLICE, limit)
            rows = self.rows(sql, (after, *values, wanted))
            yield from map(StoredEntry._make, rows)
            if len(rows) < wanted:
                return
            after, limit = rows[-1][0], limit - wanted if limit > 0 else limit

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
        found = [StoredEntry._make(row) for row in self.rows(sql, (*values, limit))]
        following = found[-1].seq if len(found) == limit else lowest
        return found, following if following > 1 else 0

    def last_entries(self, count: int) -> list[StoredEntry]:
        """The newest `count` entries, oldest first."""
        rows = self.rows(f"SELECT {ENTRY_COLUMNS} FROM journal ORDER BY seq DESC LIMIT ?", (count,))
        return [StoredEntry._make(row) for row in reversed(rows)]

    def changes(self, after: int, limit: int) -> list[StoredEntry]:
        """Up to `limit` entries behind `after` that change what a till shows: moves of orders, payments and the kitchen, bills that were
        amended, customers who were erased.
        """
        sql = f"""
            SELECT {ENTRY_COLUMNS} FROM journal
            WHERE seq > ? AND order_id <> '' AND (kind = 'transition' OR (kind = 'operator' AND trigger IN ('amend', 'erase')))
            ORDER BY seq LIMIT ?
        """
        return [StoredEntry._make(row) for row in self.rows(sql, (after, limit))]

    def last_seq(self, order_id: str) -> int | None:
        """The position of the order's newest entry."""
        rows = self.rows("SELECT seq FROM journal WHERE order_id = ? ORDER BY order_seq DESC LIMIT 1", (order_id,))
        return int(rows[0][0]) if rows else None

    def newest_entries(self, order_id: str, limit: int, *, before: int | None = None) -> list[StoredEntry]:
        """The newest `limit` entries of the order, or of those in front of position `before`; oldest first."""
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id = ? AND seq < ? ORDER BY order_seq DESC LIMIT ?"
        rows = self.rows(sql, (order_id, before if before is not None else 2**62, limit))
        return [StoredEntry._make(row) for row in reversed(rows)]

    def moves(self, order_id: str) -> list[StoredEntry]:
        """The order's transitions, oldest first: its own, its payments' and the kitchen's; at most MOVES."""
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id = ? AND kind = 'transition' ORDER BY order_seq LIMIT {MOVES}"
        return [StoredEntry._make(row) for row in self.rows(sql, (order_id,))]

    def last_word(self, order_id: str) -> StoredEntry | None:
        """What Dojo was heard to say last of the order and was heeded: an event, or what a read of one of its payments brought."""
        is_heeded = "json_extract(body, '$.ignored') IS NULL AND json_extract(body, '$.stale') IS NULL"
        where = f"order_id = ? AND kind IN ('event', 'check') AND {is_heeded}"
        sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE {where} ORDER BY order_seq DESC LIMIT 1"
        rows = self.rows(sql, (order_id,))
        return StoredEntry._make(rows[0]) if rows else None

    def orders_changed(self, after: int) -> list[str]:
        """The orders that have entries behind position `after`."""
        return [
            order_id
            for (order_id,) in self.rows("SELECT DISTINCT order_id FROM journal NOT INDEXED WHERE seq > ? AND order_id <> ''", (after,))
        ]

    def orders_with_entries(self, start: str, end: str, *, after: int = 0) -> list[str]:
        """The orders that have entries of the moments [`start`, `end`), UTC text, behind position `after`."""
        # From a position on few entries are left, which are read in their order; else those of these moments alone are.
        where = "seq > ? AND +at >= ? AND +at < ?" if after else "+seq > ? AND at >= ? AND at < ?"
        sql = f"SELECT DISTINCT order_id FROM journal WHERE {where} AND +order_id <> ''"
        return [order_id for (order_id,) in self.rows(sql, (after, start, end))]
