"""What every command starts from: the settings, the journal opened read only, and errors as exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from adapters.cli.output import Exit, Failure
from adapters.dojo.client import DojoClient
from adapters.settings import Settings, SettingsError, read_settings
from workflow.commands import RequeueTask
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
from workflow.journal.keys import UnusableKey
from workflow.journal.reads import SqliteReads


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the composition root gives: how to serve (the exit code), a client of Dojo's API, and how to give an operator's command."""

    serve: Callable[[Settings], int]
    dojo: Callable[[Settings], DojoClient]
    ask: Callable[[Settings, RequeueTask], None]


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
