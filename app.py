"""The composition root: reads settings, builds everything, starts it; no rules.

`python app.py COMMAND` and `tillproof COMMAND` are the same program.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeGuard, cast

import msgspec
from flask import Blueprint, Flask

from adapters import api, till
from adapters.api.closed import make_blueprint as closed_blueprint
from adapters.cli import Program, next_command, run
from adapters.cli.operator import Operator
from adapters.dojo.client import DojoClient, DojoSettings
from adapters.edge import BasicCredentials, Tokens, install
from adapters.edge.api_page import install_api
from adapters.edge.bill import BillTemplate
from adapters.edge.bill_template import BadTemplate, read_template
from adapters.edge.limits import DoorSettings, Guesses, install_door
from adapters.edge.roles import install_tokens
from adapters.edge.strict_json import without_card_numbers
from adapters.edge.wire import Request
from adapters.epos.handlers import Handlers, HandlerSettings
from adapters.epos.rest import RestSettings, make_app, make_closed_app
from adapters.health import Health, Supervisor
from adapters.health import make_blueprint as health_blueprint
from adapters.logs import configure
from adapters.metrics import Metrics
from adapters.outbound import Call
from adapters.serving import Running, Switch, ThreadedServer, end_worker, serve_in_worker
from adapters.settings import Settings
from adapters.venue import venue_document
from workflow.case import declared_machines
from workflow.clock import SystemClock, to_text
from workflow.commands import AcceptLostTail, EffectTaken, IntentRead, RequeueTask, Result
from workflow.effects import OrderUpdated, ReadIntent, Task, TellTill
from workflow.engine import Engine, EngineSettings
from workflow.errors import (
    DiskFailed,
    HeadRegressed,
    JournalDamaged,
    JournalInUse,
    JournalUnavailable,
    NotAFile,
    Refused,
    WorkflowError,
)
from workflow.journal.condition import JOURNAL_DAMAGED, JOURNAL_READ_ONLY, Trouble
from workflow.journal.connection import is_writable, refuse_foreign
from workflow.journal.keys import load_key, load_or_make_key, sync_directory
from workflow.journal.reads import SqliteReads
from workflow.journal.schema import SCHEMA_VERSION
from workflow.journal.sqlite import SqliteJournal
from workflow.journal.unwritable import UnwritableJournal
from workflow.lifecycle import ATTENTION
from workflow.outbox import Outbox, OutboxSettings, Sender
from workflow.ports import IntentId, OrderId
from workflow.proof import Prover
from workflow.retries import Pace
from workflow.upkeep import Upkeep
from workflow.verification import refuse_unexplained

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

EXIT_UNEXPECTED = 1
EXIT_SETTINGS = 3
EXIT_UNREACHABLE = 4
EXIT_DAMAGED = 5
HEAD_REGRESSED, MIGRATING = "HEAD_REGRESSED", "MIGRATING"
PROBE_MS = 60_000
READ_SECONDS = 10.0
"""The longest that one question of a request may hold a state of the journal."""
REOPEN_SECONDS = 1.0
"""How often a journal that could not be opened for writing is tried again."""
AT_ONCE = 192
"""Requests that Dojo's side works on at once; of its threads, the others are there to say no and to answer `/healthz`."""
logger = logging.getLogger(__name__)


def __getattr__(name: str) -> object:
    """Refuse to be served by another server (`gunicorn app:app`): one that forks would give the journal several owners (P3)."""
    if name in {"app", "application", "create_app"}:
        logger.critical("no application for another server: run tillproof serve, which is a server itself", extra={"asked": name})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Run a command."""
    run(Program(serve=serve, dojo=dojo_client, ask=ask, accept_loss=accept_loss, clock=SystemClock()))


def serve(settings: Settings, *, as_json: bool = False) -> int:
    """Serve until told to stop; the exit code. Everything is opened in the worker, which says where it listens: `as_json`, on stdout."""
    _log(settings)
    return serve_in_worker(settings.listen, partial(_build, settings, as_json=as_json))


def ask(settings: Settings, command: RequeueTask) -> None:
    """Give an operator's command: over HTTP to the server that has the journal, or alone under its lock. Raises Refused, JournalInUse."""
    command = replace(command, reason=without_card_numbers(command.reason))
    if not os.path.lexists(settings.journal):
        raise JournalUnavailable(f"there is no journal at {settings.journal}")
    try:
        journal = _open_journal(settings)
    except JournalInUse:
        Operator(settings.console_listen, settings.tokens).requeue(command.task_id, command.reason)
        return
    try:
        # Nobody sends here: what is requeued waits, untried, for the next start.
        engine = Engine(journal, declared_machines(), SystemClock(), replace(_engine_settings(settings), sends=frozenset()))
        if refusal := engine.handle(command).refusal:
            raise refusal
    finally:
        journal.close()


def accept_loss(settings: Settings, actor: str, reason: str) -> str:
    """Go on with a journal that lacks entries its witness saw (S11); what was lost. Raises Refused where nothing is.

    The witness file is put aside, never deleted, and the acceptance is the first entry after the loss. Killed before that is stored, it
    leaves the journal refused as it was; between that and the new witness, the loss has to be accepted once more.
    """
    try:
        _open_journal(settings).close()
    except HeadRegressed as error:
        lost = str(error)
    else:
        raise Refused("the journal has everything that its witness saw: nothing is lost")
    fresh = settings.witness.with_name(f"{settings.witness.name}.accepting")
    fresh.unlink(missing_ok=True)
    journal = _open_journal(replace(settings, witness=fresh))
    try:
        engine = Engine(journal, declared_machines(), SystemClock(), _engine_settings(settings))
        engine.handle(AcceptLostTail(reason=without_card_numbers(reason), lost=lost, actor=actor))
    finally:
        journal.close()
    # Only now: until it is journaled, the old witness has everybody refused who opens the journal.
    os.link(settings.witness, settings.witness.with_name(f"{settings.witness.name}.lost-{SystemClock().now():%Y%m%dT%H%M%S%f}"))
    os.replace(fresh, settings.witness)
    sync_directory(settings.witness.parent)
    return lost


def _log(settings: Settings) -> None:
    configure(sys.stderr, logging.INFO, SystemClock(), secrets=settings.secrets())


def _build(settings: Settings, *, as_json: bool) -> Running:
    """Open the journal and start everything; SystemExit with the code of INTERFACE §5 where that cannot be."""
    _log(settings)
    try:
        running = _Migrating(settings).running if _is_older(settings) else _start(settings)
    except HeadRegressed as error:
        running = _Closed(settings, error).running
    except JournalInUse as error:
        logger.critical("journal in use", extra=_why(error))
        raise SystemExit(EXIT_UNREACHABLE) from error
    except (WorkflowError, BadTemplate) as error:
        if not _may_pass(error, settings):
            raise _refusal(error) from error
        running = _Unwritable(settings, error).running
    return running if as_json else Running(running.app, running.stop)


def _may_pass(error: Exception, settings: Settings) -> TypeGuard[JournalUnavailable]:
    """The journal is there and cannot be written now. Of a disk that failed nothing is tried again."""
    return isinstance(error, JournalUnavailable) and not isinstance(error, DiskFailed) and settings.journal.exists()


def _refusal(error: WorkflowError | BadTemplate) -> SystemExit:
    """Say why nothing is served; the end with the code that goes with it."""
    if isinstance(error, JournalDamaged) and not isinstance(error, NotAFile):
        logger.critical("journal refused", extra=_why(error))
        return SystemExit(EXIT_DAMAGED)
    if isinstance(error, DiskFailed):
        logger.critical("disk failed", extra=_why(error))
        return SystemExit(EXIT_UNEXPECTED)
    logger.critical("not started", extra=_why(error))
    return SystemExit(EXIT_SETTINGS)


def _why(error: WorkflowError | BadTemplate) -> dict[str, str]:
    """The fields of a log line that tells why nothing, or not everything, is served, and what to run next."""
    following = "correct the template, then tillproof doctor" if isinstance(error, BadTemplate) else next_command(error, "tillproof serve")
    return {"error": str(error), "next": following}


def _say_where(venue: ThreadedServer, address: tuple[str, int]) -> None:
    """One line of JSON on stdout for whoever started this: where either side listens."""
    sides = {"listen": address, "consoleListen": venue.address}
    urls = {name: f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for name, (host, port) in sides.items()}
    sys.stdout.write(msgspec.json.encode(urls).decode() + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class _Opened:
    """Everything around an open journal: both sides' applications, what begins to send, what ends waiting, and what ends it all.

    `begin` gets the server of the venue's side, which must live like all the rest.
    """

    dojo: Flask
    venue: Flask
    begin: Callable[[ThreadedServer], None]
    let_go: Callable[[], None]
    close: Callable[[], None]


def _start(settings: Settings) -> Running:
    opened = _open(settings)
    try:
        venue = _listen(settings, opened.venue)
    except SystemExit:
        opened.close()
        raise
    opened.begin(venue)
    return Running(opened.dojo, partial(_stop, venue, opened), partial(_say_where, venue))


def _open(settings: Settings, past: Sequence[Trouble] = ()) -> _Opened:
    """Everything around the journal; `past` is trouble that it must be told of."""
    read_template(settings.bill_template, settings.venue_name)  # First: a bad one must not leave the journal open.
    clock = SystemClock()
    journal = _open_journal(settings)
    journal.condition.give_back(list(past))
    engine = Engine(journal, declared_machines(), clock, _engine_settings(settings))
    upkeep = Upkeep(engine, journal, SqliteReads(settings.journal), settings.witness, clock, settings.verify_s)
    try:
        sends = _look_at(settings, upkeep)
        reads = SqliteReads(settings.journal, seconds=READ_SECONDS, on_damage=partial(journal.condition.begin, JOURNAL_DAMAGED))
        reads.keep_spare()
    except WorkflowError:
        journal.close()
        raise
    health = Health(
        condition=journal.condition,
        dead=lambda: _dead_threads(journal, upkeep, outbox if sends else None),
        verified=lambda: upkeep.last,
        wal_bytes=journal.wal_bytes,
    )
    metrics = Metrics(reads, health, clock, engine.now_ms)
    senders = _senders(dojo_client(settings, on_call=partial(_count_call, metrics)))
    if caller := _till_caller(settings, clock, metrics):
        senders[TellTill.name] = partial(_tell_till, caller, reads)
    counted = {name: partial(_count_attempt, metrics, sender) for name, sender in senders.items()}
    outbox = Outbox(engine, counted, clock, _outbox_settings(settings))
    dojo, venue = _sides(settings, engine, reads, metrics, health, Prover(reads, journal), journal.wait_for_more)
    supervisor = Supervisor(metrics.died, partial(end_worker, EXIT_UNEXPECTED))

    def begin(server: ThreadedServer) -> None:
        parts = {
            "journal writer": lambda: journal.is_alive,
            "journal upkeep": lambda: upkeep.is_alive,
            "venue's side": lambda: server.is_alive,
        }
        if sends:
            outbox.start()
            parts["outbox"] = lambda: outbox.is_alive
        upkeep.start()
        supervisor.start(parts)
        logger.info("serving", extra={"journal": str(settings.journal), "dojo_url": settings.dojo_url})

    def let_go() -> None:
        supervisor.stop()
        journal.let_go()

    def close() -> None:
        upkeep.stop()
        outbox.stop()
        if not journal.failed.is_set():  # Else nothing more may be written: what failed once may seem to work the second time.
            journal.close()

    return _Opened(dojo, venue, begin, let_go, close)


def _look_at(settings: Settings, upkeep: Upkeep) -> bool:
    """Verify before anything is served, as far as the time goes; whether anything may be sent. Raises JournalDamaged."""
    refuse_unexplained(SqliteReads(settings.journal))
    fault = upkeep.verify_first()
    if fault and not fault.seq:
        raise JournalDamaged(f"{settings.journal}: {fault.reason}")
    if fault:
        upkeep.refuse(fault)
    return fault is None


def _open_reading(settings: Settings, journal: UnwritableJournal) -> _Opened:
    """Both sides around a journal that can be read only: nothing is sent, since no answer could be kept."""
    clock, reads = SystemClock(), journal.reads
    engine = Engine(journal, declared_machines(), clock, _engine_settings(settings))
    health = Health(condition=journal.condition, dead=list, verified=lambda: None, wal_bytes=journal.wal_bytes)
    metrics = Metrics(reads, health, clock, engine.now_ms)
    dojo, venue = _sides(settings, engine, reads, metrics, health, Prover(reads, journal), journal.wait_for_more)
    return _Opened(dojo, venue, lambda server: None, lambda: None, journal.close)


def _sides(
    settings: Settings,
    engine: Engine,
    reads: SqliteReads,
    metrics: Metrics,
    health: Health,
    prover: Prover,
    wait_for_more: Callable[[int, float], None],
) -> tuple[Flask, Flask]:
    """Dojo's side and the venue's."""
    _know_inbound_types()
    clock, bill = SystemClock(), read_template(settings.bill_template, settings.venue_name)
    handlers = Handlers(engine, reads, clock, _handler_settings(settings, bill), metrics.observe_message)
    dojo = make_app(handlers, _rest_settings(settings, _guesses("dojo", metrics)))
    metrics.watch(dojo, "dojo")
    install_door(dojo, _door_settings(settings, "dojo", at_once=AT_ONCE), clock, partial(metrics.shed, "dojo"))
    blueprints = (
        till.TillApi(engine, reads, clock, _till_settings(settings), wait_for_more).blueprint(),
        api.Api(engine, reads, declared_machines()["order"].ident, prover, health).blueprint(),
        health_blueprint(health.reasons, partial(_attention, reads)),
        metrics.blueprint(),
    )
    venue = _venue_app(settings, blueprints, _guesses("venue", metrics))
    metrics.watch(venue, "venue")
    install_door(venue, _door_settings(settings, "venue", at_once=None), clock, partial(metrics.shed, "venue"))
    return dojo, venue


class _Later:
    """Something else is served until the journal can be opened; then everything takes its place, without a restart."""

    def __init__(self, settings: Settings, dojo: WSGIApplication, venue: WSGIApplication) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._opened: _Opened | None = None
        self._dojo, self._venue = Switch(dojo), Switch(venue)
        self._server = _listen(settings, self._venue)
        self.running = Running(self._dojo, self._stop, partial(_say_where, self._server))
        self._supervisor = Supervisor(lambda part: None, partial(end_worker, EXIT_UNEXPECTED))
        self._watch("venue's side", lambda: self._server.is_alive)

    def _watch(self, part: str, is_alive: Callable[[], bool]) -> None:
        """See to it that `part` lives until the journal is open, and others watch over what there is then."""
        self._supervisor.start({part: lambda: self._opened is not None or is_alive()})

    def _take_its_place(self, past: Sequence[Trouble] = ()) -> None:
        opened = self._opened = _open(self._settings, past)
        self._dojo.app, self._venue.app = opened.dojo, opened.venue
        opened.begin(self._server)

    def _stop(self) -> None:
        self._supervisor.stop()
        if self._opened:
            self._opened.let_go()
        self._server.stop()
        if self._opened:
            self._opened.close()
        logger.info("stopped")


class _Closed(_Later):
    """The journal lacks entries that were acknowledged: nothing of it is served until an operator accepts the loss (S11)."""

    def __init__(self, settings: Settings, error: HeadRegressed) -> None:
        logger.critical("journal is behind its witness", extra=_why(error))
        blueprints = (
            health_blueprint(lambda: [HEAD_REGRESSED]),
            closed_blueprint(HEAD_REGRESSED, to_text(SystemClock().now()), str(error), self._accept),
        )
        dojo = make_closed_app("the journal lacks entries that were acknowledged; an operator must look")
        super().__init__(settings, dojo, _venue_app(settings, blueprints, _guesses("venue", None)))

    def _accept(self, actor: str, reason: str) -> str:
        with self._lock:
            if self._opened:
                raise Refused("the loss was accepted before")
            lost = accept_loss(self._settings, actor, reason)
            self._take_its_place()
            return lost


class _Migrating(_Later):
    """The journal is of an older version: nothing is served until its schema is this one's, and `/readyz` says so (K10)."""

    def __init__(self, settings: Settings) -> None:
        dojo = make_closed_app("the journal is being brought up to this version")
        super().__init__(settings, dojo, _venue_app(settings, (health_blueprint(lambda: [MIGRATING]),), _guesses("venue", None)))
        migrating = threading.Thread(target=self._migrate, name="journal-migrate", daemon=True)
        migrating.start()
        self._watch("journal migration", migrating.is_alive)

    def _migrate(self) -> None:
        try:
            with self._lock:
                self._take_its_place()
        except (WorkflowError, BadTemplate) as error:  # Whoever starts it again gets the answer of a start.
            _end_process(_refusal(error))


class _Unwritable(_Later):
    """The journal cannot be written now (S2, S16; S1 and S3 at the start): what can be read of it is served, and it is tried again."""

    def __init__(self, settings: Settings, error: JournalUnavailable) -> None:
        logger.critical("journal cannot be written", extra=_why(error))
        self._stopping = threading.Event()
        self._trouble = Trouble(code=error.code or JOURNAL_READ_ONLY, since=to_text(SystemClock().now()), detail=str(error))
        self._reading = self._read(settings, error)
        super().__init__(settings, self._reading.dojo, self._reading.venue)
        reopening = threading.Thread(target=self._try_until_it_works, name="journal-reopen", daemon=True)
        reopening.start()
        self._watch("journal reopening", reopening.is_alive)

    def _read(self, settings: Settings, error: JournalUnavailable) -> _Opened:
        """What can be served without writing; nothing but the reason where not even reading works."""
        try:
            journal = UnwritableJournal(settings.journal, settings.witness, load_key(settings.signing_key), SystemClock(), error)
            return _open_reading(settings, journal)
        except JournalUnavailable as unreadable:
            return self._unreadable(settings, unreadable)

    def _unreadable(self, settings: Settings, error: JournalUnavailable) -> _Opened:
        def accept(actor: str, reason: str) -> str:
            raise Refused(f"nothing is lost: {error}")

        blueprints = (
            health_blueprint(lambda: [self._trouble.code]),
            closed_blueprint(self._trouble.code, self._trouble.since, str(error), accept),
        )
        dojo = make_closed_app("the journal can be neither written nor read now")
        venue = _venue_app(settings, blueprints, _guesses("venue", None))
        return _Opened(dojo, venue, lambda server: None, lambda: None, lambda: None)

    def _try_until_it_works(self) -> None:
        while not self._stopping.wait(REOPEN_SECONDS):
            if self._trouble.code == JOURNAL_READ_ONLY and not is_writable(self._settings.journal):
                continue
            with self._lock:
                if self._stopping.is_set() or self._works():
                    return

    def _works(self) -> bool:
        """Open everything, once nobody reads any more; or go on reading."""
        self._reading.close()
        try:
            self._take_its_place([replace(self._trouble, until=to_text(SystemClock().now()))])
        except (WorkflowError, BadTemplate) as error:
            if not isinstance(error, JournalInUse) and not _may_pass(error, self._settings):
                _end_process(_refusal(error))  # Whoever starts it again gets the answer of a start.
            logger.warning("journal still cannot be written", extra=_why(error))
            self._reading = self._read(self._settings, JournalUnavailable(self._trouble.detail, code=self._trouble.code))
            self._dojo.app, self._venue.app = self._reading.dojo, self._reading.venue
            return False
        logger.warning("journal writable again", extra={"code": self._trouble.code, "since": self._trouble.since})
        return True

    def _stop(self) -> None:
        self._stopping.set()
        with self._lock:
            super()._stop()
            if not self._opened:
                self._reading.close()


def _know_inbound_types() -> None:
    """Have msgspec learn every type that threads will parse, on one thread: it does so at first use, and not safely on several at once."""
    waiting: list[type[Request]] = [Request]
    for type_ in waiting:  # Grows while it is walked: the types of all adapters descend from Request.
        waiting += type_.__subclasses__()
        msgspec.json.Decoder(type_)


def _is_older(settings: Settings) -> bool:
    """The journal needs a migration before it can be served, and can be migrated."""
    path = settings.journal
    return os.path.lexists(path) and refuse_foreign(path) < SCHEMA_VERSION and is_writable(path)


def _open_journal(settings: Settings) -> SqliteJournal:
    """The journal and its key: both are made at first start, and a key never beside a journal that has one, or a file that is not ours."""
    is_there = os.path.lexists(settings.journal)
    if is_there:
        refuse_foreign(settings.journal)
    key = load_key(settings.signing_key) if is_there else load_or_make_key(settings.signing_key)
    return SqliteJournal(settings.journal, settings.witness, key, SystemClock())


def _listen(settings: Settings, app: WSGIApplication) -> ThreadedServer:
    venue = ThreadedServer(settings.console_listen, app)
    try:
        venue.start()
    except OSError as error:
        following = "free it, or set TILLPROOF_CONSOLE_LISTEN to another, then tillproof serve"
        facts = {"address": str(settings.console_listen), "reason": str(error), "next": following}
        logger.critical("address not available", extra=facts)
        raise SystemExit(EXIT_UNREACHABLE) from error
    return venue


def _stop(venue: ThreadedServer, opened: _Opened) -> None:
    opened.let_go()
    venue.stop()
    opened.close()
    logger.info("stopped")


def _count_call(metrics: Metrics, call: Call) -> None:
    metrics.observe_call(call.path.split("/")[1], str(call.status or "none"))
    if call.answered_at:
        metrics.observe_clock("dojo", call.answered_at)


def _count_attempt(metrics: Metrics, sender: Sender, task: Task) -> Result:
    metrics.observe_attempt(task.effect, task.attempts)
    return sender(task)


def _end_process(code: SystemExit) -> NoReturn:
    os.kill(os.getppid(), signal.SIGTERM)
    os._exit(cast(int, code.code))


def _engine_settings(settings: Settings) -> EngineSettings:
    return EngineSettings(
        sends=frozenset({ReadIntent.name, OrderUpdated.name, *([TellTill.name] if settings.till_url else [])}),
        lease_ms=settings.lease_s * 1000,
        probe_ms=_probe_ms(settings),
        sweep_ms=settings.sweep_s * 1000,
        orphan_alarm_ms=settings.orphan_alarm_s * 1000,
        paid_alarm_ms=settings.paid_alarm_s * 1000,
        account_ids=frozenset(settings.account_ids),
        new_salt=lambda: secrets.token_hex(16),
    )


def _outbox_settings(settings: Settings) -> OutboxSettings:
    pace = Pace(base_ms=settings.retry_base_ms, cap_ms=settings.retry_cap_ms, horizon_s=settings.retry_horizon_s)
    return OutboxSettings(
        workers=settings.outbound_workers,
        pace=pace,
        later_attempts_per_second=settings.retry_rps,
        random=random.random,
        probe_ms=_probe_ms(settings),
        sweep_seconds=settings.sweep_s,
    )


def _probe_ms(settings: Settings) -> int:
    """A destination that refuses our credentials is asked again each minute, or sooner where every retry comes sooner."""
    return min(PROBE_MS, settings.retry_cap_ms)


def dojo_client(settings: Settings, *, on_call: Callable[[Call], None] | None = None) -> DojoClient:
    """Dojo's API with this venue's key; `on_call` hears of every call."""
    found = DojoSettings(
        url=settings.dojo_url,
        api_key=settings.dojo_api_key or "",
        version=settings.dojo_version,
        software_house_id=settings.software_house_id,
        reseller_id=settings.reseller_id,
        deadline_ms=settings.call_deadline_ms,
    )
    return DojoClient(found, on_call=on_call)


def _senders(dojo: DojoClient) -> dict[str, Sender]:
    def read_intent(task: Task) -> IntentRead:
        return IntentRead(task=task, intent=dojo.read_intent(IntentId(task.intent_id)))

    def order_updated(task: Task) -> EffectTaken:
        dojo.send_order_updated(OrderId(task.order_id))
        return EffectTaken(task=task)

    return {ReadIntent.name: read_intent, OrderUpdated.name: order_updated}


def _till_caller(settings: Settings, clock: SystemClock, metrics: Metrics) -> till.TillCaller | None:
    """What calls the till; None where there is nothing to call."""
    if not (settings.till_url and settings.till_secret):
        return None
    found = till.CallBackSettings(url=settings.till_url, secret=settings.till_secret, deadline_ms=settings.call_deadline_ms)
    return till.TillCaller(found, clock, on_call=lambda call: metrics.observe_call("till", str(call.status or "none")))


def _tell_till(caller: till.TillCaller, reads: SqliteReads, task: Task) -> EffectTaken:
    stored = reads.order(task.order_id)
    assert stored is not None
    caller.tell(stored.order, stored.personal, task.order_seq)
    return EffectTaken(task=task)


def _handler_settings(settings: Settings, bill: BillTemplate) -> HandlerSettings:
    return HandlerSettings(
        currency=settings.currency,
        mode=settings.order_and_pay_mode,
        search_days=settings.search_days,
        tables_answer=settings.tables_answer,
        zone=settings.timezone,
        bill=bill,
    )


def _guesses(side: str, metrics: Metrics | None) -> Guesses:
    return Guesses(side, SystemClock(), partial(metrics.refused, side) if metrics else lambda why: None)


def _door_settings(settings: Settings, side: str, *, at_once: int | None) -> DoorSettings:
    return DoorSettings(side=side, trusted=settings.trusted_proxies, requests_per_second=settings.requests_per_second, at_once=at_once)


def _rest_settings(settings: Settings, guesses: Guesses) -> RestSettings:
    credentials = None
    if settings.epos_username and settings.epos_password:
        credentials = BasicCredentials(settings.epos_username, settings.epos_password)
    return RestSettings(
        credentials=credentials,
        guesses=guesses,
        max_body=settings.max_body,
        max_depth=settings.max_depth,
        webhook_secrets=settings.webhook_secrets,
    )


def _till_settings(settings: Settings) -> till.TillSettings:
    return till.TillSettings(currency=settings.currency, max_body=settings.max_body, max_depth=settings.max_depth)


def _venue_app(settings: Settings, blueprints: Iterable[Blueprint], guesses: Guesses) -> Flask:
    app = Flask("tillproof.venue", static_folder=None)
    app.url_map.merge_slashes = False  # It would redirect to whatever host the caller named.
    install(app)
    install_tokens(app, Tokens.parse(",".join(f"{token.role}:{token.name}:{token.token}" for token in settings.tokens)), guesses)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    install_api(app, venue_document())
    return app


def _dead_threads(journal: SqliteJournal, upkeep: Upkeep, outbox: Outbox | None) -> list[str]:
    """Codes of what has ended and should run; without an outbox nothing is sent on purpose."""
    found = [] if journal.is_alive else ["WRITER_DEAD"]
    found += [] if upkeep.is_alive else ["UPKEEP_DEAD_THREAD"]
    return found + ([] if outbox is None or outbox.is_alive else ["OUTBOX_DEAD_THREAD"])


def _attention(reads: SqliteReads) -> dict[str, int]:
    """How often each code of attention stands, the gravest first; none where the journal cannot be read, which is a reason of its own."""
    with suppress(JournalUnavailable, JournalDamaged):
        counts = reads.attention_counts()
        return {code: counts[code] for code in ATTENTION if code in counts}
    return {}


if __name__ == "__main__":
    main()
