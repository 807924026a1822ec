"""Bearer tokens on the venue's side: who calls, and whether they may."""

from __future__ import annotations

from typing import cast

from flask import Flask, g, request
from werkzeug.exceptions import Forbidden, Unauthorized

from adapters.edge.credentials import Actor, Role, Tokens


def install_tokens(app: Flask, tokens: Tokens) -> None:
    """Let the application know who calls before each request."""

    @app.before_request
    def identify() -> None:
        g.actor = tokens.actor(request.headers.get("Authorization"))


def require(role: Role) -> str:
    """The actor as the journal names it (`till:till-1`). Raises Unauthorized without a token of ours, Forbidden without the role."""
    actor = cast("Actor | None", g.get("actor"))
    if actor is None:
        raise Unauthorized("a bearer token of this venue is needed")
    if not actor.may(role):
        raise Forbidden(f"this needs the role {role}, the token has {actor.role}")
    return f"{actor.role}:{actor.name}"
