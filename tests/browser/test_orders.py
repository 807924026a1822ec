"""The list of orders: each filter, the search, turning pages, and the same list as a file."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, assert_no_barrier, check_page, follow
from tests.browser.evening import FORMULA, HOSTILE
from tests.contract.running import a_bill, running

MANY = 120


def references(page):
    """What stands in the list, from its top."""
    return page.locator("table.orders tbody th").all_inner_texts()


def asked(page):
    return dict(parse_qsl(urlsplit(page.url).query))


def names(venue):
    """The references of the evening's orders, by what they are."""
    return {name: venue.service.order(order_id)["reference"] or order_id for name, order_id in vars(venue.orders).items()}


def test_the_orders_are_listed_newest_first_and_everybody_can_read_them(page, venue):
    page.goto("/orders")

    assert references(page) == [order["reference"] or order["id"] for order in venue.service.auditor.get("/api/orders").json["data"]]
    mismatch = page.get_by_role("row").filter(has=page.get_by_role("link", name="T-19"))
    expect(mismatch.get_by_text("needs attention")).to_be_visible()
    follow(page.get_by_role("link", name="T-17"))
    assert urlsplit(page.url).path == f"/orders/{venue.orders.split}"
    page.goto("/orders")
    check_page(page, "/orders")


def test_each_filter_finds_what_it_says_and_stands_in_the_address(page, venue):
    called = names(venue)
    today = f"{datetime.now(ZoneInfo(venue.service.settings['TIMEZONE'])):%Y-%m-%d}"

    def found_by(fill, **wanted):
        page.goto("/orders")
        fill()
        follow(page.get_by_role("button", name="Find"))
        assert asked(page) == wanted  # Fields that were left empty are not in it.
        found = references(page)
        same = venue.service.auditor.get(f"/api/orders?{urlencode(wanted)}").json["data"]  # Other tests may have made more orders.
        assert found == [order["reference"] or order["id"] for order in same]
        return set(found) & {*called.values()}

    assert found_by(lambda: page.get_by_label("State").select_option("created"), state="created") == {called["open"], HOSTILE}
    assert found_by(lambda: page.get_by_label("Flow").select_option("order_and_pay"), flow="order_and_pay") == {called["paid"]}
    assert found_by(lambda: page.get_by_label("Table", exact=True).fill("tbl_4"), table="tbl_4") == {"T-20"}
    assert found_by(lambda: page.get_by_label("Problems only").check(), attention="true") == {"T-19"}

    def choose(first, last):
        page.get_by_label("From day").fill(first)
        page.get_by_label("To day").fill(last)

    assert found_by(lambda: choose(today, today), **{"from": today, "to": today}) == {*called.values()}
    assert found_by(lambda: choose("2020-02-29", "2020-02-29"), **{"from": "2020-02-29", "to": "2020-02-29"}) == set()
    assert found_by(lambda: page.get_by_label("From day").fill("2020-02-29"), **{"from": "2020-02-29"}) == {*called.values()}


def test_an_order_is_found_by_any_of_its_names(page, venue):
    order = venue.service.order(venue.orders.split)
    for text in ("T-17", "tbl_9", order["id"], order["payments"][0]["paymentIntentId"], f"  {order['id']} "):
        page.goto("/orders")
        page.get_by_label("Reference, table, order id or payment").fill(text)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert references(page) == ["T-17"], text

    page.goto("/orders?search=T-1")
    assert references(page) == []
    expect(page.get_by_text("Search finds whole words only")).to_be_visible()
    check_page(page)


def test_which_filters_are_on_is_said_in_words_and_each_can_be_taken_away(page):
    page.goto("/orders?state=created&table=tbl_12&from=2020-02-29")

    follow(page.get_by_role("link", name="Remove the filter: from 29 Feb 2020"))
    assert asked(page) == {"state": "created", "table": "tbl_12"}
    follow(page.get_by_role("link", name="Remove the filter: state created"))
    assert asked(page) == {"table": "tbl_12"}
    follow(page.get_by_role("link", name="Remove the filter: table tbl_12"))
    assert urlsplit(page.url).query == ""


def test_a_day_alone_may_be_written_as_date_and_the_days_that_people_ask_for_are_links(page):
    page.goto("/orders?date=2026-03-29&state=")
    assert asked(page) == {"from": "2026-03-29", "to": "2026-03-29"}
    expect(page.get_by_text("No order is like that: on 29 Mar 2026.")).to_be_visible()
    follow(page.locator("main").get_by_role("link", name="Today", exact=True))
    assert asked(page)["from"] == asked(page)["to"] > "2026-03-29"
    assert references(page)


LONG = "x" * 256
BAD = ["state=paid", "flow=pay", "from=yesterday", "to=2026-02-30", "date=soon", "attention=maybe", f"search={LONG}", f"table={LONG}"]


def test_a_filter_that_means_nothing_is_refused_by_a_page_that_names_it(page):
    for query in BAD:
        assert page.goto(f"/orders?{query}").status == 400, query
        expect(page.get_by_text(f"{query.partition('=')[0]}: expected")).to_be_visible()


def test_a_span_that_ends_before_it_begins_and_a_token_of_another_list_are_refused(page):
    assert page.goto("/orders?from=2026-03-02&to=2026-03-01").status == 400
    expect(page.get_by_text("to: expected a day from 2026-03-02 on")).to_be_visible()
    assert page.goto("/orders?after=AAAA").status == 400
    assert page.goto("/orders.csv?state=paid").status == 400


def test_a_hostile_order_is_inert_in_the_list_and_in_its_filters(page, venue):
    page.goto("/orders")
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    page.get_by_label("Reference, table, order id or payment").fill(HOSTILE)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert references(page) == [HOSTILE]
    assert page.locator("main script").count() == 0


def reference(number):
    return FORMULA if number == 7 else f"B-{number}"


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A venue with more orders than a page has, and one that a spreadsheet would compute."""
    with running(tmp_path_factory.mktemp("busy"), TIMEZONE="Europe/Athens") as service:
        for number in range(MANY):
            made = a_bill(total=1000 + number, table=f"tbl_{number % 3}", id=f"bill-{number:03}", reference=reference(number))
            assert service.till.post("/till/orders", made).status < 300
        yield service


def turned(page, name):
    follow(page.get_by_role("link", name=name, exact=True))
    return references(page)


def test_pages_are_turned_to_the_oldest_and_back_whatever_comes_meanwhile(busy, visitor):
    page = visitor(busy)
    page.goto("/orders?state=created")
    expect(page.get_by_role("heading", name=f"{MANY} orders")).to_be_visible()

    first = references(page)
    second, third = turned(page, "Older"), turned(page, "Older")
    assert asked(page)["state"] == "created"
    assert page.get_by_role("link", name="Older").count() == 0
    assert_no_barrier(page, "its last page")
    everything = [*first, *second, *third]
    assert (len(first), len(second), len(third)) == (50, 50, 20)
    assert everything == [reference(number) for number in reversed(range(MANY))]
    assert turned(page, "Newer") == second
    assert turned(page, "Newer") == first
    assert page.get_by_role("link", name="Newer").count() == 0


def downloaded(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name).click()
    return waiting.value.path().read_bytes()


def test_a_file_of_the_list_has_all_pages_of_exactly_this_filter(busy, visitor):
    page = visitor(busy, role="auditor")
    page.goto("/orders?table=tbl_1")
    shown = references(page)

    text, again = downloaded(page, "CSV"), downloaded(page, "CSV")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    lines = [json.loads(line) for line in downloaded(page, "JSON Lines").splitlines()]

    assert text == again
    assert [row["reference"].removeprefix("'") for row in rows] == [line["reference"] for line in lines] == shown
    assert FORMULA in shown
    assert f",'{FORMULA}," in text.decode()  # No spreadsheet computes it.
    for row, line in zip(rows, lines, strict=True):
        assert (int(row["total_minor"]), row["total"]) == (line["total_minor"], line["total"])
        assert f"{line['total_minor'] / 100:.2f}" == line["total"]
        assert datetime.fromisoformat(line["created_at"]).replace(microsecond=0) == datetime.fromisoformat(line["created_local"])
        assert line["created_local"][-6:] in {"+02:00", "+03:00"}
    page.goto("/orders")
    assert len(downloaded(page, "JSON Lines").splitlines()) == MANY


def test_an_order_that_waits_says_when_it_is_tried_again(busy, visitor):
    """Dojo is out of reach, so that whatever is to be told waits."""
    page = visitor(busy)
    page.goto("/orders?search=bill-119")
    assert busy.till.post("/till/orders/bill-119/status", {"status": "Preparing"}).status < 300

    cell = page.locator("td[data-label='Next try']")
    expect(cell.locator("time").or_(cell.get_by_text("now"))).to_be_visible()


def test_the_list_works_on_a_phone_without_scripts(busy, visitor):
    page = visitor(busy, size=PHONE, java_script_enabled=False)
    page.goto("/orders")
    assert page.locator("table.orders tbody tr").first.bounding_box()["y"] < PHONE["height"]
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Table", exact=True).fill("tbl_2")
    follow(page.get_by_role("button", name="Find"))

    assert asked(page) == {"table": "tbl_2"}
    assert len(references(page)) == 40
    expect(page.locator("td[data-label='State']").first).to_be_visible()


def test_a_venue_without_orders_says_what_will_be_there(tmp_path, visitor):
    with running(tmp_path) as service:
        page = visitor(service)
        page.goto("/orders")
        expect(page.get_by_text("No orders yet")).to_be_visible()
