"""The servers under orders to stop, sudden deaths and slow clients: real processes, real sockets."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from adapters import serving, venue_server
from adapters.framing import HEADER_LINES
from adapters.venue_server import ThreadedServer

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which a test gives up; no test takes nearly as long."""
PROMPT = 20.0
"""Seconds within which is done what waits for nothing; the limits that it must not wait for are longer here."""
UNHURRIED = "START_SECONDS=90.0", "DRAIN_SECONDS=90.0", "KILL_SECONDS=90.0"
"""Limits that are not reached where all is well, so that nothing is ended by them in passing."""

PROGRAM = '''
"""Serves as the arguments say: NAME=VALUE replaces a limit of `adapters.serving`; other words choose what goes wrong."""

import logging
import multiprocessing
import os
import signal
import sys
import time

from adapters import logs, serving
from workflow.clock import SystemClock

limits = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
port = int(limits.pop("port", "0"))
answered = []


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        logging.getLogger("test").info("request begun")
        time.sleep(1)
    if path == "/raise":
        raise ValueError("from the application")
    if path == "/die":
        os._exit(5)
    if path == "/end":
        serving.end_worker(7)
    body = environ["wsgi.input"].read()
    answered.append(path)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {os.getppid()} {len(body)}".encode()]


def stop():
    logging.getLogger("test").info("stop called", extra={"answered": ",".join(answered)})


def build():
    logs.configure(sys.stderr, "INFO", SystemClock())
    logging.getLogger("test").info("build begun")
    if "refuse" in sys.argv:
        raise SystemExit(5)
    if "give-up" in sys.argv:
        serving.end_worker(7)
        serving.end_worker(8)
    if "break" in sys.argv:
        raise RuntimeError("from build")
    while "dawdle" in sys.argv:
        time.sleep(0.01)
    while "deaf" in sys.argv:
        try:
            time.sleep(0.01)
        except SystemExit:
            pass
    if "forgetful" in sys.argv:
        try:
            time.sleep(60)
        except SystemExit:
            pass
    return serving.Running(app, stop)


if __name__ == "__main__":
    for name, value in limits.items():
        setattr(serving, name, float(value) if "." in value else int(value))
    if "spawn" in sys.argv:
        multiprocessing.set_start_method("spawn")
    if "slow-fork" in sys.argv:
        forked = logging.getLogger("test").info
        os.register_at_fork(after_in_child=lambda: time.sleep(2), after_in_parent=lambda: forked("forked"))
    if "nohup" in sys.argv:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(sys.stderr, "INFO", SystemClock())
    sys.exit(serving.serve_in_worker(("127.0.0.1", port), build))
'''


class Served:
    """A started program and the lines of its log, which must be JSON, each of them."""

    def __init__(self, directory, *words):
        program = directory / "program.py"
        program.write_text(PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, str(program), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self.lines.extend(json.loads(line) for line in self.process.stderr)

    def line(self, event):
        """The first log line of that event, waited for."""
        return wait_for(lambda: next((line for line in list(self.lines) if line["event"] == event), None))

    @property
    def address(self):
        host, _, port = self.line("address bound")["address"].rpartition(":")
        return host, int(port)

    def ended(self):
        """The exit code, once nobody writes to the log any more: neither the process nor its worker is left."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "the worker outlived its parent"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        self.process.stderr.close()


@pytest.fixture
def serve(tmp_path):
    with contextlib.ExitStack() as started:

        def start(*words):
            served = Served(tmp_path, *words)
            started.callback(served.close)
            return served

        yield start


def wait_for(claim):
    deadline = time.monotonic() + PATIENCE
    while not (found := claim()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def connect(address):
    return socket.create_connection(address, timeout=PATIENCE)


def send(address, data):
    connection = connect(address)
    connection.sendall(data)
    return connection


def everything_from(connection):
    received = b""
    with connection, contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            received += more
    return received


def get(address, path="/"):
    return everything_from(send(address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()))


def body_of(answer):
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer.partition(b"\r\n\r\n")[2]


def refuses(address):
    try:
        connect(address).close()
    except ConnectionError:
        return True
    return False


# Dojo's side: one worker process.


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_request_in_flight_at_the_order_to_stop_is_answered_before_stop_is_called(serve, signum):
    served = serve("DRAIN_SECONDS=90.0", "KILL_SECONDS=90.0")
    waiting = send(served.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    served.line("request begun")
    served.process.send_signal(signum)
    ordered = time.monotonic()
    wait_for(lambda: refuses(served.address))
    body_of(everything_from(waiting))
    assert served.ended() == 0
    assert time.monotonic() - ordered < PROMPT
    assert served.line("stop called")["answered"] == "/slow"
    assert [line["event"] for line in served.lines if line["level"] != "INFO"] == []


@pytest.mark.parametrize(
    "unfinished",
    [b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"],
    ids=["header", "body"],
)
def test_a_client_that_does_not_finish_its_request_holds_up_the_stop_only_for_the_drain(serve, unfinished):
    served = serve("DRAIN_SECONDS=0.5")
    body_of(get(served.address))
    with send(served.address, unfinished):
        body_of(get(served.address))
        served.process.send_signal(signal.SIGTERM)
        assert served.ended() == 0
    assert served.line("stop called")
    assert served.line("unfinished requests cut off")


def test_stop_is_called_once(serve):
    served = serve("DRAIN_SECONDS=0.0")
    body_of(get(served.address))
    served.process.send_signal(signal.SIGTERM)
    served.ended()
    assert [line["event"] for line in served.lines].count("stop called") == 1


def test_a_server_that_still_starts_stops_at_once(serve):
    served = serve("dawdle", *UNHURRIED)
    served.line("build begun")
    served.process.send_signal(signal.SIGTERM)
    ordered = time.monotonic()
    assert served.ended() == 0
    assert time.monotonic() - ordered < PROMPT


@pytest.mark.parametrize(("words", "code"), [(["refuse"], 5), (["break"], 1)])
def test_a_build_that_refuses_gives_its_exit_code_promptly(serve, words, code):
    served = serve(*words, *UNHURRIED)
    served.line("build begun")
    began = time.monotonic()
    assert served.ended() == code
    assert time.monotonic() - began < PROMPT


def test_a_build_that_breaks_says_so_in_one_line(serve):
    served = serve("break")
    assert served.line("worker not started")["exception"].endswith("RuntimeError: from build")


def test_a_worker_that_ends_itself_gives_its_exit_code_promptly(serve):
    served = serve(*UNHURRIED)
    get(served.address, "/die")
    began = time.monotonic()
    assert served.ended() == 5
    assert time.monotonic() - began < PROMPT


def test_a_killed_worker_is_told_by_the_exit_code(serve):
    served = serve()
    worker = int(body_of(get(served.address)).split()[0])
    os.kill(worker, signal.SIGKILL)
    assert served.ended() == 128 + signal.SIGKILL


@pytest.mark.parametrize("words", [[], ["PR_SET_PDEATHSIG=-1"]], ids=["by the kernel", "by watching"])
def test_the_worker_ends_when_its_parent_is_killed(serve, words):
    served = serve(*words)
    worker, parent, _ = map(int, body_of(get(served.address)).split())
    assert worker != parent == served.process.pid
    os.kill(parent, signal.SIGKILL)
    assert served.ended() == -signal.SIGKILL
    wait_for(lambda: refuses(served.address))  # A process that ends closes its log first.


def test_an_address_in_use_is_told_and_ends_with_code_4(serve):
    first = serve()
    address = first.address
    second = serve(f"port={address[1]}")
    assert second.ended() == 4
    line = second.line("address not available")
    assert line["address"] == f"127.0.0.1:{address[1]}"
    assert os.strerror(errno.EADDRINUSE) in line["reason"]
    body_of(get(address))


def test_an_exception_of_the_application_is_answered_and_logged_in_one_line(serve):
    served = serve()
    assert get(served.address, "/raise").startswith(b"HTTP/1.1 500")
    wait_for(lambda: any("from the application" in str(line) for line in list(served.lines)))


def test_a_fresh_interpreter_serves_as_well_as_a_forked_one(serve):
    served = serve("spawn")
    body_of(get(served.address))
    served.process.send_signal(signal.SIGTERM)
    assert served.ended() == 0
    assert served.line("stop called")


def test_a_hang_up_is_ignored_under_nohup(serve):
    served = serve("nohup")
    body_of(get(served.address))
    served.process.send_signal(signal.SIGHUP)
    body_of(get(served.address))
    assert served.process.poll() is None


def test_slow_clients_of_dojos_side_do_not_keep_others_waiting(serve):
    address = serve("HEADER_SECONDS=90").address
    with contextlib.ExitStack() as slow:
        for _ in range(100):
            slow.enter_context(send(address, b"GET / HTTP/1.1\r\nHo"))
            slow.enter_context(send(address, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"))
        began = time.monotonic()
        body_of(get(address))
        assert time.monotonic() - began < PROMPT


def test_a_header_that_does_not_end_is_closed_after_its_time(serve):
    served = serve("HEADER_SECONDS=1")
    assert everything_from(send(served.address, b"GET / HTTP/1.1\r\nHo")) == b""
    assert everything_from(connect(served.address)) == b""


def test_a_header_on_dojos_side_is_limited_in_length_and_lines(serve):  # A12
    """In length somewhere between READ_BYTES and twice as much, by how it comes."""

    def answered(*lines):
        head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        return everything_from(send(address, head + b"".join(line + b"\r\n" for line in lines) + b"\r\n")).split(b" ")[1]

    address, many = serve().address, [b"X-%d: x" % number for number in range(HEADER_LINES - 2)]
    assert answered(b"X: " + b"x" * (serving.READ_BYTES - 200)) == answered(*many) == b"200"
    assert answered(b"X: " + b"x" * 2 * serving.READ_BYTES) == answered(*many, b"Y: x") == b"431"


def test_a_header_has_ten_seconds_at_most_on_either_side_and_dojos_holds_a_thousand_connections():  # A12
    """The other tests shorten these limits, and so prove that they are kept, not what they are."""
    assert max(serving.HEADER_SECONDS, venue_server.HEADER_SECONDS) <= 10
    assert serving.CONNECTIONS >= 1_000


def test_connections_beyond_the_limit_of_dojos_side_wait_until_another_one_ends(serve):  # A12
    address = serve("CONNECTIONS=2", "HEADER_SECONDS=90").address
    with contextlib.ExitStack() as opened:
        first, second = (opened.enter_context(contextlib.closing(http.client.HTTPConnection(*address, timeout=PATIENCE))) for _ in range(2))
        for each in [first, second]:
            each.request("GET", "/")
            each.getresponse().read()
        waiting = opened.enter_context(send(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        for _ in range(100):  # Time enough, whatever the machine: who waits was there before each of these.
            first.request("GET", "/")
            first.getresponse().read()
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)
        waiting.settimeout(PATIENCE)
        second.close()
        body_of(everything_from(waiting))


def test_more_connections_than_threads_that_send_nothing_keep_nobody_waiting_and_are_closed(serve):  # A12
    def flood(address, slow):
        return [slow.enter_context(send(address, unfinished)) for unfinished in (b"", b"GET / HTTP/1.1\r\nHo") for _ in range(300)]

    with contextlib.ExitStack() as slow:
        address = serve("HEADER_SECONDS=90").address
        flood(address, slow)
        began = time.monotonic()
        body_of(get(address))
        assert time.monotonic() - began < PROMPT
    with contextlib.ExitStack() as slow:
        for connection in flood(serve("HEADER_SECONDS=1").address, slow):
            assert everything_from(connection) == b""


def test_a_worker_that_wants_to_end_is_drained_and_its_exit_code_is_the_programs(serve):  # K13
    served = serve()
    waiting = send(served.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    served.line("request begun")
    body_of(get(served.address, "/end"))
    body_of(everything_from(waiting))
    assert served.ended() == 7
    assert {*served.line("stop called")["answered"].split(",")} == {"/end", "/slow"}


@pytest.mark.parametrize("start", ["dawdle", "deaf", "forgetful"])
def test_a_worker_that_wants_to_end_while_it_starts_ends_with_the_first_code_that_it_gave(serve, start):  # K13
    assert serve("give-up", start).ended() == 7


@pytest.mark.parametrize("word", ["deaf", "forgetful"])
def test_an_order_to_stop_that_the_start_swallows_still_ends_with_0(serve, word):  # K16
    """`deaf`: the start goes on in spite of it. `forgetful`: it is over, and only then was the order lost, as Granian may do."""
    served = serve(word)
    served.line("build begun")
    served.process.send_signal(signal.SIGTERM)
    assert served.ended() == 0
    assert [line["event"] for line in served.lines if line["level"] != "INFO"] == []


def test_an_order_to_stop_right_after_the_fork_ends_with_0(serve):  # K16
    served = serve("slow-fork")
    served.line("forked")
    served.process.send_signal(signal.SIGTERM)
    assert served.ended() == 0
    assert [line["event"] for line in served.lines if line["level"] != "INFO"] == []


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_order_to_stop_changes_nothing(serve, second):  # K16
    served = serve()
    waiting = send(served.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    worker = int(body_of(get(served.address)).split()[0])
    served.line("request begun")
    for signum in (signal.SIGTERM, second):
        os.kill(worker, signal.SIGINT)  # As Ctrl-C in a terminal, which reaches both processes.
        served.process.send_signal(signum)
    body_of(everything_from(waiting))
    assert served.ended() == 0
    assert [line["event"] for line in served.lines].count("stop called") == 1


def test_an_order_to_stop_in_the_midst_of_another_is_not_heard_twice(monkeypatch):  # K16
    installed, heard, nested, real = {}, [], [], time.monotonic
    monkeypatch.setattr(signal, "signal", installed.__setitem__)
    serving._install_handler(("127.0.0.1", 1), lambda signum, frame: heard.append(signum))

    def now_and_another_order():
        if not nested:
            nested.append(signal.SIGTERM)
            installed[signal.SIGTERM](signal.SIGTERM, None)
        return real()

    monkeypatch.setattr(time, "monotonic", now_and_another_order)
    installed[signal.SIGINT](signal.SIGINT, None)
    assert heard == [signal.SIGINT]


def test_a_handler_of_signals_asks_whether_it_listens_without_importing_anything():  # K16
    program = """if True:
        import socket, sys
        from adapters import serving

        with socket.create_server(("127.0.0.1", 0)) as listener:
            address, before = listener.getsockname(), {*sys.modules}
            found = serving._is_listening(address)
        print(found, serving._is_listening(address), {*sys.modules} - before)
    """
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "True False set()\n"


def test_an_order_to_stop_as_the_parent_begins_to_wait_is_heard_at_whichever_step():  # K16
    """And another right after it, on the same thread, as Python runs the handlers of signals."""
    program = """if True:
        import os, signal, socket, sys
        from adapters import serving

        def wait(server, told_at):
            lines = []

            def trace(frame, event, arg):
                if event == "line":
                    lines.append(frame.f_lineno)
                    if len(lines) == told_at:
                        os.kill(os.getpid(), signal.SIGTERM)
                        os.kill(os.getpid(), signal.SIGINT)
                return trace

            sys.settrace(lambda *_: trace)
            server.main_loop_interrupt.wait()
            sys.settrace(None)
            return len(lines)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = serving._OneWorker(listener)
            server.main_loop_interrupt.set()
            steps = wait(server, told_at=0)
            for step in range(1, steps + 1):
                server = serving._OneWorker(listener)
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, server.signal_handler_interrupt)
                wait(server, told_at=step)
                assert server.interrupt_signal
        print("heard", steps > 2)
    """
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "heard True\n", ended.stderr


# The venue's side: threads.


class Venue:
    """An application that answers the length of the body; `/held` begins, then waits for `release`."""

    def __init__(self):
        self.begun = threading.Event()
        self.release = threading.Event()

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/held":
            self.begun.set()
            self.release.wait(PATIENCE)
        if environ["PATH_INFO"] == "/raise":
            raise ValueError("from the application")
        if environ["PATH_INFO"] == "/exit":
            raise SystemExit
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = str(len(body)).encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
        return [answer]


@pytest.fixture
def venue():
    return Venue()


@pytest.fixture
def start(venue):
    """Starts a server of the venue with so many threads and says where."""
    with contextlib.ExitStack() as started:

        def start(threads=venue_server.VENUE_THREADS):
            server = ThreadedServer(("127.0.0.1", 0), venue, threads=threads)
            server.start()
            started.callback(server.stop)
            started.callback(venue.release.set)
            return server

        yield start


POST = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"


def test_the_threaded_server_answers_at_its_real_port_without_a_version(start):
    server = start()
    assert server.address[1] != 0
    answer = get(server.address)
    assert body_of(answer) == b"0"
    assert b"\r\nServer: tillproof\r\n" in answer


def test_a_body_that_follows_its_header_later_is_read(start):
    connection = send(start().address, POST)
    connection.sendall(b"hello")
    assert body_of(everything_from(connection)) == b"5"


def test_a_kept_connection_serves_one_request_after_the_other(start):
    with contextlib.closing(http.client.HTTPConnection(*start().address, timeout=PATIENCE)) as connection:
        sockets = set()
        for _ in range(3):
            connection.request("POST", "/", body=b"hello")
            sockets.add(connection.sock)
            assert connection.getresponse().read() == b"5"
    assert len(sockets) == 1


def test_pipelined_requests_do_not_take_every_thread(start, venue):
    address, began = start(threads=2).address, time.monotonic()
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            connection = opened.enter_context(send(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /held HTTP/1.1\r\nHost: x\r\n\r\n"))
            assert connection.recv(1_024).startswith(b"HTTP/1.1 200")
        assert venue.begun.wait(PATIENCE)
        for _ in range(3):
            body_of(get(address))
    assert time.monotonic() - began < PATIENCE / 2  # What is held is so for PATIENCE.


def test_connections_beyond_those_that_may_be_kept_end_with_their_answer(start, monkeypatch):
    def connection_header_of(each):
        each.request("GET", "/")
        answer = each.getresponse()
        answer.read()
        return answer.getheader("Connection")

    def asks_on_a_new_one():
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as another:
            return connection_header_of(another)

    monkeypatch.setattr(venue_server, "KEPT_ALIVE", 1)
    address = start().address
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as kept:
        assert connection_header_of(kept) != "close"
        wait_for(lambda: asks_on_a_new_one() == "close")  # Once the thread has given back the one that is kept.


def test_two_requests_in_one_packet_are_both_answered(start):
    connection = send(start().address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + POST + b"hello")
    assert everything_from(connection).count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    "unfinished",
    [
        b"",
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHo",
    ],
    ids=["idle", "header", "body", "long body", "chunked body", "pipelined"],
)
def test_slow_clients_of_the_venues_side_do_not_keep_others_waiting(start, monkeypatch, unfinished):
    for limit in ("HEADER_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(venue_server, limit, 90)
    address = start().address
    with contextlib.ExitStack() as slow:
        for _ in range(100):
            slow.enter_context(send(address, unfinished))
        for request in (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", POST + b"hello"):
            began = time.monotonic()
            body_of(everything_from(send(address, request)))
            assert time.monotonic() - began < PROMPT


def test_a_request_without_a_thread_to_wait_in_is_answered_once_it_is_whole(start):
    address = start(threads=2).address
    with send(address, POST):  # Holds the one place for waiting.
        connection = send(address, POST)
        body_of(get(address))
        connection.sendall(b"hello")
        assert body_of(everything_from(connection)) == b"5"


@pytest.mark.parametrize("unfinished", [b"", b"GET / HTTP/1.1\r\nHo"], ids=["idle", "header"])
def test_a_connection_of_the_venues_side_that_sends_no_header_is_closed_after_its_time(start, monkeypatch, unfinished):
    monkeypatch.setattr(venue_server, "HEADER_SECONDS", 1)
    assert everything_from(send(start().address, unfinished)) == b""


def test_a_half_sent_request_whose_client_hung_up_is_closed_at_once(start, monkeypatch):
    monkeypatch.setattr(venue_server, "HEADER_SECONDS", 90)
    began = time.monotonic()
    with send(start().address, b"GET / HTTP/1.1\r\nHo") as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1_024) == b""
    assert time.monotonic() - began < PROMPT


def test_a_header_beyond_the_limit_is_refused(start):
    header = b"GET / HTTP/1.1\r\nX: " + b"x" * venue_server.REFUSABLE_BYTES
    assert everything_from(send(start().address, header)).startswith(b"HTTP/1.1 431")


def test_a_header_of_too_many_lines_is_refused(start):  # A12
    header = b"".join(b"X-%d: x\r\n" % number for number in range(HEADER_LINES + 1))
    assert everything_from(send(start().address, b"GET / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")).startswith(b"HTTP/1.1 400 ")


def drip_until_closed(connection):
    """Send a byte now and then; all that was answered until the server ended the connection, which it must long before PATIENCE is over."""
    began, answered = time.monotonic(), b""
    connection.settimeout(0.1)
    with connection, contextlib.suppress(ConnectionError):
        while True:
            assert time.monotonic() - began < PATIENCE / 2, "still open"
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if not (piece := connection.recv(1_024)):
                    break
                answered += piece
    return answered


def test_a_body_that_drips_is_cut_off_after_its_time(start, monkeypatch):  # A12
    monkeypatch.setattr(venue_server, "BODY_SECONDS", 1)
    assert b"HTTP/1.1 5" not in drip_until_closed(send(start().address, POST.replace(b": 5", b": 10000")))


@pytest.mark.parametrize(
    "before",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", POST.replace(b"Connection: close\r\n", b"") + b"hello"],
    ids=["first", "behind-get", "behind-post"],
)
def test_a_header_that_drips_is_cut_off_after_its_time_also_behind_another_request(start, monkeypatch, before):  # A12
    monkeypatch.setattr(venue_server, "HEADER_SECONDS", 1)
    monkeypatch.setattr(venue_server, "BODY_SECONDS", 90)
    answered = drip_until_closed(send(start().address, before + b"GET / HTTP/1.1\r\nHo"))
    assert answered.count(b"HTTP/1.1 ") == answered.count(b"HTTP/1.1 200") == bool(before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_venues_side_is_alive_until_a_thread_of_it_dies(start):  # K13
    server = start()
    assert server.is_alive
    with contextlib.suppress(ConnectionResetError):
        get(server.address, "/exit")
    wait_for(lambda: not server.is_alive)
    server._thread.join(PATIENCE)


def test_half_sent_requests_beyond_the_limit_are_closed_at_once(start, monkeypatch):
    monkeypatch.setattr(venue_server, "HALF_SENT", 1)
    address = start().address
    with send(address, b"GET / HT"):
        body_of(get(address))  # So the first one was seen.
        assert everything_from(send(address, b"GET / HT")) == b""


def test_a_running_request_is_answered_while_the_venues_side_stops(start, venue, monkeypatch):
    monkeypatch.setattr(venue_server, "VENUE_STOP_SECONDS", 90)
    server = start()
    connection = send(server.address, b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    venue.begun.wait(PATIENCE)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    wait_for(lambda: refuses(server.address))
    venue.release.set()
    assert body_of(everything_from(connection)) == b"0"
    stopping.join(PATIENCE)


def test_a_request_that_never_ends_does_not_hold_up_the_stop(start, venue):
    server = start()
    with send(server.address, b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n"):
        venue.begun.wait(PATIENCE)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < PROMPT
    assert refuses(server.address)


def test_an_exception_of_the_venues_application_is_answered_and_logged_once(start, caplog):
    assert get(start().address, "/raise").startswith(b"HTTP/1.1 500")
    (record,) = [record for record in caplog.records if record.exc_info]
    assert str(record.exc_info[1]) == "from the application"


def test_an_address_in_use_is_an_error_of_start(start, venue):
    with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
        ThreadedServer(start().address, venue).start()
