"""The way that an order took through its machines, its payments' and the kitchen's: each drawn, and step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from workflow import diagrams
from workflow.declaration import Declaration, declaration_hash, words
from workflow.entry import Entry
from workflow.explaining import declarations
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.lifecycle import FULFILMENT, ORDER, PAYMENT
from workflow.order import Order


class Step(NamedTuple):
    """One step of a path: its number, when, by which trigger, from where to where, and the entry that tells it."""

    number: int
    at: str
    trigger: str
    source: str
    target: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A machine with the way that was taken through it: the picture, and the same in words."""

    title: str
    intent_id: str
    state: str
    is_final: bool
    picture: Markup
    steps: Sequence[Step]


def paths(reads: SqliteReads, order: Order, moves: Sequence[StoredEntry]) -> list[Path]:
    """The order's way, then each payment's, then the kitchen's."""
    found = [_path(reads, ORDER, "", moves)]
    found += [_path(reads, PAYMENT, intent_id, moves) for intent_id in order.payments]
    return [*found, _path(reads, FULFILMENT, "", moves)]


def _path(reads: SqliteReads, declared: Declaration, intent_id: str, moves: Sequence[StoredEntry]) -> Path:
    its = [each for each in moves if each.machine.partition("@")[0] == declared.name and intent_id in ("", each.payment_intent_id)]
    entries = [each.entry() for each in its]
    taken = diagrams.path_taken(entries, declared.name, intent_id)
    declaration = machine_of(reads, entries, declared, intent_id)
    picture = diagrams.svg(declaration, taken, embedded=True)
    return Path(
        title=diagrams.TITLES[declared.name],
        intent_id=intent_id,
        state=taken.state,
        is_final=taken.state in words(declaration.final),
        picture=Markup(picture),  # noqa: S704  # Drawn here, every word of it escaped.
        steps=[Step(n, e.at, e.trigger, e.from_state, e.to_state, e.seq) for n, e in enumerate(its, start=1)],
    )


def machine_of(reads: SqliteReads, moves: Sequence[Entry], declared: Declaration, intent_id: str) -> Declaration:
    """The machine by which it moved last: an older one where that was another."""
    last = next((e.machine for e in reversed(moves) if e.machine_name == declared.name and intent_id in ("", e.payment_intent_id)), "")
    if last in ("", f"{declared.name}@{declaration_hash(declared)}"):
        return declared
    return declarations(reads).get(last, declared)
