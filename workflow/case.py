"""One decision under way: the order, its machines, and what piles up until the decision is closed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workflow.declaration import MIGRATE
from workflow.effects import Effect, OrderUpdated, TellTill, effect_named
from workflow.entry import Entry, Facts
from workflow.errors import DeclarationError, Refused
from workflow.guards import GUARDS, Subject
from workflow.lifecycle import ATTENTION, DECLARATIONS, EFFECTS, FULFILMENT, ORDER, PAYMENT, RULES
from workflow.machine import Machine, check_together
from workflow.money import Money
from workflow.order import COUNTED, ENDED, HELD, IGNORED, TAKEN, Order, Payment, evolve
from workflow.ports import IntentId, OrderId

Machines = Mapping[str, Machine]

MISMATCHES = ("AMOUNT_MISMATCH", "CURRENCY_MISMATCH", "EXTERNAL_ID_MISMATCH", "UNKNOWN_STATUS", "INTENT_NOT_FOUND")
STANDING = frozenset(
    {*MISMATCHES, "OVERPAID", "PAID_BUT_CLOSED", "PAID_BUT_REFUSED", "PAYMENT_REFUSED", "CANCEL_PENDING_REVERSAL", "AUTH_EXPIRED"}
)
"""Attention codes that follow from the order as it is: raised while true, cleared by themselves."""

CANCELED = next(row.target for row in FULFILMENT.transitions if row.when == "cancel")
FAILED = next(row.target for row in FULFILMENT.transitions if row.when == "fail")

MAX_STEPS = 20
"""An order never needs more transitions for one message; the property walk shows that none loops."""


def declared_machines() -> Machines:
    """The machines of `lifecycle.py`, checked. Raises DeclarationError."""
    machines = {declaration.name: Machine(declaration, GUARDS, EFFECTS, RULES) for declaration in DECLARATIONS}
    check_together(machines)
    return machines


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

    def migrate(self, name: str, intent_id: str, facts: Facts) -> None:
        """Move what rests in a state of an earlier declaration to the one that takes its place; what ended there stays."""
        machine, state = self.machines[name], self._state(name, intent_id)
        if state in machine.migrated and state not in machine.explained:
            moved = {"machine": machine.ident, "from_state": state, "to_state": machine.migrated[state]}
            self._append(self._entry("transition", trigger=MIGRATE, payment_intent_id=intent_id, body=facts, **moved))

    def attend(self, code: str, detail: str, intent_id: str = "") -> None:
        """Raise attention once. Raises KeyError for a code that is not declared."""
        ATTENTION[code]
        if not self.the_order.has_attention(code, intent_id):
            self.record("attention", {"code": code, "detail": detail}, intent_id=intent_id, trigger="raise")

    def relieve(self, code: str, intent_id: str, detail: str) -> None:
        """Clear attention, where it stands."""
        if self.the_order.has_attention(code, intent_id):
            self.record("attention", {"code": code, "detail": detail}, intent_id=intent_id, trigger="clear")

    def close(self, *, caller_sees: bool = False, till_sees: bool = False, refusal: Refused | None = None) -> Decision:
        """The finished decision: standing attention brought up to date, and Dojo and the till told if what they read changed.

        `caller_sees`: the caller is Dojo and has the order in the reply. `till_sees`: the till has.
        """
        self._stand()
        changed = self.before is None or self.before.visible() != self.the_order.visible()
        if changed and not caller_sees:
            self.want(OrderUpdated())
        if changed and not till_sees:
            self.want(TellTill())
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
        subject = Subject(state, self.order, payment)
        if not machine.allows(trigger, subject):
            return False
        target = machine.fire(trigger, subject)
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
        moved = {"machine": machine.ident, "from_state": state, "to_state": target}
        self._append(self._entry("transition", trigger=trigger, payment_intent_id=intent_id, body=body or {}, order_id=order_id, **moved))
        for effect in machine.effects(trigger, state):
            self.want(effect_named(effect, IntentId(intent_id)))
        if message := machine.declaration.tells.get(trigger):
            self.tell("fulfilment", message)

    def _entry(self, kind: str, *, trigger: str, payment_intent_id: str, body: Facts, order_id: str | None = None, **moved: str) -> Entry:
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
            **moved,
        )

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self.order = evolve(self.order, entry)

    def _stand(self) -> None:
        """Raise what follows from the order as it is, clear what no longer does."""
        order = self.the_order
        wanted = {key: detail for key, detail in _standing(order).items() if not order.is_settled_by_a_person(*key)}
        for item in order.attention:
            key = (item.code, item.payment_intent_id)
            if (item.code in STANDING and key not in wanted) or (item.code in _LINGERING and not _LINGERING[item.code](order, key[1])):
                self.relieve(item.code, item.payment_intent_id, "no longer so")
        for (code, intent_id), detail in wanted.items():
            self.attend(code, detail, intent_id)


def _is_not_on_till(order: Order, intent_id: str) -> bool:
    """Dojo has the money of this payment and nothing else says so; without an intent: the till was not told of money that counts."""
    if not intent_id:
        return order.has_counted
    payment = order.payments[IntentId(intent_id)]
    is_told_otherwise = payment.mismatch or payment.refused_for or order.is_closed
    return payment.is_taken_at_dojo and not is_told_otherwise


_LINGERING: Mapping[str, Callable[[Order, str], bool]] = {
    "PAID_NOT_ON_TILL": _is_not_on_till,
    "UNDERPAID": lambda order, _: order.is_underpaid,
    "LOCK_STALE": lambda order, _: not order.is_final,
}
"""Attention that is raised by time or by an event, and cleared by itself as soon as this is no longer so."""


def overdue(order: Order, intent_id: IntentId, out_of_patience: frozenset[str]) -> dict[tuple[str, str], str]:
    """(code, intent) → detail of what a person is called about because it has been so for too long. A person's word on it stands."""
    found: dict[tuple[str, str], str] = {}
    if "PAID_NOT_ON_TILL" in out_of_patience and _is_not_on_till(order, intent_id):
        found["PAID_NOT_ON_TILL", intent_id] = f"Dojo said that it took the money of intent {intent_id}, and it could not be read since"
    if "UNDERPAID" in out_of_patience and order.is_underpaid:
        found["UNDERPAID", ""] = f"{order.paid} of {order.total} is paid; of intent {intent_id} less was captured than it was made for"
    status = order.payments[intent_id].status
    if "STATUS_LIE" in out_of_patience:
        found["STATUS_LIE", intent_id] = f"Dojo said more of intent {intent_id} than it shows: it reads {status} ever since"
    elif "HOLD" in out_of_patience:
        found["STATUS_LIE", intent_id] = f"intent {intent_id} reads {status} still, and Dojo should have let its hold go by now"
    return {key: detail for key, detail in found.items() if not order.is_settled_by_a_person(*key)}


def _standing(order: Order) -> dict[tuple[str, str], str]:
    """(code, intent) → detail of everything that is wrong with the order as it is."""
    ours = [payment for payment in order.payments.values() if payment.state not in IGNORED]
    wanted = {(p.mismatch, str(p.intent_id)): p.mismatch_detail for p in ours if p.mismatch}
    wanted |= {(p.refused_for, str(p.intent_id)): p.refused_detail for p in order.payments.values() if p.state in IGNORED and p.refused_for}
    if order.paid.value > order.total.value:
        wanted["OVERPAID", ""] = f"{order.paid} is paid on a bill of {order.total}"
    if order.is_final and order.counted:
        wanted["PAID_BUT_CLOSED", ""] = f"{order.paid} counts on an order that is {order.state}"
    if order.status == FAILED and not order.is_final:
        taken = Money(sum(p.gross[0] for p in order.payments.values() if p.state in TAKEN | COUNTED), order.currency)
        wanted["PAID_BUT_REFUSED", ""] = f"the till refused an order for which Dojo took {taken}"
    for payment in filter(ran_out, ours):
        if not order.was_covered(without=payment.intent_id) and order.state not in _CALLED_OFF and order.status != FAILED:
            wanted["AUTH_EXPIRED", payment.intent_id] = f"the hold of intent {payment.intent_id} ran out, and Dojo gave the money back"
    if order.is_final and any(payment.state in HELD for payment in order.payments.values()):
        wanted["CANCEL_PENDING_REVERSAL", ""] = f"the order is {order.state}, and Dojo holds money for it"
    return wanted


_CALLED_OFF = frozenset(row.target for row in ORDER.transitions if row.when in ("cancel", "fail"))


def ran_out(payment: Payment) -> bool:
    """Dojo held money on it and gave it back since nobody captured it in time; an intent that was given up unpaid is no such thing."""
    return payment.state in ENDED and payment.fate == "expired" and payment.status == "Reversed" and not payment.detached


def _ends(machine: Machine, trigger: str) -> bool:
    return any(row.when == trigger and row.target in ENDED for row in machine.declaration.transitions)
