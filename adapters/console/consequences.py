"""What would come of what a person is about to do, in sentences, before it is done: of an order's from the rules that decide it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from adapters.console.actions import CODES, LABELS, STOP, UNDER_WAY, Act, can_be_tried, decide, plainly
from adapters.console.desk import Desk
from adapters.console.paths import order_path
from adapters.edge.orders import table_caller
from adapters.edge.pages import amount, in_words, money
from workflow.case import Decision
from workflow.clock import to_text
from workflow.commands import RequeueTask, ResolveOrder, ResolveVenue, StopTask
from workflow.decisions import NOT_ON_TILL
from workflow.declaration import target_of
from workflow.effects import DESTINATION_NAMES, OrderUpdated, ReadIntent, TellTill, destination_of
from workflow.journal.reads import StoredTaskRow
from workflow.lifecycle import ORDER
from workflow.order import Order
from workflow.plurals import plural
from workflow.ports import IntentId
from workflow.unit import PAUSE_CODES

MONEY = "MONEY DEPENDS ON IT"
RECONCILED, UPDATED = target_of(ORDER, "reconcile"), target_of(ORDER, "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One thing that a person is about to do: `title` says to what, `will` what happens, `refusal` why it cannot be done, "" where it can.

    `path` leads to the order; "" where there is none. `seen` stands for what was shown of it: another one means that something else would
    be done by now. `act` is None where there is nothing to do at all.
    """

    act: Act | None
    title: str
    path: str
    will: tuple[str, ...] = ()
    refusal: str = ""
    seen: str = ""


def previews(desk: Desk, acts: Collection[Act]) -> list[Preview]:
    """What would come of each now; what another one of them settles is not said to go on."""
    settled = {(act.order_id, act.code, act.intent_id) for act in acts if isinstance(act, ResolveOrder)}
    table = table_caller(desk.reads)
    return [_preview(desk, act, settled, table) for act in acts]


def _preview(desk: Desk, act: Act, settled: Collection[tuple[str, str, str]], table: Callable[[str], str]) -> Preview:
    match act:
        case ResolveOrder():
            return _of_order(desk, act, settled, table)
        case ResolveVenue():
            return _of_service(desk, act)
        case RequeueTask() | StopTask():
            return _of_task(desk, act, table)


def no_call(desk: Desk, order_id: str, code: str, intent_id: str, action: str) -> Preview:
    """Something that needs a person and has no call behind it that could be made now, or stopped."""
    stored = desk.reads.order(order_id) if order_id else None
    title = name_of(stored.order, table_caller(desk.reads)) if stored else f"Payment {intent_id}" if intent_id else "The service itself"
    path = order_path(order_id) if stored else ""
    return Preview(act=None, title=title, path=path, refusal=f"There is no call to {'stop' if action == STOP else 'try again'} for {code}.")


def name_of(order: Order, table: Callable[[str], str]) -> str:
    """How people call it: its table, as `table` calls it by its id, and its reference, as far as it has them."""
    dine_in = order.bill.details.dine_in
    where = table(dine_in.table_id) if dine_in and dine_in.table_id else ""
    return " · ".join(part for part in (where, order.bill.reference or "") if part) or f"Order {order.id}"


def call_of(effect: str, intent_id: str) -> str:
    """A call in words."""
    if effect == ReadIntent.name:
        return f"Read payment {intent_id} at Dojo"
    return "Tell Dojo that the order changed" if effect == OrderUpdated.name else "Tell the till that the order changed"


def _of_order(desk: Desk, act: ResolveOrder, settled: Collection[tuple[str, str, str]], table: Callable[[str], str]) -> Preview:
    stored = desk.reads.order(act.order_id)
    if stored is None:
        return Preview(act=act, title=f"Order {act.order_id}", path="", refusal="There is no such order.")
    order, title = stored.order, name_of(stored.order, table)
    path = order_path(order.id)
    if act.code and act.code not in CODES[act.action]:
        return Preview(act=act, title=title, path=path, refusal=f"“{LABELS[act.action]}” is not for {act.code}.")
    decision = decide(order, act, to_text(desk.clock.now()))
    if decision.refusal:
        return Preview(act=act, title=title, path=path, refusal=plainly(decision.refusal))
    will = tuple(_consequences(order, decision, act))
    return Preview(act=act, title=title, path=path, will=(*will, *_left(order, decision, settled)), seen=_digest(will))


def _digest(will: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(will).encode()).hexdigest()[:16]


def _left(order: Order, decision: Decision, settled: Collection[tuple[str, str, str]]) -> Iterator[str]:
    """What a person has to look at afterwards; the same thing again is none: it was asked for."""
    after = decision.order
    assert after is not None
    standing = [item for item in after.attention if (after.id, item.code, item.payment_intent_id) not in settled]
    if left := [item.code for item in standing if order.has_attention(item.code, item.payment_intent_id)]:
        yield f"Needs a person as before: {_in_words(left)}."
    if new := [item.code for item in standing if not order.has_attention(item.code, item.payment_intent_id)]:
        yield f"Then needs a person: {_in_words(new)}."


def _consequences(order: Order, decision: Decision, act: ResolveOrder) -> Iterator[str]:
    after = decision.order
    assert after is not None
    asked = [item for item in order.attention if item.code in CODES[act.action] and act.is_about(item.code, item.payment_intent_id)]
    for intent_id in dict.fromkeys(item.payment_intent_id for item in asked):
        yield _what(order, act.action, intent_id)
    if act.action == "acknowledge" and any(item.code == NOT_ON_TILL for item in asked):
        yield "The till does not learn of the money by this: first enter the sale there by hand, or give the money back."
    gone = [item.code for item in order.attention if not after.has_attention(item.code, item.payment_intent_id)]
    if gone:
        yield f"It settles: {_in_words(gone)}."
    if (after.paid, after.tips) != (order.paid, order.tips):
        was, now = (f"{money(one.paid)} and a tip of {money(one.tips)}" for one in (order, after))
        yield f"What counts as paid goes from {was} to {now}."
    if after.state != order.state:
        yield f"The order goes from {order.state} to {after.state}."
    told = {effect.name for effect in decision.effects}
    if whom := [DESTINATION_NAMES[destination_of(name)] for name in (OrderUpdated.name, TellTill.name) if name in told]:
        yield f"Then {' and '.join(whom)} {'is' if len(whom) == 1 else 'are'} told."


def _in_words(codes: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(in_words(code).lower() for code in codes))


def _what(order: Order, action: str, intent_id: str) -> str:
    payment = order.payments.get(IntentId(intent_id))
    whose = f"payment {intent_id}" if intent_id else "this order"
    if action == "accept_difference" and payment and payment.differing:
        paid, tips, refunded = (amount(each, order.currency) for each in payment.differing)
        given_back = f", {refunded} of it given back" if payment.differing[2] else ""
        return f"What Dojo says of {whose} counts on this order, although it differs: {paid} and a tip of {tips}{given_back}."
    return {
        "read_again": f"Dojo is asked for {whose} once more, and what it says is compared again. Until then this stays.",
        "detach_payment": f"{whose[0].upper()}{whose[1:]} is taken off this order and counts nothing here. What Dojo took stays there.",
        "mark_given_back": f"It is noted that the money of {whose} went back. Give it back in Dojo's portal first: nothing is sent.",
        "acknowledge": f"You say that it is dealt with, for {whose}: nobody is asked any more. No money is moved, and nothing is sent.",
    }.get(action, "")


def _of_service(desk: Desk, act: ResolveVenue) -> Preview:
    title = f"Payment {act.intent_id}" if act.intent_id else "The service itself"
    codes = CODES[act.action] if act.action in ("acknowledge", "read_again") else ()
    found = desk.reads.service_attention()
    standing = [item for item in found if item.code in codes and act.is_about(item.code, item.payment_intent_id)]
    if not standing or (act.action == "read_again" and not act.intent_id):
        return Preview(act=act, title=title, path="", refusal="Nothing stands any more that this would settle.")
    if act.action == "read_again":
        asked = ("Dojo is asked for this payment once more; this stays until its order is known.",)
        return Preview(act=act, title=title, path="", will=asked, seen=_digest(asked))
    codes_now = ", ".join(item.code for item in standing)
    will = [f"You say that it is dealt with: it settles {codes_now}. No money is moved, and nothing is sent."]
    if act.intent_id:
        will.append("This payment is not waited for any more. A new event about it starts anew.")
    return Preview(act=act, title=title, path="", will=tuple(will), seen=_digest(will))


def _of_task(desk: Desk, act: RequeueTask | StopTask, table: Callable[[str], str]) -> Preview:
    task = desk.reads.task(act.task_id)
    if task is None:
        return Preview(act=act, title=f"Call {act.task_id}", path="", refusal="There is no such call.")
    stored = desk.reads.order(task.order_id) if task.order_id else None
    order = stored.order if stored else None
    what = call_of(task.effect, task.payment_intent_id)
    title = f"{what}: {name_of(order, table)}" if order else what
    path = order_path(task.order_id) if task.order_id else ""
    if isinstance(act, RequeueTask):
        refusal = "" if can_be_tried(task) else f"There is nothing to try again: this call is {standing_of(task)}."
        return Preview(act=act, title=title, path=path, will=() if refusal else tuple(_requeued(desk, task)), refusal=refusal)
    refusal = "" if task.status in UNDER_WAY else f"There is nothing left to stop: this call is {standing_of(task)}."
    will = () if refusal else tuple(_stopped(task, order))
    money_lost = [sentence for sentence in will if sentence.startswith(MONEY)]
    return Preview(act=act, title=title, path=path, will=will, refusal=refusal, seen=_digest(money_lost))


def standing_of(task: StoredTaskRow) -> str:
    """The status of a call in words."""
    return {"pending": "waiting for its next try", "paused": "held back", "leased": "under way", "dead": "given up", "done": "done"}[
        task.status
    ]


def _requeued(desk: Desk, task: StoredTaskRow) -> Iterator[str]:
    destination = destination_of(task.effect)
    yield "The call is made now, and its tries are counted anew."
    if {item.code for item in desk.reads.service_attention()} & {*PAUSE_CODES[destination]}:
        yield f"It waits until {DESTINATION_NAMES[destination]} takes our calls again."
    if task.last_error:
        yield f"Last time: {task.last_error}"


def _stopped(task: StoredTaskRow, order: Order | None) -> Iterator[str]:
    so_far = f", after {plural(task.attempts, 'try', 'tries')} so far" if task.attempts else ""
    yield f"The call is not made again by itself{so_far}. It can be tried again later, by hand."
    if task.status == "leased":
        yield "It is being made at this moment: what it is answered changes nothing any more."
    if task.effect == ReadIntent.name:
        yield f"{MONEY}: what Dojo says of this payment stays unchecked, so it may be paid there and not count here."
        if order is None or (IntentId(task.payment_intent_id) in order.payments and order.is_watched(IntentId(task.payment_intent_id))):
            yield "As long as the payment is open it is still read from time to time, less and less often."
    elif task.effect == OrderUpdated.name:
        yield "Dojo, and the customer's phone or the card machine, may show the order as it was before its last change."
        if order and order.state == RECONCILED:
            yield f"The order stays {RECONCILED}: it becomes {UPDATED} only once Dojo took the news."
    else:
        yield "The till is not told of this change of the order."
        if order and order.has_counted:
            yield f"{MONEY}: {money(order.paid)} is paid, and would be paid and not on the till."
    yield "It stands among the calls that were given up, with your name, until somebody tries it again or acknowledges it."
