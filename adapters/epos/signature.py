"""The signature of Dojo's webhooks: HMAC-SHA256 over the raw body. Source: contract §5.3, with its published vector.

It has no time in it: an old delivery verifies for ever, so event ids are kept for ever.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from hmac import compare_digest

_HEADER = re.compile(r"sha256=([0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){31}|[0-9A-Fa-f]{64})")


def is_signed(raw: bytes, header: str | None, secrets: Sequence[str]) -> bool:
    """Whether `header` (`sha256=4B-49-…`, plain hex too) signs the body with any of the secrets; every secret is tried."""
    match = _HEADER.fullmatch(header or "")
    if match is None:
        return False
    given = bytes.fromhex(match[1].replace("-", ""))
    found = False
    for secret in secrets:
        found |= compare_digest(hmac.new(secret.encode(), raw, hashlib.sha256).digest(), given)
    return found


def sign(raw: bytes, secret: str) -> str:
    """The header that Dojo would send with this body."""
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest().upper()
    return "sha256=" + "-".join(digest[index : index + 2] for index in range(0, len(digest), 2))
