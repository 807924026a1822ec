"""A day beside Dojo's books, and what people say of its differences: journaled, once, and about the figures of that moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.builders import Venue, an_intent
from workflow.books import Day
from workflow.commands import ToldPayment
from workflow.comparing import compare_day, csv_lines, day_named, resolve_command
from workflow.errors import OutcomeUnknown, Refused
from workflow.ports import IntentId, IntentsFound
from workflow.replay import replay, verify

LONDON = ZoneInfo("Europe/London")
TODAY = Day(date(2026, 3, 14), LONDON)
EVENING = datetime(2026, 3, 14, 20, 0, tzinfo=UTC)


class Books:
    """Dojo's books as a dict; `silent` ones answer nothing."""

    def __init__(self, *intents, silent=False):
        self.intents, self.silent = {intent.id: intent for intent in intents}, silent

    def search_intents(self, search, on_page):
        if self.silent:
            raise OutcomeUnknown("no answer in time")
        on_page(len(self.intents))
        return IntentsFound(intents=tuple(self.intents.values()), unreadable=0, is_whole=True)

    def read_intent(self, intent_id):
        return self.intents[intent_id]


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def paid(venue, order_id="o1", intent_id="pi_1"):
    """An order that was paid with 10.00, and the intent of which Dojo says that it is so."""
    intent = an_intent(intent_id, transaction_at="2026-03-14T12:00:00Z")
    venue.create(order_id, payments=(ToldPayment(intent_id=IntentId(intent_id), paid=1000),))
    venue.event(intent_id, "Captured")
    venue.settle({intent_id: intent})
    return intent


def differing(intent, by=50):
    return replace(intent, amount=replace_value(intent.amount, by), total=replace_value(intent.total, by))


def replace_value(money, by):
    return type(money)(money.value + by, money.currency)


def look(venue, *intents):
    return compare_day(venue.reads, TODAY, EVENING, intents=Books(*intents)).takings


def resolve(venue, difference, reason="typed in by hand on till 2"):
    return venue.engine.handle(resolve_command(TODAY, difference, reason, "operator:jo"))


def test_a_difference_that_a_person_explained_is_shown_as_resolved_and_asks_for_nobody(venue):
    wrong = differing(paid(venue))
    [found] = look(venue, wrong).unresolved

    assert resolve(venue, found).refusal is None

    after = look(venue, wrong)
    assert after.unresolved == []
    [marked] = after.differences
    assert (marked.kind, marked.amount.value) == ("amount", 50)
    assert (marked.resolution.actor, marked.resolution.reason, marked.resolution.order_id) == (
        "operator:jo",
        "typed in by hand on till 2",
        "o1",
    )


def test_what_was_said_is_an_entry_of_the_journal_which_is_whole_and_replays(venue):
    [found] = look(venue, differing(paid(venue))).unresolved
    resolve(venue, found)

    entry = venue.reads.last_entries(1)[0]
    assert (entry.kind, entry.trigger, entry.actor, entry.cause) == ("operator", "resolve_takings", "operator:jo", "takings:2026-03-14")
    assert (entry.order_id, entry.payment_intent_id) == ("", "pi_1")
    assert entry.entry().body == {
        "amount": {"currencyCode": "GBP", "value": 50},
        "date": "2026-03-14",
        "difference": "amount",
        "order": "o1",
        "reason": "typed in by hand on till 2",
    }
    venue.journal.seal()
    assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).first_bad is None
    assert replay(venue.reads).mismatches == []


def test_the_same_difference_is_explained_once(venue):
    [found] = look(venue, differing(paid(venue))).unresolved
    resolve(venue, found)

    refusal = resolve(venue, found, "again").refusal

    assert isinstance(refusal, Refused)
    assert "by operator:jo" in str(refusal)
    assert venue.reads.last_entries(1)[0].entry().body["reason"] == "typed in by hand on till 2"


def test_a_difference_of_another_amount_asks_again(venue):
    intent = paid(venue)
    [found] = look(venue, differing(intent)).unresolved
    resolve(venue, found)

    assert [each.amount.value for each in look(venue, differing(intent, by=70)).unresolved] == [70]


def test_what_is_said_of_one_day_and_payment_is_said_of_no_other(venue):
    first, second = paid(venue), paid(venue, "o2", "pi_2")
    found = look(venue, differing(first), differing(second))
    resolve(venue, next(one for one in found.differences if one.intent_id == "pi_1"))

    assert [one.intent_id for one in look(venue, differing(first), differing(second)).unresolved] == ["pi_2"]
    assert venue.reads.resolutions("2026-03-15") == []


def test_a_dojo_that_does_not_answer_leaves_our_own_figures_and_says_why(venue):
    paid(venue)
    compared = compare_day(venue.reads, TODAY, EVENING, intents=Books(silent=True))
    assert not compared.asked.is_asked
    assert "no answer in time" in str(compared.asked.failure)
    assert compared.takings.totals[0].till.figures.captured == 1000
    assert compared.takings.totals[0].dojo is None


def test_the_csv_says_whether_what_differs_is_resolved(venue):
    wrong = differing(paid(venue))
    before = list(csv_lines(look(venue, wrong)))
    resolve(venue, look(venue, wrong).differences[0])
    after = list(csv_lines(look(venue, wrong)))
    assert before[1].endswith(",amount,no\r\n")
    assert after[1].endswith(",amount,yes\r\n")


@pytest.mark.parametrize("text", ["", "today", "2026-3-14", "2026-02-30", "0000-01-01", "9999-12-31", "２０２６-03-14", "2026-03-15"])
def test_what_is_no_day_or_has_not_begun_is_refused_in_words(text):
    with pytest.raises(ValueError, match="not a day such as|has not begun yet in Europe/London"):
        day_named(text, LONDON, EVENING)


def test_a_day_begins_when_it_begins_at_the_venue():
    assert day_named("2026-06-15", LONDON, datetime(2026, 6, 14, 23, 0, tzinfo=UTC)).start == datetime(2026, 6, 14, 23, 0, tzinfo=UTC)
    with pytest.raises(ValueError, match="not begun"):
        day_named("2026-06-15", LONDON, datetime(2026, 6, 14, 23, 0, tzinfo=UTC) - timedelta(milliseconds=1))
