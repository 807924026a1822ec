"""A day's money beside a real Dojo: intents are made and moved by hand until each kind of difference is there."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import app
from adapters.cli.commands import cli
from adapters.sandbox import Sandbox
from tests.contract.running import (
    KEY,
    PATIENCE,
    Service,
    a_bill,
    an_event,
    an_order,
    beside_sandbox,
    eventually,
    is_refused,
    where_it_is_noon,
)
from workflow.clock import SystemClock
from workflow.money import Money

Ended = namedtuple("Ended", "code stdout stderr")


class Shifted:
    """The machine's clock, so far behind or ahead."""

    def __init__(self):
        self.by = timedelta()

    def now(self):
        return SystemClock().now() + self.by

    def monotonic(self):
        return SystemClock().monotonic()


def gbp(value):
    return Money(value, "GBP")


@pytest.fixture
def world(tmp_path):
    """A service beside a Dojo whose clock can be put back."""
    clock = Shifted()
    with beside_sandbox(tmp_path, Sandbox(api_key=KEY, step_seconds=10, clock=clock), TIMEZONE=where_it_is_noon()) as both:
        yield SimpleNamespace(service=both.service, sandbox=both.sandbox, clock=clock, folder=tmp_path)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The journal of a service to which nothing happened, at rest."""
    service = Service(tmp_path_factory.mktemp("quiet"))
    try:
        service.start()
        assert service.stop() == 0
    finally:
        service.kill()
    return service


@pytest.fixture
def command(monkeypatch):
    """Runs the command with a service's settings; without `now`, long after every capture, when nothing is on its way any more."""

    def run(service, *words, now=None, **settings):
        program = replace(app.program(), clock=SimpleNamespace(now=lambda: now or SystemClock().now() + timedelta(minutes=5)))
        monkeypatch.chdir(service.folder)
        others = {name: None for name in os.environ if name.startswith("TILLPROOF_")}
        chosen = {f"TILLPROOF_{name}": str(value) for name, value in (service.settings | settings).items()}
        result = CliRunner().invoke(cli, ["takings", *words], obj=program, prog_name="tillproof", env=others | chosen, color=True)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def takings(command, world):
    return partial(command, world.service)


@pytest.fixture
def takings_of_nothing(command, quiet):
    return partial(command, quiet)


def paid(world, name, *, total=1200, tips=0, **changes):
    """An order paid by an intent of its own that Dojo captured and the till read; (order id, intent id)."""
    intent = world.sandbox.intents.make(gbp(total), reference=name, tips=gbp(tips) if tips else None, **changes)
    order_id = world.service.dojo.post("/v1/orders", an_order(name, total=total, intent_id=intent.id)).json["id"]
    world.sandbox.intents.link(intent.id, order_id)
    world.sandbox.intents.capture(intent.id)
    world.service.dojo.post("/v1/events", an_event(f"evt-{name}", intent.id))
    world.service.await_state(order_id, "updated")
    return order_id, intent.id


def another(world, order_id, amount):
    """A second intent of the order, captured at Dojo, that the till heard of."""
    intent = world.sandbox.intents.make(gbp(amount), reference="more", external_id=order_id)
    world.sandbox.intents.capture(intent.id)
    world.service.dojo.post("/v1/events", an_event(f"evt-{intent.id}", intent.id))
    world.service.await_rest()
    return intent.id


def found(ended):
    return {(each["kind"], each["paymentIntentId"]): each for each in json.loads(ended.stdout)["differences"]}


def test_a_day_that_agrees_says_so_beside_a_running_server(world, takings):
    order_id, intent_id = paid(world, "one", tips=300)
    world.service.till.post("/till/orders", a_bill(total=700))

    ended = takings("--json")
    day = json.loads(ended.stdout)

    assert (ended.code, ended.stderr, day["differences"]) == (0, "", [])
    [total] = day["totals"]
    money = {"captured": 1200, "tips": 300, "refunded": 0, "net": 1500}
    wire = {name: {"value": value, "currencyCode": "GBP"} for name, value in money.items()}
    assert total["till"] == total["dojo"] == {"payments": 1, **wire}
    assert (total["outstanding"]["value"], total["openBills"]) == (700, 1)
    assert [bill["owed"]["value"] for bill in day["openBills"]] == [700]
    [row] = day["payments"]
    assert (row["paymentIntentId"], row["orderId"], row["dojoStatus"], row["inWords"]) == (intent_id, order_id, "Captured", False)
    world.service.assert_whole()


def test_every_kind_of_difference_is_found(world, takings):
    ledger = world.sandbox.intents
    tampered_order, tampered = paid(world, "amount", total=1000)
    refunded_order, refunded = paid(world, "refund", total=900)
    double_order, _ = paid(world, "double", total=800)
    double = another(world, double_order, 800)
    split = world.service.till.post("/till/orders", a_bill(total=600, table="tbl_split")).json["id"]
    assert world.sandbox.pay_only("tbl_split", parts=2).ok
    orphan = ledger.make(gbp(4820), reference="orphan", external_id="tp_gone")
    ledger.capture(orphan.id)
    stranger = ledger.make(gbp(5000), reference="bar tab")
    ledger.capture(stranger.id)
    tipped = ledger.make(gbp(500), reference="tips", capture_mode="Manual", tips=gbp(90))
    tipped_order = world.service.dojo.post("/v1/orders", an_order("tips", total=500, intent_id=tipped.id)).json["id"]
    ledger.authorise(tipped.id)
    ledger.capture(tipped.id, gbp(400))
    world.service.dojo.post("/v1/events", an_event("evt-tips", tipped.id))
    world.service.await_rest()
    ledger.capture(tipped.id, gbp(100), tips=gbp(90))
    ledger.refund(refunded, gbp(250))
    world.clock.by = -timedelta(minutes=40)
    _, late = paid(world, "late", total=300)
    world.clock.by = timedelta()
    ledger._intents[tampered] = replace(ledger.read(tampered), amount=gbp(1100))
    _, gone = paid(world, "gone", total=200)
    del ledger._intents[gone]

    ended = takings("--json")
    differences = found(ended)

    assert ended.code == 1
    assert {key: one["amount"]["value"] for key, one in differences.items()} == {
        ("at_dojo_not_on_till", orphan.id): 4820,
        ("on_till_not_at_dojo", gone): 200,
        ("amount", tampered): 100,
        ("amount", refunded): 250,
        ("amount", tipped.id): 100,
        ("tip", tipped.id): 90,
        ("duplicate", double): 800,
        ("late", late): 300,
    }
    assert differences["amount", tampered]["orderId"] == tampered_order
    assert differences["amount", refunded]["orderId"] == refunded_order
    assert differences["tip", tipped.id]["orderId"] == tipped_order
    assert differences["at_dojo_not_on_till", orphan.id]["orderId"] is None
    assert split not in {one["orderId"] for one in differences.values()}
    [others] = json.loads(ended.stdout)["otherTakings"]
    assert (others["payments"], others["captured"]["value"]) == (1, 5000)
    assert world.service.till.call("PUT", "/till/tables", [{"id": "tbl_1", "name": "Garden"}]).status == 200
    shown = takings("--all")
    assert shown.code == 1
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert (len(re.findall(r"£\d+\.\d\d +Garden  tp_", shown.stdout)), "tbl_1" in shown.stdout) == (7, False)
    assert " Garden " in shown.stdout.rpartition("  time ")[2]
    assert "at Dojo, not on the till: 1" in shown.stdout
    assert orphan.id in shown.stdout


def test_the_venues_own_currency_comes_before_another_one(world, takings):
    order_id, _ = paid(world, "one")
    foreign = world.sandbox.intents.make(Money(500, "EUR"), reference="two", external_id=order_id)
    world.sandbox.intents.capture(foreign.id)
    world.service.dojo.post("/v1/events", an_event("evt-two", foreign.id))
    world.service.await_rest()

    ended = takings()

    assert re.findall(r"^([A-Z]{3}) +till", ended.stdout, re.MULTILINE) == ["GBP", "EUR"]
    assert re.search(r"€5.00 .*\n +" + foreign.id + r"\n +held back as CURRENCY_MISMATCH", ended.stdout)


def test_what_dojo_told_in_words_and_did_not_take_is_on_the_till_only(tmp_path, world, takings):
    held = world.sandbox.intents.make(gbp(1200), reference="words", capture_mode="Manual")
    world.sandbox.intents.authorise(held.id)
    world.service.stop()
    inline = Service(tmp_path, world.sandbox.url, ORDER_AND_PAY_MODE="inline", TIMEZONE=world.service.settings["TIMEZONE"])
    try:
        inline.start()
        inline.dojo.post("/v1/orders", an_order("words", intent_id=held.id))
        inline.await_rest()
        ended = takings("--json")
    finally:
        inline.kill()

    assert ended.code == 1
    assert found(ended).keys() == {("on_till_not_at_dojo", held.id)}
    assert json.loads(ended.stdout)["totals"][0]["inWords"] == {"value": 1200, "currencyCode": "GBP"}


def test_a_day_of_several_pages_is_searched_to_its_end(world, takings):
    made = [world.sandbox.intents.make(gbp(100), reference="page", external_id="elsewhere") for _ in range(120)]
    for intent in made:
        world.sandbox.intents.capture(intent.id)

    ended = takings("--json")

    assert {intent_id for _, intent_id in found(ended)} == {intent.id for intent in made}
    assert json.loads(ended.stdout)["dojo"] == {"asked": True, "whole": True, "notes": []}


def test_a_capture_of_just_now_is_not_yet_a_difference(world, takings):
    intent = world.sandbox.intents.make(gbp(100), reference="now", external_id="tp_soon")
    world.sandbox.intents.capture(intent.id)

    ended = takings("--json", now=SystemClock().now())

    assert (ended.code, found(ended), json.loads(ended.stdout)["arriving"]) == (0, {}, [intent.id])
    assert "1 payment of the last 2 minutes may still be on the way" in takings(now=SystemClock().now()).stdout


# When Dojo cannot be asked


def test_without_dojo_ours_is_shown_and_the_code_says_so(world, takings):
    paid(world, "one", tips=300)
    world.sandbox.stop()

    ended, as_json = takings(), takings("--json")

    assert (ended.code, as_json.code) == (4, 4)
    assert re.search(r"captured +£12.00 +unknown +unknown", ended.stdout)
    assert "Not compared with Dojo." in ended.stdout
    assert ended.stderr.startswith("Error: Dojo could not be asked")
    assert "Next: tillproof doctor" in ended.stderr
    day = json.loads(as_json.stdout)
    assert (day["dojo"]["asked"], day["totals"][0]["dojo"], day["totals"][0]["till"]["captured"]["value"]) == (False, None, 1200)


def test_offline_leaves_dojo_out_on_purpose(world, takings):
    paid(world, "one")
    before = len(world.sandbox.messages())

    ended = takings("--offline")

    assert (ended.code, ended.stderr) == (0, "")
    assert "unknown" in ended.stdout
    assert len(world.sandbox.messages()) == before


def test_a_key_that_dojo_refuses_is_told_apart_from_a_dojo_that_is_away(world, takings):
    paid(world, "one")

    refused, missing = takings(DOJO_API_KEY="sk_sandbox_wrong"), takings(DOJO_API_KEY="")

    assert (refused.code, "refuses the API key" in refused.stderr, "£12.00" in refused.stdout) == (4, True, True)
    assert (missing.code, "TILLPROOF_DOJO_API_KEY is needed" in missing.stderr, "£12.00" in missing.stdout) == (3, True, True)


def test_a_list_that_dojo_cuts_is_said_to_be_cut_and_the_code_is_not_fine(world, takings, monkeypatch):
    paid(world, "one")
    paid(world, "two")
    monkeypatch.setattr("adapters.dojo.client.PAGE_LIMIT", 1)
    monkeypatch.setattr("adapters.dojo.client.MAX_PAGES", 1)

    ended = takings("--json")

    assert (ended.code, found(ended), json.loads(ended.stdout)["dojo"]["whole"]) == (1, {}, False)
    assert "what is only at Dojo may be missing" in ended.stderr


def test_a_read_that_fails_leaves_the_payment_unknown(world, takings):
    _, gone = paid(world, "gone")
    paid(world, "there")
    world.sandbox.fault("POST", "/payment-intents/search", "500")

    failed = takings("--json")
    del world.sandbox.intents._intents[gone]
    world.sandbox.fault("GET", "/payment-intents/*", "503")
    unread = takings("--json")

    assert (failed.code, unread.code) == (4, 4)
    assert found(failed) == found(unread) == {}
    rows = {row["paymentIntentId"]: row for row in json.loads(unread.stdout)["payments"]}
    assert (rows[gone]["dojo"], rows[gone]["dojoStatus"], json.loads(unread.stdout)["dojo"]["whole"]) == (None, None, False)


# What comes out


def test_csv_has_a_line_a_payment_and_no_formula(world, takings):
    intent = world.sandbox.intents.make(gbp(123_456), reference="f", tips=gbp(5))
    order = an_order("formula", total=123_456, intent_id=intent.id, reference="=1+1", table="@SUM(A1)")
    order_id = world.service.dojo.post("/v1/orders", order).json["id"]
    world.sandbox.intents.capture(intent.id)
    world.service.dojo.post("/v1/events", an_event("evt-f", intent.id))
    world.service.await_state(order_id, "updated")
    world.sandbox.intents.refund(intent.id, gbp(1_000))
    world.service.dojo.post("/v1/events", an_event("evt-f-refund", intent.id, "Captured"))
    eventually(lambda: world.service.order(order_id)["payments"][0]["refundedAmount"]["value"] == 1_000)
    named = world.sandbox.intents.make(gbp(7), reference="n", external_id="elsewhere")
    world.sandbox.intents.capture(named.id)

    ended = takings("--csv")

    assert ended.code == 1
    lines = list(csv.DictReader(io.StringIO(ended.stdout, newline="")))
    first, second = sorted(lines, key=lambda line: line["order_id"], reverse=True)
    assert (first["payment_intent_id"], first["order_id"], first["reference"], first["table_id"]) == (
        intent.id,
        order_id,
        "'=1+1",
        "'@SUM(A1)",
    )
    assert [first[name] for name in ("currency", "captured", "tips", "refunded")] == ["GBP", "1234.56", "0.05", "10.00"]
    assert [first[f"dojo_{name}"] for name in ("currency", "captured", "tips", "refunded")] == ["GBP", "1234.56", "0.05", "10.00"]
    assert (first["differences"], second["differences"], second["dojo_captured"]) == ("", "at_dojo_not_on_till", "0.07")


def test_csv_and_json_are_not_both(takings_of_nothing):
    assert takings_of_nothing("--csv", "--json").code == 2


def test_a_day_without_money_says_so(takings_of_nothing):
    offline, away = takings_of_nothing("2026-03-14", "--offline"), takings_of_nothing("2026-03-14")

    assert (offline.code, offline.stdout.splitlines()[0]) == (0, "Takings of Saturday 14 March 2026, Venue (Europe/London)")
    assert away.code == 4
    for ended in (offline, away):  # Nobody knows what there is at Dojo.
        assert ended.stdout.splitlines()[1:] == ["No money moved on the till, and no bill is open.", "", "Not compared with Dojo."]


def test_a_day_without_money_at_dojo_either_has_no_differences(takings):
    ended = takings("2026-03-14")

    assert (ended.code, ended.stdout.splitlines()[1:]) == (0, ["No money moved, and no bill is open.", "", "No differences."])


@pytest.mark.parametrize(
    "text",
    ["today", "2026-02-30", "2026-3-1", "20260301", "2026-W11-6", "0000-01-01", "0001-01-01", "0026-11-26", "9999-12-31", "2999-01-01", ""],
)
def test_a_bad_date_is_a_matter_of_usage(takings_of_nothing, text):
    ended = takings_of_nothing(text)

    assert (ended.code, ended.stdout) == (2, "")
    assert "DATE" in ended.stderr


def test_today_is_the_venue_s_today(takings_of_nothing):
    midnight = datetime(2026, 7, 3, 23, 30, tzinfo=UTC)

    dates = [
        json.loads(takings_of_nothing("--json", "--offline", now=midnight, TIMEZONE=zone).stdout)["date"]
        for zone in ("UTC", "Europe/London")
    ]

    assert dates == ["2026-07-03", "2026-07-04"]


def test_a_day_on_which_the_clocks_change_says_how_long_it_is(takings_of_nothing):
    assert "this day has 23 hours" in takings_of_nothing("2026-03-29", "--offline").stdout
    assert "this day has 25 hours" in takings_of_nothing("2026-10-25", "--offline").stdout


def test_a_long_day_lists_its_payments_only_when_asked(world, takings):
    for number in range(21):
        intent = world.sandbox.intents.make(gbp(100 + number), reference="r")
        world.service.dojo.post("/v1/orders", an_order(f"long-{number}", total=100 + number, intent_id=intent.id))
        world.sandbox.intents.capture(intent.id)
        world.service.dojo.post("/v1/events", an_event(f"evt-{number}", intent.id))
    world.service.await_rest()

    short, whole = takings(), takings("--all")

    assert (short.code, whole.code) == (0, 0)
    assert "21 payments; --all lists them" in short.stdout
    assert len(whole.stdout.splitlines()) == len(short.stdout.splitlines()) + 21


def test_a_terminal_sees_how_far_the_questions_are(world):
    """The bar is for a terminal alone, so a terminal it must be."""
    paid(world, "one")
    own, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "app", "takings"],
        cwd=world.folder,
        env=world.service.environment,
        stdout=subprocess.PIPE,
        stderr=other,
        text=True,
    ) as process:
        out, _ = process.communicate(timeout=4 * PATIENCE)
    os.close(other)
    seen = os.read(own, 10_000).decode()
    os.close(own)

    assert process.returncode == 0
    assert "ask Dojo for payment intents: 1" in seen
    assert "ask Dojo" not in out


def test_a_difference_that_is_resolved_with_a_reason_no_longer_asks_for_anybody(world, takings):
    order_id, intent_id = paid(world, "one")
    world.sandbox.intents.refund(intent_id, gbp(100))
    date = json.loads(takings("--json").stdout)["date"]
    assert [each["kind"] for each in found(takings("--json")).values()] == ["amount"]

    assert takings("resolve", date, intent_id, "--reason", "given back by hand", "--json").code == 0

    ended = takings("--json")
    assert ended.code == 0
    said = found(ended)["amount", intent_id]["resolved"]
    assert (said["actor"], said["reason"]) == ("operator:operator-1", "given back by hand")
    assert "resolved" in takings().stdout
    kept = world.service.auditor.get(f"/api/takings/{date}/resolutions").json["data"]
    assert [(each["kind"], each["orderId"], each["amount"]["value"]) for each in kept] == [("amount", order_id, 100)]
    again = takings("resolve", date, intent_id, "--reason", "once more")
    assert again.code == 1
    assert "no unresolved difference" in again.stderr
    world.service.assert_whole()


def test_a_days_money_is_read_over_the_api_as_at_the_terminal(world, takings):
    order_id, intent_id = paid(world, "one")
    world.service.till.post("/till/orders", a_bill(id="open", reference="T-1", total=700))
    shown = json.loads(takings("--offline", "--json").stdout)

    day = world.service.auditor.get(f"/api/takings/{shown['date']}").json

    assert day == shown
    [payment], [total] = day["payments"], day["totals"]
    assert (payment["orderId"], payment["paymentIntentId"], payment["dojo"]) == (order_id, intent_id, None)
    assert total["till"]["payments"] == 1
    assert (total["dojo"], total["outstanding"]["value"], day["dojo"]["asked"]) == (None, 700, False)
    for name in ("yesterday", "2026-02-30", "2999-01-01", "2026-7-3"):
        assert is_refused(world.service.auditor.get(f"/api/takings/{name}"), 404)
    assert is_refused(world.service.till.get(f"/api/takings/{shown['date']}"), 403)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "theft"}, "kind"),
        ({"amount": {"value": 0, "currencyCode": "GBP"}}, "amount.value"),
        ({"amount": {"value": 100, "currencyCode": "pounds"}}, "amount.currencyCode"),
        ({"reason": ""}, "reason"),
        ({"paymentIntentId": ""}, "paymentIntentId"),
    ],
)
def test_a_resolution_that_is_none_is_refused_and_names_the_field(world, changes, field):
    body = {"kind": "tip", "paymentIntentId": "pi_1", "amount": {"value": 100, "currencyCode": "GBP"}, "reason": "why"} | changes
    reply = world.service.operator.post("/api/takings/2026-03-14/resolve", body)
    assert reply.status == 400
    assert field in reply.json["debugMessage"]
    assert world.service.operator.post("/api/takings/yesterday/resolve", body).status == 404
    assert world.service.auditor.post("/api/takings/2026-03-14/resolve", body).status == 403
