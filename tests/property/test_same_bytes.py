"""The same day makes the same journal, byte for byte, in any zone and language, with any seed of the hashes, restarted or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.a_venues_week import week

ROOT = Path(__file__).resolve().parents[2]
WORLDS = {
    "London, restarted": {"TZ": "Europe/London", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1", "RESTART": "yes"},
    "Kathmandu, ASCII": {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "2", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "New York": {"TZ": "America/New_York", "LC_ALL": "POSIX", "PYTHONHASHSEED": "31337"},
    "no zone": {"PYTHONHASHSEED": "0"},
}
MOMENTS = ("2026-03-29T00:59:59.500Z", "2026-10-25T00:59:59.500Z", "2028-02-29T23:59:59.500Z", "2038-01-19T03:14:07.500Z")
"""Half a second before London's clocks go forward, and back; before a leap day ends, and the seconds that fit into 31 bits."""

DAY = """
import os, sys, tempfile
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.builders import FixedClock, Venue, an_intent, read_books
from workflow import audit, export, sealing
from workflow.clock import from_text
from workflow.books import Day
from workflow.commands import LockOrder, ResolveOrder, SetVenue, Sweep, ToldPayment
from workflow.journal.reads import SqliteReads
from workflow.replay import head, replay
from workflow.takings import takings


def a_day(moment):
    folder = Path(tempfile.mkdtemp())
    venue = Venue(folder, clock=FixedClock(from_text(moment)))
    venue.engine.handle(SetVenue(name="areas", value=[{"id": "a", "name": "Gr\\u00fcn"}], actor="till:t"))
    for number in range(4):
        parts = {f"pi_{number}_{part}": 250 for part in range(4)}
        told = tuple(ToldPayment(intent_id=intent_id, paid=paid) for intent_id, paid in parts.items())
        venue.create(f"o{number}", payments=told, captured=number % 2 == 1)
        for intent_id in parts:
            venue.event(intent_id, "Captured", event_id=f"evt-{intent_id}")
        venue.clock.move(0.25)
        world = {intent_id: an_intent(intent_id, paid=paid + (number == 3), external_id=f"o{number}") for intent_id, paid in parts.items()}
        venue.settle(world)
        if number == 1 and "RESTART" in os.environ:
            venue.close()
            venue = Venue(folder, clock=venue.clock)
    venue.engine.handle(LockOrder(order_id="o0", lock_id="l", expires_at="2040-01-01T00:00:00.000Z"))
    venue.engine.handle(ResolveOrder(order_id="o3", action="detach_payment", reason="not ours", actor="operator:o"))
    venue.clock.move(3600)
    venue.engine.handle(Sweep(limit=100))
    for form in export.FORMATS:
        sys.stdout.buffer.write("".join(export.lines(venue.reads, form)).encode())
    day = Day(date.fromisoformat(moment[:10]), ZoneInfo("Europe/London"))
    print(ascii(takings(read_books(venue.reads, day), day, None, venue.clock.now())))
    how = {"witness": venue.witness, "key": venue.key.public_key(), "signer": venue.key, "clock": venue.clock, "zone": day.zone}
    sealed = sealing.seal(folder / "tillproof.db", folder / "sealed.db", bar=lambda what, total: nullcontext(lambda done: None), **how)
    print(sealed.entries, sealed.root, sealed.checkpoint, sealed.digest)
    copy = SqliteReads(folder / "sealed.db")
    for view in audit.VIEWS:
        print(view.name, ascii(copy.rows(f"SELECT * FROM {view.name}")))
    print(ascii(sealing.metadata(folder / "sealed.db")))
    print(head(venue.reads), replay(venue.reads).digest, replay(venue.reads).mismatches)
    venue.close()

for moment in sys.argv[1:]:
    a_day(moment)
    print("=== end of a day", flush=True)
"""
END = b"=== end of a day\n"


COMMANDS = """
import sys
from contextlib import suppress

import app
from adapters.cli.commands import cli

def run(program):
    for words in sys.argv[1:]:
        with suppress(SystemExit):  # A command that found something has said what, and that is compared.
            cli(words.split(), obj=program, standalone_mode=False)

app.run = run
app.main()
"""
WORDS = (
    *("journal export", "journal export --format csv", "journal replay --json", "journal head --json", "orders list --json"),
    *(
        "orders list --attention --json",
        "takings 2026-03-28 --offline --json",
        "takings 2026-03-29 --offline --csv",
        "journal verify --json",
    ),
    *("orders show o1 --json", "journal tail -n 20 --json", "orders bill o_yen --json", "machine show --json"),
)


def bytes_of(world, *words, **more):
    varied = ("TZ", "LC_ALL", "LANG", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "RESTART")
    kept = {name: value for name, value in os.environ.items() if name not in varied}
    env = kept | {"PYTHONPATH": str(ROOT)} | WORLDS[world] | more
    ran = subprocess.run([sys.executable, "-c", *words], cwd=ROOT, env=env, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


@pytest.fixture(scope="module")
def days():
    """What each world writes about each moment's day; one process a world."""
    return {world: bytes_of(world, DAY, *MOMENTS).split(END)[:-1] for world in WORLDS}


@pytest.mark.parametrize("number", range(len(MOMENTS)), ids=MOMENTS)
def test_the_same_day_makes_the_same_entries_hashes_root_and_digest(days, number):  # I19 T3 T4 I17
    first, *others = (written[number] for written in days.values())

    assert first.count(b"\n") > 200
    assert first.rstrip().endswith(b"[]")
    assert [world for world, each in zip([*WORLDS][1:], others, strict=True) if each != first] == []


def test_the_commands_write_the_same_bytes_about_the_same_journal(tmp_path):  # I19 T3
    week(tmp_path).close()
    files = {"JOURNAL": "tillproof.db", "SIGNING_KEY": "tillproof.key", "WITNESS": "tillproof.witness"}
    settings = {f"TILLPROOF_{name}": str(tmp_path / file) for name, file in files.items()} | {"TILLPROOF_ENV": "test"}

    written = [bytes_of(world, COMMANDS, *WORDS, **settings) for world in ("Kathmandu, ASCII", "New York")]
    latin = bytes_of("no zone", COMMANDS, *WORDS, **settings, PYTHONIOENCODING="latin-1")

    assert len(written[0].splitlines()) > 200
    assert "Grün".encode() in written[0]
    assert {*written, latin} == {written[0]}
