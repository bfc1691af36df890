"""
Where the server listens: a socket for each worker.
"""

import errno
import socket
from typing import Any

from compiler.errors import ServeError, quote
from compiler.serve.settings import Settings


def listeners(settings: Settings, count: int) -> list[socket.socket]:
    """
    Sockets, one for each worker, bound to one address, which no other process listens at.

    Raises:
        ServeError: if the address is taken, not allowed, or none of this machine's.
    """
    host, port = settings.host, settings.port
    sockets: list[socket.socket] = []
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        for number in range(count):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            _bind(listener, address, settings, shared=number > 0)
            address = listener.getsockname()
    except (OSError, OverflowError) as error:
        for listener in sockets:
            listener.close()
        raise ServeError(quote(f"{host}:{port}"), _reason(error)) from None
    return sockets


def renewed(listener: socket.socket, settings: Settings) -> socket.socket:
    """
    A socket in place of another, which is closed with all that waits in it. Nothing comes until somebody listens.
    """
    successor = socket.socket(listener.family, listener.type, listener.proto)
    _bind(successor, listener.getsockname(), settings, shared=True)
    listener.close()
    return successor


def _bind(listener: socket.socket, address: tuple[Any, ...], settings: Settings, shared: bool) -> None:
    """
    Binds a socket to an address that those after it share; and those before it, if it is `shared`.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections have it too: for clients that do not read
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.body_timeout * 1000))
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    # Not before: the first one would share the address with any other process too.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _reason(error: OSError | OverflowError) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "another process listens there: end it, or choose another --port"
        case errno.EACCES:
            return "ports below 1024 need a privilege: choose another --port"
        case errno.EADDRNOTAVAIL | socket.EAI_NONAME:
            return "is no address of this machine: --host 127.0.0.1 is for this machine alone, 0.0.0.0 for all"
        case _:
            return f"can't be listened at: {getattr(error, 'strerror', None) or error}"
