"""Which orders are asked for: the same parameters everywhere, days of the venue, tables by id or name."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from adapters.edge.order_filter import order_query
from adapters.edge.strict_json import BadInput
from adapters.edge.wire import TableBody
from workflow.journal.reads import OrderFilter

LONDON = ZoneInfo("Europe/London")
TABLES = [
    TableBody(id="tbl_1", name="12"),
    TableBody(id="tbl_2", name="Snug", area_id="bar"),
    TableBody(id="tbl_3", name="snug", area_id="garden"),
    TableBody(id="12", name="Window"),
]


def asked(**given):
    names = {"first": "from", "last": "to"}
    return order_query({names.get(name, name): value for name, value in given.items()}).filter(LONDON, TABLES)


def test_nothing_that_is_asked_for_is_every_order():
    assert asked() == asked(search="", table="", attention="false") == OrderFilter()


@pytest.mark.parametrize(
    ("days", "from_time", "to_time"),
    [
        (("2026-03-29", "2026-03-29"), "2026-03-29T00:00:00.000Z", "2026-03-29T23:00:00.000Z"),  # Clocks put forward: 23 hours.
        (("2026-10-25", "2026-10-25"), "2026-10-24T23:00:00.000Z", "2026-10-26T00:00:00.000Z"),  # Put back: 25.
        (("2026-07-03", "2026-07-04"), "2026-07-02T23:00:00.000Z", "2026-07-04T23:00:00.000Z"),
    ],
)
def test_days_are_whole_days_of_the_venue_the_last_one_included(days, from_time, to_time):
    assert asked(first=days[0], last=days[1]) == OrderFilter(from_time=from_time, to_time=to_time)


def test_a_table_is_meant_by_its_id_or_else_by_its_name():
    assert asked(table="tbl_1").table_id == "tbl_1"
    assert asked(table="12").table_id == "12"  # An id comes before a name.
    assert asked(table="WINDOW").table_id == "12"
    assert asked(table="gone").table_id == "gone"
    with pytest.raises(BadInput, match=r"^table: expected the id of one of the tables called .*tbl_2, tbl_3$"):
        asked(table="Snug")


def test_a_text_is_every_table_that_is_called_so():
    assert asked(search="Snug") == OrderFilter(text="Snug", text_tables=("tbl_2", "tbl_3"))
    assert asked(search="T-17") == OrderFilter(text="T-17")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"state": "paid"}, "state"),
        ({"flow": "Pay-only"}, "flow"),
        ({"from": "3 July"}, "from"),
        ({"from": "20260703"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"to": "1999-12-31"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to"),
        ({"attention": "yes"}, "attention"),
        ({"search": "x" * 256}, "search"),
        ({"table": "x" * 256}, "table"),
    ],
)
def test_what_means_nothing_is_refused_by_its_name(given, field):
    with pytest.raises(BadInput) as refused:
        order_query(given)

    assert refused.value.field == field


def test_what_is_asked_for_is_written_again_without_what_is_not():
    given = {"search": "T-17", "state": "created", "flow": "pay_only", "table": "12", "from": "2026-07-03", "attention": "true"}

    assert order_query(given).parameters() == given
    assert order_query(given | {"attention": "1"}) == order_query(given)
    assert order_query({}).parameters() == {}
