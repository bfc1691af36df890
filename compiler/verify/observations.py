"""
What a predictor is asked: random observations at many scales, and the special ones that break kernels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import Box, Space
from compiler.ops import Array
from compiler.tolerances import WIDEST_RANGE

MOST_ALONE = 64
"""Observations in which one element alone is not zero: for larger ones, this many elements are drawn."""

HUGE_ROWS = 16


@dataclass(frozen=True)
class Observations:
    """
    A batch of observations, with a word for each that says how it was made.
    """

    values: Array
    """(n, *shape of the space), in the dtype of the space."""
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    def only(self, rows: Array) -> "Observations":
        """
        Some of them: those with these numbers, or those for which a mask is true.
        """
        numbers = np.arange(len(self))[rows]
        return Observations(self.values[numbers], tuple(self.kinds[number] for number in numbers))

    @classmethod
    def join(cls, *parts: "Observations") -> "Observations":
        """
        One batch after the other.
        """
        kinds = tuple(kind for part in parts for kind in part.kinds)
        return cls(np.concatenate([part.values for part in parts]), kinds)


def finite_observations(space: Space, count: int, seed: int) -> Observations:
    """
    The observations that a predictor must answer.

    Args:
        space: the observation space.
        count: how many random ones, besides the special ones.
        seed: of the random ones.

    Raises:
        UnsupportedError: for a space that is not a Box.
    """
    box = _box(space)
    rng = np.random.default_rng(seed)
    groups = _whole_numbers(box, count, rng) if box.dtype.numpy.kind in "biu" else _real_numbers(box, count, rng)
    return _collect(box, groups)


def nonfinite_observations(space: Space, seed: int) -> Observations | None:
    """
    Observations with NaN or infinity, in one element and in all; None for a space of whole numbers, which has none.
    """
    box = _box(space)
    if box.dtype.numpy.kind != "f":
        return None
    rng = np.random.default_rng(seed)
    return _collect(box, _nonfinite(box, rng))


def _box(space: Space) -> Box:
    if not isinstance(space, Box):
        raise UnsupportedError("verification", f"observations of {type(space).__name__} spaces can't be made yet")
    return space


def _collect(box: Box, groups: Iterator[tuple[str, Array]]) -> Observations:
    named = [(kind, np.asarray(values)) for kind, values in groups]
    kinds = tuple(kind for kind, values in named for _ in range(len(values)))
    with np.errstate(all="ignore"):
        flat = np.concatenate([values.astype(box.dtype.numpy) for _, values in named])
    return Observations(np.ascontiguousarray(flat.reshape(-1, *box.shape)), kinds)


def _whole_numbers(box: Box, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    low, high = (bound.reshape(-1).astype(np.float64) for bound in (box.low, box.high))
    low, high = np.maximum(low, -WIDEST_RANGE), np.minimum(high, WIDEST_RANGE)
    yield "random within the bounds", np.floor(rng.uniform(low, high + 1, size=(count, low.size))).clip(low, high)
    yield "the lower bounds", low[None]
    yield "the upper bounds", high[None]
    yield "zero", np.zeros((1, low.size)).clip(low, high)


def _real_numbers(box: Box, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    size = box.low.size
    low, high = (bound.reshape(-1).astype(np.float64) for bound in (box.low, box.high))
    bounded = (np.abs(low) < WIDEST_RANGE) & (np.abs(high) < WIDEST_RANGE)
    low, high = np.where(bounded, low, -10.0), np.where(bounded, high, 10.0)
    within = count // 2
    yield "random within the bounds", rng.uniform(low, high, size=(within, size))
    scales = 10.0 ** rng.uniform(-3, 3, size=(count - within, 1))
    yield "random at any scale", rng.standard_normal((count - within, size)) * scales
    yield "the lower bounds", low[None]
    yield "the upper bounds", high[None]
    zeros = np.zeros((1, size))
    yield "zero", zeros
    yield "negative zero", -zeros
    yield "denormal", np.stack([np.full(size, value) for value in (1e-45, -1e-45, 1e-41, 1e-38)])
    chosen = rng.permutation(size)[:MOST_ALONE]
    for value in (1.0, -1.0, 1e4):
        alone = np.zeros((len(chosen), size))
        alone[np.arange(len(chosen)), chosen] = value
        yield f"one element {value:g}, the others 0", alone
    for scale in (1e6, 1e15, 1e30):
        yield f"random, around {scale:g}", rng.standard_normal((HUGE_ROWS, size)) * scale
    largest = np.full(size, float(np.finfo(np.float32).max))
    yield "float32's largest", np.stack([largest, -largest, np.where(np.arange(size) % 2, largest, -largest)])


def _nonfinite(box: Box, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    size = box.low.size
    for word, value in (("NaN", np.nan), ("infinity", np.inf), ("negative infinity", -np.inf)):
        chosen = rng.permutation(size)[:MOST_ALONE]
        alone = rng.standard_normal((len(chosen), size))
        alone[np.arange(len(chosen)), chosen] = value
        yield f"{word} in one element", alone
        yield f"{word} in all elements", np.full((1, size), value)
