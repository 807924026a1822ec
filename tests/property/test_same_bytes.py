"""The same day makes the same journal, byte for byte, in any zone and language, with any seed of the hashes, restarted or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORLDS = {
    "London, restarted": {"TZ": "Europe/London", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1", "RESTART": "yes"},
    "Kathmandu": {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "2"},
    "New York": {"TZ": "America/New_York", "LC_ALL": "POSIX", "PYTHONHASHSEED": "31337"},
    "no zone": {"PYTHONHASHSEED": "0"},
}
MOMENTS = ("2026-03-29T00:59:59.500Z", "2026-10-25T00:59:59.500Z", "2028-02-29T23:59:59.500Z", "2038-01-19T03:14:07.500Z")
"""Half a second before London's clocks go forward, and back; before a leap day ends, and the seconds that fit into 31 bits."""

DAY = """
import os, sys, tempfile
from pathlib import Path

from tests.builders import FixedClock, Venue, an_intent
from workflow import export
from workflow.clock import from_text
from workflow.commands import LockOrder, ResolveOrder, SetVenue, Sweep, ToldPayment
from workflow.replay import head, replay

folder = Path(tempfile.mkdtemp())
venue = Venue(folder, clock=FixedClock(from_text(sys.argv[1])))
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
print(head(venue.reads), replay(venue.reads).digest, replay(venue.reads).mismatches)
venue.close()
"""


def bytes_of(world, moment):
    kept = {name: value for name, value in os.environ.items() if name not in ("TZ", "LC_ALL", "LANG", "PYTHONHASHSEED", "RESTART")}
    ran = subprocess.run(
        [sys.executable, "-c", DAY, moment], cwd=ROOT, env=kept | {"PYTHONPATH": str(ROOT)} | WORLDS[world], capture_output=True, check=True
    )
    return ran.stdout


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_same_day_makes_the_same_entries_hashes_root_and_digest(moment):  # I19 T3 T4 I17
    written = {world: bytes_of(world, moment) for world in WORLDS}

    first, *others = written.values()
    assert first.count(b"\n") > 200
    assert first.rstrip().endswith(b"[]")
    assert [world for world, each in zip([*WORLDS][1:], others, strict=True) if each != first] == []
