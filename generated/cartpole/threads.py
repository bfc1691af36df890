"""
Large batches on several threads: each computes some of the observations, as one thread alone would.
"""

import itertools
import os
import queue
import sys
import threading
from typing import Any, Final

import numpy as np

from .entries import predict_rows as predict_part
from .kernels import ROOM
from .simd import LANES

LEAST: Final = 1117
"""Observations that a thread is worth waking for."""

THREADS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""As many as processors that this process may use."""


def predict_rows(rows: int, *arguments: Any) -> int:
    """
    What `entries.predict_rows` gives for all of `rows` observations, of the same arguments without `room`.
    """
    most = 1 if sys.is_finalizing() else THREADS
    count = max(1, min(most, rows // LEAST))
    # The caller begins while others wake. Where a part begins a block does: no answer depends on how many there are.
    before = LEAST // 2
    starts = [before + (rows - before) * part // count for part in range(1, count)]
    bounds = [0, *(start // LANES * LANES for start in starts), rows]
    return _together([(first, last, rows, *arguments) for first, last in itertools.pairwise(bounds)])


def _status(*part: Any) -> int:
    """
    What one thread says of some observations.
    """
    return int(predict_part(*[*part, np.empty(ROOM, np.float32)]))


_queues: dict[int, "queue.SimpleQueue[Any]"] = {}
"""What threads take their work from, by process: a forked one has none of its parent's threads."""


def _together(parts: list[tuple[Any, ...]]) -> int:
    """
    The least status of all parts: the first is the caller's, the others are for other threads.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for part in parts[1:]:
        _work().put((part, answers))
    found = [_status(*parts[0]), *(answers.get() for _ in parts[1:])]
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return int(min(found))


def _work() -> "queue.SimpleQueue[Any]":
    """
    The queue of this process's threads, which stay. An executor takes some 40 microseconds more for the same.
    """
    process = os.getpid()
    if process not in _queues:
        work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for number in range(1, THREADS):
            threading.Thread(target=_compute, args=(work,), name=f"{__package__}-{number}", daemon=True).start()
        if _queues.setdefault(process, work) is not work:  # another caller was faster
            for _ in range(1, THREADS):
                work.put(None)
    return _queues[process]


def _compute(work: "queue.SimpleQueue[Any]") -> None:
    """
    Computes parts, and gives each caller what came of its own.
    """
    while (job := work.get()) is not None:
        part, answers = job
        try:
            answers.put(_status(*part))
        except BaseException as error:
            answers.put(error)
        del job, part, answers  # the caller's arrays
