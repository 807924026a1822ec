"""`tillproof openapi`: what is served, as the documents that both sides give out."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from adapters.cli.context import json_option
from adapters.cli.output import Command, Exit, Failure, emit
from adapters.edge.openapi import encode
from adapters.epos.document import dojo_document
from adapters.venue import venue_document

SIDES = {"dojo": (dojo_document, "openapi.json"), "venue": (venue_document, "openapi-venue.json")}
FOLDER = Path(__file__).resolve().parents[2] / "docs"


def stale(folder: Path) -> list[str]:
    """The files of `folder` that are not what is served now."""
    return [name for make, name in SIDES.values() if not (folder / name).is_file() or (folder / name).read_bytes() != encode(make())]


@click.command(cls=Command, example="tillproof openapi --side venue")
@click.option("--side", type=click.Choice(list(SIDES)), default="dojo", show_default=True, help="Whose document to print.")
@click.option("--check", is_flag=True, help="Exit 1 when docs/ does not hold what is served.")
@click.option("--write", is_flag=True, help="Write docs/ anew.")
@json_option
def openapi(side: str, check: bool, write: bool, as_json: bool) -> None:
    """Print what is served as an OpenAPI document; with --json in one line."""
    if write:
        FOLDER.mkdir(exist_ok=True)
        for make, name in SIDES.values():
            (FOLDER / name).write_bytes(encode(make()))
    if write or check:
        found = stale(FOLDER)
        if as_json:
            emit(True, {"ok": not found, "stale": found}, lambda: iter(()))
        if found:
            raise Failure(Exit.FOUND, f"stale in docs/: {', '.join(found)}", "tillproof openapi --write")
        click.echo("docs/ holds what is served.", err=True)
        return
    document = SIDES[side][0]()
    click.echo(msgspec.json.encode(document) if as_json else encode(document), nl=as_json)
