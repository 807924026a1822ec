"""What concerns no single order: the venue's state, tasks that are brought back, the sweep."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from workflow import decisions, requests
from workflow.clock import CLOCK_JUMP_SECONDS, from_text, is_moment, to_text
from workflow.commands import (
    AcceptLostTail,
    AttemptFailed,
    NoteRegistration,
    NoteTrouble,
    RequeueTask,
    ResolveTakings,
    ResolveVenue,
    RotateKey,
    SetVenue,
    Sweep,
    VenueRequest,
)
from workflow.declaration import words
from workflow.effects import DOJO, ReadIntent, Task, TellTill
from workflow.entry import Facts
from workflow.errors import Refused, UnknownTask, short
from workflow.journal.port import RESOLVE_TAKINGS, Since, StoredTask
from workflow.lifecycle import ORDER, PATIENCE_S, PAYMENT, RESOLUTIONS
from workflow.order import HELD, Order, Payment
from workflow.ports import IntentId
from workflow.succession import ROTATE_KEY
from workflow.unit import VENUE, Outcome, Unit

SWEEP_CAP_MS = 6 * 3_600_000
"""The longest interval between two reads of an intent that stays open."""
DENIED_CAP_MS = 600_000
"""The same while Dojo's books deny what its event claimed, or what they showed before, until a person is called about it (M4)."""


def handle(command: VenueRequest, unit: Unit) -> Outcome:
    """Store a command that concerns no single order."""
    match command:
        case SetVenue():
            return _set(command, unit)
        case ResolveVenue():
            return _resolve(command, unit)
        case ResolveTakings():
            return _resolve_takings(command, unit)
        case RequeueTask():
            return _requeue(command, unit)
        case AcceptLostTail():
            facts: Facts = {"reason": command.reason, "lost": command.lost}
            unit.note("operator", facts, cause="resolve:accept_lost_tail", actor=command.actor, trigger="accept_lost_tail")
            return Outcome()
        case RotateKey():
            facts = {"reason": command.reason, **unit.transaction.rotate_key(command.new_key)}
            unit.note("operator", facts, cause="key", actor=command.actor, trigger=ROTATE_KEY)
            return Outcome()
        case NoteRegistration() | NoteTrouble():
            return _note(command, unit)
        case Sweep():
            return _sweep(command, unit)


def _note(command: NoteRegistration | NoteTrouble, unit: Unit) -> Outcome:
    if isinstance(command, NoteRegistration):
        unit.note("operator", _registration(command), cause="register", actor=command.actor, trigger="register")
        return Outcome()
    facts: Facts = {"code": command.code, "detail": command.detail, "since": command.since, "until": command.until}
    for trigger in ("raise", "clear"):  # It stood in memory alone: there is no row to clear.
        unit.note("attention", facts, cause=f"trouble:{command.code}", actor="journal", trigger=trigger)
    return Outcome()


def _registration(command: NoteRegistration) -> Facts:
    facts: Facts = {"reason": command.reason, "url": command.url}
    if command.refused:
        return facts | {"refused": command.refused}
    return facts | {"added": [*command.added], "dropped": [*command.dropped]}


def is_taking_orders(unit: Unit) -> bool:
    """The till has not said that it takes none."""
    return unit.transaction.venue("taking_orders") is not False


def _set(command: SetVenue, unit: Unit) -> Outcome:
    if unit.transaction.venue(command.name) != command.value:
        unit.transaction.set_venue(command.name, command.value)
        facts: Facts = {"name": command.name, "value": command.value}
        unit.note("operator", facts, cause=f"set:{command.name}", actor=command.actor, trigger="set_venue")
    return Outcome()


def _resolve(command: ResolveVenue, unit: Unit) -> Outcome:
    """A person settles attention of the service itself, or has a payment without an order read once more.

    An acknowledged orphan is no longer waited for; a new event starts anew.
    """
    codes = next(words(resolution.codes) for resolution in RESOLUTIONS if resolution.action == command.action)
    standing = unit.transaction.venue_attention()
    items = [(code, intent) for code, intent in standing if code in codes and command.is_about(code, intent)]
    if not items or command.action not in ("acknowledge", "read_again"):
        stands = requests.advice({code for code, _ in standing})
        return Outcome(refusal=Refused(f"{command.action} settles nothing that stands here now: {stands}"))
    cause, asked = f"resolve:{command.action}", set[str]()
    for code, intent_id in items:
        is_read = command.action == "read_again" and intent_id not in asked
        effects = (ReadIntent(IntentId(intent_id)),) if is_read else ()
        asked.add(intent_id)
        facts: Facts = {"reason": command.reason, "code": code}
        unit.note("operator", facts, cause=cause, actor=command.actor, trigger=command.action, intent_id=intent_id, effects=effects)
        if command.action == "acknowledge":
            unit.relieve(code, command.reason, cause=cause, intent_id=intent_id, actor=command.actor)
            unit.transaction.unpark(intent_id)
    return Outcome()


def _resolve_takings(command: ResolveTakings, unit: Unit) -> Outcome:
    """A person explains a difference of a day's takings, once."""
    said = unit.transaction.resolutions(command.date)
    wanted = command.kind, command.intent_id, command.amount
    if before := next((one for one in said if (one.kind, one.intent_id, one.amount) == wanted), None):
        return Outcome(refusal=Refused(f"that was resolved already, by {before.actor} at {before.at}: {before.reason}"))
    facts: Facts = {
        "date": command.date,
        "difference": command.kind,
        "amount": {"value": command.amount.value, "currencyCode": command.amount.currency},
        "order": command.order_id,
        "reason": command.reason,
    }
    cause = f"takings:{command.date}"
    unit.note("operator", facts, cause=cause, actor=command.actor, trigger=RESOLVE_TAKINGS, intent_id=command.intent_id)
    return Outcome()


def _requeue(command: RequeueTask, unit: Unit) -> Outcome:
    """Have a task tried now that was given up, or that waits for its next try.

    It keeps its id and its order, and begins to count its attempts and its age anew.
    """
    stored = unit.transaction.task(command.task_id)
    if stored is None:
        raise UnknownTask(f"no task {short(command.task_id)}")
    if obstacle := _not_requeued(stored, unit.now_ms):
        return Outcome(refusal=Refused(obstacle))
    task = replace(stored.task, attempts=0, created_at_ms=unit.now_ms, lease_until_ms=0)
    fresh = stored._replace(task=task, status="pending", next_at_ms=unit.now_ms, refusals=0)
    if task.effect in unit.settings.sends:
        unit.begin(fresh)
    else:
        unit.transaction.put_task(fresh)
    bring_back(task, command.reason, unit, kind="operator", actor=command.actor, cause=f"requeue:{task.id}")
    return Outcome()


def _not_requeued(stored: StoredTask, now_ms: int) -> str:
    """Why the task is not tried now by a person's wish; "" where it is."""
    task = stored.task
    is_waiting = stored.status == "pending" and task.was_put_off
    if stored.status != "dead" and not is_waiting:
        return f"task {task.id} is {stored.status}: only a dead one is requeued, or one that waits for its next try"
    if is_waiting and task.lease_until_ms > now_ms:  # Whoever is called asked for that, or answered about this call alone.
        left = -(-(task.lease_until_ms - now_ms) // 1000)
        return f"task {task.id} is not tried for another {left} s, as its last answer wants"
    return ""


def bring_back(task: Task, reason: str, unit: Unit, *, kind: str, actor: str, cause: str) -> None:
    """Journal that a task that was given up is tried again; it is stored as waiting already. No person need look, unless others died."""
    facts: Facts = {"reason": reason, "requeued": task.id}
    is_last = not unit.transaction.has_dead_task(task.order_id, task.intent_id)
    if task.order_id == VENUE:
        unit.note(kind, facts, cause=cause, actor=actor, trigger="requeue", intent_id=task.intent_id)
        if is_last:
            unit.relieve("OUTBOX_DEAD", reason, cause=cause, intent_id=task.intent_id, actor=actor)
    else:
        order = unit.order(task.order_id)
        told = {"kind": kind, "at": unit.at, "actor": actor, "cause": cause, "intent_id": task.intent_id}
        unit.store(requests.requeued(unit.machines, order, facts, is_last=is_last, **told), order)


def _sweep(command: Sweep, unit: Unit) -> Outcome:
    """Have intents read that stay open, at intervals that double with age."""
    for intent_id, order_id, waited_ms in unit.transaction.due_watches(unit.now_ms, command.limit):
        _look_again(IntentId(intent_id), unit.order(order_id), waited_ms, unit)
    if TellTill.name in unit.settings.sends:
        for untold in unit.transaction.not_told(unit.now_ms - unit.settings.paid_alarm_ms, command.limit):
            order = unit.order(untold)
            unit.store(decisions.till_not_told(unit.machines, order, at=unit.at), order)
    for parked in unit.transaction.due_parked(unit.now_ms, command.limit):
        interval_ms = min(2 * parked.interval_ms, SWEEP_CAP_MS)
        to_alarm_ms = parked.since_ms + unit.settings.orphan_alarm_ms - unit.now_ms
        unit.transaction.park_again(
            parked.intent_id, unit.now_ms + (min(interval_ms, to_alarm_ms) if to_alarm_ms > 0 else interval_ms), interval_ms
        )
        if to_alarm_ms <= 0 and not unit.is_paused(DOJO):
            named = f"names order {parked.names_an_order}, which is not here" if parked.names_an_order else "could not be read yet"
            unit.attend("ORPHAN_EVENT", f"intent {parked.intent_id} {named}", cause="sweep", intent_id=parked.intent_id)
        effects = (ReadIntent(IntentId(parked.intent_id)),)
        unit.note("system", {}, cause="sweep", actor="sweep", trigger="sweep", intent_id=parked.intent_id, effects=effects)
    return Outcome()


def _look_again(intent_id: IntentId, order: Order, waited_ms: int, unit: Unit) -> None:
    """Have a payment read once more, the later the longer nothing changed, and call a person about what has been so for too long."""
    moved = unit.transaction.last_move(order.id, PAYMENT.name, intent_id)
    payment = order.payments[intent_id]
    is_denied = _is_denied(payment, moved) and not order.is_known_to_a_person("STATUS_LIE", intent_id)
    older = unit.transaction.older_read(order.id, intent_id)
    is_doubted = is_denied or (older is not None and not decisions.is_told(older.differs, older.told))
    wait_ms = min(waited_ms, DENIED_CAP_MS if is_doubted else SWEEP_CAP_MS)
    unit.transaction.watch(intent_id, order.id, unit.now_ms + wait_ms, waited_ms + wait_ms)
    stood_ms = max(waited_ms, unit.age_ms(moved))  # Where the clock was set back while nothing ran, how long it was waited for says more.
    lasted_ms = {
        "PAID_NOT_ON_TILL": stood_ms - unit.settings.paid_alarm_ms,
        "UNDERPAID": max(waited_ms, unit.age_ms(unit.transaction.last_move(order.id, ORDER.name))) - PATIENCE_S["UNDERPAID"] * 1000,
        "STATUS_LIE": stood_ms - PATIENCE_S["STATUS_LIE"] * 1000 if is_denied else -1,
        "HOLD": stood_ms - PATIENCE_S["HOLD"] * 1000 if payment.state in HELD and payment.status == "Authorized" else -1,
    }
    out_of_patience = frozenset(about for about, over_ms in lasted_ms.items() if over_ms >= 0)
    unit.store(decisions.swept(unit.machines, order, intent_id, out_of_patience, at=unit.at), order)


def _is_denied(payment: Payment, moved: Since | None) -> bool:
    """Dojo's books show less than an event, CreateOrder or record-payment said. Money told in words may read as held: that is normal."""
    return (moved is not None and moved.trigger in decisions.DENIALS) or (payment.is_in_words_alone and payment.status == "Created")


def clock_jumped(by: float, unit: Unit, *, is_back: bool) -> bool:
    """The machine's wall clock jumped by so many seconds: from here on `at` may repeat, or skip (T1, T2). Whether that stood before.

    Nothing waits by that clock, see `SteadyClock`, and nothing is older for it, see `Unit.age_ms`. A lock ends when Dojo said, by
    whatever the clock says (X12), or its time has passed: see `LockTimes`.
    """
    unit.transaction.note_jump(round(by * 1000))
    stood, cause = unit.transaction.has_venue_attention("CLOCK_JUMP"), "clock"
    detail = f"the machine's clock jumped by {by:+.0f} s, to {unit.at}"
    if stood:
        unit.relieve("CLOCK_JUMP", f"{detail}: back where it was" if is_back else detail, cause=cause, actor="clock")
    if not (stood and is_back):
        unit.attend("CLOCK_JUMP", detail, cause=cause, actor="clock")
    return stood


def clock_before_the_journal(unit: Unit) -> None:
    """At start: the clock shows less than the newest entry does, so it was set back while nothing ran. One set on is a long stop.

    Where it had jumped back before, and now shows so much more at least, it may have been put right: nothing is older for that jump.
    """
    newest = unit.transaction.newest_at() or ""
    if newest >= to_text(from_text(unit.at) + timedelta(seconds=CLOCK_JUMP_SECONDS)):  # Texts of one form compare as times do.
        detail = f"the machine's clock was set back while nothing ran: from {newest[:40]} at least, to {unit.at}"
        unit.attend("CLOCK_JUMP", detail, cause="clock", actor="clock")
    elif is_moment(newest):
        passed = from_text(unit.at) - from_text(newest)
        unit.transaction.forget_jumps_back(round((passed.total_seconds() + CLOCK_JUMP_SECONDS) * 1000))


def task_died(command: AttemptFailed, unit: Unit) -> None:
    """A task that concerns no order will not be tried again without a person."""
    task = command.task
    cause = f"{task.effect}:{task.id}"
    facts: Facts = {"task": task.id, "effect": task.effect, "outcome": "dead", "attempts": task.attempts, "error": command.error}
    unit.note("effect", facts, cause=cause, intent_id=task.intent_id)
    if command.code != "INTENT_NOT_FOUND":  # The sweep goes on asking for what Dojo does not know, and calls a person in time (O8).
        unit.attend(command.code, decisions.given_up(command), cause=cause, intent_id=task.intent_id)
