"""The end of the journal, and what comes behind it: what `journal tail` shows, and how it stays with a journal that others write."""

from __future__ import annotations

import errno
import os
import select
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from adapters.api.views import entry_view
from adapters.cli.orders import entry_lines, happened
from adapters.cli.output import cut, emit
from workflow.errors import JournalUnavailable, WorkflowError
from workflow.journal.connection import reading
from workflow.journal.reads import SqliteReads, StoredEntry

TAIL_SECONDS = 0.5
"""How often more is looked for."""
LEAST_COLUMNS = 60
"""A narrower terminal wraps."""
WIDE, ID_END = 120, 10
"""From so many columns on an order's id is shown whole; else so many characters of its end."""


def tail(path: Path, count: int, *, follow: bool, as_json: bool) -> None:
    """Print the newest `count` entries, and with `follow` whatever comes, until Ctrl-C or until nobody reads any more.

    A journal that is put in the place of this one is gone on with where it has the entry that was printed last, else from its end, which
    is said on stderr. Raises JournalUnavailable, JournalDamaged and what else refuses a journal, but only at the beginning: later it waits.
    """
    printer = _Printer(as_json)
    try:
        followed = _Followed(path)
        followed.begin(count, printer)
        while follow and not _is_nobody_there():
            time.sleep(TAIL_SECONDS)
            followed.go_on(printer)
    except KeyboardInterrupt:
        return
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        _let_go_of_stdout()


class _Followed:
    """The journal at a path, whichever file that is, and how far it was printed: position and hash of an entry, (0, None) before any."""

    _printed: tuple[int, str | None] = (0, None)
    _files: tuple[tuple[int, int] | None, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self._journal_id, _ = self._asked()

    def begin(self, count: int, printer: _Printer) -> None:
        """Print the newest `count` entries."""
        newest = self._reads.last_entries(max(count, 1))
        if count:
            printer.show(newest)
        if newest:
            self._printed = (newest[-1].seq, newest[-1].hash)

    def go_on(self, printer: _Printer) -> None:
        """Print what has come since. Whatever keeps it from being read may pass: that is said once, and asked again the next time."""
        try:
            if _identity(self._path) != self._files:
                self._reads.close()
                self._open()
            self._see_that_it_is_the_same()
            for entry in self._reads.entries(after=self._printed[0]):
                printer.show([entry])
                self._printed = (entry.seq, entry.hash)
            printer.is_waiting = False
        except WorkflowError as error:
            self._files = ()  # What the connection knows of the file may be what was wrong.
            printer.wait(str(error))

    def _open(self) -> None:
        files = _identity(self._path)
        with reading(self._path):
            pass  # Refuses what is not a journal of ours.
        self._reads = SqliteReads(self._path, is_shared=True)
        self._reads.keep_spare()
        self._files = files

    def _see_that_it_is_the_same(self) -> None:
        seq, hash_ = self._printed
        journal_id, there = self._asked()
        if (journal_id, there) == (self._journal_id, hash_):
            return
        newest = self._reads.last_entries(1)
        self._printed = (newest[0].seq, newest[0].hash) if newest else (0, None)
        older = "an older state" if self._printed[0] < seq else "another state"
        whose = older if journal_id == self._journal_id else "another journal"
        self._journal_id = journal_id
        click.echo(f"The file was replaced by {whose} with {self._printed[0]:,} entries; going on behind these.", err=True)

    def _asked(self) -> tuple[str, str | None]:
        """Whose entries these are, and the hash that the last printed one has here."""
        sql = "SELECT value, (SELECT hash FROM journal WHERE seq = ?) FROM meta WHERE name = 'journal_id'"
        [(journal_id, hash_)] = self._reads.rows(sql, (self._printed[0],))
        return journal_id, hash_


def _identity(path: Path) -> tuple[tuple[int, int] | None, ...]:
    """Which files the journal and its log are: of one that was put in their place another connection must read."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise JournalUnavailable(f"{path}: {error.strerror}") from error
    log = None
    with suppress(OSError):
        log = os.stat(f"{path}-wal")
    return (found.st_dev, found.st_ino), (log.st_dev, log.st_ino) if log else None


class _Printer:
    """Prints entries: one JSON object a line, columns on a terminal, whole lines elsewhere."""

    def __init__(self, as_json: bool) -> None:
        self.is_waiting, self._as_json, self._date = False, as_json, ""

    def show(self, entries: Iterable[StoredEntry]) -> None:
        for entry in entries:
            emit(self._as_json, entry_view(entry), partial(self._lines, entry))

    def _lines(self, entry: StoredEntry) -> Iterator[str]:
        if sys.stdout.isatty():
            return self._columns(entry, max(LEAST_COLUMNS, shutil.get_terminal_size().columns))
        return entry_lines([entry])

    def wait(self, why: str) -> None:
        """Say once why nothing comes."""
        if not self.is_waiting:
            click.echo(f"Waiting: {why}", err=True)
        self.is_waiting = True

    def _columns(self, entry: StoredEntry, width: int) -> Iterator[str]:
        """The date where it changes, then position, time, order and what happened, as much as fits."""
        date, time_of_day = entry.at[:10], entry.at[11:19]
        if date != self._date:
            self._date = date
            yield f"{date}, UTC"
        whose = entry.order_id if width >= WIDE or len(entry.order_id) <= ID_END else f"\u2026{entry.order_id[-ID_END:]}"
        numbered = f"{whose} #{entry.order_seq}" if entry.order_id else "-"
        what = " ".join(filter(None, (happened(entry), entry.payment_intent_id)))
        yield cut(f"{entry.seq:>7} {time_of_day} {numbered:<{ID_END + 5}} {what}", width)


def _is_nobody_there() -> bool:
    """Who read from us has closed the pipe: nothing that is written would tell as long as nothing comes."""
    if not hasattr(select, "poll"):
        return False
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _let_go_of_stdout() -> None:
    """What is still held for a pipe that was closed must not be written once more at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
