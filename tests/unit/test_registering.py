"""Registering at Dojo: journaled before it is done, and never anything else than what a person saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.capabilities import CAPABILITIES, SERVED, USES, RestIntegration, difference
from adapters.registering import Registrar, compare, registration_of
from adapters.settings import read_settings
from tests.builders import Venue
from workflow.commands import NoteRegistration
from workflow.errors import AnswerUnreadable, OutcomeUnknown, Refused, TryAgain
from workflow.replay import replay

GIVEN = {"DOJO_API_KEY": "sk_sandbox_1", "PUBLIC_URL": "https://pos.example.com", "EPOS_USERNAME": "dojo", "EPOS_PASSWORD": "s3cret"}


def settings(**changes):
    given = GIVEN | changes
    return read_settings({f"TILLPROOF_{name}": value for name, value in given.items() if value}, None)


class Dojo:
    """Keeps one integration, and writes down what it was asked; `error` is its answer to a registration."""

    def __init__(self, told, error=None):
        self.told, self.error = told, error
        self.has = [RestIntegration(url="https://old.example.com", username="dojo", capabilities=(("CreateOrder", "v1"), ("Dance", "v1")))]

    def __call__(self):
        return self

    def integrations(self):
        return self.has

    def register(self, registration):
        self.told.append("PUT")
        if self.error:
            raise self.error
        self.has = [registration]
        return self.has


def test_what_is_added_and_dropped_is_journaled_before_dojo_is_asked():
    told = []
    dojo = Dojo(told)
    registrar = Registrar(settings(), dojo, told.append)
    registrar.register(registrar.compare(), actor="operator:olga", reason="a new address")

    added = tuple(name for name in SERVED if name != "CreateOrder")
    note = NoteRegistration(url="https://pos.example.com", added=added, dropped=("Dance",), reason="a new address", actor="operator:olga")
    assert told == [note, "PUT"]
    assert registrar.compare().gap.is_none


def test_where_it_cannot_be_journaled_dojo_is_not_asked():
    told = []

    def note(command):
        raise TryAgain("the disk is full")

    registrar = Registrar(settings(), Dojo(told), note)
    with pytest.raises(TryAgain):
        registrar.register(registrar.compare(), actor="operator:olga", reason="so")
    assert told == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refused("400: url"), "400: url"),
        (TryAgain("429"), "429"),
        (OutcomeUnknown("no answer in 10 s"), "nobody knows whether Dojo took it: no answer in 10 s"),
        (AnswerUnreadable("200, unreadable"), "nobody knows whether Dojo took it: 200, unreadable"),
    ],
)
def test_what_dojo_did_not_take_or_may_have_taken_is_journaled_as_well_and_raised(error, said):
    told = []
    registrar = Registrar(settings(), Dojo(told, error), told.append)
    with pytest.raises(type(error)):
        registrar.register(registrar.compare(), actor="operator:olga", reason="so")
    assert [each if each == "PUT" else each.refused for each in told] == ["", "PUT", said]


@pytest.mark.parametrize(
    "change",
    [
        lambda now: [],
        lambda now: [replace(now, capabilities=now.capabilities[:1])],
        lambda now: [replace(now, url="https://somebody-else.example.com")],
    ],
    ids=["nothing is registered now", "another list", "the same difference, from another address"],
)
def test_what_would_change_something_else_than_was_shown_is_refused_and_nothing_is_told(change):
    told = []
    dojo = Dojo(told)
    registrar = Registrar(settings(), dojo, told.append)
    seen = registrar.compare()
    dojo.has = change(dojo.has[0])
    with pytest.raises(Refused, match="changed since this was shown"):
        registrar.register(seen, actor="operator:olga", reason="so")
    assert told == []


@pytest.mark.parametrize("name", GIVEN)
def test_without_a_setting_that_is_needed_nothing_is_asked_and_it_is_named(name):
    registrar = Registrar(settings(**{name: None}), lambda: pytest.fail("Dojo is asked"), pytest.fail)
    assert registrar.missing == [f"TILLPROOF_{name}"]
    with pytest.raises(Refused, match=f"TILLPROOF_{name}"):
        registrar.compare()


def test_a_venue_of_which_dojo_knows_nothing_lacks_everything():
    registration = registration_of(settings())
    dojo = Dojo([])
    dojo.has = []
    assert compare(dojo, registration).gap == difference(None, registration)
    assert compare(dojo, registration).gap.missing == SERVED


def test_every_capability_has_its_use_in_words():
    assert [*USES] == [each.name for each in CAPABILITIES]


def test_the_journal_tells_who_registered_what_and_replays(tmp_path):
    venue = Venue(tmp_path)
    note = NoteRegistration(url="https://pos.example.com", added=("CreateOrder",), dropped=(), reason="first day", actor="operator:olga")
    venue.engine.handle(note)
    venue.engine.handle(NoteRegistration(url=note.url, added=(), dropped=(), reason=note.reason, actor=note.actor, refused="401"))

    facts = {"reason": "first day", "url": note.url}
    found = [(each.kind, each.trigger, each.actor, each.entry().body) for each in venue.reads.entries(order_id="")]
    assert found == [
        ("operator", "register", "operator:olga", facts | {"added": ["CreateOrder"], "dropped": []}),
        ("operator", "register", "operator:olga", facts | {"refused": "401"}),
    ]
    assert replay(venue.reads).mismatches == []
    venue.close()
