"""What a customer orders, as Dojo sends it: the parts of `CreateOrderRequest` that are not about payment. Contract §8."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflow.money import Money, zero

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
MAX_LINES = 1_000
DEFAULT_CURRENCY = "GBP"
DEFAULT_TABLE = "tbl_12"
DEFAULT_PLU = "ANY-01"
"""Of no catalogue: a POS that has one is told what to order."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Base of a basket's pieces: camelCase on the wire, absent when empty; a misspelt key is refused."""


class Modifier(_Part, frozen=True):
    """A change to one item; `quantity` is per single item."""

    name: str
    plu: str
    quantity: Count
    amount_per_modifier: Money


class SubItem(_Part, frozen=True):
    """A component of a set; its price comes on top of the set's."""

    name: str
    plu: str
    quantity: Count
    amount_per_item: Money
    note: str | None = None
    modifiers: tuple[Modifier, ...] = ()


class Item(_Part, frozen=True):
    """One line; `amount_per_item` is before modifiers, sub-items and discounts."""

    name: str
    plu: str
    quantity: Count
    amount_per_item: Money
    note: str | None = None
    modifiers: tuple[Modifier, ...] = ()
    sub_items: tuple[SubItem, ...] = ()


class Discount(_Part, frozen=True):
    """Takes its positive amount off. `amount_percentage` has two implied decimals."""

    name: str
    amount_total: Money
    code: str | None = None
    discount_reference: str | None = None
    affected_plu: str | None = None
    amount_percentage: int | None = None


class TaxLine(_Part, frozen=True):
    """Tax contained in the prices."""

    amount_total: Money
    id: str | None = None
    name: str | None = None
    affected_plu: str | None = None
    amount_percentage: int | None = None


class DineIn(_Part, frozen=True):
    """Where the customer sits."""

    table_id: str | None = None
    waiter_id: str | None = None
    party_id: str | None = None
    reservation_id: str | None = None
    ready_at: str | None = None


class Collection(_Part, frozen=True):
    """When the customer collects."""

    asap: bool | None = None
    collect_at: str | None = None


class Details(_Part, frozen=True):
    """Dine-in or collection, with the object of the same name."""

    order_type: Literal["DineIn", "Collection"]
    dine_in: DineIn | None = None
    collection: Collection | None = None


class Customer(_Part, frozen=True):
    """Who ordered."""

    id: str | None = None
    name: str | None = None
    email_address: str | None = None
    phone_number: str | None = None


class Basket(_Part, frozen=True):
    """One order before it is paid. Without `total_amount` Dojo's arithmetic of contract §8.5 gives it."""

    details: Details
    items: Annotated[tuple[Item, ...], msgspec.Meta(min_length=1, max_length=MAX_LINES)]
    total_amount: Money | None = None
    service_charge_amount: Money | None = None
    discounts: tuple[Discount, ...] = ()
    tax_lines: tuple[TaxLine, ...] = ()
    customer: Customer | None = None
    reference: str | None = None
    display_name: str | None = None
    note: str | None = None

    @property
    def currency(self) -> str:
        """That of the first item; one basket has one currency."""
        return self.items[0].amount_per_item.currency

    @property
    def service_charge(self) -> Money:
        """What the total contains for service."""
        return self.service_charge_amount or zero(self.currency)

    @property
    def total(self) -> Money:
        """What is to be paid, service charge included, tips not. Raises CurrencyMismatch on a mixed basket."""
        if self.total_amount is not None:
            return self.total_amount
        total = sum((line_total(item) for item in self.items), self.service_charge)
        for discount in self.discounts:
            total -= discount.amount_total
        return total


def default_basket(table_id: str = DEFAULT_TABLE, currency: str = DEFAULT_CURRENCY) -> Basket:
    """Two pizzas with olives, a lunch menu, a discount and a service charge: 51.70 in all."""

    def amount(value: int) -> Money:
        return Money(value, currency)

    olives = Modifier(name="Olives", plu="MOD-OLIVE", quantity=1, amount_per_modifier=amount(120))
    large = Modifier(name="Large", plu="MOD-LARGE", quantity=1, amount_per_modifier=amount(80))
    soup = SubItem(name="Leek soup", plu="SOUP-LEEK", quantity=1, amount_per_item=amount(0))
    tea = SubItem(name="Iced tea", plu="TEA-ICED", quantity=1, amount_per_item=amount(50), modifiers=(large,))
    pizza = Item(name="Pizza", plu="PIZZA-01", quantity=2, amount_per_item=amount(1380), modifiers=(olives,), note="one well done")
    lunch = Item(name="Lunch menu", plu="LUNCH-03", quantity=1, amount_per_item=amount(1770), sub_items=(soup, tea))
    return Basket(
        details=Details(order_type="DineIn", dine_in=DineIn(table_id=table_id)),
        items=(pizza, lunch),
        discounts=(Discount(name="Two for lunch", code="LUNCH2", amount_total=amount(200)),),
        service_charge_amount=amount(470),
        tax_lines=(TaxLine(id="VAT20", name="VAT", amount_percentage=2000, amount_total=amount(783)),),
        customer=Customer(id="cus_sandbox", name="Robin Sandbox"),
        display_name=f"Table {table_id}",
    )


def basket_of(total: Money, table_id: str = DEFAULT_TABLE, plu: str = DEFAULT_PLU) -> Basket:
    """One thing for exactly this price."""
    item = Item(name="Something", plu=plu, quantity=1, amount_per_item=total)
    return Basket(details=Details(order_type="DineIn", dine_in=DineIn(table_id=table_id)), items=(item,), display_name=f"Table {table_id}")


def line_total(item: Item) -> Money:
    """What one line comes to, before discounts. Contract §8.5."""
    each = sum((_sub_item(sub) for sub in item.sub_items), item.amount_per_item + _modifiers(item.modifiers, item))
    return _times(each, item.quantity)


def _sub_item(sub: SubItem) -> Money:
    return _times(sub.amount_per_item + _modifiers(sub.modifiers, sub), sub.quantity)


def _modifiers(modifiers: tuple[Modifier, ...], of: Item | SubItem) -> Money:
    return sum((_times(one.amount_per_modifier, one.quantity) for one in modifiers), zero(of.amount_per_item.currency))


def _times(amount: Money, quantity: int) -> Money:
    return Money(amount.value * quantity, amount.currency)
