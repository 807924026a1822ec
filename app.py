"""The composition root: reads settings, builds everything, starts it; no rules.

`python app.py COMMAND` and `tillproof COMMAND` are the same program.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters import console
from adapters.api.keys import Keys
from adapters.callers import dojo_client, senders
from adapters.cli import Program, next_command, run
from adapters.cli.operator import Operator
from adapters.edge.answers import note_receipt
from adapters.edge.bill_template import read_template
from adapters.edge.strict_json import without_card_numbers
from adapters.health import Health, Supervisor
from adapters.heard import Heard
from adapters.logs import configure
from adapters.metrics import Metrics
from adapters.serving import EXIT_UNEXPECTED, Running, end_worker, serve_in_worker
from adapters.settings import Settings
from adapters.sides import Behind, closed_sides, open_sides
from adapters.starting import Accept, Opened, Parts, start
from adapters.venue_server import ThreadedServer
from workflow import lost_tail
from workflow.case import declared_machines
from workflow.clock import SystemClock
from workflow.commands import EraseGuest, EraseOrder, MigrateOrder, OperatorCommand, RequeueTask, StopTask
from workflow.effects import OrderUpdated, ReadIntent, TellTill
from workflow.engine import Engine, EngineSettings
from workflow.errors import (
    JournalDamaged,
    JournalInUse,
    JournalUnavailable,
    OrdersUnexplained,
    PathRefused,
    WorkflowError,
)
from workflow.explaining import refuse_unexplained
from workflow.journal.condition import JOURNAL_DAMAGED, Trouble
from workflow.journal.connection import refuse_foreign, refuse_second_name
from workflow.journal.keys import load_key, load_or_make_key
from workflow.journal.reads import SqliteReads, TimeLimit
from workflow.journal.sqlite import SqliteJournal
from workflow.journal.unwritable import UnwritableJournal
from workflow.journal.witness import refuse_foreign_witness
from workflow.outbox import Outbox, OutboxSettings
from workflow.retries import Pace
from workflow.rotation import Rotated, Rotator, open_with_key
from workflow.upkeep import Upkeep

PROBE_MS = 60_000
READ_SECONDS = 10.0
"""The longest that one question of a request may hold a state of the journal."""
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
        open_journal=lambda witness, accepts_loss: _open_journal(replace(settings, witness=witness), accepts_loss=accepts_loss),
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
        reads = SqliteReads(
            settings.journal,
            limit=TimeLimit(clock, READ_SECONDS),
            on_damage=partial(journal.condition.begin, JOURNAL_DAMAGED),
        )
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
    outbox = Outbox(engine, senders(settings, reads, clock, metrics, heard), clock, _outbox_settings(settings))
    supervisor = Supervisor(metrics.died, partial(end_worker, EXIT_UNEXPECTED))
    jobs = console.Jobs(clock)
    work = _Work(settings=settings, journal=journal, upkeep=upkeep, outbox=outbox, sends=sends, supervisor=supervisor, jobs=jobs)
    behind = Behind(
        engine=engine,
        reads=reads,
        sealer=journal,
        upkeep=upkeep,
        wait_for_more=journal.wait_for_more,
        keys=Keys(reads, journal, Rotator(engine, journal, reads, settings.signing_key).rotate),
        health=health,
        metrics=metrics,
        heard=heard,
        jobs=jobs,
        sessions=sessions,
    )
    dojo, venue = open_sides(settings, behind)
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
    jobs = console.Jobs(clock)
    behind = Behind(
        engine=engine,
        reads=journal.reads,
        sealer=journal,
        upkeep=None,
        wait_for_more=journal.wait_for_more,
        keys=Keys(journal.reads, journal, journal.rotate_key),
        health=health,
        metrics=Metrics(journal.reads, health, clock, engine.now_ms),
        heard=_heard(journal.reads),
        jobs=jobs,
        sessions=sessions,
    )
    dojo, venue = open_sides(settings, behind)

    def close() -> None:
        jobs.stop()
        journal.close()

    return Opened(dojo=dojo, venue=venue, close=close)


def _shut(settings: Settings, sessions: console.Sessions, told: str, trouble: Trouble, accept: Accept | None) -> Opened:
    dojo, venue = closed_sides(settings, sessions, told, trouble, accept)
    return Opened(dojo=dojo, venue=venue)


def _heard(reads: SqliteReads) -> Heard:
    """When Dojo was heard, beginning with what the journal knows of it."""
    heard = Heard(SystemClock())
    with suppress(JournalUnavailable, JournalDamaged):
        heard.recall(reads)
    return heard


def _open_journal(settings: Settings, *, accepts_loss: bool = False) -> SqliteJournal:
    """The journal and its key: both are made at first start, and a key never beside a journal that has one, or a file that is not ours."""
    if shared := settings.shared_files():
        raise PathRefused("; ".join(shared))
    is_there = os.path.lexists(settings.journal)
    if is_there:
        refuse_foreign(settings.journal)
        refuse_second_name(settings.journal)
    refuse_foreign_witness(settings.witness)

    def open_with(key: Ed25519PrivateKey) -> SqliteJournal:
        return SqliteJournal(settings.journal, settings.witness, key, SystemClock(), accepts_loss=accepts_loss)

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


if __name__ == "__main__":
    main()
