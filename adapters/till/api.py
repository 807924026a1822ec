"""What a till can ask of us: open and amend bills, report the kitchen, refuse orders, say how the venue is, follow what changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from flask import Blueprint, Response, request

from adapters.edge import BadInput, json_body
from adapters.edge.openapi import Call, Query, Side
from adapters.edge.orders import answer, new_order_id
from adapters.edge.roles import require
from adapters.edge.strict_json import BODY, shown
from adapters.edge.wire import AreaBody, CatalogueBody, ReasonRequest, Request, TableBody
from adapters.edge.wire_orders import OpenOrderRequest, OrderAnswer, OrderStatus, check_bill, to_bill, to_personal
from workflow.clock import Clock
from workflow.commands import AmendOrder, OpenOrder, OrderRequest, RefuseOrder, ReportProgress, SetVenue
from workflow.engine import Engine
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.ports import OrderId
from workflow.proof import ProvenReceipt, Prover
from workflow.unit import Outcome

T = TypeVar("T")
FEED_LIMIT = 100
FEED_MAX_LIMIT = 500
FEED_MAX_WAIT_S = 30
"""A long poll holds a thread of the venue's side: longer waits are cut to this."""
FEED_WAITERS = 8
"""At most this many tills wait at once; further ones are answered at once and ask again."""
FEED_LONGEST_WISH_S = 3_600
FEED_MAX_AFTER = 2**62
MAX_PLACES = 10_000
"""Areas, and tables, at most."""
MAX_CATALOGUE = 20_000
"""PLUs at most. What a till with many or long ones meets first is MAX_BODY: 10,000 entries of 100 bytes are 1 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TillSettings:
    """The venue's currency and the limits of a body."""

    currency: str
    max_body: int
    max_depth: int


class StatusRequest(Request, frozen=True, kw_only=True):
    """The kitchen's status of an order, in Dojo's word."""

    status: OrderStatus


class RefuseRequest(ReasonRequest, frozen=True, kw_only=True):
    """Why the till cannot take an order."""


class StateRequest(Request, frozen=True, kw_only=True):
    """Whether the venue takes orders."""

    taking_orders: bool


class FeedItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that changed: an entry of the journal, and the order as it is now; `order_seq` is how far that order has come."""

    seq: int
    at: str
    order_id: str
    machine: str
    trigger: str
    from_state: str
    to_state: str
    payment_intent_id: str
    order_seq: int
    order: OrderAnswer


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """What changed since, oldest first; asking for what follows `after` acknowledges all of it."""

    data: list[FeedItem]
    after: int


class TillReceipts(msgspec.Struct, frozen=True, kw_only=True):
    """Receipts, oldest first."""

    data: list[ProvenReceipt]


_TILL: Side = {"tag": "Till", "security": "token", "role": "till"}
_FEED = (
    Query("after", Annotated[int, msgspec.Meta(ge=0, le=FEED_MAX_AFTER)], "the last position that the till has seen", 0),
    Query("limit", Annotated[int, msgspec.Meta(ge=1, le=FEED_MAX_LIMIT)], "how many at most", FEED_LIMIT),
    Query("wait", Annotated[int, msgspec.Meta(ge=0, le=FEED_LONGEST_WISH_S)], f"seconds to wait; at most {FEED_MAX_WAIT_S} count", 0),
)
_Areas = Annotated[list[AreaBody], msgspec.Meta(max_length=MAX_PLACES)]
_Tables = Annotated[list[TableBody], msgspec.Meta(max_length=MAX_PLACES)]
_Catalogue = Annotated[list[CatalogueBody], msgspec.Meta(max_length=MAX_CATALOGUE)]

# fmt: off
CALLS = (
    # id is the method of TillApi that serves it
    Call(id="open_order",      method="POST", path="/till/orders",                   request=OpenOrderRequest, answer=OrderAnswer,    refuses=True, summary="Open a bill; the same id and body again is the same order.", **_TILL),
    Call(id="amend_order",     method="PUT",  path="/till/orders/{order_id}",        request=OpenOrderRequest, answer=OrderAnswer,    refuses=True, summary="Amend a bill; 409 while Dojo holds the lock or a payment is under way.", **_TILL),
    Call(id="report_progress", method="POST", path="/till/orders/{order_id}/status", request=StatusRequest,    answer=OrderAnswer,    refuses=True, summary="Report the kitchen's progress; 409 names the statuses that may follow.", **_TILL),
    Call(id="refuse_order",    method="POST", path="/till/orders/{order_id}/refuse", request=RefuseRequest,    answer=OrderAnswer,    refuses=True, summary="Say that the till cannot take the order; 409 while Dojo holds the lock.", **_TILL),
    Call(id="own_receipts",    method="GET",  path="/till/orders/{order_id}/receipts",                           answer=TillReceipts,   summary="Read the receipts of what tills asked of the order.", **_TILL),
    Call(id="set_state",       method="PUT",  path="/till/state",                    request=StateRequest,     answer=StateRequest,   summary="Say whether the venue takes orders; if not, CreateOrder is answered with 409.", **_TILL),
    Call(id="set_areas",       method="PUT",  path="/till/areas",                    request=_Areas,           answer=dict[str, int], summary="Give the whole list of areas, replacing the last.", **_TILL),
    Call(id="set_tables",      method="PUT",  path="/till/tables",                   request=_Tables,          answer=dict[str, int], summary="Give the whole list of tables, replacing the last.", **_TILL),
    Call(id="set_catalogue",   method="PUT",  path="/till/catalogue",                request=_Catalogue,       answer=dict[str, int], summary="Give the whole list of what can be ordered, replacing the last.", **_TILL),
    Call(id="feed",            method="GET",  path="/till/feed",                     query=_FEED,              answer=FeedPage,       summary="Read what changed since a position, oldest first.", **_TILL),
)
# fmt: on


class TillApi:
    """The calls of CALLS, and what they do. `wait` returns when the journal is longer than a size, or after some seconds."""

    def __init__(
        self, engine: Engine, reads: SqliteReads, clock: Clock, settings: TillSettings, prover: Prover, wait: Callable[[int, float], None]
    ) -> None:
        self._engine, self._reads, self._clock, self._settings, self._wait = engine, reads, clock, settings, wait
        self._prover = prover
        self._waiters = threading.BoundedSemaphore(FEED_WAITERS)

    def blueprint(self) -> Blueprint:
        """The Flask blueprint."""
        blueprint = Blueprint("till", __name__)
        for call in CALLS:
            blueprint.add_url_rule(call.rule, call.id, getattr(self, call.id), methods=[call.method])
        return blueprint

    def open_order(self) -> Response:
        """A new bill that a customer will pay; the same id and body again is the same order."""
        actor, asked = require("till"), self._body(OpenOrderRequest)
        bill = to_bill(asked)
        check_bill(bill, self._settings.currency)
        order_id = OrderId(asked.id) if asked.id else new_order_id(self._clock)
        command = OpenOrder(order_id=order_id, key=asked.id or "", bill=bill, personal=to_personal(asked), actor=actor, status=asked.status)
        return _order(self._engine.handle(command))

    def amend_order(self, order_id: str) -> Response:
        """Replace what is on the bill; 409 while Dojo holds the lock or a payment is under way."""
        actor, asked = require("till"), self._body(OpenOrderRequest)
        if asked.id not in (None, order_id):
            raise BadInput("id", f"expected {order_id!r} as in the path, or nothing, got {shown(asked.id)}")
        bill = to_bill(asked)
        check_bill(bill, self._settings.currency)
        return self._ask(AmendOrder(order_id=OrderId(order_id), bill=bill, personal=to_personal(asked), actor=actor))

    def report_progress(self, order_id: str) -> Response:
        """The kitchen's status; 409 for an illegal jump, naming the legal ones."""
        actor, asked = require("till"), self._body(StatusRequest)
        return self._ask(ReportProgress(order_id=OrderId(order_id), status=asked.status, actor=actor))

    def refuse_order(self, order_id: str) -> Response:
        """The till cannot take the order."""
        actor, asked = require("till"), self._body(RefuseRequest)
        return self._ask(RefuseOrder(order_id=OrderId(order_id), reason=asked.reason, actor=actor))

    def own_receipts(self, order_id: str) -> Response:
        """The receipts of what tills asked of the order, to be kept: a later proof must have their entries."""
        require("till")
        return _json(TillReceipts(data=self._prover.receipts(order_id, ("till:",))))

    def set_state(self) -> Response:
        """Whether CreateOrder is answered with 409."""
        actor, asked = require("till"), self._body(StateRequest)
        self._engine.handle(SetVenue(name="taking_orders", value=asked.taking_orders, actor=actor))
        return _json({"takingOrders": asked.taking_orders})

    def set_areas(self) -> Response:
        """The whole list of areas, replacing the last."""
        actor, areas = require("till"), self._body(list[AreaBody])
        _refuse_more_than(MAX_PLACES, areas)
        _refuse_repeated("id", [area.id for area in areas])
        return self._set_list("areas", areas, actor)

    def set_tables(self) -> Response:
        """The whole list of tables, replacing the last: ids once, names once in an area, areas those given, if any were (contract §10)."""
        actor, tables = require("till"), self._body(list[TableBody])
        _refuse_more_than(MAX_PLACES, tables)
        _refuse_repeated("id", [table.id for table in tables])
        _refuse_repeated("name", [(table.area_id, table.name) for table in tables], "in its area")
        areas = {area.id for area in msgspec.convert(self._reads.venue("areas") or [], list[AreaBody])}
        for index, table in enumerate(tables):
            if areas and table.area_id is not None and table.area_id not in areas:
                raise BadInput(f"[{index}].areaId", f"expected one of the till's areas, got {shown(table.area_id)}")
        return self._set_list("tables", tables, actor)

    def set_catalogue(self) -> Response:
        """The whole list of what can be ordered, replacing the last; Dojo's new orders are held against it, the till's own are not."""
        actor, entries = require("till"), self._body(list[CatalogueBody])
        _refuse_more_than(MAX_CATALOGUE, entries)
        _refuse_repeated("plu", [entry.plu for entry in entries])
        return self._set_list("catalogue", entries, actor)

    def feed(self) -> Response:
        """What changed since `after`, oldest first; waits up to `wait` seconds for something."""
        require("till")
        after, limit = _number("after", 0, 0, FEED_MAX_AFTER), _number("limit", FEED_LIMIT, 1, FEED_MAX_LIMIT)
        seconds, size = _number("wait", 0, 0, FEED_LONGEST_WISH_S), self._reads.size()
        if after > size:
            raise BadInput("after", f"expected at most {size}, where this journal ends, got {after}: read the feed from 0 again")
        page = self._feed_page(after, limit)
        if not page.data and seconds and self._waiters.acquire(blocking=False):
            try:
                page = self._wait_for_page(after, limit, size, min(seconds, FEED_MAX_WAIT_S))
            finally:
                self._waiters.release()
        return _json(page)

    def _wait_for_page(self, after: int, limit: int, size: int, seconds: float) -> FeedPage:
        """The page as soon as it has something, or after `seconds`; entries that a till is not shown do not end the wait."""
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            self._wait(size, left)
            page, grown = self._feed_page(after, limit), self._reads.size()
            if page.data or grown == size:  # Nothing came in time, or the server stops.
                return page
            size = grown
        return self._feed_page(after, limit)

    def _feed_page(self, after: int, limit: int) -> FeedPage:
        entries = self._reads.changes(after, limit)
        orders: dict[str, tuple[int, OrderAnswer]] = {}
        for entry in entries:
            if entry.order_id not in orders and (stored := self._reads.order(entry.order_id)):
                orders[entry.order_id] = stored.order.order_seq, answer(stored.order, stored.personal)
        return FeedPage(
            data=[_feed_item(entry, *orders[entry.order_id]) for entry in entries],
            after=entries[-1].seq if entries else after,
        )

    def _set_list(self, name: str, entries: Sequence[AreaBody | TableBody | CatalogueBody], actor: str) -> Response:
        self._engine.handle(SetVenue(name=name, value=msgspec.to_builtins(entries), actor=actor))
        return _json({name: len(entries)})

    def _body(self, type_: type[T]) -> T:
        return json_body(type_, max_body=self._settings.max_body, max_depth=self._settings.max_depth)

    def _ask(self, command: OrderRequest) -> Response:
        return _order(self._engine.handle(command))


def _refuse_more_than(limit: int, entries: Sequence[object]) -> None:
    if len(entries) > limit:
        raise BadInput(BODY, f"expected at most {limit} entries, got {len(entries)}")


def _refuse_repeated(field: str, values: Sequence[str | tuple[str | None, str]], where: str = "") -> None:
    """Refuse a value that comes twice; of a tuple its last part is shown. The field named is that of the second one."""
    first: dict[object, int] = {}
    for index, value in enumerate(values):
        if value in first:
            got = shown(value if isinstance(value, str) else value[-1])
            raise BadInput(f"[{index}].{field}", f"expected once{where and f' {where}'}, got {got} as in [{first[value]}]")
        first[value] = index


def _order(outcome: Outcome) -> Response:
    if outcome.refusal:
        raise outcome.refusal
    assert outcome.order is not None
    return _json(answer(outcome.order, outcome.personal))


def _feed_item(entry: StoredEntry, order_seq: int, order: OrderAnswer) -> FeedItem:
    return FeedItem(
        seq=entry.seq,
        at=entry.at,
        order_id=entry.order_id,
        machine=entry.machine.partition("@")[0],
        trigger=entry.trigger,
        from_state=entry.from_state,
        to_state=entry.to_state,
        payment_intent_id=entry.payment_intent_id,
        order_seq=order_seq,
        order=order,
    )


def _number(name: str, default: int, least: int, most: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise BadInput(name, f"expected a number from {least} to {most}, got {shown(text)}")
    return int(text)


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), mimetype="application/json")
