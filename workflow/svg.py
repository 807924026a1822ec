"""A directed state graph as SVG, laid out here: no Graphviz, no font metrics, whole numbers only, the same bytes on every machine.

The longest way through the graph is one straight line. Every other step runs on a rail: above the line to a state that stands on it,
below the line to the states beside it and to the final ones. Steps with one target and one label share a rail and join it with a bend
in the direction of travel; lines that only cross do not meet. Every state has a column or a row to itself and every label a place
between two columns on its own rail, so that nothing can cover anything, whatever the graph is.

Attributes draw the light picture and the style sheet only adds the dark one: a page that forbids style sheets still shows it, and a
page that has the dark colours itself takes the picture without.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from html import escape
from itertools import pairwise
from typing import NamedTuple

MARGIN, ROW_GAP, TRACK_GAP, APPROACH = 12, 18, 4, 16
BOX_HEIGHT, COUNTED_HEIGHT, BOX_PADDING, BOX_LEAST, DOT = 36, 50, 20, 64, 14
TEXT_SIZE, LABEL_SIZE, COUNT_SIZE, LINE_HEIGHT, LINE_LETTERS = 14, 13, 18, 16, 18
BEND, PORT, HEAD, LOOP = 8, 10, 9, 12
CLEAR = 8  # the least distance between a line and what it passes
NARROW, WIDE = frozenset(" !'()*,-./:;I[]`fijlrt{|}"), frozenset("%@MWmw")
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
INK, FAINT, PAPER, MARK = "#1f2328", "#818b98", "#ffffff", "#0b4fc4"
DARK = (
    "@media (prefers-color-scheme: dark) {"
    " .states { color: #e6edf3 }"
    " .states .paper, .states .node rect { fill: #0d1117 }"
    " .states .side path { stroke: #8b949e } .states .side .head { fill: #8b949e }"
    " .states .edge.taken path { stroke: #79b8ff } .states .edge.taken .head, .states .label.taken text { fill: #79b8ff }"
    " .states .node.now rect { fill: #79b8ff; stroke: #ffffff } .states .node.now text { fill: #0d1117 }"
    " }"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw. The node "" is the start; the ends of every edge are nodes; `taken` and `now` may name what is not there.

    `counts` stand in their nodes, and a node with a link leads there. `has_style`: with the style sheet for the dark.
    """

    title: str
    nodes: list[str]
    final: frozenset[str]
    edges: dict[tuple[str, str], str]
    taken: frozenset[tuple[str, str]]
    now: str
    counts: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    has_style: bool = True


class Way(Enum):
    """How a step is drawn."""

    STRAIGHT = auto()
    LOOP = auto()
    RIGHT = auto()  # above the line, towards a later column
    LEFT = auto()  # above the line, towards an earlier column
    BELOW = auto()  # to a state that has a row under the line


class Plan(NamedTuple):
    """Which states stand on the line, which beside it in rows of their own, and which are ends; the column of each; the self-loops."""

    line: list[str]
    aside: list[str]
    ends: list[str]
    column: dict[str, int]
    loops: frozenset[str]


class Rail(NamedTuple):
    """Steps that share a way, a target and a label."""

    way: Way
    target: str
    label: str
    sources: tuple[str, ...]


class Box(NamedTuple):
    """The place of a state: its middle and its size, all even numbers apart from the middle."""

    x: int
    y: int
    width: int
    height: int

    @property
    def left(self) -> int:
        """The x of its left side."""
        return self.x - self.width // 2

    @property
    def right(self) -> int:
        """The x of its right side."""
        return self.x + self.width // 2

    @property
    def top(self) -> int:
        """The y of its upper side."""
        return self.y - self.height // 2

    @property
    def bottom(self) -> int:
        """The y of its lower side."""
        return self.y + self.height // 2

    @property
    def port(self) -> int:
        """How far from the middle a rail comes down on it."""
        return min(PORT, self.width // 2 - 4)


def draw(picture: Picture) -> str:
    """The picture as the text of an SVG file, the same for the same picture."""
    plan = _plan(picture)
    rails = _rails(picture, plan)
    columns = _across(plan, rails)
    boxes, heights = _down(plan, rails, columns, COUNTED_HEIGHT if picture.counts else BOX_HEIGHT)
    labels = [(rail, _label_box(rail, plan, columns, boxes, heights)) for rail in rails if rail.label]
    steps = [(source, rail) for rail in rails for source in rail.sources]
    steps.sort(key=lambda step: (step[0], step[1].target) in picture.taken)  # what was taken is drawn over what was not
    everything = [*boxes.values(), *(box for _, box in labels)]
    loops = [boxes[rail.target].right + LOOP for rail in rails if rail.way is Way.LOOP]
    width = max([0, *(box.right for box in everything), *loops]) + MARGIN
    height = max([0, *(box.bottom for box in everything)]) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="states" {_role(picture)} width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" color="{INK}" font-family="system-ui, sans-serif" text-anchor="middle">',
        f"<title>{_safe(picture.title)}</title>",
        f"<desc>{_safe(_in_words(picture))}</desc>",
        *([f"<style>{DARK}</style>"] if picture.has_style else []),
        f'<rect class="paper" width="{width}" height="{height}" fill="{PAPER}"/>',
        *(_edge(picture, source, rail, boxes, heights[rail]) for source, rail in steps),
        *(_label(rail, box, any((source, rail.target) in picture.taken for source in rail.sources)) for rail, box in labels),
        *(_node(picture, name, boxes[name]) for name in picture.nodes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _role(picture: Picture) -> str:
    """An image is one thing to a screen reader, whose links nobody would find: with links it is a group of them."""
    return f'role="group" aria-label="{_safe(picture.title)}"' if picture.links else 'role="img"'


def _plan(picture: Picture) -> Plan:
    """Layers by the longest way over the edges that do not lead back; within a layer by the mean column of the sources."""
    ranks = _ranks(picture)
    onward = [(source, target) for source, target in picture.edges if ranks[source] < ranks[target]]
    layers = dict.fromkeys(ranks, 0)
    for node in ranks:
        for target in (target for source, target in onward if source == node):
            layers[target] = max(layers[target], layers[node] + 1)
    left = {source for source, target in picture.edges if source != target}
    ends = [node for node in picture.nodes if node in picture.final and node not in left]
    inner = [node for node in picture.nodes if node not in ends]
    line = [max(inner, key=layers.__getitem__)] if inner else []
    while line and layers[line[0]]:
        line.insert(0, next(node for node in inner if (node, line[0]) in onward and layers[node] == layers[line[0]] - 1))
    column = {node: number for number, node in enumerate(line)}

    def mean(node: str) -> int:
        found = [column[source] for source, target in picture.edges if target == node and source in column]
        return sum(found) * 100 // len(found) if found else 0

    aside = sorted((node for node in inner if node not in column), key=lambda node: (layers[node], mean(node)))
    column |= {node: number for number, node in enumerate(aside, start=len(line))}
    ends.sort(key=mean, reverse=True)  # what few early states lead to lies lowest: its rail then crosses the fewest lines
    loops = frozenset(source for source, target in picture.edges if source == target)
    return Plan(line, aside, ends, column | dict.fromkeys(ends, len(column)), loops)


def _ranks(picture: Picture) -> dict[str, int]:
    """The nodes in an order in which as good as every edge leads onward: those of a cycle as they were declared."""
    places = {node: number for number, node in enumerate(picture.nodes)}
    after: dict[str, list[str]] = {node: [] for node in picture.nodes}
    for source, target in sorted(picture.edges, key=lambda edge: places[edge[1]]):
        after[source].append(target)
    seen, finished = set[str](), list[str]()
    for root in picture.nodes:
        trail = [] if root in seen else [root]
        while trail:
            seen.add(trail[-1])
            unseen = next((target for target in after[trail[-1]] if target not in seen), None)
            if unseen is None:
                finished.append(trail.pop())
            else:
                trail.append(unseen)
    return {node: number for number, node in enumerate(reversed(finished))}


def _rails(picture: Picture, plan: Plan) -> list[Rail]:
    shared: dict[tuple[Way, str, str], list[str]] = {}
    for (source, target), label in picture.edges.items():
        shared.setdefault((_way(plan, source, target), target, label), []).append(source)
    return [Rail(*key, tuple(sources)) for key, sources in shared.items()]


def _way(plan: Plan, source: str, target: str) -> Way:
    if source == target:
        return Way.LOOP
    if (source, target) in pairwise(plan.line):
        return Way.STRAIGHT
    if plan.column[source] > plan.column[target]:
        return Way.LEFT
    return Way.RIGHT if target in plan.line else Way.BELOW


def _across(plan: Plan, rails: list[Rail]) -> list[int]:
    """The x of every column: as near to the last one as boxes and labels allow."""
    nodes = [*plan.line, *plan.aside, *plan.ends[:1]]
    halves = [_box_width(plan, node) // 2 for node in nodes]
    columns = [MARGIN + half for half in halves[:1]]
    for number, (half, other) in enumerate(pairwise(halves)):
        least = half + other + 3 * CLEAR if number + 1 < len(plan.line) else max(half, other) + PORT + CLEAR
        columns.append(columns[-1] + max([least, *(_room(rail, plan, number, half, other) for rail in rails)]))
    return columns


def _room(rail: Rail, plan: Plan, number: int, half: int, other: int) -> int:
    """What the rail's label needs between the middles of column `number` and the next, whose boxes have these half widths."""
    if plan.column[rail.target] != (number if rail.way in (Way.LOOP, Way.LEFT) else number + 1):
        return 0
    text = _text_width(rail.label)
    if rail.way is Way.STRAIGHT:
        return half + 2 * LOOP * (rail.sources[0] in plan.loops) + CLEAR + text + CLEAR + HEAD + other
    if rail.way is Way.LOOP:
        return half + LOOP + text + 2 * CLEAR + other
    if rail.way is Way.BELOW:
        return BEND + CLEAR + text + CLEAR + HEAD + other
    return 2 * (PORT + BEND) + text + CLEAR


def _down(plan: Plan, rails: list[Rail], columns: list[int], least: int) -> tuple[dict[str, Box], dict[Rail, int]]:
    """The box of every state and the y of every rail, from the top: tracks, the line, then a row for each other state."""
    boxes, heights, y = dict[str, Box](), dict[Rail, int](), MARGIN
    for track in reversed(_tracks(plan, rails)):
        height = max(_text_height(rail.label) for rail in track)
        heights |= dict.fromkeys(track, y + height // 2)
        y += height + TRACK_GAP
    y += APPROACH if heights else 0
    for row in [plan.line, *([node] for node in (*plan.aside, *plan.ends))]:
        if not row:
            continue
        entering = [rail for rail in rails if rail.target in row]
        loops = [rail for rail in entering if rail.way is Way.LOOP]
        band = max((_text_height(rail.label) for rail in loops), default=0)
        heights |= dict.fromkeys(loops, y + band // 2)
        beside = [_text_height(rail.label) for rail in entering if rail.way is Way.STRAIGHT]
        below = [rail for rail in entering if rail.way is Way.BELOW]
        stack = sum(_text_height(rail.label) for rail in below)
        height = max([least, stack, *beside])
        middle = y + band + height // 2
        box_height = max(least, stack)
        boxes |= {node: Box(columns[plan.column[node]], middle, _box_width(plan, node), box_height if node else DOT) for node in row}
        entry = middle - stack // 2
        for rail in below:
            heights[rail] = entry + _text_height(rail.label) // 2
            entry += _text_height(rail.label)
        heights |= {rail: middle for rail in entering if rail.way is Way.STRAIGHT}
        y += band + height + ROW_GAP
    return boxes, heights


def _tracks(plan: Plan, rails: list[Rail]) -> list[list[Rail]]:
    """The rails above the line in tracks from below, the shortest lowest; rails in one track do not touch."""
    tracks: list[list[Rail]] = []
    above = [rail for rail in rails if rail.way in (Way.RIGHT, Way.LEFT)]
    for rail in sorted(above, key=lambda rail: _reach(plan, rail)[1] - _reach(plan, rail)[0]):
        first, last = _reach(plan, rail)
        free = (t for t in tracks if all(last < _reach(plan, other)[0] or _reach(plan, other)[1] < first for other in t))
        if track := next(free, None):
            track.append(rail)
        else:
            tracks.append([rail])
    return tracks


def _reach(plan: Plan, rail: Rail) -> tuple[int, int]:
    touched = [plan.column[node] for node in (rail.target, *rail.sources)]
    return min(touched), max(touched)


def _label_box(rail: Rail, plan: Plan, columns: list[int], boxes: dict[str, Box], heights: dict[Rail, int]) -> Box:
    """Where the label lies: on the last part of its rail, which all its steps share."""
    target, number, text = boxes[rail.target], plan.column[rail.target], _text_width(rail.label)
    x = {
        Way.STRAIGHT: lambda: (boxes[rail.sources[0]].right + 2 * LOOP * (rail.sources[0] in plan.loops) + target.left - HEAD) // 2,
        Way.LOOP: lambda: target.right + LOOP + CLEAR // 2 + text // 2,
        Way.BELOW: lambda: (columns[number - 1] + BEND + target.left - HEAD) // 2,
        Way.RIGHT: lambda: (columns[number - 1] + columns[number]) // 2,
        Way.LEFT: lambda: (columns[number] + columns[number + 1]) // 2,
    }[rail.way]()
    return Box(x, heights[rail], text, _text_height(rail.label))


def _edge(picture: Picture, source: str, rail: Rail, boxes: dict[str, Box], y: int) -> str:
    look, colour, thick = ("main", "currentColor", 2) if rail.way is Way.STRAIGHT else ("side", FAINT, 2)
    if (source, rail.target) in picture.taken:
        look, colour, thick = "taken", MARK, 4
    line, head = _path(rail.way, boxes[source], boxes[rail.target], y)
    return (
        f'<g class="edge {look}"><title>{_safe(_step(source, rail.target, rail.label))}</title>'
        f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'
        f'<path class="head" d="{head}" fill="{colour}" stroke="{colour}" stroke-linejoin="round"/></g>'
    )


def _path(way: Way, source: Box, target: Box, y: int) -> tuple[str, str]:
    """The line of one step on its rail at height `y`, and its arrowhead."""
    sideways = f"M{target.left} {y}l-{HEAD} -5v10z"
    if way is Way.STRAIGHT:
        return f"M{source.right} {y}H{target.left - HEAD}", sideways
    if way is Way.BELOW:
        return f"M{source.x} {source.bottom}V{y - BEND}Q{source.x} {y} {source.x + BEND} {y}H{target.left - HEAD}", sideways
    if way is Way.LOOP:
        start, turn, end = source.right - LOOP, source.right + LOOP, source.top + LINE_HEIGHT // 2
        up = f"M{start} {source.top}V{y + BEND}Q{start} {y} {start + BEND} {y}H{turn - BEND}"
        return f"{up}Q{turn} {y} {turn} {y + BEND}V{end}H{source.right + HEAD}", f"M{source.right} {end}l{HEAD} -5v10z"
    sign = 1 if way is Way.RIGHT else -1
    entry = target.x - sign * target.port
    up = f"M{source.x} {source.top}V{y + BEND}Q{source.x} {y} {source.x + sign * BEND} {y}H{entry - sign * BEND}"
    return f"{up}Q{entry} {y} {entry} {y + BEND}V{target.top - HEAD}", f"M{entry} {target.top}l-5 -{HEAD}h10z"


def _label(rail: Rail, box: Box, taken: bool) -> str:
    """The words on a ground of paper."""
    lines = _lines(rail.label)
    first = box.y - (len(lines) - 1) * LINE_HEIGHT // 2 + LABEL_SIZE // 3
    spans = "".join(f'<tspan x="{box.x}" y="{first + n * LINE_HEIGHT}">{_safe(line)}</tspan>' for n, line in enumerate(lines))
    ground = f'<rect class="paper" x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" fill="{PAPER}"/>'
    ink = MARK if taken else "currentColor"
    return f'<g class="label{" taken" * taken}">{ground}<text font-size="{LABEL_SIZE}" fill="{ink}">{spans}</text></g>'


def _node(picture: Picture, name: str, box: Box) -> str:
    if not name:
        return f'<circle class="start" cx="{box.x}" cy="{box.y}" r="{DOT // 2}" fill="currentColor"><title>start</title></circle>'
    now, count = name == picture.now, picture.counts.get(name)
    border = f'stroke="{INK}" stroke-width="4"' if now else 'stroke="currentColor" stroke-width="2"'
    fill, ink = (MARK, PAPER) if now else (PAPER, "currentColor")
    look = f"node{' final' * (name in picture.final)}{' now' * now}{' none' * (count == 0)}"
    parts = [f'<g class="{look}">', _rect(box, 0, f'fill="{fill}" {border}')]
    if name in picture.final:
        parts.append(_rect(box, 8, f'fill="{fill}" stroke="{ink if now else "currentColor"}" stroke-width="1"'))
    base = box.y + (-1 if now else TEXT_SIZE // 3) - 9 * (count is not None)
    parts.append(f'<text x="{box.x}" y="{base}" font-size="{TEXT_SIZE}" fill="{ink}">{_safe(name)}</text>')
    if now:
        parts.append(f'<text x="{box.x}" y="{base + 12}" font-size="11" font-weight="bold" fill="{ink}">now</text>')
    if count is not None:
        place = f'class="count" x="{box.x}" y="{box.y + COUNT_SIZE - 2 + 4 * now}" font-size="{COUNT_SIZE}"'
        parts.append(f'<text {place} font-weight="bold" fill="{ink}">{count:,}</text>')
    node = "".join([*parts, "</g>"])
    if name not in picture.links:
        return node
    label = name if count is None else f"{name}: {count:,}"
    return f'<a href="{_safe(picture.links[name])}" aria-label="{_safe(label)}">{node}</a>'


def _rect(box: Box, less: int, look: str) -> str:
    """A rounded rectangle, smaller than the box by `less` both ways."""
    at = f'x="{box.left + less // 2}" y="{box.top + less // 2}"'
    return f'<rect {at} width="{box.width - less}" height="{box.height - less}" rx="{8 - less // 2}" {look}/>'


def _in_words(picture: Picture) -> str:
    """The whole picture for who cannot see it."""
    sentences = [f"Now in {picture.now}."] if picture.now in picture.nodes and picture.now else []
    sentences += [f"Counted: {', '.join(f'{node} {count:,}' for node, count in picture.counts.items())}."] if picture.counts else []
    sentences += [f"Final: {', '.join(node for node in picture.nodes if node in picture.final)}."] if picture.final else []
    steps = (_step(*edge, label) + " (taken)" * (edge in picture.taken) for edge, label in picture.edges.items())
    return " ".join([*sentences, f"Steps: {'; '.join(steps) or 'none'}."])


def _step(source: str, target: str, label: str) -> str:
    return f"{source or 'start'} to {target or 'start'}: {label}"


def _box_width(plan: Plan, node: str) -> int:
    """An even number; the ends are as wide as the widest of them."""
    if not node:
        return DOT
    return max(BOX_LEAST, *(_estimate([name], TEXT_SIZE) + BOX_PADDING for name in (plan.ends if node in plan.ends else (node, node))))


def _text_width(label: str) -> int:
    return _estimate(_lines(label), LABEL_SIZE) + CLEAR if label else 0


def _text_height(label: str) -> int:
    return max(1, len(_lines(label))) * LINE_HEIGHT + 4


def _lines(label: str) -> list[str]:
    """The label broken at spaces."""
    lines: list[str] = []
    for word in label.split():
        if lines and len(lines[-1]) + 1 + len(word) <= LINE_LETTERS:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _estimate(lines: Iterable[str], size: int) -> int:
    """An even number of pixels that the widest line stays under in the usual sans-serif fonts, or nearly."""
    return max((sum(_hundredths(letter) for letter in line) for line in lines), default=0) * size // 200 * 2 + 2


def _hundredths(letter: str) -> int:
    if letter in NARROW:
        return 40
    if letter in WIDE or not letter.isascii():
        return 100
    return 72 if letter.isupper() else 61


def _safe(text: str) -> str:
    """The text without meaning to XML; what XML cannot hold at all becomes the sign for that."""
    return escape(UNPRINTABLE.sub("\ufffd", text))
