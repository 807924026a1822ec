"""An operator's command to the running server, over its own API: the server alone writes to its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import requests

from adapters.setting_kinds import Address, Token
from workflow.commands import (
    EraseGuest,
    EraseOrder,
    NoteRegistration,
    OperatorCommand,
    RequeueTask,
    ResolveOrder,
    ResolveTakings,
    ResolveVenue,
    StopTask,
)
from workflow.errors import JournalInUse, LogHeld, Refused, ServerSilent, UnknownBooking, UnknownOrder, UnknownTask, WorkflowError
from workflow.rotation import Rotated

SECONDS = 10.0


class Operator:
    """Speaks to the venue's side with an operator's token of the settings."""

    def __init__(self, address: Address, tokens: Sequence[Token]) -> None:
        host, port = address
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._token = next((token.token for token in tokens if token.role == "operator"), None)

    def ask(self, command: OperatorCommand) -> None:
        """Give the command. Raises Refused, what is unknown included, LogHeld, JournalInUse without a token, ServerSilent."""
        call = _call(command)
        answer = self._post(call.path, {"reason": command.reason, **call.asked})
        if answer.status_code == 404 and call.unknown:
            raise call.unknown
        if answer.status_code == 503 and isinstance(command, EraseOrder | EraseGuest):
            raise LogHeld(answer.json().get("debugMessage", ""))
        _require_done(answer)

    def rotate_key(self, reason: str) -> Rotated:
        """Have a new key sign the journal from here on. Raises Refused, JournalInUse without a token, ServerSilent."""
        answer = self._post("/api/keys/rotate", {"reason": reason})
        _require_done(answer)
        told = answer.json()
        return Rotated(
            position=told["position"],
            old_key=told["oldKey"],
            new_key=told["newKey"],
            fingerprint=told["fingerprint"],
            pending=told["pending"] or "",
        )

    def _post(self, path: str, asked: Mapping[str, Any]) -> requests.Response:
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


def _require_done(answer: requests.Response) -> None:
    if not answer.ok:
        raise Refused(f"the server says {answer.status_code}: {answer.json().get('debugMessage', '')}")


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


def _resolution(command: ResolveOrder | ResolveVenue) -> Mapping[str, str | list[str]]:
    given = {"paymentIntentId": command.intent_id, "code": command.code}
    return {"action": command.action} | {name: value for name, value in given.items() if value}


def _quoted(name: str) -> str:
    return quote(name, safe="")
