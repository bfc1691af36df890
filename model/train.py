"""
Trains the two agents of this folder: PPO on CartPole-v1 and SAC on Pendulum-v1, on the CPU, with fixed seeds.

    python model/train.py [cartpole] [pendulum] [--out FOLDER]

Every agent is evaluated before it is saved, with deterministic actions over 100 seeded episodes; one that does not
reach its return, or whose file is too large for a repository, ends the script with an error. Equal versions on equal
hardware give equal weights; other processors round differently, and then the agents differ but must reach the same.
"""

import argparse
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

SEED = 7
EVALUATION_SEED = 10_000
EVALUATION_EPISODES = 100
LARGEST_FILE_BYTES = 200_000


@dataclass(frozen=True)
class Recipe:
    """
    How one agent is trained, and what it has to reach.

    Attributes:
        environment: the gymnasium id.
        least_return: the mean return over the evaluation episodes below which the agent is not saved.
        train: builds and trains the agent.
    """

    environment: str
    least_return: float
    train: Callable[[], BaseAlgorithm]


def train_cartpole() -> PPO:
    """
    PPO with SB3's default policy (two tanh layers of 64) and the schedules that the SB3 zoo tuned for CartPole-v1.
    """
    agent = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=SEED),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        learning_rate=LinearSchedule(0.001, 0.0, 1.0),
        clip_range=LinearSchedule(0.2, 0.0, 1.0),
        seed=SEED,
        device="cpu",
    )
    return agent.learn(total_timesteps=100_000)


def train_pendulum() -> SAC:
    """
    SAC with two ReLU layers of 32 and the zoo's learning rate for Pendulum-v1.
    """
    agent = SAC(
        "MlpPolicy",
        make_vec_env("Pendulum-v1", n_envs=1, seed=SEED),
        learning_rate=1e-3,
        buffer_size=20_000,
        policy_kwargs={"net_arch": [32, 32]},
        seed=SEED,
        device="cpu",
    )
    return agent.learn(total_timesteps=12_000)


def evaluate(agent: BaseAlgorithm, environment: str, episodes: int = EVALUATION_EPISODES) -> tuple[float, float]:
    """
    The mean and the standard deviation of the return over seeded episodes, with deterministic actions.
    """
    env = gymnasium.make(environment)
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=EVALUATION_SEED + episode)
        total, done = 0.0, False
        while not done:
            action, _ = agent.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            done = terminated or truncated
        returns.append(total)
    env.close()
    return float(np.mean(returns)), float(np.std(returns))


RECIPES = {
    "cartpole": Recipe("CartPole-v1", 475.0, train_cartpole),
    "pendulum": Recipe("Pendulum-v1", -200.0, train_pendulum),
}


def save(agent: BaseAlgorithm, path: Path) -> None:
    """
    Saves an agent as SB3 does, without the wall-clock times that training left in it.
    """
    agent.start_time = 0
    if agent.ep_info_buffer is not None:
        agent.ep_info_buffer.clear()
    agent.save(path)


def save_policy_member(archive: Path, path: Path) -> None:
    """
    Copies the `policy.pth` of an SB3 zip, its bytes as they are.
    """
    with zipfile.ZipFile(archive) as file:
        path.write_bytes(file.read("policy.pth"))


def refuse_large(path: Path) -> None:
    """
    Ends the script if a file is too large to be checked in.
    """
    size = path.stat().st_size
    print(f"  {path.name}: {size:,} bytes")
    if size > LARGEST_FILE_BYTES:
        raise SystemExit(f"{path.name}: {size:,} bytes, more than {LARGEST_FILE_BYTES:,}")


def main() -> None:
    """
    Trains, evaluates and saves the agents named on the command line, or all of them.
    """
    parser = argparse.ArgumentParser(description="Train the agents that policyc checks in.")
    parser.add_argument("names", nargs="*", metavar="agent", help=f"any of {', '.join(RECIPES)}; default: all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the files (default: this)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(RECIPES))
    if unknown:
        parser.error(f"unknown agents: {', '.join(unknown)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    # One thread: sums keep one order whatever the machine, and networks this small gain nothing from more.
    torch.set_num_threads(1)
    for name in arguments.names or RECIPES:
        recipe = RECIPES[name]
        started = time.perf_counter()
        agent = recipe.train()
        trained = time.perf_counter() - started
        mean, deviation = evaluate(agent, recipe.environment)
        print(
            f"{name}: {recipe.environment}, {agent.num_timesteps:,} steps in {trained:.0f} s, "
            f"mean return {mean:.1f} +/- {deviation:.1f} over {EVALUATION_EPISODES} episodes"
        )
        if mean < recipe.least_return:
            raise SystemExit(f"{name}: the mean return {mean:.1f} is below {recipe.least_return}")
        archive = arguments.out / f"{name}.zip"
        save(agent, archive)
        refuse_large(archive)
        if name == "cartpole":
            bare = arguments.out / "cartpole_policy.pth"
            save_policy_member(archive, bare)
            refuse_large(bare)


if __name__ == "__main__":
    main()
