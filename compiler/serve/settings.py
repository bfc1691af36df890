"""
What `policyc serve` was told.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler.errors import ServeError

BOUNDS: Final = {
    "port": (0, 65535),
    "workers": (1, 1024),
    "threads": (1, 1024),
    "max_body": (1, math.inf),
    "max_waiting": (1, math.inf),
    "body_timeout": (0.001, 86400),
    "header_timeout": (0.001, 86400),
    "worker_timeout": (0, 86400),
    "batch_window_us": (0, 10_000_000),
    "max_batch": (1, math.inf),
    "session_expiry": (0.001, math.inf),
    "max_sessions": (0, math.inf),
}
"""The least and the greatest value of settings that are numbers."""


@dataclass(frozen=True)
class Settings:
    """
    How packages are served; the text under each field is its help on the command line.
    """

    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 for all of this machine's."""
    port: int = 8080
    """The port to listen at; 0 for a free one."""
    workers: int | None = None
    """Processes that answer; one for two processors if not given."""
    threads: int | None = None
    """Threads that a large model may have in each worker; the processors divided by the workers if not given."""
    fields: tuple[str, ...] = ()
    """Names of the numbers of an observation, divided by commas: the first model also takes {"name": number, ...}."""
    wasm: tuple[Path, ...] = ()
    """Folders that `policyc build --target wasm` made of models that are served, divided by commas: the page at / then
    plays its animations in the browser."""
    max_body: int = 16 * 2**20
    """Bytes that a request's body may have; more is answered with 413."""
    max_waiting: int = 1024
    """Requests that a worker takes on at a time; more are answered with 503."""
    body_timeout: float = 10.0
    """Seconds that a request's body may take to arrive, and an answer may wait for a client that does not read."""
    header_timeout: float = 10.0
    """Seconds that a request's head may take to arrive."""
    worker_timeout: float = 60.0
    """Seconds that a worker may hang, or a model compute at a time, until the worker is killed and replaced; 0 for any
    time."""
    batch_window_us: int | None = None
    """Microseconds that a request waits for others to share a batch with; found from the model if not given."""
    max_batch: int = 32
    """Requests that share a batch at most; 1 lets none share."""
    session_expiry: float = 600.0
    """Seconds after which a session that nobody asks is forgotten."""
    max_sessions: int = 10_000
    """Sessions that are kept; a new one above that is answered with 503."""
    token_file: Path | None = None
    """A file with a token that requests must bring: `Authorization: Bearer TOKEN`."""
    tls_cert: Path | None = None
    """A certificate in PEM, to serve HTTPS; SIGHUP reads it, its key and the token again."""
    tls_key: Path | None = None
    """The certificate's private key in PEM."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may ask this server, divided by commas: `https://example.org`; `*` for all."""
    log_requests: bool = False
    """Print one line of JSON for each request."""

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                wanted = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
                raise ServeError(f"--{name.replace('_', '-')}", f"expected {wanted}, found {value}")
