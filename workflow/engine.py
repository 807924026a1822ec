"""Command in, decision out, written in one transaction; effects are handed over after the commit.

Everybody's commands come through `handle`: Dojo's requests and events, the till's, an operator's, the outbox's results, the sweep.
Recovery after a crash is the same loop. What is decided is in `decisions.py` and `requests.py`, how it is stored in `unit.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from msgspec.structs import replace as replace_part

from workflow import bookings, decisions, destinations, fingerprints, requests, stopping, venue
from workflow.bill import Personal
from workflow.case import Decision, Machines
from workflow.clock import Clock, SteadyClock, WallClock, to_text
from workflow.commands import (
    AmendOrder,
    AttemptFailed,
    BookingRequest,
    CancelOrder,
    Command,
    CreateOrder,
    EffectTaken,
    EraseGuest,
    EraseOrder,
    ExtendLock,
    IntentRead,
    LockOrder,
    MigrateOrder,
    OpenOrder,
    OrderRequest,
    PauseDestination,
    ReceiveEvent,
    RecordPayment,
    RefuseOrder,
    ReleaseLock,
    ReportProgress,
    Request,
    ResolveOrder,
    Result,
    StopTask,
    Unsent,
    VenueRequest,
)
from workflow.effects import DESTINATIONS, ReadIntent, Task
from workflow.entry import Facts
from workflow.errors import LogHeld, Refused, short
from workflow.journal.port import Journal, ParkedLinks, Receipt, Seen, StoredTask, Transaction
from workflow.lock_times import LockTimes
from workflow.offer import Offer
from workflow.order import Order
from workflow.ports import IntentId, OrderId, PaymentIntent
from workflow.reconcile import LINK_CHARACTERS, STATUS_CHARACTERS, Doubt, has_money, money_of
from workflow.record_payment import is_repeat, record_payment
from workflow.repeats import Again, Repeats
from workflow.retries import LONGEST_WAIT_MS
from workflow.unit import VENUE, Outcome, Unit, UnitSettings

logger = logging.getLogger(__name__)

DUPLICATE = "duplicate"
UNKEPT = "not kept"
"""In the place of the hash of personal data that are kept only if what they came with is not refused."""
LOG_WAITS, LOG_WAIT_S = 20, 0.1
"""So often, and so long after another, the log is tried to be emptied while somebody reads the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings(UnitSettings):
    """What the engine needs to know beside what writing does: whose events count (empty: anybody's), and random salts."""

    account_ids: frozenset[str]
    new_salt: Callable[[], str]


class Engine:
    """Takes commands; see `handle`. `hand_over` gets tasks that were born leased, `wake` the time of a task that waits.

    `acknowledge` gets the receipt of a command, in the caller's thread, before `handle` returns.
    """

    def __init__(self, journal: Journal, machines: Machines, clock: Clock, settings: EngineSettings) -> None:
        self._journal, self._machines, self._clock, self._settings = journal, machines, clock, settings
        self._steady = SteadyClock(clock)
        self._offer, self._repeats, self._lock_times = Offer(), Repeats(), LockTimes()
        self._wall, self._noticing = WallClock(clock), threading.Lock()
        self.acknowledge: Callable[[Receipt], None] = lambda receipt: None
        self.hand_over: Callable[[Task], None] = lambda task: None
        self.wake: Callable[[int], None] = lambda at_ms: None

    def handle(self, command: Command) -> Outcome:
        """Decide one command and store the decision, durable on return; send nothing.

        The same idempotency key again changes nothing and returns the order as it is now. Raises UnknownOrder, UnknownTask,
        UnknownBooking, JournalUnavailable; nothing is changed then. Any other refusal is a decision like any other and is in the outcome.
        """
        self._notice_jump()
        outcome = self._journal.write(lambda transaction: self._counted(command, transaction))
        if outcome.receipt:
            self.acknowledge(outcome.receipt)
        return outcome

    def note_repeat(self, command: Request, order_id: str) -> None:
        """Count that a request about the order came again, for people; does not wait for the writer."""
        self._repeats.note(Again(command.source, command.idempotency_key, order_id), to_text(self._clock.now()))

    def erase(self, command: EraseOrder | EraseGuest) -> Outcome:
        """As `handle`; on return nothing of the personal data is in the journal's files either.

        Raises LogHeld, besides, where somebody who reads the journal does not let go of its log in time: it is erased, the same again
        takes it from the log.
        """
        outcome = self.handle(command)
        waits = 0 if outcome.refusal else LOG_WAITS
        for wait in range(waits):
            if self._journal.empty_log():
                break
            if wait == waits - 1:
                raise LogHeld
            time.sleep(LOG_WAIT_S)
        return outcome

    def now_ms(self) -> int:
        """The moment by which tasks are due and leases end, in milliseconds since 1970; a wall clock that is set does not move it."""
        return self._steady.now_ms()

    def claim_due(self, limit: int, destinations: Collection[str] = DESTINATIONS) -> list[Task]:
        """Lease up to `limit` due tasks of each destination, one a lane, oldest first: retries, probes, and tasks whose lease ran out."""
        self._notice_jump()
        return self._journal.write(lambda transaction: _claim_due(self._unit(transaction), limit, destinations))

    def next_due_ms(self) -> int | None:
        """When the next waiting task is due, or a lease runs out; None where nothing waits."""
        return self._journal.write(lambda transaction: _next_due_ms(self._unit(transaction)))

    def recover_leases(self) -> None:
        """At start, when this process alone owns the journal: what an earlier one had leased is due at once, and no wait is endless."""
        self._journal.write(lambda transaction: _release_leases(self._unit(transaction)))

    def _notice_jump(self) -> None:
        """Before anything is decided by a wall clock that jumped: say so in the journal."""
        if not self._wall.jump():
            return
        with self._noticing:
            if by := self._wall.jump():
                is_back = self._wall.is_back(by)
                stood = self._journal.write(lambda transaction: venue.clock_jumped(by, self._unit(transaction), is_back=is_back))
                self._wall.follow(by, is_first=not stood)
                logger.error("clock jumped", extra={"seconds": round(by, 3)})

    def _unit(self, transaction: Transaction) -> Unit:
        return Unit(
            transaction,
            self._machines,
            self._clock,
            self._settings,
            now_ms=self._steady.now_ms(),
            jump_ms=round(self._wall.jump() * 1000),
            hand_over=self.hand_over,
            wake=self.wake,
        )

    def _counted(self, command: Command, transaction: Transaction) -> Outcome:
        taken = self._repeats.store(transaction)
        try:
            return self._receipted(command, self._unit(transaction))
        except BaseException:  # Whatever ends the transaction: what was counted is not stored, and must not be forgotten.
            self._repeats.restore(taken)
            raise

    def _receipted(self, command: Command, unit: Unit) -> Outcome:
        outcome = self._handle(command, unit)
        receipt = unit.receipt
        if receipt is None and outcome.order and outcome.refusal is None:  # What was asked for is so already: the newest entry says it.
            receipt = unit.transaction.receipt(outcome.order.id, outcome.order.order_seq)
        return replace(outcome, receipt=receipt) if receipt else outcome

    def _handle(self, command: Command, unit: Unit) -> Outcome:
        if isinstance(command, Result):
            return self._result(command, unit)
        if isinstance(command, OrderRequest):
            return self._order_request(command, unit)
        if isinstance(command, MigrateOrder):
            order = unit.order(command.order_id)
            return unit.store(requests.migrate_order(self._machines, order, command, at=unit.at), order)
        if isinstance(command, EraseOrder):
            return self._erase(command, unit)
        if isinstance(command, StopTask):
            return stopping.stop_task(command, unit)
        if isinstance(command, BookingRequest):
            return bookings.handle(command, unit, self._settings.new_salt, self._offer)
        if isinstance(command, VenueRequest):
            return venue.handle(command, unit)
        return self._request(command, unit)

    # -- requests with a key: the same key again changes nothing

    def _request(self, command: Request, unit: Unit) -> Outcome:
        seen = unit.transaction.seen(command.source, command.idempotency_key)
        if seen:
            return self._again(command, seen, unit)
        if isinstance(command, ReceiveEvent):
            order_id, became = self._event(command, unit)
            outcome = Outcome(became=became)
        else:
            outcome, order_id = self._begin(command, unit), command.order_id
        if outcome.refusal is None:
            fingerprint = "" if isinstance(command, ReceiveEvent) else fingerprints.of_order(command, unit.transaction)
            order_seq = unit.receipt.order_seq if unit.receipt and unit.receipt.order_id == order_id else 0
            unit.transaction.remember(command.source, command.idempotency_key, Seen(fingerprint, order_id, order_seq), unit.at)
        return outcome

    def _again(self, command: Request, seen: Seen, unit: Unit) -> Outcome:
        if seen.order_seq:
            unit.receipt = unit.transaction.receipt(seen.order_id, seen.order_seq)  # Unless it leaves something itself.
        if isinstance(command, ReceiveEvent):
            self.note_repeat(command, seen.order_id)
            return Outcome(became=DUPLICATE)
        order = unit.order(seen.order_id)
        if not fingerprints.is_same_order(command, seen, unit.transaction):
            cause = f"{command.source}:{command.idempotency_key}"
            decision = decisions.refuse_reused_key(self._machines, order, at=unit.at, actor=command.actor, cause=cause)
        elif isinstance(command, CreateOrder):
            # What the order has was accepted, and stays so, whatever it pays since (I12).
            added = tuple(told for told in command.payments if told.intent_id not in order.payments)
            if taken := self._taken_by_other(replace(command, payments=added), order.id, unit):
                return taken
            decision = decisions.repeat_order(self._machines, order, command, at=unit.at)
        else:
            decision = Decision(order=order)
        if not decision.entries:
            self.note_repeat(command, seen.order_id)
        return replace(unit.store(decision, order), became="" if decision.refusal else DUPLICATE)

    def _begin(self, command: CreateOrder | OpenOrder, unit: Unit) -> Outcome:
        if isinstance(command, CreateOrder):
            if not venue.is_taking_orders(unit):
                return Outcome(refusal=Refused("the venue is not taking orders now"))
            if not_offered := self._offer.refusal(command.bill, unit.transaction):
                return Outcome(refusal=not_offered)
            if taken := self._taken_by_other(command, command.order_id, unit):
                return taken
        if (other := unit.transaction.order(command.order_id)) is not None:  # An id that the till chose, and Dojo's order has.
            cause = f"{command.source}:{command.idempotency_key}"
            return unit.store(decisions.refuse_reused_key(self._machines, other, at=unit.at, actor=command.actor, cause=cause), other)
        personal_hash = self._keep_personal(command.order_id, command.personal, unit)
        if isinstance(command, CreateOrder):
            intents = [told.intent_id for told in command.payments]
            parked = unit.transaction.parked_for(command.order_id, command.dojo_order_id, intents)
            decision = decisions.create_order(self._machines, command, at=unit.at, personal_hash=personal_hash, parked=parked)
        else:
            parked = unit.transaction.parked_for(command.order_id, None, ())
            decision = decisions.open_order(self._machines, command, at=unit.at, personal_hash=personal_hash, parked=parked)
        return unit.store(decision, None)

    def _keep_personal(self, order_id: str, personal: Personal, unit: Unit) -> str:
        """Keep personal data beside the journal, in the place of what was there; its salted hash, "" where there is none."""
        salt = unit.transaction.personal_salt(order_id)
        if personal == Personal() and not salt:
            return ""
        # One salt until it is erased, though nothing may be left to hash: by it the request is known again that made the order.
        salt = salt or self._settings.new_salt()
        unit.transaction.keep_personal(order_id, salt, personal)
        return fingerprints.hash_of(personal, salt)

    def _taken_by_other(self, command: CreateOrder, order_id: OrderId, unit: Unit) -> Outcome | None:
        intents = [told.intent_id for told in command.payments]
        return self._taken_intent(intents, order_id, command.actor, f"create_order:{command.dojo_order_id}", unit)

    def _taken_intent(self, intents: Iterable[IntentId], order_id: OrderId, actor: str, cause: str, unit: Unit) -> Outcome | None:
        """The refusal, where one of the intents already pays another order than `order_id`."""
        for intent_id in intents:
            owner_id = unit.transaction.order_of_intent(intent_id)
            if owner_id is not None and owner_id != order_id:
                owner = unit.order(owner_id)
                decision = decisions.refuse_taken_intent(self._machines, owner, intent_id, at=unit.at, actor=actor, cause=cause)
                return replace(unit.store(decision, owner), order=None)
        return None

    def _event(self, command: ReceiveEvent, unit: Unit) -> tuple[str, str]:
        """Apply the event to its order, or park it; the id of the order, and what became of the event."""
        order_id = unit.transaction.order_of_intent(command.intent_id)
        is_known = command.event in decisions.EVENTS
        ours = not self._settings.account_ids or command.account_id in self._settings.account_ids
        if order_id and ours:
            order = unit.order(order_id)
            decision = decisions.receive_event(self._machines, order, command, at=unit.at)
            unit.store(decision, order)
            return order_id, decisions.became_of(command, order, decision)
        if order_id and is_known:
            order = unit.order(order_id)
            unit.store(decisions.foreign_event(self._machines, order, command, at=unit.at), order)
            return order_id, "ignored"
        ours = ours and is_known and bool(command.intent_id)  # An event of a kind that Dojo has not published may be about anything.
        if ours:
            unit.transaction.park(command.intent_id, unit.at, unit.now_ms + self._settings.sweep_ms, self._settings.sweep_ms)
        unit.note(
            "event",
            decisions.event_facts(command),
            cause=f"event:{command.event_id}",
            actor=command.actor,
            intent_id=command.intent_id,
            effects=(ReadIntent(command.intent_id),) if ours else (),
        )
        return VENUE, "parked" if ours else "ignored"

    # -- requests to an order that is there: idempotent by its state

    def _order_request(self, command: OrderRequest, unit: Unit) -> Outcome:
        order = unit.order(command.order_id)
        if isinstance(command, RecordPayment) and not is_repeat(order, command):  # What was accepted here stays so, whatever it pays since.
            cause = f"record_payment:{command.order_id}"
            if taken := self._taken_intent([command.intent_id], order.id, command.actor, cause, unit):
                return taken
        decision = self._decide_request(command, order, unit)
        if decision.order and any(entry.kind == "lock" for entry in decision.entries):
            unit.transaction.on_commit(partial(self._lock_times.note, decision.order, unit.at, unit.now_ms))
        return unit.store(decision, order)

    def _decide_request(self, command: OrderRequest, order: Order, unit: Unit) -> Decision:
        machines, at, ran_out = self._machines, unit.at, self._lock_times.ran_out(order, unit.now_ms)
        match command:
            case CancelOrder():
                return requests.cancel_order(machines, order, command, at=at, ran_out=ran_out)
            case LockOrder():
                return requests.lock_order(machines, order, command, at=at, ran_out=ran_out)
            case ExtendLock():
                return requests.extend_lock(machines, order, command, at=at, ran_out=ran_out)
            case ReleaseLock():
                return requests.release_lock(machines, order, command, at=at, ran_out=ran_out)
            case RecordPayment():
                return record_payment(machines, order, command, at=at, ran_out=ran_out)
            case AmendOrder():
                return self._amend(command, order, unit, ran_out=ran_out)
            case ReportProgress():
                return requests.report_progress(machines, order, command, at=at, ran_out=ran_out)
            case RefuseOrder():
                return requests.refuse_order(machines, order, command, at=at, ran_out=ran_out)
            case ResolveOrder():
                return requests.resolve_order(machines, order, command, at=at)
            case _:
                assert_never(command)

    def _amend(self, command: AmendOrder, order: Order, unit: Unit, *, ran_out: bool) -> Decision:
        kept = unit.transaction.personal(order.id) if order.personal_hash else Personal()
        said = command.personal
        if replace_part(said, display_name=None) == Personal():  # Whoever says nothing of the customer leaves that as it is.
            said = replace_part(kept, display_name=said.display_name)
        amend = partial(requests.amend_order, self._machines, order, command, at=unit.at, ran_out=ran_out)
        if said == kept or order.erasure:
            return amend(personal_hash=order.personal_hash)
        trial = amend(personal_hash=UNKEPT)
        return trial if trial.refusal else amend(personal_hash=self._keep_personal(order.id, said, unit))

    def _erase(self, command: EraseOrder, unit: Unit) -> Outcome:
        order = unit.order(command.order_id)
        kinds = unit.transaction.personal(order.id).kinds()
        ran_out = self._lock_times.ran_out(order, unit.now_ms)
        decision = requests.erase_order(self._machines, order, command, kinds=kinds, at=unit.at, ran_out=ran_out)
        if decision.refusal is None:
            unit.transaction.forget_personal(order.id)
            fingerprints.forget_order(order, unit.transaction)
        return unit.store(decision, order)

    # -- results of the outbox: fenced, and in one transaction with the end of their task

    def _result(self, command: Result, unit: Unit) -> Outcome:
        task = command.task
        stored = unit.transaction.task(task.id)
        if stored is None or stored.status != "leased" or stored.task.fence != task.fence:
            return Outcome()  # Somebody else took the task over meanwhile; this result is late.
        if task.is_paced:
            unit.paced_since_ms = task.lease_until_ms - self._settings.lease_ms
        if isinstance(command, AttemptFailed | PauseDestination):
            unit.transaction.note_attempt(stored.task, unit.at, command.error)
        command, stored = destinations.weigh(command, stored, unit)
        if isinstance(command, Unsent):
            unsent = replace(stored.task, attempts=stored.task.attempts - 1)  # It was counted for a call that nobody made.
            unit.put_back(stored._replace(task=unsent), unit.now_ms, "", not_before_ms=unit.now_ms)
        elif isinstance(command, PauseDestination):
            destinations.pause(command, stored, unit)
        elif isinstance(command, AttemptFailed) and command.next_at_ms is not None:
            unit.put_back(stored, command.next_at_ms, command.error, not_before_ms=command.not_before_ms)
        else:
            self._end_task(command, stored, unit)
        unit.lease_next(stored.lane)
        return Outcome()

    def _end_task(self, command: Result, stored: StoredTask, unit: Unit) -> None:
        failed = isinstance(command, AttemptFailed)
        error = command.error if isinstance(command, AttemptFailed) else ""
        unit.transaction.put_task(stored._replace(status="dead" if failed else "done"), last_error=error, done_at=unit.at)
        if not failed:
            destinations.took(stored, unit)
        task = command.task
        match command:
            case IntentRead():
                self._intent_read(command, unit)
            case EffectTaken():
                order = unit.order(task.order_id)
                is_last = not unit.transaction.has_dead_task(order.id, "", besides=task.effect, up_to=task.order_seq)
                unit.store(decisions.effect_taken(self._machines, order, command, at=unit.at, is_last=is_last), order)
            case AttemptFailed() if task.order_id != VENUE:
                order = unit.order(task.order_id)
                unit.store(decisions.effect_dead(self._machines, order, command, at=unit.at), order)
            case AttemptFailed():
                venue.task_died(command, unit)

    def _intent_read(self, command: IntentRead, unit: Unit) -> None:
        if found := resolve(command.intent, unit.transaction):
            order = unit.order(found[0])
            is_last = not unit.transaction.read_is_to_come(order.id, command.intent.id)
            older = unit.transaction.older_read(order.id, command.intent.id)
            doubt = Doubt(stood_ms=unit.age_ms(older.since), told=older.told) if older else None
            others = frozenset(found[1:])
            decision = decisions.intent_read(self._machines, order, command, others, at=unit.at, is_last=is_last, doubt=doubt)
            unit.store(decision, order)
            unit.transaction.unpark(command.intent.id)
            for code in ("ORPHAN_EVENT", "PAID_NOT_ON_TILL", "OUTBOX_DEAD"):
                _relieve(command.intent, code, f"it pays order {order.id}", unit)
            return
        intent = command.intent
        _relieve(intent, "OUTBOX_DEAD", "it can be read", unit)
        named = intent.external_id or intent.dojo_order_id
        if not named:  # Otherwise it names an order that is not here: that stands (O8).
            _relieve(intent, "ORPHAN_EVENT", "it can be read, and names no order", unit)
        if named and has_money(intent) and unit.transaction.has_venue_attention("ORPHAN_EVENT", intent.id):
            detail = f"Dojo took {money_of(intent)} by intent {intent.id} for order {short(named)}, which is not here"
            unit.attend("PAID_NOT_ON_TILL", detail, cause=f"read:{intent.id}", intent_id=intent.id)
        else:
            _relieve(intent, "PAID_NOT_ON_TILL", f"it reads {intent.status[:STATUS_CHARACTERS]}", unit)
        unit.transaction.note_links(intent.id, ParkedLinks(external_id=intent.external_id, dojo_order_id=intent.dojo_order_id))
        facts: Facts = {
            "task": command.task.id,
            "outcome": "done",
            "status": intent.status[:STATUS_CHARACTERS],
            "externalId": intent.external_id and intent.external_id[:LINK_CHARACTERS],
            "dojoOrderId": intent.dojo_order_id and intent.dojo_order_id[:LINK_CHARACTERS],
        }
        unit.note("check", facts, cause=f"read:{intent.id}", intent_id=intent.id)


def _relieve(intent: PaymentIntent, code: str, detail: str, unit: Unit) -> None:
    """What was wrong with an intent that no order explained is over."""
    unit.relieve(code, detail, cause=f"read:{intent.id}", intent_id=intent.id)


def _release_leases(unit: Unit) -> None:
    venue.clock_before_the_journal(unit)
    # The clock may have been set while nothing ran: whatever it says, nothing waits longer than it ever may.
    unit.transaction.limit_waits(unit.now_ms, LONGEST_WAIT_MS, venue.SWEEP_CAP_MS)
    for destination in DESTINATIONS:
        if destination not in unit.settings.destinations:
            destinations.forget(destination, unit)
        unit.transaction.release_leases(destination, unit.now_ms, "paused" if unit.is_paused(destination) else "pending")
        destinations.begin(destination, unit)


def _claim_due(unit: Unit, limit: int, destinations: Collection[str]) -> list[Task]:
    asked = [destination for destination in unit.settings.destinations if destination in destinations]
    return [unit.lease(stored, is_paced=True) for destination in asked for stored in _due(destination, unit, limit)]


def _due(destination: str, unit: Unit, limit: int) -> list[StoredTask]:
    if unit.is_paused(destination):
        return unit.transaction.due_probes(destination, unit.now_ms)
    return unit.transaction.due_tasks(destination, unit.now_ms, limit)


def _next_due_ms(unit: Unit) -> int | None:
    due = [unit.transaction.next_due_ms(destination) for destination in unit.settings.destinations]
    return min((at_ms for at_ms in due if at_ms is not None), default=None)


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
    if found == hits[:1]:
        return found
    return [hit for hit in found if not _is_detached(transaction, hit, intent)] or found


def _is_detached(transaction: Transaction, order_id: OrderId, intent: PaymentIntent) -> bool:
    """A person took the intent off this order: it pays another one, where there is another."""
    order = transaction.order(order_id)
    payment = order.payments.get(intent.id) if order else None
    return payment is not None and payment.detached


def _known(transaction: Transaction, order_id: str) -> OrderId | None:
    return OrderId(order_id) if transaction.order(order_id) else None
