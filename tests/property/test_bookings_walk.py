"""Parties and reservations under random requests of Dojo's, repeated and crossed: beside a model of a few lines, and beside replay."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.builders import Venue, a_party, a_reservation, walks
from workflow.booking import Guest
from workflow.commands import CreateBooking, DeleteBooking, UpdateBooking
from workflow.errors import UnknownBooking
from workflow.journal.reads import BookingFilter
from workflow.replay import replay, verify

TABLES = ("t1", "t2", "t3")
LEFT_AT = "2026-03-14T22:00:00.000Z"

tables = st.lists(st.sampled_from(TABLES), min_size=1, unique=True).map(tuple)
guests = st.sampled_from([Guest(), Guest(name="Ann"), Guest(name="Ben", guest_requests="no nuts")])
_numbers = itertools.count(1)


class Bookings(RuleBasedStateMachine):
    """The model: `stored` maps an id to what Dojo was told last, `sent` a creation to the id that it was answered with."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.venue = Venue(Path(self.folder.name))
        self.stored, self.sent = {}, []

    def teardown(self):
        self.venue.close()
        self.folder.cleanup()

    def sits_at(self, table_id, but=None):
        return [
            id
            for id, (booking, _) in self.stored.items()
            if id.startswith("pty") and not booking.end_time and table_id in booking.table_ids and id != but
        ]

    def may(self, booking, but=None):
        named = [
            id for id, (other, _) in self.stored.items() if other.dojo_id == booking.dojo_id and other.standing == "current" and id != but
        ]
        taken = [table for table in booking.table_ids if self.sits_at(table, but)] if booking.kind == "party" else []
        return booking.standing != "current" or not (named or taken)

    @rule(is_party=st.booleans(), dojo_id=st.sampled_from(["A", "B", "C"]), where=tables, guest=guests)
    def create(self, is_party, dojo_id, where, guest):
        number = next(_numbers)  # Another start: other content, so that only `repeat` repeats.
        start = f"2026-03-14T19:00:00.{number % 1000:03}Z"
        booking = (
            a_party(f"pty_{number}", *where, dojo_id=f"p{dojo_id}", start_time=start)
            if is_party
            else a_reservation(f"rsv_{number}", *where, dojo_id=f"r{dojo_id}", start_time=start)
        )
        outcome = self.venue.engine.handle(CreateBooking(booking=booking, guest=guest))

        assert (outcome.refusal is None) == self.may(booking)
        if outcome.booking:
            self.stored[booking.id] = (outcome.booking, guest)
            self.sent.append((booking, guest))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), again=st.sampled_from(["x", "y"]))
    def repeat(self, data, again):
        """A creation that was answered with 2xx, sent again under whatever id we would give it now, changes nothing."""
        booking, guest = data.draw(st.sampled_from(self.sent))
        copy = (a_party if booking.kind == "party" else a_reservation)(
            again, *booking.table_ids, dojo_id=booking.dojo_id, start_time=booking.start_time
        )
        size = self.venue.reads.size()

        outcome = self.venue.engine.handle(CreateBooking(booking=copy, guest=guest))

        assert outcome.refusal is None
        assert (outcome.booking.id, self.venue.reads.size()) == (booking.id, size)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), where=tables, guest=guests, leaves=st.booleans())
    def update(self, data, where, guest, leaves):
        before, _ = self.stored[data.draw(st.sampled_from(sorted(self.stored)))]
        make = a_party if before.kind == "party" else a_reservation
        end = {"end_time": LEFT_AT if leaves else None} if before.kind == "party" else {}
        booking = make(before.id, *where, dojo_id=before.dojo_id, **end)

        outcome = self.venue.engine.handle(UpdateBooking(booking=booking, guest=guest))

        assert (outcome.refusal is None) == self.may(booking, before.id)
        if outcome.booking:
            self.stored[before.id] = (outcome.booking, guest)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), times=st.integers(1, 2))
    def delete(self, data, times):
        gone, _ = self.stored.pop(data.draw(st.sampled_from(sorted(self.stored))))
        for _ in range(times):
            self.venue.engine.handle(DeleteBooking(kind=gone.kind, booking_id=gone.id))
        with pytest.raises(UnknownBooking):
            self.venue.engine.handle(UpdateBooking(booking=gone, guest=Guest()))

    @invariant()
    def what_is_found_is_what_dojo_was_told_last(self):
        for table in TABLES:
            assert len(self.sits_at(table)) <= 1
            wanted = {id for id, (booking, _) in self.stored.items() if table in booking.table_ids and booking.standing == "current"}
            found = [
                stored
                for kind in ("party", "reservation")
                for stored in self.venue.reads.bookings(BookingFilter(kind=kind, table_id=table), 100)
            ]
            assert {stored.booking.id for stored in found} == wanted
            assert all((stored.booking, stored.guest) == self.stored[stored.booking.id] for stored in found)

    @invariant()
    def replay_agrees(self):
        assert replay(self.venue.reads).mismatches == []
        assert verify(self.venue.reads, self.venue.witness, self.venue.key.public_key(), self.venue.clock).first_bad is None


TestBookings = Bookings.TestCase
TestBookings.settings = settings(
    max_examples=walks(15), stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
