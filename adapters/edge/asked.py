"""What a single parameter of an address says. Each is refused by its name, with what was expected, where it says nothing that is known."""

from __future__ import annotations

from collections.abc import Collection

from adapters.edge.strict_json import BadInput, shown


def one_of(name: str, text: str | None, known: Collection[str]) -> str | None:
    """One of the known words, None where nothing is given. Raises BadInput."""
    if text is not None and text not in known:
        raise BadInput(name, f"expected one of {', '.join(known)}, got {shown(text)}")
    return text


def position(name: str, text: str | None) -> int | None:
    """A position in the journal, None where nothing is given. Raises BadInput."""
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise BadInput(name, f"expected a position in the journal, from 1 on, got {shown(text)}")
    return int(text) if text else None
