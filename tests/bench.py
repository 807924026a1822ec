"""What the service can do on this machine, beside what its web server and its database do alone, in the same run.

`make bench`. The service is the real program in a process of its own, with a real journal. Beside it runs the null route: the same
server, as many threads, an answer of two bytes. Dojo is played by a fast stub of a few lines, made for load only: every intent that
it is asked for is captured. The clients are processes with raw sockets that are kept open; each connection sends its next request
when the last is answered. Nothing is asserted: the figures are for reading side by side. Where other programs keep the machine busy,
only processor time can be compared with that of another day (rates and ratios fall with the number of those who share it).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import itertools
import json
import math
import multiprocessing
import os
import platform
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adapters import serving
from tests.contract.running import free_port
from workflow.clock import SystemClock
from workflow.entry import Entry
from workflow.journal.driver import sqlite3
from workflow.journal.keys import load_or_make_key
from workflow.journal.reads import ENTRY_COLUMNS, SqliteReads
from workflow.journal.schema import TABLES
from workflow.journal.sqlite import SqliteJournal
from workflow.ledger import Frontier, Node

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = (1, 16, 64)
ROUNDS = 2
ROUND_SECONDS = 1.2
ORDERS_SECONDS = 4.0
ORDERS_CONNECTIONS = 16
ORDERS_ALONE = 40
CLIENT_PROCESSES = 2
WAIT_SECONDS = 20.0
"""After this the benchmark gives up: a server that does not start, an order that does not settle."""
POLL_SECONDS = 0.005
APPENDED = 4_000
APPEND_SIZES = (10, 1_000)
TREE_ENTRIES, TREE_BATCH = 100_000, 1_000
FSYNCS = 100

USERNAME, PASSWORD = "epos-bench", "bench-password"
AUTHORISATION = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
TOTAL = 4_900

PAGES, PAGE_SECONDS = 50, 5.0
"""Pages of the console that stand open, and how often each asks for itself."""
WATCHED = ("/", "/orders", "/attention", "/outbox", "/takings")
"""Which pages those are, by turns with the page of an order."""
PAGES_CONNECTIONS, PAGES_ROUNDS, PAGES_ROUND_SECONDS = 4, 4, 3.0
TOKEN = "bench-token"


# -- the requests


def post(path: str, body: dict) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {AUTHORISATION}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def gbp(value: int) -> dict:
    return {"value": value, "currencyCode": "GBP"}


def create_order(name: str) -> bytes:
    """CreateOrder of two lines with one authorised payment."""
    items = [
        {"plu": "FIS-02", "name": "Fish & chips", "quantity": 2, "amountPerItem": gbp(1_650)},
        {"plu": "WIN-11", "name": "House red 250ml", "quantity": 2, "amountPerItem": gbp(800)},
    ]
    body = {
        "dojoOrderId": f"ord_{name}",
        "reference": "T-17",
        "displayName": "Table 9",
        "details": {"orderType": "DineIn", "dineIn": {"tableId": "tbl_9", "waiterId": "42"}},
        "items": items,
        "totalAmount": gbp(TOTAL),
        "payments": [{"paymentIntentId": f"pi_{name}", "paidAmount": gbp(TOTAL)}],
    }
    return post("/v1/orders", body)


def captured(name: str) -> bytes:
    """The event that says: this order's payment was captured."""
    body = {
        "id": f"evt_{name}",
        "accountId": "acc_bench",
        "event": "payment_intent.status_updated",
        "createdAt": "2026-03-14T12:00:00Z",
        "data": {"paymentIntentId": f"pi_{name}", "paymentStatus": "Captured"},
    }
    return post("/v1/events", body)


def creates(prefix: str):
    """One request an order."""
    return (create_order(f"{prefix}-{number}") for number in itertools.count())


def whole_orders(prefix: str):
    """Two requests an order; the rest is between the service and Dojo."""
    for number in itertools.count():
        yield create_order(f"{prefix}-{number}")
        yield captured(f"{prefix}-{number}")


# -- the clients


@dataclass(frozen=True, slots=True)
class Load:
    """What one client process does: `each` requests belong together, and none is begun after `seconds`."""

    address: tuple[str, int]
    requests: str
    each: int
    prefix: str
    connections: int
    begin: float
    seconds: float


class Connection:
    """One open connection with its own row of requests."""

    def __init__(self, load: Load, number: int) -> None:
        self.socket = socket.create_connection(load.address, timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = globals()[load.requests](f"{load.prefix}-{number}")
        self.sent_at = 0.0
        self.sent = 0
        self._received = b""

    def send_next(self) -> None:
        self.sent_at = time.perf_counter()
        self.sent += 1
        self.socket.sendall(next(self.requests))

    def has_answer(self) -> bool:
        """Read what came; whether that completes an answer. Anything but 200 ends the benchmark."""
        piece = self.socket.recv(65_536)
        self._received += piece
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not piece or (found and not head.startswith(b"HTTP/1.1 200")):
            raise SystemExit(f"bench: the server answered {self._received[:400]!r}")
        _, _, length = head.lower().partition(b"content-length: ")
        if not found or len(body) < int(length.split(b"\r\n")[0]):
            return False
        self._received = b""
        return True


def run_load(load: Load) -> list[float]:
    """The seconds that each answer took, of those that came in time."""
    connections = [Connection(load, number) for number in range(load.connections)]
    took: list[float] = []
    time.sleep(max(0.0, load.begin - time.time()))
    end = time.perf_counter() + load.seconds
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send_next()
        while selector.get_map():
            for key, _ in selector.select(WAIT_SECONDS):
                _take(key.data, took, end, load.each, selector)
    return took


def _take(connection: Connection, took: list[float], end: float, each: int, selector: selectors.BaseSelector) -> None:
    if not connection.has_answer():
        return
    now = time.perf_counter()
    if now <= end:
        took.append(now - connection.sent_at)
    if now > end and connection.sent % each == 0:
        selector.unregister(connection.socket)
        connection.socket.close()
    else:
        connection.send_next()


class Clients:
    """The client processes, started once."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(CLIENT_PROCESSES, mp_context=multiprocessing.get_context("spawn"))
        self._runs = itertools.count()
        list(self._pool.map(time.sleep, [0.5] * CLIENT_PROCESSES))  # Both are started, not one twice.

    def run(self, port: int, requests: str, connections: int, seconds: float, *, each: int = 1) -> list[float]:
        """All the answers' times, in seconds."""
        processes = min(CLIENT_PROCESSES, connections)
        begin, run = time.time() + 0.1, next(self._runs)
        loads = [
            Load(
                address=("127.0.0.1", port),
                requests=requests,
                each=each,
                prefix=f"{run}-{number}",
                connections=connections // processes,
                begin=begin,
                seconds=seconds,
            )
            for number in range(processes)
        ]
        return [seconds for took in self._pool.map(run_load, loads) for seconds in took]

    def close(self) -> None:
        self._pool.shutdown()


# -- the servers, each a process: `python -m tests.bench NAME`


class DojoStub(asyncio.Protocol):
    """Reads of payment intents and `POST /epos/events`, kept alive; every intent is captured in full."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (cut := self._end_of_request()) is not None:
            request, self._received = self._received[:cut], self._received[cut:]
            self._transport.write(self._answer(request))

    def _end_of_request(self) -> int | None:
        head, found, body = self._received.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length: ")
        size = int(length.split(b"\r\n")[0]) if length else 0
        return len(head) + 4 + size if found and len(body) >= size else None

    def _answer(self, request: bytes) -> bytes:
        method, target, _ = request.split(b" ", 2)
        intent_id = target.partition(b"?")[0].rpartition(b"/")[2].decode()
        intent = {"id": intent_id, "status": "Captured", "captureMode": "Auto", "amount": gbp(TOTAL), "totalAmount": gbp(TOTAL)}
        body = json.dumps(intent if method == b"GET" else {}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def serve_dojo() -> None:
    server = await asyncio.get_running_loop().create_server(DojoStub, "127.0.0.1", 0)
    print(json.dumps({"address": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}), file=sys.stderr, flush=True)
    await server.serve_forever()


def build_null() -> serving.Running:
    from flask import Flask

    app = Flask("null")
    app.post("/v1/orders")(lambda: b"{}")
    return serving.Running(app, lambda: None)


def serve_null() -> None:
    from adapters import logs

    logs.configure(sys.stderr, "INFO", SystemClock())
    sys.exit(serving.serve_in_worker(("127.0.0.1", 0), build_null))


def poll_pages(port: int, told: Path) -> None:
    """Be PAGES browsers on WATCHED and on an order, evenly spread, each with its own session; a line in `told` for each answer:
    status, seconds."""
    pages = [Page(port) for _ in range(PAGES)]
    paths = itertools.cycle([*WATCHED, pages[0].an_order()])
    for page, path in zip(pages, paths, strict=False):
        page.path = path
        page.poll()  # What it shows at first; from now on it asks whether that has changed.
    began = time.monotonic()
    with told.open("w", buffering=1) as stream:
        for number in itertools.count():
            time.sleep(max(0.0, began + number * PAGE_SECONDS / PAGES - time.monotonic()))
            asked = time.monotonic()
            stream.write(f"{pages[number % PAGES].poll()} {time.monotonic() - asked}\n")


class Page:
    """One browser with a page open, as tillproof.js asks for it."""

    path = "/"

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        self._connection.request("POST", "/login", f"token={TOKEN}", {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self._connection.getresponse()
        answer.read()
        self._headers = {"X-Refresh": "1", "Cookie": str(answer.headers["Set-Cookie"]).partition(";")[0]}

    def an_order(self) -> str:
        """The path of one that the list of orders names."""
        self._connection.request("GET", "/orders", headers=self._headers)
        found = re.search(rb'<th scope="row"[^>]*><a href="(/orders/[^"]+)"', self._connection.getresponse().read())
        if not found:
            raise RuntimeError("the console's list of orders names none")
        return found[1].decode()

    def poll(self) -> int:
        self._connection.request("GET", self.path, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        if etag := answer.headers["ETag"]:
            self._headers["If-None-Match"] = etag
        return answer.status


class Server(NamedTuple):
    """A started server: where it listens, and its first process."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that it and its worker have used; not a number where there is no /proc to tell."""
        stats = [_stat(path) for path in Path("/proc").glob("[0-9]*/stat")]
        ticks = [int(stat[11]) + int(stat[12]) for pid, stat in filter(None, stats) if self.pid in (pid, int(stat[1]))]
        return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else math.nan


def _stat(path: Path) -> tuple[int, list[str]] | None:
    try:
        pid, _, rest = path.read_text().partition(" ")
    except OSError:  # It has ended.
        return None
    return int(pid), rest.rpartition(")")[2].split()  # From the state on: a program's name may hold anything.


@contextmanager
def server(*command: str, log: Path, environment: dict[str, str] | None = None):
    """A started server, whose first log line with an address tells its port."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TILLPROOF_")}
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=own | (environment or {}), stdout=stream, stderr=stream)
    try:
        yield Server(_port(process, log), process.pid)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def _port(process: subprocess.Popen, log: Path) -> int:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text("utf-8").splitlines():
            if '"address"' in line:
                return int(json.loads(line)["address"].rpartition(":")[2])
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"bench: a server did not start:\n{log.read_text('utf-8')}")


@contextmanager
def service(folder: Path, dojo_port: int, console_port: int = 0):
    """The real program with the journal in `folder`, an empty one at first."""
    folder.mkdir(exist_ok=True)
    environment = {
        "TILLPROOF_LISTEN": "127.0.0.1:0",
        "TILLPROOF_CONSOLE_LISTEN": f"127.0.0.1:{console_port}",
        "TILLPROOF_JOURNAL": str(folder / "tillproof.db"),
        "TILLPROOF_DOJO_URL": f"http://127.0.0.1:{dojo_port}",
        "TILLPROOF_DOJO_API_KEY": "sk_sandbox_bench",
        "TILLPROOF_EPOS_USERNAME": USERNAME,
        "TILLPROOF_EPOS_PASSWORD": PASSWORD,
        "TILLPROOF_TOKENS": f"operator:bench:{TOKEN}",
        "TILLPROOF_REQUESTS_PER_SECOND": "100000",
        "TILLPROOF_ENV": "test",
    }
    with server("app", "serve", log=folder / "service.log", environment=environment) as served:
        yield served


# -- what is measured


@dataclass(frozen=True, slots=True)
class Created:
    """Requests a second of the null route and of CreateOrder, how long the slowest of a hundred took, and the processor time of each."""

    connections: int
    null: float
    created: float
    null_cpu_us: float
    created_cpu_us: float
    p50_ms: float
    p99_ms: float


def measure_creates(clients: Clients, null: Server, service: Server) -> list[Created]:
    """Both by turns, so that what else the machine does falls upon both."""
    for each in (null, service):
        clients.run(each.port, "creates", max(CONNECTIONS), 0.5)  # Threads are started, statements prepared.
    return [_measure_creates(clients, null, service, connections) for connections in CONNECTIONS]


def _measure_creates(clients: Clients, null: Server, service: Server, connections: int) -> Created:
    took: dict[Server, list[float]] = {null: [], service: []}
    cpu = {null: 0.0, service: 0.0}
    for _ in range(ROUNDS):
        for each in took:
            before = each.cpu_seconds()
            took[each] += clients.run(each.port, "creates", connections, ROUND_SECONDS)
            cpu[each] += each.cpu_seconds() - before
    rates = (len(took[each]) / (ROUNDS * ROUND_SECONDS) for each in took)
    cpu_us = (cpu[each] / len(took[each]) * 1_000_000 for each in took)
    cuts = statistics.quantiles(took[service], n=100)
    return Created(connections, *rates, *cpu_us, cuts[49] * 1_000, cuts[98] * 1_000)


class Beside(NamedTuple):
    """How long CreateOrder takes without pages and with them, and what the pages were answered."""

    alone: list[float]
    beside: list[float]
    polls: list[tuple[int, float]]


def measure_pages(clients: Clients, folder: Path, port: int, console: int) -> Beside:
    """CreateOrder over a few connections, by turns alone and while the pages poll, so that what else the machine does falls upon both."""
    took: tuple[list[float], list[float]] = ([], [])
    polls: list[tuple[int, float]] = []
    clients.run(port, "creates", PAGES_CONNECTIONS, 0.5)
    for _ in range(PAGES_ROUNDS):
        took[0].extend(clients.run(port, "creates", PAGES_CONNECTIONS, PAGES_ROUND_SECONDS))
        told = folder / "polls"
        told.write_text("")
        pages = subprocess.Popen([sys.executable, "-m", "tests.bench", "pages", str(console), str(told)], cwd=ROOT)
        try:
            while not told.read_text() and pages.poll() is None:  # Until all are logged in, and open.
                time.sleep(POLL_SECONDS)
            took[1].extend(clients.run(port, "creates", PAGES_CONNECTIONS, PAGES_ROUND_SECONDS))
        finally:
            pages.terminate()
            pages.wait(WAIT_SECONDS)
        lines = [line.split() for line in told.read_text().splitlines()]
        polls += [(int(status), float(seconds)) for status, seconds in lines]
    return Beside(*took, polls)


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole orders: how many, in which time, and what the journal and its witness grew by."""

    orders: int
    seconds: float
    entries: int
    commits: int
    checkpoints: int

    @property
    def a_second(self) -> float:
        return self.orders / self.seconds


def measure_orders(clients: Clients, folder: Path, port: int) -> Whole:
    """Create, event, read and OrderUpdated, over many connections, until every order is `updated`."""
    began = time.monotonic()
    clients.run(port, "whole_orders", ORDERS_CONNECTIONS, ORDERS_SECONDS, each=2)
    seconds = await_updated(folder) - began
    return _whole(folder, seconds)


def measure_orders_alone(folder: Path, port: int) -> Whole:
    """The same one order after the other, so that no commit is shared."""
    load = Load(("127.0.0.1", port), "whole_orders", 2, "alone", 1, 0.0, 0.0)
    connection = Connection(load, 0)
    began = ended = time.monotonic()
    for _ in range(2 * ORDERS_ALONE):
        connection.send_next()
        while not connection.has_answer():
            pass
        if connection.sent % load.each == 0:
            ended = await_updated(folder)
    connection.socket.close()
    return _whole(folder, ended - began)


def measure_start(folder: Path, dojo_port: int) -> tuple[float, float]:
    """Seconds until a service with the journal in `folder` serves, and of the processor."""
    log = folder / "service.log"
    log.unlink()
    began = time.monotonic()
    with service(folder, dojo_port) as served:
        while '"serving"' not in log.read_text("utf-8"):
            if time.monotonic() - began > WAIT_SECONDS:
                raise SystemExit(f"bench: a service does not start; see {log}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began, served.cpu_seconds()


def await_updated(folder: Path) -> float:
    """Wait until every order of the journal is `updated`; the moment when that was seen."""
    reads = SqliteReads(folder / "tillproof.db")
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if not reads.rows("SELECT 1 FROM orders WHERE state <> 'updated' LIMIT 1"):
            return time.monotonic()
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"bench: orders are not updated after {WAIT_SECONDS:.0f} s; see {folder}/service.log")


def _whole(folder: Path, seconds: float) -> Whole:
    reads = SqliteReads(folder / "tillproof.db")
    counts = (reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("orders", "journal", "checkpoint"))
    orders, entries, checkpoints = counts
    commits = len((folder / "tillproof.db.witness").read_bytes().splitlines())  # One line a commit.
    return Whole(orders, seconds, entries, commits, checkpoints)


@dataclass(frozen=True, slots=True)
class Appended:
    """Entries a second, and the processor time of each: through the journal, and the same finished rows by bare `executemany`."""

    entries_a_commit: int
    journal: float
    bare: float
    journal_cpu_us: float
    bare_cpu_us: float


def measure_append(folder: Path, size: int) -> Appended:
    """`size` entries a commit, one caller."""
    path = folder / f"append-{size}.db"
    journal = SqliteJournal(path, Path(f"{path}.witness"), load_or_make_key(Path(f"{path}.key")), SystemClock())
    batches = [[_entry(number) for number in range(first, first + size)] for first in range(1, APPENDED + 1, size)]
    began, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        journal.write(lambda transaction, batch=batch: transaction.append(batch))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    journal.close()
    rows = SqliteReads(path).rows(f"SELECT {ENTRY_COLUMNS} FROM journal ORDER BY seq")
    bare_seconds, bare_cpu_seconds = _append_bare(folder / f"bare-{size}.db", rows, size)
    us = 1_000_000 / APPENDED
    return Appended(size, APPENDED / seconds, APPENDED / bare_seconds, cpu_seconds * us, bare_cpu_seconds * us)


def _entry(order_seq: int) -> Entry:
    return Entry(
        order_id="o1",
        order_seq=order_seq,
        at="2026-03-14T12:00:00.000Z",
        kind="event",
        payment_intent_id="pi_1",
        actor="dojo",
        cause=f"event:evt_{order_seq}",
        body={"event": "payment_intent.status_updated", "id": f"evt_{order_seq}", "channel": "capability", "status": "Captured"},
    )


def _append_bare(path: Path, rows: list[tuple], size: int) -> tuple[float, float]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(TABLES)
    insert = f"INSERT INTO journal VALUES ({', '.join('?' * len(rows[0]))})"
    began, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(rows), size):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, rows[first : first + size])
        connection.execute("COMMIT")
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    connection.close()
    return seconds, cpu_seconds


@dataclass(frozen=True, slots=True)
class Grown:
    """What the Merkle tree adds to an entry, in microseconds of the processor: hashing with the frontier, and storing its nodes.

    Beside it the bare cost of as many SHA-256 of as many bytes, and of one row an entry of as many bytes.
    """

    hash_us: float
    store_us: float
    bare_hash_us: float
    bare_store_us: float

    @property
    def us(self) -> float:
        return self.hash_us + self.store_us

    @property
    def bare_us(self) -> float:
        return self.bare_hash_us + self.bare_store_us


def measure_tree(folder: Path) -> Grown:
    """A tree that grows from nothing, its nodes stored as the journal stores them: what `SqliteJournal._grow` does, and nothing else."""
    hashes = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(TREE_ENTRIES)]
    frontier, nodes, raw = Frontier(), list[Node](), [bytes.fromhex(each) for each in hashes]
    hash_us = _cpu_us(lambda: nodes.extend(node for each in hashes for node in frontier.append(each)))
    bare_hash_us = _cpu_us(lambda: [(hashlib.sha256(b"0" + each).digest(), hashlib.sha256(b"1" + each + each).digest()) for each in raw])
    rows = [(number, each) for number, each in enumerate(raw)]
    stored = _stored_us(folder / "tree.db", "INSERT INTO tree_node(level, position, hash) VALUES (?, ?, ?)", nodes)
    bare = _stored_us(folder / "bare-tree.db", "INSERT INTO bare VALUES (?, ?)", rows)
    return Grown(hash_us, stored, bare_hash_us, bare)


def _cpu_us(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / TREE_ENTRIES * 1_000_000


def _stored_us(path: Path, insert: str, rows: Sequence[tuple]) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode = WAL; {TABLES} CREATE TABLE bare(id INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;")

    def store() -> None:
        for first in range(0, len(rows), TREE_BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows[first : first + TREE_BATCH])
            connection.execute("COMMIT")

    try:
        return _cpu_us(store)
    finally:
        connection.close()


def measure_fsync(folder: Path) -> float:
    """Milliseconds of one write of a page and its fsync."""
    with (folder / "fsync").open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(FSYNCS):
            file.write(b"x" * 4_096)
            os.fsync(file.fileno())
        return (time.perf_counter() - began) / FSYNCS * 1_000


def _other_work() -> str:
    """What else the machine does; the ratios hold out against it, the figures do not."""
    return f", load before {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


# -- the table


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def print_creates(rows: list[Created]) -> None:
    print("\nCreateOrder beside the null route, requests a second")
    header = ("connections", "null route", "CreateOrder", "ratio", "p50 ms", "p99 ms", "null CPU us", "CreateOrder CPU us")
    cells = [
        (
            f"{r.connections}",
            f"{r.null:,.0f}",
            f"{r.created:,.0f}",
            f"{r.created / r.null:.3f}",
            f"{r.p50_ms:.1f}",
            f"{r.p99_ms:.1f}",
            f"{r.null_cpu_us:,.0f}",
            f"{r.created_cpu_us:,.0f}",
        )
        for r in rows
    ]
    table(header, cells)


def print_pages(found: Beside) -> None:
    watched = f"{PAGES} pages of the console ({', '.join(WATCHED)}, an order) that poll every {PAGE_SECONDS:.0f} s"
    print(f"\nCreateOrder over {PAGES_CONNECTIONS} connections beside {watched}")
    alone, beside = (statistics.quantiles(each, n=100) for each in (found.alone, found.beside))
    cells = [
        (name, f"{alone[cut] * 1_000:.1f}", f"{beside[cut] * 1_000:.1f}", f"{beside[cut] / alone[cut]:.2f}")
        for name, cut in (("p50", 49), ("p99", 98))
    ]
    table(("", "without ms", "with ms", "ratio"), cells)
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(Counter(status for status, _ in found.polls).items()))
    print(
        f"The pages were answered {statuses}; half of them within {statistics.median(seconds for _, seconds in found.polls) * 1_000:.1f} ms"
    )


def print_orders(rows: dict[str, Whole], null: float) -> None:
    print("\nWhole orders: create, event, read, OrderUpdated, until updated; ratio to the null route over 16 connections")
    header = ("", "orders", "orders/s", "ratio", "entries/order", "commits/order", "checkpoints")
    cells = [
        (
            name,
            f"{row.orders:,}",
            f"{row.a_second:,.0f}",
            f"{row.a_second / null:.3f}",
            f"{row.entries / row.orders:.1f}",
            f"{row.commits / row.orders:.2f}",
            f"{row.checkpoints}",
        )
        for name, row in rows.items()
    ]
    table(header, cells)


def print_appends(rows: list[Appended]) -> None:
    print("\nJournal entries a second, one caller, beside bare executemany of the same rows")
    header = ("entries/commit", "journal", "bare", "ratio", "journal CPU us", "bare CPU us")
    cells = [
        (
            f"{r.entries_a_commit:,}",
            f"{r.journal:,.0f}",
            f"{r.bare:,.0f}",
            f"{r.journal / r.bare:.3f}",
            f"{r.journal_cpu_us:,.1f}",
            f"{r.bare_cpu_us:,.1f}",
        )
        for r in rows
    ]
    table(header, cells)


def print_tree(grown: Grown) -> None:
    print("\nThe Merkle tree, microseconds of the processor an entry, beside bare hashes and bare rows")
    header = ("", "tree", "bare", "ratio")
    cells = [
        (name, f"{tree:.1f}", f"{bare:.1f}", f"{tree / bare:.2f}")
        for name, tree, bare in (
            ("hashes", grown.hash_us, grown.bare_hash_us),
            ("rows", grown.store_us, grown.bare_store_us),
            ("both", grown.us, grown.bare_us),
        )
    ]
    table(header, cells)


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tillproof-bench-") as name:
        folder = Path(name)
        print(
            f"Tillproof bench: {os.cpu_count()} processors, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
            f"a page and its fsync {measure_fsync(folder):.2f} ms, {serving.BLOCKING_THREADS} threads a server{_other_work()}"
        )
        clients = Clients()
        with server("tests.bench", "dojo", log=folder / "dojo.log") as dojo:
            with server("tests.bench", "null", log=folder / "null.log") as null, service(folder / "creates", dojo.port) as served:
                created = measure_creates(clients, null, served)
            print_creates(created)
            with service(folder / "pages", dojo.port, console := free_port()) as served:
                print_pages(measure_pages(clients, folder / "pages", served.port, console))
            with service(folder / "alone", dojo.port) as served:
                alone = measure_orders_alone(folder / "alone", served.port)
            with service(folder / "orders", dojo.port) as served:
                together = measure_orders(clients, folder / "orders", served.port)
            seconds, cpu_seconds = measure_start(folder / "orders", dojo.port)
        clients.close()
        null_route = next(row.null for row in created if row.connections == ORDERS_CONNECTIONS)
        print_orders({"one after the other": alone, f"{ORDERS_CONNECTIONS} connections": together}, null_route)
        cost = f"{seconds:.2f} s until it serves, {cpu_seconds:.2f} s of the processor"
        print(f"\nA start with the journal of {together.orders:,} orders: {cost}")
        print_appends([measure_append(folder, size) for size in APPEND_SIZES])
        print_tree(measure_tree(folder))
        print(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["dojo"]:
            asyncio.run(serve_dojo())
        case ["null"]:
            serve_null()
        case ["pages", port, told]:
            poll_pages(int(port), Path(told))
        case _:
            main()
