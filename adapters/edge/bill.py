"""The bill that Dojo prints: what stands above the order, the order, what stands below. Contract §11; EPOS Data API, `OrderBill`.

A line is one of the types below, and its `lineType` is the type's own tag: a line whose object is not the one that it names cannot
be made. The flags of a URL are spelt as the REST schema spells them (contract §16, 21).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import UNSET, UnsetType

from adapters.edge.wire import Answer, TableBody, to_moment
from adapters.edge.wire_orders import OrderAnswer
from workflow.bill import Collection

Size = Literal["Body", "Header1", "Header2"]
Align = Literal["Left", "Center", "Right"]
Rule = Literal["Single", "Double"]


class BillText(Answer, frozen=True, kw_only=True):
    """A text in one of three sizes."""

    value: str
    size: Size = "Body"
    align: Align = "Center"
    bold: bool = False


class BillHorizontalLine(Answer, frozen=True, kw_only=True):
    """A rule across the bill."""

    line: Rule


class BillImage(Answer, frozen=True, kw_only=True):
    """A picture, as the text of an SVG document."""

    svg_image: str
    align: Align


class BillLogo(Answer, frozen=True, kw_only=True):
    """The venue's picture, which is printed on top wherever it stands."""

    svg_image: str


class BillURL(Answer, frozen=True, kw_only=True):
    """A link, as a QR code, as its text, or as both."""

    url: str
    show_qr: bool
    show_url: bool
    description: str | UnsetType = UNSET


class BillMerchantName(Answer, frozen=True, kw_only=True):
    """The venue's name."""

    name: str


class BillMerchantAddress(Answer, frozen=True, kw_only=True):
    """The venue's address."""

    address_lines: tuple[str, ...]
    postcode: str


class BillMerchantEmailAddress(Answer, frozen=True, kw_only=True):
    """Where to write to the venue."""

    email_address: str


class BillMerchantPhoneNumber(Answer, frozen=True, kw_only=True):
    """Where to call the venue."""

    phone_number: str


class BillTaxNumber(Answer, frozen=True, kw_only=True):
    """The venue's number at the tax office, which is printed at the bottom."""

    name: str
    number: str


class _Line(Answer, frozen=True, kw_only=True, tag_field="lineType"):
    """Base of the lines: each has the one object that its tag names."""


class TextLine(_Line, frozen=True, kw_only=True, tag="Text"):
    """Free text."""

    text: BillText


class RuleLine(_Line, frozen=True, kw_only=True, tag="HorizontalLine"):
    """A rule."""

    horizontal_line: BillHorizontalLine


class ImageLine(_Line, frozen=True, kw_only=True, tag="Image"):
    """A picture."""

    image: BillImage


class LogoLine(_Line, frozen=True, kw_only=True, tag="Logo"):
    """The logo."""

    logo: BillLogo


class UrlLine(_Line, frozen=True, kw_only=True, tag="URL"):
    """A link."""

    url: BillURL


class NameLine(_Line, frozen=True, kw_only=True, tag="MerchantName"):
    """Whose bill it is."""

    merchant_name: BillMerchantName


class AddressLine(_Line, frozen=True, kw_only=True, tag="MerchantAddress"):
    """Where the venue is."""

    merchant_address: BillMerchantAddress


class EmailLine(_Line, frozen=True, kw_only=True, tag="MerchantEmailAddress"):
    """The venue's e-mail."""

    merchant_email_address: BillMerchantEmailAddress


class PhoneLine(_Line, frozen=True, kw_only=True, tag="MerchantPhoneNumber"):
    """The venue's telephone."""

    merchant_phone_number: BillMerchantPhoneNumber


class TaxNumberLine(_Line, frozen=True, kw_only=True, tag="TaxNumber"):
    """The venue's tax number."""

    tax_number: BillTaxNumber


BillLine: TypeAlias = TextLine | RuleLine | ImageLine | LogoLine | UrlLine | NameLine | AddressLine | EmailLine | PhoneLine | TaxNumberLine


class BillSection(Answer, frozen=True, kw_only=True):
    """The published `BillSection`: a header or a footer."""

    lines: tuple[BillLine, ...]


class OrderBill(Answer, frozen=True, kw_only=True):
    """The published `OrderBill`; `order` is what GetOrderById answers."""

    header: BillSection
    order: OrderAnswer
    footer: BillSection


@dataclass(frozen=True, slots=True)
class BillTemplate:
    """What every bill of the venue has above and below its order."""

    header: tuple[BillLine, ...]
    footer: tuple[BillLine, ...] = ()


def name_line(name: str) -> NameLine:
    """The line with the venue's name."""
    return NameLine(merchant_name=BillMerchantName(name=name))


def rule_line(line: Rule = "Single") -> RuleLine:
    """A rule across the bill."""
    return RuleLine(horizontal_line=BillHorizontalLine(line=line))


def order_bill(
    order: OrderAnswer, template: BillTemplate, tables: Sequence[TableBody], zone: ZoneInfo, *, erased_at: datetime | None = None
) -> OrderBill:
    """The bill of an order: its sums are the order's own. The header ends with where the order belongs, its name and reference, and a rule.

    `tables` are the till's, for their names; times are told in `zone`, the venue's. `erased_at` is when personal data were taken off it.
    """
    first, *others = _labels(order, tables, zone)
    if erased_at:
        others.append(f"Personal details erased {local_time(erased_at, zone)}")
    label = TextLine(text=BillText(value=first, size="Header2", bold=True))
    header = (*template.header, label, *(TextLine(text=BillText(value=text)) for text in others), rule_line())
    return OrderBill(header=BillSection(lines=header), order=order, footer=BillSection(lines=template.footer))


def printable(text: str) -> str:
    """`text` on one line, fit for a terminal, a printer and a card machine: nothing in it can control one or turn it around."""
    return " ".join("".join(map(_harmless, text)).split())


def local_time(moment: datetime, zone: ZoneInfo) -> str:
    """`14 Mar 2026, 18:30`, by the clock of the venue."""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M}"


def _labels(order: OrderAnswer, tables: Sequence[TableBody], zone: ZoneInfo) -> list[str]:
    """What tells this order from others: its name, where it belongs, its reference; its id where it has none of them."""
    reference = printable(order.reference or "")
    found = [printable(order.display_name or ""), _where(order, tables, zone), f"Reference {reference}" if reference else ""]
    return [*dict.fromkeys(filter(None, found))] or [f"Order {order.id}"]


def _where(order: OrderAnswer, tables: Sequence[TableBody], zone: ZoneInfo) -> str:
    details = order.details
    if details.order_type == "Collection":
        wish = details.collection or Collection()
        if wish.collect_at:
            return f"Collection {local_time(to_moment(wish.collect_at, 'details.collection.collectAt'), zone)}"
        return "Collection, as soon as possible" if wish.asap else "Collection"
    table_id = details.dine_in.table_id if details.dine_in else None
    name = printable(next((table.name for table in tables if table.id == table_id), table_id or ""))
    return name if not name or name.casefold().startswith("table") else f"Table {name}"


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    # What only formats is dropped: joiners are not seen, and marks that turn the direction around would move amounts.
    return "" if unicodedata.category(character) == "Cf" else "\N{REPLACEMENT CHARACTER}"
