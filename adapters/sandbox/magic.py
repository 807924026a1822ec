"""Amounts that make things go wrong, without the control API and with any POS.

The last four digits of what a payment brings to its order, service charge included and tips not, decide:

  10.01  the first read of the payment intent answers 500
  10.02  the first read answers 429 with Retry-After 1
  10.03  the first read is accepted and never answered
  10.04  the answer to the first read is lost
  10.05  the answer to the first read is no JSON
  10.06  the answer to the first read comes a byte at a time
  10.07  the first read answers 404
  10.11  payment_intent.status_updated comes twice
  10.12  payment_intent.status_updated comes a second late
  10.13  payment_intent.status_updated never comes
  10.14  payment_intent.created comes after status_updated (Pay-only)
  10.21  the intent's externalId names another order (not where the flow records, nor the next two)
  10.22  the intent is in another currency
  10.23  the intent is for a penny more
  10.24  the card is declined: the intent stays Created
  10.31  the answer to RecordOrderPayment is lost (where the flow records)

So 10.01, 110.01 and 210.01 all make the first read fail.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from adapters.sandbox import faults
from adapters.sandbox.faults import Fault, Faults
from adapters.sandbox.intents import Intent
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED
from workflow.money import Money

DIGITS = 10_000
OTHER_ORDER = "an-order-of-somebody-else"
OTHER_CURRENCY = {"GBP": "EUR"}
DEFAULT_OTHER_CURRENCY = "GBP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What an amount does: a read or an event that goes wrong, or an intent that is not as it was ordered."""

    read: str = ""
    event: str = ""
    event_name: str = EVENT_STATUS_UPDATED
    other_order: bool = False
    other_currency: bool = False
    penny_more: bool = False
    declined: bool = False
    record: str = ""

    @property
    def is_twisted(self) -> bool:
        """The intent is not as it was ordered."""
        return self.other_order or self.other_currency or self.penny_more


PLAIN = Spell()
SPELLS = {
    1001: Spell(read="500"),
    1002: Spell(read="429"),
    1003: Spell(read=faults.TIMEOUT),
    1004: Spell(read=faults.LOST),
    1005: Spell(read=faults.GARBAGE),
    1006: Spell(read=faults.DRIP),
    1007: Spell(read="404"),
    1011: Spell(event=faults.TWICE),
    1012: Spell(event=faults.LATE),
    1013: Spell(event=faults.DROPPED),
    1014: Spell(event=faults.OUT_OF_ORDER, event_name=EVENT_CREATED),
    1021: Spell(other_order=True),
    1022: Spell(other_currency=True),
    1023: Spell(penny_more=True),
    1024: Spell(declined=True),
    1031: Spell(record=faults.LOST),
}


def magic_table() -> str:
    """The table above, for people."""
    return inspect.cleandoc(__doc__ or "")


def magic_amounts() -> tuple[tuple[str, str], ...]:
    """Its rows: the amount, and what it does."""
    rows = (line.strip().partition("  ") for line in magic_table().splitlines() if line.startswith("  "))
    return tuple((amount, does) for amount, _, does in rows)


def spell_of(due: Money) -> Spell:
    """The spell in an amount; the plain one in all others."""
    return SPELLS.get(due.value % DIGITS, PLAIN)


def twisted(spell: Spell, amount: Money) -> Money:
    """What the intent is made for instead of `amount`."""
    currency = OTHER_CURRENCY.get(amount.currency, DEFAULT_OTHER_CURRENCY) if spell.other_currency else amount.currency
    return Money(amount.value + spell.penny_more, currency)


def untwisted(spell: Spell) -> Spell:
    """The spell where the intent is as it was ordered, whatever the amount: for a payment that is recorded in words."""
    return PLAIN if spell.is_twisted else spell


def cast(spell: Spell, intent: Intent, rules: Faults) -> None:
    """Let go wrong what the spell says, for this intent alone."""
    if spell.read:
        rules.add(Fault(method="GET", path=f"/payment-intents/{intent.id}", kind=spell.read))
    if spell.record:
        rules.add(Fault(method="POST", path=f"/v1/orders/*/record-payment {intent.id}", kind=spell.record))
    if spell.event:
        rules.add(Fault(method=faults.EVENT, path=f"{spell.event_name} {intent.id}", kind=spell.event))
