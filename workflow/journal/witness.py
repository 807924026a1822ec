"""The witness: an append-only file beside the database that remembers how far the journal once reached.

A damaged WAL loses committed entries silently, and an old copy looks whole; only a memory kept outside the database can tell.
One line `SIZE ROOT` a commit, written after it: the witness may lag behind the journal, never lead it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from workflow.errors import JournalDamaged

_LINE = re.compile(rb"(\d{1,19}) ([0-9a-f]{64})")
_MOST = 10**19
_TAIL_BYTES = 4096
_LONGEST_LINE = 19 + 1 + 64 + 1
_LINES_AT_ONCE = 1_000


class WitnessDamaged(JournalDamaged):
    """A line of the witness is not what a server writes: the file was edited, or its disk is bad. Compare it with a copy of it."""


class Head(NamedTuple):
    """How many entries, and the lower-case hex root of their tree."""

    size: int
    root: str


class Witness:
    """The open witness file (made 0600). A line torn by a crash is cut off before the next one is written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self._path = path
        whole = _whole_length(path)
        os.ftruncate(self._descriptor, whole)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def head(self) -> Head | None:
        """The last whole line."""
        return read_head(self._path)

    def append(self, size: int, root: str) -> None:
        """Remember a committed head. Raises OSError, and leaves no torn line behind: the witness then lags until the next one."""
        line = f"{size} {root}\n".encode()
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, "the line was not written whole")
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_head_until(path: Path, size: int) -> Head | None:
    """The last whole line about at most `size` entries: what the witness says of an older copy of its journal."""
    newest = None
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            match = _LINE.fullmatch(line[:-1]) if line.endswith(b"\n") else None
            if match and int(match[1]) <= size:
                newest = Head(int(match[1]), match[2].decode())
    return newest


class Witnessed:
    """All that a witness file says when this is made: its lines, oldest first, read a few at a time. What is written later is left out.

    `newest` is the last whole line. With `at_most` an older copy is looked at: lines about more entries are left out too.
    Iterating raises WitnessDamaged at a line that is none, or that tells of no more entries than the one before it.
    """

    def __init__(self, path: Path, *, at_most: int | None = None) -> None:
        self._path, self._at_most = path, at_most
        self.newest = read_head(path) if at_most is None else read_head_until(path, at_most)
        self._end = path.stat().st_size if path.exists() else 0

    def __iter__(self) -> Iterator[Head]:
        size = 0
        for number, line in enumerate(self._lines(), start=1):
            if line.startswith(b"\0"):
                continue  # A power cut can leave a hole where the disk did not get what was written. Nobody gains by making one.
            match = _LINE.fullmatch(line)
            if not match:
                raise WitnessDamaged(f"line {number} of the witness {self._path} is no line `SIZE ROOT`: {line!r:.100}")
            head = Head(int(match[1]), match[2].decode())
            if head.size <= size:
                told = f"tells of {head.size} entries, and a line before it of {size}: it only grows"
                raise WitnessDamaged(f"line {number} of the witness {self._path} {told}")
            size = head.size
            if self._at_most is None or size <= self._at_most:
                yield head

    def _lines(self) -> Iterator[bytes]:
        """Whole lines without their end. The file is open only while some of them are read."""
        offset = 0
        while offset < self._end:
            with self._path.open("rb") as file:
                file.seek(offset)
                lines = [line for _ in range(_LINES_AT_ONCE) if (line := file.readline(_LONGEST_LINE + 1))]
            for line in lines:
                offset += len(line)
                if offset > self._end or (offset == self._end and not line.endswith(b"\n")):
                    return  # Written later, or torn by a crash.
                yield line.removesuffix(b"\n")
            if not lines:
                return


def _whole_length(path: Path) -> int:
    data = path.read_bytes()
    return data.rfind(b"\n") + 1


def read_head(path: Path) -> Head | None:
    """The last whole line of a witness file, however much behind it is none; None where there is no file or no line."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        if match := _LINE.fullmatch(line):
            return Head(int(match[1]), match[2].decode())
    return read_head_until(path, _MOST)
