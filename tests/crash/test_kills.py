"""The program is killed at points spread over all that it does, and starts again; `make crash` takes every point."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.contract.running import PATIENCE
from tests.crash import kills
from tests.crash.harness import LEASE_S, Story, Venue, Violation, a_dojo, a_venue, audit, check
from tests.crash.kills import AFTER_ANSWER, RUNNING, SYNCS, Point
from tests.crash.listening_till import PATH
from workflow.clock import SystemClock, from_text
from workflow.errors import HeadRegressed
from workflow.journal.keys import load_key, next_path
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.replay import replay, verify
from workflow.rotation import open_with_key

TO_DOJO, TO_TILL = "POST /epos/events", f"POST {PATH}"
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: apt-get install strace")


@pytest.fixture(scope="module")
def dojo(tmp_path_factory):
    with a_dojo(tmp_path_factory.mktemp("dojo")) as dojo:
        yield dojo


@pytest.fixture(scope="module")
def lasting(tmp_path_factory, dojo):
    """A venue that goes through all these kills with one journal."""
    with a_venue(tmp_path_factory.mktemp("venue"), dojo) as venue:
        assert venue.begin()
        yield venue


@pytest.fixture
def venue(lasting):
    """It, running."""
    if not lasting.is_running():
        lasting.kill()
        assert lasting.begin()
    return lasting


@pytest.fixture(scope="module")
def points(lasting, dojo):
    """Every point of both flows."""
    return kills.points_of_both_flows(lasting, dojo)


def spread(points, kind, count, about=""):
    """So many points of a kind, from the first to the last; of those at which the program does `about`."""
    found = [point for point in points if point.kind == kind and about in point.about]
    assert len(found) >= count, f"there are only {len(found)} points {kind} {about}"
    return [found[number * (len(found) - 1) // max(1, count - 1)] for number in range(count)]


def kill_at(venue, dojo, points):
    for point in points:
        kills.kill_in_flows(venue, dojo, point)


def test_both_flows_have_points_of_every_kind_and_always_the_same(venue, dojo, points):
    again = kills.points_of_both_flows(venue, dojo)

    count = Counter(point.kind for point in points)
    assert set(count) == {*RUNNING, AFTER_ANSWER}
    assert count["before commit"] == count["after commit"] == count["torn witness"] >= 20
    assert count - Counter(tree=count["tree"]) == Counter(point.kind for point in again if point.kind != "tree")


def test_a_kill_before_a_commit_leaves_nothing_and_the_repeat_works(venue, dojo, points):  # K1 I1 I3
    kill_at(venue, dojo, spread(points, "before commit", 3))


def test_a_kill_between_commit_and_reply_keeps_the_change_and_the_repeat_gets_the_same(venue, dojo, points):  # K2 L1 I1 I11 I12
    answers = [*spread(points, "before answer", 2), *spread(points, "before answer", 1, "record-payment")]
    kill_at(venue, dojo, [*spread(points, "after commit", 2), *answers])


def test_what_was_answered_is_there_when_the_kill_comes_with_the_answer(venue, dojo, points):  # K2 I1
    kill_at(venue, dojo, [*spread(points, AFTER_ANSWER, 1), *spread(points, AFTER_ANSWER, 1, "record-payment")])


def test_a_kill_between_the_journals_row_and_the_orders_row_shows_neither(venue, dojo, points):  # K3 I3 I6
    created, changed = spread(points, "statement", 1, "INSERT INTO orders") + spread(points, "statement", 2, "UPDATE orders")[1:]
    for point in (created, changed):
        before = [each.about for each in points if each.kind == "statement" and each.k < point.k]
        assert "INSERT INTO journal" in before[-3:]
    kill_at(venue, dojo, [created, changed])


def test_a_kill_around_the_witness_line_leaves_it_behind_the_journal_and_never_ahead(venue, dojo, points):  # K2 I7
    kill_at(venue, dojo, [point for kind in ("before witness", "torn witness", "after witness") for point in spread(points, kind, 1)])


def test_a_call_that_was_not_sent_is_sent_after_the_restart(venue, dojo, points):  # K4 I8
    kill_at(venue, dojo, [*spread(points, "before send", 1, TO_TILL), *spread(points, "before send", 1, "GET")])


def test_a_call_without_an_answer_is_sent_once_more_at_most_and_counted(venue, dojo, points):  # K5 I8
    half = spread(points, "half sent", 5, TO_DOJO)[1]  # What the till asked for: Dojo alone is told, as the till alone is of a new order.
    for point in [half, *spread(points, "on the wire", 1, TO_TILL), *spread(points, "on the wire", 1, "GET")]:
        kill_at(venue, dojo, [point])
        assert redeliveries(venue) == 1


def redeliveries(venue):
    """What Prometheus is told by the process that runs since the kill."""
    lines = venue.open.get("/metrics").body.decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("tillproof_redeliveries_total{"))


def test_a_call_that_was_accepted_and_nobody_journaled_is_harmlessly_sent_once_more(venue, dojo, points):  # K6 I2 I8
    kill_at(venue, dojo, [point for about in ("GET", TO_DOJO, TO_TILL) for point in spread(points, "accepted", 1, about)])


def test_a_task_that_a_dead_process_had_leased_does_not_wait_for_its_lease(venue, dojo, points):  # K7 I20
    [point] = spread(points, "on the wire", 1, "GET")
    story, leased = Story(venue, dojo), []
    story.on_death = lambda: leased.extend(venue.rows("SELECT id, fence, lease_until_ms FROM outbox WHERE status = 'leased'"))
    venue.arm(point.plan)

    story.both_flows()

    [(task, fence, until_ms)] = leased
    [(status, later_fence, done_at)] = venue.rows("SELECT status, fence, done_at FROM outbox WHERE id = ?", (task,))
    assert (status, later_fence) == ("done", fence + 1)
    assert from_text(done_at).timestamp() < until_ms / 1000, f"it waited {LEASE_S} s"
    check([story], 1)


@needs_strace
@pytest.mark.parametrize(("call", "suffix", "k"), [("pwrite64", "-wal", 25), (SYNCS, "-wal", 6)], ids=["torn log", "log not synced"])
def test_a_kill_inside_a_commit_leaves_all_of_it_or_nothing(venue, dojo, call, suffix, k):  # K1 I1 I7
    kills.kill_in_system_call(venue, dojo, call, suffix, k)


@needs_strace
@pytest.mark.parametrize(("call", "k"), [("pwrite64", 3), (SYNCS, 1)], ids=["half copied", "not synced"])
def test_a_kill_during_the_checkpoint_of_an_orderly_stop_loses_nothing(venue, dojo, call, k):  # K9 I1 I7
    kills.kill_in_system_call(venue, dojo, call, "", k, stop=True)


@needs_strace
def test_a_kill_during_a_checkpoint_between_two_commits_loses_nothing(venue, dojo):  # K9 I1 I7
    kills.kill_in_system_call(venue, dojo, "pwrite64", "", 5)


@pytest.mark.parametrize("kind", ["statement", "before send"])
def test_starts_that_die_one_after_the_other_lose_nothing(venue, dojo, kind):  # K7 K10 I1 I8
    kills.kill_while_recovering(venue, dojo, kind, 2)


@pytest.mark.parametrize("about", ["link ", "CREATE TABLE orders", "CREATE TABLE personal", "rename ", "open tillproof.db.witness"])
def test_a_first_start_that_dies_is_made_up_for_by_the_next(tmp_path, dojo, about):  # K10 I6
    (tmp_path / "count").mkdir()
    (tmp_path / "kill").mkdir()
    found = [point for point in kills.points_of_first_start(tmp_path / "count", dojo) if point.about.startswith(about)]

    kills.kill_at_first_start(tmp_path / "kill", dojo, found[0])


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_under_load_loses_nothing_and_doubles_nothing(venue, dojo, seed):  # K14 I1 I2 I8
    kills.kill_under_load(venue, dojo, random.Random(seed))


# Commands


def run(venue: Venue, plan: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command that is killed at the point, if it comes there."""
    return subprocess.run(
        [sys.executable, "-m", venue.program, *arguments],
        cwd=venue.folder,
        env=venue.environment | {"CRASH_AT": plan},
        capture_output=True,
        timeout=PATIENCE * 4,
        start_new_session=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("plan", "command"),
    [("output:5", "export"), ("query:4", "verify"), ("query:30", "verify"), ("query:5", "replay")],
)
def test_a_command_that_is_killed_leaves_the_journal_as_it_was(venue, dojo, plan, command):  # K11 I7
    story = Story(venue, dojo)
    story.both_flows()
    before = audit(venue), venue.rows("SELECT count(*), max(seq) FROM journal"), venue.witness.read_bytes()
    names = {path.name for path in venue.folder.iterdir()}

    assert run(venue, plan, "journal", command).returncode == -signal.SIGKILL

    assert {path.name for path in venue.folder.iterdir()} == names
    assert (audit(venue), venue.rows("SELECT count(*), max(seq) FROM journal"), venue.witness.read_bytes()) == before
    check([story], 0)


def test_a_seal_that_is_killed_leaves_the_journal_as_it_was_and_a_whole_copy_or_none(venue, dojo):  # K11 I7
    Story(venue, dojo).both_flows()
    before = audit(venue)
    found = []
    for plan in ("query:5", "file:1", "file:3", "file:4", ""):
        copy = venue.folder / f"sealed at {plan}.db"  # Beside the journal, where changes to files are counted.
        assert run(venue, plan, "journal", "seal", str(copy)).returncode == (-signal.SIGKILL if plan else 0)
        found.append(copy.exists())
        if copy.exists():
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(lambda copy: replay(SqliteReads(copy)).digest, copy).result() == before

    assert audit(venue) == before
    assert found == [False, False, False, True, True]


def test_an_acceptance_that_is_killed_is_either_journaled_or_still_asked_for(tmp_path, dojo):  # S11 I18
    command = ("journal", "accept-lost-tail", "--reason", "disk replaced")
    with a_venue(tmp_path / "whole", dojo) as whole:
        whole.folder.mkdir()
        assert whole.begin()
        Story(whole, dojo).pay_only()
        assert whole.stop() == 0
    [(size,)] = whole.rows("SELECT max(seq) FROM journal")
    with whole.witness.open("a") as witness:
        witness.write(f"{size + 3} {'0' * 64}\n")

    outcomes = []
    for k in range(1, 100):
        copy = Venue(shutil.copytree(whole.folder, tmp_path / str(k)), dojo.url)
        ended = run(copy, f"file:{k}", *command)
        outcomes.append(standing(copy))
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    assert len(outcomes) > 3
    assert outcomes[-1] == "accepted"
    assert set(outcomes) == {"asked for", "accepted"}


def standing(venue):
    """What the next start makes of a journal that lacks entries."""
    try:
        SqliteJournal(venue.journal, venue.witness, load_key(Path(f"{venue.journal}.key")), SystemClock()).close()
    except HeadRegressed:
        return "asked for"
    return "accepted" if venue.rows("SELECT 1 FROM journal WHERE actor LIKE 'operator:%'") else "served without a word"


def test_a_rotation_that_is_killed_leaves_one_key_that_signs_and_the_next_start_finds_which(tmp_path, dojo):  # K1 K2 K11 I1 I7
    with a_venue(tmp_path / "whole", dojo) as whole:
        whole.folder.mkdir()
        assert whole.begin()
        Story(whole, dojo).pay_only()
        assert whole.stop() == 0
    first = load_key(Path(f"{whole.journal}.key")).public_key()

    outcomes = {}
    for plan in ("file:2", "seal:1", "before commit:1", "after commit:1", "output:1"):
        copy = Venue(shutil.copytree(whole.folder, tmp_path / plan), dojo.url)
        assert run(copy, plan, "journal", "rotate-key", "--reason", "stolen").returncode == -signal.SIGKILL
        outcomes[plan] = whose_key_signs(copy, first)

    assert outcomes == {"file:2": "old", "seal:1": "old", "before commit:1": "old", "after commit:1": "new", "output:1": "new"}


def whose_key_signs(venue, first):
    """Which key does after the next start: the journal opens, and is whole for whoever knows the first key alone."""
    path = Path(f"{venue.journal}.key")
    journal = open_with_key(path, lambda key: SqliteJournal(venue.journal, venue.witness, key, SystemClock()))
    signs = journal.public_key
    journal.close()
    assert signs == load_key(path).public_key()
    assert not next_path(path).exists()
    verified = verify(SqliteReads(venue.journal), venue.witness, first, SystemClock())
    assert verified.ok, verified.first_bad
    assert len(verified.keys) == (1 if signs == first else 2)
    return "old" if signs == first else "new"


@pytest.mark.parametrize(("plan", "is_new"), [("before commit:1", False), ("after commit:1", True)])
def test_a_server_that_is_killed_while_it_rotates_its_key_serves_on_with_one_of_them(venue, dojo, plan, is_new):  # K1 K2 I7
    assert kills.kill_while_rotating(venue, dojo, plan) == is_new


# The harness itself


def test_a_point_that_does_not_come_is_a_violation(venue, dojo):
    with pytest.raises(Violation, match="was not reached"):
        kills.kill_in_flows(venue, dojo, Point("before commit", 10_000))


REQUESTS = {
    "create": "POST /v1/orders",
    "event": "POST /v1/events",
    "webhook": "POST /webhooks/dojo",
    "status": "POST /till/orders/[^/]+/status",
    "open": "POST /till/orders",
    "lock": "POST /v1/orders/[^/]+/lock",
    "record": "POST /v1/orders/[^/]+/record-payment",
    "unlock": "DELETE /v1/orders/[^/]+/locks/[^/]+",
}
"""Everything that the stories ask, as it is told in METHOD PATH."""


@pytest.fixture(scope="module")
def liar(tmp_path_factory, dojo):
    """A program that answers some requests with 200 and stores nothing."""
    with a_venue(tmp_path_factory.mktemp("liar"), dojo) as venue:
        assert venue.begin()
        yield venue


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=REQUESTS)
def test_a_program_that_acknowledges_and_stores_nothing_is_found_out(liar, dojo, asked):
    """Whatever comes after it in the story does not make up for it."""
    liar.lie(asked)
    story = Story(liar, dojo)

    with suppress(Exception):  # Not every story can be told to its end on such answers.
        story.both_flows()

    assert len([each for each, _ in story.acknowledged if re.fullmatch(asked, f"{each.method} {each.path}")]) > 0
    with pytest.raises(Violation, match=f"acknowledged, and missing: {asked} "):
        story.check_acknowledged()


def test_the_stories_ask_nothing_else(venue, dojo):
    story = Story(venue, dojo)
    story.both_flows()

    told = [f"{each.method} {each.path}" for each, _ in story.acknowledged]
    assert {name for name, asked in REQUESTS.items() if any(re.fullmatch(asked, each) for each in told)} == set(REQUESTS)
    assert [each for each in told if not any(re.fullmatch(asked, each) for asked in REQUESTS.values())] == []
