"""`/`: is anything wrong, what came in today, where are the orders, and does Dojo still talk to us?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import urlencode

from flask import Blueprint, Response
from markupsafe import Markup

from adapters.console.paths import order_path
from adapters.console.site import Site
from adapters.edge.orders import table_caller
from workflow import diagrams
from workflow.attention import Concern, concerns, meaning
from workflow.books import Day
from workflow.effects import DESTINATION_NAMES
from workflow.journal.reads import StoredAttention
from workflow.lifecycle import ORDER
from workflow.money import Money
from workflow.today import OPEN_STATES, Line, SoFar, Till, lines, standing

ALERTS = 8
"""So many stand by themselves; the rest is counted."""
MOST_READ = 200
"""Of what needs a person for one reason, so many are looked at, the oldest first; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that needs a person, or `count` of a kind: what, since when the oldest, and where it leads."""

    count: int
    what: str
    where: str
    amount: Money | None
    since: str
    path: str
    is_grave: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How many orders are in a state, what that means, and where they are listed."""

    name: str
    count: int
    meaning: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the page shows of the journal, the same for everybody."""

    alerts: list[Alert]
    alerts_beyond: int
    day: Day
    sums: list[SoFar]
    states: list[State]
    picture: Markup
    lines: list[Line]


def pages(site: Site) -> Blueprint:
    """The first page."""
    blueprint = Blueprint("today", __name__)
    till = Till(site.desk.reads, site.desk.zone, site.desk.currency)

    @blueprint.get("/")
    def show() -> Response:
        """What is wrong, what came in so far, where the orders are, and when Dojo was last heard."""
        troubles = tuple(site.desk.health.attention())  # What keeps the journal from being written changes nothing in it.
        found = site.freshness.shared("today", (site.minute(), troubles), lambda: _figures(site, till, troubles))
        return site.page("today.html", by_journal=True, found=found, day=found.day.date.isoformat(), names=DESTINATION_NAMES, Money=Money)

    return blueprint


def _figures(site: Site, till: Till, troubles: Sequence[StoredAttention]) -> Figures:
    desk = site.desk
    counts = desk.reads.attention_counts()
    stored = [pair for code in counts for pair in desk.reads.gravest_attention([code], MOST_READ)]
    found = concerns([*((row, None) for row in troubles), *stored])
    unread = Counter(counts) - Counter(row.code for row, _ in stored)
    alerts = _alerts(found, unread, table_caller(desk.reads))[:ALERTS]
    day, sums = till.so_far(desk.clock.now())
    states = [
        State(name=name, count=count, meaning=ORDER.states[name], path=_listed(name, day))
        for name, count in standing(desk.reads, day).items()
    ]
    return Figures(
        alerts=alerts,
        alerts_beyond=len(found) + unread.total() - sum(alert.count for alert in alerts),
        day=day,
        sums=sums,
        states=states,
        picture=_picture(tuple((state.name, state.count, state.path) for state in states)),
        lines=lines(desk.reads, counts),
    )


def _listed(state: str, day: Day) -> str:
    """The list of just those orders that are counted."""
    since = {} if state in OPEN_STATES else {"date": day.date.isoformat()}
    return f"/orders?{urlencode({'state': state} | since)}"


@lru_cache(8)
def _picture(states: tuple[tuple[str, int, str], ...]) -> Markup:
    counts, paths = {name: count for name, count, _ in states}, {name: path for name, _, path in states}
    return Markup(diagrams.svg(ORDER, embedded=True, counts=counts, link=paths.__getitem__))  # noqa: S704  # Escaped by whoever drew it.


def _alerts(
    found: list[Concern], unread: Mapping[str, int] = MappingProxyType({}), table: Callable[[str], str] = "Table {}".format
) -> list[Alert]:
    """What is paid and not on the till payment by payment, everything else by its kind, in the order in which a person should look.

    Of each code there is `unread` more than was found.
    """
    paid: dict[tuple[str, str], list[Concern]] = {}
    by_code: dict[str, list[Concern]] = {}
    for concern in found:
        if concern.is_paid_not_on_till:
            paid.setdefault((concern.order_id, concern.payment_intent_id), []).append(concern)
        else:
            by_code.setdefault(concern.code, []).append(concern)
    return [
        *(_paid_not_on_till(same, table) for same in paid.values()),
        *(_of_a_kind(code, len(same) + unread.get(code, 0), same, table) for code, same in by_code.items()),
    ]


def _paid_not_on_till(same: list[Concern], table: Callable[[str], str]) -> Alert:
    """Of one payment, for however many reasons."""
    concern = same[0]
    return Alert(
        count=len(same),
        what="1 order PAID but not on the till",
        where=_where(concern, table),
        amount=concern.amount,
        since=concern.since,
        path=_path(same),
        is_grave=True,
    )


def _of_a_kind(code: str, count: int, same: list[Concern], table: Callable[[str], str]) -> Alert:
    why = meaning(code).why
    return Alert(
        count=count,
        what=why if count == 1 else f"{count:,} × {why}",
        where=_where(same[0], table) if count == 1 else "",
        amount=None,
        since=min(concern.since for concern in same),
        path=_path(same),
        is_grave=False,
    )


def _where(concern: Concern, table: Callable[[str], str]) -> str:
    if concern.table_id:
        return table(concern.table_id)
    return f"order {concern.reference or concern.order_id}" if concern.order_id else ""


def _path(same: list[Concern]) -> str:
    """One order's own page; where it is about several, or none, the page with just that."""
    orders = {concern.order_id for concern in same}
    order_id = orders.pop() if len(orders) == 1 else ""
    return order_path(order_id) if order_id else f"/attention?{urlencode({'code': same[0].code})}"
