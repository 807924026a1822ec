"""docs/reference.md is made of the program alone: settings, commands, calls, pages, states, tables, metrics.

`python -m tests.contract.test_reference` writes it anew.
"""

from __future__ import annotations

import ast
import inspect
import re
import sqlite3
from contextlib import closing
from dataclasses import fields
from unittest.mock import MagicMock

import click
import pytest
from flask import Flask

from adapters.cli.commands import cli
from adapters.cli.output import Exit
from adapters.console.desk import Desk
from adapters.console.pages import make_blueprint
from adapters.console.site import NAVIGATION
from adapters.epos.document import dojo_document
from adapters.settings import PREFIX, describe
from adapters.venue import venue_document
from tests.contract.running import ROOT, beside_sandbox
from workflow.declaration import words
from workflow.diagrams import TITLES
from workflow.journal.schema import TABLES
from workflow.lifecycle import ATTENTION, DECLARATIONS, EFFECTS, RESOLUTIONS

PAGE = ROOT / "docs" / "reference.md"
REFRESH = "python -m tests.contract.test_reference"
METHODS = ("get", "put", "post", "delete")
KINDS = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "Histogram": "histogram",
}
"""What makes a metric in adapters/metrics.py; everything else there makes a gauge."""
COUNTED = "_total"
MEANINGS = {
    "attempts": "attempts at calls that failed: when, and why; nothing is decided by them",
    "attention": "what needs a person now; raised and cleared by entries",
    "booking_tables": "which party or reservation has which table, and when",
    "bookings": "parties and reservations, as Dojo told us of them",
    "checkpoint": "signed heads of the log: how many entries, the root of their tree",
    "guests": "who comes with a party or reservation; personal data, erased on request",
    "inbox": "messages that were taken, so that the same one again changes nothing",
    "journal": "every decision, in the order in which it was made; never changed",
    "locks": "which card machine alone may write to an order, and until when",
    "machines": "every declaration that was ever in force, in full",
    "meta": "what the file is: its origin, a secret for page tokens",
    "orders": "orders as their entries add up; can be rebuilt",
    "outbox": "calls that we owe to Dojo and the till, with their attempts",
    "parked": "payments of Dojo's that no order explains yet",
    "payments": "payment intents of orders; can be rebuilt",
    "personal": "customers' names and notes; erased on request",
    "repeats": "how often a message came again, and when last; nothing is decided by them",
    "states": "every state that a declaration of this journal has or had",
    "tree_node": "inner nodes of the log's hash tree",
    "venue": "what the till told last of areas, tables, its catalogue and whether it takes orders",
    "watch": "payments that we answered with 409, until Dojo gave the money back",
}
"""Of each table in a line."""
EXITS = {
    Exit.FINE: "fine",
    Exit.FOUND: "the check found something, or something unforeseen ended the program",
    Exit.USAGE: "the command was not understood",
    Exit.SETTINGS: "the settings cannot be used",
    Exit.UNREACHABLE: "Dojo or the server cannot be reached, an address cannot be had, or another server has the journal",
    Exit.DAMAGED: "the journal is damaged, foreign or of a newer version",
}


def settings():
    rows = ((f"`{PREFIX}{row.name}`", code(row.default), row.meaning + " (secret)" * row.secret, row.expected) for row in describe())
    return table("variable", "default", "meaning", "expected", rows=rows)


def code(text):
    return text if text == "–" else f"`{text}`"


def table(*head, rows):
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    lines += [" | ".join(str(cell).replace("|", r"\|").replace("\n", " ") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" if "---" not in line else f"|{line}|\n" for line in lines)


def commands():
    rows = ((f"`{usage}`", told) for usage, told in every_command(cli, "tillproof"))
    return table("command", "does", rows=rows)


def every_command(command, path):
    """Each command that does something, with its arguments and options, and the first sentence of its help."""
    for name, each in sorted(command.commands.items()):
        if isinstance(each, click.Group):
            yield from every_command(each, f"{path} {name}")
        else:
            yield f"{path} {name}{''.join(map(shown, each.params))}", each.get_short_help_str(limit=300)


def shown(parameter):
    if isinstance(parameter, click.Argument):
        return f" {parameter.human_readable_name}" if parameter.required else f" [{parameter.human_readable_name}]"
    if parameter.name == "as_json":
        return ""
    name = max(parameter.opts, key=len)
    text = name if parameter.is_flag else f"{name} {parameter.make_metavar(click.Context(cli))}"
    return f" {text}" if parameter.required else f" [{text}]"


def exits():
    return table("code", "means", rows=((each.value, EXITS[each]) for each in sorted(Exit)))


def calls(document):
    rows = ((f"`{method.upper()} {path}`", who(each), each["summary"]) for path, method, each in operations(document))
    return table("call", "who", "does", rows=rows)


def operations(document):
    return [(path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item]


def who(operation):
    """Whose credentials it needs."""
    schemes = {scheme for needed in operation["security"] for scheme in needed}
    role = re.search(r"the role (\w+)", operation.get("description", ""))
    return role[1] if role else {"basic": "Dojo", "signature": "signature"}.get("".join(schemes), "–")


def pages():
    rows = ((f"`{' and '.join(methods)} {path}`", told) for path, methods, told in every_page())
    return table("page or form", "is, or does", rows=rows)


def every_page():
    """Each path of the console with its methods and its view's own words, page by page in the order of the navigation."""
    site = Flask(__name__, static_folder=None)
    nobody = MagicMock()  # Only the paths are looked at: nothing is asked of any part.
    nobody.secret.return_value = b"of no journal"
    site.register_blueprint(make_blueprint(Desk(**dict.fromkeys((each.name for each in fields(Desk)), nobody))))
    for rule in site.url_map.iter_rules():
        if "static" not in rule.endpoint:
            methods = [name for name in ("GET", "POST") if name in rule.methods]
            path = re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+?)_?>", r"{\1}", rule.rule)
            yield path, methods, inspect.getdoc(site.view_functions[rule.endpoint])


def states():
    parts = []
    for declaration in DECLARATIONS:
        final = words(declaration.final)
        rows = ((f"`{name}`{' (final)' * (name in final)}", meaning) for name, meaning in declaration.states.items())
        parts.append(f"{TITLES[declaration.name]}:\n\n{table('state', 'meaning', rows=rows)}")
    return "\n".join(parts)


def sent():
    return table("call", "is made to", rows=((f"`{name}`", meaning) for name, meaning in EFFECTS.items()))


def attention():
    rows = (
        (f"`{name}`", each.why, ", ".join(f"`{one.action}`" for one in RESOLUTIONS if name in words(one.codes)) or "–")
        for name, each in ATTENTION.items()
    )
    return table("code", "what is wrong", "settled by", rows=rows)


def tables():
    rows = (
        (f"`{name}`", MEANINGS[name], ", ".join(f"`{column}`" for column in columns)) for name, columns in sorted(every_table().items())
    )
    return table("table", "holds", "columns", rows=rows)


def every_table():
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(TABLES)
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")] for name in names}


def metrics():
    rows = (
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels) or "–", meaning)
        for name, (kind, labels, meaning) in every_metric().items()
    )
    return table("metric", "kind", "labels", "meaning", rows=rows)


def every_metric():
    """By name, as the source has them: some stand in an answer only at times."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "adapters" / "metrics.py").read_text("utf-8"))):
        texts = (
            [each.value for each in getattr(node, "args", ()) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if isinstance(node, ast.Call)
            else []
        )
        if len(texts) < 2 or not texts[0].startswith("tillproof_"):
            continue
        kind = KINDS.get(getattr(node.func, "id", ""), "gauge")
        listed = [each for each in (*node.args, *(one.value for one in node.keywords if one.arg == "labels")) if isinstance(each, ast.List)]
        name = texts[0] + COUNTED * (kind == "counter" and not texts[0].endswith(COUNTED))
        found[name] = (kind, [label.value for each in listed for label in each.elts], texts[1])
    return dict(sorted(found.items()))


HEAD = """# Reference

Everything that has a name, made of the program itself (`make reference`); nothing here is written by hand. Tutorial, how-to guides and
explanations are in [the list of all pages](README.md).
"""
SECTIONS = (
    (
        "Settings",
        "Environment variables win over `tillproof.toml` in the working directory (the same names in small letters, without the prefix), "
        "that over the defaults. A secret may be given as `NAME_FILE`, the path of a file. `tillproof doctor` explains what is missing.",
        settings,
    ),
    ("Commands", "`--help` of each opens with an example, `--json` prints the same for programs.", commands),
    ("Exit codes", "Of every command.", exits),
    (
        "Calls on Dojo's side",
        "At `LISTEN`, with HTTP Basic credentials; field by field at `/docs` there, and in [openapi.json](openapi.json).",
        lambda: calls(dojo_document()),
    ),
    (
        "Calls on the venue's side",
        "At `CONSOLE_LISTEN`, with `Authorization: Bearer TOKEN`; an operator may do all that an auditor may. Field by "
        "field at `/docs` there, and in [openapi-venue.json](openapi-venue.json).",
        lambda: calls(venue_document()),
    ),
    (
        "Pages of the console",
        "At `CONSOLE_LISTEN`, for people who logged in as auditor or operator. A form (POST) needs the token of its session, and leads "
        "to a page that says what was done.",
        pages,
    ),
    ("States", "Each transition with its guard and its rule, and the pictures, are in [diagrams](../diagrams/README.md).", states),
    ("Calls that we make", "From the outbox, until they are taken or given up.", sent),
    ("What needs a person", "What to do about each is in [when something is wrong](when-something-is-wrong.md).", attention),
    (
        "Tables of the journal",
        "One SQLite file. What the columns of `journal` mean is in [the page for auditors](audit.md#what-each-column-means).",
        tables,
    ),
    ("Metrics", "At `/metrics` of the venue's side, for Prometheus.", metrics),
)


def page():
    return "\n".join([HEAD, *(f"## {title}\n\n{told}\n\n{make()}" for title, told, make in SECTIONS)])


def test_the_page_is_what_the_program_is():
    assert PAGE.read_text("utf-8") == page(), f"docs/{PAGE.name} is stale; write it anew with: {REFRESH}"


def test_every_page_and_form_of_the_console_says_what_it_is():
    found = {path: told for path, _, told in every_page()}
    assert {place.path for place in NAVIGATION} <= found.keys()
    assert [path for path, told in found.items() if not told] == []


def test_every_table_has_a_meaning_and_no_other():
    assert MEANINGS.keys() == every_table().keys()


@pytest.mark.parametrize(
    "line",
    [
        "| `TILLPROOF_LISTEN` |",
        "| `tillproof journal verify",
        "| `POST /v1/orders` | Dojo |",
        "| `GET /api/orders` | auditor |",
        "| `updated` |",
        "| `GET /orders` |",
        "| `POST /act` |",
    ],
)
def test_the_page_has_each_sort_of_name(line):
    assert f"\n{line}" in page()


def test_every_metric_that_is_served_is_on_the_page(tmp_path):
    with beside_sandbox(tmp_path) as peers:
        peers.sandbox.order_and_pay()
        served = set(re.findall(r"^# HELP (tillproof_\w+)", peers.service.open.get("/metrics").body.decode(), re.MULTILINE))
    known = set(every_metric())
    assert {name for name in served if name not in known and not name.endswith("_created")} == set()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
