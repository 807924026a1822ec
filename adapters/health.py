"""`/healthz` and `/readyz`: whether the process lives, and whether it can do its work.

`Health` is the one home of what is wrong in this process and stands in no journal; `/api/attention` and `/metrics` read it as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from flask import Blueprint, Response

from adapters.edge.openapi import Call
from workflow.journal.condition import Condition
from workflow.journal.reads import StoredAttention
from workflow.upkeep import Report

WATCH_SECONDS = 0.5
"""How often the parts of the process are looked at."""
LAST_WORDS_SECONDS = 2.0
"""Between a part's death and the end of the process: `/readyz` and `/metrics` say why, what waits is answered."""
NEXT = "tillproof journal verify, then tillproof serve"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the journal and the threads around it are: `dead` names threads that ended, `verified` is the last verification."""

    condition: Condition
    dead: Callable[[], list[str]]
    verified: Callable[[], Report | None]
    wal_bytes: Callable[[], int]

    def reasons(self) -> list[str]:
        """Why this process is not ready; Dojo being unreachable is no reason, since a restart would not help."""
        return [*(trouble.code for trouble in self.condition.standing()), *self.dead()]

    def attention(self) -> list[StoredAttention]:
        """What needs a person and cannot be journaled as long as it stands."""
        return [
            StoredAttention(order_id="", code=trouble.code, payment_intent_id="", since=trouble.since, detail=trouble.detail)
            for trouble in self.condition.standing()
        ]


class Readiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why the process is not ready, in codes; none where it is. `attention`: what else needs a person, and how often; absent for nothing.

    An order that needs a person is no reason to send nobody here any more: only `reasons` make it 503.
    """

    reasons: list[str]
    attention: dict[str, int] = {}


# fmt: off
CALLS = (
    Call(id="healthz", method="GET", path="/healthz", tag="Service", summary="200 while the process lives.", answer=str, media="text/plain", stores=False),
    Call(id="readyz",  method="GET", path="/readyz",  tag="Service", summary="200 where it can do its work, or 503 with the reasons.", answer=Readiness, stores=False, otherwise=((503, "Not ready"),)),
)
# fmt: on


class Supervisor:
    """Ends a process of which a part died (K13): half alive it would take money's messages and do nothing about them.

    `died` hears which part; `end` is called once, LAST_WORDS_SECONDS later.
    """

    def __init__(self, died: Callable[[str], None], end: Callable[[], None]) -> None:
        self._died, self._end = died, end
        self._stopping = threading.Event()

    def start(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        """Watch over `parts`, by name: whether each is alive."""
        threading.Thread(target=self._run, args=(parts,), name="supervisor", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer: from now on, parts end as they should."""
        self._stopping.set()

    def _run(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        try:
            self._watch(parts)
        except Exception:  # The top of the thread: without it nobody would notice that nobody watches any more.
            logger.critical("ending: the watch over the process died", exc_info=True, extra={"next": NEXT})
            self._end()

    def _watch(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            dead = [name for name, is_alive in parts.items() if not is_alive()]
            if not dead or self._stopping.is_set():
                continue
            for name in dead:
                self._died(name)
            logger.critical("ending: a part of the process died", extra={"parts": ", ".join(dead), "next": NEXT})
            if not self._stopping.wait(LAST_WORDS_SECONDS):
                self._end()
            return


def make_blueprint(reasons: Callable[[], list[str]], attention: Callable[[], dict[str, int]] = dict) -> Blueprint:
    """The two routes; `reasons` says why the process is not ready, in codes, `attention` what needs a person, the gravest code first."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        found = reasons()
        standing = {code: count for code, count in attention().items() if code not in found}
        return Response(
            msgspec.json.encode(Readiness(reasons=found, attention=standing)), 503 if found else 200, mimetype="application/json"
        )

    return blueprint
