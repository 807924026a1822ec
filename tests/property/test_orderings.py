"""Every order in which the messages of either flow can come, with copies of each: one digest in the end.

The five of Order and Pay: CreateOrder; the events that the intent was created, authorised and captured; Dojo's answer to the read.
The four of Pay-only: the till opens the bill; the events that the intent was created and captured; Dojo's answer to the read.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field

import pytest

from tests.builders import Venue, an_intent
from workflow.commands import ToldPayment
from workflow.order import Order
from workflow.ports import IntentId
from workflow.replay import replay, verify

TOTAL, TIPS = 1000, 50
STATUS = {"created": "Created", "authorised": "Authorized", "captured": "Captured"}
ORDER_AND_PAY = ("order", "created", "authorised", "captured", "read")
PAY_ONLY = ("order", "created", "captured", "read")
ALL_120 = list(itertools.permutations(ORDER_AND_PAY))
ALL_24 = list(itertools.permutations(PAY_ONLY))
COPIES = (
    "none",
    "at once",
    "on the other channel",
    "all again",
    "all again, backwards",
    "none, and Dojo's book no further than its letters",
)


@dataclass
class Delivery:
    """One order, and its messages as they come in; `opened` says which flow it is of."""

    venue: Venue
    opened: str
    order_id: str
    copies: str
    sent: list[str] = field(default_factory=list)
    reads: deque = field(default_factory=deque)

    @property
    def intent_id(self) -> str:
        return f"pi-{self.order_id}"

    def in_order(self, messages: tuple[str, ...]) -> None:
        for message in messages:
            self.deliver(message)
            if self.copies == "at once":
                self.deliver(message)
            elif self.copies == "on the other channel":
                self.deliver(message, channel="webhook")
        if self.copies.startswith("all again"):
            for message in messages[:: -1 if "backwards" in self.copies else 1]:
                self.deliver(message, channel="webhook")
        self.sent = [*STATUS]
        self.settle()

    def deliver(self, message: str, channel: str = "capability") -> None:
        if message == "read":
            self.answer_read()
        elif message == "order":
            told = self.place()
            assert told.refusal is None
            assert told.order == self.venue.order(self.order_id)
        else:
            self.sent.append(message)
            event_id = f"evt-{self.order_id}-{message}-{channel}"
            told = self.venue.event(self.intent_id, STATUS[message], event_id=event_id, channel=channel)
            assert told.refusal is None

    def place(self):
        if self.opened == "at the till":
            return self.venue.open(self.order_id, total=TOTAL)
        told = ToldPayment(intent_id=IntentId(self.intent_id), paid=TOTAL, tips=TIPS)
        return self.venue.create(self.order_id, total=TOTAL, payments=(told,))

    def book(self):
        """The intent as Dojo has it: captured, or as far as its letters that were delivered tell."""
        in_step = self.copies.startswith("none,")
        status = max((STATUS[name] for name in self.sent), key=[*STATUS.values()].index, default="Created") if in_step else "Captured"
        held = {"status": status, "paid": TOTAL, "tips": TIPS, "external_id": self.order_id}
        return {self.intent_id: an_intent(self.intent_id, **held)}

    def answer_read(self) -> None:
        """The next thing that waits is done; a copy of an answer is one that comes again though its task is over."""
        if self.venue.tasks:
            self.reads.append(self.venue.tasks.popleft())
        if self.reads:
            self.venue.perform(self.reads[-1], self.book())

    def settle(self) -> None:
        self.venue.settle(self.book())


def the_end(folder, opened, messages, turn=0) -> tuple[str, list[Order]]:
    """The digest after so many orders had their messages in this order, each with other copies; the orders."""
    venue = Venue(folder)
    try:
        names = [f"o{number}" for number in range(len(COPIES))]
        for number, name in enumerate(names):
            Delivery(venue, opened, name, COPIES[(number + turn) % len(COPIES)]).in_order(messages)
        assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).first_bad is None
        replayed = replay(venue.reads)
        assert replayed.mismatches == []
        assert venue.reads.rows("SELECT count(*) FROM parked") == [(0,)]
        return replayed.digest, [venue.order(name) for name in names]
    finally:
        venue.close()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The digests of both flows as they are drawn: each message once the one before was answered."""
    return {
        opened: the_end(tmp_path_factory.mktemp("straight"), opened, messages)[0]
        for opened, messages in (("by Dojo", ORDER_AND_PAY), ("at the till", PAY_ONLY))
    }


def assert_paid_once(orders):
    for order in orders:
        assert (order.state, order.paid.value, order.tips.value, order.is_payable, order.attention) == ("updated", TOTAL, TIPS, False, ())


@pytest.mark.parametrize("messages", ALL_120, ids="-".join)
def test_all_120_orders_of_the_order_and_pay_messages_end_in_one_digest_whatever_is_doubled(
    messages, straight, tmp_path
):  # O6 O3 O4 D6 I6 I11
    digest, orders = the_end(tmp_path, "by Dojo", messages, ALL_120.index(messages))

    assert_paid_once(orders)
    assert digest == straight["by Dojo"]


@pytest.mark.parametrize("messages", ALL_24, ids="-".join)
def test_all_24_orders_of_the_pay_only_messages_end_in_one_digest_whatever_is_doubled(messages, straight, tmp_path):  # O6 O9 D6 I6 I11
    digest, orders = the_end(tmp_path, "at the till", messages, ALL_24.index(messages))

    assert_paid_once(orders)
    assert digest == straight["at the till"]
