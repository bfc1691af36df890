"""
The certificate for HTTPS: whether the server can use it, and whether its files have changed.
"""

import asyncio
import faulthandler
import multiprocessing
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
from hashlib import sha256
from typing import Any, Final

from compiler.errors import ServeError, quote
from compiler.serve.http import HttpServer
from compiler.serve.settings import Settings

TRIAL: Final = 10.0
"""Seconds that a trial may take."""
WAIT: Final = 0.01
"""Seconds from one try to connect to the next."""


def mark_of(settings: Settings) -> bytes:
    """
    What tells the files of one certificate and key from those of another; nothing where there is no HTTPS.

    Raises:
        ServeError: if one can't be read.
    """
    mark = b""
    for file in (settings.tls_cert, settings.tls_key):
        if file is not None:
            try:
                mark += sha256(file.read_bytes()).digest()
            except OSError as error:
                raise ServeError(quote(str(file)), f"can't be read: {error.strerror}") from None
    return mark


def check_certificate(settings: Settings) -> None:
    """
    Looks whether HTTPS can be served as the settings want it.

    Raises:
        ServeError: if the certificate or its key can't be read or used, or don't fit each other.
    """
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ServeError("--tls-cert and --tls-key", "are needed together")
    mark_of(settings)
    try:
        # A key with a password would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ServeError(
            quote(str(certificate)),
            f"expected a certificate in PEM, and in {quote(str(key))} its key without a password, found: {reason}",
        ) from None
    if reason := _tried(settings):
        raise ServeError(
            quote(str(certificate)),
            f"can't be used for HTTPS here: {reason}. Expected an X.509 certificate of version 3 with a key of ECDSA "
            "(P-256, P-384), Ed25519 or RSA (2048 to 4096 bits)",
        )


def _tried(settings: Settings) -> str:
    """
    Why a server with this certificate and key does not answer; nothing if it does.

    granian's TLS takes less than Python's, and ends its process where it takes none: in one of its own, here.
    """
    with tempfile.TemporaryFile() as said:
        process = multiprocessing.get_context("fork").Process(target=_trial, args=(settings, said.fileno()))
        process.start()
        process.join(TRIAL)
        if process.exitcode == 0:
            return ""
        process.kill()
        process.join()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip()
    found = re.search(r"`Err` value: (.*)", lines)
    return found[1] if found else lines.rpartition("\n")[2] or "it does not answer"


def _trial(settings: Settings, errors: int) -> None:
    """
    What the process of a trial does: it serves, and connects to itself.
    """
    signal.set_wakeup_fd(-1)  # the master's
    faulthandler.disable()  # it would tell of the end that is expected, beside `errors`
    os.dup2(errors, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    asyncio.run(_connect_to_itself(settings))


async def _connect_to_itself(settings: Settings) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = listener.getsockname()
    serving = asyncio.ensure_future(HttpServer(_nobody, settings, listener).serve())
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    while not serving.done():
        try:
            await asyncio.open_connection(*address, ssl=anybody)
        except ConnectionRefusedError:
            await asyncio.sleep(WAIT)
        else:
            os._exit(0)


async def _nobody(scope: Any, proto: Any) -> None:
    """
    Is asked nothing.
    """
