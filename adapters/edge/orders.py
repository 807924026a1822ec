"""An order of ours as Dojo's published `Order`, and a request for one as a command's values; shared by Dojo's side and the till's."""

from __future__ import annotations

import secrets

import msgspec

from adapters.edge.wire import TableBody
from adapters.edge.wire_orders import OrderAnswer, PaymentAnswer, order_answer
from workflow.bill import Personal
from workflow.clock import Clock
from workflow.journal.reads import SqliteReads
from workflow.money import Money
from workflow.order import Order
from workflow.ports import OrderId


def answer(order: Order, personal: Personal) -> OrderAnswer:
    """The order as it is now. Payments that count nothing are not listed (contract §8.4)."""
    payments = [
        PaymentAnswer(payment_intent_id=intent_id, paid_amount=Money(paid, order.currency), tips_amount=Money(tips, order.currency))
        for intent_id, paid, tips in order.counted
    ]
    return order_answer(
        id=order.id,
        status=order.status,
        bill=order.bill,
        personal=personal,
        paid=order.paid,
        tips=order.tips,
        payments=payments,
        payable=order.is_payable,
        created_at=order.created_at,
        updated_at=order.updated_at,
    )


def tables_of(reads: SqliteReads) -> list[TableBody]:
    """The tables as the till last gave them."""
    return msgspec.convert(reads.venue("tables") or [], list[TableBody])


def new_order_id(clock: Clock) -> OrderId:
    """A new id that sorts by time (neighbours on disk, newest last) and cannot be guessed."""
    return OrderId(new_id("tp_", clock))


def new_id(prefix: str, clock: Clock) -> str:
    """As `new_order_id`, for whatever `prefix` says."""
    milliseconds = int(clock.now().timestamp() * 1000)
    return f"{prefix}{milliseconds:011x}{secrets.token_hex(8)}"
