"""`journal tail` and `journal export` as people and scripts use them: beside a server, in pipes, on terminals, into files."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest

from tests.a_venues_week import week
from tests.builders import Venue
from tests.contract.running import PATIENCE, Service, environment, eventually, whole_copy
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
MANY = 500
"""Entries: more than a writer makes between two looks of the tail's."""
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
    return {form: ask(journal, "export", "--format", form).stdout_bytes for form in export.FORMATS}


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


@contextmanager
def busy(venue, clients=3):
    """Clients that make orders at once, until the block ends."""
    over = threading.Event()

    def write(client):
        for number in itertools.count():
            if over.is_set():
                return
            venue.create(f"busy-{client}-{number}", payments=())

    threads = [threading.Thread(target=write, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


# Tail


class Shop:
    """A folder whose journal one venue after the other writes, and which somebody puts other files into."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "tillproof.db"
        self.settings = {"JOURNAL": self.path, "WITNESS": folder / "tillproof.witness", "SIGNING_KEY": folder / "tillproof.key"}

    def open(self):
        self.venue = Venue(self.folder)
        return self.venue

    def copy(self, name):
        return whole_copy(self.path, self.folder / name)

    def put(self, copy=None):
        """Nobody serves; the files of the journal go, and the copy comes in their place."""
        self.venue.close()
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"tillproof.db{suffix}").unlink(missing_ok=True)
        self.settings["WITNESS"].unlink(missing_ok=True)
        if copy:
            copy.rename(self.path)


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path)
    yield shop
    shop.venue.close()


def test_tail_shows_every_entry_of_a_busy_writer_once_and_stays_through_a_restart_until_ctrl_c(shop, tmp_path):  # K16 P2
    def seqs():
        whole, _, _ = tail.shown().rpartition("\n")  # The last line may be under way.
        return [json.loads(line)["seq"] for line in whole.splitlines()]

    venue = shop.open()
    venue.create("before", payments=())
    first = venue.reads.size()
    with following(tmp_path, shop.settings, "-n", "1", "--json") as tail:
        eventually(lambda: seqs() == [first])
        with busy(venue):
            eventually(lambda: tail.shown().count("\n") > MANY)
        eventually(lambda: seqs() == [*range(first, venue.reads.size() + 1)])
        venue.close()
        venue = shop.open()
        venue.create("after-the-restart", payments=())
        eventually(lambda: seqs() == [*range(first, venue.reads.size() + 1)])

        tail.send_signal(signal.SIGINT)
        assert tail.wait(PATIENCE) == 0
        assert tail.said() == ""


def test_tail_goes_on_with_whatever_journal_is_put_in_the_place_of_its_own_and_says_which(shop, tmp_path):  # S11
    def shows(name):
        shop.venue.create(name, payments=())
        eventually(lambda: tail.shown().endswith(f"[dojo; create_order:dojo-{name}]\n"))

    venue = shop.open()
    venue.create("first", payments=())
    old, size = shop.copy("old.db"), venue.reads.size()
    with following(tmp_path, shop.settings, "-n", "1") as tail:
        shows("second")
        for number in range(3):
            venue.create(f"third-{number}", payments=())
        longer = shop.copy("longer.db")
        shop.put()
        eventually(lambda: tail.said().startswith("Waiting: "))
        old.rename(shop.path)
        eventually(lambda: f"replaced by an older state with {size:,} entries" in tail.said())
        shop.open()
        shows("in-the-older-one")
        shop.put(longer)  # It has more entries, and others than those that were shown.
        eventually(lambda: "replaced by another state with " in tail.said())
        shop.open()
        shows("in-the-longer-one")
        (tmp_path / "elsewhere").mkdir()
        stranger = Venue(tmp_path / "elsewhere")
        stranger.create("theirs", payments=())
        stranger.close()
        shop.put(whole_copy(tmp_path / "elsewhere" / "tillproof.db", tmp_path / "theirs.db"))
        eventually(lambda: f"replaced by another journal with {stranger.reads.size()} entries" in tail.said())
        (tmp_path / "elsewhere" / "tillproof.key").rename(tmp_path / "tillproof.key")
        shop.open()
        shows("in-theirs")
        assert [line for line in tail.said().splitlines() if not line.startswith(("Waiting: ", "The file was replaced by "))] == []


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
