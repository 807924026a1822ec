"""Where every question to a SQLite journal is asked: read-only connections, one a thread, and what their errors mean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from sqlite_utils import Database

from workflow.clock import Clock, from_text, to_text
from workflow.errors import JournalDamaged, JournalUnavailable, JournalUnreadable, WorkflowError
from workflow.journal.connection import NOT_TEXT, cannot_change, connect, translated
from workflow.journal.driver import sqlite3

T = TypeVar("T")

STEPS = 50_000
"""So often, in steps of SQLite's machine, a reader looks at the time: about a millisecond."""


class Position(NamedTuple):
    """Where something stands in its list: orders, bookings and tasks by time of creation, then by id; tables by name, then by id."""

    created_at: str
    id: str


class TimeLimit(NamedTuple):
    """How long something may take, by this clock."""

    clock: Clock
    seconds: float


class Source:
    """One journal file, and how it is asked. Every subject of `SqliteReads` asks through here.

    Its `rows` reads a short answer whole, `stream` a long one row by row; both raise JournalUnavailable and JournalDamaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: TimeLimit | None = None,
        on_damage: Callable[[str], None] = lambda detail: None,
        is_shared: bool = False,
    ) -> None:
        self._path, self._limit, self._on_damage, self._is_shared = path, limit, on_damage, is_shared
        self._local = threading.local()
        self._spare: Database | None = None
        self._spare_lock = threading.RLock()

    def keep_spare(self) -> None:
        """Open a connection for threads that can open none any more: a permission that is lost must not end all reading (S16)."""
        with self._spare_lock:
            self._spare = connect(self._path, read_only=True)
            try:
                self._spare.execute("SELECT 1 FROM meta").fetchone()  # Opened lazily, with the files beside it, by the first question.
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def close(self) -> None:
        """Let go of the connection that all threads share, once nobody asks; further questions raise JournalUnavailable."""
        with self._spare_lock:
            if self._spare:
                self._spare.close()
            self._spare = None

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a question in SQL is answered, whole; for the journal's own modules."""
        with self._asked(sql, values) as cursor:
            return cast("list[tuple[Any, ...]]", cursor.fetchall())

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """As `rows`, one at a time."""
        with self._asked(sql, values) as cursor:
            yield from cursor

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All questions of this thread inside see one state of the journal; keep it short on a live one."""
        with self._open() as database:
            database.execute("BEGIN")
            try:
                yield
            finally:
                with suppress(sqlite3.Error):  # There is nothing to lose.
                    database.execute("COMMIT")

    def version(self) -> int | None:
        """A number that is another one as soon as anybody has committed anything to the file; None without a connection kept for it."""
        with self._spare_lock:
            if self._spare is None or cannot_change(self._path):
                return None
            try:
                return int(self._spare.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error as error:
                raise self._translated(error) from error

    @contextmanager
    def turn(self) -> Iterator[Database]:
        """The spare or shared connection, for one thread at a time."""
        with self._spare_lock:
            if not self._spare:
                raise JournalUnavailable(f"{self._path} is closed")
            yield self._spare

    def tables(self) -> list[str]:
        """The names of all tables."""
        return [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]

    def integrity(
        self, table: str | None = None, *, limit: TimeLimit, progress: Callable[[int], None] = lambda seconds: None
    ) -> str | None:
        """What SQLite's own check says of a table and its indexes, or of all: "ok", or the first fault; None beyond the limit.

        `progress` hears how many seconds it has taken so far, each of them once.
        """
        what = f"('{table}')" if table else "(1)"
        began, told = limit.clock.monotonic(), 0

        def is_over() -> bool:
            nonlocal told
            passed = limit.clock.monotonic() - began
            if passed >= told + 1:
                told = int(passed)
                progress(told)
            return passed > limit.seconds

        with self._open() as database:
            database.conn.set_progress_handler(is_over, STEPS)
            try:
                return str(database.execute(f"PRAGMA integrity_check{what}").fetchone()[0])
            except sqlite3.Error as error:
                if _is_interrupted(error):
                    return None
                raise self._translated(error) from error
            finally:
                database.conn.set_progress_handler(None, 0)

    def _decoded(self, row: tuple[Any, ...], decode: Callable[[tuple[Any, ...]], T]) -> T:
        try:
            return decode(row)
        except msgspec.DecodeError as error:
            message = f"{self._path} is damaged: a stored row is not what was stored: {error}"
            self._on_damage(message)
            raise JournalDamaged(message) from error

    @contextmanager
    def _asked(self, sql: str, values: Sequence[object]) -> Iterator[sqlite3.Cursor]:
        with self._open() as database:
            if self._limit:
                clock, ends_at = self._limit.clock, self._limit.clock.monotonic() + self._limit.seconds
                database.conn.set_progress_handler(lambda: clock.monotonic() > ends_at, STEPS)
            try:
                yield database.execute(sql, values)
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error
            except UnicodeDecodeError as error:  # The driver cannot even read what SQLite complains of.
                damaged = JournalUnreadable(f"{self._path} cannot be read: {NOT_TEXT}")
                self._on_damage(str(damaged))
                raise damaged from error

    def _translated(self, error: sqlite3.Error) -> WorkflowError:
        if self._limit and _is_interrupted(error):
            return JournalUnavailable(f"{self._path}: the question took more than {self._limit.seconds} s")
        if "no such index" in str(error):
            return JournalUnavailable(
                f"{self._path} is of an older version and has no index for this question: start the server on it once"
            )
        found = translated(error, f"{self._path} cannot be read")
        if isinstance(found, JournalDamaged):
            self._on_damage(str(found))
            return found
        return JournalUnavailable(str(found))

    @contextmanager
    def _open(self) -> Iterator[Database]:
        """This thread's connection; where none can be opened any more the spare one."""
        database = None
        if not self._is_shared:
            try:
                database = self._database()
            except JournalUnavailable:
                if not self._spare:
                    raise
        if database:
            yield database
        else:
            with self.turn() as spare:
                yield spare

    def _database(self) -> Database:
        if not hasattr(self._local, "database"):
            self._local.database = connect(self._path, read_only=True)
        database: Database = self._local.database
        return database


def _is_interrupted(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT


def from_ms(milliseconds: int) -> str:
    """The moment so many milliseconds after the beginning of 1970, as UTC text."""
    return to_text(datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000))


def to_ms(text: str) -> int:
    """The milliseconds from the beginning of 1970 to a moment in UTC text."""
    moment = from_text(text)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
