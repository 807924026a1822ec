"""What all tests share: Dojo's published schemas, and no silent skips where everything must run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SPECS = Path(__file__).resolve().parents[2] / "shared" / "dojo" / "specs"
NO_SKIPS = os.environ.get("CI") == "true"


@pytest.fixture(scope="session")
def specs() -> Path:
    """The folder of Dojo's published OpenAPI documents, which is kept beside the repository."""
    if SPECS.is_dir():
        return SPECS
    reason = "Dojo's published schemas are absent: expected ../shared/dojo/specs"
    if NO_SKIPS:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    return report if expected_failure else _without_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _without_skip((yield))


def _without_skip(report):
    if NO_SKIPS and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI=true allows no skip. {reason}"
    return report
