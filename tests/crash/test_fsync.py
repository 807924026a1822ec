"""A 2xx means that the change is on disk: seen in the system calls of the real process, request by request."""

from __future__ import annotations

import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from adapters.epos.operations import OPERATIONS
from adapters.epos.signature import sign
from adapters.till.api import CALLS
from tests.contract.running import TOKENS, Reply, Service, a_bill, an_event, an_order, gbp
from tests.crash.harness import SECRET, Venue
from tests.crash.kills import traced

SYSTEM_CALLS = "recvfrom,recvmsg,recv,read,readv,sendto,sendmsg,send,write,writev,pwrite64,pwritev,fsync,fdatasync"
CLIENTS = 16
LATER, EARLIER = "2099-01-01T00:00:00Z", "2098-01-01T00:00:00Z"
FORM = "application/x-www-form-urlencoded"
BETWEEN = r".{0,4}[0-9T:.-]+Z"
"""An entry in the log is its columns' texts one after the other. After the order's id come a byte for its number there, and the moment."""

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: apt-get install strace")


@dataclass
class Call:
    """One system call of one thread; where it began and ended among all that strace saw."""

    name: str
    text: str
    began: int
    ended: int

    @property
    def file(self) -> str:
        """What its descriptor stands for."""
        found = re.match(r"\d+<(.+?)>[,)]", self.text)
        return found[1] if found else ""

    @property
    def worked(self) -> bool:
        return "= -1 " not in self.text


def calls_in(output):
    """Every call, in the order of their ends. One that another thread interrupted has two lines.

    An answer may arrive before strace has seen its call end, and be told to stop then: what it only saw begin comes last.
    """
    calls, begun = [], {}
    lines = output.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines):
        pid, _, text = line.partition(" ")
        text = text.strip()
        if match := re.match(r"<\.\.\. (\w+) resumed>(.*)", text):
            began, before = begun.pop((pid, match[1]))
            calls.append(Call(match[1], before + match[2], began, number))
        elif match := re.match(r"(\w+)\((.*?)\s*<unfinished \.\.\.>$", text):
            begun[pid, match[1]] = (number, match[2])
        elif match := re.match(r"(\w+)\((.*)", text):
            calls.append(Call(match[1], match[2], number, number))
    return calls + [Call(name, text, began, len(lines)) for (_, name), (began, text) in begun.items()]


class Mark(NamedTuple):
    """How one request is known: a text that it alone has on its way in, and an expression for what the log has once it is written."""

    asked: str
    logged: str


def syncs_before_answers(calls, journal, marks):
    """For each request: the sync of the log that made it durable before its answer left.

    Between the moment at which the request was read and the one at which the first bytes of a 2xx went into the same socket, or of the 303
    that a form gets, what it leaves must have been written to the log and the log synced after that.
    """
    found = {}
    for mark in marks:
        asked = next(call for call in calls if call.name.startswith(("recv", "read")) and mark.asked in call.text and "TCP" in call.file)
        answer = min(
            (call for call in calls if call.file == asked.file and call.began > asked.ended and re.search(r"HTTP/1\.1 (2|303)", call.text)),
            key=lambda call: call.began,
        )
        log = [call for call in calls if call.file == f"{journal}-wal" and call.worked]
        written = next((call for call in log if call.name.startswith("pwrite") and re.search(mark.logged, call.text)), None)
        assert written, f"{mark} was never written to the log"
        assert asked.ended < written.began, f"{mark} was in the log before: it tells nothing"
        synced = next((call for call in log if call.name in {"fsync", "fdatasync"} and call.began > written.ended), None)
        assert synced, f"nothing was synced after {mark} was written"
        assert synced.ended < answer.began, f"{mark} was answered before it was synced"
        found[mark] = synced.ended
    return found


# Each asks for a change that a text of its own is known by, once: the reply, and where the text is not the same in the request and in the
# log, the mark. "own" is an order or a booking that was made for this.


def opened(service, own):
    assert service.till.post("/till/orders", a_bill(id=own)).status == 200
    return own


def create(service, text, own):
    return service.dojo.post("/v1/orders", an_order(text))


def event(service, text, own):
    return service.dojo.post("/v1/events", an_event(text, "pi_1"))


def open_bill(service, text, own):
    return service.till.post("/till/orders", a_bill(id=text))


def lock(service, text, own):
    return service.dojo.post("/v1/orders/locked/lock", {"lockId": text, "expiry": LATER})


def record(service, text, own):
    return service.dojo.post("/v1/orders/recorded/record-payment", {"paymentIntentId": text, "paidAmount": gbp(1200)})


def cancel(service, text, own):
    asked = f"/v1/orders/{opened(service, own)}"
    return service.dojo.call("DELETE", asked), Mark(f"DELETE {asked} ", rf"{own}{BETWEEN}transitionorder@\w+?cancel")


def extend(service, text, own):
    asked = f"/v1/orders/{locked(service, text, own)}/locks/{text}"
    return service.dojo.call("PUT", asked, {"expiry": LATER}), Mark(f"PUT {asked} ", rf"Zlockextend\w+lock:{text}")


def unlock(service, text, own):
    asked = f"/v1/orders/{locked(service, text, own)}/locks/{text}"
    return service.dojo.call("DELETE", asked), Mark(f"DELETE {asked} ", rf"Zlockrelease\w+lock:{text}")


def locked(service, lock_id, own):
    assert service.dojo.post(f"/v1/orders/{opened(service, own)}/lock", {"lockId": lock_id, "expiry": EARLIER}).status == 200
    return own


def webhook(service, text, own):
    raw = json.dumps(an_event(text, "pi_1")).encode()
    return service.dojo.post("/webhooks/dojo", raw, authorization=None, dojo_signature=sign(raw, SECRET))


def seat(service, text, own):
    return service.dojo.post("/v1/parties", a_party(text))


def move(service, text, own):
    return service.dojo.call("PUT", seated(service, own), a_party(own) | {"tableIds": [text], "status": "seated"})


def seated(service, own):
    return f"/v1/parties/{service.dojo.post('/v1/parties', a_party(own)).json['id']}"


def unseat(service, text, own):
    return gone(service, "party", seated(service, own))


def reserve(service, text, own):
    return service.dojo.post("/v1/reservations", a_reservation(text))


def rebook(service, text, own):
    return service.dojo.call("PUT", reserved(service, own), a_reservation(own) | {"tableIds": [text]})


def reserved(service, own):
    return f"/v1/reservations/{service.dojo.post('/v1/reservations', a_reservation(own)).json['id']}"


def unreserve(service, text, own):
    return gone(service, "reservation", reserved(service, own))


def gone(service, kind, path):
    booking_id = path.rpartition("/")[2]
    return service.dojo.call("DELETE", path), Mark(f"DELETE {path} ", f"delete_{kind}:{booking_id}")


def a_party(text):
    return {"dojoPartyId": text, "startTime": EARLIER, "tableIds": [f"at {text}"]}


def a_reservation(text):
    asked = {"dojoReservationId": text, "name": "Sasha J.", "covers": 2, "tableIds": [f"at {text}"]}
    return asked | {"startTime": EARLIER, "endTime": LATER}


def amend(service, text, own):
    return service.till.call("PUT", f"/till/orders/{opened(service, own)}", a_bill(reference=text))


def progress(service, text, own):
    asked = f"/till/orders/{opened(service, own)}/status"
    return service.till.post(asked, {"status": "Preparing"}), Mark(f"POST {asked} ", rf"{own}{BETWEEN}transitionfulfilment@\w+Preparing")


def refuse(service, text, own):
    return service.till.post(f"/till/orders/{opened(service, own)}/refuse", {"reason": text})


def note_registration(service, text, own):
    return service.operator.post("/api/registrations", {"url": f"https://{text}.example", "reason": "new address"})


def erase_by_form(service, text, own):
    assert service.dojo.call("DELETE", f"/v1/orders/{opened(service, own)}").status == 200  # What is not over is not erased.
    entered = service.open.post("/login", f"token={TOKENS['operator']}".encode(), content_type=FORM)
    cookie = entered.headers["set-cookie"].partition(";")[0]
    csrf = re.search(rb'name="csrf" value="([^"]+)"', service.open.get("/", cookie=cookie).body)[1].decode()
    return service.open.post(f"/orders/{own}/erase", f"csrf={csrf}&reason={text}".encode(), content_type=FORM, cookie=cookie)


def areas(service, text, own):
    return service.till.call("PUT", "/till/areas", [{"id": text, "name": "Terrace"}])


def tables(service, text, own):
    return service.till.call("PUT", "/till/tables", [{"id": text, "name": "Table 5"}])


def catalogue(service, text, own):
    return service.till.call("PUT", "/till/catalogue", [{"plu": text, "name": "Margherita"}])


def state(service, text, own):
    asked = {"takingOrders": False, "text": text}  # What we do not know is not stored.
    return service.till.call("PUT", "/till/state", asked), Mark(text, r"set_venue\w+:till-1set:taking_orders")


FREE = (create, event, open_bill, lock, record)
"""They may come together, in any order."""
BOOKINGS = (seat, move, unseat, reserve, rebook, unreserve)
EVERY = (
    *FREE,
    cancel,
    extend,
    unlock,
    webhook,
    *BOOKINGS,
    amend,
    progress,
    refuse,
    note_registration,
    erase_by_form,
    areas,
    tables,
    catalogue,
    state,
)
"""What the till says of its tables and dishes, and that it takes no orders, comes last: the others are held against it."""

CHANGES = [f"{row.method} {row.path}" for row in (*OPERATIONS, *CALLS) if row.method != "GET" and not row.path.endswith("/search")]
"""All that Dojo and the till can change."""


def change(service, number, kinds):
    """One request that changes something; how it is known where it is acknowledged."""
    ask, text = kinds[number % len(kinds)], f"mark{number:04d}x"
    asked = ask(service, text, f"own{number:04d}x")
    reply, mark = (asked, Mark(text, text)) if isinstance(asked, Reply) else asked
    assert reply.status in {200, 204, 303} or (ask in (lock, record) and reply.status == 409), (ask, reply.body)
    return mark if reply.status != 409 else None  # Locked by another, or paid: journaled as well, and no 2xx.


def ready(service):
    for name in ("locked", "recorded"):
        service.till.post("/till/orders", a_bill(id=name))
    return service


def seen(service, ask):
    """What `ask` returns, and the system calls meanwhile."""
    output = service.folder / "calls"
    with traced(service, "-yy", "-s", "8192", "-e", f"trace={SYSTEM_CALLS}", output=output):
        marks = [mark for mark in ask() if mark]
    return calls_in(output), marks


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path, WEBHOOK_SECRETS=SECRET)
    try:
        yield ready(service.start())
    finally:
        service.kill()


def test_the_log_is_synced_between_each_kind_of_request_and_its_2xx(service):  # K2 I1
    calls, marks = seen(service, lambda: [change(service, number, EVERY) for number in range(len(EVERY))])

    asked = [found[1] for call in calls if (found := re.search(r'"((POST|PUT|DELETE) \S+) HTTP', call.text))]
    assert [each for each in CHANGES if not any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), line) for line in asked)] == []
    assert len(marks) == len(EVERY)
    assert len(set(syncs_before_answers(calls, service.journal, marks).values())) == len(marks)


def test_requests_that_share_a_commit_are_all_answered_after_its_sync(service):  # I1
    together = threading.Barrier(CLIENTS)

    def client(number):
        together.wait()
        return [change(service, number + CLIENTS * turn, FREE) for turn in range(4)]

    def all_clients():
        with ThreadPoolExecutor(CLIENTS) as pool:
            return [mark for marks in pool.map(client, range(CLIENTS)) for mark in marks]

    calls, marks = seen(service, all_clients)

    syncs = syncs_before_answers(calls, service.journal, marks)
    assert len(marks) >= 2 * CLIENTS
    assert len(set(syncs.values())) < len(marks)


def test_a_program_that_does_not_wait_for_the_disk_is_found_out_by_each_kind_of_request(tmp_path):
    venue = Venue(tmp_path, "http://127.0.0.1:9")
    try:
        assert venue.begin(sync=False)
        ready(venue)
        calls, marks = seen(venue, lambda: [change(venue, number, EVERY) for number in range(len(EVERY))])
        for mark in marks:
            with pytest.raises(AssertionError, match="nothing was synced"):
                syncs_before_answers(calls, venue.journal, [mark])
    finally:
        venue.kill()
