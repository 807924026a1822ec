"""Builders for tests: valid by default, so that a test says only what matters to it."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from workflow.bill import Bill, Details, DineIn, Personal
from workflow.booking import Party, Reservation
from workflow.books import Books, Day, books_of, orders_of
from workflow.case import declared_machines
from workflow.clock import to_text
from workflow.commands import AttemptFailed, CreateOrder, EffectTaken, IntentRead, OpenOrder, ReceiveEvent, ToldPayment
from workflow.effects import Task
from workflow.engine import Engine, EngineSettings
from workflow.journal.keys import load_or_make_key
from workflow.journal.reads import SqliteReads
from workflow.journal.sqlite import SqliteJournal
from workflow.money import Money
from workflow.order import Order, Payment
from workflow.ports import Capture, IntentId, OrderId, PaymentIntent

MACHINES = declared_machines()
DOJO_EFFECTS = frozenset({"read_intent", "order_updated"})
"""Of a venue whose till follows the feed and is not called."""

WITH_TILL = DOJO_EFFECTS | {"tell_till"}


def walks(count: int) -> int:
    """So many random examples in every run of the tests; WALKS=N takes N times as many (`make prove`)."""
    return count * int(os.environ.get("WALKS", "1"))


class FixedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, moment: datetime = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)) -> None:
        self.moment, self.seconds = moment, 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.jump(seconds)
        self.seconds += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock: the seconds for waiting know nothing of it."""
        self.moment += timedelta(seconds=seconds)


class TickingClock(FixedClock):
    """A clock whose seconds for waiting go on by so many whenever they are read."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step = step

    def monotonic(self) -> float:
        self.seconds += self._step
        return self.seconds


def gbp(value: int) -> Money:
    return Money(value, "GBP")


def a_bill(total: int = 1000, table: str = "tbl_12") -> Bill:
    return Bill(details=Details(order_type="DineIn", dine_in=DineIn(table_id=table)), items=(), total_amount=gbp(total), reference="A-1042")


def an_intent(intent_id: str = "pi_1", *, status: str = "Captured", paid: int = 1000, tips: int = 0, **changes: object) -> PaymentIntent:
    """An intent of an Auto capture that agrees with itself."""
    intent = PaymentIntent(
        id=IntentId(intent_id),
        status=status,
        capture_mode="Auto",
        amount=gbp(paid),
        tips=gbp(tips),
        total=gbp(paid + tips),
        created_at="2026-03-14T12:00:00Z",
        updated_at="2026-03-14T12:01:00Z",
    )
    return replace(intent, **changes)


def a_capture(amount: int, *, tips: int | None = None, status: str = "Successful") -> Capture:
    return Capture(id=f"cp_{amount}", status=status, amount=amount, tips=tips)


def a_payment(state: str = "reconciled", intent_id: str = "pi_1", *, paid: int = 1000, tips: int = 0, **changes: object) -> Payment:
    """A payment that was read and agrees."""
    return Payment(**{"intent_id": intent_id, "state": state, "paid": paid, "tips": tips, "was_read": True, **changes})


def told(state: str = "captured", *, paid: int = 1000, tips: int = 0, in_words: bool = True, **changes: object) -> Payment:
    """A payment that Dojo declared and that nobody read."""
    return Payment(**{"intent_id": "pi_1", "state": state, "told_paid": paid, "told_tips": tips, "in_words": in_words, **changes})


def an_order(*payments: Payment, total: int = 1000, **changes: object) -> Order:
    """An order with these payments, of the intents `pi_1`, `pi_2` and so on."""
    numbered = {f"pi_{number}": replace(payment, intent_id=f"pi_{number}") for number, payment in enumerate(payments, start=1)}
    order = Order(id=OrderId("o1"), flow="order_and_pay", bill=a_bill(total), payments=numbered, state="created", status="Accepted")
    return replace(order, **changes)


def a_party(booking_id: str = "pty_1", *tables: str, **changes: object) -> Party:
    """A party that Dojo knows by `dojo-` and its id."""
    party = Party(
        id=booking_id, dojo_id=f"dojo-{booking_id}", table_ids=tables or ("tbl_12",), start_time="2026-03-14T19:00:00.000Z", status="seated"
    )
    return msgspec.structs.replace(party, **changes)


def a_reservation(booking_id: str = "rsv_1", *tables: str, **changes: object) -> Reservation:
    """A reservation of two hours, likewise."""
    reservation = Reservation(
        id=booking_id,
        dojo_id=f"dojo-{booking_id}",
        table_ids=tables or ("tbl_12",),
        start_time="2026-03-14T19:00:00.000Z",
        end_time="2026-03-14T21:00:00.000Z",
        covers=2,
    )
    return msgspec.structs.replace(reservation, **changes)


class UnsyncedJournal(SqliteJournal):
    """No test of a venue cuts its power; syncs are proved on processes."""

    def _run(self) -> None:
        self._connection.execute("PRAGMA synchronous = OFF")  # Here, since the connection is the writer thread's.
        super()._run()


class Venue:
    """A real engine on a real journal; the tasks that it hands over wait in `tasks` until the test performs them."""

    def __init__(
        self,
        folder: Path,
        *,
        sends: frozenset[str] = DOJO_EFFECTS,
        account_ids: frozenset[str] = frozenset(),
        clock: FixedClock | None = None,
    ) -> None:
        self.folder, self.clock = folder, clock or FixedClock()
        self.key = load_or_make_key(folder / "tillproof.key")
        self.witness = folder / "tillproof.witness"
        self.journal = UnsyncedJournal(folder / "tillproof.db", self.witness, self.key, self.clock)
        settings = EngineSettings(
            sends=sends,
            lease_ms=30_000,
            probe_ms=60_000,
            sweep_ms=60_000,
            horizon_ms=259_200_000,
            orphan_alarm_ms=300_000,
            paid_alarm_ms=120_000,
            account_ids=account_ids,
            new_salt=lambda: "salt",
        )
        self.engine = Engine(self.journal, MACHINES, self.clock, settings)
        self.tasks: deque[Task] = deque()
        self.engine.hand_over = self.tasks.append
        self.reads = SqliteReads(folder / "tillproof.db")
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self.journal.close()

    def create(self, order_id: str = "o1", *, payments: tuple[ToldPayment, ...] | None = None, captured: bool = False, total: int = 1000):
        told = (ToldPayment(intent_id=IntentId("pi_1"), paid=total),) if payments is None else payments
        command = CreateOrder(
            order_id=OrderId(order_id),
            dojo_order_id=f"dojo-{order_id}",
            bill=a_bill(total),
            personal=Personal(),
            payments=told,
            captured=captured,
        )
        return self.engine.handle(command)

    def open(self, order_id: str = "o1", *, total: int = 1000):
        return self.engine.handle(
            OpenOrder(order_id=OrderId(order_id), key=order_id, bill=a_bill(total), personal=Personal(), actor="till:till-1")
        )

    def event(self, intent_id: str, status: str, *, event_id: str | None = None, channel: str = "capability", account: str = "acc_1"):
        return self.engine.handle(
            ReceiveEvent(
                channel=channel,
                event_id=event_id or f"evt_{next(self._numbers)}",
                event="payment_intent.status_updated",
                account_id=account,
                intent_id=IntentId(intent_id),
                status=status,
            )
        )

    def perform(self, task: Task, world: dict[str, PaymentIntent]) -> None:
        """Do what the outbox would do with Dojo as `world` has it."""
        if task.effect != "read_intent":
            self.engine.handle(EffectTaken(task=task))
        elif intent := world.get(task.intent_id):
            self.engine.handle(IntentRead(task=task, intent=intent))
        else:
            failure = AttemptFailed(task=task, error="404 no such intent", next_at_ms=None, code="INTENT_NOT_FOUND")
            self.engine.handle(failure)

    def settle(self, world: dict[str, PaymentIntent], *, limit: int = 200) -> None:
        """Perform everything that waits until nothing does."""
        for _ in range(limit):
            if not self.tasks:
                return
            self.perform(self.tasks.popleft(), world)
        raise AssertionError(f"the outbox does not drain within {limit} tasks")

    def order(self, order_id: str = "o1"):
        stored = self.reads.order(order_id)
        return stored.order if stored else None


def read_books(reads: SqliteReads, day: Day, intents: Iterable[PaymentIntent] = ()) -> Books:
    """The books of the orders that the day concerns, in one go."""
    books = Books()
    for part in books_of(reads, orders_of(reads, day, intents), until=to_text(day.end)):
        books.take_in(part)
    return books
