"""A sealed copy of a journal: taken while the server runs, signed to its end, proved whole, and only then given its name.

For a backup, or for handing over: then without personal data. In both an auditor finds views (`workflow/audit.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workflow import replay
from workflow.audit import PREFIX
from workflow.clock import Clock, to_text
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal import auditing
from workflow.journal.copying import copy_snapshot, new_file
from workflow.journal.reads import SqliteReads
from workflow.journal.witness import Head, Witnessed
from workflow.verification import Verification

UTC = ZoneInfo("UTC")
KEPT = "in the tables personal and guests"
TAKEN_OUT = "taken out"
_TAKEN_OUT = (
    f"{TAKEN_OUT}: entries hold salted hashes of what customers and guests said of themselves; what staff are called is part of them"
)
MADE_ANEW = "tillproof journal seal --journal makes it anew from the copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What a sealed copy holds. `checkpoint` is its newest signed one, None where there is none; `digest` is that of replay.

    `witness` is what the witness saw last, None where there was none: then the journal may lack entries at its end, and nobody could tell.
    `personal` is false where the data of customers and guests was taken out, be it from the source long before.
    """

    path: Path
    entries: int
    orders: int
    root: str
    checkpoint: Head | None
    witness: Head | None
    digest: str
    bytes: int
    personal: bool

    @property
    def unsigned(self) -> int:
        """How many of the newest entries no checkpoint covers."""
        return self.entries - (self.checkpoint.size if self.checkpoint else 0)


def seal(
    journal: Path,
    path: Path,
    *,
    witness: Path,
    key: Ed25519PublicKey | None,
    bar: replay.Bar,
    clock: Clock,
    signer: Ed25519PrivateKey | None = None,
    zone: ZoneInfo = UTC,
    personal: bool = True,
    at_most: int | None = None,
) -> Sealed:
    """Copy the journal to `path`, sign what no checkpoint covers yet, verify the copy, replay it, and make the views for auditors.

    `key` checks every signature, `signer` signs; without it the copy is signed as far as the journal was. `zone` is that of the venue's
    days. With `personal` false nothing that customers and guests said of themselves is in the file; so it stays where the source is such a
    copy. With `at_most` the source is an older copy of so many entries: the witness may have seen more.

    What is at `path` is never replaced.

    Raises JournalDamaged, which names the first fault, FileExistsError and JournalUnavailable; then there is no file at `path`.
    """
    now = clock.now()
    try:
        seen = Witnessed(witness, at_most=at_most)  # Before the copy, which must have everything that was witnessed until now.
    except OSError as error:
        raise JournalUnavailable(f"cannot read the witness {witness}: {error.strerror}") from error
    with new_file(path) as draft:
        personal = _copy(journal, draft, bar, personal=personal)
        if signer:
            auditing.sign(draft, signer, now)
        copy = SqliteReads(draft)
        verified, replayed = _proved(copy, seen, key, clock, bar)
        root = replay.head(copy).root
        about = _about(copy, verified.checkpoint, root, zone, personal=personal) | {"sealed_at": to_text(now)}
        with bar("views for auditors", None):
            auditing.add_views(draft, zone, about)
        size = draft.stat().st_size
    return Sealed(
        path=path,
        entries=verified.entries,
        orders=replayed.orders,
        root=root,
        checkpoint=verified.checkpoint,
        witness=verified.witness,
        digest=replayed.digest,
        bytes=size,
        personal=personal,
    )


def _copy(journal: Path, draft: Path, bar: replay.Bar, *, personal: bool) -> bool:
    """Copy the journal to the draft; whether the data of customers and guests is in it, which it is not where the source has none."""
    with bar("copy", None) as show:
        copy_snapshot(journal, draft, lambda done, _: show(done))
    personal = personal and not auditing.about(SqliteReads(draft)).get("personal_data", KEPT).startswith(TAKEN_OUT)
    if not personal:
        auditing.remove_personal(draft)
    return personal


def _proved(
    copy: SqliteReads, seen: Witnessed, key: Ed25519PublicKey | None, clock: Clock, bar: replay.Bar
) -> tuple[Verification, replay.Replay]:
    """What verification and replay say of the copy. Raises JournalDamaged, which names the first fault."""
    verified = replay.verify_beside(copy, seen, key, clock, bar)
    if verified.first_bad:
        raise JournalDamaged(f"not sealed: {verified.first_bad}")
    replayed = replay.replay(copy, bar=bar)
    if replayed.mismatches:
        raise JournalDamaged(f"not sealed: {replayed.mismatches[0]}")
    return verified, replayed


def view_mismatches(path: Path, bar: replay.Bar = replay.no_bar) -> Iterator[str]:
    """What sealing put into the copy at `path` for auditors, and is not what this version makes of its journal; nothing of other files.

    Makes it anew in a copy elsewhere, and compares. Raises JournalDamaged and JournalUnavailable.
    """
    sealed = SqliteReads(path)
    if not sealed.rows("SELECT 1 FROM sqlite_master WHERE name GLOB ?", (f"{PREFIX}*",)):
        return
    with TemporaryDirectory(prefix="tillproof-views-") as folder:
        draft = Path(folder) / "anew.db"
        try:
            said = auditing.about(sealed)
            zone = ZoneInfo(said["time_zone"])
            copy_snapshot(path, draft, lambda done, total: None)
            with bar("replay: making the views anew", None):
                about = _about(
                    sealed,
                    _checkpoint(sealed),
                    replay.head(sealed).root,
                    zone,
                    personal=said["personal_data"] == KEPT or auditing.has_personal(sealed),
                )
                auditing.add_views(draft, zone, about | {"sealed_at": said["sealed_at"]})
        except (JournalUnavailable, KeyError, ZoneInfoNotFoundError, ValueError):
            yield f"audit_about: it does not say what the copy is; {MADE_ANEW}"
            return
        for name in auditing.differing(sealed, SqliteReads(draft)):
            yield f"{name}: not what this version makes of the journal: it was changed, or another version made it; {MADE_ANEW}"


def _checkpoint(sealed: SqliteReads) -> Head | None:
    newest = sealed.newest_checkpoint()
    return Head(*newest[:2]) if newest else None


def metadata(path: Path) -> str:
    """Datasette's metadata for the sealed copy at `path`, as JSON: titles, descriptions and units of its views."""
    return auditing.metadata(path)


def _about(copy: SqliteReads, checkpoint: Head | None, root: str, zone: ZoneInfo, *, personal: bool) -> dict[str, str]:
    [(journal_id,)] = copy.rows("SELECT value FROM meta WHERE name = 'journal_id'")
    entries = copy.size()
    return {
        "journal_id": journal_id,
        "entries": str(entries),
        "root": root,
        "signed_up_to_entry": str(checkpoint.size if checkpoint else 0),
        "time_zone": zone.key,
        "personal_data": KEPT if personal else _TAKEN_OUT,
        "how_to_check": "tillproof journal verify --journal FILE, and tillproof journal replay --journal FILE",
    }
