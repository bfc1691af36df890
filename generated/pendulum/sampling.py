"""
How pendulum draws actions from what is computed for them.
"""

import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bounds: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""The lowest and highest actions in the dtype of their space, flat: what is computed has NumPy's common dtype."""

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


def draw(
    mean: NDArray[np.float32], std: NDArray[np.float32], bounds: Bounds, generator: np.random.Generator | None
) -> NDArray[np.float32]:
    """
    Actions around the mean, squashed and rescaled to the bounds: shape (n, 1).
    """
    noise = source_of(generator).standard_normal(mean.shape, np.float32)
    with np.errstate(all="ignore"):
        return _within_bounds(mean + std * noise, *bounds)


def _within_bounds(actions: NDArray[np.float32], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.float32]:
    """
    What SB3 makes of what is drawn: see BasePolicy.predict and unscale_action.
    """
    result: NDArray[np.float32] = low + 0.5 * (np.tanh(actions) + 1.0) * (high - low)
    return result
