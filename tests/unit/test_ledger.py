"""The journal's proof beside published vectors, json.dumps and an independent Merkle library."""

import base64
import hashlib
import json
import random
import sys
from dataclasses import dataclass

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from workflow import ledger
from workflow.bill import Bill, Details, DineIn, Item, Modifier
from workflow.errors import JournalDamaged
from workflow.ledger import BadCheckpoint, Checkpoint, Frontier, HashedEntry, Node
from workflow.money import Money

ORIGIN = "tillproof/5f1c2d"
ROOT = hashlib.sha256(b"some root").digest()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)
entry_hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def numbered(count):
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]


def an_entry(**changes):
    columns = {
        "order_id": "ord_1",
        "order_seq": 1,
        "at": "2026-03-14T12:01:07.120Z",
        "kind": "transition",
        "machine": "order@0123456789ab",
        "trigger": "capture",
        "from_state": "authorised",
        "to_state": "captured",
        "payment_intent_id": "",
        "actor": "dojo",
        "cause": "evt_1",
        "body": '{"amount":1250,"name":"Müller \u2028"}',
        "prev_hash": ledger.ZERO_HASH,
    }
    return columns | changes


# -- canonical JSON --


@settings(deadline=None, max_examples=300)
@given(json_values)
def test_canonical_json_is_what_json_dumps_writes(value):
    assert ledger.canonical(value) == as_json(value)


@settings(deadline=None, max_examples=100)
@given(json_values)
def test_what_canonical_json_writes_is_canonical_and_nothing_else_is(value):
    text = ledger.canonical(value)
    assert ledger.is_canonical(text)
    assert not ledger.is_canonical(f"{text} ")
    assert not ledger.is_canonical(f"[{text},1.0]")
    assert not ledger.is_canonical(f"{text},")
    assert ledger.is_canonical(json.dumps(value)) == (json.dumps(value) == text)


def test_every_code_point_is_written_as_json_dumps_writes_it():
    code_points = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF]
    for start in range(0, len(code_points), 0x1000):
        block = "".join(code_points[start : start + 0x1000])
        assert ledger.canonical(block) == as_json(block)


def test_keys_on_both_sides_of_the_surrogates_are_sorted_as_json_dumps_sorts_them():
    keys = {chr(n): n for n in [*range(0, 0xD800, 7), *range(0xE000, 0x11000, 7)]}
    assert ledger.canonical(keys) == as_json(keys)


def test_keys_are_sorted_by_code_point_beyond_the_basic_plane():
    assert ledger.canonical({"\U0001f600": 1, "\uffff": 2, "a": 3}) == '{"a":3,"\uffff":2,"\U0001f600":1}'


def test_integers_of_any_size_keep_their_digits():
    numbers = [0, -1, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**40]
    assert ledger.canonical(numbers) == as_json(numbers)


@pytest.mark.parametrize("number", [1.5, 10.0, float("nan"), float("inf")])
@pytest.mark.parametrize("around", [lambda x: x, lambda x: {"a": [1, {"b": x}]}, lambda x: ("a", x)])
def test_a_float_is_refused_wherever_it_stands(number, around):
    with pytest.raises(TypeError, match="no floats"):
        ledger.canonical(around(number))


def test_a_float_in_a_struct_or_dataclass_is_refused():
    class Rate(msgspec.Struct):
        rate: float

    @dataclass(frozen=True)
    class Share:
        rate: Rate

    with pytest.raises(TypeError, match="no floats"):
        ledger.canonical(Rate(0.2))
    with pytest.raises(TypeError, match="no floats"):
        ledger.canonical({"share": Share(Rate(0.2))})


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {None: 1}}, {True: 1}])
def test_a_key_that_is_no_string_is_refused(value):
    with pytest.raises(TypeError):
        ledger.canonical(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
def test_a_lone_surrogate_is_refused(value):
    with pytest.raises(ValueError, match="surrogates"):
        ledger.canonical(value)


def test_structs_and_dataclasses_are_sorted_by_their_wire_names():
    class Renamed(msgspec.Struct, omit_defaults=True):
        a: int = msgspec.field(name="z")
        y: int = msgspec.field(name="b")
        absent: int | None = None

    @dataclass(frozen=True, slots=True)
    class Outer:
        second: tuple[Renamed, ...]
        first: str

    assert ledger.canonical(Outer(second=(Renamed(1, 2),), first="x")) == '{"first":"x","second":[{"b":2,"z":1}]}'


def test_a_bill_has_the_canonical_json_of_its_wire_form():
    bill = Bill(
        details=Details(order_type="DineIn", dine_in=DineIn(table_id="7")),
        items=(
            Item(
                name="Crème brûlée",
                plu="cb",
                quantity=2,
                amount_per_item=Money(650, "GBP"),
                modifiers=(Modifier(name="cream", plu="m1", quantity=1, amount_per_modifier=Money(50, "GBP")),),
            ),
        ),
        total_amount=Money(1400, "GBP"),
    )
    assert ledger.canonical(bill) == as_json(msgspec.to_builtins(bill))


# -- the hash of an entry --


@settings(deadline=None)
@given(body=json_values, order_id=texts, order_seq=st.integers(1, 2**63 - 1))
def test_an_entry_hash_is_sha256_of_the_canonical_json_of_its_columns(body, order_id, order_seq):
    columns = an_entry(body=as_json(body), order_id=order_id, order_seq=order_seq)
    assert ledger.entry_hash(HashedEntry(**columns)) == hashlib.sha256(as_json(columns).encode()).hexdigest()
    assert ledger.entry_hash_sorted([columns[name] for name in ledger.HASHED_SORTED]) == ledger.entry_hash(HashedEntry(**columns))


def test_the_hashed_columns_are_those_of_the_journal_but_seq_and_hash():
    columns = "order_id order_seq at kind machine trigger from_state to_state payment_intent_id actor cause body prev_hash"
    assert " ".join(ledger.HASHED_COLUMNS) == columns


@pytest.mark.parametrize("column", ledger.HASHED_COLUMNS)
def test_a_change_in_any_column_changes_the_hash(column):
    changed = an_entry(**{column: 2 if column == "order_seq" else "changed"})
    assert ledger.entry_hash(HashedEntry(**changed)) != ledger.entry_hash(HashedEntry(**an_entry()))


def test_the_zero_hash_is_sixty_four_zeros():
    assert ledger.ZERO_HASH == "0000000000000000000000000000000000000000000000000000000000000000"


# -- the tree --

# Leaf data and tree heads of 0 to 8 leaves from the reference implementation of Certificate Transparency.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def oracle_tree(hashes):
    tree = InmemoryTree(algorithm="sha256")
    for entry_hash in hashes:
        tree.append_entry(bytes.fromhex(entry_hash))
    return tree


def stored_nodes(hashes):
    """Every node of the tree as a store would hold it, and the root after each entry."""
    frontier, nodes, roots = Frontier(), {}, [Frontier().root()]
    for index, entry_hash in enumerate(hashes):
        nodes[0, index] = ledger.leaf_hash(entry_hash)
        nodes |= {(node.level, node.index): node.hash for node in frontier.append(entry_hash)}
        roots.append(frontier.root())
    return nodes, roots


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_published_for_certificate_transparency(size):
    assert ledger.tree_root(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


@pytest.mark.parametrize("size", range(9))
def test_the_oracle_hashes_as_rfc_6962_does(size):
    assert oracle_tree(CT_LEAVES[:size]).get_root().hex() == CT_ROOTS[size]


@settings(deadline=None, max_examples=50)
@given(st.lists(entry_hashes, max_size=70))
def test_frontier_streamed_root_and_oracle_agree(hashes):
    frontier = Frontier()
    for entry_hash in hashes:
        frontier.append(entry_hash)
    assert frontier.size == len(hashes)
    assert frontier.root() == ledger.tree_root(iter(hashes)) == oracle_tree(hashes).get_root()


def test_the_root_after_every_entry_is_the_oracles():
    hashes = numbered(300)
    _, roots = stored_nodes(hashes)
    tree = oracle_tree(hashes)
    assert roots == [tree.get_root(size) for size in range(301)]


def test_each_inner_node_is_given_once_when_its_last_leaf_comes():
    hashes = numbered(300)
    frontier, given_nodes = Frontier(), []
    for size, entry_hash in enumerate(hashes, 1):
        completed = frontier.append(entry_hash)
        assert [node.level for node in completed] == list(range(1, len(completed) + 1))
        assert all((node.index + 1) << node.level == size for node in completed)
        given_nodes += completed
    assert len(set(given_nodes)) == len(given_nodes)
    expected = {(level, index) for level in range(1, 9) for index in range(300 >> level)}
    assert {(node.level, node.index) for node in given_nodes} == expected


def test_a_given_node_is_the_root_of_its_own_leaves():
    hashes = numbered(64)
    nodes, _ = stored_nodes(hashes)
    for (level, index), node in nodes.items():
        assert node == ledger.tree_root(hashes[index << level : (index + 1) << level])


def test_the_second_entry_completes_the_node_above_both():
    first, second = numbered(2)
    frontier = Frontier()
    assert frontier.append(first) == []
    above = ledger.node_hash(ledger.leaf_hash(first), ledger.leaf_hash(second))
    assert frontier.append(second) == [Node(level=1, index=0, hash=above)]


def test_a_restored_frontier_equals_the_grown_one_at_every_size():
    hashes = numbered(301)
    nodes, roots = stored_nodes(hashes)
    for size in range(301):
        restored = Frontier.restore(size, lambda level, index: nodes[level, index])
        assert (restored.size, restored.root()) == (size, roots[size])
        assert all(nodes[node.level, node.index] == node.hash for node in restored.append(hashes[size]))
        assert restored.root() == roots[size + 1]


@settings(deadline=None)
@given(st.integers(0, 2**62))
def test_restoring_reads_one_node_for_each_set_bit_of_the_size(size):
    asked = []
    Frontier.restore(size, lambda level, index: asked.append((level, index)) or bytes(32))
    assert len(asked) == size.bit_count()
    assert sum(1 << level for level, _ in asked) == size
    assert all((index + 1) << level <= size for level, index in asked)


def test_a_tree_of_negative_size_is_refused():
    with pytest.raises(ValueError, match="-1 leaves"):
        Frontier.restore(-1, lambda level, index: bytes(32))


def test_a_copy_grows_apart_from_its_original():
    original = Frontier()
    for entry_hash in numbered(7):
        original.append(entry_hash)
    before = original.root()
    twin = original.copy()
    twin.append(ledger.ZERO_HASH)
    assert (original.size, original.root()) == (7, before)
    assert (twin.size, twin.root()) == (8, ledger.tree_root([*numbered(7), ledger.ZERO_HASH]))


def test_a_hash_that_is_not_hex_leaves_the_frontier_unchanged():
    frontier = Frontier()
    frontier.append(ledger.ZERO_HASH)
    before = frontier.root()
    with pytest.raises(ValueError, match="hex"):
        frontier.append("not hex")
    assert (frontier.size, frontier.root()) == (1, before)


# -- proofs --


def definition_of_a_path(index, leaves):
    """PATH of RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = max(2**power for power in range(20) if 2**power < len(leaves))
    if index < k:
        return [*definition_of_a_path(index, leaves[:k]), ledger.tree_root(leaves[k:])]
    return [*definition_of_a_path(index - k, leaves[k:]), ledger.tree_root(leaves[:k])]


def definition_of_consistency(old, leaves, known=True):
    """SUBPROOF of RFC 9162 §2.1.4.1, word for word."""
    if old == len(leaves):
        return [] if known else [ledger.tree_root(leaves)]
    k = max(2**power for power in range(20) if 2**power < len(leaves))
    if old <= k:
        return [*definition_of_consistency(old, leaves[:k], known), ledger.tree_root(leaves[k:])]
    return [*definition_of_consistency(old - k, leaves[k:], False), ledger.tree_root(leaves[:k])]


def stored(hashes):
    nodes, roots = stored_nodes(hashes)
    return lambda level, index: nodes[level, index], roots


def test_every_proof_of_a_small_tree_is_the_one_that_the_rfcs_define():
    hashes = numbered(40)
    node, roots = stored(hashes)
    for new in range(1, 41):
        for old in range(1, new + 1):
            path = ledger.consistency_proof(old, new, node)
            assert path == definition_of_consistency(old, hashes[:new])
            ledger.check_consistency(old, new, roots[old], roots[new], path)
            path = ledger.inclusion_proof(old - 1, new, node)
            assert path == definition_of_a_path(old - 1, hashes[:new])
            assert ledger.root_from_inclusion(hashes[old - 1], old - 1, new, path) == roots[new]


def test_random_trees_of_up_to_ten_thousand_entries_have_the_oracles_roots_and_proofs():  # I7
    chance = random.Random(9162)
    hashes = [chance.randbytes(32).hex() for _ in range(10_000)]
    node, roots = stored(hashes)
    oracle = oracle_tree(hashes)
    sizes = [10_000, 8192, 8193, *(chance.randint(1, 10_000) for _ in range(37))]
    for new in sizes:
        old, index = chance.randint(1, new), chance.randrange(new)
        assert (roots[new], roots[old]) == (oracle.get_root(new), oracle.get_root(old))

        path = ledger.inclusion_proof(index, new, node)
        theirs = oracle.prove_inclusion(index + 1, new)  # It counts leaves from one, and names the leaf before its path.
        assert [ledger.leaf_hash(hashes[index]), *path] == theirs.path
        theirs.verify(ledger.leaf_hash(hashes[index]), roots[new], index + 1, new)
        assert ledger.root_from_inclusion(hashes[index], index, new, path) == oracle.get_root(new)

        ledger.check_consistency(old, new, oracle.get_root(old), oracle.get_root(new), ledger.consistency_proof(old, new, node))
        oracle.prove_consistency(old, new).verify(roots[old], roots[new], old, new)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_other_path_root_or_size_is_taken_for_consistent(data):
    hashes = numbered(70)
    node, roots = stored(hashes)
    new = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, new - 1))
    path = ledger.consistency_proof(old, new, node)
    at = data.draw(st.integers(0, len(path) - 1))
    changed = [*path[:at], bytes(32), *path[at + 1 :]]
    wrong = [
        (old, new, roots[old], roots[new], changed),
        (old, new, roots[old], roots[new], path[:-1]),
        (old, new, roots[old], roots[new], [*path, path[-1]]),
        (old, new, roots[old - 1], roots[new], path),
        (old, new, roots[old], roots[new - 1], path),
        (new, old, roots[new], roots[old], path),
        (old, old, roots[old], roots[old], path),
        (0, new, roots[0], roots[new], path),
    ]
    for claim in wrong:
        with pytest.raises(ValueError, match=r"too (long|short)|does not lead to|begins with"):
            ledger.check_consistency(*claim)


def test_every_tree_begins_with_the_empty_one_and_with_itself():
    node, roots = stored(numbered(9))
    for size in range(10):
        assert ledger.consistency_proof(0, size, node) == ledger.consistency_proof(size, size, node) == []
        ledger.check_consistency(0, size, roots[0], roots[size], [])
        ledger.check_consistency(size, size, roots[size], roots[size], [])
        with pytest.raises(ValueError, match="does not lead to the root"):
            ledger.check_consistency(size, size, roots[size], roots[size - 1], [])
        with pytest.raises(ValueError, match="of 0 entries"):
            ledger.check_consistency(0, size, roots[5], roots[size], [])


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5), (1, 0)])
def test_a_larger_tree_is_not_what_a_smaller_one_begins_with(old, new):
    with pytest.raises(ValueError, match=f"no tree of {new} entries begins with one of {old}"):
        ledger.consistency_proof(old, new, lambda level, index: bytes(32))


@settings(deadline=None)
@given(st.data())
def test_a_proof_of_any_size_asks_for_at_most_two_nodes_of_each_level(data):
    new = data.draw(st.integers(1, ledger.MAX_SIZE))
    old = data.draw(st.integers(1, new))
    for prove, first in ((ledger.inclusion_proof, old - 1), (ledger.consistency_proof, old)):
        asked = []
        prove(first, new, lambda level, index, asked=asked: asked.append((level, index)) or bytes(32))
        assert len(asked) <= 2 * new.bit_length()
        assert len(set(asked)) == len(asked)
        assert all((index + 1) << level <= new for level, index in asked)


# -- checkpoints --

# Made by another implementation: Tessera's published test log, its public test key, and what was logged there.
TESSERA_KEY = "AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"  # The kind of key, 0x01, stands before its 32 bytes.
TESSERA_LEAVES = ["one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten", "ileven", "twelf", "threeten"]
TESSERA_NOTE = (
    "example.com/log/testdata\n13\nav0kLH0VkkVDrTuZzBGIx7d9z5G1l/GlKz/nAV/8woQ=\n\n"
    "\u2014 example.com/log/testdata "
    "M9e0liO8x8xfEOGmZVYODUjQajkEpjccPQ9EkG3yEEDet4K3BWE/DFRPH6H+b6gFFFaG5KS1bBmYS/xeZJs8lj+z+wM=\n"
)


def a_note():
    return ledger.sign_checkpoint(ORIGIN, 1234, ROOT, KEY)


def signature_line(note):
    return note.split("\n\n")[1]


def test_a_checkpoint_of_another_implementation_verifies():
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(TESSERA_KEY)[1:])
    root = ledger.tree_root(leaf.encode().hex() for leaf in TESSERA_LEAVES)
    assert ledger.verify_checkpoint(TESSERA_NOTE, key) == Checkpoint("example.com/log/testdata", 13, root)


def test_a_signed_checkpoint_has_the_published_form():
    head, name, signature = signature_line(a_note()).removesuffix("\n").split(" ")
    key_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + KEY.public_key().public_bytes_raw()).digest()[:4]
    text = f"{ORIGIN}\n1234\n{base64.b64encode(ROOT).decode()}\n"
    assert a_note().startswith(text + "\n\u2014 ")
    assert (head, name) == ("\u2014", ORIGIN)
    assert base64.b64decode(signature) == key_id + KEY.sign(text.encode())


@settings(deadline=None)
@given(st.integers(0, ledger.MAX_SIZE), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_was_signed_is_what_is_verified(size, root, seed):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    note = ledger.sign_checkpoint(ORIGIN, size, root, key)
    assert ledger.verify_checkpoint(note, key.public_key()) == Checkpoint(ORIGIN, size, root)


def test_a_note_with_one_changed_character_fails():
    note = a_note()
    for position, character in enumerate(note):
        for other in {"A", "B", "0", "=", " ", "\n", "\u2014", "é", chr(ord(character) ^ 1)} - {character}:
            with pytest.raises(BadCheckpoint):
                ledger.verify_checkpoint(note[:position] + other + note[position + 1 :], KEY.public_key())


def test_a_note_with_one_character_missing_or_doubled_fails():
    note = a_note()
    for position, character in enumerate(note):
        for changed in (note[:position] + note[position + 1 :], note[:position] + character + note[position:]):
            with pytest.raises(BadCheckpoint):
                ledger.verify_checkpoint(changed, KEY.public_key())


def test_every_other_spelling_of_the_signatures_last_bits_fails():
    note = a_note()
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".replace(note[-3], ""):
        with pytest.raises(BadCheckpoint):
            ledger.verify_checkpoint(note[:-3] + last + note[-2:], KEY.public_key())


def test_another_key_does_not_verify():
    with pytest.raises(BadCheckpoint, match=f"no signature line of {ORIGIN} with key id"):
        ledger.verify_checkpoint(a_note(), Ed25519PrivateKey.generate().public_key())


def test_signatures_of_witnesses_are_passed_over():
    witness = signature_line(ledger.sign_checkpoint("witness.example/w1", 1234, ROOT, Ed25519PrivateKey.generate()))
    renewed = signature_line(ledger.sign_checkpoint(ORIGIN, 1234, ROOT, Ed25519PrivateKey.generate()))
    text, _, ours = a_note().rpartition("\n\n")
    note = f"{text}\n\n{witness}{ours}{renewed}"
    assert ledger.verify_checkpoint(note, KEY.public_key()).size == 1234


def test_sixteen_signatures_of_others_of_five_thousand_bytes_each_are_passed_over():
    text, _, ours = a_note().rpartition("\n\n")
    others = "".join(f"\u2014 witness.example/w{number} {base64.b64encode(bytes(5_000)).decode()}\n" for number in range(15))
    assert ledger.verify_checkpoint(f"{text}\n\n{others}{ours}", KEY.public_key()).size == 1234


def test_two_signatures_of_our_key_must_both_verify():
    note = a_note() + signature_line(ledger.sign_checkpoint(ORIGIN, 1235, ROOT, KEY))
    with pytest.raises(BadCheckpoint, match="does not verify"):
        ledger.verify_checkpoint(note, KEY.public_key())


ROOT_TEXT = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("\n\n", "\n", "no blank line"),
        ("\n1234\n", "\n", "text has 2 lines"),
        ("\n\n", "\nextension\n\n", "text has 4 lines"),
        (f"{ORIGIN}\n", "till proof\n", "origin 'till proof'"),
        (f"{ORIGIN}\n", "\n", "origin ''"),
        ("\n1234\n", "\n01234\n", "size '01234'"),
        ("\n1234\n", "\n-1\n", "size '-1'"),
        ("\n1234\n", "\n\u0661\n", "size '\u0661'"),
        ("\n1234\n", f"\n{2**63}\n", "size 9223372036854775808"),
        ("\n1234\n", "\n" + "9" * 5000 + "\n", "size '9"),
        ("\n1234\n", "\n1235\n", f"signature of {ORIGIN} at size 1235 does not verify"),
        (f"\n{ROOT_TEXT}\n", "\nAAAA\n", "root has 3 bytes"),
        (f"\n{ROOT_TEXT}\n", f"\n{ROOT_TEXT[:-1]}\n", "root .* is not base64"),
        (f"\n{ROOT_TEXT}\n", "\n" + "A" * 42 + "B=\n", "root .* is not canonical base64"),
        (f"\u2014 {ORIGIN}", f"- {ORIGIN}", "signature line .* em dash"),
        (f"\u2014 {ORIGIN}", "\u2014 tillproof/other", f"no signature line of {ORIGIN}"),
        ("=\n", "=", "not ended by a newline"),
        ("=\n", "=!\n", "signature .* is not base64"),
    ],
)
def test_a_refusal_names_the_part_that_is_wrong(old, new, complaint):
    before, _, after = a_note().rpartition(old) if old == "=\n" else a_note().partition(old)
    with pytest.raises(BadCheckpoint, match=complaint):
        ledger.verify_checkpoint(before + new + after, KEY.public_key())


def test_an_overlong_note_is_refused_unread():
    with pytest.raises(BadCheckpoint, match="characters, more than"):
        ledger.verify_checkpoint(a_note() + "\n" * ledger.MAX_NOTE_CHARACTERS, KEY.public_key())


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_no_text_at_all_gets_another_error_than_bad_checkpoint(note):
    with pytest.raises(BadCheckpoint):
        ledger.verify_checkpoint(note, KEY.public_key())


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        *((origin, 1, ROOT) for origin in ["", "till proof", "a\nb", "a+b", "é", "x" * 256]),
        *((ORIGIN, size, ROOT) for size in [-1, 2**63]),
        *((ORIGIN, 1, root) for root in [b"", bytes(33)]),
    ],
)
def test_what_a_note_cannot_carry_is_not_signed(origin, size, root):
    with pytest.raises(ValueError, match=r"origin|size|root"):
        ledger.sign_checkpoint(origin, size, root, KEY)


def test_a_bad_checkpoint_is_damage_to_the_journal():
    assert issubclass(BadCheckpoint, JournalDamaged)
