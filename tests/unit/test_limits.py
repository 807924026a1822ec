"""Who calls, how much is let in, and what happens to guesses: with a clock that the test moves, and without a server."""

from __future__ import annotations

import logging
import threading
from ipaddress import ip_network

import pytest
from flask import Flask
from werkzeug.exceptions import TooManyRequests

from adapters.edge import limits
from adapters.edge.answers import MARKS
from adapters.edge.limits import (
    ADDRESS,
    ALL_GUESSES,
    GUESS_SECONDS,
    GUESSES,
    LOG_LINES,
    REFUSALS,
    Door,
    DoorSettings,
    Guesses,
    client_address,
)
from tests.builders import FixedClock

STRANGER, DOJO, HERE = "203.0.113.9", "198.51.100.7", "127.0.0.1"


# Who calls


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        (STRANGER, "", [], STRANGER),
        (STRANGER, DOJO, [], STRANGER),
        (STRANGER, DOJO, ["10.0.0.0/8"], STRANGER),
        ("10.0.0.1", DOJO, ["10.0.0.0/8"], DOJO),
        ("10.0.0.1", f"1.1.1.1, {DOJO}", ["10.0.0.0/8"], DOJO),
        ("10.0.0.1", f"{DOJO}, 10.0.0.2", ["10.0.0.0/8"], DOJO),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", ["10.0.0.0/8"], "10.0.0.3"),
        ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", f"{DOJO}, unknown", ["10.0.0.0/8"], "10.0.0.1"),
        ("::ffff:10.0.0.1", DOJO, ["10.0.0.0/8"], DOJO),
        ("fd00::1", "2001:db8:1:2:aaaa::1", ["fd00::/8"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "", [], "2001:db8:1:2::/64"),
        ("", DOJO, ["10.0.0.0/8"], ""),
    ],
)
def test_only_a_trusted_proxy_is_believed_and_only_as_far_as_proxies_are_trusted(peer, forwarded, trusted, address):  # A11
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded, "HTTP_FORWARDED": f"for={DOJO}", "HTTP_X_REAL_IP": DOJO}
    assert client_address(environ, [ip_network(network) for network in trusted]) == address


# What is let in


class Doorway:
    """A door in front of an application that answers what `inside` does; it knows who says `right`."""

    def __init__(self, *, requests_per_second=10, at_once=None, inside=lambda environ: None):
        self.clock, self.shed, self.served = FixedClock(), [], 0
        settings = DoorSettings((), requests_per_second, at_once, at_once)

        def app(environ, start_response):
            self.served += 1
            inside(environ)
            start_response("200 OK", [])
            return [b""]

        self.door = Door(app, settings, self.clock, on_shed=self.shed.append, knows=lambda address, header: header == "right")

    def ask(self, address=STRANGER, path="/v1/orders", header=None, accept="*/*"):
        """The status and the headers of one request."""
        said = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REMOTE_ADDR": address, "wsgi.url_scheme": "http", "SERVER_NAME": "x"}
        environ |= {"HTTP_ACCEPT": accept}
        environ |= {} if header is None else {"HTTP_AUTHORIZATION": header}
        b"".join(self.door(environ | {"SERVER_PORT": "80"}, lambda status, headers, exc_info=None: said.extend((status, dict(headers)))))
        return int(said[0].split()[0]), said[1]


def test_an_address_may_ask_a_seconds_worth_at_once_and_then_as_fast_as_it_grows_again():  # A13
    doorway = Doorway(requests_per_second=10)
    assert [doorway.ask()[0] for _ in range(12)] == [200] * 10 + [429] * 2
    doorway.clock.move(0.25)
    assert [doorway.ask()[0] for _ in range(4)] == [200] * 2 + [429] * 2
    doorway.clock.move(3600)
    assert [doorway.ask()[0] for _ in range(12)] == [200] * 10 + [429] * 2
    assert doorway.shed == ["rate"] * 6


def test_who_read_the_clock_before_another_that_came_first_is_not_taken_for_one_who_asks_too_much():
    doorway = Doorway(requests_per_second=10)
    assert doorway.ask()[0] == 200
    doorway.clock.seconds -= 5  # As a thread sees it that had to wait, between the clock and the count.
    assert [doorway.ask()[0] for _ in range(10)] == [200] * 9 + [429]
    doorway.clock.seconds += 5.25
    assert [doorway.ask()[0] for _ in range(4)] == [200] * 2 + [429] * 2


def test_what_is_turned_away_is_an_epos_error_that_says_when_to_come_back():  # A13
    doorway = Doorway(requests_per_second=10)
    status, headers = [doorway.ask() for _ in range(11)][-1]
    assert (status, headers["Content-Type"], headers["Retry-After"]) == (429, "application/json", "1")
    assert headers["X-Trace-Id"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_people_who_are_turned_away_are_told_so_in_a_page():
    doorway = Doorway(requests_per_second=10)
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    answers = {path: [doorway.ask(path=path, accept=browser) for _ in range(11)][-1] for path in ("/orders", "/api/orders")}
    assert {path: (status, headers["Content-Type"]) for path, (status, headers) in answers.items()} == {
        "/orders": (429, "text/html; charset=utf-8"),
        "/api/orders": (429, "application/json"),
    }
    headers = answers["/orders"][1]
    assert headers["Retry-After"] == "1"
    assert {name: headers[name] for name in MARKS} == MARKS


def test_one_address_that_asks_too_much_takes_nothing_from_another_and_nothing_from_health():  # A13
    doorway = Doorway(requests_per_second=10)
    assert [doorway.ask()[0] for _ in range(50)].count(200) == 10
    assert doorway.ask(DOJO)[0] == 200
    assert [doorway.ask(path="/healthz")[0] for _ in range(50)] == [200] * 50


def test_strangers_at_dojos_address_take_nothing_from_it_and_dojo_has_a_limit_of_its_own():  # A13 I12
    doorway = Doorway(requests_per_second=10)
    assert [doorway.ask()[0] for _ in range(20)] == [200] * 10 + [429] * 10
    assert [doorway.ask(header="right")[0] for _ in range(20)] == [200] * 10 + [429] * 10
    doorway.clock.move(1)
    assert [doorway.ask(header="wrong")[0] for _ in range(20)] == [200] * 10 + [429] * 10


def test_strangers_who_hold_all_their_places_leave_dojo_its_own():  # A12 A13 I12
    inside = []

    def ask_again(environ):
        if environ["PATH_INFO"] == "/first":
            inside.extend([doorway.ask(path="/second")[0], doorway.ask(path="/third", header="right")[0]])

    doorway = Doorway(requests_per_second=100, at_once=1, inside=ask_again)
    assert doorway.ask(path="/first")[0] == 200
    assert inside == [503, 200]


def test_more_requests_at_once_than_there_are_places_are_503_and_health_answers_still():  # A13
    inside = []

    def ask_again(environ):
        if environ["PATH_INFO"] == "/first":
            inside.extend([doorway.ask(path="/second"), doorway.ask(path="/healthz")])

    doorway = Doorway(requests_per_second=100, at_once=1, inside=ask_again)
    assert doorway.ask(path="/first")[0] == 200
    assert [status for status, _ in inside] == [503, 200]
    assert inside[0][1]["Retry-After"] == "1"
    assert doorway.ask(path="/third")[0] == 200


def test_a_stranger_gives_way_once_it_has_its_place_so_that_a_crowd_is_seen_and_dojo_never_does(monkeypatch):  # A13
    meanwhile = []

    def give_way(seconds):
        meanwhile.append((seconds, doorway.served, doorway.ask()[0], doorway.ask(header="right")[0]))

    doorway = Doorway(requests_per_second=100, at_once=1)
    monkeypatch.setattr("adapters.edge.limits.time.sleep", give_way)
    assert doorway.ask(header="right")[0] == 200
    assert meanwhile == []
    assert doorway.ask()[0] == 200
    assert meanwhile == [(0, 1, 503, 200)]


def test_a_place_is_free_again_when_the_application_raised():
    def fail(environ):
        raise ValueError

    doorway = Doorway(requests_per_second=100, at_once=1, inside=fail)
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011
            doorway.ask()
    assert doorway.served == 2


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch):  # I15
    monkeypatch.setattr(limits, "ADDRESSES", 100)
    doorway, gate = Doorway(), Gate()
    for number in range(1_000):
        doorway.ask(f"10.0.{number // 256}.{number % 256}")
        gate.ask("guess", address=f"10.0.{number // 256}.{number % 256}")
    assert len(doorway.door._rates) == 100
    assert len(gate.guesses._failures) <= 100


# Who guesses


class Gate:
    """A side whose right credentials are `right`."""

    def __init__(self, right="right"):
        self.app, self.clock, self.refused, self.right, self.looked_at = Flask("gate"), FixedClock(), [], right, 0
        self.guesses = Guesses("dojo", self.clock, self.refused.append)

    def ask(self, header, address=STRANGER):
        """The status that a request with this header gets: 200, 401 or 429."""
        with self.app.test_request_context(environ_overrides={ADDRESS: address}):
            try:
                return 200 if self.guesses.judge(header, self._is_right) else 401
            except TooManyRequests as error:
                return 429 if int(dict(error.get_headers())["Retry-After"]) <= GUESS_SECONDS else 500

    def knows(self, header, address):
        return self.guesses.knows(self._is_right, address, header)

    def _is_right(self, header):
        self.looked_at += 1
        return header == self.right

    def guess(self, times, address=STRANGER, prefix=""):
        return [self.ask(f"{prefix}guess {number}", address) for number in range(times)]


def test_an_address_that_guesses_is_throttled_and_not_listened_to_until_its_time_is_over():  # A10
    gate = Gate()
    assert gate.guess(1_000) == [401] * GUESSES + [429] * (1_000 - GUESSES)
    assert gate.looked_at == GUESSES
    assert gate.ask("right") == 429  # It might have been a lucky guess: nobody is told.
    gate.clock.move(GUESS_SECONDS)
    assert gate.ask("right") == 200


def test_what_an_attacker_does_locks_nobody_else_out():  # A10
    gate = Gate()
    gate.guess(1_000)
    assert gate.ask("right", DOJO) == 200


def test_who_once_had_what_is_right_passes_though_somebody_guesses_from_the_same_address():  # A10
    gate = Gate()
    assert gate.ask("right") == 200
    assert gate.guess(1_000).count(429) == 1_000 - GUESSES
    assert gate.ask("right") == 200


@pytest.mark.parametrize("near", [HERE, "172.17.0.1", "192.168.1.1", "10.255.0.2", "fd00:1:2:3::/64", "::/64"])
def test_behind_a_near_proxy_that_nobody_trusts_dojo_passes_though_somebody_guessed_before_it_ever_came(near):  # A10 A11
    gate = Gate()
    assert gate.guess(1_000, near).count(429) == 1_000 - GUESSES
    assert gate.ask("right", near) == 200


def test_only_where_it_is_listened_to_anyway_does_what_is_right_make_a_difference_at_the_door():  # A10
    gate = Gate()
    assert [gate.knows(header, HERE) for header in ("right", "wrong", "", None)] == [True, False, False, False]
    assert not gate.knows("right", STRANGER)  # Else strangers that crowd the door would show a guesser what passes, uncounted.
    assert gate.ask("right", STRANGER) == 200
    assert gate.knows("right", STRANGER)
    assert gate.refused == []


def test_guesses_from_many_addresses_are_throttled_together_and_what_is_right_still_passes():  # A10
    gate = Gate()
    answers = [status for number in range(40) for status in gate.guess(20, f"203.0.113.{number}", prefix=f"{number} ")]
    assert answers == [401] * ALL_GUESSES + [429] * (800 - ALL_GUESSES)
    assert gate.ask("right", DOJO) == 200


def test_the_same_wrong_credentials_again_are_no_new_guess_and_none_at_all_never_are():  # A10 A1
    gate = Gate()
    assert [gate.ask("of last year") for _ in range(REFUSALS)] == [401] * REFUSALS
    assert gate.ask("of last year") == 429
    assert [gate.ask(None, DOJO) for _ in range(2 * REFUSALS)] == [401] * 2 * REFUSALS


def test_a_wall_clock_that_jumps_back_locks_nobody_out():  # T1
    gate = Gate()
    gate.guess(1_000)
    gate.clock.move(GUESS_SECONDS)
    gate.clock.moment = gate.clock.moment.replace(year=2020)
    assert gate.ask("right") == 200


def test_an_attack_is_counted_in_full_and_logged_in_a_few_lines_that_hold_no_credentials(caplog):  # A10 A15
    gate = Gate()
    with caplog.at_level(logging.WARNING):
        gate.guess(1_000)
        gate.clock.move(GUESS_SECONDS)
        gate.ask("guess again")
    assert len(gate.refused) == 1_001
    assert {reason: gate.refused.count(reason) for reason in ("wrong", "throttled")} == {"wrong": GUESSES + 1, "throttled": 1_000 - GUESSES}
    records = [record for record in caplog.records if record.thread == threading.get_ident()]
    assert len(records) == LOG_LINES + 1
    assert {(record.message, record.side, record.address) for record in records} == {("caller refused", "dojo", STRANGER)}
    assert records[-1].unsaid == 1_000 - LOG_LINES
    assert "guess" not in str([vars(record) for record in records]).replace("adapters", "")
