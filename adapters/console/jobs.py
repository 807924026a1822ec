"""Long work that a page starts, in a thread of its own, after all others; of each kind and subject one at a time, whose outcome is kept.

Few at once, in memory, and gone with the process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from workflow.clock import Clock, to_text
from workflow.errors import Refused, WorkflowError

AT_ONCE = 3
"""More jobs than these are not begun."""
KEPT = 16
"""Outcomes that are remembered, each some megabytes at worst; the oldest goes first."""
KEPT_SECONDS = 1800.0
"""What a job made that must be put away again, such as a file, is kept for so long."""
LONGEST_SECONDS = 6 * 3600.0
PAUSE_TIMES, LONGEST_PAUSE_SECONDS = 1.0, 0.2
"""A gentle job rests as long as it has worked since it rested last, so that Dojo's side keeps its turn."""
NICENESS = 10
T = TypeVar("T")
Progress = Callable[[int], None]
logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """The process ends: a job that hears this from its progress lets go of everything."""


class TooLong(WorkflowError):
    """A job took longer than it may. Try again later, or at a terminal."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job(Generic[T]):
    """One run: who asked for it and when (UTC text), `what` it is at, how far it is of `total` (0: nobody knows), and what came of it.

    `outcome` is None until it ended well; `error` says why it did not. `subject` tells several of a kind apart.
    """

    kind: str
    by: str
    began_at: str
    subject: str = ""
    is_gentle: bool = False
    seconds: float = LONGEST_SECONDS
    what: str = ""
    total: int = 0
    done: int = 0
    ended_at: str = ""
    outcome: T | None = None
    error: str = ""
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, repr=False)
    _clock: Clock = field(repr=False)
    _began: float = field(init=False, repr=False)
    _rested: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._began = self._rested = self._clock.monotonic()

    @property
    def is_running(self) -> bool:
        """It has not ended yet."""
        return not self.ended_at

    def wait(self, seconds: float) -> bool:
        """Until it has ended, but not for longer; whether it has."""
        return self._ended.wait(seconds)

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[Progress]:
        """What it is at from now on; to be told how much is done. Telling raises Cancelled and TooLong."""
        self.what, self.total = what, total or 0
        self.tell(0)
        yield self.tell

    def tell(self, done: int) -> None:
        """So much is done. Raises Cancelled, TooLong."""
        self.done, now = done, self._clock.monotonic()
        if now - self._began > self.seconds:
            raise TooLong(f"it took more than {self.seconds:,.0f} s")
        rest = min(LONGEST_PAUSE_SECONDS, PAUSE_TIMES * (now - self._rested)) if self.is_gentle else 0.0
        if self._stopping.wait(rest) if rest else self._stopping.is_set():
            raise Cancelled
        self._rested = self._clock.monotonic()


class Jobs:
    """Runs them; safe for many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock, self._stopping = clock, threading.Lock(), threading.Event()
        self._latest: OrderedDict[tuple[str, str], Job[object]] = OrderedDict()

    def latest(self, kind: str, subject: str = "") -> Job[object] | None:
        """The newest job of this kind and subject as it is at this moment: it does not end while a page is made of it."""
        with self._lock:
            return copy(self._latest.get((kind, subject)))

    def start(
        self,
        kind: str,
        by: str,
        work: Callable[[Job[object]], object],
        *,
        subject: str = "",
        total: int = 0,
        is_gentle: bool = False,
        seconds: float = LONGEST_SECONDS,
    ) -> Job[object] | None:
        """Begin; None where one of this kind and subject runs already. Raises Refused where too many run, or the process ends.

        `work` tells the job how far it is (`done`, `tell`, `bar`); what it returns is the outcome, whose `close`, where it has one, is
        called once nobody can ask for it any more.
        """
        with self._lock:
            before = self._latest.get((kind, subject))
            if before and before.is_running:
                return None
            if self._stopping.is_set() or sum(job.is_running for job in self._latest.values()) >= AT_ONCE:
                raise Refused("too much is under way at this moment: wait until something of it has ended")
            job = Job[object](
                kind=kind,
                by=by,
                began_at=to_text(self._clock.now()),
                subject=subject,
                total=total,
                is_gentle=is_gentle,
                seconds=seconds,
                _clock=self._clock,
                _stopping=self._stopping,
            )
            _put_away(self._latest.pop((kind, subject), None))
            self._latest[kind, subject] = job
            while len(self._latest) > KEPT:
                oldest = next(key for key, each in self._latest.items() if not each.is_running)
                _put_away(self._latest.pop(oldest))
        threading.Thread(target=self._run, args=(job, work), name=f"console {kind}", daemon=True).start()
        return job

    def stop(self) -> None:
        """Begin nothing more; what runs hears of it at its next step, what was made is put away."""
        self._stopping.set()
        with self._lock:
            for job in self._latest.values():
                _put_away(job)

    def _run(self, job: Job[object], work: Callable[[Job[object]], object]) -> None:
        if sys.platform == "linux":  # Elsewhere a thread has no priority of its own.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        outcome, trouble = None, ""
        try:
            outcome = work(job)
        except Cancelled:
            trouble = "the service ended"
        except WorkflowError as error:
            trouble = str(error)
        except Exception as error:  # The top of the thread.
            logger.exception("console job failed", extra={"kind": job.kind})
            trouble = f"it broke off: {type(error).__name__}; the log says more"
        finally:  # Told of last: whoever sees that it ended finds so in the log.
            logger.info("console job ended", extra={"kind": job.kind, "subject": job.subject, "by": job.by, "error": trouble})
            with self._lock:
                job.outcome, job.error, job.ended_at = outcome, trouble, to_text(self._clock.now())
            job._ended.set()
        if hasattr(job.outcome, "close"):
            self._stopping.wait(KEPT_SECONDS)
            _put_away(job)


def _put_away(job: Job[object] | None) -> None:
    close = getattr(job.outcome, "close", None) if job else None
    if close:
        close()
