"""Pictures of the main pages for README.md and docs/: a real evening of the service beside the simulator, seen in Chromium.

`make screenshots` writes docs/screenshots anew.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from adapters.sandbox import Sandbox
from adapters.sandbox.basket import Basket, Details, DineIn, Item
from tests.at_an_evening import EveningClock
from tests.browser.conftest import CHROMIUM, FLAGS, PATIENCE_MS, PHONE
from tests.contract.running import KEY, ROOT, TOKENS, Service, a_bill, eventually, gbp, register
from workflow.money import Money

FOLDER = ROOT / "docs" / "screenshots"
WINDOW = {"width": 1180, "height": 720}
VENUE = "The Anchor & Hope"
DISHES = {
    "Fish & chips": 1650,
    "Steak pie": 1520,
    "Garden salad": 980,
    "Sticky toffee pudding": 730,
    "House red 250ml": 800,
    "Lager": 620,
    "Set menu for four": 110_23,  # With this amount the simulator makes the payment a penny more.
}


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a page of `site`, `height` pixels of it, from its top or `from_heading` on.

    `path` may name an order of the evening in braces. The button `press` is pressed before, and the text `until` waited for.
    """

    name: str
    path: str
    height: int = WINDOW["height"]
    site: str = "console"
    from_heading: str = ""
    press: str = ""
    until: str = ""
    phone: bool = False
    dark: bool = False


SHOTS = (
    Shot("today", "/", 728, until="Friday 3 July"),
    Shot("today-phone", "/", 740, phone=True, dark=True),
    Shot("order", "/orders/{stuck}", 1000),
    Shot("order-way", "/orders/{retried}", 760, from_heading="The way it took"),
    Shot("order-timeline", "/orders/{retried}", 680, from_heading="Timeline"),
    Shot("orders", "/orders", 760),
    Shot("attention", "/attention", 700),
    Shot("attention-phone", "/attention", 740, phone=True),
    Shot("takings", "/takings/2026-07-03", 860, press="^Compare", until="Compared with Dojo, asked"),
    Shot("journal", "/journal", 760, press="^Verify", until="Entries 1 to"),
    Shot("machines", "/machines/order", 760),
    Shot("setup", "/setup", 640),
    Shot("phone", "/phone/menu?table=5", 740, site="sandbox", phone=True),
    Shot("panel", "/panel", 620, site="sandbox"),
    Shot("faults", "/panel/faults", 640, site="sandbox"),
)


class At(Service):
    """A service that goes by the evening's clock."""

    program = "tests.at_an_evening"


@contextmanager
def evening(folder: Path) -> Iterator[SimpleNamespace]:
    """A `service` beside a `sandbox` at twenty to nine on a Friday, and its `orders` by what they are: `stuck`, `retried`, `mismatch`."""
    clock = EveningClock(folder)
    sandbox = Sandbox(api_key=KEY, clock=clock, step_seconds=3, event_back_off_seconds=0.02)
    sandbox.start()
    service = At(folder, sandbox.url, VENUE_NAME=VENUE, RETRY_CAP_MS=60_000, RETRY_BASE_MS=200, SWEEP_S=2)
    try:
        service.start()
        register(service, sandbox)
        yield SimpleNamespace(sandbox=sandbox, service=service, orders=play(service, sandbox, clock))
    finally:
        service.kill()
        sandbox.stop()


def play(service: Service, sandbox: Sandbox, clock: EveningClock) -> dict[str, str]:
    """The evening, in its order."""
    service.till.call("PUT", "/till/areas", [{"id": "inside", "name": "Inside"}, {"id": "garden", "name": "Garden"}])
    tables = [{"id": str(number), "name": f"Table {number}", "areaId": "garden" if number > 8 else "inside"} for number in range(1, 15)]
    service.till.call("PUT", "/till/tables", tables)

    def passed(minutes: float) -> None:
        service.await_rest()
        clock.leap(minutes)

    def ordered(table: int, *dishes: str, tip: int = 0) -> str:
        found = sandbox.order_and_pay(a_basket(table, *dishes), tips=Money(tip, "GBP"))
        return str(service.await_state(str(found.order_id), "updated")["id"])

    ordered(4, "Steak pie", "Garden salad", "Lager", tip=300)
    passed(11)
    split = opened(service, 9, "A-1038", "Fish & chips", "Fish & chips", "House red 250ml", "House red 250ml")
    passed(38)
    sandbox.pay_only("9", parts=2, tips=Money(490, "GBP"))
    service.await_state(split, "updated")
    passed(7)
    sandbox.fault("GET", "/payment-intents/*", "500", 3)
    retried = ordered(2, "Fish & chips", "Steak pie", "Sticky toffee pudding", "Lager", tip=450)
    passed(9)
    opened(service, 7, "A-1039", "Steak pie", "Garden salad", "Lager", "Lager")
    opened(service, 11, "A-1040", "Fish & chips", "Steak pie", "House red 250ml")
    passed(12)
    ordered(6, "Garden salad", "Lager")
    passed(5)
    ordered(1, "Fish & chips", "Fish & chips", "Garden salad", tip=250)
    passed(4)
    mismatch = str(sandbox.order_and_pay(a_basket(3, "Set menu for four")).order_id)
    eventually(lambda: service.order(mismatch)["attention"])
    passed(3)
    return {"split": split, "retried": retried, "mismatch": mismatch, "stuck": unread(service, sandbox, clock)}


def a_basket(table: int, *dishes: str) -> Basket:
    """What a customer orders by phone."""
    items = tuple(Item(name=name, plu=name[:3].upper(), quantity=1, amount_per_item=Money(DISHES[name], "GBP")) for name in dishes)
    at = Details(order_type="DineIn", dine_in=DineIn(table_id=str(table)))
    return Basket(details=at, items=items, reference=f"P-{200 + table}", display_name=f"Table {table}")


def opened(service: Service, table: int, reference: str, *dishes: str) -> str:
    """A bill that the till opens; its id."""
    items = [{"plu": name[:3].upper(), "name": name, "quantity": 1, "amountPerItem": gbp(DISHES[name])} for name in dishes]
    bill = a_bill(total=sum(DISHES[name] for name in dishes), table=str(table), id=f"bill-{reference}", reference=reference)
    service.till.post("/till/orders", bill | {"items": items, "displayName": f"Table {table}"})
    return f"bill-{reference}"


def unread(service: Service, sandbox: Sandbox, clock: EveningClock) -> str:
    """At table 12 Dojo took money nine minutes ago, and has answered no question about it since."""
    sandbox.fault("GET", "/payment-intents/*", "503", 1_000)
    flow = sandbox.order_and_pay(a_basket(12, "Fish & chips", "Steak pie", "House red 250ml", "House red 250ml"))
    order_id = str(flow.order_id)
    clock.leap(3)
    eventually(lambda: any(each["code"] == "PAID_NOT_ON_TILL" for each in service.order(order_id)["attention"]))
    for minutes in (2, 4):
        tried = service.tasks(order_id)[0]["attempts"]
        clock.leap(minutes)
        eventually(lambda: service.tasks(order_id)[0]["attempts"] > tried)  # noqa: B023  # Asked at once.
    return order_id


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that this machine has."""
    if not CHROMIUM:
        raise SystemExit("no browser here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Photographer:
    """Takes pictures of an evening's pages, for an operator who is logged in."""

    def __init__(self, browser: Browser, peers: SimpleNamespace) -> None:
        self._browser, self._peers = browser, peers
        self._sites = {"console": f"http://127.0.0.1:{peers.service.ports[1]}", "sandbox": peers.sandbox.url}

    def take(self, shot: Shot) -> bytes:
        """The picture, as PNG. Fails where the page does not answer with 200."""
        size = PHONE if shot.phone else WINDOW
        scheme = "dark" if shot.dark else "light"
        window = self._browser.new_context(base_url=self._sites[shot.site], viewport=size, color_scheme=scheme)
        window.set_default_timeout(PATIENCE_MS)
        try:
            page = window.new_page()
            if shot.site == "console":
                log_in(page)
            answer = page.goto(shot.path.format(**self._peers.orders))
            assert answer, shot
            assert answer.status == 200, f"{shot.path}: {answer.status}"
            if shot.press:
                page.get_by_role("button", name=re.compile(shot.press)).click()
            if shot.until:
                page.get_by_text(shot.until).wait_for()
            page.set_viewport_size({**size, "height": shot.height})
            if shot.from_heading:
                page.get_by_role("heading", name=shot.from_heading).evaluate("(it) => it.closest('section').scrollIntoView()")
            return smaller(page.screenshot(animations="disabled"))
        finally:
            window.close()


def smaller(picture: bytes) -> bytes:
    """The same with a palette of 256 colours, which is all that these pages have, nearly."""
    made = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def log_in(page: Page) -> None:
    """As an operator."""
    page.goto("/login")
    page.get_by_label("Token").fill(TOKENS["operator"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(re.compile(r"/$"))


def main() -> None:
    """Write every picture anew; those that are not taken any more go."""
    with tempfile.TemporaryDirectory(prefix="tillproof-evening-") as folder, evening(Path(folder)) as peers, chromium() as browser:
        photographer = Photographer(browser, peers)
        taken = {shot.name: photographer.take(shot) for shot in SHOTS}
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.png"):
        path.unlink()
    for name, picture in taken.items():
        (FOLDER / f"{name}.png").write_bytes(picture)
    print(f"{len(taken)} pictures, {sum(map(len, taken.values())):,} bytes, in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
