"""Both flows played by hand: a customer's phone and Dojo's panel in the browser, the running service on the other side."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CALM, DESKTOP, PHONE, check_page, follow
from tests.browser.evening import HOSTILE
from tests.contract.running import a_bill, beside_sandbox, eventually, gbp


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """A `service` beside a `sandbox`, with a floor plan: for tests that each take a table of their own."""
    with beside_sandbox(tmp_path_factory.mktemp("by-hand"), VENUE_NAME="The Anchor & Hope", **CALM) as peers:
        peers.service.till.call("PUT", "/till/areas", [{"id": "in", "name": "Inside"}])
        tables = [{"id": f"tbl_{number}", "name": f"Table {number}", "areaId": "in"} for number in range(1, 12)]
        peers.service.till.call("PUT", "/till/tables", [*tables, {"id": "tbl_x", "name": HOSTILE, "areaId": "in"}])
        yield peers


@pytest.fixture
def phone(peers, visitor):
    """A function that opens a customer's phone at a page of the sandbox's."""

    def take(path="/phone", size=PHONE, **options):
        page = visitor(peers.service, role=None, size=size, **options)
        page.goto(peers.sandbox.url + path)
        return page

    return take


def sit_down(page, table):
    page.get_by_label("Table", exact=True).select_option(label=table)
    follow(page.get_by_role("button", name="Sit down"))


def to_the_basket(page, table, **dishes):
    sit_down(page, table)
    follow(page.get_by_role("link", name="Order something"))
    for dish, many in dishes.items():
        page.get_by_label(dish.replace("_", " "), exact=True).fill(str(many))
    follow(page.get_by_role("button", name="To the basket"))


def try_out(page, how):
    page.get_by_text("Try something").click()
    page.get_by_label(how).check()


def ends(page, title):
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def pay(page):
    follow(page.get_by_role("button", name=re.compile("^Pay")))


def newest_order(peers):
    return eventually(lambda: peers.sandbox.flows()[0].order_id)


def shown_on_the_console(console, order_id):
    """The state on the order's own page."""
    console.goto(f"/orders/{order_id}")
    return console.locator(".title .badge").first.inner_text().strip()


def test_order_and_pay_by_hand_from_the_basket_to_updated(peers, phone, visitor):
    page = phone()
    to_the_basket(page, "Table 1", Pizza_with_olives=2, Lunch_menu=1)
    assert page.get_by_text("£49.00").first.is_visible()
    page.get_by_label("10 %").check()
    pay(page)

    ends(page, "Paid. The kitchen has your order.")
    expect(page.get_by_text("£53.90 was taken from your card.")).to_be_visible()
    order_id = newest_order(peers)
    order = peers.service.await_state(order_id, "updated")
    assert (order["totalAmount"], order["paidAmount"], order["tipsAmount"]) == (gbp(4900), gbp(4900), gbp(490))
    assert peers.service.path_of(order_id) == ["created", "authorised", "captured", "reconciled", "updated"]
    page.get_by_role("link", name="See the bill").click()
    expect(page.get_by_role("heading", name="Paid in full")).to_be_visible()
    console = visitor(peers.service)
    assert shown_on_the_console(console, order_id) == "updated"


def test_a_bill_by_its_table_is_paid_in_part_and_then_the_rest_until_updated(peers, phone, visitor):
    peers.service.till.post("/till/orders", a_bill(total=6100, table="tbl_2", id="till-by-hand", displayName="Six friends"))
    page = phone()
    sit_down(page, "Table 2")
    page.get_by_role("link", name="Pay the bill").click()
    expect(page.get_by_text("The Anchor & Hope")).to_be_visible()
    page.get_by_label("An amount", exact=True).check()
    page.get_by_label("Amount to pay").fill("20.00")
    pay(page)
    ends(page, "Paid. Thank you!")
    assert peers.service.await_state("till-by-hand", "updated")["paidAmount"] == gbp(2000)

    page.get_by_role("link", name="See the bill").click()
    expect(page.get_by_text("Left to pay £41.00")).to_be_visible()
    page.get_by_label("Amount to pay").fill("5.00")
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("choose “An amount”")
    page.get_by_label("Another amount").check()
    page.get_by_label("Amount of the tip").fill("4.50")
    pay(page)
    ends(page, "Paid. Thank you!")
    order = eventually(lambda: found if (found := peers.service.order("till-by-hand"))["paidAmount"] == gbp(6100) else None)
    assert (peers.service.await_state("till-by-hand", "updated")["tipsAmount"], order["totalAmount"]) == (gbp(450), gbp(6100))
    assert len(order["payments"]) == 2
    assert shown_on_the_console(visitor(peers.service), "till-by-hand") == "updated"


def test_a_fault_is_injected_on_the_panel_met_and_survived(peers, phone):
    panel = phone("/panel/faults", size=DESKTOP)
    panel.get_by_role("button", name="Spoil these calls").click()
    told = "The till wants to read a payment, the next time: the answer is 500, and nothing is done."
    expect(panel.get_by_role("status")).to_have_text(told)
    expect(panel.get_by_role("row").filter(has_text="The till wants to read a payment").filter(has_text="nothing is done")).to_have_count(1)
    page = phone()
    to_the_basket(page, "Table 3", Iced_tea=1)
    pay(page)
    ends(page, "Paid. The kitchen has your order.")
    peers.service.await_state(newest_order(peers), "updated")

    panel.goto(f"{peers.sandbox.url}/panel/calls")
    spoilt = panel.get_by_role("row").filter(has_text="fault: 500")
    expect(spoilt).to_have_count(1)
    expect(spoilt).to_contain_text("till → Dojo")
    panel.goto(f"{peers.sandbox.url}/panel/faults")
    expect(panel.get_by_text("Nothing: all is well.")).to_be_visible()


def test_an_event_is_sent_again_on_the_panel_and_applied_once(peers, phone):
    page = phone()
    to_the_basket(page, "Table 4", Leek_soup=1)
    pay(page)
    ends(page, "Paid. The kitchen has your order.")
    peers.service.await_state(order_id := newest_order(peers), "updated")
    before = peers.service.path_of(order_id)

    panel = phone("/panel/events", size=DESKTOP)
    row = panel.get_by_role("row").nth(1)
    row.get_by_role("button", name="Send again").click()
    expect(panel.get_by_role("row").nth(1).get_by_text("200").nth(1)).to_be_visible()
    peers.service.await_rest()
    assert peers.service.path_of(order_id) == before


def test_a_declined_card_takes_nothing_and_orders_nothing(peers, phone):
    page, orders = phone(), len(peers.service.auditor.get("/api/orders?limit=100").json["data"])
    to_the_basket(page, "Table 5", Iced_tea=1)
    try_out(page, "The card is declined")
    pay(page)
    ends(page, "Your card was declined")
    expect(page.get_by_text("Nothing was taken from your card. Nothing was ordered.")).to_be_visible()
    assert len(peers.service.auditor.get("/api/orders?limit=100").json["data"]) == orders


def test_a_refused_order_says_what_the_till_said_and_releases_the_hold(peers, phone):
    peers.service.till.call("PUT", "/till/state", {"takingOrders": False})
    try:
        page = phone()
        to_the_basket(page, "Table 6", Iced_tea=2)
        pay(page)
        ends(page, "The venue did not take your order")
        expect(page.get_by_text("The hold of £6.20 on your card was released.")).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text(peers.sandbox.flows()[0].refusal.message)
    finally:
        peers.service.till.call("PUT", "/till/state", {"takingOrders": True})


def test_whoever_closes_the_phone_is_given_back_the_hold_and_the_order_is_cancelled(peers, phone):
    page = phone()
    to_the_basket(page, "Table 7", Iced_tea=1)
    try_out(page, "closes the phone")
    pay(page)
    ends(page, "You left before paying")
    peers.service.await_state(newest_order(peers), "cancelled")


def test_without_scripts_one_orders_now_and_pays_later_while_the_news_is_slow(peers, phone):
    page = phone(java_script_enabled=False)
    to_the_basket(page, "Table 8", Pizza_with_olives=1)
    page.get_by_role("button", name="Order now, pay later").click()
    ends(page, "Ordered. The kitchen has your order.")  # The page asks for itself again.
    page.get_by_role("link", name="See the bill").click()
    page.get_by_text("Try something").click()
    page.get_by_label("The news of the payment is slow").check()
    pay(page)
    expect(page.get_by_role("heading", name="One moment")).to_be_visible()
    ends(page, "Paid. Thank you!")
    peers.service.await_state(newest_order(peers), "updated")


def test_markup_that_the_till_sends_is_inert_on_the_phone_and_on_the_panel(peers, phone):
    item = {"plu": HOSTILE, "name": HOSTILE, "quantity": 1, "amountPerItem": gbp(990), "note": HOSTILE}
    texts = {"reference": HOSTILE, "displayName": HOSTILE, "note": HOSTILE}
    peers.service.till.post("/till/orders", a_bill(total=990, table="tbl_x", id="till-hostile", items=[item]) | texts)
    page, alarms = phone(), []
    page.on("dialog", lambda dialog: alarms.append(dialog.message) or dialog.dismiss())
    sit_down(page, HOSTILE)
    follow(page.get_by_role("link", name="Pay the bill"))
    assert page.get_by_text(HOSTILE).count() >= 3
    pay(page)
    ends(page, "Paid. Thank you!")
    intent_id = peers.sandbox.flows()[0].intent_ids[0]
    for path in (f"/panel/intents/{intent_id}", "/panel", "/panel/calls"):
        page.goto(peers.sandbox.url + path)
        assert page.locator("main script").count() == 0
    assert alarms == []


@pytest.fixture(scope="module")
def played(peers):
    """What addresses are made of: a flow that ended badly, and its payment."""
    peers.service.till.post("/till/orders", a_bill(total=3000, table="tbl_9", id="till-looks"))
    flow = peers.sandbox.pay_only("tbl_9", amount=None, order_id="till-looks", instead_of_capture="decline")
    return {"flow": peers.sandbox.flows()[0].id, "intent": flow.intent_ids[0]}


LOOKS = {
    "sandbox /phone": "/phone",
    "sandbox /phone/table": "/phone/table?table=tbl_9",
    "sandbox /phone/menu": "/phone/menu?table=tbl_9",
    "sandbox /phone/basket": "/phone/basket?table=tbl_9&of-lunch=2&note=quick",
    "sandbox /phone/bill": "/phone/bill?table=tbl_9",
    "sandbox /phone/flows/<flow_id>": "/phone/flows/{flow}?table=tbl_9",
    "sandbox /panel": "/panel",
    "sandbox /panel/events": "/panel/events",
    "sandbox /panel/calls": "/panel/calls",
    "sandbox /panel/faults": "/panel/faults",
    "sandbox /panel/registered": "/panel/registered",
    "sandbox /panel/intents/<intent_id>": "/panel/intents/{intent}",
    "sandbox /panel/flows/<flow_id>": "/panel/flows/{flow}",
}


@pytest.mark.parametrize("route", LOOKS)
def test_a_page_of_the_phone_or_of_the_panel_is_for_everybody(phone, played, route):
    check_page(phone(LOOKS[route].format(**played), size=DESKTOP), route)
