"""
A worker: the process that loads the packages and answers requests, from its fork to its end.

Signals from the master: SIGUSR1 loads changed folders again, SIGTERM lets the worker end after a while in which
everybody can learn that it will, SIGUSR2 at once. Either way requests under way are answered.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from compiler.errors import PolicycError, ServeError, quote
from compiler.serve.application import Application
from compiler.serve.certificate import check_certificate
from compiler.serve.http import HttpServer
from compiler.serve.logs import RequestLog
from compiler.serve.metrics import Table
from compiler.serve.models import Served, open_model, stamp_of
from compiler.serve.processors import threads_limited, threads_of
from compiler.serve.sessions import Sessions
from compiler.serve.settings import Settings
from compiler.serve.turns import Turns
from compiler.serve.watch import Pulse

try:
    from uvloop import new_event_loop
except ImportError:  # no such package for this system
    from asyncio import new_event_loop  # type: ignore[assignment]

DRAIN: Final = 1.0
"""Seconds from SIGTERM until no connection is taken any more: who asks for readiness meanwhile is told."""

RENEW: Final = "renew"
"""What the master says where the certificate has changed."""

log = logging.getLogger("policyc.serve")


@dataclass(frozen=True)
class Service:
    """
    What all workers of a server know.

    Attributes:
        settings: what the command line said.
        folders: the packages.
        sessions: the states of clients.
        table: what counts requests.
    """

    settings: Settings
    folders: tuple[Path, ...]
    sessions: Sessions
    table: Table

    def open(self, number: int) -> Served:
        """
        The package of a folder, which are counted from 0.

        Raises:
            PolicycError: if it can't be served.
        """
        with threads_limited(threads_of(self.settings)):
            return open_model(self.folders[number], self.sessions, self.settings.fields if number == 0 else ())


@dataclass(frozen=True)
class Started:
    """
    What a worker tells the master once it answers.

    Attributes:
        models: for each its name, kind, address, and whether requests share batches.
    """

    models: list[dict[str, str]]


def open_models(service: Service) -> dict[str, Served]:
    """
    The packages of all folders by their models' names, in the order of the folders.

    Raises:
        PolicycError: if one can't be served, or two have one name.
    """
    models: dict[str, Served] = {}
    for number, folder in enumerate(service.folders):
        model = service.open(number)
        if model.name in models:
            first = quote(str(models[model.name].folder))
            raise ServeError(quote(str(folder)), f"has the name {model.name!a}, as {first} has: build it with --name")
        models[model.name] = model
    return models


class Worker:
    """
    One worker.

    Args:
        number: of the worker; they count from 1.
        service: what it shares with others.
        listener: the socket that it takes connections from; it is closed when the worker ends.
        master: where it reports to, and learns that the master is gone.
    """

    def __init__(self, number: int, service: Service, listener: socket.socket, master: Connection) -> None:
        self.number, self.service = number, service
        self.row = service.table.row(number)
        self.listener, self.master = listener, master
        self.started = False
        self._reloading: asyncio.Task[None] | None = None
        self._again = False

    def run(self) -> None:
        """
        Answers requests until a signal ends it.
        """
        try:
            check_certificate(self.service.settings)  # it may have changed since the server's start
            self.application = Application(self.service.settings, open_models(self.service), self.row)
        except PolicycError as error:
            self.master.send(error)
            sys.exit(1)
        _settle()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = HttpServer(self, self.service.settings, self.listener)
        handlers: dict[signal.Signals, Callable[[], Any]] = {
            signal.SIGTERM: self._drain,
            signal.SIGUSR2: self._stop,
            signal.SIGUSR1: self._reload,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        loop.add_reader(self.master.fileno(), self._hear)
        application, settings = self.application, self.service.settings
        application.log = RequestLog() if settings.log_requests else None
        Turns(lambda: application.waiting - len(application.bodies.slow)).begin()
        Pulse(self.row, settings.worker_timeout, lambda: application.queues.values()).begin()
        await self.server.serve()
        if application.log is not None:
            application.log.close()

    @property
    def __rsgi__(self) -> Callable[[Any, Any], Awaitable[None]]:
        """
        What granian calls for each request.
        """
        return self.application.__call__

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """
        Called by granian before it listens.
        """
        queues = self.application.queues
        models = [
            {
                "name": name,
                "kind": model.described()["kind"],
                "url": f"/models/{name}/predict",
                "batches": "each request alone" if queues[name] is None else "requests that wait share batches",
            }
            for name, model in self.application.models.items()
        ]
        if not self.started:  # granian calls it again for a new certificate
            self.started = True
            loop.call_soon(self.master.send, Started(models))

    def _hear(self) -> None:
        try:
            said = self.master.recv()
        except (EOFError, OSError):  # its end has come
            self._stop()
            return
        if said == RENEW:
            self.application.renewing += 1
            asyncio.get_running_loop().call_later(2 * DRAIN, self._renewed)
            self.server.renew(DRAIN)

    def _renewed(self) -> None:
        self.application.renewing -= 1

    def _drain(self) -> None:
        self.application.stopping = True
        asyncio.get_running_loop().call_later(DRAIN, self._stop)

    def _stop(self) -> None:
        self.application.stopping = True
        asyncio.get_running_loop().remove_reader(self.master.fileno())
        self.server.stop()

    def _reload(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._load_changed())
        else:
            self._again = True

    async def _load_changed(self) -> None:
        while True:
            self._again = False
            self._read_token()
            former = self.application.models
            models = {
                name: await self._fresh(number, model) for number, (name, model) in enumerate(list(former.items()))
            }
            replaced = [model for name, model in former.items() if models[name] is not model]
            if replaced:
                self.application.serve(models)
                for model in replaced:
                    model.close()
                del former, replaced
                _settle()
            if not self._again:
                return

    def _read_token(self) -> None:
        before = self.application.token
        try:
            self.application.read_token()
        except ServeError as error:
            log.error("worker %d: the former token goes on: %s", self.number, error)
        if self.application.token != before:
            log.info("worker %d: the token is read again", self.number)

    async def _fresh(self, number: int, model: Served) -> Served:
        """
        The model opened again, if its folder has changed; as it was, if it has not, or can't be opened.
        """
        counted, folder = self.row.table.models[number], quote(str(model.folder))
        try:
            if stamp_of(model.folder) == model.stamp:
                return model
            # Importing takes a while: in a thread, so that requests are answered meanwhile.
            found = await asyncio.to_thread(self.service.open, number)
            if found.name != model.name:
                found.close()
                raise ServeError(folder, f"is named {found.name!a} now, it was {model.name!a}: start the server again")
        except Exception as error:  # whatever a package does when it is imported
            log.error("worker %d: the former build of %s still answers: %s", self.number, folder, error)
            self.row.reload(counted, False)
            return model
        log.info("worker %d: %s is loaded again", self.number, folder)
        self.row.reload(counted, True)
        return found


def _settle() -> None:
    """
    Lets the garbage collector skip what stays for good: to look at Numba's objects takes longer than any answer.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
