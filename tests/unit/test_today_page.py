"""The first page without a server: what it says of troubles that stand in no journal."""

from __future__ import annotations

import pytest

from adapters.console import today
from tests.console_desk import desk_with
from workflow.journal.condition import DISK_FULL

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
