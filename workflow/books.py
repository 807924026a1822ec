"""The till's side of a day's money: every payment intent of the orders that the day concerns, as their entries tell it.

Finds the orders that the day concerns, then reads their entries, some orders at a time, each from its beginning: what a payment came to
is what `evolve` says, and the day of each movement is that of the entry that made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import attrgetter
from zoneinfo import ZoneInfo

import msgspec

from workflow.clock import from_text, to_text
from workflow.declaration import target_of
from workflow.errors import JournalDamaged
from workflow.journal.reads import ENTRY_COLUMNS, SqliteReads, StoredEntry
from workflow.lifecycle import ORDER
from workflow.money import Money
from workflow.order import COUNTED, GIVEN_BACK, TAKEN, Order, Payment, evolve
from workflow.ports import IntentId, OrderId, PaymentIntent

ORDERS_AT_ONCE = 100
"""Of so many orders entries are read in one go."""


@dataclass(frozen=True, slots=True)
class Day:
    """A venue's day, midnight to midnight by its own clocks: 23 or 25 hours long where these are put forward or back.

    A midnight that comes twice counts the first time, one that is skipped is the moment of the skip.
    """

    date: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        """The first moment, UTC. Raises OverflowError at the edges of the calendar."""
        return _midnight(self.date, self.zone)

    @property
    def end(self) -> datetime:
        """The first moment of the next day, UTC. Raises OverflowError at the edges of the calendar."""
        return _midnight(self.date + timedelta(days=1), self.zone)

    def __contains__(self, moment: datetime | None) -> bool:
        """`moment` (aware) belongs to this day; None never does."""
        return moment is not None and self.start <= moment < self.end


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> Day:
    """The venue's day to which `moment` (aware) belongs."""
    day = Day(moment.astimezone(zone).date(), zone)
    # Where midnight comes twice, what lies between is written with the date before and belongs to the day that has begun.
    return day if moment in day else Day(day.date + timedelta(days=1), zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """Money given back, by refund or reversal: minor units, and the entry's moment that told us."""

    at: datetime
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """One payment intent of an order, over its whole life. Minor units of the order's currency; `paid`, `tips` are before refunds.

    `recorded_at` is when we recorded its capture, None while it never counted. `payment` is its present state.
    """

    order_id: OrderId
    payment: Payment
    currency: str
    recorded_at: datetime | None = None
    paid: int = 0
    tips: int = 0
    given_back: tuple[GivenBack, ...] = ()
    was_detached: bool = False

    @property
    def intent_id(self) -> IntentId:
        """Dojo's id of it."""
        return self.payment.intent_id

    @property
    def refunded(self) -> int:
        """All that was given back of it."""
        return sum(each.amount for each in self.given_back)

    @property
    def counts(self) -> bool:
        """The till counts it, or did until it was given back; what a mismatch holds back, or a person took off its order, does not."""
        if self.recorded_at is None or self.was_detached:
            return False
        return self.payment.state in GIVEN_BACK or not self.payment.is_disputed

    @property
    def is_in_words(self) -> bool:
        """What counts of it is what Dojo declared; no read has confirmed it."""
        return self.counts and self.payment.state in TAKEN

    @property
    def held_back_as(self) -> str:
        """The mismatch that keeps it from counting, "" where none does."""
        return self.payment.mismatch if self.payment.is_disputed else ""

    def days(self, zone: ZoneInfo) -> list[Day]:
        """The days that it concerns, in their order."""
        moments = [self.recorded_at, *(each.at for each in self.given_back)]
        return [] if self.was_detached else sorted({day_of(moment, zone) for moment in moments if moment}, key=attrgetter("date"))

    def concerns(self, day: Day) -> bool:
        """Its capture was recorded on this day, or something of it was given back; never what a person took off its order."""
        if self.was_detached:
            return False
        return self.recorded_at in day or any(each.at in day for each in self.given_back)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBill:
    """What an order still owed when the day ended (or owes, while it lasts), and what Dojo held or took of it that did not count yet."""

    order_id: OrderId
    owed: Money
    held: Money


@dataclass(slots=True, kw_only=True)
class Books:
    """What the entries say. `orders` are as they are now, `takings` those of all of them, whatever their day.

    `dojo_orders` maps Dojo's id of an order to ours.
    """

    orders: dict[OrderId, Order] = field(default_factory=dict)
    takings: dict[IntentId, Taking] = field(default_factory=dict)
    open_bills: list[OpenBill] = field(default_factory=list)
    dojo_orders: dict[str, OrderId] = field(default_factory=dict)

    def owner(self, intent: PaymentIntent) -> Order | None:
        """The order that the links of an intent name, contract §7.4 (2 to 5); None when these know none."""
        external, dojo = intent.external_id or "", intent.dojo_order_id or ""
        hits = (external, self.dojo_orders.get(dojo), self.dojo_orders.get(external), intent.reference or "")
        return next((order for hit in hits if hit and (order := self.orders.get(OrderId(hit)))), None)

    def take_in(self, more: Books) -> None:
        """Add the books of other orders."""
        self.orders |= more.orders
        self.dojo_orders |= more.dojo_orders
        self.open_bills += more.open_bills
        for intent_id, taking in more.takings.items():
            if not (taking.was_detached and intent_id in self.takings):  # What was taken off one order may pay another: there it counts.
                self.takings[intent_id] = taking


def orders_of(reads: SqliteReads, day: Day, intents: Iterable[PaymentIntent] = ()) -> list[OrderId]:
    """The orders to which something happened on the day, which were open at its end, or which one of `intents` names; by id.

    Raises JournalUnavailable, JournalDamaged.
    """
    return [OrderId(order_id) for (order_id,) in reads.rows(_CONCERNED, _values(day, list(intents)))]


def books_of(reads: SqliteReads, order_ids: Sequence[str], *, until: str = "") -> Iterator[Books]:
    """Each of these orders that has entries, in books of its own; what was owed is of the moment `until` (UTC text), or now.

    No question is asked of more than ORDERS_AT_ONCE orders, so that none takes long, and no state of the journal is held in between.

    Raises JournalDamaged on an entry that cannot be explained, JournalUnavailable.
    """
    for first in range(0, len(order_ids), ORDERS_AT_ONCE):
        stored = reads.rows(_ENTRIES, (json.dumps(sorted(order_ids[first : first + ORDERS_AT_ONCE])),))
        for order_id, entries in groupby(map(StoredEntry._make, stored), key=attrgetter("order_id")):
            books = Books()
            _enter(books, OrderId(order_id), entries, until or _AFTER_ALL)
            yield books


def all_takings(reads: SqliteReads) -> Iterator[tuple[Order, Taking]]:
    """Every payment intent of every order, with its order as it is now: by order, then by intent. One order at a time is in memory.

    Raises JournalDamaged on an entry that cannot be explained, JournalUnavailable.
    """
    stored = reads.stream(f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id <> '' ORDER BY order_id, order_seq")
    for order_id, entries in groupby(map(StoredEntry._make, stored), key=attrgetter("order_id")):
        books = Books()
        _enter(books, OrderId(order_id), entries, _AFTER_ALL)
        yield from ((books.orders[taking.order_id], taking) for _, taking in sorted(books.takings.items()))


def order_takings(reads: SqliteReads, order_id: OrderId) -> list[Taking]:
    """Every payment intent of one order. Raises JournalDamaged on an entry that cannot be explained, JournalUnavailable."""
    books = Books()
    _enter(books, order_id, reads.entries(order_id=order_id), _AFTER_ALL)
    return [*books.takings.values()]


_AFTER_ALL = "~"
"""Behind every moment as text."""


_TAKING = ", ".join(f"'{target_of(ORDER, trigger)}'" for trigger in ("authorise", "capture"))
# What was open when the day ended is open still, or has changed since.
_CONCERNED = f"""
    SELECT order_id FROM journal WHERE at >= ?1 AND at < ?2 AND order_id <> ''
    UNION SELECT id FROM orders WHERE created_at < ?2 AND (payable = 1 OR state IN ({_TAKING}) OR updated_at >= ?2)
    UNION SELECT id FROM orders WHERE id IN (SELECT value FROM json_each(?3))
    UNION SELECT id FROM orders WHERE dojo_order_id IN (SELECT value FROM json_each(?4))
    UNION SELECT order_id FROM payments WHERE intent_id IN (SELECT value FROM json_each(?5))
    ORDER BY 1
"""
# The unique index on (order_id, order_seq) finds the entries and gives their order.
_ENTRIES = f"SELECT {ENTRY_COLUMNS} FROM journal WHERE order_id IN (SELECT value FROM json_each(?)) ORDER BY order_id, order_seq"


def _values(day: Day, intents: list[PaymentIntent]) -> tuple[str, ...]:
    orders = [name for intent in intents for name in (intent.external_id, intent.reference) if name]
    dojo_orders = [name for intent in intents for name in (intent.dojo_order_id, intent.external_id) if name]
    lists = (orders, dojo_orders, [intent.id for intent in intents])
    return (to_text(day.start), to_text(day.end), *map(json.dumps, lists))


def _enter(books: Books, order_id: OrderId, entries: Iterator[StoredEntry], end: str) -> None:
    order: Order | None = None
    at_end: Order | None = None
    followed: dict[IntentId, _Followed] = {}
    for stored in entries:
        if stored.at < end:
            at_end = None
        elif at_end is None:
            at_end = order
        order = _evolved(order, stored)
        if stored.payment_intent_id in order.payments:
            intent_id = IntentId(stored.payment_intent_id)
            followed.setdefault(intent_id, _Followed()).see(order.payments[intent_id], stored)
    if order is None:
        return
    books.orders[order_id] = order
    if order.dojo_order_id:
        books.dojo_orders[order.dojo_order_id] = order_id
    books.takings |= {intent_id: one.taking(order, order.payments[intent_id]) for intent_id, one in followed.items()}
    last = at_end or order
    if last.created_at < end and (bill := _open_bill(last)):
        books.open_bills.append(bill)


def _evolved(order: Order | None, stored: StoredEntry) -> Order:
    try:
        return evolve(order, stored.entry())
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise JournalDamaged(f"entry {stored.seq} cannot be explained: {error!r}") from error


def _open_bill(order: Order) -> OpenBill | None:
    """What it owes is what a customer may still pay: nothing once it was paid in full or is closed."""
    owed = order.total.value - order.paid.value - order.reserved if order.is_payable else 0
    if owed <= 0 and order.reserved <= 0:
        return None
    return OpenBill(order_id=order.id, owed=Money(max(owed, 0), order.currency), held=Money(order.reserved, order.currency))


@dataclass(slots=True)
class _Followed:
    """One payment while its order's entries go by."""

    recorded_at: datetime | None = None
    paid: int = 0
    tips: int = 0
    given_back: list[GivenBack] = field(default_factory=list)
    was_detached: bool = False
    _taken_at: str = ""

    def see(self, payment: Payment, stored: StoredEntry) -> None:
        """Take in the payment as it is after an entry that names it."""
        if payment.state not in TAKEN | COUNTED | GIVEN_BACK:
            self._taken_at = ""
        elif not self._taken_at:
            self._taken_at = stored.at
        self.was_detached = self.was_detached or stored.trigger == "detach"
        if payment.was_counted:
            # When we heard of the capture, not when we had checked it: that is the day on which the customer paid.
            self.recorded_at = self.recorded_at or from_text(self._taken_at or stored.at)
            self.paid, self.tips = payment.gross
        if self.recorded_at and (more := self._given_back(payment) - sum(each.amount for each in self.given_back)):
            self.given_back.append(GivenBack(at=from_text(stored.at), amount=more))

    def _given_back(self, payment: Payment) -> int:
        gross = self.paid + self.tips
        return gross if payment.state in GIVEN_BACK else min(payment.refunded, gross)

    def taking(self, order: Order, payment: Payment) -> Taking:
        """What came of it."""
        return Taking(
            order_id=order.id,
            payment=payment,
            currency=order.currency,
            recorded_at=self.recorded_at,
            paid=self.paid,
            tips=self.tips,
            given_back=tuple(self.given_back),
            was_detached=self.was_detached,
        )
