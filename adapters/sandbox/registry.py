"""What the POS registered: where it is, how Dojo shows itself there, and which capabilities it has. Contract §3 and §4."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from adapters.sandbox.errors import CapabilityMissing, InvalidRequest
from workflow.clock import Clock, to_text

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
MAX_CAPABILITIES = 100
ALIASES = {
    "RecordOrderPaymentById": "RecordOrderPayment",
    "GetOrderBillById": "GetOrderBill",
    "UpdateParty": "UpdatePartyById",
    "UpdateReservation": "UpdateReservationById",
}
"""The newer names that Dojo takes for the same (contract §3)."""


class Pos(msgspec.Struct, frozen=True, kw_only=True):
    """Where a POS is and what Dojo presents there; `/v1/...` is appended to `url`. Raises InvalidRequest on an unusable URL."""

    url: str
    username: str
    password: str

    def __post_init__(self) -> None:
        if not _is_usable(self.url):
            raise InvalidRequest("url: http or https, with a host and without user information")

    def __repr__(self) -> str:
        return f"Pos(url={self.url!r}, username={self.username!r})"


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:  # urllib's answer to unbalanced brackets and impossible ports
        return False


class Capability(msgspec.Struct, frozen=True):
    """One capability as the POS asks for it."""

    name: Name
    version: Name


class BasicCredentials(msgspec.Struct, frozen=True):
    """What Dojo presents to the POS."""

    username: Name
    password: Name


class BasicAuth(msgspec.Struct, frozen=True, rename="camel"):
    """The only way of authentication that Dojo has for a POS."""

    auth_type: Literal["basic"]
    basic: BasicCredentials


class RestIntegrationRequest(msgspec.Struct, frozen=True):
    """The body of `PUT /epos/integrations/rest`."""

    url: str
    auth: BasicAuth
    capabilities: Annotated[tuple[Capability, ...], msgspec.Meta(max_length=MAX_CAPABILITIES)]


class _Registration(msgspec.Struct, frozen=True):
    """The one REST integration of the account."""

    pos: Pos
    capabilities: tuple[Capability, ...]
    created_at: str
    updated_at: str


class Integrations:
    """The account's registrations; this sandbox has REST ones only, at most one. `always` is a POS that has all without registering."""

    def __init__(self, clock: Clock, always: Pos | None = None) -> None:
        self._clock = clock
        self._always = always
        self._lock = threading.Lock()
        self._registration: _Registration | None = None

    def replace(self, request: RestIntegrationRequest) -> None:
        """What is not in the request is no longer routed. Raises InvalidRequest on an unusable URL."""
        credentials = request.auth.basic
        pos = Pos(url=request.url, username=credentials.username, password=credentials.password)
        now = to_text(self._clock.now())
        with self._lock:
            created_at = self._registration.created_at if self._registration else now
            self._registration = _Registration(pos, request.capabilities, created_at, now)

    def rest(self) -> list[dict[str, object]]:
        """`RestIntegrationResponse[]`; the password never comes back."""
        with self._lock:
            registration = self._registration
        return [_response(registration)] if registration else []

    def of(self, name: str) -> Pos | None:
        """The POS that has this capability, if any."""
        try:
            return self.require([name])
        except CapabilityMissing:
            return None

    def require(self, names: Iterable[str]) -> Pos:
        """The registered POS. Raises CapabilityMissing, naming every one of `names` that it has not registered."""
        if self._always:
            return self._always
        with self._lock:
            registration = self._registration
        known = {ALIASES.get(capability.name, capability.name) for capability in registration.capabilities} if registration else set()
        missing = [name for name in names if name not in known]
        if registration is None or missing:
            raise CapabilityMissing(f"not registered by PUT /epos/integrations/rest: {', '.join(missing)}")
        return registration.pos


def _response(registration: _Registration) -> dict[str, object]:
    return {
        "url": registration.pos.url,
        "auth": {"authType": "basic", "basic": {"username": registration.pos.username}},
        "capabilities": [
            {"name": capability.name, "version": capability.version, "updatedAt": registration.updated_at}
            for capability in registration.capabilities
        ],
        "createdAt": registration.created_at,
    }
