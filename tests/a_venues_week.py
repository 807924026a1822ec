"""Days of a venue with everything that an auditor may look for, at fixed moments: for tests of what is made of a journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from tests.builders import FixedClock, Venue, a_bill, a_party, an_intent, gbp
from workflow.bill import Customer, Personal
from workflow.booking import Guest
from workflow.clock import from_text
from workflow.commands import (
    AmendOrder,
    AttemptFailed,
    CreateBooking,
    CreateOrder,
    EraseOrder,
    OpenOrder,
    RecordPayment,
    ReportProgress,
    RequeueTask,
    ResolveOrder,
    SetVenue,
    Sweep,
    ToldPayment,
)
from workflow.money import Money
from workflow.ports import IntentId, OrderId

NAME, EMAIL, PHONE, NOTE, GUEST = "Zoë Canary", "canary@example.com", "+447700900123", "a canary sings", "Guest Canary"
ERASED = "Erased Canary"
PERSONAL = Personal(customer=Customer(name=NAME, email_address=EMAIL, phone_number=PHONE), note=NOTE)
SUNDAY_NIGHT = "2026-03-28T23:59:00.000Z"
"""A minute before the day on which London's clocks go forward."""


def week(folder: Path, clock: FixedClock | None = None) -> Venue:
    """The journal in `folder`, open: both flows, a split bill, tips, refunds, differences, dead calls, a parked event, acts of people."""
    venue = Venue(folder, clock=clock or FixedClock(from_text(SUNDAY_NIGHT)))
    handle = venue.engine.handle
    # Paid before midnight, given back in part after it, and told twice by two channels.
    handle(
        CreateOrder(
            order_id="o1",
            dojo_order_id="dojo-o1",
            bill=a_bill(4820),
            personal=PERSONAL,
            payments=(ToldPayment(intent_id="pi_1", paid=4820, tips=480),),
            captured=False,
        )
    )
    handle(CreateBooking(booking=a_party("pty_1", "tbl_1"), guest=Guest(name=GUEST)))
    venue.event("pi_1", "Captured", event_id="evt_a")
    venue.event("pi_1", "Captured", event_id="evt_a")
    venue.event("pi_1", "Captured", event_id="evt_a", channel="webhook")
    world = {"pi_1": an_intent("pi_1", paid=4820, tips=480)}
    venue.settle(world)
    venue.clock.move(3 * 3600)
    venue.event("pi_1", "Refunded")
    world["pi_1"] = an_intent("pi_1", paid=4820, tips=480, refunded=820, updated_at="2026-03-29T03:00:00Z")
    venue.settle(world)
    # A split bill at a table, amended once, paid by two and overpaid by a third.
    handle(OpenOrder(order_id="o2", key="o2", bill=a_bill(1000), personal=Personal(), actor="till:till-1"))
    amended = msgspec.structs.replace(a_bill(1200), reference="=Grün+12")
    handle(AmendOrder(order_id="o2", bill=amended, personal=Personal(), actor="till:till-1"))
    for number, paid in ((2, 500), (3, 700), (4, 150)):
        world[f"pi_{number}"] = an_intent(f"pi_{number}", paid=paid, external_id="o2")
        venue.event(f"pi_{number}", "Captured")
        venue.settle(world)
        venue.clock.move(60)
    # One difference that stands, one that a person accepted, one payment that was taken off its order.
    for order_id, intent_id, paid in (("o3", "pi_5", 999), ("o4", "pi_6", 1100), ("o9", "pi_7", 1)):
        venue.create(order_id, payments=(ToldPayment(intent_id=intent_id, paid=1000),))
        world[intent_id] = an_intent(intent_id, paid=paid)
        venue.event(intent_id, "Captured")
        venue.settle(world)
    venue.event("pi_5", "Captured")
    venue.settle(world)  # Read once more: the same difference is still the one that stands.
    handle(ResolveOrder(order_id="o4", action="accept_difference", reason="a round of drinks", actor="operator:ann"))
    handle(ResolveOrder(order_id="o9", action="detach_payment", reason="not ours", actor="operator:ann"))
    handle(ResolveOrder(order_id="o1", action="accept_difference", reason="nothing to accept", actor="operator:bob"))
    # Told in words and not read, an intent that Dojo does not know, a call that died and was asked for again, and one that is dead.
    venue.clock.move(86_400)
    handle(OpenOrder(order_id="o5", key="o5", bill=a_bill(1000), personal=Personal(), actor="till:till-1"))
    handle(RecordPayment(order_id="o5", intent_id="pi_8", paid=gbp(1000), tips=gbp(50)))
    venue.tasks.clear()
    venue.create("o6", payments=(ToldPayment(intent_id="pi_9", paid=1000),))
    venue.event("pi_9", "Captured")
    venue.settle({})
    for order_id in ("o7", "o8"):
        venue.create(order_id, payments=(ToldPayment(intent_id=f"pi_{order_id}", paid=1000),))
        venue.event(f"pi_{order_id}", "Captured")
        dead = venue.tasks.popleft()
        handle(AttemptFailed(task=dead, error="500 for three days", next_at_ms=None, code="OUTBOX_DEAD"))
        if order_id == "o7":
            handle(RequeueTask(task_id=dead.id, reason="Dojo is back", actor="operator:ann"))
            venue.settle({"pi_o7": an_intent("pi_o7")})
    _further(venue)
    # An event whose order is not here, and bills in currencies without parts and with a thousand of them.
    venue.event("pi_stray", "Captured")
    _foreign(venue, "yen", "JPY", 1_234_567)
    _foreign(venue, "kwd", "KWD", 12_345, tips=1_005, refunded=345)
    venue.clock.move(7 * 3600)
    handle(Sweep(limit=100))
    venue.tasks.clear()
    venue.journal.seal()
    return venue


def _further(venue: Venue) -> None:
    handle = venue.engine.handle
    # Counted in words until a read said otherwise; half of a bill held; a bill that the till cancelled, and one of somebody erased since.
    handle(OpenOrder(order_id="o10", key="o10", bill=a_bill(1000), personal=Personal(), actor="till:till-1"))
    handle(RecordPayment(order_id="o10", intent_id="pi_10", paid=gbp(1000), tips=gbp(100)))
    venue.settle({"pi_10": an_intent("pi_10", paid=900, tips=100, external_id="o10")})
    handle(OpenOrder(order_id="o12", key="o12", bill=a_bill(1000), personal=Personal(), actor="till:till-1"))
    venue.event("pi_12", "Authorized")
    held = an_intent("pi_12", paid=400, status="Authorized", external_id="o12")
    venue.settle({"pi_12": replace(held, capture_mode="Manual")})
    handle(OpenOrder(order_id="o11", key="o11", bill=a_bill(1000), personal=Personal(), actor="till:till-1"))
    handle(ReportProgress(order_id="o11", status="Canceled", actor="till:till-1"))
    venue.settle({})
    bill, payments = a_bill(700), (ToldPayment(intent_id="pi_13", paid=700),)
    gone = Personal(customer=Customer(name=ERASED))
    handle(CreateOrder(order_id="o13", dojo_order_id="dojo-o13", bill=bill, personal=gone, payments=payments, captured=True))
    venue.settle({"pi_13": an_intent("pi_13", paid=700)})
    handle(EraseOrder(order_id="o13", reason="letter 12", actor="operator:ann"))
    for is_taking in (False, True):
        handle(SetVenue(name="taking_orders", value=is_taking, actor="till:till-1"))
    venue.tasks.clear()


def _foreign(venue: Venue, name: str, currency: str, paid: int, *, tips: int = 0, refunded: int = 0) -> None:
    intent_id, bill = IntentId(f"pi_{name}"), msgspec.structs.replace(a_bill(), total_amount=Money(paid, currency))
    told = (ToldPayment(intent_id=intent_id, paid=paid, tips=tips),)
    order = CreateOrder(
        order_id=OrderId(f"o_{name}"), dojo_order_id=f"dojo-{name}", bill=bill, personal=Personal(), payments=told, captured=True
    )
    venue.engine.handle(order)
    amounts = {"amount": Money(paid, currency), "total": Money(paid + tips, currency), "tips": Money(tips, currency) if tips else None}
    intent = replace(an_intent(intent_id), **amounts)
    venue.settle({intent_id: intent})
    if refunded:
        venue.event(intent_id, "Refunded")
        venue.settle({intent_id: replace(intent, refunded=refunded, updated_at="2026-03-31T03:00:00Z")})


def days() -> list[datetime]:
    """A moment of each day of the week, and of the days beside it."""
    first = from_text(SUNDAY_NIGHT).replace(hour=12) - timedelta(days=1)
    return [first + timedelta(days=number) for number in range(7)]
