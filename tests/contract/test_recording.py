"""The sequence diagrams show what really goes over the wire: a fresh run says the same as the recordings in `diagrams/`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli.recording import record
from workflow.diagrams import FLOWS, sequence, stale

DIAGRAMS = Path(__file__).resolve().parents[2] / "diagrams"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    record(folder)
    return folder


def said(folder, name):
    """Who said what, without how often and in which order: a read and an event may overtake each other."""
    messages = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return {(m["direction"], m["method"], m["path"], m["status"]) for m in messages}


@pytest.mark.parametrize("name", FLOWS)
def test_a_run_of_today_says_what_the_recording_says(fresh, name):
    assert said(fresh, name) == said(DIAGRAMS, name)


@pytest.mark.parametrize("name", FLOWS)
def test_the_recording_has_stable_names_and_no_times(name):
    text = (DIAGRAMS / f"{name}.json").read_text("utf-8")
    assert "pi_sandbox_" not in text
    assert "at_ms" not in text


def test_a_changed_recording_makes_its_diagram_stale(tmp_path):
    for file in DIAGRAMS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert stale(tmp_path) == []
    recording = tmp_path / "order_and_pay.json"
    recording.write_text(recording.read_text("utf-8").replace('"status": 200', '"status": 201', 1), "utf-8")
    assert stale(tmp_path) == ["order_and_pay.mmd", "README.md"]
    assert "201" in sequence(recording.read_text("utf-8"))
