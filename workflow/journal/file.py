"""The file of a journal: made, opened for its one writer, and brought up to this version's schema and machines."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from sqlite_utils import Database

from workflow.clock import Clock, to_text
from workflow.declaration import declaration_hash, declaration_text
from workflow.errors import JournalDamaged, JournalTooNew
from workflow.journal.beside import KEYS, NEVER_MOVED
from workflow.journal.connection import connect, refuse_foreign
from workflow.journal.driver import sqlite3
from workflow.journal.keys import sync_directory
from workflow.journal.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION, TABLES
from workflow.lifecycle import DECLARATIONS

WAL_BYTES_KEPT = 16 * 1024 * 1024
"""A WAL that grew beyond this while somebody read for long is cut back once it has been put into the database."""
BESIDE_SUFFIXES = "-wal", "-shm"
"""Of the files that SQLite makes beside an open journal."""
REPORTS_WAL = sqlite3.sqlite_version_info >= (3, 51)
"""Whether SQLite says how long the WAL is without doing anything; an older one checkpoints by itself, and hides its errors."""

logger = logging.getLogger(__name__)


def open_or_make(path: Path, clock: Clock) -> Database:
    """The file, open for its one writer; made where there is none. Raises what `refuse_foreign` raises."""
    if not os.path.lexists(path):
        _make(path, clock)
    refuse_foreign(path)
    database = connect(path, read_only=False)
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")  # What is erased is overwritten, not only unlinked.
    database.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    if REPORTS_WAL:
        database.execute("PRAGMA wal_autocheckpoint = 0")
    return database


def make_private(path: Path) -> None:
    """Let nobody but their owner read the files beside an open journal: SQLite makes them like the journal, and takes those that it finds.

    Of another owner's nothing is changed. Doctor names those, and a journal that others can read itself.
    """
    for suffix in BESIDE_SUFFIXES:
        with suppress(FileNotFoundError, PermissionError):
            os.chmod(f"{path}{suffix}", 0o600)


def migrate(database: Database) -> None:
    """Bring an older schema up to this version's, a transaction for each step: a crash leaves one of them, never less.

    Raises JournalDamaged where no step leads on from the schema that is there, JournalTooNew where only the WAL knew of a newer one.
    """
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise JournalTooNew(f"the journal has schema {version}, this version knows {SCHEMA_VERSION}")
    for target in range(version + 1, SCHEMA_VERSION + 1):
        if target not in MIGRATIONS:
            raise JournalDamaged(f"the journal has schema {version}, and nothing leads from it to {SCHEMA_VERSION}")
        logger.warning("schema migrated", extra={"to": target})
        try:
            database.conn.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[target]}; PRAGMA user_version = {target}; COMMIT")
        except sqlite3.Error:
            if database.conn.in_transaction:
                database.execute("ROLLBACK")
            raise


def register_machines(database: Database, clock: Clock) -> None:
    """Keep the declarations in force, and their states, for ever: an old journal explains itself."""
    rows = [(d.name, declaration_hash(d), declaration_text(d), to_text(clock.now())) for d in DECLARATIONS]
    states = [(declaration.name, state) for declaration in DECLARATIONS for state in declaration.states]
    with database.conn:
        database.execute("BEGIN IMMEDIATE")
        database.conn.executemany("INSERT OR IGNORE INTO machines(name, hash, declaration, first_at) VALUES (?, ?, ?, ?)", rows)
        database.conn.executemany("INSERT OR IGNORE INTO states(machine, name) VALUES (?, ?)", states)


def _make(path: Path, clock: Clock) -> None:
    """Make the file under another name first: a crash in between leaves no half-made journal."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    database = connect(unfinished, read_only=False)
    _make_schema(database, clock)
    database.close()
    unfinished.rename(path)
    sync_directory(path.parent)


def _make_schema(database: Database, clock: Clock) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    made = [("journal_id", secrets.token_hex(8)), ("secret", secrets.token_hex(32)), ("made_at", to_text(clock.now()))]
    made += [(NEVER_MOVED + table, "") for table in KEYS]
    values = ", ".join(f"('{name}', '{value}')" for name, value in made)
    script = f"""
    BEGIN IMMEDIATE;
    {TABLES}
    INSERT INTO meta VALUES {values};
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    COMMIT;
    """
    database.conn.executescript(script)
