"""The log: one JSON object a line whatever is logged, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters import logs

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 14, 12, 1, 7, 120_999, tzinfo=UTC)


class StoppedClock:
    def now(self):
        return NOON

    def monotonic(self):
        return 0.0


@pytest.fixture
def stream():
    """A configured log, and afterwards the process's logging as it was."""
    root = logging.getLogger()
    before = (root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    levels = {name: logging.getLogger(name).level for name in logs.THIRD_PARTIES}
    stream = io.StringIO()
    logs.configure(stream, "INFO", StoppedClock(), secrets=("hunter2", "hunter2-and-more", ""))
    test = threading.get_ident()
    for handler in root.handlers:
        if isinstance(handler.formatter, logs.JsonLines):
            handler.addFilter(lambda record: record.thread == test)  # A thread that another test left may have its say as well.
    yield stream
    logging.captureWarnings(capture=False)
    level, sys.excepthook, threading.excepthook, sys.unraisablehook = before
    root.setLevel(level)
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler.formatter, logs.JsonLines)]
    for name, third_party_level in levels.items():
        logging.getLogger(name).setLevel(third_party_level)


def lines_of(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def only_line_of(stream):
    (line,) = lines_of(stream)
    return line


def test_a_record_becomes_one_object_with_time_level_event_and_fields(stream):
    logging.getLogger("workflow.outbox").warning("order_updated unanswered", extra={"attempt": 2, "order_id": "ord_1", "trace_id": "ab"})
    assert stream.getvalue() == (
        '{"at": "2026-03-14T12:01:07.120Z", "level": "WARNING", "event": "order_updated unanswered", '
        '"trace_id": "ab", "order_id": "ord_1", "attempt": 2}\n'
    )


@pytest.mark.parametrize(
    "hostile",
    ['\n{"level": "INFO", "event": "forged"}', "\x1b[31mred\x1b[0m\r\b\x7f", "\x85\u2028\u2029 line ends", "\ud800 lone surrogate", "\0"],
    ids=["forged-line", "ansi", "line-ends", "lone-surrogate", "nul"],
)
def test_hostile_text_stays_within_its_line_and_its_value(hostile):
    # Not by way of a logger: what pytest captures must be sendable, and a lone surrogate is not.
    line = logs.JsonLines(StoppedClock()).format(logging.makeLogRecord({"msg": hostile, "field": hostile}))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event"] == json.loads(line)["field"] == hostile


def test_a_secret_is_masked_in_message_fields_and_exceptions(stream):
    try:
        raise ValueError("hunter2 refused")
    except ValueError:
        logging.getLogger("x").exception("key %s sent", "hunter2", extra={"header": ["Basic hunter2-and-more"]})
    assert "hunter2" not in stream.getvalue()
    line = only_line_of(stream)
    assert line["event"] == "key *** sent"
    assert line["header"] == "['Basic ***']"
    assert line["exception"].endswith("ValueError: *** refused")


def test_a_secret_at_the_cut_is_masked_before_the_text_is_cut(stream):
    logging.getLogger("x").info("a" * (logs.VALUE_CHARACTERS - 3) + "hunter2")
    assert "hun" not in stream.getvalue()


def test_a_long_value_is_cut(stream):
    logging.getLogger("x").info("m" * 1_000_000, extra={"field": "f" * 1_000_000})
    line = only_line_of(stream)
    assert len(line["event"]) == len(line["field"]) == logs.VALUE_CHARACTERS + 1


def test_a_long_exception_keeps_its_last_lines(stream):
    try:
        raise ValueError("x" * 10_000 + " the reason")
    except ValueError:
        logging.getLogger("x").exception("failed")
    exception = only_line_of(stream)["exception"]
    assert exception.endswith("the reason")
    assert len(exception) == logs.VALUE_CHARACTERS + 1


def test_a_field_cannot_take_a_fixed_name(stream):
    logging.getLogger("x").info("true event", extra={"level": "DEBUG", "event": "forged", "at": "never"})
    line = only_line_of(stream)
    assert (line["level"], line["event"], line["_event"]) == ("INFO", "true event", "forged")


def test_numbers_stay_numbers_and_what_json_lacks_becomes_text(stream):
    logging.getLogger("x").info("seen", extra={"count": 3, "rate": 0.5, "bad": float("nan"), "path": Path("a"), "none": None})
    line = only_line_of(stream)
    assert (line["count"], line["rate"], line["bad"], line["path"], line["none"]) == (3, 0.5, "nan", "a", None)


def test_more_fields_than_the_limit_are_left_out_but_the_ids_stay(stream):
    extra = {f"field{number}": number for number in range(100)}
    logging.getLogger("x").info("seen", extra={**extra, "order_id": "ord_1"})
    line = only_line_of(stream)
    assert line["order_id"] == "ord_1"
    assert len(line) == 3 + logs.FIELDS_LIMIT


def test_arguments_that_do_not_fit_the_format_are_logged_beside_it():
    record = logging.makeLogRecord({"msg": "%d orders", "args": ("many",)})
    assert json.loads(logs.JsonLines(StoppedClock()).format(record))["event"] == "%d orders ('many',)"


def test_a_record_that_cannot_be_written_leaves_a_line_in_its_place(stream):
    class Nameless:
        def __str__(self):
            raise RuntimeError("no text")

    logging.getLogger("some.part").info("seen", extra={"field": Nameless()})
    line = only_line_of(stream)
    assert (line["event"], line["logger"]) == ("log record lost", "some.part")


def test_a_closed_stream_does_not_raise(stream):
    stream.close()
    logging.getLogger("x").error("nobody listens")


def test_a_warning_of_python_becomes_a_line(stream):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # Within this block pytest listens for warnings; take over anew.
        logging.captureWarnings(capture=True)
        warnings.warn("going away", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    line = only_line_of(stream)
    assert line["level"] == "WARNING"
    assert "DeprecationWarning: going away" in line["event"]


@pytest.mark.parametrize("name", logs.THIRD_PARTIES)
def test_third_parties_speak_from_warning_up_and_in_the_same_form(stream, name):
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("trouble")
    assert only_line_of(stream)["event"] == "trouble"


def test_configuring_again_replaces_the_first_configuration(stream):
    second = io.StringIO()
    logs.configure(second, "ERROR", StoppedClock())
    logging.getLogger("x").warning("too low")
    logging.getLogger("x").error("hunter2 is no secret here")
    assert stream.getvalue() == ""
    assert only_line_of(second)["event"] == "hunter2 is no secret here"


PROGRAM = """
import gc, logging, sys, threading, warnings
from adapters import logs
from workflow.clock import SystemClock

class Broken:
    def __del__(self):
        raise ValueError("in a finaliser")

logs.configure(sys.stderr, "INFO", SystemClock())
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
Broken()
gc.collect()
warnings.warn("a warning")
raise RuntimeError("in the main thread")
"""


def test_no_exception_of_any_origin_prints_a_bare_traceback():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["CRITICAL", "ERROR", "WARNING", "CRITICAL"]
    assert lines[0]["thread_name"] == "worker"
    assert lines[0]["exception"].endswith("ZeroDivisionError: division by zero")
    assert lines[1]["exception"].endswith("ValueError: in a finaliser")
    assert lines[3]["exception"].endswith("RuntimeError: in the main thread")


def test_an_interrupted_process_says_so_without_a_traceback():
    program = PROGRAM.replace('RuntimeError("in the main thread")', "KeyboardInterrupt")
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    last = json.loads(ended.stderr.splitlines()[-1])
    assert (last["event"], "exception" in last) == ("process interrupted", False)
