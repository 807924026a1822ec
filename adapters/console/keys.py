"""`/setup/keys`: which keys sign the journal, to be compared aloud, and a new one."""

from __future__ import annotations

from flask import Blueprint, Response

from adapters.console.site import Site


def pages(site: Site) -> Blueprint:
    """The keys, and bringing in another one."""
    blueprint, desk = Blueprint("keys", __name__), site.desk.setup

    @blueprint.get("/setup/keys")
    def keys() -> Response:
        return site.page("setup_keys.html", keys=list(reversed(desk.keys())))

    @blueprint.get("/setup/keys/rotate")
    def preview_rotation() -> Response:
        site.require("operator")
        return site.page("setup_rotate.html", key=desk.keys()[-1])

    @blueprint.post("/setup/keys/rotate")
    def rotate() -> Response:
        rotated = desk.rotate(site.require("operator"), site.reason())
        site.say(f"A new key signs from entry {rotated.position:,} on. Its fingerprint is {rotated.fingerprint}.")
        if rotated.pending:
            site.say(f"Not done: {rotated.pending}. The next start tries again.", "bad")
        return site.to("/setup/keys")

    return blueprint
