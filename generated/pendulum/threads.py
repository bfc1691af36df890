"""
Large batches on several threads. Imported, and compiled, when the first such batch comes.
"""

import threading

import numpy as np
from numba import prange
from numpy.typing import NDArray

from . import kernels
from .jit import entry
from .kernels import ROOM, WEIGHTS, infer_rows
from .lowering import NUMBER
from .simd import address, align, keep, pointer

CHUNK = 880
"""Observations that a thread takes at once: whole blocks, so that no result depends on the number of threads."""

_free = threading.Lock()
"""Held while a batch is under way: Numba's threads can't be shared."""


@entry(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, parallel=True)
def predict_chunks(count: int, rows: int, weights: int, scored: int, scores: int, actions: int) -> int:
    """
    What `kernels.predict_rows` gives, by all threads that Numba has; of all arrays it takes the addresses.
    """
    chunks = (count + CHUNK - 1) // CHUNK
    status = np.zeros(chunks, np.int64)
    for chunk in prange(chunks):
        room = np.empty(ROOM, np.float32)
        work = align(address(room))
        first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, count)
        source, blob = pointer(rows, count * 3), pointer(weights, WEIGHTS)
        to_scores = pointer(scores, count * 1 * scored)
        to_actions = pointer(actions, count * 1)
        status[chunk] = infer_rows(first, last, source, blob, scored != 0, to_scores, to_actions, work)
        keep(room)
    return int(status.min())


def predict_rows(
    rows: NDArray[np.float32],
    weights: int,
    scores: NDArray[np.float32],
    actions: NDArray[np.float32],
) -> int:
    """
    The same, by one thread while another Python thread has Numba's.
    """
    if not _free.acquire(blocking=False):
        return kernels.predict_rows(rows.reshape(-1), weights, scores, actions, np.empty(ROOM, np.float32))
    try:
        begin, to_scores, to_actions = rows.ctypes.data, scores.ctypes.data, actions.ctypes.data
        return predict_chunks(len(rows), begin, weights, int(scores.size > 0), to_scores, to_actions)
    finally:
        _free.release()
