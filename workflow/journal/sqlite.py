"""The journal in one SQLite file: one writer thread with group commit.

The writer takes every command that waits, runs each in a savepoint under one `BEGIN IMMEDIATE`, commits once, writes the witness
line, and only then lets the callers answer: sixteen clients share one fsync.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workflow.clock import Clock, to_text
from workflow.errors import (
    DiskFailed,
    HeadRegressed,
    JournalDamaged,
    JournalReadOnly,
    JournalUnavailable,
    JournalUnreadable,
    WorkflowError,
)
from workflow.journal.auditing import remove_views
from workflow.journal.condition import CHAIN_BROKEN, JOURNAL_DAMAGED, JOURNAL_READ_ONLY, PASSING, Condition
from workflow.journal.connection import (
    BUSY_TIMEOUT_S,
    NOT_TEXT,
    is_writable,
    refuse_foreign,
    refuse_second_name,
    translated,
    translated_os,
    wal_bytes,
)
from workflow.journal.driver import sqlite3
from workflow.journal.file import REPORTS_WAL, make_private, migrate, open_or_make, register_machines
from workflow.journal.keys import KeyNotInForce
from workflow.journal.lock import owner_lock
from workflow.journal.port import Transaction
from workflow.journal.transaction import Signer, SqliteTransaction
from workflow.journal.witness import Head, Witness, refuse_foreign_witness
from workflow.ledger import BadCheckpoint, Frontier, Node, key_id, leaf_hash, sign_checkpoint
from workflow.succession import KEY_ENTRIES, ids_in_force

logger = logging.getLogger(__name__)
T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[Transaction], Any], Future[Any]]"
"""A command, and who waits for it."""

BATCH_COMMANDS = 128
"""The most commands under one commit: bounds how long the first of them waits."""
CHECKPOINT_INTERVAL_S = 0.8
"""So long an entry waits for its checkpoint, and two of them are apart while entries come; the rest of the second is for a slow commit."""
QUEUE_COMMANDS = 10_000
"""More waiting commands than this are turned away with JournalUnavailable."""
WAL_PAGES = 1000
"""So many pages in the WAL are put into the database by the writer, between two commits."""
EMPTYING_MS = 50
"""So long a reader may hold up the emptying of the WAL, and with it everybody who waits to write."""
ROOM_BYTES = 1024 * 1024
"""A disk with less room than this is still full, although a small write may find a place."""


class SqliteJournal:
    """The one owner of a journal file: lock, writer thread, tree, checkpoints, witness.

    Makes the file (0600) at first start. Raises JournalInUse when another server owns it, NotAFile, JournalForeign (of the witness, too),
    JournalTooNew, HeadRegressed when entries are gone that the witness saw, KeyNotInForce when another key than `key` signs it,
    JournalReadOnly or another JournalUnavailable when it cannot be written.
    While `condition` knows of trouble, commands are run as far as they only read (so a repeated request still gets its answer).
    With `accepts_loss` the witness is meant to begin anew: what the old one saw is known, and a person goes on without it.
    """

    def __init__(self, path: Path, witness: Path, key: Ed25519PrivateKey, clock: Clock, *, accepts_loss: bool = False) -> None:
        self.path, self._clock, self._accepts_loss = path, clock, accepts_loss
        self.condition = Condition(clock)
        if os.path.lexists(path):
            refuse_foreign(path)
            refuse_second_name(path)
            if not is_writable(path):
                raise JournalReadOnly(f"{path}, or its directory, cannot be written")
        refuse_foreign_witness(witness)  # Before anything is made.
        self._lock = owner_lock(path)
        try:
            self._lock.acquire()
            self._database = open_or_make(path, clock)
            self._connection = self._database.conn
            self._witness, self._witness_lags = Witness(witness), False
            self._load(key)
            self._connection.execute("PRAGMA journal_mode = WAL")  # A sealed copy that was put back is not in it.
            make_private(path)
            remove_views(self._database)  # Of a sealed copy that was put back: they are true of the copy alone.
            migrate(self._database)  # Only what its witness knows.
            register_machines(self._database, clock)  # Only into a journal that its witness knows.
            _empty_log(self._connection)  # What was erased just before a crash is in it still.
        except sqlite3.Error as error:
            self._lock.release()
            raise translated(error, f"cannot open {path}") from error
        except UnicodeDecodeError as error:  # The driver cannot even read what SQLite complains of.
            self._lock.release()
            raise JournalUnreadable(f"cannot open {path}: {NOT_TEXT}") from error
        except OSError as error:
            self._lock.release()
            raise translated_os(error, f"cannot open {error.filename or path}") from error
        except BaseException:
            self._lock.release()
            raise
        self._queue: queue.Queue[Job | None] = queue.Queue(QUEUE_COMMANDS)
        self._sealed_size = self._database.execute("SELECT coalesce(max(size), 0) FROM checkpoint").fetchone()[0]
        self._closing = self._closing_to_waiters = False
        self._reads_only = False
        self._disk_failed = False
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
        return self._signer.key.public_key()

    @property
    def is_alive(self) -> bool:
        """The writer thread runs."""
        return self._thread.is_alive()

    def wait_for_more(self, size: int, seconds: float) -> None:
        """Return once there are more than `size` entries, or after `seconds`."""
        with self._grown:
            self._grown.wait_for(lambda: self._closing_to_waiters or self._frontier.size > size, timeout=seconds)

    def let_go(self) -> None:
        """Let everybody who waits for more go, from now on: a server that stops must not keep a long poll waiting."""
        with self._grown:
            self._closing_to_waiters = True
            self._grown.notify_all()

    def seal(self) -> None:
        """Sign a checkpoint of everything that is stored, now."""
        self.write(lambda transaction: transaction.on_commit(self._seal))

    def is_writable(self) -> bool:
        """Nothing keeps it from being written; where something did that may be over, a write that changes nothing is tried."""
        trouble = self.condition.trouble
        if trouble and trouble.code in PASSING and self._has_room() and is_writable(self.path):
            with suppress(JournalUnavailable):
                self._submit(_Probe(self._end_trouble))
        return self.condition.trouble is None

    def look(self) -> None:
        """Notice what no write has met yet: open files outlive the permission to open them, but not a restart."""
        if not is_writable(self.path):
            self.condition.begin(JOURNAL_READ_ONLY, f"{self.path}, or its directory, cannot be written any more")

    def empty_log(self) -> bool:
        """Put all of the WAL into the database and cut it to nothing; see `port.Journal.empty_log`."""
        emptied: list[bool] = []
        self.write(lambda transaction: transaction.on_commit(lambda: emptied.append(self._cut_log())))
        return emptied == [True]

    def wal_bytes(self) -> int:
        """How long the WAL file is."""
        return wal_bytes(self.path)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on the writer thread; see `port.Journal.write`."""
        return self._submit(work)

    def _submit(self, work: Callable[[Transaction], T]) -> T:
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
        self.let_go()
        self._queue.put(None)
        self._thread.join()
        if self._disk_failed:  # To close the database would sync once more what could not be synced.
            return
        with suppress(sqlite3.Error):  # A reader may still be there; the next start finds the rest in the WAL.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()
        self._witness.close()
        self._lock.release()

    def _load(self, key: Ed25519PrivateKey) -> None:
        meta = dict(self._database.execute("SELECT name, value FROM meta").fetchall())
        self._journal_id: str = meta["journal_id"]
        self._secret = bytes.fromhex(meta["secret"])
        self._signer = Signer(f"tillproof/{self._journal_id}", key)
        size = self._database.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0]
        try:
            self._frontier = Frontier.restore(size, self._node)
            self._check_witness(self._frontier)
            self._check_signed(self._frontier)
        except TypeError as error:  # A row that the tree needs is not there.
            raise JournalDamaged(f"{self.path}: the Merkle tree lacks a node below size {size}") from error

    def _node(self, level: int, position: int) -> bytes:
        if level == 0:
            row = self._database.execute("SELECT hash FROM journal WHERE seq = ?", (position + 1,)).fetchone()
            return leaf_hash(row[0])
        row = self._database.execute("SELECT hash FROM tree_node WHERE level = ? AND position = ?", (level, position)).fetchone()
        return cast(bytes, row[0])

    def _check_witness(self, frontier: Frontier) -> None:
        """Compare, and tell the witness what it has not seen, so that from now on none of this can be lost unnoticed."""
        head, size = self._witness.head(), frontier.size
        if head:
            refuse_regressed(self.path, size, head, self._node)
        elif size and not self._accepts_loss:
            following = "where the journal is an older copy, put the newest in its place; tillproof journal verify"
            why = "it had no line: nothing tells what is missing"
            logger.warning("witness begun anew", extra={"size": size, "error": why, "next": following})
        if size > (head.size if head else 0):
            self._tell_witness(frontier)

    def _check_signed(self, frontier: Frontier) -> None:
        """Sign nothing that does not extend what was signed, nor with a key that is not in force: a few reads at the start.

        Verification, which follows, says what is wrong with a journal that was changed. It is opened all the same, and not written.
        """
        newest = self._database.execute("SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        if newest is None:
            return
        size, root, note = newest
        try:
            if size > frontier.size:
                raise ValueError(f"{size} entries were signed, and there are {frontier.size}")
            if Frontier.restore(size, self._node).root().hex() != root:
                raise ValueError(f"the entries up to {size} are not those that were signed")
            self._require_in_force(size, note)
        except (ValueError, BadCheckpoint) as error:
            self.condition.begin(CHAIN_BROKEN, str(error))

    def _require_in_force(self, size: int, note: str) -> None:
        entry = self._database.execute(f"SELECT body FROM journal WHERE seq = ? AND {KEY_ENTRIES}", (size,)).fetchone()
        in_force = ids_in_force(self._signer.origin, size, note, entry[0] if entry else None)
        ours = key_id(self._signer.origin, self.public_key).hex()
        if in_force and ours not in in_force:
            signs = " or ".join(in_force)
            raise KeyNotInForce(
                f"SIGNING_KEY holds the key {ours}, and behind size {size} the journal is signed by {signs}: put that key's file in its "
                "place; where nobody changed it, that checkpoint is forged"
            )

    # -- the writer thread

    def _run(self) -> None:
        try:
            while self._serve_batch():
                pass
            self._seal()
        except DiskFailed as error:
            facts = {"error": str(error), "next": "check the disk, then tillproof journal verify, then tillproof serve"}
            logger.critical("disk failed", extra=facts)
            self._disk_failed = True
            self.failed.set()
        except BaseException:
            logger.critical("journal writer died", exc_info=True)
            self.failed.set()
            raise
        finally:
            self._ended.set()
            self._turn_all_away()

    def _serve_batch(self) -> bool:
        """Commit what waits; False once the journal is closed. An idle, unsealed journal is sealed within a second."""
        unsealed = self._frontier.size > self._sealed_size and not self.condition.trouble
        try:
            first = self._queue.get(timeout=self._seconds_to_seal() if unsealed else None)
        except queue.Empty:
            if self._is_seal_due():  # The wait was real; the clock that was given may have stood still meanwhile.
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
            while self._under_way:
                self._under_way = self._commit_batch(self._under_way)
            self._checkpoint_where_due()
        return goes_on

    def _commit_batch(self, batch: Sequence[Job]) -> Sequence[Job]:
        """Run what waits under one commit; what is left to be run: whatever waits behind a command that brings a key in."""
        answers: list[Callable[[], None]] = []
        transaction = SqliteTransaction(self._connection, self._secret, self._frontier.size, self._signer)
        frontier = self._frontier.copy()
        try:
            self._begin(any(isinstance(work, _Probe) for work, _ in batch))
            transaction.reads_only = self._reads_only
            for work, future in batch:
                answers.append(self._run_one(transaction, work, future))
                if transaction.next_key:
                    break
            self._grow(frontier, transaction.hashes)
            sealing = bool(transaction.hashes) and (self._is_seal_due() or transaction.next_key is not None)
            if sealing:
                self._insert_checkpoint(frontier)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = self._met(error, "nothing could be made durable")
            for _, future in batch:
                future.set_exception(failure)
            if isinstance(failure, DiskFailed):
                raise failure from error
            self._roll_back()
            return []
        self._frontier = frontier
        if sealing:
            self._note_sealed(frontier.size)
        if transaction.next_key:
            self._signer = replace(self._signer, key=transaction.next_key)
        self._announce(transaction, answers)
        return batch[len(answers) :]

    def _announce(self, transaction: SqliteTransaction, answers: Sequence[Callable[[], None]]) -> None:
        """After the commit: the witness first, then whoever waits for it."""
        if transaction.hashes or self._witness_lags:
            self._tell_witness(self._frontier)
        for then in transaction.after_commit:
            then()
        for answer in answers:
            answer()
        if transaction.hashes:
            with self._grown:
                self._grown.notify_all()

    def _begin(self, is_probe: bool) -> None:
        """Begin to write, or in trouble only to read: whatever changes nothing (a repeated request) is answered all the same."""
        reads_only = self.condition.trouble is not None and not is_probe
        if reads_only != self._reads_only:
            self._connection.execute(f"PRAGMA query_only = {'ON' if reads_only else 'OFF'}")
            self._reads_only = reads_only
        self._connection.execute("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    def _met(self, error: sqlite3.Error, told: str) -> WorkflowError:
        """What callers get for an error of the database's, which the condition remembers.

        A DiskFailed must end the process, whatever it was: the bundled driver does not tell a sync that failed from a write or a lock.
        """
        failure = translated(error, told)
        if isinstance(failure, DiskFailed):
            return failure
        if isinstance(failure, JournalDamaged):
            self.condition.begin(JOURNAL_DAMAGED, str(failure))
            return JournalUnavailable(str(failure), code=JOURNAL_DAMAGED)
        if isinstance(failure, JournalUnavailable) and failure.code:
            self.condition.begin(failure.code, str(error))
        else:
            logger.error("commit failed", extra={"error": str(error)})
        return failure

    def _has_room(self) -> bool:
        try:
            return shutil.disk_usage(self.path.parent).free >= ROOM_BYTES
        except OSError:
            return True  # Whether it can be written is then found by writing.

    def _end_trouble(self) -> None:
        if not self._witness_lags:
            self.condition.end_passing()

    def _tell_witness(self, frontier: Frontier) -> None:
        """What is committed stays so when the witness cannot be written: it lags, and the probe that ends the trouble tells it."""
        self._witness_lags = True
        try:
            self._witness.append(frontier.size, frontier.root().hex())
        except OSError as error:
            failure = translated_os(error, f"witness not written at size {frontier.size}")
            if isinstance(failure, DiskFailed):
                raise failure from error
            self.condition.begin(failure.code, str(failure))
        else:
            self._witness_lags = False

    def _run_one(self, transaction: SqliteTransaction, work: Callable[[Transaction], Any], future: Future[Any]) -> Callable[[], None]:
        """Run one command in its savepoint; the returned function lets its caller answer."""
        mark = transaction.mark()
        self._connection.execute("SAVEPOINT command")
        try:
            result = work(transaction)
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                raise  # SQLite gave the whole transaction up (disk full, I/O): nothing of the batch is stored.
            failure: Exception = self._refusal() if self._reads_only else self._met(error, "the command could not be stored")
            if isinstance(failure, DiskFailed):
                raise
        except JournalDamaged as error:
            self.condition.begin(JOURNAL_DAMAGED, str(error))
            failure = error
        except Exception as error:
            failure = error
        else:
            self._connection.execute("RELEASE command")
            return lambda: future.set_result(result)
        self._connection.execute("ROLLBACK TO command")
        self._connection.execute("RELEASE command")
        transaction.return_to(mark)
        return lambda: future.set_exception(failure)

    def _refusal(self) -> JournalUnavailable:
        trouble = self.condition.trouble
        return JournalUnavailable(
            trouble.detail if trouble else "it could not be written a moment ago", code=trouble.code if trouble else ""
        )

    def _checkpoint_where_due(self) -> None:
        """Put a long WAL into the database: here, and not within a commit, where SQLite would hide that the disk failed."""
        if not REPORTS_WAL or self.condition.trouble:
            return
        try:
            _, pages, done = self._connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
            if pages - done >= WAL_PAGES:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            failure = self._met(error, "the WAL could not be put into the database")
            if isinstance(failure, DiskFailed):
                raise failure from error

    def _cut_log(self) -> bool:
        try:
            return not self.condition.trouble and _empty_log(self._connection)
        except sqlite3.Error as error:
            failure = self._met(error, "the WAL could not be put into the database")
            if isinstance(failure, DiskFailed):
                raise failure from error
            return False

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
        return self._seconds_to_seal() == 0

    _sealed_at = 0.0
    _under_way: Sequence[Job] = ()

    def _insert_checkpoint(self, frontier: Frontier) -> None:
        root = frontier.root()
        note = sign_checkpoint(self._signer.origin, frontier.size, root, self._signer.key)
        self._connection.execute(
            "INSERT INTO checkpoint(size, root, at, note) VALUES (?, ?, ?, ?)",
            (frontier.size, root.hex(), to_text(self._clock.now()), note),
        )

    def _note_sealed(self, size: int) -> None:
        self._sealed_size, self._sealed_at = size, self._clock.monotonic()

    def _seal(self) -> None:
        """Sign a checkpoint of everything, if there is news since the last."""
        if self._frontier.size == self._sealed_size or self.condition.trouble:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._insert_checkpoint(self._frontier)
            self._connection.execute("COMMIT")
            self._note_sealed(self._frontier.size)
        except sqlite3.Error as error:
            failure = self._met(error, "the checkpoint could not be stored")
            if isinstance(failure, DiskFailed):
                raise failure from error
            self._roll_back()
            self._sealed_at = self._clock.monotonic()  # Tried again after the interval, not at once.

    def _turn_all_away(self) -> None:
        for _, future in self._under_way:
            if not future.done():
                future.set_exception(JournalUnavailable("the journal's writer died: whether this was stored is unknown", is_unknown=True))
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job:
                job[1].set_exception(JournalUnavailable("the journal is closed, or its writer died"))


class _Probe:
    """A write that changes nothing, to learn whether anything can be made durable; `then` is called once it is."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def __call__(self, transaction: Transaction) -> None:
        transaction.touch()
        transaction.on_commit(self._then)


def refuse_regressed(path: Path, size: int, head: Head, node: Callable[[int, int], bytes]) -> None:
    """Raise HeadRegressed where a journal of `size` entries with these nodes is not what its witness saw at `head`."""
    if head.size > size:
        raise HeadRegressed(f"{path} has {size} entries, its witness saw {head.size}")
    if Frontier.restore(head.size, node).root().hex() != head.root:
        raise HeadRegressed(f"{path} differs from what its witness saw at size {head.size}")


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Cut the WAL to nothing; False, and soon, where a reader needs it: whoever waits to write must not wait for that one."""
    connection.execute(f"PRAGMA busy_timeout = {EMPTYING_MS}")
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    return not busy
