"""What all pages share: who may see them, and their frame."""

from __future__ import annotations

from tests.browser.conftest import check_page


def test_who_is_not_logged_in_is_asked_for_a_token_and_then_led_where_they_wanted_to_go(venue, visitor):
    page = visitor(venue.service, role=None)
    page.goto("/")
    assert page.url.endswith("/login")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    assert page.get_by_role("alert").is_visible()


def test_the_frame_says_sandbox_and_the_page_is_for_everybody(page):
    assert page.get_by_text("SANDBOX").is_visible()
    check_page(page)


def test_the_login_page_is_for_everybody(venue, visitor):
    page = visitor(venue.service, role=None)
    page.goto("/login")
    check_page(page)
