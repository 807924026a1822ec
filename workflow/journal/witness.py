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

from workflow.errors import JournalDamaged, PathRefused, WitnessForeign
from workflow.journal.connection import translated_os

_LINE = re.compile(rb"(\d{1,19}) ([0-9a-f]{64})")
_HOLE = b"\0"
"""A power cut can leave one where the disk did not get what was written. Nobody gains by making one."""
_OF_A_HOLE = re.compile(rb"[0-9a-f \0]*")
"""What is left of lines around a hole, and within."""
_BEGUN = re.compile(rb"\0*(\d{1,19}( [0-9a-f]{0,64})?)?\0*")
"""What a crash leaves of a line; a power cut may leave anything behind whole lines."""
_MOST_TORN_BYTES = 65_536
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
    """The open witness file (made 0600). A line torn by a crash is cut off before the next one is written.

    Raises what `refuse_foreign_witness` raises, and OSError.
    """

    def __init__(self, path: Path) -> None:
        whole = refuse_foreign_witness(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self._path = path
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
        self._end = _end_of_lines(path)

    def __iter__(self) -> Iterator[Head]:
        size, number, is_hole = 0, 1, False
        for line in self._lines():
            is_hole = (is_hole or _HOLE in line) and bool(_OF_A_HOLE.fullmatch(line.removesuffix(b"\n")))
            if not is_hole:
                size = self._size_of(line.removesuffix(b"\n"), number, size)
                if self._at_most is None or size <= self._at_most:
                    yield Head(size, line.split()[1].decode())
            if line.endswith(b"\n"):
                number, is_hole = number + 1, False

    def _size_of(self, line: bytes, number: int, before: int) -> int:
        """How many entries the line tells of. Raises WitnessDamaged."""
        match = _LINE.fullmatch(line)
        if not match:
            raise WitnessDamaged(f"line {number} of the witness {self._path} is no line `SIZE ROOT`: {line!r:.100}")
        size = int(match[1])
        if size <= before:
            told = f"tells of {size} entries, and a line before it of {before}: it only grows"
            raise WitnessDamaged(f"line {number} of the witness {self._path} {told}")
        return size

    def _lines(self) -> Iterator[bytes]:
        """Whole lines with their end, or pieces of what is longer than a line. The file is open only while some of them are read."""
        offset = 0
        while offset < self._end:
            with self._path.open("rb") as file:
                file.seek(offset)
                lines = [line for _ in range(_LINES_AT_ONCE) if (line := file.readline(_LONGEST_LINE + 1))]
            for line in lines:
                offset += len(line)
                if offset > self._end:
                    return  # Written later, or torn by a crash.
                yield line
            if not lines:
                return


def _end_of_lines(path: Path) -> int:
    """Where the last whole line of the file ends; 0 where there is none."""
    with suppress(FileNotFoundError):
        _, torn, end = _last_lines(path)
        return end - len(torn)
    return 0


def refuse_foreign_witness(path: Path) -> int:
    """Refuse what no server of ours writes, by its end alone, and leave it as it is; how long the file is without a torn line.

    A file that is not there, or has nothing in it but a hole, is fine. Raises WitnessForeign, PathRefused, JournalUnavailable.
    """
    try:
        if not path.exists():
            return 0
        if not path.is_file():
            raise PathRefused(f"the witness {path} is not a plain file")
        lines, torn, end = _last_lines(path)
    except OSError as error:
        raise translated_os(error, f"cannot read the witness {path}") from error
    if not all(_LINE.fullmatch(line) for line in lines):
        raise WitnessForeign(f"{path} is no witness: it ends with lines other than `SIZE ROOT`")
    if not lines and not _BEGUN.fullmatch(torn):
        raise WitnessForeign(f"{path} is no witness: its end is not the beginning of a line `SIZE ROOT`")
    return end - len(torn)


def _last_lines(path: Path) -> tuple[list[bytes], bytes, int]:
    """Some of the last whole lines, holes left out, what is behind the last end of a line, and how long the file is.

    Read from the end, since the witness of years is long; further back only where there is nothing but a hole.
    """
    wanted = _TAIL_BYTES
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while True:
            start = max(0, end - wanted)
            file.seek(start)
            *lines, torn = file.read(end - start).split(b"\n")
            if start and lines and len(lines[0]) < _LONGEST_LINE:
                lines = lines[1:]  # It may be the rest of one.
            lines = [line for line in lines if not (_HOLE in line and _OF_A_HOLE.fullmatch(line))]
            if lines or start == 0 or (wanted > _MOST_TORN_BYTES and not _BEGUN.fullmatch(torn)):
                return lines, torn, end
            wanted *= 2


def read_head(path: Path) -> Head | None:
    """The last whole line of a witness file, however much behind it is none; None where there is no file or no line."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except (FileNotFoundError, NotADirectoryError):
        return None
    for line in reversed(lines):
        if match := _LINE.fullmatch(line):
            return Head(int(match[1]), match[2].decode())
    return read_head_until(path, _MOST)
