"""What all pages share: who may see them, their frame, their refreshing, and how refusals look."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, g, request
from markupsafe import Markup
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException

from adapters.console.desk import Desk
from adapters.console.sessions import Session, Sessions
from adapters.edge.credentials import Role
from adapters.edge.pages import POLICY, environment, moment
from adapters.edge.strict_json import BadInput, without_card_numbers
from workflow.errors import Refused, WorkflowError

COOKIE = "tillproof_session"
POLL = "X-Refresh"
"""The header of a page that asks for itself again: no person did anything."""
MAX_FORM_BYTES = 65_536
REASON_CHARACTERS = 500
PUBLIC = frozenset({"console.login.show", "console.login.enter"})
"""Endpoints for those who are not logged in."""


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation."""

    path: str
    name: str


NAVIGATION = (
    Place("/", "Today"),
    Place("/orders", "Orders"),
    Place("/attention", "Needs attention"),
    Place("/takings", "Takings"),
    Place("/journal", "Journal"),
    Place("/machines", "Machines"),
    Place("/setup", "Setup"),
)


class Site:
    """Renders the pages around `desk` for whoever is logged in."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.sessions = desk, Sessions(desk.clock)
        self._templates = environment(__package__)

    def guard(self, blueprint: Blueprint) -> Blueprint:
        """The same blueprint: for people who are logged in, its forms with their token, its refusals as pages."""
        blueprint.before_request(self._enter)
        blueprint.register_error_handler(HTTPException, self._http_error)
        blueprint.register_error_handler(BadInput, lambda error: self.problem(400, str(error)))
        blueprint.register_error_handler(Refused, lambda error: self.problem(409, str(error)))
        blueprint.register_error_handler(WorkflowError, lambda error: self.problem(503, str(error)))
        return blueprint

    @property
    def session(self) -> Session:
        """Whose request this is."""
        session: Session = g.session
        return session

    @property
    def zone(self) -> ZoneInfo:
        """In which moments are shown: the venue's, unless this person asked for UTC."""
        return ZoneInfo("UTC") if self.session.utc else self.desk.zone

    def may(self, role: Role) -> bool:
        """Whether this person may do what `role` may: for templates that leave out what would be refused."""
        return self.session.actor.may(role)

    def require(self, role: Role) -> str:
        """The actor as the journal names it (`operator:jo`). Raises Forbidden."""
        actor = self.session.actor
        if not actor.may(role):
            raise Forbidden(f"this needs the role {role}, you have {actor.role}")
        return f"{actor.role}:{actor.name}"

    def reason(self) -> str:
        """The reason that a person gives in a form, without card numbers. Raises BadInput."""
        text = " ".join(request.form.get("reason", "").split())
        if not 1 <= len(text) <= REASON_CHARACTERS or not text.isprintable():
            raise BadInput("reason", f"expected 1 to {REASON_CHARACTERS} characters that say why")
        return without_card_numbers(text)

    def say(self, message: str) -> None:
        """Tell this person once, on the next page."""
        self.session.said.append(message)

    def to(self, path: str) -> Response:
        """What follows a form: the page at `path`, by GET."""
        return Response(status=303, headers={"Location": path})

    def page(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """The page, or 304 where the browser has it as it is now. What is to be told once is told by the first answer that is whole."""
        html = self._templates.get_template(template).render(**self._frame(), **values)
        response = Response(html, status, mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache, private"
        response.set_etag(hashlib.sha256(html.encode()).hexdigest()[:32])
        if status == 200:
            response.make_conditional(request)
        return response

    def problem(self, status: int, message: str) -> Response:
        """A refusal, as a page."""
        return self.page("problem.html", status, status=status, message=message)

    def _enter(self) -> Response | None:
        request.max_content_length = MAX_FORM_BYTES
        g.session = self.sessions.find(request.cookies.get(COOKIE), is_use=POLL not in request.headers)
        if request.endpoint in PUBLIC:
            return None
        if g.session is None:
            return _to_login()
        if request.method == "POST" and not hmac.compare_digest(request.form.get("csrf", "").encode(), self.session.csrf.encode()):
            raise BadRequest("this form is too old, or not ours: open the page again, and try once more")
        self.require("auditor")
        return None

    def _frame(self) -> dict[str, Any]:
        """What the frame of every page shows."""
        session: Session | None = g.get("session")
        now = self.desk.clock.now()
        zone = ZoneInfo("UTC") if session and session.utc else self.desk.zone
        today = f"{now.astimezone(zone):%Y-%m-%d}"
        said = session.said[:] if session else []
        if session and POLL not in request.headers:
            session.said.clear()

        def shown(at: str) -> Markup:
            return moment(at, self.desk.zone, today, utc=bool(session and session.utc))

        return {
            "desk": self.desk,
            "session": session,
            "navigation": NAVIGATION,
            "here": request.path,
            "zone": zone,
            "today": today,
            "said": said,
            "moment": shown,
            "may": self.may if session else lambda role: False,
        }

    def _http_error(self, error: HTTPException) -> Response:
        code = error.code or 500
        response = self.problem(code, str(vars(error).get("description", error.name)))
        response.headers.extend((name, value) for name, value in error.get_headers() if name == "Retry-After")
        return response


def _to_login() -> Response:
    wanted = request.full_path.rstrip("?") if request.method == "GET" else "/"
    return Response(status=303, headers={"Location": "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"})


def is_own_path(path: str) -> bool:
    """Whether a browser that goes there stays with us."""
    parts = urlsplit(path)
    return path.startswith("/") and not path.startswith("//") and "\\" not in path and not parts.netloc and not parts.scheme
