"""Who is logged in at the console: sessions in this process's memory, each with the token that forms must carry.

A session is found by the digest of a random cookie, so that memory holds nothing that opens one. It ends when nobody uses it, after a
working day whatever happens, at a log-out, and with the process.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass, field

from cachetools import TTLCache

from adapters.edge.credentials import Actor
from workflow.clock import Clock

SESSION_SECONDS = 12 * 3600.0
"""A working day: however busy it is, a session ends then."""
IDLE_SECONDS = 3600.0
"""A session that nobody uses ends after that; a page that refreshes itself is no use."""
SESSIONS = 1_000
"""At most; whoever logged in longest ago is logged out first."""


@dataclass(slots=True)
class Session:
    """One person at one browser. `csrf` must come back with every form; `said` is what the next page tells once.

    `utc`: show UTC; `shortcuts`: single keys do something.
    """

    actor: Actor
    csrf: str
    used_at: float
    utc: bool = False
    shortcuts: bool = True
    said: list[tuple[str, str]] = field(default_factory=list)


class Sessions:
    """Opens, finds and ends sessions; safe for many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: TTLCache[bytes, Session] = TTLCache(SESSIONS, SESSION_SECONDS, timer=clock.monotonic)
        self._lock = threading.Lock()

    def open(self, actor: Actor, *, utc: bool = False, shortcuts: bool = True) -> str:
        """A new session; the cookie's value."""
        cookie = secrets.token_urlsafe(32)
        session = Session(actor, secrets.token_urlsafe(32), self._clock.monotonic(), utc=utc, shortcuts=shortcuts)
        with self._lock:
            self._found[_digest(cookie)] = session
        return cookie

    def find(self, cookie: str | None, *, is_use: bool) -> Session | None:
        """The session of a cookie, None where there is none any more; `is_use` where a person did something."""
        if not cookie:
            return None
        with self._lock:
            session, now = self._found.get(_digest(cookie)), self._clock.monotonic()
            if session is None:
                return None
            if now - session.used_at > IDLE_SECONDS:
                del self._found[_digest(cookie)]
                return None
            if is_use:
                session.used_at = now
            return session

    def close(self, cookie: str | None) -> None:
        """Log out; nothing where nobody is."""
        with self._lock:
            self._found.pop(_digest(cookie or ""), None)


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
