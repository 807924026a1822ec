"""Who watches over the parts of a process, and what follows when one of them dies, or the watch itself."""

from __future__ import annotations

import logging
import threading

import pytest

from adapters import health
from adapters.health import Supervisor

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(health, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(health, "LAST_WORDS_SECONDS", 0.01)


@pytest.fixture
def ended():
    return threading.Event()


def said(caplog):
    """What was logged of the watch: a thread that another test left may have its say as well."""
    return [record for record in caplog.records if record.name == health.__name__]


def test_a_part_that_died_is_named_and_ends_the_process(ended, caplog):  # K13
    died = []
    Supervisor(died.append, ended.set).start({"writer": lambda: False, "outbox": lambda: True})
    assert ended.wait(PATIENCE)
    assert died == ["writer"]
    assert [record.message for record in said(caplog)] == ["ending: a part of the process died"]


def test_a_watch_that_cannot_look_any_more_ends_the_process(ended, caplog):  # K13
    def cannot_be_asked():
        raise RuntimeError("no such thread")

    Supervisor(lambda part: None, ended.set).start({"writer": cannot_be_asked})
    assert ended.wait(PATIENCE)
    [record] = said(caplog)
    assert (record.message, record.levelno, record.exc_info[0]) == (
        "ending: the watch over the process died",
        logging.CRITICAL,
        RuntimeError,
    )


def test_what_ends_after_the_watch_was_stopped_ends_as_it_should(ended):
    asked = threading.Event()
    supervisor = Supervisor(lambda part: ended.set(), ended.set)
    is_alive = True

    def look():
        asked.set()
        return is_alive

    supervisor.start({"writer": look})
    assert asked.wait(PATIENCE)
    supervisor.stop()
    is_alive = False
    for thread in threading.enumerate():
        if thread.name == "supervisor":
            thread.join(PATIENCE)
    assert not ended.is_set()
