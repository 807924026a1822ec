"""JSON from strangers: refused where it is ambiguous, and refused with words that name the field.

Two steps: `read_json` turns bytes into plain values and refuses what JSON readers disagree about; `convert` turns
plain values into a typed request. Both are pure. Every refusal is a `BadInput`, or `BodyTooLarge`.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TypeAlias, TypeVar

import msgspec
import msgspec.inspect as shape

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
T = TypeVar("T")

BODY = "body"
"""The field that a refusal names when it concerns the whole body."""

GOT_LENGTH = 40
"""Characters of a received value that a refusal repeats."""
PERSONAL = frozenset({"customer", "guestRequests", "hostNotes", "name", "note"})
"""Fields that may say who somebody is; a refusal repeats nothing of what came for them, or below them."""

CARD_REMOVED = "[card number removed]"
CARD_DIGITS = range(13, 20)
"""How many digits a card number has."""

_INT64 = range(-(2**63), 2**63)
_INT64_TEXT = 20  # The longest 64-bit integer in characters, sign included.
_QUOTE_WINDOW = 200  # Looked at for card numbers before cutting to GOT_LENGTH; a card with separators is at most 55.


class BadInput(ValueError):
    """What the caller sent is malformed or against the rules: HTTP 400; `field` is its path, `str()` is fit for the answer."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class BodyTooLarge(ValueError):
    """The body is longer than `max_body` bytes: HTTP 413."""

    def __init__(self, max_body: int) -> None:
        super().__init__(f"{BODY}: expected at most {max_body} bytes")
        self.max_body = max_body


def read_json(raw: bytes, *, max_body: int, max_depth: int) -> JsonValue:
    """Read one JSON document: UTF-8, unique keys, 64-bit integers, no NUL, no lone surrogate, no NaN, at most `max_depth` deep.

    Keys whose value is null are left out, so that null means absent; null in a list stays. Raises BadInput, BodyTooLarge.
    """
    if len(raw) > max_body:
        raise BodyTooLarge(max_body)
    if _is_too_deep(raw, max_depth):
        raise BadInput(BODY, f"nested deeper than {max_depth} levels")
    faults: list[_Fault] = []
    value = _parse(_text(raw), faults)
    if faults or _SUSPECT_ESCAPE.search(raw):
        _refuse_faults(value, "")
    return value


def convert(value: JsonValue, type_: type[T]) -> T:
    """Make a `type_` of what `read_json` read; unknown fields are dropped, nothing is coerced.

    Raises BadInput; its text says where, what was expected and what came.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise _in_words(error, value, type_) from error


def shown(value: object) -> str:
    """A received value as a message may repeat it: short, printable, without card numbers."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f'"{printable(value)}"'
    return printable(json.dumps(value))


def _kind(value: object) -> str:
    """What a received value is, without repeating any of it."""
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return shown(value) if isinstance(value, dict | list | bool) else "a number"


def without_card_numbers(text: str) -> str:
    """`text` with every Luhn-valid run of 13 to 19 digits replaced; the digits may stand in groups (`4111 1111 …`),
    with one or two blanks, line ends, dots or dashes between them.

    Only whole groups are joined, so that a longer number is never mistaken for the card number inside it.
    """
    return _DIGIT_RUN.sub(lambda run: _without_cards(run[0]), text)


def is_card_number(text: str) -> bool:
    """`text` is a Luhn-valid number as a card scheme issues it, and nothing else; of ids of 16 digits about one in 30 is."""
    return bool(_SCHEMES.fullmatch(text)) and without_card_numbers(text) == CARD_REMOVED


_SCHEMES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-59]|[689]\d)\d{11,16}|35(?:2[89]|[3-8]\d)\d{12,15}"  # Diners Club, JCB
    r"|(?:6\d|5[0678])\d{11,17}"  # Discover, UnionPay, Maestro
)
"""What an issuer's number begins with, and how long it is then: ISO/IEC 7812, and what the schemes publish."""

_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class _Fault:
    """Stands in the tree where something refused was read, until `_refuse_faults` knows its path."""

    def __init__(self, message: str) -> None:
        self.message = message


def _is_too_deep(raw: bytes, max_depth: int) -> bool:
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return False
    # Escapes go first, so that every quote left opens or closes a string; what follows a syntax error may be misjudged,
    # but the parser stops there.
    outside_strings = b"".join(raw.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    brackets = outside_strings.translate(None, _NOT_BRACKETS)
    return any(depth > max_depth for depth in accumulate(1 if bracket in b"[{" else -1 for bracket in brackets))


def _text(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise BadInput(BODY, "expected UTF-8 without a byte order mark")
    if not raw.strip():
        raise BadInput(BODY, "expected JSON, got nothing")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(BODY, f"expected UTF-8, got byte 0x{raw[error.start]:02x} at {error.start}") from error


def _parse(text: str, faults: list[_Fault]) -> JsonValue:
    def fault(message: str) -> _Fault:
        faults.append(_Fault(message))
        return faults[-1]

    decoder = json.JSONDecoder(object_pairs_hook=_object(fault), parse_int=_integer(fault), parse_constant=_constant(fault))
    try:
        value: JsonValue = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise BadInput(BODY, f"not JSON: {error.msg} (character {error.pos})") from error
    except RecursionError as error:  # Only where the depth setting is beyond what the interpreter's stack can hold.
        raise BadInput(BODY, "nested too deeply") from error
    return value


def _object(fault: Callable[[str], _Fault]) -> Callable[[list[tuple[str, object]]], dict[str, object]]:
    def read(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            return {_repeated(pairs): fault("comes twice")}
        if None in found.values():
            return {key: value for key, value in pairs if value is not None}
        return found

    return read


def _repeated(pairs: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _integer(fault: Callable[[str], _Fault]) -> Callable[[str], int | _Fault]:
    def read(digits: str) -> int | _Fault:
        # The length first: int() refuses texts of more than 4300 digits with an error of its own.
        if len(digits) > _INT64_TEXT or (number := int(digits)) not in _INT64:
            return fault(f"expected an integer of at most 64 bits, got {printable(digits)}")
        return number

    return read


def _constant(fault: Callable[[str], _Fault]) -> Callable[[str], _Fault]:
    return lambda name: fault(f"expected a number, got {name}")


def _refuse_faults(value: object, path: str) -> None:
    if isinstance(value, _Fault):
        raise BadInput(path or BODY, value.message)
    if isinstance(value, str):
        _refuse_bad_text(value, path)
    for step, inner in _children(value):
        _refuse_bad_text(step, path)
        _refuse_faults(inner, _below(path, printable(step)))


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, list):
        yield from ((f"[{index}]", inner) for index, inner in enumerate(value))


def _refuse_bad_text(text: str, path: str) -> None:
    if "\0" in text:
        raise BadInput(path or BODY, "expected text without NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadInput(path or BODY, "expected Unicode text, got half of a surrogate pair")


def _below(path: str, step: str) -> str:
    return path + step if step.startswith("[") or not path else f"{path}.{step}"


_MISSING = re.compile(r"Object missing required field `(?P<name>.+)`")
_EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<limit>.*?)(?:, got `[^`]+`)?", re.DOTALL)
_STEP = re.compile(r"\[(?P<index>\d+)\]|(?P<name>[^.\[\]]+)")
_KINDS = {"str": "text", "int": "an integer", "bool": "true or false", "array": "a list", "object": "an object"}


def _in_words(error: msgspec.ValidationError, value: JsonValue, type_: type[T]) -> BadInput:
    what, path = _what_and_where(str(error))
    if isinstance(error.__cause__, BadInput):  # Raised by a struct of ours about one of its fields.
        return BadInput(_below(path, error.__cause__.field), error.__cause__.message)
    if missing := _MISSING.fullmatch(what):
        return BadInput(_below(path, missing["name"]), "required, but absent")
    steps = [step["index"] or step["name"] for step in _STEP.finditer(path)]
    came = _at(value, steps)
    got = _kind(came) if PERSONAL.intersection(steps) else shown(came)
    return BadInput(path or BODY, f"expected {_expected(what, path, steps, type_)}, got {got}")


def _what_and_where(complaint: str) -> tuple[str, str]:
    what, located, path = complaint.rpartition(" - at `$")
    return (what, path.rstrip("`").lstrip(".")) if located else (complaint, "")


def _expected(what: str, path: str, steps: list[str], type_: type[T]) -> str:
    expected = _EXPECTED.fullmatch(what)
    if expected is None or "matching regex" in expected["limit"]:
        # msgspec does not name the words of a Literal, and a pattern is no help to a person: the declaration has both.
        return next(filter(None, map(_description, _declared(shape.type_info(type_), steps))), "a valid value")
    kinds = " or ".join(_KINDS.get(kind, kind) for kind in expected["kinds"].split(" | ") if kind != "null")
    unit = " in minor units" if kinds == _KINDS["int"] and path.endswith(".value") else ""
    return f"{kinds}{unit}{expected['limit']}"


def _declared(node: shape.Type, steps: list[str]) -> Iterator[shape.Type]:
    """The types that the declaration has at a path; several where it is a union."""
    if isinstance(node, shape.UnionType):
        for choice in node.types:
            yield from _declared(choice, steps)
    elif not steps:
        yield node
    elif isinstance(node, shape.Metadata):
        yield from _declared(node.type, steps)
    elif isinstance(node, shape.StructType):
        for field in node.fields:
            if field.encode_name == steps[0]:
                yield from _declared(field.type, steps[1:])
    elif isinstance(node, shape.VarTupleType | shape.ListType):
        yield from _declared(node.item_type, steps[1:])


def _description(node: shape.Type) -> str:
    if isinstance(node, shape.LiteralType):
        return "one of " + ", ".join(map(str, node.values))
    return str((node.extra_json_schema or {}).get("description", "")) if isinstance(node, shape.Metadata) else ""


def _at(value: JsonValue, steps: list[str]) -> JsonValue:
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value[step] if isinstance(value, dict) else value
    return value


_SEPARATOR = r"[\s._\u200b\u2010-\u2015-]"
_DIGIT_RUN = re.compile(rf"\d(?:{_SEPARATOR}{{0,2}}\d){{12,}}")
_DIGIT_GROUP = re.compile(r"\d+")


def printable(text: str) -> str:
    """A received text as a message may repeat it: short, printable, without card numbers."""
    text = visible(without_card_numbers(text[:_QUOTE_WINDOW]))
    return text if len(text) <= GOT_LENGTH else text[: GOT_LENGTH - 1] + "…"


def visible(text: str) -> str:
    """`text` with a mark in the place of each character that is not printed: line feeds, escapes, turns of direction."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _without_cards(run: str) -> str:
    groups = [(group.start(), group.end()) for group in _DIGIT_GROUP.finditer(run)]
    kept: list[str] = []
    end = 0
    for first, last in _card_spans(run, groups):
        if first >= end:
            kept += [run[end:first], CARD_REMOVED]
        end = max(end, last)
    return "".join([*kept, run[end:]])


def _card_spans(run: str, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where runs of whole groups form a card number, left to right; they may overlap."""
    sums = _luhn_sums(run)
    bounds = [0, *accumulate(end - start for start, end in groups)]
    for first, left in enumerate(bounds[:-1]):
        for end in range(bisect_left(bounds, left + CARD_DIGITS.start), bisect_left(bounds, left + CARD_DIGITS.stop)):
            right = bounds[end]
            parity = right % 2  # Luhn: the last digit counts once, the one before it doubled, and so on.
            if (sums[parity][right] - sums[parity][left]) % 10 == 0:
                yield groups[first][0], groups[end - 1][1]


def _luhn_sums(run: str) -> tuple[list[int], list[int]]:
    """Running Luhn sums of the run's digits, with every even place doubled and with every odd place doubled."""
    digits = [int(character) for character in run if character.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits]
    even = [doubled[place] if place % 2 == 0 else digit for place, digit in enumerate(digits)]
    odd = [doubled[place] if place % 2 == 1 else digit for place, digit in enumerate(digits)]
    return [0, *accumulate(even)], [0, *accumulate(odd)]
