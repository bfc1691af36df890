"""
What is computed besides actions and scores: std. Imported when first asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import entry, kernel
from .kernels import (
    ROOM,
    WEIGHTS,
    Pointers,
    actor_log_std,
    actor_log_std_exp,
    at,
    check,
    policy,
)
from .lowering import BUFFER, NUMBER
from .simd import Pointer, address, advance, align, load_scalar, pointer, store_scalar

EXTRAS: tuple[tuple[str, int], ...] = (("std", 1),)
"""What is computed, and how many values it has."""


@kernel
def continue_policy(inputs: Pointers, weights: Pointer, work: Pointer) -> None:
    """
    The layers that neither action nor scores need, for one observation, after all others.
    """
    actor_log_std(advance(work, 48), advance(weights, 1232), advance(weights, 1264), advance(work, 128))
    actor_log_std_exp(advance(work, 128), advance(work, 144))


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
    status = check(0, rows, rows, arrays)
    if status != 0:
        return status
    blob, work, target = pointer(weights, WEIGHTS), align(address(room)), address(extras)
    for row in range(rows):
        inputs = at(row, rows, arrays)
        policy(inputs, blob, work)
        continue_policy(inputs, blob, work)
        source = advance(work, 144)
        for i in range(1):
            store_scalar(target, i, load_scalar(source, i))
        target = advance(target, 1)
    return 0


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
