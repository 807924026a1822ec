"""`/healthz` and `/readyz`: whether the process lives, and whether it can do its work."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from flask import Blueprint, Response

from adapters.edge.openapi import Call


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Why the process is not ready, in codes; none where it is."""

    reasons: list[str]


# fmt: off
CALLS = (
    Call(id="healthz", method="GET", path="/healthz", tag="Service", summary="200 while the process lives.", answer=str, media="text/plain", stores=False),
    Call(id="readyz",  method="GET", path="/readyz",  tag="Service", summary="200 where it can do its work, or 503 with the reasons.", answer=Readiness, stores=False, otherwise=((503, "Not ready"),)),
)
# fmt: on


def make_blueprint(reasons: Callable[[], list[str]]) -> Blueprint:
    """The two routes; `reasons` says why the process is not ready, in codes."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        found = reasons()
        return Response(msgspec.json.encode(Readiness(reasons=found)), 503 if found else 200, mimetype="application/json")

    return blueprint
