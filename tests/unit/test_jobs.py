"""Long work in the background: once at a time, seen while it runs, told when it fails, and over with the process."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest

from adapters.console import jobs, sealed
from adapters.console.jobs import LONGEST_PAUSE_SECONDS, Jobs
from tests.builders import FixedClock
from tests.contract.running import PATIENCE
from workflow.errors import JournalUnavailable, Refused


@pytest.fixture
def kept():
    found = Jobs(FixedClock())
    yield found
    found.stop()


class Slow:
    """Work that waits to be let go, and then returns `outcome`."""

    def __init__(self, outcome=None):
        self.go, self.begun, self.outcome = threading.Event(), threading.Event(), outcome

    def __call__(self, job):
        self.begun.set()
        with job.bar("counting", 3) as show:
            show(1)
            assert self.go.wait(PATIENCE)
            show(3)
        return self.outcome


def test_a_job_is_seen_under_way_and_its_outcome_afterwards(kept):
    work = Slow("done")
    job = kept.start("verify", "jo", work)
    assert work.begun.wait(PATIENCE)
    seen = kept.latest("verify")
    assert (seen.by, seen.is_running, seen.began_at) == ("jo", True, "2026-03-14T12:00:00.000Z")
    work.go.set()
    assert job.wait(PATIENCE)
    ended = kept.latest("verify")
    assert not ended.is_running
    assert (ended.outcome, ended.error, ended.done, ended.total, ended.what) == ("done", "", 3, 3, "counting")


def test_what_a_page_has_seen_of_a_job_stays_as_it_was_while_the_job_goes_on(kept):
    """A page asks first for the outcome and then whether the job runs: one that ended in between had nothing, and was over."""
    work = Slow("done")
    job = kept.start("verify", "jo", work)
    assert work.begun.wait(PATIENCE)
    seen = kept.latest("verify")
    work.go.set()
    assert job.wait(PATIENCE)
    assert (seen.outcome, seen.is_running) == (None, True)


def test_of_a_kind_and_subject_one_runs_at_a_time_however_many_ask(kept):
    work, other = Slow(), Slow()
    job = kept.start("compare", "jo", work, subject="2026-03-14")
    assert [kept.start("compare", "mo", other, subject="2026-03-14") for _ in range(5)] == [None] * 5
    assert kept.start("compare", "mo", other, subject="2026-03-15")
    assert [kept.latest("compare", day).by for day in ("2026-03-14", "2026-03-15")] == ["jo", "mo"]
    work.go.set()
    other.go.set()
    assert job.wait(PATIENCE)
    assert kept.start("compare", "mo", lambda job: None, subject="2026-03-14")


def test_few_run_at_once_and_more_are_refused(kept):
    slow = [Slow() for _ in range(jobs.AT_ONCE)]
    for number, work in enumerate(slow):
        kept.start("compare", "jo", work, subject=str(number))
    with pytest.raises(Refused, match="too much is under way"):
        kept.start("verify", "jo", Slow())
    for work in slow:
        work.go.set()


@pytest.mark.parametrize(
    ("error", "told"), [(JournalUnavailable("no room"), "no room"), (ValueError("secret"), "it broke off: ValueError")]
)
def test_why_a_job_did_not_end_well_is_told(kept, error, told):
    def work(job):
        raise error

    job = kept.start("seal", "jo", work)
    assert job.wait(PATIENCE)
    assert job.outcome is None
    assert told in job.error
    assert "secret" not in job.error


def test_a_job_that_takes_too_long_is_broken_off():
    clock, told = FixedClock(), []

    def work(job):
        for seconds in (10, 1):
            clock.move(seconds)
            job.tell(1)
            told.append(seconds)

    job = Jobs(clock).start("compare", "jo", work, seconds=10)
    assert job.wait(PATIENCE)
    assert (told, job.error) == ([10], "it took more than 10 s")


def test_a_job_is_not_broken_off_by_a_wall_clock_that_jumps():
    clock = FixedClock()

    def work(job):
        clock.jump(86_400)
        job.tell(1)

    job = Jobs(clock).start("compare", "jo", work, seconds=10)
    assert job.wait(PATIENCE)
    assert job.error == ""


@pytest.mark.parametrize(("worked", "rested"), [(0.1, 0.1), (5, LONGEST_PAUSE_SECONDS)])
def test_a_gentle_job_rests_as_long_as_it_has_worked_but_not_for_long(monkeypatch, worked, rested):
    clock, rests = FixedClock(), []

    def work(job):
        monkeypatch.setattr(job._stopping, "wait", lambda seconds: rests.append(round(seconds, 6)))
        clock.move(worked)
        job.tell(1)
        job.tell(2)

    job = Jobs(clock).start("verify", "jo", work, is_gentle=True)
    assert job.wait(PATIENCE)
    assert rests == [rested]


def test_the_end_of_the_process_ends_what_runs_and_puts_away_what_was_made(kept):
    class Made:
        closed = threading.Event()

        def close(self):
            self.closed.set()

    made = kept.start("seal", "jo", lambda job: Made())
    assert made.wait(PATIENCE)
    work = Slow()
    running = kept.start("verify", "jo", work)
    assert work.begun.wait(PATIENCE)
    kept.stop()
    work.go.set()
    assert running.wait(PATIENCE)
    assert running.error == "the service ended"
    assert Made.closed.is_set()
    with pytest.raises(Refused):
        kept.start("verify", "jo", Slow())


def test_of_outcomes_only_so_many_are_remembered(kept, monkeypatch):
    monkeypatch.setattr(jobs, "KEPT", 2)
    for number in range(4):
        assert kept.start("compare", "jo", lambda job: None, subject=str(number)).wait(PATIENCE)
    assert [kept.latest("compare", str(number)) is None for number in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(("free", "is_refused"), [(None, False), (2_000_000_000, False), (1_000_000_000, True)])
def test_a_replay_that_would_take_the_memory_of_the_service_is_refused_in_words(monkeypatch, free, is_refused):
    monkeypatch.setattr(sealed, "_free_memory", lambda: free)
    told = pytest.raises(Refused, match="to replay 1,000,000 entries takes 600 MB of memory, and 1,000 MB are free")
    with told if is_refused else nullcontext():
        sealed.require_memory(1_000_000)


def test_how_much_memory_is_free_is_known_where_the_system_says_so():
    assert sealed._free_memory() is None or sealed._free_memory() > 1_000_000
