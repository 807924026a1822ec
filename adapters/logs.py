"""The log: one JSON object a line, from every logger, warning and uncaught exception of the process; secrets masked.

The journal is the record; the log says what the process was doing.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from workflow.clock import Clock, to_text

if TYPE_CHECKING:
    from types import TracebackType

VALUE_CHARACTERS = 4_096
"""Longer texts are cut: messages and fields at their end, exceptions at their beginning, since the last lines say most."""
FIELDS_LIMIT = 32
"""Of one record, this many extra fields are written."""
MASK = "***"
FIRST_FIELDS = ("trace_id", "order_id", "payment_intent_id")
THIRD_PARTIES = ("_granian", "granian.access", "cheroot", "werkzeug", "urllib3", "transitions")

_OWN_ATTRIBUTES = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_RESERVED = frozenset({"at", "level", "event", "exception", "stack"})

logger = logging.getLogger(__name__)


def configure(stream: TextIO, level: int | str, clock: Clock, *, secrets: Iterable[str] = ()) -> None:
    """Send everything that the process logs to `stream`, nothing anywhere else; call it again to replace the last call.

    Also takes over Python's warnings and the exceptions that nobody caught, of threads and finalisers too. Third parties
    speak from WARNING up. `secrets` are replaced by `***` wherever they would appear.
    """
    handler = _Handler(stream, clock)
    handler.setFormatter(JsonLines(clock, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in THIRD_PARTIES:
        third_party = logging.getLogger(name)
        third_party.handlers.clear()
        third_party.propagate = True
        third_party.setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(capture=True)
    _take_uncaught_exceptions()


class JsonLines(logging.Formatter):
    """One record as one line of JSON: `at`, `level`, `event`, the well-known ids, other fields, `exception`.

    A field given as `extra` under one of the fixed names gets an underscore in front. The line is pure ASCII without
    control characters, whatever the record holds.
    """

    def __init__(self, clock: Clock, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._clock = clock
        # The longest first: of two secrets, one may be part of the other.
        found = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, found))) if found else None

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "at": to_text(self._clock.now()),
            "level": record.levelname,
            "event": self._head(_message(record)),
        }
        line.update((name, self._value(value)) for name, value in _extra_fields(record))
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self._tail("".join(traceback.format_exception(*record.exc_info)))
        if record.stack_info:
            line["stack"] = self._tail(record.stack_info)
        return json.dumps(line).replace("\x7f", "\\u007f")

    def _value(self, value: object) -> object:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float) and abs(value) < float("inf"):
            return value
        return self._head(str(value))

    def _head(self, text: str) -> str:
        masked = self._masked(text)
        return masked if len(masked) <= VALUE_CHARACTERS else masked[:VALUE_CHARACTERS] + "…"

    def _tail(self, text: str) -> str:
        masked = self._masked(text).rstrip("\n")
        return masked if len(masked) <= VALUE_CHARACTERS else "…" + masked[-VALUE_CHARACTERS:]

    def _masked(self, text: str) -> str:
        return self._secrets.sub(MASK, text) if self._secrets else text


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the stream; never prints a traceback of its own."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream)
        self._clock = clock

    def handleError(self, record: logging.LogRecord) -> None:
        """Say in one line that a record could not be written, such as one whose field raises when made a text."""
        lost = {"at": to_text(self._clock.now()), "level": "ERROR", "event": "log record lost", "logger": record.name}
        with suppress(OSError, ValueError):  # The stream itself is broken: there is nowhere left to say so.
            self.stream.write(json.dumps(lost) + self.terminator)
            self.flush()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # The arguments do not fit the format: better both than neither.
        return f"{record.msg} {record.args!r}"


def _extra_fields(record: logging.LogRecord) -> list[tuple[str, object]]:
    extra = {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES}
    first = {name: extra.pop(name) for name in FIRST_FIELDS if name in extra}
    named = {f"_{name}" if name in _RESERVED else name: value for name, value in (first | extra).items()}
    return list(named.items())[:FIELDS_LIMIT]


def _take_uncaught_exceptions() -> None:
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        logger.info("process interrupted")
    else:
        logger.critical("exception not caught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None or issubclass(arguments.exc_type, SystemExit):
        return
    thread = arguments.thread.name if arguments.thread else "unknown"
    trace = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    logger.critical("exception not caught in thread", exc_info=trace, extra={"thread_name": thread})


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    trace = (unraisable.exc_type, error, unraisable.exc_traceback) if error else None
    where = {"where": unraisable.err_msg or "exception ignored", "object_type": type(unraisable.object).__name__}
    logger.error("exception ignored", exc_info=trace, extra=where)
