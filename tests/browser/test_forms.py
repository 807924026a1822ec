"""The pages that lie behind others: forms with their previews, and what is opened rarely, are for everybody as well."""

from __future__ import annotations

import pytest

from tests.browser.conftest import check_page


@pytest.fixture(scope="module")
def paths(venue):
    orders = venue.orders
    return [
        "/machines/payment",
        "/machines/fulfilment",
        "/setup/keys/rotate",
        "/setup/capabilities/register",
        f"/orders/{orders.hostile}/erase",
        f"/orders/{orders.mismatch}/resolve?action=mark_given_back",
        "/outbox?status=dead",
        "/journal/1",
    ]


def test_every_form_and_every_page_behind_a_page_is_for_everybody(page, paths):
    for path in paths:
        answer = page.goto(path)
        assert answer.status in {200, 409}, path
        check_page(page)
