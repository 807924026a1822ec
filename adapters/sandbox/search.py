"""`POST /payment-intents/search`: filters and pages over the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from adapters.sandbox.errors import InvalidRequest
from adapters.sandbox.intents import Intent, Status

DEFAULT_PAGE = 50
MAX_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What `POST /payment-intents/search` filters by; `before` and `after` are ids of intents at a page's edge."""

    statuses: tuple[Status, ...] = get_args(Status)
    start: datetime | None = None
    end: datetime | None = None
    limit: int = DEFAULT_PAGE
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some intents, newest first, and the cursors of the pages beside it, where there are such."""

    intents: tuple[Intent, ...]
    before: str | None
    after: str | None


def find(intents: tuple[Intent, ...], search: Search) -> Page:
    """One page of `intents` (newest first). Raises InvalidRequest on both cursors, or on one that names no intent of these."""
    if search.before and search.after:
        raise InvalidRequest("cursor: before and after exclude each other")
    found = [intent for intent in intents if _matches(intent, search)]
    start, end = _bounds([intent.id for intent in found], search)
    page = tuple(found[start:end])
    return Page(
        intents=page,
        before=page[0].id if page and start > 0 else None,
        after=page[-1].id if page and end < len(found) else None,
    )


def _matches(intent: Intent, search: Search) -> bool:
    late_enough = search.start is None or intent.created_at >= search.start
    early_enough = search.end is None or intent.created_at <= search.end
    return intent.status in search.statuses and late_enough and early_enough


def _bounds(ids: list[str], search: Search) -> tuple[int, int]:
    edge = search.before or search.after
    if edge is not None and edge not in ids:
        raise InvalidRequest("cursor: not one of this search")
    if search.before:
        end = ids.index(search.before)
        return max(0, end - search.limit), end
    start = ids.index(search.after) + 1 if search.after else 0
    return start, start + search.limit
