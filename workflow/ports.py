"""What the core needs from outside, as protocols and plain values; adapters provide them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol

from workflow.money import Money

OrderId = NewType("OrderId", str)
IntentId = NewType("IntentId", str)
IdempotencyKey = NewType("IdempotencyKey", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One capture of a Manual payment intent; bare minor units, in the intent's currency."""

    id: str
    status: str
    amount: int
    tips: int | None = None
    created_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentIntent:
    """A payment intent as Dojo has it now; only these fields are kept: no secret, no card.

    `status` is Dojo's word, unknown ones included. Missing amounts are None. `external_id` is `orderDetails.externalId`,
    `dojo_order_id` is `orderDetails.id`, `transaction_at` is `paymentDetails.transactionDateTime`. Times are the text that Dojo sent.
    Source: Dojo API 2026-02-27, `PaymentIntent`.
    """

    id: IntentId
    status: str
    capture_mode: str
    amount: Money | None = None
    service_charge: Money | None = None
    tips: Money | None = None
    cashback: Money | None = None
    total: Money | None = None
    refunded: int = 0
    captures: tuple[Capture, ...] = ()
    external_id: str | None = None
    dojo_order_id: str | None = None
    reference: str | None = None
    transaction_at: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    expire_at: str | None = None
    auto_expire_in: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentSearch:
    """Which payment intents: of these statuses, from `start` to `end` (aware)."""

    statuses: tuple[str, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentsFound:
    """What a search found; not `is_whole` where it was cut. `unreadable` ones could not be understood and are left out."""

    intents: tuple[PaymentIntent, ...]
    unreadable: int
    is_whole: bool


class IntentBooks(Protocol):
    """Dojo's books, as far as a day's money is compared with them."""

    def search_intents(self, search: IntentSearch, on_page: Callable[[int], None]) -> IntentsFound:
        """Every payment intent that `search` finds; `on_page` hears how many there are so far. Raises as `DojoApi.read_intent`."""

    def read_intent(self, intent_id: IntentId) -> PaymentIntent:
        """As `DojoApi.read_intent`."""


class DojoApi(Protocol):
    """Dojo's REST API as far as the workflow uses it."""

    def read_intent(self, intent_id: IntentId) -> PaymentIntent:
        """Read the payment intent as Dojo has it now, cancelled ones included.

        Raises IntentNotFound, DojoRefusesUs (401, 403), Refused (other 4xx), TryAgain (429 or certainly not delivered),
        OutcomeUnknown (5xx, timeout, garbage).
        """

    def send_order_updated(self, order_id: OrderId) -> None:
        """Tell Dojo that the order changed; harmless twice. Raises as `read_intent`, IntentNotFound apart."""
