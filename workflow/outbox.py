"""Effects on their way out: worker threads call, one task an order and destination at a time; results come back as commands.

On the healthy path a task is born leased and handed over in memory, so nothing polls. What failed waits in the journal; one timer
thread sleeps until the next is due. Every answer is sorted in `retries.py`. Each destination has workers of its own: one that hangs
holds up nobody else.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workflow.clock import Clock
from workflow.commands import AttemptFailed, PauseDestination, Result, Sweep
from workflow.effects import DOJO, TILL, Task, destination_of
from workflow.engine import Engine
from workflow.errors import IntentNotFound, JournalUnavailable, OutcomeUnknown, Refused, TryAgain
from workflow.retries import Failure, Pace, Verdict, judge, next_attempt_at

logger = logging.getLogger(__name__)

Sender = Callable[[Task], Result]
ERROR_CHARACTERS = 300
"""An error text is cut to this before it is stored."""
UNAVAILABLE_PAUSE_MS = 1000
SWEEP_LIMIT = 100
"""The most intents that one sweep has read; the next one goes on."""
EMPTY_PAUSE_MS = 20
TILL_WORKERS = 4
"""Parallel calls to the till: it is one program on one machine."""
STOP_SECONDS = 1.0
"""How long `stop` waits for calls under way; what is not finished then is sent again after the restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """How many calls to Dojo at once, how to try again, how many later attempts a second, when to probe where we are refused."""

    workers: int
    pace: Pace
    later_attempts_per_second: int
    random: Callable[[], float]
    probe_ms: int
    sweep_seconds: float


class Outbox:
    """Sends what the engine hands over. `senders` maps an effect's name to the call, which returns the result as a command."""

    def __init__(self, engine: Engine, senders: Mapping[str, Sender], clock: Clock, settings: OutboxSettings) -> None:
        self._engine, self._senders, self._clock, self._settings = engine, senders, clock, settings
        workers = {DOJO: settings.workers, TILL: TILL_WORKERS}
        self._queues = {destination_of(name): queue.SimpleQueue[Task | None]() for name in senders}
        self._timer = _Timer(engine, clock, settings)
        self._sweeper = _Sweeper(engine, settings.sweep_seconds)
        self._threads = [
            threading.Thread(target=self._work, args=(tasks,), name=f"outbox-{destination}-{number}", daemon=True)
            for destination, tasks in self._queues.items()
            for number in range(1, workers[destination] + 1)
        ]
        engine.hand_over, engine.wake = self._take, self._timer.wake

    def start(self) -> None:
        """Take up what an earlier process left, and begin to send."""
        try:
            self._engine.recover_leases()
        except JournalUnavailable as error:
            logger.warning("leases left to run out", extra={"error": str(error)})
        for thread in self._threads:
            thread.start()
        self._timer.start()
        self._sweeper.start()

    def stop(self) -> None:
        """Finish the calls under way, within a limit; leave the rest where it is."""
        self._sweeper.stop()
        self._timer.stop()
        for tasks in self._queues.values():
            for _ in self._threads:
                tasks.put(None)
        deadline = self._clock.monotonic() + STOP_SECONDS
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(timeout=max(0.0, deadline - self._clock.monotonic()))

    @property
    def is_alive(self) -> bool:
        """Every thread runs."""
        return self._timer.is_alive and self._sweeper.is_alive and all(thread.is_alive() for thread in self._threads)

    def _take(self, task: Task) -> None:
        self._queues[task.destination].put(task)

    def _work(self, tasks: queue.SimpleQueue[Task | None]) -> None:
        while (task := tasks.get()) is not None:
            try:
                self._perform(task)
            except Exception:
                logger.exception("task left to its lease", extra={"order_id": task.order_id, "task": task.id})
                self._timer.wake(task.lease_until_ms)

    def _perform(self, task: Task) -> None:
        if _now_ms(self._clock) >= task.lease_until_ms:
            self._timer.wake(task.lease_until_ms)  # Waited here for too long: somebody else may have it.
            return
        try:
            result = self._senders[task.effect](task)
        except (Refused, TryAgain, OutcomeUnknown) as error:
            result = self._failed(task, error)
        except Exception as error:
            logger.exception("sender failed", extra={"order_id": task.order_id, "task": task.id})
            result = self._failed(task, OutcomeUnknown(f"{task.effect}: {type(error).__name__}"))
        self._deliver(task, result)

    def _deliver(self, task: Task, result: Result) -> None:
        try:
            self._engine.handle(result)
        except JournalUnavailable:
            raise
        except Exception as error:  # The answer cannot be applied: only this task may suffer.
            logger.exception("result not applied", extra={"order_id": task.order_id, "task": task.id})
            self._engine.handle(self._failed(task, OutcomeUnknown(f"the answer could not be applied: {type(error).__name__}")))

    def _failed(self, task: Task, error: Failure) -> AttemptFailed | PauseDestination:
        next_at_ms, verdict = None, judge(error, task.effect, task.attempts)
        if verdict is not Verdict.DEAD:
            next_at_ms = next_attempt_at(
                now_ms=_now_ms(self._clock),
                created_at_ms=task.created_at_ms,
                attempt=task.attempts,
                after_seconds=None if isinstance(error, Refused) else error.after_seconds,
                pace=self._settings.pace,
                random=self._settings.random,
            )
        facts = {"order_id": task.order_id, "task": task.id, "attempt": task.attempts, "error": str(error)}
        if verdict is Verdict.STOP:
            logger.error("credentials refused", extra=facts)
            probe_at_ms = _now_ms(self._clock) + self._settings.probe_ms
            return PauseDestination(task=task, error=str(error)[:ERROR_CHARACTERS], probe_at_ms=probe_at_ms, next_at_ms=next_at_ms)
        logger.warning("effect failed" if next_at_ms is not None else "effect given up", extra=facts)
        code = "INTENT_NOT_FOUND" if isinstance(error, IntentNotFound) else "OUTBOX_DEAD"
        return AttemptFailed(task=task, error=str(error)[:ERROR_CHARACTERS], next_at_ms=next_at_ms, code=code)


class _Sweeper:
    """Every so often has intents read that stay open."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine, self._seconds = engine, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox-sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._engine.handle(Sweep(limit=SWEEP_LIMIT))
            except JournalUnavailable as error:
                logger.warning("sweep put off", extra={"error": str(error)})
            except Exception:  # The top of the thread: without it nothing would be swept any more.
                logger.exception("sweep failed")


class _Timer:
    """Sleeps until the next waiting task is due, then leases what is due, no faster than later attempts may go."""

    def __init__(self, engine: Engine, clock: Clock, settings: OutboxSettings) -> None:
        self._engine, self._clock = engine, clock
        self._pause = 1.0 / settings.later_attempts_per_second
        self._changed = threading.Condition()
        self._next_ms: int | None = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="outbox-timer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self, at_ms: int) -> None:
        """A task is due at `at_ms`."""
        with self._changed:
            if self._next_ms is None or at_ms < self._next_ms:
                self._next_ms = at_ms
                self._changed.notify()

    def _run(self) -> None:
        while self._wait_until_due():
            try:
                claimed = self._engine.claim_due(1)
                next_ms = 0 if claimed else self._next_after_nothing()
            except JournalUnavailable as error:
                logger.warning("waiting tasks not read", extra={"error": str(error)})
                claimed, next_ms = [], _now_ms(self._clock) + UNAVAILABLE_PAUSE_MS
            except Exception:  # The top of the thread: without it nothing would be tried again.
                logger.exception("timer failed")
                claimed, next_ms = [], _now_ms(self._clock) + UNAVAILABLE_PAUSE_MS
            if next_ms is not None:
                self.wake(next_ms)
            if claimed:
                self._rest()

    def _next_after_nothing(self) -> int | None:
        """When to look again after nothing could be claimed: never at once, whatever the journal says."""
        due_ms = self._engine.next_due_ms()
        return None if due_ms is None else max(due_ms, _now_ms(self._clock) + EMPTY_PAUSE_MS)

    def _wait_until_due(self) -> bool:
        """False when it is time to stop."""
        with self._changed:
            while not self._stopping:
                if self._next_ms is not None and (left := self._next_ms - _now_ms(self._clock)) <= 0:
                    self._next_ms = None
                    return True
                self._changed.wait(None if self._next_ms is None else left / 1000)
            return False

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, timeout=self._pause)


def _now_ms(clock: Clock) -> int:
    return int(clock.now().timestamp() * 1000)
