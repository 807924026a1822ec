"""The check of a declaration, one refusal a test, and what a checked machine answers when it is asked."""

from __future__ import annotations

import copy
import gc
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.builders import MACHINES
from workflow.case import MISMATCHES, STANDING, declared_machines
from workflow.declaration import (
    FINAL,
    NOT_THERE,
    OUTCOMES,
    Declaration,
    Message,
    Migration,
    Policy,
    Row,
    declaration_from,
    declaration_hash,
    declaration_text,
    group,
    state_name,
    words,
)
from workflow.destinations import GARBAGE_CODES, REDIRECT_CODES
from workflow.errors import DeclarationError, TransitionNotDeclared, TransitionRefused
from workflow.guards import GUARDS, Subject
from workflow.journal.condition import CHAIN_BROKEN, JOURNAL_DAMAGED, PASSING
from workflow.lifecycle import ATTENTION, DECLARATIONS, EFFECTS, ORDER, RESOLUTIONS, RULES
from workflow.machine import Machine
from workflow.unit import PAUSE_CODES

HANG = Row("hang", "-", "shut", "always", "nothing", "R1")
UNLOCK = Row("unlock", "shut", "ajar", "has_key", "ring", "R1")
CLOSE = Row("close", "ajar", "shut", "always", "nothing", "R1")
REMOVE = Row("remove", "shut ajar", "gone", "always", "ring", "R2")
DELIVERED = Message("delivered", "hang", "nothing", "The door arrives.")
KNOCK = Message("knock", "unlock", "ring", "Somebody is there.")
STAY_HUNG = Policy("delivered", "shut ajar gone", "note", "R1")
NOBODY = Policy("knock", "- gone", "refuse", "R2")
WAIT = Policy("knock", "shut ajar", "attention", "R1")

DOOR = Declaration(
    name="door",
    states={"shut": "Nobody comes in.", "ajar": "Somebody may come in.", "gone": "There is no door."},
    final="gone",
    transitions=(HANG, UNLOCK, CLOSE, REMOVE),
    messages=(DELIVERED, KNOCK),
    policies=(STAY_HUNG, NOBODY, WAIT),
    groups={"passable": "ajar gone"},
    tells={"close": "door_closed"},
)

GUARDS_OF_DOOR = {"always": lambda subject: True, "has_key": lambda subject: bool(subject.payment)}


def machine(declaration=DOOR, guards=GUARDS_OF_DOOR):
    return Machine(declaration, guards, ["ring"], ["R1", "R2"])


def a_door(state="shut", *, key=False):
    return Subject(state, None, object() if key else None)


def with_row(old, **changes):
    return DOOR._replace(transitions=tuple(row._replace(**changes) if row == old else row for row in DOOR.transitions))


def with_message(old, **changes):
    return DOOR._replace(messages=tuple(row._replace(**changes) if row == old else row for row in DOOR.messages))


def with_policy(old, **changes):
    return DOOR._replace(policies=tuple(row._replace(**changes) if row == old else row for row in DOOR.policies))


def refusal_of(declaration):
    with pytest.raises(DeclarationError) as refused:
        machine(declaration)
    return str(refused.value)


def cases(message, column):
    return [(message.name, state) for state in words(column)]


# -- the check: each contradiction is refused, and the refusal names the row


def test_a_declaration_without_contradiction_is_accepted():
    assert machine().ident == f"door@{declaration_hash(DOOR)}"


@pytest.mark.parametrize("column", ["source", "target"])
def test_a_misspelt_state_of_a_row_is_refused(column):
    refusal = refusal_of(with_row(CLOSE, **{column: "shutt"}))
    assert "unknown state 'shutt'" in refusal
    assert str(CLOSE._replace(**{column: "shutt"})) in refusal


def test_a_misspelt_state_among_several_sources_is_refused():
    refusal = refusal_of(with_row(REMOVE, source="shut adjar"))
    assert "unknown state 'adjar'" in refusal
    assert str(REMOVE._replace(source="shut adjar")) in refusal


def test_a_row_that_leads_back_to_nowhere_is_refused():
    refusal = refusal_of(with_row(CLOSE, target=NOT_THERE))
    assert "unknown state '-'" in refusal
    assert str(CLOSE._replace(target=NOT_THERE)) in refusal


def test_a_misspelt_guard_is_refused():
    refusal = refusal_of(with_row(UNLOCK, only_if="has_keys"))
    assert "unknown guard 'has_keys'" in refusal
    assert str(UNLOCK._replace(only_if="has_keys")) in refusal


def test_a_misspelt_effect_of_a_row_is_refused():
    refusal = refusal_of(with_row(REMOVE, then_send="ring rign"))
    assert "unknown effect 'rign'" in refusal
    assert str(REMOVE._replace(then_send="ring rign")) in refusal


def test_a_misspelt_effect_of_a_message_is_refused():
    refusal = refusal_of(with_message(KNOCK, then_send="rign"))
    assert "unknown effect 'rign'" in refusal
    assert str(KNOCK._replace(then_send="rign")) in refusal


def test_a_misspelt_rule_of_a_row_is_refused():
    refusal = refusal_of(with_row(CLOSE, rule="R9"))
    assert "unknown rule 'R9'" in refusal
    assert str(CLOSE._replace(rule="R9")) in refusal


def test_a_misspelt_rule_of_a_policy_is_refused():
    refusal = refusal_of(with_policy(WAIT, rule="R9"))
    assert "unknown rule 'R9'" in refusal
    assert str(WAIT._replace(rule="R9")) in refusal


def test_a_misspelt_trigger_of_a_message_is_refused():
    refusal = refusal_of(with_message(KNOCK, fires="unlok"))
    assert "unknown trigger 'unlok'" in refusal
    assert str(KNOCK._replace(fires="unlok")) in refusal


def test_a_misspelt_trigger_that_tells_another_machine_is_refused():
    refusal = refusal_of(DOOR._replace(tells={"clothe": "door_closed"}))
    assert "unknown trigger 'clothe'" in refusal
    assert "tells" in refusal


def test_a_misspelt_message_of_a_policy_is_refused():
    refusal = refusal_of(with_policy(NOBODY, message="knok"))
    assert "unknown message 'knok'" in refusal
    assert str(NOBODY._replace(message="knok")) in refusal


def test_a_misspelt_state_of_a_policy_is_refused():
    refusal = refusal_of(with_policy(WAIT, in_state="shut adjar"))
    assert "unknown state 'adjar'" in refusal
    assert str(WAIT._replace(in_state="shut adjar")) in refusal


def test_a_misspelt_outcome_is_refused():
    refusal = refusal_of(with_policy(WAIT, outcome="attenion"))
    assert "unknown outcome 'attenion'" in refusal
    assert str(WAIT._replace(outcome="attenion")) in refusal


def test_a_misspelt_state_of_a_group_is_refused():
    refusal = refusal_of(DOOR._replace(groups={"passable": "ajar gon"}))
    assert "unknown state 'gon'" in refusal
    assert "passable" in refusal


def test_a_misspelt_final_state_is_refused():
    refusal = refusal_of(DOOR._replace(final="gone lost"))
    assert "unknown state 'lost'" in refusal
    assert "final" in refusal


def test_a_state_that_nothing_leads_to_is_refused():
    refusal = refusal_of(DOOR._replace(states={**DOOR.states, "lost": "Nobody knows where it is."}, final="gone lost"))
    assert "'lost' (Nobody knows where it is.)" in refusal
    assert "no row leads to" in refusal


def test_a_state_that_is_reached_only_from_an_unreachable_one_is_refused():
    island = {"found": "It turned up.", "lost": "Nobody knows where it is."}
    between = (Row("find", "lost", "found", "always", "nothing", "R1"), Row("lose", "found", "lost", "always", "nothing", "R1"))
    refusal = refusal_of(DOOR._replace(states={**DOOR.states, **island}, transitions=DOOR.transitions + between))
    assert "no row leads to state 'found' (It turned up.)" in refusal


def test_a_state_without_a_way_out_that_is_not_final_is_refused():
    refusal = refusal_of(DOOR._replace(final="nothing"))
    assert "no row leaves state 'gone', which is not final (There is no door.)" in refusal


def test_a_row_back_to_its_own_state_is_no_way_out():
    knock_again = Row("knock_again", "gone", "gone", "always", "nothing", "R1")
    refusal = refusal_of(DOOR._replace(final="nothing", transitions=(*DOOR.transitions, knock_again)))
    assert "no row leaves state 'gone', which is not final (There is no door.)" in refusal


def test_a_final_state_with_a_way_out_is_refused():
    rebuild = Row("rebuild", "gone", "shut", "always", "nothing", "R2")
    refusal = refusal_of(DOOR._replace(transitions=(*DOOR.transitions, rebuild)))
    assert "final state 'gone'" in refusal
    assert str(rebuild) in refusal


def test_two_rows_for_one_case_are_refused():
    kick = UNLOCK._replace(target="gone", only_if="always")
    refusal = refusal_of(DOOR._replace(transitions=(*DOOR.transitions, kick)))
    assert "two rows for 'unlock' from 'shut'" in refusal
    assert str(UNLOCK) in refusal
    assert str(kick) in refusal


def test_two_rows_that_share_one_of_several_sources_are_refused():
    again = REMOVE._replace(source="ajar")
    refusal = refusal_of(DOOR._replace(transitions=(*DOOR.transitions, again)))
    assert "two rows for 'remove' from 'ajar'" in refusal


def test_two_policies_for_one_case_are_refused():
    ignore = Policy("knock", "ajar", "note", "R2")
    refusal = refusal_of(DOOR._replace(policies=(*DOOR.policies, ignore)))
    assert str(cases(KNOCK, "ajar")[0]) in refusal
    assert str(WAIT) in refusal
    assert str(ignore) in refusal


def test_two_messages_of_one_name_are_refused():
    other = KNOCK._replace(fires="remove", meaning="Somebody is there with an axe.")
    policies = (STAY_HUNG, Policy("knock", "- gone", "refuse", "R2"))
    refusal = refusal_of(DOOR._replace(messages=(DELIVERED, KNOCK, other), policies=policies))
    assert str(other) in refusal


@pytest.mark.parametrize("state", ["-", "gone"])
def test_a_state_in_which_a_message_has_no_answer_is_refused(state):
    left = " ".join(other for other in words(NOBODY.in_state) if other != state)
    refusal = refusal_of(with_policy(NOBODY, in_state=left))
    assert f"answers 'knock' in state '{state}'" in refusal
    assert str(KNOCK) in refusal


def test_a_row_whose_guard_may_say_no_is_no_answer_by_itself():
    refusal = refusal_of(with_policy(WAIT, in_state="ajar"))
    assert "answers 'knock' in state 'shut'" in refusal
    assert str(KNOCK) in refusal


def test_a_message_without_any_policy_is_refused():
    refusal = refusal_of(DOOR._replace(policies=(NOBODY, WAIT)))
    assert "answers 'delivered' in state" in refusal
    assert str(DELIVERED) in refusal


def test_a_policy_that_can_never_apply_is_refused():
    never = STAY_HUNG._replace(in_state="- shut ajar gone")
    refusal = refusal_of(with_policy(STAY_HUNG, in_state=never.in_state))
    assert "can never apply" in refusal
    assert "'-'" in refusal
    assert str(never) in refusal


# -- the machine: which row, if any


def test_a_row_leads_to_its_target():
    assert machine().fire("close", a_door("ajar")) == "shut"
    assert machine().fire("hang", a_door("")) == "shut"
    assert machine().fire("unlock", a_door(key=True)) == "ajar"


def test_a_row_of_several_sources_leaves_each_of_them():
    assert [machine().fire("remove", a_door(state)) for state in ("shut", "ajar")] == ["gone", "gone"]


def test_a_guard_that_says_no_refuses_the_transition_and_names_itself():
    door = a_door()
    with pytest.raises(TransitionRefused, match="door: 'unlock' from 'shut' needs has_key"):
        machine().fire("unlock", door)
    assert door.state == "shut"


@pytest.mark.parametrize("trigger", ["hang", "unlock", "close", "remove", "paint"])
@pytest.mark.parametrize("state", ["", "shut", "ajar", "gone", "elsewhere"])
@pytest.mark.parametrize("key", [False, True])
def test_what_a_machine_allows_is_what_firing_does_and_asking_moves_nothing(trigger, state, key):  # I4
    door = a_door(state, key=key)
    allowed = machine().allows(trigger, door)
    assert door.state == state
    try:
        machine().fire(trigger, door)
    except (TransitionRefused, TransitionNotDeclared):
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize(
    ("trigger", "state"),
    [("unlock", "ajar"), ("close", "gone"), ("hang", "shut"), ("remove", ""), ("explode", "shut"), ("", "shut")],
)
def test_a_trigger_that_no_row_has_for_the_state_is_not_declared(trigger, state):
    door = a_door(state)
    with pytest.raises(TransitionNotDeclared, match=r"^door: no row"):
        machine().fire(trigger, door)
    assert door.state == state


def test_a_state_that_this_version_does_not_have_is_not_declared():  # P5
    with pytest.raises(TransitionNotDeclared):
        machine().fire("close", a_door("half_open"))


@pytest.mark.parametrize(
    "mistake", [KeyError("told"), AssertionError("no payment"), AttributeError("x")], ids=["key", "assertion", "attribute"]
)
def test_a_mistake_inside_a_guard_is_not_taken_for_a_missing_row(mistake):
    def broken(subject):
        raise mistake

    with pytest.raises(type(mistake)):
        machine(guards={**GUARDS_OF_DOOR, "has_key": broken}).fire("unlock", a_door())


@pytest.mark.parametrize("name", [declaration.name for declaration in DECLARATIONS])
def test_there_are_no_automatic_transitions(name):  # I4
    for state in MACHINES[name].declaration.states:
        for target in MACHINES[name].declaration.states:
            with pytest.raises(TransitionNotDeclared):
                MACHINES[name].fire(f"to_{target}", Subject(state))


@pytest.mark.parametrize("name", [declaration.name for declaration in DECLARATIONS])
def test_every_trigger_in_every_state_follows_the_declared_rows_and_nothing_else(name):  # I4
    declaration = next(declaration for declaration in DECLARATIONS if declaration.name == name)
    open_gates = Machine(declaration, dict.fromkeys(GUARDS, lambda subject: True), EFFECTS, RULES)
    declared = {(row.when, state_name(source)): row.target for row in declaration.transitions for source in words(row.source)}
    found = {}
    for trigger in {row.when for row in declaration.transitions}:
        for state in ("", *declaration.states):
            if open_gates.leaves(trigger, state):
                found[trigger, state] = open_gates.fire(trigger, Subject(state))
            else:
                with pytest.raises(TransitionNotDeclared):
                    open_gates.fire(trigger, Subject(state))
    assert found == declared


def test_what_rows_messages_and_policies_declare_is_what_the_machine_answers():
    door = machine()
    assert door.effects("unlock", "shut") == ("ring",)
    assert door.effects("close", "ajar") == ()
    assert door.fires("knock") == ("unlock",)
    assert door.asks("knock") == ("ring",)
    assert door.asks("delivered") == ()
    assert [door.policy("knock", state) for state in ("", "shut", "ajar", "gone")] == ["refuse", "attention", "attention", "refuse"]
    assert door.knows("knock")
    assert not door.knows("ring")
    assert door.final == {"gone"}


def test_triggers_that_no_message_fires_are_offered_in_the_order_of_their_rows():
    assert machine().offered("ajar") == ("close", "remove")
    assert machine().offered("shut") == ("remove",)
    assert machine().offered("gone") == ()
    turned = DOOR._replace(transitions=(HANG, UNLOCK, REMOVE, CLOSE))
    assert machine(turned).offered("ajar") == ("remove", "close")


# -- one machine for all orders


def test_one_machine_answers_many_threads_each_by_its_own_subject():
    door, start = machine(), threading.Barrier(8)
    work = [("unlock", "shut", "ajar"), ("close", "ajar", "shut"), ("remove", "ajar", "gone"), ("remove", "shut", "gone")] * 2

    def push(task):
        trigger, state, target = task
        start.wait()
        return all(door.fire(trigger, a_door(state, key=True)) == target for _ in range(400))

    with ThreadPoolExecutor(len(work)) as pool:
        assert list(pool.map(push, work)) == [True] * len(work)


def test_a_refusal_in_one_thread_moves_no_subject_of_another():
    door, start = machine(), threading.Barrier(4)

    def push(key):
        start.wait()
        moved = 0
        for _ in range(400):
            subject = a_door(key=key)
            try:
                door.fire("unlock", subject)
                moved += 1
            except TransitionRefused:
                assert subject.state == "shut"
        return moved

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(push, [True, False, True, False])) == [400, 0, 400, 0]


def test_a_machine_keeps_no_subject_that_it_was_asked_about():
    class Remembered(Subject):
        pass

    door, subject = machine(), Remembered("ajar")
    door.fire("close", subject)
    watch = weakref.ref(subject)
    del subject
    gc.collect()
    assert watch() is None


# -- the hash: of the rows, all of them and nothing else


def every_change():
    yield "name", DOOR._replace(name="gate")
    yield "state", DOOR._replace(states={**DOOR.states, "lost": "Nobody knows."})
    yield "sentence", DOOR._replace(states={**DOOR.states, "shut": "Nobody comes in!"})
    yield "final", DOOR._replace(final="gone shut")
    yield "group", DOOR._replace(groups={"passable": "ajar"})
    yield "tells", DOOR._replace(tells={"close": "door_shut"})
    yield "row dropped", DOOR._replace(transitions=DOOR.transitions[:-1])
    yield "rows turned", DOOR._replace(transitions=DOOR.transitions[::-1])
    yield "message dropped", DOOR._replace(messages=DOOR.messages[:-1])
    yield "policy dropped", DOOR._replace(policies=DOOR.policies[:-1])
    for column in Row._fields:
        yield f"row {column}", with_row(CLOSE, **{column: "other"})
    for column in Message._fields:
        yield f"message {column}", with_message(KNOCK, **{column: "other"})
    for column in Policy._fields:
        yield f"policy {column}", with_policy(WAIT, **{column: "other"})


CHANGES = dict(every_change())


@pytest.mark.parametrize("name", CHANGES)
def test_any_changed_row_changes_the_hash(name):  # P5
    assert declaration_hash(CHANGES[name]) != declaration_hash(DOOR)


def test_no_two_changes_share_a_hash():
    hashes = [declaration_hash(changed) for changed in CHANGES.values()]
    assert len(set(hashes)) == len(hashes)


def test_the_same_rows_written_again_have_the_same_hash():
    again = copy.deepcopy(DOOR)._replace(states=dict(reversed(DOOR.states.items())))
    assert declaration_hash(again) == declaration_hash(DOOR)
    assert machine(again).hash == machine().hash


def test_the_hash_depends_on_the_declaration_alone_and_not_on_guards_effects_or_rules():
    other = Machine(
        DOOR, {"always": lambda s: True, "has_key": lambda s: False, "more": lambda s: True}, ["ring", "hum"], ["R1", "R2", "R3"]
    )
    assert other.hash == machine().hash


def test_the_hash_is_twelve_lower_case_hex_digits():
    digits = declaration_hash(DOOR)
    assert len(digits) == 12
    assert set(digits) <= set("0123456789abcdef")


def test_the_stored_text_holds_every_word_of_the_declaration():  # P5
    text = declaration_text(DOOR)
    written = [DOOR.name, DOOR.final, *DOOR.states, *DOOR.states.values(), *DOOR.groups, *DOOR.groups.values(), *DOOR.tells]
    columns = [word for row in (*DOOR.transitions, *DOOR.messages, *DOOR.policies) for word in row]
    assert not [word for word in written + columns if f'"{word}"' not in text]


# -- the real declarations


def test_the_real_declarations_are_accepted():
    assert list(declared_machines()) == ["order", "payment", "fulfilment"]


def test_the_real_machines_have_three_hashes():
    assert len({found.hash for found in MACHINES.values()}) == 3


@pytest.mark.parametrize("name", [declaration.name for declaration in DECLARATIONS])
def test_every_message_that_one_machine_tells_another_is_declared_there(name):
    for told in MACHINES[name].declaration.tells.values():
        assert MACHINES["fulfilment"].knows(told)


def test_a_misspelt_message_to_another_machine_is_refused(monkeypatch):
    wrong = ORDER._replace(tells={**ORDER.tells, "cancel": "order_canceled"})
    monkeypatch.setattr("workflow.case.DECLARATIONS", (wrong, *DECLARATIONS[1:]))
    with pytest.raises(DeclarationError, match="order_canceled"):
        declared_machines()


@pytest.mark.parametrize("name", [declaration.name for declaration in DECLARATIONS])
def test_no_final_state_of_a_real_machine_offers_a_trigger(name):  # I5
    found = MACHINES[name]
    assert not [(state, found.offered(state)) for state in found.final if found.offered(state)]


def test_every_guard_stands_in_some_row():
    used = {row.only_if for declaration in DECLARATIONS for row in declaration.transitions}
    assert used == set(GUARDS)


def test_every_effect_is_sent_by_some_row_or_message():
    sent = {
        effect
        for declaration in DECLARATIONS
        for row in (*declaration.transitions, *declaration.messages)
        for effect in words(row.then_send)
    }
    assert sent == set(EFFECTS)


def test_the_policies_use_every_outcome_and_no_other():
    used = {policy.outcome for declaration in DECLARATIONS for policy in declaration.policies}
    assert used == set(OUTCOMES)


def test_attention_that_follows_from_an_order_is_declared_with_what_to_do():
    assert {*STANDING, *MISMATCHES} <= set(ATTENTION)


def test_a_person_can_resolve_only_attention_that_is_declared():
    settled = {code for resolution in RESOLUTIONS for code in words(resolution.codes)}
    assert settled <= set(ATTENTION)


def test_all_attention_of_an_order_or_an_intent_can_be_resolved_by_a_person():
    """The others end by themselves when Dojo or the till takes our calls again, or concern the journal's file, which no entry mends."""
    settled = {code for resolution in RESOLUTIONS for code in words(resolution.codes)}
    of_a_destination = {*GARBAGE_CODES.values(), *REDIRECT_CODES.values(), *(code for codes in PAUSE_CODES.values() for code in codes)}
    assert set(ATTENTION) - settled == {*of_a_destination, *PASSING, JOURNAL_DAMAGED, CHAIN_BROKEN}


# -- migrations from states of earlier declarations


LOCKED = Migration("locked bolted", "shut", "There is one way to be shut.", "R1")


def with_migrations(*rows):
    return DOOR._replace(migrations=rows)


def test_a_declaration_without_migrations_has_the_hash_that_it_had_before_there_were_any():  # P4 P5
    assert "migrations" not in json.loads(declaration_text(DOOR))
    assert declaration_hash(DOOR) == "33e2f514cad6" != declaration_hash(with_migrations(LOCKED))


def test_a_stored_declaration_is_read_back_as_it_was():  # P5
    for declaration in (*DECLARATIONS, with_migrations(LOCKED)):
        assert declaration_from(declaration_text(declaration)) == declaration


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"name": "door", "transitions": [["short"]]}', '{"novelty": 1}'])
def test_what_is_no_declaration_of_this_version_is_not_taken_for_one(text):
    with pytest.raises(ValueError):  # noqa: PT011  # Whatever it says.
        declaration_from(text)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (LOCKED._replace(target="melted"), "unknown state 'melted'"),
        (LOCKED._replace(rule="R9"), "unknown rule 'R9'"),
        (LOCKED._replace(reason=" "), "needs an old state and a reason"),
        (LOCKED._replace(source=""), "needs an old state and a reason"),
        (LOCKED._replace(source="ajar"), "'ajar' is declared, so nothing is to be migrated from it"),
        (LOCKED._replace(source="-"), "'-' is declared, so nothing is to be migrated from it"),
        (LOCKED._replace(source="bolted bolted"), "two migrations from 'bolted'"),
        (LOCKED._replace(groups="passible"), "unknown group 'passible'"),
        (LOCKED._replace(groups="final"), "what ended may not be open again, and 'shut' is not final"),
    ],
)
def test_a_migration_that_leads_nowhere_or_from_what_is_declared_is_refused(row, named):  # P5
    assert named in refusal_of(with_migrations(row))
    assert "two migrations from 'locked'" in refusal_of(with_migrations(LOCKED, LOCKED._replace(target="ajar")))


def test_a_row_may_not_be_called_as_migrations_are():  # I4
    assert "'migrate' is the trigger of migrations" in refusal_of(
        with_row(UNLOCK, when="migrate")._replace(messages=(DELIVERED,), policies=(STAY_HUNG,))
    )


def test_an_old_state_is_in_the_groups_of_the_one_that_takes_its_place_and_answers_as_it():  # P5
    old = with_migrations(LOCKED, Migration("torn_out", "gone", "Another word.", "R2"))
    assert group(old, "passable") == {"ajar", "gone", "torn_out"}
    made = machine(old)
    assert made.explained == {"shut", "ajar", "gone", "torn_out"}  # What ended may stay as it is; what is locked is to be migrated.
    assert (made.policy("knock", "torn_out"), made.policy("knock", "locked")) == ("refuse", "attention")
    assert made.offered("torn_out") == ()


def test_an_old_state_is_in_the_groups_that_its_migration_names_and_in_no_others():  # P5
    old = with_migrations(
        LOCKED._replace(target="gone", groups="nothing"), Migration("held_open", "gone", "A stone.", "R1", "passable final")
    )
    assert group(old, "passable") == {"ajar", "gone", "held_open"}
    assert group(old, FINAL) == {"gone", "held_open"}
    assert machine(old).explained == {"shut", "ajar", "gone", "held_open"}  # What was not final is to be migrated, whatever it leads to.


def test_no_group_may_be_called_as_the_final_states_are():  # P5
    assert "'final' is no name for a group" in refusal_of(DOOR._replace(groups={**DOOR.groups, "final": "gone"}))
