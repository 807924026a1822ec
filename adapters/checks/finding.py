"""One thing that was looked at, and what there is to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LEAST_SECRET_CHARACTERS = 16
MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
Level = Literal["ok", "warn", "FAIL", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is, and how to mend it where it is wrong."""

    level: Level
    name: str
    text: str
    mend: str = ""
