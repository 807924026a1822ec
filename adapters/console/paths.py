"""Where things are on the console, and which paths are its own."""

from __future__ import annotations

from urllib.parse import quote

PATH_CHARACTERS = 2_000


def order_path(order_id: str) -> str:
    """The page of an order, whatever its id is."""
    return f"/orders/{quote(order_id, safe='')}"


def is_own_path(path: str) -> bool:
    """Whether a browser that goes there stays with us: it drops control characters, and takes a backslash for a slash."""
    is_plain = path.isprintable() and not any(each.isspace() or each == "\\" for each in path)
    return is_plain and len(path) <= PATH_CHARACTERS and path.startswith("/") and not path.startswith("//")
