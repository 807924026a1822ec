"""The program killed again and again: `python -m tests.crash --kills N [--seed N]`.

First every point of both flows, of a first start, of a recovery, of a key's rotation and of SQLite's own writing, in a random order; then,
until there were N kills, random moments under load. Several venues at once, each with a simulator of its own and one journal through all of
its kills.
A violation is printed with its kill and seed, and its journal is kept. Ctrl-C ends it after what is under way.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.crash import kills
from tests.crash.harness import Dojo, Venue, a_dojo, a_venue
from tests.crash.kills import SYNCS, Point

KILLS_OF_ONE_VENUE = 40
"""Then another begins: neither its journal nor its simulator's memory grows without end."""
RECOVERIES = (("statement", 6), ("before commit", 3), ("after commit", 3), ("before send", 3), ("accepted", 3))
"""Starts that die one after the other: the kind of point, and how many."""
IN_SYSTEM_CALLS = (
    *(("pwrite64", "-wal", k, False) for k in (1, 2, 7, 30, 100)),
    *((SYNCS, "-wal", k, False) for k in (1, 5, 12)),
    *(("pwrite64", "", k, False) for k in (1, 2, 20, 60)),
    *(("pwrite64", "", k, True) for k in (1, 5, 15)),
    (SYNCS, "", 1, False),
    (SYNCS, "", 1, True),
)
"""Within commits ("-wal") and checkpoints (""), while it runs and while it stops."""
IN_A_ROTATION = (
    *(f"{kind}:1" for kind in ("statement", "before commit", "after commit", "before witness", "torn witness", "after witness")),
    *(f"file:{k}" for k in (1, 2, 3, 4, 5, 6)),
    "before answer:1",
)
"""Where the server dies while it brings in a new key."""
PROGRESS_SECONDS = 10


class Work(NamedTuple):
    """Something that kills: what the report counts it as, what it is exactly, and how it is done."""

    group: str
    name: str
    strike: Callable[[Venue, Dojo], None]


@dataclass
class Report:
    """What happened so far; written by several threads."""

    wanted: int
    began: float = field(default_factory=time.monotonic)
    kills: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest_start: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _said_at: float = 0.0

    def note(self, about: str, deaths: int, slowest_start: float) -> None:
        with self._lock:
            self.kills[about] += deaths
            self.slowest_start = max(self.slowest_start, slowest_start)
            if time.monotonic() > self._said_at + PROGRESS_SECONDS:
                self._said_at = time.monotonic()
                print(f"  {self.total} of {self.wanted} kills, {len(self.violations)} violations", file=sys.stderr, flush=True)

    def violated(self, what: str) -> None:
        with self._lock:
            self.violations.append(what)
            print(f"VIOLATION {what}", flush=True)

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    def lines(self) -> Iterator[str]:
        seconds = time.monotonic() - self.began
        yield f"{self.total} kills, {len(self.violations)} violations; {seconds:.0f} s, {seconds / max(1, self.total):.2f} s a kill"
        yield f"slowest start after a kill: {self.slowest_start:.2f} s"
        yield from (f"  {number:5} {about}" for about, number in sorted(self.kills.items()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many at least (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of the order and the moments; otherwise another each time")
    parser.add_argument("--venues", type=int, default=2, help="how many at once (%(default)s)")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"{asked.kills} kills, seed {seed}", flush=True)
    report, work = Report(asked.kills), _work(random.Random(seed))
    next_work = threading.Lock()

    def take() -> Work | None:
        with next_work:
            return next(work) if report.total < report.wanted else None

    def stop(*_: object) -> None:
        report.wanted = 0  # What is under way ends as it must, and the figures are told.

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with ThreadPoolExecutor(asked.venues) as pool:
        for end in [pool.submit(_one_venue_after_the_other, take, report) for _ in range(asked.venues)]:
            end.result()
    print("\n".join(report.lines()))
    return 1 if report.violations else 0


def _work(rng: random.Random) -> Iterator[Work]:
    """What to do, without end."""
    once = list(_every_point())
    rng.shuffle(once)
    yield from once
    for _ in count():
        seed = rng.randrange(1_000_000)
        yield Work("under load", f"seed {seed}", partial(kills.kill_under_load, rng=random.Random(seed)))


def _every_point() -> Iterator[Work]:
    with kills.a_folder() as folder, a_dojo(folder) as dojo:
        with a_venue(folder, dojo) as venue:
            assert venue.begin()
            running = kills.points_of_both_flows(venue, dojo)
        with kills.a_folder() as other:
            starting = kills.points_of_first_start(other, dojo)
    print(f"{len(running)} points in both flows, {len(starting)} in a first start", flush=True)
    yield from (Work(f"both flows, {point.kind}", str(point), partial(kills.kill_in_flows, point=point)) for point in running)
    yield from (Work("first start", str(point), partial(_first_start, point=point)) for point in starting)
    for kind, times in RECOVERIES:
        yield Work("recovery", f"{kind}, {times} times", partial(kills.kill_while_recovering, kind=kind, times=times))
    for plan in IN_A_ROTATION:
        yield Work("key rotation", plan, partial(_rotation, plan=plan))
    if shutil.which("strace") is None:
        print("strace is not installed: no kills inside SQLite's own writing", flush=True)
        return
    for call, suffix, k, stop in IN_SYSTEM_CALLS:
        group = ("inside a commit" if suffix else "inside a checkpoint") + (", while stopping" if stop else "")
        yield Work(group, f"{call} {k}", partial(kills.kill_in_system_call, call=call, suffix=suffix, k=k, stop=stop))


def _rotation(venue: Venue, dojo: Dojo, plan: str) -> None:
    kills.kill_while_rotating(venue, dojo, plan)


def _first_start(venue: Venue, dojo: Dojo, point: Point) -> None:
    with kills.a_folder() as folder:
        kills.kill_at_first_start(folder, dojo, point)
    venue.kills += 1


def _one_venue_after_the_other(take: Callable[[], Work | None], report: Report) -> None:
    while work := take():
        folder = Path(tempfile.mkdtemp(prefix="tillproof-crash-"))
        with a_dojo(folder) as dojo, a_venue(folder, dojo) as venue:
            is_whole = venue.begin()
            while is_whole and work:
                is_whole = _strike(venue, dojo, work, report)
                work = take() if is_whole and venue.kills < KILLS_OF_ONE_VENUE else None
        if is_whole:
            shutil.rmtree(folder, ignore_errors=True)


def _strike(venue: Venue, dojo: Dojo, work: Work, report: Report) -> bool:
    """One piece of work; whether the venue can go on."""
    before = venue.kills
    try:
        work.strike(venue, dojo)
    except Exception as error:  # Whatever it is, it is a finding, and the others go on.
        report.violated(f"{work.group}, {work.name}: {type(error).__name__}: {error}; kept: {venue.folder}")
        return False
    finally:
        report.note(work.group, venue.kills - before, venue.slowest_start)
    return True


if __name__ == "__main__":
    sys.exit(main())
