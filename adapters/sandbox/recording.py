"""RecordOrderPayment: money that is already taken, told in words; by the POS's answer it stays or goes back. Contract §9."""

from __future__ import annotations

from adapters.sandbox.calls import Answer
from adapters.sandbox.errors import StepFailed
from adapters.sandbox.intents import Intent
from adapters.sandbox.locks import Held
from adapters.sandbox.pos import PosOrder
from adapters.sandbox.steps import Steps, parsed, path_of
from adapters.sandbox.traffic import UNANSWERED
from adapters.sandbox.wire import money
from workflow.money import Money

ATTEMPTS = 3
BACK_OFF_SECONDS = 0.2
"""Before the second attempt; each later wait is twice the last."""
CONFLICT = 409


def record(steps: Steps, order_id: str, intent: Intent, held: Held, *, copies: int = 0) -> None:
    """Tell the POS of a payment that fits, and `copies` times the same again; every answer must count it once.

    Raises StepFailed on any other answer; the money was then given back, as Dojo does.
    """
    for copy in range(1 + copies):
        held.keep()
        with steps.step("RecordOrderPayment") as details:
            answer, attempts = _ask(steps, order_id, intent, held)
            if not answer.is_success:
                again = copy or attempts > 1
                raise StepFailed(_given_back(steps, order_id, intent, answer, "the same payment again" if again else "a payment that fits"))
            expected = steps.expected()
            check(steps, parsed(answer, PosOrder, "RecordOrderPayment"), payable=expected.paid.value < expected.total.value)
            details.append(f"{'the same again, ' if copy else ''}{intent.due} and {intent.tips} tips: 200, counted once")
            if attempts > 1:
                details.append(f"repeated {attempts - 1} times for want of an answer")


def record_too_much(steps: Steps, order_id: str, intent: Intent, held: Held, *, left: Money) -> None:
    """Tell the POS of a payment of more than is left: it must answer 409 and count nothing. The money goes back in any case."""
    since = steps.mark()
    held.keep()
    with steps.step("RecordOrderPayment") as details:
        answer, _attempts = _ask(steps, order_id, intent, held)
        steps.give_back(intent)
        if answer.status != CONFLICT:
            raise StepFailed(f"a payment of {intent.due} where {left} was left must be 409, the POS answered {answer}")
        details.append(f"{intent.due} where {left} was left: 409 as it must be, given back")
    steps.look_again(order_id, since=since)


def check(steps: Steps, order: PosOrder, *, payable: bool | None = None) -> None:
    """The order in an answer is as it should be. Raises StepFailed."""
    if order.id != steps.flow.result().order_id:
        raise StepFailed(f"the answer is order {order.id}, asked was {steps.flow.result().order_id}")
    if differences := steps.differences(order, payable=payable):
        raise StepFailed(f"order {order.id} is not as it should be: {', '.join(differences)}")


def _ask(steps: Steps, order_id: str, intent: Intent, held: Held) -> tuple[Answer, int]:
    """The first answer that is one, and with which attempt it came; the last one where none is."""
    body = {"paymentIntentId": intent.id, "paidAmount": money(intent.due), "tipsAmount": money(intent.tips), **held.in_body()}
    for attempt in range(1, ATTEMPTS + 1):
        note = f"{intent.due} by {intent.id}" if attempt == 1 else f"{intent.due} by {intent.id} (attempt {attempt})"
        answer = steps.flow.client.call("POST", f"{path_of(order_id)}/record-payment", body, note=note, about=intent.id)
        if answer.status != UNANSWERED and answer.status < 500:
            break
        if attempt < ATTEMPTS:
            steps.world.sightings.pause(BACK_OFF_SECONDS * 2 ** (attempt - 1))
    return answer, attempt


def _given_back(steps: Steps, order_id: str, intent: Intent, answer: Answer, what: str) -> str:
    """What is wrong with an answer after which Dojo gives the money back, and whether the POS counts it now."""
    steps.give_back(intent)
    try:
        payments = steps.read_order(order_id).payments or ()
    except StepFailed as error:
        counts = f"whether order {order_id} counts it is unknown: {error}"
    else:
        is_counted = any(payment.id == intent.id and payment.paid_amount.value for payment in payments)
        counts = f"order {order_id} {'counts it all the same' if is_counted else 'does not count it'}"
    return f"{what} must be 200, the POS answered {answer}; {intent.id} was given back, {counts}"
