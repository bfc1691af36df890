"""
The predictors that are measured, built from their checkpoints into a temporary folder.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import compiler
from benchmarks import agents
from benchmarks.network import Network, network_of
from benchmarks.peers import Work
from compiler.ir import Box, Model

ROOT = Path(__file__).parent.parent
CARTPOLE = ROOT / "model" / "cartpole.zip"
BRIGHTEST = 255


@dataclass(frozen=True)
class Bench:
    """
    The place where predictors are built, each once, when it is first asked for.

    All but CartPole's raise ImportError where the library that makes the agent is missing.
    """

    folder: Path

    @cached_property
    def cartpole(self) -> "Subject":
        """
        PPO on CartPole: 4-64-64-2, tanh.
        """
        return self._subject("PPO", CARTPOLE)

    @cached_property
    def actor(self) -> "Subject":
        """
        A TD3 actor.
        """
        return self._made("TD3", agents.actor)

    @cached_property
    def images(self) -> "Subject":
        """
        DQN on images.
        """
        return self._made("DQN", agents.images)

    @cached_property
    def recurrent(self) -> "Subject":
        """
        RecurrentPPO.
        """
        return self._made("RecurrentPPO", agents.recurrent)

    @cached_property
    def masked(self) -> "Subject":
        """
        MaskablePPO.
        """
        return self._made("MaskablePPO", agents.masked)

    @cached_property
    def sac(self) -> "Subject":
        """
        A SAC actor.
        """
        return self._made("SAC", agents.sac)

    def product(self, subject: "Subject", target: str, **choices: Any) -> Path:
        """
        What a target makes of a subject, built once for each choice of its options.

        Raises:
            ImportError: the compiler of such targets is missing.
        """
        if find_spec("ziglang") is None:
            raise ImportError("ziglang is missing", name="ziglang")
        kind = "-".join([target, *(f"{option}-{choice}" for option, choice in sorted(choices.items()))])
        folder = self.folder / "products" / kind
        if not (folder / subject.name).exists():
            compiler.build(subject.checkpoint, out=folder, name=subject.name, target=target, **choices)
        return folder / subject.name

    def _made(self, algorithm: str, make: Callable[[Path], Path]) -> "Subject":
        return self._subject(algorithm, make(self.folder))

    def _subject(self, algorithm: str, checkpoint: Path) -> "Subject":
        build = compiler.build(checkpoint, out=self.folder / "predictors")
        return Subject(algorithm, checkpoint, build.path, build.load(), build.source_model)


@dataclass(frozen=True)
class Subject:
    """
    A predictor, and what it was built from.
    """

    algorithm: str
    """The name of its class in Stable-Baselines3 or sb3-contrib."""
    checkpoint: Path
    package: Path
    predictor: ModuleType
    model: Model
    """As it was read."""

    @property
    def name(self) -> str:
        """
        The name of its predictor.
        """
        return self.package.name

    @cached_property
    def network(self) -> Network:
        """
        What peers run that know nothing of policies.
        """
        return network_of(self.model)

    def agent(self) -> Any:
        """
        The agent that Stable-Baselines3 loads.

        Raises:
            ImportError: it is missing.
        """
        return agents.load(self.algorithm, self.checkpoint)

    def observations(self, count: int, size: int) -> tuple[NDArray[Any], ...]:
        """
        Some batches of observations: images of noise, or about as large as an agent sees them.
        """
        random = np.random.default_rng(0)
        space = self._space
        if space.is_image:
            return tuple(random.integers(0, BRIGHTEST + 1, (size, *space.shape), np.uint8) for _ in range(count))
        return tuple(random.normal(0, 0.5, (size, *space.shape)).astype(np.float32) for _ in range(count))

    def work(self, count: int, size: int, threads: int = 1) -> Work:
        """
        Some batches of observations for all who run the network.
        """
        observations = self.observations(count, size)
        divisor = np.float32(BRIGHTEST if self._space.is_image else 1)
        batches = tuple(batch.astype(np.float32) / divisor for batch in observations)
        return Work(self.network, batches, observations, threads)

    @property
    def _space(self) -> Box:
        policy = self.model.policy
        if policy is None or not isinstance(policy.observation_space, Box):
            raise ValueError(f"{self.model.name}: observations of another kind than Box are not measured")
        return policy.observation_space


def cores() -> int:
    """
    The threads that predictors have: as many as processors that this process may use.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(predictor: ModuleType, count: int) -> Iterator[None]:
    """
    Lets a policy's predictor divide large batches among that many threads.
    """
    module: Any = importlib.import_module(f"{predictor.__name__}.threads")
    before = module.THREADS
    module.THREADS = min(count, before)
    try:
        yield
    finally:
        module.THREADS = before
