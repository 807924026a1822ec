"""The program with parts that die: `python -m tests.crash.mortal COMMAND` is `tillproof COMMAND`, killed at one chosen point.

The doubles stand for what the program is given: the database's driver, the file system, the way out to Dojo, the web framework. Each
does what the real part does, counts, and at the k-th call of its kind kills the whole process group with SIGKILL. What is to be
counted from when on is told by CRASH_AT (`KIND:K`, from the very start) or by `POST /crash/arm` (from then on).
After `POST /crash/lie` requests that the expression in its body matches are answered with 200, and nothing is done.
With CRASH_NEVER_SYNC=1 it has a driver that does not wait for the disk.

    kind                  the group dies
      statement           before the k-th statement that changes a row or the schema
      tree                before the k-th statement that stores nodes of the Merkle tree; a new entry need not make one
      before commit       before the k-th COMMIT of a transaction that changed something, checkpoints alone not counted
      after commit        right after it
      seal                before the k-th statement that stores a signed checkpoint
      before witness      before the k-th line of the witness
      torn witness        when half of it is written
      after witness       right after it
      before send         before the k-th call to Dojo or the till
      half sent           with nothing but the header of the k-th call that has a body on the wire
      on the wire         with the k-th call on the wire, whole, and no answer read
      accepted            when the answer to the k-th call was read, and nothing else has happened
      before answer       when the k-th request that is no GET was decided, and its answer not sent
      file                before the k-th change to a file or a directory beside the journal, but for SQLite's own
      query               before the k-th question to the journal
      output              before the k-th line on stdout
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import flask
import requests

import workflow.journal.connection
from workflow.journal.driver import sqlite3

CHANGES = re.compile(
    r"\s*(?P<verb>(?:INSERT|REPLACE)(?: OR \w+)? INTO|UPDATE|DELETE FROM|CREATE(?: UNIQUE)? \w+|ALTER TABLE|DROP \w+) (?P<name>\w+)"
)
ASKS = re.compile(r"\s*(SELECT|WITH|PRAGMA integrity_check)\b")
IDS = re.compile(r"[0-9a-f]{16,}")
SEALS = re.compile(r"\s*INSERT INTO checkpoint\b")
NEVER_SYNC = os.environ.get("CRASH_NEVER_SYNC") == "1"
"""Commits are left to the page cache: a fault that no kill of a process can show."""
OTHERS_GO_ON_SECONDS = 0.1
"""An answer that left before its commit arrives within them."""
ANSWERED_BY_NOBODY = 30
"""Seconds in which a killed process surely is gone."""


class Points:
    """What the program does, kind by kind; the end of it at the point that was chosen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lies = re.compile("(?!)")  # METHOD PATH of the requests that are answered and not served.
        self.arm(os.environ.get("CRASH_AT", ""))

    def arm(self, plan: str) -> None:
        """Begin to count. `plan` is `KIND:K`, or "" to count only."""
        kind, _, at = plan.partition(":")
        with self._lock:
            self._kind, self._at = kind, int(at or 0)
            self._count = Counter[str]()
            self.seen: list[tuple[str, str]] = []

    def reach(self, kind: str, about: str) -> None:
        """The program is at a point of this kind; it goes no further where that is the chosen one."""
        if self.is_last(kind, about):
            die()

    def is_last(self, kind: str, about: str) -> bool:
        """The same, for whoever wants to do half of it first."""
        with self._lock:
            self._count[kind] += 1
            self.seen.append((kind, about))
            return kind == self._kind and self._count[kind] == self._at


def die() -> None:
    """Kill the whole group; nothing of it runs on. Who does not wait for this thread as they should has a moment to show it."""
    time.sleep(OTHERS_GO_ON_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)
    time.sleep(ANSWERED_BY_NOBODY)


points = Points()


class MortalConnection(sqlite3.Connection):
    """A connection of the journal that dies before a statement, or at either side of a commit."""

    _changed: tuple[str, ...] = ()

    def execute(self, sql, values=()):
        if NEVER_SYNC:
            sql = re.sub(r"synchronous *= *\w+", "synchronous = OFF", sql)
        word = sql.lstrip()[:8].upper()
        commits = word.startswith("COMMIT") and self._changed
        if commits:
            points.reach("before commit", ", ".join(self._changed))
        self._reach(sql)
        cursor = super().execute(sql, values)
        if commits:
            points.reach("after commit", ", ".join(self._changed))
        if word.startswith(("COMMIT", "ROLLBACK")) and not self.in_transaction:
            self._changed = ()
        return cursor

    def executemany(self, sql, rows):
        rows = list(rows)
        if rows:
            self._reach(sql)
        return super().executemany(sql, rows)

    def executescript(self, script):
        """One statement after the other, so that it can end between any two."""
        statement = ""
        for piece in script.split(";")[:-1]:
            statement += piece + ";"
            if sqlite3.complete_statement(statement):
                self.execute(statement)
                statement = ""
        return self.cursor()

    def _reach(self, sql):
        if SEALS.match(sql):
            points.reach("seal", "checkpoint")
        elif match := CHANGES.match(sql):
            points.reach("tree" if match["name"] == "tree_node" else "statement", f"{match['verb']} {match['name']}")
            if match["name"] not in self._changed:
                self._changed += (match["name"],)
        elif ASKS.match(sql):
            points.reach("query", " ".join(sql.split())[:60])


class MortalDriver:
    """The driver, whose connections are mortal."""

    def __getattr__(self, name):
        return getattr(sqlite3, name)

    def connect(self, *args, **kwargs):
        return sqlite3.connect(*args, **kwargs, factory=MortalConnection)


def mortal_session_send(send):
    """`requests.Session.send`: one call to Dojo or to the till."""

    @functools.wraps(send)
    def sending(session, request, **kwargs):
        about = f"{request.method} {request.path_url.partition('?')[0].partition('/pi_')[0]}"
        points.reach("before send", about)
        response = send(session, request, **kwargs)
        points.reach("accepted", about)
        return response

    return sending


def mortal_connection_send(send):
    """`http.client.HTTPConnection.send`: bytes go out, header first, then the body where there is one."""

    @functools.wraps(send)
    def sending(connection, data):
        send(connection, data)
        if header := re.match(rb"([A-Z]+ /\S*?)(/pi_\S+)? HTTP", data):
            connection.about = header[1].decode("latin-1")
        points.reach("half sent" if header and b"\r\ncontent-length:" in data.lower() else "on the wire", connection.about)

    return sending


def mortal_app(answer):
    """`flask.Flask.__call__`: the way in. The answers to `/crash/…` are the harness's own."""

    @functools.wraps(answer)
    def answering(app, environ, start_response):
        if environ["PATH_INFO"].startswith("/crash/"):
            return _steer(environ, start_response)
        if points.lies.fullmatch(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _say({"id": "nothing"}, start_response)
        body = answer(app, environ, start_response)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            points.reach("before answer", f"{environ['REQUEST_METHOD']} {IDS.sub('…', environ['PATH_INFO'])}")
        return body

    return answering


def _steer(environ, start_response):
    told = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    if environ["PATH_INFO"] == "/crash/arm":
        points.arm(told)
    if environ["PATH_INFO"] == "/crash/lie":
        points.lies = re.compile(told)
    return _say(points.seen, start_response)


def _say(answer, start_response):
    body = json.dumps(answer).encode()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


class MortalFiles:
    """What the program does to files beside its journal through `os`; SQLite goes its own way."""

    def __init__(self, folder: str) -> None:
        self._folder = f"{folder}{os.sep}"

    def install(self):
        for name in ("mkdir", "link", "rename", "replace", "unlink"):
            setattr(os, name, self._by_path(name, getattr(os, name)))
        for name in ("fsync", "ftruncate"):
            setattr(os, name, self._by_descriptor(name, getattr(os, name)))
        os.open = self._opening(os.open)
        os.write = self._writing(os.write)

    def _is_ours(self, path) -> bool:
        return os.path.abspath(os.fsdecode(path)).startswith(self._folder) if isinstance(path, str | bytes | os.PathLike) else False

    def _by_path(self, name, real):
        @functools.wraps(real)
        def changing(path, *args, **kwargs):
            if self._is_ours(path):
                points.reach("file", f"{name} {Path(os.fsdecode(path)).name}")
            return real(path, *args, **kwargs)

        return changing

    def _by_descriptor(self, name, real):
        @functools.wraps(real)
        def changing(descriptor, *args):
            if self._is_ours(path := _path_of(descriptor)):
                points.reach("file", f"{name} {Path(path).name}")
            return real(descriptor, *args)

        return changing

    def _opening(self, real):
        @functools.wraps(real)
        def opening(path, flags, *args, **kwargs):
            if flags & os.O_CREAT and self._is_ours(path):
                points.reach("file", f"open {Path(os.fsdecode(path)).name}")
            return real(path, flags, *args, **kwargs)

        return opening

    def _writing(self, real):
        @functools.wraps(real)
        def writing(descriptor, data):
            if not _path_of(descriptor).endswith(".witness"):
                return real(descriptor, data)
            points.reach("before witness", "")
            if points.is_last("torn witness", ""):
                real(descriptor, data[: len(data) // 2])
                die()
            written = real(descriptor, data)
            points.reach("after witness", "")
            return written

        return writing


def _path_of(descriptor) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    return ""


class MortalOutput:
    """A standard output that dies before a line, or before the bytes of many."""

    def __init__(self, real) -> None:
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    @property
    def buffer(self):
        return MortalOutput(self._real.buffer)

    def write(self, text):
        if text:
            points.reach("output", str(text[:24]))
        return self._real.write(text)


def install() -> None:
    """Put the doubles where the real parts are."""
    workflow.journal.connection.sqlite3 = MortalDriver()
    MortalFiles(str(Path(os.environ["TILLPROOF_JOURNAL"]).parent)).install()
    requests.Session.send = mortal_session_send(requests.Session.send)
    http.client.HTTPConnection.send = mortal_connection_send(http.client.HTTPConnection.send)
    flask.Flask.__call__ = mortal_app(flask.Flask.__call__)
    sys.stdout = MortalOutput(sys.stdout)


install()  # Not only in the first process: where a worker is started in a fresh interpreter, it imports this module anew.

if __name__ == "__main__":
    import app

    app.main()
