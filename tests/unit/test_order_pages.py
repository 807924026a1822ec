"""The pages of orders without a server: what nobody sees in an evening, such as calls that pause, and two operators at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.console import act, attention, order, orders
from adapters.console.orders import DOWNLOADS
from tests.builders import Venue, an_intent, gbp
from tests.console_desk import desk_with, text_of
from workflow.clock import to_text
from workflow.commands import AttemptFailed, LockOrder, PauseDestination, RecordPayment, RefuseOrder, SetVenue
from workflow.ports import IntentId, OrderId

UNTIL = "2026-03-14T12:05:00.000Z"


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path, orders.pages, order.pages, act.pages, attention.pages) as made:
        yield made


def lead(page: str) -> str:
    """Why, next, and the buttons."""
    return page[page.index("Why ") : page.index(" Money ")]


def give_up(venue: Venue) -> str:
    """The oldest call is given up; its id."""
    task = venue.tasks.popleft()
    venue.engine.handle(AttemptFailed(task=task, error="400 no", next_at_ms=None))
    return task.id


def test_a_call_that_was_given_up_leads_to_the_button_that_its_next_sentence_names(desk):
    desk.venue.open()
    task_id = give_up(desk.venue)
    page = desk.get("/orders/o1")
    assert "was given up, and is not made again by itself" in lead(page)
    assert "mend it, then “Try again now”;" in lead(page)
    assert "Try again now tell Dojo of the order Mark as dealt with outbox dead" in lead(page)
    assert "given up 1" in page
    assert "given up after 1 attempt" in desk.get("/orders")
    assert f'href="/outbox/{task_id}/requeue"' in desk.ask("/orders/o1").text
    assert "Nothing has been done yet." in desk.get(f"/outbox/{task_id}/requeue")


def test_of_two_operators_the_second_is_told_what_the_first_did_and_the_page_offers_it_no_more(desk):
    desk.venue.open()
    task_id = give_up(desk.venue)
    assert "Try again" in desk.get("/orders/o1", by="ben")
    desk.post("/act", by="ann", action="requeue", pick=task_id, back="/orders/o1")
    told = desk.post("/act", by="ben", action="requeue", pick=task_id, back="/orders/o1")
    assert "ann did “Try again now” before, and said why: so" in told
    page = desk.get("/orders/o1", by="ben")
    assert "Try again" not in lead(page)
    assert "ann : try the call again" in page


def test_a_call_can_be_stopped_once_it_failed_and_not_while_it_is_made_for_the_first_time(desk):
    desk.venue.open()
    assert "right now" in lead(desk.get("/orders/o1"))
    assert "Stop retrying" not in desk.get("/orders/o1")
    desk.venue.engine.handle(AttemptFailed(task=desk.venue.tasks.popleft(), error="503", next_at_ms=desk.venue.engine.now_ms() + 2_000))
    assert "Stop retrying tell Dojo of the order" in lead(desk.get("/orders/o1"))


def test_calls_that_pause_say_so_on_the_page_and_in_the_list(desk):
    desk.venue.open()
    probe_at_ms = desk.venue.engine.now_ms() + 60_000
    task = desk.venue.tasks.popleft()
    desk.venue.engine.handle(PauseDestination(task=task, error="401", probe_at_ms=probe_at_ms, next_at_ms=None))
    page = desk.get("/orders/o1")
    assert "Dojo is told of the order as soon as Dojo takes our calls again: none goes there now" in lead(page)
    assert "Dojo is told of the order pauses 1" in page
    assert " paused" in desk.get("/orders")


def test_tables_are_called_as_the_till_calls_them(desk):
    desk.venue.open()
    for name, called in (("Garden", "Garden"), ("12", "Table 12"), ("Table 12", "Table 12"), (None, "Table tbl_12")):
        tables = [{"id": "tbl_12", "name": name}] if name else []
        desk.venue.engine.handle(SetVenue(name="tables", value=tables, actor="till:till-1"))
        assert f"Order A-1042 {called} created" in desk.get("/orders/o1")


def test_a_refused_order_says_why_in_the_tills_words_and_that_nothing_is_outstanding(desk):
    desk.venue.open()
    desk.venue.engine.handle(RefuseOrder(order_id=OrderId("o1"), reason="no <b>dough</b>", actor="till:till-1"))
    page = desk.get("/orders/o1")
    assert "The till could not take the order. The till said why it refused: “no <b>dough</b>”." in lead(page)
    assert "<b>dough" not in desk.ask("/orders/o1").text
    assert "Outstanding £0.00" in page


def test_what_is_held_and_what_was_given_back_stand_beside_what_is_paid(desk):
    venue, paid = desk.venue, an_intent(capture_mode="Manual")
    venue.create()
    assert "Held by Dojo £10.00 Outstanding £10.00" in desk.get("/orders/o1")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": paid})
    venue.event("pi_1", "Refunded")
    venue.settle({"pi_1": an_intent(refunded=400)})
    page = desk.get("/orders/o1")
    assert "Paid £6.00 Tips £0.00 Given back £4.00 Outstanding £0.00" in page
    assert "£4.00 that was paid went back to the customer." in lead(page)


def test_a_lock_of_the_past_is_live_where_it_was_live_then(desk):
    desk.venue.open()
    desk.venue.engine.handle(LockOrder(order_id=OrderId("o1"), lock_id="s1", expires_at=UNTIL, holder="Joe"))
    seq = [*desk.venue.reads.entries(order_id="o1")][-1].seq
    desk.venue.clock.move(3_600)
    assert "stale" in desk.get("/orders/o1")
    then = desk.get(f"/orders/o1?at={seq}")
    assert "Held by Joe live Runs out 12:05:00" in then
    assert "This is the past" in lead(then)


def test_moments_in_what_is_told_are_the_venues_or_utc_for_who_wishes_that(desk):
    venue = desk.venue
    venue.clock.jump(120 * 86_400)  # In summer, when the two differ.
    venue.open()
    until = to_text(venue.clock.now() + timedelta(seconds=60))
    there, here = f"{until[11:19]}", f"{int(until[11:13]) + 1}{until[13:19]}"
    lock = LockOrder(order_id=OrderId("o1"), lock_id="s1", expires_at=until, holder="Joe")
    venue.engine.handle(lock)
    refused = venue.engine.handle(replace(lock, lock_id="s2")).refusal
    assert until in str(refused)
    venue.clock.move(120)
    venue.engine.handle(replace(lock, lock_id="s2", expires_at=to_text(venue.clock.now() + timedelta(seconds=60))))
    for path in ("/orders/o1", "/attention"):
        page = desk.get(path)
        assert f"ran out at {here} unreleased" in page, path
        assert until not in page
    assert f"is locked by Joe (session s1) until {here}" in desk.get("/orders/o1")
    assert "clock jumped by +10368000 s, to 13:00:00" in desk.get("/attention")
    assert any(until in item.detail for item in venue.reads.attention())  # What is journaled is not changed.
    desk.session("ben").utc = True
    assert f"ran out at {there} unreleased" in desk.get("/attention", by="ben")


def test_sums_in_what_differs_and_in_the_timeline_are_written_as_all_others(desk):
    venue = desk.venue
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(paid=1024)})
    detail = next(item.detail for item in venue.order("o1").attention if item.code == "AMOUNT_MISMATCH")
    assert "GBP 10.24" in detail
    page = desk.get("/orders/o1")
    told = detail.replace("GBP ", "£")
    assert f"no: {told}" in page
    assert f"Problem: {told}" in page
    assert "GBP 1" not in page


def test_a_payment_that_was_refused_has_its_sums_written_as_all_others(desk):
    venue = desk.venue
    venue.open()
    venue.engine.handle(RecordPayment(order_id=OrderId("o1"), intent_id=IntentId("pi_9"), paid=gbp(1234)))
    detail = venue.order("o1").payments["pi_9"].refused_detail
    assert "GBP 12.34" in detail
    page = desk.get("/orders/o1")
    assert f"no: refused, {detail.replace('GBP ', '£')}" in page
    assert "GBP 1" not in page


def test_a_list_that_is_asked_for_while_as_many_as_may_be_are_written_is_refused_for_the_moment(desk, monkeypatch):
    begun, may_end, write = threading.Semaphore(0), threading.Event(), orders.order_file

    def slow(*asked):
        begun.release()
        assert may_end.wait(30)
        return write(*asked)

    monkeypatch.setattr(orders, "order_file", slow)
    answers = []

    def status():
        with desk.ask("/orders.csv") as answer:
            return answer.status_code

    threads = [threading.Thread(target=lambda: answers.append(status())) for _ in range(DOWNLOADS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=30)
    refused = desk.ask("/orders.csv")
    may_end.set()
    for thread in threads:
        thread.join(30)
    assert (refused.status_code, answers) == (503, [200] * DOWNLOADS)
    assert "try again in a minute" in text_of(refused.text)
    assert int(refused.headers["Retry-After"]) > 0
    assert status() == 200
