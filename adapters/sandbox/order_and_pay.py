"""Order and Pay as Dojo runs it. Contract §2.1, and §2.3 for the newer variant."""

from __future__ import annotations

import msgspec

from adapters.sandbox import identifiers
from adapters.sandbox.basket import Basket, default_basket
from adapters.sandbox.errors import StepFailed
from adapters.sandbox.figures import Figures, figures_of
from adapters.sandbox.flow import OrderAndPay
from adapters.sandbox.intents import Intent
from adapters.sandbox.pay_only import pay_in_parts, search
from adapters.sandbox.pos import PosOrder
from adapters.sandbox.steps import Steps, parsed
from adapters.sandbox.wire import money
from workflow.money import zero


def order_and_pay(steps: Steps, request: OrderAndPay) -> None:
    """Play the flow. Raises StepFailed, or what the ledger refuses."""
    basket = request.basket or default_basket()
    dojo_order_id = steps.world.new_id(identifiers.ORDER)
    if request.pay_later:
        _order_now_pay_later(steps, request, basket, dojo_order_id)
        return
    intent = _preauthorise(steps, basket, request, dojo_order_id)
    if steps.is_declined(intent):
        return  # The POS never hears of it.
    since = steps.mark()
    captured_before = request.event_first or request.mode == "inline"
    if captured_before:
        for part in steps.captures():
            steps.capture(intent, part)
    if request.event_first:
        steps.tell_of_capture(intent)
    order_id = _create_order(steps, basket, intent, dojo_order_id)
    if not captured_before:
        _finish(steps, request, order_id, intent)
        return
    if not request.event_first:
        steps.tell_of_capture(intent)
    steps.see_through(order_id, intent, since=since)
    steps.afterwards(order_id, intent)


def _finish(steps: Steps, request: OrderAndPay, order_id: str, intent: Intent) -> None:
    if request.instead_of_capture:
        _undo_hold(steps, order_id, intent, by_cancelling=request.instead_of_capture == "cancel")
        return
    for part in steps.captures():
        since = steps.mark()
        steps.capture(intent, part)
        steps.tell_of_capture(intent)
        steps.see_through(order_id, intent, since=since)
    steps.afterwards(order_id, intent)


def _undo_hold(steps: Steps, order_id: str, intent: Intent, *, by_cancelling: bool) -> None:
    """The hold ends before the capture: Dojo reverses it, after a cancellation that the POS took."""
    since = steps.mark()
    if by_cancelling and not steps.cancel_order(order_id):
        raise StepFailed(f"the POS refuses to cancel order {order_id}, on which nothing was captured")
    with steps.step("Reverse") as details:
        details.append(f"{intent.id} is {steps.world.intents.reverse(intent.id).status}")
    steps.tell(intent)
    read_at = steps.await_read(intent, "Reversed", since=since)
    if by_cancelling:
        steps.look_again(order_id, since=read_at)  # The POS answered with the cancelled order: it need not announce it.
    else:
        steps.await_told(order_id, since=since)


def _preauthorise(steps: Steps, basket: Basket, request: OrderAndPay, dojo_order_id: str) -> Intent:
    with steps.step("PreAuthorise") as details:
        intent = steps.make_intent(
            basket.total - basket.service_charge,
            service_charge=basket.service_charge,
            tips=request.tips,
            capture_mode="Manual",
            reference=basket.reference or dojo_order_id,
            description=basket.display_name,
            dojo_order_id=dojo_order_id,
        )
        if steps.is_declined(intent):
            details.append(f"{intent.id} was declined; the POS never hears of it")
            return intent
        steps.hold_back(intent, was_declared=True)
        details.append(f"{intent.id} holds {steps.world.intents.authorise(intent.id).total}")
        return intent


def _create_order(steps: Steps, basket: Basket, intent: Intent, dojo_order_id: str) -> str:
    tips = steps.request.tips or zero(basket.currency)
    payment = {"paymentIntentId": intent.id, "paidAmount": money(basket.total), "tipsAmount": money(tips)}
    with steps.step("CreateOrder") as details:
        try:
            order = _ask(steps, basket, dojo_order_id, [payment], f"{dojo_order_id} paid by {intent.id}")
        except StepFailed:
            steps.give_back(intent)
            raise
        steps.flow.about(order.id)
        steps.link(intent, order.id)
        steps.remember(_unpaid(basket))
        details.append(order.id)
    return order.id


def _order_now_pay_later(steps: Steps, request: OrderAndPay, basket: Basket, dojo_order_id: str) -> None:
    with steps.step("CreateOrder") as details:
        order_id = _ask(steps, basket, dojo_order_id, [], f"{dojo_order_id}, to be paid later").id
        steps.flow.about(order_id)
        details.append(order_id)
    table_id = basket.details.dine_in.table_id if basket.details.dine_in else None
    if table_id:
        search(steps, {"tableId": table_id}, order_id)
    if request.left_open:
        return
    with steps.step("GetOrderById"):
        order = steps.read_order(order_id)
        steps.remember(figures_of(order))
    pay_in_parts(steps, order, [(basket.total, request.tips or zero(basket.currency))], dojo_order_id=dojo_order_id)


def _ask(steps: Steps, basket: Basket, dojo_order_id: str, payments: list[object], note: str) -> PosOrder:
    body = msgspec.to_builtins(basket) | {"dojoOrderId": dojo_order_id, "totalAmount": money(basket.total), "payments": payments}
    return parsed(steps.flow.client.call("POST", "/v1/orders", body, note=note), PosOrder, "CreateOrder")


def _unpaid(basket: Basket) -> Figures:
    return Figures(basket.total, zero(basket.currency), zero(basket.currency))
