"""What a page of parties or reservations costs: the same at any depth, and nothing for what is over."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from tests.builders import Venue, a_party, a_reservation
from workflow.clock import to_text
from workflow.journal.reads import SORTED_BOOKINGS, BookingFilter, Position

MANY, PAGE, TABLES = 3_000, 50, 10
FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)


def day(number):
    return to_text(FIRST_DAY + timedelta(days=number))


@pytest.fixture(scope="module")
def reads(tmp_path_factory):
    """A venue with one reservation and one party that has left a day, for years."""
    venue = Venue(tmp_path_factory.mktemp("many"))

    def fill(transaction):
        for number in range(MANY):
            times = {"start_time": day(number), "end_time": day(number + 1), "created_at": day(number)}
            for booking in (a_party(f"pty_{number:05}", f"tbl_{number % TABLES}", **times), a_reservation(f"rsv_{number:05}", **times)):
                transaction.save_booking(booking, None)

    venue.journal.write(fill)
    yield venue.reads
    venue.close()


def steps(reads, wanted, **cursor):
    """The instructions that SQLite ran for a page, and the page."""
    connection, ran = reads._database().conn, itertools.count()
    connection.set_progress_handler(lambda: next(ran) and None, 1)
    try:
        page = reads.bookings(wanted, PAGE, **cursor)
    finally:
        connection.set_progress_handler(None, 1)
    return next(ran), [stored.booking for stored in page]


SEARCHES = {
    "who left": BookingFilter(kind="party", standing="left"),
    "who left a table": BookingFilter(kind="party", standing="left", table_id="tbl_3"),
    "every reservation": BookingFilter(kind="reservation"),
    "reservations of a table": BookingFilter(kind="reservation", table_id="tbl_12"),
    "reservations from the first day on": BookingFilter(kind="reservation", from_time=day(0)),
    "reservations before": BookingFilter(kind="reservation", to_time=day(MANY)),
    "reservations of a table in a window": BookingFilter(kind="reservation", table_id="tbl_12", from_time=day(0), to_time=day(MANY)),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_page_costs_the_same_at_any_depth_and_in_either_direction(reads, name):
    wanted = SEARCHES[name]
    cost, first = steps(reads, wanted)
    costs, page = [], first
    while page:
        last = page[-1]
        spent, page = steps(reads, wanted, after=Position(last.created_at, last.id))
        costs.append(spent)
    back, _ = steps(reads, wanted, before=Position(last.created_at, last.id))

    assert len(costs) > 5 - (wanted.standing == "left" and wanted.table_id is not None)
    assert max([*costs, back]) < 1.2 * cost < 120 * PAGE + 4 * SORTED_BOOKINGS * (wanted.from_time is not None)


def test_a_search_from_a_time_on_costs_nothing_for_what_was_over_by_then(reads):
    wanted = BookingFilter(kind="reservation", from_time=day(MANY - 20), to_time=day(MANY - 10))

    cost, page = steps(reads, wanted)

    assert [booking.id for booking in page] == [f"rsv_{number:05}" for number in range(MANY - 11, MANY - 21, -1)]
    assert cost < MANY


def test_a_whole_table_would_be_noticed(reads):
    cost, page = steps(reads, BookingFilter(kind="reservation", to_time=day(5)))

    assert len(page) == 5
    assert cost > 3 * MANY > 3 * SORTED_BOOKINGS
