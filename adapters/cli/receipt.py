"""A bill as text, for a terminal or a receipt printer of fixed width: no colours, no codes, one line of cells after another.

The sums are the order's own; only a line's amount is worked out here, its count times its price, since an order does not carry it.
Notes and the customer are left out: a receipt lies about. Pictures are left out too, and of a QR code its address is printed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

from adapters.edge.bill import (
    AddressLine,
    Align,
    BillLine,
    BillSection,
    EmailLine,
    NameLine,
    OrderBill,
    PhoneLine,
    RuleLine,
    TaxNumberLine,
    TextLine,
    UrlLine,
    local_time,
    printable,
)
from adapters.edge.wire_orders import OrderAnswer
from workflow.bill import Item, Modifier
from workflow.clock import from_text
from workflow.money import Money, with_sign

LEAST_WIDTH, USUAL_WIDTH, MOST_WIDTH = 24, 42, 120
INDENT = 2
LEAST_NAME = 12
"""Columns that a name needs beside its amount; with fewer the amount goes on a line of its own."""

CLOSED = {"Canceled": "This order was cancelled.", "Failed": "This order was not accepted."}
"""Nothing is outstanding on these, whatever was paid."""


def receipt(bill: OrderBill, zone: ZoneInfo, width: int = USUAL_WIDTH) -> Iterator[str]:
    """The bill in lines of at most `width` cells, without line ends; times by the clock of `zone`."""
    order = bill.order
    yield from _section(bill.header, width)
    yield from _row(local_time(from_text(order.created_at), zone), _waiter(order), width)
    yield ""
    yield from _item_rows(order, width)
    yield "-" * width
    yield from _total_rows(order, width)
    yield "-" * width
    yield from _payment_rows(order, width)
    if bill.footer.lines:
        yield "-" * width
        yield from _section(bill.footer, width)


def cells(text: str) -> int:
    """How many columns `text` takes on a terminal: wide letters two, marks upon letters none."""
    return sum(_cells_of(character) for character in text)


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken between words; a word that is longer is broken too."""
    lines = [""]
    for word in text.split():
        glue = " " if lines[-1] else ""
        if cells(lines[-1] + glue + word) <= width:
            lines[-1] += glue + word
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and cells(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines


class _Sold(NamedTuple):
    """One printed line of what was ordered: how often, in all, at which price, how far in."""

    times: int
    name: str
    price: Money
    depth: int

    @property
    def total(self) -> Money:
        return Money(self.times * self.price.value, self.price.currency)

    @property
    def is_free(self) -> bool:
        """Part of something else, at no price: no amount is printed."""
        return self.depth > 0 and self.price.value == 0


def _section(section: BillSection, width: int) -> Iterator[str]:
    for line in section.lines:
        match line:
            case RuleLine():
                yield ("=" if line.horizontal_line.line == "Double" else "-") * width
            case TextLine():
                yield from _aligned(line.text.value, line.text.align, width)
            case _:
                for text in _texts(line):
                    yield from _aligned(text, "Center", width)


def _texts(line: BillLine) -> tuple[str, ...]:
    """What is printed of a line that the device lays out by itself."""
    match line:
        case NameLine():
            return (line.merchant_name.name,)
        case AddressLine():
            return (*line.merchant_address.address_lines, line.merchant_address.postcode)
        case PhoneLine():
            return (line.merchant_phone_number.phone_number,)
        case EmailLine():
            return (line.merchant_email_address.email_address,)
        case TaxNumberLine():
            return (f"{line.tax_number.name} {line.tax_number.number}",)
        case UrlLine():
            return (line.url.description or "", line.url.url if line.url.show_url or line.url.show_qr else "")
        case _:
            return ()


def _waiter(order: OrderAnswer) -> str:
    waiter = printable((order.details.dine_in.waiter_id if order.details.dine_in else None) or "")
    return f"Waiter {waiter}" if waiter else ""


def _item_rows(order: OrderAnswer, width: int) -> Iterator[str]:
    lines = [line for item in order.items for line in _sold(item)]
    column = max((cells(with_sign(line.total)) for line in lines if not line.is_free), default=0)
    for line in lines:
        price = f"at {with_sign(line.price)}  " if line.times > 1 else ""
        right = "" if line.is_free else price + with_sign(line.total).rjust(column)
        count = f"{line.times} × "
        yield from _row(count + printable(line.name), right, width, indent=INDENT * line.depth, hang=len(count))


def _sold(item: Item) -> Iterator[_Sold]:
    """An item and all that hangs on it. Counts multiply: a modifier's is per single item, a sub-item's per set (contract §8.5)."""
    yield _Sold(item.quantity, item.name, item.amount_per_item, 0)
    yield from _modifiers(item.modifiers, item.quantity, 1)
    for sub in item.sub_items:
        count = item.quantity * sub.quantity
        yield _Sold(count, sub.name, sub.amount_per_item, 1)
        yield from _modifiers(sub.modifiers, count, 2)


def _modifiers(modifiers: Iterable[Modifier], count: int, depth: int) -> Iterator[_Sold]:
    return (_Sold(count * modifier.quantity, modifier.name, modifier.amount_per_modifier, depth) for modifier in modifiers)


def _total_rows(order: OrderAnswer, width: int) -> Iterator[str]:
    for discount in order.discounts:
        off = Money(-discount.amount_total.value, discount.amount_total.currency)
        yield from _row(_with_percentage(discount.name, discount.amount_percentage), with_sign(off), width)
    if order.service_charge_amount.value:
        yield from _row("Service charge", with_sign(order.service_charge_amount), width)
    yield from _row("TOTAL", with_sign(order.total_amount), width)
    for tax in order.tax_lines:
        name = _with_percentage(tax.name or tax.id or "tax", tax.amount_percentage)
        yield from _row(f"including {name}", with_sign(tax.amount_total), width)


def _payment_rows(order: OrderAnswer, width: int) -> Iterator[str]:
    for number, payment in enumerate(order.payments if len(order.payments) > 1 else (), start=1):
        tip = f" + {with_sign(payment.tips_amount)} tip" if payment.tips_amount.value else ""
        yield from _row(f"Payment {number}: {with_sign(payment.paid_amount)}{tip}", "", width)
    yield from _row("Paid", with_sign(order.paid_amount), width)
    if order.tips_amount.value:
        yield from _row("Tips", with_sign(order.tips_amount), width)
    if order.status in CLOSED:
        yield from _aligned(CLOSED[order.status], "Center", width)
        return
    rest = order.total_amount - order.paid_amount
    if rest.value < 0:
        yield from _row("Overpaid", with_sign(Money(-rest.value, rest.currency)), width)
    else:
        yield from _row("Outstanding", with_sign(rest), width)
    if rest.value > 0 and not order.payable:
        yield from _aligned("not to be paid now", "Right", width)


def _with_percentage(name: str, percentage: int | None) -> str:
    """`VAT 20%`, unless the name says so itself; `percentage` has two implied decimals."""
    name = printable(name)
    if percentage is None:
        return name
    sign, (whole, hundredths) = "-" * (percentage < 0), divmod(abs(percentage), 100)
    shown = f"{sign}{whole}" + (f".{hundredths:02d}".rstrip("0") if hundredths else "") + "%"
    return name if shown in name else f"{name} {shown}"


def _aligned(text: str, align: Align, width: int) -> Iterator[str]:
    """The lines of `text`, none where it is empty; spaces inside it are kept where it fits into one line."""
    for line in ([text] if cells(text) <= width else wrapped(text, width)) if text else ():
        space = width - cells(line)
        yield " " * {"Left": 0, "Center": space // 2, "Right": space}[align] + line


def _row(left: str, right: str, width: int, *, indent: int = 0, hang: int = INDENT) -> Iterator[str]:
    """`left` from the left, wrapped with a hanging indent, and `right` at the end of its first line, or below it where there is no room."""
    hang = min(hang, (width - indent) // 2)  # Where a count alone is as wide as the paper.
    room = width - indent - cells(right) - 2 if right else width - indent
    is_beside = cells(left) <= room or room >= LEAST_NAME
    first, *others = _hanging(left, (room if is_beside else width - indent), hang)
    if is_beside and right:
        yield " " * indent + first + " " * (width - indent - cells(first) - cells(right)) + right
    else:
        yield " " * indent + first
    yield from (" " * (indent + hang) + line for line in others)
    if right and not is_beside:
        yield from _aligned(right, "Right", width)


def _hanging(text: str, room: int, hang: int) -> list[str]:
    """`text` wrapped for `room`, with `hang` cells kept free before every line but the first."""
    first = wrapped(text, room)[0]
    rest = text[len(first) :].strip()
    return [first, *(wrapped(rest, max(room - hang, 2)) if rest else ())]


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
