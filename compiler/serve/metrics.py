"""
What the workers count, in memory that all of them share.

A counter of prometheus-client takes a lock and looks its labels up: ten times as long as a small policy computes. Here
a request adds to five numbers in a row that its worker alone writes to. Whichever worker is asked for `/metrics` adds
the rows up (exposition.py), so there is one truth however many workers there are; and the memory is the master's, so
that what a worker has counted outlives it.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Final

DURATIONS: Final = tuple(digit * 10**power for power in range(4, 10) for digit in (1, 2, 5))[2:]
"""The upper bounds of the buckets of a histogram, in nanoseconds: 50 microseconds to 5 seconds."""
BATCHES: Final = tuple(2**power for power in range(13))
"""The same, in observations that were computed together."""

ENDPOINTS: Final = ("predict", "infer")
"""What requests ask of a model; all others are counted together."""

# A row has cells of eight bytes: what a worker has one of, the requests that ask no model, and each model. Requests of
# one kind have a cell for each status, the buckets of their durations and the sum of these; a model has the requests
# for its endpoints, the buckets of its batches and the sums below.
PID, BEATS, BEGUN, WAITING, REPLACED, HUNG, OTHER = range(7)
STATUSES: Final = 600
ELAPSED: Final = STATUSES + len(DURATIONS) + 1
REQUESTS: Final = ELAPSED + 1
BATCH: Final = len(ENDPOINTS) * REQUESTS
MORE: Final = BATCH + len(BATCHES) + 1
"""The observations of all batches of more than one."""
RELOADED: Final = MORE + 1
FAILED: Final = RELOADED + 1
MODEL: Final = FAILED + 1
LINE: Final = 8
"""Cells in a line of the cache: rows of two workers share none."""


class Table:
    """
    A row for the master, which is the first, and one for each worker. Made before workers are forked.

    Args:
        models: how many there are.
        workers: how many there are at a time.
    """

    def __init__(self, models: int, workers: int) -> None:
        self.models = range(OTHER + REQUESTS, OTHER + REQUESTS + MODEL * models, MODEL)
        """Where each model begins in a row."""
        self._width = -(-(self.models.start + MODEL * models) // LINE) * LINE
        self._cells = memoryview(mmap.mmap(-1, 8 * self._width * (workers + 1))).cast("Q")

    def requests(self, model: int, endpoint: str) -> int:
        """
        Where requests for an endpoint of a model, the first one is 0, are counted: what `Row.answer` takes.
        """
        return self.models[model] + ENDPOINTS.index(endpoint) * REQUESTS

    def row(self, worker: int) -> "Row":
        """
        What one worker writes to: they count from 1, the master is 0.
        """
        return Row(self._cells[self._width * worker :][: self._width], self)

    @property
    def pids(self) -> list[int]:
        """
        The process of each worker, the first one first; 0 for one that has not begun.
        """
        return self._cells[:: self._width].tolist()[1:]

    @property
    def beats(self) -> list[int]:
        """
        How many signs of life the processes of each worker have given, the first one first.
        """
        return self._cells[BEATS :: self._width].tolist()[1:]

    def totals(self) -> list[int]:
        """
        The sum of all rows, cell by cell.
        """
        width = self._width
        rows = [self._cells[begin : begin + width].tolist() for begin in range(0, len(self._cells), width)]
        return [sum(column) for column in zip(*rows, strict=True)]

    def answered(self, cells: Sequence[int]) -> int:
        """
        How many requests the cells of a row, or the sum of rows, say were answered.
        """
        begins = [OTHER, *(begin + REQUESTS * kind for begin in self.models for kind in range(len(ENDPOINTS)))]
        return sum(sum(cells[begin : begin + STATUSES]) for begin in begins)


class Row:
    """
    What one process counts: for one thread alone, that of its event loop.
    """

    def __init__(self, cells: "memoryview[int]", table: Table) -> None:
        self._cells, self.table = cells, table

    def attach(self) -> None:
        """
        Makes the row this process's. Requests that its predecessor did not live to answer are no longer in flight.
        """
        cells = self._cells
        cells[PID], cells[WAITING], cells[BEGUN] = os.getpid(), 0, self.table.answered(cells.tolist())

    def beat(self) -> None:
        """
        The worker is alive.
        """
        self._cells[BEATS] += 1

    def begin(self) -> int:
        """
        A request is in flight from now on, until `answer`, which takes the time that this returns.
        """
        self._cells[BEGUN] += 1
        return perf_counter_ns()

    def answer(self, requests: int, status: int, begun: int) -> None:
        """
        A request (`Table.requests`, or OTHER) is answered, or will never be: its status, at most 599, says so.
        """
        cells = self._cells
        elapsed = perf_counter_ns() - begun
        cells[requests + status] += 1
        cells[requests + STATUSES + bisect_left(DURATIONS, elapsed)] += 1
        cells[requests + ELAPSED] += elapsed

    def predict(self, model: int, observations: int) -> None:
        """
        A model (of `Table.models`) has computed so many observations at once.
        """
        if observations == 1:  # the usual case: what is in the first bucket needs no sum
            self._cells[model + BATCH] += 1
            return
        self._cells[model + BATCH + bisect_left(BATCHES, observations)] += 1
        self._cells[model + MORE] += observations

    def wait(self, change: int) -> None:
        """
        So many requests more, or fewer, wait for a batch or for their turn.
        """
        self._cells[WAITING] += change

    def reload(self, model: int, loaded: bool) -> None:
        """
        The folder of a model (of `Table.models`) had changed, and was loaded again, or could not be.
        """
        self._cells[model + (RELOADED if loaded else FAILED)] += 1

    def replace(self) -> None:
        """
        A worker that died has a successor; for the master's row.
        """
        self._cells[REPLACED] += 1

    def hang(self) -> None:
        """
        A worker was silent for too long, and is killed; for the master's row.
        """
        self._cells[HUNG] += 1
