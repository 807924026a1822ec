"""Dojo's parties and reservations as types, and their way into the core's values and back; see `wire.py`.

Source: EPOS Data API, the schemas of `Party`, `Reservation`, and their requests and pages; contract §10, §12, and §16, 23 and 24.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from adapters.edge.strict_json import BadInput, shown
from adapters.edge.wire import ERASED, NAME_LENGTH, NOTE_LENGTH, Answer, Cursor, Request, WireId, check_amount, redacted, sent, to_moment
from workflow.bill import Moment, Note, ShortText
from workflow.booking import MAX_INTENTS, MAX_TABLES, Covers, Deposit, Guest, Party, Reservation
from workflow.clock import to_text
from workflow.money import Money

SEATED = "seated"
"""The status of a party for which Dojo gives none."""

TableIds = Annotated[tuple[WireId, ...], msgspec.Meta(min_length=1, max_length=MAX_TABLES, description="at least one table, none twice")]
PartyStatus = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH, description="text that is not empty")]


class DepositRequest(Request, frozen=True, kw_only=True):
    """What was taken before the party came."""

    total_amount: Money
    payment_intent_ids: Annotated[tuple[WireId, ...], msgspec.Meta(max_length=MAX_INTENTS)]
    description: Note | None = None


class BookingRequest(Request, frozen=True, kw_only=True):
    """What every request about a party or reservation has; `name`, `host_notes` and `guest_requests` are personal data."""

    start_time: Moment
    table_ids: TableIds
    host_notes: Note | None = None
    guest_requests: Note | None = None

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for place, table_id in enumerate(self.table_ids):
            if table_id in seen:
                raise BadInput(f"tableIds[{place}]", f"comes twice: {shown(table_id)}")
            seen.add(table_id)


class PartyRequest(BookingRequest, frozen=True, kw_only=True):
    """What the creation and the change of a party have in common."""

    dojo_party_id: WireId
    name: ShortText | None = None
    covers: Covers | None = None
    expected_end_time: Moment | None = None
    deposit: DepositRequest | None = None


class CreatePartyRequest(PartyRequest, frozen=True, kw_only=True):
    """A party that sits down; `reservation_id` is ours and may name one that we do not have."""

    status: PartyStatus = SEATED
    reservation_id: WireId | None = None
    dojo_reservation_id: WireId | None = None


class UpdatePartyRequest(PartyRequest, frozen=True, kw_only=True):
    """A party's details, all of them; with `end_time` it has left."""

    status: PartyStatus
    end_time: Moment | None = None


class ReservationRequest(BookingRequest, frozen=True, kw_only=True):
    """What the creation and the change of a reservation have in common: everything."""

    dojo_reservation_id: WireId
    name: ShortText
    covers: Covers
    end_time: Moment


class CreateReservationRequest(ReservationRequest, frozen=True, kw_only=True):
    """Guests who are expected."""


class UpdateReservationRequest(ReservationRequest, frozen=True, kw_only=True):
    """A reservation's details, all of them."""


class SearchPartiesRequest(Request, frozen=True, kw_only=True):
    """Parties that have not left, or with `completed_only` those that have."""

    table_id: WireId | None = None
    completed_only: bool = False
    cursor: Cursor = Cursor()


class SearchReservationsRequest(Request, frozen=True, kw_only=True):
    """Reservations whose time overlaps [`from_time`, `to_time`)."""

    table_id: WireId | None = None
    from_time: Moment | None = None
    to_time: Moment | None = None
    cursor: Cursor = Cursor()


class DepositAnswer(Answer, frozen=True, kw_only=True):
    """The published `PartyDeposit`."""

    total_amount: Money
    payment_intent_ids: tuple[str, ...]
    description: str | UnsetType = UNSET


class PartyAnswer(Answer, frozen=True, kw_only=True):
    """The published `Party`; times are UTC with milliseconds."""

    id: str
    status: PartyStatus
    start_time: Moment
    table_ids: TableIds
    name: str | UnsetType = UNSET
    covers: int | UnsetType = UNSET
    expected_end_time: Moment | UnsetType = UNSET
    end_time: Moment | UnsetType = UNSET
    host_notes: str | UnsetType = UNSET
    guest_requests: str | UnsetType = UNSET
    reservation_id: str | UnsetType = UNSET
    deposit: DepositAnswer | UnsetType = UNSET


class ReservationAnswer(Answer, frozen=True, kw_only=True):
    """The published `Reservation`; times are UTC with milliseconds."""

    id: str
    name: str
    covers: int
    start_time: Moment
    end_time: Moment
    table_ids: TableIds
    host_notes: str | UnsetType = UNSET
    guest_requests: str | UnsetType = UNSET


class PagedParties(Answer, frozen=True, kw_only=True):
    """The published `PagedPartiesResponse`; a token is left out where there is no such page."""

    data: Sequence[PartyAnswer]
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


class PagedReservations(Answer, frozen=True, kw_only=True):
    """The published `PagedReservationsResponse`; a token is left out where there is no such page."""

    data: Sequence[ReservationAnswer]
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


def to_party(party_id: str, request: CreatePartyRequest | UpdatePartyRequest, currency: str) -> Party:
    """The party without its guest, fit for the journal. Raises BadInput for what no schema can say: times, and the venue's currency."""
    start = _text(request.start_time, "startTime")
    party = Party(
        id=party_id,
        dojo_id=request.dojo_party_id,
        table_ids=request.table_ids,
        start_time=start,
        status=_status(request.status),
        covers=request.covers,
        expected_end_time=_end(request.expected_end_time, "expectedEndTime", start),
        deposit=None if request.deposit is None else _deposit(request.deposit, currency),
    )
    if isinstance(request, CreatePartyRequest):
        return replace(party, reservation_id=request.reservation_id, dojo_reservation_id=request.dojo_reservation_id)
    return replace(party, end_time=_end(request.end_time, "endTime", start))


def to_reservation(reservation_id: str, request: ReservationRequest) -> Reservation:
    """The reservation without its guest, fit for the journal. Raises BadInput for times that cannot be."""
    start = _text(request.start_time, "startTime")
    return Reservation(
        id=reservation_id,
        dojo_id=request.dojo_reservation_id,
        table_ids=request.table_ids,
        start_time=start,
        end_time=_end(request.end_time, "endTime", start) or start,
        covers=request.covers,
    )


def to_guest(request: PartyRequest | ReservationRequest) -> Guest:
    """Names and free text, card numbers removed."""
    deposit = request.deposit if isinstance(request, PartyRequest) else None
    return Guest(
        name=redacted(request.name, NAME_LENGTH),
        host_notes=redacted(request.host_notes, NOTE_LENGTH),
        guest_requests=redacted(request.guest_requests, NOTE_LENGTH),
        deposit_description=redacted(deposit.description, NOTE_LENGTH) if deposit else None,
    )


def to_window(request: SearchReservationsRequest) -> tuple[str | None, str | None]:
    """From when and until when, UTC text. Raises BadInput for an end before the beginning."""
    start = None if request.from_time is None else _text(request.from_time, "fromTime")
    return start, _end(request.to_time, "toTime", start or "")


def party_answer(party: Party, guest: Guest) -> PartyAnswer:
    """The party as Dojo sees it; an erased guest's name says so."""
    guest = _marked(party.erased_at, guest)
    return PartyAnswer(
        id=party.id,
        status=party.status,
        start_time=party.start_time,
        table_ids=party.table_ids,
        name=sent(guest.name),
        covers=sent(party.covers),
        expected_end_time=sent(party.expected_end_time),
        end_time=sent(party.end_time),
        host_notes=sent(guest.host_notes),
        guest_requests=sent(guest.guest_requests),
        reservation_id=sent(party.reservation_id),
        deposit=_deposit_answer(party.deposit, guest),
    )


def reservation_answer(reservation: Reservation, guest: Guest) -> ReservationAnswer:
    """The reservation as Dojo sees it; an erased guest's name says so."""
    guest = _marked(reservation.erased_at, guest)
    return ReservationAnswer(
        id=reservation.id,
        name=guest.name or "",
        covers=reservation.covers,
        start_time=reservation.start_time,
        end_time=reservation.end_time,
        table_ids=reservation.table_ids,
        host_notes=sent(guest.host_notes),
        guest_requests=sent(guest.guest_requests),
    )


def _marked(erased_at: str, guest: Guest) -> Guest:
    return Guest(name=ERASED) if erased_at else guest


def _text(moment: str, field: str) -> str:
    return to_text(to_moment(moment, field))


def _end(moment: str | None, field: str, start: str) -> str | None:
    """The end as UTC text, which must not be before the `start`."""
    if moment is None:
        return None
    end = _text(moment, field)
    if end < start:
        raise BadInput(field, f"expected a moment not before {start}, got {shown(moment)}")
    return end


def _status(text: str) -> str:
    return redacted(text, NAME_LENGTH) or SEATED


def _deposit(request: DepositRequest, currency: str) -> Deposit:
    check_amount("deposit.totalAmount", request.total_amount, currency, 0)
    return Deposit(total_amount=request.total_amount, payment_intent_ids=request.payment_intent_ids)


def _deposit_answer(deposit: Deposit | None, guest: Guest) -> DepositAnswer | UnsetType:
    if deposit is None:
        return UNSET
    return DepositAnswer(
        total_amount=deposit.total_amount,
        payment_intent_ids=deposit.payment_intent_ids,
        description=sent(guest.deposit_description),
    )
