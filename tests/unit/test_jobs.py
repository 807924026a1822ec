"""Long work behind a page: one at a time, with an outcome or a reason."""

from __future__ import annotations

import threading

import pytest

from adapters.console.jobs import AT_ONCE, Jobs
from tests.builders import FixedClock
from workflow.errors import Refused, TryAgain

PATIENCE = 15.0


def test_of_a_kind_one_job_runs_at_a_time_and_says_how_far_it_is_and_for_whom():
    jobs, go_on, began = Jobs(FixedClock()), threading.Event(), threading.Event()

    def work(job):
        job.tell(3)
        began.set()
        assert go_on.wait(PATIENCE)
        return "whole"

    first = jobs.start("verify", "olga", work, total=5)
    assert began.wait(PATIENCE)
    assert (first.is_running, first.by, first.done, first.total) == (True, "olga", 3, 5)
    assert jobs.start("verify", "ann", lambda job: "never") is None
    assert jobs.start("check", "ann", lambda job: "beside it").wait(PATIENCE)
    go_on.set()
    assert first.wait(PATIENCE)
    assert (first.outcome, first.error, jobs.latest("verify") is first, bool(first.ended_at)) == ("whole", "", True, True)
    assert jobs.start("verify", "ann", lambda job: "then").wait(PATIENCE)


def test_more_jobs_than_a_few_are_refused_and_what_runs_hears_that_the_process_ends():
    jobs, go_on = Jobs(FixedClock()), threading.Event()

    def work(job):
        assert go_on.wait(PATIENCE)
        job.tell(1)

    begun = [jobs.start(f"job {number}", "olga", work) for number in range(AT_ONCE)]
    with pytest.raises(Refused):
        jobs.start("one more", "olga", work)
    jobs.stop()
    go_on.set()
    assert all(job.wait(PATIENCE) for job in begun)
    assert {job.error for job in begun} == {"the service ended"}
    with pytest.raises(Refused):
        jobs.start("after the end", "olga", work)


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
