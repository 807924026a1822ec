#!/usr/bin/env python3
"""Check what Tillproof proves without trusting Tillproof: this one file, Python 3.11 or newer and the package `cryptography`.

    python tillproof_verify.py proof.json --key venue.pub

FILE is a proof of an order, a consistency proof of two checkpoints, a receipt or several, a whole export of the journal (JSON
Lines or CSV) or a signed checkpoint. Several files are checked one by one, and held against each other. It ends with 0 if all of it
holds, 1 if something does not, 2 if it was not understood or a file is none of these.

What is checked is published: RFC 9162 (Merkle trees and their proofs), C2SP `signed-note` and `tlog-checkpoint`, Ed25519,
SHA-256. This program shares no code with the one that wrote the journal, so that a fault in one does not hide in the other.
"""

from __future__ import annotations

import argparse
import array
import base64
import binascii
import bisect
import csv
import hashlib
import itertools
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
except ImportError:
    sys.stderr.write("Error: the package cryptography is missing, which checks signatures\nNext: python -m pip install cryptography\n")
    raise SystemExit(2) from None

PROOF, CONSISTENCY, RECEIPT = "tillproof-proof/1", "tillproof-consistency/1", "tillproof-receipt/1"
"""What the files say of themselves in `format`."""

HASHED = (
    "order_id",
    "order_seq",
    "at",
    "kind",
    "machine",
    "trigger",
    "from_state",
    "to_state",
    "payment_intent_id",
    "actor",
    "cause",
    "body",
    "prev_hash",
)
"""The columns of an entry that its hash covers."""
COLUMNS = ("seq", *HASHED, "hash")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a CSV export puts an apostrophe before, so that no spreadsheet computes it."""

ZERO_HASH = "0" * 64
MAX_NUMBER = 2**63 - 1
MAX_DOCUMENT = 256 * 1024 * 1024
"""Longer proof files are refused unread."""
MAX_LINE = 64 * 1024 * 1024
"""No entry of an export is nearly as long."""
MAX_NOTE = 131_072
COUNTED = 10_000
"""Entries of an export after each of which a person who waits sees how many there were."""
SHOWN = 80
"""Characters of a value that are repeated in a sentence about it."""
BODY_SHOWN = 200
"""Characters of an entry's facts that are printed; the file has them all."""
LISTED = 400
"""So many lines of one kind are printed."""
WIDTH = 110
"""Columns of what is printed for a person."""

_HASH = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN = re.compile(r"[!-*,-~]{1,255}")
_SIGNATURE = re.compile("\u2014 ([^\\s+\x00-\x1f]+) (\\S+)")
_NAMED_KEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+(\S{40,})")
_FINGERPRINT = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)
_IS_KEY = re.compile(rf"\s*(?:{_FINGERPRINT.pattern}|[A-Za-z0-9+/]{{43}}=|-----BEGIN)", re.IGNORECASE)
"""What is a key itself, not the name of a file with one."""

_PROGRAM = f"python {os.path.basename(sys.argv[0])}" if sys.argv[0].endswith(".py") else "tillproof-verify"
FINE, FOUND, USAGE = 0, 1, 2


class Wrong(Exception):
    """Something does not hold; the sentence says what, and where."""


class Unusable(Exception):
    """A file cannot be read, or is no file of ours; or the command was not understood."""


# -- what is hashed, and the tree


def canonical(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, no ASCII escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def entry_hash(columns: Mapping[str, object]) -> str:
    """SHA-256 over the canonical JSON of the hashed columns. Raises ValueError for text that UTF-8 cannot carry."""
    return hashlib.sha256(canonical({name: columns[name] for name in HASHED}).encode()).hexdigest()


def leaf_hash(hash_: str) -> bytes:
    """The leaf of an entry with this hash."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(hash_)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two nodes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_by_inclusion(hash_: str, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Where the path leads from leaf `index`, RFC 9162 §2.1.3.2. Raises Wrong for a path that is too short or too long."""
    fn, sn, found = index, size - 1, leaf_hash(hash_)
    for each in path:
        if sn == 0:
            raise Wrong("its path through the tree is too long")
        if fn & 1 or fn == sn:
            found = node_hash(each, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, each)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Wrong("its path through the tree is too short")
    return found


def roots_by_consistency(old: int, new: int, old_root: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots that the path leads to, RFC 9162 §2.1.4.2, for 0 < `old` < `new`. Raises Wrong for a path of the wrong length."""
    steps = [old_root, *path] if old & (old - 1) == 0 else [*path]
    if not path or not steps:
        raise Wrong("the consistency path is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for each in steps[1:]:
        if sn == 0:
            raise Wrong("the consistency path is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(each, first), node_hash(each, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, each)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Wrong("the consistency path is too short")
    return first, second


class Tree:
    """The Merkle tree over entries that come one by one; holds one hash for each set bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []

    def add(self, hash_: str) -> None:
        """Add the entry with this hash."""
        height, node = 0, leaf_hash(hash_)
        while self._edge and self._edge[-1][0] == height:
            node = node_hash(self._edge.pop()[1], node)
            height += 1
        self._edge.append((height, node))
        self.size += 1

    def root(self) -> bytes:
        """The tree's root; of nothing, SHA-256 of nothing."""
        if not self._edge:
            return hashlib.sha256(b"").digest()
        found = self._edge[-1][1]
        for _, left in reversed(self._edge[:-1]):
            found = node_hash(left, found)
        return found


# -- signed checkpoints


@dataclass(frozen=True)
class Note:
    """A checkpoint as it is signed: a log, its size and its root; `signatures` are (name, key id, signature)."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse_note(note: str, where: str) -> Note:
    """A C2SP signed note that is a checkpoint of three lines. Raises Wrong, naming what is not as it should be."""
    if len(note) > MAX_NOTE:
        raise Wrong(f"{where}: the checkpoint has {len(note)} characters, more than any")
    text, blank, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) != 3:
        raise Wrong(f"{where}: a checkpoint is three lines (log, size, root), a blank line and signatures")
    origin, size, root = lines
    if not _ORIGIN.fullmatch(origin):
        raise Wrong(f"{where}: the checkpoint's first line names no log: {shown(origin)}")
    if not _SIZE.fullmatch(size) or int(size) > MAX_NUMBER:
        raise Wrong(f"{where}: the checkpoint's size is no plain number: {shown(size)}")
    *signed, rest = signatures.split("\n")
    if rest or not signed:
        raise Wrong(f"{where}: the checkpoint's last line is not ended")
    raw_root = from_base64(root, f"{where}: the checkpoint's root")
    if len(raw_root) != 32:
        raise Wrong(f"{where}: the checkpoint's root has {len(raw_root)} bytes, not 32")
    return Note(origin, int(size), raw_root, f"{text}\n".encode(), tuple(_parse_signature(line, where) for line in signed))


def _parse_signature(line: str, where: str) -> tuple[str, bytes, bytes]:
    match = _SIGNATURE.fullmatch(line)
    if not match:
        raise Wrong(f"{where}: the checkpoint's signature line is not a dash, a name and base64: {shown(line)}")
    signed = from_base64(match[2], f"{where}: the checkpoint's signature")
    return match[1], signed[:4], signed[4:]


def key_id(name: str, key: bytes) -> bytes:
    """How a signed note names an Ed25519 key."""
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]


def is_signed(note: Note, key: bytes) -> bool:
    """The log itself signed the note with this key, and no signature that claims so is bad."""
    ours = [signature for name, by, signature in note.signatures if name == note.origin and by == key_id(note.origin, key)]
    return bool(ours) and all(verifies(key, signature, note.text) for signature in ours)


def verifies(key: bytes, signature: bytes, text: bytes) -> bool:
    """An Ed25519 signature is good."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def from_base64(text: str, what: str) -> bytes:
    """The bytes, of the one base64 text that stands for them. Raises Wrong."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Wrong(f"{what} is not base64: {shown(text)}") from error
    if base64.b64encode(data).decode() != text:
        raise Wrong(f"{what} is not the plain base64 of anything: {shown(text)}")
    return data


def fingerprint(key: bytes) -> str:
    """How people compare keys."""
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


# -- strict reading


def shown(value: object) -> str:
    """A value as a sentence may repeat it: short, and nothing in it that a terminal would obey."""
    text = value if isinstance(value, str) else repr(value)
    cut = text[:SHOWN] + ("..." if len(text) > SHOWN else "")
    return f"'{plain(cut)}'"


def plain(text: str) -> str:
    """`text` in visible characters; everything else as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text)


def parse_json(data: bytes, where: str) -> Any:
    """A JSON value without floats and without a key that comes twice. Raises Unusable."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_float=_no_float, parse_constant=_no_float)
    except UnicodeDecodeError as error:
        raise Unusable(f"{where}: this is not UTF-8 text") from error
    except RecursionError as error:
        raise Unusable(f"{where}: this JSON is nested too deep") from error
    except ValueError as error:
        raise Unusable(f"{where}: this is not the JSON of a proof, receipt or export: {shown(str(error))[1:-1]}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"no number here has a fraction or an exponent, and this one is {text[:SHOWN]}")


def take(value: object, where: str, **types: type) -> dict[str, Any]:
    """The object with exactly these fields, of these types; numbers are whole and fit 63 bits. Raises Wrong."""
    if not isinstance(value, dict):
        raise Wrong(f"{where}: expected an object, got {shown(value)}")
    for name in types:
        if name not in value:
            raise Wrong(f"{where}: the field {name} is missing")
    for name, found in value.items():
        if name not in types:
            raise Wrong(f"{where}: the field {shown(name)} is not known")
        if not isinstance(found, types[name]) or isinstance(found, bool):
            raise Wrong(f"{where}: the field {name} is {shown(found)}, not what belongs there")
        if isinstance(found, int) and not 0 <= found <= MAX_NUMBER:
            raise Wrong(f"{where}: the field {name} is {shown(found)}, which no journal counts to")
    return value


def take_hash(value: object, where: str) -> str:
    """A hash in lower-case hex. Raises Wrong."""
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise Wrong(f"{where}: expected 64 lower-case hex digits, got {shown(value)}")
    return value


def take_path(value: Sequence[object], where: str) -> list[bytes]:
    """The hashes of a path. Raises Wrong."""
    if len(value) > 130:
        raise Wrong(f"{where}: a path of {len(value)} hashes, more than any tree needs")
    return [bytes.fromhex(take_hash(each, f"{where}, hash {number}")) for number, each in enumerate(value, start=1)]


def take_key(value: str, where: str) -> bytes:
    """A raw public key in base64. Raises Wrong."""
    key = from_base64(value, f"{where}: the public key")
    if len(key) != 32:
        raise Wrong(f"{where}: the public key has {len(key)} bytes, not 32")
    return key


# -- what is found out


@dataclass(frozen=True)
class Head:
    """A checkpoint that a file brought, and the key whose signature it bears."""

    origin: str
    size: int
    root: bytes
    where: str
    key: bytes


@dataclass(frozen=True)
class KeyChange:
    """Entry `seq` brought in the key `new` in the place of `old`; `under` is the key of the head that it is proved by."""

    seq: int
    old: bytes
    new: bytes
    under: bytes


@dataclass
class Shown:
    """The entries of one order that a proof shows: order_seq -> (seq, hash)."""

    order_id: str
    size: int
    where: str
    entries: dict[int, tuple[int, str]]


@dataclass
class Report:
    """Everything that was checked, in sentences, and what does not hold."""

    checked: list[str] = field(default_factory=list)
    proves: list[str] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    orders: list[Shown] = field(default_factory=list)
    key_changes: list[KeyChange] = field(default_factory=list)
    exported_changes: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    exported: int = 0

    def say(self, part: list[str], sentence: str) -> None:
        """Add a sentence once."""
        if sentence not in part:
            part.append(sentence)


class Witness:
    """The lines of a witness file, in some forty bytes each: a busy venue has one for every few entries of a year."""

    def __init__(self, where: str) -> None:
        self.where, self.last = where, 0
        self._sizes, self._roots = array.array("q"), bytearray()

    def add(self, line: str, where: str) -> None:
        """One more line. Raises Wrong for one that is none, or that tells of no more entries than the one before it."""
        size, _, root = line.partition(" ")
        if not _SIZE.fullmatch(size) or int(size) > MAX_NUMBER or not _HASH.fullmatch(root):
            raise Wrong(f"{where}: a witness has lines SIZE ROOT, not {shown(line)}")
        if int(size) <= self.last:
            raise Wrong(f"{where}: it tells of {int(size):,} entries, and a line before it of {self.last:,}: a log only grows")
        self.last = int(size)
        self._sizes.append(self.last)
        self._roots += bytes.fromhex(root)

    def root(self, size: int) -> bytes | None:
        """The root that it saw of the tree of this size; None where it has no such line."""
        place = bisect.bisect_left(self._sizes, size)
        is_there = place < len(self._sizes) and self._sizes[place] == size
        return bytes(self._roots[32 * place : 32 * place + 32]) if is_there else None


@dataclass(frozen=True)
class Wanted:
    """A receipt to be found in a proof or an export; `seq` is 0 where it does not say where in the log it stands."""

    order_id: str
    order_seq: int
    hash: str
    seq: int = 0

    def __str__(self) -> str:
        return f"entry {self.order_seq} of {f'order {shown(self.order_id)}' if self.order_id else 'no order'} with hash {self.hash[:16]}..."


@dataclass(frozen=True)
class Pinned:
    """A key that was given: its raw bytes, or "sha256:..." of them; and the log that it was given for, "" where none was named."""

    key: bytes | str
    log: str = ""


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    files: tuple[str, ...]
    keys: tuple[Pinned, ...]
    checkpoints: tuple[str, ...]
    witnesses: tuple[str, ...]
    receipts: tuple[Wanted, ...]


@dataclass
class Case:
    """All that was given: documents are checked as they are read; exports wait until it is known what to hold them against."""

    asked: Asked
    open_files: ExitStack
    report: Report = field(default_factory=Report)
    exports: list[tuple[str, IO[bytes], bytes]] = field(default_factory=list)
    notes: list[tuple[str, Note]] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    receipts: list[Wanted] = field(default_factory=list)
    links: list[set[int]] = field(default_factory=list)


# -- proof files

_FILE: dict[str, type] = {"format": str, "origin": str, "key_changes": list}
_HEAD: dict[str, type] = {"size": int, "root": str, "checkpoint": str, "public_key": str}
_ENTRY: dict[str, type] = {name: int if name == "order_seq" else str for name in (*HASHED, "hash")}
_ROW: dict[str, type] = {"seq": int, **_ENTRY}
"""The fields of a file of ours, of a signed head, of an entry and of a line of an export."""


def check_head(found: Mapping[str, Any], where: str, report: Report) -> Head:
    """The signed head in a file: its fields agree with the note, and the file's own key signed that. Raises Wrong."""
    note, key = parse_note(found["checkpoint"], where), take_key(found["public_key"], where)
    if found["size"] != note.size:
        raise Wrong(f"{where}: it says a tree of {found['size']} entries, its checkpoint of {note.size}")
    if take_hash(found["root"], f"{where}, root") != note.root.hex():
        raise Wrong(f"{where}: the root is not that of its checkpoint")
    if not is_signed(note, key):
        raise Wrong(f"{where}: the checkpoint is not signed by the key {fingerprint(key)} in the file")
    head = Head(note.origin, note.size, note.root, where, key)
    report.heads.append(head)
    return head


def check_columns(columns: Mapping[str, Any], where: str) -> str:
    """The hash of an entry, which is what its columns make. Raises Wrong."""
    stated = take_hash(columns["hash"], f"{where}, hash")
    take_hash(columns["prev_hash"], f"{where}, prev_hash")
    try:
        found = entry_hash(columns)
    except ValueError as error:
        raise Wrong(f"{where}: its text cannot be written as UTF-8") from error
    if found != stated:
        raise Wrong(f"{where}: what it says does not make its hash: it was changed")
    return found


def check_entry(value: object, where: str, head: Head) -> tuple[int, dict[str, Any]]:
    """Position and columns of an entry that is in the tree of `head`. Raises Wrong."""
    entry = take(value, where, seq=int, columns=dict, path=list)
    columns, seq = take(entry["columns"], where, **_ENTRY), entry["seq"]
    check_columns(columns, where)
    check_inclusion(columns["hash"], seq, head, take_path(entry["path"], f"{where}, path"), where)
    return seq, columns


def check_inclusion(hash_: str, seq: int, head: Head, path: Sequence[bytes], where: str) -> None:
    """The entry with this hash stands at `seq` in the tree of `head`. Raises Wrong."""
    if not 0 < seq <= head.size:
        raise Wrong(f"{where}: it stands at {seq}, and the checkpoint covers 1 to {head.size}")
    try:
        root = root_by_inclusion(hash_, seq - 1, head.size, path)
    except Wrong as error:
        raise Wrong(f"{where}: {error}") from error
    if root != head.root:
        raise Wrong(f"{where}: its path does not lead from its hash at {seq} to the signed root")


def check_proof(document: object, where: str, report: Report) -> None:
    """A proof of an order. Raises Wrong."""
    found = take(document, where, order_id=str, entries=list, **_FILE, **_HEAD)
    head = check_head(found, where, report)
    _same_origin(found["origin"], head, where)
    order_id, entries = found["order_id"], found["entries"]
    if not order_id or not entries:
        raise Wrong(f"{where}: it names no order, or shows no entry of it")
    previous, last_seq, shown_entries, listed = ZERO_HASH, 0, {}, [f"  {where}: order {shown(order_id)}"]
    for number, value in enumerate(entries, start=1):
        at = f"{where}, entry {number}"
        seq, columns = check_entry(value, at, head)
        if columns["order_id"] != order_id:
            raise Wrong(f"{at}: it belongs to order {shown(columns['order_id'])}, not to {shown(order_id)}")
        if columns["order_seq"] != number:
            raise Wrong(f"{at}: it is entry {columns['order_seq']} of the order, so entry {number} is missing here or comes twice")
        if columns["prev_hash"] != previous or seq <= last_seq:
            raise Wrong(f"{at}: it does not follow the entry before it")
        previous, last_seq = columns["hash"], seq
        shown_entries[number] = (seq, columns["hash"])
        listed += _listed(columns, seq)
    check_key_changes(found["key_changes"], where, head, report)
    report.listed += listed
    report.orders.append(Shown(order_id, head.size, where, shown_entries))
    _say_proof(order_id, len(entries), head, where, report)


def _listed(columns: Mapping[str, Any], seq: int) -> Iterator[str]:
    """What happened in a line, and the facts in another."""
    moved = f"{columns['from_state'] or '*'} -> {columns['to_state']}" if columns["to_state"] else ""
    words = (columns["machine"].partition("@")[0] or columns["kind"], columns["trigger"], moved, columns["payment_intent_id"])
    happened = " ".join(word for word in words if word)
    yield plain(f"  #{columns['order_seq']:<4} {seq:>8}  {columns['at']}  {happened}  [{columns['actor']}; {columns['cause']}]")
    if (body := columns["body"]) != "{}":
        yield plain(f"{' ' * 17}{body[:BODY_SHOWN]}{'...' if len(body) > BODY_SHOWN else ''}")


def _same_origin(origin: str, head: Head, where: str) -> None:
    if origin != head.origin:
        raise Wrong(f"{where}: it speaks of the log {shown(origin)}, its checkpoint of {shown(head.origin)}")


def _say_proof(order_id: str, count: int, head: Head, where: str, report: Report) -> None:
    report.checked += [
        f"{where}: {_number(count, 'entry', 'entries')} of order {shown(order_id)}: each one's hash is what its columns make",
        f"{where}: each names the hash of the one before it, from order_seq 1 to {count} without a gap",
        f"{where}: each one's path leads to the root of the tree of {head.size:,} entries",
    ]
    report.proves += [
        f"{where}: these {_number(count, 'entry', 'entries')} of order {shown(order_id)} stood in the log of {head.size:,} entries when "
        "its head was signed, byte for byte as the file has them; none between the first and the last was taken out, changed or put in.",
    ]


def check_key_changes(values: Sequence[object], where: str, head: Head, report: Report) -> None:
    """The entries by which one key signed the next one in. Raises Wrong."""
    for number, value in enumerate(values, start=1):
        at = f"{where}, key change {number}"
        seq, columns = check_entry(value, at, head)
        old, new = check_key_change(columns, seq, head.origin, at)
        report.key_changes.append(KeyChange(seq, old, new, head.key))


def is_key_change(columns: Mapping[str, Any]) -> bool:
    """An entry that brings in another key to sign with."""
    return (columns["order_id"], columns["kind"], columns["trigger"]) == ("", "operator", "rotate_key")


def check_key_change(columns: Mapping[str, Any], seq: int, origin: str, where: str) -> tuple[bytes, bytes]:
    """Old and new key of an entry that brings a key in: both have signed that. Raises Wrong."""
    if not is_key_change(columns):
        raise Wrong(f"{where}: this entry brings no key in")
    try:
        facts = parse_json(columns["body"].encode(), where)
    except (Unusable, ValueError) as error:
        raise Wrong(f"{where}: its body is no JSON") from error
    told = {name: facts.get(name) if isinstance(facts, dict) else None for name in ("old_key", "new_key", "old_signature", "new_signature")}
    for name, value in told.items():
        if not isinstance(value, str):
            raise Wrong(f"{where}: its body lacks {name}")
    old, new = (take_key(str(told[name]), where) for name in ("old_key", "new_key"))
    statement = f"tillproof key rotation\n{origin}\n{seq}\n{told['old_key']}\n{told['new_key']}\n".encode()
    for key, name in ((old, "old_signature"), (new, "new_signature")):
        if not verifies(key, from_base64(str(told[name]), f"{where}: {name}"), statement):
            raise Wrong(f"{where}: {name} is not by the key {fingerprint(key)}")
    return old, new


# -- consistency and receipt files


def check_consistency(document: object, where: str, report: Report) -> set[int]:
    """A consistency proof of two checkpoints; the two sizes. Raises Wrong."""
    found = take(document, where, old=dict, new=dict, path=list, **_FILE)
    old = check_head(take(found["old"], f"{where}, old", **_HEAD), f"{where}, old", report)
    new = check_head(take(found["new"], f"{where}, new", **_HEAD), f"{where}, new", report)
    for head in (old, new):
        _same_origin(found["origin"], head, where)
    path = take_path(found["path"], f"{where}, path")
    if old.size > new.size:
        raise Wrong(f"{where}: the old tree has {old.size} entries, more than the new one with {new.size}")
    if 0 < old.size < new.size:
        roots = roots_by_consistency(old.size, new.size, old.root, path)
    elif path:
        raise Wrong(f"{where}: the consistency path is too long")
    else:
        roots = (Tree().root() if old.size == 0 else new.root, new.root)
    if roots != (old.root, new.root):
        raise Wrong(f"{where}: the tree of {new.size} entries does not begin with the tree of {old.size}: the log was rewritten")
    check_key_changes(found["key_changes"], where, new, report)
    report.checked.append(f"{where}: the path leads from the root of {old.size:,} entries to the root of {new.size:,}")
    report.proves.append(
        f"The log of {new.size:,} entries begins with the very log of {old.size:,} entries that was signed before: none of those was "
        "changed, taken out or put in between."
    )
    return {old.size, new.size}


def check_receipt(document: object, where: str, report: Report) -> Wanted:
    """A receipt with its entry, and that one's place in the log. Raises Wrong."""
    found = take(document, where, order_id=str, order_seq=int, hash=str, entry=dict, **_FILE, **_HEAD)
    head = check_head(found, where, report)
    _same_origin(found["origin"], head, where)
    seq, columns = check_entry(found["entry"], f"{where}, entry", head)
    for name in ("order_id", "order_seq", "hash"):
        if found[name] != columns[name]:
            raise Wrong(f"{where}: its {name} is {shown(found[name])}, and that of its entry {shown(columns[name])}")
    check_key_changes(found["key_changes"], where, head, report)
    receipt = Wanted(columns["order_id"], columns["order_seq"], columns["hash"], seq)
    report.checked.append(f"{where}: its entry's hash is what its columns make, and leads to the root of the tree of {head.size:,} entries")
    report.proves.append(f"What was acknowledged, {receipt}, stood in the log at {seq:,} when its head was signed, byte for byte.")
    report.listed += [f"  {where}: the entry of the receipt", *_listed(columns, seq)]
    return receipt


def read_receipt(value: object, where: str) -> Wanted:
    """What a receipt stands for, as an answer's header has it or a receipt file, which proves itself only as a FILE. Raises Wrong."""
    if isinstance(value, dict) and value.get("format") == RECEIPT:
        value = {name: value.get(name) for name in ("order_id", "order_seq", "hash")}
    found = take(value, where, order_id=str, order_seq=int, hash=str)
    return Wanted(found["order_id"], found["order_seq"], take_hash(found["hash"], f"{where}, hash"))


# -- exports


@dataclass
class Export:
    """An export as far as it was read: the tree, where each order's chain ends, and what somebody asked to see of it.

    `compared` counts the roots that were found in it, by where they are known from.
    """

    tree: Tree
    ends: dict[str, tuple[int, str]]
    seen: dict[str, dict[int, tuple[int, str]]]
    signed: int = 0
    witnessed: int = 0
    compared: dict[str, int] = field(default_factory=dict)


def check_export(rows: Iterable[tuple[str, Mapping[str, Any]]], where: str, case: Case) -> None:
    """A whole export: every hash, every order's chain, and each known root as the tree grows. Raises Wrong, Unusable."""
    report, heads = case.report, _known_heads(case)
    origin = next((found[0].origin for found in heads.values()), "")
    wanted = {order.order_id for order in report.orders} | {receipt.order_id for receipt in case.receipts}
    export = Export(Tree(), {}, {order_id: {} for order_id in wanted})
    for at, columns in _counted(rows):
        _follow(export, columns, at)
        if origin and is_key_change(columns):
            report.exported_changes.append((columns["seq"], *check_key_change(columns, columns["seq"], origin, at)))
        for head in heads.pop(export.tree.size, ()):
            _compare_root(export, head.root, f"the checkpoint in {head.where}", where)
            export.signed = export.tree.size
        for witness in case.witnesses:
            if root := witness.root(export.tree.size):
                _compare_root(export, root, f"the witness {witness.where}", where)
                export.witnessed = export.tree.size
    _refuse_shorter(export.tree.size, heads, where, case)
    report.exported = max(report.exported, export.signed)
    report.orders += [Shown(order_id, export.tree.size, where, entries) for order_id, entries in export.seen.items()]
    _say_export(export, where, report, case.witnesses)


def _counted(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows; how many there were so far stands on a terminal meanwhile."""
    is_shown = sys.stderr.isatty()
    try:
        for number, row in enumerate(rows, start=1):
            if is_shown and number % COUNTED == 0:
                sys.stderr.write(f"\r{number:,} entries")
                sys.stderr.flush()
            yield row
    finally:
        if is_shown:
            sys.stderr.write("\r" + " " * WIDTH + "\r")


def _known_heads(case: Case) -> dict[int, list[Head]]:
    """size -> the heads that an export is held against when it has come so far."""
    heads: dict[int, list[Head]] = {}
    # Whose key signed a note that came alone is asked once all keys are known.
    for head in (*(Head(note.origin, note.size, note.root, where, b"") for where, note in case.notes), *case.report.heads):
        heads.setdefault(head.size, []).append(head)
    if not heads and not case.witnesses:
        raise Unusable("an export is held against a signed checkpoint or a witness: give --checkpoint FILE or --witness FILE")
    heads.pop(0, None)  # Every log begins with nothing.
    return heads


def _compare_root(export: Export, root: bytes, source: str, where: str) -> None:
    if root != export.tree.root():
        raise Wrong(f"{where}: its first {export.tree.size:,} entries are not those of {source}: something in them was changed")
    export.compared[source] = export.compared.get(source, 0) + 1


def _refuse_shorter(size: int, heads: Mapping[int, list[Head]], where: str, case: Case) -> None:
    """What nothing was found for: an export must come as far as each checkpoint, a witness merely goes on. Raises Wrong."""
    for longer in sorted(heads):
        other = f"the checkpoint in {heads[longer][0].where} is about {longer:,}"
        raise Wrong(f"{where}: it has {size:,} entries, and {other}: its end is missing, or it was made earlier; have it made anew")
    for witness in case.witnesses:
        if witness.last > size:
            goes_on = f"the witness {witness.where} goes on to {witness.last:,} entries."
            case.report.say(case.report.cannot, f"Whether {where} was cut off at its end, or is merely older: {goes_on}")


def _say_export(export: Export, where: str, report: Report, witnesses: Sequence[Witness]) -> None:
    size, chains = export.tree.size, _number(len(export.ends), "chain", "chains")
    report.checked.append(f"{where}: {_number(size, 'entry', 'entries')} in {chains}: every hash, and every chain from its first entry on")
    for source, count in export.compared.items():
        roots = "the root" if count == 1 else f"each of {count:,} roots"
        report.checked.append(f"{where}: its entries make {roots} in {source}")
    goes_on = any(witness.last > size for witness in witnesses)
    for covered, by, is_all in ((export.signed, "was signed", True), (export.witnessed, "the witness saw", not goes_on)):
        if covered and not is_all:
            report.proves.append(f"The first {covered:,} entries of {where} are those that {by} first, byte for byte; it saw more.")
        elif covered and covered == size:
            report.proves.append(f"{where} is the whole log that {by}, byte for byte: no entry is missing, changed, swapped or added.")
        elif covered:
            report.proves.append(f"The first {covered:,} entries of {where} are the whole log that {by}, byte for byte.")
    if not export.signed:
        report.cannot.append(f"Who wrote {where}: no signed checkpoint was given with it (--checkpoint).")
    if last := size - max(export.signed, export.witnessed):
        report.cannot.append(f"That the last {_number(last, 'entry', 'entries')} of {where} will stay: nothing given here covers them yet.")


def _follow(export: Export, columns: Mapping[str, Any], where: str) -> None:
    """One more entry. Raises Wrong."""
    seq, order_id, order_seq = columns["seq"], columns["order_id"], columns["order_seq"]
    if seq != export.tree.size + 1:
        raise Wrong(f"{where}: it stands at {seq}, after {export.tree.size}: entries are missing, swapped, or come twice")
    last_seq, last_hash = export.ends.get(order_id, (0, ZERO_HASH))
    check_columns(columns, where)
    if order_seq != last_seq + 1 or columns["prev_hash"] != last_hash:
        raise Wrong(f"{where}: it does not follow entry {last_seq} of order {shown(order_id)}")
    export.ends[order_id] = (order_seq, columns["hash"])
    export.tree.add(columns["hash"])
    if order_id in export.seen:
        export.seen[order_id][order_seq] = (seq, columns["hash"])


def json_rows(stream: IO[bytes], first: bytes, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of an export in JSON Lines. Raises Wrong."""
    for number, line in enumerate(itertools.chain([first], iter(lambda: stream.readline(MAX_LINE), b"")), start=1):
        at = f"{where}, line {number}"
        if not line.endswith(b"\n"):
            raise Wrong(f"{at}: it is cut off, or longer than any entry")
        try:
            row = take(parse_json(line, at), at, **{**_ROW, "body": dict})
        except Unusable as error:
            raise Wrong(str(error)) from error
        yield at, {**row, "body": _canonical(row["body"], at)}


def _canonical(body: object, where: str) -> str:
    try:
        return canonical(body)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{where}: its body is no JSON that can be hashed") from error


def csv_rows(stream: IO[bytes], first: bytes, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of an export in CSV. An apostrophe before what a spreadsheet would compute is taken off again. Raises Wrong."""
    csv.field_size_limit(MAX_LINE)
    lines = itertools.chain([first], iter(lambda: stream.readline(MAX_LINE), b""))
    try:
        rows = csv.reader((line.decode("utf-8") for line in lines), strict=True)
        if tuple(next(rows)) != COLUMNS:
            raise Wrong(f"{where}, line 1: these are not the columns of an export: {', '.join(COLUMNS)}")
        for number, row in enumerate(rows, start=2):
            at = f"{where}, row {number}"
            if len(row) != len(COLUMNS):
                raise Wrong(f"{at}: it has {len(row)} columns, not {len(COLUMNS)}")
            yield at, _undefused(dict(zip(COLUMNS, row, strict=True)), at)
    except UnicodeDecodeError as error:
        raise Wrong(f"{where}: this is not UTF-8 text") from error
    except csv.Error as error:
        raise Wrong(f"{where}: this is not CSV: {error}") from error


def _undefused(row: dict[str, str], where: str) -> dict[str, Any]:
    """The entry as it was before texts were defused: of the few that it can have been, that which makes its hash."""
    numbers = {}
    for name in ("seq", "order_seq"):
        if not _SIZE.fullmatch(row[name]) or int(row[name]) > MAX_NUMBER:
            raise Wrong(f"{where}: {name} is no plain number: {shown(row[name])}")
        numbers[name] = int(row[name])
    read: dict[str, Any] = {**row, **numbers}
    doubtful = [name for name in HASHED if row[name].startswith("'") and row[name][1:].startswith(FORMULA)]
    for count in range(len(doubtful), -1, -1):
        for names in itertools.combinations(doubtful, count):
            trial = {**read, **{name: row[name][1:] for name in names}}
            if entry_hash(trial) == row["hash"]:
                return trial
    return read


def read_witness(path: str) -> Witness:
    """A witness file; a line that is cut off at the end is no line yet. Raises Unusable, Wrong."""
    found = Witness(plain(path))
    with opened(path) as stream:
        lines = enumerate(iter(lambda: stream.readline(MAX_NOTE), b""), start=1)
        for number, line in lines:
            if line.endswith(b"\n") and not line.startswith(b"\0"):  # A power cut leaves zeros where the disk did not get a line.
                found.add(line[:-1].decode("ascii", "replace"), f"{plain(path)}, line {number}")
    if not found.last:
        raise Unusable(f"{plain(path)} is no witness: it has no whole line SIZE ROOT")
    return found


# -- all files together


def opened(path: str) -> IO[bytes]:
    """The file, or standard input for `-`. Raises Unusable."""
    try:
        return sys.stdin.buffer if path == "-" else open(path, "rb")
    except (OSError, ValueError) as error:
        raise Unusable(f"{plain(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def check(asked: Asked) -> Report:
    """Check every file, then hold them against each other; stops at the first thing that does not hold. Raises Unusable."""
    with ExitStack() as stack:
        return _check(Case(asked, stack, receipts=[*asked.receipts]))


def _check(case: Case) -> Report:
    asked, report = case.asked, case.report
    try:
        case.witnesses += map(read_witness, asked.witnesses)
        for path in (*asked.files, *asked.checkpoints):
            _read(path, case)
        for path, stream, first in case.exports:
            rows = csv_rows if first.startswith(b"seq,") else json_rows
            check_export(rows(stream, first, path), path, case)
        for where, note in case.notes:
            report.heads.append(_signed_by_somebody(note, where, case))
        _compare_heads(report)
        _compare_witnesses(case)
        _trust(case)
        _compare_orders(case)
        _find_receipts(case)
        _connect(case)
    except Wrong as wrong:
        report.problems.append(str(wrong))
    _say_limits(case)
    return report


def _read(path: str, case: Case) -> None:
    """Find out what a file is, and check it if it is a document."""
    stream, where = case.open_files.enter_context(opened(path)), plain(path)
    try:
        first = stream.readline(MAX_DOCUMENT + 1)
        if first.startswith(b"seq,"):
            case.exports.append((where, stream, first))
        elif first[:1] not in (b"{", b"["):
            case.notes.append((where, parse_note(_as_note(first + stream.read(MAX_NOTE * 4), where), where)))
        elif _is_entry(first):
            case.exports.append((where, stream, first))
        else:
            data = first + stream.read(MAX_DOCUMENT + 1)
            if len(data) > MAX_DOCUMENT:
                raise Unusable(f"{where}: a proof of more than {MAX_DOCUMENT:,} bytes is not read")
            _check_document(parse_json(data, where), where, case)
    except OSError as error:
        raise Unusable(f"{where} cannot be read: {error.strerror}") from error


def _is_entry(line: bytes) -> bool:
    """A line of an export in JSON Lines: it stands alone, and is no document of ours."""
    try:
        found = parse_json(line, "")
    except Unusable:
        return False
    return isinstance(found, dict) and "seq" in found and "format" not in found


def _as_note(data: bytes, where: str) -> str:
    if not data:
        raise Unusable(f"{where} is empty")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unusable(f"{where} is none of the files that can be checked here") from error
    if "\n\n\u2014 " not in note:
        raise Unusable(f"{where} is none of the files that can be checked here: no proof, receipt, export or signed checkpoint")
    return note


def _check_document(document: Any, where: str, case: Case) -> None:
    kind = document.get("format") if isinstance(document, dict) else None
    if kind == PROOF:
        check_proof(document, where, case.report)
    elif kind == CONSISTENCY:
        case.links.append(check_consistency(document, where, case.report))
    elif kind == RECEIPT:
        case.receipts.append(check_receipt(document, where, case.report))
    elif not kind and isinstance(document, dict) and (several := document.get("data")) and isinstance(several, list):
        for number, each in enumerate(several, start=1):  # All of an order, as they are printed.
            case.receipts.append(check_receipt(each, f"{where}, receipt {number}", case.report))
    else:
        said = f"its format is {shown(kind)}" if kind else "it does not say its format"
        raise Unusable(f"{where} is none of the files that can be checked here: {said}")


def _signed_by_somebody(note: Note, where: str, case: Case) -> Head:
    """The head of a note that came alone, by whichever key is at hand. Raises Wrong."""
    known = [pinned.key for pinned in case.asked.keys if isinstance(pinned.key, bytes)]
    known += [head.key for head in case.report.heads] + [change.new for change in case.report.key_changes]
    known += [key for _, old, new in case.report.exported_changes for key in (old, new)]
    for key in known:
        if is_signed(note, key):
            case.report.checked.append(f"{where}: the checkpoint of {note.size:,} entries is signed")
            return Head(note.origin, note.size, note.root, where, key)
    if not known:
        needed = "the key itself with --key, its SHA-256 checks no signature" if case.asked.keys else "--key KEY to check its signature"
        raise Unusable(f"{where} brings no key: give {needed}")
    raise Wrong(f"{where}: the checkpoint is signed by none of the keys that were given")


def _compare_heads(report: Report) -> None:
    """All heads are of one log, and two of one size are one. Raises Wrong."""
    by_size: dict[int, Head] = {}
    for head in report.heads:
        first = report.heads[0]
        if head.origin != first.origin:
            raise Wrong(f"{head.where} is about the log {shown(head.origin)}, {first.where} about {shown(first.origin)}")
        other = by_size.setdefault(head.size, head)
        if other.root != head.root:
            raise Wrong(
                f"{head.where} and {other.where} are signed heads of {head.size:,} entries with different roots: two logs were kept"
            )


def _compare_witnesses(case: Case) -> None:
    """Every witness has the roots of the heads. Raises Wrong."""
    report = case.report
    for witness in case.witnesses:
        for head in report.heads:
            root = witness.root(head.size)
            if root is None:
                seen = f"Whether the witness {witness.where} saw the tree of {head.size:,} entries: it has no line of that size."
                report.say(report.cannot, seen)
            elif root != head.root:
                raise Wrong(f"{head.where}: the witness {witness.where} saw another tree of {head.size:,} entries")
            else:
                report.say(report.checked, f"{head.where}: the witness {witness.where} saw the same tree of {head.size:,} entries")


# -- whose keys


def _trust(case: Case) -> None:
    """Each head is signed by a key that was given, or one that such a key leads to, while it was in force. Raises Wrong."""
    report = case.report
    for seq, old, new in report.exported_changes:
        report.key_changes += [KeyChange(seq, old, new, head.key) for head in report.heads if seq <= head.size <= report.exported]
    for head in report.heads:
        report.say(
            report.checked, f"{head.where}: the checkpoint of {head.origin}, {head.size:,} entries, is signed by {fingerprint(head.key)}"
        )
        for change in report.key_changes:
            if (change.old == head.key and head.size > change.seq) or (change.new == head.key and head.size <= change.seq):
                raise Wrong(
                    f"{head.where}: at {head.size:,} entries another key signs than {fingerprint(head.key)}: see entry {change.seq:,}"
                )
    _refuse_forked_keys(report.key_changes)
    if not (case.asked.keys and report.heads):  # Where nothing is signed, a key says nothing.
        return
    trusted, logs = _trusted(case), {pinned.log for pinned in case.asked.keys if pinned.log}
    for head in report.heads:
        if logs and head.origin not in logs:
            raise Wrong(
                f"{head.where}: it is about the log {shown(head.origin)}, and the key that you gave is for {', '.join(sorted(logs))}"
            )
        if head.key not in trusted:
            raise Wrong(
                f"{head.where}: it is signed by {fingerprint(head.key)}, which is not the key that you gave, nor one that it signed in"
            )
    report.proves.append("Each head was signed by whoever has the key that you gave, or a key which that one signed in.")


def _refuse_forked_keys(changes: Iterable[KeyChange]) -> None:
    """A key is followed by one other. Raises Wrong."""
    by_old: dict[bytes, KeyChange] = {}
    for change in changes:
        other = by_old.setdefault(change.old, change)
        if (other.seq, other.new) != (change.seq, change.new):
            places = f"at entry {other.seq:,} and at entry {change.seq:,}"
            raise Wrong(f"the key {fingerprint(change.old)} signed in two others, {places}: two logs were kept")


def _trusted(case: Case) -> set[bytes]:
    """The keys that were given, and those that they lead to by changes that they signed or that stand in what they signed."""
    report = case.report
    there = {head.key for head in report.heads} | {key for change in report.key_changes for key in (change.old, change.new)}
    trusted = {key for key in there for pinned in case.asked.keys if pinned.key in (key, fingerprint(key))}
    while True:
        found = {change.new for change in report.key_changes if change.old in trusted}
        found |= {change.old for change in report.key_changes if change.new in trusted and change.under in trusted}
        if found <= trusted:
            return trusted
        trusted |= found


# -- orders, receipts and kept checkpoints


def _compare_orders(case: Case) -> None:
    """Files about one order have the same entries of it, as far as the log of each goes. Raises Wrong."""
    report, exports = case.report, {where for where, _, _ in case.exports}
    for one, other in itertools.permutations(report.orders, 2):
        if one.order_id != other.order_id:
            continue
        for number, (seq, hash_) in other.entries.items():
            if seq <= one.size and one.entries.get(number) != (seq, hash_):
                is_there = f"entry {number} of order {shown(one.order_id)}, which {other.where} has at {seq:,}"
                raise Wrong(f"{one.where}: {is_there}, is left out or another one")
        if other.where in exports and one.where not in exports:
            nothing = "but those shown: nothing was left out."
            report.say(report.proves, f"Order {shown(one.order_id)} has no entry among the first {one.size:,} {nothing}")


def _find_receipts(case: Case) -> None:
    """Each receipt's entry is in what was given of its order, but for files that are older than it. Raises Wrong."""
    for receipt in case.receipts:
        orders = [order for order in case.report.orders if order.order_id == receipt.order_id]
        found = [order for order in orders if _has(order, receipt)]
        for order in orders if not found else ():  # Where one has it, another that should have it as well was refused above.
            if receipt.seq <= order.size:
                end = f"its last is entry {max(order.entries, default=0)}. It was cut off, unless it was made before the receipt"
                raise Wrong(f"{order.where}: it lacks {receipt}, for which there is a receipt; {end}")
        _say_receipt(receipt, orders, found, case)


def _has(order: Shown, receipt: Wanted) -> bool:
    """The receipt's entry is there. Raises Wrong where another one is in its place."""
    _, hash_ = order.entries.get(receipt.order_seq, (0, ""))
    if hash_ and hash_ != receipt.hash:
        raise Wrong(f"{order.where}: its entry {receipt.order_seq} is not the one of the receipt: {receipt}")
    return bool(hash_)


def _say_receipt(receipt: Wanted, orders: Sequence[Shown], found: Sequence[Shown], case: Case) -> None:
    report = case.report
    for order in orders:
        if order in found:
            report.say(report.checked, f"{order.where}: it has {receipt}, for which there is a receipt")
        else:
            report.say(report.cannot, f"That {receipt} is in {order.where}: that file is older than the receipt.")
    if found:
        report.say(report.proves, f"What was acknowledged by the receipt of {receipt} is in the log.")
    elif not orders and (report.orders or receipt in case.asked.receipts):
        raise Wrong(f"nothing here is about {receipt}, for which there is a receipt")


def _connect(case: Case) -> None:
    """Whether all heads are of one log as it grew; one that was kept elsewhere must be connected with what was given. Raises Wrong."""
    report, kept = case.report, set(map(plain, case.asked.checkpoints))
    groups = [{head.size for head in report.heads if head.size <= report.exported}, *case.links]
    for head in report.heads:
        reached = {head.size}
        for _ in groups:
            reached |= {size for group in groups if group & reached for size in group}
        for other in report.heads:
            if other.size < head.size and other.size not in reached:
                then = f"give the file of tillproof journal consistency {other.size} {head.size} as well"
                if (head.where in kept) != (other.where in kept):
                    apart = f"{head.where} is about {head.size:,} entries, and nothing connects it with the {other.size:,} of {other.where}"
                    raise Wrong(f"{apart}: {then}")
                grew = f"That the log of {head.size:,} entries grew from that of {other.size:,}"
                report.say(report.cannot, f"{grew}: nothing here connects them, {then}.")
    if kept and not {head.where for head in report.heads} <= kept:
        report.proves.append("It is the log of the checkpoint that you kept, or what grew from it.")


# -- what is said at the end

ALWAYS = (
    "That what was recorded did happen, or that all that happened was recorded: it shows what the journal says, unchanged since.",
    "When: the times are those of the machine that wrote them. An entry is older than any checkpoint or witness line that covers it.",
)


def _say_limits(case: Case) -> None:
    """What no check here can prove, for these files."""
    report, asked = case.report, case.asked
    is_witnessed = any(witness.root(head.size) for witness in case.witnesses for head in report.heads)
    if report.heads:
        report.cannot[:0] = _of_the_key(report, asked, is_witnessed=is_witnessed)
    if report.orders and not case.exports:
        report.cannot.append(
            "That the order has no other entry: a proof shows a beginning, and its end may be left out. A whole export beside it "
            "(tillproof journal export) shows that, and so does a receipt of what came last."
        )
    if report.heads and not is_witnessed and not asked.checkpoints:
        report.cannot.append(
            "That nobody was shown another log by the same key: compare with a checkpoint or a witness that was kept elsewhere "
            "(--checkpoint, --witness)."
        )
    report.cannot.extend(ALWAYS)


def _of_the_key(report: Report, asked: Asked, *, is_witnessed: bool) -> Iterator[str]:
    """What a signature leaves open."""
    if not asked.keys:
        keys = ", ".join(sorted({fingerprint(head.key) for head in report.heads}))
        yield (
            f"Who signed: the key is the one in the file itself ({keys}), so only agreement with that key is shown. Whoever made the file "
            "may have made the key: give --key with the venue's key as you know it from elsewhere."
        )
        return
    if not any(pinned.log for pinned in asked.keys):
        yield (
            f"That this is the log you mean: a key can sign several, and this is {report.heads[0].origin}. Compare the name, or give the "
            "key with it (tillproof journal key)."
        )
    if not is_witnessed:
        yield "Who had the key: whoever else has it, or one that was retired, can sign too. A witness (--witness) shows that."


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def lines(report: Report, asked: Asked) -> Iterator[str]:
    """The report for a person."""
    if report.problems:
        yield "IT DOES NOT HOLD."
        yield from map(_wrapped, report.problems)
        if report.checked:
            yield "Before that, this was checked"
            yield from map(_wrapped, report.checked)
        return
    is_unpinned = report.heads and not asked.keys
    yield "It holds, if the key is the venue's: it is the file's own, give --key to know." if is_unpinned else "It holds."
    for title, sentences in (
        ("What was checked", report.checked),
        ("What that proves", report.proves),
        ("What it cannot prove", report.cannot),
        ("The entries", report.listed),
    ):
        if sentences:
            yield ""
            yield title
            yield from map(_wrapped if sentences is not report.listed else str, sentences[:LISTED])
        if len(sentences) > LISTED:
            yield f"  and {len(sentences) - LISTED:,} more"


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def as_json(report: Report, asked: Asked) -> dict[str, object]:
    """The report for a program."""
    return {
        "ok": not report.problems,
        "key_pinned": bool(asked.keys),
        "heads": [
            {"origin": head.origin, "size": head.size, "root": head.root.hex(), "key": fingerprint(head.key), "file": head.where}
            for head in report.heads
        ],
        "checked": report.checked,
        "proves": [] if report.problems else report.proves,
        "cannot_prove": [] if report.problems else report.cannot,
        "problems": report.problems,
    }


# -- the command line


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = argparse.Namespace(json=False)
    try:
        options = _parser().parse_intermixed_args(words)
        asked = _asked(options)
        report = check(asked)
    except (Unusable, Wrong, OSError) as error:
        return _end_unusable(str(error), options.json)
    except (MemoryError, RecursionError) as error:
        return _end_unusable(f"this is too large or too deep to be checked here ({type(error).__name__})", options.json)
    if options.json:
        _write(json.dumps(as_json(report, asked), indent=2))
    else:
        _write("\n".join(lines(report, asked)))
    return FOUND if report.problems else FINE


def _write(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # Whoever reads has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_unusable(message: str, in_json: bool) -> int:
    if in_json:
        _write(json.dumps({"ok": False, "error": message}))
    sys.stderr.write(f"Error: {message}\nNext: {_PROGRAM} --help\n")
    return USAGE


class _Parser(argparse.ArgumentParser):
    """One whose help opens with an example, and that says what to do next."""

    def format_help(self) -> str:
        return f"Example: {self.prog} proof.json --key venue.pub --receipt receipt.json\n\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        raise Unusable(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Check what Tillproof proves, with nothing of Tillproof's. Ends with 0 if all of it holds, 1 if something does not, 2 "
        "if it was not understood or a file cannot be used.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="proof, consistency proof, receipts, whole export or checkpoint; - reads stdin"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        help="the key that you trust: NAME+ID+BASE64 as tillproof journal key prints it, base64, sha256:HEX of its 32 bytes, PEM, or a "
        "file with one of these",
    )
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a signed checkpoint that was kept elsewhere")
    parser.add_argument(
        "--witness", action="append", default=[], metavar="FILE", help="a witness file that was kept elsewhere: lines SIZE ROOT"
    )
    parser.add_argument(
        "--receipt", action="append", default=[], metavar="RECEIPT", help="a receipt that must be there: a file, or its JSON itself"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _asked(options: argparse.Namespace) -> Asked:
    return Asked(
        files=tuple(options.files),
        keys=tuple(_given_key(text) for text in options.key),
        checkpoints=tuple(options.checkpoint),
        witnesses=tuple(options.witness),
        receipts=tuple(receipt for text in options.receipt for receipt in _given_receipts(text)),
    )


def _given_key(text: str) -> Pinned:
    """A key as people keep it. Raises Unusable."""
    if not _IS_KEY.match(text) and os.path.exists(text):
        with opened(text) as stream:
            text = stream.read(MAX_NOTE).decode("utf-8", "replace")
    text = text.strip()
    if match := _FINGERPRINT.fullmatch(text):
        return Pinned(f"sha256:{match[1].lower()}")
    if text.startswith("-----BEGIN"):
        return Pinned(_pem_key(text))
    try:
        return _named_key(*named.groups()) if (named := _NAMED_KEY.fullmatch(text)) else Pinned(take_key(text, "--key"))
    except Wrong as error:
        expected = "base64 of an Ed25519 key, NAME+ID+BASE64, sha256:HEX, PEM, or a file with one of these"
        raise Unusable(f"--key: expected {expected}, got {shown(text)}: {error}") from error


def _named_key(log: str, id_: str, data: str) -> Pinned:
    """As C2SP writes a key for verifiers: the log that it signs, its id there, and a byte for Ed25519 before the key. Raises Wrong."""
    raw = from_base64(data, "its last part")
    if raw[:1] != b"\x01" or len(raw) != 33 or key_id(log, raw[1:]).hex() != id_:
        raise Wrong("this is no Ed25519 key, or its name, id and key do not belong together")
    return Pinned(raw[1:], log)


def _pem_key(text: str) -> bytes:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable("--key: this PEM is no public key (a private one has no business here)") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Unusable("--key: this PEM is a public key of another kind, not Ed25519")
    return key.public_bytes_raw()


def _given_receipts(text: str) -> Iterator[Wanted]:
    """The receipts in a file, or in the words themselves: one, a list under `data`, or one a line. Raises Unusable, Wrong."""
    where, data = "--receipt", text.encode("utf-8", "surrogateescape")
    if not text.lstrip().startswith("{"):
        where = plain(text)
        with opened(text) as stream:
            data = stream.read(MAX_DOCUMENT)
    try:
        found = [parse_json(data, where)]
    except Unusable:
        found = [parse_json(line, where) for line in data.splitlines() if line.strip()]
    if not found:
        raise Unusable(f"{where} has no receipt in it")
    for value in found:
        several = value["data"] if isinstance(value, dict) and isinstance(value.get("data"), list) else [value]
        yield from (read_receipt(each, where) for each in several)


if __name__ == "__main__":
    raise SystemExit(main())
