"""What the till says it has: areas, tables and a catalogue; what is refused of such lists, and of Dojo's orders because of them."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.till.api import MAX_CATALOGUE, MAX_PLACES
from tests.contract.running import a_bill, an_order, gbp, running

CARD = "4111111111111111"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("offer")) as service:
        yield service


@pytest.fixture(autouse=True)
def nothing_given(service):
    """Each test begins with a till that has given no list."""
    for name in ("catalogue", "tables", "areas"):
        assert put(service, name, []) == {name: 0}


def put(service, name, entries):
    reply = service.till.call("PUT", f"/till/{name}", entries)
    assert reply.status == 200, reply.body
    return reply.json


def refused(reply, status=400):
    assert (reply.status, set(reply.json)) == (status, {"errorType", "debugMessage", "traceId"}), reply.body
    return reply.json["debugMessage"]


def a_catalogue(*plus, **unavailable):
    return [{"plu": plu, "name": f"The {plu}"} for plu in plus] + [{"plu": plu, "name": plu, "available": False} for plu in unavailable]


def line(plu, name="Something", **more):
    return {"plu": plu, "name": name, "quantity": 1, "amountPerItem": gbp(100)} | more


def modifier(plu, name="Extra"):
    return {"plu": plu, "name": name, "quantity": 1, "amountPerModifier": gbp(0)}


def size(service):
    return [service.reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("journal", "inbox", "orders", "personal")]


_numbers = itertools.count()


def order(service, *items, table="tbl_1", dojo_order_id=None, **changes):
    return service.dojo.post("/v1/orders", an_order(dojo_order_id or f"offer-{next(_numbers)}", items=list(items), table=table, **changes))


# The catalogue


def test_without_a_catalogue_every_plu_can_be_ordered(service):
    assert order(service, line("ANYTHING")).status == 200


@pytest.mark.parametrize(
    ("items", "field", "named"),
    [
        ([line("A"), line("B"), line("XYZ", "Cheesecake")], "items[2].plu", '"XYZ" (Cheesecake)'),
        ([line("A", subItems=[line("B"), line("XYZ", "Soup")])], "items[0].subItems[1].plu", '"XYZ" (Soup)'),
        ([line("A", modifiers=[modifier("M"), modifier("XYZ", "Cream")])], "items[0].modifiers[1].plu", '"XYZ" (Cream)'),
        (
            [line("A"), line("A", subItems=[line("B", modifiers=[modifier("XYZ", "Large")])])],
            "items[1].subItems[0].modifiers[0].plu",
            '"XYZ" (Large)',
        ),
        ([line("XYZ", "")], "items[0].plu", '"XYZ"'),
        ([line("a", "Case matters")], "items[0].plu", '"a" (Case matters)'),
    ],
)
def test_an_order_of_what_is_not_in_the_catalogue_is_refused_by_line_and_name(service, items, field, named):
    put(service, "catalogue", a_catalogue("A", "B", "M"))
    before = size(service)

    assert refused(order(service, *items)) == f"{field}: {named} is not in the till's catalogue"

    assert size(service) == before


def test_what_is_not_available_now_is_refused_in_other_words(service):
    put(service, "catalogue", a_catalogue("A", OUT=False))

    assert "items[1].plu" in (message := refused(order(service, line("A"), line("OUT", "Lobster"))))
    assert '"OUT" (Lobster) is not available now' in message


def test_what_is_in_the_catalogue_is_taken_and_what_comes_into_it_then(service):
    put(service, "catalogue", a_catalogue("A", "M"))
    assert order(service, line("A", modifiers=[modifier("M")])).status == 200
    refused(order(service, line("B"), dojo_order_id="comes-in"))

    put(service, "catalogue", a_catalogue("B"))

    assert order(service, line("B"), dojo_order_id="comes-in").status == 200
    refused(order(service, line("A")))
    put(service, "catalogue", [])
    assert order(service, line("A")).status == 200


def test_what_was_taken_once_is_taken_again_whatever_the_till_has_given_since(service):  # I11
    put(service, "catalogue", a_catalogue("A"))
    first = order(service, line("A"), dojo_order_id="again", table="tbl_old")
    put(service, "catalogue", a_catalogue("B"))
    put(service, "tables", [{"id": "tbl_new", "name": "New"}])

    second = order(service, line("A"), dojo_order_id="again", table="tbl_old")

    assert (second.status, second.json["id"]) == (200, first.json["id"])
    refused(order(service, line("A"), line("A"), dojo_order_id="again", table="tbl_old"), 409)


def test_a_refusal_for_the_catalogue_is_not_remembered(service):
    put(service, "catalogue", a_catalogue("A"))
    refused(order(service, line("B"), dojo_order_id="mended"))

    assert order(service, line("A"), dojo_order_id="mended").status == 200


def test_equal_orders_that_race_with_a_change_of_the_catalogue_end_alike(service):
    """Whichever comes first to the journal decides; none is taken and then refused."""
    for number in range(5):
        put(service, "catalogue", a_catalogue("A"))
        with ThreadPoolExecutor(9) as pool:
            taken = [pool.submit(order, service, line("A"), dojo_order_id=f"race-{number}") for _ in range(4)]
            changed = pool.submit(put, service, "catalogue", a_catalogue("B"))
            taken += [pool.submit(order, service, line("A"), dojo_order_id=f"race-{number}") for _ in range(4)]
        changed.result()
        statuses = {future.result().status for future in taken}
        is_there = service.reads.rows("SELECT count(*) FROM orders WHERE dojo_order_id = ?", (f"race-{number}",))[0][0]
        after = order(service, line("A"), dojo_order_id=f"race-{number}").status
        assert statuses <= {200, 400}
        assert (is_there, after) == ((1, 200) if 200 in statuses else (0, 400))


def test_the_tills_own_orders_are_not_held_against_its_lists(service):
    put(service, "catalogue", a_catalogue("A"))
    put(service, "tables", [{"id": "tbl_1", "name": "1"}])

    opened = service.till.post("/till/orders", a_bill(items=[line("SPECIAL")], table="terrace"))

    assert opened.status == 200
    assert service.till.call("PUT", f"/till/orders/{opened.json['id']}", a_bill(items=[line("OTHER")], table="bar")).status == 200


def test_a_refusal_repeats_no_card_number_no_control_character_and_no_long_text(service):  # A15 A16
    put(service, "catalogue", a_catalogue("A"))

    message = refused(order(service, line(CARD, f"{CARD}\n\x1b[31m{'x' * 500}")))

    assert CARD not in message
    assert message.isprintable()
    assert len(message) < 200
    assert CARD not in service.log_path.read_text()


def test_a_catalogue_is_in_the_journal_with_who_gave_it_and_the_same_again_is_nothing(service):  # I18
    put(service, "catalogue", a_catalogue("A", OUT=False))
    before = size(service)
    put(service, "catalogue", [dict(reversed(entry.items())) for entry in a_catalogue("A", OUT=False)])

    assert size(service) == before
    entry = list(service.reads.entries(order_id=""))[-1].entry()
    assert (entry.actor, entry.cause, entry.body["name"]) == ("till:till-1", "set:catalogue", "catalogue")
    assert entry.body["value"] == [{"plu": "A", "name": "The A"}, {"plu": "OUT", "name": "OUT", "available": False}]


def test_a_catalogue_of_ten_thousand_is_taken_and_an_order_is_still_quick(service):
    put(service, "catalogue", [{"plu": f"PLU-{number:05}", "name": f"Something that is on the menu, {number}"} for number in range(10_000)])

    assert order(service, line("PLU-09999"), line("PLU-00000")).status == 200
    assert "items[0].plu" in refused(order(service, line("PLU-10000")))


def test_a_longer_catalogue_than_the_limit_is_refused(service):
    entries = [{"plu": f"{number}", "name": ""} for number in range(MAX_CATALOGUE + 1)]

    assert (
        refused(service.till.call("PUT", "/till/catalogue", entries))
        == f"body: expected at most {MAX_CATALOGUE} entries, got {MAX_CATALOGUE + 1}"
    )

    entries = [{"plu": f"{number}", "name": "x" * 1_000} for number in range(1_100)]
    assert "1048576" in refused(service.till.call("PUT", "/till/catalogue", entries), 413)


# Tables of orders


def test_an_order_at_a_table_that_the_till_does_not_have_is_refused(service):
    put(service, "tables", [{"id": "tbl_1", "name": "1"}, {"id": "tbl_2", "name": "2"}])
    before = size(service)

    assert refused(order(service, table="tbl_9")) == 'details.dineIn.tableId: "tbl_9" is not one of the till\'s tables'

    assert size(service) == before
    assert order(service, table="tbl_2").status == 200


def test_an_order_without_a_table_needs_none(service):
    put(service, "tables", [{"id": "tbl_1", "name": "1"}])
    collected = {"orderType": "Collection", "collection": {"asap": True}}

    assert order(service, details=collected).status == 200
    assert order(service, details={"orderType": "DineIn", "dineIn": {}}).status == 200


def test_an_empty_list_of_tables_is_none_given(service):
    assert order(service, table="tbl_9").status == 200


# Lists that contradict themselves


def table(table_id, name, **more):
    return {"id": table_id, "name": name} | more


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("tables", [table("a", "1"), table("b", "2"), table("a", "3")], '[2].id: expected once, got "a" as in [0]'),
        ("tables", [table("a", "1"), table("b", "1")], '[1].name: expected once in its area, got "1" as in [0]'),
        (
            "tables",
            [table("a", "1", areaId="in"), table("b", "1", areaId="out"), table("c", "2"), table("d", "1", areaId="out")],
            '[3].name: expected once in its area, got "1" as in [1]',
        ),
        ("tables", [table("a", "1"), table("b", "2", areaId="roof")], '[1].areaId: expected one of the till\'s areas, got "roof"'),
        ("areas", [table("in", "Inside"), table("in", "Outside")], '[1].id: expected once, got "in" as in [0]'),
        ("catalogue", [*a_catalogue("A", "B"), *a_catalogue("A")], '[2].plu: expected once, got "A" as in [0]'),
        ("tables", [table("a", "1"), table("b", "")], "[1].name: expected text of length >= 1, got a text of 0 characters"),
        ("tables", [table("a", "1"), {"id": "b"}], "[1].name: required, but absent"),
        ("tables", [table("a", "1", maxCovers=-1)], "[0].maxCovers: expected an integer >= 0, got -1"),
        ("tables", [table("a", "1", waiterIds=["w", 7])], "[0].waiterIds[1]: expected text, got 7"),
        ("areas", [table("a", "1"), 7], "[1]: expected an object, got 7"),
        ("catalogue", [{"plu": "A"}], "[0].name: required, but absent"),
        ("catalogue", [{"plu": "A", "name": "A", "available": "no"}], '[0].available: expected true or false, got "no"'),
        ("catalogue", {"plu": "A"}, "body: expected a list, got an object"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused_by_entry_and_keeps_the_last_one(service, name, entries, message):
    put(service, "areas", [table("in", "Inside"), table("out", "Outside")])
    put(service, name, [table("kept", "Kept", plu="KEPT")])
    before = service.reads.rows("SELECT * FROM venue ORDER BY name"), size(service)

    assert refused(service.till.call("PUT", f"/till/{name}", entries)) == message

    assert (service.reads.rows("SELECT * FROM venue ORDER BY name"), size(service)) == before


def test_one_name_in_two_areas_is_two_tables(service):
    put(service, "areas", [table("in", "Inside"), table("out", "Outside")])

    put(service, "tables", [table("a", "1", areaId="in"), table("b", "1", areaId="out"), table("c", "1")])

    [page] = service.dojo.post("/v1/tables/search", {"areaId": "out"}).json
    assert page["data"] == [table("b", "1", areaId="out")]


def test_without_areas_a_table_may_name_any(service):
    put(service, "tables", [table("a", "1", areaId="anywhere")])


@pytest.mark.parametrize("name", ["areas", "tables"])
def test_more_places_than_the_limit_are_refused(service, name):
    entries = [table(f"{number}", f"{number}") for number in range(MAX_PLACES + 1)]

    assert (
        refused(service.till.call("PUT", f"/till/{name}", entries)) == f"body: expected at most {MAX_PLACES} entries, got {MAX_PLACES + 1}"
    )


@pytest.mark.parametrize("name", ["areas", "tables", "catalogue"])
def test_only_a_till_gives_lists(service, name):  # A5
    for other in (service.auditor, service.operator):
        refused(other.call("PUT", f"/till/{name}", []), 403)
    refused(service.open.call("PUT", f"/till/{name}", []), 401)


def test_after_all_of_this_the_journal_is_whole(service):
    put(service, "catalogue", a_catalogue("A", OUT=False))

    service.assert_whole()
    assert [entry for entry in service.log() if entry["level"] in {"ERROR", "CRITICAL"} and entry["event"] != "attention raised"] == []
