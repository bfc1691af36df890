"""
Makes the agents of the golden tests' recipes as files: `python -m tests.golden.make_zoo FOLDER`, then `nox -s zoo`.

Each is trained a few steps where that is quick, so that its file holds what files of trained agents hold, and then
randomised: weights, biases and statistics all count. Some are trained with VecNormalize, which is saved beside them.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiBinary
from sb3_contrib import ARS, MaskablePPO, RecurrentPPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.golden.agents import LARGE, SpacesEnv, make, randomise
from tests.golden.recipes import ACTIVATIONS, RECIPES, Recipe

STEPS = 16
NORMALISED: dict[str, dict[str, Any]] = {
    "ppo_default": {},
    "ppo_box": {"clip_obs": 2.5},
    "ppo_float64_bounds": {"epsilon": 0.1},
    "a2c_box": {"norm_obs": False},
    "dqn_leaky": {"clip_obs": 1e3},
    "sac_float64": {},
    "tqc_default": {},
    "td3_default": {},
    "crossq_default": {},
    "qrdqn_prelu": {},
    "ars_linear_box": {},
    "maskable_several": {},
    "recurrent_two_layers": {},
    "recurrent_discrete": {"clip_obs": 1.0},
    "sac_dict": {},
    "ppo_dict": {"norm_obs_keys": ["vector", "map"]},
    "tqc_dict": {"norm_obs_keys": ["goal"]},
}
"""The arguments of VecNormalize, by the recipe; of the others, observations are not normalised."""


def chosen() -> list[Recipe]:
    """
    Every recipe, but of those that differ by their activation alone only every fifth.
    """
    alike = {f"dqn_{name}" for name in list(ACTIVATIONS)[1:] if list(ACTIVATIONS).index(name) % 5}
    return [recipe for name, recipe in RECIPES.items() if name not in alike]


def save(recipe: Recipe, folder: Path) -> Path:
    """
    Makes one agent and saves it, in a folder named after its algorithm.
    """
    agent = make(recipe.name)
    environment: Any = DummyVecEnv([lambda: SpacesEnv(recipe.observation_space, recipe.action_space)])
    path = folder / recipe.algorithm.__name__.lower() / f"{recipe.name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    if recipe.name in NORMALISED:
        environment = VecNormalize(environment, **NORMALISED[recipe.name])
        environment.reset()
    if not recipe.infinite:
        agent.set_env(environment)
        train(agent, recipe)
    randomise(agent.policy, sum(map(ord, recipe.name)))
    if recipe.name in NORMALISED:
        randomise_statistics(environment, np.random.default_rng(sum(map(ord, recipe.name))))
        environment.save(str(path.with_suffix(".vecnormalize.pkl")))
    agent.save(path)
    return path


def train(agent: Any, recipe: Recipe) -> None:
    """
    A few steps, unless they would take long: images, and ARS, which waits for episodes to end.

    Of bits drawn by a recurrent policy SB3 can't compute the probability.
    """
    if isinstance(agent, RecurrentPPO) and isinstance(recipe.action_space, MultiBinary):
        return
    if isinstance(agent, ARS) or elements(recipe.observation_space) >= LARGE:
        return
    if hasattr(agent, "learning_starts"):
        agent.learning_starts, agent.batch_size = STEPS // 2, 4
    masks = {"use_masking": False} if isinstance(agent, MaskablePPO) else {}
    agent.learn(STEPS, **masks)


def elements(space: Any) -> int:
    """
    The number of values in the largest part of an observation.
    """
    if isinstance(space, Dict):
        return max(map(elements, space.spaces.values()))
    return int(np.prod(space.shape)) if isinstance(space, Box) else 1


def randomise_statistics(normaliser: Any, rng: np.random.Generator) -> None:
    """
    Gives VecNormalize means and variances that are far from 0 and 1.
    """
    if not normaliser.norm_obs:
        return
    statistics = normaliser.obs_rms.values() if isinstance(normaliser.obs_rms, dict) else [normaliser.obs_rms]
    for running in statistics:
        running.mean = rng.normal(size=running.mean.shape) * 10.0 ** rng.uniform(-1, 2, running.mean.shape)
        running.var = 10.0 ** rng.uniform(-3, 3, running.var.shape)


def main() -> int:
    """
    The command line.
    """
    parser = argparse.ArgumentParser(description="Make the agents that `nox -s zoo` is tried with.")
    parser.add_argument("folder", type=Path, help="where to put them; made where needed")
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")  # of environments that are good for nothing
    paths = [save(recipe, folder) for recipe in chosen()]
    statistics = sum(path.with_suffix(".vecnormalize.pkl").exists() for path in paths)
    print(f"{len(paths)} agents, {statistics} of them with VecNormalize, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
