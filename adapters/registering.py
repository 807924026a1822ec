"""Having Dojo call us for everything that is served: what is registered beside what is wanted, and registering, journaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from adapters.capabilities import Difference, Registration, RestIntegration, difference, wanted
from adapters.settings import PREFIX, Settings
from workflow.commands import NoteRegistration
from workflow.errors import OutcomeUnknown, Refused, WorkflowError

UNKNOWN = "nobody knows whether Dojo took it"
"""What the journal says of a registration to which no clear answer came: it may be in force."""


class Registry(Protocol):
    """What Dojo has registered. Raises DojoRefusesUs, TryAgain, OutcomeUnknown, Refused."""

    def integrations(self) -> list[RestIntegration]:
        """All of it."""

    def register(self, integration: Registration) -> list[RestIntegration]:
        """Replace it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What Dojo knows of us beside what we want it to know; `registered` is None where it knows nothing."""

    registered: RestIntegration | None
    wanted: RestIntegration
    gap: Difference

    @property
    def shown(self) -> tuple[str, str, Difference]:
        """What a person sees before they register: as whom and where Dojo would have called, and what changes."""
        known = self.registered
        return (known.url, known.username, self.gap) if known else ("", "", self.gap)


def missing_settings(settings: Settings) -> list[str]:
    """The settings without which nothing can be registered."""
    needed = ("DOJO_API_KEY", "PUBLIC_URL", "EPOS_USERNAME", "EPOS_PASSWORD")
    return [f"{PREFIX}{name}" for name in needed if not getattr(settings, name.lower())]


def registration_of(settings: Settings) -> Registration | None:
    """What these settings would register; None where one of them is absent."""
    if settings.public_url and settings.epos_username and settings.epos_password:
        return wanted(settings.public_url, settings.epos_username, settings.epos_password)
    return None


def compare(registry: Registry, registration: Registration) -> Compared:
    """Ask Dojo."""
    found = registry.integrations()
    registered = found[0] if found else None
    return Compared(registered=registered, wanted=registration, gap=difference(registered, registration))


def register(
    registry: Registry, registration: Registration, gap: Difference, *, actor: str, reason: str, note: Callable[[NoteRegistration], object]
) -> None:
    """Replace what Dojo has, once that is journaled; `gap` is what this changes.

    A failure is journaled as well, be it that nobody knows whether it is one.
    Raises what `registry` raises, and what `note` does: nothing is asked of Dojo then.
    """
    asked = NoteRegistration(url=registration.url, added=gap.missing, dropped=gap.extra, reason=reason, actor=actor)
    note(asked)
    try:
        registry.register(registration)
    except WorkflowError as error:
        why = f"{UNKNOWN}: {error}" if isinstance(error, OutcomeUnknown) else str(error)
        note(NoteRegistration(url=asked.url, added=(), dropped=(), reason=reason, actor=actor, refused=why))
        raise


class Registrar:
    """The same for a server: with its settings and its journal."""

    def __init__(self, settings: Settings, registry: Callable[[], Registry], note: Callable[[NoteRegistration], object]) -> None:
        self._settings, self._registry, self._note = settings, registry, note

    @property
    def missing(self) -> list[str]:
        """The settings without which nothing can be asked or registered."""
        return missing_settings(self._settings)

    def compare(self) -> Compared:
        """Ask Dojo. Raises Refused where settings are missing, and what Dojo's client raises."""
        registration = self._registration()
        return compare(self._registry(), registration)

    def register(self, seen: Compared, *, actor: str, reason: str) -> None:
        """Register everything that is served, provided that this changes what was shown of `seen`.

        Raises Refused where it would change something else by now, and what Dojo's client and the journal raise.
        """
        registration = self._registration()
        registry = self._registry()
        now = compare(registry, registration)
        if now.shown != seen.shown:
            raise Refused("what Dojo has registered has changed since this was shown: look again, and decide anew")
        register(registry, registration, now.gap, actor=actor, reason=reason, note=self._note)

    def _registration(self) -> Registration:
        registration = registration_of(self._settings)
        if self.missing or registration is None:
            raise Refused(f"{', '.join(self.missing)}: needed to ask Dojo and to register")
        return registration
