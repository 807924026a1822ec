"""What stands beside the entries and is no history of its own, yet must fit them: personal data, and where tasks wait for their turn."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from workflow.effects import TILL, TellTill
from workflow.errors import short
from workflow.journal.reads import SqliteReads
from workflow.ledger import salted_hash

ERASED = "{}"
"""What is left where personal data were taken back, or overwritten and padded with blanks: then the salt is blank too."""
_ORDERS = """
SELECT 'personal ' || order_id, salt, data, coalesce(json_extract(body, '$.personal_hash'), '')
FROM personal LEFT JOIN orders ON orders.id = order_id ORDER BY order_id
"""
_BOOKINGS = """
SELECT 'guests ' || booking_id, salt, data, coalesce(json_extract(body, '$.personalHash'), '')
FROM guests LEFT JOIN bookings ON bookings.id = booking_id ORDER BY booking_id
"""
_LANES = f"""
SELECT id, lane, CASE WHEN effect = '{TellTill.name}' THEN '{TILL}:' || order_id WHEN order_id <> '' THEN order_id
                      ELSE 'intent:' || intent_id END AS own
FROM outbox WHERE lane <> own ORDER BY id
"""


def asides(reads: SqliteReads) -> Iterator[str]:
    """Where they do not fit. Personal data may be gone, erased; where it is there, it has the salted hash that was journaled."""
    for sql in (_ORDERS, _BOOKINGS):
        for what, salt, data, journaled in reads.stream(sql):
            if data.strip() == ERASED and not (salt.strip() and journaled):
                continue
            if not journaled:
                yield f"{what}: personal data is stored, but no entry has a hash of it"
            elif _hash(salt, data) != journaled:
                yield f"{what}: the personal data is not what was journaled, by its salted hash"
    for task, lane, own in reads.stream(_LANES):
        yield f"outbox {task}: stored in the lane {short(lane)!r}, its own is {short(own)!r}"


def _hash(salt: str, data: str) -> str:
    try:
        found = msgspec.json.decode(data)
        # As we write it and no other way: of a name that comes twice, everybody reads the one or the other.
        return salted_hash(salt, found) if msgspec.json.encode(found) == data.encode() else ""
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError):  # No personal data at all.
        return ""
