"""Questions about calls: those that are made or were given up, and how their destinations answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from workflow.conduct import Conduct
from workflow.effects import TILL, TellTill
from workflow.journal.reads.source import Position, Source, from_ms, to_ms

RECENT_TASKS = 500
RECENT_FAILURES = 500

_conduct_decoder = msgspec.json.Decoder(Conduct)


class StoredTaskRow(NamedTuple):
    """A task of the outbox as people see it; times are UTC text."""

    id: str
    effect: str
    order_id: str
    payment_intent_id: str
    status: str
    attempts: int
    next_at: str | None
    last_error: str
    created_at: str
    done_at: str | None


class StoredFailure(NamedTuple):
    """An attempt that failed; `number` counts from 1, and anew once a person requeued the task."""

    task_id: str
    number: int
    at: str
    error: str


class OutboxReads(Source):
    """The tasks of the outbox and the attempts at them."""

    def task(self, task_id: str) -> StoredTaskRow | None:
        """One task of the outbox."""
        rows = self.rows(f"SELECT {_TASK} FROM outbox WHERE id = ?", (task_id,))
        return _task_row(rows[0]) if rows else None

    def tasks(self, status: str | None, limit: int, *, after: Position | None = None) -> list[StoredTaskRow]:
        """Up to `limit` tasks of the outbox, newest first, behind `after` (created_at, id)."""
        conditions, values = list[str](), list[object]()
        if status in _UNFINISHED:
            conditions.append(f"status = '{status}'")  # A partial index serves only the very condition that it was made with.
        elif status is not None:
            conditions.append("status = ?")
            values.append(status)
        if after is not None:
            conditions.append("(created_at_ms, id) < (?, ?)")
            values += [to_ms(after.created_at), after.id]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        index = _UNFINISHED.get(status or "", "outbox_by_time")
        sql = f"SELECT {_TASK} FROM outbox INDEXED BY {index} {where} ORDER BY created_at_ms DESC, id DESC LIMIT ?"
        return [_task_row(row) for row in self.rows(sql, (*values, limit))]

    def tasks_of(self, order_id: str) -> list[StoredTaskRow]:
        """The tasks of an order, oldest first: all that are not done, and the newest RECENT_TASKS of those that are."""
        # A task's id begins with its order's: these stand together, whatever else the outbox ever had.
        where = "id >= ? AND id < ? AND order_id = ? AND status {} 'done'"
        sql = f"SELECT {_TASK} FROM outbox WHERE {where} ORDER BY created_at_ms DESC LIMIT ?"
        values = (f"{order_id}.", f"{order_id}/", order_id, RECENT_TASKS)
        rows = [*self.rows(sql.format("<>"), values), *self.rows(sql.format("="), values)]
        return sorted(map(_task_row, rows), key=lambda task: (task.created_at, task.id))

    def failures_of(self, tasks: Sequence[str]) -> list[StoredFailure]:
        """The attempts of these tasks that failed, oldest first, as far as they are kept; at most RECENT_FAILURES of them."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'attempts'"):
            return []  # Of an earlier version, and not to be written.
        sql = f"""
            SELECT task_id, number, at, error FROM attempts WHERE task_id IN (SELECT value FROM json_each(?))
            ORDER BY at DESC, fence DESC LIMIT {RECENT_FAILURES}
        """
        return [StoredFailure._make(row) for row in reversed(self.rows(sql, (msgspec.json.encode(tasks).decode(),)))]

    def dead_tasks(self, order_id: str, intent_id: str) -> list[StoredTaskRow]:
        """The tasks of this order and intent that were given up, oldest first."""
        sql = f"SELECT {_TASK} FROM outbox WHERE status = 'dead' AND order_id = ? AND intent_id = ? ORDER BY created_at_ms, id"
        return [_task_row(row) for row in self.rows(sql, (order_id, intent_id))]

    def unfinished_tasks(self) -> dict[str, int]:
        """How many tasks of the outbox wait, pause, are under way and were given up."""
        counts = (f"(SELECT count(*) FROM outbox INDEXED BY {index} WHERE status = '{status}')" for status, index in _UNFINISHED.items())
        return dict(zip(_UNFINISHED, self.rows(f"SELECT {', '.join(counts)}")[0], strict=True))

    def next_probe(self, destination: str) -> str | None:
        """When a destination that pauses is asked again, UTC text; None where nothing waits for it."""
        sql = (
            f"SELECT min(next_at_ms) FROM outbox INDEXED BY outbox_paused_due WHERE status = 'paused' AND (effect = '{TellTill.name}') = ?"
        )
        at_ms = self.rows(sql, (destination == TILL,))[0][0]
        return None if at_ms is None else from_ms(at_ms)

    def conduct(self, destination: str) -> Conduct:
        """How the destination has answered of late."""
        rows = self.rows("SELECT value FROM meta WHERE name = ?", (f"conduct.{destination}",))
        return _conduct_decoder.decode(rows[0][0]) if rows else Conduct()


def _task_row(row: tuple[Any, ...]) -> StoredTaskRow:
    task_id, effect, order_id, intent_id, status, attempts, next_at_ms, last_error, created_at_ms, done_at = row
    return StoredTaskRow(
        id=task_id,
        effect=effect,
        order_id=order_id,
        payment_intent_id=intent_id,
        status=status,
        attempts=attempts,
        next_at=from_ms(next_at_ms) if status == "pending" else None,
        last_error=last_error,
        created_at=from_ms(created_at_ms),
        done_at=done_at or None,
    )


_UNFINISHED = {"leased": "outbox_leased", "pending": "outbox_pending", "paused": "outbox_paused", "dead": "outbox_dead"}
"""Tasks that are not done are few: each status has an index of its own."""

_TASK = "id, effect, order_id, intent_id, status, attempts, next_at_ms, last_error, created_at_ms, done_at"
