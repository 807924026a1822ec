"""The API page: the OpenAPI document as plain HTML, without scripts, and the two routes that give out both."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from flask import Flask, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adapters.edge.openapi import JSON, Call, Schema, encode

_PUBLIC: dict[str, Any] = {"method": "GET", "tag": "Service", "stores": False}
CALLS = (
    Call(id="openapi", path="/openapi.json", summary="Read this description for programs.", answer=dict, **_PUBLIC),
    Call(id="docs", path="/docs", summary="Read this description as a page.", answer=str, media="text/html", **_PUBLIC),
)
"""Public on both sides: what is asked and answered is no secret."""

ENDPOINTS = frozenset(call.id for call in CALLS)

SAMPLES: Mapping[str, object] = {
    "accountId": "acc_5c7Qn1",
    "action": None,
    "amountPerItem": {"value": 1250, "currencyCode": "GBP"},
    "captureMode": "Manual",
    "collectAt": "2026-03-14T12:30:00Z",
    "createdAt": "2026-03-14T12:01:09.866Z",
    "currencyCode": "GBP",
    "dojoOrderId": "ord_8f2Kp0",
    "event": "payment_intent.status_updated",
    "expiry": "2099-12-31T23:59:00Z",
    "lockId": "lock_3vT9",
    "orderType": "DineIn",
    "paidAmount": {"value": 1250, "currencyCode": "GBP"},
    "paymentIntentId": "pi_sandbox_4Hc2Wd",
    "paymentStatus": "Captured",
    "plu": "PIZ-04",
    "quantity": 1,
    "reason": "Seen and settled with the manager",
    "tableId": "tbl_12",
    "totalAmount": {"value": 1250, "currencyCode": "GBP"},
    "value": 1250,
}
"""What stands in an example for a field of this name; any other required field gets the least that its schema allows."""

SHOWN = frozenset({"cursor", "data", "dineIn"})
"""Optional objects that an example shows all the same."""

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_WORDS = {"string": "text", "integer": "integer", "boolean": "true or false", "number": "number", "object": "object", "null": "null"}


def install_api(app: Flask, found: Schema) -> None:
    """Serve the document and the page, each made once."""
    raw, (html, policy) = encode(found), page(found)

    def openapi() -> Response:
        return Response(raw, mimetype=JSON)

    def docs() -> Response:
        return Response(html, mimetype="text/html", headers={"Content-Security-Policy": policy})

    for call, view in zip(CALLS, (openapi, docs), strict=True):
        app.add_url_rule(call.rule, call.id, view, methods=[call.method])


def page(found: Schema) -> tuple[str, str]:
    """The page, and the Content-Security-Policy that lets its style in and nothing else."""
    html = _template().render(document=found, groups=list(_groups(found)), types=list(_types(found)), linked=_linked, broken=_broken)
    styles = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" for style in _STYLE.findall(html))
    return html, f"default-src 'none'; style-src {styles}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def example(schema: Schema, components: Mapping[str, Schema], name: str = "") -> Any:
    """A value that the schema allows, as a person would write it."""
    if SAMPLES.get(name) is not None:
        return SAMPLES[name]
    schema = resolved(schema, components)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        needed = schema.get("required", ())
        return {
            field: example(part, components, field)
            for field, part in schema.get("properties", {}).items()
            if field in needed or field in SHOWN or (SAMPLES.get(field) is not None and not _is_big(part, components))
        }
    if kind == "array":
        return [example(schema["items"], components)]
    if kind == "integer":
        return max(schema.get("minimum", 0), schema.get("default", 1))
    if kind == "boolean":
        return schema.get("default", False)
    return _text(schema, name)


def _text(schema: Schema, name: str) -> str:
    if schema.get("format") == "date-time":
        return "2026-03-14T12:00:00Z"
    return {"id": "id_1", "name": "Margherita"}.get(name, "text")


def resolved(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """The schema itself where `schema` only names it."""
    return components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _is_big(schema: Schema, components: Mapping[str, Schema]) -> bool:
    return resolved(schema, components).get("type") == "array"


# -- what the template is given


@dataclass(frozen=True, slots=True)
class Row:
    """A field or a parameter: its name, where it goes, its type (plain or of a component), whether it must be there, limits, meaning."""

    name: str
    place: str
    kind: str
    required: bool
    limits: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A status with its meaning and the type of its body."""

    status: str
    meaning: str
    kind: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One operation as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    security: str
    parameters: list[Row]
    body: str
    fields: list[Row]
    example: str
    answers: list[Answered]


def _groups(found: Schema) -> Iterator[tuple[str, list[Shown]]]:
    """The operations of each tag, in the document's order."""
    shown = [(part["tags"][0], _shown(found, path, method, part)) for path, item in found["paths"].items() for method, part in item.items()]
    for tag in found["tags"]:
        yield tag["name"], [one for name, one in shown if name == tag["name"]]


def _shown(found: Schema, path: str, method: str, part: Schema) -> Shown:
    components = found["components"]["schemas"]
    body = part.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
    answers = [
        (status, found["components"]["responses"][status] if "$ref" in answer else answer) for status, answer in part["responses"].items()
    ]
    return Shown(
        id=part["operationId"],
        method=method.upper(),
        path=path,
        summary=part["summary"],
        description=part.get("description", ""),
        security=next((name for scheme in part["security"] for name in scheme), ""),
        parameters=list(map(_parameter, part.get("parameters", ()))),
        body=_kind(body) if body else "",
        fields=list(_rows(resolved(body.get("items", body), components))) if body else [],
        example=_curl(found, path, method.upper(), part, body),
        answers=[Answered(status, answer["description"], _answer_kind(answer)) for status, answer in answers],
    )


def _parameter(found: Schema) -> Row:
    schema = found["schema"]
    return Row(found["name"], found["in"], _kind(schema), found.get("required", False), _limits(schema), found.get("description", ""))


def _answer_kind(answer: Schema) -> str:
    return next((_kind(content["schema"]) if media == JSON else media for media, content in answer.get("content", {}).items()), "")


def _types(found: Schema) -> Iterator[tuple[str, str, list[Row]]]:
    """Every component with its description and fields."""
    for name, schema in found["components"]["schemas"].items():
        yield name, schema.get("description", ""), list(_rows(schema))


def _rows(schema: Schema) -> Iterator[Row]:
    for name, part in schema.get("properties", {}).items():
        yield Row(name, "", _kind(part), name in schema.get("required", ()), _limits(part), part.get("description", ""))


def _kind(schema: Schema) -> str:
    """The type in words; a component is named as `#Name`."""
    if "$ref" in schema:
        return f"#{schema['$ref'].rpartition('/')[2]}"
    if "anyOf" in schema and "type" not in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("format") == "date-time":
        return "date and time"
    return _WORDS.get(str(schema.get("type")), "any")


def _limits(schema: Schema) -> str:
    """Lengths, bounds, words and the default, in words."""
    found = [_between(schema, "minLength", "maxLength", " characters"), _between(schema, "minimum", "maximum", "")]
    found.append(_between(schema, "minItems", "maxItems", " items"))
    if "enum" in schema:
        found.append("one of " + ", ".join(map(str, schema["enum"])))
    if "default" in schema:
        found.append(f"default {msgspec.json.encode(schema['default']).decode().strip(chr(34))}")
    return "; ".join(filter(None, found))


def _between(schema: Schema, least: str, most: str, unit: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if high is None:
        return "" if low is None else f"at least {low:,}{unit}"
    return f"at most {high:,}{unit}" if low is None else f"{low:,} to {high:,}{unit}"


def _curl(found: Schema, path: str, method: str, part: Schema, body: Schema | None) -> str:
    lines = [f"curl -X {method}" if method not in {"GET"} else "curl"]
    scheme = next((name for needed in part["security"] for name in needed), "")
    lines += {"basic": ['-u "$USERNAME:$PASSWORD"'], "token": ['-H "Authorization: Bearer $TOKEN"']}.get(scheme, [])
    lines += ['-H "dojo-signature: $SIGNATURE"'] if scheme == "signature" else []
    if body:
        shown = msgspec.json.format(msgspec.json.encode(example(body, found["components"]["schemas"])), indent=2).decode()
        lines += ["-H 'Content-Type: application/json'", f"-d '{shown}'"]
    url = re.sub(r"{(\w+)}", lambda name: "$" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[1]).upper(), path)
    return " \\\n  ".join([*lines, f'"$URL{url}"'])


def _linked(kind: str) -> Markup:
    """A type in words with links to components."""
    return Markup(re.sub(r"#(\w+)", r'<a href="#type-\1">\1</a>', str(Markup.escape(kind))))  # noqa: S704  # Escaped before.


def _broken(path: str) -> Markup:
    """A path that a narrow column may break before a slash."""
    return Markup("<wbr>/").join(path.split("/"))


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("adapters.edge"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("api_page.html")
