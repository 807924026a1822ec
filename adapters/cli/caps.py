"""`tillproof caps`: what Dojo may ask of this POS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, cast

import click

from adapters.cli.context import Program, failures, json_option, settings
from adapters.cli.output import Command, Exit, Failure, Group, emit, end_found, paint
from adapters.dojo.capabilities import Difference, RestIntegration, difference, wanted
from adapters.settings import Settings


@click.group(cls=Group, example="tillproof caps diff")
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
