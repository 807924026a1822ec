"""Questions about parties and reservations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec

from workflow.booking import TYPES, Booking, Guest, Kind, Standing
from workflow.journal.reads.source import Position, Source

SORTED_BOOKINGS = 2_000
"""At most so many parties or reservations are sorted for one page."""

_guest_decoder = msgspec.json.Decoder(Guest)


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


class BookingReads(Source):
    """Parties and reservations, and their guests."""

    def booking(self, kind: Kind, booking_id: str) -> StoredBooking | None:
        """The party or reservation as it is now; a deleted one is not there."""
        rows = self.rows(f"{_BOOKING} WHERE bookings.id = ? AND kind = ? AND standing <> 'deleted'", (booking_id, kind))
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
        return [self._decoded(row, partial(_stored_booking, wanted.kind)) for row in self.rows(sql, (*values, limit))]

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
            if not self.rows(sql, (wanted.kind, wanted.standing, wanted.from_time, SORTED_BOOKINGS)):
                return by_end
        return "bookings INDEXED BY bookings_by_time"

    def bookings_with_guest(self, before: str) -> list[str]:
        """The ids of parties and reservations that were made before that moment, UTC text, and whose guests are known; oldest first."""
        sql = """
            SELECT id FROM bookings JOIN guests ON booking_id = id WHERE created_at < ? AND data NOT LIKE '{}%' ORDER BY created_at, id
        """
        return [row[0] for row in self.rows(sql, (before,))]

    def erased_booking(self, booking_id: str) -> Booking | None:
        """A party or reservation as it is stored, be it deleted."""
        rows = self.rows("SELECT kind, body FROM bookings WHERE id = ?", (booking_id,))
        return msgspec.json.decode(rows[0][1], type=TYPES[rows[0][0]]) if rows else None


def _stored_booking(kind: Kind, row: tuple[Any, ...]) -> StoredBooking:
    return StoredBooking(msgspec.json.decode(row[0], type=TYPES[kind]), _guest_decoder.decode(row[1]) if row[1] else Guest())


_BOOKING = "SELECT bookings.body, guests.data FROM bookings LEFT JOIN guests ON guests.booking_id = bookings.id"
