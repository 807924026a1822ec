"""Messages that came again, counted for people: in memory first, since a storm of copies must not wait for the writer.

They are stored with the next command that writes, whoever gave it; at the latest the sweep's. What a crash takes was not counted: of a
message it is known that it came at least so often.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from workflow.journal.port import Transaction

MOST = 10_000
"""So many messages are counted between two commands; further ones came again uncounted."""


class Again(NamedTuple):
    """A message that came again."""

    source: str
    message_id: str
    order_id: str


class Repeats:
    """Counts; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[Again, tuple[int, str]] = {}

    def note(self, again: Again, at: str, times: int = 1) -> None:
        """It came again at `at`, UTC text."""
        with self._lock:
            if again in self._counted or len(self._counted) < MOST:
                self._counted[again] = self._counted.get(again, (0, ""))[0] + times, at

    def store(self, transaction: Transaction) -> dict[Again, tuple[int, str]]:
        """Store what was counted since, and give it back for `restore`; nothing while the journal cannot be written."""
        if not self._counted or transaction.reads_only:
            return {}
        with self._lock:
            taken, self._counted = self._counted, {}
        for again, (times, at) in taken.items():
            transaction.note_repeat(*again, times, at)
        return taken

    def restore(self, taken: dict[Again, tuple[int, str]]) -> None:
        """What was stored with them is undone: count them with the next command."""
        for again, (times, at) in taken.items():
            self.note(again, at, times)
