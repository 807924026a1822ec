"""All that an auditor needs to check one order without us: its entries, where they are in the log, and the signed head of the log."""

from __future__ import annotations

import time
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow.errors import JournalUnavailable, UnknownOrder
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.ledger import inclusion_proof
from workflow.succession import raw_base64

SEAL_SECONDS = 3.0
SEAL_POLL_SECONDS = 0.05


class Sealer(Protocol):
    """Who can sign a checkpoint of everything that is stored."""

    def seal(self) -> None:
        """Sign it now."""

    @property
    def public_key(self) -> Ed25519PublicKey:
        """What checks the signature."""


class Waiting:
    """For whoever may not write: the running server signs within a second of the newest entry, so wait for it."""

    def __init__(self, reads: SqliteReads, public_key: Ed25519PublicKey) -> None:
        self._reads, self.public_key = reads, public_key

    def seal(self) -> None:
        """Wait until a checkpoint covers everything. Raises JournalUnavailable when none comes: nobody serves this journal."""
        size, deadline = self._reads.size(), time.monotonic() + SEAL_SECONDS
        while time.monotonic() < deadline:
            newest = self._reads.newest_checkpoint()
            if newest and newest[0] >= size:
                return
            time.sleep(SEAL_POLL_SECONDS)
        raise JournalUnavailable(f"no checkpoint covers all {size} entries; start the server once, it signs one")


class ProvenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with the audit path from its hash to the checkpoint's root, lower-case hex, leaf side first."""

    seq: int
    columns: dict[str, str | int]
    path: list[str]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The proof file of one order. `public_key` is the raw Ed25519 key in base64; the checkpoint is a C2SP signed note."""

    order_id: str
    size: int
    root: str
    checkpoint: str
    public_key: str
    entries: list[ProvenEntry]


class Prover:
    """Makes proofs; `sealer` signs where the newest checkpoint does not cover the order yet."""

    def __init__(self, reads: SqliteReads, sealer: Sealer) -> None:
        self._reads, self._sealer = reads, sealer

    def prove(self, order_id: str) -> Proof:
        """The proof of an order as it is now. Raises UnknownOrder."""
        entries = list(self._reads.entries(order_id=order_id))
        if not entries or not order_id:
            raise UnknownOrder(f"no order {order_id[:80]}")
        checkpoint = self._reads.newest_checkpoint()
        if checkpoint is None or checkpoint[0] < entries[-1].seq:
            self._sealer.seal()
            checkpoint = self._reads.newest_checkpoint()
        assert checkpoint is not None
        size, root, note = checkpoint
        key = self._reads.succession(self._sealer.public_key, from_size=size).at(size)
        return Proof(
            order_id=order_id,
            size=size,
            root=root,
            checkpoint=note,
            public_key=raw_base64(key),
            entries=[self._proven(entry, size) for entry in entries],
        )

    def _proven(self, entry: StoredEntry, size: int) -> ProvenEntry:
        path = inclusion_proof(entry.seq - 1, size, self._reads.tree_node)
        columns = {name: value for name, value in entry._asdict().items() if name != "seq"}
        return ProvenEntry(seq=entry.seq, columns=columns, path=[node.hex() for node in path])
