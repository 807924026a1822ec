"""What the pages ask and act through."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from adapters.console.setup_desk import SetupDesk
from adapters.edge import Tokens
from adapters.edge.limits import Guesses
from adapters.health import Health
from workflow.clock import Clock
from workflow.engine import Engine
from workflow.journal.reads import SqliteReads
from workflow.proof import Prover


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything behind the pages of one venue. `is_live`: calls go to Dojo itself, with real money."""

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
    setup: SetupDesk
