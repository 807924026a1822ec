"""docs/first-paid-order.md, step by step, as whoever reads it: every name that it calls is on the screen."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from adapters.console.actions import LABELS
from adapters.console.site import NAVIGATION
from adapters.tillproof_verify import main as tillproof_verify
from tests.browser.conftest import PHONE, follow
from tests.contract.running import PATIENCE, ROOT, environment

PAGE = " ".join((ROOT / "docs" / "first-paid-order.md").read_text("utf-8").split())


def names_in(text):
    """What is in italics, of a page whose lines may break within it."""
    return set(re.findall(r"(?<![*\w])\*([^*`|/]+)\*(?!\*)", " ".join(text.split())))


NAMES = names_in(PAGE)
"""What the page says is to be seen, in italics."""


@pytest.fixture
def demo(tmp_path):
    """`tillproof demo --serve`, and where it serves."""
    words = [sys.executable, "-m", "app", "demo", "--serve", "--json"]
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(words, cwd=tmp_path, env=environment({}) | {"PYTHONPATH": str(ROOT)}, **out) as process:
        try:
            yield json.loads(process.stdout.readline())["serving"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_what_the_guides_call_by_its_name_on_the_console_is_called_so_there():
    guides = ("close-the-day", "recover-after-an-outage", "when-something-is-wrong", "go-live", "change-the-machine")
    named = {name for guide in guides for name in names_in((ROOT / "docs" / f"{guide}.md").read_text("utf-8"))}
    seen = " ".join(path.read_text("utf-8") for path in (ROOT / "adapters" / "console" / "templates").glob("*.html"))
    said = {*LABELS.values(), *(place.name for place in NAVIGATION), "Print"}  # The last is the browser's.
    assert {name for name in named if name not in said and name not in seen} == set()


class Reader:
    """Follows the page: `the(name)` gives a name back that stands in it, and remembers which were met."""

    def __init__(self):
        self.met = set()

    def the(self, name):
        assert name in NAMES, f"the page does not say {name}"
        self.met.add(name)
        return name

    def press(self, page, name):
        follow(page.get_by_role("button", name=self.the(name)))

    def link(self, page, name):
        return page.get_by_role("link", name=re.compile(f"^{re.escape(self.the(name))}")).first

    def follow(self, page, name):
        follow(self.link(page, name))

    def see(self, page, name):
        expect(page.get_by_text(self.the(name)).first).to_be_visible()


def test_a_newcomer_comes_through_the_tutorial(demo, visitor, tmp_path):
    reader, ports = Reader(), (0, urlsplit(demo["consoleListen"]).port)
    console, phone, panel = (visitor(SimpleNamespace(ports=ports), role=None, size=size) for size in (None, PHONE, None))
    console.goto("/")
    console.get_by_label("Token").fill(demo["operatorToken"])
    reader.press(console, "Log in")
    reader.see(console, "Today")
    reader.see(console, "Nothing needs a person.")

    phone.goto(demo["phone"])
    order_and_pay(reader, phone, console)
    pay_a_bill(reader, phone, console)
    panel.goto(demo["panel"])
    break_something(reader, phone, console, panel)
    prove_it(reader, console, tmp_path)
    assert NAMES - reader.met == set(), "the page names what nobody met"


def sit_down(reader, phone, table):
    phone.get_by_label("Table", exact=True).select_option(label=reader.the(table))
    reader.press(phone, "Sit down")


def to_the_basket(reader, phone, table, dish, many):
    sit_down(reader, phone, table)
    reader.follow(phone, "Order something")
    phone.get_by_label(reader.the(dish), exact=True).fill(many)
    reader.press(phone, "To the basket")


def open_first(console, reader):
    reader.follow(console, "Orders")
    row = console.locator("main tbody tr").first
    said = row.inner_text()
    follow(row.get_by_role("link").first)
    return said


def state(console, name):
    """The order's page says so, once it is so."""
    expect(console.get_by_role("listitem").filter(has_text="now").filter(has_text=name)).to_be_visible()


def order_and_pay(reader, phone, console):
    to_the_basket(reader, phone, "Table 8", "Pizza with olives", "2")
    phone.get_by_label(reader.the("10 %")).check()
    reader.press(phone, "Pay £30.00 and the tip")
    reader.see(phone, "Paid. The kitchen has your order.")
    said = open_first(console, reader)
    assert "£30.00" in said
    assert "£3.00" in said
    reader.see(console, "The way it took")
    expect(console.locator("section:has(#machine) > ol.path > li strong")).to_have_text(re.findall(r"\*\*(\w+)\*\* \(", PAGE))
    reader.see(console, "Timeline")


def pay_a_bill(reader, phone, console):
    reader.follow(phone, "Customer’s phone")
    sit_down(reader, phone, "Table 7")
    reader.follow(phone, "Pay the bill")
    expect(phone.get_by_text("£49.00").first).to_be_visible()
    phone.get_by_label(reader.the("An equal share")).check()
    reader.press(phone, "Pay")
    reader.see(phone, "Paid. Thank you!")
    reader.follow(console, "Orders")
    expect(console.get_by_role("row").filter(has_text="T-18")).to_contain_text("£24.50 of £49.00")
    reader.follow(console, "T-18")
    expect(console.locator("dl.sums div").filter(has_text=reader.the("Outstanding"))).to_have_text(re.compile(r"£24\.50\s*$"))
    expect(console.get_by_text("Waiting for a customer to pay the rest, £24.50.")).to_be_visible()
    reader.follow(phone, "See the bill")
    reader.press(phone, "Pay")
    reader.see(phone, "Paid. Thank you!")
    expect(console.locator("dl.sums div").filter(has_text="Outstanding")).to_have_text(re.compile(r"£0\.00\s*$"))


def break_something(reader, phone, console, panel):
    reader.follow(panel, "Faults")
    spoil = panel.locator("form").filter(has_text=reader.the("When the till calls Dojo"))
    assert spoil.get_by_label("To", exact=True).input_value() == reader.the("read a payment")
    spoil.get_by_label(reader.the("How many times")).fill("5")
    reader.press(spoil, "Spoil these calls")
    reader.follow(phone, "Customer’s phone")
    to_the_basket(reader, phone, "Table 9", "Iced tea", "1")
    follow(phone.get_by_role("button", name=re.compile("^Pay")))
    expect(phone.get_by_text("The venue checks the payment with Dojo").first).to_be_visible()  # Now, or among what happened.
    open_first(console, reader)
    reader.see(console, "Why")
    reader.see(console, "Next")
    waiting = console.get_by_text("Dojo could not be asked about the payment")
    read = console.get_by_role("cell").filter(has_text="read the payment at Dojo ×6")
    expect(
        waiting.or_(read).first
    ).to_be_visible()  # The five tries take seven seconds: on a slow machine they are over before it is opened.
    state(console, "updated")
    expect(read).to_be_visible()

    reader.follow(phone, "Customer’s phone")
    to_the_basket(reader, phone, "Table 11", "Something off the menu", "10.23")
    follow(phone.get_by_role("button", name=re.compile("^Pay")))
    reader.see(phone, "Paid, but the till does not agree")
    reader.follow(console, "Today")
    reader.see(console, "1 order PAID but not on the till")
    expect(console.get_by_text("£10.24").first).to_be_visible()
    reader.follow(console, "Needs attention")
    for action in ("Accept the difference", "Mark as given back"):
        reader.follow(console, action)
        console.get_by_label(re.compile("^Why")).fill("the guest would not have the penny")
        reader.press(console, action)
    reader.see(console, "Nothing needs anybody.")


def prove_it(reader, console, folder):
    reader.follow(console, "Journal")
    reader.press(console, "Verify now")
    reader.see(console, "Whole")
    reader.press(console, "Replay")
    expect(console.get_by_text("Replay equals what is stored")).to_be_visible()
    open_first(console, reader)
    with console.expect_download() as download:
        reader.link(console, "Download the proof").click()
    download.value.save_as(folder / download.value.suggested_filename)
    reader.follow(console, "Setup")
    reader.follow(console, "Keys")
    key = console.locator("dt").filter(has_text=reader.the("To pin")).locator("+ dd").first.inner_text()
    assert tillproof_verify([str(folder / download.value.suggested_filename), "--key", key]) == 0
