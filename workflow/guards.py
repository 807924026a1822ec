"""The "only if" column of `lifecycle.py`: one small predicate per name, over an order and, where it concerns one, a payment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workflow.order import COUNTED, ENDED, HELD, IGNORED, TAKEN, UNPAID, Order, Payment


@dataclass(slots=True)
class Subject:
    """What a guard looks at. `state` is the throw-away copy that `transitions` moves."""

    state: str
    order: Order | None = None
    payment: Payment | None = None

    @property
    def the_order(self) -> Order:
        """The order; asking before there is one is a mistake of the declaration."""
        assert self.order is not None
        return self.order

    @property
    def the_payment(self) -> Payment:
        """The payment; asking about none is a mistake of the declaration."""
        assert self.payment is not None
        return self.payment


def always(_: Subject) -> bool:
    """No condition."""
    return True


def held(subject: Subject) -> bool:
    """An undisputed payment is authorised or captured."""
    return any(payment.state in HELD for payment in subject.the_order.undisputed())


def taken(subject: Subject) -> bool:
    """An undisputed payment was captured and is not reconciled yet."""
    return any(payment.state in TAKEN for payment in subject.the_order.undisputed())


def claim_was_denied(subject: Subject) -> bool:
    """Money is held, none is taken and none counts: the read denied what the event claimed."""
    return held(subject) and not taken(subject) and not subject.the_order.has_counted


def everything_was_read(subject: Subject) -> bool:
    """Something counts, nothing waits to be reconciled, and every word about held or counted money was answered by a read."""
    order = subject.the_order
    unread = any(payment.unread for payment in order.undisputed() if payment.state in HELD | COUNTED)
    return order.has_counted and not taken(subject) and not unread


def dojo_knows(subject: Subject) -> bool:
    """Dojo took an `order_updated` that is at least as new as the last change of counted money."""
    return subject.the_order.told_seq >= subject.the_order.money_seq


def open_again(subject: Subject) -> bool:
    """Nothing is held or counted, and another payment may come: the bill is reopenable, or its only intents are still unpaid."""
    order = subject.the_order
    states = {payment.state for payment in _its_own(order)} - IGNORED
    return not held(subject) and not order.has_counted and (order.is_reopenable or (bool(states) and states <= UNPAID))


def rest_is_settled(subject: Subject) -> bool:
    """Nothing is held any more, and something counts."""
    return not held(subject) and subject.the_order.has_counted


def counted_otherwise(subject: Subject) -> bool:
    """The counted figures differ from those that were reconciled last, and some are left."""
    order = subject.the_order
    return order.has_counted and order.counted != order.settled


def ended_by_refund(subject: Subject) -> bool:
    """Every payment that got anywhere ended, and one by a refund."""
    return _ended(subject.the_order) and "refunded" in _fates(subject.the_order)


def ended_by_reversal(subject: Subject) -> bool:
    """Every payment that got anywhere ended, one by a reversal and none by a refund."""
    return _ended(subject.the_order) and "reversed" in _fates(subject.the_order) and not ended_by_refund(subject)


def ended_unpaid(subject: Subject) -> bool:
    """Every payment that got anywhere was given up or ran out."""
    return _ended(subject.the_order) and _fates(subject.the_order) == {"expired"}


def nothing_taken(subject: Subject) -> bool:
    """No money was taken or counted, disputed money included."""
    order = subject.the_order
    return not order.counted and not any(payment.state in TAKEN | COUNTED for payment in order.payments.values())


def not_told_in_words(subject: Subject) -> bool:
    """The money rests on an event or a read alone; what Dojo told us in words is not demoted by a read that lags."""
    return not subject.the_payment.in_words


def agrees(subject: Subject) -> bool:
    """The newest read agrees with the order."""
    return not subject.the_payment.mismatch


def never_counted(subject: Subject) -> bool:
    """This payment has not counted, neither in words nor by a read."""
    return not subject.the_payment.was_counted


def counts_nothing(subject: Subject) -> bool:
    """This payment counts nothing now: it never did, or a mismatch holds it."""
    return not subject.the_payment.counts


def was_counted(subject: Subject) -> bool:
    """This payment counts, or counted before it was disputed or given back."""
    return subject.the_payment.was_counted


def given_back_in_full(subject: Subject) -> bool:
    """Dojo refunded everything that this payment brought."""
    payment = subject.the_payment
    return payment.refunded >= sum(payment.gross)


def paid_in_full(subject: Subject) -> bool:
    """The counted sum covers the bill."""
    return subject.the_order.paid.value >= subject.the_order.total.value


def _ended(order: Order) -> bool:
    """Some payment ended, the others ended or never got anywhere, nothing counts, and the bill is not open to another payment."""
    states = {payment.state for payment in _its_own(order)} - IGNORED - UNPAID
    return bool(states) and states <= ENDED and not order.is_reopenable


def _fates(order: Order) -> set[str]:
    return {payment.fate for payment in _its_own(order) if payment.state in ENDED}


def _its_own(order: Order) -> list[Payment]:
    """The payments that decide about the order: those that we did not refuse, or all where there are no others."""
    payments = list(order.payments.values())
    return [payment for payment in payments if not payment.was_refused] or payments


GUARDS: dict[str, Callable[[Subject], bool]] = {
    guard.__name__: guard
    for guard in (
        always, held, taken, claim_was_denied, everything_was_read, dojo_knows, open_again, rest_is_settled, counted_otherwise,
        ended_by_refund, ended_by_reversal, ended_unpaid, nothing_taken, not_told_in_words, agrees, never_counted, counts_nothing,
        was_counted,
        given_back_in_full, paid_in_full,
    )
}  # fmt: skip
