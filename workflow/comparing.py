"""A day's money put beside Dojo's books: what Dojo is asked, and what people have said of the differences.

Dojo is asked first, and our books are read afterwards: what is captured meanwhile is then missing on Dojo's side, where a read by id finds
it, and never on the till's. A difference that a person has explained stands as long as the figures are what they were; it is marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from workflow.books import ORDERS_AT_ONCE, Books, Day, books_of, orders_of
from workflow.clock import from_text, to_text
from workflow.commands import ResolveTakings
from workflow.errors import DojoRefusesUs, IntentNotFound, OutcomeUnknown, Refused, TryAgain, WorkflowError
from workflow.export import csv_line
from workflow.journal.reads import SqliteReads
from workflow.money import Money
from workflow.order import Order
from workflow.ports import IntentBooks, IntentId, IntentSearch, PaymentIntent
from workflow.replay import Bar, no_bar
from workflow.takings import SEARCH_BACK, SEARCHED_STATUSES, Difference, Figures, Row, Takings, touches, unseen
from workflow.takings import takings as compare

MAX_READS = 1_000
"""Payment intents that are read one by one because the search did not show them; more of them stay unknown, and we say so."""

CSV_COLUMNS = (
    *("date", "payment_intent_id", "order_id", "reference", "table_id", "state"),
    *("recorded_at", "currency", "captured", "tips", "refunded", "in_words", "held_back"),
    *("dojo_status", "dojo_captured_at", "dojo_currency", "dojo_captured", "dojo_tips", "dojo_refunded"),
    *("differences", "resolved"),
)


@dataclass(slots=True)
class Asked:
    """What Dojo said. `known` has None for an intent that Dojo does not have; `failure` is why it could not be asked, or not everything."""

    is_asked: bool = False
    is_whole: bool = True
    known: dict[IntentId, PaymentIntent | None] = field(default_factory=dict)
    failure: WorkflowError | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A day's money as it was at `at`, the till's `books` behind it, and what Dojo was asked."""

    takings: Takings
    books: Books
    asked: Asked
    at: datetime


def day_named(text: str, zone: ZoneInfo, now: datetime) -> Day:
    """The venue's day `YYYY-MM-DD`. Raises ValueError, in words, where that is none, or has not begun at `now`."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError("not of that form")
        day = Day(date.fromisoformat(text), zone)
        has_begun = day.start <= now
        to_text(day.end)
        from_text(to_text(day.start - SEARCH_BACK))  # What Dojo is asked for: years without four digits have no such text.
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:40]!r} is not a day such as 2026-07-03") from error
    if not has_begun:
        raise ValueError(f"{text} has not begun yet in {zone.key}")
    return day


def compare_day(reads: SqliteReads, day: Day, now: datetime, *, intents: IntentBooks | None, bar: Bar = no_bar) -> Compared:
    """The day beside Dojo's `intents`, or ours alone; what people have explained is marked.

    Dojo's errors are in `asked`: what is known without it is there. Raises JournalUnavailable, JournalDamaged, and what `bar` raises.
    """
    asked = _search(intents, day, bar) if intents else Asked()
    books = _books(reads, day, [one for one in asked.known.values() if one and touches(one, day)], bar)
    if intents and asked.is_asked:
        _read_unseen(asked, intents, unseen(books, day, asked.known), bar)
    found = compare(books, day, asked.known if asked.is_asked else None, now)
    return Compared(takings=with_resolutions(found, reads), books=books, asked=asked, at=now)


def ours_alone(books: Books, reads: SqliteReads, day: Day, now: datetime) -> Compared:
    """The day by the till's `books`, beside nothing; what people have explained is marked. Raises JournalUnavailable, JournalDamaged."""
    return Compared(takings=with_resolutions(compare(books, day, None, now), reads), books=books, asked=Asked(), at=now)


def _books(reads: SqliteReads, day: Day, intents: list[PaymentIntent], bar: Bar) -> Books:
    books, order_ids = Books(), orders_of(reads, day, intents)
    with bar("add up orders", len(order_ids)) as show:
        for number, part in enumerate(books_of(reads, order_ids, until=to_text(day.end)), start=1):
            books.take_in(part)
            if number % ORDERS_AT_ONCE == 0:
                show(number)
    return books


def _search(intents: IntentBooks, day: Day, bar: Bar) -> Asked:
    search = IntentSearch(statuses=SEARCHED_STATUSES, start=day.start - SEARCH_BACK, end=day.end)
    try:
        with bar("ask Dojo for payment intents:", None) as show:
            answer = intents.search_intents(search, show)
    except _NO_ANSWER as error:
        return Asked(failure=error)
    asked = Asked(is_asked=True, is_whole=answer.is_whole, known={one.id: one for one in answer.intents})
    if not answer.is_whole:
        asked.notes.append(f"Dojo's list was cut after {len(answer.intents):,} payment intents: what is only at Dojo may be missing.")
    if answer.unreadable:
        asked.notes.append(f"{answer.unreadable:,} payment intents of Dojo's list could not be read; ours among them are read one by one.")
    return asked


def _read_unseen(asked: Asked, intents: IntentBooks, wanted: list[IntentId], bar: Bar) -> None:
    """Read those that the search did not show, one by one; the first answer that is none ends it."""
    if len(wanted) > MAX_READS:
        asked.is_whole = False
        asked.notes.append(f"{len(wanted) - MAX_READS:,} payments of ours were not looked up at Dojo: there are too many.")
    with bar("read at Dojo", min(len(wanted), MAX_READS)) as show:
        for number, intent_id in enumerate(wanted[:MAX_READS], start=1):
            try:
                asked.known[intent_id] = intents.read_intent(intent_id)
            except IntentNotFound:
                asked.known[intent_id] = None
            except _NO_ANSWER as error:
                asked.failure = error
                return
            show(number)


_NO_ANSWER = (DojoRefusesUs, Refused, TryAgain, OutcomeUnknown)


def with_resolutions(found: Takings, reads: SqliteReads) -> Takings:
    """The same day with what people have said of its differences, as the journal has it now."""
    said = {(one.kind, one.intent_id, one.amount): one for one in reads.resolutions(found.day.date.isoformat())}
    marked = [replace(one, resolution=said.get((one.kind, one.intent_id, one.amount))) for one in found.differences]
    return replace(found, differences=marked)


def resolve_command(day: Day, difference: Difference, reason: str, actor: str) -> ResolveTakings:
    """What says of a difference why it is all right."""
    return ResolveTakings(
        date=day.date.isoformat(),
        kind=difference.kind,
        intent_id=difference.intent_id,
        amount=difference.amount,
        order_id=difference.order.id if difference.order else "",
        reason=reason,
        actor=actor,
    )


def kinds_by_intent(found: Takings) -> dict[IntentId, list[str]]:
    """The kinds of difference of each payment intent that has any."""
    kinds: dict[IntentId, list[str]] = {}
    for one in found.differences:
        kinds.setdefault(one.intent_id, []).append(one.kind)
    return {intent_id: sorted(set(each)) for intent_id, each in kinds.items()}


def names(order: Order | None) -> tuple[str, str, str]:
    """What tells people which order, its table and its id: (order id, reference, table id), "" for what there is not."""
    if order is None:
        return "", "", ""
    dine_in = order.bill.details.dine_in
    return order.id, order.bill.reference or "", (dine_in and dine_in.table_id) or ""


def csv_lines(found: Takings) -> Iterator[str]:
    """The day as CSV: the names of the columns, then a line a payment, amounts such as 48.20."""
    kinds = kinds_by_intent(found)
    open_ = {one.intent_id for one in found.differences if not one.resolution}
    yield csv_line(CSV_COLUMNS)
    for row in found.rows:
        has = kinds.get(row.intent_id, [])
        yield csv_line((*_cells(row, found.day), " ".join(has), ("no" if row.intent_id in open_ else "yes") if has else ""))


def _cells(row: Row, day: Day) -> Iterator[str]:
    ours, dojo = row.till, row.dojo
    yield from (day.date.isoformat(), row.intent_id, *names(row.order), row.state)
    yield from (_text(row.recorded_at), ours.currency, *_decimals(ours), "yes" if row.in_words else "", row.held_back)
    yield from (row.dojo_status, _text(row.captured_at), dojo.currency if dojo else "", *(_decimals(dojo) if dojo else ("", "", "")))


def _text(moment: datetime | None) -> str:
    return to_text(moment) if moment else ""


def _decimals(figures: Figures) -> Iterator[str]:
    """Captured, tips and refunded as `48.20`: no sign of the currency, no thousands."""
    return (Money(value, figures.currency).decimal() for value in (figures.captured, figures.tips, figures.refunded))
