"""`tillproof takings`: a day's money, ours beside Dojo's, and the differences by kind."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

import click

from adapters.api.takings_views import day_view
from adapters.cli.acting import actor, reason_option
from adapters.cli.context import Program, json_option, open_journal
from adapters.cli.output import Command, Exit, Failure, Group, emit, end_found, paint, progress, table
from adapters.edge.orders import table_caller
from adapters.settings import Settings
from workflow.books import Day
from workflow.clock import from_text
from workflow.comparing import Asked, Compared, compare_day, csv_lines, day_named, kinds_by_intent, names, resolve_command
from workflow.errors import DojoRefusesUs, short
from workflow.journal.reads import SqliteReads
from workflow.money import Money, with_sign
from workflow.order import Order
from workflow.plurals import plural
from workflow.ports import IntentId
from workflow.takings import KINDS, RECORDING_GRACE, Difference, Row, Takings, Total

ROWS_SHOWN = 20
"""More payments than these are listed only with --all."""

LABEL, TAIL, WIDTH = 10, 14, 78
"""Characters of an order's name and of an intent's end in a table for 80 columns; and of a sentence."""


class _Takings(Group):
    """Without the name of a command, `show` is meant: `tillproof takings 2026-07-03`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The words, `show` put in front where no command is."""
        if not args or not (args[0] in self.commands or args[0] in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Takings, example="tillproof takings show 2026-07-03")
def takings() -> None:
    """Compare a day's money with Dojo's, and say of a difference why it is all right; without a command: show."""


@takings.command("show", cls=Command, example="tillproof takings show 2026-07-03")
@click.argument("date", required=False, metavar="[DATE]")
@click.option("--all", "every", is_flag=True, help=f"List every payment, also where there are more than {ROWS_SHOWN}.")
@click.option("--offline", is_flag=True, help="Leave Dojo out: the till's own figures.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout: a line a payment, amounts such as 48.20.")
@json_option
@click.pass_obj
def takings_show(program: Program, date: str | None, every: bool, offline: bool, as_csv: bool, as_json: bool) -> None:
    """Compare a day's money on the till with Dojo's, payment by payment; exit 1 when they differ.

    DATE is YYYY-MM-DD, today without it; a day goes from midnight to midnight in TIMEZONE. It only reads, and works beside a server.

    A payment belongs to the day of its capture, a refund to the day on which we learnt of it; outstanding is what open bills owed when
    the day ended. When Dojo cannot be asked, the till's figures are shown and the code is 4.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    with open_journal() as (found, reads):
        day = _day(date, found.timezone, program.clock.now())
        compared, failure = _compared(program, found, reads, day, offline=offline)
        called = table_caller(reads)
    result, asked = compared.takings, compared.asked
    if as_csv:
        for line in csv_lines(result):
            click.echo(line.encode(), nl=False)
    else:
        report = _Report(compared, found, called, every=every)
        emit(as_json, day_view(compared, is_whole=not failure), report.lines)
    _end(result, asked, failure)


@takings.command("resolve", cls=Command, example='tillproof takings resolve 2026-07-03 pi_1 --reason "entered by hand on till 2"')
@click.argument("date", metavar="DATE")
@click.argument("intent", metavar="PAYMENT_INTENT_ID")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only the difference of this kind, where the payment has several.")
@reason_option()
@json_option
@click.pass_obj
def takings_resolve(program: Program, date: str, intent: str, kind: str | None, reason: str, as_json: bool) -> None:
    """Say of a day's differences about one payment why they are all right; it is journaled, and they no longer ask for anybody.

    Dojo is asked first, so that what is said is about what differs now: of another amount, a difference asks again.
    """
    with open_journal() as (found, reads):
        day = _day(date, found.timezone, program.clock.now())
        compared, failure = _compared(program, found, reads, day, offline=False)
        about = [one for one in compared.takings.unresolved if one.intent_id == intent and kind in {None, one.kind}]
        if failure:
            raise failure
        if not about:
            what = f"no unresolved difference{f' of the kind {kind}' if kind else ''} about {short(intent)}"
            raise Failure(Exit.FOUND, f"the takings of {date} have {what}", f"tillproof takings {date}")
        for one in about:
            program.ask(found, resolve_command(day, one, reason, actor()))
    emit(
        as_json,
        {"date": date, "resolved": [{"kind": one.kind, "paymentIntentId": one.intent_id, "amount": one.amount} for one in about]},
        lambda: iter([paint(f"Resolved: {KINDS[one.kind][0]}, {with_sign(one.amount)}", "green") for one in about]),
    )


def _day(text: str | None, zone: ZoneInfo, now: datetime) -> Day:
    try:
        return day_named(text, zone, now) if text is not None else Day(now.astimezone(zone).date(), zone)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="DATE") from error


def _compared(program: Program, found: Settings, reads: SqliteReads, day: Day, *, offline: bool) -> tuple[Compared, Failure | None]:
    """The day, and why Dojo could not be asked for everything."""
    has_key = bool(found.dojo_api_key)
    dojo = program.dojo(found) if has_key and not offline else None
    compared = compare_day(reads, day, program.clock.now(), intents=dojo, bar=partial(progress, every=1))
    if not (has_key or offline):
        return compared, Failure(Exit.SETTINGS, "TILLPROOF_DOJO_API_KEY is needed to ask Dojo", "tillproof doctor")
    return compared, _failure(compared.asked.failure) if compared.asked.failure else None


def _failure(error: Exception) -> Failure:
    if isinstance(error, DojoRefusesUs):
        return Failure(Exit.UNREACHABLE, f"Dojo refuses the API key: {error}", "set TILLPROOF_DOJO_API_KEY, then tillproof doctor")
    return Failure(Exit.UNREACHABLE, f"Dojo could not be asked for everything: {error}", "tillproof doctor, or takings --offline")


def _end(result: Takings, asked: Asked, failure: Failure | None) -> None:
    for note in asked.notes:
        click.echo(note, err=True)
    if failure:
        raise failure
    if result.unresolved or not asked.is_whole:
        end_found("tillproof orders list --attention")


def _name(order: Order | None) -> _Name:
    return _Name(*names(order))


class _Name(NamedTuple):
    """What tells people which order; "" for what there is not."""

    order_id: str = ""
    reference: str = ""
    table_id: str = ""


# For people


class _Report:
    def __init__(self, compared: Compared, found: Settings, called: Callable[[str], str], *, every: bool) -> None:
        self._result, self._now, self._venue, self._currency = compared.takings, compared.at, found.venue_name, found.currency
        self._called, self._every, self._is_compared = called, every, compared.asked.is_asked

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
            amount = with_sign(Money(other.figures.net, other.figures.currency))
            yield from _wrapped(
                f"Beside that, {plural(other.count, 'payment')} of this Dojo account for no order of the till: {amount} net"
            )
        if arriving := self._result.arriving:
            minutes = int(RECORDING_GRACE.total_seconds()) // 60
            yield from _wrapped(f"{plural(len(arriving), 'payment')} of the last {minutes} minutes may still be on the way: run it again.")

    def _differences(self) -> Iterator[str]:
        found = self._result.differences
        if not found:
            yield paint("No differences.", "green") if self._is_compared else "Not compared with Dojo."
            return
        resolved = len(found) - len(self._result.unresolved)
        told = f", {resolved:,} of them resolved" if resolved else ""
        yield paint(f"{plural(len(found), 'difference')}{told}:", "red" if self._result.unresolved else "green")
        for kind, (title, advice) in KINDS.items():
            if alike := [one for one in found if one.kind == kind]:
                yield ""
                yield f"  {paint(title, 'red')}: {len(alike):,}"
                yield from _wrapped(advice, 2)
                for one in alike:
                    yield from self._difference(one)
        if order := next((one.order for one in self._result.unresolved if one.order), None):
            yield ""
            yield f"Next: tillproof orders show {order.id}"

    def _difference(self, one: Difference) -> Iterator[str]:
        name = _name(one.order)
        places = [part for part in (name.reference, name.table_id and self._called(name.table_id), name.order_id) if part]
        yield f"    {with_sign(one.amount):<9}  {'  '.join(places) or 'no order of the till'}"
        yield f"{'':15}{one.intent_id}"
        yield from _wrapped(one.detail, 15)
        if said := one.resolution:
            at = from_text(said.at).astimezone(self._result.day.zone)
            yield from _wrapped(f"resolved {at:%Y-%m-%d %H:%M} by {said.actor}: {said.reason}", 15)

    def _rows(self) -> Iterator[str]:
        rows, kinds = self._result.rows, kinds_by_intent(self._result)
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
            _cut(name.reference or (name.table_id and self._place(name.table_id)) or name.order_id or "-"),
            row.intent_id if len(row.intent_id) <= TAIL else f"…{row.intent_id[1 - TAIL :]}",
            _cell(row.till.captured, row.till.currency),
            _cell(dojo.captured, dojo.currency) if dojo else "?" if not row.dojo_status else "-",
            _cell(row.till.tips, row.till.currency),
            _cell(row.till.refunded, row.till.currency),
        )

    def _place(self, table_id: str) -> str:
        """Its name, without the word where both are more than a cell holds."""
        told = self._called(table_id)
        return told if len(told) <= LABEL else told.removeprefix("Table ")


def _total_lines(total: Total) -> Iterator[str]:
    till, dojo, currency = total.till, total.dojo, total.currency
    rows = []
    for name in ("captured", "tips", "refunded", "net"):
        mine, theirs = getattr(till.figures, name), getattr(dojo.figures, name) if dojo else None
        gap = ("-" if mine == theirs else with_sign(Money(mine - theirs, currency))) if theirs is not None else "unknown"
        rows.append((name, with_sign(Money(mine, currency)), with_sign(Money(theirs, currency)) if theirs is not None else "unknown", gap))
    gap = "unknown" if dojo is None else f"{till.count - dojo.count:+,}" if till.count != dojo.count else "-"
    rows.append(("payments", f"{till.count:,}", f"{dojo.count:,}" if dojo else "unknown", gap))
    wide = [(name.ljust(LABEL + 2), *(cell.rjust(LABEL + 4) for cell in cells)) for name, *cells in rows]
    yield from table((currency, "till", "Dojo", "difference"), wide, right={1, 2, 3})
    for amount, name, what in (
        (total.outstanding, "outstanding", f"on {plural(total.open_bills, 'open bill')}"),
        (total.held, "not settled", "held or taken by Dojo, not yet counted here"),
        (total.in_words, "in words", "of the captured: told by Dojo, not yet read there"),
        (total.held_back, "held back", "not captured here: a difference holds it"),
    ):
        if amount or name == "outstanding":
            yield f"{name.ljust(LABEL + 2)}  {with_sign(Money(amount, currency)).rjust(LABEL + 4)}  {what}"


def _wrapped(text: str, indent: int = 0) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _cell(value: int, currency: str) -> str:
    return with_sign(Money(value, currency)) if value else "-"


def _cut(text: str) -> str:
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
