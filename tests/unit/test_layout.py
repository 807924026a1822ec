"""The layout of the repository: what may stand where, and who may import whom (import-linter checks the rest)."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = {
    *("README.md", "pyproject.toml", "Makefile", "LICENSE", "CHANGELOG.md", "SECURITY.md", ".gitignore", ".ci", "docs", "app.py"),
    *("workflow", "adapters", "tests", "diagrams"),
}


@cache
def imported(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_imports_the_composition_root():
    sources = [*ROOT.glob("workflow/**/*.py"), *ROOT.glob("adapters/**/*.py")]
    assert not [path for path in sources if "app" in imported(path)]


def test_only_machine_py_uses_transitions_and_only_the_journal_uses_sqlite_utils():
    sources = [*ROOT.glob("workflow/**/*.py"), *ROOT.glob("adapters/**/*.py"), ROOT / "app.py"]
    assert [path.name for path in sources if "transitions" in imported(path)] == ["machine.py"]
    assert all(ROOT / "workflow/journal" in path.parents for path in sources if "sqlite_utils" in imported(path))


def test_the_top_of_the_repository_holds_what_the_style_lists_and_no_more():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert {name.partition("/")[0] for name in listed} <= TOP


def test_the_journal_and_sqlite_utils_use_the_same_sqlite():
    from sqlite_utils.utils import sqlite3 as theirs

    from workflow.journal.driver import sqlite3 as ours

    assert theirs.sqlite_version == ours.sqlite_version
