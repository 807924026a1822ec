"""The bill over HTTP and as a command, beside Dojo's published schema; and what a bad template does to whoever starts with it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from adapters.capabilities import wanted
from adapters.cli.output import Exit
from tests.contract.running import PATIENCE, ROOT, Service, a_bill, an_order, beside_sandbox, environment, gbp, running
from tests.contract.test_dojo_side import CONTRACT_ORDER
from workflow.money import Money

PAGE = (ROOT / "docs" / "bill.md").read_text("utf-8")
TEMPLATE = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1]
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><title>The “Corner”</title></svg>'
EVERY_KIND = """
[[header]]
image = "logo.svg"
align = "Right"
[[footer]]
line = "Single"
"""
OBJECTS = {
    **{"Text": "text", "HorizontalLine": "horizontalLine", "Image": "image", "Logo": "logo", "URL": "url", "TaxNumber": "taxNumber"},
    **{"MerchantName": "merchantName", "MerchantAddress": "merchantAddress"},
    **{"MerchantEmailAddress": "merchantEmailAddress", "MerchantPhoneNumber": "merchantPhoneNumber"},
}
"""Contract §11: a line's type, and the object that goes with it."""


@pytest.fixture(scope="module")
def is_bill(specs):
    """Checks an answer against the published OrderBill, and that each line has the object that its type names and no other."""
    components = json.loads((specs / "epos-data-api.json").read_text())["components"]
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/OrderBill", "components": components}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )

    def check(reply):
        assert reply.status == 200, reply.body
        validator.validate(reply.json)
        assert set(reply.json) == {"header", "order", "footer"}
        for line in reply.json["header"]["lines"] + reply.json["footer"]["lines"]:
            assert set(line) == {"lineType", OBJECTS[line["lineType"]]}
        return reply.json

    return check


def a_template(folder, text):
    (folder / "logo.svg").write_text(SVG, "utf-8")
    (folder / "bill.toml").write_text(text, "utf-8")
    return folder / "bill.toml"


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """A service in Madrid's time with the template of the page and the kinds of lines that it lacks, registered at a sandbox."""
    folder = tmp_path_factory.mktemp("bill")
    template = a_template(folder, TEMPLATE + EVERY_KIND)
    with beside_sandbox(folder, BILL_TEMPLATE=template, TIMEZONE="Europe/Madrid", VENUE_NAME="Not this one") as venue:
        venue.service.till.call("PUT", "/till/tables", [{"id": "tbl_full", "name": "By the window"}])
        yield venue


@pytest.fixture(scope="module")
def full(venue):
    """The id of an order with everything on it."""
    return venue.service.dojo.post("/v1/orders", CONTRACT_ORDER).json["id"]


def bill_of(service, order_id):
    return service.dojo.get(f"/v1/orders/{order_id}/bill")


def texts(section):
    return [line["text"]["value"] for line in section["lines"] if line["lineType"] == "Text"]


def command(service, *words, **settings):
    """Run a command with the service's settings, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=service.folder,
        env=environment(service.settings | settings) | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def test_the_bill_is_the_order_between_every_kind_of_line(venue, full, is_bill):
    bill = is_bill(bill_of(venue.service, full))

    assert bill["order"] == venue.service.dojo.get(f"/v1/orders/{full}").json
    assert {line["lineType"] for line in bill["header"]["lines"] + bill["footer"]["lines"]} == set(OBJECTS)
    assert bill["header"]["lines"][0] == {"lineType": "Logo", "logo": {"svgImage": SVG}}
    assert bill["header"]["lines"][1] == {"lineType": "MerchantName", "merchantName": {"name": "The Corner"}}
    assert texts(bill["header"]) == ["Table 12", "Table By the window", "Reference A-1042"]
    assert bill["footer"]["lines"][-1] == {"lineType": "TaxNumber", "taxNumber": {"name": "VAT", "number": "342 6287 32"}}


def test_the_flags_of_a_link_are_spelt_as_the_schema_spells_them(venue, full):  # contract §16, 21
    [link] = [line["url"] for line in bill_of(venue.service, full).json["footer"]["lines"] if line["lineType"] == "URL"]
    assert link == {"url": "https://corner.example/menu", "description": "Our menu", "showQr": True, "showUrl": False}


def test_the_bill_of_an_order_to_be_collected_says_when_by_the_clock_of_the_venue(venue, is_bill):
    details = {"orderType": "Collection", "collection": {"asap": False, "collectAt": "2026-03-14T23:30:00Z"}}
    order_id = venue.service.dojo.post("/v1/orders", an_order("collect", details=details, reference="C-77")).json["id"]

    assert texts(is_bill(bill_of(venue.service, order_id))["header"]) == ["Collection 15 Mar 2026, 00:30", "Reference C-77"]


def test_the_bill_of_a_table_that_paid_in_parts_has_what_counts_after_a_refund(venue, is_bill):
    opened = venue.service.till.post("/till/orders", a_bill(total=4900, table="tbl_parts")).json["id"]
    before = is_bill(bill_of(venue.service, opened))["order"]
    assert (before["payments"], before["paidAmount"], before["payable"]) == ([], gbp(0), True)
    result = venue.sandbox.pay_only("tbl_parts", parts=2, tips=Money(200, "GBP"))
    venue.service.await_state(opened, "updated")
    venue.service.await_rest()

    refunded = venue.sandbox.intents.refund(result.intent_ids[0], Money(450, "GBP")).id
    venue.sandbox.send_event(refunded)
    venue.service.await_rest()

    order = is_bill(bill_of(venue.service, opened))["order"]
    assert order == venue.service.dojo.get(f"/v1/orders/{opened}").json
    paid = {payment["paymentIntentId"]: payment["paidAmount"]["value"] for payment in order["payments"]}
    assert paid == {refunded: 2000, **{other: 2450 for other in result.intent_ids if other != refunded}}
    lines = [" ".join(line.split()) for line in command(venue.service, "orders", "bill", opened).stdout.splitlines()]
    start = lines.index("TOTAL £49.00")
    assert lines[start + 4 : start + 7] == ["Paid £44.50", "Tips £2.00", "Outstanding £4.50"]
    assert sorted(line.partition(": ")[2].partition(" +")[0] for line in lines[start + 2 : start + 4]) == ["£20.00", "£24.50"]


@pytest.mark.parametrize("order_id", ["unknown", "..%2f..", "%00", "%1b%5b2J", "x" * 2000], ids=range(5))
def test_an_order_that_does_not_exist_has_no_bill(venue, order_id):
    reply = bill_of(venue.service, order_id)
    assert (reply.status, reply.json["errorType"]) == (404, "NotFound")


def test_a_bill_is_for_dojo_alone_and_is_only_read(venue, full):
    assert venue.service.dojo.get(f"/v1/orders/{full}/bill", authorization=None).status == 401
    assert venue.service.dojo.post(f"/v1/orders/{full}/bill", {}).status == 405


def test_the_bill_is_among_what_is_registered():
    assert ("GetOrderBill", "v1") in wanted("https://pos.example", "u", "p").capabilities


def test_the_command_prints_the_bill_and_its_json_is_what_dojo_gets(venue, full):
    shown, as_json = command(venue.service, "orders", "bill", full), command(venue.service, "orders", "bill", full, "--json")

    assert (shown.returncode, shown.stderr, as_json.returncode, as_json.stderr) == (0, "", 0, "")
    assert json.loads(as_json.stdout) == bill_of(venue.service, full).json
    assert {len(line) <= 42 for line in shown.stdout.splitlines()} == {True}
    for text in ("The Corner", "2 × Cheeseburger", "£44.55", "https://corner.example/menu", "VAT 342 6287 32"):
        assert text in shown.stdout
    assert "Sam Sample" not in shown.stdout


def test_the_commands_of_the_page_print_a_bill(venue, full):
    lines = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    commands = [[full if word.startswith("tp_") else word for word in shlex.split(line, comments=True)] for line in lines]

    assert {words[0] for words in commands} == {"tillproof"}
    assert [ended.returncode for words in commands if not (ended := command(venue.service, *words[1:])).stdout] == []


def test_the_command_knows_no_bill_of_an_unknown_order(venue):
    ended = command(venue.service, "orders", "bill", "unknown")
    assert (ended.returncode, ended.stdout) == (Exit.FOUND, "")
    assert "no order unknown" in ended.stderr


def test_what_controls_a_terminal_is_on_no_bill(venue, is_bill):
    hostile = "\x1b]0;owned\x07\x1b[2J\u202e"
    item = {"plu": "P", "name": f"{hostile}Soup", "quantity": 1, "amountPerItem": gbp(1200)}
    created = venue.service.dojo.post(
        "/v1/orders", an_order("hostile", table="tbl_full", items=[item], displayName=hostile, reference=f"{hostile}R")
    )

    bill = is_bill(bill_of(venue.service, created.json["id"]))
    printed = command(venue.service, "orders", "bill", created.json["id"]).stdout

    assert [text for text in texts(bill["header"]) if not text.isprintable()] == []
    assert [line for line in printed.splitlines() if not line.isprintable()] == []
    assert "Soup" in printed


def test_without_a_template_a_bill_has_the_venue_and_the_order_and_an_empty_footer(tmp_path, is_bill):
    with running(tmp_path, VENUE_NAME="Zoë’s") as service:
        order_id = service.dojo.post("/v1/orders", an_order("plain", table="7")).json["id"]

        bill = is_bill(bill_of(service, order_id))

    assert bill["header"]["lines"] == [
        {"lineType": "MerchantName", "merchantName": {"name": "Zoë’s"}},
        {"lineType": "Text", "text": {"value": "Table 7", "size": "Header2", "align": "Center", "bold": True}},
        {"lineType": "HorizontalLine", "horizontalLine": {"line": "Single"}},
    ]
    assert bill["footer"] == {"lines": []}


# Bad templates


@pytest.fixture
def bad(tmp_path):
    """A service, not started, whose template has two mistakes."""
    template = a_template(tmp_path, '[venue]\nnmae = "The Corner"\nlogo = "none.svg"')
    return Service(tmp_path, BILL_TEMPLATE=template), template


def test_serve_ends_with_3_and_says_every_mistake_before_it_makes_a_journal(bad):
    service, template = bad

    ended = command(service, "serve")

    assert ended.returncode == Exit.SETTINGS
    assert f"{template}: [venue]: nmae: there is no such key; the nearest is name" in ended.stderr
    assert f"{template}: [venue]: logo: expected the path of an SVG file" in ended.stderr
    assert "Next: correct the template, then tillproof doctor" in ended.stderr
    assert not service.journal.exists()


def test_doctor_has_a_failure_for_every_mistake(bad):
    service, template = bad

    ended = command(service, "doctor", "--json")

    found = [(one["level"], one["text"]) for one in json.loads(ended.stdout)["findings"] if one["name"] == "bill"]
    assert ended.returncode == Exit.FOUND
    assert [level for level, _ in found] == ["FAIL", "FAIL"]
    assert {text.startswith(f"{template}: [venue]: ") for _, text in found} == {True}


def test_doctor_tells_what_a_good_template_has(venue):
    findings = json.loads(command(venue.service, "doctor", "--json").stdout)["findings"]
    assert [(one["level"], one["text"].partition(": ")[2]) for one in findings if one["name"] == "bill"] == [
        ("ok", "7 lines above the order, 4 below it")
    ]


def test_the_command_that_prints_a_bill_ends_with_3_and_one_that_needs_none_does_not_care(venue, bad, full):
    settings = {"BILL_TEMPLATE": bad[1]}
    assert command(venue.service, "orders", "bill", full, **settings).returncode == Exit.SETTINGS
    assert command(venue.service, "orders", "show", full, **settings).returncode == Exit.FINE


def test_a_template_that_turns_bad_while_the_program_starts_ends_it_with_3(bad):
    service, _ = bad
    program = (
        "import app; from adapters.settings import read_settings; import os; raise SystemExit(app.serve(read_settings(os.environ, None)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == Exit.SETTINGS
    assert "Traceback" not in ended.stderr
    assert "there is no such key" in ended.stderr
