"""
The observation statistics of VecNormalize, out of the pickle that `VecNormalize.save()` writes.

The layout and the formula are those of stable_baselines3/common/vec_env/vec_normalize.py. The agent's own file has no
statistics: it was trained on observations that had already been normalised.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiler.errors import BuildError, CheckpointError, quote
from compiler.frontends.sb3.spaces import space_from
from compiler.ir import OBSERVATION, Box, Dict, Model, Space
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.readers.files import read_file
from compiler.readers.numpy_values import as_array, as_scalar
from compiler.readers.pickle_machine import Call, Symbol, decode, describe, mapping

VEC_NORMALIZE = "stable_baselines3.common.vec_env.vec_normalize.VecNormalize"
RUNNING_MEAN_STD = "stable_baselines3.common.running_mean_std.RunningMeanStd"
PICKLE = b"\x80"
EXPECTED = "expected the pickle that Stable-Baselines3's VecNormalize.save() writes"
PREFIX = "vecnormalize"
"""How the names of the statistics' tensors begin."""

STATISTICS_UNKNOWN = (
    "the agent was trained with VecNormalize, whose statistics are not in this file: unless it normalised rewards "
    "only, the caller must normalise observations as in training; or pass --vecnormalize FILE to compile them in"
)
"""What has to be assumed of an agent that was trained with VecNormalize, where its file is not given."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """
    How one part of the observation is normalised: clip((x - mean) / deviation, -clip, clip), in float64.
    """

    mean: Array
    """float64, of the part's shape."""
    deviation: Array
    """float64, of the part's shape: sqrt(variance + epsilon); finite and above 0."""
    clip: float
    """Above 0, perhaps infinity."""

    def channels_first(self) -> "Statistics":
        """
        The statistics of images (height, width, channels) for images (channels, height, width).
        """
        mean, deviation = (np.ascontiguousarray(values.transpose(2, 0, 1)) for values in (self.mean, self.deviation))
        return Statistics(mean, deviation, self.clip)


@dataclass(frozen=True, eq=False)
class VecNormalize:
    """
    What one file says of observations.
    """

    file: str
    sha256: str
    """Hexadecimal digest of the whole file."""
    space: Space
    """The observations of the environment that was wrapped."""
    statistics: Mapping[str, Statistics]
    """By the key of the part, those parts that are normalised; by the empty text where observations have no parts."""

    def inputs(self, space: Space, where: str) -> dict[str, Statistics]:
        """
        The statistics by the names of the model's inputs.

        SB3 wraps an environment of images around whose observations VecNormalize is wrapped already into one that has
        the channels first; as each value is normalised by itself, the statistics can be transposed instead.

        Args:
            space: the policy's observation space.
            where: the policy's file, for the message.

        Raises:
            BuildError: the policy sees other observations.
        """
        own, theirs = _parts(self.space), _parts(space)
        fitted = {key: _fit(self.statistics.get(key), own[key], theirs[key]) for key in own if key in theirs}
        if own.keys() != theirs.keys() or None in fitted.values():
            raise BuildError(
                self.file,
                f"was made for other observations than the agent in {quote(where, 200)} sees: for {_show(own)}, "
                f"not for {_show(theirs)}; name the file that was saved with this agent",
            )
        return {
            f"{OBSERVATION}.{key}" if isinstance(space, Dict) else OBSERVATION: fit
            for key, fit in fitted.items()
            if isinstance(fit, Statistics)
        }


def read_vecnormalize(path: Path) -> VecNormalize:
    """
    Reads a file of VecNormalize without executing it.

    Raises:
        CheckpointError: it is something else, is damaged, or has statistics that do not fit its observation space.
        UnsupportedError: its observation space is of a kind that is not known.
    """
    return vecnormalize_from(read_file(path), str(path))


def vecnormalize_from(data: bytes | memoryview, where: str) -> VecNormalize:
    """
    As `read_vecnormalize`, of bytes that were read already.
    """
    if bytes(data[:1]) != PICKLE:
        raise CheckpointError(where, f"is not a pickle; {EXPECTED}")
    attributes = _attributes(decode(data, where), VEC_NORMALIZE, where)
    space = space_from(_required(attributes, "observation_space", where), f"{where}: observation_space")
    # Where only rewards are normalised, obs_rms is missing or stale.
    statistics = _statistics(attributes, space, where) if _flag(attributes, "norm_obs", where) else {}
    return VecNormalize(where, hashlib.sha256(data).hexdigest(), space, statistics)


def check_model(model: Model, options: BuildOptions, where: str) -> None:
    """
    Refuses statistics for what is a model already, unless they are those that it was made with.

    Args:
        model: of a model file, or in memory.
        options: those of the build.
        where: the model's file, for the message.

    Raises:
        BuildError: the model was made with other statistics, or with none.
        CheckpointError: the file of the statistics can't be read.
    """
    if options.vecnormalize is None:
        return
    given = hashlib.sha256(read_file(Path(options.vecnormalize))).hexdigest()
    if given != model.origin.vecnormalize:
        found = "with other statistics" if model.origin.vecnormalize else "without any"
        raise BuildError(where, f"is a model that was made {found}; pass --vecnormalize with the checkpoint")


def _attributes(value: object, kind: str, where: str) -> Mapping[object, object]:
    """
    The `__dict__` of a pickled object of a class of SB3.
    """
    function = value.function if isinstance(value, Call) else None
    if not isinstance(value, Call) or not isinstance(function, Symbol) or function.path != kind:
        raise CheckpointError(where, f"holds {describe(value)}; {EXPECTED}, with an object of {kind}")
    return mapping(value.state, where)


def _required(attributes: Mapping[object, object], name: str, where: str) -> object:
    if name not in attributes:
        raise CheckpointError(where, f"has no {name}; {EXPECTED}")
    return attributes[name]


def _flag(attributes: Mapping[object, object], name: str, where: str) -> bool:
    value = as_scalar(_required(attributes, name, where), f"{where}: {name}")
    if not isinstance(value, bool):
        raise CheckpointError(where, f"{name} must be true or false, found {quote(value)}")
    return value


def _number(attributes: Mapping[object, object], name: str, where: str) -> float:
    value = as_scalar(_required(attributes, name, where), f"{where}: {name}")
    try:
        return float(value)
    except OverflowError:
        raise CheckpointError(where, f"{name} is beyond all floating numbers") from None


def _statistics(attributes: Mapping[object, object], space: Space, where: str) -> dict[str, Statistics]:
    epsilon, clip = (_number(attributes, name, where) for name in ("epsilon", "clip_obs"))
    if not clip > 0:
        raise CheckpointError(where, f"clip_obs must be above 0, found {clip}")
    running = _required(attributes, "obs_rms", where)
    parts = _parts(space)
    by_key: Mapping[object, object] = {"": running}
    if isinstance(space, Dict):
        by_key = mapping(running, f"{where}: obs_rms")
    found = {}
    for key in _normalised_keys(attributes, space, where):
        here = f"{where}: obs_rms" + (f" of {quote(key)}" if key else "")
        part = parts.get(key)
        if not isinstance(part, Box):
            seen = "has no such part" if part is None else f"has a {type(part).__name__} there"
            raise CheckpointError(here, f"the observation space {seen}; VecNormalize normalises Box observations")
        if key not in by_key:
            raise CheckpointError(here, "there are no statistics for it")
        found[key] = _running(by_key[key], part, epsilon, clip, here)
    return found


def _normalised_keys(attributes: Mapping[object, object], space: Space, where: str) -> list[str]:
    """
    The parts that are normalised; all of them in files from before SB3 1.6, which have no norm_obs_keys.
    """
    if not isinstance(space, Dict):
        return [""]
    keys = attributes.get("norm_obs_keys", [key for key, _ in space.spaces])
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError(where, f"norm_obs_keys must be a list of texts, found {describe(keys)}")
    return list(dict.fromkeys(keys))


def _running(value: object, space: Box, epsilon: float, clip: float, where: str) -> Statistics:
    """
    The statistics in a RunningMeanStd, which must fit the part that they are of.
    """
    attributes = _attributes(value, RUNNING_MEAN_STD, where)
    mean, variance = (as_array(_required(attributes, name, where), f"{where}: {name}") for name in ("mean", "var"))
    for name, array in (("mean", mean), ("var", variance)):
        if array.dtype != np.float64 or array.shape != space.shape:
            wanted = f"float64 of shape {space.shape}, as the observations are"
            raise CheckpointError(f"{where}: {name}", f"must be {wanted}; found {array.dtype} of shape {array.shape}")
    if not np.isfinite(mean).all():
        raise CheckpointError(f"{where}: mean", "holds NaN or infinity")
    if not (np.isfinite(variance) & (variance >= 0)).all():
        raise CheckpointError(f"{where}: var", "holds NaN, infinity, or a negative variance")
    with np.errstate(all="ignore"):
        deviation = np.sqrt(variance + epsilon)
    if not (np.isfinite(deviation) & (deviation > 0)).all():
        raise CheckpointError(where, f"some values would be divided by 0 or NaN: epsilon is {epsilon}")
    return Statistics(mean, deviation, clip)


def _parts(space: Space) -> dict[str, Space]:
    return dict(space.spaces) if isinstance(space, Dict) else {"": space}


def _fit(statistics: Statistics | None, own: Space, theirs: Space) -> Statistics | bool | None:
    """
    The statistics as the policy sees the part; True for a part that is not normalised, None if it is another part.
    """
    if type(own) is not type(theirs):
        return None
    shape, seen = (getattr(space, "shape", None) for space in (own, theirs))
    if shape == seen:
        return statistics or True
    if isinstance(theirs, Box) and theirs.is_image and shape is not None and len(shape) == 3:
        height, width, channels = shape
        if seen == (channels, height, width):
            return statistics.channels_first() if statistics else True
    return None


def _show(parts: Mapping[str, Space]) -> str:
    """
    The parts with their shapes, as a message shows them.
    """
    shown = [f"{quote(key)} " * bool(key) + _show_space(space) for key, space in list(parts.items())[:10]]
    return ", ".join(shown) + (f" and {len(parts) - 10} more" if len(parts) > 10 else "")


def _show_space(space: Space) -> str:
    shape = getattr(space, "shape", None)
    return type(space).__name__ + ("" if shape is None else f" of shape {shape}")
