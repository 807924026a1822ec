"""Verification of a whole journal: what it compares, what it says in words, and what it needs for that."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from random import Random

import pytest

from tests import bench_journal
from tests.builders import MACHINES, FixedClock, Venue
from tests.many_entries import fill, play
from tests.tampering import command
from workflow import verification
from workflow.commands import LockOrder
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads
from workflow.journal.transaction import INSERT_ENTRY
from workflow.journal.witness import Head, WitnessDamaged, Witnessed
from workflow.ledger import HASHED_COLUMNS, ZERO_HASH, Frontier, HashedEntry, entry_hash, sign_checkpoint
from workflow.lifecycle import ORDER
from workflow.replay import ENTRIES_AT_ONCE, replay, verify, verify_beside
from workflow.verification import Verifier

SHORT, LONG = 1_200, 12_000
SAME_MEMORY = 1.5
"""What a journal ten times as long may cost at most, in peaks of the shorter one: where slices end, and what is in them, varies."""


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    for number in range(3):
        venue.create(f"o{number}", payments=())
        venue.journal.seal()
    yield venue
    venue.close()


def found(venue):
    return verify(venue.reads, venue.witness, venue.key.public_key(), venue.clock)


def fault(venue):
    bad = found(venue).first_bad
    return (bad.seq, bad.reason) if bad else None


def edit(venue, *statements):
    """Change the file as somebody would who knows SQL, its triggers and its checks."""
    with closing(sqlite3.connect(venue.folder / "tillproof.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement, *values in statements:
            assert connection.execute(statement, *values).rowcount


def lines(venue):
    return venue.witness.read_bytes().splitlines(keepends=True)


# -- the witness


def test_every_line_of_the_witness_and_every_checkpoint_is_counted(venue):
    result = found(venue)

    assert result.ok
    assert result.witness_lines == len(lines(venue)) == 3
    assert result.checkpoints == venue.reads.rows("SELECT count(*) FROM checkpoint")[0][0]
    assert (result.witness.size, result.checkpoint.size) == (result.entries, result.entries)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_any_line_of_the_witness_that_tells_of_another_root_is_found(venue, which):  # S7
    told = lines(venue)
    size = int(told[which].split()[0])
    told[which] = other_root(told[which])
    venue.witness.write_bytes(b"".join(told))

    result = found(venue)

    assert (result.first_bad.seq, result.witness_ok) == (size, False)
    assert "the witness" in result.first_bad.reason
    assert "another root" in result.first_bad.reason


def other_root(line):
    size, root = line.split()
    return size + b" " + root[:-1] + (b"1" if root.endswith(b"0") else b"0") + b"\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [(b"dear diary\n", "is no line `SIZE ROOT`"), (b"1 " + b"0" * 64 + b"\n", "tells of 1 entries"), (b"x" * 500 + b"\n", "is no line")],
    ids=["no-line", "shrinks", "long"],
)
def test_a_line_of_the_witness_that_no_server_wrote_is_named_by_its_number(venue, line, words):
    first, *rest = lines(venue)
    venue.witness.write_bytes(b"".join([first, line, *rest]))

    result = found(venue)

    assert (result.first_bad.seq, result.witness_ok) == (0, False)
    assert f"line 2 of the witness {venue.witness}" in result.first_bad.reason
    assert words in result.first_bad.reason


@pytest.mark.parametrize("older", [False, True], ids=["beside-its-journal", "beside-an-older-copy"])
def test_a_line_of_the_witness_about_more_entries_than_its_later_ones_is_found(venue, older):
    first, second, third = lines(venue)
    venue.witness.write_bytes(b"".join([first, b"9" + second, third]))
    seen = Witnessed(venue.witness, at_most=venue.reads.size() if older else None)

    result = verify_beside(venue.reads, seen, venue.key.public_key(), venue.clock)

    assert (result.first_bad.seq, result.witness_ok) == (0, False)
    assert "it only grows" in result.first_bad.reason


def test_a_bad_entry_is_named_before_a_bad_line_of_the_witness(venue):
    venue.witness.write_bytes(b"dear diary\n" + venue.witness.read_bytes())
    edit(venue, ("UPDATE journal SET actor = 'somebody' WHERE seq = 3",))

    assert fault(venue) == (3, "the hash is not that of the entry: it was changed")


def test_a_hole_that_a_power_cut_left_in_the_witness_is_no_fault(venue):
    first, second, third = lines(venue)
    venue.witness.write_bytes(first + b"\0" * len(second) + b"\n" + third)

    assert found(venue).ok


@pytest.mark.parametrize("hole", [b"\0" * 5_000, b"\0" * 5_000 + b"\n"])
def test_a_hole_of_any_length_at_the_end_of_the_witness_hides_none_of_its_lines(venue, hole):
    venue.witness.write_bytes(venue.witness.read_bytes() + hole)

    for seen in (Witnessed(venue.witness), Witnessed(venue.witness, at_most=venue.reads.size())):
        result = verify_beside(venue.reads, seen, venue.key.public_key(), venue.clock)
        assert (result.first_bad, result.witness_lines, result.witness.size) == (None, 3, result.entries)


def test_a_line_that_is_torn_in_front_of_its_end_alone_is_not_what_the_witness_saw_last(venue):
    venue.witness.write_bytes(venue.witness.read_bytes().removesuffix(b"\n"))

    for seen in (Witnessed(venue.witness), Witnessed(venue.witness, at_most=venue.reads.size())):
        result = verify_beside(venue.reads, seen, venue.key.public_key(), venue.clock)
        assert (result.first_bad, result.witness_lines) == (None, 2)
        assert result.witness.size < result.entries


@pytest.mark.parametrize("changed", [lambda text: text.replace(b"\n", b"\r\n"), bytes.upper, lambda text: b"9" * 5_000 + b"\n"])
def test_of_a_witness_without_any_line_of_a_server_the_first_one_is_named(venue, changed):
    venue.witness.write_bytes(changed(venue.witness.read_bytes()))

    result = found(venue)

    assert (result.first_bad.seq, result.witness_ok, result.witness) == (0, False, None)
    assert f"line 1 of the witness {venue.witness} is no line `SIZE ROOT`" in result.first_bad.reason


def test_what_is_written_to_a_witness_later_is_not_read_and_what_is_torn_neither(venue):
    with venue.witness.open("ab") as file:
        file.write(b"9 torn")
    seen = Witnessed(venue.witness)
    with venue.witness.open("ab") as file:
        file.write(b" by a crash\n")

    assert [head.size for head in seen] == [int(line.split()[0]) for line in lines(venue)[:3]]
    assert verify_beside(venue.reads, seen, venue.key.public_key(), venue.clock).ok


def test_a_witness_of_very_many_lines_is_read_in_order_however_few_are_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.journal.witness._LINES_AT_ONCE", 3)
    heads = [Head(size, f"{size:064x}") for size in range(1, 11)]
    path = tmp_path / "witness"
    path.write_text("".join(f"{size} {root}\n" for size, root in heads))

    assert list(Witnessed(path)) == heads
    assert list(Witnessed(path, at_most=7)) == heads[:7]
    assert list(Witnessed(tmp_path / "none")) == []
    path.write_text("".join(f"{size} {root}\n" for size, root in [*heads, heads[0]]))
    with pytest.raises(WitnessDamaged, match="line 11"):
        list(Witnessed(path))


# -- entries and checkpoints


def test_an_entry_in_front_of_the_first_position_is_found(venue):  # S7
    columns = "at, kind, machine, trigger, from_state, to_state, payment_intent_id, actor, cause, body, prev_hash, hash"
    edit(venue, (f"INSERT INTO journal SELECT -1, 'o9', order_seq, {columns} FROM journal WHERE seq = 1",))

    assert fault(venue) == (0, "an entry stands at position -1, where none can be: the first position is 1")


def test_a_checkpoint_of_nothing_is_found(venue):
    edit(venue, ("INSERT INTO checkpoint SELECT 0, root, at, note FROM checkpoint LIMIT 1",))

    assert "a checkpoint of 0 entries" in fault(venue)[1]


def test_two_checkpoints_of_one_size_are_found(venue):
    edit(
        venue,
        ("CREATE TABLE other(size INTEGER, root TEXT, at TEXT, note TEXT)",),
        ("INSERT INTO other SELECT * FROM checkpoint UNION ALL SELECT * FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)",),
        ("DROP TABLE checkpoint",),
        ("ALTER TABLE other RENAME TO checkpoint",),
    )

    size = venue.reads.size()
    assert fault(venue) == (size, f"two checkpoints of size {size} are stored")


def append(venue, order_id="new", **columns):
    """One entry more, with its hash, chain, tree and all, as only the program can; but with these columns."""
    size, last = venue.reads.size(), venue.reads.rows("SELECT order_seq, hash FROM journal WHERE order_id = ?", (order_id,))
    order_seq, prev_hash = max(last, default=(0, ZERO_HASH))
    entry = HashedEntry(
        **{name: "" for name in HASHED_COLUMNS}
        | {"at": "2026-03-14T12:00:00.000Z", "kind": "event", "actor": "dojo", "cause": "x", "body": "{}"}
        | {"order_id": order_id, "order_seq": order_seq + 1, "prev_hash": prev_hash}
        | columns
    )
    hash_ = entry_hash(entry)
    nodes = Frontier.restore(size, venue.reads.tree_node).append(hash_)
    row = (size + 1, *(getattr(entry, name) for name in entry.__struct_fields__), hash_)
    edit(venue, (INSERT_ENTRY, row), *(("INSERT INTO tree_node VALUES (?, ?, ?)", node) for node in nodes))
    return size + 1


@pytest.mark.parametrize(
    "body", ['{"a":1.5}', '{"a":1.0}', '{"b":1,"a":1}', '{"a":1,"a":1}', '{"a": 1}', '{"a":"\\u00e9"}', "[1e400]", "[" * 100_000]
)
def test_a_body_that_is_not_canonical_is_found_whatever_its_hash(venue, body):
    seq = append(venue, body=body)

    assert fault(venue)[0] == seq
    assert "canonical" in fault(venue)[1]


@pytest.mark.parametrize("at", ["0000-00-00T00:00:00.000Z", "2026-02-30T12:00:00.000Z", "abcd-ef-ghTij:kl:mn.opqZ"])
def test_a_time_that_there_is_not_is_found_whatever_the_hash(venue, at):
    seq = append(venue, at=at)

    assert fault(venue) == (seq, f"its time '{at}' is no moment")


def test_a_body_that_is_nested_deeper_than_can_be_read_is_damage_to_every_reader(venue):
    append(venue, body=f'{{"a":{"[" * 100_000}{"]" * 100_000}}}')
    *_, newest = venue.reads.entries()

    for read in (newest.entry, lambda: replay(venue.reads)):
        with pytest.raises(JournalDamaged, match="the body is not JSON"):
            read()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"origin": "tillproof/else"}, "its journal is tillproof/else, not tillproof/"),
        ({"size": 9}, "its size is 9, not "),
        ({"root": b"\1" * 32}, f"its root is {'01' * 32}, not "),
    ],
    ids=["of-another-journal", "of-another-size", "of-another-root"],
)
@pytest.mark.parametrize("has_key", [True, False], ids=["with-the-key", "without-a-key"])
def test_a_note_that_says_something_else_than_its_row_is_found_and_told_what(venue, other, words, has_key):  # S7
    [(size, root)] = venue.reads.rows("SELECT size, root FROM checkpoint ORDER BY size LIMIT 1")
    said = {"origin": venue.reads.origin(), "size": size, "root": bytes.fromhex(root)} | other
    edit(venue, ("UPDATE checkpoint SET note = ? WHERE size = ?", (sign_checkpoint(**said, key=venue.key), size)))

    bad = verify(venue.reads, venue.witness, venue.key.public_key() if has_key else None, venue.clock).first_bad

    assert bad.seq == size
    assert words in bad.reason


def test_a_note_that_is_none_is_found_without_a_key_too(venue):
    edit(venue, ("UPDATE checkpoint SET note = 'dear diary' WHERE size = (SELECT min(size) FROM checkpoint)",))

    assert "no blank line" in verify(venue.reads, venue.witness, None, venue.clock).first_bad.reason


def test_what_no_checkpoint_covers_is_told(tmp_path):
    venue = Venue(tmp_path)
    venue.create("o1", payments=())
    unsigned = command(tmp_path, "verify").stdout
    venue.journal.seal()
    signed = command(tmp_path, "verify").stdout
    size = venue.reads.size()
    venue.create("o2", payments=())
    behind = command(tmp_path, "verify").stdout
    venue.close()

    assert "  no checkpoint: nothing of it is signed\n" in unsigned
    assert "not signed" not in signed
    assert f", {venue.reads.size() - size} entries behind: not signed yet\n" in behind


def test_of_very_many_differences_replay_says_how_many_it_does_not_name(venue, monkeypatch):
    monkeypatch.setattr("workflow.replay.MAX_MISMATCHES", 1)
    edit(venue, ("UPDATE orders SET paid = paid + 1",))

    told = command(venue.folder, "replay").stdout

    assert told.count("DIFFERS: orders o") == 1
    assert "DIFFERS: 2 more than are named here\n" in told


# -- moves


def a_move(name, trigger, from_state, to_state, **columns):
    machine = MACHINES[name].ident if name else ""
    return {"kind": "transition", "machine": machine, "trigger": trigger, "from_state": from_state, "to_state": to_state} | columns


UNDECLARED = {
    "no-row": (a_move("order", "capture", "created", "captured"), "declares no 'capture' from 'created' to 'captured'"),
    "other-trigger": (a_move("order", "reconcile", "created", "authorised"), "declares no 'reconcile' from 'created' to 'authorised'"),
    "other-target": (a_move("order", "authorise", "created", "captured"), "declares no 'authorise' from 'created' to 'captured'"),
    "other-machine": (a_move("payment", "update", "reconciled", "updated", payment_intent_id="pi_1"), "declares no 'update'"),
    "unknown-version": (a_move("order", "cancel", "created", "cancelled", machine="order@0123456789ab"), "which order o1 went by, is not"),
    "no-machine": (a_move("", "cancel", "created", "cancelled"), "transitions move, and by a machine"),
    "no-transition": (a_move("order", "cancel", "created", "cancelled", kind="event"), "transitions move, and by a machine"),
    "no-state": ({"kind": "transition", "trigger": "cancel"}, "transitions move, and by a machine"),
    "state-of-none": ({"to_state": "captured"}, "transitions move, and by a machine"),
}


@pytest.mark.parametrize(("move", "words"), UNDECLARED.values(), ids=UNDECLARED)
def test_a_move_that_its_declaration_does_not_have_is_found_whatever_its_hash(venue, move, words):  # I4
    seq = append(venue, "o1", **move)

    assert fault(venue)[0] == seq
    assert words in fault(venue)[1]


BROKEN = {
    "order": (
        a_move("order", "capture", "authorised", "captured"),
        "'capture' moves from 'authorised', and the entries before it left order in",
    ),
    "kitchen": (a_move("fulfilment", "ready", "Preparing", "Ready"), "left fulfilment in"),
    "unknown-payment": (a_move("payment", "authorise", "announced", "authorised", payment_intent_id="pi_2"), "left payment pi_2 in ''"),
    "begun-again": (a_move("order", *next((row.when, "", row.target) for row in ORDER.transitions)), "moves from ''"),
}


@pytest.mark.parametrize("entries", [1, 500])
@pytest.mark.parametrize(("move", "words"), BROKEN.values(), ids=BROKEN)
def test_a_move_that_does_not_begin_where_the_last_one_ended_is_found(venue, few_chains, move, words, entries):  # I3
    seq = append(venue, "o1", **move)

    verifier = Verifier(venue.reads, None, None)
    while verifier.step(entries):
        pass
    assert verifier.found.first_bad.seq == seq
    assert words in verifier.found.first_bad.reason


@pytest.mark.parametrize("entries", [1, 7])
def test_moves_of_every_machine_follow_each_other_however_long_ago_the_last_one_was(tmp_path, few_chains, entries):  # I3 I4
    venue = Venue(tmp_path)
    play(venue)
    verifier = Verifier(venue.reads, Witnessed(venue.witness), venue.key.public_key())
    while verifier.step(entries):
        pass
    venue.close()

    assert verifier.found.first_bad is None
    moved = {machine.partition("@")[0] for (machine,) in venue.reads.rows("SELECT DISTINCT machine FROM journal WHERE from_state <> ''")}
    assert moved == MACHINES.keys()


def test_a_declaration_that_was_changed_is_named_before_what_it_no_longer_explains(venue):
    edit(venue, ("UPDATE machines SET declaration = replace(declaration, 'created', 'begun')",))

    assert fault(venue)[0] == 0
    assert "has another hash: it was changed" in fault(venue)[1]


# -- chains


@pytest.fixture
def few_chains(monkeypatch):
    monkeypatch.setattr(verification, "KEPT_CHAINS", 1)


@pytest.fixture
def crossed(venue):
    """Orders that cross each other far and wide."""
    for number in range(3):
        venue.event("pi_x", "Captured", event_id=f"evt_{number}")
        venue.engine.handle(LockOrder(order_id=f"o{number}", lock_id="s1", expires_at="2026-03-14T13:00:00.000Z"))
    return venue


@pytest.mark.parametrize("entries", [1, 2, 500])
def test_an_order_goes_on_from_its_last_entry_however_long_ago_that_was(crossed, few_chains, entries):
    verifier = Verifier(crossed.reads, Witnessed(crossed.witness), crossed.key.public_key())
    while verifier.step(entries):
        pass

    assert verifier.found.first_bad is None
    assert verifier.found.entries == crossed.reads.size()
    assert len(verifier._chains) <= 1 + entries


@pytest.mark.parametrize("entries", [1, 500])
def test_a_link_that_leads_elsewhere_is_found_however_long_ago_the_last_entry_was(crossed, few_chains, entries):
    [(seq,)] = crossed.reads.rows("SELECT max(seq) FROM journal WHERE order_id = 'o1'")
    edit(crossed, (f"UPDATE journal SET prev_hash = '{ZERO_HASH}' WHERE seq = {seq}",))

    verifier = Verifier(crossed.reads, None, None)
    while verifier.step(entries):
        pass
    assert (verifier.found.first_bad.seq, verifier.found.first_bad.reason) == (
        seq,
        "prev_hash is not the hash of the order's previous entry",
    )

    edit(crossed, (f"UPDATE journal SET order_seq = order_seq + 1 WHERE seq = {seq}",))
    assert "order_seq is" in fault(crossed)[1]
    assert "of order o1" in fault(crossed)[1]


class Interrupted(SqliteReads):
    """One question in five cannot be answered now."""

    chance = Random(7)

    def rows(self, sql, values=()):
        if self.chance.random() < 0.2:
            raise JournalUnavailable("busy")
        return super().rows(sql, values)


def test_a_step_that_could_not_be_done_is_done_again_from_its_begin(crossed, few_chains):
    reads = Interrupted(crossed.folder / "tillproof.db")
    verifier = Verifier(reads, Witnessed(crossed.witness), crossed.key.public_key())
    broken_off = 0
    for _ in range(10_000):
        try:
            if not verifier.step(2):
                break
        except JournalUnavailable:
            broken_off += 1
    assert broken_off > 3
    assert verifier.found == found(crossed)


# -- very many


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A long journal; verification of its first part needs no other."""
    folder = tmp_path_factory.mktemp("many")
    return folder, fill(folder, LONG)


def test_the_measuring_measures_all_of_it(many, capsys):
    folder, reads = many
    found = {name: bench_journal.measure(name, folder / "tillproof.db") for name in bench_journal.JOBS}
    bench_journal.print_all(found)

    assert {each.entries for each in found.values()} == {reads.size()}  # Whole and explained: else it would not have been measured.
    assert reads.size() >= LONG
    header, *rows = capsys.readouterr().out.splitlines()
    assert "ratio" in header
    assert [row[: len(header) // 3].strip() != "" for row in rows] == [True] * len(bench_journal.JOBS)
    [bare] = [row for row in rows if bench_journal.BARE in row]
    assert " 1.00 " in bare


def peak_memory(reads, witness):
    tracemalloc.start()
    try:
        assert verify(reads, witness, None, FixedClock()).ok
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_times_the_entries_are_verified_in_the_same_memory(many, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "KEPT_CHAINS", 50)  # Of the short journal, too, as many orders as are ever kept.
    short = fill(tmp_path, SHORT)
    few = peak_memory(short, tmp_path / "tillproof.db.witness")
    folder, reads = many
    assert reads.size() >= 10 * SHORT

    assert peak_memory(reads, folder / "tillproof.db.witness") < SAME_MEMORY * few
    assert SHORT > 2 * ENTRIES_AT_ONCE
