"""What becomes of a command: pure functions from an order and a command to entries, effects and a refusal.

Everything worth arguing about is here and in `lifecycle.py`. Nothing here reads a clock, a store or the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from workflow.commands import AttemptFailed, CreateOrder, EffectTaken, IntentRead, OpenOrder, ReceiveEvent, ToldPayment
from workflow.effects import Effect, OrderUpdated, ReadIntent, Task, effect_named
from workflow.entry import Entry, Facts
from workflow.errors import DeclarationError, KeyReused, Refused, TransitionRefused
from workflow.guards import GUARDS, Subject
from workflow.lifecycle import DECLARATIONS, EFFECTS, ORDER, PAYMENT, RULES
from workflow.machine import Machine
from workflow.order import COUNTED, ENDED, Order, evolve
from workflow.ports import IntentId, OrderId, PaymentIntent
from workflow.reconcile import Verdict, judge

Machines = Mapping[str, Machine]

WORDS = {"Created": "word_created", "Authorized": "word_authorised", "Captured": "word_captured"}
MISMATCHES = ("AMOUNT_MISMATCH", "CURRENCY_MISMATCH", "EXTERNAL_ID_MISMATCH", "UNKNOWN_STATUS", "INTENT_NOT_FOUND")
STANDING = frozenset({*MISMATCHES, "OVERPAID", "PAID_BUT_CLOSED"})
"""Attention codes that follow from the order as it is: raised while true, cleared by themselves."""

MAX_STEPS = 20
"""An order never needs more transitions for one message; the property walk shows that none loops."""


def declared_machines() -> Machines:
    """The machines of `lifecycle.py`, checked. Raises DeclarationError."""
    return {declaration.name: Machine(declaration, GUARDS, EFFECTS, RULES) for declaration in DECLARATIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be stored and sent: all of it in one transaction, or nothing. `refusal` is the caller's answer where there is one."""

    order: Order | None
    entries: tuple[Entry, ...] = ()
    effects: tuple[Effect, ...] = ()
    refusal: Refused | None = None


class Case:
    """One decision under way: entries pile up, and the order moves with each of them through `evolve`."""

    def __init__(self, machines: Machines, order: Order | None, *, at: str, actor: str, cause: str) -> None:
        self.machines, self.order, self.before = machines, order, order
        self._at, self._actor, self._cause = at, actor, cause
        self._entries: list[Entry] = []
        self._effects: dict[Effect, None] = {}

    @property
    def the_order(self) -> Order:
        """The order so far; there is one as soon as it was begun."""
        assert self.order is not None
        return self.order

    def want(self, effect: Effect) -> None:
        """Ask for an effect; asked twice, it is sent once."""
        self._effects[effect] = None

    def record(self, kind: str, facts: Facts, *, intent_id: str = "", trigger: str = "") -> None:
        """Note a fact that is no transition."""
        self._append(self._entry(kind, trigger=trigger, payment_intent_id=intent_id, body=facts))

    def begin(self, order_id: OrderId, facts: Facts) -> None:
        """The first entry of a new order."""
        row = ORDER.transitions[0]
        self._move(self.machines["order"], row.when, "", row.target, order_id=order_id, body=facts)

    def tell(self, name: str, message: str, intent_id: str = "", *, facts: Facts | None = None, fate: str = "") -> str:
        """Give a message to a machine; the outcome is `moved`, or what its policy says. The order follows each step of a payment."""
        machine = self.machines[name]
        moved, start = False, self._state(name, intent_id)
        for effect in machine.asks(message):
            self.want(effect_named(effect, IntentId(intent_id)))
        for trigger in machine.fires(message):
            body = {**(facts or {}), **({"fate": fate} if fate and _ends(machine, trigger) else {})}
            if self._try(machine, trigger, intent_id, body):
                moved = True
                if name == PAYMENT.name:
                    self.follow()
        return "moved" if moved else machine.policy(message, start)

    def follow(self) -> None:
        """Offer the order its triggers, top to bottom, until no guard passes."""
        machine = self.machines["order"]
        for _ in range(MAX_STEPS):
            if not any(self._try(machine, trigger) for trigger in machine.offered(self.the_order.state)):
                return
        raise DeclarationError(f"order {self.the_order.id} does not come to rest: {self.the_order.state} after {MAX_STEPS} steps")

    def attend(self, code: str, detail: str, intent_id: str = "") -> None:
        """Raise attention once."""
        if not any((item.code, item.payment_intent_id) == (code, intent_id) for item in self.the_order.attention):
            self.record("attention", {"code": code, "detail": detail}, intent_id=intent_id, trigger="raise")

    def close(self, *, caller_sees: bool = False, refusal: Refused | None = None) -> Decision:
        """The finished decision: standing attention brought up to date, and Dojo told if what it reads changed.

        `caller_sees`: the caller is Dojo and has the order in the reply.
        """
        self._stand()
        changed = self.before is None or self.before.visible() != self.the_order.visible()
        if changed and not caller_sees:
            self.want(OrderUpdated())
        return Decision(order=self.order, entries=tuple(self._entries), effects=tuple(self._effects), refusal=refusal)

    def _state(self, name: str, intent_id: str) -> str:
        if self.order is None:
            return ""
        if name == PAYMENT.name:
            payment = self.order.payments.get(IntentId(intent_id))
            return payment.state if payment else ""
        return self.order.state if name == ORDER.name else self.order.status

    def _try(self, machine: Machine, trigger: str, intent_id: str = "", body: Facts | None = None) -> bool:
        """Fire the trigger if a row leaves the present state and its guard passes."""
        state = self._state(machine.name, intent_id)
        if not machine.leaves(trigger, state):
            return False
        payment = self.the_order.payments.get(IntentId(intent_id)) if intent_id else None
        try:
            target = machine.fire(trigger, Subject(state, self.order, payment))
        except TransitionRefused:
            return False
        self._move(machine, trigger, state, target, intent_id=intent_id, body=body)
        return True

    def _move(
        self,
        machine: Machine,
        trigger: str,
        state: str,
        target: str,
        *,
        order_id: str | None = None,
        intent_id: str = "",
        body: Facts | None = None,
    ) -> None:
        entry = self._entry("transition", trigger=trigger, payment_intent_id=intent_id, body=body or {}, order_id=order_id)
        self._append(replace(entry, machine=machine.ident, from_state=state, to_state=target))
        for effect in machine.effects(trigger, state):
            self.want(effect_named(effect, IntentId(intent_id)))
        if message := machine.declaration.tells.get(trigger):
            self.tell("fulfilment", message)

    def _entry(self, kind: str, *, trigger: str, payment_intent_id: str, body: Facts, order_id: str | None = None) -> Entry:
        return Entry(
            order_id=order_id or self.the_order.id,
            order_seq=self.order.order_seq + 1 if self.order else 1,
            at=self._at,
            kind=kind,
            trigger=trigger,
            payment_intent_id=payment_intent_id,
            actor=self._actor,
            cause=self._cause,
            body=body,
        )

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.order = evolve(self.order, entry)

    def _stand(self) -> None:
        """Raise what follows from the order as it is, clear what no longer does."""
        order = self.the_order
        wanted = {(p.mismatch, str(p.intent_id)): p.mismatch_detail for p in order.payments.values() if p.mismatch}
        if order.paid.value > order.total.value:
            wanted["OVERPAID", ""] = f"{order.paid} is paid on a bill of {order.total}"
        if order.is_final and order.counted:
            wanted["PAID_BUT_CLOSED", ""] = f"{order.paid} counts on an order that is {order.state}"
        for item in order.attention:
            if item.code in STANDING and (item.code, item.payment_intent_id) not in wanted:
                facts: Facts = {"code": item.code, "detail": "no longer so"}
                self.record("attention", facts, intent_id=item.payment_intent_id, trigger="clear")
        for (code, intent_id), detail in wanted.items():
            self.attend(code, detail, intent_id)


def _ends(machine: Machine, trigger: str) -> bool:
    return any(row.when == trigger and row.target in ENDED for row in machine.declaration.transitions)


def create_order(machines: Machines, command: CreateOrder, *, at: str, personal_hash: str, parked: tuple[IntentId, ...]) -> Decision:
    """A new order from Dojo. `parked` are intents that Dojo spoke of before and that belong to this order: they are read now."""
    case = Case(machines, None, at=at, actor=command.actor, cause=f"create_order:{command.dojo_order_id}")
    flow = "order_and_pay" if command.payments else "pay_later"
    case.begin(command.order_id, _content(command, flow, personal_hash) | {"dojoOrderId": command.dojo_order_id})
    case.tell("fulfilment", "dojo_creates")
    _declare(case, command.payments, captured=command.captured)
    for intent_id in parked:
        case.want(ReadIntent(intent_id))
    return case.close(caller_sees=True)


def repeat_order(machines: Machines, order: Order, command: CreateOrder, *, at: str) -> Decision:
    """The same CreateOrder again: the order as it is now, with those payments added that it did not have (contract §8.7)."""
    new = tuple(told for told in command.payments if told.intent_id not in order.payments)
    if not new:
        return Decision(order=order)
    case = Case(machines, order, at=at, actor=command.actor, cause=f"create_order:{command.dojo_order_id}")
    _declare(case, new, captured=command.captured)
    return case.close(caller_sees=True)


def open_order(machines: Machines, command: OpenOrder, *, at: str, personal_hash: str, parked: tuple[IntentId, ...]) -> Decision:
    """A new bill from the till; Dojo is told."""
    case = Case(machines, None, at=at, actor=command.actor, cause=f"open_order:{command.idempotency_key}")
    case.begin(command.order_id, _content(command, "pay_only", personal_hash))
    case.tell("fulfilment", "till_opens")
    for intent_id in parked:
        case.want(ReadIntent(intent_id))
    return case.close()


def refuse_reused_key(machines: Machines, order: Order, *, at: str, actor: str, cause: str) -> Decision:
    """The same key with other content: 409, and a person finds out which of the two was meant (D2)."""
    case = Case(machines, order, at=at, actor=actor, cause=cause)
    case.attend("KEY_REUSE", f"{cause} came again with other content; the first is kept")
    return case.close(caller_sees=True, refusal=KeyReused(f"{cause}: the same id came before with other content (order {order.id})"))


def refuse_taken_intent(machines: Machines, owner: Order, intent_id: IntentId, *, at: str, actor: str, cause: str) -> Decision:
    """A new order names an intent that pays another one: 409 (contract §8.7)."""
    case = Case(machines, owner, at=at, actor=actor, cause=cause)
    case.attend("PAYMENT_CONFLICT", f"{cause} names intent {intent_id}, which pays this order", intent_id)
    return case.close(caller_sees=True, refusal=Refused(f"payment intent {intent_id} belongs to order {owner.id}"))


def receive_event(machines: Machines, order: Order, command: ReceiveEvent, *, at: str) -> Decision:
    """An event about a payment of this order: it may move the payment forward, counts nothing, and asks for a read."""
    case = Case(machines, order, at=at, actor=command.actor, cause=f"event:{command.event_id}")
    case.record("event", event_facts(command), intent_id=command.intent_id)
    case.tell("payment", WORDS.get(command.status, "word_ended"), command.intent_id)
    return case.close()


def event_facts(command: ReceiveEvent) -> Facts:
    """What an entry keeps of an event; texts are cut, so that nobody fills the journal with one."""
    return {
        "event": command.event[:80],
        "id": command.event_id,
        "channel": command.channel,
        "status": command.status[:40],
        "accountId": command.account_id,
    }


def intent_read(machines: Machines, order: Order, command: IntentRead, others: frozenset[OrderId], *, at: str) -> Decision:
    """A read payment intent that belongs to this order: the only way for money to become reconciled (I10)."""
    intent = command.intent
    case = Case(machines, order, at=at, actor="outbox", cause=f"read:{intent.id}")
    if intent.id not in order.payments:
        case.tell("payment", "declare", intent.id)
    payment = case.the_order.payments[intent.id]
    verdict = judge(intent, order, payment, others)
    holds = verdict.mismatch and payment.state not in COUNTED
    facts = {"task": command.task.id, "outcome": "done", **_check_facts(intent, verdict, holds=bool(holds))}
    case.record("check", facts, intent_id=intent.id)
    if verdict.mismatch and not holds:
        case.attend(verdict.mismatch, verdict.detail, intent.id)
    if case.tell("payment", verdict.message, intent.id, fate=verdict.fate) == "attention" and not verdict.mismatch:
        case.attend("STATUS_LIE", f"intent {intent.id} reads {intent.status}, our payment is {payment.state}", intent.id)
    case.follow()
    return case.close()


def _check_facts(intent: PaymentIntent, verdict: Verdict, *, holds: bool) -> Facts:
    facts: Facts = {
        "status": intent.status[:40],
        "captureMode": intent.capture_mode[:40],
        "externalId": intent.external_id and intent.external_id[:255],
        "mismatch": verdict.mismatch if holds else "",
        "detail": verdict.detail if holds else "",
    }
    if verdict.paid is not None:
        facts |= {"paid": verdict.paid, "tips": verdict.tips, "refunded": verdict.refunded}
    return facts


def effect_taken(machines: Machines, order: Order, command: EffectTaken, *, at: str) -> Decision:
    """Dojo took our `order_updated`, or the till our call."""
    task = command.task
    case = Case(machines, order, at=at, actor="outbox", cause=f"{task.effect}:{task.id}")
    facts: Facts = {"task": task.id, "effect": task.effect, "outcome": "done", "attempts": task.attempts}
    if task.effect == OrderUpdated.name:
        facts["orderSeq"] = task.order_seq
    case.record("effect", facts)
    case.follow()
    return case.close(caller_sees=True)


def effect_dead(machines: Machines, order: Order, command: AttemptFailed, *, at: str) -> Decision:
    """An effect will not be tried again without a person."""
    task = command.task
    case = Case(machines, order, at=at, actor="outbox", cause=f"{task.effect}:{task.id}")
    facts: Facts = {"task": task.id, "effect": task.effect, "outcome": "dead", "attempts": task.attempts, "error": command.error}
    case.record("effect", facts, intent_id=task.intent_id)
    if command.code in MISMATCHES and IntentId(task.intent_id) in order.payments:
        case.record("check", {"status": "", "mismatch": command.code, "detail": command.error}, intent_id=task.intent_id)
        case.tell("payment", "read_disagrees", task.intent_id)
    else:
        case.attend("OUTBOX_DEAD", f"{task.effect} was given up after {task.attempts} attempts: {command.error}", task.intent_id)
    case.follow()
    return case.close()


def _content(command: CreateOrder | OpenOrder, flow: str, personal_hash: str) -> Facts:
    facts: Facts = {"flow": flow, "bill": msgspec.to_builtins(command.bill)}
    return facts | {"personal": personal_hash} if personal_hash else facts


def _declare(case: Case, payments: tuple[ToldPayment, ...], *, captured: bool) -> None:
    for told in payments:
        facts: Facts = {"toldPaid": told.paid, "toldTips": told.tips, "inWords": captured}
        case.tell("payment", "declare", told.intent_id, facts=facts)
        case.tell("payment", "word_captured" if captured else "told_authorised", told.intent_id)


def task_facts(task: Task) -> Facts:
    """How an entry names a task that serves it: replay rebuilds the outbox from these."""
    return {"id": task.id, "effect": task.effect, "intent": task.intent_id}
