"""How the venue's side is served: by threads of the process that serves Dojo's, which slow clients cannot keep from quick ones."""

from __future__ import annotations

import logging
import re
import select
import socket
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from cheroot import wsgi
from cheroot.server import HTTPConnection

from adapters.framing import StrictRequest
from adapters.serving import BACKLOG, HEADER_SECONDS, Address

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

VENUE_THREADS = 32
VENUE_STOP_SECONDS = 1.0
QUEUED_REQUESTS = 1_024
KEPT_ALIVE = 256
"""Connections that idle between two requests; while there are so many, others end with their answer."""
HEADER_BYTES = 16_384
"""Of a header; on Dojo's side it is `serving.READ_BYTES`."""
BODY_SECONDS = 30
"""A body that has not arrived in a thread by then is cut off."""
REFUSABLE_BYTES = 2 * HEADER_BYTES
"""Cheroot reads somewhat beyond the limit before it refuses a header, and would wait for that."""
PEEKED_BYTES = 65_536
HALF_SENT = 512
"""At most this many half-sent requests wait; further ones are closed at once."""
RECHECK_SECONDS = 0.05
"""How often half-sent requests are looked at again."""

logger = logging.getLogger(__name__)


class ThreadedServer:
    """The venue's side: `app` at `address`, one thread a request, in the process that calls `start`.

    A request gets a thread when its header has arrived. Those whose body is not there yet, and those that were sent behind another
    one, get half of the threads at most. So slow clients cannot keep all threads from those who send at once.
    """

    def __init__(self, address: Address, app: WSGIApplication, *, threads: int = VENUE_THREADS) -> None:
        self._server = _VenueServer(address, app, threads)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> Address:
        """Where it listens; the real port, once started, where port 0 was asked for."""
        host, port = self._server.bind_addr
        return host, port

    def start(self) -> None:
        """Listen, and serve in threads that never hold up the end of the process. Raises OSError when the address cannot be had."""
        listening: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="venue's side", daemon=True)
        self._thread.start()
        listening.result()

    @property
    def is_alive(self) -> bool:
        """Its threads run: one that dies ends the loop that accepts."""
        return self._thread is not None and self._thread.is_alive() and self._server.gate.is_alive()

    def stop(self) -> None:
        """Refuse connections, let running requests end for VENUE_STOP_SECONDS, cut off the rest."""
        stopping = threading.Thread(target=self._server.stop, name="venue's side stops", daemon=True)
        stopping.start()
        stopping.join(2 * VENUE_STOP_SECONDS)  # The library waits without end for a request that does not return.

    def _run(self, listening: Future[None]) -> None:
        try:
            self._server.prepare()  # Its threads are daemons because this one is.
            self._server.gate.start()
        except OSError as error:
            listening.set_exception(error)
            return
        listening.set_result(None)
        self._server.serve()


class _VenueConnection(HTTPConnection):
    """One connection; `has_slot` while it may wait for its body in a thread."""

    RequestHandlerClass = StrictRequest
    has_slot = False

    def communicate(self) -> bool:
        try:
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            self._give_back_slot()

    def close(self) -> None:
        self._give_back_slot()
        super().close()

    def _give_back_slot(self) -> None:
        if self.has_slot:
            self.has_slot = False
            self.server.slots.release()
            self.server.waiting.pop(self, None)

    def cut_off(self) -> None:
        """End the wait for what the client does not send; the thread then finds the body cut short."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)


class _VenueServer(wsgi.Server):
    """Cheroot, which gives every new connection a thread, behind a gate that looks whether there is anything to do.

    The gate only peeks: what was sent stays in its buffers until a thread reads it.
    """

    ConnectionClass = _VenueConnection
    max_request_header_size = HEADER_BYTES

    def __init__(self, address: Address, app: WSGIApplication, threads: int) -> None:
        super().__init__(
            address,
            app,
            numthreads=threads,
            server_name="tillproof",
            request_queue_size=BACKLOG,
            timeout=HEADER_SECONDS,
            shutdown_timeout=VENUE_STOP_SECONDS,  # type: ignore[arg-type]  # Seconds; the stub knows whole ones only.
            accepted_queue_size=QUEUED_REQUESTS,
            accepted_queue_timeout=0,  # A full queue answers 503 at once instead of stopping the loop that accepts.
        )
        self.keep_alive_conn_limit = KEPT_ALIVE
        self.slots = threading.BoundedSemaphore(max(1, threads // 2))
        self.waiting: dict[_VenueConnection, float] = {}
        """Those with a slot, and until when they may have it: not by the injected clock, for sockets wait in the machine's time."""
        self.gate = threading.Thread(target=self._watch_slow_clients, name="venue's gate", daemon=True)
        self._half_sent: dict[_VenueConnection, float] = {}
        """Those whose header or slot is to come, and until when it may, in the same time."""

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        """Cheroot's own forgets to close a socket whose address is taken."""
        listener = socket.create_server(self.bind_addr, family=family, backlog=self.request_queue_size)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # An answer goes out in two writes.
        self.socket = listener
        self.bind_addr = listener.getsockname()[:2]
        return listener

    def process_conn(self, conn: _VenueConnection) -> None:
        """Cheroot's word for: this connection is new, or has something to read."""
        if not self._passes(conn):
            self._wait_for_rest(conn, time.monotonic() + HEADER_SECONDS)

    def _wait_for_rest(self, conn: _VenueConnection, deadline: float) -> None:
        if self.ready and len(self._half_sent) < HALF_SENT:
            self._half_sent[conn] = deadline
        else:
            conn.close()

    def _passes(self, conn: _VenueConnection) -> bool:
        """Whether the connection was dealt with: given a thread, back to wait for its first byte, or closed."""
        is_over = _has_hung_up(conn.socket)  # Before the look at what was sent: what comes in between may be its rest.
        early = conn.rfile.peek() if conn.rfile.has_data() else b""  # Of a pipelined request: it was read with the one before.
        try:
            sent = early + _peek(conn.socket)
        except BlockingIOError:
            if not early:
                self.put_conn(conn)
                return True
            sent = early
        except OSError:
            sent = b""
        if not sent:
            conn.close()
            return True
        if _is_whole(sent) and not early:  # Who asks again before it has read may never read, and so would hold every thread.
            super().process_conn(conn)
            return True
        if _has_whole_header(sent):
            return self._enqueue_with_slot(conn)
        if is_over:
            conn.close()
        return is_over

    def _enqueue_with_slot(self, conn: _VenueConnection) -> bool:
        conn.has_slot = self.slots.acquire(blocking=False)
        if has_slot := conn.has_slot:
            self.waiting[conn] = time.monotonic() + BODY_SECONDS
            super().process_conn(conn)
        return has_slot  # By now a thread may be through with it.

    def _watch_slow_clients(self) -> None:
        while self.ready:
            time.sleep(RECHECK_SECONDS)
            for conn in list(self._half_sent):
                self._recheck(conn)
            for conn, deadline in list(self.waiting.items()):
                if time.monotonic() > deadline:
                    conn.cut_off()
        for conn in list(self._half_sent):
            conn.close()

    def _recheck(self, conn: _VenueConnection) -> None:
        deadline = self._half_sent.pop(conn)  # First, since a thread that gets it may send it here again at once.
        if time.monotonic() > deadline:
            conn.close()
        elif not self._passes(conn):
            self._wait_for_rest(conn, deadline)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Where Cheroot says what went wrong."""
        logger.log(level, "venue's side: %s", msg, exc_info=traceback)


def _peek(connection: socket.socket) -> bytes:
    """What was sent so far, left where it is; b"" at the end. Raises BlockingIOError when nothing has come."""
    connection.setblocking(False)
    try:
        return connection.recv(PEEKED_BYTES, socket.MSG_PEEK)
    finally:
        connection.settimeout(HEADER_SECONDS)


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether no more will come; False where the system does not tell, and the deadline must do."""
    if sys.platform != "linux":
        return False
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def _has_whole_header(sent: bytes) -> bool:
    """Whether a thread can read the header without waiting, be it only to refuse it for its length."""
    return b"\r\n\r\n" in sent or len(sent) >= REFUSABLE_BYTES


def _is_whole(sent: bytes) -> bool:
    """Whether header and body are there. A mistake costs time, not truth: the thread that reads has the last word."""
    header, end, body = sent.partition(b"\r\n\r\n")
    if not end or re.search(rb"(?i)\r\ntransfer-encoding[ \t]*:", header):
        return False
    length = re.search(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,15})", header)
    return len(body) >= int(length[1]) if length else True
