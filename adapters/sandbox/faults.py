"""Failures on request: which call or event goes wrong, how, and how often."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from adapters.sandbox.errors import InvalidRequest

EVENT = "EVENT"
"""In place of a method: the rule is about events that Dojo sends, its pattern matches the event's name, or that and the intent's id."""
POS_PATHS = "/v1/"
"""What Dojo calls of the POS begins so, and nothing of Dojo's own: a rule with such a pattern is about calls of the POS."""
CLOSE = "close"
LOST = "lost"
GARBAGE = "garbage"
DRIP = "drip"
TIMEOUT = "timeout"
TWICE = "twice"
LATE = "late"
DROPPED = "dropped"
OUT_OF_ORDER = "out-of-order"

CALL_KINDS = {
    CLOSE: "the connection is closed without an answer, and nothing is done",
    TIMEOUT: "nothing is done and nothing answered until the caller leaves, or for `holdSeconds`",
    LOST: "the call is done, its answer is lost",
    GARBAGE: "the call is done, its answer is 200 and no JSON",
    DRIP: "the call is done, its answer comes a byte at a time until the caller leaves, or for `holdSeconds`",
}
EVENT_KINDS = {
    TWICE: "the same event comes once more",
    LATE: "the event comes `lateSeconds` later, while the flow goes on",
    DROPPED: "the event never comes",
    OUT_OF_ORDER: "the event comes after the next one of its payment, or `lateSeconds` later where none comes",
}
SPOILED = frozenset({LOST, GARBAGE, DRIP})
"""What is done although its caller never reads the answer."""
POS_KINDS = {LOST: "the POS is called, its answer is lost"}
ERROR_STATUSES = range(400, 600)
STATUS_KIND = f"{ERROR_STATUSES[0]} to {ERROR_STATUSES[-1]}"
STATUS_MEANS = "the answer has this status, and nothing is done; 429 with Retry-After, `retryAfterSeconds`"
MAX_SECONDS = 3_600.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One rule: the next `times` matching calls or events go wrong as `kind` says.

    `path` is a shell pattern over the path (`/payment-intents/*`). `kind` is a status of a call (`"500"`, `"429"` with
    `retry_after_seconds`), or a key of `CALL_KINDS`. For events, `path` is one over the name (`*.status_updated`) or over name and
    intent (`*.status_updated pi_1`), and `kind` a key of `EVENT_KINDS`. A `path` that begins with `/v1/` is about Dojo's calls of the POS
    (`/v1/orders/*/record-payment`), and `kind` a key of `POS_KINDS`.
    """

    method: str
    path: str
    kind: str
    times: int = 1
    retry_after_seconds: int = 1
    late_seconds: float = 1.0
    hold_seconds: float = 30.0

    def __post_init__(self) -> None:
        kinds = EVENT_KINDS if self.method == EVENT else POS_KINDS if self.is_for_pos else CALL_KINDS
        if self.kind not in kinds and (kinds is not CALL_KINDS or self.status not in ERROR_STATUSES):
            raise InvalidRequest(f"no fault {self.kind!r} for {self.method} {self.path}")
        if self.times < 1 or not all(0 <= wait <= MAX_SECONDS for wait in (self.retry_after_seconds, self.late_seconds, self.hold_seconds)):
            raise InvalidRequest(f"a fault happens at least once, and waits take from 0 to {MAX_SECONDS:.0f} s")

    @property
    def is_for_pos(self) -> bool:
        """It is about calls that Dojo makes."""
        return self.method != EVENT and self.path.startswith(POS_PATHS)

    @property
    def status(self) -> int:
        """The HTTP status to answer with; 0 where the kind is not a status."""
        return int(self.kind) if self.kind.isascii() and self.kind.isdigit() else 0


def fault_kinds() -> dict[str, dict[str, str]]:
    """What a fault can be about, in words, and every kind of it with its meaning."""
    return {
        "a call of Dojo's API, such as GET /payment-intents/*": {STATUS_KIND: STATUS_MEANS} | CALL_KINDS,
        f"an event, method {EVENT}, such as *.status_updated": EVENT_KINDS,
        f"a call of the POS, such as POST {POS_PATHS}orders/*/record-payment": POS_KINDS,
    }


def fault_defaults() -> str:
    """What a fault is unless its fields say otherwise."""
    return ", ".join(
        f"{field.encode_name} {field.default:g}" for field in msgspec.structs.fields(Fault) if field.default is not msgspec.NODEFAULT
    )


class Faults:
    """The rules that still have times left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """From now on; before all older rules."""
        with self._lock:
            self._rules.insert(0, (fault, fault.times))

    def drop(self, fault: Fault) -> bool:
        """The newest such rule does nothing any more; False where there is none."""
        with self._lock:
            for index, (each, _) in enumerate(self._rules):
                if each == fault:
                    del self._rules[index]
                    return True
        return False

    def clear(self) -> None:
        """All is well from now on."""
        with self._lock:
            self._rules.clear()

    def pending(self) -> tuple[tuple[Fault, int], ...]:
        """The rules that have not gone wrong yet, newest first, each with the times that it has left."""
        with self._lock:
            return tuple(self._rules)

    def take(self, method: str, *names: str) -> Fault | None:
        """The newest rule that matches one of `names`, counted as used once; None where all is well."""
        return self._take(method, names, for_pos=False)

    def take_for_pos(self, method: str, *names: str) -> Fault | None:
        """The same, for a call that Dojo makes."""
        return self._take(method, names, for_pos=True)

    def _take(self, method: str, names: Sequence[str], *, for_pos: bool) -> Fault | None:
        with self._lock:
            for index, (fault, left) in enumerate(self._rules):
                if fault.method == method and fault.is_for_pos == for_pos and any(fnmatchcase(name, fault.path) for name in names):
                    self._rules[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None
