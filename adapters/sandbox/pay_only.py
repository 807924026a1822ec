"""Pay-only as Dojo runs it: a bill that is there already, found by its table. Contract §2.2."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.sandbox import magic
from adapters.sandbox.errors import StepFailed
from adapters.sandbox.figures import figures_of
from adapters.sandbox.flow import PayOnly
from adapters.sandbox.intents import Intent
from adapters.sandbox.locks import Held, locked
from adapters.sandbox.pos import PosOrder, PosOrders
from adapters.sandbox.recording import check, record
from adapters.sandbox.steps import Steps, parsed
from adapters.sandbox.wire import EVENT_CREATED
from workflow.money import Money, zero


def pay_only(steps: Steps, request: PayOnly) -> None:
    """Play the flow. Raises StepFailed, or what the ledger refuses."""
    order_id = search(steps, {"tableId": request.table_id}, request.order_id)
    steps.flow.about(order_id)
    with steps.step("GetOrderById") as details:
        order = steps.read_order(order_id)
        shown = figures_of(order)
        steps.remember(shown)
        outstanding = shown.total - shown.paid
        if outstanding.value < request.parts:
            raise StepFailed(f"order {order_id} has {outstanding} left to pay, too little for {request.parts} payments")
        amount = request.amount or outstanding
        if amount.currency != outstanding.currency or not 0 < amount.value <= outstanding.value:
            raise StepFailed(f"order {order_id} has {outstanding} left to pay, which {amount} does not fit")
        details.append(f"{outstanding} left to pay")
    tips = request.tips or zero(amount.currency)
    pay_in_parts(steps, order, list(zip(split(amount, request.parts), split(tips, request.parts), strict=True)))


def search(steps: Steps, where: Mapping[str, str], order_id: str | None) -> str:
    """SearchOrders for a payable order of a table or a waiter: this one, or without `order_id` the first. Raises StepFailed."""
    place = ", ".join(where.values())
    with steps.step("SearchOrders") as details:
        body = {"dineIn": where, "payableOnly": True}
        answer = steps.flow.client.call("POST", "/v1/orders/search", body, note=f"payable at {place}")
        found = [order.id for order in parsed(answer, PosOrders, "SearchOrders").data if order.payable is not False]
        chosen = [each for each in found if order_id in {None, each}]
        if not chosen:
            named = ", ".join(name.removesuffix("Id") for name in where)
            raise StepFailed(f"the POS found no such payable order at {named} {place}; it found {found or 'none'}")
        details.append(chosen[0])
        return chosen[0]


def pay_in_parts(steps: Steps, order: PosOrder, parts: list[tuple[Money, Money]], *, dojo_order_id: str | None = None) -> None:
    """Payments of the order, (amount, tips) each, seen through; under its lock, where they are recorded and the POS has locks."""
    request = steps.request
    if not request.records:
        intents = [_pay(steps, order, *part, dojo_order_id=dojo_order_id, held=None) for part in parts]
    else:
        with locked(steps, order) as (held, granted):
            check(steps, granted)
            intents = [_pay(steps, order, *part, dojo_order_id=dojo_order_id, held=held) for part in parts]
    if request.afterwards and not steps.is_declined(intents[-1]):
        steps.afterwards(order.id, intents[-1])


def _pay(steps: Steps, order: PosOrder, amount: Money, tips: Money, *, dojo_order_id: str | None, held: Held | None) -> Intent:
    """One payment; also recorded, where it is taken under `held`."""
    request, since = steps.request, steps.mark()
    status_first = isinstance(request, PayOnly) and request.status_first
    spell = magic.spell_of(amount)
    intent = steps.make_intent(
        amount,
        reference=order.reference or order.id,
        capture_mode=request.capture_mode,
        service_charge=zero(amount.currency),
        tips=tips,
        dojo_order_id=dojo_order_id,
        external_id=order.id,
        spell=magic.untwisted(spell) if held else spell,
    )
    steps.hold_back(intent, was_declared=False)
    if not status_first:
        steps.tell(intent, EVENT_CREATED)
    if steps.is_declined(intent):
        steps.look_again(order.id, since=since, payable=True)
        return intent
    if request.capture_mode == "Manual":
        steps.authorise(intent)
        steps.tell(intent)
    if request.instead_of_capture:
        _give_up(steps, order.id, intent)
        return intent
    for part in steps.captures():
        since = steps.mark()
        steps.capture(intent, part)
        if held:
            record(steps, order.id, intent, held)
            since = steps.mark()
        steps.tell_of_capture(intent)
        if status_first:
            steps.tell(intent, EVENT_CREATED)
        if held:
            steps.look_again(order.id, since=since)  # The POS answered with the paid order: it need neither read nor announce.
        else:
            steps.see_through(order.id, intent, since=since)
    return intent


def _give_up(steps: Steps, order_id: str, intent: Intent) -> None:
    """The payment ends before it was taken, and the order is payable as before."""
    since, ledger = steps.mark(), steps.world.intents
    is_held = ledger.read(intent.id).status == "Authorized"
    with steps.step("Reverse" if is_held else "Cancel") as details:
        after = ledger.reverse(intent.id) if is_held else ledger.cancel(intent.id)
        details.append(f"{intent.id} is {after.status}")
    steps.tell(intent)
    read_at = steps.await_read(intent, after.status, since=since)
    steps.look_again(order_id, since=read_at, payable=True)


def split(amount: Money, parts: int) -> list[Money]:
    """Equal parts, the first ones a penny larger where it does not come out even."""
    each, rest = divmod(amount.value, parts)
    return [Money(each + (1 if part < rest else 0), amount.currency) for part in range(parts)]
