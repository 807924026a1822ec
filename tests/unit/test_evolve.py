"""How an order goes from entry to entry: by the rules as they are meant, whatever is spared where nothing can change."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tests.builders import Venue, a_payment, an_order
from tests.many_entries import play
from tests.old_journal import load
from workflow.journal.reads import SqliteReads
from workflow.order import Order, Payment, _changed, evolve


@pytest.fixture(params=["schema-1", "played"])
def entries(request, tmp_path):
    """All entries about orders, of journals that have orders of every flow in every state."""
    if request.param == "played":
        venue = Venue(tmp_path)
        play(venue)
        venue.close()
    else:
        load(request.param, tmp_path / "tillproof.db")
    return [stored.entry() for stored in SqliteReads(tmp_path / "tillproof.db").entries() if stored.order_id]


def test_an_order_is_updated_when_what_it_shows_changes_and_its_money_when_what_counts_does(entries):
    orders: dict[str, Order] = {}
    shown = counted = 0
    for entry in entries:
        before = orders.get(entry.order_id)
        after = orders[entry.order_id] = evolve(before, entry)
        if before is None:
            assert (after.updated_at, after.created_at, after.money_seq) == (entry.at, entry.at, 0)
            continue
        # `paid_in_full_once` follows from the money, and what it changes is shown by the next entry.
        as_shown = replace(after, paid_in_full_once=before.paid_in_full_once) if after.money_seq == entry.order_seq else after
        shows_otherwise = as_shown.visible() != before.visible()
        counts_otherwise = after.counted != before.counted
        assert after.order_seq == entry.order_seq
        assert after.updated_at == (entry.at if shows_otherwise else before.updated_at)
        assert after.money_seq == (entry.order_seq if counts_otherwise else before.money_seq)
        shown, counted = shown + shows_otherwise, counted + counts_otherwise
    assert shown > counted > 10


def test_an_entry_leaves_the_order_before_it_as_it_was(entries):
    orders: dict[str, Order] = {}
    for entry in entries:
        before = orders.get(entry.order_id)
        copy = before and replace(before)
        orders[entry.order_id] = evolve(before, entry)
        assert before == copy
        assert orders[entry.order_id] is not before


@pytest.mark.parametrize("value", [an_order(a_payment()), a_payment()], ids=["order", "payment"])
def test_a_change_is_what_dataclasses_make_of_it_for_every_field(value):
    assert type(value) in (Order, Payment)
    for field in fields(value):
        changed = _changed(value, **{field.name: "other"})
        assert changed == replace(value, **{field.name: "other"})
        assert getattr(changed, field.name) == "other" != getattr(value, field.name)
    with pytest.raises(KeyError):
        _changed(value, nothing=1)
