"""A page of orders costs the same wherever it lies, whichever filters it has and however many orders there are.

The cost is counted in steps of SQLite's virtual machine, which no other process can disturb. What is found is compared with a filter
in Python over the same orders.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.many_orders import BEGIN, fill
from workflow.clock import to_text
from workflow.journal.reads import OrderFilter, Position
from workflow.journal.rows import search_columns

COUNT = 20_000
LIMIT = 20
STEP = 10
"""The progress handler is called after so many steps."""
FACTOR = 1.5
"""What a page may cost at most, in first pages of everything: a comparison more for each filter."""

WHERE = {"table_id": "tbl_busy", "waiter_id": "w_busy", "party_id": "p_17", "reservation_id": "r_17"}


@pytest.fixture(scope="module")
def reads(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("many"), COUNT)


@pytest.fixture(scope="module")
def every_order(reads):
    """All orders newest first, each with the columns that it is searched by."""
    found = [stored.order for stored in reads.orders(OrderFilter(), COUNT + 1)]
    assert len(found) == COUNT
    return [
        (Position(order.created_at, order.id), {**search_columns(order), "flow": order.flow, "dojo_order_id": order.dojo_order_id})
        for order in found
    ]


def steps(reads, ask):
    """What `ask` answers, and how many steps SQLite needed."""
    ask()  # The statement is prepared, the schema read.
    counted = [0]

    def count():
        counted[0] += 1

    connection = reads._database().conn
    connection.set_progress_handler(count, STEP)
    try:
        return ask(), counted[0] * STEP
    finally:
        connection.set_progress_handler(None, STEP)


def matches(wanted, place, columns):
    text = wanted.text
    named = text is None or text in (place.id, columns["dojo_order_id"], columns["reference"], columns["table_id"])
    return (
        all(getattr(wanted, name) in (None, columns[name]) for name in (*WHERE, "state", "flow"))
        and (wanted.from_time or "") <= place.created_at < (wanted.to_time or "9")
        and columns["payable"] >= wanted.payable_only
        and columns["attention"] >= wanted.attention
        and (named or columns["table_id"] in wanted.text_tables)
    )


def asked(wanted):
    names = (*WHERE, "state", "flow", "text", "from_time", "to_time")
    given = [f"{name}={getattr(wanted, name)}" for name in names if getattr(wanted, name) is not None]
    return " ".join([*given, *(name for name in ("payable_only", "attention") if getattr(wanted, name))]) or "everything"


SEARCHES = [
    OrderFilter(**{name: value for name, value in WHERE.items() if name in names}, payable_only=payable_only)
    for size in range(len(WHERE) + 1)
    for names in itertools.combinations(WHERE, size)
    for payable_only in (False, True)
] + [
    OrderFilter(party_id="p_4", payable_only=True),
    OrderFilter(table_id="tbl_1", waiter_id="w_busy"),  # Odd tables have odd numbers: nobody.
    OrderFilter(waiter_id="w_1", payable_only=True),
    OrderFilter(table_id="nowhere"),
]
LISTS = [
    OrderFilter(state=state, attention=attention, text=text)
    for state in (None, "updated", "refunded", "captured")
    for attention in (False, True)
    for text in (None, "tbl_busy", "T-17", "tp_00000000005", "ord_7", "nothing")
]


BEFORE = to_text(BEGIN + timedelta(seconds=30 * COUNT // 40))
"""A tenth of all orders are older."""
BY_FLOW = [
    OrderFilter(state=state, flow=flow, table_id=table, attention=attention, text=text)
    for flow in ("pay_only", "pay_later")
    for state in (None, "updated")
    for table in (None, "tbl_busy")
    for attention in (False, True)
    for text in (None, "T-17", "A-9")
    if not (table and text == "T-17")  # A quarter of all orders: looked up one by one, as no venue has them.
]
BY_TIME = [
    replace(OrderFilter(state=state, flow=flow, table_id=table, text=text), **times)
    for state, flow in ((None, None), ("refunded", "order_and_pay"))
    for table in (None, "tbl_busy")
    for text in (None, "A-9")
    for times in ({"from_time": BEFORE}, {"to_time": BEFORE}, {"from_time": BEFORE, "to_time": to_text(BEGIN + timedelta(hours=10))})
]
BY_NAME = [OrderFilter(text="17", text_tables=("tbl_17", "tbl_busy")), OrderFilter(text="17", text_tables=("tbl_17",), table_id="tbl_busy")]


@pytest.fixture(scope="module")
def first_page(reads):
    """What the first page of everything costs."""
    found, cost = steps(reads, lambda: reads.orders(OrderFilter(), LIMIT))
    assert len(found) == LIMIT
    return cost


@pytest.mark.parametrize("wanted", [*SEARCHES, *LISTS, *BY_FLOW, *BY_TIME, *BY_NAME], ids=asked)
def test_every_page_is_right_and_costs_what_the_first_page_of_everything_costs(reads, every_order, first_page, wanted):
    expected = [place for place, columns in every_order if matches(wanted, place, columns)]
    lists = 1 if wanted.text is None else 2 + len(wanted.text_tables)  # By reference, and by table.
    ceiling = first_page * FACTOR * lists

    oldest = every_order[3 * COUNT // 4][0].created_at
    last = max(0, len(expected) - 1)
    for index in sorted({0, last // 2, last}) if expected else ():
        place = expected[index]
        for options, page in (
            ({}, expected[:LIMIT]),
            ({"after": place}, expected[index + 1 : index + 1 + LIMIT]),
            ({"before": place}, expected[max(0, index - LIMIT) : index]),
            ({"after": place, "since": oldest}, [each for each in expected[index + 1 :] if each.created_at >= oldest][:LIMIT]),
            ({"before": place, "since": oldest}, [each for each in expected[:index] if each.created_at >= oldest][-LIMIT:]),
        ):
            found, cost = steps(reads, lambda options=options: reads.orders(wanted, LIMIT, **options))
            assert [stored.order.id for stored in found] == [place.id for place in page], options
            assert cost <= ceiling, (options, cost, first_page)
    found, cost = steps(reads, lambda: reads.orders(wanted, LIMIT, before=Position("", "")))
    assert [stored.order.id for stored in found] == [place.id for place in expected[-LIMIT:]]
    assert cost <= ceiling
    counted, cost = steps(reads, lambda: reads.count_orders(wanted, LIMIT))
    assert counted == min(len(expected), LIMIT)
    assert cost <= ceiling


def test_a_bound_in_time_leaves_out_what_is_older_and_costs_nothing(reads, every_order, first_page):
    bound = every_order[LIMIT // 2][0].created_at
    newest = [place.id for place, _ in every_order if place.created_at >= bound]

    found, cost = steps(reads, lambda: reads.orders(OrderFilter(), LIMIT, since=bound))

    assert [stored.order.id for stored in found] == newest != []
    assert cost <= first_page


def test_a_scan_would_be_noticed(reads, first_page):
    """What the same page costs without an index that has its order."""
    sql = "SELECT body FROM orders NOT INDEXED WHERE payable = 1 AND table_id = ? ORDER BY created_at DESC, id DESC LIMIT ?"

    _, cost = steps(reads, lambda: reads.rows(sql, ("tbl_busy", LIMIT)))

    assert cost > 20 * first_page
