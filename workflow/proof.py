"""What proves the journal to somebody who does not trust us: an order, a single entry, or that a later log begins with an earlier one.

Each is one JSON file for `tillproof-verify`: entries or hashes, their paths through the Merkle tree, and the signed head of the
log. The same question about the same checkpoint has the same bytes as its answer.
"""

from __future__ import annotations

import time
from itertools import groupby
from typing import Final, NamedTuple, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow.clock import Clock
from workflow.errors import JournalUnavailable, UnknownCheckpoint, UnknownEntry, UnknownOrder, short
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.ledger import consistency_proof, inclusion_proof
from workflow.succession import raw_base64, read_succession

SEAL_SECONDS = 10.0
"""A server signs within one; a busy machine may hold it up."""
SEAL_POLL_SECONDS = 0.05

PROOF_FORMAT: Final = "tillproof-proof/1"
CONSISTENCY_FORMAT: Final = "tillproof-consistency/1"
RECEIPT_FORMAT: Final = "tillproof-receipt/1"
"""What a file says of itself in `format`; another number is another shape."""


class Sealer(Protocol):
    """Who can sign a checkpoint of everything that is stored."""

    def seal(self) -> None:
        """Sign it now."""

    @property
    def public_key(self) -> Ed25519PublicKey:
        """What checks the signature."""


class Waiting:
    """For whoever may not write: the running server signs within a second of the newest entry, so wait for it."""

    def __init__(self, reads: SqliteReads, public_key: Ed25519PublicKey, clock: Clock) -> None:
        self._reads, self.public_key, self._clock = reads, public_key, clock

    def seal(self) -> None:
        """Wait until a checkpoint covers everything. Raises JournalUnavailable when none comes: nobody serves this journal."""
        size, deadline = self._reads.size(), self._clock.monotonic() + SEAL_SECONDS
        while (self._reads.newest_checkpoint_size() or 0) < size:
            if self._clock.monotonic() >= deadline:
                raise JournalUnavailable(f"no checkpoint covers all {size} entries; start the server once, it signs one")
            time.sleep(SEAL_POLL_SECONDS)


class ProvenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with the audit path from its hash to the checkpoint's root, lower-case hex, leaf side first."""

    seq: int
    columns: dict[str, str | int]
    path: list[str]


class SignedHead(msgspec.Struct, frozen=True, kw_only=True):
    """A head of the log: `checkpoint` is the C2SP signed note of the other two, `public_key` the raw Ed25519 key that signed it, base64."""

    size: int
    root: str
    checkpoint: str
    public_key: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The proof file of one order: every entry that it had when the log had `size` entries.

    `key_changes` are the entries by which one signing key brought the next one in, oldest first.
    """

    format: str = PROOF_FORMAT
    origin: str
    order_id: str
    size: int
    root: str
    checkpoint: str
    public_key: str
    entries: list[ProvenEntry]
    key_changes: list[ProvenEntry]


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """The proof file of two checkpoints: the tree of `new` begins with the tree of `old`. `path` is that of RFC 9162 §2.1.4."""

    format: str = CONSISTENCY_FORMAT
    origin: str
    old: SignedHead
    new: SignedHead
    path: list[str]
    key_changes: list[ProvenEntry]


class ProvenReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, with the entry that it stands for and that one's place in the log."""

    format: str = RECEIPT_FORMAT
    origin: str
    order_id: str
    order_seq: int
    hash: str
    size: int
    root: str
    checkpoint: str
    public_key: str
    entry: ProvenEntry
    key_changes: list[ProvenEntry]


class _Head(NamedTuple):
    origin: str
    signed: SignedHead
    key_changes: list[ProvenEntry]


SOURCES: Final = ("create_order", "open_order", "event/capability", "event/webhook")
"""Messages that have an id of their own."""

REQUESTS: Final = ("dojo", "till:", "operator:")
"""Actors whose entries began with a request that was answered."""


class Prover:
    """Makes proofs; `sealer` signs where the newest checkpoint does not cover what is asked for."""

    def __init__(self, reads: SqliteReads, sealer: Sealer) -> None:
        self._reads, self._sealer = reads, sealer
        self._keys: tuple[int, tuple[StoredEntry, ...]] = 0, ()

    def prove(self, order_id: str, size: int | None = None) -> Proof:
        """The proof of an order as it is now, or as it was when the log had `size` entries.

        Raises UnknownOrder, UnknownCheckpoint where none is of that size, JournalUnavailable where none can be signed.
        """
        newest = self._reads.last_seq(order_id) if order_id else None
        if newest is None:
            raise UnknownOrder(f"no order {short(order_id)}")
        head = self._head(size) if size is not None else self._head_over(newest)
        # Read again: the checkpoint may cover entries that came meanwhile, and a proof leaves out none that it covers.
        entries = [entry for entry in self._reads.entries(order_id=order_id) if entry.seq <= head.signed.size]
        if not entries:
            raise UnknownOrder(f"order {short(order_id)} has no entry among the first {head.signed.size}")
        return Proof(
            origin=head.origin,
            order_id=order_id,
            size=head.signed.size,
            root=head.signed.root,
            checkpoint=head.signed.checkpoint,
            public_key=head.signed.public_key,
            entries=[self._proven(entry, head.signed.size) for entry in entries],
            key_changes=head.key_changes,
        )

    def consistency(self, old: int | None = None, new: int | None = None) -> Consistency:
        """That the log of `new` entries begins with that of `old`; the oldest and the newest checkpoint where nothing is said.

        Raises UnknownCheckpoint, naming the nearest ones, and ValueError where `old` is the larger.
        """
        before = self._head(self._reads.oldest_checkpoint_size() if old is None else old)
        after = self._head(self._reads.newest_checkpoint_size() if new is None else new)
        path = consistency_proof(before.signed.size, after.signed.size, self._reads.tree_node)
        return Consistency(
            origin=after.origin, old=before.signed, new=after.signed, path=[node.hex() for node in path], key_changes=after.key_changes
        )

    def receipt_of(self, source: str, message_id: str) -> ProvenReceipt:
        """The receipt of a message that was accepted. Raises UnknownEntry.

        `source` is `create_order`, with Dojo's order id, `open_order`, with the till's, or `event/capability` or `event/webhook`, with the
        ids of event and intent and a colon between them.
        """
        seen = self._reads.seen(source, message_id)
        if seen is None:
            raise UnknownEntry(f"no {source} {short(message_id)} was accepted here")
        before, receipt = seen
        if receipt is None:
            told = f"those of order {before.order_id} are all kept" if before.order_id else "an export has its entry"
            raise UnknownEntry(f"{source} {short(message_id)} was accepted when receipts were not kept by message: {told}")
        return self.receipt(receipt.order_id, receipt.order_seq)

    def receipt(self, order_id: str, order_seq: int) -> ProvenReceipt:
        """The receipt of an entry, with its place in the log. `order_id` "" is for what concerns no order. Raises UnknownEntry."""
        entry = self._reads.entry(order_id, order_seq)
        if entry is None:
            raise UnknownEntry(f"no entry {order_seq} of {f'order {short(order_id)}' if order_id else 'what concerns no order'}")
        return self._receipt(entry, self._head_over(entry.seq))

    def receipt_at(self, seq: int) -> ProvenReceipt:
        """The receipt of the entry at a position of the log, whatever it concerns. Raises UnknownEntry."""
        entry = next(self._reads.entries(after=seq - 1, limit=1), None)
        if entry is None:
            raise UnknownEntry(f"no entry {seq}: the journal has {self._reads.size()}")
        return self._receipt(entry, self._head_over(entry.seq))

    def receipts(self, order_id: str, actors: tuple[str, ...] = REQUESTS) -> list[ProvenReceipt]:
        """The receipts of all requests to an order that left something in the journal, oldest first. Raises UnknownOrder.

        A request's entries stand together, with its actor, cause and time; its receipt is for the last of them, which the chain ties to the
        others. `actors` are whose requests, by the beginning of their names.
        """
        entries = list(self._reads.entries(order_id=order_id)) if order_id else []
        if not entries:
            raise UnknownOrder(f"no order {short(order_id)}")
        requests = groupby(entries, key=lambda entry: (entry.actor, entry.cause, entry.at))
        asked = [list(entries)[-1] for (actor, _, _), entries in requests if actor.startswith(actors)]
        if not asked:
            return []
        head = self._head_over(asked[-1].seq)
        return [self._receipt(entry, head) for entry in asked]

    def _receipt(self, entry: StoredEntry, head: _Head) -> ProvenReceipt:
        return ProvenReceipt(
            origin=head.origin,
            order_id=entry.order_id,
            order_seq=entry.order_seq,
            hash=entry.hash,
            size=head.signed.size,
            root=head.signed.root,
            checkpoint=head.signed.checkpoint,
            public_key=head.signed.public_key,
            entry=self._proven(entry, head.signed.size),
            key_changes=head.key_changes,
        )

    def _head_over(self, seq: int) -> _Head:
        """The newest head, one that covers the entry at `seq`."""
        newest = self._reads.newest_checkpoint_size()
        if newest is None or newest < seq:
            self._sealer.seal()
            newest = self._reads.newest_checkpoint_size()
        return self._head(newest)

    def _head(self, size: int | None) -> _Head:
        if size is None:
            raise UnknownCheckpoint("there is no checkpoint yet")
        checkpoint = self._reads.checkpoint(size)
        if checkpoint is None:
            raise UnknownCheckpoint(f"no checkpoint is of {size} entries; {self._nearest(size)}")
        root, note = checkpoint
        origin, entries = self._reads.origin(), self._key_entries()
        succession = read_succession(origin, [(entry.seq, entry.body) for entry in entries], self._sealer.public_key)
        rotated = {rotation.position for rotation in succession.rotations if rotation.position <= size}
        signed = SignedHead(size=size, root=root, checkpoint=note, public_key=raw_base64(succession.at(size)))
        return _Head(origin, signed, [self._proven(entry, size) for entry in entries if entry.seq in rotated])

    def _key_entries(self) -> tuple[StoredEntry, ...]:
        """The entries that brought keys in; each part of the journal is looked through once."""
        read, entries = self._keys
        size = self._reads.size()
        if size > read:
            self._keys = size, (*entries, *(entry for entry in self._reads.key_entries(read) if entry.seq <= size))
        return self._keys[1]

    def _nearest(self, size: int) -> str:
        near = [str(each) for each in self._reads.checkpoints_around(size)]
        return f"the nearest {'is' if len(near) == 1 else 'are'} of {' and '.join(near)}" if near else "there is none yet"

    def _proven(self, entry: StoredEntry, size: int) -> ProvenEntry:
        path = inclusion_proof(entry.seq - 1, size, self._reads.tree_node)
        columns = {name: value for name, value in entry._asdict().items() if name != "seq"}
        return ProvenEntry(seq=entry.seq, columns=columns, path=[node.hex() for node in path])
