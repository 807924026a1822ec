"""What the value of a setting must be: each kind with the words that say so, and what makes a value of them."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

MASK = "***"
NAME_CHARACTERS = 64
"""Of the name in a token, at most this many."""
ROLES = ("till", "auditor", "operator")

Address = tuple[str, int]
T = TypeVar("T")


def address_text(address: Address) -> str:
    """An address as it stands in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Token:
    """One bearer of the venue's side; `name` is journaled as the actor. Its repr hides the token."""

    role: Literal["till", "auditor", "operator"]
    name: str
    token: str

    def __repr__(self) -> str:
        return f"Token({self.role}:{self.name}:{MASK})"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value must be: `expected` completes the sentence "expected …"; `parse` raises ValueError on anything else."""

    expected: str
    parse: Callable[[str], Any]
    is_list: bool = False


def _refuse_unless(good: object) -> None:
    if not good:
        raise ValueError


def _parse_address(text: str) -> Address:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", text)
    _refuse_unless(match and int(match[2]) <= 65535)
    return (match[1].strip("[]"), int(match[2])) if match else ("", 0)


def _parse_url(text: str) -> str:
    _refuse_unless(re.fullmatch(r"[!-~]+", text))
    parts = urlsplit(text)
    _refuse_unless(parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc)
    _refuse_unless(not parts.query and not parts.fragment and parts.port != 0)
    return text.rstrip("/")


def _parse_path(text: str) -> Path:
    _refuse_unless("\0" not in text and "://" not in text and text != ":memory:")
    return Path(text)


def _parse_template(text: str) -> Path:
    path = _parse_path(text)
    _refuse_unless(path.is_file())
    return path


def _parse_visible(text: str) -> str:
    _refuse_unless(re.fullmatch(r"[!-~]+", text))
    return text


def _parse_printable(text: str) -> str:
    _refuse_unless(text.isprintable() and text.strip() == text)
    return text


def _parse_username(text: str) -> str:
    _refuse_unless(":" not in text)
    return _parse_printable(text)


class BadEntry(ValueError):
    """The entry of a comma list, counted from 1, that cannot be used."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _parse_entries(text: str, parse_entry: Callable[[str], T]) -> tuple[T, ...]:
    parsed = []
    for number, entry in enumerate(text.split(",") if text else (), start=1):
        try:
            parsed.append(parse_entry(entry.strip()))
        except ValueError as error:
            raise BadEntry(number) from error
    return tuple(parsed)


def _parse_list(text: str) -> tuple[str, ...]:
    return _parse_entries(text, _parse_visible)


def _parse_networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return _parse_entries(text, ipaddress.ip_network)


def _parse_tokens(text: str) -> tuple[Token, ...]:
    tokens = _parse_entries(text, _parse_token)
    _refuse_unless(len({token.token for token in tokens}) == len(tokens))  # One token cannot mean two people.
    return tokens


def _parse_token(text: str) -> Token:
    role, _, rest = text.partition(":")
    name, _, token = rest.partition(":")
    _refuse_unless(role in ROLES and 0 < len(name) <= NAME_CHARACTERS)
    return Token(cast("Literal['till', 'auditor', 'operator']", role), _parse_printable(name), _parse_visible(token))


def _parse_zone(text: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:  # OSError: a directory of zones, such as "Europe".
        raise ValueError from error


def _matching(expected: str, pattern: str) -> Kind:
    def parse(text: str) -> str:
        _refuse_unless(re.fullmatch(pattern, text))
        return text

    return Kind(expected, parse)


def _one_of(*words: str) -> Kind:
    return _matching(" or ".join(words), "|".join(words))


def _whole(low: int, high: int) -> Kind:
    def parse(text: str) -> int:
        _refuse_unless(re.fullmatch(r"[0-9]{1,15}", text) and low <= int(text) <= high)
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


ADDRESS = Kind("host:port with a port from 0 (any free one) to 65535", _parse_address)
URL = Kind("an http or https URL without user, query and fragment", _parse_url)
JOURNAL = Kind("a file's path (this version keeps its journal in SQLite; PostgreSQL is not served yet)", _parse_path)
PATH = Kind("a file's path", _parse_path)
TEMPLATE = Kind("the path of a file that exists", _parse_template)
HEADER = Kind("visible ASCII without spaces", _parse_visible)
TEXT = Kind("text without control characters and outer spaces", _parse_printable)
USERNAME = Kind("text without colon, control characters and outer spaces", _parse_username)
LIST = Kind("a comma list of visible ASCII", _parse_list, is_list=True)
TOKENS = Kind(f"a comma list of role:name:token, no token twice; roles {', '.join(ROLES)}", _parse_tokens, is_list=True)
ZONE = Kind("an IANA time zone such as Europe/London (on a machine without zone data: pip install tzdata)", _parse_zone)
CURRENCY = _matching("three capital letters (ISO 4217)", "[A-Z]{3}")
VERSION = _matching("a date such as 2026-02-27", "[0-9]{4}-[0-9]{2}-[0-9]{2}")
MODE = _one_of("event", "inline")
TABLES = _one_of("pages", "page")
DAYS = _whole(1, 36_500)
ENV = _one_of("production", "test")
MILLISECONDS = _whole(1, 3_600_000)
SECONDS = _whole(1, 86_400)
HORIZON = _whole(1, 31_536_000)
WORKERS = _whole(1, 256)
PACE = _whole(1, 1_000)
BODY = _whole(1_024, 16_777_216)
DEPTH = _whole(8, 256)
RATE = _whole(10, 100_000)
NETWORKS = Kind("a comma list of IP addresses or networks such as 10.0.0.0/8", _parse_networks, is_list=True)
