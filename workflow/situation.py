"""Where an order stands, in two sentences for a shift manager: why it is so, and what happens next, by itself or by a person.

Where something is wrong both come from `attention.py`, and besides what the last try of the call behind it brought, and when the next one
is. Otherwise the state's meaning is the declaration's; of one that rests it is said when Dojo took the news. What is next follows from what
waits in the outbox, from the lock and from the payments, as rows below: the first that fits. What is not known is said to be so.
Money comes first of all: what counts, what went back, what Dojo holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workflow.attention import NOT_ON_TILL, Concern, of_order
from workflow.declaration import target_of
from workflow.effects import DESTINATION_NAMES, TILL, OrderUpdated, ReadIntent, TellTill, destination_of
from workflow.entry import Entry
from workflow.journal.reads import SqliteReads, StoredTaskRow
from workflow.lifecycle import ORDER
from workflow.money import Money
from workflow.order import HELD, IGNORED, TAKEN, UNPAID, Order
from workflow.retries import HORIZON_ATTEMPTS, NOT_FOUND_RETRIES

OPEN = ("leased", "pending", "paused")
DEAD = "OUTBOX_DEAD"
ACTS = {
    ReadIntent.name: ("Dojo is asked about the payment", "Dojo could not be asked about the payment"),
    OrderUpdated.name: ("Dojo is told of the order", "Dojo could not be told of the order"),
    TellTill.name: ("the till is told of the order", "the till could not be told of the order"),
}
"""What each effect does, and what it did not."""
_RESTING = target_of(ORDER, "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Two sentences or so each: why the order is as it is, and what is next. `needs_person` where nothing sets it right by itself."""

    why: str
    next: str
    needs_person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beside the order: its tasks, Dojo's last word, when the sweep asks next (UTC text), and the present moment.

    `no_from_till` is why the till refused the order, in its words; `moved_at` since when it is in its state, UTC text, "" where unknown.
    """

    tasks: Sequence[StoredTaskRow] = ()
    last_word: Entry | None = None
    no_from_till: str = ""
    moved_at: str = ""
    next_look: str | None = None
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How moments (UTC text), money and tables (their id) are written for whoever reads the sentences."""

    moment: Callable[[str], str] = str
    money: Callable[[Money], str] = str
    table: Callable[[str], str] = "Table {}".format


def situation_of(reads: SqliteReads, order: Order, at: str, spelling: Spelling | None = None) -> Situation:
    """The situation of an order of the journal at the moment `at`."""
    word = reads.last_word(order.id)
    known = Known(
        tasks=reads.tasks_of(order.id),
        last_word=word.entry() if word else None,
        no_from_till=reads.no_from_till(order.id) if order.is_closed else "",
        moved_at=reads.moved_at([order.id]).get(order.id, ""),
        next_look=reads.next_look(order.id),
        at=at,
    )
    return situation(order, known, spelling or Spelling())


def situation(order: Order, known: Known, spelling: Spelling) -> Situation:
    """Why and next, from what is known; pure."""
    found = of_order(order)
    if not found:
        why = " ".join(_reasons(order, known, spelling))
        return Situation(why=why, next=next(_following(order, known, spelling)), needs_person=False)
    first, others = found[0], [concern.code for concern in found[1:]]
    told = [first.told(spelling.money, spelling.table)]
    if not first.is_paid_not_on_till:
        told += _money(order, spelling)
    told += _till_said(known)
    failed = _failure_behind(found, known.tasks)
    if failed:
        told.append(_failure(failed))
    if others:
        told.append(f"Besides: {', '.join(code.replace('_', ' ').lower() for code in others)}.")
    again = f" {_of_task(failed, known, spelling)}" if failed and failed.status in OPEN else ""
    return Situation(why=" ".join(told), next=f"{first.next}{again}", needs_person=True)


def past_situation(order: Order, spelling: Spelling | None = None) -> Situation:
    """The same of an order as it was: of what waited then no entry tells when it was due."""
    then = situation(order, Known(at=order.updated_at), spelling or Spelling())
    told = "This is the past: what came of it stands in the order as it is now."
    return Situation(why=then.why, next=told, needs_person=then.needs_person)


def _reasons(order: Order, known: Known, spelling: Spelling) -> Iterator[str]:
    """What came in of the bill, the state in the declaration's words, what is not known, and what was heard last."""
    yield from _money(order, spelling)
    yield _state(order, known, spelling)
    yield from _till_said(known)
    if failed := _last_failure(known.tasks):
        yield _failure(failed)
        if failed.effect == ReadIntent.name:
            yield "Whether and how much the customer paid is unknown until Dojo answers."
    if known.last_word:
        yield f"Dojo was last heard at {spelling.moment(known.last_word.at)}: {said(known.last_word)}."


def _money(order: Order, spelling: Spelling) -> Iterator[str]:
    """What came in, beside the bill where that is another sum, and what went back of what counted; nothing where nothing did."""
    if order.paid.value or order.tips.value:
        of = f" of {spelling.money(order.total)}" if order.paid != order.total else ""
        tip = f", and {spelling.money(order.tips)} tip" if order.tips.value else ""
        yield f"{spelling.money(order.paid)}{of} is paid{tip}."
    if order.given_back.value:
        yield f"{spelling.money(order.given_back)} that was paid went back to the customer."


def _state(order: Order, known: Known, spelling: Spelling) -> str:
    """The declaration's words; of the state in which an order rests, since when it does."""
    if order.state == _RESTING and known.moved_at:
        return f"Dojo took our news of the money at {spelling.moment(known.moved_at)}."
    return ORDER.states.get(order.state, f"The order is {order.state}, a state of an earlier declaration.")


def _till_said(known: Known) -> Iterator[str]:
    if known.no_from_till:
        yield f"The till said why it refused: “{known.no_from_till}”."


def _last_failure(tasks: Sequence[StoredTaskRow]) -> StoredTaskRow | None:
    return next((task for task in reversed(tasks) if task.status in OPEN and task.last_error), None)


def _failure_behind(found: Sequence[Concern], tasks: Sequence[StoredTaskRow]) -> StoredTaskRow | None:
    """The call that failed last: of those behind what needs a person the gravest's first, also given up, then of those tried again."""
    for concern in found:
        for place, task in reversed([*enumerate(tasks)]):
            later = ((each.effect, each.payment_intent_id) for each in tasks[place + 1 :] if each.status == "done")
            is_open = task.status in OPEN or (task.status == "dead" and (task.effect, task.payment_intent_id) not in later)
            if task.last_error and is_open and _is_behind(task, concern):
                return task
    return _last_failure(tasks)


def _is_behind(task: StoredTaskRow, concern: Concern) -> bool:
    """What needs a person may come of it; a call that was given up, and left so, is behind nothing but what it was for."""
    if concern.code == NOT_ON_TILL and not concern.payment_intent_id:
        return task.effect == TellTill.name
    return concern.payment_intent_id == task.payment_intent_id and (concern.code == DEAD or concern.payment_intent_id != "")


def _failure(task: StoredTaskRow) -> str:
    return f"{_capital(ACTS[task.effect][1])}: {task.last_error}."


def said(entry: Entry) -> str:
    """What Dojo said, in a few words: an event is what it announced, a check what was read."""
    status = str(entry.body.get("status") or "") or "nothing that is known"
    return f"it announced {status}" if entry.kind == "event" else f"the payment reads {status}"


def _following(order: Order, known: Known, spelling: Spelling) -> Iterator[str]:
    """What is next, the surest first; always something."""
    yield from (_of_task(task, known, spelling) for task in _waiting(known.tasks))
    states = {payment.state for payment in order.payments.values() if not payment.detached}
    look = f" We ask Dojo by ourselves {_at(known.next_look, known, spelling)}." if known.next_look else ""
    left = spelling.money(Money(max(0, order.total.value - order.paid.value - order.reserved), order.currency))
    besides = f" {left} is left to pay besides." if order.is_payable and order.reserved else ""
    if order.lock and order.lock.is_live(known.at) and not order.is_final:
        until = spelling.moment(order.lock.expires_at)
        yield f"{order.lock.holder or 'A card machine'} holds the bill until {until}: wait for the payment."
    if states & IGNORED:
        yield f"Waiting for Dojo to give the refused payment back.{look}"
    if states & TAKEN:
        yield f"Waiting for a read of the payment, which settles what counts.{look}"
    if states & HELD:
        held = spelling.money(Money(order.reserved, order.currency)) if order.reserved else "money"
        yield f"Waiting for Dojo to capture the {held} that it holds.{besides}{look}"
    rest = f"the rest, {left}" if order.paid.value else left
    if states & UNPAID and order.is_payable:
        yield f"Waiting for the customer to finish paying: {left} is left.{look}"
    if order.is_payable and any(payment.is_short for payment in order.payments.values()):
        yield f"Dojo took less than the payment was made for: it may take {rest}, later, or a customer pays it.{look}"
    if order.is_payable:
        yield f"Waiting for a customer to pay {rest}."
    if known.next_look:
        yield f"Nothing has to be done.{look}"
    if any(task.status == "dead" for task in known.tasks):
        yield "Nothing more happens by itself: a call was given up, and a person left it so."
    yield "Nothing more to do."


def _waiting(tasks: Sequence[StoredTaskRow]) -> list[StoredTaskRow]:
    """What is under way or due first; what is for the till last, since it settles no money."""
    found = [task for task in tasks if task.status in OPEN]
    return sorted(
        found, key=lambda task: (destination_of(task.effect) == TILL, OPEN.index(task.status), task.next_at or "", task.created_at)
    )


def _of_task(task: StoredTaskRow, known: Known, spelling: Spelling) -> str:
    act, who = ACTS[task.effect][0], DESTINATION_NAMES[destination_of(task.effect)]
    if task.status == "leased":
        again = f", attempt {task.attempts}" if task.attempts > 1 else ""
        return f"{_capital(act)} right now{again}."
    if task.status == "paused":
        return f"{_capital(act)} as soon as {who} takes our calls again: none goes there now (see Needs attention)."
    if task.attempts == 0:
        return f"{_capital(act)} in a moment."
    least = NOT_FOUND_RETRIES + 1 if task.effect == ReadIntent.name else HORIZON_ATTEMPTS
    of = f" of {least} or more" if task.attempts < least else ""
    return f"{_capital(act)} again {_at(task.next_at or '', known, spelling)}, attempt {task.attempts + 1}{of}."


def _at(moment: str, known: Known, spelling: Spelling) -> str:
    """When that is; what is due already happens as soon as somebody comes to it."""
    return f"at {spelling.moment(moment)}" if moment > known.at else "in a moment"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
