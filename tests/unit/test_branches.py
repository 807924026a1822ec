"""The check of how many branches the tests take: by branches alone, and with the names of what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.branches import LEAST_PERCENT, judged, measured

CODE = """
def answer(number):
    if number:
        return 1
    return 2
"""


def report(taken, branches, **missing):
    files = {name: {"missing_branches": jumps} for name, jumps in missing.items()}
    return {"totals": {"covered_branches": taken, "num_branches": branches}, "files": files}


@pytest.mark.parametrize(("taken", "enough"), [(949, False), (950, True), (1000, True)])
def test_95_of_a_hundred_branches_are_enough(taken, enough):
    assert LEAST_PERCENT == 95.0
    assert judged(report(taken, 1000))[0] is enough


def test_where_too_few_are_taken_the_worst_files_are_named_first_with_what_is_missing():
    _, said = judged(report(90, 100, little=[[1, 2]], much=[[3, 4], [3, -1]], whole=[]))
    first, worst, better = said.splitlines()
    assert first == "branches taken: 90 of 100, 90.0 %, of at least 95.0 %"
    assert worst.strip() == "2 not in much: 3->4, 3->-1"
    assert better.strip() == "1 not in little: 1->2"


def test_a_run_that_measured_nothing_is_not_enough():
    assert judged(report(0, 0)) == (False, "no branch was measured: run pytest --cov=workflow first")


@pytest.mark.parametrize(("calls", "taken"), [("answer(0)", 1), ("answer(0), answer(1)", 2)])
def test_statements_that_were_run_do_not_make_up_for_a_branch_that_was_not(tmp_path, calls, taken):
    script, data = tmp_path / "script.py", tmp_path / "data"
    script.write_text(f"{CODE}\n{calls}\n")
    run = [sys.executable, "-m", "coverage", "run", "--branch", f"--include={script}", f"--data-file={data}", str(script)]
    subprocess.run(run, check=True, cwd=Path(tmp_path))

    totals = measured(str(data))["totals"]

    assert (totals["covered_branches"], totals["num_branches"]) == (taken, 2)
