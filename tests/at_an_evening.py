"""The program by a clock that somebody else sets: `python -m tests.at_an_evening serve`, beside a file that says how late it is.

A machine's clock would give every picture of the console the moment in which it was taken, and an order that waits for six minutes six
minutes to wait for.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import app
from workflow.clock import SystemClock

FILE = "minutes"
BEGINS = datetime(2026, 7, 3, 17, 2, tzinfo=UTC)
"""A Friday in summer; six in London."""


class EveningClock:
    """Real seconds from BEGINS on, and as many minutes more as the file in `folder` says. Both hands go on together: nothing jumped."""

    def __init__(self, folder: Path) -> None:
        self._file, self._began = folder / FILE, (folder / "began")
        if not self._began.exists():
            self._began.write_text(str(time.monotonic()))  # Of this machine, not of a process.
            self._file.write_text("0")

    def now(self) -> datetime:
        """The present moment of the evening."""
        return BEGINS + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - float(self._began.read_text()) + 60 * float(self._file.read_text() or 0)

    def leap(self, minutes: float) -> None:
        """So much time passes, for everybody with this folder."""
        later = self._file.with_suffix(".new")
        later.write_text(str(float(self._file.read_text()) + minutes))
        later.replace(self._file)


if __name__ == "__main__":
    evening = EveningClock(Path())
    SystemClock.now = lambda self: evening.now()  # type: ignore[method-assign]
    SystemClock.monotonic = lambda self: evening.monotonic()  # type: ignore[method-assign]
    app.main()
