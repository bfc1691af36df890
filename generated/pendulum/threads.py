"""
Large batches on several threads. Imported, and compiled, when the first such batch comes.
"""

import threading

import numpy as np
from numba import prange
from numpy.typing import NDArray

from . import kernels
from .jit import entry
from .kernels import WEIGHTS, WORKSPACE, infer_rows
from .simd import LANES, address, align, keep, pointer

CHUNK = 880
"""Observations that a thread takes at once: whole blocks, so that no result depends on the number of threads."""

_free = threading.Lock()
"""Held while a batch is under way: Numba's threads can't be shared."""


@entry("int64(float32[::1], intp, float32[::1], float32[::1])", parallel=True)
def predict_chunks(
    rows: NDArray[np.float32],
    weights: int,
    scores: NDArray[np.float32],
    actions: NDArray[np.float32],
) -> int:
    """
    What `kernels.predict_rows` gives, by all threads that Numba has.
    """
    count = rows.size // 3
    chunks = (count + CHUNK - 1) // CHUNK
    status = np.zeros(chunks, np.int64)
    for chunk in prange(chunks):
        room = np.empty(WORKSPACE * LANES + 16, np.float32)
        work = align(address(room))
        first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, count)
        blob, to_scores, to_actions = pointer(weights, WEIGHTS), address(scores), address(actions)
        status[chunk] = infer_rows(first, last, address(rows), blob, scores.size > 0, to_scores, to_actions, work)
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
        return kernels.predict_rows(rows, weights, scores, actions)
    try:
        return predict_chunks(rows, weights, scores, actions)
    finally:
        _free.release()
