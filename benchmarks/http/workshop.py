"""
The folder of a run: the policy in the forms that the servers load, and the requests that they get.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import compiler
from benchmarks import agents
from benchmarks.exports import onnx_model
from benchmarks.http.peers.policies import CHECKPOINT, NETWORK, SIZE
from benchmarks.http.workload import BATCH, KINDS, Exchange, Kind, clear_observations, exchanges
from benchmarks.network import network_of
from benchmarks.subjects import CARTPOLE

PACKAGE = "cartpole"


@dataclass(frozen=True)
class Workshop:
    """
    What all servers need is there; the package that policyc serves once it is built.
    """

    folder: Path
    questions: Mapping[Kind, Sequence[Exchange]]
    """Requests of every kind, with the actions that `PPO.predict` says."""

    @classmethod
    def prepared(cls, folder: Path) -> "Workshop":
        """
        Writes the peers' files and asks Stable-Baselines3 for the answers.

        Raises:
            ImportError: onnx or Stable-Baselines3 is missing.
        """
        network = network_of(compiler.load_model(CARTPOLE))
        (folder / NETWORK).write_bytes(onnx_model(network, (SIZE,)))
        (folder / CHECKPOINT).write_bytes(CARTPOLE.read_bytes())
        observations = clear_observations(network, 2 * BATCH, SIZE)
        actions = np.asarray(agents.load("PPO", CARTPOLE).predict(observations, deterministic=True)[0])
        return cls(folder, {kind: exchanges(kind, observations, actions) for kind in KINDS})

    def build(self) -> None:
        """
        CartPole for the native target.

        Raises:
            ImportError: the compiler of native targets is missing.
        """
        if find_spec("ziglang") is None:
            raise ImportError("not installed: ziglang")
        compiler.build(CARTPOLE, out=self.folder, name=PACKAGE, target="native")

    def body(self, kind: Kind) -> Path:
        """
        The file with the body that wrk sends.
        """
        file = self.folder / f"body-{KINDS.index(kind)}"
        file.write_bytes(self.questions[kind][0].body)
        return file
