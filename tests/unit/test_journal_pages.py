"""The page of the journal without a server: what it says while a job ends that it shows."""

from __future__ import annotations

import threading

import pytest

from adapters.console import journal
from adapters.console.jobs import Jobs
from tests.builders import FixedClock
from tests.console_desk import desk_with
from tests.contract.running import PATIENCE
from workflow.upkeep import Report


class Verification:
    """One that ends at the moment at which its outcome is asked for: whoever asked still has the one before."""

    def __init__(self) -> None:
        self.report = Report(at="2026-03-14T12:00:00.000Z", entries=0, seconds=0.0, fault=None)
        self.jobs, self._may_end = Jobs(FixedClock()), threading.Event()
        self._job = self.jobs.start(journal.VERIFY, "jo", self._verify)

    def _verify(self, _job: object) -> None:
        assert self._may_end.wait(PATIENCE)
        self.report = Report(at="2026-03-14T12:01:00.000Z", entries=1, seconds=0.0, fault=None)

    def seen(self) -> Report:
        before = self.report
        self._may_end.set()
        assert self._job.wait(PATIENCE)
        return before


@pytest.fixture
def verification():
    found = Verification()
    yield found
    found.jobs.stop()


def test_a_page_that_is_made_while_a_verification_ends_shows_its_outcome_or_asks_for_itself_again(tmp_path, verification):
    with desk_with(tmp_path, journal.pages, verified=verification.seen, jobs=verification.jobs) as desk:
        desk.venue.open()
        first, second = (desk.ask("/journal").text for _ in range(2))
    assert "Entries 1 to 1 are as they were written." in second
    assert "data-refresh" not in second
    assert "Entries 1 to 1 are as they were written." in first or "data-refresh" in first
