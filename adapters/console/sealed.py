"""A sealed copy of the journal that a page has made: kept without a name while this process lives, and sent to whoever may have it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from adapters.console.desk import Desk
from adapters.console.jobs import Job
from workflow import sealing
from workflow.errors import Refused
from workflow.journal.keys import load_key

SENT_AT_ONCE = 262_144
"""Bytes of a sealed copy that go out in one piece."""
BYTES_AN_ENTRY = 600
"""Replay holds every order in memory, and what it compares them with: 430 bytes an entry were measured."""
MEMORY_PART = 2
"""It takes no more than this part of the memory that is free: the service has work to do beside it."""
NEEDED_TIMES = 3
"""A sealed copy takes its journal's size, its views some more, and as much again while it is made."""


@dataclass(slots=True)
class Copy:
    """A sealed copy without a name: it is gone from the disk with this process, or once it is closed."""

    sealed: sealing.Sealed
    name: str
    descriptor: int
    is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> _Reading | None:
        """Its bytes, by a descriptor of their own, since it may be put away meanwhile; None where it was."""
        with self._lock:
            return None if self.is_closed else _Reading(os.dup(self.descriptor))

    def close(self) -> None:
        """Let the disk have its room back."""
        with self._lock:
            if not self.is_closed:
                self.is_closed = True
                os.close(self.descriptor)


class _Reading:
    """The bytes of an open file from its beginning; whoever sends them closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._offset = descriptor, 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = os.pread(self._descriptor, SENT_AT_ONCE, self._offset)
        if not chunk:
            raise StopIteration
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        os.close(self._descriptor)


def make_copy(desk: Desk, job: Job[object], *, personal: bool) -> Copy:
    """Seal in a folder of our own (0700), and take the file's name away: whatever happens to this process, nothing stays."""
    with tempfile.TemporaryDirectory(prefix="tillproof-sealed-") as folder:
        made = sealing.seal(
            desk.journal,
            Path(folder) / "sealed.db",
            witness=desk.witness,
            key=desk.sealer.public_key,
            signer=load_key(desk.signing_key),
            bar=job.bar,
            zone=desk.zone,
            personal=personal,
            clock=desk.clock,
        )
        descriptor = os.open(made.path, os.O_RDONLY)
    what = "sealed" if personal else "sealed-without-personal"
    return Copy(made, f"tillproof-{what}-{made.entries}.db", descriptor)


def require_memory(entries: int) -> None:
    """Refuse to replay what would push the service out of memory. Raises Refused."""
    needed, free = BYTES_AN_ENTRY * entries, _free_memory()
    if free is not None and needed > free // MEMORY_PART:
        megabytes = [f"{each // 1_000_000:,} MB" for each in (needed, free)]
        raise Refused(
            f"to replay {entries:,} entries takes {megabytes[0]} of memory, and {megabytes[1]} are free: do it at a terminal elsewhere"
        )


def _free_memory() -> int | None:
    """Bytes that can be had without pushing anybody out; None where the system does not say."""
    with suppress(OSError, StopIteration, ValueError):
        said = next(line for line in Path("/proc/meminfo").read_text("ascii").splitlines() if line.startswith("MemAvailable:"))
        return int(said.split()[1]) * 1024
    return None


def require_space(journal: Path) -> None:
    """Refuse what would fill the disk: a full one keeps the journal from being written. Raises Refused."""
    size = sum(path.stat().st_size for path in (journal, Path(f"{journal}-wal")) if path.exists())
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < NEEDED_TIMES * size:
        megabytes = [f"{each // 1_000_000:,} MB" for each in (NEEDED_TIMES * size, free)]
        raise Refused(f"a sealed copy needs {megabytes[0]} in {tempfile.gettempdir()}, and {megabytes[1]} are free")
