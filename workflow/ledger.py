"""What proves the journal: the hash of an entry, the Merkle tree over all entries, and signed checkpoints of that tree.

Pure, and small enough for an auditor to write again: the tree is that of RFC 6962 §2.1, a checkpoint is a C2SP signed note
(`signed-note`, `tlog-checkpoint`), and everything that is hashed is canonical JSON.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workflow.errors import JournalDamaged

HASH_BYTES: Final = 32
"""Length of a SHA-256."""

ZERO_HASH: Final = "0" * (2 * HASH_BYTES)
"""`prev_hash` of an order's first entry."""

MAX_SIZE: Final = 2**63 - 1
"""The largest tree that a checkpoint may state: SQLite's largest `seq`."""

MAX_NOTE_CHARACTERS: Final = 131_072
"""Longer notes are refused unread; the sixteen signatures that C2SP demands fit, even of 5 kB each."""

ED25519_IN_NOTES: Final = b"\x01"
"""Names the kind of signature in a key id and in a key for signed notes."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN = re.compile(r"[!-*,-~]{1,255}")  # Visible ASCII without plus: C2SP allows key names no spaces and no plus.
_SIGNATURE_LINE = re.compile("\u2014 ([^\\s+\x00-\x1f]+) (\\S+)")
_KEY_ID_BYTES = 4

# Not "deterministic": that leaves the fields of Structs and dataclasses in the order of their declaration.
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: object) -> str:
    """The one JSON text of `value`: keys sorted, no spaces, no ASCII escapes; equal values have equal texts everywhere.

    Takes what JSON can say, msgspec Structs and dataclasses. Raises TypeError for a float, as the journal has none, and for
    a key that is no string; ValueError for a lone surrogate, which UTF-8 cannot carry.
    """
    _refuse_floats((msgspec.to_builtins(value),))
    return _encode(value).decode()


def _no_float(text: str) -> object:
    raise ValueError(f"canonical JSON has no floats, so {text} cannot be journaled")


_decode = msgspec.json.Decoder(float_hook=_no_float).decode


def is_canonical(text: str) -> bool:
    """Whether `text` is what `canonical` makes of the value that it stands for."""
    try:
        return _encode(_decode(text)) == text.encode()
    except (ValueError, RecursionError):  # No JSON, a float, deeper than anything that was journaled.
        return False


def salted_hash(salt: str, personal: object) -> str:
    """What the journal holds of personal data: it proves what they were for as long as the salt is kept beside them."""
    return hmac.new(salt.encode(), canonical(personal).encode(), "sha256").hexdigest()


_WITHOUT_FLOATS = (str, int, NoneType)


def _refuse_floats(values: Iterable[object]) -> None:
    for value in values:
        if isinstance(value, _WITHOUT_FLOATS):
            continue
        if isinstance(value, float):
            raise TypeError(f"canonical JSON has no floats, so {value!r} cannot be journaled")
        if isinstance(value, dict):
            _refuse_floats(value.values())
        elif isinstance(value, list | tuple):
            _refuse_floats(value)


class HashedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a journal entry that its hash covers: all but `seq`, given by the log, and `hash` itself.

    `body` is the stored text, not what it parses to. Columns that do not apply are `""`.
    """

    order_id: str
    order_seq: int
    at: str
    kind: str
    machine: str
    trigger: str
    from_state: str
    to_state: str
    payment_intent_id: str
    actor: str
    cause: str
    body: str
    prev_hash: str


HASHED_COLUMNS: Final[tuple[str, ...]] = HashedEntry.__struct_fields__
"""Names of the hashed columns, in the order of the table."""


def entry_hash(entry: HashedEntry) -> str:
    """SHA-256 of the canonical JSON of the entry's columns, as 64 lower-case hex digits."""
    return hashlib.sha256(_encode(entry)).hexdigest()


HASHED_SORTED: Final[tuple[str, ...]] = tuple(sorted(HASHED_COLUMNS))
"""The same in the order of canonical JSON."""

_Sorted = msgspec.defstruct("_Sorted", [(name, object) for name in HASHED_SORTED], frozen=True, gc=False)
_encode_as_given = msgspec.json.Encoder().encode


def entry_hash_sorted(values: Sequence[object]) -> str:
    """`entry_hash` of the columns' values in the order of HASHED_SORTED: for who reads very many, as nothing is left to be sorted."""
    return hashlib.sha256(_encode_as_given(_Sorted(*values))).hexdigest()


def leaf_hash(entry_hash_hex: str) -> bytes:
    """The tree's leaf for an entry; the leaf data are the bytes that the hex stands for. Raises ValueError if it is no hex."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(entry_hash_hex)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The inner node above two nodes of 32 bytes each."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Node(NamedTuple):
    """A node that no later entry can change: the root of the `2**level` leaves from `index * 2**level` on."""

    level: int
    index: int  # type: ignore[assignment]  # Hides tuple.index, which nobody asks of a node.
    hash: bytes


class Frontier:
    """The right edge of a growing tree: all that appending and the root need, one hash for each set bit of `size`.

    Not for two threads at once. A transaction that may be rolled back appends to a `copy()`.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # Roots of the complete subtrees, the largest and leftmost first.

    @classmethod
    def restore(cls, size: int, node: Callable[[int, int], bytes]) -> Frontier:
        """The frontier of the first `size` entries, from stored nodes.

        `node(level, index)` reads one node, level 0 being leaf hashes; it is asked for one node per set bit of `size`.
        Nothing is checked: a damaged node shows in the root. Raises ValueError for a negative size.
        """
        if size < 0:
            raise ValueError(f"a tree cannot have {size} leaves")
        frontier = cls()
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                frontier._peaks.append(node(level, frontier.size >> level))
                frontier.size += 1 << level
        return frontier

    def append(self, entry_hash_hex: str) -> list[Node]:
        """Add an entry's leaf; returns the inner nodes (level 1 and above, lowest first) that it completes, to be stored.

        Raises ValueError if `entry_hash_hex` is not hex; the frontier is then unchanged.
        """
        node = leaf_hash(entry_hash_hex)
        level, index = 0, self.size
        completed = []
        while index & 1:
            level, index = level + 1, index >> 1
            node = node_hash(self._peaks.pop(), node)
            completed.append(Node(level, index, node))
        self._peaks.append(node)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The 32 bytes of the Merkle tree hash; of no entries, SHA-256 of nothing."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for left in self._peaks[-2::-1]:
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """An independent frontier of the same entries."""
        twin = Frontier()
        twin.size, twin._peaks = self.size, self._peaks.copy()
        return twin


def tree_root(hashes: Iterable[str]) -> bytes:
    """The root over these entry hashes, read once and never held together. Raises ValueError at one that is not hex."""
    frontier = Frontier()
    for entry_hash_hex in hashes:
        frontier.append(entry_hash_hex)
    return frontier.root()


def inclusion_proof(index: int, size: int, node: Callable[[int, int], bytes]) -> list[bytes]:
    """The audit path of leaf `index` in the tree over `size` leaves, RFC 6962 §2.1.1.

    `node(level, index)` reads one stored node, as for `Frontier.restore`; it is asked for at most two for each level of the tree.
    Raises ValueError for a leaf that the tree does not have.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(start, middle, node))
            start = middle
    return path[::-1]


def root_from_inclusion(entry_hash_hex: str, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that the audit path leads to from an entry's hash; RFC 9162 §2.1.3.2. Raises ValueError for a path of wrong length."""
    node, position, last = leaf_hash(entry_hash_hex), index, size - 1
    for sibling in path:
        if last == 0:
            raise ValueError("the path is too long")
        if position % 2 or position == last:
            node = node_hash(sibling, node)
            while position and not position % 2:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ValueError("the path is too short")
    return node


def consistency_proof(old_size: int, new_size: int, node: Callable[[int, int], bytes]) -> list[bytes]:
    """That the tree over `new_size` leaves begins with the tree over `old_size`, RFC 9162 §2.1.4.1; `check_consistency` checks it.

    Empty for two equal sizes, and for `old_size` 0, with which every tree begins. `node` is asked as by `inclusion_proof`.
    Raises ValueError where the old tree would be the larger one.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"no tree of {new_size} entries begins with one of {old_size}")
    if old_size == 0:
        return []
    path: list[bytes] = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(start, middle, node))
            start = middle
    if start:  # Where the old tree is a whole subtree, its own root stands for it.
        path.append(_subtree(start, end, node))
    return path[::-1]


def check_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise ValueError, saying why, unless `path` proves that the new tree begins with the old one; RFC 9162 §2.1.4.2."""
    if not 0 <= old_size <= new_size:
        raise ValueError(f"no tree of {new_size} entries begins with one of {old_size}")
    if 0 < old_size < new_size:
        old, new = _roots_from_consistency(old_size, new_size, old_root, path)
    elif path:
        raise ValueError("the path is too long")
    else:
        old = old_root if old_size else tree_root([])
        new = new_root if old_size < new_size else old
    for size, root, found in ((old_size, old_root, old), (new_size, new_root, new)):
        if root != found:
            raise ValueError(f"the path does not lead to the root {root.hex()} of {size} entries")


def _roots_from_consistency(old_size: int, new_size: int, old_root: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    nodes = [old_root, *path] if old_size.bit_count() == 1 else [*path]  # The root of a whole subtree is left out of the path.
    position, last = old_size - 1, new_size - 1
    while position % 2:
        position, last = position >> 1, last >> 1
    if not nodes:
        raise ValueError("the path is too short")
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise ValueError("the path is too long")
        if position % 2 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position % 2:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ValueError("the path is too short")
    return old, new


def _split(leaves: int) -> int:
    """The largest power of two below `leaves`."""
    return 1 << (leaves - 1).bit_length() - 1


def _subtree(start: int, end: int, node: Callable[[int, int], bytes]) -> bytes:
    """The root over leaves `start` to `end`: a stored node where it is complete."""
    leaves = end - start
    if leaves & (leaves - 1) == 0 and start % leaves == 0:
        level = leaves.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(leaves)
    return node_hash(_subtree(start, middle, node), _subtree(middle, end, node))


class BadCheckpoint(JournalDamaged):
    """A checkpoint is malformed or its signature is not ours; compare it with the witness file and find who changed it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A statement: the log named `origin` (`tillproof/<journal id>`) had `size` entries, and their tree the root `root`.

    Raises ValueError on what the text of a checkpoint cannot carry.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise ValueError(f"origin {self.origin!r:.100} is not 1 to 255 visible ASCII characters without plus")
        if not 0 <= self.size <= MAX_SIZE:
            raise ValueError(f"size {self.size} is not from 0 to {MAX_SIZE}")
        if len(self.root) != HASH_BYTES:
            raise ValueError(f"root has {len(self.root)} bytes, not {HASH_BYTES}")

    def text(self) -> str:
        """What is signed: origin, decimal size and base64 root, each line ended by a newline."""
        return f"{self.origin}\n{self.size}\n{_to_base64(self.root)}\n"


def sign_checkpoint(origin: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """The signed note of a tree's head, ended by a newline, with `origin` as the name of the key.

    The caller sees to it that every checkpoint it signs extends all earlier ones. Raises ValueError as `Checkpoint` does.
    """
    text = Checkpoint(origin, size, root).text()
    signature = _to_base64(key_id(origin, key.public_key()) + key.sign(text.encode()))
    return f"{text}\n\u2014 {origin} {signature}\n"


def verify_checkpoint(note: str, public_key: Ed25519PublicKey) -> Checkpoint:
    """What a note states, once its signature by `public_key` is verified; whether `origin` is the expected log is the caller's.

    Signatures by other keys (witnesses may add theirs) are passed over. Raises BadCheckpoint, naming the part that is wrong.
    """
    checkpoint = read_checkpoint(note)
    try:
        _require_signature(checkpoint, note.rpartition("\n\n")[2], public_key)
    except ValueError as error:
        raise BadCheckpoint(f"checkpoint: {error}") from error
    return checkpoint


def read_checkpoint(note: str) -> Checkpoint:
    """What a note states, whoever signed it: of no worth by itself. Extension lines are refused, as we write none. Raises BadCheckpoint."""
    if len(note) > MAX_NOTE_CHARACTERS:
        raise BadCheckpoint(f"checkpoint: {len(note)} characters, more than {MAX_NOTE_CHARACTERS}")
    text, blank_line, _ = note.rpartition("\n\n")
    if not blank_line:
        raise BadCheckpoint("checkpoint: no blank line between text and signatures")
    try:
        return _parse_text(text)
    except ValueError as error:
        raise BadCheckpoint(f"checkpoint: {error}") from error


def _parse_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 3:
        raise ValueError(f"text has {len(lines)} lines, not the three of origin, size and root")
    origin, size, root = lines
    if not _SIZE.fullmatch(size):
        raise ValueError(f"size {size!r:.100} is not a plain decimal number")
    return Checkpoint(origin, int(size), _from_base64("root", root))


def _require_signature(checkpoint: Checkpoint, signatures: str, public_key: Ed25519PublicKey) -> None:
    our_id = key_id(checkpoint.origin, public_key)
    *lines, rest = signatures.split("\n")
    if rest:
        raise ValueError(f"signature line {rest!r:.100} is not ended by a newline")
    ours = [signature for name, by, signature in map(_parse_signature, lines) if (name, by) == (checkpoint.origin, our_id)]
    if not ours:
        raise ValueError(f"no signature line of {checkpoint.origin} with key id {our_id.hex()}")
    for signature in ours:
        try:
            public_key.verify(signature, checkpoint.text().encode())
        except InvalidSignature as error:
            raise ValueError(f"signature of {checkpoint.origin} at size {checkpoint.size} does not verify") from error


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    match = _SIGNATURE_LINE.fullmatch(line)
    if not match:
        raise ValueError(f"signature line {line!r:.100} is not an em dash, a name and base64")
    signed = _from_base64("signature", match[2])
    return match[1], signed[:_KEY_ID_BYTES], signed[_KEY_ID_BYTES:]


def signers(note: str, origin: str) -> list[bytes]:
    """The ids of the keys that claim to have signed the note as `origin`; nothing is verified. Raises BadCheckpoint."""
    try:
        lines = map(_parse_signature, note.rpartition("\n\n")[2].split("\n")[:-1])
        return [by for name, by, _ in lines if name == origin]
    except ValueError as error:
        raise BadCheckpoint(f"checkpoint: {error}") from error


def key_id(name: str, public_key: Ed25519PublicKey) -> bytes:
    """The four bytes that stand for the key in a note signed as `name`; a label, no proof."""
    digest = hashlib.sha256(name.encode() + b"\n" + ED25519_IN_NOTES + public_key.public_bytes_raw()).digest()
    return digest[:_KEY_ID_BYTES]


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(part: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{part} {text!r:.100} is not base64") from error
    if _to_base64(data) != text:  # Unused low bits may differ: two texts would stand for one signature.
        raise ValueError(f"{part} {text!r:.100} is not canonical base64")
    return data
