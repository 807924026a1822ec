"""What people type into the sandbox's forms, read strictly: every refusal names the field and what it should be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from adapters.sandbox.errors import InvalidRequest
from workflow.money import DECIMALS, Money

MOST = 10_000_000
"""Of an amount, in minor units: nobody pays more by phone."""

T = TypeVar("T")


def text(fields: Mapping[str, str], name: str, *, longest: int, needed: bool = True) -> str:
    """Printable text of one line. Raises InvalidRequest."""
    found = " ".join(fields.get(name, "").split())
    if len(found) > longest or not found.isprintable() or (needed and not found):
        raise InvalidRequest(f"{name}: expected {1 if needed else 0} to {longest} characters")
    return found


def number(fields: Mapping[str, str], name: str, *, least: int, most: int, default: int) -> int:
    """A whole number, `default` where nothing was typed. Raises InvalidRequest."""
    found = fields.get(name, "").strip()
    if not found:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", found) or not least <= int(found) <= most:
        raise InvalidRequest(f"{name}: expected a whole number from {least} to {most}")
    return int(found)


def amount(fields: Mapping[str, str], name: str, currency: str) -> Money | None:
    """A sum as people write it (`12.50`), None where nothing was typed. Raises InvalidRequest."""
    found = fields.get(name, "").strip()
    if not found:
        return None
    places = DECIMALS.get(currency, 2)
    match = re.fullmatch(rf"([0-9]{{1,7}})(?:[.,]([0-9]{{1,{places}}}))?" if places else r"([0-9]{1,8})", found)
    part = (match[2] or "") if match and places else ""
    value = int(match[1] + part.ljust(places, "0")) if match else 0
    if not 0 < value <= MOST:
        raise InvalidRequest(f"{name}: expected an amount such as {Money(1250, currency).decimal()}")
    return Money(value, currency)


def choice(fields: Mapping[str, str], name: str, choices: Mapping[str, T], default: str) -> T:
    """One of what the form offered. Raises InvalidRequest."""
    found = fields.get(name, default)
    if found not in choices:
        raise InvalidRequest(f"{name}: expected one of {', '.join(choices)}")
    return choices[found]


def currency(fields: Mapping[str, str], default: str) -> str:
    """A currency's code. Raises InvalidRequest."""
    found = fields.get("currency", default)
    if not re.fullmatch(r"[A-Z]{3}", found):
        raise InvalidRequest("currency: expected a code of three letters, such as GBP")
    return found
