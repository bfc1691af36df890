"""
Agents made on the spot: every family, in the shapes and with the options that a translation can get wrong.

They are not trained but randomised: every weight and, unlike in a fresh network, every bias counts, and means lie
inside, at and beyond the bounds of their actions.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from sb3_contrib import TRPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from torch import nn

from compiler.frontends import read
from compiler.options import BuildOptions

COUNT = 1000
UNEVEN = [3, 65, 17, 300]
FOUR = Box(-np.inf, np.inf, (4,), np.float32)
TWO_SIDED = Box(-2.0, 2.0, (1,), np.float32)


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


@dataclass(frozen=True)
class Recipe:
    """
    How one agent is made.

    Attributes:
        infinite: replaces the action space by one without bounds, which SB3 saves and loads but does not train with.
        arguments: of the algorithm.
    """

    name: str
    algorithm: type
    observation_space: Box = field(default_factory=lambda: FOUR)
    action_space: gymnasium.Space = field(default_factory=lambda: Discrete(3))
    policy: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    infinite: bool = False


def box(low: Any, high: Any, shape: tuple[int, ...] | None = None, dtype: Any = np.float32) -> Box:
    """
    A Box of one bound for all elements of a shape, or of lists of bounds.
    """
    bounds = (low, high) if shape else (np.array(low, dtype), np.array(high, dtype))
    return Box(*bounds, shape, dtype)


def image(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


SPREAD = box([-1.0, 0.0, -300.0], [0.5, 0.001, 100.0])

ESSENTIAL = (
    Recipe("ppo_default", PPO, FOUR, Discrete(2)),
    Recipe("ppo_uneven", PPO, FOUR, Discrete(17), {"net_arch": UNEVEN, "activation_fn": nn.ELU}),
    Recipe("ppo_no_layers", PPO, box(-1, 1, (3, 5)), Discrete(5), {"net_arch": []}),
    Recipe("ppo_box", PPO, FOUR, box(-0.4, 0.4, (6,)), {"net_arch": {"pi": [32, 8], "vf": [7]}}),
    Recipe("ppo_float64_bounds", PPO, box(-1, 1, (2, 3, 4)), box([-1.0, 0.1], [0.3, 2.0], None, np.float64)),
    Recipe("ppo_integer_bounds", PPO, FOUR, box([-3, 0], [5, 1], None, np.int64)),
    Recipe("ppo_image", PPO, image(3, 8, 6), Discrete(4)),
    Recipe("ppo_squashed", PPO, FOUR, SPREAD, {"squash_output": True}, {"use_sde": True}),
    Recipe("a2c_box", A2C, box(-1, 1, (1,)), box(-1, 1, (2, 3))),
    Recipe("trpo_discrete", TRPO, FOUR, Discrete(3), {"activation_fn": nn.SiLU}),
    Recipe("dqn_default", DQN),
    Recipe("dqn_leaky", DQN, FOUR, Discrete(6), {"activation_fn": functools.partial(nn.LeakyReLU, 0.3)}),
    Recipe("sac_default", SAC, FOUR, TWO_SIDED),
    Recipe("sac_clipped_mean", SAC, FOUR, SPREAD, {"net_arch": [16, 16]}, {"use_sde": True}),
    Recipe("sac_float64", SAC, box(-5, 5, (7,), np.float64), box([-1.0, 0.1], [0.3, 2.0], None, np.float64)),
    Recipe("td3_default", TD3, FOUR, SPREAD),
    Recipe("ddpg_default", DDPG, box(-1, 1, (3,)), TWO_SIDED, {"net_arch": [20]}),
)
"""The agents of which predictors are built in every run of the tests."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "celu": functools.partial(nn.CELU, alpha=0.7),
    "dropout": functools.partial(nn.Dropout, p=0.3),
    "gelu": nn.GELU,
    "gelu_tanh": functools.partial(nn.GELU, approximate="tanh"),
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": functools.partial(nn.Hardtanh, -0.5, 2.0),
    "hardtanh_infinite": functools.partial(nn.Hardtanh, -0.5, float("inf")),
    "identity": nn.Identity,
    "log_sigmoid": nn.LogSigmoid,
    "log_softmax": functools.partial(nn.LogSoftmax, dim=-1),
    "mish": nn.Mish,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "softmax": functools.partial(nn.Softmax, dim=1),
    "softmin": functools.partial(nn.Softmin, dim=-1),
    "softplus": functools.partial(nn.Softplus, beta=2, threshold=3),
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
    "threshold": functools.partial(nn.Threshold, 0.1, -2.0),
}

OTHERS = (
    Recipe("ppo_one_choice", PPO, FOUR, Discrete(1)),
    Recipe("ppo_value_alone_has_layers", PPO, FOUR, Discrete(2), {"net_arch": {"pi": [], "vf": [9]}}),
    Recipe("ppo_float64_space", PPO, box(-1e3, 1e3, (4,), np.float64), Discrete(3)),
    Recipe("ppo_integer_space", PPO, box(-50, 50, (4,), np.int64), Discrete(3)),
    Recipe("ppo_bytes", PPO, Box(0, 255, (9,), np.uint8), Discrete(3)),
    Recipe("ppo_almost_image", PPO, Box(0, 254, (3, 8, 6), np.uint8), Discrete(3)),
    Recipe("ppo_raw_image", PPO, image(3, 8, 6), Discrete(4), {"normalize_images": False}),
    Recipe("ppo_channels_last", PPO, image(8, 6, 3), Discrete(4)),
    Recipe("ppo_unshared", PPO, box(-1, 1, (3, 5)), Discrete(3), {"share_features_extractor": False}),
    Recipe("ppo_scalar_action", PPO, FOUR, Box(np.float32(-0.5), np.float32(0.7), (), np.float32)),
    Recipe("ppo_byte_bounds", PPO, FOUR, box([-1, 0], [1, 2], None, np.int8)),
    Recipe("ppo_asymmetric", PPO, FOUR, SPREAD),
    Recipe("ppo_unbounded", PPO, FOUR, box(-1, 1, (3,)), infinite=True),
    Recipe("ppo_sde", PPO, FOUR, SPREAD, {}, {"use_sde": True}),
    Recipe("ppo_sde_narrow", PPO, FOUR, SPREAD, {"full_std": False, "squash_output": True}, {"use_sde": True}),
    Recipe("a2c_discrete", A2C, FOUR, Discrete(2), {"activation_fn": nn.ReLU}),
    Recipe("trpo_box", TRPO, FOUR, SPREAD),
    Recipe("dqn_no_layers", DQN, FOUR, Discrete(3), {"net_arch": []}),
    Recipe("dqn_image", DQN, image(3, 8, 6), Discrete(3), {"activation_fn": nn.Tanh}),
    Recipe("sac_no_layers", SAC, FOUR, SPREAD, {"net_arch": []}),
    Recipe("sac_sde_no_layers", SAC, FOUR, SPREAD, {"net_arch": []}, {"use_sde": True}),
    Recipe("sac_other_clip", SAC, FOUR, SPREAD, {"clip_mean": 0.3, "net_arch": [9]}, {"use_sde": True}),
    Recipe("sac_unclipped", SAC, FOUR, SPREAD, {"clip_mean": 0.0, "net_arch": [9]}, {"use_sde": True}),
    Recipe("sac_matrix", SAC, box(-1, 1, (2, 3, 4)), box(-1, 3, (2, 3)), {"net_arch": {"pi": [11], "qf": [5]}}),
    Recipe("td3_no_layers", TD3, FOUR, SPREAD, {"net_arch": []}),
    Recipe("td3_uneven", TD3, FOUR, box(-1, 1, (2, 3)), {"net_arch": UNEVEN, "activation_fn": nn.Tanh}),
    Recipe("td3_image", TD3, image(3, 8, 6), TWO_SIDED, {"net_arch": [10]}),
    Recipe("ddpg_unshared", DDPG, FOUR, SPREAD, {"net_arch": [12], "share_features_extractor": False}),
    *(
        Recipe(f"dqn_{name}", DQN, FOUR, Discrete(5), {"activation_fn": activation, "net_arch": [30, 18]})
        for name, activation in ACTIVATIONS.items()
    ),
)

RECIPES = {recipe.name: recipe for recipe in (*ESSENTIAL, *OTHERS)}

SETTINGS: dict[type, dict[str, Any]] = {
    PPO: {"n_steps": 8, "batch_size": 8},
    A2C: {},
    TRPO: {"n_steps": 8, "batch_size": 8},
    DQN: {"buffer_size": 10},
    SAC: {"buffer_size": 10},
    TD3: {"buffer_size": 10},
    DDPG: {"buffer_size": 10},
}


@functools.cache
def make(name: str) -> Any:
    """
    The agent of a recipe, randomised; equal ones in every process.
    """
    recipe = RECIPES[name]
    agent = recipe.algorithm(
        "MlpPolicy",
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
    randomise(agent.policy, sum(map(ord, name)))
    return agent


def randomise(policy: nn.Module, seed: int) -> None:
    """
    Gives every parameter new values: weights that keep the scale of what passes through them, biases of about 0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            scale = 1.5 / parameter.shape[1] ** 0.5 if parameter.ndim > 1 else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


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


def observations_for(space: Box, seed: int = 5) -> np.ndarray:
    """
    `COUNT` observations of the space's dtype: zeros, the bounds, each element alone, and random ones of many scales.
    """
    rng = np.random.default_rng(seed)
    size = int(np.prod(space.shape))
    if space.dtype.kind == "f":
        edges = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 1e-7, 1.0, -1.0, 10.0, -10.0, 1e3, -1e3, 1e5, -1e5]
        values = np.array(edges, np.float32).astype(space.dtype)
        scales = 10.0 ** rng.uniform(-3, 3, (COUNT, 1))
        scales[: COUNT // 2] = 1.0
        random = (rng.standard_normal((COUNT, size)) * scales).astype(space.dtype)
    else:
        low, high = space.low.reshape(-1).astype(np.int64), space.high.reshape(-1).astype(np.int64)
        values = np.array([low.min(), high.max(), 0, 1], space.dtype)
        random = rng.integers(low, high + 1, (COUNT, size)).astype(space.dtype)
    together = np.repeat(values[:, None], size, axis=1)
    alone = np.concatenate([np.eye(size, dtype=space.dtype)[: COUNT // 40] * value for value in values])
    special = np.concatenate([together, alone])[: COUNT // 2]
    return np.concatenate([special, random])[:COUNT].reshape(COUNT, *space.shape)


def scores_of(agent: Any, observations: np.ndarray) -> np.ndarray:
    """
    What SB3's policy decides from: logits, Q-values, or mean actions before they are squashed, (n, k) float32.
    """
    policy = agent.policy
    policy.set_training_mode(False)
    tensor, _ = policy.obs_to_tensor(observations)
    with torch.no_grad():
        if isinstance(agent, DQN):
            scores = policy.q_net(tensor)
        elif isinstance(agent, SAC):
            scores = policy.actor.get_action_dist_params(tensor)[0]
        elif isinstance(agent, TD3):
            actor = policy.actor
            scores = actor.mu[:-1](actor.extract_features(tensor, actor.features_extractor))
        else:
            features = policy.extract_features(tensor)
            features = features if policy.share_features_extractor else features[0]
            scores = policy.action_net(policy.mlp_extractor.forward_actor(features))
    return scores.numpy()
