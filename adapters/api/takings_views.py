"""A day's money as programs read it, of `/api/takings/{date}` and of `takings --json`: sums, differences, payments and open bills."""

from __future__ import annotations

from datetime import datetime

import msgspec

from adapters.api.views import View
from workflow.clock import to_text
from workflow.comparing import Compared, kinds_by_intent, names
from workflow.money import Money
from workflow.order import Order
from workflow.takings import Difference, Figures, Row, Sum, Total


class FiguresView(View, frozen=True, kw_only=True):
    """Money of one side on the day; `net` is what came in, less what went back."""

    captured: Money
    tips: Money
    refunded: Money
    net: Money


class SumView(FiguresView, frozen=True, kw_only=True):
    """The same of so many payments."""

    payments: int


class TotalView(View, frozen=True, kw_only=True):
    """The day in one currency; `dojo` is null where Dojo was not asked. Of `till`, `inWords` is not confirmed; `heldBack` is not in it."""

    currency: str
    till: SumView
    dojo: SumView | None
    in_words: Money
    held_back: Money
    outstanding: Money
    held: Money
    open_bills: int


class OfOrder(View, frozen=True, kw_only=True):
    """Which order it is about; null where there is none, or it has no such name."""

    order_id: str | None
    reference: str | None
    table_id: str | None


class Explained(View, frozen=True, kw_only=True):
    """What a person said of a difference, in the journal's entry at `seq`."""

    at: str
    actor: str
    reason: str
    seq: int


class DifferenceView(OfOrder, frozen=True, kw_only=True):
    """One thing that a person should look at; `resolved` is null while nobody said why it is all right."""

    kind: str
    payment_intent_id: str
    amount: Money
    detail: str
    resolved: Explained | None


class DayPaymentView(OfOrder, frozen=True, kw_only=True):
    """A payment of the day, on the till and at Dojo; `differences` are the kinds of what differs."""

    payment_intent_id: str
    state: str | None
    recorded_at: str | None
    in_words: bool
    held_back: str | None
    till: FiguresView
    dojo: FiguresView | None
    dojo_status: str | None
    dojo_captured_at: str | None
    differences: list[str]


class OpenBillView(OfOrder, frozen=True, kw_only=True):
    """What a bill owed when the day ended, or owes now while it lasts, and what Dojo holds of that."""

    owed: Money
    held: Money


class AskedView(View, frozen=True, kw_only=True):
    """Whether Dojo was asked, and answered everything."""

    asked: bool
    whole: bool
    notes: list[str]


class DayView(View, frozen=True, kw_only=True):
    """A day's money, `from` its midnight at the venue `to` the next. `otherTakings` are the account's that are none of the till's.

    `arriving`: payments taken so recently that their news may still be on its way.
    """

    date: str
    timezone: str
    from_: str = msgspec.field(name="from")
    to: str
    dojo: AskedView
    totals: list[TotalView]
    differences: list[DifferenceView]
    payments: list[DayPaymentView]
    arriving: list[str]
    other_takings: list[SumView]
    open_bills: list[OpenBillView]


def day_view(compared: Compared, *, is_whole: bool) -> DayView:
    """The day as programs read it; `is_whole` where Dojo could be asked for everything."""
    result, books, asked = compared.takings, compared.books, compared.asked
    kinds = kinds_by_intent(result)
    return DayView(
        date=result.day.date.isoformat(),
        timezone=result.day.zone.key,
        from_=to_text(result.day.start),
        to=to_text(result.day.end),
        dojo=AskedView(asked=asked.is_asked, whole=asked.is_asked and asked.is_whole and is_whole, notes=asked.notes),
        totals=[_total(total) for total in result.totals],
        differences=[_difference(one) for one in result.differences],
        payments=[_payment(row, kinds.get(row.intent_id, [])) for row in result.rows],
        arriving=[row.intent_id for row in result.arriving],
        other_takings=[_sum(one) for one in result.others],
        open_bills=[
            OpenBillView(**_of(books.orders[bill.order_id]), owed=bill.owed, held=bill.held)
            for bill in sorted(books.open_bills, key=lambda bill: bill.order_id)
        ],
    )


def _total(total: Total) -> TotalView:
    return TotalView(
        currency=total.currency,
        till=_sum(total.till),
        dojo=_sum(total.dojo) if total.dojo else None,
        in_words=Money(total.in_words, total.currency),
        held_back=Money(total.held_back, total.currency),
        outstanding=Money(total.outstanding, total.currency),
        held=Money(total.held, total.currency),
        open_bills=total.open_bills,
    )


def _sum(one: Sum) -> SumView:
    return SumView(payments=one.count, **_money(one.figures))


def _figures(figures: Figures) -> FiguresView:
    return FiguresView(**_money(figures))


def _money(figures: Figures) -> dict[str, Money]:
    values = {"captured": figures.captured, "tips": figures.tips, "refunded": figures.refunded, "net": figures.net}
    return {name: Money(value, figures.currency) for name, value in values.items()}


def _of(order: Order | None) -> dict[str, str | None]:
    return {name: value or None for name, value in zip(("order_id", "reference", "table_id"), names(order), strict=True)}


def _difference(one: Difference) -> DifferenceView:
    said = one.resolution
    return DifferenceView(
        **_of(one.order),
        kind=one.kind,
        payment_intent_id=one.intent_id,
        amount=one.amount,
        detail=one.detail,
        resolved=Explained(at=said.at, actor=said.actor, reason=said.reason, seq=said.seq) if said else None,
    )


def _payment(row: Row, kinds: list[str]) -> DayPaymentView:
    return DayPaymentView(
        **_of(row.order),
        payment_intent_id=row.intent_id,
        state=row.state or None,
        recorded_at=_text(row.recorded_at),
        in_words=row.in_words,
        held_back=row.held_back or None,
        till=_figures(row.till),
        dojo=_figures(row.dojo) if row.dojo else None,
        dojo_status=row.dojo_status or None,
        dojo_captured_at=_text(row.captured_at),
        differences=kinds,
    )


def _text(moment: datetime | None) -> str | None:
    return to_text(moment) if moment else None
