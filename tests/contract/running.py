"""The program as an operator runs it: `python -m app serve` as a process of its own, and what is needed to talk to it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from jsonschema import Draft202012Validator

from adapters.capabilities import wanted
from adapters.dojo.client import DojoClient, DojoSettings
from adapters.sandbox import Sandbox
from workflow.clock import SystemClock
from workflow.journal.keys import load_or_make_key
from workflow.journal.reads import SqliteReads
from workflow.replay import replay, verify

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds after which a wait has failed. Nothing takes nearly as long, but a start of our program where ten others run as well."""
STOP_SECONDS = 10.0
"""INTERFACE §2: SIGTERM drains within them."""

KEY = "sk_sandbox_contract"
SOFTWARE_HOUSE_ID = "sh_contract"
USERNAME, PASSWORD = "epos-contract", "pass:wörd with spaces"
TOKENS = {"till": "tok-till-4711", "auditor": "tok-auditor-4712", "operator": "tok-operator-4713"}

T = TypeVar("T")


def eventually(claim: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `claim` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


PORTS = range(10_000, 32_000)
"""Below those that the kernel hands out: a port that is free for a moment is so until somebody here takes it."""


MARKS = 200
"""So many ports are kept from others by this process, longer than it takes any program to bind them."""
_marks: deque[socket.socket] = deque()


def free_port() -> int:
    """A port that nobody has, and that no other process which draws here is given. Drawn at random, since several draw at once.

    Between this and the moment at which a program takes it nobody listens there, after a restart neither: the mark is the UDP port.
    """
    while True:
        port, mark = secrets.choice(PORTS), socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError), socket.socket() as probe:
            mark.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            _marks.append(mark)
            while len(_marks) > MARKS:
                _marks.popleft().close()
            return port
        mark.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One side of the service. Paths go out exactly as given, one connection a call."""

    def __init__(self, port: int, authorization: str | None) -> None:
        self.port, self.authorization = port, authorization

    def call(self, method: str, path: str, body: object = None, **headers: str | None) -> Reply:
        """Bytes go as they are, anything else as JSON; a header of None is not sent, `content_type` is `Content-Type`."""
        given = {"authorization": self.authorization, "content_type": None if body is None else "application/json"} | headers
        sent = {name.replace("_", "-").title(): value for name, value in given.items() if value is not None}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.connect()
            with suppress(BrokenPipeError, ConnectionResetError):  # Refused before the body was through: the answer is there.
                connection.request(method, path, raw, sent)
            response = connection.getresponse()
            return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Reply:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: object, **headers: str | None) -> Reply:
        return self.call("POST", path, body, **headers)


class Service:
    """A service in `folder`, started by `start`. `settings` are names without their prefix."""

    program = "app"

    def __init__(self, folder: Path, dojo_url: str = "http://127.0.0.1:9", **settings: object) -> None:
        self.folder, self.log_path = folder, folder / "service.log"
        self.ports = free_port(), free_port()
        self.settings = {
            "LISTEN": f"127.0.0.1:{self.ports[0]}",
            "CONSOLE_LISTEN": f"127.0.0.1:{self.ports[1]}",
            "PUBLIC_URL": f"http://127.0.0.1:{self.ports[0]}",
            "JOURNAL": folder / "tillproof.db",
            "DOJO_URL": dojo_url,
            "DOJO_API_KEY": KEY,
            "SOFTWARE_HOUSE_ID": SOFTWARE_HOUSE_ID,
            "EPOS_USERNAME": USERNAME,
            "EPOS_PASSWORD": PASSWORD,
            "TOKENS": ",".join(f"{role}:{role}-1:{token}" for role, token in TOKENS.items()),
            "RETRY_BASE_MS": 60,
            "RETRY_CAP_MS": 500,
            "CALL_DEADLINE_MS": 1500,
            "LEASE_S": 3,
            "REQUESTS_PER_SECOND": 10_000,  # Tests ask more than any venue does.
            "ENV": "test",
        } | settings
        self.journal, self.witness = Path(str(self.settings["JOURNAL"])), Path(f"{self.settings['JOURNAL']}.witness")
        self.dojo = Client(self.ports[0], basic(USERNAME, PASSWORD))
        self.open = Client(self.ports[1], None)
        self.till, self.auditor, self.operator = (Client(self.ports[1], f"Bearer {token}") for token in TOKENS.values())
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.settings)

    def launch(self, program: Sequence[str] = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start the process, a group of its own, and do not wait. The one before, if there was one, has its addresses no more."""
        if self.process and self.process.poll() is not None:
            eventually(lambda: all(map(_is_free, self.ports)))  # A worker that was killed ends after its parent, thread by thread.
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(program or ("-m", self.program, "serve"))],
                cwd=self.folder,
                **{"env": self.environment, "stdout": log, "stderr": log, "start_new_session": True} | options,
            )
        return self.process

    def start(self, *, ready: int = 200, **options: Any) -> Service:
        """Start, and wait until `/readyz` answers with `ready`."""
        before = self.log_path.stat().st_size if self.log_path.exists() else 0
        process = self.launch(**options)

        def is_ready() -> bool:
            assert process.poll() is None, f"serve ended with {process.returncode}:\n{self.log_path.read_text()}"
            if b'"address bound"' not in self.log_path.read_bytes()[before:]:
                return False  # Whoever answers at its addresses is somebody else.
            with suppress(OSError):
                return self.open.get("/readyz").status == ready
            return False

        eventually(is_ready)
        return self

    def stop(self) -> int:
        """SIGTERM; the exit code, which must come in time."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def exit_code(self, seconds: float = PATIENCE) -> int:
        """How the process ended by itself."""
        assert self.process
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End the whole group, if any of it is left."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def log(self) -> list[dict[str, Any]]:
        """Every whole line of the log; one that is no JSON is an error."""
        return [json.loads(line) for line in self.log_path.read_text().rpartition("\n")[0].splitlines()]

    # -- what is stored

    @cached_property
    def reads(self) -> SqliteReads:
        return SqliteReads(self.journal)

    def entries(self, order_id: str) -> list[dict[str, Any]]:
        """The order's entries, as an auditor gets them."""
        found: list[dict[str, Any]] = self.auditor.get(f"/api/orders/{order_id}/journal").json
        return found

    def path_of(self, order_id: str) -> list[str]:
        """The states that the order went through."""
        return [entry["to_state"] for entry in self.entries(order_id) if entry["machine"].startswith("order@")]

    def order(self, order_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.auditor.get(f"/api/orders/{order_id}").json
        return found

    def await_state(self, order_id: str, state: str) -> dict[str, Any]:
        """The order once it has come there."""
        return eventually(lambda: order if (order := self.order(order_id))["state"] == state else None)

    def tasks(self, order_id: str) -> list[dict[str, Any]]:
        """The tasks of the order, whatever became of them."""
        return [task for task in self.auditor.get("/api/outbox?limit=500").json["data"] if task["orderId"] == order_id]

    def await_rest(self) -> None:
        """Wait until the outbox has nothing more to send."""
        eventually(lambda: not self.reads.rows("SELECT 1 FROM outbox WHERE status IN ('pending', 'leased')"))

    def assert_whole(self) -> None:
        """The journal verifies, signatures and witness included, and replay equals what is stored."""
        verified = verify(self.reads, self.witness, load_or_make_key(Path(f"{self.journal}.key")).public_key(), SystemClock())
        assert verified.first_bad is None
        assert verified.witness_ok
        assert replay(self.reads).mismatches == []


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # What lingers of a connection is in nobody's way.
        probe.bind(("127.0.0.1", port))
        return True
    return False


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's environment with these settings and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TILLPROOF_")}
    return own | {"PYTHONPATH": str(ROOT)} | {f"TILLPROOF_{name}": str(value) for name, value in settings.items()}


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@contextmanager
def running(folder: Path, dojo_url: str = "http://127.0.0.1:9", **settings: object) -> Iterator[Service]:
    """A service that is ready, and ended afterwards, whatever happens. Without `dojo_url`, Dojo is out of reach."""
    service = Service(folder, dojo_url, **settings)
    try:
        yield service.start()
    finally:
        service.kill()


@contextmanager
def beside_sandbox(folder: Path, sandbox: Sandbox | None = None, **settings: object) -> Iterator[SimpleNamespace]:
    """A `service` that is registered at a `sandbox`, both running, and ended afterwards."""
    sandbox = sandbox or Sandbox(api_key=KEY, step_seconds=10, event_back_off_seconds=0.02)
    sandbox.start()
    try:
        with running(folder, sandbox.url, **settings) as service:
            register(service, sandbox)
            yield SimpleNamespace(sandbox=sandbox, service=service)
    finally:
        sandbox.stop()


def where_it_is_noon() -> str:
    """A TIMEZONE in which no midnight is near, whenever the tests run."""
    hours = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"


def register(service: Service, sandbox: Sandbox) -> None:
    """Tell the sandbox where the service is and what it serves, as `tillproof caps register` does."""
    url = str(service.settings["DOJO_URL"])
    client = DojoClient(DojoSettings(url=url, api_key=sandbox.api_key, software_house_id=SOFTWARE_HOUSE_ID))
    client.register(wanted(str(service.settings["PUBLIC_URL"]), USERNAME, PASSWORD))
    client.close()


# -- what is answered


def published(specs: Path) -> Callable[[str, Any], Any]:
    """A function that gives a body back, and fails where it is not what the published schema of that name says."""
    components = json.loads((specs / "epos-data-api.json").read_text("utf-8"))["components"]

    def check(schema: str, body: Any) -> Any:
        checker = Draft202012Validator.FORMAT_CHECKER
        Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": components}, format_checker=checker).validate(body)
        return body

    return check


def is_refused(reply: Reply, status: int) -> str:
    """Checks that an answer is an EPOSError of that status, and gives its message."""
    assert reply.status == status, reply.body
    assert set(reply.json) == {"errorType", "debugMessage", "traceId"}
    assert reply.json["errorType"] == {404: "NotFound", 409: "Conflict"}.get(status, "InvalidRequest")
    assert reply.json["traceId"] == reply.headers["x-trace-id"] != ""
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    message: str = reply.json["debugMessage"]
    return message


# -- databases


def sqlite(path: Path, *statements: str) -> list[list[tuple[Any, ...]]]:
    """Run statements as a stranger with another program would; the rows of each."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements]


def whole_copy(source: Path, target: Path) -> Path:
    """A consistent copy of a database that may be in use, as a backup tool makes it."""
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
    return target


# -- requests that are valid by default


def gbp(value: int) -> dict[str, object]:
    return {"value": value, "currencyCode": "GBP"}


def an_order(
    dojo_order_id: str, *, total: int = 1200, intent_id: str | None = None, table: str = "tbl_1", **changes: object
) -> dict[str, Any]:
    """A CreateOrderRequest; with `intent_id` it is paid by that intent, otherwise it is paid later."""
    payments = [{"paymentIntentId": intent_id, "paidAmount": gbp(total)}] if intent_id else []
    return a_bill(total=total, table=table) | {"dojoOrderId": dojo_order_id, "payments": payments} | changes


def a_bill(*, total: int = 1200, table: str = "tbl_1", **changes: object) -> dict[str, Any]:
    """What the till posts to open an order."""
    item = {"plu": "PIZ-04", "name": "Margherita", "quantity": 1, "amountPerItem": gbp(total)}
    details = {"orderType": "DineIn", "dineIn": {"tableId": table}}
    return {"details": details, "items": [item], "totalAmount": gbp(total)} | changes


def lock_for_a_moment(service: Service, order_id: str) -> str:
    """Lock the order as `L-1` with an expiry that is over soon; asked for until it comes there in time. The expiry."""

    def locked() -> str:
        expiry = (datetime.now(UTC) + timedelta(milliseconds=200)).isoformat()
        return expiry if service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": "L-1", "expiry": expiry}).status == 200 else ""

    return eventually(locked)


def an_event(event_id: str, intent_id: str, status: str = "Captured", **changes: object) -> dict[str, Any]:
    """A payment_intent.status_updated event."""
    data = {"paymentIntentId": intent_id, "paymentStatus": status, "captureMode": "Manual"}
    event = {"id": event_id, "accountId": "acc_1", "event": "payment_intent.status_updated", "createdAt": "2026-03-14T12:01:09.8667859Z"}
    return event | {"data": data} | changes
