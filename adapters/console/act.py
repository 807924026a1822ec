"""Whatever a person does on the pages: a preview with a field for the reason, by GET, and the deed, by POST, told item by item.

`/orders/ID/resolve?action=NAME&intent=ID` (`code=CODE` for one thing alone), `/outbox/ID/requeue`, `/outbox/ID/stop`, and `/act` for many
at once. `back` says which page
follows; browsers do not say where somebody comes from, since pages ask them not to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from flask import Blueprint, Response, request

from adapters.console import doing
from adapters.console.doing import LABELS, REQUEUE, RESOLVING, STOP, Act
from adapters.console.site import Site, is_own_path
from adapters.edge.pages import plural
from adapters.edge.strict_json import BadInput, shown
from workflow.commands import RequeueTask, ResolveOrder, ResolveVenue, StopTask
from workflow.lifecycle import ATTENTION
from workflow.ports import OrderId

AT_ONCE = 100
"""At most so many things are done at once: what is listed in a preview must be read."""
SEPARATOR = ":"
"""Of a thing's parts, in this order: its order, its code, its payment. No order's id has it, nor has a code."""


def pages(site: Site) -> Blueprint:
    """Everything that changes something, but for logging in."""
    blueprint = Blueprint("act", __name__)

    @blueprint.route("/orders/<order_id>/resolve", methods=["GET", "POST"])
    def resolve(order_id: str) -> Response:
        """What an action would do about what needs a person of one order; by POST an operator does it, with a reason."""
        action, code = _action(RESOLVING), request.values.get("code", "")
        if code and code not in ATTENTION:
            raise BadInput("code", f"expected a code of the declaration, got {shown(code)}")
        intent_id = request.values.get("intent", "")
        act = ResolveOrder(order_id=OrderId(order_id), action=action, reason="", actor="", intent_id=intent_id, code=code)
        given = {"action": action, "intent": intent_id, "code": code}
        return _answer(site, action, [act], back=f"/orders/{quote(order_id, safe='')}", given=given)

    @blueprint.route("/outbox/<task_id>/requeue", methods=["GET", "POST"])
    def requeue(task_id: str) -> Response:
        """The same of having a call made again that was given up."""
        return _answer(site, REQUEUE, [RequeueTask(task_id=task_id, reason="", actor="")], back=_page_of(site, task_id))

    @blueprint.route("/outbox/<task_id>/stop", methods=["GET", "POST"])
    def stop(task_id: str) -> Response:
        """The same of having a call made no more."""
        return _answer(site, STOP, [StopTask(task_id=task_id, reason="", actor="")], back=_page_of(site, task_id))

    @blueprint.route("/act", methods=["GET", "POST"])
    def many() -> Response:
        """The same of several things that were chosen, or of all with one code."""
        action = _action((*RESOLVING, REQUEUE, STOP))
        found = _all_of(site, action) if "code" in request.values else request.values.getlist("pick")
        picked = list(dict.fromkeys(found))
        acts = [act for pick in picked[:AT_ONCE] for act in acts_of(site, action, pick)]
        return _answer(site, action, acts[:AT_ONCE], back="/attention", is_many=True, left_out=len(picked) - AT_ONCE)

    return blueprint


def _page_of(site: Site, task_id: str) -> str:
    """Where a call is looked at: with its order, or among the others."""
    task = site.desk.reads.task(task_id)
    return f"/orders/{quote(task.order_id, safe='')}" if task and task.order_id else "/outbox"


def pick_of(order_id: str, code: str, intent_id: str) -> str:
    """What stands in a form for something that needs a person."""
    return SEPARATOR.join((order_id, code, intent_id))


def acts_of(site: Site, action: str, pick: str) -> list[Act]:
    """What the action means for what was picked: a call by its id, or something that needs a person; several calls may be behind that."""
    order_id, _, rest = pick.partition(SEPARATOR)
    code, is_attention, intent_id = rest.partition(SEPARATOR)
    if not is_attention or code not in ATTENTION:
        if action not in (REQUEUE, STOP):
            raise BadInput("pick", f"expected something that needs a person, got {shown(pick)}")
        return [(RequeueTask if action == REQUEUE else StopTask)(task_id=pick, reason="", actor="")]
    if action == REQUEUE:
        dead = site.desk.reads.dead_tasks(order_id, intent_id) if code == "OUTBOX_DEAD" else []
        return [RequeueTask(task_id=task.id, reason="", actor="") for task in dead]
    if action == STOP:
        raise BadInput("action", f"{STOP} is for calls that wait")
    if order_id:
        return [ResolveOrder(order_id=OrderId(order_id), action=action, reason="", actor="", intent_id=intent_id, code=code)]
    return [ResolveVenue(action=action, reason="", actor="", intent_id=intent_id, code=code)]


def _pick(act: Act) -> str:
    if isinstance(act, RequeueTask | StopTask):
        return act.task_id
    return pick_of(act.order_id if isinstance(act, ResolveOrder) else "", act.code, act.intent_id)


def _all_of(site: Site, action: str) -> list[str]:
    """All that needs a person with a code, the oldest first: one more than is done at once, to tell that there are more."""
    code = request.values["code"]
    if code not in ATTENTION:
        raise BadInput("code", f"expected a code of the declaration, got {shown(code)}")
    return [pick_of(row.order_id, row.code, row.payment_intent_id) for row, _ in site.desk.reads.gravest_attention([code], AT_ONCE + 1)]


def _action(known: Sequence[str]) -> str:
    action = request.values.get("action", "")
    if action not in known:
        raise BadInput("action", f"expected one of {', '.join(known)}, got {shown(action)}")
    return action


def _answer(
    site: Site,
    action: str,
    acts: list[Act],
    *,
    back: str,
    given: Mapping[str, str] | None = None,
    is_many: bool = False,
    left_out: int = 0,
) -> Response:
    """By GET the preview, whose form sends what is previewed and nothing else; by POST the deed."""
    actor, back = site.require("operator"), _back(back)
    if request.method == "POST":
        reason = site.reason()
        _do(site, action, [replace(act, actor=actor, reason=reason) for act in acts])
        return site.to(back)
    found = [doing.preview(site.desk, act) for act in acts]
    possible = [each for each in found if not each.refusal]
    return site.page(
        "act.html",
        action=action,
        label=LABELS[action],
        is_dangerous=action in doing.DANGEROUS,
        possible=possible,
        impossible=[each for each in found if each.refusal],
        picks=[_pick(each.act) for each in possible] if is_many else [],
        given={"action": action} if is_many else given or {},
        left_out=max(0, left_out),
        at_once=AT_ONCE,
        back=back,
    )


def _do(site: Site, action: str, acts: list[Act]) -> None:
    """All of it, each in a transaction of its own: what cannot be done keeps nothing else from being done, and is told."""
    titles = [doing.preview(site.desk, act).title for act in acts]
    not_done = [(title, why) for title, act in zip(titles, acts, strict=True) if (why := doing.do(site.desk, act))]
    done = len(acts) - len(not_done)
    if done == len(acts) == 1:
        site.say(f"{LABELS[action]}: done for {titles[0]}. It is in the journal with your name.")
    elif done:
        site.say(f"{LABELS[action]}: done for {plural(done, 'thing')} of {len(acts)}. They are in the journal with your name.")
    if not acts:
        site.say(f"{LABELS[action]}: nothing was left to do.")
    for title, why in not_done:
        site.say(f"Not done for {title}: {why}")


def _back(default: str) -> str:
    """The page that a person came from, as the link or the form says, where it is one of ours."""
    asked = request.values.get("back", "")
    return asked if is_own_path(asked) else default
