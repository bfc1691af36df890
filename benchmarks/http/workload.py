"""
What is asked: requests whose answers Stable-Baselines3 gave before.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.network import Network

JSON, BYTES = "application/json", "application/octet-stream"
BATCH = 256
CONNECTIONS = (1, 8, 32, 128, 256)
AT = 32
"""The connections at which kinds of requests are compared."""
QUESTIONS = 256
"""Different requests of each kind, for single observations."""
BATCHES = 4
CLEAR = 1e-3
"""How far apart the scores of the two actions are at least: nearer ones may be decided by rounding."""


@dataclass(frozen=True)
class Kind:
    """
    A form of requests.
    """

    name: str
    content_type: str
    rows: int

    def body(self, observations: NDArray[np.float32]) -> bytes:
        """
        A request for observations (rows, size).
        """
        if self.content_type == BYTES:
            return observations.astype("<f4").tobytes()
        if self.rows == 1:
            return json.dumps({"observation": observations[0].tolist()}).encode()
        return json.dumps({"observations": observations.tolist()}).encode()

    def actions(self, body: bytes) -> list[int]:
        """
        What an answer says.

        Raises:
            ValueError, KeyError, TypeError: it is no answer to such a request.
        """
        if self.content_type == BYTES:
            return [int(action) for action in np.frombuffer(body, "<i8")]
        answer: dict[str, Any] = json.loads(body)
        return [answer["action"]] if self.rows == 1 else answer["actions"]


SINGLE = Kind("JSON", JSON, 1)
SINGLE_BYTES = Kind("octet-stream", BYTES, 1)
MANY = Kind(f"JSON, {BATCH} observations", JSON, BATCH)
MANY_BYTES = Kind(f"octet-stream, {BATCH} observations", BYTES, BATCH)
KINDS = (SINGLE, SINGLE_BYTES, MANY, MANY_BYTES)


@dataclass(frozen=True)
class Case:
    """
    A kind of load.
    """

    kind: Kind
    connections: int
    kept: bool = True
    """Whether a connection serves more than one request."""

    def __str__(self) -> str:
        plural = "s" if self.connections > 1 else ""
        return f"{self.kind.name}, {self.connections} connection{plural}{'' if self.kept else ', closed each time'}"


CASES = (
    *(Case(SINGLE, connections, kept) for kept, connections in product((True, False), CONNECTIONS)),
    *(Case(kind, AT) for kind in (SINGLE_BYTES, MANY, MANY_BYTES)),
)


@dataclass(frozen=True)
class Exchange:
    """
    A request and what must be answered.
    """

    body: bytes
    actions: list[int]


def exchanges(kind: Kind, observations: NDArray[np.float32], actions: NDArray[Any]) -> Sequence[Exchange]:
    """
    Requests of a kind over known observations (n, size) with their actions (n,).
    """
    count = QUESTIONS if kind.rows == 1 else BATCHES
    starts = [number * kind.rows % (len(actions) - kind.rows + 1) for number in range(count)]
    rows = [slice(start, start + kind.rows) for start in starts]
    return [Exchange(kind.body(observations[row]), [int(action) for action in actions[row]]) for row in rows]


def clear_observations(network: Network, count: int, size: int) -> NDArray[np.float32]:
    """
    Observations (count, size) about as large as CartPole's, of which no rounding decides the action.

    Args:
        network: ends in an argmax.
        count: how many.
        size: of one observation.
    """
    several = np.random.default_rng(0).normal(0, 0.5, (2 * count, size)).astype(np.float32)
    best = np.sort(network.scores(several), axis=1)
    chosen: NDArray[np.float32] = several[best[:, -1] - best[:, -2] > CLEAR][:count]
    return chosen
