"""Questions about what proves the journal: its checkpoints, the keys that sign them, and its Merkle tree."""

from __future__ import annotations

from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow.errors import JournalDamaged
from workflow.journal.reads.entries import ENTRY_COLUMNS, StoredEntry
from workflow.journal.reads.source import Source
from workflow.ledger import leaf_hash
from workflow.succession import KEY_ENTRIES, Succession, ids_in_force, read_succession


class SignatureReads(Source):
    """Checkpoints, keys and nodes of the tree, and the journal's name and secret."""

    def newest_checkpoint(self) -> tuple[int, str, str] | None:
        """(size, root, note) of the newest signed checkpoint."""
        rows = self.rows("SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        return rows[0] if rows else None

    def newest_checkpoint_size(self) -> int | None:
        """How many entries the newest signed checkpoint covers."""
        return cast("int | None", self.rows("SELECT max(size) FROM checkpoint")[0][0])

    def oldest_checkpoint_size(self) -> int | None:
        """How many entries the first signed checkpoint covers."""
        return cast("int | None", self.rows("SELECT min(size) FROM checkpoint")[0][0])

    def checkpoints_around(self, size: int) -> list[int]:
        """The sizes of the nearest checkpoints below and above `size`, as far as there are any."""
        row = self.rows(
            "SELECT (SELECT max(size) FROM checkpoint WHERE size < ?), (SELECT min(size) FROM checkpoint WHERE size > ?)", (size, size)
        )[0]
        return [each for each in row if each is not None]

    def checkpoint(self, size: int) -> tuple[str, str] | None:
        """(root, note) of the signed checkpoint of exactly this size."""
        rows = self.rows("SELECT root, note FROM checkpoint WHERE size = ?", (size,))
        return rows[0] if rows else None

    def origin(self) -> str:
        """By what name the journal's checkpoints are signed."""
        return str(self.rows("SELECT 'tillproof/' || value FROM meta WHERE name = 'journal_id'")[0][0])

    def succession(self, known: Ed25519PublicKey, *, from_size: int = 0) -> Succession:
        """The keys that sign this journal, one after the other; of those that sign from `from_size` on, without reading what is before."""
        # From a size on few entries are left, which are read in their order; else only those that concern no order are.
        where = f"seq >= ? AND +{KEY_ENTRIES}" if from_size else f"? = 0 AND {KEY_ENTRIES}"
        sql = f"SELECT seq, body FROM journal WHERE {where} ORDER BY {'seq' if from_size else 'order_seq'}"
        return read_succession(self.origin(), self.rows(sql, (from_size,)), known)

    def key_entries(self, after: int) -> list[StoredEntry]:
        """The entries behind position `after` that say of a key that it is brought in; `after` 0 reads those of no order alone."""
        condition = KEY_ENTRIES.replace("order_id", "+order_id" if after else "order_id")
        rows = self.rows(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE seq > ? AND {condition} ORDER BY seq", (after,))
        return [StoredEntry._make(row) for row in rows]

    def key_in_force(self) -> list[str]:
        """The id of the key that signs next, or all that a note claims; none where nothing is signed yet. Raises JournalDamaged."""
        newest = self.newest_checkpoint()
        if newest is None:
            return []
        size, _, note = newest
        entry = self.rows(f"SELECT body FROM journal WHERE seq = ? AND {KEY_ENTRIES}", (size,))
        try:
            return ids_in_force(self.origin(), size, note, entry[0][0] if entry else None)
        except ValueError as error:
            raise JournalDamaged(f"{self._path}: the key that entry {size} brings in: {error}") from error

    def tree_node(self, level: int, index: int) -> bytes:
        """A stored node of the Merkle tree; level 0 is the leaf hash of the entry at `index` + 1. Raises JournalDamaged."""
        if level == 0:
            rows = self.rows("SELECT hash FROM journal WHERE seq = ?", (index + 1,))
        else:
            rows = self.rows("SELECT hash FROM tree_node WHERE level = ? AND position = ?", (level, index))
        if not rows:
            raise JournalDamaged(f"{self._path}: the Merkle tree lacks node {level}/{index}")
        return leaf_hash(rows[0][0]) if level == 0 else bytes(rows[0][0])

    def secret(self) -> bytes:
        """Random bytes of this journal, for tokens that nobody else can make."""
        return bytes.fromhex(self.rows("SELECT value FROM meta WHERE name = 'secret'")[0][0])
