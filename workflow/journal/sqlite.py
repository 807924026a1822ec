"""The journal in one SQLite file: one writer thread with group commit.

The writer takes every command that waits, runs each in a savepoint under one `BEGIN IMMEDIATE`, commits once, writes the witness
line, and only then lets the callers answer: sixteen clients share one fsync.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlite_utils import Database

from workflow.clock import Clock, to_text
from workflow.declaration import declaration_hash, declaration_text
from workflow.errors import HeadRegressed, JournalDamaged, JournalUnavailable
from workflow.journal.connection import connect, refuse_foreign
from workflow.journal.driver import sqlite3
from workflow.journal.keys import sync_directory
from workflow.journal.lock import FileLock
from workflow.journal.port import Transaction
from workflow.journal.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES
from workflow.journal.transaction import SqliteTransaction
from workflow.journal.witness import Witness
from workflow.ledger import Frontier, Node, leaf_hash, sign_checkpoint
from workflow.lifecycle import DECLARATIONS

logger = logging.getLogger(__name__)
T = TypeVar("T")

BATCH_COMMANDS = 128
"""The most commands under one commit: bounds how long the first of them waits."""
CHECKPOINT_INTERVAL_S = 1.0
QUEUE_COMMANDS = 10_000
"""More waiting commands than this are turned away with JournalUnavailable."""


class SqliteJournal:
    """The one owner of a journal file: lock, writer thread, tree, checkpoints, witness.

    `open` makes the file (0600) at first start. Raises JournalInUse when another server owns it, JournalForeign, JournalTooNew,
    HeadRegressed when entries are gone that the witness saw.
    """

    def __init__(self, path: Path, witness: Path, key: Ed25519PrivateKey, clock: Clock) -> None:
        self.path, self._clock, self._key = path, clock, key
        self._lock = FileLock(Path(f"{path}.lock"))
        self._lock.acquire()
        try:
            self._database = _open_or_make(path, clock)
            self._connection = self._database.conn
            self._witness = Witness(witness)
            self._load()
            _register_machines(self._database, clock)  # Only into a journal that its witness knows.
        except BaseException:
            self._lock.release()
            raise
        self._queue: queue.Queue[tuple[Callable[[Transaction], Any], Future[Any]] | None] = queue.Queue(QUEUE_COMMANDS)
        self._sealed_size = self._database.execute("SELECT coalesce(max(size), 0) FROM checkpoint").fetchone()[0]
        self._closing = False
        self._unavailable = False
        self._grown = threading.Condition()
        self.failed, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def journal_id(self) -> str:
        """Names this journal in its checkpoints."""
        return self._journal_id

    @property
    def public_key(self) -> Ed25519PublicKey:
        """What checks this journal's checkpoints."""
        return self._key.public_key()

    @property
    def is_alive(self) -> bool:
        """The writer thread runs."""
        return self._thread.is_alive()

    def wait_for_more(self, size: int, seconds: float) -> None:
        """Return once there are more than `size` entries, or after `seconds`."""
        with self._grown:
            self._grown.wait_for(lambda: self._closing or self._frontier.size > size, timeout=seconds)

    def seal(self) -> None:
        """Sign a checkpoint of everything that is stored, now."""
        self.write(lambda transaction: transaction.on_commit(self._seal))

    def is_writable(self) -> bool:
        """The newest commit worked; an empty transaction is tried where it did not."""
        if self._unavailable:
            with suppress(JournalUnavailable):
                self.write(lambda transaction: transaction.touch())
        return not self._unavailable

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on the writer thread; see `port.Journal.write`."""
        future: Future[T] = Future()
        if self._closing or not self._thread.is_alive():
            raise JournalUnavailable("the journal is closed")
        try:
            self._queue.put_nowait((work, future))
        except queue.Full as error:
            raise JournalUnavailable(f"{QUEUE_COMMANDS} commands wait already") from error
        if self._ended.is_set():  # The writer ended meanwhile, perhaps after it had turned everybody away.
            self._turn_all_away()
        return future.result()

    def close(self) -> None:
        """Finish what waits, sign a last checkpoint, let the file go."""
        if self._closing:
            return
        self._closing = True
        with self._grown:
            self._grown.notify_all()
        self._queue.put(None)
        self._thread.join()
        with suppress(sqlite3.Error):  # A reader may still be there; the next start finds the rest in the WAL.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()
        self._witness.close()
        self._lock.release()

    def _load(self) -> None:
        meta = dict(self._database.execute("SELECT name, value FROM meta").fetchall())
        self._journal_id: str = meta["journal_id"]
        self._secret = bytes.fromhex(meta["secret"])
        size = self._database.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0]
        try:
            self._frontier = Frontier.restore(size, self._node)
            self._check_witness(size)
        except TypeError as error:  # A row that the tree needs is not there.
            raise JournalDamaged(f"{self.path}: the Merkle tree lacks a node below size {size}") from error

    def _node(self, level: int, position: int) -> bytes:
        if level == 0:
            row = self._database.execute("SELECT hash FROM journal WHERE seq = ?", (position + 1,)).fetchone()
            return leaf_hash(row[0])
        row = self._database.execute("SELECT hash FROM tree_node WHERE level = ? AND position = ?", (level, position)).fetchone()
        return cast(bytes, row[0])

    def _check_witness(self, size: int) -> None:
        head = self._witness.head()
        if head is None:
            return
        if head.size > size:
            raise HeadRegressed(f"{self.path} has {size} entries, its witness saw {head.size}")
        if Frontier.restore(head.size, self._node).root().hex() != head.root:
            raise HeadRegressed(f"{self.path} differs from what its witness saw at size {head.size}")

    # -- the writer thread

    def _run(self) -> None:
        try:
            while self._serve_batch():
                pass
            self._seal()
        except BaseException:
            logger.critical("journal writer died", exc_info=True)
            self.failed.set()
            raise
        finally:
            self._ended.set()
            self._turn_all_away()

    def _serve_batch(self) -> bool:
        """Commit what waits; False once the journal is closed. An idle, unsealed journal is sealed after a second."""
        unsealed = self._frontier.size > self._sealed_size
        try:
            first = self._queue.get(timeout=self._seconds_to_seal() if unsealed else None)
        except queue.Empty:
            self._seal()
            return True
        batch = [first] if first else []
        goes_on = first is not None
        while goes_on and len(batch) < BATCH_COMMANDS:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                goes_on = False
            else:
                batch.append(job)
        if batch:
            self._under_way = batch
            self._commit_batch(batch)
            self._under_way = []
        return goes_on

    def _commit_batch(self, batch: Sequence[tuple[Callable[[Transaction], Any], Future[Any]]]) -> None:
        answers: list[Callable[[], None]] = []
        transaction = SqliteTransaction(self._connection, self._secret, self._frontier.size)
        frontier = self._frontier.copy()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for work, future in batch:
                answers.append(self._run_one(transaction, work, future))
            self._grow(frontier, transaction.hashes)
            sealing = bool(transaction.hashes) and self._is_seal_due()
            if sealing:
                self._insert_checkpoint(frontier)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._unavailable = True
            logger.error("commit failed", extra={"error": str(error)})
            for _, future in batch:
                future.set_exception(JournalUnavailable(f"nothing could be made durable: {error}"))
            return
        self._frontier, self._unavailable = frontier, False
        if sealing:
            self._note_sealed(frontier.size)
        if transaction.hashes:
            self._tell_witness(frontier)
        for then in transaction.after_commit:
            then()
        for answer in answers:
            answer()
        if transaction.hashes:
            with self._grown:
                self._grown.notify_all()

    def _tell_witness(self, frontier: Frontier) -> None:
        """What is committed stays so when the witness cannot be written: it may lag, and the next commit tells it more."""
        try:
            self._witness.append(frontier.size, frontier.root().hex())
        except OSError as error:
            logger.error("witness not written", extra={"error": str(error), "size": frontier.size})

    def _run_one(self, transaction: SqliteTransaction, work: Callable[[Transaction], Any], future: Future[Any]) -> Callable[[], None]:
        """Run one command in its savepoint; the returned function lets its caller answer."""
        mark = transaction.mark()
        self._connection.execute("SAVEPOINT command")
        try:
            result = work(transaction)
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                raise  # SQLite gave the whole transaction up (disk full, I/O): nothing of the batch is stored.
            failure: Exception = JournalUnavailable(f"the command could not be stored: {error}")
        except Exception as error:
            failure = error
        else:
            self._connection.execute("RELEASE command")
            return lambda: future.set_result(result)
        self._connection.execute("ROLLBACK TO command")
        self._connection.execute("RELEASE command")
        transaction.return_to(mark)
        return lambda: future.set_exception(failure)

    def _grow(self, frontier: Frontier, hashes: Sequence[str]) -> None:
        nodes: list[Node] = []
        for hash_ in hashes:
            nodes += frontier.append(hash_)
        self._connection.executemany("INSERT INTO tree_node(level, position, hash) VALUES (?, ?, ?)", nodes)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _seconds_to_seal(self) -> float:
        return max(0.0, self._sealed_at + CHECKPOINT_INTERVAL_S - self._clock.monotonic())

    def _is_seal_due(self) -> bool:
        return self._clock.monotonic() - self._sealed_at >= CHECKPOINT_INTERVAL_S

    _sealed_at = 0.0
    _under_way: Sequence[tuple[Callable[[Transaction], Any], Future[Any]]] = ()

    def _insert_checkpoint(self, frontier: Frontier) -> None:
        root = frontier.root()
        note = sign_checkpoint(f"tillproof/{self._journal_id}", frontier.size, root, self._key)
        self._connection.execute(
            "INSERT INTO checkpoint(size, root, at, note) VALUES (?, ?, ?, ?)",
            (frontier.size, root.hex(), to_text(self._clock.now()), note),
        )

    def _note_sealed(self, size: int) -> None:
        self._sealed_size, self._sealed_at = size, self._clock.monotonic()

    def _seal(self) -> None:
        """Sign a checkpoint of everything, if there is news since the last."""
        if self._frontier.size == self._sealed_size:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._insert_checkpoint(self._frontier)
            self._connection.execute("COMMIT")
            self._note_sealed(self._frontier.size)
        except sqlite3.Error as error:
            self._roll_back()
            logger.error("checkpoint not stored", extra={"error": str(error)})

    def _turn_all_away(self) -> None:
        for _, future in self._under_way:
            if not future.done():
                future.set_exception(JournalUnavailable("the journal's writer died: whether this was stored is unknown"))
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job:
                job[1].set_exception(JournalUnavailable("the journal is closed, or its writer died"))


def _open_or_make(path: Path, clock: Clock) -> Database:
    if not os.path.lexists(path):
        _make(path, clock)
    refuse_foreign(path)
    database = connect(path, read_only=False)
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")  # What is erased is overwritten, not only unlinked.
    return database


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


def _register_machines(database: Database, clock: Clock) -> None:
    """Keep the declarations in force for ever: an old journal explains itself."""
    rows = [(d.name, declaration_hash(d), declaration_text(d), to_text(clock.now())) for d in DECLARATIONS]
    database.conn.executemany("INSERT OR IGNORE INTO machines(name, hash, declaration, first_at) VALUES (?, ?, ?, ?)", rows)
