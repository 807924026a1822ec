"""Long work that a page starts: one job at a time, in a thread of its own, after all others; each kind's last outcome is kept."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from workflow.clock import Clock, to_text
from workflow.errors import WorkflowError

NICENESS = 10
T = TypeVar("T")
Progress = Callable[[int], None]
logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Job(Generic[T]):
    """One run: who asked for it and when (UTC text), how far it is of `total` (0: nobody knows), and what came of it.

    `outcome` is None until it ended well; `error` says why it did not.
    """

    kind: str
    by: str
    began_at: str
    total: int = 0
    done: int = 0
    ended_at: str = ""
    outcome: T | None = None
    error: str = ""
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def is_running(self) -> bool:
        """It has not ended yet."""
        return not self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Until it has ended, but not for longer; whether it has."""
        return self._ended.wait(seconds)


class Jobs:
    """Runs them; safe for many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._latest: dict[str, Job[object]] = {}

    def latest(self, kind: str) -> Job[object] | None:
        """The newest job of this kind, running or ended."""
        return self._latest.get(kind)

    @property
    def running(self) -> Job[object] | None:
        """The one that runs."""
        return next((job for job in list(self._latest.values()) if job.is_running), None)

    def start(self, kind: str, by: str, work: Callable[[Job[object]], object], *, total: int = 0) -> Job[object] | None:
        """Begin; None where another one runs. `work` sets the job's `done` as it goes."""
        with self._lock:
            if self.running:
                return None
            job = Job[object](kind=kind, by=by, began_at=to_text(self._clock.now()), total=total)
            self._latest[kind] = job
        threading.Thread(target=self._run, args=(job, work), name=f"console {kind}", daemon=True).start()
        return job

    def _run(self, job: Job[object], work: Callable[[Job[object]], object]) -> None:
        if sys.platform == "linux":  # Elsewhere a thread has no priority of its own.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            job.outcome = work(job)
        except WorkflowError as error:
            job.error = str(error)
        except Exception as error:  # The top of the thread.
            logger.exception("console job failed", extra={"kind": job.kind})
            job.error = f"it broke off: {type(error).__name__}; the log says more"
        finally:
            job.ended_at = to_text(self._clock.now())
            job._ended.set()
