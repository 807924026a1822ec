"""What a page of orders costs among a million of them: `python -m tests.bench_search [COUNT]`, some minutes and some gigabytes of disk.

The rows are valid and go through the schema; their entries are left out. Times are the least of some, since the machine does other
things; the ratios are to the first page of everything. Then what each index costs an order that is created. Nothing is asserted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.bench import table
from tests.many_orders import LAST_HASH, fill, orders
from workflow.journal.driver import sqlite3
from workflow.journal.reads import OrderFilter, Position, SqliteReads
from workflow.journal.rows import order_row
from workflow.journal.schema import TABLES
from workflow.journal.transaction import INSERT_ORDER, update_order
from workflow.lifecycle import DECLARATIONS

COUNT = 1_000_000
PAGE = 50
ROUNDS = 15
INSERTED = 20_000
INSERT_ROUNDS = 5

SEARCHES = {
    "everything": OrderFilter(),
    "table": OrderFilter(table_id="tbl_busy"),
    "waiter": OrderFilter(waiter_id="w_busy"),
    "table, waiter": OrderFilter(table_id="tbl_busy", waiter_id="w_busy"),
    "payable": OrderFilter(payable_only=True),
    "payable, table": OrderFilter(table_id="tbl_busy", payable_only=True),
    "payable, waiter": OrderFilter(waiter_id="w_busy", payable_only=True),
    "payable, table, waiter": OrderFilter(table_id="tbl_busy", waiter_id="w_busy", payable_only=True),
    "party": OrderFilter(party_id="p_17"),
    "reservation, payable": OrderFilter(reservation_id="r_17", payable_only=True),
    "state": OrderFilter(state="refunded"),
    "attention": OrderFilter(attention=True),
    "text (a reference)": OrderFilter(text="T-17"),
    "text, state": OrderFilter(text="tbl_busy", state="refunded"),
}


def walk(reads: SqliteReads, wanted: OrderFilter) -> tuple[list[Position], float]:
    """Where pages of this search begin, found by walking it in great steps, and the seconds that this took."""
    began, places, after = time.perf_counter(), list[Position](), None
    while found := reads.orders(wanted, 5_000, after=after):
        places += [Position(stored.order.created_at, stored.order.id) for stored in found]
        after = places[-1]
    return places, time.perf_counter() - began


def page_ms(reads: SqliteReads, wanted: OrderFilter, **place: Position) -> float:
    """Milliseconds of one page, the least of some rounds; decoding is part of it."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        reads.orders(wanted, PAGE, **place)
        took.append(time.perf_counter() - began)
    return min(took) * 1_000


def measure_pages(reads: SqliteReads) -> None:
    unit = page_ms(reads, OrderFilter())
    rows = []
    for name, wanted in SEARCHES.items():
        places, _ = walk(reads, wanted)
        middle, last = places[len(places) // 2], places[-min(len(places), PAGE + 1)]
        times = (
            page_ms(reads, wanted),
            page_ms(reads, wanted, after=middle),
            page_ms(reads, wanted, before=middle),
            page_ms(reads, wanted, after=last),
            page_ms(reads, wanted, before=last),
        )
        rows.append((name, f"{len(places):,}", f"{times[0]:.2f}", *(f"{each / unit:.2f}" for each in times)))
    print(f"\nA page of {PAGE} orders; ratios to the first page of everything ({unit:.2f} ms)")
    table(("search", "orders", "first ms", "first", "middle, after", "middle, before", "last, after", "last, before"), rows)


def measure_indexes(folder: Path) -> None:
    """An order's insert and its later change, with all indexes and without each."""
    made = list(orders(*(stored.order for stored in fill(folder, 10).orders(OrderFilter(), 2)), INSERTED))
    names = [line.split()[2] for line in TABLES.splitlines() if line.startswith("CREATE INDEX orders_")]
    least = dict.fromkeys(["", *names, "all"], (float("inf"), float("inf")))
    for _ in range(INSERT_ROUNDS):
        for name in least:
            dropped = names if name == "all" else [name] if name else []
            took = _insert(made, dropped)
            least[name] = min(least[name][0], took[0]), min(least[name][1], took[1])
    whole = least.pop("")
    print(f"\nMicroseconds of an order's insert {whole[0]:.1f} and of a change of its state {whole[1]:.1f}; what each index is of that")
    table(
        ("index", "insert", "change"), [(name, f"{whole[0] - took[0]:+.1f}", f"{whole[1] - took[1]:+.1f}") for name, took in least.items()]
    )


def _insert(made: list, dropped: list[str]) -> tuple[float, float]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(TABLES)
    for name in dropped:
        connection.execute(f"DROP INDEX {name}")
    declared = [(each.name, state) for each in DECLARATIONS for state in each.states]
    connection.executemany("INSERT INTO states(machine, name) VALUES (?, ?)", declared)
    rows = [order_row(order, LAST_HASH) for order in made]
    began = time.process_time()
    connection.executemany(INSERT_ORDER, rows)
    inserted = time.process_time()
    connection.executemany(update_order(("state", "body")), [("updated", "{}", order.id) for order in made])
    changed = time.process_time()
    connection.close()
    return (inserted - began) / len(made) * 1e6, (changed - inserted) / len(made) * 1e6


def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="tillproof-bench-search-") as name:
        folder = Path(name)
        began = time.perf_counter()
        reads = fill(folder, count)
        print(f"{count:,} orders in {time.perf_counter() - began:.0f} s, SQLite {sqlite3.sqlite_version}", flush=True)
        measure_pages(reads)
        _, seconds = walk(reads, OrderFilter())
        print(f"\nA walk over all of them takes {seconds:.0f} s", flush=True)
        (folder / "indexes").mkdir()
        measure_indexes(folder / "indexes")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else COUNT)
