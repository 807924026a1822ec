"""A venue day's money, ours beside Dojo's, and every difference by kind. Pure.

What belongs to a day
  captured, tips   a payment belongs to the day of its capture: at Dojo by the first successful capture's `createdAt`, otherwise by
                   `paymentDetails.transactionDateTime`; on the till by the entry that recorded the capture
  refunded         money given back (refunds, reversals of captured money) belongs to the day on which we learnt of it; Dojo publishes
                   no time of a refund, so what we have not learnt counts on the day on which the intent was last updated
  outstanding      what open bills owed when the day ended, or owe now while it lasts

Amounts are whole minor units, each with its currency; nothing is added across currencies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from workflow.books import Books, Day, Taking
from workflow.errors import short
from workflow.journal.port import Resolution
from workflow.money import Money, with_sign
from workflow.order import HELD, Order
from workflow.ports import IntentId, OrderId, PaymentIntent
from workflow.reconcile import AUTHORISATION_LIFETIME, figures

AT_DOJO_ONLY = "at_dojo_not_on_till"
ON_TILL_ONLY = "on_till_not_at_dojo"
AMOUNT = "amount"
TIP = "tip"
DUPLICATE = "duplicate"
LATE = "late"

KINDS = {
    AT_DOJO_ONLY: ("at Dojo, not on the till", "Find the order at Dojo: enter it on the till, or give the money back in Dojo's portal."),
    ON_TILL_ONLY: ("on the till, not at Dojo", "Look the payment up in Dojo's portal: the customer may not have paid."),
    AMOUNT: ("amount differs", "Compare with Dojo's portal; where the order needs a person, resolve it, else correct the till by hand."),
    TIP: ("tip differs", "Compare with Dojo's portal: what Dojo has is what the customer paid."),
    DUPLICATE: ("duplicate", "The bill was paid more than once: give the later payment back in Dojo's portal."),
    LATE: ("late", "Nothing is lost; where the day differs, it is in the sums of one day here and of another at Dojo."),
}
"""The kinds of difference, the gravest first: their names for people, and what to do."""

LATE_AFTER = timedelta(minutes=15)
"""A capture that we recorded longer than this after Dojo made it is late; so is one that we recorded on another day."""

RECORDING_GRACE = timedelta(minutes=2)
"""A capture younger than this may still be on its way to us: it is counted as arriving, not as a difference."""

SEARCH_BACK = AUTHORISATION_LIFETIME
"""How long before the day an intent may have been made that was captured on it: Dojo holds money no longer."""

SEARCHED_STATUSES = ("Captured", "Refunded", "Reversed")
"""The statuses in which money was taken; the rest of them moved none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtDojo:
    """An intent that took money at Dojo, over its whole life; `paid`, `tips` are before refunds. `is_exact`: Dojo says when."""

    intent: PaymentIntent
    currency: str
    paid: int
    tips: int
    refunded: int
    captured_at: datetime
    updated_at: datetime | None
    is_exact: bool

    @property
    def net(self) -> int:
        """What Dojo still has of it."""
        return self.paid + self.tips - self.refunded


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Money of one side, one currency, on one day; minor units."""

    currency: str
    captured: int = 0
    tips: int = 0
    refunded: int = 0

    @property
    def net(self) -> int:
        """What came in, less what went back."""
        return self.captured + self.tips - self.refunded

    @property
    def is_nothing(self) -> bool:
        """No money moved."""
        return not (self.captured or self.tips or self.refunded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One payment intent of the day. `till` and `dojo` are what moved on this day; `dojo` is None where Dojo was not asked or has none.

    `in_words`: the till counts what Dojo declared, and no read has confirmed it. `held_back` is the mismatch that keeps it from counting.
    """

    intent_id: IntentId
    order: Order | None
    state: str
    till: Figures
    dojo: Figures | None
    dojo_status: str
    recorded_at: datetime | None
    captured_at: datetime | None
    in_words: bool = False
    held_back: str = ""

    @property
    def at(self) -> datetime | None:
        """When it happened, as far as anybody knows: Dojo's moment before ours."""
        return self.captured_at or self.recorded_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that a person should look at; `amount` is the money it is about, `detail` holds the two values that disagreed.

    `resolution` is what a person has said of it, None while it asks for somebody.
    """

    kind: str
    intent_id: IntentId
    order: Order | None
    amount: Money
    detail: str
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A number of payments and their money, one currency."""

    count: int = 0
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The day in one currency. Of `till`, `in_words` (captured and tips) is not confirmed; `held_back` is not in it.

    `dojo` is None where it is unknown. `outstanding`, `held` are of `open_bills` bills.
    """

    currency: str
    till: Sum
    dojo: Sum | None
    in_words: int = 0
    held_back: int = 0
    outstanding: int = 0
    held: int = 0
    open_bills: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Takings:
    """A day's money. `rows` are in the order of time, `differences` the gravest first.

    `others` are takings of the account that are none of the till's. `arriving` are rows captured so recently that their news may still
    be on its way.
    """

    day: Day
    totals: list[Total]
    differences: list[Difference]
    rows: list[Row]
    others: list[Sum] = field(default_factory=list)
    arriving: list[Row] = field(default_factory=list)

    @property
    def unresolved(self) -> list[Difference]:
        """The differences of which nobody has said why they are all right."""
        return [one for one in self.differences if one.resolution is None]


def at_dojo(intent: PaymentIntent) -> AtDojo | None:
    """What an intent brought, None while it took no money. A reversed one counts where it was captured before: taken, and given back."""
    was_reversed = intent.status == "Reversed"
    if was_reversed and intent.capture_mode == "Manual" and not any(one.status == "Successful" for one in intent.captures):
        return None
    if intent.status not in SEARCHED_STATUSES:
        return None
    paid, tips = figures(intent)
    captured_at, is_exact = _captured_at(intent)
    return AtDojo(
        intent=intent,
        currency=next((money.currency for money in (intent.amount, intent.service_charge, intent.tips) if money), ""),
        paid=paid,
        tips=tips,
        refunded=paid + tips if was_reversed else intent.refunded,
        captured_at=captured_at,
        updated_at=_moment(intent.updated_at),
        is_exact=is_exact,
    )


def _captured_at(intent: PaymentIntent) -> tuple[datetime, bool]:
    """When, and whether Dojo says so; otherwise the nearest that it says: the update that captured it, or its making."""
    captures = [_moment(one.created_at) for one in intent.captures if one.status == "Successful"]
    if said := [moment for moment in captures if moment]:
        return min(said), True
    if moment := _moment(intent.transaction_at):
        return moment, True
    is_untouched = intent.status == "Captured" and not intent.refunded
    fallback = _moment(intent.updated_at) if is_untouched else None
    return fallback or _moment(intent.created_at) or _BEGINNING, False


_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(text: str | None) -> datetime | None:
    """The moment, in UTC where no zone is named: Dojo's times are in UTC, and one of them is published as bare text."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def touches(intent: PaymentIntent, day: Day) -> bool:
    """The intent may have moved money on the day: it is worth looking for its order."""
    found = at_dojo(intent)
    return found is not None and (found.captured_at in day or found.updated_at in day)


def unseen(books: Books, day: Day, intents: Mapping[IntentId, PaymentIntent | None]) -> list[IntentId]:
    """Payments of the day on the till that `intents` lack: to be read one by one."""
    return [intent_id for intent_id, taking in sorted(books.takings.items()) if taking.concerns(day) and intent_id not in intents]


def takings(books: Books, day: Day, intents: Mapping[IntentId, PaymentIntent | None] | None, now: datetime) -> Takings:
    """The day as `books` have it, beside `intents` as Dojo has them (None where it has no such one); without `intents`, ours alone.

    An intent of ours that `intents` do not mention is unknown at Dojo: it is shown, and no difference is made of it.
    """
    return _Comparison(books, day, intents, now).result()


def on_till(taking: Taking, day: Day) -> Figures:
    """What the till has of a payment on the day; nothing of what does not count."""
    if not taking.counts:
        return Figures(currency=taking.currency)
    is_today = taking.recorded_at in day
    return Figures(
        currency=taking.currency,
        captured=taking.paid if is_today else 0,
        tips=taking.tips if is_today else 0,
        refunded=sum(each.amount for each in taking.given_back if each.at in day),
    )


class _Comparison:
    def __init__(self, books: Books, day: Day, intents: Mapping[IntentId, PaymentIntent | None] | None, now: datetime) -> None:
        self._books, self._day, self._intents, self._now = books, day, intents or {}, now
        self._is_asked = intents is not None
        self._dojo = {intent_id: found for intent_id, intent in self._intents.items() if intent and (found := at_dojo(intent))}
        self._strays: dict[OrderId, list[AtDojo]] = defaultdict(list)
        for intent_id, found in self._dojo.items():
            if intent_id not in books.takings and (order := books.owner(found.intent)):
                self._strays[order.id].append(found)
        self._rows: list[Row] = []
        self._others: list[Row] = []
        self._arriving: list[Row] = []
        self._differences: list[Difference] = []

    def result(self) -> Takings:
        for intent_id in sorted(self._books.takings.keys() | self._dojo.keys()):
            self._look_at(intent_id, self._books.takings.get(intent_id), self._dojo.get(intent_id))
        shown = {row.intent_id for row in self._rows}
        for order in self._books.orders.values():
            self._differences += [each for each in self._duplicates(order) if each.intent_id in shown]
        grave = list(KINDS)
        return Takings(
            day=self._day,
            totals=self._totals(),
            differences=sorted(self._differences, key=lambda one: (grave.index(one.kind), -one.amount.value, one.intent_id)),
            rows=sorted(self._rows, key=lambda row: (row.at or _BEGINNING, row.intent_id)),
            others=_sums(self._others, at_dojo=True),
            arriving=self._arriving,
        )

    def _look_at(self, intent_id: IntentId, ours: Taking | None, dojo: AtDojo | None) -> None:
        order = self._order(ours, dojo)
        captured_at = self._dojo_day(ours, dojo) if dojo else None
        till, theirs = self._till(ours, order, dojo), self._theirs(ours, dojo, captured_at)
        is_ours = ours is not None and ours.concerns(self._day)
        if not (is_ours or captured_at in self._day or (theirs and not theirs.is_nothing)):
            return
        row = Row(
            intent_id=intent_id,
            order=order,
            state=ours.payment.state if ours else "",
            till=till,
            dojo=theirs,
            dojo_status=self._status(intent_id),
            recorded_at=ours.recorded_at if ours and ours.counts else None,
            captured_at=captured_at,
            in_words=ours is not None and ours.is_in_words,
            held_back=ours.held_back_as if ours else "",
        )
        if dojo and self._is_other(ours, order, dojo):
            self._others.append(row)
            return
        found = list(self._compared(row, ours, dojo)) if intent_id in self._intents else []
        if dojo and self._is_arriving(ours, dojo) and any(each.kind == AT_DOJO_ONLY for each in found):
            self._arriving.append(row)
            found = []
        self._rows.append(row)
        self._differences += found

    def _order(self, ours: Taking | None, dojo: AtDojo | None) -> Order | None:
        if ours:
            return self._books.orders[ours.order_id]
        return self._books.owner(dojo.intent) if dojo else None

    def _dojo_day(self, ours: Taking | None, dojo: AtDojo) -> datetime:
        """Where Dojo does not say when it captured, the moment at which we recorded it is the best that anybody knows."""
        return ours.recorded_at if ours and ours.recorded_at and not dojo.is_exact else dojo.captured_at

    def _till(self, ours: Taking | None, order: Order | None, dojo: AtDojo | None) -> Figures:
        currency = ours.currency if ours else order.currency if order else dojo.currency if dojo else ""
        return on_till(ours, self._day) if ours else Figures(currency=currency)

    def _theirs(self, ours: Taking | None, dojo: AtDojo | None, captured_at: datetime | None) -> Figures | None:
        if dojo is None:
            return None
        is_today = captured_at in self._day
        learnt_today = sum(each.amount for each in ours.given_back if each.at in self._day) if ours and ours.counts else 0
        unlearnt = dojo.refunded - (ours.refunded if ours and ours.counts else 0)
        return Figures(
            currency=dojo.currency,
            captured=dojo.paid if is_today else 0,
            tips=dojo.tips if is_today else 0,
            refunded=learnt_today + (unlearnt if (dojo.updated_at or captured_at) in self._day else 0),
        )

    def _status(self, intent_id: IntentId) -> str:
        if intent_id not in self._intents:
            return ""
        intent = self._intents[intent_id]
        return intent.status if intent else "not found"

    def _is_other(self, ours: Taking | None, order: Order | None, dojo: AtDojo) -> bool:
        """Money of the account that is none of the till's: it names no order, or a person took it off the order that it named."""
        if ours:
            return ours.was_detached
        return order is None and not (dojo.intent.external_id or dojo.intent.dojo_order_id)

    def _is_arriving(self, ours: Taking | None, dojo: AtDojo) -> bool:
        is_fresh = dojo.is_exact and self._now - dojo.captured_at < RECORDING_GRACE
        return is_fresh and (ours is None or (ours.payment.state in HELD and not ours.payment.mismatch))

    def _compared(self, row: Row, ours: Taking | None, dojo: AtDojo | None) -> Iterator[Difference]:
        if dojo is None:
            if ours and ours.recorded_at and ours.paid + ours.tips > ours.refunded:
                yield self._only_on_till(row, ours)
        elif ours is None or not ours.counts:
            if dojo.net > 0:
                yield self._only_at_dojo(row, ours, dojo)
        elif ours.currency != dojo.currency:
            yield self._differs(row, AMOUNT, Money(dojo.paid, dojo.currency), f"{_told(ours)} on the till, {_said(dojo)} at Dojo")
        else:
            yield from self._figures_differ(row, ours, dojo)
            if lateness := self._lateness(ours, dojo):
                yield self._differs(row, LATE, Money(ours.paid + ours.tips, ours.currency), lateness)

    def _only_on_till(self, row: Row, ours: Taking) -> Difference:
        held = f", held back as {row.held_back}" if row.held_back else ""
        detail = f"the till was told {_told(ours)}{held}; at Dojo the payment is {row.dojo_status or 'of no status'}"
        return self._differs(row, ON_TILL_ONLY, Money(ours.paid + ours.tips - ours.refunded, ours.currency), detail)

    def _only_at_dojo(self, row: Row, ours: Taking | None, dojo: AtDojo) -> Difference:
        amount = Money(dojo.net, dojo.currency)
        if ours and ours.payment.mismatch in _ABOUT_FIGURES:
            return self._differs(row, AMOUNT, amount, f"held back as {ours.payment.mismatch}: {ours.payment.mismatch_detail}")
        if ours and ours.payment.mismatch:
            detail = f"held back as {ours.payment.mismatch}: {ours.payment.mismatch_detail}"
        elif ours:
            detail = f"{_said(dojo)} {dojo.intent.status} at Dojo; on the till the payment is {ours.payment.state or 'only announced'}"
        elif row.order:
            detail = f"{_said(dojo)} at Dojo for this order, of which the till has no such payment"
        else:
            named = dojo.intent.external_id or f"Dojo's order {dojo.intent.dojo_order_id}"
            detail = f"{_said(dojo)} at Dojo for order {short(named)!r}, which the till does not have"
        return self._differs(row, AT_DOJO_ONLY, amount, detail)

    def _figures_differ(self, row: Row, ours: Taking, dojo: AtDojo) -> Iterator[Difference]:
        for kind, what, on_till, at_dojo_ in (
            (AMOUNT, "", ours.paid, dojo.paid),
            (TIP, "", ours.tips, dojo.tips),
            (AMOUNT, " given back", ours.refunded, dojo.refunded),
        ):
            if on_till != at_dojo_:
                pair = Money(on_till, ours.currency), Money(at_dojo_, ours.currency)
                detail = f"{with_sign(pair[0])}{what} on the till, {with_sign(pair[1])}{what} at Dojo"
                yield self._differs(row, kind, Money(abs(on_till - at_dojo_), ours.currency), detail)

    def _lateness(self, ours: Taking, dojo: AtDojo) -> str:
        """Why it is late, "" if it is not, or neither side's capture is of this day."""
        is_of_the_day = ours.recorded_at in self._day or dojo.captured_at in self._day
        if not (dojo.is_exact and ours.recorded_at and is_of_the_day):
            return ""
        zone = self._day.zone
        captured, recorded = dojo.captured_at.astimezone(zone), ours.recorded_at.astimezone(zone)
        if captured.date() == recorded.date() and ours.recorded_at - dojo.captured_at <= LATE_AFTER:
            return ""
        return f"captured {captured:%Y-%m-%d %H:%M:%S} at Dojo, recorded {recorded:%Y-%m-%d %H:%M:%S} on the till"

    def _duplicates(self, order: Order) -> Iterator[Difference]:
        """The payments that came when others had covered the bill, each with what it is too much; parts of a split bill never are.

        What a person has settled is none, and what was given back no longer is.
        """
        counted = sorted(self._money_of(order))
        if len(counted) < 2 or order.acknowledged.get("OVERPAID") == order.paid.value:
            return
        total, before = order.total.value, 0
        for _, intent_id, amount in counted:
            excess = min(amount, before + amount - total)
            if before > 0 and excess > 0:
                money = Money(excess, order.currency)
                detail = f"bill {with_sign(order.total)}, {with_sign(Money(before, order.currency))} of it was paid before this payment"
                yield Difference(kind=DUPLICATE, intent_id=intent_id, order=order, amount=money, detail=detail)
            before += amount

    def _money_of(self, order: Order) -> Iterator[tuple[datetime, IntentId, int]]:
        """(moment, intent, paid and not given back) of everything that pays the order, on the till or only at Dojo."""
        for intent_id, payment in order.payments.items():
            taking = self._books.takings.get(intent_id)
            if payment.counts and taking and taking.recorded_at:
                dojo = self._dojo.get(intent_id)
                at = self._dojo_day(taking, dojo) if dojo else taking.recorded_at
                yield at, intent_id, payment.counted[0]
        for stray in self._strays[order.id]:
            if stray.currency == order.currency and stray.paid > stray.refunded:
                yield stray.captured_at, stray.intent.id, stray.paid - stray.refunded

    def _differs(self, row: Row, kind: str, amount: Money, detail: str) -> Difference:
        return Difference(kind=kind, intent_id=row.intent_id, order=row.order, amount=amount, detail=detail)

    def _totals(self) -> list[Total]:
        till = {one.figures.currency: one for one in _sums(self._rows)}
        dojo = {one.figures.currency: one for one in _sums(self._rows, at_dojo=True)}
        owed: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for bill in self._books.open_bills:
            owed[bill.owed.currency].append((bill.owed.value, bill.held.value))
        found = []
        held_back = {row.till.currency for row in self._rows if row.held_back}
        for currency in sorted(till.keys() | dojo.keys() | owed.keys() | held_back):
            none = Sum(figures=Figures(currency=currency))
            mine = [row for row in self._rows if row.till.currency == currency]
            found.append(
                Total(
                    currency=currency,
                    till=till.get(currency, none),
                    dojo=dojo.get(currency, none) if self._is_asked else None,
                    in_words=sum(row.till.captured + row.till.tips for row in mine if row.in_words),
                    held_back=sum(self._held_back(row) for row in mine),
                    outstanding=sum(one for one, _ in owed[currency]),
                    held=sum(one for _, one in owed[currency]),
                    open_bills=len(owed[currency]),
                )
            )
        return found

    def _held_back(self, row: Row) -> int:
        """What a held-back payment would bring: what the till was told, or else what Dojo took."""
        if not row.held_back:
            return 0
        ours, dojo = self._books.takings[row.intent_id], self._dojo.get(row.intent_id)
        if ours.payment.told_paid is not None or dojo is None:
            return sum(ours.payment.gross)
        return dojo.paid + dojo.tips if dojo.currency == ours.currency else 0


_ABOUT_FIGURES = {"AMOUNT_MISMATCH", "CURRENCY_MISMATCH"}


def _told(ours: Taking) -> str:
    return with_sign(Money(ours.paid, ours.currency)) + (f" and {with_sign(Money(ours.tips, ours.currency))} tips" if ours.tips else "")


def _said(dojo: AtDojo) -> str:
    return with_sign(Money(dojo.paid, dojo.currency)) + (f" and {with_sign(Money(dojo.tips, dojo.currency))} tips" if dojo.tips else "")


def _sums(rows: list[Row], *, at_dojo: bool = False) -> list[Sum]:
    """By currency; a payment is counted where money of it was captured."""
    sums: dict[str, Sum] = {}
    for row in rows:
        moved = row.dojo if at_dojo else row.till
        if moved is None or moved.is_nothing:
            continue
        one = sums.get(moved.currency, Sum(figures=Figures(currency=moved.currency)))
        total = replace(
            one.figures,
            captured=one.figures.captured + moved.captured,
            tips=one.figures.tips + moved.tips,
            refunded=one.figures.refunded + moved.refunded,
        )
        sums[moved.currency] = Sum(count=one.count + bool(moved.captured or moved.tips), figures=total)
    return [sums[currency] for currency in sorted(sums)]
