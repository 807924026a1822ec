"""Error answers as Dojo publishes them (`EPOSError`), on every path by which Flask can fail, and the reading of bodies.

`install` makes an application answer nothing but JSON; the adapters raise what went wrong and let it pass.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Mapping
from typing import Literal, TypeVar, cast

from flask import Flask, Response, g, has_app_context, request
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

from adapters.edge.strict_json import BODY, BadInput, BodyTooLarge, convert, printable, read_json, shown, visible, without_card_numbers
from adapters.edge.wire import Answer, encode
from workflow.errors import (
    JournalDamaged,
    JournalUnavailable,
    LockUnknown,
    LogHeld,
    NotOffered,
    Refused,
    UnknownBooking,
    UnknownCheckpoint,
    UnknownEntry,
    UnknownOrder,
    UnknownTask,
)
from workflow.journal.port import Receipt

T = TypeVar("T")
ErrorType = Literal["NotFound", "Conflict", "InvalidRequest", "UnexpectedError"]

RETRY_AFTER_SECONDS = 5
"""What a 503 asks callers to wait where the error has no wish of its own."""

MARKS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer that is not its server's own, unless it says otherwise itself: for no browser to guess, frame, follow or keep."""

HEALTH_PATH = "/healthz"
PROGRAMS = ("/api/", "/till/", "/static/", "/v1/")
"""Paths below which nobody reads pages: refusals are JSON there, whatever the caller says that it takes."""
UNKNOWN = (UnknownOrder, UnknownBooking, LockUnknown, UnknownTask, UnknownCheckpoint, UnknownEntry)
"""What is asked for is not here: 404, unlike everything else that is refused."""
_CHUNK = 65_536
_CUT_SHORT = "ended before it was complete"
_UTF8 = frozenset({"utf-8", "utf8"})

logger = logging.getLogger(__name__)


class EposError(Answer, frozen=True, kw_only=True):
    """The published `EPOSError`; `debug_message` holds no secrets and no personal data."""

    error_type: ErrorType
    debug_message: str
    trace_id: str


RECEIPT = "Tillproof-Receipt"
"""The header of an answer to whatever left an entry in the journal: JSON, `{"order_id", "order_seq", "hash"}` of its last one.

An answer that an order is as it was asked to be already has that of the order's newest entry.
"""

_as_json = json.JSONEncoder(separators=(",", ":")).encode  # In ASCII, whatever an order's id is.


def note_receipt(receipt: Receipt) -> None:
    """Let the answer to the present request, if there is one, carry the receipt."""
    if has_app_context():
        g.receipt = receipt


def error_answer(status: int, message: str, trace_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """An `EPOSError` with the type that goes with `status`, MARKS and `headers`. The message is made printable: it may repeat an id."""
    body = EposError(error_type=_error_type(status), debug_message=visible(message), trace_id=trace_id)
    return Response(encode(body), status, {**MARKS, **(headers or {})}, mimetype="application/json")


def trace_id() -> str:
    """The present request's id: in every answer's `X-Trace-Id`, every error body and every log line about it."""
    return cast(str, g.setdefault("trace_id", secrets.token_hex(8)))


def logged_path() -> str:
    """The present request's path as the log may have it: anybody may ask for anything, so without card numbers."""
    return without_card_numbers(request.path)


def is_for_people(path: str, accept: str) -> bool:
    """Whether a refusal at `path` is read by somebody at a browser, which says by `Accept` that it takes pages."""
    return "text/html" in accept and not f"{path}/".startswith(PROGRAMS)


def install(app: Flask) -> None:
    """Let `app` answer every failure with an `EPOSError`, mark every answer with its trace id and MARKS, and refuse what names no one host.

    BadInput and NotOffered are 400, BodyTooLarge 413, what is UNKNOWN 404, other Refused 409,
    JournalUnavailable, JournalDamaged and LogHeld 503 with `Retry-After`.
    Anything unforeseen is logged with its traceback and answered 500 without details.
    """
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # Else Flask answers OPTIONS with an empty page of HTML.
    app.before_request(_refuse_unclear_host)
    app.after_request(_mark)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(BadInput, lambda error: error_answer(400, str(error), trace_id()))
    app.register_error_handler(BodyTooLarge, lambda error: error_answer(413, str(error), trace_id()))
    for unknown in UNKNOWN:
        app.register_error_handler(unknown, lambda error: error_answer(404, str(error), trace_id()))
    app.register_error_handler(NotOffered, lambda error: error_answer(400, _not_offered(error), trace_id()))
    app.register_error_handler(Refused, lambda error: error_answer(409, str(error), trace_id()))
    app.register_error_handler(JournalUnavailable, _journal_unavailable)
    app.register_error_handler(JournalDamaged, _journal_damaged)
    app.register_error_handler(LogHeld, _log_held)
    app.register_error_handler(Exception, _unforeseen)


def json_body(type_: type[T], *, max_body: int, max_depth: int) -> T:
    """The present request's body as a `type_`.

    Raises UnsupportedMediaType for anything but plain `application/json` in UTF-8, BodyTooLarge before more than
    `max_body` + 1 bytes were read, and BadInput.
    """
    return convert(read_json(raw_body(max_body), max_body=max_body, max_depth=max_depth), type_)


def _refuse_unclear_host() -> None:
    """Raise BadRequest where HTTP/1.1 names no host, or anybody several, which servers join by commas: RFC 9112, section 3.2.

    Nothing here goes by the name, but a proxy may; whoever only asks for our health is no proxy's client, and may leave it out.
    """
    host = request.environ.get("HTTP_HOST", "")
    is_left_out = not host and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and request.path != HEALTH_PATH
    if is_left_out or "," in host:
        raise BadRequest("Host: expected one")


def _error_type(status: int) -> ErrorType:
    if status == 429 or status >= 500:
        return "UnexpectedError"
    types: dict[int, ErrorType] = {404: "NotFound", 409: "Conflict"}
    return types.get(status, "InvalidRequest")


def _mark(response: Response) -> Response:
    response.headers["X-Trace-Id"] = trace_id()
    if receipt := g.get("receipt"):
        response.headers[RECEIPT] = _as_json(receipt._asdict())
    for name, value in MARKS.items():
        response.headers.setdefault(name, value)
    return response


def http_error(error: HTTPException) -> Response:
    """A refusal of the framework's as an `EPOSError`."""
    # Only texts given at the raise are repeated: the framework's own are prose for browsers.
    message = str(vars(error).get("description", error.name.lower()))
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    return error_answer(error.code or 500, message, trace_id(), headers)


def _not_offered(error: NotOffered) -> str:
    return f"{error.field}: {shown(error.value)}{f' ({printable(error.name)})' if error.name else ''} {error.reason}"


def _journal_unavailable(error: JournalUnavailable) -> Response:
    # What has a name is told at length where it begins: a line for each caller must not fill up the disk that is full.
    facts = {"trace_id": trace_id(), "code": error.code, "error": str(error)}
    logger.warning("journal was unavailable", extra=facts, exc_info=None if error.code else error)
    wait = RETRY_AFTER_SECONDS if error.after_seconds is None else math.ceil(error.after_seconds)
    why = f" ({error.code})" if error.code else ""
    what = "whether this was stored is unknown: send the same again" if error.is_unknown else "nothing was changed"
    return error_answer(503, f"the journal is unavailable{why}, {what}", trace_id(), {"Retry-After": str(wait)})


def _journal_damaged(error: JournalDamaged) -> Response:
    logger.error("journal is damaged", extra={"trace_id": trace_id()}, exc_info=error)
    message = "the journal is damaged, nothing was changed; a person must look"
    return error_answer(503, message, trace_id(), {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _log_held(error: LogHeld) -> Response:
    return error_answer(503, str(error), trace_id(), {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _unforeseen(error: Exception) -> Response:
    logger.error("request failed", extra={"trace_id": trace_id()}, exc_info=error)
    return error_answer(500, "unexpected error", trace_id())


def _refuse_other_content() -> None:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("expected Content-Type application/json")
    if request.mimetype_params.get("charset", "utf-8").lower() not in _UTF8:
        raise UnsupportedMediaType("expected charset utf-8")
    if request.headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType("expected no Content-Encoding")
    if (
        request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked"
    ):  # A server may see to this itself, or leave it to us.
        raise UnsupportedMediaType("expected no Transfer-Encoding but chunked")


def raw_body(max_body: int) -> bytes:
    """The present request's JSON body as it came. Raises UnsupportedMediaType, BodyTooLarge, BadInput where it is cut short."""
    _refuse_other_content()
    if (request.content_length or 0) > max_body:
        raise BodyTooLarge(max_body)
    # A chunked body has no length: it is read to its end or one byte too far. A server that does not end such a stream
    # itself (`wsgi.input_terminated`) gets an empty one from Werkzeug. A read may bring less than it was asked for. Granian
    # does not tell a stream that broke off from one that ended: what JSON came whole is then read, the rest is cut short.
    pieces: list[bytes] = []
    missing = max_body + 1
    try:
        while missing and (piece := request.stream.read(min(missing, _CHUNK))):
            pieces.append(piece)
            missing -= len(piece)
    except (OSError, ValueError) as error:  # What servers raise for broken chunks and closed connections.
        raise BadInput(BODY, _CUT_SHORT) from error
    body = b"".join(pieces)
    if len(body) < (request.content_length or 0):
        raise BadInput(BODY, _CUT_SHORT)
    return body
