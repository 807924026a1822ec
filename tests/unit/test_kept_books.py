"""The books of a day that is looked at again and again: those of the day alone, and only what changed is read anew."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.builders import FixedClock, TickingClock, Venue, an_intent, read_books
from workflow import books, kept_books
from workflow.books import Day, books_of
from workflow.commands import ToldPayment
from workflow.journal.driver import sqlite3
from workflow.kept_books import KeptBooks
from workflow.ports import IntentId
from workflow.takings import takings

TODAY = Day(date(2026, 3, 14), ZoneInfo("Europe/London"))
TOMORROW = Day(date(2026, 3, 15), ZoneInfo("Europe/London"))


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path, clock=FixedClock(datetime(2026, 3, 14, 12, 0, tzinfo=UTC)))
    yield venue
    venue.close()


@pytest.fixture
def read(monkeypatch):
    """The orders whose entries were read, one list a question."""
    asked = []

    def seen(reads, order_ids, **options):
        asked.append([*order_ids])
        return books_of(reads, order_ids, **options)

    monkeypatch.setattr(kept_books, "books_of", seen)
    return asked


def paid(venue, number, *, tips=0):
    intent = an_intent(f"pi_{number}", tips=tips)
    venue.create(f"o{number}", payments=(ToldPayment(intent_id=IntentId(intent.id), paid=1000),))
    venue.event(intent.id, "Captured")
    venue.settle({intent.id: intent})


def given_back(venue, number):
    venue.event(f"pi_{number}", "Refunded", event_id=f"evt_refund_{number}")
    venue.settle({f"pi_{number}": an_intent(f"pi_{number}", status="Refunded", refunded=1000)})


def assert_those_of_the_day_alone(kept, venue, day):
    found = kept.of(day, seconds=60)
    assert found.is_whole
    one, other = (takings(each, day, None, venue.clock.now()) for each in (found.books, read_books(venue.reads, day)))
    assert one == other
    return one


def test_whenever_one_asks_they_are_the_books_of_that_day_alone(venue):
    kept = KeptBooks(venue.reads, venue.clock)
    assert assert_those_of_the_day_alone(kept, venue, TODAY).totals == []
    for number in range(3):
        paid(venue, number, tips=100)
        venue.open(f"open{number}")
        [total] = assert_those_of_the_day_alone(kept, venue, TODAY).totals
        assert (total.till.count, total.till.figures.tips, total.open_bills) == (number + 1, 100 * (number + 1), number + 1)
    venue.clock.move(86_400)
    given_back(venue, 1)
    [total] = assert_those_of_the_day_alone(kept, venue, TOMORROW).totals
    assert (total.till.figures.refunded, total.open_bills) == (1000, 3)
    [total] = assert_those_of_the_day_alone(kept, venue, TODAY).totals
    assert (total.till.figures.captured, total.till.figures.refunded) == (3000, 0)


def test_only_orders_that_changed_are_read_again(venue, read):
    kept = KeptBooks(venue.reads, venue.clock)
    for number in range(3):
        paid(venue, number)
    kept.of(TODAY, seconds=60)
    kept.of(TODAY, seconds=60)
    given_back(venue, 1)
    kept.of(TODAY, seconds=60)
    assert read == [["o0", "o1", "o2"], ["o1"]]


def test_a_day_of_many_orders_is_read_in_goes_and_says_how_far_it_is(venue, monkeypatch):
    monkeypatch.setattr(kept_books, "ORDERS_AT_ONCE", 2)
    for number in range(5):
        paid(venue, number)
    kept = KeptBooks(venue.reads, TickingClock(1))
    looks = [kept.of(TODAY, seconds=1) for _ in range(4)]
    assert [(each.done, each.total, each.is_whole) for each in looks] == [(2, 5, False), (4, 5, False), (5, 5, True), (5, 5, True)]
    assert len(looks[0].books.orders) == 2


def test_an_order_that_is_stored_and_of_which_no_entry_tells_holds_nothing_up(venue, tmp_path):
    paid(venue, 1)
    with sqlite3.connect(tmp_path / "tillproof.db") as stranger:
        stranger.execute(
            "INSERT INTO orders SELECT 'o0', NULL, flow, state, status, NULL, NULL, NULL, NULL, NULL, 1, 0, currency, 1, 0, 0, 1, "
            "last_hash, created_at, updated_at, body FROM orders WHERE id = 'o1'"
        )
    stranger.close()
    found = KeptBooks(venue.reads, venue.clock).of(TODAY, seconds=60)
    assert (found.is_whole, [*found.books.orders]) == (True, ["o1"])


def test_of_days_only_so_many_are_kept(venue, read, monkeypatch):
    monkeypatch.setattr(kept_books, "DAYS_KEPT", 1)
    paid(venue, 1)
    kept = KeptBooks(venue.reads, venue.clock)
    for day in (TODAY, TOMORROW, TODAY):
        kept.of(day, seconds=60)
    assert [each for each in read if each] == [["o1"]] * 2


def test_the_entries_of_a_day_are_found_by_an_index(venue):
    plan = [row[3] for row in venue.reads.rows(f"EXPLAIN QUERY PLAN {books._CONCERNED}", books._values(TODAY, []))]
    assert "SEARCH journal USING INDEX journal_by_time (at>? AND at<?)" in plan
    assert "SCAN journal" not in plan
