"""Dojo's API as far as a POS uses it: payment intents, registrations, events of the POS. Bodies as in Dojo's published schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from flask import Blueprint, Response, g, request

from adapters.sandbox.errors import InvalidRequest
from adapters.sandbox.intents import Intents, Status
from adapters.sandbox.registry import Integrations, RestIntegrationRequest
from adapters.sandbox.search import DEFAULT_PAGE, MAX_PAGE, Search, find
from adapters.sandbox.server import also, answer, parsed
from adapters.sandbox.sightings import IntentRead, OrderTold
from adapters.sandbox.wire import intent_body

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
SUBJECTS = {"OrderUpdated": "orderId", "PartyUpdated": "partyId", "ReservationUpdated": "reservationId"}


class Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins, and how long it is."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    before: str | None = None
    after: str | None = None


class SearchRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /payment-intents/search`."""

    statuses: tuple[Status, ...] | None = None
    start_date: AwareTime | None = None
    end_date: AwareTime | None = None
    cursor: Cursor | None = None


class EventSubject(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Whom an event of the POS is about: exactly one of the three."""

    order_id: Id | None = None
    party_id: Id | None = None
    reservation_id: Id | None = None


class EventRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `POST /epos/events`, and its answer."""

    event_type: Literal["OrderUpdated", "PartyUpdated", "ReservationUpdated"]
    event: EventSubject


EVENT = msgspec.json.Decoder(EventRequest)
REGISTRATION = msgspec.json.Decoder(RestIntegrationRequest)
SEARCH = msgspec.json.Decoder(SearchRequest)


class DojoApi:
    """The views; each leaves in `flask.g` what the record of messages says of it, and what flows wait for."""

    def __init__(self, *, integrations: Integrations, intents: Intents) -> None:
        self._integrations = integrations
        self._intents = intents

    def routes(self) -> Blueprint:
        """Every route, spelt as Dojo spells it."""
        routes = Blueprint("dojo_api", __name__)
        routes.add_url_rule("/payment-intents/<intent_id>", view_func=self.read_intent)
        routes.add_url_rule("/payment-intents/search", view_func=self.search_intents, methods=["POST"])
        routes.add_url_rule("/epos/events", view_func=self.take_event, methods=["POST"])
        routes.add_url_rule("/epos/integrations", view_func=self.integrations)
        routes.add_url_rule("/epos/integrations/rest", view_func=self.rest_integrations)
        routes.add_url_rule("/epos/integrations/rest", view_func=self.register, methods=["PUT"])
        routes.add_url_rule("/epos/integrations/ws", "ws_integrations", view_func=self.no_integrations)
        routes.add_url_rule("/epos/integrations/dojo", "dojo_integrations", view_func=self.no_integrations)
        return routes

    def read_intent(self, intent_id: str) -> Response:
        """`PaymentIntents_Get`."""
        return_canceled = request.args.get("returnCanceled", "false").lower() == "true"
        intent = self._intents.read(intent_id, return_canceled=return_canceled)
        g.fact = IntentRead(intent.id, intent.status)
        g.note = also(intent.status)
        return answer(intent_body(intent))

    def search_intents(self) -> Response:
        """`PaymentIntents_Search`."""
        asked = parsed(SEARCH)
        cursor = asked.cursor or Cursor()
        search = Search(
            statuses=asked.statuses or get_args(Status),
            start=asked.start_date,
            end=asked.end_date,
            limit=cursor.limit,
            before=cursor.before,
            after=cursor.after,
        )
        page = find(self._intents.all(), search)
        g.note = also(f"{len(page.intents)} found")
        cursors = {"before": page.before, "after": page.after}
        return answer({"data": [intent_body(intent) for intent in page.intents]} | {k: v for k, v in cursors.items() if v})

    def take_event(self) -> Response:
        """The POS says that something changed; Dojo reads it afterwards."""
        told = parsed(EVENT)
        ids = msgspec.to_builtins(told.event)
        wanted = SUBJECTS[told.event_type]
        if list(ids) != [wanted]:
            raise InvalidRequest(f"event of {told.event_type}: exactly {wanted} is wanted, came {', '.join(ids) or 'nothing'}")
        g.note = also(f"{told.event_type} {ids[wanted]}")
        if told.event.order_id:
            g.fact = OrderTold(told.event.order_id)
        return answer(told)

    def register(self) -> Response:
        """`PUT /epos/integrations/rest`: the whole list, replacing the last."""
        asked = parsed(REGISTRATION)
        self._integrations.replace(asked)
        g.note = also(f"{len(asked.capabilities)} capabilities")
        return answer(self._integrations.rest())

    def rest_integrations(self) -> Response:
        """`GET /epos/integrations/rest`."""
        return answer(self._integrations.rest())

    def no_integrations(self) -> Response:
        """Of a kind that this sandbox does not have."""
        return answer([])

    def integrations(self) -> Response:
        """`GET /epos/integrations`."""
        return answer({"restIntegrations": self._integrations.rest(), "wsIntegrations": [], "dojoManagedIntegrations": []})
