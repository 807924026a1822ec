"""A person has a call tried no longer: it is given up as if it had been tried for too long, and can be requeued."""

from __future__ import annotations

from workflow import destinations
from workflow.case import Case, Decision, Machines
from workflow.commands import StopTask
from workflow.decisions import NOT_ON_TILL
from workflow.effects import Task, TellTill
from workflow.entry import Facts
from workflow.errors import Refused, UnknownTask, short
from workflow.order import Order
from workflow.ports import IntentId
from workflow.unit import VENUE, Outcome, Unit


def stop_task(command: StopTask, unit: Unit) -> Outcome:
    """Give up a task that waits or is under way, and call a person about it.

    What a call that is under way brings is late then, and changes nothing. Raises UnknownTask.
    """
    stored = unit.transaction.task(command.task_id)
    if stored is None:
        raise UnknownTask(f"no task {short(command.task_id)}")
    task = stored.task
    if stored.status in ("done", "dead"):
        return Outcome(refusal=Refused(f"task {task.id} is {stored.status}: there is nothing left to stop"))
    detail, cause = _detail(task, command), f"stop:{task.id}"
    unit.transaction.put_task(stored._replace(status="dead"), last_error=detail, done_at=unit.at)
    destinations.ended(stored, unit, detail=detail, cause=cause)
    if task.order_id == VENUE:
        unit.note("operator", _facts(task, command), cause=cause, actor=command.actor, trigger="stop", intent_id=task.intent_id)
        unit.attend("OUTBOX_DEAD", detail, cause=cause, intent_id=task.intent_id, actor=command.actor)
    else:
        order = unit.order(task.order_id)
        unit.store(_decide(unit.machines, order, command, task, at=unit.at), order)
    if task.effect in unit.settings.sends:
        unit.lease_next(stored.lane)
    return Outcome()


def _decide(machines: Machines, order: Order, command: StopTask, task: Task, *, at: str) -> Decision:
    """Of a payment that is none of this order's any more nobody need hear."""
    case = Case(machines, order, at=at, actor=command.actor, cause=f"stop:{task.id}")
    case.record("operator", _facts(task, command), trigger="stop", intent_id=task.intent_id)
    payment = order.payments.get(IntentId(task.intent_id))
    if not (payment and payment.detached):
        case.attend("OUTBOX_DEAD", _detail(task, command), task.intent_id)
    if task.effect == TellTill.name and order.has_counted and not order.is_settled_by_a_person(NOT_ON_TILL):
        case.attend(NOT_ON_TILL, f"{order.paid} is paid, and the till is not told of it any more")
    return case.close(caller_sees=True)


def _facts(task: Task, command: StopTask) -> Facts:
    return {"reason": command.reason, "stopped": task.id, "effect": task.effect, "attempts": task.attempts}


def _detail(task: Task, command: StopTask) -> str:
    """Which call was stopped, by whom, and why."""
    when = {0: "before its first attempt", 1: "after 1 attempt"}.get(task.attempts, f"after {task.attempts} attempts")
    return f"{task.effect} was stopped by {command.actor} {when}: {command.reason}"
