"""The commands that start or examine the program, and the list of all others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version as installed_version
from io import TextIOWrapper

import click
from click.shell_completion import get_completion_class

from adapters import checks
from adapters.cli.attention import attention
from adapters.cli.caps import caps
from adapters.cli.context import Program, bill_template, json_option, settings
from adapters.cli.demo import Demo
from adapters.cli.diagram import diagram
from adapters.cli.erasing import bookings
from adapters.cli.journal import journal
from adapters.cli.machines import machine
from adapters.cli.openapi import openapi
from adapters.cli.orders import orders
from adapters.cli.outbox import outbox
from adapters.cli.output import Command, Exit, Failure, Group, emit, end_found, paint
from adapters.cli.sandbox import sandbox
from adapters.cli.takings import takings
from adapters.settings import SETTINGS_FILE
from workflow.plurals import plural


def run(program: Program) -> None:
    """Run the command line; ends the process. What a terminal's encoding has no sign for is shown as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(obj=program, prog_name="tillproof")


@click.group(cls=Group, example="tillproof demo", context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The POS side of Dojo's Order and Pay and Pay-only flows, with a journal that proves what happened."""


@cli.command(cls=Command, example="tillproof serve")
@json_option
@click.pass_obj
def serve(program: Program, as_json: bool) -> None:
    """Serve Dojo's side and the venue's side until SIGTERM; --json: a line with their addresses once they listen."""
    found = settings()
    if problems := found.problems_for_serving():
        raise Failure(Exit.SETTINGS, "\n".join(problems), "tillproof doctor")
    bill_template(found)
    raise SystemExit(program.serve(found, as_json=as_json))


@cli.command(cls=Command, example="tillproof demo")
@click.option("--serve", "keep", is_flag=True, help="Keep the simulator and the service running until Ctrl-C, for you to go on by hand.")
@click.option("--open/--no-open", "opens", default=True, help="With --serve at a screen: show the console, the phone and the panel.")
@json_option
@click.pass_obj
def demo(program: Program, keep: bool, opens: bool, as_json: bool) -> None:
    """Run both flows against the simulator: no key, no network, a journal in a temporary folder.

    With --json the outcome is one object on stdout, and the arrows go to stderr.
    """
    if not Demo(clock=program.clock, keep=keep, as_json=as_json, opens=opens and not as_json).run():
        end_found("tillproof demo --serve")


@cli.command(cls=Command, example="tillproof doctor")
@json_option
@click.pass_obj
def doctor(program: Program, as_json: bool) -> None:
    """Check settings, SQLite, files, clock, the till, Dojo and registered capabilities; say how to mend what is wrong."""
    findings = checks.examine(os.environ, SETTINGS_FILE, program.dojo, program.clock)
    failed = sum(finding.level == "FAIL" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)

    def lines() -> Iterator[str]:
        for finding in findings:
            colour = {"ok": "green", "FAIL": "red", "warn": "yellow"}.get(finding.level, "white")
            yield f" {paint(finding.level.ljust(5), colour)} {finding.name:<14} {finding.text}"
            if finding.mend:
                yield f"{'':22}Fix: {finding.mend}"
        yield f"{plural(failed, 'failure')}, {plural(warned, 'warning')}"

    emit(as_json, {"findings": [asdict(finding) for finding in findings], "failures": failed, "warnings": warned}, lines)
    if failed:
        end_found("do what stands behind Fix, then tillproof doctor")


@cli.command(cls=Command, example="tillproof version")
@json_option
def version(as_json: bool) -> None:
    """Print the version, and that of SQLite."""
    data = {"version": installed_version("tillproof"), "sqlite": checks.sqlite_version(), "python": sys.version.split()[0]}
    emit(as_json, data, lambda: iter([f"tillproof {data['version']} (SQLite {data['sqlite']}, Python {data['python']})"]))


@cli.command(cls=Command, example="tillproof completion bash")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print the script that completes commands and options; `eval` its output in your shell's start-up file."""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "tillproof", "_TILLPROOF_COMPLETE").source()
    emit(as_json, {"shell": shell, "script": script}, lambda: iter([script]))


for command in (sandbox, caps, orders, bookings, attention, outbox, takings, journal, machine, diagram, openapi):
    cli.add_command(command)
