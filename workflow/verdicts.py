"""What telling a journal again came to: how many orders would have gone the same way, and why others would not, most orders first."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from workflow.retelling import Retold, Verdict

EXAMPLES = 3
"""So many orders are kept for each cause."""


class Cause(NamedTuple):
    """Why `orders` of them would not go the same way, with the first few."""

    verdict: Verdict
    cause: str
    orders: int
    examples: tuple[Retold, ...]


class Verdicts:
    """Adds up what `explaining.check` finds, without keeping it."""

    def __init__(self) -> None:
        self.counts: Counter[Verdict] = Counter()
        self.to_migrate = 0
        """So many rest in a state that a declared migration leads on from."""
        self._causes: dict[tuple[Verdict, str], tuple[int, tuple[Retold, ...]]] = {}

    @property
    def orders(self) -> int:
        """How many were told again."""
        return self.counts.total()

    def add(self, found: Retold) -> None:
        """One order more."""
        self.counts[found.verdict] += 1
        self.to_migrate += found.is_to_migrate
        if found.verdict != "same":
            orders, examples = self._causes.get((found.verdict, found.cause), (0, ()))
            self._causes[found.verdict, found.cause] = (orders + 1, examples if orders >= EXAMPLES else (*examples, found))

    def causes(self) -> list[Cause]:
        """What cannot be explained first, then what most orders have."""
        found = (Cause(verdict, cause, orders, examples) for (verdict, cause), (orders, examples) in self._causes.items())
        return sorted(found, key=lambda each: (each.verdict != "unexplained", -each.orders, each.cause))


def ordinal(found: Retold) -> str:
    """Which of the order's entries it is about."""
    return f"number {found.entry.order_seq}" if found.entry else "end"


def way(found: Retold) -> str:
    """Where it went, and where it would go now."""
    entry = found.entry
    what = f"{entry.kind} {entry.trigger}".rstrip() if entry else ""
    whose = f"{found.machine}{f' {found.payment_intent_id}' if found.payment_intent_id else ''}"
    if not found.machine:
        return what
    if found.verdict == "unexplained":
        return f"{what}; {whose} rests in {found.old_state}"
    is_moved = found.old_state != found.new_state
    return f"{what}; {whose} {f'was {found.old_state} then, and is {found.new_state} now' if is_moved else f'is {found.new_state}'}"
