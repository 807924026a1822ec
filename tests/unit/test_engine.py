"""The engine on a real journal: what "the same again" means, what is kept where, and messages that come before their order."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from adapters.edge.bill_template import read_template
from adapters.edge.wire import EventData, EventRequestBody
from adapters.epos.handlers import Handlers, HandlerSettings
from tests.builders import Venue, a_bill, an_intent, gbp
from workflow.bill import Customer, Personal
from workflow.commands import (
    AmendOrder,
    CancelOrder,
    CreateOrder,
    LockOrder,
    OpenOrder,
    ReceiveEvent,
    RecordPayment,
    ResolveOrder,
    ResolveVenue,
    SetVenue,
    Sweep,
    ToldPayment,
)
from workflow.errors import KeyReused, Refused, UnknownOrder
from workflow.ledger import canonical
from workflow.money import Money
from workflow.ports import IntentId, OrderId
from workflow.replay import replay, verify

ADA = Personal(customer=Customer(name="Ada Lovelace", email_address="ada@example.com", phone_number="+44 20 7946 0000"), note="window seat")


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def a_payment(intent_id: str = "pi_1", paid: int = 1000) -> ToldPayment:
    return ToldPayment(intent_id=IntentId(intent_id), paid=paid)


def a_create(order_id: str = "o1", **changes: object) -> CreateOrder:
    command = CreateOrder(
        order_id=OrderId(order_id),
        dojo_order_id="dojo-1",
        bill=a_bill(),
        personal=Personal(),
        payments=(a_payment(),),
        captured=False,
    )
    return replace(command, **changes)


def an_open(order_id: str = "o1", **changes: object) -> OpenOrder:
    command = OpenOrder(order_id=OrderId(order_id), key="bill-1", bill=a_bill(), personal=Personal(), actor="till:till-1")
    return replace(command, **changes)


def entries(venue: Venue, order_id: str | None = None, *, kind: str = "") -> list:
    return [entry for entry in venue.reads.entries(order_id=order_id) if kind in ("", entry.kind)]


def transitions(venue: Venue, order_id: str = "o1", machine: str = "order") -> list[str]:
    return [entry.trigger for entry in entries(venue, order_id, kind="transition") if entry.machine.startswith(f"{machine}@")]


def attention(venue: Venue, order_id: str) -> list[str]:
    return [item.code for item in venue.reads.attention() if item.order_id == order_id]


def parked(venue: Venue) -> list[str]:
    return [intent_id for (intent_id,) in venue.reads.rows("SELECT intent_id FROM parked ORDER BY intent_id")]


# -- the same key again


@pytest.mark.parametrize("command", [a_create(), an_open()], ids=["create", "open"])
def test_the_same_request_again_changes_nothing_and_gets_the_order_as_it_is_now(venue, command):  # D1 L1
    first = venue.engine.handle(command)
    size = venue.reads.size()
    for again in range(3):
        outcome = venue.engine.handle(replace(command, order_id=OrderId(f"another-{again}")))
        assert (outcome.order, outcome.refusal) == (first.order, None)
    assert venue.reads.size() == size
    assert venue.order("another-0") is None


def test_the_same_request_again_after_the_order_moved_on_answers_with_where_it_is(venue):  # D1
    venue.engine.handle(a_create())
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    assert venue.engine.handle(a_create()).order == venue.order("o1")
    assert venue.order("o1").state == "updated"


@pytest.mark.parametrize("command", [a_create(), an_open()], ids=["create", "open"])
@pytest.mark.parametrize(
    "changes", [{"bill": a_bill(1001)}, {"bill": a_bill(table="tbl_13")}, {"personal": ADA}], ids=["sum", "table", "who"]
)
def test_the_same_key_with_other_content_is_refused_and_journaled_once(venue, command, changes):  # D2
    first = venue.engine.handle(command).order
    size, tasks = venue.reads.size(), len(venue.reads.tasks(None, 100))
    for _ in range(5):
        outcome = venue.engine.handle(replace(command, **changes))
        assert isinstance(outcome.refusal, KeyReused)
    assert [entry.kind for entry in entries(venue)[size:]] == ["attention"]
    assert attention(venue, "o1") == ["KEY_REUSE"]
    assert len(venue.reads.tasks(None, 100)) == tasks
    now = venue.order("o1")
    assert (now.bill, now.personal_hash, now.state, now.payments) == (first.bill, first.personal_hash, first.state, first.payments)
    assert venue.engine.handle(command).refusal is None


def test_content_without_the_payments_is_what_must_be_the_same(venue):  # D1
    venue.engine.handle(a_create(payments=(a_payment("pi_1", 600),)))
    outcome = venue.engine.handle(a_create(payments=(a_payment("pi_1", 600), a_payment("pi_2", 400))))
    assert outcome.refusal is None
    assert sorted(outcome.order.payments) == ["pi_1", "pi_2"]


def test_an_id_that_the_till_chose_and_another_order_has_is_refused_and_that_order_stays_as_it_is(venue):
    first = venue.engine.handle(a_create("o1")).order
    outcome = venue.engine.handle(an_open("o1", key="o1", bill=a_bill(5), personal=ADA))
    assert isinstance(outcome.refusal, Refused)
    assert venue.order("o1").bill == first.bill
    assert venue.reads.order("o1").personal == Personal()
    assert venue.order("o1").flow == "order_and_pay"


def test_identical_requests_at_once_make_one_order_and_all_get_it(venue):  # D3
    together = threading.Barrier(16)

    def create(number):
        together.wait()
        return venue.engine.handle(a_create(f"o{number}"))

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(create, range(16)))
    assert {outcome.order.id for outcome in outcomes} == {venue.reads.rows("SELECT id FROM orders")[0][0]}
    assert venue.reads.rows("SELECT count(*) FROM orders") == [(1,)]
    assert {outcome.refusal for outcome in outcomes} == {None}


def test_a_refusal_is_not_remembered_and_the_same_request_may_succeed_later(venue):  # I12
    venue.engine.handle(SetVenue(name="taking_orders", value=False, actor="till:till-1"))
    assert venue.engine.handle(a_create()).refusal is not None
    venue.engine.handle(SetVenue(name="taking_orders", value=True, actor="till:till-1"))
    outcome = venue.engine.handle(a_create())
    assert (outcome.refusal, outcome.order.id) == (None, "o1")


def test_a_request_that_cannot_be_stored_leaves_nothing_of_itself(venue):  # K3
    before = {table: venue.reads.rows(f"SELECT count(*) FROM {table}") for table in ("journal", "orders", "inbox", "personal", "outbox")}
    with pytest.raises(ValueError, match="surrogate"):
        venue.engine.handle(a_create(dojo_order_id="\ud800", personal=ADA))
    assert {table: venue.reads.rows(f"SELECT count(*) FROM {table}") for table in before} == before
    assert not venue.tasks


def test_a_request_to_an_order_that_is_not_there_raises_and_leaves_no_trace(venue):
    with pytest.raises(UnknownOrder, match="o9"):
        venue.engine.handle(CancelOrder(order_id=OrderId("o9")))
    assert venue.reads.size() == 0


# -- events


def test_an_event_that_comes_twice_is_applied_once(venue):  # D5
    venue.create()
    venue.event("pi_1", "Captured", event_id="evt_1")
    size, order = venue.reads.size(), venue.order()
    for _ in range(3):
        venue.event("pi_1", "Captured", event_id="evt_1")
    assert (venue.reads.size(), venue.order()) == (size, order)


def test_an_event_on_both_channels_moves_the_order_once(venue):  # D6
    venue.create()
    venue.event("pi_1", "Captured", event_id="evt_1", channel="capability")
    venue.event("pi_1", "Captured", event_id="evt_1", channel="webhook")
    venue.event("pi_1", "Captured", event_id="evt_2", channel="webhook")
    venue.settle({"pi_1": an_intent()})
    assert transitions(venue) == ["create", "authorise", "capture", "reconcile", "update"]
    assert transitions(venue, machine="payment") == ["announce", "authorise", "capture", "reconcile"]
    assert venue.order().paid.value == 1000


def test_two_intents_under_one_event_id_are_two_events(venue):
    venue.create(payments=(a_payment("pi_1", 600), a_payment("pi_2", 400)))
    venue.event("pi_1", "Captured", event_id="evt_1")
    venue.event("pi_2", "Captured", event_id="evt_1")
    assert {intent: payment.state for intent, payment in venue.order().payments.items()} == {"pi_1": "captured", "pi_2": "captured"}


def test_an_event_alone_counts_no_money(venue):  # I10
    venue.create()
    venue.event("pi_1", "Captured")
    assert (venue.order().state, venue.order().paid.value) == ("captured", 0)


@pytest.fixture
def of_one_account(tmp_path):
    venue = Venue(tmp_path, account_ids=frozenset({"acc_1"}))
    yield venue
    venue.close()
    assert replay(venue.reads).mismatches == []


def test_an_event_of_a_foreign_account_is_noted_and_neither_read_nor_applied(of_one_account):
    venue = of_one_account
    venue.event("pi_2", "Captured", account="acc_2")
    [noted] = entries(venue, "", kind="event")
    assert (noted.payment_intent_id, noted.entry().body["accountId"]) == ("pi_2", "acc_2")
    assert (list(venue.tasks), parked(venue), venue.reads.attention()) == ([], [], [])


def test_an_event_of_a_foreign_account_about_our_payment_moves_nothing_and_calls_a_person(of_one_account):
    venue = of_one_account
    venue.create()
    for _ in range(2):
        assert venue.event("pi_1", "Captured", account="acc_2").became == "ignored"
    assert (venue.order().state, venue.order().payments["pi_1"].state, list(venue.tasks)) == ("authorised", "authorised", [])
    assert attention(venue, "o1") == ["PAYMENT_CONFLICT"]
    assert "acc_2" in venue.order().attention[0].detail

    venue.clock.move(60)
    venue.engine.handle(Sweep(limit=10))
    venue.settle({"pi_1": an_intent()})
    assert (venue.order().state, venue.order().paid.value) == ("updated", 1000), "what Dojo shows when it is asked is good"


def test_an_event_storm_makes_one_transition_and_little_work(venue):  # D15
    venue.create()
    for number in range(200):
        venue.event("pi_1", "Captured", event_id=f"evt_{number}")
    assert transitions(venue) == ["create", "authorise", "capture"]
    assert len(venue.reads.tasks(None, 1000)) <= 3


def test_ten_thousand_copies_of_an_event_are_answered_from_what_is_known(venue):  # D15
    """None of them waits for the writer."""
    became = Counter()
    settings = HandlerSettings(
        currency="GBP", mode="event", search_days=90, tables_answer="pages", zone=ZoneInfo("UTC"), bill=read_template(None, "The Corner")
    )
    handlers = Handlers(venue.engine, venue.reads, venue.clock, settings, lambda what, outcome: became.update([(what, outcome)]))
    venue.create()
    name = "payment_intent.status_updated"
    data = EventData(payment_intent_id="pi_1", payment_status="Captured")
    event = EventRequestBody(id="evt_1", account_id="acc_1", event=name, created_at="2026-03-14T12:00:00Z", data=data)
    handlers.handle_event(event, "capability")
    size = venue.reads.size()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: handlers.handle_event(event, "capability"), range(9_999)))
    assert (venue.reads.size(), became) == (size, {(name, "applied"): 1, (name, "duplicate"): 9_999})
    assert transitions(venue) == ["create", "authorise", "capture"]


@pytest.mark.parametrize(
    ("status", "before", "became"),
    [
        ("Captured", "", "parked"),
        ("Captured", "Authorized", "applied"),
        ("Captured", "Captured", "stale"),
        ("Authorized", "Captured", "stale"),
        ("Created", "Authorized", "stale"),
        ("Refunded", "Captured", "applied"),
        ("Refunded", "Refunded", "stale"),
        ("Settled", "Authorized", "applied"),
    ],
)
def test_what_became_of_an_event_is_said_in_a_word(venue, status, before, became):  # O4 R10
    """A word for what a read must tell is news until the payment has ended."""
    if before:
        venue.create()
        venue.event("pi_1", before)
        venue.settle({"pi_1": an_intent(status=before, refunded=1000 if before == "Refunded" else 0)})
    assert venue.event("pi_1", status, event_id="evt_last").became == became
    assert venue.event("pi_1", status, event_id="evt_last").became == "duplicate"


def test_an_event_that_says_less_than_the_intent_advances_by_the_read(venue):  # M5 I10
    venue.create(payments=())
    venue.event("pi_1", "Authorized")
    venue.settle({"pi_1": an_intent(dojo_order_id="dojo-o1")})
    assert (transitions(venue)[-2:], venue.order().paid.value) == (["reconcile", "update"], 1000)
    venue.event("pi_1", "Authorized")
    venue.settle({"pi_1": an_intent(dojo_order_id="dojo-o1")})
    assert (venue.order().state, venue.order().paid.value) == ("updated", 1000)


def test_a_tip_that_is_changed_later_changes_the_tips_and_nothing_that_is_paid(venue):  # M10
    venue.create()
    for tips in (0, 200, 150):
        venue.event("pi_1", "Captured")
        venue.settle(
            {"pi_1": an_intent(tips=tips, updated_at=f"2026-03-14T12:0{tips // 50}:00Z" if tips != 150 else "2026-03-14T13:00:00Z")}
        )
        order = venue.order()
        assert (order.paid.value, order.tips.value, order.state, order.attention) == (1000, tips, "updated", ())


DIFFERENT = {
    "AMOUNT_MISMATCH": {"amount": gbp(1001), "total": gbp(1001)},
    "CURRENCY_MISMATCH": {"amount": Money(1000, "EUR"), "total": Money(1000, "EUR"), "tips": None},
    "EXTERNAL_ID_MISMATCH": {"external_id": "another-order"},
    "UNKNOWN_STATUS": {"status": "Settled"},
}


@pytest.mark.parametrize("code", DIFFERENT)
def test_an_intent_that_differs_is_read_again_and_again_and_counts_as_soon_as_it_agrees(venue, code):  # M1 M2 M3 M6
    venue.create()
    different = {"pi_1": replace(an_intent(), **DIFFERENT[code])}
    venue.event("pi_1", "Captured")
    venue.settle(different)
    for reads in range(2, 6):
        assert (attention(venue, "o1"), venue.order().paid.value, venue.order().state) == ([code], 0, "captured")
        venue.clock.move(3600)
        venue.engine.handle(Sweep(limit=10))
        venue.settle(different)
        assert len(entries(venue, "o1", kind="check")) == reads
    venue.clock.move(6 * 3600)
    venue.engine.handle(Sweep(limit=10))
    venue.settle({"pi_1": an_intent()})
    assert (attention(venue, "o1"), venue.order().paid.value, venue.order().state) == ([], 1000, "updated")


def test_a_long_text_in_an_event_is_cut_before_it_is_kept(venue):
    command = ReceiveEvent(
        channel="webhook", event_id="evt_1", event="x" * 5000, account_id="acc_1", intent_id=IntentId("pi_1"), status="y" * 5000
    )
    venue.engine.handle(command)
    (entry,) = entries(venue, kind="event")
    assert len(entry.body) < 500


# -- personal data


def everything_but_personal(venue: Venue) -> str:
    """Every value of every row of the file but the table of personal data, as one text."""
    tables = venue.reads.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'personal'")
    return "\n".join(repr(row) for (table,) in tables for row in venue.reads.rows(f"SELECT * FROM {table}"))


@pytest.mark.parametrize("command", [a_create(personal=ADA), an_open(personal=ADA)], ids=["create", "open"])
def test_personal_data_is_kept_beside_the_journal_and_only_its_salted_hash_in_it(venue, command):  # A15
    outcome = venue.engine.handle(command)
    assert outcome.personal == venue.reads.order("o1").personal == ADA
    kept = everything_but_personal(venue)
    for secret in ("Ada", "Lovelace", "ada@example.com", "7946", "window seat"):
        assert secret not in kept
    first = entries(venue, "o1")[0].entry()
    assert first.body["personal"] == hmac.new(b"salt", canonical(ADA).encode(), "sha256").hexdigest()
    assert hashlib.sha256(canonical(ADA).encode()).hexdigest() not in kept


def test_amended_personal_data_replaces_the_old_and_stays_out_of_the_journal(venue):
    venue.engine.handle(an_open(personal=Personal(note="by the door")))
    venue.engine.handle(AmendOrder(order_id=OrderId("o1"), bill=a_bill(1100), personal=ADA, actor="till:till-1"))
    assert venue.reads.order("o1").personal == ADA
    kept = everything_but_personal(venue)
    assert "window seat" not in kept
    assert "by the door" not in kept
    assert venue.order("o1").personal_hash == hmac.new(b"salt", canonical(ADA).encode(), "sha256").hexdigest()


@pytest.mark.parametrize("meanwhile", ["locked", "held"])
def test_an_amendment_that_was_accepted_stays_so_when_its_answer_was_lost_and_another_is_refused_whole(venue, meanwhile):  # I11 L1
    venue.engine.handle(an_open(personal=Personal(note="by the door")))
    amended = AmendOrder(order_id=OrderId("o1"), bill=a_bill(1100), personal=ADA, actor="till:till-1")
    assert venue.engine.handle(amended).refusal is None
    if meanwhile == "locked":
        venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="lock_1", expires_at="2026-03-14T13:00:00.000Z"))
    else:
        venue.event("pi_1", "Authorized")
        venue.settle({"pi_1": an_intent(external_id="o1", status="Authorized", paid=1100)})
        assert venue.order().state == "authorised"
    size = venue.reads.size()

    assert venue.engine.handle(amended).refusal is None
    assert venue.reads.size() == size
    for other in (replace(amended, bill=a_bill(1200)), replace(amended, personal=Personal(note="no nuts"))):
        assert venue.engine.handle(other).refusal
        assert (venue.order().total.value, venue.reads.order("o1").personal) == (1100, ADA)
    assert replay(venue.reads).ok


def test_personal_data_can_be_erased_and_the_order_still_be_served(venue):
    venue.engine.handle(an_open(personal=ADA))
    venue.journal.write(lambda transaction: transaction._connection.execute("DELETE FROM personal"))
    assert venue.reads.order("o1").personal == Personal()
    venue.engine.handle(CancelOrder(order_id=OrderId("o1")))
    assert venue.order("o1").state == "cancelled"
    assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).ok
    assert replay(venue.reads).ok


# -- messages before their order


def test_an_event_before_its_order_is_parked_and_applied_when_the_order_names_the_intent(venue):  # O1
    venue.event("pi_1", "Captured")
    assert parked(venue) == ["pi_1"]
    venue.create("o1", payments=(a_payment(),))
    venue.settle({"pi_1": an_intent()})
    assert (venue.order().state, venue.order().paid.value, parked(venue)) == ("updated", 1000, [])


@pytest.mark.parametrize(
    ("links", "payments"),
    [
        ({"dojo_order_id": "dojo-o1"}, ()),
        ({"external_id": "o1"}, ()),
        ({"external_id": "dojo-o1"}, ()),
        ({"dojo_order_id": "dojo-o1"}, None),
    ],
    ids=["dojo-order-id", "external-id", "external-id-is-dojos", "named-and-linked"],
)
@pytest.mark.parametrize("read", ["read-before-the-order", "read-after-the-order"])
def test_a_parked_intent_finds_its_order_by_its_links_whenever_it_is_read(venue, links, payments, read):  # O1 O9
    world = {"pi_1": an_intent("pi_1", **links)}
    venue.event("pi_1", "Captured")
    if read == "read-before-the-order":
        venue.settle(world)
        assert parked(venue) == ["pi_1"]
    venue.create("o1", payments=payments)
    venue.settle(world)
    assert (venue.order().state, venue.order().paid.value, parked(venue)) == ("updated", 1000, [])
    assert venue.reads.attention() == []


def test_a_parked_intent_finds_the_bill_that_the_till_opens_later(venue):  # O9
    world = {"pi_1": an_intent("pi_1", external_id="o1")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    venue.open("o1")
    venue.settle(world)
    assert (venue.order().state, venue.order().paid.value, parked(venue)) == ("updated", 1000, [])


def test_a_parked_intent_of_another_order_is_left_alone(venue):
    venue.event("pi_9", "Captured")
    venue.settle({"pi_9": an_intent("pi_9", external_id="o9")})
    venue.create("o1")
    assert parked(venue) == ["pi_9"]
    assert sorted(venue.order().payments) == ["pi_1"]


def test_a_refund_that_a_lagging_copy_of_dojo_did_not_show_is_found_by_the_sweep(venue):  # R1 R11
    venue.open("o1")
    paid = an_intent("pi_1", external_id="o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": paid})
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": paid})
    assert venue.order().paid.value == 1000

    venue.clock.move(120)
    venue.engine.handle(Sweep(limit=10))
    venue.settle({"pi_1": replace(paid, status="Refunded", refunded=1000, updated_at="2026-03-14T13:00:00Z")})

    assert (venue.order().paid.value, venue.order().state) == (0, "refunded")


INTERVALS = [60 * 2**number for number in range(9)] + [6 * 3600] * 2
"""Seconds between two reads of what stays open: a lost event costs delay, and an old bill costs Dojo four reads a day."""
NOBODYS = [120, 120, *INTERVALS[3:]]
"""After the first: what no order explains is looked at when it is time to call a person, five minutes after the event."""


@pytest.mark.parametrize(("of_an_order", "intervals"), [(True, INTERVALS), (False, NOBODYS)], ids=["an order's", "nobody's"])
def test_an_intent_that_stays_open_is_read_at_intervals_that_double_up_to_six_hours(venue, of_an_order, intervals):
    world = {"pi_1": an_intent(status="Authorized", external_id="o1" if of_an_order else "not-here")}
    if of_an_order:
        venue.create()
    venue.event("pi_1", "Authorized")
    venue.settle(world)
    venue.clock.move(60)
    venue.engine.handle(Sweep(limit=10))
    venue.settle(world)
    for seconds in intervals:
        venue.clock.move(seconds - 1)
        venue.engine.handle(Sweep(limit=10))
        assert not venue.tasks
        venue.clock.move(1)
        venue.engine.handle(Sweep(limit=10))
        assert [task.intent_id for task in venue.tasks] == ["pi_1"]
        venue.settle(world)


def test_a_word_that_brings_nothing_new_costs_one_more_read_and_no_other(venue):  # D6
    world = {"pi_1": an_intent("pi_1", external_id="o1")}
    venue.open("o1")
    for _ in range(2):
        venue.event("pi_1", "Captured")
        venue.settle(world)
    reads = []
    for _ in range(4):
        venue.clock.move(7 * 3600)
        venue.engine.handle(Sweep(limit=10))
        reads.append(sum(task.effect == "read_intent" for task in venue.tasks))
        venue.settle(world)
    assert (reads, venue.order().state) == ([1, 0, 0, 0], "updated")


def test_an_older_answer_is_no_news_after_dojo_knew_nothing_of_the_intent(venue):
    venue.open("o1")
    paid = an_intent("pi_1", external_id="o1")
    refunded = replace(paid, refunded=400, updated_at="2026-03-14T13:00:00Z")
    for world in ({"pi_1": refunded}, {}, {"pi_1": paid}):
        venue.event("pi_1", "Captured")
        venue.settle(world)
    assert venue.order().paid.value == 600


def test_an_intent_that_a_person_took_off_counts_on_the_order_that_it_names(venue):  # M3
    world = {"pi_1": an_intent("pi_1", external_id="o2")}
    venue.open("o2")
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.settle(world)
    assert attention(venue, "o1") == ["EXTERNAL_ID_MISMATCH"]

    command = ResolveOrder(order_id=OrderId("o1"), action="detach_payment", reason="table 2 paid it", actor="operator:o")
    assert venue.engine.handle(command).refusal is None
    venue.settle(world)

    assert (venue.order("o1").paid.value, attention(venue, "o1")) == (0, [])
    assert (venue.order("o2").paid.value, venue.order("o2").state, attention(venue, "o2")) == (1000, "updated", [])
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": replace(world["pi_1"], status="Refunded", refunded=1000, updated_at="2026-03-14T13:00:00Z")})
    assert (venue.order("o2").paid.value, attention(venue, "o1"), attention(venue, "o2")) == (0, [], ["REFUND_AFTER_UPDATE"])
    assert replay(venue.reads).mismatches == []


def test_what_was_recorded_on_an_order_stays_accepted_there_though_it_pays_another_since(venue):  # I12
    """Dojo gives back what is refused: that would now be the money of the order that it pays."""
    venue.open("o1")
    venue.open("o2")
    recorded = RecordPayment(order_id=OrderId("o1"), intent_id=IntentId("pi_1"), paid=gbp(1000), tips=gbp(0))
    world = {"pi_1": an_intent("pi_1", external_id="o2")}
    assert venue.engine.handle(recorded).refusal is None
    venue.settle(world)
    venue.engine.handle(ResolveOrder(order_id=OrderId("o1"), action="detach_payment", reason="table 2 paid it", actor="operator:o"))
    venue.settle(world)
    assert (venue.order("o1").paid.value, venue.order("o2").paid.value) == (0, 1000)

    assert venue.engine.handle(recorded).refusal is None
    assert venue.engine.handle(replace(recorded, paid=gbp(999))).refusal
    assert (venue.order("o1").paid.value, venue.order("o2").paid.value) == (0, 1000)
    assert replay(venue.reads).mismatches == []


def test_an_order_that_was_created_with_a_payment_stays_accepted_though_that_pays_another_since(venue):  # I11 I12 D1
    command = a_create("o1")
    world = {"pi_1": an_intent("pi_1", external_id="o2")}
    venue.open("o2")
    assert venue.engine.handle(command).refusal is None
    venue.event("pi_1", "Captured")
    venue.settle(world)
    venue.engine.handle(ResolveOrder(order_id=OrderId("o1"), action="detach_payment", reason="table 2 paid it", actor="operator:o"))
    venue.settle(world)
    assert (venue.order("o1").paid.value, venue.order("o2").paid.value) == (0, 1000)

    again = venue.engine.handle(command)
    assert (again.refusal, again.order.id, again.became) == (None, "o1", "duplicate")
    assert attention(venue, "o2") == []
    assert (venue.order("o1").paid.value, venue.order("o2").paid.value) == (0, 1000)
    assert replay(venue.reads).mismatches == []


@pytest.mark.parametrize("world", [{}, {"pi_1": an_intent("pi_1", external_id="o1", paid=999)}], ids=["unknown", "still-differs"])
def test_an_intent_that_a_person_took_off_does_not_trouble_its_order_again(venue, world):
    venue.create("o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent("pi_1", external_id="o1", paid=999)})
    venue.engine.handle(ResolveOrder(order_id=OrderId("o1"), action="detach_payment", reason="a test", actor="operator:o"))
    venue.event("pi_1", "Captured")
    for _ in range(3):
        venue.settle(world)
        venue.clock.move(3600)
        venue.engine.handle(Sweep(limit=10))
    assert (venue.order("o1").paid.value, attention(venue, "o1")) == (0, [])


def test_an_intent_that_agrees_after_a_person_took_it_off_calls_one_again(venue):
    venue.create("o1")
    venue.event("pi_1", "Authorized")
    venue.settle({})
    venue.engine.handle(ResolveOrder(order_id=OrderId("o1"), action="detach_payment", reason="a test", actor="operator:o"))
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent("pi_1", external_id="o1")})
    assert (venue.order("o1").paid.value, attention(venue, "o1")) == (0, ["STATUS_LIE"])


def test_many_events_of_an_unknown_intent_are_read_by_one_waiting_task(venue):  # D15
    for _ in range(20):
        venue.event("pi_1", "Captured")
    assert len(venue.reads.tasks(None, 100)) == 2  # One is under way; the words that came since need one more.


def is_captured_and_not_offered(venue):
    order = venue.order("o1")
    return (order.state, order.payments["pi_1"].state, order.is_payable) == ("captured", "captured", False)


@pytest.mark.parametrize("denied", [False, True], ids=["it was taken", "it was not"])
def test_a_read_under_way_when_dojo_spoke_of_the_money_denies_nothing_and_the_next_one_decides(venue, denied):  # O3 O4 O10
    unpaid = {"pi_1": an_intent("pi_1", status="Created", external_id="o1")}
    venue.open("o1")
    venue.event("pi_1", "Created")
    venue.settle(unpaid)
    venue.event("pi_1", "Created")
    under_way = venue.tasks.popleft()
    venue.event("pi_1", "Captured")
    assert is_captured_and_not_offered(venue)

    venue.perform(under_way, unpaid)
    assert is_captured_and_not_offered(venue)

    venue.settle(unpaid if denied else {"pi_1": an_intent("pi_1", external_id="o1")})
    order = venue.order("o1")
    assert (order.state, order.paid.value, order.is_payable) == (("created", 0, True) if denied else ("updated", 1000, False))


def test_a_read_of_before_its_order_was_known_denies_nothing_that_the_order_says(venue):  # O1
    venue.event("pi_1", "Authorized")
    venue.create("o1")
    orphan, of_the_order = venue.tasks
    venue.tasks.clear()

    venue.perform(orphan, {"pi_1": an_intent(status="Created")})
    assert venue.order("o1").payments["pi_1"].state == "authorised"

    venue.perform(of_the_order, {"pi_1": an_intent(status="Created")})
    assert venue.order("o1").payments["pi_1"].state == "announced"


# -- an intent that pays another order


def test_an_order_that_names_an_intent_of_another_order_is_refused_and_not_made(venue):
    venue.engine.handle(a_create("o1"))
    size = venue.reads.size()
    for _ in range(3):
        outcome = venue.engine.handle(a_create("o2", dojo_order_id="dojo-2", personal=ADA))
        assert isinstance(outcome.refusal, Refused)
        assert outcome.order is None
    assert venue.order("o2") is None
    assert attention(venue, "o1") == ["PAYMENT_CONFLICT"]
    assert [entry.kind for entry in entries(venue)[size:]] == ["attention"]
    assert venue.reads.rows("SELECT count(*) FROM personal") == [(0,)]
    assert venue.order("o1").payments["pi_1"].mismatch == ""


def test_a_repeat_that_adds_an_intent_of_another_order_is_refused_and_adds_nothing(venue):
    venue.create("o1", payments=(a_payment("pi_1"),))
    venue.create("o2", payments=(a_payment("pi_2", 600),))
    command = a_create("o2", dojo_order_id="dojo-o2", payments=(a_payment("pi_2", 600), a_payment("pi_3", 100), a_payment("pi_1", 400)))
    assert isinstance(venue.engine.handle(command).refusal, Refused)
    assert sorted(venue.order("o2").payments) == ["pi_2"]


def test_one_intent_is_never_stored_for_two_orders(venue):  # I2
    venue.create("o1", payments=())
    venue.create("o2", payments=())
    world = {"pi_1": an_intent("pi_1", external_id="o1", dojo_order_id="dojo-o2")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    holders = [order_id for order_id in ("o1", "o2") if venue.order(order_id).payments]
    assert len(holders) == 1
    assert venue.order(holders[0]).payments["pi_1"].mismatch == "EXTERNAL_ID_MISMATCH"
    assert venue.order("o1").paid.value + venue.order("o2").paid.value == 0
    assert replay(venue.reads).ok


def test_a_read_that_lags_behind_an_earlier_one_changes_nothing(venue):
    """Dojo may answer from a copy that has not heard of the refund yet."""
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(refunded=300, updated_at="2026-03-14T13:00:00.1234567Z")})
    assert venue.order().paid.value == 700

    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(updated_at="2026-03-14T12:01:00.123456789Z")})

    assert venue.order().paid.value == 700
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(refunded=400, updated_at="2026-03-14T13:00:01Z")})
    assert venue.order().paid.value == 600


LINKS = {
    "our ledger": {},
    "externalId is our id": {"external_id": "o1"},
    "Dojo's order id": {"dojo_order_id": "dojo-o1"},
    "externalId is Dojo's order id": {"external_id": "dojo-o1"},
    "the legacy reference": {"reference": "o1"},
}


@pytest.mark.parametrize("links", LINKS.values(), ids=[name.replace(" ", "-") for name in LINKS])
def test_an_intent_finds_its_order_by_every_link_that_dojo_publishes(venue, links):
    """Contract §7.4, in its order; the ledger knows an intent that CreateOrder named."""
    told = (ToldPayment(intent_id=IntentId("pi_1"), paid=1000),) if not links else ()
    venue.create(payments=told)
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(**links)})
    assert (venue.order().state, venue.order().paid.value) == ("updated", 1000)


def test_an_intent_that_points_at_two_orders_counts_on_neither(venue):
    venue.open("o1")
    venue.create("o2", payments=())
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(external_id="o1", dojo_order_id="dojo-o2")})
    assert [venue.order(order_id).paid.value for order_id in ("o1", "o2")] == [0, 0]
    assert [item.code for item in venue.order("o1").attention] == ["EXTERNAL_ID_MISMATCH"]


def test_a_reference_that_only_looks_like_ours_finds_nothing(venue):
    """The human reference may repeat: only an order's id in it is a link."""
    venue.open("o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(reference="A-1042")})
    assert venue.order().payments == {}


# -- attention of the venue itself


def orphaned(venue: Venue) -> dict:
    """A venue that was told of an intent that was paid for an order that is not here, long enough ago; Dojo's intents."""
    world = {"pi_1": an_intent(external_id="an-order-of-somebody")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    for _ in range(4):
        sweep(venue, world)
    return world


ORPHANED = [("ORPHAN_EVENT", "pi_1"), ("PAID_NOT_ON_TILL", "pi_1")]


def sweep(venue: Venue, world: dict) -> None:
    venue.clock.move(24 * 3600)
    venue.engine.handle(Sweep(limit=10))
    venue.settle(world)


def of_the_venue(venue: Venue) -> list[tuple[str, str]]:
    return sorted((item.code, item.payment_intent_id) for item in venue.reads.attention() if not item.order_id)


def test_an_intent_that_cannot_be_read_for_too_long_calls_a_person_until_it_can(venue):  # O8
    venue.event("pi_1", "Captured")
    for _ in range(2):
        assert of_the_venue(venue) == []
        venue.clock.move(200)
        venue.engine.handle(Sweep(limit=10))
    assert of_the_venue(venue) == [("ORPHAN_EVENT", "pi_1")]
    assert "could not be read yet" in venue.reads.attention()[0].detail
    venue.settle({"pi_1": an_intent()})
    assert of_the_venue(venue) == []
    venue.event("pi_1", "Refunded")  # Of an intent that was read: it is waited for anew.
    venue.clock.move(200)
    venue.engine.handle(Sweep(limit=10))
    assert of_the_venue(venue) == []


def test_an_orphan_that_a_person_acknowledged_is_waited_for_no_longer(venue):  # O8
    world = orphaned(venue)
    assert of_the_venue(venue) == ORPHANED

    venue.engine.handle(ResolveVenue(action="acknowledge", reason="another till's", actor="operator:ann"))

    found = [(entry.trigger, entry.actor, entry.payment_intent_id) for entry in entries(venue, "", kind="operator")]
    assert found == [("acknowledge", "operator:ann", "pi_1")] * 2
    for _ in range(4):
        sweep(venue, world)
    assert (of_the_venue(venue), venue.tasks) == ([], type(venue.tasks)())
    assert replay(venue.reads).ok


@pytest.mark.parametrize(
    ("action", "intent_id"), [("acknowledge", "pi_other"), ("mark_given_back", ""), ("accept_lost_tail", ""), ("read_again", "pi_other")]
)
def test_what_stands_for_the_venue_is_settled_only_by_the_action_for_it(venue, action, intent_id):
    orphaned(venue)
    command = ResolveVenue(action=action, reason="seen", actor="operator:ann", intent_id=intent_id)
    assert isinstance(venue.engine.handle(command).refusal, Refused)
    assert of_the_venue(venue) == ORPHANED


def test_a_payment_without_an_order_is_read_again_by_a_persons_wish_and_calls_nobody_once_it_went_back(venue):  # O8 I18
    orphaned(venue)
    venue.tasks.clear()
    venue.engine.recover_leases()

    assert venue.engine.handle(ResolveVenue(action="read_again", reason="given back", actor="operator:ann")).refusal is None

    found = [(entry.trigger, entry.actor, entry.payment_intent_id) for entry in entries(venue, "", kind="operator")]
    assert found == [("read_again", "operator:ann", "pi_1")] * 2
    assert of_the_venue(venue) == ORPHANED
    venue.tasks.extend(venue.engine.claim_due(10))
    assert [task.effect for task in venue.tasks] == ["read_intent"], "asked once, whatever is wrong with it"
    venue.settle({"pi_1": an_intent(external_id="elsewhere", status="Refunded", refunded=1000)})
    assert of_the_venue(venue) == [("ORPHAN_EVENT", "pi_1")]
    assert replay(venue.reads).ok


def test_whoever_asks_for_another_action_is_told_which_one_is_for_what_stands(venue):
    orphaned(venue)
    refused = venue.engine.handle(ResolveVenue(action="mark_given_back", reason="seen", actor="operator:ann")).refusal
    assert "PAID_NOT_ON_TILL is for read_again or acknowledge" in str(refused)
