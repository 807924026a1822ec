"""`tillproof journal`: prove, replay and read the journal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.api.keys import keys_view, rotated_view
from adapters.cli.acting import actor, reason_option
from adapters.cli.context import (
    Position,
    Program,
    copy_option,
    failures,
    json_option,
    key_option,
    needed_key,
    next_command,
    open_journal,
    settings,
    signing_key,
    trusted_key,
)
from adapters.cli.output import Command, Exit, Failure, Group, emit, end_found, paint, progress
from adapters.cli.past import past_data, past_lines
from adapters.cli.tail import tail
from adapters.settings import Settings
from workflow import export, replay, sealing
from workflow.clock import Clock
from workflow.errors import HeadRegressed, PositionUnknown
from workflow.journal.copying import new_file
from workflow.journal.witness import Head, Witnessed, read_head
from workflow.past import venue_at
from workflow.plurals import plural
from workflow.proof import SOURCES, Prover, Waiting
from workflow.verification import Fault, Verification

NO_WITNESS = "has no line about this journal, as it has from the first entry on: nothing tells whether its tail is missing"
LOST_TAIL = next_command(HeadRegressed(), "")
DAMAGED = "stop the server, keep the file, and put the newest sealed copy in its place, on another disk; then tillproof journal verify"
BAD_WITNESS = "compare the witness with a copy of it, or put it aside: the next start begins a new one; then tillproof journal verify"


@click.group(cls=Group, example="tillproof journal verify")
def journal() -> None:
    """Prove, replay and read the journal."""


@journal.command("verify", cls=Command, example="tillproof journal verify")
@copy_option
@key_option
@json_option
@click.pass_obj
def journal_verify(program: Program, copy: Path | None, pinned: Ed25519PublicKey | None, as_json: bool) -> None:
    """Check every hash, chain, checkpoint and signature, the witness, and SQLite's own integrity; exit 1 names the first fault.

    Exit 5 where the file is damaged: what is stored there cannot be read, or SQLite's own check says so. From one key that is trusted,
    old or new, the journal's others follow. A copy may be older than the witness, whose line about the copy's size or just below is then
    compared.
    """
    with open_journal(copy) as (found, reads), _reading(found.witness):
        key = trusted_key(pinned, found)
        newest = read_head(found.witness)
        seen = Witnessed(found.witness, at_most=reads.size() if copy else None)
        result = replay.verify_beside(reads, seen, key, program.clock, progress)
    following = _after(result)
    if result.ok and result.entries and not (seen.newest or copy):
        result.first_bad, result.witness_ok = Fault(seq=0, reason=f"{found.witness} {NO_WITNESS}"), False
        following = "put the witness back, or set TILLPROOF_WITNESS to it, then tillproof journal verify"

    def lines() -> Iterator[str]:
        if result.first_bad:
            yield paint(f"{'DAMAGED' if result.first_bad.is_damage else 'NOT WHOLE'}: {result.first_bad}", "red")
            yield f"  until then {_entries_of_orders(result)} held"
            return
        yield from _whole(result, "checked" if key else f"not checked: no key at {found.signing_key}")
        if newest and newest.size > result.entries:
            since = plural(newest.size - result.entries, "entry", "entries")
            yield paint(f"  an older state: the witness has seen {since} since", "yellow")

    emit(as_json, _verified(result), lines)
    if result.first_bad:
        end_found(following, Exit.DAMAGED if result.first_bad.is_damage else Exit.FOUND)


def _after(result: Verification) -> str:
    """What to do about the first fault."""
    if result.first_bad and result.first_bad.is_damage:
        return DAMAGED
    if not result.knows_key:
        return "give the key that signs it, tillproof journal verify --key KEY"
    if result.first_bad and not result.witness_ok:
        return LOST_TAIL if result.first_bad.seq else BAD_WITNESS
    return "tillproof journal replay"


def _verified(result: Verification) -> dict[str, Any]:
    """For programs, as INTERFACE §5 has it."""
    bad = result.first_bad
    return {
        "ok": result.ok,
        "entries": result.entries,
        "orders": result.orders,
        "checkpoint": result.checkpoint._asdict() if result.checkpoint else None,
        "checkpoints": result.checkpoints,
        "witness_lines": result.witness_lines,
        "witness": {"size": result.witness.size if result.witness else 0, "ok": result.witness_ok},
        "first_bad": {"seq": bad.seq, "reason": bad.reason} if bad else None,
    }


def _whole(result: Verification, signatures: str) -> Iterator[str]:
    yield paint("The journal is whole.", "green")
    yield f"  {_entries_of_orders(result)}, hashed and chained, each move as declared"
    yield f"  {_signed(result)}"
    yield f"  signatures {signatures}"
    if len(result.keys) > 1:
        yield f"  {len(result.keys)} keys, each brought in by the one before it: {', '.join(result.keys)}"
    yield f"  {_witnessed(result)}"


def _entries_of_orders(result: Verification | sealing.Sealed) -> str:
    return f"{plural(result.entries, 'entry', 'entries')} of {plural(result.orders, 'order')}"


def _signed(result: Verification) -> str:
    if not result.checkpoint:
        return "no checkpoint: nothing of it is signed"
    behind = result.entries - result.checkpoint.size
    told = f"{plural(result.checkpoints, 'checkpoint')}, the newest: {result.checkpoint.size} {result.checkpoint.root}"
    return told + (f", {plural(behind, 'entry', 'entries')} behind: not signed yet" if behind > 0 else "")


def _witnessed(result: Verification) -> str:
    if not result.witness:
        return "no line of a witness: a lost tail could not be noticed"
    behind = result.entries - result.witness.size
    told = f"{plural(result.witness_lines, 'line')} of the witness, the newest at {result.witness.size}"
    return told + (f", {plural(behind, 'entry', 'entries')} behind: their loss could not be noticed" if behind > 0 else "")


@contextmanager
def _reading(witness: Path) -> Iterator[None]:
    """A witness that cannot be read ends the command with 4; whatever else fails has its own errors."""
    try:
        yield
    except OSError as error:
        raise Failure(Exit.UNREACHABLE, f"cannot read the witness {witness}: {error.strerror}", "tillproof doctor") from error


@journal.command("replay", cls=Command, example="tillproof journal replay")
@click.option("--until", type=Position(0), help="A position: the venue as it was then; nothing is compared.")
@copy_option
@json_option
def journal_replay(until: int | None, copy: Path | None, as_json: bool) -> None:
    """Rebuild every order from entries alone and compare with what is stored; exit 1 on a difference.

    The views of a sealed copy are made anew and compared too. With --until the venue is shown as it was when the journal had so many
    entries: orders by state and those that were open, locks, what needed a person, calls that were not made, guests, and what the till
    had said.
    """
    with open_journal(copy) as (found, reads):
        size = reads.size()
        try:
            result = replay.replay(reads, until=until, bar=progress)
        except PositionUnknown as error:
            raise click.BadParameter(str(error), param_hint="--until") from error
        if until is None:
            result.mismatches.extend(sealing.view_mismatches(copy or found.journal, progress))
    past = None if until is None else venue_at(result.rebuilt)

    def lines() -> Iterator[str]:
        if past:
            yield from past_lines(past, size)
            yield ""
        elif result.ok:
            yield paint("Replay equals what is stored.", "green")
        yield from (paint(f"DIFFERS: {mismatch}", "red") for mismatch in result.mismatches)
        if result.differences > replay.MAX_MISMATCHES:
            yield paint(f"DIFFERS: {result.differences - replay.MAX_MISMATCHES:,} more than are named here", "red")
        yield f"  {plural(result.entries, 'entry', 'entries')}, {plural(result.orders, 'order')}, digest {result.digest}"

    data = {
        "ok": result.ok,
        "entries": result.entries,
        "orders": result.orders,
        "mismatches": result.mismatches,
        "digest": result.digest,
    }
    emit(as_json, data | (past_data(past, result.rebuilt.machines) if past else {}), lines)
    if not result.ok:
        end_found("tillproof journal verify")


@journal.command("head", cls=Command, example="tillproof journal head")
@copy_option
@json_option
def journal_head(copy: Path | None, as_json: bool) -> None:
    """Print how many entries there are and the root of their tree: `SIZE ROOT`."""
    with open_journal(copy) as (_, reads):
        head = replay.head(reads)
    emit(as_json, head._asdict(), lambda: iter([f"{head.size} {head.root}"]))


@journal.command("tail", cls=Command, example="tillproof journal tail -f")
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(0, 100_000), help="How many of the newest entries.")
@click.option("-f", "--follow", is_flag=True, help="Go on as new ones come, until Ctrl-C.")
@json_option
def journal_tail(count: int, follow: bool, as_json: bool) -> None:
    """Print the newest entries, oldest first; one JSON object a line with --json.

    With -f it stays with the journal, also where the server is started again or a copy is put in its place.
    """
    with open_journal() as (found, _):
        tail(found.journal, count, follow=follow, as_json=as_json)


@journal.command("export", cls=Command, example="tillproof journal export --format csv")
@click.option("--format", "form", type=click.Choice(export.FORMATS), default="jsonl", show_default=True)
@click.option("--from", "first", type=Position(1), default=1, show_default=True, help="First position.")
@click.option("--to", "last", type=Position(1), help="Last position; without it, to the end.")
@click.option("--output", type=click.Path(path_type=Path), help="A new file instead of stdout; it gets its name once it is whole.")
@copy_option
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl: an object a line.")
def journal_export(form: str, first: int, last: int | None, output: Path | None, copy: Path | None, as_json: bool) -> None:
    """Print every entry, as JSON Lines or CSV: the same bytes for the same journal, everywhere.

    UTF-8 without a byte order mark. In JSON Lines a body is an object, whose canonical JSON is the text that was hashed. In CSV no text is
    a formula to a spreadsheet; in Excel, take Data, From Text/CSV, 65001: Unicode (UTF-8).
    """
    if last is not None and last < first:
        raise click.BadParameter(f"expected a position from {first} on, got {last}", param_hint="--to")
    with open_journal(copy) as (_, reads), _sink(output) as sink:
        size = reads.size()
        with progress("export", max(0, min(last or size, size) - first + 1), every=1) as show:
            for count, chunk in export.chunks(reads, "jsonl" if as_json else form, first, last):
                sink.write(chunk)
                show(count)


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Stdout, or a new file that appears once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _new(output, "--output") as draft, draft.open("wb") as file:
        yield file


@contextmanager
def _new(file: Path, hint: str) -> Iterator[Path]:
    """A file under another name until it is whole; where its own is taken, the command was wrong."""
    _expect_new(file, hint)
    try:
        with new_file(file) as draft:
            yield draft
    except FileExistsError as error:
        raise _taken(file, hint) from error


def _expect_new(file: Path, hint: str) -> None:
    if not file.parent.is_dir():
        raise click.BadParameter(f"expected a file in a directory that is there, got {file}", param_hint=hint)
    if os.path.lexists(file):
        raise _taken(file, hint)


def _taken(file: Path, hint: str) -> click.BadParameter:
    return click.BadParameter(f"expected a new file, got {file}, which is there", param_hint=hint)


@journal.command("seal", cls=Command, example="tillproof journal seal /backup/tillproof-2026-07-03.db")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-personal", is_flag=True, help="For handing over: leave out what customers and guests said of themselves.")
@click.option("--metadata", "with_metadata", is_flag=True, help="Also write FILE.metadata.json, for datasette FILE -m FILE.metadata.json.")
@copy_option
@key_option
@json_option
@click.pass_obj
def journal_seal(
    program: Program,
    file: Path,
    without_personal: bool,
    with_metadata: bool,
    copy: Path | None,
    pinned: Ed25519PublicKey | None,
    as_json: bool,
) -> None:
    """Copy the journal, in use or not, to a new file, signed, verified and replayed: for a backup, and for handing over.

    The copy is one file (0600) that any SQLite viewer opens, also where nothing can be written; its views, named audit_*, and their
    descriptions are for auditors. Nothing is ever replaced, and what is not whole is not kept.

    A backup has everything and can be put back. For an auditor take --without-personal: no name, phone number, e-mail address or note of
    a customer or guest is in it, nor the secret by which they could be guessed; it verifies and replays alike. What staff are called
    (names in TOKENS, waiters' ids, reasons) is part of the entries and stays.

    Without the signing key, and with --journal, it is signed as far as its source was, and says how far that is.
    """
    companion = file.with_name(f"{file.name}.metadata.json") if with_metadata else None
    with open_journal(copy) as (found, reads):
        for wanted in filter(None, (file, companion)):
            _expect_new(wanted, "FILE")
        try:
            sealed = sealing.seal(
                copy or found.journal,
                file,
                witness=found.witness,
                key=trusted_key(pinned, found),
                signer=None if copy else signing_key(found),  # A copy may have been anywhere: what is new in it is not ours to sign.
                bar=progress,
                zone=found.timezone,
                personal=not without_personal,
                at_most=reads.size() if copy else None,
                clock=program.clock,
            )
        except FileExistsError as error:
            raise _taken(file, "FILE") from error
        if companion:
            with _new(companion, "FILE") as draft:
                draft.write_text(sealing.metadata(file), encoding="utf-8")
    shown = asdict(sealed) | {name: head._asdict() if head else None for name, head in _heads(sealed)}
    data = shown | {"path": str(sealed.path), "unsigned": sealed.unsigned, "metadata": str(companion) if companion else None}
    emit(as_json, data, lambda: _sealed(sealed, found, companion, has_key=trusted_key(pinned, found) is not None))


def _heads(sealed: sealing.Sealed) -> list[tuple[str, Head | None]]:
    return [("checkpoint", sealed.checkpoint), ("witness", sealed.witness)]


def _sealed(sealed: sealing.Sealed, found: Settings, companion: Path | None, *, has_key: bool) -> Iterator[str]:
    yield paint(f"Sealed: {sealed.path}", "green")
    yield f"  {_entries_of_orders(sealed)}, verified and replayed, {plural(sealed.bytes, 'byte')}"
    yield f"  root {sealed.root}"
    yield f"  signed {f'up to entry {sealed.checkpoint.size:,}' if sealed.checkpoint else 'nowhere'}"
    if sealed.unsigned:
        yield paint(
            f"  the newest {sealed.unsigned:,} are not signed: seal the journal again with its key, or once the server has signed", "yellow"
        )
    yield f"  customers' and guests' data {'is in it: keep it as a backup' if sealed.personal else 'was taken out: for handing over'}"
    if not has_key:
        yield f"  signatures not checked: no key at {found.signing_key}"
    if sealed.witness is None:
        yield paint(f"  {found.witness} {NO_WITNESS}", "yellow")
    if companion:
        yield f"  to browse it: datasette {sealed.path} -m {companion}"


@journal.command("key", cls=Command, example="tillproof journal key")
@copy_option
@key_option
@json_option
def journal_key(copy: Path | None, pinned: Ed25519PublicKey | None, as_json: bool) -> None:
    """Print the public keys that sign the journal's checkpoints, oldest first: for whoever checks it, to be kept elsewhere.

    Each is a line that programs for signed notes take, with the SHA-256 of the key's 32 bytes, and the sizes that it signs.
    """
    with open_journal(copy) as (found, reads):
        known = needed_key(pinned, found)
        succession = reads.succession(known)
        view = keys_view(reads.origin(), succession)

    def lines() -> Iterator[str]:
        for each in view.data:
            yield each.key
            yield f"  SHA-256 {each.fingerprint}"
            until = "on: in force" if each.to_size is None else f"to {each.to_size:,}, then it was retired"
            yield f"  signs sizes from {each.from_size:,} {until}"
        if not succession.has_known:
            yield paint(f"  {'the key given' if pinned else found.signing_key} is none of these", "red")

    emit(as_json, view, lines)
    if not succession.has_known:
        end_found("tillproof doctor")


@journal.command("rotate-key", cls=Command, example='tillproof journal rotate-key --reason "the till was stolen"')
@reason_option()
@json_option
@click.pass_obj
def journal_rotate_key(program: Program, reason: str, as_json: bool) -> None:
    """Have a new key sign from here on, signed in by the old one, which is removed: through the running server where there is one.

    Hand the line of the new key to whoever checks the journal. Sealed copies from before go on verifying with the old public key.
    """
    found = settings()
    with failures(refused="tillproof journal key"):
        rotated = program.rotate_key(found, actor(), reason)

    def lines() -> Iterator[str]:
        yield paint(f"Entry {rotated.position:,} brought in a new key. The old one signs nothing behind it.", "green")
        yield f"  old {rotated.old_key}"
        yield f"  new {rotated.new_key}"
        yield f"  SHA-256 of the new one {rotated.fingerprint}"
        if rotated.pending:
            yield paint(f"  NOT DONE: {rotated.pending}; the next start tries again", "yellow")

    emit(as_json, rotated_view(rotated), lines)


@journal.command("accept-lost-tail", cls=Command, example='tillproof journal accept-lost-tail --reason "disk replaced, no newer copy"')
@reason_option()
@json_option
@click.pass_obj
def journal_accept_lost_tail(program: Program, reason: str, as_json: bool) -> None:
    """Go on with a journal that lacks entries its witness saw: the last resort after HEAD_REGRESSED, with the server stopped."""
    found = settings()
    with failures(refused="tillproof journal verify"):
        lost = program.accept_loss(found, actor(), reason)
    emit(as_json, {"accepted": lost}, lambda: iter([f"Accepted: {lost}. The old witness was put aside."]))


@journal.command("proof", cls=Command, example="tillproof journal proof tp_019ab2c4d5e6")
@click.argument("order_id")
@click.option("--size", type=Position(1), help="Under the stored checkpoint of this size, not the newest.")
@copy_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="JSON, as always: the proof is a file for a program.")
@click.pass_obj
def journal_proof(
    program: Program, order_id: str, size: int | None, copy: Path | None, pinned: Ed25519PublicKey | None, as_json: bool
) -> None:
    """Print all that proves one order: its entries, their place in the signed log, the checkpoint and the public key.

    tillproof-verify checks the file anywhere, with nothing of ours.
    """
    with _prover(copy, pinned, program.clock) as prover:
        proof = prover.prove(order_id, size)
    emit(True, proof, lambda: iter(()))


@journal.command("consistency", cls=Command, example="tillproof journal consistency 1200")
@click.argument("old", type=Position(1), required=False)
@click.argument("new", type=Position(1), required=False)
@copy_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="JSON, as always: the proof is a file for a program.")
@click.pass_obj
def journal_consistency(
    program: Program, old: int | None, new: int | None, copy: Path | None, pinned: Ed25519PublicKey | None, as_json: bool
) -> None:
    """Print what proves that the log of NEW entries begins with the log of OLD entries; both are sizes of stored checkpoints.

    Without NEW up to the newest checkpoint, without OLD from the first one on.
    """
    if old is not None and new is not None and old > new:
        raise click.BadParameter(f"expected a size from {old} on, got {new}", param_hint="NEW")
    with _prover(copy, pinned, program.clock) as prover:
        proof = prover.consistency(old, new)
    emit(True, proof, lambda: iter(()))


@journal.command("receipts", cls=Command, example="tillproof journal receipts tp_019ab2c4d5e6")
@click.argument("order_id", required=False)
@click.option("--source", type=click.Choice(SOURCES), help="What a message was; with --id, and without an order.")
@click.option("--id", "message_id", help="Its id: Dojo's or the till's order id, of an event EVENT:INTENT.")
@click.option("--seq", type=Position(1), help="The entry at this position instead, such as what concerns no order.")
@copy_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="JSON, as always: receipts are for a program.")
@click.pass_obj
def journal_receipts(
    program: Program,
    order_id: str | None,
    source: str | None,
    message_id: str | None,
    seq: int | None,
    copy: Path | None,
    pinned: Ed25519PublicKey | None,
    as_json: bool,
) -> None:
    """Print the receipts of all requests to an order, or that of one message or entry: what was acknowledged, and where the log has it.

    tillproof-verify checks them, and whether a later proof has their entries (--receipt).
    """
    if [bool(order_id), bool(source and message_id), seq is not None].count(True) != 1 or bool(source) != bool(message_id):
        raise click.UsageError("expected an order, or --source and --id of a message, or --seq of an entry")
    with _prover(copy, pinned, program.clock) as prover:
        if order_id:
            found = prover.receipts(order_id)
        elif seq is not None:
            found = [prover.receipt_at(seq)]
        else:
            found = [prover.receipt_of(str(source), str(message_id))]
    emit(True, {"data": found}, lambda: iter(()))


@contextmanager
def _prover(copy: Path | None, pinned: Ed25519PublicKey | None, clock: Clock) -> Iterator[Prover]:
    with open_journal(copy) as (found, reads):
        yield Prover(reads, Waiting(reads, needed_key(pinned, found), clock))
