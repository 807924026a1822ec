"""What a person settles at a terminal: through the running server, alone while none runs, with a name and a reason either way."""

from __future__ import annotations

import getpass
import json

import pytest
from click.testing import CliRunner

import app
from adapters.cli import acting
from adapters.cli.commands import cli
from tests.contract.running import a_bill, an_event, eventually, running, sqlite

ORPHAN = "pi_of_nobody"


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """A service at which a payment of nobody's was told of, and whoever is asked for it does not answer."""
    with running(tmp_path_factory.mktemp("attention"), ORPHAN_ALARM_S=1, SWEEP_S=1) as service:
        service.dojo.post("/v1/events", an_event("evt_orphan", ORPHAN))
        yield service


def ask(service, *words):
    """A command of the service's, in this process, which saves the start of another."""
    settings = {f"TILLPROOF_{name}": str(value) for name, value in service.settings.items()}
    ended = CliRunner().invoke(cli, ["attention", *words], obj=app.program(), prog_name="tillproof", env=settings)
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exc_info
    return ended


def reused(service):
    """An order whose id came again with another bill."""
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    service.till.post("/till/orders", a_bill(id=order_id, total=1300))
    return order_id


def listed(service, *words):
    return [(item["code"], item["orderId"]) for item in json.loads(ask(service, "list", "--json", *words).stdout)["data"]]


def deeds(service, order_id):
    sql = f"SELECT trigger, actor, json_extract(body, '$.reason') FROM journal WHERE kind = 'operator' AND order_id = '{order_id}'"
    return sqlite(service.journal, sql)[0]


def test_what_stands_is_settled_through_the_running_server_and_not_twice(venue):
    order_id = reused(venue)
    assert listed(venue, "--code", "KEY_REUSE") == [("KEY_REUSE", order_id)]

    done = ask(venue, "resolve", "acknowledge", "--order", order_id, "--reason", "the first is right")
    again = ask(venue, "resolve", "acknowledge", "--order", order_id, "--reason", "the first is right")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["acknowledge is journaled.", f"Nothing else of order {order_id} needs a person."]
    assert deeds(venue, order_id) == [("acknowledge", "operator:operator-1", "the first is right")]
    assert venue.order(order_id)["attention"] == []
    assert again.exit_code == 1
    assert again.stderr.splitlines()[-1] == "Next: tillproof attention list"


def test_another_action_than_the_one_that_stands_is_answered_with_the_one_that_is(venue):
    order_id = reused(venue)

    refused = ask(venue, "resolve", "mark_given_back", "--order", order_id, "--reason", "x")

    assert refused.exit_code == 1
    assert "KEY_REUSE is for acknowledge" in refused.stderr
    assert ("KEY_REUSE", order_id) in listed(venue)


def test_what_is_left_to_do_is_shown(venue):
    eventually(lambda: ("ORPHAN_EVENT", "") in listed(venue))

    done = ask(venue, "resolve", "read_again", "--intent", ORPHAN, "--reason", "linked in the portal", "--json")

    found = json.loads(done.stdout)
    assert (done.exit_code, found["action"], found["orderId"]) == (0, "read_again", "")
    assert [(item["code"], item["paymentIntentId"]) for item in found["left"]] == [("ORPHAN_EVENT", ORPHAN)]


def test_of_no_order_another_payment_than_the_one_named_is_left_alone(venue):
    eventually(lambda: ("ORPHAN_EVENT", "") in listed(venue))

    refused = ask(venue, "resolve", "acknowledge", "--intent", "pi_of_somebody", "--reason", "x")

    assert refused.exit_code == 1
    assert ("ORPHAN_EVENT", "") in listed(venue)


def test_without_a_server_it_is_settled_alone_and_journaled_with_who_one_is(tmp_path):
    with running(tmp_path) as service:
        order_id = reused(service)
        assert service.stop() == 0

        done = ask(service, "resolve", "acknowledge", "--order", order_id, "--reason", "after hours")
        unknown = ask(service, "resolve", "acknowledge", "--order", "tp_none", "--reason", "x")

        assert (done.exit_code, listed(service)) == (0, [])
        assert deeds(service, order_id) == [("acknowledge", f"operator:{getpass.getuser()}", "after hours")]
        assert (unknown.exit_code, unknown.stderr.splitlines()[-1]) == (1, "Next: tillproof orders list")


def test_who_has_no_name_on_the_machine_acts_by_number(monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(acting.os, "getuid", lambda: 4711)

    assert acting.actor() == "operator:uid-4711"
