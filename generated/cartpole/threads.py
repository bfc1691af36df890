"""
Large batches on several threads. Imported, and compiled, when the first such batch comes.
"""

import threading
from typing import Any

import numpy as np
from numba import prange

from . import entries
from .jit import entry
from .kernels import ROOM, WEIGHTS, infer_rows
from .lowering import NUMBER
from .simd import address, align, keep, pointer

CHUNK = 224
"""Observations that a thread takes at once: whole blocks, so that no result depends on the number of threads."""

_free = threading.Lock()
"""Held while a batch is under way: Numba's threads can't be shared."""


@entry(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, parallel=True)
def predict_chunks(
    rows: int,
    observation: int,
    weights: int,
    scored: int,
    actions: int,
    scores: int,
) -> int:
    """
    What `entries.predict_rows` gives, by all threads that Numba has; of all arrays it takes the addresses.
    """
    chunks = (rows + CHUNK - 1) // CHUNK
    status = np.zeros(chunks, np.int64)
    for chunk in prange(chunks):
        room = np.empty(ROOM, np.float32)
        work = align(address(room))
        first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, rows)
        arrays = (pointer(observation, rows * 4),)
        results = (pointer(actions, rows * 2), pointer(scores, rows * 2 * scored))
        blob = pointer(weights, WEIGHTS)
        status[chunk] = infer_rows(first, last, rows, arrays, blob, scored != 0, results, work)
        keep(room)
    return int(status.min())


def predict_rows(*arguments: Any) -> int:
    """
    The same as `entries.predict_rows` without `room`; by one thread while another Python thread has Numba's.
    """
    if not _free.acquire(blocking=False):
        return entries.predict_rows(*[*arguments, np.empty(ROOM, np.float32)])
    try:
        rows, given, weights = arguments[0], arguments[1:2], arguments[2]
        results = arguments[3:]
        scored = int(results[1].size > 0)
        starts = [array.ctypes.data for array in (*given, *results)]
        numbers = [rows, *starts[: len(given)], weights, scored, *starts[len(given) :]]
        return predict_chunks(*numbers)
    finally:
        _free.release()
