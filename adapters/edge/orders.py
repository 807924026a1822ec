"""An order of ours as Dojo's published `Order`, and a request for one as a command's values; shared by Dojo's side and the till's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from adapters.edge.bill import BillTemplate, OrderBill, order_bill
from adapters.edge.wire import ERASED, TableBody
from adapters.edge.wire_orders import OrderAnswer, PaymentAnswer, order_answer
from workflow.bill import Customer, Personal
from workflow.clock import Clock, from_text
from workflow.journal.reads import SqliteReads
from workflow.money import Money
from workflow.order import Erasure, Order
from workflow.ports import OrderId


def answer(order: Order, personal: Personal) -> OrderAnswer:
    """The order as it is now. Payments that count nothing are not listed (contract §8.4); what was erased says so."""
    payments = [
        PaymentAnswer(payment_intent_id=intent_id, paid_amount=Money(paid, order.currency), tips_amount=Money(tips, order.currency))
        for intent_id, paid, tips in order.counted
    ]
    return order_answer(
        id=order.id,
        status=order.status,
        bill=replace(order.bill, display_name=None) if order.erasure else order.bill,  # Where an older version had it.
        personal=_marked(order.erasure) if order.erasure else personal,
        paid=order.paid,
        tips=order.tips,
        payments=payments,
        payable=order.is_payable,
        created_at=order.created_at,
        updated_at=order.updated_at,
    )


def _marked(erasure: Erasure) -> Personal:
    """A word in the place of the customer and the notes that there were; what the schema does not require is left out."""
    customer = Customer(name=ERASED) if "customer" in erasure.kinds else None
    return Personal(customer=customer, note=ERASED if {"note", "itemNotes"} & {*erasure.kinds} else None)


def bill_answer(order: Order, personal: Personal, template: BillTemplate, tables: Sequence[TableBody], zone: ZoneInfo) -> OrderBill:
    """The bill of the order as it is now."""
    erased_at = from_text(order.erasure.at) if order.erasure and order.erasure.kinds else None
    return order_bill(answer(order, personal), template, tables, zone, erased_at=erased_at)


def tables_of(reads: SqliteReads) -> list[TableBody]:
    """The tables as the till last gave them."""
    return msgspec.convert(reads.venue("tables") or [], list[TableBody])


def table_caller(reads: SqliteReads) -> Callable[[str], str]:
    """What gives a table's id the name by which people call it: `Table 12` for the name `12`, `Garden` as it is; else `Table ID`."""
    return caller_of({table.id: table.name for table in tables_of(reads)})


def caller_of(names: Mapping[str, str]) -> Callable[[str], str]:
    """The same for tables of these names by their ids."""

    def called(table_id: str) -> str:
        name = names.get(table_id)
        return name if name and not name.isdecimal() else f"Table {name or table_id}"

    return called


def new_order_id(clock: Clock) -> OrderId:
    """A new id that sorts by time (neighbours on disk, newest last) and cannot be guessed."""
    return OrderId(new_id("tp_", clock))


def new_id(prefix: str, clock: Clock) -> str:
    """As `new_order_id`, for whatever `prefix` says."""
    milliseconds = int(clock.now().timestamp() * 1000)
    return f"{prefix}{milliseconds:011x}{secrets.token_hex(8)}"
