"""
A graph that grows by random parts: the sizes, numbers and shapes that these parts ask for.

Weights are small multiples of 1/16, scales are powers of two: what passes make of such constants is exact in float32.
So answers that differ by more than float64 rounds off differ for a reason.
"""

import itertools
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from compiler.ir import BATCH, Discrete, DType, Model, Origin, Output, Policy, State
from compiler.ops import OPS, Array
from compiler.ops.builder import GraphBuilder

Kind = TypeVar("Kind")
Dims = tuple[int, ...]

ACTIVATIONS = tuple(op for op in OPS.values() if op.elementwise)
PARAMETERS = (0.5, 0.25, 1.0, 2.0, 4.0)


class Drawn(GraphBuilder):
    """
    A builder that draws what it is not told.

    Attributes:
        rng: what is drawn from; each part has its own, so that parts can be left out and the others stay.
        values: the float32 tensors that are given or computed, which any part can read.
        states: the recurrent states.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.values: list[str] = []
        self.states: list[State] = []
        self._numbers = itertools.count()
        self._constants: dict[tuple[str, Dims], str] = {}

    def pick(self, *kinds: Kind) -> Kind:
        """
        One of several; those that are given several times more often.
        """
        return kinds[self.rng.integers(len(kinds))]

    def shuffled(self, kinds: Iterable[Kind]) -> list[Kind]:
        found = [*kinds]
        return [found[place] for place in self.rng.permutation(len(found))]

    def size(self, most: int = 6) -> int:
        return int(self.rng.integers(1, most + 1))

    def name(self) -> str:
        return f"t{next(self._numbers)}"

    def dims(self, name: str) -> Dims:
        """
        The dimensions of one sample.
        """
        return self.tensors[name].fixed_shape

    def given(self, *dims: int, dtype: DType = DType.FLOAT32) -> str:
        """
        A new input.
        """
        return self._known(self.input(self.name(), dtype, (BATCH, *dims)))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """
        A new node; its first result.
        """
        results = self.add_all(op, list(inputs), self.name(), **attributes)
        first, *_ = map(self._known, results)
        return first

    def _known(self, name: str) -> str:
        if self.tensors[name].dtype is DType.FLOAT32:
            self.values.append(name)
        return name

    def activation(self, source: str) -> str:
        op = self.pick(*ACTIVATIONS)
        attributes: dict[str, Any] = {key: self.pick(*PARAMETERS) for key in op.attributes if key != "min_val"}
        if "approximate" in attributes:
            attributes["approximate"] = self.pick("none", "tanh")
        return self.node(op.name, source, **attributes)

    def weight(self, *dims: int) -> str:
        return self._constant("weight", self.rng.integers(-16, 17, dims) / 16)

    def scale(self, *dims: int) -> str:
        """
        Powers of two of both signs, and zeros.
        """
        return self._constant("scale", self.rng.choice([-2, -1, -0.5, 0, 0.5, 1, 2], dims))

    def variance(self, size: int, epsilon: float) -> str:
        """
        Variances whose deviations are powers of two.
        """
        return self._constant("variance", self.rng.choice([0.25, 1, 4], size) - epsilon)

    def _constant(self, kind: str, values: Array) -> str:
        """
        A new constant, or now and then one that is already used.
        """
        key = (kind, values.shape)
        if key not in self._constants or self.pick(True, True, True, False):
            self._constants[key] = self.constant(self.name(), values.astype(np.float32))
        return self._constants[key]

    def shaped(self, source: str, rank: int) -> str:
        """
        The elements of a tensor in so many dimensions: some are joined, divided or added where it has others.
        """
        if len(self.dims(source)) == rank:
            return source
        dims = list(self.dims(source)) or [1]
        while len(dims) > rank:
            place = self.pick(*range(len(dims) - 1))
            dims[place : place + 2] = [dims[place] * dims[place + 1]]
        while len(dims) < rank:
            place = self.pick(*range(len(dims)))
            whole = dims[place]
            first = self.pick(*(size for size in range(1, whole + 1) if whole % size == 0))
            dims[place : place + 1] = [first, whole // first]
        if rank == 1 and self.pick(True, False):
            return self.node("flatten", source)
        return self.node("reshape", source, shape=tuple(dims))

    def model(self, policy: bool) -> Model:
        """
        The model: its outputs are what nothing reads, sometimes all but the first, and now and then something else.
        """
        computed = [name for node in self.nodes for name in node.outputs]
        unread = [name for name in computed if not any(name in node.inputs for node in self.nodes)]
        kept = unread[self.pick(0, 1) if len(unread) > 1 else 0 :]
        kept += [self.pick(*computed, *self.values) for _ in range(self.pick(0, 1, 1, 2))]
        states = {state.input for state in self.states}
        given = [
            name for name, tensor in self.tensors.items() if tensor.data is None and name not in {*computed, *states}
        ]
        return Model(
            name="network",
            nodes=tuple(self.nodes),
            tensors=self.tensors,
            inputs=tuple(given),
            outputs=tuple(
                Output(f"output {place}", name, self.pick("output", "output", "value") if place else "output")
                for place, name in enumerate(kept)
            ),
            origin=Origin("network", "0" * 64, "test"),
            states=tuple(self.states),
            policy=Policy("drawn", Discrete(2), Discrete(2)) if policy else None,
        )
