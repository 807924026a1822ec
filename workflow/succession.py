"""Which key signs what: each new key is brought in by an entry of the journal that the key before it has signed.

    entry R               `rotate_key` names the old key and the new one, and both have signed that (`statement`)
    checkpoint of size R  the last one of the old key: it covers the entry
    later checkpoints     are the new key's

Who pinned the first key can so follow the journal to the newest one, and who has the newest finds all that led to it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workflow.entry import Facts
from workflow.ledger import ED25519_IN_NOTES, key_id, signers

ROTATE_KEY: Final = "rotate_key"
"""The trigger of the entry, which is an `operator`'s and concerns no order."""

KEY_ENTRIES: Final = f"order_id = '' AND kind = 'operator' AND trigger = '{ROTATE_KEY}'"
"""The condition, in SQL, of the entries that bring a key in."""

_PURPOSE = "tillproof key rotation"
"""No origin has a space: what is signed here can never be taken for a checkpoint, nor the other way round."""
_KEY_BYTES = 32
_VERIFIER_KEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+(\S{40,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The entry at `position` (`seq`): `old` signs checkpoints up to that size, `new` from there on."""

    position: int
    old: Ed25519PublicKey
    new: Ed25519PublicKey


def statement(origin: str, position: int, old: Ed25519PublicKey, new: Ed25519PublicKey) -> bytes:
    """What both keys sign: five lines, each ended by a newline.

    They are the words "tillproof key rotation", the origin (`tillproof/<journal id>`), the entry's position, and both raw keys in base64.
    """
    return "".join(f"{line}\n" for line in (_PURPOSE, origin, position, raw_base64(old), raw_base64(new))).encode()


def rotation_facts(origin: str, position: int, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> Facts:
    """The facts of the entry at `position` that brings `new` in. The new key signs too: nobody else's key can be brought in as ours."""
    signed = statement(origin, position, old.public_key(), new.public_key())
    return {
        "old_key": raw_base64(old.public_key()),
        "new_key": raw_base64(new.public_key()),
        "old_signature": base64.b64encode(old.sign(signed)).decode(),
        "new_signature": base64.b64encode(new.sign(signed)).decode(),
    }


def told(origin: str, position: int, body: str) -> Rotation:
    """The rotation that an entry's body tells of, once both signatures are verified. Raises ValueError, which says what is wrong."""
    facts = msgspec.json.decode(body, type=dict[str, object])
    keys = {name: _public_key(name, facts.get(name)) for name in ("old_key", "new_key")}
    old, new = keys["old_key"], keys["new_key"]
    signed = statement(origin, position, old, new)
    for name, key in (("old_signature", old), ("new_signature", new)):
        try:
            key.verify(_bytes(name, facts.get(name)), signed)
        except InvalidSignature as error:
            raise ValueError(f"{name} does not verify: the {name.partition('_')[0]} key did not sign this") from error
    if old == new:
        raise ValueError("the old key and the new one are the same")
    return Rotation(position=position, old=old, new=new)


class Succession:
    """The keys of one journal, oldest first. `rotations` are told in the order of their positions; `known` is a key that one trusts."""

    def __init__(self, rotations: Sequence[Rotation], known: Ed25519PublicKey) -> None:
        self.rotations = tuple(rotations)
        self.keys = (rotations[0].old, *(rotation.new for rotation in rotations)) if rotations else (known,)
        self.has_known = known in self.keys

    def at(self, size: int) -> Ed25519PublicKey:
        """The key that signs a checkpoint of this size."""
        return next((rotation.old for rotation in self.rotations if size <= rotation.position), self.keys[-1])

    def spans(self) -> Iterable[tuple[Ed25519PublicKey, int, int | None]]:
        """Each key with the smallest and the largest size that it signs; None: it is in force."""
        ends = [rotation.position for rotation in self.rotations]
        return zip(self.keys, [1, *(end + 1 for end in ends)], [*ends, None], strict=True)


def read_succession(origin: str, rows: Iterable[Sequence[Any]], known: Ed25519PublicKey) -> Succession:
    """The keys by the positions and bodies of the entries that tell of them; what does not verify brings in nothing."""
    rotations = list[Rotation]()
    for position, body in rows:
        try:
            rotation = told(origin, position, body)
        except ValueError:
            continue
        if not rotations or rotation.old == rotations[-1].new:
            rotations.append(rotation)
    return Succession(rotations, known)


def ids_in_force(origin: str, size: int, note: str, key_entry: str | None) -> list[str]:
    """The ids (hex) of the key that signs behind the newest checkpoint, which has this size and note; it may claim several.

    A key comes in together with a checkpoint of the one before it: so it is the one that the entry at that size brings in (`key_entry`
    is the body), where it is such an entry, or else the one that signed. Raises ValueError, BadCheckpoint.
    """
    found = [key_id(origin, told(origin, size, key_entry).new)] if key_entry else signers(note, origin)
    return [each.hex() for each in found]


def fingerprint(key: Ed25519PublicKey) -> str:
    """The SHA-256 of the raw key, lower-case hex: for reading aloud and comparing."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def verifier_key(origin: str, key: Ed25519PublicKey) -> str:
    """The key as programs for signed notes pin it: name, key id and base64, joined by plus."""
    return f"{origin}+{key_id(origin, key).hex()}+{base64.b64encode(ED25519_IN_NOTES + key.public_bytes_raw()).decode()}"


def parse_public_key(text: str) -> Ed25519PublicKey:
    """A public key as `verifier_key` writes it, or its raw 32 bytes in base64. Raises ValueError."""
    text = text.strip()
    if not (named := _VERIFIER_KEY.fullmatch(text)):
        return _from_raw("the public key", _bytes("the public key", text))
    raw = _bytes("the public key", named[3])
    if raw[:1] != ED25519_IN_NOTES:
        raise ValueError("the public key is not an Ed25519 key for signed notes")
    key = _from_raw("the public key", raw[1:])
    if named[2] != key_id(named[1], key).hex():
        raise ValueError("the public key and its key id do not belong together")
    return key


def raw_base64(key: Ed25519PublicKey) -> str:
    """The 32 bytes of the key, in base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def _public_key(name: str, value: object) -> Ed25519PublicKey:
    return _from_raw(name, _bytes(name, value))


def _from_raw(name: str, raw: bytes) -> Ed25519PublicKey:
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"{name} has {len(raw)} bytes, not {_KEY_BYTES}")
    return Ed25519PublicKey.from_public_bytes(raw)


def _bytes(name: str, value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except ValueError as error:
        raise ValueError(f"{name} {value!r:.100} is not base64") from error
