"""A server of raw sockets on loopback that answers in every wrong way, and records what it was asked.

A behaviour is a function of the `Connection` that has just read a request. Behaviours are used in turn, one a request, the last
one for ever. A connection is kept for the next request unless the behaviour closed it.
"""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

FAILSAFE_SECONDS = 20
PIECE = b" " * 65_536


@dataclass(frozen=True)
class Seen:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.headers if given == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


class Connection:
    """The server's end of one connection; what is sent to a client that went away is lost without an error."""

    def __init__(self, sock: socket.socket, stopping: threading.Event):
        self._sock, self._stopping = sock, stopping
        self.is_open = True
        self.sent = 0

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)
        self.sent += len(data)

    def pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise ConnectionAbortedError

    def close(self) -> None:
        self.is_open = False

    def reset(self) -> None:
        """Leave with RST instead of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


Behaviour = Callable[[Connection], None]


class MisbehavingServer:
    """`with MisbehavingServer(answer(500), answer(200, {…})) as server:` listens on `server.url` until the end of the block."""

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None):
        self.behaviours, self._tls = list(behaviours), tls
        self.seen: list[Seen] = []
        self.connections: list[Connection] = []
        self.threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._stopping = threading.Event()

    def __enter__(self) -> "MisbehavingServer":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for sock in [self._listener, *self._sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(FAILSAFE_SECONDS)
        self._listener.close()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(FAILSAFE_SECONDS)
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, ValueError):  # ValueError: what came is not HTTP, but a TLS greeting.
            secured = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with secured:
                connection = Connection(secured, self._stopping)
                self.connections.append(connection)
                with secured.makefile("rb") as stream:
                    while connection.is_open and (request := _read_request(stream)):
                        self.seen.append(request)
                        self._next()(connection)

    def _next(self) -> Behaviour:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


def _read_request(stream) -> Seen | None:
    line = stream.readline()
    if not line:
        return None
    method, target, _ = line.decode("ascii").split(" ")
    headers = []
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    length = int(dict(headers).get("content-length", 0))
    return Seen(method, target, headers, stream.read(length))


def answer(status: int = 200, body: object = b"", **headers: str) -> Behaviour:
    """A proper answer; a `body` that is not bytes is sent as JSON. `retry_after="5"` is the header `retry-after: 5`."""
    return lambda connection: connection.send(message(status, body, **headers))


def message(status: int = 200, body: object = b"", **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Word"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in ({"content_length": str(len(data))} | headers).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def raw(data: bytes) -> Behaviour:
    """These bytes, then the end of the connection."""

    def behave(connection: Connection) -> None:
        connection.send(data)
        connection.close()

    return behave


def silence(connection: Connection) -> None:
    """Half open: the request is taken and never answered."""
    connection.pause(FAILSAFE_SECONDS)


def hang_up(connection: Connection) -> None:
    connection.close()


def reset(connection: Connection) -> None:
    connection.reset()


def drip(at_once: bytes, slowly: bytes, every_seconds: float) -> Behaviour:
    """`at_once`, then one byte of `slowly` at a time."""

    def behave(connection: Connection) -> None:
        connection.send(at_once)
        for byte in slowly:
            connection.pause(every_seconds)
            connection.send(bytes([byte]))

    return behave


def flood(at_once: bytes, again: bytes = PIECE) -> Behaviour:
    """`at_once`, then `again` without an end, as fast as the client takes it."""

    def behave(connection: Connection) -> None:
        connection.send(at_once)
        while True:
            connection.pause(0)
            connection.send(again)

    return behave
