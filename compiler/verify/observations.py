"""
What the inputs of a predictor may hold: random values at many scales, and the special ones that break kernels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import Box, Discrete, MultiBinary, MultiDiscrete, Space
from compiler.ops import Array
from compiler.tolerances import WIDEST_RANGE

MOST_ALONE = 64
"""Observations in which one element alone is not zero: for larger ones, this many elements are drawn."""
HUGE_ROWS = 16
FEWER = 8
"""By what both are divided for a policy that takes long to compute."""

Group = tuple[str, Array]
"""A word that says how values were made, and the values, the first dimension their number."""


@dataclass(frozen=True)
class Statistics:
    """
    What observations are normalised by, flat.
    """

    mean: Array
    deviation: Array


@dataclass(frozen=True)
class Values:
    """
    Values of one input: some random ones, which any others may accompany, and the special ones.
    """

    random: list[Group]
    special: list[Group]

    @property
    def random_rows(self) -> Array:
        """
        All random values, in one array.
        """
        return np.concatenate([values for _, values in self.random])

    @property
    def random_kinds(self) -> list[str]:
        """
        How each of them was made.
        """
        return [kind for kind, values in self.random for _ in range(len(values))]


def finite_values(
    space: Space, count: int, rng: np.random.Generator, *, few: bool = False, statistics: Statistics | None = None
) -> Values:
    """
    Values of a space that a predictor must answer.

    Args:
        space: any but a Dict, whose parts are asked for one by one.
        count: how many random ones.
        rng: draws them.
        few: whether to do with fewer special ones.
        statistics: for observations that are normalised.

    Raises:
        UnsupportedError: for a Dict.
    """
    divisor = FEWER if few else 1
    match space:
        case Box() if space.dtype.numpy.kind == "f":
            random, special = _real_numbers(space, count, rng, divisor, statistics)
        case Box():
            random, special = _whole_numbers(space, count, rng)
        case Discrete(n=n):
            random, special = _choices((n,), count, rng)
            random, special = ([(kind, values[:, 0]) for kind, values in groups] for groups in (random, special))
            return Values(random, special)
        case MultiDiscrete(nvec=nvec):
            return Values(*_choices(nvec, count, rng))
        case MultiBinary(shape=shape):
            random, special = _bits(int(np.prod(shape)), count, rng, divisor)
            return Values(_of_space(random, shape, np.dtype(np.int8)), _of_space(special, shape, np.dtype(np.int8)))
        case other:
            raise UnsupportedError("verification", f"observations of {type(other).__name__} spaces can't be made")
    dtype = space.dtype.numpy
    return Values(_of_space(random, space.shape, dtype), _of_space(special, space.shape, dtype))


def nonfinite_values(space: Space, rng: np.random.Generator, *, few: bool = False) -> list[Group]:
    """
    Values with NaN or infinity, in one element and in all; none for spaces of whole numbers.
    """
    if not isinstance(space, Box) or space.dtype.numpy.kind != "f":
        return []
    divisor = FEWER if few else 1
    return _of_space(list(_nonfinite(space.low.size, rng, divisor)), space.shape, space.dtype.numpy)


def values_out_of_range(space: Space) -> list[Group]:
    """
    Choices that a space does not have; none for spaces without choices.
    """
    match space:
        case Discrete(n=n):
            return [(f"the choice {value}", np.array([value], np.int64)) for value in (-1, n, 2**40)]
        case MultiDiscrete(nvec=nvec):
            found = []
            for place in {0, len(nvec) - 1}:
                for value in (-1, nvec[place], 2**40):
                    row = np.zeros((1, len(nvec)), np.int64)
                    row[0, place] = value
                    found.append((f"the choice {value} at {place}", row))
            return found
        case _:
            return []


def _of_space(groups: list[Group], shape: tuple[int, ...], dtype: "np.dtype[np.generic]") -> list[Group]:
    """
    Flat values in the shape and dtype of a space; what the dtype can't hold becomes its largest.
    """
    result = []
    for kind, values in groups:
        if dtype.kind == "f":
            most = float(np.finfo(dtype.name).max)
            values = np.where(np.isfinite(values), np.clip(values, -most, most), values)
        result.append((kind, np.ascontiguousarray(values.astype(dtype).reshape(-1, *shape))))
    return result


def _whole_numbers(box: Box, count: int, rng: np.random.Generator) -> tuple[list[Group], list[Group]]:
    low, high = (bound.reshape(-1).astype(np.float64) for bound in (box.low, box.high))
    low, high = np.maximum(low, -WIDEST_RANGE), np.minimum(high, WIDEST_RANGE)
    random = [("random within the bounds", _uniform(rng, low, high, count))]
    special = [
        ("the lower bounds", low[None]),
        ("the upper bounds", high[None]),
        ("zero", np.zeros((1, low.size)).clip(low, high)),
    ]
    return random, special


def _uniform(rng: np.random.Generator, low: Array, high: Array, count: int) -> Array:
    drawn: Array = np.floor(rng.uniform(low, high + 1, size=(count, low.size))).clip(low, high)
    return drawn


def _real_numbers(
    box: Box, count: int, rng: np.random.Generator, divisor: int, statistics: Statistics | None
) -> tuple[list[Group], list[Group]]:
    size = box.low.size
    low, high = (bound.reshape(-1).astype(np.float64) for bound in (box.low, box.high))
    bounded = (np.abs(low) < WIDEST_RANGE) & (np.abs(high) < WIDEST_RANGE)
    low, high = np.where(bounded, low, -10.0), np.where(bounded, high, 10.0)
    within = count // 2
    if statistics is None:
        random = [("random within the bounds", rng.uniform(low, high, size=(within, size)))]
    else:  # mostly within VecNormalize's clipping, which hides all others
        spread = rng.standard_normal((within, size)) * rng.choice([1.0, 10.0], size=(within, 1))
        random = [("random, as its statistics say", statistics.mean + statistics.deviation * spread)]
    scales = 10.0 ** rng.uniform(-3, 3, size=(count - within, 1))
    random.append(("random at any scale", rng.standard_normal((count - within, size)) * scales))
    return random, list(_special_reals(low, high, rng, divisor))


def _special_reals(low: Array, high: Array, rng: np.random.Generator, divisor: int) -> Iterator[Group]:
    size = low.size
    yield "the lower bounds", low[None]
    yield "the upper bounds", high[None]
    zeros = np.zeros((1, size))
    yield "zero", zeros
    yield "negative zero", -zeros
    yield "denormal", np.stack([np.full(size, value) for value in (1e-45, -1e-45, 1e-41, 1e-38)])
    for value in (1.0, -1.0, 1e4):
        yield f"one element {value:g}, the others 0", _alone(size, value, rng, divisor)
    for scale in (1e6, 1e15, 1e30):
        yield f"random, around {scale:g}", rng.standard_normal((HUGE_ROWS // divisor, size)) * scale
    largest = np.full(size, float(np.finfo(np.float32).max))
    yield "float32's largest", np.stack([largest, -largest, np.where(np.arange(size) % 2, largest, -largest)])


def _alone(size: int, value: float, rng: np.random.Generator, divisor: int) -> Array:
    chosen = rng.permutation(size)[: MOST_ALONE // divisor]
    alone = np.zeros((len(chosen), size))
    alone[np.arange(len(chosen)), chosen] = value
    return alone


def _nonfinite(size: int, rng: np.random.Generator, divisor: int) -> Iterator[Group]:
    for word, value in (("NaN", np.nan), ("infinity", np.inf), ("negative infinity", -np.inf)):
        chosen = rng.permutation(size)[: MOST_ALONE // divisor]
        alone = rng.standard_normal((len(chosen), size))
        alone[np.arange(len(chosen)), chosen] = value
        yield f"{word} in one element", alone
        yield f"{word} in all elements", np.full((1, size), value)


def _choices(sizes: tuple[int, ...], count: int, rng: np.random.Generator) -> tuple[list[Group], list[Group]]:
    most = np.array(sizes) - 1
    random = [("random choices", rng.integers(0, most + 1, size=(count, len(sizes))))]
    special = [("the first choices", np.zeros((1, len(sizes)), np.int64)), ("the last choices", most[None])]
    # Every choice of the largest set, up to a bound; the others go round.
    each = np.arange(min(int(most.max()) + 1, MOST_ALONE))
    special.append(("each choice in turn", each[:, None] % (most + 1)))
    return random, special


def _bits(size: int, count: int, rng: np.random.Generator, divisor: int) -> tuple[list[Group], list[Group]]:
    special = [
        ("no bit set", np.zeros((1, size))),
        ("all bits set", np.ones((1, size))),
        ("one bit set", _alone(size, 1, rng, divisor)),
    ]
    return [("random bits", rng.integers(0, 2, size=(count, size)))], special
