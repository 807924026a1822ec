"""Dojo's side with its real clock frozen where clocks go wrong: summer time, leap days, the end of 31 bits, and a clock that is set."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from freezegun import api, freeze_time

from adapters.edge.bill_template import read_template
from adapters.edge.limits import Guesses
from adapters.epos.handlers import Handlers, HandlerSettings
from adapters.epos.rest import RestSettings, make_app
from tests.builders import Venue
from tests.contract.running import an_event, an_order
from workflow.clock import SystemClock, from_text
from workflow.commands import Sweep
from workflow.replay import replay, verify

MOMENTS = {
    "before the clocks go forward": "2026-03-29T00:59:59.999Z",
    "when they have": "2026-03-29T01:00:00.000Z",
    "the hour that is there twice": "2026-10-25T00:30:00.000Z",
    "the same hour again": "2026-10-25T01:30:00.000Z",
    "the last of February": "2028-02-29T23:59:59.999Z",
    "the end of the year": "2026-12-31T23:59:59.999Z",
    "beyond 31 bits": "2038-01-19T03:14:08.000Z",
}
ZONES = ("Europe/London", "Asia/Kathmandu", None)
DAY = 86_400


@pytest.fixture(params=ZONES, ids=lambda zone: zone or "no zone")
def zone(request, monkeypatch):
    if request.param:
        monkeypatch.setenv("TZ", request.param)
    else:
        monkeypatch.delenv("TZ", raising=False)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


class Machine(SystemClock):
    """The machine's clock; its wall clock stands or is set while the seconds that never go back go on, which freezegun would freeze too."""

    def monotonic(self) -> float:
        return api.real_monotonic()


class Side:
    """Dojo's side in this process, on the machine's own clock."""

    def __init__(self, folder) -> None:
        self.venue = Venue(folder, clock=Machine())
        settings = HandlerSettings(
            currency="GBP",
            mode="event",
            search_days=30,
            tables_answer="pages",
            zone=ZoneInfo("Europe/London"),
            bill=read_template(None, "Venue"),
        )
        handlers = Handlers(self.venue.engine, self.venue.reads, self.venue.clock, settings)
        guesses = Guesses("dojo", self.venue.clock, lambda what: None)
        rest = RestSettings(credentials=None, guesses=guesses, max_body=1_048_576, max_depth=32, webhook_secrets=())
        self.client = make_app(handlers, rest).test_client()

    def create(self, name, **changes):
        return self.client.post("/v1/orders", json=an_order(name, **changes))

    def close(self):
        self.venue.close()
        assert verify(self.venue.reads, self.venue.witness, self.venue.key.public_key(), self.venue.clock).first_bad is None
        assert replay(self.venue.reads).mismatches == []


@pytest.fixture
def side(tmp_path):
    """A function that makes one: while the clock is frozen, as the test has it."""
    made = []
    yield lambda: made.append(Side(tmp_path)) or made[-1]
    for each in made:
        each.close()


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_every_moment_is_kept_and_told_in_utc_with_milliseconds_whatever_the_zone(side, zone, moment):  # T3 T4
    with freeze_time(moment):
        dojo = side()
        created = dojo.create("o1", intent_id="pi_1")
        told = dojo.client.post("/v1/events", json=an_event("evt_1", "pi_1"))

        assert (created.status_code, told.status_code) == (200, 200)
        assert created.json["createdAt"] == moment
        assert {entry.at for entry in dojo.venue.reads.entries()} == {moment}


@pytest.mark.parametrize("by", [-3 * DAY, 7_200], ids=["three days back", "two hours on"])
def test_a_clock_that_is_set_while_dojo_calls_costs_no_call_and_is_flagged(side, by):  # T1 T2 I17
    with freeze_time("2026-03-14T12:00:00Z") as clock:
        dojo = side()
        first = dojo.create("o1", intent_id="pi_1")
        clock.move_to(from_text("2026-03-14T12:00:00.000Z") + timedelta(seconds=by))
        second, again = dojo.create("o2", intent_id="pi_2"), dojo.create("o1", intent_id="pi_1")
        event = dojo.client.post("/v1/events", json=an_event("evt_1", "pi_1"))
        found = dojo.client.post("/v1/orders/search", json={"dineIn": {"tableId": "tbl_1"}})
        dojo.venue.engine.handle(Sweep(limit=100))

        assert [each.status_code for each in (first, second, again, event, found)] == [200] * 5
        assert again.json["id"] == first.json["id"]
        assert {order["id"] for order in found.json["data"]} == {first.json["id"], second.json["id"]}
        assert [item.code for item in dojo.venue.reads.attention()] == ["CLOCK_JUMP"]
        assert [dojo.venue.order(each.json["id"]).state for each in (first, second)] == ["captured", "authorised"]
        flag = next(entry for entry in dojo.venue.reads.entries() if entry.kind == "attention")
        seconds = int(re.search(r"jumped by ([+-]\d+) s", flag.entry().body["detail"])[1])
        assert abs(seconds - by) < 300  # The calls took their time, which did not pass on the wall.
