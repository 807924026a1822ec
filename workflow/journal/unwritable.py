"""A journal that can be read and not written: what it has is served, and whatever would change it is turned away (S2, S16).

A request that changes nothing, such as an exact repeat, is decided and answered all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow.clock import Clock
from workflow.errors import JournalUnavailable
from workflow.journal.condition import JOURNAL_DAMAGED, JOURNAL_READ_ONLY, Condition
from workflow.journal.driver import sqlite3
from workflow.journal.port import Transaction
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import refuse_regressed
from workflow.journal.transaction import SqliteTransaction
from workflow.journal.witness import read_head

T = TypeVar("T")


class UnwritableJournal:
    """What takes a `SqliteJournal`'s place while that cannot be opened for `reason`.

    Raises JournalUnavailable where not even reading works, HeadRegressed and JournalDamaged as the other does.
    """

    is_alive = True

    def __init__(self, path: Path, witness: Path, key: Ed25519PrivateKey, clock: Clock, reason: JournalUnavailable) -> None:
        self.public_key = key.public_key()
        self.condition = Condition(clock)
        # One connection, so that all can be closed: beside one that reads only, this process could open none that writes.
        self.reads = SqliteReads(path, is_shared=True, on_damage=partial(self.condition.begin, JOURNAL_DAMAGED))
        try:
            self.reads.keep_spare()
            self._secret, self._size = self.reads.secret(), self.reads.size()
            if head := read_head(witness):
                refuse_regressed(path, self._size, head, self.reads.tree_node)
        except BaseException:
            self.reads.close()
            raise
        self._closed = threading.Event()
        self.condition.begin(reason.code or JOURNAL_READ_ONLY, str(reason))
        self._reason = reason

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` as far as it only reads; see `port.Journal.write`."""
        with self.reads.turn() as database:
            connection = database.conn
            try:
                connection.execute("BEGIN")
                return work(SqliteTransaction(connection, self._secret, self._size))
            except sqlite3.Error as error:
                raise JournalUnavailable(str(self._reason), code=self._reason.code) from error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def seal(self) -> None:
        """Raises JournalUnavailable: nothing can be signed."""
        raise JournalUnavailable(str(self._reason), code=self._reason.code)

    def rotate_key(self, actor: str, reason: str) -> NoReturn:
        """Raises JournalUnavailable: no key can be brought in."""
        raise JournalUnavailable(str(self._reason), code=self._reason.code)

    def empty_log(self) -> bool:
        """Raises JournalUnavailable: nothing can be put into the database."""
        raise JournalUnavailable(str(self._reason), code=self._reason.code)

    def wait_for_more(self, size: int, seconds: float) -> None:
        """Nothing comes: wait as long as the caller wishes, or until `close`."""
        self._closed.wait(seconds)

    def wal_bytes(self) -> int:
        """Nobody writes one."""
        return 0

    def close(self) -> None:
        """Let the file go, once nobody asks any more."""
        self._closed.set()
        self.reads.close()
