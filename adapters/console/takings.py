"""`/takings`: what came in, a month at a time, and a day's money beside Dojo's. Dojo is asked when a person says so, and by a job."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import inf
from typing import Any, cast

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from adapters.console.files import attached
from adapters.console.jobs import Job
from adapters.console.site import Site
from adapters.edge.orders import table_caller
from adapters.edge.strict_json import BadInput
from workflow.books import Books, Day, day_of
from workflow.calendar import Calendar
from workflow.comparing import (
    Compared,
    compare_day,
    csv_lines,
    day_named,
    kinds_by_intent,
    names,
    ours_alone,
    resolve_command,
    with_resolutions,
)
from workflow.errors import Refused
from workflow.kept_books import KeptBooks, SoMuch
from workflow.takings import KINDS, RECORDING_GRACE, Difference, Row, Sum, Takings, Total

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
    blueprint, books = Blueprint("takings", __name__), KeptBooks(site.desk.reads, site.desk.clock)
    _add_reading(blueprint, site, books)
    _add_actions(blueprint, site, books)
    return blueprint


def _add_reading(blueprint: Blueprint, site: Site, books: KeptBooks) -> None:
    desk = site.desk
    calendar = Calendar(desk.reads, desk.zone, desk.clock)

    @blueprint.get("/takings")
    def month() -> Response:
        """What came in, a month at a time."""
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
        """A day's money, ours beside Dojo's, with the differences; prints as a sheet."""
        view = _view(site, books, date)
        if view.compared is None:
            return site.page("takings_asking.html", day=view.day, job=view.job, so_much=view.ours)
        return site.page("takings_day.html", **_shown(site, view, every="all" in request.args))

    @blueprint.get("/takings/<date>/takings.csv")
    def csv(date: str) -> Response:
        """The same as a file."""
        view = _view(site, books, date)
        compared = view.compared or _ours(site, view.day, books.of(view.day, seconds=inf))
        return attached("".join(csv_lines(compared.takings)), "text/csv", f"takings-{view.day.date}.csv")


def _add_actions(blueprint: Blueprint, site: Site, books: KeptBooks) -> None:
    desk = site.desk

    @blueprint.post("/takings/<date>/compare")
    def compare(date: str) -> Response:
        """Begin to compare the day with Dojo."""
        found, intents = _day(site, date), desk.intents
        if intents is None:
            raise Refused("Dojo cannot be asked: there is no DOJO_API_KEY")

        def work(job: Job[object]) -> Compared:
            compared = compare_day(desk.reads, found, desk.clock.now(), intents=intents, bar=job.bar)
            return replace(compared, books=Books())  # It is kept, and every order of the day with it.

        desk.jobs.start(COMPARE, site.session.actor.name, work, subject=date, seconds=COMPARE_SECONDS)
        return site.to(f"/takings/{date}")

    @blueprint.get("/takings/<date>/resolve")
    def ask(date: str) -> Response:
        """One difference, and a field to say why it is all right."""
        site.require("operator")
        view = _view(site, books, date)
        one = _difference(view, request.args)
        return site.page("takings_resolve.html", day=view.day, one=one, kinds=KINDS, name=names(one.order), table=table_caller(desk.reads))

    @blueprint.post("/takings/<date>/resolve")
    def resolve(date: str) -> Response:
        """Say so, as an operator, with a reason."""
        actor, view = site.require("operator"), _view(site, books, date)
        one = _difference(view, request.form)
        if request.form.get("amount") != f"{one.amount.value} {one.amount.currency}":
            raise Refused("the difference is of another amount by now: look at it again")
        outcome = desk.engine.handle(resolve_command(view.day, one, site.reason(), actor))
        if outcome.refusal:
            raise outcome.refusal
        site.say(f"Resolved: {KINDS[one.kind][0]}, {one.intent_id}. Your reason is in the journal.")
        return site.to(f"/takings/{date}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A day as it was compared last, or ours alone, and the job of comparing.

    `compared` is None while Dojo is asked or the day is added up: that page asks for itself again. `ours` is what we have of it by now.
    """

    day: Day
    job: Job[Compared] | None
    compared: Compared | None = None
    ours: SoMuch | None = None


def _view(site: Site, books: KeptBooks, date: str) -> _View:
    day, job = _day(site, date), cast("Job[Compared] | None", site.desk.jobs.latest(COMPARE, date))
    if job and job.is_running:
        return _View(day=day, job=job)
    ours = books.of(day, seconds=ADD_UP_SECONDS)
    if job and job.outcome:
        marked = replace(job.outcome, takings=with_resolutions(job.outcome.takings, site.desk.reads))
        return _View(day=day, job=job, compared=marked, ours=ours)
    return _View(day=day, job=job, compared=_ours(site, day, ours) if ours.is_whole else None, ours=ours)


def _ours(site: Site, day: Day, ours: SoMuch) -> Compared:
    return ours_alone(ours.books, site.desk.reads, day, site.desk.clock.now())


def _moved_since(site: Site, view: _View) -> list[Sum]:
    """Our sums by now, where they are not those that were compared; nothing while they are added up."""
    if not (view.compared and view.compared.asked.is_asked and view.ours and view.ours.is_whole):
        return []
    now, then = (_till_sums(each.takings) for each in (_ours(site, view.day, view.ours), view.compared))
    return now if now != then else []


def _till_sums(found: Takings) -> list[Sum]:
    return [total.till for total in found.totals if not total.till.figures.is_nothing]


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
        "moved_since": _moved_since(site, view),
        "found": found,
        "totals": [(total, _lines(total)) for total in totals],
        "kinds": KINDS,
        "alike": {kind: [one for one in found.differences if one.kind == kind] for kind in KINDS},
        "rows": found.rows if every else found.rows[:ROWS_SHOWN],
        "marked": kinds_by_intent(found),
        "name": names,
        "table": table_caller(site.desk.reads),
        "when": lambda row: _when(row, day),
        "is_over": now >= day.end,
        "hours": (day.end - day.start).total_seconds() / 3600,
        "grace_minutes": int(RECORDING_GRACE.total_seconds()) // 60,
        "before": day.date - timedelta(days=1),
        "after": following if Day(following, day.zone).start <= now else None,
        "can_ask": site.desk.intents is not None,
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


def _difference(view: _View, given: dict[str, str]) -> Difference:
    """The difference that a form is about. Raises Refused where it is none any more."""
    if view.compared is None:
        raise Refused("the day is being added up or compared with Dojo at this moment: wait for the result")
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
