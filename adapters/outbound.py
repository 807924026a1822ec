"""One HTTP call to a destination of ours: one request, one answer or one error, within a deadline for the whole of it.

A thread has connections of its own. Nothing comes from the environment (no proxy, no `.netrc`, no CA bundle), no redirect is followed,
no cookie is kept, nothing is tried twice, and an answer has a limit. What a status means is for the client of the destination.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from workflow.errors import AnswerUnreadable, OutcomeUnknown, TryAgain

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""Statuses that lead a call elsewhere; none is followed."""

HEADER_TEXT = re.compile(r"[!-~]+")
"""What a header's value may be without being changed on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished call, for metrics and the log. `path` has no query; `status` is None where no answer came.

    `answered_at` is the moment that the answer's `Date` names: by the other side's clock, for comparing, never for use.
    """

    method: str
    path: str
    status: int | None
    seconds: float
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of the body at most one byte more than was allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """A 2xx."""
        return self.status // 100 == 2


class Line:
    """The way to one destination; safe to share between threads, each of which keeps its own connections.

    `headers` go with every call. `on_call` hears of each call in the calling thread, answered or not; what it raises, the caller gets.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        deadline_ms: int,
        max_answer_bytes: int,
        on_call: Callable[[Call], None] | None = None,
    ) -> None:
        self._url, self._headers = url.rstrip("/"), dict(headers)
        self._seconds, self._max_answer_bytes, self._on_call = deadline_ms / 1_000, max_answer_bytes, on_call
        self._mine = threading.local()
        self._sessions: weakref.WeakSet[_Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    def call(
        self, method: str, path: str, *, label: str, query: str = "", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request below the destination's address. `label` is what an error calls it; a body is JSON.

        Raises TryAgain if nothing of the request was sent, OutcomeUnknown where no whole answer came, AnswerUnreadable where that was
        no HTTP or broke off.
        """
        session, started, status, answered_at = self._session(), time.monotonic(), None, None
        session.progress.begin(self._seconds)
        sent = {**({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
        try:
            with session.request(method, self._url + path + query, data=body, headers=sent, stream=True, allow_redirects=False) as response:
                status, answered_at = response.status_code, _parse_date(response.headers.get("Date", ""))
                return Answer(status, response.headers, self._body(response))
        except _LIBRARY_ERRORS as error:
            raise _no_answer(error, label, was_sent=session.progress.was_sent) from error
        finally:
            if self._on_call:
                took = time.monotonic() - started
                self._on_call(Call(method=method, path=path, status=status, seconds=took, answered_at=answered_at))

    def close(self) -> None:
        """Close the idle connections of all threads; a call under way keeps its own, and later calls open new ones."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def _session(self) -> _Session:
        session: _Session | None = getattr(self._mine, "session", None)
        if session is None:
            session = self._mine.session = _Session(self._headers)
            with self._lock:
                self._sessions.add(session)
        return session

    def _body(self, response: requests.Response) -> bytes:
        """The bytes as they came, and at most one more than allowed: enough to see that there are too many."""
        body, enough = bytearray(), self._max_answer_bytes + 1
        try:
            # Until nothing comes: only the read after the last bytes tells a whole body from a truncated one.
            while len(body) < enough and (piece := response.raw.read(enough - len(body), decode_content=False)):
                body += piece
        except _LIBRARY_ERRORS:
            if response.status_code // 100 == 2:
                raise
            return b""  # The status of an error says enough without its words.
        return bytes(body)


def reach(url: str, seconds: float) -> None:
    """Connect to whom calls to `url` go, and hang up: nothing is sent. Raises OSError, UnicodeError where that is not done in time."""
    parts, progress = urlsplit(url), _Progress()
    progress.begin(seconds)
    _connect(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), progress).close()


def parse_retry_after(text: str, now: datetime) -> float | None:
    """Seconds from `now` (aware) that a `Retry-After` asks for, given as seconds or as an HTTP date; None without a sensible wish.

    A number that no float holds is infinity: how much of a wish is granted is `wish_ms`'s to say.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    elif moment := _parse_date(text):
        seconds = (moment - now).total_seconds()
    else:
        return None
    return seconds if seconds >= 0 else None


def _parse_date(text: str) -> datetime | None:
    """The moment that an HTTP date names, aware; None where it names none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # A date that names no zone is in UTC (RFC 9110 §5.6.7, the asctime form).
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_base_url(text: str) -> bool:
    """An http or https address without credentials, query or fragment."""
    try:
        url = urlsplit(text)
        is_whole = bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    stray = url.username is not None or url.password is not None or "?" in text or "#" in text
    return url.scheme in ("http", "https") and is_whole and not stray and bool(HEADER_TEXT.fullmatch(text))


def cut(text: str, length: int) -> str:
    """The text as an error may repeat it: printable, and no longer than `length`."""
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: length + 1])
    return text if len(text) <= length else text[: length - 1] + "…"


# Every exception of `requests` is an OSError; those of urllib3 and http.client come out where a body is read.
_LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


_NO_HTTP = (http.client.HTTPException, urllib3.exceptions.InvalidHeader)
"""Something was answered, and it is no HTTP or breaks off."""


def _no_answer(error: BaseException, label: str, *, was_sent: bool) -> TryAgain | OutcomeUnknown:
    reason, is_broken = error, False
    while True:
        is_broken = is_broken or (isinstance(reason, _NO_HTTP) and not isinstance(reason, ConnectionError))
        if not (inner := reason.__cause__ or reason.__context__):
            break
        reason = inner
    # Only the kind, and the system's own words: a library's message may repeat what was sent or received.
    words = getattr(reason, "strerror", None)
    message = f"{label}: {type(reason).__name__}" + (f", {words}" if words else "")
    if not was_sent:
        return TryAgain(message)
    return AnswerUnreadable(message) if is_broken else OutcomeUnknown(message)


# The deadline. The time-out of `requests` is for each read, so a byte now and then keeps a call alive for ever. Here each
# read, write and connect may wait for what is left of the whole call. No thread watches: whoever waits knows when to stop.
# Only a name's look-up cannot be cut short: it goes on in a thread of its own, and whoever waits for it gives up in time.


class _Progress:
    """What a thread's connections know of the call under way: when it must end, and whether the destination may have heard of it."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self.was_sent = False

    def begin(self, seconds: float) -> None:
        # Not the injected clock: sockets wait in the machine's time.
        self._ends_at = time.monotonic() + seconds
        self.was_sent = False

    def left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError after it."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call took too long")
        return left


class _Reads(io.RawIOBase):
    """A socket's incoming bytes; each read waits no longer than is left. It takes the socket's place in `http.client.HTTPResponse`."""

    def __init__(self, sock: socket.socket, progress: _Progress) -> None:
        self._sock, self._progress = sock, progress
        self._file = sock.makefile("rb", buffering=0)

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(self._progress.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _HttpConnection(HTTPConnection):
    """A connection that connects, writes and reads within the deadline of the call under way."""

    def __init__(self, *args: Any, progress: _Progress, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress = progress
        self.response_class = partial(_response, progress)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        try:
            return _connect(self.host, self.port, self._progress)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, "no connection") from error

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._progress.left())
        self._progress.was_sent = True
        super().send(data)


class _HttpsConnection(_HttpConnection, HTTPSConnection):
    """The same under TLS: the time-out that `_connect` leaves on the socket is for the whole handshake."""


def _response(progress: _Progress, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_Reads(sock, progress), *args, **kwargs)  # type: ignore[arg-type]


def _connect(host: str, port: int, progress: _Progress) -> socket.socket:
    """Connect to the first address that answers; each gets its share of what is left, so that a dead one leaves time for the next."""
    addresses = _look_up(host, port, progress)
    while True:
        share = progress.left() / len(addresses)
        try:
            return _connect_to(addresses.pop(0), port, share, progress)
        except OSError:
            if not addresses:
                raise


_look_ups: dict[tuple[str, int], Future[list[str]]] = {}
"""Those under way: one for each name at most, however many calls wait for it, so that a dead resolver does not pile up threads."""

_look_ups_lock = threading.Lock()


def _look_up(host: str, port: int, progress: _Progress) -> list[str]:
    """The addresses of a host. Raises OSError, UnicodeError, TimeoutError at the deadline."""
    with suppress(ValueError):
        return [str(ip_address(host))]
    with _look_ups_lock:
        found = _look_ups.get((host, port))
        if found is None:
            found = _look_ups[host, port] = Future()
            threading.Thread(target=_ask_resolver, args=(host, port, found), name="look-up", daemon=True).start()
    return list(found.result(progress.left()))


def _ask_resolver(host: str, port: int, found: Future[list[str]]) -> None:
    try:
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except Exception as error:
        failure: Exception | None = error
    else:
        failure = None
    with _look_ups_lock:
        del _look_ups[host, port]
    if failure:
        found.set_exception(failure)
    else:
        found.set_result(addresses)


def _connect_to(address: str, port: int, seconds: float, progress: _Progress) -> socket.socket:
    sock = socket.create_connection((address, port), timeout=seconds)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(progress.left())
    except OSError:
        sock.close()
        raise
    return sock


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Adapter(HTTPAdapter):
    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        # A pool hands what it does not know itself to its connections.
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_HttpPool, progress=self._progress),
            "https": partial(_HttpsPool, progress=self._progress),
        }


class _Session(requests.Session):
    """One thread's connections: nothing from the environment, no redirects, no cookies."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.update(headers)
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.progress = _Progress()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self.progress))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: even unfollowed, `requests` would read a redirect's whole body to prepare the next request."""
        return None
