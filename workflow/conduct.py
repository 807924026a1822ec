"""How a destination has answered of late: one value for each, changed by the end of every attempt and kept beside the outbox.

Pure. It tells an outage from an order that fails alone, twenty refusals alike from one, and how long answers have been garbage. What
follows from it is in `destinations.py`. Everything noted is bounded, whatever waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from workflow.retries import NOT_FOUND_RETRIES

OUTAGE_LANES = 2
"""An outage: this many different orders failed, and no call was taken in between. An order that fails among healthy ones is none."""

WAKE_PAUSE_MS = 60_000
"""The end of an outage makes what waits due at most so often: several orders that fail for ever are not hammered either."""

ALIKE_REFUSALS = 20
"""So many calls refused alike in a row are not about the calls: the destination pauses (U20)."""

GARBAGE_ANSWERS = 5
"""So many unreadable answers to one task call a person (U11)."""

MOST_NOTED = 100
"""The most tasks noted of a kind; of those beyond it others tell enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What is known of a destination between its answers.

    `failed`: orders that failed since it last took a call, at most OUTAGE_LANES. `is_wake_owed`: an outage ended, and what waits has not
    been made due yet; `woke_at_ms` is when it last was. `refused`: tasks given up since, each refused `alike`. `suspects`: tasks that were
    among so many alike, and have not ended. `garbage`: unreadable answers by task. `unknown`: how often the intent of a task was
    not known. `redirected`: tasks that were led elsewhere.
    """

    failed: tuple[str, ...] = ()
    is_wake_owed: bool = False
    woke_at_ms: int = 0
    refused: tuple[str, ...] = ()
    alike: str = ""
    suspects: tuple[str, ...] = ()
    garbage: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    redirected: tuple[str, ...] = ()

    @property
    def is_garbage(self) -> bool:
        """Some task's answers have been unreadable for too long."""
        return any(count >= GARBAGE_ANSWERS for count in self.garbage.values())

    @property
    def is_contract(self) -> bool:
        """The newest refusals alike are so many that they are about every call."""
        return len(self.refused) >= ALIKE_REFUSALS

    def took(self) -> Conduct:
        """The destination took a call."""
        owed = self.is_wake_owed or len(self.failed) >= OUTAGE_LANES
        return replace(self, failed=(), is_wake_owed=owed, refused=(), alike="")

    def may_wake(self, now_ms: int) -> bool:
        """What waits is to be made due now."""
        return self.is_wake_owed and now_ms - self.woke_at_ms >= WAKE_PAUSE_MS

    def woke(self, now_ms: int) -> Conduct:
        """What waited was made due."""
        return replace(self, is_wake_owed=False, woke_at_ms=now_ms)

    def failing(self, lane: str) -> Conduct:
        """A call for the lane was not taken: no answer, an unreadable one, or `not now`."""
        return self if lane in self.failed or len(self.failed) >= OUTAGE_LANES else replace(self, failed=(*self.failed, lane))

    def unreadable(self, task_id: str) -> Conduct:
        """The task's answer was garbage once more."""
        return replace(self, garbage=_counted(self.garbage, task_id, most=GARBAGE_ANSWERS))

    def not_knowing(self, task_id: str) -> Conduct:
        """The intent that the task reads was not known once more."""
        return replace(self, unknown=_counted(self.unknown, task_id, most=NOT_FOUND_RETRIES + 1))

    def is_unknown_for_good(self, task_id: str, attempts: int) -> bool:
        """The intent was asked for often enough; of a task that is not noted the attempts tell."""
        return self.unknown.get(task_id, attempts) > NOT_FOUND_RETRIES

    def led_elsewhere(self, task_id: str) -> Conduct:
        """The task's call was answered with a redirect."""
        return replace(self, redirected=_noted(self.redirected, task_id))

    def refusing(self, task_id: str, alike: str) -> Conduct:
        """The task's call was refused for what it says; `alike` is what refusals are compared by."""
        before = self.refused if alike == self.alike else ()
        return replace(self, refused=_noted(before, task_id), alike=alike)

    def suspecting(self, *task_ids: str) -> Conduct:
        """These were refused with so many others alike: if they are refused again while others are taken, it is for their own sake."""
        suspects = self.suspects
        for task_id in task_ids:
            suspects = _noted(suspects, task_id)
        return replace(self, refused=(), alike="", suspects=suspects)

    def without(self, task_id: str) -> Conduct:
        """The task ended, or was answered as it should be."""
        if not any(task_id in noted for noted in (self.garbage, self.unknown, self.redirected, self.suspects)):
            return self
        return replace(
            self,
            suspects=_without(self.suspects, task_id),
            garbage=_uncounted(self.garbage, task_id),
            unknown=_uncounted(self.unknown, task_id),
            redirected=_without(self.redirected, task_id),
        )

    def stopped(self, task_id: str) -> Conduct:
        """A person ended the task: it is not brought back with others that were refused alike either."""
        return replace(self.without(task_id), refused=_without(self.refused, task_id))


def _counted(counts: Mapping[str, int], name: str, *, most: int) -> Mapping[str, int]:
    if name not in counts and len(counts) >= MOST_NOTED:
        return counts
    return {**counts, name: min(counts.get(name, 0) + 1, most)}


def _uncounted(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {other: count for other, count in counts.items() if other != name}


def _noted(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)[-MOST_NOTED:]


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)
