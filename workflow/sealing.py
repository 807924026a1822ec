"""A sealed copy of a journal: taken while the server runs, proved whole, and only then given its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflow import replay
from workflow.errors import JournalDamaged
from workflow.journal.copying import copy_snapshot, new_file
from workflow.journal.reads import SqliteReads
from workflow.journal.witness import Head, Witnessed

Bar = Callable[[str, int | None], AbstractContextManager[replay.Progress]]
"""Shows how far something long is, of how much; a count where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What a sealed copy holds. `checkpoint` is its newest signed one, None where there is none; `digest` is that of replay."""

    path: Path
    entries: int
    orders: int
    root: str
    checkpoint: Head | None
    digest: str
    bytes: int


def seal(journal: Path, path: Path, *, witness: Path, key: Ed25519PublicKey | None, bar: Bar) -> Sealed:
    """Copy the journal to `path`, verify the copy and replay it. What is at `path` is never replaced.

    Raises JournalDamaged, which names the first fault, FileExistsError and JournalUnavailable; then there is no file at `path`.
    """
    with new_file(path) as draft:
        seen = Witnessed(witness)  # Before the copy, which must have everything that was witnessed until now.
        with bar("copy", None) as show:
            copy_snapshot(journal, draft, lambda done, _: show(done))
        copy = SqliteReads(draft)
        with bar("verify", copy.size()) as show:
            verified = replay.verify_beside(copy, seen, key, show)
        if verified.first_bad:
            raise JournalDamaged(f"not sealed: {verified.first_bad}")
        with bar("replay", verified.entries) as show:
            replayed = replay.replay(copy, progress=show)
        if replayed.mismatches:
            raise JournalDamaged(f"not sealed: {replayed.mismatches[0]}")
        root, size = replay.head(copy).root, draft.stat().st_size
    return Sealed(
        path=path,
        entries=verified.entries,
        orders=replayed.orders,
        root=root,
        checkpoint=verified.checkpoint,
        digest=replayed.digest,
        bytes=size,
    )
