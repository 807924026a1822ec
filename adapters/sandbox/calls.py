"""One call of Dojo's to somebody else: never longer than `CALL_SECONDS`, never more than `MAX_ANSWER_BYTES` of answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError

from adapters.sandbox.traffic import UNANSWERED

CALL_SECONDS = 10.0
"""Of one call in all; also of connecting, and of each wait for more of the answer."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is sent: the body as bytes, because a signature covers them."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    auth: HTTPBasicAuth | None = None


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


def answer_to(call: Call) -> Answer:
    """Make the call. Failures are answers with status 0; a redirect is an answer and is not followed."""
    # A thread of its own, because `requests` limits each wait and not the whole: a receiver that drips bytes would hold the flow.
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask(call)), name="call-to-pos", daemon=True).start()
    try:
        return answers.get(timeout=CALL_SECONDS)
    except queue.Empty:
        return Answer(UNANSWERED, problem=f"no whole answer within {CALL_SECONDS:.0f} s")


def _ask(call: Call) -> Answer:
    try:
        with requests.Session() as session, _send(session, call) as response:
            return _read(response)
    except (requests.RequestException, HTTPError) as error:
        return Answer(UNANSWERED, problem=f"no answer ({type(error).__name__})")


def _send(session: requests.Session, call: Call) -> requests.Response:
    session.trust_env = False
    return session.request(
        call.method,
        call.url,
        data=call.body,
        headers=call.headers,
        auth=call.auth,
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
