"""Dojo's capabilities, free of transport: wire types in, wire types out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from adapters.edge.bill import BillTemplate, OrderBill
from adapters.edge.cursors import Cursors
from adapters.edge.orders import answer, bill_answer, new_order_id, tables_of
from adapters.edge.strict_json import BadInput, shown, without_card_numbers
from adapters.edge.wire import AreaBody, EventRequestBody, Nothing, PagedTables, SearchTablesRequest, TableBody, to_moment
from adapters.edge.wire_orders import (
    CreateOrderLockRequest,
    CreateOrderRequest,
    ExtendOrderLockRequest,
    OrderAnswer,
    PagedOrders,
    PaymentRequest,
    PaymentWithLockId,
    SearchOrdersRequest,
    check_bill,
    check_payments,
    check_recorded,
    to_bill,
    to_personal,
)
from adapters.epos.bookings import Bookings
from workflow.clock import Clock, to_text
from workflow.commands import (
    CancelOrder,
    CreateOrder,
    ExtendLock,
    LockOrder,
    OrderRequest,
    ReceiveEvent,
    RecordPayment,
    ReleaseLock,
    ToldPayment,
)
from workflow.decisions import EVENTS
from workflow.engine import DUPLICATE, Engine
from workflow.errors import UnknownOrder, short
from workflow.journal.reads import OrderFilter, Position, SqliteReads, StoredOrder
from workflow.ports import IntentId, OrderId

MAX_LOCK = timedelta(hours=24)
"""A lock that is asked for longer is cut to this: a lost release must not close a bill for good."""

CALLER_CHARACTERS = 64
"""A header that names the caller is cut to this."""

Channel = Literal["capability", "webhook"]

Count = Callable[[str, str], None]
"""Hears what a message was, `CreateOrder` or the kind of an event, and what became of it; from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf Dojo calls, as its optional headers say; never a credential (contract §3)."""

    product: str | None = None
    waiter_id: str | None = None
    device_id: str | None = None

    def in_words(self) -> str:
        """`PayAtTable, waiter 42, device tm_1`; "" where Dojo says nothing."""
        named = ((self.product, ""), (self.waiter_id, "waiter "), (self.device_id, "device "))
        return ", ".join(f"{what}{_readable(text)}" for text, what in named if text)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSettings:
    """The venue's currency, clock and bills, and the settings where Dojo leaves something open.

    `mode`: CreateOrder's payments are captured (`inline`) or authorised (`event`). `search_days`: how far back SearchOrders looks, unless
    for payable orders. `tables_answer`: SearchTables answers a list of pages, as published, or the page alone (contract §16, 14).
    """

    currency: str
    mode: Literal["event", "inline"]
    search_days: int
    tables_answer: Literal["pages", "page"]
    zone: ZoneInfo
    bill: BillTemplate


class Handlers:
    """Each method serves one capability; errors are those of `workflow.errors` and BadInput.

    `bookings` serves parties and reservations. `count` hears of every event, and of every CreateOrder that was a repeat.
    """

    def __init__(
        self, engine: Engine, reads: SqliteReads, clock: Clock, settings: HandlerSettings, count: Count = lambda what, became: None
    ) -> None:
        self._engine, self._reads, self._clock, self._settings, self._count = engine, reads, clock, settings, count
        self._cursors = Cursors(reads.secret())
        self.bookings = Bookings(engine, reads, clock, settings.currency)

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
        if outcome.became:
            self._count("CreateOrder", outcome.became)
        return answer(outcome.order, outcome.personal)

    def cancel_order(self, order_id: str) -> OrderAnswer:
        """CancelOrderById: the cancelled order, twice is once; 409 when money was taken. Raises UnknownOrder, Refused."""
        return self._asked(CancelOrder(order_id=OrderId(order_id)))

    def record_payment(self, order_id: str, request: PaymentWithLockId) -> OrderAnswer:
        """RecordOrderPayment: Dojo gives back what is refused (contract §9). Raises UnknownOrder, Refused, OrderLocked, BadInput."""
        check_recorded(request)
        command = RecordPayment(
            order_id=OrderId(order_id),
            intent_id=IntentId(request.payment_intent_id),
            paid=request.paid_amount,
            tips=request.tips_amount,
            lock_id=request.lock_id or "",
        )
        return self._asked(command)

    def lock_order(self, order_id: str, request: CreateOrderLockRequest, caller: Caller) -> OrderAnswer:
        """CreateOrderLock (contract §9). Raises UnknownOrder, OrderLocked, Refused, BadInput for an expiry in the past."""
        expires_at = self._expiry(request.expiry)
        return self._asked(LockOrder(order_id=OrderId(order_id), lock_id=request.lock_id, expires_at=expires_at, holder=caller.in_words()))

    def extend_lock(self, order_id: str, lock_id: str, request: ExtendOrderLockRequest) -> Nothing:
        """ExtendOrderLock: exactly `{}`. Raises UnknownOrder, LockUnknown, OrderLocked, BadInput."""
        self._asked(ExtendLock(order_id=OrderId(order_id), lock_id=lock_id, expires_at=self._expiry(request.expiry)))
        return Nothing()

    def release_lock(self, order_id: str, lock_id: str) -> OrderAnswer:
        """DeleteOrderLock: twice is once. Raises UnknownOrder, LockUnknown, OrderLocked."""
        return self._asked(ReleaseLock(order_id=OrderId(order_id), lock_id=lock_id))

    def list_areas(self) -> list[AreaBody]:
        """ListAreas: what the till last said."""
        return msgspec.convert(self._reads.venue("areas") or [], list[AreaBody])

    def search_tables(self, request: SearchTablesRequest) -> list[PagedTables] | PagedTables:
        """SearchTables: a list of one page, by name, or that page alone (contract §16, 14). Raises BadInput."""
        wanted = [
            table
            for table in tables_of(self._reads)
            if request.area_id in (None, table.area_id) and (request.waiter_id is None or request.waiter_id in table.waiter_ids)
        ]
        listed = sorted(wanted, key=_place)

        def read(limit: int, after: Position | None, before: Position | None) -> list[TableBody]:
            rest = [table for table in listed if (after is None or _place(table) > after) and (before is None or _place(table) < before)]
            return rest[-limit:] if before else rest[:limit]

        page = self._cursors.page(request.cursor, (request.area_id, request.waiter_id), read, _place)
        answer = PagedTables(data=tuple(page.data), before=page.before, after=page.after)
        return [answer] if self._settings.tables_answer == "pages" else answer

    def _asked(self, command: OrderRequest) -> OrderAnswer:
        outcome = self._engine.handle(command)
        if outcome.refusal:
            raise outcome.refusal
        assert outcome.order is not None
        return answer(outcome.order, outcome.personal)

    def _expiry(self, text: str) -> str:
        """The moment until which a lock is asked for, at most MAX_LOCK from now."""
        now, moment = self._clock.now(), to_moment(text, "expiry")
        if moment <= now:
            raise BadInput("expiry", f"expected a moment to come, got {shown(text)}")
        return to_text(min(moment, now + MAX_LOCK))

    def get_order(self, order_id: str) -> OrderAnswer:
        """GetOrderById. Raises UnknownOrder."""
        return answer(*self._stored(order_id))

    def get_bill(self, order_id: str) -> OrderBill:
        """GetOrderBill (contract §11). Raises UnknownOrder."""
        return bill_answer(*self._stored(order_id), self._settings.bill, tables_of(self._reads), self._settings.zone)

    def _stored(self, order_id: str) -> StoredOrder:
        stored = self._reads.order(order_id)
        if stored is None:
            raise UnknownOrder(f"no order {short(order_id)}")
        return stored

    def search_orders(self, request: SearchOrdersRequest) -> PagedOrders:
        """SearchOrders: newest first, filters joined by AND, pages that inserts do not shift (contract §12). Raises BadInput.

        Unless payable orders are asked for, those older than `search_days` are left out. The bound moves with the clock and is in no token.
        """
        where = request.dine_in
        wanted = OrderFilter(
            table_id=where.table_id,
            waiter_id=where.waiter_id,
            party_id=where.party_id,
            reservation_id=where.reservation_id,
            payable_only=request.payable_only,
        )
        since = None if wanted.payable_only else to_text(self._clock.now() - timedelta(days=self._settings.search_days))

        def read(limit: int, after: Position | None, before: Position | None) -> list[StoredOrder]:
            return self._reads.orders(wanted, limit, after=after, before=before, since=since)

        page = self._cursors.page(request.cursor, wanted, read, lambda stored: Position(stored.order.created_at, stored.order.id))
        data = tuple(answer(stored.order, stored.personal) for stored in page.data)
        return PagedOrders(data=data, before=page.before, after=page.after)

    def handle_event(self, request: EventRequestBody, channel: Channel) -> Nothing:
        """HandleEvent: stored, answered, worked on afterwards; the event itself counts nothing (contract §5.2)."""
        command = ReceiveEvent(
            channel=channel,
            event_id=request.id,
            event=request.event,
            account_id=request.account_id,
            intent_id=IntentId(request.data.payment_intent_id),
            status=request.data.payment_status,
        )
        # A storm of copies is answered from a reader, without waiting for the writer.
        if seen := self._reads.seen(command.source, command.idempotency_key):
            became, receipt = DUPLICATE, seen[1]
            self._engine.note_repeat(command, seen[0].order_id)
            if receipt:
                self._engine.acknowledge(receipt)
        else:
            became = self._engine.handle(command).became
        self._count(request.event if request.event in EVENTS else "other", became)
        return Nothing()


def _place(table: TableBody) -> Position:
    """Tables are listed by name; those of one name by id."""
    return Position(table.name, table.id)


def _readable(text: str) -> str:
    """A header's text as a message may repeat it."""
    return "".join(character if character.isprintable() else "?" for character in without_card_numbers(text))[:CALLER_CHARACTERS]


def _told(payment: PaymentRequest) -> ToldPayment:
    tips = payment.tips_amount.value if payment.tips_amount else None
    return ToldPayment(intent_id=IntentId(payment.payment_intent_id), paid=payment.paid_amount.value, tips=tips)
