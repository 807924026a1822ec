"""Dojo's side under requests made from Dojo's published schema, good and bad: `python -m tests.fuzz --cases N [--seed N]`.

schemathesis makes the cases (examples, coverage of every keyword, random data, sequences that reuse ids of earlier answers); the
service is a real process. No answer may be a 5xx, every answer is as published for its status, and after each phase the service is
healthy and its journal verifies and replays. What a case sends is bent towards what exists: see `Known`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from jsonschema_rs import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events, from_schema
from schemathesis.engine.run import TESTING_PHASES
from schemathesis.generation.case import Case

from adapters.capabilities import CAPABILITIES, SERVED
from tests.conftest import SPECS
from tests.contract.running import Service, a_bill, an_event, an_order, basic, running

ROUND_EXAMPLES = 40, 400
"""Random cases an operation in one round, at least and at most; rounds follow one another, each with the next seed, to `cases`."""

KNOWN_IDS = 200
"""Ids that are remembered of each kind."""

TABLES = 60
"""Of the till; as many that most parties find one that is free."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
"""`positive_data_acceptance` is not among them: lengths, currencies and ids that the schema has and no till can serve are refused."""

USERNAME, PASSWORD = "epos-fuzz", "in ASCII: the client sends other letters as Latin-1"
SETTINGS = {"EPOS_USERNAME": USERNAME, "EPOS_PASSWORD": PASSWORD, "RETRY_BASE_MS": 3_600_000, "RETRY_CAP_MS": 3_600_000, "SWEEP_S": 86_400}
"""Dojo is out of reach here; what is owed to it stays in the outbox."""


# -- the schema


def published(specs: Path) -> dict[str, Any]:
    """The published document with the operations that are served."""
    document: dict[str, Any] = json.loads((specs / "epos-data-api.json").read_text("utf-8"))
    served = {(one.path, one.method.lower()) for one in CAPABILITIES if one.name in SERVED}
    document["components"]["securitySchemes"] = {"basic": {"type": "http", "scheme": "basic"}}
    document["security"] = [{"basic": []}]  # What the registration says; the document itself is silent.
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("type", "object")  # Some of parties and reservations do not say so, and would allow any JSON.
    document["paths"] = {
        path: {name: part for name, part in item.items() if name == "parameters" or (path, name) in served}
        for path, item in document["paths"].items()
        if any(at == path for at, _ in served)
    }
    return document


SEARCHES = tuple(one.path for one in CAPABILITIES if one.name in SERVED and one.path.endswith("/search"))

# -- what exists, so that cases reach further than a 404


@dataclass(slots=True)
class Known:
    """Ids of a service with some history: orders of every kind, their locks, parties, reservations; a page token of each search."""

    orders: list[str] = field(default_factory=list)
    locks: list[tuple[str, str]] = field(default_factory=list)
    parties: list[str] = field(default_factory=list)
    reservations: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, service: Service) -> Known:
        """Make the history."""
        known = cls()
        service.till.call("PUT", "/till/areas", [{"id": "area_1", "name": "Bar"}, {"id": "area_2", "name": "Garden", "waiterIds": ["w_1"]}])
        service.till.call(
            "PUT", "/till/tables", [{"id": f"tbl_{n}", "name": f"Table {n}", "areaId": f"area_{n % 2 + 1}"} for n in range(TABLES)]
        )
        for n in range(12):
            paid = {"intent_id": f"pi_known_{n}"} if n % 3 == 0 else {}
            known.orders.append(service.dojo.post("/v1/orders", an_order(f"ord_known_{n}", table=f"tbl_{n}", **paid)).json["id"])
        known.orders.append(service.till.post("/till/orders", a_bill()).json["id"])
        for n in (0, 3):  # Money was taken: these cannot be cancelled.
            service.dojo.post("/v1/events", an_event(f"evt_known_{n}", f"pi_known_{n}"))
        for n, order in enumerate(known.orders[1::2]):
            known.locks.append((order, f"lock_known_{n}"))
            service.dojo.post(f"/v1/orders/{order}/lock", {"lockId": f"lock_known_{n}", "expiry": "2999-01-01T00:00:00Z"})
        service.dojo.call("DELETE", f"/v1/orders/{known.orders[4]}")
        for n in range(4):
            times = {"startTime": moment(n), "endTime": moment(n + 1), "tableIds": [f"tbl_{n}"]}
            party = {"dojoPartyId": f"party_known_{n}", "name": "Robin", "covers": n} | times
            known.parties.append(service.dojo.post("/v1/parties", party).json["id"])
            reservation = {"dojoReservationId": f"res_known_{n}", "name": "Robin", "covers": n} | times
            known.reservations.append(service.dojo.post("/v1/reservations", reservation).json["id"])
            if n == 3:
                service.dojo.call("PUT", f"/v1/parties/{known.parties[n]}", party | {"status": "left"})
        for place in SEARCHES:
            page = service.dojo.post(place, {"cursor": {"limit": 1}}).json
            known.tokens[place] = (page[0] if isinstance(page, list) else page)["after"]
        return known

    def bend(self, case: Case) -> None:
        """Let about two of three cases speak of what exists, and be fit for this venue where their types are right.

        So a good case can be accepted, and a bad one is refused for what is bad about it. schemathesis judges what is sent.
        """
        draw = zlib.crc32(
            repr((case.operation.label, case.path_parameters, [*(case.headers or {}).items()], case.body)).encode("utf-8", "surrogatepass")
        )
        if draw % 3 == 0:
            return
        order, lock = self.locks[draw % len(self.locks)] if "lockId" in (case.path_parameters or {}) else (_one(self.orders, draw), "")
        ids = {"orderId": order, "lockId": lock, "partyId": _one(self.parties, draw), "reservationId": _one(self.reservations, draw)}
        for name, known in ids.items():
            if name in (case.path_parameters or {}) and isinstance(case.path_parameters[name], str):
                case.path_parameters[name] = known
        if isinstance(case.body, dict):
            case.body = self._fit(case.body, draw)
            self._give_token(case.body.get("cursor"), case.path)

    def learn(self, case: Case, answer: Any) -> None:
        """Remember what a good answer made, and forget a party or reservation that it deleted, unless it is the last."""
        if case.method == "DELETE":
            for name, ids in (("partyId", self.parties), ("reservationId", self.reservations)):
                if len(ids) > 1 and (gone := (case.path_parameters or {}).get(name)) in ids:
                    ids.remove(gone)
        if case.method != "POST" or not isinstance(answer, dict) or "id" not in answer:
            return
        if case.path == "/v1/parties":
            self.parties = [*self.parties[-KNOWN_IDS:], answer["id"]]
        elif case.path == "/v1/reservations":
            self.reservations = [*self.reservations[-KNOWN_IDS:], answer["id"]]
        else:
            self.orders = [*self.orders[-KNOWN_IDS:], answer["id"]]
        if case.path.endswith("/lock"):
            self.locks = [*self.locks[-KNOWN_IDS:], (answer["id"], case.body["lockId"])]

    def _give_token(self, cursor: Any, path: str) -> None:
        """A token belongs to one search, and to its filters: here, none."""
        for name in ("before", "after"):
            if isinstance(cursor, dict) and isinstance(cursor.get(name), str):
                cursor[name] = self.tokens[path]

    def _fit(self, value: Any, draw: int, name: str = "") -> Any:
        """A body like this one whose amounts, ids and times a venue can take."""
        if isinstance(value, dict):
            dropped = {"before", "after"} if draw % 4 else {"before"} if "after" in value else set()
            return {key.replace("\0", ""): self._fit(inner, draw, key) for key, inner in value.items() if key not in dropped}
        if isinstance(value, list):
            fit = [self._fit(inner, draw + place, name) for place, inner in enumerate(value)]
            return [inner for place, inner in enumerate(fit) if name != "tableIds" or inner not in fit[:place]]
        if isinstance(value, bool) or not isinstance(value, int | str):
            return value
        if isinstance(value, int):
            return value if draw % 11 == 0 else min(abs(value) % 100 + 1, 100)
        return self._fit_text(value, draw, name)

    def _fit_text(self, text: str, draw: int, name: str) -> str:
        fit = {
            "currencyCode": "GBP",
            "expiry": f"29{draw % 90 + 10}-05-01T12:00:00.{draw}Z",
            "lockId": self.locks[draw % len(self.locks)][1] if draw % 2 else f"lock_{draw}",
            "dojoOrderId": f"ord_{draw % 5000}",
            "paymentIntentId": f"pi_{draw % 5000}",
            "plu": f"PLU-{draw % 10}",
            "tableId": f"tbl_{draw % TABLES}",
            "tableIds": f"tbl_{draw % TABLES}",
            "dojoPartyId": f"party_{draw % 5000}",
            "dojoReservationId": f"res_{draw % 5000}",
            "partyId": _one(self.parties, draw),
            "reservationId": _one(self.reservations, draw),
            "startTime": moment(draw % 90),
            "expectedEndTime": moment(draw % 90 + 1),
            "endTime": moment(draw % 90 + 1 + draw % 2),
            "fromTime": moment(draw % 90),
            "toTime": moment(draw % 90 + 10),
            "areaId": f"area_{draw % 3}",
            "orderType": "DineIn" if draw % 2 else "Collection",
        }
        return fit.get(name, "".join(filter(str.isprintable, text)) or f"{name}_{draw % 5}")


def moment(hour: int) -> str:
    """So many hours after the first, in UTC."""
    return f"2030-05-{hour // 24 + 1:02}T{hour % 24:02}:00:00.000Z"


def _one(ids: list[str], draw: int) -> str:
    return ids[draw // 7 % len(ids)]


# -- what is no failure


HEADERS = "the headers that say who asks may hold any text"
UNKNOWN = "a property that the schema does not know is dropped: Dojo's own examples carry some"
NULL = "a property that is null counts as absent"
TIMES = "times are read leniently"


def why_lenient(failure: Failure, case: Case, components: dict[str, Any]) -> str | None:
    """The reason for which it is right that a bad case was accepted; None where there is none."""
    if not isinstance(failure, AcceptedNegativeData) or case.meta is None:
        return None
    bad = {location for location, component in case.meta.components.items() if component.mode is GenerationMode.NEGATIVE}
    if bad <= {ParameterLocation.HEADER}:
        return HEADERS
    if not bad <= {ParameterLocation.HEADER, ParameterLocation.BODY}:
        return None
    schema = case.operation.definition.raw["requestBody"]["content"]["application/json"]["schema"] | {"components": _open(components)}
    for reason, body, formats in ((UNKNOWN, case.body, True), (NULL, _without_nulls(case.body), True), (TIMES, case.body, False)):
        if Draft202012Validator(schema, validate_formats=formats).is_valid(body):
            return reason
    return None


def _open(part: Any) -> Any:
    """The same schemas where unknown properties are allowed."""
    if isinstance(part, dict):
        return {name: _open(inner) for name, inner in part.items() if (name, inner) != ("additionalProperties", False)}
    return [_open(inner) for inner in part] if isinstance(part, list) else part


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


# -- the run


@dataclass(slots=True)
class Report:
    """What was sent and what came of it."""

    cases: Counter[tuple[str, int]] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    lenient: Counter[str] = field(default_factory=Counter)
    failures: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.cases.values())

    def lines(self) -> Iterator[str]:
        statuses = sorted({status for _, status in self.cases})
        rows: Counter[tuple[str, int]] = Counter()
        for (operation, status), count in self.cases.items():
            rows["(methods that are not served)" if status == 405 else operation, status] += count
        yield f"{'operation':<44}" + "".join(f"{status:>8}" for status in statuses)
        for operation in sorted({operation for operation, _ in rows}):
            yield f"{operation:<44}" + "".join(f"{rows[operation, status] or '':>8}" for status in statuses)
        yield "cases by phase: " + ", ".join(f"{name} {count}" for name, count in self.phases.items())
        for reason, count in self.lenient.items():
            yield f"accepted though bad, {count} times: {reason}"
        yield f"{self.total} cases in {self.seconds:.0f} s, {self.total / max(self.seconds, 0.001):.0f} a second"
        for (operation, title), (message, curl) in self.failures.items():
            yield f"FAILED {operation}: {title}\n  {message}\n  {curl}"
        yield from (f"ERROR {error}" for error in self.errors)


@contextmanager
def fuzzed(folder: Path) -> Iterator[Service]:
    """The service that is asked."""
    with running(folder, **SETTINGS) as service:
        service.dojo.authorization = basic(USERNAME, PASSWORD)
        yield service


def fuzz(service: Service, specs: Path, *, cases: int, seed: int) -> Report:
    """Send at least `cases` requests; the service is asked for its health and journal after each phase."""
    examples = min(max(ROUND_EXAMPLES[0], cases // 100), ROUND_EXAMPLES[1])
    report, known, began = Report(), Known.of(service), time.monotonic()
    document = published(specs)
    with _hooks(known, report, document):
        while report.total < cases and not report.errors:
            _round(service, deepcopy(document), report, seed, phases="all" if report.total == 0 else "random", examples=examples)
            seed += 1
            print(f"{report.total} of {cases} cases, {len(report.failures)} failures", file=sys.stderr)
    report.seconds = time.monotonic() - began
    return report


def _round(service: Service, document: dict[str, Any], report: Report, seed: int, phases: str, examples: int) -> None:
    schema = schemathesis.openapi.from_dict(document, config=_config(service, seed, phases, examples))
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note_failures(event, report)
        elif isinstance(event, events.NonFatalError):
            report.errors.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            report.errors.append(repr(event.exception))
        elif isinstance(event, events.PhaseFinished) and event.phase.name in TESTING_PHASES:
            assert service.open.get("/readyz").status == 200
            service.assert_whole()


def _note_failures(event: events.ScenarioFinished, report: Report) -> None:
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure, curl = check.failure_info.failure, check.failure_info.code_sample
                label = event.recorder.cases[case_id].value.operation.label
                report.failures.setdefault((label, failure.title), (failure.message, curl))


def _config(service: Service, seed: int, phases: str, examples: int) -> schemathesis.Config:
    once = {"enabled": phases == "all"}
    settings: dict[str, Any] = {
        "seed": seed,
        "base-url": f"http://127.0.0.1:{service.ports[0]}",
        "workers": 1,
        "continue-on-failure": True,
        "suppress-health-check": ["too_slow"],  # A slow machine is no fault of the schema's.
        "request-timeout": 60,
        "auth": {"basic": {"username": USERNAME, "password": PASSWORD}},
        "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
        "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
        "phases": {"examples": once | {"fill-missing": True}, "coverage": once, "fuzzing": {}, "stateful": {"max-steps": 8}},
    }
    return schemathesis.Config.from_dict(settings)


@contextmanager
def _hooks(known: Known, report: Report, document: dict[str, Any]) -> Iterator[None]:
    @schemathesis.hook
    def before_call(context, case, kwargs):
        known.bend(case)

    @schemathesis.hook
    def after_call(context, case, response):
        report.cases[f"{case.method} {case.path}", response.status_code] += 1
        report.phases[case.meta.phase.name.value if case.meta else "other"] += 1
        if response.status_code == 200:
            known.learn(case, response.json() if case.method == "POST" else None)

    @schemathesis.hook
    def filter_failure(context, failure, case, response):
        reason = why_lenient(failure, case, document["components"])
        if reason:
            report.lenient[reason] += 1
        return reason is None

    try:
        yield
    finally:
        for hook in (before_call, after_call, filter_failure):
            schemathesis.hooks.unregister(hook)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000, help="how many requests at least (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round (%(default)s)")
    parser.add_argument("--specs", type=Path, default=SPECS, help="the folder of Dojo's published documents (%(default)s)")
    asked = parser.parse_args()
    if not asked.specs.is_dir():
        print(f"Dojo's published schemas are absent: expected {asked.specs}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that the service ends too.
    with tempfile.TemporaryDirectory() as folder, fuzzed(Path(folder)) as service:
        report = fuzz(service, asked.specs, cases=asked.cases, seed=asked.seed)
    print("\n".join(report.lines()))
    return 1 if report.failures or report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
