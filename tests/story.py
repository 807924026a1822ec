"""One order's story for unit tests of decisions: acts go in one after another, and what was decided about each is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.builders import MACHINES, a_bill, an_intent
from workflow.bill import Personal
from workflow.case import Decision
from workflow.commands import (
    AmendOrder,
    AttemptFailed,
    CancelOrder,
    CreateOrder,
    EffectTaken,
    IntentRead,
    LockOrder,
    OpenOrder,
    ReceiveEvent,
    RefuseOrder,
    ReleaseLock,
    ReportProgress,
    ResolveOrder,
    ToldPayment,
)
from workflow.decisions import create_order, effect_dead, effect_taken, intent_read, open_order, receive_event, repeat_order
from workflow.effects import Task
from workflow.order import Order
from workflow.requests import amend_order, cancel_order, lock_order, refuse_order, release_lock, report_progress, resolve_order

AT = "2026-03-14T12:00:00.000Z"
LATER = "2026-03-14T13:00:00.000Z"


def a_task(effect="read_intent", intent_id="pi_1", order_seq=1):
    return Task(
        id=f"o1.{order_seq}.0",
        effect=effect,
        order_id="o1",
        intent_id=intent_id,
        order_seq=order_seq,
        attempts=1,
        fence=1,
        created_at_ms=0,
        lease_until_ms=0,
    )


@dataclass
class Story:
    """One order and everything that was decided about it; each act returns its decision."""

    order: Order | None = None
    acts: list[Decision] = field(default_factory=list)

    def act(self, decision):
        self.acts.append(decision)
        self.order = decision.order
        return decision

    def create(self, *parts, captured=False, total=1000, dojo_order_id="dojo-1", parked=(), tips=None):
        told = tuple(ToldPayment(intent_id=f"pi_{number}", paid=part, tips=tips) for number, part in enumerate(parts, start=1))
        command = CreateOrder(
            order_id="o1",
            dojo_order_id=dojo_order_id,
            bill=a_bill(total),
            personal=Personal(),
            payments=told,
            captured=captured,
        )
        if self.order:
            return self.act(repeat_order(MACHINES, self.order, command, at=AT))
        return self.act(create_order(MACHINES, command, at=AT, personal_hash="", parked=parked))

    def open(self, *, total=1000, parked=()):
        command = OpenOrder(order_id="o1", key="o1", bill=a_bill(total), personal=Personal(), actor="till:till-1")
        return self.act(open_order(MACHINES, command, at=AT, personal_hash="", parked=parked))

    def event(self, status, intent_id="pi_1", *, event_id="evt_1"):
        command = ReceiveEvent(
            channel="capability",
            event_id=event_id,
            event="payment_intent.status_updated",
            account_id="acc_1",
            intent_id=intent_id,
            status=status,
        )
        return self.act(receive_event(MACHINES, self.order, command, at=AT))

    def read(self, status="Captured", intent_id="pi_1", *, others=frozenset(), **intent):
        command = IntentRead(task=a_task(intent_id=intent_id), intent=an_intent(intent_id, status=status, **intent))
        return self.act(intent_read(MACHINES, self.order, command, others, at=AT))

    def tell_dojo(self, order_seq=None):
        seq = self.order.order_seq if order_seq is None else order_seq
        task = a_task("order_updated", "", seq)
        return self.act(effect_taken(MACHINES, self.order, EffectTaken(task=task), at=AT))

    def give_up(self, effect="read_intent", code="OUTBOX_DEAD", intent_id="pi_1"):
        command = AttemptFailed(task=a_task(effect, intent_id), error="404", next_at_ms=None, code=code)
        return self.act(effect_dead(MACHINES, self.order, command, at=AT))

    def cancel(self):
        return self.act(cancel_order(MACHINES, self.order, CancelOrder(order_id="o1"), at=AT))

    def refuse(self):
        return self.act(refuse_order(MACHINES, self.order, RefuseOrder(order_id="o1", reason="no fish", actor="till:till-1"), at=AT))

    def report(self, status):
        command = ReportProgress(order_id="o1", status=status, actor="till:till-1")
        return self.act(report_progress(MACHINES, self.order, command, at=AT))

    def amend(self, bill):
        command = AmendOrder(order_id="o1", bill=bill, personal=Personal(), actor="till:till-1")
        return self.act(amend_order(MACHINES, self.order, command, at=AT, personal_hash=""))

    def lock(self):
        return self.act(lock_order(MACHINES, self.order, LockOrder(order_id="o1", lock_id="lock_1", expires_at=LATER), at=AT))

    def unlock(self):
        return self.act(release_lock(MACHINES, self.order, ReleaseLock(order_id="o1", lock_id="lock_1"), at=AT))

    def resolve(self, action, intent_id=""):
        command = ResolveOrder(order_id="o1", action=action, reason="seen", actor="operator:ann", intent_id=intent_id)
        return self.act(resolve_order(MACHINES, self.order, command, at=AT))


def created(*parts, **how):
    """An order of 10.00 that Dojo created with payments of these sums, authorised."""
    story = Story()
    story.create(*(parts or (1000,)), **how)
    return story


def settled(*parts, **how):
    """An order whose payments were all read as captured, and of which Dojo was told."""
    story = created(*parts, **how)
    for number, part in enumerate(parts or (1000,), start=1):
        story.read("Captured", f"pi_{number}", paid=part)
    story.tell_dojo()
    return story


def a_tab(*parts, status="Captured", total=1000):
    """A bill opened at the till, with intents that were read in this status."""
    story = Story()
    story.open(total=total)
    for number, part in enumerate(parts, start=1):
        story.read(status, f"pi_{number}", paid=part)
    if story.order.counted:
        story.tell_dojo()
    return story


def steps(decision):
    """The transitions of a decision: (machine, trigger, from, to), without the kitchen's."""
    moves = [entry for entry in decision.entries if entry.kind == "transition" and entry.machine_name != "fulfilment"]
    return [(entry.machine_name, entry.trigger, entry.from_state, entry.to_state) for entry in moves]


def triggers(decision):
    return [(machine, trigger) for machine, trigger, _, _ in steps(decision)]


def codes(order):
    return sorted(item.code for item in order.attention)


def states(order):
    return order.state, [payment.state for _, payment in sorted(order.payments.items())]
