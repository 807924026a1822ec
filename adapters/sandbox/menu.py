"""The menu on a customer's phone: what the usual basket holds, dish by dish, and anything for any amount, for the magic ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from adapters.sandbox.basket import DEFAULT_PLU, Basket, Details, DineIn, Item, default_basket, line_total
from workflow.money import Money

SURPRISE = "Something off the menu"


@dataclass(frozen=True, slots=True)
class Dish:
    """One thing to order: its item for a quantity of one, and what the menu says of it."""

    key: str
    name: str
    says: str
    item: Item

    @property
    def price(self) -> Money:
        """With all that comes with it."""
        return line_total(self.item)


def menu(currency: str) -> tuple[Dish, ...]:
    """Every dish, with the PLUs of the usual basket."""
    pizza, lunch = (msgspec.structs.replace(item, quantity=1, note=None) for item in default_basket(currency=currency).items)
    soup, tea = (Item(name=each.name, plu=each.plu, quantity=1, amount_per_item=Money(0, currency)) for each in lunch.sub_items)
    return (
        Dish("pizza", "Pizza with olives", "Tomato, mozzarella, olives on top", pizza),
        Dish("plain", "Pizza", "Tomato and mozzarella", msgspec.structs.replace(pizza, modifiers=())),
        Dish("lunch", "Lunch menu", "Leek soup and a large iced tea", lunch),
        Dish("soup", "Leek soup", "With bread", msgspec.structs.replace(soup, amount_per_item=Money(620, currency))),
        Dish("tea", "Iced tea", "With lemon", msgspec.structs.replace(tea, amount_per_item=Money(310, currency))),
    )


def basket(
    table_id: str, currency: str, quantities: Mapping[str, int], *, name: str = "", surprise: Money | None = None, note: str = ""
) -> Basket | None:
    """The order of a table, which the POS calls `name`; None where nothing was chosen. `surprise` is one thing for exactly this price."""
    items = [msgspec.structs.replace(dish.item, quantity=many) for dish in menu(currency) if (many := quantities.get(dish.key, 0))]
    if surprise:
        items.append(Item(name=SURPRISE, plu=DEFAULT_PLU, quantity=1, amount_per_item=surprise))
    if not items:
        return None
    details = Details(order_type="DineIn", dine_in=DineIn(table_id=table_id))
    return Basket(details=details, items=tuple(items), display_name=name or f"Table {table_id}", note=note or None)
