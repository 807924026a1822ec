"""Dojo's side and the venue's: what stands on each, around a journal that is open, or with nothing but why it is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial

from flask import Blueprint, Flask

from adapters import api, console, till
from adapters.api.closed import make_blueprint as closed_blueprint
from adapters.api.keys import Keys
from adapters.callers import count_call, dojo_client
from adapters.checks import Served, examine_dojo, examine_serving
from adapters.edge import BasicCredentials, Tokens, install
from adapters.edge.api_page import install_api
from adapters.edge.bill_template import read_template
from adapters.edge.limits import Door, DoorSettings, Guesses
from adapters.edge.roles import install_tokens
from adapters.edge.wire import learn_inbound_types
from adapters.epos.handlers import Handlers, HandlerSettings
from adapters.epos.rest import PUBLIC_ENDPOINTS, RestSettings, make_app, make_closed_app
from adapters.health import Health
from adapters.health import make_blueprint as health_blueprint
from adapters.heard import Heard
from adapters.metrics import Metrics
from adapters.registering import Registrar
from adapters.settings import SETTINGS_FILE, Settings, shown
from adapters.starting import Accept
from adapters.venue import venue_document
from workflow.attention import by_gravity
from workflow.case import declared_machines
from workflow.clock import SystemClock
from workflow.engine import Engine
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.condition import Condition, Trouble
from workflow.journal.connection import wal_bytes
from workflow.journal.reads import SqliteReads
from workflow.proof import Prover, Sealer
from workflow.upkeep import Upkeep

AT_ONCE, STRANGERS_AT_ONCE = 160, 64
"""Requests with Dojo's credentials and without that Dojo's side works on at once; its other threads say no and answer `/healthz`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What both sides ask, act through and are watched by. `upkeep` is None where the journal cannot be written.

    `wait_for_more` returns once there are entries behind a position, or after so many seconds.
    """

    engine: Engine
    reads: SqliteReads
    sealer: Sealer
    upkeep: Upkeep | None
    wait_for_more: Callable[[int, float], None]
    keys: Keys
    health: Health
    metrics: Metrics
    heard: Heard
    jobs: console.Jobs
    sessions: console.Sessions


def open_sides(settings: Settings, behind: Behind) -> tuple[Flask, Flask]:
    """Dojo's side and the venue's around a journal. Raises BadTemplate."""
    learn_inbound_types()
    return _dojo_side(settings, behind), _venue_side(settings, behind)


def closed_sides(settings: Settings, sessions: console.Sessions, told: str, trouble: Trouble, accept: Accept | None) -> tuple[Flask, Flask]:
    """Both without a journal: Dojo is `told` to come again, the venue hears of the trouble, an operator may `accept` a loss."""
    clock = SystemClock()
    condition = Condition(clock, [trouble])
    health = Health(condition=condition, dead=list, verified=lambda: None, wal_bytes=partial(wal_bytes, settings.journal))
    metrics = Metrics(None, health, clock, lambda: 0)
    front = _front(settings, sessions, health.reasons, _guesses("venue", metrics))
    closed = console.make_closed_blueprint(front, code=trouble.code, since=trouble.since, detail=trouble.detail, accept=accept)
    blueprints = [closed, health_blueprint(health.reasons), metrics.blueprint()]
    if accept:
        blueprints.append(closed_blueprint(trouble.code, trouble.since, trouble.detail, accept))
    dojo = make_closed_app(told, partial(metrics.watch, side="dojo"))
    _put_dojos_door(dojo, settings, metrics, _rest_settings(settings, _guesses("dojo", metrics)))
    return dojo, _venue_app(settings, blueprints, front.guesses, metrics)


def _dojo_side(settings: Settings, behind: Behind) -> Flask:
    metrics = behind.metrics
    rest = _rest_settings(settings, _guesses("dojo", metrics))
    app = make_app(Handlers(behind.engine, behind.reads, SystemClock(), _handler_settings(settings), metrics.observe_message), rest)
    metrics.watch(app, "dojo")
    behind.heard.watch(app, lambda endpoint: bool(endpoint) and endpoint not in PUBLIC_ENDPOINTS)
    _put_dojos_door(app, settings, metrics, rest)
    return app


def _handler_settings(settings: Settings) -> HandlerSettings:
    return HandlerSettings(
        currency=settings.currency,
        mode=settings.order_and_pay_mode,
        search_days=settings.search_days,
        tables_answer=settings.tables_answer,
        zone=settings.timezone,
        bill=read_template(settings.bill_template, settings.venue_name),
    )


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


def _venue_side(settings: Settings, behind: Behind) -> Flask:
    engine, reads, health, metrics, clock = behind.engine, behind.reads, behind.health, behind.metrics, SystemClock()
    prover, guesses = Prover(reads, behind.sealer), _guesses("venue", metrics)
    till_settings = till.TillSettings(currency=settings.currency, max_body=settings.max_body, max_depth=settings.max_depth)
    blueprints = (
        console.make_blueprint(_desk(settings, behind, prover, guesses)),
        till.TillApi(engine, reads, clock, till_settings, prover, behind.wait_for_more).blueprint(),
        api.Api(engine, reads, declared_machines()["order"].ident, prover, health, behind.keys, clock, settings.timezone).blueprint(),
        health_blueprint(health.reasons, partial(_attention, reads)),
        metrics.blueprint(),
    )
    return _venue_app(settings, blueprints, guesses, metrics)


def _venue_app(settings: Settings, blueprints: Iterable[Blueprint], guesses: Guesses, metrics: Metrics) -> Flask:
    app = Flask("tillproof.venue", static_folder=None)
    app.url_map.merge_slashes = False  # It would redirect to whatever host the caller named.
    install(app)
    install_tokens(app, _tokens(settings), guesses)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    install_api(app, venue_document())
    metrics.watch(app, "venue")
    _put_door(app, "venue", settings, metrics, partial(guesses.knows, _tokens(settings).actor))
    return app


def _desk(settings: Settings, behind: Behind, prover: Prover, guesses: Guesses) -> console.Desk:
    front = _front(settings, behind.sessions, behind.health.reasons, guesses)
    return console.Desk(
        **{each.name: getattr(front, each.name) for each in fields(front)},
        engine=behind.engine,
        reads=behind.reads,
        health=behind.health,
        prover=prover,
        currency=settings.currency,
        journal=settings.journal,
        witness=settings.witness,
        signing_key=settings.signing_key,
        sealer=behind.sealer,
        upkeep=behind.upkeep,
        intents=dojo_client(settings, on_call=partial(count_call, behind.metrics)) if settings.dojo_api_key else None,
        jobs=behind.jobs,
        heard_at=lambda: behind.heard.at,
        setup=_setup_desk(settings, behind),
    )


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


def _setup_desk(settings: Settings, behind: Behind) -> console.SetupDesk:
    served = Served(
        settings=settings,
        environ=os.environ,
        toml_path=SETTINGS_FILE,
        reads=behind.reads,
        standing=behind.health.condition.standing,
        clock=SystemClock(),
    )
    return console.SetupDesk(
        settings=shown(settings),
        examine=partial(examine_serving, served),
        examine_dojo=partial(examine_dojo, served, dojo_client),
        registrar=Registrar(settings, partial(dojo_client, settings), behind.engine.handle),
        keys=lambda: behind.keys.view().data,
        rotate=behind.keys.rotate,
    )


def _tokens(settings: Settings) -> Tokens:
    return Tokens.parse(",".join(f"{token.role}:{token.name}:{token.token}" for token in settings.tokens))


def _guesses(side: str, metrics: Metrics) -> Guesses:
    return Guesses(side, SystemClock(), partial(metrics.refused, side))


def _put_dojos_door(app: Flask, settings: Settings, metrics: Metrics, rest: RestSettings) -> None:
    is_dojo = rest.credentials.matches if rest.credentials else bool
    _put_door(app, "dojo", settings, metrics, partial(rest.guesses.knows, is_dojo), at_once=(AT_ONCE, STRANGERS_AT_ONCE))


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


def _attention(reads: SqliteReads) -> dict[str, int]:
    """How often each code of attention stands, the gravest first; none where the journal cannot be read, which is a reason of its own."""
    with suppress(JournalUnavailable, JournalDamaged):
        counts = reads.attention_counts()
        return {code: counts[code] for code in by_gravity(counts)}
    return {}
