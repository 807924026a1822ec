"""Order locks as Dojo takes them, by what the POS has registered: none, one that lasts, or a short one that is extended. Contract §9."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Protocol

import msgspec

from adapters.sandbox import identifiers
from adapters.sandbox.calls import Answer
from adapters.sandbox.errors import SandboxError, StepFailed
from adapters.sandbox.pos import PosClient, PosOrder
from adapters.sandbox.steps import Steps, parsed, path_of
from workflow.clock import to_text
from workflow.money import CurrencyMismatch

LONG_SECONDS = 600
SHORT_SECONDS = 60
"""The expiry where the lock can be extended."""


class Held(Protocol):
    """What a payment needs of the lock under which it is taken."""

    def in_body(self) -> Mapping[str, str]:
        """What RecordOrderPayment says of it."""

    def keep(self) -> None:
        """The session goes on. Raises StepFailed where the POS refuses."""

    def pause(self, seconds: float) -> None:
        """Let time pass without losing it. Raises StepFailed."""


class Unlocked:
    """No lock: the POS has none."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def in_body(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def keep(self) -> None:
        """There is nothing to keep."""

    def pause(self, seconds: float) -> None:
        """Just wait."""
        self._steps.world.sightings.pause(seconds)


class OrderLock:
    """One lock of one order, on behalf of `client`'s caller."""

    def __init__(self, steps: Steps, order_id: str, client: PosClient, *, seconds: int, is_extended: bool) -> None:
        self.id = steps.world.new_id(identifiers.LOCK)
        self._steps, self._order_id, self._client = steps, order_id, client
        self._seconds, self._is_extended = seconds, is_extended

    def in_body(self) -> Mapping[str, str]:
        """Its id."""
        return {"lockId": self.id}

    def ask(self) -> Answer:
        """CreateOrderLock."""
        return self._client.call("POST", f"{path_of(self._order_id)}/lock", {"lockId": self.id, **self._expiry()}, note=self.id)

    def keep(self) -> None:
        """ExtendOrderLock, where the POS has it. Raises StepFailed on anything but 200 and `{}`."""
        if not self._is_extended:
            return
        with self._steps.step("ExtendOrderLock") as details:
            answer = self._client.call("PUT", self._path, self._expiry(), note=self.id)
            if said := parsed(answer, dict[str, msgspec.Raw], "ExtendOrderLock"):
                raise StepFailed(f"ExtendOrderLock must be {{}} and nothing else, the POS answered with {', '.join(sorted(said))}")
            details.append(f"{self.id} for {self._seconds} s more")

    def pause(self, seconds: float) -> None:
        """Wait, and extend it in good time."""
        at_once = self._seconds / 2
        while self._is_extended and seconds > at_once:
            self._steps.world.sightings.pause(at_once)
            self.keep()
            seconds -= at_once
        self._steps.world.sightings.pause(seconds)

    def release(self) -> PosOrder:
        """DeleteOrderLock: the order as the POS answers it. Raises StepFailed."""
        return parsed(self._client.call("DELETE", self._path, note=self.id), PosOrder, "DeleteOrderLock")

    @property
    def _path(self) -> str:
        return f"{path_of(self._order_id)}/locks/{self.id}"

    def _expiry(self) -> dict[str, str]:
        return {"expiry": to_text(self._steps.world.clock.now() + timedelta(seconds=self._seconds))}


def are_locked(steps: Steps) -> bool:
    """The POS has what it takes to lock an order."""
    return {"CreateOrderLock", "DeleteOrderLock"} <= steps.flow.capabilities


def new_lock(steps: Steps, order_id: str, client: PosClient, *, seconds: int | None = None) -> OrderLock:
    """A lock that nobody asked for yet, as long as what the POS has makes it."""
    is_extended = "ExtendOrderLock" in steps.flow.capabilities
    return OrderLock(steps, order_id, client, seconds=seconds or (SHORT_SECONDS if is_extended else LONG_SECONDS), is_extended=is_extended)


@contextmanager
def locked(steps: Steps, order: PosOrder, *, seconds: int | None = None) -> Iterator[tuple[Held, PosOrder]]:
    """Hold the order's lock where the POS has locks: the lock, and the order as it was when it was granted.

    Released in the end whatever happens, and then the order must be as it should be, payable while something is left to pay. Raises
    StepFailed where it is refused.
    """
    if not are_locked(steps):
        yield Unlocked(steps), order
        return
    lock = new_lock(steps, order.id, steps.flow.client, seconds=seconds)
    granted = _take(steps, lock, order.id)
    try:
        yield lock, granted
    except (SandboxError, CurrencyMismatch):
        with suppress(StepFailed):  # What went wrong first is the reason of the flow.
            _release(steps, lock)
        raise
    shown = _release(steps, lock)
    expected = steps.expected()
    if differences := steps.differences(shown, payable=expected.paid.value < expected.total.value):
        raise StepFailed(f"order {order.id} is not as it should be once its lock was released: {', '.join(differences)}")


def _take(steps: Steps, lock: OrderLock, order_id: str) -> PosOrder:
    with steps.step("CreateOrderLock") as details:
        answer = lock.ask()
        if not answer.is_success:
            raise StepFailed(f"order {order_id} was not locked, so nobody can pay: the POS answered {answer}")
        order = parsed(answer, PosOrder, "CreateOrderLock")
        if order.id != order_id:
            raise StepFailed(f"CreateOrderLock of {order_id} answered order {order.id}")
        details.append(f"{lock.id} granted")
        return order


def _release(steps: Steps, lock: OrderLock) -> PosOrder:
    with steps.step("DeleteOrderLock") as details:
        order = lock.release()
        details.append(f"{lock.id} released")
        return order
