"""The diagrams show the declaration, all of it and nothing else, and the files that are kept are fresh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow import diagrams
from workflow.declaration import declaration_hash, state_name, words
from workflow.entry import Entry
from workflow.lifecycle import DECLARATIONS, ORDER, PAYMENT

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "diagrams"
DRAWN = [f"{declaration.name}.{ending}" for declaration in DECLARATIONS for ending in ("mmd", "dot", "svg")] + ["README.md"]

MERMAID_EDGE = re.compile(r"    (\S+) --> (\S+) : (.+)")
DOT_EDGE = re.compile(r'    "(.*)" -> "(.*)" \[label="([^"]+)".*\];')

each_machine = pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)


def declared(declaration):
    """(from, to) → triggers, straight from the rows; "" for what is not there yet."""
    edges = {}
    for row in declaration.transitions:
        for source in words(row.source):
            edges.setdefault((state_name(source), row.target), []).append(row.when)
    return edges


def shown(pattern, text):
    """Every labelled edge of a drawing, each as often as it is drawn."""
    found = [match.groups() for match in map(pattern.fullmatch, text.splitlines()) if match]
    return [(("" if source == "[*]" else source, target), label.split(" / ")) for source, target, label in found]


@pytest.fixture
def folder(tmp_path):
    """A copy of what is kept, drawn anew."""
    copy = Path(shutil.copytree(KEPT, tmp_path / "diagrams"))
    diagrams.write(copy)
    return copy


# -- what is drawn is what is declared


@each_machine
def test_mermaid_has_exactly_the_declared_edges_with_the_names_of_their_triggers(declaration):
    edges = shown(MERMAID_EDGE, diagrams.mermaid(declaration))
    assert len(edges) == len(declared(declaration))
    assert dict(edges) == declared(declaration)


@each_machine
def test_mermaid_has_exactly_the_declared_states_and_ends(declaration):
    lines = diagrams.mermaid(declaration).splitlines()
    assert lines[1] == "stateDiagram-v2"
    assert [line for line in lines if " : " in line and "-->" not in line] == [f"    {state} : {state}" for state in declaration.states]
    assert [line for line in lines if line.endswith("--> [*]")] == [f"    {state} --> [*]" for state in words(declaration.final)]


@each_machine
def test_mermaid_holds_no_other_line(declaration):
    known = 2 + len(declaration.states) + len(declared(declaration)) + len(words(declaration.final))
    assert len(diagrams.mermaid(declaration).splitlines()) == known


@each_machine
def test_a_row_that_is_taken_away_leaves_the_drawing(declaration):
    shorter = declaration._replace(transitions=declaration.transitions[:-1])
    assert dict(shown(MERMAID_EDGE, diagrams.mermaid(shorter))) == declared(shorter) != declared(declaration)


@each_machine
def test_dot_has_exactly_the_declared_edges_with_the_names_of_their_triggers(declaration):
    edges = shown(DOT_EDGE, diagrams.dot(declaration))
    assert len(edges) == len(declared(declaration))
    assert dict(edges) == declared(declaration)


@each_machine
@pytest.mark.parametrize("form", diagrams.FORMATS)
def test_every_drawing_carries_the_hash_of_what_it_was_drawn_from(declaration, form):
    assert f"{declaration.name}@{declaration_hash(declaration)}" in diagrams.render(declaration, form)


# -- the way of one order


def a_step(machine, source, target, intent_id="", kind="transition"):
    return Entry(
        order_id="o1",
        order_seq=1,
        at="2026-03-14T12:00:00.000Z",
        kind=kind,
        machine=f"{machine}@000000000000",
        from_state=source,
        to_state=target,
        payment_intent_id=intent_id,
        actor="dojo",
        cause="test",
    )


WAY = [
    a_step("order", "", "created"),
    a_step("payment", "", "announced", "pi_1"),
    a_step("order", "created", "authorised"),
    a_step("", "", "", kind="event"),
    a_step("order", "authorised", "created"),
    a_step("order", "created", "authorised"),
    a_step("payment", "", "announced", "pi_2"),
    a_step("payment", "announced", "released", "pi_2"),
]


def test_the_steps_of_an_order_are_numbered_in_their_order_and_its_present_state_is_known():
    taken = diagrams.path_taken(WAY, "order")
    assert taken.steps == {("", "created"): [1], ("created", "authorised"): [2, 4], ("authorised", "created"): [3]}
    assert taken.state == "authorised"


def test_the_way_of_one_payment_is_not_mixed_with_anothers():
    assert diagrams.path_taken(WAY, "payment", "pi_1").state == "announced"
    assert diagrams.path_taken(WAY, "payment", "pi_2").steps == {("", "announced"): [1], ("announced", "released"): [2]}


def test_an_order_that_nothing_is_known_of_took_no_way():
    taken = diagrams.path_taken([], "order")
    assert (taken.steps, taken.state) == ({}, "")
    assert diagrams.mermaid(ORDER, taken) == diagrams.mermaid(ORDER)


def test_a_way_adds_its_numbers_and_its_mark_to_the_declared_edges_and_takes_none_away():
    text = diagrams.mermaid(ORDER, diagrams.path_taken(WAY, "order"))
    assert "    created --> authorised : authorise (2, 4)" in text.splitlines()
    assert "    class authorised now" in text.splitlines()
    assert {edge for edge, _ in shown(MERMAID_EDGE, text)} == set(declared(ORDER))


@pytest.mark.parametrize(("pattern", "form"), [(MERMAID_EDGE, "mermaid"), (DOT_EDGE, "dot")])
def test_what_an_order_took_of_another_declaration_is_drawn_beside_what_is_declared(pattern, form):  # P5
    way = [*WAY, a_step("order", "authorised", "claimed"), a_step("order", "claimed", "created")]
    text = diagrams.render(ORDER, form, diagrams.path_taken(way, "order"))
    drawn = dict(shown(pattern, text))
    assert drawn.keys() - declared(ORDER).keys() == {("authorised", "claimed"), ("claimed", "created")}
    assert drawn["authorised", "claimed"][-1].endswith("(5)")
    assert "claimed" in diagrams.svg(ORDER, diagrams.path_taken(way, "order"))


# -- the files that are kept


def test_the_kept_drawings_are_fresh():
    assert diagrams.stale(KEPT) == []


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_that_was_changed_by_hand_is_stale(folder, name):
    path = folder / name
    path.write_text(path.read_text("utf-8") + " ", "utf-8")
    assert diagrams.stale(folder) == [name]


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_that_is_missing_is_stale(folder, name):
    (folder / name).unlink()
    assert diagrams.stale(folder) == [name]


def test_every_drawing_of_a_changed_machine_is_stale_and_no_other_machines(folder, monkeypatch):
    changed = PAYMENT._replace(transitions=PAYMENT.transitions[:-1])
    monkeypatch.setattr(diagrams, "DECLARATIONS", tuple(changed if found is PAYMENT else found for found in DECLARATIONS))
    assert set(diagrams.stale(folder)) == {"payment.mmd", "payment.dot", "payment.svg", "README.md"}


def test_drawing_anew_makes_stale_files_fresh(folder):
    for name in DRAWN:
        (folder / name).write_text("old", "utf-8")
    assert set(DRAWN) <= set(diagrams.stale(folder))
    diagrams.write(folder)
    assert diagrams.stale(folder) == []


def test_the_page_shows_every_machine_state_row_and_rule():
    page = (KEPT / "README.md").read_text("utf-8")
    for declaration in DECLARATIONS:
        assert diagrams.mermaid(declaration).rstrip() in page
        assert not [state for state, meaning in declaration.states.items() if f"`{state}`" not in page or meaning not in page]
        assert not [row for row in declaration.transitions if f"| `{row.when}` |" not in page]
    assert not [rule for rule, text in diagrams.RULES.items() if f"**{rule}** {text}" not in page]


def test_the_bytes_are_equal_whatever_the_hash_seed_the_zone_and_the_language(folder, tmp_path):  # I19
    outcomes = []
    for number, changes in enumerate(
        [
            {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"},
            {"PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8"},
        ]
    ):
        copy = Path(shutil.copytree(folder, tmp_path / str(number)))
        for name in DRAWN:
            (copy / name).unlink()
        program = "import sys; from pathlib import Path; from workflow import diagrams; diagrams.write(Path(sys.argv[1]))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
        subprocess.run([sys.executable, "-c", program, str(copy)], cwd=ROOT, env=environment, check=True, timeout=60)
        outcomes.append({path.name: path.read_bytes() for path in sorted(copy.iterdir())})
    assert outcomes[0] == outcomes[1]
    assert set(DRAWN) <= set(outcomes[0])
