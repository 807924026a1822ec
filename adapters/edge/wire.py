"""Dojo's requests and answers as types: what all of them are made of, pages, events, and the venue's lists.

*Strict out, lenient in*: answers hold exactly what the published schemas say, requests may carry more. Orders are in `wire_orders`,
parties and reservations in `wire_bookings`. Source: EPOS Data API; events, §5.1.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from adapters.edge.strict_json import BadInput, shown, without_card_numbers
from workflow.bill import MAX_LINES, MOMENT_LENGTH, Moment, ShortText
from workflow.decisions import EVENTS
from workflow.money import MAX_MINOR_UNITS, Money

T = TypeVar("T")

PAGE_LIMIT = 100
DEFAULT_PAGE = 50
CURSOR_LENGTH = 2_000

NOTE_LENGTH = 10_000  # As `Note` and `ShortText` of workflow.bill: a replaced card number must not make a text too long to store.
NAME_LENGTH = 1_000
REASON_LENGTH = 1_000

ERASED = "erased"
"""What stands in the place of a customer's or a guest's name, and of notes, once these are erased."""

END = r"(?![\s\S])"
"""The end of a pattern: `$` would let a trailing line feed through; this is understood by Python and by JSON Schema's dialect."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ID_WORDS = "1 to 255 characters without control characters"
_REASON_WORDS = f"1 to {REASON_LENGTH:,} characters that say why"

WireId = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=rf"^[^\x00-\x1f\x7f-\x9f]*{END}", description=_ID_WORDS)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=CURSOR_LENGTH)]


class Request(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=False):
    """Base of what callers send: immutable, camelCase, unknown fields dropped."""


def learn_inbound_types() -> None:
    """Have msgspec learn every type that threads will parse, on one thread: it does so at first use, and not safely on several at once."""
    waiting: list[type[Request]] = [Request]
    for type_ in waiting:  # Grows while it is walked: the types of all adapters descend from Request.
        waiting += type_.__subclasses__()
        msgspec.json.Decoder(type_)


class EventData(Request, frozen=True, kw_only=True):
    """The intent that an event is about; the texts are empty only in events outside `EVENTS`."""

    payment_intent_id: WireId = ""
    payment_status: WireId = ""
    capture_mode: WireId | None = None


class EventRequestBody(Request, frozen=True, kw_only=True):
    """Dojo's event, by HandleEvent or webhook: a hint to read the intent. `to_moment` reads `created_at`."""

    id: WireId
    account_id: WireId
    event: WireId
    created_at: Moment
    data: EventData = EventData()

    def __post_init__(self) -> None:
        to_moment(self.created_at, "createdAt")
        if self.event in EVENTS:
            for name, text in (("paymentIntentId", self.data.payment_intent_id), ("paymentStatus", self.data.payment_status)):
                if not text:
                    raise BadInput(f"data.{name}", "required, but absent")


class Cursor(Request, frozen=True, kw_only=True):
    """Which page; `before` and `after` are tokens of an earlier answer and exclude each other."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_LIMIT)] = DEFAULT_PAGE
    before: Token | None = None
    after: Token | None = None

    def __post_init__(self) -> None:
        if self.before is not None and self.after is not None:
            raise BadInput("before", "expected before or after, got both")


class SearchTablesRequest(Request, frozen=True, kw_only=True):
    """Which tables: those of an area, of a waiter, or both."""

    area_id: WireId | None = None
    waiter_id: WireId | None = None
    cursor: Cursor = Cursor()


class AreaBody(Request, frozen=True, kw_only=True, omit_defaults=True):
    """The published `Area`, as the till gives it and Dojo gets it."""

    id: WireId
    name: WireId
    waiter_ids: Annotated[tuple[WireId, ...], msgspec.Meta(max_length=MAX_LINES)] = ()


class TableBody(Request, frozen=True, kw_only=True, omit_defaults=True):
    """The published `Table`, as the till gives it and Dojo gets it."""

    id: WireId
    name: WireId
    max_covers: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1, extra_json_schema={"format": "int32"})] | None = None
    area_id: WireId | None = None
    waiter_ids: Annotated[tuple[WireId, ...], msgspec.Meta(max_length=MAX_LINES)] = ()


class CatalogueBody(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Something that can be ordered at the till; `available` false: not now."""

    plu: WireId
    name: ShortText
    available: bool = True


class ReasonRequest(Request, frozen=True, kw_only=True):
    """Why a person, or the till, does it: journaled, so card numbers are removed. Blanks alone say nothing, and go from both ends."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_LENGTH, pattern=r"\S", description=_REASON_WORDS)]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "reason", redacted(self.reason.strip(), REASON_LENGTH))


class Answer(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of what we answer: a field without a default is always sent, an unset one never."""


class Nothing(Answer, frozen=True, kw_only=True):
    """The answer that only says yes: an object without properties."""


class PagedTables(Answer, frozen=True, kw_only=True):
    """The published `PagedTablesResponse`."""

    data: tuple[TableBody, ...]
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


def to_moment(text: str, field: str) -> datetime:
    """The moment of an RFC 3339 text, UTC, with as many fraction digits as Dojo likes (cut to microseconds).

    Times before EARLIEST or after LATEST become those, so that no arithmetic or formatting overflows. A leap second is the
    one before it. Raises BadInput naming `field` for other texts, those without a zone included.
    """
    parts = _MOMENT.fullmatch(text) if len(text) <= MOMENT_LENGTH else None
    if parts is None:
        raise BadInput(field, f"expected a date and time with its zone, such as 2026-03-14T12:01:09.866Z, got {shown(text)}")
    year, month, day, hour, minute, second = (int(digits) for digits in parts.groups()[:6])
    microsecond = int((parts["fraction"] or "")[:6].ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59 + (second > 60)), microsecond, _zone(parts))
    except ValueError as error:
        raise BadInput(field, f"expected a date and time that exists, got {shown(text)}") from error
    return min(max(moment, EARLIEST), LATEST).astimezone(UTC)


def encode(answer: msgspec.Struct) -> bytes:
    """The answer's JSON in UTF-8, as the wire carries it."""
    return _ENCODER.encode(answer)


EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
"""Before it `strftime` leaves out leading zeros of the year, and `clock.from_text` could not read back what it wrote."""

LATEST = datetime(9998, 12, 31, tzinfo=UTC)
"""A year short of what `datetime` can hold, so that a lease or a zone added to it does not overflow."""

_ENCODER = msgspec.json.Encoder()
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(?P<fraction>\d+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>[0-5]\d))",
    re.ASCII,
)


def _zone(parts: re.Match[str]) -> timezone:
    if parts["sign"] is None:
        return UTC
    offset = timedelta(hours=int(parts["hours"]), minutes=int(parts["minutes"]))
    return timezone(-offset if parts["sign"] == "-" else offset)


def redacted(text: str | None, length: int) -> str | None:
    """Free text without card numbers, cut to `length`."""
    return None if text is None else without_card_numbers(text)[:length]


def sent(value: T | None) -> T | UnsetType:
    """What an answer holds of `value`: nothing where it is None."""
    return UNSET if value is None else value


def check_amount(field: str, amount: Money, currency: str, least: int) -> None:
    """Refuse another currency, and less than `least` or more than MAX_MINOR_UNITS. Raises BadInput."""
    if amount.currency != currency:
        raise BadInput(f"{field}.currencyCode", f'expected "{currency}", got {shown(amount.currency)}')
    if not least <= amount.value <= MAX_MINOR_UNITS:
        expected = f"{least} to {MAX_MINOR_UNITS} minor units"
        raise BadInput(f"{field}.value", f"expected {expected}, got {shown(amount.value)}")


def check_identifier(field: str, identifier: str | None) -> None:
    """Refuse control characters. Raises BadInput."""
    if identifier is not None and _CONTROLS.search(identifier):
        raise BadInput(field, f"expected {_ID_WORDS}, got {shown(identifier)}")
