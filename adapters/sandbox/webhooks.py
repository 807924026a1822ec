"""Webhook subscriptions: who wants which events at which URL, and the secrets that sign them. Contract §5.3 and §5.4."""

from __future__ import annotations

import hashlib
import hmac
import threading
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from adapters.sandbox.errors import InvalidRequest, UnknownWebhook, WebhookClash
from adapters.sandbox.identifiers import SUBSCRIPTION, WEBHOOK_KEY, IdMaker
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED
from workflow.clock import Clock, to_text

EVENTS = (EVENT_CREATED, EVENT_STATUS_UPDATED)
SIGNATURE_HEADER = "dojo-signature"
MAX_SECRETS = 5
EventNames = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=len(EVENTS))]


class SubscriptionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /webhooks`."""

    events: EventNames
    url: str
    description: str | None = None


class SubscriptionUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PATCH /webhooks/{id}`: what is absent stays."""

    events: EventNames | None = None
    url: str | None = None
    description: str | None = None


class Secret(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One secret of a subscription; only active ones sign."""

    id: str
    value: str
    created_at: str
    is_active: bool

    def __repr__(self) -> str:
        return f"Secret(id={self.id!r}, is_active={self.is_active})"


class Subscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One subscription, as Dojo answers it."""

    id: str
    account_id: str
    events: tuple[str, ...]
    url: str
    secrets: tuple[Secret, ...]
    created_at: str
    updated_at: str
    description: str | None = None


class Webhooks:
    """The account's subscriptions; each event has at most one. All that take an id raise UnknownWebhook."""

    def __init__(self, *, clock: Clock, new_id: IdMaker, account_id: str) -> None:
        self._clock = clock
        self._new_id = new_id
        self._account_id = account_id
        self._lock = threading.RLock()
        self._subscriptions: dict[str, Subscription] = {}
        self._signing: dict[str, str] = {}

    def all(self) -> tuple[Subscription, ...]:
        """Every subscription, oldest first."""
        with self._lock:
            return tuple(self._subscriptions.values())

    def subscribe(self, request: SubscriptionRequest) -> Subscription:
        """A new subscription with one active secret. Raises InvalidRequest, WebhookClash."""
        now, secret = to_text(self._clock.now()), self._new_secret(is_active=True)
        made = Subscription(
            id=self._new_id(SUBSCRIPTION),
            account_id=self._account_id,
            events=request.events,
            url=request.url,
            description=request.description,
            secrets=(secret,),
            created_at=now,
            updated_at=now,
        )
        with self._lock:
            self._refuse(made)
            self._subscriptions[made.id], self._signing[made.id] = made, secret.id
        return made

    def update(self, subscription_id: str, update: SubscriptionUpdate) -> Subscription:
        """Change what the update names. Raises InvalidRequest, WebhookClash; the subscription is then unchanged."""
        named = {name: value for name, value in msgspec.structs.asdict(update).items() if value is not None}
        with self._lock:
            after = self._changed(self._find(subscription_id), **named)
            self._refuse(after)
            return self._keep(after)

    def remove(self, subscription_id: str) -> None:
        """Nothing is sent there any more."""
        with self._lock:
            self._find(subscription_id)
            del self._subscriptions[subscription_id], self._signing[subscription_id]

    def secrets(self, subscription_id: str) -> tuple[Secret, ...]:
        """The secrets, oldest first."""
        with self._lock:
            return self._find(subscription_id).secrets

    def add_secret(self, subscription_id: str) -> tuple[Secret, ...]:
        """One more secret, which signs nothing until it is activated. Raises WebhookClash beyond `MAX_SECRETS`."""
        with self._lock:
            subscription = self._find(subscription_id)
            if len(subscription.secrets) >= MAX_SECRETS:
                raise WebhookClash(f"{subscription_id} has {MAX_SECRETS} secrets; delete one first")
            secrets = (*subscription.secrets, self._new_secret(is_active=False))
            return self._keep(self._changed(subscription, secrets=secrets)).secrets

    def activate(self, subscription_id: str, secret_id: str) -> None:
        """From now on this secret signs; the one before stays active until it is deleted."""
        with self._lock:
            subscription = self._find(subscription_id)
            self._secret(subscription, secret_id)
            secrets = tuple(
                msgspec.structs.replace(secret, is_active=secret.is_active or secret.id == secret_id) for secret in subscription.secrets
            )
            self._keep(self._changed(subscription, secrets=secrets))
            self._signing[subscription_id] = secret_id

    def remove_secret(self, subscription_id: str, secret_id: str) -> None:
        """Raises WebhookClash for the last active one: an event without a signature is worth nothing."""
        with self._lock:
            subscription = self._find(subscription_id)
            self._secret(subscription, secret_id)
            left = tuple(secret for secret in subscription.secrets if secret.id != secret_id)
            active = [secret.id for secret in left if secret.is_active]
            if not active:
                raise WebhookClash(f"{secret_id} is the only active secret of {subscription_id}; activate another one first")
            if self._signing[subscription_id] == secret_id:
                self._signing[subscription_id] = active[-1]
            self._keep(self._changed(subscription, secrets=left))

    def subscribed_to(self, event: str) -> Subscription | None:
        """The one subscription to this event, where there is one."""
        with self._lock:
            return next((one for one in self._subscriptions.values() if event in one.events), None)

    def signature(self, subscription_id: str, raw: bytes) -> str:
        """The header's value for this body, by the secret that was activated last."""
        with self._lock:
            secret = self._secret(self._find(subscription_id), self._signing[subscription_id])
        return sign(raw, secret.value)

    def _find(self, subscription_id: str) -> Subscription:
        found = self._subscriptions.get(subscription_id)
        if found is None:
            raise UnknownWebhook(f"no webhook subscription {subscription_id}")
        return found

    def _secret(self, subscription: Subscription, secret_id: str) -> Secret:
        for secret in subscription.secrets:
            if secret.id == secret_id:
                return secret
        raise UnknownWebhook(f"subscription {subscription.id} has no secret {secret_id}")

    def _new_secret(self, *, is_active: bool) -> Secret:
        return Secret(id=self._new_id(WEBHOOK_KEY), value=self._new_id(""), created_at=to_text(self._clock.now()), is_active=is_active)

    def _changed(self, subscription: Subscription, **changes: object) -> Subscription:
        return msgspec.structs.replace(subscription, **changes, updated_at=to_text(self._clock.now()))

    def _keep(self, subscription: Subscription) -> Subscription:
        self._subscriptions[subscription.id] = subscription
        return subscription

    def _refuse(self, wanted: Subscription) -> None:
        """Raises what is wrong with the subscription as it is wanted."""
        if unknown := set(wanted.events) - set(EVENTS):
            raise InvalidRequest(f"events: no such event {', '.join(sorted(unknown))}; there are {', '.join(EVENTS)}")
        if not _is_allowed(wanted.url):
            raise InvalidRequest("url: https, or in this sandbox http on loopback, with a host and without user information")
        for other in self._subscriptions.values():
            if other.id != wanted.id and (both := set(other.events) & set(wanted.events)):
                raise WebhookClash(f"one webhook an event: {', '.join(sorted(both))} goes to {other.id} already")


def sign(raw: bytes, secret: str) -> str:
    """`sha256=4B-49-…`: HMAC over the body's bytes, keyed with the secret's UTF-8 bytes. Contract §5.3."""
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).digest()
    return "sha256=" + digest.hex("-").upper()


def _is_allowed(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:  # urllib's answer to unbalanced brackets and impossible ports
        return False
    return usable and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
