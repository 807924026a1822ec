"""The outbox's rows on the writer's connection: which task is next, what waits, what is paused. Plain SQL, prepared once."""

from __future__ import annotations

from typing import Any, cast

from workflow.effects import TILL, ReadIntent, Task, TellTill
from workflow.journal.driver import sqlite3
from workflow.journal.port import StoredTask
from workflow.ports import IntentId, OrderId


class Tasks:
    """The part of a unit of work that is about the outbox; see `port.Transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        return cast("tuple[Any, ...] | None", self._connection.execute(sql, values).fetchone())

    def task(self, task_id: str) -> StoredTask | None:
        return _stored_task(self._one(f"SELECT {TASK_COLUMNS} FROM outbox WHERE id = ?", task_id))

    def waiting_task(self, lane: str, effect: str, intent_id: str) -> StoredTask | None:
        return _stored_task(self._one(WAITING_TASK, lane, effect, intent_id, lane, effect, intent_id))

    def read_is_to_come(self, order_id: OrderId, intent_id: IntentId) -> bool:
        return self._one(READ_TO_COME, *[order_id, intent_id] * 3) is not None

    def lane_is_busy(self, lane: str) -> bool:
        return self._one("SELECT 1 FROM outbox WHERE lane = ? AND status = 'leased'", lane) is not None

    def next_in_lane(self, lane: str, now_ms: int) -> StoredTask | None:
        return _stored_task(self._one(NEXT_IN_LANE, lane, now_ms))

    def due_tasks(self, destination: str, now_ms: int, limit: int) -> list[StoredTask]:
        is_till = destination == TILL
        rows = self._connection.execute(DUE_TASKS, (now_ms, is_till, now_ms, is_till, limit)).fetchall()
        one_a_lane = dict[str, StoredTask]()
        for stored in (cast(StoredTask, _stored_task(row)) for row in rows):
            if stored.lane not in one_a_lane:
                # What is due first need not be the oldest of its lane: that may have been put back. A lease that ran out holds its lane.
                oldest = self.next_in_lane(stored.lane, now_ms) if stored.status == "pending" else None
                one_a_lane[stored.lane] = oldest or stored
        return list(one_a_lane.values())[:limit]

    def due_probes(self, destination: str, now_ms: int) -> list[StoredTask]:
        is_till = destination == TILL
        rows = self._connection.execute(DUE_PROBES, (now_ms, is_till, now_ms, is_till, is_till)).fetchall()
        return [cast(StoredTask, _stored_task(row)) for row in rows]

    def pause_pending(self, destination: str, probe_at_ms: int) -> None:
        for status in ("pending", "paused"):
            sql = f"UPDATE outbox SET status = 'paused', next_at_ms = max(?, lease_until_ms) WHERE status = '{status}' AND {_THERE}"
            self._connection.execute(sql, (probe_at_ms, destination == TILL))

    def resume_paused(self, destination: str, now_ms: int) -> None:
        set_ = "status = 'pending', next_at_ms = max(?, lease_until_ms), lease_until_ms = max(?, lease_until_ms)"
        self._connection.execute(f"UPDATE outbox SET {set_} WHERE status = 'paused' AND {_THERE}", (now_ms, now_ms, destination == TILL))

    def wake_waiting(self, destination: str, now_ms: int) -> None:
        sql = f"UPDATE outbox SET next_at_ms = max(?, lease_until_ms) WHERE status = 'pending' AND {_THERE} AND next_at_ms > ?"
        self._connection.execute(sql, (now_ms, destination == TILL, now_ms))

    def limit_waits(self, now_ms: int, task_ms: int, sweep_ms: int) -> None:
        latest = now_ms + task_ms
        for status in ("pending", "paused"):
            for is_till in (False, True):
                self._connection.execute(
                    f"UPDATE outbox SET next_at_ms = min(next_at_ms, ?), lease_until_ms = min(lease_until_ms, ?) "
                    f"WHERE status = '{status}' AND {_THERE} AND next_at_ms > ?",
                    (latest, latest, is_till, latest),
                )
        for status in ("pending", "paused", "leased"):
            self._connection.execute(
                f"UPDATE outbox SET created_at_ms = ? WHERE status = '{status}' AND created_at_ms > ?", (now_ms, now_ms)
            )
        for table in ("watch", "parked"):
            self._connection.execute(f"UPDATE {table} SET next_at_ms = ? WHERE next_at_ms > ?", (now_ms + sweep_ms, now_ms + sweep_ms))
        self._connection.execute("UPDATE parked SET since_ms = ? WHERE next_at_ms IS NOT NULL AND since_ms > ?", (now_ms, now_ms))

    def make_young(self, destination: str, now_ms: int, age_ms: int) -> None:
        for status in ("pending", "paused"):
            old = f"SELECT lane FROM outbox WHERE status = '{status}' AND {_THERE} AND created_at_ms < ?"
            sql = f"UPDATE outbox SET created_at_ms = ? WHERE status = '{status}' AND lane IN ({old})"  # All of it: it stays in order.
            self._connection.execute(sql, (now_ms, destination == TILL, now_ms - age_ms))

    def next_due_ms(self, destination: str) -> int | None:
        row = self._one(NEXT_DUE, *[destination == TILL] * NEXT_DUE.count("?"))
        return cast("int | None", row[0]) if row else None

    def release_leases(self, destination: str, now_ms: int, status: str) -> None:
        sql = f"UPDATE outbox SET status = ?, next_at_ms = ?, lease_until_ms = 0 WHERE status = 'leased' AND {_THERE}"
        self._connection.execute(sql, (status, now_ms, destination == TILL))
        if status != "pending":
            self._connection.execute(f"UPDATE outbox SET status = ? WHERE status = 'pending' AND {_THERE}", (status, destination == TILL))

    def has_dead_task(self, order_id: str, intent_id: str, *, besides: str = "", up_to: int = 0) -> bool:
        sql = "SELECT 1 FROM outbox WHERE status = 'dead' AND order_id = ? AND intent_id = ? AND NOT (effect = ? AND order_seq <= ?)"
        return self._one(sql, order_id, intent_id, besides, up_to) is not None

    def not_told(self, before_ms: int, limit: int) -> list[OrderId]:
        found: dict[OrderId, None] = {}
        for status in ("pending", "paused"):
            sql = NOT_TOLD.format(status=status)
            found |= {
                OrderId(row[0]): None for row in self._connection.execute(sql, (True, before_ms, "PAID_NOT_ON_TILL", limit)).fetchall()
            }
        return list(found)[:limit]

    def renew_task(self, task_id: str, order_seq: int, now_ms: int) -> None:
        self._connection.execute(RENEW_TASK, (order_seq, now_ms, task_id))

    def put_task(self, stored: StoredTask, last_error: str = "", done_at: str = "") -> None:
        task = stored.task
        self._connection.execute(
            PUT_TASK,
            (
                task.id, stored.lane, task.effect, task.order_id, task.intent_id, task.order_seq, stored.status, task.attempts, task.fence,
                task.lease_until_ms, stored.next_at_ms, last_error, task.created_at_ms, done_at, stored.refusals,
            ),
        )  # fmt: skip

    def note_attempt(self, task: Task, at: str, error: str) -> None:
        self._connection.execute("INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, ?)", (task.id, task.fence, task.attempts, at, error))
        self._connection.execute("DELETE FROM attempts WHERE task_id = ? AND fence <= ?", (task.id, task.fence - KEPT_ATTEMPTS))


KEPT_ATTEMPTS = 50
"""So many failed attempts of a task are kept."""
TASK_COLUMNS = (
    "id, effect, order_id, intent_id, order_seq, attempts, fence, created_at_ms, lease_until_ms, lane, status, next_at_ms, refusals"
)
PUT_TASK = (
    "INSERT INTO outbox(id, lane, effect, order_id, intent_id, order_seq, status, attempts, fence, lease_until_ms, next_at_ms, last_error, "
    "created_at_ms, done_at, refusals) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(id) DO UPDATE SET order_seq = excluded.order_seq, created_at_ms = excluded.created_at_ms, "
    "status = excluded.status, attempts = excluded.attempts, fence = excluded.fence, lease_until_ms = excluded.lease_until_ms, "
    "next_at_ms = excluded.next_at_ms, last_error = excluded.last_error, done_at = excluded.done_at, refusals = excluded.refusals"
)
# A partial index serves only the very condition it was made with: so each status has its own, and no statement says `status IN`.
WAITING_TASK = f"""
SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'pending' AND lane = ? AND effect = ? AND intent_id = ?
UNION ALL
SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'paused' AND lane = ? AND effect = ? AND intent_id = ?
"""
READ_TO_COME = " UNION ALL ".join(
    f"SELECT 1 FROM outbox WHERE status = '{status}' AND lane = ? AND effect = '{ReadIntent.name}' AND intent_id = ?"
    for status in ("pending", "paused", "leased")
)
NEXT_IN_LANE = f"""
SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'pending' AND lane = ? AND next_at_ms <= ? ORDER BY created_at_ms, rowid LIMIT 1
"""
_FREE = "NOT EXISTS (SELECT 1 FROM outbox AS busy WHERE busy.status = 'leased' AND busy.lane = task.lane)"
_THERE = f"(effect = '{TellTill.name}') = ?"
"""Where a task goes follows from its effect; the value is whether the destination is the till."""
_QUIET = f"NOT EXISTS (SELECT 1 FROM outbox AS busy WHERE busy.status = 'leased' AND {_THERE})"
_WAITING = f"SELECT next_at_ms FROM outbox AS task WHERE status = 'pending' AND {_THERE} AND {_FREE} ORDER BY next_at_ms LIMIT 1"
NEXT_DUE = f"""
SELECT min(at) FROM (
  SELECT min(lease_until_ms) AS at FROM outbox WHERE status = 'leased' AND {_THERE}
  UNION ALL
  SELECT next_at_ms FROM ({_WAITING})
  UNION ALL
  SELECT min(next_at_ms) FROM outbox WHERE status = 'paused' AND {_THERE} AND {_QUIET}
)
"""
# The least tried one probes: what is refused for its own sake must not be the only one that is ever asked.
DUE_PROBES = f"""
SELECT * FROM (
  SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'leased' AND lease_until_ms <= ? AND {_THERE}
  UNION ALL
  SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'paused' AND next_at_ms <= ? AND {_THERE} AND {_QUIET}
) ORDER BY attempts, created_at_ms LIMIT 1
"""
NOT_TOLD = f"""
SELECT order_id FROM outbox WHERE status = '{{status}}' AND {_THERE} AND created_at_ms <= ?
AND EXISTS (SELECT 1 FROM orders WHERE id = order_id AND paid > 0 AND json_extract(body, '$.acknowledged.PAID_NOT_ON_TILL') IS NOT paid)
AND NOT EXISTS (SELECT 1 FROM attention WHERE attention.order_id = outbox.order_id AND code = ? AND payment_intent_id = '')
LIMIT ?
"""
# Where money counts already, the till has waited for the news of it since the task was made, however often the order changes meanwhile.
RENEW_TASK = f"""
UPDATE outbox SET order_seq = ?,
created_at_ms = iif(effect = '{TellTill.name}' AND EXISTS (SELECT 1 FROM orders WHERE id = outbox.order_id AND paid > 0), created_at_ms, ?)
WHERE id = ?
"""
_DUE = f"SELECT {TASK_COLUMNS} FROM outbox AS task WHERE status = 'pending' AND next_at_ms <= ? AND {_THERE} AND {_FREE}"
# The plus keeps SQLite from walking all tasks that ever were by their time to find the few.
DUE_TASKS = f"""
SELECT * FROM (
  SELECT {TASK_COLUMNS} FROM outbox WHERE status = 'leased' AND lease_until_ms <= ? AND {_THERE}
  UNION ALL
  SELECT * FROM ({_DUE} ORDER BY next_at_ms, rowid LIMIT ?)
) ORDER BY +created_at_ms
"""


def _stored_task(row: tuple[Any, ...] | None) -> StoredTask | None:
    if row is None:
        return None
    names = ("id", "effect", "order_id", "intent_id", "order_seq", "attempts", "fence", "created_at_ms", "lease_until_ms")
    return StoredTask(Task(**dict(zip(names, row, strict=False))), lane=row[9], status=row[10], next_at_ms=row[11], refusals=row[12])
