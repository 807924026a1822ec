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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

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
from adapters.edge.roles import install_tokens
from adapters.edge.strict_json import without_card_numbers
from adapters.edge.wire import Request
from adapters.epos.handlers import Handlers, HandlerSettings
from adapters.epos.rest import RestSettings, make_app, make_closed_app
from adapters.health import make_blueprint as health_blueprint
from adapters.logs import configure
from adapters.metrics import Metrics
from adapters.outbound import Call
from adapters.serving import Running, Switch, ThreadedServer, serve_in_worker
from adapters.settings import Settings
from adapters.venue import venue_document
from workflow.case import declared_machines
from workflow.clock import SystemClock, to_text
from workflow.commands import AcceptLostTail, EffectTaken, IntentRead, RequeueTask
from workflow.effects import OrderUpdated, ReadIntent, Task, TellTill
from workflow.engine import Engine, EngineSettings
from workflow.errors import HeadRegressed, JournalDamaged, JournalInUse, JournalUnavailable, Refused, WorkflowError
from workflow.journal.connection import refuse_foreign
from workflow.journal.keys import load_key, load_or_make_key
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.outbox import Outbox, OutboxSettings, Sender
from workflow.ports import IntentId, OrderId
from workflow.proof import Prover
from workflow.retries import Pace

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

EXIT_UNREACHABLE = 4
EXIT_DAMAGED = 5
HEAD_REGRESSED = "HEAD_REGRESSED"
PROBE_MS = 60_000
logger = logging.getLogger(__name__)


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
        engine = Engine(journal, declared_machines(), SystemClock(), replace(_engine_settings(settings), lease_ms=0))
        if refusal := engine.handle(command).refusal:
            raise refusal
    finally:
        journal.close()


def accept_loss(settings: Settings, actor: str, reason: str) -> str:
    """Go on with a journal that lacks entries its witness saw (S11); what was lost. Raises Refused where nothing is.

    The witness file is put aside, never deleted, and the acceptance is the first entry after the loss.
    """
    try:
        _open_journal(settings).close()
    except HeadRegressed as error:
        lost = str(error)
    else:
        raise Refused("the journal has everything that its witness saw: nothing is lost")
    aside = settings.witness.with_name(f"{settings.witness.name}.lost-{SystemClock().now():%Y%m%dT%H%M%S%f}")
    settings.witness.rename(aside)
    journal = _open_journal(settings)
    try:
        engine = Engine(journal, declared_machines(), SystemClock(), _engine_settings(settings))
        engine.handle(AcceptLostTail(reason=without_card_numbers(reason), lost=lost, actor=actor))
    finally:
        journal.close()
    return lost


def _log(settings: Settings) -> None:
    configure(sys.stderr, logging.INFO, SystemClock(), secrets=settings.secrets())


def _build(settings: Settings, *, as_json: bool) -> Running:
    """Open the journal and start everything; SystemExit with the code of INTERFACE §5 where that cannot be."""
    _log(settings)
    try:
        running = _start(settings)
    except HeadRegressed as error:
        running = _Closed(settings, error).running
    except JournalInUse as error:
        logger.critical("journal in use", extra=_why(error))
        raise SystemExit(EXIT_UNREACHABLE) from error
    except JournalDamaged as error:
        logger.critical("journal refused", extra=_why(error))
        raise SystemExit(EXIT_DAMAGED) from error
    except (WorkflowError, BadTemplate) as error:
        logger.critical("not started", extra=_why(error))
        raise SystemExit(3) from error
    return running if as_json else Running(running.app, running.stop)


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
    """Everything around an open journal: both sides' applications, what begins to send, and what ends it all."""

    dojo: Flask
    venue: Flask
    begin: Callable[[], None]
    close: Callable[[], None]


def _start(settings: Settings) -> Running:
    opened = _open(settings)
    try:
        venue = _listen(settings, opened.venue)
    except SystemExit:
        opened.close()
        raise
    opened.begin()
    return Running(opened.dojo, partial(_stop, venue, opened), partial(_say_where, venue))


def _open(settings: Settings) -> _Opened:
    _know_inbound_types()
    bill = read_template(settings.bill_template, settings.venue_name)
    clock, machines = SystemClock(), declared_machines()
    journal = _open_journal(settings)
    engine, reads = Engine(journal, machines, clock, _engine_settings(settings)), SqliteReads(settings.journal)
    metrics = Metrics(reads, clock)
    dojo = dojo_client(settings, on_call=partial(_count_call, metrics))
    senders = _senders(dojo)
    if caller := _till_caller(settings, clock, metrics):
        senders[TellTill.name] = partial(_tell_till, caller, reads)
    outbox = Outbox(engine, senders, clock, _outbox_settings(settings))
    dojo_side = make_app(_handlers(settings, bill, engine, reads, clock), _rest_settings(settings))
    metrics.watch(dojo_side, "dojo")
    blueprints = (
        till.TillApi(engine, reads, clock, _till_settings(settings), journal.wait_for_more).blueprint(),
        api.Api(engine, reads, machines["order"].ident, Prover(reads, journal)).blueprint(),
        health_blueprint(partial(_reasons, journal, outbox)),
        metrics.blueprint(),
    )
    venue = _venue_app(settings, blueprints)
    metrics.watch(venue, "venue")

    def begin() -> None:
        outbox.start()
        threading.Thread(target=_end_with_writer, args=(journal,), name="writer-watch", daemon=True).start()
        logger.info("serving", extra={"journal": str(settings.journal), "dojo_url": settings.dojo_url})

    def close() -> None:
        outbox.stop()
        journal.close()

    return _Opened(dojo_side, venue, begin, close)


class _Closed:
    """The journal lacks entries that were acknowledged: nothing of it is served until an operator accepts the loss (S11).

    Then everything is opened and takes the place of what said no, without a restart.
    """

    def __init__(self, settings: Settings, error: HeadRegressed) -> None:
        logger.critical("journal is behind its witness", extra=_why(error))
        self._settings, self._lock = settings, threading.Lock()
        self._opened: _Opened | None = None
        blueprints = (
            health_blueprint(lambda: [HEAD_REGRESSED]),
            closed_blueprint(HEAD_REGRESSED, to_text(SystemClock().now()), str(error), self._accept),
        )
        self._dojo = Switch(make_closed_app("the journal lacks entries that were acknowledged; an operator must look"))
        self._venue = Switch(_venue_app(settings, blueprints))
        self._server = _listen(settings, self._venue)
        self.running = Running(self._dojo, self._stop, partial(_say_where, self._server))

    def _accept(self, actor: str, reason: str) -> str:
        with self._lock:
            if self._opened:
                raise Refused("the loss was accepted before")
            lost = accept_loss(self._settings, actor, reason)
            opened = self._opened = _open(self._settings)
            self._dojo.app, self._venue.app = opened.dojo, opened.venue
            opened.begin()
            return lost

    def _stop(self) -> None:
        self._server.stop()
        if self._opened:
            self._opened.close()
        logger.info("stopped")


def _know_inbound_types() -> None:
    """Have msgspec learn every type that threads will parse, on one thread: it does so at first use, and not safely on several at once."""
    waiting: list[type[Request]] = [Request]
    for type_ in waiting:  # Grows while it is walked: the types of all adapters descend from Request.
        waiting += type_.__subclasses__()
        msgspec.json.Decoder(type_)


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
    venue.stop()
    opened.close()
    logger.info("stopped")


def _count_call(metrics: Metrics, call: Call) -> None:
    metrics.observe_call(call.path.split("/")[1], str(call.status or "none"))
    if call.answered_at:
        metrics.observe_clock("dojo", call.answered_at)


def _end_with_writer(journal: SqliteJournal) -> None:
    """A process without its writer is half alive: end it, so that whoever watches it starts it again."""
    journal.failed.wait()
    logger.critical("ending: the journal's writer died", extra={"next": "tillproof journal verify, then tillproof serve"})
    os.kill(os.getppid(), signal.SIGTERM)
    os._exit(1)


def _engine_settings(settings: Settings) -> EngineSettings:
    return EngineSettings(
        sends=frozenset({ReadIntent.name, OrderUpdated.name, *([TellTill.name] if settings.till_url else [])}),
        lease_ms=settings.lease_s * 1000,
        probe_ms=_probe_ms(settings),
        sweep_ms=settings.sweep_s * 1000,
        orphan_alarm_ms=settings.orphan_alarm_s * 1000,
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


def _handlers(settings: Settings, bill: BillTemplate, engine: Engine, reads: SqliteReads, clock: SystemClock) -> Handlers:
    found = HandlerSettings(
        currency=settings.currency,
        mode=settings.order_and_pay_mode,
        search_days=settings.search_days,
        tables_answer=settings.tables_answer,
        zone=settings.timezone,
        bill=bill,
    )
    return Handlers(engine, reads, clock, found)


def _rest_settings(settings: Settings) -> RestSettings:
    credentials = None
    if settings.epos_username and settings.epos_password:
        credentials = BasicCredentials(settings.epos_username, settings.epos_password)
    return RestSettings(
        credentials=credentials, max_body=settings.max_body, max_depth=settings.max_depth, webhook_secrets=settings.webhook_secrets
    )


def _till_settings(settings: Settings) -> till.TillSettings:
    return till.TillSettings(currency=settings.currency, max_body=settings.max_body, max_depth=settings.max_depth)


def _venue_app(settings: Settings, blueprints: Iterable[Blueprint]) -> Flask:
    app = Flask("tillproof.venue", static_folder=None)
    install(app)
    install_tokens(app, Tokens.parse(",".join(f"{token.role}:{token.name}:{token.token}" for token in settings.tokens)))
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    install_api(app, venue_document())
    return app


def _reasons(journal: SqliteJournal, outbox: Outbox) -> list[str]:
    """Why this process is not ready; Dojo being unreachable is no reason, since a restart would not help."""
    reasons = []
    if not journal.is_alive:
        reasons.append("WRITER_DEAD")
    elif not journal.is_writable():
        reasons.append("JOURNAL_UNAVAILABLE")
    if not outbox.is_alive:
        reasons.append("OUTBOX_DEAD_THREAD")
    return reasons


if __name__ == "__main__":
    main()
