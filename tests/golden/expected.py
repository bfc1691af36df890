"""
What SB3 computes of an agent: actions, what they are decided and drawn from, the value, the next state.

Everything is taken from SB3's own `predict`, by hooks on its modules and from its distribution afterwards.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from sb3_contrib import ARS, QRDQN, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from torch import nn

Observations = Any
"""An array of observations, or a dict of them, by the keys of a Dict space."""


@dataclass
class Given:
    """
    What one call of `predict` is given; of `n` observations.

    Attributes:
        masks: bool (n, choices), for MaskablePPO.
        state: (h, c), each (layers, n, units), for RecurrentPPO.
        starts: (n,), for RecurrentPPO.
    """

    observations: Observations
    masks: np.ndarray | None = None
    state: tuple[np.ndarray, ...] | None = None
    starts: np.ndarray | None = None


@dataclass
class Expected:
    """
    What SB3 answers.

    Attributes:
        outputs: by the names of the model's outputs: `scores`, and `std`, `latent`, `noise_std`, `value` where there
            are any.
    """

    actions: np.ndarray
    state: tuple[np.ndarray, np.ndarray] | None
    outputs: dict[str, np.ndarray] = field(default_factory=dict)


def given_for(agent: Any, observations: Observations, seed: int = 3) -> Given:
    """
    Observations with random masks (some that allow nothing), states and episode starts, where the agent takes them.
    """
    rng = np.random.default_rng(seed)
    count = length(observations)
    given = Given(observations)
    if isinstance(agent, MaskablePPO):
        given.masks = rng.random((count, agent.policy.action_net.out_features)) < 0.6
        given.masks[::50] = False
    if isinstance(agent, RecurrentPPO):
        layers, _, units = agent.policy.lstm_hidden_state_shape
        states = rng.standard_normal((2, layers, count, units)).astype(np.float32)
        given.state = (states[0], states[1])
        given.starts = rng.random(count) < 0.2
    return given


def length(observations: Observations) -> int:
    """
    How many observations there are.
    """
    return len(next(iter(observations.values())) if isinstance(observations, dict) else observations)


def expected_of(agent: Any, given: Given) -> Expected:
    """
    What `agent.predict(..., deterministic=True)` gives, and what it was decided from.
    """
    arguments: dict[str, Any] = {"deterministic": True}
    if isinstance(agent, MaskablePPO):
        arguments["action_masks"] = given.masks
    if isinstance(agent, RecurrentPPO):
        arguments |= {"state": given.state, "episode_start": given.starts}
    with watched(_last(agent)) as seen:
        actions, state = agent.predict(given.observations, **arguments)
    scores = seen["output"]
    if isinstance(agent, QRDQN):
        scores = scores.view(-1, agent.policy.quantile_net.n_quantiles, agent.action_space.n).mean(dim=1)
    outputs = {"scores": scores.numpy(), **_drawn(agent, seen["input"]), **_value(agent, given)}
    return Expected(actions, state, outputs)


def scores_of(agent: Any, observations: Observations) -> np.ndarray:
    """
    What SB3's policy decides from: logits, Q-values, or mean actions before they are squashed, (n, k) float32.
    """
    return expected_of(agent, Given(observations)).outputs["scores"]


def _last(agent: Any) -> nn.Module:
    """
    The module that gives what the action is decided from.
    """
    policy = agent.policy
    if isinstance(agent, DQN):
        return policy.q_net.q_net
    if isinstance(agent, QRDQN):
        return policy.quantile_net.quantile_net
    if isinstance(agent, TD3 | ARS):
        network = policy.actor.mu if isinstance(agent, TD3) else policy.action_net
        return [module for module in network if isinstance(module, nn.Linear)][-1]
    return policy.actor.mu if hasattr(policy, "actor") else policy.action_net


@contextlib.contextmanager
def watched(module: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """
    Collects the last input and output of a module.
    """
    seen: dict[str, torch.Tensor] = {}

    def remember(_: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.update(input=arguments[0].detach().clone(), output=output.detach().clone())

    handle = module.register_forward_hook(remember)
    try:
        yield seen
    finally:
        handle.remove()


def _drawn(agent: Any, latent: torch.Tensor) -> dict[str, np.ndarray]:
    """
    What drawing an action needs: from the distribution that the last prediction left behind.
    """
    if isinstance(agent, DQN | QRDQN | TD3 | ARS | MaskablePPO) or not isinstance(agent.action_space, Box):
        return {}
    owner = agent.policy.actor if hasattr(agent.policy, "actor") else agent.policy
    distribution = owner.action_dist
    with torch.no_grad():
        if isinstance(distribution, StateDependentNoiseDistribution):
            torch.testing.assert_close(distribution._latent_sde, latent)
            return {"latent": latent.numpy(), "noise_std": distribution.get_std(owner.log_std).numpy()}
        return {"std": distribution.distribution.stddev.numpy()}


def _value(agent: Any, given: Given) -> dict[str, np.ndarray]:
    """
    The critic's estimate, where it needs no recurrent state of its own.
    """
    policy = agent.policy
    if isinstance(agent, DQN | QRDQN | SAC | CrossQ | TD3 | ARS) or not hasattr(policy, "predict_values"):
        return {}
    arguments: list[Any] = [policy.obs_to_tensor(given.observations)[0]]
    if isinstance(agent, RecurrentPPO):
        if policy.lstm_critic is not None:
            return {}
        assert given.state is not None
        arguments += [tuple(map(torch.tensor, given.state)), torch.tensor(given.starts, dtype=torch.float32)]
    with torch.no_grad():
        return {"value": policy.predict_values(*arguments).numpy()}
