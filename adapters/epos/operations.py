"""Dojo's capabilities as rows: what is asked where, with which body, and what is answered.

The routes and the OpenAPI document read these rows; what a row does is in `handlers.py`, free of transport.
Source: contract §3; EPOS Data API for paths, parameters and bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from adapters.edge.bill import OrderBill
from adapters.edge.wire import (
    AreaBody,
    CreateOrderLockRequest,
    CreateOrderRequest,
    ExtendOrderLockRequest,
    Nothing,
    OrderAnswer,
    PagedOrders,
    PagedTables,
    PaymentWithLockId,
    SearchOrdersRequest,
    SearchTablesRequest,
)
from adapters.epos.handlers import Handlers

Serve = Callable[..., object]
"""Takes the handlers, the ids of the path in their order, the body where there is one, and the `Caller` where the row says so."""

_ID = re.compile(r"\{(\w+)\}")


class Operation(NamedTuple):
    """One capability over HTTP; `path` as published. `tag` and `summary` are for the document."""

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
        """The path as Flask writes it."""
        return _ID.sub(r"<\1>", self.path)


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
)
# fmt: on
