"""The ways an event goes to the POS: the capability `HandleEvent`, a webhook, or both. Contract §5.2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from adapters.sandbox.calls import Answer, Call, answer_to
from adapters.sandbox.errors import UnknownWebhook
from adapters.sandbox.faults import Faults
from adapters.sandbox.pos import Caller, PosClient
from adapters.sandbox.registry import Integrations
from adapters.sandbox.traffic import UNANSWERED, Traffic
from adapters.sandbox.webhooks import SIGNATURE_HEADER, Webhooks

EVENTS_PATH = "/v1/events"
Choice = Literal["registered", "capability", "webhook", "both"]
"""`registered`: every way that the POS has registered, which may be both."""


def capability(event: str) -> str:
    """The capability that brings this event."""
    return f"HandleEvent:{event}"


class Channel(Protocol):
    """One way to one receiver. `receiver` names it in sentences, `path` in the record of messages."""

    @property
    def receiver(self) -> str:
        """As in "the POS took the event"."""

    @property
    def path(self) -> str:
        """Where it goes."""

    def deliver(self, body: Mapping[str, object], note: str) -> Answer:
        """Send it once, recorded; any 2xx is delivered."""


class HandleEvent:
    """`POST {url}/v1/events` of a POS."""

    receiver = "the POS"
    path = EVENTS_PATH

    def __init__(self, client: PosClient) -> None:
        self._client = client

    def deliver(self, body: Mapping[str, object], note: str) -> Answer:
        """With the POS's credentials, unsigned."""
        return self._client.call("POST", EVENTS_PATH, body, note=note)


class Webhook:
    """A subscription's URL."""

    receiver = "the webhook"

    def __init__(self, subscription_id: str, url: str, *, webhooks: Webhooks, traffic: Traffic) -> None:
        self._id, self._url, self._webhooks, self._traffic = subscription_id, url, webhooks, traffic

    @property
    def path(self) -> str:
        """Of the subscription's URL."""
        return urlsplit(self._url).path or "/"

    def deliver(self, body: Mapping[str, object], note: str) -> Answer:
        """Signed with the secret that is active now, which may have changed since the last attempt."""
        raw, began = msgspec.json.encode(body), self._traffic.now()
        try:
            headers = {"content-type": "application/json", SIGNATURE_HEADER: self._webhooks.signature(self._id, raw)}
        except UnknownWebhook as error:
            return Answer(UNANSWERED, problem=str(error))
        answer = answer_to(Call(method="POST", url=self._url, body=raw, headers=headers))
        noted = f"{note} (webhook): {answer.problem}" if answer.problem else f"{note} (webhook)"
        self._traffic.record("<-", "POST", self.path, status=answer.status, began=began, note=noted)
        return answer


class Channels:
    """Chooses the ways of an event by what is registered."""

    def __init__(self, *, integrations: Integrations, rules: Faults, webhooks: Webhooks, traffic: Traffic) -> None:
        self._integrations, self._rules, self._webhooks, self._traffic = integrations, rules, webhooks, traffic

    def missing(self, events: Iterable[str], choice: Choice) -> list[str]:
        """The capabilities that must be registered for `events` to arrive as chosen, and are needed for nothing else."""
        by_webhook = self._has_webhook if choice == "registered" else lambda event: choice == "webhook"
        return [capability(event) for event in events if not by_webhook(event)]

    def unsubscribed(self, events: Iterable[str], choice: Choice) -> list[str]:
        """The events that are to go to a webhook and have none."""
        return [event for event in events if choice in {"webhook", "both"} and not self._has_webhook(event)]

    def of(self, event: str, choice: Choice, client: PosClient | None) -> tuple[Channel, ...]:
        """The ways of one event; `client` is None where the POS does not take it by capability."""
        ways: list[Channel] = []
        if client and choice != "webhook":
            ways.append(HandleEvent(client))
        if choice != "capability" and (found := self._webhooks.subscribed_to(event)):
            ways.append(Webhook(found.id, found.url, webhooks=self._webhooks, traffic=self._traffic))
        return tuple(ways)

    def registered(self, event: str) -> tuple[Channel, ...]:
        """Every way that is registered for this event, maybe none."""
        pos = self._integrations.of(capability(event))
        return self.of(
            event,
            "registered",
            PosClient(pos, caller=Caller(product="Order&Pay"), rules=self._rules, traffic=self._traffic) if pos else None,
        )

    def _has_webhook(self, event: str) -> bool:
        return self._webhooks.subscribed_to(event) is not None
