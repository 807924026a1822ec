"""What is done for the journal while it is served: it is verified in the background, and it hears of the trouble that it had.

Two threads. One looks each second whether trouble has come or gone, and journals what is over. The other verifies everything at the
start and then once a period, in small slices with long pauses, so that no request waits for it.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from workflow.clock import Clock, to_text
from workflow.commands import NoteTrouble
from workflow.engine import Engine
from workflow.errors import JournalUnavailable
from workflow.journal.condition import CHAIN_BROKEN, JOURNAL_DAMAGED
from workflow.journal.reads import SqliteReads, TimeLimit
from workflow.journal.sqlite import SqliteJournal
from workflow.journal.witness import Witnessed
from workflow.replay import Bar, Progress
from workflow.verification import Fault, Verifier

WATCH_SECONDS = 1.0
STOP_SECONDS = 0.2
FIRST_SECONDS = 0.5
"""How long verification may hold up the start: a small journal is whole before it is served, the rest of a large one follows.

A journal that was found broken before is verified whole, however long that takes.
"""
BROKEN_SUFFIX = ".broken"
"""The file beside the witness that says what is wrong with a journal; it is there until one in its place was found whole."""
ENTRIES_AT_ONCE = 50
"""Verified in one go, some milliseconds, in the background."""
PAUSE_SECONDS = 0.02
PAUSE_TIMES = 9
"""The pause between two slices is so many times as long as the slice took: nine tenths of the time belong to others."""
ASKED_PAUSE_TIMES = 1
"""The same where a person waits: half of the time belongs to others."""
TABLE_SECONDS = 30.0
"""SQLite's own check of one table holds a state of the journal, and may so for this long."""
NICENESS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verification that ended last: when (UTC text), how many entries, in how many seconds, and the first fault."""

    at: str
    entries: int
    seconds: float
    fault: Fault | None


class Upkeep:
    """Keeps one journal; `last` is the newest finished verification."""

    def __init__(self, engine: Engine, journal: SqliteJournal, reads: SqliteReads, witness: Path, clock: Clock, period_s: float) -> None:
        self._engine, self._journal, self._clock, self._period_s = engine, journal, clock, period_s
        self._reads, self._witness = reads, witness
        self._mark = witness.with_name(f"{witness.name}{BROKEN_SUFFIX}")
        self.last: Report | None = None
        self._stopping = threading.Event()
        self._first: Verifier | None = self._new_verifier()
        self._began = clock.monotonic()
        self._threads = [
            threading.Thread(target=self._watch_forever, name="journal-watch", daemon=True),
            threading.Thread(target=self._verify_forever, name="journal-verify", daemon=True),
        ]

    def _new_verifier(self) -> Verifier:
        return Verifier(self._reads, Witnessed(self._witness), self._journal.public_key)

    def verify_first(self) -> Fault | None:
        """Verify for at most FIRST_SECONDS, or everything that was broken before, and serve nothing till then; what was found wrong.

        The background goes on where this ended.
        """
        seconds = math.inf if self._mark.exists() else FIRST_SECONDS
        ends_at, verifier = self._began + seconds, self._first
        assert verifier is not None
        verifier.check_integrity(lambda: self._reads.integrity(limit=TimeLimit(self._clock, seconds)))
        while verifier.found.ok and verifier.step(ENTRIES_AT_ONCE) and self._clock.monotonic() < ends_at:
            pass
        return verifier.found.first_bad

    @property
    def is_alive(self) -> bool:
        """Both run, or have not begun yet."""
        return all(thread.is_alive() or thread.ident is None for thread in self._threads)

    def start(self) -> None:
        """Begin both."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both, and journal what is over if that can be done; a check of SQLite's own that is under way is left alone."""
        self._stopping.set()
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(STOP_SECONDS)
        with suppress(JournalUnavailable):
            self._tell_journal()

    def _forever(self, do: Callable[[], None], seconds: float, *, first_after: float) -> None:
        wait = first_after
        while not self._stopping.wait(wait):
            wait = seconds
            try:
                do()
            except JournalUnavailable as error:
                logger.warning("upkeep put off", extra={"error": str(error)})
            except Exception:  # The top of the thread: without it nobody would look any more.
                logger.exception("upkeep failed")

    def _watch_forever(self) -> None:
        self._forever(self._watch, WATCH_SECONDS, first_after=WATCH_SECONDS)

    def _watch(self) -> None:
        self._journal.look()
        if self._journal.is_writable():
            self._tell_journal()

    def _tell_journal(self) -> None:
        over = self._journal.condition.take_over()
        try:
            while over:
                trouble = over[0]
                self._engine.handle(NoteTrouble(code=trouble.code, detail=trouble.detail, since=trouble.since, until=trouble.until))
                del over[0]
        finally:
            self._journal.condition.give_back(over)

    # -- verification

    def _verify_forever(self) -> None:
        _step_back()
        self._forever(self._verify_once, self._period_s, first_after=0.0)

    def _verify_once(self) -> None:
        if self._journal.condition.trouble and self.last and self.last.fault:
            return  # It was found broken, and stays so until somebody puts another one in its place.
        verifier, self._first = self._first or self._new_verifier(), None
        self._conclude(verifier, self._began if self.last is None else self._clock.monotonic())

    def verify(self, bar: Bar) -> Report | None:
        """Verify everything at once, in this thread, for a person who looks on; the same follows as in the background.

        None where the service ends. Raises what `bar` raises, JournalUnavailable.
        """
        verifier, began = self._new_verifier(), self._clock.monotonic()
        with bar("verify", self._reads.size()) as show:
            return self._conclude(verifier, began, pause_times=ASKED_PAUSE_TIMES, show=show)

    def _conclude(
        self, verifier: Verifier, began: float, *, pause_times: float = PAUSE_TIMES, show: Progress = lambda done: None
    ) -> Report | None:
        """Take what is left of a verification, and act on what it found; None where it was time to stop."""
        if not self._finish(verifier, pause_times, show):
            return None
        found, seconds = verifier.found, self._clock.monotonic() - began
        report = Report(at=to_text(self._clock.now()), entries=found.entries, seconds=seconds, fault=found.first_bad)
        facts = {"entries": found.entries, "milliseconds": int(seconds * 1000)}
        if fault := found.first_bad:
            self.refuse(fault)
            logger.critical("journal is not whole", extra=facts | {"seq": fault.seq, "reason": fault.reason, "next": NEXT})
        else:
            logger.info("journal verified", extra=facts)
            with suppress(OSError):
                self._mark.unlink()
        self.last = report  # Told only now: whoever sees a fault finds nothing written any more.
        return report

    def refuse(self, fault: Fault) -> None:
        """From now on nothing is written, after a restart neither: a broken journal is evidence."""
        detail = str(fault)
        self._journal.condition.begin(JOURNAL_DAMAGED if fault.is_of_the_file else CHAIN_BROKEN, detail)
        try:
            self._mark.touch(mode=0o600)
            self._mark.write_text(f"{detail}\n", "utf-8")
        except OSError as error:
            logger.warning("what is wrong with the journal not noted", extra={"error": str(error), "next": NEXT})

    def _finish(self, verifier: Verifier, pause_times: float, show: Progress) -> bool:
        """Take all steps that are left; False where it was time to stop."""
        while verifier.found.ok:
            began = self._clock.monotonic()
            try:
                goes_on = verifier.step(ENTRIES_AT_ONCE)
            except JournalUnavailable:
                goes_on, began = True, began - WATCH_SECONDS / PAUSE_TIMES
            show(verifier.found.entries)
            if not goes_on:
                break
            if self._pause(began, pause_times):
                return False
        for table in self._reads.tables() if verifier.found.ok else ():
            began = self._clock.monotonic()
            answer = verifier.check_integrity(partial(self._reads.integrity, table, limit=TimeLimit(self._clock, TABLE_SECONDS)))
            if answer is None and verifier.found.ok:
                logger.warning("table too large to be checked beside the service", extra={"table": table, "next": NEXT})
            if self._pause(began, pause_times):
                return False
        return True

    def _pause(self, began: float, times: float) -> bool:
        shortest = PAUSE_SECONDS if times == PAUSE_TIMES else 0.0
        return self._stopping.wait(max(shortest, times * (self._clock.monotonic() - began)))


NEXT = "tillproof journal verify"


def _step_back() -> None:
    """Let this thread come after all others, where a thread has a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
