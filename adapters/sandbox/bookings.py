"""Bookings as Dojo runs it: a reservation, the party that comes of it, what the party orders, and all of it put away again. Contract §10.

Every answer is compared with what was sent. Whatever the flow made is deleted in the end, also when it failed on the way, so that the
table is free for the next one.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import asdict, replace

from adapters.sandbox import identifiers
from adapters.sandbox.basket import DEFAULT_TABLE, DineIn, basket_of
from adapters.sandbox.calls import Answer
from adapters.sandbox.errors import StepFailed
from adapters.sandbox.flow import Bookings, Flow
from adapters.sandbox.paging import everything, search_tables
from adapters.sandbox.pos import (
    PosArea,
    PosDeposit,
    PosOrder,
    PosOrders,
    PosParties,
    PosParty,
    PosReservation,
    PosReservations,
    PosTable,
    PosThing,
)
from adapters.sandbox.steps import World, parsed
from adapters.sandbox.wire import money
from workflow.clock import to_text
from workflow.money import Money

CALLS = (
    "ListAreas",
    "SearchTables",
    "CreateReservation",
    "GetReservationById",
    "UpdateReservationById",
    "SearchReservations",
    "DeleteReservationById",
    "CreateParty",
    "GetPartyById",
    "UpdatePartyById",
    "SearchParties",
    "DeletePartyById",
    "CreateOrder",
    "SearchOrders",
    "CancelOrderById",
)
"""What the POS must serve."""

STAY = timedelta(hours=2)
DEPOSIT = 2_000
ORDERED = 1_200
NOT_FOUND, TAKEN = 404, 409

B = TypeVar("B", PosParty, PosReservation)
Found = PosOrder | PosParty | PosReservation | PosTable
Filters = dict[str, object]


def bookings(flow: Flow, world: World, request: Bookings) -> None:
    """Play the flow. Raises StepFailed."""
    made: list[str] = []
    try:
        run = _Run(flow, world, request, made)
        table_id = run.find_table()
        reservation = run.reserve(table_id)
        party = run.seat(reservation)
        run.order(party)
        run.leave(party)
        run.delete_reservation(reservation)
        run.delete_party(party)
    finally:
        for path in reversed(made):
            flow.client.call("DELETE", path, note="put away")


class _Run:
    """One run: what was sent last of each thing, and in `made` the paths of all that is still at the POS."""

    def __init__(self, flow: Flow, world: World, request: Bookings, made: list[str]) -> None:
        self._flow, self._world, self._request, self._made = flow, world, request, made
        now = world.clock.now()
        self._now = now.replace(microsecond=now.microsecond // 1000 * 1000)

    def find_table(self) -> str:
        """The table that was asked for, or else the POS's first; a POS that names no tables gets a usual id."""
        with self._flow.step("ListAreas") as details:
            areas = parsed(self._call("GET", "/v1/areas"), tuple[PosArea, ...], "ListAreas")
            details.append(f"{len(areas)} areas")
        with self._flow.step("SearchTables") as details:
            tables = self._search_tables({})
            if not tables:
                details.append("the POS names no tables")
                return self._request.table_id or DEFAULT_TABLE
            chosen = next((table for table in tables if self._request.table_id in {None, table.id}), None)
            if chosen is None:
                raise StepFailed(f"the POS has no table {self._request.table_id}; it has {[table.id for table in tables[:10]]}")
            if chosen.area_id is not None:
                self._check_area(chosen, areas)
            details.append(f"{chosen.name} ({chosen.id}) of {len(tables)}")
            return chosen.id

    def reserve(self, table_id: str) -> PosReservation:
        """A reservation made, made again, changed and found."""
        start = self._now + timedelta(hours=1)
        wanted = PosReservation(
            id="",
            name="Sasha Sandbox",
            covers=3,
            start_time=start,
            end_time=start + STAY,
            table_ids=(table_id,),
            host_notes="they bring a dog",
            guest_requests="no nuts, please",
        )
        named = {"dojoReservationId": self._world.new_id(identifiers.RESERVATION)}
        first = self._create("CreateReservation", "/v1/reservations", wanted, named)
        changed = replace(first, covers=4, end_time=first.end_time + timedelta(minutes=30), host_notes=None)
        self._update("UpdateReservationById", changed, named)
        self._read("GetReservationById", changed)
        window: Filters = {"tableId": table_id, "fromTime": to_text(changed.start_time), "toTime": to_text(changed.end_time)}
        self._expect("SearchReservations", changed, window, is_there=True, say="in its time")
        after: Filters = {"tableId": table_id, "fromTime": to_text(changed.end_time), "toTime": to_text(changed.end_time + STAY)}
        self._expect("SearchReservations", changed, after, is_there=False, say="after it")
        return changed

    def seat(self, reservation: PosReservation) -> PosParty:
        """The party of a reservation sits down; nobody else can at its table."""
        deposit = PosDeposit(total_amount=self._amount(DEPOSIT), payment_intent_ids=(self._world.new_id(identifiers.INTENT),))
        wanted = PosParty(
            id="",
            status="seated",
            start_time=self._now,
            table_ids=reservation.table_ids,
            name=reservation.name,
            covers=reservation.covers,
            expected_end_time=self._now + STAY,
            guest_requests=reservation.guest_requests,
            reservation_id=reservation.id,
            deposit=deposit,
        )
        self._named = {"dojoPartyId": self._world.new_id(identifiers.PARTY)}
        party = self._create("CreateParty", "/v1/parties", wanted, self._named)
        self._read("GetPartyById", party)
        self._expect("SearchParties", party, _at(party), is_there=True, say="at its table")
        self._expect("SearchParties", party, _at(party) | {"completedOnly": True}, is_there=False, say="among those who left")
        with self._flow.step("CreateParty") as details:
            other = {"dojoPartyId": self._world.new_id(identifiers.PARTY)}
            answer = self._call("POST", "/v1/parties", _body(wanted) | other, note=f"at the same table {party.table_ids[0]}")
            self._note_made("/v1/parties", answer)
            if answer.status != TAKEN:
                raise StepFailed(f"CreateParty at a table that has a party already: expected 409, got {answer}")
            details.append("409: the table is taken")
        return party

    def order(self, party: PosParty) -> None:
        """The party orders; its order is found by the party."""
        basket = basket_of(self._amount(ORDERED), party.table_ids[0], self._request.plu)
        where = DineIn(table_id=party.table_ids[0], party_id=party.id, reservation_id=party.reservation_id)
        basket = replace(basket, details=replace(basket.details, dine_in=where))
        named = {"dojoOrderId": self._world.new_id(identifiers.ORDER), "totalAmount": money(basket.total), "payments": []}
        with self._flow.step("CreateOrder") as details:
            answer = self._call("POST", "/v1/orders", msgspec.to_builtins(basket) | named, note=f"of {party.id}")
            self._note_made("/v1/orders", answer)
            order = parsed(answer, PosOrder, "CreateOrder")
            self._flow.about(order.id)
            path = f"/v1/orders/{quote(order.id, safe='')}"
            details.append(order.id)
        with self._flow.step("SearchOrders") as details:
            found = self._pages("/v1/orders/search", {"dineIn": {"partyId": party.id}}, PosOrders, "SearchOrders")
            if [each.id for each in found] != [order.id]:
                raise StepFailed(f"orders of party {party.id}: expected {order.id} alone, found {[each.id for each in found] or 'none'}")
            details.append(f"{order.id} is the party's")
        with self._flow.step("CancelOrderById"):
            parsed(self._call("DELETE", path), PosOrder, "CancelOrderById")
            self._made.remove(path)

    def leave(self, party: PosParty) -> None:
        """The party leaves: it is found only among those who left."""
        left = replace(party, status="left", end_time=self._now + timedelta(hours=1))
        self._update("UpdatePartyById", left, self._named)
        self._read("GetPartyById", left)
        self._expect("SearchParties", left, _at(left), is_there=False, say="at its table any more")
        self._expect("SearchParties", left, _at(left) | {"completedOnly": True}, is_there=True, say="among those who left")

    def delete_reservation(self, reservation: PosReservation) -> None:
        """The reservation is gone."""
        self._delete("DeleteReservationById", reservation)
        self._expect("SearchReservations", reservation, {"tableId": reservation.table_ids[0]}, is_there=False, say="any more")

    def delete_party(self, party: PosParty) -> None:
        """The party is gone."""
        self._delete("DeletePartyById", party)
        self._expect("SearchParties", party, _at(party) | {"completedOnly": True}, is_there=False, say="any more")

    # -- calls, each with what its answer must be

    def _create(self, name: str, path: str, wanted: B, named: dict[str, str]) -> B:
        """Create it, and again: the same request is the same thing."""
        with self._flow.step(name) as details:
            created = self._asked(name, "POST", path, wanted, named)
            again = self._asked(name, "POST", path, wanted, named, note="again")
            if again.id != created.id:
                raise StepFailed(f"{name} again made {again.id} beside {created.id}")
            details.append(f"{created.id}, again the same")
        return created

    def _note_made(self, path: str, answer: Answer) -> None:
        """Whatever an answer gives an id to is to be put away, however wrong it is otherwise."""
        with suppress(StepFailed):
            made = f"{path}/{quote(parsed(answer, PosThing, 'its id').id, safe='')}"
            if made not in self._made:
                self._made.append(made)

    def _update(self, name: str, wanted: B, named: dict[str, str]) -> None:
        with self._flow.step(name):
            self._asked(name, "PUT", _path(wanted), wanted, named)

    def _asked(self, name: str, method: str, path: str, wanted: B, named: dict[str, str], note: str = "") -> B:
        """What the POS answered, which must be what was sent; a new thing's id is for the POS to choose."""
        body = _body(wanted, without=("reservationId",) if method == "PUT" else ())
        answer = self._call(method, path, body | named, note=" ".join([*named.values(), note]).strip())
        if method == "POST":
            self._note_made(path, answer)
        shown = parsed(answer, type(wanted), name)
        _compare(name, replace(wanted, id=wanted.id or shown.id), shown)
        return shown

    def _read(self, name: str, wanted: PosParty | PosReservation) -> None:
        with self._flow.step(name):
            _compare(name, wanted, parsed(self._call("GET", _path(wanted)), type(wanted), name))

    def _delete(self, name: str, gone: PosParty | PosReservation) -> None:
        """Delete it, and read that it is gone."""
        with self._flow.step(name) as details:
            answer = self._call("DELETE", _path(gone))
            if not answer.is_success:
                raise StepFailed(f"{name}: {answer}")
            self._made.remove(_path(gone))
            if answer.body:
                raise StepFailed(f"{name} answered with a body, which its schema has none of: {answer}")
            if (answer := self._call("GET", _path(gone), note="deleted")).status != NOT_FOUND:
                raise StepFailed(f"{gone.id} is deleted, and reading it should answer 404, not {answer}")
            details.append("gone")

    def _expect(self, name: str, wanted: PosParty | PosReservation, filters: Filters, *, is_there: bool, say: str) -> None:
        """Search; whether it is found, and as it is."""
        with self._flow.step(name) as details:
            kind = PosParties if isinstance(wanted, PosParty) else PosReservations
            pages = self._pages(f"{_PLACES[type(wanted)]}/search", filters, kind, name)
            found = [each for each in pages if isinstance(each, PosParty | PosReservation) and each.id == wanted.id]
            if bool(found) != is_there:
                raise StepFailed(f"{name} {filters}: {wanted.id} should{'' if is_there else ' not'} be found {say}")
            for each in found:
                _compare(name, wanted, each)
            details.append(f"{'found' if is_there else 'not found'} {say}")

    def _search_tables(self, filters: Filters) -> list[PosTable]:
        return search_tables(self._call, filters)

    def _check_area(self, table: PosTable, areas: tuple[PosArea, ...]) -> None:
        if table.area_id not in {area.id for area in areas}:
            raise StepFailed(f"table {table.id} is in area {table.area_id}, which ListAreas does not name")
        found = self._search_tables({"areaId": table.area_id})
        if table not in found or any(each.area_id != table.area_id for each in found):
            raise StepFailed(f"SearchTables by area {table.area_id}: expected its tables, {table.id} among them, found {found}")

    def _pages(self, path: str, filters: Filters, kind: Any, name: str) -> list[Found]:
        return everything(self._call, path, filters, kind, name)

    def _call(self, method: str, path: str, body: object = None, *, note: str = "") -> Answer:
        return self._flow.client.call(method, path, body, note=note)

    def _amount(self, value: int) -> Money:
        return Money(value, self._request.currency)


_PLACES: dict[type, str] = {PosParty: "/v1/parties", PosReservation: "/v1/reservations"}


def _path(of: PosParty | PosReservation) -> str:
    return f"{_PLACES[type(of)]}/{quote(of.id, safe='')}"


def _at(party: PosParty) -> Filters:
    return {"tableId": party.table_ids[0]}


def _body(wanted: PosParty | PosReservation, *, without: tuple[str, ...] = ()) -> dict[str, object]:
    """What Dojo sends to have it so: everything that it knows, times with milliseconds."""
    moments = {name: to_text(value) for name, value in asdict(wanted).items() if isinstance(value, datetime)}
    texts = dict(zip(wanted.__struct_fields__, wanted.__struct_encode_fields__, strict=True))
    body = msgspec.to_builtins(wanted) | {texts[name]: text for name, text in moments.items()}
    return {name: value for name, value in body.items() if name not in {"id", *without}}


def _compare(name: str, wanted: PosParty | PosReservation, shown: PosParty | PosReservation) -> None:
    """Raises StepFailed with every field in which the POS's answer is not what was sent."""
    pairs = {field: (value, asdict(shown)[field]) for field, value in asdict(wanted).items()}
    if wrong := [f"{field} is {_said(got)}, not {_said(sent)}" for field, (sent, got) in pairs.items() if sent != got]:
        raise StepFailed(f"{name}: {', '.join(wrong)}")


def _said(value: object) -> str:
    return "missing" if value is None else to_text(value) if isinstance(value, datetime) else str(value)
