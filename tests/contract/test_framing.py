"""The venue's side and bodies: each is read to its end or its connection is closed, so that no part of one is taken for a request."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_network

import pytest

from adapters.edge.limits import client_address
from adapters.framing import CHUNK_LINE, DRAINED_BYTES, TRAILER_BYTES
from adapters.venue_server import ThreadedServer

PATIENCE = 20.0
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST %s HTTP/1.1\r\nHost: a\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def served():
    """A port and the paths asked for. The application reads the body, unless for `/refused`, and gives it back, or says "broken"."""
    asked = []

    def app(environ, start_response):
        asked.append(environ["PATH_INFO"])
        found = b""
        try:
            while environ["PATH_INFO"] != "/refused" and (piece := environ["wsgi.input"].read(5)):
                found += piece
        except ValueError:
            found = b"broken"
        start_response("200 OK", [("Content-Length", str(len(found)))])
        return [found]

    server = ThreadedServer(("127.0.0.1", 0), app, threads=4)
    server.start()
    yield server.address[1], asked
    server.stop()


@pytest.fixture
def port(served):
    return served[0]


@pytest.fixture
def asked(served):
    """The paths that the application was asked for in this test."""
    served[1].clear()
    return served[1]


def exchange(port, *parts):
    """All that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        answered = b""
        for part in parts:
            with suppress(BrokenPipeError, ConnectionResetError):  # It closed with some of ours unread; what it answered is there.
                connection.sendall(part)
        with suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                answered += piece
        return answered


def chunked(*chunks, end=b"0\r\n\r\n"):
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def closing(request):
    return request.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n", 1)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        b"Content-Length: %d\r\n\r\n" % (DRAINED_BYTES + len(SMUGGLED)) + b" " * DRAINED_BYTES + SMUGGLED,
        b"Content-Length: 999999999999999\r\n\r\n" + SMUGGLED,
        chunked(SMUGGLED),
        chunked(b"x" * 2_000_000, SMUGGLED),
        b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n" + SMUGGLED,
        b"Transfer-Encoding: chunked\r\n\r\n2;GET /smuggled HTTP/1.1\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    ],
    ids=["small", "beyond-what-is-drained", "without-end", "chunked", "many-chunks", "huge-chunk", "request-as-extension"],
)
def test_a_body_that_nobody_wanted_is_never_read_as_a_request(port, asked, body):  # I-13
    assert exchange(port, POST % b"/refused" + body, LAST).startswith(b"HTTP/1.1 200 OK\r\n")
    assert asked in (["/refused"], ["/refused", "/last"])


def test_after_a_small_body_that_nobody_wanted_the_connection_is_kept(port, asked):
    request = POST % b"/refused" + b"Content-Length: 2\r\n\r\n{}"
    assert exchange(port, request, closing(request)).count(b"HTTP/1.1 200 OK") == 2
    assert asked == ["/refused", "/refused"]


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (chunked(), b""),
        (chunked(b"{}"), b"{}"),
        (chunked(b"{", b'"a": 1', b"}"), b'{"a": 1}'),
        (chunked(b"{}", end=b"000\r\n\r\n"), b"{}"),
        (chunked(b"{}", end=b"0;last=1\r\nX-Trailer: 1\r\nContent-Length: 7\r\n\r\n"), b"{}"),
        (b"transfer-encoding: Chunked\r\n\r\nA \r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b'Transfer-Encoding: chunked\r\n\r\n2;name="value"\r\n{}\r\n0\r\n\r\n', b"{}"),
    ],
    ids=["empty", "one", "three", "zeros", "trailers", "spelling", "extension"],
)
def test_a_chunked_body_is_read_to_its_end_and_the_next_request_after_it(port, asked, body, read):
    request = POST % b"/read" + body
    answered = exchange(port, request, closing(request))
    assert [part.rpartition(b"\r\n\r\n")[2] for part in answered.split(b"HTTP/1.1 200 OK")[1:]] == [read, read]
    assert asked == ["/read", "/read"]


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"-2\r\n{}\r\n0\r\n\r\n",
            b"0x2\r\n{}\r\n0\r\n\r\n",
            b"+2\r\n{}\r\n0\r\n\r\n",
            b"0_2\r\n{}\r\n0\r\n\r\n",
            b" 2\r\n{}\r\n0\r\n\r\n",
        ),
        *(b"\r\n{}\r\n0\r\n\r\n", b"g\r\n{}\r\n0\r\n\r\n", b"123456789\r\n{}\r\n0\r\n\r\n", b"2\n{}\r\n0\r\n\r\n", b"2\r\n{}0\r\n\r\n"),
        *(b"2\r\n{}x\r\n0\r\n\r\n", b"2;" + b"a" * CHUNK_LINE + b"\r\n{}\r\n0\r\n\r\n", b"2;a\x00b\r\n{}\r\n0\r\n\r\n"),
        *(
            b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
            b"2\r\n{}\r\n0\r\n" + b"X: 1\r\n" * TRAILER_BYTES + b"\r\n",
            b"2\r\n{}\r\n0\r\nX: 1\n\r\n",
        ),
    ],
    ids=range(16),
)
def test_a_chunk_that_can_be_read_in_two_ways_breaks_the_body_and_closes_the_connection(port, asked, body):  # I-13
    answered = exchange(port, POST % b"/read" + b"Transfer-Encoding: chunked\r\n\r\n" + body + SMUGGLED)
    assert answered.count(b"HTTP/1.1") == 1
    assert answered.endswith(b"\r\n\r\nbroken")
    assert asked == ["/read"]


def test_a_header_with_an_underscore_cannot_pass_for_one_with_a_hyphen(port):
    request = closing(POST % b"/read") + b"Content_Length: 9\r\nContent-Length: 2\r\n\r\n{}"
    assert exchange(port, request).endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_For", "x_forwarded-for"])
def test_a_trusted_proxys_client_cannot_forge_its_address_by_underscores(name):  # A11
    def app(environ, start_response):
        address = client_address(environ, [ip_network("127.0.0.1")]).encode()
        start_response("200 OK", [("Content-Length", str(len(address)))])
        return [address]

    server = ThreadedServer(("127.0.0.1", 0), app, threads=4)
    server.start()
    try:
        forged, true = f"{name}: 203.0.113.9\r\n".encode(), b"X-Forwarded-For: 198.51.100.7\r\n"
        for lines in (forged + true, true + forged):
            answered = exchange(server.address[1], b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + lines + b"\r\n")
            assert answered.endswith(b"\r\n\r\n198.51.100.7")
    finally:
        server.stop()
