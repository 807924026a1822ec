"""Command in, decision out, written in one transaction; effects are handed over after the commit.

Dojo's requests, events, the till's requests and the outbox's results all come through `handle`; recovery after a crash is the same
loop. What is decided is in `decisions.py`; here it is stored.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from workflow import decisions
from workflow.bill import Personal
from workflow.case import Decision, Machines
from workflow.clock import Clock, to_text
from workflow.commands import (
    AttemptFailed,
    Command,
    CreateOrder,
    EffectTaken,
    IntentRead,
    OpenOrder,
    ReceiveEvent,
    Request,
    Result,
)
from workflow.effects import Effect, ReadIntent, Task
from workflow.entry import Entry, Facts, Json
from workflow.errors import Refused
from workflow.journal.port import Journal, ParkedLinks, Seen, StoredTask, Transaction
from workflow.ledger import canonical
from workflow.order import Order
from workflow.ports import OrderId, PaymentIntent

VENUE = ""
"""The order id of entries that concern no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the caller answers with: the order as it is now, its personal data, and the refusal where there is one."""

    order: Order | None = None
    personal: Personal = Personal()
    refusal: Refused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What the engine needs to know: the effects that somebody sends, the lease, whose events count, and random salts."""

    sends: frozenset[str]
    lease_ms: int
    account_ids: frozenset[str]
    new_salt: Callable[[], str]


class Engine:
    """Takes commands; see `handle`. `hand_over` gets tasks that were born leased, `wake` the time of a task that waits."""

    def __init__(self, journal: Journal, machines: Machines, clock: Clock, settings: EngineSettings) -> None:
        self._journal, self._machines, self._clock, self._settings = journal, machines, clock, settings
        self.hand_over: Callable[[Task], None] = lambda task: None
        self.wake: Callable[[int], None] = lambda at_ms: None

    def handle(self, command: Command) -> Outcome:
        """Decide one command and store the decision, durable on return; send nothing.

        The same idempotency key again changes nothing and returns the order as it is now. Raises JournalUnavailable; the order
        is then unchanged. A refusal is a decision like any other and comes back in the outcome.
        """
        return self._journal.write(partial(self._handle, command))

    def claim_due(self, limit: int) -> list[Task]:
        """Lease up to `limit` tasks that are due, one a lane, oldest first: retries, and tasks whose lease ran out."""
        return self._journal.write(partial(self._claim_due, limit))

    def next_due_ms(self) -> int | None:
        """When the next waiting task is due, or a lease runs out; None where nothing waits."""
        return self._journal.write(lambda transaction: transaction.next_due_ms())

    def recover_leases(self) -> None:
        """At start, when this process alone owns the journal: what an earlier one had leased is due at once."""
        self._journal.write(lambda transaction: transaction.release_leases(self._now_ms()))

    def _handle(self, command: Command, transaction: Transaction) -> Outcome:
        at = to_text(self._clock.now())
        match command:
            case IntentRead() | EffectTaken() | AttemptFailed():
                return self._result(command, transaction, at)
            case CreateOrder() | OpenOrder() | ReceiveEvent():
                return self._request(command, transaction, at)
            case _:
                assert_never(command)

    # -- requests: each has a key, and the same key again changes nothing

    def _request(self, command: Request, transaction: Transaction, at: str) -> Outcome:
        fingerprint = _fingerprint(command, transaction.secret)
        seen = transaction.seen(command.source, command.idempotency_key)
        if seen:
            return self._again(command, seen, fingerprint, transaction, at)
        match command:
            case ReceiveEvent():
                order_id = self._event(command, transaction, at)
                outcome = Outcome()
            case _:
                outcome = self._begin(command, transaction, at)
                order_id = command.order_id
        if outcome.refusal is None:
            transaction.remember(command.source, command.idempotency_key, Seen(fingerprint, order_id), at)
        return outcome

    def _again(self, command: Request, seen: Seen, fingerprint: str, transaction: Transaction, at: str) -> Outcome:
        if isinstance(command, ReceiveEvent):
            return Outcome()
        order = _stored(transaction, seen.order_id)
        if not hmac.compare_digest(seen.fingerprint, fingerprint):
            cause = f"{command.source}:{command.idempotency_key}"
            decision = decisions.refuse_reused_key(self._machines, order, at=at, actor=command.actor, cause=cause)
        elif isinstance(command, CreateOrder):
            taken = self._taken_intent(command, transaction, order.id, at)
            if taken:
                return taken
            decision = decisions.repeat_order(self._machines, order, command, at=at)
        else:
            decision = Decision(order=order)
        return self._store(decision, order, transaction)

    def _begin(self, command: CreateOrder | OpenOrder, transaction: Transaction, at: str) -> Outcome:
        personal, personal_hash = command.personal, ""
        if personal != Personal():
            salt = self._settings.new_salt()
            personal_hash = hmac.new(salt.encode(), canonical(personal).encode(), "sha256").hexdigest()
            transaction.keep_personal(command.order_id, salt, personal)
        if isinstance(command, CreateOrder):
            if taken := self._taken_intent(command, transaction, command.order_id, at):
                return taken
            intents = [told.intent_id for told in command.payments]
            parked = transaction.parked_for(None, command.order_id, command.dojo_order_id, intents)
            decision = decisions.create_order(self._machines, command, at=at, personal_hash=personal_hash, parked=parked)
        else:
            parked = transaction.parked_for(None, command.order_id, None, ())
            decision = decisions.open_order(self._machines, command, at=at, personal_hash=personal_hash, parked=parked)
        return replace(self._store(decision, None, transaction), personal=personal)

    def _taken_intent(self, command: CreateOrder, transaction: Transaction, order_id: OrderId, at: str) -> Outcome | None:
        """The refusal, where a payment of the order already pays another one."""
        for told in command.payments:
            owner = transaction.order_of_intent(told.intent_id)
            if owner not in (None, order_id):
                other = _stored(transaction, owner)
                cause = f"create_order:{command.dojo_order_id}"
                decision = decisions.refuse_taken_intent(self._machines, other, told.intent_id, at=at, actor=command.actor, cause=cause)
                return replace(self._store(decision, other, transaction), order=None)
        return None

    def _event(self, command: ReceiveEvent, transaction: Transaction, at: str) -> str:
        """Apply the event to its order, or park it; the id of the order."""
        order_id = transaction.order_of_intent(command.intent_id)
        ours = not self._settings.account_ids or command.account_id in self._settings.account_ids
        if order_id and ours:
            order = _stored(transaction, order_id)
            self._store(decisions.receive_event(self._machines, order, command, at=at), order, transaction)
            return order_id
        effects = (ReadIntent(command.intent_id),) if ours else ()
        if ours:
            transaction.park(command.intent_id, at)
        facts = decisions.event_facts(command)
        self._venue(transaction, at, "event", command.intent_id, f"event:{command.event_id}", facts, actor=command.actor, effects=effects)
        return VENUE

    # -- results of the outbox: fenced, and in one transaction with the end of their task

    def _result(self, command: Result, transaction: Transaction, at: str) -> Outcome:
        task = command.task
        stored = transaction.task(task.id)
        if stored is None or stored.status != "leased" or stored.task.fence != task.fence:
            return Outcome()  # Somebody else took the task over meanwhile; this result is late.
        if isinstance(command, AttemptFailed) and command.next_at_ms is not None:
            self._put_back(stored, command.next_at_ms, command.error, transaction)
        else:
            status, error = ("dead", command.error) if isinstance(command, AttemptFailed) else ("done", "")
            transaction.put_task(stored._replace(status=status), last_error=error, done_at=at)
            self._apply_result(command, transaction, at)
        self._lease_next(stored.lane, transaction)
        return Outcome()

    def _put_back(self, stored: StoredTask, next_at_ms: int, error: str, transaction: Transaction) -> None:
        transaction.put_task(stored._replace(status="pending", next_at_ms=next_at_ms), last_error=error)
        transaction.on_commit(partial(self.wake, next_at_ms))

    def _apply_result(self, command: Result, transaction: Transaction, at: str) -> None:
        match command:
            case IntentRead():
                self._intent_read(command, transaction, at)
            case EffectTaken():
                order = _stored(transaction, command.task.order_id)
                self._store(decisions.effect_taken(self._machines, order, command, at=at), order, transaction)
            case AttemptFailed() if command.task.order_id != VENUE:
                order = _stored(transaction, command.task.order_id)
                self._store(decisions.effect_dead(self._machines, order, command, at=at), order, transaction)
            case AttemptFailed():
                self._venue_dead(command, transaction, at)

    def _intent_read(self, command: IntentRead, transaction: Transaction, at: str) -> None:
        if found := resolve(command.intent, transaction):
            order = _stored(transaction, found[0])
            self._store(decisions.intent_read(self._machines, order, command, frozenset(found[1:]), at=at), order, transaction)
            return
        intent = command.intent
        links = ParkedLinks(external_id=intent.external_id, dojo_order_id=intent.dojo_order_id)
        transaction.note_links(intent.id, links)
        facts: Facts = {
            "task": command.task.id,
            "outcome": "done",
            "status": intent.status[:40],
            "externalId": intent.external_id and intent.external_id[:255],
            "dojoOrderId": intent.dojo_order_id and intent.dojo_order_id[:255],
        }
        self._venue(transaction, at, "check", intent.id, f"read:{intent.id}", facts)

    def _venue_dead(self, command: AttemptFailed, transaction: Transaction, at: str) -> None:
        task = command.task
        cause = f"{task.effect}:{task.id}"
        facts: Facts = {
            "task": task.id,
            "effect": task.effect,
            "outcome": "dead",
            "attempts": task.attempts,
            "error": command.error,
        }
        self._venue(transaction, at, "effect", task.intent_id, cause, facts)
        detail = f"{task.effect} was given up after {task.attempts} attempts: {command.error}"
        if transaction.raise_venue_attention(command.code, task.intent_id, at, detail):
            self._venue(transaction, at, "attention", task.intent_id, cause, {"code": command.code, "detail": detail}, trigger="raise")

    # -- storing

    def _store(self, decision: Decision, before: Order | None, transaction: Transaction) -> Outcome:
        """Write the decision's entries, state and tasks; the outcome carries the order as it is now."""
        order = decision.order
        assert order is not None
        if decision.entries:
            transaction.append(self._with_tasks(decision.entries, decision.effects, transaction))
            transaction.save(order, before)
        personal = transaction.personal(order.id) if order.personal_hash else Personal()
        return Outcome(order=order, personal=personal, refusal=decision.refusal)

    def _venue(
        self,
        transaction: Transaction,
        at: str,
        kind: str,
        intent_id: str,
        cause: str,
        facts: Facts,
        *,
        actor: str = "outbox",
        trigger: str = "",
        effects: Sequence[Effect] = (),
    ) -> None:
        """Append an entry that concerns no order."""
        entry = Entry(
            order_id=VENUE,
            order_seq=transaction.last_venue_seq() + 1,
            at=at,
            kind=kind,
            trigger=trigger,
            payment_intent_id=intent_id,
            actor=actor,
            cause=cause,
            body=facts,
        )
        transaction.append(self._with_tasks((entry,), effects, transaction))

    def _with_tasks(self, entries: tuple[Entry, ...], effects: Sequence[Effect], transaction: Transaction) -> tuple[Entry, ...]:
        """Enqueue the effects; the last entry names the task that serves each, so that replay can rebuild the outbox."""
        last = entries[-1]
        wanted = [effect for effect in effects if effect.name in self._settings.sends]
        if not wanted:
            return entries
        tasks: list[Json] = []
        for number, effect in enumerate(wanted):
            task = self._enqueue(effect, last, number, transaction)
            tasks.append(decisions.task_facts(task))
        return (*entries[:-1], replace(last, body={**last.body, "tasks": tasks}))

    def _enqueue(self, effect: Effect, entry: Entry, number: int, transaction: Transaction) -> Task:
        """A new task, born leased where its lane is free; or the waiting one for the same effect, which then speaks of this entry too."""
        lane = entry.order_id or f"intent:{effect.intent_id}"
        if waiting := transaction.waiting_task(lane, effect.name, effect.intent_id):
            merged = waiting._replace(task=replace(waiting.task, order_seq=entry.order_seq))
            transaction.put_task(merged)
            return merged.task
        now = self._now_ms()
        task = Task(
            id=f"{entry.order_id or 'venue'}.{entry.order_seq}.{number}",
            effect=effect.name,
            order_id=entry.order_id,
            intent_id=effect.intent_id,
            order_seq=entry.order_seq,
            attempts=0,
            fence=0,
            created_at_ms=now,
            lease_until_ms=0,
        )
        stored = StoredTask(task, lane=lane, status="pending", next_at_ms=now)
        if transaction.lane_is_busy(lane):
            transaction.put_task(stored)
        else:
            self._lease(stored, transaction)
        return task

    def _lease(self, stored: StoredTask, transaction: Transaction) -> Task:
        """Count the attempt, raise the fence, and hand the task over once this is durable."""
        task = replace(
            stored.task,
            attempts=stored.task.attempts + 1,
            fence=stored.task.fence + 1,
            lease_until_ms=self._now_ms() + self._settings.lease_ms,
        )
        transaction.put_task(stored._replace(task=task, status="leased"))
        transaction.on_commit(partial(self.hand_over, task))
        return task

    def _lease_next(self, lane: str, transaction: Transaction) -> None:
        if not transaction.lane_is_busy(lane) and (waiting := transaction.next_in_lane(lane, self._now_ms())):
            self._lease(waiting, transaction)

    def _claim_due(self, limit: int, transaction: Transaction) -> list[Task]:
        return [self._lease(stored, transaction) for stored in transaction.due_tasks(self._now_ms(), limit)]

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def resolve(intent: PaymentIntent, transaction: Transaction) -> list[OrderId]:
    """The orders that the intent's links point at, best link first; more than one means that somebody is wrong.

    Source: contract §7.4, in its order: our ledger, `externalId` as our id, Dojo's order id, `externalId` as Dojo's order id,
    the legacy reference.
    """
    hits = [transaction.order_of_intent(intent.id)]
    if intent.external_id:
        hits.append(_known(transaction, intent.external_id))
    if intent.dojo_order_id:
        hits.append(transaction.order_of_dojo_id(intent.dojo_order_id))
    if intent.external_id:
        hits.append(transaction.order_of_dojo_id(intent.external_id))
    found = list(dict.fromkeys(hit for hit in hits if hit))
    if not found and intent.reference:
        found = [hit for hit in [_known(transaction, intent.reference)] if hit]
    return found


def _known(transaction: Transaction, order_id: str) -> OrderId | None:
    return OrderId(order_id) if transaction.order(order_id) else None


def _stored(transaction: Transaction, order_id: str | None) -> Order:
    order = transaction.order(order_id or "")
    assert order is not None, f"order {order_id} is named by a row of this journal"
    return order


def _fingerprint(command: Request, secret: bytes) -> str:
    """What "the same request" means: content without payments; for an event its key is all."""
    if isinstance(command, ReceiveEvent):
        return ""
    content = {"bill": command.bill, "personal": command.personal}
    return hmac.new(secret, canonical(content).encode(), "sha256").hexdigest()
