"""Pay at Table as Dojo runs it: a waiter with a card machine. Contract §1 (products) and §9, table "What Dojo does"."""

from __future__ import annotations

from contextlib import suppress

from adapters.sandbox import magic
from adapters.sandbox.errors import StepFailed
from adapters.sandbox.figures import figures_of
from adapters.sandbox.flow import PayAtTable
from adapters.sandbox.intents import Intent
from adapters.sandbox.locks import Held, locked, new_lock
from adapters.sandbox.magic import PLAIN, Spell
from adapters.sandbox.pay_only import search, split
from adapters.sandbox.pos import Caller, PosBill, PosOrder
from adapters.sandbox.recording import CONFLICT, check, record, record_too_much
from adapters.sandbox.steps import Steps, parsed, path_of
from adapters.sandbox.wire import EVENT_CREATED, EVENT_STATUS_UPDATED
from workflow.money import Money, zero

PRODUCT = "PayAtTable"
DEVICE_TYPE = "Dojo Terminal"
PENNY = 1
SECOND = "-2"
"""What the second waiter and the second device are called more than the first."""


def caller_of(request: PayAtTable, suffix: str = "") -> Caller:
    """The waiter and the card machine, as Dojo names them to the POS."""
    return Caller(product=PRODUCT, waiter_id=request.waiter_id + suffix, device_id=request.device_id + suffix, device_type=DEVICE_TYPE)


def pay_at_table(steps: Steps, request: PayAtTable) -> None:
    """Play the flow. Raises StepFailed, or what the ledger refuses."""
    where = {"tableId": request.table_id} if request.table_id else {"waiterId": request.waiter_id}
    order_id = search(steps, where, request.order_id)
    steps.flow.about(order_id)
    with steps.step("GetOrderById"):
        order = steps.read_order(order_id)
        steps.remember(figures_of(order))
    if "GetOrderBill" in steps.flow.capabilities:
        _print_bill(steps, order_id)
    intents = list[Intent]()
    with locked(steps, order, seconds=request.lock_seconds) as (held, order):
        left = _left(steps, order, request.parts)
        if request.second_waiter:
            _second_waiter(steps, request, order_id, is_free=False)
        if request.too_large:
            # Without events: a POS that read the intent meanwhile may count it and say so, which is no conflict.
            too_much = _intent(steps, request, order, left + Money(PENNY, left.currency), None, PLAIN)
            _capture(steps, too_much)
            record_too_much(steps, order_id, too_much, held, left=left)
        tips = split(request.tips or zero(left.currency), request.parts)
        for amount, tip in zip(split(left, request.parts), tips, strict=True):
            intents.append(_pay(steps, request, order, amount, tip, held))
    if request.second_waiter:
        _second_waiter(steps, request, order_id, is_free=True)
    expected = steps.expected()
    steps.look_again(order_id, since=steps.mark(), payable=expected.paid.value < expected.total.value)
    if request.afterwards:
        steps.afterwards(order_id, intents[-1])


def _print_bill(steps: Steps, order_id: str) -> None:
    with steps.step("GetOrderBill") as details:
        bill = parsed(steps.flow.client.call("GET", f"{path_of(order_id)}/bill"), PosBill, "GetOrderBill")
        check(steps, bill.order)
        details.append(f"printed, {bill.order.total_amount} in all")


def _left(steps: Steps, order: PosOrder, parts: int) -> Money:
    """What is left to pay of the order, which may have changed until it was locked. Raises StepFailed on too little."""
    shown = figures_of(order)
    steps.remember(shown)
    left = shown.total - shown.paid
    if left.value < parts:
        raise StepFailed(f"order {order.id} has {left} left to pay, too little for {parts} payments")
    return left


def _pay(steps: Steps, request: PayAtTable, order: PosOrder, amount: Money, tips: Money, held: Held) -> Intent:
    """One card on the machine: taken, then told; or declined or given up, and never told."""
    intent = _intent(steps, request, order, amount, tips, magic.untwisted(magic.spell_of(amount)))
    _tell(steps, intent, EVENT_CREATED)
    if steps.is_declined(intent) or request.instead_of_capture:
        since = steps.mark()
        with steps.step("Pay") as details:
            after = intent if steps.is_declined(intent) else steps.world.intents.cancel(intent.id)
            details.append(f"nothing was taken, {intent.id} is {after.status}")
        steps.look_again(order.id, since=since)
        return intent
    _capture(steps, intent)
    if request.event_first:
        _tell(steps, intent, EVENT_STATUS_UPDATED)
    held.pause(request.delay_seconds)
    record(steps, order.id, intent, held, copies=request.duplicates)
    if not request.event_first:
        _tell(steps, intent, EVENT_STATUS_UPDATED)
    return intent


def _intent(steps: Steps, request: PayAtTable, order: PosOrder, amount: Money, tips: Money | None, spell: Spell) -> Intent:
    return steps.make_intent(
        amount,
        reference=order.reference or order.id,
        capture_mode="Auto",
        service_charge=zero(amount.currency),
        tips=tips,
        external_id=order.id,
        metadata={"waiterId": request.waiter_id},
        spell=spell,
    )


def _capture(steps: Steps, intent: Intent) -> None:
    with steps.step("Capture") as details:
        details.append(f"{steps.world.intents.capture(intent.id).taken} taken by {intent.id}")


def _tell(steps: Steps, intent: Intent, event: str) -> None:
    """Events are the other way by which a POS learns of the money; one without them is not told."""
    if steps.takes(event):
        steps.tell(intent, event)


def _second_waiter(steps: Steps, request: PayAtTable, order_id: str, *, is_free: bool) -> None:
    """Another waiter tries to lock the order: refused while the first one has it, granted and released once it is free."""
    lock = new_lock(steps, order_id, steps.flow.client.on_behalf_of(caller_of(request, SECOND)))
    with steps.step("CreateOrderLock") as details:
        answer = lock.ask()
        if is_free:
            if not answer.is_success:
                raise StepFailed(f"order {order_id} was released, so a second waiter's lock must be 200, the POS answered {answer}")
            lock.release()
        elif answer.status != CONFLICT:
            with suppress(StepFailed):  # It should not have been granted, so it is no loss.
                lock.release()
            raise StepFailed(f"order {order_id} is locked, so a second waiter's lock must be 409, the POS answered {answer}")
        details.append(f"second waiter: {'granted and released' if is_free else '409 as it must be'}")
