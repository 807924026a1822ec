"""The till's side that listens: a server of the harness's own, outside the process group that is killed.

It takes all news and keeps them. While there is a story in which one thing happens after the other, it answers last: what the same
decision of the program wanted to be told to Dojo is through by then, so that the same points come in the same order each time.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/news"
SECRET = "a secret of the till's, forty characters"
STOPS_WITHIN_SECONDS = 60


class ListeningTill:
    """`wait` is called with each piece of news, before it is answered."""

    def __init__(self) -> None:
        self.wait: Callable[[], object] = lambda: None
        self._heard: list[dict[str, Any]] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def heard(self) -> list[dict[str, Any]]:
        """Every piece of news that came whole, as often as it came."""
        return list(self._heard)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(STOPS_WITHIN_SECONDS)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        till = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                raw = self.rfile.read(length)
                if len(raw) < length:
                    self.close_connection = True  # Who wanted to tell it is dead.
                    return
                till._heard.append(json.loads(raw))
                till.wait()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, *about: Any) -> None:
        """A connection that ended with the program at its other end is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*about)


@contextmanager
def a_listening_till() -> Iterator[ListeningTill]:
    till = ListeningTill()
    try:
        yield till
    finally:
        till.stop()
