"""What the till is told: a signed POST that says which order changed, and shows it as it is now.

    status                    becomes
      2xx                     taken; the body does not matter
      401, 403                TillRefusesUs: everything for the till waits, and nothing else does
      404, 408, 429           TryAgain: the till, or what stands in for it, did not take it
      other 4xx               CallRefused: given up, and a person is called
      301, 302, 303, 307, 308 AnswerRedirects; it is never followed
      5xx, any other          OutcomeUnknown
      none                    TryAgain if nothing of the request was sent, otherwise OutcomeUnknown

A 404 is no refusal here as it is with Dojo: proxies and tunnels say it while the till behind them is away. The till's words are never
repeated. How a call is made is in `adapters.outbound`, how a till checks one in docs/connect-your-till.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from adapters.edge.orders import answer
from adapters.edge.wire_orders import OrderAnswer
from adapters.outbound import REDIRECTS, Call, Line, parse_retry_after
from workflow.bill import Personal
from workflow.clock import Clock
from workflow.errors import AnswerRedirects, CallRefused, OutcomeUnknown, TillRefusesUs, TryAgain, WorkflowError
from workflow.order import Order

SIGNATURE = "Tillproof-Signature"
MAX_ANSWER_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBackSettings:
    """Where the till listens and what signs; `deadline_ms` covers a whole call, connect to last byte."""

    url: str
    secret: str = field(repr=False)
    deadline_ms: int


class CallBack(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One piece of news. `id` is the same in every attempt; `order_seq` is how far the order shown has come: what is older is old news."""

    id: str
    type: str = "order.changed"
    order_id: str
    order_seq: int
    order: OrderAnswer


class TillCaller:
    """Calls the till; safe to share between threads. `on_call` hears of each call, answered or not."""

    def __init__(self, settings: CallBackSettings, clock: Clock, *, on_call: Callable[[Call], None] | None = None) -> None:
        self._secret, self._clock = settings.secret, clock
        headers = {"User-Agent": "tillproof", "Accept-Encoding": "identity"}
        deadline_ms = settings.deadline_ms
        self._line = Line(settings.url, headers, deadline_ms=deadline_ms, max_answer_bytes=MAX_ANSWER_BYTES, on_call=on_call)

    def tell(self, order: Order, personal: Personal, news_seq: int) -> None:
        """Tell the till that the order changed, `news_seq` being the entry that the news is about.

        Raises TillRefusesUs, CallRefused, TryAgain, OutcomeUnknown.
        """
        news = CallBack(id=f"{order.id}.{news_seq}", order_id=order.id, order_seq=order.order_seq, order=answer(order, personal))
        raw, now = msgspec.json.encode(news), self._clock.now()
        reply = self._line.call("POST", "", label="till", body=raw, headers={SIGNATURE: sign(raw, self._secret, now)})
        if not reply.is_success:
            raise _error(reply.status, parse_retry_after(reply.headers.get("Retry-After", ""), now))

    def close(self) -> None:
        """Close idle connections."""
        self._line.close()


def sign(raw: bytes, secret: str, moment: datetime) -> str:
    """The signature's header: HMAC-SHA256 over the time in whole seconds since 1970, a full stop, and the body as it is sent."""
    seconds = int(moment.timestamp())
    digest = hmac.new(secret.encode(), b"%d.%s" % (seconds, raw), hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def _error(status: int, wish: float | None) -> WorkflowError:
    message = f"till: {status}"
    match status:
        case 401 | 403:
            return TillRefusesUs(message)
        case 404 | 408 | 429:
            return TryAgain(message, after_seconds=wish)
        case status if 400 <= status < 500:
            return CallRefused(message, status=status)
        case status if status in REDIRECTS:
            return AnswerRedirects(message, after_seconds=wish)
        case _:
            return OutcomeUnknown(message, after_seconds=wish)
