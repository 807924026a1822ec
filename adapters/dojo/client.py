"""Dojo's REST API as the workflow uses it: one request a call, one answer or one error of `workflow.errors`.

    status                    becomes
      2xx                     the answer, if it can be read; otherwise AnswerUnreadable
      401, 403                DojoRefusesUs
      404                     IntentNotFound for a payment intent, otherwise CallRefused
      408, 429                TryAgain: Dojo did not take the request
      409                     CallRefused; OutcomeUnknown for a read, which is harmless to repeat
      other 4xx               CallRefused
      301, 302, 303, 307, 308 AnswerRedirects; it is never followed
      5xx, any other          OutcomeUnknown
      none                    TryAgain if nothing of the request was sent, otherwise OutcomeUnknown

`Retry-After` goes with TryAgain and OutcomeUnknown. How a call is made is in `adapters.outbound`.
Source: contract §4, §6, §7 and §13.2, Dojo API 2026-02-27; faults 12, U1 to U16.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec

from adapters.capabilities import Registration, RestIntegration
from adapters.edge.strict_json import BadInput, BodyTooLarge, JsonValue, convert, read_json, without_card_numbers
from adapters.outbound import HEADER_TEXT, REDIRECTS, Answer, Call, Line, cut, is_base_url, parse_retry_after
from workflow.clock import Clock, SystemClock, to_text
from workflow.errors import (
    AnswerRedirects,
    AnswerUnreadable,
    CallRefused,
    DojoRefusesUs,
    IntentNotFound,
    OutcomeUnknown,
    Refused,
    TryAgain,
    WorkflowError,
)
from workflow.money import MAX_MINOR_UNITS, Money
from workflow.ports import Capture, IntentId, IntentSearch, IntentsFound, OrderId, PaymentIntent

DOJO_URL = "https://api.dojo.tech"
DOJO_VERSION = "2026-02-27"
CALL_DEADLINE_MS = 10_000
MAX_ANSWER_BYTES = 1_048_576
MAX_ANSWER_DEPTH = 64
MAX_TEXT = 1_000
"""Characters of any text that is kept of an answer; Dojo publishes no limit, and the journal needs one."""

TITLE_LENGTH = 100
PATH_LENGTH = 200
"""Characters of Dojo's `title` and of a path that an error repeats."""

INTEGRATIONS = "/epos/integrations/rest"
INTENTS = "/payment-intents"

PAGE_LIMIT = 50
"""Intents a page of a search: Dojo's default, and half of what it allows, so that a page of large ones stays below MAX_ANSWER_BYTES."""
MAX_PAGES = 400
"""Pages of one search; more is cut, and the result says so."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DojoSettings:
    """Where Dojo is and who we are. `deadline_ms` covers a whole call, connect to last byte.

    Raises ValueError for an address or a header that could not be sent as it is; the message names the field, not the value.
    """

    url: str = DOJO_URL
    api_key: str = field(repr=False)
    version: str = DOJO_VERSION
    software_house_id: str | None = None
    reseller_id: str | None = None
    deadline_ms: int = CALL_DEADLINE_MS
    max_answer_bytes: int = MAX_ANSWER_BYTES

    def __post_init__(self) -> None:
        if not is_base_url(self.url):
            raise ValueError("url: expected http(s)://host[:port][/path], without credentials, query or fragment")
        for name in ("api_key", "version", "software_house_id", "reseller_id"):
            value = getattr(self, name)
            if value is not None and not HEADER_TEXT.fullmatch(value):
                raise ValueError(f"{name}: expected printable ASCII without spaces")
        for name in ("deadline_ms", "max_answer_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected a positive number")

    def headers(self) -> dict[str, str]:
        """What every call carries. The key goes as it is: no base64, no colon (contract §4.1)."""
        wished = {
            "Authorization": f"Basic {self.api_key}",
            "version": self.version,
            "software-house-id": self.software_house_id,
            "reseller-id": self.reseller_id,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # A few compressed bytes can unpack to gigabytes.
            "User-Agent": "tillproof",
        }
        return {name: value for name, value in wished.items() if value is not None}


class DojoClient:
    """`workflow.ports.DojoApi` over HTTP; safe to share between threads, each of which keeps its own connections.

    `on_call` hears of each call in the calling thread, answered or not; what it raises, the caller gets.
    """

    def __init__(self, settings: DojoSettings, *, clock: Clock | None = None, on_call: Callable[[Call], None] | None = None) -> None:
        self._settings = settings
        for type_ in (_Intent, _Integration, _Page):
            msgspec.json.Decoder(type_)  # msgspec learns a type at first use, and not safely on several threads at once.
        self._clock = clock or SystemClock()
        self._line = Line(
            settings.url,
            settings.headers(),
            deadline_ms=settings.deadline_ms,
            max_answer_bytes=settings.max_answer_bytes,
            on_call=on_call,
        )

    def read_intent(self, intent_id: IntentId) -> PaymentIntent:
        """Read the payment intent as Dojo has it now, cancelled ones included; secrets and card data are dropped unread.

        Raises IntentNotFound, DojoRefusesUs, Refused, TryAgain, OutcomeUnknown (also for an answer that cannot be trusted).
        Source: PaymentIntents_Get with returnCanceled=true.
        """
        path = f"/payment-intents/{_segment(intent_id)}"
        intent = self._ask("GET", path, _Intent, query="?returnCanceled=true", not_found=IntentNotFound)
        if intent.id != intent_id:
            raise AnswerUnreadable(f"GET {cut(path, PATH_LENGTH)}: 200, about another payment intent")
        return intent.to_core(intent_id)

    def send_order_updated(self, order_id: OrderId) -> None:
        """Tell Dojo that the order changed; harmless twice. Raises as `read_intent`, IntentNotFound apart.

        Any JSON in a 2xx will do (Dojo echoes the event); without any it was not Dojo that answered.
        """
        event = {"eventType": "OrderUpdated", "event": {"orderId": order_id}}
        self._ask("POST", "/epos/events", object, body=msgspec.json.encode(event))

    def integrations(self) -> list[RestIntegration]:
        """The REST integrations that Dojo has registered for this account. Raises as `send_order_updated`."""
        return [one.to_ours() for one in self._ask("GET", INTEGRATIONS, list[_Integration])]

    def register(self, integration: Registration) -> list[RestIntegration]:
        """Replace what is registered, all of it, and return what Dojo has then. Raises as `send_order_updated`."""
        body = {
            "url": integration.url,
            "auth": {"authType": "basic", "basic": {"username": integration.username, "password": integration.password}},
            "capabilities": [{"name": name, "version": version} for name, version in integration.capabilities],
        }
        return [one.to_ours() for one in self._ask("PUT", INTEGRATIONS, list[_Integration], body=msgspec.json.encode(body))]

    def search_intents(self, search: IntentSearch, on_page: Callable[[int], None] = lambda found: None) -> IntentsFound:
        """Every payment intent that `search` finds, page by page to the end or to MAX_PAGES; `on_page` hears how many there are so far.

        Raises as `send_order_updated`; what was found before is then lost. Secrets and card data are dropped unread.
        Source: PaymentIntents_Search. What its dates are compared with is unpublished; we take them for `createdAt`.
        """
        found: dict[IntentId, PaymentIntent] = {}
        unreadable, cursors = 0, list[str]()
        for _ in range(MAX_PAGES):
            page = self._ask("POST", f"{INTENTS}/search", _Page, body=_search_body(search, cursors[-1] if cursors else None))
            for intent in page.intents():
                if intent is None:
                    unreadable += 1
                else:
                    found.setdefault(intent.id, intent)  # Pages may overlap where intents are made meanwhile.
            on_page(len(found))
            if not page.after:
                return IntentsFound(intents=tuple(found.values()), unreadable=unreadable, is_whole=True)
            if page.after in cursors:
                break  # Dojo leads in a circle.
            cursors.append(page.after)
        return IntentsFound(intents=tuple(found.values()), unreadable=unreadable, is_whole=False)

    def close(self) -> None:
        """Close the idle connections of all threads; a call under way keeps its own, and later calls open new ones."""
        self._line.close()

    def _ask(
        self, method: str, path: str, type_: type[T], *, query: str = "", body: bytes | None = None, not_found: type[Refused] | None = None
    ) -> T:
        label = f"{method} {cut(path, PATH_LENGTH)}"
        answer = self._line.call(method, path, label=label, query=query, body=body)
        if not answer.is_success:
            raise self._error(answer, label, is_read=method == "GET", not_found=not_found)
        try:
            return convert(self._json(answer), type_)
        except (BadInput, BodyTooLarge) as error:
            where = cut(error.field, TITLE_LENGTH) if isinstance(error, BadInput) else "body too large"
            raise AnswerUnreadable(f"{label}: {answer.status}, unreadable ({where})") from error

    def _json(self, answer: Answer) -> JsonValue:
        if answer.status == http.HTTPStatus.NO_CONTENT:
            return None
        if charset := _CHARSET.search(answer.headers.get("Content-Type", "")):
            _refuse_unless_utf8(charset["name"])
        return read_json(answer.body, max_body=self._settings.max_answer_bytes, max_depth=MAX_ANSWER_DEPTH)

    def _error(self, answer: Answer, label: str, *, is_read: bool, not_found: type[Refused] | None) -> WorkflowError:
        message = " ".join([f"{label}: {answer.status}", *self._title(answer)])
        wish = parse_retry_after(answer.headers.get("Retry-After", ""), self._clock.now())
        match answer.status:
            case 401 | 403:
                return DojoRefusesUs(message)
            case 404 if not_found:
                return not_found(message)
            case 408 | 429:
                return TryAgain(message, after_seconds=wish)
            case 409 if is_read:
                return OutcomeUnknown(message, after_seconds=wish)
            case status if 400 <= status < 500:
                return CallRefused(message, status=status)
            case status if status in REDIRECTS:
                return AnswerRedirects(message, after_seconds=wish)
            case _:
                return OutcomeUnknown(message, after_seconds=wish)

    def _title(self, answer: Answer) -> Iterator[str]:
        """The `title` of a problem as an error may repeat it: short, printable, without our key or a card number."""
        try:
            problem = self._json(answer)
        except (BadInput, BodyTooLarge):
            return
        title = problem.get("title") if isinstance(problem, dict) else None
        if isinstance(title, str):
            yield cut(without_card_numbers(title.replace(self._settings.api_key, "[key]")), TITLE_LENGTH)


def _search_body(search: IntentSearch, after: str | None) -> bytes:
    """`SearchPaymentIntentRequest` of the page behind the cursor `after`, or of the first one."""
    cursor = {"limit": PAGE_LIMIT} | ({"after": after} if after else {})
    asked = {"statuses": search.statuses, "startDate": to_text(search.start), "endDate": to_text(search.end), "cursor": cursor}
    return msgspec.json.encode(asked)


_CHARSET = re.compile(r";\s*charset\s*=\s*\"?(?P<name>[^\s\";]*)", re.IGNORECASE)
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii"})


def _segment(intent_id: IntentId) -> str:
    """The id as one segment of a path, so that it cannot lead anywhere else. Raises IntentNotFound where there is no such spelling."""
    # Dots are never escaped by anybody, and both dot segments and an empty one would be read as another path.
    if intent_id in ("", ".", ".."):
        raise IntentNotFound(f"no payment intent can have the id {intent_id!r}")
    try:
        return quote(intent_id, safe="")
    except UnicodeEncodeError as error:
        raise IntentNotFound("no payment intent can have an id with half of a surrogate pair") from error


def _refuse_unless_utf8(charset: str) -> None:
    if charset.lower() not in _UTF8:
        raise BadInput("charset", "expected UTF-8")


# What is read of Dojo's answers. All of it may be null or absent, but an amount that is there is a whole number, not negative.

_Minor = Annotated[int, msgspec.Meta(ge=0, le=MAX_MINOR_UNITS)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class _Wire(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of what is read of an answer; other fields are dropped."""


class _Amount(_Wire, frozen=True):
    value: _Minor
    currency_code: _Text

    def to_core(self) -> Money:
        return Money(self.value, self.currency_code)


class _Capture(_Wire, frozen=True):
    amount: _Minor
    id: _Text = ""
    status: _Text = ""
    tips_amount: _Minor | None = None
    created_at: _Text | None = None

    def to_core(self) -> Capture:
        return Capture(id=self.id, status=self.status, amount=self.amount, tips=self.tips_amount, created_at=self.created_at)


class _OrderDetails(_Wire, frozen=True):
    id: _Text | None = None
    external_id: _Text | None = None


class _PaymentDetails(_Wire, frozen=True):
    transaction_date_time: _Text | None = None


class _Intent(_Wire, frozen=True):
    id: str = ""
    status: _Text = ""
    capture_mode: _Text = "Auto"
    amount: _Amount | None = None
    service_charge_amount: _Amount | None = None
    tips_amount: _Amount | None = None
    cashback_amount: _Amount | None = None
    total_amount: _Amount | None = None
    refunded_amount: _Minor = 0
    captures: tuple[_Capture, ...] = ()
    order_details: _OrderDetails = _OrderDetails()
    payment_details: _PaymentDetails = _PaymentDetails()
    reference: _Text | None = None
    created_at: _Text | None = None
    updated_at: _Text | None = None
    expire_at: _Text | None = None
    auto_expire_in: _Text | None = None

    def to_core(self, intent_id: IntentId) -> PaymentIntent:
        return PaymentIntent(
            id=intent_id,
            status=self.status,
            capture_mode=self.capture_mode,
            amount=_money(self.amount),
            service_charge=_money(self.service_charge_amount),
            tips=_money(self.tips_amount),
            cashback=_money(self.cashback_amount),
            total=_money(self.total_amount),
            refunded=self.refunded_amount,
            captures=tuple(capture.to_core() for capture in self.captures),
            external_id=self.order_details.external_id,
            dojo_order_id=self.order_details.id,
            reference=self.reference,
            transaction_at=self.payment_details.transaction_date_time,
            created_at=self.created_at,
            updated_at=self.updated_at,
            expire_at=self.expire_at,
            auto_expire_in=self.auto_expire_in,
        )


class _Page(_Wire, frozen=True):
    data: tuple[Any, ...] = ()
    after: _Text | None = None

    def intents(self) -> Iterator[PaymentIntent | None]:
        """The page's intents, None for one that cannot be read: another card machine's must not hide ours."""
        for item in self.data:
            try:
                intent = convert(item, _Intent)
            except BadInput:
                yield None
                continue
            yield intent.to_core(IntentId(intent.id)) if intent.id else None


def _money(amount: _Amount | None) -> Money | None:
    return amount.to_core() if amount else None


class _Basic(_Wire, frozen=True):
    username: _Text = ""


class _Auth(_Wire, frozen=True):
    basic: _Basic = _Basic()


class _Registered(_Wire, frozen=True):
    name: _Text = ""
    version: _Text = ""


class _Integration(_Wire, frozen=True):
    url: _Text = ""
    auth: _Auth = _Auth()
    capabilities: tuple[_Registered, ...] = ()

    def to_ours(self) -> RestIntegration:
        capabilities = tuple((one.name, one.version) for one in self.capabilities)
        return RestIntegration(url=self.url, username=self.auth.basic.username, capabilities=capabilities)
