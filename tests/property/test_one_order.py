"""One order under random interleavings of two customers, the till and refunds: sums always agree with a model of a few lines."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.builders import Venue, a_bill, an_intent
from workflow.bill import Personal
from workflow.clock import to_text
from workflow.commands import AmendOrder, CancelOrder, LockOrder, RefuseOrder, ReleaseLock, ReportProgress, Sweep
from workflow.order import FINAL_STATES
from workflow.ports import OrderId
from workflow.replay import replay, verify

CUSTOMERS = ("pi_anna", "pi_ben")
STATUSES = ("Accepted", "Preparing", "Prepared", "Ready", "Finalized")
_numbers = itertools.count(1)


class OneOrder(RuleBasedStateMachine):
    """The model: `taken` and `back` are what a cashier would write down of each customer's payment at Dojo."""

    venue: Venue

    @initialize(total=st.integers(1, 20))
    def open(self, total):
        self.id = OrderId(f"tab-{next(_numbers)}")
        self.names = {customer: f"{self.id}-{customer}" for customer in CUSTOMERS}
        self.world, self.taken, self.back, self.left = {}, {}, {}, False
        self.venue.open(self.id, total=100 * total)

    def intent(self, customer, *, lost=False, **changes):
        """The intent moves at Dojo; its event comes, or is lost for good."""
        name = self.names[customer]
        self.world[name] = replace(self.world[name], **changes)
        if not lost:
            self.venue.event(name, self.world[name].status)

    @precondition(lambda self: len(self.world) < len(CUSTOMERS))
    @rule(customer=st.sampled_from(CUSTOMERS), amount=st.integers(1, 1500), tip=st.integers(0, 200))
    def begin_to_pay(self, customer, amount, tip):
        name = self.names[customer]
        if name not in self.world:
            self.world[name] = an_intent(name, status="Created", paid=amount, tips=tip, external_id=self.id)
            self.venue.event(name, "Created")

    def has(self, *statuses):
        """The customers whose intent is so."""
        return [customer for customer in CUSTOMERS if (i := self.world.get(self.names[customer])) and i.status in statuses]

    @precondition(lambda self: self.has("Created", "Authorized"))
    @rule(customer=st.sampled_from(CUSTOMERS), held=st.booleans(), lost=st.booleans())
    def pay(self, customer, held, lost):
        intent = self.world.get(self.names[customer])
        if intent and intent.status in ("Created", "Authorized"):
            self.intent(customer, lost=lost, status="Authorized" if held and intent.status == "Created" else "Captured")
            if self.world[intent.id].status == "Captured":
                self.taken[intent.id] = (intent.amount.value, intent.tips.value)

    @precondition(lambda self: self.has("Created", "Authorized"))
    @rule(customer=st.sampled_from(CUSTOMERS))
    def give_up(self, customer):
        intent = self.world.get(self.names[customer])
        if intent and intent.status in ("Created", "Authorized"):
            self.intent(customer, status="Canceled" if intent.status == "Created" else "Reversed")

    @precondition(lambda self: self.has("Captured"))
    @rule(customer=st.sampled_from(CUSTOMERS), share=st.integers(1, 4))
    def refund(self, customer, share):
        intent = self.world.get(self.names[customer])
        if intent and intent.id in self.taken and intent.status == "Captured":
            whole = sum(self.taken[intent.id])
            back = whole if share == 4 else min(whole, self.back.get(intent.id, 0) + whole // 4)
            self.back[intent.id] = back
            self.intent(customer, status="Refunded" if back == whole else "Captured", refunded=back)

    @rule(total=st.integers(1, 2500))
    def amend(self, total):
        before = self.venue.order(self.id)
        command = AmendOrder(order_id=self.id, bill=a_bill(total), personal=Personal(), actor="till:t")
        outcome = self.venue.engine.handle(command)
        after = self.venue.order(self.id)
        assert after.total.value == (before.total.value if outcome.refusal else total)
        assert after.counted == before.counted

    @rule(status=st.sampled_from(STATUSES))
    def report(self, status):
        before = self.venue.order(self.id)
        refused = self.venue.engine.handle(ReportProgress(order_id=self.id, status=status, actor="till:t")).refusal
        assert self.venue.order(self.id).status == (before.status if refused else status)

    @rule(minutes=st.integers(1, 30))
    def lock(self, minutes):
        until = self.venue.clock.now().replace(microsecond=0)
        self.venue.clock.move(60)
        expiry = to_text(until.replace(year=until.year + 1))
        self.venue.engine.handle(LockOrder(order_id=self.id, lock_id=f"lock-{minutes}", expires_at=expiry))
        self.venue.engine.handle(ReleaseLock(order_id=self.id, lock_id=f"lock-{minutes}"))

    @rule(how=st.sampled_from([CancelOrder, RefuseOrder]), die=st.integers(1, 12))
    def end(self, how, die):
        if die > 1:
            return  # Seldom: most bills are paid.
        extra = {"reason": "no more fish", "actor": "till:t"} if how is RefuseOrder else {}
        self.venue.engine.handle(how(order_id=self.id, **extra))

    @rule(many=st.integers(1, 5))
    def work(self, many):
        for _ in range(many):
            if self.venue.tasks:
                self.venue.perform(self.venue.tasks.popleft(), self.world)

    def teardown(self):
        if hasattr(self, "id"):
            self.settle()

    @rule()
    def settle(self):
        self.venue.settle(self.world)
        self.venue.clock.move(7 * 3600)  # Longer than the longest interval of the sweep: nothing needs the events that were lost.
        self.venue.engine.handle(Sweep(limit=1000))
        self.venue.settle(self.world)
        order = self.venue.order(self.id)
        assert (order.paid.value, order.tips.value) == self.on_paper(), order

    def on_paper(self):
        """Paid and tips: a refund takes from the bill first, then from the tip."""
        rows = [(paid, tip, self.back.get(name, 0)) for name, (paid, tip) in self.taken.items()]
        return sum(max(0, paid - back) for paid, _, back in rows), sum(min(tip, paid + tip - back) for paid, tip, back in rows)

    @invariant()
    def sums_agree_with_the_payments_and_a_final_state_is_final(self):
        order = self.venue.order(self.id)
        assert order.paid.value == sum(paid for _, paid, _ in order.counted)
        assert not (self.left and order.state != self.left)
        self.left = order.state if order.state in FINAL_STATES else False
        assert not (order.is_payable and order.paid.value >= order.total.value)


@pytest.fixture(scope="module")
def whole_journal():
    """Every example writes to one journal; in the end it is whole and explains all of them."""
    with tempfile.TemporaryDirectory() as folder:
        venue = OneOrder.venue = Venue(Path(folder))
        yield
        venue.close()
        assert verify(venue.reads, venue.witness, venue.key.public_key()).first_bad is None
        assert replay(venue.reads).mismatches == []


@pytest.mark.usefixtures("whole_journal")
class TestOneOrder(OneOrder.TestCase):
    settings = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
