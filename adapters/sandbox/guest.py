"""What a customer's phone asks of the POS, as Dojo does for it: the tables, the open bills of one, a bill as the POS has it printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from adapters.sandbox.basket import Discount, Item, Modifier, SubItem, line_total
from adapters.sandbox.faults import Faults
from adapters.sandbox.figures import Figures, figures_of
from adapters.sandbox.paging import search_tables
from adapters.sandbox.pos import Caller, PosArea, PosClient, PosOrder, PosTable
from adapters.sandbox.registry import Integrations
from adapters.sandbox.steps import parsed, path_of
from adapters.sandbox.traffic import Traffic
from workflow.money import Money

PRODUCT = "QRPay"
BILLS = 5
"""Of one table, on one page."""


class BillModifier(Modifier, frozen=True, forbid_unknown_fields=False):
    """A modifier as a POS shows it, whatever else it says of it."""


class BillSubItem(SubItem, frozen=True, forbid_unknown_fields=False):
    """A component as a POS shows it."""

    modifiers: tuple[BillModifier, ...] = ()


class BillItem(Item, frozen=True, forbid_unknown_fields=False):
    """A line as a POS shows it."""

    modifiers: tuple[BillModifier, ...] = ()
    sub_items: tuple[BillSubItem, ...] = ()


class BillDiscount(Discount, frozen=True, forbid_unknown_fields=False):
    """A discount as a POS shows it."""


class BilledOrder(PosOrder, frozen=True, rename="camel"):
    """What a customer looks at in an order."""

    items: tuple[BillItem, ...] = ()
    discounts: tuple[BillDiscount, ...] = ()
    service_charge_amount: Money | None = None
    display_name: str | None = None


class _Text(msgspec.Struct, frozen=True):
    value: str
    size: str = "Body"
    bold: bool = False


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    number: str = ""


class _Address(msgspec.Struct, frozen=True, rename="camel"):
    address_lines: tuple[str, ...] = ()
    postcode: str = ""


class _Contact(msgspec.Struct, frozen=True, rename="camel"):
    email_address: str = ""
    phone_number: str = ""


class _Link(msgspec.Struct, frozen=True):
    url: str = ""
    description: str = ""


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    """A line of a bill's header or footer; the one object that its type names."""

    line_type: str
    text: _Text | None = None
    merchant_name: _Named | None = None
    merchant_address: _Address | None = None
    merchant_email_address: _Contact | None = None
    merchant_phone_number: _Contact | None = None
    tax_number: _Named | None = None
    url: _Link | None = None


class _Section(msgspec.Struct, frozen=True):
    lines: tuple[_Line, ...] = ()


class _Bill(msgspec.Struct, frozen=True):
    order: BilledOrder
    header: _Section = _Section()
    footer: _Section = _Section()


class _BilledOrders(msgspec.Struct, frozen=True):
    data: tuple[BilledOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class Printed:
    """A line on a bill: text in one of its sizes, or a rule."""

    kind: Literal["name", "large", "text", "bold", "rule"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """An order between the venue's header and footer."""

    header: tuple[Printed, ...]
    order: BilledOrder
    footer: tuple[Printed, ...]

    @property
    def figures(self) -> Figures:
        """Its sums. Raises StepFailed without a total."""
        return figures_of(self.order)

    @property
    def lines(self) -> tuple[tuple[BillItem, Money], ...]:
        """Each line, and what it comes to."""
        return tuple((item, line_total(item)) for item in self.order.items)

    @property
    def left(self) -> Money:
        """What is still to be paid, tips apart; nothing where it cannot be paid."""
        return Money(max(0, self.figures.total.value - self.figures.paid.value), self.figures.total.currency)


class Guest:
    """One customer after the other; what a POS has not registered is not asked of it.

    Every method raises StepFailed where the POS answers nothing that can be used, CapabilityMissing where nothing can be asked.
    """

    def __init__(self, *, integrations: Integrations, rules: Faults, traffic: Traffic) -> None:
        self._integrations, self._rules, self._traffic = integrations, rules, traffic

    def tables(self) -> Mapping[str, tuple[PosTable, ...]]:
        """The POS's tables by the names of their areas; empty where it tells of none."""
        if self._integrations.of("SearchTables") is None:
            return {}
        client, areas = self._client("SearchTables"), dict[str | None, str]()
        if self._integrations.of("ListAreas"):
            areas = {area.id: area.name for area in parsed(client.call("GET", "/v1/areas"), tuple[PosArea, ...], "ListAreas")}
        found = dict[str, list[PosTable]]()
        for table in search_tables(client.call, {}):
            found.setdefault(areas.get(table.area_id, "Tables"), []).append(table)
        return {area: tuple(tables) for area, tables in found.items()}

    def bills(self, table_id: str) -> tuple[BilledOrder, ...]:
        """The open bills of a table, as SearchOrders finds them."""
        body = {"dineIn": {"tableId": table_id}, "payableOnly": True}
        answer = self._client("SearchOrders").call("POST", "/v1/orders/search", body, note=f"payable at {table_id}")
        found = parsed(answer, _BilledOrders, "SearchOrders").data
        return tuple(order for order in found if order.payable is not False)[:BILLS]

    def bill(self, order_id: str) -> Bill:
        """One bill as the POS has it printed; of a POS without bills, the order alone."""
        if self._integrations.of("GetOrderBill") is None:
            answer = self._client("GetOrderById").call("GET", path_of(order_id))
            return Bill((), parsed(answer, BilledOrder, "GetOrderById"), ())
        answer = self._client("GetOrderBill").call("GET", f"{path_of(order_id)}/bill")
        found = parsed(answer, _Bill, "GetOrderBill")
        return Bill(_printed(found.header), found.order, _printed(found.footer))

    def _client(self, capability: str) -> PosClient:
        pos = self._integrations.require([capability])
        return PosClient(pos, caller=Caller(product=PRODUCT), rules=self._rules, traffic=self._traffic)


def _printed(section: _Section) -> tuple[Printed, ...]:
    return tuple(printed for line in section.lines for printed in _of_line(line))


def _of_line(line: _Line) -> tuple[Printed, ...]:
    """What is seen of a line: pictures and QR codes are not."""
    if line.line_type == "HorizontalLine":
        return (Printed("rule"),)
    if line.text:
        return (Printed("large" if line.text.size != "Body" else "bold" if line.text.bold else "text", line.text.value),)
    if line.merchant_name:
        return (Printed("name", line.merchant_name.name),)
    texts = (
        " ".join(filter(None, (line.tax_number.name, line.tax_number.number))) if line.tax_number else "",
        line.merchant_email_address.email_address if line.merchant_email_address else "",
        line.merchant_phone_number.phone_number if line.merchant_phone_number else "",
        " ".join(filter(None, (line.url.description, line.url.url))) if line.url else "",
        *([*line.merchant_address.address_lines, line.merchant_address.postcode] if line.merchant_address else []),
    )
    return tuple(Printed("text", text) for text in texts if text)
