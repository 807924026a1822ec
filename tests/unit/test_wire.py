"""Requests into the core's values and back: what is kept apart, what is refused, and that answers satisfy Dojo's schemas."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.edge.strict_json import BadInput, convert, read_json
from adapters.edge.wire import EARLIEST, LATEST, EventRequestBody, ReasonRequest, encode, to_moment
from adapters.edge.wire_orders import (
    CreateOrderRequest,
    OpenOrderRequest,
    PagedOrders,
    PaymentAnswer,
    SearchDineIn,
    SearchOrdersRequest,
    check_bill,
    check_payments,
    order_answer,
    to_bill,
    to_personal,
)
from workflow.bill import Bill, Personal
from workflow.clock import from_text, to_text
from workflow.money import MAX_MINOR_UNITS, Money

SPECS = Path(__file__).parents[2].parent / "shared" / "dojo" / "specs"
CARD = "4111 1111 1111 1111"


def money(value, currency="GBP"):
    return {"value": value, "currencyCode": currency}


def an_order(**changes):
    """A CreateOrderRequest with everything in it; `changes` by path, such as `items__0__plu`."""
    order = {
        "dojoOrderId": "ord_1",
        "reference": "A-1042",
        "displayName": "Table 12",
        "note": "Birthday",
        "customer": {"id": "cus_41", "name": "Priya N.", "emailAddress": "priya@example.com", "phoneNumber": "+447700900123"},
        "details": {"orderType": "DineIn", "dineIn": {"tableId": "tbl_12", "waiterId": "42"}},
        "items": [
            {
                "plu": "BUR-01",
                "name": "Cheeseburger",
                "quantity": 2,
                "note": "well done",
                "amountPerItem": money(1250),
                "modifiers": [{"plu": "MOD-1", "name": "No onions", "quantity": 1, "amountPerModifier": money(-50)}],
            },
            {
                "plu": "SET-02",
                "name": "Lunch",
                "quantity": 1,
                "amountPerItem": money(1500),
                "subItems": [
                    {"plu": "SOU-01", "name": "Soup", "quantity": 1, "amountPerItem": money(0)},
                    {"plu": "LEM-01", "name": "Lemonade", "quantity": 1, "amountPerItem": money(0), "note": "no ice"},
                ],
            },
        ],
        "discounts": [{"name": "10%", "amountPercentage": 1000, "amountTotal": money(390)}],
        "serviceChargeAmount": money(200),
        "taxLines": [{"id": "VAT20", "name": "VAT", "amountTotal": money(660)}],
        "totalAmount": money(3710),
        "payments": [{"paymentIntentId": "pi_1", "paidAmount": money(3710), "tipsAmount": money(500)}],
    }
    for path, value in changes.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        place = order
        for step in steps:
            place = place[step]
        place[last] = value
    return order


def read(type_, value):
    return convert(read_json(json.dumps(value).encode(), max_body=1_048_576, max_depth=32), type_)


def checked(**changes):
    request = read(CreateOrderRequest, an_order(**changes))
    bill = to_bill(request)
    check_bill(bill, "GBP")
    check_payments(request.payments, bill.total_amount)
    return request


def refusal(function, *arguments, **changes):
    with pytest.raises(BadInput) as caught:
        function(*arguments, **changes)
    return str(caught.value)


def answered(request):
    gbp = request.total_amount
    return order_answer(
        id="pos-1",
        status="Submitted",
        bill=to_bill(request),
        personal=to_personal(request),
        paid=gbp,
        tips=Money(500, "GBP"),
        payments=[PaymentAnswer(payment_intent_id="pi_1", paid_amount=gbp, tips_amount=Money(500, "GBP"))],
        payable=False,
        created_at="2026-03-14T12:01:07.120Z",
        updated_at="2026-03-14T12:01:08.000Z",
    )


@pytest.fixture(scope="module")
def published():
    """Checks JSON against a schema of Dojo's published file by its name."""
    if not SPECS.exists():
        assert os.environ.get("CI") != "true", f"Dojo's published schemas are not at {SPECS}"
        pytest.skip("Dojo's published schemas are not beside the repository (shared/dojo/specs)")
    document = json.loads((SPECS / "epos-data-api.json").read_text(encoding="utf-8"))

    def check(name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    return check


def test_an_order_satisfies_the_published_schema(published):
    published("Order", json.loads(encode(answered(checked()))))


def test_an_order_of_required_fields_only_satisfies_the_published_schema(published):
    order = an_order()
    bare = {name: order[name] for name in ("dojoOrderId", "details", "items", "totalAmount", "payments")}
    bare["details"] = {"orderType": "Collection", "collection": {}}
    published("CreateOrderRequest", bare)
    published("Order", json.loads(encode(answered(read(CreateOrderRequest, bare)))))


def test_a_page_of_orders_satisfies_the_published_schema(published):
    for page in (PagedOrders(data=()), PagedOrders(data=(answered(checked()),), before="b", after="a")):
        published("PagedOrdersResponse", json.loads(encode(page)))


def test_the_builder_satisfies_the_published_schema(published):
    published("CreateOrderRequest", an_order())


def test_an_order_comes_back_as_it_was_sent():
    sent = an_order()
    answer = json.loads(encode(answered(checked())))
    for name in sent.keys() - {"dojoOrderId"}:
        assert answer[name] == sent[name]
    assert (answer["createdAt"], answer["updatedAt"]) == ("2026-03-14T12:01:07.120Z", "2026-03-14T12:01:08.000Z")


def test_every_money_field_and_list_is_sent_though_empty():
    request = read(CreateOrderRequest, an_order(discounts=[], taxLines=[], serviceChargeAmount=None, items=[], note=None))
    answer = json.loads(encode(answered(request)))
    assert (answer["items"], answer["discounts"], answer["taxLines"]) == ([], [], [])
    assert answer["serviceChargeAmount"] == money(0)
    assert "note" not in answer


def test_an_erased_customer_leaves_no_trace_in_the_answer():
    answer = answered(checked())
    erased = order_answer(
        id="pos-1",
        status="Submitted",
        bill=to_bill(checked()),
        personal=Personal(),
        paid=answer.paid_amount,
        tips=answer.tips_amount,
        payments=answer.payments,
        payable=False,
        created_at=to_text(EARLIEST),
        updated_at=to_text(EARLIEST),
    )
    assert not any(text in encode(erased) for text in (b"Priya", b"Birthday", b"well done", b"no ice", b"customer"))


def test_the_bill_has_no_notes_and_no_customer():
    stored = msgspec.json.encode(to_bill(checked()))
    assert not any(text in stored for text in (b"Priya", b"priya@", b"+4477", b"Birthday", b"well done", b"no ice"))


def test_the_stored_values_read_back_as_they_were():
    request = checked()
    assert msgspec.json.decode(msgspec.json.encode(to_bill(request)), type=Bill) == to_bill(request)
    assert msgspec.json.decode(msgspec.json.encode(to_personal(request)), type=Personal) == to_personal(request)


def test_notes_of_items_are_kept_by_path():
    assert to_personal(checked()).item_notes == {"items[0]": "well done", "items[1].subItems[1]": "no ice"}


# Fact 13
@pytest.mark.parametrize(
    "field",
    [
        "note",
        "customer__name",
        "displayName",
        "reference",
        "items__0__note",
        "items__0__name",
        "items__0__modifiers__0__name",
        "items__1__subItems__1__note",
        "items__1__subItems__1__name",
        "discounts__0__name",
        "taxLines__0__name",
    ],
)
def test_a_card_number_in_free_text_is_removed(field):
    request = read(CreateOrderRequest, an_order(**{field: f"card {CARD}."}))
    kept = msgspec.json.encode([to_bill(request), to_personal(request)])
    assert b"card [card number removed]." in kept
    assert CARD.encode() not in kept


def test_what_the_card_machine_shows_may_be_a_name_and_is_no_part_of_what_is_journaled():
    request = checked(displayName="Priya N.")
    assert b"Priya" not in msgspec.json.encode(to_bill(request))
    assert to_personal(request).display_name == "Priya N."


def test_ids_plus_and_amounts_are_never_taken_for_card_numbers():
    card = CARD.replace(" ", "")
    request = checked(items__0__plu=card, details__dineIn__tableId=card, customer__id=card, totalAmount=money(int(card)))
    bill, personal = to_bill(request), to_personal(request)
    assert (bill.items[0].plu, bill.details.dine_in.table_id, personal.customer.id) == (card,) * 3
    assert bill.total_amount.value == int(card)


SCHEMES = ["4111111111111111", "4222222222222", "5555555555554444", "2223003122003222", "378282246310005", "30569309025904"]
SCHEMES += ["3566002020360505", "6011111111111117", "6200000000000005", "6759649826838454"]
IDS = ["1234567890123452", "2026031412000003", "9000000000000001", "411111111111116", "4111111111111112", "A-1042"]
"""The first four pass Luhn's test, and no card scheme issues them."""


@pytest.mark.parametrize("reference", [*SCHEMES, "4111 1111 1111 1111", "card 4111111111111111"])
def test_a_reference_keeps_no_card_number(reference):  # I13
    assert "[card number removed]" in to_bill(checked(reference=reference)).reference


@pytest.mark.parametrize("reference", IDS)
def test_a_reference_of_digits_that_no_card_scheme_issues_is_an_id_and_stays(reference):
    assert to_bill(checked(reference=reference)).reference == reference


def test_a_text_stays_storable_when_its_card_numbers_are_replaced():
    request = read(CreateOrderRequest, an_order(note=("4222222222222 " * 800)[:10_000]))
    personal = to_personal(request)
    assert msgspec.json.decode(msgspec.json.encode(personal), type=Personal) == personal


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"totalAmount": money(-1)}, "totalAmount.value: expected 0 to 9007199254740992 minor units, got -1"),
        (
            {"totalAmount": money(MAX_MINOR_UNITS + 1)},
            "totalAmount.value: expected 0 to 9007199254740992 minor units, got 9007199254740993",
        ),
        ({"totalAmount": money(1, "EUR")}, 'totalAmount.currencyCode: expected "GBP", got "EUR"'),
        ({"totalAmount": money(1, "gbp")}, 'totalAmount.currencyCode: expected "GBP", got "gbp"'),
        ({"totalAmount": money(1, "GB\u0420")}, 'totalAmount.currencyCode: expected "GBP", got "GB\u0420"'),
        ({"serviceChargeAmount": money(-1)}, "serviceChargeAmount.value: expected 0 to"),
        ({"discounts__0__amountTotal": money(-1)}, "discounts[0].amountTotal.value: expected 0 to"),
        ({"taxLines__0__amountTotal": money(-1)}, "taxLines[0].amountTotal.value: expected 0 to"),
        ({"items__0__amountPerItem": money(-1)}, "items[0].amountPerItem.value: expected 0 to"),
        ({"items__1__subItems__1__amountPerItem": money(1, "EUR")}, "items[1].subItems[1].amountPerItem.currencyCode: "),
        ({"items__0__modifiers__0__amountPerModifier": money(-(2**60))}, "items[0].modifiers[0].amountPerModifier.value: "),
        ({"items__1__subItems__0__plu": "a\nb"}, "items[1].subItems[0].plu: expected 1 to 255 characters without control characters"),
        ({"items__0__modifiers__0__plu": "\x7f"}, "items[0].modifiers[0].plu: expected 1 to 255 characters"),
        ({"items__0__plu": ""}, 'items[0].plu: expected text of length >= 1, got ""'),
        ({"items__0__quantity": 0}, "items[0].quantity: expected an integer >= 1, got 0"),
        ({"items__0__amountPerItem__value": "12.50"}, 'items[0].amountPerItem.value: expected an integer in minor units, got "12.50"'),
        ({"items": [{}] * 1001}, "items: expected a list of length <= 1000, got a list of 1001"),
        ({"details__dineIn__tableId": "\u0085"}, "details.dineIn.tableId: expected 1 to 255 characters"),
        ({"details": {"orderType": "DineIn", "collection": {}}}, "details.dineIn: required for orderType DineIn, but absent"),
        ({"details": {"orderType": "Collection", "dineIn": {}}}, "details.collection: required for orderType Collection, but absent"),
        ({"details": {"orderType": "Delivery", "dineIn": {}}}, 'details.orderType: expected one of Collection, DineIn, got "Delivery"'),
        ({"details__dineIn__readyAt": "tonight"}, "details.dineIn.readyAt: expected a date and time with its zone"),
        ({"customer__id": "a\x00b"}, "customer.id: expected text without NUL"),
        ({"customer__id": "a\tb"}, "customer.id: expected 1 to 255 characters without control characters"),
        ({"dojoOrderId": ""}, 'dojoOrderId: expected text of length >= 1, got ""'),
        ({"dojoOrderId": "ord_1\n"}, "dojoOrderId: expected 1 to 255 characters without control characters, got"),
        ({"dojoOrderId": None}, "dojoOrderId: required, but absent"),
        ({"payments__0__paidAmount": money(0)}, "payments[0].paidAmount.value: expected 1 to"),
        ({"payments__0__paidAmount": money(1, "EUR")}, 'payments[0].paidAmount.currencyCode: expected "GBP", got "EUR"'),
        ({"payments__0__tipsAmount": money(-1)}, "payments[0].tipsAmount.value: expected 0 to"),
        (
            {"payments": [an_order()["payments"][0] | {"paymentIntentId": name, "paidAmount": money(MAX_MINOR_UNITS)} for name in "ab"]},
            f"payments: expected paidAmounts that come to {MAX_MINOR_UNITS} minor units at most, got {2 * MAX_MINOR_UNITS}",
        ),
        ({"payments": [an_order()["payments"][0]] * 2}, 'payments[1].paymentIntentId: comes twice: "pi_1"'),
        ({"payments": [an_order()["payments"][0]] * 101}, "payments: expected a list of length <= 100, got a list of 101"),
    ],
)
def test_an_order_that_no_till_can_serve_is_refused_with_the_field_named(changes, message):
    assert refusal(checked, **changes).startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"items": [], "discounts": None, "taxLines": None},
        {"payments": []},
        {"totalAmount": money(0), "payments__0__paidAmount": money(0)},
        {"totalAmount": money(MAX_MINOR_UNITS)},
        {"details": {"orderType": "DineIn", "dineIn": {"readyAt": "2026-03-14T18:30:00.1234567+01:00"}}},
        {"details": {"orderType": "DineIn", "dineIn": {}, "collection": {}}},
        {"details": {"orderType": "Collection", "collection": {"asap": False, "collectAt": "2026-03-14T18:30:00Z"}}},
        {"loyalty": {"points": 5}, "items__0__allergens": ["nuts"]},
        {"note": None, "customer": None, "reference": None, "displayName": None},
    ],
)
def test_an_order_at_the_edge_of_the_rules_is_accepted(changes):
    checked(**changes)


def test_a_collection_time_goes_only_with_an_order_that_is_not_as_soon_as_possible():
    collection = {"asap": True, "collectAt": "2026-03-14T18:30:00Z"}
    message = refusal(checked, details={"orderType": "Collection", "collection": collection})
    assert message == "details.collection.collectAt: expected only where asap is not true"


# CONTRACT §16, 19
def test_the_spelling_of_dojos_own_example_is_read_as_the_published_field():
    collection = {"asap": False, "collectionTime": "2024-02-21T14:39:21.6050276Z"}
    bill = to_bill(checked(details={"orderType": "Collection", "collection": collection}))
    assert bill.details.collection.collect_at == "2024-02-21T14:39:21.6050276Z"
    assert b"collectionTime" not in msgspec.json.encode(bill)


@pytest.mark.parametrize("order_id", ["a", "A-1._~", "x" * 64, "..."])
def test_the_till_may_name_its_order(order_id):
    assert read(OpenOrderRequest, an_order(id=order_id)).id == order_id


def test_the_till_may_leave_the_name_to_us():
    assert read(OpenOrderRequest, an_order()).id is None


@pytest.mark.parametrize("order_id", ["", "x" * 65, "a/b", "a b", "a\n", ".", "..", "é", "%2f", 7])
def test_an_order_name_that_does_not_fit_a_path_is_refused(order_id):
    assert refusal(read, OpenOrderRequest, an_order(id=order_id)).startswith("id: expected ")


def an_event(**changes):
    return {
        "id": "evt_1",
        "accountId": "acc_1",
        "event": "payment_intent.status_updated",
        "createdAt": "2022-02-01T13:07:41.8667859Z",
        "data": {"paymentIntentId": "pi_1", "paymentStatus": "Captured", "captureMode": "Auto"},
    } | changes


@pytest.mark.parametrize(
    "event",
    [
        an_event(),
        an_event(data={"paymentIntentId": "pi_1", "paymentStatus": "Settled"}),
        an_event(createdAt="0001-01-01T00:00:00+14:00"),
        an_event(createdAt="9999-12-31T23:59:59.999999999-14:00"),
        an_event(event="terminal_session.status_updated", data={"sessionId": "s"}),  # D14
        an_event(event="order.created", data=None),
    ],
)
def test_an_event_is_read_leniently(event):
    assert read(EventRequestBody, event).id == "evt_1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, "id: required, but absent"),
        ({"id": "e" * 256}, "id: expected text of length <= 255, got"),
        ({"accountId": "a\x01"}, "accountId: expected 1 to 255 characters without control characters"),
        ({"data": {"paymentStatus": "Captured"}}, "data.paymentIntentId: required, but absent"),
        ({"data": {"paymentIntentId": "pi_1"}}, "data.paymentStatus: required, but absent"),
        ({"data": []}, "data: expected an object, got a list of 0"),
        ({"createdAt": "yesterday"}, "createdAt: expected a date and time with its zone"),
        ({"createdAt": "2022-02-30T00:00:00Z"}, "createdAt: expected a date and time that exists"),
    ],
)
def test_an_event_that_says_too_little_is_refused(changes, message):
    assert refusal(read, EventRequestBody, an_event(**changes)).startswith(message)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-14T12:01:09Z", datetime(2026, 3, 14, 12, 1, 9, tzinfo=UTC)),
        ("2026-03-14t12:01:09.5z", datetime(2026, 3, 14, 12, 1, 9, 500_000, UTC)),
        ("2026-03-14 12:01:09.866785999+01:00", datetime(2026, 3, 14, 11, 1, 9, 866_785, UTC)),
        ("2026-03-14T23:30:00-01:00", datetime(2026, 3, 15, 0, 30, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", EARLIEST),
        ("9999-12-31T23:59:59-14:00", LATEST),
    ],
)
def test_a_moment_is_read_with_any_fraction_and_zone(text, moment):
    assert to_moment(text, "at") == moment


# X7, T4
@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-14",
        "2026-03-14T12:01:09",
        "2026-03-14T12:01Z",
        "2026-03-14T24:00:00Z",
        "2026-03-14T12:01:61Z",
        "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-03-14T12:01:09+24:00",
        "2026-03-14T12:01:09Z\n",
        "２０２６-03-14T12:01:09Z",
        "1773489669",
        "2026-03-14T12:01:09." + "0" * 100 + "Z",
    ],
)
def test_a_moment_that_does_not_exist_or_has_no_zone_is_refused(text):
    assert refusal(to_moment, text, "expiry").startswith("expiry: expected a date and time")


@given(
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", fullmatch=True)
)
def test_a_moment_that_is_read_can_be_written_and_read_again(text):
    try:
        moment = to_moment(text, "at")
    except BadInput:
        return
    assert abs(from_text(to_text(moment)) - moment).total_seconds() < 0.001


# I-14
@pytest.mark.parametrize(
    ("cursor", "message"),
    [
        ({"limit": 0}, "cursor.limit: expected an integer >= 1, got 0"),
        ({"limit": -1}, "cursor.limit: expected an integer >= 1, got -1"),
        ({"limit": 101}, "cursor.limit: expected an integer <= 100, got 101"),
        ({"limit": 10**9}, "cursor.limit: expected an integer <= 100, got 1000000000"),
        ({"before": "b", "after": "a"}, "cursor.before: expected before or after, got both"),
        ({"after": ""}, 'cursor.after: expected text of length >= 1, got ""'),
    ],
)
def test_a_cursor_that_names_no_page_is_refused(cursor, message):
    assert refusal(read, SearchOrdersRequest, {"cursor": cursor}) == message


def test_an_empty_search_asks_for_the_first_fifty_of_all_orders():
    request = read(SearchOrdersRequest, {})
    assert (request.dine_in, request.payable_only) == (SearchDineIn(), False)
    assert (request.cursor.limit, request.cursor.before, request.cursor.after) == (50, None, None)


def test_a_reason_is_told_without_the_blanks_around_it():
    assert convert({"reason": " \n the till was  down\t"}, ReasonRequest).reason == "the till was  down"


def test_a_reason_of_blanks_alone_is_refused_in_words_that_a_person_understands():
    with pytest.raises(BadInput, match=r'^reason: expected 1 to 1,000 characters that say why, got "  "$'):
        convert({"reason": "  "}, ReasonRequest)
