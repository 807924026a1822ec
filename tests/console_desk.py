"""Pages of the console without a server: a venue whose moments a test chooses, and what the browsers of two operators do there."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

from flask import Blueprint, Flask

from adapters.console import Desk
from adapters.console.jobs import Jobs
from adapters.console.sessions import Sessions
from adapters.console.site import COOKIE, Site
from adapters.edge.credentials import Actor
from adapters.health import Health
from adapters.heard import Heard
from tests.builders import WITH_TILL, Venue
from workflow.replay import replay
from workflow.upkeep import Report


@contextmanager
def desk_with(
    folder: Path,
    *modules: Callable[[Site], Blueprint],
    verified: Callable[[], Report | None] = lambda: None,
    jobs: Jobs | None = None,
    is_live: bool = False,
) -> Iterator[SimpleNamespace]:
    """These pages of a `venue` of which nothing was sent yet; at the end its journal must explain what is stored.

    The operators are ann and ben, and where nobody is named it is ann. `ask` is the answer at a path, `get` what it says, `post` sends a
    form and is what the page that follows says, `raw` that page's markup, `form` the hidden fields of a preview as a browser sends them,
    `session` what is known of an operator's browser. `heard.hear()`: Dojo speaks now.
    """
    venue = Venue(folder, sends=WITH_TILL)
    venue.reads.keep_spare()  # As a server has it: by this the pages know whether anything has changed.
    heard = Heard(venue.clock)
    site = Site(_desk(venue, verified, jobs, heard, is_live))
    app, blueprint = Flask("console", static_folder=None), Blueprint("console", "console")
    for pages in modules:
        blueprint.register_blueprint(site.guard(pages(site)))
    app.register_blueprint(blueprint)
    cookies = {name: site.sessions.open(Actor("operator", name)) for name in ("ann", "ben")}

    def ask(path, by="ann", form=None):
        client = app.test_client()
        client.set_cookie(COOKIE.format(80), cookies[by])
        return client.get(path) if form is None else client.post(path, data=form)

    def raw(path, by="ann", **form):
        csrf = site.sessions.find(cookies[by], is_use=True).csrf
        answer = ask(path, by, {"reason": "so"} | form | {"csrf": csrf})
        return (ask(answer.headers["Location"], by) if answer.status_code == 303 else answer).text

    def form(path, by="ann"):
        sent = {}
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', ask(path, by).text.partition("<main")[2]):
            sent.setdefault(name, []).append(html.unescape(value))
        return sent | {"back": "/attention"}

    yield SimpleNamespace(
        venue=venue,
        heard=heard,
        ask=ask,
        get=lambda path, by="ann": text_of(ask(path, by).text),
        post=lambda path, by="ann", **form: text_of(raw(path, by, **form)),
        raw=raw,
        form=form,
        session=lambda by: site.sessions.find(cookies[by], is_use=True),
    )
    assert replay(venue.reads).mismatches == []
    venue.close()


def _desk(venue: Venue, verified: Callable[[], Report | None], jobs: Jobs | None, heard: Heard, is_live: bool) -> Desk:
    health = Health(condition=venue.journal.condition, dead=list, verified=verified, wal_bytes=lambda: 0)
    mine = {
        "clock": venue.clock,
        "sessions": Sessions(venue.clock),
        "trusted": (),
        "venue_name": "The Anchor & Hope",
        "zone": ZoneInfo("Europe/London"),
        "currency": "GBP",
        "is_live": is_live,
        "reasons": health.reasons,
        "engine": venue.engine,
        "reads": venue.reads,
        "health": health,
        "heard_at": lambda: heard.at,
        "sealer": venue.journal,
        "witness": venue.witness,
        "jobs": jobs,
    }
    return Desk(**dict.fromkeys(each.name for each in fields(Desk)) | mine)  # The rest is other pages'.


def text_of(page: str) -> str:
    """What the page says, without its markup and its pictures."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(head|svg).*?</\1>", "", page))).split())
