"""`GET /api/…` for auditors: orders, entries and tasks as they are stored."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from adapters.api.views import OrderView, Page, TaskView, entry_view, order_view, task_view
from adapters.edge.cursors import Cursors
from adapters.edge.roles import require
from adapters.edge.strict_json import BadInput, shown
from workflow.errors import UnknownOrder
from workflow.journal.reads import OrderFilter, Position, SqliteReads
from workflow.journal.schema import TASK_STATUSES
from workflow.lifecycle import ORDER

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
SEARCH_CHARACTERS = 255
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def make_blueprint(reads: SqliteReads, machine: str) -> Blueprint:
    """The routes below `/api`; `machine` is the order machine in force (`order@hash`)."""
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    cursors = Cursors(reads.secret())

    @blueprint.before_request
    def authorise() -> None:
        require("auditor")

    def one(order_id: str) -> OrderView:
        stored = reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {order_id[:80]}")
        return order_view(stored.order, machine)

    @blueprint.get("/orders")
    def orders() -> Response:
        wanted, limit = _order_filter(), _limit()
        after = cursors.position(request.args.get("after"), wanted, "after")
        found = [stored.order for stored in reads.orders(wanted, limit + 1, after=after)]
        last = found[limit - 1] if len(found) > limit else None
        token = cursors.token(Position(last.created_at, last.id), wanted) if last else None
        return _json(Page[OrderView](data=[order_view(order, machine) for order in found[:limit]], after=token))

    @blueprint.get("/orders/<order_id>")
    def order(order_id: str) -> Response:
        return _json(one(order_id))

    @blueprint.get("/orders/<order_id>/journal")
    def order_journal(order_id: str) -> Response:
        one(order_id)
        return _json([entry_view(stored) for stored in reads.entries(order_id=order_id)])

    @blueprint.get("/outbox")
    def outbox() -> Response:
        status, limit = _one_of("status", TASK_STATUSES), _limit()
        after = cursors.position(request.args.get("after"), status, "after")
        found = reads.tasks(status, limit + 1, after=after)
        last = found[limit - 1] if len(found) > limit else None
        token = cursors.token(Position(last.created_at, last.id), status) if last else None
        return _json(Page[TaskView](data=[task_view(row) for row in found[:limit]], after=token))

    @blueprint.get("/checkpoint")
    def checkpoint() -> Response:
        return Response(reads.newest_note() or "", mimetype="text/plain")

    return blueprint


def _order_filter() -> OrderFilter:
    text = request.args.get("search") or None
    if text and len(text) > SEARCH_CHARACTERS:
        raise BadInput("search", f"expected at most {SEARCH_CHARACTERS} characters")
    return OrderFilter(state=_one_of("state", ORDER.states), attention=_switch("attention"), text=text)


def _one_of(name: str, known: object) -> str | None:
    value = request.args.get(name)
    if value is not None and value not in known:  # type: ignore[operator]
        raise BadInput(name, f"expected one of {', '.join(known)}, got {shown(value)}")  # type: ignore[arg-type]
    return value


def _switch(name: str) -> bool:
    value = request.args.get(name, "false")
    if value not in _SWITCH:
        raise BadInput(name, f"expected true or false, got {shown(value)}")
    return _SWITCH[value]


def _limit() -> int:
    text = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT):
        raise BadInput("limit", f"expected 1 to {MAX_LIMIT}, got {shown(text)}")
    return int(text)


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), mimetype="application/json")
