"""The tables of a SQLite journal, their version, and the triggers that make it append-only.

`journal` and `checkpoint` are public (auditors open the file with their own tools); the rest are projections that replay can
rebuild, the outbox, and what idempotency needs. No state can be stored that no declaration has: `states` holds those of every one that
was in force with this journal, and a start adds its own.
"""

from __future__ import annotations

from typing import NamedTuple

from workflow import booking
from workflow.effects import TellTill
from workflow.entry import KINDS
from workflow.order import FLOWS

APPLICATION_ID = 0x54494C4C  # "TILL", in the file's header: tells our file from another program's.
SCHEMA_VERSION = 3
TASK_STATUSES = ("pending", "leased", "done", "dead", "paused")


class OrderIndex(NamedTuple):
    """An index that a page of orders is read from: rows with these columns equal and these switches on, in the order of time."""

    name: str
    equal: tuple[str, ...] = ()
    switched_on: tuple[str, ...] = ()


# A page is read from one of these, whole and in its order, so that its cost is that of its rows. The first that fits is taken: an order
# has one party and one reservation at most, and these have few orders, as a reference has, so that other filters are looked up in the
# rows themselves. Switches make an index partial: what is paid, or needs nobody, costs no write in it.
# fmt: off
ORDER_INDEXES = (
    OrderIndex("orders_payable_by_party",           ("party_id",),            ("payable",)),
    OrderIndex("orders_by_party",                   ("party_id",)),
    OrderIndex("orders_payable_by_reservation",     ("reservation_id",),      ("payable",)),
    OrderIndex("orders_by_reservation",             ("reservation_id",)),
    OrderIndex("orders_payable_by_table_waiter",    ("table_id", "waiter_id"), ("payable",)),
    OrderIndex("orders_by_table_waiter",            ("table_id", "waiter_id")),
    OrderIndex("orders_attention_by_reference_flow_state", ("reference", "flow", "state"), ("attention",)),
    OrderIndex("orders_attention_by_reference_flow", ("reference", "flow"),   ("attention",)),
    OrderIndex("orders_attention_by_reference_state", ("reference", "state"), ("attention",)),
    OrderIndex("orders_attention_by_reference",     ("reference",),           ("attention",)),
    OrderIndex("orders_by_reference_flow_state",    ("reference", "flow", "state")),
    OrderIndex("orders_by_reference_flow",          ("reference", "flow")),
    OrderIndex("orders_by_reference_state",         ("reference", "state")),
    OrderIndex("orders_by_reference",               ("reference",)),
    OrderIndex("orders_attention_by_table_flow_state", ("table_id", "flow", "state"), ("attention",)),
    OrderIndex("orders_attention_by_table_flow",    ("table_id", "flow"),     ("attention",)),
    OrderIndex("orders_attention_by_table_state",   ("table_id", "state"),    ("attention",)),
    OrderIndex("orders_attention_by_table",         ("table_id",),            ("attention",)),
    OrderIndex("orders_by_table_flow_state",        ("table_id", "flow", "state")),
    OrderIndex("orders_by_table_flow",              ("table_id", "flow")),
    OrderIndex("orders_by_table_state",             ("table_id", "state")),
    OrderIndex("orders_payable_by_table",           ("table_id",),            ("payable",)),
    OrderIndex("orders_by_table",                   ("table_id",)),
    OrderIndex("orders_payable_by_waiter",          ("waiter_id",),           ("payable",)),
    OrderIndex("orders_by_waiter",                  ("waiter_id",)),
    OrderIndex("orders_attention_by_flow_state",    ("flow", "state"),        ("attention",)),
    OrderIndex("orders_attention_by_flow",          ("flow",),                ("attention",)),
    OrderIndex("orders_attention_by_state",         ("state",),               ("attention",)),
    OrderIndex("orders_attention",                  (),                       ("attention",)),
    OrderIndex("orders_by_flow_state",              ("flow", "state")),
    OrderIndex("orders_by_flow",                    ("flow",)),
    OrderIndex("orders_by_state",                   ("state",)),
    OrderIndex("orders_payable",                    (),                       ("payable",)),
    OrderIndex("orders_by_time"),
)
# fmt: on


_NEVER_NULL = ("flow", "state")


def _order_indexes() -> str:
    return "\n".join(create_index(index) for index in ORDER_INDEXES)


def create_index(index: OrderIndex) -> str:
    """The statement that makes the index."""
    given = [f"{column} IS NOT NULL" for column in index.equal if column not in _NEVER_NULL]
    where = " AND ".join([*given, *(f"{switch} = 1" for switch in index.switched_on)])
    columns = ", ".join([*index.equal, "created_at", "id"])
    return f"CREATE INDEX {index.name} ON orders({columns}){f' WHERE {where}' if where else ''};"


def _one_of(names: object) -> str:
    return ", ".join(f"'{name}'" for name in names)  # type: ignore[attr-defined]


def _only_declared(table: str, column: str, machine: str) -> str:
    unknown = f"NEW.{column} <> '' AND NOT EXISTS (SELECT 1 FROM states WHERE machine = '{machine}' AND name = NEW.{column})"
    refused = f"BEGIN SELECT RAISE(ABORT, 'no declaration has this {column} of {table}'); END"
    return "\n".join(
        f"CREATE TRIGGER {table}_{column}_is_declared_{when.split()[0].lower()} BEFORE {when} ON {table} WHEN {unknown}\n{refused};"
        for when in ("INSERT", f"UPDATE OF {column}")
    )


_STATES = "CREATE TABLE states(machine TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (machine, name)) STRICT, WITHOUT ROWID;"
_ORDERS = f"""
CREATE TABLE orders(
  id TEXT PRIMARY KEY,
  dojo_order_id TEXT UNIQUE,
  flow TEXT NOT NULL CHECK (flow IN ({_one_of(FLOWS)})),
  state TEXT NOT NULL,
  status TEXT NOT NULL,
  table_id TEXT, waiter_id TEXT, party_id TEXT, reservation_id TEXT, reference TEXT,
  payable INTEGER NOT NULL CHECK (payable IN (0, 1)),
  attention INTEGER NOT NULL CHECK (attention IN (0, 1)),
  currency TEXT NOT NULL,
  total INTEGER NOT NULL, paid INTEGER NOT NULL, tips INTEGER NOT NULL,
  order_seq INTEGER NOT NULL,
  last_hash TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;
"""
_PAYMENTS = """
CREATE TABLE payments(
  intent_id TEXT PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders(id),
  state TEXT NOT NULL,
  paid INTEGER NOT NULL, tips INTEGER NOT NULL, refunded INTEGER NOT NULL,
  mismatch TEXT NOT NULL
) STRICT;
"""
_WHAT_HANGS_ON_THEM = f"""
{_order_indexes()}
CREATE INDEX payments_by_order ON payments(order_id);
{_only_declared("orders", "state", "order")}
{_only_declared("orders", "status", "fulfilment")}
{_only_declared("payments", "state", "payment")}
"""

_TELLING = """
CREATE TABLE attempts(
  task_id TEXT NOT NULL, fence INTEGER NOT NULL, number INTEGER NOT NULL, at TEXT NOT NULL, error TEXT NOT NULL,
  PRIMARY KEY (task_id, fence)
) STRICT, WITHOUT ROWID;
CREATE TABLE repeats(
  order_id TEXT NOT NULL, source TEXT NOT NULL, message_id TEXT NOT NULL, times INTEGER NOT NULL CHECK (times > 0), last_at TEXT NOT NULL,
  PRIMARY KEY (order_id, source, message_id)
) STRICT, WITHOUT ROWID;
"""
"""What no entry tells and people want to know: attempts that failed, and how often a message came again. Nothing is decided by them."""

_BY_TIME = "CREATE INDEX journal_by_time ON journal(at);"
"""For what happened in a span of time, wherever in the journal it stands: nothing is put in order by it."""

MIGRATIONS = {
    # Until then the states stood in CHECKs, which a file keeps for ever: a later declaration could not store its own.
    2: f"""
    ALTER TABLE payments RENAME TO payments_1;
    ALTER TABLE orders RENAME TO orders_1;
    {_STATES}
    {_ORDERS}
    {_PAYMENTS}
    INSERT INTO states SELECT name, key FROM machines, json_each(machines.declaration, '$.states') WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO orders SELECT * FROM orders_1;
    INSERT INTO payments SELECT * FROM payments_1;
    DROP TABLE payments_1;
    DROP TABLE orders_1;
    {_WHAT_HANGS_ON_THEM}
    """,
    # Until then no index knew the flow, an attempt that failed left nothing once the next one was made, and a repeat nothing at all.
    # The step before makes all indexes that there are now.
    # The entries of a day were looked for in the whole journal.
    3: _TELLING + (_BY_TIME + _order_indexes()).replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"),
}
"""The statements that lead to each schema from the one before it. A journal is never between two: each goes in one transaction."""

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
{_BY_TIME}
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
{_STATES}
{_ORDERS}
{_PAYMENTS}
{_WHAT_HANGS_ON_THEM}
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
CREATE TABLE venue(name TEXT PRIMARY KEY, edition TEXT NOT NULL, value TEXT NOT NULL CHECK (json_valid(value))) STRICT;
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
  attempts INTEGER NOT NULL, refusals INTEGER NOT NULL, fence INTEGER NOT NULL,
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
CREATE TABLE bookings(
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ({_one_of(booking.KINDS)})),
  dojo_id TEXT NOT NULL,
  standing TEXT NOT NULL CHECK (standing IN ({_one_of(booking.STANDINGS)})),
  start_time TEXT NOT NULL, end_time TEXT,
  created_at TEXT NOT NULL,
  body TEXT NOT NULL CHECK (json_valid(body)),
  CHECK (kind = 'party' OR end_time IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX bookings_by_dojo_id ON bookings(kind, dojo_id) WHERE standing = 'current';
CREATE INDEX bookings_by_time ON bookings(kind, standing, created_at, id, start_time, end_time);
CREATE INDEX bookings_by_end ON bookings(kind, standing, end_time, start_time, created_at, id);
CREATE TABLE booking_tables(
  booking_id TEXT NOT NULL REFERENCES bookings(id),
  table_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  standing TEXT NOT NULL CHECK (standing IN ('current', 'left')),
  start_time TEXT NOT NULL, end_time TEXT,
  created_at TEXT NOT NULL,
  PRIMARY KEY (booking_id, table_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX party_at_table ON booking_tables(table_id) WHERE kind = 'party' AND standing = 'current';
CREATE INDEX booking_tables_by_time ON booking_tables(kind, table_id, standing, created_at, booking_id, start_time, end_time);
CREATE TABLE guests(booking_id TEXT PRIMARY KEY, salt TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE TABLE personal(order_id TEXT PRIMARY KEY, salt TEXT NOT NULL, data TEXT NOT NULL) STRICT;
{_TELLING}
"""
