"""`/api/…` for auditors and operators: orders, entries, tasks and attention as they are stored, and what a person decides about them."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from flask import Blueprint, Response, request

from adapters.api.keys import Keys, KeysView, RotatedView
from adapters.api.registrations import RegistrationRequest, RegistrationView, registration_request, registration_view
from adapters.api.resolving import MAX_BODY, MAX_DEPTH, ResolveRequest, TakingsRequest, day_in_path, resolve_request, takings_request
from adapters.api.takings_views import DayView, day_view
from adapters.api.views import (
    BY_ID,
    AttentionPage,
    EntryView,
    ErasedGuest,
    OrderView,
    Page,
    Receipts,
    Requeued,
    Resolutions,
    Stopped,
    TaskView,
    VerificationView,
    attention_views,
    entry_view,
    order_view,
    past_order_view,
    resolution_views,
    task_view,
    told_order_view,
    verification_view,
)
from adapters.edge import json_body
from adapters.edge.asked import one_of, position
from adapters.edge.cursors import Cursors
from adapters.edge.openapi import Call, Query, Side
from adapters.edge.order_filter import DAY, SWITCH, TEXT_CHARACTERS, order_query
from adapters.edge.orders import table_caller, tables_of
from adapters.edge.roles import require
from adapters.edge.strict_json import BadInput, shown
from adapters.edge.wire import END, ReasonRequest
from adapters.health import Health
from workflow import export
from workflow.attention import concerns
from workflow.clock import Clock, to_text
from workflow.commands import EraseGuest, EraseOrder, RequeueTask, ResolveOrder, ResolveTakings, ResolveVenue, StopTask
from workflow.comparing import compare_day, day_named
from workflow.engine import Engine
from workflow.errors import JournalDamaged, JournalUnavailable, PositionUnknown, UnknownEntry, UnknownOrder, short
from workflow.journal.reads import Position, SqliteReads, StoredAttention
from workflow.journal.schema import TASK_STATUSES
from workflow.lifecycle import ATTENTION, ORDER
from workflow.order import FLOWS, Order
from workflow.past import order_at
from workflow.ports import IntentId, OrderId
from workflow.proof import SOURCES, Consistency, Proof, ProvenReceipt, Prover
from workflow.situation import Spelling, situation_of
from workflow.unit import Outcome

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
SEARCH_CHARACTERS = 255
MESSAGE_CHARACTERS = 511
"""Two ids and a colon."""


_AUDITOR: Side = {"tag": "Audit", "security": "token", "role": "auditor"}
_OPERATOR: Side = {"tag": "Audit", "security": "token", "role": "operator"}
_PAGE = (
    Query("after", str, "token of an earlier answer to the same search"),
    Query("limit", Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)], "how many at most", DEFAULT_LIMIT),
)
_ORDERS = (
    Query("state", Literal[tuple(ORDER.states)], "only in this state"),
    Query("flow", Literal[FLOWS], "only of this flow"),
    Query("table", Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)], "only at this table, by its id or name"),
    Query("from", Annotated[str, msgspec.Meta(pattern=f"^{DAY}{END}")], "made on this day of the venue or later, such as 2026-07-03"),
    Query("to", Annotated[str, msgspec.Meta(pattern=f"^{DAY}{END}")], "made on this day or earlier"),
    Query("attention", Literal[tuple(SWITCH)], "true: only those that need a person", "false"),
    Query("search", Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)], "a reference, table, order id or payment intent, whole"),
)
_ENTRIES = (
    Query("format", Literal[export.FORMATS], "JSON Lines or CSV", "jsonl"),
    Query("from", Annotated[int, msgspec.Meta(ge=1)], "first position", 1),
    Query("to", Annotated[int, msgspec.Meta(ge=1)], "last position; the newest where absent"),
)
_AT = (Query("at", Annotated[int, msgspec.Meta(ge=1)], "a position in the journal: the order as it was then"),)
_SIZE = Annotated[int, msgspec.Meta(ge=1)]
_PROOF = (Query("size", _SIZE, "under the stored checkpoint of this size; the newest where absent"),)
_CONSISTENCY = (
    Query("old", _SIZE, "size of a stored checkpoint; the first one where absent"),
    Query("new", _SIZE, "size of a stored checkpoint; the newest where absent"),
)
_RECEIPT = (
    Query("source", Literal[SOURCES], "what the message was; with id"),
    Query("id", Annotated[str, msgspec.Meta(max_length=MESSAGE_CHARACTERS)], "Dojo's or the till's order id; of an event EVENT:INTENT"),
    Query("orderId", Annotated[str, msgspec.Meta(max_length=SEARCH_CHARACTERS)], "of an entry; empty for what concerns no order"),
    Query("orderSeq", _SIZE, "its number in the order; with orderId"),
)
_CODE = (Query("code", Literal[tuple(ATTENTION)], "only with this code"),)
_STATUS = (Query("status", Literal[tuple(TASK_STATUSES)], "only with this status"),)

# fmt: off
CALLS = (
    # id is the method of Api that serves it
    Call(id="orders",        method="GET",  path="/api/orders",                    answer=Page[OrderView],  query=(*_ORDERS, *_PAGE), summary="List orders, newest first.", **_AUDITOR),
    Call(id="order",         method="GET",  path="/api/orders/{order_id}",         answer=OrderView,        query=_AT, summary="Read one order, as it is or as it was.", **_AUDITOR),
    Call(id="order_journal", method="GET",  path="/api/orders/{order_id}/journal", answer=list[EntryView],  summary="Read the order's entries, oldest first.", **_AUDITOR),
    Call(id="order_proof",   method="GET",  path="/api/orders/{order_id}/proof",   answer=Proof,            query=_PROOF, summary="Read what proves the order to a third party.", **_AUDITOR),
    Call(id="order_receipts", method="GET", path="/api/orders/{order_id}/receipts", answer=Receipts,        summary="Read the receipts of all requests that left something in the order.", **_AUDITOR),
    Call(id="receipt",       method="GET",  path="/api/receipts",                  answer=ProvenReceipt,    query=_RECEIPT, misses=True, summary="Read the receipt of a message that was accepted, or of an entry.", **_AUDITOR),
    Call(id="erase",         method="POST", path="/api/orders/{order_id}/erase",   answer=OrderView,        request=ReasonRequest, refuses=True, summary="Erase an order's personal data, with a reason that has none; twice is once.", **_OPERATOR),
    Call(id="resolve",       method="POST", path="/api/orders/{order_id}/resolve", answer=OrderView,        request=ResolveRequest, refuses=True, summary="Settle what needs a person, with a reason.", **_OPERATOR),
    Call(id="erase_guest",   method="POST", path="/api/bookings/{booking_id}/erase", answer=ErasedGuest,     request=ReasonRequest, refuses=True, summary="Erase the guest of a party or reservation, with a reason that has none of it; twice is once.", **_OPERATOR),
    Call(id="attention",     method="GET",  path="/api/attention",                 answer=AttentionPage,    query=_CODE, summary="List everything that needs a person: what is paid at Dojo and not on the till first.", **_AUDITOR),
    Call(id="resolve_venue", method="POST", path="/api/resolve",                   answer=AttentionPage,    request=ResolveRequest, refuses=True, summary="Settle what concerns no order, with a reason.", **_OPERATOR),
    Call(id="takings",       method="GET",  path="/api/takings/{date}",            answer=DayView,          summary="Read a day's money as the till has it, payment by payment; nothing is asked of Dojo.", **_AUDITOR),
    Call(id="resolutions",   method="GET",  path="/api/takings/{date}/resolutions", answer=Resolutions,     summary="List what people said of the differences in a day's takings, oldest first.", **_AUDITOR),
    Call(id="resolve_takings", method="POST", path="/api/takings/{date}/resolve",   answer=Resolutions,      request=TakingsRequest, refuses=True, summary="Say of a difference in a day's takings why it is all right, with a reason.", **_OPERATOR),
    Call(id="outbox",        method="GET",  path="/api/outbox",                    answer=Page[TaskView],   query=(*_STATUS, *_PAGE), summary="List calls to Dojo and the till, newest first.", **_AUDITOR),
    Call(id="requeue",       method="POST", path="/api/outbox/{task_id}/requeue",  answer=Requeued,         request=ReasonRequest, refuses=True, summary="Have a call tried now that was given up, or that waits for its next try, with a reason.", **_OPERATOR),
    Call(id="stop_task",     method="POST", path="/api/outbox/{task_id}/stop",     answer=Stopped,          request=ReasonRequest, refuses=True, summary="Have a call tried no longer, with a reason; it can be requeued.", **_OPERATOR),
    Call(id="checkpoint",    method="GET",  path="/api/checkpoint",                answer=str,              media="text/plain", summary="Read the newest signed checkpoint.", **_AUDITOR),
    Call(id="keys",          method="GET",  path="/api/keys",                      answer=KeysView,         summary="List the public keys that sign checkpoints, oldest first, and the sizes that each signs.", **_AUDITOR),
    Call(id="rotate_key",    method="POST", path="/api/keys/rotate",               answer=RotatedView,         request=ReasonRequest, summary="Have a new key sign from here on, with a reason.", **_OPERATOR),
    Call(id="note_registration", method="POST", path="/api/registrations",         answer=RegistrationView, request=RegistrationRequest, summary="Journal that capabilities were registered at Dojo, with a reason; this asks nothing of Dojo.", **_OPERATOR),
    Call(id="consistency",   method="GET",  path="/api/consistency",               answer=Consistency,      query=_CONSISTENCY, misses=True, summary="Read what proves that a later log begins with an earlier one.", **_AUDITOR),
    Call(id="verification",  method="GET",  path="/api/verification",              answer=VerificationView, summary="Read what the last verification in the background found.", **_AUDITOR),
    Call(id="export",        method="GET",  path="/api/export",                    answer=str,              media="application/x-ndjson", query=_ENTRIES, summary="Export the journal; format=csv is text/csv.", **_AUDITOR),
)
# fmt: on


class Api:
    """The calls of CALLS, and what they do. `machine` is the order machine in force (`order@hash`), `zone` that of the venue's days."""

    def __init__(
        self,
        engine: Engine,
        reads: SqliteReads,
        machine: str,
        prover: Prover,
        health: Health,
        keys: Keys,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        self._engine, self._reads, self._machine, self._prover, self._health = engine, reads, machine, prover, health
        self._keys, self._clock, self._zone = keys, clock, zone
        self._cursors = Cursors(reads.secret())

    def blueprint(self) -> Blueprint:
        """The Flask blueprint: everything is for auditors, what changes something for operators alone."""
        blueprint = Blueprint("api", __name__)
        blueprint.before_request(_authorise)
        for call in CALLS:
            blueprint.add_url_rule(call.rule, call.id, getattr(self, call.id), methods=[call.method])
        return blueprint

    def orders(self) -> Response:
        """Orders, newest first, a page at a time."""
        wanted, limit = order_query(request.args).filter(self._zone, tables_of(self._reads)), _limit()
        after = self._cursors.position(request.args.get("after"), wanted, "after")
        found = [stored.order for stored in self._reads.orders(wanted, limit + 1, after=after)]
        last, table = found[limit - 1] if len(found) > limit else None, table_caller(self._reads)
        token = self._cursors.token(Position(last.created_at, last.id), wanted) if last else None
        return _json(Page[OrderView](data=[order_view(order, self._machine, table) for order in found[:limit]], after=token))

    def order(self, order_id: str) -> Response:
        """One order, as it is; with `at`, as it was when the journal had so many entries."""
        seq = position("at", request.args.get("at"))
        if seq is None:
            return _json(self._view(order_id))
        try:
            return _json(past_order_view(order_at(self._reads, order_id, seq)))
        except PositionUnknown as error:
            raise BadInput("at", str(error)) from error

    def order_journal(self, order_id: str) -> Response:
        """The order's entries, oldest first."""
        self._view(order_id)
        return _json([entry_view(stored) for stored in self._reads.entries(order_id=order_id)])

    def order_proof(self, order_id: str) -> Response:
        """All that proves the order without us."""
        return _json(self._prover.prove(order_id, position("size", request.args.get("size"))))

    def order_receipts(self, order_id: str) -> Response:
        """The receipts of all requests to the order."""
        return _json(Receipts(data=self._prover.receipts(order_id)))

    def receipt(self) -> Response:
        """The receipt of a message by its id, or of an entry by its place."""
        source, message_id, order_id = (
            one_of("source", request.args.get("source"), SOURCES),
            request.args.get("id"),
            request.args.get("orderId"),
        )
        if (source is None) == (order_id is None):
            raise BadInput("source", "expected source and id, or orderId and orderSeq")
        if source is not None:
            if not message_id or len(message_id) > MESSAGE_CHARACTERS:
                raise BadInput("id", f"expected 1 to {MESSAGE_CHARACTERS} characters")
            return _json(self._prover.receipt_of(source, message_id))
        order_seq = position("orderSeq", request.args.get("orderSeq"))
        if order_seq is None:
            raise BadInput("orderSeq", "expected the entry's number in its order")
        return _json(self._prover.receipt(order_id or "", order_seq))

    def consistency(self) -> Response:
        """That the log of a later checkpoint begins with that of an earlier one."""
        old, new = position("old", request.args.get("old")), position("new", request.args.get("new"))
        if old is not None and new is not None and old > new:
            raise BadInput("new", f"expected a size from {old} on, got {new}")
        return _json(self._prover.consistency(old, new))

    def resolve(self, order_id: str) -> Response:
        """A person settles attention, with a reason."""
        actor, asked = require("operator"), resolve_request()
        command = ResolveOrder(
            order_id=OrderId(order_id),
            action=asked.action,
            reason=asked.reason,
            actor=actor,
            intent_id=asked.payment_intent_id,
            code=asked.code,
        )
        _require_done(self._engine.handle(command))
        return _json(self._view(order_id))

    def erase(self, order_id: str) -> Response:
        """A person has the personal data of an order erased, with a reason."""
        actor, reason = _who_and_why()
        _require_done(self._engine.erase(EraseOrder(order_id=OrderId(order_id), reason=reason, actor=actor)))
        return _json(self._view(order_id))

    def erase_guest(self, booking_id: str) -> Response:
        """A person has the guest of a party or reservation erased, with a reason."""
        actor, reason = _who_and_why()
        _require_done(self._engine.erase(EraseGuest(booking_id=booking_id, reason=reason, actor=actor)))
        erased = self._reads.erased_booking(booking_id)
        assert erased
        return _json(ErasedGuest(id=booking_id, erased_at=erased.erased_at))

    def resolve_venue(self) -> Response:
        """A person settles attention of the service itself, with a reason."""
        actor, asked = require("operator"), resolve_request()
        command = ResolveVenue(action=asked.action, reason=asked.reason, actor=actor, intent_id=asked.payment_intent_id, code=asked.code)
        _require_done(self._engine.handle(command))
        return _json(self._concerns(None, venue_only=True))

    def takings(self, date: str) -> Response:
        """A day's money, ours alone: Dojo is asked where a person waits for it."""
        now = self._clock.now()
        try:
            day = day_named(date, self._zone, now)
        except ValueError as error:
            raise UnknownEntry(f"no such day: {error}") from error
        return _json(day_view(compare_day(self._reads, day, now, intents=None), is_whole=False))

    def resolutions(self, date: str) -> Response:
        """What people said of a day's differences."""
        return _json(Resolutions(data=resolution_views(self._reads.resolutions(day_in_path(date)))))

    def resolve_takings(self, date: str) -> Response:
        """A person says of a difference why it is all right."""
        actor, day, asked = require("operator"), day_in_path(date), takings_request()
        command = ResolveTakings(
            date=day,
            kind=asked.kind,
            intent_id=IntentId(asked.payment_intent_id),
            amount=asked.amount,
            order_id=asked.order_id,
            reason=asked.reason,
            actor=actor,
        )
        _require_done(self._engine.handle(command))
        return self.resolutions(day)

    def attention(self) -> Response:
        """Everything that needs a person: what is paid and not on the till first, then the gravest."""
        return _json(self._concerns(one_of("code", request.args.get("code"), ATTENTION)))

    def _concerns(self, code: str | None, *, venue_only: bool = False) -> AttentionPage:
        found = self._open_attention(code)
        table = table_caller(self._reads) if any(order for _, order in found) else BY_ID  # Without orders the journal may be shut.
        return AttentionPage(data=attention_views(concerns(pair for pair in found if not (venue_only and pair[0].order_id)), table))

    def outbox(self) -> Response:
        """Tasks, newest first, a page at a time."""
        status, limit = one_of("status", request.args.get("status"), TASK_STATUSES), _limit()
        after = self._cursors.position(request.args.get("after"), status, "after")
        found = self._reads.tasks(status, limit + 1, after=after)
        last = found[limit - 1] if len(found) > limit else None
        token = self._cursors.token(Position(last.created_at, last.id), status) if last else None
        return _json(Page[TaskView](data=[task_view(row) for row in found[:limit]], after=token))

    def requeue(self, task_id: str) -> Response:
        """A person has a task tried now that is dead, or that waits for its next try, with a reason."""
        actor, reason = _who_and_why()
        _require_done(self._engine.handle(RequeueTask(task_id=task_id, reason=reason, actor=actor)))
        return _json(Requeued(id=task_id, status="pending"))

    def stop_task(self, task_id: str) -> Response:
        """A person has a task tried no longer, with a reason."""
        actor, reason = _who_and_why()
        _require_done(self._engine.handle(StopTask(task_id=task_id, reason=reason, actor=actor)))
        return _json(Stopped(id=task_id, status="dead"))

    def checkpoint(self) -> Response:
        """The newest signed checkpoint, text."""
        newest = self._reads.newest_checkpoint()
        return Response(newest[2] if newest else "", mimetype="text/plain")

    def keys(self) -> Response:
        """The public keys of the checkpoints, oldest first."""
        return _json(self._keys.view())

    def rotate_key(self) -> Response:
        """A person has a new key sign from here on, with a reason."""
        actor, reason = _who_and_why()
        return _json(self._keys.rotate(actor, reason))

    def note_registration(self) -> Response:
        """A person registered capabilities at a terminal, with a reason."""
        command = registration_request(require("operator"))
        self._engine.handle(command)
        return _json(registration_view(command))

    def export(self) -> Response:
        """The journal's entries from one position to another, as JSON Lines or CSV."""
        form = one_of("format", request.args.get("format"), export.FORMATS) or "jsonl"
        first, last = position("from", request.args.get("from")) or 1, position("to", request.args.get("to"))
        if last is not None and last < first:
            raise BadInput("to", f"expected a position from {first} on, got {last}")
        kind = "text/csv" if form == "csv" else "application/x-ndjson"
        return Response((chunk for _, chunk in export.chunks(self._reads, form, first, last)), mimetype=kind)

    def verification(self) -> Response:
        """The last verification of the whole journal."""
        return _json(verification_view(self._health.verified()))

    def _open_attention(self, code: str | None) -> list[tuple[StoredAttention, Order | None]]:
        """What is journaled, and what cannot be as long as it stands: of a journal that cannot be read, that alone."""
        standing: list[tuple[StoredAttention, Order | None]] = [(row, None) for row in self._health.attention() if code in {None, row.code}]
        try:
            return standing + self._reads.attention_with_orders(code)
        except (JournalUnavailable, JournalDamaged):
            if standing:
                return standing
            raise

    def _view(self, order_id: str) -> OrderView:
        stored = self._reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {short(order_id)}")
        table = table_caller(self._reads)
        told = situation_of(self._reads, stored.order, to_text(self._clock.now()), Spelling(table=table))
        return told_order_view(stored.order, self._machine, told, table)


def _who_and_why() -> tuple[str, str]:
    """The operator who asks, and the reason given. Raises what `require` does, and BadInput."""
    actor = require("operator")
    return actor, json_body(ReasonRequest, max_body=MAX_BODY, max_depth=MAX_DEPTH).reason


def _require_done(outcome: Outcome) -> None:
    if outcome.refusal:
        raise outcome.refusal


def _authorise() -> None:
    require("auditor")


def _limit() -> int:
    text = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT):
        raise BadInput("limit", f"expected 1 to {MAX_LIMIT}, got {shown(text)}")
    return int(text)


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), mimetype="application/json")
