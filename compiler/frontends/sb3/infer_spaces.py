"""
The spaces of a policy of which only the state dict is there: from shapes and from options.
"""

import math

import numpy as np

from compiler.errors import BuildError, UnsupportedError
from compiler.frontends.sb3.assumptions import Assumptions
from compiler.frontends.sb3.check_options import bound, flag
from compiler.frontends.sb3.describe import MOST_DIMENSIONS
from compiler.frontends.sb3.description import NATURE
from compiler.frontends.sb3.extractors import nature_features
from compiler.ir import Box, Discrete, DType, MultiBinary, MultiDiscrete, Space
from compiler.options import BuildOptions

ATARI = (84, 84)
"""Height and width of the images of SB3's Atari environments."""


def observation_space(
    extractor: str, inputs: int, channels: int, options: BuildOptions, assumptions: Assumptions
) -> Space:
    """
    The observation space: by default a flat Box of float32, or 84x84 images of bytes.

    Args:
        extractor: FlattenExtractor or NatureCNN.
        inputs: how many features the first fully connected layer takes.
        channels: how many channels the first convolution takes, where there is one.
        options: what the user knows of it.
        assumptions: where to record what nobody knows.

    Raises:
        BuildError: an option does not fit the tensors.
        UnsupportedError: it can't be known.
    """
    kind = options.observation_kind or "box"
    if extractor == NATURE:
        if kind != "box":
            raise BuildError("options", f"--observation-kind {kind} contradicts the tensors of a {NATURE}")
        return _image(inputs, channels, options, assumptions)
    if kind == "discrete":
        _check_sizes("--observation-sizes", options.observation_sizes or (inputs,), inputs, 1)
        return Discrete(inputs)
    if kind == "multi_discrete":
        return MultiDiscrete(_sizes("observation_sizes", options.observation_sizes, inputs))
    if kind == "multi_binary":
        return MultiBinary(_shape(inputs, options) or (inputs,))
    return _box(inputs, options, assumptions)


def _sizes(name: str, sizes: tuple[int, ...] | None, total: int) -> tuple[int, ...]:
    if sizes is None:
        raise BuildError("options", f"{flag(name)} is needed: the number of values of each choice, {total} together")
    _check_sizes(flag(name), sizes, total, len(sizes))
    return sizes


def _check_sizes(name: str, sizes: tuple[int, ...], total: int, choices: int) -> None:
    if len(sizes) != choices or min(sizes, default=0) < 1 or sum(sizes) != total:
        raise BuildError("options", f"{name} {sizes} does not fit the tensors, which have {total} values together")


def _shape(inputs: int, options: BuildOptions) -> tuple[int, ...] | None:
    """
    The shape that the user gives, if it has as many elements as the policy has inputs.
    """
    shape = options.observation_shape
    if shape is None:
        return None
    if not shape or len(shape) > MOST_DIMENSIONS or min(shape) < 1 or math.prod(shape) != inputs:
        raise BuildError("options", f"--observation-shape {shape} does not fit the {inputs} inputs of the policy")
    return shape


def _box(inputs: int, options: BuildOptions, assumptions: Assumptions) -> Box:
    given = _shape(inputs, options)
    if given is None:
        what = "the shape of an observation"
        assumptions.add(what, f"a Box({inputs},), without bounds", flag("observation_shape"))
    elif len(given) == 3 and options.observation_dtype is None:
        assumptions.add("whether observations are images", "float32, no images", flag("observation_dtype"))
    return _widest(given or (inputs,), options.observation_dtype or "float32")


def _image(inputs: int, channels: int, options: BuildOptions, assumptions: Assumptions) -> Box:
    shape = options.observation_shape
    if shape is None:
        shape = (channels, *ATARI)
        if nature_features(shape) != inputs:
            text = f"the file does not say the size of its images; pass {flag('observation_shape')}"
            raise UnsupportedError(assumptions.findings.where, text)
        assumptions.add("the size of its images", f"{shape}, that of SB3's Atari", flag("observation_shape"))
    elif len(shape) != 3 or shape[0] != channels or nature_features(shape) != inputs:
        expected = f"({channels}, height, width) with {inputs} features after the convolutions"
        raise BuildError("options", f"--observation-shape {shape} does not fit the policy, which needs {expected}")
    if options.observation_dtype is None:
        assumptions.add("the dtype of its images", "uint8, from 0 to 255", flag("observation_dtype"))
    return _widest(shape, options.observation_dtype or "uint8")


def _widest(shape: tuple[int, ...], name: str) -> Box:
    """
    The Box of a shape and a dtype with the widest bounds.
    """
    dtype = _dtype(name)
    low, high = _limits(dtype)
    return Box(dtype, np.full(shape, low, dtype.numpy), np.full(shape, high, dtype.numpy))


def _dtype(name: str) -> DType:
    try:
        return DType(name)
    except ValueError:
        raise BuildError("options", f"--observation-dtype must be one of {', '.join(DType)}; found {name!a}") from None


def _limits(dtype: DType) -> tuple[float, float]:
    """
    The widest bounds of a dtype.
    """
    kind = dtype.numpy.kind
    if kind == "f":
        return -np.inf, np.inf
    if kind == "b":
        return 0, 1
    limits = np.iinfo(dtype.value)
    return int(limits.min), int(limits.max)


def choices(kind: type, outputs: int, options: BuildOptions, called: str, *, masked: bool) -> Space:
    """
    The action space of a policy that chooses.

    Args:
        kind: Discrete, MultiDiscrete or MultiBinary.
        outputs: how many values the last layer gives.
        options: what the user knows of it.
        called: the policy, for messages.
        masked: whether it is one of MaskablePPO, for which a bit is a choice of two.

    Raises:
        BuildError: an option does not fit.
    """
    given = [name for name in ("action_low", "action_high") if getattr(options, name) is not None]
    if given:
        raise BuildError("options", f"{' and '.join(map(flag, given))} given for {called}")
    if kind is MultiDiscrete:
        return MultiDiscrete(_sizes("action_sizes", options.action_sizes, outputs))
    if kind is MultiBinary:
        if masked and outputs % 2:
            raise BuildError("options", f"--action-kind multi_binary: a masked bit has two values; there are {outputs}")
        return MultiBinary((outputs // 2 if masked else outputs,))
    _check_sizes("--action-sizes", options.action_sizes or (outputs,), outputs, 1)
    return Discrete(outputs)


def box(outputs: int, options: BuildOptions, assumptions: Assumptions, *, squashed: bool) -> Box:
    """
    A Box of actions within the bounds that the user gives; without bounds, if it needs none.

    Raises:
        BuildError: the bounds do not fit.
        UnsupportedError: they are needed.
    """
    low, high = options.action_low, options.action_high
    if (low is None) != (high is None):
        raise BuildError("options", "--action-low and --action-high belong together; one of them is missing")
    if low is None or high is None:
        low, high = _unknown_bounds(assumptions, squashed=squashed)
    lower, upper = bound("action_low", low, outputs), bound("action_high", high, outputs)
    if (lower > upper).any():
        raise BuildError("options", "--action-low is above --action-high")
    return Box(DType.FLOAT32, lower.astype(np.float32), upper.astype(np.float32))


def _unknown_bounds(assumptions: Assumptions, *, squashed: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    what, advice = "the bounds of the actions", "--action-low and --action-high"
    if squashed:
        text = f"the file does not say {what}, to which the output of tanh is rescaled; pass {advice}"
        raise UnsupportedError(assumptions.findings.where, text)
    assumptions.add(what, "none: actions are not clipped", advice)
    return (-np.inf,), (np.inf,)
