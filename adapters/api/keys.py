"""The keys that sign the journal's checkpoints, as auditors see and pin them, and a new one that an operator has brought in."""

from __future__ import annotations

from collections.abc import Callable

from adapters.api.views import View
from workflow.journal.reads import SqliteReads
from workflow.proof import Sealer
from workflow.rotation import Rotated
from workflow.succession import Succession, fingerprint, verifier_key


class KeyView(View, frozen=True, kw_only=True):
    """A public key as programs for signed notes pin it, the SHA-256 of its 32 bytes, and the sizes that it signs; null: it is in force."""

    key: str
    fingerprint: str
    from_size: int
    to_size: int | None


class KeysView(View, frozen=True, kw_only=True):
    """Every key that signs this journal, oldest first."""

    data: list[KeyView]


class RotatedView(View, frozen=True, kw_only=True):
    """A key that was brought in by the entry at `position`; `pending`: what is left to be done at the next start, or null."""

    position: int
    old_key: str
    new_key: str
    fingerprint: str
    pending: str | None


class Keys:
    """The keys of one journal; `rotate` brings in a new one for an actor and a reason."""

    def __init__(self, reads: SqliteReads, sealer: Sealer, rotate: Callable[[str, str], Rotated]) -> None:
        self._reads, self._sealer, self._rotate = reads, sealer, rotate

    def view(self) -> KeysView:
        """All of them."""
        return keys_view(self._reads.origin(), self._reads.succession(self._sealer.public_key))

    def rotate(self, actor: str, reason: str) -> RotatedView:
        """Have a new key sign from here on. Raises JournalUnavailable."""
        return rotated_view(self._rotate(actor, reason))


def keys_view(origin: str, succession: Succession) -> KeysView:
    """The keys as an auditor sees them."""
    return KeysView(
        data=[
            KeyView(key=verifier_key(origin, key), fingerprint=fingerprint(key), from_size=first, to_size=last)
            for key, first, last in succession.spans()
        ]
    )


def rotated_view(rotated: Rotated) -> RotatedView:
    """A new key as an operator sees it."""
    return RotatedView(
        position=rotated.position,
        old_key=rotated.old_key,
        new_key=rotated.new_key,
        fingerprint=rotated.fingerprint,
        pending=rotated.pending or None,
    )
