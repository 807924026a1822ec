"""When an effect is tried again, and when never: arithmetic on the kind of answer, the attempt's number and the moments given.

Nothing here reads a clock, draws a random number of its own or sends anything; the outbox does. Source: DESIGN §5, faults U1 to U14.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from workflow.effects import ReadIntent
from workflow.errors import IntentNotFound, OutcomeUnknown, Refused, RefusesUs, TryAgain

RETRY_BASE_MS = 500
RETRY_CAP_MS = 900_000
RETRY_HORIZON_S = 259_200
RETRY_AFTER_CAP_S = 3_600
"""The longest wait that a server may ask for; a longer wish is cut to it."""

NOT_FOUND_RETRIES = 6
"""Attempts after the first for an intent that Dojo does not know: its event may be ahead of Dojo's own read side."""

Failure: TypeAlias = Refused | TryAgain | OutcomeUnknown
"""What a call to a destination may raise; any other error is no answer, and not for here."""


class Verdict(Enum):
    """What becomes of a task after an attempt."""

    AGAIN = "again"
    DEAD = "dead"
    """Never again without a person."""

    STOP = "stop"
    """The whole destination pauses and no task loses anything, unless it takes others and refuses this one alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast and how long tasks are tried again; `horizon_s` is the age beyond which a task is dead."""

    base_ms: int = RETRY_BASE_MS
    cap_ms: int = RETRY_CAP_MS
    horizon_s: int = RETRY_HORIZON_S


def judge(error: Failure, effect_name: str, attempt: int) -> Verdict:
    """Sort what went wrong with the `attempt`-th try (from 1) of the effect.

    AGAIN is subject to the horizon, which `next_attempt_at` knows.
    """
    match error:
        case RefusesUs():
            return Verdict.STOP
        case IntentNotFound() if effect_name == ReadIntent.name and attempt <= NOT_FOUND_RETRIES:
            return Verdict.AGAIN
        case Refused():
            return Verdict.DEAD
        case TryAgain() | OutcomeUnknown():
            return Verdict.AGAIN


def next_attempt_at(
    *, now_ms: int, created_at_ms: int, attempt: int, after_seconds: float | None, pace: Pace, random: Callable[[], float]
) -> int | None:
    """When the attempt after the `attempt`-th is due, in milliseconds since 1970; None when the task is older than the horizon.

    `after_seconds` is the server's own wish (`Retry-After`), None without one: never earlier than that, up to RETRY_AFTER_CAP_S.
    """
    if now_ms - created_at_ms > pace.horizon_s * 1_000:
        return None
    wish_ms = math.ceil(min(after_seconds or 0, RETRY_AFTER_CAP_S) * 1_000)
    return now_ms + max(wish_ms, backoff_ms(attempt, pace.base_ms, pace.cap_ms, random))


def backoff_ms(attempt: int, base_ms: int, cap_ms: int, random: Callable[[], float]) -> int:
    """The wait after the `attempt`-th try (from 1): anything from nothing to the doubled base, at most `cap_ms`.

    Full jitter: tasks that failed together do not come back together. `random` gives numbers from 0 to 1.
    """
    # Past this many doublings the cap rules anyway, and the power would become a number of millions of digits.
    doublings = min(attempt - 1, cap_ms.bit_length())
    return int(random() * min(cap_ms, base_ms << doublings))
