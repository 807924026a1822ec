"""An operator's command to the running server, over its own API: the server alone writes to its journal."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import requests

from adapters.setting_kinds import Address, Token
from workflow.commands import EraseGuest, EraseOrder, OperatorCommand, RequeueTask
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
        path, unknown = _call(command)
        answer = self._post(path, command.reason)
        if answer.status_code == 404:
            raise unknown
        if answer.status_code == 503 and not isinstance(command, RequeueTask):
            raise LogHeld(answer.json().get("debugMessage", ""))
        _require_done(answer)

    def rotate_key(self, reason: str) -> Rotated:
        """Have a new key sign the journal from here on. Raises Refused, JournalInUse without a token, ServerSilent."""
        answer = self._post("/api/keys/rotate", reason)
        _require_done(answer)
        told = answer.json()
        return Rotated(
            position=told["position"],
            old_key=told["oldKey"],
            new_key=told["newKey"],
            fingerprint=told["fingerprint"],
            pending=told["pending"] or "",
        )

    def _post(self, path: str, reason: str) -> requests.Response:
        if self._token is None:
            raise JournalInUse("a server holds the journal, and TILLPROOF_TOKENS has no operator to ask it as")
        session = requests.Session()
        session.trust_env = False
        try:
            return session.post(
                f"{self._url}{path}",
                json={"reason": reason},
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ServerSilent(f"Tillproof's own server at {self._url} does not answer: {type(error).__name__}") from error


def _require_done(answer: requests.Response) -> None:
    if not answer.ok:
        raise Refused(f"the server says {answer.status_code}: {answer.json().get('debugMessage', '')}")


def _call(command: OperatorCommand) -> tuple[str, WorkflowError]:
    """The path of the API's call, and what 404 means there."""
    if isinstance(command, EraseGuest):
        path = f"/api/bookings/{quote(command.booking_id, safe='')}/erase"
        return path, UnknownBooking(f"no party or reservation {command.booking_id}")
    if isinstance(command, EraseOrder):
        return f"/api/orders/{quote(command.order_id, safe='')}/erase", UnknownOrder(f"no order {command.order_id}")
    return f"/api/outbox/{quote(command.task_id, safe='')}/requeue", UnknownTask(f"no task {command.task_id}")
