"""What an auditor reads in a sealed copy with a viewer of their own: the views say what the program says, to the penny."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import timedelta
from html import unescape
from types import SimpleNamespace
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import pytest

from adapters.api.views import attention_views
from adapters.cli.orders import happened
from tests.a_venues_week import EMAIL, ERASED, GUEST, NAME, NOTE, PHONE, days, week
from tests.builders import Venue, read_books
from tests.contract.disks import bound_by_permissions
from tests.contract.running import PATIENCE, environment, eventually, free_port
from tests.old_journal import SIGNING_KEY, load
from tests.property.test_same_bytes import COMMANDS
from workflow import audit, replay, sealing
from workflow.attention import concerns
from workflow.books import day_of
from workflow.clock import SystemClock, from_text, to_text
from workflow.journal import auditing
from workflow.journal.reads import OrderFilter, SqliteReads
from workflow.lifecycle import ORDER
from workflow.money import Money, with_sign
from workflow.takings import DUPLICATE, takings

LONDON = ZoneInfo("Europe/London")


@contextmanager
def no_bar(what, total):
    yield lambda done: None


def seal(venue, path, **how):
    given = {"witness": venue.witness, "key": venue.key.public_key(), "signer": venue.key, "clock": venue.clock, "zone": LONDON}
    return sealing.seal(venue.folder / "tillproof.db", path, bar=no_bar, **given | how)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A week's journal, and two sealed copies of it, one of them for handing over."""
    folder = tmp_path_factory.mktemp("week")
    venue = week(folder)
    given = SimpleNamespace(venue=venue, reads=venue.reads, path=folder / "sealed.db", handed=folder / "handed-over.db")
    given.about, given.about_handed = seal(venue, given.path), seal(venue, given.handed, personal=False)
    yield given
    venue.close()


@pytest.fixture
def view(sealed):
    """Reads a view as a stranger's viewer does: with another SQLite, read only."""

    def rows(name, path=sealed.path):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as viewer:
            viewer.row_factory = sqlite3.Row
            return [dict(row) for row in viewer.execute(f"SELECT * FROM {name}")]

    return rows


# They say what the program says


def test_every_view_has_rows_its_declared_columns_and_no_others(view):
    for one in audit.VIEWS:
        rows = view(one.name)
        assert rows, one.name
        assert [*rows[0]] == [column.name for column in one.columns]


def test_every_moment_has_the_day_at_the_venue_beside_it(view):
    for one in audit.VIEWS:
        for column, beside in zip(one.columns, one.columns[1:], strict=False):
            if column.unit == audit.UTC:
                assert (beside.unit, beside.description) == (audit.DATE, f"The day at the venue of {column.name}."), (one.name, column.name)
                days = [(row[column.name], row[beside.name]) for row in view(one.name)]
                assert days == [(at, at and from_text(at).astimezone(LONDON).date().isoformat()) for at, _ in days]
        assert one.columns[-1].unit != audit.UTC


def test_orders_are_those_of_orders_list(view, sealed):
    orders = {stored.order.id: stored.order for stored in sealed.reads.orders(OrderFilter(), 1000)}

    found = view("audit_orders")

    assert {row["order_id"] for row in found} == orders.keys()
    for row in found:
        order = orders[row["order_id"]]
        assert (row["state"], row["kitchen"], row["created_at"], row["entries"]) == (
            *(order.state, order.status, order.created_at, order.order_seq),
        )
        assert (row["total_minor"], row["paid_minor"], row["tips_minor"]) == (order.total.value, order.paid.value, order.tips.value)
        assert (row["total"], row["paid"], row["tips"]) == (with_sign(order.total), with_sign(order.paid), with_sign(order.tips))
        assert row["owed"] == with_sign(Money(row["owed_minor"], order.currency))
        assert row["owed_minor"] < 0 if order.paid.value > order.total.value else row["owed_minor"] >= 0
        assert row["needs_a_person"] == ", ".join(sorted({item.code for item in order.attention}))
        assert row["payments"] == len(order.payments)


def test_what_is_owed_is_what_takings_calls_outstanding_and_a_bill_that_is_over_owes_nothing(view, sealed):
    now = sealed.venue.clock.now()
    day = day_of(now, LONDON)
    outstanding = {total.currency: total.outstanding for total in takings(read_books(sealed.reads, day), day, None, now).totals}

    owed = {row["order_id"]: row["owed_minor"] for row in view("audit_orders")}

    assert sum(value for value in owed.values() if value > 0) == outstanding["GBP"]
    # Given back in part, taken off and expired, cancelled; overpaid; held by half; read nowhere, so that all of it is held.
    assert [owed[order_id] for order_id in ("o1", "o9", "o11", "o2", "o12", "o8")] == [0, 0, 0, -150, 600, 0]


def test_every_state_that_a_view_shows_is_explained_and_says_whether_anything_follows(view):
    explained = {(row["machine"], row["state"]): row["is_final"] for row in view("audit_states")}

    orders, timeline = view("audit_orders"), [row for row in view("audit_order_timeline") if row["machine"]]
    shown = {("order", row["state"]) for row in orders} | {("fulfilment", row["kitchen"]) for row in orders}
    shown |= {("payment", row["state"]) for row in view("audit_payments")}
    shown |= {(row["machine"], row[name]) for row in timeline for name in ("from_state", "to_state") if row[name]}
    assert len(shown) > 12
    assert shown <= explained.keys()
    finals = {state for (machine, state), is_final in explained.items() if machine == "order" and is_final}
    assert finals == set(ORDER.final.split())


def test_each_day_s_takings_are_the_till_s_side_of_takings(view, sealed):
    expected = {}
    for moment in days():
        day = day_of(moment, LONDON)
        for total in takings(read_books(sealed.reads, day), day, None, sealed.venue.clock.now()).totals:
            figures = total.till.figures
            if not figures.is_nothing or total.held_back:
                money = (figures.captured, figures.tips, figures.refunded, figures.net, total.in_words, total.held_back)
                expected[day.date.isoformat(), total.currency] = (total.till.count, *money)

    found = view("audit_takings_by_day")

    names = ("captured", "tips", "refunded", "net", "in_words", "held_back")
    assert {(row["date"], row["currency"]): (row["payments"], *(row[f"{name}_minor"] for name in names)) for row in found} == expected
    assert {key[0] for key in expected} == {"2026-03-28", "2026-03-29", "2026-03-30"}
    assert {key[1] for key in expected} == {"GBP", "JPY", "KWD"}
    assert [*zip(*expected.values(), strict=True)][5:] == [(0, 0, 1050, 0, 0), (0, 0, 1100, 0, 0)]  # In words, and held back.
    for row in found:
        assert [row[name] for name in names] == [with_sign(Money(row[f"{name}_minor"], row["currency"])) for name in names]


def test_payments_add_up_to_the_takings_and_the_counted_ones_are_those_stored(view, sealed):
    found = view("audit_payments")

    counted = {row["payment_intent_id"]: row["net_minor"] for row in found if row["counts"]}
    stored = dict(sealed.reads.rows("SELECT intent_id, paid + tips FROM payments WHERE paid + tips > 0"))
    assert {intent: net for intent, net in counted.items() if net} == stored
    gbp = sum(row["net_minor"] for row in found if row["counts"] and row["currency"] == "GBP")
    assert gbp == sum(row["net_minor"] for row in view("audit_takings_by_day") if row["currency"] == "GBP")
    assert {row["payment_intent_id"] for row in found if row["taken_off"]} == {"pi_7"}
    declared = {row["payment_intent_id"]: (row["declared_minor"], row["declared"]) for row in found}
    assert (declared["pi_5"], declared["pi_2"], declared["pi_kwd"]) == ((1000, "£10.00"), (None, None), (12345, "KWD 12.345"))
    assert {row["payment_intent_id"]: row["held_back"] for row in found if row["held_back"]} == {
        intent: mismatch for intent, mismatch in sealed.reads.rows("SELECT intent_id, mismatch FROM payments") if mismatch
    }


def test_the_timeline_has_every_entry_of_every_order_in_the_words_of_journal_tail(view, sealed):
    entries = {entry.seq: entry for entry in sealed.reads.entries() if entry.order_id}

    found = view("audit_order_timeline")

    assert [row["seq"] for row in found] == [entry.seq for entry in sorted(entries.values(), key=lambda one: (one.order_id, one.order_seq))]
    for row in found:
        entry = entries[row["seq"]]
        assert row["what"] == happened(entry)
        assert (row["body"], row["hash"], row["machine"]) == (entry.body, entry.hash, entry.entry().machine_name)
        assert row["date"] == day_of(from_text(entry.at), LONDON).date.isoformat()


def test_mismatches_are_the_reads_that_disagreed_and_those_that_stand_hold_a_payment(view, sealed):
    found = view("audit_mismatches")

    checks = [entry for entry in sealed.reads.entries() if entry.kind == "check" and entry.entry().body.get("mismatch")]
    assert [row["seq"] for row in found] == [entry.seq for entry in checks]
    standing = sorted((row["payment_intent_id"], row["code"]) for row in found if row["stands"])
    assert standing == sorted(sealed.reads.rows("SELECT intent_id, mismatch FROM payments WHERE mismatch <> ''")) != []
    assert [row["stands"] for row in found if row["payment_intent_id"] == "pi_5"] == [0, 1]
    figures = {row["payment_intent_id"]: (row["dojo_paid_minor"], row["dojo_paid"]) for row in found}
    assert (figures["pi_5"], figures["pi_6"]) == ((999, "£9.99"), (1100, "£11.00"))


def test_what_people_did_has_who_what_and_why(view, sealed):
    found = view("audit_operator_actions")

    acts = [(row["role"], row["name"], row["action"], row["order_id"], row["reason"], row["about"]) for row in found]
    assert acts == [
        ("till", "till-1", "amend", "o2", "", "bill of £12.00"),
        ("operator", "ann", "accept_difference", "o4", "a round of drinks", "AMOUNT_MISMATCH"),
        ("operator", "ann", "detach_payment", "o9", "not ours", "AMOUNT_MISMATCH"),
        ("operator", "bob", "refuse", "o1", "", ""),
        ("operator", "ann", "requeue", "o7", "Dojo is back", "o7.8.0"),
        ("till", "till-1", "cancel", "o11", "", ""),
        ("operator", "ann", "erase", "o13", "letter 12", '["customer"]'),
        ("till", "till-1", "set_venue", "", "", "taking_orders: no"),
        ("till", "till-1", "set_venue", "", "", "taking_orders: yes"),
    ]
    assert "settles nothing" in found[3]["refused"]
    journaled = {entry.seq for entry in sealed.reads.entries() if entry.kind == "operator"}
    assert journaled <= {row["seq"] for row in found}


def test_what_is_stuck_is_all_that_attention_lists_and_the_dead_calls_and_the_parked_events(view, sealed):
    found = view("audit_stuck")

    listed = attention_views(concerns(sealed.reads.attention_with_orders()))
    attention = [row for row in found if row["kind"] == "attention"]
    assert sorted((row["code"], row["since"], row["detail"], row["order_id"], row["payment_intent_id"]) for row in attention) == sorted(
        (item.code, item.since, item.detail, item.order_id, item.payment_intent_id) for item in listed
    )
    assert {"AMOUNT_MISMATCH", "OVERPAID", "OUTBOX_DEAD", "INTENT_NOT_FOUND"} <= {row["code"] for row in attention}
    assert all(row["why"] and row["next"] for row in found)
    dead = {task.id: task.last_error for task in sealed.reads.tasks("dead", 100)}
    assert sorted(row["detail"] for row in found if row["kind"] == "task") == sorted(dead.values()) != []
    assert [row["payment_intent_id"] for row in found if row["kind"] == "parked"] == ["pi_stray"]


def test_duplicates_are_what_came_twice_and_was_applied_once_and_bills_that_were_paid_again(view, sealed):
    found = view("audit_duplicates")

    told = {row["payment_intent_id"]: row for row in found if row["kind"] == "told again"}
    assert (told["pi_1"]["times"], told["pi_1"]["applied"], told["pi_1"]["channels"]) == (2, 1, "capability, webhook")
    paid_again = [(row["payment_intent_id"], row["excess_minor"], row["excess"]) for row in found if row["kind"] == "paid again"]
    day = day_of(from_text("2026-03-29T12:00:00.000Z"), LONDON)
    differences = takings(read_books(sealed.reads, day), day, None, sealed.venue.clock.now()).differences
    duplicates = [(one.intent_id, one.amount.value, with_sign(one.amount)) for one in differences if one.kind == DUPLICATE]
    assert paid_again == duplicates == [("pi_4", 150, "£1.50")]


@pytest.mark.parametrize(
    ("currency", "value"),
    [("GBP", 4820), ("GBP", -104820), ("EUR", 5), ("JPY", -1234567), ("JPY", 0), ("KWD", 1234567), ("KWD", -5), ("CHF", 100)],
)
def test_money_in_a_view_is_written_as_the_program_writes_it(tmp_path, currency, value):
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(audit.TABLES)
        database.execute("INSERT INTO audit_base_currencies VALUES (?, ?, ?, ?)", auditing._currency(currency))
        [(text,)] = database.execute(f"SELECT {audit._shown('x.value', 'x.code')} FROM (SELECT ? AS value, ? AS code) x", (value, currency))

    assert text == with_sign(Money(value, currency))


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/London", "2026-03-29"),
        ("Europe/London", "2026-10-25"),
        ("Atlantic/Azores", "2026-03-29"),  # No midnight on that day,
        ("Atlantic/Azores", "2026-10-25"),  # and two on that one.
        ("Asia/Kathmandu", "2026-03-29"),
        ("America/St_Johns", "2026-03-08"),
        ("Pacific/Apia", "2011-12-30"),  # A date that never was.
    ],
)
def test_a_date_is_the_venue_s_at_every_quarter_of_an_hour_around_a_change_of_its_clocks(zone, change):
    began, zone = from_text(f"{change}T00:00:00.000Z"), ZoneInfo(zone)
    moments = [began + timedelta(minutes=15 * number, milliseconds=late) for number in range(-120, 120) for late in (-1, 0)]
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(audit.TABLES)

        def date_of(moment, known):
            hours = SimpleNamespace(rows=lambda sql: [(hour,) for hour in sorted({to_text(each)[:13] for each in known})])
            database.execute("DELETE FROM audit_base_days")
            database.executemany("INSERT INTO audit_base_days VALUES (?, ?, ?)", auditing._days(hours, zone))
            [(date,)] = database.execute(f"SELECT {audit._date('x.at')} FROM (SELECT ? AS at) x", (to_text(moment),))
            return date

        for moment in moments:
            date = day_of(moment, zone).date.isoformat()
            assert date_of(moment, [moment]) == date, moment  # Where it is all that happened,
            assert date_of(moment, [moments[0], moment, moments[-1]]) == date, moment  # and between others.


def test_a_copy_says_in_which_zone_its_dates_are(sealed, tmp_path, view):
    seal(sealed.venue, tmp_path / "there.db", zone=ZoneInfo("America/New_York"))

    assert {row["date"] for row in view("audit_takings_by_day", tmp_path / "there.db")} == {"2026-03-28", "2026-03-29"}
    assert {row["name"]: row["value"] for row in view("audit_about", tmp_path / "there.db")}["time_zone"] == "America/New_York"


# The file


def test_a_copy_is_one_plain_file_without_a_write_ahead_log_and_its_views_need_no_more_than_sqlite_3_37(sealed):
    header = sealed.path.read_bytes()[:20]
    assert header[18:20] == b"\1\1"  # Neither written nor read by way of a write-ahead log.
    newer = ("->", "format(", "unixepoch(", "string_agg", "concat(", "FULL JOIN", "RIGHT JOIN", "iif(", "json_pretty")
    assert [word for one in audit.VIEWS for word in newer if word in one.sql.replace("' -> '", "").replace("group_concat", "")] == []


def test_every_entry_of_a_copy_is_signed_for(sealed, view):
    for about in (sealed.about, sealed.about_handed):
        assert (about.checkpoint.size, about.checkpoint.root, about.unsigned) == (about.entries, about.root, 0)
    about = {row["name"]: row["value"] for row in view("audit_about")}
    assert (about["entries"], about["signed_up_to_entry"], about["root"]) == (str(sealed.about.entries),) * 2 + (sealed.about.root,)


@pytest.fixture
def unsigned(tmp_path):
    """A journal whose last entries no checkpoint covers yet."""
    venue = Venue(tmp_path)
    venue.create("o1")
    venue.journal.seal()
    venue.journal._sealed_at = venue.clock.monotonic() + 1e9  # No other until the end.
    venue.create("o2")
    assert venue.reads.newest_checkpoint()[0] < venue.reads.size()
    yield venue
    venue.close()


def test_what_no_checkpoint_covers_yet_is_signed_in_the_copy_alone(unsigned):
    before = unsigned.reads.newest_checkpoint()

    about = seal(unsigned, unsigned.folder / "sealed.db")

    assert (about.checkpoint.size, about.unsigned) == (unsigned.reads.size(), 0)
    assert unsigned.reads.newest_checkpoint() == before
    assert replay.verify(SqliteReads(about.path), unsigned.witness, unsigned.key.public_key(), unsigned.clock).ok


@pytest.mark.parametrize("signer", ["none", "another"])
def test_without_the_key_that_signed_before_it_says_how_much_is_not_signed(unsigned, tmp_path, signer):
    other = tmp_path / "another"
    other.mkdir()
    stranger = Venue(other)
    key = {"none": None, "another": stranger.key}[signer]

    about = seal(unsigned, unsigned.folder / "sealed.db", signer=key)

    assert about.unsigned == unsigned.reads.size() - unsigned.reads.newest_checkpoint()[0] > 0
    stranger.close()


def test_the_journal_of_the_first_release_is_sealed_with_its_views_put_back_upgraded_and_sealed_again(tmp_path, view):
    old = tmp_path / "old.db"
    load("schema-1", old)

    sealing.seal(
        old, tmp_path / "tillproof.db", witness=tmp_path / "old.db.witness", key=SIGNING_KEY.public_key(), bar=no_bar, clock=SystemClock()
    )

    takings_then = [("2026-03-14", 8, "£67.50")]
    assert [(row["date"], row["payments"], row["net"]) for row in view("audit_takings_by_day", tmp_path / "tillproof.db")] == takings_then
    assert len(view("audit_orders", tmp_path / "tillproof.db")) == 23
    for name in ("key", "witness"):
        (tmp_path / f"old.db.{name}").rename(tmp_path / f"tillproof.{name}")
    venue = Venue(tmp_path)
    venue.create("o_later", payments=())
    assert seal(venue, tmp_path / "again.db").unsigned == 0
    venue.close()
    assert [(row["date"], row["payments"], row["net"]) for row in view("audit_takings_by_day", tmp_path / "again.db")] == takings_then
    assert len(view("audit_orders", tmp_path / "again.db")) == 24


# Handing over


def test_a_copy_for_handing_over_has_no_byte_of_personal_data_and_proves_the_same(sealed):
    backup, handed = sealed.path.read_bytes(), sealed.handed.read_bytes()
    [(secret,)] = sealed.reads.rows("SELECT value FROM meta WHERE name = 'secret'")

    for words in (NAME, EMAIL, PHONE, NOTE, GUEST, secret):
        assert words.encode() in backup
        assert words.encode() not in handed
    assert ERASED.encode() not in backup + handed
    assert (sealed.about_handed.digest, sealed.about_handed.root) == (sealed.about.digest, sealed.about.root)
    copy = SqliteReads(sealed.handed)
    assert replay.verify(copy, sealed.venue.witness, sealed.venue.key.public_key(), sealed.venue.clock).ok
    assert replay.replay(copy).ok
    assert copy.rows("SELECT (SELECT count(*) FROM personal) + (SELECT count(*) FROM guests)") == [(0,)]


def test_a_copy_for_handing_over_shows_the_same_views(sealed, view):
    for one in audit.VIEWS:
        assert view(one.name, sealed.handed) == view(one.name)


def test_a_copy_of_a_copy_for_handing_over_is_one_too_and_never_called_a_backup(sealed, tmp_path, view):
    again = sealing.seal(
        sealed.handed, tmp_path / "again.db", witness=sealed.venue.witness, key=None, bar=no_bar, clock=sealed.venue.clock, zone=LONDON
    )

    assert (sealed.about.personal, sealed.about_handed.personal, again.personal) == (True, False, False)
    said = {path: dict(tuple(row.values()) for row in view("audit_about", path))["personal_data"] for path in (sealed.path, again.path)}
    assert (said[sealed.path], said[again.path].partition(":")[0]) == ("in the tables personal and guests", "taken out")
    assert list(sealing.view_mismatches(again.path)) == []


# Put back, and sealed again


def test_a_copy_that_was_put_back_serves_without_the_views_and_can_be_sealed_again(sealed, tmp_path, view):
    for name, source in (("tillproof.db", sealed.path), ("tillproof.key", sealed.venue.folder / "tillproof.key")):
        (tmp_path / name).write_bytes(source.read_bytes())

    venue = Venue(tmp_path, clock=sealed.venue.clock)
    venue.create("o_later", payments=())
    venue.journal.seal()

    assert venue.reads.rows("SELECT name FROM sqlite_master WHERE name LIKE 'audit%'") == []
    seal(venue, tmp_path / "again.db")
    assert "o_later" in {row["order_id"] for row in view("audit_orders", tmp_path / "again.db")}
    venue.close()


def test_a_sealed_copy_is_sealed_again_with_the_same_views(sealed, tmp_path, view):
    sealing.seal(
        sealed.path, tmp_path / "again.db", witness=sealed.venue.witness, key=None, bar=no_bar, clock=sealed.venue.clock, zone=LONDON
    )

    for one in audit.VIEWS:
        assert view(one.name, tmp_path / "again.db") == view(one.name)


# Other people's programs


def test_the_sqlite_utils_command_reads_every_view(sealed, view):
    def ask(*words):
        command = [sys.executable, "-m", "sqlite_utils", *words]
        return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout)

    listed = {row["view"]: row["count"] for row in ask("views", str(sealed.path), "--counts")}
    assert listed == {one.name: len(view(one.name)) for one in audit.VIEWS}
    assert ask("rows", str(sealed.path), "audit_takings_by_day") == view("audit_takings_by_day")


def test_every_table_of_a_copy_is_described_or_listed_last_in_datasette(sealed):
    shown = json.loads(sealing.metadata(sealed.path))["databases"]["sealed"]["tables"]

    assert {*SqliteReads(sealed.path).tables(), *(one.name for one in audit.VIEWS)} == shown.keys()
    assert [name for name, found in shown.items() if not (found.get("hidden") or found.get("description"))] == []


@contextmanager
def medium(copy, folder):
    """The copy where nothing can be written, and a way to run programs to which that applies."""
    folder.mkdir()
    shutil.copy(copy, folder / "copy.db")
    (folder / "copy.db").chmod(0o444)
    folder.chmod(0o555)

    def run(program, *words, **settings):
        ran = subprocess.run(
            [sys.executable, "-c", program, *words],
            env=environment(settings),
            preexec_fn=bound_by_permissions,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return ran.stdout

    try:
        yield folder / "copy.db", run
    finally:
        folder.chmod(0o755)


WITH_SQLITE_UTILS = """
import pathlib, sys, sqlite_utils.cli
sqlite_utils.cli.cli(["rows", sys.argv[1], "audit_takings_by_day"], standalone_mode=False)
try:
    pathlib.Path(sys.argv[1] + "-wal").touch()
except PermissionError:
    print("nothing can be written")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are taken from root, on Linux")
def test_a_copy_where_nothing_can_be_written_is_read_by_our_commands_and_by_others(sealed, tmp_path, view):
    with medium(sealed.handed, tmp_path / "medium") as (copy, run):
        settings = {"JOURNAL": copy, "WITNESS": sealed.venue.witness, "SIGNING_KEY": sealed.venue.folder / "tillproof.key"}
        told = run(COMMANDS, "journal verify", "journal replay", "journal tail -n 1", "journal head", **settings)
        rows, _, said = run(WITH_SQLITE_UTILS, copy).rpartition("]\n")

    for claim in ("The journal is whole.", "signatures checked", "Replay equals what is stored.", str(sealed.about.root)):
        assert claim in told
    assert said == "nothing can be written\n"
    assert json.loads(f"{rows}]") == view("audit_takings_by_day")
    assert [path.name for path in copy.parent.iterdir()] == ["copy.db"]


def test_datasette_shows_every_view_with_its_title_and_what_its_columns_mean(sealed, tmp_path, view):
    (tmp_path / "metadata.json").write_text(sealing.metadata(sealed.path), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "datasette", "serve", str(sealed.path), "-m", str(tmp_path / "metadata.json"), "-p", str(port)]
    command += ["--setting", "sql_time_limit_ms", str(int(PATIENCE * 1_000))]  # By itself it breaks off a question that takes a second.

    def fetch(path):
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def is_up():
        try:
            return fetch("/-/versions.json")
        except OSError:
            return None

    with (tmp_path / "datasette.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as datasette:
        try:
            eventually(is_up, 4 * PATIENCE)
            listed = unescape(fetch("/sealed"))
            for one in audit.VIEWS:
                assert one.name in listed
                assert json.loads(fetch(f"/sealed/{one.name}.json?_shape=array&_size=max")) == view(one.name)
                page = unescape(fetch(f"/sealed/{one.name}"))
                assert one.title in page
                assert [column.name for column in one.columns if column.description not in page] == []
        finally:
            datasette.terminate()


def test_descriptions_and_units_stand_in_the_copy_itself(view):
    described = {(row["name"], row["column"]): (row["unit"], row["description"]) for row in view("audit_descriptions")}

    for one in audit.VIEWS:
        assert one.title in described[one.name, ""][1]
        for column in one.columns:
            assert described[one.name, column.name] == (column.unit, column.description)
            assert not column.name.endswith("_minor") or column.unit == "minor units"
            assert not column.name.endswith("_at") or column.unit == "UTC"
