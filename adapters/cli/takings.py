"""`tillproof takings`: a day's money, ours beside Dojo's, and the differences by kind."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import click

from adapters.cli.context import Program, json_option, open_journal
from adapters.cli.output import Command, Exit, Failure, count, emit, end_found, paint, progress, table
from adapters.dojo.client import DojoClient, IntentSearch
from adapters.settings import Settings
from workflow.books import Books, Day, read_books
from workflow.clock import from_text, to_text
from workflow.errors import DojoRefusesUs, IntentNotFound, OutcomeUnknown, Refused, TryAgain
from workflow.export import csv_line
from workflow.money import Money
from workflow.order import Order
from workflow.ports import IntentId, PaymentIntent
from workflow.takings import (
    KINDS,
    RECORDING_GRACE,
    SEARCH_BACK,
    SEARCHED_STATUSES,
    Difference,
    Figures,
    Row,
    Sum,
    Takings,
    Total,
    shown,
    touches,
    unseen,
)
from workflow.takings import takings as compare

ROWS_SHOWN = 20
"""More payments than these are listed only with --all."""

MAX_READS = 1_000
"""Payment intents that are read one by one because the search did not show them; more of them stay unknown, and we say so."""

LABEL, TAIL, WIDTH = 10, 14, 78
"""Characters of an order's name and of an intent's end in a table for 80 columns; and of a sentence."""

CSV_COLUMNS = (
    *("date", "payment_intent_id", "order_id", "reference", "table_id", "state"),
    *("recorded_at", "currency", "captured", "tips", "refunded", "in_words", "held_back"),
    *("dojo_status", "dojo_captured_at", "dojo_currency", "dojo_captured", "dojo_tips", "dojo_refunded"),
    "differences",
)


@click.command(cls=Command, example="tillproof takings 2026-07-03")
@click.argument("date", required=False, metavar="[DATE]")
@click.option("--all", "every", is_flag=True, help=f"List every payment, also where there are more than {ROWS_SHOWN}.")
@click.option("--offline", is_flag=True, help="Leave Dojo out: the till's own figures.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout: a line a payment, amounts such as 48.20.")
@json_option
@click.pass_obj
def takings(program: Program, date: str | None, every: bool, offline: bool, as_csv: bool, as_json: bool) -> None:
    """Compare a day's money on the till with Dojo's, payment by payment; exit 1 when they differ.

    DATE is YYYY-MM-DD, today without it; a day goes from midnight to midnight in TIMEZONE. It only reads, and works beside a server.

    A payment belongs to the day of its capture, a refund to the day on which we learnt of it; outstanding is what open bills owed when
    the day ended. When Dojo cannot be asked, the till's figures are shown and the code is 4.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    now = program.clock.now()
    with open_journal() as (found, reads):
        day = _day(date, found.timezone, now)
        # Dojo first: what is captured meanwhile is then missing at Dojo's side, where a read by id finds it, and never on the till's.
        dojo = _Asked() if offline else _search(program, found, day)
        books = read_books(reads, day, [one for one in dojo.known.values() if one and touches(one, day)])
        if dojo.client:
            _read_unseen(dojo, dojo.client, unseen(books, day, dojo.known))
    result = compare(books, day, dojo.known if dojo.is_asked else None, now)
    if as_csv:
        _print_csv(result)
    else:
        report = _Report(result, books, now, found, every=every, is_compared=dojo.is_asked)
        emit(as_json, _data(result, books, dojo), report.lines)
    _end(result, dojo)


def _day(text: str | None, zone: ZoneInfo, now: datetime) -> Day:
    if text is None:
        return Day(now.astimezone(zone).date(), zone)
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError("not of that form")
        day = Day(Date.fromisoformat(text), zone)
        has_begun = day.start <= now
        to_text(day.end)
        from_text(to_text(day.start - SEARCH_BACK))  # What Dojo is asked for: years without four digits have no such text.
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is not a day such as 2026-07-03", param_hint="DATE") from error
    if not has_begun:
        raise click.BadParameter(f"{text} has not begun yet in {zone.key}", param_hint="DATE")
    return day


# Asking Dojo


@dataclass(slots=True)
class _Asked:
    """What Dojo said. `known` has None for an intent that Dojo does not have; `failure` is why it could not be asked."""

    client: DojoClient | None = None
    is_asked: bool = False
    is_whole: bool = True
    known: dict[IntentId, PaymentIntent | None] = field(default_factory=dict)
    failure: Failure | None = None
    notes: list[str] = field(default_factory=list)


def _search(program: Program, found: Settings, day: Day) -> _Asked:
    if not found.dojo_api_key:
        return _Asked(failure=Failure(Exit.SETTINGS, "TILLPROOF_DOJO_API_KEY is needed to ask Dojo", "tillproof doctor"))
    client = program.dojo(found)
    search = IntentSearch(statuses=SEARCHED_STATUSES, start=day.start - SEARCH_BACK, end=day.end)
    try:
        with progress("ask Dojo for payment intents:", None) as show:
            answer = client.search_intents(search, show)
    except (DojoRefusesUs, Refused, TryAgain, OutcomeUnknown) as error:
        return _Asked(failure=_failure(error))
    dojo = _Asked(client=client, is_asked=True, is_whole=answer.is_whole, known={one.id: one for one in answer.intents})
    if not answer.is_whole:
        dojo.notes.append(f"Dojo's list was cut after {len(answer.intents):,} payment intents: what is only at Dojo may be missing.")
    if answer.unreadable:
        dojo.notes.append(f"{answer.unreadable:,} payment intents of Dojo's list could not be read; ours among them are read one by one.")
    return dojo


def _read_unseen(dojo: _Asked, client: DojoClient, wanted: list[IntentId]) -> None:
    """Read those that the search did not show, one by one; the first answer that is none ends it."""
    if len(wanted) > MAX_READS:
        dojo.is_whole = False
        dojo.notes.append(f"{len(wanted) - MAX_READS:,} payments of ours were not looked up at Dojo: there are too many.")
    with progress("read at Dojo", min(len(wanted), MAX_READS), every=1) as show:
        for number, intent_id in enumerate(wanted[:MAX_READS], start=1):
            try:
                dojo.known[intent_id] = client.read_intent(intent_id)
            except IntentNotFound:
                dojo.known[intent_id] = None
            except (DojoRefusesUs, Refused, TryAgain, OutcomeUnknown) as error:
                dojo.failure = _failure(error)
                return
            show(number)


def _failure(error: Exception) -> Failure:
    if isinstance(error, DojoRefusesUs):
        return Failure(Exit.UNREACHABLE, f"Dojo refuses the API key: {error}", "set TILLPROOF_DOJO_API_KEY, then tillproof doctor")
    return Failure(Exit.UNREACHABLE, f"Dojo could not be asked for everything: {error}", "tillproof doctor, or takings --offline")


def _end(result: Takings, dojo: _Asked) -> None:
    for note in dojo.notes:
        click.echo(note, err=True)
    if dojo.failure:
        raise dojo.failure
    if result.differences or not dojo.is_whole:
        end_found("tillproof orders list --attention")


# For programs


def _data(result: Takings, books: Books, dojo: _Asked) -> dict[str, object]:
    kinds = _kinds(result)
    return {
        "date": result.day.date.isoformat(),
        "timezone": result.day.zone.key,
        "from": to_text(result.day.start),
        "to": to_text(result.day.end),
        "dojo": {"asked": dojo.is_asked, "whole": dojo.is_asked and dojo.is_whole and not dojo.failure, "notes": dojo.notes},
        "totals": [_total_data(total) for total in result.totals],
        "differences": [_difference_data(one) for one in result.differences],
        "payments": [_row_data(row, kinds.get(row.intent_id, [])) for row in result.rows],
        "arriving": [row.intent_id for row in result.arriving],
        "otherTakings": [_sum_data(one) for one in result.others],
        "openBills": [
            {**_order_data(books.orders[bill.order_id]), "owed": bill.owed, "held": bill.held}
            for bill in sorted(books.open_bills, key=lambda bill: bill.order_id)
        ],
    }


def _kinds(result: Takings) -> dict[IntentId, list[str]]:
    kinds: dict[IntentId, list[str]] = {}
    for one in result.differences:
        kinds.setdefault(one.intent_id, []).append(one.kind)
    return {intent_id: sorted(set(found)) for intent_id, found in kinds.items()}


def _total_data(total: Total) -> dict[str, object]:
    parts = ("in_words", "held_back", "outstanding", "held")
    names = ("inWords", "heldBack", "outstanding", "held")
    return {
        "currency": total.currency,
        "till": _sum_data(total.till),
        "dojo": total.dojo and _sum_data(total.dojo),
        **{name: Money(getattr(total, part), total.currency) for name, part in zip(names, parts, strict=True)},
        "openBills": total.open_bills,
    }


def _sum_data(one: Sum) -> dict[str, object]:
    return {"payments": one.count, **_figures_data(one.figures)}


def _figures_data(figures: Figures) -> dict[str, Money]:
    values = {"captured": figures.captured, "tips": figures.tips, "refunded": figures.refunded, "net": figures.net}
    return {name: Money(value, figures.currency) for name, value in values.items()}


def _order_data(order: Order | None) -> dict[str, str | None]:
    name = _name(order)
    return {"orderId": name.order_id or None, "reference": name.reference or None, "tableId": name.table_id or None}


def _difference_data(one: Difference) -> dict[str, object]:
    return {"kind": one.kind, **_order_data(one.order), "paymentIntentId": one.intent_id, "amount": one.amount, "detail": one.detail}


def _row_data(row: Row, kinds: list[str]) -> dict[str, object]:
    return {
        "paymentIntentId": row.intent_id,
        **_order_data(row.order),
        "state": row.state or None,
        "recordedAt": _text(row.recorded_at) or None,
        "inWords": row.in_words,
        "heldBack": row.held_back or None,
        "till": _figures_data(row.till),
        "dojo": row.dojo and _figures_data(row.dojo),
        "dojoStatus": row.dojo_status or None,
        "dojoCapturedAt": _text(row.captured_at) or None,
        "differences": kinds,
    }


def _text(moment: datetime | None) -> str:
    return to_text(moment) if moment else ""


def _print_csv(result: Takings) -> None:
    kinds = _kinds(result)
    click.echo(csv_line(CSV_COLUMNS).encode(), nl=False)
    for row in result.rows:
        name, ours, dojo = _name(row.order), row.till, row.dojo or Figures(currency="")
        values = (
            *(result.day.date.isoformat(), row.intent_id, name.order_id, name.reference, name.table_id, row.state),
            *(_text(row.recorded_at), ours.currency, *_decimals(ours)),
            *("yes" if row.in_words else "", row.held_back, row.dojo_status, _text(row.captured_at), dojo.currency),
            *(_decimals(dojo) if row.dojo else ("", "", "")),
            " ".join(kinds.get(row.intent_id, [])),
        )
        click.echo(csv_line(values).encode(), nl=False)


def _decimals(figures: Figures) -> Iterator[str]:
    """Captured, tips and refunded as `48.20`: no sign of the currency, no thousands."""
    return (Money(value, figures.currency).decimal() for value in (figures.captured, figures.tips, figures.refunded))


class _Name(NamedTuple):
    """What tells people which order; "" for what there is not."""

    order_id: str = ""
    reference: str = ""
    table_id: str = ""


def _name(order: Order | None) -> _Name:
    if order is None:
        return _Name()
    dine_in = order.bill.details.dine_in
    return _Name(order.id, order.bill.reference or "", (dine_in and dine_in.table_id) or "")


# For people


class _Report:
    def __init__(self, result: Takings, books: Books, now: datetime, found: Settings, *, every: bool, is_compared: bool) -> None:
        self._result, self._books, self._now, self._venue, self._currency = result, books, now, found.venue_name, found.currency
        self._every, self._is_compared = every, is_compared

    def lines(self) -> Iterator[str]:
        """Totals first, those in the venue's own currency before others, then the differences, then the payments."""
        yield from self._heading()
        for total in sorted(self._result.totals, key=lambda total: total.currency != self._currency):
            yield ""
            yield from _total_lines(total)
        if not self._result.totals:
            yield f"No money moved{'' if self._is_compared else ' on the till'}, and no bill is open."
        yield from self._beside()
        yield ""
        yield from self._differences()
        yield from self._rows()

    def _heading(self) -> Iterator[str]:
        day, end = self._result.day, self._result.day.end
        yield f"Takings of {day.date:%A} {day.date.day} {day.date:%B %Y}, {self._venue} ({day.zone.key})"
        if self._now < end:
            yield f"The day is not over: as of {self._now.astimezone(day.zone):%H:%M}."
        if (hours := (end - day.start).total_seconds() / 3600) != 24:
            yield f"The clocks changed: this day has {hours:g} hours."

    def _beside(self) -> Iterator[str]:
        for other in self._result.others:
            amount = shown(Money(other.figures.net, other.figures.currency))
            yield from _wrapped(f"Beside that, {count(other.count, 'payment')} of this Dojo account for no order of the till: {amount} net")
        if arriving := self._result.arriving:
            minutes = int(RECORDING_GRACE.total_seconds()) // 60
            yield from _wrapped(f"{count(len(arriving), 'payment')} of the last {minutes} minutes may still be on the way: run it again.")

    def _differences(self) -> Iterator[str]:
        found = self._result.differences
        if not found:
            yield paint("No differences.", "green") if self._is_compared else "Not compared with Dojo."
            return
        yield paint(f"{count(len(found), 'difference')}:", "red")
        for kind, (title, advice) in KINDS.items():
            if alike := [one for one in found if one.kind == kind]:
                yield ""
                yield f"  {paint(title, 'red')}: {len(alike):,}"
                yield from _wrapped(advice, 2)
                for one in alike:
                    yield from self._difference(one)
        if order := next((one.order for one in found if one.order), None):
            yield ""
            yield f"Next: tillproof orders show {order.id}"

    def _difference(self, one: Difference) -> Iterator[str]:
        name = _name(one.order)
        places = [part for part in (name.reference, f"table {name.table_id}" if name.table_id else "", name.order_id) if part]
        yield f"    {shown(one.amount):<9}  {'  '.join(places) or 'no order of the till'}"
        yield f"{'':15}{one.intent_id}"
        yield from _wrapped(one.detail, 15)

    def _rows(self) -> Iterator[str]:
        rows, kinds = self._result.rows, _kinds(self._result)
        if not rows:
            return
        yield ""
        if len(rows) > ROWS_SHOWN and not self._every:
            yield f"{len(rows):,} payments; --all lists them"
            return
        header = ("  time", "order", "payment", "till", "Dojo", "tips", "refunded")
        yield from table(header, [self._row(row, kinds) for row in rows], right={3, 4, 5, 6})

    def _row(self, row: Row, kinds: Mapping[IntentId, list[str]]) -> tuple[str, ...]:
        name = _name(row.order)
        at = row.at.astimezone(self._result.day.zone) if row.at else None
        time = "-" if at is None else f"{at:%H:%M}" if at.date() == self._result.day.date else f"{at:%d/%m}"
        dojo = row.dojo
        return (
            f"{'!' if row.intent_id in kinds else ' '} {time}",
            _cut(name.reference or name.table_id or name.order_id or "-"),
            row.intent_id if len(row.intent_id) <= TAIL else f"…{row.intent_id[1 - TAIL :]}",
            _cell(row.till.captured, row.till.currency),
            _cell(dojo.captured, dojo.currency) if dojo else "?" if not row.dojo_status else "-",
            _cell(row.till.tips, row.till.currency),
            _cell(row.till.refunded, row.till.currency),
        )


def _total_lines(total: Total) -> Iterator[str]:
    till, dojo, currency = total.till, total.dojo, total.currency
    rows = []
    for name in ("captured", "tips", "refunded", "net"):
        mine, theirs = getattr(till.figures, name), getattr(dojo.figures, name) if dojo else None
        gap = ("-" if mine == theirs else shown(Money(mine - theirs, currency))) if theirs is not None else "unknown"
        rows.append((name, shown(Money(mine, currency)), shown(Money(theirs, currency)) if theirs is not None else "unknown", gap))
    gap = "unknown" if dojo is None else f"{till.count - dojo.count:+,}" if till.count != dojo.count else "-"
    rows.append(("payments", f"{till.count:,}", f"{dojo.count:,}" if dojo else "unknown", gap))
    wide = [(name.ljust(LABEL + 2), *(cell.rjust(LABEL + 4) for cell in cells)) for name, *cells in rows]
    yield from table((currency, "till", "Dojo", "difference"), wide, right={1, 2, 3})
    for amount, name, what in (
        (total.outstanding, "outstanding", f"on {count(total.open_bills, 'open bill')}"),
        (total.held, "authorised", "held by Dojo, not yet captured"),
        (total.in_words, "in words", "of the captured: told by Dojo, not yet read there"),
        (total.held_back, "held back", "not captured here: a difference holds it"),
    ):
        if amount or name == "outstanding":
            yield f"{name.ljust(LABEL + 2)}  {shown(Money(amount, currency)).rjust(LABEL + 4)}  {what}"


def _wrapped(text: str, indent: int = 0) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _cell(value: int, currency: str) -> str:
    return shown(Money(value, currency)) if value else "-"


def _cut(text: str) -> str:
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
