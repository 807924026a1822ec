"""Everything that can be done on a page, done without a mouse: reached by Tab, done by keys, with scripts and without them.

A test `does(...)` the routes of the forms that it sends, and fails where it did not send them; together they send every form that there is.
"""

from __future__ import annotations

import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from playwright.sync_api import Locator, Page, expect

from adapters.sandbox import Sandbox
from tests.browser.conftest import check_page, tab_to
from tests.browser.routes import route_of, routes
from tests.browser.test_attention import (
    NOBODY,
    a_dead_call,
    a_stale_lock,
    a_waiting_call,
    an_id,
    deeds,
    none_is_left,
    opened,
    overpaid,
    slow_to_retry,
)
from tests.contract.running import (
    KEY,
    TOKENS,
    a_bill,
    an_order,
    eventually,
    gbp,
    running,
    sqlite,
    where_it_is_noon,
    whole_copy,
)
from workflow.money import Money

MOST_OPTIONS = 50
IN_SIGHT = """each => [...each.getClientRects()].some((box) => {
    const there = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return there !== null && (each.contains(there) || there.contains(each)); })"""


WITHOUT_SCRIPTS = pytest.mark.parametrize("hands", [False], indirect=True, ids=["no scripts"])
"""For a page that does not renew itself: there are no scripts on it that could be in the way of keys."""


def does(*sent: str):
    """Marks a test by the forms that it sends."""

    def mark(test):
        test.sends = set(sent)
        return test

    return mark


class Hands:
    """Somebody at a keyboard, and nothing else, in front of `page`."""

    def __init__(self, page: Page, *, has_scripts: bool) -> None:
        self.page, self.has_scripts = page, has_scripts

    def to(self, wanted: Locator) -> None:
        """Have it focused, and seen: nothing lies over it."""
        tab_to(self.page, wanted)
        eventually(lambda: wanted.evaluate(IN_SIGHT))

    def press(self, wanted: Locator, key: str = "Enter") -> None:
        """Go there, press, and be on the page that follows."""
        self.to(wanted)
        with self.page.expect_navigation():
            self.page.keyboard.press(key)

    def button(self, name: str | re.Pattern[str], key: str = "Enter") -> None:
        self.press(self.page.locator("main").get_by_role("button", name=name), key)

    def link(self, name: str | re.Pattern[str]) -> None:
        self.press(self.page.locator("main").get_by_role("link", name=name))

    def write(self, label: str | re.Pattern[str], text: str) -> None:
        """What stood in the field is chosen when Tab comes there, and written over."""
        field = self.page.get_by_label(label, exact=isinstance(label, str))
        self.to(field)
        self.page.keyboard.type(text)
        expect(field).to_have_value(text)

    def tick(self, box: Locator) -> None:
        self.to(box)
        self.page.keyboard.press("Space")
        expect(box).to_be_checked()

    def choose(self, label: str, option: str) -> None:
        """Of a list, by the arrows."""
        chosen = self.page.get_by_label(label, exact=True)
        self.to(chosen)
        self._down(lambda: chosen.evaluate("each => each.selectedOptions[0].label") == option, option)

    def turn(self, group: str, choice: str | re.Pattern[str]) -> None:
        """Of choices of which one is taken, by the arrows: Tab comes to the group once."""
        group_ = self.page.get_by_role("group", name=group)
        self.to(group_.locator("input[type=radio]:checked"))
        wanted = group_.get_by_label(choice, exact=isinstance(choice, str))
        self._down(wanted.is_checked, choice)

    def _down(self, is_there, wanted) -> None:
        for _ in range(MOST_OPTIONS):
            if is_there():
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"not reached by the arrows: {wanted}")

    def because(self, reason: str, button: str | re.Pattern[str]) -> None:
        """Say why, and do it."""
        self.write(re.compile(r"^Why\?"), reason)
        self.button(button)

    def await_(self, wanted: Locator) -> None:
        """A page with scripts follows by itself; without them somebody looks again."""
        look = self.page.get_by_role("link", name="Look again")
        while not self.has_scripts and look.count():
            self.press(look)
        expect(wanted).to_be_visible()


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """A `service` beside a `sandbox`, whose till does not answer; each test makes what it acts on."""
    settings = {"TILL_URL": f"{NOBODY}/hook", "TILL_SECRET": "a secret of the till's, long enough", "TIMEZONE": where_it_is_noon()}
    with slow_to_retry(tmp_path_factory.mktemp("keys"), VENUE_NAME="The Anchor & Hope", **settings) as peers:
        peers.service.till.call("PUT", "/till/areas", [{"id": "in", "name": "Inside"}])
        tables = [{"id": f"tbl_{number}", "name": f"Table {number}", "areaId": "in"} for number in (1, 2)]
        peers.service.till.call("PUT", "/till/tables", tables)
        yield peers


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def hands(request, visitor):
    """A function that seats somebody at the console of `peers`, or at `url`."""
    sent, console = set[str](), []

    def note(asked) -> None:
        if asked.method == "POST":
            sent.add(route_of(asked.url, "POST", is_sandbox=f":{console[-1]}/" not in asked.url))

    def sit(peers: SimpleNamespace, path: str = "/", *, role: str | None = "operator") -> Hands:
        console.append(peers.service.ports[1])
        page = visitor(peers.service, role=None, java_script_enabled=request.param)
        if role:
            page.request.post("/login", form={"token": TOKENS[role]})
        page.on("request", note)
        page.goto(path)
        return Hands(page, has_scripts=request.param)

    yield sit
    wanted = getattr(request.function, "sends", set())
    assert getattr(request.node, "failed", False) or wanted <= sent, f"not sent: {wanted - sent}"


def test_every_form_that_changes_something_is_sent_by_keys():
    tests = [each for name, each in vars(sys.modules[__name__]).items() if name.startswith("test_")]
    assert set().union(*(getattr(each, "sends", set()) for each in tests)) == routes("POST")


def told(hands: Hands, text: str | re.Pattern[str]) -> None:
    """The page says what was done, and Tab goes on from there."""
    said = hands.page.locator("main > .notice").filter(has_text=text).first
    expect(said).to_be_visible()
    expect(said).to_be_focused()


# -- who is there, and how they like it


@does("/login", "/logout", "/preferences")
def test_one_logs_in_has_times_in_utc_and_no_single_keys_and_logs_out(hands, peers):
    somebody = hands(peers, "/login", role=None)
    page = somebody.page
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKENS["operator"])
    with page.expect_navigation():
        page.keyboard.press("Enter")
    somebody.press(page.get_by_role("button", name="Show UTC"))
    somebody.press(page.get_by_role("button", name="Show venue time"), "Space")
    somebody.press(page.get_by_role("link", name="Help and keys"))
    somebody.button("Switch them off")
    expect(page.get_by_role("button", name="Switch them on")).to_be_visible()
    somebody.press(page.get_by_role("button", name="Log out"))
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


# -- finding


def test_orders_are_searched_and_filtered_and_a_filter_is_taken_away(hands, peers):
    order_id = opened(peers, table="tbl_1")
    somebody = hands(peers, "/orders")
    page, rows = somebody.page, somebody.page.locator("table.orders tbody tr")
    search = page.get_by_label("Reference, table, order id or payment")
    somebody.to(search)
    page.keyboard.type(order_id)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    somebody.link("Remove the filter")
    somebody.choose("State", "Created")
    somebody.choose("Flow", "Pay only")
    somebody.write("Table", "tbl_1")
    for label in ("From day", "To day"):
        somebody.to(page.get_by_label(label, exact=True))
        page.keyboard.type("01012020" if label == "From day" else "01012021")
    somebody.tick(page.get_by_label("Problems only"))
    somebody.button("Find")
    chips = page.get_by_label("Filters that are on").get_by_role("link")
    expect(chips).to_have_count(6)
    somebody.press(chips.last)
    expect(page.get_by_label("Filters that are on")).to_have_count(0)


@WITHOUT_SCRIPTS
def test_entries_of_the_journal_are_filtered(hands, peers):
    order_id = opened(peers)
    somebody = hands(peers, "/journal")
    somebody.write("Order", order_id)
    somebody.choose("Kind", "transition")
    somebody.button("Show")
    rows = somebody.page.locator(".entries tbody tr")
    expect(rows.filter(has_text=order_id)).to_have_count(len(rows.all()))
    somebody.press(rows.last.get_by_role("link").first)
    expect(somebody.page.get_by_role("heading", level=1)).to_contain_text("Entry")


# -- what needs a person


def article(page: Page, order_id: str) -> Locator:
    return page.get_by_role("article").filter(has=page.locator(f'a[href="/orders/{order_id}"]'))


@does("/act")
def test_one_thing_is_settled_and_then_several_that_were_chosen_and_then_all_with_one_code(hands, peers):
    one, *some = (a_dead_call(peers) for _ in range(3))
    somebody = hands(peers, "/attention?code=OUTBOX_DEAD")
    page = somebody.page
    somebody.press(article(page, one).get_by_role("link", name="Mark as dealt with"))
    somebody.because("seen", "Mark as dealt with")
    told(somebody, "Mark as dealt with: done for")
    for order_id in some:
        somebody.tick(article(page, order_id).get_by_role("checkbox"))
    somebody.choose("Do", "Try again now")
    somebody.button("Preview")
    somebody.because("Dojo is mended", "Try again now (2)")
    told(somebody, "Try again now: done for 2 things of 2.")
    assert [deeds(peers, order_id)[-1][1:] for order_id in (one, *some)] == [("acknowledge", "seen"), *[("requeue", "Dojo is mended")] * 2]

    locked = [a_stale_lock(peers) for _ in range(2)]
    page.goto("/attention?code=LOCK_STALE")
    somebody.press(page.get_by_label("All with this code").get_by_role("link", name="Mark as dealt with"))
    somebody.because("looked at", "Mark as dealt with (2)")
    told(somebody, "Mark as dealt with: done for 2 things of 2.")
    assert {deeds(peers, order_id)[-1] for order_id in locked} == {("operator:operator-1", "acknowledge", "looked at")}


@does("/act")
def test_what_is_wrong_with_an_order_is_resolved_on_its_page(hands, peers):
    order_id = overpaid(peers)
    somebody = hands(peers, f"/orders/{order_id}")
    somebody.link("Mark as given back")
    somebody.because("by hand", "Mark as given back")
    told(somebody, "Mark as given back: done for")
    assert deeds(peers, order_id) == [("operator:operator-1", "mark_given_back", "by hand")]


@does("/act")
def test_a_call_is_stopped_and_several_that_were_chosen_are(hands, peers):
    calls = [a_waiting_call(peers) for _ in range(3)]
    somebody = hands(peers, "/outbox?status=pending")
    page = somebody.page
    somebody.press(page.locator(f'a[href^="/outbox/{calls[0][1]}/stop"]'))
    somebody.because("the till is sold", "Stop retrying")
    told(somebody, "Stop retrying: done for")
    for _, task_id in calls[1:]:
        somebody.tick(page.locator(f'input[value="{task_id}"]'))
    somebody.choose("Do", "Stop retrying")
    somebody.button("Preview")
    somebody.because("all are sold", "Stop retrying (2)")
    told(somebody, "Stop retrying: done for 2 things of 2.")
    assert [deeds(peers, order_id)[-1][1:] for order_id, _ in calls] == [("stop", "the till is sold"), *[("stop", "all are sold")] * 2]


@WITHOUT_SCRIPTS
@does("/orders/<order_id>/erase")
def test_what_is_known_of_a_customer_is_erased(hands, peers):
    order = an_order(an_id("dojo"), customer={"name": "Ada Lovelace"})
    order_id = peers.service.dojo.post("/v1/orders", order).json["id"]
    assert peers.service.dojo.call("DELETE", f"/v1/orders/{order_id}").status == 200
    somebody = hands(peers, f"/orders/{order_id}")
    somebody.link("Erase personal data")
    somebody.because("they asked", "Erase for good")
    told(somebody, "are erased")
    assert [why for _, what, why in deeds(peers, order_id) if what == "erase"] == ["they asked"]
    assert "Ada Lovelace" not in somebody.page.content()


# -- money


@WITHOUT_SCRIPTS
@does("/takings/<date>/compare", "/takings/<date>/resolve")
def test_a_day_is_compared_with_dojo_and_a_difference_resolved_with_a_note(hands, peers):
    table = an_id("tbl")
    order_id = opened(peers, table=table)
    [intent_id] = peers.sandbox.pay_only(table).intent_ids
    eventually(lambda: peers.service.order(order_id)["paidAmount"] == gbp(1200))
    none_is_left(peers, "read_intent")
    peers.sandbox.intents.refund(intent_id, Money(250, "GBP"))  # And nobody is told.
    somebody = hands(peers, "/takings")
    page = somebody.page
    somebody.press(page.get_by_role("row").get_by_role("link").first)
    somebody.button(re.compile("^Compare"))
    somebody.await_(page.get_by_text("Compared with Dojo, asked"))
    mine = page.locator(".difference").get_by_role("row").filter(has_text=intent_id)
    somebody.press(mine.get_by_role("link", name="Resolve with a note"))
    somebody.because("in Dojo's portal", "Resolve with this note")
    told(somebody, "Your reason is in the journal.")
    expect(mine).to_contain_text("in Dojo's portal")


# -- the journal, the machines, the setup


@does("/journal/verify", "/journal/replay", "/journal/seal")
def test_the_journal_is_verified_and_replayed_and_a_copy_sealed(hands, peers):
    somebody = hands(peers, "/journal")
    page = somebody.page
    somebody.button("Verify now")
    somebody.await_(page.get_by_role("button", name="Verify now"))
    expect(page.get_by_role("heading", name="Whole")).to_be_visible()
    somebody.button("Replay", "Space")
    somebody.await_(page.get_by_text("Replay equals what is stored"))
    somebody.turn("What customers and guests said of themselves", "keep, for a backup")
    somebody.button("Seal a copy")
    somebody.await_(page.get_by_text("with what customers said of themselves"))
    somebody.to(page.get_by_role("link", name="Download the copy"))
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert re.fullmatch(r"tillproof-sealed-.*\.db", download.value.suggested_filename)


@WITHOUT_SCRIPTS
@does("/machines/check")
def test_the_journal_is_checked_against_the_declaration(hands, peers):
    opened(peers)
    somebody = hands(peers, "/machines")
    somebody.button(re.compile("^Check "))
    somebody.await_(somebody.page.get_by_role("heading", name="Every order would have gone the same way"))


@WITHOUT_SCRIPTS
@does("/setup/look", "/setup/capabilities/ask", "/setup/capabilities/register", "/setup/keys/rotate")
def test_dojo_is_asked_capabilities_are_registered_and_a_new_key_brought_in(hands, peers):
    somebody = hands(peers, "/setup")
    page, reason = somebody.page, an_id("as agreed ")
    somebody.button("Look again, and ask Dojo")
    somebody.await_(page.get_by_text(f"{peers.service.settings['DOJO_URL']} answers"))
    somebody.press(page.get_by_role("link", name="Capabilities"))
    somebody.button("Ask Dojo what is registered")
    somebody.await_(page.get_by_role("link", name="Register…"))
    somebody.link("Register…")
    somebody.because(reason, "Register at Dojo")
    told(somebody, "Registered: Dojo calls")
    somebody.press(page.get_by_role("link", name="Keys", exact=True))
    somebody.link("Bring in a new key…")
    somebody.because(reason, "Bring in a new key")
    told(somebody, "A new key signs from entry")
    done = [
        (entry.trigger, entry.actor) for each in peers.service.reads.entries(order_id="") if reason in str((entry := each.entry()).body)
    ]
    assert [trigger for trigger, _ in done] == ["register", "rotate_key"]
    assert {actor for _, actor in done} == {"operator:operator-1"}


@WITHOUT_SCRIPTS
@does("/accept-lost-tail")
def test_the_loss_of_what_an_older_journal_lacks_is_accepted(hands, visitor, tmp_path):
    with running(tmp_path) as service:
        service.till.post("/till/orders", a_bill(id="bill-kept"))
        older = whole_copy(service.journal, tmp_path / "older")
        service.till.post("/till/orders", a_bill(id="bill-lost"))
        service.stop()
        shutil.copy(older, service.journal)
        service.start(ready=503)
        check_page(visitor(service), "while the journal is shut")
        somebody = hands(SimpleNamespace(service=service))
        somebody.write(re.compile("^Why"), "no backup")
        somebody.tick(somebody.page.get_by_label("No newer journal is left."))
        somebody.button("Accept the loss, and serve again")
        told(somebody, "The loss was accepted")
        assert sqlite(service.journal, "SELECT actor FROM journal WHERE trigger = 'accept_lost_tail'") == [[("operator:operator-1",)]]


# -- the sandbox: a customer's phone, and Dojo's panel


@does("sandbox /phone/order", "sandbox /phone/bill")
def test_a_customer_orders_and_pays_and_another_pays_a_part_of_a_bill_with_a_tip(hands, peers):
    somebody = hands(peers, f"{peers.sandbox.url}/phone", role=None)
    page = somebody.page
    somebody.choose("Table", "Table 1")
    somebody.choose("Prices in", "GBP")
    somebody.button("Sit down")
    somebody.link("Order something")
    somebody.write("Iced tea", "2")
    somebody.write("A note for the kitchen", "no ice")
    somebody.button("To the basket")
    somebody.turn("Add a tip?", re.compile("10 %"))
    somebody.button(re.compile("^Pay"))
    expect(page.get_by_role("heading", name="Paid. The kitchen has your order.")).to_be_visible()  # Without scripts it follows, too.
    order = peers.service.order(peers.sandbox.flows()[0].order_id)
    assert order["tipsAmount"] == gbp(62)

    table = an_id("tbl")
    order_id = opened(peers, total=3000, table=table)
    page.goto(f"{peers.sandbox.url}/phone/table?table={table}")
    somebody.link("Pay the bill")
    somebody.turn("What do you pay?", "An amount")
    somebody.write("Amount to pay", "10.00")
    somebody.turn("Add a tip?", "Another amount")
    somebody.write("Amount of the tip", "1.50")
    trying = page.get_by_text("Try something")
    somebody.to(trying)
    page.keyboard.press("Enter")
    somebody.turn("How the payment goes", "The card is good")
    somebody.button("Pay")
    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()
    order = eventually(lambda: found if (found := peers.service.order(order_id))["paidAmount"] == gbp(1000) else None)
    assert order["tipsAmount"] == gbp(150)


@does("sandbox /panel/intents/<intent_id>/<move>", "sandbox /panel/events/<event_id>/again")
def test_on_the_panel_a_payment_goes_every_way_that_it_can_and_an_event_is_sent_again(hands, peers):
    somebody = hands(peers, f"{peers.sandbox.url}/panel", role=None)
    page, intents = somebody.page, peers.sandbox.intents
    ways = (
        (("The customer pays", "Capture", "Refund"), "Refunded"),
        (("The customer pays", "Reverse"), "Reversed"),
        (("Cancel",), "Canceled"),
    )
    for buttons, ends_as in ways:
        intent = intents.make(Money(1200, "GBP"), reference=an_id("by-keys"), capture_mode="Manual")
        page.goto(f"{peers.sandbox.url}/panel/intents/{intent.id}")
        for button in buttons:
            somebody.button(button)
            told(somebody, intent.id)
        assert intents.read(intent.id).status == ends_as
    somebody.press(page.get_by_label("Dojo’s panel").get_by_role("link", name="Events"))
    again = page.get_by_role("row").nth(1).get_by_role("button")
    somebody.press(again)
    told(somebody, "goes once more")


@does("sandbox /panel/faults", "sandbox /panel/faults/drop", "sandbox /panel/faults/clear")
def test_on_the_panel_something_is_let_go_wrong_in_every_way_and_then_all_is_well(hands, peers):
    somebody = hands(peers, f"{peers.sandbox.url}/panel/faults", role=None)
    page = somebody.page
    for title, button in (
        ("When the till calls Dojo", "Spoil these calls"),
        ("When Dojo sends an event", "Spoil these events"),
        ("When Dojo calls the till", "Spoil these answers"),
    ):
        form = page.locator("form").filter(has=page.get_by_role("heading", name=title))
        lists = form.get_by_role("combobox")
        somebody.to(lists.last)
        page.keyboard.press("ArrowDown")
        somebody.to(form.get_by_label("How many times"))
        page.keyboard.type("3")
        somebody.press(form.get_by_role("button", name=button))
        told(somebody, "the next 3 times")
    own = page.get_by_text("By a pattern of your own")
    somebody.to(own)
    page.keyboard.press("Enter")
    somebody.write("Kind, or a status", "504")
    somebody.button("Spoil what matches")
    told(somebody, "504")
    somebody.press(page.get_by_label("Dojo’s panel").get_by_role("link", name="Events"))
    somebody.write("Seconds late", "2")
    somebody.button("Let it go wrong")
    told(somebody, "any event")
    somebody.press(page.get_by_label("Dojo’s panel").get_by_role("link", name="Faults"))
    expect(page.get_by_role("table").first.get_by_role("row")).to_have_count(1 + 5)
    somebody.press(page.locator("main").get_by_role("button", name=re.compile("^Drop")).first)
    expect(page.get_by_role("table").first.get_by_role("row")).to_have_count(1 + 4)
    somebody.button("Let all be well")
    told(somebody, "Nothing goes wrong any more.")
    expect(page.get_by_text("Nothing: all is well.")).to_be_visible()


@WITHOUT_SCRIPTS
@does("sandbox /login")
def test_beyond_this_machine_the_sandbox_is_entered_with_its_key(hands, visitor, peers):
    sandbox = Sandbox(api_key=KEY, host="0.0.0.0")
    sandbox.start()
    try:
        panel = f"{sandbox.url.replace('0.0.0.0', '127.0.0.1')}/panel"
        page = visitor(peers.service, role=None)
        page.goto(panel)
        check_page(page, "sandbox /login")
        somebody = hands(peers, panel, role=None)
        somebody.write("API key of this sandbox", KEY)
        somebody.button("Log in")
        expect(somebody.page.get_by_role("heading", level=1)).to_have_text("Hello! Where do you sit?")
    finally:
        sandbox.stop()
