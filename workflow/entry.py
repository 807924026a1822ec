"""An entry of the journal: one recorded decision, past tense, and all that replay may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"
Facts: TypeAlias = dict[str, Json]

KINDS = ("transition", "payment", "event", "check", "effect", "lock", "attention", "operator", "system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as decided, before the store gives it its position, chain and hash.

    `order_id` is "" for what concerns no order. `order_seq` counts from 1 within the order. `at` is UTC text with milliseconds.
    `machine` is `name@hash` for a transition. `cause` names the message that led here; `body` holds the facts, no personal data.
    """

    order_id: str
    order_seq: int
    at: str
    kind: str
    machine: str = ""
    trigger: str = ""
    from_state: str = ""
    to_state: str = ""
    payment_intent_id: str = ""
    actor: str
    cause: str
    body: Facts = field(default_factory=dict)

    @property
    def machine_name(self) -> str:
        """`order`, `payment` or `fulfilment`; "" where the entry is no transition."""
        return self.machine.partition("@")[0]
