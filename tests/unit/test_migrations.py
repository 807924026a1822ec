"""Declared migrations: what rests in a state of an earlier declaration is moved on, journaled, and told again as it was."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from adapters import tillproof_verify
from tests.builders import MACHINES, Venue, a_payment, an_order
from tests.story import AT
from workflow import explaining, export
from workflow.commands import MigrateOrder, ToldPayment
from workflow.declaration import Migration, declaration_text
from workflow.engine import Engine
from workflow.errors import OrdersToMigrate, OrdersUnexplained
from workflow.explaining import check, moved_by, refuse_unexplained, regrouped, stranded
from workflow.guards import GUARDS
from workflow.journal.driver import sqlite3
from workflow.lifecycle import DECLARATIONS, EFFECTS, ORDER, PAYMENT, RULES
from workflow.machine import Machine
from workflow.ports import IntentId
from workflow.proof import Prover
from workflow.replay import replay
from workflow.requests import migrate_order

LATER = {
    "order": (Migration("waiting", "created", "It had two names.", "D2.1"), Migration("lost", "failed", "It had two names.", "A7")),
    "payment": (Migration("seen", "announced", "Nobody paid it.", "D7.2"), Migration("thought_captured", "authorised", "No.", "D7.2")),
    "fulfilment": (Migration("Cooking", "Preparing", "Dojo's word.", "D8.3"),),
}
MIGRATING = {one.name: Machine(one._replace(migrations=LATER[one.name]), GUARDS, EFFECTS, RULES) for one in DECLARATIONS}
COMMAND = MigrateOrder(order_id="o1", reason="since 2.0", actor="operator:ann", was={"order": "order@aaaaaaaaaaaa"})


def migrate(order):
    decision = migrate_order(MIGRATING, order, COMMAND, at=AT)
    moves = [(e.machine_name, e.payment_intent_id, e.trigger, e.from_state, e.to_state) for e in decision.entries if e.kind == "transition"]
    return decision, moves


def test_whatever_of_an_order_rests_in_an_old_state_is_moved_in_entries_of_their_own():  # P5 I3
    decision, moves = migrate(an_order(a_payment("seen"), state="waiting", status="Cooking"))
    assert moves == [
        ("order", "", "migrate", "waiting", "created"),
        ("fulfilment", "", "migrate", "Cooking", "Preparing"),
        ("payment", "pi_1", "migrate", "seen", "announced"),
    ]
    first = decision.entries[0]
    assert first.body == {"reason": "since 2.0", "was": "order@aaaaaaaaaaaa"}
    assert (first.actor, first.cause, first.machine) == ("operator:ann", "migrate", MIGRATING["order"].ident)
    assert (decision.order.state, decision.order.status, decision.order.payments["pi_1"].state) == ("created", "Preparing", "announced")


def test_an_order_that_does_not_rest_after_its_migration_follows_its_guards():  # P5
    _, moves = migrate(an_order(a_payment("thought_captured"), state="waiting"))
    assert moves[-1] == ("order", "", "authorise", "created", "authorised")


def test_migrating_twice_is_migrating_once():  # P5 K10
    decision, _ = migrate(an_order(state="waiting"))
    again, moves = migrate(decision.order)
    assert (again.entries, moves, again.order) == ((), [], decision.order)


def test_what_ended_in_an_old_state_stays_there():  # P5 I5
    decision, moves = migrate(an_order(state="lost", status="Failed"))
    assert (moves, decision.entries, decision.order.state) == ([], (), "lost")


def earlier(declaration, state, *, in_groups):
    """As it was while it had this state too, in these groups."""
    groups = {name: f"{states} {state}" if name in in_groups else states for name, states in declaration.groups.items()}
    final = f"{declaration.final} {state}" if "final" in in_groups else declaration.final
    return declaration._replace(states={**declaration.states, state: "Of old."}, groups=groups, final=final)


def migrating(declaration, *migrations):
    return {**MACHINES, declaration.name: Machine(declaration._replace(migrations=migrations), GUARDS, EFFECTS, RULES)}


@pytest.mark.parametrize(
    ("target", "were", "said"),
    [
        ("announced", "unpaid", ""),
        ("announced", "unpaid held", "'held' and 'unpaid', and by its migration to 'announced' is in 'unpaid'"),
        ("released", "unpaid", "'unpaid', and by its migration to 'released' is in 'ended' and 'final'"),
        ("announced", "", "no group, and by its migration to 'announced' is in 'unpaid'"),
        ("released", "ended", "'ended', and by its migration to 'released' is in 'ended' and 'final'"),
    ],
)
def test_an_old_state_whose_migration_puts_it_into_other_groups_is_named_with_what_to_declare(target, were, said):  # P5 I2 I6
    before = earlier(PAYMENT, "seen", in_groups=were.split())
    row = Migration("seen", target, "Nobody paid it.", "D7.2")
    found = regrouped([PAYMENT, before], migrating(PAYMENT, row))
    assert found == (
        [f"payment: 'seen' was in {said}; the migration needs groups={' '.join(sorted(were.split())) or 'nothing'!r}"] * bool(said)
    )
    assert regrouped([PAYMENT, before], migrating(PAYMENT, row._replace(groups=were or "nothing"))) == []


def test_an_old_final_state_whose_migration_leads_to_one_that_is_not_is_named():  # P5 I5
    row = Migration("lost", "announced", "It may be paid again.", "A2")
    [said] = regrouped([earlier(PAYMENT, "lost", in_groups=["unpaid", "final"])], migrating(PAYMENT, row))
    assert said.endswith("is in 'unpaid'; the migration needs to lead to a final state")


def test_what_the_last_declaration_said_of_an_old_state_is_what_its_migration_must_say():  # P5
    row = Migration("seen", "announced", "Nobody paid it.", "D7.2")
    first, last = (earlier(PAYMENT, "seen", in_groups=groups) for groups in (["held"], ["unpaid"]))
    assert regrouped([first, last], migrating(PAYMENT, row)) == []
    assert len(regrouped([last, first], migrating(PAYMENT, row))) == 1
    without = first._replace(groups={name: states for name, states in first.groups.items() if name not in ("held", "unpaid")})
    assert regrouped([without], migrating(PAYMENT, row)) == []  # Of a group that was not there yet it says nothing.


# -- in a journal


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    for number in range(7):
        venue.open(f"o{number}")
    yield venue
    venue.close()


def put(venue, order_id, state):
    """Leave an order in a state of an earlier declaration, as a program of that time would have."""

    def work(transaction):
        transaction._connection.execute("INSERT OR IGNORE INTO states VALUES ('order', ?)", (state,))
        before = transaction.order(order_id)
        [moved] = migrate_order(
            {**MACHINES, "order": _to(state)}, before, replace(COMMAND, order_id=order_id, reason="put there by a test"), at=AT
        ).entries
        transaction.append([moved])
        transaction.save(replace(before, state=state, order_seq=moved.order_seq), before)

    venue.journal.write(work)


def _to(state):
    """A machine that has `state` in the place of `created`."""

    class Earlier:
        name, ident, migrated, explained = "order", MACHINES["order"].ident, {"created": state}, frozenset()
        declaration = MACHINES["order"].declaration

        def offered(self, _):
            return ()

    return Earlier()


def test_orders_that_are_to_be_migrated_are_counted_and_five_of_them_named(venue):  # P5
    for number in range(6):
        put(venue, f"o{number}", "waiting")
    with pytest.raises(OrdersToMigrate) as raised:
        refuse_unexplained(venue.reads, MIGRATING)
    named = ", ".join(f"o{number} (waiting)" for number in range(5))
    assert str(raised.value).endswith(f"of 6 orders: {named} and 1 more (tillproof machine check --json lists all)")
    with pytest.raises(OrdersUnexplained) as raised:
        refuse_unexplained(venue.reads, MACHINES)
    assert not isinstance(raised.value, OrdersToMigrate)


def whirling(*migrations):
    """Machines whose rows lead an order that is authorised round and round; no state and no group is another one than before."""
    order = ORDER._replace(migrations=migrations)
    rows = tuple(row._replace(only_if="always") if row.when in ("capture", "unclaim") else row for row in order.transitions)
    return {**MACHINES, "order": Machine(order._replace(transitions=rows), GUARDS, EFFECTS, RULES)}


def test_a_changed_machine_that_cannot_explain_an_open_order_is_refused_with_what_machine_check_says(venue):  # P5
    for number in range(6):
        venue.create(f"paid{number}", payments=(ToldPayment(intent_id=IntentId(f"pi_{number}"), paid=1000),))
    told = {each.order_id: each for each in check(venue.reads, whirling()) if each.verdict == "unexplained"}
    assert set(told) == {f"paid{number}" for number in range(6)}

    with pytest.raises(OrdersUnexplained) as raised:
        refuse_unexplained(venue.reads, whirling())

    named = ", ".join(f"paid{number} (entry {told[f'paid{number}'].seq})" for number in range(5))
    cause = "order: the rows lead round and round, and it does not come to rest"
    assert str(raised.value) == (
        f"this version cannot explain 6 orders: {named} and 1 more (tillproof machine check --json lists all); of the first: {cause}"
    )
    refuse_unexplained(venue.reads, MACHINES)


def test_what_ended_keeps_no_changed_machine_from_starting_nor_does_an_order_that_went_elsewhere(venue):  # P5
    venue.create("paid")
    with pytest.raises(OrdersUnexplained):
        refuse_unexplained(venue.reads, whirling())
    rows = tuple(row._replace(when="allow") if row.when == "authorise" else row for row in ORDER.transitions)
    elsewhere = {**MACHINES, "order": Machine(ORDER._replace(transitions=rows), GUARDS, EFFECTS, RULES)}
    assert [each.order_id for each in check(venue.reads, elsewhere) if each.verdict == "differs"] == ["paid"]
    refuse_unexplained(venue.reads, elsewhere)

    venue.journal._connection.execute("UPDATE orders SET state = 'refunded' WHERE id = 'paid'")
    refuse_unexplained(venue.reads, whirling())


def test_an_order_that_cannot_be_explained_is_refused_before_and_after_others_were_migrated(venue):  # P5
    changed = whirling(*LATER["order"])
    venue.create("paid")
    put(venue, "o1", "waiting")
    with pytest.raises(OrdersUnexplained, match="cannot explain 1 order: paid ") as raised:
        refuse_unexplained(venue.reads, changed)
    assert not isinstance(raised.value, OrdersToMigrate)

    # Whoever opens the journal to migrate keeps the declaration there.
    present = changed["order"].declaration
    kept = ("order", changed["order"].hash, declaration_text(present))
    venue.journal._connection.execute("INSERT INTO machines(name, hash, declaration, first_at) VALUES (?, ?, ?, '2026-07-01')", kept)
    Engine(venue.journal, changed, venue.clock, venue.engine._settings).handle(COMMAND)
    assert stranded(venue.reads, changed) == []
    with pytest.raises(OrdersUnexplained, match="cannot explain 1 order: paid "):
        refuse_unexplained(venue.reads, changed)


def test_a_change_is_seen_also_where_nothing_went_by_the_machine_lately(venue, monkeypatch):  # P5
    venue.create("paid")
    monkeypatch.setattr(explaining, "RECENT", 0)
    with pytest.raises(OrdersUnexplained):
        refuse_unexplained(venue.reads, whirling())


@pytest.mark.parametrize("recent", [0, explaining.RECENT])
def test_an_ordinary_start_looks_at_no_order_again(venue, monkeypatch, recent):  # P5
    venue.create("paid")
    monkeypatch.setattr(explaining, "RECENT", recent)
    monkeypatch.setattr(explaining, "check", lambda *_, **__: pytest.fail("orders are told again"))
    refuse_unexplained(venue.reads, MACHINES)


def test_a_migration_that_was_broken_off_is_finished_by_the_next_one(venue):  # P5 K10 I6
    for order_id in ("o1", "o2"):
        put(venue, order_id, "waiting")
    engine = Engine(venue.journal, MIGRATING, venue.clock, venue.engine._settings)
    for order_id in ("o1", "o1", "o2"):  # Killed after the first, and begun again.
        assert [each.order_id for each in stranded(venue.reads, MIGRATING)][-1] == "o2"
        was = moved_by(venue.reads, order_id)
        engine.handle(MigrateOrder(order_id=order_id, reason="since 2.0", actor="operator:ann", was=was))
    assert stranded(venue.reads, MACHINES) == []
    moved = [entry.entry() for entry in venue.reads.entries() if entry.trigger == "migrate" and entry.to_state == "created"]
    assert [(entry.order_id, entry.from_state, entry.body["was"]) for entry in moved] == [
        (order_id, "waiting", MACHINES["order"].ident) for order_id in ("o1", "o2")
    ]
    assert replay(venue.reads).mismatches == []


def test_a_migrated_order_and_the_one_beside_it_are_proved_like_any_other(venue, tmp_path, capsys):  # I7 P5
    prover = Prover(venue.reads, venue.journal)
    put(venue, "o1", "waiting")
    (tmp_path / "before.json").write_bytes(msgspec.json.encode(prover.prove("o1")))
    engine = Engine(venue.journal, MIGRATING, venue.clock, venue.engine._settings)
    engine.handle(replace(COMMAND, was=moved_by(venue.reads, "o1")))
    for order_id in ("o1", "o2"):
        (tmp_path / f"{order_id}.json").write_bytes(msgspec.json.encode(prover.prove(order_id)))
    (tmp_path / "export.jsonl").write_text("".join(export.lines(venue.reads, "jsonl")), "utf-8")

    assert tillproof_verify.main([str(tmp_path / name) for name in ("before.json", "o1.json", "o2.json", "export.jsonl")]) == 0
    assert "order migrate waiting -> created  [operator:ann; migrate]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET state = 'melted'",
        "UPDATE orders SET status = 'melted'",
        "INSERT INTO payments VALUES ('pi_1', 'o1', 'melted', 0, 0, 0, '')",
        "INSERT INTO payments VALUES ('pi_1', 'o1', 'created', 0, 0, 0, '')",
    ],
)
def test_a_state_that_no_declaration_has_cannot_be_stored(venue, change):  # I4 P5
    with pytest.raises(sqlite3.IntegrityError, match="no declaration has this"):
        venue.journal._connection.execute(change)
