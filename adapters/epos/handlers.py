"""Dojo's capabilities, free of transport: wire types in, wire types out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from adapters.edge.cursors import Cursors
from adapters.edge.orders import answer, new_order_id
from adapters.edge.wire import (
    Answer,
    CreateOrderRequest,
    EventRequestBody,
    OrderAnswer,
    PagedOrders,
    PaymentRequest,
    SearchOrdersRequest,
    check_bill,
    check_payments,
    to_bill,
    to_personal,
)
from workflow.clock import Clock
from workflow.commands import CreateOrder, ReceiveEvent, ToldPayment
from workflow.engine import Engine
from workflow.errors import UnknownOrder
from workflow.journal.reads import OrderFilter, Position, SqliteReads
from workflow.ports import IntentId

Channel = Literal["capability", "webhook"]


class Nothing(Answer, frozen=True, kw_only=True):
    """The answer to an event: an object without properties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSettings:
    """The venue's currency, and whether CreateOrder's payments are captured (`inline`) or authorised (`event`)."""

    currency: str
    mode: Literal["event", "inline"]


class Handlers:
    """Each method serves one capability; errors are those of `workflow.errors` and BadInput."""

    def __init__(self, engine: Engine, reads: SqliteReads, clock: Clock, settings: HandlerSettings) -> None:
        self._engine, self._reads, self._clock, self._settings = engine, reads, clock, settings
        self._cursors = Cursors(reads.secret())

    def create_order(self, request: CreateOrderRequest) -> OrderAnswer:
        """CreateOrder: a new order, or the first one again (contract §8.7). Raises KeyReused, Refused, BadInput."""
        bill = to_bill(request)
        check_bill(bill, self._settings.currency)
        check_payments(request.payments, bill.total_amount)
        command = CreateOrder(
            order_id=new_order_id(self._clock),
            dojo_order_id=request.dojo_order_id,
            bill=bill,
            personal=to_personal(request),
            payments=tuple(map(_told, request.payments)),
            captured=self._settings.mode == "inline",
        )
        outcome = self._engine.handle(command)
        if outcome.refusal:
            raise outcome.refusal
        assert outcome.order is not None
        return answer(outcome.order, outcome.personal)

    def get_order(self, order_id: str) -> OrderAnswer:
        """GetOrderById. Raises UnknownOrder."""
        stored = self._reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {order_id[:80]}")
        return answer(stored.order, stored.personal)

    def search_orders(self, request: SearchOrdersRequest) -> PagedOrders:
        """SearchOrders: newest first, filters joined by AND, pages that inserts do not shift (contract §12). Raises BadInput."""
        where, cursor = request.dine_in, request.cursor
        wanted = OrderFilter(
            table_id=where.table_id,
            waiter_id=where.waiter_id,
            party_id=where.party_id,
            reservation_id=where.reservation_id,
            payable_only=request.payable_only,
        )
        after = self._cursors.position(cursor.after, wanted, "cursor.after")
        before = self._cursors.position(cursor.before, wanted, "cursor.before")
        found = self._reads.orders(wanted, cursor.limit + 1, after=after, before=before)
        more = len(found) > cursor.limit
        page = found[1:] if more and before else found[: cursor.limit]
        has_newer, has_older = (more, True) if before else (after is not None, more)
        tokens = [self._cursors.token(Position(o.created_at, o.id), wanted) for o in (s.order for s in (page[:1] + page[-1:]))]
        return PagedOrders(
            data=tuple(answer(stored.order, stored.personal) for stored in page),
            before=tokens[0] if page and has_newer else msgspec.UNSET,
            after=tokens[-1] if page and has_older else msgspec.UNSET,
        )

    def handle_event(self, request: EventRequestBody, channel: Channel) -> Nothing:
        """HandleEvent: stored, answered, worked on afterwards; the event itself counts nothing (contract §5.2)."""
        intent_id = request.data.payment_intent_id
        if not intent_id:
            return Nothing()  # An event of a kind that Dojo has not published yet: nothing here can use it.
        command = ReceiveEvent(
            channel=channel,
            event_id=request.id,
            event=request.event,
            account_id=request.account_id,
            intent_id=IntentId(intent_id),
            status=request.data.payment_status,
        )
        # A storm of copies is answered from a reader, without waiting for the writer.
        if not self._reads.has_seen(command.source, command.idempotency_key):
            self._engine.handle(command)
        return Nothing()


def _told(payment: PaymentRequest) -> ToldPayment:
    tips = payment.tips_amount.value if payment.tips_amount else 0
    return ToldPayment(intent_id=IntentId(payment.payment_intent_id), paid=payment.paid_amount.value, tips=tips)
