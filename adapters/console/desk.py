"""What the pages ask and act through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from adapters.console.jobs import Jobs
from adapters.console.sessions import Sessions
from adapters.console.setup_desk import SetupDesk
from adapters.edge import Tokens
from adapters.edge.limits import Guesses, Network
from adapters.health import Health
from workflow.clock import Clock
from workflow.engine import Engine
from workflow.journal.reads import SqliteReads
from workflow.ports import IntentBooks
from workflow.proof import Prover, Sealer
from workflow.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What any page needs, be the journal shut. `is_live`: calls go to Dojo itself, with real money. `trusted`: proxies.

    `reasons`: codes of what keeps this process from its work.
    """

    clock: Clock
    tokens: Tokens
    guesses: Guesses
    sessions: Sessions
    trusted: Sequence[Network]
    venue_name: str
    zone: ZoneInfo
    is_live: bool
    reasons: Callable[[], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk(Front):
    """Everything behind the pages of one venue. `heard_at`: when Dojo last called or answered, None where it never did.

    `intents` are Dojo's books, None without a key to them; `upkeep` is None where the journal cannot be written.
    """

    engine: Engine
    reads: SqliteReads
    health: Health
    prover: Prover
    currency: str
    heard_at: Callable[[], datetime | None]
    setup: SetupDesk
    journal: Path
    witness: Path
    signing_key: Path
    sealer: Sealer
    upkeep: Upkeep | None
    intents: IntentBooks | None
    jobs: Jobs
