"""One run of a flow: what was asked for, its steps as they happen, its result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec

from adapters.sandbox.basket import DEFAULT_CURRENCY, DEFAULT_PLU, Basket
from adapters.sandbox.channels import Choice
from adapters.sandbox.errors import InvalidRequest, SandboxError
from adapters.sandbox.intents import CaptureMode
from adapters.sandbox.pos import PosClient
from adapters.sandbox.registry import Pos
from workflow.clock import Clock
from workflow.money import CurrencyMismatch, Money

ORDER_AND_PAY = "order-and-pay"
PAY_ONLY = "pay-only"
PAY_AT_TABLE = "pay-at-table"
BOOKINGS = "bookings"
MAX_DUPLICATES = 100
MAX_DELAY_SECONDS = 3_600.0
MAX_PARTS = 50
MAX_LOCK_SECONDS = 86_400

Afterwards = Literal["refund", "refund-part", "reversal", "cancel"]
OptionalCapability = Literal[
    "CreateOrderLock",
    "ExtendOrderLock",
    "DeleteOrderLock",
    "GetOrderBill",
    "HandleEvent:payment_intent.created",
    "HandleEvent:payment_intent.status_updated",
]
"""What a POS may have or not: a flow that can do without it uses it where it is registered."""


class Options(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What every flow that moves money can be asked for.

    `captures` takes a Manual intent's money in these parts, which may come to less than the bill; empty, all at once, tips with the
    first. `instead_of_capture`: `decline`, the card is refused; `reversal`, the hold is undone; `cancel`, the customer gives up (Order
    and Pay: after CreateOrder, with CancelOrderById). `afterwards`, one after the other and of the last payment: `refund` of all that
    is left, `refund-part` of half of it, `reversal`, `cancel` (CancelOrderById, which the POS may refuse).
    `duplicates` more copies of the event of a capture follow the first; `delay_seconds` pass before it. Events go by `channels`, under
    one id with `same_event_id`. With `pos`, that POS is called, registered or not. `without`: as if these were not registered.
    """

    tips: Money | None = None
    capture_mode: CaptureMode = "Auto"
    captures: Annotated[tuple[Money, ...], msgspec.Meta(max_length=MAX_PARTS)] = ()
    instead_of_capture: Literal["", "cancel", "reversal", "decline"] = ""
    afterwards: Annotated[tuple[Afterwards, ...], msgspec.Meta(max_length=MAX_PARTS)] = ()
    duplicates: Annotated[int, msgspec.Meta(ge=0, le=MAX_DUPLICATES)] = 0
    delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_SECONDS)] = 0.0
    channels: Choice = "registered"
    same_event_id: bool = False
    without: Annotated[tuple[OptionalCapability, ...], msgspec.Meta(max_length=MAX_PARTS)] = ()
    pos: Pos | None = None


class OrderAndPay(Options, frozen=True, kw_only=True, tag_field="flow", tag=ORDER_AND_PAY):
    """A customer orders and pays. Capture comes after CreateOrder (`event`, as on the flow page) or before it (`inline`).

    `event_first` sends the capture's event even before CreateOrder. With `pay_later` the order comes with `payments: []` and is then
    paid by Pay-only; `capture_mode` is that payment's, without it the intent is always Manual; or not at all, with `left_open`.
    `records`: as in `PayOnly`.
    """

    basket: Basket | None = None
    mode: Literal["event", "inline"] = "event"
    event_first: bool = False
    pay_later: bool = False
    left_open: bool = False
    records: bool = False

    @property
    def pays_at_once(self) -> bool:
        """CreateOrder names the payment."""
        return not self.pay_later

    @property
    def is_manual(self) -> bool:
        """Its intents are authorised first."""
        return self.pays_at_once or self.capture_mode == "Manual"


class PayOnly(Options, frozen=True, kw_only=True, tag_field="flow", tag=PAY_ONLY):
    """A customer pays the bill of a table, in `parts` payments one after the other; tips are split like the bill.

    Without `order_id`, the first payable order that the POS finds. With `amount`, one payment of so much of what is left.
    `status_first` sends `status_updated` before `created`. With `records`, the order is locked where locks are registered, and each
    payment is told by RecordOrderPayment as well (contract §2.3).
    """

    table_id: str
    order_id: str | None = None
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1
    amount: Money | None = None
    status_first: bool = False
    records: bool = False

    @property
    def is_manual(self) -> bool:
        """Its intents are authorised first."""
        return self.capture_mode == "Manual"


class PayAtTable(Options, frozen=True, kw_only=True, tag_field="flow", tag=PAY_AT_TABLE):
    """A waiter takes `parts` payments on a card machine, each told by RecordOrderPayment; tips are split like the bill.

    Without `table_id`, the orders of the waiter are searched. The order is locked where locks are registered, for `lock_seconds`, and
    the lock is extended where that is. `second_waiter` tries to lock it too and must get 409, until it is released. `too_large` first
    tries to take a penny more than is left, which must be 409. `event_first` sends the capture's event before RecordOrderPayment.
    Here `duplicates` repeat RecordOrderPayment, and `delay_seconds` pass before it.
    """

    table_id: str | None = None
    order_id: str | None = None
    waiter_id: Annotated[str, msgspec.Meta(min_length=1)] = "42"
    device_id: str = "tm_sandbox_1"
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1
    lock_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_LOCK_SECONDS)] | None = None
    second_waiter: bool = False
    too_large: bool = False
    event_first: bool = False
    records: ClassVar[bool] = True
    is_manual: ClassVar[bool] = False


class Bookings(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="flow", tag=BOOKINGS):
    """A reservation, its party and the party's order at a table, all taken back in the end; no money moves.

    Without `table_id`, the first table that the POS names. The party orders `plu`, which must be in the POS's catalogue where it has one.
    With `pos`, that POS is called, registered or not.
    """

    table_id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    plu: Annotated[str, msgspec.Meta(min_length=1)] = DEFAULT_PLU
    currency: str = DEFAULT_CURRENCY
    pos: Pos | None = None


Payments = OrderAndPay | PayOnly | PayAtTable
Request = Payments | Bookings
NAMES: dict[type[Request], str] = {OrderAndPay: ORDER_AND_PAY, PayOnly: PAY_ONLY, PayAtTable: PAY_AT_TABLE, Bookings: BOOKINGS}

R = TypeVar("R", bound=Request)


def checked(request: R) -> R:
    """The request, if its options can be had together. Raises InvalidRequest.

    The limits of its type hold for a request made in this process too; msgspec looks at them only when it converts.
    """
    try:
        found = msgspec.convert(msgspec.to_builtins(request), type=type(request))
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error
    if not isinstance(found, Bookings) and (problem := _contradiction(found)):
        raise InvalidRequest(problem)
    return found


def _contradiction(request: Payments) -> str:
    """Why these options cannot be had together, or ""."""
    parts = 1 if isinstance(request, OrderAndPay) else request.parts
    undoes = request.instead_of_capture in {"reversal", "cancel"}
    problems = {
        "captures in parts need a Manual intent": request.captures and not request.is_manual,
        "captures in parts need one payment": request.captures and parts > 1,
        "afterwards there is nothing to undo": request.afterwards and request.instead_of_capture,
        "Dojo does not reverse what was captured from a Manual intent": "reversal" in request.afterwards and request.is_manual,
        "what replaces the capture needs one payment": request.instead_of_capture and parts > 1,
        "only a Manual intent has a hold to reverse": request.instead_of_capture == "reversal" and not request.is_manual,
        "what is captured in parts is not recorded as one payment": request.captures and request.records,
    }
    if isinstance(request, OrderAndPay):
        before = request.event_first or request.mode == "inline"
        problems |= {
            "an order that is paid later has no event before CreateOrder": request.pay_later and before,
            "what is captured before CreateOrder is not undone instead": before and undoes,
            "only an order that is paid later has its payment recorded": request.records and request.pays_at_once,
            "only an order that is paid later is left open": request.left_open and request.pays_at_once,
            "what is left open is not paid": request.left_open and bool(request.tips or request.afterwards or request.instead_of_capture),
        }
    if isinstance(request, PayOnly):
        problems["an amount is one payment"] = bool(request.amount) and parts > 1

    if isinstance(request, PayAtTable):
        problems |= {
            "a card machine captures automatically, and at once": request.capture_mode == "Manual",
            "only a lock keeps a second waiter out": request.second_waiter
            and not {"CreateOrderLock", "DeleteOrderLock"}.isdisjoint(request.without),
        }
    else:
        problems["only Pay at Table goes without events"] = any(name.startswith("HandleEvent:") for name in request.without)
    return next((problem for problem, holds in problems.items() if holds), "")


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of a flow; `detail` is what came of it, or why it failed."""

    name: str
    state: Literal["running", "done", "failed"]
    detail: str = ""
    milliseconds: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """What the POS answered where it refused: its status, and what it said."""

    status: int
    message: str


class FlowResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A flow as it stands; `reason` is empty unless it failed, by the POS's `refusal` maybe. `order_id` is the POS's."""

    id: str
    name: str
    state: Literal["running", "done", "failed"]
    reason: str = ""
    refusal: Refusal | None = None
    order_id: str | None = None
    intent_ids: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        """The flow ended, and as it should."""
        return self.state == "done"


class Flow:
    """One run of a flow: its POS, which capabilities that has, and its result as it grows."""

    def __init__(self, flow_id: str, request: Request, *, client: PosClient, capabilities: frozenset[str], clock: Clock) -> None:
        self.request = request
        self.client = client
        self.capabilities = capabilities
        self._clock = clock
        self._lock = threading.Lock()
        self.id = flow_id
        self._result = FlowResult(id=flow_id, name=NAMES[type(request)], state="running")

    def result(self) -> FlowResult:
        """The result so far."""
        with self._lock:
            return self._result

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Run one step; what the block appends to the list becomes its detail."""
        began, details = self._clock.monotonic(), list[str]()
        with self._lock:
            before = self._result.steps
            self._result = msgspec.structs.replace(self._result, steps=(*before, Step(name=name, state="running")))
        state: Literal["done", "failed"] = "failed"
        try:
            yield details
            state = "done"
        except (SandboxError, CurrencyMismatch) as error:
            details.append(str(error))
            raise
        finally:
            milliseconds = round((self._clock.monotonic() - began) * 1000)
            ended = Step(name=name, state=state, detail="; ".join(details), milliseconds=milliseconds)
            with self._lock:
                self._result = msgspec.structs.replace(self._result, steps=(*before, ended))

    def paying(self, intent_id: str) -> None:
        """This intent belongs to the flow."""
        with self._lock:
            self._result = msgspec.structs.replace(self._result, intent_ids=(*self._result.intent_ids, intent_id))

    def about(self, order_id: str) -> None:
        """This is the POS's order."""
        with self._lock:
            self._result = msgspec.structs.replace(self._result, order_id=order_id)

    def end(self, reason: str = "", refusal: Refusal | None = None) -> FlowResult:
        """The flow is over; with a reason, it failed."""
        with self._lock:
            self._result = msgspec.structs.replace(self._result, state="failed" if reason else "done", reason=reason, refusal=refusal)
            return self._result
