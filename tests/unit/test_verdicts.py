"""What telling a journal again adds up to, and how a journal's declarations are counted a part at a time."""

from __future__ import annotations

import pytest

from tests.old_journal import load
from workflow.case import declared_machines
from workflow.explaining import Tally, check, versions
from workflow.journal.reads import SqliteReads
from workflow.retelling import Retold
from workflow.verdicts import EXAMPLES, Verdicts


@pytest.fixture
def reads(tmp_path):
    load("schema-1", tmp_path / "tillproof.db")
    return SqliteReads(tmp_path / "tillproof.db")


def retold(number, verdict="same", cause="", **changes):
    return Retold(order_id=f"o{number}", verdict=verdict, cause=cause, **changes)


def test_causes_come_in_the_order_of_their_weight_with_the_first_orders_of_each():
    verdicts = Verdicts()
    for number in range(10):
        verdicts.add(retold(number))
    for number in range(10, 15):
        verdicts.add(retold(number, "differs", "a guard says no", is_to_migrate=True))
    verdicts.add(retold(15, "differs", "another guard"))
    verdicts.add(retold(16, "unexplained", "a state is gone"))

    assert verdicts.orders == 17
    assert dict(verdicts.counts) == {"same": 10, "differs": 6, "unexplained": 1}
    assert verdicts.to_migrate == 5
    assert [(each.verdict, each.cause, each.orders) for each in verdicts.causes()] == [
        ("unexplained", "a state is gone", 1),
        ("differs", "a guard says no", 5),
        ("differs", "another guard", 1),
    ]
    assert [each.order_id for each in verdicts.causes()[1].examples] == [f"o{number}" for number in range(10, 10 + EXAMPLES)]


def test_every_order_of_a_journal_is_counted_once(reads):
    verdicts = Verdicts()
    for found in check(reads, declared_machines()):
        verdicts.add(found)
    assert verdicts.orders == verdicts.counts["same"] == reads.rows("SELECT count(*) FROM orders")[0][0]


@pytest.mark.parametrize("at_once", [1, 7, 100_000])
def test_a_tally_that_goes_on_comes_to_what_one_look_at_everything_does(reads, at_once):
    tally = Tally()
    while tally.counted < reads.size():
        tally.go_on(reads, at_once)

    assert versions(reads, tally) == versions(reads)
    began = {each.name: each.begun for each in versions(reads)}
    orders, payments = (reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("orders", "payments"))
    assert began == {"order": orders, "payment": payments, "fulfilment": orders}


def test_a_tally_counts_nothing_twice(reads):
    tally = Tally()
    for _ in range(3):
        tally.go_on(reads, 100_000)
    assert versions(reads, tally) == versions(reads)
