"""What can be asked of an order: frozen dataclasses with imperative names.

Dojo's requests and events, the till's requests and the outbox's results all arrive as one of these; `engine.handle` takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow.bill import Bill, Personal
from workflow.booking import Booking, Guest, Kind
from workflow.effects import Task
from workflow.entry import Json
from workflow.money import Money
from workflow.ports import IdempotencyKey, IntentId, OrderId, PaymentIntent
from workflow.retries import Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPayment:
    """A payment as Dojo declares it; minor units of the order's currency, tips apart and None where Dojo says nothing of them."""

    intent_id: IntentId
    paid: int
    tips: int | None = None


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
    """The till opens a bill that a customer will pay. `key` is the id that the till chose, or "" where it chose none.

    `status` is the kitchen's, in Dojo's word: `Accepted`, or `New` for a bill that nobody has begun with.
    """

    order_id: OrderId
    key: str
    bill: Bill
    personal: Personal
    actor: str
    status: str = "Accepted"
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
class CancelOrder:
    """Dojo cancels the order."""

    order_id: OrderId
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOrder:
    """Dojo wants to write alone until `expires_at` (UTC text); `holder` says for whom, as far as Dojo tells."""

    order_id: OrderId
    lock_id: str
    expires_at: str
    holder: str = ""
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendLock:
    """The holder of the lock wants it until `expires_at` (UTC text)."""

    order_id: OrderId
    lock_id: str
    expires_at: str
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLock:
    """The holder of the lock lets it go."""

    order_id: OrderId
    lock_id: str
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPayment:
    """Dojo says in words that it took or holds this money for the order. `tips` is None where Dojo says nothing of tips."""

    order_id: OrderId
    intent_id: IntentId
    paid: Money
    tips: Money | None = None
    lock_id: str = ""
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendOrder:
    """The till replaces what is on the bill."""

    order_id: OrderId
    bill: Bill
    personal: Personal
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress:
    """The till reports the kitchen's status, in Dojo's word."""

    order_id: OrderId
    status: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseOrder:
    """The till cannot take the order."""

    order_id: OrderId
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseOrder:
    """An operator erases the personal data of an order that is over."""

    order_id: OrderId
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """An operator settles attention: all that the action is for, or that of one intent; with `code` this one thing alone.

    With a code `intent_id` "" means what concerns no intent.
    """

    action: str
    reason: str
    actor: str
    intent_id: str = ""
    code: str = ""

    def is_about(self, code: str, intent_id: str) -> bool:
        """Whether it asks for this one too, where the action is for it."""
        return (code, intent_id) == (self.code, self.intent_id) if self.code else self.intent_id in ("", intent_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOrder(Settling):
    """The attention is of an order."""

    order_id: OrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOrder:
    """An operator has what rests in states of earlier declarations moved to those that take their place.

    `was` has, by machine, the declaration (`name@hash`) that each was last moved by.
    """

    order_id: OrderId
    reason: str
    actor: str
    was: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveVenue(Settling):
    """The attention concerns no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveTakings:
    """An operator says of a difference in the takings of `date` (YYYY-MM-DD) why it is all right: it stays, and no longer asks for anybody.

    `kind` is one of `takings.KINDS`. `order_id` is "" where no order has the payment. What is said is about this `amount`: once the
    difference is of another one, it asks again.
    """

    date: str
    kind: str
    intent_id: IntentId
    amount: Money
    order_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBooking:
    """Dojo seats a party or takes a reservation. `booking.id` is used if it is new."""

    booking: Booking
    guest: Guest
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBooking:
    """Dojo replaces the details of the party or reservation `booking.id`."""

    booking: Booking
    guest: Guest
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBooking:
    """Dojo deletes a party or a reservation."""

    kind: Kind
    booking_id: str
    actor: str = "dojo"


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseGuest:
    """An operator erases the guest of a party or reservation that is over."""

    booking_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVenue:
    """The till says how the venue is: `name` is `taking_orders`, `areas`, `tables` or `catalogue`; `value` is what JSON can say."""

    name: str
    value: Json
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueTask:
    """An operator has a dead task tried again, or one tried now that waits for its next try."""

    task_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTask:
    """An operator has a task given up that waits or is under way; it is dead then, as one that was given up by itself."""

    task_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptLostTail:
    """An operator accepts that entries are gone which the witness had seen; `lost` says which."""

    reason: str
    lost: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey:
    """An operator has another key sign from here on; it must be on disk already."""

    new_key: Ed25519PrivateKey
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRegistration:
    """An operator has Dojo call us at `url` for everything that is served: which capabilities that adds there, and which it drops.

    Told before Dojo is asked; and again with `refused`, why, where Dojo then did not take it, or nobody knows whether it did.
    """

    url: str
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    reason: str
    actor: str
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteTrouble:
    """The journal could not be written from `since` until `until` (UTC text), so it could not be told: now it can."""

    code: str
    detail: str
    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Re-read up to `limit` intents that are open for too long: a lost event costs delay, never money."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseDestination:
    """The destination refused our credentials on this task, or every call alike: everything for it waits and is probed at `probe_at_ms`.

    Where it took others since it refused this one before, it refuses this one alone: it is tried again at `next_at_ms`, or never.
    """

    task: Task
    error: str
    probe_at_ms: int
    next_at_ms: int | None
    is_contract: bool = False


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
    """An attempt did not work: try again at `next_at_ms`, or never again where that is None. `code` names the attention to raise then.

    Not before `not_before_ms`, even if everything else that waits becomes due. `sign` is what the failure says of the destination;
    refusals are compared by `alike`.
    """

    task: Task
    error: str
    next_at_ms: int | None
    code: str = "OUTBOX_DEAD"
    not_before_ms: int = 0
    sign: Sign = Sign.AWAY
    alike: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """The lease ran out before a worker came to the task: no attempt was made."""

    task: Task


Result: TypeAlias = IntentRead | EffectTaken | AttemptFailed | PauseDestination | Unsent
Request: TypeAlias = CreateOrder | OpenOrder | ReceiveEvent
OrderRequest: TypeAlias = (
    CancelOrder | LockOrder | ExtendLock | ReleaseLock | RecordPayment | AmendOrder | ReportProgress | RefuseOrder | ResolveOrder
)
BookingRequest: TypeAlias = CreateBooking | UpdateBooking | DeleteBooking | EraseGuest
VenueRequest: TypeAlias = (
    SetVenue | ResolveVenue | ResolveTakings | RequeueTask | AcceptLostTail | RotateKey | NoteRegistration | NoteTrouble | Sweep
)
OperatorCommand: TypeAlias = (
    ResolveOrder | ResolveVenue | ResolveTakings | RequeueTask | StopTask | EraseOrder | EraseGuest | NoteRegistration
)
"""What an operator asks for at a terminal, with a reason."""
Command: TypeAlias = Request | OrderRequest | EraseOrder | MigrateOrder | StopTask | BookingRequest | VenueRequest | Result
