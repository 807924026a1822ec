"""The pages of what needs a person, without a server: what they say of nothing, of very much, and of what nobody sees in an evening."""

from __future__ import annotations

import re

import pytest

from adapters.console import act, attention, outbox, today
from adapters.console.act import AT_ONCE
from adapters.console.attention import AT_A_TIME, FIRST_FEW, MOST_READ
from tests.builders import Venue, a_bill, an_intent, gbp
from tests.console_desk import desk_with
from workflow.bill import Personal
from workflow.commands import AttemptFailed, OpenOrder, PauseDestination, RecordPayment, RequeueTask, SetVenue, Sweep, ToldPayment
from workflow.journal.condition import DISK_FULL
from workflow.ports import IntentId, OrderId


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path, today.pages, attention.pages, outbox.pages, act.pages) as made:
        yield made


def orphans(venue: Venue, count: int) -> None:
    """Payments of nobody, each a moment after the other, of which Dojo knew nothing for too long."""
    for number in range(count):
        venue.event(f"pi_{number:04}", "Captured")
        venue.settle({})
    venue.clock.move(300)
    venue.engine.handle(Sweep(limit=count))
    venue.settle({}, limit=2 * count)


def dead_task(venue: Venue, order_id: str = "o1") -> str:
    venue.open(order_id)
    task = venue.tasks.popleft()
    venue.engine.handle(AttemptFailed(task=task, error="400", next_at_ms=None))
    return task.id


def test_where_nothing_needs_anybody_the_page_says_so_and_nothing_else(desk):
    said = desk.get("/attention")
    assert "Nothing needs anybody." in said
    assert "Preview" not in said
    assert "No call was made yet." in desk.get("/outbox")


def test_a_full_disk_stands_under_the_service_itself(desk):
    desk.venue.journal.condition.begin(DISK_FULL, "no space left on device")
    said = desk.get("/attention")
    assert "The service itself 1" in said
    assert "The disk is full: no order and no payment is taken." in said


def test_of_very_much_the_first_few_of_a_section_are_shown_and_every_page_of_it_can_be_reached(desk):
    count = AT_A_TIME + 3
    orphans(desk.venue, count)
    assert desk.get("/attention").count("Dojo spoke of a payment for an order that is not here. Next") == FIRST_FEW
    assert f"All {count} of “Payments whose order nobody knows”" in desk.get("/attention")
    first, second = (desk.get(f"/attention?section=parked&page={page}") for page in (1, 2))
    assert (first.count("Payment pi_"), second.count("Payment pi_")) == (AT_A_TIME * 4, 3 * 4)  # With its buttons, which name it.
    assert "Page 2 of 2" in desk.get("/attention?section=parked&page=99999")


def test_what_is_not_read_for_one_page_is_told_and_found_by_its_code(desk, monkeypatch):
    monkeypatch.setattr("adapters.console.attention.MOST_READ", 4)
    orphans(desk.venue, 5)
    dead_task(desk.venue)
    said = desk.get("/attention")
    assert "Of 6 things the gravest 4 are listed here." in said
    assert "OUTBOX_DEAD (1)" in said
    assert "order_updated was given up" in desk.get("/attention?code=OUTBOX_DEAD")
    assert MOST_READ >= 10 * AT_A_TIME


def test_no_more_is_done_at_once_than_can_be_looked_at_and_the_oldest_first(desk):
    orphans(desk.venue, AT_ONCE + 2)
    said = desk.get("/act?action=acknowledge&code=ORPHAN_EVENT")
    assert f"Mark as dealt with: {AT_ONCE} things" in said
    assert "At most 100 things are done at once: these are the oldest." in said
    picks = [f":ORPHAN_EVENT:pi_{number:04}" for number in range(AT_ONCE + 2)]
    assert f"done for {AT_ONCE} things of {AT_ONCE}." in desk.post("/act", action="acknowledge", pick=picks)
    assert [item.payment_intent_id for item in desk.venue.reads.attention()] == ["pi_0100", "pi_0101"]


def test_the_second_of_two_operators_is_told_who_was_faster(desk):
    task_id = dead_task(desk.venue)
    assert "Try again now: done for" in desk.post("/act", action="requeue", pick=task_id, by="ann", reason="mended", back="/outbox")
    said = desk.post("/act", action="requeue", pick=task_id, by="ben", reason="me too", back="/attention")
    assert "Not done for Tell Dojo that the order changed" in said
    assert "ann did “Try again now” before, and said why: mended" in said
    assert [entry.actor for entry in desk.venue.reads.entries() if entry.trigger == "requeue"] == ["operator:ann"]


def test_settling_one_thing_leaves_what_stands_beside_it(desk):
    told = (ToldPayment(intent_id=IntentId("pi_1"), paid=1000),)
    desk.venue.create("o1", payments=told, captured=True)
    telling = next(task.id for task in desk.venue.tasks if task.effect == "tell_till")
    desk.post("/act", action="stop", pick=telling)
    assert {item.code for item in desk.venue.reads.attention()} == {"OUTBOX_DEAD", "PAID_NOT_ON_TILL"}
    said = desk.get("/act?action=acknowledge&pick=o1:OUTBOX_DEAD:")
    assert "It settles: outbox dead." in said
    assert "Needs a person as before: paid not on till." in said
    desk.post("/act", action="acknowledge", pick="o1:OUTBOX_DEAD:")
    assert [item.code for item in desk.venue.reads.attention()] == ["PAID_NOT_ON_TILL"]


def test_of_a_payment_of_nobody_one_thing_is_settled_alone_too(desk):
    orphans(desk.venue, 2)
    desk.post("/act", action="acknowledge", pick=":ORPHAN_EVENT:pi_0001")
    assert [item.payment_intent_id for item in desk.venue.reads.attention()] == ["pi_0000"]


def test_why_nothing_is_sent_and_when_it_is_tried_again_is_told_above_the_calls(desk):
    desk.venue.open()
    task, at_ms = desk.venue.tasks.popleft(), desk.venue.engine.now_ms() + 60_000
    desk.venue.engine.handle(PauseDestination(task=task, error="401 no such key", probe_at_ms=at_ms, next_at_ms=at_ms))
    said = desk.get("/outbox")
    assert "Nothing is sent to Dojo since 12:00:00 . Dojo refuses our key" in said
    assert "One call tries again at 12:01:00" in said
    assert "Held back 1" in said


def test_each_kind_of_call_has_its_consequence_told_before_it_is_stopped(desk):
    told = (ToldPayment(intent_id=IntentId("pi_1"), paid=1000),)
    desk.venue.create("o1", payments=told, captured=True)
    tasks = {task.effect: task.id for task in desk.venue.tasks}
    reading, telling = (desk.get(f"/outbox/{tasks[effect]}/stop") for effect in ("read_intent", "tell_till"))
    assert "what Dojo says of this payment stays unchecked" in reading
    assert "it is still read from time to time" in reading
    assert "It is being made at this moment" in reading
    assert "MONEY DEPENDS ON IT: £10.00 is paid, and would be paid and not on the till." in telling
    desk.venue.open("o2")
    news = next(task.id for task in desk.venue.tasks if task.order_id == "o2")
    assert "may show the order as it was before its last change" in desk.get(f"/outbox/{news}/stop")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/outbox/none/requeue", "There is no such call."),
        ("/outbox/none/stop", "There is no such call."),
        ("/orders/none/resolve?action=acknowledge", "There is no such order."),
        ("/act?action=acknowledge&pick=:ORPHAN_EVENT:none", "Nothing stands any more that this would settle."),
        ("/act?action=stop&pick=:ORPHAN_EVENT:none", "There is no call to stop for ORPHAN_EVENT."),
        ("/act?action=acknowledge&pick=none", "expected something that needs a person"),
        ("/act?action=acknowledge", "There is nothing that could be done."),
        ("/act?action=none", "expected one of"),
        ("/orders/none/resolve?action=requeue", "expected one of"),
        ("/orders/none/resolve?action=acknowledge&code=none", "expected a code"),
        ("/act?action=acknowledge&code=none", "expected a code"),
        ("/outbox?after=none", "expected a token"),
    ],
)
def test_what_is_not_there_or_cannot_be_meant_is_told_in_words(desk, path, said):
    assert said in desk.get(path)


@pytest.mark.parametrize("back", ["https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example", "javascript:alert(1)"])
def test_nobody_is_led_elsewhere_after_an_action(desk, back):
    orphans(desk.venue, 1)
    assert "Needs attention" in desk.post("/act", action="acknowledge", pick=":ORPHAN_EVENT:pi_0000", back=back)


def test_looking_changes_nothing(desk):
    task_id = dead_task(desk.venue)
    orphans(desk.venue, 1)
    size = desk.venue.reads.size()
    for path in ("/attention", "/outbox", f"/outbox/{task_id}/requeue", "/orders/o1/resolve?action=acknowledge"):
        desk.get(path)
    desk.get("/act?action=read_again&pick=:ORPHAN_EVENT:pi_0000&pick=o1:OUTBOX_DEAD:")
    assert desk.venue.reads.size() == size


def test_a_call_that_was_done_after_all_is_not_stopped(desk):
    task_id = dead_task(desk.venue)
    desk.venue.engine.handle(RequeueTask(task_id=task_id, reason="so", actor="operator:ann"))
    desk.venue.settle({})
    assert "There is nothing left to stop: this call is done." in desk.get(f"/outbox/{task_id}/stop")
    assert "there is nothing left to stop" in desk.post("/act", action="stop", pick=task_id, back="/outbox")


def paid_in_words(venue: Venue, order_id: str = "o1") -> None:
    """An order of which Dojo says in words that it is paid."""
    venue.create(order_id, payments=(ToldPayment(intent_id=IntentId("pi_1"), paid=1000),), captured=True)


def read(venue: Venue, paid: int) -> None:
    """Everything that was sent is taken, and Dojo's payment of the order reads so."""
    venue.settle({"pi_1": an_intent("pi_1", paid=paid)})


def test_what_changed_since_it_was_shown_is_not_done(desk):
    paid_in_words(desk.venue)
    read(desk.venue, 1001)
    shown = desk.form("/orders/o1/resolve?action=accept_difference")
    desk.post("/act", action="read_again", pick="o1:AMOUNT_MISMATCH:pi_1")
    read(desk.venue, 9900)
    said = desk.post("/act", by="ben", **shown)
    assert "It has changed since you looked." in said
    assert desk.venue.order().paid.value == 0
    assert "accept_difference" not in [entry.trigger for entry in desk.venue.reads.entries()]
    assert "Accept the difference: done" in desk.post("/act", by="ben", **desk.form("/orders/o1/resolve?action=accept_difference"))
    assert desk.venue.order().paid.value == 9900


def test_what_came_after_the_preview_of_an_order_is_not_settled_with_the_rest(desk):
    dead_task(desk.venue)
    shown = desk.form("/orders/o1/resolve?action=acknowledge")
    assert shown["pick"] == ["o1:OUTBOX_DEAD:"]
    desk.venue.engine.handle(OpenOrder(order_id=OrderId("o1"), key="o1", bill=a_bill(777), personal=Personal(), actor="till:till-1"))
    assert {item.code for item in desk.venue.reads.attention()} == {"OUTBOX_DEAD", "KEY_REUSE"}
    desk.post("/act", **shown)
    assert {item.code for item in desk.venue.reads.attention()} == {"KEY_REUSE"}


def test_many_things_of_one_order_are_done_as_they_were_shown_though_each_changes_it(desk):
    dead_task(desk.venue)
    desk.venue.engine.handle(OpenOrder(order_id=OrderId("o1"), key="o1", bill=a_bill(777), personal=Personal(), actor="till:till-1"))
    path = "/orders/o1/resolve?action=acknowledge"
    assert "Needs a person as before" not in desk.get(path)
    assert "Mark as dealt with: done for 2 things of 2." in desk.post("/act", **desk.form(path))
    assert desk.venue.reads.attention() == []


def test_what_an_action_is_not_for_is_told_and_not_left_out_in_silence(desk):
    dead_task(desk.venue)
    orphans(desk.venue, 1)
    said = desk.get("/act?action=requeue&pick=o1:OUTBOX_DEAD:&pick=:ORPHAN_EVENT:pi_0000")
    assert "This is left as it is Payment pi_0000 : There is no call to try again for ORPHAN_EVENT." in said
    said = desk.post("/act", action="requeue", pick=[":ORPHAN_EVENT:pi_0000"])
    assert "Try again now: nothing was left to do." in said
    assert "Not done for Payment pi_0000" in said


def test_money_that_the_till_was_not_told_of_is_told_from_where_it_stands(desk):
    paid_in_words(desk.venue)
    telling = next(task for task in desk.venue.tasks if task.effect == "tell_till")
    desk.venue.tasks.remove(telling)
    desk.venue.engine.handle(AttemptFailed(task=telling, error="till: 503", next_at_ms=desk.venue.engine.now_ms() + 600_000))
    read(desk.venue, 1000)
    desk.venue.clock.move(180)
    desk.venue.engine.handle(Sweep(limit=10))
    said = desk.get("/attention")
    assert "Table tbl_12: £10.00 is paid at Dojo and not on the till. The last try was answered: till: 503." in said
    assert "“Try again now”" in said
    assert "It is told again by itself at 12:10:00 ." in said
    assert "Try again now: done for Tell the till" in desk.post("/act", action="requeue", pick="o1:PAID_NOT_ON_TILL:")
    assert [task.id for task in desk.venue.tasks if task.effect == "tell_till"] == [telling.id]


def money_that_the_till_has_not_heard_of(desk):
    """The call to the till that failed, and is made again in ten minutes; a person is called before that."""
    paid_in_words(desk.venue)
    telling = next(task for task in desk.venue.tasks if task.effect == "tell_till")
    desk.venue.engine.handle(AttemptFailed(task=telling, error="till: 503", next_at_ms=desk.venue.engine.now_ms() + 600_000))
    read(desk.venue, 1000)
    desk.venue.clock.move(180)
    desk.venue.engine.handle(Sweep(limit=10))
    return telling


def test_the_call_that_money_waits_for_can_be_stopped_from_where_it_stands_and_then_only_tried_again(desk):
    telling = money_that_the_till_has_not_heard_of(desk)
    stop = "/act?action=stop&pick=o1:PAID_NOT_ON_TILL:"
    assert "Stop retrying : Table tbl_12" in desk.get("/attention")
    assert "MONEY DEPENDS ON IT: £10.00 is paid" in desk.get(stop)
    assert "Stop retrying: done for Tell the till" in desk.post("/act", **desk.form(stop))
    assert [task.status for task in desk.venue.reads.tasks_of("o1") if task.id == telling.id] == ["dead"]
    said = desk.get("/attention")
    assert "Stop retrying : Table tbl_12" not in said
    assert "Try again now : Table tbl_12" in said


def test_a_table_has_its_name_wherever_a_person_reads_of_it(desk):
    telling = money_that_the_till_has_not_heard_of(desk)
    desk.venue.engine.handle(SetVenue(name="tables", value=[{"id": "tbl_12", "name": "Garden"}], actor="till:till-1"))
    assert "1 order PAID but not on the till: Garden , £10.00" in desk.get("/")
    assert "Garden: £10.00 is paid at Dojo and not on the till." in desk.get("/attention")
    picks = "&pick=o1:PAID_NOT_ON_TILL:"
    for path in (
        "/",
        "/attention",
        "/outbox",
        f"/outbox/{telling.id}/requeue",
        f"/act?action=requeue{picks}",
        f"/act?action=acknowledge{picks}",
    ):
        assert "Garden" in desk.get(path), path
        assert "tbl_12" not in desk.get(path), path


def test_only_what_was_not_done_is_told_as_a_failure(desk):
    task_id = dead_task(desk.venue)
    desk.post("/act", action="requeue", pick=task_id)
    answer = desk.raw("/act", action="requeue", pick=task_id)
    assert re.search(r'<p class="notice bad" role="alert"[^>]*>Not done for [^<]+ann did', answer)
    assert "notice good" not in answer


def test_a_call_on_which_money_has_come_to_depend_is_not_stopped_by_who_saw_none(desk):
    desk.venue.create("o1", payments=())
    [telling] = [task.id for task in desk.venue.tasks if task.effect == "tell_till"]
    shown = desk.form(f"/outbox/{telling}/stop")
    desk.venue.engine.handle(RecordPayment(order_id=OrderId("o1"), intent_id=IntentId("pi_1"), paid=gbp(1000)))
    assert "It has changed since you looked." in desk.post("/act", **shown)
    assert "MONEY DEPENDS ON IT: £10.00 is paid" in desk.get(f"/outbox/{telling}/stop")
    assert "Stop retrying: done" in desk.post("/act", **desk.form(f"/outbox/{telling}/stop"))


def test_a_reason_is_kept_without_card_numbers_and_shown_without_markup(desk):
    task_id = dead_task(desk.venue)
    desk.post("/act", action="requeue", pick=task_id, reason="<b>paid</b> with 4111 1111 1111 1111")
    [entry] = [each.entry() for each in desk.venue.reads.entries() if each.trigger == "requeue"]
    assert "4111" not in str(entry.body)
    assert "said why: &lt;b&gt;paid&lt;/b&gt;" in desk.raw("/act", by="ben", action="requeue", pick=task_id)


def test_nothing_chosen_is_said_to_be_so(desk):
    assert "Nothing was chosen" in desk.get("/act?action=acknowledge")
