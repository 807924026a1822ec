"""Every command as a person or a script runs it: its help, its JSON, its exit code, and what it leaves alone."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import pty
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections import namedtuple
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import click
import pytest
import requests
from click.testing import CliRunner

import app
from adapters.checks import examine
from adapters.cli import acting, demo, local, machines, openapi
from adapters.cli.commands import cli
from adapters.sandbox import Sandbox
from tests.builders import FixedClock, Venue
from tests.contract.running import (
    KEY,
    PATIENCE,
    Service,
    an_order,
    beside_sandbox,
    environment,
    free_port,
    sqlite,
    whole_copy,
)
from workflow import diagrams
from workflow.clock import from_text, to_text
from workflow.declaration import Migration, group
from workflow.guards import GUARDS
from workflow.journal.lock import FileLock
from workflow.ledger import HASHED_COLUMNS, Frontier, HashedEntry, entry_hash
from workflow.lifecycle import ORDER, PAYMENT, RULES
from workflow.money import Money

HEX = re.compile("[0-9a-f]{64}")
DEMO_SECONDS = 10.0
"""Of a processor, since how long that takes is a matter of who else has it."""
ID = "ORDER"
"""Stands for the id of the order that was paid."""


Ended = namedtuple("Ended", "returncode stdout stderr")


def run_process(folder, *words, **settings):
    """Run a command to its end as a process of its own: no traceback and no colour, whatever it finds."""
    ended = subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,  # A demo is three programs that start.
        check=False,
    )
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def run(monkeypatch):
    """Runs a command in this process, which saves the start of another: otherwise as `run_process`."""

    def run(folder, *words, **settings):
        monkeypatch.chdir(folder)
        others = {name: None for name in os.environ if name.startswith("TILLPROOF_")}
        given = {f"TILLPROOF_{name}": str(value) for name, value in settings.items()}
        result = CliRunner().invoke(cli, words, obj=app.program(), prog_name="tillproof", env=others | given, color=True)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "\x1b" not in result.output
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """The journal of a service that played both flows and was stopped; the sandbox still runs and knows it."""
    with beside_sandbox(tmp_path_factory.mktemp("commands")) as both:
        service, sandbox = both.service, both.sandbox
        paid = sandbox.order_and_pay(tips=Money(300, "GBP"))
        service.dojo.post("/v1/orders", an_order("unpaid"))
        service.dojo.post("/v1/orders", an_order("unpaid", total=1))
        assert paid.ok
        service.await_state(paid.order_id, "updated")
        service.await_rest()
        assert service.stop() == 0
        yield SimpleNamespace(service=service, sandbox=sandbox, order_id=paid.order_id, folder=service.folder)


@pytest.fixture
def ask(venue, run):
    """Runs a command with the settings of the venue."""
    return lambda *words, **settings: run(
        venue.folder, *(venue.order_id if word == ID else word for word in words), **venue.service.settings | settings
    )


@pytest.fixture
def tampered(venue, tmp_path, ask):
    """Runs a command on a copy of the journal in which somebody ran SQL; its triggers are there again."""

    def after(words, *statements):
        number = len(list(tmp_path.glob("copy-*.db")))  # Not over one that a command of this process may still have open.
        copy = whole_copy(venue.service.journal, tmp_path / f"copy-{number}.db")
        triggers = sqlite(copy, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")[0]
        sqlite(copy, *(f"DROP TRIGGER {name}" for name, _ in triggers), *statements, *(sql for _, sql in triggers))
        return ask(*words, JOURNAL=copy, WITNESS=venue.service.witness, SIGNING_KEY=f"{venue.service.journal}.key")

    return after


# Help


def commands(command, path=()):
    yield path, command
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from commands(below, (*path, name))


COMMANDS = dict(commands(cli))
"""Every command, and every group of them, from the whole program on."""
LEAVES = [words for words, command in COMMANDS.items() if not isinstance(command, click.Group)]
named = pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(("tillproof", *words)))


def test_every_command_of_the_interface_that_is_built_is_there():
    expected = "demo serve sandbox doctor version diagram"
    groups = {
        "caps": "list diff register",
        "orders": "list show bill erase",
        "attention": "list resolve",
        "journal": "verify replay head tail",
        "machine": "show",
    }
    wanted = {(name,) for name in expected.split()} | {(group, name) for group, names in groups.items() for name in names.split()}

    assert wanted <= COMMANDS.keys()


def test_a_list_of_commands_says_whole_sentences(run, tmp_path):
    for words, command in COMMANDS.items():
        if isinstance(command, click.Group):
            shown = "".join(run(tmp_path, *words, "--help").stdout.split())  # Words are broken at their hyphens, too.
            firsts = ["".join(below.help.split(". ")[0].partition("\n\n")[0].split()) for below in command.commands.values()]
            assert [first for first in firsts if first not in shown] == []


@named
def test_the_help_of_every_command_opens_with_an_example_of_it(words):
    shown = CliRunner().invoke(cli, [*words, "--help"], prog_name="tillproof")

    assert shown.exit_code == 0
    assert shown.output.startswith(f"Example: {' '.join(('tillproof', *words))}")


@named
def test_the_example_of_every_command_is_one_that_it_understands(words):
    example = shlex.split(COMMANDS[words].example)[1:]
    runs = max((path for path in COMMANDS if path == tuple(example[: len(path)])), key=len)  # For a group, one of its commands.
    context = COMMANDS[runs].make_context("tillproof", example[len(runs) :], resilient_parsing=False)

    assert runs[: len(words)] == words
    assert not isinstance(COMMANDS[runs], click.Group)
    context.close()


def test_help_runs_without_settings_and_without_a_journal(run, tmp_path):
    for words in ([], ["--help"], ["journal"], ["journal", "verify", "--help"], ["-h"]):
        ended = run(tmp_path, *words)
        assert (ended.returncode in {0, 2}, "Usage: tillproof" in ended.stdout + ended.stderr) == (True, True)
    assert list(tmp_path.iterdir()) == []


# JSON


def parsed(ended, code=0):
    assert (ended.returncode, ended.stderr) == (code, "")
    return json.loads(ended.stdout)


def test_journal_verify_has_the_shape_of_the_interface(ask):
    found = parsed(ask("journal", "verify", "--json"))

    assert found.keys() >= {"ok", "entries", "orders", "checkpoint", "witness", "first_bad"}
    assert (found["ok"], found["first_bad"], found["orders"]) == (True, None, 2)
    assert found["checkpoint"].keys() == {"size", "root"}
    assert found["checkpoint"]["size"] == found["entries"] > 10
    assert HEX.fullmatch(found["checkpoint"]["root"])
    assert found["witness"] == {"size": found["entries"], "ok": True}
    assert found["witness_lines"] > found["checkpoints"] > 0


def test_journal_replay_has_the_shape_of_the_interface_and_a_digest_that_stays(ask):
    first, second = (parsed(ask("journal", "replay", "--json")) for _ in range(2))

    assert first.keys() >= {"ok", "entries", "orders", "mismatches", "digest"}
    assert (first["ok"], first["mismatches"], first["orders"]) == (True, [], 2)
    assert HEX.fullmatch(first["digest"])
    assert first == second


def test_journal_replay_until_a_position_says_how_it_was_then(ask):
    found = parsed(ask("journal", "replay", "--until", "1", "--json"))

    assert (found["ok"], found["entries"], found["orders"]) == (True, 1, 1)
    assert found["digest"] != parsed(ask("journal", "replay", "--json"))["digest"]


def test_the_venue_as_it_was_is_shown_to_people_and_to_programs(ask):
    entries = map(json.loads, ask("journal", "tail", "-n", "1000", "--json").stdout.splitlines())
    seq = next(entry["seq"] for entry in entries if "tasks" in entry["body"])
    found, shown = parsed(ask("journal", "replay", "--until", str(seq), "--json")), ask("journal", "replay", "--until", str(seq)).stdout

    assert found.keys() >= {"until", "at", "states", "open", "locks", "attention", "outbox", "venue", "bookings"}
    assert (found["until"], sum(found["states"].values()), len(found["open"])) == (seq, 1, 1)
    [order] = found["open"]
    assert order["orderSeq"] == seq
    assert found["outbox"]["counts"] == {"open": len(found["outbox"]["data"]), "done": 0, "dead": 0}
    assert {task["orderId"] for task in found["outbox"]["data"]} == {order["id"]}
    assert shown.startswith(f"THE PAST: the venue as it was at entry {seq} of ")
    for told in (found["at"], found["digest"], order["id"], "open orders: 1", "calls not made: ", f"1: 1 {order['state']}"):
        assert told in shown


def test_an_order_as_it_was_is_shown_in_the_layout_of_today_and_named_the_past(ask):
    entries = [json.loads(line) for line in ask("journal", "tail", "-n", "1000", "--json").stdout.splitlines()]
    [mine] = [[entry for entry in entries if entry["order_id"] == order["id"]] for order in [parsed(ask("orders", "show", ID, "--json"))]]
    seq = mine[2]["seq"]
    now, past = (parsed(ask("orders", "show", ID, *words, "--json")) for words in ((), ("--at", str(seq))))
    shown, shown_now = (ask("orders", "show", ID, *words).stdout.splitlines() for words in (("--at", str(seq)), ()))

    assert past["asOf"] == {"seq": seq, "at": mine[2]["at"], "entriesSince": len(mine) - 3, "personalData": "kept"}
    assert past.keys() - {"asOf"} == now.keys()
    assert (past["orderSeq"], past["paidAmount"]["value"], now["state"]) == (3, 0, "updated")
    assert shown[0] == f"THE PAST: order {now['id']} as it was at entry {seq}, {mine[2]['at']}"
    assert shown[1] == f"{len(mine) - 3} of its entries came later; as it is now: tillproof orders show {now['id']}"
    assert shown[3] == shown_now[0]
    assert [line for line in shown if " #" in line] == [line for line in shown_now if " #" in line][:3]
    assert shown[-1] == "personal data, never in the journal: kept beside it, as it was then"
    last = ask("orders", "show", ID, "--at", str(mine[-1]["seq"])).stdout.splitlines()
    assert last[1] == "nothing of it came later: so it is now"


def test_an_order_that_was_not_there_yet_is_asked_for_from_where_it_began(ask):
    [unpaid] = [order["id"] for order in parsed(ask("orders", "list", "--json"))["data"] if order["dojoOrderId"] == "unpaid"]
    ended = ask("orders", "show", unpaid, "--at", "1")
    again = next_of(ended, 1).removeprefix("tillproof ").split()

    assert again[:-1] == ["orders", "show", unpaid, "--at"]
    assert parsed(ask(*again, "--json"))["orderSeq"] == 1
    assert "at entry 1 there was none" in ended.stderr
    assert ask("orders", "show", unpaid, "--at", str(int(again[-1]) - 1)).returncode == 1


@pytest.mark.parametrize("at", ["0", "-1", "x", "100000", str(2**63)])
def test_an_order_at_a_position_that_the_journal_does_not_have_is_a_mistake_in_the_command(ask, at):
    ended = ask("orders", "show", ID, "--at", at)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--at" in ended.stderr


@pytest.mark.parametrize("words", ["replay --until -1", f"replay --until {2**63}", f"export --from {2**63}", "export --from 5 --to 2"])
def test_a_position_that_no_journal_has_is_a_mistake_in_the_command(ask, words):
    ended = ask("journal", *words.split())

    assert (ended.returncode, ended.stdout, words.split()[-2] in ended.stderr) == (2, "", True)


@pytest.mark.parametrize("words", ["journal replay --until", f"orders show {ID} --at"])
def test_a_position_behind_the_end_is_refused_and_the_last_one_is_named(ask, words):
    last = parsed(ask("journal", "verify", "--json"))["entries"]

    ended = ask(*words.split(), str(last + 1))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"to {last}, where the journal ends, got {last + 1}" in ended.stderr
    assert ask(*words.split(), str(last)).returncode == 0


def test_a_proof_without_the_key_that_signed_is_refused_and_says_how_to_give_it(ask, tmp_path):
    ended = ask("journal", "proof", ID, SIGNING_KEY=tmp_path / "none.key")

    assert (ended.stdout, "none.key" in ended.stderr) == ("", True)
    assert next_of(ended, 3).startswith("tillproof journal proof --key KEY with the public key")
    key = ask("journal", "key").stdout.splitlines()[0]
    assert parsed(ask("journal", "proof", ID, "--key", key, SIGNING_KEY=tmp_path / "none.key")) == parsed(ask("journal", "proof", ID))
    assert list(tmp_path.iterdir()) == []


def test_journal_head_is_a_size_and_the_root_that_the_checkpoint_signs(ask):
    shown = ask("journal", "head")

    checkpoint = parsed(ask("journal", "verify", "--json"))["checkpoint"]
    assert (shown.returncode, shown.stdout) == (0, f"{checkpoint['size']} {checkpoint['root']}\n")
    assert parsed(ask("journal", "head", "--json")) == checkpoint


def test_journal_tail_prints_the_newest_entries_oldest_first_one_object_a_line(ask):
    shown = ask("journal", "tail", "-n", "3", "--json")

    entries = [json.loads(line) for line in shown.stdout.splitlines()]
    size = parsed(ask("journal", "head", "--json"))["size"]
    assert [entry["seq"] for entry in entries] == [size - 2, size - 1, size]
    assert entries[0].keys() >= {"order_id", "order_seq", "at", "kind", "machine", "trigger", "from_state", "to_state", "body", "hash"}


def test_orders_list_has_every_order_newest_first(ask, venue):
    found = parsed(ask("orders", "list", "--json"))["data"]

    assert found[0]["dojoOrderId"] == "unpaid"
    assert [order["id"] for order in found][1:] == [venue.order_id]
    assert [order["id"] for order in parsed(ask("orders", "list", "--state", "updated", "--json"))["data"]] == [venue.order_id]
    assert [order["dojoOrderId"] for order in parsed(ask("orders", "list", "--attention", "--json"))["data"]] == ["unpaid"]
    assert len(parsed(ask("orders", "list", "--limit", "1", "--json"))["data"]) == 1


def test_orders_list_is_filtered_and_searched_as_the_console_is(ask, venue):
    def found(*words):
        return [order["id"] for order in parsed(ask("orders", "list", *words, "--json"))["data"]]

    everything = found()
    for words in (("--flow", "pay_only"), ("--flow", "pay_later")):
        assert set(found(*words)) == {each["id"] for each in parsed(ask("orders", "list", "--json"))["data"] if each["flow"] == words[1]}
    assert found("--search", venue.order_id) == [venue.order_id]
    assert found("--table", "nowhere") == found("--from", "2100-01-01") == found("--attention", "--to", "2000-01-01") == []
    assert found("--from", "2001-01-01", "--to", "2100-01-01") == everything
    assert "expected a day" in fails(ask("orders", "list", "--from", "soon"), 2, "--from")


def test_orders_list_prints_a_line_an_order_for_programs(ask, venue):
    everything = [order["id"] for order in parsed(ask("orders", "list", "--json"))["data"]]

    as_csv, as_lines = ask("orders", "list", "--format", "csv").stdout, ask("orders", "list", "--format", "jsonl").stdout

    assert [line.split(",")[0] for line in as_csv.splitlines()] == ["order_id", *everything]
    assert [json.loads(line)["order_id"] for line in as_lines.splitlines()] == everything
    assert len(ask("orders", "list", "--format", "jsonl", "--limit", "1").stdout.splitlines()) == 1
    [row] = csv.DictReader(io.StringIO(ask("orders", "list", "--format", "csv", "--search", venue.order_id).stdout, newline=""))
    assert (row["state"], row["order_id"]) == ("updated", venue.order_id)


def test_orders_show_has_the_shape_of_the_interface(ask, venue):
    found = parsed(ask("orders", "show", ID, "--json"))

    assert found.keys() >= {"id", "dojoOrderId", "flow", "state", "status", "totalAmount", "paidAmount", "tipsAmount", "payments"}
    assert found.keys() >= {"attention", "lock", "orderSeq", "machine"}
    assert (found["id"], found["state"], found["paidAmount"]["value"]) == (venue.order_id, "updated", 5170)
    assert found["payments"][0].keys() >= {"paymentIntentId", "state", "paidAmount", "tipsAmount", "refundedAmount"}


def test_orders_show_tells_people_state_money_and_each_step(ask, venue):
    shown = ask("orders", "show", ID).stdout

    for text in (venue.order_id, "updated", "GBP 51.70", "GBP 3.00", "reconciled -> updated", "reconciled"):
        assert text in shown


def test_machine_show_has_the_shape_of_the_interface(ask):
    machines = {machine["name"]: machine for machine in parsed(ask("machine", "show", "--json"))["machines"]}

    assert machines.keys() >= {"order", "payment"}
    for machine in machines.values():
        assert re.fullmatch("[0-9a-f]{12}", machine["hash"])
        assert machine["states"][0].keys() >= {"name", "final"}
        assert {transition.keys() >= {"trigger", "from", "to"} for transition in machine["transitions"]} == {True}
        assert machine["transitions"][0]["from"] == ""
        states = {state["name"] for state in machine["states"]}
        assert {transition["to"] for transition in machine["transitions"]} <= states
        assert not {state["name"] for state in machine["states"] if state["final"]} & {t["from"] for t in machine["transitions"]}


def test_every_transition_in_the_journal_is_one_that_machine_show_declares(ask):  # I4
    declared = {
        (f"{machine['name']}@{machine['hash']}", transition["trigger"], transition["from"], transition["to"])
        for machine in parsed(ask("machine", "show", "--json"))["machines"]
        for transition in machine["transitions"]
    }
    entries = [json.loads(line) for line in ask("journal", "tail", "-n", "1000", "--json").stdout.splitlines()]
    journaled = {(e["machine"], e["trigger"], e["from_state"], e["to_state"]) for e in entries if e["kind"] == "transition"}

    assert len(journaled) > 6
    assert journaled <= declared


def test_version_names_the_program_and_sqlite(ask):
    assert parsed(ask("version", "--json")).keys() >= {"version", "sqlite"}
    assert re.match(r"tillproof \d+\.\d+", ask("version").stdout)


def test_doctor_notices_a_clock_that_was_set_back(venue, monkeypatch):  # T1
    monkeypatch.chdir(venue.folder)
    environ = environment(venue.service.settings)

    def clock(moment):
        examined = examine(environ, venue.folder / "none.toml", app.dojo_client, FixedClock(moment))
        return next((finding.level, finding.text) for finding in examined if finding.name == "clock")

    newest = from_text(venue.service.reads.last_entries(1)[0].at)
    assert clock(newest) == ("ok", to_text(newest))
    level, text = clock(newest - timedelta(milliseconds=1))
    assert (level, to_text(newest) in text) == ("FAIL", True)


def test_doctor_of_a_healthy_venue_finds_no_failure(ask):
    ended = ask("doctor", "--json")

    found = json.loads(ended.stdout)
    failures = [finding for finding in found["findings"] if finding["level"] == "FAIL"]
    assert (ended.returncode, failures, found["failures"]) == (0, [], 0)
    assert {finding["name"] for finding in found["findings"]} >= {"settings", "SQLite", "journal", "Dojo", "capabilities"}


@pytest.mark.parametrize("words", LEAVES, ids="-".join)
def test_every_command_speaks_json_where_it_is_asked_to(words):
    assert "--json" in {name for option in COMMANDS[words].params for name in option.opts}


@pytest.mark.parametrize(
    "words",
    [
        *("doctor", "version", "completion bash", "diagram", f"diagram --order {ID}", "caps list", "caps diff", "caps register"),
        *("orders list", f"orders show {ID}", f"orders bill {ID}", "machine show", "journal verify", "journal replay", "journal head"),
    ],
    ids=lambda words: words.replace(" ", "-"),
)
def test_with_json_stdout_is_one_json_document_and_without_it_is_none(ask, words):
    as_json, as_words = ask(*words.split(), "--json"), ask(*words.split())

    assert isinstance(json.loads(as_json.stdout), dict)
    assert (as_json.returncode, as_words.returncode) == (0, 0)
    assert as_words.stdout.strip()
    assert not as_words.stdout.startswith("{")


# Capabilities


def test_caps_diff_exits_1_until_caps_register_was_run(run, venue, tmp_path):
    sandbox = Sandbox(api_key=KEY)
    sandbox.start()
    settings = venue.service.settings | {"DOJO_URL": sandbox.url}
    try:
        assert parsed(run(tmp_path, "caps", "list", "--json", **settings)) == {"url": None, "username": None, "capabilities": []}
        before = run(tmp_path, "caps", "diff", "--json", **settings)
        registered = parsed(run(tmp_path, "caps", "register", "--json", **settings))
        after = run(tmp_path, "caps", "diff", "--json", **settings)
        listed = parsed(run(tmp_path, "caps", "list", "--json", **settings))
    finally:
        sandbox.stop()

    assert (before.returncode, json.loads(before.stdout)["differs"]) == (1, True)
    assert json.loads(before.stdout)["missing"] == registered["registered"]
    assert {"CreateOrder", "GetOrderById", "SearchOrders"} <= set(registered["registered"])
    assert (after.returncode, json.loads(after.stdout)["differs"]) == (0, False)
    assert [capability["name"] for capability in listed["capabilities"]] == registered["registered"]
    assert (listed["url"], listed["username"]) == (settings["PUBLIC_URL"], settings["EPOS_USERNAME"])
    assert settings["EPOS_PASSWORD"] not in json.dumps([registered, listed])


def test_caps_register_journals_who_registered_what_and_why_where_there_is_a_journal_and_works_where_there_is_none(run, venue, tmp_path):
    sandbox = Sandbox(api_key=KEY)
    sandbox.start()
    settings = venue.service.settings | {"DOJO_URL": sandbox.url}
    try:
        journaled = run(tmp_path, "caps", "register", "--reason", "the first day 4242424242424242", **settings)
        without_a_journal = run(tmp_path, "caps", "register", **settings | {"JOURNAL": tmp_path / "none.db"})
    finally:
        sandbox.stop()

    assert (journaled.returncode, without_a_journal.returncode) == (0, 0)
    assert not (tmp_path / "none.db").exists()
    entry = [each for each in venue.service.reads.entries(order_id="") if each.trigger == "register"][-1]
    body = entry.entry().body
    assert (entry.actor, body["url"], body["dropped"]) == (acting.actor(), settings["PUBLIC_URL"], [])
    assert (len(body["added"]), body["reason"].startswith("the first day"), "4242424242424242" in body["reason"]) == (23, True, False)


# Exit codes


def test_a_process_ends_with_the_code_of_the_interface_and_says_what_to_do_next(venue, tmp_path):
    settings = venue.service.settings
    foreign = tmp_path / "recipes.db"
    sqlite(foreign, "CREATE TABLE recipe(name TEXT)")

    ends = {
        0: run_process(tmp_path, "journal", "verify", **settings),
        1: run_process(tmp_path, "orders", "show", "tp_none", **settings),
        2: run_process(tmp_path, "pay", **settings),
        3: run_process(tmp_path, "caps", "list", **settings | {"RETRY_BASE_MS": "soon"}),
        4: run_process(tmp_path, "caps", "list", **settings | {"DOJO_URL": f"http://127.0.0.1:{free_port()}"}),
        5: run_process(tmp_path, "orders", "list", **settings | {"JOURNAL": foreign}),
    }

    assert [ended.returncode for ended in ends.values()] == list(ends)
    assert [bool(ended.stdout) for ended in ends.values()] == [True] + [False] * 5
    assert [code for code, ended in ends.items() if re.search("\nNext: .*tillproof", ended.stderr)] == [1, 2, 3, 4, 5]


def fails(ended, code, *said):
    """Ends with the code, says why and what to do next on stderr, and puts nothing on stdout."""
    assert (ended.returncode, ended.stdout) == (code, "")
    for text in said:
        assert text in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("words", ["caps list", "caps diff", "caps register"], ids=lambda words: words.replace(" ", "-"))
def test_a_dojo_out_of_reach_is_4(ask, words):
    said = fails(ask(*words.split(), DOJO_URL=f"http://127.0.0.1:{free_port()}"), 4)

    assert said.splitlines()[-1] == "Next: tillproof doctor"


def test_a_dojo_that_refuses_the_key_is_4_and_the_key_is_not_shown(ask):
    fails(ask("caps", "list", DOJO_API_KEY="sk_sandbox_canary"), 4, "refuses the API key", "Next: ")
    assert "canary" not in ask("caps", "list", DOJO_API_KEY="sk_sandbox_canary").stderr


def test_an_unknown_order_is_1(ask):
    assert fails(ask("orders", "show", "tp_none"), 1, "tp_none").splitlines()[-1] == "Next: tillproof orders list"


@pytest.mark.parametrize(
    "words",
    [
        "pay",
        "orders",
        "orders pay",
        "orders list --state paid",
        "orders list --limit 0",
        "orders show",
        "journal verify --fast",
        "diagram --format exe",
    ],
    ids=lambda words: words.replace(" ", "-").replace("---", "-"),
)
def test_wrong_usage_is_2(ask, words):
    ended = ask(*words.split())

    assert (ended.returncode, "Usage: tillproof" in ended.stderr) == (2, True)


WITH_A_REASON = (
    "orders erase x",
    "bookings erase x",
    "outbox requeue x",
    "outbox stop x",
    "attention resolve acknowledge",
    "machine migrate",
)
WITH_A_REASON += ("journal rotate-key", "journal accept-lost-tail", "caps register", "takings resolve 2026-07-03 pi_1")


@pytest.mark.parametrize("reason", ["", " \t", "x" * 1_001], ids=["empty", "blank", "long"])
@pytest.mark.parametrize("words", WITH_A_REASON, ids=lambda words: words.replace(" ", "-"))
def test_a_reason_that_a_server_would_refuse_is_a_mistake_in_the_command_where_none_runs(ask, words, reason):
    ended = ask(*words.split(), "--reason", reason)

    assert (ended.returncode, "'--reason': expected 1 to 1,000 characters" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        *("orders show X", "orders bill X", "orders erase X --reason x", "bookings erase X --reason x", "journal proof X"),
        *("outbox requeue X --reason x", "outbox requeue x --reason X", "journal receipts --source create_order --id X"),
        *("attention resolve acknowledge --order X --reason x", "diagram --order X", "machine show --hash X"),
    ],
)
def test_bytes_that_are_no_text_are_a_mistake_in_the_command(ask, words):
    ended = ask(*("\udcff" if word == "X" else word for word in words.split()))  # As Python has a byte FF of the command line.

    assert (ended.returncode, "expected UTF-8 text" in ended.stderr) == (2, True)


@pytest.mark.parametrize("words", ["serve", "orders list", "journal verify", "caps list"], ids=lambda words: words.replace(" ", "-"))
def test_settings_that_cannot_be_used_are_3(ask, words):
    fails(ask(*words.split(), RETRY_BASE_MS="soon"), 3, "TILLPROOF_RETRY_BASE_MS", "Next: tillproof doctor")


def test_doctor_names_a_setting_that_cannot_be_used_and_how_to_mend_it(ask):
    ended = ask("doctor", RETRY_BASE_MS="soon")

    assert ended.returncode == 1
    assert "TILLPROOF_RETRY_BASE_MS" in ended.stdout
    assert "Fix: " in ended.stdout


def test_what_caps_register_lacks_is_3_by_name(run, tmp_path):
    fails(run(tmp_path, "caps", "register"), 3, "TILLPROOF_")
    fails(run(tmp_path, "caps", "list"), 3, "TILLPROOF_DOJO_API_KEY")


READERS = ("orders list", "orders show x", "journal verify", "journal replay", "journal head", "journal tail")


@pytest.mark.parametrize("words", READERS, ids=lambda words: words.replace(" ", "-"))
def test_without_a_journal_a_reader_says_so_and_makes_none(run, tmp_path, words):
    fails(run(tmp_path, *words.split(), JOURNAL=tmp_path / "none.db"), 4, "none.db", "Next: ")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", READERS, ids=lambda words: words.replace(" ", "-"))
def test_a_file_that_is_no_journal_is_5_and_is_left_as_it_was(run, tmp_path, words):  # S14
    foreign = tmp_path / "recipes.db"
    sqlite(foreign, "CREATE TABLE recipe(name TEXT)")
    before = foreign.read_bytes()

    fails(run(tmp_path, *words.split(), JOURNAL=foreign), 5, "recipes.db")

    assert foreign.read_bytes() == before
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_text_file_an_empty_file_and_a_newer_journal_are_5(run, tmp_path, venue):
    newer = whole_copy(venue.service.journal, tmp_path / "newer.db")
    sqlite(newer, "PRAGMA user_version = 9999")
    (tmp_path / "text.db").write_text("Dear diary,\n" * 100)
    (tmp_path / "empty.db").touch()

    for name in ("newer.db", "text.db", "empty.db"):
        fails(run(tmp_path, "orders", "list", JOURNAL=tmp_path / name), 5, name)


def stored(folder):
    """Every file that holds anything; SQLite's readers keep their places in the `-shm` file."""
    return {path.name: content for path in folder.iterdir() if not path.name.endswith("-shm") and (content := path.read_bytes())}


def test_readers_write_nothing(ask, venue):
    before = stored(venue.folder)

    for words in (f"orders show {ID}", "journal verify", "journal replay", "doctor"):
        assert ask(*words.split()).returncode == 0

    assert stored(venue.folder) == before


# The next command after a failure


SETTINGLESS = {("completion",), ("demo",), ("diagram",), ("machine", "show"), ("openapi",), ("sandbox",), ("version",)}


def next_of(ended, code):
    """The last line on stderr, which must name a command that there is."""
    assert ended.returncode == code, ended
    last = ended.stderr.splitlines()[-1]
    found = re.match(r"Next: .*?\btillproof((?: [a-z][a-z-]*){1,2}| --help)", last)
    assert found, ended.stderr
    words = tuple(found[1].replace("--help", "").split())
    assert {words, words[:1]} & COMMANDS.keys(), last
    return last.removeprefix("Next: ")


@pytest.fixture
def copied(venue, tmp_path):
    """Settings with a copy of the venue's journal in `tmp_path`, its key and its witness."""
    copy = whole_copy(venue.service.journal, tmp_path / "copy.db")
    for end in ("key", "witness"):
        shutil.copy(f"{venue.service.journal}.{end}", f"{copy}.{end}")
    return {"JOURNAL": copy}


@pytest.mark.parametrize("words", LEAVES, ids="-".join)
def test_a_command_that_was_not_understood_ends_with_its_help(run, tmp_path, words):
    assert next_of(run(tmp_path, *words, "--no-such-option"), 2) == f"tillproof {' '.join(words)} --help"


def test_an_unknown_command_ends_with_the_help_of_where_it_was_looked_for(run, tmp_path):
    assert next_of(run(tmp_path, "pay"), 2) == "tillproof --help"
    assert next_of(run(tmp_path, "orders", "pay"), 2) == "tillproof orders --help"


@pytest.mark.parametrize("words", [words for words in LEAVES if words not in SETTINGLESS], ids="-".join)
def test_every_command_with_settings_names_doctor_where_they_cannot_be_used(run, tmp_path, words):
    example = shlex.split(COMMANDS[words].example)[1:]

    assert "tillproof doctor" in next_of(run(tmp_path, *example, RETRY_BASE_MS="soon"), 1 if words == ("doctor",) else 3)


@pytest.mark.parametrize(
    ("words", "wrong", "code", "following"),
    [
        ("orders show tp_none", {}, 1, "tillproof orders list"),
        ("orders bill tp_none", {}, 1, "tillproof orders list"),
        ("orders erase tp_none --reason x", {}, 1, "tillproof orders list"),
        ("bookings erase pty_none --reason x", {}, 1, "tillproof bookings erase --help"),
        ("orders erase --reason x", {}, 2, "tillproof orders erase --help"),
        ("orders erase x --preview --reason x", {}, 2, "tillproof orders erase --help"),
        ("orders erase x", {}, 2, "tillproof orders erase --help"),
        ("diagram --order tp_none", {}, 1, "tillproof orders list"),
        ("journal proof tp_none", {}, 1, "tillproof orders list"),
        ("journal proof ORDER", {"SIGNING_KEY": "none.key"}, 3, "tillproof journal proof --key KEY with the public key"),
        ("journal head", {"JOURNAL": "none.db"}, 4, "tillproof doctor"),
        ("orders list", {"JOURNAL": "foreign.db"}, 5, "set TILLPROOF_JOURNAL to the journal's file, then tillproof orders list"),
        ("journal verify", {"JOURNAL": "newer.db"}, 5, "install the version that wrote it, then tillproof journal verify"),
        ("attention resolve acknowledge --order tp_none --reason x", {}, 1, "tillproof orders list"),
        ("attention resolve acknowledge --reason x", {}, 1, "tillproof attention list"),
        ("outbox requeue none --reason x", {}, 1, "tillproof outbox list --status dead"),
        ("outbox requeue TASK --reason x", {}, 1, "tillproof outbox list --status dead"),
        ("outbox stop none --reason x", {}, 1, "tillproof outbox list"),
        ("outbox stop TASK --reason x", {}, 1, "tillproof outbox list"),
        ("outbox requeue TASK --reason x", {"SIGNING_KEY": "none.key"}, 3, "tillproof doctor"),
        ("outbox requeue TASK --reason x", {"WITNESS": "ahead.witness"}, 5, "tillproof journal accept-lost-tail --reason TEXT"),
        ("journal accept-lost-tail --reason x", {}, 1, "tillproof journal verify"),
        ("journal verify", {"WITNESS": "ahead.witness"}, 1, "tillproof journal accept-lost-tail --reason TEXT"),
        ("caps list", {"DOJO_API_KEY": "sk_sandbox_other"}, 4, "tillproof doctor"),
        ("caps diff", {"PUBLIC_URL": "http://127.0.0.1:1"}, 1, "tillproof caps register"),
        ("caps register", {"EPOS_PASSWORD": ""}, 3, "tillproof doctor"),
        ("takings", {"DOJO_API_KEY": "sk_sandbox_other"}, 4, "tillproof doctor"),
        ("takings", {"DOJO_URL": "http://127.0.0.1:9"}, 4, "tillproof doctor, or takings --offline"),
        ("doctor", {"DOJO_API_KEY": "sk_sandbox_other"}, 1, "tillproof doctor"),
        ("serve", {"ENV": "production", "EPOS_PASSWORD": ""}, 3, "tillproof doctor"),
        ("sandbox --port 0 --api-key sk_prod_x", {}, 2, "tillproof sandbox --help"),
        ("sandbox --port 0 --pos http://127.0.0.1:9 --flow order-and-pay --step-seconds 0.1", {}, 1, "tillproof sandbox --help"),
    ],
)
def test_a_failure_ends_with_the_next_command(ask, copied, tmp_path, words, wrong, code, following):
    sqlite(tmp_path / "foreign.db", "CREATE TABLE recipe(name TEXT)")
    sqlite(whole_copy(copied["JOURNAL"], tmp_path / "newer.db"), "PRAGMA user_version = 9999")
    (tmp_path / "ahead.witness").write_text(f"9999 {'0' * 64}\n")
    files = {name: tmp_path / value if name in {"JOURNAL", "WITNESS", "SIGNING_KEY"} else value for name, value in wrong.items()}
    task = sqlite(copied["JOURNAL"], "SELECT id FROM outbox WHERE status = 'done'")[0][0][0]

    ended = ask(*(task if word == "TASK" else word for word in words.split()), **copied | files)

    assert following in next_of(ended, code)


@pytest.mark.parametrize(
    "words",
    ["outbox requeue none --reason x", "orders erase x --reason x", "journal accept-lost-tail --reason x", "journal rotate-key --reason x"],
)
@pytest.mark.parametrize(
    ("witness", "code", "told"), [("copy.db", 3, "same file as"), ("copy.db.key", 3, "same file as"), ("a", 5, "no witness")]
)
def test_without_a_server_no_command_writes_into_a_file_that_is_no_witness(ask, copied, tmp_path, words, witness, code, told):  # S14
    (tmp_path / "a").write_text("Dear diary, nothing happened")
    before = stored(tmp_path)

    ended = ask(*words.split(), **copied, WITNESS=tmp_path / witness)

    assert (ended.returncode, told in ended.stderr) == (code, True)
    assert stored(tmp_path) == before


@pytest.mark.parametrize("words", ["outbox requeue x --reason x", "orders erase x --reason x", "journal accept-lost-tail --reason x"])
def test_where_a_server_has_the_journal_the_next_command_is_the_same_again_without_it(ask, copied, tmp_path, words):
    other = Service(tmp_path, **copied, TOKENS="").start()
    try:
        ended = ask(*words.split(), **copied, TOKENS="")
    finally:
        other.kill()

    assert next_of(ended, 4) == f"stop the server that has it, then tillproof {' '.join(words.split()[:2])}"


def test_a_server_of_ours_that_does_not_answer_is_not_taken_for_dojo(ask, copied):
    lock = FileLock(Path(f"{copied['JOURNAL']}.lock"))
    lock.acquire()  # Whoever has the journal, nobody listens.
    try:
        ended = ask("outbox", "requeue", "x", "--reason", "x", **copied, CONSOLE_LISTEN=f"127.0.0.1:{free_port()}")
    finally:
        lock.release()

    assert next_of(ended, 4) == "see that the server runs, and whether it was done, then tillproof outbox requeue"
    assert "Tillproof's own server at http://127.0.0.1:" in ended.stderr
    assert "Dojo" not in ended.stderr


def test_a_journal_that_does_not_hold_ends_verify_with_replay_and_replay_with_verify(tampered):
    damage = "UPDATE journal SET body = replace(body, '5170', '5171')"

    assert next_of(tampered(["journal", "verify"], damage), 1) == "tillproof journal replay"
    assert next_of(tampered(["journal", "replay"], damage), 1) == "tillproof journal verify"


@pytest.mark.parametrize("words", ["diagram --check", "openapi --check"])
def test_what_is_stale_is_written_anew_by_the_next_command(run, tmp_path, monkeypatch, words):
    monkeypatch.setattr(diagrams, "stale", lambda folder: ["order.svg"])
    monkeypatch.setattr(openapi, "FOLDER", tmp_path)

    assert next_of(run(tmp_path, *words.split()), 1) == f"tillproof {words.split()[0]} --write"


def test_a_demo_whose_service_does_not_start_ends_with_doctor(run, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "START_SECONDS", 0)

    assert next_of(run(tmp_path, "demo"), 1) == "tillproof doctor"


def test_a_service_that_a_busy_machine_holds_up_is_waited_for(tmp_path, monkeypatch):
    happens = iter([requests.ConnectionError, requests.ReadTimeout, requests.ConnectTimeout, None])

    def get(url, timeout):
        if error := next(happens):
            raise error
        return SimpleNamespace(ok=True)

    monkeypatch.setattr(local.requests, "get", get)
    local._await_ready(local.place(tmp_path), SimpleNamespace(poll=lambda: None), tmp_path / "log")
    assert list(happens) == []


# A journal that somebody changed


def test_a_copy_without_changes_is_whole(tampered):
    assert parsed(tampered(["journal", "verify", "--json"]))["ok"]
    assert parsed(tampered(["journal", "replay", "--json"]))["ok"]


@pytest.mark.parametrize(
    ("seq", "statements"),
    [
        (5, ["UPDATE journal SET body = replace(body, '5170', '5171') WHERE seq = 5", "UPDATE journal SET actor = 'x' WHERE seq = 5"]),
        (1, ["UPDATE journal SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 1"]),
        (3, ["UPDATE journal SET hash = upper(hash) WHERE seq = 3"]),
        (4, ["DELETE FROM journal WHERE seq = 4"]),
        (4, ["UPDATE journal SET prev_hash = hash WHERE seq = 4"]),
        (
            2,
            [
                "UPDATE journal SET seq = 9999 WHERE seq = 2",
                "UPDATE journal SET seq = 2 WHERE seq = 3",
                "UPDATE journal SET seq = 3 WHERE seq = 9999",
            ],
        ),
    ],
    ids=["edited", "backdated", "hash", "deleted", "chain", "swapped"],
)
def test_a_changed_entry_is_found_and_the_first_bad_one_is_named(tampered, seq, statements):  # S7
    ended = tampered(["journal", "verify", "--json"], *statements)

    found = json.loads(ended.stdout)
    assert (ended.returncode, found["ok"], found["first_bad"]["seq"]) == (1, False, seq)
    assert found["first_bad"]["reason"]


def overwritten(path):
    """The page with which the table of entries begins is no page of a database any more."""
    [[(page,)], [(size,)]] = sqlite(path, "SELECT rootpage FROM sqlite_master WHERE name = 'journal'", "PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    return path


def test_a_file_whose_entries_cannot_be_read_ends_what_asks_for_them_with_5_and_the_first_is_named(ask, venue, tmp_path):  # S5
    broken = overwritten(whole_copy(venue.service.journal, tmp_path / "broken.db"))

    def asked(*words):
        return ask("journal", *words, JOURNAL=broken, WITNESS=venue.service.witness, SIGNING_KEY=f"{venue.service.journal}.key")

    shown, found = asked("verify"), json.loads(asked("verify", "--json").stdout)
    assert next_of(shown, 5).startswith("stop the server, keep the file, and put the newest sealed copy in its place")
    seq = found["first_bad"]["seq"]  # In a longer journal that page leads to all others: then it is the file, not one entry.
    assert shown.stdout.startswith("DAMAGED: entry 1: the entry cannot be read: " if seq else f"DAMAGED: {broken} cannot be read: ")
    assert (found["ok"], found["first_bad"].keys(), seq in {0, 1}) == (False, {"seq", "reason"}, True)
    assert [asked(*words).returncode for words in (["replay"], ["export"], ["head"], ["seal", str(tmp_path / "sealed.db")])] == [5] * 4
    assert not (tmp_path / "sealed.db").exists()


def test_an_entry_that_is_no_text_any_more_is_changed_and_not_the_disks_doing(tampered):  # S6
    ended = tampered(["journal", "verify"], "UPDATE journal SET actor = CAST(x'ff' AS TEXT) WHERE seq = 5")

    assert (ended.returncode, ended.stdout.startswith("NOT WHOLE: entry 5: the entry cannot be read: ")) == (1, True)


def test_one_of_something_is_not_called_many(ask, tmp_path):
    venue = Venue(tmp_path)
    venue.create("o1", payments=())
    venue.close()
    settings = {"JOURNAL": tmp_path / "tillproof.db", "WITNESS": venue.witness, "SIGNING_KEY": tmp_path / "tillproof.key"}

    said = [ask("journal", *words, **settings).stdout for words in (["verify"], ["replay"], ["seal", str(tmp_path / "sealed.db")])]

    assert "entries of 1 order, hashed" in said[0]
    assert re.search(r"  1 checkpoint, the newest: .*\n", said[0])
    assert "  1 line of the witness, the newest at" in said[0]
    assert ", 1 order, digest" in said[1]
    assert " of 1 order, verified" in said[2]


def forged(venue, *, chain):
    """Statements that give entry 2 another actor, a hash that fits and a tree that fits; with `chain`, later entries follow it."""
    columns = ", ".join(HASHED_COLUMNS)
    entries, hashes = sqlite(
        venue.service.journal, f"SELECT seq, {columns} FROM journal ORDER BY seq", "SELECT hash FROM journal ORDER BY seq"
    )
    hashes, last = [hash_ for (hash_,) in hashes], ""
    for seq, *values in entries:
        entry = dict(zip(HASHED_COLUMNS, values, strict=True))
        if entry["order_id"] != venue.order_id or seq == 1 or (last and not chain):
            continue
        entry |= {"prev_hash": last} if last else {"actor": "forger"}
        hashes[seq - 1] = last = entry_hash(HashedEntry(**entry))
        yield f"UPDATE journal SET actor = '{entry['actor']}', prev_hash = '{entry['prev_hash']}', hash = '{last}' WHERE seq = {seq}"
    frontier = Frontier()
    for hash_ in hashes:
        for node in frontier.append(hash_):
            yield f"UPDATE tree_node SET hash = x'{node.hash.hex()}' WHERE level = {node[0]} AND position = {node[1]}"


def test_an_entry_forged_with_its_hash_is_found_by_the_chain(tampered, venue):  # S7
    found = json.loads(tampered(["journal", "verify", "--json"], *forged(venue, chain=False)).stdout)

    assert (found["ok"], found["first_bad"]["seq"]) == (False, 3)
    assert "prev_hash" in found["first_bad"]["reason"]


def test_entries_forged_with_their_whole_chain_are_found_by_the_tree(tampered, venue):  # S7
    found = json.loads(tampered(["journal", "verify", "--json"], *forged(venue, chain=True)).stdout)

    assert not found["ok"]
    assert "another root" in found["first_bad"]["reason"]


def test_people_read_which_entry_is_bad(tampered):
    ended = tampered(["journal", "verify"], "UPDATE journal SET actor = 'nobody' WHERE seq = 5")

    assert ended.returncode == 1
    assert "entry 5" in ended.stdout


def test_a_line_of_the_witness_that_is_none_is_named_and_what_to_do_about_it(ask, tmp_path, venue):
    witness = tmp_path / "witness"
    witness.write_bytes(b"dear diary\n" + venue.service.witness.read_bytes())
    ended = ask("journal", "verify", WITNESS=witness)

    assert next_of(ended, 1).startswith("compare the witness with a copy of it")
    assert f"NOT WHOLE: line 1 of the witness {witness} is no line" in ended.stdout
    assert f"until then {parsed(ask('journal', 'verify', '--json'))['entries']} entries of 2 orders held" in ended.stdout


def test_a_witness_that_cannot_be_read_is_no_fault_of_the_journal(ask, tmp_path):
    ended = ask("journal", "verify", WITNESS=tmp_path)

    assert (next_of(ended, 4), ended.stdout) == ("tillproof doctor", "")
    assert f"cannot read the witness {tmp_path}" in ended.stderr


def test_an_entry_that_was_added_is_found_by_the_tree(tampered):  # S7
    columns = "order_id, order_seq + 1, at, kind, machine, trigger, from_state, to_state, payment_intent_id, actor, cause, body, hash, hash"
    ended = tampered(
        ["journal", "verify", "--json"],
        f"INSERT INTO journal SELECT seq + 1, {columns} FROM journal ORDER BY seq DESC LIMIT 1",
    )

    assert ended.returncode == 1
    assert not json.loads(ended.stdout)["ok"]


def test_a_lost_tail_is_found_by_the_witness_and_the_checkpoint(tampered):  # S11
    last = "(SELECT max(seq) FROM journal)"
    with_checkpoint = tampered(["journal", "verify", "--json"], f"DELETE FROM journal WHERE seq = {last}")
    without = tampered(
        ["journal", "verify", "--json"], f"DELETE FROM checkpoint WHERE size >= {last}", f"DELETE FROM journal WHERE seq = {last}"
    )

    for ended in (with_checkpoint, without):
        found = json.loads(ended.stdout)
        assert (ended.returncode, found["ok"]) == (1, False)
        assert "tail is missing" in found["first_bad"]["reason"]
    assert json.loads(without.stdout)["witness"]["ok"] is False


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE checkpoint SET root = (SELECT hash FROM journal LIMIT 1) WHERE size = (SELECT max(size) FROM checkpoint)",
        "UPDATE checkpoint SET note = replace(note, 'tillproof/', 'tillprooF/') WHERE size = (SELECT max(size) FROM checkpoint)",
        "UPDATE checkpoint SET note = (SELECT note FROM checkpoint ORDER BY size LIMIT 1) || ' '",
    ],
    ids=["root", "origin", "note"],
)
def test_a_changed_checkpoint_is_found(tampered, statement):
    ended = tampered(["journal", "verify", "--json"], statement)

    assert (ended.returncode, json.loads(ended.stdout)["ok"]) == (1, False)


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("orders", "UPDATE orders SET paid = paid - 1 WHERE state = 'updated'"),
        ("orders", "UPDATE orders SET state = 'created' WHERE state = 'updated'"),
        ("orders", "UPDATE orders SET body = replace(body, 'Confirmed', 'Accepted') WHERE state = 'updated'"),
        ("payments", "UPDATE payments SET tips = 0"),
        ("payments", "DELETE FROM payments"),
        ("attention", "DELETE FROM attention"),
        ("outbox", "DELETE FROM outbox"),
        ("outbox", "UPDATE outbox SET status = 'pending'"),
    ],
    ids=["paid", "state", "body", "tips", "payment", "attention", "task", "task-status"],
)
def test_a_stored_row_that_the_entries_do_not_explain_is_found_by_replay(tampered, table, statement):  # S10
    ended = tampered(["journal", "replay", "--json"], statement)

    found = json.loads(ended.stdout)
    assert (ended.returncode, found["ok"]) == (1, False)
    assert found["mismatches"][0].startswith(table)


# Diagrams, colour, the sandbox, the demo


def test_diagram_draws_the_machine_that_was_asked_for(ask):
    shown = ask("diagram", "--machine", "order")

    assert shown.returncode == 0
    for state in ("created", "authorised", "captured", "reconciled", "updated"):
        assert state in shown.stdout
    assert len(ask("diagram").stdout) > len(shown.stdout)


def test_diagram_of_the_payments_of_an_order_without_any_is_the_machine_alone(ask):
    """Nothing at all looked like a failure."""
    [unpaid] = [order["id"] for order in parsed(ask("orders", "list", "--json"))["data"] if order["dojoOrderId"] == "unpaid"]

    assert ask("diagram", "--machine", "payment", "--order", unpaid).stdout == ask("diagram", "--machine", "payment").stdout


def test_diagram_with_json_gives_each_picture_with_its_machine(ask):
    found = json.loads(ask("diagram", "--format", "dot", "--json").stdout)
    taken = json.loads(ask("diagram", "--machine", "payment", "--order", ID, "--json").stdout)

    assert (found["format"], [each["name"] for each in found["diagrams"]]) == ("dot", ["order", "payment", "fulfilment"])
    assert "".join(each["text"] for each in found["diagrams"]) == ask("diagram", "--format", "dot").stdout
    assert all(re.fullmatch("[0-9a-f]{12}", each["hash"]) for each in found["diagrams"])
    assert [set(each) for each in taken["diagrams"]] == [{"name", "hash", "orderId", "paymentIntentId", "text"}]


def test_diagram_check_with_json_names_what_is_stale(ask):
    assert json.loads(ask("diagram", "--check", "--json").stdout) == {"stale": []}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_with_json_holds_the_script(ask, shell):
    found = json.loads(ask("completion", shell, "--json").stdout)

    assert (found["shell"], found["script"] + "\n") == (shell, ask("completion", shell).stdout)


def all_of(shown, theirs):
    """What was written to a terminal by whoever has ended. The system passes it on in pieces: the last comes before the end is told."""
    os.close(theirs)
    text = b""
    with suppress(OSError):  # As Linux tells that nobody writes there any more; others do by nothing.
        while piece := shown.read(4_096):
            text += piece
    return text


def test_colour_is_for_terminals_that_want_it(venue):
    def on_a_terminal(**extra):
        ours, theirs = pty.openpty()
        environ = environment(venue.service.settings)
        environ.pop("NO_COLOR", None)
        with closing(os.fdopen(ours, "rb", buffering=0)) as shown:
            subprocess.run(
                [sys.executable, "-m", "app", "journal", "verify"], env=environ | extra, stdout=theirs, check=True, timeout=PATIENCE
            )
            return all_of(shown, theirs)

    assert b"\x1b[" in on_a_terminal(TERM="xterm")
    assert b"\x1b[" not in on_a_terminal(TERM="xterm", NO_COLOR="1")


@pytest.mark.parametrize(
    ("words", "then"),
    [(("verify",), "verify: SQLite's own check, seconds"), (("replay",), "replay: comparing with what is stored"), (("export",), "")],
    ids=["verify", "replay", "export"],
)
def test_long_work_shows_a_bar_on_a_terminal_and_none_in_a_pipe(venue, words, then):
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb", buffering=0)) as shown:
        command = [sys.executable, "-m", "app", "journal", *words]
        piped = subprocess.run(command, env=environment(venue.service.settings), capture_output=True, check=True, timeout=PATIENCE)
        subprocess.run(
            command, env=environment(venue.service.settings), stdout=subprocess.PIPE, stderr=theirs, check=True, timeout=PATIENCE
        )
        text = all_of(shown, theirs).decode()

    assert re.search(rf"{words[0]} \[#+\] (\d+) of \1", text), text
    assert then in text
    assert piped.stderr == b""


def test_the_sandbox_says_where_it_is_and_stops_on_sigterm(tmp_path):
    words = [sys.executable, "-m", "app", "sandbox", "--port", "0"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment({}), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=PATIENCE)

    assert re.match(r"Dojo sandbox at http://127\.0\.0\.1:\d+ ", first)
    assert (process.returncode, rest[0], "Traceback" in rest[1]) == (0, "", False)


@pytest.mark.parametrize("words", ["sandbox --port 0", "serve"])
def test_a_server_with_json_says_in_one_line_where_it_listens_once_it_does(tmp_path, words):
    settings = {"LISTEN": "127.0.0.1:0", "CONSOLE_LISTEN": "127.0.0.1:0", "JOURNAL": tmp_path / "till.db", "ENV": "test"}
    settings |= {"DOJO_API_KEY": KEY, "SOFTWARE_HOUSE_ID": "sh", "DOJO_URL": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "app", *words.split(), "--json"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment(settings), **pipes) as process:
        found = json.loads(process.stdout.readline())
        for url in found.values():
            socket.create_connection(urlsplit(url).netloc.split(":"), PATIENCE).close()
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=PATIENCE)

    assert set(found) == ({"listen", "consoleListen"} if words == "serve" else {"url", "phone", "panel"})
    assert (process.returncode, rest[0], "Traceback" in rest[1]) == (0, "", False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_told_to_stop_leaves_nothing_running(tmp_path, number):
    words = [sys.executable, "-m", "app", "demo", "--serve", "--json"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            serving = json.loads(process.stdout.readline())["serving"]
            process.send_signal(number)
            rest = process.communicate(timeout=4 * PATIENCE)
        finally:
            process.kill()  # Or a demo that did not hear it would be waited for without end.

    assert (process.returncode, rest[0], "Traceback" in rest[1]) == (0, "", False)
    for url in (serving["listen"], serving["consoleListen"], serving["sandbox"]):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(urlsplit(url).netloc.split(":"), PATIENCE)


@pytest.mark.parametrize(
    ("is_terminal", "display", "ci", "words", "opened"),
    [
        (True, ":0", "", "--serve", 2),
        (True, ":0", "", "--serve --no-open", 0),
        (True, ":0", "true", "--serve", 0),
        (True, "", "", "--serve", 0),
        (False, ":0", "", "--serve", 0),
    ],
)
def test_the_demo_that_goes_on_shows_its_pages_where_somebody_sits_at_a_screen(monkeypatch, is_terminal, display, ci, words, opened):
    seen = []
    monkeypatch.setattr(demo.webbrowser, "open", seen.append)
    for name, value in {"DISPLAY": display, "WAYLAND_DISPLAY": "", "CI": ci}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(demo.Demo, "run", lambda self: self._open_pages("http://console/", "http://phone") or True)
    monkeypatch.setattr(demo, "_is_terminal", lambda: is_terminal)

    assert CliRunner().invoke(cli, ["demo", *words.split()], obj=app.program()).exit_code == 0
    assert seen == ["http://console/", "http://phone"][:opened]


def test_the_sandbox_refuses_a_port_that_is_taken_and_a_key_of_production(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fails(run_process(tmp_path, "sandbox", "--port", str(taken.getsockname()[1])), 4, "Next: tillproof sandbox --port 0")
    assert "canary" not in fails(run_process(tmp_path, "sandbox", "--port", "0", "--api-key", "sk_prod_canary"), 2, "production key")


def test_the_demo_ends_with_0_soon_where_the_machine_is_idle_and_its_last_lines_give_totals_and_entries(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = run_process(tmp_path, "demo")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert (ended.returncode, ended.stderr) == (0, "")
    totals, journal = ended.stdout.splitlines()[-2:]
    assert re.fullmatch(r"2 of 2 flows done, GBP \d+\.\d\d paid, 1 failed call retried, 1 duplicate event ignored", totals)
    assert re.fullmatch(r"Journal: \d+ entries, whole, and replay equals what is stored\. \d+\.\d s in all\.", journal)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < DEMO_SECONDS
    assert "created → authorised → captured → reconciled → updated" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demo_with_json_puts_its_outcome_alone_on_stdout_and_heeds_no_setting_of_the_caller(tmp_path):
    ended = run_process(tmp_path, "demo", "--json", JOURNAL=tmp_path / "mine.db", DOJO_URL="http://127.0.0.1:9", LISTEN="nonsense")

    found = json.loads(ended.stdout)
    assert (ended.returncode, found["ok"], found["journal"]["whole"]) == (0, True, True)
    assert (found["failedCallsRetried"], found["duplicateEventsIgnored"]) == (1, 1)
    assert [(flow["flow"], flow["ok"], flow["state"], len(flow["payments"])) for flow in found["flows"]] == [
        ("order-and-pay", True, "updated", 1),
        ("pay-only", True, "updated", 2),
    ]
    assert found["paid"]["value"] == sum(flow["paidAmount"]["value"] for flow in found["flows"]) > 0
    assert "<- POST  /v1/orders" in ended.stderr
    assert list(tmp_path.iterdir()) == []


# Machines: those of the journal, and whether the present ones explain it


def test_every_order_of_a_journal_is_the_same_under_the_machines_that_it_went_by(ask):  # P5
    ended = ask("machine", "check")
    assert ended.returncode == 0, ended
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["2", "0", "0"]
    told = json.loads(ask("machine", "check", "--json").stdout)
    assert (told["ok"], told["causes"], told["sum"]["orders"]) == (True, [], 2)
    assert {order["verdict"] for order in told["orders"]} == {"same"}


def test_orders_that_differ_for_one_reason_are_one_line_with_examples(ask, monkeypatch):  # P5
    monkeypatch.setitem(GUARDS, "always", lambda subject: subject.the_order.id == "nobody")
    machines._machines.cache_clear()
    try:
        ended = ask("machine", "check")
    finally:
        machines._machines.cache_clear()
    assert ended.returncode == 1
    [line] = [line for line in ended.stdout.splitlines() if "orders differ: " in line]
    assert line.endswith("fulfilment: 'submit' does not leave '' any more: its guard always says no")
    assert ended.stderr.startswith("Next: tillproof orders show ")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE journal SET actor = 'nobody' WHERE seq = 3", "entry 3, of order"),
        ("DELETE FROM journal WHERE order_seq = 2", "is not what was written there"),
        ("UPDATE machines SET declaration = '{}' WHERE name = 'order'", "the journal keeps: not a declaration"),
    ],
)
def test_a_journal_that_was_tampered_with_is_not_told_again(tampered, change, named):  # S5 P5
    ended = tampered(("machine", "check"), change)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert named in ended.stderr


def test_an_order_by_a_declaration_that_was_not_kept_cannot_be_explained(tampered):  # P5
    ended = tampered(("machine", "check"), "DELETE FROM machines WHERE name = 'payment'")
    assert ended.returncode == 1
    assert "1 order cannot be explained: payment@" in ended.stdout
    assert "Next: declare where they go" in ended.stderr


def test_the_declarations_in_force_are_listed_and_shown_and_compared(ask):  # P5
    found = json.loads(ask("machine", "show", "--versions", "--json").stdout)["versions"]
    assert {(one["name"], one["present"]) for one in found} == {("order", True), ("payment", True), ("fulfilment", True)}
    assert sum(one["entries"] for one in found) == len(moves := _moves(ask))
    assert {one["hash"] for one in found} == {move["machine"].partition("@")[2] for move in moves}
    kept = json.loads(ask("machine", "show", "--hash", "order", "--json").stdout)["machines"]
    present = json.loads(ask("machine", "show", "--json").stdout)["machines"]
    assert [kept[0]["transitions"], kept[0]["hash"]] == [present[0]["transitions"], present[0]["hash"]]
    assert ask("machine", "diff").returncode == 0
    assert ask("machine", "show", "--hash", "payment@ffff").returncode == 1
    assert ask("machine", "show", "--versions").stdout.count("present") == 3


def _moves(ask):
    entries = map(json.loads, ask("journal", "export").stdout.splitlines())
    return [entry for entry in entries if entry["machine"]]


def test_a_row_that_was_changed_is_shown_as_it_was_and_as_it_is(tampered):  # P5
    ended = tampered(
        ("machine", "diff"), "UPDATE machines SET declaration = replace(declaration, 'dojo_knows', 'always') WHERE name = 'order'"
    )
    assert ended.returncode == 1
    assert "  - transition update from reconciled: to updated, only if always, sends nothing (D6)" in ended.stdout
    assert "  + transition update from reconciled: to updated, only if dojo_knows, sends nothing (D6)" in ended.stdout


def test_nothing_is_migrated_where_every_state_is_declared(ask):  # P5
    assert ask("machine", "migrate").returncode == 2
    for words in (["--dry-run"], ["--reason", "none"]):
        ended = ask("machine", "migrate", *words)
        assert (ended.returncode, ended.stdout) == (0, "Nothing is to be migrated: every state is declared.\n")


CHANGING = (Path(app.__file__).parent / "docs" / "change-the-machine.md").read_text("utf-8")
"""The page for developers who change the declaration."""


def test_the_commands_of_the_page_about_changing_the_machine_do_what_they_are_there_for(ask, copied, tmp_path):  # P5
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", CHANGING, re.DOTALL))
    commands = [shlex.split(line, comments=True)[1:] for line in map(str.strip, blocks.splitlines()) if line.startswith("tillproof ")]
    assert len(commands) == len([line for line in blocks.splitlines() if line.strip()])
    commands.remove(["serve"])  # What it does is proved beside a changed machine.
    for words in commands:
        there = [str(tmp_path / "friday.db") if word == "/backup/friday.db" else word for word in words]
        assert ask(*there, **copied).returncode == 0, words
    assert {" ".join(words[:2]) for words in commands} == {"journal seal", *(f"machine {name}" for name in machines.machine.commands)}


def test_the_migrations_of_the_page_lead_from_states_and_groups_that_there_are():  # P5
    rows = [Migration(*ast.literal_eval(row)) for row in re.findall(r"Migration(\(\".*?\"\))", CHANGING)]
    assert [(row.source, row.target, row.groups) for row in rows] == [("captured", "claimed", ""), ("announced", "released", "unpaid")]
    assert "captured" in ORDER.states
    assert {"announced", "released"} <= PAYMENT.states.keys()
    assert "announced" in group(PAYMENT, "unpaid")
    assert {row.rule for row in rows} <= RULES.keys()
