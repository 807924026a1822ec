"""Questions about what reached us: messages that were answered before, payment intents without an order, what the till and people said."""

from __future__ import annotations

from typing import NamedTuple, cast

import msgspec

from workflow.entry import Json
from workflow.journal.port import RESOLUTIONS, Receipt, Resolution, Seen
from workflow.journal.reads.source import Source, from_ms

RECENT_REPEATS = 500


class StoredRepeat(NamedTuple):
    """A message that came again so many times after it had been answered, last at `last_at`."""

    source: str
    message_id: str
    times: int
    last_at: str


class StoredParked(NamedTuple):
    """A payment intent whose order nobody knows yet; times are UTC text. `names` is what its read named, "" for nothing yet."""

    payment_intent_id: str
    since: str
    next_at: str
    names: str


class InboxReads(Source):
    """What was said to us, and what came of it where no order shows it."""

    def seen(self, source: str, message_id: str) -> tuple[Seen, Receipt | None] | None:
        """The request with this key that was answered with 2xx before, and its receipt, where it was kept."""
        sql = "SELECT fingerprint, order_id FROM inbox WHERE source = ? AND message_id = ?"
        rows = self.rows(sql, (source, message_id))
        if not rows:
            return None
        seen = Seen.of_row(*rows[0])
        if not seen.order_seq:
            return seen, None
        entry = self.rows("SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", (seen.order_id, seen.order_seq))
        return seen, Receipt(seen.order_id, seen.order_seq, entry[0][0]) if entry else None

    def repeats_of(self, order_id: str) -> list[StoredRepeat]:
        """Which messages about the order came again word for word after they had been answered, and how often."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'repeats'"):
            return []
        sql = f"SELECT source, message_id, times, last_at FROM repeats WHERE order_id = ? ORDER BY last_at DESC LIMIT {RECENT_REPEATS}"
        return [StoredRepeat._make(row) for row in self.rows(sql, (order_id,))]

    def parked(self, limit: int) -> list[StoredParked]:
        """Payment intents that no order explains and that are still asked for, the longest waiting first."""
        sql = """
            SELECT intent_id, since, next_at_ms, coalesce(external_id, dojo_order_id, '') FROM parked INDEXED BY parked_due
            WHERE next_at_ms IS NOT NULL ORDER BY since, intent_id LIMIT ?
        """
        return [StoredParked(intent, since, from_ms(at_ms), named) for intent, since, at_ms, named in self.rows(sql, (limit,))]

    def venue(self, name: str) -> Json:
        """What the till last said about the venue; None where it never did."""
        rows = self.rows("SELECT value FROM venue WHERE name = ?", (name,))
        return cast(Json, msgspec.json.decode(rows[0][0])) if rows else None

    def resolutions(self, date: str) -> list[Resolution]:
        """What people have said of differences in the takings of that day (YYYY-MM-DD), oldest first."""
        return [self._decoded(row, lambda row: Resolution.of_row(*row)) for row in self.rows(RESOLUTIONS, (date,))]
