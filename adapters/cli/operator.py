"""An operator's command to the running server, over its own API: the server alone writes to its journal."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import requests

from adapters.settings import Address, Token
from workflow.errors import JournalInUse, Refused, ServerSilent, UnknownTask
from workflow.rotation import Rotated

SECONDS = 10.0


class Operator:
    """Speaks to the venue's side with an operator's token of the settings."""

    def __init__(self, address: Address, tokens: Sequence[Token]) -> None:
        host, port = address
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._token = next((token.token for token in tokens if token.role == "operator"), None)

    def requeue(self, task_id: str, reason: str) -> None:
        """Have a dead task tried again. Raises UnknownTask, Refused, JournalInUse without a token, ServerSilent."""
        answer = self._post(f"/api/outbox/{quote(task_id, safe='')}/requeue", reason)
        if answer.status_code == 404:
            raise UnknownTask(f"no task {task_id}")
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
