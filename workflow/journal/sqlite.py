"""The journal in one SQLite file: one writer thread with group commit, and readers that only read.

The writer takes every command that waits, runs each in a savepoint under one `BEGIN IMMEDIATE`, commits once, writes the witness
line, and only then lets the callers answer: sixteen clients share one fsync.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlite_utils import Database

from workflow.bill import Personal
from workflow.clock import Clock, to_text
from workflow.declaration import declaration_hash, declaration_text
from workflow.effects import Task
from workflow.entry import Entry
from workflow.errors import HeadRegressed, JournalDamaged, JournalForeign, JournalTooNew, JournalUnavailable
from workflow.journal.driver import sqlite3
from workflow.journal.lock import FileLock
from workflow.journal.port import ParkedLinks, Seen, StoredTask, Transaction
from workflow.journal.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES
from workflow.journal.witness import Witness
from workflow.ledger import ZERO_HASH, Frontier, HashedEntry, Node, canonical, entry_hash, leaf_hash, sign_checkpoint
from workflow.lifecycle import DECLARATIONS
from workflow.order import Order
from workflow.ports import IntentId, OrderId

logger = logging.getLogger(__name__)
T = TypeVar("T")

BATCH_COMMANDS = 128
"""The most commands under one commit: bounds how long the first of them waits."""
BUSY_TIMEOUT_S = 5
CHECKPOINT_INTERVAL_S = 1.0
STATEMENT_CACHE = 256
QUEUE_COMMANDS = 10_000
"""More waiting commands than this are turned away with JournalUnavailable."""

_order_decoder = msgspec.json.Decoder(Order)
_personal_decoder = msgspec.json.Decoder(Personal)
_encode = msgspec.json.Encoder().encode


class _Rollback(Exception):
    """Carries what a command raised out of its savepoint."""


def connect(path: Path, *, read_only: bool) -> Database:
    """A connection of our making: autocommit, no implicit transactions; a reader cannot write. Raises JournalUnavailable."""
    try:
        if read_only:
            connection = sqlite3.connect(
                f"file:{_quoted(path)}?mode=ro",
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
        raise JournalUnavailable(f"cannot open {path}: {error}") from error


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def check_header(database: Database, path: Path) -> None:
    """Refuse what is not a journal of ours, or a newer one. Raises JournalForeign, JournalTooNew, JournalDamaged."""
    try:
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise JournalForeign(f"{path} is not a SQLite database: {error}") from error
    if application != APPLICATION_ID:
        raise JournalForeign(f"{path} is a database of another program")
    if version > SCHEMA_VERSION:
        raise JournalTooNew(f"{path} has schema {version}, this version knows {SCHEMA_VERSION}")


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
        except BaseException:
            self._lock.release()
            raise
        self._queue: queue.Queue[tuple[Callable[[Transaction], Any], Future[Any]] | None] = queue.Queue(QUEUE_COMMANDS)
        self._sealed_size = self._frontier.size
        self._closing = False
        self._unavailable = False
        self.failed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def journal_id(self) -> str:
        """Names this journal in its checkpoints."""
        return self._journal_id

    @property
    def is_alive(self) -> bool:
        """The writer thread runs."""
        return self._thread.is_alive()

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
        return future.result()

    def close(self) -> None:
        """Finish what waits, sign a last checkpoint, let the file go."""
        if self._closing:
            return
        self._closing = True
        self._queue.put(None)
        self._thread.join()
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
            self._turn_all_away()
            raise

    def _serve_batch(self) -> bool:
        """Commit what waits; False once the journal is closed. An idle, unsealed journal is sealed after a second."""
        unsealed = self._frontier.size > self._sealed_size
        try:
            first = self._queue.get(timeout=CHECKPOINT_INTERVAL_S if unsealed else None)
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
            self._commit_batch(batch)
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
            if transaction.hashes and self._is_seal_due():
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
        if transaction.hashes:
            self._witness.append(frontier.size, frontier.root().hex())
        for then in transaction.after_commit:
            then()
        for answer in answers:
            answer()

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

    def _is_seal_due(self) -> bool:
        return self._clock.monotonic() - self._sealed_at >= CHECKPOINT_INTERVAL_S

    _sealed_at = 0.0

    def _insert_checkpoint(self, frontier: Frontier) -> None:
        root = frontier.root()
        note = sign_checkpoint(f"tillproof/{self._journal_id}", frontier.size, root, self._key)
        self._connection.execute(
            "INSERT OR IGNORE INTO checkpoint(size, root, at, note) VALUES (?, ?, ?, ?)",
            (frontier.size, root.hex(), to_text(self._clock.now()), note),
        )
        self._sealed_size, self._sealed_at = frontier.size, self._clock.monotonic()

    def _seal(self) -> None:
        """Sign a checkpoint of everything, if there is news since the last."""
        if self._frontier.size == self._sealed_size:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._insert_checkpoint(self._frontier)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            logger.error("checkpoint not stored", extra={"error": str(error)})

    def _turn_all_away(self) -> None:
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job:
                job[1].set_exception(JournalUnavailable("the journal's writer died"))


def _open_or_make(path: Path, clock: Clock) -> Database:
    if not path.exists():
        _make(path, clock)
    if not path.is_file() or path.is_symlink():
        raise JournalForeign(f"{path} is not a plain file")
    database = connect(path, read_only=False)
    check_header(database, path)
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA synchronous = FULL")
    _register_machines(database, clock)
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


class SqliteTransaction:
    """The unit of work on the writer's connection; see `port.Transaction`. Hot statements are plain SQL, prepared once."""

    def __init__(self, connection: sqlite3.Connection, secret: bytes, size: int) -> None:
        self._connection, self._size = connection, size
        self.secret = secret
        self.hashes: list[str] = []
        self.after_commit: list[Callable[[], None]] = []
        self._last_hash: dict[str, str] = {}

    def mark(self) -> tuple[int, int]:
        """Where a savepoint begins."""
        self._last_hash.clear()
        return len(self.hashes), len(self.after_commit)

    def return_to(self, mark: tuple[int, int]) -> None:
        """Forget what came after the mark."""
        del self.hashes[mark[0] :], self.after_commit[mark[1] :]
        self._last_hash.clear()

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        return cast("tuple[Any, ...] | None", self._connection.execute(sql, values).fetchone())

    def order(self, order_id: str) -> Order | None:
        row = self._one("SELECT body FROM orders WHERE id = ?", order_id)
        return _order_decoder.decode(row[0]) if row else None

    def order_of_intent(self, intent_id: str) -> OrderId | None:
        row = self._one("SELECT order_id FROM payments WHERE intent_id = ?", intent_id)
        return OrderId(row[0]) if row else None

    def order_of_dojo_id(self, dojo_order_id: str) -> OrderId | None:
        row = self._one("SELECT id FROM orders WHERE dojo_order_id = ?", dojo_order_id)
        return OrderId(row[0]) if row else None

    def save(self, order: Order, before: Order | None) -> None:
        last_hash = self._last_hash[order.id]
        if before is None:
            self._connection.execute(INSERT_ORDER, order_row(order, last_hash))
        else:
            self._connection.execute(UPDATE_ORDER, (*order_row(order, last_hash)[1:], order.id))
        old = before.payments if before else {}
        for row in (payment_row(order, intent_id) for intent_id, payment in order.payments.items() if old.get(intent_id) != payment):
            self._connection.execute(UPSERT_PAYMENT, row)
            self._connection.execute("DELETE FROM parked WHERE intent_id = ?", row[:1])
        if order.attention != (before.attention if before else ()):
            self._connection.execute("DELETE FROM attention WHERE order_id = ?", (order.id,))
            self._connection.executemany("INSERT INTO attention VALUES (?, ?, ?, ?, ?)", attention_rows(order))

    def append(self, entries: Sequence[Entry]) -> None:
        rows = []
        for entry in entries:
            prev_hash = self._previous_hash(entry)
            hashed = hashed_entry(entry, prev_hash)
            hash_ = entry_hash(hashed)
            self.hashes.append(hash_)
            self._last_hash[entry.order_id] = hash_
            rows.append((self._size + len(self.hashes), *msgspec.structs.astuple(hashed), hash_))
        self._connection.executemany(INSERT_ENTRY, rows)

    def _previous_hash(self, entry: Entry) -> str:
        if entry.order_seq == 1:
            return ZERO_HASH
        if known := self._last_hash.get(entry.order_id):
            return known
        row = self._one("SELECT hash FROM journal WHERE order_id = ? AND order_seq = ?", entry.order_id, entry.order_seq - 1)
        if row is None:
            raise JournalDamaged(f"order {entry.order_id!r} has no entry {entry.order_seq - 1}")
        return str(row[0])

    def last_venue_seq(self) -> int:
        row = self._one("SELECT order_seq FROM journal WHERE order_id = '' ORDER BY order_seq DESC LIMIT 1")
        return int(row[0]) if row else 0

    def seen(self, source: str, message_id: str) -> Seen | None:
        row = self._one("SELECT fingerprint, order_id FROM inbox WHERE source = ? AND message_id = ?", source, message_id)
        return Seen(*row) if row else None

    def remember(self, source: str, message_id: str, seen: Seen, at: str) -> None:
        self._connection.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?)", (source, message_id, seen.fingerprint, seen.order_id, at))

    def keep_personal(self, order_id: str, salt: str, personal: Personal) -> None:
        self._connection.execute("INSERT INTO personal VALUES (?, ?, ?)", (order_id, salt, _encode(personal).decode()))

    def personal(self, order_id: str) -> Personal:
        row = self._one("SELECT data FROM personal WHERE order_id = ?", order_id)
        return _personal_decoder.decode(row[0]) if row else Personal()

    def park(self, intent_id: str, at: str) -> None:
        self._connection.execute("INSERT OR IGNORE INTO parked(intent_id, since) VALUES (?, ?)", (intent_id, at))

    def note_links(self, intent_id: str, links: ParkedLinks) -> None:
        self._connection.execute(
            "UPDATE parked SET external_id = ?, dojo_order_id = ? WHERE intent_id = ?",
            (links.external_id, links.dojo_order_id, intent_id),
        )

    def parked_for(self, order: Order | None, order_id: str, dojo_order_id: str | None, intents: Sequence[str]) -> tuple[IntentId, ...]:
        named = [intent for intent in intents if self._one("SELECT 1 FROM parked WHERE intent_id = ?", intent)]
        linked = self._connection.execute(
            "SELECT intent_id FROM parked WHERE external_id IN (?, ?) OR dojo_order_id = ?",
            (order_id, dojo_order_id, dojo_order_id),
        ).fetchall()
        return tuple(dict.fromkeys(IntentId(intent) for intent in (*named, *(row[0] for row in linked))))

    def raise_venue_attention(self, code: str, intent_id: str, at: str, detail: str) -> bool:
        row = ("", code, intent_id, at, detail)
        return self._connection.execute("INSERT OR IGNORE INTO attention VALUES (?, ?, ?, ?, ?)", row).rowcount == 1

    def task(self, task_id: str) -> StoredTask | None:
        return _stored_task(self._one(f"SELECT {TASK_COLUMNS} FROM outbox WHERE id = ?", task_id))

    def waiting_task(self, lane: str, effect: str, intent_id: str) -> StoredTask | None:
        sql = f"SELECT {TASK_COLUMNS} FROM outbox WHERE lane = ? AND status = 'pending' AND effect = ? AND intent_id = ?"
        return _stored_task(self._one(sql, lane, effect, intent_id))

    def lane_is_busy(self, lane: str) -> bool:
        return self._one("SELECT 1 FROM outbox WHERE lane = ? AND status = 'leased'", lane) is not None

    def next_in_lane(self, lane: str, now_ms: int) -> StoredTask | None:
        return _stored_task(self._one(NEXT_IN_LANE, lane, now_ms))

    def due_tasks(self, now_ms: int, limit: int) -> list[StoredTask]:
        rows = self._connection.execute(DUE_TASKS, (now_ms, now_ms, limit)).fetchall()
        tasks = (cast(StoredTask, _stored_task(row)) for row in rows)
        return list({stored.lane: stored for stored in reversed(list(tasks))}.values())[::-1]

    def next_due_ms(self) -> int | None:
        row = self._one(NEXT_DUE)
        return cast("int | None", row[0]) if row else None

    def release_leases(self, now_ms: int) -> None:
        self._connection.execute("UPDATE outbox SET status = 'pending', next_at_ms = ? WHERE status = 'leased'", (now_ms,))

    def put_task(self, stored: StoredTask, last_error: str = "", done_at: str = "") -> None:
        task = stored.task
        self._connection.execute(
            PUT_TASK,
            (
                task.id, stored.lane, task.effect, task.order_id, task.intent_id, task.order_seq, stored.status, task.attempts, task.fence,
                task.lease_until_ms, stored.next_at_ms, last_error, task.created_at_ms, done_at,
            ),
        )  # fmt: skip

    def touch(self) -> None:
        """Write something that changes nothing, to learn whether anything can be made durable."""
        self._connection.execute("UPDATE meta SET value = value WHERE name = 'made_at'")

    def on_commit(self, then: Callable[[], None]) -> None:
        self.after_commit.append(then)


TASK_COLUMNS = "id, effect, order_id, intent_id, order_seq, attempts, fence, created_at_ms, lease_until_ms, lane, status, next_at_ms"
INSERT_ENTRY = f"INSERT INTO journal VALUES ({', '.join('?' * 15)})"
_ORDER_COLUMNS = [
    "id",
    "dojo_order_id",
    "flow",
    "state",
    "status",
    "table_id",
    "waiter_id",
    "party_id",
    "reservation_id",
    "reference",
    "payable",
    "currency",
    "total",
    "paid",
    "tips",
    "order_seq",
    "last_hash",
    "created_at",
    "updated_at",
    "body",
]
INSERT_ORDER = f"INSERT INTO orders({', '.join(_ORDER_COLUMNS)}) VALUES ({', '.join('?' * len(_ORDER_COLUMNS))})"
UPDATE_ORDER = f"UPDATE orders SET {', '.join(f'{name} = ?' for name in _ORDER_COLUMNS[1:])} WHERE id = ?"
UPSERT_PAYMENT = (
    "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(intent_id) DO UPDATE SET state = excluded.state, paid = excluded.paid, "
    "tips = excluded.tips, refunded = excluded.refunded, mismatch = excluded.mismatch WHERE order_id = excluded.order_id"
)
PUT_TASK = (
    "INSERT INTO outbox(id, lane, effect, order_id, intent_id, order_seq, status, attempts, fence, lease_until_ms, next_at_ms, last_error, "
    "created_at_ms, done_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(id) DO UPDATE SET order_seq = excluded.order_seq, "
    "status = excluded.status, attempts = excluded.attempts, fence = excluded.fence, lease_until_ms = excluded.lease_until_ms, "
    "next_at_ms = excluded.next_at_ms, last_error = excluded.last_error, done_at = excluded.done_at"
)
NEXT_IN_LANE = f"""
SELECT {TASK_COLUMNS} FROM outbox WHERE lane = ? AND status = 'pending' AND next_at_ms <= ? ORDER BY created_at_ms, rowid LIMIT 1
"""
NEXT_DUE = """
SELECT min(CASE status WHEN 'leased' THEN lease_until_ms ELSE next_at_ms END) FROM outbox AS task
WHERE status = 'leased' OR (status = 'pending' AND NOT EXISTS
        (SELECT 1 FROM outbox AS busy WHERE busy.lane = task.lane AND busy.status = 'leased'))
"""
DUE_TASKS = f"""
SELECT {TASK_COLUMNS} FROM outbox AS task
WHERE (status = 'pending' AND next_at_ms <= ? AND NOT EXISTS
        (SELECT 1 FROM outbox AS busy WHERE busy.lane = task.lane AND busy.status = 'leased'))
   OR (status = 'leased' AND lease_until_ms <= ?)
ORDER BY created_at_ms, rowid LIMIT ?
"""


def _stored_task(row: tuple[Any, ...] | None) -> StoredTask | None:
    if row is None:
        return None
    names = ("id", "effect", "order_id", "intent_id", "order_seq", "attempts", "fence", "created_at_ms", "lease_until_ms")
    return StoredTask(Task(**dict(zip(names, row, strict=False))), lane=row[9], status=row[10], next_at_ms=row[11])


def hashed_entry(entry: Entry, prev_hash: str) -> HashedEntry:
    """The hashed columns of an entry."""
    return HashedEntry(
        order_id=entry.order_id,
        order_seq=entry.order_seq,
        at=entry.at,
        kind=entry.kind,
        machine=entry.machine,
        trigger=entry.trigger,
        from_state=entry.from_state,
        to_state=entry.to_state,
        payment_intent_id=entry.payment_intent_id,
        actor=entry.actor,
        cause=entry.cause,
        body=canonical(entry.body),
        prev_hash=prev_hash,
    )


def order_row(order: Order, last_hash: str) -> tuple[object, ...]:
    """The row of `orders`: columns to search by, and the whole order in `body`."""
    dine_in = order.bill.details.dine_in
    return (
        order.id,
        order.dojo_order_id,
        order.flow,
        order.state,
        order.status,
        dine_in.table_id if dine_in else None,
        dine_in.waiter_id if dine_in else None,
        dine_in.party_id if dine_in else None,
        dine_in.reservation_id if dine_in else None,
        order.bill.reference,
        int(order.is_payable),
        order.currency,
        order.total.value,
        order.paid.value,
        order.tips.value,
        order.order_seq,
        last_hash,
        order.created_at,
        order.updated_at,
        _encode(order).decode(),
    )


def payment_row(order: Order, intent_id: IntentId) -> tuple[object, ...]:
    """The row of `payments`; `paid` and `tips` are what counts now."""
    payment = order.payments[intent_id]
    return (intent_id, order.id, payment.state, *payment.counted, payment.refunded, payment.mismatch)


def attention_rows(order: Order) -> list[tuple[str, ...]]:
    """The rows of `attention` for one order."""
    return [(order.id, item.code, item.payment_intent_id, item.since, item.detail) for item in order.attention]


@contextmanager
def reading(path: Path) -> Iterator[Database]:
    """A read-only connection for one job of a command; checks the header first."""
    if not path.exists():
        raise JournalUnavailable(f"there is no journal at {path}")
    database = connect(path, read_only=True)
    try:
        check_header(database, path)
        yield database
    finally:
        database.close()
