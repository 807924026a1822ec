"""The tables of a SQLite journal, their version, and the triggers that make it append-only.

`journal` and `checkpoint` are public (auditors open the file with their own tools); the rest are projections that replay can
rebuild, the outbox, and what idempotency needs. CHECKs on states come from the declaration, so that no other state can be stored.
"""

from __future__ import annotations

from workflow.effects import TellTill
from workflow.entry import KINDS
from workflow.lifecycle import FULFILMENT, ORDER, PAYMENT
from workflow.order import FLOWS

APPLICATION_ID = 0x54494C4C  # "TILL", in the file's header: tells our file from another program's.
SCHEMA_VERSION = 1
TASK_STATUSES = ("pending", "leased", "done", "dead", "paused")


def _one_of(names: object) -> str:
    return ", ".join(f"'{name}'" for name in names)  # type: ignore[attr-defined]


def _states(*groups: object) -> str:
    return _one_of(dict.fromkeys(["", *(name for group in groups for name in group)]))  # type: ignore[attr-defined]


TABLES = f"""
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE journal(
  seq INTEGER PRIMARY KEY CHECK (seq > 0),
  order_id TEXT NOT NULL,
  order_seq INTEGER NOT NULL CHECK (order_seq > 0),
  at TEXT NOT NULL CHECK (at GLOB '????-??-??T??:??:??.???Z'),
  kind TEXT NOT NULL CHECK (kind IN ({_one_of(KINDS)})),
  machine TEXT NOT NULL,
  trigger TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  payment_intent_id TEXT NOT NULL,
  actor TEXT NOT NULL,
  cause TEXT NOT NULL,
  body TEXT NOT NULL CHECK (json_valid(body)),
  prev_hash TEXT NOT NULL CHECK (length(prev_hash) = 64),
  hash TEXT NOT NULL CHECK (length(hash) = 64),
  UNIQUE (order_id, order_seq)
) STRICT;
CREATE TRIGGER journal_is_append_only_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_is_append_only_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_is_append_only_replace BEFORE INSERT ON journal
WHEN EXISTS (SELECT 1 FROM journal WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM journal WHERE order_id = NEW.order_id AND order_seq = NEW.order_seq)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE checkpoint(size INTEGER PRIMARY KEY, root TEXT NOT NULL, at TEXT NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TRIGGER checkpoint_is_append_only_update BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;
CREATE TRIGGER checkpoint_is_append_only_delete BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;
CREATE TRIGGER checkpoint_is_append_only_replace BEFORE INSERT ON checkpoint
WHEN EXISTS (SELECT 1 FROM checkpoint WHERE size = NEW.size) BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;
CREATE TABLE tree_node(level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, position)) STRICT, WITHOUT ROWID;
CREATE TABLE machines(name TEXT NOT NULL, hash TEXT NOT NULL, declaration TEXT NOT NULL, first_at TEXT NOT NULL, PRIMARY KEY (name, hash)) STRICT;
CREATE TABLE orders(
  id TEXT PRIMARY KEY,
  dojo_order_id TEXT UNIQUE,
  flow TEXT NOT NULL CHECK (flow IN ({_one_of(FLOWS)})),
  state TEXT NOT NULL CHECK (state IN ({_states(ORDER.states)})),
  status TEXT NOT NULL CHECK (status IN ({_states(FULFILMENT.states)})),
  table_id TEXT, waiter_id TEXT, party_id TEXT, reservation_id TEXT, reference TEXT,
  payable INTEGER NOT NULL CHECK (payable IN (0, 1)),
  currency TEXT NOT NULL,
  total INTEGER NOT NULL, paid INTEGER NOT NULL, tips INTEGER NOT NULL,
  order_seq INTEGER NOT NULL,
  last_hash TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX orders_by_time ON orders(created_at, id);
CREATE INDEX orders_by_table ON orders(table_id, created_at, id) WHERE table_id IS NOT NULL;
CREATE INDEX orders_payable ON orders(created_at, id) WHERE payable = 1;
CREATE TABLE payments(
  intent_id TEXT PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders(id),
  state TEXT NOT NULL CHECK (state IN ({_states(PAYMENT.states)})),
  paid INTEGER NOT NULL, tips INTEGER NOT NULL, refunded INTEGER NOT NULL,
  mismatch TEXT NOT NULL
) STRICT;
CREATE INDEX payments_by_order ON payments(order_id);
CREATE TABLE attention(
  order_id TEXT NOT NULL, code TEXT NOT NULL, payment_intent_id TEXT NOT NULL, since TEXT NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY (order_id, code, payment_intent_id)
) STRICT;
CREATE TABLE parked(
  intent_id TEXT PRIMARY KEY, since TEXT NOT NULL, since_ms INTEGER NOT NULL,
  external_id TEXT, dojo_order_id TEXT, next_at_ms INTEGER, interval_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX parked_due ON parked(next_at_ms) WHERE next_at_ms IS NOT NULL;
CREATE TABLE watch(intent_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, next_at_ms INTEGER NOT NULL, interval_ms INTEGER NOT NULL) STRICT;
CREATE INDEX watch_due ON watch(next_at_ms);
CREATE TABLE locks(order_id TEXT PRIMARY KEY, lock_id TEXT NOT NULL, expires_at TEXT NOT NULL, released INTEGER NOT NULL, holder TEXT NOT NULL) STRICT;
CREATE TABLE venue(name TEXT PRIMARY KEY, value TEXT NOT NULL CHECK (json_valid(value))) STRICT;
CREATE INDEX parked_by_external_id ON parked(external_id) WHERE external_id IS NOT NULL;
CREATE INDEX parked_by_dojo_order_id ON parked(dojo_order_id) WHERE dojo_order_id IS NOT NULL;
CREATE TABLE inbox(
  source TEXT NOT NULL, message_id TEXT NOT NULL, fingerprint TEXT NOT NULL, order_id TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (source, message_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox(
  id TEXT PRIMARY KEY,
  lane TEXT NOT NULL, effect TEXT NOT NULL, order_id TEXT NOT NULL, intent_id TEXT NOT NULL, order_seq INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ({_one_of(TASK_STATUSES)})),
  attempts INTEGER NOT NULL, fence INTEGER NOT NULL,
  lease_until_ms INTEGER NOT NULL, next_at_ms INTEGER NOT NULL,
  last_error TEXT NOT NULL, created_at_ms INTEGER NOT NULL, done_at TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_leased ON outbox(lane, lease_until_ms) WHERE status = 'leased';
CREATE INDEX outbox_pending ON outbox(lane, created_at_ms) WHERE status = 'pending';
CREATE INDEX outbox_pending_due ON outbox((effect = '{TellTill.name}'), next_at_ms) WHERE status = 'pending';
CREATE INDEX outbox_paused ON outbox(lane, created_at_ms) WHERE status = 'paused';
CREATE INDEX outbox_paused_due ON outbox((effect = '{TellTill.name}'), next_at_ms) WHERE status = 'paused';
CREATE INDEX outbox_by_time ON outbox(created_at_ms, id);
CREATE INDEX outbox_dead ON outbox(order_id, intent_id) WHERE status = 'dead';
CREATE TABLE personal(order_id TEXT PRIMARY KEY, salt TEXT NOT NULL, data TEXT NOT NULL) STRICT;
"""
