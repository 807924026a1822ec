"""The console while the journal is shut: why, what to do, and where entries are lost, an operator's word that they are."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from adapters.console.site import Site
from adapters.console.troubles import in_words
from adapters.edge.strict_json import BadInput

CONFIRMED = "yes"


def pages(site: Site, *, code: str, since: str, detail: str, accept: Callable[[str, str], str] | None) -> Blueprint:
    """Every path shows the trouble, with status 503; `POST /accept-lost-tail` calls `accept` with the operator and the reason."""
    blueprint = Blueprint("closed", __name__)
    can_accept = accept is not None and code == "HEAD_REGRESSED"

    def show(path: str = "") -> Response:
        trouble = in_words(code)
        response = site.page("closed.html", 503, trouble=trouble, at=since, detail=detail, can_accept=can_accept)
        response.headers["Retry-After"] = "5"
        return response

    for path in ("/", "/orders", "/attention", "/takings", "/journal", "/machines", "/setup"):
        blueprint.add_url_rule(path, f"show{path}", show)
        if path != "/":
            blueprint.add_url_rule(f"{path}/<path:path>", f"show{path}/below", show)

    if accept is not None and can_accept:

        @blueprint.post("/accept-lost-tail")
        def accept_loss() -> Response:
            actor, reason = site.require("operator"), site.reason()
            if request.form.get("sure") != CONFIRMED:
                raise BadInput("sure", "expected the tick that says that no newer journal is left")
            lost = accept(actor, reason)
            site.say(f"The loss was accepted, and everything is served again. What was lost: {lost}")
            return site.to("/")

    return blueprint
