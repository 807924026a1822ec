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
from typing import NamedTuple

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

    A journal that is put in the place of this one is gone on with where it has more entries, else from its end, which is said on stderr.
    Raises JournalUnavailable, JournalDamaged and what else refuses a journal, but only at the beginning: later it waits.
    """
    printer = _Printer(as_json)
    try:
        followed = _Followed.begin(path)
        entries = followed.reads.last_entries(count)
        last = entries[-1].seq if entries else followed.reads.size()
        printer.show(entries)
        while follow and not _is_nobody_there():
            time.sleep(TAIL_SECONDS)
            followed, last = _go_on(path, followed, last, printer)
    except KeyboardInterrupt:
        return
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        _let_go_of_stdout()


class _Followed(NamedTuple):
    """A journal as it was opened: the file, and whose entries it holds."""

    reads: SqliteReads
    file: tuple[int, int]
    journal_id: str

    @classmethod
    def begin(cls, path: Path) -> _Followed:
        with reading(path):
            pass  # Refuses what is not a journal of ours.
        file, reads = _identity(path), SqliteReads(path, is_shared=True)
        reads.keep_spare()
        [(journal_id,)] = reads.rows("SELECT value FROM meta WHERE name = 'journal_id'")
        return cls(reads, file, journal_id)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise JournalUnavailable(f"{path}: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _go_on(path: Path, followed: _Followed, last: int, printer: _Printer) -> tuple[_Followed, int]:
    """Print what came behind `last`; the journal as it is now, and how far it was printed. Whatever keeps it from being read may pass."""
    try:
        if _identity(path) != followed.file:
            followed, last = _replaced(_Followed.begin(path), followed, last)
        for entry in followed.reads.entries(after=last):
            printer.show([entry])
            last = entry.seq
    except WorkflowError as error:
        printer.wait(str(error))
    else:
        printer.is_waiting = False
    return followed, last


def _replaced(found: _Followed, followed: _Followed, last: int) -> tuple[_Followed, int]:
    followed.reads.close()
    size = found.reads.size()
    if found.journal_id == followed.journal_id and size >= last:
        return found, last
    whose = "another journal" if found.journal_id != followed.journal_id else "an older state"
    click.echo(f"The file was replaced by {whose} with {size:,} entries; going on behind these.", err=True)
    return found, size


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
