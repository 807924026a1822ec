"""What `tillproof doctor` looks at. Each finding says what is, and how to mend it where it is wrong."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from adapters.dojo.capabilities import difference, wanted
from adapters.dojo.client import DojoClient
from adapters.edge.bill_template import BadTemplate, read_template
from adapters.settings import Settings, SettingsError, is_loopback, read_settings
from workflow.clock import Clock, to_text
from workflow.errors import DojoRefusesUs, JournalDamaged, JournalUnavailable, OutcomeUnknown, Refused, TryAgain
from workflow.journal.connection import reading
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads
from workflow.journal.witness import read_head

SAFE_SQLITE = (3, 51, 3)
"""Releases from 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write and checkpoint at the same instant."""
SHOWN_KEY_CHARACTERS = 4
LEAST_SECRET_CHARACTERS = 16
Level = Literal["ok", "warn", "FAIL", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    name: str
    text: str
    mend: str = ""


def sqlite_version() -> str:
    """The version of the SQLite that keeps the journal."""
    return str(sqlite3.sqlite_version)


def examine(environ: Mapping[str, str], toml_path: Path, dojo: Callable[[Settings], DojoClient], clock: Clock) -> list[Finding]:
    """Look at everything; nothing is changed, and only Dojo is called."""
    try:
        settings = read_settings(environ, toml_path)
    except SettingsError as error:
        return [Finding("FAIL", "settings", problem, "correct the setting, then tillproof doctor") for problem in error.problems]
    return [
        *_settings(settings),
        *_bill(settings),
        _sqlite(),
        *_journal(settings),
        _clock(settings, clock),
        *_files(settings),
        *_till(settings),
        *_dojo(settings, dojo),
    ]


def _settings(settings: Settings) -> Iterator[Finding]:
    problems = settings.problems_for_serving()
    for problem in problems:
        yield Finding("FAIL", "settings", problem, "set it in the environment or in tillproof.toml")
    if not problems:
        yield Finding("ok", "settings", f"complete for serve (ENV={settings.env}, mode {settings.order_and_pay_mode})")
    if not settings.tokens:
        yield Finding(
            "warn", "tokens", "nobody can use the till's API or read the journal over HTTP", "set TILLPROOF_TOKENS=role:name:token,…"
        )


def _bill(settings: Settings) -> Iterator[Finding]:
    path = settings.bill_template
    try:
        found = read_template(path, settings.venue_name)
    except BadTemplate as error:
        yield from (Finding("FAIL", "bill", problem, "correct the template, then tillproof doctor") for problem in error.problems)
        return
    if path:
        yield Finding("ok", "bill", f"{path}: {len(found.header)} lines above the order, {len(found.footer)} below it")


def _sqlite() -> Finding:
    version = sqlite_version()
    if tuple(int(part) for part in version.split(".")) >= SAFE_SQLITE:
        return Finding("ok", "SQLite", version)
    return Finding(
        "warn", "SQLite", f"{version} can corrupt a database in rare cases", "pip install 'pysqlite3>=0.6.1' where it has a wheel"
    )


def _journal(settings: Settings) -> Iterator[Finding]:
    path = settings.journal
    if not path.exists():
        yield Finding("ok", "journal", f"none yet at {path}; serve makes it")
        return
    try:
        with reading(path):
            size = SqliteReads(path).size()
    except JournalDamaged as error:
        yield Finding("FAIL", "journal", str(error), "point TILLPROOF_JOURNAL at the journal, or restore a sealed copy")
        return
    except JournalUnavailable as error:
        yield Finding("FAIL", "journal", str(error), "check the path and its permissions")
        return
    yield Finding("ok", "journal", f"{path}, {size:,} entries")
    head = read_head(settings.witness)
    if head is None:
        yield Finding("warn", "witness", f"no line in {settings.witness}: a lost tail could not be noticed", "check TILLPROOF_WITNESS")
    elif head.size > size:
        yield Finding(
            "FAIL", "witness", f"saw {head.size:,} entries, the journal has {size:,}", "find the newer journal; tillproof journal verify"
        )
    else:
        yield Finding("ok", "witness", f"{settings.witness}, at {head.size:,}")


def _clock(settings: Settings, clock: Clock) -> Finding:
    """The machine's time, beside that of the newest entry: a clock that was set back would date money wrongly (T1)."""
    newest = ""
    with suppress(JournalDamaged, JournalUnavailable):  # The journal has a finding of its own.
        newest = "".join(entry.at for entry in SqliteReads(settings.journal).last_entries(1)) if settings.journal.exists() else ""
    now = to_text(clock.now())
    if newest > now:
        return Finding("FAIL", "clock", f"says {now}, and the journal's newest entry is of {newest}", "set the machine's clock")
    return Finding("ok", "clock", now)


def _files(settings: Settings) -> Iterator[Finding]:
    for name, path in (("journal", settings.journal), ("signing key", settings.signing_key), ("witness", settings.witness)):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding("FAIL", "file mode", f"{name} {path} can be read by others", f"chmod 600 {path}")


def _till(settings: Settings) -> Iterator[Finding]:
    url, secret = settings.till_url, settings.till_secret
    if url is None:
        yield Finding("ok", "till", "not called: TILL_URL is absent; it follows GET /till/feed")
        if secret:
            yield Finding("warn", "till", "TILL_SECRET signs nothing without TILL_URL", "set TILLPROOF_TILL_URL, or leave both out")
        return
    yield Finding("ok", "till", f"called at {url}, and nowhere else")
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        text = "plain http beyond this machine: calls are signed, but orders and names can be read on the way"
        yield Finding("warn", "till", text, "use https, or a network that only the tills are in")
    if secret and len(secret) < LEAST_SECRET_CHARACTERS:
        text = f"TILL_SECRET has fewer than {LEAST_SECRET_CHARACTERS} characters: it can be guessed"
        yield Finding("warn", "till", text, "python -c 'import secrets; print(secrets.token_urlsafe(32))'")


def _dojo(settings: Settings, dojo: Callable[[Settings], DojoClient]) -> Iterator[Finding]:
    key = settings.dojo_api_key
    if not key:
        yield Finding("skip", "Dojo", "not asked: no API key")
        return
    kind = "LIVE" if key.startswith("sk_prod_") else "SANDBOX"
    yield Finding("ok", "Dojo key", f"…{key[-SHOWN_KEY_CHARACTERS:]}  ({kind})")
    try:
        integrations = dojo(settings).integrations()
    except DojoRefusesUs as error:
        yield Finding("FAIL", "Dojo", f"refuses the key: {error}", "set TILLPROOF_DOJO_API_KEY")
        return
    except (TryAgain, OutcomeUnknown, Refused) as error:
        yield Finding("FAIL", "Dojo", f"{settings.dojo_url} does not answer: {error}", "check TILLPROOF_DOJO_URL and the network")
        return
    yield Finding("ok", "Dojo", f"{settings.dojo_url} answers")
    if not (settings.public_url and settings.epos_username and settings.epos_password):
        yield Finding("skip", "capabilities", "not compared: PUBLIC_URL, EPOS_USERNAME and EPOS_PASSWORD are needed")
        return
    registration = wanted(settings.public_url, settings.epos_username, settings.epos_password)
    gap = difference(integrations[0] if integrations else None, registration)
    if gap.is_none:
        yield Finding("ok", "capabilities", f"{len(registration.capabilities)} registered for {registration.url}")
    for name in gap.missing:
        yield Finding(
            "FAIL", "capabilities", f"{name} is not registered: Dojo will not call it", "tillproof caps diff; tillproof caps register"
        )
    if gap.url_differs or gap.username_differs or gap.version_differs:
        yield Finding(
            "FAIL", "capabilities", "registered with another address, user name or version", "tillproof caps diff; tillproof caps register"
        )
    for name in gap.extra:
        yield Finding("warn", "capabilities", f"{name} is registered, but not served here", "tillproof caps register")
