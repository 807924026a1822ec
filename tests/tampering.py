"""Who changes a journal is found out: `python -m tests.tampering --mutations N --seed N`.

A venue plays both flows; what it leaves behind is kept at three moments (database, WAL, witness) and as sealed copies. Each mutation
changes one thing in a copy of that, as somebody would who has the file, knows SQL, the format and our program, and has perhaps a key; then
the commands of an auditor are asked: `journal verify`, and where that finds nothing `journal replay`. As many copies that nobody touched,
of as many moments, must be called whole.

What is a mutation is decided by content: a bit of a free page, or of a WAL behind its last commit, says nothing, and is counted apart. So
is what proves nothing by its nature (`UNPROVEN`), such as when a call is tried next.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import app
from adapters.cli.commands import cli
from tests.builders import WITH_TILL, Venue, a_bill, a_party, an_intent
from tests.contract.test_journal import BusyDay
from tests.old_journal import Past, load, new_sandbox
from workflow.bill import Customer, Personal
from workflow.booking import Guest
from workflow.clock import SystemClock
from workflow.commands import CreateBooking, OpenOrder, SetVenue
from workflow.journal.driver import sqlite3
from workflow.journal.keys import load_key
from workflow.ledger import HASHED_COLUMNS, ZERO_HASH, Frontier, HashedEntry, canonical, entry_hash, sign_checkpoint
from workflow.ports import OrderId
from workflow.succession import raw_base64, rotation_facts

DATABASE, WAL, WITNESS, KEY, SEALED = "tillproof.db", "tillproof.db-wal", "tillproof.witness", "tillproof.key", "sealed.db"
COLUMNS = ("seq", *HASHED_COLUMNS, "hash")
PROJECTIONS = ("orders", "payments", "locks", "attention", "venue", "bookings", "booking_tables", "outbox")
UNPROVEN = {
    "attempts": "*",  # What failed on the way, for people: nothing is decided by it.
    "repeats": "*",  # How often a message came again, likewise.
    "inbox": "*",  # Which requests came already: a memory against repeats, of hashes with a secret of the journal's own.
    "parked": "*",
    "watch": "*",
    "outbox": "attempts refusals fence lease_until_ms next_at_ms last_error created_at_ms done_at",
    "checkpoint": "at",  # No signature covers it.
    "machines": "first_at",
    "audit_about": "*",  # Of a sealed copy; what can be compared is.
}
"""Tables and columns that no entry tells of: when something is tried next, what was answered before. docs/audit.md lists them."""
UNPROVEN_META = ("secret", "made_at", "conduct.dojo", "conduct.till", "clock.jumps")


# -- what is attacked


Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A venue's files at three moments, oldest first, each with a sealed copy; the last one once more after a proper stop."""

    moments: tuple[Files, ...]
    stopped: Files


def make_evidence(folder: Path) -> Evidence:
    """Both flows in every state, parties, reservations, people; the server still runs when the last files are taken."""
    venue, sandbox = Venue(folder, sends=WITH_TILL), new_sandbox()
    sandbox.start()
    moments = []
    try:
        venue.create("before")
        for act in (lambda: Past(sandbox, venue), lambda: _people(venue), lambda: _orders(venue, "late")):
            act()
            _sealed_in_parts(venue)
            moments.append(_taken(venue))
            venue.journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        sandbox.stop()
        venue.close()
    evidence = Evidence(tuple(moments), _files(folder))
    assert all(_depends_on(moment, folder / "alone") for moment in moments), "what is in the WAL must not be in the database as well"
    return evidence


def _depends_on(moment: Files, folder: Path) -> bool:
    """The WAL has what the database has not."""
    place = Place(_new(folder), moment)
    whole = content(place.folder)
    (place.folder / WAL).unlink()
    return content(place.folder) not in (whole, None)


def _people(venue: Venue) -> None:
    for number, name in enumerate(("Ada", "Grace", "Edsger")):
        personal = Personal(customer=Customer(name=name), note="no nuts")
        venue.engine.handle(OpenOrder(order_id=OrderId(f"po-{name}"), key=name, bill=a_bill(), personal=personal, actor="till:bar"))
        venue.engine.handle(CreateBooking(booking=a_party(f"pty_{name}", f"tbl_2{number}"), guest=Guest(name=name)))
        venue.clock.move(1.5)


def _orders(venue: Venue, name: str, count: int = 3) -> None:
    """Orders that come, are paid, and rest; few, for a long WAL is put into the database."""
    for number in range(count):
        intent_id = f"pi_{name}_{number}"
        venue.create(f"oap-{name}-{number}", payments=())
        venue.open(f"po-{name}-{number}")
        venue.clock.move(0.7)
        venue.event(intent_id, "Captured")
        venue.settle({intent_id: an_intent(intent_id, external_id=f"po-{name}-{number}")})


def _sealed_in_parts(venue: Venue) -> None:
    venue.clock.move(1.5)
    venue.journal.seal()


def _taken(venue: Venue) -> Files:
    """The files as they are at this moment, while the journal is open, and a sealed copy."""
    sealed = venue.folder / SEALED
    sealed.unlink(missing_ok=True)
    ended = command(venue.folder, "seal", str(sealed))
    assert ended.exit_code == 0, ended.output
    return _files(venue.folder)


def _files(folder: Path) -> Files:
    return {path.name: path.read_bytes() for name in (DATABASE, WAL, WITNESS, KEY, SEALED) if (path := folder / name).exists()}


class Place:
    """A copy of the files in a folder of its own, for one mutation; `journal` is what the auditor is asked about."""

    def __init__(
        self,
        folder: Path,
        files: Files,
        dice: random.Random | None = None,
        evidence: Evidence | None = None,
        journal: str = DATABASE,
    ) -> None:
        self.folder, self.dice, self.evidence, self.journal = folder, dice, evidence, journal
        self.put(files)

    def put(self, files: Files) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for name, data in files.items():
            (self.folder / name).write_bytes(data)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """The database without its triggers and checks, which are there again afterwards: nothing in its schema tells of the visit."""
        with closing(sqlite3.connect(self.folder / self.journal, isolation_level=None)) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            for _, sql in triggers:
                connection.execute(sql)

    def key(self) -> Ed25519PrivateKey:
        return load_key(self.folder / KEY)


# -- the auditor


TOLD = ("could not be noticed", "an older state", "not signed", "nothing of it is signed", "not checked")
"""What `verify` says where nothing is wrong with what there is, but less of it is signed, witnessed or checked than could be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the commands say: `by` verify, replay, refused (no command opens it), told (verify calls it whole, and says so) or nothing."""

    by: str
    seq: int = 0
    sentence: str = ""


def command(folder: Path, *words: str):
    """`tillproof journal WORDS` on the files in the folder, in this process."""
    given = {"JOURNAL": DATABASE, "WITNESS": WITNESS, "SIGNING_KEY": KEY}
    others = {name: None for name in os.environ if name.startswith("TILLPROOF_")}
    env = others | {f"TILLPROOF_{name}": str(folder / file) for name, file in given.items()}
    program = SimpleNamespace(dojo=app.dojo_client, accept_loss=app.accept_loss, clock=SystemClock())
    return CliRunner().invoke(cli, ["journal", *words], obj=program, prog_name="tillproof", env=env)


def _crashed(result) -> str:
    return (
        ""
        if result.exception is None or isinstance(result.exception, SystemExit)
        else "".join(traceback.format_exception(result.exception))
    )


def audit(folder: Path, journal: str = DATABASE) -> Finding:
    """What `journal verify` finds, or else `journal replay`; a sealed copy is named by `--journal`."""
    which = ["--journal", str(folder / journal)] if journal != DATABASE else []
    verified = command(folder, "verify", *which)
    if crash := _crashed(verified):
        return Finding("", 0, crash)
    if verified.exit_code and not verified.stdout:
        return Finding("refused", 0, verified.stderr.splitlines()[0])
    if verified.exit_code:
        first = verified.stdout.splitlines()[0]
        found = re.match(r"(?:NOT WHOLE|DAMAGED): (?:entry (\d+): )?", first)
        return Finding("verify", int(found[1] or 0) if found else 0, first)
    replayed = command(folder, "replay", *which)
    if crash := _crashed(replayed):
        return Finding("", 0, crash)
    if replayed.exit_code:
        return Finding("replay", 0, (replayed.stdout or replayed.stderr).splitlines()[0])
    told = [line.strip() for line in verified.stdout.splitlines() if any(words in line for words in TOLD)]
    return Finding("told", 0, told[0]) if told else Finding("")


def content(folder: Path, journal: str = DATABASE) -> object:
    """Everything that the files say and that is evidence; None where they cannot be read."""
    copy = folder / "content"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in (journal, f"{journal}-wal"):
        with suppress(FileNotFoundError):
            shutil.copy(folder / name, copy / name)
    try:
        with closing(sqlite3.connect(copy / journal, isolation_level=None)) as connection:
            marks = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version", "encoding")]
            schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
            tables = {name: _rows(connection, name) for kind, name, *_ in schema if kind == "table" and not name.startswith("sqlite_")}
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    finally:
        shutil.rmtree(copy)
    return marks, schema, tables, _witness_lines(folder / WITNESS), (folder / KEY).exists() and (folder / KEY).read_bytes()


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    left_out = UNPROVEN.get(table, "").split()
    if left_out == ["*"]:
        return []
    columns = [name for _, name, *_ in connection.execute(f'PRAGMA table_info("{table}")') if name not in left_out]
    rows = connection.execute(f'SELECT {", ".join(columns)} FROM "{table}"').fetchall()
    # No order is asked for, so that the table itself is read, not an index.
    return sorted((row for row in rows if table != "meta" or row[0] not in UNPROVEN_META), key=repr)


def _witness_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n") if path.exists() else []


# -- mutations


Mutate = Callable[[Place], "tuple[str, int] | str"]
"""Makes one change; says which, and at which position where there is one. Raises NotPossible."""


class NotPossible(Exception):
    """This change cannot be made here; another one is drawn."""


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    mutate: Mutate
    leaves_less: bool = False
    """All that there is may be whole yet, but less of it signed or witnessed: that `verify` tells of it is enough."""
    moment: int = -1
    journal: str = DATABASE
    stopped: bool = False


KINDS: list[Kind] = []
COPIES_OF_A_DAY = 40


def kind(name: str, **how: object) -> Callable[[Mutate], Mutate]:
    def add(mutate: Mutate) -> Mutate:
        KINDS.append(Kind(name, mutate, **how))
        return mutate

    return add


def _size(db: sqlite3.Connection) -> int:
    return db.execute("SELECT max(seq) FROM journal").fetchone()[0]


def _any_seq(place: Place, db: sqlite3.Connection) -> int:
    return place.dice.randint(1, _size(db))


def _entry(db: sqlite3.Connection, seq: int) -> dict[str, object]:
    return dict(zip(COLUMNS, db.execute(f"SELECT {', '.join(COLUMNS)} FROM journal WHERE seq = ?", (seq,)).fetchone(), strict=True))


def _hash_anew(db: sqlite3.Connection, seq: int) -> None:
    entry = _entry(db, seq)
    db.execute(
        "UPDATE journal SET hash = ? WHERE seq = ?", (entry_hash(HashedEntry(**{name: entry[name] for name in HASHED_COLUMNS})), seq)
    )


def _chain_anew(db: sqlite3.Connection, first: int) -> None:
    """The chain of every order from `first` on as if it had always been so."""
    for (seq,) in db.execute("SELECT seq FROM journal WHERE seq >= ? ORDER BY seq", (first,)).fetchall():
        entry = _entry(db, seq)
        before = db.execute(
            "SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", (entry["order_id"], entry["order_seq"] - 1)
        ).fetchone()
        db.execute("UPDATE journal SET prev_hash = ? WHERE seq = ?", (before[0] if before else ZERO_HASH, seq))
        _hash_anew(db, seq)


def _tree_anew(db: sqlite3.Connection) -> dict[int, bytes]:
    """The stored nodes as the hashes make them; the root of every size."""
    frontier, roots = Frontier(), {}
    db.execute("DELETE FROM tree_node")
    for (hash_,) in db.execute("SELECT hash FROM journal ORDER BY seq").fetchall():
        db.executemany("INSERT INTO tree_node VALUES (?, ?, ?)", frontier.append(hash_))
        roots[frontier.size] = frontier.root()
    return roots


def _signed_anew(db: sqlite3.Connection, roots: dict[int, bytes], key: Ed25519PrivateKey) -> None:
    db.execute("DELETE FROM checkpoint WHERE size > ?", (len(roots),))
    for size, note in db.execute("SELECT size, note FROM checkpoint").fetchall():
        signed = sign_checkpoint(_origin(note), size, roots[size], key)
        db.execute("UPDATE checkpoint SET root = ?, note = ? WHERE size = ?", (roots[size].hex(), signed, size))


def _heads_anew(db: sqlite3.Connection) -> None:
    newest = "SELECT hash FROM journal WHERE order_id = orders.id ORDER BY order_seq DESC LIMIT 1"
    db.execute(f"UPDATE orders SET last_hash = coalesce(({newest}), last_hash)")


COVERS = (
    "nothing else",
    "its hash",
    "its order's chain",
    "all chains",
    "all chains and the tree",
    "all, signed by another key",
    "all, signed by the key",
)


def cover(place: Place, db: sqlite3.Connection, seq: int, how: str) -> None:
    """Hide the change at `seq` as well as this one can."""
    if how == "nothing else":
        return
    if how == "its hash":
        _hash_anew(db, seq)
        return
    if how == "its order's chain":
        order_id = _entry(db, seq)["order_id"]
        for (later,) in db.execute("SELECT seq FROM journal WHERE order_id = ? AND seq >= ? ORDER BY seq", (order_id, seq)).fetchall():
            before = _entry(db, later)
            row = db.execute(
                "SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", (order_id, before["order_seq"] - 1)
            ).fetchone()
            db.execute("UPDATE journal SET prev_hash = ? WHERE seq = ?", (row[0] if row else ZERO_HASH, later))
            _hash_anew(db, later)
        return
    _chain_anew(db, seq)
    _heads_anew(db)
    if how == "all chains":
        return
    roots = _tree_anew(db)
    if how.startswith("all, signed"):
        _signed_anew(db, roots, place.key() if how.endswith("by the key") else Ed25519PrivateKey.generate())


def _told(what: str, how: str, seq: int) -> tuple[str, int]:
    """What was done, and from which position on it can be named: a checkpoint by another key is named wherever the first one stands."""
    return f"{what}, and {how} made anew", 0 if "another key" in how else seq


def _edited(column: str, how: str) -> Mutate:
    def mutate(place: Place) -> tuple[str, int]:
        with place.opened() as db:
            seq = _any_seq(place, db)
            old = _entry(db, seq)[column]
            others = [value for (value,) in db.execute(f"SELECT DISTINCT {column} FROM journal WHERE {column} <> ?", (old,))]
            new = place.dice.choice(others) if others else f"{old}x"
            try:
                db.execute(f"UPDATE journal SET {column} = ? WHERE seq = ?", (new, seq))
            except sqlite3.IntegrityError:
                db.execute(f"UPDATE journal SET {column} = ? WHERE seq = ?", (old + 1000 if column == "order_seq" else "nobody's", seq))
            if column in ("hash", "prev_hash") and how != "nothing else":
                raise NotPossible  # The cover would write it anew.
            cover(place, db, seq, how)
        return _told(f"{column} of entry {seq} edited", how, seq)

    return mutate


for _column in (*HASHED_COLUMNS, "hash"):
    kind(f"edit of {_column}")(_edited(_column, COVERS[0]))
for _how in COVERS[1:]:
    kind(f"edit, then anew: {_how}")(lambda place, how=_how: _edited(place.dice.choice(HASHED_COLUMNS[:-1]), how)(place))


@kind("undeclared move, all and the witness made anew")
def _(place):
    with place.opened() as db:
        seq, old = place.dice.choice(db.execute("SELECT seq, from_state FROM journal WHERE kind = 'transition'").fetchall())
        state = place.dice.choice([state for state in ("created", "captured", "Preparing") if state != old])
        column, new = place.dice.choice([("from_state", state), ("trigger", "teleport"), ("kind", "event")])
        db.execute(f"UPDATE journal SET {column} = ? WHERE seq = ?", (new, seq))
        _chain_anew(db, seq)
        _heads_anew(db)
        roots = _tree_anew(db)
        _signed_anew(db, roots, place.key())
    sizes = [int(line.split()[0]) for line in (place.folder / WITNESS).read_text().splitlines()]
    (place.folder / WITNESS).write_text("".join(f"{size} {roots[size].hex()}\n" for size in sizes))
    return f"{column} of entry {seq} edited to {new}, and all made anew, the witness too", seq


def _delete(place: Place, db: sqlite3.Connection, seq: int, closed: bool) -> None:
    db.execute("DELETE FROM journal WHERE seq = ?", (seq,))
    if closed:
        db.execute("UPDATE journal SET seq = -seq WHERE seq > ?", (seq,))
        db.execute("UPDATE journal SET seq = -seq - 1 WHERE seq < 0")


@kind("entry deleted")
def _(place):
    with place.opened() as db:
        seq, closed = _any_seq(place, db), place.dice.random() < 0.5
        _delete(place, db, seq, closed)
    return f"entry {seq} deleted, the gap {'closed' if closed else 'left'}", seq


@kind("last entry of an order deleted, all made anew")
def _(place):
    with place.opened() as db:
        orders = [row[0] for row in db.execute("SELECT max(seq) FROM journal WHERE order_id <> '' GROUP BY order_id")]
        seq = place.dice.choice(orders)
        _delete(place, db, seq, closed=True)
        _chain_anew(db, seq)
        _heads_anew(db)
        how = place.dice.choice(COVERS[-2:])
        _signed_anew(db, _tree_anew(db), place.key() if how == COVERS[-1] else Ed25519PrivateKey.generate())
    return _told(f"the last entry of an order, {seq}, deleted", how, seq)


@kind("entry inserted")
def _(place):
    with place.opened() as db:
        seq, twin = _any_seq(place, db), _entry(db, _any_seq(place, db))
        db.execute("UPDATE journal SET seq = -seq WHERE seq >= ?", (seq,))
        db.execute("UPDATE journal SET seq = -seq + 1 WHERE seq < 0")
        newest = db.execute("SELECT max(order_seq) FROM journal WHERE order_id = ?", (twin["order_id"],)).fetchone()[0]
        row = {**twin, "seq": seq, "order_seq": newest + 1}
        db.execute(f"INSERT INTO journal VALUES ({', '.join('?' * len(COLUMNS))})", tuple(row.values()))
        how = place.dice.choice(COVERS[:-1])
        cover(place, db, seq, how)
    return _told(f"an entry inserted at {seq}", how, seq)


@kind("entry appended, well-formed")
def _(place):
    with place.opened() as db:
        size = _size(db)
        twin = _entry(db, place.dice.choice([seq for (seq,) in db.execute("SELECT seq FROM journal WHERE kind = 'transition'")]))
        newest = db.execute("SELECT max(order_seq) FROM journal WHERE order_id = ?", (twin["order_id"],)).fetchone()[0]
        row = {**twin, "seq": size + 1, "order_seq": newest + 1}
        db.execute(f"INSERT INTO journal VALUES ({', '.join('?' * len(COLUMNS))})", tuple(row.values()))
        cover(place, db, size + 1, "its order's chain")
        _tree_anew(db)
    return f"an entry appended at {size + 1}, chained and in the tree", size + 1


@kind("two entries swapped")
def _(place):
    with place.opened() as db:
        first, second = sorted(place.dice.sample(range(1, _size(db) + 1), 2))
        if place.dice.random() < 0.5:
            second = first + 1
        for new, old in ((-1, first), (first, second), (second, -1)):
            db.execute("UPDATE journal SET seq = ? WHERE seq = ?", (new, old))
        if is_hidden := place.dice.random() < 0.5:
            _tree_anew(db)
    return f"entries {first} and {second} swapped{', and the tree made anew' * is_hidden}", first


@kind("two orders exchanged")
def _(place):
    with place.opened() as db:
        a, b = place.dice.sample([row[0] for row in db.execute("SELECT id FROM orders")], 2)
        first = db.execute("SELECT min(seq) FROM journal WHERE order_id IN (?, ?)", (a, b)).fetchone()[0]
        for new, old in (("exchanged", a), (a, b), (b, "exchanged")):
            db.execute("UPDATE journal SET order_id = ? WHERE order_id = ?", (new, old))
        how = place.dice.choice(COVERS)
        cover(place, db, first, how)
    return _told(f"entries of {a} and {b} exchanged", how, first)


@kind("tail cut off")
def _(place):
    with place.opened() as db:
        size = _size(db)
        left = place.dice.randint(max(1, size - 60), size - 1)
        db.execute("DELETE FROM journal WHERE seq > ?", (left,))
        if hidden := place.dice.random() < 0.7:
            db.execute("DELETE FROM checkpoint WHERE size > ?", (left,))
            _tree_anew(db)
            _heads_anew(db)
    return f"entries from {left + 1} to {size} cut off, {'with' if hidden else 'without'} their checkpoints", left + 1


# -- of other times


@kind("older copy put back")
def _(place):
    older = place.dice.randrange(len(place.evidence.moments) - 1)
    name = place.dice.choice([DATABASE, SEALED])
    files = place.evidence.moments[older]
    for suffix in ("", "-wal"):
        (place.folder / f"{DATABASE}{suffix}").unlink(missing_ok=True)
    (place.folder / DATABASE).write_bytes(files[name])
    if name == DATABASE and WAL in files:
        (place.folder / WAL).write_bytes(files[WAL])
    return f"the {'sealed copy' if name == SEALED else 'files'} of moment {older} put back"


@kind("database without its WAL")
def _(place):
    (place.folder / WAL).unlink()
    return "the WAL deleted"


@kind("WAL of another time")
def _(place):
    older = place.dice.randrange(len(place.evidence.moments) - 1)
    (place.folder / WAL).write_bytes(place.evidence.moments[older][WAL])
    return f"the WAL of moment {older}"


@kind("database of another time")
def _(place):
    older = place.dice.randrange(len(place.evidence.moments) - 1)
    (place.folder / DATABASE).write_bytes(place.evidence.moments[older][DATABASE])
    return f"the database of moment {older}, beside today's WAL"


@kind("WAL cut off", leaves_less=True)  # Its last commit may be of a checkpoint.
def _(place):
    data = (place.folder / WAL).read_bytes()
    cut = place.dice.randrange(len(data))
    (place.folder / WAL).write_bytes(data[:cut])
    return f"the WAL cut to {cut} bytes"


# -- checkpoints, tree, and what else is kept for proofs


def _a_checkpoint(place: Place, db: sqlite3.Connection) -> tuple[int, str, str]:
    return place.dice.choice(db.execute("SELECT size, root, note FROM checkpoint").fetchall())


def _checkpoint_kind(name: str, change: Callable[[Place, int, bytes, str], tuple[str, str]]) -> None:
    """`change` gives the root and the note that a checkpoint of this size has from now on."""

    def mutate(place: Place) -> tuple[str, int]:
        with place.opened() as db:
            size, root, note = _a_checkpoint(place, db)
            new_root, new_note = change(place, size, bytes.fromhex(root), note)
            db.execute("UPDATE checkpoint SET root = ?, note = ? WHERE size = ?", (new_root, new_note, size))
        return f"the checkpoint at {size}: {name}", size

    kind(f"checkpoint: {name}")(mutate)


def _origin(note: str) -> str:
    return note.partition("\n")[0]


def _flipped_text(place: Place, text: str, start: int = 0) -> str:
    at = place.dice.randrange(start, len(text) - 1)
    return f"{text[:at]}{chr(ord(text[at]) ^ 1)}{text[at + 1 :]}"


def _other_root(place: Place) -> bytes:
    return place.dice.randbytes(32)


_checkpoint_kind("root edited", lambda place, size, root, note: (_other_root(place).hex(), note))
_checkpoint_kind("a character of the note changed", lambda place, size, root, note: (root.hex(), _flipped_text(place, note)))
_checkpoint_kind("a bit of the signature flipped", lambda place, size, root, note: (root.hex(), _flipped_signature(place, note)))
_checkpoint_kind(
    "signed anew for another size",
    lambda place, size, root, note: (root.hex(), sign_checkpoint(_origin(note), size + 1, root, place.key())),
)
_checkpoint_kind("signed anew for another root", lambda place, size, root, note: _signed_for_another_root(place, size, note))
_checkpoint_kind(
    "signed anew for another journal",
    lambda place, size, root, note: (root.hex(), sign_checkpoint("tillproof/else", size, root, place.key())),
)
_checkpoint_kind(
    "signed by another key",
    lambda place, size, root, note: (root.hex(), sign_checkpoint(_origin(note), size, root, Ed25519PrivateKey.generate())),
)


def _signed_for_another_root(place: Place, size: int, note: str) -> tuple[str, str]:
    root = _other_root(place)
    return root.hex(), sign_checkpoint(_origin(note), size, root, place.key())


def _flipped_signature(place: Place, note: str) -> str:
    head, _, line = note.rstrip("\n").rpartition(" ")
    raw = bytearray(base64.b64decode(line))
    raw[place.dice.randrange(len(raw))] ^= 1 << place.dice.randrange(8)
    return f"{head} {base64.b64encode(bytes(raw)).decode()}\n"


@kind("key of a stranger brought in")
def _(place):
    stranger = Ed25519PrivateKey.generate()
    old = place.dice.choice([stranger, Ed25519PrivateKey.generate()])
    with place.opened() as db:
        size, newest = _size(db), db.execute("SELECT max(seq) FROM journal WHERE order_id = ''").fetchone()[0]
        origin = _origin(db.execute("SELECT note FROM checkpoint").fetchone()[0])
        before = _entry(db, newest)
        facts = {**rotation_facts(origin, size + 1, old, stranger), "reason": "lost"}
        if place.dice.random() < 0.5:  # In the name of the key that is in force, whose signature nobody has.
            facts["old_key"] = raw_base64(place.key().public_key())
        told = {"kind": "operator", "machine": "", "trigger": "rotate_key", "from_state": "", "to_state": "", "payment_intent_id": ""}
        row = {**before, **told, "seq": size + 1, "order_seq": before["order_seq"] + 1, "body": canonical(facts)}
        db.execute(f"INSERT INTO journal VALUES ({', '.join('?' * len(COLUMNS))})", tuple(row.values()))
        cover(place, db, size + 1, "its order's chain")
        root = _tree_anew(db)[size + 1]
        note = sign_checkpoint(origin, size + 1, root, stranger)
        db.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", (size + 1, root.hex(), row["at"], note))
    return f"an entry at {size + 1} brings in a stranger's key, which signs it", size + 1


@kind("newest checkpoints deleted", leaves_less=True)
def _(place):
    with place.opened() as db:
        (_, *sizes) = (size for (size,) in db.execute("SELECT size FROM checkpoint ORDER BY size"))
        db.execute("DELETE FROM checkpoint WHERE size >= ?", (size := place.dice.choice(sizes),))
    return f"the checkpoints from {size} on deleted"


@kind("all checkpoints deleted", leaves_less=True)
def _(place):
    with place.opened() as db:
        db.execute("DELETE FROM checkpoint")
    return "all checkpoints deleted"


@kind("checkpoint moved to another size")
def _(place):
    with place.opened() as db:
        size, _, _ = _a_checkpoint(place, db)
        free = [each for each in range(1, _size(db) + 50) if not db.execute("SELECT 1 FROM checkpoint WHERE size = ?", (each,)).fetchone()]
        new = place.dice.choice(free)
        db.execute("UPDATE checkpoint SET size = ? WHERE size = ?", (new, size))
        entries = _size(db)
    return f"the checkpoint at {size} moved to {new}", min(new, entries + 1)


@kind("node of the tree")
def _(place):
    with place.opened() as db:
        level, position = place.dice.choice(db.execute("SELECT level, position FROM tree_node").fetchall())
        where, how = (level, position), place.dice.choice(["edited", "deleted", "moved", "added"])
        if how == "edited":
            db.execute("UPDATE tree_node SET hash = ? WHERE level = ? AND position = ?", (place.dice.randbytes(32), *where))
        elif how == "deleted":
            db.execute("DELETE FROM tree_node WHERE level = ? AND position = ?", where)
        elif how == "moved":
            db.execute("UPDATE tree_node SET position = position + 100000 WHERE level = ? AND position = ?", where)
        else:
            db.execute("INSERT INTO tree_node VALUES (?, ?, ?)", (level + 20, position, place.dice.randbytes(32)))
    return f"node {level}/{position} of the tree {how}"


@kind("id of the journal")
def _(place):
    with place.opened() as db:
        if place.dice.random() < 0.5:
            db.execute("UPDATE meta SET value = ? WHERE name = 'journal_id'", (place.dice.randbytes(8).hex(),))
            return "the journal's id edited"
        db.execute("DELETE FROM meta WHERE name = 'journal_id'")
    return "the journal's id deleted"


@kind("declaration of a machine")
def _(place):
    with place.opened() as db:
        name, hash_, text = place.dice.choice(db.execute("SELECT name, hash, declaration FROM machines").fetchall())
        how = place.dice.choice(["edited", "renamed", "taken for another version"])
        if how == "edited":
            db.execute("UPDATE machines SET declaration = ? WHERE name = ?", (_flipped_text(place, text, 1), name))
        elif how == "renamed":
            db.execute("UPDATE machines SET name = name || 's' WHERE name = ?", (name,))
        else:
            db.execute("UPDATE machines SET hash = ? WHERE name = ?", (place.dice.randbytes(6).hex(), name))
    return f"the declaration {name}@{hash_} {how}"


# -- what is stored beside the entries


def _projection(table: str) -> Mutate:
    def mutate(place: Place) -> str:
        with place.opened() as db:
            unproven = UNPROVEN.get(table, "").split()
            columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})") if name not in unproven]
            rowid, *old = place.dice.choice(db.execute(f"SELECT {_id(table)}, {', '.join(columns)} FROM {table}").fetchall())
            if place.dice.random() < 0.2:
                db.execute(f"DELETE FROM {table} WHERE {_id(table)} = ?", (rowid,))
                return f"a row of {table} deleted: {str(rowid)[:60]}"
            column = place.dice.choice(columns)
            value = old[columns.index(column)]
            others = [each for (each,) in db.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT ?", (value,))]
            new = place.dice.choice([*others, (value or 0) + 1 if isinstance(value, int) else f"{value}x"])
            if (
                table == "outbox"
                and column == "status"
                and {value, new} <= {"pending", "leased", "paused", "leasedx", "pendingx", "pausedx"}
            ):
                new = "dead"
            try:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {_id(table)} = ?", (new, rowid))
            except sqlite3.IntegrityError as error:
                raise NotPossible from error
        return f"{column} of a row of {table} edited: {str(value)[:40]!r} to {str(new)[:40]!r}"

    return mutate


def _id(table: str) -> str:
    return "booking_id || table_id" if table == "booking_tables" else "rowid"


for _table in PROJECTIONS:
    kind(f"row of {_table}")(_projection(_table))


@kind("personal data")
def _(place):
    with place.opened() as db:
        table = place.dice.choice(["personal", "guests"])
        key = "order_id" if table == "personal" else "booking_id"
        row = place.dice.choice(db.execute(f"SELECT {key}, data FROM {table}").fetchall())
        how = place.dice.choice(["data", "salt", "whose"])
        if how == "data":
            db.execute(f'UPDATE {table} SET data = replace(data, \'"name":"\', \'"name":"Mc\') WHERE {key} = ?', (row[0],))
        elif how == "salt":
            db.execute(f"UPDATE {table} SET salt = salt || 'x' WHERE {key} = ?", (row[0],))
        else:
            db.execute(f"UPDATE {table} SET {key} = 'oap-created' WHERE {key} = ?", (row[0],))
    return f"{how} of a row of {table} edited"


# -- the schema


@kind("trigger dropped")
def _(place):
    with closing(sqlite3.connect(place.folder / DATABASE, isolation_level=None)) as db:
        name = place.dice.choice(db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall())[0]
        db.execute(f"DROP TRIGGER {name}")
    return f"the trigger {name} dropped"


WRITABLE = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = "
NAMED_AS_ITS_OWN = "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES"
SCHEMA_CHANGES = (
    "CREATE TRIGGER silent AFTER INSERT ON journal BEGIN DELETE FROM attention; END",
    "CREATE VIEW takings AS SELECT 0 AS total",
    "CREATE TABLE notes(x)",
    "ALTER TABLE journal RENAME TO journal_old; CREATE VIEW journal AS SELECT * FROM journal_old",
    "DROP INDEX payments_by_order",
    "ALTER TABLE orders ADD COLUMN more TEXT",
    "DROP TABLE watch",
    "CREATE INDEX audit_attention ON attention(code)",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 1",
    "PRAGMA user_version = 99",
    "PRAGMA application_id = 1",
    f"{NAMED_AS_ITS_OWN}('trigger', 'sqlite_t', 'locks', 0, 'CREATE TRIGGER sqlite_t AFTER INSERT ON locks BEGIN DELETE FROM locks; END')",
    f"{NAMED_AS_ITS_OWN}('view', 'sqlite_v', 'sqlite_v', 0, 'CREATE VIEW sqlite_v AS SELECT 0 AS total')",
    f"{WRITABLE}replace(sql, 'CHECK (order_seq > 0)', '') WHERE name = 'journal'",
    f"{WRITABLE}replace(sql, 'tips INTEGER NOT NULL', 'tips INTEGER') WHERE name = 'payments'",
    f"{WRITABLE}replace(sql, 'append-only', 'everybody''s') WHERE type = 'trigger'",
    f"{WRITABLE}replace(sql, 'NEW.seq', '\"NEW.seq\"') WHERE name = 'journal_is_append_only_replace'",  # A text: it never fires.
)


@kind("schema changed")
def _(place):
    script = place.dice.choice(SCHEMA_CHANGES)
    with closing(sqlite3.connect(place.folder / DATABASE, isolation_level=None)) as db:
        db.execute("PRAGMA legacy_alter_table = ON")
        with suppress(sqlite3.Error):  # SQLite's own defence: it refuses, and there is no mutation.
            db.executescript(script)
    return script


@kind("view of a sealed copy", journal=SEALED)
def _(place):
    with closing(sqlite3.connect(place.folder / SEALED, isolation_level=None)) as db:
        if place.dice.random() < 0.5:
            name, sql = place.dice.choice(db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'").fetchall())
            db.execute(f"DROP VIEW {name}")
            if place.dice.random() < 0.5:
                db.execute(f"{sql} LIMIT 1")
            return f"the view {name} changed or dropped"
        sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'audit_*'"
        table = place.dice.choice(db.execute(sql).fetchall())[0]
        columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
        column, (rowid,) = place.dice.choice(columns), place.dice.choice(db.execute(f"SELECT rowid FROM {table}").fetchall())
        if table == "audit_about":
            raise NotPossible  # When it was sealed is no evidence, and that is one of its rows.
        try:
            db.execute(f"UPDATE {table} SET {column} = coalesce({column}, 0) + 1 WHERE rowid = ?", (rowid,))
        except sqlite3.IntegrityError as error:
            raise NotPossible from error
    return f"{column} of {table} edited"


# -- the witness


def _witness_kind(name: str, change: Callable[[Place, list[bytes]], list[bytes]], **how: object) -> None:
    def mutate(place: Place) -> str:
        path = place.folder / WITNESS
        before = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(change(place, before)))
        after = path.read_bytes().splitlines(keepends=True)
        line = next((at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(after))
        return f"the witness: {name}: line {line + 1} of {len(before)}: {before[line]!r:.40} to {after[line : line + 2]!r:.120}"

    kind(f"witness: {name}", **how)(mutate)


def _with_line(place: Place, lines: list[bytes], change: Callable[[bytes], bytes]) -> list[bytes]:
    at = place.dice.randrange(len(lines))
    return [*lines[:at], change(lines[at]), *lines[at + 1 :]]


def _other_line(place: Place, line: bytes) -> bytes:
    size, root = line.split()
    if place.dice.random() < 0.5:
        return b"%d %s\n" % (int(size) + place.dice.choice([-1, 1, 10, 1000]), root)
    return b"%s %s\n" % (size, place.dice.randbytes(32).hex().encode())


_witness_kind("a line changed", lambda place, lines: _with_line(place, lines, lambda line: _other_line(place, line)))
_witness_kind("a line added", lambda place, lines: _with_line(place, lines, lambda line: line + _other_line(place, line)))
_witness_kind("a line made unreadable", lambda place, lines: _with_line(place, lines, lambda line: line[1:-3] + b"\n"))
_witness_kind("cut off", lambda place, lines: [b"".join(lines)[: place.dice.randrange(sum(map(len, lines)) - 70)]], leaves_less=True)
_witness_kind("emptied", lambda place, lines: [])


@kind("witness deleted")
def _(place):
    (place.folder / WITNESS).unlink()
    return "the witness deleted"


# -- the key


@kind("signing key deleted", leaves_less=True)
def _(place):
    (place.folder / KEY).unlink()
    return "the signing key deleted"


@kind("signing key exchanged")
def _(place):
    (place.folder / KEY).write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return "another key put in the place of the signing key"


# -- single bits


def _flip(path: Path, dice: random.Random, start: int = 0) -> str:
    data = bytearray(path.read_bytes())
    at, bit = dice.randrange(start, len(data)), dice.randrange(8)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {at:,} of {path.name} flipped"


for _name, _file, _how in (
    ("bit of the database", DATABASE, {"stopped": True}),
    ("bit of a live database", DATABASE, {}),
    ("bit of the WAL", WAL, {"leaves_less": True}),
    ("bit of the witness", WITNESS, {"leaves_less": True}),
    ("bit of a sealed copy", SEALED, {"journal": SEALED}),
):
    for _ in range(6):  # So that as many of these are made as of all others of their weight.
        kind(_name, **_how)(lambda place, file=_file: _flip(place.folder / file, place.dice))


# -- both runs, and their report


@dataclass
class Report:
    made: Counter = field(default_factory=Counter)
    found: dict[str, Counter] = field(default_factory=dict)
    nothing: Counter = field(default_factory=Counter)
    copies: Counter = field(default_factory=Counter)
    sentences: dict[str, list[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        checks = ("verify", "replay", "refused", "told")
        yield f"{'kind':56} {'made':>5} " + " ".join(f"{check:>8}" for check in checks) + f" {'missed':>7} {'no content':>11}"
        for name in sorted(self.made | self.nothing):
            found = self.found.get(name, Counter())
            counts = " ".join(f"{found[check]:8}" for check in checks)
            yield f"{name:56} {self.made[name]:5} {counts} {found['']:7} {self.nothing[name]:11}"
        total = Counter[str]()
        for found in self.found.values():
            total += found
        yield (
            f"{'in all':56} {sum(self.made.values()):5} "
            + " ".join(f"{total[check]:8}" for check in checks)
            + f" {total['']:7} {sum(self.nothing.values()):11}"
        )
        yield f"copies that nobody touched: {sum(self.copies.values())}: " + ", ".join(
            f"{count} {name}" for name, count in self.copies.items()
        )
        yield f"{self.seconds:.0f} s"
        yield from (f"VIOLATION  {violation}" for violation in self.violations)


def mutate_many(folder: Path, report: Report, *, mutations: int, seed: int) -> None:
    """Make so many mutations that change what is said, each in files of its own, and ask about each."""
    evidence = make_evidence(_new(folder / "venue"))
    originals: dict[tuple[bool, str], object] = {}
    dice = random.Random(seed)
    bag: list[Kind] = []
    while sum(report.made.values()) < mutations:
        bag = bag or dice.sample(KINDS, len(KINDS))  # Every kind once before any comes again.
        chosen = bag.pop()
        files = evidence.stopped if chosen.stopped else evidence.moments[chosen.moment]
        place = Place(_new(folder / "place"), files, dice, evidence, chosen.journal)
        which = (chosen.stopped, chosen.journal)
        if which not in originals:
            originals[which] = content(place.folder, chosen.journal)
            assert audit(place.folder, chosen.journal) == Finding(""), "what nobody has touched yet must be whole without a word"
            place.put(files)
        try:
            made = chosen.mutate(place)
        except NotPossible:
            continue
        told, seq = made if isinstance(made, tuple) else (made, 0)
        changed = content(place.folder, chosen.journal) != originals[which]
        _judge(report, chosen, told, seq, audit(place.folder, chosen.journal), changed)


def _judge(report: Report, chosen: Kind, told: str, seq: int, finding: Finding, changed: bool) -> None:
    name = chosen.name
    if not changed and not finding.sentence.startswith("Traceback") and finding.by in ("", "told"):
        report.nothing[name] += 1
        return
    report.made[name] += 1
    report.found.setdefault(name, Counter())[finding.by] += 1
    report.sentences.setdefault(name, []).append(finding.sentence)
    if not finding.by:
        report.violations.append(f"not found: {name}: {told}{': crashed: ' * bool(finding.sentence)}{finding.sentence}")
    elif finding.by == "told" and not chosen.leaves_less:
        report.violations.append(f"only told: {name}: {told}: {finding.sentence!r}")
    elif len(finding.sentence) < 20:
        report.violations.append(f"not named: {name}: {told}: {finding.sentence!r}")
    elif finding.by == "verify" and 0 < finding.seq < seq:  # 0 is the file as a whole.
        report.violations.append(f"named too early: {name}: {told}: {finding.sentence!r}")


# -- copies that nobody touched


class Days:
    """A venue on which everything happens, over and over, with copies of its files taken at moments of all kinds."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder, self.dice = _new(folder / "days"), dice
        self._copy, self._numbers = folder / "copy", itertools.count()
        self.venue = Venue(self.folder, sends=WITH_TILL)
        self.day = BusyDay(self.venue, dice.randrange(1000))
        self.day.run(60)

    def files(self) -> Finding:
        """Taken while the journal is open, and nothing is written at this moment."""
        self.day.run(self.dice.randint(0, 3))
        return self._audit(_files(self.folder))

    def old_files(self) -> Finding:
        """The same beside a witness that has gone on."""
        files = _files(self.folder)
        self.day.run(5)
        copy = _new(self._copy)
        (copy / "old.db").write_bytes(files[DATABASE])
        if WAL in files:
            (copy / "old.db-wal").write_bytes(files[WAL])
        for name in (WITNESS, KEY):
            shutil.copy(self.folder / name, copy / name)
        return audit(copy, "old.db")

    def sealed(self) -> Finding:
        """By `journal seal`, while another thread writes."""
        copy = _new(self._copy)
        is_over = threading.Event()

        def write() -> None:
            while not is_over.is_set():
                self.venue.create(f"during-{next(self._numbers)}", payments=())

        writer = threading.Thread(target=write)
        writer.start()
        try:
            ended = command(self.folder, "seal", str(copy / SEALED))
        finally:
            is_over.set()
            writer.join()
        if ended.exit_code:
            return Finding("seal", 0, ended.output)
        for name in (WITNESS, KEY):
            shutil.copy(self.folder / name, copy / name)
        return audit(copy, SEALED)

    def restarted(self) -> Finding:
        """Stopped, copied, and opened again."""
        self.venue.close()
        files = _files(self.folder)
        self.venue = self.day.venue = Venue(self.folder, sends=WITH_TILL, clock=self.venue.clock)
        self.day.run(3)
        return self._audit(files)

    def killed(self) -> Finding:
        """The files as they were at one moment, opened as after a crash, and gone on with."""
        copy = self._put(_files(self.folder))
        after = Venue(copy, sends=WITH_TILL, clock=self.venue.clock)
        BusyDay(after, self.dice.randrange(1000)).run(3)
        after.close()
        return audit(copy)

    def put_back(self) -> Finding:
        """A sealed copy in the journal's place, after more had been written: the loss accepted, and gone on with."""
        copy = _new(self._copy)
        command(self.folder, "seal", str(copy / DATABASE))
        self.venue.engine.handle(SetVenue(name="areas", value=[f"lost {next(self._numbers)}"], actor="till:bar"))
        for name in (WITNESS, KEY):
            shutil.copy(self.folder / name, copy / name)
        ended = command(copy, "accept-lost-tail", "--reason", "the disk is gone")
        if ended.exit_code:
            return Finding("accept-lost-tail", 0, ended.output)
        after = Venue(copy, sends=WITH_TILL, clock=self.venue.clock)
        BusyDay(after, self.dice.randrange(1000)).run(3)
        after.close()
        return audit(copy)

    def first_release(self) -> Finding:
        """The journal that the first release left, as it is or opened by this one."""
        copy = _new(self._copy)
        load("schema-1", copy / DATABASE)
        for name in (WITNESS, KEY):
            (copy / f"{DATABASE}.{name.partition('.')[2]}").rename(copy / name)
        if self.dice.random() < 0.5:
            Venue(copy).close()
        return audit(copy)

    def _put(self, files: Files) -> Path:
        copy = _new(self._copy)
        for name, data in files.items():
            (copy / name).write_bytes(data)
        return copy

    def _audit(self, files: Files) -> Finding:
        return audit(self._put(files))


COPIES = {
    "in use": (Days.files, 8),
    "older than the witness": (Days.old_files, 4),
    "sealed while it was written": (Days.sealed, 4),
    "stopped": (Days.restarted, 2),
    "killed and opened again": (Days.killed, 2),
    "put back, the loss accepted": (Days.put_back, 2),
    "of the first release": (Days.first_release, 1),
}


def copy_many(folder: Path, report: Report, *, copies: int, seed: int) -> None:
    """Take so many copies, and ask about each: no fault is there, and none may be found."""
    dice = random.Random(seed)
    days = Days(folder, dice)
    weights = [often for _, often in COPIES.values()]
    try:
        for number in range(copies):
            name = [*COPIES][number] if number < len(COPIES) else dice.choices([*COPIES], weights)[0]
            if number % COPIES_OF_A_DAY == COPIES_OF_A_DAY - 1:  # Or they would grow, and each take longer.
                days.venue.close()
                days = Days(folder, dice)
            finding = COPIES[name][0](days)
            report.copies[name] += 1
            if finding.by not in ("", "told") or finding.sentence.startswith("Traceback"):
                report.violations.append(f"false alarm: {name}: {finding.sentence}")
    finally:
        days.venue.close()


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tampering", description=__doc__.partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=500, help="so many, and as many untouched copies (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (%(default)s)")
    parser.add_argument("--say", action="store_true", help="print every sentence that was answered")
    asked = parser.parse_args()
    logging.disable()
    folder, report, began = Path(tempfile.mkdtemp(prefix="tillproof-tampering-")), Report(), time.monotonic()
    mutate_many(folder, report, mutations=asked.mutations, seed=asked.seed)
    copy_many(folder, report, copies=asked.mutations, seed=asked.seed)
    report.seconds = time.monotonic() - began
    if asked.say:
        for name, sentences in sorted(report.sentences.items()):
            print(name, *(f"    {sentence}" for sentence in dict.fromkeys(sentences)), sep="\n")
    print("\n".join(report.lines()))
    shutil.rmtree(folder)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
