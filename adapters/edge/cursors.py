"""Pages, and their tokens: opaque to the caller, signed, and bound to the filters of the search that made them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from adapters.edge.strict_json import BadInput
from adapters.edge.wire import Cursor
from workflow.journal.reads import Position

_MAC_BYTES = 16

T = TypeVar("T")

Read = Callable[[int, Position | None, Position | None], list[T]]
"""Reads at most so many, in the order of the list: those behind the first position, or the nearest ones in front of the second."""


class Page(NamedTuple, Generic[T]):
    """A part of a list; `before` and `after` are tokens for its neighbours, each left out where there is no such page."""

    data: list[T]
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


class Cursors:
    """Makes and reads page tokens with the journal's `secret`."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.new(secret, b"page tokens", hashlib.sha256).digest()

    def page(self, cursor: Cursor, scope: object, read: Read[T], position_of: Callable[[T], Position]) -> Page[T]:
        """The page that `cursor` asks for of the list that `scope` filters (contract §12). Raises BadInput for a token of another list."""
        after = self.position(cursor.after, scope, "cursor.after")
        before = self.position(cursor.before, scope, "cursor.before")
        found = read(cursor.limit + 1, after, before)
        more = len(found) > cursor.limit
        data = found[1:] if more and before else found[: cursor.limit]
        if not data:
            return Page([])
        first, last = position_of(data[0]), position_of(data[-1])
        # What the caller came from may have left the list meanwhile: whether there is a page is asked anew.
        has_before = more if before else after is not None and bool(read(1, None, first))
        has_after = bool(read(1, last, None)) if before else more
        return Page(data, self.token(first, scope) if has_before else UNSET, self.token(last, scope) if has_after else UNSET)

    def token(self, position: Position, scope: object) -> str:
        """The token of `position` in the list that `scope` filters."""
        content = msgspec.json.encode(position)
        return _text(self._mac(content, scope) + content)

    def position(self, token: str | None, scope: object, field: str) -> Position | None:
        """The position behind a token; None for none. Raises BadInput naming `field` for a foreign or garbled one."""
        if token is None:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadInput(field, "expected a token of an earlier answer") from error
        mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if _text(data) != token:  # Base64 has several texts for the same bytes; we give one.
            raise BadInput(field, "expected a token of an earlier answer")
        if not hmac.compare_digest(mac, self._mac(content, scope)):
            raise BadInput(field, "expected a token of an earlier answer to the same search")
        return Position(*msgspec.json.decode(content, type=tuple[str, str]))

    def _mac(self, content: bytes, scope: object) -> bytes:
        return hmac.new(self._secret, msgspec.json.encode(scope) + b"\n" + content, hashlib.sha256).digest()[:_MAC_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
