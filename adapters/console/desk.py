"""What the pages ask and act through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from adapters.console.jobs import Jobs
from adapters.edge import Tokens
from adapters.edge.limits import Guesses
from adapters.health import Health
from workflow.clock import Clock
from workflow.engine import Engine
from workflow.journal.reads import SqliteReads
from workflow.ports import IntentBooks
from workflow.proof import Prover, Sealer
from workflow.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything behind the pages of one venue. `is_live`: calls go to Dojo itself, with real money.

    `intents` are Dojo's books, None without a key to them; `upkeep` is None where the journal cannot be written.
    """

    engine: Engine
    reads: SqliteReads
    health: Health
    prover: Prover
    clock: Clock
    tokens: Tokens
    guesses: Guesses
    venue_name: str
    currency: str
    zone: ZoneInfo
    is_live: bool
    journal: Path
    witness: Path
    signing_key: Path
    sealer: Sealer
    upkeep: Upkeep | None
    intents: IntentBooks | None
    jobs: Jobs
