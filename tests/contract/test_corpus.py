"""The corpus of hostile input, sent over real sockets to the running program: no 5xx, no half effect, no word too many, nobody harmed."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from contextlib import ExitStack, closing, suppress
from itertools import count

import pytest

from adapters.edge.answers import MARKS
from tests.contract.running import KEY, PASSWORD, TOKENS, a_bill, running
from tests.contract.test_bad_input import ROUTES, STEP, TABLES, soon
from tests.corpus import DOJO, KEPT, NEXT_SECRET, SECRET, VENUE, Corpus, good_bill, good_order

PATIENCE = 60.0
LEAST = {
    "numbers": 300,
    "dates": 300,
    "unicode": 300,
    "markup": 300,
    "sql": 200,
    "json": 300,
    "headers": 200,
    "signatures": 90,
    "framing": 250,
    "targets": 200,
    "queries": 120,
}
"""Inputs of each kind, at least."""
GOOD_EVERY = 100
"""So often a good order of Dojo's and a good bill of the till's must be taken in between."""
STORED = {
    **{"CreateOrder": 20, "RecordOrderPayment": 1, "HandleEvent": 5, "webhook": 5, "open_order": 20, "amend_order": 20, "erase": 1},
    **{"CreateParty": 8, "UpdatePartyById": 5, "CreateReservation": 4, "UpdateReservationById": 3, "CreateOrderLock": 1},
    **{"set_areas": 3, "set_tables": 3, "set_catalogue": 6, "rotate_key": 1, "note_registration": 3},
}
"""So many texts of the route's body, at least, may be SQL and are stored."""
SECRETS = (*TOKENS.values(), PASSWORD, SECRET, NEXT_SECRET, KEY)
FINGERPRINTS = (
    "Traceback",
    'File "',
    "sqlite",
    "SQLITE",
    "werkzeug",
    "Werkzeug",
    "flask",
    "msgspec",
    "/site-packages/",
    "<html",
    "<!doctype",
)
"""What no answer may say about how it came to be."""


LENGTH, CHUNKED = re.compile(rb"(?mi)^content-length:"), re.compile(rb"(?mi)^transfer-encoding:.*chunked")
TWO_WAYS = {
    "a length and chunks": lambda head: LENGTH.search(head) and CHUNKED.search(head),
    "two lengths": lambda head: len(LENGTH.findall(head)) > 1,
    "a folded line": re.compile(rb"\r\n[ \t]").search,
    "a line feed alone": re.compile(rb"[^\r]\n").search,
    "a space before the colon": re.compile(rb"(?m)^[A-Za-z-]+[ \t]+:").search,
}
"""Of the framing inputs' heads: which could be two requests to somebody else."""


class Line:
    """One side on a kept connection; what goes out are the bytes given."""

    def __init__(self, port):
        self.port, self.socket, self.unread = port, None, b""

    def ask(self, raw):
        """The first answer: status, header, body; None where the connection was closed without one."""
        fresh = self.socket is None
        self._connect()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(raw)
        answer = self._answer()
        if answer is None:
            self.close()
            return None if fresh else self.ask(raw)  # It was closed while it idled, or by what came before.
        if answer[1].get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.unread = None, b""

    def _connect(self):
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def _answer(self):
        while (head := self._until(b"\r\n\r\n")) is not None and head.split(b" ")[1].startswith(b"1"):
            pass
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        is_chunked = "chunked" in headers.get("transfer-encoding", "")
        body = self._chunks() if is_chunked else self._exactly(int(headers.get("content-length", 0)))
        return int(first.split(" ")[1]), headers, body

    def _chunks(self):
        body = b""
        while size := int(self._until(b"\r\n").strip(), 16):
            body += self._exactly(size + 2)[:-2]
        self._exactly(2)
        return body

    def _until(self, end):
        while end not in self.unread:
            if not self._more():
                return None
        found, _, self.unread = self.unread.partition(end)
        return found + end

    def _exactly(self, size):
        while len(self.unread) < size and self._more():
            pass
        found, self.unread = self.unread[:size], self.unread[size:]
        return found

    def _more(self):
        try:
            piece = self.socket.recv(65_536)
        except ConnectionResetError:
            return False
        self.unread += piece
        return bool(piece)


class Attacked:
    """The service, a line to either side, and what is wrong with its answers."""

    def __init__(self, service):
        self.service = service
        self.lines = [Line(port) for port in service.ports]
        self.numbers = count()

    def send(self, input_):
        """What is wrong with the answer and with what is left behind; nothing, if all is well."""
        before, line = self.rows(), self.lines[input_.side]
        if input_.may_close:
            line.close()  # So that whatever follows on this connection is the input's own doing.
        answer = line.ask(input_.raw)
        wrong = [*self._wrong_answer(input_, answer)]
        if (answer is None or answer[0] not in {200, 409}) and self.rows() != before:  # A conflict calls a person, and that is stored.
            wrong.append("refused, and something was stored")
        wrong += self._wrong_health(line)
        return [f"{input_.name}: {fault}" for fault in wrong]

    def _wrong_answer(self, input_, answer):
        if answer is None:
            if not input_.may_close:
                yield "closed without an answer"
            return
        status, headers, body = answer
        text = body.decode("utf-8", "replace")
        if status not in input_.statuses:
            yield f"{status}, expected {sorted(input_.statuses)}: {text[:200]}"
        if status >= 400 and (headers.get("content-type") == "application/json" or not input_.may_close):
            yield from _wrong_error(status, headers, body)
        if status < 400 and input_.echo and (found := _at(json.loads(body), input_.echo[0])) != input_.echo[1]:
            yield f"came back as {found!r}"
        if status < 400 and input_.kept and not self.stores(input_.kept):
            yield "taken, and nowhere stored as it was given"
        yield from _told_too_much(status, headers, text)

    def _wrong_health(self, line):
        """Whether the connection, or a new one, serves what it is asked and nothing else."""
        for one in {line, self.lines[DOJO]}:
            answer = one.ask(KEPT)
            if answer is None or (answer[0], answer[2]) != (200, b"ok\n"):
                one.close()
                yield f"not healthy: {answer}"

    def close(self):
        for line in self.lines:
            line.close()

    def wrong_good_orders(self):
        """Whether good orders are taken at both doors."""
        number = next(self.numbers)
        for side, raw in ((DOJO, good_order(number)), (VENUE, good_bill(number))):
            answer = self.lines[side].ask(raw)
            if answer is None or answer[0] != 200:
                yield f"a good order was refused: {answer}"

    def rows(self):
        """How many rows there are in each table."""
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
        return self.service.reads.rows(f"SELECT {counts}")[0]

    def stores(self, text):
        """Whether a text stands in any table exactly as it is, within JSON or alone."""
        for table in TABLES:
            columns = [row[1] for row in self.service.reads.rows(f"PRAGMA table_info({table})")]
            found = " OR ".join(f"instr({column}, ?) OR instr({column}, ?)" for column in columns)
            if self.service.reads.rows(f"SELECT 1 FROM {table} WHERE {found} LIMIT 1", (text, json.dumps(text)[1:-1]) * len(columns)):
                return True
        return False


def _told_too_much(status, headers, text):
    told = text + "".join(headers.values())
    yield from (f"{secret} in the answer" for secret in SECRETS if secret in told)
    if status >= 400:
        yield from (f"{word} in the answer" for word in FINGERPRINTS if word in told)
    if "x-trace-id" in headers:  # From the application, not from below it.
        yield from (f"no {name}" for name in MARKS if name.lower() not in headers)
    yield from (f"{name} in the answer" for name in ("location", "refresh", "set-cookie") if name in headers)


def _wrong_error(status, headers, body):
    try:
        error = json.loads(body)
    except ValueError:
        yield f"no EPOSError: {body[:200]!r}"
        return
    kinds = {404: "NotFound", 409: "Conflict", 429: "UnexpectedError"}
    if set(error) != {"errorType", "debugMessage", "traceId"} or error["errorType"] != kinds.get(status, "InvalidRequest"):
        yield f"no EPOSError: {error}"
    elif not error["traceId"] or error["traceId"] != headers.get("x-trace-id"):
        yield f"trace id {error['traceId']!r} beside {headers.get('x-trace-id')!r}"
    elif headers.get("content-type") != "application/json":
        yield f"an error as {headers.get('content-type')}"
    elif not error["debugMessage"].isprintable() or len(error["debugMessage"]) > 400:
        yield f"debugMessage {error['debugMessage'][:200]!r}"


def _at(value, path):
    for index, name in STEP.findall(path):
        value = value[int(index)] if index else value[name]
    return value


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    quiet = {"RETRY_BASE_MS": 3_600_000, "RETRY_CAP_MS": 3_600_000, "SWEEP_S": 86_400}  # So that what is stored is an input's doing.
    with running(folder, WEBHOOK_SECRETS=f"{SECRET},{NEXT_SECRET}", **quiet) as service, closing(Attacked(service)) as attacked:
        yield attacked


@pytest.fixture(scope="module")
def maker(attacked):
    """Makes inputs for a service that has an order with its lock, a party and a reservation."""
    service = attacked.service
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    assert service.dojo.post(f"/v1/orders/{order_id}/lock", {"lockId": "l", "expiry": soon()}).status == 200
    made = [service.dojo.post(route.path, route.body()).json["id"] for route in (ROUTES["CreateParty"], ROUTES["CreateReservation"])]
    return Corpus({"order_id": order_id, "party_id": made[0], "reservation_id": made[1]})


@pytest.fixture(scope="module")
def corpus(maker):
    """Every input."""
    return maker.all()


def test_the_corpus_is_as_large_as_it_says(corpus):
    found = Counter(one.kind for one in corpus)
    assert set(found) == set(LEAST)
    assert {kind: number for kind, number in found.items() if number < LEAST[kind]} == {}
    assert len({one.raw for one in corpus}) >= 1_500


@pytest.mark.parametrize("kind", LEAST)
def test_no_input_is_answered_with_5xx_or_stored_by_half_or_harms_anybody_else(attacked, corpus, kind):  # I14
    wrong = []
    for number, one in enumerate(one for one in corpus if one.kind == kind and not one.never_ends):
        wrong += attacked.send(one)
        if number % GOOD_EVERY == 0:
            wrong += attacked.wrong_good_orders()
    assert wrong == []


@pytest.mark.parametrize("side", [DOJO, VENUE], ids=["dojo", "venue"])
@pytest.mark.parametrize("what", TWO_WAYS)
def test_a_head_that_can_be_read_in_two_ways_is_refused_or_is_one_request(attacked, corpus, what, side):  # I-13
    found = [one for one in corpus if (one.kind, one.side, one.never_ends) == ("framing", side, False) and TWO_WAYS[what](_head(one))]
    assert found
    assert [wrong for one in found for wrong in attacked.send(one)] == []


def _head(input_):
    return input_.raw.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_requests_that_never_end_are_closed_and_nobody_waits_for_them(attacked, corpus):
    with ExitStack() as opened:
        waiting = {}
        for one in corpus:
            if one.never_ends:
                address = "127.0.0.1", attacked.service.ports[one.side]
                waiting[one.name] = opened.enter_context(socket.create_connection(address, timeout=PATIENCE))
                waiting[one.name].sendall(one.raw)
        assert [*attacked.wrong_good_orders()] == []
        before = attacked.rows()
        for connection in waiting.values():
            connection.shutdown(socket.SHUT_WR)
        answers = {name: _rest(connection) for name, connection in waiting.items()}

    assert len(answers) >= 20
    assert {name: answer for name, answer in answers.items() if answer and b" 400 " not in answer and b" 408 " not in answer} == {}
    assert attacked.rows() == before


def _rest(connection):
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


@pytest.mark.parametrize("name", ROUTES)
def test_sql_in_any_text_of_any_body_is_stored_as_that_text_or_refused_and_no_table_is_touched(attacked, maker, name):  # I-11
    service, tables = attacked.service, attacked.service.reads.tables()
    order_id = service.till.post("/till/orders", a_bill()).json["id"]
    if name == "erase":
        assert service.till.post(f"/till/orders/{order_id}/status", {"status": "Canceled"}).status == 200
    inputs = [*maker.sql_in_texts(name, order_id)]

    assert [wrong for one in inputs for wrong in attacked.send(one)] == []

    assert service.reads.tables() == tables
    assert sum(attacked.stores(one.kept) for one in inputs if one.kept) >= STORED.get(name, 0)


def test_after_all_of_this_the_service_is_ready_its_log_is_clean_and_its_journal_whole(attacked):  # I6 I7 I13
    service = attacked.service
    assert service.open.get("/readyz").json["reasons"] == []
    lines = service.log()  # Each is one JSON object.
    assert [
        line for line in lines if (line["level"] in {"ERROR", "CRITICAL"} and line["event"] != "attention raised") or "exception" in line
    ] == []
    assert [secret for secret in SECRETS if secret in service.log_path.read_text()] == []
    service.assert_whole()
