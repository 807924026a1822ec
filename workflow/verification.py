"""Whether the journal is whole, found slice by slice: little memory, no state of the journal held for long, a pause wherever one likes.

A slice re-hashes its entries, follows the chain of each order and the moves of its machines, rebuilds the tree, and compares it with the
stored nodes, with the signed checkpoints and with every line of the witness. What it needs is read in a few questions before its first
entry is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, NoReturn, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow.clock import is_moment
from workflow.declaration import declaration_from, steps
from workflow.errors import JournalDamaged, JournalUnreadable
from workflow.journal.reads import SqliteReads
from workflow.journal.shape import declaration_fault
from workflow.journal.witness import Head, WitnessDamaged, Witnessed
from workflow.ledger import (
    HASHED_SORTED,
    ZERO_HASH,
    BadCheckpoint,
    Frontier,
    entry_hash_sorted,
    is_canonical,
    key_id,
    read_checkpoint,
    verify_checkpoint,
)
from workflow.succession import ROTATE_KEY, told
from workflow.unit import VENUE

UNREADABLE_CHARACTERS = 300
"""So much is said of an entry that cannot be read."""
KEPT_CHAINS = 10_000
"""Of so many orders the last hash and states are kept, of those that were met last; those of another are asked for when it goes on."""
_SLICE = f"SELECT {', '.join(HASHED_SORTED)}, seq, hash FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
_LINK = "SELECT order_seq, hash FROM journal WHERE order_id = ? AND order_seq = ? AND seq < ?"
_MOVES = (
    "SELECT machine, payment_intent_id, to_state FROM journal WHERE order_id = ? AND order_seq <= ? AND machine <> '' ORDER BY order_seq"
)
_COLUMNS = (*HASHED_SORTED, "seq", "hash")
_ORDER_ID, _ORDER_SEQ, _AT, _PREV_HASH, _KIND, _BODY, _SEQ, _HASH = (
    _COLUMNS.index(name) for name in ("order_id", "order_seq", "at", "prev_hash", "kind", "body", "seq", "hash")
)
_MACHINE, _TRIGGER, _FROM, _TO, _INTENT = (
    _COLUMNS.index(name) for name in ("machine", "trigger", "from_state", "to_state", "payment_intent_id")
)

Row: TypeAlias = tuple[Any, ...]
"""An entry as read: the hashed columns in the order of their names, then `seq` and `hash`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first entry that is wrong, and what is wrong with it; `seq` 0 concerns the file as a whole.

    `is_damage`: what is stored there cannot be read, or SQLite's own check says so. Otherwise it can, and is not what was written.
    """

    seq: int
    reason: str
    is_damage: bool = False

    @property
    def is_of_the_file(self) -> bool:
        """The file is not to be trusted; otherwise one entry is not, nor what comes after it."""
        return self.is_damage or not self.seq

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.reason}" if self.seq else self.reason


@dataclass(slots=True, kw_only=True)
class Verification:
    """What is found so far: how many entries, orders, checkpoints and lines of the witness. `checkpoint` and `witness` are the newest.

    `keys` are the ids of those that must have signed, where signatures are checked; `knows_key`: the one that is trusted is among them.
    """

    entries: int = 0
    orders: int = 0
    checkpoints: int = 0
    witness_lines: int = 0
    checkpoint: Head | None = None
    witness: Head | None = None
    witness_ok: bool = True
    keys: tuple[str, ...] = ()
    knows_key: bool = True
    first_bad: Fault | None = None

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.first_bad is None


class _Bad(Exception):
    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(reason)
        self.fault = Fault(seq=seq, reason=reason)


class _Link(NamedTuple):
    """The end of an order's chain: where the next entry goes on. `states` are those of its machines, by name and payment intent."""

    order_seq: int
    hash: str
    states: dict[tuple[str, str], str]


def _no_link() -> _Link:
    return _Link(0, ZERO_HASH, {})


class Verifier:
    """One verification of all that the journal has when it begins; `step` goes on with it, `found` is what came out so far.

    `seen` is what a witness said before: the journal may be ahead of it, never behind. Without a key no signature is checked; with one,
    the first of the journal or the newest or one between them, the others follow from the entries that brought them in.
    What is kept from one step to the next does not grow with the journal.
    """

    def __init__(self, reads: SqliteReads, seen: Witnessed | None, public_key: Ed25519PublicKey | None) -> None:
        self._reads, self._key = reads, public_key
        self.found = Verification(witness=seen.newest if seen else None)
        self._frontier = Frontier()
        self._chains: dict[str, _Link] = {}
        self._lines: Iterator[Head] = iter(seen or ())
        self._line: Head | None = None
        self._damaged_witness: WitnessDamaged | None = None
        self._target = -1

    @property
    def size(self) -> int:
        """How many entries there were when it began; 0 in front of the first step."""
        return max(0, self._target)

    def step(self, entries: int) -> bool:
        """Check up to `entries` more; False at the end, or at the first fault. Raises JournalUnavailable: then try the same step again."""
        try:
            if self._target < 0:
                self._begin()
            return self._slice(entries)
        except _Bad as bad:
            self.found.first_bad = bad.fault
        except JournalDamaged as error:
            self.found.first_bad = self._unreadable(entries) or _fault(0, error, str(error))
        return False

    def _unreadable(self, entries: int) -> Fault | None:
        """The entry of this slice that cannot be read; None where it is something else that cannot."""
        start = self._frontier.size
        for seq in range(start + 1, min(start + entries, self._target) + 1):
            try:
                self._reads.rows(_SLICE, (seq - 1, seq, 1))
            except JournalDamaged as error:
                return _fault(seq, error, f"the entry cannot be read: {error}"[:UNREADABLE_CHARACTERS])
        return None

    def check_integrity(self, ask: Callable[[], str | None]) -> str | None:
        """Have SQLite's own check made, and note what it said; None where it did not finish."""
        try:
            answer = ask()
        except JournalDamaged as error:
            self.found.first_bad = _fault(0, error, f"SQLite's integrity check: {error}")
            return None
        if answer and answer != "ok":
            self.found.first_bad = Fault(seq=0, reason=f"SQLite's integrity check: {answer}", is_damage=True)
        return answer

    def _begin(self) -> None:
        ids = self._reads.rows("SELECT 'tillproof/' || value FROM meta WHERE name = 'journal_id'")
        if not ids:
            raise _Bad(0, "the journal's id is not there: no checkpoint can be told to be of this journal")
        [(self._origin,)] = ids
        self._steps = self._declared()
        sql = "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0), (SELECT min(size) FROM checkpoint) FROM journal"
        [(first, target, signed)] = self._reads.rows(sql)
        if first < 1:
            raise _Bad(0, f"an entry stands at position {first}, where none can be: the first position is 1")
        if signed is not None and signed < 1:
            raise _Bad(0, f"a checkpoint of {signed} entries is stored, which nobody signs: the least is of one")
        if self._key:
            self._keys = self._reads.succession(self._key)
            self.found.keys = tuple(map(self._name, self._keys.keys))
            self.found.knows_key = self._keys.has_known
            if not self._keys.has_known:
                raise _Bad(0, f"the key {self._name(self._key)} is none of those that sign this journal: {', '.join(self.found.keys)}")
        self._next_line()
        self._target = target

    def _declared(self) -> Mapping[str, frozenset[tuple[str, str, str]]]:
        """What each declaration that is kept lets an entry say: (trigger, from, to), by `name@hash`. Without one nothing moves."""
        if fault := declaration_fault(self._reads):
            raise _Bad(0, fault)
        found = {}
        for name, hash_, text in self._reads.rows("SELECT name, hash, declaration FROM machines"):
            try:
                found[f"{name}@{hash_}"] = steps(declaration_from(text))
            except ValueError as error:
                raise _Bad(0, f"the declaration kept as {name}@{hash_} cannot be read: {error}") from error
        return found

    def _next_line(self) -> None:
        try:
            self._line = next(self._lines, None)
        except WitnessDamaged as error:  # Told at the end: a bad entry is worse, and is named first.
            self._line, self._damaged_witness = None, error

    def _slice(self, entries: int) -> bool:
        start = self._frontier.size
        rows = self._reads.rows(_SLICE, (start, self._target, entries))
        nodes, checkpoints = self._stored_nodes(start, start + len(rows)), self._checkpoints(start, start + len(rows))
        self._load_chains(rows)
        # Nothing is asked of the journal from here on, so that no step is left half done.
        try:
            for row in rows:
                self._entry(row, nodes)
                if row[_TRIGGER] == ROTATE_KEY and row[_ORDER_ID] == VENUE and row[_KIND] == "operator":
                    self._rotated(row[_SEQ], row[_BODY], is_signed=row[_SEQ] in checkpoints)
                for root, note in checkpoints.get(row[_SEQ], ()):
                    self._checkpoint(row[_SEQ], root, note)
                if self._line and self._line.size == row[_SEQ]:
                    self._witnessed(self._line)
        finally:
            self.found.entries = self._frontier.size
        if len(rows) == entries:
            return True
        self._finish()
        return False

    def _stored_nodes(self, start: int, end: int) -> Mapping[tuple[int, int], bytes]:
        """The stored nodes of the tree that the entries behind `start` complete, up to `end`, by level and position."""
        nodes: dict[tuple[int, int], bytes] = {}
        sql = "SELECT position, hash FROM tree_node WHERE level = ? AND position >= ? AND position < ?"
        for level in range(1, end.bit_length()):
            if start >> level < end >> level:
                found = self._reads.rows(sql, (level, start >> level, end >> level))
                nodes |= {(level, position): hash_ for position, hash_ in found}
        return nodes

    def _checkpoints(self, start: int, end: int) -> Mapping[int, list[tuple[str, str]]]:
        """(root, note) of what was signed of more than `start` entries, up to `end`, by size."""
        found: dict[int, list[tuple[str, str]]] = {}
        for size, root, note in self._reads.rows("SELECT size, root, note FROM checkpoint WHERE size > ? AND size <= ?", (start, end)):
            found.setdefault(size, []).append((root, note))
        return found

    def _load_chains(self, rows: Sequence[Row]) -> None:
        """Have the ends of the chains at hand that these entries go on with, and let go of those that were not needed for long."""
        firsts = {row[_ORDER_ID]: row for row in reversed(rows)}
        for order_id, row in firsts.items():
            link = self._chains.pop(order_id, None)
            if link is None and row[_ORDER_SEQ] > 1:
                link = self._link_before(row)
            if link:
                self._chains[order_id] = link
        too_many = len(self._chains) - max(KEPT_CHAINS, len(firsts))
        for order_id in list(islice(self._chains, max(0, too_many))):
            del self._chains[order_id]

    def _link_before(self, row: Row) -> _Link | None:
        """Where this entry's order stood in front of it."""
        order_id, before = row[_ORDER_ID], row[_ORDER_SEQ] - 1
        for order_seq, hash_ in self._reads.rows(_LINK, (order_id, before, row[_SEQ])):
            moves = self._reads.rows(_MOVES, (order_id, before))
            return _Link(order_seq, hash_, {(_name_of(machine), intent_id): state for machine, intent_id, state in moves})
        return None

    def _entry(self, row: Row, nodes: Mapping[tuple[int, int], bytes]) -> None:
        order_id, order_seq, seq, hash_ = row[_ORDER_ID], row[_ORDER_SEQ], row[_SEQ], row[_HASH]
        last_seq, last_hash, states = self._chains.get(order_id) or _no_link()
        if not (
            seq == self._frontier.size + 1
            and order_seq == last_seq + 1
            and row[_PREV_HASH] == last_hash
            and entry_hash_sorted(row[:_SEQ]) == hash_
            and is_canonical(row[_BODY])
            and is_moment(row[_AT])
        ):
            self._explain(row)
        if row[_MACHINE] or row[_FROM] or row[_TO] or row[_KIND] == "transition":
            self._move(row, states)
        for level, position, node in self._frontier.append(hash_):
            if nodes.get((level, position)) != node:  # Proofs read these.
                raise _Bad(seq, f"the stored node {level}/{position} of the tree is not what the entries make")
        self._chains[order_id] = _Link(order_seq, hash_, states)
        self.found.orders += order_seq == 1 and order_id != VENUE

    def _explain(self, row: Row) -> NoReturn:
        """Say in words what is wrong with an entry."""
        position, seq, order_seq = self._frontier.size + 1, row[_SEQ], row[_ORDER_SEQ]
        link = self._chains.get(row[_ORDER_ID]) or _no_link()
        if seq != position:
            raise _Bad(position, f"entry {position} is missing: the next one is {seq}")
        if order_seq != link.order_seq + 1:
            whose = f"of order {row[_ORDER_ID]}" if row[_ORDER_ID] else "that concern no order"
            raise _Bad(seq, f"order_seq is {order_seq}, and {link.order_seq or 'none'} is that of the entry before it among those {whose}")
        if row[_PREV_HASH] != link.hash:
            raise _Bad(seq, "prev_hash is not the hash of the order's previous entry")
        if entry_hash_sorted(row[:_SEQ]) != row[_HASH]:
            raise _Bad(seq, "the hash is not that of the entry: it was changed")
        if not is_canonical(row[_BODY]):
            raise _Bad(seq, "the body is not canonical JSON")
        raise _Bad(seq, f"its time {row[_AT]!r:.60} is no moment")

    def _move(self, row: Row, states: dict[tuple[str, str], str]) -> None:
        """A move is a row of the declaration that the entry names, and begins where the one before it ended."""
        seq, machine, trigger, source, target = (row[at] for at in (_SEQ, _MACHINE, _TRIGGER, _FROM, _TO))
        if row[_KIND] != "transition" or not machine:
            raise _Bad(seq, f"a {row[_KIND]} by the machine {machine!r} from {source!r} to {target!r}: transitions move, and by a machine")
        if machine not in self._steps:
            raise _Bad(seq, f"{machine}, which order {row[_ORDER_ID]} went by, is not among the declarations kept here")
        if (trigger, source, target) not in self._steps[machine]:
            raise _Bad(seq, f"{machine} declares no {trigger!r} from {source!r} to {target!r}")
        whose = (_name_of(machine), row[_INTENT])
        if (stood := states.get(whose, "")) != source:
            about = f"{whose[0]} {row[_INTENT]}".rstrip()
            raise _Bad(seq, f"{trigger!r} moves from {source!r}, and the entries before it left {about} in {stood!r}")
        states[whose] = target

    def _checkpoint(self, size: int, root: str, note: str) -> None:
        if self.found.checkpoint and self.found.checkpoint.size == size:
            raise _Bad(size, f"two checkpoints of size {size} are stored")
        self._signature(size, root, note)
        self._compare("checkpoint", size, root)
        self.found.checkpoint = Head(size, root)
        self.found.checkpoints += 1

    def _signature(self, size: int, root: str, note: str) -> None:
        """The note says what its row does, and is signed by the key that was in force; without a key, whoever signed it."""
        try:
            checkpoint = verify_checkpoint(note, self._keys.at(size)) if self._key else read_checkpoint(note)
        except BadCheckpoint as error:
            raise _Bad(
                size, f"the checkpoint at size {size}: {self._misplaced(size, note) or str(error).removeprefix('checkpoint: ')}"
            ) from error
        said = {"journal": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
        stored = {"journal": self._origin, "size": size, "root": root}
        if others := [f"its {name} is {said[name]}, not {stored[name]}" for name in said if said[name] != stored[name]]:
            raise _Bad(size, f"the note of the checkpoint at size {size} says something else: {', '.join(others)}")

    def _misplaced(self, size: int, note: str) -> str:
        """Whether another of the journal's keys has signed it, which one, and why that one may not."""
        for key, first, last in self._keys.spans() if self._key else ():
            with suppress(BadCheckpoint):
                verify_checkpoint(note, key)
                why = f"retired with entry {last}" if last is not None and last < size else f"brought in only by entry {first - 1}"
                return f"signed by the key {self._name(key)}, which was {why}; in force is {self._name(self._keys.at(size))}"
        return ""

    def _name(self, key: Ed25519PublicKey) -> str:
        return key_id(self._origin, key).hex()

    def _rotated(self, position: int, body: str, *, is_signed: bool) -> None:
        """The entry brings a key in as it must: signed by the old key and the new one, and covered by a last checkpoint of the old one."""
        try:
            rotation = told(self._origin, position, body)
        except ValueError as error:
            raise _Bad(position, f"the key that the entry brings in: {error}") from error
        if self._key and rotation.old != self._keys.at(position):
            raise _Bad(position, f"the entry retires the key {self._name(rotation.old)}, which was not in force")
        if not is_signed:
            raise _Bad(position, "the entry brings a key in, and no checkpoint of the old key covers it")

    def _witnessed(self, line: Head) -> None:
        self.found.witness_ok = False
        self._compare("witness", line.size, line.root)
        self.found.witness_ok = True
        self.found.witness_lines += 1
        self._next_line()

    def _compare(self, where: str, size: int, root: str) -> None:
        if self._frontier.root().hex() != root:
            raise _Bad(size, f"the {where} at size {size} has another root: entries up to here were changed")

    def _finish(self) -> None:
        """What was signed or witnessed of more entries than there are, and nodes of the tree beyond the entries."""
        sql = "SELECT (SELECT coalesce(max(seq), 0) FROM journal), (SELECT max(size) FROM checkpoint), (SELECT count(*) FROM tree_node)"
        [(size, signed, nodes)] = self._reads.rows(sql)
        witnessed = self.found.witness.size if self.found.witness else 0
        if self._line and witnessed <= size:  # Lines that only grow would all have been met by now.
            told = f"the witness has a line about {self._line.size} entries in front of its last, which is about {witnessed}: it only grows"
            self._damaged_witness = WitnessDamaged(told)
        self.found.witness_ok = witnessed <= size and not self._damaged_witness
        for where, claimed in (("checkpoint", signed or 0), ("witness", witnessed)):
            if claimed > size:
                raise _Bad(size + 1, f"the {where} saw {claimed} entries, the journal has {size}: its tail is missing")
        if self._damaged_witness:
            raise self._damaged_witness
        made = size - size.bit_count()  # A complete pair of subtrees makes a node.
        if nodes != made:
            raise _Bad(size, f"{nodes} nodes of the tree are stored, the entries make {made}")


def _fault(seq: int, error: JournalDamaged, reason: str) -> Fault:
    return Fault(seq=seq, reason=reason, is_damage=isinstance(error, JournalUnreadable))


def _name_of(machine: str) -> str:
    """The name in `name@hash`."""
    return machine.partition("@")[0]
