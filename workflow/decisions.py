"""What becomes of a command: pure functions from an order and a command to entries, effects and a refusal.

Everything worth arguing about is here, in `requests.py` and in `lifecycle.py`. Nothing here reads a clock, a store or the network.
"""

from __future__ import annotations

import msgspec

from workflow.case import MISMATCHES, Case, Decision, Machines, overdue, ran_out
from workflow.commands import AttemptFailed, CreateOrder, EffectTaken, IntentRead, OpenOrder, ReceiveEvent, ToldPayment
from workflow.declaration import target_of, words
from workflow.effects import OrderUpdated, ReadIntent, TellTill
from workflow.entry import Facts
from workflow.errors import KeyReused, Refused, short
from workflow.lifecycle import FULFILMENT, PATIENCE_S, PAYMENT, RESOLUTIONS
from workflow.machine import Machine
from workflow.money import Money
from workflow.order import COUNTED, ENDED, GIVEN_BACK, HELD, UNPAID, Order, Payment
from workflow.ports import IntentId, OrderId, PaymentIntent
from workflow.reconcile import LINK_CHARACTERS, STATUS_CHARACTERS, Doubt, Verdict, is_stale, judge, what_differs

OPENED = target_of(FULFILMENT, "open")
NOT_ON_TILL = "PAID_NOT_ON_TILL"
_GIVEN_BACK_BY_HAND = next(words(resolution.codes) for resolution in RESOLUTIONS if resolution.action == "mark_given_back")
EVENTS = frozenset({"payment_intent.created", "payment_intent.status_updated"})
"""The kinds of event that Dojo publishes: their `data` names a payment intent and its status, others may carry anything (contract §5.1)."""
EVENT_CHARACTERS = 80
"""Of the name of an event that Dojo has not published, so much is journaled."""
DENIALS = words(next(message.fires for message in PAYMENT.messages if message.name == "read_created"))
"""What takes a payment back to where it stood before we were told of its money."""
WORDS = {"Created": "word_created", "Authorized": "word_authorised", "Captured": "word_captured"}


def create_order(machines: Machines, command: CreateOrder, *, at: str, personal_hash: str, parked: tuple[IntentId, ...]) -> Decision:
    """A new order from Dojo. `parked` are intents that Dojo spoke of before and that belong to this order: they are read now."""
    case = Case(machines, None, at=at, actor=command.actor, cause=f"create_order:{command.dojo_order_id}")
    flow = "order_and_pay" if command.payments else "pay_later"
    case.begin(command.order_id, _content(command, flow, personal_hash) | {"dojoOrderId": command.dojo_order_id})
    case.tell("fulfilment", "dojo_creates")
    if command.bill.disagrees_with_its_lines():
        lines = Money(command.bill.lines_total(), command.bill.total_amount.currency)
        case.attend("TOTAL_MISMATCH", f"Dojo's total is {command.bill.total_amount}, its lines come to {lines}")
    _declare(case, command.payments, captured=command.captured)
    for intent_id in parked:
        case.want(ReadIntent(intent_id))
    return case.close(caller_sees=True)


def repeat_order(machines: Machines, order: Order, command: CreateOrder, *, at: str) -> Decision:
    """The same CreateOrder again: the order as it is now, with those payments added that it did not have (contract §8.7)."""
    new = tuple(told for told in command.payments if told.intent_id not in order.payments)
    if not new:
        return Decision(order=order)
    case = Case(machines, order, at=at, actor=command.actor, cause=f"create_order:{command.dojo_order_id}")
    if not order.can_hold(sum(told.paid for told in new), sum(told.tips or 0 for told in new)):
        refusal = Refused(f"with these payments those of order {order.id} come to more than one amount can be")
        case.record("system", {"refused": str(refusal)}, trigger="refuse")
        return case.close(caller_sees=True, refusal=refusal)
    _declare(case, new, captured=command.captured)
    return case.close(caller_sees=True)


def open_order(machines: Machines, command: OpenOrder, *, at: str, personal_hash: str, parked: tuple[IntentId, ...]) -> Decision:
    """A new bill from the till; Dojo is told."""
    case = Case(machines, None, at=at, actor=command.actor, cause=f"open_order:{command.idempotency_key}")
    case.begin(command.order_id, _content(command, "pay_only", personal_hash))
    case.tell("fulfilment", "till_opens" if command.status == OPENED else f"till_opens_{command.status}")
    for intent_id in parked:
        case.want(ReadIntent(intent_id))
    return case.close(till_sees=True)


def refuse_reused_key(machines: Machines, order: Order, *, at: str, actor: str, cause: str) -> Decision:
    """The same key with other content: 409, and a person finds out which of the two was meant (D2)."""
    case = Case(machines, order, at=at, actor=actor, cause=cause)
    case.attend("KEY_REUSE", f"{cause} came again with other content; the first is kept")
    return case.close(caller_sees=True, refusal=KeyReused(f"{cause}: the same id came before with other content (order {order.id})"))


def refuse_taken_intent(machines: Machines, owner: Order, intent_id: IntentId, *, at: str, actor: str, cause: str) -> Decision:
    """A new order names an intent that pays another one: 409 (contract §8.7)."""
    case = Case(machines, owner, at=at, actor=actor, cause=cause)
    case.attend("PAYMENT_CONFLICT", f"{cause} names intent {intent_id}, which pays this order", intent_id)
    return case.close(caller_sees=True, refusal=Refused(f"payment intent {intent_id} belongs to order {owner.id}"))


def receive_event(machines: Machines, order: Order, command: ReceiveEvent, *, at: str) -> Decision:
    """An event about a payment of this order: it may move the payment forward, counts nothing, and asks for a read.

    One of a kind that Dojo has not published is kept, and nothing follows from it (contract §5.2).
    """
    case = Case(machines, order, at=at, actor=command.actor, cause=f"event:{command.event_id}")
    if command.event not in EVENTS:
        case.record("event", event_facts(command) | {"ignored": True}, intent_id=command.intent_id)
        return case.close(caller_sees=True)
    case.record("event", event_facts(command), intent_id=command.intent_id)
    case.tell("payment", WORDS.get(command.status, "word_ended"), command.intent_id)
    return case.close()


def foreign_event(machines: Machines, order: Order, command: ReceiveEvent, *, at: str) -> Decision:
    """An event of an account that is not ours about a payment of this order: it moves nothing, and a person is called (contract §7.5)."""
    case = Case(machines, order, at=at, actor=command.actor, cause=f"event:{command.event_id}")
    case.record("event", event_facts(command) | {"ignored": True}, intent_id=command.intent_id)
    detail = f"an event says that intent {command.intent_id} is of account {short(command.account_id)!r}, which is none of ACCOUNT_IDS"
    case.attend("PAYMENT_CONFLICT", detail, command.intent_id)
    return case.close(caller_sees=True)


def became_of(command: ReceiveEvent, order: Order, decision: Decision) -> str:
    """What became of an event about a payment of `order`: applied, stale (it told nothing new) or ignored (of no published kind)."""
    if command.event not in EVENTS:
        return "ignored"
    is_news = command.status not in WORDS and not order.payments[command.intent_id].has_ended
    return "applied" if is_news or any(entry.kind == "transition" for entry in decision.entries) else "stale"


def event_facts(command: ReceiveEvent) -> Facts:
    """What an entry keeps of an event; texts are cut, so that nobody fills the journal with one."""
    return {
        "event": command.event[:EVENT_CHARACTERS],
        "id": command.event_id,
        "channel": command.channel,
        "status": command.status[:STATUS_CHARACTERS],
        "accountId": command.account_id,
    }


def intent_read(
    machines: Machines,
    order: Order,
    command: IntentRead,
    others: frozenset[OrderId],
    *,
    at: str,
    is_last: bool = True,
    doubt: Doubt | None = None,
) -> Decision:
    """A read payment intent that belongs to this order: the only way for money to become reconciled (I10).

    Where it is not the last that was asked for, something came since it was sent for: what denies the money then is left to the next one.
    A read that is older than one before it moves nothing; where it differs, time and again, a person is called. `doubt`: the last one did.
    """
    intent = command.intent
    case = Case(machines, order, at=at, actor="outbox", cause=f"read:{intent.id}")
    if intent.id not in order.payments:
        case.tell("payment", "declare", intent.id)
    payment = case.the_order.payments[intent.id]
    verdict = judge(intent, order, payment, others)
    is_older = not payment.detached and is_stale(intent, payment)
    if payment.detached or is_older or (not is_last and _denies(verdict, payment, machines[PAYMENT.name])):
        facts: Facts = {"task": command.task.id, "outcome": "done", "status": intent.status[:STATUS_CHARACTERS], "stale": True}
        differs = what_differs(intent, payment, order.currency) if is_older else ""
        case.record("check", facts | ({"differs": differs} if differs else {}), intent_id=intent.id)
        if payment.detached and intent.status == "Captured" and not verdict.mismatch:
            case.attend("STATUS_LIE", f"intent {intent.id} was taken off this order, and now agrees with it", intent.id)
        if is_older:
            _weigh_older(case, intent, differs, doubt)
        return case.close()
    facts = {"task": command.task.id, "outcome": "done", **_check_facts(intent, verdict)}
    case.record("check", facts, intent_id=intent.id)
    is_lie = case.tell("payment", verdict.message, intent.id, fate=verdict.fate) == "attention" and not verdict.mismatch
    if is_lie:
        case.attend("STATUS_LIE", f"intent {intent.id} reads {intent.status}, our payment is {payment.state}", intent.id)
    case.follow()
    now = case.the_order.payments[intent.id]
    if (sum_ := sum(payment.counted) or sum(payment.gross)) and _is_unexpected_return(order, payment, case.the_order):
        told = f"{Money(sum_, order.currency)} of intent {intent.id} is {now.state}, after it was counted and told"
        case.attend("REFUND_AFTER_UPDATE", told, intent.id)
    if (doubt and doubt.is_told and not is_lie) or (payment.state in HELD | UNPAID and now.state in COUNTED | ENDED):
        case.relieve("STATUS_LIE", intent.id, f"the intent reads {intent.status} now")
    case.relieve("OUTBOX_DEAD", intent.id, "it was read")  # Last: what a read moves stands right behind it, or is not told again.
    return case.close()


def _weigh_older(case: Case, intent: PaymentIntent, differs: str, doubt: Doubt | None) -> None:
    """The newest read stands (contract §2.4), whatever is read now: a copy that lags catches up in time, clocks that disagree never do."""
    if doubt is None:
        return
    if not differs and doubt.is_told:
        case.relieve("STATUS_LIE", intent.id, f"an older read of the intent says {intent.status[:STATUS_CHARACTERS]} as well")
    elif differs and not is_told(differs, doubt.told) and doubt.stood_ms >= PATIENCE_S["STATUS_LIE"] * 1000:
        stands = (
            "every time of late. What is dated last stands; where Dojo's portal shows the other, correct the sale on the till and tell Dojo"
        )
        case.attend("STATUS_LIE", f"{differs}: {stands}", intent.id)


def is_told(differs: str, told: tuple[str, ...]) -> bool:
    """A person was called about this very difference."""
    return any(detail.startswith(differs) for detail in told)


def _denies(verdict: Verdict, payment: Payment, machine: Machine) -> bool:
    """The read shows less than we were told: the payment would go back to where it stood before."""
    return any(trigger in DENIALS and machine.leaves(trigger, payment.state) for trigger in machine.fires(verdict.message))


def _is_unexpected_return(before: Order, payment: Payment, after: Order) -> bool:
    """Everything that the payment brought is gone, Dojo knew that it counted, and nobody was asked to give it back.

    A hold that ran out has attention of its own.
    """
    now = after.payments[payment.intent_id]
    if not payment.was_counted or now.state not in GIVEN_BACK or ran_out(now):
        return False
    others = (each for each in before.payments.values() if each.intent_id != payment.intent_id)
    # Where Dojo was not told of the newest sum, that may be another one: of this it may have known for long.
    is_another = payment.refunded > 0 or any(each.was_counted or each.state in GIVEN_BACK for each in others)
    is_known = payment.is_in_words_alone or before.told_seq >= before.money_seq or is_another
    return is_known and not _was_asked_for(payment, before, after)


def _was_asked_for(payment: Payment, before: Order, after: Order) -> bool:
    """A person was asked to give this back: all of it where the order is not served, or what is more than the bill and was read."""
    asked = {code for code in _GIVEN_BACK_BY_HAND if before.has_attention(code) or code in before.acknowledged}
    return bool(asked - {"OVERPAID"}) or ("OVERPAID" in asked and payment.state in COUNTED and after.paid.value >= after.total.value)


def swept(machines: Machines, order: Order, intent_id: IntentId, out_of_patience: frozenset[str], *, at: str) -> Decision:
    """The sweep has an intent of the order read, and calls a person about what has been so for too long."""
    case = Case(machines, order, at=at, actor="sweep", cause="sweep")
    case.record("system", {}, trigger="sweep", intent_id=intent_id)
    for (code, about), detail in overdue(order, intent_id, out_of_patience).items():
        case.attend(code, detail, about)
    case.want(ReadIntent(intent_id))
    return case.close()


def till_not_told(machines: Machines, order: Order, *, at: str) -> Decision:
    """Money counts, and the till could not be told of it for too long."""
    case = Case(machines, order, at=at, actor="sweep", cause="sweep")
    if order.has_counted and not order.is_settled_by_a_person(NOT_ON_TILL):
        case.attend(NOT_ON_TILL, f"{order.paid} is paid, and the till could not be told")
    return case.close()


def _check_facts(intent: PaymentIntent, verdict: Verdict) -> Facts:
    facts: Facts = {
        "status": intent.status[:STATUS_CHARACTERS],
        "captureMode": intent.capture_mode[:STATUS_CHARACTERS],
        "updatedAt": (intent.updated_at or "")[:STATUS_CHARACTERS],
        "externalId": intent.external_id and intent.external_id[:LINK_CHARACTERS],
        "mismatch": verdict.mismatch,
        "detail": verdict.detail,
    }
    if verdict.paid is not None:
        facts |= {"paid": verdict.paid, "tips": verdict.tips, "refunded": verdict.refunded}
    if verdict.asked is not None:
        facts["asked"] = verdict.asked
    if verdict.differing is not None:
        facts["differing"] = list(verdict.differing)
    return facts


def effect_taken(machines: Machines, order: Order, command: EffectTaken, *, at: str, is_last: bool = True) -> Decision:
    """Dojo took our `order_updated`, or the till our call: whoever did has the order as it is, though an earlier call was given up.

    `is_last`: no call of the order to the other one of them was, and none to this one that told of more.
    """
    task = command.task
    case = Case(machines, order, at=at, actor="outbox", cause=f"{task.effect}:{task.id}")
    facts: Facts = {"task": task.id, "effect": task.effect, "outcome": "done", "attempts": task.attempts}
    if task.effect == OrderUpdated.name:
        facts["orderSeq"] = task.order_seq
    case.record("effect", facts)
    if task.effect == TellTill.name and task.order_seq >= order.money_seq:
        case.relieve(NOT_ON_TILL, "", "the till was told")
    case.follow()
    if is_last:
        case.relieve("OUTBOX_DEAD", "", f"a later {task.effect} was taken")
    return case.close(caller_sees=True)


def effect_dead(machines: Machines, order: Order, command: AttemptFailed, *, at: str) -> Decision:
    """An effect will not be tried again without a person."""
    task = command.task
    case = Case(machines, order, at=at, actor="outbox", cause=f"{task.effect}:{task.id}")
    facts: Facts = {"task": task.id, "effect": task.effect, "outcome": "dead", "attempts": task.attempts, "error": command.error}
    case.record("effect", facts, intent_id=task.intent_id)
    payment = order.payments.get(IntentId(task.intent_id))
    if payment and payment.detached:
        return case.close()  # A person took it off this order: whether Dojo knows it is no matter here.
    if command.code in MISMATCHES and payment:
        case.record("check", {"status": "", "mismatch": command.code, "detail": command.error}, intent_id=task.intent_id)
        case.tell("payment", "read_disagrees", task.intent_id)
    else:
        case.attend("OUTBOX_DEAD", given_up(command), task.intent_id)
    if task.effect == TellTill.name and order.has_counted and not order.is_settled_by_a_person(NOT_ON_TILL):
        case.attend(NOT_ON_TILL, f"{order.paid} is paid, and the till does not take the news of it")
    case.follow()
    return case.close()


def given_up(command: AttemptFailed) -> str:
    """Of which call that is said, and why."""
    task = command.task
    when = "at the first attempt" if task.attempts == 1 else f"after {task.attempts} attempts"
    return f"{task.effect} was given up {when}: {command.error}"


def _content(command: CreateOrder | OpenOrder, flow: str, personal_hash: str) -> Facts:
    facts: Facts = {"flow": flow, "bill": msgspec.to_builtins(command.bill)}
    return facts | {"personal": personal_hash} if personal_hash else facts


def _declare(case: Case, payments: tuple[ToldPayment, ...], *, captured: bool) -> None:
    for told in payments:
        facts: Facts = {"toldPaid": told.paid, "toldTips": told.tips, "inWords": captured}
        case.tell("payment", "declare", told.intent_id, facts=facts)
        case.tell("payment", "word_captured" if captured else "told_authorised", told.intent_id)
