"""What lies on disk: the journal, its witness and its key, the directories that they are in, and who may read them."""

from __future__ import annotations

import os
import shutil
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.checks.finding import Finding, Level
from adapters.settings import FILE_SUFFIX, PREFIX, Settings
from workflow.case import declared_machines
from workflow.errors import (
    DeclarationError,
    HeadRegressed,
    JournalDamaged,
    JournalForeign,
    JournalTooNew,
    JournalUnavailable,
    OrdersToMigrate,
    OrdersUnexplained,
)
from workflow.explaining import refuse_unexplained
from workflow.journal.condition import Trouble
from workflow.journal.connection import reading, refuse_foreign, refuse_second_name
from workflow.journal.file import BESIDE_SUFFIXES
from workflow.journal.keys import UnusableKey, load_key, next_path
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import refuse_regressed
from workflow.journal.witness import Head, read_head, refuse_foreign_witness
from workflow.ledger import key_id
from workflow.lifecycle import ATTENTION

NO_ROOM_BYTES = 100_000_000
"""With less on the journal's disk it may stop at any time: a busy venue writes so much in a day."""
LITTLE_ROOM_BYTES = 1_000_000_000
JOURNAL, WITNESS, SIGNING_KEY = "journal", "witness", "signing key"
"""What private files are called."""


def journal(settings: Settings) -> Iterator[Finding]:
    """The journal as a stranger finds it, and its witness."""
    path = settings.journal
    yield from directories(settings)
    foreign = list(_foreign_witness(settings))
    yield from foreign
    head = None if foreign else read_head(settings.witness)  # Before the journal: a server may write meanwhile.
    if not os.path.lexists(path):
        if head:
            text = f"{settings.witness} saw {head.size:,} entries, and there is no journal at {path}"
            yield Finding("FAIL", "witness", text, "set TILLPROOF_JOURNAL to it, or put its newest copy there")
        else:
            yield Finding("ok", "journal", f"none yet at {path}; serve makes it")
        return
    try:
        with reading(path):
            size = SqliteReads(path).size()
        refuse_second_name(path)
        refuse_unexplained(SqliteReads(path), declared_machines())
    except DeclarationError as error:
        yield Finding("FAIL", "declaration", str(error), "correct workflow/lifecycle.py")
        return
    except OrdersToMigrate as error:
        yield Finding("FAIL", "journal", str(error), "tillproof machine migrate --reason TEXT, with the server stopped")
        return
    except OrdersUnexplained as error:
        yield Finding("FAIL", "journal", str(error), "install the version that wrote it; tillproof machine check says more")
        return
    except JournalTooNew as error:
        yield Finding("FAIL", "journal", str(error), "install the version that wrote it")
        return
    except JournalDamaged as error:
        yield Finding("FAIL", "journal", str(error), "point TILLPROOF_JOURNAL at the journal, or restore a sealed copy")
        return
    except JournalUnavailable as error:
        yield Finding("FAIL", "journal", str(error), "check the path and its permissions")
        return
    yield from _writable(path)
    yield Finding("ok", "journal", f"{path}, {size:,} entries")
    if not foreign:
        yield _witness(settings, head, SqliteReads(path), size)


def journal_served(settings: Settings, reads: SqliteReads, standing: Sequence[Trouble]) -> Iterator[Finding]:
    """The same for the server that has it open, and knows what troubles it. The file is not opened: closing it drops SQLite's locks."""
    yield from directories(settings)
    yield from (
        Finding("FAIL", "journal", f"{each.code} since {each.since}: {each.detail}", ATTENTION[each.code].next)
        for each in standing
        if each.code in ATTENTION
    )
    yield from _writable(settings.journal)
    foreign = list(_foreign_witness(settings))
    yield from foreign
    head = None if foreign else read_head(settings.witness)
    try:
        size = reads.size()
    except (JournalDamaged, JournalUnavailable) as error:
        yield Finding("FAIL", "journal", str(error), "tillproof journal verify")
        return
    if not standing:
        yield Finding("ok", "journal", f"{settings.journal}, {size:,} entries, in use by this server")
    if not foreign:
        yield _witness(settings, head, reads, size)


def _writable(path: Path) -> Iterator[Finding]:
    if not os.access(path, os.W_OK):
        yield Finding("FAIL", "journal", f"{path} cannot be written", f"chown or chmod u+w {path}; mount its disk for writing")


def directories(settings: Settings) -> Iterator[Finding]:
    """Where files are made, and where SQLite puts its own beside the journal."""
    for directory in dict.fromkeys(path.parent for path in (settings.journal, settings.witness, settings.signing_key)):
        there = _nearest(directory)
        if not there.is_dir():
            yield Finding("FAIL", "directory", f"{directory} cannot be made: {there} is a file", f"move {there}, or name another directory")
        elif not os.access(there, os.W_OK | os.X_OK):
            yield Finding("FAIL", "directory", f"{there} cannot be written", f"chown or chmod u+wx {there}; mount its disk for writing")
        elif there == directory and there.stat().st_mode & stat.S_IWOTH and not there.stat().st_mode & stat.S_ISVTX:
            yield Finding("FAIL", "file mode", f"anybody may replace the files in {there}", f"chmod 700 {there}")


def _nearest(directory: Path) -> Path:
    """The directory, or the first of its parents that is there."""
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())


def _foreign_witness(settings: Settings) -> Iterator[Finding]:
    """Whether something else is in the witness's place, or it cannot be read."""
    try:
        refuse_foreign_witness(settings.witness)
    except (JournalDamaged, JournalUnavailable) as error:
        aside = "" if settings.shared_files() else "; put this file aside where it was the witness"
        yield Finding("FAIL", "witness", str(error), f"set TILLPROOF_WITNESS to the witness{aside}")


def _witness(settings: Settings, head: Head | None, reads: SqliteReads, size: int) -> Finding:
    """Whether the journal is what its witness saw, as a start sees it."""
    if head is None:
        return Finding("warn", "witness", f"no line in {settings.witness}: a lost tail could not be noticed", "check TILLPROOF_WITNESS")
    try:
        refuse_regressed(settings.journal, size, head, reads.tree_node)
    except HeadRegressed as error:
        mend = "find the newer journal, or set TILLPROOF_WITNESS to this one's own; tillproof journal verify"
        return Finding("FAIL", "witness", str(error), mend)
    except (JournalDamaged, JournalUnavailable) as error:
        return Finding("FAIL", "journal", str(error), "tillproof journal verify")
    return Finding("ok", "witness", f"{settings.witness}, at {head.size:,}")


def disk(settings: Settings) -> Iterator[Finding]:
    """How much room there is, and whether the witness stands apart."""
    there, beside = _nearest(settings.journal.parent), _nearest(settings.witness.parent)
    free = shutil.disk_usage(there).free
    if free < LITTLE_ROOM_BYTES:
        level: Level = "FAIL" if free < NO_ROOM_BYTES else "warn"
        yield Finding(
            level, "disk", f"{free // 1_000_000:,} MB are free at {there}: orders are refused once it is full", "free space there"
        )
    if settings.env == "production" and there.stat().st_dev == beside.stat().st_dev:
        text = "on the journal's own disk: what destroys one destroys both"
        yield Finding("warn", "witness", text, "set TILLPROOF_WITNESS to a file on another disk")


def key_file(settings: Settings) -> Iterator[Finding]:
    """The key's file beside a journal that nobody need serve."""
    path = settings.signing_key
    if not os.path.lexists(path):
        if is_ours_to_mend(settings.journal):
            text = f"{path} is not there, and the journal's checkpoints are signed with it"
            yield Finding("FAIL", "signing key", text, "restore the file, or set TILLPROOF_SIGNING_KEY to it")
        return
    try:
        key = load_key(path).public_key()
    except UnusableKey as error:
        yield Finding("FAIL", "signing key", str(error), "restore the file, or set TILLPROOF_SIGNING_KEY to it")
        return
    if settings.journal.exists() and is_ours_to_mend(settings.journal):
        with suppress(JournalDamaged, JournalUnavailable):  # The journal has a finding of its own.
            yield from _key_in_force(settings, key)


def _key_in_force(settings: Settings, key: Ed25519PublicKey) -> Iterator[Finding]:
    """Whether the key is the one that signs now; one that waits beside it is a rotation that a crash interrupted."""
    waiting = next_path(settings.signing_key)
    if waiting.exists():
        text = f"{waiting}: a new key was being brought in when the program ended"
        yield Finding("warn", "signing key", text, "tillproof serve ends that, or takes it back: leave both files where they are")
    else:
        yield from _another_signs(settings.signing_key, key, SqliteReads(settings.journal))


def key_served(settings: Settings, reads: SqliteReads) -> Iterator[Finding]:
    """The key's file beside the journal that this server signs: it is read at the next start."""
    path, waiting = settings.signing_key, next_path(settings.signing_key)
    try:
        if waiting.exists():  # For a moment with each new key; for longer where the old one's file could not be replaced.
            yield from _waits(waiting, load_key(waiting).public_key(), reads)
        elif not os.path.lexists(path):
            text = f"{path} is not there: the next start cannot sign"
            yield Finding("FAIL", "signing key", text, "restore the file, or set TILLPROOF_SIGNING_KEY to it")
        else:
            yield from _another_signs(path, load_key(path).public_key(), reads)
    except UnusableKey as error:
        yield Finding("FAIL", "signing key", str(error), "restore the file, or set TILLPROOF_SIGNING_KEY to it")
    except (JournalDamaged, JournalUnavailable):
        return  # The journal has a finding of its own.


def _waits(waiting: Path, key: Ed25519PublicKey, reads: SqliteReads) -> Iterator[Finding]:
    if key_id(reads.origin(), key).hex() in reads.key_in_force():
        text = f"{waiting} holds the key that signs now, and could not take the old one's place"
        yield Finding("warn", "signing key", text, "mend the permissions there; the next start puts it in its place")


def _another_signs(path: Path, key: Ed25519PublicKey, reads: SqliteReads) -> Iterator[Finding]:
    in_force, ours = reads.key_in_force(), key_id(reads.origin(), key).hex()
    if in_force and ours not in in_force:
        text = f"{path} holds the key {ours}, and the journal is signed by {' or '.join(in_force)} now"
        yield Finding("FAIL", "signing key", text, "put that key's file in its place, from where you keep a copy of it")


def is_ours_to_mend(path: Path) -> bool:
    """Whether there is a journal, however it is, and not a directory or another program's file, which is left as it is."""
    try:
        return os.path.lexists(path) and refuse_foreign(path) >= 0
    except (JournalDamaged, JournalUnavailable) as error:
        return not isinstance(error, JournalForeign)


def modes(settings: Settings, environ: Mapping[str, str], toml_path: Path, *, is_served: bool = False) -> Iterator[Finding]:
    """Who may read what should be private. `is_served`: the journal is open here, and therefore ours."""
    is_ours = {JOURNAL: is_served or is_ours_to_mend(settings.journal), WITNESS: not any(_foreign_witness(settings)), SIGNING_KEY: True}
    for name, path in _private_files(settings):
        if is_ours[name] and _is_open_to_others(path):
            yield Finding("FAIL", "file mode", f"{name} {path} can be read by others", f"chmod 600 {path}")
    for name, path in _secret_files(settings, environ, toml_path):
        if _is_open_to_others(path):
            yield Finding("warn", "file mode", f"{name} {path} holds secrets, and can be read by others", f"chmod 600 {path}")


def _private_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield JOURNAL, settings.journal
    if not _is_open_to_others(settings.journal):  # Otherwise SQLite makes these like it, and the journal is to be mended first.
        yield from ((JOURNAL, Path(f"{settings.journal}{suffix}")) for suffix in BESIDE_SUFFIXES)
    yield SIGNING_KEY, settings.signing_key
    yield SIGNING_KEY, next_path(settings.signing_key)
    yield WITNESS, settings.witness


def _is_open_to_others(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _secret_files(settings: Settings, environ: Mapping[str, str], toml_path: Path) -> Iterator[tuple[str, Path]]:
    """Files that hold secrets: those that settings name, and the settings' own."""
    given: dict[str, object] = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    with suppress(OSError, ValueError):  # One that cannot be read has a finding of its own.
        written = {name.upper(): value for name, value in tomllib.loads(toml_path.read_text(encoding="utf-8-sig")).items()}
        if any(settings.is_secret(name) for name in written):
            yield "settings", toml_path
        given = written | given
    for name, value in given.items():
        if name.endswith(FILE_SUFFIX) and settings.is_secret(name.removesuffix(FILE_SUFFIX)) and value:
            yield name, Path(str(value))
