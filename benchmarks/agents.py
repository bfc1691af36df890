"""
Agents to measure: as their algorithms make them, untrained, every weight and every bias random.
"""

from pathlib import Path
from typing import Any

import numpy as np

WEIGHT, BIAS = 1.5, 0.5
"""Scales of random weights and biases: values keep their scale from layer to layer, and all of them count."""
CHOICES, ACTIONS = 6, 6
BOUND = 2.0
FEATURES = 17
MASKED_FEATURES = 8
IMAGE = (4, 84, 84)


def actor(folder: Path) -> Path:
    """
    A TD3 actor: 17-256-256-6, ReLU, tanh, actions rescaled to [-2, 2].
    """
    from stable_baselines3 import TD3

    agent = TD3("MlpPolicy", _body(), policy_kwargs={"net_arch": [256, 256]}, buffer_size=1, seed=0, device="cpu")
    return _saved(agent, folder / "actor.zip")


def images(folder: Path) -> Path:
    """
    DQN's NatureCNN for four stacked frames of 84 x 84 pixels, six actions.
    """
    from gymnasium.spaces import Box, Discrete
    from stable_baselines3 import DQN

    game = _environment(Box(0, 255, IMAGE, np.uint8), Discrete(CHOICES))
    return _saved(DQN("CnnPolicy", game, buffer_size=1, seed=0, device="cpu"), folder / "images.zip")


def recurrent(folder: Path) -> Path:
    """
    RecurrentPPO's MlpLstmPolicy: 17-LSTM 256-64-64-6, tanh.
    """
    from sb3_contrib import RecurrentPPO

    agent = RecurrentPPO("MlpLstmPolicy", _body(), n_steps=2, batch_size=2, seed=0, device="cpu")
    return _saved(agent, folder / "recurrent.zip")


def masked(folder: Path) -> Path:
    """
    MaskablePPO's MlpPolicy: 8-64-64-6, tanh.
    """
    from gymnasium.spaces import Box, Discrete
    from sb3_contrib import MaskablePPO

    board = _environment(Box(-np.inf, np.inf, (MASKED_FEATURES,), np.float32), Discrete(CHOICES))
    agent = MaskablePPO("MlpPolicy", board, n_steps=2, batch_size=2, seed=0, device="cpu")
    return _saved(agent, folder / "masked.zip")


def sac(folder: Path) -> Path:
    """
    A SAC actor: 17-256-256-6, ReLU, tanh, actions rescaled to [-2, 2].
    """
    from stable_baselines3 import SAC

    return _saved(SAC("MlpPolicy", _body(), buffer_size=1, seed=0, device="cpu"), folder / "sac.zip")


def load(algorithm: str, checkpoint: Path) -> Any:
    """
    The agent of a checkpoint, as its users load it.

    Raises:
        ImportError: Stable-Baselines3, or sb3-contrib for an algorithm of its own, is missing.
    """
    import stable_baselines3

    if hasattr(stable_baselines3, algorithm):
        return getattr(stable_baselines3, algorithm).load(checkpoint, device="cpu")
    import sb3_contrib

    return getattr(sb3_contrib, algorithm).load(checkpoint, device="cpu")


def _body() -> Any:
    """
    An environment as MuJoCo's are: real numbers in, real numbers out.
    """
    from gymnasium.spaces import Box

    return _environment(Box(-np.inf, np.inf, (FEATURES,), np.float32), Box(-BOUND, BOUND, (ACTIONS,), np.float32))


def _environment(observations: Any, actions: Any) -> Any:
    """
    An environment of which only the spaces matter.
    """
    import gymnasium

    class Spaces(gymnasium.Env):  # type: ignore[misc]
        observation_space = observations
        action_space = actions

    return Spaces()


def _saved(agent: Any, file: Path) -> Path:
    _randomise(agent.policy)
    agent.save(file)
    return file


def _randomise(policy: Any) -> None:
    """
    Gives all parameters new values, equal ones in every run.
    """
    import torch

    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            values = torch.randn(parameter.shape, generator=random)
            matrix = parameter.ndim > 1 and "log_std" not in name
            parameter.copy_(values * (WEIGHT / parameter[0].numel() ** 0.5 if matrix else BIAS))
