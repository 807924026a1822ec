"""Whatever a person does on the pages: a preview with a field for the reason, by GET, and the deed, by POST, told item by item.

Previews are `/orders/ID/resolve?action=NAME&intent=ID` (`code=CODE` for one thing alone), `/outbox/ID/requeue`, `/outbox/ID/stop`, and
`/act` for many at once. The form of each goes to `/act`: it names everything that was shown, and nothing else is done. `back` says which
page follows; browsers do not say where somebody comes from, since pages ask them not to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from flask import Blueprint, Response, request

from adapters.console.actions import DANGEROUS, FOLLOWING, LABELS, REQUEUE, RESOLVING, STOP, UNDER_WAY, Act, do, resolving, stuck_calls
from adapters.console.consequences import Preview, no_call, previews
from adapters.console.paths import is_own_path, order_path
from adapters.console.site import Site
from adapters.edge.strict_json import BadInput, shown
from workflow.commands import RequeueTask, ResolveOrder, ResolveVenue, StopTask
from workflow.lifecycle import ATTENTION
from workflow.plurals import plural
from workflow.ports import OrderId

AT_ONCE = 100
"""At most so many things are done at once: what is listed in a preview must be read."""
MOST_TOLD = 10
"""Of so many things it is told one by one why they were not done; the rest is counted."""
CHANGED = "It has changed since you looked. Look at it again, then decide."
SEPARATOR = ":"
"""Of a thing's parts, in this order: its order, its code, its payment. No order's id has it, nor has a code."""


def pages(site: Site) -> Blueprint:
    """Everything that changes something, but for logging in."""
    blueprint = Blueprint("act", __name__)
    _add_previews(blueprint, site)
    _add_deed(blueprint, site)
    return blueprint


def _add_previews(blueprint: Blueprint, site: Site) -> None:
    @blueprint.get("/orders/<order_id>/resolve")
    def resolve(order_id: str) -> Response:
        """What an action would do about what needs a person of one order."""
        action, code = _action(RESOLVING), request.args.get("code", "")
        if code and code not in ATTENTION:
            raise BadInput("code", f"expected a code of the declaration, got {shown(code)}")
        acts = resolving(site.desk, order_id, action, request.args.get("intent", ""), code)
        return _preview(site, action, acts, back=order_path(order_id))

    @blueprint.get("/outbox/<task_id>/requeue")
    def requeue(task_id: str) -> Response:
        """What having a call made now would do."""
        return _preview(site, REQUEUE, [RequeueTask(task_id=task_id, reason="", actor="")], back=_page_of(site, task_id))

    @blueprint.get("/outbox/<task_id>/stop")
    def stop(task_id: str) -> Response:
        """What having a call made no more would do."""
        return _preview(site, STOP, [StopTask(task_id=task_id, reason="", actor="")], back=_page_of(site, task_id))

    @blueprint.get("/act")
    def look() -> Response:
        """What an action would do about several things that were chosen, or about all with one code."""
        action = _action((*RESOLVING, REQUEUE, STOP))
        picked = _all_of(site) if "code" in request.args else request.args.getlist("pick")
        acts, unfit = _acts_of(site, action, picked)
        return _preview(site, action, acts, back="/attention", unfit=unfit, is_cut=len(picked) > AT_ONCE)


def _add_deed(blueprint: Blueprint, site: Site) -> None:
    @blueprint.post("/act")
    def deed() -> Response:
        """An operator does what the page showed, with a reason."""
        actor, action, reason = site.require("operator"), _action((*RESOLVING, REQUEUE, STOP)), site.reason()
        picked = request.form.getlist("pick")
        acts, unfit = _acts_of(site, action, picked)
        _do(site, action, [replace(act, actor=actor, reason=reason) for act in acts[:AT_ONCE]], request.form.getlist("seen"))
        _tell_not_done(site, [(each.title, each.refusal) for each in unfit])
        if max(len(acts), len(picked)) > AT_ONCE:
            site.say(f"At most {AT_ONCE} things are done at once: the rest is left as it was.", "warn")
        return site.to(_back("/attention"))


def _page_of(site: Site, task_id: str) -> str:
    """Where a call is looked at: with its order, or among the others."""
    task = site.desk.reads.task(task_id)
    return order_path(task.order_id) if task and task.order_id else "/outbox"


def pick_of(order_id: str, code: str, intent_id: str) -> str:
    """What stands in a form for something that needs a person."""
    return SEPARATOR.join((order_id, code, intent_id))


def _acts_of(site: Site, action: str, picked: Sequence[str]) -> tuple[list[Act], list[Preview]]:
    """What the action means for what was picked, each thing once; and what it means nothing for. No more is looked at than is done."""
    acts, unfit = dict[Act, None](), list[Preview]()
    for pick in dict.fromkeys(picked[:AT_ONCE]):
        found = acts_of(site, action, pick)
        acts |= dict.fromkeys(found)
        if not found:
            order_id, code, intent_id = pick.split(SEPARATOR, 2)
            unfit.append(no_call(site.desk, order_id, code, intent_id, action))
    return list(acts), unfit


def acts_of(site: Site, action: str, pick: str) -> list[Act]:
    """What the action means for what was picked: a call by its id, or something that needs a person; several calls may be behind that."""
    order_id, _, rest = pick.partition(SEPARATOR)
    code, is_attention, intent_id = rest.partition(SEPARATOR)
    if not is_attention or code not in ATTENTION:
        if action not in (REQUEUE, STOP):
            raise BadInput("pick", f"expected something that needs a person, got {shown(pick)}")
        return [(RequeueTask if action == REQUEUE else StopTask)(task_id=pick, reason="", actor="")]
    if action == REQUEUE:
        stuck = stuck_calls(site.desk, order_id, code, intent_id)
        return [RequeueTask(task_id=task.id, reason="", actor="") for task in stuck]
    if action == STOP:
        waiting = [task for task in stuck_calls(site.desk, order_id, code, intent_id) if task.status in UNDER_WAY]
        return [StopTask(task_id=task.id, reason="", actor="") for task in waiting]
    if order_id:
        return [ResolveOrder(order_id=OrderId(order_id), action=action, reason="", actor="", intent_id=intent_id, code=code)]
    return [ResolveVenue(action=action, reason="", actor="", intent_id=intent_id, code=code)]


def _pick(act: Act) -> str:
    if isinstance(act, RequeueTask | StopTask):
        return act.task_id
    return pick_of(act.order_id if isinstance(act, ResolveOrder) else "", act.code, act.intent_id)


def _all_of(site: Site) -> list[str]:
    """All that needs a person with a code, the oldest first: one more than is done at once, to tell that there are more."""
    code = request.args["code"]
    if code not in ATTENTION:
        raise BadInput("code", f"expected a code of the declaration, got {shown(code)}")
    return [pick_of(row.order_id, row.code, row.payment_intent_id) for row, _ in site.desk.reads.gravest_attention([code], AT_ONCE + 1)]


def _action(known: Sequence[str]) -> str:
    action = request.values.get("action", "")
    if action not in known:
        raise BadInput("action", f"expected one of {', '.join(known)}, got {shown(action)}")
    return action


def _preview(site: Site, action: str, acts: list[Act], *, back: str, unfit: Iterable[Preview] = (), is_cut: bool = False) -> Response:
    """What would come of it, with a form that sends just that."""
    site.require("operator")
    found = previews(site.desk, acts[:AT_ONCE])
    possible = [each for each in found if not each.refusal]
    return site.page(
        "act.html",
        action=action,
        label=LABELS[action],
        is_dangerous=action in DANGEROUS,
        possible=possible,
        impossible=[*(each for each in found if each.refusal), *unfit],
        picks=[(_pick(each.act), each.seen) for each in possible if each.act],
        is_cut=is_cut or len(acts) > AT_ONCE,
        at_once=AT_ONCE,
        back=_back(back),
    )


def _do(site: Site, action: str, acts: list[Act], seen: Sequence[str]) -> None:
    """All of it, each in a transaction of its own: what cannot be done keeps nothing else from being done, and is told.

    Nothing is done of which `seen` says that the person was shown something else.
    """
    found = previews(site.desk, acts)
    shown_then = seen if len(seen) == len(acts) else [each.seen for each in found]
    not_done = []
    for act, now, then in zip(acts, found, shown_then, strict=True):
        is_another = bool(then and now.seen) and then != now.seen
        if why := CHANGED if is_another else do(site.desk, act):
            not_done.append((now.title, why))
    done = len(acts) - len(not_done)
    if done:
        whom = found[0].title if len(acts) == 1 else f"{plural(done, 'thing')} of {len(acts)}"
        site.say(f"{LABELS[action]}: done for {whom}. It is in the journal with your name.{FOLLOWING.get(action, '')}")
    if not acts:
        site.say(f"{LABELS[action]}: nothing was left to do.", "warn")
    _tell_not_done(site, not_done)


def _tell_not_done(site: Site, not_done: Sequence[tuple[str, str]]) -> None:
    for title, why in not_done[:MOST_TOLD]:
        site.say(f"Not done for {title}: {why}", "bad")
    if beyond := len(not_done[MOST_TOLD:]):
        site.say(f"Nor for {plural(beyond, 'more thing')}: look at them one by one.", "bad")


def _back(default: str) -> str:
    """The page that a person came from, as the link or the form says, where it is one of ours."""
    asked = request.values.get("back", "")
    return asked if is_own_path(asked) else default
