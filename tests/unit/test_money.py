"""Money: whole minor units of one currency, added only to its own kind."""

from __future__ import annotations

import msgspec
import pytest

from workflow.money import MAX_MINOR_UNITS, CurrencyMismatch, Money, with_sign, zero


@pytest.mark.parametrize(
    ("left", "right", "total", "difference"),
    [
        (1250, 50, 1300, 1200),
        (0, 0, 0, 0),
        (100, 250, 350, -150),
        (MAX_MINOR_UNITS, 1, MAX_MINOR_UNITS + 1, MAX_MINOR_UNITS - 1),
    ],
)
def test_amounts_of_one_currency_add_and_subtract_to_the_penny(left, right, total, difference):
    assert Money(left, "GBP") + Money(right, "GBP") == Money(total, "GBP")
    assert Money(left, "GBP") - Money(right, "GBP") == Money(difference, "GBP")


@pytest.mark.parametrize("other", ["EUR", "gbp", "GB\N{CYRILLIC CAPITAL LETTER ER}", ""], ids=["euro", "lower case", "cyrillic", "none"])
def test_amounts_of_two_currencies_never_meet_in_one_sum(other):  # M2
    with pytest.raises(CurrencyMismatch):
        Money(1, "GBP") + Money(1, other)
    with pytest.raises(CurrencyMismatch):
        Money(1, "GBP") - Money(1, other)


def test_the_same_value_in_another_currency_is_another_amount():
    assert Money(100, "GBP") != Money(100, "EUR")
    assert Money(100, "GBP") == Money(100, "GBP")
    assert len({Money(100, "GBP"), Money(100, "GBP"), Money(100, "EUR")}) == 2


def test_an_amount_cannot_be_changed():
    with pytest.raises(AttributeError):
        Money(100, "GBP").value = 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1250, "GBP 12.50"),
        (5, "GBP 0.05"),
        (0, "GBP 0.00"),
        (-5, "GBP -0.05"),
        (-1250, "GBP -12.50"),
        (2**63, "GBP 92233720368547758.08"),
    ],
)
def test_people_read_an_amount_with_two_decimals_and_its_sign_first(value, text):
    assert str(Money(value, "GBP")) == text


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [(-1234567, "JPY", "-1,234,567"), (5, "KWD", "0.005"), (1234567, "KWD", "1,234.567"), (0, "CLF", "0.0000"), (99, "EUR", "0.99")],
)
def test_an_amount_has_as_many_decimals_as_its_currency(value, currency, text):
    money = Money(value, currency)

    assert money.decimal(",") == text
    assert str(money) == f"{currency} {money.decimal()}" == f"{currency} {text.replace(',', '')}"


def test_the_stored_form_is_the_published_wire_form_both_ways():
    wire = b'{"value":1250,"currencyCode":"GBP"}'
    assert msgspec.json.encode(Money(1250, "GBP")) == wire
    assert msgspec.json.decode(wire, type=Money) == Money(1250, "GBP")
    assert msgspec.to_builtins(Money(1250, "GBP")) == {"value": 1250, "currencyCode": "GBP"}


@pytest.mark.parametrize("value", ['"1250"', "12.5", "true", "null"])
def test_an_amount_that_is_no_integer_is_not_read(value):  # M13
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(f'{{"value":{value},"currencyCode":"GBP"}}', type=Money)


@pytest.mark.parametrize("wire", ['{"value":1}', '{"currencyCode":"GBP"}', "{}"], ids=["no currency", "no value", "neither"])
def test_an_amount_without_its_currency_or_value_is_not_read(wire):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(wire, type=Money)


def test_fields_that_dojo_adds_to_an_amount_are_ignored():
    assert msgspec.json.decode('{"value":1,"currencyCode":"GBP","decimals":2}', type=Money) == Money(1, "GBP")


def test_zero_is_no_money_in_its_currency():
    assert zero("EUR") == Money(0, "EUR")
    assert zero("EUR") + Money(7, "EUR") == Money(7, "EUR")


def test_the_largest_amount_is_exact_in_a_javascript_client():
    assert float(MAX_MINOR_UNITS) == MAX_MINOR_UNITS
    assert float(MAX_MINOR_UNITS - 1) == MAX_MINOR_UNITS - 1
    assert float(MAX_MINOR_UNITS + 1) != MAX_MINOR_UNITS + 1


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(0, "GBP"), "£0.00"),
        (Money(5, "GBP"), "£0.05"),
        (Money(1250, "GBP"), "£12.50"),
        (Money(-1250, "GBP"), "-£12.50"),
        (Money(123_456_789, "GBP"), "£1,234,567.89"),
        (Money(1250, "EUR"), "€12.50"),
        (Money(1250, "USD"), "$12.50"),
        (Money(-123_450, "CHF"), "-CHF 1,234.50"),
    ],
    ids=str,
)
def test_money_is_written_as_the_people_of_the_venue_read_it(money, text):
    assert with_sign(money) == text
