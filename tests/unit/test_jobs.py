"""Long work behind a page: one at a time, with an outcome or a reason."""

from __future__ import annotations

import threading

from adapters.console.jobs import Jobs
from tests.builders import FixedClock
from workflow.errors import TryAgain

PATIENCE = 15.0


def test_one_job_runs_at_a_time_and_says_how_far_it_is_and_for_whom():
    jobs, go_on, began = Jobs(FixedClock()), threading.Event(), threading.Event()

    def work(job):
        job.done = 3
        began.set()
        assert go_on.wait(PATIENCE)
        return "whole"

    first = jobs.start("verify", "olga", work, total=5)
    assert began.wait(PATIENCE)
    assert (first.is_running, first.by, first.done, first.total) == (True, "olga", 3, 5)
    assert jobs.start("check", "ann", lambda job: "never") is None
    assert (jobs.latest("check"), jobs.running) == (None, first)
    go_on.set()
    assert first.wait(PATIENCE)
    assert (first.outcome, first.error, jobs.latest("verify") is first) == ("whole", "", True)
    assert first.ended_at
    assert jobs.start("check", "ann", lambda job: "then").wait(PATIENCE)


def test_why_a_job_broke_off_is_kept_and_another_may_begin(caplog):
    def refused(job):
        raise TryAgain("the journal cannot be read")

    def broken(job):
        raise KeyError("canary")

    jobs = Jobs(FixedClock())
    first, second = jobs.start("verify", "olga", refused), None
    assert first.wait(PATIENCE)
    assert (first.outcome, first.error) == (None, "the journal cannot be read")
    second = jobs.start("verify", "olga", broken)
    assert second.wait(PATIENCE)
    assert (second.outcome, second.error) == (None, "it broke off: KeyError; the log says more")
    assert "console job failed" in caplog.text
