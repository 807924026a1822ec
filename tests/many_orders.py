"""A journal's table of orders filled with as many as asked for, without their entries: what a search meets after years."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from tests.builders import Venue, an_intent
from workflow.bill import Bill, Details, DineIn
from workflow.clock import to_text
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads
from workflow.journal.rows import order_row
from workflow.journal.schema import ORDER_INDEXES, create_index
from workflow.journal.transaction import INSERT_ORDER
from workflow.order import Attention, Order
from workflow.ports import OrderId

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
LAST_HASH = "0" * 64
CACHE_KIB = 200_000
OLD = 100
"""Of so many orders the oldest one is payable, needs somebody, or is refunded: what is rare lies far from the newest page."""


def fill(folder: Path, count: int) -> SqliteReads:
    """A journal that has `count` orders of a busy table and many others, four in a moment."""
    venue = Venue(folder)
    venue.open("open")
    venue.create("paid")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    made = orders(venue.order("open"), venue.order("paid"), count)
    venue.close()
    connection = sqlite3.connect(folder / "tillproof.db", isolation_level=None)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN IMMEDIATE")
    for index in ORDER_INDEXES:
        connection.execute(f"DROP INDEX {index.name}")
    connection.execute("DELETE FROM attention")
    connection.execute("DELETE FROM payments")
    connection.execute("DELETE FROM orders")
    connection.executemany(INSERT_ORDER, (order_row(order, LAST_HASH) for order in made))
    for index in ORDER_INDEXES:  # Made in one go, which is much faster than entry by entry in many places.
        connection.execute(create_index(index))
    connection.execute("COMMIT")
    connection.close()
    return venue.reads


def orders(open_order: Order, paid_order: Order, count: int) -> Iterator[Order]:
    """Oldest first. A party has six orders, and every other party a reservation; one order in three is at one table."""
    for number in range(count):
        at = to_text(BEGIN + timedelta(seconds=30 * (number // 4)))
        is_old, party = number < count // OLD, number // 6
        where = DineIn(
            table_id="tbl_busy" if number % 3 == 0 else f"tbl_{number % 60}",
            waiter_id="w_busy" if number % 2 == 0 else f"w_{number % 12}",
            party_id=f"p_{party}",
            reservation_id=f"r_{party}" if party % 2 else None,
        )
        bill = replace_bill(open_order, where, "T-17" if number % 4 == 0 else f"A-{number % 1000}")
        template = open_order if (is_old and number % 2 == 0) or number % 5_000 == 1 else paid_order
        yield replace(
            template,
            id=OrderId(f"tp_{number:011x}"),
            dojo_order_id=f"ord_{number}",
            bill=bill,
            state="refunded" if is_old and number % 5 == 1 else template.state,
            attention=(Attention(code="OVERPAID", since=at, detail="too much"),) if is_old and number % 3 == 0 else (),
            created_at=at,
            updated_at=at,
        )


def replace_bill(order: Order, where: DineIn, reference: str) -> Bill:
    """The order's bill at another place."""

    return msgspec.structs.replace(order.bill, details=Details(order_type="DineIn", dine_in=where), reference=reference)
