"""What keeps this process from its work, and what went wrong with a page, in words for a shift manager."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapters.edge.answers import RETRY_AFTER_SECONDS, UNKNOWN
from workflow.errors import JournalDamaged, JournalUnavailable, Refused, TryAgain, WorkflowError
from workflow.lifecycle import ATTENTION

MIGRATING = "MIGRATING"
ENDING = ("A part of this program ended by itself: it stops, and starts again.", "Wait a few seconds. If it comes back, look at the log.")
BUSY = ("The journal is being brought up to this version.", "Wait: everything is served as soon as that is done.")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with the process: its code, why, and what to do next."""

    code: str
    why: str
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why there is no page: the status, what is wrong, what to do, and what exactly was found."""

    status: int
    message: str
    following: str = ""
    detail: str = ""
    retry_after: int = RETRY_AFTER_SECONDS


def in_words(code: str) -> Trouble:
    """A code of `/readyz` as people read it."""
    if code in ATTENTION:
        return Trouble(code, ATTENTION[code].why, ATTENTION[code].next)
    return Trouble(code, *(BUSY if code == MIGRATING else ENDING))


def problem_of(error: WorkflowError) -> Problem:
    """What an error of the core means to whoever asked for the page."""
    if isinstance(error, UNKNOWN):
        return Problem(status=404, message=sentence(error))
    if isinstance(error, Refused):
        return Problem(status=409, message=sentence(error))
    if isinstance(error, JournalUnavailable):
        wait = RETRY_AFTER_SECONDS if error.after_seconds is None else math.ceil(error.after_seconds)
        done = "Whether it was stored is unknown: look before you do it again." if error.is_unknown else "Nothing was changed."
        known = ATTENTION.get(error.code)
        why, following = (known.why, known.next) if known else ("The journal cannot be read or written now.", "Try again in a few seconds.")
        return Problem(status=503, message=f"{why} {done}", following=following, detail=str(error), retry_after=wait)
    if isinstance(error, JournalDamaged):
        damaged = ATTENTION["JOURNAL_DAMAGED"]
        return Problem(status=503, message=f"{damaged.why} Nothing was changed.", following=damaged.next, detail=str(error))
    if isinstance(error, TryAgain):
        return Problem(status=503, message=sentence(error), following="Try again in a few seconds.")
    return Problem(status=503, message="What was asked did not come to an end.", following="Look before you try again.", detail=str(error))


def sentence(error: WorkflowError) -> str:
    """What an error says, begun and ended as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
