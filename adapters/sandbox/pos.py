"""Dojo's calls to the POS: Basic credentials as registered, a limit on everything, each call recorded."""

from __future__ import annotations

import queue
import threading

import msgspec
import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError

from adapters.sandbox.registry import Pos
from adapters.sandbox.traffic import UNANSWERED, Traffic
from workflow.money import Money

CALL_SECONDS = 10.0
"""Of one call in all; also of connecting, and of each wait for more of the answer."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024


class PosOrder(msgspec.Struct, frozen=True, rename="camel"):
    """What the flows look at in a POS's `Order`; everything else in it is passed over."""

    id: str
    reference: str | None = None
    payable: bool | None = None
    total_amount: Money | None = None
    paid_amount: Money | None = None
    tips_amount: Money | None = None


class PosOrders(msgspec.Struct, frozen=True):
    """What the flows look at in a `PagedOrdersResponse`."""

    data: tuple[PosOrder, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What came back: `status` 0 and a `problem` where no whole answer came."""

    status: int
    body: bytes = b""
    problem: str = ""

    @property
    def is_success(self) -> bool:
        """Any 2xx."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return self.problem or f"{self.status} {self.body[:200].decode(errors='replace')}".rstrip()


class PosClient:
    """Calls one POS on behalf of one Dojo product. Holds no connection, so any thread may use it."""

    def __init__(self, pos: Pos, *, product: str, traffic: Traffic) -> None:
        self._pos = pos
        self._product = product
        self._traffic = traffic

    def call(self, method: str, path: str, body: object = None, *, note: str = "") -> Answer:
        """Call the POS and record it; never longer than `CALL_SECONDS`. Failures are answers with status 0."""
        began = self._traffic.now()
        answer = self._within_time(method, path, body)
        noted = f"{note}: {answer.problem}" if answer.problem else note
        self._traffic.record("<-", method, path, status=answer.status, began=began, note=noted)
        return answer

    def _within_time(self, method: str, path: str, body: object) -> Answer:
        # A thread of its own, because `requests` limits each wait and not the whole: a POS that drips bytes would hold the flow.
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(self._ask(method, path, body)), name="call-to-pos", daemon=True).start()
        try:
            return answers.get(timeout=CALL_SECONDS)
        except queue.Empty:
            return Answer(UNANSWERED, problem=f"no whole answer within {CALL_SECONDS:.0f} s")

    def _ask(self, method: str, path: str, body: object) -> Answer:
        try:
            with requests.Session() as session, self._send(session, method, path, body) as response:
                return _read(response)
        except (requests.RequestException, HTTPError) as error:
            return Answer(UNANSWERED, problem=f"no answer ({type(error).__name__})")

    def _send(self, session: requests.Session, method: str, path: str, body: object) -> requests.Response:
        session.trust_env = False
        return session.request(
            method,
            self._pos.url.rstrip("/") + path,
            data=None if body is None else msgspec.json.encode(body),
            headers={"dojo-requesting-product": self._product, "content-type": "application/json"},
            auth=HTTPBasicAuth(self._pos.username.encode(), self._pos.password.encode()),
            timeout=CALL_SECONDS,
            allow_redirects=False,
            stream=True,
        )


def _read(response: requests.Response) -> Answer:
    body = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return Answer(UNANSWERED, problem=f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status_code, bytes(body))
