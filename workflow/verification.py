"""Whether the journal is whole, found slice by slice: little memory, no state of the journal held for long, a pause wherever one likes.

A slice re-hashes its entries, follows the chain of each order, rebuilds the tree, and compares it with the stored nodes, with the
signed checkpoints and with the witness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.reads import ENTRY_COLUMNS, SqliteReads, StoredEntry
from workflow.journal.witness import Head
from workflow.ledger import ZERO_HASH, BadCheckpoint, Frontier, HashedEntry, Node, canonical, entry_hash, verify_checkpoint
from workflow.unit import VENUE

_HASHED = HashedEntry.__struct_fields__
_WITNESS = "witness"
_SLICE = f"""
SELECT {", ".join(f"entry.{column}" for column in ENTRY_COLUMNS.split(", "))}, earlier.hash
FROM journal AS entry
LEFT JOIN journal AS earlier ON earlier.order_id = entry.order_id AND earlier.order_seq = entry.order_seq - 1 AND earlier.seq < entry.seq
WHERE entry.seq > ? AND entry.seq <= ? ORDER BY entry.seq LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first entry that is wrong, and what is wrong with it; `seq` 0 concerns the file as a whole."""

    seq: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Verification:
    """What is found so far. `checkpoint` and `witness` are the newest of each."""

    entries: int = 0
    orders: int = 0
    checkpoint: Head | None = None
    witness: Head | None = None
    witness_ok: bool = True
    first_bad: Fault | None = None

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.first_bad is None


class _Bad(Exception):
    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(reason)
        self.fault = Fault(seq=seq, reason=reason)


class Verifier:
    """One verification of all that the journal has when it begins; `step` goes on with it, `found` is what came out so far.

    `seen` is what a witness said before: the journal may be ahead of it, never behind.
    """

    def __init__(self, reads: SqliteReads, seen: Head | None, public_key: Ed25519PublicKey | None) -> None:
        self._reads, self._key = reads, public_key
        self.found = Verification(witness=seen)
        self._frontier = Frontier()
        self._target = -1

    def step(self, entries: int) -> bool:
        """Check up to `entries` more; False at the end, or at the first fault. Raises JournalUnavailable: then try the same step again."""
        before = self._frontier.copy(), self.found.orders
        try:
            if self._target < 0:
                self._begin()
            return self._slice(entries)
        except JournalUnavailable:
            self._frontier, self.found.orders = before
            raise
        except _Bad as bad:
            self.found.first_bad = bad.fault
        except JournalDamaged as error:
            self.found.first_bad = Fault(seq=0, reason=str(error))
        return False

    def note_integrity(self, answer: str | None) -> None:
        """What SQLite's own check said; None where it did not finish."""
        if answer not in {None, "ok"}:
            self.found.first_bad = Fault(seq=0, reason=f"SQLite's integrity check: {answer}")

    def _begin(self) -> None:
        [(self._origin,)] = self._reads.rows("SELECT 'tillproof/' || value FROM meta WHERE name = 'journal_id'")
        self._machines = {f"{name}@{hash_}" for name, hash_ in self._reads.rows("SELECT name, hash FROM machines")}
        self._target = self._reads.size()

    def _slice(self, entries: int) -> bool:
        start = self._frontier.size
        claims = self._claims(start, start + entries)
        rows = self._reads.rows(_SLICE, (start, self._target, entries))
        for row in rows:
            self._entry(StoredEntry._make(row[:-1]), row[-1])
            for where, root in claims.pop(self._frontier.size, ()):
                self._compare(where, root)
        self.found.entries = self._frontier.size
        if len(rows) == entries:
            return True
        self._finish()
        return False

    def _claims(self, start: int, end: int) -> dict[int, list[tuple[str, str]]]:
        """Roots of sizes from `start` to `end` that were signed or witnessed; checks what was signed."""
        claims: dict[int, list[tuple[str, str]]] = {}
        sql = "SELECT size, root, note FROM checkpoint WHERE size > ? AND size <= ? ORDER BY size"
        for size, root, note in self._reads.rows(sql, (start, end)):
            if size > self._target:
                break
            self._signature(size, root, note)
            claims.setdefault(size, []).append(("checkpoint", root))
            self.found.checkpoint = Head(size, root)
        if (head := self.found.witness) and start < head.size <= end:
            claims.setdefault(head.size, []).append((_WITNESS, head.root))
        return claims

    def _signature(self, size: int, root: str, note: str) -> None:
        if self._key is None:
            return
        try:
            checkpoint = verify_checkpoint(note, self._key)
        except BadCheckpoint as error:
            raise _Bad(size, f"the checkpoint at size {size}: {error}") from error
        if (checkpoint.origin, checkpoint.size, checkpoint.root.hex()) != (self._origin, size, root):
            raise _Bad(size, f"the checkpoint at size {size} is signed for something else: {checkpoint.origin} {checkpoint.size}")

    def _compare(self, where: str, root: str) -> None:
        size = self._frontier.size
        if self._frontier.root().hex() != root:
            self.found.witness_ok = self.found.witness_ok and where != _WITNESS
            raise _Bad(size, f"the {where} at size {size} has another root: entries up to here were changed")

    def _entry(self, stored: StoredEntry, earlier_hash: str | None) -> None:
        position = self._frontier.size + 1
        if stored.seq != position:
            raise _Bad(position, f"entry {position} is missing: the next one is {stored.seq}")
        if stored.order_seq > 1 and earlier_hash is None:
            raise _Bad(stored.seq, f"order_seq is {stored.order_seq}, and no entry of the order with the number before it stands before it")
        if stored.prev_hash != (ZERO_HASH if stored.order_seq == 1 else earlier_hash):
            raise _Bad(stored.seq, "prev_hash is not the hash of the order's previous entry")
        columns = stored._asdict()
        if entry_hash(HashedEntry(**{name: columns[name] for name in _HASHED})) != stored.hash:
            raise _Bad(stored.seq, "the hash is not that of the entry: it was changed")
        if canonical(stored.entry().body) != stored.body:
            raise _Bad(stored.seq, "the body is not canonical JSON")
        if stored.machine and stored.machine not in self._machines:
            raise _Bad(stored.seq, f"{stored.machine}, which order {stored.order_id} went by, is not among the declarations kept here")
        self._nodes(stored.seq, self._frontier.append(stored.hash))
        self.found.orders += stored.order_seq == 1 and stored.order_id != VENUE

    def _nodes(self, seq: int, nodes: Sequence[Node]) -> None:
        """The stored nodes of the tree are the ones that the entries up to `seq` make: proofs read these."""
        for node in nodes:
            rows: list[tuple[Any, ...]] = self._reads.rows("SELECT hash FROM tree_node WHERE level = ? AND position = ?", node[:2])
            if not rows or bytes(rows[0][0]) != node.hash:
                raise _Bad(seq, f"the stored node {node.level}/{node[1]} of the tree is not what the entries make")

    def _finish(self) -> None:
        """What was signed or witnessed of more entries than there are, and nodes of the tree beyond the entries."""
        sql = "SELECT (SELECT coalesce(max(seq), 0) FROM journal), (SELECT max(size) FROM checkpoint), (SELECT count(*) FROM tree_node)"
        [(size, signed, nodes)] = self._reads.rows(sql)
        witnessed = self.found.witness.size if self.found.witness else 0
        self.found.witness_ok = self.found.witness_ok and witnessed <= size
        for where, claimed in (("checkpoint", signed or 0), (_WITNESS, witnessed)):
            if claimed > size:
                raise _Bad(size + 1, f"the {where} saw {claimed} entries, the journal has {size}: its tail is missing")
        made = size - size.bit_count()  # A complete pair of subtrees makes a node.
        if nodes != made:
            raise _Bad(size, f"{nodes} nodes of the tree are stored, the entries make {made}")
