"""Whether everything is as it must be: findings, capabilities, settings, keys; and that no page shows a secret."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urldefrag, urljoin

import pytest
from playwright.sync_api import expect

import app
from adapters.capabilities import CAPABILITIES, SERVED, Registration
from adapters.console import capabilities
from adapters.dojo import DojoClient, DojoSettings
from adapters.settings import read_settings, shown
from tests.browser.conftest import CALM, PATIENCE_MS, check_page, follow
from tests.browser.evening import HOSTILE
from tests.contract.running import KEY, PASSWORD, TOKENS, USERNAME, beside_sandbox, eventually, register, running
from workflow.commands import NoteRegistration
from workflow.errors import AnswerUnreadable, DojoRefusesUs, OutcomeUnknown, Refused, TryAgain

PAGES = ["/setup", "/setup/settings", "/setup/capabilities", "/setup/keys"]
SECRETS = {"WEBHOOK_SECRETS": "canary-of-one-webhook,canary-of-another-webhook", "TILL_SECRET": "canary-of-the-till"}
OF_A_KIND = 4
"""So many pages are looked at that differ in an id, a date or a position alone."""


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """A service with every kind of secret, and an order, beside its sandbox: for what is changed here."""
    with beside_sandbox(tmp_path_factory.mktemp("setup"), TILL_URL="http://127.0.0.1:9/till", **SECRETS, **CALM) as peers:
        peers.order_id = peers.sandbox.order_and_pay().order_id
        yield peers


@pytest.fixture
def registered(peers):
    """What Dojo has registered, and a way to change it behind the console's back."""
    client = DojoClient(DojoSettings(url=str(peers.service.settings["DOJO_URL"]), api_key=KEY))
    yield client
    register(peers.service, peers.sandbox)
    client.close()


def settings_of(service):
    return read_settings(service.environment, None)


def ask(page):
    page.goto("/setup/capabilities")
    follow(page.get_by_role("button", name="Ask Dojo what is registered"))

    def is_answered():
        page.reload()
        return page.locator("progress").count() == 0

    eventually(is_answered, PATIENCE_MS / 1000)


def kind_of(path):
    """The path without what tells pages of one kind apart."""
    way, _, query = path.partition("?")
    return re.sub(r"[^/]*\d[^/]*", "*", way), tuple(sorted(each.partition("=")[0] for each in query.split("&")))


# Findings


def test_a_server_finds_of_itself_what_is_true_and_asks_dojo_when_a_person_wants_that(peers, visitor):
    page = visitor(peers.service, role="auditor")
    page.goto("/setup")
    said = page.locator("main").inner_text()
    for text in ("in use by this server", "LISTEN", "is served by this server", "called at http://127.0.0.1:9/till"):
        assert text in said
    assert "Nothing is wrong" in said
    assert "Nobody has asked since this server was started" in said

    page.get_by_role("button", name="Look again, and ask Dojo").click()

    expect(page.get_by_text(f"{peers.service.settings['DOJO_URL']} answers")).to_be_visible()
    expect(page.get_by_text("Asked ").filter(has_text="for auditor-1")).to_be_visible()
    expect(page.get_by_text(f"{len(SERVED)} registered for {peers.service.settings['PUBLIC_URL']}")).to_be_visible()


def test_a_file_that_others_can_read_and_a_setting_that_waits_for_a_restart_are_found_while_the_server_runs(peers, visitor):
    page = visitor(peers.service)
    toml = peers.service.folder / "tillproof.toml"
    peers.service.witness.chmod(0o644)
    toml.write_text('currency = "EUR"\nsearch_days = 61\n')
    try:
        page.goto("/setup")
        said = page.locator("main").inner_text()
    finally:
        peers.service.witness.chmod(0o600)
        toml.unlink()

    assert f"chmod 600 {peers.service.witness}" in said
    assert "changed since this server was started, and not in force yet: CURRENCY, SEARCH_DAYS" in said
    assert "1 thing is wrong" in said


@pytest.mark.parametrize("route", PAGES)
def test_the_page_is_for_everybody(peers, visitor, route):
    page = visitor(peers.service)
    if route == "/setup/capabilities":
        ask(page)
    page.goto(route)
    check_page(page, route)


# Settings


def test_every_setting_is_shown_with_its_value_its_origin_and_its_meaning_and_secrets_are_masked(peers, visitor):
    page = visitor(peers.service)
    page.goto("/setup/settings")
    rows = page.locator("tbody tr").evaluate_all("rows => rows.map(row => [...row.cells].slice(0, 3).map(cell => cell.innerText.trim()))")

    found = shown(settings_of(peers.service))
    assert rows == [[each.description.name, each.value, each.origin] for each in found]
    values = {name: value for name, value, _ in rows}
    assert (values["DOJO_API_KEY"], values["WEBHOOK_SECRETS"], values["TILL_SECRET"]) == ("***", "***, ***", "***")
    assert values["TOKENS"] == "till:till-1:***, auditor:auditor-1:***, operator:operator-1:***"
    assert (values["CURRENCY"], values["EPOS_USERNAME"], values["RESELLER_ID"]) == ("GBP", USERNAME, "–")
    assert page.locator("main").locator("input, select, textarea").count() == 0


def test_no_page_that_an_operator_can_reach_shows_a_secret(peers, visitor):  # A15 I13
    page, seen, waiting, kinds = visitor(peers.service), set(), ["/"], Counter()
    ask(page)
    page.goto("/setup")
    follow(page.get_by_role("button", name="Look again"))
    secrets = [secret for secret in settings_of(peers.service).secrets() if secret]
    assert {*TOKENS.values(), KEY, PASSWORD, "canary-of-another-webhook", "canary-of-the-till"} <= set(secrets)

    while waiting:
        path = waiting.pop(0)
        seen.add(path)
        kinds[kind_of(path)] += 1
        if kinds[kind_of(path)] > OF_A_KIND:
            continue
        answer = page.request.get(path)
        assert answer.status < 500, path
        text = answer.text() if "text/" in answer.headers.get("content-type", "") else ""
        assert [secret for secret in secrets if secret in text] == [], path
        links = (urldefrag(urljoin(path, link))[0].replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', text))
        waiting += [link for link in dict.fromkeys(links) if link.startswith("/") and link not in seen and link not in waiting]
    assert {*PAGES, "/machines/order", "/setup/capabilities/register", "/setup/keys/rotate"} <= seen


# Capabilities


def test_capabilities_are_shown_as_registered_served_and_needed(peers, visitor, registered):
    some = (("CreateOrder", "v1"), ("GetOrderById", "1.0.0"), (HOSTILE, "v1"))
    url = str(peers.service.settings["PUBLIC_URL"])
    registered.register(Registration(url=url, username=USERNAME, password=PASSWORD, capabilities=some))
    page = visitor(peers.service, role="auditor")
    ask(page)

    rows = page.locator("tbody tr").evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))")
    by_name = {re.split(r"\s", row[0])[-1]: row[1:] for row in rows}
    assert [*by_name] == [*(each.name for each in CAPABILITIES), HOSTILE]
    assert page.locator("main script").count() == 0
    assert by_name["CreateOrder"] == ["registered v1", "yes", "needs it", "–"]
    assert by_name["GetOrderById"] == ["registered, not as it should be 1.0.0", "yes", "needs it", "needs it"]
    assert by_name["SearchOrders"] == ["not registered", "yes", "needs it", "needs it"]
    assert page.get_by_text("Dojo would not call us as we want it to").is_visible()


def test_an_operator_without_scripts_sees_what_registering_changes_gives_a_reason_and_dojo_has_it(peers, visitor, registered):
    url = str(peers.service.settings["PUBLIC_URL"])
    before = (*((name, "v1") for name in SERVED if name != "SearchOrders"), ("Dance", "v1"))
    registered.register(Registration(url="http://127.0.0.1:7", username="old", password=PASSWORD, capabilities=before))
    page = visitor(peers.service, java_script_enabled=False)
    ask(page)
    follow(page.get_by_role("link", name="Register…"))
    assert page.get_by_role("listitem").filter(has_text=re.compile("^(Added|Removed|Address|User name|Version)")).all_inner_texts() == [
        "Added: SearchOrders",
        "Removed: Dance, which is not served here",
        f"Address: http://127.0.0.1:7 becomes {url}",
        f"User name: old becomes {USERNAME}",
    ]

    page.get_by_label("Why?").fill("the address is new")
    follow(page.get_by_role("button", name="Register at Dojo"))

    assert page.get_by_role("status").filter(has_text=f"Registered: Dojo calls {url}").is_visible()
    [now] = registered.integrations()
    assert (now.url, now.username, [name for name, _ in now.capabilities]) == (url, USERNAME, list(SERVED))
    [entry] = [
        each for each in peers.service.reads.entries(order_id="") if each.trigger == "register" and "the address" in str(each.entry().body)
    ]
    assert entry.actor == "operator:operator-1"
    assert entry.entry().body == {"reason": "the address is new", "url": url, "added": ["SearchOrders"], "dropped": ["Dance"]}


def test_what_is_registered_at_a_terminal_beside_the_server_is_journaled_by_the_server(peers):
    note = NoteRegistration(url="https://pos.example.com", added=("CreateOrder",), dropped=("Dance",), reason="by hand", actor="operator:x")
    app.ask(settings_of(peers.service), note)

    entry = [each for each in peers.service.reads.entries(order_id="") if each.trigger == "register"][-1]
    facts = {"reason": "by hand", "url": note.url, "added": ["CreateOrder"], "dropped": ["Dance"]}
    assert (entry.actor, entry.entry().body) == ("operator:operator-1", facts)


def test_what_was_changed_at_dojo_after_the_preview_is_not_overwritten_unseen(peers, visitor, registered):
    page = visitor(peers.service)
    ask(page)
    follow(page.get_by_role("link", name="Register…"))
    check_page(page, "/setup/capabilities/register")
    others = Registration(url="http://127.0.0.1:7", username="other", password="other", capabilities=(("Dance", "v1"),))
    registered.register(others)

    page.get_by_label("Why?").fill("as every year")
    follow(page.get_by_role("button", name="Register at Dojo"))

    assert "has changed since this was shown" in page.get_by_role("alert").inner_text()
    assert [each.url for each in registered.integrations()] == [others.url]
    assert page.get_by_role("link", name="Leave it as it is").is_visible()


def test_an_auditor_is_not_offered_to_register_or_to_rotate_the_key_and_is_refused(peers, visitor):
    page = visitor(peers.service, role="auditor")
    ask(page)
    assert page.get_by_role("link", name="Register…").count() == 0
    page.goto("/setup/keys")
    assert page.get_by_role("link", name="Bring in a new key…").count() == 0

    for path in ("/setup/capabilities/register", "/setup/keys/rotate"):
        assert page.request.get(path).status == 403
        csrf = page.locator("input[name=csrf]").first.get_attribute("value")
        assert page.request.post(path, form={"csrf": csrf, "reason": "so", "seen": ""}).status == 403


def test_a_dojo_that_refuses_the_key_is_told_in_words_with_what_to_do(peers, visitor, tmp_path):
    with running(tmp_path, str(peers.service.settings["DOJO_URL"]), DOJO_API_KEY="sk_sandbox_another", **CALM) as service:
        page = visitor(service)
        ask(page)
        assert page.get_by_text("Dojo refuses our key").is_visible()
        assert page.get_by_text("Set the right TILLPROOF_DOJO_API_KEY").is_visible()
        assert page.get_by_role("link", name="Register…").count() == 0
        assert page.request.get("/setup/capabilities/register").status == 409


@pytest.mark.parametrize(
    ("error", "what", "todo"),
    [
        (DojoRefusesUs("401"), "Dojo refuses our key", "TILLPROOF_DOJO_API_KEY"),
        (TryAgain("refused connection"), "cannot be reached; nothing was changed", "the network"),
        (AnswerUnreadable("a sign-in page"), "cannot be understood", "TILLPROOF_DOJO_URL"),
        (OutcomeUnknown("timeout"), "no clear answer", "says whether it was taken"),
        (Refused("400"), "Not possible: 400", "decide anew"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_way_in_which_dojo_says_no_has_words_and_a_next_step(error, what, todo):
    trouble = capabilities.trouble_of(error)
    assert (what in trouble.what, todo in trouble.todo) == (True, True)


# Keys


def test_an_operator_brings_in_a_new_key_and_both_are_listed_with_their_fingerprints(peers, visitor):
    page = visitor(peers.service)
    page.goto("/setup/keys")
    [before] = [each["fingerprint"] for each in peers.service.auditor.get("/api/keys").json["data"]]
    assert page.get_by_text(before).is_visible()

    follow(page.get_by_role("link", name="Bring in a new key…"))
    page.get_by_label("Why?").fill("a laptop was stolen")
    follow(page.get_by_role("button", name="Bring in a new key"))

    keys = peers.service.auditor.get("/api/keys").json["data"]
    assert page.get_by_role("status").filter(has_text=keys[-1]["fingerprint"]).is_visible()
    assert page.locator("dd.id").all_inner_texts()[::2] == [each["fingerprint"] for each in reversed(keys)]
    assert (keys[0]["fingerprint"], len(keys)) == (before, 2)
    page.goto("/setup")
    assert page.get_by_role("row").filter(has_text="signing key").count() == 0
