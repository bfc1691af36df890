"""
What Python calls: the kernels, on arrays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import entry
from .kernels import (
    WEIGHTS,
    WORKSPACE,
    WRONG_SIZE,
    infer,
    infer_rows,
)
from .lowering import BUFFER, NUMBER
from .simd import (
    address,
    advance,
    align,
    floats,
    load_scalar,
    pointer,
    workspace,
)


@entry(NUMBER, NUMBER, NUMBER, BUFFER, NUMBER, BUFFER, BUFFER, BUFFER)
def predict_rows(
    first: int,
    last: int,
    rows: int,
    observation: NDArray[np.float32],
    weights: int,
    actions: NDArray[np.int64],
    scores: NDArray[np.float32],
    room: NDArray[np.float32],
) -> int:
    """
    Actions, and scores if there is room for them, for observations `first` to `last`; 0, or why they are refused.

    The face has seen to it that every array has as many values as `rows` observations need.
    """
    arrays = (address(observation),)
    results = (address(actions), address(scores))
    blob, work = pointer(weights, WEIGHTS), align(address(room))
    return infer_rows(first, last, rows, arrays, blob, floats(scores) > 0, results, work)


@entry(BUFFER, NUMBER, release_lock=False)
def act_one(
    observation: Any,
    weights: int,
) -> int:
    """
    The action for one observation; below 0, why it is refused.
    """
    if floats(observation) != 4:
        return WRONG_SIZE
    arrays = (address(observation),)
    work = workspace(WORKSPACE)
    status = infer(arrays, pointer(weights, WEIGHTS), work)
    if status != 0:
        return status
    return int(load_scalar(advance(work, 160), 0))
