"""The service beside a simulator on this machine: a process of its own, started exactly as an operator starts it."""

from __future__ import annotations

import os
import random
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from adapters.cli.output import Exit, Failure
from adapters.dojo.client import DojoClient, DojoSettings
from adapters.sandbox import Sandbox
from workflow.journal.reads import SqliteReads

START_SECONDS = 60.0
POLL_SECONDS = 0.02
STOP_SECONDS = 12.0
REST_SECONDS = 10.0
HOST = "127.0.0.1"
PORTS, PORTS_TRIED = range(10_000, 32_000), 100
"""Where ports are sought: below those that the kernel hands out by itself, as it comes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo's service keeps its files and listens, and its secrets of this one run."""

    folder: Path
    dojo_side: int
    venue_side: int
    password: str
    tokens: dict[str, str]

    @property
    def journal(self) -> Path:
        """The journal of this run."""
        return self.folder / "tillproof.db"

    @property
    def venue_url(self) -> str:
        """The venue's side."""
        return f"http://{HOST}:{self.venue_side}"

    @property
    def public_url(self) -> str:
        """Dojo's side, as registered."""
        return f"http://{HOST}:{self.dojo_side}"


def place(folder: Path) -> Place:
    """Free ports and fresh secrets, files in `folder`."""
    tokens = {role: secrets.token_urlsafe(12) for role in ("till", "auditor", "operator")}
    dojo_side, venue_side = _free_ports(2)
    return Place(folder, dojo_side, venue_side, secrets.token_urlsafe(16), tokens)


def _free_ports(count: int) -> Iterator[int]:
    """Ports that nobody has. The kernel's own choice would be one that it gives to somebody's call while the service starts."""
    for port in random.sample(PORTS, PORTS_TRIED):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            yield port
            if not (count := count - 1):
                return
    raise Failure(Exit.UNREACHABLE, f"no port of {HOST} can be listened on", "tillproof doctor")


def let_rest(reads: SqliteReads) -> None:
    """Wait until nothing is on its way to Dojo any more, the last `OrderUpdated` included; but not for ever."""
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline and (reads.tasks("leased", 1) or reads.tasks("pending", 1)):
        time.sleep(POLL_SECONDS)


def dojo_client(sandbox: Sandbox) -> DojoClient:
    """A client of the simulator."""
    return DojoClient(DojoSettings(url=sandbox.url, api_key=sandbox.api_key, software_house_id="sh_demo"))


@contextmanager
def service(place: Place, sandbox: Sandbox) -> Iterator[None]:
    """The service as a process; its log goes beside the journal and is shown if it does not start."""
    log = place.folder / "service.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "app", "serve"], env=_environment(place, sandbox), stdout=stream, stderr=stream)
    try:
        _await_ready(place, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _environment(place: Place, sandbox: Sandbox) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("TILLPROOF_")}
    return own | {
        "TILLPROOF_LISTEN": f"{HOST}:{place.dojo_side}",
        "TILLPROOF_CONSOLE_LISTEN": f"{HOST}:{place.venue_side}",
        "TILLPROOF_PUBLIC_URL": place.public_url,
        "TILLPROOF_JOURNAL": str(place.journal),
        "TILLPROOF_DOJO_URL": sandbox.url,
        "TILLPROOF_DOJO_API_KEY": sandbox.api_key,
        "TILLPROOF_SOFTWARE_HOUSE_ID": "sh_demo",
        "TILLPROOF_EPOS_USERNAME": "epos-demo",
        "TILLPROOF_EPOS_PASSWORD": place.password,
        "TILLPROOF_TOKENS": ",".join(f"{role}:{role}-demo:{token}" for role, token in place.tokens.items()),
        "TILLPROOF_ENV": "test",
    }


def _await_ready(place: Place, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(requests.RequestException):  # Nobody listens yet, or a busy machine has not answered in a second.
            if requests.get(f"{place.venue_url}/readyz", timeout=1).ok:
                return
        time.sleep(POLL_SECONDS)
    raise Failure(Exit.FOUND, f"the service did not start:\n{log.read_text()}", "tillproof doctor")
