"""`/machines`: how an order, its payments and the kitchen move, in sentences; and whether that explains this journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from flask import Blueprint, Response
from markupsafe import Markup
from werkzeug.exceptions import NotFound

from adapters.console.files import attached
from adapters.console.jobs import Job
from adapters.console.site import Site
from workflow import diagrams
from workflow.case import Machines, declared_machines
from workflow.declaration import MIGRATE, OUTCOMES, Declaration, group, state_name, words
from workflow.explaining import Tally, Version, changes, check, declarations, regrouped, versions
from workflow.guards import GUARDS
from workflow.journal.reads import SqliteReads
from workflow.lifecycle import ATTENTION, EFFECTS, RESOLUTIONS, RULES
from workflow.verdicts import Verdicts, ordinal, way

CHECK = "machine-check"
COUNTED_AT_ONCE = 100_000
"""Entries that one view of the page counts: a fraction of a second."""
KINDS = {"mmd": ("mermaid", "text/plain"), "dot": ("dot", "text/vnd.graphviz"), "svg": ("svg", "image/svg+xml")}
THINGS = {"order": "orders", "payment": "payments", "fulfilment": "orders"}
LEADS = {
    "order": "What an order goes through, from the till or a phone until Dojo took the news of its money.",
    "payment": "What one payment intent of an order goes through. Messages move payments; the order follows.",
    "fulfilment": "What the kitchen says. It is apart from the money, but for this: only what is paid in full is finalised.",
}


def pages(site: Site) -> Blueprint:
    """The pages about machines."""
    blueprint, machines = Blueprint("machines", __name__), declared_machines()
    _add_overview(blueprint, site, machines)
    _add_machine(blueprint, site, machines)
    _add_check(blueprint, site, machines)
    return blueprint


def _add_overview(blueprint: Blueprint, site: Site, machines: Machines) -> None:
    reads, tally = site.desk.reads, Tally()

    @blueprint.get("/machines")
    def show() -> Response:
        tally.go_on(reads, COUNTED_AT_ONCE)
        places = {name: place for place, name in enumerate(machines)}
        size = reads.size()
        return site.page(
            "machines.html",
            machines=machines,
            leads=LEADS,
            titles=diagrams.TITLES,
            things=THINGS,
            versions=sorted(versions(reads, tally), key=lambda each: places.get(each.name, len(places))),
            is_present=lambda each: _is_present(machines, each),
            counted=min(tally.counted, size),
            size=size,
            job=site.desk.jobs.latest(CHECK),
        )

    @blueprint.get("/machines/attention")
    def attention() -> Response:
        return site.page("machines_attention.html", attention=ATTENTION, resolutions=RESOLUTIONS, words=words)


def _add_machine(blueprint: Blueprint, site: Site, machines: Machines) -> None:
    @blueprint.get("/machines/<name>")
    def machine(name: str) -> Response:
        declaration = _declaration(machines, name)
        return site.page(
            "machine.html",
            declaration=declaration,
            machine=machines[name],
            title=diagrams.TITLES[name],
            lead=LEADS[name],
            picture=Markup(diagrams.svg(declaration, embedded=True)),  # noqa: S704  # Ours, and escaped there.
            states=list(_states(declaration)),
            rows=list(_rows(declaration)),
            messages=list(_messages(declaration)),
            policies=list(_policies(declaration)),
            rules=_rules(declaration),
            outcomes=OUTCOMES,
        )

    @blueprint.get("/machines/<name>/diagram.<ending>")
    def diagram(name: str, ending: str) -> Response:
        declaration = _declaration(machines, name)
        if ending not in KINDS:
            raise NotFound(f"expected one of {', '.join(KINDS)}")
        form, kind = KINDS[ending]
        return attached(diagrams.render(declaration, form), kind, f"{name}.{ending}")

    @blueprint.get("/machines/<name>/<hash_>")
    def difference(name: str, hash_: str) -> Response:
        present = _declaration(machines, name)
        then = declarations(site.desk.reads).get(f"{name}@{hash_}")
        if then is None:
            raise NotFound("the journal keeps no such declaration")
        return site.page(
            "machines_difference.html",
            name=name,
            title=diagrams.TITLES[name],
            hash_=hash_,
            present=machines[name].hash,
            changes=changes(then, present),
        )


def _add_check(blueprint: Blueprint, site: Site, machines: Machines) -> None:
    reads, jobs = site.desk.reads, site.desk.jobs

    @blueprint.post("/machines/check")
    def begin_check() -> Response:
        work = _checking(reads, machines)
        if jobs.start(CHECK, site.session.actor.name, work, total=reads.size(), is_gentle=True) is None:
            site.say("The journal is being checked already.", "warn")
        return site.to("/machines/check")

    @blueprint.get("/machines/check")
    def show_check() -> Response:
        return site.page("machines_check.html", job=jobs.latest(CHECK), ordinal=ordinal, way=way)


def _declaration(machines: Machines, name: str) -> Declaration:
    if name not in machines:
        raise NotFound(f"there is no such machine; there are {', '.join(machines)}")
    return machines[name].declaration


def _is_present(machines: Machines, version: Version) -> bool:
    return version.name in machines and version.hash == machines[version.name].hash


class Sentence(NamedTuple):
    """A name of the declaration, and what it means."""

    name: str
    text: str


class StateLine(NamedTuple):
    """A declared state; `groups` are those that guards and sums speak of."""

    name: str
    meaning: str
    is_final: bool
    groups: tuple[str, ...]


class RowLine(NamedTuple):
    """A transition in words."""

    when: str
    sources: tuple[str, ...]
    target: str
    only_if: Sentence
    then_send: tuple[Sentence, ...]
    rule: Sentence


class MessageLine(NamedTuple):
    """What arrives, in words."""

    name: str
    meaning: str
    fires: tuple[str, ...]
    then_send: tuple[Sentence, ...]


class PolicyLine(NamedTuple):
    """What is answered where no transition leaves."""

    messages: tuple[str, ...]
    states: tuple[str, ...]
    outcome: Sentence
    rule: Sentence


def _states(declaration: Declaration) -> Iterator[StateLine]:
    final = words(declaration.final)
    for name, meaning in declaration.states.items():
        groups = tuple(each for each in declaration.groups if name in group(declaration, each))
        yield StateLine(name, meaning, name in final, groups)


def _rows(declaration: Declaration) -> Iterator[RowLine]:
    for row in declaration.transitions:
        yield RowLine(row.when, _sources(row.source), row.target, _guard(row.only_if), _effects(row.then_send), _rule(row.rule))
    for each in declaration.migrations:
        yield RowLine(MIGRATE, _sources(each.source), each.target, Sentence("", each.reason), (), _rule(each.rule))


def _messages(declaration: Declaration) -> Iterator[MessageLine]:
    for message in declaration.messages:
        yield MessageLine(message.name, message.meaning, words(message.fires), _effects(message.then_send))


def _policies(declaration: Declaration) -> Iterator[PolicyLine]:
    for policy in declaration.policies:
        outcome = Sentence(policy.outcome, OUTCOMES[policy.outcome])
        yield PolicyLine(words(policy.message), _sources(policy.in_state), outcome, _rule(policy.rule))


def _rules(declaration: Declaration) -> list[Sentence]:
    """Those that this machine cites, in the order of the declaration of rules."""
    cited = {row.rule for row in declaration.transitions} | {row.rule for row in declaration.policies}
    cited |= {row.rule for row in declaration.migrations}
    return [_rule(name) for name in RULES if name in cited]


def _sources(column: str) -> tuple[str, ...]:
    return tuple(state_name(word) for word in words(column))


def _guard(name: str) -> Sentence:
    return Sentence(name, (GUARDS[name].__doc__ or "").strip().replace("`", ""))


def _effects(column: str) -> tuple[Sentence, ...]:
    return tuple(Sentence(name, EFFECTS[name]) for name in words(column))


def _rule(name: str) -> Sentence:
    return Sentence(name, RULES[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What telling the journal again came to; `wrong` are sentences about migrations that change what old entries mean."""

    verdicts: Verdicts
    wrong: list[str]
    machines: list[str]

    @property
    def is_same(self) -> bool:
        """Every order would have gone the same way."""
        return self.verdicts.counts["same"] == self.verdicts.orders and not self.wrong


def _checking(reads: SqliteReads, machines: Machines) -> Callable[[Job[object]], Checked]:
    """What `tillproof machine check` does, beside everything else that this server does."""

    def work(job: Job[object]) -> Checked:
        verdicts, told, job.what = Verdicts(), 0, "entry"

        def progress(done: int) -> None:
            nonlocal told
            told = done

        for found in check(reads, machines, progress):
            verdicts.add(found)
            job.tell(told)  # Once an order: it rests meanwhile, and hears that the process ends.
        job.tell(job.total)
        wrong = regrouped(declarations(reads).values(), machines)
        return Checked(verdicts=verdicts, wrong=wrong, machines=[each.ident for each in machines.values()])

    return work
