"""An operator's command to the running server, over its own API: the server alone writes to its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import requests

from adapters.setting_kinds import Address, Token, address_text
from workflow.commands import (
    EraseGuest,
    EraseOrder,
    NoteRegistration,
    OperatorCommand,
    RequeueTask,
    ResolveOrder,
    ResolveTakings,
    ResolveVenue,
    Settling,
    StopTask,
)
from workflow.errors import (
    JournalInUse,
    JournalUnavailable,
    LogHeld,
    Refused,
    ServerSilent,
    UnknownBooking,
    UnknownOrder,
    UnknownTask,
    WorkflowError,
)
from workflow.rotation import Rotated

SECONDS = 10.0
MARK = "X-Trace-Id"
"""The header that every answer of ours has, be it a refusal."""


class Operator:
    """Speaks to the venue's side with an operator's token of the settings."""

    def __init__(self, address: Address, tokens: Sequence[Token]) -> None:
        self._url = f"http://{address_text(address)}"
        self._token = next((token.token for token in tokens if token.role == "operator"), None)

    def ask(self, command: OperatorCommand) -> None:
        """Give the command.

        Raises Refused, what is unknown included, JournalUnavailable, LogHeld, JournalInUse without a token, ServerSilent.
        """
        call = _call(command)
        self._post(call.path, {"reason": command.reason, **call.asked}, call.unknown)

    def rotate_key(self, reason: str) -> Rotated:
        """Have a new key sign the journal from here on. Raises Refused, JournalUnavailable, JournalInUse without a token, ServerSilent."""
        told = self._post("/api/keys/rotate", {"reason": reason})
        return Rotated(
            position=told["position"],
            old_key=told["oldKey"],
            new_key=told["newKey"],
            fingerprint=told["fingerprint"],
            pending=told["pending"] or "",
        )

    def _post(self, path: str, asked: Mapping[str, Any], unknown: WorkflowError | None = None) -> dict[str, Any]:
        """What our server answers once it is done. Whatever else listens there is not believed: neither that it was done, nor that not."""
        answer = self._answer(path, asked)
        try:
            said = answer.json()
        except requests.JSONDecodeError:
            said = None
        if MARK not in answer.headers or not isinstance(said, dict):
            raise ServerSilent(f"what answers at {self._url} is not Tillproof's server: look at TILLPROOF_CONSOLE_LISTEN")
        if not answer.ok:
            raise (unknown if answer.status_code == 404 else None) or _refusal(answer.status_code, str(said.get("debugMessage", "")))
        return said

    def _answer(self, path: str, asked: Mapping[str, Any]) -> requests.Response:
        if self._token is None:
            raise JournalInUse("a server holds the journal, and TILLPROOF_TOKENS has no operator to ask it as")
        session = requests.Session()
        session.trust_env = False
        try:
            return session.post(
                f"{self._url}{path}",
                json=asked,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ServerSilent(f"Tillproof's own server at {self._url} does not answer: {type(error).__name__}") from error


def _refusal(status: int, said: str) -> WorkflowError:
    if said == LogHeld.TOLD:
        return LogHeld()
    told = f"the server says {status}: {said}"
    return JournalUnavailable(told) if status == HTTPStatus.SERVICE_UNAVAILABLE else Refused(told)


class _Call(NamedTuple):
    """The path of the API's call, what 404 means there, and what is asked beside the reason."""

    path: str
    unknown: WorkflowError | None
    asked: Mapping[str, Any]


def _call(command: OperatorCommand) -> _Call:
    match command:
        case EraseGuest(booking_id=booking_id):
            return _Call(f"/api/bookings/{_quoted(booking_id)}/erase", UnknownBooking(f"no party or reservation {booking_id}"), {})
        case EraseOrder(order_id=order_id):
            return _Call(f"/api/orders/{_quoted(order_id)}/erase", UnknownOrder(f"no order {order_id}"), {})
        case RequeueTask(task_id=task_id):
            return _Call(f"/api/outbox/{_quoted(task_id)}/requeue", UnknownTask(f"no task {task_id}"), {})
        case StopTask(task_id=task_id):
            return _Call(f"/api/outbox/{_quoted(task_id)}/stop", UnknownTask(f"no task {task_id}"), {})
        case ResolveOrder(order_id=order_id):
            return _Call(f"/api/orders/{_quoted(order_id)}/resolve", UnknownOrder(f"no order {order_id}"), _resolution(command))
        case ResolveTakings(date=date, order_id=order_id):
            amount = {"value": command.amount.value, "currencyCode": command.amount.currency}
            asked = {"kind": command.kind, "paymentIntentId": command.intent_id, "amount": amount}
            return _Call(f"/api/takings/{_quoted(date)}/resolve", None, asked | ({"orderId": order_id} if order_id else {}))
        case NoteRegistration():
            told: dict[str, str | list[str]] = {
                "url": command.url,
                "added": [*command.added],
                "dropped": [*command.dropped],
                "refused": command.refused,
            }
            return _Call("/api/registrations", None, told)
        case ResolveVenue():
            return _Call("/api/resolve", None, _resolution(command))


def _resolution(command: Settling) -> Mapping[str, str]:
    given = {"paymentIntentId": command.intent_id, "code": command.code}
    return {"action": command.action} | {name: value for name, value in given.items() if value}


def _quoted(name: str) -> str:
    return quote(name, safe="")
