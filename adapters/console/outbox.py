"""`/outbox`: the calls to Dojo and the till: which wait, since when, after how many tries, why, and when they are tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from adapters.console.act import AT_ONCE
from adapters.console.actions import LABELS, REQUEUE, STOP, UNDER_WAY, can_be_tried
from adapters.console.consequences import call_of, name_of
from adapters.console.paths import order_path
from adapters.console.site import Site
from adapters.edge.asked import one_of
from adapters.edge.cursors import Cursors
from adapters.edge.orders import table_caller
from workflow.attention import Concern
from workflow.effects import DESTINATION_NAMES, DESTINATIONS
from workflow.journal.reads import Position, StoredTaskRow
from workflow.journal.schema import TASK_STATUSES
from workflow.unit import PAUSE_CODES

AT_A_TIME = 50
KINDS = {"pending": "busy", "leased": "busy", "paused": "over", "dead": "bad", "done": "good"}
NAMES = {"pending": "Waiting", "leased": "Under way", "paused": "Held back", "dead": "Given up", "done": "Done"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as the page shows it; `whose` is its order as people call it, `actions` are names of what may be done about it."""

    task: StoredTaskRow
    what: str
    whose: str
    path: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Why nothing is sent to a destination, and when it is asked again; None where nothing waits that could ask."""

    whom: str
    concern: Concern
    probe_at: str | None


def pages(site: Site) -> Blueprint:
    """The page."""
    blueprint, cursors = Blueprint("outbox", __name__), Cursors(site.desk.reads.secret())

    @blueprint.get("/outbox")
    def show() -> Response:
        """Calls to Dojo and the till: done, waiting or given up."""
        status = one_of("status", request.args.get("status") or None, TASK_STATUSES)
        scope = ("outbox page", status)
        after = cursors.position(request.args.get("after"), scope, "after")
        found = site.desk.reads.tasks(status, AT_A_TIME + 1, after=after)
        calls = _calls(site, found[:AT_A_TIME])
        last = found[AT_A_TIME - 1] if len(found) > AT_A_TIME else None
        token = cursors.token(Position(last.created_at, last.id), scope) if last else None
        following = urlencode({**({"status": status} if status else {}), "after": token}) if token else ""
        return site.page(
            "outbox.html",
            by_journal=True,
            calls=calls,
            status=status,
            counts=site.desk.reads.unfinished_tasks(),
            names=NAMES,
            kinds=KINDS,
            labels=LABELS,
            pauses=_pauses(site),
            following=following,
            is_first=after is None,
            back=request.full_path.rstrip("?"),
            actions=list(dict.fromkeys(action for call in calls for action in call.actions)),
            at_once=AT_ONCE,
        )

    return blueprint


def _calls(site: Site, tasks: Sequence[StoredTaskRow]) -> list[Call]:
    reads = site.desk.reads
    table = table_caller(reads)
    orders = {order_id: reads.order(order_id) for order_id in {task.order_id for task in tasks if task.order_id}}
    named = {order_id: name_of(stored.order, table) for order_id, stored in orders.items() if stored}
    return [_call(site, task, named.get(task.order_id, task.order_id)) for task in tasks]


def _call(site: Site, task: StoredTaskRow, whose: str) -> Call:
    actions: tuple[str, ...] = ()
    if site.may("operator"):
        actions = (REQUEUE,) * can_be_tried(task) + (STOP,) * (task.status in UNDER_WAY)
    path = order_path(task.order_id) if task.order_id else ""
    return Call(task=task, what=call_of(task.effect, task.payment_intent_id), whose=whose, path=path, actions=actions)


def _pauses(site: Site) -> list[Pause]:
    """Of each destination that takes no calls of ours: why, since when, and until when we wait."""
    standing = {item.code: item for item in site.desk.reads.service_attention()}
    return [
        Pause(
            whom=DESTINATION_NAMES[destination],
            concern=Concern(**standing[code]._asdict()),
            probe_at=site.desk.reads.next_probe(destination),
        )
        for destination in DESTINATIONS
        for code in PAUSE_CODES[destination]
        if code in standing
    ]
