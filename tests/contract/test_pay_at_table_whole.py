"""Pay at Table between the sandbox and a running service: each way of locking, conflicts, lost answers, two waiters at once."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import pytest

from tests.contract.running import a_bill, beside_sandbox, eventually
from workflow.money import Money

LOCKS = ("CreateOrderLock", "DeleteOrderLock", "ExtendOrderLock")
TABLES = count(1)
EXTEND = ("ExtendOrderLock",)
EVENTS = ("HandleEvent:payment_intent.created", "HandleEvent:payment_intent.status_updated")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with beside_sandbox(tmp_path_factory.mktemp("at-table"), SWEEP_S=1, CALL_DEADLINE_MS=60_000, LEASE_S=90) as both:
        yield both


@pytest.fixture
def pair(both):
    yield both
    both.service.await_rest()
    both.service.assert_whole()


@pytest.fixture
def bill(pair):
    """A bill of GBP 10.00 at a table of the test's own."""
    table = f"tbl_{next(TABLES)}"
    order_id = pair.service.till.post("/till/orders", a_bill(total=1000, table=table)).json["id"]
    return SimpleNamespace(id=order_id, table=table)


def paid(pair, bill):
    """What the order shows once all its payments were confirmed: paid, tips, and the states of what was recorded."""
    order = eventually(lambda: found if _is_settled(found := pair.service.order(bill.id)) else None)
    return order["paidAmount"]["value"], order["tipsAmount"]["value"], [payment["state"] for payment in order["payments"]]


def _is_settled(order):
    return order["attention"] == [] and all(payment["state"] not in {"recorded", "captured"} for payment in order["payments"])


@pytest.mark.parametrize("without", [LOCKS, EXTEND, ()], ids=["lock-free", "long-lock", "extended-lock"])
@pytest.mark.parametrize("events", [(), EVENTS], ids=["events", "no-events"])
def test_a_waiter_takes_payments_in_parts_each_counted_once(pair, bill, without, events):
    result = pair.sandbox.pay_at_table(bill.table, parts=3, tips=Money(100, "GBP"), duplicates=1, without=(*without, *events))

    assert result.reason == ""
    assert paid(pair, bill) == (1000, 100, ["reconciled"] * 3)
    assert pair.service.order(bill.id)["lock"] is None


@pytest.mark.parametrize("without", [LOCKS, EXTEND, ()], ids=["lock-free", "long-lock", "extended-lock"])
def test_a_payment_that_is_too_large_goes_back_and_the_bill_is_paid_all_the_same(pair, bill, without):
    result = pair.sandbox.pay_at_table(bill.table, too_large=True, without=without)

    assert result.reason == ""
    assert [pair.sandbox.intents.read(intent_id).status for intent_id in result.intent_ids] == ["Refunded", "Captured"]
    order = eventually(lambda: found if not (found := pair.service.order(bill.id))["attention"] else None)
    assert order["paidAmount"]["value"] == 1000


def test_the_venues_bill_is_printed_before_it_is_paid(pair, bill):
    result = pair.sandbox.pay_at_table(bill.table)

    assert result.reason == ""
    assert [step.detail for step in result.steps if step.name == "GetOrderBill"] == ["printed, GBP 10.00 in all"]


def test_a_second_waiter_is_kept_out_and_let_in_afterwards(pair, bill):
    result = pair.sandbox.pay_at_table(bill.table, second_waiter=True)

    assert result.reason == ""
    assert pair.service.order(bill.id)["lock"] is None


def test_a_short_lock_is_kept_as_long_as_the_waiter_needs(pair, bill):
    assert pair.sandbox.pay_at_table(bill.table, lock_seconds=1, delay_seconds=1.2).reason == ""


@pytest.mark.parametrize("times", [1, 2])
def test_a_payment_whose_answer_was_lost_is_counted_once(pair, bill, times):
    pair.sandbox.fault("POST", f"/v1/orders/{bill.id}/record-payment", "lost", times=times)

    assert pair.sandbox.pay_at_table(bill.table).reason == ""
    assert paid(pair, bill) == (1000, 0, ["reconciled"])


def test_a_payment_whose_answers_are_all_lost_goes_back_and_ends_at_nothing(pair, bill):
    pair.sandbox.fault("POST", f"/v1/orders/{bill.id}/record-payment", "lost", times=3)

    result = pair.sandbox.pay_at_table(bill.table)

    assert "must be 200" in result.reason
    assert eventually(lambda: pair.service.order(bill.id)["paidAmount"]["value"] == 0)
    assert pair.service.order(bill.id)["lock"] is None


@pytest.mark.parametrize("event_first", [True, False])
def test_a_payment_that_is_told_both_ways_counts_once(pair, bill, event_first):
    assert pair.sandbox.pay_at_table(bill.table, event_first=event_first).reason == ""
    assert paid(pair, bill) == (1000, 0, ["reconciled"])


@pytest.mark.parametrize("instead", ["decline", "cancel"])
def test_a_card_that_pays_nothing_leaves_the_bill_payable_and_unlocked(pair, bill, instead):
    assert pair.sandbox.pay_at_table(bill.table, instead_of_capture=instead).reason == ""
    order = pair.service.order(bill.id)
    assert (order["payable"], order["paidAmount"]["value"], order["lock"]) == (True, 0, None)


@pytest.mark.parametrize("afterwards", ["refund", "refund-part", "reversal"])
def test_what_was_recorded_may_be_undone_afterwards(pair, bill, afterwards):
    assert pair.sandbox.pay_at_table(bill.table, afterwards=(afterwards,)).reason == ""
    assert pair.service.order(bill.id)["paidAmount"]["value"] == (500 if afterwards == "refund-part" else 0)


@pytest.mark.parametrize("without", [LOCKS, ()], ids=["lock-free", "locked"])
def test_of_two_waiters_at_once_one_is_paid_and_the_other_is_refused(pair, bill, without):
    with ThreadPoolExecutor(2) as pool:
        asked = {"order_id": bill.id, "delay_seconds": 1.0, "without": (*without, *EVENTS)}
        waiters = [pool.submit(pair.sandbox.pay_at_table, bill.table, waiter_id=waiter, **asked) for waiter in ("1", "2")]
        results = [waiter.result() for waiter in waiters]

    [refused] = [result for result in results if not result.ok]
    assert "409" in refused.reason
    assert [pair.sandbox.intents.read(intent_id).status for intent_id in refused.intent_ids] == (["Refunded"] if without else [])
    order = eventually(lambda: found if not (found := pair.service.order(bill.id))["attention"] else None)
    assert (order["paidAmount"]["value"], order["lock"]) == (1000, None)


def test_a_bill_that_another_waiter_has_locked_lets_nobody_pay(pair, bill):
    lock = {"lockId": "lock_of_somebody", "expiry": "2099-01-01T00:00:00Z"}
    assert pair.service.dojo.post(f"/v1/orders/{bill.id}/lock", lock, waiter_id="99").status == 200

    result = pair.sandbox.pay_at_table(bill.table)

    assert "waiter 99" in result.reason
    assert (result.intent_ids, pair.service.order(bill.id)["lock"]["lockId"]) == ((), "lock_of_somebody")


@pytest.mark.parametrize("capture_mode", ["Auto", "Manual"])
def test_pay_only_with_locks_and_records_ends_as_without(pair, bill, capture_mode):
    result = pair.sandbox.pay_only(bill.table, parts=2, records=True, capture_mode=capture_mode, tips=Money(7, "GBP"))

    assert result.reason == ""
    assert paid(pair, bill) == (1000, 7, ["reconciled"] * 2)


def test_an_order_that_is_paid_later_is_recorded(pair):
    result = pair.sandbox.order_and_pay(pay_later=True, records=True)

    assert result.reason == ""
    assert paid(pair, SimpleNamespace(id=result.order_id))[0] == 5170
