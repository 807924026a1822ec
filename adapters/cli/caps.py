"""`tillproof caps`: what Dojo may ask of this POS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict

import click

from adapters.capabilities import Difference, Registration, RestIntegration, difference
from adapters.cli.acting import actor, reason_option
from adapters.cli.context import Program, failures, json_option, settings
from adapters.cli.output import Command, Exit, Failure, Group, emit, end_found, paint
from adapters.registering import missing_settings, register, registration_of
from adapters.settings import Settings
from workflow.commands import NoteRegistration

NO_REASON = "none was given at the terminal"


@click.group(cls=Group, example="tillproof caps diff")
def caps() -> None:
    """What Dojo may ask of this POS: registered, served, and the difference."""


def _registered(program: Program, found: Settings) -> RestIntegration | None:
    if not found.dojo_api_key:
        raise Failure(Exit.SETTINGS, "TILLPROOF_DOJO_API_KEY is needed to ask Dojo", "tillproof doctor")
    with failures():
        integrations = program.dojo(found).integrations()
    return integrations[0] if integrations else None


def _wanted(found: Settings) -> Registration:
    registration = registration_of(found)
    if registration is None:
        raise Failure(Exit.SETTINGS, f"{', '.join(missing_settings(found))}: needed to register", "tillproof doctor")
    return registration


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
    if not gap.is_none:
        end_found("tillproof caps register")


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


@caps.command("register", cls=Command, example="tillproof caps register")
@reason_option("Why; it is journaled with who you are.", required=False)
@json_option
@click.pass_obj
def caps_register(program: Program, reason: str | None, as_json: bool) -> None:
    """Register everything that this version serves; the PUT replaces the whole list.

    Where there is a journal it is journaled, with the reason and who you are, before Dojo is asked.
    """
    found = settings()
    registration = _wanted(found)
    before = difference(_registered(program, found), registration)

    def note(command: NoteRegistration) -> None:
        if os.path.lexists(found.journal):
            program.ask(found, command)

    with failures():
        register(program.dojo(found), registration, before, actor=actor(), reason=reason or NO_REASON, note=note)
    data = {"url": registration.url, "registered": [name for name, _ in registration.capabilities], "dropped": list(before.extra)}

    def lines() -> Iterator[str]:
        yield f"Registered {len(data['registered'])} capabilities for {data['url']}"
        yield from (f"  dropped: {name}" for name in data["dropped"])

    emit(as_json, data, lines)
