"""A start: everything is served as soon as the journal can be opened, and until then what can be, without a restart in between.

    the journal is          until it can be opened
      of an older version   nothing is served but MIGRATING, while it is brought up to this one, or but why it cannot be now (K10)
      not writable now      what can be read of it is served, and it is tried again (S2, S16; S1 and S3 at the start)
      not readable either   nothing is served but why, and it is tried again
      behind its witness    nothing is served but HEAD_REGRESSED, until an operator accepts the loss (S11)

Whatever else is wrong ends the program with the exit code of INTERFACE §5, at its first moment or later.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.edge.bill_template import BadTemplate
from adapters.health import Supervisor
from adapters.serving import EXIT_UNEXPECTED, EXIT_UNREACHABLE, Address, Running, Switch, end_worker, text_of
from adapters.venue_server import ThreadedServer
from workflow.clock import Clock, to_text
from workflow.errors import (
    DiskFailed,
    HeadRegressed,
    JournalDamaged,
    JournalInUse,
    JournalUnavailable,
    NotAFile,
    Refused,
    WorkflowError,
)
from workflow.journal.condition import JOURNAL_READ_ONLY, PASSING, Trouble
from workflow.journal.connection import is_writable, refuse_foreign
from workflow.journal.keys import UnusableKey
from workflow.journal.lock import owner_lock
from workflow.journal.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

EXIT_SETTINGS = 3
EXIT_DAMAGED = 5
HEAD_REGRESSED, MIGRATING = "HEAD_REGRESSED", "MIGRATING"
REOPEN_SECONDS = 1.0
"""How often a journal that could not be opened is tried again."""
STOP_SECONDS = 1.0
"""How long an order to stop waits for a try that is under way. A migration takes longer, and the next start makes up for it."""

Accept = Callable[[str, str], str]
"""Accepts a loss for an actor and a reason, and says what was lost. Raises Refused."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Both sides' applications, and what they stand on: what begins to send, what ends waiting, and what ends it all.

    `begin` gets the server of the venue's side, which must live like all the rest.
    """

    dojo: WSGIApplication
    venue: WSGIApplication
    begin: Callable[[ThreadedServer], None] = lambda server: None
    let_go: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the composition root gives; `open` and `read` raise what opening a journal raises.

    `open`: everything around the journal, which is told of trouble that is over. `read`: what needs no writing, while it cannot be
    written for this reason. `shut`: nothing but why, for Dojo in words, for the venue as trouble, and for an operator who may accept a
    loss. `why`: an error as the fields of a log line, with what to run next.
    """

    journal: Path
    clock: Clock
    open: Callable[[Sequence[Trouble]], Opened]
    read: Callable[[JournalUnavailable], Opened]
    shut: Callable[[str, Trouble, Accept | None], Opened]
    accept_loss: Accept
    listen: Callable[[WSGIApplication], ThreadedServer]
    why: Callable[[Exception], dict[str, str]]


def start(parts: Parts) -> Running:
    """Serve the most that the journal allows; SystemExit with the code of INTERFACE §5 where that is nothing."""
    try:
        return _Start(parts).running
    except (WorkflowError, BadTemplate) as error:
        raise SystemExit(_refusal(error, parts)) from error


class _Start:
    """Both sides' servers, and what they serve at this moment."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        """Whoever changes what is served has it."""
        self._stopping = threading.Event()
        self._supervisor = Supervisor(lambda part: None, partial(end_worker, EXIT_UNEXPECTED))
        self._trouble: Trouble | None = None
        """Why the journal cannot be written, and since when."""
        self._is_whole = self._awaits_operator = False
        self._owner = owner_lock(parts.journal)
        """Held while a loss waits for an operator: accepted at the terminal beside it, it would be unknown here, and stand for ever."""
        migrates = _is_older(parts.journal) and is_writable(parts.journal)
        self._shown = self._migrating() if migrates else self._most()
        self._dojo, self._venue = Switch(self._shown.dojo), Switch(self._shown.venue)
        try:
            self._server = _listen(parts, self._venue)
        except SystemExit:
            self._shown.close()
            raise
        self.running = Running(self._dojo, self._stop, partial(_say_where, self._server))
        if self._is_whole:
            self._shown.begin(self._server)
        else:
            self._begin_trying(at_once=migrates)

    # -- what can be served

    def _most(self) -> Opened:
        """The most that can be served now. Raises what must end the program."""
        past = [replace(self._trouble, until=self._now())] if self._trouble else []
        try:
            opened = self._parts.open(past)
        except HeadRegressed as error:
            return self._closed(error)
        except (JournalUnavailable, JournalInUse) as error:
            if not self._may_pass(error):
                raise
            return self._reading(error)
        self._is_whole = True
        for trouble in past:
            logger.warning("journal writable again", extra={"code": trouble.code, "since": trouble.since})
        return opened

    def _may_pass(self, error: WorkflowError) -> bool:
        """It is there and cannot be written now, or for a moment somebody else has it. Of a disk that failed nothing is tried again."""
        if isinstance(error, JournalInUse):
            return self._trouble is not None
        if isinstance(error, DiskFailed) or not os.path.lexists(self._parts.journal):
            return False
        return getattr(error, "code", "") in PASSING or not _is_older(self._parts.journal)  # A migration that is wrong stays so.

    def _migrating(self) -> Opened:
        return self._shut("the journal is being brought up to this version", MIGRATING, "")

    def _closed(self, error: HeadRegressed) -> Opened:
        logger.critical("journal is behind its witness", extra=self._parts.why(error))
        with suppress(OSError):  # Where nothing can be written, nobody else can accept it either.
            self._owner.acquire()
        self._awaits_operator = True
        return self._shut("the journal lacks entries that were acknowledged; an operator must look", HEAD_REGRESSED, str(error))

    def _reading(self, error: JournalUnavailable | JournalInUse) -> Opened:
        """What can be served without writing; nothing but the reason where not even reading works."""
        if self._trouble:
            logger.warning("journal still cannot be written", extra=self._parts.why(error))
        else:
            logger.critical("journal cannot be written", extra=self._parts.why(error))
            code = getattr(error, "code", "") or JOURNAL_READ_ONLY
            self._trouble = Trouble(code=code, since=self._now(), detail=str(error))
        if _is_older(self._parts.journal):
            return self._shut("the journal cannot be brought up to this version now", self._trouble.code, self._trouble.detail)
        try:
            return self._parts.read(JournalUnavailable(self._trouble.detail, code=self._trouble.code))
        except HeadRegressed as regressed:
            return self._closed(regressed)
        except JournalUnavailable as unreadable:
            return self._shut("the journal can be neither written nor read now", self._trouble.code, str(unreadable))

    def _shut(self, told: str, code: str, detail: str) -> Opened:
        """Nothing, and why: Dojo is `told` so in words."""
        since = self._trouble.since if self._trouble else self._now()
        accept = None if code == MIGRATING else self._accept
        return self._parts.shut(told, Trouble(code=code, since=since, detail=detail), accept)

    def _now(self) -> str:
        return to_text(self._parts.clock.now())

    # -- until everything is

    def _begin_trying(self, *, at_once: bool) -> None:
        trying = threading.Thread(target=self._try_until_whole, args=(at_once,), name="journal-open", daemon=True)
        trying.start()
        self._supervisor.start({"venue's side": lambda: self._server.is_alive, "journal opening": trying.is_alive})

    def _try_until_whole(self, at_once: bool) -> None:
        pause = 0.0 if at_once else REOPEN_SECONDS
        while not (self._is_whole or self._stopping.wait(pause)):
            pause = REOPEN_SECONDS
            with self._lock:
                if self._may_work():
                    self._try()

    def _may_work(self) -> bool:
        """Not where a loss waits for an operator, and a disk that takes no writes for whoever mends it."""
        if self._is_whole or self._awaits_operator or self._stopping.is_set():
            return False
        return self._trouble is None or self._trouble.code != JOURNAL_READ_ONLY or is_writable(self._parts.journal)

    def _try(self) -> None:
        self._shown.close()  # Beside a journal that it reads, this process could open none that it writes.
        try:
            self._shown = self._most()
        except (WorkflowError, BadTemplate) as error:  # Whoever starts it again gets the answer of a start.
            self._stopping.set()
            self._supervisor.stop()
            end_worker(_refusal(error, self._parts))
            return
        self._dojo.app, self._venue.app = self._shown.dojo, self._shown.venue
        if self._is_whole:
            self._shown.begin(self._server)
            self._supervisor.stop()  # What is whole has one of its own.

    def _accept(self, actor: str, reason: str) -> str:
        with self._lock:
            if not self._awaits_operator:
                raise Refused("there is no loss to accept")
            self._owner.release()
            try:
                lost = self._parts.accept_loss(actor, reason)
            except Refused:  # It is whole now: a newer journal was put in its place.
                self._serve_again()
                raise
            except UnusableKey as error:  # In an older copy another key may be in force.
                self._owner.acquire()
                raise JournalUnavailable(str(error)) from error
            except WorkflowError:
                self._owner.acquire()
                raise
            self._serve_again()
            return lost

    def _serve_again(self) -> None:
        self._awaits_operator = False
        self._try()

    def _stop(self) -> None:
        self._stopping.set()
        self._supervisor.stop()
        is_ours = self._lock.acquire(timeout=STOP_SECONDS)
        self._shown.let_go()
        self._server.stop()
        if is_ours:
            self._shown.close()
        logger.info("stopped")


def _is_older(journal: Path) -> bool:
    """The journal needs a migration before anything of it can be served."""
    with suppress(JournalUnavailable):  # Whoever opens it meets the same.
        return os.path.lexists(journal) and refuse_foreign(journal) < SCHEMA_VERSION
    return False


def _refusal(error: WorkflowError | BadTemplate, parts: Parts) -> int:
    """Say why nothing is served; the exit code that goes with it."""
    said, code = "not started", EXIT_SETTINGS
    if isinstance(error, JournalInUse):
        said, code = "journal in use", EXIT_UNREACHABLE
    elif isinstance(error, DiskFailed):
        said, code = "disk failed", EXIT_UNEXPECTED
    elif isinstance(error, JournalDamaged) and not isinstance(error, NotAFile):
        said, code = "journal refused", EXIT_DAMAGED
    logger.critical(said, extra=parts.why(error))
    return code


def _listen(parts: Parts, app: WSGIApplication) -> ThreadedServer:
    venue = parts.listen(app)
    try:
        venue.start()
    except OSError as error:
        following = "free it, or set TILLPROOF_CONSOLE_LISTEN to another, then tillproof serve"
        facts = {"address": text_of(venue.address), "reason": str(error), "next": following}
        logger.critical("address not available", extra=facts)
        raise SystemExit(EXIT_UNREACHABLE) from error
    return venue


def _say_where(venue: ThreadedServer, address: Address) -> None:
    """One line of JSON on stdout for whoever started this: where either side listens."""
    urls = {name: f"http://{text_of(each)}" for name, each in {"listen": address, "consoleListen": venue.address}.items()}
    sys.stdout.write(msgspec.json.encode(urls).decode() + "\n")
    sys.stdout.flush()
