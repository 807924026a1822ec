"""The shape of a declared machine: what the rows of `lifecycle.py` are made of.

Plain data, readable by somebody who does not program. A column that may hold several names holds them in one text, separated by
spaces. `NOT_THERE` stands for the state of what does not exist yet; entries of the journal carry "" for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

NOT_THERE = "-"
NOTHING = "nothing"
FINAL = "final"
"""The name by which the final states are a group among the others."""
OUTCOMES = {
    "take": "it changes facts of the order, not its state",
    "note": "true, and nothing to do",
    "park": "too early: kept, and applied when its order appears",
    "attention": "a person must look",
    "refuse": "the caller gets 409, and nothing changes",
}


class Row(NamedTuple):
    """One transition: what it is called, from which states to which, under which guard, what is sent, and whose rule it is."""

    when: str
    source: str
    target: str
    only_if: str
    then_send: str
    rule: str


class Message(NamedTuple):
    """What arrives: the triggers it fires, in this order, each where a row leaves the present state; and what it asks to send."""

    name: str
    fires: str
    then_send: str
    meaning: str


class Policy(NamedTuple):
    """The answer to messages where no row leaves for them, or where the guard of the row says no."""

    message: str
    in_state: str
    outcome: str
    rule: str


class Attention(NamedTuple):
    """Something that needs a person, in sentences: what is wrong, and what to do next."""

    why: str
    next: str


class Resolution(NamedTuple):
    """What a person may do about attention, always with a reason; `codes` are the attention that it is for."""

    action: str
    codes: str
    meaning: str


class Migration(NamedTuple):
    """A state that is not declared any more, the declared one that takes its place, why, and whose rule it is.

    Whatever rests in the old state is moved by `tillproof machine migrate`, and journaled; what ended in it stays there. Old entries mean
    what they meant, so a row stays for ever, and `groups` are those that the old state was in, `final` among them where it was; "" where
    they are those of the new state. What the journal keeps of earlier declarations is compared with that (`explaining.regrouped`).
    """

    source: str
    target: str
    reason: str
    rule: str
    groups: str = ""


class Declaration(NamedTuple):
    """A machine: its states with a sentence each, the final ones, its rows, messages, policies and named groups of states.

    `groups` name sets of states that guards and sums speak of. `tells` maps a trigger of this machine to the message that it
    sends to another machine of the same order. `migrations` lead from states that earlier declarations had.
    """

    name: str
    states: dict[str, str]
    final: str
    transitions: tuple[Row, ...]
    messages: tuple[Message, ...]
    policies: tuple[Policy, ...]
    groups: dict[str, str]
    tells: dict[str, str]
    migrations: tuple[Migration, ...] = ()


MIGRATE = "migrate"
"""The trigger of every migration; no row has it."""


def words(column: str) -> tuple[str, ...]:
    """The names in one column; none for `nothing`."""
    return () if column == NOTHING else tuple(column.split())


def state_name(word: str) -> str:
    """The state as the journal carries it: "" for `NOT_THERE`."""
    return "" if word == NOT_THERE else word


def rows_by_case(declaration: Declaration) -> dict[tuple[str, str], Row]:
    """The row for each trigger and state that it leaves; a row may name several."""
    return {(row.when, state_name(source)): row for row in declaration.transitions for source in words(row.source)}


def target_of(declaration: Declaration, trigger: str) -> str:
    """The state to which this trigger leads, "" where it is not declared: so that whoever means the state need not name it."""
    return next((row.target for row in declaration.transitions if row.when == trigger), "")


def steps(declaration: Declaration) -> frozenset[tuple[str, str, str]]:
    """Everything that an entry may say of a move: (trigger, from, to), migrations included."""
    rows = {(trigger, source, row.target) for (trigger, source), row in rows_by_case(declaration).items()}
    return frozenset(rows | {(MIGRATE, source, target) for source, target in migrated(declaration).items()})


def policies_by_case(declaration: Declaration) -> dict[tuple[str, str], Policy]:
    """The policy for each message and state; a policy may name several of both."""
    return {
        (message, state_name(state)): policy
        for policy in declaration.policies
        for message in words(policy.message)
        for state in words(policy.in_state)
    }


def migrated(declaration: Declaration) -> dict[str, str]:
    """The declared state for each state that is declared no more."""
    return {source: row.target for row in declaration.migrations for source in words(row.source)}


def group(declaration: Declaration, name: str) -> frozenset[str]:
    """The states of a group, or the final ones for FINAL, with those of earlier declarations that were in it."""
    states = words(declaration.final if name == FINAL else declaration.groups[name])
    were = (row for row in declaration.migrations if name in words(row.groups) or (not row.groups and row.target in states))
    return frozenset(states) | {old for row in were for old in words(row.source)}


def declaration_text(declaration: Declaration) -> str:
    """The whole declaration as canonical JSON: what is hashed, and stored in the journal's database for ever."""
    content = declaration._asdict()
    if not declaration.migrations:  # A column that came later: without rows in it the hash is what it was.
        del content["migrations"]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def declaration_from(text: str) -> Declaration:
    """The declaration that was stored as this text. Raises ValueError where it is none of this version's shape."""
    try:
        content = json.loads(text)
        content |= {name: tuple(kind(*row) for row in content.get(name, ())) for name, kind in _ROWS.items()}
        return Declaration(**content)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a declaration that this version can read: {error}") from error


_ROWS: dict[str, Callable[..., Any]] = {"transitions": Row, "messages": Message, "policies": Policy, "migrations": Migration}


def declaration_hash(declaration: Declaration) -> str:
    """The first 12 hex digits of the declaration's SHA-256; every entry of a machine carries them."""
    return hashlib.sha256(declaration_text(declaration).encode()).hexdigest()[:12]
