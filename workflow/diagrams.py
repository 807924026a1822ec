"""State diagrams from the declaration: nothing in them is written by hand, so they cannot lie.

Mermaid renders on GitHub and in most editors. Each file carries the hash of what it was drawn from; a check fails when it is stale.
"""

from __future__ import annotations

from pathlib import Path

from workflow.declaration import Declaration, Row, declaration_hash, state_name, words
from workflow.lifecycle import DECLARATIONS, EFFECTS, RULES

TITLES = {"order": "An order", "payment": "A payment intent of an order", "fulfilment": "The kitchen"}


def mermaid(declaration: Declaration) -> str:
    """The machine as a Mermaid state diagram: every edge of the declaration once, with its triggers."""
    lines = [f"%% drawn from {declaration.name}@{declaration_hash(declaration)}", "stateDiagram-v2"]
    lines += [f"    {state} : {state}" for state in declaration.states]
    for (source, target), triggers in _edges(declaration).items():
        lines.append(f"    {source or '[*]'} --> {target} : {' / '.join(triggers)}")
    lines += [f"    {state} --> [*]" for state in words(declaration.final)]
    return "\n".join(lines) + "\n"


def _edges(declaration: Declaration) -> dict[tuple[str, str], list[str]]:
    edges: dict[tuple[str, str], list[str]] = {}
    for row in declaration.transitions:
        for source in words(row.source):
            edges.setdefault((state_name(source), row.target), []).append(row.when)
    return edges


def files() -> dict[str, str]:
    """Everything in `diagrams/`, by file name."""
    drawn = {f"{declaration.name}.mmd": mermaid(declaration) for declaration in DECLARATIONS}
    return {**drawn, "README.md": _readme()}


def stale(folder: Path) -> list[str]:
    """The files of `folder` that do not say what the declaration says now."""
    return [name for name, text in files().items() if not (folder / name).exists() or (folder / name).read_text("utf-8") != text]


def write(folder: Path) -> None:
    """Draw everything anew."""
    folder.mkdir(exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, "utf-8")


def _readme() -> str:
    """The page that shows the diagrams, with the rows in words beside them."""
    parts = [
        "# The declared machines",
        "",
        "Drawn from `workflow/lifecycle.py` by `tillproof diagram --write`; `make test` fails when this page is stale.",
        "Messages move payments; the order follows by its guards; the kitchen is a separate axis.",
    ]
    for declaration in DECLARATIONS:
        parts += ["", f"## {TITLES[declaration.name]}", "", "```mermaid", mermaid(declaration).rstrip(), "```", ""]
        parts += ["| state | meaning |", "|---|---|"]
        parts += [f"| `{state}`{_final_mark(declaration, state)} | {meaning} |" for state, meaning in declaration.states.items()]
        parts += ["", "| when | from | to | only if | then send | rule |", "|---|---|---|---|---|---|"]
        parts += [_row_line(row) for row in declaration.transitions]
    parts += ["", "## What is sent", "", *(f"- `{name}`: {meaning}" for name, meaning in EFFECTS.items())]
    parts += [
        "",
        "## Rules",
        "",
        "D cites Dojo's contract, A admits an assumption.",
        "",
        *(f"- **{name}** {text}" for name, text in RULES.items()),
    ]
    return "\n".join(parts) + "\n"


def _final_mark(declaration: Declaration, state: str) -> str:
    return " (final)" if state in words(declaration.final) else ""


def _row_line(row: Row) -> str:
    sources = ", ".join(words(row.source)).replace("-", "*new*")
    return f"| `{row.when}` | {sources} | {row.target} | {row.only_if.replace('_', ' ')} | {row.then_send.replace('_', ' ')} | {row.rule} |"
