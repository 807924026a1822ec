"""How many of something, as people read it."""

from __future__ import annotations


def plural(count: int, one: str, many: str = "") -> str:
    """`1 order`, `1,204 orders`; `many` where it is not `one` and an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
