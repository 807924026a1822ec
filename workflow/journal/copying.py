"""A copy of a journal that may be in use: one file with everything committed, and nothing beside it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from workflow.errors import JournalUnavailable
from workflow.journal.connection import connect
from workflow.journal.driver import sqlite3
from workflow.journal.keys import sync_directory

PAGES = 1_000
"""Copied between two reports of progress."""


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file (0600) under another name, which gets its own once it is finished and on disk; nothing of it stays where that fails.

    Raises FileExistsError where `path` is taken, be it meanwhile, and JournalUnavailable where it cannot be written.
    """
    if os.path.lexists(path):
        raise FileExistsError(path)
    draft = path.with_name(f"{path.name}.unfinished-{secrets.token_hex(4)}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield draft
        _publish(draft, path)
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise JournalUnavailable(f"{path} cannot be written: {error}") from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                draft.with_name(draft.name + suffix).unlink()


def copy_snapshot(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy `source` as it stands at this moment into the empty file `target`; who writes there goes on writing meanwhile.

    `progress` hears how many pages are done, of how many. Raises sqlite3.Error.
    """
    with closing(connect(source, read_only=True)) as live, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        live.execute("BEGIN")
        live.execute("SELECT 1 FROM meta").fetchone()  # From here on this connection sees one state, whatever is written.
        live.conn.backup(copy, pages=PAGES, progress=lambda _, remaining, total: progress(total - remaining, total))
        copy.execute("PRAGMA journal_mode = DELETE")  # Alone: nothing of it lies in a write-ahead log, and it opens on a read-only disk.


def _publish(draft: Path, path: Path) -> None:
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # Unlike a renaming, it never replaces what is there.
    except FileExistsError:
        raise
    except OSError:  # A file system without links, as memory sticks have.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        draft.rename(path)
    sync_directory(path.parent)
