"""Orders told again: the same under the machines that they went by, and otherwise, with the entry and the cause, under changed ones."""

from __future__ import annotations

import random

import pytest

from tests.builders import MACHINES, a_bill, walks
from tests.property import test_every_row as stories
from tests.story import Story, a_tab, created, settled
from workflow.case import Case
from workflow.declaration import Migration, Policy, Row
from workflow.guards import GUARDS
from workflow.lifecycle import DECLARATIONS, EFFECTS, ORDER, PAYMENT, RULES
from workflow.machine import Machine
from workflow.retelling import Then, retell

KNOWN = {machine.ident: Then(machine.declaration) for machine in MACHINES.values()}


def entries(story):
    return [entry for act in story.acts for entry in act.entries]


def under(*changed, guards=GUARDS):
    """The present machines, but for these declarations and guards."""
    declarations = {one.name: one for one in DECLARATIONS} | {one.name: one for one in changed}
    return {name: Machine(one, guards, EFFECTS, RULES) for name, one in declarations.items()}


def with_row(declaration, called, **changes):
    rows = tuple(row._replace(**changes) if row.when == called else row for row in declaration.transitions)
    assert rows != declaration.transitions
    return declaration._replace(transitions=rows)


def with_policy(declaration, message, state, outcome):
    """The policies, with another answer to this one message in this one state."""
    rows = []
    for row in declaration.policies:
        states = row.in_state.split()
        if row.message == message and state in states:
            rows += [row._replace(in_state=" ".join(each for each in states if each != state)), Policy(message, state, outcome, row.rule)]
        else:
            rows.append(row)
    return declaration._replace(policies=tuple(row for row in rows if row.in_state))


def _without(column, state):
    return " ".join(each for each in column.split() if each != state)


MERGED = ORDER._replace(
    states={name: text for name, text in ORDER.states.items() if name != "captured"},
    transitions=tuple(
        row._replace(source="authorised" if row.when == "reconcile" else _without(row.source, "captured"))
        for row in ORDER.transitions
        if row.when not in ("capture", "unclaim")
    ),
    policies=tuple(row._replace(in_state=_without(row.in_state, "captured")) for row in ORDER.policies),
    groups={name: _without(states, "captured") for name, states in ORDER.groups.items()},
)
"""The order's machine without a state for money that was taken and not read yet."""


def told(story, machines):
    """(number of the entry, whose state, its state then and now, the cause) of where the story goes otherwise."""
    found = retell(entries(story), machines, KNOWN)
    assert found.verdict == "differs", found
    return found.entry.order_seq, found.machine, found.old_state, found.new_state, found.cause


def number(story, machine, trigger, nth=0):
    """Which entry of the story is the n-th that moved by this trigger."""
    return [entry.order_seq for entry in entries(story) if (entry.machine_name, entry.trigger) == (machine, trigger)][nth]


def mismatched():
    story = created(1000)
    story.read("Captured", paid=900)
    story.resolve("accept_difference")
    return story


def refunded():
    story = settled(400, 600)
    story.read("Refunded", "pi_1", paid=400, refunded=400)
    story.tell_dojo()
    story.read("Refunded", "pi_2", paid=600, refunded=600)
    return story


# -- the same


@pytest.mark.parametrize(
    "make", [created, settled, mismatched, refunded, lambda: a_tab(400, 600), lambda: a_tab(1000, status="Authorized")]
)
def test_an_order_is_the_same_under_the_machines_that_it_went_by(make):  # P5
    assert retell(entries(make()), MACHINES, KNOWN).verdict == "same"


def test_whatever_is_said_in_whatever_order_is_the_same_under_the_machines_that_it_went_by(monkeypatch):  # P5 I4
    made = []
    monkeypatch.setattr(stories, "Story", lambda: made.append(Story()) or made[-1])
    for seed in (*stories.RARE[:3], *range(walks(60))):
        stories.walk(random.Random(seed))
    stories.contradict_a_payment_that_is_unpaid_again()

    told_again = {made.index(story): retell(entries(story), MACHINES, KNOWN) for story in made if entries(story)}

    assert len(told_again) > 50
    assert {(found.verdict, found.cause) for found in told_again.values()} == {("same", "")}


# -- otherwise


class Without(Machine):
    """A machine that has one row less, for one of its states."""

    def __init__(self, declaration, trigger, state):
        super().__init__(declaration, GUARDS, EFFECTS, RULES)
        del self._rows[trigger, state], self._guards[trigger, state]


class Elsewhere(Machine):
    """A machine of which one row leads from one state to another one."""

    def __init__(self, declaration, trigger, state):
        super().__init__(declaration, GUARDS, EFFECTS, RULES)
        self._lost = trigger, state

    def fire(self, trigger, subject):
        led, target = (trigger, subject.state), super().fire(trigger, subject)
        return next(state for state in sorted(self.final) if state != target) if led == self._lost else target


@pytest.mark.parametrize("changed", [Without, Elsewhere])
def test_every_row_that_an_order_took_is_missed_where_it_first_took_it(changed, monkeypatch):  # P5 I4
    made = []
    monkeypatch.setattr(stories, "Story", lambda: made.append(Story()) or made[-1])
    for seed in (*stories.RARE[:3], *range(40)):
        stories.walk(random.Random(seed))
    taken = {}
    for story in made:
        for entry in entries(story):
            if entry.order_seq > 1 and entry.kind == "transition":
                taken.setdefault((entry.machine_name, entry.trigger, entry.from_state), (story, entry.order_seq))

    assert len(taken) > 60
    for (name, trigger, state), (story, seq) in taken.items():
        machines = MACHINES | {name: changed(MACHINES[name].declaration, trigger, state)}
        found = retell(entries(story), machines, KNOWN)
        assert (found.verdict, found.entry.order_seq, found.machine) == ("differs", seq, name), (name, trigger, state, found)


def test_a_row_that_leads_elsewhere_is_found_where_it_first_did():  # P5
    story = settled(400, 600)
    machines = under(with_row(ORDER, "settle_rest", target="created"), with_row(ORDER, "reconcile", target="updated"))
    assert told(story, machines) == (
        number(story, "order", "reconcile"),
        "order",
        "reconciled",
        "updated",
        "order: 'reconcile' leads from 'captured' to 'updated', not to 'reconciled'",
    )


def test_a_row_that_is_gone_is_found_where_it_was_taken():  # P5
    story = refunded()
    machines = under(with_row(ORDER, "adjust", source="reconciled"))
    seq = number(story, "order", "adjust")
    assert told(story, machines) == (seq, "order", "reconciled", "updated", "order: no row 'adjust' leaves 'updated'")


def test_a_row_that_is_new_is_found_where_it_would_be_taken():  # P5
    story = settled()
    archive = Row("archive", "updated", "failed", "always", "nothing", "D6")
    machines = under(ORDER._replace(transitions=(*ORDER.transitions, archive)))
    seq, *rest = told(story, machines)
    assert (seq, *rest) == (
        story.order.order_seq,
        "order",
        "updated",
        "failed",
        "order: 'archive' moves from 'updated' to 'failed': the row is new",
    )


def test_a_row_from_another_state_too_is_found_at_what_was_said():  # P5
    story = created(1000)
    story.read("Captured", external_id="another")
    story.read("Captured")
    story.event("Created")
    withdrawn = PAYMENT._replace(
        messages=tuple(row._replace(fires="withdraw") if row.name == "word_created" else row for row in PAYMENT.messages),
        transitions=with_row(PAYMENT, "withdraw", source="authorised reconciled").transitions,
    )
    seq, machine, old, new, cause = told(story, under(withdrawn))
    assert (machine, old, new) == ("payment", "reconciled", "announced")
    assert cause == "payment: 'withdraw' moves from 'reconciled' to 'announced': the row is new"
    assert entries(story)[seq - 1].kind == "event"


def test_a_row_that_is_called_otherwise_is_found():  # P5
    story = settled()
    machines = under(with_row(ORDER, "update", when="told"))
    assert told(story, machines)[2:] == ("updated", "updated", "order: from 'reconciled' to 'updated' leads 'told', not 'update'")


def test_another_guard_that_says_no_is_named_with_the_one_before():  # P5
    story = settled()
    machines = under(with_row(ORDER, "update", only_if="counted_otherwise"))
    seq = number(story, "order", "update")
    cause = "order: 'update' does not leave 'reconciled' any more: its guard counted_otherwise, which was dojo_knows, says no"
    assert told(story, machines) == (seq, "order", "updated", "reconciled", cause)


def test_another_guard_that_says_yes_is_named_with_the_one_before():  # P5
    story = created(1000)
    story.read("Captured")
    machines = under(with_row(ORDER, "update", only_if="always"))
    assert told(story, machines)[2:] == (
        "reconciled",
        "updated",
        "order: 'update' moves from 'reconciled' to 'updated': its guard is always, and was dojo_knows",
    )


def test_a_guard_that_means_something_else_is_found_although_no_row_changed():  # P5
    story = settled()
    machines = under(guards={**GUARDS, "dojo_knows": lambda subject: False})
    assert [machine.hash for machine in machines.values()] == [machine.hash for machine in MACHINES.values()]
    assert told(story, machines)[4] == "order: 'update' does not leave 'reconciled' any more: its guard dojo_knows says no"


@pytest.mark.parametrize(
    ("act", "message", "state", "outcome"),
    [
        (Story.lock, "lock_order", "updated", "refuse"),
        (lambda story: story.amend(a_bill(1200)), "amend_order", "updated", "refuse"),
        (Story.refuse, "refuse_order", "updated", "refuse"),
        (Story.cancel, "cancel_order", "updated", "note"),
    ],
)
def test_a_policy_that_answers_otherwise_is_found_where_it_answered(act, message, state, outcome):  # P5
    story = settled()
    before = story.order.order_seq
    act(story)
    was = MACHINES["order"].policy(message, state)
    seq, _, old, new, cause = told(story, under(with_policy(ORDER, message, state, outcome)))
    assert (seq, old, new) == (before + 1, state, state)
    assert cause == f"order: the policy for {message!r} in {state!r} was {was!r} and is {outcome!r}"


def test_a_state_that_is_final_now_is_found_where_something_rests_in_it():  # P5
    story = a_tab(1000, status="Created")
    story.read("Canceled")
    unpaid = PAYMENT._replace(
        final="refunded released",
        transitions=(*PAYMENT.transitions, Row("revive", "reversed", "captured", "always", "nothing", "D7.2")),
    )
    assert retell(entries(story), under(unpaid), KNOWN).verdict == "same"  # It ended as released.
    story = settled()
    story.read("Reversed")
    assert told(story, under(unpaid))[1:] == ("payment", "reversed", "reversed", "payment: 'reversed' was final and is not")


def test_the_step_between_two_states_that_are_one_now_is_no_difference_and_what_follows_is_told_on():  # P5
    one = MERGED._replace(migrations=(Migration("captured", "authorised", "Both are money on its way.", "D2.1"),))
    story = settled()
    story.read("Reversed")
    for each in (story, mismatched(), a_tab(1000)):
        assert retell(entries(each), under(one), KNOWN).verdict == "same"
    changed = with_row(one, "reverse", only_if="everything_was_read")
    assert told(story, under(changed))[1:4] == ("order", "reconciled", "reversed")  # After the step that is none any more.
    assert told(story, under(MERGED))[2:4] == ("captured", "authorised")  # Nothing says that the one took the place of the other.


def test_a_row_that_sends_something_else_is_found_where_it_was_taken_although_all_moves_as_it_did():  # P5
    story = settled()
    changed = with_row(with_row(ORDER, "reconcile", then_send="tell_till"), "update", then_send="tell_till")
    seq, machine, old, new, cause = told(story, under(changed))
    assert (seq, machine, old, new) == (number(story, "order", "reconcile"), "order", "reconciled", "reconciled")
    assert cause == "order: 'reconcile' sent order_updated tell_till, and sends tell_till"
    assert retell(entries(story), under(with_row(ORDER, "reconcile", then_send="tell_till order_updated")), KNOWN).verdict == "same"


def test_a_message_that_asks_for_something_else_is_found_where_it_came():  # P5
    story = created(1000)
    story.event("Captured")
    messages = tuple(row._replace(then_send="nothing") if row.name == "word_captured" else row for row in PAYMENT.messages)
    seq, _, _, _, cause = told(story, under(PAYMENT._replace(messages=messages)))
    assert entries(story)[seq - 1].kind == "event"
    assert cause == "payment: the message 'word_captured' sent read_intent, and sends nothing"


def test_where_it_moves_otherwise_weighs_more_than_what_is_sent_before():  # P5
    story = settled()
    silent = with_row(with_row(ORDER, "reconcile", then_send="nothing"), "update", only_if="held")
    assert told(story, under(silent))[4].startswith("order: 'update' does not leave 'reconciled' any more")


# -- what cannot be explained


def test_an_order_that_went_by_a_declaration_that_nobody_kept_cannot_be_explained():  # P5
    known = {ident: then for ident, then in KNOWN.items() if not ident.startswith("payment")}
    found = retell(entries(settled()), MACHINES, known)
    assert (found.verdict, found.entry.order_seq) == ("unexplained", 3)
    assert "does not keep that declaration" in found.cause
    without = {name: machine for name, machine in MACHINES.items() if name != "payment"}
    assert "there is no such machine any more" in retell(entries(settled()), without, KNOWN).cause


def test_entries_that_cannot_be_applied_are_named():  # P5
    told_wrongly = entries(settled())
    check = next(entry for entry in told_wrongly if entry.kind == "check")
    del check.body["status"]
    found = retell(told_wrongly, MACHINES, KNOWN)
    assert (found.verdict, found.entry) == ("unexplained", check)


def test_machines_that_do_not_come_to_rest_explain_nothing():  # P5
    to_and_fro = with_row(with_row(ORDER, "adjust", only_if="always"), "update", only_if="always").transitions[:-2] + ORDER.transitions[-2:]
    found = retell(entries(settled()), under(ORDER._replace(transitions=to_and_fro)), KNOWN)
    assert (found.verdict, "it does not come to rest" in found.cause) == ("unexplained", True)


def test_telling_decides_by_the_rows_alone(monkeypatch):
    """It goes through the case that decides, and has no second way of its own."""
    story = settled()
    monkeypatch.setattr(Case, "follow", lambda case: None)
    assert retell(entries(story), MACHINES, KNOWN).verdict == "differs"
