"""Dojo's capabilities as rows: what is asked where, with which body, and what is answered.

The routes and the OpenAPI document read these rows; what a row does is in `handlers.py`, free of transport.
Source: contract §3; EPOS Data API for paths, parameters and bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from adapters.edge.bill import OrderBill
from adapters.edge.wire import AreaBody, Nothing, PagedTables, SearchTablesRequest
from adapters.edge.wire_bookings import (
    CreatePartyRequest,
    CreateReservationRequest,
    PagedParties,
    PagedReservations,
    PartyAnswer,
    ReservationAnswer,
    SearchPartiesRequest,
    SearchReservationsRequest,
    UpdatePartyRequest,
    UpdateReservationRequest,
)
from adapters.edge.wire_orders import (
    CreateOrderLockRequest,
    CreateOrderRequest,
    ExtendOrderLockRequest,
    OrderAnswer,
    PagedOrders,
    PaymentWithLockId,
    SearchOrdersRequest,
)
from adapters.epos.bookings import Bookings
from adapters.epos.handlers import Handlers

Serve = Callable[..., object]
"""Takes the handlers, the ids of the path in their order, the body where there is one, and the `Caller` where the row says so."""

_ID = re.compile(r"\{(\w+)\}")


class Operation(NamedTuple):
    """One capability over HTTP; `path` as published. An `answer` of None has no body. `tag` and `summary` are for the document."""

    capability: str
    method: str
    path: str
    request: Any
    answer: Any
    serve: Serve
    tag: str
    summary: str
    names_caller: bool = False
    """It heeds on whose behalf Dojo calls: the `Caller` comes last."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the ids in the path, in their order."""
        return tuple(_ID.findall(self.path))

    @property
    def rule(self) -> str:
        """The path as Flask writes it. Dojo chooses the ids of locks: one with a slash in it must be found as well."""
        return _ID.sub(r"<\1>", self.path).replace("<lockId>", "<path:lockId>")


def _booked(serve: Serve) -> Serve:
    """A method of `Bookings`."""
    return lambda handlers, *given: serve(handlers.bookings, *given)


# fmt: off
OPERATIONS = (
    #         capability         method    path                                      body                    answer             served by               tag       summary
    Operation("CreateOrder",     "POST",   "/v1/orders",                             CreateOrderRequest,     OrderAnswer,       Handlers.create_order,  "Orders", "Create an order; the same dojoOrderId again is the first order."),
    Operation("GetOrderById",    "GET",    "/v1/orders/{orderId}",                   None,                   OrderAnswer,       Handlers.get_order,     "Orders", "Read an order as it is now."),
    Operation("CancelOrderById", "DELETE", "/v1/orders/{orderId}",                   None,                   OrderAnswer,       Handlers.cancel_order,  "Orders", "Cancel an order; 409 once money was taken."),
    Operation("SearchOrders",    "POST",   "/v1/orders/search",                      SearchOrdersRequest,    PagedOrders,       Handlers.search_orders, "Orders", "Find orders, newest first."),
    Operation("CreateOrderLock", "POST",   "/v1/orders/{orderId}/lock",              CreateOrderLockRequest, OrderAnswer,       Handlers.lock_order,    "Orders", "Lock an order; 409 says who holds it.", True),
    Operation("ExtendOrderLock", "PUT",    "/v1/orders/{orderId}/locks/{lockId}",    ExtendOrderLockRequest, Nothing,           Handlers.extend_lock,   "Orders", "Hold a lock for longer."),
    Operation("DeleteOrderLock", "DELETE", "/v1/orders/{orderId}/locks/{lockId}",    None,                   OrderAnswer,       Handlers.release_lock,  "Orders", "Release a lock; twice is once."),
    Operation("RecordOrderPayment", "POST", "/v1/orders/{orderId}/record-payment",   PaymentWithLockId,      OrderAnswer,       Handlers.record_payment, "Orders", "Record a payment; Dojo gives back what is answered with 409, the same again is 200 for ever."),
    Operation("GetOrderBill",    "GET",    "/v1/orders/{orderId}/bill",              None,                   OrderBill,         Handlers.get_bill,      "Orders", "Read an order with what is printed above and below it."),
    Operation("ListAreas",       "GET",    "/v1/areas",                              None,                   list[AreaBody],    Handlers.list_areas,    "Areas",  "List the areas as the till last gave them."),
    Operation("SearchTables",    "POST",   "/v1/tables/search",                      SearchTablesRequest,    list[PagedTables], Handlers.search_tables, "Tables", "Find tables by area and waiter."),
    Operation("CreateParty",           "POST",   "/v1/parties",                         CreatePartyRequest,        PartyAnswer,       _booked(Bookings.create_party),        "Parties",      "Seat a party; the same dojoPartyId and content again is the first party, and 409 says who has the table."),
    Operation("GetPartyById",          "GET",    "/v1/parties/{partyId}",               None,                      PartyAnswer,       _booked(Bookings.get_party),           "Parties",      "Read a party, also one that has left."),
    Operation("UpdatePartyById",       "PUT",    "/v1/parties/{partyId}",               UpdatePartyRequest,        PartyAnswer,       _booked(Bookings.update_party),        "Parties",      "Replace a party's details; with endTime it has left."),
    Operation("DeletePartyById",       "DELETE", "/v1/parties/{partyId}",               None,                      None,              _booked(Bookings.delete_party),        "Parties",      "Delete a party; twice is once."),
    Operation("SearchParties",         "POST",   "/v1/parties/search",                  SearchPartiesRequest,      PagedParties,      _booked(Bookings.search_parties),      "Parties",      "Find parties that have not left, or with completedOnly those that have, newest first."),
    Operation("CreateReservation",     "POST",   "/v1/reservations",                    CreateReservationRequest,  ReservationAnswer, _booked(Bookings.create_reservation),  "Reservations", "Take a reservation; the same dojoReservationId and content again is the first one."),
    Operation("GetReservationById",    "GET",    "/v1/reservations/{reservationId}",    None,                      ReservationAnswer, _booked(Bookings.get_reservation),     "Reservations", "Read a reservation."),
    Operation("UpdateReservationById", "PUT",    "/v1/reservations/{reservationId}",    UpdateReservationRequest,  ReservationAnswer, _booked(Bookings.update_reservation),  "Reservations", "Replace a reservation's details."),
    Operation("DeleteReservationById", "DELETE", "/v1/reservations/{reservationId}",    None,                      None,              _booked(Bookings.delete_reservation),  "Reservations", "Delete a reservation; twice is once."),
    Operation("SearchReservations",    "POST",   "/v1/reservations/search",             SearchReservationsRequest, PagedReservations, _booked(Bookings.search_reservations), "Reservations", "Find reservations by table and time, newest first."),
)
# fmt: on
