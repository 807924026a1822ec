"""Errors are Dojo's `EPOSError` on every path, and a body is read no further than it may be long."""

import io
import json
import logging
import threading

import pytest
from flask import Flask, abort

from adapters.edge.answers import error_answer, install, json_body, trace_id
from adapters.edge.strict_json import BadInput
from adapters.edge.wire import encode
from adapters.edge.wire_orders import SearchOrdersRequest
from workflow.errors import JournalUnavailable, Refused, TransitionRefused, UnknownOrder

MAX_BODY = 1_000
ERRORS = {
    "bad": BadInput("items[0].plu", "required, but absent"),
    "unknown": UnknownOrder("no order pos-999"),
    "refused": Refused("would overpay"),
    "guard": TransitionRefused("too late to cancel pos-1"),
    "full": JournalUnavailable("disk full on /var/lib/secret"),
    "wait": JournalUnavailable("locked", after_seconds=1.5),
    "bug": KeyError("s3cret"),
}


@pytest.fixture
def client():
    app = Flask(__name__)
    app.testing = True
    install(app)

    @app.post("/search")
    def search():
        return encode(json_body(SearchOrdersRequest, max_body=MAX_BODY, max_depth=32)), 200, {"Content-Type": "application/json"}

    @app.get("/raise/<name>")
    def fail(name):
        raise ERRORS[name]

    @app.get("/abort/<int:status>")
    def give_up(status):
        abort(status)

    @app.get("/traced")
    def traced():
        return trace_id()

    return app.test_client()


def send(client, body=b"{}", **arguments):
    return client.post("/search", data=body, **{"content_type": "application/json"} | arguments)


def send_chunked(client, stream):
    """A body without Content-Length, as servers hand over a chunked one."""
    chunked = {"wsgi.input": stream, "wsgi.input_terminated": True}
    return client.post("/search", content_type="application/json", environ_overrides=chunked)


class Endless(io.RawIOBase):
    """A caller that never stops sending, a few bytes at a time."""

    def __init__(self):
        self.sent = 0

    def read(self, size=-1):
        assert size > 0, "reading to the end would never end"
        piece = b" " * min(size, 7)
        self.sent += len(piece)
        return piece


class Broken(io.RawIOBase):
    """A connection that ends within a chunk."""

    def __init__(self, error):
        self.error = error

    def read(self, size=-1):
        raise self.error


def is_epos_error(answer, status, error_type, message=None):
    body = json.loads(answer.data)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert body.keys() == {"errorType", "debugMessage", "traceId"}
    assert body["errorType"] == error_type
    assert body["traceId"] == answer.headers["X-Trace-Id"]
    return message is None or body["debugMessage"] == message


@pytest.mark.parametrize(
    ("name", "status", "error_type", "message"),
    [
        ("bad", 400, "InvalidRequest", "items[0].plu: required, but absent"),
        ("unknown", 404, "NotFound", "no order pos-999"),
        ("refused", 409, "Conflict", "would overpay"),
        ("guard", 409, "Conflict", "too late to cancel pos-1"),
        ("full", 503, "UnexpectedError", "the journal is unavailable, nothing was changed"),
        ("bug", 500, "UnexpectedError", "unexpected error"),
    ],
)
def test_each_error_has_its_status_and_type(client, name, status, error_type, message):
    assert is_epos_error(client.get(f"/raise/{name}"), status, error_type, message)


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, "InvalidRequest"),
        (401, "InvalidRequest"),
        (403, "InvalidRequest"),
        (404, "NotFound"),
        (409, "Conflict"),
        (413, "InvalidRequest"),
        (415, "InvalidRequest"),
        (429, "UnexpectedError"),
        (500, "UnexpectedError"),
        (503, "UnexpectedError"),
    ],
)
def test_each_error_page_of_the_framework_is_replaced(client, status, error_type):
    assert is_epos_error(client.get(f"/abort/{status}"), status, error_type)


# I-9
@pytest.mark.parametrize("path", ["/nothing", "/v1/orders/%00", "/%ff", "/../etc/passwd", "/🍕", "/" + "a" * 10_000])
def test_an_unknown_path_is_not_found(client, path):
    assert is_epos_error(client.get(path), 404, "NotFound", "not found")


def test_a_wrong_method_is_told_the_right_ones(client):
    answer = client.delete("/search")
    assert is_epos_error(answer, 405, "InvalidRequest")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(("name", "seconds"), [("full", "5"), ("wait", "2")])
def test_an_unavailable_journal_says_when_to_come_again(client, name, seconds):
    assert client.get(f"/raise/{name}").headers["Retry-After"] == seconds


def test_an_unforeseen_error_is_logged_once_with_its_traceback_and_trace_id(client, caplog):
    answer = client.get("/raise/bug")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR and record.thread == threading.get_ident()]
    assert record.exc_info[1] is ERRORS["bug"]
    assert record.trace_id == answer.headers["X-Trace-Id"]
    assert b"s3cret" not in answer.data


def test_every_answer_carries_its_own_trace_id(client):
    first, second = client.get("/traced"), client.get("/traced")
    assert first.headers["X-Trace-Id"] == first.text != second.text
    assert len(first.text) == 16
    assert int(first.text, 16) >= 0
    assert first.headers["X-Content-Type-Options"] == "nosniff"


def test_an_error_answer_keeps_the_headers_it_is_given():
    answer = error_answer(401, "credentials needed", "2f1c", headers={"WWW-Authenticate": "Basic"})
    assert answer.headers["WWW-Authenticate"] == "Basic"
    assert json.loads(answer.data) == {"errorType": "InvalidRequest", "debugMessage": "credentials needed", "traceId": "2f1c"}


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF8"'])
def test_plain_json_is_read(client, content_type):
    assert send(client, b'{"payableOnly": true}', content_type=content_type).json["payableOnly"] is True


# I-8
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/json, text/plain",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
    ],
)
def test_other_content_is_refused(client, content_type):
    assert is_epos_error(send(client, content_type=content_type), 415, "InvalidRequest")


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("br", 415), ("identity, gzip", 415), ("identity", 200)])
def test_encoded_content_is_refused(client, encoding, status):
    assert send(client, headers={"Content-Encoding": encoding}).status_code == status


def test_a_malformed_body_is_refused_with_the_field_named(client):
    message = "cursor.limit: expected an integer, got 10.0"
    assert is_epos_error(send(client, b'{"cursor": {"limit": 10.0}}'), 400, "InvalidRequest", message)


# I-2
def test_a_body_announced_too_long_is_refused_unread(client):
    stream = Endless()
    given = {"wsgi.input": stream, "CONTENT_LENGTH": "104857600"}
    answer = client.post("/search", content_type="application/json", environ_overrides=given)
    assert is_epos_error(answer, 413, "InvalidRequest", "body: expected at most 1000 bytes")
    assert stream.sent == 0


def test_an_endless_chunked_body_is_read_one_byte_too_far_and_refused(client):
    stream = Endless()
    assert is_epos_error(send_chunked(client, stream), 413, "InvalidRequest")
    assert stream.sent == MAX_BODY + 1


def test_a_chunked_body_is_read(client):
    assert send_chunked(client, io.BytesIO(b'{"payableOnly": true}')).json["payableOnly"] is True


def test_a_body_of_exactly_the_limit_is_read(client):
    assert send(client, b"{}".ljust(MAX_BODY)).status_code == 200
    assert send(client, b"{}".ljust(MAX_BODY + 1)).status_code == 413


# L2
@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), ValueError("bad chunk")])
def test_a_body_that_breaks_off_is_refused(client, error):
    assert is_epos_error(send_chunked(client, Broken(error)), 400, "InvalidRequest", "body: ended before it was complete")


def test_a_body_shorter_than_announced_is_refused_though_it_is_json(client):
    given = {"wsgi.input": io.BytesIO(b"{}"), "wsgi.input_terminated": True, "CONTENT_LENGTH": "20"}
    answer = client.post("/search", content_type="application/json", environ_overrides=given)
    assert is_epos_error(answer, 400, "InvalidRequest", "body: ended before it was complete")


def test_a_missing_body_is_refused(client):
    assert is_epos_error(send(client, b""), 400, "InvalidRequest", "body: expected JSON, got nothing")
