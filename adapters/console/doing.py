"""What a person may do about an order, a call or the service: said before it is done, done, and told afterwards.

Each thing is one command to the engine, which journals it with the person's name and reason. What would come of an action is asked of the
same rules that decide it, on the order as it is now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from adapters.console.desk import Desk
from adapters.edge.pages import amount, in_words, money, plural
from workflow import requests
from workflow.case import Decision, declared_machines
from workflow.clock import to_text
from workflow.commands import RequeueTask, ResolveOrder, ResolveVenue, StopTask
from workflow.declaration import words
from workflow.effects import OrderUpdated, ReadIntent, TellTill
from workflow.entry import Entry
from workflow.errors import JournalUnavailable, Refused, UnknownOrder, UnknownTask
from workflow.journal.reads import StoredTaskRow
from workflow.lifecycle import RESOLUTIONS
from workflow.order import Order
from workflow.ports import IntentId
from workflow.unit import PAUSE_CODES

Act: TypeAlias = ResolveOrder | ResolveVenue | RequeueTask | StopTask

REQUEUE, STOP = "requeue", "stop"
LABELS = {
    "accept_difference": "Accept the difference",
    "read_again": "Read again at Dojo",
    "detach_payment": "Take the payment off",
    "mark_given_back": "Mark as given back",
    "acknowledge": "Acknowledge",
    REQUEUE: "Try again",
    STOP: "Stop retrying",
}
"""What a person may do here, by its name in the journal, as a button says it."""
DANGEROUS = frozenset({"detach_payment", STOP})
UNDER_WAY = ("pending", "paused", "leased")
"""Statuses of calls that can be stopped."""

RESOLVING = tuple(name for name in LABELS if name not in (REQUEUE, STOP))
"""What settles attention while the journal is served."""

_CODES = {each.action: words(each.codes) for each in RESOLUTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One thing that a person is about to do: `title` says to what, `will` what happens, `refusal` why it cannot be done, "" where it can.

    `path` leads to the order; "" where there is none.
    """

    act: Act
    title: str
    path: str
    will: tuple[str, ...] = ()
    refusal: str = ""


def preview(desk: Desk, act: Act) -> Preview:
    """What would come of it now."""
    match act:
        case ResolveOrder():
            return _of_order(desk, act)
        case ResolveVenue():
            return _of_service(desk, act)
        case RequeueTask() | StopTask():
            return _of_task(desk, act)


def do(desk: Desk, act: Act) -> str:
    """Do it; why it was not done, "" where it was."""
    try:
        refusal = desk.engine.handle(act).refusal
    except (UnknownOrder, UnknownTask) as error:
        refusal = error
    except JournalUnavailable as error:
        return f"The journal cannot be written now ({error}). Try it again later."
    if not refusal:
        return ""
    return _done_by_another(desk, act) or _plainly(refusal)


def possible(order: Order, code: str, intent_id: str, at: str) -> list[str]:
    """The actions that would settle this attention of the order now, or have it read again."""
    actions = (action for action in RESOLVING if code in _CODES[action])
    asked = [ResolveOrder(order_id=order.id, action=each, reason="", actor="", intent_id=intent_id, code=code) for each in actions]
    return [each.action for each in asked if not _decide(order, each, at).refusal]


def possible_without_order(code: str, intent_id: str) -> list[str]:
    """The same of attention that concerns no order."""
    actions = ("read_again",) if intent_id else ()
    return [action for action in (*actions, "acknowledge") if code in _CODES[action]]


def name_of(order: Order) -> str:
    """How people call it: its table and reference, as far as it has them."""
    dine_in = order.bill.details.dine_in
    table = f"Table {dine_in.table_id}" if dine_in and dine_in.table_id else ""
    return " · ".join(part for part in (table, order.bill.reference or "") if part) or f"Order {order.id}"


def call_of(effect: str, intent_id: str) -> str:
    """A call in words."""
    if effect == ReadIntent.name:
        return f"Read payment {intent_id} at Dojo"
    return "Tell Dojo that the order changed" if effect == OrderUpdated.name else "Tell the till that the order changed"


def in_buttons(advice: str) -> str:
    """What to do next, with the actions called as their buttons are."""
    return _NAMED.sub(lambda found: f"“{LABELS[found[0]]}”", advice)


_NAMED = re.compile("|".join(name for name in RESOLVING if "_" in name))


def _decide(order: Order, act: ResolveOrder, at: str) -> Decision:
    return requests.resolve_order(declared_machines(), order, act, at=at)


# -- what would come of it


def _of_order(desk: Desk, act: ResolveOrder) -> Preview:
    stored = desk.reads.order(act.order_id)
    if stored is None:
        return Preview(act=act, title=f"Order {act.order_id}", path="", refusal="There is no such order.")
    order, title = stored.order, name_of(stored.order)
    path = f"/orders/{quote(order.id, safe='')}"
    if act.code and act.code not in _CODES[act.action]:
        return Preview(act=act, title=title, path=path, refusal=f"This is not for {act.code}.")
    decision = _decide(order, act, to_text(desk.clock.now()))
    if decision.refusal:
        return Preview(act=act, title=title, path=path, refusal=_plainly(decision.refusal))
    return Preview(act=act, title=title, path=path, will=tuple(_consequences(order, decision, act)))


def _consequences(order: Order, decision: Decision, act: ResolveOrder) -> Iterator[str]:
    after = decision.order
    assert after is not None
    asked = [item for item in order.attention if item.code in _CODES[act.action] and act.is_about(item.code, item.payment_intent_id)]
    for intent_id in dict.fromkeys(item.payment_intent_id for item in asked):
        yield _what(order, act.action, intent_id)
    gone = [item.code for item in order.attention if not after.has_attention(item.code, item.payment_intent_id)]
    if gone:
        yield f"It settles {', '.join(gone)}."
    left = [item.code for item in after.attention if order.has_attention(item.code, item.payment_intent_id)]
    if left:
        yield f"{', '.join(left)} {'goes' if len(left) == 1 else 'go'} on needing a person."
    new = [item.code for item in after.attention if not order.has_attention(item.code, item.payment_intent_id)]
    if new:
        yield f"{', '.join(new)} will need a person."
    if (after.paid, after.tips) != (order.paid, order.tips):
        was, now = (f"{money(one.paid)} and a tip of {money(one.tips)}" for one in (order, after))
        yield f"What counts as paid goes from {was} to {now}."
    if after.state != order.state:
        yield f"The order goes from {order.state} to {after.state}."
    told = {effect.name for effect in decision.effects}
    if told & {OrderUpdated.name, TellTill.name}:
        whom = [name for effect, name in ((OrderUpdated.name, "Dojo"), (TellTill.name, "the till")) if effect in told]
        yield f"Then {' and '.join(whom)} {'is' if len(whom) == 1 else 'are'} told."


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
        "acknowledge": f"It is noted that you looked at {whose}. No money is moved, and nothing is sent.",
    }.get(action, "")


def _of_service(desk: Desk, act: ResolveVenue) -> Preview:
    title = f"Payment {act.intent_id}" if act.intent_id else "The service itself"
    codes = _CODES[act.action] if act.action in ("acknowledge", "read_again") else ()
    found = desk.reads.service_attention()
    standing = [item for item in found if item.code in codes and act.is_about(item.code, item.payment_intent_id)]
    if not standing or (act.action == "read_again" and not act.intent_id):
        return Preview(act=act, title=title, path="", refusal="Nothing stands any more that this would settle.")
    if act.action == "read_again":
        return Preview(
            act=act, title=title, path="", will=("Dojo is asked for this payment once more; this stays until its order is known.",)
        )
    will = [
        f"It is noted that you looked, and {', '.join(item.code for item in standing)} is settled. No money is moved, and nothing is sent."
    ]
    if act.intent_id:
        will.append("This payment is not waited for any more. A new event about it starts anew.")
    return Preview(act=act, title=title, path="", will=tuple(will))


def _of_task(desk: Desk, act: RequeueTask | StopTask) -> Preview:
    task = desk.reads.task(act.task_id)
    if task is None:
        return Preview(act=act, title=f"Call {act.task_id}", path="", refusal="There is no such call.")
    stored = desk.reads.order(task.order_id) if task.order_id else None
    order = stored.order if stored else None
    title = f"{call_of(task.effect, task.payment_intent_id)}: {name_of(order)}" if order else call_of(task.effect, task.payment_intent_id)
    path = f"/orders/{quote(task.order_id, safe='')}" if task.order_id else ""
    if isinstance(act, RequeueTask):
        refusal = "" if task.status == "dead" else f"Only a call that was given up is tried again: this one is {standing_of(task)}."
        return Preview(act=act, title=title, path=path, will=() if refusal else tuple(_requeued(desk, task)), refusal=refusal)
    refusal = "" if task.status in UNDER_WAY else f"There is nothing left to stop: this call is {standing_of(task)}."
    return Preview(act=act, title=title, path=path, will=() if refusal else tuple(_stopped(task, order)), refusal=refusal)


def standing_of(task: StoredTaskRow) -> str:
    """The status of a call in words."""
    return {"pending": "waiting for its next try", "paused": "held back", "leased": "under way", "dead": "given up", "done": "done"}[
        task.status
    ]


def _requeued(desk: Desk, task: StoredTaskRow) -> Iterator[str]:
    destination = "till" if task.effect == TellTill.name else "dojo"
    yield "The call is made again, and its tries are counted anew."
    if {item.code for item in desk.reads.service_attention()} & {*PAUSE_CODES[destination]}:
        yield f"It waits until {'the till' if destination == 'till' else 'Dojo'} takes our calls again."
    if task.last_error:
        yield f"Last time: {task.last_error}"


def _stopped(task: StoredTaskRow, order: Order | None) -> Iterator[str]:
    so_far = f", after {plural(task.attempts, 'try', 'tries')} so far" if task.attempts else ""
    yield f"The call is not made again by itself{so_far}. It can be tried again later, by hand."
    if task.status == "leased":
        yield "It is being made at this moment: what it is answered changes nothing any more."
    if task.effect == ReadIntent.name:
        yield "MONEY DEPENDS ON IT: what Dojo says of this payment stays unchecked, so it may be paid there and not count here."
        if order is None or (IntentId(task.payment_intent_id) in order.payments and order.is_watched(IntentId(task.payment_intent_id))):
            yield "As long as the payment is open it is still read from time to time, less and less often."
    elif task.effect == OrderUpdated.name:
        yield "Dojo, and the customer's phone or the card machine, may show the order as it was before its last change."
    else:
        yield "The till is not told of this change of the order."
        if order and order.has_counted:
            yield f"MONEY DEPENDS ON IT: {money(order.paid)} is paid, and would be paid and not on the till."
    yield "It stands among the calls that were given up, with your name, until somebody tries it again or acknowledges it."


# -- why it was not done


def _plainly(refusal: Refused) -> str:
    if isinstance(refusal, UnknownOrder):
        return "There is no such order."
    if isinstance(refusal, UnknownTask):
        return "There is no such call."
    text = str(refusal)
    if "settles nothing that stands" in text:
        return "Nothing stands any more that this would settle."
    return f"{text[:1].upper()}{text[1:]}."


def _done_by_another(desk: Desk, act: Act) -> str:
    """Who did the same to it before, and why, where somebody did."""
    order_id = act.order_id if isinstance(act, ResolveOrder) else ""
    if isinstance(act, RequeueTask | StopTask) and (task := desk.reads.task(act.task_id)):
        order_id = task.order_id
    if not order_id:
        return ""
    for stored in reversed(list(desk.reads.entries(order_id=order_id))):
        if stored.kind == "operator" and _did_it(act, entry := stored.entry()):
            who = entry.actor.partition(":")[2] or entry.actor
            return f"{who} did “{LABELS.get(entry.trigger, in_words(entry.trigger))}” before, and said why: {entry.body['reason']}"
    return ""


def _did_it(act: Act, entry: Entry) -> bool:
    match act:
        case RequeueTask():
            return entry.body.get("requeued") == act.task_id
        case StopTask():
            return entry.body.get("stopped") == act.task_id
        case _:
            is_same = bool(act.code) or entry.trigger == act.action
            return entry.cause.startswith("resolve:") and is_same and act.is_about(str(entry.body["code"]), entry.payment_intent_id)
