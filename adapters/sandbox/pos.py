"""Dojo's calls to the POS: Basic credentials as registered, each call recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from requests.auth import HTTPBasicAuth

from adapters.sandbox.calls import Answer, Call, answer_to
from adapters.sandbox.faults import Faults
from adapters.sandbox.registry import Pos
from adapters.sandbox.traffic import UNANSWERED, Traffic
from workflow.money import Money

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class PosPayment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of `payments`."""

    id: str = msgspec.field(name="paymentIntentId")
    paid_amount: Money
    tips_amount: Money | None = None


class PosOrder(msgspec.Struct, frozen=True, rename="camel"):
    """What the flows look at in a POS's `Order`; everything else in it is passed over."""

    id: str
    reference: str | None = None
    payable: bool | None = None
    total_amount: Money | None = None
    paid_amount: Money | None = None
    tips_amount: Money | None = None
    payments: tuple[PosPayment, ...] | None = None


class PosOrders(msgspec.Struct, frozen=True):
    """What the flows look at in a `PagedOrdersResponse`."""

    data: tuple[PosOrder, ...] = ()
    after: str | None = None


class PosThing(msgspec.Struct, frozen=True):
    """Whatever has an id."""

    id: Annotated[str, msgspec.Meta(min_length=1)]


class PosArea(msgspec.Struct, frozen=True, rename="camel"):
    """A POS's `Area`."""

    id: str
    name: str


class PosTable(msgspec.Struct, frozen=True, rename="camel"):
    """A POS's `Table`."""

    id: str
    name: str
    area_id: str | None = None


class PosTables(msgspec.Struct, frozen=True):
    """A `PagedTablesResponse`."""

    data: tuple[PosTable, ...] = ()
    after: str | None = None


class PosDeposit(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A `PartyDeposit`."""

    total_amount: Money
    payment_intent_ids: tuple[str, ...]
    description: str | None = None


class PosParty(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A POS's `Party`, all of it."""

    id: str
    status: Annotated[str, msgspec.Meta(min_length=1)]
    start_time: Moment
    table_ids: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    name: str | None = None
    covers: int | None = None
    expected_end_time: Moment | None = None
    end_time: Moment | None = None
    host_notes: str | None = None
    guest_requests: str | None = None
    reservation_id: str | None = None
    deposit: PosDeposit | None = None


class PosParties(msgspec.Struct, frozen=True):
    """A `PagedPartiesResponse`."""

    data: tuple[PosParty, ...] = ()
    after: str | None = None


class PosReservation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A POS's `Reservation`, all of it."""

    id: str
    name: str
    covers: int
    start_time: Moment
    end_time: Moment
    table_ids: tuple[str, ...]
    host_notes: str | None = None
    guest_requests: str | None = None


class PosReservations(msgspec.Struct, frozen=True):
    """A `PagedReservationsResponse`."""

    data: tuple[PosReservation, ...] = ()
    after: str | None = None


class PosBill(msgspec.Struct, frozen=True):
    """What the flows look at in an `OrderBill`."""

    header: dict[str, object]
    order: PosOrder
    footer: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf Dojo calls: the four optional headers of contract §3."""

    product: str
    waiter_id: str | None = None
    device_id: str | None = None
    device_type: str | None = None

    def headers(self) -> dict[str, str]:
        """Those that say something."""
        named = {
            "dojo-requesting-product": self.product,
            "waiter-id": self.waiter_id,
            "device-id": self.device_id,
            "device-type": self.device_type,
        }
        return {name: text for name, text in named.items() if text}


class PosClient:
    """Calls one POS on behalf of one caller. Holds no connection, so any thread may use it."""

    def __init__(self, pos: Pos, *, caller: Caller, rules: Faults, traffic: Traffic) -> None:
        self._pos = pos
        self._caller = caller
        self._rules = rules
        self._traffic = traffic

    def on_behalf_of(self, caller: Caller) -> PosClient:
        """The same POS, called for somebody else."""
        return PosClient(self._pos, caller=caller, rules=self._rules, traffic=self._traffic)

    def call(self, method: str, path: str, body: object = None, *, note: str = "", about: str = "") -> Answer:
        """Call the POS and record it. Failures are answers with status 0; so is one that a rule loses, for this path or it and `about`."""
        rule = self._rules.take_for_pos(method, path, f"{path} {about}")
        began = self._traffic.now()
        answer = answer_to(
            Call(
                method=method,
                url=self._pos.url.rstrip("/") + path,
                body=None if body is None else msgspec.json.encode(body),
                headers=self._caller.headers() | {"content-type": "application/json"},
                auth=HTTPBasicAuth(self._pos.username.encode(), self._pos.password.encode()),
            )
        )
        if rule:
            answer = Answer(UNANSWERED, problem=f"fault: {rule.kind}, the POS had answered {answer.status}")
        noted = f"{note}: {answer.problem}" if answer.problem else note
        self._traffic.record("<-", method, path, status=answer.status, began=began, note=noted)
        return answer
