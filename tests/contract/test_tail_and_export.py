"""`journal tail` and `journal export` as people and scripts use them: beside a server, in pipes, on terminals, into files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest

from tests.a_venues_week import week
from tests.contract.running import PATIENCE, Service, an_order, environment, eventually, running, whole_copy
from tests.contract.test_sealing import command
from workflow import export
from workflow.journal.reads import StoredEntry
from workflow.ledger import HASHED_COLUMNS

ATTENTIVE = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('app', run_name='__main__', alter_sys=True)"
)
"""The program, which hears Ctrl-C although a shell that runs these tests in the background had it ignored."""
FILE_BYTES = 36_000
"""A process may write so many into one file: enough for what SQLite keeps beside a journal."""
TERMINAL = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """The settings of a journal that nobody serves."""
    folder = tmp_path_factory.mktemp("week")
    week(folder).close()
    return {"JOURNAL": folder / "tillproof.db", "SIGNING_KEY": folder / "tillproof.key", "WITNESS": folder / "tillproof.witness"}


def run(settings, *words, **options):
    """Run a command of the journal's as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "app", "journal", *map(str, words)],
        env=environment(settings),
        capture_output=True,
        timeout=4 * PATIENCE,
        check=False,
        **options,
    )


def ask(settings, *words):
    """The same in this process, which saves the start of another."""
    return command(SimpleNamespace(settings=settings), "journal", *words)


@pytest.fixture(scope="module")
def exports(journal):
    """The bytes of both forms."""
    return {form: run(journal, "export", "--format", form).stdout for form in export.FORMATS}


@contextmanager
def following(folder, settings, *words):
    """`journal tail -f` as a process that hears Ctrl-C; its output and errors go into files."""
    words = [sys.executable, "-c", ATTENTIVE, "journal", "tail", "-f", *words]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(words, cwd=folder, env=environment(settings), stdout=out, stderr=err)
    process.shown = (folder / "out").read_text
    process.said = (folder / "err").read_text
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# Tail


def test_tail_stays_with_the_journal_through_a_restart_and_a_journal_in_its_place_until_ctrl_c(tmp_path):  # K16 S11
    def seqs():
        return [json.loads(line)["seq"] for line in tail.shown().splitlines()]

    with running(tmp_path) as service:
        service.dojo.post("/v1/orders", an_order("before"))
        first = service.reads.size()
        old = whole_copy(service.journal, tmp_path / "old.db")
        with following(tmp_path, service.settings, "-n", "1", "--json") as tail:
            eventually(lambda: seqs() == [first])
            service.dojo.post("/v1/orders", an_order("live"))
            eventually(lambda: seqs()[-1] > first)
            assert service.stop() == 0
            service.start()
            service.dojo.post("/v1/orders", an_order("after-the-restart"))
            eventually(lambda: seqs() == [*range(first, service.reads.size() + 1)])

            assert service.stop() == 0
            for suffix in ("", "-wal", "-shm"):
                (tmp_path / f"tillproof.db{suffix}").unlink(missing_ok=True)
            eventually(lambda: "Waiting: " in tail.said())
            shutil.copy(old, tmp_path / "coming.db")
            (tmp_path / "coming.db").rename(service.journal)
            eventually(lambda: f"replaced by an older state with {first:,} entries" in tail.said())
            service.witness.unlink()
            service.start()
            service.dojo.post("/v1/orders", an_order("in-the-older-one"))
            eventually(lambda: json.loads(tail.shown().splitlines()[-1])["cause"] == "create_order:in-the-older-one")

            tail.send_signal(signal.SIGINT)
            assert tail.wait(PATIENCE) == 0
            assert "Traceback" not in tail.said()
            assert "Aborted" not in tail.said()


def test_tail_ends_quietly_when_nobody_reads_any_more_also_while_nothing_comes(journal, tmp_path):
    ours, theirs = os.pipe()
    words = [sys.executable, "-c", ATTENTIVE, "journal", "tail", "-f", "-n", "1"]
    with (tmp_path / "err").open("wb") as err, subprocess.Popen(words, env=environment(journal), stdout=theirs, stderr=err) as tail:
        os.close(theirs)
        try:
            with closing(os.fdopen(ours, "rb")) as read:
                assert read.readline()
            assert tail.wait(PATIENCE) == 0
        finally:
            tail.kill()

    assert (tmp_path / "err").read_text() == ""


def test_tail_on_a_terminal_has_one_line_of_80_columns_an_entry_under_its_date(journal):
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb", buffering=0)) as shown:
        words = [sys.executable, "-m", "app", "journal", "tail", "-n", "15"]
        subprocess.run(words, env=environment(journal) | TERMINAL, stdout=theirs, check=True, timeout=PATIENCE)
        lines = shown.read(65_536).decode().splitlines()
        os.close(theirs)

    entries = [line for line in lines if not line.endswith(", UTC")]
    assert lines[0] == "2026-03-30, UTC"
    assert len(entries) == 15
    assert all(len(line) <= 80 for line in lines)
    assert all(re.match(r" *\d+ \d\d:\d\d:\d\d \S+ +", line) for line in entries)


# Export


@pytest.mark.parametrize("form", export.FORMATS)
def test_an_export_to_a_file_is_that_to_stdout_and_never_replaces_one(journal, exports, tmp_path, form):
    target = tmp_path / "week"

    written = ask(journal, "export", "--format", form, "--output", target)

    assert (written.exit_code, written.stdout) == (0, "")
    assert target.read_bytes() == exports[form] != b""
    again = ask(journal, "export", "--format", form, "--output", target)
    assert (again.exit_code, "expected a new file" in again.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["week"]


def test_an_export_that_the_disk_does_not_take_leaves_no_file_and_ends_with_4(journal, exports, tmp_path):  # K11
    assert len(exports["jsonl"]) > FILE_BYTES
    limited = (FILE_BYTES, FILE_BYTES)
    ended = run(
        journal, "export", "--output", tmp_path / "week.jsonl", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limited)
    )

    assert (ended.returncode, b"cannot be written" in ended.stderr) == (4, True), ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_killed_leaves_no_file_of_its_name(journal, tmp_path, monkeypatch):  # K11
    target = tmp_path / "week.jsonl"
    slow = (
        "import os, signal; from workflow import export; whole = export.lines\n"
        "def lines(*given):\n"
        "    for number, line in enumerate(whole(*given)):\n"
        "        if number == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield line\n"
        "export.lines, export.CHUNK_CHARACTERS = lines, 1\n"
        "import sys; sys.argv = ['app', 'journal', 'export', '--output', os.environ['TARGET']]; import app; app.main()"
    )
    before = journal["JOURNAL"].read_bytes()
    killed = subprocess.run([sys.executable, "-c", slow], env=environment(journal) | {"TARGET": str(target)}, check=False, timeout=PATIENCE)

    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert journal["JOURNAL"].read_bytes() == before


def test_the_api_streams_the_very_bytes_of_the_command(journal, tmp_path):
    for name in ("tillproof.db", "tillproof.key", "tillproof.witness"):
        shutil.copy(journal["JOURNAL"].parent / name, tmp_path / name)
    (tmp_path / "tillproof.key").rename(tmp_path / "tillproof.db.key")
    (tmp_path / "tillproof.witness").rename(tmp_path / "tillproof.db.witness")
    service = Service(tmp_path, ACCOUNT_IDS="nobody")
    try:
        service.start()
        size = service.reads.size()
        for form, kind in (("jsonl", "application/x-ndjson"), ("csv", "text/csv")):
            for first, last in ((1, size), (5, 9), (7, 7)):
                answer = service.auditor.get(f"/api/export?format={form}&from={first}&to={last}")
                printed = ask(service.settings, "export", "--format", form, "--from", first, "--to", last)
                assert answer.body == printed.stdout_bytes != b""
                assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, kind)
                assert "content-length" not in answer.headers  # It is sent as it is read, however long it is.
    finally:
        service.kill()


def test_a_stranger_recomputes_every_hash_from_an_export_in_json_lines_with_nothing_of_ours(exports):
    for line in exports["jsonl"].decode().splitlines():
        row = json.loads(line)
        row["body"] = json.dumps(row["body"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        hashed = json.dumps({name: row[name] for name in HASHED_COLUMNS}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(hashed.encode()).hexdigest() == row["hash"]


def test_a_csv_has_crlf_line_ends_plain_numbers_no_mark_and_is_read_by_python_as_it_was_stored(exports):
    text = exports["csv"]

    assert not text.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    assert text.count(b"\r\n") == len(rows) + 1
    assert [int(row["seq"]) for row in rows] == [*range(1, len(rows) + 1)]
    assert [*rows[0]] == [*StoredEntry._fields]


def test_output_into_a_pipe_that_is_closed_at_once_is_no_traceback(journal):
    piped = f"'{sys.executable}' -m app journal export | true"
    ended = subprocess.run(["bash", "-c", piped], env=environment(journal), capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
