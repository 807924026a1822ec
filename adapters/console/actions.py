"""What a person may do about an order, a call or the service: how it is called, whether it is possible now, and doing it.

Each thing is one command to the engine, which journals it with the person's name and reason. Whether it is possible is asked of the same
rules that decide it, on the order as it is now; what would come of it is in `consequences.py`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeAlias

from adapters.console.desk import Desk
from adapters.console.troubles import problem_of, sentence
from adapters.edge.pages import in_words
from workflow import requests
from workflow.case import Decision, declared_machines
from workflow.commands import RequeueTask, ResolveOrder, ResolveVenue, StopTask
from workflow.declaration import words
from workflow.effects import TellTill
from workflow.entry import Entry
from workflow.errors import JournalDamaged, JournalUnavailable, Refused, UnknownOrder, UnknownTask
from workflow.journal.reads import StoredTaskRow
from workflow.lifecycle import RESOLUTIONS
from workflow.order import Order
from workflow.ports import OrderId

Act: TypeAlias = ResolveOrder | ResolveVenue | RequeueTask | StopTask

REQUEUE, STOP = "requeue", "stop"

LABELS = {
    "accept_difference": "Accept the difference",
    "read_again": "Read again at Dojo",
    "detach_payment": "Take the payment off",
    "mark_given_back": "Mark as given back",
    "acknowledge": "Mark as dealt with",
    REQUEUE: "Try again now",
    STOP: "Stop retrying",
}
"""What a person may do here, by its name in the journal, as a button says it."""

DANGEROUS = frozenset({"detach_payment", STOP})

FOLLOWING = {
    "read_again": " Dojo is asked now: what it says shows here in a moment.",
    REQUEUE: " It is tried now, unless nothing is sent there at present: what comes of it shows here.",
}
"""What happens once it is done, of what is not done by that alone."""

UNDER_WAY = ("pending", "paused", "leased")
"""Statuses of calls that can be stopped."""

RESOLVING = tuple(name for name in LABELS if name not in (REQUEUE, STOP))
"""What settles attention while the journal is served."""

CODES = {each.action: words(each.codes) for each in RESOLUTIONS}


def do(desk: Desk, act: Act) -> str:
    """Do it; why it was not done, "" where it was."""
    try:
        refusal = desk.engine.handle(act).refusal
    except (UnknownOrder, UnknownTask) as error:
        refusal = error
    except (JournalUnavailable, JournalDamaged) as error:
        found = problem_of(error)
        return f"{found.message} {found.following}"
    if not refusal:
        return ""
    return _done_by_another(desk, act) or plainly(refusal)


def possible(order: Order, code: str, intent_id: str, at: str) -> list[str]:
    """The actions that would settle this attention of the order now, or have it read again."""
    actions = (action for action in RESOLVING if code in CODES[action])
    asked = [ResolveOrder(order_id=order.id, action=each, reason="", actor="", intent_id=intent_id, code=code) for each in actions]
    return [each.action for each in asked if not decide(order, each, at).refusal]


def possible_without_order(code: str, intent_id: str) -> list[str]:
    """The same of attention that concerns no order."""
    actions = ("read_again",) if intent_id else ()
    return [action for action in (*actions, "acknowledge") if code in CODES[action]]


def resolving(desk: Desk, order_id: str, action: str, intent_id: str, code: str) -> list[Act]:
    """The action on an order, for each thing by itself that it would settle now; where there is none, as it was asked for."""
    asked = ResolveOrder(order_id=OrderId(order_id), action=action, reason="", actor="", intent_id=intent_id, code=code)
    stored = desk.reads.order(order_id)
    standing = stored.order.attention if stored else ()
    about = [item for item in standing if item.code in CODES[action] and asked.is_about(item.code, item.payment_intent_id)]
    return [replace(asked, code=item.code, intent_id=item.payment_intent_id) for item in about] or [asked]


def stuck_calls(desk: Desk, order_id: str, code: str, intent_id: str) -> list[StoredTaskRow]:
    """The calls behind something that needs a person, which making again now may put right: given up, or waiting for their next try."""
    if code == "OUTBOX_DEAD":
        return desk.reads.dead_tasks(order_id, intent_id)
    if code != "PAID_NOT_ON_TILL" or intent_id or not order_id:
        return []
    return [task for task in desk.reads.tasks_of(order_id) if task.effect == TellTill.name and can_be_tried(task)]


def can_be_tried(task: StoredTaskRow) -> bool:
    """Making it now is a person's to ask for: it was given up, or waits for its next try."""
    return task.status == "dead" or (task.status == "pending" and task.attempts > 0)


def in_buttons(advice: str) -> str:
    """What to do next, with the actions called as their buttons are."""
    return _NAMED.sub(lambda found: f"“{LABELS[found[0].lower()]}”", advice)


_NAMED = re.compile(rf"\b({'|'.join((*RESOLVING, REQUEUE))})\b", re.IGNORECASE)


def decide(order: Order, act: ResolveOrder, at: str) -> Decision:
    """What the core would decide now."""
    return requests.resolve_order(declared_machines(), order, act, at=at)


def plainly(refusal: Refused) -> str:
    """A refusal of the core as a sentence for people."""
    if isinstance(refusal, UnknownOrder):
        return "There is no such order."
    if isinstance(refusal, UnknownTask):
        return "There is no such call."
    if "settles nothing that stands" in str(refusal):
        return "Nothing stands any more that this would settle."
    return sentence(refusal)


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
