"""What Dojo can ask a POS for, what this version answers, and how that differs from what is registered.

Source: contract §3 (the capabilities) and §4.2 (registration); EPOS Data API for paths, Dojo API 2026-02-27 for the integration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

VERSION = "v1"
"""The only version that Dojo routes; the published examples' `1.0.0` is not one."""


class Capability(NamedTuple):
    """One thing that Dojo may ask for. Dojo takes the newer names in `aliases` as equal to `name`."""

    name: str
    method: str
    path: str
    aliases: tuple[str, ...] = ()


# fmt: off
CAPABILITIES = (
    #          name                                         method    path                                 also known as
    Capability("CreateOrder",                               "POST",   "/v1/orders"),
    Capability("GetOrderById",                              "GET",    "/v1/orders/{orderId}"),
    Capability("CancelOrderById",                           "DELETE", "/v1/orders/{orderId}"),
    Capability("SearchOrders",                              "POST",   "/v1/orders/search"),
    Capability("HandleEvent:payment_intent.created",        "POST",   "/v1/events"),
    Capability("HandleEvent:payment_intent.status_updated", "POST",   "/v1/events"),
    Capability("RecordOrderPayment",                        "POST",   "/v1/orders/{orderId}/record-payment", ("RecordOrderPaymentById",)),
    Capability("CreateOrderLock",                           "POST",   "/v1/orders/{orderId}/lock"),
    Capability("ExtendOrderLock",                           "PUT",    "/v1/orders/{orderId}/locks/{lockId}"),
    Capability("DeleteOrderLock",                           "DELETE", "/v1/orders/{orderId}/locks/{lockId}"),
    Capability("GetOrderBill",                              "GET",    "/v1/orders/{orderId}/bill",           ("GetOrderBillById",)),
    Capability("ListAreas",                                 "GET",    "/v1/areas"),
    Capability("SearchTables",                              "POST",   "/v1/tables/search"),
    Capability("CreateParty",                               "POST",   "/v1/parties"),
    Capability("GetPartyById",                              "GET",    "/v1/parties/{partyId}"),
    Capability("UpdatePartyById",                           "PUT",    "/v1/parties/{partyId}",               ("UpdateParty",)),
    Capability("DeletePartyById",                           "DELETE", "/v1/parties/{partyId}"),
    Capability("SearchParties",                             "POST",   "/v1/parties/search"),
    Capability("CreateReservation",                         "POST",   "/v1/reservations"),
    Capability("GetReservationById",                        "GET",    "/v1/reservations/{reservationId}"),
    Capability("UpdateReservationById",                     "PUT",    "/v1/reservations/{reservationId}",    ("UpdateReservation",)),
    Capability("DeleteReservationById",                     "DELETE", "/v1/reservations/{reservationId}"),
    Capability("SearchReservations",                        "POST",   "/v1/reservations/search"),
)
# fmt: on

SERVED = (
    "CreateOrder",
    "GetOrderById",
    "CancelOrderById",
    "SearchOrders",
    "HandleEvent:payment_intent.created",
    "HandleEvent:payment_intent.status_updated",
    "RecordOrderPayment",
    "CreateOrderLock",
    "ExtendOrderLock",
    "DeleteOrderLock",
    "GetOrderBill",
    "ListAreas",
    "SearchTables",
    "CreateParty",
    "GetPartyById",
    "UpdatePartyById",
    "DeletePartyById",
    "SearchParties",
    "CreateReservation",
    "GetReservationById",
    "UpdateReservationById",
    "DeleteReservationById",
    "SearchReservations",
)
"""What this version answers and therefore registers."""


Need = Literal["required", "useful", ""]


class Use(NamedTuple):
    """What Dojo does with a capability, and whether a flow needs it: there is no published list, so this is read from the flows' pages."""

    meaning: str
    order_and_pay: Need = ""
    pay_only: Need = ""


# fmt: off
USES = {
    # capability                                     what Dojo does with it                                    Order and Pay  Pay-only
    "CreateOrder":                               Use("Puts an order that was made on a phone on the till.",    "required"),
    "GetOrderById":                              Use("Reads an order: what it comes to, and what is paid.",    "required",    "required"),
    "CancelOrderById":                           Use("Cancels an order that nobody paid.",                     "useful"),
    "SearchOrders":                              Use("Finds the open bills of a table.",                       "required",    "required"),
    "HandleEvent:payment_intent.created":        Use("Tells us that somebody began to pay.",                   "useful",      "required"),
    "HandleEvent:payment_intent.status_updated": Use("Tells us that money was held, taken or given back.",     "required",    "required"),
    "RecordOrderPayment":                        Use("Records a payment on the bill, in words.",               "useful",      "useful"),
    "CreateOrderLock":                           Use("Keeps others from paying the same bill at once.",        "useful",      "useful"),
    "ExtendOrderLock":                           Use("Keeps such a lock for longer.",                          "useful",      "useful"),
    "DeleteOrderLock":                           Use("Lets such a lock go.",                                   "useful",      "useful"),
    "GetOrderBill":                              Use("Prints the bill on a card machine."),
    "ListAreas":                                 Use("Lists the areas of the venue, for bookings."),
    "SearchTables":                              Use("Lists the tables, for bookings."),
    "CreateParty":                               Use("Seats a party."),
    "GetPartyById":                              Use("Reads a party."),
    "UpdatePartyById":                           Use("Changes a party."),
    "DeletePartyById":                           Use("Takes a party off its table."),
    "SearchParties":                             Use("Lists the parties."),
    "CreateReservation":                         Use("Takes a reservation."),
    "GetReservationById":                        Use("Reads a reservation."),
    "UpdateReservationById":                     Use("Changes a reservation."),
    "DeleteReservationById":                     Use("Cancels a reservation."),
    "SearchReservations":                        Use("Lists the reservations."),
}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class RestIntegration:
    """A POS as Dojo knows it: the base URL that it calls, as whom, for which (name, version) pairs. Dojo never tells the password."""

    url: str
    username: str
    capabilities: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(RestIntegration):
    """The integration to register: what Dojo will know, and the password that it will present. Registering replaces all of it."""

    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Registered beside wanted; names in our spelling, in the list's order. Passwords cannot be compared: Dojo keeps them back."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    version_differs: tuple[str, ...]
    url_differs: bool
    username_differs: bool

    @property
    def is_none(self) -> bool:
        """Dojo would call us exactly as we want it to, as far as it tells."""
        return not (self.missing or self.extra or self.version_differs or self.url_differs or self.username_differs)


def wanted(public_url: str, username: str, password: str) -> Registration:
    """The registration of everything that is SERVED. Dojo appends `/v1/…` to `public_url`, so it goes without a trailing slash."""
    return Registration(
        url=public_url.rstrip("/"), username=username, password=password, capabilities=tuple((name, VERSION) for name in SERVED)
    )


def difference(registered: RestIntegration | None, wanted: RestIntegration) -> Difference:
    """What registering `wanted` would change; `registered` is None where Dojo knows nothing of us."""
    known = registered or RestIntegration(url="", username="", capabilities=())
    theirs, ours = versions_of(known), versions_of(wanted)
    return Difference(
        missing=tuple(name for name in ours if name not in theirs),
        extra=tuple(name for name in theirs if name not in ours),
        version_differs=tuple(name for name in ours if name in theirs and theirs[name] != ours[name]),
        url_differs=known.url.rstrip("/") != wanted.url.rstrip("/"),
        username_differs=known.username != wanted.username,
    )


_NAMES = {alias: capability.name for capability in CAPABILITIES for alias in capability.aliases}


def versions_of(integration: RestIntegration) -> dict[str, set[str]]:
    """The versions of each capability by its name in CAPABILITIES; a name that is not there stands for itself."""
    versions: dict[str, set[str]] = {}
    for name, version in integration.capabilities:
        versions.setdefault(_NAMES.get(name, name), set()).add(version)
    return versions
