"""`/healthz` and `/readyz`: whether the process lives, and whether it can do its work."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from flask import Blueprint, Response


def make_blueprint(reasons: Callable[[], list[str]]) -> Blueprint:
    """The two routes; `reasons` says why the process is not ready, in codes."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        found = reasons()
        return Response(msgspec.json.encode({"reasons": found}), 503 if found else 200, mimetype="application/json")

    return blueprint
