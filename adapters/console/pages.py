"""The pages of the console, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint

from adapters.console import (
    act,
    attention,
    capabilities,
    closed,
    journal,
    keys,
    login,
    machines,
    order,
    orders,
    outbox,
    setup,
    takings,
    today,
)
from adapters.console.desk import Desk, Front
from adapters.console.site import Site
from adapters.edge.pages import SHARED, static_blueprint

PAGES: tuple[Callable[[Site], Blueprint], ...] = (
    login.pages,
    today.pages,
    orders.pages,
    order.pages,
    attention.pages,
    outbox.pages,
    act.pages,
    takings.pages,
    journal.pages,
    machines.pages,
    setup.pages,
    capabilities.pages,
    keys.pages,
)


def make_blueprint(desk: Desk) -> Blueprint:
    """Every page, with its styles and scripts: endpoints are `console.PAGE.VIEW`."""
    site = Site(desk)
    return _together(site, [pages(site) for pages in PAGES])


def make_closed_blueprint(front: Front, *, code: str, since: str, detail: str, accept: Callable[[str, str], str] | None) -> Blueprint:
    """What is left of it while the journal is shut for the reason `code`, which an operator may `accept` where that is offered."""
    site = Site(front)
    return _together(site, [login.pages(site), closed.pages(site, code=code, since=since, detail=detail, accept=accept)])


def _together(site: Site, pages: list[Blueprint]) -> Blueprint:
    blueprint = Blueprint("console", __name__)
    blueprint.register_blueprint(static_blueprint((__package__, SHARED)))
    site.guard_elsewhere(blueprint)
    for each in pages:
        blueprint.register_blueprint(site.guard(each))
    return blueprint
