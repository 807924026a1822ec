"""Money: an integer of minor units and a currency, never a float.

1250 GBP is 12.50 pounds. The published wire form is `{"value": 1250, "currencyCode": "GBP"}` and is the stored form too.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_MINOR_UNITS = 2**53
"""Larger amounts are refused at the edge: beyond it a JavaScript client of Dojo's loses pennies."""

Minor = Annotated[
    int,
    msgspec.Meta(
        description="in minor units: 1250 is 12.50",
        extra_json_schema={"format": "int64", "minimum": -MAX_MINOR_UNITS, "maximum": MAX_MINOR_UNITS},
    ),
]
_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DECIMALS = {currency: places for places, currencies in _PLACES.items() for currency in currencies.split()}
"""Decimal places of the minor units of a currency where they are not two. Source: ISO 4217, list one."""

SIGNS = {"GBP": "£", "EUR": "€", "USD": "$"}
"""Of currencies that people write with one."""

CurrencyCode = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 10})]


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """An amount in minor units of one currency; adding two currencies raises `CurrencyMismatch`."""

    value: Minor
    currency: CurrencyCode = msgspec.field(name="currencyCode")

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.value + other.value, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.value - other.value, self.currency)

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(self.currency, other.currency)

    def __str__(self) -> str:
        """`GBP 12.50`, for people."""
        return f"{self.currency} {self.decimal()}"

    def decimal(self, thousands: str = "") -> str:
        """`-1234.50`, with as many decimals as the currency has: `-1235` of yen; `thousands` stands between thousands."""
        places = DECIMALS.get(self.currency, 2)
        whole, part = divmod(abs(self.value), 10**places)
        grouped = f"{whole:,}".replace(",", thousands)
        return f"{'-' if self.value < 0 else ''}{grouped}{f'.{part:0{places}d}' if places else ''}"


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies met in one sum: a programming error, since edges check currencies."""


def with_sign(money: Money) -> str:
    """`£48.20` or `-£1,048.20` for people; a currency without a sign that everybody knows keeps its code: `CHF 12.50`."""
    return f"{'-' if money.value < 0 else ''}{sign_of(money.currency)}{Money(abs(money.value), money.currency).decimal(',')}"


def sign_of(currency: str) -> str:
    """What stands in front of an amount for people: `£`, or the code and a space."""
    return SIGNS.get(currency, f"{currency} ")


def zero(currency: str) -> Money:
    """No money, in `currency`."""
    return Money(0, currency)
