"""Questions to a SQLite journal: read-only connections of their own, short transactions, never the writer's.

`SqliteReads` is what callers hold. Its questions stand by their subject in the files beside this one; all ask through `source.Source`.
"""

from workflow.journal.reads.attention import AttentionReads, StoredAttention
from workflow.journal.reads.bookings import SORTED_BOOKINGS, BookingFilter, BookingReads, StoredBooking
from workflow.journal.reads.entries import ENTRY_COLUMNS, SLICE, EntryReads, StoredEntry
from workflow.journal.reads.inbox import InboxReads, StoredParked, StoredRepeat
from workflow.journal.reads.order_search import OrderFilter, orders_query
from workflow.journal.reads.orders import OrderReads, OrderWait, StoredOrder
from workflow.journal.reads.outbox import OutboxReads, StoredFailure, StoredTaskRow
from workflow.journal.reads.signatures import SignatureReads
from workflow.journal.reads.source import Position, TimeLimit, from_ms

__all__ = [
    "ENTRY_COLUMNS",
    "SLICE",
    "SORTED_BOOKINGS",
    "BookingFilter",
    "OrderFilter",
    "OrderWait",
    "Position",
    "SqliteReads",
    "StoredAttention",
    "StoredBooking",
    "StoredEntry",
    "StoredFailure",
    "StoredOrder",
    "StoredParked",
    "StoredRepeat",
    "StoredTaskRow",
    "TimeLimit",
    "from_ms",
    "orders_query",
]


class SqliteReads(OrderReads, BookingReads, EntryReads, OutboxReads, InboxReads, AttentionReads, SignatureReads):
    """Answers from one journal file; one connection a thread. Raises JournalUnavailable when the file cannot be read, JournalDamaged.

    A question that takes longer than `limit` is broken off with JournalUnavailable: as long as it reads, the WAL can only grow.
    `on_damage` hears of each answer that showed the file to be damaged. With `is_shared` there is one connection for all threads, which
    take turns, and `close` lets go of it.
    """
