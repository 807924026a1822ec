"""One order's page: why it is so, what is next, the way that it took, and everything that happened to it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters import tillproof_verify
from adapters.console.order import PAGE_ENTRIES
from tests.browser.conftest import check_page, follow
from tests.browser.evening import HOSTILE
from tests.contract.running import TOKENS, Client, a_bill, an_order, eventually
from workflow.journal.keys import load_key


def lead(page):
    return page.get_by_role("region", name="Why and next").inner_text()


def section(page, name):
    return page.locator("section.card", has=page.get_by_role("heading", name=name, exact=True))


def steps(page):
    """(number, state) of the order's path, as the list below the picture tells it."""
    items = section(page, "The way it took").locator("ol.path > li")
    return [(int(item.get_attribute("value")), item.locator("strong").inner_text()) for item in items.all()]


@pytest.fixture(scope="module")
def asked(venue):
    """The console by plain HTTP, logged in as an operator or as an auditor."""

    def enter(role):
        login = Client(venue.service.ports[1], None)
        body = f"token={TOKENS[role]}".encode()
        reply = login.call("POST", "/login", body, content_type="application/x-www-form-urlencoded")
        cookie = reply.headers["set-cookie"].partition(";")[0]
        return lambda path: login.get(path, cookie=cookie)

    return enter


def test_an_order_says_why_and_next_and_its_path_is_the_journals(page, venue):
    page.goto(f"/orders/{venue.orders.paid}")
    assert "£51.70 is paid. Dojo took our news of the money at " in lead(page)
    assert "Nothing more to do." in lead(page)
    path = venue.service.path_of(venue.orders.paid)
    assert steps(page) == list(enumerate(path, start=1))
    now = page.locator("svg.states .node.now").first
    assert now.locator("text").all_text_contents() == [path[-1], "now"]
    assert now.locator("rect").first.get_attribute("stroke-width") == "4"
    taken = " ".join(section(page, "The way it took").locator("svg .label.taken").all_text_contents())
    assert sorted(map(int, re.findall(r"\((\d+)\)", taken))) == list(range(1, len(path) + 1))
    check_page(page, "/orders/<order_id>")


def test_an_event_that_came_twice_and_the_kinds_of_rows_are_told(page, venue):
    page.goto(f"/orders/{venue.orders.paid}")
    table = section(page, "Timeline").locator("table")
    assert "seen twice, applied once" in table.inner_text()
    seqs = {entry["seq"] for entry in venue.service.entries(venue.orders.paid)}
    assert {int(link.inner_text()) for link in table.locator("a[href^='/journal/']").all()} <= seqs
    assert "£51.70 + £0.00 tip" in section(page, "Payments").inner_text()
    assert "Robin Sandbox" in section(page, "The bill").inner_text()
    follow(page.get_by_role("link", name="Full", exact=True))
    for seq in seqs:
        assert page.locator(f"#entry-{seq}").count() == 1
    follow(page.get_by_role("link", name="JSON"))
    assert {json.loads(text)["seq"] for text in section(page, "Timeline").locator("pre").all_inner_texts()} == seqs
    follow(page.get_by_role("link", name="Compact"))
    follow(page.get_by_role("link", name="Problems only"))
    assert "Nothing went wrong." in section(page, "Timeline").inner_text()


def test_retries_are_one_row_with_each_attempt(page, venue):
    page.goto(f"/orders/{venue.orders.retried}?problems=1")
    row = section(page, "Timeline").locator("tr", has_text="read the payment at Dojo ×2")
    row.get_by_text("2 attempts").click()
    told = row.locator("details li").all_inner_texts()
    assert "500" in told[0]
    assert told[1].endswith("Captured")


def test_what_needs_a_person_comes_first_and_leads_to_what_an_operator_may_do(page, venue, visitor):
    page.goto(f"/orders/{venue.orders.mismatch}")
    assert "£10.24 of £10.23 is paid" in lead(page)
    action = page.get_by_role("link", name="Mark as given back")
    assert action.get_attribute("href") == f"/orders/{venue.orders.mismatch}/resolve?action=mark_given_back&code=OVERPAID"
    check_page(page)
    auditor = visitor(venue.service, role="auditor")
    auditor.goto(f"/orders/{venue.orders.mismatch}")
    assert auditor.get_by_role("link", name="Mark as given back").count() == 0


def test_a_split_bill_shows_each_payment_with_a_way_of_its_own(page, venue):
    page.goto(f"/orders/{venue.orders.split}")
    payments = section(page, "Payments")
    intents = [payment["paymentIntentId"] for payment in venue.service.order(venue.orders.split)["payments"]]
    assert len(intents) == 2
    for intent_id in intents:
        payments.get_by_text(f"The way of payment {intent_id}").click()
    moves = [entry for entry in venue.service.entries(venue.orders.split) if entry["machine"].startswith("payment@")]
    for number, intent_id in enumerate(intents, start=1):
        shown = payments.locator(f"#way-{number} ol.path > li > strong").all_inner_texts()
        assert shown == [entry["to_state"] for entry in moves if entry["payment_intent_id"] == intent_id]


def test_an_unpaid_bill_says_that_it_waits_for_a_customer_and_how_much_is_due(page, venue):
    page.goto(f"/orders/{venue.orders.open}")
    assert "Waiting for a customer to pay £48.20." in lead(page)
    assert "Nobody holds this bill." in section(page, "Lock").inner_text()


def test_the_past_is_named_so_and_shows_the_order_as_it_was(page, venue):
    entries = venue.service.entries(venue.orders.paid)
    then = next(entry for entry in entries if entry["to_state"] == "authorised" and entry["machine"].startswith("order@"))
    page.goto(f"/orders/{venue.orders.paid}?at={then['seq']}")
    assert "The past." in page.locator(".past").inner_text()
    assert steps(page)[-1][1] == "authorised"
    assert page.get_by_role("link", name="Erase personal data").count() == 0
    follow(page.get_by_role("link", name="The order as it is now"))
    assert steps(page)[-1][1] == "updated"


def test_the_downloaded_proof_holds_for_whoever_has_the_public_key(page, venue, tmp_path):
    page.goto(f"/orders/{venue.orders.paid}")
    with page.expect_download() as caught:
        page.get_by_role("link", name="Download the proof").click()
    assert caught.value.suggested_filename == f"{venue.orders.paid}-proof.json"
    caught.value.save_as(tmp_path / "proof.json")
    key = load_key(venue.service.folder / "tillproof.db.key").public_key()
    (tmp_path / "venue.pub").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert tillproof_verify.main([str(tmp_path / "proof.json"), "--key", str(tmp_path / "venue.pub")]) == 0


def test_downloads_are_files_and_pictures_show_the_path(venue, asked):
    ask = asked("auditor")
    for path, kind, holds in (
        ("diagram.svg", "image/svg+xml", "update (5)"),
        ("diagram.mmd", "text/plain", "update (5)"),
        ("diagram.dot", "text/plain", "update (5)"),
        ("receipts", "application/json", "tillproof-receipt/1"),
    ):
        reply = ask(f"/orders/{venue.orders.paid}/{path}")
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, kind)
        assert reply.headers["content-disposition"].startswith("attachment; filename=")
        assert holds in reply.body.decode()


def test_markup_in_an_order_is_text_everywhere(page, venue):
    for query in ("", "?view=full", "?view=json"):
        page.goto(f"/orders/{venue.orders.hostile}{query}")
        assert page.locator("main script").count() == 0
        assert HOSTILE in page.locator("main").inner_text()
    check_page(page)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("nobody", 404, "There is no order nobody."),
        ("nobody/proof", 404, "There is no order nobody."),
        ("till-open/diagram.exe", 404, "mmd, svg, dot"),
        ("till-open?at=0", 400, "a position in the journal"),
        ("till-open?at=999999999", 400, "where the journal ends"),
        ("till-open?view=%3Cb%3E", 400, "expected one of compact, full, json"),
        ("till-open?problems=yes", 400, "expected 1 or nothing"),
        ("till-open?before=-1", 400, "a position in the journal"),
    ],
)
def test_what_is_not_there_or_cannot_be_read_is_a_page_that_says_so(asked, path, status, told):
    reply = asked("auditor")(f"/orders/{path}")
    assert reply.status == status
    assert told in reply.body.decode()


def test_an_operator_erases_personal_data_with_a_reason_and_the_page_says_erased(venue, page):
    order = an_order("dojo-erase", customer={"name": "Ada Lovelace"}, note="by the window")
    order_id = venue.service.dojo.post("/v1/orders", order).json["id"]
    page.goto(f"/orders/{order_id}")
    assert "Ada Lovelace" in section(page, "The bill").inner_text()
    page.goto(f"/orders/{order_id}/erase")
    assert "Not yet: the order is created." in page.locator("main").inner_text()
    assert venue.service.dojo.call("DELETE", f"/v1/orders/{order_id}").status == 200
    page.goto(f"/orders/{order_id}")
    follow(page.get_by_role("link", name="Erase personal data"))
    check_page(page, "/orders/<order_id>/erase")
    page.get_by_label("Why?").fill("the customer asked")
    follow(page.get_by_role("button", name="Erase for good"))
    assert page.url.endswith(f"/orders/{order_id}")
    assert "are erased" in page.get_by_role("status").inner_text()
    bill = section(page, "The bill").inner_text()
    assert "customer, note" in bill
    assert "Ada Lovelace" not in page.content()
    act = section(page, "Timeline").locator("tr", has_text="erase personal data").inner_text()
    assert "operator-1" in act
    assert "the customer asked" in act


def test_an_auditor_erases_nothing_and_sees_nothing_of_the_customer(venue, asked):
    ask = asked("auditor")
    assert ask(f"/orders/{venue.orders.paid}/erase").status == 403
    seen = "".join(ask(f"/orders/{venue.orders.paid}{query}").body.decode() for query in ("", "?view=full", "?view=json"))
    assert "Robin Sandbox" not in seen
    assert "one well done" not in seen
    assert "Robin Sandbox" in asked("operator")(f"/orders/{venue.orders.paid}").body.decode()


def test_a_live_lock_and_a_stale_one_say_who_holds_the_bill(venue, page):
    def locks(order_id, seconds):
        lock = {"lockId": "s-1", "expiry": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}
        return venue.service.dojo.post(f"/v1/orders/{order_id}/lock", lock).status == 200

    for order_id, seconds in (("till-live", 3_600), ("till-stale", 1)):
        venue.service.till.post("/till/orders", a_bill(total=700, table="tbl_6", id=order_id))
        eventually(lambda order_id=order_id, seconds=seconds: locks(order_id, seconds))
    venue.service.await_rest()  # While Dojo is told of a bill, that is what is said of it.
    page.goto("/orders/till-live")
    assert "live" in section(page, "Lock").inner_text()
    assert "holds the bill until" in lead(page)

    def shows_stale():
        page.goto("/orders/till-stale")
        return "stale" in section(page, "Lock").inner_text()

    assert eventually(shows_stale)
    assert "was not released" in section(page, "Lock").inner_text()
    assert "Waiting for a customer to pay £7.00." in lead(page)


def test_of_a_long_order_the_newest_entries_are_told_and_older_ones_a_page_further(venue, page):
    venue.service.till.post("/till/orders", a_bill(total=700, table="tbl_8", id="till-long"))
    until = datetime.now(UTC) + timedelta(hours=1)
    lock = {"lockId": "s-1", "expiry": until.isoformat()}
    assert venue.service.dojo.post("/v1/orders/till-long/lock", lock).status == 200
    for second in range(PAGE_ENTRIES):
        body = {"expiry": (until + timedelta(seconds=second + 1)).isoformat()}
        assert venue.service.dojo.call("PUT", "/v1/orders/till-long/locks/s-1", body).status < 300
    venue.service.await_rest()  # What is still to be told has a row of its own.
    page.goto("/orders/till-long?view=full")
    rows = section(page, "Timeline").locator("tbody tr")
    assert rows.count() == PAGE_ENTRIES
    follow(page.get_by_role("link", name="Older entries"))
    assert "open the bill" in rows.first.inner_text()
    assert rows.count() < PAGE_ENTRIES
    assert [state for _, state in steps(page)] == ["created"]


def test_a_page_that_stays_open_shows_what_happens_meanwhile(venue, page):
    venue.service.till.post("/till/orders", a_bill(total=800, table="tbl_7", id="till-meanwhile"))
    page.goto("/orders/till-meanwhile")
    venue.service.till.post("/till/orders/till-meanwhile/status", {"status": "Preparing"})
    section(page, "Timeline").get_by_text("kitchen: Preparing").wait_for()
