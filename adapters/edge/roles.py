"""Bearer tokens on the venue's side: who calls, and whether they may."""

from __future__ import annotations

from typing import cast

from flask import Flask, g, request
from werkzeug.exceptions import Forbidden, Unauthorized

from adapters.edge.credentials import Actor, Role, Tokens
from adapters.edge.limits import Guesses


def install_tokens(app: Flask, tokens: Tokens, guesses: Guesses) -> None:
    """Let the application ask who calls; who guesses tokens is throttled."""

    @app.before_request
    def identify() -> None:
        g.identify = lambda: guesses.judge(request.headers.get("Authorization"), tokens.actor)


def require(role: Role) -> str:
    """The actor as the journal names it (`till:till-1`).

    Raises Unauthorized without a token of ours, Forbidden without the role, TooManyRequests after too many guesses.
    """
    actor = cast("Actor | None", g.identify())
    if actor is None:
        raise Unauthorized("a bearer token of this venue is needed")
    if not actor.may(role):
        raise Forbidden(f"this needs the role {role}, the token has {actor.role}")
    return f"{actor.role}:{actor.name}"
