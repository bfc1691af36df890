"""
How cartpole draws actions from what is computed for them.
"""

import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIZES: Final = (2,)
"""How many values each choice has."""

_generator = np.random.default_rng()


def _renew() -> None:
    """
    Gives a process that was forked a generator of its own: with a copy it would repeat what this one draws.
    """
    global _generator
    _generator = np.random.default_rng()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def source_of(generator: object) -> np.random.Generator:
    """
    The caller's generator, or this process's own.

    Raises:
        TypeError: if it is something else, such as a seed.
    """
    if generator is None:
        return _generator
    if not isinstance(generator, np.random.Generator):
        found = type(generator).__name__
        raise TypeError(f"generator: expected a numpy.random.Generator, as default_rng(seed) makes it, found {found}")
    return generator


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """
    How likely each value of each choice is: the softmax of its logits.

    Args:
        logits: shape (n, 2), choice by choice.

    Returns:
        An array of the same shape.
    """
    with np.errstate(all="ignore"):
        table = _by_choice(logits, -np.inf)
        table = np.exp(table - table.max(axis=2, keepdims=True))
        table /= table.sum(axis=2, keepdims=True)
    found: NDArray[np.float64] = table.reshape(logits.shape)
    return found


def draw(chances: NDArray[np.float64], generator: np.random.Generator | None) -> NDArray[np.int64]:
    """
    A value of each choice, for each observation: where a random number meets the sum of the probabilities so far.

    Args:
        chances: shape (n, 2), what `probabilities` returns.
        generator: of random numbers; None is this process's own.

    Returns:
        An array of shape (n, 1). What has the probability 0 is never drawn.
    """
    sums = _by_choice(chances, 0.0).cumsum(axis=2)
    limits = source_of(generator).random((len(sums), len(SIZES), 1)) * sums[:, :, -1:]
    drawn: NDArray[np.int64] = (sums <= limits).sum(axis=2, dtype=np.int64)
    return drawn


def _by_choice(values: NDArray[np.float32] | NDArray[np.float64], missing: float) -> NDArray[np.float64]:
    """
    A table with a row for each choice, for each observation.
    """
    return values.astype(np.float64).reshape(len(values), len(SIZES), SIZES[0])
