"""What all tests share: Dojo's published schemas, a quick disk, and no silent skips where everything must run."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import hypothesis
import pytest

SPECS = Path(__file__).resolve().parents[2] / "shared" / "dojo" / "specs"
NO_SKIPS = os.environ.get("CI") == "true"
MEMORY, NEEDED_BYTES = "/dev/shm", 4 * 2**30
"""A disk in memory, and what must be free there: a whole run leaves less than one of them behind."""

OUTSIDE, INSIDE = {"Service", "running", "beside_sandbox", "fuzz", "soak"}, {"Venue", "Sending", "SqliteJournal"}
"""What a test module imports that tries the program as a process, and one that has the core within its own."""


def _use_memory() -> None:
    """Have files of tests in memory where there is room for them, and nobody chose another place.

    No test cuts the power. That a change is synced before its answer is proved by its system calls, and what a disk may do wrong on disks
    of their own (`contract/disks.py`); elsewhere a sync costs milliseconds, a hundred thousand times.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    if shutil.disk_usage(MEMORY).free >= NEEDED_BYTES and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY  # Programs that tests start do the same.


_use_memory()

# Whether an example takes long says nothing of what is tested. Under CI=true the same examples are tried each time, which this leaves so.
hypothesis.settings.register_profile(
    "patient", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

# Many containers set this. Each of the hundreds of starts of our program would compile all of it anew: half of what a start costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def _programs_hear_every_signal() -> None:
    """`nohup`, and a shell that runs the tests in the background, have signals ignored, and the programs that tests start would inherit
    that: they would not hear an order to stop. What is handled here, if only by nothing, is as usual there."""
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def specs() -> Path:
    """The folder of Dojo's published OpenAPI documents, which is kept beside the repository."""
    if SPECS.is_dir():
        return SPECS
    reason = "Dojo's published schemas are absent: expected ../shared/dojo/specs"
    if NO_SKIPS:
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Have the core's branches measured where it runs in the test's own process: elsewhere there is nothing to see, and tracing doubles
    what a test costs."""
    measuring = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if measuring and measuring.started == _is_outside(item):
        (measuring.pause if measuring.started else measuring.resume)()


def _is_outside(item: pytest.Item) -> bool:
    names = vars(getattr(item, "module", item))
    return item.path.parent.name in ("browser", "crash") or (not OUTSIDE.isdisjoint(names) and INSIDE.isdisjoint(names))


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
