"""What really went over the wire between a service and a sandbox, beside Dojo's published schemas.

Two lines, one in front of each program, pass bytes on as they come, broken-off answers included; what they carried is read afterwards.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException, HTTPResponse, parse_headers
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator, FormatChecker

from adapters.sandbox.server import GARBAGE

NEVER = 0
"""Stands for the status of an answer that did not come, or not whole."""

EVENT: dict[str, Any] = {  # Contract §5.1: the published REST document has the tag `Events`, but neither the path nor the body.
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "accountId", "event", "createdAt", "data"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "accountId": {"type": "string", "minLength": 1},
        "event": {"type": "string", "minLength": 1},
        "createdAt": {"type": "string", "format": "date-time"},
        "data": {
            "type": "object",
            "additionalProperties": False,
            "required": ["paymentIntentId", "paymentStatus", "captureMode"],
            "properties": {
                "paymentIntentId": {"type": "string", "minLength": 1},
                "paymentStatus": {"enum": ["Created", "Authorized", "Captured", "Reversed", "Refunded", "Canceled"]},
                "captureMode": {"enum": ["Auto", "Manual"]},
            },
        },
    },
}
NOTHING: dict[str, Any] = {"type": "object", "maxProperties": 0}
ERRORS = {"epos-data-api": "EPOSError", "dojo-api": "ProblemDetails"}
"""What either side answers with any error that its document does not list."""

FORMATS = FormatChecker(formats=())
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
SIGNATURE = re.compile(r"sha256=[0-9A-F]{2}(-[0-9A-F]{2}){31}")


@FORMATS.checks("date-time", raises=ValueError)
def _is_a_moment(text: object) -> bool:
    if not isinstance(text, str):
        return True
    datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return bool(RFC3339.fullmatch(text))


@FORMATS.checks("int64")
def _is_int64(number: object) -> bool:
    return not isinstance(number, int) or -(2**63) <= number < 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer; header names in lower case. `status` is NEVER where no whole answer came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    status: int = NEVER
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""


class Line:
    """A port of its own that passes everything on to `target` on loopback, and keeps it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._connections: list[_Connection] = []
        self._server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up on everybody."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def take(self) -> list[Exchange]:
        """What has ended since this was asked last."""
        return [exchange for connection in list(self._connections) for exchange in connection.take()]

    async def _hang_up(self) -> None:
        self._server.close()
        ours = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not ours]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection()
        self._connections.append(connection)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer, connection.asked), _pump(far_reader, writer, connection.answered))
        except asyncio.CancelledError:
            pass  # The line was closed.
        finally:
            connection.is_over = True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


class _Bytes(io.BytesIO):
    """Bytes as the socket and the file that `HTTPResponse` wants; it closes the file after each answer."""

    def makefile(self, mode: str) -> _Bytes:
        return self

    def close(self) -> None:
        pass


class _Connection:
    def __init__(self) -> None:
        self.asked, self.answered, self.is_over = bytearray(), bytearray(), False
        self._asked_read = self._answered_read = 0

    def take(self) -> Iterator[Exchange]:
        is_over, answered, asked = self.is_over, _Bytes(self.answered), _Bytes(self.asked)  # In this order: it may go on meanwhile.
        asked.seek(self._asked_read)
        answered.seek(self._answered_read)
        while request := _request(asked):
            exchange = _with_answer(request, answered)
            if exchange.status == NEVER and not is_over:
                return
            self._asked_read, self._answered_read = asked.tell(), answered.tell()
            yield exchange


def _request(stream: _Bytes) -> Exchange | None:
    """The next whole request."""
    line = stream.readline().decode("latin-1").split()
    if not line:
        return None
    headers = _headers(parse_headers(stream))
    assert "transfer-encoding" not in headers, f"{line} came in chunks, which this cannot read"
    length = int(headers.get("content-length", "0"))
    body = stream.read(length)
    if len(body) < length:
        return None
    target = urlsplit(line[1])
    return Exchange(method=line[0], path=target.path, query=parse_qs(target.query), headers=headers, body=body)


def _with_answer(request: Exchange, stream: _Bytes) -> Exchange:
    response = HTTPResponse(stream, method=request.method)  # type: ignore[arg-type]  # It asks for nothing but `makefile`.
    try:
        response.begin()
        answer = response.read()
    except (HTTPException, OSError):
        return request
    given = {name: getattr(request, name) for name in ("method", "path", "query", "headers", "body")}
    return Exchange(**given, status=response.status, answer_headers=_headers(response.headers), answer=answer)


def _headers(message: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in message.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One published operation: the schemas of its request (None: no body) and of its answers by status."""

    name: str
    document: str
    pattern: re.Pattern[str]
    request: dict[str, Any] | None
    answers: dict[str, dict[str, Any] | None]
    required: tuple[tuple[str, str], ...] = ()


class Contract:
    """Dojo's two documents; `check` fails for what they do not say, and `seen` counts the bodies by operation."""

    def __init__(self, specs: Path, *, api_key: str, software_house_id: str, username: str, password: str) -> None:
        self._documents = {name: _closed(json.loads((specs / f"{name}.json").read_text("utf-8"))) for name in ERRORS}
        self._operations = {name: list(_operations(name, document)) for name, document in self._documents.items()}
        self._operations["epos-data-api"] += [_event_operation(path) for path in ("/v1/events", "/webhooks/dojo")]
        self._headers = {
            "dojo-api": {"authorization": f"Basic {api_key}", "version": "2026-02-27", "software-house-id": software_house_id},
            "epos-data-api": {"authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()},
        }
        self.seen: Counter[str] = Counter()

    def check(self, document: str, exchange: Exchange) -> None:
        """The request to the server of this document, and its answer, are as published."""
        told = f"{exchange.method} {exchange.path}"
        operation = next((each for each in self._operations[document] if each.pattern.fullmatch(told)), None)
        assert operation, f"{told} is no operation of {document}"
        self._check_headers(operation, exchange)
        self._check_body(operation, f"request of {told}", operation.request, exchange.headers, exchange.body)
        if exchange.status == NEVER or exchange.answer == GARBAGE:
            assert document == "dojo-api", f"{told} got no whole answer, and only the sandbox is ever told to spoil one"
            self.seen[f"{operation.name} (spoiled on purpose)"] += 1
            return
        where = f"answer {exchange.status} to {told}"
        self._check_body(operation, where, _answer(operation, exchange.status), exchange.answer_headers, exchange.answer)
        self.seen[f"{operation.name} {exchange.status}"] += 1

    def _check_headers(self, operation: Operation, exchange: Exchange) -> None:
        """Contract §4.1 to Dojo, §4.2 and §5.3 from Dojo, and what the document calls required."""
        wanted = {} if operation.name.endswith("/webhooks/dojo") else self._headers[operation.document]
        for name, value in wanted.items():
            assert exchange.headers.get(name) == value, f"{operation.name}: header {name} is not as it must be"
        if operation.name.endswith("/webhooks/dojo"):
            assert SIGNATURE.fullmatch(exchange.headers.get("dojo-signature", "")), f"{operation.name}: not signed"
        if operation.name == "GET /payment-intents/{paymentIntentId}":
            assert exchange.query == {"returnCanceled": ["true"]}, "a cancelled intent would not be found (contract §7.1)"
        for place, name in operation.required:
            given = exchange.headers if place == "header" else exchange.query
            assert name.lower() in given, f"{operation.name}: {place} {name} is required"

    def _check_body(self, operation: Operation, where: str, schema: dict[str, Any] | None, headers: dict[str, str], body: bytes) -> None:
        if schema is None:
            assert body == b"", f"{where} has a body, and none is published"
            return
        kind = headers.get("content-type", "")
        assert kind.split(";")[0] in {"application/json", "application/problem+json"}, f"{where} is {kind!r}"
        components = self._documents[operation.document]["components"]
        problems = Draft202012Validator({**schema, "components": components}, format_checker=FORMATS).iter_errors(json.loads(body))
        first = next(problems, None)
        assert first is None, f"{where} breaks its schema at {first.json_path}: {first.message}\n{body.decode()}"


def _closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every object closed that leaves it open: both sides send what it names and nothing else."""
    parts = list(_parts(document["components"]["schemas"]))
    shared = [each for part in parts for each in part.get("allOf", ())]  # What is part of a whole stays open; the whole is closed.
    named = {each["$ref"].split("/")[-1] for each in shared if "$ref" in each}
    stay_open = [id(each) for each in shared] + [id(document["components"]["schemas"][name]) for name in named]
    for part in parts:
        is_object = isinstance(part.get("properties"), dict) and part.get("type") == "object"
        if (is_object or "allOf" in part) and "additionalProperties" not in part and id(part) not in stay_open:
            part["unevaluatedProperties"] = False
    return document


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        if isinstance(each, dict):
            yield each
        yield from _parts(each)


def _operations(document: str, specification: dict[str, Any]) -> Iterator[Operation]:
    parameters = specification["components"].get("parameters", {})
    for path, methods in specification["paths"].items():
        for method, published in methods.items():
            if method not in {"get", "put", "post", "patch", "delete"}:
                continue
            asked = [parameters.get(each.get("$ref", "").split("/")[-1], each) for each in published.get("parameters", [])]
            required = [each for each in asked if each.get("required") and each["in"] in {"header", "query"}]
            yield Operation(
                name=f"{method.upper()} {path}",
                document=document,
                pattern=re.compile(f"{method.upper()} " + re.sub(r"\\{\w+\\}", r"[^/]+", re.escape(path))),
                request=_schema(published.get("requestBody", {})),
                answers={status: _schema(answer) for status, answer in published["responses"].items()},
                required=tuple((each["in"], each["name"]) for each in required),
            )


def _schema(published: dict[str, Any]) -> dict[str, Any] | None:
    content = published.get("content", {})
    return next((kind["schema"] for kind in content.values()), None)


def _event_operation(path: str) -> Operation:
    pattern, answers = re.compile(re.escape(f"POST {path}")), {"200": NOTHING}
    return Operation(name=f"POST {path}", document="epos-data-api", pattern=pattern, request=EVENT, answers=answers)


def _answer(operation: Operation, status: int) -> dict[str, Any] | None:
    for name in (str(status), f"{status // 100}XX"):
        if name in operation.answers:
            return operation.answers[name]
    assert status >= 400, f"{operation.name} is not published to answer {status}"
    return {"$ref": f"#/components/schemas/{ERRORS[operation.document]}"}
