"""What the set-up pages ask and act through. No secret comes this far: settings are here as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters.checks import Finding
from adapters.registering import Registrar
from adapters.settings import Shown


class SigningKey(Protocol):
    """A public key: as programs pin it, its fingerprint, and the sizes of the journal that it signs; None: it is in force."""

    @property
    def key(self) -> str:
        """As programs for signed notes pin it."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, hex."""

    @property
    def from_size(self) -> int:
        """The first size."""

    @property
    def to_size(self) -> int | None:
        """The last size."""


class Rotated(Protocol):
    """A new key: its fingerprint, the entry that brought it in, and what is left to be done at the next start."""

    @property
    def position(self) -> int:
        """Of the entry."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, hex."""

    @property
    def pending(self) -> str | None:
        """None where all is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupDesk:
    """`examine` looks at this machine and calls nobody; `examine_dojo` asks Dojo. `rotate` takes an actor and a reason."""

    settings: Sequence[Shown]
    examine: Callable[[], list[Finding]]
    examine_dojo: Callable[[], list[Finding]]
    registrar: Registrar
    keys: Callable[[], Sequence[SigningKey]]
    rotate: Callable[[str, str], Rotated]
