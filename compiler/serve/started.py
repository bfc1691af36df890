"""
What `policyc serve` says once it answers: where, what, and how.
"""

import os
from typing import Any

import msgspec

from compiler.serve.processors import processors, threads_of
from compiler.serve.settings import Settings
from compiler.serve.worker import Started


def url_of(settings: Settings, address: tuple[Any, ...]) -> str:
    """
    Where a client of this machine finds the server.

    Args:
        settings: of the server.
        address: of its socket.
    """
    host, port = address[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    host = f"[{host}]" if ":" in host else host
    return f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"


def announce(settings: Settings, address: tuple[Any, ...], workers: int, started: Started, as_json: bool) -> None:
    """
    Prints what is served: some lines for a person, or one of JSON.
    """
    url = url_of(settings, address)
    if as_json:
        content = {"url": url, "pid": os.getpid(), "workers": workers, "models": started.models}
        print(msgspec.json.encode(content).decode(), flush=True)
        return
    lines = [f"policyc serves {url}"]
    for number, model in enumerate(started.models):
        also = " and /predict" if number == 0 else ""
        lines.append(f"  {model['name']}: {model['kind']} at {model['url']}{also}, {model['batches']}")
    given = "as --workers says" if settings.workers else "one for two processors"
    each = threads_of(settings)
    threads = "one thread" if each == 1 else f"{each} threads"
    lines += [
        f"  workers: {workers} on {processors()} processors, {given}; a large model has {threads} in each",
        f"  limits of a worker: {settings.max_waiting} requests at a time; bodies of {settings.max_body / 2**20:g} MiB",
        f"  deadlines: {settings.header_timeout:g} s for a request's head, {settings.body_timeout:g} s for its body",
    ]
    if address[0] not in ("127.0.0.1", "::1") and settings.token_file is None:
        lines.append("  whoever reaches this machine may ask: --token-file restricts it to those with a token")
    print("\n".join(lines), flush=True)
