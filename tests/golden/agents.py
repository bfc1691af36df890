"""
Agents made on the spot, by the recipes of the golden tests.

They are not trained but randomised: every weight and, unlike in a fresh network, every bias counts, and means lie
inside, at and beyond the bounds of their actions.
"""

import functools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import nn

from compiler.frontends import read
from compiler.options import BuildOptions
from tests.golden.expected import Observations, scores_of
from tests.golden.recipes import ESSENTIAL, OTHERS, RECIPES, SETTINGS, Recipe

__all__ = ["ESSENTIAL", "OTHERS", "RECIPES", "Recipe", "SpacesEnv", "make", "model_of", "observations_for", "save"]
__all__ += ["flat", "inputs_of", "randomise", "scores_of"]

COUNT = 1000
IMAGES = 64
"""So many observations are enough, and fast enough, where they are images."""
LARGE = 1000
"""Elements of an observation that is an image."""
EXPLORATION_RATE = 0.125


class SpacesEnv(gymnasium.Env):  # type: ignore[misc]
    """
    An environment of which only the spaces matter.
    """

    def __init__(self, observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@functools.cache
def make(name: str) -> Any:
    """
    The agent of a recipe, randomised; equal ones in every process.
    """
    recipe = RECIPES[name]
    agent = recipe.algorithm(
        recipe.kind,
        SpacesEnv(recipe.observation_space, recipe.action_space),
        policy_kwargs=dict(recipe.policy),
        device="cpu",
        seed=1,
        **SETTINGS[recipe.algorithm],
        **recipe.arguments,
    )
    if recipe.infinite:
        space = agent.action_space
        agent.action_space = agent.policy.action_space = Box(-np.inf, np.inf, space.shape, space.dtype)
    if hasattr(agent, "exploration_rate"):
        agent.exploration_rate = EXPLORATION_RATE
    randomise(agent.policy, sum(map(ord, name)))
    return agent


def randomise(policy: nn.Module, seed: int) -> None:
    """
    Gives every parameter and every statistic new values.

    Weights keep the scale of what passes through them, biases are of about 0.5, variances positive.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            random = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1 and not name.endswith("log_std"):
                parameter.copy_(random * 1.5 / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(random * 0.5 + float(name.endswith(".scale")))
        for name, statistic in policy.named_buffers():
            if name.endswith("ra_mean"):
                statistic.copy_(torch.randn(statistic.shape, generator=generator) * 0.5)
            elif name.endswith("ra_var"):
                statistic.copy_(torch.rand(statistic.shape, generator=generator) * 2 + 0.2)


def save(name: str, folder: Path) -> Path:
    """
    The agent of a recipe, as SB3 saves it.
    """
    path = folder / f"{name}.zip"
    make(name).save(path)
    return path


def model_of(path: Path, **options: Any) -> Any:
    """
    What the frontend makes of a checkpoint.
    """
    return read(path, BuildOptions(**options))


def observations_for(space: gymnasium.Space, seed: int = 5) -> Observations:
    """
    `COUNT` observations, `IMAGES` of images, of the space's dtype; a dict of arrays for a Dict space.

    Of a Box: zeros, the bounds, each element alone, and random ones of many scales. Of choices: random ones.
    """
    count = IMAGES if _has_images(space) else COUNT
    if isinstance(space, Dict):
        return {key: _observations(part, count, seed + place) for place, (key, part) in enumerate(space.spaces.items())}
    return _observations(space, count, seed)


def _has_images(space: gymnasium.Space) -> bool:
    if isinstance(space, Dict):
        return any(_has_images(part) for part in space.spaces.values())
    return isinstance(space, Box) and int(np.prod(space.shape)) >= LARGE


def _observations(space: gymnasium.Space, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    match space:
        case Discrete():
            return rng.integers(0, space.n, count)
        case MultiDiscrete():
            return rng.integers(0, space.nvec, (count, len(space.nvec)))
        case MultiBinary():
            return rng.integers(0, 2, (count, *space.shape), np.int8)
    return _boxes(space, count, rng)


def _boxes(space: Box, count: int, rng: np.random.Generator) -> np.ndarray:
    size = int(np.prod(space.shape))
    if space.dtype.kind == "f":
        edges = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 1e-7, 1.0, -1.0, 10.0, -10.0, 1e3, -1e3, 1e5, -1e5]
        values = np.array(edges, np.float32).astype(space.dtype)
        scales = 10.0 ** rng.uniform(-3, 3, (count, 1))
        scales[: count // 2] = 1.0
        random = (rng.standard_normal((count, size)) * scales).astype(space.dtype)
    else:
        low, high = space.low.reshape(-1).astype(np.int64), space.high.reshape(-1).astype(np.int64)
        values = np.array([low.min(), high.max(), 0, 1], space.dtype)
        random = rng.integers(low, high + 1, (count, size)).astype(space.dtype)
    together = np.repeat(values[:, None], size, axis=1)
    alone = np.concatenate([np.eye(min(size, count // 40), size, dtype=space.dtype) * value for value in values])
    special = np.concatenate([together, alone])[: count // 2]
    return np.concatenate([special, random])[:count].reshape(count, *space.shape)


def inputs_of(model: Any, given: Any) -> dict[str, np.ndarray]:
    """
    What a model's inputs and states are for one call: a `Given`, by the names and in the dtypes of the tensors.
    """
    observations = given.observations
    parts = observations.items() if isinstance(observations, dict) else [("", observations)]
    values: dict[str, Any] = {f"observation.{key}" if key else "observation": value for key, value in parts}
    values |= {"action_masks": given.masks, "episode_starts": given.starts}
    if given.state is not None:
        for letter, state in zip("hc", given.state, strict=True):
            values |= {f"{letter}.{layer}": array for layer, array in enumerate(state)}
    names = [*model.inputs, *(state.input for state in model.states)]
    return {name: np.asarray(values[name]).astype(model.tensors[name].dtype.numpy) for name in names}


def flat(agent: Any, observations: Observations) -> np.ndarray:
    """
    What a policy sees of observations, (n, features): the scale of what it computes with.
    """
    policy = agent.policy
    tensors = policy.obs_to_tensor(observations)[0]
    seen = preprocess_obs(tensors, policy.observation_space, normalize_images=policy.normalize_images)
    parts = seen.values() if isinstance(seen, dict) else [seen]
    return np.concatenate([part.reshape(len(part), -1).numpy() for part in parts], axis=1)
