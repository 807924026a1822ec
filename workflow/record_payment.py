"""RecordOrderPayment: Dojo says in words that money was taken or held for an order, and acts on our answer. Pure, as `decisions.py`.

A wrong 409 moves real money: Dojo gives back what we refuse. So an exact repeat is accepted for ever, whatever became of the payment
since, and whatever is refused is watched until the money went back. Source: contract §9, §8.4; faults D8, D9, D10, L5, M15, X8.
"""

from __future__ import annotations

from workflow.case import Case, Decision, Machines
from workflow.commands import RecordPayment
from workflow.entry import Facts
from workflow.errors import OrderLocked, Refused
from workflow.money import Money
from workflow.order import COUNTED, GIVEN_BACK, Order, Payment


def record_payment(machines: Machines, order: Order, command: RecordPayment, *, at: str, ran_out: bool = False) -> Decision:
    """The payment counts from now on, and its intent is read to confirm it; or 409, journaled, and the intent is watched."""
    known = order.payments.get(command.intent_id)
    case = Case(machines, order, at=at, actor=command.actor, cause=f"record_payment:{command.intent_id}")
    if known and is_repeat(order, command):
        return _repeat(case, known, command)
    if known and _contradicts(known, command, order):
        return _conflict(case, known, command)
    if known and known.has_ended:
        return _ended(case, known, command)
    if reason := _reason_to_refuse(order, command, at, ran_out=ran_out):
        return _refuse(case, command, *reason)
    return _accept(case, known, command)


def is_repeat(order: Order, command: RecordPayment) -> bool:
    """It was accepted before, with these figures: it is accepted for ever (I12)."""
    known = order.payments.get(command.intent_id)
    return known is not None and known.was_accepted and _is_same(known, command, order)


def _is_same(known: Payment, command: RecordPayment, order: Order) -> bool:
    """These figures were told or answered before, or a read has them; tips are compared where Dojo says something of them both times."""
    asked_paid, asked_tips = _asked(command)
    read = [(paid, known.tips) for paid in (known.paid, known.asked) if paid is not None] if known.was_read else []
    is_settled = known.state in COUNTED | GIVEN_BACK  # A read has said what the tips are: nothing is left open.
    return _is_in_currency(command, order) and any(
        paid == asked_paid and (asked_tips in (None, tips) or (tips is None and not is_settled)) for paid, tips in [*_heard(known), *read]
    )


def _asked(command: RecordPayment) -> tuple[int, int | None]:
    return command.paid.value, command.tips.value if command.tips else None


def _heard(known: Payment) -> list[tuple[int, int | None]]:
    """What Dojo told us of this payment, and what it heard 200 for."""
    return [*known.answered] if known.told_paid is None else [(known.told_paid, known.told_tips), *known.answered]


def _contradicts(known: Payment, command: RecordPayment, order: Order) -> bool:
    """Other figures of this intent count or were declared; what was refused is judged anew."""
    return not known.is_refused and (known.was_accepted or known.told_paid is not None) and not _is_same(known, command, order)


def _is_in_currency(command: RecordPayment, order: Order) -> bool:
    return {money.currency for money in (command.paid, command.tips) if money} == {order.currency}


def _reason_to_refuse(order: Order, command: RecordPayment, at: str, *, ran_out: bool) -> tuple[str, Refused] | None:
    """(attention code, the caller's answer) of what stands against the payment, or None."""
    lock = order.lock
    if order.is_closed:
        return "PAID_BUT_CLOSED", Refused(f"order {order.id} is {order.state} ({order.status}): it takes no payment any more")
    if not _is_in_currency(command, order):
        return "PAYMENT_REFUSED", Refused(f"order {order.id} is in {order.currency}, the payment in {command.paid.currency}")
    if lock and lock.is_live(at, ran_out=ran_out) and command.lock_id not in ("", lock.lock_id):
        return "PAYMENT_REFUSED", OrderLocked(order.held_by())
    if not order.can_hold(command.paid.value, command.tips.value if command.tips else 0):
        return "PAYMENT_REFUSED", Refused(f"with this payment those of order {order.id} come to more than one amount can be")
    if command.paid.value > (room := order.room_for(command.intent_id)):
        left = Money(max(room, 0), order.currency)
        return "OVERPAID", Refused(f"order {order.id} has {left} left to pay, the payment is of {command.paid}")
    return None


def _repeat(case: Case, known: Payment, command: RecordPayment) -> Decision:
    """200 again. Figures that only a read or a telling without tips bears out are kept: the next read may show others."""
    paid, tips = _asked(command)
    heard = _heard(known)
    if known.detached or (paid, tips) in heard or (tips is None and any(paid == before for before, _ in heard)):
        return Decision(order=case.the_order)
    facts: Facts = {"answered": [paid, tips]}
    if (paid, None) == (known.told_paid, known.told_tips) and known.is_in_words_alone:
        facts = _told(command, known) | {"inWords": True}
    case.record("payment", facts, intent_id=command.intent_id, trigger="record")
    case.follow()
    return case.close(caller_sees=True)


def _accept(case: Case, known: Payment | None, command: RecordPayment) -> Decision:
    if command.intent_id not in case.the_order.payments:
        case.tell("payment", "declare", command.intent_id)
    case.record("payment", _told(command, known) | {"inWords": True}, intent_id=command.intent_id, trigger="record")
    case.tell("payment", "recorded", command.intent_id)
    case.follow()
    return case.close(caller_sees=True)


def _ended(case: Case, known: Payment, command: RecordPayment) -> Decision:
    """Dojo said before that nothing will come of this intent: there is nothing to record, and nothing new to give back.

    Unless a person took it off: then Dojo has the money, and says that it belongs here after all.
    """
    how = "was taken off order" if known.detached else "ended before it counted on order"
    message = f"intent {command.intent_id} {how} {case.the_order.id}"
    case.record("system", {"refused": message}, intent_id=command.intent_id, trigger="refuse")
    if known.detached:
        case.attend("PAYMENT_CONFLICT", f"{message}, and Dojo recorded {command.paid} of it since", command.intent_id)
    return case.close(caller_sees=True, refusal=Refused(message))


def _conflict(case: Case, known: Payment, command: RecordPayment) -> Decision:
    """The same intent with other figures: what is recorded stays, a person is called, and the intent is read and watched (D9)."""
    paid, tips = known.gross
    asked = f"{command.paid} with {command.tips or 'no'} tips"
    recorded = f"{Money(paid, case.the_order.currency)} with {Money(tips, case.the_order.currency)} tips"
    message = f"intent {command.intent_id} was recorded as {recorded}, now it is said to be {asked}"
    case.record("system", {"refused": message}, intent_id=command.intent_id, trigger="refuse")
    case.attend("PAYMENT_CONFLICT", message, command.intent_id)
    case.tell("payment", "payment_contradicted", command.intent_id)
    return case.close(refusal=Refused(message))


def _refuse(case: Case, command: RecordPayment, code: str, refusal: Refused) -> Decision:
    """409: the payment counts nothing here, and attention stands until Dojo gave the money back."""
    if command.intent_id not in case.the_order.payments:
        case.tell("payment", "declare", command.intent_id)
    detail = f"{refusal}; Dojo was told so and gives back what intent {command.intent_id} took"
    case.record(
        "payment",
        _told(command, None) | {"inWords": False, "refusedFor": code, "detail": detail},
        intent_id=command.intent_id,
        trigger="refuse",
    )
    case.tell("payment", "payment_refused", command.intent_id)
    return case.close(refusal=refusal)


def _told(command: RecordPayment, known: Payment | None) -> Facts:
    """What Dojo says now; of tips what it said before, where it says nothing of them now."""
    paid, tips = _asked(command)
    before = known.told_tips if known and known.told_paid == paid else None
    return {"toldPaid": paid, "toldTips": before if tips is None else tips}
