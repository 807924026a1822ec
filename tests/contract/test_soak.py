"""Half a minute of both flows while a tenth of everything fails; `make soak` goes on for ten."""

from __future__ import annotations

import pytest

from adapters.sandbox.faults import CALL_KINDS, EVENT_KINDS, POS_KINDS
from tests.soak import STATUSES, soak

SECONDS = 30.0
FLOWS = 20
"""That many of each flow are ended at least; a machine that has much else to do goes on for longer."""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return soak(tmp_path_factory.mktemp("soak"), seconds=SECONDS, seed=7, flows=FLOWS)


def told(report):
    return "\n".join(report.lines())


def test_under_faults_every_order_comes_to_rest_money_is_what_dojo_says_and_the_process_stays_small(
    report,
):  # I2 I6 I7 I8 I15 I20 L1 U1 U9 U10 U11
    assert report.violations == [], told(report)


def test_the_soak_played_both_flows_to_their_ends(report):
    for flow in ("order_and_pay", "pay_only"):
        assert report.flows[f"{flow} done"] >= FLOWS, told(report)
    assert report.states["updated"] >= FLOWS, told(report)


def test_a_tenth_went_wrong_and_in_every_group_of_faults(report):
    groups = {
        "call of Dojo": (*STATUSES, *CALL_KINDS),
        "call of the POS": tuple(POS_KINDS),
        "event": tuple(EVENT_KINDS),
        "reset at the": ("request", "answer"),
    }
    for about, kinds in groups.items():
        assert any(report.faults[f"{about} {kind}"] for kind in kinds), told(report)
    assert sum(report.faults.values()) >= 0.05 * sum(report.calls.values()), told(report)
