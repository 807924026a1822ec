"""A 2xx means that the change is on disk: seen in the system calls of the real process, request by request."""

from __future__ import annotations

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.contract.running import Service, a_bill, an_event, an_order
from tests.crash.harness import Venue
from tests.crash.kills import traced

CALLS = "recvfrom,recvmsg,recv,read,readv,sendto,sendmsg,send,write,writev,pwrite64,pwritev,fsync,fdatasync"
CLIENTS = 16

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


def syncs_before_answers(calls, journal, marks):
    """For each request, named by a text that nothing else has: the sync of the log that made it durable before its answer left.

    Between the moment at which the request was read and the one at which the first bytes of a 2xx went into the same socket, the text
    must have been written to the log and the log synced after that.
    """
    found = {}
    for mark in marks:
        asked = next(call for call in calls if call.name.startswith(("recv", "read")) and mark in call.text and "TCP" in call.file)
        answer = min(
            (call for call in calls if call.file == asked.file and call.began > asked.ended and "HTTP/1.1 2" in call.text),
            key=lambda call: call.began,
        )
        log = [call for call in calls if call.file == f"{journal}-wal" and call.worked and asked.ended < call.began]
        written = next((call for call in log if call.name.startswith("pwrite") and mark in call.text), None)
        assert written, f"{mark} was never written to the log"
        synced = next((call for call in log if call.name in {"fsync", "fdatasync"} and call.began > written.ended), None)
        assert synced, f"nothing was synced after {mark} was written"
        assert synced.ended < answer.began, f"{mark} was answered before it was synced"
        found[mark] = synced.ended
    return found


def change(service, number):
    """One request that changes something, and is acknowledged; the text by which it is known."""
    mark = f"mark{number:04d}x"
    ask = (
        lambda: service.dojo.post("/v1/orders", an_order(mark)),
        lambda: service.dojo.post("/v1/events", an_event("evt", f"pi_{mark}")),
        lambda: service.till.post("/till/orders", a_bill(id=mark)),
        lambda: service.dojo.post("/v1/orders/locked/lock", {"lockId": mark, "expiry": "2099-01-01T00:00:00Z"}),
        lambda: service.dojo.post(
            "/v1/orders/recorded/record-payment", {"paymentIntentId": mark, "paidAmount": an_order(mark)["totalAmount"]}
        ),
    )[number % 5]
    reply = ask()
    assert reply.status in {200, 409}, reply.body  # The order is locked by another, or paid: journaled as well, and no 2xx.
    return mark if reply.status == 200 else ""


def ready(service):
    for name in ("locked", "recorded"):
        service.till.post("/till/orders", a_bill(id=name))
    return service


def seen(service, ask):
    """What `ask` returns, and the system calls meanwhile."""
    output = service.folder / "calls"
    with traced(service, "-yy", "-s", "8192", "-e", f"trace={CALLS}", output=output):
        marks = [mark for mark in ask() if mark]
    return calls_in(output), marks


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    try:
        yield ready(service.start())
    finally:
        service.kill()


def test_the_log_is_synced_between_each_request_and_its_2xx(service):  # K2 I1
    calls, marks = seen(service, lambda: [change(service, number) for number in range(15)])

    assert len(marks) >= 10
    assert len(set(syncs_before_answers(calls, service.journal, marks).values())) == len(marks)


def test_requests_that_share_a_commit_are_all_answered_after_its_sync(service):  # I1
    together = threading.Barrier(CLIENTS)

    def client(number):
        together.wait()
        return [change(service, number + CLIENTS * turn) for turn in range(4)]

    def all_clients():
        with ThreadPoolExecutor(CLIENTS) as pool:
            return [mark for marks in pool.map(client, range(CLIENTS)) for mark in marks]

    calls, marks = seen(service, all_clients)

    syncs = syncs_before_answers(calls, service.journal, marks)
    assert len(marks) >= 2 * CLIENTS
    assert len(set(syncs.values())) < len(marks)


def test_a_program_that_does_not_wait_for_the_disk_is_found_out(tmp_path):
    venue = Venue(tmp_path, "http://127.0.0.1:9")
    try:
        assert venue.begin(sync=False)
        ready(venue)
        calls, marks = seen(venue, lambda: [change(venue, number) for number in range(5)])
        with pytest.raises(AssertionError, match="nothing was synced"):
            syncs_before_answers(calls, venue.journal, marks)
    finally:
        venue.kill()
