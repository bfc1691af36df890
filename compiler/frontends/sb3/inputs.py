"""
How a policy is given one part of its observation.
"""

import math

from compiler.ir import Box, Dict, Discrete, DType, MultiBinary, MultiDiscrete, Shape, Space


def input_type(space: Space) -> tuple[DType, Shape]:
    """
    How the caller gives one part of the observation: dtype, and shape without the batch.
    """
    match space:
        case Discrete():
            return DType.INT64, ()
        case MultiDiscrete():
            return DType.INT64, (len(space.nvec),)
        case Box() | MultiBinary():
            return DType.FLOAT32, space.shape
        case Dict():
            raise TypeError("a Dict space is given part by part")


def flat_size(space: Space) -> int:
    """
    The number of features of one part of the observation, flattened.
    """
    match space:
        case Discrete():
            return space.n
        case MultiDiscrete():
            return sum(space.nvec)
        case Box() | MultiBinary():
            return math.prod(space.shape)
        case Dict():
            return sum(flat_size(part) for _, part in space.spaces)
