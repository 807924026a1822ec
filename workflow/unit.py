"""One transaction's writing: a decision's entries, the order as they leave it, and the tasks that its effects become."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from workflow.bill import Personal
from workflow.booking import Booking, Guest
from workflow.case import Decision, Machines
from workflow.clock import Clock, from_text, to_text
from workflow.effects import DOJO, TILL, Effect, Task, destination_of
from workflow.entry import Entry, Facts, Json
from workflow.errors import Refused, UnknownOrder, short
from workflow.journal.port import Receipt, Since, StoredTask, Transaction
from workflow.order import Order

logger = logging.getLogger(__name__)

READ_AGAIN = "read_again"
"""What a person does who wants a payment read now."""

VENUE = ""
"""The order id of entries that concern no order."""


class PauseCodes(NamedTuple):
    """Attention while nothing is sent to a destination but a probe: it refuses our credentials, or every call alike."""

    auth: str
    contract: str


PAUSE_CODES = {DOJO: PauseCodes("DOJO_AUTH", "DOJO_CONTRACT"), TILL: PauseCodes("TILL_AUTH", "TILL_CONTRACT")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the caller answers with: the order or booking as it is now, its personal data, and the refusal where there is one."""

    order: Order | None = None
    personal: Personal = Personal()
    booking: Booking | None = None
    guest: Guest = Guest()
    refusal: Refused | None = None
    receipt: Receipt | None = None
    """For the last entry that the command left; of a message that came again, for that of the first time.

    Where an order was as it was asked to be already, and nothing was left, for its newest entry.
    """
    became: str = ""
    """What became of an event, or that a request was a repeat, in one word for the metrics; "" where there is nothing to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSettings:
    """What writing needs to know: which effects somebody sends, the lease, how often a destination that refuses us is probed, the sweep.

    No task grows older than `horizon_ms` that is tried in vain. After `orphan_alarm_ms` a person is called about an intent that no order
    explains, after `paid_alarm_ms` about money that Dojo took and that is not on the till.
    """

    sends: frozenset[str]
    lease_ms: int
    probe_ms: int
    sweep_ms: int
    horizon_ms: int
    orphan_alarm_ms: int
    paid_alarm_ms: int

    @property
    def destinations(self) -> tuple[str, ...]:
        """Where anything is sent at all; what waits for another destination goes on waiting."""
        return tuple(sorted({destination_of(name) for name in self.sends}))


class Unit:
    """The writing of one command. `hand_over` gets tasks that were leased, `wake` the time of one that waits, both after the commit.

    `at` is what an entry says, by the wall clock; `now_ms` is what is due, leased and waited for by, see `SteadyClock`. Where this is
    the answer to a call that had waited for its turn, `paced_since_ms` is when that was made: whatever it brings about, and what waited
    behind it, waits for its own turn behind all that waits already, so that an outage's end makes no more calls a second than later
    attempts may be (U18). By `jump_ms` the wall clock jumped just now, which nobody has noted yet.
    """

    def __init__(
        self,
        transaction: Transaction,
        machines: Machines,
        clock: Clock,
        settings: UnitSettings,
        *,
        now_ms: int,
        jump_ms: int,
        hand_over: Callable[[Task], None],
        wake: Callable[[int], None],
    ) -> None:
        self.transaction, self.machines, self.settings = transaction, machines, settings
        self.at, self.now_ms = to_text(clock.now()), now_ms
        self._jump_ms, self._hand_over, self._wake = jump_ms, hand_over, wake
        self.paced_since_ms: int | None = None
        self.receipt: Receipt | None = None

    def order(self, order_id: str) -> Order:
        """The order as stored. Raises UnknownOrder."""
        order = self.transaction.order(order_id)
        if order is None:
            raise UnknownOrder(f"no order {short(order_id)}")
        return order

    def age_ms(self, since: Since | None) -> int:
        """How long ago the entry was written: by the wall clock that dated it, less what that has jumped since (T1, T2); 0 for none.

        Where it was set while nothing ran, nobody saw that: set on, it is a long stop; set back, the age may be too small, or negative.
        """
        if since is None:
            return 0
        passed = from_text(self.at) - from_text(since.at)
        return round(passed.total_seconds() * 1000) - self.transaction.jumped_ms(since.seq) - self._jump_ms

    def store(self, decision: Decision, before: Order | None) -> Outcome:
        """Write the decision; the outcome carries the order as it is now."""
        order = decision.order
        assert order is not None
        if decision.entries:
            self.receipt = self.transaction.append(self._with_tasks(decision.entries, decision.effects))
            self.transaction.save(order, before)
            self._watch(order, before)
            for entry in decision.entries:
                self._say(entry)
        personal = self.transaction.personal(order.id) if order.personal_hash else Personal()
        return Outcome(order=order, personal=personal, refusal=decision.refusal)

    def note(
        self,
        kind: str,
        facts: Facts,
        *,
        cause: str,
        actor: str = "outbox",
        trigger: str = "",
        intent_id: str = "",
        effects: Sequence[Effect] = (),
    ) -> None:
        """Append an entry that concerns no order."""
        entry = Entry(
            order_id=VENUE,
            order_seq=self.transaction.last_venue_seq() + 1,
            at=self.at,
            kind=kind,
            trigger=trigger,
            payment_intent_id=intent_id,
            actor=actor,
            cause=cause,
            body=facts,
        )
        receipt = self.transaction.append(self._with_tasks((entry,), effects))
        if self.receipt is None or self.receipt.order_id == VENUE:  # What an order has to say of a command says more.
            self.receipt = receipt
        self._say(entry)

    def _say(self, entry: Entry) -> None:
        """Attention has a line in the log, once it is durable."""
        if entry.kind == "attention":
            self.transaction.on_commit(partial(_log_attention, entry))

    def attend(self, code: str, detail: str, *, cause: str, intent_id: str = "", actor: str = "outbox") -> None:
        """Raise attention that concerns no order, once."""
        if self.transaction.raise_venue_attention(code, intent_id, self.at, detail):
            self.note("attention", {"code": code, "detail": detail}, cause=cause, trigger="raise", intent_id=intent_id, actor=actor)

    def relieve(self, code: str, detail: str, *, cause: str, intent_id: str = "", actor: str = "outbox") -> None:
        """Clear attention that concerns no order."""
        if self.transaction.clear_venue_attention(code, intent_id):
            self.note("attention", {"code": code, "detail": detail}, cause=cause, trigger="clear", intent_id=intent_id, actor=actor)

    def is_paused(self, destination: str) -> bool:
        """The destination refuses us, or everything alike: what is for it waits."""
        return any(self.transaction.has_venue_attention(code) for code in PAUSE_CODES[destination])

    def lease(self, stored: StoredTask, *, is_paced: bool = False) -> Task:
        """Count the attempt, raise the fence, and hand the task over once this is durable; `is_paced` where it was claimed in its turn."""
        task = replace(
            stored.task,
            attempts=stored.task.attempts + 1,
            fence=stored.task.fence + 1,
            lease_until_ms=self.now_ms + self.settings.lease_ms,
            is_paced=is_paced,
        )
        self.transaction.put_task(stored._replace(task=task, status="leased"))
        self.transaction.on_commit(partial(self._hand_over, task))
        return task

    def begin(self, stored: StoredTask) -> None:
        """Lease a task that nobody tried yet where its lane is free; where its destination pauses it waits, perhaps to probe."""
        if self.is_paused(stored.task.destination):
            self.put_back(stored, self.now_ms, "")
        elif self.transaction.lane_is_busy(stored.lane):
            self.transaction.put_task(stored)
        elif self.paced_since_ms is not None:
            self.put_back(stored, self.now_ms, "", not_before_ms=self.now_ms)
        else:
            self.lease(stored)

    def lease_next(self, lane: str) -> None:
        """Lease the oldest waiting task of a lane that has become free; what was put off, or is as old, waits for its turn."""
        if self.transaction.lane_is_busy(lane) or not (waiting := self.transaction.next_in_lane(lane, self.now_ms)):
            return
        if waiting.task.was_put_off or self._waited(waiting.task):
            self.wake(self.now_ms)
        else:
            self.lease(waiting)

    def put_back(self, stored: StoredTask, at_ms: int, error: str, *, not_before_ms: int = 0, status: str = "pending") -> None:
        """Let the task wait until `at_ms`, and whatever happens until `not_before_ms`; where the destination pauses, it may be a probe."""
        if self.is_paused(stored.task.destination):
            status, at_ms = "paused", max(at_ms, self.now_ms + self.settings.probe_ms)
        task = replace(stored.task, lease_until_ms=not_before_ms)
        self.transaction.put_task(stored._replace(task=task, status=status, next_at_ms=at_ms), last_error=error)
        self.wake(at_ms)

    def wake(self, at_ms: int) -> None:
        """Something is due at `at_ms`."""
        self.transaction.on_commit(partial(self._wake, at_ms))

    def _with_tasks(self, entries: tuple[Entry, ...], effects: Sequence[Effect]) -> tuple[Entry, ...]:
        """Enqueue the effects; the last entry names the task that serves each, so that replay can rebuild the outbox."""
        last = entries[-1]
        wanted = [effect for effect in effects if effect.name in self.settings.sends]
        if not wanted:
            return entries
        tasks: list[Json] = []
        for number, effect in enumerate(wanted):
            task = self._enqueue(effect, last, number)
            tasks.append({"id": task.id, "effect": task.effect, "intent": task.intent_id})
        return (*entries[:-1], replace(last, body={**last.body, "tasks": tasks}))

    def _enqueue(self, effect: Effect, entry: Entry, number: int) -> Task:
        """A new task, born leased where its lane is free; or the waiting one for the same effect, which then speaks of this entry too."""
        lane = lane_of(effect, entry.order_id)
        if waiting := self.transaction.waiting_task(lane, effect.name, effect.intent_id):
            self.transaction.renew_task(waiting.task.id, entry.order_seq, self.now_ms)
            if self._waited(waiting.task) and (stored := self.transaction.task(waiting.task.id)) and not stored.task.was_put_off:
                self.put_back(stored, self.now_ms, "", not_before_ms=self.now_ms)  # It is young again, and still waits for its turn.
            if entry.trigger == READ_AGAIN:
                self._hasten(waiting.task.id)
            return waiting.task
        task = Task(
            id=f"{entry.order_id or 'venue:'}.{entry.order_seq}.{number}",  # No order's id has a colon.
            effect=effect.name,
            order_id=entry.order_id,
            intent_id=effect.intent_id,
            order_seq=entry.order_seq,
            attempts=0,
            fence=0,
            created_at_ms=self.now_ms,
            lease_until_ms=0,
        )
        stored = StoredTask(task, lane=lane, status="pending", next_at_ms=self.now_ms)
        self.begin(stored)
        return task

    def _waited(self, task: Task) -> bool:
        """This is the answer to a call that had waited for its turn, and the task was there before that was made."""
        return self.paced_since_ms is not None and task.created_at_ms < self.paced_since_ms

    def _hasten(self, task_id: str) -> None:
        """A person wants to know now: the task is due, unless its destination pauses, or asked for longer."""
        stored = self.transaction.task(task_id)
        if stored and stored.status == "pending":
            at_ms = max(self.now_ms, stored.task.lease_until_ms)
            self.transaction.put_task(stored._replace(next_at_ms=min(stored.next_at_ms, at_ms)))
            self.wake(at_ms)

    def _watch(self, order: Order, before: Order | None) -> None:
        """Have the sweep look after payments that are open, and leave alone those that are not any more."""
        old = before.payments if before else {}
        for intent_id, payment in order.payments.items():
            if payment.detached and payment == old.get(intent_id):
                continue  # It may pay another order, which looks after it now.
            is_watched = order.is_watched(intent_id)
            was_watched = before.is_watched(intent_id) if before and intent_id in old else None
            if payment != old.get(intent_id) or is_watched != was_watched or (before and before.is_final != order.is_final):
                if is_watched:
                    self.transaction.watch(intent_id, order.id, self.now_ms + self.settings.sweep_ms, self.settings.sweep_ms)
                else:
                    self.transaction.unwatch(intent_id)


def _log_attention(entry: Entry) -> None:
    facts = {
        "order_id": entry.order_id,
        "payment_intent_id": entry.payment_intent_id,
        "order_seq": entry.order_seq,
        "code": entry.body["code"],
    }
    if entry.trigger == "raise":
        logger.error("attention raised", extra=facts)
    else:
        logger.info("attention cleared", extra=facts)


def lane_of(effect: Effect, order_id: str) -> str:
    """What has one task under way at a time: an order, at each destination by itself; or an intent that no order explains."""
    if destination_of(effect.name) == TILL:
        return f"{TILL}:{order_id}"  # No order's id has a colon.
    return order_id or f"intent:{effect.intent_id}"
