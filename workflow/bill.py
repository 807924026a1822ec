"""What was ordered: the lines, charges and whereabouts of one order, as Dojo's published schema shapes them.

The same types are parsed from Dojo's and the till's requests, stored in the journal and sent back, so nothing is translated
twice. Field names are Dojo's on the wire (`camelCase`) and ours in Python. Source: EPOS Data API, schema `CreateOrderRequest`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflow.money import Money

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
ShortText = Annotated[str, msgspec.Meta(max_length=1_000)]
Note = Annotated[str, msgspec.Meta(max_length=10_000)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
MOMENT_LENGTH = 64
Moment = Annotated[
    str, msgspec.Meta(max_length=MOMENT_LENGTH, description="date and time with its zone", extra_json_schema={"format": "date-time"})
]
"""A moment as it came; whoever uses it reads it with `to_moment`."""

MAX_LINES = 1_000


class Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Base of every piece of a bill: immutable, camelCase on the wire, absent when empty."""


class Modifier(Part, frozen=True):
    """A change to one item; `quantity` is per single item (two burgers with double cheese: 2, not 4)."""

    name: ShortText
    plu: Identifier
    quantity: Count
    amount_per_modifier: Money


class SubItem(Part, frozen=True):
    """A component of a set; its price comes on top of the parent's."""

    name: ShortText
    plu: Identifier
    quantity: Count
    amount_per_item: Money
    note: Note | None = None
    modifiers: Annotated[tuple[Modifier, ...], msgspec.Meta(max_length=MAX_LINES)] = ()


class Item(Part, frozen=True):
    """One line of the bill; `amount_per_item` is one item's base price before modifiers, sub-items and discounts."""

    name: ShortText
    plu: Identifier
    quantity: Count
    amount_per_item: Money
    note: Note | None = None
    modifiers: Annotated[tuple[Modifier, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    sub_items: Annotated[tuple[SubItem, ...], msgspec.Meta(max_length=MAX_LINES)] = ()


class Discount(Part, frozen=True):
    """A reduction; positive `amount_total` takes money off. `amount_percentage` has two implied decimals (20 % is 2000)."""

    name: ShortText
    amount_total: Money
    code: ShortText | None = None
    discount_reference: ShortText | None = None
    affected_plu: ShortText | None = None
    amount_percentage: int | None = None


class TaxLine(Part, frozen=True):
    """Tax contained in the prices, for the printed bill."""

    amount_total: Money
    id: Annotated[str, msgspec.Meta(max_length=60)] | None = None
    name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    affected_plu: ShortText | None = None
    amount_percentage: int | None = None


class DineIn(Part, frozen=True):
    """Where in the venue the order belongs."""

    table_id: Identifier | None = None
    waiter_id: Identifier | None = None
    party_id: Identifier | None = None
    reservation_id: Identifier | None = None
    ready_at: Moment | None = None


class Collection(Part, frozen=True):
    """When the customer collects; `collect_at` only where `asap` is not true."""

    asap: bool | None = None
    collect_at: Moment | None = None


class Details(Part, frozen=True):
    """Dine-in or collection; the object of the same name goes with `order_type`."""

    order_type: Literal["DineIn", "Collection"]
    dine_in: DineIn | None = None
    collection: Collection | None = None


class Customer(Part, frozen=True):
    """Personal data: kept beside the journal, never in it."""

    id: Identifier | None = None
    name: ShortText | None = None
    email_address: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    phone_number: Annotated[str, msgspec.Meta(max_length=50)] | None = None


class Bill(Part, frozen=True):
    """Everything on an order but its payments, status and personal data.

    `total_amount` is after discounts and taxes, with service charge, without tips; Dojo's figure rules. `display_name` is only on bills
    that an older version journaled: now it is in `Personal`, since it may be whoever collects the order.
    """

    details: Details
    items: Annotated[tuple[Item, ...], msgspec.Meta(max_length=MAX_LINES)]
    total_amount: Money
    service_charge_amount: Money | None = None
    discounts: Annotated[tuple[Discount, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    tax_lines: Annotated[tuple[TaxLine, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    reference: ShortText | None = None
    display_name: ShortText | None = None

    def lines_total(self) -> int:
        """What the lines come to, in minor units: charges on, discounts off, taxes contained. Source: contract §8.5, inferred there."""
        service = self.service_charge_amount.value if self.service_charge_amount else 0
        return sum(map(_line_total, self.items)) - sum(discount.amount_total.value for discount in self.discounts) + service

    def disagrees_with_its_lines(self) -> bool:
        """`total_amount` is not what the lines come to, with taxes contained or on top, a unit of rounding for each line aside."""
        taxes = sum(line.amount_total.value for line in self.tax_lines)
        nearest = min(abs(self.total_amount.value - self.lines_total()), abs(self.total_amount.value - self.lines_total() - taxes))
        return bool(self.items) and nearest > len(self.items) + len(self.discounts) + len(self.tax_lines)


def _line_total(item: Item) -> int:
    parts = sum(part.quantity * (part.amount_per_item.value + _modifiers_total(part.modifiers)) for part in item.sub_items)
    return item.quantity * (item.amount_per_item.value + _modifiers_total(item.modifiers) + parts)


def _modifiers_total(modifiers: tuple[Modifier, ...]) -> int:
    return sum(modifier.quantity * modifier.amount_per_modifier.value for modifier in modifiers)


class Personal(Part, frozen=True):
    """Free text and customers' details of one order, in their own erasable table.

    `item_notes` maps a line's path (`items[0]`, `items[2].subItems[1]`) to its note. `display_name` is what the card machine shows.
    """

    customer: Customer | None = None
    note: Note | None = None
    item_notes: dict[str, str] = {}
    display_name: ShortText | None = None

    def kinds(self) -> tuple[str, ...]:
        """What there is of it, by name on the wire and without a word of its content."""
        return tuple(sorted(msgspec.to_builtins(self)))
