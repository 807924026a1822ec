"""What happened to one order, as people ask for it: a row for each thing that was said or done, with all that belongs to it.

An entry of the journal is one fact; a person asks what came, what became of it, and how often it had to be tried. So the entries of one
decision are one row; an event that came twice is one row; a call with its retries is one row, whose attempts are those that failed and
the one that did not. Attention stands in rows of its own. Pure: entries, tasks, failures and repeats in, rows out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from workflow.entry import Facts, Json
from workflow.journal.reads import StoredEntry, StoredFailure, StoredRepeat, StoredTaskRow

FROM_DOJO, FROM_TILL, OUT, PERSON, ITSELF = "from Dojo", "from the till", "we call", "a person", "by itself"
ARROWS = {FROM_DOJO: "<-", FROM_TILL: ">>", OUT: "->", PERSON: "!", ITSELF: "="}
CALLS = {"read_intent": "read the payment at Dojo", "order_updated": "tell Dojo of the order", "tell_till": "tell the till of the order"}
REQUESTS = {
    "create_order": "create the order",
    "open_order": "open the bill",
    "record_payment": "record a payment",
    "cancel_order": "cancel the order",
    "amend_order": "change the bill",
    "refuse_order": "refuse the order",
    "erase_order": "erase personal data",
    "migrate": "move the order to another machine",
    "requeue": "try the call again",
    "stop": "try the call no more",
    "sweep": "look at the open payment again",
}
LOCKS = {"take": "lock the order", "take_over": "take the lock over", "extend": "hold the lock longer", "release": "let the lock go"}
FOREVER = "9"
"""Behind every moment, as texts compare."""
REDACTED = "(redacted)"
PERSONAL_FIELDS = frozenset({"bill.displayName", "bill.items.note", "bill.items.subItems.note", "bill.items.modifiers.note", "personal"})
"""Paths in an entry's body that a page never shows. The journal holds no personal data; older versions journaled what stands here."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call, counted from 1, and its answer; `at` is UTC text."""

    number: int
    at: str
    answer: str
    is_good: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that happened. `way` is who spoke (a key of ARROWS), `outcome` what became of it, `notes` what else is to be known.

    `times` is how often it came, or was tried. A call that still waits has no `entries`. `is_problem`: it went wrong, or needed a person.
    `is_routine`: it may be left out where only what matters is shown.
    """

    way: str
    what: str
    at: str
    entries: tuple[StoredEntry, ...] = ()
    intent_id: str = ""
    outcome: str = ""
    times: int = 1
    attempts: tuple[Attempt, ...] = ()
    moves: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    actor: str = ""
    reason: str = ""
    is_problem: bool = False
    is_routine: bool = False

    @property
    def arrow(self) -> str:
        """Who spoke, as a sign."""
        return ARROWS[self.way]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known beside the entries: the order's tasks, attempts that failed, messages that came again."""

    tasks: Sequence[StoredTaskRow] = ()
    failures: Sequence[StoredFailure] = ()
    repeats: Sequence[StoredRepeat] = field(default=())


def timeline(entries: Iterable[StoredEntry], beside: Beside) -> list[Row]:
    """A row for each thing that happened, oldest first; calls that still wait come last."""
    told = [row for decided in _decisions(entries) for row in _rows(decided)]
    rows = [_with_attempts(row, beside) for row in told]
    return _seen_again(rows, beside.repeats) + list(_waiting(beside))


def _decisions(entries: Iterable[StoredEntry]) -> Iterator[tuple[StoredEntry, ...]]:
    """The entries of each decision: one cause, at one moment. Of an event and of a lock the first entry tells, so it begins another."""
    for _, group in groupby(entries, key=lambda entry: (entry.at, entry.actor, entry.cause)):
        decided: list[StoredEntry] = []
        for entry in group:
            if decided and entry.kind in ("event", "lock"):
                yield tuple(decided)
                decided = []
            decided.append(entry)
        yield tuple(decided)


def compact(rows: Iterable[Row]) -> list[Row]:
    """Without what is routine, and reads that brought nothing new since the last one in one row."""
    found: list[Row] = []
    for row in rows:
        if row.is_routine:
            continue
        if found and _is_same(found[-1], row):
            last = found[-1]
            found[-1] = replace(row, at=last.at, entries=(*last.entries, *row.entries), times=last.times + row.times)
        else:
            found.append(row)
    return found


def problems(rows: Iterable[Row]) -> list[Row]:
    """What went wrong, or needed a person until when, and what a person did about it."""
    return [row for row in rows if row.is_problem or row.way == PERSON or any(entry.kind == "attention" for entry in row.entries)]


def redacted(value: Json, path: str = "") -> Json:
    """The body of an entry as a page shows it: without the fields of PERSONAL_FIELDS, whatever they hold."""
    if path in PERSONAL_FIELDS and value not in ("", None):
        return REDACTED
    if isinstance(value, dict):
        return {name: redacted(each, f"{path}.{name}".lstrip(".")) for name, each in value.items()}
    return [redacted(each, path) for each in value] if isinstance(value, list) else value


def _rows(decided: tuple[StoredEntry, ...]) -> list[Row]:
    """One decision: what led to it, with every move, and its attention."""
    main = tuple(entry for entry in decided if entry.kind != "attention")
    rows = [_main_row(main)] if main else []
    return rows + [_attention_row(entry) for entry in decided if entry.kind == "attention"]


def _main_row(entries: tuple[StoredEntry, ...]) -> Row:
    first = next((entry for entry in entries if entry.kind != "transition"), entries[0])
    facts, (way, what) = first.entry().body, _spoken(first)
    moves = tuple(map(_move, (entry for entry in entries if entry.kind == "transition")))
    refused = str(facts.get("refused") or "")
    bad = bool(refused or facts.get("mismatch") or facts.get("ignored")) or facts.get("outcome") == "dead"
    return Row(
        way=way,
        what=what,
        at=first.at,
        entries=entries,
        intent_id=next((entry.payment_intent_id for entry in entries if entry.payment_intent_id), ""),
        outcome=f"refused: {refused}" if refused else _outcome(first, facts, moves),
        moves=moves,
        actor=first.actor.partition(":")[2] if way == PERSON else "",
        reason=str(facts.get("reason") or ""),
        is_problem=bad,
        is_routine=first.trigger == "sweep" and not moves,
    )


def _spoken(entry: StoredEntry) -> tuple[str, str]:
    """Who spoke, and what was wanted: from the entry's cause, which names the message."""
    word, _, about = entry.cause.partition(":")
    if word == "read" or word in CALLS:
        return OUT, CALLS.get(word, CALLS["read_intent"])
    ways = {"dojo": FROM_DOJO, "till": FROM_TILL, "operator": PERSON}
    way = ways.get(entry.actor.partition(":")[0], ITSELF)
    if entry.kind == "event":
        facts = entry.entry().body
        said = facts.get("event") if facts.get("ignored") else facts.get("status")
        return way, f"says {said or 'something'} of the payment"
    if entry.kind == "lock":
        return way, LOCKS.get(entry.trigger, entry.trigger)
    if word == "lock":
        return way, "lock the order"
    if word == "status":
        return way, f"kitchen: {about}"
    if word == "resolve":
        return way, about.replace("_", " ")
    return way, REQUESTS.get(word, (entry.trigger or word).replace("_", " "))


def _move(entry: StoredEntry) -> str:
    name = entry.machine.partition("@")[0]
    whose = {"order": "order", "payment": "payment", "fulfilment": "kitchen"}.get(name, name)
    return f"{whose} {entry.from_state or 'new'} → {entry.to_state}"


def _outcome(entry: StoredEntry, facts: Facts, moves: Sequence[str]) -> str:
    if entry.kind == "check":
        differs = str(facts.get("mismatch") or "").replace("_", " ").lower()
        older = ", older than a read before it" if facts.get("differs") else ""
        return f"{facts.get('status') or 'unknown at Dojo'}{differs and f', {differs}'}{older}"
    if entry.kind == "effect":
        return {"done": "taken", "dead": "given up"}.get(str(facts.get("outcome")), str(facts.get("outcome") or ""))
    if facts.get("ignored"):
        return "noted, not applied"
    return "accepted" if moves or entry.kind != "event" else "noted"


def _attention_row(entry: StoredEntry) -> Row:
    facts, raised = entry.entry().body, entry.trigger == "raise"
    what = str(facts["code"]).replace("_", " ").lower()
    return Row(
        way=ITSELF,
        what=f"{'needs a person' if raised else 'needs nobody any more'}: {what}",
        at=entry.at,
        entries=(entry,),
        intent_id=entry.payment_intent_id,
        outcome=str(facts["detail"]),
        is_problem=raised,
    )


def _with_attempts(row: Row, beside: Beside) -> Row:
    """A call with every attempt that is known: those that failed before this entry, and the one that it tells of."""
    if row.way != OUT:
        return row
    first = next((entry for entry in row.entries if entry.kind in ("check", "effect")), row.entries[0])
    facts = first.entry().body
    task_id = str(facts.get("task") or first.cause.partition(":")[2])
    tried = next((task.attempts for task in beside.tasks if task.id == task_id and task.status == "done"), 0)
    count = int(str(facts.get("attempts") or tried))
    if facts.get("outcome") == "dead":
        attempts = _failed(beside, task_id, first.at, count)
    else:
        failed = _failed(beside, task_id, first.at, count - 1 if count else None)
        attempts = (*failed, Attempt(count or len(failed) + 1, first.at, row.outcome, is_good=True))
    times = max([len(attempts), *(each.number for each in attempts)], default=1)
    return replace(row, attempts=attempts, times=times, is_problem=row.is_problem or times > 1)


def _failed(beside: Beside, task_id: str, until: str, count: int | None) -> tuple[Attempt, ...]:
    """The last `count` attempts of a task that failed until then; without a count those since it was begun, or requeued."""
    found = [Attempt(each.number, each.at, each.error) for each in beside.failures if each.task_id == task_id and each.at <= until]
    first = max((place for place, attempt in enumerate(found) if attempt.number == 1), default=0)
    return tuple(found[first:] if count is None else found[max(0, len(found) - count) :])


def _seen_again(rows: list[Row], repeats: Sequence[StoredRepeat]) -> list[Row]:
    """Events that came by both channels in one row, and of every message how often it came."""
    again = {(each.source, each.message_id): each for each in repeats}
    found: list[Row] = []
    of_event: dict[tuple[str, str], int] = {}
    for row in rows:
        first = next((entry for entry in row.entries if entry.kind == "event"), None)
        if first is None:
            found.append(_repeated(row, _requests_again(row, repeats)))
            continue
        facts = first.entry().body
        key = str(facts.get("id")), first.payment_intent_id
        repeated = again.get((f"event/{facts.get('channel')}", f"{key[0]}:{key[1]}"))
        came = 1 + (repeated.times if repeated else 0)
        if key in of_event:
            known = found[of_event[key]]
            found[of_event[key]] = _seen(replace(known, entries=(*known.entries, *row.entries), moves=known.moves + row.moves), came)
        else:
            of_event[key] = len(found)
            found.append(_seen(replace(row, times=0), came))
    return found


def _requests_again(row: Row, repeats: Sequence[StoredRepeat]) -> int:
    """How often the request that made the order came again."""
    word = row.entries[0].cause.partition(":")[0] if row.entries and row.entries[0].order_seq == 1 else ""
    return sum(each.times for each in repeats if each.source == word)


def _repeated(row: Row, more: int) -> Row:
    return _seen(row, more) if more else row


def _seen(row: Row, more: int) -> Row:
    times = row.times + more
    applied = "noted once" if row.outcome.startswith("noted") else "applied once"
    return replace(row, times=times, notes=(f"seen {_times(times)}, {applied}",) if times > 1 else ())


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _waiting(beside: Beside) -> Iterable[Row]:
    """Calls that were tried or will be, and of which no entry tells yet."""
    for task in beside.tasks:
        if task.status in ("done", "dead"):
            continue
        failed = _failed(beside, task.id, FOREVER, task.attempts - (task.status == "leased")) if task.attempts else ()
        state = {"leased": "under way now", "paused": "waits: no calls go there now"}.get(task.status, "waits for its next try")
        yield Row(
            way=OUT,
            what=CALLS[task.effect],
            at=failed[0].at if failed else task.created_at,
            intent_id=task.payment_intent_id,
            outcome=state,
            times=task.attempts,
            attempts=failed,
            is_problem=bool(failed),
        )


def _is_same(last: Row, row: Row) -> bool:
    """Nothing else happened between the two, and the second says no more than the first."""
    same = (last.way, last.what, last.intent_id, last.outcome) == (row.way, row.what, row.intent_id, row.outcome)
    once = not (row.moves or len(row.attempts) > 1 or len(last.attempts) > 1)
    return same and row.way == OUT and once and row.is_problem == last.is_problem and bool(row.entries)
