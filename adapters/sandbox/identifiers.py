"""Ids as Dojo makes them: a prefix that says what it is, and something nobody guesses."""

from __future__ import annotations

import secrets
from collections.abc import Callable

IdMaker = Callable[[str], str]
"""Takes a prefix, answers a new id; tests pass their own to get the same ids each time."""

INTENT = "pi_sandbox_"
EVENT = "evt_"
CAPTURE = "cp_"
ORDER = "ord_"
LOCK = "lock_"
PARTY = "dpty_"
RESERVATION = "drsv_"
FLOW = "flow_"
REFUND = "rfnd_"
REVERSAL = "rvs_"
SUBSCRIPTION = "ws_"
WEBHOOK_KEY = "sc_"


def random_id(prefix: str) -> str:
    """`evt_` and 22 characters."""
    return prefix + secrets.token_urlsafe(16)
