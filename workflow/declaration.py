"""The shape of a declared machine: what the rows of `lifecycle.py` are made of.

Plain data, readable by somebody who does not program. A column that may hold several names holds them in one text, separated by
spaces. `NOT_THERE` stands for the state of what does not exist yet; entries of the journal carry "" for it.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

NOT_THERE = "-"
NOTHING = "nothing"
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


class Declaration(NamedTuple):
    """A machine: its states with a sentence each, the final ones, its rows, messages, policies and named groups of states.

    `groups` name sets of states that guards and sums speak of. `tells` maps a trigger of this machine to the message that it
    sends to another machine of the same order.
    """

    name: str
    states: dict[str, str]
    final: str
    transitions: tuple[Row, ...]
    messages: tuple[Message, ...]
    policies: tuple[Policy, ...]
    groups: dict[str, str]
    tells: dict[str, str]


def words(column: str) -> tuple[str, ...]:
    """The names in one column; none for `nothing`."""
    return () if column == NOTHING else tuple(column.split())


def state_name(word: str) -> str:
    """The state as the journal carries it: "" for `NOT_THERE`."""
    return "" if word == NOT_THERE else word


def declaration_text(declaration: Declaration) -> str:
    """The whole declaration as canonical JSON: what is hashed, and stored in the journal's database for ever."""
    return json.dumps(declaration._asdict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def declaration_hash(declaration: Declaration) -> str:
    """The first 12 hex digits of the declaration's SHA-256; every entry of a machine carries them."""
    return hashlib.sha256(declaration_text(declaration).encode()).hexdigest()[:12]
