"""Diagrams from the declaration: nothing in them is written by hand, so they cannot lie.

Mermaid renders on GitHub and in most editors, dot is for Graphviz, SVG is laid out here without any system package. With the entries
of one order the path taken is numbered and the present state marked. Each file carries the hash of what it was drawn from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workflow.declaration import MIGRATE, Declaration, Row, declaration_hash, migrated, state_name, words
from workflow.entry import Entry
from workflow.lifecycle import DECLARATIONS, EFFECTS, RULES
from workflow.svg import Picture, draw

TITLES = {"order": "An order", "payment": "A payment intent of an order", "fulfilment": "The kitchen"}
FORMATS = ("mermaid", "dot", "svg")
ENDINGS = {"mermaid": "mmd", "dot": "dot", "svg": "svg"}
START, END = "[*]", "[*]"
FLOWS = {"order_and_pay": "Order and Pay, message by message", "pay_only": "Pay-only, message by message"}
PARTIES = {"<-": ("Dojo", "Tillproof"), "->": ("Tillproof", "Dojo"), ">>": ("Till", "Tillproof")}


@dataclass(frozen=True, slots=True)
class Taken:
    """The way that one order took: the steps (from, to) in order, numbered from 1, and where it is now; also the triggers of each step."""

    steps: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    state: str = ""
    triggers: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def path_taken(entries: Sequence[Entry], machine: str, intent_id: str = "") -> Taken:
    """The way through `machine` that the entries tell; of one payment intent for the payment machine."""
    moves = [e for e in entries if e.kind == "transition" and e.machine_name == machine and intent_id in ("", e.payment_intent_id)]
    steps: dict[tuple[str, str], list[int]] = {}
    triggers: dict[tuple[str, str], dict[str, None]] = {}
    for number, entry in enumerate(moves, start=1):
        steps.setdefault((entry.from_state, entry.to_state), []).append(number)
        triggers.setdefault((entry.from_state, entry.to_state), {})[entry.trigger] = None
    return Taken(steps, moves[-1].to_state if moves else "", {step: [*names] for step, names in triggers.items()})


def render(declaration: Declaration, form: str, taken: Taken | None = None) -> str:
    """The machine in one of FORMATS. What was taken and is not declared is drawn as well: an order may have gone by several machines."""
    return {"mermaid": mermaid, "dot": dot, "svg": svg}[form](declaration, taken)


def mermaid(declaration: Declaration, taken: Taken | None = None) -> str:
    """The machine as a Mermaid state diagram: every edge of the declaration once, with its triggers."""
    lines = [f"%% drawn from {declaration.name}@{declaration_hash(declaration)}", "stateDiagram-v2"]
    lines += [f"    {state} : {state}" for state in _drawn(declaration, taken)]
    for (source, target), triggers in edges(declaration, taken).items():
        lines.append(f"    {source or START} --> {target} : {_label(triggers, source, target, taken)}")
    lines += [f"    {state} --> {END}" for state in words(declaration.final)]
    if taken and taken.state:
        lines += ["    classDef now fill:#1d4ed8,color:#ffffff,stroke-width:3px", f"    class {taken.state} now"]
    return "\n".join(lines) + "\n"


def dot(declaration: Declaration, taken: Taken | None = None) -> str:
    """The machine for Graphviz; final states have a double border."""
    final = words(declaration.final)
    lines = [
        f"// drawn from {declaration.name}@{declaration_hash(declaration)}",
        f"digraph {declaration.name} {{",
        '    rankdir=LR; node [shape=box, style="rounded", fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=10];',
        '    "" [shape=point];',
    ]
    for state in _drawn(declaration, taken):
        marks = ["peripheries=2"] * (state in final)
        if taken and taken.state == state:
            marks += ['style="rounded,filled,bold"', 'fillcolor="#1d4ed8"', 'fontcolor="white"', f'label="{state} (now)"']
        lines.append(f'    "{state}" [{", ".join(marks)}];')
    for (source, target), triggers in edges(declaration, taken).items():
        bold = ", penwidth=2.5" if taken and (source, target) in taken.steps else ""
        lines.append(f'    "{source}" -> "{target}" [label="{_label(triggers, source, target, taken)}"{bold}];')
    return "\n".join([*lines, "}", ""])


def svg(
    declaration: Declaration,
    taken: Taken | None = None,
    *,
    embedded: bool = False,
    counts: Mapping[str, int] | None = None,
    link: Callable[[str], str] | None = None,
) -> str:
    """The machine as a picture of its own, without Graphviz.

    With `counts` each state shows how many are in it, 0 where it is not named; with `link` it leads where that says. `embedded` is for
    inside a page that allows no style sheet in it and has the dark colours itself.
    """
    steps, states = taken.steps if taken else {}, _drawn(declaration, taken)
    return draw(
        Picture(
            title=TITLES.get(declaration.name, declaration.name) if embedded else f"{declaration.name}@{declaration_hash(declaration)}",
            nodes=["", *states],
            final=frozenset(words(declaration.final)),
            edges={edge: _label(triggers, *edge, taken) for edge, triggers in edges(declaration, taken).items()},
            taken=frozenset(steps),
            now=taken.state if taken else "",
            counts={} if counts is None else {state: counts.get(state, 0) for state in states},
            links={state: link(state) for state in states} if link else {},
            has_style=not embedded,
        )
    )


def _drawn(declaration: Declaration, taken: Taken | None) -> list[str]:
    """The declared states, and those of other declarations: that migrations lead on from, or that were passed."""
    passed = [state for step in taken.steps for state in step if state] if taken else []
    return [*dict.fromkeys([*declaration.states, *migrated(declaration), *passed])]


def edges(declaration: Declaration, taken: Taken | None = None) -> dict[tuple[str, str], list[str]]:
    """(from, to) → the triggers of that step, in the order of the declaration; then migrations, and what was taken and is not declared."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in declaration.transitions:
        for source in words(row.source):
            found.setdefault((state_name(source), row.target), []).append(row.when)
    for step in migrated(declaration).items():
        found[step] = [MIGRATE]
    others = {step: names for step, names in taken.triggers.items() if step not in found} if taken else {}
    return found | others


def _label(triggers: list[str], source: str, target: str, taken: Taken | None) -> str:
    numbers = taken.steps.get((source, target), []) if taken else []
    return " / ".join(triggers) + (f" ({', '.join(map(str, numbers))})" if numbers else "")


def sequence(recording: str) -> str:
    """A Mermaid sequence diagram of one flow, from the JSON text of what was recorded on the wire."""
    lines = [f"%% drawn from a recording, SHA-256 {hashlib.sha256(recording.encode()).hexdigest()[:12]}", "sequenceDiagram"]
    lines += ["    participant Dojo", "    participant Tillproof", "    participant Till"]
    for message in json.loads(recording):
        source, target = PARTIES[message["direction"]]
        note = f" ({message['note']})" if message["note"] else ""
        lines.append(f"    {source}->>{target}: {message['method']} {message['path']}{note}")
        lines.append(f"    {target}-->>{source}: {message['status']}")
    return "\n".join(lines) + "\n"


def files(folder: Path) -> dict[str, str]:
    """Everything in `folder` that is drawn, by file name: from the declaration, and from the recordings that are there."""
    drawn = {f"{d.name}.{ENDINGS[form]}": render(d, form) for d in DECLARATIONS for form in FORMATS}
    flows = {name: sequence((folder / f"{name}.json").read_text("utf-8")) for name in FLOWS if (folder / f"{name}.json").exists()}
    return {**drawn, **{f"{name}.mmd": text for name, text in flows.items()}, "README.md": _readme(flows)}


def stale(folder: Path) -> list[str]:
    """The files of `folder` that do not say what declaration and recordings say now, that are missing, or that nobody draws any more."""
    missing = [f"{name}.json" for name in FLOWS if not (folder / f"{name}.json").exists()]
    drawn = files(folder).items()
    known = {*files(folder), *(f"{name}.json" for name in FLOWS)}
    missing += sorted(path.name for path in folder.iterdir() if path.name not in known)  # Of a machine that is no more.
    return missing + [name for name, text in drawn if not (folder / name).exists() or (folder / name).read_text("utf-8") != text]


def write(folder: Path) -> None:
    """Draw everything anew."""
    folder.mkdir(exist_ok=True)
    for name, text in files(folder).items():
        (folder / name).write_text(text, "utf-8")


def _readme(flows: dict[str, str]) -> str:
    """The page that shows the diagrams, with the rows in words beside them."""
    parts = [
        "# The declared machines",
        "",
        "Drawn from `workflow/lifecycle.py` by `tillproof diagram --write`; `make test` fails when this page is stale.",
        "Messages move payments; the order follows by its guards; the kitchen is a separate axis.",
        "Each machine is here as Mermaid (below), as `.svg` and as `.dot`.",
    ]
    for declaration in DECLARATIONS:
        parts += ["", f"## {TITLES[declaration.name]}", "", "```mermaid", mermaid(declaration).rstrip(), "```", ""]
        parts += [f"The same as [a picture]({declaration.name}.svg) and [for Graphviz]({declaration.name}.dot).", ""]
        parts += ["| state | meaning |", "|---|---|"]
        parts += [f"| `{state}`{_final_mark(declaration, state)} | {meaning} |" for state, meaning in declaration.states.items()]
        parts += ["", "| when | from | to | only if | then send | rule |", "|---|---|---|---|---|---|"]
        parts += [_row_line(row) for row in declaration.transitions]
    for name, text in flows.items():
        parts += [
            "",
            f"## {FLOWS[name]}",
            "",
            "What went over the wire in a real run, ids renamed.",
            "",
            "```mermaid",
            text.rstrip(),
            "```",
        ]
    parts += ["", "## What is sent", "", *(f"- `{name}`: {meaning}" for name, meaning in EFFECTS.items())]
    rules = (f"- **{name}** {text}" for name, text in RULES.items())
    parts += ["", "## Rules", "", "D cites Dojo's contract, A admits an assumption.", "", *rules]
    return "\n".join(parts) + "\n"


def _final_mark(declaration: Declaration, state: str) -> str:
    return " (final)" if state in words(declaration.final) else ""


def _row_line(row: Row) -> str:
    sources = ", ".join(words(row.source)).replace("-", "*new*")
    return f"| `{row.when}` | {sources} | {row.target} | {row.only_if.replace('_', ' ')} | {row.then_send.replace('_', ' ')} | {row.rule} |"
