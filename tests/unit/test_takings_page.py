"""A day's money without a server: what the page and the command say of it that no evening shows, such as money between two states."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

import app
from adapters.cli.commands import cli
from adapters.console import takings
from adapters.console.jobs import Jobs
from tests.builders import FixedClock
from tests.console_desk import desk_with

DAY = "2026-03-14"


@pytest.fixture
def desk(tmp_path):
    with desk_with(tmp_path, takings.pages, jobs=Jobs(FixedClock())) as made:
        yield made


@pytest.mark.parametrize("status", ["Authorized", "Captured"])
def test_what_dojo_holds_or_has_taken_and_we_have_not_counted_is_not_said_to_be_still_held(desk, status):
    desk.venue.create()
    desk.venue.event("pi_1", status)
    program = replace(app.program(), clock=desk.venue.clock)
    ours = {"TILLPROOF_JOURNAL": str(desk.venue.folder / "tillproof.db"), "TILLPROOF_TIMEZONE": "Europe/London"}

    told = CliRunner().invoke(cli, ["takings", DAY, "--offline"], obj=program, env=ours).stdout

    assert "Not settled £10.00 held or taken by Dojo, not yet counted here" in desk.get(f"/takings/{DAY}")
    assert "not settled £10.00 held or taken by Dojo, not yet counted here" in " ".join(told.split())
