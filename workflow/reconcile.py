"""A payment intent beside an order: agrees, with which figures, or which difference. Pure.

Source of every check: contract §7.3 (amounts), §7.4 (link to the order), §7.5 (checks before recording).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from workflow.errors import short
from workflow.money import Money
from workflow.order import IGNORED, Order, Payment
from workflow.ports import OrderId, PaymentIntent

STATUS_CHARACTERS, LINK_CHARACTERS = 40, 255
"""Of a status that Dojo says, and of an order's id that an intent names, so much is journaled."""
AUTHORISATION_LIFETIME = timedelta(days=7)
"""A Manual intent that is not captured within it is reversed by Dojo itself (contract §7.2)."""

_TIMESPAN = re.compile(r"(?:(\d{1,3})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,7})?)", re.ASCII)

MESSAGES = {
    "Created": "read_created",
    "Authorized": "read_authorised",
    "Captured": "read_captured",
    "Refunded": "read_refunded",
    "Reversed": "read_reversed",
    "Canceled": "read_cancelled",
}
_GONE = {"Reversed", "Canceled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a read means for a payment. `message` goes to the payment machine. Figures are minor units, None when nothing was compared.

    `asked` is what the intent asks for where its captures bring something else. `mismatch` is an attention code, "" when all agrees;
    `detail` holds the two values that disagreed, `differing` the intent's (paid, tips, refunded), which a person may accept.
    """

    message: str
    paid: int | None = None
    asked: int | None = None
    tips: int = 0
    refunded: int = 0
    fate: str = ""
    mismatch: str = ""
    detail: str = ""
    differing: tuple[int, int, int] | None = None


_IS_OLDER = ", and Dojo dates that before what was read earlier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The last read was older than one before it, and differed. For `stood_ms` milliseconds no read has come that did not.

    `told` is what a person was called about meanwhile.
    """

    stood_ms: int
    told: tuple[str, ...] = ()

    @property
    def is_told(self) -> bool:
        """A person was called about some older read."""
        return any(_IS_OLDER in detail for detail in self.told)


class _Differs(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def judge(intent: PaymentIntent, order: Order, payment: Payment | None, others: frozenset[OrderId] = frozenset()) -> Verdict:
    """Compare the read `intent` with `order`. `others` are further orders that the intent's links point at."""
    message = MESSAGES.get(intent.status)
    if message is None:
        said = intent.status[:STATUS_CHARACTERS]
        return _disagrees("UNKNOWN_STATUS", f"intent {intent.id} has status {said!r}, which Dojo does not publish")
    if intent.status in _GONE:
        return Verdict(message=message, fate=_fate(intent))
    if payment and payment.state in IGNORED:  # It counts nothing, so nothing needs to agree: only whether the money went back matters.
        paid, tips = figures(intent)
        gone = "read_refunded" if intent.refunded > 0 else message
        return Verdict(message=gone, paid=paid, tips=tips, refunded=intent.refunded, fate="refunded" if intent.refunded else "")
    differences = _differences(intent, order, payment, others)
    if differences:
        first = differences[0]
        # What a person may accept: the only difference there is, and never money of another currency.
        acceptable = len(differences) == 1 and first.code != "CURRENCY_MISMATCH"
        return _disagrees(first.code, str(first), (*figures(intent), intent.refunded) if acceptable else None)
    paid, tips = figures(intent)
    asked = None if paid == _asked(intent) else _asked(intent)
    if intent.refunded > 0:
        return Verdict(message="read_refunded", paid=paid, asked=asked, tips=tips, refunded=intent.refunded, fate="refunded")
    return Verdict(message=message, paid=paid, asked=asked, tips=tips)


def _differences(intent: PaymentIntent, order: Order, payment: Payment | None, others: frozenset[OrderId]) -> list[_Differs]:
    """Everything that differs, but for the very values that a person has accepted."""
    checks: tuple[Callable[[], None], ...] = (
        partial(_check_link, intent, order, others),
        partial(_check_currency, intent, order),
        partial(_check_total, intent),
        partial(_check_told, intent, order, payment),
        partial(_check_captures, intent),
    )
    found = []
    for check in checks:
        try:
            check()
        except _Differs as difference:
            found.append(difference)
    accepted = payment.accepted if payment else ()
    return [difference for difference in found if str(difference) not in accepted]


def is_stale(intent: PaymentIntent, payment: Payment) -> bool:
    """An earlier read showed a newer state of the intent: this one comes from a copy of Dojo's that lags (contract §2.4)."""
    shown, known = _moment(intent.updated_at), _moment(payment.read_at)
    return shown is not None and known is not None and shown < known


def what_differs(intent: PaymentIntent, payment: Payment, currency: str) -> str:
    """In which status or sums this older read differs from the newest one of the order's payment; "" where it does not.

    Of a payment that a mismatch is about a person knows already.
    """
    if payment.mismatch:
        return ""
    shown, known = _shown(intent, currency), _known(payment, currency)
    if intent.status[:STATUS_CHARACTERS] == payment.status and (not payment.was_read or shown == known):
        return ""
    return f"intent {intent.id} reads {shown}{_IS_OLDER}, {known}"


def _shown(intent: PaymentIntent, currency: str) -> str:
    in_what = intent.amount.currency if intent.amount else currency
    return _in_words(intent.status[:STATUS_CHARACTERS], (*figures(intent), intent.refunded), in_what[:10])


def _known(payment: Payment, currency: str) -> str:
    return _in_words(payment.status, (payment.paid, payment.tips, payment.refunded), currency) if payment.was_read else payment.status


def _in_words(status: str, sums: tuple[int, int, int], currency: str) -> str:
    """A status with its sums; of what Dojo gave up the sums mean nothing."""
    if status in _GONE:
        return status
    told = zip(sums, ("", " tips", " given back"), strict=True)
    return f"{status} ({', '.join(f'{Money(value, currency)}{of}' for value, of in told if value or not of)})"


def figures(intent: PaymentIntent) -> tuple[int, int]:
    """(paid, tips) that the intent brings: what was asked for, or the successful captures of a Manual intent that has any."""
    asked, tips = _asked(intent), _value(intent.tips)
    if intent.capture_mode != "Manual" or not intent.captures:
        return asked, tips
    good = [capture for capture in intent.captures if capture.status == "Successful"]
    told = [capture.tips for capture in good if capture.tips is not None]
    return sum(capture.amount for capture in good), sum(told) if told or not good else tips


def has_money(intent: PaymentIntent) -> bool:
    """Dojo took money by it and has not given all of it back."""
    return intent.status == "Captured" and (intent.amount is None or sum(figures(intent)) > intent.refunded)


def money_of(intent: PaymentIntent) -> str:
    """What the customer paid by it, tip included, less what went back; for people."""
    if intent.amount is None:
        return "money"
    return str(Money(sum(figures(intent)) - intent.refunded, intent.amount.currency))


def _disagrees(code: str, detail: str, differing: tuple[int, int, int] | None = None) -> Verdict:
    return Verdict(message="read_disagrees", mismatch=code, detail=detail, differing=differing)


def _asked(intent: PaymentIntent) -> int:
    return _value(intent.amount) + _value(intent.service_charge)


def _currency(intent: PaymentIntent, order: Order) -> str:
    return intent.amount.currency if intent.amount else order.currency


def _value(money: Money | None) -> int:
    return money.value if money else 0


def _fate(intent: PaymentIntent) -> str:
    """`expired` for an intent that was given up or whose hold ran out, `reversed` for one that somebody undid (rule A4)."""
    if intent.status == "Canceled":
        return "expired"
    created, updated = _moment(intent.created_at), _moment(intent.updated_at)
    ran_out = created and updated and intent.capture_mode == "Manual" and updated - created >= _lifetime(intent)
    return "expired" if ran_out else "reversed"


def _lifetime(intent: PaymentIntent) -> timedelta:
    """How long Dojo holds the money: `autoExpireIn` (`dd.hh:MM:ss`, days optional), at most AUTHORISATION_LIFETIME."""
    match = _TIMESPAN.fullmatch(intent.auto_expire_in or "")
    if match is None:
        return AUTHORISATION_LIFETIME
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return min(AUTHORISATION_LIFETIME, timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _check_link(intent: PaymentIntent, order: Order, others: frozenset[OrderId]) -> None:
    """§7.4: a null `externalId` agrees; any other must be this order's id, in Dojo's book or in ours, and point at no second order."""
    known = {order.id, order.dojo_order_id}
    if intent.external_id is not None and intent.external_id not in known:
        raise _Differs("EXTERNAL_ID_MISMATCH", f"intent {intent.id} belongs to order {short(intent.external_id)!r}, not to {order.id}")
    if intent.dojo_order_id and order.dojo_order_id and intent.dojo_order_id != order.dojo_order_id:
        raise _Differs(
            "EXTERNAL_ID_MISMATCH",
            f"intent {intent.id} is of Dojo's order {short(intent.dojo_order_id)!r}, not {order.dojo_order_id!r}",
        )
    if others - {order.id}:
        raise _Differs("EXTERNAL_ID_MISMATCH", f"intent {intent.id} points at {order.id} and at {', '.join(sorted(others))}")


def _check_currency(intent: PaymentIntent, order: Order) -> None:
    parts = (intent.amount, intent.service_charge, intent.tips, intent.cashback, intent.total)
    for money in parts:
        if money is not None and money.currency != order.currency:
            raise _Differs("CURRENCY_MISMATCH", f"intent {intent.id} is in {money.currency[:10]!r}, order {order.id} in {order.currency}")


def _check_total(intent: PaymentIntent) -> None:
    """§7.3: `totalAmount` is only plausible or not; what it contains is unpublished."""
    if intent.amount is None:
        raise _Differs("AMOUNT_MISMATCH", f"intent {intent.id} has no amount")
    base = intent.amount.value + _value(intent.service_charge)
    with_tips = base + _value(intent.tips)
    plausible = {intent.amount.value, base, with_tips, with_tips + _value(intent.cashback)}
    if intent.total is not None and intent.total.value not in plausible:
        raise _Differs(
            "AMOUNT_MISMATCH", f"intent {intent.id} totals {intent.total.value}, its parts make {base} and with tips {with_tips}"
        )


def _check_captures(intent: PaymentIntent) -> None:
    """A status that says captured or refunded goes with money that was captured or refunded."""
    if intent.status == "Refunded" and intent.refunded == 0:
        raise _Differs("AMOUNT_MISMATCH", f"intent {intent.id} says Refunded, but nothing of it was refunded")
    asked = _asked(intent)
    if intent.status == "Captured" and asked > 0 and figures(intent)[0] == 0:
        raise _Differs("AMOUNT_MISMATCH", f"intent {intent.id} says Captured, but none of its captures of {asked} succeeded")


def _check_told(intent: PaymentIntent, order: Order, payment: Payment | None) -> None:
    """§7.5 (5): what CreateOrder or record-payment declared is what the intent asks for; captures may be smaller (a part payment)."""
    if payment is None or payment.told_paid is None:
        return
    asked = _asked(intent)
    if asked != payment.told_paid:
        is_for, declared = Money(asked, _currency(intent, order)), Money(payment.told_paid, order.currency)
        raise _Differs("AMOUNT_MISMATCH", f"intent {intent.id} is for {is_for}, {declared} was declared")
