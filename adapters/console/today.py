"""`/`: is anything wrong, what came in today, where are the orders, and does Dojo still talk to us?"""

from __future__ import annotations

from flask import Blueprint, Response

from adapters.console.site import Site


def pages(site: Site) -> Blueprint:
    """The first page."""
    blueprint = Blueprint("today", __name__)

    @blueprint.get("/")
    def show() -> Response:
        return site.page("today.html")

    return blueprint
