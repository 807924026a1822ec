"""A program whose declaration was changed, as a process of its own, beside a journal that the unchanged program left in flight."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.contract.running import PATIENCE, ROOT, Service, eventually, register, sqlite
from tests.contract.test_till_callbacks import SECRET, Till
from tests.contract.test_upgrade import DIGESTS, FINALLY, codes, go_on
from tests.old_journal import Past, load, new_sandbox
from workflow.journal.reads import SqliteReads

OLD = "schema-1"
IN_FLIGHT = {"oap-captured", "oap-mismatch", "po-captured"}
"""The orders of that journal which rest in `captured`."""


@pytest.fixture
def journal(tmp_path):
    load(OLD, tmp_path / "tillproof.db")
    return tmp_path / "tillproof.db"


@pytest.fixture
def changed(tmp_path, journal):
    """Runs a program whose `lifecycle.py` these changes were made to, beside the journal; `service` is one of the same."""

    class Changed:
        def __init__(self):
            self.folder = tmp_path / "program"
            self.service = Service(tmp_path)

        def write(self, *changes):
            self.folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / "app.py", self.folder)
            for name in ("workflow", "adapters"):
                # With what is compiled, which costs most of a start; but for what is being compiled beside us, and soon has another name.
                shutil.copytree(ROOT / name, self.folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pyc.*"))
            lifecycle = self.folder / "workflow" / "lifecycle.py"
            text = lifecycle.read_text()
            for change in changes:
                text = change(text)
            lifecycle.write_text(text)

        @property
        def env(self):
            return self.service.environment | {"PYTHONPATH": str(self.folder)}

        def run(self, *words, code=0):
            command = [sys.executable, "-m", "app", *words]
            ended = subprocess.run(command, cwd=tmp_path, env=self.env, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
            assert ended.returncode == code, (ended.stdout, ended.stderr)
            assert "Traceback" not in ended.stderr
            return json.loads(ended.stdout) if "--json" in words else ended

    changed = Changed()
    yield changed
    changed.service.kill()


def renamed(machine, old, new, *, migration=True):
    """The state has another name in this machine's declaration, and a migration leads there."""

    def change(text):
        begins = text.index(f"\n{machine} = Declaration(")
        ends = text.index("\n)\n", begins)
        body, count = re.subn(rf"\b{old}\b", new, text[begins:ends])
        assert count > 3
        if migration:
            row = f'        Migration("{old}", "{new}", "It is called {new} since 2.0.", "D2.1"),\n'
            body = body.replace("    migrations=(\n", f"    migrations=(\n{row}")
        return (text[:begins] + body + text[ends:]).replace("Declaration, Message, Policy", "Declaration, Message, Migration, Policy")

    return change


def declared(changed):
    """Every (from, trigger, to) by the name and hash of its declaration, of all that the journal keeps, as anybody can ask for them."""
    machines = changed.run("machine", "show", "--hash", "", "--json")["machines"]
    return {
        f"{machine['name']}@{machine['hash']}": {(row["from"], row["trigger"], row["to"]) for row in machine["transitions"]}
        for machine in machines
    }


def test_orders_in_a_renamed_state_are_named_migrated_and_finished_by_the_changed_program(changed, journal):  # P5 P4 I3 I4
    changed.write(renamed("ORDER", "captured", "claimed"))
    before = journal.read_bytes()

    told = changed.run("machine", "check", "--json")
    assert (told["ok"], told["sum"]["same"], told["sum"]["toMigrate"]) == (True, len(FINALLY), len(IN_FLIGHT))
    assert {order["orderId"] for order in told["orders"] if order["toMigrate"]} == IN_FLIGHT

    till, sandbox = Till(), new_sandbox()
    past = Past(sandbox)
    sandbox.start()
    changed.service = service = Service(journal.parent, sandbox.url, TILL_URL=till.url, TILL_SECRET=SECRET, SWEEP_S=1)
    try:
        service.launch(env=changed.env)
        assert service.exit_code(4 * PATIENCE) == 5
        [critical] = [line for line in service.log() if line["level"] == "CRITICAL"]
        assert all(f"{order_id} (captured)" in critical["error"] for order_id in IN_FLIGHT)
        assert "tillproof machine migrate" in critical["next"]
        assert journal.read_bytes() == before  # The program before must be able to go on with it.

        changed.run("machine", "migrate", "--reason", "claimed is the better word")
        replayed = changed.run("journal", "replay", "--json")
        assert (replayed["ok"], replayed["orders"]) == (True, len(FINALLY))
        migrated = [entry.entry() for entry in SqliteReads(journal).entries() if entry.trigger == "migrate"]
        assert {entry.order_id for entry in migrated} == IN_FLIGHT
        assert {(entry.from_state, entry.to_state, entry.body["reason"]) for entry in migrated} == {
            ("captured", "claimed", "claimed is the better word")
        }
        assert all(entry.actor.startswith("operator:") and entry.body["was"].startswith("order@") for entry in migrated)

        changed.run("journal", "seal", str(journal.parent / "migrated.db"))  # Which verifies and replays it.
        [acts] = sqlite(
            journal.parent / "migrated.db", "SELECT role, order_id, reason, about FROM audit_operator_actions WHERE action = 'migrate'"
        )
        assert set(acts) == {("operator", name, "claimed is the better word", "order captured -> claimed") for name in IN_FLIGHT}

        service.start(env=changed.env)
        register(service, sandbox)
        go_on(service, sandbox, past)
        eventually(lambda: {name: (order["state"], codes(order)) for name in FINALLY if (order := service.order(name))} == FINALLY)
        eventually(lambda: service.reads.rows("SELECT DISTINCT status FROM outbox") == [("done",)])
        service.await_rest()
        service.assert_whole()
        assert service.stop() == 0
    finally:
        service.kill()
        sandbox.stop()
        till.stop()

    assert changed.run("machine", "check", "--json")["ok"]
    entries = [entry.entry() for entry in SqliteReads(journal).entries() if entry.machine]
    explained = declared(changed)
    assert len(explained) == 4
    for entry in entries:
        assert (entry.from_state, entry.trigger, entry.to_state) in explained[entry.machine]


def test_sums_stay_what_they_were_when_the_state_in_which_money_counts_has_another_name(changed, journal):  # P5 I2 I6
    changed.write(renamed("PAYMENT", "reconciled", "checked"))

    assert changed.run("machine", "check", "--json")["ok"]
    replayed = changed.run("journal", "replay", "--json")
    assert (replayed["ok"], replayed["digest"]) == (True, DIGESTS[OLD])
    moves = changed.run("machine", "migrate", "--dry-run", "--json")["moves"]
    assert {(move["machine"], move["state"], move["target"]) for move in moves} == {("payment", "reconciled", "checked")}
    assert sqlite(journal, "SELECT 1 FROM journal WHERE trigger = 'migrate'") == [[]]


def merged(groups):
    """An order has no state `updated` any more: it rests in `reconciled`, which is in a group that `updated` was not in."""

    def change(text):
        begins = text.index("\nORDER = Declaration(")
        ends = text.index("\n)\n", begins)
        body = re.sub(r'        (Row\()?"updated?":? .*\n|        Row\("update",.*\n', "", text[begins:ends])
        body, count = re.subn(r"( updated\b)", "", body)
        assert count > 3
        row = f'        Migration("updated", "reconciled", "Dojo hears of it anyway.", "D6", {groups!r}),\n'
        body = body.replace("    migrations=(\n", f"    migrations=(\n{row}")
        return (text[:begins] + body + text[ends:]).replace("Declaration, Message, Policy", "Declaration, Message, Migration, Policy")

    return change


def test_a_migration_that_puts_an_old_state_into_other_groups_is_refused_until_it_says_what_it_was_in(changed, journal):  # P5 I2 I6
    changed.write(merged(""))
    before = journal.read_bytes()
    said = "order: 'updated' was in no group, and by its migration to 'reconciled' is in 'unsettled'; the migration needs groups='nothing'"

    told = changed.run("machine", "check", "--json", code=1)
    assert (told["ok"], told["migrations"]) == (False, [said])
    assert said in changed.run("machine", "migrate", "--reason", "none", code=1).stderr
    changed.service.launch(env=changed.env)
    assert changed.service.exit_code(4 * PATIENCE) == 5
    [critical] = [line for line in changed.service.log() if line["level"] == "CRITICAL"]
    assert said in critical["error"]
    assert "tillproof machine check" in critical["next"]
    assert journal.read_bytes() == before

    changed.write(merged("nothing"))
    changed.run("machine", "migrate", "--reason", "one state")
    replayed = changed.run("journal", "replay", "--json")
    assert (replayed["ok"], replayed["orders"]) == (True, len(FINALLY))
    assert changed.run("machine", "check", "--json")["ok"]
    drawn = changed.run("diagram", "--order", "po-updated", "--json")["diagrams"][0]["text"]
    assert "updated --> reconciled : migrate (6)" in drawn
    assert "reconciled --> updated : update (5)" in drawn  # As it was then, beside what is declared now.


def test_a_state_that_is_gone_without_a_migration_is_refused_and_nothing_is_moved(changed, journal):  # P5
    changed.write(renamed("ORDER", "captured", "claimed", migration=False))

    told = changed.run("machine", "check", "--json", code=1)
    assert (told["sum"]["unexplained"], told["sum"]["toMigrate"]) == (len(IN_FLIGHT), 0)
    first = told["causes"][0]
    assert (first["verdict"], first["orders"]) == ("unexplained", len(IN_FLIGHT))
    assert "rests in 'captured', which is not declared" in first["cause"]
    passed = [order for order in told["orders"] if order["verdict"] == "differs"]
    assert passed
    assert {(order["oldState"], order["newState"]) for order in passed} == {("captured", "claimed")}
    ended = changed.run("machine", "migrate", "--reason", "none", code=1)
    assert "no migration leads on from order captured" in ended.stdout
    assert "Next: declare where they go" in ended.stderr


def whirling(text):
    """What is authorised is captured, and what is captured is authorised, for ever."""
    return re.sub(
        r'(Row\("(?:capture|unclaim)", +"(?:authorised|captured)", +"(?:authorised|captured)", +)"(?:taken|claim_was_denied)"',
        r'\1"always"',
        text,
    )


def test_open_orders_whose_entries_cannot_be_explained_are_named_and_nothing_starts(changed, journal):  # P5
    changed.write(whirling)
    before = journal.read_bytes()
    told = changed.run("machine", "check", "--json", code=1)
    closed = {name for name, (state, _) in FINALLY.items() if state != "updated"}
    unexplained = {order["orderId"]: order["seq"] for order in told["orders"] if order["verdict"] == "unexplained"}
    first = sorted(unexplained.keys() - closed)

    changed.service.launch(env=changed.env)
    assert changed.service.exit_code(4 * PATIENCE) == 5

    [critical] = [line for line in changed.service.log() if line["level"] == "CRITICAL"]
    assert f"cannot explain {len(first)} orders: {first[0]} (entry {unexplained[first[0]]}), " in critical["error"]
    assert f" and {len(first) - 5} more (tillproof machine check --json lists all)" in critical["error"]
    assert "it does not come to rest" in critical["error"]
    assert "tillproof machine check" in critical["next"]
    assert journal.read_bytes() == before


def test_a_finished_order_stays_in_its_old_final_state_and_the_server_starts(changed, journal):  # P5
    changed.write(renamed("ORDER", "expired", "lapsed"))

    changed.service.start(env=changed.env)

    assert changed.service.order("oap-expired")["state"] == "expired"
    refused = changed.service.dojo.call("DELETE", "/v1/orders/oap-expired")
    assert refused.status == 409
    assert changed.service.stop() == 0


def test_a_declaration_that_contradicts_itself_is_named_by_its_row(changed):  # P5
    changed.write(
        lambda text: text.replace(
            '"reconciled",                                     "updated",    "dojo_knows"', '"reconciled", "created", "dojo_knows"'
        )
    )

    ended = changed.run("machine", "check", code=1)

    assert "no row leads to state 'updated'" in ended.stderr
    assert "Next: correct workflow/lifecycle.py" in ended.stderr
