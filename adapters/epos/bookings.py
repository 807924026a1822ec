"""Dojo's capabilities for parties and reservations, free of transport: wire types in, wire types out."""

from __future__ import annotations

from typing import TypeVar

from adapters.edge.cursors import Cursors, Page
from adapters.edge.orders import new_id
from adapters.edge.wire import Cursor
from adapters.edge.wire_bookings import (
    CreatePartyRequest,
    PagedParties,
    PagedReservations,
    PartyAnswer,
    ReservationAnswer,
    ReservationRequest,
    SearchPartiesRequest,
    SearchReservationsRequest,
    UpdatePartyRequest,
    party_answer,
    reservation_answer,
    to_guest,
    to_party,
    to_reservation,
    to_window,
)
from workflow.booking import Booking, Guest, Kind, Party, Reservation
from workflow.clock import Clock
from workflow.commands import BookingRequest, CreateBooking, DeleteBooking, UpdateBooking
from workflow.engine import Engine
from workflow.errors import UnknownBooking, short
from workflow.journal.reads import BookingFilter, Position, SqliteReads, StoredBooking

PARTY_PREFIX = "pty_"
RESERVATION_PREFIX = "rsv_"

B = TypeVar("B", bound=Booking)


class Bookings:
    """Each method serves one capability; errors are those of `workflow.errors` and BadInput."""

    def __init__(self, engine: Engine, reads: SqliteReads, clock: Clock, currency: str) -> None:
        self._engine, self._reads, self._clock, self._currency = engine, reads, clock, currency
        self._cursors = Cursors(reads.secret())

    def create_party(self, request: CreatePartyRequest) -> PartyAnswer:
        """CreateParty: a new party, or the first one again. Raises KeyReused, Refused for a table that is taken, BadInput."""
        party = to_party(new_id(PARTY_PREFIX, self._clock), request, self._currency)
        return party_answer(*self._asked(CreateBooking(booking=party, guest=to_guest(request)), Party))

    def get_party(self, party_id: str) -> PartyAnswer:
        """GetPartyById, also one that has left. Raises UnknownBooking."""
        return party_answer(*self._stored("party", party_id, Party))

    def update_party(self, party_id: str, request: UpdatePartyRequest) -> PartyAnswer:
        """UpdatePartyById: these details instead of the old ones. Raises UnknownBooking, KeyReused, Refused, BadInput."""
        party = to_party(party_id, request, self._currency)
        return party_answer(*self._asked(UpdateBooking(booking=party, guest=to_guest(request)), Party))

    def delete_party(self, party_id: str) -> None:
        """DeletePartyById; twice is once. Raises UnknownBooking."""
        self._engine.handle(DeleteBooking(kind="party", booking_id=party_id))

    def search_parties(self, request: SearchPartiesRequest) -> PagedParties:
        """SearchParties, newest first: those that are here, or only those that have left. Raises BadInput."""
        wanted = BookingFilter(kind="party", standing="left" if request.completed_only else "current", table_id=request.table_id)
        page = self._page(wanted, request.cursor)
        return PagedParties(data=[party_answer(*_of(stored, Party)) for stored in page.data], before=page.before, after=page.after)

    def create_reservation(self, request: ReservationRequest) -> ReservationAnswer:
        """CreateReservation: a new reservation, or the first one again. Raises KeyReused, BadInput."""
        reservation = to_reservation(new_id(RESERVATION_PREFIX, self._clock), request)
        return reservation_answer(*self._asked(CreateBooking(booking=reservation, guest=to_guest(request)), Reservation))

    def get_reservation(self, reservation_id: str) -> ReservationAnswer:
        """GetReservationById. Raises UnknownBooking."""
        return reservation_answer(*self._stored("reservation", reservation_id, Reservation))

    def update_reservation(self, reservation_id: str, request: ReservationRequest) -> ReservationAnswer:
        """UpdateReservationById: these details instead of the old ones. Raises UnknownBooking, KeyReused, BadInput."""
        reservation = to_reservation(reservation_id, request)
        return reservation_answer(*self._asked(UpdateBooking(booking=reservation, guest=to_guest(request)), Reservation))

    def delete_reservation(self, reservation_id: str) -> None:
        """DeleteReservationById; twice is once. Raises UnknownBooking."""
        self._engine.handle(DeleteBooking(kind="reservation", booking_id=reservation_id))

    def search_reservations(self, request: SearchReservationsRequest) -> PagedReservations:
        """SearchReservations, newest first. Raises BadInput."""
        from_time, to_time = to_window(request)
        wanted = BookingFilter(kind="reservation", table_id=request.table_id, from_time=from_time, to_time=to_time)
        page = self._page(wanted, request.cursor)
        data = [reservation_answer(*_of(stored, Reservation)) for stored in page.data]
        return PagedReservations(data=data, before=page.before, after=page.after)

    def _asked(self, command: BookingRequest, type_: type[B]) -> tuple[B, Guest]:
        outcome = self._engine.handle(command)
        if outcome.refusal:
            raise outcome.refusal
        assert isinstance(outcome.booking, type_)
        return outcome.booking, outcome.guest

    def _stored(self, kind: Kind, booking_id: str, type_: type[B]) -> tuple[B, Guest]:
        stored = self._reads.booking(kind, booking_id)
        if stored is None:
            raise UnknownBooking(f"no {kind} {short(booking_id)}")
        return _of(stored, type_)

    def _page(self, wanted: BookingFilter, cursor: Cursor) -> Page[StoredBooking]:
        def read(limit: int, after: Position | None, before: Position | None) -> list[StoredBooking]:
            return self._reads.bookings(wanted, limit, after=after, before=before)

        with self._reads.snapshot():
            return self._cursors.page(cursor, wanted, read, lambda stored: Position(stored.booking.created_at, stored.booking.id))


def _of(stored: StoredBooking, type_: type[B]) -> tuple[B, Guest]:
    assert isinstance(stored.booking, type_)
    return stored.booking, stored.guest
