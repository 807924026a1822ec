"""What an auditor finds in a sealed copy besides the journal: views with their descriptions, for any SQLite viewer and for Datasette.

Data and SQL only; `journal/auditing.py` puts them into a copy. The SQL keeps to what SQLite 3.37 knows, the oldest that reads our tables
(STRICT): no arrows into JSON, no `format`, no `unixepoch`.

Money is in minor units, and once more as people read it. Times are UTC as journaled; a `date` is the venue's, whose days are kept in
`audit_base_days`, since SQL knows no time zones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workflow.entry import Json

PREFIX = "audit_"
"""Begins the names of everything that sealing adds, and of nothing else."""

MINOR, UTC, DATE, FLAG, TEXT, COUNT, HEX = "minor units", "UTC", "day at the venue", "0 or 1", "", "number", "lower-case hex"
"""Units of columns. What minor units are, the row's currency says."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it means, and its unit, "" for a text."""

    name: str
    description: str
    unit: str = TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view: the question that it answers is its title."""

    name: str
    title: str
    description: str
    columns: tuple[Column, ...]
    sql: str


def _shown(minor: str, currency: str) -> str:
    """SQL for an amount as people read it: `£1,048.20`, `-JPY 1,234`."""
    whole = f"printf('%,d', abs({minor}) / scale)"
    part = f"CASE WHEN decimals THEN '.' || substr('0000' || (abs({minor}) % scale), -decimals) ELSE '' END"
    sign = f"CASE WHEN {minor} < 0 THEN '-' ELSE '' END"
    return f"(SELECT {sign} || symbol || {whole} || {part} FROM audit_base_currencies WHERE code = {currency})"


def _date(at: str) -> str:
    """SQL for the venue's date of a moment."""
    day = f"SELECT CASE WHEN {at} < ends_at THEN date END FROM audit_base_days"
    return f"({day} WHERE begins_at <= {at} ORDER BY begins_at DESC, date DESC LIMIT 1)"


def _fact(name: str) -> str:
    return f"json_extract(j.body, '$.{name}')"


def _type(name: str) -> str:
    return f"json_type(j.body, '$.{name}')"


def _told() -> str:
    """SQL for what a line of `journal tail` says of an entry."""
    machine = "substr(j.machine, 1, instr(j.machine, '@') - 1)"
    states = "CASE j.from_state WHEN '' THEN '*' ELSE j.from_state END || ' -> ' || j.to_state"
    words = [f"CASE WHEN coalesce({_fact(name)}, '') NOT IN ('', 0) THEN ' ' || {_fact(name)} ELSE '' END" for name in TOLD]
    words[TOLD.index("outcome")] = f"CASE WHEN j.kind <> 'check' THEN {words[TOLD.index('outcome')]} ELSE '' END"
    other = " || ".join(["j.kind", "CASE j.trigger WHEN '' THEN '' ELSE ' ' || j.trigger END", *words])
    return f"CASE j.kind WHEN 'transition' THEN {machine} || ' ' || j.trigger || ' ' || {states} ELSE {other} END"


TOLD = ("event", "effect", "status", "outcome", "mismatch", "code", "refused", "requeued", "stopped", "name")
"""Facts of an entry that say what happened in a word or two, in this order; a check's outcome is its status."""

TABLES = """
CREATE TABLE audit_about(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE audit_descriptions(
  position INTEGER PRIMARY KEY, name TEXT NOT NULL, "column" TEXT NOT NULL, unit TEXT NOT NULL, description TEXT NOT NULL
) STRICT;
CREATE TABLE audit_base_days(date TEXT PRIMARY KEY, begins_at TEXT NOT NULL, ends_at TEXT NOT NULL) STRICT;
CREATE INDEX audit_base_days_by_beginning ON audit_base_days(begins_at, date);
CREATE TABLE audit_base_currencies(code TEXT PRIMARY KEY, symbol TEXT NOT NULL, decimals INTEGER NOT NULL, scale INTEGER NOT NULL) STRICT;
CREATE TABLE audit_base_codes(code TEXT PRIMARY KEY, why TEXT NOT NULL, next TEXT NOT NULL) STRICT;
CREATE TABLE audit_base_payments(
  order_id TEXT NOT NULL, payment_intent_id TEXT NOT NULL, state TEXT NOT NULL, currency TEXT NOT NULL,
  declared INTEGER, reserved INTEGER NOT NULL, captured_at TEXT,
  captured INTEGER NOT NULL, tips INTEGER NOT NULL, refunded INTEGER NOT NULL, counts INTEGER NOT NULL, in_words INTEGER NOT NULL,
  held_back TEXT NOT NULL, taken_off INTEGER NOT NULL, PRIMARY KEY (order_id, payment_intent_id)
) STRICT;
CREATE TABLE audit_base_takings(
  date TEXT NOT NULL, order_id TEXT NOT NULL, payment_intent_id TEXT NOT NULL, currency TEXT NOT NULL,
  captured INTEGER NOT NULL, tips INTEGER NOT NULL, refunded INTEGER NOT NULL, in_words INTEGER NOT NULL, held_back INTEGER NOT NULL,
  PRIMARY KEY (date, order_id, payment_intent_id)
) STRICT;
"""
"""What the views stand on beside the journal's own tables."""

HIDDEN = (
    *("audit_base_days", "audit_base_currencies", "audit_base_codes", "audit_base_payments", "audit_base_takings"),
    *("attempts", "attention", "booking_tables", "bookings", "guests", "inbox", "locks", "machines", "meta", "orders", "outbox", "parked"),
    *("payments", "personal", "repeats", "states", "tree_node", "venue", "watch"),
)
"""Tables that Datasette lists last, under "hidden"; everything in them can still be read."""

_MONEY = "in minor units: 4820 of GBP is £48.20"
_ORDER = Column("order_id", "Our id of the order.")
_DOJO_ORDER = Column("dojo_order_id", "Dojo's id of the order; empty for a bill opened at the till.")
_REFERENCE = Column("reference", "What staff call the order.")
_TABLE = Column("table_id", "The table's id.")
_INTENT = Column("payment_intent_id", "Dojo's id of the payment intent.")
_CURRENCY = Column("currency", "ISO 4217 code of every amount in the row.")
_SEQ = Column("seq", "Position of the entry in the journal: 1, 2, 3 and so on without gaps.", COUNT)


def _amount(name: str, what: str) -> tuple[Column, Column]:
    return Column(f"{name}_minor", f"{what}, {_MONEY}.", MINOR), Column(name, f"{name}_minor, as people read it.")


def _moment(name: str, what: str, date: str = "date") -> tuple[Column, Column]:
    return Column(name, f"{what}.", UTC), Column(date, f"The day at the venue of {name}.", DATE)


# Of a bill that is over, be it refunded in part, cancelled or expired, nothing is owed.
_OWED = """CASE
    WHEN o.payable THEN o.total - o.paid - (SELECT coalesce(sum(reserved), 0) FROM audit_base_payments p WHERE p.order_id = o.id)
    WHEN o.paid > o.total THEN o.total - o.paid ELSE 0 END"""

ORDERS = View(
    name="audit_orders",
    title="Every order, and what came of it",
    description=(
        "One row an order, oldest first: its state when the copy was sealed, its bill, and what counts as paid. Equals "
        "tillproof orders list."
    ),
    columns=(
        *(_ORDER, _DOJO_ORDER, _REFERENCE, _TABLE),
        Column("flow", "order_and_pay: Dojo made it, with its payments; pay_later: Dojo made it unpaid; pay_only: opened at the till."),
        Column("state", "Where it stands; audit_states says what that means, audit_order_timeline how it came there."),
        Column("kitchen", "The kitchen's progress, in Dojo's words (audit_states, fulfilment)."),
        *_moment("created_at", "When it was recorded first"),
        *_moment("updated_at", "When something that Dojo is shown changed last", "updated_date"),
        _CURRENCY,
        *_amount("total", "What the bill comes to, without tips"),
        *_amount("paid", "What counts as paid, net of refunds, without tips"),
        *_amount("tips", "The tips that count, net of refunds"),
        *_amount("owed", "What is left to pay of a bill that is open, less what Dojo holds for it; below zero where too much was paid"),
        Column("payments", "How many payment intents it has.", COUNT),
        Column("needs_a_person", "Codes of what needs a person now; audit_stuck says why."),
        Column("entries", "How many journal entries it has.", COUNT),
        Column("last_hash", "Hash of its newest entry.", HEX),
    ),
    sql=f"""
SELECT o.id AS order_id, o.dojo_order_id, o.reference, o.table_id, o.flow, o.state, o.status AS kitchen,
  o.created_at, {_date("o.created_at")} AS date, o.updated_at, {_date("o.updated_at")} AS updated_date, o.currency,
  o.total AS total_minor, {_shown("o.total", "o.currency")} AS total,
  o.paid AS paid_minor, {_shown("o.paid", "o.currency")} AS paid,
  o.tips AS tips_minor, {_shown("o.tips", "o.currency")} AS tips,
  o.owed AS owed_minor, {_shown("o.owed", "o.currency")} AS owed,
  (SELECT count(*) FROM audit_base_payments p WHERE p.order_id = o.id) AS payments,
  coalesce((SELECT group_concat(code, ', ') FROM (SELECT DISTINCT code FROM attention a WHERE a.order_id = o.id ORDER BY code)), '')
    AS needs_a_person,
  o.order_seq AS entries, o.last_hash
FROM (SELECT o.*, {_OWED} AS owed FROM orders o) o ORDER BY o.created_at, o.id
""",
)

TIMELINE = View(
    name="audit_order_timeline",
    title="What happened to each order, step by step",
    description="One row for each journal entry of an order, in the order in which they were decided. Every hash can be checked.",
    columns=(
        _ORDER,
        Column("order_seq", "Number of the entry within its order.", COUNT),
        _SEQ,
        *_moment("at", "When it was decided"),
        Column("what", "What happened, in short."),
        Column("kind", "transition, payment, event, check, effect, lock, attention, operator or system."),
        Column("machine", "order, payment or fulfilment (the kitchen), where it is a transition."),
        Column("trigger", "What moved it, as the declaration names it."),
        Column("from_state", "The state before."),
        Column("to_state", "The state after."),
        _INTENT,
        Column("actor", "Who: dojo, outbox, till:NAME, operator:NAME."),
        Column("cause", "The message that led here."),
        Column("body", "The facts, as canonical JSON; amounts in minor units."),
        Column("hash", "Hash of the entry.", HEX),
    ),
    sql=f"""
SELECT j.order_id, j.order_seq, j.seq, j.at, {_date("j.at")} AS date, {_told()} AS what, j.kind,
  substr(j.machine, 1, max(instr(j.machine, '@') - 1, 0)) AS machine, j.trigger, j.from_state, j.to_state,
  j.payment_intent_id, j.actor, j.cause, j.body, j.hash
FROM journal j WHERE j.order_id <> '' ORDER BY j.order_id, j.order_seq
""",
)

PAYMENTS = View(
    name="audit_payments",
    title="Every payment",
    description=(
        "One row for each payment intent of an order: what was captured, what was given back, and whether it counts. Only rows with "
        "counts 1 are in the takings; of a payment that a difference holds back Dojo's figures are in audit_mismatches."
    ),
    columns=(
        *(_INTENT, _ORDER, _REFERENCE),
        Column(
            "state", "Where it stands (audit_states, payment): only reconciled means that it was read at Dojo and agrees with the order."
        ),
        _CURRENCY,
        *_amount("declared", "What Dojo declared that it is for, without tips; empty where it declared nothing"),
        *_moment("captured_at", "When we recorded its capture; empty while it never counted"),
        *_amount("captured", "What was captured and counted, without tips, before refunds"),
        *_amount("tips", "The tips captured and counted, before refunds"),
        *_amount("refunded", "What was given back"),
        *_amount("net", "Captured and tips, less what was given back"),
        Column("counts", "1: it is in the takings; 0: not read yet, held back, given up, or taken off this order.", FLAG),
        Column("in_words", "1: it counts as Dojo declared it, and no read has confirmed it.", FLAG),
        Column("held_back", "The difference that keeps it from counting; audit_mismatches has the figures."),
        Column("taken_off", "1: a person took it off this order.", FLAG),
    ),
    sql=f"""
SELECT p.payment_intent_id, p.order_id, o.reference, p.state, p.currency,
  p.declared AS declared_minor, {_shown("p.declared", "p.currency")} AS declared,
  p.captured_at, {_date("p.captured_at")} AS date,
  p.captured AS captured_minor, {_shown("p.captured", "p.currency")} AS captured,
  p.tips AS tips_minor, {_shown("p.tips", "p.currency")} AS tips,
  p.refunded AS refunded_minor, {_shown("p.refunded", "p.currency")} AS refunded,
  p.captured + p.tips - p.refunded AS net_minor, {_shown("(p.captured + p.tips - p.refunded)", "p.currency")} AS net,
  p.counts, p.in_words, p.held_back, p.taken_off
FROM audit_base_payments p JOIN orders o ON o.id = p.order_id ORDER BY p.captured_at, p.payment_intent_id
""",
)

TAKINGS = View(
    name="audit_takings_by_day",
    title="Each day's takings",
    description=(
        "One row for each day of the venue on which money moved, and currency. A payment belongs to the day on which its capture was "
        "recorded, a refund to that on which we learnt of it. Equals the till's side of tillproof takings DATE."
    ),
    columns=(
        Column("date", "The venue's day, midnight to midnight by its own clocks.", DATE),
        _CURRENCY,
        Column("payments", "How many payments were captured.", COUNT),
        *_amount("captured", "What was captured, without tips"),
        *_amount("tips", "The tips captured"),
        *_amount("refunded", "What was given back on this day, whenever it was captured"),
        *_amount("net", "Captured and tips, less what was given back"),
        *_amount("in_words", "Of captured and tips: what Dojo declared and no read has confirmed"),
        *_amount("held_back", "Not in the sums: payments that a difference keeps from counting"),
    ),
    sql=f"""
SELECT date, currency, payments, captured_minor, {_shown("captured_minor", "currency")} AS captured,
  tips_minor, {_shown("tips_minor", "currency")} AS tips, refunded_minor, {_shown("refunded_minor", "currency")} AS refunded,
  captured_minor + tips_minor - refunded_minor AS net_minor,
  {_shown("(captured_minor + tips_minor - refunded_minor)", "currency")} AS net,
  in_words_minor, {_shown("in_words_minor", "currency")} AS in_words, held_back_minor, {_shown("held_back_minor", "currency")} AS held_back
FROM (
  SELECT date, currency, sum(captured <> 0 OR tips <> 0) AS payments, sum(captured) AS captured_minor, sum(tips) AS tips_minor,
    sum(refunded) AS refunded_minor, sum(in_words) AS in_words_minor, sum(held_back) AS held_back_minor
  FROM audit_base_takings GROUP BY date, currency
) ORDER BY date, currency
""",
)

MISMATCHES = View(
    name="audit_mismatches",
    title="Where Dojo's payment and ours disagreed",
    description="One row for each read at Dojo that disagreed with the order, oldest first, and whether that still stands.",
    columns=(
        _SEQ,
        *_moment("at", "When it was read"),
        *(_ORDER, _REFERENCE, _INTENT),
        Column("code", "Which difference it was."),
        Column("detail", "The two values that disagreed."),
        _CURRENCY,
        *_amount("dojo_paid", "What Dojo said was paid, without tips, as far as it could be compared"),
        *_amount("dojo_tips", "What Dojo said of tips"),
        *_amount("dojo_refunded", "What Dojo said was given back"),
        Column("stands", "1: it is unsettled, and holds the payment back or calls a person.", FLAG),
    ),
    sql=f"""
SELECT j.seq, j.at, {_date("j.at")} AS date, j.order_id, o.reference, j.payment_intent_id,
  {_fact("mismatch")} AS code, {_fact("detail")} AS detail, o.currency,
  {_fact("differing[0]")} AS dojo_paid_minor, {_shown(_fact("differing[0]"), "o.currency")} AS dojo_paid,
  {_fact("differing[1]")} AS dojo_tips_minor, {_shown(_fact("differing[1]"), "o.currency")} AS dojo_tips,
  {_fact("differing[2]")} AS dojo_refunded_minor, {_shown(_fact("differing[2]"), "o.currency")} AS dojo_refunded,
  EXISTS (SELECT 1 FROM payments p WHERE p.intent_id = j.payment_intent_id AND p.order_id = j.order_id AND p.mismatch = {_fact("mismatch")})
    AND NOT EXISTS (
      SELECT 1 FROM journal later WHERE later.order_id = j.order_id AND later.order_seq > j.order_seq AND later.kind = 'check'
        AND later.payment_intent_id = j.payment_intent_id AND json_type(later.body, '$.stale') IS NULL
    ) AS stands
FROM journal j JOIN orders o ON o.id = j.order_id
WHERE j.kind = 'check' AND coalesce({_fact("mismatch")}, '') <> '' AND {_type("stale")} IS NULL ORDER BY j.seq
""",
)

_ABOUT = ", ".join(
    (
        *(_fact(name) for name in ("code", "requeued", "stopped", "lost", "id", "erased", "new_key", "url")),
        f"""CASE j.trigger
    WHEN 'amend' THEN 'bill of ' || {_shown(_fact("bill.totalAmount.value"), _fact("bill.totalAmount.currencyCode"))}
    WHEN 'resolve_takings' THEN {_fact("date")} || ': ' || {_fact("difference")}
    WHEN 'set_venue' THEN {_fact("name")} || CASE {_type("value")} WHEN 'true' THEN ': yes' WHEN 'false' THEN ': no' ELSE '' END
    WHEN 'migrate' THEN substr(j.machine, 1, instr(j.machine, '@') - 1) || ' ' || j.from_state || ' -> ' || j.to_state END""",
    )
)
"""SQL for what an act was about: the first of these that the entry has."""

OPERATOR_ACTIONS = View(
    name="audit_operator_actions",
    title="What people did by hand",
    description=(
        "One row for each act of a person, oldest first: who, what, and the reason given. Of operators all that they did or were refused; "
        "of the till's staff what they changed of a bill or the venue: amended, cancelled, refused, set."
    ),
    columns=(
        _SEQ,
        *_moment("at", "When it was done"),
        Column("role", "operator, or till for the till's staff."),
        Column("name", "Who: the name that the token was given to, or the account at the terminal."),
        Column("action", "What was done; refuse by an operator: it was asked for and refused."),
        *(_ORDER, _INTENT),
        Column("reason", "Why, in their own words; the till gives none for what it amends, cancels or sets."),
        Column(
            "about",
            "A code that needed a person, a task, a bill's new sum, a list or switch of the till's, states, a URL, what was erased, lost.",
        ),
        Column("refused", "Why it was refused; empty where it was done."),
    ),
    sql=f"""
SELECT j.seq, j.at, {_date("j.at")} AS date, substr(j.actor, 1, instr(j.actor || ':', ':') - 1) AS role,
  substr(j.actor, instr(j.actor || ':', ':') + 1) AS name, j.trigger AS action, j.order_id, j.payment_intent_id,
  coalesce({_fact("reason")}, '') AS reason, coalesce({_ABOUT}, '') AS about, coalesce({_fact("refused")}, '') AS refused
FROM journal j WHERE j.kind = 'operator' OR (j.actor LIKE 'operator:%' AND j.trigger IN ('refuse', 'migrate'))
  OR (j.kind = 'transition' AND j.trigger = 'cancel' AND j.machine LIKE 'order@%' AND (j.actor LIKE 'till:%' OR j.actor LIKE 'operator:%'))
ORDER BY j.seq
""",
)

STUCK = View(
    name="audit_stuck",
    title="What needed a person when the copy was sealed",
    description=(
        "attention: what was raised and not settled, as tillproof orders list --attention has it; task: a call to Dojo or the till that "
        "was given up, or waits in a pause; parked: a payment that Dojo told us of, whose order is not here."
    ),
    columns=(
        Column("kind", "attention, task or parked."),
        Column("code", "What it is: a code of attention, the call that waits, or parked."),
        *_moment("since", "Since when"),
        *(_ORDER, _REFERENCE, _TABLE, _INTENT),
        Column("detail", "The values that disagreed, or the last error."),
        Column("why", "What is wrong, in a sentence."),
        Column("next", "What to do about it."),
    ),
    sql=f"""
SELECT s.kind, s.code, s.since, {_date("s.since")} AS date, s.order_id, o.reference, o.table_id, s.payment_intent_id, s.detail,
  coalesce(c.why, s.why) AS why, coalesce(c.next, s.next) AS next
FROM (
  SELECT 'attention' AS kind, code, since, order_id, payment_intent_id, detail, '' AS why, '' AS next FROM attention
  UNION ALL SELECT 'task', effect || ' ' || status,
    strftime('%Y-%m-%dT%H:%M:%S', created_at_ms / 1000, 'unixepoch') || printf('.%03dZ', created_at_ms % 1000), order_id, intent_id,
    last_error, 'A call was given up, or its destination takes none.', 'tillproof outbox list --status ' || status
    FROM outbox WHERE status IN ('dead', 'paused')
  UNION ALL SELECT 'parked', 'parked', since, coalesce(external_id, ''), intent_id, coalesce(dojo_order_id, ''),
    'Dojo told of a payment whose order is not here.', 'Wait for its order; after a while attention is raised.' FROM parked
) s LEFT JOIN orders o ON o.id = s.order_id LEFT JOIN audit_base_codes c ON s.kind = 'attention' AND c.code = s.code
ORDER BY s.since, s.kind, s.order_id, s.code, s.payment_intent_id
""",
)

DUPLICATES = View(
    name="audit_duplicates",
    title="What came more than once",
    description=(
        "told again: Dojo said the same of a payment more than once, by different messages or channels; applied says how often it "
        "moved the payment. paid again: a bill was paid when other payments had covered it. A message with the id of one that was answered "
        "before is answered alike and leaves no entry, so it cannot be counted here."
    ),
    columns=(
        Column("kind", "told again, or paid again."),
        *(_ORDER, _INTENT),
        Column("what", "What was said, or what was paid too much."),
        Column("times", "How often it was said; for paid again, how many payments the bill has that count.", COUNT),
        Column("applied", "How many of the messages moved the payment; for paid again 1: this payment counts.", COUNT),
        Column("channels", "By which channels it came: capability, webhook."),
        *_moment("first_at", "When it was said first, or captured", "first_date"),
        *_moment("last_at", "When it was said last", "last_date"),
        _CURRENCY,
        *_amount("excess", "What was paid beyond the bill by this payment"),
        Column("settled", "1: a person has seen it.", FLAG),
    ),
    sql=f"""
SELECT d.kind, d.order_id, d.payment_intent_id, d.what, d.times, d.applied, d.channels, d.first_at, {_date("d.first_at")} AS first_date,
  d.last_at, {_date("d.last_at")} AS last_date, d.currency, d.excess_minor, {_shown("d.excess_minor", "d.currency")} AS excess, d.settled
FROM (
  SELECT 'told again' AS kind, e.order_id, e.payment_intent_id, e.event || ' ' || e.status AS what, count(*) AS times,
    sum(EXISTS (
      SELECT 1 FROM journal m WHERE m.order_id = e.order_id AND m.order_seq > e.order_seq AND m.cause = e.cause
        AND m.kind = 'transition' AND m.payment_intent_id = e.payment_intent_id
        AND NOT EXISTS (
          SELECT 1 FROM journal other WHERE other.order_id = e.order_id AND other.order_seq > e.order_seq
            AND other.order_seq < m.order_seq AND other.kind = 'event'
        )
    )) AS applied,
    (SELECT group_concat(channel, ', ') FROM (
      SELECT DISTINCT json_extract(body, '$.channel') AS channel FROM journal c WHERE c.kind = 'event' AND c.order_id = e.order_id
        AND c.payment_intent_id = e.payment_intent_id AND json_extract(body, '$.status') = e.status ORDER BY channel
    )) AS channels,
    min(e.at) AS first_at, max(e.at) AS last_at, '' AS currency, NULL AS excess_minor, NULL AS settled
  FROM (
    SELECT seq, order_id, order_seq, payment_intent_id, cause, at, json_extract(body, '$.event') AS event,
      coalesce(json_extract(body, '$.status'), '') AS status
    FROM journal WHERE kind = 'event'
  ) e GROUP BY e.order_id, e.payment_intent_id, e.event, e.status HAVING count(*) > 1
  UNION ALL
  SELECT 'paid again', f.order_id, f.payment_intent_id, 'beyond the bill', f.times, 1, '', f.captured_at, f.captured_at, f.currency,
    min(f.amount, f.before + f.amount - f.total), f.settled
  FROM (
    SELECT p.order_id, p.payment_intent_id, b.captured_at, p.paid AS amount, o.total, o.currency,
      coalesce(json_extract(o.body, '$.acknowledged.OVERPAID') = o.paid, 0) AS settled,
      count(*) OVER (PARTITION BY p.order_id) AS times,
      sum(p.paid) OVER (PARTITION BY p.order_id ORDER BY b.captured_at, p.intent_id) - p.paid AS before
    FROM (SELECT order_id, intent_id, intent_id AS payment_intent_id, paid, tips FROM payments) p
    JOIN audit_base_payments b ON b.order_id = p.order_id AND b.payment_intent_id = p.intent_id
    JOIN orders o ON o.id = p.order_id
    WHERE b.counts AND p.paid + p.tips > 0
  ) f WHERE f.before > 0 AND f.before + f.amount > f.total AND f.amount > 0
) d ORDER BY d.first_at, d.kind, d.order_id, d.payment_intent_id, d.what
""",
)

STATES = View(
    name="audit_states",
    title="What each state means",
    description="One row for each state of an order, a payment or the kitchen, in the words of the newest declaration that has it.",
    columns=(
        Column("machine", "order, payment, or fulfilment for the kitchen."),
        Column("state", "The name of the state, as the other views have it."),
        Column("meaning", "What it means."),
        Column("is_final", "1: nothing follows it.", FLAG),
    ),
    sql="""
SELECT m.name AS machine, s.key AS state, s.value AS meaning,
  instr(' ' || json_extract(m.declaration, '$.final') || ' ', ' ' || s.key || ' ') > 0 AS is_final
FROM machines m, json_each(m.declaration, '$.states') s
WHERE NOT EXISTS (
  SELECT 1 FROM machines later, json_each(later.declaration, '$.states') again
  WHERE later.name = m.name AND again.key = s.key AND (later.first_at, later.hash) > (m.first_at, m.hash)
) ORDER BY m.name, s.key
""",
)

VIEWS = (ORDERS, TIMELINE, PAYMENTS, TAKINGS, MISMATCHES, OPERATOR_ACTIONS, STUCK, DUPLICATES, STATES)

_OWN = {
    "audit_about": "What this file is: which journal, sealed when, how far it is signed, in which time zone a date is.",
    "audit_descriptions": "What each view and column means, and its unit.",
    "journal": "The journal itself: append-only, each entry hashed over its order's previous one, all of them in one signed Merkle tree.",
    "checkpoint": "Signed heads of the tree: so many entries, this root, in C2SP's form of a signed note.",
    "machines": "Every declaration that was ever in force, by name and hash; entries name theirs.",
    "orders": "Each order as it stands, with the columns that are searched; audit_orders is easier to read.",
    "payments": "Each payment as it stands; audit_payments is easier to read.",
    "attention": "What needs a person; audit_stuck is easier to read.",
    "outbox": "What was to be told to Dojo and to the till, and what became of it.",
}
"""Tables that are described in a word."""


def descriptions() -> Iterator[tuple[str, str, str, str]]:
    """(view or table, column or "", unit, description), views first, each before its columns."""
    for view in VIEWS:
        yield view.name, "", "", f"{view.title}. {view.description}"
        yield from ((view.name, column.name, column.unit, column.description) for column in view.columns)
    yield from ((name, "", "", description) for name, description in _OWN.items())


def datasette_metadata(database: str, zone: str) -> dict[str, Json]:
    """Datasette's metadata for a copy that it knows as `database`: the file's name without its ending. For 0.64 and later, and 1.0.

    Units stand in the descriptions: 1.0 has no units of its own, and older ones know none of money.
    """
    tables: dict[str, Json] = {
        view.name: {
            "title": f"{view.title} ({view.name})",
            "description": f"{view.description} Dates are those of {zone}.",
            "columns": {
                column.name: f"{column.description}{f' ({column.unit})' if column.unit not in column.description else ''}"
                for column in view.columns
            },
        }
        for view in VIEWS
    }
    others: dict[str, dict[str, Json]] = {name: {} for name in HIDDEN} | {name: {"description": text} for name, text in _OWN.items()}
    tables |= {name: {**found, "hidden": name in HIDDEN} for name, found in others.items()}
    title = "Tillproof: a sealed journal"
    description = f"Begin with the views: {', '.join(view.name for view in VIEWS)}. What this file is stands in audit_about."
    return {"title": title, "databases": {database: {"title": title, "description": description, "tables": tables}}}
