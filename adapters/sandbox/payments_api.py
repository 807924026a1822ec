"""What moves money over Dojo's API: make, capture, refund, reverse, cancel. Contract §7.6.

The POS hears of each afterwards, in the background, by every channel that it has registered.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from flask import Blueprint, Response, g, request

from adapters.sandbox import magic
from adapters.sandbox.cashier import Cashier
from adapters.sandbox.errors import IntentRefused, InvalidRequest
from adapters.sandbox.faults import Faults
from adapters.sandbox.identifiers import REVERSAL, IdMaker
from adapters.sandbox.intents import LIFE_AUTHORISED, MAX_REFERENCE, AutoExpireAction, CaptureMode, Intent, Intents
from adapters.sandbox.refunds import Refund, RefundRequest, Refunds
from adapters.sandbox.server import also, answer, parsed
from adapters.sandbox.wire import EVENT_CREATED, intent_body
from workflow.money import Money

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
Amount = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
SHORTEST_HOLD = timedelta(seconds=30)


class OrderLink(msgspec.Struct, frozen=True, rename="camel"):
    """Which order an intent pays: Dojo's id, and the POS's."""

    id: str | None = None
    external_id: str | None = None


class CreateIntent(msgspec.Struct, frozen=True, rename="camel"):
    """The parts of `CreatePaymentIntentRequest` that this sandbox has a use for; the others are passed over."""

    amount: Money
    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REFERENCE)]
    capture_mode: CaptureMode = "Auto"
    tips_amount: Money | None = None
    service_charge_amount: Money | None = None
    description: Text | None = None
    metadata: dict[str, str] | None = None
    order_details: OrderLink | None = None
    expire_at: AwareTime | None = None
    auto_expire_in: Annotated[str, msgspec.Meta(pattern=r"^\d\d\.\d\d:\d\d:\d\d\Z")] | None = None
    auto_expire_action: AutoExpireAction | None = None


class CreateCapture(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST …/captures`."""

    amount: Amount
    tips_amount: Annotated[int, msgspec.Meta(ge=0)] | None = None


class CreateRefund(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST …/refunds`."""

    amount: Amount
    refund_reason: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    notes: Text | None = None
    previous_transaction_id: Annotated[str, msgspec.Meta(max_length=100)] | None = None


INTENT = msgspec.json.Decoder(CreateIntent)
CAPTURE = msgspec.json.Decoder(CreateCapture)
REFUND = msgspec.json.Decoder(CreateRefund)


class PaymentsApi:
    """The views; whatever they refuse leaves the intent as it was."""

    def __init__(self, *, cashier: Cashier, intents: Intents, new_id: IdMaker, refunds: Refunds, rules: Faults) -> None:
        self._cashier = cashier
        self._intents = intents
        self._new_id = new_id
        self._refunds = refunds
        self._rules = rules

    def routes(self) -> Blueprint:
        """Every route, spelt as Dojo spells it."""
        routes = Blueprint("payments_api", __name__, url_prefix="/payment-intents")
        routes.add_url_rule("", view_func=self.create, methods=["POST"])
        routes.add_url_rule("/<intent_id>", view_func=self.cancel, methods=["DELETE"])
        routes.add_url_rule("/<intent_id>/captures", view_func=self.capture, methods=["POST"])
        routes.add_url_rule("/<intent_id>/refunds", view_func=self.refund, methods=["POST"])
        routes.add_url_rule("/<intent_id>/reversal", view_func=self.reverse, methods=["POST"])
        routes.add_url_rule("/refunds/<refund_id>", view_func=self.read_refund)
        return routes

    def create(self) -> Response:
        """`PaymentIntents_CreatePaymentIntent`; nobody has paid it yet."""
        asked = parsed(INTENT)
        links = asked.order_details or OrderLink()
        try:
            intent = self._intents.make(
                asked.amount,
                reference=asked.reference,
                capture_mode=asked.capture_mode,
                service_charge=asked.service_charge_amount,
                tips=asked.tips_amount,
                description=asked.description,
                dojo_order_id=links.id,
                external_id=links.external_id,
                metadata=asked.metadata,
                expire_at=asked.expire_at,
                auto_expire_in=_hold(asked),
                auto_expire_action=asked.auto_expire_action or "Release",
            )
        except IntentRefused as error:
            raise InvalidRequest(str(error)) from error
        magic.cast(magic.spell_of(intent.due), intent, self._rules)
        self._cashier.tell(intent, EVENT_CREATED)
        _note(intent)
        return answer(intent_body(intent))

    def cancel(self, intent_id: str) -> Response:
        """`PaymentIntents_Delete`: only while nobody has paid; Dojo declares 400 for all else, and no 409."""
        try:
            intent = self._cashier.cancel(intent_id)
        except IntentRefused as error:
            raise InvalidRequest(str(error)) from error
        _note(intent)
        return answer(intent_body(intent))

    def capture(self, intent_id: str) -> Response:
        """`Captures_Create`: a part of what a Manual intent holds, or all of it."""
        asked, currency = parsed(CAPTURE), self._intents.read(intent_id).amount.currency
        tips = None if asked.tips_amount is None else Money(asked.tips_amount, currency)
        intent = self._cashier.capture(intent_id, Money(asked.amount, currency), tips=tips)
        _note(intent)
        return answer({"message": f"{intent.captures[-1].amount} captured", "captureId": intent.captures[-1].id})

    def refund(self, intent_id: str) -> Response:
        """`Refunds_Create`: the same `IdempotencyKey` gives back once."""
        asked = parsed(REFUND)
        wanted = RefundRequest(intent_id=intent_id, amount=asked.amount, reason=asked.refund_reason, notes=asked.notes)
        made, is_new = self._cashier.refund(request.headers.get("IdempotencyKey", ""), wanted)
        if is_new:
            _note(self._intents.read(intent_id))
        return answer(_refund_body(made))

    def read_refund(self, refund_id: str) -> Response:
        """`PaymentIntents_GetRefundById`: carries neither an amount nor a status."""
        return answer(_refund_body(self._refunds.read(refund_id)))

    def reverse(self, intent_id: str) -> Response:
        """`Reversal_Create`: in full, and only where §7.6 allows it."""
        intent = self._cashier.reverse(intent_id)
        _note(intent)
        return answer({"message": f"{intent.total} reversed", "reversalId": self._new_id(REVERSAL)})


def _note(intent: Intent) -> None:
    g.note = also(f"{intent.id} is {intent.status}")


def _hold(asked: CreateIntent) -> timedelta:
    """`dd.hh:MM:ss`: how long an authorisation is held, from half a minute to seven days."""
    if asked.auto_expire_in is None:
        return LIFE_AUTHORISED
    days, _, clock = asked.auto_expire_in.partition(".")
    hours, minutes, seconds = map(int, clock.split(":"))
    length = timedelta(days=int(days), hours=hours, minutes=minutes, seconds=seconds)
    if not SHORTEST_HOLD <= length <= LIFE_AUTHORISED:
        raise InvalidRequest(f"autoExpireIn: {asked.auto_expire_in} is not between 30 seconds and 7 days")
    return length


def _refund_body(made: Refund) -> dict[str, str]:
    optional = {"refundReason": made.request.reason, "notes": made.request.notes}
    return {"paymentIntentId": made.request.intent_id, "refundId": made.id} | {k: v for k, v in optional.items() if v is not None}
