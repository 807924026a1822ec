"""`tillproof diagram`: the declared machines, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from adapters.cli import recording
from adapters.cli.context import json_option, open_journal
from adapters.cli.output import Command, Exit, Failure, emit
from workflow import diagrams
from workflow.case import declared_machines
from workflow.declaration import Declaration, declaration_hash
from workflow.entry import Entry
from workflow.errors import UnknownOrder
from workflow.explaining import declarations
from workflow.lifecycle import DECLARATIONS, ORDER


@click.command(cls=Command, example="tillproof diagram --machine order --format svg")
@click.option("--machine", "name", type=click.Choice([declaration.name for declaration in DECLARATIONS]), help="Only this machine.")
@click.option("--order", "order_id", help="Number the path that this order took, and mark its present state.")
@click.option("--format", "form", type=click.Choice(diagrams.FORMATS), default="mermaid", show_default=True)
@click.option("--check", is_flag=True, help="Exit 1 when diagrams/ does not show what is declared.")
@click.option("--write", is_flag=True, help="Draw diagrams/ anew.")
@click.option("--record", is_flag=True, help="Play both flows, record what goes over the wire, and draw diagrams/ anew.")
@json_option
def diagram(*, name: str | None, order_id: str | None, form: str, check: bool, write: bool, record: bool, as_json: bool) -> None:
    """Draw the declared machines, or the way of one order through them: the machine that it last went by, and what it took of others."""
    folder = Path(__file__).resolve().parents[2] / "diagrams"
    if record:
        recording.record(folder)
    if write or record:
        diagrams.write(folder)
        emit(as_json, {"drawn": list(diagrams.files(folder))}, lambda: iter(()))
        click.echo(f"drawn: {', '.join(diagrams.files(folder))}", err=True)
    elif check:
        stale = diagrams.stale(folder)
        emit(as_json, {"stale": stale}, lambda: iter(()))
        if stale:
            raise Failure(Exit.FOUND, f"stale in diagrams/: {', '.join(stale)}", "tillproof diagram --write")
        click.echo("diagrams/ shows what is declared.", err=True)
    else:
        default = [declaration.name for declaration in DECLARATIONS] if not order_id else [ORDER.name]
        wanted = [declaration for declaration in DECLARATIONS if declaration.name in ([name] if name else default)]
        drawn = [picture for declaration in wanted for picture in _draw(declaration, form, order_id)]
        emit(as_json, {"format": form, "diagrams": drawn}, lambda: (picture["text"].removesuffix("\n") for picture in drawn))


def _draw(declaration: Declaration, form: str, order_id: str | None) -> Iterator[dict[str, str]]:
    """The machine alone, or with the way of an order through it: for payments one picture an intent, without any the machine alone."""
    present = declared_machines()[declaration.name].hash
    if order_id is None:
        yield {"name": declaration.name, "hash": present, "text": diagrams.render(declaration, form)}
        return
    entries, kept = _entries_of(order_id)
    by = {entry.payment_intent_id: entry.machine for entry in entries if entry.machine_name == declaration.name}
    for intent_id, machine in (by or {"": ""}).items():
        then = _in_order(kept.get(machine, declaration), declaration)
        if (hash_ := declaration_hash(then)) != present:
            click.echo(f"drawn as it was declared when the order last moved: {machine} (now {declaration.name}@{present})", err=True)
        taken = diagrams.path_taken(entries, declaration.name, intent_id)
        about = {"name": then.name, "hash": hash_, "orderId": order_id, "paymentIntentId": intent_id}
        yield about | {"text": diagrams.render(then, form, taken)}


def _in_order(then: Declaration, now: Declaration) -> Declaration:
    """The declaration with its states as they follow each other now: stored, they are in no order of their own."""
    return then._replace(states={state: then.states[state] for state in [*now.states, *then.states] if state in then.states})


def _entries_of(order_id: str) -> tuple[list[Entry], dict[str, Declaration]]:
    """The order's entries, oldest first, and the declarations that the journal keeps, by `name@hash`."""
    with open_journal() as (_, reads):
        entries = [stored.entry() for stored in reads.entries(order_id=order_id)]
        if not entries:
            raise UnknownOrder(f"no order {order_id}")
        return entries, declarations(reads)
