"""The HTTP face: the server, who may call, what goes wrong on purpose, and how refusals look."""

from __future__ import annotations

import hmac
import logging
import socket
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
from cheroot import wsgi
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from adapters.sandbox import faults
from adapters.sandbox.errors import UNREADABLE, CapabilityMissing, IntentRefused, InvalidRequest, SandboxError, UnknownIntent
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.sightings import IntentRead, Sightings
from adapters.sandbox.traffic import UNANSWERED, Traffic
from adapters.sandbox.wire import problem

DOJO_VERSION = "2026-02-27"
PRODUCTION_PREFIX = "sk_prod_"
CONTROL_PREFIX = "/sandbox/"
MAX_BODY_BYTES = 1024 * 1024
SERVER_THREADS = 16
IDLE_SECONDS = 10
"""A connection that says nothing for so long is closed."""
STOP_POLL_SECONDS = 0.05
"""How often cheroot's idle loop looks up; its default of half a second is what every stop would take."""
HANG_UP = "sandbox.hang_up"
"""WSGI environment key: a function that closes the connection under the answer."""
ERROR_STATUS = {InvalidRequest: 400, UnknownIntent: 404, IntentRefused: 409, CapabilityMissing: 409}

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
        self.env[HANG_UP] = partial(_hang_up, req.conn.socket)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # The caller may have hung up first.
        connection.shutdown(socket.SHUT_RDWR)


class Gate:
    """Stands before and after every call: faults, credentials, version; then the record of the call.

    Control routes need the API key only: they are ours, not Dojo's, and leave no message.
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
        g.began, g.note, g.fact, g.hangs_up = self._traffic.now(), "", None, False
        if request.path.startswith(CONTROL_PREFIX):
            return self._refuse_key()
        rule = self._rules.take(request.method, request.path)
        if rule:
            g.note = f"fault: {rule.kind}"
            g.hangs_up = not rule.status
        if rule and rule.kind != faults.LOST:
            return _as_told(rule)
        return self._refuse_key() or _refuse_version()

    def _leave(self, response: Response) -> Response:
        if request.path.startswith(CONTROL_PREFIX):
            return response
        status = UNANSWERED if g.hangs_up else response.status_code
        self._traffic.record("->", request.method, request.path, status=status, began=g.began, note=g.note)
        # After the record, so that what a flow does next comes after it there. A read whose answer was lost told the POS nothing.
        if g.fact and not (g.hangs_up and isinstance(g.fact, IntentRead)):
            self._sightings.note(g.fact)
        if g.hangs_up:
            request.environ[HANG_UP]()
        return response

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
    if not rule.status:
        return Response(status=204)
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
