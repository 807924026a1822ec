"""What can be asked of an order: frozen dataclasses with imperative names.

Dojo's requests and events, the till's requests and the outbox's results all arrive as one of these; `engine.handle` takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from workflow.bill import Bill, Personal
from workflow.effects import Task
from workflow.ports import IdempotencyKey, IntentId, OrderId, PaymentIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPayment:
    """A payment as Dojo declares it; minor units of the order's currency, tips apart."""

    intent_id: IntentId
    paid: int
    tips: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrder:
    """Dojo creates an order. `order_id` is used if the order is new; `captured` says that the payments count at once (mode `inline`)."""

    order_id: OrderId
    dojo_order_id: str
    bill: Bill
    personal: Personal
    payments: tuple[ToldPayment, ...]
    captured: bool
    actor: str = "dojo"
    source = "create_order"

    @property
    def idempotency_key(self) -> IdempotencyKey:
        """Dojo's own order id."""
        return IdempotencyKey(self.dojo_order_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """The till opens a bill that a customer will pay. `key` is the id that the till chose, or "" where it chose none."""

    order_id: OrderId
    key: str
    bill: Bill
    personal: Personal
    actor: str
    source = "open_order"

    @property
    def idempotency_key(self) -> IdempotencyKey:
        """The till's id of the order; without one every request opens another order."""
        return IdempotencyKey(self.key or self.order_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveEvent:
    """Dojo says that something happened to a payment intent: a hint to read it. `channel` is `capability` or `webhook`."""

    channel: str
    event_id: str
    event: str
    account_id: str
    intent_id: IntentId
    status: str
    actor: str = "dojo"

    @property
    def source(self) -> str:
        """Each channel has event ids of its own."""
        return f"event/{self.channel}"

    @property
    def idempotency_key(self) -> IdempotencyKey:
        """The event's id and its intent: two intents under one event id are two events."""
        return IdempotencyKey(f"{self.event_id}:{self.intent_id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRead:
    """The outbox read a payment intent."""

    task: Task
    intent: PaymentIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectTaken:
    """The receiver answered that it took the effect: Dojo an `order_updated`, the till a call."""

    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt did not work: try again at `next_at_ms`, or never again where that is None. `code` names the attention to raise then."""

    task: Task
    error: str
    next_at_ms: int | None
    code: str = "OUTBOX_DEAD"


Result: TypeAlias = IntentRead | EffectTaken | AttemptFailed
Request: TypeAlias = CreateOrder | OpenOrder | ReceiveEvent
Command: TypeAlias = Request | Result
