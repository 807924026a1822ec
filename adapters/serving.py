"""How the process serves Dojo's side: by Granian, in one worker process, which serves the venue's side too (`venue_server.py`).

The parent process holds the listening socket and nothing else; the worker owns the journal and ends when its parent does.
Granian 2.8 has no public way to bind exclusively or to tell how a worker ended; what is overridden for that is all in `_OneWorker`.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing.util
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from granian import _signals as granian_signals
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Address = tuple[str, int]

EXIT_UNREACHABLE = 4
EXIT_UNEXPECTED = 1
SIGNAL_EXIT_BASE = 128
"""A worker ended by signal 9 makes the exit code 137, as in a shell."""

BLOCKING_THREADS = 256
CORE_BYTES = 1
BACKLOG = 1_024
CONNECTIONS = 4_096
"""Of Dojo's side at once; further ones wait in the kernel. Idle ones are closed after HEADER_SECONDS."""
FILES_WANTED = 8_192
"""Open files of the worker: every connection is one, and a flood of them must not keep the journal from opening its own."""
HEADER_SECONDS = 10
"""A connection that has not sent a whole header by then is closed, on either side."""
START_SECONDS = 1.0
"""From the order to stop: a start that goes on regardless is ended."""
DRAIN_SECONDS = 5.0
"""From the order to stop: what is then still unfinished is a client that does not send, or a request beyond hope."""
KILL_SECONDS = 9.0
"""From the order to stop: the parent kills the worker. Between the two, `Running.stop` has its time."""
EXIT_SECONDS = 0.5
EXIT_POLL_SECONDS = 0.01
PARENT_POLL_SECONDS = 0.2
PARENT_WAIT_SECONDS = 1.0
READ_BYTES = 32_768
"""Dojo's side reads so far ahead: a header that has not ended by then is refused. What comes at once may be longer, up to twice that."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """What a worker serves. `stop` is called once, after the last answer, and has about three seconds.

    `announce` gets the address at which the worker listens, with the real port, once everything is built.
    """

    app: WSGIApplication
    stop: Callable[[], None]
    announce: Callable[[Address], None] = lambda address: None


class Switch:
    """An application whose place another one may take while requests are served."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the application of the moment."""
        return self.app(environ, start_response)


def serve_in_worker(address: Address, build: Callable[[], Running]) -> int:
    """Serve Dojo's side at `address` until SIGTERM, SIGINT or SIGHUP, and return the exit code for the process.

    `build` runs in the worker process and opens everything there; threads that it starts must be daemons. It must be picklable and
    configure the log itself, since some platforms start the worker in a fresh interpreter. When it raises SystemExit, or the worker
    ends in any other way, its exit code is returned; 4 when the address cannot be had. Call it from the main thread, before any
    other thread is started.

    A worker that calls `end_worker` is stopped in the same way, and its exit code returned.

    On the order to stop, new connections are refused, accepted requests are answered, then `Running.stop` is called; clients that
    have not sent their request within DRAIN_SECONDS are cut off. The whole ends within KILL_SECONDS.
    """
    _leave_no_core()
    for signum in STOP_SIGNALS:
        signal.signal(signum, _leave)  # Until Granian has its own.
    logging.getLogger("_granian").addFilter(_is_worth_saying)
    try:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
        # Connections inherit it: without it every kept-alive answer waits for the client's delayed acknowledgement, some 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        following = "free it, or set TILLPROOF_LISTEN to another, then tillproof serve"
        facts = {"address": text_of(address), "reason": error.strerror or str(error), "next": following}
        logger.critical("address not available", extra=facts)
        return EXIT_UNREACHABLE
    logger.info("address bound", extra={"address": text_of(listener.getsockname())})
    server = _OneWorker(listener)
    try:
        server.serve(target_loader=partial(_load, build, os.getpid(), listener.getsockname()[:2]), wrap_loader=False)
    except SystemExit as left:
        if left.code == 0:  # Told to stop before Granian listened to signals; a worker, if there is one, ends with us.
            return 0
    return server.exit_code  # Granian's own code is always 1 when the worker ended by itself.


def end_worker(code: int) -> None:
    """Have the worker that calls this stopped as by SIGTERM, and the program end with `code`; who came first decides with which."""
    global _code_at_end  # noqa: PLW0603  # The process's own, like the code that it ends with.
    _code_at_end = _code_at_end or code
    os.kill(os.getppid(), signal.SIGTERM)


_code_at_end = 0


class _OneWorker(MPServer):
    """Granian with one worker on a socket that nobody else can share."""

    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(
            "tillproof",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=1,
            blocking_threads=BLOCKING_THREADS,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1_000, max_buffer_size=READ_BYTES),
            log_level=LogLevels.warning,
            log_dictconfig=_KEEP_OUR_HANDLERS,
            log_access=False,
        )
        self.main_loop_interrupt = _Interrupt()  # type: ignore[assignment]  # What is used of an event.
        self._listener = listener
        self._hangup_ignored = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self.exit_code = EXIT_UNEXPECTED

    def _init_shared_socket(self) -> None:
        # Granian would bind with SO_REUSEPORT: a second server could take half of Dojo's requests without anybody noticing.
        self._listener.set_inheritable(True)
        self._sso = self._listener
        if sys.platform != "win32":  # There the worker makes its own from the socket.
            self._shd = SocketHolder(self._listener.fileno(), False, BACKLOG)  # type: ignore[call-arg, assignment]

    def _spawn_workers(self, *args: Any, **kwargs: Any) -> None:
        # A handler that runs among Python's own work after a fork ends in a traceback, a wrong exit code, or is not heard at all.
        with _signals_held():
            super()._spawn_workers(*args, **kwargs)  # type: ignore[no-untyped-call]

    def signal_handler_reload(self, *args: Any, **kwargs: Any) -> None:
        """On SIGHUP, stop unless started by nohup: Granian would start a second worker, which could not have the journal."""
        if not self._hangup_ignored:
            self.signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _stop_workers(self) -> None:
        # Granian's own may take a worker that its watching thread has just collected for one that refuses to stop.
        worker = self.wrks.pop()
        worker.terminate()  # type: ignore[no-untyped-call]
        if not _ends_within(KILL_SECONDS, worker.inner):
            logger.error("worker killed", extra={"seconds": KILL_SECONDS})
            worker.kill()  # type: ignore[no-untyped-call]
            _ends_within(EXIT_SECONDS, worker.inner)
        self.exit_code = _exit_code_of(worker.inner.exitcode, asked=self.interrupt_signal)


class _Interrupt:
    """In the place of the event that Granian's main loop waits for, and that its handlers of signals set, on the same thread.

    One that came as that wait began would itself wait for ever, for the event's lock, which the wait has. A SimpleQueue is made for this.
    """

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """End the wait, also one that is only to begin."""
        self._told.put(None)

    def wait(self) -> None:
        """Return once it is set. A signal that arrives as Python goes to sleep is handled when it wakes: so it never sleeps for long."""
        while True:
            with suppress(queue.Empty):
                return self._told.get(timeout=PARENT_WAIT_SECONDS)


@contextmanager
def _signals_held() -> Iterator[None]:
    """The order to stop waits meanwhile; a process that is started here holds it until `_hear_signals`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hear_signals() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


_KEEP_OUR_HANDLERS: dict[str, Any] = {
    "incremental": True,
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def _ends_within(seconds: float, worker: multiprocessing.process.BaseProcess) -> bool:
    deadline = time.monotonic() + seconds  # Not by the injected clock: it is another process that is waited for.
    while worker.exitcode is None and time.monotonic() < deadline:
        time.sleep(EXIT_POLL_SECONDS)
    return worker.exitcode is not None


def _exit_code_of(ended: int | None, *, asked: bool) -> int:
    if ended is None:
        return EXIT_UNEXPECTED
    if asked and ended == -signal.SIGTERM:  # It ended before it had anything to stop.
        return 0
    return ended if ended >= 0 else SIGNAL_EXIT_BASE - ended


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Granian advises against many threads, which here wait for the one writer; and the worker itself has said why it ended."""
    return not any(text in record.getMessage() for text in ("allows spawning up to", "Unexpected exit from worker"))


def text_of(address: tuple[Any, ...]) -> str:
    """An address as it stands in a URL."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _load(build: Callable[[], Running], parent: int, address: Address) -> WSGIApplication:
    """Start the worker; called by Granian in the worker's main thread."""
    _end_with(parent)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # A terminal's hang-up reaches both processes; the parent decides.
    limit = _StopLimit()
    for signum in STOP_SIGNALS:
        signal.signal(signum, _leave)  # Until Granian has its own: whoever stops a server that still starts need not wait.
    _hear_signals()
    _allow_many_files()
    try:
        running = build()
    except Exception:  # The top of the worker: nothing above would log it.
        logger.critical("worker not started", exc_info=True, extra={"next": "tillproof doctor"})
        raise SystemExit(EXIT_UNEXPECTED) from None
    limit.stop = _once(running.stop)
    granian_signals.set_main_signals = partial(_install_handler, address)
    multiprocessing.util.Finalize(None, _end, args=(limit.stop,), exitpriority=0)
    running.announce(address)
    return running.app


def _install_handler(address: Address, handler: Callable[[int, object], None]) -> None:
    """Have Granian's `handler` hear the order to stop, once. Ctrl-C, or systemd, gives it to both processes, and then the parent does.

    When Granian gets a second one it drops requests that it should finish. It forgets one that comes between two of its first steps:
    while it still listens a good while after the first, it gets the second.
    """
    heard_at: list[float] = []
    hearing = threading.Lock()

    def hear(signum: int, frame: object) -> None:
        if not hearing.acquire(blocking=False):
            return  # It came in the midst of another one, on the same thread.
        try:
            now = time.monotonic()
            if heard_at and (now - heard_at[-1] < START_SECONDS / 2 or not _is_listening(address)):
                return
            heard_at.append(now)
            handler(signum, frame)
        finally:
            hearing.release()

    for each in STOP_SIGNALS:
        signal.signal(each, hear)


def _is_listening(address: Address) -> bool:
    # Looking a name up imports a codec the first time, and a signal's handler may come in the midst of that very import.
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        probe.settimeout(START_SECONDS)
        return probe.connect_ex(address) == 0


def _end(stop: Callable[[], None]) -> None:
    stop()
    if _code_at_end:
        os._exit(_code_at_end)


def _leave(signum: int, frame: object) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # A second one must not interrupt what the first one ends.
    raise SystemExit(_code_at_end)


def _end_with(parent: int) -> None:
    """See to it that this process is killed when `parent` dies, since nobody would stop it and it would keep the journal."""
    kernel_told = sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    if not kernel_told:
        threading.Thread(target=_watch_parent, args=(parent,), name="parent watch", daemon=True).start()
    elif os.getppid() != parent:  # It died before the kernel was told.
        os._exit(EXIT_UNEXPECTED)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(EXIT_UNEXPECTED)


def _leave_no_core() -> None:
    """Forbid this process and its worker to dump their memory, which holds the secrets and the customers, to a file when they crash."""
    with suppress(ImportError, ValueError, OSError):  # As below; and who may not raise a limit of 0 has no core either.
        import resource

        # One byte: too little for a file, and the number that Linux takes for "not to a crash handler either". It ignores 0 there.
        resource.setrlimit(resource.RLIMIT_CORE, (CORE_BYTES, CORE_BYTES))


def _allow_many_files() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit; a sandbox may forbid it.
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _once(stop: Callable[[], None]) -> Callable[[], None]:
    """`stop` for several callers: the first calls it, the others wait until it is done. An exception is logged."""
    lock = threading.Lock()
    waiting = [stop]

    def stop_once() -> None:
        with lock:
            while waiting:
                try:
                    waiting.pop()()
                except Exception:  # The top of the worker's end.
                    logger.exception("stop failed")

    return stop_once


class _StopLimit:
    """Bounds how long the worker goes on after the order to stop, heard from now on.

    Granian waits without end for a client that sent half of a request, and a start may swallow the SystemExit of the signal's handler.
    """

    def __init__(self) -> None:
        self.stop: Callable[[], None] | None = None
        """Set once the worker serves."""
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        # Granian installs its signal handlers later; the wake-up descriptor hears of the signal beside any handler.
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._run, name="stop limit", daemon=True).start()

    def _run(self) -> None:
        while (signum := self._receiver.recv(1)[0]) not in STOP_SIGNALS:
            pass
        deadline = time.monotonic() + DRAIN_SECONDS
        time.sleep(min(START_SECONDS, DRAIN_SECONDS))
        if self.stop is None:  # Nothing was answered yet, and a start may be cut short anywhere.
            os._exit(_code_at_end)
        os.kill(os.getpid(), signum)  # In case Granian forgot it, see `_install_handler`.
        time.sleep(max(0.0, deadline - time.monotonic()))
        logger.warning("unfinished requests cut off", extra={"seconds": DRAIN_SECONDS})
        self.stop()
        os._exit(_code_at_end)
