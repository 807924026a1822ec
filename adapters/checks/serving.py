"""What doctor would say from within a server: the journal and ports are its own, its settings those that it was started with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.checks.choices import bill, complete, contradictions, exposure, people, till
from adapters.checks.dojo import Dojo, dojo_findings
from adapters.checks.files import disk, journal_served, key_served, modes
from adapters.checks.finding import Finding
from adapters.checks.surroundings import clock_beside, sqlite
from adapters.outbound import Call
from adapters.setting_kinds import address_text
from adapters.settings import Settings, SettingsError, read_settings
from workflow.clock import Clock
from workflow.journal.condition import Trouble
from workflow.journal.reads import SqliteReads


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that looks at itself: the settings it was started with, where they came from, its journal and what troubles that."""

    settings: Settings
    environ: Mapping[str, str]
    toml_path: Path
    reads: SqliteReads
    standing: Callable[[], Sequence[Trouble]]
    clock: Clock


def examine_serving(served: Served) -> list[Finding]:
    """Look at everything here; nothing is changed, and nobody is called."""
    settings = served.settings
    return [
        *complete(settings),
        *_since_the_start(served),
        *contradictions(settings),
        *exposure(settings),
        *people(settings),
        *bill(settings),
        sqlite(),
        *journal_served(settings, served.reads, served.standing()),
        *disk(settings),
        clock_beside(served.clock, served.reads, ()),
        *key_served(settings, served.reads),
        *modes(settings, served.environ, served.toml_path, is_served=True),
        *_listeners(settings),
        *till(settings),
    ]


def examine_dojo(served: Served, dojo: Dojo) -> list[Finding]:
    """Ask Dojo, and compare the clocks: it takes as long as a call may take."""
    calls: list[Call] = []
    found = list(dojo_findings(served.settings, dojo, calls))
    return [*found, clock_beside(served.clock, served.reads, calls)]


def _since_the_start(served: Served) -> Iterator[Finding]:
    """Settings are read at the start: a file that was changed since says what the next one will do."""
    try:
        now = read_settings(served.environ, served.toml_path)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("FAIL", "settings", f"the next start would not take them: {problem}", "correct it before the server is restarted")
        return
    changed = [name for name in now.origins if getattr(now, name.lower()) != getattr(served.settings, name.lower())]
    if changed:
        text = f"changed since this server was started, and not in force yet: {', '.join(changed)}"
        yield Finding("warn", "settings", text, "restart the server to put them in force")


def _listeners(settings: Settings) -> Iterator[Finding]:
    for name, address in (("LISTEN", settings.listen), ("CONSOLE_LISTEN", settings.console_listen)):
        yield Finding("ok", "listener", f"{name} {address_text(address)} is served by this server")
