"""Whoever changes a journal is found out, and who did not is not accused: fifty of each; `make tampering` makes five hundred."""

from __future__ import annotations

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


def test_a_change_that_no_command_finds_would_be_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(tampering, "audit", lambda folder, journal="": Finding(""))
    made = Report()
    mutate_many(tmp_path, made, mutations=3, seed=3)
    assert len(made.violations) == 3
    assert all(violation.startswith("not found: ") for violation in made.violations)
