"""The journal as text for other programs: every entry, the same bytes each time, and no formula for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import pytest

from adapters import tillproof_verify
from tests.builders import Venue, an_intent
from workflow import export
from workflow.journal.reads import StoredEntry

FORMULAS = (
    *("=1+1", "+44", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")', "=cmd|'/C calc'!A0", "-2+3+cmd|' /C calc'!A0", "\n=1"),
    *("\uff1d1+1", "\uff0b44", "\uff0d1", "\uff20SUM(A1)"),
)
AN_ENTRY = StoredEntry(
    seq=1,
    order_id="o1",
    order_seq=1,
    at="2026-03-14T12:00:00.000Z",
    kind="operator",
    machine="",
    trigger="amend",
    from_state="",
    to_state="",
    payment_intent_id="pi_1",
    actor="operator:jo",
    cause="resolve:acknowledge",
    body='{"note":"\u00fcber, \\"quoted\\"","paid":-1}',
    prev_hash="0" * 64,
    hash="a" * 64,
)


class Entries:
    """Reads that hold these entries."""

    def __init__(self, *entries):
        self.stored = entries

    def entries(self, *, after=0):
        return (entry for entry in self.stored if entry.seq > after)


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    venue.create()
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent()})
    yield venue
    venue.close()


def text_of(reads, form, *bounds):
    return "".join(export.lines(reads, form, *bounds))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_json_lines_hold_every_column_of_every_entry(venue):
    objects = [json.loads(line) for line in text_of(venue.reads, "jsonl").splitlines()]

    stored = list(venue.reads.entries())
    assert len(stored) > 5
    assert objects == [entry._asdict() | {"body": json.loads(entry.body)} for entry in stored]


def test_csv_begins_with_the_names_of_the_columns_and_holds_every_entry(venue):
    text = text_of(venue.reads, "csv")

    assert text.split("\r\n")[0].split(",") == list(StoredEntry._fields)
    assert rows_of(text) == [{name: str(value) for name, value in entry._asdict().items()} for entry in venue.reads.entries()]


@pytest.mark.parametrize("form", export.FORMATS)
def test_bounds_are_positions_and_both_are_included(venue, form):
    lines = text_of(venue.reads, form, 2, 4).splitlines()
    whole = text_of(venue.reads, form).splitlines()

    skipped = form == "csv"
    assert lines[skipped:] == whole[skipped:][1:4]


def test_bounds_beyond_the_journal_give_what_there_is(venue):
    assert text_of(venue.reads, "jsonl", 10_000) == ""
    assert text_of(venue.reads, "jsonl", 1, 10_000) == text_of(venue.reads, "jsonl")


@pytest.mark.parametrize("field", ["order_id", "payment_intent_id", "actor", "cause", "trigger"])
@pytest.mark.parametrize("formula", FORMULAS, ids=range(len(FORMULAS)))
def test_a_formula_becomes_text_in_csv(field, formula):  # A7
    [row] = rows_of(text_of(Entries(AN_ENTRY._replace(**{field: formula})), "csv"))

    assert row[field] == f"'{formula}"


def test_the_stand_alone_verifier_takes_off_again_whatever_was_put_before_a_formula():
    assert sorted(tillproof_verify.FORMULA) == sorted(export._FORMULA)
    for start in export._FORMULA:
        [row] = rows_of(text_of(Entries(AN_ENTRY._replace(actor=f"{start}x")), "csv"))
        assert row["actor"] == f"'{start}x"


def test_a_formula_stays_as_it_is_in_json_lines():
    [row] = map(json.loads, text_of(Entries(AN_ENTRY._replace(actor="=1+1")), "jsonl").splitlines())

    assert row["actor"] == "=1+1"


def test_numbers_and_ordinary_text_are_left_alone_in_csv():
    [row] = rows_of(text_of(Entries(AN_ENTRY._replace(cause="1-2=@")), "csv"))

    assert (row["seq"], row["cause"], row["body"]) == ("1", "1-2=@", AN_ENTRY.body)


def test_line_ends_commas_and_quotes_inside_a_value_do_not_make_another_row():
    entries = [AN_ENTRY._replace(seq=number, cause='a,"b"\r\nc\nd') for number in (1, 2)]

    assert [row["cause"] for row in rows_of(text_of(Entries(*entries), "csv"))] == ['a,"b"\r\nc\nd'] * 2
    assert len(text_of(Entries(*entries), "jsonl").splitlines()) == 2
