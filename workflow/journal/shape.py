"""Whether the file has what a journal is made of and nothing that could speak in its place: tables, indexes, triggers, views.

Entries prove what they say, not who may change them: without its triggers a journal is no longer append-only, a view or a trigger may
show or do something else, and a declaration that was changed explains entries otherwise. Views and tables named `audit_*` are those of a
sealed copy.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from functools import cache

from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads
from workflow.journal.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES

PROVING = frozenset({"journal", "checkpoint", "tree_node", "meta", "machines"})
"""Tables whose making no schema has changed; of an older schema only these and their triggers are compared."""
FOR_AUDITORS = "audit_"
STATISTICS = ("sqlite_stat1", "sqlite_stat4")
"""What `ANALYZE` leaves: it changes how fast an answer comes, not which."""
_OURS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
"""All but the indexes that SQLite makes by itself; a name like SQLite's own may yet be that of somebody's trigger."""
_HASH_DIGITS = 12


def shape_fault(reads: SqliteReads) -> str | None:
    """What is wrong with the file's header or its schema, or with the states that may be stored; None where nothing is."""
    return _header_fault(reads) or _schema_fault(reads) or _states_fault(reads)


def _header_fault(reads: SqliteReads) -> str | None:
    [(application,)], [(version,)] = reads.rows("PRAGMA application_id"), reads.rows("PRAGMA user_version")
    if application != APPLICATION_ID:
        return f"the file's header says application {application}, not {APPLICATION_ID}"
    if not 0 < version <= SCHEMA_VERSION:
        return f"the file's header says schema {version}, and there are 1 to {SCHEMA_VERSION}"
    return None


def _schema_fault(reads: SqliteReads) -> str | None:
    [(version,)] = reads.rows("PRAGMA user_version")
    made = _made(TABLES)
    newest = "repeats"  # The table that came with the newest schema: the number of an older one would have less compared.
    if version < SCHEMA_VERSION and reads.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (newest,)):
        return f"the file's header says schema {version}, and its tables are those of schema {SCHEMA_VERSION}"
    found = {(kind, name): (table, sql) for kind, name, table, sql in reads.rows(_OURS)}
    for (kind, name), (table, sql) in made.items():
        if version < SCHEMA_VERSION and (table not in PROVING or kind == "index"):
            continue
        if (kind, name) not in found:
            return f"the {kind} {name} is missing{_why(kind)}"
        if found[kind, name] != (table, sql):
            return f"the {kind} {name} is not the one that was made{_why(kind)}"
    for kind, name in found.keys() - made.keys():
        if not _may_be_more(kind, name, found[kind, name][0], version):
            return f"the {kind} {name} is none of a journal's: somebody added it"
    return None


def _may_be_more(kind: str, name: str, table: str, version: int) -> bool:
    """What a sealed copy has more, or an older schema had, or SQLite noted of how often values occur; never a trigger."""
    if kind == "trigger" or name.lower().startswith("sqlite_"):  # SQLite keeps nobody from such a name who writes its schema himself.
        return kind == "table" and name in STATISTICS
    return table.startswith(FOR_AUDITORS) or (version < SCHEMA_VERSION and kind == "index")


def _why(kind: str) -> str:
    return ": entries and checkpoints could be changed without a word" if kind == "trigger" else ""


def declaration_fault(reads: SqliteReads) -> str | None:
    """What is wrong with the declarations that the file keeps, by which entries are judged; None where nothing is."""
    for name, hash_, declaration in reads.stream("SELECT name, hash, declaration FROM machines ORDER BY name, hash"):
        if hashlib.sha256(declaration.encode()).hexdigest()[:_HASH_DIGITS] != hash_:
            return f"the declaration kept as {name}@{hash_} has another hash: it was changed"
        if f'"name":"{name}"' not in declaration:
            return f"the declaration kept as {name}@{hash_} is that of another machine"
    return None


def _states_fault(reads: SqliteReads) -> str | None:
    """The states that may be stored are those of the declarations, no more and no less; an older schema has no table of them."""
    if not reads.rows("SELECT 1 FROM sqlite_master WHERE name = 'states'"):
        return None
    declared = set(reads.rows("SELECT machines.name, state.key FROM machines, json_each(declaration, '$.states') AS state"))
    for name, state in sorted(declared ^ set(reads.rows("SELECT machine, name FROM states"))):
        wrong = "missing among those that may be stored" if (name, state) in declared else "none that a declaration kept here has"
        return f"the state {state} of {name} is {wrong}"
    return None


@cache
def _made(tables: str) -> dict[tuple[str, str], tuple[str, str]]:
    """What these statements make: (kind, name) to the table that it is of, and its statement."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(tables)
        return {(kind, name): (table, sql) for kind, name, table, sql in database.execute(_OURS)}
