"""Pay-only as Dojo runs it: a bill that is there already, found by its table. Contract §2.2."""

from __future__ import annotations

from adapters.sandbox.errors import StepFailed
from adapters.sandbox.flow import PayOnly
from adapters.sandbox.intents import Intent
from adapters.sandbox.pos import PosOrder, PosOrders
from adapters.sandbox.steps import Steps, figures_of, parsed
from adapters.sandbox.wire import EVENT_CREATED
from workflow.money import Money, zero


def pay_only(steps: Steps, request: PayOnly) -> None:
    """Play the flow. Raises StepFailed, or what the ledger refuses."""
    order_id = search(steps, request.table_id, request.order_id)
    steps.flow.about(order_id)
    with steps.step("GetOrderById") as details:
        order = steps.read_order(order_id)
        shown = figures_of(order)
        steps.remember(shown)
        outstanding = shown.total - shown.paid
        if outstanding.value < request.parts:
            raise StepFailed(f"order {order_id} has {outstanding} left to pay, too little for {request.parts} payments")
        details.append(f"{outstanding} left to pay")
    tips = request.tips or zero(outstanding.currency)
    for amount, tip in zip(_split(outstanding, request.parts), _split(tips, request.parts), strict=True):
        pay(steps, order, amount, tip, last=not (outstanding := outstanding - amount).value)


def search(steps: Steps, table_id: str, order_id: str | None) -> str:
    """SearchOrders for a payable order of the table: this one, or without `order_id` the first. Raises StepFailed where there is none."""
    with steps.step("SearchOrders") as details:
        body = {"dineIn": {"tableId": table_id}, "payableOnly": True}
        answer = steps.flow.client.call("POST", "/v1/orders/search", body, note=f"payable at {table_id}")
        found = [order.id for order in parsed(answer, PosOrders, "SearchOrders").data if order.payable is not False]
        chosen = [each for each in found if order_id in {None, each}]
        if not chosen:
            raise StepFailed(f"the POS found no such payable order at table {table_id}; it found {found or 'none'}")
        details.append(chosen[0])
        return chosen[0]


def pay(steps: Steps, order: PosOrder, amount: Money, tips: Money | None, *, dojo_order_id: str | None = None, last: bool = True) -> None:
    """One payment of the order, seen through; after the `last` one, what the request wants afterwards."""
    request = steps.flow.request
    status_first = isinstance(request, PayOnly) and request.status_first
    intent = steps.make_intent(
        amount,
        reference=order.reference or order.id,
        capture_mode=request.capture_mode,
        service_charge=zero(amount.currency),
        tips=tips,
        dojo_order_id=dojo_order_id,
        external_id=order.id,
    )
    steps.hold_back(intent, was_declared=False)
    if not status_first:
        steps.tell(intent, EVENT_CREATED)
    if steps.is_declined(intent):
        steps.read_back(order.id, since=steps.mark(), payable=True)
        return
    if request.capture_mode == "Manual":
        steps.authorise(intent)
        steps.tell(intent)
    if request.instead_of_capture:
        _give_up(steps, order.id, intent)
        return
    for part in steps.captures():
        since = steps.mark()
        steps.capture(intent, part)
        steps.tell_of_capture(intent)
        if status_first:
            steps.tell(intent, EVENT_CREATED)
        steps.see_through(order.id, intent, since=since)
    if last:
        steps.afterwards(order.id, intent)


def _give_up(steps: Steps, order_id: str, intent: Intent) -> None:
    """The payment ends before it was taken, and the order is payable as before."""
    since, ledger = steps.mark(), steps.world.intents
    is_held = ledger.read(intent.id).status == "Authorized"
    with steps.step("Reverse" if is_held else "Cancel") as details:
        after = ledger.reverse(intent.id) if is_held else ledger.cancel(intent.id)
        details.append(f"{intent.id} is {after.status}")
    steps.tell(intent)
    steps.await_read(intent, after.status, since=since)
    steps.read_back(order_id, since=since, payable=True)


def _split(amount: Money, parts: int) -> list[Money]:
    """Equal parts, the first ones a penny larger where it does not come out even."""
    each, rest = divmod(amount.value, parts)
    return [Money(each + (1 if part < rest else 0), amount.currency) for part in range(parts)]
