"""Dojo's JSON: payment intents, events, errors, spelt as its published schemas spell them."""

from __future__ import annotations

from datetime import datetime, timedelta

from adapters.sandbox.intents import Intent, IntentCapture
from workflow.clock import to_text
from workflow.money import Money

EVENT_CREATED = "payment_intent.created"
EVENT_STATUS_UPDATED = "payment_intent.status_updated"

FAKE_CARD_HOLDER = "SANDBOX CARDHOLDER"
FAKE_CARD_NUMBER = "00000000****0000"
FAKE_SESSION_PREFIX = "not-a-secret-"
"""A POS must keep neither of these three; searching its files for them shows whether it does."""


def intent_body(intent: Intent) -> dict[str, object]:
    """`PaymentIntent`; amounts of nothing are left out, as Dojo does."""
    return {
        "id": intent.id,
        "captureMode": intent.capture_mode,
        "status": intent.status,
        "clientSessionSecret": FAKE_SESSION_PREFIX + intent.id,
        "clientSessionSecretExpirationDate": to_text(intent.expire_at),
        "paymentMethods": ["Card"],
        "amount": money(intent.amount),
        "requestedAmount": money(intent.amount),
        **_amount_if_any("serviceChargeAmount", intent.service_charge),
        **_amount_if_any("tipsAmount", intent.tips),
        "totalAmount": money(intent.total),
        "refundedAmount": intent.refunded.value,
        "reference": intent.reference,
        **({"description": intent.description} if intent.description else {}),
        "metadata": dict(intent.metadata),
        "orderDetails": _order_details(intent),
        **_payment_details(intent),
        **_auto_expiry(intent),
        "captures": [_capture(capture) for capture in intent.captures],
        "createdAt": to_text(intent.created_at),
        "updatedAt": to_text(intent.updated_at),
        "expireAt": to_text(intent.expire_at),
    }


def money(amount: Money) -> dict[str, object]:
    """`Money`."""
    return {"value": amount.value, "currencyCode": amount.currency}


def event_body(intent: Intent, *, event_id: str, name: str, account_id: str, at: datetime) -> dict[str, object]:
    """`Event` of contract §5.1: no amount and no order, a hint to read the intent."""
    return {
        "id": event_id,
        "accountId": account_id,
        "event": name,
        "createdAt": to_text(at),
        "data": {"paymentIntentId": intent.id, "paymentStatus": intent.status, "captureMode": intent.capture_mode},
    }


def problem(status: int, title: str, detail: str) -> dict[str, object]:
    """`ProblemDetails`, what Dojo answers instead of a result."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def _amount_if_any(name: str, amount: Money) -> dict[str, object]:
    return {name: money(amount)} if amount.value else {}


def _order_details(intent: Intent) -> dict[str, object]:
    ids = {"id": intent.dojo_order_id, "externalId": intent.external_id}
    return {name: value for name, value in ids.items() if value is not None}


def _payment_details(intent: Intent) -> dict[str, object]:
    paid_at = intent.captured_at or intent.authorised_at
    if paid_at is None:
        return {}
    card = {
        "cardNumber": FAKE_CARD_NUMBER,
        "cardName": FAKE_CARD_HOLDER,
        "expiryDate": "2099-12-31",
        "cardType": "VISA",
        "cardFundingType": "Debit",
        "entryMode": "ManualEntry",
        "verificationMethod": "None",
    }
    message = "DEPOSITED" if intent.captured_at else "AUTHORIZED"
    details = {"transactionId": f"txn-{intent.id}", "transactionDateTime": to_text(paid_at), "message": message}
    return {"paymentDetails": details | {"authCode": "000000", "card": card}}


def _auto_expiry(intent: Intent) -> dict[str, object]:
    if intent.capture_mode == "Auto":
        return {}
    return {"autoExpireIn": _timespan(intent.auto_expire_in), "autoExpireAction": intent.auto_expire_action}


def _timespan(length: timedelta) -> str:
    """`07.00:00:00`: days, then the clock."""
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{length.days:02d}.{hours:02d}:{minutes:02d}:{seconds:02d}"


def _capture(capture: IntentCapture) -> dict[str, object]:
    return {
        "id": capture.id,
        "amount": capture.amount.value,
        "tipsAmount": capture.tips.value,
        "status": "Successful",
        "createdAt": to_text(capture.created_at),
    }
