"""Orders as text for other programs: a line an order, newest first, in CSV or JSON Lines; the same bytes of the same journal anywhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import BinaryIO, TypeAlias
from zoneinfo import ZoneInfo

from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.export import csv_line, encoded
from workflow.journal.reads import OrderFilter, Position, SqliteReads
from workflow.ledger import canonical
from workflow.money import Money
from workflow.order import Order

PAGE = 500
"""So many orders are held in memory at once."""

Value: TypeAlias = "str | int | list[str] | None"


def order_file(reads: SqliteReads, wanted: OrderFilter, form: str, zone: ZoneInfo, limit: int | None = None) -> BinaryIO:
    """The lines as UTF-8 in a file without a name, to be read from its beginning: however slowly that is done, it holds up nothing.

    Raises JournalUnavailable where the disk has no room for it.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(tempfile.TemporaryFile())
            for _, text in encoded(order_lines(reads, wanted, form, zone, limit)):
                file.write(text)
            file.seek(0)
        except OSError as error:
            raise JournalUnavailable(f"no room for the orders in {tempfile.gettempdir()}: {error.strerror}") from error
        opened.pop_all()  # It is the caller's now.
    return file


def order_lines(reads: SqliteReads, wanted: OrderFilter, form: str, zone: ZoneInfo, limit: int | None = None) -> Iterator[str]:
    """The orders as they are at the first line, whatever changes meanwhile, each with its end; CSV begins with the names of the columns.

    `form` is one of `export.FORMATS`, `limit` how many at most. Money is in minor units (`paid_minor`) and as people write it (`paid`,
    `48.20`), times are UTC and, `_local`, the venue's by `zone`.
    """
    if form == "csv":
        yield csv_line(COLUMNS)
    with reads.snapshot():
        for order in _orders(reads, wanted, limit):
            values = _values(order, zone)
            yield csv_line(map(_plain, values)) if form == "csv" else canonical(dict(zip(COLUMNS, values, strict=True))) + "\n"


def _orders(reads: SqliteReads, wanted: OrderFilter, limit: int | None) -> Iterator[Order]:
    after, left = None, limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        found = [stored.order for stored in reads.orders(wanted, size, after=after)]
        yield from found
        if len(found) < size:
            return
        after, left = Position(found[-1].created_at, found[-1].id), None if left is None else left - size


COLUMNS = (
    *("order_id", "dojo_order_id", "reference", "table_id", "flow", "state", "kitchen", "attention", "currency"),
    *("total_minor", "total", "paid_minor", "paid", "tips_minor", "tips", "payment_intent_ids"),
    *("created_at", "created_local", "updated_at", "updated_local"),
)


def _values(order: Order, zone: ZoneInfo) -> list[Value]:
    dine_in = order.bill.details.dine_in
    return [
        *(
            order.id,
            order.dojo_order_id,
            order.bill.reference,
            dine_in.table_id if dine_in else None,
            order.flow,
            order.state,
            order.status,
        ),
        [*dict.fromkeys(item.code for item in order.attention)],
        order.currency,
        *_money(order.total),
        *_money(order.paid),
        *_money(order.tips),
        [*order.payments],
        *_times(order.created_at, zone),
        *_times(order.updated_at, zone),
    ]


def _money(sum_: Money) -> tuple[int, str]:
    return sum_.value, sum_.decimal()


def _times(at: str, zone: ZoneInfo) -> tuple[str, str]:
    try:
        return at, datetime.fromisoformat(at).astimezone(zone).isoformat(timespec="seconds")
    except (ValueError, OverflowError) as error:
        raise JournalDamaged(f"{at[:40]!r} is not a time as the journal writes it") from error


def _plain(value: Value) -> str | int:
    """What a cell has: several values with a space between, nothing for none."""
    return "" if value is None else " ".join(value) if isinstance(value, list) else value
