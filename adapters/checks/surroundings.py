"""What is around the program: SQLite, the machine's clock, the ports, and whether the till is there."""

from __future__ import annotations

import errno
import http.client
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from adapters.checks.finding import Finding
from adapters.outbound import Call, reach
from adapters.setting_kinds import Address, address_text
from adapters.settings import Settings
from workflow.clock import Clock, to_text
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.driver import sqlite3
from workflow.journal.reads import SqliteReads

SAFE_SQLITE = (3, 51, 3)
"""Releases from 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write and checkpoint at the same instant."""
CLOCK_SECONDS = 60.0
"""Dojo's clock may differ by so much: an answer takes time, and its `Date` has whole seconds."""
PEEK_SECONDS = 2.0
PEEKED_BYTES = 4_096
REACH_SECONDS = 3.0
"""So long the till may take to accept a connection, the look-up of its name included."""


def sqlite_version() -> str:
    """The version of the SQLite that keeps the journal."""
    return str(sqlite3.sqlite_version)


def sqlite() -> Finding:
    """Whether the SQLite is one that cannot damage the journal."""
    version = sqlite_version()
    if tuple(int(part) for part in version.split(".")) >= SAFE_SQLITE:
        return Finding("ok", "SQLite", version)
    return Finding(
        "warn", "SQLite", f"{version} can corrupt a database in rare cases", "pip install 'pysqlite3>=0.6.1' where it has a wheel"
    )


def clock_beside(clock: Clock, reads: SqliteReads | None, calls: Sequence[Call]) -> Finding:
    """The machine's time beside the newest entry's, since a clock that was set back would date money wrongly (T1), and Dojo's (T7)."""
    newest = ""
    if reads:
        with suppress(JournalDamaged, JournalUnavailable):  # The journal has a finding of its own.
            newest = "".join(entry.at for entry in reads.last_entries(1))
    moment = clock.now()  # Behind the reading: a server may write meanwhile.
    now = to_text(moment)
    apart = max((abs((call.answered_at - moment).total_seconds()) for call in calls if call.answered_at), default=0.0)
    if newest > now:
        return Finding("FAIL", "clock", f"says {now}, and the journal's newest entry is of {newest}", "set the machine's clock")
    if apart > CLOCK_SECONDS:
        text = f"says {now}, {apart:,.0f} s from Dojo's, which is used for nothing: one of the two is wrong"
        return Finding("warn", "clock", text, "set the machine's clock, by NTP")
    return Finding("ok", "clock", now)


def listeners(settings: Settings) -> Iterator[Finding]:
    """Whether the ports can be had, or whose they are."""
    for name, address in (("LISTEN", settings.listen), ("CONSOLE_LISTEN", settings.console_listen)):
        where, other = address_text(address), f"set TILLPROOF_{name} to another"
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


def till_reached(settings: Settings) -> Iterator[Finding]:
    """Whether anybody listens where the till is called; nothing is sent there."""
    if not settings.till_url:
        return
    try:
        reach(settings.till_url, REACH_SECONDS)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        text = f"{settings.till_url} cannot be reached: {reason}; what the till is to hear would wait"
        yield Finding("warn", "till", text, "start the till, or check TILLPROOF_TILL_URL and the network")
    else:
        yield Finding("ok", "till", f"{settings.till_url} takes connections")
