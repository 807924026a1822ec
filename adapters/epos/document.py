"""Dojo's side as an OpenAPI document: the capabilities, Dojo's events, and what needs no credentials."""

from __future__ import annotations

from adapters.edge import api_page
from adapters.edge.openapi import Call, Parameter, Schema, document
from adapters.edge.wire import EventRequestBody, Nothing
from adapters.epos.operations import OPERATIONS, Operation

TITLE = "Tillproof, Dojo's side"
DESCRIPTION = (
    "What Dojo asks of the POS, as Dojo's EPOS Data API has it, with the limits that hold here. A 2xx answer to a change means that "
    "the change is on disk. The same request again changes nothing and gets the order as it is now. Unknown fields are dropped; null "
    "counts as absent. Bodies are JSON in UTF-8 with unique keys, without NUL, at most 32 levels deep and 1 MiB long unless set otherwise."
)
SCHEMES: dict[str, Schema] = {
    "basic": {"type": "http", "scheme": "basic", "description": "The username and password that were registered with Dojo."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "dojo-signature",
        "description": "sha256= and the HMAC-SHA256 of the raw body with a secret of the webhook, in hex, bytes joined by hyphens.",
    },
}

IDS = {
    "ListAreas": "v1-list-areas",
    "CreateOrder": "v1-post-orders",
    "GetOrderById": "v1-get-orders-orderId",
    "CancelOrderById": "v1-delete-orders-orderId",
    "CreateOrderLock": "v1-post-order-lock",
    "ExtendOrderLock": "v1-put-extend-order-lock",
    "DeleteOrderLock": "v1-delete-order-lock",
    "GetOrderBill": "v1-get-orders-bill",
    "RecordOrderPayment": "v1-post-record-order-payment",
    "CreateParty": "v1-post-parties",
    "GetPartyById": "v1-get-parties-partyId",
    "UpdatePartyById": "v1-put-parties-partyId",
    "DeletePartyById": "v1-delete-parties-partyId",
    "SearchParties": "v1-search-parties",
    "CreateReservation": "v1-post-reservations",
    "GetReservationById": "v1-get-reservations-reservationId",
    "UpdateReservationById": "v1-put-reservations-reservationId",
    "DeleteReservationById": "v1-delete-reservations-reservationId",
    "SearchReservations": "v1-search-reservations",
    "SearchTables": "v1-search-tables",
}
"""The published operation ids; SearchOrders has none, there the capability's name stands."""

WHO_ASKS = (
    Parameter("waiter-id", "The waiter who asks, if known", "42"),
    Parameter("dojo-requesting-product", "The Dojo product that asks, if known", "Order&Pay"),
    Parameter("device-id", "The device that asks, if known", "tm_sandbox_65c5fe8a104a1222b2d8b968"),
    Parameter("device-type", "What asks, if known", "Dojo Terminal"),
)
SIGNATURE = Parameter(
    "dojo-signature",
    "Must be good where it is sent and secrets are set",
    "sha256=4B-49-F8-FE-25-A7-E6-7D-00-4F-A7-9C-F8-0B-63-00-C7-77-B4-F2-2D-E5-E1-22-84-FA-04-18-50-A1-76-FD",
)


# fmt: off
CALLS = (
    Call(id="HandleEvent", method="POST", path="/v1/events",     tag="Events",  request=EventRequestBody, answer=Nothing, security="basic",     summary="Take an event; it is a hint, and counts nothing by itself.", headers=(*WHO_ASKS, SIGNATURE)),
    Call(id="webhook",     method="POST", path="/webhooks/dojo", tag="Events",  request=EventRequestBody, answer=Nothing, security="signature", summary="Take the same events, signed instead of with credentials."),
    Call(id="healthz",     method="GET",  path="/healthz",       tag="Service", answer=str, media="text/plain", stores=False, summary="200 while the process lives."),
    *api_page.CALLS,
)
# fmt: on
"""What is served beside the capabilities of OPERATIONS."""


def dojo_document() -> Schema:
    """The document of Dojo's side."""
    return document(TITLE, DESCRIPTION, (*map(_call, OPERATIONS), *CALLS), SCHEMES)


def _call(operation: Operation) -> Call:
    changes = operation.method != "GET" and not operation.path.endswith("/search")
    return Call(
        id=IDS.get(operation.capability, operation.capability),
        method=operation.method,
        path=operation.path,
        tag=operation.tag,
        summary=operation.summary,
        request=operation.request,
        answer=operation.answer,
        headers=WHO_ASKS,
        security="basic",
        refuses=changes,
    )
