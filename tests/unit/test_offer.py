"""What the till offers: a new order of Dojo's that names anything else is refused by the name of its line."""

from __future__ import annotations

import msgspec
import pytest

from tests.builders import Venue, a_bill, a_party, gbp
from workflow.bill import Item, Modifier, Personal, SubItem
from workflow.booking import Guest
from workflow.commands import CreateBooking, CreateOrder, OpenOrder, SetVenue, UpdateBooking
from workflow.ports import OrderId

CATALOGUE = [{"plu": "PIZZA"}, {"plu": "OLIVES", "available": True}, {"plu": "SOUP"}, {"plu": "OYSTERS", "available": False}]


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def say(venue, name, value):
    venue.engine.handle(SetVenue(name=name, value=value, actor="till:t"))


def an_item(plu="PIZZA", *, modifiers=(), sub_items=()):
    made = [Modifier(plu=each, name=each, quantity=1, amount_per_modifier=gbp(0)) for each in modifiers]
    return Item(plu=plu, name=plu, quantity=1, amount_per_item=gbp(1000), modifiers=tuple(made), sub_items=tuple(sub_items))


def a_sub_item(plu, *, modifiers=()):
    made = [Modifier(plu=each, name=each, quantity=1, amount_per_modifier=gbp(0)) for each in modifiers]
    return SubItem(plu=plu, name=plu, quantity=1, amount_per_item=gbp(0), modifiers=tuple(made))


def order(venue, *items, order_id="o1", table="tbl_12"):
    bill = msgspec.structs.replace(a_bill(table=table), items=items)
    command = CreateOrder(
        order_id=OrderId(order_id), dojo_order_id=f"dojo-{order_id}", bill=bill, personal=Personal(), payments=(), captured=False
    )
    return venue.engine.handle(command).refusal


def test_without_a_list_of_the_till_everything_is_offered(venue):
    assert order(venue, an_item("ANYTHING"), table="anywhere") is None


@pytest.mark.parametrize(
    ("item", "field", "reason"),
    [
        (an_item("FISH"), "items[0].plu", "not in the till's catalogue"),
        (an_item("OYSTERS"), "items[0].plu", "not available now"),
        (an_item(modifiers=["OLIVES", "CAPERS"]), "items[0].modifiers[1].plu", "not in the till's catalogue"),
        (an_item(sub_items=[a_sub_item("SOUP"), a_sub_item("CAKE")]), "items[0].subItems[1].plu", "not in the till's catalogue"),
        (
            an_item(sub_items=[a_sub_item("SOUP", modifiers=["CREAM"])]),
            "items[0].subItems[0].modifiers[0].plu",
            "not in the till's catalogue",
        ),
    ],
    ids=["item", "sold out", "modifier", "part of a menu", "modifier of a part"],
)
def test_what_is_not_in_the_catalogue_is_refused_by_the_name_of_its_line_and_leaves_no_order(venue, item, field, reason):
    say(venue, "catalogue", CATALOGUE)

    refused = order(venue, item)

    assert (refused.field, reason in refused.reason) == (field, True)
    assert venue.order("o1") is None


def test_a_new_catalogue_counts_from_the_next_order_on(venue):
    say(venue, "catalogue", CATALOGUE)
    assert order(venue, an_item("OYSTERS"))
    say(venue, "catalogue", [{"plu": "OYSTERS"}])

    assert order(venue, an_item("OYSTERS")) is None


def test_a_table_that_the_till_does_not_have_is_refused_but_a_bill_of_its_own_is_not(venue):
    say(venue, "tables", [{"id": "tbl_1", "name": "1"}])

    assert order(venue, an_item(), table="tbl_2").field == "details.dineIn.tableId"
    opened = OpenOrder(order_id=OrderId("own"), key="own", bill=a_bill(table="tbl_2"), personal=Personal(), actor="till:t")
    assert venue.engine.handle(opened).refusal is None


def test_a_party_sits_at_tables_of_the_till_and_may_stay_where_it_was(venue):
    say(venue, "tables", [{"id": "t1", "name": "1"}, {"id": "t2", "name": "2"}])
    refused = venue.engine.handle(CreateBooking(booking=a_party("pty_0", "t1", "t9"), guest=Guest())).refusal
    assert refused.field == "tableIds[1]"
    venue.engine.handle(CreateBooking(booking=a_party("pty_1", "t1"), guest=Guest()))
    say(venue, "tables", [{"id": "t2", "name": "2"}])

    assert venue.engine.handle(UpdateBooking(booking=a_party("pty_1", "t1", "t2"), guest=Guest())).refusal is None
    assert venue.engine.handle(UpdateBooking(booking=a_party("pty_1", "t9"), guest=Guest())).refusal.field == "tableIds[0]"
