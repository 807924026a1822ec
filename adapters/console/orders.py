"""`/orders`: which orders are there, what is each waiting for, and where is the one that I look for?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import partial
from threading import BoundedSemaphore
from typing import BinaryIO, NamedTuple
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from adapters.console.files import attached
from adapters.console.site import Site
from adapters.edge.cursors import Cursors, Page
from adapters.edge.order_filter import NAMES, OrderQuery, order_query
from adapters.edge.orders import tables_of
from adapters.edge.pages import in_words, span
from adapters.edge.strict_json import BadInput
from adapters.edge.wire import DEFAULT_PAGE, Cursor, TableBody
from workflow.books import day_of
from workflow.declaration import target_of, words
from workflow.errors import JournalUnavailable
from workflow.export import CHUNK_CHARACTERS
from workflow.export_orders import order_file
from workflow.journal.reads import OrderFilter, OrderWait, Position, StoredOrder
from workflow.lifecycle import ORDER
from workflow.order import FLOWS, Order

COUNTED = 1_000
"""More orders than that are told as more."""
DOWNLOADS = 2
"""At once; each keeps a thread busy until it is ready to be sent."""
KINDS = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
AT_REST = frozenset({target_of(ORDER, "update"), *words(ORDER.final)})
"""How long an order has been in such a state concerns nobody."""


class Chip(NamedTuple):
    """A filter that is on, in words, and where the list is without it."""

    words: str
    without: str


class Shown(NamedTuple):
    """An order as the list has it. `since` is when it came into its state, or when it first needed a person; `age` in words, or ""."""

    order: Order
    table: str
    since: str
    age: str
    wait: OrderWait | None


class Listed(NamedTuple):
    """A page of the list, and how many orders there are of the same in `total`, COUNTED where there are more."""

    page: Page[StoredOrder]
    rows: list[Shown]
    total: int


def pages(site: Site) -> Blueprint:
    """The list, and the same as files."""
    blueprint, cursors, room = Blueprint("orders", __name__), Cursors(site.desk.reads.secret()), BoundedSemaphore(DOWNLOADS)

    @blueprint.get("/orders")
    def show() -> Response:
        """Orders by state, flow, table, day and attention, or by any name of theirs; the filter is the address."""
        given = _given()
        if len(given) < len([*request.args.items(multi=True)]) or "date" in given:  # An address to hand on has nothing empty in it.
            return site.to(_address("/orders", _canonical(given)))
        query, tables = order_query(given), tables_of(site.desk.reads)
        listed = _listed(site, cursors, query.filter(site.desk.zone, tables), tables)
        asked = query.parameters()
        return site.page(
            "orders.html",
            by_journal=True,
            listed=listed,
            asked=asked,
            chips=_chips(query, tables),
            newer=_address("/orders", asked | {"before": listed.page.before}) if listed.page.before else "",
            older=_address("/orders", asked | {"after": listed.page.after}) if listed.page.after else "",
            is_newest=not ({"after", "before"} & {*given}),
            newest=_address("/orders", asked),
            counted=COUNTED,
            states=ORDER.states,
            flows=FLOWS,
            tables=tables,
            days=_days(site, asked),
            downloads={form: _address(f"/orders.{form}", asked) for form in KINDS},
        )

    @blueprint.get("/orders.<any(csv, jsonl):form>")
    def download(form: str) -> Response:
        """All orders of the same filter, as a file."""
        wanted = order_query(_given()).filter(site.desk.zone, tables_of(site.desk.reads))
        if not room.acquire(blocking=False):
            raise JournalUnavailable(f"{DOWNLOADS} lists are being written already: try again in a minute")
        try:
            file = order_file(site.desk.reads, wanted, form, site.desk.zone)
        finally:
            room.release()
        return _sent(file, f"orders.{form}", KINDS[form])

    return blueprint


def _given() -> dict[str, str]:
    """What was asked for, without what was left empty in the form."""
    return {name: text for name, text in ((name, value.strip()) for name, value in request.args.items()) if text}


def _canonical(given: Mapping[str, str]) -> dict[str, str]:
    """`date` is short for a day alone. Raises BadInput."""
    if "date" not in given:
        return dict(given)
    if {"from", "to"} & {*given}:
        raise BadInput("date", "expected a day, or from and to, got both")
    try:
        order_query({"from": given["date"]})
    except BadInput as error:
        raise BadInput("date", error.message) from error
    return {**{name: value for name, value in given.items() if name != "date"}, "from": given["date"], "to": given["date"]}


def _address(path: str, parameters: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path


# The list


def _listed(site: Site, cursors: Cursors, wanted: OrderFilter, tables: list[TableBody]) -> Listed:
    """All of one moment, so that nothing on the page contradicts the rest of it."""
    reads = site.desk.reads

    def read(limit: int, after: Position | None, before: Position | None) -> list[StoredOrder]:
        return reads.orders(wanted, limit, after=after, before=before)

    cursor = Cursor(limit=DEFAULT_PAGE, after=request.args.get("after"), before=request.args.get("before"))
    with reads.snapshot():
        page = cursors.page(cursor, wanted, read, lambda stored: Position(stored.order.created_at, stored.order.id))
        ids = [stored.order.id for stored in page.data]
        waits, moved_at, total = reads.waits(ids), reads.moved_at(ids), reads.count_orders(wanted, COUNTED + 1)
    names, now = {table.id: table.name for table in tables}, site.desk.clock.now()
    rows = [_shown(stored.order, names, moved_at.get(stored.order.id, ""), waits.get(stored.order.id), now) for stored in page.data]
    return Listed(page, rows, total)


def _shown(order: Order, names: Mapping[str, str], moved_at: str, wait: OrderWait | None, now: datetime) -> Shown:
    table_id = order.bill.details.dine_in.table_id if order.bill.details.dine_in else None
    since = min((item.since for item in order.attention), default=moved_at or order.created_at)
    age = "" if order.state in AT_REST and not order.attention else span(now, since)
    return Shown(order, names.get(table_id or "", table_id or ""), since, age, wait)


# What is asked for, in words


def _chips(query: OrderQuery, tables: list[TableBody]) -> list[Chip]:
    """Every filter that is on; the days count as one."""
    names = {table.id: table.name for table in tables}
    filters = {
        "search": query.search and f"“{query.search}”",
        "state": query.state and f"state {in_words(query.state)}",
        "flow": query.flow and f"flow {in_words(query.flow)}",
        "table": query.table and f"table {names.get(query.table, query.table)}",
        "from to": _days_in_words(query.first, query.last),
        "attention": "needs attention" if query.attention else None,
    }
    asked = query.parameters()
    return [
        Chip(text, _address("/orders", {name: value for name, value in asked.items() if name not in removed.split()}))
        for removed, text in filters.items()
        if text
    ]


def _days_in_words(first: date | None, last: date | None) -> str | None:
    if first and first == last:
        return f"on {first:%-d %b %Y}"
    told = [f"from {first:%-d %b %Y}" if first else "", f"to {last:%-d %b %Y}" if last else ""]
    return " ".join(each for each in told if each) or None


def _days(site: Site, asked: Mapping[str, str]) -> list[Chip]:
    """The days that people ask for most, each with what else is asked for."""
    today = day_of(site.desk.clock.now(), site.desk.zone).date
    yesterday = today - timedelta(days=1)
    spans = (("Today", today, today), ("Yesterday", yesterday, yesterday), ("Last 7 days", today - timedelta(days=6), today))
    rest = {name: asked[name] for name in NAMES if name in asked and name not in ("from", "to")}
    return [Chip(name, _address("/orders", rest | {"from": first.isoformat(), "to": last.isoformat()})) for name, first, last in spans]


# Downloads


def _sent(file: BinaryIO, name: str, kind: str) -> Response:
    size = file.seek(0, 2)
    file.seek(0)
    response = attached(iter(partial(file.read, CHUNK_CHARACTERS), b""), kind, name, size)
    response.call_on_close(file.close)
    return response
