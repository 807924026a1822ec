"""`/setup`: is everything here as it must be, and what is set?"""

from __future__ import annotations

import platform
from importlib.metadata import version as installed_version
from typing import cast

from flask import Blueprint, Response

from adapters.checks import Finding, sqlite_version
from adapters.console.jobs import Job
from adapters.console.site import Site

LOOK = "look-again"
WAITING = "waiting for its answer"
GRAVITY = {"FAIL": 0, "warn": 1, "skip": 2, "ok": 3}


def pages(site: Site) -> Blueprint:
    """What doctor finds, and the settings."""
    blueprint, desk, jobs = Blueprint("setup", __name__), site.desk.setup, site.desk.jobs

    def look_at_dojo(job: Job[object]) -> list[Finding]:
        job.what = WAITING
        return desk.examine_dojo()

    @blueprint.get("/setup")
    def show() -> Response:
        job = cast("Job[list[Finding]] | None", jobs.latest(LOOK))
        return site.page("setup.html", findings=_by_gravity(desk.examine()), job=job, dojo=_by_gravity((job and job.outcome) or []),
                         about=_about())  # fmt: skip

    @blueprint.post("/setup/look")
    def look() -> Response:
        if jobs.start(LOOK, site.session.actor.name, look_at_dojo) is None:
            site.say("Somebody else is asking already: this is what they get.", "warn")
        return site.to("/setup")

    @blueprint.get("/setup/settings")
    def settings() -> Response:
        return site.page("setup_settings.html", settings=desk.settings)

    return blueprint


def _about() -> list[tuple[str, str]]:
    return [("Tillproof", installed_version("tillproof")), ("SQLite", sqlite_version()), ("Python", platform.python_version())]


def _by_gravity(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda each: GRAVITY[each.level])
