"""Every page and every form of the console and of the sandbox, as the programs themselves have them: so that none is left untried.

A route is written as its rule, `/orders/<order_id>`; the sandbox's with its name before it, `sandbox /phone/bill`.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from unittest.mock import MagicMock
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.routing import Map

from adapters.console import Desk, make_blueprint, make_closed_blueprint
from adapters.sandbox import Sandbox
from adapters.sandbox.server import PAGES
from tests.contract.running import KEY

SANDBOX = "sandbox "
SHUT = "while the journal is shut"
"""The one page that there is then."""
FILES = {
    "/journal/<int:seq>/receipt.json",
    "/journal/checkpoint.txt",
    "/journal/export.<form>",
    "/journal/sealed.db",
    "/machines/<name>/diagram.<ending>",
    "/orders.<any(csv, jsonl):form>",
    "/orders/<order_id>/diagram.<ending>",
    "/orders/<order_id>/proof",
    "/orders/<order_id>/receipts",
    "/takings/<date>/takings.csv",
}
"""What is downloaded, and is no page."""
ELSEWHERE = {"sandbox /", "sandbox /phone/<path:unknown>", "sandbox /panel/<path:unknown>"}
"""What leads to another page, or to none."""


@cache
def _maps() -> tuple[Map, ...]:
    """Of the console, of what is left of it while the journal is shut, and of the sandbox."""
    nobody = MagicMock()  # Only the paths are looked at: nothing is asked of any part.
    nobody.secret.return_value = b"of no journal"
    desk = Desk(**dict.fromkeys((each.name for each in fields(Desk)), nobody))
    console, shut = Flask(__name__, static_folder=None), Flask(__name__, static_folder=None)
    console.register_blueprint(make_blueprint(desk))
    shut.register_blueprint(make_closed_blueprint(desk, code="HEAD_REGRESSED", since="", detail="", accept=lambda _who, _why: ""))
    return console.url_map, shut.url_map, Sandbox(api_key=KEY)._app.url_map


def pages() -> set[str]:
    """Every route to a page that a person reads."""
    return routes("GET") - FILES - ELSEWHERE | {SHUT}


def routes(method: str) -> set[str]:
    """Every route that takes the method, styles and scripts apart. A shut journal answers all pages with one, so its forms alone count."""
    console, shut, sandbox = (
        {(rule.rule, rule.endpoint) for rule in each.iter_rules() if method in rule.methods and "static" not in rule.endpoint}
        for each in _maps()
    )
    own = {rule for rule, _ in console} | ({rule for rule, _ in shut} if method == "POST" else set())
    return own | {f"{SANDBOX}{rule}" for rule, endpoint in sandbox if endpoint.startswith(f"{PAGES}.")}


def route_of(url: str, method: str = "GET", *, is_sandbox: bool = False) -> str:
    """The route that the address leads to."""
    console, shut, sandbox = (each.bind("localhost") for each in _maps())
    path = urlsplit(url).path
    found = sandbox if is_sandbox else console if console.test(path, method) else shut
    return f"{SANDBOX * is_sandbox}{found.match(path, method, return_rule=True)[0].rule}"
