"""Files that a page offers to keep."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response


def attached(content: bytes | str | Iterable[bytes] | Iterable[str], kind: str, name: str, size: int | None = None) -> Response:
    """A download of the media type `kind`; with its `size`, a browser that gets less of it says so."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    response = Response(content, mimetype=kind, headers=headers)
    if size is not None:
        response.content_length = size
    return response
