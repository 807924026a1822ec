"""Webhook administration over Dojo's API. Contract §5.4."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response

from adapters.sandbox.server import answer, parsed
from adapters.sandbox.webhooks import EVENTS, SubscriptionRequest, SubscriptionUpdate, Webhooks

REQUEST = msgspec.json.Decoder(SubscriptionRequest)
UPDATE = msgspec.json.Decoder(SubscriptionUpdate)


class WebhooksApi:
    """The views."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def routes(self) -> Blueprint:
        """Every route, spelt as Dojo spells it."""
        routes = Blueprint("webhooks_api", __name__, url_prefix="/webhooks")
        routes.add_url_rule("/events", view_func=self.events)
        routes.add_url_rule("", "all", view_func=self.all)
        routes.add_url_rule("", view_func=self.subscribe, methods=["POST"])
        routes.add_url_rule("/<subscription_id>", view_func=self.update, methods=["PATCH"])
        routes.add_url_rule("/<subscription_id>", view_func=self.remove, methods=["DELETE"])
        routes.add_url_rule("/<subscription_id>/secrets", view_func=self.secrets)
        routes.add_url_rule("/<subscription_id>/secrets", view_func=self.add_secret, methods=["POST"])
        routes.add_url_rule("/<subscription_id>/secrets/<secret_id>/activate", view_func=self.activate, methods=["PUT"])
        routes.add_url_rule("/<subscription_id>/secrets/<secret_id>", view_func=self.remove_secret, methods=["DELETE"])
        return routes

    def events(self) -> Response:
        """What may be subscribed to."""
        return answer([{"model": "payment_intent", "events": EVENTS}])

    def all(self) -> Response:
        """Every subscription."""
        return answer(self._webhooks.all())

    def subscribe(self) -> Response:
        """A new subscription, with its first secret."""
        return answer(self._webhooks.subscribe(parsed(REQUEST)))

    def update(self, subscription_id: str) -> Response:
        """Other events, another URL or description."""
        return answer(self._webhooks.update(subscription_id, parsed(UPDATE)))

    def remove(self, subscription_id: str) -> Response:
        """The end of a subscription."""
        self._webhooks.remove(subscription_id)
        return Response(status=204)

    def secrets(self, subscription_id: str) -> Response:
        """The subscription's secrets, values included, as Dojo shows them."""
        return answer({"id": subscription_id, "secrets": self._webhooks.secrets(subscription_id)})

    def add_secret(self, subscription_id: str) -> Response:
        """One more secret, not active yet."""
        return answer({"id": subscription_id, "secrets": self._webhooks.add_secret(subscription_id)})

    def activate(self, subscription_id: str, secret_id: str) -> Response:
        """From now on this one signs."""
        self._webhooks.activate(subscription_id, secret_id)
        return Response(status=204)

    def remove_secret(self, subscription_id: str, secret_id: str) -> Response:
        """The end of a secret."""
        self._webhooks.remove_secret(subscription_id, secret_id)
        return Response(status=204)
