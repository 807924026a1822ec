"""What a person sends to settle attention: an action, a reason, and of which intent; of an order, or of the service itself."""

from __future__ import annotations

from typing import Literal

from adapters.edge import json_body
from adapters.edge.wire import ReasonRequest, WireId
from workflow.errors import Refused
from workflow.lifecycle import ATTENTION, RESOLUTIONS

MAX_BODY = 65_536
MAX_DEPTH = 8
"""An operator's request is small."""

ACTIONS = tuple(resolution.action for resolution in RESOLUTIONS)
CODES = ("", *ATTENTION)
ACCEPT_LOSS = "accept_lost_tail"


class ResolveRequest(ReasonRequest, frozen=True, kw_only=True):
    """What a person does about attention: all that the action is for, or that of one intent; with `code` this one thing alone.

    With a code no intent means what concerns none.
    """

    action: Literal[ACTIONS]  # type: ignore[valid-type]
    payment_intent_id: WireId = ""
    code: Literal[CODES] = ""  # type: ignore[valid-type]


def resolve_request() -> ResolveRequest:
    """The present request. Raises BadInput."""
    return json_body(ResolveRequest, max_body=MAX_BODY, max_depth=MAX_DEPTH)


def accept_loss_request() -> str:
    """The reason of a request to accept the lost tail. Raises Refused for any other action, BadInput."""
    asked = resolve_request()
    if asked.action != ACCEPT_LOSS:
        raise Refused(f"the journal lacks entries: {ACCEPT_LOSS} is all that can be done now")
    return asked.reason
