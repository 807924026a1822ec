"""The store's port: what the engine needs of a journal, whichever database keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from workflow.bill import Personal
from workflow.effects import Task
from workflow.entry import Entry
from workflow.order import Order
from workflow.ports import IntentId, OrderId

T = TypeVar("T")


class Seen(NamedTuple):
    """A request that was answered with 2xx before: what it was about, and the fingerprint of its content."""

    fingerprint: str
    order_id: str


class StoredTask(NamedTuple):
    """A task as the outbox keeps it. Times are milliseconds since 1970."""

    task: Task
    lane: str
    status: str
    next_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedLinks:
    """What a read of a parked intent told about its order."""

    external_id: str | None
    dojo_order_id: str | None


class Transaction(Protocol):
    """One unit of work: everything that is stored through it becomes durable together, or nothing does."""

    @property
    def secret(self) -> bytes:
        """Random bytes of this journal, for fingerprints that cannot be guessed from outside."""

    def order(self, order_id: str) -> Order | None:
        """The order as stored."""

    def order_of_intent(self, intent_id: str) -> OrderId | None:
        """The order that the payment intent pays."""

    def order_of_dojo_id(self, dojo_order_id: str) -> OrderId | None:
        """The order that Dojo knows under this id."""

    def save(self, order: Order, before: Order | None) -> None:
        """Store the order as its entries left it."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Append the entries, chained and hashed."""

    def last_venue_seq(self) -> int:
        """`order_seq` of the newest entry that concerns no order; 0 where there is none."""

    def seen(self, source: str, message_id: str) -> Seen | None:
        """The earlier request with this key."""

    def remember(self, source: str, message_id: str, seen: Seen, at: str) -> None:
        """Note that a request is answered with 2xx."""

    def keep_personal(self, order_id: str, salt: str, personal: Personal) -> None:
        """Keep the personal data of an order beside the journal."""

    def personal(self, order_id: str) -> Personal:
        """The personal data of an order; empty where there is none."""

    def park(self, intent_id: str, at: str) -> None:
        """Remember an intent that no order of ours explains yet."""

    def note_links(self, intent_id: str, links: ParkedLinks) -> None:
        """What a read told about the order of a parked intent."""

    def parked_for(self, order: Order | None, order_id: str, dojo_order_id: str | None, intents: Sequence[str]) -> tuple[IntentId, ...]:
        """Parked intents among `intents`, or whose links name the order."""

    def raise_venue_attention(self, code: str, intent_id: str, at: str, detail: str) -> bool:
        """Raise attention that concerns no order; False where it stands already."""

    def task(self, task_id: str) -> StoredTask | None:
        """The task as stored."""

    def waiting_task(self, lane: str, effect: str, intent_id: str) -> StoredTask | None:
        """A pending, unleased task of the lane for the same effect, which a new wish may join."""

    def lane_is_busy(self, lane: str) -> bool:
        """A task of the lane is leased."""

    def next_in_lane(self, lane: str, now_ms: int) -> StoredTask | None:
        """The oldest pending task of the lane that is due."""

    def due_tasks(self, now_ms: int, limit: int) -> list[StoredTask]:
        """Pending tasks that are due and leased ones whose lease ran out, one a lane at the most, oldest first."""

    def next_due_ms(self) -> int | None:
        """When the next pending task is due, or a lease runs out."""

    def release_leases(self, now_ms: int) -> None:
        """Make every leased task pending and due: its holder is gone."""

    def put_task(self, stored: StoredTask, last_error: str = "", done_at: str = "") -> None:
        """Insert the task, or replace it by its id."""

    def touch(self) -> None:
        """Write something that changes nothing, to learn whether anything can be made durable."""

    def on_commit(self, then: Callable[[], None]) -> None:
        """Call `then` once everything of this transaction is durable; never on a rollback."""


class Journal(Protocol):
    """A journal that can be written to."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction and return its result once it is durable.

        Whatever `work` raises rolls it back and is raised here. Raises JournalUnavailable when nothing can be made durable.
        """
