"""Bringing a new signing key in: its file, the entry that tells of it, and the old file's end, so that a crash in between does no harm.

    on disk when it crashes                          the next start
      the new key waits, the journal knows none      removes it: the old key is still in force
      the new key waits, the journal has it          puts it in the old one's place, and that one is gone
      the new key is in its place                    has nothing to do

In which order: the waiting key is on disk before the entry is, and the entry before the old key is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow.commands import RotateKey
from workflow.engine import Engine
from workflow.errors import JournalUnavailable
from workflow.journal.keys import KeyNotInForce, UnusableKey, drop_next_key, load_key, make_next_key, next_path, put_next_in_place
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.ledger import key_id
from workflow.succession import fingerprint, verifier_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The entry at `position` brought the key in. Keys are as programs for signed notes pin them; `fingerprint` is the new one's.

    `pending` says why the old key's file could not be replaced; the next start tries again.
    """

    position: int
    old_key: str
    new_key: str
    fingerprint: str
    pending: str = ""


class Rotator:
    """Brings in new keys for an open journal, one at a time; `path` is where its key lies."""

    def __init__(self, engine: Engine, journal: SqliteJournal, reads: SqliteReads, path: Path) -> None:
        self._engine, self._journal, self._reads, self._path = engine, journal, reads, path
        self._lock = threading.Lock()

    def rotate(self, actor: str, reason: str) -> Rotated:
        """Make a key, journal it, and let it sign from then on; the old one is removed.

        Raises JournalUnavailable, and then the old key is in force; where that `is_unknown`, the next start finds out.
        """
        with self._lock:
            old, new = self._journal.public_key, self._next_key()
            try:
                self._engine.handle(RotateKey(new_key=new, reason=reason, actor=actor))
            except JournalUnavailable as error:
                if not error.is_unknown:
                    drop_next_key(self._path)
                raise
            pending = _put_in_place(self._path)
            origin = self._reads.origin()
            [last] = self._reads.succession(new.public_key()).rotations[-1:]
            logger.info("signing key rotated", extra={"size": last.position, "key": key_id(origin, last.new).hex(), "actor": actor})
            return Rotated(
                position=last.position,
                old_key=verifier_key(origin, old),
                new_key=verifier_key(origin, last.new),
                fingerprint=fingerprint(last.new),
                pending=pending,
            )

    def _next_key(self) -> Ed25519PrivateKey:
        try:
            return make_next_key(self._path)
        except UnusableKey as error:
            raise JournalUnavailable(f"no new key can be stored: {error}") from error


def open_with_key(path: Path, open_journal: Callable[[Ed25519PrivateKey], SqliteJournal]) -> SqliteJournal:
    """Open a journal that is there with the key that is in force, and end a rotation that a crash interrupted.

    Raises UnusableKey, of which KeyNotInForce is one, and what `open_journal` raises.
    """
    try:
        journal = open_journal(load_key(path))
    except KeyNotInForce:
        if not next_path(path).exists():
            raise
        journal = open_journal(load_key(next_path(path)))
        if not _put_in_place(path):
            logger.warning("key rotation finished", extra={"file": str(path)})
        return journal
    drop_next_key(path)  # One that waits now was never brought in: only the journal's owner comes here.
    return journal


def _put_in_place(path: Path) -> str:
    """Why the old key's file cannot be replaced; "" once it is. The new key signs all the same."""
    try:
        put_next_in_place(path)
    except UnusableKey as error:
        logger.error("old signing key not removed", extra={"error": str(error), "next": "tillproof doctor"})
        return str(error)
    return ""
