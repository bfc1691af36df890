"""
What is computed besides actions and scores: std. Imported when first asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import entry
from .kernels import ROOM, WEIGHTS, infer_extras
from .lowering import BUFFER, NUMBER
from .simd import address, align, pointer

EXTRAS: tuple[tuple[str, int], ...] = (("std", 1),)
"""What is computed, and how many values it has."""


@entry(NUMBER, BUFFER, NUMBER, BUFFER, BUFFER)
def fill(
    rows: int,
    observation: NDArray[np.float32],
    weights: int,
    extras: NDArray[np.float32],
    room: NDArray[np.float32],
) -> int:
    """
    Computes everything of EXTRAS for all observations, one after the other; 0, or why they are refused.
    """
    arrays = (address(observation),)
    return infer_extras(rows, arrays, pointer(weights, WEIGHTS), address(extras), align(address(room)))


def extras(arrays: tuple[NDArray[Any], ...], weights: int) -> tuple[int, dict[str, NDArray[np.float32]]]:
    """
    Everything of EXTRAS for rows of inputs, each of shape (rows, n), and 0; or why they are refused.
    """
    rows = len(arrays[0])
    filled = np.empty((rows, 1), np.float32)
    arguments: list[Any] = [rows, *(array.reshape(-1) for array in arrays), weights, filled.reshape(-1)]
    status = fill(*[*arguments, np.empty(ROOM, np.float32)])
    named, first = {}, 0
    for name, count in EXTRAS:
        named[name] = filled[:, first : first + count]
        first += count
    return status, named
