"""What `/metrics` says of a journal that cannot be read."""

from __future__ import annotations

from prometheus_client import generate_latest

from adapters.health import Health
from adapters.metrics import Metrics
from workflow.clock import SystemClock
from workflow.journal.condition import JOURNAL_DAMAGED, Condition
from workflow.journal.reads import SqliteReads


def test_of_a_journal_that_cannot_be_read_the_trouble_is_told_and_nothing_is_made_up(tmp_path):
    (tmp_path / "tillproof.db").write_bytes(b"SQLite format 3\0 and then nothing of the kind")
    condition = Condition(SystemClock())
    condition.begin(JOURNAL_DAMAGED, "the header is damaged")
    health = Health(condition=condition, dead=list, verified=lambda: None, wal_bytes=lambda: 0)

    text = generate_latest(Metrics(SqliteReads(tmp_path / "tillproof.db"), health, SystemClock(), lambda: 0).registry).decode()

    assert 'tillproof_attention{code="JOURNAL_DAMAGED"} 1.0' in text
    assert 'tillproof_journal_failures_total{code="JOURNAL_DAMAGED"} 1.0' in text
    assert "tillproof_outbox_backlog" not in text
    assert "tillproof_orders_total" not in text
