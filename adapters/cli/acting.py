"""A person's act at a terminal: who it is, and why; both are journaled."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import Any

import click

from adapters.edge.wire import REASON_LENGTH


def actor() -> str:
    """Who acts: the name that the machine knows the person by, or the number where it has no name, as in some containers."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # KeyError: before Python 3.13.
        name = f"uid-{os.getuid()}"
    return f"operator:{name}"


def reason_option(text: str = "Why; it is journaled with who you are.", *, required: bool = True) -> Callable[[Any], Any]:
    """`--reason`, as long as the server takes it: what is told to a server and what is done without one are refused alike."""
    return click.option("--reason", required=required, callback=_reason, help=text)


def _reason(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    reason = value if value is None else value.strip()
    if reason is not None and not 1 <= len(reason) <= REASON_LENGTH:
        raise click.BadParameter(f"expected 1 to {REASON_LENGTH:,} characters that say why, got {len(reason):,}", ctx, param)
    return reason
