"""Refunds with their idempotency keys: the same key gives money back once. Contract §7.6."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from adapters.sandbox.errors import IntentRefused, InvalidRequest, UnknownRefund
from adapters.sandbox.identifiers import REFUND, IdMaker
from adapters.sandbox.intents import Intents
from workflow.money import Money

MAX_KEY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """What is asked for; `amount` in minor units of the intent's currency."""

    intent_id: str
    amount: int
    reason: str | None = None
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund that was made."""

    id: str
    request: RefundRequest


class Refunds:
    """Every refund, by id and by key; keys are the account's, not the intent's."""

    def __init__(self, *, intents: Intents, new_id: IdMaker) -> None:
        self._intents = intents
        self._new_id = new_id
        self._lock = threading.Lock()
        self._by_id: dict[str, Refund] = {}
        self._by_key: dict[str, Refund] = {}

    def give(self, key: str, request: RefundRequest) -> tuple[Refund, bool]:
        """The refund, and whether it is new; the same key and content again is the first refund, whatever became of the intent.

        Raises UnknownIntent; InvalidRequest on a missing or reused key, and where Dojo does not allow the refund (it declares no 409).
        """
        if not 1 <= len(key) <= MAX_KEY:
            raise InvalidRequest(f"header IdempotencyKey is required, of at most {MAX_KEY} characters")
        with self._lock:
            if earlier := self._by_key.get(key):
                if earlier.request != request:
                    raise InvalidRequest(f"IdempotencyKey {key} was used for another refund, {earlier.id}")
                return earlier, False
            self._take(request)
            made = Refund(self._new_id(REFUND), request)
            self._by_id[made.id] = self._by_key[key] = made
            return made, True

    def read(self, refund_id: str) -> Refund:
        """Raises UnknownRefund."""
        with self._lock:
            if found := self._by_id.get(refund_id):
                return found
        raise UnknownRefund(f"no refund {refund_id}")

    def _take(self, request: RefundRequest) -> None:
        intent = self._intents.read(request.intent_id)
        try:
            self._intents.refund(intent.id, Money(request.amount, intent.amount.currency))
        except IntentRefused as error:
            raise InvalidRequest(str(error)) from error
