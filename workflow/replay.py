"""Two questions an auditor asks of a journal: is it whole, and does it explain what is stored.

`verify` re-hashes every entry, chain by chain, rebuilds the tree and compares it with checkpoints and witness (`verification.py`).
`replay` rebuilds from entries alone what is stored beside them, by the same `evolve` that the running service goes through, and compares:
orders, payments and which of them are watched, locks, attention, what the till said of the venue, parties and reservations, and of each
task which entry it speaks of and whether it is open, done or dead. Both read only.

What no entry tells is not rebuilt: when and how often something was or will be tried (times, attempts and leases in `outbox`, times in
`watch`), intents that wait for an order (`parked`: a hint, read again by the sweep), fingerprints of answered requests (`inbox`, which
keeps no content), attempts that failed and repeats (`attempts`, `repeats`: for people), and personal data (`personal`, `guests`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow.asides import asides
from workflow.booking import Booking, kind_told, told
from workflow.clock import Clock
from workflow.entry import Entry, Json
from workflow.errors import JournalDamaged, PositionUnknown
from workflow.journal.reads import SqliteReads, StoredEntry, TimeLimit
from workflow.journal.rows import (
    attention_rows,
    booking_row,
    booking_table_rows,
    lock_row,
    order_row,
    order_row_as_read,
    payment_row,
    venue_row,
)
from workflow.journal.shape import shape_fault
from workflow.journal.witness import Head, Witnessed
from workflow.ledger import Frontier, canonical
from workflow.lifecycle import ORDER
from workflow.order import Attention, Order, evolve
from workflow.unit import VENUE
from workflow.verification import Fault, Verification, Verifier

Progress = Callable[[int], None]
Bar = Callable[[str, int | None], AbstractContextManager[Progress]]
"""Shows how far something long is, of how much; a count where nobody knows."""
ToldTask = tuple[str, str, str, int, str]
"""What entries tell of a task: its effect, order and intent, the `order_seq` it speaks of, and whether it is open, done or dead."""

MAX_MISMATCHES = 50
"""Replay names this many differences, then only counts."""

ENTRIES_AT_ONCE = 500
"""Verification reads so many in one go: a writer is held up no longer than that."""
INTEGRITY_SECONDS = 3600.0
EXPLAINS_NOTHING = (KeyError, TypeError, ValueError)
"""What an entry raises, where it is folded, that lacks a fact or tells of something that is not there."""


@contextmanager
def no_bar(what: str, total: int | None) -> Iterator[Progress]:
    """The bar of who shows none."""
    yield lambda done: None


def verify(reads: SqliteReads, witness: Path, public_key: Ed25519PublicKey | None, clock: Clock) -> Verification:
    """Check positions, hashes, chains, moves, tree, checkpoints, signatures, witness and SQLite's integrity; stop at the first fault."""
    return verify_beside(reads, Witnessed(witness), public_key, clock)


def verify_beside(
    reads: SqliteReads, seen: Witnessed | None, public_key: Ed25519PublicKey | None, clock: Clock, bar: Bar = no_bar
) -> Verification:
    """The same beside what a witness saw, which must have been read before: the journal may have grown since."""
    verifier = Verifier(reads, seen, public_key)
    goes_on = verifier.step(ENTRIES_AT_ONCE)
    with bar("verify", verifier.size) as show:
        while goes_on:
            show(verifier.found.entries)
            goes_on = verifier.step(ENTRIES_AT_ONCE)
        show(verifier.found.entries)
    if verifier.found.ok:
        with bar("verify: SQLite's own check, seconds:", None) as show:
            verifier.check_integrity(lambda: reads.integrity(limit=TimeLimit(clock, INTEGRITY_SECONDS), progress=show))
    if verifier.found.ok and (fault := shape_fault(reads)):
        verifier.found.first_bad = Fault(seq=0, reason=fault)
    return verifier.found


@dataclass(slots=True, kw_only=True)
class Replayed:
    """Everything that entries alone say, up to position `entries`, which was journaled at `at` (UTC text, "" where there is none).

    By order: the order, the hash of its last entry, the declaration (`order@hash`) that its last transition went by. By its id,
    what is told of each task. `venue` maps what the till said of the venue to canonical JSON.
    """

    entries: int = 0
    at: str = ""
    orders: dict[str, Order] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, ToldTask] = field(default_factory=dict)
    venue_attention: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    venue: dict[str, str] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Replay:
    """What `replay` found: the digest of equal histories is equal. Of very many `differences` the first are named in `mismatches`."""

    entries: int
    orders: int
    differences: int
    mismatches: list[str]
    digest: str
    rebuilt: Replayed = field(repr=False)

    @property
    def ok(self) -> bool:
        """What is stored is what the entries say."""
        return not self.mismatches


def head(reads: SqliteReads) -> Head:
    """How many entries there are and the root of their tree, from the hashes as stored."""
    frontier = Frontier()
    for (hash_,) in reads.stream("SELECT hash FROM journal ORDER BY seq"):
        frontier.append(hash_)
    return Head(frontier.size, frontier.root().hex())


def replay(reads: SqliteReads, *, until: int | None = None, bar: Bar = no_bar) -> Replay:
    """Rebuild everything from the entries up to position `until`; without it, compare with what is stored as well.

    Raises PositionUnknown where the journal has no such entry, JournalDamaged.
    """
    size = reads.size()
    if until is not None and until > size:
        raise PositionUnknown(f"expected a position from 0 to {size}, where the journal ends, got {until}")
    with bar("replay", size if until is None else until) as show:
        rebuilt = rebuild(reads, until=until, progress=show)
    mismatches: list[str] = []
    if until is None:
        with bar("replay: comparing with what is stored", None), reads.snapshot():  # Short: only what came meanwhile is left to fold.
            rebuild(reads, onto=rebuilt)
            mismatches = list(_mismatches(reads, rebuilt))
    return Replay(
        entries=rebuilt.entries,
        orders=len(rebuilt.orders),
        differences=len(mismatches),
        mismatches=mismatches[:MAX_MISMATCHES],
        digest=digest(rebuilt),
        rebuilt=rebuilt,
    )


def rebuild(
    reads: SqliteReads, *, until: int | None = None, progress: Progress = lambda done: None, onto: Replayed | None = None
) -> Replayed:
    """Fold the entries up to position `until`, or those behind `onto`. Raises JournalDamaged on one that cannot be explained."""
    rebuilt = onto or Replayed()
    for stored in reads.entries(after=rebuilt.entries, limit=-1 if until is None else max(0, until - rebuilt.entries)):
        try:
            _apply(rebuilt, stored)
        except EXPLAINS_NOTHING as error:
            raise unexplained(stored, error) from error
        if stored.seq % ENTRIES_AT_ONCE == 0:
            progress(stored.seq)
    progress(rebuilt.entries)
    return rebuilt


def unexplained(stored: StoredEntry, error: Exception) -> JournalDamaged:
    """What to raise of an entry that EXPLAINS_NOTHING: it was not made by this program, whatever its hash says."""
    return JournalDamaged(f"entry {stored.seq} cannot be explained: {error!r}")


def _apply(rebuilt: Replayed, stored: StoredEntry) -> None:
    entry = stored.entry()
    if entry.order_id == VENUE:
        _apply_venue(rebuilt, entry)
    else:
        rebuilt.orders[entry.order_id] = evolve(rebuilt.orders.get(entry.order_id), entry)
        if entry.machine_name == ORDER.name:
            rebuilt.machines[entry.order_id] = entry.machine
    if "task" in entry.body or "tasks" in entry.body or "requeued" in entry.body or "stopped" in entry.body:
        _apply_tasks(rebuilt.tasks, entry)
    rebuilt.hashes[entry.order_id] = stored.hash
    rebuilt.entries, rebuilt.at = stored.seq, stored.at


def _apply_venue(rebuilt: Replayed, entry: Entry) -> None:
    facts = entry.body
    if entry.trigger == "set_venue":
        rebuilt.venue[str(facts["name"])] = canonical(facts["value"])
    if kind := kind_told(entry):
        booking = told(rebuilt.bookings, kind, entry)
        rebuilt.bookings[booking.id] = booking
    if entry.kind != "attention":
        return
    key = (str(facts["code"]), entry.payment_intent_id)
    if entry.trigger == "clear":
        rebuilt.venue_attention.pop(key, None)
    else:
        rebuilt.venue_attention[key] = (entry.at, str(facts["detail"]))


def _apply_tasks(tasks: dict[str, ToldTask], entry: Entry) -> None:
    facts = entry.body
    for task in cast("list[dict[str, str]]", facts.get("tasks", [])):
        effect, order_id, intent, _, status = tasks.get(task["id"], (task["effect"], entry.order_id, task["intent"], 0, "open"))
        tasks[task["id"]] = effect, order_id, intent, entry.order_seq, status  # One that waited speaks of the newer entry from then on.
    if "requeued" in facts:
        _move_task(tasks, str(facts["requeued"]), "open")
    if "stopped" in facts:
        _move_task(tasks, str(facts["stopped"]), "dead")
    if "task" in facts:
        _move_task(tasks, str(facts["task"]), str(facts["outcome"]))


def _move_task(tasks: dict[str, ToldTask], task_id: str, status: str) -> None:
    tasks[task_id] = (*tasks[task_id][:-1], status)


def _mismatches(reads: SqliteReads, rebuilt: Replayed) -> Iterator[str]:
    """Stored rows that the entries do not explain, and the other way round."""
    orders = {(order.id,): order_row(order, rebuilt.hashes[order.id]) for order in rebuilt.orders.values()}
    yield from _compare(reads, "orders", "SELECT * FROM orders", orders, 1, order_row_as_read)
    mine = [(order, intent) for order in rebuilt.orders.values() for intent, payment in order.payments.items() if not payment.detached]
    payments = {(intent,): payment_row(order, intent) for order, intent in mine}
    yield from _compare(reads, "payments", "SELECT * FROM payments", payments, 1)
    watched = {(intent,): (intent, order.id) for order, intent in mine if order.is_watched(intent)}
    yield from _compare(reads, "watch", "SELECT intent_id, order_id FROM watch", watched, 1)
    locks = {(order.id,): lock_row(order) for order in rebuilt.orders.values() if order.lock}
    yield from _compare(reads, "locks", "SELECT * FROM locks", locks, 1)
    attention = {row[:3]: row for order in rebuilt.orders.values() for row in attention_rows(order)}
    attention |= {(VENUE, code, intent): (VENUE, code, intent, *rest) for (code, intent), rest in rebuilt.venue_attention.items()}
    yield from _compare(reads, "attention", "SELECT * FROM attention", attention, 3)
    venue = {(name,): venue_row(name, value) for name, value in rebuilt.venue.items()}
    yield from _compare(reads, "venue", "SELECT * FROM venue", venue, 1)
    bookings = {(booking.id,): booking_row(booking) for booking in rebuilt.bookings.values()}
    yield from _compare(reads, "bookings", "SELECT * FROM bookings", bookings, 1)
    tables = {row[:2]: row for booking in rebuilt.bookings.values() for row in booking_table_rows(booking)}
    yield from _compare(reads, "booking_tables", "SELECT * FROM booking_tables", tables, 2)
    tasks = {(task,): (task, *facts) for task, facts in rebuilt.tasks.items()}
    status = "CASE WHEN status IN ('done', 'dead') THEN status ELSE 'open' END"
    yield from _compare(reads, "outbox", f"SELECT id, effect, order_id, intent_id, order_seq, {status} FROM outbox", tasks, 1)
    yield from asides(reads)


def _compare(
    reads: SqliteReads,
    table: str,
    sql: str,
    expected: dict[Any, tuple[Any, ...]],
    key_columns: int,
    as_read: Callable[[tuple[Any, ...]], tuple[Any, ...]] = lambda row: row,
) -> Iterator[str]:
    unseen = dict(expected)
    for row in map(as_read, reads.stream(sql)):
        key = tuple(row[:key_columns])
        wanted = unseen.pop(key, None)
        if wanted is None:
            yield f"{table} {'/'.join(map(str, key))}: stored, but no entry tells of it"
        elif tuple(row) != tuple(wanted):
            yield f"{table} {'/'.join(map(str, key))}: {_first_difference(row, wanted)}"
    yield from (f"{table} {'/'.join(map(str, key))}: entries tell of it, but it is not stored" for key in unseen)


def _first_difference(row: tuple[Any, ...], wanted: tuple[Any, ...]) -> str:
    stored, replayed = next((a, b) for a, b in zip(row, wanted, strict=True) if a != b)
    return f"stored {str(stored)[:200]!r}, replayed {str(replayed)[:200]!r}"


def digest(rebuilt: Replayed) -> str:
    """SHA-256 of orders, payments and open attention, without positions, times, hashes and tasks: equal for equal histories."""
    orders = [_digested(order) for _, order in sorted(rebuilt.orders.items())]
    attention: list[Json] = [{"code": code, "intent": intent} for code, intent in sorted(rebuilt.venue_attention)]
    content: dict[str, Json] = {"orders": cast("list[Json]", orders), "attention": attention}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _digested(order: Order) -> dict[str, Json]:
    payments = [
        {
            "intent": str(payment.intent_id),
            "state": payment.state,
            "paid": payment.counted[0],
            "tips": payment.counted[1],
            "refunded": payment.refunded,
            "mismatch": payment.mismatch,
        }
        for _, payment in sorted(order.payments.items())
    ]
    return {
        "id": str(order.id),
        "dojoOrderId": order.dojo_order_id,
        "flow": order.flow,
        "state": order.state,
        "status": order.status,
        "bill": cast(Json, msgspec.to_builtins(order.bill)),
        "payments": cast("list[Json]", payments),
        "attention": [{"code": item.code, "intent": item.payment_intent_id} for item in sorted(order.attention, key=_by_code)],
        "lock": cast(Json, msgspec.to_builtins(order.lock)),
    }


def _by_code(item: Attention) -> tuple[str, str]:
    return item.code, item.payment_intent_id
