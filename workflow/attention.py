"""What needs a person, said in one place: what is wrong, since when, why, and what to do next.

The journal raises and clears it by code; here the codes become sentences, in the order in which a person should look. First of all comes
money that Dojo took and the till does not have, oldest first, with its table and sum, whichever code says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from workflow import declaration
from workflow.journal.reads import StoredAttention
from workflow.lifecycle import ATTENTION
from workflow.money import Money
from workflow.order import COUNTED, TAKEN, Order
from workflow.ports import IntentId

ALWAYS_PAID = frozenset({"PAID_NOT_ON_TILL", "PAID_BUT_REFUSED", "PAID_BUT_CLOSED"})
"""Codes that speak of money which Dojo took and the till does not have; others do where the payment that they are about was taken."""

REFUSED = "PAYMENT_REFUSED"
NOT_ON_TILL = "PAID_NOT_ON_TILL"
LOOK_FIRST = "Look at the table before anybody pays again."
UNTOLD = "See that the till runs and can be reached, then requeue. Acknowledge once it was entered by hand."
UNREAD = "Then read_again asks Dojo once more. Acknowledge once it was entered by hand or given back."
"""What follows of the two ways in which money is not on the till: it counts and the till was not told, or nobody could read it."""
REFUSED_NEXT = (
    "Wait for Dojo to give it back: it is asked by itself whether it did. After an hour give it back in Dojo's portal, then resolve with "
    "mark_given_back."
)
"""What to do about attention that stands since we refused a payment: no action but this is for its code."""

_UNKNOWN = declaration.Attention(
    "This version of Tillproof does not know {}: a newer one raised it, or somebody changed the journal.",
    "Start the newer version again; tillproof journal verify says whether the journal is what was written.",
)
_GRAVITY = {code: number for number, code in enumerate(ATTENTION)}
_FIRST_OF_ALL, _LAST = -1, len(ATTENTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that needs a person. `order_id` is "" for what concerns no order, `table_id` and `reference` None where unknown.

    `is_paid_not_on_till`: Dojo has the money of a customer, and the till does not; `amount` is what was paid, tip included, None where
    nobody could read it yet, or no order has it (then `detail` says it). `is_refused`: we answered 409 to the payment that this is about,
    and Dojo gives it back by itself.
    """

    code: str
    since: str
    detail: str
    order_id: str
    payment_intent_id: str
    table_id: str | None = None
    reference: str | None = None
    is_paid_not_on_till: bool = False
    amount: Money | None = None
    is_refused: bool = False

    @property
    def why(self) -> str:
        """What is wrong, in a sentence or two."""
        return self.told(str, "Table {}".format)

    def told(self, money: Callable[[Money], str], table: Callable[[str], str]) -> str:
        """The same with sums, and tables by their id, in the words of whoever reads it."""
        declared = meaning(self.code).why
        if self.is_refused and self.code != REFUSED:
            declared = f"{declared} {ATTENTION[REFUSED].why}"
        if not self.is_paid_not_on_till or not self.order_id:
            return declared
        whose = table(self.table_id) if self.table_id else f"Order {self.reference or self.order_id}"
        sum_ = money(self.amount) if self.amount else "a sum that nobody could read yet"
        told = f"{whose}: {sum_} is paid at Dojo and not on the till."
        return told if self.code == NOT_ON_TILL else f"{told} {declared}"

    @property
    def next(self) -> str:
        """What to do about it. Nobody is told to give back by hand what Dojo gives back by itself."""
        if self.code == NOT_ON_TILL and self.order_id:
            return f"{LOOK_FIRST} {UNREAD if self.payment_intent_id else UNTOLD}"
        return REFUSED_NEXT if self.is_refused and self.code != REFUSED else meaning(self.code).next


def meaning(code: str) -> declaration.Attention:
    """Why this calls a person, and what to do next: as declared, or that this version does not know the code."""
    return ATTENTION.get(code) or _UNKNOWN._replace(why=_UNKNOWN.why.format(code))


def by_gravity(codes: Iterable[str]) -> list[str]:
    """The gravest first, and what this version does not know last."""
    return sorted(codes, key=lambda code: (_GRAVITY.get(code, _LAST), code))


def concerns(found: Iterable[tuple[StoredAttention, Order | None]]) -> list[Concern]:
    """Everything that needs a person, each with its order: what is paid and not on the till first, then the gravest, the oldest first."""
    return sorted((_concern(row, order) for row, order in found), key=_urgency)


def of_order(order: Order) -> list[Concern]:
    """The same for one order."""
    rows = (StoredAttention(order.id, item.code, item.payment_intent_id, item.since, item.detail) for item in order.attention)
    return concerns((row, order) for row in rows)


def _urgency(concern: Concern) -> tuple[int, str, str, str]:
    gravity = _FIRST_OF_ALL if concern.is_paid_not_on_till else _GRAVITY.get(concern.code, _LAST)
    return gravity, concern.since, concern.order_id, concern.payment_intent_id


def _concern(row: StoredAttention, order: Order | None) -> Concern:
    plain = Concern(**row._asdict())
    if order is None:
        return Concern(**row._asdict(), is_paid_not_on_till=row.code in ALWAYS_PAID)
    dine_in, sum_ = order.bill.details.dine_in, _paid_not_on_till(plain, order)
    return Concern(
        **row._asdict(),
        table_id=dine_in.table_id if dine_in else None,
        reference=order.bill.reference,
        is_paid_not_on_till=sum_ is not None,
        amount=Money(sum_, order.currency) if sum_ else None,
        is_refused=_is_refused(plain, order),
    )


def _is_refused(concern: Concern, order: Order) -> bool:
    """It stands since we answered 409 to its payment."""
    payment = order.payments.get(IntentId(concern.payment_intent_id))
    return payment is not None and payment.is_refused and payment.refused_for == concern.code


def _paid_not_on_till(concern: Concern, order: Order) -> int | None:
    """Minor units that the customer paid and the till does not have; 0 where nobody read how much, None where it is not so.

    What was read as given back in full is with the customer, whatever else is wrong with it.
    """
    payment = order.payments.get(IntentId(concern.payment_intent_id))
    if payment is None:
        taken = (each for each in order.payments.values() if each.state in TAKEN | COUNTED and not each.is_disputed)
        return sum(_net(sum(each.gross), each.refunded) for each in taken) if concern.code in ALWAYS_PAID else None
    if concern.code not in ALWAYS_PAID | {payment.mismatch, payment.refused_for} or not payment.is_taken_at_dojo:
        return None
    paid, tips, refunded = payment.differing or (*payment.gross, payment.refunded)
    return None if refunded and refunded >= paid + tips else _net(paid + tips, refunded)


def _net(gross: int, refunded: int) -> int:
    return max(0, gross - refunded)
