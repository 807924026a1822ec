"""The declared machines, checked at start and driven by `transitions`; the only user of that library.

The library answers "which row, if any?" and nothing else: no automatic transitions, no callbacks, one shared machine for all orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from transitions import Machine as Library

from workflow.declaration import (
    FINAL,
    MIGRATE,
    NOT_THERE,
    OUTCOMES,
    Declaration,
    Message,
    Migration,
    Policy,
    Row,
    declaration_hash,
    group,
    migrated,
    policies_by_case,
    rows_by_case,
    state_name,
    words,
)
from workflow.errors import DeclarationError, TransitionNotDeclared, TransitionRefused
from workflow.guards import Subject

Guards = Mapping[str, Callable[[Subject], bool]]


class Machine:
    """One checked machine. Raises DeclarationError, naming the row, when the declaration contradicts itself."""

    def __init__(self, declaration: Declaration, guards: Guards, effects: Iterable[str], rules: Iterable[str]) -> None:
        _check(declaration, guards, set(effects), set(rules))
        self.name = declaration.name
        self.declaration = declaration
        self.hash = declaration_hash(declaration)
        self.ident = f"{self.name}@{self.hash}"
        self.final = frozenset(words(declaration.final))
        self.migrated = migrated(declaration)
        """The declared state for each that earlier declarations had."""
        self.explained = frozenset(declaration.states) | group(declaration, FINAL)
        """The states that something may be in: the declared ones, and those in which things ended under earlier declarations."""
        self._rows = rows_by_case(declaration)
        self._guards = {key: guards[row.only_if] for key, row in self._rows.items()}
        self._messages = {message.name: message for message in declaration.messages}
        self._policies = policies_by_case(declaration)
        self._library = Library(
            model=None,
            states=["", *declaration.states],
            initial="",
            transitions=_configs(declaration, guards),
            auto_transitions=False,
            ignore_invalid_triggers=False,
            send_event=True,
        )
        fired = {trigger for message in declaration.messages for trigger in words(message.fires)}
        self._offered = {
            state: tuple(row.when for row in declaration.transitions if state in words(row.source) and row.when not in fired)
            for state in declaration.states
        }

    def fire(self, trigger: str, subject: Subject) -> str:
        """The state that `trigger` leads to from `subject.state`; the subject is used up.

        Raises TransitionNotDeclared when no row leaves the state, TransitionRefused when the row's guard says no.
        """
        state = subject.state
        if not self.leaves(trigger, state):
            raise TransitionNotDeclared(f"{self.name}: no row {trigger!r} leaves {state!r}")
        moved = self._library.events[trigger].trigger(subject)
        if not moved:
            raise TransitionRefused(f"{self.name}: {trigger!r} from {state!r} needs {self._rows[trigger, state].only_if}")
        return subject.state

    def leaves(self, trigger: str, state: str) -> bool:
        """A row with this trigger leaves the state."""
        return (trigger, state) in self._rows

    def allows(self, trigger: str, subject: Subject) -> bool:
        """`fire` would move the subject. Most triggers that are offered lead nowhere, and learning that from `fire` is dear."""
        guard = self._guards.get((trigger, subject.state))
        return guard is not None and guard(subject)

    def row(self, trigger: str, state: str) -> Row | None:
        """The row with this trigger that leaves the state."""
        return self._rows.get((trigger, state))

    def effects(self, trigger: str, state: str) -> tuple[str, ...]:
        """What the row sends."""
        return words(self._rows[trigger, state].then_send)

    def offered(self, state: str) -> tuple[str, ...]:
        """The triggers that follow by themselves from this state, in the order of the declaration."""
        return self._offered.get(state, ())  # None where it ended under an earlier declaration.

    def fires(self, message: str) -> tuple[str, ...]:
        """The triggers of an outside message, in order."""
        return words(self._messages[message].fires)

    def asks(self, message: str) -> tuple[str, ...]:
        """What the message itself wants sent."""
        return words(self._messages[message].then_send)

    def knows(self, message: str) -> bool:
        """The message is declared."""
        return message in self._messages

    def policy(self, message: str, state: str) -> str:
        """The answer to a message that no row took: a key of `declaration.OUTCOMES`."""
        policy = self._policies.get((message, self.migrated.get(state, state)))
        return policy.outcome if policy else "note"


def _configs(declaration: Declaration, guards: Guards) -> list[dict[str, Any]]:
    """The rows as `transitions` wants them, guards as functions: a name given as text would be looked up on the subject."""
    return [
        {
            "trigger": row.when,
            "source": [state_name(source) for source in words(row.source)],
            "dest": row.target,
            "conditions": [partial(_holds, guards[row.only_if])],
        }
        for row in declaration.transitions
    ]


def _holds(guard: Callable[[Subject], bool], event: Any) -> bool:
    return guard(event.model)


def check_together(machines: Mapping[str, Machine]) -> None:
    """Refuse what one machine tells another that the other does not know. Raises DeclarationError."""
    for machine in machines.values():
        for trigger, message in machine.declaration.tells.items():
            if not any(other.knows(message) for other in machines.values()):
                raise DeclarationError(f"{machine.name}: {trigger!r} tells {message!r}, which no machine knows")


def _check(declaration: Declaration, guards: Guards, effects: set[str], rules: set[str]) -> None:
    _check_names(declaration, guards, effects, rules)
    _check_doubles(declaration)
    _check_reach(declaration)
    _check_answers(declaration)
    _check_migrations(declaration, rules)


def _check_names(declaration: Declaration, guards: Guards, effects: set[str], rules: set[str]) -> None:
    states = set(declaration.states)
    triggers = {row.when for row in declaration.transitions}
    messages = {message.name for message in declaration.messages}
    for row in declaration.transitions:
        _known(declaration, row, "state", words(row.source), states | {NOT_THERE})
        _known(declaration, row, "state", (row.target,), states)
        _known(declaration, row, "guard", (row.only_if,), set(guards))
        _known(declaration, row, "effect", words(row.then_send), effects)
        _known(declaration, row, "rule", (row.rule,), rules)
    for message in declaration.messages:
        _known(declaration, message, "trigger", words(message.fires), triggers)
        _known(declaration, message, "effect", words(message.then_send), effects)
    for policy in declaration.policies:
        _known(declaration, policy, "message", words(policy.message), messages)
        _known(declaration, policy, "state", words(policy.in_state), states | {NOT_THERE})
        _known(declaration, policy, "outcome", (policy.outcome,), set(OUTCOMES))
        _known(declaration, policy, "rule", (policy.rule,), rules)
    for named in (*declaration.groups.items(), (FINAL, declaration.final)):
        _known(declaration, named, "state", words(named[1]), states)
    if FINAL in declaration.groups:
        raise DeclarationError(f"{declaration.name}: {FINAL!r} is no name for a group: it is that of the final states")
    _known(declaration, ("tells", declaration.tells), "trigger", declaration.tells, triggers)


def _known(declaration: Declaration, row: object, what: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise DeclarationError(f"{declaration.name}: unknown {what} {name!r} in {row}")


def _check_doubles(declaration: Declaration) -> None:
    named: dict[str, Message] = {}
    for message in declaration.messages:
        if other := named.get(message.name):
            raise DeclarationError(f"{declaration.name}: two messages are called {message.name!r}: {other} and {message}")
        named[message.name] = message
    seen: dict[tuple[str, str], Row] = {}
    for row in declaration.transitions:
        for source in words(row.source):
            if first := seen.get((row.when, source)):
                raise DeclarationError(f"{declaration.name}: two rows for {row.when!r} from {source!r}: {first} and {row}")
            seen[row.when, source] = row
    answered: dict[tuple[str, str], Policy] = {}
    for policy in declaration.policies:
        for case in ((message, state) for message in words(policy.message) for state in words(policy.in_state)):
            if twin := answered.get(case):
                raise DeclarationError(f"{declaration.name}: two policies for {case}: {twin} and {policy}")
            answered[case] = policy


def _check_reach(declaration: Declaration) -> None:
    reached, waiting = set[str](), [NOT_THERE]
    ways = {(source, row.target) for row in declaration.transitions for source in words(row.source)}
    while waiting:
        here = waiting.pop()
        new = {target for source, target in ways if source == here} - reached
        reached |= new
        waiting += new
    final = set(words(declaration.final))
    for state, sentence in declaration.states.items():
        if state not in reached:
            raise DeclarationError(f"{declaration.name}: no row leads to state {state!r} ({sentence})")
        leaving = [row for row in declaration.transitions if state in words(row.source) and row.target != state]
        if state in final and leaving:
            raise DeclarationError(f"{declaration.name}: a row leaves the final state {state!r} ({sentence}): {leaving[0]}")
        if state not in final and not leaving:
            raise DeclarationError(f"{declaration.name}: no row leaves state {state!r}, which is not final ({sentence})")


def _check_answers(declaration: Declaration) -> None:
    """Every message has an answer in every state: a row without a guard, or a policy (a guard may always say no)."""
    rows = {(row.when, source): row for row in declaration.transitions for source in words(row.source)}
    policies = policies_by_case(declaration)
    for message in declaration.messages:
        for state in (NOT_THERE, *declaration.states):
            first = [rows[trigger, state] for trigger in words(message.fires) if (trigger, state) in rows]
            certain = any(row.only_if == "always" for row in first)
            if not certain and (message.name, state_name(state)) not in policies:
                raise DeclarationError(f"{declaration.name}: no row or policy answers {message.name!r} in state {state!r} ({message})")
            if certain and (message.name, state_name(state)) in policies:
                useless = policies[message.name, state_name(state)]
                raise DeclarationError(f"{declaration.name}: {useless} can never apply in state {state!r}: {message} always does")


def _check_migrations(declaration: Declaration, rules: set[str]) -> None:
    """Each leads from a state that is not declared to one that is, so that none can follow another, or lead back."""
    taken: dict[str, Migration] = {}
    for row in declaration.migrations:
        _known(declaration, row, "state", (row.target,), set(declaration.states))
        _known(declaration, row, "rule", (row.rule,), rules)
        _known(declaration, row, "group", words(row.groups), {FINAL, *declaration.groups})
        if not row.reason.strip() or not words(row.source):
            raise DeclarationError(f"{declaration.name}: a migration needs an old state and a reason: {row}")
        if FINAL in words(row.groups) and row.target not in words(declaration.final):
            raise DeclarationError(f"{declaration.name}: what ended may not be open again, and {row.target!r} is not final: {row}")
        for source in words(row.source):
            if source in declaration.states or source == NOT_THERE:
                raise DeclarationError(f"{declaration.name}: {source!r} is declared, so nothing is to be migrated from it: {row}")
            if first := taken.get(source):
                raise DeclarationError(f"{declaration.name}: two migrations from {source!r}: {first} and {row}")
            taken[source] = row
    for transition in declaration.transitions:
        if transition.when == MIGRATE:
            raise DeclarationError(f"{declaration.name}: {MIGRATE!r} is the trigger of migrations: {transition}")
