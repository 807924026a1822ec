"""The simulator's pages over HTTP: who is let in, what bad input gets, and that a form sent twice pays once."""

import html
import re
import socket
import threading
from urllib.parse import urlsplit

import pytest
import requests

from adapters.sandbox import Sandbox
from adapters.sandbox.panel import SUBJECTS, WHO
from tests.contract.sandbox_peer import KEY, SECONDS, TABLE, eventually, gbp, running

PAGES = ("/phone", f"/phone/table?table={TABLE}", f"/phone/menu?table={TABLE}", f"/phone/bill?table={TABLE}")
PANEL = ("/panel", "/panel/events", "/panel/calls", "/panel/faults", "/panel/registered")
ORDER = {"table": TABLE, "currency": "GBP", "of-tea": "2", "tip": "none", "card": "fine", "pay": "now"}
MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def pair():
    with running() as pair:
        yield pair


def visit(sandbox, path, method="GET", data=None, **headers):
    return requests.request(method, sandbox.url + path, data=data, headers=headers, timeout=SECONDS, allow_redirects=False)


def token(sandbox, path=f"/phone/basket?table={TABLE}&of-tea=1"):
    page = visit(sandbox, path).text
    return {name: re.search(f'name="{name}" value="([^"]+)"', page)[1] for name in ("csrf", "once") if f'name="{name}"' in page}


def send(sandbox, path, fields, **headers):
    return visit(sandbox, path, "POST", token(sandbox) | fields, **headers)


@pytest.mark.parametrize("path", PAGES + PANEL)
def test_every_page_answers_by_itself_with_a_policy_that_allows_no_inline_code(pair, path):
    answer = visit(pair.sandbox, path)
    assert answer.status_code == 200, answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", answer.text)


@pytest.mark.parametrize("path", [*PAGES, *PANEL, "/login"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8090", "10.0.0.7", "[", ""])
def test_a_name_that_was_rebound_to_this_machine_leads_nowhere(pair, path, host):
    with socket.create_connection((urlsplit(pair.sandbox.url).hostname, urlsplit(pair.sandbox.url).port), SECONDS) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert int(answer.split()[1]) in {400, 403}
    assert b'name="csrf"' not in answer


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:1234"])
def test_this_machine_may_be_called_by_each_of_its_names(pair, host):
    assert visit(pair.sandbox, "/panel", Host=host).status_code == 200


@pytest.mark.parametrize("path", PAGES + PANEL)
def test_another_site_cannot_ask_for_a_page(pair, path):
    assert visit(pair.sandbox, path, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert visit(pair.sandbox, path, **{"Sec-Fetch-Site": "same-site"}).status_code == 200  # A link from the console beside it.


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/phone/order", "/phone/bill", "/panel/faults", "/panel/faults/drop", "/panel/faults/clear", "/panel/intents/pi_1/refund"]
)
def test_another_site_cannot_send_a_form_even_with_its_token(pair, path, headers):
    before = len(pair.sandbox.flows())
    assert send(pair.sandbox, path, ORDER | {"about": "event", "which": "any event", "kind": "twice"}, **headers).status_code == 403
    assert len(pair.sandbox.flows()) == before
    assert pair.sandbox._faults.pending() == ()


@pytest.mark.parametrize("csrf", ["", "wrong", "ä"])
def test_a_form_without_its_token_does_nothing(pair, csrf):
    before = len(pair.sandbox.flows())
    assert send(pair.sandbox, "/phone/order", ORDER | {"csrf": csrf}).status_code == 400
    assert len(pair.sandbox.flows()) == before


def test_nothing_is_changed_by_get(pair):
    for path in ("/phone/order", "/panel/faults/drop", "/panel/faults/clear", "/panel/events/evt_1/again", "/panel/intents/pi_1/refund"):
        assert visit(pair.sandbox, path).status_code in {404, 405}


def test_the_pages_leave_no_message_of_their_own_and_no_fault_touches_them(pair):
    before = len(pair.sandbox.messages())
    pair.sandbox.fault("GET", "/panel*", "500")
    assert visit(pair.sandbox, "/panel").status_code == 200
    assert len(pair.sandbox.messages()) == before
    pair.sandbox._faults.clear()


def test_the_api_still_needs_its_key_beside_the_pages(pair):
    for path in ("/sandbox/flows", "/payment-intents/pi_1", "/webhooks", "/phones"):
        assert visit(pair.sandbox, path).status_code == 401


def test_a_form_that_is_sent_twice_orders_once(pair):
    fields, before = token(pair.sandbox) | ORDER, len(pair.sandbox.flows())
    first, second = (visit(pair.sandbox, "/phone/order", "POST", fields) for _ in range(2))
    assert (first.status_code, second.status_code, first.headers["location"]) == (303, 303, second.headers["location"])
    assert len(pair.sandbox.flows()) == before + 1
    assert eventually(lambda: "Paid. The kitchen has your order." in visit(pair.sandbox, first.headers["location"]).text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"of-tea": "0"}, "basket is empty"),
        ({"of-tea": "21"}, "of-tea: expected a whole number from 0 to 20"),
        ({"of-tea": "-1"}, "of-tea"),
        ({"of-tea": "١"}, "of-tea"),
        ({"table": ""}, "table: expected 1 to 255"),
        ({"table": "x" * 256}, "table"),
        ({"table": "a\x00b"}, "table"),
        ({"currency": "gbp"}, "currency"),
        ({"note": "x" * 201}, "note"),
        ({"note": "a\x1bb"}, "note"),
        ({"surprise": "1.234"}, "surprise: expected an amount such as 12.50"),
        ({"surprise": "-5"}, "surprise"),
        ({"surprise": "NaN"}, "surprise"),
        ({"surprise": "0"}, "surprise"),
        ({"surprise": "9999999"}, "surprise"),
        ({"tip": "1000"}, "tip: expected one of"),
        ({"tip": "other", "tip_amount": "much"}, "tip_amount"),
        ({"tip": "other"}, "tip_amount: expected an amount such as 2.50"),
        ({"tip_amount": "2.50"}, "tip_amount: an amount was typed, and something else chosen"),
        ({"tip": "10", "tip_amount": "2.50"}, "tip_amount: an amount was typed, and something else chosen"),
        ({"card": "stolen"}, "card: expected one of"),
        ({"pay": "never"}, "pay: expected one of"),
        ({"once": ""}, "once"),
    ],
)
def test_bad_input_gets_a_page_that_names_the_field(pair, change, said):
    before = len(pair.sandbox.flows())
    answer = send(pair.sandbox, "/phone/order", ORDER | change)
    assert answer.status_code == 400
    assert said in answer.text
    assert len(pair.sandbox.flows()) == before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"about": "event"},
        {"about": "event", "which": "any event", "kind": "500"},
        {"about": "dojo", "which": "read a payment", "kind": "close", "times": "0"},
        {"about": "own", "method": "GET", "path": "/x", "kind": "999"},
        {"about": "own", "method": "", "path": "", "kind": ""},
    ],
)
def test_a_fault_that_cannot_be_is_refused_on_the_panel(pair, fields):
    assert send(pair.sandbox, "/panel/faults", fields).status_code == 400
    assert pair.sandbox._faults.pending() == ()


@pytest.mark.parametrize("path", ["/panel/intents/pi_of_nobody", "/panel/flows/x", "/phone/flows/x?table=1", "/phone/x", "/panel/x/y"])
def test_what_is_not_there_is_a_page_that_says_so(pair, path):
    answer = visit(pair.sandbox, path)
    assert (answer.status_code, "That did not work" in answer.text) == (404, True)


def test_a_share_is_rounded_so_that_the_last_one_closes_the_bill(pair):
    pair.peer.open(1000, "pos-share")
    for left in (1000, 666, 333):
        assert f"£{left / 100:.2f}" in visit(pair.sandbox, f"/phone/bill?table={TABLE}&order=pos-share").text
        people = {1000: "3", 666: "2", 333: ""}[left]
        share = {"share": "equal", "people": people} if people else {"share": "all"}
        answer = send(pair.sandbox, "/phone/bill", {"table": TABLE, "order": "pos-share", "tip": "none"} | share)
        assert answer.status_code == 303, answer.text
        eventually(lambda: "Paid. Thank you!" in visit(pair.sandbox, answer.headers["location"]).text)  # noqa: B023
    assert "Paid in full" in visit(pair.sandbox, f"/phone/bill?table={TABLE}&order=pos-share").text
    assert send(pair.sandbox, "/phone/bill", {"table": TABLE, "order": "pos-share"}).status_code == 400


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ({"amount": "4.00"}, "amount: an amount was typed, and something else chosen"),
        ({"share": "equal", "people": "2", "amount": "4.00"}, "amount: an amount was typed, and something else chosen"),
        ({"share": "amount"}, "amount: expected an amount of at most 10.00"),
        ({"share": "amount", "amount": "10.01"}, "amount: expected an amount of at most 10.00"),
        ({"share": "equal", "people": "1"}, "people: expected a whole number from 2 to 20"),
    ],
)
def test_a_share_of_which_nobody_knows_how_much_it_is_takes_nothing_and_shows_the_bill_again(pair, share, said):
    pair.peer.open(1000, "pos-unclear")
    before = len(pair.sandbox.flows())
    answer = send(pair.sandbox, "/phone/bill", {"table": TABLE, "order": "pos-unclear", "tip": "none"} | share)
    assert (answer.status_code, said in answer.text, "Left to pay" in answer.text) == (400, True, True), answer.text
    assert len(pair.sandbox.flows()) == before


def test_the_tip_on_a_share_is_of_the_share_and_no_sum_of_the_whole_bill_stands_beside_it(pair):
    order = pair.peer.open(4900, "pos-tipped")
    assert "£4.90" not in visit(pair.sandbox, f"/phone/bill?table={TABLE}&order=pos-tipped").text
    asked = {"table": TABLE, "order": "pos-tipped", "tip": "10", "share": "equal", "people": "2"}
    answer = send(pair.sandbox, "/phone/bill", asked)
    eventually(lambda: "£26.95 was taken from your card." in visit(pair.sandbox, answer.headers["location"]).text)
    assert (order["paidAmount"]["value"], order["tipsAmount"]["value"]) == (2450, 245)


def test_of_two_customers_who_pay_one_bill_at_once_the_second_is_asked_to_wait_and_then_pays_what_is_left(pair, monkeypatch):
    arrives = threading.Event()  # The news of the first one's payment.
    monkeypatch.setattr(pair.sandbox._sightings, "pause", lambda _seconds: arrives.wait(SECONDS))
    order = pair.peer.open(1000, "pos-twice")
    asked = {"table": TABLE, "order": "pos-twice", "tip": "none", "share": "equal", "people": "2"}
    first = send(pair.sandbox, "/phone/bill", asked | {"card": "slow"})
    second = send(pair.sandbox, "/phone/bill", asked)
    assert (first.status_code, second.status_code) == (303, 409)
    assert "Somebody else is paying this bill" in second.text

    arrives.set()
    eventually(lambda: "Paid. Thank you!" in visit(pair.sandbox, first.headers["location"]).text)
    again = send(pair.sandbox, "/phone/bill", {"table": TABLE, "order": "pos-twice", "tip": "none", "share": "all"})
    eventually(lambda: "£5.00 was taken from your card." in visit(pair.sandbox, again.headers["location"]).text)
    assert order["paidAmount"]["value"] == 1000


def test_the_address_of_the_simulator_leads_to_the_phone(pair):
    answer = visit(pair.sandbox, "/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/phone")
    assert visit(pair.sandbox, "/", Host="evil.example").status_code == 403


@pytest.mark.parametrize("about", SUBJECTS)
def test_every_fault_that_the_panel_offers_is_set_told_in_words_and_cleared(pair, about):
    calls, kinds = SUBJECTS[about]
    for which, kind in [*((which, next(iter(kinds))) for which in calls), *((next(iter(calls)), kind) for kind in kinds)]:
        fields = {"about": about, "which": which, "kind": kind, "times": "2", "seconds": "3"}
        assert send(pair.sandbox, "/panel/faults", fields).status_code == 303
        [(fault, left)] = pair.sandbox._faults.pending()
        assert ((fault.method, fault.path), fault.kind, left) == (calls[which], kind, 2)
        page = visit(pair.sandbox, "/panel/faults").text
        assert f"{WHO[about]} {which}, the next 2 times: " in page
        assert "Seconds`" not in page
        send(pair.sandbox, "/panel/faults/clear", {})
        assert pair.sandbox._faults.pending() == ()


def test_one_fault_is_dropped_and_the_others_stay(pair):
    for which in ("read a payment", "search payments"):
        send(pair.sandbox, "/panel/faults", {"about": "dojo", "which": which, "kind": "500", "times": "2"})
    rules = [html.unescape(rule) for rule in re.findall('name="rule" value="([^"]+)"', visit(pair.sandbox, "/panel/faults").text)]
    (_, _), (other, _) = pair.sandbox._faults.pending()
    assert send(pair.sandbox, "/panel/faults/drop", {"rule": rules[0]}).status_code == 303
    assert "Does not happen any more: The till wants to search payments, " in visit(pair.sandbox, "/panel/faults").text
    assert pair.sandbox._faults.pending() == ((other, 2),)
    send(pair.sandbox, "/panel/faults/drop", {"rule": rules[0]})
    assert "Happened already, or was dropped: " in visit(pair.sandbox, "/panel/faults").text
    for rule in ("", "{", "[]", '{"method":"GET","path":"/x","kind":"none"}', rules[0][:-1] + ',"more":1}'):
        assert send(pair.sandbox, "/panel/faults/drop", {"rule": rule}).status_code == 400
    assert pair.sandbox._faults.pending() == ((other, 2),)
    pair.sandbox._faults.clear()


def test_money_is_moved_on_the_panel_as_over_the_api_and_the_pos_is_told(pair):
    intent = pair.sandbox.intents.make(gbp(2000), reference="by hand", capture_mode="Manual")
    moves = [("pay", "", "Authorized"), ("capture", "5.00", "Captured"), ("capture", "", "Captured"), ("refund", "1.50", "Captured")]
    for move, amount, status in [*moves, ("refund", "", "Refunded")]:
        answer = send(pair.sandbox, f"/panel/intents/{intent.id}/{move}", {"amount": amount})
        assert (answer.status_code, pair.sandbox.intents.read(intent.id).status) == (303, status), answer.text
    assert pair.sandbox.intents.read(intent.id).refunded == gbp(2000)
    assert send(pair.sandbox, f"/panel/intents/{intent.id}/reverse", {}).status_code == 409
    eventually(lambda: [e for e in pair.sandbox._events.sent() if e.payment_status == "Refunded" and e.outcome == "delivered"])


def test_markup_from_the_pos_is_shown_as_it_is_written(pair):
    item = {"name": MARKUP, "plu": "X", "quantity": 1, "amountPerItem": {"value": 900, "currencyCode": "GBP"}, "note": MARKUP}
    pair.peer.open(900, "pos-<script>", displayName=MARKUP, reference=MARKUP, items=[item])
    pages = [f"/phone/bill?table={TABLE}", f"/phone/bill?table={TABLE}&order=pos-%3Cscript%3E", f"/phone/menu?table={MARKUP}"]
    for path in pages:
        text = visit(pair.sandbox, path).text
        assert "<script>" not in text
        assert "&lt;script&gt;" in text


def test_beyond_loopback_the_pages_ask_for_the_key():
    sandbox = Sandbox(api_key=KEY, host="0.0.0.0")
    sandbox.start()
    try:
        url = f"http://127.0.0.1:{urlsplit(sandbox.url).port}"
        with requests.Session() as person:
            for path in PANEL + PAGES:
                answer = person.get(url + path, timeout=SECONDS, allow_redirects=False)
                assert (answer.status_code, answer.headers["location"]) == (303, "/login")
            assert person.post(f"{url}/login", data={"key": "sk_wrong"}, timeout=SECONDS).status_code == 401
            assert person.get(f"{url}/panel", timeout=SECONDS, allow_redirects=False).status_code == 303
            entered = person.post(f"{url}/login", data={"key": KEY}, timeout=SECONDS, allow_redirects=False)
            assert "HttpOnly" in entered.headers["set-cookie"]
            assert "SameSite=Strict" in entered.headers["set-cookie"]
            mine = re.search('name="csrf" value="([^"]+)"', person.get(f"{url}/panel/faults", timeout=SECONDS).text)[1]
            fault = {"about": "event", "which": "any event", "kind": "twice"}
            assert person.post(f"{url}/panel/faults", data=fault | {"csrf": "x"}, timeout=SECONDS).status_code == 400
            assert person.post(f"{url}/panel/faults", data=fault | {"csrf": mine}, timeout=SECONDS).status_code == 200
        assert len(sandbox._faults.pending()) == 1
    finally:
        sandbox.stop()
