"""`/metrics` for Prometheus: what the journal says at the moment of the scrape, and what this process has counted. Never ids as labels."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from adapters.edge.openapi import Call
from adapters.health import Health
from workflow.attention import concerns
from workflow.clock import Clock, from_text
from workflow.effects import DESTINATIONS, DOJO, TILL, TellTill
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.reads import SqliteReads
from workflow.lifecycle import EFFECTS, ORDER
from workflow.unit import PAUSE_CODES

CALLS = (
    Call(
        id="metrics", method="GET", path="/metrics", tag="Service", summary="Read figures for Prometheus.", answer=str, media="text/plain"
    ),
)


METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Any other is counted as `other`: a caller may make up as many as it likes."""


class Metrics:
    """The counters of one process; `observe_call` is called from any thread."""

    def __init__(self, reads: SqliteReads | None, health: Health, clock: Clock, now_ms: Callable[[], int]) -> None:
        """`reads` is None while the journal is shut; `now_ms` is the moment by which tasks of the outbox are due and old."""
        self._clock = clock
        self.registry = CollectorRegistry()
        self._count_calls(self.registry)
        self._count_requests(self.registry)
        self._dead_parts = Gauge(
            "tillproof_dead_parts", "Parts of the process whose threads died; it ends for that", ["part"], registry=self.registry
        )
        if reads is None:
            self.registry.register(_KnownCollector(health, clock))
        else:
            self.registry.register(_JournalCollector(reads, health, clock))
            self.registry.register(_OutboxCollector(reads, now_ms))

    def _count_calls(self, registry: CollectorRegistry) -> None:
        """What goes out."""
        self._calls = Counter(
            "tillproof_attempts",
            "Calls by what was called and how it answered",
            ["target", "result"],
            registry=registry,
        )
        self._ahead = Gauge(
            "tillproof_clock_ahead_seconds",
            "How far the clock of whom we called is ahead of ours, by its last answer",
            ["target"],
            registry=registry,
        )
        self._redeliveries = Counter(
            "tillproof_redeliveries",
            "Calls made again: an earlier attempt failed, or nobody knows what became of it",
            ["effect"],
            registry=registry,
        )
        for effect in EFFECTS:
            self._redeliveries.labels(effect)

    def _count_requests(self, registry: CollectorRegistry) -> None:
        """What comes in."""
        self._requests = Histogram(
            "tillproof_http_request_duration_seconds",
            "Requests by side, method and status",
            ["side", "method", "status"],
            registry=registry,
        )
        self._events = Counter(
            "tillproof_events",
            "Events of Dojo's by kind and what became of them: applied, duplicate, stale, parked, ignored",
            ["type", "outcome"],
            registry=registry,
        )
        self._repeats = Counter("tillproof_repeats", "Requests that were answered as the first time", ["capability"], registry=registry)
        self._shed = Counter(
            "tillproof_shed_requests",
            "Requests turned away before anything was done: `rate` is 429, `busy` 503",
            ["side", "reason"],
            registry=registry,
        )
        self._refused = Counter(
            "tillproof_refused_callers",
            "Requests without credentials, with wrong ones, with a wrong signature, or throttled after too many guesses",
            ["side", "reason"],
            registry=registry,
        )

    def observe_attempt(self, effect: str, attempt: int) -> None:
        """A task of the outbox is about to be sent for the `attempt`-th time."""
        if attempt > 1:
            self._redeliveries.labels(effect).inc()

    def observe_call(self, target: str, result: str) -> None:
        """A call ended; `result` is the status, or `none` without an answer."""
        self._calls.labels(target, result).inc()

    def observe_clock(self, target: str, answered_at: datetime) -> None:
        """An answer named its own time: shown, and used for nothing (T7)."""
        self._ahead.labels(target).set(round((answered_at - self._clock.now()).total_seconds()))

    def observe_message(self, what: str, became: str) -> None:
        """An event of the kind `what` was taken, or the same CreateOrder again; kinds that Dojo has not published are one, `other`."""
        if what == "CreateOrder":
            self._repeats.labels(what).inc()
        else:
            self._events.labels(what, became).inc()

    def shed(self, side: str, reason: str) -> None:
        """A request was turned away at the door."""
        self._shed.labels(side, reason).inc()

    def refused(self, side: str, reason: str) -> None:
        """A caller was not who it should be."""
        self._refused.labels(side, reason).inc()

    def died(self, part: str) -> None:
        """A thread of that part of the process died."""
        self._dead_parts.labels(part).set(1)

    def watch(self, app: Flask, side: str) -> None:
        """Time every request of an application; `side` is `dojo` or `venue`."""

        @app.before_request
        def begin() -> None:
            g.began = self._clock.monotonic()

        @app.after_request
        def end(response: Response) -> Response:
            began = g.get("began")
            if began is not None:
                method = request.method if request.method in METHODS else "other"
                self._requests.labels(side, method, str(response.status_code)).observe(self._clock.monotonic() - began)
            return response

    def blueprint(self) -> Blueprint:
        """`GET /metrics`."""
        blueprint = Blueprint("metrics", __name__)

        @blueprint.get("/metrics")
        def metrics() -> Response:
            return Response(generate_latest(self.registry), content_type=CONTENT_TYPE_LATEST)

        return blueprint


class _KnownCollector:
    """What this process knows by itself; all there is while the journal is shut."""

    def __init__(self, health: Health, clock: Clock) -> None:
        self._health, self._clock = health, clock

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not read the journal."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges, as they are now."""
        yield from self._known()
        yield self._attention([])

    def _known(self) -> Iterator[Metric]:
        """What stands in no journal."""
        failures = CounterMetricFamily("tillproof_journal_failures", "Writes that the journal could not take, by why", labels=["code"])
        for code, count in sorted(self._health.condition.failures.items()):
            failures.add_metric([code], count)
        yield failures
        yield GaugeMetricFamily("tillproof_wal_bytes", "Length of the journal's write-ahead log", value=self._health.wal_bytes())
        if last := self._health.verified():
            age = max(0.0, (self._clock.now() - from_text(last.at)).total_seconds())
            yield GaugeMetricFamily(
                "tillproof_verification_ok", "1 where the last verification found the journal whole", value=not last.fault
            )
            yield GaugeMetricFamily("tillproof_verification_age_seconds", "Since the last verification ended", value=age)
            yield GaugeMetricFamily("tillproof_verification_entries", "Entries that it verified", value=last.entries)

    def _attention(self, stored: list[tuple[str, int]]) -> Metric:
        """By code, both what is journaled and what cannot be."""
        tally = Tally(dict(stored)) + Tally(row.code for row in self._health.attention())
        family = GaugeMetricFamily("tillproof_attention", "What needs a person, by code", labels=["code"])
        for code, count in sorted(tally.items()):
            family.add_metric([code], count)
        return family


class _JournalCollector(_KnownCollector):
    """Gauges that are read from the journal when they are asked for; of one that cannot be read, what this process knows of it."""

    def __init__(self, reads: SqliteReads, health: Health, clock: Clock) -> None:
        super().__init__(health, clock)
        self._reads = reads

    def collect(self) -> Iterator[Metric]:
        """The gauges, as they are now."""
        yield from self._known()
        try:
            yield from list(self._stored())
        except (JournalUnavailable, JournalDamaged):
            yield self._attention([])

    def _stored(self) -> Iterator[Metric]:
        yield self._by("tillproof_orders_total", "Orders by flow and state", ["flow", "state"], _ORDERS)
        yield self._by("tillproof_outbox_tasks", "Tasks of the outbox by status", ["status"], _TASKS)
        yield self._attention([(code, count) for code, count in self._reads.rows(_ATTENTION)])
        yield from self._paid_not_on_till()
        yield self._one("tillproof_dead_letters", "Tasks that will not be tried again", "SELECT count(*) FROM outbox WHERE status = 'dead'")
        yield self._one("tillproof_parked_intents", "Intents that no order explains", "SELECT count(*) FROM parked")
        yield self._one("tillproof_journal_rows", "Entries of the journal", "SELECT coalesce(max(seq), 0) FROM journal")
        yield self._age("tillproof_oldest_unsettled_seconds", "Age of the oldest order whose money is on its way", _OLDEST)
        yield self._age("tillproof_last_event_age_seconds", "Since Dojo's last event", _LAST_EVENT)

    def _paid_not_on_till(self) -> Iterator[Metric]:
        """Money that Dojo took and the till does not have: the first alarm to set."""
        found = [concern for concern in concerns(self._reads.attention_with_orders()) if concern.is_paid_not_on_till]
        yield GaugeMetricFamily("tillproof_paid_not_on_till", "What is paid at Dojo and not on the till", value=len(found))
        oldest = min((concern.since for concern in found), default=None)
        yield self._since("tillproof_paid_not_on_till_oldest_seconds", "For how long the oldest of them has been known", oldest)

    def _by(self, name: str, text: str, labels: list[str], sql: str) -> Metric:
        family = GaugeMetricFamily(name, text, labels=labels)
        for *values, count in self._reads.rows(sql):
            family.add_metric([str(value) for value in values], count)
        return family

    def _one(self, name: str, text: str, sql: str) -> Metric:
        return GaugeMetricFamily(name, text, value=self._reads.rows(sql)[0][0])

    def _age(self, name: str, text: str, sql: str) -> Metric:
        return self._since(name, text, self._reads.rows(sql)[0][0])

    def _since(self, name: str, text: str, at: str | None) -> Metric:
        age = max(0.0, (self._clock.now() - from_text(at)).total_seconds()) if at else 0.0
        return GaugeMetricFamily(name, text, value=age)


class _OutboxCollector:
    """How each destination is served: what waits for it, for how long, and whether it takes our calls."""

    def __init__(self, reads: SqliteReads, now_ms: Callable[[], int]) -> None:
        self._reads, self._now_ms = reads, now_ms

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not read the journal."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges, as they are now; none of a journal that cannot be read, whose trouble the others tell."""
        with suppress(JournalUnavailable, JournalDamaged):
            yield from self._read()

    def _read(self) -> tuple[Metric, ...]:
        backlog = GaugeMetricFamily("tillproof_outbox_backlog", "Tasks that wait or are under way", labels=["destination"])
        oldest = GaugeMetricFamily("tillproof_outbox_oldest_seconds", "Age of the oldest of them", labels=["destination"])
        circuit = GaugeMetricFamily(
            "tillproof_circuit_open", "1 while calls fail or pause and none was taken since, otherwise 0", labels=["destination"]
        )
        waiting = {destination: (count, since_ms) for destination, count, since_ms in self._reads.rows(_BACKLOG)}
        standing = {item.code for item in self._reads.attention()}
        for destination in DESTINATIONS:
            is_paused = not standing.isdisjoint(PAUSE_CODES[destination])
            count, since_ms = waiting.get(destination, (0, None))
            backlog.add_metric([destination], count)
            oldest.add_metric([destination], 0.0 if since_ms is None else max(0, self._now_ms() - since_ms) / 1000)
            circuit.add_metric([destination], float(is_paused or bool(self._reads.conduct(destination).failed)))
        return backlog, oldest, circuit


# A partial index serves only the very condition it was made with: so each status is asked for by itself.
_WAITING = " UNION ALL ".join(
    f"SELECT effect, created_at_ms FROM outbox WHERE status = '{name}'" for name in ("pending", "leased", "paused")
)
_BACKLOG = f"SELECT iif(effect = '{TellTill.name}', '{TILL}', '{DOJO}'), count(*), min(created_at_ms) FROM ({_WAITING}) GROUP BY 1"
_ORDERS = "SELECT flow, state, count(*) FROM orders GROUP BY 1, 2"
_TASKS = "SELECT status, count(*) FROM outbox GROUP BY 1"
_ATTENTION = "SELECT code, count(*) FROM attention GROUP BY 1"
_UNSETTLED = ", ".join(f"'{state}'" for state in ORDER.groups["unsettled"].split())
_OLDEST = f"SELECT min(updated_at) FROM orders WHERE state IN ({_UNSETTLED})"
_LAST_EVENT = "SELECT max(at) FROM (SELECT at FROM journal WHERE kind = 'event' ORDER BY seq DESC LIMIT 1)"
