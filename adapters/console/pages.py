"""The pages of the console, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint

from adapters.console import act, attention, login, outbox, today
from adapters.console.desk import Desk
from adapters.console.site import Site
from adapters.edge.pages import SHARED, static_blueprint

PAGES: tuple[Callable[[Site], Blueprint], ...] = (login.pages, today.pages, attention.pages, outbox.pages, act.pages)


def make_blueprint(desk: Desk) -> Blueprint:
    """Every page, with its styles and scripts: endpoints are `console.PAGE.VIEW`."""
    site, blueprint = Site(desk), Blueprint("console", __name__)
    blueprint.register_blueprint(static_blueprint((__package__, SHARED)))
    for pages in PAGES:
        blueprint.register_blueprint(site.guard(pages(site)))
    return blueprint
