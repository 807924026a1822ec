"""Both sides while the journal is shut, with a clock that stands still and without a server: figures, and the door before them."""

from __future__ import annotations

import base64

import pytest

from adapters.console import Sessions
from adapters.settings import read_settings
from adapters.sides import closed_sides
from tests.builders import FixedClock
from workflow.clock import to_text
from workflow.journal.condition import Trouble

DOJO = {"Authorization": "Basic " + base64.b64encode(b"dojo:its-password").decode()}
GIVEN = {"ENV": "test", "DOJO_API_KEY": "sk_1", "EPOS_USERNAME": "dojo", "EPOS_PASSWORD": "its-password", "REQUESTS_PER_SECOND": "10"}


@pytest.fixture
def clock(monkeypatch):
    clock = FixedClock()
    monkeypatch.setattr("adapters.sides.SystemClock", lambda: clock)
    return clock


@pytest.fixture
def sides(clock, tmp_path):
    """Clients of Dojo's side and the venue's, ten requests a second each."""
    given = GIVEN | {"JOURNAL": str(tmp_path / "tillproof.db")}
    settings = read_settings({f"TILLPROOF_{name}": value for name, value in given.items()}, None)
    trouble = Trouble(code="HEAD_REGRESSED", since=to_text(clock.now()), detail="it lacks 2 entries")
    return [app.test_client() for app in closed_sides(settings, Sessions(clock), "an operator must look", trouble, None)]


def test_a_flood_is_turned_away_while_the_journal_is_shut_too(sides, clock):  # A13 S11
    dojo, venue = sides

    strangers = [dojo.post("/v1/orders").status_code for _ in range(12)]
    at_the_venue = [venue.get("/readyz").status_code for _ in range(13)]

    assert strangers == [503] * 10 + [429] * 2
    assert at_the_venue == [503] * 10 + [429] * 3
    assert dojo.post("/v1/orders", headers=DOJO).status_code == 503  # At the same address, and counted apart.
    assert [side.get("/healthz").status_code for side in sides] == [200, 200]
    clock.move(1)
    figures = venue.get("/metrics").text
    assert 'tillproof_shed_requests_total{reason="rate",side="dojo"} 2.0' in figures
    assert 'tillproof_shed_requests_total{reason="rate",side="venue"} 3.0' in figures


def test_the_figures_of_a_shut_journal_say_why_and_make_nothing_up(sides, tmp_path):  # S11
    dojo, venue = sides
    (tmp_path / "tillproof.db-wal").write_bytes(b"12345")
    dojo.post("/v1/orders", headers=DOJO)

    answer = venue.get("/metrics")

    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert 'tillproof_attention{code="HEAD_REGRESSED"} 1.0' in answer.text
    assert 'tillproof_http_request_duration_seconds_count{method="POST",side="dojo",status="503"} 1.0' in answer.text
    assert "tillproof_wal_bytes 5.0" in answer.text
    for name in ("tillproof_orders_total", "tillproof_paid_not_on_till", "tillproof_outbox_backlog", "tillproof_verification_ok"):
        assert name not in answer.text
