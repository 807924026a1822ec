"""The day while it lasts: its money is that of the day's takings, its counts are those of the orders, and asking again costs little."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.builders import Venue, an_intent, read_books
from workflow import today
from workflow.books import day_of
from workflow.commands import ToldPayment
from workflow.effects import DOJO, TILL
from workflow.journal.reads import SqliteReads
from workflow.lifecycle import ORDER
from workflow.ports import IntentId
from workflow.takings import takings
from workflow.today import OPEN_STATES, Till, lines, standing

LONDON = ZoneInfo("Europe/London")
NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


class Counting(SqliteReads):
    """Counts the orders that were read anew."""

    read = 0

    def entries(self, **given):
        self.read += 1
        return super().entries(**given)


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


@pytest.fixture
def reads(venue, tmp_path):
    return Counting(tmp_path / "tillproof.db")


def pay(venue, order_id, intent_id, *, paid=1000, tips=0, status="Captured", **changes):
    told = ToldPayment(intent_id=IntentId(intent_id), paid=paid)
    venue.create(order_id, payments=(told,), total=paid)
    venue.event(intent_id, "Captured")
    venue.settle({intent_id: an_intent(intent_id, paid=paid, tips=tips, status=status, **changes)})


def test_the_money_so_far_is_what_the_days_takings_say_whenever_one_asks(venue, reads):
    till = Till(reads, LONDON, "GBP")
    for number, (paid, tips) in enumerate([(1000, 0), (2500, 300), (725, 75)]):
        pay(venue, f"o{number}", f"pi_{number}", paid=paid, tips=tips)
        day, (so_far,) = till.so_far(venue.clock.now())
        (total,) = takings(read_books(venue.reads, day), day, None, venue.clock.now()).totals
        assert so_far.figures == total.till.figures
        assert (so_far.payments, so_far.orders) == (number + 1, number + 1)
    assert so_far.figures.captured == 4225
    assert so_far.figures.tips == 375


def test_a_refund_of_today_is_given_back_today_and_yesterdays_money_is_not_todays(venue, reads):
    till = Till(reads, LONDON, "GBP")
    pay(venue, "o1", "pi_1", paid=1000)
    assert till.so_far(venue.clock.now())[1][0].figures.captured == 1000
    venue.clock.move(86_400)
    day, (so_far,) = till.so_far(venue.clock.now())
    assert so_far.figures.is_nothing
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": an_intent("pi_1", paid=1000, status="Refunded", refunded=1000)})
    day, (so_far,) = till.so_far(venue.clock.now())
    assert (so_far.figures.captured, so_far.figures.refunded, so_far.orders) == (0, 1000, 0)
    assert so_far.figures == takings(read_books(venue.reads, day), day, None, venue.clock.now()).totals[0].till.figures


def test_a_payment_that_disagrees_is_held_back_and_in_no_sum(venue, reads):
    told = ToldPayment(intent_id=IntentId("pi_1"), paid=1000)
    venue.create("o1", payments=(told,), total=1000)
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent("pi_1", paid=1000, external_id="another-order")})
    (so_far,) = Till(reads, LONDON, "GBP").so_far(venue.clock.now())[1]
    assert (so_far.figures.captured, so_far.held_back) == (0, 1)


def test_a_day_without_money_has_a_sum_of_nothing_in_the_venues_currency(venue, reads):
    day, (so_far,) = Till(reads, LONDON, "EUR").so_far(NOON)
    assert (so_far.figures.currency, so_far.figures.is_nothing, day) == ("EUR", True, day_of(NOON, LONDON))


def test_asking_again_reads_only_the_orders_to_which_something_happened(venue, reads):
    till = Till(reads, LONDON, "GBP")
    for number in range(5):
        pay(venue, f"o{number}", f"pi_{number}")
    till.so_far(venue.clock.now())
    assert reads.read == 5
    till.so_far(venue.clock.now())
    assert reads.read == 5
    pay(venue, "o5", "pi_5")
    assert till.so_far(venue.clock.now())[1][0].orders == 6
    assert reads.read == 6


def test_a_process_that_begins_today_reads_none_of_the_orders_of_a_week_ago(venue, reads):
    for number in range(5):
        pay(venue, f"o{number}", f"pi_{number}")
    venue.clock.move(7 * 86_400)
    pay(venue, "o5", "pi_5")
    assert Till(reads, LONDON, "GBP").so_far(venue.clock.now())[1][0].orders == 1
    assert reads.read == 1


def test_open_orders_are_counted_whenever_they_began_and_all_others_if_they_began_today(venue):
    venue.open("open-yesterday")
    pay(venue, "paid-yesterday", "pi_1")
    venue.clock.move(86_400)
    venue.open("open-today")
    pay(venue, "paid-today", "pi_2")
    counts = standing(venue.reads, day_of(venue.clock.now(), LONDON))
    assert counts == dict.fromkeys(ORDER.states, 0) | {"created": 2, "updated": 1}
    assert set(OPEN_STATES) < set(ORDER.states)


def test_the_calls_say_what_waits_what_is_paused_and_when_they_are_tried_next(venue):
    venue.create("o1")
    venue.event("pi_1", "Captured")
    found = {line.destination: line for line in lines(venue.reads, {"DOJO_AUTH": 1})}
    assert found[DOJO].waiting + found[DOJO].under_way >= 1
    assert found[DOJO].is_paused
    assert not found[TILL].is_paused
    assert (found[TILL].waiting, found[TILL].next_at) == (0, None)
    if found[DOJO].waiting:
        assert found[DOJO].next_at.startswith("2026-03-14T12:00:00")


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        (today._COUNT, ("created", "")),
        (today._LAST_BEFORE, ("2026-03-14",)),
        (today._TOUCHED, (0, 9)),
        *((sql, (0,)) for sql in today._TASKS.values()),
    ],
)
def test_every_question_is_answered_by_an_index_or_by_the_newest_entries(venue, sql, values):
    plan = [row[3] for row in venue.reads.rows(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert any(re.match(r"SEARCH|SCAN journal$|SCAN outbox USING INDEX outbox_(leased|dead)$", line) for line in plan), plan
    assert not [line for line in plan if re.match(r"SCAN (orders|outbox)$", line)], plan


def test_the_version_of_a_journal_changes_with_every_commit_of_anybody_and_only_then(venue, reads):
    assert reads.version() is None
    reads.keep_spare()
    first = reads.version()
    assert reads.version() == first
    venue.open("o1")
    second = reads.version()
    assert second != first
    assert reads.version() == second
    reads.order("o1")
    assert reads.version() == second


def test_times_are_of_the_venues_day_where_it_begins_before_utc(venue, reads):
    pay(venue, "o1", "pi_1")
    kiritimati = ZoneInfo("Pacific/Kiritimati")  # 14 hours ahead: noon is already tomorrow there.
    day, (so_far,) = Till(reads, kiritimati, "GBP").so_far(venue.clock.now())
    assert (str(day.date), so_far.orders) == ("2026-03-15", 1)
    assert Till(reads, kiritimati, "GBP").so_far(venue.clock.now() - timedelta(hours=6))[1][0].orders == 0
