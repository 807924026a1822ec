"""How much one caller may ask: requests a second, requests at once, wrong credentials. Counted in memory, within bounds.

An address says who asks only where each caller has one of its own: behind a proxy that is not in TRUSTED_PROXIES all callers are one.
So who has what is right is counted apart from the strangers at the same address: to Dojo any error is a reason to give money back.
Time is the clock's monotonic one, so that a wall clock that jumps locks nobody out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from cachetools import LRUCache, TTLCache
from flask import Response, request
from werkzeug.exceptions import TooManyRequests

from adapters.edge.answers import MARKS, error_answer, is_for_people, logged_path
from workflow.clock import Clock

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ADDRESSES = 10_000
"""Remembered at most; the one that asked longest ago is forgotten first."""
IPV6_PREFIX = 64
"""What one subscriber gets: its addresses count as one."""
GUESS_SECONDS = 60
"""After the first wrong credentials of an address they are counted for so long, then forgotten."""
GUESSES = 60
"""Different wrong credentials of one address within that time; then it is not listened to until the time is over."""
REFUSALS = 300
"""Wrong credentials of one address within that time, the same ones again included."""
ALL_GUESSES, ALL_REFUSALS = 600, 3_000
"""The same, of all addresses together; then what is wrong is 429, and what is right still passes."""
LOG_LINES = 20
"""About refused credentials, in GUESS_SECONDS: an attack must not fill the disk. The next line says how many were left out."""
BUSY_SECONDS = 1
"""What a caller is asked to wait when all places are taken."""
BUSY_PAGE = """<!doctype html>
<html lang="en-GB"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>Too much at once</title>
<h1>Too much at once</h1>
<p>The server had too many requests, and did nothing about this one. Wait a few seconds, then load the page again.</p>
</html>
"""
"""What a person is told then. It needs nothing else of the server, which would be turned away as well."""
UNLIMITED_PATH = "/healthz"
NEAR = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::/64", "fc00::/7", "fe80::/10")
)
"""This machine and private networks. A proxy that nobody told us of may stand there for everybody, as may a container's gateway."""
ADDRESS = "tillproof.address"
"""Where the caller's address stands in WSGI's environment."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Of one side: the proxies whose X-Forwarded-For is believed, and how much is let in.

    `at_once` is for those that the door knows, `strangers_at_once` for all others; None: as many as there are threads.
    """

    trusted: tuple[Network, ...]
    requests_per_second: int
    at_once: int | None = None
    strangers_at_once: int | None = None


class Door:
    """Stands before a side's application: notes who calls, and turns away what is too much before it costs anything.

    Nothing is counted for `/healthz`. `on_shed` hears the reason, `rate` or `busy`, of each request that was turned away. `knows` tells
    from the address and the `Authorization` header who is no stranger; strangers take nothing from them, at the same address neither.
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: DoorSettings,
        clock: Clock,
        *,
        on_shed: Callable[[str], None],
        knows: Callable[[str, str | None], bool],
    ) -> None:
        self._app, self._settings, self._clock, self._on_shed, self._knows = app, settings, clock, on_shed, knows
        self._rates: LRUCache[tuple[str, bool], _Rate] = LRUCache(ADDRESSES)
        self._lock = threading.Lock()
        self._places = {known: _places(many) for known, many in ((True, settings.at_once), (False, settings.strangers_at_once))}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 429 or 503 with Retry-After, or let the application answer."""
        if environ.get("PATH_INFO") == UNLIMITED_PATH:
            return self._app(environ, start_response)
        address = environ[ADDRESS] = client_address(environ, self._settings.trusted)
        known = self._knows(address, environ.get("HTTP_AUTHORIZATION"))
        if not self._is_paced(address, known):
            return self._turn_away("rate", environ, start_response)
        places = self._places[known]
        if places is None:
            return self._app(environ, start_response)
        if not places.acquire(blocking=False):
            return self._turn_away("busy", environ, start_response)
        try:
            if not known:
                time.sleep(0)  # Python works for one thread at a time: a crowd that waits for it has to take its places to be seen.
            return self._app(environ, start_response)
        finally:
            places.release()

    def _is_paced(self, address: str, known: bool) -> bool:
        per_second, now = self._settings.requests_per_second, self._clock.monotonic()
        with self._lock:
            rate = self._rates.get((address, known))
            if rate is None:
                rate = self._rates[address, known] = _Rate(float(per_second), now)
            passed = max(0.0, now - rate.at)  # Another thread may have read the clock later than this one and come here first.
            rate.left = min(per_second, rate.left + passed * per_second)
            rate.at += passed
            if rate.left < 1:
                return False
            rate.left -= 1
            return True

    def _turn_away(self, reason: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._on_shed(reason)
        status, message = (429, "too many requests from this address") if reason == "rate" else (503, "too many requests at once")
        headers = {"Retry-After": str(BUSY_SECONDS), "X-Trace-Id": (trace := secrets.token_hex(8))}
        if is_for_people(environ.get("PATH_INFO", ""), environ.get("HTTP_ACCEPT", "")):
            return Response(BUSY_PAGE, status, {**MARKS, **headers}, mimetype="text/html")(environ, start_response)
        return error_answer(status, message, trace, headers)(environ, start_response)


@dataclass(slots=True)
class _Rate:
    """What an address may still ask at once, as of a moment; it grows by a second's worth a second, to a second's worth."""

    left: float
    at: float


class Guesses:
    """Wrong credentials of one side. What is right passes, whoever else guesses; what guesses is answered 429.

    An address that guessed too often is not listened to, so that it cannot find what is right by going on; unless it once had what is
    right, or is NEAR: there a proxy may stand for everybody, and nobody may lock Dojo out.
    """

    def __init__(self, side: str, clock: Clock, on_refused: Callable[[str], None]) -> None:
        self._side, self._clock, self._on_refused = side, clock, on_refused
        self._failures: TTLCache[str, _Failures] = TTLCache(ADDRESSES, GUESS_SECONDS, timer=clock.monotonic)
        self._known: LRUCache[str, bool] = LRUCache(ADDRESSES)
        self._lock = threading.Lock()
        self._said_since, self._said, self._unsaid = clock.monotonic(), 0, 0

    def judge(self, header: str | None, who: Callable[[str | None], T]) -> T:
        """What `who` makes of the present request's `Authorization` header; falsy is wrong, and counted.

        Nothing at all is no guess: it is refused as often as it comes. Raises TooManyRequests.
        """
        address = request.environ.get(ADDRESS) or request.remote_addr or ""
        with self._lock:
            seconds = self._seconds_closed(address)
        if seconds:
            self._refuse(address, "throttled")
            raise _too_many(seconds)
        if found := who(header):
            with self._lock:
                self._known[address] = True
            return found
        self._refuse(address, "wrong" if header else "absent")
        if header:
            with self._lock:
                seconds = self._count(address, hashlib.sha256(header.encode()).digest())
            if seconds:
                raise _too_many(seconds)
        return found

    def knows(self, who: Callable[[str | None], object], address: str, header: str | None) -> bool:
        """Whether the header is right, at an address that is always listened to; nothing is counted.

        Elsewhere the answer is no, lest a door that treats both kinds differently tell a guesser more than `judge` does.
        """
        with self._lock:
            is_heard = self._is_always_heard(address)
        return is_heard and header is not None and bool(who(header))

    def refused(self, why: str) -> None:
        """Something else than credentials, such as a signature, was refused."""
        self._refuse(request.environ.get(ADDRESS) or request.remote_addr or "", why)

    def _seconds_closed(self, address: str) -> float:
        failures = self._failures.get(address)
        if failures is None or not failures.is_over(GUESSES, REFUSALS) or self._is_always_heard(address):
            return 0
        return failures.until - self._clock.monotonic()

    def _is_always_heard(self, address: str) -> bool:
        return address in self._known or _is_near(address)

    def _count(self, address: str, guess: bytes) -> float:
        """Count a guess; for how long this address, or everybody, gets 429 for what is wrong, 0 where not."""
        now, seconds = self._clock.monotonic(), 0.0
        for name, guesses, refusals in ((address, GUESSES, REFUSALS), ("everybody", ALL_GUESSES, ALL_REFUSALS)):
            failures = self._failures.get(name)
            if failures is None:
                failures = self._failures[name] = _Failures(now + GUESS_SECONDS)
            if failures.is_over(guesses, refusals):
                seconds = max(seconds, failures.until - now)
            else:
                failures.total += 1
                failures.guesses.add(guess)
        return seconds

    def _refuse(self, address: str, why: str) -> None:
        self._on_refused(why)
        with self._lock:
            if self._clock.monotonic() - self._said_since >= GUESS_SECONDS:
                self._said_since, self._said = self._clock.monotonic(), 0
            if self._said >= LOG_LINES:
                self._unsaid += 1
                return
            self._said += 1
            unsaid, self._unsaid = self._unsaid, 0
        logger.warning(
            "caller refused", extra={"side": self._side, "address": address, "why": why, "path": logged_path(), "unsaid": unsaid}
        )


@dataclass(slots=True)
class _Failures:
    """The wrong credentials of an address until a moment; no more of them are kept than count."""

    until: float
    total: int = 0
    guesses: set[bytes] = field(default_factory=set)

    def is_over(self, guesses: int, refusals: int) -> bool:
        return len(self.guesses) >= guesses or self.total >= refusals


def client_address(environ: WSGIEnvironment, trusted: Sequence[Network]) -> str:
    """Who asks: the peer, or what the nearest proxies say that are trusted, from the nearest on. An IPv6 address stands for its network."""
    peer = str(environ.get("REMOTE_ADDR", ""))
    hops = str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",") if trusted else []
    address = _parsed(peer)
    while hops and address is not None and any(address in network for network in trusted):
        hop = _parsed(hops.pop().strip())
        if hop is None:
            break
        address = hop
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return peer if address is None else str(address)


def is_https(environ: WSGIEnvironment, trusted: Sequence[Network]) -> bool:
    """Whether the caller came by https: to us, or to the proxy before us, if it is trusted."""
    if environ.get("wsgi.url_scheme") == "https":
        return True
    peer = _parsed(str(environ.get("REMOTE_ADDR", "")))
    if peer is None or not any(peer in network for network in trusted):
        return False
    return str(environ.get("HTTP_X_FORWARDED_PROTO", "")).split(",")[0].strip().lower() == "https"


@lru_cache(ADDRESSES)
def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(ADDRESSES)
def _is_near(address: str) -> bool:
    try:
        network = ipaddress.ip_network(address)
    except ValueError:
        return False
    return any(network.network_address in near for near in NEAR)


def _places(many: int | None) -> threading.BoundedSemaphore | None:
    return None if many is None else threading.BoundedSemaphore(many)


def _too_many(seconds: float) -> TooManyRequests:
    return TooManyRequests("too many wrong credentials", retry_after=math.ceil(seconds))
