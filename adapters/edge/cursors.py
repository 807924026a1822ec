"""Page tokens: opaque to the caller, signed, and bound to the filters of the search that made them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from adapters.edge.strict_json import BadInput
from workflow.journal.reads import Position

_MAC_BYTES = 16


class Cursors:
    """Makes and reads page tokens with the journal's `secret`."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.new(secret, b"page tokens", hashlib.sha256).digest()

    def token(self, position: Position, scope: msgspec.Struct | object) -> str:
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
