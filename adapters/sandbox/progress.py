"""How a flow goes, as a customer is told: what happens now, what became of the order, where the money is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.edge.pages import money
from adapters.sandbox.flow import ORDER_AND_PAY, FlowResult, Step
from adapters.sandbox.intents import Intent

STEPS = {
    "PreAuthorise": "Your bank holds the money",
    "Authorise": "Your bank holds the money",
    "CreateOrder": "Your order goes to the venue",
    "SearchOrders": "Your table’s bill is looked for",
    "GetOrderById": "Dojo reads the order at the venue",
    "Capture": "Your card is charged",
    "HandleEvent:payment_intent.created": "The venue is told that you are paying",
    "HandleEvent:payment_intent.status_updated": "The venue is told about the payment",
    "ReadIntent": "The venue checks the payment with Dojo",
    "OrderUpdated": "The venue’s till has counted it",
    "CancelOrderById": "Your order is cancelled",
    "Reverse": "The hold on your card is released",
    "Cancel": "The payment is given up",
    "HeldBack": "The venue’s till does not agree, and counts nothing",
}
"""Every step of the two flows."""
NOTHING_TAKEN = "Nothing was taken from your card."


@dataclass(frozen=True, slots=True)
class Told:
    """One step: its words, its name and detail for developers."""

    words: str
    step: Step


@dataclass(frozen=True, slots=True)
class Ending:
    """What stands in large letters; `kind` is one of the notices."""

    kind: Literal["busy", "good", "bad", "warn", "over"]
    title: str
    words: str


def steps_in_words(result: FlowResult) -> tuple[Told, ...]:
    """The steps so far, oldest first."""
    return tuple(Told(STEPS.get(step.name, step.name), step) for step in result.steps)


def ending(result: FlowResult, intents: Sequence[Intent]) -> Ending:
    """How it stands with the flow and the payments that it made."""
    if result.state == "running":
        now = STEPS.get(result.steps[-1].name, result.steps[-1].name) if result.steps else "Dojo begins"
        return Ending("busy", "One moment …", f"{now}.")
    where = " ".join(where_the_money_is(intent) for intent in intents)
    if result.state == "failed":
        return _failed(result, intents, where or NOTHING_TAKEN)
    if any(step.name == "HeldBack" for step in result.steps):
        return Ending("warn", "Paid, but the till does not agree", f"{where} Please speak to the staff: they have been told.")
    return _done(result, intents, where)


def where_the_money_is(intent: Intent) -> str:
    """One sentence."""
    held, back = money(intent.total), f", and {money(intent.refunded)} of it given back" if intent.refunded.value else ""
    if intent.status == "Reversed" and intent.captured_at:
        return f"The payment of {held} was undone."
    return {
        "Created": NOTHING_TAKEN,
        "Authorized": f"{held} is held on your card.",
        "Captured": f"{money(intent.taken)} was taken from your card{back}.",
        "Reversed": f"The hold of {held} on your card was released.",
        "Refunded": f"{money(intent.refunded)} was given back to your card.",
        "Canceled": NOTHING_TAKEN,
    }[intent.status]


def _failed(result: FlowResult, intents: Sequence[Intent], where: str) -> Ending:
    """Whose money was taken has paid, whatever the venue said afterwards."""
    if any(intent.status == "Captured" for intent in intents):
        return Ending("warn", "Paid, but the venue has not confirmed it", f"{where} Please speak to the staff before you pay again.")
    if result.refusal:
        title = "The venue did not take your order" if result.name == ORDER_AND_PAY else "The venue did not take your payment"
        return Ending("bad", title, f"It said: “{result.refusal.message}”. {where}")
    return Ending("bad", "Something went wrong", f"{where} {'Look at the bill, and try again.' if result.order_id else 'Try again.'}")


def _done(result: FlowResult, intents: Sequence[Intent], where: str) -> Ending:
    ordered, statuses = result.name == ORDER_AND_PAY, {intent.status for intent in intents}
    if not intents:
        return Ending("good", "Ordered. The kitchen has your order.", "Pay whenever you like, by your table’s bill.")
    if statuses == {"Captured"}:
        return Ending("good", "Paid. The kitchen has your order." if ordered else "Paid. Thank you!", where)
    if "Created" in statuses:
        return Ending("bad", "Your card was declined", f"{where}{' Nothing was ordered.' if ordered else ''} Try another card.")
    if statuses <= {"Canceled", "Reversed"} and not any(intent.captured_at for intent in intents):
        return Ending("over", "You left before paying", f"{where}{' The order is cancelled.' if ordered and result.order_id else ''}")
    return Ending("over", "The money went back", where)
