"""
The places of workers, as the master keeps them.
"""

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Final

PACE: Final = 0.5
"""Seconds from a worker's beginning to its successor's, at least; twice as long after each that could not begin."""
LONGEST: Final = 30.0
"""The same, at most."""


@dataclass
class Slot:
    """
    The place of a worker, for one process after the other.
    """

    number: int
    listener: socket.socket
    process: ForkProcess | None = None
    connection: Connection | None = None
    """Where the process says that it has started, or why it can't; it learns there that the master is gone."""
    started: bool = False
    """Whether the process answers requests."""
    born: float = 0.0
    failures: int = 0
    """Processes in a row that could not begin."""
    stale: bool = False
    """Whether the process must load changed folders as soon as it can hear it."""

    @property
    def due(self) -> float:
        """
        When the next process may begin.
        """
        return self.born + min(LONGEST, PACE * 2**self.failures) if self.born else 0.0

    def send(self, number: signal.Signals) -> None:
        """
        Sends a signal to the process, if there is one.
        """
        if self.process is not None and self.process.pid is not None:
            os.kill(self.process.pid, number)  # a dead one keeps its number until `join`

    def tell(self, word: str) -> None:
        """
        Says something to the process, if it can hear.
        """
        if self.connection is not None:
            with suppress(OSError):  # it is dead
                self.connection.send(word)

    def stop(self, number: signal.Signals) -> None:
        """
        Lets the process end, which is killed if it does not answer yet.
        """
        self.send(number if self.started else signal.SIGKILL)
