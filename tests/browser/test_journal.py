"""The journal for people: whole or not, verified, replayed and sealed on demand, and every entry of it."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest
from playwright.sync_api import expect

from adapters import tillproof_verify
from tests.browser.conftest import assert_no_barrier, check_page, follow, reload_until_seen, signed_size
from tests.browser.evening import HOSTILE
from tests.contract.running import TOKENS, Service, a_bill, running, sqlite
from tests.many_entries import fill
from workflow.journal.reads import SqliteReads
from workflow.replay import replay

MANY, SOME = 10_000, 2_000


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A service with a journal that takes a while: jobs are seen under way."""
    folder = tmp_path_factory.mktemp("long")
    fill(folder, MANY)
    with running(folder) as service:
        yield service


def press(page, name):
    page.goto("/journal")
    return follow(page.get_by_role("button", name=name))


def test_the_page_says_in_words_that_the_journal_is_whole_and_how_far_it_is_signed(page, venue):
    size = signed_size(venue.service)
    press(page, "Verify now")
    expect(page.get_by_role("heading", name="Whole")).to_be_visible()
    expect(page.get_by_text(f"Entries 1 to {size} are as they were written. Signed up to {size}.")).to_be_visible()
    expect(page.get_by_text(venue.service.reads.origin()).first).to_be_visible()
    expect(page.get_by_text(f"saw {size} entries")).to_be_visible()
    check_page(page, "/journal")


def test_verifying_shows_how_far_it_is_and_who_began_it_and_clicking_twice_begins_it_once(long, visitor):
    one, two = visitor(long), visitor(long, role="auditor")
    expect(one.get_by_role("main")).to_be_visible()
    two.goto("/journal")
    came = press(one, "Verify now").text()  # It may have ended before the browser shows it.
    assert "<progress" in came
    assert "<strong>Verifying</strong>, begun by operator-1" in came
    if two.get_by_role("button", name="Verify now").is_visible():
        two.get_by_role("button", name="Verify now").click()
    expect(one.get_by_role("heading", name="Whole")).to_be_visible()
    expect(one.get_by_role("progressbar")).to_have_count(0)
    began = [line for line in long.log() if line["event"] == "console job ended" and line["kind"] == "verify"]
    assert {line["by"] for line in began} <= {"operator-1", "auditor-1"}
    size = long.reads.size()
    expect(one.get_by_text(f"Entries 1 to {size:,} are as they were written.")).to_be_visible()


def test_a_button_that_somebody_is_about_to_press_never_becomes_another_one(long, visitor):
    page = visitor(long)
    press(page, "Verify now")
    replay = page.get_by_role("button", name="Replay")
    replay.focus()
    expect(page.get_by_role("button", name="Verify now")).to_be_visible()  # It stands in front, as soon as nothing is under way.
    expect(replay).to_be_focused()


def test_replay_says_that_what_is_stored_is_what_the_entries_say(page, venue):
    press(page, "Replay")
    expect(page.get_by_text("Replay equals what is stored")).to_be_visible()


def test_replay_without_scripts_is_followed_by_loading_the_page_again(venue, visitor):
    page = visitor(venue.service, java_script_enabled=False)
    press(page, "Replay")
    reload_until_seen(page.get_by_text("Replay equals what is stored"))


def test_what_is_stored_and_no_entry_tells_is_named_by_replay(tmp_path, visitor):
    with running(tmp_path) as service:
        service.till.post("/till/orders", a_bill(id="o-1"))
        sqlite(service.journal, "UPDATE orders SET paid = 7 WHERE id = 'o-1'")
        page = visitor(service)
        press(page, "Replay")
        expect(page.get_by_text("Replay differs from what is stored")).to_be_visible()
        expect(page.get_by_text("orders o-1: stored '7', replayed '0'")).to_be_visible()
        page.context.close()


def test_a_journal_that_was_changed_is_not_whole_and_the_first_bad_entry_is_named(tmp_path, visitor):
    service = Service(tmp_path)
    try:
        service.start()
        for number in range(3):
            service.till.post("/till/orders", a_bill(id=f"o-{number}"))
        assert service.stop() == 0
        first = sqlite(service.journal, "SELECT min(seq) FROM journal WHERE order_id = 'o-1'")[0][0][0]
        sqlite(
            service.journal,
            "DROP TRIGGER journal_is_append_only_update",
            f"UPDATE journal SET at = 'last-we-ekTin:th:ee.venZ', hash = substr(hash, 2) || 'z' WHERE seq = {first}",
        )
        service.start(ready=503)
        page = visitor(service)
        page.goto("/journal")
        expect(page.get_by_role("heading", name="Not whole")).to_be_visible()
        expect(page.get_by_text(f"Entry {first} is the first that is wrong:")).to_be_visible()
        assert_no_barrier(page, "light")
        page.get_by_role("link", name=f"Look at entry {first}").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(f"Entry {first}")
        expect(page.get_by_text("last-we-ekTin:th:ee.venZ").first).to_be_visible()
        for seq in (first, first + 1):  # Its neighbour, too, is shown although nothing leads from it to the root.
            page.goto(f"/journal/{seq}")
            expect(page.get_by_text("Its hash does not lead to the signed root")).to_be_visible()
        page.context.close()
    finally:
        service.kill()


def test_a_journal_that_had_no_entry_when_it_was_verified_is_not_called_whole(tmp_path, visitor):
    with running(tmp_path) as service:
        page = visitor(service)
        page.goto("/journal")
        expect(page.get_by_role("heading", name="Whole")).to_be_visible()
        expect(page.get_by_text("It has no entry yet.")).to_be_visible()
        service.till.post("/till/orders", a_bill(id="o-1"))
        page.goto("/journal")
        expect(page.get_by_role("heading", name="Not verified yet")).to_be_visible()
        expect(page.get_by_text("It was empty when it was verified last")).to_be_visible()
        page.get_by_role("button", name="Verify now").click()
        expect(page.get_by_role("heading", name="Whole")).to_be_visible()
        expect(page.locator("body:not([data-refresh])")).to_be_visible()  # Nothing is under way: the page asks no more.
        page.context.close()


def test_a_sealed_copy_is_made_offered_and_without_personal_data_unless_asked_for(page, venue, tmp_path, visitor):
    press(page, "Seal a copy")
    expect(page.get_by_role("link", name="Download the copy")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the copy").click()
    copy = tmp_path / "copy.db"
    download.value.save_as(copy)
    assert re.fullmatch(r"tillproof-sealed-without-personal-\d+\.db", download.value.suggested_filename)
    assert replay(SqliteReads(copy)).mismatches == []
    [(kept,)] = sqlite3.connect(copy).execute("SELECT value FROM audit_about WHERE name = 'personal_data'").fetchall()
    assert kept.startswith("taken out")
    assert not [*venue.service.folder.glob("tillproof-sealed-*")]  # It has no name any more.
    auditor = visitor(venue.service, role="auditor")
    assert auditor.context.request.get("/journal/sealed.db").status == 200

    page.get_by_label("keep, for a backup").check()
    page.get_by_role("button", name="Seal a copy").click()
    expect(page.get_by_text("with what customers said of themselves")).to_be_visible()
    assert auditor.context.request.get("/journal/sealed.db").status == 403
    auditor.goto("/journal")
    assert auditor.get_by_role("button", name="Seal a copy").count() == auditor.get_by_role("link", name="Download the copy").count() == 0


def test_every_entry_is_explained_and_its_place_in_the_signed_checkpoint_shown(page, venue, tmp_path, capsys):
    seq = venue.service.entries(venue.orders.paid)[1]["seq"]
    page.goto(f"/journal/{seq}")
    expect(page.get_by_text("in the signed checkpoint", exact=True)).to_be_visible()
    expect(page.get_by_text("Which row of the declaration, or what was done.")).to_be_visible()
    entry = venue.service.entries(venue.orders.paid)[1]
    assert json.loads(page.locator("pre").inner_text()) == entry["body"]
    expect(page.get_by_text(entry["hash"])).to_be_visible()
    check_page(page, "/journal/<int:seq>")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download its receipt").click()
    file = tmp_path / "receipt.json"
    download.value.save_as(file)
    assert tillproof_verify.main([str(file)]) == 0, capsys.readouterr()
    page.get_by_role("link", name="Next in the order ›").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Entry {venue.service.entries(venue.orders.paid)[2]['seq']}")


def test_entries_are_paged_newest_first_and_filtered_by_order_and_kind(long, visitor):
    page = visitor(long, role="auditor")
    page.goto("/journal")
    size = long.reads.size()
    rows = page.locator(".entries tbody tr")
    expect(rows).to_have_count(50)
    expect(rows.first).to_contain_text(f"{size:,}")
    page.get_by_role("link", name="Older entries").click()
    expect(rows.first).to_contain_text(f"{size - 50:,}")
    page.get_by_label("Before entry").fill("3")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(rows).to_have_count(2)
    order_id = long.reads.entry_at(1).order_id
    page.goto(f"/journal?order={order_id}&kind=transition")
    assert rows.count() > 0
    assert all(order_id in text and "transition" in text for text in rows.all_inner_texts())
    for wrong in ("/journal?before=x", "/journal?kind=x", "/journal?before=0"):
        assert page.goto(wrong).status == 400
    assert page.goto(f"/journal/{size + 1_000}").status == 404
    assert page.goto("/journal/99999999999999999999").status == 404


def test_what_a_till_wrote_is_inert_in_its_entries(page, venue):
    entries = venue.service.entries(venue.orders.hostile)
    page.goto(f"/journal/{entries[0]['seq']}")
    expect(page.locator("pre")).to_contain_text(json.dumps(HOSTILE))
    assert page.locator("script:not([src])").count() == 0


def test_exports_are_those_of_the_api_and_need_a_login(page, venue, visitor):
    api = venue.service.auditor
    signed_size(venue.service)
    for form in ("jsonl", "csv"):
        answer = page.context.request.get(f"/journal/export.{form}")
        assert answer.headers["content-disposition"] == f'attachment; filename="journal.{form}"'
        assert answer.body() == api.get(f"/api/export?format={form}").body
    assert page.context.request.get("/journal/export.xml").status == 404
    stranger = visitor(venue.service, role=None)
    assert stranger.goto("/journal/export.csv").url.endswith("/login?next=/journal/export.csv")
    assert TOKENS["operator"] not in page.content()


def test_the_newest_checkpoint_can_be_taken_along(page, venue):
    signed_size(venue.service)
    assert page.context.request.get("/journal/checkpoint.txt").body() == venue.service.auditor.get("/api/checkpoint").body


def test_the_service_ends_in_time_while_a_job_is_under_way(tmp_path, visitor):
    fill(tmp_path, SOME)
    service = Service(tmp_path)
    try:
        service.start()
        page = visitor(service)
        press(page, "Verify now")
        page.goto("/journal")
        page.get_by_role("button", name="Seal a copy").click()
        page.context.close()
        assert service.stop() == 0
    finally:
        service.kill()
