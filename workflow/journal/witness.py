"""The witness: an append-only file beside the database that remembers how far the journal once reached.

A damaged WAL loses committed entries silently, and an old copy looks whole; only a memory kept outside the database can tell.
One line `SIZE ROOT` a commit, written after it: the witness may lag behind the journal, never lead it.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(rb"(\d{1,19}) ([0-9a-f]{64})")
_TAIL_BYTES = 4096


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
    """The newest line about at most `size` entries: what the witness says of an older copy of its journal."""
    newest = None
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            match = _LINE.fullmatch(line.removesuffix(b"\n"))
            if match and int(match[1]) <= size:
                newest = Head(int(match[1]), match[2].decode())
    return newest


def _whole_length(path: Path) -> int:
    data = path.read_bytes()
    return data.rfind(b"\n") + 1


def read_head(path: Path) -> Head | None:
    """The last whole line of a witness file; None where there is no file or no line."""
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
    return None
