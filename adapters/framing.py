"""What the venue's side takes for a request: RFC 9112 to the letter, where Cheroot reads leniently.

Whatever a proxy in front could read otherwise is refused with 400 and the connection closed, so that nothing of one request is ever
read as another: the rest of a body that nobody wanted, above all. Dojo's side has Granian's parser, which is not as strict, but reads
as RFC 9112 allows what it does not refuse: bare line feeds, equal lengths, a length beside chunks; the last ends the connection.
"""

from __future__ import annotations

import re
from typing import Protocol

from cheroot.server import HeaderReader, HTTPRequest

DRAINED_BYTES = 65_536
"""Of a body that was not wanted, at most this much is read so that the connection can be kept."""
HEADER_LINES = 100
"""Granian has the same limit."""
CHUNK_LINE = 256
TRAILER_BYTES = 4_096

_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_METHOD = re.compile(rb"[A-Z]{1,32}")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_ONCE = (b"Authorization", b"Content-Length", b"Content-Type", b"Host", b"Transfer-Encoding")


class StrictRequest(HTTPRequest):
    """One request of a connection. What is refused here never reaches the application, and is answered in plain text."""

    def read_request_line(self) -> bool:
        """Read the first line; False where it was refused."""
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
        except ValueError:  # A target such as `//[`.
            return self._refuse("Malformed request target")
        good = self.request_protocol in _VERSIONS and _METHOD.fullmatch(self.method) and _TARGET.fullmatch(self.uri)
        return bool(good) or self._refuse("Malformed request line")

    def read_request_headers(self) -> bool:
        """Read the header; False where it was refused."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if self.response_protocol == "HTTP/1.0" and b"Transfer-Encoding" in self.inheaders:
            return self._refuse("Transfer-Encoding needs HTTP/1.1")
        return True

    def respond(self) -> None:
        """Let the application answer."""
        if not self.chunked_read:
            super().respond()
            return
        self.rfile = _Chunks(self.conn.rfile)
        self.server.gateway(self).respond()
        if self.ready:
            self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def send_headers(self) -> None:
        """Send the answer's header; the connection ends with the answer where too much of the request is unread."""
        if self.rfile.remaining > DRAINED_BYTES:
            self.close_connection = True
        super().send_headers()

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer below the application; another version of HTTP is the caller's mistake, a long header has a status of its own."""
        self.close_connection = True
        super().simple_response(_STATUSES.get(status[:3], status), msg)

    def _refuse(self, why: str) -> bool:
        self.simple_response("400 Bad Request", why)
        return False


_STATUSES = {"505": "400 Bad Request", "413": "431 Request Header Fields Too Large"}


class _Stream(Protocol):
    def read(self, size: int) -> bytes:
        """At most so many bytes."""

    def readline(self, size: int = ...) -> bytes:
        """A line with its end, or its beginning."""


class _Headers(HeaderReader):
    """Reads header lines. Raises ValueError for one that can be read in two ways, and leaves out names with an underscore.

    WSGI's environment cannot tell `Content_Length` from `Content-Length`.
    """

    def __call__(self, rfile: _Stream, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        found = {} if hdict is None else hdict
        lines = 0
        while (line := rfile.readline()) != b"\r\n":
            match, lines = _HEADER.fullmatch(line), lines + 1
            if match is None:
                raise ValueError("Malformed header line")
            if lines > HEADER_LINES:
                raise ValueError("Too many header lines")
            name, value = match[1].title(), match[2].strip(b" \t")
            if name in found and name in _ONCE:
                raise ValueError("A header comes twice that may come once")
            if b"_" not in name:
                found[name] = found[name] + b", " + value if name in found else value
        _check_framing(found)
        return found


StrictRequest.header_reader = _Headers()


def _check_framing(found: dict[bytes, bytes]) -> None:
    length, coding = found.get(b"Content-Length"), found.get(b"Transfer-Encoding")
    if length is not None and coding is not None:
        raise ValueError("Content-Length beside Transfer-Encoding")
    if length is not None and not _LENGTH.fullmatch(length):
        raise ValueError("Malformed Content-Length")
    if coding is not None and coding.lower() != b"chunked":
        raise ValueError("Transfer-Encoding is not chunked alone")


class _Chunks:
    """The body of a chunked request; b"" after its last chunk. Raises ValueError where it is malformed or breaks off."""

    def __init__(self, stream: _Stream) -> None:
        self._stream, self._left, self._is_first, self.ended = stream, 0, True, False

    @property
    def remaining(self) -> int:
        """What is still to come, in bytes: nobody knows how much, unless it is nothing."""
        return 0 if self.ended else DRAINED_BYTES + 1

    def read(self, size: int) -> bytes:
        """At most `size` bytes, of one chunk."""
        if not self._left and not self.ended:
            self._begin_chunk()
        if self.ended:
            return b""
        piece = self._stream.read(min(size, self._left))
        if not piece:
            raise ValueError("the body breaks off")
        self._left -= len(piece)
        return piece

    def _begin_chunk(self) -> None:
        if not self._is_first and self._stream.read(2) != b"\r\n":
            raise ValueError("malformed end of a chunk")
        self._is_first = False
        match = _CHUNK.fullmatch(self._stream.readline(CHUNK_LINE))
        if match is None:
            raise ValueError("malformed beginning of a chunk")
        self._left = int(match[1], 16)
        if not self._left:
            self._skip_trailers()
            self.ended = True

    def _skip_trailers(self) -> None:
        left = TRAILER_BYTES
        while (line := self._stream.readline(left)) != b"\r\n":
            left -= len(line)
            if left <= 0 or not _HEADER.fullmatch(line):
                raise ValueError("malformed trailer")
