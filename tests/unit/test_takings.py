"""A day's money: what belongs to it, what agrees with Dojo, and every kind of difference, on a real journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.builders import Venue, a_capture, an_intent, gbp, read_books
from workflow.books import Day, all_takings, day_of
from workflow.commands import RecordPayment, ResolveOrder, ToldPayment
from workflow.money import Money
from workflow.ports import IntentId, OrderId
from workflow.takings import LATE_AFTER, RECORDING_GRACE, takings, touches, unseen

LONDON = ZoneInfo("Europe/London")
TODAY = Day(date(2026, 3, 14), LONDON)
NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
EVENING = NOON + timedelta(hours=8)


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def captured(intent_id="pi_1", **changes):
    """An intent that Dojo captured at noon, and says so."""
    return an_intent(intent_id, **{"transaction_at": "2026-03-14T12:00:00Z"} | changes)


def paid(venue, order_id="o1", intent_id="pi_1", **figures):
    """An order paid by one intent that was read; the intent."""
    intent = captured(intent_id, **figures)
    venue.create(order_id, payments=(ToldPayment(intent_id=IntentId(intent_id), paid=intent.amount.value),), total=intent.amount.value)
    venue.event(intent_id, "Captured")
    venue.settle({intent_id: intent})
    return intent


def learn(venue, intent, status=None):
    """Dojo speaks of the intent, and we read it."""
    venue.event(intent.id, status or intent.status)
    venue.settle({intent.id: intent})
    return intent


def the_day(venue, *intents, day=TODAY, now=EVENING, absent=(), asked=True):
    """The day as the command puts it together, with Dojo as `intents` have it."""
    known = {intent.id: intent for intent in intents} | {IntentId(each): None for each in absent}
    books = read_books(venue.reads, day, [one for one in intents if touches(one, day)])
    return takings(books, day, known if asked else None, now)


def kinds(result):
    return [(one.kind, one.intent_id, one.amount.value) for one in result.differences]


def figures(one):
    return (one.captured, one.tips, one.refunded)


def till(result):
    [total] = result.totals
    return figures(total.till.figures)


def dojo(result):
    [total] = result.totals
    return figures(total.dojo.figures)


# A day


@pytest.mark.parametrize(
    ("zone", "text", "start", "hours"),
    [
        ("Europe/London", "2026-03-14", "2026-03-14T00:00:00+00:00", 24),
        ("Europe/London", "2026-07-03", "2026-07-02T23:00:00+00:00", 24),
        ("Europe/London", "2026-03-29", "2026-03-29T00:00:00+00:00", 23),
        ("Europe/London", "2026-10-25", "2026-10-24T23:00:00+00:00", 25),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00+00:00", 23),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00+00:00", 25),  # Midnight comes twice: the first one counts.
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00+00:00", 23),  # There is no midnight: the clocks skip it.
        ("Pacific/Kiritimati", "2026-03-14", "2026-03-13T10:00:00+00:00", 24),
    ],
)
def test_a_day_is_midnight_to_midnight_by_the_venue_s_clocks(zone, text, start, hours):
    day = Day(date.fromisoformat(text), ZoneInfo(zone))

    assert day.start.isoformat() == start
    assert day.end - day.start == timedelta(hours=hours)
    assert day.start in day
    assert day.end not in day
    assert day.end - timedelta(milliseconds=1) in day


@pytest.mark.parametrize(("text", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_every_hour_of_a_day_on_which_the_clocks_change_belongs_to_one_day_only(tmp_path, text, hours):
    venue = Venue(tmp_path)
    day = Day(date.fromisoformat(text), LONDON)
    around = [Day(day.date + timedelta(days=shift), LONDON) for shift in (-1, 0, 1)]
    intents = []
    for hour in range(-1, hours + 1):
        venue.clock.moment = day.start + timedelta(hours=hour, minutes=30)
        intents.append(paid(venue, f"o{hour}", f"pi_{hour}", transaction_at=venue.clock.moment.isoformat()))

    found = [the_day(venue, *intents, day=each, now=day.end + timedelta(days=2)) for each in around]

    assert [till(result)[0] for result in found] == [1000, hours * 1000, 1000]
    assert [dojo(result)[0] for result in found] == [1000, hours * 1000, 1000]
    assert [kinds(result) for result in found] == [[], [], []]
    venue.close()


@pytest.mark.parametrize(("seconds", "day"), [(-0.001, 13), (0, 14), (86_399.999, 14), (86_400, 15)])
def test_a_payment_belongs_to_the_day_of_its_capture_to_the_millisecond(venue, seconds, day):
    venue.clock.moment = TODAY.start + timedelta(seconds=seconds)
    intent = paid(venue, transaction_at=venue.clock.moment.isoformat())

    sums = {each: the_day(venue, intent, day=Day(date(2026, 3, each), LONDON), now=NOON + timedelta(days=3)).rows for each in (13, 14, 15)}

    assert {each for each, rows in sums.items() if rows} == {day}


def test_a_capture_heard_of_before_midnight_and_read_after_it_belongs_to_the_day_before(venue):
    venue.clock.moment = TODAY.end - timedelta(seconds=1)
    intent = captured(transaction_at=venue.clock.moment.isoformat())
    venue.create()
    venue.event("pi_1", "Captured")
    venue.clock.move(3)
    venue.settle({"pi_1": intent})

    result = the_day(venue, intent, now=TODAY.end + timedelta(hours=1))

    assert (till(result), dojo(result), kinds(result)) == ((1000, 0, 0), (1000, 0, 0), [])


# What agrees


def test_a_day_without_money_is_empty(venue):
    assert the_day(venue).totals == []


def test_a_paid_order_agrees_tips_apart(venue):
    intent = paid(venue, paid=1200, tips=300)

    result = the_day(venue, intent)

    assert (till(result), dojo(result), kinds(result)) == ((1200, 300, 0), (1200, 300, 0), [])
    [row] = result.rows
    assert (row.order.id, row.state, row.dojo_status, row.in_words, row.held_back) == ("o1", "reconciled", "Captured", False, "")


def test_service_charge_is_captured_money_and_cashback_is_none(venue):
    intent = captured(paid=1000, service_charge=gbp(125), cashback=gbp(2000), total=gbp(3125))
    venue.create(payments=(ToldPayment(intent_id=IntentId("pi_1"), paid=1125),), total=1125)
    learn(venue, intent)

    result = the_day(venue, intent)

    assert (till(result), dojo(result), kinds(result)) == ((1125, 0, 0), (1125, 0, 0), [])


def test_a_split_bill_is_no_duplicate(venue):
    venue.open("o1", total=1000)
    parts = [learn(venue, captured(f"pi_{number}", paid=500, external_id="o1")) for number in (1, 2)]

    result = the_day(venue, *parts)

    assert (till(result), kinds(result), [total.till.count for total in result.totals]) == ((1000, 0, 0), [], [2])


def test_captures_of_a_manual_intent_count_and_not_what_was_asked_for(venue):
    intent = captured(capture_mode="Manual", captures=(a_capture(600), a_capture(400, status="Failed")), paid=1000)
    venue.create()
    learn(venue, intent)

    assert (till(the_day(venue, intent)), dojo(the_day(venue, intent))) == ((600, 0, 0), (600, 0, 0))


def test_several_captures_of_one_intent_belong_to_the_day_of_the_first(venue):
    venue.clock.moment = TODAY.end - timedelta(hours=1)
    parts = [replace(a_capture(500), created_at=(TODAY.end + timedelta(hours=hours)).isoformat()) for hours in (3, -1)]
    intent = paid(venue, capture_mode="Manual", captures=tuple(parts))

    assert dojo(the_day(venue, intent, now=TODAY.end + timedelta(hours=4))) == (1000, 0, 0)


# Refunds


@pytest.mark.parametrize(("refunded", "status"), [(300, "Captured"), (1100, "Captured"), (1250, "Refunded")])
def test_a_refund_counts_on_the_day_on_which_we_learnt_of_it(venue, refunded, status):
    first = paid(venue, tips=250)
    tomorrow = Day(date(2026, 3, 15), LONDON)
    venue.clock.move(86_400)
    back = learn(venue, replace(first, refunded=refunded, status=status, updated_at="2026-03-15T11:00:00Z"))
    now = EVENING + timedelta(days=2)

    today, next_day = the_day(venue, back, now=now), the_day(venue, back, day=tomorrow, now=now)

    assert (till(today), dojo(today)) == ((1000, 250, 0), (1000, 250, 0))
    assert (till(next_day), dojo(next_day)) == ((0, 0, refunded), (0, 0, refunded))
    assert kinds(today) == kinds(next_day) == []
    assert [total.till.count for total in next_day.totals] == [0]


def test_two_refunds_on_two_days_count_each_on_its_own(venue):
    first = paid(venue)
    learn(venue, replace(first, refunded=100, updated_at="2026-03-14T12:05:00Z"))
    venue.clock.move(86_400)
    last = learn(venue, replace(first, refunded=250, updated_at="2026-03-15T12:00:00Z"))
    now = EVENING + timedelta(days=2)

    days = [the_day(venue, last, day=Day(date(2026, 3, each), LONDON), now=now) for each in (14, 15)]

    assert [till(result) for result in days] == [dojo(result) for result in days] == [(1000, 0, 100), (0, 0, 150)]
    assert [kinds(result) for result in days] == [[], []]


def test_a_reversal_of_captured_money_is_money_given_back(venue):
    first = paid(venue, tips=50)
    gone = learn(venue, replace(first, status="Reversed", updated_at="2026-03-14T12:30:00Z"))

    result = the_day(venue, gone)

    assert (till(result), dojo(result), kinds(result)) == ((1000, 50, 1050), (1000, 50, 1050), [])


def test_an_authorisation_that_was_reversed_took_no_money(venue):
    venue.create()
    gone = learn(venue, captured(status="Reversed", capture_mode="Manual"))

    assert (the_day(venue, gone).rows, the_day(venue, gone).totals) == ([], [])


def test_money_that_the_till_counted_in_words_and_that_dojo_released_agrees_in_the_end(venue):
    venue.create(captured=True)
    gone = learn(venue, captured(status="Reversed", capture_mode="Manual"))

    result = the_day(venue, gone)

    assert (till(result), kinds(result)) == ((1000, 0, 1000), [])


def test_a_refund_that_we_do_not_know_of_is_a_difference_on_both_days_and_counts_at_dojo_when_it_was_made(venue):
    back = replace(paid(venue), refunded=400, updated_at="2026-03-16T09:00:00Z")
    now = EVENING + timedelta(days=3)

    today, later = the_day(venue, back, now=now), the_day(venue, back, day=Day(date(2026, 3, 16), LONDON), now=now)

    assert kinds(today) == kinds(later) == [("amount", "pi_1", 400)]
    assert (dojo(today), dojo(later), till(later)) == ((1000, 0, 0), (0, 0, 400), (0, 0, 0))


# Each kind of difference


def test_an_intent_that_names_an_order_that_we_do_not_have_is_at_dojo_only(venue):
    named = captured(external_id="tp_gone")
    by_dojo_s_id = captured("pi_2", dojo_order_id="dojo-never-came")

    result = the_day(venue, named, by_dojo_s_id)

    assert kinds(result) == [("at_dojo_not_on_till", "pi_1", 1000), ("at_dojo_not_on_till", "pi_2", 1000)]
    assert "'tp_gone'" in result.differences[0].detail
    assert (result.others, dojo(result), till(result)) == ([], (2000, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("link", [{"external_id": "o1"}, {"dojo_order_id": "dojo-o1"}, {"external_id": "dojo-o1"}, {"reference": "o1"}])
def test_an_intent_of_an_order_of_ours_that_never_told_us_is_at_dojo_only_and_names_the_order(venue, link):
    venue.create(payments=())

    [difference] = the_day(venue, captured("pi_9", **link)).differences

    assert (difference.kind, difference.intent_id, difference.order.id) == ("at_dojo_not_on_till", "pi_9", "o1")


def test_an_intent_of_an_order_that_was_settled_days_before_is_found_to_be_its(venue):
    venue.clock.move(-5 * 86_400)
    paid(venue)
    venue.clock.move(5 * 86_400)

    for link in (
        {"external_id": "o1"},
        {"dojo_order_id": "dojo-o1"},
        {"external_id": "dojo-o1"},
        {"reference": "o1", "dojo_order_id": "x"},
    ):
        found = the_day(venue, captured("pi_9", **link)).differences
        assert [(one.kind, one.order.id) for one in found] == [("at_dojo_not_on_till", "o1"), ("duplicate", "o1")]


def test_money_that_never_reached_the_till_and_went_back_is_no_difference(venue):
    venue.create(payments=())

    result = the_day(venue, captured(external_id="o1", status="Refunded", refunded=1000, updated_at="2026-03-14T12:30:00Z"))

    assert (kinds(result), dojo(result)) == ([], (1000, 0, 1000))


def test_an_intent_that_names_no_order_is_another_taking_of_the_account_and_no_difference(venue):
    intent = paid(venue)
    strangers = [captured(f"pi_s{number}", paid=700, tips=20, reference="bar 3") for number in (1, 2)]

    result = the_day(venue, intent, *strangers)

    assert (kinds(result), dojo(result), len(result.rows)) == ([], (1000, 0, 0), 1)
    [other] = result.others
    assert (other.count, figures(other.figures)) == (2, (1400, 40, 0))


def test_a_payment_that_a_person_took_off_its_order_is_another_taking(venue):
    venue.create()
    wrong = learn(venue, captured(paid=900))
    venue.engine.handle(ResolveOrder(order_id="o1", action="detach_payment", reason="not ours", actor="operator:jo"))

    result = the_day(venue, wrong)

    assert (kinds(result), [figures(other.figures) for other in result.others]) == ([], [(900, 0, 0)])


@pytest.mark.parametrize("status", ["Created", "Authorized", "Canceled", "Reversed"])
def test_money_that_the_till_counts_and_dojo_did_not_take_is_on_the_till_only(venue, status):
    intent = paid(venue)

    result = the_day(venue, replace(intent, status=status, capture_mode="Manual", captures=()))

    assert kinds(result) == [("on_till_not_at_dojo", "pi_1", 1000)]
    assert status in result.differences[0].detail
    assert (till(result), dojo(result)) == ((1000, 0, 0), (0, 0, 0))


def test_a_payment_that_dojo_does_not_know_is_on_the_till_only(venue):
    paid(venue)

    result = the_day(venue, absent=["pi_1"])

    assert kinds(result) == [("on_till_not_at_dojo", "pi_1", 1000)]
    assert "not found" in result.differences[0].detail


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": gbp(1100)}, [("amount", "pi_1", 100)]),
        ({"amount": gbp(900)}, [("amount", "pi_1", 100)]),
        ({"tips": gbp(50)}, [("tip", "pi_1", 150)]),
        ({"tips": None}, [("tip", "pi_1", 200)]),
        ({"amount": gbp(1001), "tips": gbp(199)}, [("amount", "pi_1", 1), ("tip", "pi_1", 1)]),
        ({"refunded": 5}, [("amount", "pi_1", 5)]),
    ],
)
def test_figures_that_differ_are_named_by_what_differs(venue, changes, expected):
    intent = paid(venue, tips=200)

    assert kinds(the_day(venue, replace(intent, **changes))) == expected


def test_another_currency_is_an_amount_that_differs_and_sums_stay_apart(venue):
    intent = paid(venue)
    euros = replace(intent, amount=Money(1000, "EUR"), tips=None, total=None)

    result = the_day(venue, euros)

    assert kinds(result) == [("amount", "pi_1", 1000)]
    assert "£10.00 on the till, €10.00 at Dojo" in result.differences[0].detail
    assert [(total.currency, total.till.figures.captured, total.dojo.figures.captured) for total in result.totals] == [
        ("EUR", 0, 1000),
        ("GBP", 1000, 0),
    ]


@pytest.mark.parametrize(
    ("amounts", "duplicates"),
    [
        ((1000, 1000), {"pi_2": 1000}),
        ((500, 500, 500), {"pi_3": 500}),
        ((700, 700), {"pi_2": 400}),
        ((1000, 300, 300), {"pi_2": 300, "pi_3": 300}),
        ((400, 600), {}),
        ((1500,), {}),
        ((1500, 10), {"pi_2": 10}),
    ],
)
def test_what_came_after_the_bill_was_covered_is_a_duplicate(venue, amounts, duplicates):
    venue.open("o1", total=1000)
    intents = []
    for number, amount in enumerate(amounts, start=1):
        at = f"2026-03-14T12:0{number}:00Z"
        intents.append(learn(venue, captured(f"pi_{number}", paid=amount, external_id="o1", transaction_at=at)))

    result = the_day(venue, *intents)

    assert kinds(result) == [("duplicate", each, value) for each, value in sorted(duplicates.items(), key=lambda one: -one[1])]


def test_a_second_payment_that_never_reached_the_till_is_a_duplicate_too(venue):
    first = paid(venue)
    second = captured("pi_2", external_id="o1", transaction_at="2026-03-14T12:10:00Z")

    assert kinds(the_day(venue, first, second)) == [("at_dojo_not_on_till", "pi_2", 1000), ("duplicate", "pi_2", 1000)]


def test_a_duplicate_that_was_given_back_is_none(venue):
    first = paid(venue)
    second = learn(venue, captured("pi_2", external_id="o1"))
    back = learn(venue, replace(second, status="Refunded", refunded=1000, updated_at="2026-03-14T13:00:00Z"))

    assert kinds(the_day(venue, first, second)) != []
    assert kinds(the_day(venue, first, back)) == []


def test_a_duplicate_that_a_person_settled_is_none(venue):
    first = paid(venue)
    second = learn(venue, captured("pi_2", external_id="o1"))
    venue.engine.handle(ResolveOrder(order_id="o1", action="mark_given_back", reason="in cash", actor="operator:jo"))

    assert kinds(the_day(venue, first, second)) == []


@pytest.mark.parametrize(("behind", "late"), [(LATE_AFTER, False), (LATE_AFTER + timedelta(milliseconds=1), True)])
def test_a_capture_recorded_longer_than_the_limit_after_it_is_late(venue, behind, late):
    intent = paid(venue, transaction_at=(NOON - behind).isoformat())

    assert kinds(the_day(venue, intent)) == ([("late", "pi_1", 1000)] if late else [])


def test_a_capture_recorded_on_another_day_is_late_on_both_and_in_the_sums_of_one_each(venue):
    venue.clock.moment = TODAY.end + timedelta(seconds=1)
    intent = paid(venue, transaction_at=(TODAY.end - timedelta(seconds=1)).isoformat())
    now = TODAY.end + timedelta(hours=1)

    today, tomorrow = the_day(venue, intent, now=now), the_day(venue, intent, day=Day(date(2026, 3, 15), LONDON), now=now)

    assert kinds(today) == kinds(tomorrow) == [("late", "pi_1", 1000)]
    assert (till(today), dojo(today)) == ((0, 0, 0), (1000, 0, 0))
    assert (till(tomorrow), dojo(tomorrow)) == ((1000, 0, 0), (0, 0, 0))


def test_a_late_capture_is_no_news_on_the_day_of_its_refund(venue):
    late = paid(venue, transaction_at="2026-03-14T09:00:00Z")
    venue.clock.move(86_400)
    back = learn(venue, replace(late, refunded=100, updated_at="2026-03-15T12:00:00Z"))
    now = EVENING + timedelta(days=2)

    assert kinds(the_day(venue, back, now=now)) == [("late", "pi_1", 1000)]
    assert kinds(the_day(venue, back, day=Day(date(2026, 3, 15), LONDON), now=now)) == []


def test_a_capture_of_seconds_ago_is_arriving_and_no_difference_yet(venue):
    venue.create()
    intent = captured()

    fresh = the_day(venue, intent, now=NOON + RECORDING_GRACE - timedelta(seconds=1))
    old = the_day(venue, intent, now=NOON + RECORDING_GRACE)

    assert (kinds(fresh), [row.intent_id for row in fresh.arriving]) == ([], ["pi_1"])
    assert (kinds(old), old.arriving) == ([("at_dojo_not_on_till", "pi_1", 1000)], [])


# Disputes, words, refusals


def test_a_disputed_payment_counts_nothing_here_and_says_what_holds_it(venue):
    venue.create()
    other = learn(venue, captured(paid=900))

    result = the_day(venue, other)

    assert kinds(result) == [("amount", "pi_1", 900)]
    assert "AMOUNT_MISMATCH" in result.differences[0].detail
    assert (till(result), dojo(result), result.totals[0].held_back) == ((0, 0, 0), (900, 0, 0), 1000)
    assert result.rows[0].held_back == "AMOUNT_MISMATCH"


def test_a_difference_that_a_person_accepted_is_none(venue):
    venue.create()
    other = learn(venue, captured(paid=900))
    venue.engine.handle(ResolveOrder(order_id="o1", action="accept_difference", reason="discount", actor="operator:jo"))

    result = the_day(venue, other)

    assert (kinds(result), till(result), result.totals[0].held_back) == ([], (900, 0, 0), 0)


def test_a_payment_of_another_order_is_at_dojo_only(venue):
    venue.create()

    assert kinds(the_day(venue, learn(venue, captured(external_id="another")))) == [("at_dojo_not_on_till", "pi_1", 1000)]


def test_what_dojo_told_in_words_counts_and_is_said_to_be_unread(venue):
    venue.create(captured=True)

    result = the_day(venue, captured())

    assert (till(result), result.totals[0].in_words, result.rows[0].in_words, kinds(result)) == ((1000, 0, 0), 1000, True, [])


def record(venue, intent_id, paid):
    """Dojo records a payment in words; whether it was accepted."""
    command = RecordPayment(order_id=OrderId("o1"), intent_id=IntentId(intent_id), paid=gbp(paid), tips=gbp(50))
    return venue.engine.handle(command).refusal is None


def test_a_payment_that_dojo_recorded_in_words_alone_counts_and_is_said_to_be_unread(venue):
    venue.open("o1")
    assert record(venue, "pi_1", 1000)

    result = the_day(venue, captured(tips=50, external_id="o1"))

    assert (till(result), dojo(result), result.totals[0].in_words, kinds(result)) == ((1000, 50, 0), (1000, 50, 0), 1050, [])


def test_a_payment_that_we_refused_is_at_dojo_only_until_it_went_back(venue):
    venue.open("o1")
    assert record(venue, "pi_1", 1000)
    assert not record(venue, "pi_2", 1000)
    first = captured(tips=50, external_id="o1")
    taken = captured("pi_2", tips=50, external_id="o1")
    gone = replace(taken, status="Reversed", updated_at="2026-03-14T12:30:00Z")

    assert kinds(the_day(venue, first, taken)) == [("at_dojo_not_on_till", "pi_2", 1050)]
    assert kinds(the_day(venue, first, gone)) == []


def test_words_that_a_person_took_off_the_order_are_no_money_of_the_day(venue):
    venue.create(captured=True)
    venue.settle({})
    venue.engine.handle(ResolveOrder(order_id="o1", action="detach_payment", reason="never was", actor="operator:jo"))

    result = the_day(venue, absent=["pi_1"])

    assert (kinds(result), result.rows) == ([], [])


def test_words_that_dojo_denies_are_on_the_till_only(venue):
    venue.create(captured=True)
    held = learn(venue, captured(status="Authorized", capture_mode="Manual"))

    result = the_day(venue, held)

    assert kinds(result) == [("on_till_not_at_dojo", "pi_1", 1000)]
    assert result.totals[0].in_words == 1000


def test_words_of_a_payment_that_does_not_exist_are_held_back_and_on_the_till_only(venue):
    venue.create(captured=True)
    venue.settle({})

    result = the_day(venue, absent=["pi_1"])

    assert kinds(result) == [("on_till_not_at_dojo", "pi_1", 1000)]
    assert "INTENT_NOT_FOUND" in result.differences[0].detail
    assert (till(result), result.totals[0].held_back) == ((0, 0, 0), 1000)


# What open bills owe


def test_outstanding_is_what_open_bills_owed_when_the_day_ended(venue):
    venue.open("o1", total=1000)
    venue.open("o2", total=700)
    part = learn(venue, captured("pi_1", paid=400, external_id="o1"))
    venue.clock.moment = TODAY.end
    rest = learn(venue, captured("pi_2", paid=600, external_id="o1", transaction_at=TODAY.end.isoformat()))
    venue.open("o3", total=90)
    now = TODAY.end + timedelta(hours=1)

    today, tomorrow = the_day(venue, part, now=now), the_day(venue, part, rest, day=Day(date(2026, 3, 15), LONDON), now=now)

    assert [(total.outstanding, total.open_bills) for total in today.totals + tomorrow.totals] == [(1300, 2), (790, 2)]


def test_a_bill_that_was_open_then_and_is_closed_now_was_outstanding_then(venue):
    venue.open("o1", total=1000)
    venue.clock.moment = TODAY.end + timedelta(hours=30)
    paid_later = learn(venue, captured(external_id="o1", transaction_at=venue.clock.moment.isoformat()))

    for day, outstanding in ((14, [1000]), (15, [1000]), (16, [0])):
        result = the_day(venue, paid_later, day=Day(date(2026, 3, day), LONDON), now=NOON + timedelta(days=9))
        assert [total.outstanding for total in result.totals] == outstanding


def test_money_that_dojo_holds_is_authorised_and_owed_no_more(venue):
    venue.create()

    [total] = the_day(venue).totals

    assert (total.outstanding, total.held, total.till.figures.captured) == (0, 1000, 0)


def test_what_was_authorised_days_ago_and_still_waits_is_authorised_today(venue):
    venue.clock.move(-3 * 86_400)
    venue.create()

    assert [(total.outstanding, total.held) for total in the_day(venue).totals] == [(0, 1000)]


def test_a_bill_owes_what_neither_counts_nor_is_held(venue):
    venue.open("o1", total=1000)
    learn(venue, captured(paid=400, status="Authorized", capture_mode="Manual", external_id="o1"))

    assert [(total.outstanding, total.held) for total in the_day(venue).totals] == [(600, 400)]


def test_nothing_is_outstanding_of_what_was_paid_and_given_back(venue):
    first = paid(venue)
    learn(venue, replace(first, status="Refunded", refunded=1000, updated_at="2026-03-14T13:00:00Z"))

    assert [total.outstanding for total in the_day(venue, first).totals] == [0]


# Without Dojo


def test_without_dojo_ours_is_shown_and_nothing_is_compared(venue):
    paid(venue, tips=100)

    result = the_day(venue, asked=False)

    [total] = result.totals
    assert (figures(total.till.figures), total.dojo, kinds(result)) == ((1000, 100, 0), None, [])
    assert (result.rows[0].dojo, result.rows[0].dojo_status) == (None, "")


def test_a_payment_that_could_not_be_looked_up_is_unknown_and_no_difference(venue):
    intent = paid(venue)
    paid(venue, "o2", "pi_2")

    result = the_day(venue, intent)

    assert (kinds(result), [row.dojo_status for row in result.rows]) == ([], ["Captured", ""])


def test_only_payments_of_the_day_that_the_search_did_not_show_are_looked_up(venue):
    shown_one = paid(venue)
    paid(venue, "o2", "pi_2")
    venue.create("o3", payments=(ToldPayment(intent_id=IntentId("pi_3"), paid=1000),))
    venue.clock.moment = TODAY.end + timedelta(hours=1)
    paid(venue, "o4", "pi_4")

    assert unseen(read_books(venue.reads, TODAY), TODAY, {shown_one.id: shown_one}) == ["pi_2"]


# When Dojo captured


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"capture_mode": "Manual", "captures": (replace(a_capture(1000), created_at="2026-03-14T09:00:00Z"),)}, "09:00"),
        ({"transaction_at": "2026-03-14T10:00:00"}, "10:00"),
        ({"transaction_at": "not a time"}, "12:00"),  # Our own moment, where Dojo says none.
        ({"transaction_at": None}, "12:00"),
    ],
)
def test_the_moment_of_a_capture_is_what_dojo_says_of_it_and_else_ours(venue, changes, expected):
    intent = replace(paid(venue), **changes)

    assert f"{the_day(venue, intent).rows[0].captured_at:%H:%M}" == expected


def test_a_capture_without_a_moment_is_never_late(venue):
    venue.clock.move(7_200)
    intent = paid(venue, transaction_at=None)

    assert kinds(the_day(venue, intent)) == []


@pytest.mark.parametrize("first", ["o1", "o9"], ids=["taken-off-the-first", "taken-off-the-last"])
def test_a_payment_taken_off_one_order_counts_on_the_one_that_it_pays_since(venue, first):
    other = {"o1": "o9", "o9": "o1"}[first]
    paid(venue, first, paid=1000, external_id="somebody's")
    venue.engine.handle(ResolveOrder(order_id=first, action="detach_payment", reason="not ours", actor="operator:jo"))
    venue.open(other)
    learn(venue, captured(external_id=other))

    till = the_day(venue, asked=False).totals[0].till

    assert (till.count, till.figures.captured) == (1, 1000)
    assert [(order.id, taking.was_detached) for order, taking in all_takings(venue.reads)] == [("o1", first == "o1"), ("o9", first == "o9")]


@pytest.mark.parametrize(
    "zone", ["Europe/London", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "America/Sao_Paulo", "Asia/Beirut"]
)
def test_every_moment_belongs_to_one_day_also_where_clocks_change_at_midnight(zone):
    zone, moment = ZoneInfo(zone), datetime(2010, 1, 1, tzinfo=UTC)
    while moment.year < 2012:
        for each in (moment, moment - timedelta(milliseconds=1)):
            day = day_of(each, zone)
            assert each in day
        moment += timedelta(minutes=30)
