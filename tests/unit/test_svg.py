"""The picture as a reader gets it: the SVG text is parsed, and every claim is about what is drawn, not about how it was laid out."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow import svg as layout
from workflow.declaration import words
from workflow.diagrams import Taken, edges, svg
from workflow.lifecycle import DECLARATIONS, ORDER
from workflow.svg import Picture, draw

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</title><script>alert(\"x\" & 'y')</script>"


def a_picture(**changes):
    """Two states and a final one."""
    steps = {("", "open"): "begin", ("open", "busy"): "work", ("busy", "open"): "rest", ("busy", "busy"): "think", ("busy", "shut"): "end"}
    picture = Picture(title="a shop", nodes=["", "open", "busy", "shut"], final=frozenset({"shut"}), edges=steps, taken=frozenset(), now="")
    return replace(picture, **changes)


def everything_taken(declaration):
    """A way with long numbers on every step: the widest labels that a picture has to hold."""
    return Taken({edge: [*range(number, number + 7)] for number, edge in enumerate(edges(declaration), start=1)}, "captured")


@dataclass(frozen=True)
class Step:
    """One drawn step: the words that name it, its line as straight pieces, the box around its arrowhead, how it looks."""

    name: str
    pieces: list
    head: tuple
    look: set
    thickness: int


@dataclass(frozen=True)
class Drawn:
    """What stands in the SVG: boxes as (left, top, right, bottom)."""

    root: ElementTree.Element
    states: dict
    labels: list
    steps: list


def drawn(text):
    root = ElementTree.fromstring(text)
    start = root.find(f"{SVG}circle")
    states = {} if start is None else {"": box_of_circle(start)}
    labels, steps = [], []
    for group in root.iter(f"{SVG}g"):
        look = set(group.get("class").split())
        if "node" in look:
            states[group.find(f"{SVG}text").text] = box(group.find(f"{SVG}rect"))
        elif "label" in look:
            labels.append((" ".join(span.text for span in group.iter(f"{SVG}tspan")), box(group.find(f"{SVG}rect"))))
        elif "edge" in look:
            line, head = group.findall(f"{SVG}path")
            name = group.find(f"{SVG}title").text
            steps.append(Step(name, pieces(line.get("d")), head_box(head.get("d")), look, int(line.get("stroke-width"))))
    return Drawn(root, states, labels, steps)


def box(rect):
    x, y, width, height = (int(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def box_of_circle(circle):
    x, y, r = (int(circle.get(name)) for name in ("cx", "cy", "r"))
    return x - r, y - r, x + r, y + r


def pieces(path):
    """The straight pieces of a path; a bend counts as its two legs."""
    points = []
    for letter, numbers in re.findall(r"([MHVQ])([-\d ]+)", path):
        values = [int(number) for number in numbers.split()]
        if letter == "H":
            points.append((values[0], points[-1][1]))
        elif letter == "V":
            points.append((points[-1][0], values[0]))
        else:
            points += zip(values[::2], values[1::2], strict=True)
    return list(itertools.pairwise(points))


def head_box(path):
    """Around a triangle that is given by its tip and two moves."""
    x, y, along, across, letter, base = re.fullmatch(r"M(\d+) (\d+)l(-?\d+) (-?\d+)([hv])(\d+)z", path).groups()
    second = (int(x) + int(along), int(y) + int(across))
    third = (second[0] + int(base) * (letter == "h"), second[1] + int(base) * (letter == "v"))
    xs, ys = zip((int(x), int(y)), second, third, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def runs_through(piece, area, shrink=0):
    """The piece, which is level or upright, has a point inside the area."""
    (x1, y1), (x2, y2) = piece
    left, top, right, bottom = area
    return min(x1, x2) < right - shrink and max(x1, x2) > left + shrink and min(y1, y2) < bottom - shrink and max(y1, y2) > top + shrink


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def assert_legible(text, steps):
    """Nothing covers anything: the property that makes a picture readable, whatever it shows."""
    picture = drawn(text)
    areas = [*picture.states.items(), *picture.labels]
    for (name, one), (other_name, other) in itertools.combinations(areas, 2):
        assert not overlap(one, other), f"{name!r} covers {other_name!r}"
    _, _, width, height = map(int, picture.root.get("viewBox").split())
    for name, (left, top, right, bottom) in areas:
        assert min(left, top, width - right, height - bottom) > 0, f"{name!r} leaves the picture"
    assert len(picture.steps) == len(steps)
    for step in picture.steps:
        for name, state in picture.states.items():
            assert not any(runs_through(piece, state, shrink=1) for piece in step.pieces), f"{step.name!r} runs through {name!r}"
        crossed = [name for name, area in picture.labels if any(runs_through(piece, area) for piece in step.pieces)]
        ends, label = step.name.split(": ", 1)
        source, target = ends.split(" to ")
        own = [" ".join(label.split())] if label and source != target else []
        assert crossed == own, f"{step.name!r} runs through the labels {crossed}"
        assert not [name for name, area in areas if overlap(step.head, area)], f"the arrowhead of {step.name!r} is covered"
        for area, piece in ((area, piece) for _, area in picture.labels for piece in step.pieces if runs_through(piece, area)):
            ends = sorted(x for x, _ in piece)
            assert ends[0] + 3 <= area[0], f"nothing shows of {step.name!r} before its label"
            assert area[2] + 3 <= ends[1], f"nothing shows of {step.name!r} after its label"
        assert min(x for piece in step.pieces for x, _ in piece) > 0
        assert max(x for piece in step.pieces for x, _ in piece) < width


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_nothing_in_the_picture_of_a_declared_machine_covers_anything_else(declaration):
    assert_legible(svg(declaration), edges(declaration))


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_a_path_taken_with_many_numbers_covers_nothing(declaration):
    assert_legible(svg(declaration, everything_taken(declaration)), edges(declaration))


@settings(max_examples=120, deadline=None, database=None)
@given(data=st.data(), size=st.integers(1, 8))
def test_nothing_covers_anything_whatever_the_graph_is(data, size):
    nodes = ["", *(f"state{number}" * data.draw(st.integers(1, 3)) for number in range(size))]
    steps = data.draw(st.lists(st.tuples(st.sampled_from(nodes), st.sampled_from(nodes)), unique=True, max_size=24))
    label = st.sampled_from(
        ["", "go", "refund / reverse / expire (3)", "a_word_longer_than_one_line", "go on then / or / stay / or / go / back / home"]
    )
    picture = Picture(
        title="any",
        nodes=nodes,
        final=frozenset(data.draw(st.lists(st.sampled_from(nodes[1:]), max_size=4))),
        edges={(source, target): data.draw(label) for source, target in steps},
        taken=frozenset(steps[::3]),
        now=data.draw(st.sampled_from(nodes)),
    )
    assert_legible(draw(picture), steps)


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_every_declared_step_is_drawn_and_described_in_words(declaration):
    picture = drawn(svg(declaration))
    told = {f"{source or 'start'} to {target}: {' / '.join(triggers)}" for (source, target), triggers in edges(declaration).items()}
    assert {step.name for step in picture.steps} == told
    assert all(words in picture.root.find(f"{SVG}desc").text for words in told)


def test_every_step_begins_at_its_source_and_ends_at_its_target():
    picture = drawn(svg(ORDER))
    for step in picture.steps:
        source, target = step.name.split(": ")[0].split(" to ")
        assert near(step.pieces[0][0], picture.states[source.replace("start", "")], 0), step.name
        assert near(step.pieces[-1][-1], picture.states[target], layout.HEAD), step.name


def near(point, area, distance):
    left, top, right, bottom = area
    return left - distance <= point[0] <= right + distance and top - distance <= point[1] <= bottom + distance


def test_the_happy_path_of_an_order_is_one_straight_line():
    picture = drawn(svg(ORDER))
    happy = ["", "created", "authorised", "captured", "reconciled", "updated"]
    middles = [(picture.states[name][1] + picture.states[name][3]) // 2 for name in happy]
    lefts = [picture.states[name][0] for name in happy]
    assert len(set(middles)) == 1
    assert lefts == sorted(lefts)
    for source, target in itertools.pairwise(happy):
        (step,) = (step for step in picture.steps if step.name.startswith(f"{source or 'start'} to {target}: "))
        (((x1, y1), (x2, y2)),) = step.pieces
        assert y1 == y2 == middles[0]
        assert x1 < x2


def test_the_final_states_of_an_order_stand_in_one_column_below_the_line():
    picture = drawn(svg(ORDER))
    final = [picture.states[name] for name in words(ORDER.final)]
    assert len({left for left, _, _, _ in final}) == 1
    assert min(top for _, top, _, _ in final) > picture.states["updated"][3]


def test_the_final_states_that_few_early_states_lead_to_lie_lowest():
    tops = {name: top for name, (_, top, _, _) in drawn(svg(ORDER)).states.items()}
    assert max(tops[name] for name in ("refunded", "reversed", "expired")) < min(tops[name] for name in ("cancelled", "failed"))


def test_steps_to_one_final_state_under_one_label_share_a_rail():
    picture = drawn(svg(ORDER))
    assert [name for name, _ in picture.labels].count("refund") == 1
    assert len({step.pieces[-1][-1] for step in picture.steps if step.name.endswith(" to refunded: refund")}) == 1


def test_a_picture_of_an_order_is_readable_at_a_thousand_pixels():
    """The smallest letters are 11 pixels or more once the picture was made that narrow."""
    assert 11 * int(drawn(svg(ORDER)).root.get("width")) <= layout.LABEL_SIZE * 1000


def test_a_long_label_is_broken_into_lines():
    text = draw(a_picture(edges={("", "open"): "refund / reverse / expire (3)"}))
    spans = [span.text for span in ElementTree.fromstring(text).iter(f"{SVG}tspan")]
    assert spans == ["refund / reverse /", "expire (3)"]


def test_only_final_states_have_a_double_border():
    groups = nodes_of(draw(a_picture()))
    assert {name: len(group.findall(f"{SVG}rect")) for name, group in groups.items()} == {"open": 1, "busy": 1, "shut": 2}


def nodes_of(text):
    groups = ElementTree.fromstring(text).iter(f"{SVG}g")
    return {group.find(f"{SVG}text").text: group for group in groups if "node" in group.get("class").split()}


def test_what_was_taken_is_thicker_and_drawn_over_the_rest():
    steps = drawn(draw(a_picture(taken=frozenset({("", "open"), ("busy", "open")})))).steps
    assert [step.name for step in steps if "taken" in step.look] == [step.name for step in steps[-2:]]
    assert {step.name for step in steps[-2:]} == {"start to open: begin", "busy to open: rest"}
    assert min(step.thickness for step in steps[-2:]) > max(step.thickness for step in steps[:-2])


def test_what_was_taken_is_told_in_words():
    desc = ElementTree.fromstring(draw(a_picture(taken=frozenset({("busy", "shut")})))).find(f"{SVG}desc").text
    assert "busy to shut: end (taken)" in desc
    assert desc.count("(taken)") == 1


def test_the_present_state_is_marked_by_fill_border_and_word():
    groups = nodes_of(draw(a_picture(now="busy")))
    here, there = (groups[name].find(f"{SVG}rect") for name in ("busy", "open"))
    assert here.get("fill") != there.get("fill")
    assert int(here.get("stroke-width")) > int(there.get("stroke-width"))
    assert {name: [text.text for text in group.findall(f"{SVG}text")] for name, group in groups.items()} == {
        "open": ["open"],
        "busy": ["busy", "now"],
        "shut": ["shut"],
    }
    assert "Now in busy." in draw(a_picture(now="busy"))


@pytest.mark.parametrize("now", ["", "elsewhere"])
def test_no_state_is_marked_where_none_is_known(now):
    assert not [name for name, group in nodes_of(draw(a_picture(now=now))).items() if "now" in group.get("class").split()]
    assert draw(a_picture(now=now)) == draw(a_picture())


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
@pytest.mark.parametrize("taken", [None, everything_taken], ids=["plain", "taken"])
def test_counts_and_links_cover_nothing_and_every_state_shows_its_own(declaration, taken):
    names = list(declaration.states)
    text = svg(declaration, taken and taken(declaration), counts={names[0]: 41_204}, link=lambda state: f"/orders?state={state}&x=1")
    assert_legible(text, edges(declaration))
    groups = nodes_of(text)
    assert [each.text for each in groups[names[0]].findall(f"{SVG}text") if each.get("class") == "count"] == ["41,204"]
    links = {link.get("href"): link.get("aria-label") for link in ElementTree.fromstring(text).iter(f"{SVG}a")}
    assert links[f"/orders?state={names[0]}&x=1"] == f"{names[0]}: 41,204"
    assert links[f"/orders?state={names[1]}&x=1"] == f"{names[1]}: 0"
    assert set(groups) == {label.split(":")[0] for label in links.values()}


def test_a_picture_with_links_is_a_named_group_since_nobody_finds_a_link_inside_an_image():
    root = ElementTree.fromstring(svg(ORDER, embedded=True, link=lambda state: state))
    assert (root.get("role"), root.get("aria-label")) == ("group", "An order")
    assert ElementTree.fromstring(svg(ORDER)).get("role") == "img"


def test_a_picture_inside_a_page_has_no_style_sheet_of_its_own():
    assert "<style" in svg(ORDER)
    assert "<style" not in svg(ORDER, everything_taken(ORDER), embedded=True, counts={}, link=lambda state: state)


@pytest.mark.parametrize("evil", [EVIL, "]]><!--", "&lt;script&gt;", 'it\'s "quoted" & <b>'], ids=["script", "comment", "entity", "quotes"])
def test_states_labels_and_titles_are_inert_text(evil):
    text = draw(Picture(evil, ["", evil], frozenset({evil}), {("", evil): evil}, frozenset({("", evil)}), evil))
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "style", "g", "path", "rect", "circle", "text", "tspan")
    }
    assert root.find(f"{SVG}title").text == evil
    assert evil in root.find(f"{SVG}desc").text
    assert list(nodes_of(text)) == [evil]


@pytest.mark.parametrize("letter", ["\0", "\x0b", "\x1f", "\ud800", "\uffff"], ids=ascii)
def test_what_xml_cannot_hold_is_replaced(letter):
    text = draw(Picture(f"a{letter}b", ["", f"a{letter}b"], frozenset(), {("", f"a{letter}b"): f"a{letter}b"}, frozenset(), ""))
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert root.find(f"{SVG}title").text == "a\ufffdb"


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_a_picture_needs_nothing_that_a_strict_page_forbids(declaration):
    """No inline style, no handler, nothing fetched; no id either, for two pictures on one page would share it."""
    root = ElementTree.fromstring(svg(declaration, everything_taken(declaration)))
    for element in root.iter():
        assert not {name for name in element.attrib if name in {"style", "id", "href"} or name.startswith(("on", "{"))}
    assert "url(" not in svg(declaration)
    assert svg(declaration).count("http") == 1


def test_a_page_that_forbids_style_sheets_still_shows_every_colour():
    root = drawn(svg(ORDER, everything_taken(ORDER))).root
    assert root.get("color")
    for element in root.iter():
        kind = element.tag.removeprefix(SVG)
        assert kind not in {"rect", "path", "circle", "text"} or element.get("fill"), ElementTree.tostring(element)
        assert kind != "path" or element.get("stroke"), ElementTree.tostring(element)


def test_the_dark_sheet_speaks_only_of_what_is_drawn_and_only_inside_the_picture():
    root = drawn(svg(ORDER, everything_taken(ORDER))).root
    sheet = root.find(f"{SVG}style").text
    known = {name for element in root.iter() for name in element.get("class", "").split()} | {"side"}
    media, rules = sheet.split("{", 1)
    assert media.strip() == "@media (prefers-color-scheme: dark)"
    assert set(re.findall(r"\.([a-z]+)", rules)) <= known
    assert all(
        selector.strip().startswith(".states")
        for selector in re.findall(r"[^{},]*(?=[,{])", re.sub(r"{[^}]*}", "{", rules))
        if selector.strip()
    )


@pytest.mark.parametrize(("ink", "paper", "least"), [
    *((ink, layout.PAPER, 4.5) for ink in (layout.INK, layout.MARK)),
    (layout.FAINT, layout.PAPER, 3),
    *((ink, "#0d1117", 4.5) for ink in sorted(set(re.findall("#[0-9a-f]{6}", layout.DARK)) - {"#0d1117"})),
])  # fmt: skip
def test_ink_stands_out_from_its_paper(ink, paper, least):
    lighter, darker = sorted((luminance(ink), luminance(paper)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= least


def luminance(colour):
    """As WCAG 2.2 defines it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return sum(
        weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


def test_an_image_has_a_role_a_title_and_a_description_first():
    root = ElementTree.fromstring(draw(a_picture()))
    assert root.get("role") == "img"
    assert [child.tag.removeprefix(SVG) for child in root[:2]] == ["title", "desc"]
    assert root[0].text == "a shop"
    assert "Final: shut." in root[1].text


def test_the_picture_is_the_same_bytes_in_another_process():
    program = "from workflow.diagrams import svg; from workflow.lifecycle import ORDER; import sys; sys.stdout.write(svg(ORDER))"
    root = Path(layout.__file__).resolve().parents[1]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, check=True)
        assert run.stdout.decode() == svg(ORDER)


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_every_number_in_the_geometry_is_whole(declaration):
    assert not re.search(r"\d\.\d", svg(declaration, everything_taken(declaration)).split("</style>")[1])


@pytest.mark.parametrize("turn", [1, -1], ids=["forth", "back"])
def test_states_of_a_cycle_stand_as_they_were_declared_however_the_steps_are_ordered(turn):
    steps = [("", "first"), ("first", "second"), ("first", "third"), ("second", "third"), ("third", "second")][::turn]
    picture = drawn(draw(a_picture(nodes=["", "first", "second", "third"], final=frozenset(), edges=dict.fromkeys(steps, "go"))))
    assert sorted(picture.states, key=picture.states.get) == ["", "first", "second", "third"]


@pytest.mark.parametrize(
    ("nodes", "final", "steps"),
    [
        ([], [], []),
        ([""], [], []),
        (["a"], ["a"], []),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a"], [("a", "b"), ("b", "a")]),
        (["", "a"], ["a"], [("", "a"), ("a", "a")]),
        (["", "a", "b"], [], [("a", "b")]),
    ],
    ids=["nothing", "start_only", "one_final", "finals_only", "final_with_a_way_out", "final_with_a_loop", "start_alone"],
)
def test_an_odd_graph_is_drawn_whole(nodes, final, steps):
    text = draw(Picture("odd", nodes, frozenset(final), dict.fromkeys(steps, "go"), frozenset(), ""))
    assert_legible(text, steps)
    assert set(drawn(text).states) == set(nodes)
