"""What needs a person: when the journal raises and clears it, and how it is said, what is paid and not on the till first of all."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import pytest

from tests.builders import WITH_TILL, Venue, a_bill, a_capture, an_intent
from tests.story import Story, a_tab, codes, created, settled
from workflow.attention import REFUSED_NEXT, concerns, of_order
from workflow.bill import Details
from workflow.commands import (
    AmendOrder,
    AttemptFailed,
    CancelOrder,
    LockOrder,
    RecordPayment,
    RefuseOrder,
    ReleaseLock,
    ResolveOrder,
    Sweep,
    ToldPayment,
)
from workflow.declaration import words
from workflow.lifecycle import ATTENTION, PATIENCE_S, RESOLUTIONS
from workflow.money import Money
from workflow.order import Attention
from workflow.replay import replay, verify

MINUTE, HOUR, DAY = 60, 3600, 86_400
MANUAL = {"capture_mode": "Manual"}


@pytest.fixture
def venue(tmp_path):
    """At the end the journal is whole, and every attention that stands is told by its entries."""
    venue = Venue(tmp_path)
    yield venue
    venue.close()
    assert replay(venue.reads).mismatches == []
    assert verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock).ok


@pytest.fixture
def with_till(tmp_path):
    """A venue whose till is called."""
    venue = Venue(tmp_path, sends=WITH_TILL)
    yield venue
    venue.close()
    assert replay(venue.reads).mismatches == []


def raised(venue, order_id="o1"):
    return [item.code for item in venue.order(order_id).attention]


def told(venue, order_id="o1"):
    """How attention came and went, as the journal has it."""
    found = [entry for entry in venue.reads.entries(order_id=order_id) if entry.kind == "attention"]
    return [(entry.trigger, entry.entry().body["code"]) for entry in found]


def sweep(venue, seconds, world=None):
    """Time goes by, and the sweep comes; where there is a `world`, Dojo answers."""
    venue.clock.move(seconds)
    venue.engine.handle(Sweep(limit=100))
    if world is None:
        venue.tasks.clear()
    else:
        venue.settle(world)


def resolve(venue, action, order_id="o1", intent_id=""):
    return venue.engine.handle(ResolveOrder(order_id=order_id, action=action, reason="looked", actor="operator:ann", intent_id=intent_id))


# -- paid at Dojo, and not on the till


def captured_and_unread(venue):
    """Dojo says that it took the money of an order; nobody can read the intent."""
    venue.create()
    venue.event("pi_1", "Captured")
    venue.tasks.clear()


def test_money_that_dojo_took_and_nobody_can_read_calls_a_person_after_a_while_and_no_more_once_it_counts(venue):  # I20
    captured_and_unread(venue)
    sweep(venue, MINUTE)
    assert raised(venue) == []
    sweep(venue, 2 * MINUTE)
    assert raised(venue) == ["PAID_NOT_ON_TILL"]
    assert venue.order().attention[0].since == "2026-03-14T12:03:00.000Z"
    sweep(venue, 10 * MINUTE)
    assert told(venue) == [("raise", "PAID_NOT_ON_TILL")]

    venue.event("pi_1", "Captured")
    venue.engine.recover_leases()
    while venue.engine.claim_due(10):
        venue.settle({"pi_1": an_intent()})
    assert (venue.order().state, told(venue)) == ("updated", [("raise", "PAID_NOT_ON_TILL"), ("clear", "PAID_NOT_ON_TILL")])


def test_money_that_is_only_held_or_counts_by_dojos_words_is_not_missing_on_the_till(venue):
    venue.create("o1")
    venue.create("o2", payments=(ToldPayment(intent_id="pi_2", paid=1000),), captured=True)
    venue.tasks.clear()
    for _ in range(5):
        sweep(venue, HOUR)
    assert (raised(venue, "o1"), raised(venue, "o2")) == ([], [])


def test_a_person_who_entered_it_by_hand_is_not_called_again(venue):
    captured_and_unread(venue)
    sweep(venue, HOUR)
    assert resolve(venue, "acknowledge").refusal is None
    for _ in range(3):
        sweep(venue, 12 * HOUR)
    assert (raised(venue), told(venue)) == ([], [("raise", "PAID_NOT_ON_TILL"), ("clear", "PAID_NOT_ON_TILL")])


def test_reading_again_is_asked_of_dojo_at_once(venue):
    captured_and_unread(venue)
    sweep(venue, HOUR)
    venue.engine.recover_leases()
    assert resolve(venue, "read_again", intent_id="pi_1").refusal is None
    venue.tasks.extend(venue.engine.claim_due(10))
    venue.settle({"pi_1": an_intent()})
    assert (raised(venue), venue.order().paid.value) == ([], 1000)


def test_money_that_cannot_be_read_calls_a_person_though_the_clock_was_set_back(venue):  # I17 I20 T1
    captured_and_unread(venue)
    venue.clock.jump(-3 * DAY)
    for _ in range(3):
        sweep(venue, 2 * MINUTE)
    assert raised(venue) == ["PAID_NOT_ON_TILL"]


def test_a_disputed_payment_that_was_given_back_in_full_is_with_its_customer(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(paid=900)})
    [concern] = of_order(venue.order())
    assert (concern.code, concern.amount) == ("AMOUNT_MISMATCH", Money(900, "GBP"))
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": an_intent(paid=900, status="Refunded", refunded=900)})
    [concern] = of_order(venue.order())
    assert (concern.code, concern.is_paid_not_on_till, concern.why) == ("AMOUNT_MISMATCH", False, ATTENTION["AMOUNT_MISMATCH"].why)


def test_an_order_that_is_over_says_so_by_other_codes(venue):
    venue.create()
    venue.engine.handle(CancelOrder(order_id="o1"))
    venue.event("pi_1", "Captured")
    for _ in range(4):
        sweep(venue, HOUR)
    assert raised(venue) == ["CANCEL_PENDING_REVERSAL"]


def put_back_tellings(venue):
    """The till could not be called: what it should hear waits."""
    for task in venue.tasks:
        if task.effect == "tell_till":
            later = int(venue.clock.now().timestamp() * 1000) + HOUR * 1000
            venue.engine.handle(AttemptFailed(task=task, error="till: refused", next_at_ms=later))
    venue.tasks.clear()


def test_money_of_which_the_till_could_not_be_told_calls_a_person_until_it_is(with_till):
    with_till.create("o1")
    with_till.create("o2", payments=(ToldPayment(intent_id="pi_2", paid=1000),), captured=True)
    put_back_tellings(with_till)
    sweep(with_till, MINUTE)
    assert raised(with_till, "o2") == []
    sweep(with_till, 2 * MINUTE)
    assert (raised(with_till, "o1"), raised(with_till, "o2")) == ([], ["PAID_NOT_ON_TILL"])
    [concern] = of_order(with_till.order("o2"))
    assert concern.why == "Table tbl_12: GBP 10.00 is paid at Dojo and not on the till."
    assert "requeue" in concern.next
    assert "TILL_URL" in str(resolve(with_till, "read_again", "o2").refusal)

    with_till.clock.move(2 * HOUR)
    with_till.tasks.extend(task for task in with_till.engine.claim_due(10) if task.effect == "tell_till")
    with_till.settle({"pi_2": an_intent("pi_2")})
    assert told(with_till, "o2") == [("raise", "PAID_NOT_ON_TILL"), ("clear", "PAID_NOT_ON_TILL")]


def test_an_order_that_goes_on_changing_is_not_on_the_till_since_its_first_money(with_till):  # I20
    with_till.create(payments=())
    put_back_tellings(with_till)
    with_till.clock.move(HOUR)
    world = {f"pi_{number}": an_intent(f"pi_{number}", paid=100, external_id="o1") for number in range(3)}
    for number in range(3):  # The last one at the second minute's very end.
        with_till.clock.move(MINUTE - 1 if number else 0)
        with_till.event(f"pi_{number}", "Captured")
        with_till.settle(world)
    assert with_till.order().paid.value == 300
    sweep(with_till, 1, world)
    assert raised(with_till) == []
    sweep(with_till, 1, world)
    assert raised(with_till) == ["PAID_NOT_ON_TILL"]


def test_orders_of_which_nothing_is_paid_do_not_keep_the_sweep_from_one_that_is(with_till):
    for number in range(3):
        with_till.create(f"unpaid-{number}")
    with_till.create("paid", payments=(ToldPayment(intent_id="pi_paid", paid=1000),), captured=True)
    put_back_tellings(with_till)
    with_till.clock.move(HOUR)
    with_till.engine.handle(Sweep(limit=1))
    assert raised(with_till, "paid") == ["PAID_NOT_ON_TILL"]


def test_orders_that_a_person_told_the_till_by_hand_do_not_keep_the_sweep_from_one_that_waits(with_till):  # I20
    names = ["seen-1", "seen-2", "waits"]
    for name in names:
        if name == "waits":
            sweep(with_till, HOUR)
            for seen in names[:2]:
                assert resolve(with_till, "acknowledge", seen).refusal is None
        with_till.create(name, payments=(ToldPayment(intent_id=f"pi_{name}", paid=1000),), captured=True)
        put_back_tellings(with_till)
    with_till.clock.move(HOUR)
    with_till.engine.handle(Sweep(limit=1))
    assert [raised(with_till, name) for name in names] == [[], [], ["PAID_NOT_ON_TILL"]]


def test_a_person_who_told_the_till_by_hand_is_not_called_again(with_till):
    with_till.create(captured=True)
    put_back_tellings(with_till)
    sweep(with_till, HOUR)
    assert raised(with_till) == ["PAID_NOT_ON_TILL"]
    resolve(with_till, "acknowledge")
    sweep(with_till, HOUR)
    assert raised(with_till) == []


def test_a_till_that_follows_the_feed_alone_is_waited_for_by_nobody(venue):
    venue.create(captured=True)
    for _ in range(3):
        sweep(venue, HOUR)
    assert raised(venue) == []


def test_an_orphan_that_was_paid_says_how_much_and_for_which_order(venue):  # O1 O8 O9
    world = {"pi_1": an_intent(paid=4820, tips=0, external_id="bill-of-table-12")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    for seconds in (60, 120, 240):
        assert venue.reads.attention() == []
        sweep(venue, seconds, world)
    first, second = concerns(venue.reads.attention_with_orders())
    assert (first.code, first.is_paid_not_on_till, second.code) == ("PAID_NOT_ON_TILL", True, "ORPHAN_EVENT")
    assert first.detail == "Dojo took GBP 48.20 by intent pi_1 for order bill-of-table-12, which is not here"
    assert "bill-of-table-12" in second.detail

    venue.open("bill-of-table-12", total=4820)
    venue.settle(world)
    assert (venue.order("bill-of-table-12").paid.value, venue.reads.attention()) == (4820, [])


def test_an_orphan_that_was_given_back_is_not_paid_any_more(venue):
    world = {"pi_1": an_intent(external_id="elsewhere")}
    venue.event("pi_1", "Captured")
    for seconds in (60, 120, 240):
        sweep(venue, seconds, world)
    sweep(venue, HOUR, {"pi_1": an_intent(external_id="elsewhere", status="Refunded", refunded=1000)})
    assert [item.code for item in venue.reads.attention()] == ["ORPHAN_EVENT"]


def test_what_is_paid_and_not_on_the_till_comes_first_the_oldest_first_with_table_and_sum(venue):
    """Whichever code says so; what is only held, or counts, comes after it."""
    world = {
        "pi_held": an_intent("pi_held", status="Authorized", paid=900, capture_mode="Manual"),
        "pi_less": an_intent("pi_less", paid=4320, tips=500),
        "pi_twice": an_intent("pi_twice", paid=1700),
        "pi_late": an_intent("pi_late", paid=1000),
    }

    def create(order_id, intent_id, total=1000):
        venue.clock.move(1)
        venue.create(order_id, payments=(ToldPayment(intent_id=intent_id, paid=total),), total=total)

    create("held", "pi_held")
    venue.event("pi_held", "Authorized")
    create("less", "pi_less", 4400)
    venue.event("pi_less", "Captured")
    create("unknown", "pi_gone")
    venue.event("pi_gone", "Captured")
    venue.settle(world)
    venue.create("less", payments=(), total=1)  # The same id with other content: KEY_REUSE, grave but no money.
    create("refused", "pi_late")
    venue.event("pi_late", "Captured")
    venue.settle(world)
    venue.clock.move(1)
    venue.engine.handle(RefuseOrder(order_id="refused", reason="no fish", actor="till:t"))

    found = concerns(venue.reads.attention_with_orders())

    assert [(concern.order_id, concern.code, concern.is_paid_not_on_till) for concern in found] == [
        ("less", "AMOUNT_MISMATCH", True),
        ("unknown", "INTENT_NOT_FOUND", True),
        ("refused", "PAID_BUT_REFUSED", True),
        ("held", "AMOUNT_MISMATCH", False),
        ("less", "KEY_REUSE", False),
    ]
    assert [concern.amount for concern in found] == [Money(4820, "GBP"), Money(1000, "GBP"), Money(1000, "GBP"), None, None]
    assert found[0].why == f"Table tbl_12: GBP 48.20 is paid at Dojo and not on the till. {ATTENTION['AMOUNT_MISMATCH'].why}"
    assert found[3].why == ATTENTION["AMOUNT_MISMATCH"].why
    assert all(concern.next == ATTENTION[concern.code].next for concern in found)
    assert [concern.since for concern in found[:3]] == sorted(concern.since for concern in found[:3])


@pytest.mark.parametrize(
    ("status", "paid_at_dojo"), [(None, True), ("Captured", True), ("Authorized", False), ("Refunded", None), ("Reversed", None)]
)
def test_a_refused_payment_is_paid_and_not_on_the_till_until_a_read_says_that_it_went_back(venue, status, paid_at_dojo):
    venue.open(total=1000)
    venue.engine.handle(RecordPayment(order_id="o1", intent_id="pi_1", paid=Money(1500, "GBP")))
    if status:
        venue.settle({"pi_1": an_intent(paid=1500, status=status, refunded=1500 if status == "Refunded" else 0)})
    assert [concern.is_paid_not_on_till for concern in of_order(venue.order())] == ([] if paid_at_dojo is None else [paid_at_dojo])


def test_money_that_dojo_gives_back_by_itself_is_not_given_back_by_hand_first(venue):
    """Whatever code says why we refused it: given back twice, it would be lost."""
    venue.open(total=1000)
    venue.engine.handle(RecordPayment(order_id="o1", intent_id="pi_1", paid=Money(1500, "GBP")))
    [concern] = of_order(venue.order())
    assert (concern.code, concern.next) == ("OVERPAID", REFUSED_NEXT)
    assert concern.why.endswith(f"{ATTENTION['OVERPAID'].why} {ATTENTION['PAYMENT_REFUSED'].why}")
    assert concern.detail.startswith("order o1 has GBP 10.00 left to pay, the payment is of GBP 15.00")

    venue.create("o2", payments=(ToldPayment(intent_id="pi_2", paid=1000),))
    venue.event("pi_2", "Captured")
    venue.event("pi_3", "Captured")
    venue.settle({"pi_2": an_intent("pi_2"), "pi_3": an_intent("pi_3", external_id="o2")})
    [counted] = of_order(venue.order("o2"))
    assert (counted.code, counted.next) == ("OVERPAID", ATTENTION["OVERPAID"].next)


@pytest.mark.parametrize("code", ATTENTION)
def test_what_to_do_next_names_every_action_that_settles_it_and_no_other(code):
    """In the words of the sentence: `acknowledge` may begin one."""
    named = {resolution.action for resolution in RESOLUTIONS if resolution.action in ATTENTION[code].next.lower()}
    assert named == {resolution.action for resolution in RESOLUTIONS if code in words(resolution.codes)}


def test_money_that_nobody_could_read_is_missed_without_a_sum(venue):
    venue.open()
    venue.settle({})
    venue.event("pi_1", "Created")
    venue.settle({"pi_1": an_intent(status="Created", paid=0, external_id="o1")})
    venue.event("pi_1", "Captured")
    sweep(venue, HOUR)
    [concern] = of_order(venue.order())
    assert (concern.code, concern.amount) == ("PAID_NOT_ON_TILL", None)
    assert "a sum that nobody could read yet is paid at Dojo and not on the till" in concern.why


def test_an_order_without_a_table_is_named_by_its_reference():
    story = created(captured=True)
    bill = msgspec.structs.replace(a_bill(), details=Details(order_type="Collection"))
    attention = Attention(code="PAID_BUT_REFUSED", since="2026-03-14T12:00:00.000Z", detail="d")
    story.order = replace(story.order, bill=bill, attention=(attention,))
    assert of_order(story.order)[0].why.startswith("Order A-1042: GBP 10.00 is paid at Dojo")


# -- less captured than was asked for


def part_captured(venue, *parts):
    world = {"pi_1": an_intent(capture_mode="Manual", captures=tuple(a_capture(part) for part in parts))}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    return world


def test_a_part_capture_calls_a_person_when_the_rest_does_not_come(venue):  # M7
    venue.create()
    world = part_captured(venue, 600)
    order = venue.order()
    assert (order.paid.value, order.is_payable, order.paid_in_full_once, raised(venue)) == (600, True, False, [])
    for seconds in (60, 120, 240):
        sweep(venue, seconds, world)
        assert raised(venue) == []
    sweep(venue, PATIENCE_S["UNDERPAID"] - 420, world)
    assert raised(venue) == ["UNDERPAID"]
    assert "GBP 6.00 of GBP 10.00" in venue.order().attention[0].detail
    assert not venue.order().is_watched("pi_1"), "it is read on the next event, and no more by itself"

    part_captured(venue, 600, 400)
    assert (venue.order().paid.value, told(venue)) == (1000, [("raise", "UNDERPAID"), ("clear", "UNDERPAID")])


def test_the_sweep_finds_the_rest_of_a_part_capture_whose_event_was_lost(venue):  # M7
    venue.create()
    part_captured(venue, 600)
    sweep(venue, MINUTE, {"pi_1": an_intent(capture_mode="Manual", captures=(a_capture(600), a_capture(400)))})
    assert (venue.order().paid.value, venue.order().is_watched("pi_1"), told(venue)) == (1000, False, [])


def test_a_part_capture_that_a_person_saw_stays_settled_until_another_sum_is_paid(venue):  # M7
    venue.create()
    world = part_captured(venue, 600)
    sweep(venue, HOUR, world)
    assert resolve(venue, "acknowledge").refusal is None
    assert not venue.order().is_watched("pi_1")
    for _ in range(2):
        sweep(venue, HOUR, world)
    assert raised(venue) == []
    world = part_captured(venue, 600, 100)
    sweep(venue, HOUR, world)
    assert raised(venue) == ["UNDERPAID"]


def test_a_part_capture_is_no_matter_once_the_bill_is_no_larger(venue):  # M7
    venue.open()
    world = {"pi_1": an_intent(capture_mode="Manual", captures=(a_capture(600),), external_id="o1")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    sweep(venue, HOUR, world)
    assert raised(venue) == ["UNDERPAID"]
    venue.engine.handle(AmendOrder(order_id="o1", bill=a_bill(600), personal=venue.reads.order("o1").personal, actor="till:t"))
    assert raised(venue) == []


def test_the_rest_of_a_split_bill_is_awaited_without_alarm(venue):  # M7 M12
    venue.open()
    world = {"pi_1": an_intent(paid=600, external_id="o1")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    for _ in range(5):
        sweep(venue, HOUR, world)
    assert (raised(venue), venue.order().paid.value) == ([], 600)


def test_a_part_capture_whose_rest_another_payment_holds_calls_nobody_until_that_one_is_given_up(venue):  # M7 M12
    venue.open()
    world = {
        "pi_1": an_intent(capture_mode="Manual", captures=(a_capture(600),), external_id="o1"),
        "pi_2": an_intent("pi_2", status="Authorized", paid=400, external_id="o1", **MANUAL),
    }
    for intent in world.values():
        venue.event(intent.id, intent.status)
    venue.settle(world)
    sweep(venue, HOUR, world)
    assert (venue.order().state, venue.order().is_payable, raised(venue)) == ("authorised", False, [])
    venue.event("pi_2", "Reversed")
    venue.settle(world | {"pi_2": replace(world["pi_2"], status="Reversed")})
    for _ in range(2):
        sweep(venue, HOUR, world)
    assert (venue.order().paid.value, raised(venue)) == (600, ["UNDERPAID"])


# -- reads that are older than one before them


PAID = an_intent(updated_at="2026-03-14T12:10:00Z")
GIVEN_BACK = replace(PAID, status="Refunded", refunded=1000, updated_at="2026-03-14T12:05:00Z")
OTHERWISE = {
    "given back": (GIVEN_BACK, "Refunded (GBP 10.00, GBP 10.00 given back)"),
    "given back in part": (replace(GIVEN_BACK, refunded=400), "Refunded (GBP 10.00, GBP 4.00 given back)"),
    "undone": (replace(GIVEN_BACK, status="Reversed", refunded=0), "Reversed"),
    "another sum": (replace(PAID, amount=Money(900, "GBP"), total=None, updated_at="2026-03-14T12:05:00Z"), "Captured (GBP 9.00)"),
    "another currency": (replace(PAID, amount=Money(1000, "EUR"), updated_at="2026-03-14T12:05:00Z"), "Captured (EUR 10.00)"),
    "a tip": (replace(PAID, tips=Money(100, "GBP"), updated_at="2026-03-14T12:05:00Z"), "Captured (GBP 10.00, GBP 1.00 tips)"),
    "only held": (replace(PAID, status="Authorized", updated_at="2026-03-14T12:05:00Z"), "Authorized (GBP 10.00)"),
    "never published": (replace(PAID, status="Settled", updated_at="2026-03-14T12:05:00Z"), "Settled (GBP 10.00)"),
}
"""An older read of a payment that counts GBP 10.00, and how it is told."""
STOOD = [60, 60, 120, 240, 480, 600]
"""Seconds between the reads of an intent that Dojo spoke of, while they differ from what was read before; at the next it is for long."""


def counted(venue, order_id="o1"):
    venue.create(order_id)
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": PAID})
    assert venue.order(order_id).state == "updated"


def spoken_of(venue, world, seconds=STOOD):
    """Dojo speaks of the payment, and the sweep reads it as often; the world stays as it is."""
    venue.event("pi_1", "Refunded")
    venue.settle(world)
    for each in seconds:
        sweep(venue, each - 1, world)
        reads = checks(venue)
        sweep(venue, 1, world)
        assert checks(venue) == reads + 1


def checks(venue, order_id="o1"):
    return sum(entry.kind == "check" for entry in venue.reads.entries(order_id=order_id))


@pytest.mark.parametrize("how", OTHERWISE)
def test_a_read_that_is_older_than_one_before_it_moves_nothing_and_calls_a_person_where_it_differs_for_long(venue, how):  # I2 I10 I20
    intent, said = OTHERWISE[how]
    counted(venue)
    spoken_of(venue, {"pi_1": intent})
    assert raised(venue) == []
    sweep(venue, 600, {"pi_1": intent})

    [concern] = of_order(venue.order())
    assert (concern.code, concern.payment_intent_id, concern.next) == ("STATUS_LIE", "pi_1", ATTENTION["STATUS_LIE"].next)
    assert concern.detail == (
        f"intent pi_1 reads {said}, and Dojo dates that before what was read earlier, Captured (GBP 10.00): every time of late. "
        "What is dated last stands; where Dojo's portal shows the other, correct the sale on the till and tell Dojo"
    )
    assert (venue.order().state, venue.order().paid.value) == ("updated", 1000)


AGREES = {
    "the same": PAID,
    "newer": replace(PAID, updated_at="2026-03-14T12:11:00Z"),
    "older": replace(PAID, updated_at="2026-03-14T12:04:00Z"),
    "newer, and given back": replace(GIVEN_BACK, updated_at="2026-03-14T12:11:00Z"),
}


@pytest.mark.parametrize("how", AGREES)
def test_a_read_that_agrees_or_is_newer_ends_what_an_older_one_called_for(venue, how):  # I20
    counted(venue)
    spoken_of(venue, {"pi_1": GIVEN_BACK}, [*STOOD, 600])
    assert raised(venue) == ["STATUS_LIE"]
    resolve(venue, "read_again", intent_id="pi_1")
    venue.settle({"pi_1": AGREES[how]})

    assert [each for each in told(venue) if each[1] == "STATUS_LIE"] == [("raise", "STATUS_LIE"), ("clear", "STATUS_LIE")]
    assert venue.order().paid.value == (0 if how == "newer, and given back" else 1000)


def test_older_reads_that_differ_otherwise_by_now_are_ended_by_one_that_agrees_too(venue):  # I20
    counted(venue)
    spoken_of(venue, {"pi_1": OTHERWISE["given back in part"][0]}, [*STOOD, 600])
    assert raised(venue) == ["STATUS_LIE"]
    for intent in (GIVEN_BACK, replace(GIVEN_BACK, updated_at="2026-03-14T12:11:00Z")):
        resolve(venue, "read_again", intent_id="pi_1")
        venue.settle({"pi_1": intent})
    assert "STATUS_LIE" not in raised(venue)


def test_what_a_newer_read_called_for_is_ended_by_no_older_one(venue):  # I20 M4
    counted(venue)
    held = replace(PAID, status="Authorized", updated_at="2026-03-14T12:20:00Z")
    lagging = replace(PAID, updated_at="2026-03-14T12:15:00Z"), replace(held, updated_at="2026-03-14T12:16:00Z")
    for intent in (held, *lagging):
        venue.event("pi_1", "Captured")
        venue.settle({"pi_1": intent})
    assert told(venue) == [("raise", "STATUS_LIE")]
    assert (raised(venue), venue.order().paid.value) == (["STATUS_LIE"], 1000)


@pytest.mark.parametrize("how", AGREES)
def test_a_copy_of_dojos_that_lags_for_a_while_calls_nobody(venue, how):  # R1
    counted(venue)
    spoken_of(venue, {"pi_1": GIVEN_BACK}, STOOD)
    sweep(venue, 600, {"pi_1": AGREES[how]})
    for _ in range(3):
        venue.event("pi_1", "Refunded")
        sweep(venue, 600, {"pi_1": GIVEN_BACK})

    assert "STATUS_LIE" not in {code for _, code in told(venue)}


def test_a_person_who_settled_it_is_called_again_only_where_it_differs_otherwise(venue):  # I20
    counted(venue)
    part = {"pi_1": replace(GIVEN_BACK, refunded=400)}
    spoken_of(venue, part, [*STOOD, 600])
    assert resolve(venue, "acknowledge").refusal is None
    for _ in range(5):
        sweep(venue, 6 * HOUR, part)
    assert raised(venue) == []

    for _ in range(2):
        sweep(venue, 6 * HOUR, {"pi_1": GIVEN_BACK})
        assert raised(venue) == ["STATUS_LIE"]
        assert "GBP 10.00 given back" in venue.order().attention[0].detail

    assert resolve(venue, "acknowledge").refusal is None
    for each in (*part.values(), GIVEN_BACK):
        sweep(venue, 6 * HOUR, {"pi_1": each})
    assert raised(venue) == []


def test_a_person_who_settled_it_is_called_again_where_it_comes_back_after_a_read_that_agreed(venue):  # I20
    counted(venue)
    for _ in range(2):
        spoken_of(venue, {"pi_1": GIVEN_BACK}, [*STOOD, 600])
        assert raised(venue) == ["STATUS_LIE"]
        assert resolve(venue, "acknowledge").refusal is None
        sweep(venue, 6 * HOUR, {"pi_1": PAID})
        sweep(venue, 6 * HOUR, {"pi_1": PAID})


def test_no_jump_of_the_clock_makes_a_copy_that_lags_one_that_differs_for_long(venue):  # T2
    counted(venue)
    spoken_of(venue, {"pi_1": GIVEN_BACK}, STOOD[:3])
    venue.clock.jump(9 * DAY)
    sweep(venue, 240, {"pi_1": GIVEN_BACK})
    assert raised(venue) == []


def test_of_a_payment_that_a_person_took_off_no_older_read_calls_anybody(venue):
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": replace(PAID, amount=Money(900, "GBP"), total=None, external_id="o1")})
    assert resolve(venue, "detach_payment").refusal is None
    for _ in range(3):
        venue.event("pi_1", "Refunded")
        venue.settle({"pi_1": replace(GIVEN_BACK, external_id="o1")})
        venue.clock.move(HOUR)
    assert raised(venue) == []


def test_reads_that_differ_each_otherwise_call_a_person_all_the_same(venue):  # I20
    counted(venue)
    venue.event("pi_1", "Refunded")
    for number, seconds in enumerate((0, *STOOD, 600)):
        assert raised(venue) == []
        sweep(venue, seconds, {"pi_1": replace(GIVEN_BACK, refunded=100 + number % 3)})
    assert raised(venue) == ["STATUS_LIE"]


def test_of_a_payment_that_went_back_a_newer_read_that_says_otherwise_goes_on_calling(venue):  # I20
    counted(venue)
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": replace(GIVEN_BACK, updated_at="2026-03-14T12:20:00Z")})
    for _ in range(2):
        assert "STATUS_LIE" not in raised(venue)
        venue.event("pi_1", "Captured")
        venue.settle({"pi_1": PAID})
        venue.clock.move(HOUR)
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": replace(PAID, updated_at="2026-03-14T12:30:00Z")})
    assert (venue.order().state, raised(venue)) == ("refunded", ["REFUND_AFTER_UPDATE", "STATUS_LIE"])


def test_a_word_about_something_else_does_not_keep_a_person_from_being_called(venue):  # I20
    venue.create()
    held = {"pi_1": an_intent(status="Authorized", updated_at="2026-03-14T12:09:00Z")}
    venue.event("pi_1", "Captured")
    for seconds in (0, 60, 60, 120, 240, 480, 600, 600):
        sweep(venue, seconds, held)
    assert (raised(venue), resolve(venue, "acknowledge").refusal) == (["STATUS_LIE"], None)
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": PAID})
    spoken_of(venue, {"pi_1": GIVEN_BACK}, [*STOOD, 600])

    assert raised(venue) == ["STATUS_LIE"]


def test_once_a_person_was_called_it_is_read_as_seldom_as_anything_else(venue):
    counted(venue)
    spoken_of(venue, {"pi_1": GIVEN_BACK}, [*STOOD, 600, 600])
    reads = checks(venue)
    sweep(venue, 1200, {"pi_1": GIVEN_BACK})
    assert checks(venue) == reads


def test_what_a_mismatch_called_a_person_for_is_not_told_twice(venue):
    counted(venue)
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": replace(PAID, external_id="elsewhere", updated_at="2026-03-14T12:11:00Z")})
    for _ in range(20):
        sweep(venue, HOUR, {"pi_1": GIVEN_BACK})
    assert raised(venue) == ["EXTERNAL_ID_MISMATCH"]


def test_money_that_an_older_read_shows_as_taken_calls_a_person_too(venue):  # I20
    venue.create()
    venue.event("pi_1", "Authorized")
    venue.settle({"pi_1": replace(PAID, status="Authorized")})
    for _ in range(8):
        sweep(venue, 10 * MINUTE, {"pi_1": replace(GIVEN_BACK, status="Captured", refunded=0)})
    [concern] = of_order(venue.order())
    assert (concern.code, venue.order().state, venue.order().paid.value) == ("STATUS_LIE", "authorised", 0)
    assert concern.detail.startswith(
        "intent pi_1 reads Captured (GBP 10.00), and Dojo dates that before what was read earlier, Authorized (GBP 10.00)"
    )


# -- a hold that ran out


def ran_out(intent_id="pi_1", **changes):
    times = {"created_at": "2026-03-14T12:00:00Z", "updated_at": "2026-03-21T12:00:00Z"}
    return an_intent(intent_id, status="Reversed", capture_mode="Manual", **times, **changes)


def test_a_hold_that_runs_out_without_an_event_is_found_by_the_sweep_and_calls_a_person(venue):  # R4
    venue.create()
    held = {"pi_1": an_intent(status="Authorized", capture_mode="Manual")}
    venue.settle(held)
    for _ in range(30):
        sweep(venue, 6 * HOUR, held)
    assert (venue.order().state, raised(venue)) == ("authorised", [])
    for _ in range(2):
        sweep(venue, 6 * HOUR, {"pi_1": ran_out()})
    assert (venue.order().state, raised(venue)) == ("expired", ["AUTH_EXPIRED"])
    assert resolve(venue, "acknowledge").refusal is None
    venue.event("pi_1", "Reversed")
    venue.settle({"pi_1": ran_out()})
    assert (raised(venue), told(venue)) == ([], [("raise", "AUTH_EXPIRED"), ("clear", "AUTH_EXPIRED")])


def test_a_hold_that_dojo_lets_go_early_by_the_intents_own_time_is_expired_too(venue):  # R4
    venue.create()
    intent = replace(ran_out(), updated_at="2026-03-14T12:30:00Z", auto_expire_in="00:30:00")
    sweep(venue, 31 * MINUTE, {"pi_1": intent})
    assert (venue.order().state, raised(venue)) == ("expired", ["AUTH_EXPIRED"])


def test_a_bill_whose_hold_ran_out_is_open_again_and_calls_nobody_once_it_is_paid(venue):  # R4
    venue.open()
    venue.event("pi_1", "Authorized")
    venue.settle({"pi_1": an_intent(status="Authorized", capture_mode="Manual", external_id="o1")})
    sweep(venue, 8 * DAY, {"pi_1": ran_out(external_id="o1")})
    assert (venue.order().state, venue.order().is_payable, raised(venue)) == ("created", True, ["AUTH_EXPIRED"])
    venue.event("pi_2", "Captured")
    venue.settle({"pi_2": an_intent("pi_2", external_id="o1")})
    assert (venue.order().state, raised(venue)) == ("updated", [])


def test_a_hold_that_ran_out_is_no_matter_any_more_when_the_money_that_came_instead_goes_back(venue):  # R4 R1
    venue.open()
    venue.event("pi_1", "Authorized")
    venue.settle({"pi_1": an_intent(status="Authorized", external_id="o1", **MANUAL)})
    sweep(venue, 8 * DAY, {"pi_1": ran_out(external_id="o1")})
    venue.event("pi_2", "Captured")
    venue.settle({"pi_2": an_intent("pi_2", external_id="o1")})
    venue.event("pi_2", "Refunded")
    venue.settle({"pi_2": an_intent("pi_2", status="Refunded", refunded=1000, external_id="o1")})
    assert (venue.order().state, raised(venue)) == ("refunded", ["REFUND_AFTER_UPDATE"])


def test_a_hold_of_money_that_counted_in_words_runs_out_under_its_own_name_alone(venue):  # R4
    venue.create(captured=True)
    sweep(venue, 8 * DAY, {"pi_1": ran_out()})
    assert (venue.order().state, venue.order().paid.value, raised(venue)) == ("expired", 0, ["AUTH_EXPIRED"])


@pytest.mark.parametrize("captured", [False, True], ids=["event", "inline"])
def test_a_hold_that_dojo_shows_beyond_the_time_it_can_last_calls_a_person_once_until_it_is_gone(venue, captured):  # R4 I20
    venue.create(captured=captured)
    held = {"pi_1": an_intent(status="Authorized", **MANUAL)}
    for _ in range(31):
        sweep(venue, 6 * HOUR, held)
    assert raised(venue) == []
    for _ in range(6):
        sweep(venue, 6 * HOUR, held)
    assert raised(venue) == ["STATUS_LIE"]
    assert "let its hold go" in venue.order().attention[0].detail
    assert resolve(venue, "acknowledge").refusal is None
    for _ in range(3):
        sweep(venue, 6 * HOUR, held)
    assert raised(venue) == []
    sweep(venue, 6 * HOUR, {"pi_1": ran_out()})
    assert (venue.order().state, raised(venue)) == ("expired", ["AUTH_EXPIRED"])


def test_a_hold_of_a_cancelled_order_runs_out_as_it_should(venue):  # R7
    venue.create()
    venue.engine.handle(CancelOrder(order_id="o1"))
    assert raised(venue) == ["CANCEL_PENDING_REVERSAL"]
    venue.settle({"pi_1": ran_out()})
    assert (venue.order().state, raised(venue)) == ("cancelled", [])


@pytest.mark.parametrize("status", ["Canceled", "Reversed"])
def test_a_payment_that_somebody_gave_up_is_no_expiry(status):  # R3 R6
    story = created()
    story.read(status)
    assert codes(story.order) == []


# -- money that goes back after the end


@pytest.mark.parametrize(("status", "state"), [("Refunded", "refunded"), ("Reversed", "reversed")])
def test_money_that_goes_back_after_the_order_was_updated_calls_a_person(venue, status, state):  # R1 R2
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    assert venue.order().state == "updated"
    announced = [task.effect for task in venue.reads.tasks(None, 100)].count("order_updated")

    venue.event("pi_1", status)
    back = an_intent(status=status, refunded=1000 if status == "Refunded" else 0)
    venue.settle({"pi_1": back})

    order = venue.order()
    assert (order.state, order.payments["pi_1"].state, order.paid.value) == (state, state, 0)
    assert [task.effect for task in venue.reads.tasks(None, 100)].count("order_updated") == announced + 1
    [item] = order.attention
    assert (item.code, item.payment_intent_id) == ("REFUND_AFTER_UPDATE", "pi_1")
    assert "GBP 10.00" in item.detail
    venue.event("pi_1", status)
    venue.settle({"pi_1": back})
    assert told(venue) == [("raise", "REFUND_AFTER_UPDATE")]
    assert resolve(venue, "acknowledge").refusal is None
    venue.event("pi_1", status)
    venue.settle({"pi_1": back})
    assert raised(venue) == []


def part_refunded(venue):
    """Settled and told; since then a part went back, of which Dojo could not be told yet."""
    venue.create(payments=(ToldPayment(intent_id="pi_1", paid=1000),))
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    venue.event("pi_1", "Captured")
    read_alone(venue, {"pi_1": an_intent(refunded=300)})


def the_other_half(venue):
    """One half settled and told; the other was captured since, of which Dojo could not be told yet."""
    venue.create(payments=(ToldPayment(intent_id="pi_1", paid=500), ToldPayment(intent_id="pi_2", paid=500)))
    half = {"pi_1": an_intent(paid=500), "pi_2": an_intent("pi_2", status="Authorized", paid=500, **MANUAL)}
    venue.event("pi_1", "Captured")
    venue.settle(half)
    venue.event("pi_2", "Captured")
    read_alone(venue, {"pi_2": an_intent("pi_2", paid=500)})


def read_alone(venue, world):
    """Dojo answers reads; what it should be told of fails and waits."""
    while venue.tasks:
        task = venue.tasks.popleft()
        if task.effect == "read_intent":
            venue.perform(task, world)
        else:
            venue.engine.handle(AttemptFailed(task=task, error="503", next_at_ms=venue.engine.now_ms() + DAY * 1000))


@pytest.mark.parametrize("meanwhile", [part_refunded, the_other_half])
def test_money_that_goes_back_while_dojo_does_not_hear_of_newer_sums_calls_a_person(venue, meanwhile):  # R1
    meanwhile(venue)
    assert venue.order().told_seq < venue.order().money_seq
    venue.event("pi_1", "Refunded")
    paid = venue.order().payments["pi_1"].paid
    read_alone(venue, {"pi_1": an_intent(paid=paid, status="Refunded", refunded=paid)})
    assert venue.order().payments["pi_1"].state == "refunded"
    assert raised(venue) == ["REFUND_AFTER_UPDATE"]


@pytest.mark.parametrize(
    ("read", "state"),
    [
        ({"status": "Refunded", "refunded": 1000}, "refunded"),
        ({"status": "Reversed"}, "reversed"),
        ({"status": "Canceled"}, "expired"),
    ],
    ids=["refunded", "reversed", "cancelled"],
)
@pytest.mark.parametrize("disputed", [False, True], ids=["agreed", "disputed"])
def test_money_that_was_recorded_and_went_back_before_it_was_ever_read_calls_a_person(venue, read, state, disputed):  # R1 R2 I12
    """Dojo heard 200 for it, and the till that it is paid: the customer may have left."""
    venue.open()
    recorded = RecordPayment(order_id="o1", intent_id="pi_1", paid=Money(1000, "GBP"))
    assert venue.engine.handle(recorded).refusal is None
    if disputed:
        venue.settle({"pi_1": an_intent(paid=999, external_id="o1")})
        assert raised(venue) == ["AMOUNT_MISMATCH"]
        venue.event("pi_1", read["status"])
    venue.settle({"pi_1": an_intent(external_id="o1", **read)})
    assert (venue.order().state, venue.order().paid.value, raised(venue)) == (state, 0, ["REFUND_AFTER_UPDATE"])
    assert venue.engine.handle(recorded).refusal is None


def test_a_refund_of_more_than_was_paid_too_much_calls_a_person_though_one_was_asked_for(venue):  # R1 M9
    venue.create(payments=(ToldPayment(intent_id="pi_1", paid=1000), ToldPayment(intent_id="pi_2", paid=5)))
    world = {"pi_1": an_intent(), "pi_2": an_intent("pi_2", paid=5)}
    for intent_id in world:
        venue.event(intent_id, "Captured")
    venue.settle(world)
    assert raised(venue) == ["OVERPAID"]
    venue.event("pi_1", "Refunded")
    venue.settle(world | {"pi_1": an_intent(status="Refunded", refunded=1000)})
    assert (venue.order().paid.value, raised(venue)) == (5, ["REFUND_AFTER_UPDATE"])


def test_a_refund_in_full_opens_a_bill_again_that_was_never_paid_in_full(venue):  # R1
    venue.open()
    world = {"pi_1": an_intent(paid=400, external_id="o1")}
    venue.event("pi_1", "Captured")
    venue.settle(world)
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": replace(world["pi_1"], status="Refunded", refunded=400)})
    assert (venue.order().state, venue.order().is_payable, raised(venue)) == ("created", True, ["REFUND_AFTER_UPDATE"])


def test_a_refund_of_a_part_calls_nobody():  # R11
    story = settled()
    story.read("Captured", refunded=300)
    assert codes(story.order) == []


def test_money_that_goes_back_before_dojo_was_told_calls_nobody():
    story = created()
    story.read("Captured")
    story.read("Refunded", refunded=1000)
    assert (story.order.state, codes(story.order)) == ("refunded", [])


def test_money_that_goes_back_because_a_person_was_asked_for_it_calls_nobody_again():
    story = a_tab(1000, 1000)
    assert codes(story.order) == ["OVERPAID"]
    story.read("Refunded", "pi_2", refunded=1000)
    assert codes(story.order) == []

    told_so = settled()
    told_so.refuse()
    told_so.resolve("mark_given_back")
    told_so.read("Refunded", refunded=1000)
    assert codes(told_so.order) == []


# -- locks


def lock(venue, lock_id, until="2026-03-14T12:05:00.000Z", holder=""):
    return venue.engine.handle(LockOrder(order_id="o1", lock_id=lock_id, expires_at=until, holder=holder))


def test_a_lock_that_another_took_over_calls_a_person_until_that_one_is_released(venue):  # X3 I16
    venue.open()
    lock(venue, "L-1", holder="PayAtTable, waiter 42")
    assert lock(venue, "L-2").refusal is not None
    venue.clock.move(6 * MINUTE)
    assert lock(venue, "L-2", "2026-03-14T12:30:00.000Z").refusal is None
    [item] = venue.order().attention
    assert (item.code, item.detail) == (
        "LOCK_STALE",
        "the lock L-1 of PayAtTable, waiter 42 ran out at 2026-03-14T12:05:00.000Z unreleased; L-2 took it over",
    )
    assert lock(venue, "L-1", "2026-03-14T13:00:00.000Z").refusal is not None
    venue.engine.handle(ReleaseLock(order_id="o1", lock_id="L-2"))
    assert told(venue) == [("raise", "LOCK_STALE"), ("clear", "LOCK_STALE")]


def test_a_stale_lock_may_be_acknowledged_and_is_none_where_the_first_was_released(venue):  # X3
    venue.open()
    lock(venue, "L-1")
    venue.engine.handle(ReleaseLock(order_id="o1", lock_id="L-1"))
    lock(venue, "L-2")
    assert raised(venue) == []
    venue.clock.move(HOUR)
    lock(venue, "L-3", "2026-03-14T15:00:00.000Z")
    assert resolve(venue, "acknowledge").refusal is None
    assert raised(venue) == []


def test_a_stale_lock_is_no_matter_once_the_order_has_ended(venue):
    venue.open()
    lock(venue, "L-1")
    venue.clock.move(HOUR)
    lock(venue, "L-2", "2026-03-14T15:00:00.000Z")
    venue.engine.handle(CancelOrder(order_id="o1"))
    assert (venue.order().state, raised(venue)) == ("cancelled", [])


# -- an event that Dojo's books deny


def test_an_event_that_dojos_books_deny_is_polled_every_ten_minutes_and_calls_a_person_after_the_last(venue):  # M4 I10
    venue.create()
    held = {"pi_1": an_intent(status="Authorized", capture_mode="Manual")}
    venue.event("pi_1", "Captured")
    venue.settle(held)
    assert (venue.order().state, venue.order().payments["pi_1"].state, venue.order().paid.value) == ("authorised", "authorised", 0)
    polled, passed = [], 0
    while not raised(venue) and passed < HOUR:
        before = reads_of(venue)
        sweep(venue, 10, held)
        passed += 10
        polled += [passed] * (reads_of(venue) - before)
    gaps = [later - earlier for earlier, later in itertools.pairwise(polled)]
    assert max(gaps) <= 600
    assert len(polled) >= 5
    assert (raised(venue), passed >= PATIENCE_S["STATUS_LIE"]) == (["STATUS_LIE"], True)
    assert "Authorized" in venue.order().attention[0].detail

    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    assert (venue.order().state, told(venue)) == ("updated", [("raise", "STATUS_LIE"), ("clear", "STATUS_LIE")])


def test_a_person_who_looked_at_a_denied_event_is_not_called_about_it_again(venue):  # M4
    venue.create()
    held = {"pi_1": an_intent(status="Authorized", **MANUAL)}
    venue.event("pi_1", "Captured")
    venue.settle(held)
    for _ in range(4):
        sweep(venue, 15 * MINUTE, held)
    assert raised(venue) == ["STATUS_LIE"]
    assert resolve(venue, "acknowledge").refusal is None
    for _ in range(8):
        sweep(venue, 15 * MINUTE, held)
    assert raised(venue) == []


@pytest.mark.parametrize("said", ["in an event", "by CreateOrder", "by CreateOrder as captured"])
def test_money_that_dojo_spoke_of_and_shows_as_never_paid_calls_a_person_until_it_is(venue, said):  # M4 I20
    venue.create(captured="captured" in said)
    unpaid = {"pi_1": an_intent(status="Created")}
    if said == "in an event":
        venue.event("pi_1", "Captured")
    venue.settle(unpaid)
    sweep(venue, 10 * MINUTE, unpaid)
    assert raised(venue) == []
    for _ in range(5):
        sweep(venue, 15 * MINUTE, unpaid)
    assert raised(venue) == ["STATUS_LIE"]
    assert "Created" in venue.order().attention[0].detail
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    assert (venue.order().state, raised(venue)) == ("updated", [])


def reads_of(venue):
    [(count,)] = venue.reads.rows("SELECT count(*) FROM journal WHERE kind = 'check' AND payment_intent_id = 'pi_1'")
    return count


def test_in_mode_inline_books_that_lag_behind_dojos_words_call_nobody(venue):  # M4
    venue.create(captured=True)
    for _ in range(6):
        sweep(venue, HOUR, {"pi_1": an_intent(status="Authorized", capture_mode="Manual")})
    assert (venue.order().state, venue.order().paid.value, raised(venue)) == ("captured", 1000, [])


# -- the declaration


@pytest.mark.parametrize("code", ATTENTION)
def test_every_code_says_why_and_what_next_in_whole_sentences(code):
    why, following = ATTENTION[code]
    assert why.endswith(".")
    assert following.endswith(".")
    assert why[0].isupper()
    assert following[0].isupper()


def test_codes_that_only_time_raises_have_a_named_patience():
    assert set(PATIENCE_S) == {"UNDERPAID", "STATUS_LIE", "HOLD"}


def test_an_order_of_nothing_wrong_has_no_concern():
    story = Story()
    story.open()
    assert of_order(story.order) == []
