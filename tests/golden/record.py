"""
Records what the agents of model/ answer, for the comparison of their predictors where torch and SB3 are absent.

    python -m tests.golden.record

One file per agent, `tests/golden/NAME.npz`:

    observations  (1000, n) float32  half from episodes, the rest random and at the edges
    actions       (1000, ...)        what `predict(observation, deterministic=True)` of SB3 returns for each alone
    scores        (1000, k) float32  what the action is decided from: the logits of PPO, the mean of SAC before tanh

The agents are loaded by SB3, which runs code from their files: only the files of model/ are read here.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO, SAC

ROOT = Path(__file__).parents[2]
COUNT = 1000
SEED = 11

Array = npt.NDArray[Any]


def played_observations(agent: PPO | SAC, environment: str, count: int) -> Array:
    """
    Observations from episodes that the agent plays, every tenth action a random one so that they differ.
    """
    env = gymnasium.make(environment)
    env.action_space.seed(SEED)
    observation, _ = env.reset(seed=SEED)
    seen: list[Array] = []
    while len(seen) < count:
        seen.append(observation)
        action = env.action_space.sample() if len(seen) % 10 == 0 else agent.predict(observation, deterministic=True)[0]
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    return np.array(seen, dtype=np.float32)


def edge_observations(size: int) -> Array:
    """
    Zeros of both signs, denormal, tiny, one and huge values: all elements at once, and each element alone.
    """
    values = [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 1e-7, 1.0, -1.0, 10.0, -10.0, 1e3, -1e3, 1e6, -1e6]
    together = np.repeat(np.array(values, dtype=np.float32)[:, None], size, axis=1)
    alone = np.concatenate([np.eye(size, dtype=np.float32) * np.float32(value) for value in values])
    return np.concatenate([together, alone])


def observations_for(agent: PPO | SAC, environment: str) -> Array:
    """
    The observations of one golden file, (1000, n) float32.
    """
    played = played_observations(agent, environment, COUNT // 2)
    edges = edge_observations(played.shape[1])
    rng = np.random.default_rng(SEED)
    scales = 10.0 ** rng.uniform(-3, 2, size=(COUNT - len(played) - len(edges), 1))
    random = (rng.standard_normal((len(scales), played.shape[1])) * scales).astype(np.float32)
    return np.concatenate([played, random, edges])


def scores_of(agent: PPO | SAC, observation: Array) -> Array:
    """
    What the policy network of one agent computes for one observation, before argmax, clipping or squashing.
    """
    policy = agent.policy
    tensor, _ = policy.obs_to_tensor(observation)
    with torch.no_grad():
        if isinstance(agent, SAC):
            actor = agent.actor
            output = actor.mu(actor.latent_pi(actor.extract_features(tensor, actor.features_extractor)))
        else:
            features = policy.extract_features(tensor, policy.pi_features_extractor)
            output = policy.action_net(policy.mlp_extractor.forward_actor(features))
    scores: Array = output.numpy()[0]
    return scores


def record(name: str, agent: PPO | SAC, environment: str) -> None:
    """
    Writes `tests/golden/NAME.npz`.
    """
    observations = observations_for(agent, environment)
    actions = [agent.predict(observation, deterministic=True)[0] for observation in observations]
    scores = [scores_of(agent, observation) for observation in observations]
    path = Path(__file__).with_name(f"{name}.npz")
    np.savez_compressed(path, observations=observations, actions=np.array(actions), scores=np.array(scores))
    print(f"{path.name}: {len(observations)} observations, {path.stat().st_size:,} bytes")


def main() -> None:
    """
    Records both agents.
    """
    torch.set_num_threads(1)
    record("cartpole", PPO.load(ROOT / "model" / "cartpole.zip", device="cpu"), "CartPole-v1")
    record("pendulum", SAC.load(ROOT / "model" / "pendulum.zip", device="cpu"), "Pendulum-v1")


if __name__ == "__main__":
    main()
