"""What all pages share: who may see them, their frame, how they keep fresh, and that everything can be done with keys alone."""

from __future__ import annotations

import itertools
import re

import pytest
from playwright.sync_api import expect

from adapters.console.site import NAVIGATION
from adapters.sandbox import basket_of
from tests.browser.conftest import PHONE, assert_no_barrier, assert_not_wider_than_the_window, check_page, follow, resize, tab_to
from tests.browser.evening import HOSTILE
from tests.contract.running import TOKENS, a_bill, beside_sandbox, eventually, running
from workflow.money import Money

MINUTE = 60
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A service without Dojo, for tests that open bills."""
    with running(tmp_path_factory.mktemp("alone"), VENUE_NAME="The Anchor & Hope") as service:
        yield service


def soon(page):
    """Have the page ask for itself now, as it does when its tab is shown again."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def open_bill(service):
    assert service.till.post("/till/orders", a_bill(id=f"bill-{next(_numbers)}", total=100)).status < 300


def created(page):
    return page.locator(".states-in-words a", has_text="created")


def bills(page):
    """How many the page says are open."""
    return int(created(page).inner_text().removeprefix("created "))


def test_who_is_not_logged_in_is_asked_for_a_token_and_then_led_where_they_wanted_to_go(venue, visitor):
    page = visitor(venue.service, role=None)
    page.goto("/help?from=bookmark")
    assert "/login" in page.url
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Token").fill(TOKENS["auditor"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/help?from=bookmark")


@pytest.mark.parametrize("route", ["/", "/help"])
def test_a_page_of_the_frame_is_for_everybody(page, route):
    page.goto(route)
    assert page.get_by_text("SANDBOX").is_visible()
    check_page(page, route)


def test_the_page_of_a_refusal_is_for_everybody(page):
    page.goto("/nowhere")
    check_page(page)


def test_the_login_page_is_for_everybody(venue, visitor):
    page = visitor(venue.service, role=None)
    page.goto("/login")
    check_page(page, "/login")


def test_today_says_what_is_wrong_what_came_in_and_where_the_orders_are(page, venue):
    alert = page.locator(".alerts li", has_text="More was paid than the bill comes to")
    assert "Table tbl_3" in alert.inner_text()
    alert.get_by_role("link").click()
    page.wait_for_url("**/orders/till-mismatch")
    page.goto("/")
    expect(page.get_by_text("Needs attention (2)")).to_be_visible()
    total = sum(venue.service.order(order)["paidAmount"]["value"] for order in (venue.orders.paid, venue.orders.split))
    assert total > 0
    assert re.search(r"£\d", page.locator(".figures").inner_text())
    links = page.locator("svg.states a")
    assert links.count() == page.locator(".states-in-words a").count()
    updated = page.locator("svg.states a[aria-label^='updated']")
    assert re.fullmatch(r"/orders\?state=updated&date=\d{4}-\d\d-\d\d", updated.get_attribute("href"))
    assert updated.get_attribute("aria-label").replace(": ", " ") == page.locator(".states-in-words a", has_text="updated").inner_text()


def test_money_that_is_not_on_the_till_stands_first_and_whatever_its_table_is_called_is_inert(tmp_path, visitor):  # A7
    with beside_sandbox(tmp_path, VENUE_NAME=HOSTILE) as peers:
        peers.service.till.post("/till/orders", a_bill(total=1023, table="tbl_3", id="overpaid", reference="T-19"))
        peers.sandbox.pay_only("tbl_3")
        paid = peers.sandbox.order_and_pay(basket_of(Money(1023, "GBP"), HOSTILE)).order_id
        for order_id in ("overpaid", paid):
            eventually(lambda order_id=order_id: peers.service.order(order_id)["attention"])
        page = visitor(peers.service)
        first, second = page.locator(".alerts li").all()
        assert first.inner_text().startswith(f"1 order PAID but not on the till: Table {HOSTILE}, £10.24, ")
        assert "grave" in first.get_attribute("class")
        assert second.inner_text().startswith("More was paid than the bill comes to. Table tbl_3")
        assert page.locator(".venue").inner_text() == HOSTILE
        assert page.locator("main script").count() == 0
        check_page(page)
        first.get_by_role("link").click()
        page.wait_for_url(f"**/orders/{paid}")


def test_who_follows_a_link_from_elsewhere_is_still_logged_in_and_another_sites_form_does_nothing(page):  # A6
    own = page.url
    page.route(
        "http://chat.example/",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"<a href='{own}help'>look</a><form method='post' action='{own}logout'><button>win</button></form>",
        ),
    )
    page.goto("http://chat.example/")
    page.get_by_role("link", name="look").click()
    expect(page.get_by_role("heading", name="Help", exact=True)).to_be_visible()
    page.goto("http://chat.example/")
    page.get_by_role("button", name="win").click()
    expect(page.get_by_role("heading", name="That is not yours to do")).to_be_visible()
    page.goto("/help")
    assert page.get_by_role("button", name="Log out").is_visible()


def test_with_javascript_off_one_logs_in_looks_and_logs_out_and_the_way_back_shows_nothing(venue, visitor):
    page = visitor(venue.service, java_script_enabled=False)
    follow(page.get_by_role("button", name="Show UTC"))
    follow(page.get_by_role("button", name="Show venue time"))
    assert page.get_by_role("button", name="Show UTC").is_visible()
    follow(page.get_by_role("button", name="Log out"))
    page.go_back()
    expect(page.get_by_label("Token")).to_be_visible()
    assert not page.get_by_role("heading", name="Today").is_visible()


# -- keys


def test_with_keys_alone_one_logs_in_reaches_every_page_and_logs_out(venue, visitor):
    page = visitor(venue.service, role=None)
    page.goto("/login")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKENS["operator"])
    with page.expect_navigation(url=re.compile(r"/$")):
        page.keyboard.press("Enter")
    for place in NAVIGATION:
        tab_to(page, page.locator(f"nav.frame a[href='{place.path}']"))
    page.goto("/help")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.goto("/help")
    tab_to(page, page.get_by_role("button", name="Log out"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")


def test_single_keys_go_through_rows_and_help_and_can_be_switched_off_for_good(alone, visitor):
    page = visitor(alone)
    page.keyboard.press("?")
    page.wait_for_url("**/help#keys")
    page.get_by_role("button", name="Switch them off").click()
    expect(page.get_by_role("button", name="Switch them on")).to_be_visible()
    page.goto("/")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.press("?")
    follow(page.get_by_role("button", name="Log out"))
    assert not [url for url in asked if "/help" in url]
    page.get_by_label("Token").fill(TOKENS["operator"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(re.compile(r"/$"))
    assert page.locator("script[src*='keys.js']").count() == 0


def test_j_and_k_move_between_rows_and_slash_searches(page):
    rows = page.locator("main li[data-row] a")
    page.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("/")
    page.wait_for_url("**/orders")


# -- keeping fresh


def test_a_page_takes_over_what_changed_and_leaves_focus_scroll_and_details_as_they_were(alone, visitor):
    page = visitor(alone, size={"width": 1280, "height": 400})
    before = bills(page)
    page.locator("#picture summary").click()
    page.evaluate("document.querySelector('#picture').dataset.mark = 'same'; window.scrollTo(0, 60)")
    created(page).focus()
    scrolled = page.evaluate("window.scrollY")
    open_bill(alone)
    soon(page)
    expect(created(page)).to_have_text(f"created {before + 1}")
    expect(created(page)).to_be_focused()
    assert page.locator("#picture").get_attribute("open") is None
    assert page.evaluate("window.scrollY") == scrolled


def test_what_somebody_writes_or_has_selected_is_not_lost_and_news_waits_until_they_ask(alone, visitor):
    page = visitor(alone)
    before = bills(page)
    page.evaluate(
        """() => { const field = document.createElement("textarea"); document.getElementById("page").append(field); field.focus(); }"""
    )
    page.keyboard.type("because")
    open_bill(alone)
    soon(page)
    expect(page.locator("#stale")).to_contain_text("Something changed")
    assert page.locator("main textarea").input_value() == "because"
    assert bills(page) == before
    page.get_by_role("button", name="Show it now").click()
    expect(created(page)).to_have_text(f"created {before + 1}")
    expect(page.locator("#stale")).to_be_hidden()
    page.locator("h2", has_text="Calls").select_text()
    open_bill(alone)
    soon(page)
    expect(page.locator("#stale")).to_contain_text("Something changed")
    page.evaluate("getSelection().removeAllRanges()")
    soon(page)
    expect(created(page)).to_have_text(f"created {before + 2}")
    expect(page.locator("#stale")).to_be_hidden()


def test_a_page_that_cannot_keep_up_says_since_when_and_says_so_when_it_can_again(alone, visitor):
    page = visitor(alone)
    page.route("**/", lambda route: route.fulfill(status=429, body=""))
    soon(page)
    expect(page.locator("#stale")).to_contain_text(re.compile(r"Not updated since \d\d:\d\d"))
    page.unroute("**/")
    soon(page)
    expect(page.locator("#stale")).to_contain_text(re.compile(r"Connected again at \d\d:\d\d"))


def test_a_page_that_asks_again_names_what_it_has(alone, visitor):
    page, told = visitor(alone), set()
    page.on("response", lambda answer: told.add(answer.headers.get("etag")) if answer.request.resource_type == "fetch" else None)
    with page.expect_response(lambda answer: answer.request.resource_type == "fetch"):
        soon(page)
    with page.expect_request(lambda asked: asked.headers.get("if-none-match", "") in told):
        soon(page)  # Or else by itself, some seconds later, where it is busy with the answer before.


def test_a_page_asks_nothing_in_a_hidden_tab(alone, visitor):
    page, asked = visitor(alone), []
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.away ?? true })")
    page.clock.install()
    page.goto("/")
    page.on("request", lambda request: asked.append(request.url) if request.resource_type == "fetch" else None)
    page.clock.pause_at(page.evaluate("Date.now() / 1000") + MINUTE)  # From here on no time passes but what is told to.
    assert asked == []
    page.evaluate("window.away = false")
    with page.expect_response(page.url):
        soon(page)
    page.evaluate("window.away = true")
    soon(page)
    page.clock.run_for(MINUTE * 1000)
    assert asked == [page.url]


def test_a_page_whose_session_ended_leads_to_the_login_but_never_takes_away_what_was_written(alone, visitor):
    page = visitor(alone)
    page.evaluate(
        """() => { const field = document.createElement("textarea"); document.getElementById("page").append(field); field.focus(); }"""
    )
    page.keyboard.type("because")
    page.context.clear_cookies()  # Not before something is written: a page that asks for itself in between would be gone.
    soon(page)
    expect(page.get_by_role("link", name="Log in again")).to_be_visible()
    assert page.locator("main textarea").input_value() == "because"
    page.evaluate("document.querySelector('main textarea').remove()")
    soon(page)
    page.wait_for_url("**/login?next=*")


# -- shapes


def test_on_paper_there_is_no_navigation_and_nothing_is_cut_off(page, venue):
    page.emulate_media(media="print")
    assert not page.locator("nav.frame").is_visible()
    assert not page.get_by_role("button", name="Log out").is_visible()
    assert page.get_by_role("heading", name="Takings so far").is_visible()
    assert page.get_by_text(f"Times are {venue.service.settings['TIMEZONE']}").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.querySelector('.badge.good, .notice')).backgroundColor") != "rgb(16, 41, 26)"
    page.emulate_media(media="screen", color_scheme="light")


def test_on_a_phone_the_header_takes_two_lines(page):
    resize(page, PHONE)
    tops = page.locator("header.frame > *").evaluate_all(
        "all => all.map((each) => each.getBoundingClientRect()).map((box) => Math.round((box.top + box.bottom) / 20))"
    )
    assert len(set(tops)) == 2, tops


def test_the_page_without_a_token_to_log_in_with_is_for_everybody_too(tmp_path, visitor):
    with running(tmp_path, TOKENS="") as service:
        page = visitor(service, role=None, size=PHONE)
        page.goto("/login")
        assert page.get_by_text("TILLPROOF_TOKENS=operator:NAME:SECRET").is_visible()
        assert_no_barrier(page, "on a phone")
        assert_not_wider_than_the_window(page)
