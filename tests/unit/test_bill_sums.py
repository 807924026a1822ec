"""What the lines of a bill come to, beside its total, which counts: a difference of Dojo's is told to a person, the till's is its own."""

from __future__ import annotations

import msgspec
import pytest

from tests.builders import MACHINES, Venue, gbp
from workflow.bill import Bill, Personal
from workflow.commands import AmendOrder, CreateOrder, OpenOrder
from workflow.decisions import create_order


def wire(value):
    return {"value": value, "currencyCode": "GBP"}


def a_line(price, quantity=1, *, modifiers=(), parts=()):
    line = {
        "plu": "P",
        "name": "N",
        "quantity": quantity,
        "amountPerItem": wire(price),
        "modifiers": [a_modifier(*each) for each in modifiers],
    }
    return line | ({"subItems": list(parts)} if parts else {})


def a_modifier(price, quantity=1):
    return {"plu": "M", "name": "N", "quantity": quantity, "amountPerModifier": wire(price)}


def a_bill(total, *items, discounts=(), service=0, taxes=()):
    content = {
        "details": {"orderType": "DineIn", "dineIn": {}},
        "items": list(items),
        "totalAmount": wire(total),
        "serviceChargeAmount": wire(service),
        "discounts": [{"name": "D", "amountTotal": wire(each)} for each in discounts],
        "taxLines": [{"amountTotal": wire(each)} for each in taxes],
    }
    return msgspec.convert(content, Bill)


CASES = [
    # the bill, what its lines come to, whether the total differs
    ("one line", a_bill(500, a_line(500)), 500, False),
    ("a quantity", a_bill(1000, a_line(500, 2)), 1000, False),
    ("modifiers are for each single item", a_bill(1200, a_line(500, 2, modifiers=[(50, 2)])), 1200, False),
    ("a modifier that takes off", a_bill(400, a_line(500, modifiers=[(-100, 1)])), 400, False),
    (
        "parts of a set, with modifiers of their own",
        a_bill(1600, a_line(1500, parts=[a_line(0), a_line(0, modifiers=[(100, 1)])])),
        1600,
        False,
    ),
    ("parts are for each set", a_bill(3200, a_line(1500, 2, parts=[a_line(50, 2)])), 3200, False),
    ("discount and service charge", a_bill(4455, a_line(4400), discounts=[440], service=495), 4455, False),
    ("taxes contained", a_bill(1200, a_line(1200), taxes=[200]), 1200, False),
    ("taxes on top", a_bill(1440, a_line(1200), taxes=[240]), 1200, False),
    ("a unit of rounding a line", a_bill(1002, a_line(500), a_line(500)), 1000, False),
    ("more than rounding", a_bill(1003, a_line(500), a_line(500)), 1000, True),
    ("less than the lines", a_bill(900, a_line(1000)), 1000, True),
    ("no lines to compare with", a_bill(900), 0, False),
]


@pytest.mark.parametrize(("bill", "lines", "differs"), [pytest.param(*row[1:], id=row[0]) for row in CASES])
def test_lines_are_added_up_as_the_contract_has_them(bill, lines, differs):  # M14
    assert (bill.lines_total(), bill.disagrees_with_its_lines()) == (lines, differs)


@pytest.mark.parametrize("differs", [False, True])
def test_dojos_total_counts_and_a_difference_calls_a_person(differs):  # M14
    bill = a_bill(900 if differs else 1000, a_line(1000))
    command = CreateOrder(order_id="o1", dojo_order_id="d1", bill=bill, personal=Personal(), payments=(), captured=False)
    decision = create_order(MACHINES, command, at="2026-03-14T12:00:00.000Z", personal_hash="", parked=())
    assert decision.refusal is None
    assert decision.order.total == gbp(bill.total_amount.value)
    assert [item.code for item in decision.order.attention] == (["TOTAL_MISMATCH"] if differs else [])
    if differs:
        assert decision.order.attention[0].detail == "Dojo's total is GBP 9.00, its lines come to GBP 10.00"


def test_a_bill_of_the_till_is_taken_at_its_own_total_whatever_its_lines_come_to(tmp_path):  # M14
    venue = Venue(tmp_path)
    asked = {"order_id": "o1", "personal": Personal(), "actor": "till:till-1"}
    for command in (OpenOrder(key="o1", bill=a_bill(900, a_line(1000)), **asked), AmendOrder(bill=a_bill(1500, a_line(1000)), **asked)):
        assert command.bill.disagrees_with_its_lines()

        order = venue.engine.handle(command).order

        assert (order.total, order.outstanding, order.attention) == (command.bill.total_amount, command.bill.total_amount, ())
    venue.close()
