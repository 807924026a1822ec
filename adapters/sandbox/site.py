"""What the sandbox's pages share: who may see them, their frame, how refusals look.

They are for a person at this machine, who has no key at hand. So only this machine's own names lead to them (a name that was rebound in
DNS does not), no other site's page may ask for them or send their forms, and from beyond loopback the API key is asked for first.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from typing import Any
from urllib.parse import urlsplit

from cachetools import TTLCache
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound

from adapters.edge.limits import Guesses
from adapters.edge.pages import POLICY, SHARED, environment, static_blueprint
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.server import ERROR_STATUS, PAGES
from adapters.sandbox.webhooks import is_loopback
from workflow.clock import Clock
from workflow.money import CurrencyMismatch

COOKIE = "tillproof_sandbox"
POLL = "X-Refresh"
"""The header of a page that asks for itself again: no person did anything."""
SESSION_SECONDS = 12 * 3600.0
SESSIONS = 100
MAX_FORM_BYTES = 65_536
LOGIN = f"{PAGES}.login"
ENTER = f"{PAGES}.enter"
STATIC = f"{PAGES}.static.static"
OWN, FROM_A_LINK = frozenset({"same-origin", "none"}), frozenset({"same-origin", "none", "same-site"})
"""What browsers say of where a request comes from (`Sec-Fetch-Site`): a form of ours; or a link on this machine, such as the console's."""


class Site:
    """Renders the sandbox's pages. `is_local`: it listens on loopback, and whoever is at this machine may use them."""

    def __init__(self, *, api_key: str, is_local: bool, clock: Clock) -> None:
        self._api_key, self._is_local = api_key, is_local
        self._secret = secrets.token_bytes(32)
        self._sessions: TTLCache[bytes, bool] = TTLCache(SESSIONS, SESSION_SECONDS, timer=clock.monotonic)
        self._guesses = Guesses("sandbox", clock, lambda _why: None)
        self._said: list[str] = []
        self._lock = threading.Lock()
        self._templates = environment(__package__)

    def blueprint(self, *parts: Blueprint) -> Blueprint:
        """All pages, guarded."""
        made = Blueprint(PAGES, __name__)
        made.before_request(self._enter)
        made.register_error_handler(HTTPException, self._http_error)
        made.register_error_handler(SandboxError, lambda error: self.problem(ERROR_STATUS.get(type(error), 502), str(error)))
        made.register_error_handler(CurrencyMismatch, lambda error: self.problem(400, f"two currencies in one sum: {error}"))
        made.register_blueprint(static_blueprint((__package__, SHARED)))
        made.add_url_rule("/login", "login", self._login)
        made.add_url_rule("/login", "enter", self._log_in, methods=["POST"])
        made.add_url_rule("/", "start", lambda: self.to("/phone"))
        for part in parts:
            made.register_blueprint(part)
        for place in ("/phone", "/panel"):
            made.add_url_rule(f"{place}/<path:unknown>", f"nothing{place[1:]}", _nothing)
        return made

    def say(self, message: str) -> None:
        """Tell the person once, on the next page."""
        with self._lock:
            self._said.append(message)

    def to(self, path: str) -> Response:
        """What follows a form: the page at `path`, by GET."""
        return Response(status=303, headers={"Location": path})

    def page(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """The page, or 304 where the browser has it as it is now."""
        with self._lock:
            said = self._said[:]
            if POLL not in request.headers:
                self._said.clear()
        html = self._templates.get_template(template).render(csrf=self._csrf(), here=request.path, said=said, **values)
        response = Response(html, status, mimetype="text/html")
        response.headers |= {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"}
        response.headers |= {"Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"}
        response.set_etag(hashlib.sha256(html.encode()).hexdigest()[:32])
        if status == 200:
            response.make_conditional(request)
        return response

    def problem(self, status: int, message: str) -> Response:
        """A refusal, as a page."""
        return self.page("problem.html", status, message=message)

    def _enter(self) -> Response | None:
        request.max_content_length = MAX_FORM_BYTES
        g.cookie = ""
        if self._is_local and not _is_this_machine(request.host):
            raise Forbidden("these pages are for this machine: open them by 127.0.0.1 or localhost")
        came_from = request.headers.get("Sec-Fetch-Site", "none")
        if request.method == "POST":
            if came_from not in OWN or not _is_own_origin():
                raise Forbidden("this form came from another site")
        elif came_from not in FROM_A_LINK:
            raise Forbidden("another site asked for this page: type its address, or open it from here")
        if request.endpoint in {LOGIN, ENTER, STATIC}:
            return None
        if not self._is_local and not self._find_session():
            return self.to("/login")
        if request.method == "POST" and not hmac.compare_digest(request.form.get("csrf", "").encode(), self._csrf().encode()):
            raise BadRequest("this form is too old: open the page again, and try once more")
        return None

    def _find_session(self) -> bool:
        g.cookie = request.cookies.get(COOKIE, "")
        with self._lock:
            return _digest(g.cookie) in self._sessions

    def _csrf(self) -> str:
        """Of this process, and of the session where there are sessions."""
        return hmac.new(self._secret, g.get("cookie", "").encode(), hashlib.sha256).hexdigest()

    def _login(self) -> Response:
        return self.page("login.html", refused="")

    def _log_in(self) -> Response:
        key = request.form.get("key", "").strip()
        if not self._guesses.judge(f"Basic {key}", lambda _header: hmac.compare_digest(key.encode(), self._api_key.encode())):
            return self.page("login.html", 401, refused="That is not this sandbox's API key.")
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_digest(cookie)] = True
        response = self.to("/phone")
        response.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="Strict", secure=request.is_secure)
        return response

    def _http_error(self, error: HTTPException) -> Response:
        return self.problem(error.code or 500, error.description or error.name)


def _nothing(unknown: str) -> Response:
    raise NotFound("there is no such page")


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()


def _is_this_machine(host: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:  # urllib's answer to unbalanced brackets
        return False


def _is_own_origin() -> bool:
    """The form's origin, where the browser names it, is where it is sent to."""
    origin = request.headers.get("Origin")
    return origin is None or origin == f"{request.scheme}://{request.host}"
