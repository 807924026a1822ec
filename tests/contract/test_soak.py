"""Half a minute of both flows while a tenth of everything fails; `make soak` goes on for ten."""

from __future__ import annotations

from collections import Counter

from tests.soak import FLOWS, GROUPS, Report, not_played, soak

SECONDS = 30.0


def test_under_faults_every_order_comes_to_rest_money_is_what_dojo_says_and_the_process_stays_small(
    tmp_path,
):  # I2 I6 I7 I8 I15 I20 L1 U1 U9 U10 U11
    report = soak(tmp_path, seconds=SECONDS, seed=7)

    assert report.violations == [], "\n".join(report.lines())


def test_a_soak_in_which_little_was_played_or_went_wrong_has_proved_nothing():
    faults = Counter(f"{about} {kinds[0]}" for about, kinds in GROUPS.items())
    played = {"flows": Counter({f"{flow} done": 20 for flow in FLOWS}), "states": Counter(updated=20)}

    assert [*not_played(Report(**played, faults=faults, calls=Counter(all=80)), 20)] == []
    assert [*not_played(Report(**played, faults=faults, calls=Counter(all=81)), 20)] == [
        "too little went wrong: 4 of 81 messages, of which 5% at least"
    ]
    assert [*not_played(Report(**played, faults=faults), 21)] == [
        f"too little was played: {name} 20, of 21 at least" for name in (*FLOWS, "updated orders")
    ]
    for about, kinds in GROUPS.items():
        assert [*not_played(Report(**played, faults=faults - Counter([f"{about} {kinds[0]}"])), 20)] == [
            f"too little went wrong: {about}, never"
        ]
