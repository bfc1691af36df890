"""
Files of VecNormalize for the tests: wrapped environments that have seen observations, saved by SB3.
"""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

CHOICES = spaces.Discrete(4)
CAMERA = spaces.Box(0, 255, (36, 40, 3), np.uint8)
PARTS = spaces.Dict(
    {
        "camera": CAMERA,
        "counts": spaces.Box(-100, 100, (2, 3), np.int32),
        "speed": spaces.Box(-np.inf, np.inf, (4,), np.float64),
        "switch": spaces.Discrete(3),
    }
)
"""A Dict space of parts that can be normalised, and one that can't."""


class Environment(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """
    An environment of any observations, which it draws from its space.
    """

    def __init__(self, space: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        self.observation_space = space
        self.action_space = actions

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        """
        The first observation.
        """
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """
        The next observation.
        """
        return self.observation_space.sample(), 1.0, False, False, {}


def wrapped(
    space: spaces.Space[Any], actions: spaces.Space[Any] = CHOICES, steps: int = 20, seed: int = 0, **arguments: Any
) -> VecNormalize:
    """
    VecNormalize around an environment with these spaces, after some steps.
    """
    own = copy.deepcopy(space)  # VecNormalize changes a Dict space that has images
    own.seed(seed)
    normalize = VecNormalize(DummyVecEnv([lambda: Environment(own, actions)]), **arguments)
    normalize.reset()
    for _ in range(steps):
        normalize.step(np.zeros((1, *(actions.shape or ())), np.int64))
    return normalize


def normalizing(
    low: int = -3, *shape: int, actions: spaces.Space[Any] = CHOICES, dtype: Any = np.float32, **arguments: Any
) -> VecNormalize:
    """
    VecNormalize around an environment with a Box space of this shape, 3 values if none is given.
    """
    return wrapped(spaces.Box(low, 7, shape or (3,), dtype), actions, **arguments)


def saved(folder: Path, normalize: VecNormalize, name: str = "vecnormalize.pkl") -> Path:
    """
    What VecNormalize.save() writes.
    """
    path = folder / name
    normalize.save(str(path))
    return path


def changed(folder: Path, change: Callable[[dict[str, Any]], object], normalize: VecNormalize | None = None) -> Path:
    """
    A file whose attributes were changed before it was written.
    """
    normalize = normalizing() if normalize is None else normalize
    state = normalize.__getstate__()
    change(state)
    path = folder / "vecnormalize.pkl"
    path.write_bytes(pickle.dumps(_with_state(state)))
    return path


def _with_state(state: dict[str, Any]) -> VecNormalize:
    bare = VecNormalize.__new__(VecNormalize)
    bare.__dict__.update(state, venv=None, class_attributes=None, returns=None)
    return bare


def before_1_7(state: dict[str, Any]) -> None:
    """
    Attributes as SB3 had them before VecNormalize changed the space of images (its issue 1214).
    """
    state["observation_space"] = CAMERA


def running(mean: Any, variance: Any, count: Any = 10.0) -> RunningMeanStd:
    """
    Statistics of any content.
    """
    statistics = RunningMeanStd()
    statistics.mean, statistics.var, statistics.count = mean, variance, count
    return statistics
