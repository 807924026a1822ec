"""Erasing an order's personal data on a real journal: what goes, what stays, what is known again, and when it may not be."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from random import Random

import msgspec
import pytest

from adapters import tillproof_verify
from adapters.edge.orders import answer
from adapters.edge.wire_bookings import party_answer, reservation_answer
from tests.builders import MACHINES, Venue, a_bill, a_party, a_reservation, an_intent, gbp
from tests.old_journal import load
from tests.unit.test_engine import ADA, a_create, an_open, entries, everything_but_personal
from workflow.bill import Personal
from workflow.booking import Guest
from workflow.commands import (
    AmendOrder,
    CancelOrder,
    CreateBooking,
    DeleteBooking,
    EraseGuest,
    EraseOrder,
    LockOrder,
    UpdateBooking,
)
from workflow.errors import KeyReused, LogHeld, OrderLocked, Refused, UnknownBooking, UnknownOrder
from workflow.explaining import check
from workflow.fingerprints import keyed, older_key_of_booking
from workflow.journal.port import Seen
from workflow.journal.reads import TimeLimit
from workflow.ledger import salted_hash
from workflow.order import Erasure
from workflow.past import order_at
from workflow.ports import OrderId
from workflow.proof import Prover
from workflow.replay import rebuild, replay, verify

SAID = ("Lovelace", "ada@example.com", "7946", "window seat", "by the door")
ERASE = EraseOrder(order_id=OrderId("o1"), reason="letter 12", actor="operator:op-1")


@pytest.fixture
def venue(tmp_path):
    venue, salts = Venue(tmp_path), itertools.count()
    venue.engine._settings = replace(venue.engine._settings, new_salt=lambda: f"salt-{next(salts)}")
    yield venue
    venue.close()


@pytest.fixture
def paid(venue):
    """The venue with an order of Ada's that is paid and `updated`."""
    venue.engine.handle(a_create(personal=ADA))
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    assert venue.order().state == "updated"
    return venue


def size(venue: Venue) -> int:
    return venue.reads.size()


def files_of(venue: Venue) -> bytes:
    return b"".join(path.read_bytes() for path in venue.folder.iterdir())


def is_whole(venue: Venue) -> bool:
    return verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).ok and replay(venue.reads).mismatches == []


# What goes, and what stays


def test_nothing_that_a_customer_said_is_left_in_any_file_while_the_journal_is_open(paid):  # I13
    assert [word for word in SAID[:4] if word.encode() not in files_of(paid)] == []  # What is looked for would be seen.
    assert b"salt-0" in files_of(paid)
    salted = paid.order().personal_hash

    assert paid.engine.erase(ERASE).refusal is None

    assert [word for word in (*SAID, "salt-0") if word.encode() in files_of(paid)] == []
    assert paid.reads.order("o1").personal == Personal()
    assert paid.reads.rows("SELECT trim(salt), trim(data) FROM personal") == [("", "{}")]
    assert salted.encode() in files_of(paid)  # The journal proves still that there was something.


def test_an_erasing_is_one_entry_with_who_and_why_and_which_kinds_there_were(paid):  # I18
    paid.engine.erase(ERASE)
    [entry] = [entry for entry in entries(paid, "o1", kind="operator")]
    assert (entry.trigger, entry.actor, entry.cause) == ("erase", "operator:op-1", "erase_order")
    facts = entry.entry().body
    assert (facts["reason"], facts["erased"]) == ("letter 12", ["customer", "note"])
    assert paid.order().erasure == Erasure(at=entry.at, kinds=("customer", "note"))


def test_entries_proofs_and_money_are_what_they_were(paid):
    before, order = entries(paid), paid.order()
    paid.engine.erase(ERASE)
    assert entries(paid)[: len(before)] == before
    after = paid.order()
    assert (after.state, after.paid, after.bill, after.payments) == (order.state, order.paid, order.bill, order.payments)
    assert is_whole(paid)


def test_a_proof_and_a_receipt_from_before_an_erasing_hold_beside_the_proof_from_after_it(paid, tmp_path):  # I7
    prover, files = Prover(paid.reads, paid.journal), {}
    files["before.json"], files["receipt.json"] = prover.prove("o1"), prover.receipt("o1", 1)
    paid.engine.erase(ERASE)
    files["after.json"] = prover.prove("o1")
    files["grown.json"] = prover.consistency(files["before.json"].size, files["after.json"].size)
    for name, made in files.items():
        (tmp_path / name).write_bytes(msgspec.json.encode(made))

    assert tillproof_verify.main([str(tmp_path / name) for name in files]) == 0
    assert files["after.json"].entries[-1].columns["trigger"] == "erase"
    assert not any(said.encode() in (tmp_path / name).read_bytes() for said in SAID for name in files)


def test_the_past_shows_the_order_with_its_customer_gone(paid):
    before = size(paid)
    assert order_at(paid.reads, "o1", before).personal == "kept"
    paid.engine.erase(ERASE)
    assert order_at(paid.reads, "o1", before).personal == "gone"
    assert order_at(paid.reads, "o1", size(paid)).personal == "none"


def test_the_customer_and_the_notes_say_erased_wherever_the_order_is_read(paid):
    paid.engine.erase(ERASE)
    shown = msgspec.to_builtins(answer(*paid.reads.order("o1")))
    assert (shown["customer"], shown["note"]) == ({"name": "erased"}, "erased")


def test_of_an_order_without_customer_and_notes_nothing_says_erased(venue):
    venue.engine.handle(an_open(personal=Personal(display_name="Ada")))
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    venue.engine.erase(ERASE)
    shown = msgspec.to_builtins(answer(*venue.reads.order("o1")))
    assert {"customer", "note", "displayName"} & {*shown} == set()


def test_dojo_and_the_till_are_told_since_they_have_read_it(tmp_path):
    venue = Venue(tmp_path, sends=frozenset({"read_intent", "order_updated", "tell_till"}))
    venue.engine.handle(a_create(personal=ADA))
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    venue.settle({"pi_1": an_intent(status="Canceled")})
    before = size(venue)
    venue.engine.erase(ERASE)
    assert sorted(task.effect for task in venue.tasks) == ["order_updated", "tell_till"]
    assert [entry.trigger for entry in venue.reads.changes(before, 10)] == ["erase"]
    venue.close()


# Again, and later


def test_erasing_twice_is_once(paid):  # I11
    paid.engine.erase(ERASE)
    before = size(paid)
    again = paid.engine.erase(replace(ERASE, reason="once more"))
    assert (again.refusal, again.order, size(paid)) == (None, paid.order(), before)


def test_an_order_that_nothing_is_known_of_is_marked_all_the_same(venue):
    venue.engine.handle(an_open())
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    venue.engine.erase(ERASE)
    assert venue.order().erasure.kinds == ()
    assert is_whole(venue)


def test_what_the_till_says_of_the_customer_after_an_erasing_is_not_kept(venue):
    venue.engine.handle(an_open(personal=ADA))
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(external_id="o1")})
    assert venue.order().state == "updated"
    venue.engine.erase(ERASE)

    amended = venue.engine.handle(AmendOrder(order_id=OrderId("o1"), bill=a_bill(1500), personal=ADA, actor="till:till-1"))

    assert (amended.refusal, amended.order.total) == (None, gbp(1500))
    assert (venue.reads.order("o1").personal, venue.order().personal_hash) == (Personal(), "")
    assert venue.order().erasure
    assert [word for word in SAID if word.encode() in files_of(venue)] == []
    assert is_whole(venue)


@pytest.mark.parametrize("command", [a_create(personal=ADA), an_open("bill-1", personal=ADA)], ids=["create", "open"])
def test_the_same_request_is_known_again_after_an_erasing_and_brings_nothing_back(venue, command):  # D1 I11
    venue.engine.handle(command)
    venue.engine.handle(CancelOrder(order_id=command.order_id))
    venue.settle({"pi_1": an_intent(status="Canceled")})
    venue.engine.erase(replace(ERASE, order_id=command.order_id))
    before = size(venue)

    again = venue.engine.handle(command)

    assert (again.refusal, again.became, size(venue)) == (None, "duplicate", before)
    assert again.personal == Personal()
    other = venue.engine.handle(replace(command, bill=a_bill(1001)))
    assert isinstance(other.refusal, KeyReused)


def test_a_display_name_that_is_taken_back_is_shown_no_more_and_its_salt_goes_with_the_erasing(venue):  # I13 D1
    command = an_open("bill-1", personal=Personal(display_name="Ada Lovelace"))
    venue.engine.handle(command)
    amended = venue.engine.handle(AmendOrder(order_id=OrderId("bill-1"), bill=a_bill(), personal=Personal(), actor="till:till-1"))
    assert (amended.personal, amended.order.personal_hash, venue.reads.order("bill-1").personal) == (Personal(), "", Personal())
    assert is_whole(venue)
    assert venue.engine.handle(command).became == "duplicate"
    assert isinstance(venue.engine.handle(replace(command, personal=ADA)).refusal, KeyReused)

    venue.engine.handle(CancelOrder(order_id=OrderId("bill-1")))
    assert venue.reads.orders_with_personal("2999") == ["bill-1"]
    venue.engine.erase(replace(ERASE, order_id=OrderId("bill-1")))

    assert [word for word in ("Lovelace", "salt-0") if word.encode() in files_of(venue)] == []
    assert venue.reads.orders_with_personal("2999") == []
    assert venue.engine.handle(command).became == "duplicate"
    assert is_whole(venue)


def test_the_same_request_is_known_again_after_the_till_amended_what_it_said_of_the_customer(venue):  # D1
    command = an_open("bill-1", personal=Personal(note="by the door"))
    venue.engine.handle(command)
    venue.engine.handle(AmendOrder(order_id=OrderId("bill-1"), bill=a_bill(), personal=ADA, actor="till:till-1"))
    assert venue.engine.handle(command).became == "duplicate"
    assert isinstance(venue.engine.handle(replace(command, personal=ADA)).refusal, KeyReused)


def test_nobody_who_has_the_whole_file_can_confirm_a_guess_of_what_was_erased(paid):
    """The journal's secret lies in the file, the salt does not any more: no hash that is left is one of the guess alone."""
    salt = paid.journal.write(lambda transaction: transaction.personal_salt("o1"))
    assert salted_hash(salt, ADA) in paid.reads.rows("SELECT fingerprint FROM inbox WHERE source = 'create_order'")[0][0]
    paid.engine.erase(ERASE)
    known = everything_but_personal(paid)
    command = a_create(personal=ADA)
    guesses = [ADA, {"personal": ADA}, {"bill": command.bill, "personal": ADA}, {"bill": command.bill, "personal": ADA, "status": ""}]
    keys = [paid.reads.secret().hex(), ""]
    assert [guess for guess in guesses if paid.journal.write(lambda transaction, guess=guess: keyed(guess, transaction)) in known] == []
    assert [key for key in keys if salted_hash(key, ADA) in known] == []


# When it may not be


def test_of_an_order_that_may_still_be_paid_nothing_is_erased_and_the_refusal_is_journaled(venue):
    venue.engine.handle(an_open(personal=ADA))
    refused = venue.engine.erase(ERASE)
    assert isinstance(refused.refusal, Refused)
    assert "not over" in str(refused.refusal)
    assert (venue.reads.order("o1").personal, venue.order().erasure) == (ADA, None)
    assert "refused" in entries(venue, "o1")[-1].entry().body


def test_while_dojo_holds_money_or_a_lock_nothing_is_erased(venue):  # I16
    venue.engine.handle(a_create(personal=ADA))
    assert isinstance(venue.engine.erase(ERASE).refusal, Refused)
    venue.event("pi_1", "Captured")
    assert isinstance(venue.engine.erase(ERASE).refusal, Refused)
    venue.settle({"pi_1": an_intent()})
    venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="l1", expires_at="2026-03-14T12:05:00.000Z"))
    assert isinstance(venue.engine.erase(ERASE).refusal, OrderLocked)
    venue.clock.move(600)
    assert venue.engine.erase(ERASE).refusal is None


def test_an_unknown_order_is_unknown(venue):
    with pytest.raises(UnknownOrder):
        venue.engine.erase(ERASE)


def test_a_reader_who_holds_the_log_is_told_of_and_the_same_again_finishes_it(paid, monkeypatch):
    monkeypatch.setattr("workflow.engine.LOG_WAIT_S", 0.0)
    with paid.reads.snapshot():
        paid.reads.size()
        paid.create("o2")
        with pytest.raises(LogHeld):
            paid.engine.erase(ERASE)
        assert b"Lovelace" in files_of(paid)
    assert paid.engine.erase(ERASE).refusal is None
    assert b"Lovelace" not in files_of(paid)


def test_an_erasing_that_a_crash_cut_off_before_the_log_was_emptied_is_finished_by_the_next_start(tmp_path):  # K2
    venue = Venue(tmp_path)
    venue.engine.handle(an_open(personal=ADA))
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    venue.engine.handle(ERASE)
    left = tmp_path / "left"
    left.mkdir()
    for path in [path for path in tmp_path.iterdir() if path.is_file()]:
        (left / path.name).write_bytes(path.read_bytes())
    venue.close()
    assert b"Lovelace" in (left / "tillproof.db-wal").read_bytes()

    after = Venue(left)

    assert b"Lovelace" not in files_of(after)
    assert after.order().erasure
    assert is_whole(after)
    after.close()


# Neighbours: what SQLite moves between pages


NOTES = (0, 50, 200, 900, 6000)


def a_note(name: str, dice: Random) -> Personal:
    return Personal(note=f"Mx Canary {name} sits by the window. {'x' * dice.choice(NOTES)}")


@pytest.mark.parametrize("grown", [0, 1000])
def test_no_copy_stays_of_rows_that_moved_while_their_neighbours_grew_or_went(venue, grown):
    """SQLite leaves copies of rows in the gaps of the pages that it moves them from; which ones depends on all their lengths."""
    dice, many = Random(1), [f"m{number}" for number in range(3000)]
    erased = dice.sample(many, 1500)

    def live(transaction):
        for name in (*many, *dice.sample(many, grown)):
            transaction.keep_personal(name, f"salt {name}", a_note(name, dice))

    def erase(transaction):
        for name in erased:
            transaction.forget_personal(name)

    venue.journal.write(live)
    venue.journal.write(erase)
    assert venue.journal.empty_log()

    kept = {name.decode() for name in re.findall(rb"Mx Canary (m\d+) ", files_of(venue))}
    assert kept == {*many} - {*erased}
    assert venue.reads.integrity(limit=TimeLimit(venue.clock, 60)) == "ok"


def test_a_journal_of_an_older_version_is_cleaned_of_what_that_left(venue):
    """It did not note what had moved: so the first erasing writes the table anew."""
    for number in range(300):
        venue.engine.handle(an_open(f"m{number}", key=f"m{number}", personal=Personal(note=f"Mx Canary m{number} {'x' * (number % 200)}")))
    venue.journal.write(lambda transaction: transaction._connection.execute("DELETE FROM meta WHERE name LIKE 'never moved.%'"))
    venue.journal.write(lambda transaction: transaction._connection.execute("DELETE FROM personal WHERE rowid % 3 <> 0"))
    venue.engine.handle(an_open(personal=ADA))
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    venue.engine.erase(ERASE)
    kept = {row[0] for row in venue.reads.rows("SELECT order_id FROM personal")}
    assert [n for n in range(300) if f"m{n}" not in kept and f"Mx Canary m{n} ".encode() in files_of(venue)] == []
    assert venue.reads.rows("SELECT name FROM meta WHERE name = 'never moved.personal'") != []


# Orders of an older version, whose fingerprints have personal data in them


def older_fingerprint(venue: Venue, command) -> None:
    content = {"bill": command.bill, "personal": command.personal}
    if hasattr(command, "status"):
        content["status"] = command.status
    source, key = command.source, command.idempotency_key
    venue.journal.write(lambda tx: tx.refingerprint(source, key, tx.seen(source, key)._replace(fingerprint=keyed(content, tx))))


@pytest.mark.parametrize("command", [a_create(personal=ADA), an_open("bill-1", personal=ADA)], ids=["create", "open"])
def test_an_order_of_an_older_version_is_known_again_before_and_after_an_erasing(venue, command):  # P4
    venue.engine.handle(command)
    older_fingerprint(venue, command)
    assert venue.engine.handle(command).became == "duplicate"
    assert isinstance(venue.engine.handle(replace(command, personal=Personal())).refusal, KeyReused)
    venue.engine.handle(CancelOrder(order_id=command.order_id))
    venue.settle({"pi_1": an_intent(status="Canceled")})

    venue.engine.erase(replace(ERASE, order_id=command.order_id))

    assert venue.engine.handle(command).became == "duplicate"
    assert isinstance(venue.engine.handle(replace(command, bill=a_bill(1001))).refusal, KeyReused)
    older = venue.journal.write(lambda transaction: keyed({"bill": command.bill, "personal": ADA}, transaction))
    assert older not in everything_but_personal(venue)


@pytest.mark.parametrize("command", [a_create(personal=ADA), an_open("bill-1", personal=ADA)], ids=["create", "open"])
@pytest.mark.parametrize("is_older", [False, True])
def test_the_receipt_of_a_request_is_given_again_after_an_erasing(venue, command, is_older):  # D1
    receipt = venue.engine.handle(command).receipt
    if is_older:
        older_fingerprint(venue, command)
    venue.engine.handle(CancelOrder(order_id=command.order_id))
    venue.settle({"pi_1": an_intent(status="Canceled")})
    venue.engine.erase(replace(ERASE, order_id=command.order_id))
    assert venue.engine.handle(command).receipt == receipt


def test_the_display_name_that_an_older_version_journaled_is_shown_no_more_once_it_is_erased(venue):
    bill = msgspec.structs.replace(a_bill(), display_name="Ada Lovelace")
    venue.engine.handle(an_open(bill=bill))
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    assert answer(*venue.reads.order("o1")).display_name == "Ada Lovelace"
    venue.engine.erase(ERASE)
    assert "displayName" not in msgspec.to_builtins(answer(*venue.reads.order("o1")))


# Guests


def a_creation(guest: Guest, booking_id: str = "pty_1", **changes: object) -> CreateBooking:
    return CreateBooking(booking=a_party(booking_id, dojo_id="dojo-1", **changes), guest=guest)


def test_bookings_that_differ_in_the_guest_alone_are_two_and_each_is_known_again(venue):  # D1
    first = venue.engine.handle(a_creation(Guest(name="Ada"))).booking
    ended = replace_part(first, end_time="2026-03-14T21:00:00.000Z")
    venue.engine.handle(UpdateBooking(booking=ended, guest=Guest(name="Ada")))
    second = venue.engine.handle(a_creation(Guest(name="Bob"), "pty_2")).booking
    assert (first.id, second.id) == ("pty_1", "pty_2")
    size_before = size(venue)
    assert venue.engine.handle(a_creation(Guest(name="Ada"), "pty_3")).booking.id == "pty_1"
    assert venue.engine.handle(a_creation(Guest(name="Bob"), "pty_3")).booking.id == "pty_2"
    assert size(venue) == size_before


def test_after_a_guest_is_gone_nothing_in_the_file_confirms_a_guess_and_a_late_copy_seats_nobody(venue):  # I11
    venue.engine.handle(a_creation(Guest(name="Ada Lovelace")))
    venue.engine.handle(DeleteBooking(kind="party", booking_id="pty_1"))
    late = venue.engine.handle(a_creation(Guest(name="Ada Lovelace"), "pty_2"))
    assert late.booking.deleted
    assert [row[0] for row in venue.reads.rows("SELECT id FROM bookings")] == ["pty_1"]
    venue.journal.empty_log()
    assert b"Lovelace" not in files_of(venue)
    asked = replace_part(a_creation(Guest()).booking, id="")
    older = {"booking": asked, "guest": Guest(name="Ada Lovelace")}
    [(kept,)] = venue.reads.rows("SELECT message_id || fingerprint FROM inbox")
    assert venue.journal.write(lambda transaction: keyed(older, transaction)) not in kept


@pytest.mark.parametrize(
    "end", [DeleteBooking(kind="party", booking_id="pty_1"), EraseGuest(booking_id="pty_1", reason="x", actor="operator:op-1")]
)
def test_a_booking_whose_key_an_older_version_made_of_its_guest_too_is_known_again_but_not_by_the_guest(venue, end):  # P4 I13
    asked = a_creation(Guest(name="Ada Lovelace"))
    party = venue.engine.handle(asked).booking
    request = replace_part(asked.booking, id="")

    def older(guest):
        return venue.journal.write(lambda transaction: older_key_of_booking(request, guest, transaction))

    def make_older(transaction):
        [(key, _)] = transaction.requests_of("create_party", "pty_1")
        transaction.rename_request("create_party", key, older_key_of_booking(request, asked.guest, transaction), Seen("", "pty_1"))

    venue.journal.write(make_older)
    assert venue.engine.handle(a_creation(asked.guest, "pty_2")).booking.id == "pty_1"
    assert older(asked.guest) in everything_but_personal(venue)
    left = replace_part(party, status="left", end_time="2026-03-14T11:00:00.000Z")
    venue.engine.handle(UpdateBooking(booking=left, guest=asked.guest))

    assert venue.engine.erase(end).refusal is None if isinstance(end, EraseGuest) else venue.engine.handle(end).refusal is None

    assert older(asked.guest) not in everything_but_personal(venue)
    before = size(venue)
    assert [venue.engine.handle(a_creation(guest, "pty_2")).booking.id for guest in (asked.guest, Guest())] == ["pty_1", "pty_1"]
    assert size(venue) == before
    assert is_whole(venue)


def test_a_reservation_that_the_first_release_took_is_known_again_after_its_erasing(tmp_path):  # P4
    load("schema-1", tmp_path / "tillproof.db")
    for name in ("witness", "key"):
        (tmp_path / f"tillproof.db.{name}").rename(tmp_path / f"tillproof.{name}")
    venue = Venue(tmp_path)
    venue.clock.move(2 * 86_400)
    [(before,)] = venue.reads.rows("SELECT message_id FROM inbox WHERE order_id = 'rsv_1'")

    assert venue.engine.erase(EraseGuest(booking_id="rsv_1", reason="kept a year", actor="operator:op-1")).refusal is None

    assert before not in everything_but_personal(venue)
    again = venue.engine.handle(CreateBooking(booking=a_reservation("rsv_2", dojo_id="dojo-rsv_1"), guest=Guest()))
    assert again.booking.id == "rsv_1"
    assert is_whole(venue)
    venue.close()


def replace_part(part, **changes):
    return msgspec.structs.replace(part, **changes)


def test_the_guest_of_a_party_that_has_left_is_erased_and_stays_so(venue):  # I13 I18
    erase = EraseGuest(booking_id="pty_1", reason="letter 13", actor="operator:op-1")
    party = venue.engine.handle(a_creation(Guest(name="Ada Lovelace"))).booking
    assert isinstance(venue.engine.erase(erase).refusal, Refused)
    venue.engine.handle(UpdateBooking(booking=replace_part(party, end_time="2026-03-14T11:00:00.000Z"), guest=Guest(name="Ada Lovelace")))
    assert b"Lovelace" in files_of(venue)

    assert venue.engine.erase(erase).refusal is None

    assert b"Lovelace" not in files_of(venue)
    [entry] = [entry for entry in entries(venue, kind="operator")]
    assert (entry.trigger, entry.actor, entry.entry().body) == ("erase_party", "operator:op-1", {"id": "pty_1", "reason": "letter 13"})
    before = size(venue)
    assert venue.engine.erase(erase).refusal is None  # Twice is once.
    assert venue.engine.handle(a_creation(Guest(name="Ada Lovelace"), "pty_2")).booking.id == "pty_1"
    assert size(venue) == before
    stored = venue.reads.booking("party", "pty_1")
    assert party_answer(*stored).name == "erased"
    venue.engine.handle(UpdateBooking(booking=replace_part(stored.booking, status="paid"), guest=Guest(name="Ada Lovelace")))
    assert venue.reads.booking("party", "pty_1").guest == Guest()
    assert b"Lovelace" not in files_of(venue)
    assert is_whole(venue)


def test_the_guest_of_a_reservation_is_erased_once_its_time_is_over_and_by_age(venue):
    asked = CreateBooking(booking=a_reservation(dojo_id="dojo-1"), guest=Guest(name="Ada Lovelace"))
    venue.engine.handle(asked)
    erase = EraseGuest(booking_id="rsv_1", reason="kept a year", actor="operator:op-1")
    assert isinstance(venue.engine.erase(erase).refusal, Refused)
    venue.clock.move(2 * 86_400)
    assert venue.reads.bookings_with_guest("2027-01-01T00:00:00.000Z") == ["rsv_1"]
    assert venue.engine.erase(erase).refusal is None
    assert venue.reads.bookings_with_guest("2027-01-01T00:00:00.000Z") == []
    assert reservation_answer(*venue.reads.booking("reservation", "rsv_1")).name == "erased"
    with pytest.raises(UnknownBooking):
        venue.engine.erase(replace(erase, booking_id="rsv_2"))
    assert is_whole(venue)


def test_the_declaration_explains_an_erased_order_and_a_refused_erasing(paid):
    paid.engine.handle(an_open("bill-1", personal=ADA))
    assert paid.engine.erase(replace(ERASE, order_id=OrderId("bill-1"))).refusal
    paid.engine.erase(ERASE)
    assert {told.verdict for told in check(paid.reads, MACHINES)} == {"same"}


def test_replay_rebuilds_the_erasing(paid):
    paid.engine.erase(ERASE)
    assert rebuild(paid.reads).orders["o1"] == paid.order()
