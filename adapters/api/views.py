"""What auditors see: the shapes of INTERFACE's `/api` answers, and how they are made from what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from workflow.attention import Concern, of_order
from workflow.journal.port import Resolution
from workflow.journal.reads import StoredEntry, StoredTaskRow
from workflow.money import Money
from workflow.order import Order, Payment
from workflow.past import PastOrder, PersonalThen
from workflow.proof import ProvenReceipt
from workflow.situation import Situation, past_situation
from workflow.upkeep import Report

T = TypeVar("T")
BY_ID = "Table {}".format
"""How a table is called in a sentence where nobody knows the till's name for it."""


class View(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of the answers."""


class Page(View, Generic[T], frozen=True, kw_only=True):
    """A page of a list; `after` is the token of the next one, null on the last."""

    data: list[T]
    after: str | None


class AttentionView(View, frozen=True, kw_only=True):
    """Something that needs a person, in sentences.

    `paid_not_on_till`: Dojo took a customer's money, and the till does not have it; `amount` is that sum, null where nobody read it yet,
    or where no order has it: then `detail` says it.
    """

    code: str
    since: str
    detail: str
    payment_intent_id: str
    paid_not_on_till: bool
    amount: Money | None
    why: str
    next: str


class OpenAttention(AttentionView, frozen=True, kw_only=True):
    """The same with its order (empty for the service itself) and its table."""

    order_id: str
    table_id: str | None


class AttentionPage(View, frozen=True, kw_only=True):
    """Everything that needs a person."""

    data: list[OpenAttention]


class PaymentView(View, frozen=True, kw_only=True):
    """A payment intent of an order; amounts as they count now."""

    payment_intent_id: str
    state: str
    paid_amount: Money
    tips_amount: Money
    refunded_amount: Money


class LockView(View, frozen=True, kw_only=True):
    """The lock that Dojo holds until `expires_at`, or held until then without releasing it; `holder` is for whom, "" where unknown."""

    lock_id: str
    expires_at: str
    holder: str


class AsOf(View, frozen=True, kw_only=True):
    """The past: how an order was when the journal had `seq` entries, the last of them of `at`; `entries_since` of its own came later.

    `personal_data` was never in the journal: none, kept beside it as it was, changed since, or gone.
    """

    seq: int
    at: str
    entries_since: int
    personal_data: PersonalThen


class OrderView(View, frozen=True, kw_only=True):
    """An order as an auditor sees it; no personal data. `machine` is the declaration in force. `erased_at`: when personal data were erased.

    `why` and `next` say in sentences why it is so and what happens next; in a list they are left out. `as_of` is there in the past alone.
    """

    id: str
    dojo_order_id: str | None
    flow: str
    state: str
    status: str
    reference: str | None
    table_id: str | None
    total_amount: Money
    paid_amount: Money
    tips_amount: Money
    payable: bool
    payments: list[PaymentView]
    attention: list[AttentionView]
    lock: LockView | None
    order_seq: int
    machine: str
    created_at: str
    updated_at: str
    erased_at: str | None
    why: str | msgspec.UnsetType = msgspec.UNSET
    next: str | msgspec.UnsetType = msgspec.UNSET
    as_of: AsOf | msgspec.UnsetType = msgspec.UNSET


class EntryView(View, frozen=True, kw_only=True, rename=None):
    """An entry of the journal, columns as stored, `body` parsed."""

    seq: int
    order_id: str
    order_seq: int
    at: str
    kind: str
    machine: str
    trigger: str
    from_state: str
    to_state: str
    payment_intent_id: str
    actor: str
    cause: str
    body: msgspec.Raw
    prev_hash: str
    hash: str


class TaskView(View, frozen=True, kw_only=True):
    """A task of the outbox; `next_at` is null unless it waits."""

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


class FaultView(View, frozen=True, kw_only=True):
    """An entry that is not what was written, and in words why."""

    seq: int
    reason: str


class VerificationView(View, frozen=True, kw_only=True):
    """The last verification of the whole journal: when it ended (null before the first has), and the first entry that was wrong.

    Entry 0 stands for the file as a whole.
    """

    at: str | None
    entries: int
    seconds: float
    ok: bool | None
    first_bad: FaultView | None


class Receipts(View, frozen=True, kw_only=True):
    """Receipts, oldest first."""

    data: list[ProvenReceipt]


class ResolutionView(View, frozen=True, kw_only=True):
    """What a person said of a difference in a day's takings, in the journal's entry at `seq`; `order_id` is null where no order has it."""

    seq: int
    at: str
    actor: str
    kind: str
    payment_intent_id: str
    order_id: str | None
    amount: Money
    reason: str


class Resolutions(View, frozen=True, kw_only=True):
    """All that people said of a day's differences, oldest first."""

    data: list[ResolutionView]


class Requeued(View, frozen=True, kw_only=True):
    """A call that is tried now: it was given up, or waited for its next try."""

    id: str
    status: str


class Stopped(View, frozen=True, kw_only=True):
    """A call that is not tried any more."""

    id: str
    status: str


class ErasedGuest(View, frozen=True, kw_only=True):
    """A party or reservation whose guest is erased, and since when."""

    id: str
    erased_at: str


def verification_view(report: Report | None) -> VerificationView:
    """The verification as an auditor sees it."""
    if report is None:
        return VerificationView(at=None, entries=0, seconds=0.0, ok=None, first_bad=None)
    fault = FaultView(seq=report.fault.seq, reason=report.fault.reason) if report.fault else None
    return VerificationView(at=report.at, entries=report.entries, seconds=round(report.seconds, 3), ok=fault is None, first_bad=fault)


def attention_views(found: Iterable[Concern], table: Callable[[str], str] = BY_ID) -> list[OpenAttention]:
    """What needs a person, in the order given; the sentences call a table by its id as `table` does."""
    return [OpenAttention(**_attention(item, table), order_id=item.order_id, table_id=item.table_id) for item in found]


def order_view(order: Order, machine: str, table: Callable[[str], str] = BY_ID) -> OrderView:
    """The order as an auditor sees it; the sentences call a table by its id as `table` does."""
    dine_in = order.bill.details.dine_in
    return OrderView(
        id=order.id,
        dojo_order_id=order.dojo_order_id,
        flow=order.flow,
        state=order.state,
        status=order.status,
        reference=order.bill.reference,
        table_id=dine_in.table_id if dine_in else None,
        total_amount=order.total,
        paid_amount=order.paid,
        tips_amount=order.tips,
        payable=order.is_payable,
        payments=[_payment_view(payment, order.currency) for payment in order.payments.values()],
        attention=[AttentionView(**_attention(item, table)) for item in of_order(order)],
        lock=_lock_view(order),
        order_seq=order.order_seq,
        machine=machine,
        created_at=order.created_at,
        updated_at=order.updated_at,
        erased_at=order.erasure.at if order.erasure else None,
    )


def told_order_view(order: Order, machine: str, told: Situation, table: Callable[[str], str] = BY_ID) -> OrderView:
    """The same with the two sentences about it."""
    return msgspec.structs.replace(order_view(order, machine, table), why=told.why, next=told.next)


def past_order_view(past: PastOrder) -> OrderView:
    """The order as it was, and when that was. The lock is the one that was held then."""
    as_of = AsOf(seq=past.seq, at=past.at, entries_since=past.since, personal_data=past.personal)
    return msgspec.structs.replace(told_order_view(past.order, past.machine, past_situation(past.order)), as_of=as_of)


def _lock_view(order: Order) -> LockView | None:
    held = order.lock
    return None if held is None or held.released else LockView(lock_id=held.lock_id, expires_at=held.expires_at, holder=held.holder)


def entry_view(stored: StoredEntry) -> EntryView:
    """The entry as an auditor sees it."""
    return EntryView(**{**stored._asdict(), "body": msgspec.Raw(stored.body.encode())})


def resolution_views(found: Iterable[Resolution]) -> list[ResolutionView]:
    """What was said of a day's differences, as an auditor sees it."""
    return [
        ResolutionView(
            seq=one.seq,
            at=one.at,
            actor=one.actor,
            kind=one.kind,
            payment_intent_id=one.intent_id,
            order_id=one.order_id or None,
            amount=one.amount,
            reason=one.reason,
        )
        for one in found
    ]


def task_view(row: StoredTaskRow) -> TaskView:
    """The task as an auditor sees it."""
    return TaskView(**row._asdict())


def _payment_view(payment: Payment, currency: str) -> PaymentView:
    paid, tips = payment.counted
    return PaymentView(
        payment_intent_id=payment.intent_id,
        state=payment.state,
        paid_amount=Money(paid, currency),
        tips_amount=Money(tips, currency),
        refunded_amount=Money(payment.refunded, currency),
    )


def _attention(concern: Concern, table: Callable[[str], str]) -> dict[str, Any]:
    return {
        "code": concern.code,
        "since": concern.since,
        "detail": concern.detail,
        "payment_intent_id": concern.payment_intent_id,
        "paid_not_on_till": concern.is_paid_not_on_till,
        "amount": concern.amount,
        "why": concern.told(str, table),
        "next": concern.next,
    }
