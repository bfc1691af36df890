"""
Where the server listens: sockets, and the certificate for HTTPS.
"""

import errno
import socket
import ssl

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
        for _ in range(count):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections have it too: for clients that do not read
                unread = round(settings.body_timeout * 1000)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread)
            if len(sockets) > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            # The first is bound before it shares the address: it shares with ours alone.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            address = listener.getsockname()
    except (OSError, OverflowError) as error:
        for listener in sockets:
            listener.close()
        raise ServeError(quote(f"{host}:{port}"), _reason(error)) from None
    return sockets


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


def check_certificate(settings: Settings) -> None:
    """
    Looks whether HTTPS can be served as the settings want it.

    Raises:
        ServeError: if the certificate or its key can't be read, or don't fit each other.
    """
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ServeError("--tls-cert and --tls-key", "are needed together")
    for file in (certificate, key):
        try:
            file.read_bytes()
        except OSError as error:
            raise ServeError(quote(str(file)), f"can't be read: {error.strerror}") from None
    try:
        # A key with a password would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ServeError(
            quote(str(certificate)),
            f"expected a certificate in PEM, and in {quote(str(key))} its key without a password, found: {reason}",
        ) from None
