"""One order told again under the declaration that is in force now: where would it have gone elsewhere?

The facts that the entries hold (what Dojo said and what was read, what the till and operators did) are put before the present machines
once more, through the same `Case` that decides in the running service: the same messages, the same guards over the order as it then is.
What moves is compared with what moved, and what the rows and messages that were taken ask to send with what those of then did. Where one
state took the place of two, the step from one to the other is none any more. What left no entry cannot be told again. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import msgspec

from workflow.case import Case, Machines
from workflow.decisions import WORDS
from workflow.declaration import MIGRATE, Declaration, policies_by_case, rows_by_case, words
from workflow.entry import Entry, Facts
from workflow.errors import DeclarationError
from workflow.guards import Subject
from workflow.machine import Machine
from workflow.order import evolve
from workflow.ports import IntentId, OrderId
from workflow.reconcile import MESSAGES

Verdict = Literal["same", "differs", "unexplained"]

_FATES = {"Canceled": "expired", "Reversed": "reversed"}
_UNKNOWN = "no such message"
_UNFIT = (KeyError, TypeError, ValueError, AssertionError, DeclarationError, msgspec.ValidationError)
"""What applying an entry raises that is not what entries are; the last but one where the machines do not come to rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retold:
    """What came of one order. But for `same`, `entry` (at position `seq`, where that is known) is where it first went otherwise, or cannot
    be followed, and `cause` says why, in the same words for whatever has the same cause.

    `machine` and `payment_intent_id` say whose states `old_state` (as journaled) and `new_state` (as it would be) are; all are "" where
    that is about no state. `is_to_migrate`: it rests in a state from which a declared migration leads on.
    """

    order_id: OrderId
    seq: int = 0
    verdict: Verdict = "same"
    entry: Entry | None = None
    machine: str = ""
    payment_intent_id: str = ""
    old_state: str = ""
    new_state: str = ""
    cause: str = ""
    is_to_migrate: bool = False


class Then:
    """A declaration that was in force when an entry was written, as far as the present one is compared with it."""

    def __init__(self, declaration: Declaration) -> None:
        self.states, self.final = frozenset(declaration.states), frozenset(words(declaration.final))
        self.rows, self._policies = rows_by_case(declaration), policies_by_case(declaration)
        self.asks = {message.name: message.then_send for message in declaration.messages}
        self._fires = {message.name: words(message.fires) for message in declaration.messages}

    def policy(self, message: str, state: str) -> str:
        """What it answered to a message that no row took; "" where it had no policy, so that a row took it for certain."""
        found = self._policies.get((message, state))
        return found.outcome if found else ""

    def opening(self, trigger: str) -> str:
        """The message by which a till opens a bill with this trigger."""
        return next((name for name, fires in self._fires.items() if trigger in fires and name.startswith("till_opens")), "till_opens")


Known = Mapping[str, Then]
"""The declarations that a journal keeps, by `name@hash`."""


def retell(entries: Sequence[Entry], machines: Machines, known: Known) -> Retold:
    """Tell one order's entries, oldest first, to the present machines."""
    order_id = OrderId(entries[0].order_id)
    for entry in (each for each in entries if each.machine):
        if entry.machine not in known or entry.machine_name not in machines:
            lacks = "the journal does not keep that declaration" if entry.machine not in known else "there is no such machine any more"
            cause = f"{entry.machine} was in force, and {lacks}"
            return Retold(order_id=order_id, verdict="unexplained", entry=entry, machine=entry.machine_name, cause=cause)
    last = {(entry.machine_name, entry.payment_intent_id): entry for entry in entries if entry.machine}
    is_to_migrate = False
    for entry in last.values():
        machine = machines[entry.machine_name]
        if entry.to_state in machine.migrated and entry.to_state not in machine.explained:
            is_to_migrate = True
        elif entry.to_state not in machine.explained:
            cause = f"{machine.name}: rests in {entry.to_state!r}, which is not declared, and no migration leads on from there"
            return _otherwise(entry, cause, verdict="unexplained")
    telling = _Telling(machines, known)
    try:
        found = telling.all(entries) or _otherwise_ended(last, machines, known) or Retold(order_id=order_id)
    except _UNFIT as error:
        entry = telling.entry or entries[0]
        cause = f"{entry.kind} entry cannot be applied: {error!r}"
        if isinstance(error, DeclarationError):
            cause = "order: the rows lead round and round, and it does not come to rest"
        found = _otherwise(entry, cause, verdict="unexplained")
    return replace(found, is_to_migrate=is_to_migrate)


def _otherwise(entry: Entry, cause: str, *, verdict: Verdict = "differs", new_state: str = "") -> Retold:
    return Retold(
        order_id=OrderId(entry.order_id),
        verdict=verdict,
        entry=entry,
        machine=entry.machine_name,
        payment_intent_id=entry.payment_intent_id,
        old_state=entry.to_state,
        new_state=new_state,
        cause=cause,
    )


def _otherwise_ended(last: Mapping[tuple[str, str], Entry], machines: Machines, known: Known) -> Retold | None:
    """Something rests in a state that was final and is not, or the other way round."""
    for entry in last.values():
        machine, state = machines[entry.machine_name], entry.to_state
        now = machine.migrated.get(state, state)
        if (was := state in known[entry.machine].final) != (now in machine.final):
            return _otherwise(entry, f"{machine.name}: {state!r} {'was final and is not' if was else 'is final now'}", new_state=now)
    return None


class _Step(NamedTuple):
    """What an entry says beside its facts: of which kind it is, and who moved from where to where by which trigger."""

    kind: str
    machine: str
    trigger: str
    from_state: str
    to_state: str
    intent_id: str


class _Answer(NamedTuple):
    """A message that moved nothing: what it was answered with."""

    machine: str
    message: str
    state: str
    outcome: str


class _Differs(Exception):
    def __init__(self, found: Retold) -> None:
        super().__init__(found.cause)
        self.found = found


class _Case(Case):
    """A decision under way that is told what an order's entries say; the steps that came of it wait to be compared."""

    def __init__(self, machines: Machines) -> None:
        super().__init__(machines, None, at="", actor="", cause="")
        self.steps: deque[_Step] = deque()
        self.answers: list[_Answer] = []
        self.told: list[tuple[str, str]] = []
        """Machine and message, of what was told since somebody looked."""

    def tell(self, name: str, message: str, intent_id: str = "", *, facts: Facts | None = None, fate: str = "") -> str:
        """As in a decision; what moves nothing is noted. A message that is not declared any more moves nothing either."""
        state = self._state(name, intent_id)
        self.told.append((name, message))
        is_known = self.machines[name].knows(message)
        outcome = super().tell(name, message, intent_id, facts=facts, fate=fate) if is_known else _UNKNOWN
        if outcome != "moved":
            self.answers.append(_Answer(name, message, state, outcome))
        return outcome

    def take(self, entry: Entry) -> None:
        """A fact as it was journaled, in its place."""
        self._append(replace(entry, order_seq=self.order.order_seq + 1 if self.order else 1))

    def would(self, machine: Machine, trigger: str, intent_id: str) -> bool:
        """The trigger would move it, were it fired."""
        payment = self.the_order.payments.get(IntentId(intent_id))
        return machine.allows(trigger, Subject(self._state(machine.name, intent_id), self.order, payment))

    def attempt(self, machine: Machine, trigger: str, intent_id: str) -> None:
        """Fire a trigger that no message is known for."""
        self._try(machine, trigger, intent_id)

    def _append(self, entry: Entry) -> None:
        self.order = evolve(self.order, entry)
        self.steps.append(_Step(entry.kind, entry.machine_name, entry.trigger, entry.from_state, entry.to_state, entry.payment_intent_id))


class _Telling:
    """One order's telling. `entry` is the one that it has come to."""

    def __init__(self, machines: Machines, known: Known) -> None:
        self._machines, self._known, self._case = machines, known, _Case(machines)
        self._then: dict[str, Then] = {}
        """The declaration of each machine that was in force where the telling has come to."""
        self._owes_following = False
        self._sends: Retold | None = None
        """Where something else would first be sent, although everything moves as it did: of less weight than where it moves otherwise."""
        self.entry: Entry | None = None

    def all(self, entries: Sequence[Entry]) -> Retold | None:
        """Tell them; where the present machines first lead elsewhere, or else first send otherwise; None where they never do."""
        try:
            for number, entry in enumerate(entries):
                begins = number == 0 or _command(entries[number - 1]) != _command(entry)
                if begins and number:
                    self._end_command()
                self.entry = entry
                if entry.machine:
                    self._then[entry.machine_name] = self._known[entry.machine]
                self._one(entry, entries[number + 1 :])
            self._end_command()
        except _Differs as difference:
            return difference.found
        return self._sends

    def _end_command(self) -> None:
        """What follows by itself has followed, and nothing moved beyond what was journaled."""
        assert self.entry is not None
        self._follow()
        if self._case.steps:
            self._surplus(self._case.steps[0], self.entry)

    def _follow(self) -> None:
        if self._owes_following:
            self._owes_following = False
            self._case.follow()

    def _one(self, entry: Entry, rest: Sequence[Entry]) -> None:
        """Have the present machines do what this entry says, and compare."""
        steps = self._case.steps
        if self._is_within(entry) and not (steps and steps[0] == self._step(entry)):
            return
        if not steps:
            self._bring_about(entry, rest)
            self._compare_answers(entry)
            self._compare_asked(entry)
        if not steps and entry.kind == "transition":
            self._missing(entry)
        step = steps.popleft()
        if entry.kind == "transition" and entry.trigger == MIGRATE:
            return
        if step != (wanted := self._step(entry)):
            if step.kind != "transition" or (entry.kind == "transition" and step in map(self._step, rest)):
                self._missing(entry)
            if (step.kind, step.machine, step.intent_id) != (wanted.kind, wanted.machine, wanted.intent_id):
                self._surplus(step, entry)
            self._elsewhere(entry, step)
        self._compare_sent(entry, step)

    def _is_within(self, entry: Entry) -> bool:
        """It moved from one state to another whose place the same one took."""
        step = self._step(entry)
        return entry.from_state != entry.to_state and step.from_state == step.to_state and entry.trigger != MIGRATE

    def _step(self, entry: Entry) -> _Step:
        """The entry in the names of the present declaration, where migrations give them."""
        names = self._machines[entry.machine_name].migrated if entry.machine else {}
        source, target = names.get(entry.from_state, entry.from_state), names.get(entry.to_state, entry.to_state)
        return _Step(entry.kind, entry.machine_name, entry.trigger, source, target, entry.payment_intent_id)

    # -- what an entry comes of

    def _bring_about(self, entry: Entry, rest: Sequence[Entry]) -> None:
        if entry.kind != "transition":
            self._fact(entry, rest)
        elif entry.trigger == MIGRATE:
            self._owes_following = True
            self._case.take(replace(entry, to_state=self._step(entry).to_state))
        elif entry.order_seq == 1:
            self._begin(entry, rest)
        else:
            self._transition(entry, rest)

    def _begin(self, entry: Entry, rest: Sequence[Entry]) -> None:
        self._case.begin(OrderId(entry.order_id), _facts(entry))
        if entry.cause.startswith("create_order:"):
            self._case.tell("fulfilment", "dojo_creates")
            return
        opened = next((each for each in rest if each.machine_name == "fulfilment"), None)
        self._case.tell("fulfilment", self._known[opened.machine].opening(opened.trigger) if opened else "till_opens")

    def _transition(self, entry: Entry, rest: Sequence[Entry]) -> None:
        """A move that no fact before it has brought about: its own message, or what follows by itself, or what its cause asks for."""
        case, name, intent_id = self._case, entry.machine_name, entry.payment_intent_id
        asks, _, asked = entry.cause.partition(":")
        if name == "payment" and not entry.from_state:
            facts = _facts(entry)
            case.tell("payment", "declare", intent_id, facts=facts)
            if "inWords" in facts:
                case.tell("payment", "word_captured" if facts["inWords"] else "told_authorised", intent_id)
        elif name == "payment" and asks == "resolve":
            case.tell("payment", "detached", intent_id, fate=str(entry.body.get("fate", "")))
        elif name == "order" and entry.cause in ("cancel_order", "refuse_order"):
            case.tell("order", entry.cause)
        elif name == "fulfilment" and asks == "status":
            case.tell("fulfilment", f"till_{asked}")
        elif name == "fulfilment" and entry.cause == "refuse_order":
            if case.tell("order", "refuse_order") == "attention":
                case.tell("fulfilment", "order_failed")
        elif name == "order" and self._owes_following:
            self._follow()
        else:
            case.attempt(self._machines[name], entry.trigger, intent_id)

    def _fact(self, entry: Entry, rest: Sequence[Entry]) -> None:
        """Take a fact, with the messages that are told before it and because of it."""
        case, intent_id = self._case, IntentId(entry.payment_intent_id)
        before = case.the_order.payments.get(intent_id)
        if (entry.kind, entry.trigger) in _ASKED:
            self._ask(entry)
        if case.steps:  # It was answered by a move, not by this.
            return
        case.take(entry)
        self._owes_following = self._owes_following or _is_followed(entry, is_detached=before is not None and before.detached)
        match entry.kind, entry.trigger:
            case "event", _ if "ignored" not in entry.body:
                case.tell("payment", WORDS.get(str(entry.body["status"]), "word_ended"), intent_id)
            case "check", _ if "stale" not in entry.body:
                message, fate = _read(entry.body)
                case.tell("payment", message, intent_id, fate=_fate(rest, entry) or fate)
            case "payment", "record" if "answered" not in entry.body and not (before and before.was_accepted):
                case.tell("payment", "recorded", intent_id)
            case "payment", "refuse":
                case.tell("payment", "payment_refused", intent_id)
            case "operator", "accept_difference" if before:
                refunded = bool(entry.body["refunded"])
                message = "read_refunded" if refunded else MESSAGES[before.status]
                case.tell("payment", message, intent_id, fate="refunded" if refunded else "")

    def _ask(self, entry: Entry) -> None:
        """Ask once more what was answered without a move, or with 409; what a live lock forbade was not asked."""
        case, order = self._case, self._case.the_order
        asks, _, asked = entry.cause.partition(":")
        is_refused = entry.kind == "system"
        if is_refused and asks != "status" and order.lock and order.lock.is_live(entry.at):
            return
        if asks == "status":
            case.tell("fulfilment", f"till_{asked}")
        elif message := _ASKS.get(asks):
            case.tell("order", message)

    # -- where it leads elsewhere

    def _compare_answers(self, entry: Entry) -> None:
        """What moved nothing is answered as it was then, when it moved nothing either: a policy may have changed."""
        answers, self._case.answers = self._case.answers, []
        if self._case.steps and self._case.steps[0] != self._step(entry):
            return  # It moved where it did not, or otherwise: that says more.
        for answer in answers:
            machine, then = self._machines[answer.machine], self._then.get(answer.machine)
            earlier = (old for old, new in machine.migrated.items() if new == answer.state and then and old in then.states)
            state = answer.state if then is None or answer.state in then.states else next(earlier, answer.state)
            was = then.policy(answer.message, state) if then else ""
            if answer.outcome == _UNKNOWN or (was and was != answer.outcome):
                about = (
                    f"the policy for {answer.message!r} in {state!r}" if answer.outcome != _UNKNOWN else f"the message {answer.message!r}"
                )
                what = f"was {was!r} and is {answer.outcome!r}" if answer.outcome != _UNKNOWN else "is not declared"
                found = replace(_otherwise(entry, f"{answer.machine}: {about} {what}"), machine=answer.machine)
                raise _Differs(replace(found, old_state=state, new_state=answer.state))

    def _compare_asked(self, entry: Entry) -> None:
        told, self._case.told = self._case.told, []
        for name, message in told:
            machine, then = self._machines[name], self._then.get(name)
            if then and message in then.asks and machine.knows(message):
                asks = next(one.then_send for one in machine.declaration.messages if one.name == message)
                self._note_sent(entry, f"{name}: the message {message!r}", then.asks[message], asks, entry.to_state)

    def _compare_sent(self, entry: Entry, step: _Step) -> None:
        if entry.kind == "transition":
            was = self._known[entry.machine].rows.get((entry.trigger, entry.from_state))
            row = self._machines[entry.machine_name].row(entry.trigger, step.from_state)
            if was and row:
                self._note_sent(entry, f"{step.machine}: {entry.trigger!r}", was.then_send, row.then_send, step.to_state)

    def _note_sent(self, entry: Entry, what: str, was: str, now: str, state: str) -> None:
        if self._sends is None and sorted(words(was)) != sorted(words(now)):
            self._sends = _otherwise(entry, f"{what} sent {was}, and sends {now}", new_state=state)

    def _missing(self, entry: Entry) -> None:
        """The entry moved, and the present machines do not."""
        machine, step = self._machines[entry.machine_name], self._step(entry)
        row = machine.row(entry.trigger, step.from_state)
        if step.from_state and step.from_state not in machine.declaration.states:
            why = f"the state {step.from_state!r} is not declared"
        elif row is None:
            why = f"no row {entry.trigger!r} leaves {step.from_state or 'the beginning'!r}"
        else:
            was = self._known[entry.machine].rows.get((entry.trigger, entry.from_state))
            changed = f", which was {was.only_if}," if was and was.only_if != row.only_if else ""
            why = f"{entry.trigger!r} does not leave {step.from_state!r} any more: its guard {row.only_if}{changed} says no"
            if self._case.would(machine, entry.trigger, entry.payment_intent_id):
                why = f"no message that came fires {entry.trigger!r} from {step.from_state!r}"
        raise _Differs(_otherwise(entry, f"{machine.name}: {why}", new_state=step.from_state))

    def _elsewhere(self, entry: Entry, step: _Step) -> None:
        """Both moved, and not the same way."""
        machine, wanted = self._machines[entry.machine_name], self._step(entry)
        source = step.from_state or "the beginning"
        if (step.from_state, step.to_state) == (wanted.from_state, wanted.to_state):
            why = f"from {source!r} to {step.to_state!r} leads {step.trigger!r}, not {wanted.trigger!r}"
        elif (step.trigger, step.from_state) == (wanted.trigger, wanted.from_state):
            why = f"{step.trigger!r} leads from {source!r} to {step.to_state!r}, not to {entry.to_state!r}"
        else:
            why = f"{step.trigger!r} moves from {source!r} to {step.to_state!r} before {wanted.trigger!r} does"
        raise _Differs(_otherwise(entry, f"{machine.name}: {why}", new_state=step.to_state))

    def _surplus(self, step: _Step, entry: Entry) -> None:
        """The present machines move where nothing moved."""
        row = self._machines[step.machine].row(step.trigger, step.from_state)
        then = self._then.get(step.machine)
        was = then.rows.get((step.trigger, step.from_state)) if then else None
        what = f"{step.machine}: {step.trigger!r} moves from {step.from_state!r} to {step.to_state!r}"
        if was is None or row is None:
            why = "the row is new"
        elif was.only_if != row.only_if:
            why = f"its guard is {row.only_if}, and was {was.only_if}"
        else:
            why = (
                "a message fires it now" if row.only_if == "always" else f"its guard {row.only_if} says yes now, or a message fires it now"
            )
        found = replace(_otherwise(entry, f"{what}: {why}"), machine=step.machine, payment_intent_id=step.intent_id)
        raise _Differs(replace(found, old_state=step.from_state, new_state=step.to_state))


_ASKS = {"cancel_order": "cancel_order", "refuse_order": "refuse_order", "amend_order": "amend_order", "lock": "lock_order"}
_ASKED = frozenset({("operator", "amend"), ("lock", "take"), ("lock", "take_over"), ("system", "refuse")})
"""Facts that are there because a policy, or a guard, says so."""


def _is_followed(entry: Entry, *, is_detached: bool) -> bool:
    """After this fact the order is offered the triggers that follow by themselves; see who calls `Case.follow`."""
    match entry.kind:
        case "operator":
            return entry.cause == "amend_order" or entry.cause.startswith("resolve:")
        case "effect":
            return not (is_detached and entry.body["outcome"] == "dead")
        case "check":
            return "stale" not in entry.body
        case "payment":
            return entry.trigger == "record"
        case _:
            return False


def _command(entry: Entry) -> tuple[str, str, str]:
    """What the entries of one command have in common."""
    return entry.at, entry.actor, entry.cause


def _facts(entry: Entry) -> Facts:
    """Without the tasks, which are not the machines'."""
    return {name: value for name, value in entry.body.items() if name != "tasks"}


def _fate(rest: Sequence[Entry], check: Entry) -> str:
    """How the payment of this read ended, as far as it did: whether a hold had run out is not among the facts of the read."""
    its = (entry for entry in rest if _command(entry) == _command(check) and entry.payment_intent_id == check.payment_intent_id)
    return next((str(entry.body["fate"]) for entry in its if "fate" in entry.body), "")


def _read(facts: Facts) -> tuple[str, str]:
    """The message that a read was, and what it says of how a payment ended; see `reconcile.judge`."""
    status = str(facts["status"])
    if facts["mismatch"]:
        return "read_disagrees", ""
    if status not in _FATES and facts.get("refunded"):
        return "read_refunded", "refunded"
    return MESSAGES[status], _FATES.get(status, "")
