"""Disks that are full, read-only or failing, as far as they can be had without one: a small one in memory, and files that may not grow."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.contract.running import eventually

BECOME_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
"""From Linux's capability.h and prctl.h."""


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MiB, mounted; its remounting is the test's."""
    folder = tmp_path / "disk"
    if not mount(folder):
        pytest.skip("a disk of its own can be mounted by root alone, on Linux")
    yield folder
    assert as_root("umount", "--lazy", folder)


@pytest.fixture
def any_disk(tmp_path):
    """A disk that becomes full and read-only at a word, to another process: mounted, or pretended where that is not allowed."""
    folder = tmp_path / "disk"
    disk = Mounted(folder) if mount(folder) else Pretended(folder, tmp_path / "calls")
    yield disk
    disk.close()


def mount(folder):
    """Whether that is allowed here; the folder is there in any case."""
    folder.mkdir(mode=0o700)
    return as_root("mount", "-t", "tmpfs", "-o", f"size=24m,mode=700,uid={os.getuid()},gid={os.getgid()}", "tmpfs", folder)


def as_root(*words):
    """Whether it worked."""
    with suppress(FileNotFoundError):
        return subprocess.run([*BECOME_ROOT, *words], capture_output=True, check=False).returncode == 0
    return False


def fill(folder):
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


def make_room(folder):
    (folder / "filler").unlink()


def remount(folder, how):
    """Once nobody has a file there open for writing: a process that was killed may still be about to end."""
    eventually(lambda: as_root("mount", "-o", f"remount,{how}", folder))


class Mounted:
    """A disk of 24 MiB. `options` are those of a service's start on it while it is read-only."""

    def __init__(self, folder):
        self.folder, self.options = folder, {}

    def fill(self, service, *paths):
        fill(self.folder)

    def launch_full(self, service):
        fill(self.folder)
        service.launch()

    def make_room(self):
        make_room(self.folder)

    def remount(self, how):
        remount(self.folder, how)

    def close(self):
        assert as_root("umount", "--lazy", self.folder)


class Pretended:
    """A service's calls to write fail as on a full disk, on these paths or on the journal; permissions are as on one that is read-only."""

    def __init__(self, folder, log):
        self.folder, self._log, self._full = folder, log, ExitStack()
        self.options = {"preexec_fn": bound_by_permissions}

    def fill(self, service, *paths):
        self._fail(service, worker_of(service.process), paths)

    def _fail(self, service, pid, paths=()):
        fault = "write,pwrite64:error=ENOSPC"
        self._full.enter_context(injected(pid, fault, self._log, *(paths or (service.journal, f"{service.journal}-wal"))))

    def launch_full(self, service):
        """It waits at its beginning, until its calls fail."""
        process = service.launch(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); import app; app.main()", "serve"])
        eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        self._fail(service, process.pid)
        process.send_signal(signal.SIGCONT)

    def make_room(self):
        self._full.close()

    def remount(self, how):
        for path in self.folder.iterdir():
            path.chmod(0o400 if how == "ro" else 0o600)
        self.folder.chmod(0o500 if how == "ro" else 0o700)

    close = make_room


def bound_by_permissions():
    """In the child: root without its way around file permissions, as every other user is."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


def worker_of(process):
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@contextmanager
def injected(pid, fault, log, *paths):
    """The process's system calls fail as `fault` says, as strace writes it, from now on; with paths, only those on these files."""
    command = ["strace", "-f", "-p", str(pid), "-o", log, "-e", f"trace={fault.split(':')[0]}", "-e", f"inject={fault}"]
    command += [word for path in paths for word in ("-P", str(path))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert "attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()


@contextmanager
def no_file_grows_beyond(size):
    """A write behind this many bytes of a file fails, in this whole process: to SQLite that is a disk that fails, and no full one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
