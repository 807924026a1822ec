"""What `tillproof doctor` looks at. Each finding says what is, and how to mend it where it is wrong.

FAIL: `serve` does not start, or money goes wrong. warn: it works, and something is unsafe or missing. skip: it could not be looked at.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import socket
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.cli.context import Dojo
from adapters.dojo.capabilities import difference, wanted
from adapters.edge.bill_template import BadTemplate, read_template
from adapters.outbound import Call
from adapters.setting_kinds import ROLES, Address
from adapters.settings import (
    FILE_SUFFIX,
    PREFIX,
    PRODUCTION_KEY_PREFIX,
    UNREAD,
    Settings,
    SettingsError,
    describe,
    is_loopback,
    read_settings,
)
from workflow.case import declared_machines
from workflow.clock import Clock, to_text
from workflow.errors import (
    DeclarationError,
    DojoRefusesUs,
    JournalDamaged,
    JournalForeign,
    JournalTooNew,
    JournalUnavailable,
    OrdersToMigrate,
    OrdersUnexplained,
    OutcomeUnknown,
    Refused,
    TryAgain,
)
from workflow.explaining import refuse_unexplained
from workflow.journal.connection import reading, refuse_foreign
from workflow.journal.driver import sqlite3
from workflow.journal.keys import UnusableKey, load_key, next_path
from workflow.journal.reads import SqliteReads
from workflow.journal.witness import read_head
from workflow.ledger import key_id

SAFE_SQLITE = (3, 51, 3)
"""Releases from 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write and checkpoint at the same instant."""
SHOWN_KEY_CHARACTERS = 4
LEAST_SECRET_CHARACTERS = 16
MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
NO_ROOM_BYTES = 100_000_000
"""With less on the journal's disk it may stop at any time: a busy venue writes so much in a day."""
LITTLE_ROOM_BYTES = 1_000_000_000
CLOCK_SECONDS = 60.0
"""Dojo's clock may differ by so much: an answer takes time, and its `Date` has whole seconds."""
PEEK_SECONDS = 2.0
PEEKED_BYTES = 4_096
CONTRADICTION = "change one of the two"
ABOUT_FILES = frozenset({"journal", "witness", "signing key", "directory", "disk", "file mode", "clock"})
"""Findings about the journal, and what lies beside it by default."""
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


def examine(environ: Mapping[str, str], toml_path: Path, dojo: Dojo, clock: Clock) -> list[Finding]:
    """Look at everything; nothing is changed. Only Dojo is called, and, where a port is taken, whoever has it."""
    try:
        return _examined(read_settings(environ, toml_path), environ, toml_path, dojo, clock)
    except SettingsError as error:
        wrong = [Finding("FAIL", "settings", problem, _mend_of(problem)) for problem in error.problems]
        found = _examined(error.rest, environ, toml_path, None, clock) if error.rest else []
        return wrong + [one for one in found if not _hangs_on(one, error.problems)]


def _examined(settings: Settings, environ: Mapping[str, str], toml_path: Path, dojo: Dojo | None, clock: Clock) -> list[Finding]:
    calls: list[Call] = []
    asked = list(_dojo(settings, dojo, calls)) if dojo else [Finding("skip", "Dojo", "not asked before the settings are correct")]
    return [
        *_settings(settings),
        *_contradictions(settings),
        *_exposure(settings),
        *_people(settings),
        *_bill(settings),
        _sqlite(),
        *_journal(settings),
        *_disk(settings),
        *_key(settings),
        *_clock(settings, clock, calls),
        *_modes(settings, environ, toml_path),
        *_listeners(settings),
        *_till(settings),
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


def _settings(settings: Settings) -> Iterator[Finding]:
    problems = settings.problems_for_serving()
    for problem in problems:
        yield Finding("FAIL", "settings", problem, "set it in the environment or in tillproof.toml")
    if not problems:
        yield Finding("ok", "settings", f"complete for serve (ENV={settings.env}, mode {settings.order_and_pay_mode})")


def _contradictions(settings: Settings) -> Iterator[Finding]:
    """Settings of which each is good by itself."""
    files = {"JOURNAL": settings.journal, "WITNESS": settings.witness, "SIGNING_KEY": settings.signing_key}
    for name, other in (("JOURNAL", "WITNESS"), ("JOURNAL", "SIGNING_KEY"), ("WITNESS", "SIGNING_KEY")):
        if files[name].absolute() == files[other].absolute():
            yield Finding("FAIL", "settings", f"{name} and {other} are one file: {files[name]}", CONTRADICTION)
    if settings.listen == settings.console_listen and settings.listen[1]:
        yield Finding("FAIL", "settings", f"LISTEN and CONSOLE_LISTEN are one address: {_text_of(settings.listen)}", CONTRADICTION)
    if settings.lease_s * 1_000 <= settings.call_deadline_ms:
        text = f"LEASE_S ({settings.lease_s}) ends before a call may (CALL_DEADLINE_MS {settings.call_deadline_ms}): calls are sent twice"
        yield Finding("warn", "settings", text, "make LEASE_S longer, or CALL_DEADLINE_MS shorter")
    if settings.retry_base_ms > settings.retry_cap_ms:
        text = f"the first pause (RETRY_BASE_MS {settings.retry_base_ms}) is longer than the longest (RETRY_CAP_MS {settings.retry_cap_ms})"
        yield Finding("warn", "settings", text, CONTRADICTION)
    if settings.env == "test" and not settings.epos_username:
        yield Finding("warn", "settings", "ENV=test without credentials: anybody may call Dojo's side", "ENV=production, and EPOS_USERNAME")


def _exposure(settings: Settings) -> Iterator[Finding]:
    """What others could read or reach."""
    for name, (host, _) in (("LISTEN", settings.listen), ("CONSOLE_LISTEN", settings.console_listen)):
        if not is_loopback(host):
            text = f"{name} is {host}: plain http beyond this machine shows passwords and tokens"
            yield Finding("warn", "plain http", text, f"set TILLPROOF_{name} to 127.0.0.1, and a TLS proxy in front of it")
    if settings.env == "test":
        return
    if settings.public_url is None:
        text = "PUBLIC_URL is absent: nothing can be registered, and Dojo will not call"
        yield Finding("warn", "public URL", text, "set TILLPROOF_PUBLIC_URL to the https address of the proxy")
        return
    parts = urlsplit(settings.public_url)
    if parts.scheme == "http":
        text = f"{settings.public_url} is not https: Dojo's password for us can be read on the way"
        yield Finding("FAIL", "public URL", text, "set TILLPROOF_PUBLIC_URL to the https address of the proxy")
    if is_loopback(parts.hostname or ""):
        yield Finding("FAIL", "public URL", f"Dojo cannot reach {settings.public_url}", "set TILLPROOF_PUBLIC_URL to a public address")


def _people(settings: Settings) -> Iterator[Finding]:
    """Who may do what, and how well their secrets are chosen."""
    roles = {token.role for token in settings.tokens}
    if not roles:
        text = "nobody can use the till's API or read the journal over HTTP"
        yield Finding("warn", "tokens", text, "set TILLPROOF_TOKENS=role:name:token,…")
    else:
        held = roles | ({"auditor"} if "operator" in roles else set())
        without = {
            "till": "no till can connect",
            "auditor": "nobody can read the journal",
            "operator": "nobody can settle what needs a person",
        }
        for role in (role for role in ROLES if role not in held):
            yield Finding(
                "warn", "tokens", f"no token of role {role}: {without[role]} over HTTP", f"add {role}:name:token to TILLPROOF_TOKENS"
            )
    weak = [f"the token of {token.name}" for token in settings.tokens if len(token.token) < LEAST_SECRET_CHARACTERS]
    weak += ["EPOS_PASSWORD"] if settings.epos_password and len(settings.epos_password) < LEAST_SECRET_CHARACTERS else []
    weak += ["one of WEBHOOK_SECRETS"] if any(len(secret) < LEAST_SECRET_CHARACTERS for secret in settings.webhook_secrets) else []
    for what in weak:
        yield Finding("warn", "weak secret", f"{what} has fewer than {LEAST_SECRET_CHARACTERS} characters: it can be guessed", MAKE_ONE)
    if not settings.webhook_secrets:
        text = "WEBHOOK_SECRETS is absent: webhooks are refused, and events come by HandleEvent alone"
        yield Finding("warn", "webhooks", text, "set TILLPROOF_WEBHOOK_SECRETS where a webhook is registered at Dojo")


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
    yield from _directories(settings)
    if not os.path.lexists(path):
        yield Finding("ok", "journal", f"none yet at {path}; serve makes it")
        return
    try:
        with reading(path):
            size = SqliteReads(path).size()
        refuse_unexplained(SqliteReads(path), declared_machines())
    except DeclarationError as error:
        yield Finding("FAIL", "declaration", str(error), "correct workflow/lifecycle.py")
        return
    except OrdersToMigrate as error:
        yield Finding("FAIL", "journal", str(error), "tillproof machine migrate --reason TEXT, with the server stopped")
        return
    except OrdersUnexplained as error:
        yield Finding("FAIL", "journal", str(error), "install the version that wrote it; tillproof machine check says more")
        return
    except JournalTooNew as error:
        yield Finding("FAIL", "journal", str(error), "install the version that wrote it")
        return
    except JournalDamaged as error:
        yield Finding("FAIL", "journal", str(error), "point TILLPROOF_JOURNAL at the journal, or restore a sealed copy")
        return
    except JournalUnavailable as error:
        yield Finding("FAIL", "journal", str(error), "check the path and its permissions")
        return
    if not os.access(path, os.W_OK):
        yield Finding("FAIL", "journal", f"{path} cannot be written", f"chown or chmod u+w {path}; mount its disk for writing")
    yield Finding("ok", "journal", f"{path}, {size:,} entries")
    yield from _witness(settings, size)


def _directories(settings: Settings) -> Iterator[Finding]:
    """Where files are made, and where SQLite puts its own beside the journal."""
    for directory in dict.fromkeys(path.parent for path in (settings.journal, settings.witness, settings.signing_key)):
        there = _nearest(directory)
        if not there.is_dir():
            yield Finding("FAIL", "directory", f"{directory} cannot be made: {there} is a file", f"move {there}, or name another directory")
        elif not os.access(there, os.W_OK | os.X_OK):
            yield Finding("FAIL", "directory", f"{there} cannot be written", f"chown or chmod u+wx {there}; mount its disk for writing")
        elif there == directory and there.stat().st_mode & stat.S_IWOTH and not there.stat().st_mode & stat.S_ISVTX:
            yield Finding("FAIL", "file mode", f"anybody may replace the files in {there}", f"chmod 700 {there}")


def _nearest(directory: Path) -> Path:
    """The directory, or the first of its parents that is there."""
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())


def _witness(settings: Settings, size: int) -> Iterator[Finding]:
    head = read_head(settings.witness)
    if head is None:
        yield Finding("warn", "witness", f"no line in {settings.witness}: a lost tail could not be noticed", "check TILLPROOF_WITNESS")
    elif head.size > size:
        yield Finding(
            "FAIL", "witness", f"saw {head.size:,} entries, the journal has {size:,}", "find the newer journal; tillproof journal verify"
        )
    else:
        yield Finding("ok", "witness", f"{settings.witness}, at {head.size:,}")


def _disk(settings: Settings) -> Iterator[Finding]:
    there, beside = _nearest(settings.journal.parent), _nearest(settings.witness.parent)
    free = shutil.disk_usage(there).free
    if free < LITTLE_ROOM_BYTES:
        level: Level = "FAIL" if free < NO_ROOM_BYTES else "warn"
        yield Finding(
            level, "disk", f"{free // 1_000_000:,} MB are free at {there}: orders are refused once it is full", "free space there"
        )
    if settings.env == "production" and there.stat().st_dev == beside.stat().st_dev:
        text = "on the journal's own disk: what destroys one destroys both"
        yield Finding("warn", "witness", text, "set TILLPROOF_WITNESS to a file on another disk")


def _key(settings: Settings) -> Iterator[Finding]:
    path = settings.signing_key
    if not os.path.lexists(path):
        if _is_ours_to_mend(settings.journal):
            text = f"{path} is not there, and the journal's checkpoints are signed with it"
            yield Finding("FAIL", "signing key", text, "restore the file, or set TILLPROOF_SIGNING_KEY to it")
        return
    try:
        key = load_key(path).public_key()
    except UnusableKey as error:
        yield Finding("FAIL", "signing key", str(error), "restore the file, or set TILLPROOF_SIGNING_KEY to it")
        return
    if settings.journal.exists() and _is_ours_to_mend(settings.journal):
        with suppress(JournalDamaged, JournalUnavailable):  # The journal has a finding of its own.
            yield from _key_in_force(settings, key)


def _key_in_force(settings: Settings, key: Ed25519PublicKey) -> Iterator[Finding]:
    """Whether the key is the one that signs now; one that waits beside it is a rotation that a crash interrupted."""
    reads, path = SqliteReads(settings.journal), settings.signing_key
    origin, waiting = reads.origin(), next_path(path)
    in_force, ours = reads.key_in_force(), key_id(origin, key).hex()
    if waiting.exists():
        text = f"{waiting}: a new key was being brought in when the program ended"
        yield Finding("warn", "signing key", text, "tillproof serve ends that, or takes it back: leave both files where they are")
    elif in_force and ours not in in_force:
        text = f"{path} holds the key {ours}, and the journal is signed by {' or '.join(in_force)} now"
        yield Finding("FAIL", "signing key", text, "put that key's file in its place, from where you keep a copy of it")


def _clock(settings: Settings, clock: Clock, calls: list[Call]) -> Iterator[Finding]:
    """The machine's time beside the newest entry's, since a clock that was set back would date money wrongly (T1), and Dojo's (T7)."""
    newest = ""
    with suppress(JournalDamaged, JournalUnavailable):  # The journal has a finding of its own.
        newest = "".join(entry.at for entry in SqliteReads(settings.journal).last_entries(1)) if settings.journal.exists() else ""
    moment = clock.now()
    now = to_text(moment)
    apart = max((abs((call.answered_at - moment).total_seconds()) for call in calls if call.answered_at), default=0.0)
    if newest > now:
        yield Finding("FAIL", "clock", f"says {now}, and the journal's newest entry is of {newest}", "set the machine's clock")
    elif apart > CLOCK_SECONDS:
        text = f"says {now}, {apart:,.0f} s from Dojo's, which is used for nothing: one of the two is wrong"
        yield Finding("warn", "clock", text, "set the machine's clock, by NTP")
    else:
        yield Finding("ok", "clock", now)


def _is_ours_to_mend(path: Path) -> bool:
    """Whether there is a journal, however it is, and not a directory or another program's file, which is left as it is."""
    try:
        return os.path.lexists(path) and refuse_foreign(path) >= 0
    except (JournalDamaged, JournalUnavailable) as error:
        return not isinstance(error, JournalForeign)


def _modes(settings: Settings, environ: Mapping[str, str], toml_path: Path) -> Iterator[Finding]:
    for name, path in _private_files(settings):
        if _is_open_to_others(path) and (name != "journal" or _is_ours_to_mend(path)):
            yield Finding("FAIL", "file mode", f"{name} {path} can be read by others", f"chmod 600 {path}")
    for name, path in _secret_files(settings, environ, toml_path):
        if _is_open_to_others(path):
            yield Finding("warn", "file mode", f"{name} {path} holds secrets, and can be read by others", f"chmod 600 {path}")


def _private_files(settings: Settings) -> tuple[tuple[str, Path], ...]:
    key = settings.signing_key
    return ("journal", settings.journal), ("signing key", key), ("signing key", next_path(key)), ("witness", settings.witness)


def _is_open_to_others(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _secret_files(settings: Settings, environ: Mapping[str, str], toml_path: Path) -> Iterator[tuple[str, Path]]:
    """Files that hold secrets: those that settings name, and the settings' own."""
    given: dict[str, object] = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    if toml_path.exists():
        written = {name.upper(): value for name, value in tomllib.loads(toml_path.read_text(encoding="utf-8-sig")).items()}
        if any(settings.is_secret(name) for name in written):
            yield "settings", toml_path
        given = written | given
    for name, value in given.items():
        if name.endswith(FILE_SUFFIX) and settings.is_secret(name.removesuffix(FILE_SUFFIX)) and value:
            yield name, Path(str(value))


def _listeners(settings: Settings) -> Iterator[Finding]:
    for name, address in (("LISTEN", settings.listen), ("CONSOLE_LISTEN", settings.console_listen)):
        where, other = _text_of(address), f"set TILLPROOF_{name} to another"
        try:
            socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                yield Finding("FAIL", "listener", f"{name} {where} cannot be had: {error.strerror or error}", other)
            elif _is_ours(address):
                yield Finding("ok", "listener", f"{name} {where} is served by Tillproof now")
            else:
                yield Finding("FAIL", "listener", f"{name} {where} is another program's", f"free it, or {other}")


def _is_ours(address: Address) -> bool:
    """Whether a server of ours has the port: so its document says, which anybody may read."""
    with suppress(OSError, http.client.HTTPException), closing(http.client.HTTPConnection(*address, timeout=PEEK_SECONDS)) as peek:
        peek.request("GET", "/openapi.json")
        return b"Tillproof" in peek.getresponse().read(PEEKED_BYTES)
    return False


def _text_of(address: Address) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


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
        yield Finding("warn", "till", text, MAKE_ONE)


def _dojo_key(key: str, settings: Settings) -> Iterator[Finding]:
    kind = "LIVE" if key.startswith(PRODUCTION_KEY_PREFIX) else "SANDBOX"
    yield Finding("ok", "Dojo key", f"…{key[-SHOWN_KEY_CHARACTERS:]}  ({kind})")
    if kind == "SANDBOX" and settings.env == "production":
        yield Finding(
            "warn", "Dojo key", "a sandbox key with ENV=production: no real money will come", "set TILLPROOF_DOJO_API_KEY, or ENV=test"
        )
    if not settings.software_house_id:
        text = "SOFTWARE_HOUSE_ID is absent: Dojo knows integrations by it"
        yield Finding("warn", "software house", text, "set TILLPROOF_SOFTWARE_HOUSE_ID as Dojo told it")


def _dojo(settings: Settings, dojo: Dojo, calls: list[Call]) -> Iterator[Finding]:
    if not settings.dojo_api_key:
        yield Finding("skip", "Dojo", "not asked: no API key")
        return
    yield from _dojo_key(settings.dojo_api_key, settings)
    try:
        integrations = dojo(settings, on_call=calls.append).integrations()
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
