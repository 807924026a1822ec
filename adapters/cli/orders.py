"""`tillproof orders`: the orders of the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import click

from adapters.api.views import BY_ID, AttentionView, OrderView, attention_views, order_view, past_order_view, told_order_view
from adapters.cli.context import Position, Program, bill_template, json_option, open_journal
from adapters.cli.erasing import erase_orders
from adapters.cli.output import Command, Exit, Failure, Group, emit, paint, table
from adapters.cli.receipt import LEAST_WIDTH, MOST_WIDTH, USUAL_WIDTH, receipt
from adapters.edge.order_filter import order_query
from adapters.edge.orders import bill_answer, table_caller, tables_of
from adapters.edge.strict_json import BadInput, visible
from adapters.settings import Settings
from workflow import export, export_orders
from workflow.attention import concerns, of_order
from workflow.audit import TOLD
from workflow.case import declared_machines
from workflow.clock import to_text
from workflow.errors import NotYet, PositionUnknown, UnknownOrder
from workflow.journal.reads import OrderFilter, SqliteReads, StoredEntry
from workflow.lifecycle import ORDER
from workflow.order import FLOWS, Order
from workflow.past import PersonalThen, order_at
from workflow.situation import Spelling, situation_of

LISTED = 50
"""Orders, where nobody says how many."""
EVERY = -1
"""As a limit of a question to the journal: those that need a person are few."""


@click.group(cls=Group, example="tillproof orders list --attention")
def orders() -> None:
    """The orders of the journal."""


@orders.command("list", cls=Command, example="tillproof orders list --limit 20")
@click.option("--search", metavar="TEXT", help="A reference, table, order id or payment intent, whole.")
@click.option("--state", metavar="STATE", type=click.Choice([*ORDER.states]), help="Only in this state, such as captured.")
@click.option("--flow", metavar="FLOW", type=click.Choice(FLOWS), help=f"Only of this flow: {', '.join(FLOWS)}.")
@click.option("--table", "table_", metavar="TABLE", help="Only at this table, by its id or name.")
@click.option("--from", "first", metavar="DATE", help="Made on this day or later, such as 2026-07-03; a day is one of TIMEZONE.")
@click.option("--to", "last", metavar="DATE", help="Made on this day or earlier.")
@click.option("--attention", is_flag=True, help="Only orders that need a person.")
@click.option("--limit", type=click.IntRange(1, 10_000), help=f"How many at most.  [default: {LISTED}; all with --format]")
@click.option("--format", "form", type=click.Choice(export.FORMATS), help="Print a line an order on stdout, newest first, for programs.")
@json_option
def orders_list(attention: bool, limit: int | None, form: str | None, as_json: bool, table_: str | None, **given: str | None) -> None:
    """List orders, newest first.

    With --attention: what is paid at Dojo and not on the till, oldest first, then the gravest; each with why, and what to do next. What
    concerns no order stands among them where nothing else is asked for, with --json under "service".
    """
    if form and as_json:
        raise click.UsageError("--format and --json exclude each other")
    machine = declared_machines()["order"].ident
    names = {"first": "from", "last": "to"}
    asked = {names.get(name, name): value for name, value in {**given, "table": table_}.items() if value is not None}
    with open_journal() as (settings, reads):
        wanted = replace(_order_filter(asked, settings, reads), attention=attention)
        if form:
            with export_orders.order_file(reads, wanted, form, settings.timezone, limit) as file:
                for chunk in iter(partial(file.read, export.CHUNK_CHARACTERS), b""):
                    click.echo(chunk, nl=False)
            return
        if attention:
            _list_attention(reads, wanted, limit or LISTED, machine, is_all=not asked, as_json=as_json)
            return
        found, called = [stored.order for stored in reads.orders(wanted, limit or LISTED)], table_caller(reads)

    def lines() -> Iterator[str]:
        yield from order_table(found, called) if found else iter(["No orders." if not asked else "No such orders."])

    emit(as_json, {"data": [order_view(order, machine, called) for order in found]}, lines)


def _order_filter(asked: dict[str, str], settings: Settings, reads: SqliteReads) -> OrderFilter:
    try:
        return order_query(asked).filter(settings.timezone, tables_of(reads))
    except BadInput as error:
        raise click.BadParameter(error.message, param_hint=f"--{error.field}") from error


def order_table(found: Sequence[Order], called: Callable[[str], str] = str) -> Iterator[str]:
    """A line an order, for people; a table as it is `called` by its id."""
    header = ("order", "reference", "table", "state", "kitchen", "total", "paid", "tips", "attention")
    rows = [
        (
            str(order.id),
            order.bill.reference or "-",
            _table(order, called),
            order.state,
            order.status,
            str(order.total),
            str(order.paid),
            str(order.tips),
            ", ".join(item.code for item in of_order(order)) or "-",
        )
        for order in found
    ]
    return table(header, rows)


def _list_attention(reads: SqliteReads, wanted: OrderFilter, limit: int, machine: str, *, is_all: bool, as_json: bool) -> None:
    """What needs a person, the most urgent first: of at most `limit` orders, and of none where all are asked for."""
    pairs, called = reads.attention_with_orders(), table_caller(reads)
    known = {str(stored.order.id): stored.order for stored in reads.orders(wanted, EVERY)}
    urgent = concerns(pairs)
    listed = {order_id: known[order_id] for order_id in dict.fromkeys(item.order_id for item in urgent) if order_id in known}
    listed = dict(islice(listed.items(), limit))
    shown = [item for item in urgent if item.order_id in listed or (not item.order_id and is_all)]

    def lines() -> Iterator[str]:
        for item in attention_views(shown, called):
            order = listed.get(item.order_id)
            yield _of_order(order, called) if order else "of no order"
            yield from attention_lines(item)
            yield ""
        if not shown:
            yield "Nothing needs a person."

    of_none = attention_views(item for item in shown if not item.order_id)
    emit(as_json, {"data": [order_view(order, machine, called) for order in listed.values()], "service": of_none}, lines)


def _table(order: Order, called: Callable[[str], str]) -> str:
    table_id = order.bill.details.dine_in.table_id if order.bill.details.dine_in else None
    return called(table_id) if table_id else "-"


def _of_order(order: Order, called: Callable[[str], str]) -> str:
    reference = f"{visible(order.bill.reference)}  " if order.bill.reference else ""
    return f"{order.id}  {reference}{visible(_table(order, called))}  {order.state}  {order.paid} of {order.total} paid"


def attention_lines(item: AttentionView) -> Iterator[str]:
    """What needs a person, since when, why, and what to do next, for people."""
    whose = f" (payment {item.payment_intent_id})" if item.payment_intent_id else ""
    yield paint(f"  {item.code} since {item.since}{whose}: {visible(item.detail)}", "red")
    yield f"    why   {visible(item.why)}"
    yield f"    next  {item.next}"


@orders.command("show", cls=Command, example="tillproof orders show tp_019ab2c4d5e6")
@click.argument("order_id")
@click.option("--at", "seq", type=Position(1), help="A position in the journal: the order as it was then.")
@json_option
@click.pass_obj
def orders_show(program: Program, order_id: str, seq: int | None, as_json: bool) -> None:
    """Show one order: why it is so and what is next, its state, its payments, what needs a person, and its entries.

    With --at the order is shown as it was when the journal had so many entries, from its entries up to there alone.
    """
    if seq is not None:
        _show_past(order_id, seq, as_json=as_json)
        return
    with open_journal() as (_, reads):
        stored = reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {order_id}")
        entries = list(reads.entries(order_id=order_id))
        called = table_caller(reads)
        told = situation_of(reads, stored.order, to_text(program.clock.now()), Spelling(table=called))
    view = told_order_view(stored.order, declared_machines()["order"].ident, told, called)
    emit(as_json, view, lambda: _order_lines(view, entries, called))


def _show_past(order_id: str, seq: int, *, as_json: bool) -> None:
    with open_journal() as (_, reads):
        try:
            past = order_at(reads, order_id, seq)
        except PositionUnknown as error:
            raise click.BadParameter(str(error), param_hint="--at") from error
        except NotYet as error:
            raise Failure(Exit.FOUND, str(error), f"tillproof orders show {order_id} --at {error.began}") from error
    view = past_order_view(past)

    def lines() -> Iterator[str]:
        yield paint(f"THE PAST: order {view.id} as it was at entry {past.seq}, {past.at}", "yellow")
        later = f"{past.since:,} of its entries came later" if past.since != 1 else "one of its entries came later"
        yield f"{later}; as it is now: tillproof orders show {view.id}" if past.since else "nothing of it came later: so it is now"
        yield ""
        yield from _order_lines(view, past.entries)
        yield ""
        yield f"personal data, never in the journal: {_PERSONAL[past.personal]}"

    emit(as_json, view, lines)


_PERSONAL: dict[PersonalThen, str] = {
    "none": "there was none",
    "kept": "kept beside it, as it was then",
    "changed": "kept beside it, but changed since",
    "gone": "there was some, which is not kept any more",
}


@orders.command("bill", cls=Command, example="tillproof orders bill tp_019ab2c4d5e6 --width 42")
@click.argument("order_id")
@click.option("--width", default=USUAL_WIDTH, show_default=True, type=click.IntRange(LEAST_WIDTH, MOST_WIDTH), help="Columns of the paper.")
@json_option
def orders_bill(order_id: str, width: int, as_json: bool) -> None:
    """Print an order's bill, as a receipt printer has it; with --json as Dojo gets it, notes and customer included."""
    with open_journal() as (found, reads):
        template = bill_template(found)
        stored = reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {order_id}")
        bill = bill_answer(stored.order, stored.personal, template, tables_of(reads), found.timezone)
    emit(as_json, bill, lambda: receipt(bill, found.timezone, width))


orders.add_command(erase_orders)


def _order_lines(view: OrderView, entries: list[StoredEntry], called: Callable[[str], str] = BY_ID) -> Iterator[str]:
    yield f"{view.id}  {view.flow}  {visible(view.reference or '')}  {visible(called(view.table_id)) if view.table_id else 'no table'}"
    if view.why and view.next:
        yield paint(f"why      {visible(view.why)}", "cyan")
        yield paint(f"next     {visible(view.next)}", "cyan")
    yield f"state    {view.state}   kitchen {view.status}   payable {'yes' if view.payable else 'no'}"
    if view.erased_at:
        yield f"personal erased at {view.erased_at}"
    yield f"money    {view.total_amount} total, {view.paid_amount} paid, {view.tips_amount} tips"
    for payment in view.payments:
        refunded = f", {payment.refunded_amount} refunded" if payment.refunded_amount.value else ""
        yield f"payment  {payment.payment_intent_id}  {payment.state}  {payment.paid_amount} + {payment.tips_amount} tip{refunded}"
    if view.attention:
        yield "needs a person:"
    for item in view.attention:
        yield from attention_lines(item)
    yield ""
    yield from entry_lines(entries)


def entry_lines(entries: list[StoredEntry]) -> Iterator[str]:
    """One line an entry, for people."""
    for entry in entries:
        whose = f"{entry.order_id or '-'} #{entry.order_seq}"
        intent_id = f"  {entry.payment_intent_id}" if entry.payment_intent_id else ""
        why = f"[{entry.actor}; {entry.cause}]"
        yield visible(f"{entry.seq:>7}  {entry.at}  {whose}  {happened(entry)}{intent_id}  {why}")


def happened(entry: StoredEntry) -> str:
    """A transition by machine, trigger and states; anything else by its kind and what it is about."""
    if entry.kind == "transition":
        return f"{entry.machine.partition('@')[0]} {entry.trigger} {entry.from_state or '*'} -> {entry.to_state}"
    facts = entry.entry().body
    told = (str(facts[name]) for name in TOLD if facts.get(name) and not (entry.kind == "check" and name == "outcome"))
    return " ".join(word for word in (entry.kind, entry.trigger, *told) if word)
