"""One order under random holders of its lock and a clock that passes, stands and jumps: one holder at a time, and nobody else writes."""

from __future__ import annotations

import itertools
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import Venue, a_bill, gbp, walks
from workflow.bill import Personal
from workflow.clock import to_text
from workflow.commands import AmendOrder, CancelOrder, ExtendLock, LockOrder, RecordPayment, RefuseOrder, ReleaseLock, ReportProgress
from workflow.errors import OrderLocked
from workflow.lock_times import GRACE_MS
from workflow.ports import IntentId, OrderId
from workflow.replay import rebuild

HOLDERS = ("dojo-1", "dojo-2", "dojo-3")
ENDS = {
    "till cancels": partial(ReportProgress, status="Canceled", actor="till:t"),
    "till reports a failure": partial(ReportProgress, status="Failed", actor="till:t"),
    "till refuses": partial(RefuseOrder, reason="no fish", actor="till:t"),
}
_numbers = itertools.count(1)

acts = st.lists(
    st.one_of(
        st.tuples(st.just("lock"), st.sampled_from(HOLDERS), st.integers(1, 30)),
        st.tuples(st.just("extend"), st.sampled_from(HOLDERS), st.integers(1, 30)),
        st.tuples(st.just("release"), st.sampled_from(HOLDERS), st.just(0)),
        st.tuples(st.just("record"), st.sampled_from(HOLDERS), st.integers(1, 3)),
        st.tuples(st.just("amend"), st.just(""), st.integers(900, 1100)),
        st.tuples(st.sampled_from([*ENDS]), st.just(""), st.just(0)),
        st.tuples(st.sampled_from(["wait", "jump"]), st.just(""), st.integers(-40, 40)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    venue = Venue(tmp_path_factory.mktemp("locks"))
    yield venue
    venue.close()


class Book:
    """Who holds the lock, as anybody on the outside would keep it: whoever was told so last, until the moment that was named.

    A clock that is set back meanwhile makes that hardly longer than it was to be: `ends` is by a clock that never goes back.
    """

    def __init__(self, venue) -> None:
        self.venue, self.order_id = venue, OrderId(f"tab-{next(_numbers)}")
        self.holder, self.until, self.ends, self.accepted = "", "", 0.0, set()
        venue.open(self.order_id)

    @property
    def live(self) -> str:
        has_time = to_text(self.venue.clock.now()) < self.until and self.venue.clock.monotonic() < self.ends
        return self.holder if has_time else ""

    def ask(self, how, **fields):
        return self.venue.engine.handle(how(order_id=self.order_id, **fields)).refusal

    def do(self, what, who, number) -> None:
        live, others = self.live, self.live not in ("", who)
        if what in ("lock", "extend"):
            until = to_text(self.venue.clock.now() + timedelta(minutes=number))
            refused = self.ask(LockOrder if what == "lock" else ExtendLock, lock_id=who, expires_at=until)
            assert not (others and not refused), f"{who} has the lock of {live}"
            assert not (what == "lock" and isinstance(refused, OrderLocked) and not others), "nobody holds it"
            if not refused and (not live or (who, until) != (self.holder, self.until)):  # The very same again gives no more time.
                self.holder, self.until, self.ends = who, until, self.venue.clock.monotonic() + 60 * number + GRACE_MS // 1000
        elif what == "release":
            refused = self.ask(ReleaseLock, lock_id=who)
            assert not (others and not refused), f"{who} released the lock of {live}"
            if not refused and who == self.holder:
                self.holder = ""
        elif what == "record":
            intent_id = IntentId(f"{self.order_id}-{who}-{number}")
            refused = self.ask(RecordPayment, intent_id=intent_id, paid=gbp(100), tips=None, lock_id=who)
            repeat = intent_id in self.accepted  # What was accepted is accepted for ever (I12), and writes nothing.
            assert not (others and not refused and not repeat), f"{who} wrote under the lock of {live}"
            if not refused:
                self.accepted.add(intent_id)
        elif what == "amend":
            is_so = self.venue.order(self.order_id).bill == a_bill(number)
            refused = self.ask(AmendOrder, bill=a_bill(number), personal=Personal(), actor="till:t")
            assert (bool(live) and not is_so) == isinstance(refused, OrderLocked), "the till writes when Dojo does not"
        elif what in ENDS:
            over = self.venue.order(self.order_id).is_final
            refused = self.ask(ENDS[what])
            assert (bool(live) and not over) == isinstance(refused, OrderLocked), "the till ends what Dojo writes alone"
        else:
            seconds = {"wait": 60 * abs(number), "jump": 60 * number}[what]
            (self.venue.clock.move if what == "wait" else self.venue.clock.jump)(seconds)


def holders_by_the_entries(venue, order_id):
    """(holder, until, how, at) of each entry about the lock."""
    for stored in venue.reads.entries():
        entry = stored.entry()
        if entry.order_id == order_id and entry.kind == "lock":
            yield entry.body["lockId"], entry.body["expiresAt"], entry.trigger, entry.at


@settings(max_examples=walks(80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(acts=acts)
def test_at_every_entry_one_holder_has_the_lock_and_while_it_lives_nobody_else_writes(venue, acts):  # I16 X2 X3 X12
    book = Book(venue)
    for act in acts:
        book.do(*act)

    holder, until, was_set_back = "", "", any(what == "jump" and number < 0 for what, _, number in acts)
    for new, new_until, how, at in holders_by_the_entries(venue, book.order_id):
        assert how in ("extend", "release") or not holder or holder == new or at >= until or was_set_back, "taken while another lived"
        assert how not in ("extend", "release") or new == holder
        assert (how == "take_over") == (how != "release" and bool(holder) and holder != new)
        holder, until = ("" if how == "release" else new), new_until
    stored = venue.order(book.order_id).lock
    assert (stored is None or stored.released, stored and stored.lock_id) == (not holder, (holder or (stored and stored.lock_id)))
    assert rebuild(venue.reads).orders[book.order_id].lock == stored


@pytest.mark.parametrize("how", ENDS)
def test_the_till_does_not_end_an_order_under_a_live_lock_and_dojo_may(venue, how):  # I16 X10
    book = Book(venue)
    book.do("lock", "dojo-1", 10)
    before = venue.order(book.order_id)

    assert isinstance(book.ask(ENDS[how]), OrderLocked)

    after = venue.order(book.order_id)
    assert (after.state, after.status, after.payments, after.lock) == (before.state, before.status, before.payments, before.lock)
    assert book.ask(CancelOrder) is None


@pytest.mark.parametrize("how", ENDS)
def test_the_till_ends_an_order_once_the_lock_ran_out(venue, how):
    book = Book(venue)
    book.do("lock", "dojo-1", 10)
    book.do("wait", "", 10)
    assert book.ask(ENDS[how]) is None
    assert venue.order(book.order_id).state in ("cancelled", "failed")
