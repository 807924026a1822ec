"""A month's sums: those of its days, added up in goes, and kept in step with what comes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.builders import FixedClock, TickingClock, Venue, an_intent, read_books
from workflow import calendar
from workflow.books import Day
from workflow.calendar import Calendar
from workflow.commands import ToldPayment
from workflow.journal.reads import entries as stored
from workflow.ports import IntentId
from workflow.takings import takings

LONDON = ZoneInfo("Europe/London")
MARCH = date(2026, 3, 1)


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path, clock=FixedClock(datetime(2026, 3, 14, 12, 0, tzinfo=UTC)))
    yield venue
    venue.close()


def paid(venue, number, *, amount=1000, tips=0):
    """An order paid at this moment of the venue's clock."""
    intent = an_intent(f"pi_{number}", paid=amount, tips=tips)
    venue.create(f"o{number}", payments=(ToldPayment(intent_id=IntentId(intent.id), paid=amount),), total=amount)
    venue.event(intent.id, "Captured")
    venue.settle({intent.id: intent})
    return intent


def refund(venue, intent, amount):
    given_back = an_intent(intent.id, paid=intent.amount.value, status="Refunded", refunded=amount)
    venue.event(intent.id, "Refunded")
    venue.settle({intent.id: given_back})


def by_day(month):
    return {each.day.date.day: each.figures["GBP"] for each in month.days if not each.is_nothing}


def test_each_day_has_the_sums_that_the_day_alone_has(venue):
    for number in range(4):
        paid(venue, number, amount=1000 + number, tips=100)
        venue.clock.move(86_400)
    month = Calendar(venue.reads, LONDON, venue.clock).month(MARCH, seconds=60)
    assert month.is_whole
    for each in month.days:
        alone = takings(read_books(venue.reads, each.day), each.day, None, venue.clock.now())
        assert each.figures == {total.currency: total.till.figures for total in alone.totals if not total.till.figures.is_nothing}
    assert month.totals["GBP"].captured == 4006
    assert [each.payments["GBP"] for each in month.days if each.figures] == [1, 1, 1, 1]


def test_money_given_back_later_counts_in_the_month_in_which_we_learnt_of_it(venue):
    intent = paid(venue, 1)
    venue.clock.move(30 * 86_400)
    refund(venue, intent, 400)
    months = Calendar(venue.reads, LONDON, venue.clock)
    assert (by_day(months.month(MARCH, seconds=60))[14].captured, by_day(months.month(MARCH, seconds=60))[14].refunded) == (1000, 0)
    assert [each.refunded for each in by_day(months.month(date(2026, 4, 1), seconds=60)).values()] == [400]


def test_what_comes_after_a_look_is_in_the_next_one(venue):
    months = Calendar(venue.reads, LONDON, venue.clock)
    first = paid(venue, 1)
    assert by_day(months.month(MARCH, seconds=60))[14].captured == 1000
    paid(venue, 2)
    refund(venue, first, 300)
    after = by_day(months.month(MARCH, seconds=60))[14]
    assert (after.captured, after.refunded) == (2000, 300)


def test_a_long_month_is_added_up_in_goes_and_says_how_far_it_is(venue, monkeypatch):
    monkeypatch.setattr(calendar, "ORDERS_AT_ONCE", 2)
    for number in range(5):
        paid(venue, number)
    months = Calendar(venue.reads, LONDON, TickingClock(1))
    looks = [months.month(MARCH, seconds=1) for _ in range(4)]
    assert [(month.done, month.total, month.is_whole) for month in looks] == [(2, 5, False), (4, 5, False), (5, 5, True), (5, 5, True)]
    assert by_day(looks[0])[14].captured == 2000
    assert by_day(looks[-1])[14].captured == 5000


def test_a_month_has_the_days_of_its_calendar(venue):
    days = Calendar(venue.reads, LONDON, venue.clock).month(date(2026, 2, 1), seconds=0).days
    assert [days[0].day, days[-1].day] == [Day(date(2026, 2, 1), LONDON), Day(date(2026, 2, 28), LONDON)]


def test_entries_are_read_back_newest_first_by_order_and_kind_in_slices_that_end(venue, monkeypatch):
    for number in range(3):
        paid(venue, number)
    reads, size = venue.reads, venue.reads.size()
    found, following = reads.entries_back(size + 1, 4)
    assert ([each.seq for each in found], following) == ([size, size - 1, size - 2, size - 3], size - 3)
    of_order, following = reads.entries_back(size + 1, 500, order_id="o1")
    assert ([each.seq for each in of_order], following) == ([each.seq for each in reads.entries(order_id="o1")][::-1], 0)
    checks, _ = reads.entries_back(size + 1, 500, kind="check")
    assert len(checks) == 3
    monkeypatch.setattr(stored, "LOOKED_BACK", 5)
    assert reads.entries_back(size + 1, 500, kind="lock") == ([], size - 4)
    assert reads.entries_back(2, 500, kind="lock") == ([], 0)
