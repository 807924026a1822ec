"""docs/when-something-is-wrong.md says what is: its tables are made of the declaration, its requests are made of a running service.

`python -m tests.contract.test_trouble_page` writes the tables anew.
"""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise

import pytest

from tests.contract.running import ROOT, TOKENS, a_bill, running
from tests.contract.test_readme import part
from workflow.declaration import words
from workflow.journal.condition import CHAIN_BROKEN, JOURNAL_DAMAGED, PASSING
from workflow.lifecycle import ATTENTION, RESOLUTIONS

PAGE = ROOT / "docs" / "when-something-is-wrong.md"
REFRESH = "python -m tests.contract.test_trouble_page"


def actions():
    rows = [f"| `{each.action}` | {each.meaning} |" for each in RESOLUTIONS]
    return "\n".join(["| action | does |", "|---|---|", *rows]) + "\n"


def attention():
    rows = [f"| `{code}` | {told.why} | {told.next} | {', '.join(actions_for(code)) or '–'} |" for code, told in ATTENTION.items()]
    return "\n".join(["| code | what is wrong | what to do next | actions |", "|---|---|---|---|", *rows]) + "\n"


def actions_for(code):
    return [f"`{each.action}`" for each in RESOLUTIONS if code in words(each.codes)]


PARTS = {"actions": actions, "attention": attention}


def write_anew():
    text = PAGE.read_text("utf-8")
    for name, make in PARTS.items():
        text = part(name).sub(make().replace("\\", r"\\"), text)
    PAGE.write_text(text, "utf-8")


@pytest.mark.parametrize("name", PARTS)
def test_the_tables_are_those_of_the_declaration(name):
    [shown] = part(name).findall(PAGE.read_text("utf-8"))
    assert shown == PARTS[name](), f"{PAGE.name} is stale; write it anew with: {REFRESH}"


def test_every_fault_that_keeps_the_journal_from_being_written_has_its_mend():
    rows = PAGE.read_text("utf-8").partition("## Faults of the machine")[2]
    assert {*PASSING, CHAIN_BROKEN, JOURNAL_DAMAGED, "HEAD_REGRESSED", "MIGRATING"} <= set(re.findall(r"`([A-Z_]+)`", rows))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("trouble")) as service:
        yield service


def test_the_figures_that_the_page_names_are_measured(service):
    reused(service)
    measured = service.open.get("/metrics").body.decode()
    named = set(re.findall(r"`(tillproof_\w+)", PAGE.read_text("utf-8")))
    assert named
    assert [name for name in named if not re.search(rf"^{name}[ {{]", measured, re.MULTILINE)] == []


def test_the_requests_of_the_page_settle_what_they_say(service):
    """What they settle stands on one order; where nothing stands, the answer says so and no request is malformed."""
    order_id = reused(service)
    [block] = [text for text in re.findall(r"(?:\A|\n)\n```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
    answers = [asked(service, shlex.split(line), order_id) for line in block.splitlines()]
    assert [(path, reply.status) for path, reply in answers] == [
        ("/api/attention", 200),
        (f"/api/orders/{order_id}/resolve", 200),
        (f"/api/orders/{order_id}/resolve", 409),
        ("/api/resolve", 409),
        ("/api/outbox/TASK/requeue", 404),
    ]
    assert order_id in [item["orderId"] for item in answers[0][1].json["data"]]
    assert service.order(order_id)["attention"] == []


def reused(service):
    """An order whose id came again with another bill."""
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    service.till.post("/till/orders", a_bill(id=order_id, total=1300))
    assert [item["code"] for item in service.order(order_id)["attention"]] == ["KEY_REUSE"]
    return order_id


def asked(service, command, order_id):
    """What curl would be answered."""
    assert command[0] == "curl"
    path = command[1].removeprefix("http://127.0.0.1:8081").replace("ORDER", order_id)
    headers = dict(text.split(": ", 1) for flag, text in pairwise(command) if flag == "-H")
    given = {"authorization": headers.pop("Authorization").replace("TOKEN", TOKENS["operator"])}
    body = next((json.loads(text) for flag, text in pairwise(command) if flag == "-d"), None)
    assert headers == ({} if body is None else {"content-type": "application/json"})
    return path, service.open.call("GET" if body is None else "POST", path, body, **given)


if __name__ == "__main__":
    write_anew()
