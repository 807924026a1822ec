"""Keys that are rotated: whatever crashes, the journal serves and verifies, and what a retired key signs is found."""

import json
import os
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import app
from adapters.cli.commands import cli
from tests.builders import MACHINES, FixedClock, Venue, a_bill
from tests.contract.running import an_order, running, whole_copy
from tests.contract.test_journal import SqliteStore
from tests.unit.test_keys import pem_of
from workflow import lost_tail
from workflow.bill import Personal
from workflow.commands import OpenOrder, RotateKey
from workflow.engine import Engine
from workflow.errors import JournalUnavailable
from workflow.journal import keys as key_files
from workflow.journal.driver import sqlite3
from workflow.journal.keys import KeyNotInForce, load_key, load_public_key, next_path
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.ledger import key_id, sign_checkpoint, verify_checkpoint
from workflow.ports import OrderId
from workflow.proof import Prover
from workflow.replay import replay, verify
from workflow.rotation import Rotator, open_with_key
from workflow.succession import parse_public_key, rotation_facts, verifier_key


class Shop:
    """A venue and whoever rotates its keys."""

    def __init__(self, folder, **options) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.key_path = folder, folder / "tillproof.key"
        self.venue = Venue(folder, **options)
        self.rotator = Rotator(self.venue.engine, self.venue.journal, self.venue.reads, self.key_path)

    def sell(self, name: str) -> None:
        self.venue.create(name, payments=())

    def rotate(self, reason="the till was stolen"):
        return self.rotator.rotate("operator:ann", reason)

    def verified(self, key=None):
        return verify(self.venue.reads, self.venue.witness, key or self.venue.journal.public_key, self.venue.clock)

    def checkpoints(self):
        return self.venue.reads.rows("SELECT size, root, note FROM checkpoint ORDER BY size")


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path)
    shop.sell("before")
    yield shop
    shop.venue.close()


def rotated_twice(shop):
    """The three keys of a journal that has entries of each."""
    keys = [shop.venue.key]
    for name in ("between", "after"):
        shop.rotate()
        keys.append(load_key(shop.key_path))
        shop.venue.clock.move(2)
        shop.sell(name)
    shop.venue.journal.seal()
    return keys


def test_the_old_key_signs_the_entry_that_retires_it_and_nothing_behind_it(shop):
    first, second, third = (key.public_key() for key in rotated_twice(shop))
    retired = [entry.seq for entry in shop.venue.reads.entries(order_id="") if entry.trigger == "rotate_key"]
    signed = {size: note for size, _, note in shop.checkpoints()}
    assert set(retired) < set(signed)
    for size, note in signed.items():
        key = first if size <= retired[0] else second if size <= retired[1] else third
        assert verify_checkpoint(note, key).size == size
    assert {bool(size > retired[1]) for size in signed} == {True, False}


def test_the_entry_says_who_why_and_which_keys(shop):
    made = shop.rotate("a laptop was stolen")
    [entry] = [entry for entry in shop.venue.reads.entries(order_id="") if entry.trigger == "rotate_key"]
    facts = entry.entry().body
    assert (entry.seq, entry.kind, entry.actor, facts["reason"]) == (made.position, "operator", "operator:ann", "a laptop was stolen")
    assert parse_public_key(facts["old_key"]) == parse_public_key(made.old_key) == shop.venue.key.public_key()
    assert parse_public_key(facts["new_key"]) == parse_public_key(made.new_key) == load_key(shop.key_path).public_key()


def test_whoever_trusts_the_first_key_or_the_newest_or_one_between_verifies_the_whole(shop):
    keys = rotated_twice(shop)
    for key in keys:
        found = shop.verified(key.public_key())
        assert (found.first_bad, len(found.keys)) == (None, 3)
    assert replay(shop.venue.reads).ok


def test_whoever_trusts_another_key_is_told_the_keys_that_there_are(shop):
    rotated_twice(shop)
    fault = shop.verified(Ed25519PrivateKey.generate().public_key()).first_bad
    assert "is none of those that sign this journal" in fault.reason


def test_the_old_private_key_is_nowhere_any_more(shop):
    old = shop.key_path.read_bytes()
    shop.rotate()
    left = [path for path in shop.folder.iterdir() if old in path.read_bytes()]
    assert left == []
    assert stat.S_IMODE(shop.key_path.stat().st_mode) == 0o600
    assert not next_path(shop.key_path).exists()


def test_a_proof_names_the_key_that_signed_its_checkpoint(shop):
    shop.rotate()
    covered = Prover(shop.venue.reads, shop.venue.journal).prove("before")  # The newest checkpoint is still the old key's.
    verify_checkpoint(covered.checkpoint, parse_public_key(covered.public_key))
    assert parse_public_key(covered.public_key) == shop.venue.key.public_key()
    shop.sell("after")
    later = Prover(shop.venue.reads, shop.venue.journal).prove("after")
    assert verify_checkpoint(later.checkpoint, parse_public_key(later.public_key)).size == later.size
    assert parse_public_key(later.public_key) == load_key(shop.key_path).public_key()


def test_commands_that_wait_together_with_a_rotation_are_all_stored_and_those_behind_it_are_the_new_keys(shop):
    new, engine = Ed25519PrivateKey.generate(), shop.venue.engine

    def command(asked):
        return lambda transaction: engine._handle(asked, engine._unit(transaction))

    sales = [a_sale(name) for name in ("in-front", "behind")]
    asked = (sales[0], RotateKey(new_key=new, reason="x", actor="operator:ann"), sales[1])
    SqliteStore.in_one_batch(shop.venue.journal, *map(command, asked))
    shop.venue.journal.seal()
    position = shop.venue.reads.succession(new.public_key()).rotations[0].position
    sold = {order_id: [entry.seq for entry in shop.venue.reads.entries(order_id=order_id)] for order_id in ("in-front", "behind")}
    assert max(sold["in-front"]) < position < min(sold["behind"])
    found = shop.verified(new.public_key())
    assert (found.first_bad, len(found.keys)) == (None, 2)


def a_sale(name):
    return OpenOrder(order_id=OrderId(name), key=name, bill=a_bill(), personal=Personal(), actor="till:till-1")


# -- what crashes


def states_of_a_crash(shop, monkeypatch, target):
    """The folder as it would lie there if the program were killed at each change of a file and each statement of a rotation."""
    target.mkdir()
    states, lock = [], threading.RLock()
    concerned = (threading.current_thread(), shop.venue.journal._thread)

    def keep(about):
        if threading.current_thread() not in concerned:  # Somebody else's file, while the writer may be half-way through a statement.
            return
        with lock:
            folder = target / str(len(states))
            subprocess.run(["cp", "-r", shop.folder, folder], check=True)  # In this process closing the copy would drop SQLite's locks.
            states.append((about, folder))

    def before(name, real):
        def call(*words, **options):
            keep(f"before {name}")
            answer = real(*words, **options)
            keep(f"after {name}")
            return answer

        return call

    for module, name in ((os, "fsync"), (os, "link"), (os, "replace"), (os, "write")):
        monkeypatch.setattr(module, name, before(name, getattr(module, name)))
    shop.venue.journal._connection.set_trace_callback(lambda sql: keep(f"before {sql[:40]}"))
    shop.rotate()
    shop.venue.journal._connection.set_trace_callback(None)
    monkeypatch.undo()
    keep("after everything")
    return states


def test_a_crash_at_any_point_of_a_rotation_leaves_a_journal_that_serves_and_verifies(tmp_path, monkeypatch):  # K1 K2
    shop = Shop(tmp_path / "shop")
    shop.sell("before")
    first = shop.venue.key
    states = states_of_a_crash(shop, monkeypatch, tmp_path / "states")
    in_force, ends = set(), set()
    for about, folder in states:
        path = folder / "tillproof.key"
        seen = [load_key(each).public_key() for each in (path, next_path(path)) if each.exists()]
        assert verify(SqliteReads(folder / "tillproof.db"), folder / "tillproof.witness", seen[0], FixedClock()).first_bad is None, about
        for _ in range(2):  # Twice: what the first start did is enough for the second.
            journal = open_with_key(path, lambda key, folder=folder: start(folder, key))
            in_force.add(journal.public_key.public_bytes_raw())
            journal.write(lambda transaction: transaction.touch())
            journal.close()
            assert load_key(path).public_key() == journal.public_key, about
            assert not next_path(path).exists(), about
        again = Shop(folder)
        again.sell("later")
        again.venue.journal.seal()
        for key in (first.public_key(), again.venue.journal.public_key):
            assert again.verified(key).first_bad is None, about
        ends.add(len(again.verified().keys))
        again.venue.close()
    assert (len(in_force), ends) == (2, {1, 2})
    assert len(states) > 20
    shop.venue.close()


def start(folder, key):
    return SqliteJournal(folder / "tillproof.db", folder / "tillproof.witness", key, FixedClock())


def test_a_rotation_that_cannot_be_stored_leaves_the_old_key_in_force_and_no_other_lying_about(shop):
    shop.venue.journal._connection.execute("CREATE TEMP TRIGGER refuse BEFORE INSERT ON checkpoint BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(JournalUnavailable):
        shop.rotate()
    shop.venue.journal._connection.execute("DROP TRIGGER refuse")
    assert shop.venue.journal.public_key == load_key(shop.key_path).public_key() == shop.venue.key.public_key()
    assert not next_path(shop.key_path).exists()
    shop.sell("after")
    shop.venue.journal.seal()
    assert shop.verified().keys == (key_id(shop.venue.reads.origin(), shop.venue.key.public_key()).hex(),)


def test_an_old_file_that_cannot_be_replaced_is_told_and_replaced_at_the_next_start(shop, monkeypatch):
    def fails(source, target):
        raise PermissionError(f"{target} is another's")

    with monkeypatch.context() as patch:
        patch.setattr(key_files.os, "replace", fails)
        assert "is another's" in shop.rotate().pending
    shop.sell("after")
    shop.venue.journal.seal()
    new = shop.venue.journal.public_key
    shop.venue.close()
    assert load_key(shop.key_path).public_key() == shop.venue.key.public_key()
    journal = open_with_key(shop.key_path, lambda key: start(shop.folder, key))
    journal.close()
    assert load_key(shop.key_path).public_key() == journal.public_key == new


def test_no_key_that_is_not_in_force_signs_a_journal(shop):
    shop.rotate()
    shop.venue.close()
    for key in (shop.venue.key, Ed25519PrivateKey.generate()):
        with pytest.raises(KeyNotInForce, match=r"SIGNING_KEY holds the key [0-9a-f]{8}, and behind size \d+ the journal is signed by"):
            start(shop.folder, key)
    start(shop.folder, load_key(shop.key_path)).close()


def test_a_loss_that_takes_the_rotation_with_it_is_accepted_with_the_key_of_that_time_and_with_no_other(tmp_path):  # S11
    shop = Shop(tmp_path / "shop")
    shop.sell("before")
    shop.venue.journal.seal()
    copy = whole_copy(shop.folder / "tillproof.db", tmp_path / "copy.db")
    shop.rotate()
    shop.venue.close()
    new = load_key(shop.key_path)
    for path in shop.folder.glob("tillproof.db*"):
        path.unlink()
    copy.rename(shop.folder / "tillproof.db")

    def accept(key):
        return lost_tail.accept(
            "operator:ann",
            "the disk was replaced",
            witness=shop.venue.witness,
            open_journal=lambda witness, anew: SqliteJournal(shop.folder / "tillproof.db", witness, key, FixedClock(), accepts_loss=anew),
            engine_of=lambda journal: Engine(journal, MACHINES, FixedClock(), shop.venue.engine._settings),
            clock=FixedClock(),
        )

    with pytest.raises(KeyNotInForce):
        accept(new)
    assert "its witness saw" in accept(shop.venue.key)
    reads = SqliteReads(shop.folder / "tillproof.db")
    assert verify(reads, shop.venue.witness, shop.venue.key.public_key(), FixedClock()).first_bad is None


# -- what is forged


def tampered(shop, *statements):
    """Verification of the journal after somebody changed it who has the file, and dropped what forbids that."""
    with sqlite3.connect(shop.folder / "tillproof.db", isolation_level=None) as connection:
        for table in ("journal", "checkpoint"):
            for what in ("update", "delete", "replace"):
                connection.execute(f"DROP TRIGGER IF EXISTS {table}_is_append_only_{what}")
        for sql, values in statements:
            connection.execute(sql, values)
    return shop.verified()


def signed_at(shop, size, key):
    [root] = [root for each, root, _ in shop.checkpoints() if each == size]
    return sign_checkpoint(shop.venue.reads.origin(), size, bytes.fromhex(root), key)


def test_a_checkpoint_that_a_retired_key_signed_is_found_and_named(shop):
    first, _, third = rotated_twice(shop)
    size = shop.checkpoints()[-1][0]
    note = signed_at(shop, size, first)
    fault = tampered(shop, ("UPDATE checkpoint SET note = ? WHERE size = ?", (note, size))).first_bad
    origin, retired = shop.venue.reads.origin(), shop.venue.reads.succession(first.public_key()).rotations[0].position
    ids = [key_id(origin, key.public_key()).hex() for key in (first, third)]
    assert fault.seq == size
    assert f"signed by the key {ids[0]}, which was retired with entry {retired}; in force is {ids[1]}" in fault.reason


def test_a_checkpoint_that_a_later_key_signed_is_found_and_named(shop):
    keys = rotated_twice(shop)
    size = shop.checkpoints()[0][0]
    fault = tampered(shop, ("UPDATE checkpoint SET note = ? WHERE size = ?", (signed_at(shop, size, keys[2]), size))).first_bad
    assert fault.seq == size
    assert "which was brought in only by entry" in fault.reason


def test_an_entry_that_retires_a_key_without_that_keys_last_checkpoint_is_found(shop):
    rotated_twice(shop)
    position = shop.venue.reads.succession(shop.venue.journal.public_key).rotations[0].position
    fault = tampered(shop, ("DELETE FROM checkpoint WHERE size = ?", (position,))).first_bad
    assert (fault.seq, "no checkpoint of the old key covers it" in fault.reason) == (position, True)


def brings_in(shop, theirs, forged):
    """Somebody writes an entry into the file that brings in a key of theirs; `forged` makes its facts of its position."""
    write = shop.venue.journal.write

    def with_forged(transaction):
        transaction.rotate_key = lambda key: forged(shop.venue.reads.size() + 1)
        return transaction

    shop.venue.journal.write = lambda work: write(lambda transaction: work(with_forged(transaction)))
    shop.venue.engine.handle(RotateKey(new_key=theirs, reason="x", actor="operator:eve"))
    shop.venue.journal.write = write


def test_a_key_that_somebody_brings_in_without_the_old_one_is_found(shop):
    """Whoever may write the journal's file, and has not its key, cannot make the journal go over to a key of theirs."""
    theirs, other, origin = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate(), shop.venue.reads.origin()

    def in_our_name(position):
        own = rotation_facts(origin, position, shop.venue.key, theirs)
        return rotation_facts(origin, position, other, theirs) | {"old_key": own["old_key"]}

    brings_in(shop, theirs, in_our_name)
    shop.venue.clock.move(2)
    shop.sell("after")
    fault = shop.verified(shop.venue.key.public_key()).first_bad
    assert "the old key did not sign this" in fault.reason


def test_a_key_that_somebody_has_another_key_of_theirs_sign_in_is_found_though_ours_has_signed_all_of_it(shop):
    theirs, other, origin = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate(), shop.venue.reads.origin()
    shop.rotate()  # Before any of ours a key of theirs would be the journal's first, and ours none that signs it.
    brings_in(shop, theirs, lambda position: rotation_facts(origin, position, other, theirs))
    position = shop.venue.reads.size()
    shop.venue.journal.seal()

    assert shop.checkpoints()[-1][0] == position
    for known in (shop.venue.key.public_key(), shop.venue.journal.public_key):
        fault = shop.verified(known).first_bad
        assert (fault.seq, "which was not in force" in fault.reason) == (position, True)


# -- the file that is given to a check


def test_a_public_key_is_read_from_a_file_of_any_usual_form(tmp_path, shop):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = shop.venue.key.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("pem", pem), ("private", shop.key_path.read_bytes()), ("line", shop.rotate().old_key.encode())):
        (tmp_path / name).write_bytes(content)
        assert load_public_key(tmp_path / name) == key


# -- the commands


@pytest.fixture
def command(shop):
    """Runs a command on the shop's journal, whose server is stopped."""
    shop.venue.close()
    files = {"JOURNAL": shop.folder / "tillproof.db", "WITNESS": shop.venue.witness, "SIGNING_KEY": shop.key_path, "ENV": "test"}
    program = replace(app.program(), clock=FixedClock())

    def run(*words, **settings):
        given = {f"TILLPROOF_{name}": str(value) for name, value in (files | settings).items()}
        return CliRunner().invoke(cli, words, obj=program, prog_name="tillproof", env=given)

    return run


def test_the_command_rotates_the_key_of_a_stopped_server_and_prints_the_line_to_hand_out(shop, command):
    ended = command("journal", "rotate-key", "--reason", "card 4111 1111 1111 1111 was on the laptop", "--json")
    made = json.loads(ended.stdout)

    assert (ended.exit_code, made["pending"]) == (0, None)
    assert parse_public_key(made["newKey"]) == load_key(shop.key_path).public_key()
    [entry] = [entry for entry in shop.venue.reads.entries(order_id="") if entry.trigger == "rotate_key"]
    assert (entry.seq, entry.actor.startswith("operator:"), "4111" in entry.body) == (made["position"], True, False)
    told = command("journal", "rotate-key", "--reason", "again").stdout
    assert f"  old {made['newKey']}\n" in told


def test_the_command_prints_every_key_and_verify_takes_each_of_these_lines(shop, command, tmp_path):
    first = json.loads(command("journal", "key", "--json").stdout)["data"]
    command("journal", "rotate-key", "--reason", "x")
    view = json.loads(command("journal", "key", "--json").stdout)["data"]

    assert [each["key"] for each in view[:1]] == [each["key"] for each in first]
    assert [(each["fromSize"], each["toSize"]) for each in view] == [(1, view[1]["fromSize"] - 1), (view[1]["fromSize"], None)]
    lines = command("journal", "key").stdout
    for each in view:
        assert f"{each['key']}\n  SHA-256 {each['fingerprint']}\n" in lines
        (tmp_path / "pinned").write_text(each["key"])
        for given in (each["key"], str(tmp_path / "pinned")):
            ended = command("journal", "verify", "--key", given, SIGNING_KEY=tmp_path / "none.key")
            assert (ended.exit_code, "2 keys, each brought in by the one before it" in ended.stdout) == (0, True)


def test_verify_with_a_key_that_is_none_of_the_journals_ends_with_1_and_one_that_is_no_key_with_2(shop, command):
    command("journal", "rotate-key", "--reason", "x")
    stranger = verifier_key(shop.venue.reads.origin(), Ed25519PrivateKey.generate().public_key())

    ended = command("journal", "verify", "--key", stranger)
    assert (ended.exit_code, "none of those that sign this journal" in ended.stdout) == (1, True)
    assert ended.stderr == "Next: give the key that signs it, tillproof journal verify --key KEY\n"
    assert command("journal", "key", "--key", stranger).exit_code == 1
    ended = command("journal", "verify", "--key", "garbage")
    assert (ended.exit_code, "expected a public key as tillproof journal key prints it" in ended.stderr) == (2, True)


def test_a_copy_from_before_a_rotation_verifies_with_the_public_key_of_its_time(shop, command, tmp_path):
    assert command("journal", "seal", str(tmp_path / "sealed.db")).exit_code == 0
    old = json.loads(command("journal", "key", "--json").stdout)["data"][0]["key"]
    command("journal", "rotate-key", "--reason", "x")

    ended = command("journal", "verify", "--journal", str(tmp_path / "sealed.db"), "--key", old)
    assert (ended.exit_code, "The journal is whole." in ended.stdout) == (0, True)
    after = command("journal", "seal", str(tmp_path / "after.db"), "--json")
    assert (after.exit_code, json.loads(after.stdout)["unsigned"], after.stderr) == (0, 0, "")
    ended = command("journal", "verify", "--journal", str(tmp_path / "after.db"), "--key", old)
    assert (ended.exit_code, "2 keys, each brought in by the one before it" in ended.stdout) == (0, True)
    assert command("journal", "replay", "--journal", str(tmp_path / "after.db")).exit_code == 0


@pytest.mark.parametrize("words", [("outbox", "requeue", "none", "--reason", "x"), ("journal", "rotate-key", "--reason", "x")])
def test_a_command_that_writes_is_refused_with_a_key_that_is_not_in_force_and_says_which_is(shop, command, tmp_path, words):
    command("journal", "rotate-key", "--reason", "x")
    (tmp_path / "old.key").write_bytes(pem_of(shop.venue.key))
    signs = key_id(shop.venue.reads.origin(), load_key(shop.key_path).public_key()).hex()

    ended = command(*words, SIGNING_KEY=tmp_path / "old.key")

    assert (ended.exit_code, f"the journal is signed by {signs}" in ended.stderr) == (3, True)
    assert "Next: tillproof doctor" in ended.stderr


def test_the_command_has_the_running_server_rotate_its_key(shop, command, tmp_path):
    (tmp_path / "other").mkdir()
    with running(tmp_path / "other") as service:
        settings = {"CONSOLE_LISTEN": f"127.0.0.1:{service.ports[1]}", "TOKENS": service.settings["TOKENS"]}
        files = {"JOURNAL": service.journal, "WITNESS": service.witness, "SIGNING_KEY": f"{service.journal}.key"}
        ended = command("journal", "rotate-key", "--reason", "by hand", "--json", **files, **settings)
        assert ended.exit_code == 0, ended.stderr
        made = json.loads(ended.stdout)
        assert parse_public_key(made["newKey"]) == load_key(Path(files["SIGNING_KEY"])).public_key()
        [entry] = [entry for entry in service.reads.entries(order_id="") if entry.trigger == "rotate_key"]
        assert (entry.actor, entry.entry().body["reason"]) == ("operator:operator-1", "by hand")
        ended = command("journal", "rotate-key", "--reason", "x", **files, TOKENS="")
        assert (ended.exit_code, "Next: stop the server that has it, then tillproof journal rotate-key" in ended.stderr) == (4, True)
        service.dojo.post("/v1/orders", an_order("after"))
        assert service.stop() == 0
        service.assert_whole()

        Path(files["SIGNING_KEY"]).write_bytes(pem_of(Ed25519PrivateKey.generate()))
        with pytest.raises(AssertionError, match="serve ended with 3"):
            service.start()
        [said] = [line for line in service.log() if "SIGNING_KEY" in str(line.get("error"))]
        assert said["next"] == "tillproof doctor"
