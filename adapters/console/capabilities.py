"""`/setup/capabilities`: what Dojo calls us for, what it should, and registering that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

from flask import Blueprint, Response, request

from adapters.capabilities import CAPABILITIES, SERVED, USES, Difference, Use, versions_of
from adapters.console.jobs import Job, Jobs
from adapters.console.site import Site
from adapters.registering import Compared
from workflow.errors import AnswerUnreadable, DojoRefusesUs, OutcomeUnknown, Refused, TryAgain, WorkflowError

ASK = "ask-what-is-registered"
WAITING = "waiting for its answer"


def pages(site: Site) -> Blueprint:
    """What is registered, asked for by a person, and registering after a preview of what that changes."""
    blueprint, registrar, jobs = Blueprint("capabilities", __name__), site.desk.setup.registrar, site.desk.jobs

    @blueprint.get("/setup/capabilities")
    def capabilities() -> Response:
        job = _latest(jobs)
        compared = job.outcome.compared if job and job.outcome else None
        return site.page("setup_capabilities.html", job=job, compared=compared, lines=_lines(compared), missing=registrar.missing)

    @blueprint.post("/setup/capabilities/ask")
    def ask() -> Response:
        _begin(site, jobs)
        return site.to("/setup/capabilities")

    _register_pages(blueprint, site, jobs)
    return blueprint


def _register_pages(blueprint: Blueprint, site: Site, jobs: Jobs) -> None:
    registrar = site.desk.setup.registrar

    @blueprint.get("/setup/capabilities/register")
    def preview() -> Response:
        site.require("operator")
        compared = _known(_latest(jobs))
        return site.page("setup_register.html", compared=compared, seen=_seen(compared.gap), trouble=None)

    @blueprint.post("/setup/capabilities/register")
    def register() -> Response:
        actor, reason, compared = site.require("operator"), site.reason(), _known(_latest(jobs))
        if request.form.get("seen") != _seen(compared.gap):
            raise Refused("what is registered has been asked again since you saw it: look at the difference once more")
        try:
            registrar.register(compared.gap, actor=actor, reason=reason)
        except (DojoRefusesUs, TryAgain, OutcomeUnknown, Refused) as error:
            return site.page("setup_register.html", 409, compared=compared, seen=_seen(compared.gap), trouble=trouble_of(error))
        site.say(f"Registered: Dojo calls {compared.wanted.url} for {len(SERVED)} capabilities from now on.")
        _begin(site, jobs)
        return site.to("/setup/capabilities")


def _begin(site: Site, jobs: Jobs) -> None:
    if jobs.start(ASK, site.session.actor.name, partial(_ask, site.desk.setup.registrar.compare)) is None:
        site.say("Somebody else is asking already: this is what they get.", "warn")


def _latest(jobs: Jobs) -> Job[Asked] | None:
    return cast("Job[Asked] | None", jobs.latest(ASK))


class Trouble(NamedTuple):
    """Why Dojo gave no answer, and what to do about it."""

    what: str
    todo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What Dojo has registered beside what is wanted, or why that is not known."""

    compared: Compared | None
    trouble: Trouble | None


class Line(NamedTuple):
    """A capability as a person reads it. `registered`: None where nobody asked, else its versions; `is_served`: by this version."""

    name: str
    use: Use
    registered: tuple[str, ...] | None
    is_served: bool
    is_right: bool


def _lines(compared: Compared | None) -> list[Line]:
    known = versions_of(compared.registered) if compared and compared.registered else {}
    ours = dict(compared.wanted.capabilities) if compared else {}
    names = [*(each.name for each in CAPABILITIES), *(name for name in known if name not in USES)]
    found = []
    for name in names:
        versions = tuple(sorted(known.get(name, ())))
        use = USES.get(name, Use("Not one that this version knows."))
        is_right = (versions == (ours[name],)) if name in ours else not versions
        found.append(Line(name, use, versions if compared else None, name in SERVED, is_right))
    return found


def _ask(compare: Callable[[], Compared], job: Job[object]) -> Asked:
    job.what = WAITING
    try:
        return Asked(compared=compare(), trouble=None)
    except (DojoRefusesUs, TryAgain, OutcomeUnknown, Refused) as error:
        return Asked(compared=None, trouble=trouble_of(error))


def trouble_of(error: WorkflowError) -> Trouble:
    """The same in words."""
    said = f"Dojo was asked, and this came back: {error}."
    if isinstance(error, DojoRefusesUs):
        return Trouble(
            f"Dojo refuses our key. {said}", "Set the right TILLPROOF_DOJO_API_KEY and start the server again. If it is right, call Dojo."
        )
    if isinstance(error, AnswerUnreadable):
        return Trouble(
            f"What answers for Dojo cannot be understood. {said}", "Check TILLPROOF_DOJO_URL, and what stands between here and Dojo."
        )
    if isinstance(error, TryAgain):
        return Trouble(f"Dojo cannot be reached; nothing was changed. {said}", "Check the network and TILLPROOF_DOJO_URL, then try again.")
    if isinstance(error, OutcomeUnknown):
        return Trouble(f"Dojo gave no clear answer. {said}", "Ask what is registered: that says whether it was taken. Then try again.")
    return Trouble(f"Not possible: {error}.", "Ask what is registered, and decide anew.")


def _known(job: Job[Asked] | None) -> Compared:
    """What was asked last. Raises Refused."""
    if not (job and job.outcome and job.outcome.compared):
        raise Refused("nobody knows what this would change: ask Dojo first what is registered")
    return job.outcome.compared


def _seen(gap: Difference) -> str:
    return hashlib.sha256(repr(gap).encode()).hexdigest()[:16]
