"""
The process around the application: granian's master and its workers.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server.mp import MPServer, WorkerProcess

from compiler.serve.application import Application
from compiler.serve.metrics import Table
from compiler.serve.models import open_model
from compiler.serve.sessions import Sessions
from compiler.serve.settings import Settings


class Server(MPServer):
    """
    The master, which tells each worker who it is: the first one is 1, as is its successor.
    """

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any, socket_loader: Any = None) -> WorkerProcess:
        return super()._spawn_worker(idx, target, partial(callback_loader, worker=idx + 1))


def create(
    target: str, settings: Settings, folders: tuple[Path, ...], sessions: Sessions, table: Table, worker: int
) -> Application:
    """
    The application of a worker, which loads the packages itself.
    """
    models = [
        open_model(folder, sessions, settings.fields if number == 0 else ()) for number, folder in enumerate(folders)
    ]
    return Application(settings, {model.name: model for model in models}, table.row(worker))


def run(settings: Settings, folders: tuple[Path, ...], as_json: bool = False) -> None:
    """
    Serves the packages of these folders until a signal ends it.

    Args:
        settings: what the command line said.
        folders: the packages.
        as_json: whether to say what is served as one JSON document.
    """
    server = Server(
        "policyc",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        workers=settings.workers,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        websockets=False,
        backpressure=4 * settings.max_waiting,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        ssl_cert=settings.tls_cert,
        ssl_key=settings.tls_key,
    )
    table = Table(len(folders), settings.workers)
    with tempfile.TemporaryDirectory(prefix="policyc-serve-") as folder:
        sessions = Sessions(Path(folder) / "sessions", settings.session_expiry, settings.max_sessions)
        loader = partial(create, settings=settings, folders=folders, sessions=sessions, table=table)
        server.serve(target_loader=loader)
