"""What needs a person, and everything that a person does about it: looked at, previewed, done with a reason, and told."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from adapters.edge.wire import REASON_LENGTH
from adapters.sandbox import basket_of
from tests.browser.conftest import CALM, check_page, follow
from tests.browser.evening import HOSTILE
from tests.contract.running import a_bill, an_event, an_order, beside_sandbox, eventually, sqlite
from tests.contract.test_till_callbacks import Till
from workflow.money import Money

NOBODY = "http://127.0.0.1:9"
"""Where no till answers."""
SLOWLY = CALM | {"RETRY_BASE_MS": 3_600_000, "RETRY_CAP_MS": 3_600_000}
"""What failed waits for a while that is drawn from an hour: see `asleep`."""
SOON = {"SWEEP_S": 1, "ORPHAN_ALARM_S": 1, "PAID_ALARM_S": 1}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def trouble(tmp_path_factory):
    """A `service` whose till does not answer, beside a `sandbox`: with every kind of thing that needs a person, and a maker of more."""
    settings = SOON | {"TILL_URL": f"{NOBODY}/hook", "TILL_SECRET": "a secret of the till's, long enough"}
    with slow_to_retry(tmp_path_factory.mktemp("trouble"), VENUE_NAME="The Anchor & Hope", **settings) as peers:
        peers.paid = peers.sandbox.order_and_pay().order_id
        a_mismatch(peers)
        paid = [peers.paid, overpaid(peers)]
        a_dead_call(peers)
        an_orphan(peers)
        a_stale_lock(peers)
        a_hostile_order(peers)
        for order_id in paid:
            eventually(lambda order_id=order_id: "PAID_NOT_ON_TILL" in codes_of(peers, order_id))
        yield peers


@contextmanager
def slow_to_retry(folder: Path, **settings: object) -> Iterator[SimpleNamespace]:
    """A `service` beside a `sandbox`, where a call that fails by accident would be missed for the rest of the test.

    So no call sets out on a connection that Dojo closes at this moment, since nobody spoke on it for ten seconds.
    """
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("adapters.sandbox.server.IDLE_SECONDS", 600)
            peers = running.enter_context(beside_sandbox(folder, **SLOWLY | settings))
        yield peers


def codes_of(peers: SimpleNamespace, order_id: str) -> list[str]:
    return [item["code"] for item in peers.service.order(order_id)["attention"]]


def an_id(kind: str) -> str:
    return f"{kind}-{next(_numbers)}"


def opened(peers: SimpleNamespace, *, total: int = 1200, table: str = "tbl_7", **changes: object) -> str:
    """A bill that the till opened."""
    order_id = an_id("bill")
    body = a_bill(total=total, table=table, id=order_id, reference=order_id.upper(), **changes)
    assert peers.service.till.post("/till/orders", body).status < 300
    return order_id


def a_mismatch(peers: SimpleNamespace) -> str:
    """An order of which Dojo took a penny more than it comes to: nothing of it counts."""
    order_id = peers.sandbox.order_and_pay(basket_of(Money(1023, "GBP"), an_id("tbl"))).order_id
    eventually(lambda: "AMOUNT_MISMATCH" in codes_of(peers, order_id))
    return order_id


def overpaid(peers: SimpleNamespace) -> str:
    """A bill of which Dojo took a penny more than it comes to, and that counts."""
    table = an_id("tbl")
    order_id = opened(peers, total=1023, table=table)
    peers.sandbox.pay_only(table)
    eventually(lambda: "OVERPAID" in codes_of(peers, order_id))
    return order_id


def a_dead_call(peers: SimpleNamespace) -> str:
    """An order of which Dojo refused to hear."""
    none_is_left(peers, "order_updated")  # It would be refused instead.
    peers.sandbox.fault("POST", "/epos/events", "400", times=1)
    order_id = opened(peers)
    eventually(lambda: "OUTBOX_DEAD" in codes_of(peers, order_id))
    return order_id


def a_waiting_call(peers: SimpleNamespace) -> tuple[str, str]:
    """An order of which the till could not be told, and the call that waits to do so."""
    order_id = peers.service.dojo.post("/v1/orders", an_order(an_id("dojo"))).json["id"]
    [task] = eventually(lambda: [task for task in peers.service.tasks(order_id) if task["status"] == "pending" and task["attempts"]])
    asleep(peers, order_id)
    return order_id, task["id"]


def none_is_left(peers: SimpleNamespace, effect: str) -> None:
    """Wait until no call of this kind is to be made or being made."""
    sql = "SELECT 1 FROM outbox WHERE effect = ? AND status IN ('pending', 'leased')"
    eventually(lambda: not peers.service.reads.rows(sql, (effect,)))


def asleep(peers: SimpleNamespace, order_id: str) -> None:
    """Whatever was drawn, what waits of the order waits until the test is over."""
    sqlite(
        peers.service.journal, f"UPDATE outbox SET next_at_ms = next_at_ms + 86400000 WHERE order_id = '{order_id}' AND status = 'pending'"
    )


def an_orphan(peers: SimpleNamespace) -> str:
    """A payment whose order nobody knows."""
    intent_id = an_id("pi-of-nobody")
    assert peers.service.dojo.post("/v1/events", an_event(an_id("evt"), intent_id)).status < 300
    eventually(lambda: [item for item in peers.service.auditor.get("/api/attention").json["data"] if item["paymentIntentId"] == intent_id])
    return intent_id


def a_stale_lock(peers: SimpleNamespace) -> str:
    """An order whose first lock ran out, and that another card machine locked then."""
    order_id = opened(peers)

    def locks(name: str, seconds: int) -> bool:
        expiry = datetime.now(UTC) + timedelta(seconds=seconds)  # Anew each time: a moment that is past is refused.
        body = {"lockId": name, "expiry": f"{expiry:%Y-%m-%dT%H:%M:%S.%f}Z"}
        return peers.service.dojo.post(f"/v1/orders/{order_id}/lock", body).status == 200

    eventually(lambda: locks("first", 1))
    eventually(lambda: locks("second", 60))
    return order_id


def a_hostile_order(peers: SimpleNamespace) -> str:
    """An order with markup in every text, of which Dojo refused to hear."""
    none_is_left(peers, "order_updated")
    peers.sandbox.fault("POST", "/epos/events", "400", times=1)
    order_id = an_id("bill")
    texts = {"reference": HOSTILE, "displayName": HOSTILE, "note": HOSTILE}  # At once: later news, which Dojo takes, would settle it.
    assert peers.service.till.post("/till/orders", a_bill(table="tbl_7", id=order_id) | texts).status < 300
    eventually(lambda: "OUTBOX_DEAD" in codes_of(peers, order_id))
    return order_id


def deeds(peers: SimpleNamespace, order_id: str) -> list[tuple[str, str, str]]:
    """(who, what, why) of all that people did with the order."""
    found = (entry for entry in peers.service.entries(order_id) if entry["kind"] == "operator" and entry["actor"].startswith("operator:"))
    return [(entry["actor"], entry["trigger"], entry["body"]["reason"]) for entry in found]


def settling(page: Page, reason: str, button: str) -> None:
    """Give the reason on the preview, and do it."""
    page.get_by_label("Why?").fill(reason)
    follow(page.get_by_role("button", name=button))


def test_what_needs_a_person_stands_by_section_with_why_and_next_and_is_for_everybody(trouble, visitor):
    page = visitor(trouble.service)
    page.goto("/attention")
    sections = page.get_by_role("heading", level=2).all_inner_texts()
    assert [re.sub(r" \d+$", "", each) for each in sections] == [
        "Paid, but not on the till",
        "Payments that disagree",
        "Calls that were given up",
        "Payments whose order nobody knows",
        "Stale locks",
    ]

    def number(label, name):
        return re.sub(r"\D", "", page.get_by_label(label).get_by_role("link", name=name).inner_text())

    eventually(lambda: number("Pages", "Needs attention") == number("What is shown", "Everything") > "0")  # One more may come in between.
    paid = page.get_by_role("article").filter(has=page.locator(f'a[href="/orders/{trouble.paid}"]')).first
    expect(paid).to_contain_text("is paid at Dojo and not on the till.")
    expect(paid).to_contain_text("Look at the table before anybody pays again.")
    expect(paid).to_contain_text(re.compile(r"£\d+\.\d\d"))
    expect(paid.locator("time").first).to_be_visible()
    check_page(page, "/attention")


def test_a_code_and_a_section_are_asked_for_in_the_url(trouble, visitor):
    page = visitor(trouble.service)
    page.goto("/attention?section=locks")
    assert page.get_by_role("heading", level=2).all_inner_texts() == ["Stale locks 1"]
    page.goto("/attention?code=OVERPAID")
    assert {text.partition(" £")[0] for text in page.get_by_role("article").all_inner_texts()} != set()
    expect(page.get_by_role("article").first).to_contain_text("OVERPAID")
    page.goto("/attention?code=KEY_REUSE")
    expect(page.get_by_text("Nothing stands with the code KEY_REUSE.")).to_be_visible()
    for wrong in ("code=NONE", "section=NONE", "page=0"):
        page.goto(f"/attention?{wrong}")
        expect(page.get_by_role("heading", level=1)).to_have_text("That could not be read")


ACTIONS = (
    # made by, stands with, done by the button, journaled as, and what is left
    (a_dead_call, "OUTBOX_DEAD", "Try again now", "requeue", set()),
    (a_dead_call, "OUTBOX_DEAD", "Mark as dealt with", "acknowledge", set()),
    (a_stale_lock, "LOCK_STALE", "Mark as dealt with", "acknowledge", set()),
    (overpaid, "OVERPAID", "Mark as given back", "mark_given_back", set()),
    (a_mismatch, "AMOUNT_MISMATCH", "Accept the difference", "accept_difference", {"OVERPAID"}),
    (a_mismatch, "AMOUNT_MISMATCH", "Take the payment off", "detach_payment", set()),
    (a_mismatch, "AMOUNT_MISMATCH", "Read again at Dojo", "read_again", {"AMOUNT_MISMATCH"}),
)


def test_every_action_is_previewed_done_with_a_reason_and_journaled_with_a_name(trouble, visitor):
    page = visitor(trouble.service)
    for make, code, button, trigger, left in ACTIONS:
        order_id = make(trouble)
        page.goto(f"/attention?code={code}")
        mine = page.get_by_role("article").filter(has=page.locator(f'a[href="/orders/{order_id}"]'))
        follow(mine.get_by_role("link", name=button))
        expect(page.get_by_role("heading", level=1)).to_have_text(button)
        expect(page.get_by_text("Nothing has been done yet.")).to_be_visible()
        assert deeds(trouble, order_id) == []
        settling(page, f"because of {order_id}", button)
        expect(page.get_by_role("status").filter(has_text=f"{button}: done for")).to_be_visible()
        assert page.url.endswith(f"/attention?code={code}")
        assert deeds(trouble, order_id) == [("operator:operator-1", trigger, f"because of {order_id}")]
        eventually(lambda order_id=order_id, left=left: set(codes_of(trouble, order_id)) - {"PAID_NOT_ON_TILL"} == left)


def test_a_payment_of_nobody_is_acknowledged_with_a_reason_and_a_name(trouble, visitor):
    page, intent_id = visitor(trouble.service), an_orphan(trouble)
    page.goto("/attention?section=parked")
    mine = page.get_by_role("article").filter(has_text=f"Payment {intent_id}")
    mine.get_by_role("link", name="Mark as dealt with").click()
    settling(page, "another venue's", "Mark as dealt with")
    expect(page.get_by_role("status")).to_contain_text(f"Mark as dealt with: done for Payment {intent_id}.")
    expect(page.get_by_role("status")).to_be_focused()  # It is read out, and Tab goes on from there.
    expect(mine).to_have_count(0)
    [entry] = [each.entry() for each in trouble.service.reads.entries(order_id="") if each.trigger == "acknowledge"]
    assert (entry.actor, entry.payment_intent_id, entry.body["reason"]) == ("operator:operator-1", intent_id, "another venue's")


def test_a_call_is_stopped_after_its_consequence_was_told(trouble, visitor):
    page, (order_id, task_id) = visitor(trouble.service), a_waiting_call(trouble)
    page.goto("/outbox?status=pending")
    page.locator(f'a[href^="/outbox/{task_id}/stop"]').click()
    expect(page.get_by_text("The till is not told of this change of the order.")).to_be_visible()
    check_page(page, "/outbox/<task_id>/stop")
    settling(page, "the till is sold", "Stop retrying")
    expect(page.get_by_role("status")).to_contain_text("Stop retrying: done for Tell the till that the order changed")
    assert deeds(trouble, order_id) == [("operator:operator-1", "stop", "the till is sold")]
    [task] = [task for task in trouble.service.tasks(order_id) if task["id"] == task_id]
    assert (task["status"], task["lastError"]) == (
        "dead",
        "tell_till was stopped by operator:operator-1 after 1 attempt: the till is sold",
    )


def test_that_money_depends_on_a_call_is_told_before_it_is_stopped(trouble, visitor):
    page = visitor(trouble.service)
    [task] = [task for task in trouble.service.tasks(trouble.paid) if task["effect"] == "tell_till"]
    page.goto(f"/outbox/{task['id']}/stop")
    expect(page.get_by_text(re.compile(r"MONEY DEPENDS ON IT: £\d+\.\d\d is paid"))).to_be_visible()


def test_of_many_the_one_that_was_settled_meanwhile_is_told_and_the_rest_is_done(trouble, visitor):
    page, orders = visitor(trouble.service), [a_dead_call(trouble) for _ in range(3)]
    page.goto("/attention?code=OUTBOX_DEAD")
    for order_id in orders:
        mine = page.get_by_role("article").filter(has=page.locator(f'a[href="/orders/{order_id}"]'))
        mine.get_by_role("checkbox").check()
    page.get_by_label("Do").select_option(label="Try again now")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Try again now: 3 things")
    [task] = [task for task in trouble.service.tasks(orders[1]) if task["status"] == "dead"]
    assert trouble.service.operator.post(f"/api/outbox/{task['id']}/requeue", {"reason": "I was faster"}).status == 200
    settling(page, "Dojo is mended", "Try again now (3)")
    said = page.locator(".notice.good, .notice.bad").all_inner_texts()
    assert said[0].startswith("Try again now: done for 2 things of 3.")
    assert "operator-1 did “Try again now” before, and said why: I was faster" in said[1]
    assert orders[1].upper() in said[1]
    assert [deeds(trouble, order_id)[-1][2] for order_id in orders] == ["Dojo is mended", "I was faster", "Dojo is mended"]


def test_all_with_one_code_are_settled_at_once(trouble, visitor):
    page, orders = visitor(trouble.service), [a_stale_lock(trouble) for _ in range(2)]
    page.goto("/attention?code=LOCK_STALE")
    page.get_by_label("All with this code").get_by_role("link", name="Mark as dealt with").click()
    for order_id in orders:
        expect(page.get_by_role("link", name=order_id.upper())).to_be_visible()
    settling(page, "all machines were looked at", re.compile("Mark as dealt with"))
    expect(page.get_by_text("Nothing stands with the code LOCK_STALE.")).to_be_visible()
    assert {deeds(trouble, order_id)[-1] for order_id in orders} == {("operator:operator-1", "acknowledge", "all machines were looked at")}


def test_the_same_form_once_more_does_no_harm_and_says_who_was_first(trouble, visitor):
    page, order_id = visitor(trouble.service), a_dead_call(trouble)
    path = f"/orders/{order_id}/resolve"
    page.goto(f"{path}?action=acknowledge&back=/outbox")
    csrf = page.locator("main input[name=csrf]").get_attribute("value")
    settling(page, "looked at", "Mark as dealt with")
    again = {"csrf": csrf, "action": "acknowledge", "reason": "once more", "back": "/outbox", "pick": f"{order_id}:OUTBOX_DEAD:"}
    page.request.post("/act", form=again, max_redirects=0)
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="Not done")).to_contain_text(
        "operator-1 did “Mark as dealt with” before, and said why: looked at"
    )
    page.go_back()
    expect(page.get_by_text("There is nothing that could be done.")).to_be_visible()
    assert [why for _, _, why in deeds(trouble, order_id)] == ["looked at"]


def test_an_auditor_sees_everything_and_no_button_and_is_refused(trouble, visitor):
    page, order_id = visitor(trouble.service, role="auditor"), a_dead_call(trouble)
    for path in ("/attention", "/outbox"):
        page.goto(path)
        expect(page.locator(f'main a[href="/orders/{order_id}"]').first).to_be_visible()
        assert page.locator("main").get_by_role("button").count() == page.locator("main").get_by_role("checkbox").count() == 0
        assert page.locator('main a[href^="/act"], main a[href*="/stop"], main a[href*="/requeue"]').count() == 0
    page.goto(f"/orders/{order_id}/resolve?action=acknowledge")
    expect(page.get_by_role("heading", level=1)).to_have_text("That is not yours to do")
    csrf = page.locator("input[name=csrf]").first.get_attribute("value")
    form = {"csrf": csrf, "action": "acknowledge", "reason": "mine", "pick": f"{order_id}:OUTBOX_DEAD:"}
    assert page.request.post("/act", form=form).status == 403
    assert deeds(trouble, order_id) == []


def test_without_a_reason_or_with_a_strangers_form_nothing_is_done(trouble, visitor):
    page, order_id = visitor(trouble.service), a_dead_call(trouble)
    path = f"/orders/{order_id}/resolve"
    page.goto(f"{path}?action=acknowledge")
    csrf = page.locator("main input[name=csrf]").get_attribute("value")
    for form, status in (
        ({"csrf": csrf, "reason": " "}, 400),
        ({"csrf": csrf, "reason": "x" * (REASON_LENGTH + 1)}, 400),
        ({"csrf": "another", "reason": "so"}, 403),
        ({"reason": "so"}, 403),
    ):
        assert page.request.post("/act", form={"action": "acknowledge", "pick": f"{order_id}:OUTBOX_DEAD:"} | form).status == status
    assert page.request.post("/act", form={"csrf": csrf, "action": "accept_lost_tail", "reason": "so"}).status == 400
    assert deeds(trouble, order_id) == []


def test_markup_in_an_order_is_shown_as_it_is_and_does_nothing(trouble, visitor):
    page, seen = visitor(trouble.service), []
    page.on("dialog", lambda dialog: seen.append(dialog.message) or dialog.dismiss())
    page.goto("/attention?section=dead")
    hostile = page.get_by_role("article").filter(has_text=HOSTILE)
    expect(hostile).to_be_visible()
    follow(hostile.get_by_role("link", name="Try again now"))
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    assert seen == []


def test_the_calls_are_listed_by_status_with_tries_and_what_went_wrong(trouble, visitor):
    page, order_id = visitor(trouble.service), a_dead_call(trouble)
    page.goto("/outbox")
    follow(page.get_by_label("Which calls").get_by_role("link", name="Given up"))
    check_page(page, "/outbox")
    row = page.get_by_role("row").filter(has_text=order_id)
    expect(row).to_contain_text("Tell Dojo that the order changed")
    expect(row).to_contain_text("POST /epos/events: 400 Bad request")
    row.get_by_role("link", name="Try again now").click()
    settling(page, "Dojo is mended", "Try again now")
    assert page.url.endswith("/outbox?status=dead")
    assert deeds(trouble, order_id) == [("operator:operator-1", "requeue", "Dojo is mended")]
    page.goto("/outbox?status=none")
    expect(page.get_by_role("heading", level=1)).to_have_text("That could not be read")


def test_from_the_alert_to_the_end_money_that_the_till_refused_or_nobody_could_read_is_put_right(tmp_path, visitor):  # I20
    till = Till()
    till.always = 503
    settings = SOON | {"TILL_URL": till.url, "TILL_SECRET": "a secret of the till's, long enough"}
    with slow_to_retry(tmp_path, **settings) as peers:
        untold = peers.sandbox.order_and_pay(basket_of(Money(4820, "GBP"), "tbl_12")).order_id
        eventually(lambda: codes_of(peers, untold) == ["PAID_NOT_ON_TILL"])
        asleep(peers, untold)
        peers.sandbox.fault("GET", "/payment-intents/*", "503", times=1)
        waiting = threading.Thread(target=peers.sandbox.order_and_pay, args=(basket_of(Money(6120, "GBP"), "tbl_9"),))
        waiting.start()  # Until the payment is read.
        unread = eventually(lambda: found if (found := peers.sandbox.flows()[0].order_id) != untold else None)
        eventually(lambda: [task for task in peers.service.tasks(unread) if (task["effect"], task["status"]) == ("read_intent", "pending")])
        asleep(peers, unread)  # At once: however short the wait that was drawn, it is not over before somebody looks.
        eventually(lambda: codes_of(peers, unread) == ["PAID_NOT_ON_TILL"])
        page = visitor(peers.service)
        till.always = 204  # Somebody switched it on again; its call, and the read, would be made much later.
        for table, order_id, asked in (("tbl_12", untold, "Try again now"), ("tbl_9", unread, "Read again at Dojo")):
            page.goto("/")
            expect(page.get_by_role("listitem").filter(has_text=f"table {table}")).to_contain_text("1 order PAID but not on the till")
            page.get_by_role("link", name=f"table {table}").click()
            expect(page.get_by_label("Why and next")).to_contain_text(f"“{asked}”")
            page.get_by_label("What you can do").get_by_role("link", name=asked).first.click()
            settling(page, f"{table} had paid", asked)
            eventually(lambda order_id=order_id: codes_of(peers, order_id) == [])
            assert deeds(peers, order_id)[0][2] == f"{table} had paid"
            assert till.about(order_id)
        page.goto("/attention")
        expect(page.get_by_text("Nothing needs anybody.")).to_be_visible()
        waiting.join()
        peers.service.assert_whole()
    till.stop()
