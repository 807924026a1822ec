"""What an operator may do while the journal is not served since it lacks entries: see why, and accept the loss with a reason (S11)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from flask import Blueprint, Response

from adapters.api.resolving import accept_loss_request
from adapters.api.views import attention_views
from adapters.edge.roles import require
from workflow.attention import concerns
from workflow.journal.reads import StoredAttention


def make_blueprint(code: str, since: str, detail: str, accept: Callable[[str, str], str]) -> Blueprint:
    """`GET /api/attention` says what is wrong; `POST /api/resolve` calls `accept` with the operator and the reason and serves again."""
    blueprint = Blueprint("closed", __name__, url_prefix="/api")

    @blueprint.get("/attention")
    def attention() -> Response:
        require("auditor")
        row = StoredAttention(order_id="", code=code, payment_intent_id="", since=since, detail=detail)
        return Response(msgspec.json.encode({"data": attention_views(concerns([(row, None)]))}), mimetype="application/json")

    @blueprint.post("/resolve")
    def resolve() -> Response:
        actor = require("operator")
        lost = accept(actor, accept_loss_request())
        return Response(msgspec.json.encode({"resolved": code, "lost": lost}), mimetype="application/json")

    return blueprint
