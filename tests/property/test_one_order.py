"""One order under random interleavings of two customers, a waiter, the till, Dojo's lock and an operator, beside a cashier's paper.

Events come late, twice, out of order or never; a read may be answered by a copy of Dojo's that lags, or not at all; an intent may disagree.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.builders import Venue, a_bill, an_intent, gbp, walks
from workflow.bill import Personal
from workflow.clock import to_text
from workflow.commands import (
    AmendOrder,
    CancelOrder,
    ExtendLock,
    LockOrder,
    RecordPayment,
    RefuseOrder,
    ReleaseLock,
    ReportProgress,
    ResolveOrder,
    Sweep,
    ToldPayment,
)
from workflow.errors import OrderLocked
from workflow.order import FINAL_STATES
from workflow.ports import IntentId, OrderId
from workflow.replay import replay, verify

PAYERS = ("pi_anna", "pi_ben", "pi_waiter")
STATUSES = ("Accepted", "Preparing", "Prepared", "Ready", "Finalized")
ODD = 7
"""So many pennies the total of an intent is off that does not agree with itself."""
_numbers = itertools.count(1)


@dataclass
class Line:
    """What the cashier writes of one payment: what Dojo said in words, and then only what it answers when asked.

    `thanked` are the words that were accepted.
    """

    told: tuple[int, int] | None = None
    thanked: list[RecordPayment] = field(default_factory=list)
    read: tuple[int, int, int] | None = None
    odd: tuple[int, int, int] | None = None
    in_doubt: bool = False
    accepted: bool = False
    crossed_out: bool = False
    as_of: str = ""

    def answered(self, intent):
        """Dojo was asked: `intent` is what it said, None where it knows of none."""
        if intent is None:
            self.in_doubt, self.odd = True, None
        elif intent.updated_at >= self.as_of:
            self.as_of = intent.updated_at
            self.in_doubt = intent.status not in ("Reversed", "Canceled") and is_odd(intent) and not self.accepted
            self.crossed_out |= intent.status in ("Reversed", "Canceled")
            took = (intent.amount.value, intent.tips.value, intent.refunded) if intent.status in ("Captured", "Refunded") else None
            self.odd = took if self.in_doubt else None
            self.read = self.read if self.in_doubt else took or self.read

    def accept(self):
        """A person says that it counts although it is odd."""
        self.read, self.in_doubt, self.accepted, self.odd = self.odd or self.read, False, True, None

    def sums(self):
        """Paid and tips; a refund takes from the bill first, then from the tip."""
        if self.crossed_out or (self.read is None and (self.told is None or self.in_doubt)):
            return 0, 0
        paid, tip, back = self.read or (*self.told, 0)
        return max(0, paid - back), min(tip, paid + tip - back)


def is_odd(intent):
    return intent.total.value != intent.amount.value + intent.tips.value


class OneOrder(RuleBasedStateMachine):
    """`world` is Dojo's book, each intent's newest state last; `paper` is the cashier's; `letters` are events on their way."""

    folder: Path

    @initialize(total=st.integers(1, 20), flow=st.sampled_from(["pay_only", "event", "inline"]), odd=st.booleans())
    def open(self, total, flow, odd):
        self.id = OrderId(f"tab-{next(_numbers)}")
        (self.folder / self.id).mkdir()
        self.venue = Venue(self.folder / self.id)
        self.names = {payer: f"{self.id}-{payer}" for payer in PAYERS}
        self.world, self.paper, self.letters, self.unknown = {}, {}, [], set()
        self.left, self.locked_until = False, self.venue.clock.now()
        if flow == "pay_only":
            self.venue.open(self.id, total=100 * total)
            return
        name = self.names[PAYERS[0]]
        self.begin(name, "Authorized", 100 * total, 0, odd)
        self.venue.create(
            self.id, payments=(ToldPayment(intent_id=IntentId(name), paid=100 * total),), captured=flow == "inline", total=100 * total
        )
        self.paper[name].told = (100 * total, 0) if flow == "inline" else None

    # -- at Dojo

    def begin(self, name, status, amount, tip, odd):
        intent = an_intent(name, status=status, paid=amount, tips=tip, external_id=self.id, updated_at=self.moment())
        self.world[name] = [replace(intent, total=gbp(amount + tip + ODD)) if odd else intent]
        self.paper[name] = Line()

    def moment(self):
        self.venue.clock.move(0.001)
        return to_text(self.venue.clock.now())

    def now_at_dojo(self, payer, *statuses):
        """The payer's intent, if it is so."""
        states = self.world.get(self.names[payer])
        return states[-1] if states and states[-1].status in statuses else None

    def change(self, intent, *, lost=False, **changes):
        """The intent moves on; its event is posted, or lost for good."""
        changed = replace(intent, **changes, updated_at=self.moment())
        self.world[intent.id].append(changed)
        if not lost:
            self.letters.append((f"evt-{next(_numbers)}", intent.id, changed.status))

    @rule(payer=st.sampled_from(PAYERS), amount=st.integers(1, 1500), tip=st.integers(0, 200), odd=st.booleans())
    def begin_to_pay(self, payer, amount, tip, odd):
        name = self.names[payer]
        if name not in self.world:
            self.begin(name, "Created", amount, tip, odd)
            self.letters.append((f"evt-{next(_numbers)}", name, "Created"))

    @rule(payer=st.sampled_from(PAYERS), held=st.booleans(), lost=st.booleans())
    def pay(self, payer, held, lost):
        if intent := self.now_at_dojo(payer, "Created", "Authorized"):
            self.change(intent, lost=lost, status="Authorized" if held and intent.status == "Created" else "Captured")

    @rule(payer=st.sampled_from(PAYERS))
    def give_up(self, payer):
        if intent := self.now_at_dojo(payer, "Created", "Authorized"):
            self.change(intent, status="Canceled" if intent.status == "Created" else "Reversed")

    @rule(payer=st.sampled_from(PAYERS), share=st.integers(1, 4))
    def refund(self, payer, share):
        if intent := self.now_at_dojo(payer, "Captured"):
            whole = intent.amount.value + intent.tips.value
            back = whole if share == 4 else min(whole, intent.refunded + whole // 4)
            self.change(intent, status="Refunded" if back == whole else "Captured", refunded=back)

    @rule(payer=st.sampled_from(PAYERS), tip=st.integers(0, 200), lost=st.booleans())
    def tip_otherwise(self, payer, tip, lost):
        if (intent := self.now_at_dojo(payer, "Captured")) and not intent.refunded:
            self.change(intent, lost=lost, tips=gbp(tip), total=gbp(intent.total.value - intent.tips.value + tip))

    @rule(payer=st.sampled_from(PAYERS))
    def straighten(self, payer):
        """Dojo mends an intent that did not agree with itself, and says nothing."""
        if (intent := self.now_at_dojo(payer, "Created", "Authorized", "Captured")) and is_odd(intent):
            self.change(intent, lost=True, total=gbp(intent.amount.value + intent.tips.value))

    @rule(payer=st.sampled_from(PAYERS))
    def forget_or_find(self, payer):
        """Dojo does not know the intent, until it does again."""
        self.unknown ^= {self.names[payer]}

    # -- between Dojo and us

    @precondition(lambda self: self.letters)
    @rule(which=st.integers(0, 99), copies=st.integers(1, 3), channel=st.sampled_from(["capability", "webhook"]))
    def deliver(self, which, copies, channel):
        event_id, name, status = self.letters.pop(which % len(self.letters))
        for copy in range(copies):  # The second with the same id, the third with another.
            self.venue.event(name, status, event_id=event_id + "b" * (copy // 2), channel=channel)

    @rule(many=st.integers(1, 5), lags=st.booleans())
    def work(self, many, lags):
        for _ in range(many):
            self.perform(lags=lags)

    def perform(self, *, lags=False):
        """Do what waits longest. Dojo's copy that lags is one state behind."""
        if not self.venue.tasks:
            return False
        task = self.venue.tasks.popleft()
        states = [] if task.intent_id in self.unknown else self.world.get(task.intent_id, [])
        seen = states[-2 if lags and len(states) > 1 else -1] if states else None
        knows = task.intent_id in self.venue.order(self.id).payments
        self.venue.perform(task, {task.intent_id: seen} if seen else {})
        if task.intent_id in self.paper and (knows or seen):
            self.paper[task.intent_id].answered(seen)
        return True

    # -- Dojo and the till at the order

    @rule(total=st.integers(1, 2500))
    def amend(self, total):
        before = self.venue.order(self.id)
        refusal = self.venue.engine.handle(AmendOrder(order_id=self.id, bill=a_bill(total), personal=Personal(), actor="till:t")).refusal
        after = self.venue.order(self.id)
        assert isinstance(refusal, OrderLocked) == (self.venue.clock.now() < self.locked_until)
        assert after.total.value == (before.total.value if refusal else total)
        assert after.counted == before.counted

    @rule(status=st.sampled_from(STATUSES))
    def report(self, status):
        before = self.venue.order(self.id)
        refused = self.venue.engine.handle(ReportProgress(order_id=self.id, status=status, actor="till:t")).refusal
        assert self.venue.order(self.id).status == (before.status if refused else status)

    @rule(minutes=st.integers(1, 30), how=st.sampled_from([LockOrder, ExtendLock]))
    def lock(self, minutes, how):
        until = self.venue.clock.now() + timedelta(minutes=minutes)
        if not self.venue.engine.handle(how(order_id=self.id, lock_id="lock", expires_at=to_text(until))).refusal:
            self.locked_until = until.replace(microsecond=until.microsecond // 1000 * 1000)

    @rule()
    def another_lock(self):
        """Nobody else gets it while it lives."""
        if self.venue.clock.now() < self.locked_until:
            until = to_text(self.locked_until + timedelta(hours=1))
            assert self.venue.engine.handle(LockOrder(order_id=self.id, lock_id="other", expires_at=until)).refusal

    @rule()
    def unlock(self):
        if not self.venue.engine.handle(ReleaseLock(order_id=self.id, lock_id="lock")).refusal:
            self.locked_until = self.venue.clock.now()

    @rule()
    def take_over_and_leave(self):
        """Another card machine takes a lock that ran out, and releases it: a person hears of it until then."""
        held = self.venue.order(self.id).lock
        if held is None or held.released or self.venue.clock.now() < self.locked_until:
            return
        until = to_text(self.venue.clock.now() + timedelta(minutes=5))
        if not self.venue.engine.handle(LockOrder(order_id=self.id, lock_id="other", expires_at=until)).refusal:
            assert self.venue.order(self.id).has_attention("LOCK_STALE")
            self.venue.engine.handle(ReleaseLock(order_id=self.id, lock_id="other"))
            assert not self.venue.order(self.id).has_attention("LOCK_STALE")

    @rule(minutes=st.integers(1, 30))
    def wait(self, minutes):
        self.venue.clock.move(60 * minutes)

    @rule(how=st.sampled_from([CancelOrder, RefuseOrder]), die=st.integers(1, 12))
    def end(self, how, die):
        if die > 1:
            return  # Seldom: most bills are paid.
        extra = {"reason": "no more fish", "actor": "till:t"} if how is RefuseOrder else {}
        self.venue.engine.handle(how(order_id=self.id, **extra))

    @rule(payer=st.sampled_from(PAYERS), lock_id=st.sampled_from(["", "lock", "other"]), lost=st.booleans())
    def record(self, payer, lock_id, lost):
        """A card machine took the money and Dojo says so in words; what is a conflict, it gives back."""
        if not (intent := self.now_at_dojo(payer, "Captured")):
            return
        before, line = self.venue.order(self.id), self.paper[intent.id]
        known, figures = before.payments.get(intent.id), (intent.amount.value, intent.tips.value)
        if known and known.was_accepted and figures not in (line.told, (known.paid, known.tips)):
            return  # It was accepted with another tip: a conflict, and one that Dojo makes.
        command = RecordPayment(order_id=self.id, intent_id=intent.id, paid=intent.amount, tips=intent.tips, lock_id=lock_id)
        refused, after = self.venue.engine.handle(command).refusal, self.venue.order(self.id)
        assert not (refused and (line.told or after.payments[intent.id].was_accepted)), "a false conflict"
        assert refused or after.paid == before.paid or after.paid.value <= after.total.value
        if refused:
            line.crossed_out = True
            self.change(intent, lost=lost, status="Refunded", refunded=intent.amount.value + intent.tips.value)
        else:
            line.told = line.told or figures
            line.thanked.append(command)

    @rule(payer=st.sampled_from(PAYERS))
    def record_again(self, payer):
        """Whatever was accepted once is accepted for ever, and changes nothing."""
        before = self.venue.order(self.id)
        for command in self.paper.get(self.names[payer], Line()).thanked:
            assert not self.venue.engine.handle(command).refusal, "a false conflict"
        assert self.venue.order(self.id) == before

    # -- an operator

    @rule(payer=st.sampled_from(PAYERS), action=st.sampled_from(["read_again", "accept_difference", "detach_payment", "acknowledge"]))
    def resolve(self, payer, action):
        name = self.names[payer]
        command = ResolveOrder(order_id=self.id, action=action, reason="looked it up", actor="operator:o", intent_id=name)
        refused = self.venue.engine.handle(command).refusal
        if action not in ("read_again", "acknowledge") and not refused:  # Those two change nothing on the paper.
            assert self.paper[name].in_doubt
            if action == "accept_difference":
                self.paper[name].accept()
            else:
                assert self.paper[name].sums() == (0, 0)
                self.paper[name].crossed_out = True

    # -- the end of the day

    def teardown(self):
        """The journal is whole in the end, and explains the order."""
        if hasattr(self, "venue"):
            try:
                self.settle()
                for payer in PAYERS:
                    self.tip_otherwise(payer, 201, lost=False)  # More than anybody gave before.
                    self.settle()
                    self.record_again(payer)
            finally:
                self.venue.close()
            assert verify(self.venue.reads, self.venue.witness, self.venue.key.public_key(), self.venue.clock).first_bad is None
            assert replay(self.venue.reads).mismatches == []

    @rule()
    def settle(self):
        """All letters come but those that were lost, and the sweep reads what is open: the paper is then what Dojo's book says."""
        for event_id, name, status in self.letters:
            self.venue.event(name, status, event_id=event_id)
        self.letters = []
        for _ in range(2):
            for _ in range(200):
                if not self.perform():
                    break
            assert not self.venue.tasks, "the outbox does not drain"
            self.venue.clock.move(7 * 3600)  # Longer than the longest interval of the sweep: nothing needs the events that were lost.
            self.venue.engine.handle(Sweep(limit=1000))
        while self.perform():
            pass
        self.sums_agree_with_the_paper_and_a_final_state_is_final()
        order = self.venue.order(self.id)
        for name, line in self.paper.items():
            truth = self.world[name][-1]
            if name not in self.unknown and not (line.crossed_out or line.in_doubt):
                took = (truth.amount.value, truth.tips.value, truth.refunded) if truth.status in ("Captured", "Refunded") else None
                assert line.read == took, (name, order)
            if line.in_doubt and name in order.payments and not line.crossed_out:
                assert any(item.payment_intent_id == name for item in order.attention), order
            if name not in self.unknown:
                assert not (name in order.payments and order.payments[name].is_refused), "what was refused went back, and is over"

    @rule()
    def sweep(self):
        """Time has gone by: what Dojo took and nobody could read calls a person."""
        self.venue.engine.handle(Sweep(limit=1000))

    @invariant()
    def a_person_is_called_about_nothing_that_is_over(self):
        order = self.venue.order(self.id)
        for item in order.attention:
            if item.code == "PAID_NOT_ON_TILL":
                assert order.payments[item.payment_intent_id].is_taken_at_dojo, order
            assert not (item.code in ("PAID_NOT_ON_TILL", "LOCK_STALE", "UNDERPAID") and order.is_final), order

    @invariant()
    def sums_agree_with_the_paper_and_a_final_state_is_final(self):
        order = self.venue.order(self.id)
        lines = [line.sums() for line in self.paper.values()]
        assert (order.paid.value, order.tips.value) == (sum(paid for paid, _ in lines), sum(tip for _, tip in lines)), order
        assert not (self.left and order.state != self.left)
        self.left = order.state if order.state in FINAL_STATES else False
        assert not (order.is_payable and order.paid.value >= order.total.value)


@pytest.fixture(scope="module")
def journals():
    """Every example has a journal of its own, or the sweep of one would read what another left open."""
    with tempfile.TemporaryDirectory() as folder:
        OneOrder.folder = Path(folder)
        yield


@pytest.mark.usefixtures("journals")
class TestOneOrder(OneOrder.TestCase):
    settings = settings(
        max_examples=walks(40),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
