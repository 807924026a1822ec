"""What came in: a month of days, a day beside Dojo's, and what a person says of a difference."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from adapters.sandbox import Sandbox
from tests.browser.conftest import CALM, PHONE, assert_not_wider_than_the_window, check_page, follow, reload_until_seen, resize
from tests.browser.evening import HOSTILE
from tests.contract.running import KEY, ROOT, a_bill, an_event, an_order, beside_sandbox, sqlite, where_it_is_noon
from workflow.clock import SystemClock
from workflow.money import Money
from workflow.replay import no_bar
from workflow.sealing import seal

SOON = {"CALL_DEADLINE_MS": 6_000}
"""Where a Dojo that does not answer is waited for in vain."""
SUMS = ("Captured", "Tips", "Given back", "Came in", "Payments")


class Behind:
    """Dojo's clock, some minutes slow: what it captured is on its way to nobody any more."""

    def now(self):
        return SystemClock().now() - timedelta(minutes=5)

    def monotonic(self):
        return SystemClock().monotonic()


def gbp(value):
    return Money(value, "GBP")


@pytest.fixture(scope="module")
def differing(tmp_path_factory):
    """A service and a sandbox that disagree about money: given back, unknown here, and paid twice."""
    sandbox = Sandbox(api_key=KEY, step_seconds=10, clock=Behind(), event_back_off_seconds=0.02)
    with beside_sandbox(tmp_path_factory.mktemp("differing"), sandbox, TIMEZONE=where_it_is_noon(), **CALM | SOON) as peers:
        peers.order_id, peers.intent_id = _paid(peers, "refunded")
        sandbox.intents.refund(peers.intent_id, gbp(250))
        orphan = sandbox.intents.make(gbp(4820), reference="orphan", external_id=HOSTILE)
        sandbox.intents.capture(orphan.id)
        peers.orphan = orphan.id
        _, returned = _paid(peers, "returned", tips=300)
        sandbox.intents.refund(returned, gbp(400))
        peers.service.dojo.post("/v1/events", an_event("evt-returned-refund", returned))
        peers.service.await_rest()
        zone = ZoneInfo(str(peers.service.settings["TIMEZONE"]))
        peers.today = f"{SystemClock().now().astimezone(zone):%Y-%m-%d}"
        yield peers


def _paid(peers, name, *, tips=0):
    intent = peers.sandbox.intents.make(gbp(1200), reference=name, tips=gbp(tips) if tips else None)
    order_id = peers.service.dojo.post("/v1/orders", an_order(name, intent_id=intent.id, table=HOSTILE)).json["id"]
    peers.sandbox.intents.link(intent.id, order_id)
    peers.sandbox.intents.capture(intent.id)
    peers.service.dojo.post("/v1/events", an_event(f"evt-{name}", intent.id))
    peers.service.await_state(order_id, "updated")
    peers.service.await_rest()  # A read that is still on its way would find what is changed at Dojo next.
    return order_id, intent.id


def open_today(page):
    page.goto("/takings")
    follow(page.get_by_role("row").get_by_role("link").first)


def compare(page):
    follow(page.get_by_role("button", name=re.compile("^Compare")))
    expect(page.get_by_text("Compared with Dojo, asked")).to_be_visible()


def test_a_month_leads_to_its_days_and_says_what_came_in_so_far(page, venue):
    page.goto("/takings")
    row = page.get_by_role("row").filter(has_text="so far")
    expect(row).to_contain_text("£133.15")
    expect(page.locator(".totals")).to_contain_text("£133.15")
    check_page(page, "/takings")
    page.get_by_role("link", name=re.compile("^‹")).click()
    expect(page.get_by_text("so far")).to_have_count(0)
    row_of_none = page.get_by_role("heading", name="Days without money on the till")
    expect(row_of_none).to_be_visible()


def test_a_month_or_day_that_is_none_is_refused_in_words(page):
    for path, told in (
        ("/takings?month=2026-13", "expected a month"),
        ("/takings/2026-02-30", "not a day"),
        ("/takings/2999-01-01", "not begun"),
    ):
        answer = page.goto(path)
        assert answer.status in {400, 404}
        expect(page.get_by_role("main")).to_contain_text(told)


def test_a_day_is_put_beside_dojos_when_asked_and_every_difference_is_named(differing, visitor):
    page = visitor(differing.service)
    open_today(page)
    expect(page.get_by_text("Dojo was not asked")).to_be_visible()
    compare(page)
    sums = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Came in"))
    expect(sums).to_contain_text("£23.00")  # Twice 12.00, 3.00 of tips, less 4.00.
    expect(sums).to_contain_text("£68.70")  # Less 2.50, and 48.20 that the till never heard of.
    at_dojo = page.locator(".difference").filter(has_text="At Dojo, not on the till (1)")
    expect(at_dojo).to_contain_text(differing.orphan)
    expect(at_dojo).to_contain_text("£48.20")
    expect(at_dojo).to_contain_text(HOSTILE)  # As text: nothing of it is markup.
    amount = page.locator(".difference").filter(has_text="Amount differs (1)")
    expect(amount).to_contain_text("£0.00 given back on the till, £2.50 given back at Dojo")
    expect(amount.get_by_role("link", name=differing.order_id)).to_have_attribute("href", f"/orders/{differing.order_id}")
    assert page.locator("script:not([src])").count() == 0
    check_page(page, "/takings/<date>")


def test_a_difference_is_resolved_with_a_note_which_is_an_entry_of_the_journal(differing, visitor):
    page = visitor(differing.service)
    page.goto(f"/takings/{differing.today}")
    if page.get_by_text("Dojo was not asked").is_visible():
        compare(page)
    page.locator(".difference").filter(has_text="Amount differs").get_by_role("link", name="Resolve with a note").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Resolve: amount differs, £2.50")
    check_page(page, "/takings/<date>/resolve")
    page.get_by_label("Why?").fill("given back in Dojo's portal, card 4242 4242 4242 4242")
    page.get_by_role("button", name="Resolve with this note").click()

    expect(page.get_by_text("Your reason is in the journal.")).to_be_visible()
    row = page.locator(".difference").filter(has_text="Amount differs").get_by_role("row").filter(has_text=differing.intent_id)
    expect(row).to_contain_text("given back in Dojo's portal")
    expect(row).to_contain_text("operator-1")
    [kept] = differing.service.auditor.get(f"/api/takings/{differing.today}/resolutions").json["data"]
    assert (kept["kind"], kept["paymentIntentId"], kept["amount"]["value"]) == ("amount", differing.intent_id, 250)
    assert kept["actor"] == "operator:operator-1"
    assert "4242" not in kept["reason"]
    row.get_by_role("link", name=f"entry {kept['seq']}").click()
    expect(page.get_by_role("main")).to_contain_text("resolve takings amount")
    csv = page.context.request.get(f"/takings/{differing.today}/takings.csv").text()
    assert [line.rpartition(",")[2] for line in csv.splitlines() if differing.intent_id in line] == ["yes"]
    differing.service.assert_whole()


def test_the_day_the_month_today_the_command_and_the_sealed_copy_say_the_same_of_its_money(differing, visitor, tmp_path):
    service, today = differing.service, differing.today
    page = visitor(service)
    page.goto(f"/takings/{today}")
    table = page.locator(".sums table").first
    on_page = [table.get_by_role("row", name=re.compile(f"^{name}")).get_by_role("cell").first.inner_text() for name in SUMS]
    assert on_page == ["£24.00", "£3.00", "£4.00", "£23.00", "2"]

    page.goto("/takings")
    of_month = page.get_by_role("row").filter(has_text="so far").get_by_role("cell").all_inner_texts()
    assert sorted(of_month) == sorted(on_page)
    page.goto("/")
    so_far = page.locator("main").inner_text()
    assert [so_far.partition(f"{name}\n")[2].partition("\n")[0] for name in SUMS[:3]] == on_page[:3]

    env = {name: value for name, value in os.environ.items() if not name.startswith("TILLPROOF_")}
    env |= {f"TILLPROOF_{name}": str(value) for name, value in service.settings.items()}
    command = [sys.executable, "-m", "app", "takings", today, "--offline", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=60, check=False).stdout
    [total] = json.loads(told)["totals"]
    assert [total["till"][name]["value"] for name in ("captured", "tips", "refunded", "net")] == [2400, 300, 400, 2300]

    seal(
        service.journal,
        tmp_path / "copy.db",
        witness=service.witness,
        key=None,
        bar=no_bar,
        clock=SystemClock(),
        zone=ZoneInfo(service.settings["TIMEZONE"]),
    )
    sql = "SELECT date, captured, tips, refunded, net, payments FROM audit_takings_by_day"
    assert sqlite(tmp_path / "copy.db", sql)[0] == [(today, *on_page[:4], 2)]


def test_money_that_moved_since_the_comparison_is_told_until_it_is_compared_again(tmp_path, visitor):
    with beside_sandbox(tmp_path, TIMEZONE=where_it_is_noon(), **CALM) as peers:
        _paid(peers, "one")
        page = visitor(peers.service)
        open_today(page)
        compare(page)
        expect(page.get_by_text("Money has moved since")).to_have_count(0)
        _paid(peers, "two")
        page.reload()
        expect(page.get_by_text("Money has moved since Dojo was asked: our journal has £24.00 by now.")).to_be_visible()
        compare(page)
        expect(page.get_by_text("Money has moved since")).to_have_count(0)
        page.context.close()


def test_an_auditor_sees_differences_and_resolves_none(differing, visitor):
    page = visitor(differing.service, role="auditor")
    page.goto(f"/takings/{differing.today}")
    if page.get_by_text("Dojo was not asked").is_visible():
        compare(page)
    expect(page.get_by_text("At Dojo, not on the till (1)")).to_be_visible()
    assert page.get_by_role("link", name="Resolve with a note").count() == 0
    path = f"/takings/{differing.today}/resolve?kind=at_dojo_not_on_till&intent={differing.orphan}"
    assert page.goto(path).status == 403


def test_sums_of_five_figures_do_not_make_the_page_scroll_sideways_on_a_phone(differing, visitor):
    page = visitor(differing.service)
    page.goto(f"/takings/{differing.today}")
    big = "rows => { for (const row of rows) [...row.cells].slice(1).forEach((cell) => { cell.textContent = '−£12,410.10'; }); }"
    page.locator(".sums tbody tr").evaluate_all(big)  # So much came in on no day of a test.
    for width in (360, 320):
        resize(page, PHONE | {"width": width})
        assert_not_wider_than_the_window(page)


def test_a_day_prints_on_one_sheet_without_navigation_or_buttons(differing, visitor):
    page = visitor(differing.service, role="auditor")
    page.goto(f"/takings/{differing.today}")
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    page.emulate_media(media="print")
    for gone in (page.get_by_role("navigation"), page.get_by_role("button"), page.get_by_role("link", name="Download CSV")):
        assert not [each for each in gone.all() if each.is_visible()]
    expect(page.get_by_text("Closed by:")).to_be_visible()


def counts_prints(page):
    """In the place of the browser's own window, which nobody could close."""
    page.add_init_script("window.printed = 0; window.print = () => { window.printed += 1; };")


def test_a_button_prints_the_day(differing, visitor):
    page = visitor(differing.service, role="auditor")
    counts_prints(page)
    page.goto(f"/takings/{differing.today}")
    page.get_by_role("button", name="Print").click()
    page.wait_for_function("window.printed === 1")


def test_without_scripts_a_day_is_compared_too(differing, visitor):
    page = visitor(differing.service, java_script_enabled=False)
    page.goto(f"/takings/{differing.today}")
    expect(page.locator("[data-print]")).to_be_hidden()
    follow(page.get_by_role("button", name=re.compile("^Compare")))
    reload_until_seen(page.get_by_text("Compared with Dojo, asked"))


def test_a_dojo_that_does_not_answer_holds_up_no_page_and_is_told(differing, visitor):
    differing.sandbox.fault("POST", "/payment-intents/search", "timeout")
    page = visitor(differing.service)
    counts_prints(page)
    page.goto(f"/takings/{differing.today}")
    came = follow(page.get_by_role("button", name=re.compile("^Compare"))).text()
    assert "<progress" in came  # The page is there while Dojo says nothing.
    expect(page.get_by_text("Dojo could not be asked")).to_be_visible()
    expect(page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Came in"))).to_contain_text("not asked")
    page.get_by_role("button", name="Print").click()  # It came without a load.
    page.wait_for_function("window.printed === 1")


def test_money_of_several_currencies_is_never_added_up(differing, visitor, tmp_path):
    """The till's own, and what an account took in another."""
    stranger = differing.sandbox.intents.make(Money(900, "EUR"), reference="tp_gone", external_id="tp_gone")
    differing.sandbox.intents.capture(stranger.id)
    page = visitor(differing.service)
    page.goto(f"/takings/{differing.today}")
    compare(page)
    expect(page.get_by_role("heading", level=2, name="GBP")).to_be_visible()
    euros = page.locator(".sums").filter(has=page.get_by_role("heading", name="EUR"))
    expect(euros).to_contain_text("€9.00")


def test_an_open_bill_is_outstanding_and_no_difference(differing, visitor):
    differing.service.till.post("/till/orders", a_bill(total=700, table="tbl_open"))
    page = visitor(differing.service)
    page.goto(f"/takings/{differing.today}")
    compare(page)
    expect(page.get_by_text("£7.00 on 1 open bill")).to_be_visible()
