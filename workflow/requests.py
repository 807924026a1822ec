"""What Dojo, the till and operators ask of an order that is there: cancel, lock, amend, report, refuse, resolve. Pure, as `decisions.py`.

Every answer comes from a row or a policy of the declaration; a refusal is journaled and is the caller's 409.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import msgspec

from workflow.case import CANCELED, FAILED, MISMATCHES, Case, Decision, Machines
from workflow.commands import (
    AmendOrder,
    CancelOrder,
    EraseOrder,
    ExtendLock,
    LockOrder,
    MigrateOrder,
    RefuseOrder,
    ReleaseLock,
    ReportProgress,
    ResolveOrder,
)
from workflow.declaration import MIGRATE, words
from workflow.effects import ReadIntent
from workflow.entry import Facts
from workflow.errors import LockUnknown, OrderLocked, Refused, TransitionRefused, short
from workflow.guards import Subject, nothing_taken
from workflow.lifecycle import PAYMENT, RESOLUTIONS
from workflow.machine import Machine
from workflow.order import COUNTED, HELD, Attention, Order
from workflow.ports import IntentId
from workflow.reconcile import MESSAGES


def cancel_order(
    machines: Machines, order: Order, command: CancelOrder, *, at: str, caller_sees: bool = True, ran_out: bool = False
) -> Decision:
    """Dojo or the till cancels: before any money was taken, or 409. Held money stays watched until Dojo gave it back (R7, R8).

    `caller_sees`: Dojo asks, and has the order in the reply; otherwise the till has, and may not while Dojo writes alone.
    """
    case = Case(machines, order, at=at, actor=command.actor, cause="cancel_order")
    if not caller_sees and _is_held(order, at, ran_out=ran_out):
        return _refused(case, order.held_by(), OrderLocked)
    if case.tell("order", "cancel_order") == "refuse":
        return _refused(case, f"order {order.id} is {order.state} and cannot be cancelled any more")
    _watch_held(case)
    return case.close(caller_sees=caller_sees, till_sees=not caller_sees)


def lock_order(machines: Machines, order: Order, command: LockOrder, *, at: str, ran_out: bool = False) -> Decision:
    """Dojo wants to be the only one who writes until `expires_at`; the same lock again takes the new expiry (contract §9)."""
    case = Case(machines, order, at=at, actor=command.actor, cause=f"lock:{command.lock_id}")
    if case.tell("order", "lock_order") == "refuse":
        return _refused(case, f"order {order.id} is {order.state}: there is nothing left to lock")
    held = order.lock
    if held and held.is_live(at, ran_out=ran_out) and held.lock_id != command.lock_id:
        return _refused(case, order.held_by(), OrderLocked)
    if held and not (held.released or ran_out) and held.lock_id == command.lock_id and held.expires_at == command.expires_at:
        return Decision(order=order)
    trigger = "take_over" if held and not held.released and held.lock_id != command.lock_id else "take"
    case.record("lock", _lock_facts(command.lock_id, command.expires_at, command.holder), trigger=trigger)
    if held and trigger == "take_over":
        whose = f"the lock {short(held.lock_id)}" + (f" of {held.holder}" if held.holder else "")
        case.attend("LOCK_STALE", f"{whose} ran out at {held.expires_at} unreleased; {short(command.lock_id)} took it over")
    return case.close(caller_sees=True)


def extend_lock(machines: Machines, order: Order, command: ExtendLock, *, at: str, ran_out: bool = False) -> Decision:
    """The holder wants more time; also after the expiry, where nobody took the lock over."""
    held = order.lock
    if held is None or held.released:
        return Decision(order=order, refusal=LockUnknown(f"order {order.id} has no lock {short(command.lock_id)}"))
    case = Case(machines, order, at=at, actor=command.actor, cause=f"lock:{command.lock_id}")
    if held.lock_id != command.lock_id:
        return _refused(case, order.held_by(), OrderLocked)
    if held.expires_at == command.expires_at and not ran_out:
        return Decision(order=order)
    case.record("lock", _lock_facts(held.lock_id, command.expires_at, held.holder), trigger="extend")
    return case.close(caller_sees=True)


def release_lock(machines: Machines, order: Order, command: ReleaseLock, *, at: str, ran_out: bool = False) -> Decision:
    """The holder lets go; twice is once. Another's live lock is 409, a lock that never was 404 (X6)."""
    held = order.lock
    if held is None:
        return Decision(order=order, refusal=LockUnknown(f"order {order.id} has no lock {short(command.lock_id)}"))
    case = Case(machines, order, at=at, actor=command.actor, cause=f"lock:{command.lock_id}")
    if held.lock_id != command.lock_id and held.is_live(at, ran_out=ran_out):
        return _refused(case, order.held_by(), OrderLocked)
    if held.released or held.lock_id != command.lock_id:
        return Decision(order=order)
    case.record("lock", _lock_facts(held.lock_id, held.expires_at, held.holder), trigger="release")
    case.relieve("LOCK_STALE", "", "the lock that took it over was released")
    return case.close(caller_sees=True)


def _lock_facts(lock_id: str, expires_at: str, holder: str) -> Facts:
    return {"lockId": lock_id, "expiresAt": expires_at, **({"holder": holder} if holder else {})}


def amend_order(machines: Machines, order: Order, command: AmendOrder, *, at: str, personal_hash: str, ran_out: bool = False) -> Decision:
    """The till changes what is on the bill; 409 while Dojo holds the lock or a payment is under way, unless the bill is so already."""
    if command.bill == order.bill and personal_hash == order.personal_hash:
        return Decision(order=order)
    case = Case(machines, order, at=at, actor=command.actor, cause="amend_order")
    if order.lock and order.lock.is_live(at, ran_out=ran_out):
        return _refused(case, order.held_by(), OrderLocked)
    if case.tell("order", "amend_order") == "refuse":
        return _refused(case, f"order {order.id} is {order.state}: its bill cannot be amended now")
    facts: Facts = {"bill": msgspec.to_builtins(command.bill)}
    case.record("operator", facts | ({"personal": personal_hash} if personal_hash else {}), trigger="amend")
    case.follow()
    return case.close(till_sees=True)


def report_progress(machines: Machines, order: Order, command: ReportProgress, *, at: str, ran_out: bool = False) -> Decision:
    """The kitchen's status goes forward; an illegal jump is 409 and names the legal ones (contract §8.3).

    The two statuses that end an order are the order's to decide: `Canceled` cancels it, `Failed` refuses it.
    """
    order_id, actor = command.order_id, command.actor
    if command.status == CANCELED:
        return cancel_order(machines, order, CancelOrder(order_id=order_id, actor=actor), at=at, caller_sees=False, ran_out=ran_out)
    if command.status == FAILED:
        reason = f"the till reported {FAILED}"
        return refuse_order(machines, order, RefuseOrder(order_id=order_id, reason=reason, actor=actor), at=at, ran_out=ran_out)
    case = Case(machines, order, at=at, actor=command.actor, cause=f"status:{command.status}")
    kitchen, message = machines["fulfilment"], f"till_{command.status}"
    if not kitchen.knows(message) or case.tell("fulfilment", message) == "refuse":
        advice = f"possible now: {', '.join(legal)}" if (legal := _possible(kitchen, order)) else "nothing can follow"
        return _refused(case, f"order {order.id} is {order.status}, which cannot become {command.status}; {advice}")
    return case.close(till_sees=True)


def _possible(kitchen: Machine, order: Order) -> list[str]:
    """The statuses that the till may report now, other than the present one."""
    forward = [name for name in kitchen.declaration.states if kitchen.knows(f"till_{name}") and _leads(kitchen, f"till_{name}", order)]
    if order.is_closed:
        return forward
    return [*forward, *([CANCELED] if nothing_taken(Subject(order.state, order)) else []), FAILED]


def _leads(kitchen: Machine, message: str, order: Order) -> bool:
    for trigger in kitchen.fires(message):
        with suppress(TransitionRefused):
            if kitchen.leaves(trigger, order.status) and kitchen.fire(trigger, Subject(order.status, order)):
                return True
    return False


def refuse_order(machines: Machines, order: Order, command: RefuseOrder, *, at: str, ran_out: bool = False) -> Decision:
    """The till cannot take the order: it fails before money was taken; afterwards the kitchen's status fails and a person is called.

    Not while Dojo writes alone: a customer may be paying.
    """
    case = Case(machines, order, at=at, actor=command.actor, cause="refuse_order")
    if _is_held(order, at, ran_out=ran_out):
        return _refused(case, order.held_by(), OrderLocked)
    outcome = case.tell("order", "refuse_order")
    if outcome == "refuse":
        return _refused(case, f"order {order.id} is {order.state}: there is nothing left to refuse")
    if outcome == "attention" and case.tell("fulfilment", "order_failed") != "moved" and order.status != FAILED:
        return _refused(case, f"order {order.id} is {order.status}: there is nothing left to refuse")
    if case.the_order != order:
        case.record("operator", {"reason": command.reason}, trigger="refuse")
        _watch_held(case)
    return case.close(till_sees=True)


def erase_order(
    machines: Machines, order: Order, command: EraseOrder, *, kinds: Collection[str], at: str, ran_out: bool = False
) -> Decision:
    """A person erases what is known of the customer, `kinds` of it; twice is once. 409 while the order may be paid or is being paid.

    Dojo and the till are told, since they have read it. What comes later for the order is not kept either.
    """
    case = Case(machines, order, at=at, actor=command.actor, cause="erase_order")
    if order.erasure:
        return Decision(order=order)
    if _is_held(order, at, ran_out=ran_out):
        return _refused(case, order.held_by(), OrderLocked)
    if not order.is_over:
        return _refused(case, f"order {order.id} is {order.state} and not over: personal data are erased once it is paid, or has ended")
    case.record("operator", {"reason": command.reason, "erased": [*kinds]}, trigger="erase")
    return case.close()


def _is_held(order: Order, at: str, *, ran_out: bool) -> bool:
    """Dojo alone may end the order now."""
    return not order.is_final and order.lock is not None and order.lock.is_live(at, ran_out=ran_out)


def resolve_order(machines: Machines, order: Order, command: ResolveOrder, *, at: str) -> Decision:
    """A person settles attention, with a reason; 409 where no attention of the order is for the action."""
    case = Case(machines, order, at=at, actor=command.actor, cause=f"resolve:{command.action}")
    codes = next(words(resolution.codes) for resolution in RESOLUTIONS if resolution.action == command.action)
    items = [item for item in order.attention if item.code in codes and command.is_about(item.code, item.payment_intent_id)]
    if not items:
        stands = advice({item.code for item in order.attention})
        return _refused(case, f"{command.action} settles nothing that stands of order {order.id} now: {stands}")
    if command.action == "acknowledge":
        items = [item for item in items if not _holds(order, item)] or items
    if reason := _obstacle(order, command.action, items):
        return _refused(case, reason)
    for item in items:
        _resolve(case, command, item.code, IntentId(item.payment_intent_id))
    case.follow()
    return case.close()


def advice(codes: Collection[str]) -> str:
    """What attention stands, and which actions are for it, for somebody who asked for another."""
    actions = {code: [each.action for each in RESOLUTIONS if code in words(each.codes)] for code in sorted(codes)}
    return (
        "; ".join(f"{code} is for {' or '.join(named) or 'no action, it ends by itself'}" for code, named in actions.items()) or "nothing"
    )


def requeued(
    machines: Machines, order: Order, facts: Facts, *, kind: str, at: str, actor: str, cause: str, intent_id: str, is_last: bool
) -> Decision:
    """A dead task of the order is tried again, by a person's wish or the outbox's own; `is_last`: no other one of this intent is dead."""
    case = Case(machines, order, at=at, actor=actor, cause=cause)
    case.record(kind, facts, trigger="requeue", intent_id=intent_id)
    if is_last:
        case.relieve("OUTBOX_DEAD", intent_id, str(facts["reason"]))
    return case.close(caller_sees=True)


def _holds(order: Order, item: Attention) -> bool:
    """A mismatch keeps this money from counting: somebody must say what becomes of it."""
    payment = order.payments.get(IntentId(item.payment_intent_id))
    return item.code in MISMATCHES and (payment is None or payment.state not in COUNTED)


def _obstacle(order: Order, action: str, items: list[Attention]) -> str:
    """Why the action cannot settle these; "" where it can."""
    for item in items:
        intent_id = IntentId(item.payment_intent_id)
        payment = order.payments.get(intent_id)
        other = "detach_payment" if _holds(order, item) else "acknowledge"
        if action == "accept_difference" and (payment is None or payment.differing is None):
            return f"intent {intent_id} differs in something else as well, which nobody may accept: read_again or {other}"
        if action == "detach_payment" and (payment is None or payment.counts):
            return f"intent {intent_id} counts on order {order.id}: it cannot be taken off; acknowledge leaves it as it is"
        if action == "read_again" and item.code == "PAID_NOT_ON_TILL" and not intent_id:
            return f"the till was not told of order {order.id}: mend TILL_URL, or acknowledge"
        if action == "acknowledge" and _holds(order, item):
            return f"intent {intent_id} does not count on order {order.id} because of {item.code}: read_again or detach_payment"
    return ""


def _resolve(case: Case, command: ResolveOrder, code: str, intent_id: IntentId) -> None:
    facts: Facts = {"reason": command.reason, "code": code}
    payment = case.the_order.payments.get(intent_id)
    match command.action:
        case "read_again":
            case.record("operator", facts, trigger=command.action, intent_id=intent_id)
            for wanted in [intent_id] if intent_id else _held(case.the_order):
                case.want(ReadIntent(wanted))
            return
        case "accept_difference" if payment and payment.differing:
            paid, tips, refunded = payment.differing
            case.record("operator", facts | {"paid": paid, "tips": tips, "refunded": refunded}, trigger=command.action, intent_id=intent_id)
            message = "read_refunded" if refunded else MESSAGES[payment.status]
            case.tell("payment", message, intent_id, fate="refunded" if refunded else "")
        case "detach_payment" if payment:
            case.tell("payment", "detached", intent_id, fate="expired")
            case.record("operator", facts, trigger=command.action, intent_id=intent_id)
            if code == "EXTERNAL_ID_MISMATCH":
                case.want(ReadIntent(intent_id))  # It says whose it is: that order gets it.
        case _:
            case.record("operator", facts, trigger=command.action, intent_id=intent_id)
    case.relieve(code, intent_id, f"{command.action}: {command.reason}")


def migrate_order(machines: Machines, order: Order, command: MigrateOrder, *, at: str) -> Decision:
    """Whatever of the order rests in a state of an earlier declaration is moved on as its migration says; then the order follows.

    Twice is once: nothing is left to move.
    """
    case = Case(machines, order, at=at, actor=command.actor, cause=MIGRATE)
    places = [(name, "") for name in machines if name != PAYMENT.name] + [(PAYMENT.name, intent_id) for intent_id in order.payments]
    for name, intent_id in places:
        case.migrate(name, intent_id, {"reason": command.reason, "was": command.was.get(name, "")})
    if case.the_order == order:
        return Decision(order=order)
    case.follow()
    return case.close()


def _refused(case: Case, message: str, kind: type[Refused] = Refused) -> Decision:
    """A refusal is a decision like any other: it is journaled, and the reply is the 409."""
    case.record("system", {"refused": message}, trigger="refuse")
    return case.close(caller_sees=True, refusal=kind(message))


def _held(order: Order) -> list[IntentId]:
    return [payment.intent_id for payment in order.payments.values() if payment.state in HELD]


def _watch_held(case: Case) -> None:
    for intent_id in _held(case.the_order):
        case.want(ReadIntent(intent_id))
