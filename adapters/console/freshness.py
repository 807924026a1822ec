"""How a page that refreshes itself is answered without making it anew: by a stamp of everything that it shows.

SQLite counts for one connection what anybody else has committed to the file. While that count, the minute, the process's troubles and
the session are the same, so is every page that shows nothing else. The stamp is taken before the page reads: what changes meanwhile is
in the page already, and its stamp is an old one.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar, cast

from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.reads import SqliteReads

T = TypeVar("T")


class Freshness:
    """Stamps, and what pages compute that is the same for everybody who asks within one state of the journal."""

    def __init__(self, reads: SqliteReads) -> None:
        self._reads = reads
        self._process = secrets.token_hex(8)
        """The count means nothing to another process, or beside another connection."""
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._shared: dict[str, tuple[Hashable, object]] = {}

    def version(self) -> int | None:
        """The same number only while nothing in the journal's file has changed; None where that cannot be told."""
        with suppress(JournalUnavailable, JournalDamaged):
            return self._reads.version()
        return None

    def stamp(self, *shown: object) -> str:
        """Of the journal as it is and everything else that is `shown`; "" where nobody can tell whether it changes."""
        version = self.version()
        return "" if version is None else hashlib.sha256(repr((self._process, version, shown)).encode()).hexdigest()[:24]

    def shared(self, name: str, beside: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` makes of the journal and what is `beside` it, computed once for all who ask until one of them has changed."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            version = self.version()
            key, found = self._shared.get(name, (None, None))
            if version is None or key != (version, beside):
                found = cast(Any, compute())
                self._shared[name] = (version, beside), found
            return cast(T, found)
