"""Disks that are full, read-only or failing, as far as they can be had without one: a small one in memory, and files that may not grow."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from tests.contract.running import eventually


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MiB, mounted; its remounting is the test's."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a disk of its own can be mounted by root alone, on Linux")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


def make_room(folder):
    (folder / "filler").unlink()


def remount(folder, how):
    """Once nobody has a file there open for writing: a process that was killed may still be about to end."""
    eventually(lambda: subprocess.run(["mount", "-o", f"remount,{how}", folder], capture_output=True, check=False).returncode == 0)


@contextmanager
def no_file_grows_beyond(size):
    """A write behind this many bytes of a file fails, in this whole process: to SQLite that is a disk that fails, and no full one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
