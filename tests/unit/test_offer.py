"""The till's lists are long and every new order asks: they are read again only where the till has given others."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.builders import Venue
from workflow.commands import SetVenue
from workflow.errors import NotOffered
from workflow.journal.transaction import SqliteTransaction
from workflow.offer import Offer


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    yield venue
    venue.close()


def give(venue, name, value):
    venue.engine.handle(SetVenue(name=name, value=value, actor="till:t"))


def test_the_tables_are_read_once_for_all_orders_and_once_more_after_a_change(venue, monkeypatch):
    read, ask = Counter(), SqliteTransaction.venue
    monkeypatch.setattr(SqliteTransaction, "venue", lambda self, name: read.update([name]) or ask(self, name))
    give(venue, "tables", [{"id": "tbl_12", "name": "12"}])
    read.clear()

    for number in range(5):
        assert venue.create(f"o{number}", payments=()).refusal is None
    assert read["tables"] == 1

    give(venue, "tables", [{"id": "tbl_1", "name": "1"}])
    read.clear()
    refusals = [venue.create(f"p{number}", payments=()).refusal for number in range(5)]
    assert [(type(refusal), refusal.field) for refusal in refusals] == [(NotOffered, "details.dineIn.tableId")] * 5
    assert read["tables"] == 1


def test_a_list_whose_change_was_rolled_back_is_not_believed(venue):
    """What is kept in memory is known by what it says, so that a transaction that never was leaves nothing behind."""
    give(venue, "tables", [{"id": "tbl_12", "name": "12"}])
    offer = Offer()
    bill = venue.create("o1", payments=()).order.bill

    def gives_and_fails(transaction):
        transaction.set_venue("tables", [{"id": "tbl_1", "name": "1"}])
        assert offer.refusal(bill, transaction) is not None
        raise RuntimeError("the disk is full, say")

    with pytest.raises(RuntimeError, match="disk"):
        venue.journal.write(gives_and_fails)

    assert venue.journal.write(lambda transaction: offer.refusal(bill, transaction)) is None


def test_the_message_of_a_refusal_has_nothing_that_a_stranger_wrote():
    error = NotOffered(field="items[0].plu", value="secret", name="private", reason="is not there")
    assert str(error) == "items[0].plu is not there"
