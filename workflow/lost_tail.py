"""Going on with a journal that lacks entries its witness saw: the last resort after HEAD_REGRESSED (S11)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from workflow.clock import Clock
from workflow.commands import AcceptLostTail
from workflow.engine import Engine
from workflow.errors import HeadRegressed, Refused
from workflow.journal.connection import translated_os
from workflow.journal.keys import sync_directory
from workflow.journal.sqlite import SqliteJournal

logger = logging.getLogger(__name__)


def accept(
    actor: str,
    reason: str,
    *,
    witness: Path,
    open_journal: Callable[[Path, bool], SqliteJournal],
    engine_of: Callable[[SqliteJournal], Engine],
    clock: Clock,
) -> str:
    """Journal that `actor` accepts the loss for `reason`, and begin the witness anew; what was lost. Raises Refused where nothing is,
    JournalUnavailable.

    `open_journal` opens the journal beside a witness, and is told whether that one is to begin anew. The witness file is put aside, never
    deleted, and the acceptance is the first entry after the loss. Killed before that is stored, it leaves the journal refused as it was;
    between that and the new witness, the loss has to be accepted once more.
    """
    try:
        open_journal(witness, False).close()
    except HeadRegressed as error:
        lost = str(error)
    else:
        raise Refused("the journal has everything that its witness saw: nothing is lost")
    fresh = witness.with_name(f"{witness.name}.accepting")
    fresh.unlink(missing_ok=True)
    journal = open_journal(fresh, True)
    try:
        engine_of(journal).handle(AcceptLostTail(reason=reason, lost=lost, actor=actor))
    finally:
        journal.close()
    # Only now: until it is journaled, the old witness has everybody refused who opens the journal.
    try:
        os.link(witness, witness.with_name(f"{witness.name}.lost-{clock.now():%Y%m%dT%H%M%S%f}"))
        os.replace(fresh, witness)
        sync_directory(witness.parent)
    except OSError as error:
        raise translated_os(error, f"the loss has to be accepted once more: cannot put {witness} aside") from error
    logger.info("lost tail accepted", extra={"actor": actor, "lost": lost})
    return lost
