"""Dojo's requests and answers about orders as types, and their way into the core's values and back.

A request becomes a `Bill` (journaled) and a `Personal` (erasable); the rules that a schema cannot say are in `check_bill` and
`check_payments`. Source: EPOS Data API, schemas `CreateOrderRequest`, `Order`, `SearchOrdersRequest`, `PagedOrdersResponse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from adapters.edge.strict_json import BadInput, is_card_number, shown
from adapters.edge.wire import (
    END,
    NAME_LENGTH,
    NOTE_LENGTH,
    Answer,
    Cursor,
    Request,
    WireId,
    check_amount,
    check_identifier,
    redacted,
    sent,
    to_moment,
)
from workflow.bill import (
    MAX_LINES,
    Bill,
    Collection,
    Customer,
    Details,
    DineIn,
    Discount,
    Item,
    Modifier,
    Moment,
    Note,
    Personal,
    ShortText,
    SubItem,
    TaxLine,
)
from workflow.money import MAX_MINOR_UNITS, Money, zero

N = TypeVar("N", Item, SubItem, Modifier, Discount, TaxLine)

MAX_PAYMENTS = 100
"""Payments that one request may name."""

TAX_NAME_LENGTH = 100  # As `TaxLine` of workflow.bill.

_TILL_ID_WORDS = "1 to 64 of A-Z a-z 0-9 . _ ~ - and neither . nor .."
TillOrderId = Annotated[str, msgspec.Meta(pattern=rf"^(?!\.\.?{END})[A-Za-z0-9._~-]{{1,64}}{END}", description=_TILL_ID_WORDS)]
OrderStatus = Literal["New", "Submitted", "Confirmed", "Accepted", "Preparing", "Prepared", "Ready", "Finalized", "Canceled", "Failed"]


class PaymentRequest(Request, frozen=True, kw_only=True):
    """A payment as its taker declares it; `paid_amount` has the service charge in it and the tips not."""

    payment_intent_id: WireId
    paid_amount: Money
    tips_amount: Money | None = None


class LenientCollection(Collection, frozen=True, kw_only=True):
    """Dojo's own example spells `collectAt` otherwise (CONTRACT §16, 19); `to_bill` takes either."""

    collection_time: str | None = None


class LenientDetails(Details, frozen=True, kw_only=True):
    """`Details` as they may come."""

    collection: LenientCollection | None = None


class OrderRequest(Request, frozen=True, kw_only=True):
    """What CreateOrder and the till's opening of an order have in common."""

    details: LenientDetails
    items: Annotated[tuple[Item, ...], msgspec.Meta(max_length=MAX_LINES)]
    total_amount: Money
    service_charge_amount: Money | None = None
    discounts: Annotated[tuple[Discount, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    tax_lines: Annotated[tuple[TaxLine, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    reference: ShortText | None = None
    display_name: ShortText | None = None
    note: Note | None = None
    customer: Customer | None = None

    def __post_init__(self) -> None:
        if self.customer is not None:
            check_identifier("customer.id", self.customer.id)


class CreateOrderRequest(OrderRequest, frozen=True, kw_only=True):
    """Dojo's order; `payments` may be empty: order now, pay later."""

    dojo_order_id: WireId
    payments: Annotated[tuple[PaymentRequest, ...], msgspec.Meta(max_length=MAX_PAYMENTS)]


class OpenOrderRequest(OrderRequest, frozen=True, kw_only=True):
    """An order opened or amended at the till, under the till's own `id` if it gives one; `status` is heeded when it is opened."""

    id: TillOrderId | None = None
    status: Literal["New", "Accepted"] = "Accepted"


class PaymentWithLockId(PaymentRequest, frozen=True, kw_only=True):
    """RecordOrderPayment: a payment that Dojo took for an order, perhaps under a lock."""

    lock_id: WireId | None = None


class SearchDineIn(Request, frozen=True, kw_only=True):
    """Whereabouts that an order must have; those given are joined by AND."""

    table_id: WireId | None = None
    waiter_id: WireId | None = None
    party_id: WireId | None = None
    reservation_id: WireId | None = None


class SearchOrdersRequest(Request, frozen=True, kw_only=True):
    """Filters joined by AND; `payable_only` false means all orders, payable or not."""

    dine_in: SearchDineIn = SearchDineIn()
    payable_only: bool = False
    cursor: Cursor = Cursor()


class CreateOrderLockRequest(Request, frozen=True, kw_only=True):
    """Dojo's wish for a lock; `to_moment` reads `expiry`."""

    lock_id: WireId
    expiry: Moment


class ExtendOrderLockRequest(Request, frozen=True, kw_only=True):
    """Dojo's wish for more time."""

    expiry: Moment


class PaymentAnswer(Answer, frozen=True, kw_only=True):
    """One counted payment of an order, net of refunds."""

    payment_intent_id: str
    paid_amount: Money
    tips_amount: Money


class OrderAnswer(Answer, frozen=True, kw_only=True):
    """The published `Order`. Every money field is sent, since Dojo computes from them what is left to pay."""

    id: str
    status: OrderStatus
    details: Details
    items: tuple[Item, ...]
    discounts: tuple[Discount, ...]
    tax_lines: tuple[TaxLine, ...]
    total_amount: Money
    service_charge_amount: Money
    paid_amount: Money
    tips_amount: Money
    payments: tuple[PaymentAnswer, ...]
    payable: bool
    created_at: Moment
    updated_at: Moment
    reference: str | UnsetType = UNSET
    display_name: str | UnsetType = UNSET
    note: str | UnsetType = UNSET
    customer: Customer | UnsetType = UNSET


class PagedOrders(Answer, frozen=True, kw_only=True):
    """The published `PagedOrdersResponse`; a token is left out where there is no such page."""

    data: tuple[OrderAnswer, ...]
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


def to_bill(request: OrderRequest) -> Bill:
    """The order without what is in `to_personal`, card numbers removed, fit for the journal; not checked yet, see `check_bill`."""
    return Bill(
        details=_plain_details(request.details),
        items=tuple(_journaled_item(item) for item in request.items),
        total_amount=request.total_amount,
        service_charge_amount=request.service_charge_amount,
        discounts=tuple(map(_named, request.discounts)),
        tax_lines=tuple(map(_named, request.tax_lines)),
        reference=_reference(request.reference),
    )


def to_personal(request: OrderRequest) -> Personal:
    """The customer and all free text, card numbers removed; item notes by path, as `items[2].subItems[1]`."""
    customer = request.customer
    return Personal(
        customer=None if customer is None else replace(customer, name=redacted(customer.name, NAME_LENGTH)),
        note=redacted(request.note, NOTE_LENGTH),
        item_notes={path: note for path, line in _lines(request.items) if (note := redacted(line.note, NOTE_LENGTH)) is not None},
        display_name=redacted(request.display_name, NAME_LENGTH),
    )


def check_bill(bill: Bill, currency: str) -> None:
    """Refuse what the schema allows and no till can serve: other currencies than the venue's `currency`, negative amounts.

    Only a modifier's price may be negative. Sums are not compared: Dojo's `totalAmount` rules. Raises BadInput.
    """
    for field, amount, least in _amounts(bill):
        check_amount(field, amount, currency, least)
    for field, identifier in _identifiers(bill):
        check_identifier(field, identifier)
    _check_details(bill.details)


def check_payments(payments: Sequence[PaymentRequest], total: Money) -> None:
    """Refuse payments of nothing (unless the order costs nothing), in another currency, of one intent twice, or of too much in all.

    Raises BadInput. Whether they fit what is still to pay is for the core to say.
    """
    seen: set[str] = set()
    for index, payment in enumerate(payments):
        check_payment(payment, total, field=f"payments[{index}].")
        if payment.payment_intent_id in seen:
            raise BadInput(f"payments[{index}].paymentIntentId", f"comes twice: {shown(payment.payment_intent_id)}")
        seen.add(payment.payment_intent_id)
    for name, amounts in {
        "paidAmount": [payment.paid_amount.value for payment in payments],
        "tipsAmount": [payment.tips_amount.value for payment in payments if payment.tips_amount],
    }.items():
        if sum(amounts) > MAX_MINOR_UNITS:
            raise BadInput("payments", f"expected {name}s that come to {MAX_MINOR_UNITS} minor units at most, got {sum(amounts)}")


def check_payment(payment: PaymentRequest, total: Money, *, field: str = "") -> None:
    """The rules of one payment towards an order of `total`; `field` goes before the name of the field refused."""
    check_amount(f"{field}paidAmount", payment.paid_amount, total.currency, 0 if total.value == 0 else 1)
    if payment.tips_amount is not None:
        check_amount(f"{field}tipsAmount", payment.tips_amount, total.currency, 0)


def check_recorded(payment: PaymentRequest) -> None:
    """Refuse a payment that is none: nothing, or less. Raises BadInput. A currency that is not the order's is a conflict, for the core."""
    if not 1 <= payment.paid_amount.value <= MAX_MINOR_UNITS:
        raise BadInput("paidAmount.value", f"expected 1 to {MAX_MINOR_UNITS} minor units, got {shown(payment.paid_amount.value)}")
    if payment.tips_amount is not None and not 0 <= payment.tips_amount.value <= MAX_MINOR_UNITS:
        raise BadInput("tipsAmount.value", f"expected 0 to {MAX_MINOR_UNITS} minor units, got {shown(payment.tips_amount.value)}")


def order_answer(
    *,
    id: str,
    status: str,
    bill: Bill,
    personal: Personal,
    paid: Money,
    tips: Money,
    payments: Sequence[PaymentAnswer],
    payable: bool,
    created_at: str,
    updated_at: str,
) -> OrderAnswer:
    """The order as Dojo and the till see it; `status` is one of `OrderStatus`, `paid` and `tips` are sums over `payments`.

    Times are UTC as `clock.to_text` writes them. An erased customer is `Personal()`.
    """
    return OrderAnswer(
        id=id,
        status=cast(OrderStatus, status),
        details=bill.details,
        items=_with_notes(bill.items, personal.item_notes),
        discounts=bill.discounts,
        tax_lines=bill.tax_lines,
        total_amount=bill.total_amount,
        service_charge_amount=bill.service_charge_amount or zero(bill.total_amount.currency),
        paid_amount=paid,
        tips_amount=tips,
        payments=tuple(payments),
        payable=payable,
        created_at=created_at,
        updated_at=updated_at,
        reference=sent(bill.reference),
        display_name=sent(personal.display_name or bill.display_name),
        note=sent(personal.note),
        customer=UNSET if personal.customer is None else personal.customer,
    )


def _plain_details(details: LenientDetails) -> Details:
    given = details.collection
    collection = given and Collection(asap=given.asap, collect_at=given.collect_at or given.collection_time)
    return Details(order_type=details.order_type, dine_in=details.dine_in, collection=collection)


def _journaled_item(item: Item) -> Item:
    subs = tuple(replace(_named(sub), note=None, modifiers=tuple(map(_named, sub.modifiers))) for sub in item.sub_items)
    return replace(_named(item), note=None, modifiers=tuple(map(_named, item.modifiers)), sub_items=subs)


def _named(line: N) -> N:
    """The line, with no card number in its name."""
    name = redacted(line.name, TAX_NAME_LENGTH if isinstance(line, TaxLine) else NAME_LENGTH)
    return line if name == line.name else replace(line, name=name)


def _reference(text: str | None) -> str | None:
    """Without card numbers. Of digits alone it is an id, one in ten of which would pass, unless a card scheme issues such numbers."""
    return text if text and text.isdecimal() and not is_card_number(text) else redacted(text, NAME_LENGTH)


def _with_notes(items: tuple[Item, ...], notes: dict[str, str]) -> tuple[Item, ...]:
    if not notes:
        return items
    return tuple(
        replace(
            item,
            note=notes.get(f"items[{index}]"),
            sub_items=tuple(replace(sub, note=notes.get(f"items[{index}].subItems[{place}]")) for place, sub in enumerate(item.sub_items)),
        )
        for index, item in enumerate(items)
    )


def _lines(items: tuple[Item, ...]) -> Iterator[tuple[str, Item | SubItem]]:
    for index, item in enumerate(items):
        yield f"items[{index}]", item
        for place, sub_item in enumerate(item.sub_items):
            yield f"items[{index}].subItems[{place}]", sub_item


def _modifiers(path: str, line: Item | SubItem) -> Iterator[tuple[str, Modifier]]:
    for index, modifier in enumerate(line.modifiers):
        yield f"{path}.modifiers[{index}]", modifier


def _amounts(bill: Bill) -> Iterator[tuple[str, Money, int]]:
    """Every amount with its path and the least value that it may have."""
    yield "totalAmount", bill.total_amount, 0
    if bill.service_charge_amount is not None:
        yield "serviceChargeAmount", bill.service_charge_amount, 0
    for index, discount in enumerate(bill.discounts):
        yield f"discounts[{index}].amountTotal", discount.amount_total, 0
    for index, tax_line in enumerate(bill.tax_lines):
        yield f"taxLines[{index}].amountTotal", tax_line.amount_total, 0
    for path, line in _lines(bill.items):
        yield f"{path}.amountPerItem", line.amount_per_item, 0
        for modifier_path, modifier in _modifiers(path, line):
            yield f"{modifier_path}.amountPerModifier", modifier.amount_per_modifier, -MAX_MINOR_UNITS


def _identifiers(bill: Bill) -> Iterator[tuple[str, str | None]]:
    for path, line in _lines(bill.items):
        yield f"{path}.plu", line.plu
        for modifier_path, modifier in _modifiers(path, line):
            yield f"{modifier_path}.plu", modifier.plu
    where = bill.details.dine_in or DineIn()
    yield "details.dineIn.tableId", where.table_id
    yield "details.dineIn.waiterId", where.waiter_id
    yield "details.dineIn.partyId", where.party_id
    yield "details.dineIn.reservationId", where.reservation_id


def _check_details(details: Details) -> None:
    wanted = details.dine_in if details.order_type == "DineIn" else details.collection
    if wanted is None:
        name = "dineIn" if details.order_type == "DineIn" else "collection"
        raise BadInput(f"details.{name}", f"required for orderType {details.order_type}, but absent")
    if details.dine_in is not None and details.dine_in.ready_at is not None:
        to_moment(details.dine_in.ready_at, "details.dineIn.readyAt")
    if details.collection is not None and details.collection.collect_at is not None:
        to_moment(details.collection.collect_at, "details.collection.collectAt")
        if details.collection.asap:
            raise BadInput("details.collection.collectAt", "expected only where asap is not true")
