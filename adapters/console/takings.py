"""`/takings`: what came in, a month at a time, and a day's money beside Dojo's. Dojo is asked when a person says so, and by a job."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, cast
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from adapters.console.files import attached
from adapters.console.jobs import Job
from adapters.console.site import Site
from adapters.edge.strict_json import BadInput
from workflow.books import Day, day_of
from workflow.calendar import Calendar
from workflow.comparing import Compared, compare_day, csv_lines, day_named, kinds_by_intent, names, resolve_command, with_resolutions
from workflow.errors import Refused
from workflow.takings import KINDS, RECORDING_GRACE, Difference, Row, Total

COMPARE = "compare"
COMPARE_SECONDS = 300.0
"""Each call to Dojo has its deadline; all of them together may take so long."""
ADD_UP_SECONDS = 0.5
"""A page adds up for so long; what is left, the next one does."""
ROWS_SHOWN = 200
"""More payments than these are shown only when asked for: `?all=1`."""
FIRST_YEAR, LAST_YEAR = 2000, 9998


def pages(site: Site) -> Blueprint:
    """The month, the day, its comparison, its differences and their notes, its CSV."""
    blueprint = Blueprint("takings", __name__)
    _add_reading(blueprint, site)
    _add_actions(blueprint, site)
    return blueprint


def _add_reading(blueprint: Blueprint, site: Site) -> None:
    desk = site.desk
    calendar = Calendar(desk.reads, desk.zone)

    @blueprint.get("/takings")
    def month() -> Response:
        today = day_of(desk.clock.now(), desk.zone).date
        first = _month(request.args.get("month"), today)
        found = calendar.month(first, seconds=ADD_UP_SECONDS)
        before, after = (first - timedelta(days=1)).replace(day=1), (first + timedelta(days=31)).replace(day=1)
        return site.page(
            "takings.html",
            by_journal=found.is_whole,
            month=first,
            found=found,
            days=[each for each in reversed(found.days) if each.day.date <= today],
            now=today,
            before=before if before.year >= FIRST_YEAR else None,
            after=after if after <= today else None,
        )

    @blueprint.get("/takings/<date>")
    def day(date: str) -> Response:
        view = _view(site, date)
        if view.compared is None:
            return site.page("takings_asking.html", day=view.day, job=view.job)
        return site.page("takings_day.html", **_shown(site, view, every="all" in request.args))

    @blueprint.get("/takings/<date>/takings.csv")
    def csv(date: str) -> Response:
        view = _view(site, date)
        lines = "".join(csv_lines((view.compared or _ours(site, view.day)).takings))
        return attached(lines, "text/csv", f"takings-{view.day.date}.csv")


def _add_actions(blueprint: Blueprint, site: Site) -> None:
    desk = site.desk

    @blueprint.post("/takings/<date>/compare")
    def compare(date: str) -> Response:
        found, intents = _day(site, date), desk.intents
        if intents is None:
            raise Refused("Dojo cannot be asked: there is no DOJO_API_KEY")

        def work(job: Job[object]) -> Compared:
            return compare_day(desk.reads, found, desk.clock.now(), intents=intents, bar=job.bar)

        desk.jobs.start(COMPARE, site.session.actor.name, work, subject=date, seconds=COMPARE_SECONDS)
        return site.to(f"/takings/{date}")

    @blueprint.get("/takings/<date>/resolve")
    def ask(date: str) -> Response:
        site.require("operator")
        view = _view(site, date)
        one = _difference(site, view, request.args)
        return site.page("takings_resolve.html", day=view.day, one=one, kinds=KINDS, name=names(one.order))

    @blueprint.post("/takings/<date>/resolve")
    def resolve(date: str) -> Response:
        actor, view = site.require("operator"), _view(site, date)
        one = _difference(site, view, request.form)
        if request.form.get("amount") != f"{one.amount.value} {one.amount.currency}":
            raise Refused("the difference is of another amount by now: look at it again")
        outcome = desk.engine.handle(resolve_command(view.day, one, site.reason(), actor))
        if outcome.refusal:
            raise outcome.refusal
        site.say(f"Resolved: {KINDS[one.kind][0]}, {one.intent_id}. Your reason is in the journal.")
        return site.to(f"/takings/{date}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A day as it was compared last, or ours alone, and the job of comparing; None while Dojo is asked: that page asks for itself again."""

    day: Day
    compared: Compared | None
    job: Job[Compared] | None


def _view(site: Site, date: str) -> _View:
    day, job = _day(site, date), cast("Job[Compared] | None", site.desk.jobs.latest(COMPARE, date))
    if job and job.is_running:
        return _View(day=day, compared=None, job=job)
    compared = job.outcome if job and job.outcome else _ours(site, day)
    return _View(day=day, compared=replace(compared, takings=with_resolutions(compared.takings, site.desk.reads)), job=job)


def _ours(site: Site, day: Day) -> Compared:
    return compare_day(site.desk.reads, day, site.desk.clock.now(), intents=None)


def _shown(site: Site, view: _View, *, every: bool) -> dict[str, Any]:
    compared = view.compared
    assert compared
    found, day = compared.takings, view.day
    now = site.desk.clock.now()
    totals = sorted(found.totals, key=lambda total: total.currency != site.desk.currency)
    following = day.date + timedelta(days=1)
    return {
        "day": day,
        "asked": compared.asked,
        "at": compared.at,
        "job": view.job,
        "found": found,
        "totals": [(total, _lines(total)) for total in totals],
        "kinds": KINDS,
        "alike": {kind: [one for one in found.differences if one.kind == kind] for kind in KINDS},
        "rows": found.rows if every else found.rows[:ROWS_SHOWN],
        "marked": kinds_by_intent(found),
        "name": names,
        "when": lambda row: _when(row, day),
        "is_over": now >= day.end,
        "hours": (day.end - day.start).total_seconds() / 3600,
        "grace_minutes": int(RECORDING_GRACE.total_seconds()) // 60,
        "before": day.date - timedelta(days=1),
        "after": following if Day(following, day.zone).start <= now else None,
        "can_ask": site.desk.intents is not None,
        "quoted": lambda text: quote(text, safe=""),
    }


def _lines(total: Total) -> list[tuple[str, int, int | None]]:
    """(what, ours, Dojo's) of a currency's table."""
    return [
        (name, getattr(total.till.figures, name), getattr(total.dojo.figures, name) if total.dojo else None)
        for name in ("captured", "tips", "refunded", "net")
    ]


def _when(row: Row, day: Day) -> str:
    if row.at is None:
        return "–"
    at = row.at.astimezone(day.zone)
    return f"{at:%H:%M}" if at.date() == day.date else f"{at:%-d %b, %H:%M}"


def _difference(site: Site, view: _View, given: dict[str, str]) -> Difference:
    """The difference that a form is about. Raises Refused where it is none any more."""
    if view.compared is None:
        raise Refused("the day is being compared with Dojo at this moment: wait for the result")
    for one in view.compared.takings.unresolved:
        if (one.intent_id, one.kind) == (given.get("intent"), given.get("kind")):
            return one
    raise Refused("there is no such difference now, or it was resolved: look at the day again, or compare it with Dojo")


def _day(site: Site, date: str) -> Day:
    try:
        return day_named(date, site.desk.zone, site.desk.clock.now())
    except ValueError as error:
        raise NotFound(str(error)) from error


def _month(text: str | None, today: date) -> date:
    """The first of the month `YYYY-MM`; of this one without. Raises BadInput."""
    if text is None:
        return today.replace(day=1)
    found = re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII)
    if not found or not (FIRST_YEAR <= int(found[1]) <= LAST_YEAR and 1 <= int(found[2]) <= 12):
        raise BadInput("month", "expected a month such as 2026-07")
    first = date(int(found[1]), int(found[2]), 1)
    if first > today:
        raise BadInput("month", f"{text} has not begun yet")
    return first
