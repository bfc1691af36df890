"""
The predictors that are measured, built from their checkpoints into a temporary folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import compiler
from benchmarks.network import Network, network_of

ROOT = Path(__file__).parent.parent
CARTPOLE = ROOT / "model" / "cartpole.zip"
OBSERVATION, ACTION, WIDTHS = 17, 6, [256, 256]


@dataclass(frozen=True)
class Bench:
    """
    The place where predictors are built, each once, when it is first asked for.
    """

    folder: Path

    @cached_property
    def cartpole(self) -> "Subject":
        """
        PPO on CartPole: 4-64-64-2, tanh.
        """
        return self._subject(CARTPOLE)

    @cached_property
    def actor(self) -> "Subject":
        """
        An untrained TD3 actor: 17-256-256-6, ReLU, tanh, actions rescaled to [-2, 2].

        Raises:
            ImportError: Stable-Baselines3 is missing, which makes the checkpoint.
        """
        import gymnasium
        from stable_baselines3 import TD3

        class Body(gymnasium.Env):  # type: ignore[misc]
            observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
            action_space = gymnasium.spaces.Box(-2.0, 2.0, (ACTION,), np.float32)

        agent = TD3("MlpPolicy", Body(), policy_kwargs={"net_arch": WIDTHS}, buffer_size=1, seed=0, device="cpu")
        checkpoint = self.folder / "actor.zip"
        agent.save(checkpoint)
        return self._subject(checkpoint)

    def _subject(self, checkpoint: Path) -> "Subject":
        build = compiler.build(checkpoint, out=self.folder / "predictors")
        return Subject(checkpoint, build.path, build.load(), network_of(build.source_model))


@dataclass(frozen=True)
class Subject:
    """
    A predictor, and what it was built from.
    """

    checkpoint: Path
    package: Path
    predictor: ModuleType
    network: Network

    def batches(self, count: int, size: int) -> tuple[NDArray[np.float32], ...]:
        """
        Some batches of observations, about as large as an agent sees them.
        """
        random = np.random.default_rng(0)
        features = self.network.layers[0].weight.shape[1]
        return tuple(random.normal(0, 0.5, (size, features)).astype(np.float32) for _ in range(count))


def cores() -> int:
    """
    The threads that Numba would use.
    """
    import numba

    config: Any = numba.config  # the types know nothing of its settings
    return int(config.NUMBA_NUM_THREADS)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """
    Lets Numba use that many threads.
    """
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(count, cores()))
    try:
        yield
    finally:
        numba.set_num_threads(before)
