"""Logging in with a token of the setting TOKENS, out again, and what each person wants to see."""

from __future__ import annotations

from flask import Blueprint, Response, request

from adapters.console.site import COOKIE, Site, is_own_path
from adapters.edge.credentials import Actor


def pages(site: Site) -> Blueprint:
    """`/login`, `/logout` and `/preferences`."""
    blueprint = Blueprint("login", __name__)

    @blueprint.get("/login")
    def show() -> Response:
        return site.page("login.html", following=_following(request.args.get("next")), refused="")

    @blueprint.post("/login")
    def enter() -> Response:
        following = _following(request.form.get("next"))
        actor = site.desk.guesses.judge(f"Bearer {request.form.get('token', '').strip()}", site.desk.tokens.actor)
        if actor is None:
            return site.page("login.html", 401, following=following, refused="No token of this venue. Look at TOKENS, or ask your manager.")
        if not actor.may("auditor"):
            return site.page("login.html", 403, following=following, refused="A till's token opens no console.")
        return _entered(site, actor, following)

    @blueprint.post("/logout")
    def leave() -> Response:
        site.sessions.close(request.cookies.get(COOKIE))
        response = site.to("/login")
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response

    @blueprint.post("/preferences")
    def prefer() -> Response:
        site.session.utc = request.form.get("utc") == "on"
        return site.to(_following(request.form.get("next")))

    return blueprint


def _entered(site: Site, actor: Actor, following: str) -> Response:
    response = site.to(following)
    response.set_cookie(COOKIE, site.sessions.open(actor), path="/", httponly=True, samesite="Strict", secure=request.is_secure)
    return response


def _following(path: str | None) -> str:
    return path if path and is_own_path(path) else "/"
