"""Chromium, and a service with an evening behind it: what the pages are tried in and on."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.evening import play
from tests.contract.running import TOKENS, beside_sandbox

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
PATIENCE_MS = 15_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
SHOTS = Path(tempfile.gettempdir()) / "tillproof-screenshots"
"""Where the picture of a page is kept on which a test failed."""


@pytest.fixture(scope="session")
def chromium():
    """A browser for the whole run."""
    if not CHROMIUM:
        pytest.skip("no browser here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def venue(tmp_path_factory):
    """A `service` beside a `sandbox` after an evening, and its `orders`; for tests that change nothing that others look at."""
    with beside_sandbox(tmp_path_factory.mktemp("venue"), VENUE_NAME="The Anchor & Hope") as peers:
        peers.orders = play(peers)
        yield peers


@pytest.fixture
def visitor(chromium, request):
    """A function that opens a fresh window: `visitor(service)` at its console, logged in as an operator unless `role` says otherwise.

    Whatever the browser complains of, such as a breach of the policy on content, fails the test.
    """
    windows, complaints = [], []

    def enter(service, *, role: str | None = "operator", size=DESKTOP, **options) -> Page:
        window = chromium.new_context(base_url=f"http://127.0.0.1:{service.ports[1]}", viewport=size, **options)
        window.set_default_timeout(PATIENCE_MS)
        windows.append(window)
        page = window.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if role:
            page.goto("/login")
            page.get_by_label("Token").fill(TOKENS[role])
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(re.compile(r"/$"))
        return page

    yield enter
    if getattr(request.node, "failed", False):
        name = re.sub(r"[^\w-]+", "-", request.node.name)
        for number, page in enumerate(page for window in windows for page in window.pages):
            page.screenshot(path=SHOTS / f"{name}-{number}.png", full_page=True)
    for window in windows:
        window.close()
    assert not [text for text in complaints if "status of 4" not in text], complaints  # A refusal on purpose is told there, too.


@pytest.fixture
def page(visitor, venue):
    """The console of the venue's evening, for an operator at a desk."""
    return visitor(venue.service)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
