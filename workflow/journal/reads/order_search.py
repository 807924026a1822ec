"""Which orders are asked for, and the statement that finds them by an index however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from workflow.journal.reads.source import Position
from workflow.journal.schema import ORDER_INDEXES

Condition: TypeAlias = tuple[str, Sequence[object]]
"""A condition in SQL, and its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders: every field that is set must match.

    Created in [`from_time`, `to_time`), UTC text. `text` is a reference, table, order id, Dojo's order id or intent, whole; `text_tables`
    are further tables that it stands for, as people call them by names.
    """

    table_id: str | None = None
    waiter_id: str | None = None
    party_id: str | None = None
    reservation_id: str | None = None
    payable_only: bool = False
    state: str | None = None
    flow: str | None = None
    from_time: str | None = None
    to_time: str | None = None
    attention: bool = False
    text: str | None = None
    text_tables: tuple[str, ...] = ()


def orders_query(
    wanted: OrderFilter, limit: int, *, after: Position | None = None, before: Position | None = None, since: str | None = None
) -> tuple[str, tuple[object, ...]]:
    """The statement behind a page of orders, and its values."""
    direction = "DESC" if before is None else "ASC"
    order_by = f"ORDER BY created_at {direction}, id {direction}"
    ways, values = list[str](), list[object]()
    for way, given in _ways(wanted, _bounds(wanted, after, before, since)):
        ways.append(f"SELECT * FROM ({way} {order_by} LIMIT ?)")
        values += [*given, limit]
    sql = (
        f"SELECT orders.body, personal.data FROM ({' UNION '.join(ways)} {order_by} LIMIT ?) AS found "
        "CROSS JOIN orders ON orders.rowid = found.place LEFT JOIN personal ON personal.order_id = orders.id "
        f"ORDER BY found.created_at {direction}, found.id {direction}"
    )
    return sql, (*values, limit)


def count_query(wanted: OrderFilter, at_most: int) -> tuple[str, tuple[object, ...]]:
    """The statement that counts orders up to a number, and its values."""
    ways, values = list[str](), list[object]()
    for way, given in _ways(wanted, _bounds(wanted)):
        ways.append(f"SELECT * FROM ({way} LIMIT ?)")
        values += [*given, at_most]
    return f"SELECT count(*) FROM ({' UNION '.join(ways)} LIMIT ?)", (*values, at_most)


def _bounds(
    wanted: OrderFilter, after: Position | None = None, before: Position | None = None, since: str | None = None
) -> list[Condition]:
    """Between which moments, or neighbours. Of two bounds on one side SQLite would enter the index at either: the nearer is given."""
    bounds: list[Condition] = []
    if after is not None and (wanted.to_time is None or after.created_at < wanted.to_time):
        bounds.append(("(created_at, id) < (?, ?)", after))
    elif wanted.to_time is not None:
        bounds.append(("created_at < ?", (wanted.to_time,)))
    earliest = max((each for each in (since, wanted.from_time) if each is not None), default=None)
    if before is not None and (earliest is None or before.created_at >= earliest):
        bounds.append(("(created_at, id) > (?, ?)", before))
    elif earliest is not None:
        bounds.append(("created_at >= ?", (earliest,)))
    return bounds


def _ways(wanted: OrderFilter, bounds: list[Condition]) -> Iterator[tuple[str, list[object]]]:
    """Where to read orders from, and the values of that: one index, or for a text everything that it may be."""
    for source, filters in _sources(wanted):
        conditions = [*filters, *bounds]
        where = f"WHERE {' AND '.join(condition for condition, _ in conditions)}" if conditions else ""
        values = [value for _, given in conditions for value in given]
        yield f"SELECT rowid AS place, created_at, id FROM {source} {where}", values


def _sources(wanted: OrderFilter) -> Iterator[tuple[str, list[Condition]]]:
    given = [(column, getattr(wanted, column)) for column in _EQUAL if getattr(wanted, column) is not None]
    switches = {name for name, is_on in (("payable", wanted.payable_only), ("attention", wanted.attention)) if is_on}
    switched: list[Condition] = [(f"{name} = 1", ()) for name in sorted(switches)]
    for found_by in [[]] if wanted.text is None else _indexed(wanted.text, wanted):
        equal = list(dict.fromkeys([*given, *found_by]))
        columns = {column for column, _ in equal}
        index = next(each for each in ORDER_INDEXES if columns.issuperset(each.equal) and switches.issuperset(each.switched_on))
        yield f"orders INDEXED BY {index.name}", [*switched, *_equals(equal)]
    for unique in () if wanted.text is None else _UNIQUE:
        yield "orders", [*switched, *_equals(given), (unique, (wanted.text,))]


def _indexed(text: str, wanted: OrderFilter) -> list[list[tuple[str, str]]]:
    """What a text may be that several orders have: a reference, or a table, unless another one is asked for."""
    tables = [each for each in dict.fromkeys([text, *wanted.text_tables]) if wanted.table_id in (None, each)]
    return [[("reference", text)], *([("table_id", each)] for each in tables)]


def _equals(pairs: Sequence[tuple[str, object]]) -> list[Condition]:
    return [(f"{column} = ?", (value,)) for column, value in pairs]


_EQUAL = ("table_id", "waiter_id", "party_id", "reservation_id", "flow", "state")
_UNIQUE = ("id = ?", "dojo_order_id = ?", "id = (SELECT order_id FROM payments WHERE intent_id = ?)")
