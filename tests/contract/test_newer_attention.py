"""What needs a person by a code that this program does not know: a newer one raised it, and the one before was started again."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import app
from adapters.cli.commands import cli
from tests.builders import Venue, an_intent
from tests.contract.running import running
from tests.contract.test_console import Browser
from workflow.case import Case
from workflow.commands import AttemptFailed
from workflow.declaration import Attention
from workflow.lifecycle import ATTENTION
from workflow.unit import Unit

NEWER = "OF_A_NEWER_VERSION"
SAID = f"This version of Tillproof does not know {NEWER}: a newer one raised it, or somebody changed the journal."
ORDER, ORPHAN = "o1", "pi_of_nobody"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The program of today beside a journal in which a newer one raised attention of its own, of an order and of none."""
    folder = tmp_path_factory.mktemp("newer")
    with pytest.MonkeyPatch.context() as newer:
        newer.setitem(ATTENTION, NEWER, Attention("Something new is wrong.", "Do something new."))
        for raises in (Case, Unit):
            newer.setattr(raises, "attend", renamed(raises.attend))
        venue = Venue(folder)
        venue.create(ORDER)
        venue.event("pi_1", "Captured")
        venue.settle({"pi_1": an_intent(paid=900)})
        venue.event(ORPHAN, "Captured")
        venue.engine.handle(AttemptFailed(task=venue.tasks.popleft(), error="400", next_at_ms=None))
        venue.close()
    (folder / "tillproof.key").rename(folder / "tillproof.db.key")
    venue.witness.rename(folder / "tillproof.db.witness")
    with running(folder) as service:
        yield service


def renamed(attend):
    return lambda self, code, detail, *args, **facts: attend(self, NEWER, detail, *args, **facts)


def command(service, *words):
    settings = {f"TILLPROOF_{name}": str(value) for name, value in service.settings.items()}
    ended = CliRunner().invoke(cli, words, obj=app.program(), prog_name="tillproof", env=settings)
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exc_info
    return ended


def test_every_command_shows_the_code_and_says_that_it_is_not_known(service):
    until = str(service.reads.size())
    for words in (
        ("attention", "list"),
        ("orders", "list", "--attention"),
        ("orders", "show", ORDER),
        ("orders", "show", ORDER, "--at", until),
        ("journal", "replay", "--until", until),
    ):
        ended = command(service, *words)
        assert (ended.exit_code, NEWER in ended.stdout, SAID in ended.stdout) == (0, True, True), ended.output
        assert SAID in command(service, *words, "--json").stdout


def test_the_journal_is_whole_and_explains_what_is_stored_whoever_knows_the_code(service):
    for words in (("journal", "verify"), ("journal", "replay")):
        assert json.loads(command(service, *words, "--json").stdout)["ok"]


def test_the_api_shows_it_and_readiness_counts_it(service):
    standing = service.auditor.get("/api/attention").json["data"]
    assert sorted((item["code"], item["orderId"], item["why"]) for item in standing) == [(NEWER, "", SAID), (NEWER, ORDER, SAID)]
    assert [item["why"] for item in service.auditor.get(f"/api/orders/{ORDER}").json["attention"]] == [SAID]
    assert service.open.get("/readyz").json == {"reasons": [], "attention": {NEWER: 2}}
    assert f'tillproof_attention{{code="{NEWER}"}} 2.0' in service.auditor.get("/metrics").body.decode()


def test_every_page_shows_it_and_offers_nothing_that_would_be_refused(service):
    operator = Browser(service)
    operator.log_in()
    for path in (
        "/",
        "/attention",
        f"/attention?code={NEWER}",
        "/attention?section=rest",
        "/attention?section=service",
        f"/orders/{ORDER}",
    ):
        shown = operator.get(path)
        assert (shown.status, f"does not know {NEWER}" in shown.body.decode()) == (200, True), path
    assert b"/act?" not in operator.get(f"/attention?code={NEWER}").body
    assert operator.get("/attention?code=NOBODY_RAISED_IT").status == 400
