"""What can be asked of the outside: sent by the outbox after the commit, never inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from workflow.ports import IntentId

DOJO, TILL = "dojo", "till"
DESTINATIONS = (DOJO, TILL)
"""Where effects go; each destination has lanes, pauses and workers of its own, so that neither waits for the other."""
DESTINATION_NAMES = {DOJO: "Dojo", TILL: "the till"}
"""What people call them."""


@dataclass(frozen=True, slots=True)
class ReadIntent:
    """Read this payment intent at Dojo; the answer comes back as the command `IntentRead`."""

    intent_id: IntentId
    name = "read_intent"


@dataclass(frozen=True, slots=True)
class OrderUpdated:
    """Tell Dojo that the order changed; harmless twice, so waiting ones are merged."""

    intent_id: IntentId = IntentId("")
    name = "order_updated"


@dataclass(frozen=True, slots=True)
class TellTill:
    """Tell the till that the order changed; harmless twice, merged like `OrderUpdated`."""

    intent_id: IntentId = IntentId("")
    name = "tell_till"


Effect: TypeAlias = ReadIntent | OrderUpdated | TellTill


def effect_named(name: str, intent_id: IntentId) -> Effect:
    """The effect that a declared row names; `intent_id` is the payment that the row moved."""
    if name == ReadIntent.name:
        return ReadIntent(intent_id)
    return OrderUpdated() if name == OrderUpdated.name else TellTill()


def destination_of(effect_name: str) -> str:
    """Where an effect is sent."""
    return TILL if effect_name == TellTill.name else DOJO


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An effect that waits in the outbox, leased to whoever holds this value.

    `attempts` counts the present one. `fence` rises with each lease: a result with an older fence is ignored. `order_seq` is the
    order's entry that the effect speaks of. `created_at_ms` and `lease_until_ms` are milliseconds since 1970. Until `lease_until_ms`
    nobody else may have it: the holder's lease, and while it waits what its destination asked for (`Retry-After`), 0 for nothing.
    `is_paced` is its holder's alone and not stored: the task waited and was claimed in its turn, not handed over as it was born.
    """

    id: str
    effect: str
    order_id: str
    intent_id: str
    order_seq: int
    attempts: int
    fence: int
    created_at_ms: int
    lease_until_ms: int
    is_paced: bool = False

    @property
    def destination(self) -> str:
        """Where it is sent."""
        return destination_of(self.effect)

    @property
    def was_put_off(self) -> bool:
        """It was tried, or could have been: what comes now is no first attempt, and is paced."""
        return self.attempts > 0 or self.lease_until_ms > 0
