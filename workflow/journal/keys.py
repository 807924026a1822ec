"""The key that signs checkpoints: an Ed25519 private key in a PEM file of its own, made at first start."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from workflow.errors import WorkflowError
from workflow.succession import parse_public_key

DRAFT_SUFFIX = ".draft"
NEXT_SUFFIX = ".next"
"""The file beside the key's own in which a new key waits until the journal has it."""


class UnusableKey(WorkflowError):
    """The signing key cannot be read or made. Check SIGNING_KEY; restore the file, as earlier checkpoints need its key."""


class KeyNotInForce(UnusableKey):
    """The signing key is not the one that signs this journal now. Put that one's file in its place; it is named by its key id."""


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key stored at `path`, of a journal that is there. Raises UnusableKey: another key would make its checkpoints look forged."""
    try:
        return _parse(path, path.read_bytes())
    except OSError as error:
        raise UnusableKey(f"signing key {path}: {error}; the journal's checkpoints are signed with it, so restore the file") from error


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a file: PEM, public or private, or text as `parse_public_key` reads it. Raises UnusableKey, ValueError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnusableKey(f"key {path}: {error}") from error
    if b"PRIVATE KEY" in content:
        return _parse(path, content).public_key()
    if b"PUBLIC KEY" not in content:
        return parse_public_key(content.decode("utf-8", "replace"))
    key = load_pem_public_key(content)
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey(f"key {path}: {type(key).__name__}, not an Ed25519 key")
    return key


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """The key stored at `path`; where nothing is, a new one is first stored there, mode 0600.

    A new file appears whole and is on disk before the return; of several processes that start at once all get one key. A
    file that is there is never changed; a draft that a dead process left is removed. Needs a file system with hard links.
    Raises UnusableKey.
    """
    try:
        pem = _read_or_make(path)
    except OSError as error:
        raise UnusableKey(f"signing key {path}: {error}") from error
    return _parse(path, pem)


def _read_or_make(path: Path) -> bytes:
    if not path.exists():
        _make(path)
    # A draft is the key under another name. Who still has one learns below that there is a key.
    for draft in path.parent.glob(f"{glob.escape(_draft_prefix(path))}????????{DRAFT_SUFFIX}"):
        draft.unlink(missing_ok=True)
    return path.read_bytes()


def next_path(path: Path) -> Path:
    """Where the key that follows the one at `path` waits."""
    return path.with_name(f"{path.name}{NEXT_SUFFIX}")


def make_next_key(path: Path) -> Ed25519PrivateKey:
    """A new key, on disk (0600) under `next_path` and under no other name yet; one that waited there is replaced. Raises UnusableKey."""
    waiting = next_path(path)
    try:
        waiting.unlink(missing_ok=True)
        _make(waiting)
        return _parse(waiting, waiting.read_bytes())
    except OSError as error:
        raise UnusableKey(f"signing key {waiting}: {error}") from error


def put_next_in_place(path: Path) -> None:
    """Let the waiting key take the place of the one at `path`, which is gone then. Raises UnusableKey; both are where they were then."""
    try:
        os.replace(next_path(path), path)
        sync_directory(path.parent)
    except OSError as error:
        raise UnusableKey(f"signing key {path} cannot be replaced by {next_path(path)}, which is in force: {error}") from error


def drop_next_key(path: Path) -> None:
    """Remove a key that waits, and that no journal has; one that cannot be removed waits on."""
    with suppress(OSError):
        next_path(path).unlink()


def _draft_prefix(path: Path) -> str:
    return f".{path.name}."


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=_draft_prefix(path), suffix=DRAFT_SUFFIX, dir=path.parent)  # O_EXCL, mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # Another process was first, and its key holds: a link never replaces. It may have taken this draft for a dead process's.
        with suppress(FileExistsError, FileNotFoundError):
            os.link(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Put a new name on disk: without it a file may be gone after a power cut, however well its content was written."""
    if sys.platform != "win32":  # Windows opens no directories and writes names through.
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _parse(path: Path, pem: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKey(f"signing key {path}: not an unencrypted PEM private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"signing key {path}: {type(key).__name__}, not an Ed25519 key")
    return key
