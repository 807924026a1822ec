"""The table of faults and the tests that prove their answers: fresh, whole, and about rows that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults_covered import FILE, GROUPS, ROWS, Misspelt, named, proofs, table, unproved

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "FAULTS.md"


@pytest.fixture(scope="module")
def found():
    return proofs()


def test_the_table_is_what_the_tests_say(found):
    assert FILE.read_text("utf-8") == table(found), "stale: make faults"


def test_every_row_has_a_test_or_a_reason(found):
    assert unproved(found) == set(), "nothing proves these rows"


def test_the_rows_are_those_of_the_specification():
    """Where it stands beside the repository; without it our own list is all there is."""
    there = re.findall(r"^\| ([A-Z]-?\d+) \|", SPECIFICATION.read_text("utf-8"), re.MULTILINE) if SPECIFICATION.is_file() else [*ROWS]
    assert sorted(there) == sorted(ROWS)
    assert len(ROWS) == sum(map(len, GROUPS.values())) == 176


def test_a_row_that_is_left_out_in_part_needs_its_test_all_the_same():
    nothing = {name: [] for name in ROWS}
    assert {"P14", "A5", "A7"} <= unproved(nothing)
    assert not {"P8", "W1", "T6"} & unproved(nothing)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def test_one():  # K5\n    pass", [("test_one", ["K5"])]),
        ("def test_one():  # K5 U16 I-3\n    pass", [("test_one", ["K5", "U16", "I-3"])]),
        ("@mark\ndef test_one(\n    a,\n    b,\n):  # K5\n    pass", [("test_one", ["K5"])]),
        ("class A:\n    def test_one(self):  # K5\n        pass", [("test_one", ["K5"])]),
        ("TestOne = One.TestCase  # I6", [("TestOne", ["I6"])]),
        ("# K5\ndef test_one():\n    a = 1  # K6", []),
        ("def helper():  # K5\n    pass", []),
        ("def test_one():  # Rule A3\n    pass", []),
        ('def test_one():\n    """# K5"""', []),
    ],
)
def test_a_name_stands_beside_the_test_that_proves_it(source, names):
    assert [*named(source)] == names


@pytest.mark.parametrize("comment", ["# K5, U16", "# K5: the wire", "# K5 and more"])
def test_a_comment_that_is_half_a_name_is_refused(comment):
    with pytest.raises(Misspelt, match="test_one"):
        [*named(f"def test_one():  {comment}\n    pass")]


def test_a_row_that_there_is_not_is_refused(tmp_path):
    (tmp_path / "test_x.py").write_text("def test_one():  # K99\n    pass")
    with pytest.raises(Misspelt, match="test_x.py::test_one: there is no row K99"):
        proofs(tmp_path)


def test_a_test_that_is_taken_away_makes_the_table_stale_and_the_row_bare(found):
    without = found | {"K2": []}
    assert table(without) != table(found)
    assert unproved(without) - unproved(found) == {"K2"}
