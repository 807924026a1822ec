"""The console over HTTP: who gets in, what a form must carry, what every answer forbids, and that no input breaks a page."""

from __future__ import annotations

import html
import itertools
import re
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode

import pytest

from adapters.console.paths import is_own_path
from adapters.console.site import MAX_FORM_BYTES, NAVIGATION
from adapters.edge.limits import GUESSES
from adapters.edge.pages import POLICY
from tests.contract.running import TOKENS, Service, a_bill, beside_sandbox, eventually, running, sqlite

FORM = "application/x-www-form-urlencoded"


class Browser:
    """Somebody at the console: keeps its cookies and sends a form's token, as a browser does."""

    def __init__(self, service, **headers):
        self.service, self.cookies, self.headers = service, {}, {"accept": "text/html", **headers}
        self.cookie = f"tillproof_session_{service.ports[1]}"

    def get(self, path, **headers):
        return self.ask("GET", path, None, **headers)

    def post(self, path, fields=None, **headers):
        body = fields if isinstance(fields, bytes) else urlencode(fields or {}, encoding="utf-8", errors="surrogatepass").encode()
        return self.ask("POST", path, body, **{"content_type": FORM, **headers})

    def ask(self, method, path, body, **headers):
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items()) or None
        reply = self.service.open.call(method, path, body, **{"cookie": cookie, **self.headers, **headers})
        for name, morsel in SimpleCookie(reply.headers.get("set-cookie", "")).items():
            self.cookies[name] = morsel.value
        return reply

    def log_in(self, role="operator", **fields):
        return self.post("/login", {"token": TOKENS[role], **fields})

    @property
    def csrf(self):
        return re.search(r'name="csrf" value="([^"]+)"', self.get("/").body.decode())[1]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with beside_sandbox(tmp_path_factory.mktemp("console"), TRUSTED_PROXIES="127.0.0.1") as peers:
        assert peers.service.till.post("/till/orders", a_bill(id="bill-1", total=4820)).status < 300
        yield peers.service


@pytest.fixture
def operator(service):
    browser = Browser(service)
    assert browser.log_in().status == 303
    return browser


@pytest.fixture(scope="module")
def insider(service):
    """An operator for tests that change nothing of it."""
    browser = Browser(service)
    assert browser.log_in().status == 303
    return browser


# -- logging in


def test_nobody_sees_a_page_without_logging_in(service):
    for path in [*(place.path for place in NAVIGATION), "/help", "/orders/bill-1", "/logout", "/preferences"]:
        reply = Browser(service).get(path)
        assert reply.status in {303, 404, 405}, path
        assert b"bill-1" not in reply.body
        assert reply.status != 303 or reply.headers["location"].startswith("/login")


@pytest.mark.parametrize(("role", "status"), [("operator", 303), ("auditor", 303), ("till", 403)])
def test_people_get_in_and_tills_do_not(service, role, status):
    assert Browser(service).log_in(role).status == status


def test_a_session_begins_under_a_name_that_nobody_gave_it_and_ends_with_the_one_before(service, operator):
    before = operator.cookies[operator.cookie]
    operator.log_in("auditor")
    assert operator.cookies[operator.cookie] != before
    operator.cookies[operator.cookie] = before
    assert operator.get("/").headers["location"] == "/login"
    planted = Browser(service)
    planted.cookies[planted.cookie] = "planted"
    planted.log_in()
    assert planted.cookies[planted.cookie] != "planted"


def test_another_console_on_the_same_host_has_another_cookie(service, operator):
    assert [*operator.cookies] == [operator.cookie]
    elsewhere = Browser(service)
    elsewhere.cookies[f"tillproof_session_{service.ports[0]}"] = operator.cookies[operator.cookie]
    assert elsewhere.get("/").status == 303
    assert elsewhere.log_in().status == 303
    assert operator.get("/").status == 200  # Whatever else is served there, a log-in of it ends nothing here.


def test_who_logged_out_is_out_whatever_cookie_comes(operator):  # A5
    kept = operator.cookies[operator.cookie]
    assert operator.post("/logout", {"csrf": operator.csrf}).headers["location"] == "/login"
    operator.cookies[operator.cookie] = kept
    assert (operator.get("/").status, operator.get("/login").status) == (303, 401)
    assert (Browser(operator.service).get("/").status, Browser(operator.service).get("/login").status) == (303, 200)


@pytest.mark.parametrize(
    ("headers", "is_secure"), [({}, False), ({"x_forwarded_proto": "https"}, True), ({"x_forwarded_proto": "http"}, False)]
)
def test_the_cookie_is_kept_from_scripts_and_other_sites_and_from_plain_http_behind_a_trusted_proxy(service, headers, is_secure):
    cookie = Browser(service, **headers).log_in().headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert ("Secure" in cookie.split("; ")) is is_secure


def test_who_is_no_trusted_proxy_cannot_say_how_it_was_reached(tmp_path):
    with running(tmp_path) as service:
        assert "Secure" not in Browser(service, x_forwarded_proto="https").log_in().headers["set-cookie"]


@pytest.mark.parametrize(
    ("following", "leads_to"),
    [
        ("/orders?state=created&text=%C3%A9", "/orders?state=created&text=%C3%A9"),
        *(
            (each, "/")
            for each in ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "/\n/evil.example", "")
        ),
        *((each, "/") for each in ("javascript:alert(1)", "/ /evil.example", "\x00/", "/" + "x" * 3_000, "/\r\nSet-Cookie: a=b")),
    ],
)
def test_a_login_leads_only_to_our_own_pages(service, following, leads_to):  # A18
    browser = Browser(service)
    browser.get(f"/login?next={quote(following)}")
    reply = browser.log_in(next=following)
    assert (reply.status, reply.headers["location"]) == (303, leads_to)
    assert is_own_path(leads_to)


def test_whoever_guesses_tokens_at_the_form_is_told_to_wait_and_not_listened_to(service):  # A10
    guesser = Browser(service, x_forwarded_for="203.0.113.9")
    statuses = [guesser.post("/login", {"token": f"guess-{number}"}).status for number in range(GUESSES + 1)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    reply = guesser.log_in()
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) > 0
    assert b"Try again in" in reply.body
    assert Browser(service, x_forwarded_for="203.0.113.10").log_in().status == 303


def test_who_came_and_who_was_refused_is_logged_without_secrets(service):
    Browser(service).log_in("auditor")
    Browser(service).log_in("till")
    Browser(service).post("/login", {"token": "wrong-canary"})
    log = service.log()
    assert any(line["event"] == "console entered" and line["actor"] == "auditor:auditor-1" for line in log)
    assert any(line["event"] == "console refused" and line["actor"] == "till:till-1" for line in log)
    assert any(line["event"] == "caller refused" and line["path"] == "/login" for line in log)
    text = service.log_path.read_text()
    assert not [secret for secret in (*TOKENS.values(), "wrong-canary", "tillproof_session") if secret in text]


def test_without_any_token_the_login_page_says_what_to_set(tmp_path):
    with running(tmp_path, TOKENS="") as service:
        page = Browser(service).get("/login").body.decode()
        assert "TILLPROOF_TOKENS=operator:NAME:SECRET" in page
        assert "<input id=" not in page


def test_a_console_beyond_loopback_without_tokens_is_refused(tmp_path):
    service = Service(tmp_path, TOKENS="", CONSOLE_LISTEN="0.0.0.0:0")
    service.launch()
    assert service.exit_code() == 3
    assert "beyond loopback" in service.log_path.read_text()


# -- forms


@pytest.mark.parametrize("headers", [
    {"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "cross-site", "origin": "{own}"},
])  # fmt: skip
def test_a_form_of_another_site_is_not_followed_be_it_the_login(service, operator, headers):  # A6
    headers = {name: value.format(own=f"http://127.0.0.1:{service.ports[1]}") for name, value in headers.items()}
    assert Browser(service).post("/login", {"token": TOKENS["operator"]}, **headers).status == 403
    assert operator.post("/preferences", {"csrf": operator.csrf, "utc": "on"}, **headers).status == 403
    assert b"Show venue time" not in operator.get("/").body


def test_a_form_of_ours_is_followed_however_the_browser_says_so(service):
    own = f"127.0.0.1:{service.ports[1]}"
    for headers in ({"origin": f"http://{own}", "host": own}, {"sec_fetch_site": "same-origin"}, {}):
        assert Browser(service, **headers).log_in().status == 303


@pytest.mark.parametrize("fields", [{}, *({"csrf": given} for given in ("", "wrong", "\x00", "é" * 40))], ids=["none", *"abcd"])
def test_a_form_without_this_sessions_token_changes_nothing(insider, fields):  # A6
    for path in ("/preferences", "/logout"):
        assert insider.post(path, fields).status == 403
    assert insider.get("/").status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/json", ""])
def test_the_right_token_in_what_is_no_form_changes_nothing(insider, kind):  # A6
    body = urlencode({"csrf": insider.csrf, "utc": "on"}).encode()
    assert insider.post("/preferences", body, content_type=kind or None).status == 403
    assert insider.get("/preferences?" + body.decode()).status == 405
    assert b"Show venue time" not in insider.get("/").body


def test_a_form_that_came_too_late_leads_back_to_its_page_after_the_login(service):
    own = f"127.0.0.1:{service.ports[1]}"
    for referrer, leads_to in (
        (f"http://{own}/orders/bill-1/erase?x=1", f"/login?next={quote('/orders/bill-1/erase?x=1', safe='/')}"),
        ("http://evil.example/orders", "/login"),
        (f"http://{own}//evil.example", "/login"),
        ("http://[", "/login"),
        (None, "/login"),
    ):
        reply = Browser(service).post("/preferences", {"csrf": "old"}, referer=referrer, host=own)
        assert (reply.status, reply.headers["location"]) == (303, leads_to), referrer


def test_another_sessions_token_is_of_no_use(service, operator):
    other = Browser(service)
    other.log_in("auditor")
    assert operator.post("/preferences", {"csrf": other.csrf}).status == 403


# -- answers


def test_every_page_forbids_what_is_not_ours_and_is_kept_by_nobody(service, operator):  # A18
    for browser, path in [*((operator, path) for path in ("/", "/help", "/nowhere", "/login")), (Browser(service), "/orders")]:
        headers = browser.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"


def test_no_page_holds_a_script_or_a_style_of_its_own(operator):
    for path in ("/", "/help", "/nowhere", "/login"):
        page = operator.get(path).body.decode()
        assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son[a-z]+=|javascript:", page)


def test_what_is_not_there_is_a_page_to_people_and_json_to_programs(service, operator):
    assert operator.get("/nowhere").headers["content-type"].startswith("text/html")
    assert Browser(service).get("/nowhere").status == 404
    for path, accept in (
        ("/nowhere", "*/*"),
        ("/nowhere", "application/json"),
        ("/api/nowhere", "text/html"),
        ("/till/nowhere", "text/html"),
    ):
        reply = service.open.get(path, accept=accept)
        assert (reply.status, reply.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_no_other_method_does_anything(insider, method):
    for path in ("/", "/login", "/logout", "/help"):
        reply = insider.ask(method, path, b"" if method in {"PUT", "PATCH"} else None, content_type=FORM)
        assert reply.status in {400, 405, 501}, path
    assert insider.get("/").status == 200


def test_head_is_get_without_a_body(insider):
    reply = insider.ask("HEAD", "/", None)
    assert (reply.status, reply.body) == (200, b"")


PAGES_AT_MOST = 150
STORED = ("SELECT * FROM journal ORDER BY seq", "SELECT * FROM outbox ORDER BY id", "SELECT * FROM attention ORDER BY 1, 2, 3")


def test_whoever_follows_every_link_changes_nothing(service, insider):  # A6
    """Every page that a link leads to is read by HEAD, by GET as a form would send it, and as a poll: nothing is stored, nothing fails."""
    service.await_rest()
    before = sqlite(service.journal, *STORED)
    ahead, seen = ["/", "/nowhere"], set()
    while ahead and len(seen) < PAGES_AT_MOST:
        path = ahead.pop(0)
        seen.add(path)
        form = urlencode({"csrf": insider.csrf, "reason": "x", "sure": "yes"})
        asked = [
            insider.ask("HEAD", path, None),
            insider.get(f"{path}{'&' if '?' in path else '?'}{form}"),
            insider.get(path, x_refresh="1"),
        ]
        assert all(reply.status < 500 for reply in asked), path
        links = {
            html.unescape(link).partition("#")[0] for link in re.findall(r'href="(/[^"]*)"', asked[-1].body.decode("utf-8", "replace"))
        }
        ahead += sorted(links - seen - set(ahead) - {"/docs"})
    assert {"/", "/help"} <= seen
    assert sqlite(service.journal, *STORED) == before


# -- polls


def test_a_poll_is_answered_304_until_something_changes_and_then_with_the_change(service, operator):
    def is_answered_304():
        first = operator.get("/", x_refresh="1")
        again = operator.get("/", x_refresh="1", if_none_match=first.headers["etag"])
        return (first, again) if again.status == 304 else None

    first, again = eventually(is_answered_304)  # Unless the minute, or the journal, went on meanwhile.
    assert again.body == b""
    assert service.till.post("/till/orders", a_bill(id="bill-after", total=100)).status < 300
    changed = operator.get("/", x_refresh="1", if_none_match=first.headers["etag"])
    assert changed.status == 200
    assert changed.headers["etag"] != first.headers["etag"]


POLLED = ("/", "/orders", "/orders?state=created", "/orders/bill-polled", "/attention", "/outbox", "/takings")


@pytest.mark.parametrize("path", POLLED)
def test_a_page_that_stays_open_is_not_even_made_until_the_journal_changes(service, insider, path):
    name = f"bill-beside-{POLLED.index(path)}"
    assert service.till.post("/till/orders", a_bill(id="bill-polled", total=100)).status < 300

    def is_answered_by_its_stamp():
        service.await_rest()
        stamp = insider.get(path, x_refresh="1").headers["etag"].strip('"').partition(".")[0]
        assert stamp
        return stamp if insider.get(path, x_refresh="1", if_none_match=f'"{stamp}.of another page"').status == 304 else ""

    stamp = eventually(is_answered_by_its_stamp)  # Unless the minute, or the journal, went on meanwhile.
    assert service.till.post("/till/orders", a_bill(id=name, total=100)).status < 300
    assert insider.get(path, x_refresh="1", if_none_match=f'"{stamp}.of another page"').status == 200


def test_a_page_that_time_alone_changes_is_made_for_every_poll(service, insider):
    service.till.post("/till/orders", a_bill(id="bill-locked", total=100, table="tbl_locked"))
    until = datetime.now(UTC) + timedelta(minutes=5)
    body = {"lockId": "lock-1", "expiry": f"{until:%Y-%m-%dT%H:%M:%S.%f}Z"}
    assert service.dojo.post("/v1/orders/bill-locked/lock", body).status == 200
    assert insider.get("/orders/bill-locked", x_refresh="1").headers["etag"].startswith('".')


def test_what_one_person_has_is_no_answer_to_another(service, operator):
    etag = operator.get("/", x_refresh="1").headers["etag"]
    other = Browser(service)
    other.log_in("auditor")
    assert other.get("/", x_refresh="1", if_none_match=etag).status == 200
    assert operator.get("/help", x_refresh="1", if_none_match=etag).status == 200


def test_what_is_said_once_is_not_taken_by_a_poll(operator):
    operator.post("/preferences", {"csrf": operator.csrf, "utc": "on", "next": "/help"})
    assert b"Show venue time" in operator.get("/help", x_refresh="1").body
    operator.post("/preferences", {"csrf": operator.csrf, "utc": "off"})


# -- hostile input


HUGE = "x" * (MAX_FORM_BYTES + 1)
BODIES = {
    "huge": (FORM, f"token={HUGE}".encode(), 413),
    "many fields": (FORM, b"&".join(b"a=b" for _ in range(20_000)), 413),
    "duplicates": (FORM, b"token=a&token=b&csrf=a&csrf=b", None),
    "not utf-8": (FORM, b"token=%ff%fe&csrf=%c0%80", None),
    "raw bytes": (FORM, bytes(range(256)), None),
    "NUL": (FORM, b"token=%00&next=%00", None),
    "lone surrogate": (FORM, b"token=%ed%a0%80&next=/%ed%a0%80", None),
    "percent": (FORM, b"token=%&next=%zz", None),
    "no body": (FORM, b"", None),
    "json": ("application/json", b'{"token": "x"}', None),
    "no type": ("", b"token=x", None),
    "bad charset": (f"{FORM}; charset=nonsense", b"token=x", None),
    "multipart without a boundary": ("multipart/form-data", b"--x\r\n", None),
    "multipart cut short": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\nabc', None),
    "multipart of nonsense": ("multipart/form-data; boundary=x", b"--x\r\nnonsense\r\n\r\n--x--", None),
    "multipart of files": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="token"; filename="../../etc/passwd"\r\n\r\nabc\r\n--x--\r\n',
        None,
    ),
    "multipart of many parts": (
        "multipart/form-data; boundary=x",
        b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' for _ in range(1_100)) + b"--x--\r\n",
        413,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_no_form_breaks_a_page(service, insider, name):  # M13 X7
    kind, body, status = BODIES[name]
    stranger = Browser(service, x_forwarded_for="198.51.100.7")
    for browser, path in itertools.product((stranger, insider), ("/login", "/preferences", "/logout", "/", "/nowhere")):
        reply = browser.post(path, body, content_type=kind or None)
        assert 300 <= reply.status < 500, (path, reply.body)
        if status and path in {"/login", "/preferences"}:
            assert reply.status == status
        assert b"Traceback" not in reply.body
    assert insider.get("/").status == 200


@pytest.mark.parametrize("cookie", [
    *("", "=", ";;;", "tillproof_session", "tillproof_session=", "tillproof_session=\xff\xfe", 'tillproof_session="', "\x01=\x02"),
    *("tillproof_session=a; tillproof_session=b", "tillproof_session=\\000\\377", "tillproof_wishes=" + "utc." * 500),
    "tillproof_session=" + "x" * 8_000,
])  # fmt: skip
def test_no_cookie_breaks_a_page(service, cookie):
    cookie = cookie.replace("tillproof_session", Browser(service).cookie)
    for path in ("/", "/login", "/nowhere"):
        reply = service.open.get(path, cookie=cookie.encode("latin-1").decode("latin-1"), accept="text/html")
        assert reply.status in {200, 303, 400, 401, 404}


@pytest.mark.parametrize(
    "query", ["?next=%ff", "?next=%00", "?%", "?next=" + "a" * 6_000, "?next[]=x&next=/", "?next=/%0d%0aX:y", "?&&&==&"]
)
def test_no_query_breaks_a_page(service, operator, query):
    for browser, path in [
        (operator, "/"),
        (operator, "/help"),
        (Browser(service), "/login"),
        (Browser(service), "/"),
        (operator, "/nowhere"),
    ]:
        reply = browser.get(f"{path}{query}")
        assert reply.status in {200, 303, 400, 404}
        assert "x" not in reply.headers


@pytest.mark.parametrize(
    "header", ["if_none_match", "accept", "origin", "sec_fetch_site", "x_refresh", "x_forwarded_proto", "x_forwarded_for"]
)
def test_no_header_breaks_a_page(insider, header):
    for value in ("", "*", '"', "W/", "\xff", ",,,", '"' + "x" * 4_000 + '"', "http://[", "null, null"):
        assert insider.get("/", **{header: value}).status in {200, 304, 400, 404}, value
        assert insider.post("/preferences", {"csrf": "x"}, **{header: value}).status in {400, 403}, value


# -- a journal in trouble


def test_a_journal_that_lacks_entries_is_told_of_and_its_loss_accepted_at_the_console(tmp_path):  # S11
    with running(tmp_path) as service:
        for number in range(3):
            service.till.post("/till/orders", a_bill(id=f"bill-{number}"))
        assert service.stop() == 0
        shutil.copy(service.journal, tmp_path / "older")
        service.start()
        assert service.till.post("/till/orders", a_bill(id="bill-lost")).status == 200
        assert service.stop() == 0
        shutil.copy(tmp_path / "older", service.journal)
        service.start(ready=503)
        auditor, operator = Browser(service), Browser(service)
        auditor.log_in("auditor")
        operator.log_in("operator")
        page = auditor.get("/orders?state=created")
        assert page.status == 503
        assert "lacks entries" in page.body.decode()
        assert "<form method" not in re.sub(r"(?s)<(header|footer).*?</\1>", "", page.body.decode())
        csrf = operator.csrf
        assert operator.post("/accept-lost-tail", {"csrf": csrf, "reason": "no backup"}).status == 400
        assert auditor.post("/accept-lost-tail", {"csrf": auditor.csrf, "reason": "no backup", "sure": "yes"}).status == 403
        assert service.open.get("/readyz").status == 503
        assert operator.post("/accept-lost-tail", {"csrf": csrf, "reason": "no backup", "sure": "yes"}).status == 303
        eventually(lambda: service.open.get("/readyz").status == 200)
        told = operator.get("/")
        assert told.status == 200
        assert "The loss was accepted" in told.body.decode()
        assert [entry["actor"] for entry in service.auditor.get("/api/export").body.decode().splitlines() and accepted(service)] == [
            "operator:operator-1"
        ]


def accepted(service):
    return [{"actor": actor} for (actor,) in sqlite(service.journal, "SELECT actor FROM journal WHERE trigger = 'accept_lost_tail'")[0]]


def test_a_journal_that_cannot_be_written_is_told_of_on_every_page(tmp_path):  # S3
    with running(tmp_path) as service:
        service.till.post("/till/orders", a_bill(id="bill-1"))
        browser = Browser(service)
        browser.log_in()
        assert "cannot be written" not in browser.get("/").body.decode()
        hold = sqlite3.connect(service.journal, isolation_level=None)
        hold.execute("BEGIN IMMEDIATE")
        try:
            service.till.post("/till/orders", a_bill(id="bill-2"))
            page = eventually(lambda: text if "Another program holds the journal" in (text := browser.get("/").body.decode()) else None)
            assert "JOURNAL_BUSY" in page
        finally:
            hold.execute("ROLLBACK")
            hold.close()
        eventually(lambda: "JOURNAL_BUSY" not in browser.get("/").body.decode())


def test_a_page_that_cannot_be_read_says_so_in_words(tmp_path):
    with running(tmp_path) as service:
        service.till.post("/till/orders", a_bill(id="bill-1"))
        browser = Browser(service)
        browser.log_in()
        sqlite(service.journal, "DROP INDEX orders_by_state")
        service.till.post("/till/orders", a_bill(id="bill-2"))
        page = browser.get("/")
        assert page.status == 503
        assert b"Nothing was changed" in page.body
        assert int(page.headers["retry-after"]) > 0
