"""Effects on their way out: worker threads call, one task an order and destination at a time; results come back as commands.

On the healthy path a task is born leased and handed over in memory, so nothing polls. What failed waits in the journal, and so does what
a call brings about that had waited itself; one timer thread sleeps until the next is due, and claims no more than the workers can take and
later attempts may go. Every answer is sorted in `retries.py`. Each destination has workers of its own: one that hangs holds up nobody else.
No wait is by the wall clock: due times are moments of the engine's `SteadyClock`.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from workflow.clock import Clock
from workflow.commands import AttemptFailed, PauseDestination, Result, Sweep, Unsent
from workflow.effects import DOJO, TILL, Task, destination_of
from workflow.engine import Engine
from workflow.errors import CallRefused, IntentNotFound, JournalUnavailable, OutcomeUnknown, Refused, TryAgain
from workflow.retries import Failure, Pace, Sign, Verdict, judge, next_attempt_at, sign_of, wish_ms

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
    """How many calls to Dojo at once, how to try again, how many later attempts a second, when to probe where we are refused.

    `rest` waits so many seconds between two later attempts, or until the event is set.
    """

    workers: int
    pace: Pace
    later_attempts_per_second: int
    random: Callable[[], float]
    probe_ms: int
    sweep_seconds: float
    rest: Callable[[threading.Event, float], object] = threading.Event.wait


class Outbox:
    """Sends what the engine hands over. `senders` maps an effect's name to the call, which returns the result as a command."""

    def __init__(self, engine: Engine, senders: Mapping[str, Sender], clock: Clock, settings: OutboxSettings) -> None:
        self._engine, self._senders, self._clock, self._settings = engine, senders, clock, settings
        workers = {DOJO: settings.workers, TILL: TILL_WORKERS}
        self._queues = {destination_of(name): _Queue() for name in senders}
        self._timer = _Timer(engine, clock, settings, self._queues)
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

    def _work(self, tasks: _Queue) -> None:
        while (task := tasks.get()) is not None:
            try:
                self._perform(task, tasks)
            except Exception:
                logger.exception("task left to its lease", extra={"order_id": task.order_id, "task": task.id})
                self._timer.wake(task.lease_until_ms)

    def _perform(self, task: Task, tasks: _Queue) -> None:
        if self._engine.now_ms() >= task.lease_until_ms:
            try:
                self._engine.handle(Unsent(task=task))  # Waited here for too long: it is nobody's now, and was not tried.
            finally:
                tasks.begun()
            return
        tasks.begun()
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
            failed = self._failed(task, OutcomeUnknown(f"the answer could not be applied: {type(error).__name__}"))
            self._engine.handle(replace(failed, sign=Sign.ALONE) if isinstance(failed, AttemptFailed) else failed)

    def _failed(self, task: Task, error: Failure) -> AttemptFailed | PauseDestination:
        next_at_ms, now_ms, verdict = None, self._engine.now_ms(), judge(error, task.effect)
        wish = None if isinstance(error, Refused) else error.after_seconds
        if verdict is not Verdict.DEAD:
            next_at_ms = next_attempt_at(
                now_ms=now_ms,
                created_at_ms=task.created_at_ms,
                attempt=task.attempts,
                after_seconds=wish,
                pace=self._settings.pace,
                random=self._settings.random,
            )
        facts = {"order_id": task.order_id, "task": task.id, "attempt": task.attempts, "error": str(error)}
        told = str(error)[:ERROR_CHARACTERS]
        if verdict is Verdict.STOP:
            logger.error("credentials refused", extra=facts)
            return PauseDestination(task=task, error=told, probe_at_ms=now_ms + self._settings.probe_ms, next_at_ms=next_at_ms)
        logger.warning("effect failed" if next_at_ms is not None else "effect given up", extra=facts)
        return AttemptFailed(
            task=task,
            error=told,
            next_at_ms=next_at_ms,
            code="INTENT_NOT_FOUND" if isinstance(error, IntentNotFound) else "OUTBOX_DEAD",
            # What Dojo answered about this call alone is no better answered sooner: only its own wait counts.
            not_before_ms=(next_at_ms or 0) if isinstance(error, Refused) else now_ms + wish_ms(wish) if wish else 0,
            sign=sign_of(error),
            alike=str(error.status) if isinstance(error, CallRefused) else "",
        )


class _Queue:
    """Leased tasks on their way to a destination's workers; `has_room` until one waits that no worker has come to."""

    def __init__(self) -> None:
        self._tasks = queue.SimpleQueue[Task | None]()
        self._waiting, self._lock = 0, threading.Lock()

    def put(self, task: Task | None) -> None:
        if task:
            with self._lock:
                self._waiting += 1
        self._tasks.put(task)

    def get(self) -> Task | None:
        """The next task; its worker says `begun` once it is called, or given back."""
        return self._tasks.get()

    def begun(self) -> None:
        with self._lock:
            self._waiting -= 1

    @property
    def has_room(self) -> bool:
        with self._lock:
            return self._waiting == 0


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
    """Sleeps until the next waiting task is due, then leases what is due, one at a time to each destination that has room for it.

    Between two it rests, so that later attempts go no faster than they may. A destination whose workers are all busy is not given more:
    what is leased would only wait in memory, and its lease run out there.
    """

    def __init__(self, engine: Engine, clock: Clock, settings: OutboxSettings, queues: Mapping[str, _Queue]) -> None:
        self._engine, self._clock, self._queues = engine, clock, queues
        self._pause, self._rest_for = 1.0 / settings.later_attempts_per_second, settings.rest
        self._changed, self._stopping = threading.Condition(), threading.Event()
        self._next_ms: int | None = 0
        self._thread = threading.Thread(target=self._run, name="outbox-timer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping.set()
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
            began = self._clock.monotonic()
            ready = [destination for destination, tasks in self._queues.items() if tasks.has_room]
            try:
                claimed = self._engine.claim_due(1, ready) if ready else []
                next_ms = 0 if claimed or not ready else self._next_after_nothing()
            except JournalUnavailable as error:
                logger.warning("waiting tasks not read", extra={"error": str(error)})
                claimed, next_ms = [], self._engine.now_ms() + UNAVAILABLE_PAUSE_MS
            except Exception:  # The top of the thread: without it nothing would be tried again.
                logger.exception("timer failed")
                claimed, next_ms = [], self._engine.now_ms() + UNAVAILABLE_PAUSE_MS
            if next_ms is not None:
                self.wake(next_ms)
            if claimed or len(ready) < len(self._queues):
                # Counted from the claim's beginning: what it took is part of the rest.
                self._rest_for(self._stopping, max(0.0, self._pause - (self._clock.monotonic() - began)))

    def _next_after_nothing(self) -> int | None:
        """When to look again after nothing could be claimed: never at once, whatever the journal says."""
        due_ms = self._engine.next_due_ms()
        return None if due_ms is None else max(due_ms, self._engine.now_ms() + EMPTY_PAUSE_MS)

    def _wait_until_due(self) -> bool:
        """False when it is time to stop."""
        with self._changed:
            while not self._stopping.is_set():
                if self._next_ms is not None and (left := self._next_ms - self._engine.now_ms()) <= 0:
                    self._next_ms = None
                    return True
                self._changed.wait(None if self._next_ms is None else left / 1000)
            return False
