"""Orders as text for other programs: of one moment, in the order of the list, and no formula for a spreadsheet."""

from __future__ import annotations

import csv
import errno
import io
import json
import tracemalloc
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.builders import Venue, a_bill, an_intent
from tests.many_orders import fill
from workflow import export_orders
from workflow.bill import Personal
from workflow.commands import AttemptFailed, OpenOrder
from workflow.errors import JournalUnavailable
from workflow.export_orders import COLUMNS, order_file, order_lines
from workflow.journal.reads import OrderFilter
from workflow.ports import OrderId

ATHENS = ZoneInfo("Europe/Athens")


@pytest.fixture
def venue(tmp_path):
    opened = Venue(tmp_path)
    yield opened
    opened.close()


EVERYTHING = OrderFilter()


def rows(reads, wanted=EVERYTHING, **options):
    return [json.loads(line) for line in order_lines(reads, wanted, "jsonl", ATHENS, **options)]


def opened(venue, number, reference="A-1"):
    venue.clock.move(1)
    bill = msgspec.structs.replace(a_bill(), reference=reference)
    venue.engine.handle(OpenOrder(order_id=OrderId(f"o{number}"), key=f"k{number}", bill=bill, personal=Personal(), actor="till:t"))


def test_a_line_has_money_in_minor_units_and_readable_and_times_in_utc_and_the_venues(venue):
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(tips=150)})

    [row] = rows(venue.reads)

    assert {name: row[name] for name in ("paid_minor", "paid", "tips_minor", "tips", "currency", "payment_intent_ids")} == {
        "paid_minor": 1000, "paid": "10.00", "tips_minor": 150, "tips": "1.50", "currency": "GBP", "payment_intent_ids": ["pi_1"],
    }  # fmt: skip
    assert (row["created_at"], row["created_local"]) == ("2026-03-14T12:00:00.000Z", "2026-03-14T14:00:00+02:00")
    text = "".join(order_lines(venue.reads, OrderFilter(), "csv", ATHENS))
    [cells] = csv.DictReader(io.StringIO(text, newline=""))
    assert tuple(cells) == COLUMNS
    assert cells == {name: " ".join(value) if isinstance(value, list) else str(value) for name, value in row.items()}


@pytest.mark.parametrize("formula", ["=1+1", "+44", "-1", "@SUM(A1)", "\uff1d1+1"])
def test_no_reference_is_a_formula_to_a_spreadsheet(venue, formula):
    opened(venue, 1, formula)

    [cells] = csv.DictReader(io.StringIO("".join(order_lines(venue.reads, OrderFilter(), "csv", ATHENS)), newline=""))

    assert cells["reference"] == f"'{formula}"


@pytest.mark.parametrize("limit", [None, 1, 3, 4, 5, 100])
def test_all_pages_are_written_newest_first_or_as_many_as_asked_for(venue, monkeypatch, limit):
    monkeypatch.setattr(export_orders, "PAGE", 2)
    for number in range(5):
        opened(venue, number)

    assert [row["order_id"] for row in rows(venue.reads, limit=limit)] == ["o4", "o3", "o2", "o1", "o0"][:limit]


def test_what_changes_while_lines_are_written_is_in_none_of_them(venue, monkeypatch):
    monkeypatch.setattr(export_orders, "PAGE", 1)
    for number in range(3):
        opened(venue, number, "before")
    lines = order_lines(venue.reads, OrderFilter(state="created"), "jsonl", ATHENS)
    first = json.loads(next(lines))

    opened(venue, 3)
    venue.create("o9", payments=None)
    venue.engine.handle(OpenOrder(order_id=OrderId("late"), key="late", bill=a_bill(), personal=Personal(), actor="till:t"))

    assert [row["order_id"] for row in [first, *map(json.loads, lines)]] == ["o2", "o1", "o0"]
    assert len(rows(venue.reads, OrderFilter(state="created"))) == 5


def test_a_disk_without_room_is_said_in_words(venue, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_orders.tempfile, "TemporaryFile", full)

    with pytest.raises(JournalUnavailable, match="no room for the orders"):
        order_file(venue.reads, OrderFilter(), "csv", ATHENS)


def test_however_many_orders_there_are_memory_holds_a_page(tmp_path):
    reads = fill(tmp_path, 3_000)
    tracemalloc.start()
    try:
        with order_file(reads, OrderFilter(), "csv", ATHENS) as file:
            lines = sum(1 for _ in file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert lines == 3_001
    assert peak < 8_000_000  # Two pages of 500 orders; all of them would be some 24 MB.


def test_an_order_says_since_when_it_is_in_its_state_and_when_its_call_is_made_again(venue):
    venue.create("o1")
    venue.clock.move(60)
    venue.event("pi_1", "Captured")
    assert venue.reads.waits(["o1", "none"])["o1"].status == "leased"

    task = venue.tasks.popleft()
    venue.clock.move(5)
    venue.engine.handle(AttemptFailed(task=task, error="503", next_at_ms=int(venue.clock.now().timestamp() * 1000) + 90_000, code=""))

    wait = venue.reads.waits(["o1"])["o1"]
    assert (wait.effect, wait.status, wait.attempts, wait.next_at) == ("read_intent", "pending", 1, "2026-03-14T12:02:35.000Z")
    assert venue.reads.moved_at(["o1", "none"]) == {"o1": "2026-03-14T12:01:00.000Z"}
    venue.settle({"pi_1": an_intent()})
    assert venue.reads.waits(["none"]) == {}
