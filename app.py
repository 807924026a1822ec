"""The composition root: reads settings, builds everything, starts it; no rules.

`python app.py COMMAND` and `tillproof COMMAND` are the same program.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Blueprint, Flask

from adapters import api, console, till
from adapters.api.closed import make_blueprint as closed_blueprint
from adapters.api.keys import Keys
from adapters.checks import Served, examine_dojo, examine_serving
from adapters.cli import Program, next_command, run
from adapters.cli.operator import Operator
from adapters.dojo.client import DojoClient, DojoSettings
from adapters.edge import BasicCredentials, Tokens, install
from adapters.edge.answers import note_receipt
from adapters.edge.api_page import install_api
from adapters.edge.bill import BillTemplate
from adapters.edge.bill_template import read_template
from adapters.edge.limits import Door, DoorSettings, Guesses
from adapters.edge.roles import install_tokens
from adapters.edge.strict_json import without_card_numbers
from adapters.edge.wire import learn_inbound_types
from adapters.epos.handlers import Handlers, HandlerSettings
from adapters.epos.rest import PUBLIC_ENDPOINTS, RestSettings, make_app, make_closed_app
from adapters.health import Health, Supervisor
from adapters.health import make_blueprint as health_blueprint
from adapters.heard import Heard
from adapters.logs import configure
from adapters.metrics import Metrics
from adapters.outbound import Call
from adapters.registering import Registrar
from adapters.serving import EXIT_UNEXPECTED, Running, end_worker, serve_in_worker
from adapters.settings import SETTINGS_FILE, Settings, shown
from adapters.starting import Accept, Opened, Parts, start
from adapters.venue import venue_document
from adapters.venue_server import ThreadedServer
from workflow import lost_tail
from workflow.case import declared_machines
from workflow.clock import Clock, SystemClock
from workflow.commands import EffectTaken, EraseGuest, EraseOrder, IntentRead, MigrateOrder, OperatorCommand, RequeueTask, Result, StopTask
from workflow.effects import OrderUpdated, ReadIntent, Task, TellTill
from workflow.engine import Engine, EngineSettings
from workflow.errors import (
    JournalDamaged,
    JournalInUse,
    JournalUnavailable,
    OrdersUnexplained,
    WorkflowError,
)
from workflow.explaining import refuse_unexplained
from workflow.journal.condition import JOURNAL_DAMAGED, Trouble
from workflow.journal.connection import refuse_foreign
from workflow.journal.keys import load_key, load_or_make_key
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.journal.unwritable import UnwritableJournal
from workflow.lifecycle import ATTENTION
from workflow.outbox import Outbox, OutboxSettings, Sender
from workflow.ports import IntentId, OrderId
from workflow.proof import Prover, Sealer
from workflow.retries import Pace
from workflow.rotation import Rotated, Rotator, open_with_key
from workflow.upkeep import Upkeep

PROBE_MS = 60_000
READ_SECONDS = 10.0
"""The longest that one question of a request may hold a state of the journal."""
AT_ONCE, STRANGERS_AT_ONCE = 160, 64
"""Requests with Dojo's credentials and without that Dojo's side works on at once; its other threads say no and answer `/healthz`."""
logger = logging.getLogger(__name__)


def __getattr__(name: str) -> object:
    """Refuse to be served by another server (`gunicorn app:app`): one that forks would give the journal several owners (P3)."""
    if name in {"app", "application", "create_app"}:
        logger.critical("no application for another server: run tillproof serve, which is a server itself", extra={"asked": name})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Run a command."""
    run(program())


def program() -> Program:
    """What the commands are given."""
    return Program(
        serve=serve,
        dojo=dojo_client,
        ask=ask,
        accept_loss=accept_loss,
        migrate=migrate,
        rotate_key=rotate_key,
        clock=SystemClock(),
    )


def serve(settings: Settings, *, as_json: bool = False) -> int:
    """Serve until told to stop; the exit code. Everything is opened in the worker, which says where it listens: `as_json`, on stdout."""
    _log(settings)
    return serve_in_worker(settings.listen, partial(_build, settings, as_json=as_json))


def ask(settings: Settings, command: OperatorCommand) -> None:
    """Give an operator's command: over HTTP to the server that has the journal, or alone under its lock. Raises Refused, JournalInUse."""
    command = replace(command, reason=without_card_numbers(command.reason))
    if not os.path.lexists(settings.journal):
        raise JournalUnavailable(f"there is no journal at {settings.journal}")
    try:
        journal = _open_journal(settings)
    except JournalInUse:
        Operator(settings.console_listen, settings.tokens).ask(command)
        return
    try:
        found = _engine_settings(settings)
        if isinstance(command, RequeueTask | StopTask):  # Nobody sends here: what is due waits, untried, for the next start.
            found = replace(found, sends=frozenset())
        engine = Engine(journal, declared_machines(), SystemClock(), found)
        outcome = engine.erase(command) if isinstance(command, EraseOrder | EraseGuest) else engine.handle(command)
        if outcome.refusal:
            raise outcome.refusal
    finally:
        journal.close()


def rotate_key(settings: Settings, actor: str, reason: str) -> Rotated:
    """Have a new key sign the journal from here on: by the server that has it, or alone under its lock. Raises what a Rotator raises."""
    reason = without_card_numbers(reason)
    if not os.path.lexists(settings.journal):
        raise JournalUnavailable(f"there is no journal at {settings.journal}")
    try:
        journal = _open_journal(settings)
    except JournalInUse:
        return Operator(settings.console_listen, settings.tokens).rotate_key(reason)
    try:
        engine = Engine(journal, declared_machines(), SystemClock(), _engine_settings(settings))
        return Rotator(engine, journal, SqliteReads(settings.journal), settings.signing_key).rotate(actor, reason)
    finally:
        journal.close()


def accept_loss(settings: Settings, actor: str, reason: str) -> str:
    """Go on with a journal that lacks entries its witness saw (S11); what was lost. Raises Refused where nothing is."""
    clock = SystemClock()
    return lost_tail.accept(
        actor,
        without_card_numbers(reason),
        witness=settings.witness,
        open_journal=lambda witness: _open_journal(replace(settings, witness=witness)),
        engine_of=lambda journal: Engine(journal, declared_machines(), clock, _engine_settings(settings)),
        clock=clock,
    )


def migrate(settings: Settings, commands: Sequence[MigrateOrder], progress: Callable[[int], None]) -> None:
    """Have orders migrated, each in a transaction of its own, with nobody else at the journal. Raises JournalInUse."""
    journal = _open_journal(settings)
    try:
        engine = Engine(journal, declared_machines(), SystemClock(), _engine_settings(settings))
        for done, command in enumerate(commands, start=1):
            engine.handle(replace(command, reason=without_card_numbers(command.reason)))
            progress(done)
    finally:
        journal.close()


def _log(settings: Settings) -> None:
    configure(sys.stderr, logging.INFO, SystemClock(), secrets=settings.secrets())


def _build(settings: Settings, *, as_json: bool) -> Running:
    """Start everything that can be; SystemExit with the code of INTERFACE §5 where that is nothing."""
    _log(settings)
    running = start(_parts(settings))
    return running if as_json else Running(running.app, running.stop)


def _parts(settings: Settings) -> Parts:
    sessions = console.Sessions(SystemClock())  # Who is logged in stays so when the journal can be opened again.
    return Parts(
        journal=settings.journal,
        clock=SystemClock(),
        open=partial(_open, settings, sessions),
        read=partial(_open_reading, settings, sessions),
        shut=partial(_shut, settings, sessions),
        accept_loss=partial(accept_loss, settings),
        listen=partial(ThreadedServer, settings.console_listen),
        why=_why,
    )


def _why(error: Exception) -> dict[str, str]:
    """The fields of a log line that tells why nothing, or not everything, is served, and what to run next."""
    following = "correct the template, then tillproof doctor"
    if isinstance(error, WorkflowError):
        following = next_command(error, "tillproof serve")
    return {"error": str(error), "next": following}


def _open(settings: Settings, sessions: console.Sessions, past: Sequence[Trouble]) -> Opened:
    """Everything around the journal; `past` is trouble that it must be told of."""
    read_template(settings.bill_template, settings.venue_name)  # First: a bad one must not leave the journal open.
    clock = SystemClock()
    _refuse_unexplained(settings)
    journal = _open_journal(settings)
    journal.condition.give_back(list(past))
    engine = Engine(journal, declared_machines(), clock, _engine_settings(settings))
    engine.acknowledge = note_receipt
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
        dead=lambda: work.dead(),  # noqa: PLW0108  # It is made below.
        verified=lambda: upkeep.last,
        wal_bytes=journal.wal_bytes,
    )
    metrics = Metrics(reads, health, clock, engine.now_ms)
    heard = _heard(reads)
    outbox = Outbox(engine, _senders(settings, reads, clock, metrics, heard), clock, _outbox_settings(settings))
    supervisor = Supervisor(metrics.died, partial(end_worker, EXIT_UNEXPECTED))
    jobs = console.Jobs(clock)
    work = _Work(settings=settings, journal=journal, upkeep=upkeep, outbox=outbox, sends=sends, supervisor=supervisor, jobs=jobs)
    keys = Keys(reads, journal, Rotator(engine, journal, reads, settings.signing_key).rotate)
    around = _Around(sealer=journal, upkeep=upkeep, jobs=jobs, wait_for_more=journal.wait_for_more)
    dojo, venue = _sides(settings, engine, reads, metrics, health, keys, around, sessions, heard)
    return Opened(dojo=dojo, venue=venue, begin=work.begin, let_go=work.let_go, close=work.close)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What goes on by itself around an open journal, beside the answers. Without `sends` nothing is sent, on purpose."""

    settings: Settings
    journal: SqliteJournal
    upkeep: Upkeep
    outbox: Outbox
    sends: bool
    supervisor: Supervisor
    jobs: console.Jobs

    def begin(self, server: ThreadedServer) -> None:
        """Begin, and watch over all of it and the server of the venue's side."""
        if self.sends:
            self.outbox.start()
        self.upkeep.start()
        watched = {name: is_alive for name, _, is_alive in self._parts()}
        self.supervisor.start(watched | {"venue's side": lambda: server.is_alive})
        logger.info("serving", extra={"journal": str(self.settings.journal), "dojo_url": self.settings.dojo_url})

    def dead(self) -> list[str]:
        """Codes of what has ended and should run."""
        return [code for _, code, is_alive in self._parts() if not is_alive()]

    def _parts(self) -> Iterator[tuple[str, str, Callable[[], bool]]]:
        yield "journal writer", "WRITER_DEAD", lambda: self.journal.is_alive
        yield "journal upkeep", "UPKEEP_DEAD_THREAD", lambda: self.upkeep.is_alive
        if self.sends:
            yield "outbox", "OUTBOX_DEAD_THREAD", lambda: self.outbox.is_alive

    def let_go(self) -> None:
        """From now on parts end as they should, and nobody waits for more."""
        self.supervisor.stop()
        self.journal.let_go()

    def close(self) -> None:
        """End it all, the journal last."""
        self.jobs.stop()
        self.upkeep.stop()
        self.outbox.stop()
        if not self.journal.failed.is_set():  # Else nothing more may be written: what failed once may seem to work the second time.
            self.journal.close()


def _look_at(settings: Settings, upkeep: Upkeep) -> bool:
    """Verify before anything is served, as far as the time goes; whether anything may be sent. Raises JournalDamaged."""
    fault = upkeep.verify_first()
    if fault and fault.is_of_the_file:
        raise JournalDamaged(f"{settings.journal}: {fault}")
    if fault:
        upkeep.refuse(fault)
    return fault is None


def _refuse_unexplained(settings: Settings) -> None:
    """Before anything is changed: the version that knows the journal's orders must be able to go on. Raises OrdersUnexplained."""
    if not os.path.lexists(settings.journal):
        return
    refuse_foreign(settings.journal)
    reads = SqliteReads(settings.journal, is_shared=True)  # Closed again: whoever opens the journal next wants it alone.
    try:
        reads.keep_spare()
        refuse_unexplained(reads, declared_machines())
    except OrdersUnexplained:
        raise
    except (JournalUnavailable, JournalDamaged) as error:  # Whoever opens the journal meets the same, and acts on it.
        logger.info("orders not looked at", extra={"error": str(error)})
    finally:
        reads.close()


def _open_reading(settings: Settings, sessions: console.Sessions, reason: JournalUnavailable) -> Opened:
    """Both sides around a journal that can be read only, for this reason: nothing is sent, since no answer could be kept."""
    clock = SystemClock()
    journal = UnwritableJournal(settings.journal, settings.witness, load_key(settings.signing_key), clock, reason)
    engine = Engine(journal, declared_machines(), clock, _engine_settings(settings))
    engine.acknowledge = note_receipt
    health = Health(condition=journal.condition, dead=list, verified=lambda: None, wal_bytes=journal.wal_bytes)
    metrics = Metrics(journal.reads, health, clock, engine.now_ms)
    keys, jobs = Keys(journal.reads, journal, journal.rotate_key), console.Jobs(clock)
    around = _Around(sealer=journal, upkeep=None, jobs=jobs, wait_for_more=journal.wait_for_more)
    heard = _heard(journal.reads)
    dojo, venue = _sides(settings, engine, journal.reads, metrics, health, keys, around, sessions, heard)

    def close() -> None:
        jobs.stop()
        journal.close()

    return Opened(dojo=dojo, venue=venue, close=close)


def _shut(settings: Settings, sessions: console.Sessions, told: str, trouble: Trouble, accept: Accept | None) -> Opened:
    """Both sides without a journal: Dojo is `told` to come again, the venue hears of the trouble, an operator may `accept` a loss."""
    front = _front(settings, sessions, lambda: [trouble.code], _guesses("venue", None))
    closed = console.make_closed_blueprint(front, code=trouble.code, since=trouble.since, detail=trouble.detail, accept=accept)
    blueprints = [closed, health_blueprint(lambda: [trouble.code])]
    if accept:
        blueprints.append(closed_blueprint(trouble.code, trouble.since, trouble.detail, accept))
    return Opened(dojo=make_closed_app(told), venue=_venue_app(settings, blueprints, front.guesses))


def _front(settings: Settings, sessions: console.Sessions, reasons: Callable[[], list[str]], guesses: Guesses) -> console.Front:
    return console.Front(
        clock=SystemClock(),
        tokens=_tokens(settings),
        guesses=guesses,
        sessions=sessions,
        trusted=settings.trusted_proxies,
        venue_name=settings.venue_name,
        zone=settings.timezone,
        is_live=settings.is_live,
        reasons=reasons,
    )


def _heard(reads: SqliteReads) -> Heard:
    """When Dojo was heard, beginning with what the journal knows of it."""
    heard = Heard(SystemClock())
    with suppress(JournalUnavailable, JournalDamaged):
        heard.recall(reads)
    return heard


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What stands around an open journal, beside who decides: who signs it, looks after it, and waits for more of it."""

    sealer: Sealer
    upkeep: Upkeep | None
    jobs: console.Jobs
    wait_for_more: Callable[[int, float], None]


def _sides(
    settings: Settings,
    engine: Engine,
    reads: SqliteReads,
    metrics: Metrics,
    health: Health,
    keys: Keys,
    around: _Around,
    sessions: console.Sessions,
    heard: Heard,
) -> tuple[Flask, Flask]:
    """Dojo's side and the venue's."""
    learn_inbound_types()
    clock, prover, bill = SystemClock(), Prover(reads, around.sealer), read_template(settings.bill_template, settings.venue_name)
    handlers = Handlers(engine, reads, clock, _handler_settings(settings, bill), metrics.observe_message)
    guesses = {side: _guesses(side, metrics) for side in ("dojo", "venue")}
    front = _front(settings, sessions, health.reasons, guesses["venue"])
    rest = _rest_settings(settings, guesses["dojo"])
    dojo = make_app(handlers, rest)
    metrics.watch(dojo, "dojo")
    heard.watch(dojo, lambda endpoint: bool(endpoint) and endpoint not in PUBLIC_ENDPOINTS)
    is_dojo = rest.credentials.matches if rest.credentials else bool
    _put_door(dojo, "dojo", settings, metrics, partial(guesses["dojo"].knows, is_dojo), at_once=(AT_ONCE, STRANGERS_AT_ONCE))
    desk = console.Desk(
        **{each.name: getattr(front, each.name) for each in fields(front)},
        engine=engine,
        reads=reads,
        health=health,
        prover=prover,
        currency=settings.currency,
        journal=settings.journal,
        witness=settings.witness,
        signing_key=settings.signing_key,
        sealer=around.sealer,
        upkeep=around.upkeep,
        intents=dojo_client(settings, on_call=partial(_count_call, metrics)) if settings.dojo_api_key else None,
        jobs=around.jobs,
        heard_at=lambda: heard.at,
        setup=_setup(settings, engine, reads, health, keys, clock),
    )
    blueprints = (
        console.make_blueprint(desk),
        till.TillApi(engine, reads, clock, _till_settings(settings), prover, around.wait_for_more).blueprint(),
        api.Api(engine, reads, declared_machines()["order"].ident, prover, health, keys, clock, settings.timezone).blueprint(),
        health_blueprint(health.reasons, partial(_attention, reads)),
        metrics.blueprint(),
    )
    venue = _venue_app(settings, blueprints, guesses["venue"])
    metrics.watch(venue, "venue")
    _put_door(venue, "venue", settings, metrics, partial(guesses["venue"].knows, _tokens(settings).actor))
    return dojo, venue


def _setup(settings: Settings, engine: Engine, reads: SqliteReads, health: Health, keys: Keys, clock: Clock) -> console.SetupDesk:
    served = Served(
        settings=settings, environ=os.environ, toml_path=SETTINGS_FILE, reads=reads, standing=health.condition.standing, clock=clock
    )
    return console.SetupDesk(
        settings=shown(settings),
        examine=partial(examine_serving, served),
        examine_dojo=partial(examine_dojo, served, dojo_client),
        registrar=Registrar(settings, partial(dojo_client, settings), engine.handle),
        keys=lambda: keys.view().data,
        rotate=keys.rotate,
    )


def _open_journal(settings: Settings) -> SqliteJournal:
    """The journal and its key: both are made at first start, and a key never beside a journal that has one, or a file that is not ours."""
    is_there = os.path.lexists(settings.journal)
    if is_there:
        refuse_foreign(settings.journal)

    def open_with(key: Ed25519PrivateKey) -> SqliteJournal:
        return SqliteJournal(settings.journal, settings.witness, key, SystemClock())

    return open_with_key(settings.signing_key, open_with) if is_there else open_with(load_or_make_key(settings.signing_key))


def _engine_settings(settings: Settings) -> EngineSettings:
    return EngineSettings(
        sends=frozenset({ReadIntent.name, OrderUpdated.name, *([TellTill.name] if settings.till_url else [])}),
        lease_ms=settings.lease_s * 1000,
        probe_ms=_probe_ms(settings),
        sweep_ms=settings.sweep_s * 1000,
        horizon_ms=settings.retry_horizon_s * 1000,
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


def _senders(settings: Settings, reads: SqliteReads, clock: SystemClock, metrics: Metrics, heard: Heard) -> dict[str, Sender]:
    """What makes each kind of call, every attempt counted."""
    dojo = dojo_client(settings, on_call=partial(_note_call, metrics, heard))
    senders: dict[str, Sender] = {ReadIntent.name: partial(_read_intent, dojo), OrderUpdated.name: partial(_order_updated, dojo)}
    if caller := _till_caller(settings, clock, metrics):
        senders[TellTill.name] = partial(_tell_till, caller, reads)
    return {name: partial(_count_attempt, metrics, sender) for name, sender in senders.items()}


def _read_intent(dojo: DojoClient, task: Task) -> IntentRead:
    return IntentRead(task=task, intent=dojo.read_intent(IntentId(task.intent_id)))


def _order_updated(dojo: DojoClient, task: Task) -> EffectTaken:
    dojo.send_order_updated(OrderId(task.order_id))
    return EffectTaken(task=task)


def _note_call(metrics: Metrics, heard: Heard, call: Call) -> None:
    if call.status and call.status < 500:  # Those come from whatever stands before Dojo, too.
        heard.hear()
    _count_call(metrics, call)


def _count_call(metrics: Metrics, call: Call) -> None:
    metrics.observe_call(call.path.split("/")[1], str(call.status or "none"))
    if call.answered_at:
        metrics.observe_clock("dojo", call.answered_at)


def _count_attempt(metrics: Metrics, sender: Sender, task: Task) -> Result:
    metrics.observe_attempt(task.effect, task.attempts)
    return sender(task)


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


def _put_door(
    app: Flask,
    side: str,
    settings: Settings,
    metrics: Metrics,
    knows: Callable[[str, str | None], bool],
    *,
    at_once: tuple[int, int] | tuple[None, None] = (None, None),
) -> None:
    """Put a door before everything that `app` does."""
    limits = DoorSettings(settings.trusted_proxies, settings.requests_per_second, *at_once)
    app.wsgi_app = Door(app.wsgi_app, limits, SystemClock(), on_shed=partial(metrics.shed, side), knows=knows)  # type: ignore[method-assign]


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


def _tokens(settings: Settings) -> Tokens:
    return Tokens.parse(",".join(f"{token.role}:{token.name}:{token.token}" for token in settings.tokens))


def _venue_app(settings: Settings, blueprints: Iterable[Blueprint], guesses: Guesses) -> Flask:
    app = Flask("tillproof.venue", static_folder=None)
    app.url_map.merge_slashes = False  # It would redirect to whatever host the caller named.
    install(app)
    install_tokens(app, _tokens(settings), guesses)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    install_api(app, venue_document())
    return app


def _attention(reads: SqliteReads) -> dict[str, int]:
    """How often each code of attention stands, the gravest first; none where the journal cannot be read, which is a reason of its own."""
    with suppress(JournalUnavailable, JournalDamaged):
        counts = reads.attention_counts()
        return {code: counts[code] for code in ATTENTION if code in counts}
    return {}


if __name__ == "__main__":
    main()
