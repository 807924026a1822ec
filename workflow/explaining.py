"""Whether the present declaration explains a journal: every order told again, and what keeps a server from starting.

Also the declarations that a journal keeps: which were in force, since when, and how each differs from the present one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from workflow.case import Machines
from workflow.declaration import (
    FINAL,
    MIGRATE,
    NOT_THERE,
    NOTHING,
    Declaration,
    Row,
    declaration_from,
    group,
    policies_by_case,
    rows_by_case,
    words,
)
from workflow.errors import JournalDamaged, OrdersToMigrate, OrdersUnexplained
from workflow.journal.reads import ENTRY_COLUMNS, SLICE, SqliteReads, StoredEntry
from workflow.ledger import ZERO_HASH, HashedEntry, entry_hash
from workflow.plurals import plural
from workflow.retelling import Retold, Then, retell
from workflow.unit import VENUE

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

RECENT = 10_000
"""Of so many entries the start asks whether their declarations are known; verification asks it of all."""
NAMED = 5
"""So many orders are named."""
STATES = (("order", "orders", "id", "state"), ("fulfilment", "orders", "id", "status"), ("payment", "payments", "order_id", "state"))
"""Where the journal keeps the states of each machine: table, the order's column, the state's column."""


def check(reads: SqliteReads, machines: Machines, progress: Progress = lambda done: None, *, only_open: bool = False) -> Iterator[Retold]:
    """Tell every order again, or with `only_open` those in no final state, one after the other, as the journal has it; a live one may
    grow meanwhile.

    Raises JournalDamaged, naming the entry, where the journal is not what was written.
    """
    known = {ident: Then(declaration) for ident, declaration in declarations(reads).items()}
    told = 0
    closed = sorted(group(machines["order"].declaration, FINAL)) if only_open else []
    for _order, its in groupby(_by_order(reads, closed), key=itemgetter(1)):
        stored = list(its)
        _refuse_broken(stored)
        found = retell([each.entry() for each in stored], machines, known)
        yield replace(found, seq=stored[found.entry.order_seq - 1].seq) if found.entry else found
        for _ in stored:  # One by one: a bar wants round numbers.
            told += 1
            progress(told)


def _by_order(reads: SqliteReads, but_in: list[str]) -> Iterator[StoredEntry]:
    """Every entry of an order that is in none of these states, order by order; in slices, so that nobody is held up."""
    wanted = f"AND (SELECT state FROM orders WHERE id = order_id) NOT IN ({', '.join('?' * len(but_in))})" if but_in else ""
    sql = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE (order_id, order_seq) > (?, ?) {wanted} ORDER BY order_id, order_seq LIMIT {SLICE}"
    after: tuple[str, int] = (VENUE, 2**62)
    while rows := reads.rows(sql, (*after, *but_in)):
        yield from map(StoredEntry._make, rows)
        after = rows[-1][1], rows[-1][2]


def _refuse_broken(stored: list[StoredEntry]) -> None:
    """What was tampered with is not told again: it would say something of a journal that never was."""
    before = ZERO_HASH
    for number, each in enumerate(stored, start=1):
        columns = each._asdict()
        hashed = HashedEntry(**{name: columns[name] for name in HashedEntry.__struct_fields__})
        if each.order_seq != number or each.prev_hash != before or entry_hash(hashed) != each.hash:
            raise JournalDamaged(f"entry {each.seq}, of order {each.order_id}, is not what was written there")
        before = each.hash


class Version(NamedTuple):
    """A declaration that the journal keeps: since when (UTC text), which entries are by it, and how many orders or payments began by it."""

    name: str
    hash: str
    first_at: str
    entries: int
    first_seq: int
    last_seq: int
    declaration: Declaration
    begun: int


def versions(reads: SqliteReads, tally: Tally | None = None) -> list[Version]:
    """Every declaration that was in force with this journal, machine by machine, oldest first. Raises JournalDamaged.

    What went by each is as far as `tally` has counted; without one everything is counted, which takes long.
    """
    if tally is None:
        tally = Tally()
        tally.go_on(reads, reads.size())
    nothing = Use(0, 0, 0, 0)
    found = []
    for name, hash_, first_at, declaration in _kept(reads):
        use = tally.used.get(f"{name}@{hash_}", nothing)
        found.append(Version(name, hash_, first_at, use.entries, use.first_seq, use.last_seq, declaration, use.begun))
    return found


class Use(NamedTuple):
    """What went by a declaration: entries, which ones, and how many of what it declares (orders, payments) began by it."""

    entries: int
    begun: int
    first_seq: int
    last_seq: int


class Tally:
    """Counts what went by each declaration, a part of the journal at a time: what is counted stays so, as a journal only grows."""

    def __init__(self) -> None:
        self.counted = 0
        """The last entry that was counted."""
        self.used: Mapping[str, Use] = {}
        self._lock = threading.Lock()

    def go_on(self, reads: SqliteReads, entries: int) -> None:
        """Count up to so many entries more."""
        with self._lock:
            upto = min(self.counted + entries, reads.size())
            used = dict(self.used)
            for machine, count, begun, first, last in reads.rows(_USED, (self.counted, upto)):
                before = used.get(machine, Use(0, 0, first, last))
                used[machine] = Use(before.entries + count, before.begun + begun, before.first_seq, last)
            self.used, self.counted = used, upto


def declarations(reads: SqliteReads) -> dict[str, Declaration]:
    """Every declaration that the journal keeps, by `name@hash`: without counting the entries, which takes long. Raises JournalDamaged."""
    return {f"{name}@{hash_}": declaration for name, hash_, _, declaration in _kept(reads)}


def _kept(reads: SqliteReads) -> Iterator[tuple[str, str, str, Declaration]]:
    for name, hash_, first_at, text in reads.rows("SELECT name, hash, first_at, declaration FROM machines ORDER BY name, first_at, hash"):
        try:
            yield name, hash_, first_at, declaration_from(text)
        except ValueError as error:
            raise JournalDamaged(f"the declaration {name}@{hash_} that the journal keeps: {error}") from error


_USED = """
SELECT machine, count(*), sum(from_state = ''), min(seq), max(seq) FROM journal
WHERE seq > ? AND seq <= ? AND machine <> '' GROUP BY machine
"""


class Stranded(NamedTuple):
    """Something that rests in a state which is not declared; `target` is where its migration leads, "" where there is none."""

    order_id: str
    machine: str
    payment_intent_id: str
    state: str
    target: str


def stranded(reads: SqliteReads, machines: Machines) -> list[Stranded]:
    """Everything of every order that rests in a state which the present declaration has no more, order by order."""
    found = []
    for name, table, order_column, column in STATES:
        machine = machines[name]
        explained = ["", *sorted(machine.explained)]
        intent = "intent_id" if table == "payments" else "''"
        sql = f"SELECT {order_column}, {intent}, {column} FROM {table} WHERE {column} NOT IN ({', '.join('?' * len(explained))})"
        rows = reads.rows(sql, explained)
        found += [Stranded(order_id, name, intent_id, state, machine.migrated.get(state, "")) for order_id, intent_id, state in rows]
    return sorted(found)


def regrouped(kept: Iterable[Declaration], machines: Machines) -> list[str]:
    """What migrations say of old states otherwise than the last declaration that had them (`kept` has the oldest first), a sentence each.

    Old entries would not mean what they meant: money would count where it did not, or what is open would be taken for ended.
    """
    last = {(then.name, state): then for then in kept for state in then.states}
    found = []
    for name, machine in machines.items():
        for state, target in machine.migrated.items():
            then = last.get((name, state), machine.declaration)
            were, are = _groups(then, state), _groups(machine.declaration, state)
            both = _names(then) & _names(machine.declaration)
            if were & both != are & both:
                said = f"{name}: {state!r} was in {_and(were)}, and by its migration to {target!r} is in {_and(are)}"
                needs = f"groups={' '.join(sorted(were & both)) or NOTHING!r}"
                if FINAL in were and target not in words(machine.declaration.final):
                    needs = "to lead to a final state"
                found.append(f"{said}; the migration needs {needs}")
    return found


def _names(declaration: Declaration) -> set[str]:
    return {FINAL, *declaration.groups}


def _groups(declaration: Declaration, state: str) -> set[str]:
    return {name for name in _names(declaration) if state in group(declaration, name)}


def _and(names: set[str]) -> str:
    return " and ".join(map(repr, sorted(names))) or "no group"


def moved_by(reads: SqliteReads, order_id: str) -> dict[str, str]:
    """By machine, the declaration (`name@hash`) that something of the order was last moved by."""
    rows = reads.rows("SELECT machine FROM journal WHERE order_id = ? AND machine <> '' ORDER BY order_seq", (order_id,))
    return {machine.partition("@")[0]: machine for (machine,) in rows}


class Change(NamedTuple):
    """Something that two declarations of a machine have otherwise: a text each, "" where it is not there."""

    what: str
    name: str
    old: str
    new: str


def changes(old: Declaration, new: Declaration) -> list[Change]:
    """Row by row, what `new` declares otherwise than `old`."""
    found = []
    for what, before, after in zip(_PARTS, _parts(old), _parts(new), strict=True):
        names = [*before, *(name for name in after if name not in before)]
        found += [Change(what, name, before.get(name, ""), after.get(name, "")) for name in names if before.get(name) != after.get(name)]
    return found


_PARTS = ("state", "final state", "transition", "message", "policy", "group", "tells", "migration")


def _parts(declaration: Declaration) -> tuple[dict[str, str], ...]:
    """What each part of a declaration says, by a name that both have."""
    return (
        declaration.states,
        dict.fromkeys(words(declaration.final), "final"),
        {f"{trigger} from {state or NOT_THERE}": _row_text(row) for (trigger, state), row in rows_by_case(declaration).items()},
        {row.name: f"fires {row.fires}, sends {row.then_send}: {row.meaning}" for row in declaration.messages},
        {
            f"{message} in {state or NOT_THERE}": f"{row.outcome} ({row.rule})"
            for (message, state), row in policies_by_case(declaration).items()
        },
        declaration.groups,
        declaration.tells,
        {source: f"to {row.target} ({row.rule}): {row.reason}" for row in declaration.migrations for source in words(row.source)},
    )


def _row_text(row: Row) -> str:
    return f"to {row.target}, only if {row.only_if}, sends {row.then_send} ({row.rule})"


def refuse_unexplained(reads: SqliteReads, machines: Machines) -> None:
    """Raise OrdersUnexplained, with the orders' names, where something rests in a state or went by a declaration that is not known here.

    Also where a migration puts an old state into other groups than it was in, and where the entries of an open order cannot be explained;
    OrdersToMigrate where declared migrations lead on from everything that rests elsewhere. Quick: it looks where orders are, and at their
    entries only where nothing went by the present declaration yet. (P5)
    """
    found = stranded(reads, machines)
    for_good = [each for each in found if not each.target]
    if for_good:
        raise OrdersUnexplained(f"this version does not declare the state of {_named(for_good)}")
    sql = f"""
    SELECT DISTINCT order_id, machine FROM (SELECT order_id, machine FROM journal ORDER BY seq DESC LIMIT {RECENT})
    WHERE machine <> '' AND machine NOT IN (SELECT name || '@' || hash FROM machines)
    """
    if unknown := reads.rows(sql):
        named = _listed([f"{order_id} ({machine})" for order_id, machine in unknown])
        raise OrdersUnexplained(f"the journal does not keep the declaration that was in force for: {named}")
    kept = declarations(reads)
    if wrong := regrouped(kept.values(), machines):
        raise OrdersUnexplained(f"old entries would not mean what they meant: {wrong[0]}")
    if _is_changed(reads, machines, kept):
        _refuse_unexplained_entries(reads, machines)
    if found:
        raise OrdersToMigrate(f"the state is one of an earlier declaration, and is to be migrated, of {_named(found)}")


def _is_changed(reads: SqliteReads, machines: Machines, kept: Mapping[str, Declaration]) -> bool:
    """Whatever went by one of these machines last, but for a migration, went by another declaration than the present one."""
    sql = f"""
    SELECT machine, max(seq) FROM (SELECT seq, machine, cause FROM journal ORDER BY seq DESC LIMIT {RECENT})
    WHERE machine <> '' AND cause <> '{MIGRATE}' GROUP BY substr(machine, 1, instr(machine, '@'))
    """
    last = {machine.partition("@")[0]: machine for machine, _ in reads.rows(sql)}
    # A machine that nothing went by lately has changed where the journal does not keep it yet.
    return any(last.get(name) != one.ident if name in last else one.ident not in kept for name, one in machines.items())


def _refuse_unexplained_entries(reads: SqliteReads, machines: Machines) -> None:
    logger.info("declaration changed, open orders are told again", extra={"entries": reads.size()})  # It may take a while.
    named, cause = list[str](), ""
    for each in check(reads, machines, only_open=True):
        if each.verdict == "unexplained":
            named.append(f"{each.order_id} (entry {each.seq})")
            cause = cause or each.cause
    if named:
        raise OrdersUnexplained(f"this version cannot explain {plural(len(named), 'order')}: {_listed(named)}; of the first: {cause}")


def _named(found: list[Stranded]) -> str:
    states: dict[str, str] = {}
    for each in found:
        states.setdefault(each.order_id, each.state)
    return f"{plural(len(states), 'order')}: {_listed([f'{order_id} ({state})' for order_id, state in states.items()])}"


def _listed(orders: list[str]) -> str:
    more = f" and {len(orders) - NAMED:,} more (tillproof machine check --json lists all)" if len(orders) > NAMED else ""
    return f"{', '.join(orders[:NAMED])}{more}"
