"""Input that cannot be meant, at every route that takes some: 4xx, the published error, the field by name, nothing stored, nothing broken.

One reader serves all routes (`adapters/edge/strict_json.py`), so that every route is asked everything. FAULTS I-1 to I-14, M13, X7, T4.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapters.epos.operations import OPERATIONS
from adapters.epos.signature import sign
from adapters.till.api import TillApi
from tests.contract.running import a_bill, an_event, an_order, gbp, running

SECRET = "hook-secret"
CANARY = "canary-6f3a9c"
"""Stands in every body that is sent here, where nobody asked for it; it must be in no file of the service afterwards."""
DEPTH, BODY, OPERATORS_BODY = 32, 1_048_576, 65_536
_numbers = itertools.count()


def new(name: str) -> str:
    return f"{name}-{next(_numbers)}"


def soon() -> str:
    """When no test runs any more."""
    return (datetime.now(UTC) + timedelta(hours=5)).isoformat()


def a_full_order() -> dict[str, Any]:
    """A CreateOrder with every part that has fields of its own."""
    modifier = {"plu": "M", "name": "Extra", "quantity": 1, "amountPerModifier": gbp(-50)}
    part = {"plu": "P", "name": "Part", "quantity": 1, "note": "cold", "amountPerItem": gbp(0), "modifiers": [modifier]}
    item = {
        "plu": "I",
        "name": "Item",
        "quantity": 2,
        "note": "hot",
        "amountPerItem": gbp(500),
        "modifiers": [modifier],
        "subItems": [part],
    }
    return an_order(
        new("order"),
        total=900,
        reference="R",
        displayName="D",
        note="N",
        items=[item],
        payments=[{"paymentIntentId": new("pi"), "paidAmount": gbp(900), "tipsAmount": gbp(0)}],
        customer={"id": "c", "name": "C", "emailAddress": "c@example.com", "phoneNumber": "1"},
        details={
            "orderType": "DineIn",
            "dineIn": {"tableId": "t", "waiterId": "w", "partyId": "p", "reservationId": "r", "readyAt": soon()},
        },
        discounts=[
            {"name": "Off", "amountTotal": gbp(50), "code": "C", "discountReference": "d", "affectedPlu": "I", "amountPercentage": 500}
        ],
        taxLines=[{"id": "VAT", "name": "VAT", "amountTotal": gbp(10), "affectedPlu": "I", "amountPercentage": 2000}],
        serviceChargeAmount=gbp(0),
    )


def the_bill(**changes: Any) -> dict[str, Any]:
    """The same from the till, who knows neither Dojo's id nor payments."""
    return {name: value for name, value in a_full_order().items() if name not in {"dojoOrderId", "payments"}} | changes


START, END = "2030-03-14T19:00:00.000Z", "2030-03-14T21:00:00.000Z"


def a_full_party(**changes: Any) -> dict[str, Any]:
    """What a creation and a change of a party share; always the same, as one party alone may be at its table."""
    deposit = {"totalAmount": gbp(2000), "paymentIntentIds": ["pi_deposit"], "description": "D"}
    notes = {"hostNotes": "H", "guestRequests": "G"}
    party = {"dojoPartyId": "party", "name": "N", "covers": 2, "status": "seated", "startTime": START, "expectedEndTime": END}
    return party | {"tableIds": ["t"], "deposit": deposit} | notes | changes


def a_full_reservation() -> dict[str, Any]:
    notes = {"hostNotes": "H", "guestRequests": "G"}
    return {"dojoReservationId": "res", "name": "N", "covers": 2, "startTime": START, "endTime": END, "tableIds": ["t"]} | notes


# -- what a field may not be; a name beside a list of values that it must refuse

IDS = ["", "x" * 256, "a\nb", "\x7f", 7, True, 1.5, {}, [], ["a"]]
TEXT = [7, True, 1.5, {}, []]
NAME, NOTE = [*TEXT, "x" * 1_001], [*TEXT, "x" * 10_001]
WHOLE = ["1", "", True, 1.5, 10.0, 1e3, {}, [], 2**63]
AMOUNT = ["1200", "12.50", True, 12.5, 1200.0, 1e3, {}, [], 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]
NOT_NEGATIVE = [*AMOUNT, -1]
MONEY: list[Any] = [7, "GBP 12.50", True, [], {}, {"value": 1}, {"currencyCode": "GBP"}]
CURRENCY = ["EUR", "gbp", "GB\u0420", "", 7, {}, []]
COUNT = [*WHOLE, 0, -1, 1_000_001]
LIST = [{}, "x", 7, True]
OBJECT = [[], "x", 7, True]
FLAG = ["true", 1, 0, "", {}, []]
MOMENT = [
    *("", "yesterday", "2026-03-14", "2026-03-14T12:00:00", "2026-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "2026-03-14T24:00:00Z"),
    *("2026-03-14T12:00:61Z", "2026-03-14T12:00:00+99:00", "20260314T120000Z", "2026-03-14T12:00:00Z ", "x" * 65, 1773489600, True, {}, []),
]
EXPIRY = [*MOMENT, "2001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]
STATUS = ["", "preparing", "Created", "Cancelled", 7, True, {}, []]
TOKEN = ["", "x" * 2_001, "x", "!", "AAAA", "\u00e9", 7, True, {}, []]
LIMIT = [*WHOLE, 0, -1, 101, 1_000_000_000]


def money(path: str, value: list[Any] = NOT_NEGATIVE) -> dict[str, list[Any]]:
    return {path: MONEY, f"{path}.value": value, f"{path}.currencyCode": CURRENCY}


BILL: dict[str, list[Any]] = {
    "details": OBJECT,
    "details.orderType": ["", "Delivery", "dineIn", 7, {}],
    "details.dineIn": OBJECT,
    **{f"details.dineIn.{name}": IDS for name in ("tableId", "waiterId", "partyId", "reservationId")},
    "details.dineIn.readyAt": MOMENT,
    "items": [*LIST, [{}] * 1_001],
    "items[0]": OBJECT,
    "items[0].plu": IDS,
    "items[0].name": NAME,
    "items[0].note": NOTE,
    "items[0].quantity": COUNT,
    **money("items[0].amountPerItem"),
    "items[0].modifiers": LIST,
    "items[0].modifiers[0].plu": IDS,
    "items[0].modifiers[0].quantity": COUNT,
    **money("items[0].modifiers[0].amountPerModifier", AMOUNT),
    "items[0].subItems": LIST,
    "items[0].subItems[0].plu": IDS,
    "items[0].subItems[0].quantity": COUNT,
    **money("items[0].subItems[0].amountPerItem"),
    "items[0].subItems[0].modifiers[0].plu": IDS,
    **money("items[0].subItems[0].modifiers[0].amountPerModifier", AMOUNT),
    **money("totalAmount"),
    **money("serviceChargeAmount"),
    "discounts": LIST,
    "discounts[0].name": NAME,
    "discounts[0].amountPercentage": WHOLE,
    **money("discounts[0].amountTotal"),
    "taxLines": LIST,
    "taxLines[0].id": [*TEXT, "x" * 61],
    "taxLines[0].name": [*TEXT, "x" * 101],
    **money("taxLines[0].amountTotal"),
    "customer": OBJECT,
    "customer.id": IDS,
    "customer.name": NAME,
    "customer.emailAddress": [*TEXT, "x" * 255],
    "customer.phoneNumber": [*TEXT, "x" * 51],
    "reference": NAME,
    "displayName": NAME,
    "note": NOTE,
}
PAYMENT: dict[str, list[Any]] = {
    "paymentIntentId": IDS,
    **money("paidAmount", [*NOT_NEGATIVE, 0]),
    **money("tipsAmount"),
}
CURSOR: dict[str, list[Any]] = {"cursor": OBJECT, "cursor.limit": LIMIT, "cursor.before": TOKEN, "cursor.after": TOKEN}
EVENT: dict[str, list[Any]] = {
    **{name: IDS for name in ("id", "accountId", "event")},
    "createdAt": MOMENT,
    "data": OBJECT,
    **{f"data.{name}": IDS for name in ("paymentIntentId", "paymentStatus", "captureMode")},
}
TABLE_IDS: dict[str, list[Any]] = {"tableIds": [*LIST, [], ["a", "a"], [f"t{n}" for n in range(101)], [None]], "tableIds[0]": IDS}
BEFORE_START = [*MOMENT, "2030-03-14T18:59:59.999Z"]
BOOKING: dict[str, list[Any]] = {"startTime": MOMENT, "hostNotes": NOTE, "guestRequests": NOTE, "covers": [*WHOLE, -1, 2**31], **TABLE_IDS}
PARTY: dict[str, list[Any]] = BOOKING | {
    "dojoPartyId": IDS,
    "name": NAME,
    "status": ["", *NAME],
    "expectedEndTime": BEFORE_START,
    "deposit": OBJECT,
    **money("deposit.totalAmount"),
    "deposit.paymentIntentIds": [*LIST, ["pi"] * 101],
    "deposit.paymentIntentIds[0]": IDS,
    "deposit.description": NOTE,
}
PARTY_NEEDS = ("dojoPartyId", "startTime", "tableIds", "deposit.totalAmount", "deposit.totalAmount.value", "deposit.paymentIntentIds")
RESERVATION: dict[str, list[Any]] = BOOKING | {"dojoReservationId": IDS, "name": NAME, "endTime": BEFORE_START}
RESERVATION_NEEDS = ("dojoReservationId", "name", "covers", "startTime", "endTime", "tableIds")
NO_REASON = ["", " ", "\n\t\u00a0", "x" * 1_001, *TEXT]


@dataclass(frozen=True)
class Route:
    """A route that takes a body: a good one, the fields that must be there, and what each field may not be."""

    side: str
    method: str
    path: str
    body: Callable[[], Any]
    required: tuple[str, ...]
    fields: dict[str, list[Any]]
    good: int = 200
    """What the good body gets; 404 where the path names nothing that is there."""


ORDER = "{order_id}"
ROUTES = {
    "CreateOrder": Route(
        *("dojo", "POST", "/v1/orders", a_full_order),
        (
            "dojoOrderId",
            "details",
            "items",
            "totalAmount",
            "payments",
            "payments[0].paymentIntentId",
            "payments[0].paidAmount",
            "items[0].plu",
        ),
        {"dojoOrderId": IDS, "payments": LIST, "payments[0]": OBJECT}
        | {f"payments[0].{name}": bad for name, bad in PAYMENT.items()}
        | BILL,
    ),
    "SearchOrders": Route(
        *("dojo", "POST", "/v1/orders/search", lambda: {"dineIn": {"tableId": "t"}, "payableOnly": True, "cursor": {"limit": 1}}, ()),
        {"dineIn": OBJECT, "payableOnly": FLAG, **CURSOR}
        | {f"dineIn.{name}": IDS for name in ("tableId", "waiterId", "partyId", "reservationId")},
    ),
    "CreateOrderLock": Route(
        *("dojo", "POST", f"/v1/orders/{ORDER}/lock", lambda: {"lockId": "l", "expiry": soon()}, ("lockId", "expiry")),
        {"lockId": IDS, "expiry": EXPIRY},
    ),
    "ExtendOrderLock": Route(
        *("dojo", "PUT", f"/v1/orders/{ORDER}/locks/l", lambda: {"expiry": soon()}, ("expiry",), {"expiry": EXPIRY}),
    ),
    "RecordOrderPayment": Route(
        *("dojo", "POST", f"/v1/orders/{ORDER}/record-payment"),
        lambda: {"paymentIntentId": new("pi"), "paidAmount": gbp(1), "tipsAmount": gbp(0), "lockId": "l"},
        ("paymentIntentId", "paidAmount", "paidAmount.value", "paidAmount.currencyCode"),
        PAYMENT | {"lockId": IDS} | {f"{name}.currencyCode": [7, {}, []] for name in ("paidAmount", "tipsAmount")},  # Another one is 409.
    ),
    "SearchTables": Route(
        *("dojo", "POST", "/v1/tables/search", lambda: {"areaId": "a", "waiterId": "w", "cursor": {"limit": 1}}, ()),
        {"areaId": IDS, "waiterId": IDS, **CURSOR},
    ),
    "CreateParty": Route(
        *("dojo", "POST", "/v1/parties", lambda: a_full_party(reservationId="r", dojoReservationId="d"), PARTY_NEEDS),
        PARTY | {"reservationId": IDS, "dojoReservationId": IDS},
    ),
    "UpdatePartyById": Route(
        *("dojo", "PUT", "/v1/parties/{party_id}", lambda: a_full_party(endTime=END), (*PARTY_NEEDS, "status")),
        PARTY | {"endTime": BEFORE_START},
    ),
    "SearchParties": Route(
        *("dojo", "POST", "/v1/parties/search", lambda: {"tableId": "t", "completedOnly": True, "cursor": {"limit": 1}}, ()),
        {"tableId": IDS, "completedOnly": FLAG, **CURSOR},
    ),
    "CreateReservation": Route(*("dojo", "POST", "/v1/reservations", a_full_reservation, RESERVATION_NEEDS, RESERVATION)),
    "UpdateReservationById": Route(
        *("dojo", "PUT", "/v1/reservations/{reservation_id}", a_full_reservation, RESERVATION_NEEDS, RESERVATION)
    ),
    "SearchReservations": Route(
        *("dojo", "POST", "/v1/reservations/search"),
        lambda: {"tableId": "t", "fromTime": START, "toTime": END, "cursor": {"limit": 1}},
        (),
        {"tableId": IDS, "fromTime": MOMENT, "toTime": BEFORE_START, **CURSOR},
    ),
    "HandleEvent": Route(
        *("dojo", "POST", "/v1/events", lambda: an_event(new("evt"), new("pi"))),
        ("id", "accountId", "event", "createdAt", "data.paymentIntentId", "data.paymentStatus"),
        EVENT,
    ),
    "webhook": Route(
        *("hook", "POST", "/webhooks/dojo", lambda: an_event(new("evt"), new("pi"))),
        ("id", "accountId", "event", "createdAt", "data.paymentIntentId", "data.paymentStatus"),
        EVENT,
    ),
    "open_order": Route(
        *("till", "POST", "/till/orders", lambda: the_bill(id=new("till")), ("details", "items", "totalAmount", "items[0].name")),
        {"id": ["", ".", "..", "a/b", "a b", "x" * 65, "\u00e9", "a\n", 7, True, {}, []]} | BILL,
    ),
    "amend_order": Route(
        *("till", "PUT", f"/till/orders/{ORDER}", the_bill, ("details", "items", "totalAmount", "items[0].name")), BILL, 409
    ),
    "report_progress": Route(
        *("till", "POST", f"/till/orders/{ORDER}/status", lambda: {"status": "Preparing"}, ("status",), {"status": STATUS}),
    ),
    "refuse_order": Route(
        *("till", "POST", "/till/orders/none/refuse", lambda: {"reason": "closed"}, ("reason",), {"reason": NO_REASON}, 404),
    ),
    "set_state": Route(*("till", "PUT", "/till/state", lambda: {"takingOrders": True}, ("takingOrders",), {"takingOrders": FLAG})),
    "set_areas": Route(
        *("till", "PUT", "/till/areas", lambda: [{"id": "a", "name": "A", "waiterIds": ["w"]}], ("[0].id", "[0].name")),
        {"[0]": OBJECT, "[0].id": IDS, "[0].name": IDS, "[0].waiterIds": LIST, "[0].waiterIds[0]": IDS},
    ),
    "set_tables": Route(
        *("till", "PUT", "/till/tables"),
        lambda: [{"id": "t", "name": "T", "areaId": "a", "maxCovers": 4, "waiterIds": ["w"]}],
        ("[0].id", "[0].name"),
        {"[0]": OBJECT, "[0].maxCovers": [*WHOLE, -1, 2**31], "[0].waiterIds": LIST}
        | {f"[0].{name}": IDS for name in ("id", "name", "areaId", "waiterIds[0]")},
    ),
    "set_catalogue": Route(
        *("till", "PUT", "/till/catalogue"),
        lambda: [{"plu": plu, "name": plu, "available": True} for plu in "IPM"],
        ("[0].plu", "[2].name"),
        {"[0]": OBJECT, "[0].plu": IDS, "[1].name": NAME, "[2].available": FLAG},
    ),
    "resolve": Route(
        *(
            "operator",
            "POST",
            f"/api/orders/{ORDER}/resolve",
            lambda: {"action": "read_again", "reason": "so", "paymentIntentId": "p", "code": "STATUS_LIE"},
        ),
        ("action", "reason"),
        {
            "action": ["", "forget", 7, {}],
            "reason": NO_REASON,
            "paymentIntentId": [bad for bad in IDS if bad != ""],
            "code": ["NONE", 7, {}],
        },
        409,
    ),
    "rotate_key": Route(*("operator", "POST", "/api/keys/rotate", lambda: {"reason": "so"}, ("reason",), {"reason": NO_REASON})),
    "note_registration": Route(
        *("operator", "POST", "/api/registrations"),
        lambda: {"reason": "so", "url": "https://pos.example.com", "added": ["CreateOrder"], "dropped": ["ListAreas"], "refused": "no"},
        ("reason", "url"),
        {"reason": NO_REASON, "url": IDS, "added": LIST, "added[0]": IDS, "dropped": LIST, "refused": NAME},
    ),
    "erase": Route(
        *("operator", "POST", f"/api/orders/{ORDER}/erase", lambda: {"reason": "so"}, ("reason",), {"reason": NO_REASON}, 409),
    ),
    "erase_guest": Route(
        *("operator", "POST", "/api/bookings/none/erase", lambda: {"reason": "so"}, ("reason",), {"reason": NO_REASON}, 404),
    ),
    "requeue": Route(
        *("operator", "POST", "/api/outbox/none/requeue", lambda: {"reason": "so"}, ("reason",), {"reason": NO_REASON}, 404),
    ),
    "stop": Route(
        *("operator", "POST", "/api/outbox/none/stop", lambda: {"reason": "so"}, ("reason",), {"reason": NO_REASON}, 404),
    ),
}

STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def changed(body: Any, path: str, value: Any = None, *, without: bool = False) -> Any:
    """A copy of the body with another value at a path, or with nothing there."""
    *way, last = (int(index) if index else name for index, name in STEP.findall(path))
    body = inner = json.loads(json.dumps(body))
    for step in way:
        inner = inner[step]
    if without:
        del inner[last]
    else:
        inner[last] = value
    return body


def with_canary(body: Any, raw: str = json.dumps(CANARY), key: str = '"canary"') -> bytes:
    """The body as bytes, with a field that nobody asked for in front; in the first entry of a list."""
    text = json.dumps(body)
    if "{" not in text:
        return text.encode()
    cut = text.find("{") + 1
    return f"{text[:cut]}{key}: {raw}, {text[cut:]}".encode()


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


FIRST = "body"
HOSTILE: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "nothing": (lambda body: b"", FIRST),
    "white space": (lambda body: b" \r\n\t", FIRST),
    "no JSON": (lambda body: b"{canary-6f3a9c}", FIRST),
    "a form": (lambda body: b"canary=canary-6f3a9c&id=1", FIRST),
    "cut short": (lambda body: with_canary(body)[:-1], FIRST),
    "two documents": (lambda body: with_canary(body) + with_canary(body), FIRST),
    "a comma at the end": (lambda body: with_canary(body)[:-1] + b",}", FIRST),
    "a comment": (lambda body: b"/* canary-6f3a9c */" + with_canary(body), FIRST),
    "single quotes": (lambda body: with_canary(body).replace(b'"', b"'"), FIRST),
    "a byte order mark": (lambda body: b"\xef\xbb\xbf" + with_canary(body), FIRST),
    "UTF-16": (lambda body: with_canary(body).decode().encode("utf-16"), FIRST),
    "Latin-1": (lambda body: with_canary(body, '"caf\u00e9"').decode().encode("latin-1"), FIRST),
    "overlong UTF-8": (lambda body: with_canary(body).replace(b"canary-6f3a9c", b"\xc0\xaf"), FIRST),
    "a NUL between": (lambda body: with_canary(body).replace(b": ", b":\0 ", 1), FIRST),
    "a raw line feed in a text": (lambda body: with_canary(body, '"a\nb"'), FIRST),
    "NaN": (lambda body: with_canary(body, "NaN"), "canary"),
    "Infinity": (lambda body: with_canary(body, "Infinity"), "canary"),
    "-Infinity": (lambda body: with_canary(body, "-Infinity"), "canary"),
    "2^63": (lambda body: with_canary(body, str(2**63)), "canary"),
    "-2^63-1": (lambda body: with_canary(body, str(-(2**63) - 1)), "canary"),
    "an integer of 4301 digits": (lambda body: with_canary(body, "1" * 4301), "canary"),
    "a NUL in a text": (lambda body: with_canary(body, '"canary-6f3a9c\\u0000"'), "canary"),
    "half a surrogate": (lambda body: with_canary(body, '"canary-6f3a9c\\ud800"'), "canary"),
    "a key twice": (lambda body: with_canary(body, '1, "canary": 2'), "canary"),
    "a key twice by an escape": (lambda body: with_canary(body, '1, "c\\u0061nary": 2'), "canary"),
    "deeper than the limit": (lambda body: with_canary(body, nested(DEPTH)), FIRST),
    "a thousand deep": (lambda body: with_canary(body, nested(1_000)), FIRST),
    "a hundred thousand deep": (lambda body: with_canary(body, nested(100_000)), FIRST),
    "null": (lambda body: b"null", FIRST),
    "true": (lambda body: b"true", FIRST),
    "a number": (lambda body: b"7", FIRST),
    "a text": (lambda body: b'"canary-6f3a9c"', FIRST),
    "the other bracket": (lambda body: b"{}" if isinstance(body, list) else b"[]", FIRST),
    "a list of lists": (lambda body: b"[[[]]]", "[0]"),
}


# -- the service


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("bad-input"), WEBHOOK_SECRETS=SECRET) as service:
        yield service


@pytest.fixture(scope="module")
def ids(service):
    """An order that is there, with its lock, a party and a reservation, so that nothing but the body can be wrong."""
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    assert service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": "l", "expiry": soon()}).status == 200
    party, reservation = (
        service.dojo.post(route.path, route.body()).json for route in (ROUTES["CreateParty"], ROUTES["CreateReservation"])
    )
    return {"order_id": order_id, "party_id": party["id"], "reservation_id": reservation["id"]}


@pytest.fixture(scope="module")
def error(specs):
    """Checks an answer against the published EPOSError, and gives its message."""
    components = json.loads((specs / "epos-data-api.json").read_text())["components"]
    validator = Draft202012Validator({"$ref": "#/components/schemas/EPOSError", "components": components})

    def check(reply, *statuses):
        assert reply.status in statuses, (reply.status, reply.body[:300])
        validator.validate(reply.json)
        assert reply.headers["content-type"] == "application/json"
        assert reply.json["traceId"]
        return reply.json["debugMessage"]

    return check


def send(service, route, raw, ids, **headers):
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    if route.side == "hook":
        return service.dojo.call(route.method, route.path, raw, authorization=None, dojo_signature=sign(raw, SECRET), **headers)
    return getattr(service, route.side).call(route.method, route.path.format(**ids), raw, **headers)


TABLES = (
    "journal",
    "inbox",
    "orders",
    "payments",
    "outbox",
    "parked",
    "personal",
    "attention",
    "locks",
    "venue",
    "watch",
    "bookings",
    "booking_tables",
    "guests",
)


def stored(service):
    return [service.reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def test_every_route_that_takes_a_body_is_asked_here():
    assert {operation.capability for operation in OPERATIONS if operation.request is not None} <= set(ROUTES)
    till = {name for name in vars(TillApi) if re.match("open_|amend_|report_|refuse_|set_", name)}
    assert till <= set(ROUTES)


# Bodies


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("name", ROUTES)
def test_a_body_that_is_no_plain_json_is_refused_everywhere_in_the_same_words(service, ids, error, name, what):  # P14
    route, (make, field) = ROUTES[name], HOSTILE[what]
    body, before = route.body(), stored(service)
    if isinstance(body, list) and field in ("canary", "[0]"):
        field = {"canary": "[0].canary", "[0]": "[0]"}[field]
    elif field == "[0]":
        field = FIRST

    raw = make(body)
    message = error(send(service, route, raw, ids), 413 if route.side == "operator" and len(raw) > OPERATORS_BODY else 400)

    assert message.startswith(f"{field}: "), message
    assert len(message) < 200
    assert stored(service) == before


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, route in ROUTES.items() for path in route.fields])
def test_a_field_that_is_something_else_is_refused_by_its_name(service, ids, error, name, path):  # I-3 I-6 I-7 M13 X7 T4
    route, before = ROUTES[name], stored(service)
    for bad in route.fields[path]:
        message = error(send(service, route, with_canary(changed(route.body(), path, bad)), ids), 400)

        field = message.partition(": ")[0]
        assert field == path or field.startswith((f"{path}.", f"{path}[")), (bad, message)
        assert len(message) < 300
    assert service.dojo.get("/healthz").status == 200
    assert stored(service) == before


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, route in ROUTES.items() for path in route.required])
def test_a_field_that_must_be_there_is_named_whether_it_is_absent_or_null(service, ids, error, name, path):
    route, before = ROUTES[name], stored(service)
    for body in (changed(route.body(), path, without=True), changed(route.body(), path, None)):
        message = error(send(service, route, body, ids), 400)

        assert message == f"{path}: required, but absent"
    assert stored(service) == before


def test_so_many_bad_bodies_were_sent():
    assert sum(len(values) for route in ROUTES.values() for values in route.fields.values()) > 1_000
    assert len(HOSTILE) * len(ROUTES) > 500


@pytest.mark.parametrize(
    ("message", "name", "path", "bad"),
    [
        (
            'items[0].amountPerItem.value: expected an integer in minor units, got "12.50"',
            "CreateOrder",
            "items[0].amountPerItem.value",
            "12.50",
        ),
        ('items[0].plu: expected 1 to 255 characters without control characters, got "a\ufffdb"', "CreateOrder", "items[0].plu", "a\nb"),
        (
            "payments[0].paidAmount.value: expected 1 to 9007199254740992 minor units, got 0",
            "CreateOrder",
            "payments[0].paidAmount.value",
            0,
        ),
        ('totalAmount.currencyCode: expected "GBP", got "EUR"', "CreateOrder", "totalAmount.currencyCode", "EUR"),
        ("cursor.limit: expected an integer <= 100, got 101", "SearchOrders", "cursor.limit", 101),
        ("payableOnly: expected true or false, got 1", "SearchOrders", "payableOnly", 1),
        ("items: expected a list, got an object", "CreateOrder", "items", {}),
        ("lockId: expected text, got 7", "CreateOrderLock", "lockId", 7),
    ],
)
def test_a_refusal_says_what_was_expected_and_what_came(service, ids, error, message, name, path, bad):
    route = ROUTES[name]
    assert error(send(service, route, changed(route.body(), path, bad), ids), 400) == message


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": None},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/json; charset=utf-7"},
        {"content_type": "application/json; charset=utf-16"},
        {"content_type": "application/jsonx"},
        {"content_encoding": "gzip"},
        {"content_encoding": "br"},
    ],
    ids=lambda headers: "-".join(map(str, headers.values())),
)
@pytest.mark.parametrize("name", ROUTES)
def test_another_kind_of_content_is_415_everywhere(service, ids, error, name, headers):  # I-8 I-2
    before = stored(service)
    error(send(service, ROUTES[name], with_canary(ROUTES[name].body()), ids, **headers), 415)
    assert stored(service) == before


@pytest.mark.parametrize("name", ROUTES)
def test_a_body_beyond_the_limit_is_413_everywhere(service, ids, error, name):  # I-2
    before = stored(service)
    error(send(service, ROUTES[name], with_canary(ROUTES[name].body()).ljust(BODY + 1), ids), 413)
    assert stored(service) == before


def test_a_cursor_with_both_directions_is_refused(service, error):  # I-14
    for path in ("/v1/orders/search", "/v1/tables/search", "/v1/parties/search", "/v1/reservations/search"):
        assert error(service.dojo.post(path, {"cursor": {"before": "x", "after": "x"}}), 400).startswith(
            "cursor.before: expected before or after"
        )


def test_a_token_that_was_changed_anywhere_is_refused(service, error):
    for _ in range(3):
        service.till.post("/till/orders", a_bill(table="tbl_tokens"))
    asked = {"dineIn": {"tableId": "tbl_tokens"}}
    token = service.dojo.post("/v1/orders/search", asked | {"cursor": {"limit": 1}}).json["after"]
    assert service.dojo.post("/v1/orders/search", asked | {"cursor": {"after": token}}).status == 200

    for place in range(0, len(token), 7):
        other = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert error(service.dojo.post("/v1/orders/search", asked | {"cursor": {"after": other}}), 400).startswith("cursor.after: ")
    for other in (token[:-1], token + "A", token + "=", token + "\n", token.swapcase()):
        assert error(service.dojo.post("/v1/orders/search", asked | {"cursor": {"after": other}}), 400).startswith("cursor.after: ")
    for path in ("/v1/tables/search", "/v1/parties/search", "/v1/reservations/search"):
        assert error(service.dojo.post(path, {"cursor": {"after": token}}), 400).startswith("cursor.after: ")


# Moments that exist, however odd


@pytest.mark.parametrize(
    "expiry",
    [
        *("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "2038-01-19T03:14:08Z", "2028-02-29T12:00:00Z", "2030-06-30T23:59:60Z"),
        *("2030-01-01T00:00:00.1234567Z", "2030-01-01T00:00:00.123456789+01:00", "2030-01-01t00:00:00z", "2030-01-01 00:00:00Z"),
    ],
)
def test_a_moment_that_exists_is_taken_in_any_published_form(service, expiry):  # X7 T4
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    assert service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": "odd", "expiry": expiry}).status == 200


# Query strings and ids in paths

ODD = ["%00", "%ff", "%F0%9F%8D%95", "x" * 10_000, "..", "-1", "1.5", "1e3", "%2B1", "%D9%A1", "'%20OR%201=1--", "true%00", "9" * 30]
QUERIES = {
    "/till/feed": ("till", ["after", "limit", "wait"]),
    "/api/orders": ("auditor", ["state", "flow", "from", "to", "attention", "after", "limit"]),
    "/api/attention": ("auditor", ["code"]),
    "/api/outbox": ("auditor", ["status", "after", "limit"]),
    "/api/export": ("auditor", ["format", "from", "to"]),
}


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(("path", "name"), [(path, name) for path, (_, names) in QUERIES.items() for name in names])
def test_a_query_that_cannot_be_meant_is_refused_by_its_name(service, error, path, name, odd):
    reply = getattr(service, QUERIES[path][0]).get(f"{path}?{name}={odd}")

    message = error(reply, 400, 414, 431)
    assert reply.status != 400 or message.startswith(f"{name}: "), message
    assert message.isprintable()


@pytest.mark.parametrize("odd", [*ODD, "%", "%zz", "a%0d%0ab", "%3Cscript%3E", "*", "%25"], ids=range(len(ODD) + 6))
def test_a_text_that_is_searched_for_is_taken_literally(service, odd):  # I-11
    reply = service.auditor.get(f"/api/orders?search={odd}")

    assert reply.status in {200, 400, 414, 431}, reply.body
    assert reply.status != 200 or reply.json == {"data": [], "after": None}


IDS_IN_PATHS = [
    *("..", "../orders", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2f", "a%2fb", "%00", "a%00b", "%ff", "%ff%fe", "%F0%9F%8D%95", "x" * 10_000),
    *("%25s%25n", "a%0d%0aX-Evil:%201", "'%20OR%201=1--", "%3Cscript%3E", "%5c..%5c", "%u0041", "a%2", "%C0%AF", "%20", "%E2%80%AE"),
]
PATHS = {
    "GET /v1/orders/{}": "dojo",
    "DELETE /v1/orders/{}": "dojo",
    "POST /v1/orders/{}/lock": "dojo",
    "PUT /v1/orders/{}/locks/l": "dojo",
    "PUT /v1/orders/x/locks/{}": "dojo",
    "DELETE /v1/orders/x/locks/{}": "dojo",
    "POST /v1/orders/{}/record-payment": "dojo",
    **{f"{method} /v1/{place}/{{}}": "dojo" for place in ("parties", "reservations") for method in ("GET", "PUT", "DELETE")},
    "PUT /till/orders/{}": "till",
    "POST /till/orders/{}/status": "till",
    "POST /till/orders/{}/refuse": "till",
    "GET /api/orders/{}": "auditor",
    "GET /api/orders/{}/journal": "auditor",
    "GET /api/orders/{}/proof": "auditor",
    "POST /api/orders/{}/resolve": "operator",
    "POST /api/orders/{}/erase": "operator",
    "POST /api/bookings/{}/erase": "operator",
    "POST /api/outbox/{}/requeue": "operator",
    "POST /api/outbox/{}/stop": "operator",
}


@pytest.mark.parametrize("hostile", IDS_IN_PATHS, ids=range(len(IDS_IN_PATHS)))
@pytest.mark.parametrize("path", PATHS)
def test_an_id_that_nothing_can_have_is_one_that_does_not_exist(service, error, path, hostile):  # I-9
    method, _, rule = path.partition(" ")
    before = stored(service)
    body = _body_for(method, rule)

    reply = getattr(service, PATHS[path]).call(method, rule.format(hostile), body)

    if reply.body:
        message = error(reply, 400, 404, 405, 414, 431)
        assert "\n" not in message
        assert len(message) < 300
    assert reply.status in {400, 404, 405, 414, 431}
    assert "x-evil" not in reply.headers
    assert stored(service) == before


def _body_for(method, rule):
    """The body of the route with this rule, so that nothing but the id is wrong."""
    if method in {"GET", "DELETE"}:
        return None
    shape = re.sub(r"\{\w*\}", "x", rule)
    shapes = {(route.method, re.sub(r"\{\w*\}|none", "x", route.path)): route for route in ROUTES.values()}
    return shapes[method, re.sub(r"locks/x$", "locks/l", shape)].body()


def test_payments_of_a_repeated_order_never_come_to_more_than_one_amount_can_be(service):
    name, total = new("order"), 2**53
    for number in range(12):  # Summed, the eleventh hundred would no longer fit into 64 bits.
        payments = [{"paymentIntentId": new("pi"), "paidAmount": gbp(total // 100)} for _ in range(100)]
        reply = service.dojo.post("/v1/orders", an_order(name, total=total, payments=payments))
        assert reply.status == (409 if number else 200), reply.body[:300]
    assert "more than one amount can be" in reply.json["debugMessage"]


# What is accepted, and what is left of it


@pytest.mark.parametrize("name", ROUTES)
def test_unknown_fields_are_accepted_at_every_depth(service, ids, name):  # I-6
    def strange(value):
        if isinstance(value, list):
            return [strange(inner) for inner in value]
        if isinstance(value, dict):
            return {key: strange(inner) for key, inner in value.items()} | {"unknownField": {"deep": [CANARY]}, CANARY: CANARY}
        return value

    route = ROUTES[name]
    assert send(service, route, strange(route.body()), ids).status == route.good


def test_after_all_of_this_nothing_unknown_was_stored_or_logged_and_the_service_is_whole(service):
    assert service.dojo.get("/healthz").status == 200
    assert service.open.get("/readyz").json["reasons"] == []
    files = [path for path in service.folder.iterdir() if path.is_file()]
    assert {"tillproof.db", "tillproof.db-wal", "service.log"} <= {path.name for path in files}
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []
    assert [line for line in service.log() if line["level"] in {"ERROR", "CRITICAL"} and line["event"] != "attention raised"] == []
    service.assert_whole()
