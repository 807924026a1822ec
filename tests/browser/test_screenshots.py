"""The pictures in README.md and docs/: each is there, is made by the command, and is of a page that is there."""

from __future__ import annotations

import re
from types import SimpleNamespace

from adapters.console.site import NAVIGATION
from tests.contract.running import ROOT
from tests.screenshots import FOLDER, SHOTS, Photographer

MOST_BYTES = 1_200_000
PNG = b"\x89PNG\r\n"


def shown():
    """Every picture that a page shows, by its file."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = ((page, target) for page in pages for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+\.png)", page.read_text("utf-8")))
    return {(page.parent / target).resolve() for page, target in found}


def test_every_picture_that_a_page_shows_is_taken_by_the_command_and_every_one_taken_is_shown_and_small():
    taken = {FOLDER / f"{shot.name}.png" for shot in SHOTS}
    assert shown() == taken == set(FOLDER.glob("*"))
    assert all(path.read_bytes().startswith(PNG) for path in taken)
    assert sum(path.stat().st_size for path in taken) < MOST_BYTES


def test_every_main_page_is_on_a_picture():
    pictured = {"/" + shot.path.split("/")[1] for shot in SHOTS if shot.site == "console"}
    assert {place.path for place in NAVIGATION} <= pictured
    assert {shot.path.split("?")[0].split("/")[1] for shot in SHOTS if shot.site == "sandbox"} == {"phone", "panel"}


def test_every_page_that_is_pictured_answers_and_has_what_is_pressed_and_looked_for(visitor, venue):
    page, orders = visitor(venue.service), {"stuck": venue.orders.mismatch, "retried": venue.orders.retried}
    for shot in SHOTS:
        site = venue.sandbox.url if shot.site == "sandbox" else f"http://127.0.0.1:{venue.service.ports[1]}"
        assert page.goto(site + shot.path.format(**orders)).status == 200, shot
        if shot.from_heading:
            assert page.get_by_role("heading", name=shot.from_heading).count() == 1
        if shot.press:
            assert page.get_by_role("button", name=re.compile(shot.press)).count() == 1


def test_the_command_takes_a_picture_of_a_page(chromium, venue):
    [timeline] = [shot for shot in SHOTS if shot.name == "order-timeline"]
    peers = SimpleNamespace(service=venue.service, sandbox=venue.sandbox, orders={"retried": venue.orders.retried})
    assert Photographer(chromium, peers).take(timeline).startswith(PNG)
