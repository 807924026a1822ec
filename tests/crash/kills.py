"""One kill and what follows, for the tests and for `make crash`: the program dies, starts again, and everything is as promised."""

from __future__ import annotations

import http.client
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.contract.running import PATIENCE, eventually
from tests.crash.harness import PATIENCE_THROUGH_CRASHES, Dojo, Story, Venue, Violation, a_venue, check
from workflow.journal.keys import next_path

AFTER_ANSWER = "after answer"
"""The one kind of point that is not in the program: whoever asked has the answer, and kills."""
RUNNING = (
    "statement",
    "tree",
    "before commit",
    "after commit",
    "before witness",
    "torn witness",
    "after witness",
    "before send",
    "half sent",
    "on the wire",
    "accepted",
    "before answer",
    AFTER_ANSWER,
)
STARTING = ("file", "statement", "before commit", "after commit")
FILES = {"", "-wal", "-shm", ".key", ".lock", ".witness", "service.log"}
"""What a server that runs has in its folder; all but the log begin with the journal's name."""
ROUNDS = 2
"""Both flows so often, until a point is reached: some points, such as those of the tree, are one more or less from time to time."""
LOAD_SECONDS = 1.5
"""Within them the program dies, long before the load has ended."""
MOST_MEMORY = 256 * 1024 * 1024
SYNCS = "fsync,fdatasync"
STORIES_TO_CHECKPOINT = 40
"""Both flows so often, at most: then SQLite must have moved its log into the database."""


class Point(NamedTuple):
    """The k-th point of its kind; what the program does there is for people."""

    kind: str
    k: int
    about: str = ""

    @property
    def plan(self) -> str:
        """As the mortal program is told it."""
        return f"{self.kind}:{self.k}"

    def __str__(self) -> str:
        return f"{self.kind} {self.k} ({self.about})" if self.about else f"{self.kind} {self.k}"


def numbered(seen: list[tuple[str, str]], kinds: tuple[str, ...]) -> list[Point]:
    """The points of these kinds, each with its number."""
    count = Counter[str]()
    points = []
    for kind, about in seen:
        count[kind] += 1
        points.append(Point(kind, count[kind], about))
    return [point for point in points if point.kind in kinds]


def points_of_both_flows(venue: Venue, dojo: Dojo) -> list[Point]:
    """Every point of both flows, found by playing them once and killing nobody."""
    venue.arm("")
    story = Story(venue, dojo)
    story.both_flows()
    found = numbered(venue.points(), RUNNING)
    answers = [Point(AFTER_ANSWER, k, f"{asked.method} {asked.path}") for k, (asked, _) in enumerate(story.acknowledged, 1)]
    check([story], 0)
    return found + answers


def kill_in_flows(venue: Venue, dojo: Dojo, point: Point) -> None:
    """Both flows, killed at the point. Raises Violation, also where the point is not reached."""
    before, story = venue.kills, Story(venue, dojo)
    if point.kind == AFTER_ANSWER:
        story.on_answer = lambda asked: venue.kill_now() if len(story.acknowledged) == point.k else None
        venue.arm("")
    else:
        venue.arm(point.plan)
    for _ in range(ROUNDS):
        story.both_flows()
        if venue.kills > before:
            break
    if venue.kills != before + 1:
        raise Violation(f"{point} was not reached: {venue.kills - before} kills")
    check([story], 1)


# -- start-up


def points_of_first_start(folder: Path, dojo: Dojo) -> list[Point]:
    """Every point between nothing and a server that is ready."""
    with a_venue(folder, dojo) as venue:
        assert venue.begin()
        return numbered(venue.points(), STARTING)


def kill_at_first_start(folder: Path, dojo: Dojo, point: Point) -> None:
    """A first start that ends at the point; the second is as if it were the first, and both flows work."""
    with a_venue(folder, dojo) as venue:
        if venue.begin(point.plan):
            raise Violation(f"{point} was not reached")
        venue.note_death()
        if not venue.begin():
            raise Violation(f"{point}: it does not start again: {venue.last_words()}")
        story = Story(venue, dojo)
        story.both_flows()
        check([story], 0)
        if left := {path.name.removeprefix(venue.journal.name) for path in folder.iterdir()} - FILES:
            raise Violation(f"{point}: half-made files are left: {left}")


def kill_while_recovering(venue: Venue, dojo: Dojo, kind: str, times: int) -> None:
    """The program dies with a task under way, and each of the next starts dies too, one point of this kind further than the last."""
    before, story = venue.kills, Story(venue, dojo, is_steady=False, revives=False)
    venue.arm("before send:1")
    with _playing([story]):
        eventually(lambda: not venue.is_running(), PATIENCE_THROUGH_CRASHES)
        venue.note_death()
        for k in range(1, times + 1):
            if venue.begin(f"{kind}:{k}"):
                eventually(lambda: not venue.is_running(), PATIENCE_THROUGH_CRASHES)
            venue.note_death()
        venue.begin()
    check([story], venue.kills - before)


# -- while its key is rotated


def kill_while_rotating(venue: Venue, dojo: Dojo, plan: str) -> bool:
    """The server dies while it brings a new key in; afterwards one of both signs, and no key lies about. Whether it is the new one."""
    before = _keys(venue)
    venue.arm(plan)
    with suppress(OSError, http.client.HTTPException):
        reply = venue.operator.post("/api/keys/rotate", {"reason": "stolen"})
        raise Violation(f"{plan} was not reached: {reply.status}")
    eventually(lambda: not venue.is_running(), PATIENCE_THROUGH_CRASHES)  # The worker's sockets close before its parent is gone.
    venue.revive()
    after = _keys(venue)
    if after[: len(before)] != before or len(after) > len(before) + 1:
        raise Violation(f"{plan}: the keys {before} became {after}")
    if (waiting := next_path(Path(f"{venue.journal}.key"))).exists():
        raise Violation(f"{plan}: {waiting} is there still")
    story = Story(venue, dojo)
    story.pay_only()
    check([story], 0)
    return len(after) > len(before)


def _keys(venue: Venue) -> list[str]:
    return [key["key"] for key in venue.operator.get("/api/keys").json["data"]]


# -- under load


def kill_under_load(venue: Venue, dojo: Dojo, rng: random.Random, clients: int = 8) -> None:
    """Many clients play both flows at once, and at some moment the program is gone, as if the system were out of memory."""
    before = venue.kills
    stories = [Story(venue, dojo, is_steady=False, revives=False) for _ in range(clients)]
    with _playing(stories):
        time.sleep(rng.uniform(0.0, LOAD_SECONDS))
        venue.kill_now()
        assert venue.process
        venue.process.wait(PATIENCE)
        venue.revive()
        for story in stories:
            story.check_acknowledged()
    if (peak := _peak_bytes(worker_of(venue))) > MOST_MEMORY:
        raise Violation(f"the worker needed {peak:,} bytes")
    check(stories, venue.kills - before)


@contextmanager
def _playing(stories: list[Story]) -> Iterator[None]:
    """The stories go on meanwhile, each in a thread, and then to their ends."""
    with ThreadPoolExecutor(len(stories)) as pool:
        ends = [pool.submit(story.both_flows) for story in stories]
        yield
        for end in ends:
            end.result()


# -- inside one system call


def worker_of(venue: Venue) -> int:
    """The process that owns the journal."""
    assert venue.process
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == venue.process.pid:
                return int(status.parent.name)
    raise AssertionError("there is no worker")


@contextmanager
def traced(venue: Venue, *options: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """strace beside the worker and all its threads, from here on."""
    pid = worker_of(venue)
    command = ["strace", "-f", "-p", str(pid), "-o", str(output), *options]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert tracer.stderr
    try:
        first = tracer.stderr.readline()
        assert b"attached" in first, first
        eventually(lambda: _is_traced(pid, tracer.pid))
        yield tracer
    finally:
        tracer.terminate()
        tracer.wait(PATIENCE)
        tracer.stderr.close()


def _is_traced(pid: int, tracer: int) -> bool:
    """Whether each thread of the process is under this tracer."""
    with suppress(FileNotFoundError, ProcessLookupError):  # A thread ended meanwhile: look again.
        return all(_status(thread, "TracerPid") == tracer for thread in Path(f"/proc/{pid}/task").iterdir())
    return False


def _peak_bytes(pid: int) -> int:
    return _status(Path(f"/proc/{pid}"), "VmHWM") * 1024


def _status(of: Path, name: str) -> int:
    """A number that Linux tells of a process or a thread."""
    [line] = [line for line in (of / "status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


def kill_in_system_call(venue: Venue, dojo: Dojo, call: str, suffix: str, k: int, *, stop: bool = False) -> None:
    """Die before the k-th such system call of one thread on the journal's file with this suffix: "" is written by checkpoints alone.

    With `stop` the program is told to stop first, and empties its log into the database then.
    """
    before, story = venue.kills, Story(venue, dojo)
    stories = [story]
    inject = f"inject={call}:signal=KILL:when={k}"
    if stop:
        story.both_flows()
    output = venue.folder / "calls"
    with traced(venue, "-P", f"{venue.journal}{suffix}", "-e", f"trace={call}", "-e", inject, output=output):
        if stop:
            assert venue.process
            venue.process.send_signal(signal.SIGTERM)
            eventually(lambda: not venue.is_running())
        else:
            story.both_flows()
            while venue.kills == before and len(stories) < STORIES_TO_CHECKPOINT:
                stories.append(Story(venue, dojo))
                stories[-1].both_flows()
    venue.revive()
    if venue.kills != before + 1:
        raise Violation(f"{call} {k} on {venue.journal.name}{suffix} was not reached")
    check(stories, 1)


@contextmanager
def a_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tillproof-crash-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
