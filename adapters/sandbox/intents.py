"""The ledger: every payment intent, and what Dojo allows to be done with it. Contract §7.

Amounts are `Money`; an intent never changes, the ledger replaces it. Time passes by the clock alone: an intent that nobody
paid is cancelled, an authorisation that nobody captured is released or captured, when it is next looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from adapters.sandbox.errors import IntentRefused, UnknownIntent
from adapters.sandbox.identifiers import CAPTURE, INTENT, IdMaker
from workflow.clock import Clock
from workflow.money import Money, zero

Status = Literal["Created", "Authorized", "Captured", "Reversed", "Refunded", "Canceled"]
CaptureMode = Literal["Auto", "Manual"]
AutoExpireAction = Literal["Release", "Capture"]
Move = Literal["authorise", "capture", "reverse", "refund", "cancel"]

LIFE_UNPAID = timedelta(days=30)
LIFE_AUTHORISED = timedelta(days=7)
MAX_REFERENCE = 60

# fmt: off
MOVES: dict[tuple[Move, CaptureMode, Status], Status] = {
    #  asked        mode      in status        leads to
    ("authorise", "Manual", "Created"):     "Authorized",
    ("capture",   "Manual", "Authorized"):  "Captured",
    ("capture",   "Manual", "Captured"):    "Captured",    # the next part of what was authorised
    ("capture",   "Auto",   "Created"):     "Captured",
    ("reverse",   "Manual", "Authorized"):  "Reversed",
    ("reverse",   "Auto",   "Captured"):    "Reversed",    # on the same calendar day only
    ("refund",    "Manual", "Captured"):    "Refunded",    # once all is given back; until then it stays Captured
    ("refund",    "Auto",   "Captured"):    "Refunded",
    ("cancel",    "Manual", "Created"):     "Canceled",
    ("cancel",    "Auto",   "Created"):     "Canceled",
}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentCapture:
    """One capture of a Manual intent; `amount` holds the service charge and not the tips."""

    id: str
    amount: Money
    tips: Money
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A payment intent. `amount` is without service charge and tips, as Dojo's is; `refunded` counts all three."""

    id: str
    status: Status
    capture_mode: CaptureMode
    amount: Money
    service_charge: Money
    tips: Money
    refunded: Money
    reference: str
    description: str | None
    dojo_order_id: str | None
    external_id: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    expire_at: datetime
    auto_expire_in: timedelta
    auto_expire_action: AutoExpireAction
    authorised_at: datetime | None = None
    captured_at: datetime | None = None
    captures: tuple[IntentCapture, ...] = ()

    @property
    def due(self) -> Money:
        """What the order counts as paid by this intent: everything but tips."""
        return self.amount + self.service_charge

    @property
    def total(self) -> Money:
        """What the customer's card is charged."""
        return self.due + self.tips

    @property
    def taken(self) -> Money:
        """What was captured so far, tips included."""
        if self.capture_mode == "Auto":
            return self.total if self.captured_at else zero(self.amount.currency)
        return sum((capture.amount + capture.tips for capture in self.captures), zero(self.amount.currency))

    @property
    def counted(self) -> tuple[Money, Money]:
        """(paid, tips) that its order should show: what was captured, less refunds, which take from `paid` first (contract §8.4)."""
        nothing = zero(self.amount.currency)
        if self.status not in {"Captured", "Refunded"}:
            return nothing, nothing
        paid, tips = self.due, self.tips
        if self.capture_mode == "Manual":
            paid = sum((capture.amount for capture in self.captures), nothing)
            tips = sum((capture.tips for capture in self.captures), nothing)
        from_paid = min(self.refunded.value, paid.value)
        return Money(paid.value - from_paid, paid.currency), Money(tips.value - (self.refunded.value - from_paid), tips.currency)


def moves_of(intent: Intent) -> tuple[Move, ...]:
    """What Dojo allows to be done with an intent that is as this one; amounts and days may still forbid it."""
    return tuple(move for move in get_args(Move) if (move, intent.capture_mode, intent.status) in MOVES)


class Intents:
    """The ledger. Every method may be called from any thread; whatever it refuses leaves the intent as it was.

    All that take an id raise UnknownIntent; all that change raise IntentRefused.
    """

    def __init__(self, *, clock: Clock, new_id: IdMaker) -> None:
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.RLock()
        self._intents: dict[str, Intent] = {}

    def make(
        self,
        amount: Money,
        *,
        reference: str,
        capture_mode: CaptureMode = "Auto",
        service_charge: Money | None = None,
        tips: Money | None = None,
        description: str | None = None,
        dojo_order_id: str | None = None,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expire_at: datetime | None = None,
        auto_expire_in: timedelta = LIFE_AUTHORISED,
        auto_expire_action: AutoExpireAction = "Release",
    ) -> Intent:
        """A new intent, `Created`. Raises IntentRefused on negative amounts, mixed currencies or a reference outside 1 to 60."""
        now = self._clock.now()
        intent = Intent(
            id=self._new_id(INTENT),
            status="Created",
            capture_mode=capture_mode,
            amount=amount,
            service_charge=service_charge or zero(amount.currency),
            tips=tips or zero(amount.currency),
            refunded=zero(amount.currency),
            reference=reference,
            description=description,
            dojo_order_id=dojo_order_id,
            external_id=external_id,
            metadata=dict(metadata or {}),
            created_at=now,
            updated_at=now,
            expire_at=expire_at or now + LIFE_UNPAID,
            auto_expire_in=auto_expire_in,
            auto_expire_action=auto_expire_action,
        )
        _refuse_odd_figures(intent)
        with self._lock:
            self._intents[intent.id] = intent
        return intent

    def read(self, intent_id: str, *, return_canceled: bool = True) -> Intent:
        """The intent as it is now; a cancelled one is unknown unless asked for."""
        with self._lock:
            intent = self._present(intent_id)
        if intent.status == "Canceled" and not return_canceled:
            raise UnknownIntent(f"no payment intent {intent_id} (cancelled ones need returnCanceled=true)")
        return intent

    def all(self) -> tuple[Intent, ...]:
        """Every intent, newest first."""
        with self._lock:
            return tuple(self._present(intent_id) for intent_id in reversed(self._intents))

    def link(self, intent_id: str, external_id: str) -> Intent:
        """Dojo learnt the POS's id of the order."""
        return self._change(intent_id, lambda intent: replace(intent, external_id=external_id))

    def authorise(self, intent_id: str) -> Intent:
        """The customer's bank holds the money of a Manual intent."""
        return self._move(intent_id, "authorise", lambda intent: replace(intent, authorised_at=self._clock.now()))

    def capture(self, intent_id: str, amount: Money | None = None, *, tips: Money | None = None) -> Intent:
        """Take the money: of a Manual intent what is left or a part of it, of an Auto intent everything at once.

        `amount` holds the service charge and not the tips. Raises IntentRefused beyond what is left.
        """
        return self._move(intent_id, "capture", lambda intent: self._captured(intent, amount, tips))

    def reverse(self, intent_id: str) -> Intent:
        """Undo in full: an authorisation, or an automatic capture of the same day (UTC)."""
        return self._move(intent_id, "reverse", self._reversed)

    def refund(self, intent_id: str, amount: Money | None = None) -> Intent:
        """Give back what is left of the captured money, tips included, or a part of it. Repeatable."""
        return self._move(intent_id, "refund", lambda intent: _refunded(intent, amount))

    def cancel(self, intent_id: str) -> Intent:
        """The customer gave up before paying."""
        return self._move(intent_id, "cancel", lambda intent: intent)

    def give_back(self, intent_id: str) -> Intent:
        """What Dojo does when the POS refused the order: release the hold, or refund what was taken."""
        with self._lock:
            held = self._present(intent_id).status == "Authorized"
            return self.reverse(intent_id) if held else self.refund(intent_id)

    def _move(self, intent_id: str, move: Move, apply: Callable[[Intent], Intent]) -> Intent:
        def moved(intent: Intent) -> Intent:
            status = MOVES.get((move, intent.capture_mode, intent.status))
            if status is None:
                raise IntentRefused(f"cannot {move} {intent.id}: {intent.capture_mode}, {intent.status}")
            after = apply(intent)
            in_part = move == "refund" and after.refunded.value < after.taken.value
            return replace(after, status=intent.status if in_part else status)

        return self._change(intent_id, moved)

    def _change(self, intent_id: str, change: Callable[[Intent], Intent]) -> Intent:
        with self._lock:
            after = replace(change(self._present(intent_id)), updated_at=self._clock.now())
            self._intents[intent_id] = after
        return after

    def _present(self, intent_id: str) -> Intent:
        intent = self._intents.get(intent_id)
        if intent is None:
            raise UnknownIntent(f"no payment intent {intent_id}")
        self._intents[intent_id] = aged = self._aged(intent)
        return aged

    def _aged(self, intent: Intent) -> Intent:
        now = self._clock.now()
        if intent.status == "Created" and now >= intent.expire_at:
            return replace(intent, status="Canceled", updated_at=now)
        if intent.status == "Authorized" and intent.authorised_at and now >= intent.authorised_at + intent.auto_expire_in:
            if intent.auto_expire_action == "Release":
                return replace(intent, status="Reversed", updated_at=now)
            return replace(self._captured(intent, None, None), status="Captured", updated_at=now)
        return intent

    def _captured(self, intent: Intent, amount: Money | None, tips: Money | None) -> Intent:
        now = self._clock.now()
        if intent.capture_mode == "Auto":
            if amount is not None or tips is not None:
                raise IntentRefused(f"{intent.id} is captured automatically, and in full")
            return replace(intent, captured_at=now)
        currency = intent.amount.currency
        due_left = intent.due - sum((capture.amount for capture in intent.captures), zero(currency))
        tips_left = intent.tips - sum((capture.tips for capture in intent.captures), zero(currency))
        amount, tips = amount or due_left, tips or (tips_left if amount is None else zero(currency))
        _refuse_beyond(f"capture of {intent.id}", amount, due_left)
        if tips.value:
            _refuse_beyond(f"capture of tips of {intent.id}", tips, tips_left)
        capture = IntentCapture(id=self._new_id(CAPTURE), amount=amount, tips=tips, created_at=now)
        return replace(intent, captured_at=now, captures=(*intent.captures, capture))

    def _reversed(self, intent: Intent) -> Intent:
        if intent.captured_at and (intent.captured_at.date() != self._clock.now().date() or intent.refunded.value):
            raise IntentRefused(f"{intent.id} was captured on another day or partly refunded; refund it")
        return intent


def _refunded(intent: Intent, amount: Money | None) -> Intent:
    left = intent.taken - intent.refunded
    amount = amount or left
    _refuse_beyond(f"refund of {intent.id}", amount, left)
    return replace(intent, refunded=intent.refunded + amount)


def _refuse_beyond(what: str, amount: Money, left: Money) -> None:
    if amount.currency != left.currency or not 0 < amount.value <= left.value:
        raise IntentRefused(f"{what}: {amount} of {left} left")


def _refuse_odd_figures(intent: Intent) -> None:
    figures = (intent.amount, intent.service_charge, intent.tips)
    if len({money.currency for money in figures}) > 1 or min(money.value for money in figures) < 0:
        raise IntentRefused(f"amounts that are negative or of several currencies: {', '.join(map(str, figures))}")
    if not 1 <= len(intent.reference) <= MAX_REFERENCE:
        raise IntentRefused(f"reference has {len(intent.reference)} characters, 1 to {MAX_REFERENCE} are allowed")
