"""What the venue meets: the till's API, the auditors' API, and what none of them may ever see."""

from __future__ import annotations

import http.client
import json
from itertools import pairwise
from urllib.parse import quote

import pytest

from tests.contract.running import TOKENS, Client, a_bill, an_order, eventually, gbp, running

CARD = "4111 1111 1111 1111"
CARDS = (CARD, CARD.replace(" ", ""), CARD.replace(" ", "-"), "5500005555555559", "378282246310005")
PERSON = {"id": "cus_9", "name": "Mx Unmistakable", "emailAddress": "unmistakable@example.com", "phoneNumber": "+447700900987"}
NOTES = ("secret-note-of-the-order", "secret-note-of-the-item", "secret-note-of-the-part")
PERSONAL = (PERSON["name"], PERSON["emailAddress"], PERSON["phoneNumber"], *NOTES)
AN_ORDER_SHOWS = {
    *("id", "dojoOrderId", "flow", "state", "status", "totalAmount", "paidAmount", "tipsAmount", "payments", "attention", "lock"),
    *("orderSeq", "machine"),
}
"""INTERFACE §4."""
AUDITED = ("/api/orders", "/api/orders/x", "/api/orders/x/journal", "/api/outbox", "/api/checkpoint")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("venue-side")) as service:
        yield service


def is_refused(reply, status):
    assert reply.status == status, reply.body
    assert set(reply.json) == {"errorType", "debugMessage", "traceId"}
    return reply.json["debugMessage"]


def with_notes(request, *, person=PERSON, notes=NOTES):
    """The request of a customer who says a lot."""
    part = {"plu": "TEA", "name": "Iced tea", "quantity": 1, "note": notes[2], "amountPerItem": gbp(0)}
    items = [{**item, "note": notes[1], "subItems": [part]} for item in request["items"]]
    return request | {"customer": person, "note": notes[0], "items": items}


# Who may


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", "Basic tok-till-4711", "tok-till-4711", "Bearer tok-till-4711x"]
)
def test_without_a_token_of_this_venue_everything_is_401(service, authorization):  # A1
    stranger = Client(service.ports[1], authorization)
    for path in AUDITED:
        is_refused(stranger.get(path), 401)
    is_refused(stranger.post("/till/orders", a_bill()), 401)


def test_a_till_may_open_orders_and_read_no_journal(service):  # A5
    assert service.till.post("/till/orders", a_bill()).status == 200
    for path in AUDITED:
        assert "auditor" in is_refused(service.till.get(path), 403)


def test_an_auditor_may_read_everything_and_open_no_order(service):  # A5
    assert "till" in is_refused(service.auditor.post("/till/orders", a_bill()), 403)
    assert service.auditor.get("/api/orders").status == 200


def test_an_operator_may_read_all_that_an_auditor_may_and_open_no_order(service):  # A5
    assert [service.operator.get(path).status for path in AUDITED] == [200, 404, 404, 200, 200]
    is_refused(service.operator.post("/till/orders", a_bill()), 403)


def test_dojos_credentials_are_worth_nothing_on_the_venues_side(service):
    is_refused(service.auditor.get("/api/orders", authorization=service.dojo.authorization), 401)


# Two listeners


@pytest.mark.parametrize(("method", "path"), [("POST", "/till/orders"), ("GET", "/api/orders"), ("GET", "/readyz"), ("GET", "/metrics")])
def test_the_venues_routes_are_not_on_dojos_side(service, method, path):
    for token in (service.dojo.authorization, f"Bearer {TOKENS['operator']}", f"Bearer {TOKENS['till']}"):
        assert service.dojo.call(method, path, a_bill() if method == "POST" else None, authorization=token).status in {401, 404}
    assert service.dojo.call(method, path, a_bill() if method == "POST" else None).status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/orders"), ("POST", "/v1/events"), ("POST", "/v1/orders/search"), ("GET", "/v1/orders/x")]
)
def test_dojos_routes_are_not_on_the_venues_side(service, method, path):
    for token in (service.dojo.authorization, f"Bearer {TOKENS['operator']}", f"Bearer {TOKENS['till']}"):
        body = an_order("wrong-door") if method == "POST" else None
        assert service.open.call(method, path, body, authorization=token).status == 404


def test_health_and_readiness_need_no_token(service):
    assert (service.open.get("/healthz").status, service.open.get("/readyz").json["reasons"]) == (200, [])
    assert service.open.get("/readyz").headers["content-type"] == "application/json"


# The till


def test_the_till_opens_a_bill_that_dojo_finds_as_payable(service):
    opened = service.till.post("/till/orders", a_bill(total=4900, table="tbl_till", reference="T-17"))

    assert (opened.status, opened.json["status"], opened.json["payable"]) == (200, "Accepted", True)
    [found] = service.dojo.post("/v1/orders/search", {"dineIn": {"tableId": "tbl_till"}, "payableOnly": True}).json["data"]
    assert found == opened.json
    order = service.order(opened.json["id"])
    assert (order["flow"], order["dojoOrderId"], order["state"]) == ("pay_only", None, "created")


def test_the_same_id_and_bill_again_is_the_same_order(service):
    first = service.till.post("/till/orders", a_bill(id="bill-1"))
    second = service.till.post("/till/orders", dict(reversed(a_bill(id="bill-1").items())))

    assert (first.json["id"], second.status, second.json) == ("bill-1", 200, first.json)
    assert service.path_of("bill-1") == ["created"]


def test_the_same_id_with_another_bill_is_a_conflict(service):
    service.till.post("/till/orders", a_bill(id="bill-2"))

    assert "bill-2" in is_refused(service.till.post("/till/orders", a_bill(id="bill-2", total=1300)), 409)

    assert service.order("bill-2")["totalAmount"] == gbp(1200)
    assert [item["code"] for item in service.order("bill-2")["attention"]] == ["KEY_REUSE"]


def test_without_an_id_every_request_opens_another_order(service):
    first, second = (service.till.post("/till/orders", a_bill()).json["id"] for _ in range(2))

    assert first != second


def test_an_amendment_that_names_another_order_than_its_path_changes_neither(service):
    one, other = (service.till.post("/till/orders", a_bill(id=f"amended-{name}")).json for name in "ab")

    reply = service.till.call("PUT", f"/till/orders/{one['id']}", a_bill(total=99, id=other["id"]))

    assert (reply.status, reply.json["debugMessage"].startswith("id: ")) == (400, True)
    assert [service.dojo.get(f"/v1/orders/{order['id']}").json for order in (one, other)] == [one, other]
    assert service.till.call("PUT", f"/till/orders/{one['id']}", a_bill(total=99, id=one["id"])).status == 200


def test_the_id_of_an_order_of_dojos_is_not_free_for_the_till(service):
    """Nobody may open a second order under an id that is taken, by whichever side."""
    taken = service.dojo.post("/v1/orders", an_order("taken-by-dojo")).json["id"]

    is_refused(service.till.post("/till/orders", a_bill(id=taken)), 409)

    assert service.order(taken)["flow"] == "pay_later"


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a b", "ä", "x" * 65, "a\n", "%2e"], ids=range(9))
def test_an_id_that_cannot_stand_in_a_path_is_refused_by_name(service, bad):
    assert is_refused(service.till.post("/till/orders", a_bill(id=bad)), 400).startswith("id:")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"{}", "application/json", 400),
        (json.dumps(a_bill(totalAmount={"value": 1, "currencyCode": "EUR"})).encode(), "application/json", 400),
        (b"[" * 1_000, "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 1_048_577, "application/json", 413),
    ],
    ids=["half", "empty", "currency", "deep", "text", "large"],
)
def test_the_till_is_told_what_is_wrong_with_its_request(service, body, content_type, status):
    is_refused(service.till.post("/till/orders", body, content_type=content_type), status)


def test_who_opened_an_order_is_in_its_journal(service):  # I18
    opened = service.till.post("/till/orders", a_bill()).json["id"]

    assert {entry["actor"] for entry in service.entries(opened) if entry["kind"] == "transition"} == {"till:till-1"}


def test_a_bill_from_the_till_is_announced_to_dojo(service):
    """Nobody listens where Dojo should be: the announcement waits."""
    opened = service.till.post("/till/orders", a_bill()).json["id"]

    [task] = service.tasks(opened)
    assert (task["effect"], task["status"] in {"pending", "leased"}) == ("order_updated", True)


# What auditors see


def test_an_order_shows_every_field_of_the_interface(service):
    created = service.dojo.post("/v1/orders", an_order("fields", intent_id="pi_fields")).json

    order = service.order(created["id"])

    assert set(order) >= AN_ORDER_SHOWS
    assert (order["id"], order["dojoOrderId"], order["flow"]) == (created["id"], "fields", "order_and_pay")
    assert (order["state"], order["status"], order["lock"], order["attention"]) == ("authorised", "Submitted", None, [])
    assert (order["totalAmount"], order["paidAmount"], order["tipsAmount"]) == (gbp(1200), gbp(0), gbp(0))
    [payment] = order["payments"]
    nothing = {"paidAmount": gbp(0), "tipsAmount": gbp(0), "refundedAmount": gbp(0)}
    assert payment == {"paymentIntentId": "pi_fields", "state": "authorised"} | nothing
    assert order["orderSeq"] == len(service.entries(created["id"]))
    assert order["machine"].startswith("order@")
    assert len(order["machine"]) == len("order@") + 12


def test_attention_shows_code_since_and_detail(service):
    created = service.dojo.post("/v1/orders", an_order("attention")).json
    service.dojo.post("/v1/orders", an_order("attention", total=1))

    [item] = service.order(created["id"])["attention"]

    assert set(item) >= {"code", "since", "detail"}
    assert item["code"] == "KEY_REUSE"


def test_the_journal_of_an_order_is_its_chain_oldest_first(service):
    created = service.dojo.post("/v1/orders", an_order("chain", intent_id="pi_chain")).json

    entries = service.entries(created["id"])

    assert [entry["order_seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[0]["prev_hash"] == "0" * 64
    assert all(entry["prev_hash"] == before["hash"] for before, entry in pairwise(entries))


@pytest.mark.parametrize("path", ["/api/orders/none", "/api/orders/none/journal", "/api/orders/..%2f", "/api/orders/%00", "/api/nowhere"])
def test_what_does_not_exist_is_404(service, path):
    is_refused(service.auditor.get(path), 404)


def test_an_order_is_read_as_it_was_at_a_position_and_says_that_it_is_the_past(service):
    created = service.till.post("/till/orders", a_bill()).json
    began = service.entries(created["id"])[-1]
    service.till.post(f"/till/orders/{created['id']}/status", {"status": "Preparing"})
    path = f"/api/orders/{created['id']}"
    now, past = service.auditor.get(path).json, service.auditor.get(f"{path}?at={began['seq']}").json

    as_of = past.pop("asOf")
    assert as_of == {"seq": began["seq"], "at": began["at"], "entriesSince": now["orderSeq"] - began["order_seq"], "personalData": "none"}
    assert as_of["entriesSince"] > 0
    assert set(past) == set(now) >= AN_ORDER_SHOWS
    assert (past["status"], now["status"]) == ("Accepted", "Preparing")
    assert past["orderSeq"] == began["order_seq"]


def test_the_past_of_an_order_that_was_not_there_yet_and_a_position_to_come_are_refused_in_words(service):
    created = service.till.post("/till/orders", a_bill()).json
    began, path = service.entries(created["id"])[0]["seq"], f"/api/orders/{created['id']}"

    assert f"began at entry {began}: at entry {began - 1} there was none" in is_refused(service.auditor.get(f"{path}?at={began - 1}"), 404)
    is_refused(service.auditor.get(f"/api/orders/none?at={began}"), 404)
    for at in ("0", "-1", "x", "1.5", "9" * 18, "9" * 30):
        assert "at: expected a position" in is_refused(service.auditor.get(f"{path}?at={at}"), 400)


def test_orders_are_listed_newest_first_in_pages(service):
    made = [service.till.post("/till/orders", a_bill(reference="paged")).json["id"] for _ in range(5)][::-1]

    first = service.auditor.get("/api/orders?search=paged&limit=2").json
    second = service.auditor.get(f"/api/orders?search=paged&limit=2&after={first['after']}").json
    service.till.post("/till/orders", a_bill(reference="paged"))
    third = service.auditor.get(f"/api/orders?search=paged&limit=2&after={second['after']}").json

    assert [order["id"] for page in (first, second, third) for order in page["data"]] == made
    assert (len(third["data"]), third["after"]) == (1, None)


def test_orders_are_found_by_state_attention_and_any_of_their_names(service):
    held = service.dojo.post("/v1/orders", an_order("filters", intent_id="pi_filters", table="tbl_f", reference="ref-f")).json["id"]
    other = service.dojo.post("/v1/orders", an_order("filters-2", reference="ref-f")).json["id"]
    service.dojo.post("/v1/orders", an_order("filters", total=1))

    def found(query):
        return {order["id"] for order in service.auditor.get(f"/api/orders?limit=500&{query}").json["data"]} & {held, other}

    assert found("state=authorised") == {held}
    assert found("state=created") == {other}
    assert found("attention=true") == {held}
    assert found("attention=false") == {held, other}
    assert found("search=ref-f") == {held, other}
    for name in (held, "filters", "pi_filters", "tbl_f"):
        assert found(f"search={name}") == {held}
    assert found("search=ref-f&state=created") == {other}
    assert found("search=ref-") == set()
    assert found("flow=order_and_pay") == {held}
    assert found("flow=pay_later") == {other}
    assert found("flow=pay_only") == set()
    assert found("table=tbl_f") == {held}
    assert found("from=2026-01-01") == {held, other}
    assert found("from=2026-01-01&to=2026-01-01&search=ref-f") == set()


@pytest.mark.parametrize(
    "query",
    [
        "state=paid",
        "attention=maybe",
        "flow=cash",
        f"table={'x' * 256}",
        "from=today",
        "from=",
        "to=2026-02-30",
        "to=0001-01-01",
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=ten",
        "limit=%C2%B2",
        "after=x",
        "after=",
        f"search={'x' * 256}",
    ],
    ids=lambda query: query[:16].replace("%", "-"),
)
def test_a_query_that_means_nothing_is_refused_by_name(service, query):  # I-14
    assert is_refused(service.auditor.get(f"/api/orders?{query}"), 400).startswith(query.partition("=")[0])


def test_a_page_token_belongs_to_its_filters(service):
    for _ in range(2):
        service.till.post("/till/orders", a_bill(reference="bound"))
    token = service.auditor.get("/api/orders?search=bound&limit=1").json["after"]

    is_refused(service.auditor.get(f"/api/orders?limit=1&after={token}"), 400)


def test_the_outbox_shows_every_field_of_the_interface(service):
    opened = service.till.post("/till/orders", a_bill()).json["id"]
    [task] = eventually(lambda: [task for task in service.tasks(opened) if task["lastError"]])

    assert set(task) >= {"id", "effect", "orderId", "status", "attempts", "nextAt", "lastError", "createdAt", "doneAt"}
    assert (task["attempts"] >= 1, task["doneAt"]) == (True, None)
    assert set(service.auditor.get("/api/outbox?limit=1").json) == {"data", "after"}
    assert {task["status"] for task in service.auditor.get("/api/outbox?status=pending&limit=500").json["data"]} <= {"pending"}
    is_refused(service.auditor.get("/api/outbox?status=lost"), 400)


def test_the_checkpoint_is_a_signed_note_of_this_journal(service):
    service.till.post("/till/orders", a_bill())
    eventually(lambda: service.auditor.get("/api/checkpoint").body)

    lines = service.auditor.get("/api/checkpoint").body.decode().split("\n")

    assert lines[0].startswith("tillproof/")
    assert int(lines[1]) > 0
    assert lines[4].startswith(f"\u2014 {lines[0]} ")


# What nobody else may see


def everything_said(service, order_id):
    """All that the venue's side answers about the order, and the whole log."""
    paths = (
        "/api/orders?limit=500",
        f"/api/orders/{order_id}",
        f"/api/orders/{order_id}/journal",
        "/api/outbox?limit=500",
        "/api/checkpoint",
    )
    return "".join(service.auditor.get(path).body.decode() for path in paths) + service.log_path.read_text()


def journaled(service):
    return json.dumps(service.reads.rows("SELECT * FROM journal"), ensure_ascii=False)


@pytest.mark.parametrize("door", ["dojo", "till"])
def test_personal_data_comes_back_to_dojo_and_is_in_no_entry_no_answer_and_no_log_line(service, door):  # A15 I13
    if door == "dojo":
        request = with_notes(an_order("personal", reference="personal-1"))
        created = service.dojo.post("/v1/orders", request).json
        assert service.dojo.post("/v1/orders", request).json == created
        assert service.dojo.post("/v1/orders", request | {"note": "secret-note-of-another"}).status == 409
    else:
        request = with_notes(a_bill(id="personal-till"))
        created = service.till.post("/till/orders", request).json

    shown = service.dojo.get(f"/v1/orders/{created['id']}").json
    assert shown == created
    assert (shown["customer"], shown["note"], shown["items"]) == (PERSON, NOTES[0], request["items"])
    said = everything_said(service, created["id"]) + journaled(service)
    assert created["id"] in said
    assert [text for text in (*PERSONAL, "secret-note") if text in said] == []


def test_personal_data_is_in_its_own_table_alone(service):
    service.dojo.post("/v1/orders", with_notes(an_order("tables")))

    tables = [name for (name,) in service.reads.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    holding = {table for table in tables for text in PERSONAL if text in str(service.reads.rows(f"SELECT * FROM {table}"))}

    assert holding == {"personal"}


@pytest.mark.parametrize("card", CARDS)
def test_a_card_number_in_free_text_is_removed_before_anything_is_stored(service, card):  # A15 I13
    text = f"pay with {card}, please"
    person = PERSON | {"name": text}
    request = with_notes(an_order(f"card-{CARDS.index(card)}", displayName=text), person=person, notes=(text,) * 3)

    created = service.dojo.post("/v1/orders", request)

    assert created.status == 200
    shown = service.dojo.get(f"/v1/orders/{created.json['id']}").json
    removed = "pay with [card number removed], please"
    item = shown["items"][0]
    assert (shown["note"], shown["customer"]["name"], shown["displayName"]) == (removed, removed, removed)
    assert (item["note"], item["subItems"][0]["note"]) == (removed, removed)
    stored = service.journal.read_bytes() + service.journal.with_name(f"{service.journal.name}-wal").read_bytes()
    assert card.encode() not in stored
    assert card not in everything_said(service, created.json["id"])


def test_ids_and_amounts_that_look_like_card_numbers_are_left_alone(service):
    looks_like = "4012888888881881"
    order = an_order(looks_like, table=looks_like, total=4012888888881881, intent_id="pi_4012888888881881")
    order["items"][0]["plu"] = looks_like

    created = service.dojo.post("/v1/orders", order)

    assert created.status == 200
    assert (created.json["totalAmount"]["value"], created.json["items"][0]["plu"]) == (4012888888881881, looks_like)
    assert created.json["details"]["dineIn"]["tableId"] == looks_like
    assert service.order(created.json["id"])["dojoOrderId"] == looks_like


@pytest.mark.parametrize("where", ["body", "path", "header", "query"])
def test_a_refusal_repeats_no_card_number_and_logs_none(service, where):  # A15
    card = CARDS[1]
    if where == "body":
        reply = service.dojo.post("/v1/orders", an_order("refused-card", totalAmount=card))
    elif where == "path":
        reply = service.dojo.get(f"/v1/orders/{card}")
    elif where == "header":
        reply = service.dojo.post("/v1/orders", b"{}", waiter_id=card)
    else:
        reply = service.auditor.get(f"/api/orders?state={card}")

    assert reply.status in {400, 404}
    assert card not in service.log_path.read_text()
    if where != "path":
        assert card.encode() not in reply.body


def test_a_stranger_has_no_card_number_logged(tmp_path):  # A15
    """On a service of its own: of a module's refusals only the first of a minute are logged."""
    with running(tmp_path) as service:
        for port, orders in zip(service.ports, ("/v1/orders", "/api/orders"), strict=True):
            for card in CARDS:
                path = quote(f"{orders}/{card}")
                is_refused(Client(port, None).get(f"{path}?card={quote(card)}", waiter_id=card, referer=path), 401)
        refused = [(line["side"], line["path"]) for line in service.log() if line["event"] == "caller refused"]
        logged = [("dojo", "/v1/orders/[card number removed]"), ("venue", "/api/orders/[card number removed]")]
        assert refused == [each for each in logged for _ in CARDS]
        assert [card for card in CARDS if card in service.log_path.read_text()] == []


def test_no_token_and_no_password_is_in_the_log_or_in_the_arguments_of_the_process(service):  # A15
    service.auditor.get("/api/orders")
    service.dojo.get("/v1/orders/x", authorization="Basic d3Jvbmc6d3Jvbmc=")
    log = service.log_path.read_text()
    arguments = " ".join(service.process.args)

    for secret in (*TOKENS.values(), service.settings["EPOS_PASSWORD"], service.settings["DOJO_API_KEY"], service.dojo.authorization):
        assert secret not in log
        assert secret not in arguments


def test_an_answer_tells_no_version_of_the_server(service):  # A14
    for port in service.ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        server = response.getheader("Server") or ""
        connection.close()
        assert not any(character.isdigit() for character in server)


def test_after_all_of_this_no_error_was_logged_and_the_journal_is_whole(service):
    assert [line for line in service.log() if line["level"] in {"ERROR", "CRITICAL"} and line["event"] != "attention raised"] == []
    service.assert_whole()
