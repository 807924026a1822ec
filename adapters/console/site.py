"""What all pages share: who may see them, their frame, their refreshing, and how refusals look."""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, g, request
from markupsafe import Markup
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, RequestEntityTooLarge

from adapters.console.actions import in_buttons
from adapters.console.desk import Desk, Front
from adapters.console.freshness import Freshness
from adapters.console.paths import is_own_path, order_path
from adapters.console.sessions import Session
from adapters.console.troubles import in_words, problem_of
from adapters.edge.answers import http_error, is_for_people, logged_path, trace_id
from adapters.edge.credentials import Role
from adapters.edge.pages import POLICY, environment, moment, span, with_moments
from adapters.edge.strict_json import BadInput, without_card_numbers
from adapters.edge.wire import REASON_LENGTH
from workflow.clock import to_text
from workflow.errors import JournalDamaged, JournalUnavailable, WorkflowError

COOKIE = "tillproof_session_{}"
"""By the port: a browser sends a host's cookies to whatever else is served there, and takes another one's for the same."""
POLL = "X-Refresh"
"""The header of a page that asks for itself again: no person did anything."""
MAX_FORM_BYTES = 65_536
PUBLIC = frozenset({"console.login.show", "console.login.enter"})
"""Endpoints for those who are not logged in."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie",
}
"""Of every page, beside the MARKS of every answer. Without a referrer a browser would not say whose forms it sends."""

logger = logging.getLogger(__name__)


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
    """Renders the pages for whoever is logged in; `front` is a Desk unless the journal is shut."""

    def __init__(self, front: Front) -> None:
        self.front, self.sessions = front, front.sessions
        self._templates = environment(__package__)
        self._templates.filters |= {"buttons": in_buttons, "moments": with_moments}
        self._templates.globals |= {"reason_length": REASON_LENGTH, "order_path": order_path}

    @property
    def desk(self) -> Desk:
        """What pages ask and act through, where the journal is open."""
        assert isinstance(self.front, Desk)
        return self.front

    @cached_property
    def freshness(self) -> Freshness:
        """Whether the journal changed, and what is computed once for all who ask until it does."""
        return Freshness(self.desk.reads)

    def guard(self, blueprint: Blueprint) -> Blueprint:
        """The same blueprint: for people who are logged in, its forms with their token, its refusals as pages."""
        blueprint.before_request(self._enter)
        blueprint.register_error_handler(HTTPException, self._http_error)
        blueprint.register_error_handler(BadInput, lambda error: self.problem(400, str(error)))
        blueprint.register_error_handler(WorkflowError, self._workflow_error)
        blueprint.register_error_handler(Exception, self._unforeseen)
        return blueprint

    def guard_elsewhere(self, blueprint: Blueprint) -> None:
        """Let refusals of paths that are no page's be pages to people who came there by a browser."""
        blueprint.app_errorhandler(HTTPException)(self._elsewhere)

    @property
    def session(self) -> Session:
        """Whose request this is."""
        session: Session = g.session
        return session

    @property
    def zone(self) -> ZoneInfo:
        """In which moments are shown: the venue's, unless this person asked for UTC."""
        return ZoneInfo("UTC") if self.session.utc else self.front.zone

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
        if not 1 <= len(text) <= REASON_LENGTH or not text.isprintable():
            raise BadInput("reason", f"expected 1 to {REASON_LENGTH:,} characters that say why")
        return without_card_numbers(text)

    def say(self, message: str, kind: Literal["good", "warn", "bad"] = "good") -> None:
        """Tell this person once, on the next page: that something was done, that it was done in part or before, or that it was not."""
        self.session.said.append((message, kind))

    def to(self, path: str) -> Response:
        """What follows a form: the page at `path`, by GET."""
        return Response(status=303, headers={**HEADERS, "Location": path})

    def page(self, template: str, status: int = 200, /, *, by_journal: bool = False, **values: Any) -> Response:
        """The page, or 304 where the browser has it as it is now. What is to be told once is told by the first answer that is whole.

        `by_journal`: it shows nothing but what stands in the journal, what the frame shows, and ages by the clock's minute (`span`). It is
        then not even made while none of that has changed: see Freshness.
        """
        html = self._templates.get_template(template).render(**self._frame(), **values)
        response = Response(html, status, mimetype="text/html", headers=HEADERS)
        digest = hashlib.sha256(html.encode()).hexdigest()[:32]
        if status == 200:
            response.set_etag(f"{g.get('stamp', '') if by_journal else ''}.{digest}")
            if any(known.rpartition(".")[2] == digest for known in request.if_none_match.as_set(include_weak=True)):
                return _unchanged(response.headers["ETag"])
        return response

    def problem(self, status: int, message: str, *, following: str = "", detail: str = "") -> Response:
        """A refusal, as a page: what is wrong, what to do about it, and what exactly was found."""
        return self.page("problem.html", status, status=status, message=message, following=following, detail=detail)

    def minute(self) -> str:
        """The minute that it is, UTC text: pages show no age that changes within it."""
        return to_text(self.front.clock.now())[:16]

    def _enter(self) -> Response | None:
        request.max_content_length = MAX_FORM_BYTES
        g.session = self.sessions.find(request.cookies.get(cookie_name()), is_use=POLL not in request.headers)
        if request.method == "POST":
            _refuse_unreadable_form()
            _refuse_foreign_form()
        if request.endpoint in PUBLIC:
            return None
        if g.session is None:
            return _to_login()
        if request.method == "POST" and not _equal(request.form.get("csrf", ""), self.session.csrf):
            raise Forbidden("This form is too old, or not ours: open the page again, and try once more.")
        self.require("auditor")
        return self._unchanged_since()

    def _unchanged_since(self) -> Response | None:
        """304 to a page that asks for itself, where its stamp says that nothing that it shows has changed."""
        if not isinstance(self.front, Desk) or request.method == "POST":
            return None
        g.stamp = self._stamp()
        if POLL in request.headers and g.stamp:
            for known in request.if_none_match.as_set(include_weak=True):
                if known.partition(".")[0] == g.stamp:
                    return _unchanged(f'"{known}"')
        return None

    def _stamp(self) -> str:
        session, heard = self.session, self.desk.heard_at()
        person = session.csrf, session.utc, session.shortcuts
        return self.freshness.stamp(request.full_path, self.minute(), self.front.reasons(), heard and to_text(heard)[:16], person)

    def _frame(self) -> dict[str, Any]:
        """What the frame of every page shows."""
        session: Session | None = g.get("session")
        now, is_poll = self.front.clock.now(), POLL in request.headers
        zone = ZoneInfo("UTC") if session and session.utc else self.front.zone
        today = f"{now.astimezone(zone):%Y-%m-%d}"
        said: list[tuple[str, str]] = []
        if session and not is_poll:
            said, session.said = session.said, []  # In one step: what another page says meanwhile is told by the next one.

        def shown(at: str) -> Markup:
            return moment(at, self.front.zone, today, utc=bool(session and session.utc))

        return {
            "desk": self.front,
            "session": session,
            "navigation": NAVIGATION if isinstance(self.front, Desk) else (),
            "here": request.path,
            "came_by": request.full_path.rstrip("?") if request.method == "GET" else "/",
            "zone": zone,
            "today": today,
            "said": said,
            "moment": shown,
            "since": lambda at: span(now, at),
            "may": self.may if session else lambda role: False,
            "troubles": [in_words(code) for code in self.front.reasons()],
            "attention_count": self._attention_count() if session else None,
            "heard_at": self._heard_at() if session else None,
        }

    def _attention_count(self) -> int | None:
        """How much needs a person; None where nobody can tell."""
        if not isinstance(self.front, Desk):
            return None
        try:
            stored = self.freshness.shared("attention", "", self.desk.reads.attention_counts)
        except (JournalUnavailable, JournalDamaged):
            return None
        return sum(stored.values()) + len(self.desk.health.attention())

    def _heard_at(self) -> str | None:
        heard = self.desk.heard_at() if isinstance(self.front, Desk) else None
        return to_text(heard) if heard else None

    # -- refusals

    def _http_error(self, error: HTTPException) -> Response:
        code = error.code or 500
        response = self.problem(code, _told(error))
        response.headers.extend((name, value) for name, value in error.get_headers() if name in {"Retry-After", "Allow"})
        return response

    def _workflow_error(self, error: WorkflowError) -> Response:
        found = problem_of(error)
        if found.status >= 500:
            logger.warning("page not made", extra={"trace_id": trace_id(), "path": logged_path(), "error": str(error)})
        response = self.problem(found.status, found.message, following=found.following, detail=found.detail)
        if found.status == 503:
            response.headers["Retry-After"] = str(found.retry_after)
        return response

    def _unforeseen(self, error: Exception) -> Response:
        logger.error("page failed", extra={"trace_id": trace_id(), "path": logged_path()}, exc_info=error)
        return self.problem(500, "This page could not be made. Nothing more is known here; the log has it.", detail=trace_id())

    def _elsewhere(self, error: HTTPException) -> Response:
        if not is_for_people(request.path, request.headers.get("Accept", "")):
            return http_error(error)
        g.session = self.sessions.find(request.cookies.get(cookie_name()), is_use=False)
        return self._http_error(error)


def cookie_name() -> str:
    """That of the present request's session."""
    return COOKIE.format(request.environ["SERVER_PORT"])


def _to_login() -> Response:
    """The login, and from there to the page that was wanted; to the one with the form where a form came too late."""
    wanted = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else _came_from()
    path = f"/login?next={quote(wanted, safe='/')}" if wanted != "/" and is_own_path(wanted) else "/login"
    return Response(status=303, headers={**HEADERS, "Location": path})


def _came_from() -> str:
    """The page of ours that led here, "/" where the browser does not say."""
    host, _, path = (request.referrer or "").partition("://")[2].partition("/")
    return f"/{path}" if host == request.host else "/"


def _unchanged(etag: str) -> Response:
    return Response(status=304, headers={**HEADERS, "ETag": etag})


def _refuse_unreadable_form() -> None:
    """A body that broke off, or whose pieces make no sense, is no form. Raises BadRequest; RequestEntityTooLarge beyond the limit."""
    try:
        request.form  # noqa: B018  # Reads it.
    except RequestEntityTooLarge as error:
        raise RequestEntityTooLarge(f"A form may have {MAX_FORM_BYTES:,} bytes.") from error
    except (OSError, ValueError) as error:
        raise BadRequest("The form did not arrive whole: try once more.") from error


def _refuse_foreign_form() -> None:
    """A browser says whose page a form stood on; what says nothing is no browser, and nobody is logged in there against their will."""
    came_from, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_ours = came_from in {"same-origin", "none"} if came_from else origin is None or origin.partition("://")[2] == request.host
    if not is_ours:
        raise Forbidden("This form came from another site, and was not followed.")


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _told(error: HTTPException) -> str:
    """Only texts given at the raise are repeated: the framework's own speak of servers and URLs."""
    return str(vars(error).get("description") or "")
