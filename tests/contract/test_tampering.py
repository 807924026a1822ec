"""Whoever changes a journal is found out, and who did not is not accused: fifty of each; `make tampering` makes five hundred."""

from __future__ import annotations

import re

import pytest

from tests import tampering
from tests.tampering import COPIES, KINDS, Finding, Report, copy_many, mutate_many

COUNT = 50


def told(report):
    return "\n".join(report.lines())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    made = Report()
    mutate_many(tmp_path_factory.mktemp("mutations"), made, mutations=COUNT, seed=3)
    return made


def test_every_change_to_journal_wal_witness_and_copies_is_found_and_named(report):  # S6 S7 S10 S11
    assert report.violations == [], told(report)
    assert sum(report.made.values()) == COUNT
    assert len(report.made) > len({kind.name for kind in KINDS}) / 3, told(report)


def test_verify_finds_most_and_replay_what_is_stored_beside_the_entries(report):
    found = sum((counts for counts in report.found.values()), tampering.Counter())
    assert found["verify"] > COUNT / 2, told(report)
    assert found["replay"] > 0, told(report)


def test_copies_of_all_moments_that_nobody_touched_are_called_whole(tmp_path):  # S11 P6 K2
    made = Report()
    copy_many(tmp_path, made, copies=COUNT, seed=3)
    assert made.violations == [], told(made)
    assert made.copies.keys() == COPIES.keys()


@pytest.mark.parametrize(("missing", "said"), [("replay", "not found: row of orders: "), ("shape_fault", "not found: trigger dropped: ")])
def test_a_change_that_no_command_finds_is_reported(tmp_path, monkeypatch, missing, said):
    """The commands as they are, but blind to one thing."""
    blind = {"replay": "workflow.replay._mismatches", "shape_fault": "workflow.replay.shape_fault"}
    monkeypatch.setattr(blind[missing], lambda *_: [])
    monkeypatch.setattr(tampering, "KINDS", [kind for kind in KINDS if kind.name == said.split(": ")[1]])
    made = Report()
    mutate_many(tmp_path, made, mutations=1, seed=3)
    assert [violation[: len(said)] for violation in made.violations] == [said]


def test_that_verify_tells_of_less_is_no_finding_where_something_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(tampering, "KINDS", [kind for kind in KINDS if kind.name == "edit of body"])
    findings = iter([Finding(""), Finding("told", 0, "13 entries behind: not signed")])
    monkeypatch.setattr(tampering, "audit", lambda folder, journal="": next(findings))
    made = Report()
    mutate_many(tmp_path, made, mutations=1, seed=3)
    assert [violation[:25] for violation in made.violations] == ["only told: edit of body: "]


@pytest.mark.parametrize(
    ("which", "said"), [("newest", r"(entries|entry) behind: not signed yet"), ("all", "no checkpoint: nothing of it is signed")]
)
def test_verify_tells_how_much_is_not_signed_where_checkpoints_were_taken_away(tmp_path, monkeypatch, which, said):
    monkeypatch.setattr(tampering, "KINDS", [kind for kind in KINDS if kind.name == f"{which} checkpoints deleted"])
    made = Report()
    mutate_many(tmp_path, made, mutations=2, seed=3)
    assert made.violations == []
    assert all(re.search(said, told) for told in made.sentences.popitem()[1])
