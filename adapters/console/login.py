"""Logging in with a token of the setting TOKENS, out again, what each person wants to see, and the page that explains the keys."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request
from werkzeug.exceptions import TooManyRequests

from adapters.console.paths import is_own_path
from adapters.console.site import Site, cookie_name
from adapters.edge.credentials import Actor
from adapters.edge.limits import ADDRESS, is_https

WISHES = "tillproof_wishes"
"""The cookie with what a person prefers, beyond one session; nothing in it says who."""
WISHES_SECONDS = 31_536_000
UTC, NO_SHORTCUTS = "utc", "no-shortcuts"
SAME_SITE = "Lax"
"""Whoever follows a link in a message is still logged in. No page changes anything; another site's forms come without, and are refused."""

logger = logging.getLogger(__name__)


def pages(site: Site) -> Blueprint:
    """`/login`, `/logout`, `/preferences` and `/help`."""
    blueprint = Blueprint("login", __name__)
    _add_coming(blueprint, site)
    _add_leaving(blueprint, site)
    _add_wishes(blueprint, site)
    return blueprint


def _add_coming(blueprint: Blueprint, site: Site) -> None:
    def form(status: int = 200, refused: str = "") -> Response:
        return site.page(
            "login.html", status, following=_following(request.values.get("next")), refused=refused, can_enter=_can_enter(site)
        )

    @blueprint.get("/login")
    def show() -> Response:
        """Where people come in, with a token."""
        cookie = request.cookies.get(cookie_name())
        is_over = cookie is not None and site.sessions.find(cookie, is_use=False) is None
        return form(401, "You were logged out: nobody used this browser for a while, or the server started again.") if is_over else form()

    @blueprint.post("/login")
    def enter() -> Response:
        """Log in."""
        token = request.form.get("token", "").strip()
        if not token:
            return form(400, "Enter a token.")
        actor = _judged(site, token)
        if actor is None:
            return form(401, "No token of this venue. Look at TILLPROOF_TOKENS, or ask your manager.")
        if not actor.may("auditor"):
            logger.warning("console refused", extra={"actor": f"{actor.role}:{actor.name}", "address": _address()})
            return form(403, "A till's token opens no console.")
        return _entered(site, actor, _following(request.form.get("next")))


def _add_leaving(blueprint: Blueprint, site: Site) -> None:
    @blueprint.post("/logout")
    def leave() -> Response:
        """Log out."""
        actor = site.session.actor
        site.sessions.close(request.cookies.get(cookie_name()))
        logger.info("console left", extra={"actor": f"{actor.role}:{actor.name}", "address": _address()})
        response = site.to("/login")
        response.delete_cookie(cookie_name(), path="/", httponly=True, samesite=SAME_SITE, secure=_is_https(site))
        return response


def _add_wishes(blueprint: Blueprint, site: Site) -> None:
    @blueprint.post("/preferences")
    def prefer() -> Response:
        """Show times in UTC, or have the keyboard's shortcuts, for this session."""
        session = site.session
        session.utc = request.form.get("utc", "on" if session.utc else "off") == "on"
        session.shortcuts = request.form.get("shortcuts", "on" if session.shortcuts else "off") == "on"
        response = site.to(_following(request.form.get("next")))
        wishes = ".".join([*([UTC] if session.utc else []), *([] if session.shortcuts else [NO_SHORTCUTS])])
        _set_cookie(site, response, WISHES, wishes, WISHES_SECONDS)
        return response

    @blueprint.get("/help")
    def explain() -> Response:
        """The keyboard's shortcuts."""
        return site.page("help.html")


def _judged(site: Site, token: str) -> Actor | None:
    header = f"Bearer {token}".encode().decode("latin-1")  # As a header would bring it.
    try:
        return site.front.guesses.judge(header, site.front.tokens.actor)
    except TooManyRequests as error:
        words = f"Too many wrong tokens came from your address. Try again in {error.retry_after} seconds."
        raise TooManyRequests(words, retry_after=error.retry_after) from error


def _entered(site: Site, actor: Actor, following: str) -> Response:
    """A new session under a new name, whatever cookie came along; who was logged in at this browser is not any more."""
    site.sessions.close(request.cookies.get(cookie_name()))
    wishes = request.cookies.get(WISHES, "").split(".")
    cookie = site.sessions.open(actor, utc=UTC in wishes, shortcuts=NO_SHORTCUTS not in wishes)
    logger.info("console entered", extra={"actor": f"{actor.role}:{actor.name}", "address": _address()})
    response = site.to(following)
    _set_cookie(site, response, cookie_name(), cookie)
    return response


def _set_cookie(site: Site, response: Response, name: str, value: str, seconds: int | None = None) -> None:
    response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite=SAME_SITE, secure=_is_https(site))


def _can_enter(site: Site) -> bool:
    return site.front.tokens.anybody_may("auditor")


def _is_https(site: Site) -> bool:
    return is_https(request.environ, site.front.trusted)


def _address() -> str:
    return str(request.environ.get(ADDRESS) or request.remote_addr or "")


def _following(path: str | None) -> str:
    return path if path and is_own_path(path) else "/"
