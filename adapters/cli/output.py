"""How commands speak: JSON where it was asked for, words otherwise; colour only on a terminal that wants it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn

import click
import msgspec

from adapters.edge.strict_json import visible

_COLOUR = re.compile(r"(\x1b\[(?:3[0-7]|0)m)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
WHOLE_SENTENCE = 1_000
"""Longer than any first sentence of a command's help."""
BAR_WIDTH = 30
BAR_EVERY = 1_000


class Exit(IntEnum):
    """Exit codes, as INTERFACE §5 has them."""

    FINE = 0
    FOUND = 1
    USAGE = 2
    SETTINGS = 3
    UNREACHABLE = 4
    DAMAGED = 5


class Failure(click.ClickException):
    """A command that ends with a code and says what to do next."""

    def __init__(self, code: Exit, message: str, next_command: str) -> None:
        super().__init__(message)
        self.code, self.next_command = code, next_command

    def show(self, file: Any = None) -> None:
        """Say it on stderr."""
        click.echo(paint(f"Error: {harmless(self.message)}", "red", sys.stderr), err=True)
        click.echo(f"Next: {self.next_command}", err=True)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click reads it; a class variable there.
        """What the process ends with."""
        return int(self.code)


class Misuse(click.UsageError):
    """A command that was not understood; what is next is its help."""

    def show(self, file: Any = None) -> None:
        """Say it on stderr."""
        path = self.ctx.command_path if self.ctx else "tillproof"
        if self.ctx:
            click.echo(f"{self.ctx.get_usage()}\n", err=True)
        click.echo(f"Error: {self.message}", err=True)
        click.echo(f"Next: {path} --help", err=True)


@contextmanager
def _misuse() -> Iterator[None]:
    """Click's own errors of usage as ours; a group without a command shows its help, which says enough."""
    try:
        yield
    except (Misuse, click.exceptions.NoArgsIsHelpError):
        raise
    except click.UsageError as error:
        raise Misuse(error.format_message(), error.ctx) from error


def end_found(next_command: str, code: Exit = Exit.FOUND) -> NoReturn:
    """End a check that found something, and has said what: only the next command is left to say."""
    click.echo(f"Next: {next_command}", err=True)
    raise SystemExit(code)


class Command(click.Command):
    """A command whose help opens with an example, and whose failures end with the next command."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example first, then click's help."""
        formatter.write(f"Example: {self.example or ctx.command_path.replace('app.py', 'tillproof')}\n\n")
        super().format_help(ctx, formatter)

    def get_short_help_str(self, limit: int = WHOLE_SENTENCE) -> str:
        """The first sentence, whole: a group's list of commands wraps it."""
        return super().get_short_help_str(max(limit, WHOLE_SENTENCE))

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        """Understand the words."""
        with _misuse():
            return _of_unicode(super().make_context(info_name, args, parent, **extra))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _misuse():
            return super().invoke(ctx)


class Group(Command, click.Group):
    """A group of commands whose help opens with an example of one of them."""


def _of_unicode(ctx: click.Context) -> click.Context:
    """Refuse words with bytes that are no UTF-8; only a file may be named so."""
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if isinstance(value, str) and not value.isascii() and _LONE_SURROGATE.search(value):
            raise click.BadParameter(f"expected UTF-8 text, got {visible(value)}", ctx, param)
    return ctx


def emit(as_json: bool, data: object, lines: Callable[[], Iterator[str]]) -> None:
    """Print `data` as JSON, or `lines`; of what strangers wrote in them, a terminal obeys nothing."""
    if as_json:
        click.echo(msgspec.json.encode(data))  # As bytes: JSON is UTF-8, whatever the terminal's encoding is.
    else:
        for line in lines():
            click.echo(harmless(line))


def harmless(text: str) -> str:
    """`text` with a mark in the place of whatever would move a terminal's cursor or change its state; line feeds and our colours stay."""
    return "".join(part if _COLOUR.fullmatch(part) else "\n".join(map(visible, part.split("\n"))) for part in _COLOUR.split(text))


def cut(text: str, width: int) -> str:
    """`text` on one line of so many columns, with a mark where something was left out."""
    plain = visible(text)
    return plain if len(plain) <= width else f"{plain[: width - 1]}\u2026"


def paint(text: str, colour: str, stream: Any = None) -> str:
    """`text` in colour, where the stream is a terminal and NO_COLOR is not set."""
    wants = (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour) if wants else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Container[int] = ()) -> Iterator[str]:
    """Columns as wide as their widest cell; those in `right`, counted from 0, end flush. A cell is one line, whatever is in it."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = [cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(row)]
        yield "  ".join(cells).rstrip()


@contextmanager
def progress(what: str, total: int | None, every: int = BAR_EVERY) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while something long runs, a count where nobody knows its end; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    if total is None:  # It may be long until there is something to count.
        sys.stderr.write(f"\r{what}")
        sys.stderr.flush()

    def show(done: int) -> None:
        if total is None:
            sys.stderr.write(f"\r{what} {done:,}")
            sys.stderr.flush()
        elif done % every == 0 or done == total:
            filled = BAR_WIDTH * done // max(total, 1)
            sys.stderr.write(f"\r{what} [{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done:,} of {total:,}")
            sys.stderr.flush()

    yield show
    sys.stderr.write("\r\x1b[K")
