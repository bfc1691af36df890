"""
granian in this process, at a socket that outlives it: what arrives while a worker is replaced waits there.
"""

import os
import socket
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import AsyncWorker, Server

from compiler.serve.settings import Settings

CONNECTIONS: Final = 10_000
"""That a worker has open at a time, where the system allows so many files; more wait in the system's queue."""
BACKLOG: Final = 1024
"""The length of that queue."""
HEAD_BYTES: Final = 2**16
"""Of a request's first line and headers; more is answered with 431 or 414."""


class HttpServer(Server):
    """
    Answers HTTP or HTTPS.

    Args:
        target: what answers requests, an application of RSGI.
        settings: limits, certificate and key.
        listener: the socket that it takes connections from; it is closed when the server ends.
    """

    def __init__(self, target: Any, settings: Settings, listener: socket.socket) -> None:
        super().__init__(
            target,
            interface=Interfaces.RSGI,
            # HTTP/2 has no deadlines for silent connections here, and detecting it none for the first byte of any.
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=max(1, round(settings.header_timeout * 1000)), max_buffer_size=HEAD_BYTES
            ),
            websockets=False,
            backlog=BACKLOG,
            backpressure=_connections(),
            log_enabled=False,
            ssl_cert=settings.tls_cert,
            ssl_key=settings.tls_key,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self.settings, self.listener = settings, listener

    def _init_shared_socket(self) -> None:
        self._ssp = None

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> AsyncWorker:  # type: ignore[override]
        self._descriptor = os.dup(self.listener.fileno())  # which granian closes
        self._shd = SocketHolder(self._descriptor, False, self.backlog)  # type: ignore[call-arg, assignment]
        return super()._spawn_worker(idx, target, callback_loader)

    def stop(self) -> None:
        """
        Lets `serve` end after what is under way.
        """
        self.listener.close()
        super().stop()  # type: ignore[no-untyped-call]

    def renew(self, overlap: float) -> None:
        """
        Reads certificate and key again, for new connections. Those that are open end after their next answer.

        Args:
            overlap: seconds in which answers should say that their connection ends: then it does.
        """
        settings = self.settings
        self.build_ssl_context(
            settings.tls_cert, settings.tls_key, None, SSLProtocols.tls12, None, [], client_verify=False
        )
        # What has the former certificate takes no connection any more, only to end it soon: none finds a socket there.
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            deaf.setblocking(False)
            os.dup2(deaf.fileno(), self._descriptor)
        self.respawn_interval = overlap
        self.reload()  # type: ignore[no-untyped-call]


def _connections() -> int:
    """
    How many connections there may be: fewer than files, since granian never accepts again once it has none.
    """
    try:
        import resource
    except ImportError:
        return CONNECTIONS
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 256
    if files < wanted:
        files = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return max(16, min(files, wanted) - 256)
