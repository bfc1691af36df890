"""
Options that say what a file knows better: accepted where they agree with it, refused where they contradict it.
"""

from collections.abc import Callable, Mapping

import numpy as np

from compiler.errors import BuildError
from compiler.frontends.sb3 import activations
from compiler.frontends.sb3.description import KINDS, Description
from compiler.frontends.sb3.findings import Findings
from compiler.ir import Box, Discrete, MultiBinary, MultiDiscrete, Space
from compiler.ops import Array
from compiler.options import BuildOptions


def flag(name: str) -> str:
    """
    An option as the command line spells it.
    """
    return f"--{name.replace('_', '-')}"


def bound(name: str, values: tuple[float, ...], size: int) -> Array:
    """
    A bound of the action space as an option gives it: one value for all actions, or one for each; (size,) float64.

    Raises:
        BuildError: there are as many values as neither, or one is NaN.
    """
    if len(values) not in (1, size):
        raise BuildError("options", f"{flag(name)} has {len(values)} values; there are {size} actions")
    array = np.broadcast_to(np.array(values, np.float64), (size,))
    if np.isnan(array).any():
        raise BuildError("options", f"{flag(name)} is NaN")
    return array


def check_options(description: Description, options: BuildOptions, findings: Findings) -> None:
    """
    Records every option that contradicts what the file says.
    """
    for name, agrees in AGREEMENTS.items():
        value = getattr(options, name)
        if value is None:
            continue
        agreed = findings.attempt(lambda agrees=agrees, value=value: agrees(description, value))  # type: ignore[misc]
        if agreed is False:
            findings.contradiction(f"{_given(name, value)} contradicts the file, which knows better; leave it out")


def _given(name: str, value: object) -> str:
    """
    An option with its value, as it is written on the command line.
    """
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    return f"{flag(name)} {','.join(map(str, value)) if isinstance(value, tuple) else value}"


def _same_bound(name: str) -> Callable[[Description, tuple[float, ...]], bool]:
    def agrees(description: Description, values: tuple[float, ...]) -> bool:
        space = description.action_space
        if not isinstance(space, Box):
            return False
        own: Array = getattr(space, name)
        given = bound(f"action_{name}", values, own.size)
        return bool((given.astype(own.dtype) == own.reshape(-1)).all())

    return agrees


def _sizes(space: Space) -> tuple[int, ...] | None:
    match space:
        case Discrete():
            return (space.n,)
        case MultiDiscrete():
            return space.nvec
    return None


def _shape(space: Space) -> tuple[int, ...] | None:
    return space.shape if isinstance(space, (Box, MultiBinary)) else None


def _dtype(space: Space) -> str | None:
    return space.dtype if isinstance(space, Box) else None


AGREEMENTS: Mapping[str, Callable[[Description, object], bool]] = {
    "activation": lambda description, value: activations.from_option(str(value)) == description.activation,
    "observation_kind": lambda description, value: value == KINDS[type(description.observation_space)],
    "observation_sizes": lambda description, value: value == _sizes(description.observation_space),
    "observation_shape": lambda description, value: value == _shape(description.observation_space),
    "observation_dtype": lambda description, value: value == _dtype(description.observation_space),
    "action_kind": lambda description, value: value == KINDS[type(description.action_space)],
    "action_sizes": lambda description, value: value == _sizes(description.action_space),
    "action_low": _same_bound("low"),  # type: ignore[dict-item]
    "action_high": _same_bound("high"),  # type: ignore[dict-item]
    "squash_output": lambda description, value: value == description.squash_output,
    "normalize_images": lambda description, value: value == description.normalize_images,
    "clip_mean": lambda description, value: value == description.clip_mean,
    "use_expln": lambda description, value: value == description.use_expln,
    "masked": lambda description, value: value == description.masked,
    "quantiles": lambda description, value: value == description.quantiles,
    "batch_norm_eps": lambda description, value: value == description.norm_epsilon,
    "exploration_rate": lambda description, value: value == description.epsilon,
}
"""For each option, whether a description agrees with its value."""
