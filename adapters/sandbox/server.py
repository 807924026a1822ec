"""The HTTP face: the server, who may call, what goes wrong on purpose, and how refusals look."""

from __future__ import annotations

import hmac
import logging
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from cheroot import wsgi
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from adapters.sandbox import faults
from adapters.sandbox.errors import (
    UNREADABLE,
    BillBusy,
    CapabilityMissing,
    IntentRefused,
    InvalidRequest,
    SandboxError,
    Stopped,
    UnknownEvent,
    UnknownIntent,
    UnknownRefund,
    UnknownWebhook,
    WebhookClash,
)
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.sightings import IntentRead, Sightings
from adapters.sandbox.traffic import UNANSWERED, Traffic
from adapters.sandbox.wire import problem

DOJO_VERSION = "2026-02-27"
PRODUCTION_PREFIX = "sk_prod_"
CONTROL_PREFIX = "/sandbox/"
PAGES = "pages"
"""The blueprint of what people see: it has a guard of its own."""
MAX_BODY_BYTES = 1024 * 1024
SERVER_THREADS = 16
IDLE_SECONDS = 10
"""A connection that says nothing for so long is closed."""
STOP_POLL_SECONDS = 0.05
"""How often cheroot's idle loop looks up; its default of half a second is what every stop would take."""
CONNECTION = "sandbox.connection"
"""WSGI environment key: the caller's `Connection`."""
DRIP_SECONDS = 0.2
"""Between two bytes of an answer that drips."""
GARBAGE = b"<html><body>Bad gateway</body>"
ERROR_STATUS: dict[type[SandboxError], int] = {
    InvalidRequest: 400,
    UnknownEvent: 404,
    UnknownIntent: 404,
    UnknownRefund: 404,
    UnknownWebhook: 404,
    IntentRefused: 409,
    WebhookClash: 409,
    CapabilityMissing: 409,
    BillBusy: 409,
}

logger = logging.getLogger(__name__)


class Server(wsgi.Server):
    """cheroot, able to drop a connection without an answer, quick to stop, and with its errors in our log."""

    expiration_interval = STOP_POLL_SECONDS

    def __init__(self, address: tuple[str, int], app: Flask) -> None:
        super().__init__(address, app, numthreads=SERVER_THREADS, server_name="sandbox", timeout=IDLE_SECONDS)
        self.gateway = _Gateway

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """cheroot's own complaints."""
        logger.log(level, "server complained", extra={"complaint": msg}, exc_info=traceback)


class _Gateway(wsgi.Gateway_10):
    def __init__(self, req: Any) -> None:
        super().__init__(req)
        self.env[CONNECTION] = Connection(req.conn.socket)


class Connection:
    """The socket under a request, for what HTTP has no words for."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def hang_up(self) -> None:
        """Close it under the answer."""
        with suppress(OSError):  # The caller may have hung up first.
            self._socket.shutdown(socket.SHUT_RDWR)

    def has_left(self) -> bool:
        """The caller hung up; one who speaks out of turn is still there."""
        try:
            return bool(select.select([self._socket], [], [], 0)[0]) and not self._socket.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True


class Gate:
    """Stands before and after every call: faults, credentials, version; then the record of the call.

    Control routes need the API key only: they are ours, not Dojo's, and leave no message. Nor do pages, which are not its business at all.
    """

    def __init__(self, *, api_key: str, rules: Faults, sightings: Sightings, traffic: Traffic) -> None:
        if api_key.startswith(PRODUCTION_PREFIX):
            raise InvalidRequest("a production key has no place in a sandbox: make one up that starts with sk_sandbox_")
        self._api_key = api_key
        self._rules = rules
        self._sightings = sightings
        self._traffic = traffic

    def guard(self, app: Flask) -> None:
        """Take the place before and after the app's views."""
        app.before_request(self._enter)
        app.after_request(self._leave)

    def _enter(self) -> Response | None:
        g.began, g.note, g.fact, g.rule = self._traffic.now(), "", None, None
        if PAGES in request.blueprints:
            return None
        if request.path.startswith(CONTROL_PREFIX):
            return self._refuse_key()
        rule = self._rules.take(request.method, request.path)
        if rule:
            g.note, g.rule = f"fault: {rule.kind}", rule
        if rule and rule.kind not in faults.SPOILED:
            return self._instead(rule)
        return self._refuse_key() or _refuse_version()

    def _instead(self, rule: Fault) -> Response:
        """The call is not done; what its caller gets."""
        if rule.status:
            return _as_told(rule)
        if rule.kind == faults.TIMEOUT:
            self._hold(rule.hold_seconds)
        return Response(status=204)

    def _hold(self, seconds: float) -> None:
        request.get_data()  # What is left unread would look like a caller who speaks.
        connection, until = request.environ[CONNECTION], self._traffic.now() + seconds
        with suppress(Stopped):
            while self._traffic.now() < until and not connection.has_left():
                self._sightings.pause(STOP_POLL_SECONDS)

    def _leave(self, response: Response) -> Response:
        if request.path.startswith(CONTROL_PREFIX) or PAGES in request.blueprints:
            return response
        rule: Fault | None = g.rule
        is_whole = rule is None or bool(rule.status) or rule.kind == faults.GARBAGE
        status = (200 if rule and rule.kind == faults.GARBAGE else response.status_code) if is_whole else UNANSWERED
        self._traffic.record("->", request.method, request.path, status=status, began=g.began, note=g.note)
        # After the record, so that what a flow does next comes after it there. A read whose answer was spoiled told the POS nothing.
        if g.fact and not (rule and isinstance(g.fact, IntentRead)):
            self._sightings.note(g.fact)
        return self._spoiled(response, rule) if rule and not rule.status else response

    def _spoiled(self, response: Response, rule: Fault) -> Response:
        connection: Connection = request.environ[CONNECTION]
        if rule.kind == faults.GARBAGE:
            return Response(GARBAGE, 200, content_type="text/html")
        if rule.kind == faults.DRIP:
            body = response.get_data()
            headers = {"Content-Length": str(len(body))}
            return Response(
                self._drip(body, connection, rule.hold_seconds), response.status_code, headers, content_type=response.content_type
            )
        connection.hang_up()
        return response

    def _drip(self, body: bytes, connection: Connection, seconds: float) -> Iterator[bytes]:
        until = self._traffic.now() + seconds
        with suppress(Stopped):
            for index in range(len(body)):
                yield body[index : index + 1]
                if self._traffic.now() >= until or connection.has_left():
                    break
                self._sightings.pause(DRIP_SECONDS)
        connection.hang_up()

    def _refuse_key(self) -> Response | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if key.startswith(PRODUCTION_PREFIX):
            return _refusal(401, "a production key (sk_prod_) was sent to a sandbox; treat it as exposed and use an sk_sandbox_ key")
        if scheme.lower() != "basic" or not hmac.compare_digest(key.encode(), self._api_key.encode()):
            return _refusal(401, "Authorization must be `Basic` and the API key as it is, without base64 and without a colon")
        return None


def _refuse_version() -> Response | None:
    version = request.headers.get("version")
    if version == DOJO_VERSION:
        return None
    return _refusal(400, f"header version must be {DOJO_VERSION}, came {version!r}")


def _as_told(rule: Fault) -> Response:
    response = _refusal(rule.status, "this answer was asked for by a fault")
    if rule.status == 429:
        response.headers["Retry-After"] = str(rule.retry_after_seconds)
    return response


def _refusal(status: int, detail: str) -> Response:
    title = {400: "Bad request", 401: "Unauthorized", 404: "Not found", 409: "Conflict"}.get(status, "Error")
    return answer(problem(status, title, detail), status)


def answer(body: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(body), status, content_type="application/json")


def also(note: str) -> str:
    """What the record of messages says of this call, with the fault that spoils it."""
    return f"{note} ({g.note})" if g.note else note


T = TypeVar("T")


def parsed(decoder: msgspec.json.Decoder[T]) -> T:
    """The request's body as the decoder's type. Raises InvalidRequest, naming the field."""
    if not request.is_json:
        raise UnsupportedMediaType("content-type must be application/json")
    try:
        return decoder.decode(request.get_data())
    except UNREADABLE as error:
        raise InvalidRequest(str(error)) from error


def new_app(name: str) -> Flask:
    """A Flask app without routes, whose errors are `ProblemDetails`."""
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(SandboxError, _sandbox_error)
    return app


def _http_error(error: HTTPException) -> Response:
    return answer(problem(error.code or 500, error.name, error.description or ""), error.code or 500)


def _sandbox_error(error: SandboxError) -> Response:
    return _refusal(ERROR_STATUS.get(type(error), 500), str(error))
