"""Everything that doctor looks at, one after the other.

FAIL: `serve` does not start, or money goes wrong. warn: it works, and something is unsafe or missing. skip: it could not be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from adapters.checks.choices import bill, complete, contradictions, exposure, people, till
from adapters.checks.dojo import Dojo, dojo_findings
from adapters.checks.files import disk, journal, key_file, modes
from adapters.checks.finding import Finding
from adapters.checks.surroundings import clock_beside, listeners, sqlite, till_reached
from adapters.outbound import Call
from adapters.settings import FILE_SUFFIX, PREFIX, UNREAD, Settings, SettingsError, describe, read_settings
from workflow.clock import Clock
from workflow.journal.reads import SqliteReads

ABOUT_FILES = frozenset({"journal", "witness", "signing key", "directory", "disk", "file mode", "clock"})
"""Findings about the journal, and what lies beside it by default."""


def examine(environ: Mapping[str, str], toml_path: Path, dojo: Dojo, clock: Clock) -> list[Finding]:
    """Look at everything; nothing is changed. Only Dojo is called; the till gets a connection, and whoever has a port of ours is asked."""
    try:
        return _examined(read_settings(environ, toml_path), environ, toml_path, dojo, clock)
    except SettingsError as error:
        wrong = [Finding("FAIL", "settings", problem, _mend_of(problem)) for problem in error.problems]
        found = _examined(error.rest, environ, toml_path, None, clock) if error.rest else []
        return wrong + [one for one in found if not _hangs_on(one, error.problems)]


def _examined(settings: Settings, environ: Mapping[str, str], toml_path: Path, dojo: Dojo | None, clock: Clock) -> list[Finding]:
    calls: list[Call] = []
    asked = list(dojo_findings(settings, dojo, calls)) if dojo else [Finding("skip", "Dojo", "not asked before the settings are correct")]
    return [
        *complete(settings),
        *contradictions(settings),
        *exposure(settings),
        *people(settings),
        *bill(settings),
        sqlite(),
        *journal(settings),
        *disk(settings),
        *key_file(settings),
        clock_beside(clock, SqliteReads(settings.journal) if settings.journal.exists() else None, calls),
        *modes(settings, environ, toml_path),
        *listeners(settings),
        *till(settings),
        *(till_reached(settings) if dojo else ()),
        *asked,
    ]


def _hangs_on(finding: Finding, problems: Iterable[str]) -> bool:
    """Whether it says something of a setting that cannot be used, where the default stands in for it."""
    unusable = {each.name for each in describe() for problem in problems if _names(each.name, problem.partition(": ")[0].upper())}
    if (finding.level, finding.name) == ("ok", "settings") or ("JOURNAL" in unusable and finding.name in ABOUT_FILES):
        return True
    return any(_names(name, f"{finding.text} {finding.mend}") for name in unusable)


def _names(name: str, text: str) -> bool:
    return bool(re.search(rf"\b({PREFIX})?{name}({FILE_SUFFIX})?\b", text))


def _mend_of(problem: str) -> str:
    """What to do about one line of a SettingsError."""
    if "there is no such setting" in problem:
        return "rename it, or take it out; then tillproof doctor"
    if UNREAD in problem:
        return "correct the file, and let the server's user read it; then tillproof doctor"
    if "a readable file" in problem:
        return "give the path of a file that the server's user can read; then tillproof doctor"
    return "correct the setting, then tillproof doctor"
