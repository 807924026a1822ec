"""When an effect is tried again, and when never: arithmetic on the kind of answer, the attempt's number and the moments given.

Nothing here reads a clock, draws a random number of its own or sends anything; the outbox does. Source: DESIGN §5, faults U1 to U20.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from workflow.effects import ReadIntent
from workflow.errors import AnswerRedirects, AnswerUnreadable, CallRefused, IntentNotFound, OutcomeUnknown, Refused, RefusesUs, TryAgain

RETRY_BASE_MS = 500
RETRY_CAP_MS = 900_000
RETRY_HORIZON_S = 259_200
RETRY_AFTER_CAP_S = 3_600
"""The longest wait that a server may ask for; a longer wish is cut to it."""

LONGEST_WAIT_MS = RETRY_AFTER_CAP_S * 1_000
"""Nothing ever waits longer for its next attempt: the cap of the back-off may be no longer either."""

HORIZON_ATTEMPTS = 10
"""Age alone gives nothing up. A task may be old because its destination paused, or nothing ran: it gets this many attempts all the same."""

NOT_FOUND_RETRIES = 6
"""So often an intent that Dojo does not know is asked for once more: its event may be ahead of Dojo's own read side."""

Failure: TypeAlias = Refused | TryAgain | OutcomeUnknown
"""What a call to a destination may raise; any other error is no answer, and not for here."""


class Verdict(Enum):
    """What becomes of a task after an attempt."""

    AGAIN = "again"
    DEAD = "dead"
    """Never again without a person."""

    STOP = "stop"
    """The whole destination pauses and no task loses anything, unless it takes others and refuses this one alone."""


class Sign(Enum):
    """What a failure says of the destination."""

    AWAY = "away"
    """It takes no calls now: no answer, a 5xx, a 429."""

    GARBAGE = "garbage"
    """The same, and what answers cannot be understood."""

    REDIRECT = "redirect"
    """The same, and it says that somebody else should be called."""

    REFUSED = "refused"
    """Nothing, unless it refuses every call alike."""

    ALONE = "alone"
    """Nothing: it is about this call alone."""

    UNKNOWN = "unknown"
    """Nothing either: it does not know what it was asked for, and may know it soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast and how long tasks are tried again; `horizon_s` is the age beyond which a task that was tried often enough is dead."""

    base_ms: int = RETRY_BASE_MS
    cap_ms: int = RETRY_CAP_MS
    horizon_s: int = RETRY_HORIZON_S


def judge(error: Failure, effect_name: str) -> Verdict:
    """Sort what went wrong with a try of the effect.

    AGAIN is subject to the horizon, which `next_attempt_at` knows, and for an intent that is unknown to NOT_FOUND_RETRIES, which
    `destinations.py` counts: attempts that met no answer say nothing of it.
    """
    match error:
        case RefusesUs():
            return Verdict.STOP
        case IntentNotFound() if effect_name == ReadIntent.name:
            return Verdict.AGAIN
        case Refused():
            return Verdict.DEAD
        case TryAgain() | OutcomeUnknown():
            return Verdict.AGAIN


def sign_of(error: Failure) -> Sign:
    """What the failure says of the destination; a refusal of our credentials is no sign, but stops everything."""
    match error:
        case CallRefused():
            return Sign.REFUSED
        case IntentNotFound():
            return Sign.UNKNOWN
        case Refused():
            return Sign.ALONE
        case AnswerUnreadable():
            return Sign.GARBAGE
        case AnswerRedirects():
            return Sign.REDIRECT
        case TryAgain() | OutcomeUnknown():
            return Sign.AWAY


def next_attempt_at(
    *, now_ms: int, created_at_ms: int, attempt: int, after_seconds: float | None, pace: Pace, random: Callable[[], float]
) -> int | None:
    """When the attempt after the `attempt`-th is due, in milliseconds since 1970; None when the task is given up.

    That is when it is older than the horizon, after HORIZON_ATTEMPTS at least. `after_seconds` is the server's own wish (`Retry-After`),
    None without one: never earlier than that, see `wish_ms`.
    """
    if attempt >= HORIZON_ATTEMPTS and now_ms - created_at_ms > pace.horizon_s * 1_000:
        return None
    return now_ms + max(wish_ms(after_seconds), backoff_ms(attempt, pace.base_ms, pace.cap_ms, random))


def wish_ms(after_seconds: float | None) -> int:
    """How long a server wants to be left alone, as far as that is granted: up to RETRY_AFTER_CAP_S."""
    return math.ceil(max(0.0, min(after_seconds or 0, RETRY_AFTER_CAP_S)) * 1_000)


def backoff_ms(attempt: int, base_ms: int, cap_ms: int, random: Callable[[], float]) -> int:
    """The wait after the `attempt`-th try (from 1): anything from nothing to the doubled base, at most `cap_ms`.

    Full jitter: tasks that failed together do not come back together. `random` gives numbers from 0 to 1.
    """
    # Past this many doublings the cap rules anyway, and the power would become a number of millions of digits.
    doublings = min(attempt - 1, cap_ms.bit_length())
    return int(random() * min(cap_ms, base_ms << doublings))
