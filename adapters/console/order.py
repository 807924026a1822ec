"""`/orders/{id}`: why this order is as it is, what happens next, and everything that ever happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from adapters.console import way
from adapters.console.actions import LABELS, REQUEUE, STOP, can_be_tried, possible
from adapters.console.files import attached
from adapters.console.paths import order_path
from adapters.console.site import Site
from adapters.edge.asked import one_of, position
from adapters.edge.orders import table_caller
from adapters.edge.pages import amount, in_words, money, parsed, span
from adapters.edge.strict_json import BadInput, shown
from workflow import diagrams
from workflow.attention import Concern, of_order
from workflow.bill import Personal
from workflow.clock import to_text
from workflow.commands import EraseOrder
from workflow.errors import NotYet, PositionUnknown, short
from workflow.journal.reads import StoredEntry, StoredTaskRow
from workflow.lifecycle import FULFILMENT, ORDER, RESOLUTIONS
from workflow.money import Money
from workflow.order import Lock, Order
from workflow.past import PastOrder, PersonalThen, order_at
from workflow.ports import OrderId
from workflow.situation import ACTS, OPEN, Spelling, past_situation, situation_of
from workflow.timeline import CALLS, Beside, Row, compact, problems, redacted, timeline

PAGE_ENTRIES = 200
"""So many entries are told on one page; older ones are a page further."""
VIEWS = ("compact", "full", "json")
PICTURES = {"mmd": ("mermaid", "text/plain"), "svg": ("svg", "image/svg+xml"), "dot": ("dot", "text/plain")}
MEANINGS = {each.action: each.meaning for each in RESOLUTIONS}
PERSONAL_THEN: dict[PersonalThen, str] = {
    "none": "There was none then.",
    "kept": "Never in the journal; as it was then.",
    "changed": "Never in the journal; changed since then.",
    "gone": "There was some then, which is not kept any more.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is shown: the order now, or as it was at the position `past`."""

    order: Order
    personal: Personal
    past: PastOrder | None


class Action(NamedTuple):
    """Something that an operator may do: its name in the journal, what it does, about what, and the page that asks for the reason."""

    name: str
    meaning: str
    about: str
    path: str

    @property
    def label(self) -> str:
        """What stands on the button, here and wherever else it is offered."""
        return LABELS[self.name]


class ShownConcern(NamedTuple):
    """Something that needs a person; `following` is what to do next."""

    code: str
    since: str
    detail: str
    why: str
    following: str


def pages(site: Site) -> Blueprint:
    """The page of one order, its proof and its pictures, and the erasing of its personal data."""
    blueprint = Blueprint("order", __name__)
    _add_page(blueprint, site)
    _add_files(blueprint, site)
    _add_erasing(blueprint, site)
    return blueprint


def _add_page(blueprint: Blueprint, site: Site) -> None:
    @blueprint.get("/orders/<order_id>")
    def show(order_id: str) -> Response:
        """One order: why and what next, its money, the way it took, its timeline, and all calls; `?at=` as it was at an entry."""
        with site.desk.reads.snapshot():  # Nothing on the page contradicts the rest of it.
            values = _values(site, _found(site, order_id))
        may_run_out = values["lock"] is not None and not values["lock"].is_stale  # Of which no entry tells.
        return site.page("order.html", by_journal=not may_run_out, **values)


def _add_files(blueprint: Blueprint, site: Site) -> None:
    @blueprint.get("/orders/<order_id>/proof")
    def proof(order_id: str) -> Response:
        """A file that proves the order to a third party."""
        _present(site, order_id)
        content = msgspec.json.format(msgspec.json.encode(site.desk.prover.prove(order_id)))
        return attached(content, "application/json", _file_of(order_id, "proof.json"))

    @blueprint.get("/orders/<order_id>/receipts")
    def receipts(order_id: str) -> Response:
        """What was acknowledged of it."""
        _present(site, order_id)
        content = msgspec.json.format(msgspec.json.encode({"data": site.desk.prover.receipts(order_id)}))
        return attached(content, "application/json", _file_of(order_id, "receipts.json"))

    @blueprint.get("/orders/<order_id>/diagram.<ending>")
    def diagram(order_id: str, ending: str) -> Response:
        """The way that it took, as a file."""
        if ending not in PICTURES:
            raise NotFound(f"there is the picture as {', '.join(PICTURES)}")
        order, (form, kind) = _present(site, order_id).order, PICTURES[ending]
        moves = [entry.entry() for entry in site.desk.reads.moves(order.id)]
        text = diagrams.render(way.machine_of(site.desk.reads, moves, ORDER, ""), form, diagrams.path_taken(moves, ORDER.name))
        return attached(text, kind, _file_of(order.id, f"diagram.{ending}"))


def _add_erasing(blueprint: Blueprint, site: Site) -> None:
    @blueprint.get("/orders/<order_id>/erase")
    def ask_to_erase(order_id: str) -> Response:
        """What erasing its personal data means."""
        site.require("operator")
        found = _present(site, order_id)
        return site.page("order_erase.html", order=found.order, kinds=found.personal.kinds())

    @blueprint.post("/orders/<order_id>/erase")
    def erase(order_id: str) -> Response:
        """Erase its personal data for good, as an operator, with a reason."""
        actor, order = site.require("operator"), _present(site, order_id).order
        outcome = site.desk.engine.erase(EraseOrder(order_id=OrderId(order_id), reason=site.reason(), actor=actor))
        if outcome.refusal:
            raise outcome.refusal
        whose = order.bill.reference or order.id
        site.say(f"The personal data of order {whose} are erased. Sealed copies and backups of before still have them.")
        return site.to(order_path(order_id))


def _present(site: Site, order_id: str) -> Shown:
    stored = site.desk.reads.order(order_id)
    if stored is None:
        raise NotFound(f"There is no order {short(order_id)}.")
    return Shown(order=stored.order, personal=stored.personal, past=None)


def _found(site: Site, order_id: str) -> Shown:
    """The order now, or as it was at `?at=`. Raises NotFound, BadInput."""
    found, seq = _present(site, order_id), position("at", request.args.get("at") or None)
    if seq is None:
        return found
    try:
        past = order_at(site.desk.reads, order_id, seq)
    except (PositionUnknown, NotYet) as error:
        raise BadInput("at", str(error)) from error
    return Shown(order=past.order, personal=found.personal, past=past)


def _values(site: Site, found: Shown) -> dict[str, Any]:
    """Everything that the template shows."""
    desk, order, past = site.desk, found.order, found.past
    now = past.at if past else to_text(desk.clock.now())
    spelling = Spelling(moment=lambda at: _clock(site, at), money=money, table=table_caller(desk.reads))
    told = past_situation(order, spelling) if past else situation_of(desk.reads, order, now, spelling)
    dine_in = order.bill.details.dine_in
    tasks = [] if past else desk.reads.tasks_of(order.id)
    moves = [each for each in past.entries if each.kind == "transition"] if past else desk.reads.moves(order.id)
    view, entries, older = _view(), *_entries(site, found)
    rows, paths = timeline(entries, _beside(site, found, tasks, entries)), way.paths(desk.reads, order, moves)
    return {
        "order": order,
        "personal": found.personal,
        "past": past,
        "told": told,
        "concerns": [_concern(each, spelling) for each in of_order(order)],
        "table": spelling.table(dine_in.table_id) if dine_in and dine_in.table_id else "",
        "held": Money(order.reserved, order.currency),
        "amount": lambda value: amount(value, order.currency),
        "path": paths[0],
        "payment_paths": {path.intent_id: path for path in paths if path.intent_id},
        "kitchen_path": paths[-1],
        "rows": _chosen(rows, view),
        "view": view,
        "only": _switch("problems"),
        "entries": [_as_json(each) for each in entries] if view == "json" else [],
        "body": _body,
        "older": older,
        "open_calls": [task for task in reversed(tasks) if task.status != "done"],
        "past_calls": [task for task in reversed(tasks) if task.status == "done"],
        "acts": {name: sentence[0] for name, sentence in ACTS.items()},
        "lock": _lock(order.lock, now),
        "actions": [] if past else _actions(order, of_order(order), tasks, now),
        "may_erase": not past and not order.erasure and found.personal.kinds() and order.is_over,
        "kitchen": FULFILMENT.states.get(order.status, ""),
        "personal_then": PERSONAL_THEN[past.personal] if past else "",
        "link": _link,
        "ago": lambda at: span(parsed(now), at),
    }


def _entries(site: Site, found: Shown) -> tuple[list[StoredEntry], int | None]:
    """The entries of this page, oldest first, and the position in front of which older ones stand."""
    before = position("before", request.args.get("before") or None)
    if found.past:
        told = [each for each in found.past.entries if before is None or each.seq < before]
    else:
        told = site.desk.reads.newest_entries(found.order.id, PAGE_ENTRIES + 1, before=before)
    page = told[-PAGE_ENTRIES:]
    return page, page[0].seq if len(told) > PAGE_ENTRIES else None


def _beside(site: Site, found: Shown, tasks: list[StoredTaskRow], entries: list[StoredEntry]) -> Beside:
    """What is known beside the entries; of the past nothing is, nor does a page of older entries tell what waits now."""
    if found.past:
        return Beside()
    reads, order_id = site.desk.reads, found.order.id
    told = [task for task in tasks if task.status not in OPEN] if request.args.get("before") else tasks
    # What was read before its order was known is no task of the order's.
    asked = {task.id for task in told} | {str(entry.entry().body["task"]) for entry in entries if '"task":' in entry.body}
    return Beside(tasks=told, failures=reads.failures_of(sorted(asked)), repeats=reads.repeats_of(order_id))


def _chosen(rows: list[Row], view: str) -> list[Row]:
    chosen = rows if view == "full" else compact(rows)
    return problems(chosen) if _switch("problems") else chosen


def _as_json(entry: StoredEntry) -> tuple[int, str]:
    columns = entry._asdict() | {"body": redacted(entry.entry().body)}
    return entry.seq, _pretty(columns)


def _body(entry: StoredEntry) -> str:
    """The facts of an entry, as a person may see them."""
    return _pretty(redacted(entry.entry().body))


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _concern(concern: Concern, spelling: Spelling) -> ShownConcern:
    why = concern.told(spelling.money, spelling.table)
    return ShownConcern(concern.code, concern.since, concern.detail, why, concern.next)


def _actions(order: Order, concerns: Sequence[Concern], tasks: Sequence[StoredTaskRow], now: str) -> list[Action]:
    """What an operator may do now, and nothing that would be refused: calls to be made now come first, those to be stopped last."""
    base, calls = order_path(order.id), "/outbox/{}/{}".format
    found = [
        Action(REQUEUE, f"{ACTS[task.effect][1]}: have the call made now.", CALLS[task.effect], calls(quote(task.id, safe=""), REQUEUE))
        for task in tasks
        if can_be_tried(task)
    ]
    for concern in concerns:
        for name in possible(order, concern.code, concern.payment_intent_id, now):
            asked = {"action": name, "code": concern.code}
            asked |= {"intent": concern.payment_intent_id} if concern.payment_intent_id else {}
            found.append(Action(name, MEANINGS[name], in_words(concern.code).lower(), f"{base}/resolve?{urlencode(asked)}"))
    return found + [
        Action(STOP, f"{ACTS[task.effect][1]}: make the call no more.", CALLS[task.effect], calls(quote(task.id, safe=""), STOP))
        for task in tasks
        if task.status in OPEN and task.last_error
    ]


class ShownLock(NamedTuple):
    """The lock that was taken last and not released: for whom, until when, and whether it ran out."""

    holder: str
    lock_id: str
    expires_at: str
    is_stale: bool


def _lock(lock: Lock | None, now: str) -> ShownLock | None:
    return None if lock is None or lock.released else ShownLock(lock.holder, lock.lock_id, lock.expires_at, not lock.is_live(now))


def _clock(site: Site, at: str) -> str:
    """A moment in a sentence: the time, with the date where it is not today."""
    if not at:
        return "an unknown time"
    then, today = parsed(at).astimezone(site.zone), _today(site)
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%H:%M:%S on %-d %b %Y}"


def _today(site: Site) -> datetime:
    return site.desk.clock.now().astimezone(site.zone)


def _view() -> str:
    return one_of("view", request.args.get("view"), VIEWS) or VIEWS[0]


def _switch(name: str) -> bool:
    value = request.args.get(name, "")
    if value not in ("", "1"):
        raise BadInput(name, f"expected 1 or nothing, got {shown(value)}")
    return value == "1"


def _link(**changes: object) -> str:
    """This page's query with something else in it; None takes a parameter away."""
    given = {name: request.args.get(name) for name in ("at", "view", "problems", "before")} | changes
    query = "&".join(f"{name}={value}" for name, value in given.items() if value)
    return f"?{query}" if query else "?"


def _file_of(order_id: str, name: str) -> str:
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in order_id)
    return f"{safe}-{name}"
