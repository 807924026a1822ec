"""What the console decides without a server: who is logged in for how long, what the first page says first, and what errors mean."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from zoneinfo import ZoneInfo

import pytest
from flask import Blueprint, Flask

from adapters.console import act, orders
from adapters.console.login import _following
from adapters.console.paths import is_own_path
from adapters.console.sessions import IDLE_SECONDS, SESSION_SECONDS, SESSIONS, Sessions
from adapters.console.today import ALERTS, _alerts
from adapters.console.troubles import in_words, problem_of
from adapters.edge.credentials import Actor, Tokens
from adapters.edge.limits import is_https
from adapters.edge.pages import amount, minutes_between, moment, money, span, with_moments
from adapters.heard import Heard
from tests.builders import FixedClock, Venue, gbp
from tests.console_desk import desk_with, text_of
from workflow.attention import Concern
from workflow.errors import JournalDamaged, JournalUnavailable, TransitionRefused, UnknownOrder
from workflow.lifecycle import ATTENTION

JO = Actor("operator", "jo")
LONDON = ZoneInfo("Europe/London")


# -- sessions


def test_a_session_that_nobody_uses_ends_and_one_that_refreshes_itself_is_not_used():  # A5
    clock = FixedClock()
    sessions = Sessions(clock)
    cookie = sessions.open(JO)
    clock.move(IDLE_SECONDS)
    assert sessions.find(cookie, is_use=False).actor == JO
    assert sessions.find(cookie, is_use=True)
    clock.move(IDLE_SECONDS)
    assert sessions.find(cookie, is_use=False)
    clock.move(1)
    assert sessions.find(cookie, is_use=True) is None
    assert sessions.find(cookie, is_use=True) is None


def test_a_session_ends_after_a_working_day_however_busy_it_is():  # A5
    clock = FixedClock()
    sessions = Sessions(clock)
    cookie = sessions.open(JO)
    for _ in range(int(SESSION_SECONDS / IDLE_SECONDS) - 1):
        clock.move(IDLE_SECONDS)
        assert sessions.find(cookie, is_use=True)
    clock.move(IDLE_SECONDS)
    assert sessions.find(cookie, is_use=True) is None


def test_a_wall_clock_that_jumps_ends_no_session():
    clock = FixedClock()
    sessions = Sessions(clock)
    cookie = sessions.open(JO)
    clock.jump(10 * SESSION_SECONDS)
    assert sessions.find(cookie, is_use=True)


def test_sessions_are_bounded_and_the_one_that_began_first_makes_room():
    sessions = Sessions(FixedClock())
    cookies = [sessions.open(JO) for _ in range(SESSIONS + 1)]
    assert sessions.find(cookies[0], is_use=True) is None
    assert sessions.find(cookies[-1], is_use=True)


def test_no_two_sessions_share_a_cookie_or_a_token_and_memory_holds_no_cookie():
    sessions = Sessions(FixedClock())
    cookies = [sessions.open(JO) for _ in range(50)]
    assert len(set(cookies)) == len({sessions.find(each, is_use=True).csrf for each in cookies}) == 50
    assert not [each for each in cookies if each.encode() in repr(vars(sessions)).encode()]


@pytest.mark.parametrize("cookie", [None, "", "x", "é\x00"])
def test_what_is_no_cookie_of_ours_opens_nothing(cookie):
    sessions = Sessions(FixedClock())
    sessions.open(JO)
    assert sessions.find(cookie, is_use=True) is None
    sessions.close(cookie)


def test_who_comes_back_after_the_session_ended_sees_nothing_does_nothing_and_is_led_to_the_login(tmp_path):  # A5
    with desk_with(tmp_path, orders.pages, act.pages) as desk:
        csrf = desk.session("ann").csrf
        assert desk.ask("/orders").status_code == 200

        desk.venue.clock.move(IDLE_SECONDS + 1)

        answers = [desk.ask("/orders"), desk.ask("/act", form={"csrf": csrf})]
    assert [(answer.status_code, answer.headers["Location"].partition("?")[0]) for answer in answers] == [(303, "/login")] * 2


# -- where a login leads


@pytest.mark.parametrize("path", ["/", "/orders?state=a&text=b%20c", "/orders/tp_1#x", "/é"])
def test_a_path_of_ours_is_followed(path):
    assert is_own_path(path)
    assert _following(path) == path


@pytest.mark.parametrize(
    "path", ["", "orders", "//evil", "/\\evil", "\\\\evil", "https://evil", "/\t/evil", "/\n", "/a b", "/\x00", "/\u2028x", None]
)
def test_any_other_leads_to_the_first_page(path):
    assert path is None or not is_own_path(path)
    assert _following(path) == "/"


@pytest.mark.parametrize(
    ("peer", "said", "is_so"),
    [
        ("10.0.0.1", "https", True),
        ("10.0.0.1", "HTTPS, http", True),
        ("10.0.0.1", "http", False),
        ("10.0.0.1", "", False),
        ("192.0.2.1", "https", False),
    ],
)
def test_only_a_trusted_proxy_says_that_somebody_came_by_https(peer, said, is_so):
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": said, "wsgi.url_scheme": "http"}
    assert is_https(environ, [ip_network("10.0.0.0/8")]) is is_so
    assert not is_https(environ, [])
    assert is_https(environ | {"wsgi.url_scheme": "https"}, [])


def test_a_tills_token_alone_opens_no_console():
    assert not Tokens.parse("till:t:1").anybody_may("auditor")
    assert Tokens.parse("till:t:1,auditor:a:2").anybody_may("auditor")
    assert Tokens.parse("operator:o:1").anybody_may("auditor")


# -- the first page


def a_concern(code, number=1, **changes):
    fields = {"since": f"2026-03-14T12:0{number % 10}:00.000Z", "detail": "", "order_id": f"o{number}", "payment_intent_id": ""}
    return Concern(**{"code": code, **fields, **changes})


def test_money_that_is_not_on_the_till_comes_first_one_by_one_with_its_table_and_sum():
    found = [
        a_concern("PAID_NOT_ON_TILL", 1, table_id="12", is_paid_not_on_till=True, amount=gbp(4820)),
        a_concern("PAID_NOT_ON_TILL", 2, table_id="7", is_paid_not_on_till=True, amount=gbp(100)),
        a_concern("OVERPAID", 3, table_id="3"),
    ]
    first, second, third = _alerts(found)
    assert (first.what, first.where, first.amount, first.path, first.is_grave) == (
        *("1 order PAID but not on the till", "Table 12", gbp(4820), "/orders/o1", True),
    )
    assert second.where == "Table 7"
    assert (third.what, third.is_grave, third.path) == (ATTENTION["OVERPAID"].why, False, "/orders/o3")


def test_a_payment_that_is_not_on_the_till_for_two_reasons_is_told_once():
    grave = {"is_paid_not_on_till": True, "amount": gbp(100), "payment_intent_id": "pi_1"}
    (alert,) = _alerts([a_concern(code, **grave) for code in ("PAID_BUT_REFUSED", "AMOUNT_MISMATCH")])
    assert (alert.count, alert.amount) == (2, gbp(100))


def test_several_of_a_kind_are_one_line_that_leads_to_all_of_them():
    (alert,) = _alerts([a_concern("UNDERPAID", number) for number in (3, 1, 2)])
    assert alert.what == f"3 × {ATTENTION['UNDERPAID'].why}"
    assert (alert.since, alert.path, alert.where) == ("2026-03-14T12:01:00.000Z", "/attention?code=UNDERPAID", "")


def test_what_is_not_read_is_counted_with_its_kind():
    grave = a_concern("AMOUNT_MISMATCH", 1, is_paid_not_on_till=True, amount=gbp(1))
    found = [grave, *(a_concern("AMOUNT_MISMATCH", number) for number in (2, 3)), a_concern("OVERPAID", 4)]
    alerts = _alerts(found, {"AMOUNT_MISMATCH": 40})
    assert [(alert.count, alert.what[:5]) for alert in alerts] == [(1, "1 ord"), (42, "42 × "), (1, "More ")]


def test_what_concerns_no_order_leads_to_the_page_with_everything():
    (alert,) = _alerts([a_concern("DOJO_AUTH", order_id="")])
    assert (alert.path, alert.where) == ("/attention?code=DOJO_AUTH", "")


def test_every_code_of_attention_fits_on_the_first_page():
    assert len(_alerts([a_concern(code) for code in ATTENTION])) == len(ATTENTION) > ALERTS


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((seconds, "less than a minute") for seconds in (-60, 0, 59)),
        *((60, "1 min"), (360, "6 min"), (3600, "1 h"), (7500, "2 h 5 min"), (86_400, "1 day"), (200_000, "2 days")),
    ],
)  # fmt: skip
def test_how_long_ago_something_was_is_said_in_words(seconds, words):
    now = FixedClock().now()
    assert span(now + timedelta(seconds=seconds), "2026-03-14T12:00:00.000Z") == words


@pytest.mark.parametrize("second", [0, 29, 59])
def test_no_age_changes_within_a_minute_of_the_clock(second):
    noon = FixedClock().now()
    for then in (noon - timedelta(seconds=90), noon - timedelta(hours=3, seconds=1)):
        assert minutes_between(then, noon + timedelta(seconds=second)) == minutes_between(then, noon)
        assert minutes_between(then, noon + timedelta(seconds=60)) == minutes_between(then, noon) + 1


def test_money_and_moments_look_as_people_write_them():
    assert [money(gbp(value)) for value in (4820, 128460, -5, 0)] == ["£48.20", "£1,284.60", "\N{MINUS SIGN}£0.05", "£0.00"]
    assert [amount(1250, code) for code in ("EUR", "JPY", "CHF")] == ["€12.50", "JPY\N{NO-BREAK SPACE}1,250", "CHF\N{NO-BREAK SPACE}12.50"]
    summer = "2026-07-03T13:02:03.000Z"
    assert ">14:02:03<" in moment(summer, LONDON, "2026-07-03")
    assert ">3 Jul 2026, 14:02:03<" in moment(summer, LONDON, "2026-07-04")
    assert ">13:02:03<" in moment(summer, LONDON, "2026-07-03", utc=True)
    assert "14:02:03 BST" in moment(summer, LONDON, "2026-07-03", utc=True)
    assert moment("<b>T", LONDON, "2026-07-03") == "&lt;b&gt;T"
    assert moment("9999-12-31T23:59:59.999Z", ZoneInfo("Asia/Tokyo"), "2026-07-03") == "9999-12-31T23:59:59.999Z"


def test_moments_within_a_sentence_are_those_of_the_page_and_its_words_stay_inert():
    told = with_moments({"moment": lambda at: moment(at, LONDON, "2026-07-02")}, "<b>Joe</b> until 2026-07-02T12:01:00.000Z; pi_1")
    assert text_of(told) == "<b>Joe</b> until 13:01:00 ; pi_1"
    assert "<b>" not in told
    assert 'datetime="2026-07-02T12:01:00.000Z"' in told
    assert with_moments({}, "12:01, and x2026-07-02T12:01:00.000Z9") == "12:01, and x2026-07-02T12:01:00.000Z9"
    assert with_moments({"moment": lambda at: moment(at, LONDON, "")}, "2026-99-02T12:01:00.000Z") == "2026-99-02T12:01:00.000Z"


# -- what is wrong, in words


@pytest.mark.parametrize("code", [*ATTENTION, "MIGRATING", "WRITER_DEAD", "OUTBOX_DEAD_THREAD", "UPKEEP_DEAD_THREAD", "venue's side"])
def test_every_reason_of_this_process_is_said_in_words_with_what_to_do(code):
    trouble = in_words(code)
    assert trouble.why.endswith(".")
    assert trouble.next.endswith((".", ")"))


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UnknownOrder("no order x"), 404, "No order x."),
        (TransitionRefused("already closed"), 409, "Already closed."),
        (JournalUnavailable("x.db: disk", code="DISK_FULL"), 503, "The disk is full"),
        (JournalUnavailable("x.db: locked"), 503, "Nothing was changed."),
        (JournalUnavailable("x.db: eio", is_unknown=True), 503, "unknown: look before you do it again"),
        (JournalDamaged("x.db: malformed"), 503, "damaged"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_the_core_is_a_page_in_words(error, status, told):
    found = problem_of(error)
    assert found.status == status
    assert told in found.message
    assert status != 503 or found.following


@pytest.mark.parametrize("error", [JournalDamaged("x.db: malformed"), RuntimeError("unforeseen")], ids=["not-made", "failed"])
def test_a_page_that_fails_logs_its_path_without_card_numbers(tmp_path, caplog, error):  # A15
    def broken(site):
        blueprint = Blueprint("broken", __name__)

        @blueprint.get("/orders/<order_id>")
        def show(order_id):
            raise error

        return blueprint

    with desk_with(tmp_path, broken) as desk:
        assert desk.ask("/orders/4111-1111-1111-1111").status_code >= 500
    [record] = [record for record in caplog.records if hasattr(record, "path")]
    assert record.path == "/orders/[card number removed]"


# -- Dojo, heard


def test_dojo_is_heard_when_it_is_let_in_and_not_when_anybody_knocks(tmp_path):
    clock, app, answer = FixedClock(), Flask("dojo"), {"status": 200}
    heard = Heard(clock)
    heard.watch(app, lambda endpoint: endpoint == "order")
    for rule in ("order", "healthz"):
        app.add_url_rule(f"/{rule}", rule, lambda: ("", answer["status"]))
    client = app.test_client()
    client.get("/healthz")
    answer["status"] = 401
    client.get("/order")
    client.get("/nowhere")
    assert heard.at is None
    answer["status"] = 409
    client.get("/order")
    assert heard.at == clock.now()


def test_what_dojo_said_before_this_process_began_is_known_from_the_journal(tmp_path):
    venue, heard = Venue(tmp_path), Heard(FixedClock())
    venue.open("o1")
    heard.recall(venue.reads)
    assert heard.at is None
    venue.clock.move(60)
    venue.create("o2")
    heard.recall(venue.reads)
    assert heard.at == venue.clock.now()
    venue.close()
