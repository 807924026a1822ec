"""A flood: one request over and over on many connections, by the clock and not when the last was answered, from a process of its own.

Nothing that is sent is lost to the count: whoever floods says how much was offered in which time, and how each of it was answered.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.contract.running import PATIENCE, ROOT

OFFERED_PER_SECOND = 2_500
"""What is late is made up for, so that a busy machine offers as many."""
CONNECTIONS = 200
"""More than there are places: where the machine is too slow for the limit of requests a second, they are what is short."""
LEAST_SECONDS = 2.0
TICK_SECONDS = 0.004
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


@dataclass(frozen=True, slots=True)
class Answered:
    """How many requests were offered in how many seconds, when all were answered, counted from the first one, and with which statuses."""

    offered: int
    seconds: float
    seconds_to_the_last_answer: float
    statuses: Counter[int]


class Flood:
    """A running flood, seen from the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def await_refusals(self) -> None:
        """Return once something was answered 429 or 503; fail where the flood ended before."""
        assert self._line() == "refused"

    def end(self) -> None:
        """Return once nothing more is sent."""
        assert self._process.stdin
        self._process.stdin.close()
        assert self._line() == "ended"

    def answered(self) -> Answered:
        """What became of it, once everything is answered or nothing comes any more."""
        offered, seconds, until, statuses = json.loads(self._line())
        return Answered(offered, seconds, until, Counter({int(status): count for status, count in statuses.items()}))

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")


@contextmanager
def flood(port: int, request: str) -> Iterator[Flood]:
    """Send `request` over and over to `port` of this machine, until `end` is called."""
    command = [sys.executable, "-m", "tests.flood", str(port), request]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Flood(process)
        finally:
            process.kill()


class _Flooder:
    """The flood's own process: it sends, counts what comes back, and tells its parent by lines."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request, self._offered, self._statuses, self._is_to_end = request, 0, Counter[int](), False
        self._connections = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(CONNECTIONS)]
        self._unread = dict.fromkeys(self._connections, b"")
        self._selector = selectors.DefaultSelector()
        for stream in (*self._connections, sys.stdin):
            self._selector.register(stream, selectors.EVENT_READ)

    def run(self) -> None:
        began, is_told = time.monotonic(), False
        while (seconds := time.monotonic() - began) < LEAST_SECONDS or not self._is_to_end:
            for number in range(self._offered, int(seconds * OFFERED_PER_SECOND)):
                self._connections[number % CONNECTIONS].sendall(self._request)
                self._offered += 1
            self._receive()
            if not is_told and self._statuses.keys() & {429, 503}:
                is_told = True
                print("refused", flush=True)
        print("ended", flush=True)
        while self._statuses.total() < self._offered and time.monotonic() - began - seconds < PATIENCE:
            self._receive()
        print(json.dumps([self._offered, seconds, time.monotonic() - began, self._statuses]), flush=True)

    def _receive(self) -> None:
        for key, _ in self._selector.select(TICK_SECONDS):
            stream = key.fileobj
            if not isinstance(stream, socket.socket):
                self._is_to_end = True
                self._selector.unregister(stream)
            elif piece := stream.recv(65_536):
                unread = self._unread[stream] + piece
                found = list(STATUS.finditer(unread))
                self._statuses.update(int(each[1]) for each in found)
                self._unread[stream] = unread[found[-1].end() :] if found else unread
            else:  # As each connection is closed once it was idle for a while: what it owes is missing in the count.
                self._selector.unregister(stream)


if __name__ == "__main__":
    _Flooder(int(sys.argv[1]), sys.argv[2].encode()).run()
