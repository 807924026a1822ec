"""SearchOrders and SearchTables as Dojo walks them: both directions, while orders come, are paid and grow old (contract §12)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from zoneinfo import ZoneInfo

import msgspec
import pytest

from adapters.edge.bill_template import read_template
from adapters.edge.strict_json import BadInput
from adapters.edge.wire import Cursor, SearchTablesRequest
from adapters.edge.wire_orders import SearchDineIn, SearchOrdersRequest
from adapters.epos.handlers import Handlers, HandlerSettings
from tests.builders import Venue, a_bill, an_intent
from workflow.bill import Details, DineIn, Personal
from workflow.commands import OpenOrder, SetVenue
from workflow.ports import OrderId

DAY = 86_400
DAYS = 90
SETTINGS = HandlerSettings(
    currency="GBP",
    mode="event",
    search_days=DAYS,
    tables_answer="pages",
    zone=ZoneInfo("Europe/London"),
    bill=read_template(None, "The Corner"),
)


class Search:
    """A venue and Dojo's searches in it."""

    def __init__(self, folder, **settings):
        self.venue = Venue(folder)
        self.handlers = Handlers(self.venue.engine, self.venue.reads, self.venue.clock, replace(SETTINGS, **settings))
        self._numbers = itertools.count(1)

    def open(self, count=1, seconds=1, **where):
        """Open so many orders, each some seconds after the last; the newest one's id."""
        order_id = ""
        for _ in range(count):
            self.venue.clock.move(seconds)
            order_id = f"o{next(self._numbers):03}"
            bill = msgspec.structs.replace(a_bill(), details=Details(order_type="DineIn", dine_in=DineIn(**where)))
            command = OpenOrder(order_id=OrderId(order_id), key=order_id, bill=bill, personal=Personal(), actor="till:t")
            self.venue.engine.handle(command)
        return order_id

    def pay(self, order_id):
        """Pay an order in full."""
        intent_id = f"pi_{order_id}"
        self.venue.event(intent_id, "Captured")
        self.venue.settle({intent_id: an_intent(intent_id, external_id=order_id)})

    def page(self, limit=50, before=None, after=None, payable_only=False, **where):
        cursor = Cursor(limit=limit, before=before, after=after)
        return self.handlers.search_orders(SearchOrdersRequest(dine_in=SearchDineIn(**where), payable_only=payable_only, cursor=cursor))

    def walk(self, direction="after", token=None, between=lambda: None, **asked):
        """All pages from a token on, each as its ids."""
        pages = []
        while True:
            page = self.page(**asked, **({direction: token} if token else {}))
            pages.append(ids(page))
            token = getattr(page, direction)
            if token is msgspec.UNSET:
                return pages
            between()


def ids(page):
    return [order.id for order in page.data]


def joined(pages):
    return [order_id for page in pages for order_id in page]


def numbered(first, last):
    """Ids newest first."""
    return [f"o{number:03}" for number in range(first, last - 1, -1)]


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path)
    yield search
    search.venue.close()


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 9, 10, 100])
def test_a_walk_to_the_oldest_and_back_shows_each_order_once_and_the_same_pages(search, limit):
    search.open(9)

    there = search.walk(limit=limit)
    oldest = search.page(limit=limit)
    while oldest.after is not msgspec.UNSET:
        oldest = search.page(limit=limit, after=oldest.after)
    back = [ids(oldest)] if oldest.before is msgspec.UNSET else [ids(oldest), *search.walk("before", oldest.before, limit=limit)]

    assert joined(there) == numbered(9, 1)
    assert all(len(page) == limit for page in there[:-1])
    assert joined(reversed(back)) == numbered(9, 1)


def test_orders_of_one_moment_come_once_each_in_both_directions(search):
    search.open(9, seconds=0)

    assert joined(search.walk(limit=2)) == numbered(9, 1)
    [last] = search.walk(limit=9)
    end = search.page(limit=1, after=search.page(limit=8).after)
    assert ids(end) == last[-1:]
    assert joined(reversed(search.walk("before", end.before, limit=3))) == numbered(9, 2)


def test_orders_that_come_during_a_walk_shift_no_page(search):
    search.open(9, table_id="tbl_1")

    found = search.walk(limit=2, table_id="tbl_1", between=lambda: search.open(3, table_id="tbl_1"))

    assert joined(found) == numbered(9, 1)


def test_orders_that_come_during_a_walk_back_come_at_its_end_once_each(search):
    search.open(9)
    oldest = search.page(limit=1, after=search.page(limit=8).after)
    late = iter([2, 2])

    found = search.walk("before", oldest.before, limit=3, between=lambda: search.open(next(late, 0)))

    assert joined(reversed(found)) == numbered(13, 2)


def test_no_page_promises_another_that_is_empty(search):
    search.open(6)
    for limit in (1, 2, 3, 4, 6):
        page, seen = search.page(limit=limit), []
        assert page.before is msgspec.UNSET
        while page.after is not msgspec.UNSET:
            seen.append(ids(page))
            page = search.page(limit=limit, after=page.after)
            assert ids(page)
            assert ids(search.page(limit=limit, before=page.before)) == seen[-1]


def test_an_order_that_was_paid_after_its_token_was_given_promises_nothing(search):
    """The order behind the token is not payable any more, and nothing newer or older than the page is."""
    newest = search.open(2)
    after = search.page(limit=1, payable_only=True).after
    search.pay(newest)

    page = search.page(limit=1, after=after, payable_only=True)
    assert (ids(page), page.before) == (["o001"], msgspec.UNSET)

    search.open()
    page = search.page(limit=5, payable_only=True, after=after)
    assert (ids(page), page.before is msgspec.UNSET) == (["o001"], False)
    search.pay("o001")
    page = search.page(payable_only=True, before=page.before)
    assert (ids(page), page.after) == (["o003"], msgspec.UNSET)


@pytest.mark.parametrize("payable_only", [False, True])
@pytest.mark.parametrize(
    "names", [n for size in range(5) for n in itertools.combinations(("table_id", "waiter_id", "party_id", "reservation_id"), size)]
)
def test_filters_are_joined_by_and(search, names, payable_only):
    wanted = dict.fromkeys(names, "yes")
    expected = []
    for given in itertools.product(("yes", "no", None), repeat=2):
        for more in itertools.product(("yes", None), repeat=2):
            where = dict(zip(("table_id", "waiter_id", "party_id", "reservation_id"), (*given, *more), strict=True))
            order_id = search.open(**where)
            if is_paid := len(expected) % 2 == 1:
                search.pay(order_id)
            if all(where[name] == "yes" for name in names) and not (payable_only and is_paid):
                expected.append(order_id)

    assert joined(search.walk(limit=3, payable_only=payable_only, **wanted)) == expected[::-1]


def test_a_token_belongs_to_its_filters(search):
    search.open(5, table_id="tbl_1")
    token = search.page(limit=2, table_id="tbl_1").after

    for others in ({}, {"table_id": "tbl_2"}, {"waiter_id": "tbl_1"}, {"table_id": "tbl_1", "payable_only": True}):
        with pytest.raises(BadInput, match="cursor.after"):
            search.page(after=token, **others)
    with pytest.raises(BadInput, match="cursor.before"):
        search.page(before=token)
    assert ids(search.page(limit=5, table_id="tbl_1", after=token)) == numbered(3, 1)


# The window


def test_orders_older_than_the_window_are_left_out_unless_payable_ones_are_asked_for(search):
    search.open(2)
    search.pay("o001")
    search.venue.clock.move(DAYS * DAY - 1)  # The first was opened a second before the second.
    assert ids(search.page()) == ["o002", "o001"]
    search.venue.clock.move(0.001)
    assert ids(search.page()) == ["o002"]
    search.open()

    assert ids(search.page()) == ["o003"]
    assert ids(search.page(payable_only=True)) == ["o003", "o002"]
    assert [search.handlers.get_order(order_id).id for order_id in ("o001", "o002")] == ["o001", "o002"]


def test_final_orders_within_the_window_are_found(search):
    search.open(2)
    search.handlers.cancel_order("o001")

    assert [(order.id, order.status) for order in search.page().data] == [("o002", "Accepted"), ("o001", "Canceled")]
    assert ids(search.page(payable_only=True)) == ["o002"]


def test_a_walk_goes_on_while_the_window_moves(search):
    search.open(6, seconds=DAY)
    first = search.page(limit=2)
    search.venue.clock.move((DAYS - 3) * DAY)  # o001 and o002 leave.

    second = search.page(limit=2, after=first.after)

    assert (ids(second), second.after) == (["o004", "o003"], msgspec.UNSET)
    assert ids(search.page(limit=2, before=second.before)) == ["o006", "o005"]


def test_a_token_whose_order_left_the_window_leads_to_what_is_still_in_it(search):
    search.open(6, seconds=DAY)
    last = search.page(limit=1, after=search.page(limit=5).after)
    search.venue.clock.move((DAYS - 3) * DAY)

    assert ids(search.page(after=search.page(limit=1).after)) == ["o005", "o004", "o003"]
    page = search.page(limit=3, before=last.before)
    assert (ids(page), page.after) == (["o005", "o004", "o003"], msgspec.UNSET)


def test_a_walk_that_the_window_has_overtaken_ends(search):
    search.open(3)
    after = search.page(limit=1).after
    search.venue.clock.move(2 * DAYS * DAY)

    page = search.page(after=after)
    assert (page.data, page.before, page.after) == ((), msgspec.UNSET, msgspec.UNSET)


def test_a_clock_that_is_behind_the_orders_hides_none(search):
    search.open(2)
    search.venue.clock.move(-3 * DAY)

    assert ids(search.page()) == ["o002", "o001"]


# Tables

TABLES = [
    {
        "id": f"t{number}",
        "name": f"Table {number}",
        "areaId": "in" if number % 2 else "out",
        "waiterIds": ["w1"] if number % 3 else ["w1", "w2"],
    }
    for number in range(1, 10)
]


def tables(search, limit=50, **asked):
    cursor = {name: asked.pop(name) for name in ("before", "after") if name in asked}
    return search.handlers.search_tables(SearchTablesRequest(cursor=Cursor(limit=limit, **cursor), **asked))


@pytest.fixture
def seated(search):
    search.venue.engine.handle(SetVenue(name="tables", value=TABLES, actor="till:t"))
    return search


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "123456789"),
        ({"area_id": "in"}, "13579"),
        ({"waiter_id": "w2"}, "369"),
        ({"area_id": "in", "waiter_id": "w2"}, "39"),
        ({"area_id": "up"}, ""),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_tables_are_found_by_area_and_waiter_page_by_page(seated, asked, found, limit):
    names, tokens, after = "", 0, {}
    while True:
        [page] = tables(seated, limit, **asked, **after)
        names += "".join(table.id[1:] for table in page.data)
        if page.after is msgspec.UNSET:
            break
        after, tokens = {"after": page.after}, tokens + 1
    assert names == found
    assert tokens == max(0, -(-len(found) // limit) - 1)


def test_tables_are_walked_back_too(seated):
    [second] = tables(seated, 3, after=tables(seated, 3)[0].after)
    [first] = tables(seated, 3, before=second.before)

    assert [table.id for table in first.data] == ["t1", "t2", "t3"]
    assert first.before is msgspec.UNSET


def test_the_other_reading_of_the_answer_is_the_page_alone(tmp_path):
    search = Search(tmp_path, tables_answer="page")
    search.venue.engine.handle(SetVenue(name="tables", value=TABLES, actor="till:t"))

    assert [table.id for table in tables(search, 2).data] == ["t1", "t2"]
    search.venue.close()
