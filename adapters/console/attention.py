"""`/attention`: what needs a person, why, since when, and what to do about it; the gravest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from adapters.console.act import AT_ONCE, pick_of
from adapters.console.actions import LABELS, REQUEUE, STOP, UNDER_WAY, possible, possible_without_order, stuck_calls
from adapters.console.consequences import name_of
from adapters.console.paths import order_path
from adapters.console.site import Site
from adapters.edge.asked import one_of
from adapters.edge.orders import table_caller
from adapters.edge.pages import money
from adapters.edge.strict_json import BadInput, shown
from workflow.attention import Concern, by_gravity, concerns
from workflow.clock import to_text
from workflow.declaration import words
from workflow.errors import JournalDamaged, JournalUnavailable
from workflow.journal.reads import StoredAttention, StoredTaskRow
from workflow.lifecycle import ATTENTION
from workflow.order import Order

AT_A_TIME = 25
"""So many things stand on a page of one section or code, and of each section where all are shown, FIRST_FEW."""
FIRST_FEW = 5
MOST_READ = 500
"""The gravest so many are looked at; a code that is asked for is looked at alone, so that everything can be reached."""
PARKED_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a shift manager looks at together; `codes` are those that come here, of whatever is not in an earlier one."""

    name: str
    title: str
    hint: str
    codes: str = ""


PAID, DEAD, SERVICE, REST = "paid", "dead", "service", "rest"
SECTIONS = (
    Section(name=PAID, title="Paid, but not on the till", hint="Dojo has the customer's money, and the till does not know of it."),
    Section(name=SERVICE, title="The service itself", hint="What concerns no single order: the journal, Dojo, the till, the clock."),
    Section(
        name="mismatches",
        title="Payments that disagree",
        hint="What Dojo says and what the order says do not go together.",
        codes="AMOUNT_MISMATCH CURRENCY_MISMATCH EXTERNAL_ID_MISMATCH INTENT_NOT_FOUND UNKNOWN_STATUS STATUS_LIE UNDERPAID OVERPAID "
        "PAYMENT_CONFLICT TOTAL_MISMATCH",
    ),
    Section(
        name=DEAD,
        title="Calls that were given up",
        hint="They are not made again by themselves.",
        codes="OUTBOX_DEAD",
    ),
    Section(
        name="parked",
        title="Payments whose order nobody knows",
        hint="Dojo spoke of a payment for an order that is not here.",
        codes="ORPHAN_EVENT",
    ),
    Section(
        name="locks",
        title="Stale locks",
        hint="A card machine went away without letting go of its order.",
        codes="LOCK_STALE",
    ),
    Section(name=REST, title="Other orders", hint="What else a person must decide."),
)
_NAMES = {section.name: section for section in SECTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A button, and where it leads to."""

    name: str
    label: str
    path: str

    @property
    def is_first(self) -> bool:
        """It is to be tried before anything else: it decides nothing."""
        return self.name in (REQUEUE, "read_again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that needs a person, as the page shows it; `path` leads to its order, "" where there is none.

    `next_try`: when the till is told again by itself (UTC text), None where it is not. `answer`: what the last call to it brought, "" for
    nothing.
    """

    concern: Concern
    title: str
    why: str
    path: str
    pick: str
    next_try: str | None
    answer: str
    actions: tuple[Action, ...]


def pages(site: Site) -> Blueprint:
    """The page."""
    blueprint = Blueprint("attention", __name__)

    @blueprint.get("/attention")
    def show() -> Response:
        """Everything that needs a person, the gravest first, with what can be done about it."""
        section, code = one_of("section", request.args.get("section"), _NAMES), request.args.get("code")
        found, standing = _standing(site, code)
        one_of("code", code, {**ATTENTION, **standing})  # Of what stands, a newer version may have raised what this one does not know.
        orders = {(row.order_id, row.code, row.payment_intent_id): order for row, order in found}
        urgent = concerns(found)
        counts = Counter(map(section_of, urgent))
        wanted = [each for each in urgent if section in (None, section_of(each))]
        page = _page(len(wanted))
        is_all = section is None and code is None
        shown_now = _first_few(wanted) if is_all else wanted[(page - 1) * AT_A_TIME : page * AT_A_TIME]
        table = table_caller(site.desk.reads) if any(orders.values()) else str  # Without orders the journal may be shut.
        items = [_item(site, each, orders[each.order_id, each.code, each.payment_intent_id], table) for each in shown_now]
        return site.page(
            "attention.html",
            by_journal=True,
            sections=[(each, [item for item in items if section_of(item.concern) == each.name]) for each in SECTIONS],
            counts=counts,
            codes=standing,
            total=sum(standing.values()),
            read=len(urgent),
            section=_NAMES[section] if section else None,
            code=code,
            of_code=_of_code(code, items) if code else [],
            page=page,
            last_page=max(1, -(-len(wanted) // AT_A_TIME)),
            where=lambda number: f"/attention?{urlencode({'section': section} if section else {'code': code or ''})}&page={number}",
            actions={action.name: action.label for item in items for action in item.actions},
            back=request.full_path.rstrip("?"),
            parked=_parked(site) if is_all or section == "parked" else [],
            at_once=AT_ONCE,
            at_a_time=AT_A_TIME,
        )

    return blueprint


def section_of(concern: Concern) -> str:
    """In which section it stands."""
    if concern.is_paid_not_on_till:
        return PAID
    by_code = next((section.name for section in SECTIONS if concern.code in words(section.codes)), "")
    return by_code or (REST if concern.order_id else SERVICE)


def _standing(site: Site, code: str | None) -> tuple[list[tuple[StoredAttention, Order | None]], dict[str, int]]:
    """The gravest of what stands, each with its order, and how often each code stands; of a journal that cannot be read, what is known."""
    health: list[tuple[StoredAttention, Order | None]] = [(row, None) for row in site.desk.health.attention()]
    mine = [pair for pair in health if code in (None, pair[0].code)]
    counts = Counter(row.code for row, _ in health)
    try:
        counts.update(site.desk.reads.attention_counts())
        found = mine + site.desk.reads.gravest_attention([code] if code else by_gravity({*ATTENTION, *counts}), MOST_READ)
    except (JournalUnavailable, JournalDamaged):
        if not health:
            raise
        found = mine
    return found, {each: counts[each] for each in by_gravity(counts)}


def _first_few(found: Sequence[Concern]) -> list[Concern]:
    shown_of = Counter[str]()
    few = []
    for each in found:
        shown_of[section_of(each)] += 1
        if shown_of[section_of(each)] <= FIRST_FEW:
            few.append(each)
    return few


def _item(site: Site, concern: Concern, order: Order | None, table: Callable[[str], str]) -> Item:
    actions: tuple[Action, ...] = ()
    stuck = stuck_calls(site.desk, concern.order_id, concern.code, concern.payment_intent_id)
    if site.may("operator"):
        actions = tuple(_actions(concern, order, stuck, to_text(site.desk.clock.now())))
    whose = f"Payment {concern.payment_intent_id}" if concern.payment_intent_id else "The service"
    return Item(
        concern=concern,
        title=name_of(order, table) if order else whose,
        why=concern.told(money, table),
        path=order_path(concern.order_id) if concern.order_id else "",
        pick=pick_of(concern.order_id, concern.code, concern.payment_intent_id),
        next_try=min((task.next_at for task in stuck if task.status == "pending" and task.next_at), default=None),
        answer=next((task.last_error for task in reversed(stuck) if task.last_error), "") if concern.is_paid_not_on_till else "",
        actions=actions,
    )


def _actions(concern: Concern, order: Order | None, stuck: Sequence[StoredTaskRow], at: str) -> list[Action]:
    """What may be done about it now, and nothing that would be refused."""
    names = (
        possible(order, concern.code, concern.payment_intent_id, at)
        if order
        else possible_without_order(concern.code, concern.payment_intent_id)
    )
    names = [*([REQUEUE] if stuck else ()), *names, *([STOP] if any(each.status in UNDER_WAY for each in stuck) else ())]
    pick = pick_of(concern.order_id, concern.code, concern.payment_intent_id)
    return [_action(name, pick=pick) for name in names]


def _action(name: str, **about: str) -> Action:
    asked = {"action": name, **about, "back": request.full_path.rstrip("?")}
    return Action(name=name, label=LABELS[name], path=f"/act?{urlencode(asked)}")


def _of_code(code: str, items: Sequence[Item]) -> list[Action]:
    """What can be done with all that stand with this code."""
    return [_action(name, code=code) for name in dict.fromkeys(action.name for item in items for action in item.actions)]


def _parked(site: Site) -> list[tuple[str, str, str]]:
    """(intent, since, when it is read again) of payments that are waited for, and nobody need do anything about yet."""
    alarmed = {item.payment_intent_id for item in site.desk.reads.service_attention()}
    found = site.desk.reads.parked(PARKED_SHOWN)
    return [(each.payment_intent_id, each.since, each.next_at) for each in found if each.payment_intent_id not in alarmed]


def _page(count: int) -> int:
    text = request.args.get("page", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) >= 1):
        raise BadInput("page", f"expected a number from 1 on, got {shown(text)}")
    return min(int(text), max(1, -(-count // AT_A_TIME)))
