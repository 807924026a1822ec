"""The proof of an order: each of its entries is in the tree whose head was signed, and whoever may not sign waits for it."""

from __future__ import annotations

import base64
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree

from tests.builders import TickingClock, Venue, an_intent
from workflow.commands import ToldPayment
from workflow.errors import JournalUnavailable, UnknownCheckpoint, UnknownEntry, UnknownOrder
from workflow.ledger import (
    HASHED_COLUMNS,
    Frontier,
    HashedEntry,
    entry_hash,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    tree_root,
    verify_checkpoint,
)
from workflow.ports import IntentId
from workflow.proof import SEAL_SECONDS, Prover, Waiting

HASHES = [f"{number:064x}" for number in range(70)]


@pytest.fixture
def venue(tmp_path):
    venue = Venue(tmp_path)
    for number in range(5):
        venue.create(f"o{number}", payments=())
    yield venue
    venue.close()


def nodes_of(hashes):
    """A function that gives the node at (level, index), of complete subtrees as they are stored."""

    def node(level, index):
        if level == 0:
            return leaf_hash(hashes[index])
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 70])
def test_the_path_of_every_leaf_leads_to_the_root_that_others_compute_too(size):  # I7
    oracle = InmemoryTree(algorithm="sha256")
    for each in HASHES[:size]:
        oracle.append_entry(bytes.fromhex(each))
    root, node = tree_root(HASHES[:size]), nodes_of(HASHES)
    assert root == oracle.get_root()

    for index in range(size):
        path = inclusion_proof(index, size, node)
        assert root_from_inclusion(HASHES[index], index, size, path) == root
        assert root_from_inclusion(HASHES[index - 1], index, size, path) != root or size == 1


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_a_leaf_that_the_tree_does_not_have_has_no_path(index, size):
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(index, size, nodes_of(HASHES))


def test_a_path_of_another_length_proves_nothing():
    path = inclusion_proof(3, 7, nodes_of(HASHES))
    with pytest.raises(ValueError, match="too short"):
        root_from_inclusion(HASHES[3], 3, 7, path[:-1])
    with pytest.raises(ValueError, match="too long"):
        root_from_inclusion(HASHES[3], 3, 7, [*path, path[-1]])


def test_the_proof_of_an_order_holds_all_that_checks_it(venue):  # I7
    made = Prover(venue.reads, venue.journal).prove("o3")

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(made.public_key))
    checkpoint = verify_checkpoint(made.checkpoint, key)
    assert (checkpoint.size, checkpoint.root.hex()) == (made.size, made.root)
    assert [entry.seq for entry in made.entries] == [entry.seq for entry in venue.reads.entries(order_id="o3")]
    for entry in made.entries:
        assert entry_hash(HashedEntry(**{name: entry.columns[name] for name in HASHED_COLUMNS})) == entry.columns["hash"]
        path = [bytes.fromhex(node) for node in entry.path]
        assert root_from_inclusion(entry.columns["hash"], entry.seq - 1, made.size, path) == checkpoint.root


def test_an_order_that_is_signed_already_is_proved_without_a_new_signature(venue):
    prover = Prover(venue.reads, venue.journal)
    first = prover.prove("o4")
    venue.create("o9", payments=())

    assert prover.prove("o4").size == first.size
    assert prover.prove("o9").size > first.size


@pytest.mark.parametrize("order_id", ["nobody", ""])
def test_what_is_no_order_has_no_proof(venue, order_id):
    with pytest.raises(UnknownOrder):
        Prover(venue.reads, venue.journal).prove(order_id)


def test_whoever_may_not_sign_waits_until_the_server_did(venue):
    signing = threading.Timer(0.1, venue.journal.seal)
    signing.start()
    waiting = Waiting(venue.reads, venue.key.public_key(), venue.clock)

    made = Prover(venue.reads, waiting).prove("o4")

    signing.join()
    assert made.size == venue.reads.size()


def test_where_nobody_serves_the_journal_waiting_ends_and_says_what_to_do(venue):
    with pytest.raises(JournalUnavailable, match="start the server once"):
        Waiting(venue.reads, venue.key.public_key(), TickingClock(SEAL_SECONDS)).seal()


def test_the_frontier_of_a_growing_tree_is_the_root_of_all_its_leaves():
    frontier = Frontier()
    for size, each in enumerate(HASHES, start=1):
        frontier.append(each)
        assert frontier.root() == tree_root(HASHES[:size])


def test_a_proof_leaves_out_no_entry_that_its_checkpoint_covers(venue, monkeypatch):
    """An order may grow between the look at its end and the checkpoint."""
    prover, seal = Prover(venue.reads, venue.journal), venue.journal.seal
    venue.event("pi_x", "Captured")  # Nothing covers it, so a checkpoint is made.

    def seal_late():
        venue.create("o3", payments=(ToldPayment(intent_id=IntentId("pi_late"), paid=1000),))
        seal()

    monkeypatch.setattr(venue.journal, "seal", seal_late)
    venue.create("o3", payments=(ToldPayment(intent_id=IntentId("pi_first"), paid=1000),))
    made = prover.prove("o3")

    assert made.entries[-1].columns["hash"] == list(venue.reads.entries(order_id="o3"))[-1].hash
    assert any(entry.columns["payment_intent_id"] == "pi_late" for entry in made.entries)


def test_a_proof_under_an_older_checkpoint_shows_the_order_as_it_was_then(venue):
    venue.journal.seal()
    size = venue.reads.newest_checkpoint_size()
    before = Prover(venue.reads, venue.journal).prove("o3")
    venue.create("o3", payments=(ToldPayment(intent_id=IntentId("pi_1"), paid=1000),))
    venue.journal.seal()

    prover = Prover(venue.reads, venue.journal)
    assert prover.prove("o3", size) == before
    assert len(prover.prove("o3").entries) > len(before.entries)
    with pytest.raises(UnknownCheckpoint, match=f"the nearest are of {size} and {venue.reads.newest_checkpoint_size()}"):
        prover.prove("o3", size + 1)
    with pytest.raises(UnknownCheckpoint, match=f"the nearest is of {venue.reads.newest_checkpoint_size()}"):
        prover.consistency(10**6)
    venue.create("o9", payments=())
    with pytest.raises(UnknownOrder, match="no entry among the first"):
        prover.prove("o9", size)


def test_without_a_checkpoint_there_is_no_consistency_to_prove(tmp_path):
    venue = Venue(tmp_path)
    with pytest.raises(UnknownCheckpoint, match="no checkpoint yet"):
        Prover(venue.reads, venue.journal).consistency()
    venue.close()


def test_a_command_has_the_receipt_of_the_last_entry_that_it_left(venue):
    noted = []
    venue.engine.acknowledge = noted.append
    opened = venue.open("till-1").receipt

    assert noted == [opened]
    assert opened == venue.journal.write(lambda transaction: transaction.receipt("till-1", opened.order_seq))
    assert list(venue.reads.entries(order_id="till-1"))[-1].hash == opened.hash
    assert venue.open("till-1").receipt == opened
    asked = Prover(venue.reads, venue.journal).receipt_of("open_order", "till-1")
    assert (asked.order_id, asked.order_seq, asked.hash) == opened


def test_the_receipt_of_what_concerns_no_order_is_asked_for_by_its_position(venue):
    venue.event("pi_unknown", "Captured")
    prover, last = Prover(venue.reads, venue.journal), venue.reads.size()

    found = prover.receipt_at(last)
    assert (found.order_id, found.entry.seq, found.entry.columns["payment_intent_id"]) == ("", last, "pi_unknown")
    assert prover.receipt("", found.order_seq) == found
    with pytest.raises(UnknownEntry, match=f"no entry {last + 1}: the journal has {last}"):
        prover.receipt_at(last + 1)


def test_a_message_that_an_older_version_accepted_is_known_and_has_no_receipt_by_its_id(venue):
    first = venue.open("till-2").receipt
    database = venue.journal._connection
    with_number = database.execute("SELECT fingerprint FROM inbox WHERE message_id = 'till-2'").fetchone()[0]
    venue.journal.write(
        lambda transaction: database.execute(
            "UPDATE inbox SET fingerprint = ? WHERE message_id = 'till-2'", (with_number.partition("#")[0],)
        )
    )

    again = venue.open("till-2")
    assert (again.refusal, again.became, again.receipt) == (None, "duplicate", first)  # The order's newest entry.
    prover = Prover(venue.reads, venue.journal)
    with pytest.raises(UnknownEntry, match="those of order till-2 are all kept"):
        prover.receipt_of("open_order", "till-2")
    assert [receipt.hash for receipt in prover.receipts("till-2")] == [first.hash]


def test_receipts_of_an_order_are_those_of_requests_and_of_whom_was_asked_for(venue):
    venue.create("o7")
    venue.event("pi_1", "Captured")
    venue.settle({"pi_1": an_intent(external_id="o7")})
    prover = Prover(venue.reads, venue.journal)

    assert {receipt.entry.columns["actor"] for receipt in prover.receipts("o7")} == {"dojo"}
    assert prover.receipts("o7", ("till:",)) == []
    assert any(entry.actor == "outbox" for entry in venue.reads.entries(order_id="o7"))
