"""The store's port: what the engine needs of a journal, whichever database keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow.bill import Personal
from workflow.booking import Booking, Guest, Kind
from workflow.conduct import Conduct
from workflow.effects import Task
from workflow.entry import Entry, Facts, Json
from workflow.money import Money
from workflow.order import Order
from workflow.ports import IntentId, OrderId

T = TypeVar("T")


class Receipt(NamedTuple):
    """Stands for an entry that is in the journal: whoever has it can ask for its proof. `order_id` is "" for what concerns no order."""

    order_id: str
    order_seq: int
    hash: str


RESOLVE_TAKINGS: Final = "resolve_takings"
"""The trigger of the entry, an `operator`'s that concerns no order, that explains a difference of a day's takings."""
RESOLUTIONS = f"""
    SELECT seq, at, actor, payment_intent_id, body FROM journal
    WHERE order_id = '' AND kind = 'operator' AND trigger = '{RESOLVE_TAKINGS}' AND cause = 'takings:' || ? ORDER BY order_seq
"""
"""The statement for those of one day, by its date; it reads the entries that concern no order, and no others."""


class Resolution(NamedTuple):
    """What a person said of a difference in a day's takings, in the entry at `seq`: of this kind, intent and amount."""

    seq: int
    at: str
    actor: str
    kind: str
    intent_id: str
    amount: Money
    order_id: str
    reason: str

    @classmethod
    def of_row(cls, seq: int, at: str, actor: str, intent_id: str, body: str) -> Resolution:
        """As RESOLUTIONS answers. Raises msgspec.DecodeError where that is not what was written."""
        said = msgspec.json.decode(body, type=_Resolved)
        return cls(seq, at, actor, said.difference, intent_id, said.amount, said.order, said.reason)


class _Resolved(msgspec.Struct):
    difference: str
    amount: Money
    order: str
    reason: str


class Seen(NamedTuple):
    """A request that was answered with 2xx before: the fingerprint of its content, and its last entry; 0 where that is not known."""

    fingerprint: str
    order_id: str
    order_seq: int = 0

    @classmethod
    def of_row(cls, fingerprint: str, order_id: str) -> Seen:
        """As stored: both in one text."""
        text, _, order_seq = fingerprint.partition("#")
        return cls(text, order_id, int(order_seq) if order_seq.isdecimal() else 0)

    def to_text(self) -> str:
        """What is stored of fingerprint and entry."""
        return f"{self.fingerprint}#{self.order_seq}"


class StoredTask(NamedTuple):
    """A task as the outbox keeps it. Times are milliseconds since 1970."""

    task: Task
    lane: str
    status: str
    next_at_ms: int
    refusals: int = 0
    """How often the destination refused our credentials on this task."""


class Parked(NamedTuple):
    """An intent that no order of ours explains. `names_an_order` is what its read named, "" for nothing."""

    intent_id: str
    since_ms: int
    interval_ms: int
    names_an_order: str


class Watch(NamedTuple):
    """A payment that the sweep reads again, and how long it has been watched without a change, by the clock for waiting."""

    intent_id: str
    order_id: str
    waited_ms: int


class Since(NamedTuple):
    """The entry since which something is so: its trigger, when it was by the wall clock, UTC text, and its place in the journal."""

    trigger: str
    at: str
    seq: int


class OlderRead(NamedTuple):
    """A payment's last read, where it was older than one before it and differed: how, and since which read every one did.

    `told` are the details of the STATUS_LIE that was raised since.
    """

    differs: str
    since: Since
    told: tuple[str, ...]


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

    @property
    def reads_only(self) -> bool:
        """Nothing can be stored now: whatever changes nothing is answered all the same."""

    def order(self, order_id: str) -> Order | None:
        """The order as stored."""

    def order_of_intent(self, intent_id: str) -> OrderId | None:
        """The order that the payment intent pays."""

    def order_of_dojo_id(self, dojo_order_id: str) -> OrderId | None:
        """The order that Dojo knows under this id."""

    def save(self, order: Order, before: Order | None) -> None:
        """Store the order as its entries left it."""

    def append(self, entries: Sequence[Entry]) -> Receipt:
        """Append the entries, chained and hashed; the receipt of the last."""

    def last_move(self, order_id: str, machine: str, intent_id: str = "") -> Since | None:
        """The newest transition of this machine of the order, or of the payment; None where there was none."""

    def older_read(self, order_id: str, intent_id: str) -> OlderRead | None:
        """The payment's last read, where that was an older one that differs; None where it was none, or where there was no read."""

    def last_venue_seq(self) -> int:
        """`order_seq` of the newest entry that concerns no order; 0 where there is none."""

    def newest_at(self) -> str | None:
        """When the entry of the highest position was written, UTC text; None where there is none."""

    def seen(self, source: str, message_id: str) -> Seen | None:
        """The earlier request with this key."""

    def receipt(self, order_id: str, order_seq: int) -> Receipt | None:
        """The receipt of an entry that is there."""

    def remember(self, source: str, message_id: str, seen: Seen, at: str) -> None:
        """Note that a request is answered with 2xx."""

    def note_repeat(self, source: str, message_id: str, order_id: str, times: int, at: str) -> None:
        """Count that a request which was answered before came again so many times, word for word; for people alone."""

    def refingerprint(self, source: str, message_id: str, seen: Seen) -> None:
        """Know an earlier request by another fingerprint from now on."""

    def requests_of(self, source: str, order_id: str) -> list[tuple[str, Seen]]:
        """The keys of the earlier requests from this source that made this order or booking; looked for among all from it."""

    def rename_request(self, source: str, message_id: str, new_id: str, seen: Seen) -> None:
        """Know an earlier request by another key and fingerprint from now on."""

    def keep_personal(self, order_id: str, salt: str, personal: Personal) -> None:
        """Keep the personal data of an order beside the journal, in the place of older ones."""

    def personal(self, order_id: str) -> Personal:
        """The personal data of an order; empty where there is none."""

    def personal_salt(self, order_id: str) -> str:
        """What the personal data of an order are hashed with as long as they are kept; "" where there are none."""

    def forget_personal(self, order_id: str) -> None:
        """Keep the personal data of an order and their salt no longer, nor any older copy of them in the database."""

    def beginning(self, order_id: str) -> tuple[Facts, str]:
        """What the first entry of an order tells, and the kitchen's first status."""

    def booking(self, kind: Kind, booking_id: str) -> Booking | None:
        """The party or reservation as stored, also a deleted one."""

    def booking_as_made(self, kind: Kind, booking_id: str) -> Booking:
        """The party or reservation as its first entry tells it; looked for among all entries that concern no order."""

    def booking_of_dojo_id(self, kind: Kind, dojo_id: str) -> str | None:
        """The id of the current booking that Dojo knows under this id."""

    def party_at(self, table_id: str) -> str | None:
        """The id of the party that is at the table."""

    def save_booking(self, booking: Booking, before: Booking | None) -> None:
        """Store the booking as its entry tells it."""

    def keep_guest(self, booking_id: str, salt: str, guest: Guest) -> None:
        """Keep the personal data of a booking beside the journal."""

    def guest(self, booking_id: str) -> Guest:
        """The personal data of a booking; empty where there is none."""

    def guest_salt(self, booking_id: str) -> str:
        """What the personal data of a booking are hashed with as long as they are kept; "" where there are none."""

    def forget_guest(self, booking_id: str) -> None:
        """Keep the personal data of a booking and their salt no longer, nor any older copy of them in the database."""

    def park(self, intent_id: str, at: str, next_at_ms: int, interval_ms: int) -> None:
        """Remember an intent that no order of ours explains yet; the sweep reads it again from `next_at_ms` on."""

    def park_again(self, intent_id: str, next_at_ms: int, interval_ms: int) -> None:
        """When the sweep reads a parked intent next."""

    def unpark(self, intent_id: str) -> None:
        """Wait for the order of this intent no longer."""

    def note_links(self, intent_id: str, links: ParkedLinks) -> None:
        """What a read told about the order of a parked intent; one that names none is not read again."""

    def parked_for(self, order_id: str, dojo_order_id: str | None, intents: Sequence[str]) -> tuple[IntentId, ...]:
        """Parked intents among `intents`, or whose links name the order."""

    def due_parked(self, now_ms: int, limit: int) -> list[Parked]:
        """Parked intents that the sweep reads again now."""

    def watch(self, intent_id: str, order_id: str, next_at_ms: int, waited_ms: int) -> None:
        """Have the sweep read a payment at `next_at_ms`; it will have waited so long then."""

    def unwatch(self, intent_id: str) -> None:
        """Nothing of this payment is open any more."""

    def due_watches(self, now_ms: int, limit: int) -> list[Watch]:
        """Payments that the sweep reads again now."""

    def raise_venue_attention(self, code: str, intent_id: str, at: str, detail: str) -> bool:
        """Raise attention that concerns no order; False where it stands already."""

    def clear_venue_attention(self, code: str, intent_id: str) -> bool:
        """Clear attention that concerns no order; False where there is none."""

    def venue_attention(self) -> list[tuple[str, str]]:
        """(code, intent) of all attention that concerns no order."""

    def has_venue_attention(self, code: str, intent_id: str | None = None) -> bool:
        """Attention with this code stands, about this intent or, without one, whatever it is about."""

    def venue(self, name: str) -> Json:
        """What the till last said about the venue; None where it never did."""

    def venue_edition(self, name: str) -> str:
        """Names what `venue` would answer, at little cost: another edition is another value; "" where the till never said it."""

    def set_venue(self, name: str, value: Json) -> None:
        """Keep what the till said about the venue."""

    def resolutions(self, date: str) -> list[Resolution]:
        """What people have said of differences in the takings of that day (YYYY-MM-DD), oldest first."""

    def task(self, task_id: str) -> StoredTask | None:
        """The task as stored."""

    def waiting_task(self, lane: str, effect: str, intent_id: str) -> StoredTask | None:
        """A pending, unleased task of the lane for the same effect, which a new wish may join."""

    def read_is_to_come(self, order_id: OrderId, intent_id: IntentId) -> bool:
        """A read of the intent waits, or is under way, for the order."""

    def lane_is_busy(self, lane: str) -> bool:
        """A task of the lane is leased."""

    def next_in_lane(self, lane: str, now_ms: int) -> StoredTask | None:
        """The oldest pending task of the lane that is due."""

    def due_tasks(self, destination: str, now_ms: int, limit: int) -> list[StoredTask]:
        """Pending tasks for it that are due and leased ones whose lease ran out: the oldest of each lane, the longest due lanes first."""

    def due_probes(self, destination: str, now_ms: int) -> list[StoredTask]:
        """The least tried paused task for it, if its time has come and nothing is under way there; or one whose lease ran out."""

    def pause_pending(self, destination: str, probe_at_ms: int) -> None:
        """Pause everything that waits for the destination, until `probe_at_ms`."""

    def resume_paused(self, destination: str, now_ms: int) -> None:
        """Make everything for the destination that is paused pending, put off and due, or due when the destination asked for it."""

    def wake_waiting(self, destination: str, now_ms: int) -> None:
        """Make everything that waits for the destination due, or due when the destination asked for it."""

    def limit_waits(self, now_ms: int, task_ms: int, sweep_ms: int) -> None:
        """Let no task wait longer than `task_ms` from now and no read of the sweep longer than `sweep_ms`; nothing is younger than now."""

    def make_young(self, destination: str, now_ms: int, age_ms: int) -> None:
        """Let what waits for the destination and is older than `age_ms` begin its age anew, and with it all that waits in its lane."""

    def conduct(self, destination: str) -> Conduct:
        """How the destination has answered of late."""

    def keep_conduct(self, destination: str, conduct: Conduct) -> None:
        """Remember how the destination has answered of late."""

    def note_jump(self, by_ms: int) -> None:
        """The wall clock jumped by so many milliseconds, after the entries that are there."""

    def forget_jumps_back(self, most_ms: int) -> None:
        """Forget what was noted, where the clock jumped back on the whole, by at most so many milliseconds."""

    def jumped_ms(self, since_seq: int) -> int:
        """By how many milliseconds the wall clock has jumped since the entry of that place, all jumps together."""

    def next_due_ms(self, destination: str) -> int | None:
        """When the destination's next waiting task is due, or a lease runs out."""

    def release_leases(self, destination: str, now_ms: int, status: str) -> None:
        """Make every leased task for the destination due: its holder is gone. It and what was pending are `status`: pending, or paused."""

    def has_dead_task(self, order_id: str, intent_id: str, *, besides: str = "", up_to: int = 0) -> bool:
        """A task of this order and intent was given up; one of the effect `besides` that knew the order up to there is not asked about."""

    def not_told(self, before_ms: int, limit: int) -> list[OrderId]:
        """Orders with money that counts, of which the till should have been told before that moment, and nobody was called yet."""

    def renew_task(self, task_id: str, order_seq: int, now_ms: int) -> None:
        """A waiting task speaks of a newer entry too, and is as young as that, unless the till waits by it to hear of money that counts."""

    def put_task(self, stored: StoredTask, last_error: str = "", done_at: str = "") -> None:
        """Insert the task, or replace it by its id."""

    def note_attempt(self, task: Task, at: str, error: str) -> None:
        """Keep that an attempt failed, and why, for people alone; of one task the newest KEPT_ATTEMPTS."""

    def touch(self) -> None:
        """Write something that changes nothing, to learn whether anything can be made durable."""

    def rotate_key(self, new_key: Ed25519PrivateKey) -> Facts:
        """The facts, signed by both keys, of the entry that brings `new_key` in, which must be appended next and be this command's last.

        With its commit the key that was in force signs a last checkpoint of everything, and from then on `new_key` signs.
        """

    def on_commit(self, then: Callable[[], None]) -> None:
        """Call `then` once everything of this transaction is durable; never on a rollback."""


class Journal(Protocol):
    """A journal that can be written to."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction and return its result once it is durable.

        Whatever `work` raises rolls it back and is raised here. Raises JournalUnavailable when nothing can be made durable.
        """

    def empty_log(self) -> bool:
        """Leave nothing of older states beside the database; False while somebody who reads one of them stands in the way."""
