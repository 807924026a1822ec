"""Random walks of the declaration: whatever the order of messages, money is counted once, and replay equals what is stored."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import MACHINES, Venue, an_intent, walks
from workflow.commands import RecordPayment, ToldPayment
from workflow.explaining import check
from workflow.order import FINAL_STATES
from workflow.ports import IntentId, OrderId, PaymentIntent
from workflow.replay import replay, verify

TOTAL = 1000
NEXT = {  # Contract §7.2: where a payment intent may go.
    "Created": ("Authorized", "Captured", "Canceled"),
    "Authorized": ("Captured", "Reversed"),
    "Captured": ("Refunded", "PartRefund", "Reversed"),
    "PartRefund": ("Refunded",),
    "Refunded": (),
    "Reversed": (),
    "Canceled": (),
}
FLOWS = ("pay_only", "pay_later", "event", "inline")
WALKS = settings(max_examples=walks(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """One journal for all walks of this module: at the end it must be whole and explain everything."""
    venue = Venue(tmp_path_factory.mktemp("walk"))
    yield venue
    venue.close()
    found = verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock)
    assert found.ok, found.first_bad
    replayed = replay(venue.reads)
    assert replayed.ok, replayed.mismatches
    told = list(check(venue.reads, MACHINES))
    assert [each for each in told if each.verdict != "same"] == []
    assert len(told) == replayed.orders
    assert_no_final_state_was_left(venue)


def assert_no_final_state_was_left(venue):
    state: dict[tuple[str, str, str], str] = {}
    for entry in venue.reads.entries():
        if entry.kind == "transition":
            key = (entry.order_id, entry.machine, entry.payment_intent_id)
            assert entry.from_state == state.get(key, ""), entry
            assert not (entry.machine.startswith("order") and entry.from_state in FINAL_STATES), entry
            state[key] = entry.to_state


@dataclass
class World:
    """Dojo's side of one order: its intents as they are, and every status they ever had."""

    venue: Venue
    flow: str
    parts: list[int]
    order_id: str = field(default_factory=lambda: f"o-{uuid.uuid4().hex}")
    intents: dict[str, PaymentIntent] = field(default_factory=dict)
    past: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self):
        first = {"inline": "Captured", "event": "Authorized"}.get(self.flow, "Created")
        for number, part in enumerate(self.parts):
            intent_id = f"{self.order_id}-pi{number}"
            self.intents[intent_id] = an_intent(intent_id, status=first, paid=part, external_id=self.order_id)
            self.past[intent_id] = ["Created", first]

    def place(self):
        if self.flow == "pay_only":
            self.venue.open(self.order_id, total=TOTAL)
            return
        told = () if self.flow == "pay_later" else self.told()
        self.venue.create(self.order_id, payments=told, captured=self.flow == "inline", total=TOTAL)

    def told(self):
        return tuple(ToldPayment(intent_id=IntentId(i), paid=part) for i, part in zip(self.intents, self.parts, strict=True))

    def advance(self, intent_id, choice):
        intent = self.intents[intent_id]
        name = "PartRefund" if intent.status == "Captured" and intent.refunded else intent.status
        if not NEXT[name]:
            return
        target = NEXT[name][choice % len(NEXT[name])]
        refunded = {"Refunded": intent.amount.value, "PartRefund": max(1, intent.amount.value // 3)}.get(target, intent.refunded)
        status = "Captured" if target == "PartRefund" else target
        self.intents[intent_id] = replace(intent, status=status, refunded=refunded)
        self.past[intent_id].append(status)

    def record(self, intent_id):
        """Dojo tells of a payment that it took; where that is a conflict, it gives the money back."""
        intent = self.intents[intent_id]
        if intent.status != "Captured" or intent.refunded or not self.venue.order(self.order_id):
            return
        command = RecordPayment(order_id=OrderId(self.order_id), intent_id=intent.id, paid=intent.amount, tips=intent.tips)
        if self.venue.engine.handle(command).refusal:
            self.intents[intent_id] = replace(intent, status="Refunded", refunded=intent.amount.value)
            self.past[intent_id].append("Refunded")

    def perform_one(self):
        if self.venue.tasks:
            self.venue.perform(self.venue.tasks.popleft(), self.intents)

    def finish(self):
        """Dojo falls silent after a last event for each intent; everything that waits is done."""
        for intent_id, intent in self.intents.items():
            self.venue.event(intent_id, intent.status)
        self.venue.settle(self.intents)

    def net(self):
        """What a till would write on paper: captured less refunded, by intent."""
        taken = {i: intent for i, intent in self.intents.items() if intent.status in ("Captured", "Refunded")}
        return {i: intent.amount.value - intent.refunded for i, intent in taken.items() if intent.amount.value > intent.refunded}


parts = st.lists(st.sampled_from([250, 400, 500, 600, 1000]), min_size=1, max_size=3)
steps = st.lists(
    st.tuples(st.sampled_from(["advance", "advance", "event", "record", "perform", "perform"]), st.integers(0, 2), st.integers(0, 9)),
    max_size=25,
)


@WALKS
@given(flow=st.sampled_from(FLOWS), parts=parts, steps=steps, placed_at=st.integers(0, 6))
def test_whatever_the_order_of_messages_money_is_counted_once_and_the_order_comes_to_rest(
    venue, flow, parts, steps, placed_at
):  # I2 I5 I6 I7 I20
    world = World(venue, flow, parts)
    names = list(world.intents)
    for number, (step, who, choice) in enumerate(steps):
        if number == placed_at:
            world.place()
        intent_id = names[who % len(names)]
        if step == "advance":
            world.advance(intent_id, choice)
        elif step == "record":
            world.record(intent_id)
        elif step == "event":
            past = world.past[intent_id]
            venue.event(intent_id, past[choice % len(past)])
        else:
            world.perform_one()
    if len(steps) <= placed_at:
        world.place()
    world.finish()
    order = venue.order(world.order_id)
    assert {intent: paid for intent, paid, _ in order.counted} == world.net(), order
    assert order.paid.value == sum(world.net().values())
    is_held = any(intent.status == "Authorized" for intent in world.intents.values())
    if not order.is_final:
        assert order.state == ("authorised" if is_held else "updated" if order.paid.value else "created"), order
    if not order.is_payable and not order.is_final:
        assert order.paid_in_full_once or order.reserved + order.paid.value >= TOTAL, order


@WALKS
@given(
    flow=st.sampled_from(FLOWS),
    parts=parts,
    choices=st.lists(st.integers(0, 5), min_size=0, max_size=9),
    order=st.randoms(use_true_random=False),
)
def test_one_history_has_one_end_whatever_the_order_of_its_messages(venue, flow, parts, choices, order):
    """The world stands still; its messages come in any order, each perhaps twice, the order itself among them."""
    ends = []
    for shuffled in (False, True):
        world = World(venue, flow, parts)
        names = list(world.intents)
        for number, choice in enumerate(choices):
            world.advance(names[number % len(names)], choice)
        messages = [(intent_id, status) for intent_id in names for status in world.past[intent_id]]
        deliveries = [world.place, *(lambda m=m: venue.event(*m) for m in messages)]
        if shuffled:
            deliveries += deliveries[1:]
            order.shuffle(deliveries)
        for deliver in deliveries:
            deliver()
            if order.random() < 0.5:
                world.perform_one()
        world.finish()
        ends.append(the_end(venue.order(world.order_id)))
    assert ends[0] == ends[1]


def the_end(order):
    payments = [(p.state, p.counted, p.refunded, p.mismatch) for _, p in sorted(order.payments.items())]
    return order.state, order.status, order.is_payable, payments, sorted(item.code for item in order.attention)
