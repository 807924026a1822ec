"""`tillproof attention`: what needs a person, and what the person did about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from adapters.api.views import OpenAttention, attention_views
from adapters.cli.acting import actor, reason_option
from adapters.cli.context import Program, failures, json_option, open_journal, settings
from adapters.cli.orders import attention_lines
from adapters.cli.output import Command, Group, emit
from adapters.edge.orders import table_caller
from adapters.edge.strict_json import visible
from workflow.attention import concerns
from workflow.commands import ResolveOrder, ResolveVenue
from workflow.journal.reads import SqliteReads
from workflow.lifecycle import ATTENTION, RESOLUTIONS
from workflow.ports import OrderId

ACTIONS = tuple(each.action for each in RESOLUTIONS if each.action != "accept_lost_tail")
"""What may be done while the journal is served; a lost tail is accepted by `journal accept-lost-tail`."""


@click.group(cls=Group, example="tillproof attention list")
def attention() -> None:
    """What needs a person, and what settles it."""


@attention.command("list", cls=Command, example="tillproof attention list --code AMOUNT_MISMATCH")
@click.option("--code", metavar="CODE", type=click.Choice([*ATTENTION]), help="Only this, such as OVERPAID.")
@json_option
def attention_list(code: str | None, as_json: bool) -> None:
    """List what needs a person, the most urgent first: since when, why, and what to do next.

    As it is journaled: what stands in the running server alone (a full disk) is in its /readyz and at /api/attention.
    """
    with open_journal() as (_, reads):
        found, called = _standing(reads, code), table_caller(reads)
    emit(as_json, {"data": found}, lambda: _lines(found, called, "Nothing needs a person."))


@attention.command("resolve", cls=Command, example='tillproof attention resolve acknowledge --order tp_019ab2c4d5e6 --reason "compared"')
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.option("--order", "order_id", help="Of this order; without it what concerns no order is meant.")
@click.option("--intent", "intent_id", default="", help="Only of this payment; without it all that the action is for.")
@click.option(
    "--code", metavar="CODE", default="", type=click.Choice(["", *ATTENTION]), help="This one thing alone, of --intent or of none."
)
@reason_option()
@json_option
@click.pass_obj
def attention_resolve(program: Program, action: str, order_id: str | None, intent_id: str, code: str, reason: str, as_json: bool) -> None:
    """Settle what needs a person: through the running server where there is one.

    ACTION is read_again, acknowledge, accept_difference, detach_payment or mark_given_back: docs/when-something-is-wrong.md says what each
    does, and which codes it is for. What is left to do is shown.
    """
    found, who = settings(), actor()
    with failures(refused="tillproof attention list"):
        if order_id:
            order = OrderId(order_id)
            program.ask(found, ResolveOrder(order_id=order, action=action, reason=reason, actor=who, intent_id=intent_id, code=code))
        else:
            program.ask(found, ResolveVenue(action=action, reason=reason, actor=who, intent_id=intent_id, code=code))
    with open_journal() as (_, reads):
        left, called = [each for each in _standing(reads) if each.order_id == (order_id or "")], table_caller(reads)

    def lines() -> Iterator[str]:
        yield f"{action} is journaled."
        yield from _lines(left, called, f"Nothing else of {f'order {order_id}' if order_id else 'no order'} needs a person.")

    emit(as_json, {"action": action, "orderId": order_id or "", "left": left}, lines)


def _standing(reads: SqliteReads, code: str | None = None) -> list[OpenAttention]:
    return attention_views(concerns(reads.attention_with_orders(code)), table_caller(reads))


def _lines(found: Sequence[OpenAttention], called: Callable[[str], str], none: str) -> Iterator[str]:
    for item in found:
        at_table = f"  {visible(called(item.table_id))}" if item.table_id else ""
        yield f"order {item.order_id}{at_table}" if item.order_id else "of no order"
        yield from attention_lines(item)
    if not found:
        yield none
