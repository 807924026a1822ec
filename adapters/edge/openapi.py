"""What is served, as OpenAPI 3.1: made of rows of calls and of the same types that parse the requests and shape the answers.

A side lists its calls as `Call` rows; `document` writes them down. Type names come out as Dojo publishes them, fields as on the wire.
A field that may be null only because it may be absent is shown as optional: null counts as absent, everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple, TypedDict

import msgspec

from adapters.edge.answers import RECEIPT, EposError
from adapters.edge.credentials import Role

Schema = dict[str, Any]
"""A JSON Schema, or a piece of a document; for people and programs outside, read by nobody here but the page."""

REF = "#/components/schemas/{name}"
JSON = "application/json"
_ID = re.compile(r"\{(\w+)\}")

PUBLISHED = {
    # our type              as Dojo publishes it
    "AreaBody": "Area",
    "Collection": "CollectionDetails",
    "DepositAnswer": "PartyDeposit",
    "Details": "OrderDetails",
    "DineIn": "DineInDetails",
    "EposError": "EPOSError",
    "Item": "OrderItem",
    "Nothing": "ExtendOrderLockResponse",
    "OrderAnswer": "Order",
    "PagedOrders": "PagedOrdersResponse",
    "PagedParties": "PagedPartiesResponse",
    "PagedReservations": "PagedReservationsResponse",
    "PagedTables": "PagedTablesResponse",
    "PartyAnswer": "Party",
    "PaymentAnswer": "Payment",
    "ReservationAnswer": "Reservation",
    "SearchDineIn": "SearchDineInDetails",
    "SubItem": "OrderSubItem",
    "TableBody": "Table",
    # as they may come: Dojo publishes one type for both ways, and we are stricter or more lenient one way
    "DepositRequest": "PartyDepositRequest",
    "LenientCollection": "CollectionDetailsRequest",
    "LenientDetails": "OrderDetailsRequest",
}
"""Names of components; a type that is not listed keeps its own."""

_DETAILS = [
    {"properties": {"orderType": {"const": "DineIn"}}, "required": ["dineIn"]},
    {"properties": {"orderType": {"const": "Collection"}}, "required": ["collection"]},
]
RULES: Mapping[str, Schema] = {
    "Cursor": {"not": {"required": ["before", "after"]}},
    "OrderDetails": {"anyOf": _DETAILS},
    "OrderDetailsRequest": {"anyOf": _DETAILS},
    "EventRequestBody": {
        "if": {"properties": {"event": {"enum": ["payment_intent.created", "payment_intent.status_updated"]}}},
        "then": {"properties": {"data": {"required": ["paymentIntentId", "paymentStatus"]}}, "required": ["data"]},
    },
}
"""Rules over several fields, which the types check in words of their own."""

FIELDS = {
    "accountId": "the merchant's location at Dojo",
    "affectedPlu": "the product that it is about; all of them where absent",
    "after": "token of the page that follows",
    "amountPercentage": "two implied decimals: 2000 is 20 %",
    "amountPerItem": "one item before modifiers, sub-items and discounts",
    "amountPerModifier": "may be negative",
    "asap": "as soon as possible; then without collectAt",
    "before": "token of the page that precedes",
    "captureMode": "Auto or Manual",
    "currencyCode": "ISO 4217; in requests the venue's own",
    "debugMessage": "names the field and what was expected; no personal data",
    "displayName": "the label on the card machine",
    "dojoOrderId": "Dojo's id; the same again is the same order",
    "event": "payment_intent.created or payment_intent.status_updated; others are kept and do nothing",
    "expiry": "a moment to come; at most 24 hours count",
    "lockId": "made by Dojo",
    "paidAmount": "without tips, with the service charge",
    "payable": "whether it can be paid now",
    "payableOnly": "false means all orders, payable or not",
    "paymentIntentId": "Dojo's payment intent",
    "plu": "the till's number of the product",
    "readyAt": "of a pre-order",
    "reference": "the number that people read",
    "serviceChargeAmount": "is in totalAmount already",
    "tipsAmount": "is in neither paidAmount nor totalAmount",
    "totalAmount": "after discounts and taxes, with the service charge, without tips",
    "traceId": "also in the header X-Trace-Id and in the log",
}
"""What a field means, wherever it stands."""

ERRORS = {
    400: "Malformed, or against a rule; the message names the field and what was expected",
    401: "No credentials, or not those that are known here",
    403: "The token has another role",
    404: "Nothing has this id",
    409: "The present state does not allow it",
    413: "The body is too long",
    415: "Not plain application/json in UTF-8",
    429: "Too many requests, or too many wrong credentials, of this address",
    503: "Nothing can be made durable, or too many requests at once; nothing was changed, unless the message says that nobody knows",
}


class Query(NamedTuple):
    """A parameter in the query string; `type_` carries its limits."""

    name: str
    type_: Any
    description: str
    default: object = None


class Parameter(NamedTuple):
    """A header that callers may send."""

    name: str
    description: str
    example: str


class Side(TypedDict):
    """What the calls of one table have in common."""

    tag: str
    security: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call; `id` names it in the document, `role` is who may make it on the venue's side, `security` which scheme lets it in."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    request: Any = None
    answer: Any = None
    media: str = JSON
    query: tuple[Query, ...] = ()
    headers: tuple[Parameter, ...] = ()
    security: str | None = None
    role: Role | None = None
    refuses: bool = False
    misses: bool = False
    stores: bool = True
    otherwise: tuple[tuple[int, str], ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the ids in the path, in their order."""
        return tuple(_ID.findall(self.path))

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return _ID.sub(r"<\1>", self.path)

    @property
    def errors(self) -> tuple[int, ...]:
        """The statuses of its errors."""
        answered = {
            400: self.request is not None or self.query,
            401: self.security,
            403: self.role,
            404: self.ids or self.misses,
            409: self.refuses,
            413: self.request is not None,
            415: self.request is not None,
            429: self.security,
            503: self.stores,
        }
        return tuple(status for status, is_answered in answered.items() if is_answered)


def document(title: str, description: str, calls: Sequence[Call], schemes: Mapping[str, Schema]) -> Schema:
    """The OpenAPI document of `calls`; `schemes` are the security schemes that they name."""
    types = [type_ for call in calls for type_ in (call.request, call.answer) if type_ is not None]
    made, components = msgspec.json.schema_components([EposError, *types], ref_template=REF)
    schemas = dict(zip(map(_key, [EposError, *types]), made, strict=True))
    paths: dict[str, Schema] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, schemas)
    named = {_name(name): _component(_name(name), schema) for name, schema in components.items()}
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": installed_version("tillproof"), "description": description},
        "tags": [{"name": tag} for tag in dict.fromkeys(call.tag for call in calls)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(named.items())),
            "responses": {str(status): _error(status) for status in sorted({status for call in calls for status in call.errors})},
            "headers": {
                "X-Trace-Id": {"description": "The request's id, also in the log", "schema": {"type": "string"}},
                RECEIPT: {
                    "description": "JSON: order_id, order_seq and hash of the last entry that this left, or of the order's newest",
                    "schema": {"type": "string"},
                },
                "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}},
            },
            "securitySchemes": dict(schemes),
        },
    }
    renamed: Schema = _renamed(found)
    return renamed


def encode(found: Schema) -> bytes:
    """The document as it is served and committed: indented, keys in the order of their making."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def _operation(call: Call, schemas: Mapping[str, Schema]) -> Schema:
    found: Schema = {"operationId": call.id, "tags": [call.tag], "summary": call.summary}
    if call.role:
        found["description"] = f"Needs a token with the role {call.role}{' (an operator may too)' * (call.role == 'auditor')}."
    parameters = [*map(_in_path, call.ids), *map(_in_query, call.query), *map(_in_header, call.headers)]
    if parameters:
        found["parameters"] = parameters
    if call.request is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[_key(call.request)]}}}
    headers = {"X-Trace-Id": {"$ref": "#/components/headers/X-Trace-Id"}}
    if call.method != "GET":
        headers[RECEIPT] = {"$ref": f"#/components/headers/{RECEIPT}"}
    good: Schema = {"description": "Done" if call.request or call.method != "GET" else "Found", "headers": headers}
    if call.answer is not None:
        good["content"] = {call.media: {"schema": _clean(schemas[_key(call.answer)])}}
    found["responses"] = {"200": good} | {str(status): good | {"description": text} for status, text in call.otherwise}
    found["responses"] |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in call.errors}
    found["security"] = [{call.security: []}] if call.security else []
    return found


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(query: Query) -> Schema:
    schema = _clean(msgspec.json.schema(query.type_))
    if query.default is not None:
        schema["default"] = query.default
    return {"name": query.name, "in": "query", "description": query.description, "schema": schema}


def _in_header(header: Parameter) -> Schema:
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "schema": {"type": "string"},
        "example": header.example,
    }


def _error(status: int) -> Schema:
    names = ["X-Trace-Id", *{409: [RECEIPT], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])]
    return {
        "description": ERRORS[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {JSON: {"schema": {"$ref": REF.format(name="EposError")}}},
    }


def _key(type_: Any) -> str:
    return repr(type_)


def _name(name: str) -> str:
    return PUBLISHED.get(name, name.strip("_").replace("_", "Of"))


def _component(name: str, schema: Schema) -> Schema:
    """A type's schema, fit for the document: names as on the wire, no nulls that only mean absence, a description for strangers."""
    properties = {field: _field(field, _clean(part)) for field, part in schema.get("properties", {}).items()}
    found: Schema = {"type": schema.get("type", "object")}
    if text := _described(schema.get("description", ""), properties):
        found["description"] = text
    if properties or "properties" in schema:
        found["properties"] = properties
    if schema.get("required"):
        found["required"] = schema["required"]
    return (
        found | {key: part for key, part in schema.items() if key not in {*found, "title", "required", "description"}} | RULES.get(name, {})
    )


def _field(name: str, schema: Schema) -> Schema:
    texts = [text for text in (FIELDS.get(name), schema.get("description")) if text]
    return schema | {"description": "; ".join(texts)} if texts else schema


def _clean(schema: Schema) -> Schema:
    """Without null where it is the default, and without defaults that say no more than absence does."""
    if "default" in schema:
        default, rest = schema["default"], {key: part for key, part in schema.items() if key != "default"}
        if default is None and "anyOf" in rest:
            choices = [choice for choice in rest.pop("anyOf") if choice != {"type": "null"}]
            rest = (choices[0] if len(choices) == 1 else {"anyOf": choices}) | rest
        if default is None and None in rest.get("enum", ()):
            rest["enum"] = [value for value in rest["enum"] if value is not None]
        schema = rest | ({"default": default} if isinstance(default, bool | int) else {})
    if "enum" in schema and "type" not in schema and all(isinstance(value, str) for value in schema["enum"]):
        schema = {"type": "string"} | schema
    return {key: _clean(part) if key == "items" and isinstance(part, dict) else part for key, part in schema.items() if key != "title"}


def _described(text: str, fields: Iterable[str]) -> str:
    """What a docstring says to whom sees only the wire: fields by their names there, nothing that names other code or our papers."""
    wire = {re.sub(r"(?<!^)([A-Z])", lambda capital: "_" + capital[0].lower(), name): name for name in fields}
    known = {**wire, **{name: name for name in fields}}
    told = re.sub(r"\s*\((?:contract|CONTRACT)[^)]*\)", "", " ".join(text.partition("\n\n")[0].split()))
    parts = [part for part in re.split(r"(?<=[.;])\s+", told) if set(re.findall(r"`([^`]+)`", part)) <= known.keys()]
    return re.sub(r"`(\w+)`", lambda word: known[word[1]], " ".join(parts)).rstrip(".;")


def _renamed(part: Any) -> Any:
    """The same with every reference to a type by its published name."""
    if isinstance(part, str):
        return _reference(part) if part.startswith("#/") else part
    if isinstance(part, dict):
        return {key: _renamed(inner) for key, inner in part.items()}
    return [_renamed(inner) for inner in part] if isinstance(part, list | tuple) else part


def _reference(target: str) -> str:
    base, _, name = target.rpartition("/")
    return f"{base}/{_name(name)}" if base == "#/components/schemas" else target
