"""The first page without a server: what it says of troubles that stand in no journal."""

from __future__ import annotations

import pytest

from adapters.console import Sessions, login, today
from adapters.settings import read_settings
from adapters.sides import closed_sides
from tests.builders import FixedClock
from tests.console_desk import desk_with, text_of
from workflow.journal.condition import DISK_FULL, Trouble

ALL_WELL = "Nothing needs a person."


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path, today.pages) as made:
        yield made


def test_a_disk_that_is_full_is_told_at_once_though_nothing_can_be_written_of_it(desk):
    assert ALL_WELL in desk.get("/")
    desk.venue.journal.condition.begin(DISK_FULL, "no space left on device")
    assert ALL_WELL not in desk.get("/")
    desk.venue.journal.condition.end_passing()
    assert ALL_WELL in desk.get("/")


LIVE, SANDBOX = "LIVE real money", "SANDBOX no real money"


@pytest.mark.parametrize(("is_live", "banner", "other"), [(True, LIVE, SANDBOX), (False, SANDBOX, LIVE)])
def test_every_page_says_whether_money_is_real(tmp_path, is_live, banner, other):
    with desk_with(tmp_path, today.pages, login.pages, is_live=is_live) as desk:
        for page in (desk.get("/"), desk.get("/help"), desk.get("/login")):
            assert banner in page
            assert other not in page


@pytest.mark.parametrize(("key", "banner"), [("sk_prod_1", LIVE), ("sk_sandbox_1", SANDBOX)])
def test_by_the_key_to_dojo_the_console_knows_whether_money_is_real(key, banner):
    settings = read_settings({"TILLPROOF_DOJO_API_KEY": key}, None)
    trouble = Trouble(code="DB_LOCKED", since="2026-03-14T12:00:00.000Z", detail="it is locked")
    _, venue = closed_sides(settings, Sessions(FixedClock()), "come again", trouble, None)
    assert banner in text_of(venue.test_client().get("/login").text)


def test_when_dojo_was_last_heard_stands_among_the_calls_and_at_the_head_of_every_page(desk):
    never = desk.get("/")
    desk.heard.hear()
    at_once = desk.get("/")
    desk.venue.clock.move(6 * 60)
    later = desk.get("/")

    assert "Dojo not heard yet" in never
    assert "Last heard from Dojo not yet" in never
    assert "Dojo heard just now" in at_once
    assert "Last heard from Dojo just now" in at_once
    assert "Dojo heard 6 min ago" in later
    assert "Last heard from Dojo 12:00:00 (6 min ago)" in later
