"""The past is what was seen then: orders and the venue at every position, beside what was stored when the journal ended there."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from adapters.cli.past import past_lines
from tests.builders import Venue, a_bill, a_party, an_intent
from tests.many_entries import EVENING, play
from workflow.bill import Customer, Personal
from workflow.booking import Guest
from workflow.commands import AmendOrder, CreateBooking, DeleteBooking, LockOrder, OpenOrder, SetVenue
from workflow.errors import JournalDamaged, NotYet, PositionUnknown, UnknownOrder
from workflow.journal.reads import OrderFilter
from workflow.past import order_at, venue_at
from workflow.ports import OrderId
from workflow.replay import rebuild, replay

AUTHOR = Personal(customer=Customer(name="Ada"))


class Watched(Venue):
    """A venue that notes what is stored whenever a command is done, by the size of the journal then."""

    def __init__(self, folder):
        super().__init__(folder)
        self.seen = {}
        handle = self.engine.handle

        def noting(command):
            outcome = handle(command)
            self.seen[self.reads.size()] = self.look()
            return outcome

        self.engine.handle = noting

    def look(self):
        orders = {stored.order.id: stored.order for stored in self.reads.orders(OrderFilter(), 1_000)}
        return {
            "orders": orders,
            "attention": {row[:3] for row in self.reads.attention()},
            "tasks": dict(self.reads.rows("SELECT id, iif(status IN ('done', 'dead'), status, 'open') FROM outbox")),
            "locked": {id_ for (id_,) in self.reads.rows("SELECT order_id FROM locks WHERE NOT released AND expires_at > ?", (self.now,))},
            "venue": {name: json.loads(value) for name, value in self.reads.rows("SELECT name, value FROM venue")},
            "guests": {id_ for (id_,) in self.reads.rows("SELECT id FROM bookings WHERE standing = 'current'")},
        }

    @property
    def now(self):
        return self.reads.last_entries(1)[0].at


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """An evening whose every moment was noted; after it came more."""
    venue = Watched(tmp_path_factory.mktemp("past"))
    for value in (False, True):
        venue.engine.handle(SetVenue(name="taking_orders", value=value, actor="till:till-1"))
    venue.engine.handle(SetVenue(name="areas", value=[{"id": "a1", "name": "Bar"}], actor="till:till-1"))
    venue.engine.handle(CreateBooking(booking=a_party("pty_1"), guest=Guest(name="Bo")))
    play(venue)
    venue.engine.handle(DeleteBooking(kind="party", booking_id="pty_1"))
    venue.event("pi_nobody", "Captured", event_id="evt_nobody")
    venue.settle({})
    yield venue
    venue.close()


def test_an_order_at_any_position_is_what_was_stored_then(venue):
    compared = 0
    for size, seen in venue.seen.items():
        for order_id in list(seen["orders"])[:: 5 if size % 3 else 2]:
            past = order_at(venue.reads, order_id, size)
            assert past.order == seen["orders"][order_id]
            assert past.since + len(past.entries) == venue.order(order_id).order_seq
            assert past.entries[-1].seq <= size
            assert past.machine.startswith("order@")
            compared += 1
    assert compared > 100


def test_the_venue_at_any_position_is_what_was_stored_then(venue):
    assert len(venue.seen) > 50
    locked = attention = 0
    for size, seen in list(venue.seen.items())[::3]:
        past = venue_at(rebuild(venue.reads, until=size))
        assert past.seq == size
        assert past.states == Counter(order.state for order in seen["orders"].values())
        assert {(item.order_id, item.code, item.payment_intent_id) for item in past.attention} == seen["attention"]
        assert {status: count for status, count in past.tasks.items() if count} == Counter(seen["tasks"].values())
        assert {task.id: task.status for task in past.waiting} == {id_: status for id_, status in seen["tasks"].items() if status != "done"}
        assert {order.id for order in past.locked} == seen["locked"]
        assert (past.venue, {booking.id for booking in past.bookings}) == (seen["venue"], seen["guests"])
        assert {order.id for order in past.open_orders} >= {id_ for id_, order in seen["orders"].items() if order.is_payable}
        locked, attention = locked + len(past.locked), attention + len(past.attention)
    assert locked > 0 < attention


def test_what_is_replayed_until_the_end_is_all_of_it(venue):
    size = venue.reads.size()

    assert replay(venue.reads, until=size).digest == replay(venue.reads).digest
    with pytest.raises(PositionUnknown, match=f"from 0 to {size}, where the journal ends, got {size + 1}"):
        replay(venue.reads, until=size + 1)
    assert venue_at(rebuild(venue.reads, until=0)).states == {}


def test_an_order_that_began_later_an_order_that_never_was_and_a_position_that_never_came(venue):
    order_id = f"{EVENING}-03"
    [(began,)] = venue.reads.rows("SELECT min(seq) FROM journal WHERE order_id = ?", (order_id,))

    with pytest.raises(NotYet, match=f"began at entry {began}: at entry {began - 1} there was none") as raised:
        order_at(venue.reads, order_id, began - 1)
    assert raised.value.began == began
    assert order_at(venue.reads, order_id, began).order.order_seq == 1
    for nobody in ("nobody", ""):
        with pytest.raises(UnknownOrder, match="no order"):
            order_at(venue.reads, nobody, began)
    for seq in (0, -1, venue.reads.size() + 1):
        with pytest.raises(PositionUnknown, match=f"from 1 to {venue.reads.size()}, where the journal ends, got {seq}"):
            order_at(venue.reads, order_id, seq)


def test_personal_data_of_the_past_is_what_is_kept_now_of_it(tmp_path):
    venue, order_id = Venue(tmp_path), OrderId("o1")
    venue.engine.handle(OpenOrder(order_id=order_id, key="o1", bill=a_bill(), personal=Personal(), actor="till:till-1"))
    without = venue.reads.size()
    venue.engine.handle(AmendOrder(order_id=order_id, bill=a_bill(), personal=AUTHOR, actor="till:till-1"))
    with_author = venue.reads.size()
    assert [order_at(venue.reads, "o1", seq).personal for seq in (without, with_author)] == ["none", "kept"]

    venue.engine.handle(AmendOrder(order_id=order_id, bill=a_bill(), personal=Personal(note="no nuts"), actor="till:till-1"))
    assert [order_at(venue.reads, "o1", seq).personal for seq in (with_author, venue.reads.size())] == ["changed", "kept"]

    for erasing in ("UPDATE personal SET data = '{}'", "DELETE FROM personal"):
        venue.journal.write(lambda transaction, sql=erasing: transaction._connection.execute(sql))
        assert order_at(venue.reads, "o1", with_author).personal == "gone"
    venue.close()


def test_an_entry_that_explains_nothing_is_named(tmp_path):
    venue = Venue(tmp_path)
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    [(seq,)] = venue.reads.rows("SELECT seq FROM journal WHERE kind = 'check'")
    venue.journal.write(lambda transaction: transaction._connection.execute("DROP TRIGGER journal_is_append_only_update"))
    venue.journal.write(lambda transaction: transaction._connection.execute(f"UPDATE journal SET body = '{{}}' WHERE seq = {seq}"))

    for ask in (lambda: order_at(venue.reads, "o1", seq), lambda: rebuild(venue.reads)):
        with pytest.raises(JournalDamaged, match=f"entry {seq} cannot be explained"):
            ask()
    venue.close()


def test_a_lock_of_the_past_was_held_until_it_ran_out(tmp_path):
    venue = Venue(tmp_path)
    venue.open("o1")
    venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="s1", expires_at="2026-03-14T12:05:00.000Z"))
    held = venue.reads.size()
    venue.clock.move(600)
    venue.open("o2")

    assert [order.id for order in venue_at(rebuild(venue.reads, until=held)).locked] == ["o1"]
    assert venue_at(rebuild(venue.reads)).locked == []
    venue.close()


def test_a_table_of_the_past_has_the_name_that_the_till_gave_it_until_then(tmp_path):
    venue = Venue(tmp_path)
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(paid=900)})
    venue.engine.handle(CreateBooking(booking=a_party("pty_1"), guest=Guest(name="Bo")))
    seqs = [venue.reads.size()]
    for name in ("Garden", "12"):
        venue.engine.handle(SetVenue(name="tables", value=[{"id": "tbl_12", "name": name}], actor="till:till-1"))
        seqs.append(venue.reads.size())

    for seq, name in zip(seqs, ("Table tbl_12", "Garden", "Table 12"), strict=True):
        shown = "\n".join(past_lines(venue_at(rebuild(venue.reads, until=seq)), seqs[-1]))
        assert re.search(rf"^  o1 +A-1042 +{name}  ", shown, re.MULTILINE), shown
        assert re.search(rf"^  party +pty_1 +{name}  ", shown, re.MULTILINE), shown
    venue.close()
