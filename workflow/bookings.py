"""Parties and reservations: created, changed and deleted by Dojo, each in one entry that tells the whole of it.

Nothing is sent: only Dojo changes them here and has the change in its reply, so that neither PartyUpdated nor ReservationUpdated
(contract §6) would tell it anything. Source: contract §10; what it leaves open stands at the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import msgspec
from msgspec.structs import replace

from workflow import fingerprints
from workflow.booking import Booking, Guest, Party
from workflow.commands import BookingRequest, CreateBooking, DeleteBooking, EraseGuest, UpdateBooking
from workflow.entry import Facts, Json
from workflow.errors import KeyReused, Refused, UnknownBooking, short
from workflow.journal.port import Seen
from workflow.ledger import salted_hash
from workflow.offer import Offer
from workflow.unit import Outcome, Unit

B = TypeVar("B", bound=Booking)


def handle(command: BookingRequest, unit: Unit, new_salt: Callable[[], str], offer: Offer) -> Outcome:
    """Store a command about a party or a reservation. Raises UnknownBooking; other refusals are in the outcome and leave no trace."""
    match command:
        case CreateBooking():
            return _create(command, unit, new_salt, offer)
        case UpdateBooking():
            return _update(command, unit, new_salt, offer)
        case DeleteBooking():
            return _delete(command, unit)
        case EraseGuest():
            return _erase(command, unit)


def _create(command: CreateBooking, unit: Unit, new_salt: Callable[[], str], offer: Offer) -> Outcome:
    """A new booking, or the one that the same request made before, as it is now.

    The key is Dojo's id and the content, start time included: so a late copy never seats anybody twice, not even after its party left or
    was deleted; and Dojo may use an id again, for which it promises nothing, once the booking that has it is no longer current.
    """
    booking, source = command.booking, f"create_{command.booking.kind}"
    first_id, key = _made_before(command, source, unit)
    if first_id:
        first = unit.transaction.booking(booking.kind, first_id)
        assert first is not None  # A deleted booking stays, without its guest.
        return _outcome(first, unit)
    if refusal := _clash(booking, None, unit, offer):
        return Outcome(refusal=refusal)
    outcome = _store(replace(booking, created_at=unit.at), None, command.guest, unit, new_salt)
    assert outcome.booking
    unit.transaction.remember(source, key, Seen(outcome.booking.personal_hash, booking.id), unit.at)
    return outcome


def _made_before(command: CreateBooking, source: str, unit: Unit) -> tuple[str, str]:
    """The id of the booking that the same request made, "" where there is none, and a key under which none was made.

    Of an erased guest nothing is left to tell by, so that the request counts as the same whatever its guest.
    """

    def is_same_guest(seen: Seen) -> bool:
        salt = unit.transaction.guest_salt(seen.order_id)
        return (bool(seen.fingerprint) and not salt) or seen.fingerprint == fingerprints.hash_of(command.guest, salt)

    booking = replace(command.booking, id="")
    if seen := unit.transaction.seen(source, fingerprints.older_key_of_booking(booking, command.guest, unit.transaction)):
        return seen.order_id, ""
    key, seen = fingerprints.key_of_booking(booking, is_same_guest, source, unit.transaction)
    return (seen.order_id if seen else ""), key


def _update(command: UpdateBooking, unit: Unit, new_salt: Callable[[], str], offer: Offer) -> Outcome:
    """Replace the details; what Dojo's request has no field for stays."""
    before = _known(command.booking, unit)
    booking = _kept(command.booking, before)
    if booking == before and (before.erased_at or command.guest == unit.transaction.guest(before.id)):
        return _outcome(before, unit)
    if refusal := _clash(booking, before, unit, offer):
        return Outcome(refusal=refusal)
    return _store(booking, before, command.guest, unit, new_salt)


def _delete(command: DeleteBooking, unit: Unit) -> Outcome:
    """Delete a booking and forget its guest; twice is once."""
    before = unit.transaction.booking(command.kind, command.booking_id)
    if before is None:
        raise _unknown(command.kind, command.booking_id)
    if not before.deleted:
        unit.transaction.save_booking(replace(before, deleted=True, personal_hash=""), before)
        _forget(before, unit)
        trigger = f"delete_{command.kind}"
        unit.note("system", {"id": before.id}, cause=f"{trigger}:{before.id}", actor=command.actor, trigger=trigger)
    return Outcome()


def _erase(command: EraseGuest, unit: Unit) -> Outcome:
    """Erase what is known of the guest of a party that has left, or of a reservation whose time is over; twice is once."""
    before = unit.transaction.booking("party", command.booking_id) or unit.transaction.booking("reservation", command.booking_id)
    if before is None:
        raise _unknown("party or reservation", command.booking_id)
    if not before.is_over(unit.at):
        return Outcome(refusal=Refused(f"{before.kind} {before.id} is not over: its guest is erased once it is, or once Dojo deletes it"))
    if not before.erased_at:
        unit.transaction.save_booking(replace(before, erased_at=unit.at, personal_hash=""), before)
        _forget(before, unit)
        trigger = f"erase_{before.kind}"
        facts: Facts = {"id": before.id, "reason": command.reason}
        unit.note("operator", facts, cause=f"{trigger}:{before.id}", actor=command.actor, trigger=trigger)
    return Outcome()


def _forget(booking: Booking, unit: Unit) -> None:
    unit.transaction.forget_guest(booking.id)
    fingerprints.forget_booking(booking, f"create_{booking.kind}", unit.transaction)


def _known(asked: B, unit: Unit) -> B:
    before = unit.transaction.booking(asked.kind, asked.id)
    if before is None or before.deleted:
        raise _unknown(asked.kind, asked.id)
    return cast(B, before)


def _unknown(kind: str, booking_id: str) -> UnknownBooking:
    return UnknownBooking(f"no {kind} {short(booking_id)}")


def _kept(asked: Booking, before: Booking) -> Booking:
    """`asked` with what an update has no field for."""
    booking = replace(asked, created_at=before.created_at, personal_hash=before.personal_hash, erased_at=before.erased_at)
    if isinstance(booking, Party) and isinstance(before, Party):
        return replace(booking, reservation_id=before.reservation_id, dojo_reservation_id=before.dojo_reservation_id)
    return booking


def _clash(booking: Booking, before: Booking | None, unit: Unit, offer: Offer) -> Refused | None:
    """Why the booking cannot be so. What it has already is not asked again: a party can leave a table that the till has removed."""
    if unknown := offer.unknown_table(booking.table_ids, before.table_ids if before else (), unit.transaction):
        return unknown
    if booking.standing != "current":
        return None
    other = unit.transaction.booking_of_dojo_id(booking.kind, booking.dojo_id)
    if other not in (None, booking.id):
        return KeyReused(f"{booking.kind} {other} has Dojo's id {short(booking.dojo_id)}, with other content")
    if not isinstance(booking, Party):
        return None
    for table_id in booking.table_ids:  # Of an update too: parties move, and one that had left may be back.
        if (party_id := unit.transaction.party_at(table_id)) not in (None, booking.id):
            return Refused(f"table {short(table_id)} has party {party_id}, which has not left")
    return None


def _store(booking: Booking, before: Booking | None, guest: Guest, unit: Unit, new_salt: Callable[[], str]) -> Outcome:
    booking = replace(booking, personal_hash=_keep_guest(booking, guest, unit, new_salt))
    unit.transaction.save_booking(booking, before)
    trigger = f"{'update' if before else 'create'}_{booking.kind}"
    cause = f"{trigger}:{booking.id if before else booking.dojo_id}"
    unit.note("system", {booking.kind: cast(Json, msgspec.to_builtins(booking))}, cause=cause, actor="dojo", trigger=trigger)
    return _outcome(booking, unit)


def _keep_guest(booking: Booking, guest: Guest, unit: Unit, new_salt: Callable[[], str]) -> str:
    """Keep the guest beside the journal; the salted hash, "" where there is nothing to keep."""
    if guest == Guest() or booking.erased_at:
        unit.transaction.forget_guest(booking.id)
        return ""
    if guest == unit.transaction.guest(booking.id):
        return booking.personal_hash
    salt = unit.transaction.guest_salt(booking.id) or new_salt()
    unit.transaction.keep_guest(booking.id, salt, guest)
    return salted_hash(salt, guest)


def _outcome(booking: Booking, unit: Unit) -> Outcome:
    return Outcome(booking=booking, guest=unit.transaction.guest(booking.id))
