"""The pages that lie behind others, forms with their previews above all; and that every page there is, is for everybody."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.browser.conftest import DESKTOP, PHONE, assert_not_wider_than_the_window, check_page, resize
from tests.browser.routes import pages

BEHIND = {
    "/setup/keys/rotate": lambda _venue: "/setup/keys/rotate",
    "/orders/<order_id>/resolve": lambda venue: f"/orders/{venue.orders.mismatch}/resolve?action=mark_given_back",
    "/act": lambda _venue: "/act?action=acknowledge&code=OVERPAID",
    "/outbox/<task_id>/requeue": lambda venue: f"/outbox/{venue.service.tasks(venue.orders.paid)[0]['id']}/requeue",
}


@pytest.mark.parametrize("route", BEHIND)
def test_a_page_behind_a_page_is_for_everybody(page, venue, route):
    assert page.goto(BEHIND[route](venue)).status == 200
    check_page(page, route)


FEW = """() => ["main > section", "nav ul", "tbody"].forEach((all) => document.querySelectorAll(all).forEach((each) =>
    [...each.querySelectorAll(":scope > article, :scope > li, :scope > tr")].slice(2).forEach((further) => further.remove())))"""
"""Leaves two of each kind in a description: axe would look at all of them, which are alike, for a minute."""


def test_the_descriptions_of_what_either_side_is_asked_are_for_everybody(page, venue):
    for port in venue.service.ports:
        assert page.goto(f"http://127.0.0.1:{port}/docs").status == 200
        page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        resize(page, PHONE)
        assert_not_wider_than_the_window(page)
        resize(page, DESKTOP)
    page.evaluate(FEW)
    check_page(page)  # Of the venue's side: the other is made of the same template.


def test_there_is_no_page_that_no_test_looks_at():
    """A test names the page that it checks: in its call of `check_page`, or as its parameter `route`."""
    looked_at = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        looked_at |= set(re.findall(r'check_page\(.+, "([^"]+)"\)', path.read_text("utf-8")))
        for test in vars(importlib.import_module(f"tests.browser.{path.stem}")).values():
            marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize" and mark.args[0] == "route"]
            looked_at |= {route for mark in marks for route in mark.args[1]}
    assert looked_at == pages()
