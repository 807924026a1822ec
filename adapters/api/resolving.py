"""What a person sends to settle attention: an action, a reason, and of which intent; of an order, or of the service itself."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from adapters.edge import json_body
from adapters.edge.strict_json import BadInput, shown
from adapters.edge.wire import ReasonRequest, WireId, check_amount
from workflow.errors import Refused, UnknownEntry
from workflow.lifecycle import ATTENTION, RESOLUTIONS
from workflow.money import Money
from workflow.takings import KINDS

MAX_BODY = 65_536
MAX_DEPTH = 8
"""An operator's request is small."""

ACTIONS = tuple(resolution.action for resolution in RESOLUTIONS)
ACCEPT_LOSS = "accept_lost_tail"


class ResolveRequest(ReasonRequest, frozen=True, kw_only=True):
    """What a person does about attention: all that the action is for, or that of one intent; with `code` this one thing alone.

    With a code no intent means what concerns none.
    """

    action: Literal[ACTIONS]  # type: ignore[valid-type]
    payment_intent_id: WireId = ""
    code: WireId = ""


class TakingsRequest(ReasonRequest, frozen=True, kw_only=True):
    """Which difference of a day's takings is all right: its kind, payment intent, amount, and order where one has the payment."""

    kind: Literal[tuple(KINDS)]  # type: ignore[valid-type]
    payment_intent_id: WireId
    amount: Money
    order_id: WireId = ""


def takings_request() -> TakingsRequest:
    """The present request. Raises BadInput."""
    asked = json_body(TakingsRequest, max_body=MAX_BODY, max_depth=MAX_DEPTH)
    if not re.fullmatch(r"[A-Z]{3}", asked.amount.currency):
        raise BadInput("amount.currencyCode", f"expected three capital letters such as GBP, got {shown(asked.amount.currency)}")
    check_amount("amount", asked.amount, asked.amount.currency, 1)
    return asked


def day_in_path(text: str) -> str:
    """The day YYYY-MM-DD. Raises UnknownEntry."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError("not of that form")
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UnknownEntry(f"no day {shown(text)}: expected one such as 2026-07-03") from error


def resolve_request() -> ResolveRequest:
    """The present request. Raises BadInput."""
    asked = json_body(ResolveRequest, max_body=MAX_BODY, max_depth=MAX_DEPTH)
    if asked.code and asked.code not in ATTENTION:
        raise BadInput("code", f"expected a code that GET /api/attention tells, got {shown(asked.code)}")
    return asked


def accept_loss_request() -> str:
    """The reason of a request to accept the lost tail. Raises Refused for any other action, BadInput."""
    asked = resolve_request()
    if asked.action != ACCEPT_LOSS:
        raise Refused(f"the journal lacks entries: {ACCEPT_LOSS} is all that can be done now")
    return asked.reason
