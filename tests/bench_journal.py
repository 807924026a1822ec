"""What verification and replay of a long journal cost, beside reading its rows and hashing them, in the same run.

`make bench ENTRIES=500000`, or `python -m tests.bench_journal [ENTRIES]`: some minutes and half a gigabyte in the directory for temporary
files, where the journal stays for the next run. Each is measured in a process of its own, by turns and in rounds, of which the fastest
counts, since the machine does other things. Nothing is asserted: the ratios are for reading.
"""

from __future__ import annotations

import math
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.bench import table
from tests.many_entries import fill
from workflow import upkeep
from workflow.case import declared_machines
from workflow.clock import SystemClock
from workflow.journal.driver import sqlite3
from workflow.journal.keys import load_key
from workflow.journal.reads import SqliteReads
from workflow.journal.schema import SCHEMA_VERSION
from workflow.journal.witness import Witnessed
from workflow.ledger import HASHED_SORTED, entry_hash_sorted
from workflow.replay import replay, verify
from workflow.verification import Verifier

ENTRIES = 500_000
ROUNDS = 2


def read(path: Path) -> int:
    """All rows."""
    with sqlite3.connect(path) as connection:
        return sum(1 for _ in connection.execute(f"SELECT {', '.join(HASHED_SORTED)}, hash FROM journal ORDER BY seq"))


def read_and_hash(path: Path) -> int:
    """All rows, and the hash of each compared with the stored one: the least that anybody must do who trusts nobody."""
    columns = len(HASHED_SORTED)
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"SELECT {', '.join(HASHED_SORTED)}, hash FROM journal ORDER BY seq")
        return sum(entry_hash_sorted(row[:columns]) == row[columns] for row in rows)


def verify_all(path: Path) -> int:
    """`journal verify`, with every signature, every line of the witness and SQLite's own check."""
    result = verify(SqliteReads(path), Path(f"{path}.witness"), load_key(Path(f"{path}.key")).public_key(), SystemClock())
    assert result.ok, result
    return result.entries


def verify_behind_a_server(path: Path) -> int:
    """The same in the slices of a server, without the pauses between them, and without SQLite's own check."""
    verifier = Verifier(SqliteReads(path), Witnessed(Path(f"{path}.witness")), load_key(Path(f"{path}.key")).public_key())
    while verifier.step(upkeep.ENTRIES_AT_ONCE):
        pass
    assert verifier.found.ok, verifier.found
    return verifier.found.entries


def replay_all(path: Path) -> int:
    """`journal replay`: all orders rebuilt, and everything compared with what is stored."""
    result = replay(SqliteReads(path))
    assert result.ok, result.mismatches
    return result.entries


BARE = "rows read and hashed"
JOBS: dict[str, Callable[[Path], int]] = {
    "rows read": read,
    BARE: read_and_hash,
    "verify": verify_all,
    "verify behind a server": verify_behind_a_server,
    "replay": replay_all,
}


class Measured(NamedTuple):
    """One job: how many entries, in which time, by the clock and of the processor, and the most memory that the process had."""

    entries: int
    seconds: float
    cpu_seconds: float
    mebibytes: float


def measure(name: str, path: Path) -> Measured:
    """Do the job in this process."""
    began, cpu = time.perf_counter(), time.process_time()
    entries = JOBS[name](path)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return Measured(entries, seconds, cpu_seconds, _peak_mebibytes())


def _peak_mebibytes() -> float:
    """The most memory that this process had; not a number where the system does not tell."""
    if sys.platform == "win32":
        return math.nan
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024**2 if sys.platform == "darwin" else most / 1024


def measure_apart(name: str, path: Path) -> Measured:
    """Do the job in a process of its own, so that the memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, name, path).result()


def kept_journal(entries: int) -> Path:
    """A journal of so many entries, of the present schema and declarations; made once, and found again by the next run."""
    machines = "-".join(sorted(machine.ident.partition("@")[2] for machine in declared_machines().values()))
    folder = Path(tempfile.gettempdir()) / f"tillproof-bench-{entries}-{SCHEMA_VERSION}-{machines}"
    if not folder.exists():
        began, unfinished = time.perf_counter(), folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        fill(unfinished, entries)
        unfinished.rename(folder)
        print(f"{folder} made in {time.perf_counter() - began:.0f} s")
    return folder / "tillproof.db"


def print_all(found: dict[str, Measured]) -> None:
    bare = found[BARE]
    header = ("", "entries/s", "us/entry", "CPU us/entry", "ratio", "CPU ratio", "peak MiB")
    rows = [
        (
            name,
            f"{each.entries / each.seconds:,.0f}",
            f"{each.seconds / each.entries * 1e6:.1f}",
            f"{each.cpu_seconds / each.entries * 1e6:.1f}",
            f"{each.seconds / bare.seconds:.2f}",
            f"{each.cpu_seconds / bare.cpu_seconds:.2f}",
            f"{each.mebibytes:.0f}",
        )
        for name, each in found.items()
    ]
    table(header, rows)


def main(entries: int) -> None:
    path = kept_journal(entries)
    size, lines = SqliteReads(path).size(), len(Path(f"{path}.witness").read_bytes().splitlines())
    print(f"{size:,} entries, {lines:,} lines of the witness, {path.stat().st_size / 1e6:,.0f} MB; the ratio is to {BARE}\n")
    rounds = [{name: measure_apart(name, path) for name in JOBS} for _ in range(ROUNDS)]
    print_all({name: min((each[name] for each in rounds), key=lambda measured: measured.cpu_seconds) for name in JOBS})


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else ENTRIES)
