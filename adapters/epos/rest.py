"""Dojo's side over HTTP: routes exactly as the EPOS Data API has them, and `POST /v1/events`."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import ServiceUnavailable, Unauthorized

from adapters.edge import BasicCredentials, api_page, error_answer, install, json_body, trace_id
from adapters.edge.answers import raw_body
from adapters.edge.limits import BUSY_SECONDS, Guesses
from adapters.edge.strict_json import convert, read_json
from adapters.edge.wire import EventRequestBody
from adapters.epos.document import dojo_document
from adapters.epos.handlers import Caller, Handlers
from adapters.epos.operations import OPERATIONS, Operation
from adapters.epos.signature import is_signed

T = TypeVar("T")
OPEN_ENDPOINTS = frozenset({"healthz", "webhook"})
"""Neither takes credentials: the one needs none, the other is signed."""
PUBLIC_ENDPOINTS = OPEN_ENDPOINTS | api_page.ENDPOINTS
WEBHOOK_BODIES = 48
"""Bodies of webhooks that are read at once: a body that stalls holds a thread, and here anybody may send one. Fewer than there are
places for strangers, one of whom may be Dojo at an address that it has not called from before."""

_SLASHES = re.compile("/{2,}")


class Body(Protocol):
    """Reads the present request's body as a wire type."""

    def __call__(self, type_: type[T]) -> T:
        """The body. Raises BadInput, BodyTooLarge, UnsupportedMediaType."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSettings:
    """Who may call (None: anybody, only for tests), and the limits of a body."""

    credentials: BasicCredentials | None
    guesses: Guesses
    max_body: int
    max_depth: int
    webhook_secrets: tuple[str, ...] = ()


def make_app(handlers: Handlers, settings: RestSettings) -> Flask:
    """The Flask application of Dojo's side. Every failure is an `EPOSError`."""
    app = Flask("tillproof.epos", static_folder=None)
    app.url_map.merge_slashes = False
    install(app)
    app.before_request(lambda: _authenticate(settings))

    def body(type_: type[T]) -> T:
        return json_body(type_, max_body=settings.max_body, max_depth=settings.max_depth)

    for operation in OPERATIONS:
        _route(app, handlers, operation, body)
    _route_events(app, handlers, settings)
    app.add_url_rule("/healthz", "healthz", _healthz)
    api_page.install_api(app, dojo_document())
    app.wsgi_app = _Slashes(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _route(app: Flask, handlers: Handlers, operation: Operation, body: Body) -> None:
    def view(**ids: str) -> Response:
        given = () if operation.request is None else (body(operation.request),)
        by = (_caller(),) if operation.names_caller else ()
        found = operation.serve(handlers, *(ids[name] for name in operation.ids), *given, *by)
        return _nothing() if operation.answer is None else _json(found)

    app.add_url_rule(operation.rule, operation.capability, view, methods=[operation.method])


def _caller() -> Caller:
    headers = request.headers
    return Caller(product=headers.get("dojo-requesting-product"), waiter_id=headers.get("waiter-id"), device_id=headers.get("device-id"))


def _route_events(app: Flask, handlers: Handlers, settings: RestSettings) -> None:
    places = threading.BoundedSemaphore(WEBHOOK_BODIES)

    @app.post("/v1/events")
    def handle_event() -> Response:
        """Credentials were checked; a signature is only where Dojo sends one, and must then be good (contract §5.3)."""
        raw, signature = raw_body(settings.max_body), request.headers.get("dojo-signature")
        if signature is not None and settings.webhook_secrets:
            _check_signature(raw, settings)
        return _json(handlers.handle_event(_event(raw, settings), "capability"))

    @app.post("/webhooks/dojo")
    def webhook() -> Response:
        if not places.acquire(blocking=False):
            raise ServiceUnavailable("too many webhooks at once", retry_after=BUSY_SECONDS)
        try:
            raw = raw_body(settings.max_body)
        finally:
            places.release()
        _check_signature(raw, settings)
        return _json(handlers.handle_event(_event(raw, settings), "webhook"))


def _check_signature(raw: bytes, settings: RestSettings) -> None:
    if not is_signed(raw, request.headers.get("dojo-signature"), settings.webhook_secrets):
        settings.guesses.refused("signature")
        raise Unauthorized("the signature is missing, or is not by a secret of this venue")


def _event(raw: bytes, settings: RestSettings) -> EventRequestBody:
    return convert(read_json(raw, max_body=settings.max_body, max_depth=settings.max_depth), EventRequestBody)


def _healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


def make_closed_app(reason: str, watch: Callable[[Flask], None]) -> Flask:
    """What answers while the journal must not be served: 503 to everything but `/healthz`. `watch` is to see all of it."""
    app = Flask("tillproof.closed", static_folder=None)
    install(app)
    watch(app)

    app.add_url_rule("/healthz", "healthz", _healthz)

    @app.before_request
    def refuse() -> Response | None:
        return None if request.endpoint in OPEN_ENDPOINTS else error_answer(503, reason, trace_id(), {"Retry-After": "60"})

    return app


def _authenticate(settings: RestSettings) -> Response | None:
    if settings.credentials is None or request.endpoint in PUBLIC_ENDPOINTS:
        return None
    if settings.guesses.judge(request.headers.get("Authorization"), settings.credentials.matches):
        return None
    return error_answer(
        401, "these are not the credentials that were registered", trace_id(), {"WWW-Authenticate": 'Basic realm="tillproof"'}
    )


def _json(answer: object) -> Response:
    return Response(msgspec.json.encode(answer), mimetype="application/json")


def _nothing() -> Response:
    """200 without a body, and therefore without a type of it."""
    response = Response()
    del response.headers["Content-Type"]
    return response


class _Slashes:
    """Folds `//`: the URL that Dojo has registered may have ended in a slash (contract §4.2)."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["PATH_INFO"] = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
        return self._app(environ, start_response)
