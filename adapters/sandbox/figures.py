"""What Dojo compares of an order: its sums, whether it is payable, and each payment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.sandbox.errors import StepFailed
from adapters.sandbox.pos import PosOrder
from workflow.money import Money, zero


@dataclass(frozen=True, slots=True)
class Figures:
    """What Dojo compares of an order; `payable` only where it is known."""

    total: Money
    paid: Money
    tips: Money
    payable: bool | None = None

    def differences(self, order: PosOrder) -> list[str]:
        """Every figure in which the POS's order is not this; empty when it agrees."""
        pairs: dict[str, tuple[object, object]] = {
            "totalAmount": (self.total, order.total_amount),
            "paidAmount": (self.paid, order.paid_amount),
            "tipsAmount": (self.tips, order.tips_amount),
        }
        if self.payable is not None:
            pairs["payable"] = (self.payable, order.payable)
        return [f"{name} is {'missing' if shown is None else shown}, not {due}" for name, (due, shown) in pairs.items() if shown != due]


def figures_of(order: PosOrder) -> Figures:
    """What the POS shows now. Raises StepFailed without a total."""
    if order.total_amount is None:
        raise StepFailed(f"order {order.id} has no totalAmount, so nobody knows what to pay")
    nothing = zero(order.total_amount.currency)
    return Figures(order.total_amount, order.paid_amount or nothing, order.tips_amount or nothing)


def payment_differences(order: PosOrder, due: Mapping[str, tuple[Money, Money]], *, required: bool) -> list[str]:
    """Every intent of `due`, (paid, tips) by its id, that `payments` of the POS's order shows otherwise than once and so.

    What came to nothing may be left out. Without `required` the whole list may.
    """
    if order.payments is None:
        return ["payments is missing"] if required else []
    found = []
    for intent_id, (paid, tips) in due.items():
        shown = [(payment.paid_amount, payment.tips_amount or zero(paid.currency)) for payment in order.payments if payment.id == intent_id]
        allowed = [[(paid, tips)]] if paid.value or tips.value else [[], [(paid, tips)]]
        if shown not in allowed:
            said = " and ".join(f"{each_paid} with {each_tips} tips" for each_paid, each_tips in shown) or "nothing"
            found.append(f"payments shows {said} of {intent_id}, not {paid} with {tips} tips once")
    return found
