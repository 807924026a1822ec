"""Dojo's calls to the POS: Basic credentials as registered, each call recorded."""

from __future__ import annotations

import msgspec
from requests.auth import HTTPBasicAuth

from adapters.sandbox.calls import Answer, Call, answer_to
from adapters.sandbox.registry import Pos
from adapters.sandbox.traffic import Traffic
from workflow.money import Money


class PosOrder(msgspec.Struct, frozen=True, rename="camel"):
    """What the flows look at in a POS's `Order`; everything else in it is passed over."""

    id: str
    reference: str | None = None
    payable: bool | None = None
    total_amount: Money | None = None
    paid_amount: Money | None = None
    tips_amount: Money | None = None


class PosOrders(msgspec.Struct, frozen=True):
    """What the flows look at in a `PagedOrdersResponse`."""

    data: tuple[PosOrder, ...] = ()


class PosClient:
    """Calls one POS on behalf of one Dojo product. Holds no connection, so any thread may use it."""

    def __init__(self, pos: Pos, *, product: str, traffic: Traffic) -> None:
        self._pos = pos
        self._product = product
        self._traffic = traffic

    def call(self, method: str, path: str, body: object = None, *, note: str = "") -> Answer:
        """Call the POS and record it. Failures are answers with status 0."""
        began = self._traffic.now()
        answer = answer_to(
            Call(
                method=method,
                url=self._pos.url.rstrip("/") + path,
                body=None if body is None else msgspec.json.encode(body),
                headers={"dojo-requesting-product": self._product, "content-type": "application/json"},
                auth=HTTPBasicAuth(self._pos.username.encode(), self._pos.password.encode()),
            )
        )
        noted = f"{note}: {answer.problem}" if answer.problem else note
        self._traffic.record("<-", method, path, status=answer.status, began=began, note=noted)
        return answer
