"""Searches of the POS's, page after page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters.sandbox.calls import Answer
from adapters.sandbox.errors import StepFailed
from adapters.sandbox.pos import PosTable, PosTables
from adapters.sandbox.steps import parsed

PAGE = 100
MAX_PAGES = 200

Call = Callable[[str, str, object], Answer]


def search_tables(call: Call, filters: Mapping[str, object]) -> list[PosTable]:
    """SearchTables to its end. Raises StepFailed."""
    found = everything(call, "/v1/tables/search", filters, tuple[PosTables, ...], "SearchTables")
    return [table for table in found if isinstance(table, PosTable)]


def everything(call: Call, path: str, filters: Mapping[str, object], kind: Any, name: str) -> list[Any]:
    """What a search finds, page after page; SearchTables answers a list of one page (contract §16, 14). Raises StepFailed."""
    found: list[Any] = []
    cursor: dict[str, object] = {"limit": PAGE}
    for _ in range(MAX_PAGES):
        answered = parsed(call("POST", path, {**filters, "cursor": cursor}), kind, name)
        page = (answered or (PosTables(),))[0] if isinstance(answered, tuple) else answered
        found += page.data
        if page.after is None:
            return found
        cursor = {"limit": PAGE, "after": page.after}
    raise StepFailed(f"{name} does not end after {MAX_PAGES} pages")
