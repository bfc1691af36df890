"""
How the master finds out that a worker hangs: one that is stopped, or whose predictor does not come to an end.

Each worker adds to a cell of its row in the shared memory, again and again; the master looks at the cells as often, and
counts the looks in a row that find nothing new. It compares no times: what stops all processes together, as a laptop's
sleep, the pause of a container or SIGSTOP for the group, stops the looks too, and is no more than one of them.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from compiler.serve.batching import Queue
from compiler.serve.metrics import Row, Table

LOOKS: Final = 8
"""How often the master looks within the time that a worker may be silent; a worker lives to twice as few signs."""
BESIDES: Final = 2
"""Looks that are not counted: what lasts as long as is allowed begins after one sign and ends before the next."""


class Pulse:
    """
    A worker's signs of life: while its loop turns, and what its models compute comes to an end.

    Args:
        row: of the worker.
        seconds: that it may be silent; 0 if nobody looks.
        queues: gives those of all its models; None for a model that is computed in the loop.
    """

    def __init__(self, row: Row, seconds: float, queues: Callable[[], Iterable[Queue | None]]) -> None:
        self._row, self._period, self._queues = row, seconds / LOOKS, queues
        self._before: list[Any] = []

    def begin(self) -> None:
        """
        Gives signs from now on, as long as the running loop turns.
        """
        if self._period:
            self._give()

    def _give(self) -> None:
        computed = [queue.computed for queue in self._queues() if queue is not None and queue.computed is not None]
        if not any(question is other for question in computed for other in self._before):
            self._row.beat()
        self._before = computed
        asyncio.get_running_loop().call_later(self._period, self._give)


class Watch:
    """
    The master's looks at its workers.

    Args:
        table: with a row for each worker.
        seconds: that a worker may be silent; 0 for any time.
    """

    def __init__(self, table: Table, seconds: float) -> None:
        self._table, self._period = table, seconds / LOOKS
        self._beats: list[int] = []
        self._silent: dict[int, int] = {}
        """For each worker, looks in a row that found nothing new."""
        self.due = time.monotonic() + self._period if seconds else None
        """When to look next; None for never."""

    def look(self, workers: Iterable[int]) -> list[int]:
        """
        Those of these workers, who have begun to answer, that have just become silent for too long.
        """
        self.due = time.monotonic() + self._period
        before, self._beats = self._beats, self._table.beats
        self._silent = {
            worker: self._silent.get(worker, 0) + 1 if before and before[worker - 1] == self._beats[worker - 1] else 0
            for worker in workers
        }
        return [worker for worker, looks in self._silent.items() if looks == LOOKS + BESIDES]
