"""What a person registered at Dojo at a terminal, for the journal: the server alone writes there."""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.api.resolving import MAX_BODY, MAX_DEPTH
from adapters.api.views import View
from adapters.edge import json_body
from adapters.edge.wire import ReasonRequest, WireId
from workflow.bill import ShortText
from workflow.commands import NoteRegistration

MAX_CAPABILITIES = 100
_Names = Annotated[tuple[WireId, ...], msgspec.Meta(max_length=MAX_CAPABILITIES)]


class RegistrationRequest(ReasonRequest, frozen=True, kw_only=True):
    """Dojo is asked to call `url`, which adds and drops these capabilities there; or it was, and `refused`."""

    url: WireId
    added: _Names = ()
    dropped: _Names = ()
    refused: ShortText = ""


class RegistrationView(View, frozen=True, kw_only=True):
    """What was journaled."""

    url: str
    added: list[str]
    dropped: list[str]


def registration_request(actor: str) -> NoteRegistration:
    """The present request, by `actor`. Raises BadInput."""
    asked = json_body(RegistrationRequest, max_body=MAX_BODY, max_depth=MAX_DEPTH)
    return NoteRegistration(
        url=asked.url, added=asked.added, dropped=asked.dropped, reason=asked.reason, actor=actor, refused=asked.refused
    )


def registration_view(command: NoteRegistration) -> RegistrationView:
    """The same as an answer."""
    return RegistrationView(url=command.url, added=[*command.added], dropped=[*command.dropped])
