"""Connections to a journal file, and the header that tells our file from another program's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from workflow.errors import (
    DiskFailed,
    JournalDamaged,
    JournalForeign,
    JournalReadOnly,
    JournalTooNew,
    JournalUnavailable,
    JournalUnreadable,
    NotAFile,
    WorkflowError,
)
from workflow.journal.condition import DISK_FULL, JOURNAL_BUSY
from workflow.journal.driver import sqlite3
from workflow.journal.schema import APPLICATION_ID, SCHEMA_VERSION

BUSY_TIMEOUT_S = 5
STATEMENT_CACHE = 256
MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
VERSION_OFFSET, APPLICATION_OFFSET = 60, 68
"""Where SQLite's header keeps `user_version` and `application_id`."""

NOT_TEXT = "a word in its schema is no text"


def connect(path: Path, *, read_only: bool) -> Database:
    """A connection of our making: autocommit, no implicit transactions; a reader cannot write.

    Raises JournalUnavailable, JournalDamaged.
    """
    try:
        if read_only:
            connection = sqlite3.connect(
                f"file:{_quoted(path)}?mode=ro{'&immutable=1' if cannot_change(path) else ''}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENT_CACHE,
            )
            connection.execute("PRAGMA query_only = ON")
        else:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENT_CACHE)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        return Database(connection, recursive_triggers=False)
    except sqlite3.Error as error:
        raise translated(error, f"cannot open {path}") from error


def cannot_change(path: Path) -> bool:
    """Nobody writes here and no WAL is left: SQLite reads such a journal only when it is told that it need not make files beside it."""
    return not is_writable(path) and not os.path.lexists(f"{path}-wal")


def is_writable(path: Path) -> bool:
    """The system lets us write the file and make others beside it; of a file that is not there, its directory alone counts."""
    return os.access(path.parent, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def wal_bytes(path: Path) -> int:
    """How long the file's write-ahead log is; 0 where there is none."""
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError:
        return 0


_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def translated(error: sqlite3.Error, told: str) -> WorkflowError:
    """What an error of SQLite's means to callers; `told` says what was tried."""
    message, code = f"{told}: {error}", getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return JournalUnreadable(message)
    if "Could not decode" in str(error):
        return JournalDamaged(message)
    if code in _READ_ONLY:
        return JournalReadOnly(message)
    if code == sqlite3.SQLITE_IOERR:
        return DiskFailed(message)
    known = {sqlite3.SQLITE_FULL: DISK_FULL, sqlite3.SQLITE_BUSY: JOURNAL_BUSY, sqlite3.SQLITE_LOCKED: JOURNAL_BUSY}
    return JournalUnavailable(message, code=known.get(code, ""))


def translated_os(error: OSError, told: str) -> JournalUnavailable:
    """The same of the operating system, for the files beside the database."""
    message = f"{told}: {error.strerror}"
    if error.errno in _NO_SPACE:
        return JournalUnavailable(message, code=DISK_FULL)
    return DiskFailed(message) if error.errno == errno.EIO else JournalReadOnly(message)


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def refuse_foreign(path: Path) -> int:
    """Refuse what is not a journal that this version can serve, by its header alone, and leave it as it is; its schema's version.

    The header does not know of what is still in the WAL: the version may be an older one than that of the journal.
    Raises JournalForeign, NotAFile, JournalTooNew, JournalUnavailable. SQLite itself would leave its own files beside a foreign database.
    """
    if path.is_symlink() or not path.is_file():
        raise NotAFile(f"{path} is not a plain file")
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise JournalUnavailable(f"cannot read {path}: {error.strerror}") from error
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise JournalForeign(f"{path} is not a SQLite database")
    version, application = (int.from_bytes(header[offset : offset + 4], "big") for offset in (VERSION_OFFSET, APPLICATION_OFFSET))
    if application != APPLICATION_ID:
        raise JournalForeign(f"{path} is a database of another program")
    if version > SCHEMA_VERSION:
        raise JournalTooNew(f"{path} has schema {version}, this version knows {SCHEMA_VERSION}")
    return version


def refuse_second_name(path: Path) -> None:
    """Refuse to write a file that has two names: each has a lock and a WAL of its own, and two servers would write it. Raises NotAFile."""
    if path.stat().st_nlink > 1:
        raise NotAFile(
            f"{path} has another name as well (a hard link), and must have one: remove the other, or copy it in this one's place"
        )


@contextmanager
def reading(path: Path) -> Iterator[Database]:
    """A read-only connection for one job of a command; checks the header first."""
    if not os.path.lexists(path):
        raise JournalUnavailable(f"there is no journal at {path}")
    refuse_foreign(path)
    database = connect(path, read_only=True)
    try:
        yield database
    finally:
        database.close()
