"""Every command of `tillproof`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, cast

import click

from adapters.api.views import OrderView, entry_view, order_view
from adapters.cli import doctor as checks
from adapters.cli.demo import Demo
from adapters.cli.output import Command, Exit, Failure, emit, paint, progress, table
from adapters.dojo.capabilities import Difference, RestIntegration, difference, wanted
from adapters.dojo.client import DojoClient
from adapters.sandbox import Sandbox, SandboxError, run_forever
from adapters.settings import Settings, SettingsError, read_settings
from workflow import diagrams, replay
from workflow.case import declared_machines
from workflow.declaration import state_name, words
from workflow.errors import (
    DojoRefusesUs,
    JournalDamaged,
    JournalInUse,
    JournalUnavailable,
    OutcomeUnknown,
    Refused,
    TryAgain,
    UnknownOrder,
    WorkflowError,
)
from workflow.journal.connection import reading
from workflow.journal.keys import UnusableKey, load_or_make_key
from workflow.journal.reads import OrderFilter, SqliteReads, StoredEntry
from workflow.lifecycle import DECLARATIONS

TAIL_SECONDS = 0.5
"""How often `journal tail -f` looks for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the composition root gives: how to serve (the exit code), and a client of Dojo's API."""

    serve: Callable[[Settings], int]
    dojo: Callable[[Settings], DojoClient]


def run(program: Program) -> None:
    """Run the command line; ends the process."""
    cli(obj=program, prog_name="tillproof")


def settings() -> Settings:
    """The settings, or the end with code 3."""
    try:
        return read_settings(os.environ, Path("tillproof.toml"))
    except SettingsError as error:
        raise Failure(Exit.SETTINGS, "\n".join(error.problems), "tillproof doctor") from error


@contextmanager
def failures() -> Iterator[None]:
    """The workflow's errors as exit codes."""
    try:
        yield
    except UnknownOrder as error:
        raise Failure(Exit.FOUND, str(error), "tillproof orders list") from error
    except JournalInUse as error:
        raise Failure(Exit.UNREACHABLE, str(error), "stop the other server, or ask it") from error
    except JournalDamaged as error:
        raise Failure(Exit.DAMAGED, str(error), "tillproof journal verify") from error
    except JournalUnavailable as error:
        raise Failure(Exit.UNREACHABLE, str(error), "tillproof doctor") from error
    except DojoRefusesUs as error:
        raise Failure(
            Exit.UNREACHABLE, f"Dojo refuses the API key: {error}", "set TILLPROOF_DOJO_API_KEY, then tillproof doctor"
        ) from error
    except (TryAgain, OutcomeUnknown, Refused) as error:
        raise Failure(Exit.UNREACHABLE, f"Dojo does not answer as it should: {error}", "tillproof doctor") from error
    except UnusableKey as error:
        raise Failure(Exit.SETTINGS, str(error), "tillproof doctor") from error
    except WorkflowError as error:
        raise Failure(Exit.FOUND, str(error)) from error


@contextmanager
def open_journal() -> Iterator[tuple[Settings, SqliteReads]]:
    """The journal of the settings, read only; its errors become exit codes."""
    found = settings()
    with failures():
        with reading(found.journal):
            pass  # Refuses what is not a journal of ours before anything is asked of it.
        yield found, SqliteReads(found.journal)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The POS side of Dojo's Order and Pay and Pay-only flows, with a journal that proves what happened."""


@cli.command(cls=Command, example="tillproof serve")
@click.pass_obj
def serve(program: Program) -> None:
    """Serve Dojo's side and the venue's side until SIGTERM."""
    found = settings()
    if problems := found.problems_for_serving():
        raise Failure(Exit.SETTINGS, "\n".join(problems), "tillproof doctor")
    raise SystemExit(program.serve(found))


@cli.command(cls=Command, example="tillproof demo")
@click.option("--serve", "keep", is_flag=True, help="Keep the simulator and the service running until Ctrl-C.")
def demo(keep: bool) -> None:
    """Run both flows against the simulator: no key, no network, a journal in a temporary folder."""
    ok = Demo(keep=keep).run()
    raise SystemExit(Exit.FINE if ok else Exit.FOUND)


@cli.command(cls=Command, example="tillproof sandbox --port 8090")
@click.option("--port", default=8090, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--api-key", default="sk_sandbox_local", show_default=True, help="The key that the POS must present.")
def sandbox(port: int, api_key: str) -> None:
    """Run the Dojo simulator alone, for this or any other POS."""
    try:
        run_forever(Sandbox(api_key=api_key, port=port), _say_where)
    except SandboxError as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except OSError as error:
        raise Failure(Exit.UNREACHABLE, f"port {port} cannot be had: {error.strerror}", "tillproof sandbox --port 0") from error


def _say_where(url: str) -> None:
    click.echo(f"Dojo sandbox at {url}  (Ctrl-C to stop)", err=True)
    click.echo(f"Next: TILLPROOF_ENV=test TILLPROOF_DOJO_URL={url} tillproof serve", err=True)


@cli.command(cls=Command, example="tillproof doctor")
@json_option
@click.pass_obj
def doctor(program: Program, as_json: bool) -> None:
    """Check settings, SQLite, files, clock, Dojo and registered capabilities; say how to mend what is wrong."""
    findings = checks.examine(os.environ, Path("tillproof.toml"), program.dojo)
    failed = sum(finding.level == "FAIL" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)

    def lines() -> Iterator[str]:
        for finding in findings:
            colour = {"ok": "green", "FAIL": "red", "warn": "yellow"}.get(finding.level, "white")
            yield f" {paint(finding.level.ljust(5), colour)} {finding.name:<14} {finding.text}"
            if finding.mend:
                yield f"{'':22}Fix: {finding.mend}"
        yield f"{failed} failure{'s' * (failed != 1)}, {warned} warning{'s' * (warned != 1)}"

    emit(as_json, {"findings": [asdict(finding) for finding in findings], "failures": failed, "warnings": warned}, lines)
    raise SystemExit(Exit.FOUND if failed else Exit.FINE)


@cli.command(cls=Command, example="tillproof version")
@json_option
def version(as_json: bool) -> None:
    """Print the version, and that of SQLite."""
    data = {"version": installed_version("tillproof"), "sqlite": checks.sqlite_version(), "python": sys.version.split()[0]}
    emit(as_json, data, lambda: iter([f"tillproof {data['version']} (SQLite {data['sqlite']}, Python {data['python']})"]))


# -- capabilities


@cli.group()
def caps() -> None:
    """What Dojo may ask of this POS: registered, served, and the difference."""


def _registered(program: Program, found: Settings) -> RestIntegration | None:
    if not found.dojo_api_key:
        raise Failure(Exit.SETTINGS, "TILLPROOF_DOJO_API_KEY is needed to ask Dojo", "tillproof doctor")
    with failures():
        integrations = program.dojo(found).integrations()
    return integrations[0] if integrations else None


def _wanted(found: Settings) -> Any:
    needed = {"PUBLIC_URL": found.public_url, "EPOS_USERNAME": found.epos_username, "EPOS_PASSWORD": found.epos_password}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise Failure(Exit.SETTINGS, f"{', '.join('TILLPROOF_' + name for name in missing)}: needed to register", "tillproof doctor")
    return wanted(cast(str, found.public_url), cast(str, found.epos_username), cast(str, found.epos_password))


@caps.command("list", cls=Command, example="tillproof caps list")
@json_option
@click.pass_obj
def caps_list(program: Program, as_json: bool) -> None:
    """Show what Dojo has registered for this POS."""
    found = _registered(program, settings())
    data = {
        "url": found.url if found else None,
        "username": found.username if found else None,
        "capabilities": [{"name": name, "version": version} for name, version in found.capabilities] if found else [],
    }

    def lines() -> Iterator[str]:
        if found is None:
            yield "Nothing is registered: Dojo calls nothing.   Next: tillproof caps register"
            return
        yield f"{found.url}  as {found.username}"
        yield from (f"  {name}  {version}" for name, version in found.capabilities)

    emit(as_json, data, lines)


@caps.command("diff", cls=Command, example="tillproof caps diff")
@json_option
@click.pass_obj
def caps_diff(program: Program, as_json: bool) -> None:
    """Compare what is registered with what this version serves; exit 1 when they differ."""
    found = settings()
    gap = difference(_registered(program, found), _wanted(found))
    emit(as_json, {**asdict(gap), "differs": not gap.is_none}, lambda: _difference_lines(gap))
    raise SystemExit(Exit.FINE if gap.is_none else Exit.FOUND)


def _difference_lines(gap: Difference) -> Iterator[str]:
    if gap.is_none:
        yield "Registered and served are the same."
        return
    yield from (paint(f"+ {name}", "green") + "  served, not registered: Dojo will not call it" for name in gap.missing)
    yield from (paint(f"- {name}", "red") + "  registered, not served here: a register would drop it" for name in gap.extra)
    yield from (f"~ {name}  registered under another version" for name in gap.version_differs)
    if gap.url_differs:
        yield "~ url  Dojo calls another address"
    if gap.username_differs:
        yield "~ username  Dojo presents another one"
    yield "Next: tillproof caps register"


@caps.command("register", cls=Command, example="tillproof caps register")
@json_option
@click.pass_obj
def caps_register(program: Program, as_json: bool) -> None:
    """Register everything that this version serves; the PUT replaces the whole list."""
    found = settings()
    registration = _wanted(found)
    before = difference(_registered(program, found), registration)
    with failures():
        program.dojo(found).register(registration)
    data = {"url": registration.url, "registered": [name for name, _ in registration.capabilities], "dropped": list(before.extra)}

    def lines() -> Iterator[str]:
        yield f"Registered {len(data['registered'])} capabilities for {data['url']}"
        yield from (f"  dropped: {name}" for name in data["dropped"])

    emit(as_json, data, lines)


# -- orders


@cli.group()
def orders() -> None:
    """The orders of the journal."""


@orders.command("list", cls=Command, example="tillproof orders list --limit 20")
@click.option(
    "--state", type=click.Choice([state for d in DECLARATIONS if d.name == "order" for state in d.states]), help="Only in this state."
)
@click.option("--attention", is_flag=True, help="Only orders that need a person.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def orders_list(state: str | None, attention: bool, limit: int, as_json: bool) -> None:
    """List orders, newest first."""
    with open_journal() as (_, reads):
        found = [stored.order for stored in reads.orders(OrderFilter(state=state, attention=attention), limit)]
    machine = declared_machines()["order"].ident
    header = ("order", "reference", "table", "state", "kitchen", "total", "paid", "tips", "attention")

    def lines() -> Iterator[str]:
        rows = [
            (
                str(order.id),
                order.bill.reference or "-",
                (order.bill.details.dine_in.table_id if order.bill.details.dine_in else None) or "-",
                order.state,
                order.status,
                str(order.total),
                str(order.paid),
                str(order.tips),
                ", ".join(item.code for item in order.attention) or "-",
            )
            for order in found
        ]
        yield from table(header, rows) if rows else iter(["No orders."])

    emit(as_json, {"data": [order_view(order, machine) for order in found]}, lines)


@orders.command("show", cls=Command, example="tillproof orders show tp_019ab2c4d5e6")
@click.argument("order_id")
@json_option
def orders_show(order_id: str, as_json: bool) -> None:
    """Show one order: its state, its payments, what needs a person, and its entries."""
    with open_journal() as (_, reads):
        stored = reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {order_id}")
        entries = list(reads.entries(order_id=order_id))
    view = order_view(stored.order, declared_machines()["order"].ident)
    emit(as_json, view, lambda: _order_lines(view, entries))


def _order_lines(view: OrderView, entries: list[StoredEntry]) -> Iterator[str]:
    yield f"{view.id}  {view.flow}  {view.reference or ''}  table {view.table_id or '-'}"
    yield f"state    {view.state}   kitchen {view.status}   payable {'yes' if view.payable else 'no'}"
    yield f"money    {view.total_amount} total, {view.paid_amount} paid, {view.tips_amount} tips"
    for payment in view.payments:
        refunded = f", {payment.refunded_amount} refunded" if payment.refunded_amount.value else ""
        yield f"payment  {payment.payment_intent_id}  {payment.state}  {payment.paid_amount} + {payment.tips_amount} tip{refunded}"
    for item in view.attention:
        yield paint(f"needs a person: {item.code} since {item.since}: {item.detail}", "red")
    yield ""
    yield from _entry_lines(entries)


def _entry_lines(entries: list[StoredEntry]) -> Iterator[str]:
    for entry in entries:
        step = f"{entry.from_state or '*'} -> {entry.to_state}" if entry.kind == "transition" else ""
        machine = entry.machine.partition("@")[0]
        what = f"{machine} {entry.trigger} {step}".strip() or f"{entry.kind} {entry.trigger}".strip()
        whose = f"{entry.order_id or '-'} #{entry.order_seq}"
        why = f"[{entry.actor}; {entry.cause}]"
        yield f"{entry.seq:>7}  {entry.at}  {whose}  {what}  {entry.payment_intent_id}  {why}"


# -- the journal


@cli.group()
def journal() -> None:
    """Prove, replay and read the journal."""


@journal.command("verify", cls=Command, example="tillproof journal verify")
@json_option
def journal_verify(as_json: bool) -> None:
    """Check every hash, chain, checkpoint and signature, the witness, and SQLite's own integrity; exit 1 names the first fault."""
    with open_journal() as (found, reads):
        key = load_or_make_key(found.signing_key).public_key() if found.signing_key.exists() else None
        with progress("verify", reads.size()) as show:
            result = replay.verify(reads, found.witness, key, show)
    data = {
        "ok": result.ok,
        "entries": result.entries,
        "orders": result.orders,
        "checkpoint": result.checkpoint._asdict() if result.checkpoint else None,
        "witness": {"size": result.witness.size if result.witness else 0, "ok": result.witness_ok},
        "first_bad": asdict(result.first_bad) if result.first_bad else None,
    }

    def lines() -> Iterator[str]:
        if result.first_bad:
            yield paint(f"NOT WHOLE: entry {result.first_bad.seq}: {result.first_bad.reason}", "red")
            return
        yield paint("The journal is whole.", "green")
        yield f"  {result.entries:,} entries of {result.orders:,} orders, hashed and chained"
        if result.checkpoint:
            yield f"  newest checkpoint: {result.checkpoint.size} {result.checkpoint.root}"
        yield f"  signatures {'checked' if key else 'not checked: no key at ' + str(found.signing_key)}"
        yield f"  witness at {result.witness.size}" if result.witness else "  no witness file: a lost tail could not be noticed"

    emit(as_json, data, lines)
    raise SystemExit(Exit.FINE if result.ok else Exit.FOUND)


@journal.command("replay", cls=Command, example="tillproof journal replay")
@click.option("--until", type=click.IntRange(min=0), help="Only the entries up to this position; nothing is compared then.")
@json_option
def journal_replay(until: int | None, as_json: bool) -> None:
    """Rebuild every order from entries alone and compare with what is stored; exit 1 on a difference."""
    with open_journal() as (_, reads), progress("replay", until or reads.size()) as show:
        result = replay.replay(reads, until=until, progress=show)

    def lines() -> Iterator[str]:
        if result.ok:
            yield paint("Replay equals what is stored." if until is None else f"Replayed up to entry {result.entries}.", "green")
        yield from (paint(f"DIFFERS: {mismatch}", "red") for mismatch in result.mismatches)
        yield f"  {result.entries:,} entries, {result.orders:,} orders, digest {result.digest}"

    emit(as_json, {**asdict(result), "ok": result.ok}, lines)
    raise SystemExit(Exit.FINE if result.ok else Exit.FOUND)


@journal.command("head", cls=Command, example="tillproof journal head")
@json_option
def journal_head(as_json: bool) -> None:
    """Print how many entries there are and the root of their tree: `SIZE ROOT`."""
    with open_journal() as (_, reads):
        head = replay.head(reads)
    emit(as_json, head._asdict(), lambda: iter([f"{head.size} {head.root}"]))


@journal.command("tail", cls=Command, example="tillproof journal tail -f")
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(0, 100_000), help="How many of the newest entries.")
@click.option("-f", "--follow", is_flag=True, help="Go on as new ones come, until Ctrl-C.")
@json_option
def journal_tail(count: int, follow: bool, as_json: bool) -> None:
    """Print the newest entries, oldest first; one JSON object a line with --json."""
    with open_journal() as (_, reads):
        entries = reads.last_entries(count)
        last = reads.size() if not entries else entries[-1].seq
        _print_entries(entries, as_json)
        while follow:
            time.sleep(TAIL_SECONDS)
            entries = list(reads.entries(after=last))
            last = entries[-1].seq if entries else last
            _print_entries(entries, as_json)


def _print_entries(entries: list[StoredEntry], as_json: bool) -> None:
    if as_json:
        for entry in entries:
            emit(True, entry_view(entry), lambda: iter(()))
    else:
        emit(False, None, lambda: _entry_lines(entries))


# -- the machines


@cli.group()
def machine() -> None:
    """The declared machines."""


@machine.command("show", cls=Command, example="tillproof machine show")
@json_option
def machine_show(as_json: bool) -> None:
    """Show states and transitions as declared."""
    emit(as_json, {"machines": [_machine_view(name) for name in declared_machines()]}, _machine_lines)


def _machine_view(name: str) -> dict[str, object]:
    found = declared_machines()[name]
    return {
        "name": found.name,
        "hash": found.hash,
        "states": [{"name": state, "final": state in found.final, "meaning": text} for state, text in found.declaration.states.items()],
        "transitions": [
            {"trigger": row.when, "from": state_name(source), "to": row.target, "only_if": row.only_if, "sends": list(words(row.then_send))}
            for row in found.declaration.transitions
            for source in words(row.source)
        ],
    }


def _machine_lines() -> Iterator[str]:
    for found in declared_machines().values():
        yield paint(f"{found.ident}", "cyan")
        for state, meaning in found.declaration.states.items():
            yield f"  {state:<11} {'final ' if state in found.final else '      '} {meaning}"
        rows = [(row.when, row.source.replace("-", "(new)"), row.target, row.only_if) for row in found.declaration.transitions]
        yield from ("  " + line for line in table(("when", "from", "to", "only if"), rows))
        yield ""


@cli.command(cls=Command, example="tillproof diagram --machine order")
@click.option("--machine", "name", type=click.Choice([declaration.name for declaration in DECLARATIONS]), help="Only this machine.")
@click.option("--format", "form", type=click.Choice(["mermaid"]), default="mermaid", show_default=True)
@click.option("--check", is_flag=True, help="Exit 1 when diagrams/ does not show what is declared.")
@click.option("--write", is_flag=True, help="Draw diagrams/ anew.")
def diagram(name: str | None, form: str, check: bool, write: bool) -> None:
    """Draw the declared machines."""
    folder = Path(__file__).resolve().parents[2] / "diagrams"
    if write:
        diagrams.write(folder)
        click.echo(f"drawn: {', '.join(diagrams.files())}", err=True)
    elif check:
        if stale := diagrams.stale(folder):
            raise Failure(Exit.FOUND, f"stale in diagrams/: {', '.join(stale)}", "tillproof diagram --write")
        click.echo("diagrams/ shows what is declared.", err=True)
    else:
        for declaration in DECLARATIONS:
            if name in (None, declaration.name):
                click.echo(diagrams.mermaid(declaration), nl=False)
