"""When Dojo was last heard: it called us, or answered a call of ours. For people who wonder whether it is there at all."""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import datetime

from flask import Flask, Response, request

from workflow.clock import Clock, from_text
from workflow.journal.reads import SqliteReads

LOOKED_AT = 2_000
"""Of the journal's newest entries, as many are looked at for one of Dojo's making: what was heard before this process began."""


class Heard:
    """The newest moment; for any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: datetime | None = None

    @property
    def at(self) -> datetime | None:
        """UTC; None where Dojo was never heard."""
        return self._at

    def hear(self) -> None:
        """It spoke just now."""
        self._at = self._clock.now()

    def recall(self, reads: SqliteReads) -> None:
        """Begin with what the journal knows. Raises JournalUnavailable, JournalDamaged."""
        rows = reads.rows(_NEWEST, (LOOKED_AT,))
        self._at = max(filter(None, (self._at, from_text(rows[0][0]) if rows else None)), default=None)

    def watch(self, app: Flask, is_dojo: Callable[[str], bool]) -> None:
        """Hear every request to Dojo's side that was let in. `is_dojo` says of an endpoint whether it is for nobody else."""

        @app.after_request
        def called(response: Response) -> Response:
            if is_dojo(request.endpoint or "") and response.status_code not in STRANGERS:
                self.hear()
            return response


STRANGERS: Container[int] = frozenset({401, 429})
_NEWEST = "SELECT at FROM (SELECT * FROM journal ORDER BY seq DESC LIMIT ?) WHERE actor = 'dojo' ORDER BY seq DESC LIMIT 1"
