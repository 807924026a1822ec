"""The sandbox's Bookings flow: against this service, and against POSs that each do one thing wrong."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import pytest
from cheroot.wsgi import Server
from click.testing import CliRunner

from adapters.cli.sandbox import sandbox as command
from adapters.sandbox import CapabilityMissing, Sandbox
from tests.contract.running import KEY, PASSWORD, USERNAME, eventually, register, running
from tests.contract.sandbox_peer import post

STEPS = [
    *("ListAreas", "SearchTables"),
    *("CreateReservation", "UpdateReservationById", "GetReservationById", "SearchReservations", "SearchReservations"),
    *("CreateParty", "GetPartyById", "SearchParties", "SearchParties", "CreateParty"),
    *("CreateOrder", "SearchOrders", "CancelOrderById"),
    *("UpdatePartyById", "GetPartyById", "SearchParties", "SearchParties"),
    *("DeleteReservationById", "SearchReservations", "DeletePartyById", "SearchParties"),
]


@pytest.fixture
def dojo():
    sandbox = Sandbox(api_key=KEY)
    sandbox.start()
    yield sandbox
    sandbox.stop()


# This service


def test_the_flow_plays_all_ten_and_leaves_nothing_behind(tmp_path, dojo):
    with running(tmp_path, dojo.url) as service:
        register(service, dojo)
        service.till.call("PUT", "/till/areas", [{"id": "a_1", "name": "Garden"}])
        service.till.call("PUT", "/till/tables", [{"id": "t_1", "name": "One", "areaId": "a_1"}, {"id": "t_2", "name": "Two"}])

        for table in (None, "t_2", None):
            result = dojo.bookings(table)
            assert (result.reason, [step.name for step in result.steps]) == ("", STEPS)

        assert service.order(result.order_id)["state"] == "cancelled"
        assert service.reads.rows("SELECT DISTINCT standing FROM bookings") == [("deleted",)]
        assert service.reads.rows("SELECT count(*) FROM booking_tables") == [(0,)]
        assert service.reads.rows("SELECT DISTINCT trim(salt), trim(data) FROM guests") == [("", "{}")]  # Blanks in their place.
        service.await_rest()
        service.assert_whole()


def test_the_flow_needs_no_list_of_tables_and_says_which_table_is_missing_from_one(tmp_path, dojo):
    with running(tmp_path, dojo.url) as service:
        register(service, dojo)
        assert dojo.bookings("anywhere").ok
        service.till.call("PUT", "/till/tables", [{"id": "t_1", "name": "One"}])

        assert dojo.bookings("t_9").reason == "the POS has no table t_9; it has ['t_1']"


def test_the_flow_orders_what_the_catalogue_has_and_says_what_is_not_in_it(tmp_path, dojo):
    with running(tmp_path, dojo.url) as service:
        register(service, dojo)
        service.till.call("PUT", "/till/catalogue", [{"plu": "COLA-01", "name": "Cola"}])

        refused, result = dojo.bookings("t_1"), dojo.bookings("t_1", plu="COLA-01")
        options = ["--port", "0", "--pos", str(service.settings["PUBLIC_URL"]), "--username", USERNAME, "--password", PASSWORD]
        options += ["--table", "t_2", "--plu", "COLA-01"]
        played = CliRunner().invoke(command, [*options, "--flow", "bookings"])
        CliRunner().invoke(command, [*options, "--flow", "order-and-pay", "--amount", "500", "--pay-later", "--step-seconds", "0.1"])
        [order, _] = service.dojo.post("/v1/orders/search", {"dineIn": {"tableId": "t_2"}}).json["data"]

    assert refused.steps[-1].name == "CreateOrder"
    assert "is not in the till's catalogue" in refused.reason
    assert (result.reason, [step.name for step in result.steps]) == ("", STEPS)
    assert played.exit_code == 0, played.output
    assert [(item["plu"], item["amountPerItem"]["value"]) for item in order["items"]] == [("COLA-01", 500)]


def test_the_flow_is_started_by_the_control_api_and_by_the_command(tmp_path, dojo):
    with running(tmp_path, dojo.url) as service:
        pos = {"url": service.settings["PUBLIC_URL"], "username": USERNAME, "password": PASSWORD}
        started = post(dojo, "/sandbox/flows", {"flow": "bookings", "tableId": "t_4", "pos": pos}, Authorization=f"Basic {KEY}")
        refused = post(dojo, "/sandbox/flows", {"flow": "bookings", "tips": 5}, Authorization=f"Basic {KEY}")
        eventually(lambda: dojo.flows()[0].ok)
        options = ["--port", "0", "--pos", pos["url"], "--username", USERNAME, "--password", PASSWORD]
        played = CliRunner().invoke(command, [*options, "--flow", "bookings", "--table", "t_5"], prog_name="tillproof sandbox")

    assert (started.status_code, started.json()["name"], refused.status_code) == (202, "bookings", 400)
    assert (played.exit_code, "Bookings" in played.output, "Done:" in played.output) == (0, True, True), played.output
    assert max(map(len, played.output.splitlines())) <= 100, "ids of reservations and parties are cut like those of orders"


def test_the_flow_needs_every_capability_that_it_calls(dojo):
    with pytest.raises(CapabilityMissing) as missing:
        dojo.bookings()

    assert {name for name in STEPS if name not in str(missing.value)} == set()


# POSs that do one thing wrong


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("bent")) as service:
        yield service


@contextmanager
def a_pos(service, call, bend):
    """The service behind a proxy that sends `(status, body)` of calls whose `METHOD path` begins so through `bend`; its URL."""

    def proxy(environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        reply = service.dojo.call(method, path, environ["wsgi.input"].read() or None)
        status, body = reply.status, reply.body
        if f"{method} {path}".startswith(call):
            status, body = bend(status, body)
        start_response(f"{status} Bent", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    server = Server(("127.0.0.1", 0), proxy, numthreads=2)
    server.expiration_interval = 0.05  # How long stopping takes.
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join(60)


def with_fields(**changes):
    """Bends an object: these fields instead; None takes one away."""

    def bend(status, body):
        shown = json.loads(body) | changes if status == 200 else json.loads(body)
        return status, json.dumps({name: value for name, value in shown.items() if value is not None}).encode()

    return bend


def found_instead(found):
    return lambda status, body: (status, json.dumps({"data": found(json.loads(body)["data"])}).encode())


def answer(status, body=b"{}"):
    return lambda *_: (status, body)


_copies = iter(range(10**6))
OTHER_TIME = "2026-03-14T19:00:00.000Z"
WRONG = {
    "areas in a page": ("GET /v1/areas", answer(200, b'{"data": []}'), "ListAreas", "not its schema's"),
    "tables without a list": ("POST /v1/tables", answer(200, b'{"data": []}'), "SearchTables", "not its schema's"),
    "a reservation without its name": ("POST /v1/reservations", with_fields(name=None), "CreateReservation", "not its schema's"),
    "a reservation of others": ("POST /v1/reservations", with_fields(covers=5), "CreateReservation", "covers is 5, not 3"),
    "a reservation made twice": (
        "POST /v1/reservations",
        lambda status, body: with_fields(id=f"rsv_{status}_{next(_copies)}")(status, body),
        "CreateReservation",
        "again made rsv_",
    ),
    "an update that is not made": ("PUT /v1/reservations", with_fields(covers=3), "UpdateReservationById", "covers is 3, not 4"),
    "an update that keeps what is absent": (
        "GET /v1/reservations",
        with_fields(hostNotes="dog"),
        "GetReservationById",
        "host_notes is dog",
    ),
    "a reservation at another time": ("GET /v1/reservations", with_fields(startTime=OTHER_TIME), "GetReservationById", "start_time is"),
    "a reservation that is not found": (
        "POST /v1/reservations/search",
        found_instead(lambda _: []),
        "SearchReservations",
        "should be found",
    ),
    "a time without its zone": ("POST /v1/parties", with_fields(startTime=OTHER_TIME[:-1]), "CreateParty", "not its schema's"),
    "a party without its deposit": ("POST /v1/parties", with_fields(deposit=None), "CreateParty", "deposit is missing"),
    "a party without its reservation": ("GET /v1/parties", with_fields(reservationId=None), "GetPartyById", "reservation_id is missing"),
    "a party without a status": ("GET /v1/parties", with_fields(status=""), "GetPartyById", "not its schema's"),
    "a party that is not found": ("POST /v1/parties/search", found_instead(lambda _: []), "SearchParties", "should be found at its table"),
    "two parties at a table": (
        "POST /v1/parties",
        lambda status, body: (200, body) if status == 409 else (status, body),
        "CreateParty",
        "expected 409",
    ),
    "an order of nobody": ("POST /v1/orders/search", found_instead(lambda _: []), "SearchOrders", "alone, found none"),
    "orders of everybody": ("POST /v1/orders/search", found_instead(lambda own: [*own, {"id": "other"}]), "SearchOrders", "'other'"),
    "an order that is not cancelled": ("DELETE /v1/orders", answer(409), "CancelOrderById", "409"),
    "a party that does not leave": ("PUT /v1/parties", with_fields(endTime=None), "UpdatePartyById", "end_time is missing"),
    "an answer to DELETE": ("DELETE /v1/reservations", answer(200), "DeleteReservationById", "with a body"),
    "a party that is not deleted": ("DELETE /v1/parties", answer(404), "DeletePartyById", "404"),
    "a reservation that stays": (
        "GET /v1/reservations",
        lambda status, body: (200, body) if status == 404 else (status, body),
        "DeleteReservationById",
        "should answer 404",
    ),
    "no answers": ("POST /v1/parties", answer(503), "CreateParty", "503"),
    "pages without end": (
        "POST /v1/reservations/search",
        lambda status, body: (status, json.dumps(json.loads(body) | {"after": "more"}).encode()),
        "SearchReservations",
        "400",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_pos_that_does_one_thing_wrong_fails_at_that_step_and_is_left_as_it_was(service, dojo, wrong):
    call, bend, step, reason = WRONG[wrong]
    table = f"tbl_{wrong.replace(' ', '_')}"
    with a_pos(service, call, bend) as url:
        result = dojo.bookings(table, pos_url=url)

    assert (result.state, result.steps[-1].name) == ("failed", step), result
    assert reason in result.reason
    # Ids that are made up, and none at all: what was made so nobody can delete.
    if wrong not in {"a reservation made twice", "no answers"}:
        assert service.reads.rows("SELECT * FROM booking_tables WHERE table_id = ?", (table,)) == []
        assert service.reads.rows("SELECT id FROM orders WHERE table_id = ? AND state <> 'cancelled'", (table,)) == []
