"""What a till can ask of us: open a bill that a customer will pay."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response

from adapters.edge import json_body
from adapters.edge.orders import answer, new_order_id
from adapters.edge.roles import require
from adapters.edge.wire import OpenOrderRequest, check_bill, encode, to_bill, to_personal
from workflow.clock import Clock
from workflow.commands import OpenOrder
from workflow.engine import Engine
from workflow.ports import OrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class TillSettings:
    """The venue's currency and the limits of a body."""

    currency: str
    max_body: int
    max_depth: int


def make_blueprint(engine: Engine, clock: Clock, settings: TillSettings) -> Blueprint:
    """The routes below `/till`."""
    blueprint = Blueprint("till", __name__, url_prefix="/till")

    @blueprint.post("/orders")
    def open_order() -> Response:
        actor = require("till")
        request = json_body(OpenOrderRequest, max_body=settings.max_body, max_depth=settings.max_depth)
        bill = to_bill(request)
        check_bill(bill, settings.currency)
        command = OpenOrder(
            order_id=OrderId(request.id) if request.id else new_order_id(clock),
            key=request.id or "",
            bill=bill,
            personal=to_personal(request),
            actor=actor,
        )
        outcome = engine.handle(command)
        if outcome.refusal:
            raise outcome.refusal
        assert outcome.order is not None
        return Response(encode(answer(outcome.order, outcome.personal)), mimetype="application/json")

    return blueprint
