"""The machines as declared, in sentences; their versions; and whether they explain the journal."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import check_page, follow, reload_until_seen
from tests.contract.running import ROOT, Service
from tests.old_journal import load
from workflow import diagrams
from workflow.declaration import NOT_THERE, OUTCOMES, declaration_hash, group, words
from workflow.guards import GUARDS
from workflow.lifecycle import ATTENTION, DECLARATIONS, EFFECTS, ORDER, RESOLUTIONS, RULES


def rows_of(page, heading):
    """The cells of the table below a heading, as they are read."""
    table = page.locator("section", has=page.get_by_role("heading", name=heading, exact=True)).locator("tbody tr")
    return table.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replace(/\\s+/g, ' ').trim()))")


def sent(column):
    return " ".join(f"{EFFECTS[name]} {name}" for name in words(column)) or "nothing"


def counts_as(declaration, name):
    final, groups = name in words(declaration.final), ", ".join(each for each in declaration.groups if name in group(declaration, each))
    return " ".join(["final"] * final + [groups.replace("_", " ")] * bool(groups)) or "–"


def states(column):
    return column.replace(NOT_THERE, "not there yet")


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda each: each.name)
def test_the_tables_say_of_every_row_what_is_declared(page, declaration):
    page.goto(f"/machines/{declaration.name}")

    assert [row[:2] for row in rows_of(page, "States")] == [[name, meaning] for name, meaning in declaration.states.items()]
    assert [row[2] for row in rows_of(page, "States")] == [counts_as(declaration, name) for name in declaration.states]
    assert rows_of(page, "Transitions") == [
        [
            row.when.replace("_", " "),
            states(row.source),
            row.target,
            f"{GUARDS[row.only_if].__doc__.replace('`', '')} {row.only_if}",
            sent(row.then_send),
            f"{RULES[row.rule]} {row.rule}",
        ]
        for row in declaration.transitions
    ]
    assert rows_of(page, "Messages") == [
        [row.name, row.meaning, ", ".join(words(row.fires)).replace("_", " ") or "–", sent(row.then_send)] for row in declaration.messages
    ]
    assert rows_of(page, "Policies") == [
        [row.message, states(row.in_state), f"{row.outcome}: {OUTCOMES[row.outcome]}", row.rule] for row in declaration.policies
    ]
    rows = (*declaration.transitions, *declaration.policies, *declaration.migrations)
    terms = page.locator("section", has=page.get_by_role("heading", name="Rules", exact=True)).locator("dt, dd").all_inner_texts()
    assert dict(zip(terms[::2], terms[1::2], strict=True)) == {row.rule: RULES[row.rule] for row in rows}


def test_what_needs_a_person_is_listed_with_what_to_do_and_by_which_resolution(page):
    page.goto("/machines/attention")

    assert rows_of(page, "Codes") == [[code, each.why, each.next] for code, each in ATTENTION.items()]
    assert rows_of(page, "Resolutions") == [[each.action.replace("_", " "), each.meaning, each.codes] for each in RESOLUTIONS]


def test_the_diagrams_are_those_of_the_declaration(page):
    page.goto("/machines/order")
    assert page.locator("svg.states .node").count() == len(ORDER.states)

    for ending, form in (("svg", "svg"), ("mmd", "mermaid"), ("dot", "dot")):
        assert page.request.get(f"/machines/order/diagram.{ending}").text() == diagrams.render(ORDER, form)


@pytest.mark.parametrize("path", ["/machines/none", "/machines/order/000000000000", "/machines/order/diagram.pdf"])
def test_what_is_not_there_is_said_to_be_missing(page, path):
    assert page.request.get(path).status == 404


@pytest.mark.parametrize("route", ["/machines", "/machines/<name>", "/machines/attention"])
def test_the_page_is_for_everybody(page, route):
    page.goto(route.replace("<name>", ORDER.name))
    check_page(page, route)


def test_a_person_without_scripts_has_the_journal_checked_and_is_told_that_nothing_differs(venue, visitor):
    page = visitor(venue.service, role="auditor", java_script_enabled=False)
    page.goto("/machines/check")
    follow(page.get_by_role("button", name="Check now"))

    reload_until_seen(page.get_by_role("heading", name="Every order would have gone the same way"))
    orders = venue.service.reads.rows("SELECT count(*) FROM orders")[0][0]
    assert page.get_by_text(f"{orders} orders, ").is_visible()


@pytest.fixture(scope="module")
def another_version(tmp_path_factory):
    """A service whose declaration was changed, beside a journal that the unchanged program left."""
    folder, program = tmp_path_factory.mktemp("changed"), tmp_path_factory.mktemp("program")
    load("schema-1", folder / "tillproof.db")
    shutil.copy(ROOT / "app.py", program)
    for name in ("workflow", "adapters"):
        shutil.copytree(ROOT / name, program / name, dirs_exist_ok=True)
    lifecycle = program / "workflow" / "lifecycle.py"
    text = lifecycle.read_text("utf-8")
    changed = text.replace('"dojo_knows", ', '"always", ').replace("The order is on the till; no", "The bill is on the till; no")
    assert changed != text
    lifecycle.write_text(changed, "utf-8")
    service = Service(folder)
    try:
        yield service.start(env=service.environment | {"PYTHONPATH": str(program)})
    finally:
        service.kill()


def test_of_an_earlier_version_it_is_shown_what_the_present_one_declares_otherwise(another_version, visitor):
    page = visitor(another_version)
    page.goto("/machines")
    [earlier] = [row for row in rows_of(page, "Versions in force") if declaration_hash(ORDER) in row[1]]
    reads, sql = another_version.reads, "SELECT count(*), min(seq), max(seq) FROM journal WHERE machine = ?"
    [(entries, first, last)] = reads.rows(sql, (f"order@{declaration_hash(ORDER)}",))
    orders = reads.rows("SELECT count(*) FROM orders")[0][0]
    assert earlier[3:6] == [f"{orders} orders", str(entries), f"{first} to {last}"]

    follow(page.get_by_role("link", name=f"what differs from order@{declaration_hash(ORDER)}"))

    check_page(page, "/machines/<name>/<hash_>")
    then, now = (f"to updated, only if {guard}, sends nothing (D6)" for guard in ("dojo_knows", "always"))
    assert rows_of(page, "2 changes") == [
        ["state", "created", ORDER.states["created"], "The bill is on the till; no money is held for it."],
        ["transition", "update from reconciled", then, now],
    ]


def test_orders_that_would_go_another_way_now_are_named_with_the_cause(another_version, visitor):
    page = visitor(another_version)
    page.goto("/machines")
    page.get_by_role("button", name="Check ").click()

    expect(page.get_by_role("heading", name="Some would have gone another way")).to_be_visible()  # The page refreshes itself.
    expect(
        page.get_by_text("order: 'update' moves from 'reconciled' to 'updated': its guard is always, and was dojo_knows")
    ).to_be_visible()
    example = page.get_by_role("listitem").filter(has_text="is updated now").first
    assert example.get_by_role("link").get_attribute("href").startswith("/orders/")
    check_page(page, "/machines/check")
