"""The strict reader: what it refuses, how it says so, and that it reads everything else as everybody does."""

import json
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.edge.strict_json import BadInput, BodyTooLarge, convert, read_json, shown, without_card_numbers
from workflow.bill import Bill, Personal

MAX_BODY = 1_048_576
MAX_DEPTH = 32

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
json_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20)
fragments = ["{", "}", "[", "]", ":", ",", '"', "\\", '"a"', "1", "-", "1e400", "null", "NaN", "9" * 30]
awkward = ["\\u0000", "\\ud800", "\\u00e9", "\ufeff"]
json_like = st.lists(st.sampled_from(fragments + awkward)).map(lambda parts: "".join(parts).encode())


def read(text, max_depth=MAX_DEPTH):
    raw = text if isinstance(text, bytes) else text.encode()
    return read_json(raw, max_body=MAX_BODY, max_depth=max_depth)


def refusal(text):
    with pytest.raises(BadInput) as caught:
        read(text)
    return str(caught.value)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


@given(json_values, st.booleans())
def test_it_agrees_with_json_loads_but_for_nulls(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read(text, max_depth=100) == without_nulls(json.loads(text))


@given(st.binary() | json_like)
def test_bytes_of_any_kind_are_read_or_refused_as_bad_input(raw):
    try:
        value = read(raw)
    except BadInput as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert value == without_nulls(json.loads(raw))


@given(json_values)
def test_a_value_of_any_shape_is_converted_or_refused_as_bad_input(value):
    try:
        convert(without_nulls(value), Bill)
    except BadInput as error:
        assert str(error).isprintable()  # noqa: PT017


# I-1
@pytest.mark.parametrize("depth", [33, 100, 1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]")])
def test_nesting_beyond_the_limit_is_refused(depth, opening, closing):
    assert refusal(opening * depth + "1" + closing * depth) == "body: nested deeper than 32 levels"


def test_nesting_up_to_the_limit_is_read():
    assert read("[" * 32 + "]" * 32)


@pytest.mark.parametrize("text", ['"' + "[" * 99 + '"', r'["\"' + "[" * 99 + '"]', r'["\\", "' + "{" * 99 + r"\\" + '"]'])
def test_brackets_in_strings_do_not_count_as_nesting(text):
    assert read(text) == json.loads(text)


def test_siblings_do_not_count_as_nesting():
    assert read("[" + ",".join(["[]"] * 99) + "]") == [[]] * 99


@pytest.mark.parametrize("brackets", ["[" * 2_000, "]" * 2_000 + "[" * 2_000])
def test_a_depth_setting_beyond_the_interpreters_stack_is_no_crash(brackets):
    with pytest.raises(BadInput):
        read(brackets * 50, max_depth=10**6)


# I-2
def test_a_body_beyond_its_limit_is_too_large():
    with pytest.raises(BodyTooLarge, match="at most 3 bytes"):
        read_json(b"1234", max_body=3, max_depth=MAX_DEPTH)


# I-8
@pytest.mark.parametrize(
    "raw", ['{"a": "£"}'.encode("utf-16"), '{"a": 1}'.encode("utf-16-le"), '{"a": 1}'.encode("utf-32"), b'{"a": "\xff"}']
)
def test_other_encodings_than_utf_8_are_refused(raw):
    assert refusal(raw).startswith("body: ")


def test_a_byte_order_mark_is_refused():
    assert refusal(b"\xef\xbb\xbf{}") == "body: expected UTF-8 without a byte order mark"


@pytest.mark.parametrize("raw", [b"", b" \n"])
def test_an_empty_body_is_refused(raw):
    assert refusal(raw) == "body: expected JSON, got nothing"


@pytest.mark.parametrize("text", ["{", "[1,]", "{'a': 1}", '{"a": 1} x', '"a\tb"', "01", "+1", ".5", "// c\n1", "\u00a01"])
def test_what_is_not_json_is_refused(text):
    assert refusal(text).startswith("body: not JSON: ")


# I-4
@pytest.mark.parametrize(
    ("text", "field"),
    [('{"id": 1, "id": 1}', "id"), (r'{"id": 1, "\u0069d": 2}', "id"), ('{"a": [{"b": null, "b": 1}]}', "a[0].b")],
)
def test_a_key_that_comes_twice_is_refused(text, field):
    assert refusal(text) == f"{field}: comes twice"


# I-3
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(number):
    assert refusal(f'{{"a": [{number}]}}') == f"a[0]: expected a number, got {number}"


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" * 20, "7" * 4301, "-" + "7" * 100_000])
def test_integers_beyond_64_bits_are_refused_wherever_they_stand(number):
    assert refusal(f'{{"unknown": {number}}}').startswith("unknown: expected an integer of at most 64 bits, got ")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_integers_of_64_bits_are_read(number):
    assert read(str(number)) == number


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'{"a": "x\udc00\ud800"}', r'{"\ud83d": 1}'])
def test_half_a_surrogate_pair_is_refused(text):
    assert "half of a surrogate pair" in refusal(text)


def test_a_whole_surrogate_pair_is_read():
    assert read(r'["\ud83c\udf55", "\\ud800", "\\u0000"]') == ["🍕", r"\ud800", r"\u0000"]


@pytest.mark.parametrize("text", [r'{"a": {"b": "x\u0000"}}', r'{"a": {"\u0000": 1}}'])
def test_nul_in_text_or_key_is_refused(text):
    assert refusal(text).endswith("expected text without NUL")


def test_null_means_absent_but_stays_in_a_list():
    assert read('{"a": null, "b": {"c": null}, "d": [null]}') == {"b": {}, "d": [None]}


class Line(msgspec.Struct, rename="camel"):
    """A shape with each kind of rule that the wire types use."""

    amount: Annotated[int, msgspec.Meta(ge=1)]
    table_id: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$", description="lower-case letters")] | None = None
    kind: Literal["DineIn", "Collection"] | None = None
    is_open: bool = False
    lines: tuple["Line", ...] = ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "body: expected an object, got a list of 0"),
        ({}, "amount: required, but absent"),
        ({"amount": 1, "lines": [{"amount": 1}, {}]}, "lines[1].amount: required, but absent"),
        ({"amount": 0}, "amount: expected an integer >= 1, got 0"),
        ({"amount": True}, "amount: expected an integer, got true"),
        ({"amount": 10.0}, "amount: expected an integer, got 10.0"),
        ({"amount": "1"}, 'amount: expected an integer, got "1"'),
        ({"amount": 1, "tableId": {}}, "tableId: expected text, got an object"),
        ({"amount": 1, "tableId": "1234"}, 'tableId: expected text of length <= 3, got "1234"'),
        ({"amount": 1, "code": "A"}, 'code: expected lower-case letters, got "A"'),
        ({"amount": 1, "lines": [{"amount": 1, "code": "A"}]}, 'lines[0].code: expected lower-case letters, got "A"'),
        ({"amount": 1, "kind": "Delivery"}, 'kind: expected one of Collection, DineIn, got "Delivery"'),
        ({"amount": 1, "isOpen": 1}, "isOpen: expected true or false, got 1"),
        ({"amount": 1, "lines": {}}, "lines: expected a list, got an object"),
        ({"amount": 1, "lines": [None]}, "lines[0]: expected an object, got null"),
    ],
)
def test_a_refusal_names_the_field_what_was_expected_and_what_came(value, message):
    with pytest.raises(BadInput) as caught:
        convert(value, Line)
    assert str(caught.value) == message


# I-3, M13
@pytest.mark.parametrize(
    ("literal", "got"),
    [("10.0", "10.0"), ("1e3", "1000.0"), ("1E400", "Infinity"), ('"12.50"', '"12.50"'), ("true", "true"), ("{}", "an object")],
)
def test_an_amount_is_an_integer_and_nothing_like_one(literal, got):
    total = f'{{"value": {literal}, "currencyCode": "GBP"}}'
    text = f'{{"details": {{"orderType": "DineIn"}}, "totalAmount": {total}, "items": []}}'
    with pytest.raises(BadInput) as caught:
        convert(read(text), Bill)
    assert str(caught.value) == f"totalAmount.value: expected an integer in minor units, got {got}"


# I-6
def test_unknown_fields_are_dropped():
    assert convert({"note": "n", "loyalty": {"points": 5}}, Personal) == Personal(note="n")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * 41, '"' + "x" * 39 + '…"'),
        ("a\r\n\x1b[31m\u202e", '"a\ufffd\ufffd\ufffd[31m\ufffd"'),
        ("my card 4111 1111 1111 1111", '"my card [card number removed]"'),
        ("x" * 30 + "4111111111111111", '"' + "x" * 30 + '[card num…"'),
        (4111111111111111, "[card number removed]"),
        (None, "null"),
    ],
)
def test_a_repeated_value_is_short_printable_and_without_card_numbers(value, said):
    assert shown(value) == said


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111  1111  1111  1111",
        "4111 1111\n1111 1111",
        "4111 1111\r\n1111 1111",
        "4111\u200b1111\u200b1111\u200b1111",
        "4111_1111_1111_1111",
        "378282246310005",
        "4222222222222",
        "6304000000000000000",
        "４１１１１１１１１１１１１１１１",
    ],
)
def test_a_card_number_is_removed_from_the_text_around_it(text):
    assert without_card_numbers(f"Pay with {text}, thanks") == "Pay with [card number removed], thanks"


def test_a_card_number_is_found_among_other_numbers():
    assert without_card_numbers("table 12 4111 1111 1111 1111 123 x") == "table 12 [card number removed] 123 x"


@pytest.mark.parametrize(
    "text",
    ["4111111111111112", "41111111111111111", "411111111111", "4111 1111 / 1111 1111", "12345678901234567890123", "Table 12, 2 x 1250", ""],
)
def test_other_numbers_stay(text):
    assert without_card_numbers(text) == text
