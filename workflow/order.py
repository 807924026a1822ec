"""An order as its entries tell it: what `decide` looks at and what replay rebuilds.

`evolve` is the only place where an order changes; the running service and replay both go through it, so they cannot differ in what
an entry means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec

from workflow.bill import Bill
from workflow.declaration import FINAL, group, migrated
from workflow.entry import Entry, Facts
from workflow.errors import short
from workflow.lifecycle import FULFILMENT, ORDER, PAYMENT
from workflow.money import MAX_MINOR_UNITS, Money
from workflow.ports import IntentId, OrderId

T = TypeVar("T", "Order", "Payment")

HELD, TAKEN, COUNTED, UNPAID, ENDED, GIVEN_BACK, IGNORED = (
    group(PAYMENT, name) for name in ("held", "taken", "counted", "unpaid", "ended", "given_back", "ignored")
)
_TAKEN_STATUSES = frozenset({"Captured", "Refunded"})
"""Dojo's words for an intent whose money it took; a refund of all of it would have ended the payment here."""

ACKNOWLEDGED_ONCE = frozenset({"PAID_NOT_ON_TILL", "UNDERPAID", "AUTH_EXPIRED", "STATUS_LIE"})
"""Attention that is called for by how things are, and stays away once a person has seen it, as long as the sum is the same."""

CLOSED_STATUSES = group(FULFILMENT, "closed")
FINAL_STATES = group(ORDER, FINAL)
FLOWS = ("order_and_pay", "pay_later", "pay_only")
REOPENABLE_FLOWS = frozenset({"pay_later", "pay_only"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One payment intent of an order. Amounts are minor units of the order's currency.

    `told_paid`, `told_tips` are what Dojo declared in words, `told_tips` None where it said nothing of tips; with `in_words` they count
    until a read. `answered` are further (paid, tips) that Dojo recorded and heard 200 for. `paid`, `tips` are the figures of the newest
    read, before refunds, `asked` what the intent then asked for where its captures brought something else; `refunded` is absolute; `status`
    is Dojo's word in it, `read_at` its `updatedAt`. `unread` means that a word came which no read has answered, `echo` that the read after
    a word showed nothing new: a copy of Dojo's that lags may have answered, so it is read once more. `fate` says how an ended payment
    ended. `mismatch` is the code of the difference that holds this payment back, `differing` the (paid, tips, refunded) of the read that
    disagreed, `accepted` the details that a person has accepted.
    `detached`: a person took it off this order, and it may pay another.
    `refused_for` is the code of why we answered 409 to it.
    """

    intent_id: IntentId
    state: str = ""
    told_paid: int | None = None
    told_tips: int | None = None
    in_words: bool = False
    answered: tuple[tuple[int, int | None], ...] = ()
    paid: int = 0
    asked: int | None = None
    tips: int = 0
    was_read: bool = False
    refunded: int = 0
    fate: str = ""
    mismatch: str = ""
    mismatch_detail: str = ""
    refused_for: str = ""
    refused_detail: str = ""
    unread: bool = False
    echo: bool = False
    detached: bool = False
    status: str = ""
    read_at: str = ""
    differing: tuple[int, int, int] | None = None
    accepted: tuple[str, ...] = ()

    @property
    def gross(self) -> tuple[int, int]:
        """(paid, tips) that this payment brings once it counts: the read figures, or the told ones before any read."""
        return (self.paid, self.tips) if self.was_read or self.told_paid is None else (self.told_paid, self.told_tips or 0)

    @property
    def figures(self) -> tuple[int, int, int] | None:
        """(paid, tips, refunded) as Dojo said last, whether or not they count; None where it never said anything that can be told."""
        if self.differing:
            return self.differing
        return (*self.gross, self.refunded) if self.was_read or self.told_paid is not None else None

    @property
    def is_open(self) -> bool:
        """Dojo may still change it without telling us: the sweep looks after it."""
        return self.state in HELD | IGNORED | UNPAID or (self.state not in ENDED and (self.unread or self.echo or bool(self.mismatch)))

    @property
    def was_counted(self) -> bool:
        """Its money counts, or counted before a refund, a reversal or a mismatch."""
        return self.state in COUNTED or self.is_in_words_alone

    @property
    def was_accepted(self) -> bool:
        """We answered for it with 200, or a read has reconciled it: whatever becomes of it, the same record-payment is 200 again (I12)."""
        return self.in_words or self.state in COUNTED | GIVEN_BACK

    @property
    def is_in_words_alone(self) -> bool:
        """What Dojo told in words counts, and no read has said what does."""
        return self.in_words and self.state in TAKEN

    @property
    def has_ended(self) -> bool:
        """Nothing more comes of it."""
        return self.state in ENDED

    @property
    def reserves(self) -> int:
        """Minor units that it will bring if it counts, while it is held and undisputed."""
        return 0 if self.is_disputed or self.state not in HELD or self.was_counted else self.gross[0]

    @property
    def is_refused(self) -> bool:
        """We answered 409: it counts nothing, and Dojo gives it back."""
        return self.state in IGNORED

    @property
    def was_refused(self) -> bool:
        """We answered 409 and never accepted it: what becomes of it decides nothing about the order."""
        return bool(self.refused_for) and not self.was_accepted

    @property
    def is_taken_at_dojo(self) -> bool:
        """Dojo has this money, as far as anybody said, and nothing of it counts here. What we refused was taken until a read says."""
        if self.counts or self.detached or self.state in COUNTED | ENDED:
            return False
        if self.status and not self.unread:
            return self.status in _TAKEN_STATUSES
        return self.state in TAKEN | IGNORED

    @property
    def is_short(self) -> bool:
        """It counts, and its captures brought less than the intent asked for."""
        return self.counts and self.asked is not None and self.paid < self.asked

    @property
    def is_disputed(self) -> bool:
        """A mismatch holds it. What a read has reconciled goes on counting: a later read that differs only calls a person."""
        return bool(self.mismatch) and self.state not in COUNTED

    @property
    def given_back(self) -> int:
        """Minor units of it that counted and went back, tips included; of what was undone in full no refund need tell."""
        return sum(self.gross) if self.state in GIVEN_BACK else self.refunded if self.state in COUNTED else 0

    @property
    def counts(self) -> bool:
        """It counts something now, or counts as paid although it is an intent of nothing."""
        return self.was_counted and not self.is_disputed and (self.counted != (0, 0) or self.gross == (0, 0))

    @property
    def counted(self) -> tuple[int, int]:
        """(paid, tips) that count now: net of refunds, which reduce `paid` first; nothing while a mismatch holds it."""
        if self.is_disputed or not self.was_counted:
            return 0, 0
        paid, tips = self.gross if self.state in COUNTED else (self.told_paid or 0, self.told_tips or 0)
        from_paid = min(self.refunded, paid)
        return paid - from_paid, max(0, tips - (self.refunded - from_paid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Dojo's write lock, the last one taken; it lives until `expires_at` (UTC text) unless it was released before.

    `holder` says for whom Dojo took it (product, waiter, device), as far as Dojo told.
    """

    lock_id: str
    expires_at: str
    released: bool = False
    holder: str = ""

    def is_live(self, at: str, *, ran_out: bool = False) -> bool:
        """Nobody else may write at the moment `at`; texts of one form compare as times do. `ran_out`: see `LockTimes`."""
        return not self.released and at < self.expires_at and not ran_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Something that needs a person: a code, since when, and a sentence with the values that disagreed."""

    code: str
    since: str
    detail: str
    payment_intent_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """When the personal data of an order were erased, UTC text, and which kinds of them there were (`customer`, `note` and so on)."""

    at: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order. `money_seq` is the entry that last changed counted money, `told_seq` the newest entry that Dojo was told of.

    `settled` are the counted figures by payment when the order was last reconciled. `paid_in_full_once` never becomes false again,
    unless a person takes a payment off without which it never was so.
    `acknowledged` maps attention that a person settled to the sum `at_stake` then: another sum raises it again.
    `personal_hash` is the salted hash of the personal data kept beside the journal, or "". After an `erasure` there are none, ever.
    """

    id: OrderId
    flow: str
    bill: Bill
    dojo_order_id: str | None = None
    personal_hash: str = ""
    erasure: Erasure | None = None
    state: str = ""
    status: str = ""
    payments: Mapping[IntentId, Payment] = field(default_factory=dict)
    attention: tuple[Attention, ...] = ()
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    lock: Lock | None = None
    order_seq: int = 0
    money_seq: int = 0
    told_seq: int = 0
    settled: tuple[tuple[str, int, int], ...] = ()
    paid_in_full_once: bool = False
    created_at: str = ""
    updated_at: str = ""

    @property
    def currency(self) -> str:
        """The order's one currency."""
        return self.bill.total_amount.currency

    @property
    def total(self) -> Money:
        """What the bill comes to, service charge included, tips not."""
        return self.bill.total_amount

    @property
    def is_final(self) -> bool:
        """No transition leaves the present state."""
        return self.state in FINAL_STATES

    @property
    def counted(self) -> tuple[tuple[str, int, int], ...]:
        """(intent, paid, tips) of every payment that counts something now, by intent."""
        rows = ((payment.intent_id, *payment.counted) for payment in self.payments.values())
        return tuple(sorted(row for row in rows if row[1] or row[2]))

    @property
    def paid(self) -> Money:
        """The sum counted, net of refunds, without tips."""
        return Money(sum(payment.counted[0] for payment in self.payments.values()), self.currency)

    @property
    def tips(self) -> Money:
        """The tips counted, net of refunds; in neither `paid` nor `total`."""
        return Money(sum(payment.counted[1] for payment in self.payments.values()), self.currency)

    @property
    def given_back(self) -> Money:
        """What went back to customers of the payments that counted, tips included."""
        return Money(sum(payment.given_back for payment in self.payments.values()), self.currency)

    @property
    def outstanding(self) -> Money:
        """What is still to come in of the bill; nothing once it is closed, or nobody pays it and Dojo holds nothing for it."""
        return Money(0 if self.is_closed or self.is_over else max(0, self.total.value - self.paid.value), self.currency)

    def at_stake(self, intent_id: str = "") -> int:
        """Minor units that attention of the order, or of a payment that we refused, is about."""
        return (self.payments[IntentId(intent_id)].told_paid or 0) if intent_id else self.paid.value

    def was_covered(self, *, without: str) -> bool:
        """The other payments that ever counted come to the bill, whatever was given back of them since."""
        ever = (p for p in self.payments.values() if p.intent_id != without and (p.was_counted or p.state in GIVEN_BACK))
        return sum(payment.gross[0] for payment in ever) >= self.total.value

    @property
    def reserved(self) -> int:
        """Minor units that undisputed, held payments will bring if they count."""
        return self._reserved()

    def room_for(self, intent_id: IntentId) -> int:
        """Minor units that are left to pay by this intent: neither paid nor reserved by the others (contract §8.4)."""
        own = self.payments[intent_id].counted[0] if intent_id in self.payments else 0
        return self.total.value - (self.paid.value - own) - self._reserved(but=intent_id)

    def can_hold(self, paid: int, tips: int) -> bool:
        """With these minor units in addition the payments still come to sums that one amount can be."""
        gross = [(paid, tips), *(payment.gross for payment in self.payments.values() if not payment.is_refused)]
        return all(sum(amounts) <= MAX_MINOR_UNITS for amounts in zip(*gross, strict=True))

    def _reserved(self, *, but: str = "") -> int:
        return sum(payment.reserves for payment in self.payments.values() if payment.intent_id != but)

    @property
    def is_payable(self) -> bool:
        """A customer may pay (the rest of) this order now. Source: contract §8.4, and rule A3."""
        return not self.is_closed and not self.paid_in_full_once and self.total.value - self.paid.value - self.reserved > 0

    @property
    def is_closed(self) -> bool:
        """No payment is taken any more: the order has ended, or the kitchen's status has."""
        return self.is_final or self.status in CLOSED_STATUSES

    @property
    def is_over(self) -> bool:
        """Nobody pays it any more, and Dojo holds no money for it."""
        return not self.is_payable and not any(payment.state in HELD for payment in self.payments.values())

    @property
    def is_reopenable(self) -> bool:
        """The bill may be paid by another payment when one ends. Source: rules A2 and A3."""
        return self.flow in REOPENABLE_FLOWS and self.status not in CLOSED_STATUSES and not self.paid_in_full_once

    def held_by(self) -> str:
        """Who may write alone, for whoever may not."""
        assert self.lock is not None
        session = short(self.lock.lock_id)
        who = f"{self.lock.holder} (session {session})" if self.lock.holder else f"Dojo's session {session}"
        return f"order {self.id} is locked by {who} until {self.lock.expires_at}"

    @property
    def is_underpaid(self) -> bool:
        """Dojo captured less than a payment was made for, and nobody pays the rest."""
        return self.is_payable and any(payment.is_short for payment in self.payments.values())

    def has_attention(self, code: str, intent_id: str = "") -> bool:
        """A person was called about this, of the order or of one of its intents, and has not settled it."""
        return any((item.code, item.payment_intent_id) == (code, intent_id) for item in self.attention)

    def is_settled_by_a_person(self, code: str, intent_id: str = "") -> bool:
        """A person settled this, and the sum that it is about is what it was then."""
        return self.acknowledged.get(acknowledgement(code, intent_id)) == self.at_stake(intent_id)

    def is_known_to_a_person(self, code: str, intent_id: str = "") -> bool:
        """A person was called about this, or has settled it."""
        return self.has_attention(code, intent_id) or self.is_settled_by_a_person(code, intent_id)

    def is_watched(self, intent_id: IntentId) -> bool:
        """The sweep looks after the payment: it is open, Dojo may be giving it back because we contradicted, or may capture the rest."""
        payment = self.payments[intent_id]
        if payment.is_open or self.has_attention("PAYMENT_CONFLICT", intent_id):
            return True
        return payment.is_short and self.is_underpaid and not self.is_known_to_a_person("UNDERPAID")

    def undisputed(self) -> Iterator[Payment]:
        """The payments that no mismatch holds back."""
        return (payment for payment in self.payments.values() if not payment.is_disputed)

    @property
    def has_counted(self) -> bool:
        """Some payment counts."""
        return any(payment.counts for payment in self.payments.values())

    def visible(self) -> tuple[object, ...]:
        """What `GET /v1/orders/{id}` shows and may change; when it does, Dojo is told. A lock is not shown."""
        return self.bill, self.status, self.counted, self.is_payable, self.personal_hash


def evolve(order: Order | None, entry: Entry) -> Order:
    """The order after `entry`; the first entry of an order begins it. Entries that concern no order are not for here."""
    if order is None:
        return _changed(_begin(entry), order_seq=entry.order_seq, updated_at=entry.at)
    after = _apply(order, entry)
    changes: dict[str, object] = {"order_seq": entry.order_seq}
    has_other_money = after.payments is not order.payments and _money(after, entry) != _money(order, entry)
    if has_other_money and after.counted != order.counted:
        changes["money_seq"] = entry.order_seq
        changes["paid_in_full_once"] = after.paid_in_full_once or _is_paid_in_full(after)
    if (has_other_money or _may_show_otherwise(after, order)) and after.visible() != order.visible():
        changes["updated_at"] = entry.at
    if after is order:
        return _changed(order, **changes)
    _set(after, changes)  # Made just now, and seen by nobody yet.
    return after


def _money(order: Order, entry: Entry) -> tuple[tuple[int, int], int]:
    """What the one payment that an entry may change counts, and what it reserves."""
    payment = order.payments.get(IntentId(entry.payment_intent_id))
    return (payment.counted, payment.reserves) if payment else ((0, 0), 0)


def _may_show_otherwise(after: Order, before: Order) -> bool:
    """`visible` may differ though the money is the same. Of most entries it cannot, which is found much faster than it is made twice."""
    return not (
        after.bill is before.bill
        and after.status == before.status
        and after.is_closed == before.is_closed
        and after.paid_in_full_once == before.paid_in_full_once
        and after.personal_hash == before.personal_hash
    )


def _changed(value: T, **changes: object) -> T:
    """As `dataclasses.replace`, which asks for the fields anew each time: replay would do little else."""
    kind = type(value)
    after = object.__new__(kind)
    read, slots = _SLOTS[kind]
    for slot, content in zip(slots.values(), read(value), strict=True):
        slot(after, content)
    _set(after, changes)
    return after


def _set(value: Order | Payment, changes: Mapping[str, object]) -> None:
    slots = _SLOTS[type(value)][1]
    for name, content in changes.items():
        slots[name](value, content)


def _slots(kind: type[Any]) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, Callable[[Any, object], None]]]:
    """What reads all fields of a frozen, slotted class at once, and what sets each of them."""
    names = [each.name for each in fields(kind)]
    return attrgetter(*names), {name: kind.__dict__[name].__set__ for name in names}


_SLOTS: dict[type[Any], tuple[Callable[[Any], tuple[Any, ...]], dict[str, Callable[[Any, object], None]]]] = {
    Order: _slots(Order),
    Payment: _slots(Payment),
}


def _is_paid_in_full(order: Order) -> bool:
    """The counted sum covers the bill, or one payment covered it before what was given back of it since."""
    largest = max((payment.gross[0] for payment in order.undisputed() if payment.was_counted), default=0)
    return max(order.paid.value, largest) >= order.total.value > 0


def _begin(entry: Entry) -> Order:
    facts = entry.body
    return Order(
        id=OrderId(entry.order_id),
        flow=str(facts["flow"]),
        bill=msgspec.convert(facts["bill"], Bill),
        dojo_order_id=cast("str | None", facts.get("dojoOrderId")),
        personal_hash=str(facts.get("personal", "")),
        state=entry.to_state,
        created_at=entry.at,
    )


def _apply(order: Order, entry: Entry) -> Order:
    match entry.kind:
        case "transition":
            return _apply_transition(order, entry)
        case "event" if "ignored" in entry.body:
            return order
        case "event":
            return _with_payment(order, entry, unread=True)
        case "payment":
            return _with_payment(order, entry, **_answered(order, entry), **_payment_facts(entry.body))
        case "check":
            return _apply_check(order, entry)
        case "attention":
            return _changed(order, attention=_apply_attention(order.attention, entry))
        case "effect":
            told = cast(int, entry.body.get("orderSeq", 0)) if entry.body.get("outcome") == "done" else 0
            return _changed(order, told_seq=max(order.told_seq, told))
        case "lock":
            return _apply_lock(order, entry)
        case "operator":
            return _apply_operator(order, entry)
        case _:
            return order


def _apply_lock(order: Order, entry: Entry) -> Order:
    facts = entry.body
    lock = Lock(
        lock_id=str(facts["lockId"]),
        expires_at=str(facts["expiresAt"]),
        released=entry.trigger == "release",
        holder=str(facts.get("holder", "")),
    )
    return _changed(order, lock=lock)


def _apply_operator(order: Order, entry: Entry) -> Order:
    """What a person did: amended the bill, erased personal data, or settled something that needed attention."""
    facts = entry.body
    match entry.trigger:
        case "amend":
            after = _changed(order, bill=msgspec.convert(facts["bill"], Bill), personal_hash=str(facts.get("personal", "")))
            if order.paid_in_full_once and order.paid.value < order.total.value:
                return after  # Paid once and given back since: nothing of it may be paid again, whatever was added.
            return _changed(after, paid_in_full_once=_is_paid_in_full(after))
        case "erase":
            kinds = tuple(cast("list[str]", facts["erased"]))
            return _changed(order, personal_hash="", erasure=Erasure(at=entry.at, kinds=kinds))
        case "accept_difference":
            paid, tips, refunded = cast("tuple[int, int, int]", (facts["paid"], facts["tips"], facts["refunded"]))
            payment = order.payments[IntentId(entry.payment_intent_id)]
            return _with_payment(
                order,
                entry,
                paid=paid,
                tips=tips,
                refunded=refunded,
                was_read=True,
                accepted=(*payment.accepted, payment.mismatch_detail),
                mismatch="",
                mismatch_detail="",
                differing=None,
            )
        case "detach_payment":
            return _with_payment(order, entry, mismatch="", mismatch_detail="", unread=False, detached=True)
        case "acknowledge" if facts["code"] not in ACKNOWLEDGED_ONCE:
            known = order.payments.get(IntentId(entry.payment_intent_id))
            if known is None or known.mismatch != facts["code"]:
                return order
            return _with_payment(order, entry, mismatch="", mismatch_detail="", differing=None)
        case "mark_given_back" | "acknowledge":
            key = acknowledgement(str(facts["code"]), entry.payment_intent_id)
            return _changed(order, acknowledged={**order.acknowledged, key: order.at_stake(entry.payment_intent_id)})
        case _:
            return order


def acknowledgement(code: str, intent_id: str) -> str:
    """The key in `Order.acknowledged` of attention of the order, or of one of its intents."""
    return f"{code} {intent_id}".rstrip()


def _apply_transition(order: Order, entry: Entry) -> Order:
    match entry.machine_name:
        case "order":
            settled = order.counted if entry.to_state in _RECONCILED else order.settled
            return _changed(order, state=entry.to_state, settled=settled)
        case "fulfilment":
            return _changed(order, status=entry.to_state)
        case _:
            after = _with_payment(order, entry, state=entry.to_state, **_payment_facts(entry.body))
            if entry.trigger == "detach":
                return _changed(after, paid_in_full_once=order.paid_in_full_once and after.was_covered(without=entry.payment_intent_id))
            return after


_RECONCILED = {row.target for row in ORDER.transitions if row.when == "reconcile"}
_RECONCILED |= {old for old, new in migrated(ORDER).items() if new in _RECONCILED}


def _answered(order: Order, entry: Entry) -> dict[str, object]:
    """Figures that Dojo heard 200 for although another telling had been counted already."""
    if "answered" not in entry.body:
        return {}
    paid, tips = cast("tuple[int, int | None]", entry.body["answered"])
    return {"answered": (*order.payments[IntentId(entry.payment_intent_id)].answered, (paid, tips))}


def _payment_facts(facts: Facts) -> dict[str, object]:
    """The facts that a payment's entry may carry: what was told in words, how the payment ended, why it was refused."""
    changes: dict[str, object] = {}
    if "toldPaid" in facts:
        changes |= {"told_paid": facts["toldPaid"], "told_tips": facts["toldTips"], "in_words": facts["inWords"]}
    if "fate" in facts:
        changes["fate"] = facts["fate"]
    if "refusedFor" in facts:
        changes |= {"refused_for": facts["refusedFor"], "refused_detail": facts["detail"]}
    return changes


def _apply_check(order: Order, entry: Entry) -> Order:
    """A read: its figures replace older ones; one that disagrees holds the payment, or calls a person where it counts already."""
    facts = entry.body
    if "stale" in facts:
        return order
    payment = order.payments[IntentId(entry.payment_intent_id)]
    read_at = facts.get("updatedAt", payment.read_at)  # Dojo that knows nothing of it now does not make an older answer news.
    echo = payment.unread and bool(payment.status) and payment.read_at == read_at
    changes: dict[str, object] = {"unread": False, "echo": echo, "status": facts["status"], "read_at": read_at}
    if "paid" in facts:
        figures = {"paid": facts["paid"], "tips": facts["tips"], "refunded": facts["refunded"]}
        changes |= figures | {"asked": facts.get("asked"), "was_read": True, "mismatch": "", "mismatch_detail": "", "differing": None}
    else:
        differing = cast("list[int] | None", facts.get("differing"))
        changes |= {"mismatch": facts["mismatch"], "mismatch_detail": facts["detail"], "differing": differing and tuple(differing)}
    return _with_payment(order, entry, **changes)


def _with_payment(order: Order, entry: Entry, **changes: object) -> Order:
    intent_id = IntentId(entry.payment_intent_id)
    payment = order.payments.get(intent_id) or Payment(intent_id=intent_id)
    payments = {**order.payments, intent_id: _changed(payment, **changes)}
    return _changed(order, payments=payments)


def _apply_attention(attention: tuple[Attention, ...], entry: Entry) -> tuple[Attention, ...]:
    code, intent_id = str(entry.body["code"]), entry.payment_intent_id
    rest = tuple(item for item in attention if (item.code, item.payment_intent_id) != (code, intent_id))
    if entry.trigger == "clear":
        return rest
    return (*rest, Attention(code=code, since=entry.at, detail=str(entry.body["detail"]), payment_intent_id=intent_id))
