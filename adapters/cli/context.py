"""What every command starts from: the settings, the journal opened read only, and errors as exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from adapters.cli.output import Exit, Failure
from adapters.dojo.client import DojoClient
from adapters.edge.bill import BillTemplate
from adapters.edge.bill_template import BadTemplate, read_template
from adapters.outbound import Call
from adapters.settings import SETTINGS_FILE, Settings, SettingsError, read_settings
from workflow.clock import Clock
from workflow.commands import MigrateOrder, OperatorCommand
from workflow.errors import (
    DeclarationError,
    DojoRefusesUs,
    HeadRegressed,
    JournalDamaged,
    JournalForeign,
    JournalInUse,
    JournalTooNew,
    JournalUnavailable,
    LogHeld,
    NotAFile,
    OrdersToMigrate,
    OrdersUnexplained,
    OutcomeUnknown,
    PathRefused,
    Refused,
    ServerSilent,
    TryAgain,
    UnknownCheckpoint,
    UnknownEntry,
    UnknownOrder,
    UnknownTask,
    WitnessForeign,
    WorkflowError,
)
from workflow.journal.connection import reading
from workflow.journal.keys import UnusableKey, load_key, load_public_key
from workflow.journal.reads import SqliteReads
from workflow.rotation import Rotated
from workflow.succession import parse_public_key

MAX_POSITION = 2**63 - 1
"""No journal has an entry behind it."""


class Position(click.IntRange):
    """A position in the journal, or a size of it, from `min` on. The help names no upper bound: nobody will meet it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or the end of a command that names none."""
        found: int = super().convert(value, param, ctx)
        if found > MAX_POSITION:
            self.fail(f"{found} is more than any journal has.", param, ctx)
        return found


class Serve(Protocol):
    """Serves until told to stop."""

    def __call__(self, settings: Settings, *, as_json: bool) -> int:
        """The exit code. `as_json`: a line on stdout once both sides listen."""


class Dojo(Protocol):
    """Makes Dojo's API with this venue's key."""

    def __call__(self, settings: Settings, *, on_call: Callable[[Call], None] | None = None) -> DojoClient:
        """The client; `on_call` hears of every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the composition root gives: serving (the exit code), Dojo's API, a command of an operator, accepting a loss, migrating, a new
    key, time.
    """

    serve: Serve
    dojo: Dojo
    ask: Callable[[Settings, OperatorCommand], None]
    accept_loss: Callable[[Settings, str, str], str]
    migrate: Callable[[Settings, Sequence[MigrateOrder], Callable[[int], None]], None]
    rotate_key: Callable[[Settings, str, str], Rotated]
    clock: Clock


def settings() -> Settings:
    """The settings, or the end with code 3."""
    try:
        return read_settings(os.environ, SETTINGS_FILE)
    except SettingsError as error:
        raise Failure(Exit.SETTINGS, "\n".join(error.problems), "tillproof doctor") from error


def bill_template(settings: Settings) -> BillTemplate:
    """The bill's template, or the end with code 3."""
    try:
        return read_template(settings.bill_template, settings.venue_name)
    except BadTemplate as error:
        raise Failure(Exit.SETTINGS, str(error), "correct the template, then tillproof doctor") from error


@contextmanager
def failures(*, refused: str = "tillproof doctor") -> Iterator[None]:
    """The workflow's errors as exit codes; `refused` is what is next where rules or Dojo said no."""
    try:
        yield
    except WorkflowError as error:
        again = click.get_current_context().command_path
        code, prefix, following = _ending(error)
        raise Failure(code, f"{prefix}{error}", following.format(again=again, refused=refused)) from error


def next_command(error: WorkflowError, again: str) -> str:
    """What to run after an error; `again` is the command that met it."""
    return _ending(error)[2].format(again=again, refused="tillproof doctor")


def _ending(error: WorkflowError) -> tuple[Exit, str, str]:
    return next((code, prefix, following) for kinds, code, prefix, following in _FAILURES if isinstance(error, kinds))


_FAILURES: tuple[tuple[type[WorkflowError] | tuple[type[WorkflowError], ...], Exit, str, str], ...] = (
    # The first row that fits: narrow kinds stand before wide ones.
    (UnknownOrder, Exit.FOUND, "", "tillproof orders list"),
    (UnknownCheckpoint, Exit.FOUND, "", "{again} with such sizes, or with none"),
    (UnknownEntry, Exit.FOUND, "", "tillproof journal tail"),
    (UnknownTask, Exit.FOUND, "", "tillproof outbox list --status dead"),
    (DojoRefusesUs, Exit.UNREACHABLE, "Dojo refuses the API key: ", "set TILLPROOF_DOJO_API_KEY, then tillproof doctor"),
    (Refused, Exit.FOUND, "", "{refused}"),
    (JournalInUse, Exit.UNREACHABLE, "", "stop the server that has it, then {again}"),
    (PathRefused, Exit.SETTINGS, "", "tillproof doctor"),
    (
        WitnessForeign,
        Exit.DAMAGED,
        "",
        "set TILLPROOF_WITNESS to the witness, or put this file aside where it was the witness, then {again}",
    ),
    (NotAFile, Exit.SETTINGS, "", "set TILLPROOF_JOURNAL to the journal's file, then {again}"),
    (JournalForeign, Exit.DAMAGED, "", "set TILLPROOF_JOURNAL to the journal's file, then {again}"),
    (JournalTooNew, Exit.DAMAGED, "", "install the version that wrote it, then {again}"),
    (OrdersToMigrate, Exit.DAMAGED, "", "tillproof machine migrate --dry-run, then tillproof machine migrate --reason TEXT"),
    (OrdersUnexplained, Exit.DAMAGED, "", "tillproof machine check; then run the version that wrote it, or declare migrations"),
    (HeadRegressed, Exit.DAMAGED, "", "put its newest copy in its place, or tillproof journal accept-lost-tail --reason TEXT"),
    (JournalDamaged, Exit.DAMAGED, "", "tillproof journal verify"),
    (JournalUnavailable, Exit.UNREACHABLE, "", "tillproof doctor"),
    (LogHeld, Exit.UNREACHABLE, "", "wait until a seal, a verification or an export has ended, then {again}"),
    (ServerSilent, Exit.UNREACHABLE, "", "see that the server runs, and whether it was done, then {again}"),
    ((TryAgain, OutcomeUnknown), Exit.UNREACHABLE, "Dojo does not answer as it should: ", "tillproof doctor"),
    (DeclarationError, Exit.FOUND, "", "correct workflow/lifecycle.py, then {again}"),
    (UnusableKey, Exit.SETTINGS, "", "tillproof doctor"),
    (WorkflowError, Exit.FOUND, "", "tillproof doctor"),
)


@contextmanager
def open_journal(copy: Path | None = None) -> Iterator[tuple[Settings, SqliteReads]]:
    """The journal of the settings, or a copy of it elsewhere, read only; its errors become exit codes."""
    found = settings()
    path = copy or found.journal
    with failures():
        with reading(path):
            pass  # Refuses what is not a journal of ours before anything is asked of it.
        yield found, SqliteReads(path)


copy_option = click.option(
    "--journal", "copy", type=click.Path(path_type=Path), help="A copy of the journal instead, such as a sealed one."
)


def _public_key(ctx: click.Context, param: click.Parameter, value: str | None) -> Ed25519PublicKey | None:
    """The key in a file where there is one of that name; else what the text says."""
    if value is None:
        return None
    try:
        return load_public_key(Path(value)) if os.path.lexists(value) else parse_public_key(value)
    except (UnusableKey, ValueError) as error:
        raise click.BadParameter(f"expected a public key as tillproof journal key prints it, or its file: {error}", ctx, param) from error


key_option = click.option(
    "--key",
    "pinned",
    metavar="KEY",
    callback=_public_key,
    help="A key of the journal that you had from elsewhere, any of them, or its file; without it the one of SIGNING_KEY is trusted.",
)


def trusted_key(pinned: Ed25519PublicKey | None, found: Settings) -> Ed25519PublicKey | None:
    """The key that was pinned, or that of the settings; None where there is neither. Raises UnusableKey."""
    if pinned:
        return pinned
    key = signing_key(found)
    return key.public_key() if key else None


def needed_key(pinned: Ed25519PublicKey | None, found: Settings) -> Ed25519PublicKey:
    """The same, where nothing can be said without one. Raises UnusableKey, and Failure where there is neither."""
    if key := trusted_key(pinned, found):
        return key
    told = "the journal's checkpoints are signed with it, and nothing is proved without it or its public key"
    again = click.get_current_context().command_path
    following = f"{again} --key KEY with the public key as you had it from elsewhere; or put the file back"
    raise Failure(Exit.SETTINGS, f"no signing key at {found.signing_key}: {told}", following)


def signing_key(found: Settings) -> Ed25519PrivateKey | None:
    """The private key of the settings; None where none is, or where we may not look. Raises UnusableKey."""
    return load_key(found.signing_key) if os.path.lexists(found.signing_key) else None


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
