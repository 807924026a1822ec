"""What an attempt says of its destination, beside what it says of its own task: pauses, probes, the end of an outage, attention.

A destination that refuses our credentials (U4), or twenty calls alike in a row (U20), pauses: nothing for it dies, one task a minute
probes, and the first call that it takes sets everything going; after refused credentials any answer about a call itself does.
The first call that it takes after an outage makes what waits due (U18).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from workflow import venue
from workflow.commands import AttemptFailed, PauseDestination, Result
from workflow.conduct import Conduct
from workflow.effects import DOJO, TILL
from workflow.journal.port import StoredTask
from workflow.retries import Sign
from workflow.unit import PAUSE_CODES, Unit

GARBAGE_CODES = {DOJO: "DOJO_GARBAGE"}
"""The till's words are never read: it has none."""

REDIRECT_CODES = {DOJO: "REDIRECT", TILL: "TILL_REDIRECT"}


def weigh(command: Result, stored: StoredTask, unit: Unit) -> tuple[Result, StoredTask]:
    """Note what a failed attempt says of its destination; what becomes of the task may be something else then."""
    if isinstance(command, PauseDestination):
        return _denied(command, stored, unit)
    return (_failed(command, stored, unit) if isinstance(command, AttemptFailed) else command), stored


def _denied(command: PauseDestination, stored: StoredTask, unit: Unit) -> tuple[Result, StoredTask]:
    """Our credentials were refused: everything waits, unless this task was the reason before, and others were taken since."""
    if unit.is_paused(command.task.destination):
        return command, stored  # A probe: it says nothing of its own task.
    stored, at_ms = stored._replace(refusals=stored.refusals + 1), command.next_at_ms
    if stored.refusals == 1:
        return command, stored
    return AttemptFailed(task=command.task, error=command.error, next_at_ms=at_ms, not_before_ms=at_ms or 0, sign=Sign.ALONE), stored


def _failed(command: AttemptFailed, stored: StoredTask, unit: Unit) -> Result:
    """What the failure says is noted; a task is not given up for its age while its destination pauses."""
    is_about_call = command.sign in (Sign.REFUSED, Sign.ALONE, Sign.UNKNOWN)
    if is_about_call:
        _knows_us(command, unit)
    if command.sign is Sign.REFUSED and command.next_at_ms is None:
        return _refused(command, unit)
    destination, task = command.task.destination, command.task
    if not is_about_call and command.next_at_ms is None and unit.is_paused(destination):
        command = replace(command, next_at_ms=unit.now_ms + unit.settings.probe_ms)
    before = unit.transaction.conduct(destination)
    after = before if command.sign in (Sign.ALONE, Sign.UNKNOWN) else before.failing(stored.lane)
    if command.sign is Sign.GARBAGE:
        after = after.unreadable(task.id)
    if command.sign is Sign.REDIRECT:
        after = after.led_elsewhere(task.id)
    if command.sign is Sign.UNKNOWN:
        after = after.not_knowing(task.id)
        if after.is_unknown_for_good(task.id, task.attempts):
            command = replace(command, next_at_ms=None)
    if command.next_at_ms is None:
        after = after.without(task.id)
    _keep(destination, before, after, unit, detail=command.error, cause=f"{task.effect}:{task.id}")
    return command


def _knows_us(command: AttemptFailed, unit: Unit) -> None:
    """An answer about the call itself, whichever it is: our credentials are not refused any more."""
    destination = command.task.destination
    detail, cause = f"our credentials are accepted: {command.error}", f"{command.task.effect}:{command.task.id}"
    _relieve_pause(destination, (PAUSE_CODES[destination].auth,), detail, unit, cause=cause)


def _refused(command: AttemptFailed, unit: Unit) -> Result:
    """A call that is refused for what it says is given up, unless everything is refused alike: then it waits, as do those before it."""
    destination, task = command.task.destination, command.task
    before = unit.transaction.conduct(destination)
    after = before.refusing(task.id, command.alike)
    if not unit.transaction.has_venue_attention(PAUSE_CODES[destination].contract):
        if task.id in before.suspects or not after.is_contract:
            after = before.without(task.id) if task.id in before.suspects else after.without(task.id)
            _keep(destination, before, after, unit, detail=command.error, cause=f"{task.effect}:{task.id}")
            return command
        command = replace(command, error=f"{len(after.refused)} calls in a row were refused alike, the last one: {command.error}")
        for task_id in after.refused[:-1]:
            _revive(task_id, command, unit)
    unit.transaction.keep_conduct(destination, after.suspecting(*after.refused))
    probe_at_ms = unit.now_ms + unit.settings.probe_ms
    return PauseDestination(task=task, error=command.error, probe_at_ms=probe_at_ms, next_at_ms=None, is_contract=True)


def _revive(task_id: str, command: AttemptFailed, unit: Unit) -> None:
    """Undo that a task was given up for a refusal which was none of its own."""
    stored = unit.transaction.task(task_id)
    if stored and stored.status == "dead":
        cause = f"{command.task.effect}:{command.task.id}"
        task = replace(stored.task, lease_until_ms=0)
        unit.transaction.put_task(stored._replace(task=task, status="pending"), last_error=command.error)
        venue.bring_back(stored.task, command.error, unit, kind="system", actor="outbox", cause=cause)


def pause(command: PauseDestination, stored: StoredTask, unit: Unit) -> None:
    """Nothing dies, everything for the destination waits, and one task probes."""
    destination = command.task.destination
    unit.put_back(stored, command.probe_at_ms, command.error, status="paused")
    unit.transaction.pause_pending(destination, command.probe_at_ms)
    codes = PAUSE_CODES[destination]
    unit.attend(codes.contract if command.is_contract else codes.auth, command.error, cause=f"{command.task.effect}:{command.task.id}")


def took(stored: StoredTask, unit: Unit) -> None:
    """The destination took a call: what it was accused of is over, and what waited because of it is due."""
    destination, task = stored.task.destination, stored.task
    cause = f"{task.effect}:{task.id}"
    resume(destination, "our calls are taken again", unit, cause=cause)
    before = unit.transaction.conduct(destination)
    after = before.took().without(task.id)
    if after.may_wake(unit.now_ms):
        unit.transaction.wake_waiting(destination, unit.now_ms)
        unit.wake(unit.now_ms)
        after = after.woke(unit.now_ms)
    _keep(destination, before, after, unit, detail="our calls are answered as they should be", cause=cause)


def ended(stored: StoredTask, unit: Unit, *, detail: str, cause: str) -> None:
    """A person stopped the task: whatever its answers were, they say nothing of its destination any more."""
    before = unit.transaction.conduct(stored.task.destination)
    _keep(stored.task.destination, before, before.stopped(stored.task.id), unit, detail=detail, cause=cause)


def resume(destination: str, detail: str, unit: Unit, *, cause: str) -> None:
    """The destination took a call, or nothing is sent to it any more: whatever was paused is due."""
    _relieve_pause(destination, PAUSE_CODES[destination], detail, unit, cause=cause)


def _relieve_pause(destination: str, codes: Iterable[str], detail: str, unit: Unit, *, cause: str) -> None:
    """These are no reason to pause any more; where none is left, whatever was paused is due, and has not aged meanwhile."""
    if not unit.is_paused(destination):
        return
    for code in codes:
        unit.relieve(code, detail, cause=cause)
    if not unit.is_paused(destination):
        unit.transaction.resume_paused(destination, unit.now_ms)
        unit.transaction.make_young(destination, unit.now_ms, unit.settings.horizon_ms)
        unit.wake(unit.now_ms)


def forget(destination: str, unit: Unit) -> None:
    """Nothing is sent there any more: nobody will be asked whether anything is better."""
    resume(destination, "nothing is sent there any more", unit, cause="start")
    _keep(destination, unit.transaction.conduct(destination), Conduct(), unit, detail="nothing is sent there any more", cause="start")


def begin(destination: str, unit: Unit) -> None:
    """At start: the clock may have been set while nothing ran, so that no moment of the last process means much."""
    unit.transaction.make_young(destination, unit.now_ms, unit.settings.horizon_ms)
    conduct = unit.transaction.conduct(destination)
    if conduct.woke_at_ms:
        unit.transaction.keep_conduct(destination, replace(conduct, woke_at_ms=0))


def _keep(destination: str, before: Conduct, after: Conduct, unit: Unit, *, detail: str, cause: str) -> None:
    """Store what is known now, and call a person, or call off, where that changes what is wrong."""
    if after == before:
        return
    unit.transaction.keep_conduct(destination, after)
    for codes, was, now in (
        (GARBAGE_CODES, before.is_garbage, after.is_garbage),
        (REDIRECT_CODES, bool(before.redirected), bool(after.redirected)),
    ):
        if was != now and (code := codes.get(destination)):
            (unit.attend if now else unit.relieve)(code, detail, cause=cause)
