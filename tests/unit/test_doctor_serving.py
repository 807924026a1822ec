"""What a server finds of itself while it serves: doctor's findings, where they are true there too."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters.checks import Served, examine_dojo, examine_serving
from adapters.checks import files as checked_files
from adapters.settings import read_settings
from tests.builders import Venue
from tests.unit.test_doctor import PRODUCTION, SilentDojo, named
from workflow.journal.condition import Trouble
from workflow.journal.keys import load_key, load_or_make_key, make_next_key
from workflow.lifecycle import ATTENTION


@pytest.fixture
def served(tmp_path):
    """A venue with its journal open; `find(name)` are the findings of that name, `trouble` what troubles the journal."""
    venue = Venue(tmp_path)
    venue.create()
    venue.close()  # Which signs.
    venue = Venue(tmp_path)
    files = {"JOURNAL": tmp_path / "tillproof.db", "WITNESS": venue.witness, "SIGNING_KEY": tmp_path / "tillproof.key"}
    environ = {f"TILLPROOF_{name}": str(value) for name, value in (PRODUCTION | files).items()}
    toml, trouble = tmp_path / "tillproof.toml", []
    look = Served(
        settings=read_settings(environ, toml),
        environ=environ,
        toml_path=toml,
        reads=venue.reads,
        standing=lambda: trouble,
        clock=venue.clock,
    )
    yield SimpleNamespace(
        venue=venue, served=look, toml=toml, environ=environ, trouble=trouble, find=lambda name: named(examine_serving(look), name), **files
    )
    venue.close()


def test_of_a_good_server_nothing_is_wrong_and_the_ports_and_the_journal_are_its_own(served):
    found = examine_serving(served.served)

    assert [(one.level, one.name) for one in found if one.level != "ok"] == [("warn", "witness")]
    assert [(level, "in use by this server" in text) for level, text, _ in served.find("journal")] == [("ok", True)]
    assert [(level, "served by this server" in text) for level, text, _ in served.find("listener")] == [("ok", True)] * 2


def test_the_journals_file_is_not_opened_beside_the_server_since_closing_it_would_drop_its_locks(served, monkeypatch):
    opened = []
    for module in (builtins, io, os):
        given = module.open
        monkeypatch.setattr(
            module, "open", lambda path, *args, _given=given, **named: opened.append(str(path)) or _given(path, *args, **named)
        )
    examine_serving(served.served)

    assert str(served.WITNESS) in opened  # So that this would notice.
    assert str(served.JOURNAL) not in opened


def test_what_troubles_the_journal_is_said_with_what_to_do(served):
    served.trouble.append(Trouble(code="DISK_FULL", since="2026-03-14T12:00:00.000Z", detail="no space is left"))
    [(level, text, mend)] = served.find("journal")
    assert (level, "no space is left" in text, mend) == ("FAIL", True, ATTENTION["DISK_FULL"].next)


def test_settings_that_were_changed_since_the_start_are_named_as_not_in_force(served):
    served.toml.write_text('currency = "EUR"\n')
    found = served.find("settings")
    assert [(level, "not in force yet: CURRENCY" in text) for level, text, _ in found if level != "ok"] == [("warn", True)]


@pytest.mark.parametrize("text", ["journal = [", "curency = 'GBP'\n"])
def test_settings_that_the_next_start_would_not_take_are_named_before_it(served, text):
    served.toml.write_text(text)
    found = served.find("settings")
    assert [(level, "the next start would not take them" in said) for level, said, _ in found if level != "ok"] == [("FAIL", True)]


def test_a_journal_that_is_behind_its_witness_is_named(served):
    served.WITNESS.write_text(f"999 {'0' * 64}\n")
    assert ("FAIL", True) in [(level, "its witness saw 999" in text) for level, text, _ in served.find("witness")]


@pytest.mark.parametrize(("content", "told"), [(f"1 {'0' * 64}\n", "differs from what its witness saw at size 1"), ("a", "is no witness")])
def test_a_witness_that_the_next_start_would_refuse_is_named(served, content, told):
    served.WITNESS.write_text(content)
    assert ("FAIL", True) in [(level, told in text) for level, text, _ in served.find("witness")]


def test_a_clock_that_was_set_back_is_named_without_asking_dojo(served):
    assert [level for level, _, _ in served.find("clock")] == ["ok"]
    served.venue.clock.jump(-3_600)
    assert [(level, "newest entry" in text) for level, text, _ in served.find("clock")] == [("FAIL", True)]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_that_others_can_read_is_named(served, suffix):  # S17
    served.venue.create("written")  # An empty WAL is made like the journal itself by SQLite.
    path = Path(f"{served.JOURNAL}{suffix}")
    path.chmod(0o644)
    assert served.find("file mode") == [("FAIL", f"journal {path} can be read by others", f"chmod 600 {path}")]


def test_a_key_that_is_gone_or_another_one_is_named_before_the_next_start(served):
    served.SIGNING_KEY.unlink()
    [(level, text, _)] = served.find("signing key")
    assert (level, "the next start cannot sign" in text) == ("FAIL", True)

    load_or_make_key(served.SIGNING_KEY)

    [(level, text, _)] = served.find("signing key")
    assert (level, "the journal is signed by" in text) == ("FAIL", True)


def test_a_key_that_waits_is_named_only_once_it_signs(served, monkeypatch):
    make_next_key(served.SIGNING_KEY)
    assert served.find("signing key") == []  # Being brought in at this moment.

    waiting = load_key(checked_files.next_path(served.SIGNING_KEY)).public_key()
    monkeypatch.setattr(checked_files, "key_id", lambda origin, key: b"\1" if key == waiting else b"\2")
    monkeypatch.setattr(type(served.venue.reads), "key_in_force", lambda self: ["01"])
    [(level, text, _)] = served.find("signing key")
    assert (level, "holds the key that signs now" in text) == ("warn", True)


@pytest.mark.parametrize(("apart", "level"), [(0.0, "ok"), (600.0, "warn")])
def test_dojo_is_asked_apart_and_its_clock_compared(served, apart, level):
    found = examine_dojo(served.served, SilentDojo(served.venue.clock, apart))
    assert [(one.level, one.name) for one in found] == [("ok", "Dojo key"), ("FAIL", "Dojo"), (level, "clock")]
