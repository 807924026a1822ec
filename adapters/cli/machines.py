"""`tillproof machine`: the declared machines, those of a journal, and whether the one explains the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import click

from adapters.cli.acting import actor, reason_option
from adapters.cli.context import Program, copy_option, failures, json_option, open_journal
from adapters.cli.output import Command, Exit, Failure, Group, emit, end_found, paint, progress, table
from workflow.case import Machines, declared_machines
from workflow.commands import MigrateOrder
from workflow.declaration import MIGRATE, NOT_THERE, Declaration, declaration_hash, migrated, state_name, words
from workflow.explaining import Change, Stranded, Version, changes, check, declarations, moved_by, regrouped, stranded, versions
from workflow.journal.reads import SqliteReads
from workflow.plurals import plural
from workflow.ports import OrderId
from workflow.retelling import Retold, Verdict
from workflow.verdicts import EXAMPLES, Cause, Verdicts, ordinal, way

CHECK_AGAIN = "declare where they go (migrations in workflow/lifecycle.py), then tillproof machine check"
SAY_GROUPS = "say so in the migration (workflow/lifecycle.py), then tillproof machine check"


@click.group(cls=Group, example="tillproof machine show")
def machine() -> None:
    """The declared machines, and the journals that went by them or by earlier ones."""


@cache
def _machines() -> Machines:
    with failures():
        return declared_machines()


# -- show


@machine.command("show", cls=Command, example="tillproof machine show")
@click.option("--versions", "as_list", is_flag=True, help="List every declaration that was in force with the journal.")
@click.option("--hash", "hash_", help="Show these of the journal's instead: a machine, a hash or its beginning, or both as in order@4f3a.")
@copy_option
@json_option
def machine_show(as_list: bool, hash_: str | None, copy: Path | None, as_json: bool) -> None:
    """Show states and transitions as declared; with --versions or --hash, as they were when the journal's entries were written."""
    if as_list:
        with open_journal(copy) as (_, reads):
            found = versions(reads)
        emit(as_json, {"versions": [_version_view(version) for version in found]}, lambda: _version_lines(found))
        return
    declarations = [each.declaration for each in _machines().values()]
    if hash_ is not None or copy is not None:
        with open_journal(copy) as (_, reads):
            declarations = [version.declaration for version in _of_hash(versions(reads), hash_ or "")]
    emit(as_json, {"machines": [_machine_view(each) for each in declarations]}, lambda: _machine_lines(declarations))


def _of_hash(found: list[Version], hash_: str) -> list[Version]:
    """Those of a machine, of a hash or its beginning, or of both: `order`, `4f3a`, `order@4f3a`."""
    name, at, begins = hash_.rpartition("@")
    if at:
        wanted = [version for version in found if version.name == name and version.hash.startswith(begins)]
    else:
        wanted = [version for version in found if hash_ == version.name or version.hash.startswith(hash_)]
    if not wanted:
        raise Failure(Exit.FOUND, f"the journal keeps no declaration {hash_}", "tillproof machine show --versions")
    return wanted


def _is_present(version: Version) -> bool:
    return version.hash == _machines()[version.name].hash


def _version_view(version: Version) -> dict[str, object]:
    facts = {name: value for name, value in version._asdict().items() if name not in {"declaration", "begun"}}
    return {**facts, "present": _is_present(version)}


def _version_lines(found: list[Version]) -> Iterator[str]:
    rows = [
        (
            version.name,
            version.hash,
            version.first_at,
            f"{version.entries:,}",
            f"{version.first_seq:,} to {version.last_seq:,}" if version.entries else "-",
            "present" if _is_present(version) else "",
        )
        for version in found
    ]
    yield from table(("machine", "hash", "kept since", "entries", "positions", ""), rows, right={3})


def _machine_view(declaration: Declaration) -> dict[str, object]:
    final = words(declaration.final)
    rows = [
        {"trigger": row.when, "from": state_name(source), "to": row.target, "only_if": row.only_if, "sends": list(words(row.then_send))}
        for row in declaration.transitions
        for source in words(row.source)
    ]
    rows += [
        {"trigger": MIGRATE, "from": old, "to": new, "only_if": "always", "sends": list[str]()}
        for old, new in migrated(declaration).items()
    ]
    return {
        "name": declaration.name,
        "hash": declaration_hash(declaration),
        "states": [{"name": state, "final": state in final, "meaning": text} for state, text in declaration.states.items()],
        "transitions": rows,
    }


def _machine_lines(declarations: Iterable[Declaration]) -> Iterator[str]:
    for declaration in declarations:
        final = words(declaration.final)
        yield paint(f"{declaration.name}@{declaration_hash(declaration)}", "cyan")
        for state, meaning in declaration.states.items():
            yield f"  {state:<11} {'final ' if state in final else '      '} {meaning}"
        rows = [(row.when, row.source.replace(NOT_THERE, "(new)"), row.target, row.only_if) for row in declaration.transitions]
        rows += [(MIGRATE, row.source, row.target, row.reason) for row in declaration.migrations]
        yield from ("  " + line for line in table(("when", "from", "to", "only if"), rows))
        yield ""


# -- diff


@machine.command("diff", cls=Command, example="tillproof machine diff --journal /backup/tillproof-2026-07-03.db")
@click.argument("hash_", metavar="[HASH]", default="")
@copy_option
@json_option
def machine_diff(hash_: str, copy: Path | None, as_json: bool) -> None:
    """Show, row by row, what is declared now otherwise than by the declaration HASH of the journal, or by the last one of each machine.

    Exit 1 where anything is. What a guard means is code, and not among the rows: tillproof machine check tells the orders again by it.
    """
    with open_journal(copy) as (_, reads):
        kept = _of_hash(versions(reads), hash_) if hash_ else list(_latest(versions(reads)))
    found = [(each, changes(each.declaration, _machines()[each.name].declaration)) for each in kept]
    views = [
        {"name": each.name, "old": each.hash, "new": _machines()[each.name].hash, "changes": [one._asdict() for one in changed]}
        for each, changed in found
    ]
    emit(as_json, {"machines": views}, lambda: _change_lines(found))
    if any(changed for _, changed in found):
        end_found("tillproof machine check")


def _latest(found: list[Version]) -> Iterator[Version]:
    """Of each machine the declaration that the newest entry went by, or the one that was kept last where none did."""
    for name in dict.fromkeys(version.name for version in found):
        yield max((version for version in found if version.name == name), key=lambda version: (version.last_seq, version.first_at))


def _change_lines(found: list[tuple[Version, list[Change]]]) -> Iterator[str]:
    for version, changed in found:
        now = _machines()[version.name].hash
        yield paint(f"{version.name}: {version.hash} and {now} (present) {'differ' if changed else 'say the same'}", "cyan")
        for one in changed:
            if one.old:
                yield paint(f"  - {one.what} {one.name}: {one.old}", "red")
            if one.new:
                yield paint(f"  + {one.what} {one.name}: {one.new}", "green")


# -- check


@machine.command("check", cls=Command, example="tillproof machine check --journal /backup/tillproof-2026-07-03.db")
@copy_option
@json_option
def machine_check(copy: Path | None, as_json: bool) -> None:
    """Tell every order of a journal again under the machines as they are declared now: would each have gone the same way?

    What its entries hold (Dojo's words, reads, what the till and operators did) is put before the present rows, guards and policies.
    An order is the same; or it differs, with the first entry where it would have gone elsewhere, or sent something else; or it cannot be
    explained, since it rests in a state that is not declared and has no migration, or its entries cannot be applied. Migrations must leave
    old states in the groups that they were in. Exit 0 where all are the same, 1 otherwise, 5 where the journal is damaged. Nothing is
    written, and a server may run.

    What left no entry cannot be told again: requests that changed nothing, or were refused without a trace. What is sent is compared as
    the rows and messages have it, not call by call; the parts of the program that are no rows, guards or policies are not compared.
    """
    machines = _machines()
    with open_journal(copy) as (_, reads), progress("check", size := reads.size()) as show:
        found, sums = [], Verdicts()
        for each in check(reads, machines, show):
            found.append(each)
            sums.add(each)
        wrong = regrouped(declarations(reads).values(), machines)
    names = [each.ident for each in machines.values()]
    emit(as_json, _check_view(names, size, found, sums, wrong), lambda: _check_lines(names, size, sums, wrong))
    if wrong:
        end_found(SAY_GROUPS)
    if sums.counts["unexplained"]:
        end_found(CHECK_AGAIN)
    if sums.counts["differs"]:
        end_found(f"tillproof orders show {sums.causes()[0].examples[0].order_id}; tillproof machine diff; deploy it only if that is meant")
    if sums.to_migrate:
        click.echo("Next: with the server stopped, and this version installed: tillproof machine migrate --dry-run", err=True)


def _check_view(names: list[str], size: int, found: list[Retold], sums: Verdicts, wrong: list[str]) -> dict[str, object]:
    counts = sums.counts
    return {
        "ok": counts["same"] == len(found) and not wrong,
        "machines": names,
        "sum": {"entries": size, "orders": len(found)} | {verdict: counts[verdict] for verdict in _SAID} | {"toMigrate": sums.to_migrate},
        "migrations": wrong,
        "causes": [
            {"verdict": each.verdict, "cause": each.cause, "orders": each.orders, "examples": [one.order_id for one in each.examples]}
            for each in sums.causes()
        ],
        "orders": [_retold_view(each) for each in found],
    }


def _check_lines(names: list[str], size: int, sums: Verdicts, wrong: list[str]) -> Iterator[str]:
    yield f"{plural(sums.orders, 'order')}, {plural(size, 'entry', 'entries')}, told again under {', '.join(names)}"
    for verdict, (said, colour) in _SAID.items():
        yield paint(f"  {sums.counts[verdict]:>9,}  {said}", colour if sums.counts[verdict] else "white")
    if sums.to_migrate:
        yield paint(f"  {sums.to_migrate:>9,}  rest in a state that is to be migrated", "yellow")
    yield from (paint(f"  {problem}", "red") for problem in wrong)
    yield from _cause_lines(sums.causes())


_SAID: dict[Verdict, tuple[str, str]] = {
    "same": ("are the same", "green"),
    "differs": ("differ", "yellow"),
    "unexplained": ("cannot be explained", "red"),
}


def _cause_lines(causes: list[Cause]) -> Iterator[str]:
    for verdict, cause, orders, examples in causes:
        yield ""
        told = "cannot be explained" if verdict == "unexplained" else "differ" if orders > 1 else "differs"
        yield paint(f"{plural(orders, 'order')} {told}: {cause}", _SAID[verdict][1])
        for each in examples:
            yield f"  {each.order_id}, entry {each.seq:,} (its {ordinal(each)}): {way(each)}"
        if orders > EXAMPLES:
            yield f"  and {orders - EXAMPLES:,} more"


def _retold_view(found: Retold) -> dict[str, object]:
    view: dict[str, object] = {"orderId": found.order_id, "verdict": found.verdict, "toMigrate": found.is_to_migrate}
    if found.entry:
        view |= {
            "seq": found.seq,
            "orderSeq": found.entry.order_seq,
            "machine": found.machine,
            "paymentIntentId": found.payment_intent_id,
            "oldState": found.old_state,
            "newState": found.new_state,
            "cause": found.cause,
        }
    return view


# -- migrate


@machine.command("migrate", cls=Command, example='tillproof machine migrate --reason "captured is called taken since 2.0"')
@reason_option(required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be moved; a server may run.")
@json_option
@click.pass_obj
def machine_migrate(program: Program, reason: str | None, dry_run: bool, as_json: bool) -> None:
    """Move whatever rests in a state of an earlier declaration on, as the declared migrations say, with the server stopped.

    Every move is journaled as an entry of its own, with the reason and the declaration that led there; twice is once. Broken off, it is
    begun again by the same command. An order without a migration is left as it is: exit 1 names it.
    """
    if not (dry_run or reason):
        raise click.UsageError("expected --reason TEXT, or --dry-run")
    machines = _machines()
    with open_journal() as (found, reads):
        if wrong := regrouped(declarations(reads).values(), machines):
            raise Failure(Exit.FOUND, "\n".join(wrong), SAY_GROUPS)
        moves = stranded(reads, machines)
        stuck = [each for each in moves if not each.target]
        moves = [each for each in moves if each.target]
        orders = list(dict.fromkeys(each.order_id for each in moves))
        if reason and not dry_run and orders:
            commands = [_migration(reads, order_id, reason, actor()) for order_id in orders]
            with progress("migrate", len(orders), every=1) as show:
                program.migrate(found, commands, show)
    data = {
        "migrated": 0 if dry_run else len(moves),
        "orders": len(orders),
        "moves": [each._asdict() for each in moves],
        "withoutMigration": [each._asdict() for each in stuck],
    }
    emit(as_json, data, lambda: _migrated_lines(moves, stuck, len(orders), dry_run=dry_run))
    if stuck:
        end_found(CHECK_AGAIN)
    if dry_run and moves:
        click.echo("Next: stop the server, then tillproof machine migrate --reason TEXT", err=True)


def _migration(reads: SqliteReads, order_id: str, reason: str, who: str) -> MigrateOrder:
    return MigrateOrder(order_id=OrderId(order_id), reason=reason, actor=who, was=moved_by(reads, order_id))


def _migrated_lines(moves: list[Stranded], stuck: list[Stranded], orders: int, *, dry_run: bool) -> Iterator[str]:
    if not moves and not stuck:
        yield paint("Nothing is to be migrated: every state is declared.", "green")
    for (name, state, target), count in Counter((each.machine, each.state, each.target) for each in moves).items():
        yield f"  {count:>9,}  {name}: {state} → {target}"
    if moves:
        yield paint(
            f"{plural(len(moves), 'move')} of {plural(orders, 'order')} {'to be ' * dry_run}journaled.",
            "yellow" if dry_run else "green",
        )
    for each in stuck[:EXAMPLES]:
        yield paint(f"  {each.order_id}: no migration leads on from {each.machine} {each.state}", "red")
    if len(stuck) > EXAMPLES:
        yield f"  and {len(stuck) - EXAMPLES:,} more"
