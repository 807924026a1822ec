"""One run of a flow: what was asked for, its steps as they happen, its result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import msgspec

from adapters.sandbox.basket import Basket
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.pos import PosClient
from adapters.sandbox.registry import Pos
from workflow.clock import Clock
from workflow.money import CurrencyMismatch, Money

ORDER_AND_PAY = "order-and-pay"
PAY_ONLY = "pay-only"
MAX_DUPLICATES = 100
MAX_DELAY_SECONDS = 3_600.0
MAX_PARTS = 50


class OrderAndPay(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="flow", tag=ORDER_AND_PAY
):
    """A customer orders and pays. Capture comes after CreateOrder (`event`, as on the flow page) or before it (`inline`).

    `duplicates` more copies of the capture's event follow the first; `delay_seconds` pass before it. With `pos`, that POS is
    called, registered or not.
    """

    basket: Basket | None = None
    tips: Money | None = None
    mode: Literal["event", "inline"] = "event"
    duplicates: Annotated[int, msgspec.Meta(ge=0, le=MAX_DUPLICATES)] = 0
    delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_SECONDS)] = 0.0
    pos: Pos | None = None


class PayOnly(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="flow", tag=PAY_ONLY):
    """A customer pays the bill of a table, in `parts` payments one after the other; tips are split like the bill.

    Without `order_id`, the first payable order that the POS finds. With `pos`, that POS is called, registered or not.
    """

    table_id: str
    order_id: str | None = None
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1
    tips: Money | None = None
    duplicates: Annotated[int, msgspec.Meta(ge=0, le=MAX_DUPLICATES)] = 0
    pos: Pos | None = None


Request = OrderAndPay | PayOnly


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of a flow; `detail` is what came of it, or why it failed."""

    name: str
    state: Literal["running", "done", "failed"]
    detail: str = ""
    milliseconds: int = 0


class FlowResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A flow as it stands; `reason` is empty unless it failed. `order_id` is the POS's."""

    id: str
    name: str
    state: Literal["running", "done", "failed"]
    reason: str = ""
    order_id: str | None = None
    intent_ids: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        """The flow ended, and as it should."""
        return self.state == "done"


class Flow:
    """One run of a flow: its POS, and its result as it grows."""

    def __init__(self, flow_id: str, request: Request, *, client: PosClient, clock: Clock) -> None:
        self.request = request
        self.client = client
        self._clock = clock
        self._lock = threading.Lock()
        name = ORDER_AND_PAY if isinstance(request, OrderAndPay) else PAY_ONLY
        self._result = FlowResult(id=flow_id, name=name, state="running")

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

    def end(self, reason: str = "") -> FlowResult:
        """The flow is over; with a reason, it failed."""
        with self._lock:
            self._result = msgspec.structs.replace(self._result, state="failed" if reason else "done", reason=reason)
            return self._result
