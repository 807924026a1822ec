"""Dojo: the key, whether it takes it, and whether it would call us as we want it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from adapters.capabilities import difference
from adapters.checks.finding import Finding
from adapters.outbound import Call
from adapters.registering import Registry, registration_of
from adapters.settings import PRODUCTION_KEY_PREFIX, Settings
from workflow.errors import DojoRefusesUs, OutcomeUnknown, Refused, TryAgain

SHOWN_KEY_CHARACTERS = 4


class Dojo(Protocol):
    """Makes Dojo's API with this venue's key."""

    def __call__(self, settings: Settings, *, on_call: Callable[[Call], None] | None = None) -> Registry:
        """The client; `on_call` hears of every call."""


def dojo_findings(settings: Settings, dojo: Dojo, calls: list[Call]) -> Iterator[Finding]:
    """Ask Dojo; the calls made are put into `calls`."""
    if not settings.dojo_api_key:
        yield Finding("skip", "Dojo", "not asked: no API key")
        return
    yield from _dojo_key(settings.dojo_api_key, settings)
    try:
        integrations = dojo(settings, on_call=calls.append).integrations()
    except DojoRefusesUs as error:
        yield Finding("FAIL", "Dojo", f"refuses the key: {error}", "set TILLPROOF_DOJO_API_KEY")
        return
    except (TryAgain, OutcomeUnknown, Refused) as error:
        yield Finding("FAIL", "Dojo", f"{settings.dojo_url} does not answer: {error}", "check TILLPROOF_DOJO_URL and the network")
        return
    yield Finding("ok", "Dojo", f"{settings.dojo_url} answers")
    registration = registration_of(settings)
    if registration is None:
        yield Finding("skip", "capabilities", "not compared: PUBLIC_URL, EPOS_USERNAME and EPOS_PASSWORD are needed")
        return
    gap = difference(integrations[0] if integrations else None, registration)
    if gap.is_none:
        yield Finding("ok", "capabilities", f"{len(registration.capabilities)} registered for {registration.url}")
    for name in gap.missing:
        yield Finding(
            "FAIL", "capabilities", f"{name} is not registered: Dojo will not call it", "tillproof caps diff; tillproof caps register"
        )
    if gap.url_differs or gap.username_differs or gap.version_differs:
        yield Finding(
            "FAIL", "capabilities", "registered with another address, user name or version", "tillproof caps diff; tillproof caps register"
        )
    for name in gap.extra:
        yield Finding("warn", "capabilities", f"{name} is registered, but not served here", "tillproof caps register")


def _dojo_key(key: str, settings: Settings) -> Iterator[Finding]:
    kind = "LIVE" if key.startswith(PRODUCTION_KEY_PREFIX) else "SANDBOX"
    yield Finding("ok", "Dojo key", f"…{key[-SHOWN_KEY_CHARACTERS:]}  ({kind})")
    if kind == "SANDBOX" and settings.env == "production":
        yield Finding(
            "warn", "Dojo key", "a sandbox key with ENV=production: no real money will come", "set TILLPROOF_DOJO_API_KEY, or ENV=test"
        )
    if not settings.software_house_id:
        text = "SOFTWARE_HOUSE_ID is absent: Dojo knows integrations by it"
        yield Finding("warn", "software house", text, "set TILLPROOF_SOFTWARE_HOUSE_ID as Dojo told it")
