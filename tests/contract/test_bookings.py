"""What Dojo meets at parties and reservations: answers beside the published schemas, the rules of contract §10 and §12, what is kept."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.running import eventually, gbp, is_refused, published, running, sqlite
from workflow.replay import replay

START, END = "2026-03-14T19:00:00.000Z", "2026-03-14T21:00:00.000Z"
CARD = "4111 1111 1111 1111"
REMOVED = "[card number removed]"
PERSONAL = {"name": "Mx Unmistakable", "hostNotes": "regular at the window", "guestRequests": "deadly allergic to sesame"}
DEPOSIT = {"totalAmount": gbp(2000), "paymentIntentIds": ["pi_dep1", "pi_dep2"], "description": "for Unmistakable's birthday"}
PLACES = {"party": "/v1/parties", "reservation": "/v1/reservations"}
SCHEMAS = {"party": "Party", "reservation": "Reservation"}
PAGES = {"party": "PagedPartiesResponse", "reservation": "PagedReservationsResponse"}
KINDS = pytest.mark.parametrize("kind", PLACES)

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("bookings")) as service:
        yield service
        service.assert_whole()  # After every test of this module: what was stored is what the entries say.


@pytest.fixture
def another_service(tmp_path):
    """One with a journal of its own, which a test may stop."""
    with running(tmp_path) as service:
        yield service


@pytest.fixture(scope="module")
def is_valid(specs):
    """Checks an answer against the published schema of that name."""
    return published(specs)


def a_table():
    """A table at which nobody sits yet."""
    return f"tbl_{next(_numbers)}"


def a_party(**changes):
    """A CreatePartyRequest, valid by default, of a party and at a table of its own."""
    return {"dojoPartyId": f"dojo-party-{next(_numbers)}", "startTime": START, "tableIds": [a_table()]} | changes


def a_reservation(**changes):
    """A CreateReservationRequest, likewise."""
    asked = {"dojoReservationId": f"dojo-res-{next(_numbers)}", "name": "Sasha J.", "covers": 3, "startTime": START, "endTime": END}
    return asked | {"tableIds": [a_table()]} | changes


def asked_for(kind, **changes):
    return (a_party if kind == "party" else a_reservation)(**changes)


def an_update(kind, **changes):
    return asked_for(kind, **({"status": "ordered"} if kind == "party" else {}) | changes)


def created(service, kind="party", **changes):
    """A new party or reservation: what was asked, and what was answered."""
    asked = asked_for(kind, **changes)
    reply = service.dojo.post(PLACES[kind], asked)
    assert reply.status == 200, reply.body
    return asked, reply.json


def path(kind, booking):
    return f"{PLACES[kind]}/{booking['id']}"


def found(service, kind="party", **wanted):
    """The ids that a search finds."""
    reply = service.dojo.post(f"{PLACES[kind]}/search", wanted)
    assert reply.status == 200, reply.body
    return [each["id"] for each in reply.json["data"]]


def left(asked, **changes):
    """The UpdatePartyRequest of a party that goes."""
    return {name: asked[name] for name in ("dojoPartyId", "startTime", "tableIds")} | {"status": "left", "endTime": END} | changes


def size(service):
    tables = ("journal", "inbox", "bookings", "booking_tables", "guests", "outbox")
    return [service.reads.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


# Beside the published schemas


def test_a_party_with_everything_on_it_comes_back_as_the_published_party(service, is_valid):
    asked = a_party(**PERSONAL, covers=4, status="partially arrived", reservationId="rsv_elsewhere", deposit=DEPOSIT)
    asked |= {"expectedEndTime": END, "dojoReservationId": "dojo-res-of-it"}

    party = is_valid("Party", service.dojo.post("/v1/parties", asked).json)

    assert party.pop("id").startswith("pty_")
    assert party == {name: value for name, value in asked.items() if name not in {"dojoPartyId", "dojoReservationId"}}


def test_a_party_with_nothing_but_what_is_required_is_seated(service, is_valid):
    asked, party = created(service)

    assert is_valid("Party", party) == {"id": party["id"], "status": "seated", "startTime": START, "tableIds": asked["tableIds"]}


def test_a_reservation_comes_back_as_the_published_reservation(service, is_valid):
    asked, reservation = created(service, "reservation", **PERSONAL)

    is_valid("Reservation", reservation)
    assert reservation["id"].startswith("rsv_")
    assert {name: value for name, value in asked.items() if name != "dojoReservationId"} == {
        name: value for name, value in reservation.items() if name != "id"
    }


@KINDS
def test_what_was_made_is_read_by_its_id_and_not_as_the_other_kind(service, is_valid, kind):
    _, booking = created(service, kind)
    other = "reservation" if kind == "party" else "party"

    assert is_valid(SCHEMAS[kind], service.dojo.get(path(kind, booking)).json) == booking
    assert booking["id"] in is_refused(service.dojo.get(path(other, booking)), 404)
    is_refused(service.dojo.call("PUT", path(other, booking), an_update(other)), 404)
    is_refused(service.dojo.call("DELETE", path(other, booking)), 404)


@KINDS
def test_a_page_is_the_published_page_and_every_error_the_published_error(service, is_valid, kind):
    table = a_table()
    created(service, "reservation", tableIds=[table])
    created(service, "party", tableIds=[table])

    page = is_valid(PAGES[kind], service.dojo.post(f"{PLACES[kind]}/search", {"tableId": table}).json)

    assert [set(page), len(page["data"])] == [{"data"}, 1]
    for reply in (
        service.dojo.get(f"{PLACES[kind]}/none"),
        service.dojo.get(PLACES[kind]),
        service.dojo.post(PLACES[kind], {}),
        service.dojo.post(f"{PLACES[kind]}/search", {"cursor": {"limit": 0}}),
        service.dojo.post(PLACES[kind], {}, authorization=None),
    ):
        is_valid("EPOSError", reply.json)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-03-14T19:00:00Z", START),
        ("2026-03-14T20:00:00.0009999+01:00", START),
        ("2026-03-14t19:00:00.000z", START),
        ("2026-03-14T14:30:00-04:30", START),
        ("0001-01-01T00:00:00+14:00", "1000-01-01T00:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
    ],
)
def test_times_are_taken_leniently_and_given_in_utc_with_milliseconds(service, given, shown):  # X7 T4
    assert created(service, startTime=given)[1]["startTime"] == shown


def test_null_is_absent_and_unknown_fields_are_dropped(service, is_valid):
    nothing = dict.fromkeys(("status", "name", "covers", "expectedEndTime", "hostNotes", "guestRequests", "reservationId", "deposit"))

    _, party = created(service, **nothing, endTime=END, colour="red")

    assert set(is_valid("Party", party)) == {"id", "status", "startTime", "tableIds"}


# What is refused, by the name of the field


TOO_LONG = {"name": 1_001, "hostNotes": 10_001, "guestRequests": 10_001}
OF_BOTH = [
    ("startTime", {"startTime": "yesterday"}),
    ("startTime", {"startTime": "2026-03-14T19:00:00"}),
    ("startTime", {"startTime": "2026-02-30T19:00:00Z"}),
    ("startTime", {"startTime": 5}),
    ("tableIds", {"tableIds": []}),
    ("tableIds", {"tableIds": "tbl_1"}),
    ("tableIds", {"tableIds": [f"t{number}" for number in range(101)]}),
    ("tableIds[1]", {"tableIds": ["tbl_never", ""]}),
    ("tableIds[0]", {"tableIds": [None]}),
    ("tableIds[1]", {"tableIds": ["tbl_never", "a\nb"]}),
    ("tableIds[2]", {"tableIds": ["tbl_never", "tbl_other", "tbl_never"]}),
    ("covers", {"covers": -1}),
    ("covers", {"covers": 2**31}),
    ("covers", {"covers": 2**63}),
    ("covers", {"covers": True}),
    ("covers", {"covers": 4.0}),
    ("covers", {"covers": "4"}),
    *((name, {name: "x" * length}) for name, length in TOO_LONG.items()),
    *((name, {name: 7}) for name in TOO_LONG),
]
OF_PARTIES = [
    ("dojoPartyId", {"dojoPartyId": ""}),
    ("dojoPartyId", {"dojoPartyId": "x" * 256}),
    ("status", {"status": ""}),
    ("status", {"status": "x" * 1_001}),
    ("expectedEndTime", {"expectedEndTime": "2026-03-14T18:59:59.999Z"}),
    ("expectedEndTime", {"expectedEndTime": "soon"}),
    ("deposit", {"deposit": []}),
    ("deposit.totalAmount", {"deposit": {"paymentIntentIds": []}}),
    ("deposit.paymentIntentIds", {"deposit": {"totalAmount": gbp(1)}}),
    ("deposit.paymentIntentIds[1]", {"deposit": DEPOSIT | {"paymentIntentIds": ["pi", ""]}}),
    ("deposit.totalAmount.value", {"deposit": DEPOSIT | {"totalAmount": gbp(-1)}}),
    ("deposit.totalAmount.value", {"deposit": DEPOSIT | {"totalAmount": gbp(2**53 + 1)}}),
    ("deposit.totalAmount.value", {"deposit": DEPOSIT | {"totalAmount": gbp(20.0)}}),
    ("deposit.totalAmount.currencyCode", {"deposit": DEPOSIT | {"totalAmount": {"value": 1, "currencyCode": "EUR"}}}),
    ("deposit.description", {"deposit": DEPOSIT | {"description": 4}}),
]
OF_NEW_PARTIES = [("reservationId", {"reservationId": ""}), ("dojoReservationId", {"dojoReservationId": 1})]
OF_CHANGED_PARTIES = [("endTime", {"endTime": "2026-03-14T18:59:59.999Z"}), ("endTime", {"endTime": ""})]
OF_RESERVATIONS = [
    ("dojoReservationId", {"dojoReservationId": "\x1b"}),
    ("endTime", {"endTime": "2026-03-14T18:59:59.999Z"}),
    ("endTime", {"endTime": "2026-03-14"}),
]
REFUSED = [
    *(("party", "POST", *case) for case in (*OF_BOTH, *OF_PARTIES, *OF_NEW_PARTIES)),
    *(("party", "PUT", *case) for case in (*OF_BOTH, *OF_PARTIES, *OF_CHANGED_PARTIES)),
    *(("reservation", method, *case) for method in ("POST", "PUT") for case in (*OF_BOTH, *OF_RESERVATIONS)),
]


@pytest.mark.parametrize(("kind", "method", "field", "changes"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_is_refused_by_the_name_of_the_field_and_stores_nothing(service, kind, method, field, changes):  # M2 M13
    place = PLACES[kind] if method == "POST" else path(kind, created(service, kind)[1])
    before = size(service)

    message = is_refused(service.dojo.call(method, place, (asked_for if method == "POST" else an_update)(kind, **changes)), 400)

    assert message.startswith(f"{field}:")
    assert size(service) == before


REQUIRED = {
    ("party", "POST"): ("dojoPartyId", "startTime", "tableIds"),
    ("party", "PUT"): ("dojoPartyId", "startTime", "tableIds", "status"),
    ("reservation", "POST"): ("dojoReservationId", "name", "covers", "startTime", "endTime", "tableIds"),
    ("reservation", "PUT"): ("dojoReservationId", "name", "covers", "startTime", "endTime", "tableIds"),
}


@pytest.mark.parametrize(("kind", "method", "name"), [(*which, name) for which, names in REQUIRED.items() for name in names])
def test_a_field_that_is_missing_is_named(service, kind, method, name):  # Contract §16, 23
    place = PLACES[kind] if method == "POST" else path(kind, created(service, kind)[1])
    asked = {key: value for key, value in (asked_for if method == "POST" else an_update)(kind).items() if key != name}

    assert is_refused(service.dojo.call(method, place, asked), 400).startswith(f"{name}:")


@KINDS
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_is_required_and_must_be_an_object(service, kind, method):  # Contract §16, 24
    place = PLACES[kind] if method == "POST" else path(kind, created(service, kind)[1])
    for body in (b"", b"null", b"[]", b'"x"'):
        assert is_refused(service.dojo.call(method, place, body), 400).startswith("body:")
    is_refused(service.dojo.call(method, place), 415)


@pytest.mark.parametrize(
    ("kind", "field", "wanted"),
    [
        ("party", "tableId", {"tableId": ""}),
        ("party", "completedOnly", {"completedOnly": "yes"}),
        ("party", "cursor.limit", {"cursor": {"limit": 101}}),
        ("party", "cursor.after", {"cursor": {"after": "garbled"}}),
        ("reservation", "fromTime", {"fromTime": "now"}),
        ("reservation", "toTime", {"toTime": 1}),
        ("reservation", "toTime", {"fromTime": END, "toTime": START}),
        ("reservation", "cursor.limit", {"cursor": {"limit": True}}),
        ("reservation", "cursor.before", {"cursor": {"before": "garbled"}}),
    ],
)
def test_a_search_for_what_cannot_be_is_refused_by_the_name_of_the_field(service, kind, field, wanted):
    assert is_refused(service.dojo.post(f"{PLACES[kind]}/search", wanted), 400).startswith(f"{field}:")


# Changing


def test_an_update_replaces_the_details_and_keeps_what_it_has_no_field_for(service, is_valid):
    asked, party = created(service, **PERSONAL, covers=4, expectedEndTime=END, reservationId="rsv_1", deposit=DEPOSIT)
    table = a_table()
    changes = {"dojoPartyId": asked["dojoPartyId"], "startTime": END, "tableIds": [table], "status": "paying", "hostNotes": "moved"}

    changed = is_valid("Party", service.dojo.call("PUT", path("party", party), changes).json)

    kept = {"id": party["id"], "reservationId": "rsv_1"}
    assert changed == kept | {"startTime": END, "tableIds": [table], "status": "paying", "hostNotes": "moved"}
    assert service.dojo.get(path("party", party)).json == changed
    assert (found(service, tableId=table), found(service, tableId=asked["tableIds"][0])) == ([party["id"]], [])
    del changes["hostNotes"]
    assert "hostNotes" not in service.dojo.call("PUT", path("party", party), changes).json
    assert is_forgotten(service, party)


def test_an_update_replaces_a_reservation(service, is_valid):
    asked, reservation = created(service, "reservation", **PERSONAL)
    changes = asked | {"covers": 0, "name": "Someone", "tableIds": [a_table(), a_table()]}
    del changes["hostNotes"], changes["guestRequests"]

    changed = is_valid("Reservation", service.dojo.call("PUT", path("reservation", reservation), changes).json)

    assert changed == {name: value for name, value in changes.items() if name != "dojoReservationId"} | {"id": reservation["id"]}
    assert service.dojo.get(path("reservation", reservation)).json == changed


@KINDS
def test_the_same_update_again_changes_nothing(service, kind):  # I11
    _, booking = created(service, kind)
    changes = an_update(kind, **PERSONAL)
    first = service.dojo.call("PUT", path(kind, booking), changes)
    before = size(service)

    second = service.dojo.call("PUT", path(kind, booking), changes)

    assert (second.status, second.json, size(service)) == (200, first.json, before)


def test_an_update_may_give_a_party_another_id_of_dojos_but_not_that_of_another_party(service):
    asked, party = created(service)
    theirs, other = created(service)
    changes = asked | {"status": "ordered"}

    message = is_refused(service.dojo.call("PUT", path("party", party), changes | {"dojoPartyId": theirs["dojoPartyId"]}), 409)

    assert other["id"] in message
    assert service.dojo.call("PUT", path("party", party), changes | {"dojoPartyId": "dojo-renamed"}).status == 200
    assert party["id"] in is_refused(service.dojo.post("/v1/parties", a_party(dojoPartyId="dojo-renamed")), 409)


# The same again, and the same id with something else


@KINDS
def test_the_same_creation_again_is_the_first_one_as_it_is_now(service, kind):  # D1 I11
    asked, booking = created(service, kind, **PERSONAL)
    before = size(service)

    for raw in (
        json.dumps(asked),
        json.dumps(dict(reversed(asked.items()))),
        json.dumps(asked | {"startTime": "2026-03-14T19:00:00+00:00"}),
    ):
        reply = service.dojo.post(PLACES[kind], raw.encode(), waiter_id="7")
        assert (reply.status, reply.json) == (200, booking)
    assert size(service) == before

    changed = service.dojo.call("PUT", path(kind, booking), an_update(kind, covers=9)).json
    assert service.dojo.post(PLACES[kind], asked).json == changed


@KINDS
def test_other_content_under_an_id_that_stands_is_a_conflict_that_names_it(service, kind):  # D2
    asked, booking = created(service, kind)
    before = size(service)

    for changes in ({"covers": 7}, {"hostNotes": "another"}, {"tableIds": [a_table()]}, {"startTime": "2026-03-14T19:00:00.001Z"}):
        assert booking["id"] in is_refused(service.dojo.post(PLACES[kind], asked | changes), 409)
    assert (size(service), service.dojo.get(path(kind, booking)).json) == (before, booking)


def test_fifty_equal_parties_at_once_make_one(service):  # D3
    asked = a_party(**PERSONAL)
    before = size(service)
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: service.dojo.post("/v1/parties", asked), range(50)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert size(service) == [count + more for count, more in zip(before, (1, 1, 1, 1, 1, 0), strict=True)]


def test_an_id_of_dojos_whose_party_left_may_be_another_partys(service):
    asked, first = created(service)
    assert service.dojo.call("PUT", path("party", first), left(asked)).status == 200

    _, second = created(service, **asked | {"startTime": END})

    assert second["id"] != first["id"]
    assert found(service, tableId=asked["tableIds"][0]) == [second["id"]]
    assert service.dojo.post("/v1/parties", asked).json == service.dojo.get(path("party", first)).json  # The first request, very late.
    assert service.dojo.post("/v1/parties", asked | {"startTime": END}).json == second


@KINDS
def test_a_late_copy_of_a_creation_does_not_bring_back_what_was_deleted(service, kind):  # I11
    asked, booking = created(service, kind, **PERSONAL)
    assert service.dojo.call("DELETE", path(kind, booking)).status == 200
    before = size(service)

    late = service.dojo.post(PLACES[kind], asked)

    assert (late.status, late.json["id"], size(service)) == (200, booking["id"], before)
    assert PERSONAL["name"] not in late.body.decode()
    is_refused(service.dojo.get(path(kind, booking)), 404)
    assert found(service, kind, tableId=asked["tableIds"][0]) == []
    assert created(service, kind, **asked | {"covers": 8})[1]["id"] != booking["id"]


# One party at a table


def test_a_table_that_has_a_party_takes_no_other_until_that_has_left(service):
    first, second = a_table(), a_table()
    asked, party = created(service, tableIds=[first, second])

    message = is_refused(service.dojo.post("/v1/parties", other := a_party(tableIds=[a_table(), second])), 409)

    assert second in message
    assert party["id"] in message
    assert service.dojo.call("PUT", path("party", party), left(asked)).status == 200
    assert service.dojo.post("/v1/parties", other).status == 200


def test_a_deleted_party_leaves_its_tables(service):
    asked, party = created(service)
    service.dojo.call("DELETE", path("party", party))

    assert service.dojo.post("/v1/parties", a_party(tableIds=asked["tableIds"])).status == 200


def test_a_party_cannot_move_to_where_another_sits_nor_come_back_to_it(service):
    asked, party = created(service)
    theirs, other = created(service)
    moving = asked | {"status": "ordered", "tableIds": [*asked["tableIds"], *theirs["tableIds"]]}

    assert other["id"] in is_refused(service.dojo.call("PUT", path("party", party), moving), 409)
    assert service.dojo.get(path("party", party)).json == party

    assert service.dojo.call("PUT", path("party", other), left(theirs)).status == 200
    assert service.dojo.call("PUT", path("party", party), moving).status == 200
    back = left(theirs, status="back", endTime=None)
    assert party["id"] in is_refused(service.dojo.call("PUT", path("party", other), back), 409)
    assert service.dojo.call("PUT", path("party", party), asked | {"status": "ordered"}).status == 200
    assert "endTime" not in service.dojo.call("PUT", path("party", other), back).json


def test_a_party_that_has_left_may_be_put_anywhere(service):
    asked, party = created(service)
    theirs, _ = created(service)

    assert service.dojo.call("PUT", path("party", party), left(asked, tableIds=theirs["tableIds"])).status == 200


def test_reservations_may_share_a_table_and_a_time(service):
    table = a_table()

    assert len({created(service, "reservation", tableIds=[table])[1]["id"] for _ in range(3)}) == 3


def test_two_parties_at_once_at_one_table_are_one_party_and_one_conflict(service):
    table = a_table()
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: service.dojo.post("/v1/parties", a_party(tableIds=[table])), range(16)))

    assert sorted(reply.status for reply in replies) == [200] + [409] * 15
    assert len(found(service, tableId=table)) == 1


# Deleting


@KINDS
def test_deleting_answers_200_without_a_body_and_again_the_same(service, kind):  # L9 I11
    asked, booking = created(service, kind, **PERSONAL)

    first = service.dojo.call("DELETE", path(kind, booking))
    before = size(service)
    second = service.dojo.call("DELETE", path(kind, booking))

    assert [(reply.status, reply.body, reply.headers.get("content-type")) for reply in (first, second)] == [(200, b"", None)] * 2
    assert size(service) == before
    is_refused(service.dojo.get(path(kind, booking)), 404)
    is_refused(service.dojo.call("PUT", path(kind, booking), an_update(kind)), 404)
    assert found(service, kind, tableId=asked["tableIds"][0]) == []
    assert "no-such" in is_refused(service.dojo.call("DELETE", f"{PLACES[kind]}/no-such"), 404)


# Searching


def test_parties_that_left_are_found_only_when_asked_for(service):
    table = a_table()
    asked, gone = created(service, tableIds=[table])
    service.dojo.call("PUT", path("party", gone), left(asked))
    _, here = created(service, tableIds=[table, a_table()])

    assert found(service, tableId=table) == found(service, tableId=table, completedOnly=False) == [here["id"]]
    assert found(service, tableId=table, completedOnly=True) == [gone["id"]]
    assert here["id"] in found(service, cursor={"limit": 100})
    assert gone["id"] in found(service, completedOnly=True, cursor={"limit": 100})
    assert gone["id"] not in found(service, cursor={"limit": 100})
    assert found(service, tableId="tbl_never") == []


@pytest.mark.parametrize("by_table", [True, False])
def test_reservations_are_found_whose_time_overlaps_from_inclusive_to_exclusive(service, by_table):
    table, day = a_table(), "2031-05-01" if by_table else "2032-05-01"
    times = {"early": ("10:00", "12:00"), "noon": ("12:00", "14:00"), "long": ("11:00", "15:00"), "late": ("16:00", "18:00")}
    ids = {
        created(service, "reservation", tableIds=[table], startTime=f"{day}T{start}:00Z", endTime=f"{day}T{end}:00Z")[1]["id"]: name
        for name, (start, end) in times.items()
    }

    def names(**window):
        wanted = {name: f"{day}T{moment}:00Z" for name, moment in window.items()} | ({"tableId": table} if by_table else {})
        return {ids[each] for each in found(service, "reservation", **wanted, cursor={"limit": 100}) if each in ids}

    assert names(fromTime="12:00", toTime="12:01") == {"noon", "long"}
    assert names(fromTime="11:59", toTime="12:00") == {"early", "long"}
    assert names(fromTime="15:00") == {"late"}
    assert names(toTime="11:00") == {"early"}
    assert names(fromTime="15:00", toTime="16:00") == set()
    assert names(fromTime="00:00", toTime="23:59") == names() == set(times)


SEARCHES = [
    ("party", {}),
    ("party", {"completedOnly": True}),
    ("party", {"completedOnly": True, "tableId": "tbl_all"}),
    ("reservation", {}),
    ("reservation", {"tableId": "tbl_all"}),
    ("reservation", {"fromTime": START, "toTime": END}),
    ("reservation", {"fromTime": START, "tableId": "tbl_all"}),
]


@pytest.mark.parametrize(("kind", "filters"), SEARCHES, ids=str)
def test_pages_lead_through_all_both_ways_newest_first_while_others_come_and_go(tmp_path, kind, filters):
    with running(tmp_path) as service:

        def add():
            asked, booking = created(service, kind, tableIds=["tbl_all"] if filters or kind == "reservation" else [a_table()])
            if "completedOnly" in filters:
                service.dojo.call("PUT", path(kind, booking), left(asked))
            return booking["id"]

        def page(**cursor):
            body = service.dojo.post(f"{PLACES[kind]}/search", filters | {"cursor": {"limit": 4} | cursor}).json
            return [each["id"] for each in body["data"]], body.get("before"), body.get("after")

        made = [add() for _ in range(10)][::-1]
        first, before, to_second = page()
        assert (first, before) == (made[:4], None)
        newer = [add(), add()][::-1]
        second, to_first, to_third = page(after=to_second)
        assert second == made[4:8]
        third, back_to_second, end = page(after=to_third)
        assert (third, end) == (made[8:], None)

        assert page(before=back_to_second) == (second, to_first, to_third)
        assert page(before=to_first) == (first, to_newer := page(before=to_first)[1], to_second)
        assert page(before=to_newer)[:2] == (newer, None)

        for booking in (*newer, *first):
            service.dojo.call("DELETE", f"{PLACES[kind]}/{booking}")
        assert page(after=to_second) == page(before=back_to_second) == (second, None, to_third)  # Nothing is in front any more.
        for booking in third:
            service.dojo.call("DELETE", f"{PLACES[kind]}/{booking}")
        assert page(after=to_second) == page(before=back_to_second) == (second, None, None)
        service.assert_whole()


def test_no_match_is_an_empty_page_without_tokens(service):
    assert service.dojo.post("/v1/parties/search", {"tableId": "tbl_never"}).json == {"data": []}
    assert service.dojo.post("/v1/reservations/search", {"fromTime": "9000-01-01T00:00:00Z"}).json == {"data": []}


def test_a_cursor_belongs_to_its_search_and_filters(service):
    for _ in range(2):
        created(service, "reservation")
        created(service)
    token = service.dojo.post("/v1/reservations/search", {"cursor": {"limit": 1}}).json["after"]

    for place, filters in (
        ("/v1/parties/search", {}),
        ("/v1/parties/search", {"completedOnly": True}),
        ("/v1/orders/search", {}),
        ("/v1/reservations/search", {"tableId": "tbl_1"}),
        ("/v1/reservations/search", {"fromTime": START}),
    ):
        assert is_refused(service.dojo.post(place, filters | {"cursor": {"after": token}}), 400).startswith("cursor.after:")
    assert is_refused(service.dojo.post("/v1/reservations/search", {"cursor": {"after": token, "before": token}}), 400)
    assert service.dojo.post("/v1/reservations/search", {"cursor": {"after": token}}).status == 200


# Beside the till's tables


def test_where_the_till_gave_its_tables_others_are_refused_by_place(tmp_path):
    with running(tmp_path) as service:
        asked, party = created(service, tableIds=["tbl_old"])
        gone, reservation = created(service, "reservation", tableIds=["tbl_old"])
        assert service.till.call("PUT", "/till/tables", [{"id": "tbl_a", "name": "A"}, {"id": "tbl_b", "name": "B"}]).status == 200

        for kind, place in PLACES.items():
            assert created(service, kind, tableIds=["tbl_a", "tbl_b"])
            message = is_refused(service.dojo.post(place, asked_for(kind, tableIds=["tbl_b", "tbl_old"])), 400)
            assert message.startswith("tableIds[1]:")
            assert "tbl_old" in message
        # What was taken before stays good: the same again, a change that keeps the table, and leaving it.
        assert service.dojo.post("/v1/parties", asked).json == party
        assert service.dojo.post("/v1/reservations", gone).json == reservation
        assert service.dojo.call("PUT", path("reservation", reservation), gone | {"covers": 1}).status == 200
        assert is_refused(service.dojo.call("PUT", path("party", party), left(asked, tableIds=["tbl_c"])), 400).startswith("tableIds[0]:")
        assert service.dojo.call("PUT", path("party", party), left(asked)).status == 200
        service.assert_whole()


# What is kept, and what is not


def is_forgotten(service, booking):
    """Neither the guest nor the salt is there any more: what is left is blank."""
    [row] = service.reads.rows("SELECT salt || data FROM guests WHERE booking_id = ?", (booking["id"],))
    return row[0].strip() == "{}"


@KINDS
def test_what_guests_say_is_in_no_entry_and_no_log_line_and_goes_with_the_booking(service, kind):  # A15 I13
    words = {name: f"{text} <{kind}>" for name, text in PERSONAL.items()}
    deposit = {"deposit": DEPOSIT} if kind == "party" else {}
    asked, booking = created(service, kind, **words, **deposit)
    assert words.items() <= booking.items()
    service.dojo.call("PUT", path(kind, booking), an_update(kind, **{name: f"{text}, truly" for name, text in words.items()}))
    service.dojo.post(PLACES[kind], asked | {"covers": 5})  # A conflict, and a request that is refused: both are answered with words.
    service.dojo.post(PLACES[kind], asked | {"startTime": PERSONAL["name"]})

    def kept():
        tables = ("journal", "bookings", "booking_tables", "inbox", "outbox", "attention", "venue")
        stored = "".join(json.dumps(service.reads.rows(f"SELECT * FROM {table}"), ensure_ascii=False) for table in tables)
        return stored + service.log_path.read_text()

    said = [*words.values(), DEPOSIT["description"]]
    assert [word for word in said if word in kept()] == []
    [(guest,)] = service.reads.rows("SELECT data FROM guests WHERE booking_id = ?", (booking["id"],))
    assert f"{words['name']}, truly" in guest

    service.dojo.call("DELETE", path(kind, booking))

    assert is_forgotten(service, booking)


@KINDS
def test_card_numbers_are_removed_from_every_free_text(service, kind):  # I13
    words = {name: f"my card is {CARD}" for name in PERSONAL}
    more = {"deposit": DEPOSIT | {"description": CARD}, "status": f"paid by {CARD}"} if kind == "party" else {}

    _, booking = created(service, kind, **words, **more)

    assert [booking[name] for name in PERSONAL] == [f"my card is {REMOVED}"] * 3
    if kind == "party":
        assert (booking["status"], booking["deposit"]["description"]) == (f"paid by {REMOVED}", REMOVED)
    stored = "".join(
        json.dumps(rows) for rows in sqlite(service.journal, "SELECT * FROM journal", "SELECT * FROM guests", "SELECT * FROM bookings")
    )
    assert CARD not in stored


def test_each_change_is_one_entry_that_says_who_and_what(service):
    asked, party = created(service, **PERSONAL)
    service.dojo.call("PUT", path("party", party), left(asked))
    service.dojo.call("DELETE", path("party", party))

    sql = "SELECT trigger, kind, order_id, actor, cause, body FROM journal WHERE body LIKE ? ORDER BY seq"
    entries = service.reads.rows(sql, (f"%{party['id']}%",))

    assert [entry[:5] for entry in entries] == [
        ("create_party", "system", "", "dojo", f"create_party:{asked['dojoPartyId']}"),
        ("update_party", "system", "", "dojo", f"update_party:{party['id']}"),
        ("delete_party", "system", "", "dojo", f"delete_party:{party['id']}"),
    ]
    assert len(json.loads(entries[0][5])["party"]["personalHash"]) == 64
    assert "personalHash" not in json.loads(entries[1][5])["party"]


def test_nothing_is_sent_to_dojo_about_what_dojo_itself_changed(service):
    asked, party = created(service)
    service.dojo.call("PUT", path("party", party), left(asked))
    created(service, "reservation")

    assert service.reads.rows("SELECT count(*) FROM outbox")[0][0] == 0


def test_replay_notices_a_party_that_was_changed_behind_the_journals_back(tmp_path):
    with running(tmp_path) as service:
        created(service, tableIds=["tbl_honest"])
        service.assert_whole()
        for change, named in (
            ("UPDATE bookings SET body = replace(body, 'seated', 'paid')", "bookings pty_"),
            ("DELETE FROM booking_tables", "booking_tables pty_"),
        ):
            sqlite(service.journal, change)
            assert [mismatch for mismatch in replay(service.reads).mismatches if mismatch.startswith(named)]


@KINDS
def test_no_file_holds_the_guests_of_a_deleted_booking_after_a_checkpoint(another_service, kind):
    service = another_service
    guests = {word: {"name": f"Mx {word}", "guestRequests": f"{word} is allergic. " * 40} for word in ("Erasable", "Replaced", "Staying")}
    ids = {word: created(service, kind, **guest)[1]["id"] for word, guest in guests.items()}

    assert service.dojo.call("DELETE", f"{PLACES[kind]}/{ids['Erasable']}").status in {200, 204}
    assert service.dojo.call("PUT", f"{PLACES[kind]}/{ids['Replaced']}", an_update(kind, name="Mx Else")).status == 200
    eventually(lambda: sqlite(service.journal, "PRAGMA wal_checkpoint(TRUNCATE)")[0][0][0] == 0)  # Nobody reads what is to go.

    kept = {path.name: path.read_bytes() for path in service.folder.iterdir()}
    assert [name for name, content in kept.items() if b"Staying" in content] == [service.journal.name]
    assert [name for name, content in kept.items() if b"Erasable" in content or b"Replaced" in content] == []
