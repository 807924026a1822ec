"""Who is calling: Dojo by HTTP Basic, the venue's people and programs by bearer token.

Secrets are kept and compared as SHA-256 digests, so that neither their text nor their length shows in a comparison's time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Literal, cast, get_args

Role = Literal["till", "auditor", "operator"]
NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """What Dojo presents to us: ordinary `base64(username:password)`, unlike what we present to Dojo (CONTRACT §16, 26).

    Raises ValueError for an empty username or password, or a colon in the username.
    """

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.username or not self.password:
            raise ValueError("a username and a password are needed; one of them is empty")
        if ":" in self.username:
            raise ValueError("a username for HTTP Basic must not contain a colon")

    def matches(self, header: str | None) -> bool:
        """Whether an `Authorization` header carries these; a malformed one does not."""
        presented = _credentials(header, "basic")
        try:
            pair = base64.b64decode(presented, validate=True)
        except binascii.Error:
            return False
        return compare_digest(_digest(pair), _digest(f"{self.username}:{self.password}".encode()))


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose token came; the journal names them."""

    role: Role
    name: str

    def may(self, role: Role) -> bool:
        """Whether they may do what `role` may: their own role, and an operator all that an auditor may."""
        return self.role == role or (self.role == "operator" and role == "auditor")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The bearer tokens of the venue's side; made by `parse`."""

    _actors: tuple[tuple[bytes, Actor], ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Read the TOKENS setting, `role:name:token,...`; a token may hold colons but no comma, empty entries are skipped.

        Raises ValueError that names the entry by its number and the fault, and never its text: it may be the secret.
        """
        entries = [entry.strip() for entry in text.split(",")]
        actors = tuple(_actor(number, entry) for number, entry in enumerate(entries, start=1) if entry)
        if len({digest for digest, _ in actors}) < len(actors):
            raise ValueError("two entries have the same token")
        return cls(actors)

    def anybody_may(self, role: Role) -> bool:
        """Whether there is a token with which one may do what `role` may."""
        return any(actor.may(role) for _, actor in self._actors)

    def actor(self, header: str | None) -> Actor | None:
        """The actor whose token an `Authorization: Bearer` header carries; every token is compared, whichever matches."""
        presented = _digest(_credentials(header, "bearer"))
        found = None
        for digest, actor in self._actors:
            if compare_digest(digest, presented):
                found = actor
        return found


def _credentials(header: str | None, scheme: str) -> bytes:
    """What stands behind the scheme's name; empty, which nothing matches, where there is none."""
    given, _, credentials = (header or "").partition(" ")
    if given.lower() != scheme:
        return b""
    try:
        return credentials.strip(" ").encode("latin-1")  # As WSGI decoded it.
    except UnicodeEncodeError:
        return b""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _actor(number: int, entry: str) -> tuple[bytes, Actor]:
    parts = entry.split(":", 2)
    if len(parts) < 3:
        raise ValueError(f"entry {number}: expected role:name:token")
    role, name, token = (part.strip() for part in parts)
    if role not in get_args(Role):
        raise ValueError(f"entry {number}: the role is none of {', '.join(get_args(Role))}")
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise ValueError(f"entry {number}: expected a name of 1 to {NAME_LENGTH} printable characters")
    if not token:
        raise ValueError(f"entry {number}: the token is empty")
    return _digest(token.encode()), Actor(cast(Role, role), name)
