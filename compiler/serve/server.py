"""
The process around the workers: their beginning and end, signals.

The master answers nothing. It binds the address, forks the workers, and sleeps until a signal comes or a worker dies.
Each worker has a listening socket of its own, which stays open in the master: the system divides connections among
them, and those that come while a worker is replaced wait for its successor.
"""

import logging
import math
import multiprocessing
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, Final

from compiler.errors import PolicycError, ServeError
from compiler.serve.certificate import check_certificate, mark_of
from compiler.serve.listening import listeners, renewed
from compiler.serve.metrics import Table
from compiler.serve.processors import workers_of
from compiler.serve.sessions import Sessions
from compiler.serve.settings import Settings
from compiler.serve.slots import Slot
from compiler.serve.started import announce
from compiler.serve.watch import Watch
from compiler.serve.worker import RENEW, Service, Started, Worker

END: Final = 9.0
"""Seconds from the signal to stop until workers that still answer are killed."""
ATTEMPTS: Final = 5
"""So many in a row that could not begin end the server, if no other worker answers."""

SIGNALS: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("policyc.serve")


def run(settings: Settings, folders: tuple[Path, ...], as_json: bool = False) -> None:
    """
    Serves the packages of these folders until SIGTERM or SIGINT ends it.

    Args:
        settings: what the command line said.
        folders: the packages.
        as_json: whether to say what is served as one line of JSON.

    Raises:
        ServeError: if the address is taken or unknown, the certificate can't be read, or workers can't begin.
        PolicycError: if a package can't be served.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("policyc: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    check_certificate(settings)
    workers = workers_of(settings)
    sockets = listeners(settings, workers)
    try:
        with tempfile.TemporaryDirectory(prefix="policyc-serve-") as folder:
            sessions = Sessions(Path(folder) / "sessions", settings.session_expiry, settings.max_sessions)
            Master(Service(settings, folders, sessions, Table(len(folders), workers)), sockets, as_json).run()
    finally:
        for listener in sockets:
            listener.close()
        log.removeHandler(handler)


class Master:
    """
    Keeps workers alive.

    Args:
        service: what all workers know.
        sockets: one for each worker.
        as_json: whether to say what is served as JSON.
    """

    def __init__(self, service: Service, sockets: Sequence[socket.socket], as_json: bool) -> None:
        self.service, self.as_json = service, as_json
        self.row = service.table.row(0)
        self.watch = Watch(service.table, service.settings.worker_timeout)
        self.slots = [Slot(number, listener) for number, listener in enumerate(sockets, 1)]
        self.address = sockets[0].getsockname()
        self.announced = False
        """Whether all workers have answered once."""
        self.deadline: float | None = None
        """When workers are killed that have not ended; None until a signal says to stop."""
        self.certificate = mark_of(service.settings)
        """Which one workers have that begin now."""
        self.signals, self.signalled = socket.socketpair()

    def run(self) -> None:
        """
        Returns once a signal has stopped all workers.

        Raises:
            PolicycError: why no worker can answer.
        """
        with self._handled():
            try:
                while self.deadline is None or any(slot.process for slot in self.slots):
                    self._step()
            finally:
                for slot in self.slots:
                    slot.send(signal.SIGKILL)
                    if slot.process is not None:
                        slot.process.join()

    @contextmanager
    def _handled(self) -> Iterator[None]:
        """
        Signals become bytes to read, so that `wait` sees them too.
        """
        self.signalled.setblocking(False)
        former = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        former[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as workers must until they can hear it
        wakeup = signal.set_wakeup_fd(self.signalled.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
            self.signals.close()
            self.signalled.close()

    def _step(self) -> None:
        """
        Begins what is due, then waits for what happens next, and does what it asks for.
        """
        now = time.monotonic()
        if self.deadline is not None and self.deadline <= now:
            self.deadline = math.inf
            for slot in self.slots:
                if slot.process is not None:
                    log.warning("worker %d still answers requests: it is killed", slot.number)
                    slot.send(signal.SIGKILL)
        times = [] if self.deadline in (None, math.inf) else [self.deadline]
        for slot in self.slots:
            if self.deadline is None and slot.process is None:
                if slot.due <= now:
                    self._fork(slot)
                else:
                    times.append(slot.due)
        if self.deadline is None and self.watch.due is not None:
            if self.watch.due <= now:
                self._look()
            times.append(self.watch.due)
        talking: list[Any] = [slot.connection for slot in self.slots if slot.connection is not None]
        dying = [slot.process.sentinel for slot in self.slots if slot.process is not None]
        limit = max(0.01, min(times) - now) if times else None
        found = wait([self.signals, *talking, *dying], limit)
        if self.signals in found:
            for number in set(self.signals.recv(4096)):
                self._obey(signal.Signals(number))
        for slot in self.slots:
            if slot.connection in found:
                self._hear(slot)
            if slot.process is not None and slot.process.sentinel in found:
                self._bury(slot, slot.process)

    def _look(self) -> None:
        """
        Kills workers that hang: their successors begin once they are dead.
        """
        hung = self.watch.look(slot.number for slot in self.slots if slot.started)
        for slot in self.slots:
            if slot.number in hung and slot.process is not None:
                seconds = self.service.settings.worker_timeout
                log.error("worker %d (process %d) hangs for %g s: it is killed", slot.number, slot.process.pid, seconds)
                slot.send(signal.SIGKILL)
                self.row.hang()

    def _obey(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            log.info("looking for changed packages")
            self._renew_certificate()
            for slot in self.slots:
                slot.stale = True
                if slot.started:
                    self._refresh(slot)
        elif self.deadline is not None:  # for the second time: somebody does not want to wait
            for slot in self.slots:
                slot.stop(signal.SIGUSR2)
        else:
            self.deadline = time.monotonic() + END
            for slot in self.slots:
                slot.listener.close()  # the workers' own still listen
                slot.stop(signal.SIGTERM if number is signal.SIGTERM else signal.SIGUSR2)

    def _renew_certificate(self) -> None:
        """
        Lets workers read a changed certificate and key again, if they can be used.
        """
        settings = self.service.settings
        try:
            mark = mark_of(settings)
            if mark == self.certificate:
                return
            check_certificate(settings)
        except ServeError as error:
            log.error("the former certificate goes on: %s", error)
            return
        log.info("the certificate is read again")
        self.certificate = mark
        for slot in self.slots:
            slot.tell(RENEW)

    def _refresh(self, slot: Slot) -> None:
        if slot.stale:
            slot.stale = False
            slot.send(signal.SIGUSR1)

    def _fork(self, slot: Slot) -> None:
        mine, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=self._begin, args=(slot, mine, theirs))
        slot.born, slot.started, slot.stale = time.monotonic(), False, False
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        slot.process, slot.connection = process, mine

    def _begin(self, slot: Slot, mine: Connection, theirs: Connection) -> None:
        """
        What the new process does: it lets go of all that is the master's, and becomes a worker.
        """
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:  # a terminal sends them to all processes: what to do is the master's to say
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for held in (self.signals, self.signalled, mine):
            held.close()
        for other in self.slots:
            if other is not slot:
                other.listener.close()
                if other.connection is not None:
                    other.connection.close()
        Worker(slot.number, self.service, slot.listener, theirs).run()

    def _hear(self, slot: Slot) -> None:
        assert slot.connection is not None
        try:
            said = slot.connection.recv()
        except (EOFError, OSError):  # it is dead, as its sentinel says too
            slot.connection.close()
            slot.connection = None
            return
        if isinstance(said, Started):
            slot.started, slot.failures = True, 0
            self._refresh(slot)
            if not self.announced and all(other.started for other in self.slots):
                self.announced = True
                announce(self.service.settings, self.address, len(self.slots), said, self.as_json)
        elif self.announced:
            log.error("worker %d can't begin: %s", slot.number, said)
        elif isinstance(said, PolicycError):
            raise said

    def _bury(self, slot: Slot, process: ForkProcess) -> None:
        process.join()
        status = process.exitcode or 0
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        answered = slot.started
        if slot.connection is not None:
            slot.connection.close()
        slot.process, slot.connection, slot.started = None, None, False
        if self.deadline is not None:
            return
        if not self.announced:
            raise ServeError(f"worker {slot.number}", f"{how} before it could answer a request")
        if not answered:
            slot.failures += 1
            # Nobody waits for a worker that may never come, while others answer.
            slot.listener = renewed(slot.listener, self.service.settings)
            if slot.failures >= ATTEMPTS and not any(other.started for other in self.slots):
                raise ServeError("the server", f"{ATTEMPTS} workers in a row could not begin; the last {how}")
        log.warning("worker %d (process %d) %s: another one takes its place", slot.number, process.pid, how)
        self.row.replace()
