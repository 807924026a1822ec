"""Dojo's side over HTTP: routes exactly as the EPOS Data API has them, and `POST /v1/events`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, request

from adapters.edge import BasicCredentials, error_answer, install, json_body, trace_id
from adapters.edge.wire import CreateOrderRequest, EventRequestBody, SearchOrdersRequest, encode
from adapters.epos.handlers import Handlers

T = TypeVar("T")
OPEN_ENDPOINTS = frozenset({"healthz"})
_SLASHES = re.compile("/{2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSettings:
    """Who may call (None: anybody, only for tests), and the limits of a body."""

    credentials: BasicCredentials | None
    max_body: int
    max_depth: int


def make_app(handlers: Handlers, settings: RestSettings) -> Flask:
    """The Flask application of Dojo's side. Every failure is an `EPOSError`."""
    app = Flask("tillproof.epos", static_folder=None)
    app.url_map.merge_slashes = False
    install(app)
    app.before_request(lambda: _authenticate(settings.credentials))

    def body(type_: type[T]) -> T:
        return json_body(type_, max_body=settings.max_body, max_depth=settings.max_depth)

    @app.post("/v1/orders")
    def create_order() -> Response:
        return _json(handlers.create_order(body(CreateOrderRequest)))

    @app.get("/v1/orders/<order_id>")
    def get_order(order_id: str) -> Response:
        return _json(handlers.get_order(order_id))

    @app.post("/v1/orders/search")
    def search_orders() -> Response:
        return _json(handlers.search_orders(body(SearchOrdersRequest)))

    @app.post("/v1/events")
    def handle_event() -> Response:
        return _json(handlers.handle_event(body(EventRequestBody), "capability"))

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    app.wsgi_app = _Slashes(app.wsgi_app)  # type: ignore[method-assign]
    return app


def make_closed_app(reason: str) -> Flask:
    """What answers while the journal must not be served: 503 to everything but `/healthz`."""
    app = Flask("tillproof.closed", static_folder=None)
    install(app)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.before_request
    def refuse() -> Response | None:
        return None if request.endpoint in OPEN_ENDPOINTS else error_answer(503, reason, trace_id(), {"Retry-After": "60"})

    return app


def _authenticate(credentials: BasicCredentials | None) -> Response | None:
    if credentials is None or request.endpoint in OPEN_ENDPOINTS or credentials.matches(request.headers.get("Authorization")):
        return None
    return error_answer(
        401, "these are not the credentials that were registered", trace_id(), {"WWW-Authenticate": 'Basic realm="tillproof"'}
    )


def _json(answer: msgspec.Struct) -> Response:
    return Response(encode(answer), mimetype="application/json")


class _Slashes:
    """Folds `//`: the URL that Dojo has registered may have ended in a slash (contract §4.2)."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["PATH_INFO"] = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
        return self._app(environ, start_response)
