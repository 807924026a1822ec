"""Chromium, and a service with an evening behind it: what the pages are tried in and on.

`page` is the console at a desk, `visitor` opens more windows, `check_page(page)` tries what every page must do: call it once for each
page, and for each look of it that differs (an empty list, an open form). `tab_to(page, wanted)` goes there by keyboard.

A click or a key returns before the page that it leads to is there. Read that page with `expect`, which waits, or come to it by
`follow(link_or_button)`, after which it is there as a whole.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import Locator, Page, Response, expect, sync_playwright

from tests.browser.evening import play
from tests.browser.routes import SANDBOX, SHUT, route_of
from tests.contract.running import TOKENS, Service, beside_sandbox, eventually, where_it_is_noon

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
PATIENCE_MS = 45_000
CALM = {"CALL_DEADLINE_MS": 60_000, "LEASE_S": 120, "SWEEP_S": 3_600}
"""Settings of a service that waits for a slow machine, and does nothing by itself: no call is tried twice, no payment read once more."""
STEPS = 200
"""Presses of Tab, at most, on the way to something."""
GONE = ("net::ERR_CONNECTION", "net::ERR_EMPTY_RESPONSE", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_CONTENT_LENGTH_MISMATCH")
"""How a browser says that whoever was asked ended, before or while it answered."""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
SHOTS = Path(tempfile.gettempdir()) / "tillproof-screenshots"
"""Where the picture of a page is kept on which a test failed."""
expect.set_options(timeout=PATIENCE_MS)  # Five seconds otherwise, whatever a window's own default is.


@pytest.fixture(scope="module")
def chromium():
    """A browser for a module: as long as it runs, its event loop is in the way of tests elsewhere that have their own."""
    if not CHROMIUM:
        pytest.skip("no browser here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def venue(tmp_path_factory):
    """A `service` beside a `sandbox` after an evening, and its `orders`; for tests that change nothing that others look at.

    It is noon there, so that it is one day for all of them, and what the service keeps in files for a while is in its own folder.
    """
    folder, settings = tmp_path_factory.mktemp("venue"), {"VENUE_NAME": "The Anchor & Hope", "TIMEZONE": where_it_is_noon()}
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(folder))
            peers = running.enter_context(beside_sandbox(folder, **settings, **CALM))
        peers.orders = play(peers)
        yield peers


@pytest.fixture
def visitor(chromium, request):
    """A function that opens a fresh window: `visitor(service)` at its console, logged in as an operator unless `role` says otherwise.

    Whatever the browser complains of, such as a breach of the policy on content, fails the test; but not that a service is gone of which
    a page still asks: the test has ended it.
    """
    windows, complaints, visited = [], [], []

    def enter(service, *, role: str | None = "operator", size=DESKTOP, **options) -> Page:
        window = chromium.new_context(base_url=f"http://127.0.0.1:{service.ports[1]}", viewport=size, **options)
        window.set_default_timeout(PATIENCE_MS)
        windows.append(window)
        visited.append((service, getattr(service, "process", None)))
        page = window.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if role:
            window.request.post("/login", form={"token": TOKENS[role]})  # As the form does, and quicker by two pages.
            page.goto("/")
        return page

    yield enter
    if getattr(request.node, "failed", False):
        name = re.sub(r"[^\w-]+", "-", request.node.name)
        for number, page in enumerate(page for window in windows for page in window.pages):
            page.screenshot(path=SHOTS / f"{name}-{number}.png", full_page=True)
    for window in windows:
        window.close()
    has_ended = any(process and (service.process is not process or process.poll() is not None) for service, process in visited)
    expected = (
        "status of 4",
        "status of 503",
        *(GONE if has_ended else ()),
    )  # A refusal on purpose, or a shut journal, is told there, too.
    assert not [text for text in complaints if not any(each in text for each in expected)], complaints


@pytest.fixture
def page(visitor, venue):
    """The console of the venue's evening, for an operator at a desk."""
    return visitor(venue.service)


def check_page(page: Page, route: str = "") -> None:
    """Fail unless the page that stands open is for everybody: light and dark, on a phone, to axe, and without scripts.

    Axe finds nothing serious or critical in either light; at 360 pixels the page does not scroll sideways, nor is anything lost: fetched
    again with scripts off it has the same heading, links and buttons. Afterwards it stands open as it did. `route` says which page it is,
    as routes.py writes it: that is true, and every page is named so by some test (test_forms.py).
    """
    assert route in {"", SHUT} or route_of(page.url, is_sandbox=route.startswith(SANDBOX)) == route, page.url
    assert (route == SHUT) is page.locator("body[data-closed]").is_visible()
    size = page.viewport_size
    page.emulate_media(color_scheme="light")
    assert_no_barrier(page, "light")
    page.emulate_media(color_scheme="dark")
    assert_no_barrier(page, "dark", runOnly=["color-contrast"])  # All that differs.
    resize(page, PHONE)
    assert_not_wider_than_the_window(page)
    assert_no_barrier(page, "dark, on a phone")
    page.emulate_media(color_scheme="light")
    resize(page, size)
    assert_the_same_without_scripts(page)


def follow(wanted: Locator) -> Response | None:
    """Click a link or a button that leads to a page, and wait until that is there as a whole. The answer that it came in."""
    with wanted.page.expect_navigation() as led:
        wanted.click()
    return led.value


def signed_size(service: Service) -> int:
    """How many entries the journal has, once nothing is on its way that adds to them, and all are signed."""
    service.await_rest()
    eventually(lambda: service.reads.newest_checkpoint_size() == service.reads.size())
    return service.reads.size()


def reload_until_seen(wanted: Locator) -> None:
    """Load the page again until it has `wanted`, as one does without scripts."""

    def is_seen() -> bool:
        wanted.page.reload()
        return wanted.is_visible()

    eventually(is_seen, PATIENCE_MS / 1000)


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until `wanted`, which is one element, has the focus; that it has it must be to be seen."""
    there = wanted.element_handle()  # To look for it anew at every press would take most of the time.
    for _ in range(STEPS):
        page.keyboard.press("Tab")
        if not there.evaluate("each => each === document.activeElement || !each.isConnected"):
            continue
        there = wanted.element_handle()
        if there.evaluate("each => each === document.activeElement"):
            outline = there.evaluate("each => [getComputedStyle(each).outlineStyle, getComputedStyle(each).outlineWidth]")
            assert outline[0] != "none" and outline[1] != "0px", f"nobody sees that it has the focus: {wanted}"  # noqa: PT018
            return
    raise AssertionError(f"not reached by Tab: {wanted}")


def resize(page: Page, size: dict[str, int]) -> None:
    """Give the window another size, and wait until the page has it."""
    page.set_viewport_size(size)
    page.wait_for_function("width => innerWidth === width", arg=size["width"])


def assert_no_barrier(page: Page, where: str, **options: object) -> None:
    """Axe, with its `options`, finds nothing serious or critical in the page as it is now."""
    found = [
        each
        for each in Axe().run(page, options={**DEFAULT_OPTIONS, **options}).response["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
    told = [f"{each['id']}: {node['html'][:200]}: {node['failureSummary']}" for each in found for node in each["nodes"][:3]]
    assert not told, f"{page.url}, {where}: {told}"


def assert_not_wider_than_the_window(page: Page) -> None:
    """The page as a whole does not scroll sideways; a table or picture within it may."""
    widths = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    wide = """() => [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
        .filter((each) => !each.closest(".wide, .diagram, pre, .visually-hidden, .skip"))
        .slice(0, 5).map((each) => each.outerHTML.slice(0, 160))"""
    assert widths[0] <= widths[1], f"{page.url} is {widths[0]} wide in {widths[1]}: {page.evaluate(wide)}"


def assert_the_same_without_scripts(page: Page) -> None:
    """A browser without scripts, with this one's session, is offered the same heading, links and buttons."""
    state, lacking = page.context.storage_state(), list[str]()
    window = page.context.browser.new_context(java_script_enabled=False, storage_state=state, viewport=DESKTOP)
    bare = window.new_page()

    def is_the_same() -> bool:
        """By now: the page follows what changes within seconds, the other one when it is loaded again."""
        bare.goto(page.url)
        lacking[:] = [f"{role} {text}" for role in ("link", "button") for text in texts_of(page, role) - texts_of(bare, role)]
        lacking[:0] = texts(page.get_by_role("heading", level=1)) ^ texts(bare.get_by_role("heading", level=1))
        return not lacking

    try:
        with suppress(AssertionError):
            eventually(is_the_same)
        assert not lacking, f"{page.url}: without scripts there is no {lacking}"
    finally:
        window.close()


def texts_of(page: Page, role: Literal["link", "button"]) -> set[str]:
    """What all of the page itself say that have this role, but for what asks the browser to print."""
    return texts(page.locator("main").get_by_role(role).and_(page.locator(":not([data-print])")))


def texts(found: Locator) -> set[str]:
    """What all of them say, however their lines break."""
    return {" ".join(text.split()) for text in found.all_text_contents()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
