"""Who calls Dojo and the till: the senders of what waits in the outbox, every call of theirs counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from adapters.dojo.client import DojoClient, DojoSettings
from adapters.heard import Heard
from adapters.metrics import Metrics
from adapters.outbound import Call
from adapters.settings import Settings
from adapters.till import CallBackSettings, TillCaller
from workflow.clock import Clock
from workflow.commands import EffectTaken, IntentRead, Result
from workflow.effects import OrderUpdated, ReadIntent, Task, TellTill
from workflow.journal.reads import SqliteReads
from workflow.outbox import Sender
from workflow.ports import IntentId, OrderId


def dojo_client(settings: Settings, *, on_call: Callable[[Call], None] | None = None) -> DojoClient:
    """Dojo's API with this venue's key; `on_call` hears of every call."""
    found = DojoSettings(
        url=settings.dojo_url,
        api_key=settings.dojo_api_key or "",
        version=settings.dojo_version,
        software_house_id=settings.software_house_id,
        reseller_id=settings.reseller_id,
        deadline_ms=settings.call_deadline_ms,
    )
    return DojoClient(found, on_call=on_call)


def senders(settings: Settings, reads: SqliteReads, clock: Clock, metrics: Metrics, heard: Heard) -> dict[str, Sender]:
    """What makes each kind of call, every attempt counted; where no till is to be called there is none for it."""
    dojo = dojo_client(settings, on_call=partial(_note_call, metrics, heard))
    found: dict[str, Sender] = {ReadIntent.name: partial(_read_intent, dojo), OrderUpdated.name: partial(_order_updated, dojo)}
    if settings.till_url and settings.till_secret:
        call_back = CallBackSettings(url=settings.till_url, secret=settings.till_secret, deadline_ms=settings.call_deadline_ms)
        till = TillCaller(call_back, clock, on_call=lambda call: metrics.observe_call("till", str(call.status or "none")))
        found[TellTill.name] = partial(_tell_till, till, reads)
    return {name: partial(_count_attempt, metrics, sender) for name, sender in found.items()}


def count_call(metrics: Metrics, call: Call) -> None:
    """Count a call to Dojo, and compare its clock with ours."""
    metrics.observe_call(call.path.split("/")[1], str(call.status or "none"))
    if call.answered_at:
        metrics.observe_clock("dojo", call.answered_at)


def _note_call(metrics: Metrics, heard: Heard, call: Call) -> None:
    if call.status and call.status < 500:  # Those come from whatever stands before Dojo, too.
        heard.hear()
    count_call(metrics, call)


def _count_attempt(metrics: Metrics, sender: Sender, task: Task) -> Result:
    metrics.observe_attempt(task.effect, task.attempts)
    return sender(task)


def _read_intent(dojo: DojoClient, task: Task) -> IntentRead:
    return IntentRead(task=task, intent=dojo.read_intent(IntentId(task.intent_id)))


def _order_updated(dojo: DojoClient, task: Task) -> EffectTaken:
    dojo.send_order_updated(OrderId(task.order_id))
    return EffectTaken(task=task)


def _tell_till(till: TillCaller, reads: SqliteReads, task: Task) -> EffectTaken:
    stored = reads.order(task.order_id)
    assert stored is not None
    till.tell(stored.order, stored.personal, task.order_seq)
    return EffectTaken(task=task)
