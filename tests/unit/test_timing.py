"""What a comparison of secrets takes says nothing about them: every secret is compared, 32 bytes with 32 bytes, by `compare_digest`.

So is what nobody may guess piece by piece: the token of a form, which is always as long, and the seal of a page token.
"""

from __future__ import annotations

import hmac
import random
import statistics
import time
from contextlib import suppress
from functools import partial

import pytest

from adapters.console import act
from adapters.edge import credentials
from adapters.edge.credentials import BasicCredentials, Tokens
from adapters.edge.cursors import Cursors
from adapters.edge.strict_json import BadInput
from adapters.epos import signature
from adapters.epos.signature import is_signed, sign
from tests.console_desk import desk_with
from tests.contract.running import basic
from workflow.journal.reads import Position

SECRETS = ("secret-one", "a much longer secret than the first one is", "3")
BODY = b'{"id":"evt"}'
GOOD = sign(BODY, SECRETS[0])
TOKENS = Tokens.parse("till:a:token-one,auditor:b:token-two-which-is-longer,operator:c:3")
TRIALS = 20_000
ROUNDS = 200
LEAST_NS = 10.0
"""A spread is taken to be no smaller: the clock's own steps are of that size."""
SIGMA_OF_MAD = 1.4826
"""What the median deviation of a normal distribution is multiplied with to give its sigma."""


@pytest.fixture
def compared(monkeypatch):
    """The pairs that are compared."""
    pairs, real = [], hmac.compare_digest

    def compare_digest(a, b):
        pairs.append((a, b))
        return real(a, b)

    for module in (credentials, signature, hmac):
        monkeypatch.setattr(module, "compare_digest", compare_digest)
    return pairs


ASKED = {
    "a good signature": (partial(is_signed, BODY, GOOD, SECRETS), 3),
    "a signature by the last secret": (partial(is_signed, BODY, sign(BODY, SECRETS[-1]), SECRETS), 3),
    "a bad signature": (partial(is_signed, BODY, "sha256=" + "0" * 64, SECRETS), 3),
    "a good password": (partial(BasicCredentials("u", "pass:wörd").matches, basic("u", "pass:wörd")), 1),
    "a bad password": (partial(BasicCredentials("u", "pass:wörd").matches, basic("u", "p")), 1),
    "the first token": (partial(TOKENS.actor, "Bearer token-one"), 3),
    "the last token": (partial(TOKENS.actor, "Bearer 3"), 3),
    "no token of ours": (partial(TOKENS.actor, "Bearer x"), 3),
    "no token at all": (partial(TOKENS.actor, None), 3),
}


@pytest.mark.parametrize("name", ASKED)
def test_every_secret_is_compared_as_32_raw_bytes_whichever_is_right(compared, name):  # A3
    ask, times = ASKED[name]
    ask()
    assert len(compared) == times
    assert {(type(one), len(one)) for pair in compared for one in pair} == {(bytes, 32)}


@pytest.mark.parametrize("is_right", [True, False])
def test_the_token_of_a_form_is_compared_as_raw_bytes_whether_it_is_right_or_not(compared, tmp_path, is_right):  # A3 A6
    with desk_with(tmp_path, act.pages) as desk:
        wanted = desk.session("ann").csrf
        given = wanted if is_right else "é" + wanted[1:]

        answer = desk.ask("/act", form={"csrf": given})

    assert compared == [(given.encode(), wanted.encode())]
    assert ("This form is too old" in answer.text) is not is_right


@pytest.mark.parametrize("scope", ["orders", "tables"])
def test_the_seal_of_a_page_token_is_compared_as_raw_bytes_whether_it_is_right_or_not(compared, scope):  # A3
    cursors, position = Cursors(b"secret"), Position("2026-03-14T12:00:00.000Z", "o1")
    token = cursors.token(position, "orders")

    with suppress(BadInput):
        assert (cursors.position(token, scope, "cursor.after"), scope) == (position, "orders")

    assert [(type(one), len(one)) for pair in compared for one in pair] == [(bytes, 16)] * 2


def gap(one, other):
    """How far apart the two are in time, as a multiple of its own spread: medians of rounds in which both take turns at random."""
    gaps, order = [], random.Random(1)
    for _ in range(ROUNDS):
        took = {one: [], other: []}
        for _ in range(TRIALS // ROUNDS):
            for ask in order.sample((one, other), 2):
                began = time.perf_counter_ns()
                ask()
                took[ask].append(time.perf_counter_ns() - began)
        gaps.append(statistics.median(took[one]) - statistics.median(took[other]))
    middle = statistics.median(gaps)
    spread = SIGMA_OF_MAD * statistics.median(abs(found - middle) for found in gaps)
    return abs(middle) / max(spread, LEAST_NS)


def signed_with(position):
    """Asks about a signature whose digit at this place is wrong."""
    wrong = "0" if GOOD[position] != "0" else "1"
    return partial(is_signed, BODY, GOOD[:position] + wrong + GOOD[position + 1 :], SECRETS[:1])


def test_a_signature_that_is_wrong_at_its_beginning_takes_as_long_as_one_that_is_wrong_at_its_end(monkeypatch):  # A3
    """Load slows both alike, since they take turns; a comparison that stops at the first difference is far outside."""
    assert gap(signed_with(len("sha256=")), signed_with(len(GOOD) - 1)) < 3

    monkeypatch.setattr(signature, "compare_digest", lambda a, b: all(x == y for x, y in zip(a, b, strict=True)))
    assert gap(signed_with(len("sha256=")), signed_with(len(GOOD) - 1)) > 3
