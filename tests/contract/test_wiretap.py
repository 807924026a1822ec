"""The wiretap refuses what Dojo's documents do not say, so that its silence over real flows means something."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace

import pytest

from tests.contract.wiretap import NEVER, Contract, Exchange, Line

KEY = "sk_sandbox_wire"
UPDATED = {"eventType": "OrderUpdated", "event": {"orderId": "tp_1"}}
JSON = {"content-type": "application/json"}
TO_DOJO = JSON | {"authorization": f"Basic {KEY}", "version": "2026-02-27", "software-house-id": "sh_1"}
TO_POS = {"authorization": "Basic dTpw"}
ORDER = {"id": "tp_1", "status": "Submitted", "details": {"orderType": "DineIn", "dineIn": {}}}


@pytest.fixture
def contract(specs):
    return Contract(specs, api_key=KEY, software_house_id="sh_1", username="u", password="p")


def announced(body=UPDATED, answer=UPDATED, **changes):
    encoded = {"body": json.dumps(body).encode(), "answer": json.dumps(answer).encode()}
    given = {"method": "POST", "path": "/epos/events", "query": {}, "headers": TO_DOJO, "status": 200, "answer_headers": JSON}
    return Exchange(**given | encoded | changes)


def shown(answer, status=200, **changes):
    given = {"method": "GET", "path": "/v1/orders/tp_1", "query": {}, "headers": TO_POS, "body": b"", "status": status}
    return Exchange(**given | {"answer_headers": JSON, "answer": json.dumps(answer).encode()} | changes)


def without(headers, name):
    return {key: value for key, value in headers.items() if key != name}


def test_what_is_as_published_is_counted_by_operation(contract):
    contract.check("dojo-api", announced())
    contract.check("dojo-api", announced(status=NEVER))
    contract.check("epos-data-api", shown(ORDER))
    contract.check("epos-data-api", shown({"errorType": "NotFound"}, 404))

    name = "GET /v1/orders/{orderId}"
    assert contract.seen == {"POST /epos/events 200": 1, "POST /epos/events (spoiled on purpose)": 1, f"{name} 200": 1, f"{name} 404": 1}


@pytest.mark.parametrize(
    "exchange",
    [
        announced({"eventType": "OrderUpdated", "event": {"order": "tp_1"}}),
        announced(UPDATED | {"sent": "today"}),
        announced(answer={"type": "about:blank", "status": "four hundred"}, status=400),
        announced(answer={}),
        announced(path="/epos/event"),
        announced(status=202),
        announced(answer_headers={"content-type": "text/html"}),
        announced(headers=TO_DOJO | {"authorization": "Basic c2tfc2FuZGJveF93aXJl"}),
        *(announced(headers=without(TO_DOJO, name)) for name in TO_DOJO),
    ],
)
def test_a_call_to_dojo_that_is_not_as_published_fails(contract, exchange):
    with pytest.raises(AssertionError):
        contract.check("dojo-api", exchange)


@pytest.mark.parametrize(
    "exchange",
    [
        shown({"id": "tp_1"}),
        shown(ORDER | {"dojoOrderId": "ord_1"}),
        shown(ORDER | {"createdAt": "14.03.2026 12:00"}),
        shown(ORDER | {"createdAt": "2026-13-14T12:00:00Z"}),
        shown(ORDER | {"paidAmount": {"value": 2**63, "currencyCode": "GBP"}}),
        shown({"error": "none such"}, 404),
        shown(ORDER, headers={}),
        shown(ORDER, status=NEVER),
        shown(ORDER, body=b"{}"),
        replace(shown({}), method="POST", path="/v1/events", body=b"{}"),
        replace(shown({}), method="POST", path="/webhooks/dojo", body=b"{}"),
    ],
)
def test_a_call_to_the_pos_that_is_not_as_published_fails(contract, exchange):
    with pytest.raises(AssertionError):
        contract.check("epos-data-api", exchange)


def test_a_line_passes_on_what_is_broken_off_and_keeps_it_as_an_answer_that_never_came():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        line = Line(server.getsockname()[1])
        try:
            with socket.create_connection(("127.0.0.1", line.port)) as caller:
                caller.sendall(b"GET /one?returnCanceled=true HTTP/1.1\r\nHost: x\r\n\r\n")
                caller.recv(1000)
                [first] = line.take()
                caller.sendall(b"POST /two HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]")
                while caller.recv(1000):
                    pass
        finally:
            thread.join()
            line.close()
    [second] = line.take()

    assert (first.path, first.query, first.status, first.answer) == ("/one", {"returnCanceled": ["true"]}, 200, b"{}")
    assert (second.path, second.body, second.status) == ("/two", b"[]", NEVER)
