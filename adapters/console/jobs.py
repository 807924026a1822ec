"""What takes longer than a page may: begun by a person, done in a thread of its own, its progress and outcome shown to whoever looks.

One of a kind at a time: whoever asks for what is under way already gets that. Few at once; kept in memory; all end with the process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from workflow.clock import Clock, to_text
from workflow.errors import Refused, WorkflowError
from workflow.replay import Progress

AT_ONCE = 3
"""More jobs than these are not begun."""
KEPT = 64
"""Outcomes that are remembered; the oldest goes first."""
KEPT_SECONDS = 1800.0
"""What a job made that must be put away again, such as a file, is kept for so long."""
PAUSE_TIMES, LONGEST_PAUSE_SECONDS = 1.0, 0.2
"""A gentle job rests as long as it has worked since it rested last, that Dojo's side keeps its turn."""
NICENESS = 10

logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """The process ends: a job that hears this from its progress lets go of everything."""


class TooLong(WorkflowError):
    """A job took longer than it may. Try again later, or at a terminal."""


@dataclass(slots=True, eq=False)
class Job:
    """One job: `what` it is at, `done` of `total` (None where nobody knows); later its `outcome`, or why it `failed`.

    `seconds` is the longest that it may take; a gentle one rests between its steps.
    """

    name: str
    subject: str
    by: str
    started_at: str
    gentle: bool
    seconds: float
    what: str = ""
    done: int = 0
    total: int | None = None
    ended_at: str = ""
    outcome: Any = None
    failed: str = ""
    _stopping: threading.Event = field(default_factory=threading.Event)
    _began: float = field(default_factory=time.monotonic)
    _rested: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """It has ended, one way or the other."""
        return bool(self.ended_at)

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[Progress]:
        """What it is at; to be told how much is done. Telling raises Cancelled and TooLong."""
        self.what, self.done, self.total = what, 0, total
        self.tell(0)
        yield self.tell

    def tell(self, done: int) -> None:
        """So much is done. Raises Cancelled, TooLong."""
        self.done = done
        now = time.monotonic()
        if now - self._began > self.seconds:
            raise TooLong(f"it took more than {self.seconds:,.0f} s")
        rest = min(LONGEST_PAUSE_SECONDS, PAUSE_TIMES * (now - self._rested)) if self.gentle else 0.0
        if self._stopping.wait(rest) if rest else self._stopping.is_set():
            raise Cancelled
        self._rested = time.monotonic()


class Jobs:
    """Begins jobs, and remembers the newest of each name and subject."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock, self._stopping = clock, threading.Lock(), threading.Event()
        self._found: OrderedDict[tuple[str, str], Job] = OrderedDict()

    def start(
        self, name: str, work: Callable[[Job], Any], *, by: str, subject: str = "", gentle: bool = True, seconds: float = 3600.0
    ) -> Job:
        """Begin the job; where one of this name and subject is under way, that one. Raises Refused where too many are, or at the end.

        `work` gets the job, and what it returns becomes the outcome; its `close`, where it has one, is called once it is over and out.
        """
        with self._lock:
            now = self._found.get((name, subject))
            if now and not now.is_over:
                return now
            if self._stopping.is_set() or sum(not job.is_over for job in self._found.values()) >= AT_ONCE:
                raise Refused("too much is under way at this moment: wait until something of it has ended")
            job = Job(name, subject, by, to_text(self._clock.now()), gentle, seconds, _stopping=self._stopping)
            self._put_away(self._found.pop((name, subject), None))
            self._found[name, subject] = job
            while len(self._found) > KEPT:
                self._put_away(self._found.pop(next(key for key, each in self._found.items() if each is not job)))
        threading.Thread(target=self._run, args=(job, work), name=f"job {name}", daemon=True).start()
        return job

    def last(self, name: str, subject: str = "") -> Job | None:
        """The newest job of this name and subject, under way or over."""
        return self._found.get((name, subject))

    def stop(self) -> None:
        """Begin nothing more; what is under way hears of it at its next step, what was made is put away."""
        self._stopping.set()
        with self._lock:
            for job in self._found.values():
                self._put_away(job)

    def _run(self, job: Job, work: Callable[[Job], Any]) -> None:
        _step_back()
        try:
            job.outcome = work(job)
        except Cancelled:
            job.failed = "the service ended"
        except (WorkflowError, OSError) as error:
            job.failed = str(error) or type(error).__name__
        except Exception:  # The top of the thread: whoever waits for it must hear.
            logger.exception("job failed", extra={"job": job.name})
            job.failed = "an error of this program; its log has it"
        job.ended_at = to_text(self._clock.now())
        logger.info("job ended", extra={"job": job.name, "subject": job.subject, "by": job.by, "error": job.failed})
        if hasattr(job.outcome, "close"):
            self._stopping.wait(KEPT_SECONDS)
            self._put_away(job)

    def _put_away(self, job: Job | None) -> None:
        if job and hasattr(job.outcome, "close"):
            job.outcome.close()


def _step_back() -> None:
    """Let this thread come after all others, where a thread has a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
